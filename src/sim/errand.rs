//! A backend's calls about a user, step by step, each after the answer to the previous one:
//! subscribes the user, publishes, and ends the subscription (rule 33).
//!
//! Must not know the effects except by answers, and by what its clients see. Invariant: a step is
//! called when the previous one was answered; no other errand uses the channel.

use super::client::{Client, Phase};
use super::host::Host;
use super::ledger::Ledger;
use super::promise::{Promise, Seat};
use crate::contract::engine::Engine;
use crate::transport::Transport;

/// A step of an errand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Subscribe,
    /// Every connection that existed before `Subscribe` receives it.
    Publish,
    PresenceStats,
    /// The same, and each connection receives it before the end that follows.
    Farewell,
    Unsubscribe,
    /// No connection receives it.
    Silence,
    Disconnect,
}

/// See the module's documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errand {
    pub user: usize,
    /// The next step, or the one under way.
    pub step: Step,
    /// The user's connections that existed when `Subscribe` was called.
    pub seats: Vec<Seat>,
    /// It ends with `Disconnect`.
    pub disconnects: bool,
}

impl Errand {
    #[must_use]
    pub fn new(user: usize, disconnects: bool) -> Errand {
        Errand { user, step: Step::Subscribe, seats: Vec::new(), disconnects }
    }

    /// The next step; `None` after the last.
    #[must_use]
    pub fn next(&self) -> Option<Step> {
        match self.step {
            Step::Subscribe => Some(Step::Publish),
            Step::Publish => Some(Step::PresenceStats),
            Step::PresenceStats => Some(Step::Farewell),
            Step::Farewell if self.disconnects => Some(Step::Disconnect),
            Step::Farewell => Some(Step::Unsubscribe),
            Step::Unsubscribe => Some(Step::Silence),
            Step::Silence | Step::Disconnect => None,
        }
    }
}

impl Ledger {
    /// No connection may receive this publication.
    pub fn silence(&mut self, number: u32) {
        self.publications[number as usize].silent = true;
    }

    /// A connection or its subscription ends: it must have received what was published before.
    pub fn judge_farewell(&mut self, client: &Client) {
        let seat = (client.index, client.connection);
        let mut lost = Vec::new();
        for promise in &self.promises {
            if let Promise::Heard { number, seats } = promise
                && seats.contains(&seat)
                && !client.has_seen(*number)
            {
                lost.push(*number);
            }
        }
        for number in lost {
            self.violation("farewell_lost", || format!("{number} by {seat:?}"));
        }
    }
}

impl<T: Transport, E: Engine> Host<T, E> {
    /// The connections of a user to the host that is called, as their clients know.
    pub(super) fn seats(&self, user: usize) -> Vec<Seat> {
        // The host that is called knows its own connections only.
        let host = self.plan.host_of(self.caller.core());
        let there = |client: &&Client| {
            client.user == Some(user)
                && client.phase == Phase::Connected
                && self.plan.host_of(client.core) == host
        };
        self.clients.iter().filter(there).map(|it| (it.index, it.connection)).collect()
    }

    /// Everything has arrived: a connection that still exists must have received what was promised.
    pub(super) fn judge_promises(&mut self) {
        let promises = std::mem::take(&mut self.ledger.borrow_mut().promises);
        let mut kept = Vec::new();
        for promise in promises {
            let seats = match &promise {
                Promise::Heard { seats, .. }
                | Promise::Present { seats, .. }
                | Promise::Over { seats } => seats.clone(),
            };
            let mut still: Vec<&Client> = Vec::new();
            let mut waits = false;
            for (client, connection) in seats {
                let client = &self.clients[usize::from(client)];
                waits |= self.now_us < client.stalled_until_us && !client.dead;
                if client.connection == connection
                    && client.phase == Phase::Connected
                    && self.is_served(client)
                {
                    still.push(client);
                }
            }
            if waits {
                kept.push(promise);
                continue;
            }
            let mut ledger = self.ledger.borrow_mut();
            match promise {
                Promise::Heard { number, .. } => {
                    for client in still.iter().filter(|client| !client.has_seen(number)) {
                        let seat = (client.index, client.connection);
                        ledger.violation("awaited_call_not_heard", || format!("{number} {seat:?}"));
                    }
                }
                Promise::Present { clients, .. } if (clients as usize) < still.len() => {
                    let still = still.len();
                    ledger.violation("absent_after_subscribe", || format!("{clients} of {still}"));
                }
                Promise::Present { .. } | Promise::Over { .. } => {}
            }
        }
        self.ledger.borrow_mut().promises = kept;
    }
}
