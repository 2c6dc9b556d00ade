//! Names that cross cores: a channel's, a user's. Immutable text with one allocation, shared by the
//! edge and the home that both keep it.

use arcstr::ArcStr;
use std::borrow::Borrow;

/// A channel's name or a user's id.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(ArcStr);

const _: () = assert!(size_of::<Option<Name>>() == 8, "each connection has one, and each user");

impl Name {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Name(ArcStr::from(text))
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(&self.0, f)
    }
}
