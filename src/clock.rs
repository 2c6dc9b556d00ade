//! The moment a turn runs at. Nothing below `server` reads a clock: `Now` is an argument, so one
//! seed replays a whole host.

/// A moment, taken once per turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Microseconds since the process started; never goes back.
    pub monotonic_us: u64,
    /// Unix time in milliseconds; may jump, so it dates things and never measures them.
    pub unix_ms: u64,
}

impl Now {
    /// Milliseconds since the process started.
    #[must_use]
    pub fn monotonic_ms(self) -> u64 {
        self.monotonic_us / 1000
    }

    /// Unix time in whole seconds.
    #[must_use]
    pub fn unix_s(self) -> u64 {
        self.unix_ms / 1000
    }
}
