//! What a simulated client asked and is not answered yet, and what it may expect.
//!
//! Must not know what was answered.

use super::plan::Plan;
use super::server_side::Since;

/// A command without an answer yet.
#[derive(Clone, Debug)]
pub enum Waiting {
    Connect {
        /// Where it was in its server-side subscriptions.
        since: Vec<Since>,
    },
    Subscribe {
        channel: usize,
        since: Option<(String, u64)>,
    },
    Unsubscribe {
        channel: usize,
    },
    Publish {
        publication: u32,
        channel: usize,
        standing: Standing,
    },
    Presence {
        channel: usize,
        live_since: Option<u64>,
        standing: Standing,
    },
    PresenceStats {
        channel: usize,
        standing: Standing,
    },
    /// An `rpc` whose data comes back: so many bytes.
    Echo {
        bytes: usize,
    },
    History {
        channel: usize,
        standing: Standing,
    },
}

/// What a command in a channel may expect when its turn comes, by what its client sent before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Anybody may.
    Open,
    /// It is subscribed by then, unless the server takes it out: how often it had done so before.
    Member { taken_out: u32 },
    /// It is not subscribed by then.
    Stranger,
}

impl Waiting {
    /// The channel that it is about.
    #[must_use]
    pub fn channel(&self) -> Option<usize> {
        match self {
            Waiting::Connect { .. } | Waiting::Echo { .. } => None,
            Waiting::Subscribe { channel, .. }
            | Waiting::Unsubscribe { channel }
            | Waiting::Publish { channel, .. }
            | Waiting::Presence { channel, .. }
            | Waiting::PresenceStats { channel, .. }
            | Waiting::History { channel, .. } => Some(*channel),
        }
    }

    /// Does a home ask its engine about it, where that is elsewhere?
    #[must_use]
    pub fn asks_the_engine(&self, plan: &Plan) -> bool {
        match self {
            // In a channel without history other nodes have to be heard.
            Waiting::Subscribe { .. } => true,
            Waiting::Publish { channel, .. } | Waiting::History { channel, .. } => {
                plan.channels[*channel].keeps
            }
            Waiting::Connect { .. } => plan.channels.iter().any(|channel| channel.user.is_some()),
            Waiting::Presence { .. } | Waiting::PresenceStats { .. } => true,
            Waiting::Unsubscribe { .. } | Waiting::Echo { .. } => false,
        }
    }

    /// What it could expect.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match self {
            Waiting::Publish { standing, .. }
            | Waiting::Presence { standing, .. }
            | Waiting::PresenceStats { standing, .. }
            | Waiting::History { standing, .. } => *standing,
            _ => Standing::Open,
        }
    }
}
