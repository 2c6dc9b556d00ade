//! Places in a channel: the numbering that its home gives, and the one that applications give.

/// The life of a channel's numbering: offsets compare only within one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(pub u64);

impl Epoch {
    /// An epoch that no channel has.
    pub const NONE: Epoch = Epoch(u64::MAX);
}

/// A place in a channel: after the publication with this offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub epoch: Epoch,
    pub offset: u64,
}

/// Where somebody wants to go on from, or to read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since {
    /// None: the channel's, whichever that is, which its home alone knows.
    pub epoch: Option<Epoch>,
    pub offset: u64,
}

impl Since {
    /// Is it a place in a numbering of this epoch?
    #[must_use]
    pub fn is_of(self, epoch: Epoch) -> bool {
        self.epoch.is_none_or(|own| own == epoch)
    }
}

/// How new a publication is, as the application counts: what is no newer than the last one kept is
/// not published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// Above 0.
    pub number: u64,
    /// Numbers of different epochs do not compare; "" compares with any. At most
    /// `limits::VERSION_EPOCH_BYTES`.
    pub epoch: Box<str>,
}

impl Version {
    /// Is it older than what has version `last`, or the same?
    #[must_use]
    pub fn is_late(&self, last: &Version) -> bool {
        (self.epoch.is_empty() || self.epoch == last.epoch) && self.number <= last.number
    }
}
