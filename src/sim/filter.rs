//! Tags of publications, and the filters with which some clients subscribe.
//!
//! Must not know how the server reads either. Invariant: a publication's tag follows from its
//! number, so every client can tell whether it should have received it.

use super::ledger::{Ledger, NODE};
use super::wire::Tags;
use std::fmt::Write;

/// A comparison of the tag `n`.
#[derive(Clone, Copy, Debug)]
pub struct Filter {
    cmp: &'static str,
    val: &'static str,
}

/// The filters that clients use.
pub const FILTERS: [Filter; 5] = [
    Filter { cmp: "eq", val: "1" },
    Filter { cmp: "neq", val: "2" },
    Filter { cmp: "gte", val: "2" },
    Filter { cmp: "ex", val: "" },
    Filter { cmp: "nex", val: "" },
];

impl Filter {
    /// Does it let a publication with this tag through?
    fn lets(self, tag: Option<u32>) -> bool {
        match self.cmp {
            "eq" => tag == Some(1),
            "neq" => tag != Some(2),
            "gte" => tag >= Some(2),
            "ex" => tag.is_some(),
            _ => tag.is_none(),
        }
    }

    /// The member of a subscribe command.
    #[must_use]
    pub fn member(self) -> String {
        let Filter { cmp, val } = self;
        let val = if val.is_empty() { String::new() } else { format!(",\"val\":\"{val}\"") };
        format!(",\"tf\":{{\"key\":\"n\",\"cmp\":\"{cmp}\"{val}}}")
    }
}

impl Ledger {
    /// A publication's tag `n`; those of other nodes have none.
    fn tag(&self, number: u32) -> Option<u32> {
        let from = self.publications[number as usize].client;
        (from != NODE && number % 6 < 4).then_some(number % 6)
    }

    /// Appends the tags of a publish command, if the publication has any.
    pub fn put_tags(&self, number: u32, into: &mut Vec<u8>) {
        if let Some(tag) = self.tag(number) {
            into.extend_from_slice(format!("\"tags\":{{\"n\":\"{tag}\"}},").as_bytes());
        }
    }

    /// Was a publication delivered with its own tags?
    #[must_use]
    pub fn is_tagged(&self, number: u32, tags: &Tags) -> bool {
        let mut expected = String::new();
        if let Some(tag) = self.tag(number) {
            let _ = write!(expected, "{tag}");
        }
        let told = tags.get("n").map_or("", AsRef::as_ref);
        told == expected && tags.len() == usize::from(!expected.is_empty())
    }

    /// Does a filter drop a publication?
    #[must_use]
    pub fn is_filtered(&self, number: u32, filter: Option<Filter>) -> bool {
        filter.is_some_and(|filter| !filter.lets(self.tag(number)))
    }
}
