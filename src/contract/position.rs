//! Positions in a channel: the numbering of its home, and the versions of applications.

/// The identity of a channel's numbering: offsets compare only within one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(pub u64);

impl Epoch {
    /// An epoch that no channel has.
    pub const NONE: Epoch = Epoch(u64::MAX);
}

/// A position in a channel: after the publication with this offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub epoch: Epoch,
    pub offset: u64,
}

/// A position from which to recover or to read history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since {
    /// `None`: the channel's current epoch, which only its home knows.
    pub epoch: Option<Epoch>,
    pub offset: u64,
}

impl Since {
    /// Is it a position in a numbering of this epoch?
    #[must_use]
    pub fn is_of(self, epoch: Epoch) -> bool {
        self.epoch.is_none_or(|own| own == epoch)
    }
}

/// The application's version of a publication: a version that is not newer than that of the last
/// publication is not published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// Above 0.
    pub number: u64,
    /// Numbers of different epochs do not compare; "" compares with any. At most
    /// `limits::VERSION_EPOCH_BYTES`.
    pub epoch: Box<str>,
}

impl Version {
    /// Is it the same as version `last`, or older?
    #[must_use]
    pub fn is_late(&self, last: &Version) -> bool {
        (self.epoch.is_empty() || self.epoch == last.epoch) && self.number <= last.number
    }
}
