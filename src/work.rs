//! What a stage of a turn may still do, in nanoseconds of work, so that nobody's requests hold up
//! everybody else's.
//!
//! Must not know clocks: what a kind of work costs was measured once (`cost`) and is charged when
//! it is done. A cost that is off by half makes turns that much longer or shorter, no more.
//! Invariant: a stage that has begun does at least one piece of work, so whoever waits is served.

/// What is left of a stage, and of the slice that one connection has of it.
#[derive(Debug, Default)]
pub struct Work {
    stage_ns: u32,
    left_ns: u32,
    slice_ns: u32,
}

impl Work {
    /// A stage of `stage_ns`, begun.
    #[must_use]
    pub fn new(stage_ns: u32) -> Work {
        let mut work = Work { stage_ns, ..Work::default() };
        work.begin();
        work
    }

    /// Another stage of the same length, begun.
    #[must_use]
    pub fn alike(&self) -> Work {
        Work::new(self.stage_ns)
    }

    /// Begins the next stage, as long as the one before.
    pub fn begin(&mut self) {
        self.left_ns = self.stage_ns.max(1);
        self.begin_slice();
    }

    /// Begins the part of the stage that one connection may use before the next has its turn. One
    /// that begins before the stage is over is whole, or whoever comes last would have less each
    /// time; one that begins later has nothing.
    pub fn begin_slice(&mut self) {
        self.slice_ns = if self.is_spent() { 0 } else { (self.stage_ns / SLICES).max(1) };
    }

    /// Notes work that was done, or is about to be.
    #[inline]
    pub fn charge(&mut self, ns: usize) {
        let ns = u32::try_from(ns).unwrap_or(u32::MAX);
        self.left_ns = self.left_ns.saturating_sub(ns);
        self.slice_ns = self.slice_ns.saturating_sub(ns);
    }

    /// Is the stage over? The turn then goes on with its next one.
    #[inline]
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.left_ns == 0
    }

    /// Is it the next connection's turn?
    #[inline]
    #[must_use]
    pub fn is_slice_spent(&self) -> bool {
        self.slice_ns == 0
    }
}

/// Slices of a stage.
const SLICES: u32 = 8;

/// What each kind of work costs, in nanoseconds, rounded up. Keys on P-384 and the text of metrics
/// were timed in a release build that was attacked with them (2026-11-30: 2.9 ms for eight keys,
/// 39 us for a text); commands follow from the counts of `bench/instructions.json`; the rest is
/// estimated from these.
pub mod cost {
    /// A frame that was cut from the bytes received.
    pub const FRAME: usize = 60;
    /// A command that asks for nothing (a pong).
    pub const PONG: usize = 120;
    /// A command, read, checked and answered or handed to a home.
    pub const COMMAND: usize = 800;
    /// Reading so many bytes of a command.
    pub const BYTES_PER_NS: usize = 2;
    /// A request of HTTP with a short answer.
    pub const REQUEST: usize = 1_500;
    /// Taking in so many bytes: unmasking, or copying what waits.
    pub const COPIED_BYTES_PER_NS: usize = 8;
    /// Writing so many bytes of a response, and sending them.
    pub const RESPONSE_BYTES_PER_NS: usize = 4;
    /// Making the text of `/metrics`, for each core that it tells of.
    pub const METRICS_OF_A_CORE: usize = 20_000;
    /// Trying a secret on a token's signature.
    pub const KEY_HMAC: usize = 1_500;
    /// Trying a key of RSA: 2048 bits; 8192 take ten times as long.
    pub const KEY_RSA: usize = 40_000;
    /// Trying a key on curve P-256.
    pub const KEY_P256: usize = 120_000;
    /// Trying a key on curve P-384.
    pub const KEY_P384: usize = 360_000;
    /// Trying an Ed25519 key.
    pub const KEY_ED25519: usize = 60_000;
    /// For each byte of a token: base64 and hashes.
    pub const TOKEN_BYTE: usize = 4;
    /// A request that a home takes, and what it says of it.
    pub const ASKED: usize = 700;
    /// Somebody who is named in an answer to presence, at the home.
    pub const MEMBER: usize = 60;
    /// Somebody who is counted, with each user once.
    pub const MEMBER_COUNTED: usize = 100;
    /// A publication of history, or a channel of a list.
    pub const PLACED: usize = 40;
    /// A step of a search for a delta.
    pub const DELTA_STEP: usize = 5;
    /// A delivery that an edge takes.
    pub const DELIVERY: usize = 200;
    /// A subscriber whom a publication is marked for.
    pub const MARK: usize = 5;
    /// A comparison of a filter, its tag looked up.
    pub const COMPARISON: usize = 10;
    /// Searching so many bytes of a tag's value, on top.
    pub const SEARCHED_BYTES_PER_NS: usize = 2;
    /// Pausing a socket that is then read on.
    pub const PAUSE: usize = 2_000;
}
