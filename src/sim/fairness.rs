//! How many others overtook a publication on its way to being ordered.
//!
//! Must not know workers.

use super::ledger::{Ledger, NEVER};

impl Ledger {
    /// Most later publications of its core that overtook a publication, among those whose
    /// connection had nothing else to wait for.
    #[must_use]
    pub fn most_passed(&self) -> (u32, u32) {
        let mut worst = (0, 0);
        for log in self.channels.iter().flat_map(|channel| &channel.epochs) {
            let numbers: Vec<u32> = log.entries.iter().flatten().copied().collect();
            let order: Vec<(u64, u16)> = numbers
                .iter()
                .map(|number| &self.publications[*number as usize])
                .map(|publication| (publication.handed_over, publication.core))
                .collect();
            for (at, number) in numbers.iter().enumerate() {
                let (handed, core) = order[at];
                if handed == NEVER || !self.publications[*number as usize].alone {
                    continue;
                }
                let later =
                    |other: &&(u64, u16)| other.0 != NEVER && other.0 > handed && other.1 == core;
                let passed = order[..at].iter().filter(later).count() as u32;
                if passed > worst.0 {
                    worst = (passed, *number);
                }
            }
        }
        worst
    }
}
