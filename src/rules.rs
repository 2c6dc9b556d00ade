//! The rules that the simulation may switch off, one at a time, to prove that it would notice.
//!
//! Without the feature `sabotage` every rule holds, and nothing of this is in the program.

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A rule of the contract between edge, home, bridge and output.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Rule { $($(#[$doc])* $name,)* }

        /// Every rule, with the name that the scripts use.
        pub const RULES: &[(&str, Rule)] = &[$(($text, Rule::$name),)*];
    };
}

rules! {
    /// Rule 5: freed room of a full lane rings the producer that waits.
    SpaceBell = "space_bell",
    /// Rule 5: the want-room flag is raised again when sleep is announced.
    RearmWant = "rearm_want",
    /// Rule 9: interest is withdrawn by count of pairs, not with the last member.
    CountSubs = "count_subs",
    /// Rule 9: a pending Subscribe of a closed connection is taken back too.
    UndoPending = "undo_pending",
    /// Rule 10: what a dead connection owes outlives a full lane.
    CleanupQueue = "cleanup_queue",
    /// Rule 11: deliveries before a Subscribed answer are marked before its subscriber is added.
    MarkInorder = "mark_inorder",
    /// Rule 2: a request is sequenced once and pushed with a cursor.
    Cursor = "cursor",
    /// Rule 2: no room is reserved for a whole request first.
    Reserve = "reserve",
    /// Rule 2: a request writes a bounded number of items to a lane.
    OneItem = "one_item",
    /// Rule 4: commands of a connection wait while an earlier one of it is parked.
    ConnFifo = "conn_fifo",
    /// Rule 4: commands parked for a lane go first in, first out.
    LaneFifo = "lane_fifo",
    /// Rule 21: dirty entries carry the generation.
    DirtyGen = "dirty_gen",
    /// Rule 19: a connection with a backlog is never sent inline.
    BacklogFirst = "backlog_first",
    /// Rule 21: nothing follows a close frame.
    CloseLast = "close_last",
    /// Rule 6: nothing is pushed after the doorbells.
    NoBellAfter = "no_bell_after",
    /// Rule 24: a recovery answer does not count against the backlog.
    BigAnswer = "big_answer",
    /// Rule 23: over the arena bound no frames are parsed.
    GateFrames = "gate_frames",
    /// Rule 23: an item may pass the arena bound when it is taken below it.
    AdmitOver = "admit_over",
    /// Rule 2: a home that meets a full lane waits with that request.
    HomeRr = "home_rr",
    /// Rule 7: probes are N requests with N answers, and wait for nothing.
    ProbeStar = "probe_star",
    /// Rule 20: control frames go in at frame boundaries.
    CtlCut = "ctl_cut",
    /// Rule 13: eviction keeps epoch and offset while anyone is subscribed.
    EvictTrim = "evict_trim",
    /// Rule 12: connect is answered after the user's home has answered.
    RegFirst = "reg_first",
    /// Rule 25: 3001 is sent only after the barrier.
    DrainBarrier = "drain_barrier",
    /// Rule 17: a home compares its last offset with the stream's top.
    TailCheck = "tail_check",
    /// Rule 14: every answer uses a credit that its home has.
    Credit = "credit",
    /// Rule 14: "position lost" stays set at the bridge until the lane has taken it.
    StickyMark = "sticky_mark",
    /// Rule 16: a recovery answer ends exactly at the home's last.
    Cut = "cut",
    /// Rule 15: offsets compare only within an epoch.
    Epoch = "epoch",
    /// Rule 15: while a fill is under way, no subscribe is answered.
    FillHold = "fill_hold",
    /// Rule 18: Unwatch discards the ring.
    Session = "session",
    /// Rule 15: what was kept back from another epoch is dropped.
    DropOther = "drop_other",
    /// Rule 1: requests and deliveries have a ring each.
    TwoRings = "two_rings",
    /// A subscription goes live in the turn of its read.
    LiveAtRead = "live_at_read",
    /// A sender rings a sleeping core.
    RingsBell = "rings_bell",
    /// No subscriber is removed inside a marking pass.
    WholePass = "whole_pass",
    /// Rule 19: one send per socket and flush.
    OneSend = "one_send",
    /// Rule 28: a publication with a key is published once.
    OncePerKey = "once_per_key",
    /// Rule 28: a publisher that asks for it does not receive its own publication.
    NotTold = "not_told",
    /// Rule 32: commands about one channel of one connection take effect, and are answered, in the
    /// order sent.
    InOrder = "in_order",
    /// Rule 33: a call is answered when it has taken effect.
    TakesEffect = "takes_effect",
    /// Rule 33: what a call does to connections follows what was published before it.
    Fenced = "fenced",
    /// Rule 34: a publisher receives its publication before the answer to its publish.
    OwnFirst = "own_first",
    /// Rule 29: no epoch that began before Redis forgot something goes on.
    Incarnation = "incarnation",
    /// Rule 29: what was in flight is sent again when the connection before has ended in Redis too.
    OneSender = "one_sender",
    /// Rule 31: an answer above last + 1 is an expectation: what is between is forwarded first.
    Expectation = "expectation",
    /// Rule 35: what a transport has to say goes out before what is sealed after it.
    SaysFirst = "says_first",
}

/// Breaks a rule on purpose, where the simulation has switched it off; without the feature
/// `sabotage` it expands to nothing.
///
/// `sabotage!(RULE => STATEMENT)` does what must not be done. `sabotage!(RULE: NAME = VALUE)` gives
/// a local variable the wrong value. `sabotage!(RULE skips STATEMENT)` leaves out what must be
/// done; without the feature it is that statement. What takes more than a line is a function in a
/// file `sabotage.rs`, which is compiled with the feature only.
#[cfg(not(feature = "sabotage"))]
macro_rules! sabotage {
    ($rule:ident => $($broken:tt)+) => {};
    ($rule:ident: $name:ident = $wrong:expr) => {};
    ($rule:ident skips $honest:expr) => {
        $honest
    };
}

#[cfg(feature = "sabotage")]
macro_rules! sabotage {
    ($rule:ident => $($broken:tt)+) => {
        if !crate::rules::holds(crate::rules::Rule::$rule) {
            $($broken)+;
        }
    };
    ($rule:ident: $name:ident = $wrong:expr) => {
        let $name =
            if crate::rules::holds(crate::rules::Rule::$rule) { $name } else { $wrong };
    };
    ($rule:ident skips $honest:expr) => {
        if crate::rules::holds(crate::rules::Rule::$rule) {
            $honest
        }
    };
}

pub(crate) use sabotage;

#[cfg(feature = "sabotage")]
mod switch {
    use super::Rule;
    use std::sync::atomic::{AtomicU8, Ordering};

    const NONE: u8 = u8::MAX;
    static BROKEN: AtomicU8 = AtomicU8::new(NONE);

    /// Switches one rule off in this process; `None` switches all on again.
    pub fn switch_off(rule: Option<Rule>) {
        BROKEN.store(rule.map_or(NONE, |rule| rule as u8), Ordering::Relaxed);
    }

    /// Does the rule hold, or was it switched off?
    #[inline]
    #[must_use]
    pub fn holds(rule: Rule) -> bool {
        BROKEN.load(Ordering::Relaxed) != rule as u8
    }
}

#[cfg(feature = "sabotage")]
pub use switch::{holds, switch_off};
