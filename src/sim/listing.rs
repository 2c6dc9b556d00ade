//! The list of channels that the server API gives, held to what all hosts have.
//!
//! Must not move a host but by a call. Invariant: when all is at rest, and hosts have had the time
//! to learn of each other, a list is what their homes count, whichever host is called.

use super::caller::List;
use super::client::Around;
use super::host::Host;
use crate::contract::engine::Engine;
use crate::transport::Transport;

/// Lists that may lack a host, which was away or silent for a moment.
const EXCUSED: u32 = 20;

impl<T: Transport, E: Engine> Host<T, E> {
    /// Holds a list to what hosts have; true: that is done. Asks for one where there is none.
    pub(super) fn judge_list(&mut self) -> bool {
        let list = self.caller.list.take();
        if let Some(list) = list {
            let counted = self.counted();
            if list == counted {
                return true;
            }
            self.lists += 1;
            if self.lists > EXCUSED {
                let mut ledger = self.ledger.borrow_mut();
                ledger.violation("channels_mislisted", || format!("{list:?} of {counted:?}"));
                return true;
            }
        }
        let (mut net, mut ledger) = (self.net.borrow_mut(), self.ledger.borrow_mut());
        let mut around = Around { net: &mut net, ledger: &mut ledger, plan: &self.plan };
        self.caller.ask_list(&mut around);
        false
    }

    /// What the homes of all hosts count.
    fn counted(&self) -> List {
        let mut counted = List::new();
        for channel in &self.plan.channels {
            let name = channel.name.as_str();
            let homes = self.cores.iter().map(|core| core.worker.home());
            let pairs: u64 =
                homes.flat_map(|home| home.interest(name).map(|(_, pairs)| u64::from(pairs))).sum();
            if pairs > 0 {
                counted.insert(name.to_owned(), pairs);
            }
        }
        counted
    }
}
