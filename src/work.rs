//! How much more work a stage of a turn may do, in nanoseconds, so that one client's requests do
//! not delay the others.
//!
//! Must not read clocks: the cost of each kind of work was measured once (`cost`) and is charged
//! when it is done. A cost that is off by half makes turns that much longer or shorter, nothing
//! worse.
//! Invariant: a stage that has begun does at least one piece of work, so every waiting client makes
//! progress.

/// What is left of a stage, and of one connection's slice of it.
#[derive(Debug, Default)]
pub struct Work {
    stage_ns: u32,
    left_ns: u32,
    slice_ns: u32,
}

impl Work {
    /// A stage of `stage_ns` that has just begun.
    #[must_use]
    pub fn new(stage_ns: u32) -> Work {
        let mut work = Work { stage_ns, ..Work::default() };
        work.begin();
        work
    }

    /// Another stage of the same length that has just begun.
    #[must_use]
    pub fn alike(&self) -> Work {
        Work::new(self.stage_ns)
    }

    /// Begins the next stage, with the same length.
    pub fn begin(&mut self) {
        self.left_ns = self.stage_ns.max(1);
        self.begin_slice();
    }

    /// Begins the slice that one connection may use before the next connection has its turn. A
    /// slice that begins before the stage is over is a full one, since otherwise the last
    /// connection would always get less. One that begins later is empty.
    pub fn begin_slice(&mut self) {
        self.slice_ns = if self.is_spent() { 0 } else { (self.stage_ns / SLICES).max(1) };
    }

    /// Charges work that was done, or is about to be done.
    #[inline]
    pub fn charge(&mut self, ns: usize) {
        let ns = u32::try_from(ns).unwrap_or(u32::MAX);
        self.left_ns = self.left_ns.saturating_sub(ns);
        self.slice_ns = self.slice_ns.saturating_sub(ns);
    }

    /// Is the stage over? The turn then continues with its next stage.
    #[inline]
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.left_ns == 0
    }

    /// Is this connection's slice used up?
    #[inline]
    #[must_use]
    pub fn is_slice_spent(&self) -> bool {
        self.slice_ns == 0
    }
}

/// Slices in a stage.
const SLICES: u32 = 8;

/// The cost of each kind of work in nanoseconds, rounded up. Trying P-384 keys and making the text
/// of metrics were timed in a release build under attack (2026-11-30: 2.9 ms for eight keys, 39 us
/// for a text). Commands follow from the counts in `bench/instructions.json`; the rest is estimated
/// from these.
pub mod cost {
    /// Cutting a frame from the received bytes.
    pub const FRAME: usize = 60;
    /// A command that asks for nothing (a pong).
    pub const PONG: usize = 120;
    /// Reading and checking a command, and answering it or sending it to a home.
    pub const COMMAND: usize = 800;
    /// Bytes of a command that are read in one nanosecond.
    pub const BYTES_PER_NS: usize = 2;
    /// An HTTP request with a short answer.
    pub const REQUEST: usize = 1_500;
    /// Received bytes that are unmasked or copied in one nanosecond.
    pub const COPIED_BYTES_PER_NS: usize = 8;
    /// Bytes of a response that are written and sent in one nanosecond.
    pub const RESPONSE_BYTES_PER_NS: usize = 4;
    /// Making the text of `/metrics`, for each core in it.
    pub const METRICS_OF_A_CORE: usize = 20_000;
    /// Checking a token's signature with one secret.
    pub const KEY_HMAC: usize = 1_500;
    /// Checking a signature with an RSA key of 2048 bits; one of 8192 bits takes ten times as long.
    pub const KEY_RSA: usize = 40_000;
    /// Checking a signature with a P-256 key.
    pub const KEY_P256: usize = 120_000;
    /// Checking a signature with a P-384 key.
    pub const KEY_P384: usize = 360_000;
    /// Checking a signature with an Ed25519 key.
    pub const KEY_ED25519: usize = 60_000;
    /// Base64 and hashes, for each byte of a token.
    pub const TOKEN_BYTE: usize = 4;
    /// A request that a home takes, and its answer.
    pub const ASKED: usize = 700;
    /// A member that is listed in a presence answer, at the home.
    pub const MEMBER: usize = 80;
    /// A member that is written in a presence answer, at the edge.
    pub const MEMBER_WRITTEN: usize = 150;
    /// A member that is counted for presence stats, each user once.
    pub const MEMBER_COUNTED: usize = 100;
    /// A publication in a history answer, or a channel in a list.
    pub const PLACED: usize = 40;
    /// A step of a search for a delta.
    pub const DELTA_STEP: usize = 5;
    /// A delivery that an edge takes.
    pub const DELIVERY: usize = 200;
    /// Marking a publication for one subscriber.
    pub const MARK: usize = 5;
    /// A comparison of a filter, including the lookup of its tag.
    pub const COMPARISON: usize = 10;
    /// Bytes of a tag's value that are searched in one nanosecond, in addition.
    pub const SEARCHED_BYTES_PER_NS: usize = 2;
    /// Accepting a connection, with what the kernel does for it: a bare program that accepts,
    /// answers and closes takes 16 us (docs/goals.md), of which a third is the answer.
    pub const ACCEPT: usize = 5_000;
    /// Closing one, likewise.
    pub const CLOSE: usize = 5_000;
    /// Pausing and resuming a socket.
    pub const PAUSE: usize = 2_000;
}
