//! Who goes when a worker holds more than it may: whoever holds most, not whoever came last.
//!
//! Must not know sockets. Invariant: nobody is looked for while the worker is within its bounds;
//! over one of them its holders are looked at once, and as many go as bring it a sixteenth below
//! the bound, so that the next look is far away.

use super::connection::{Fact, Life};
use super::refusals::About;
use super::{Edge, Late, Token};
use crate::clock::Now;
use crate::metrics::Cause;
use std::collections::BinaryHeap;

/// Connections that may hold something, each once: those that do not any more are dropped when it
/// has grown to twice its size.
#[derive(Debug, Default)]
pub struct Holders {
    tokens: Vec<Token>,
    compact_at: usize,
}

/// Holders below which nobody looks for those that hold nothing any more.
const FEW_HOLDERS: usize = 1_024;

/// A connection and what it holds; the heaviest is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Holder {
    /// Those of the internal listener go when nobody else is left.
    foreign: bool,
    bytes: u64,
    index: u32,
    generation: u32,
}

/// What a worker's bound comes down to when somebody has to go.
fn relieved(bound: u64) -> u64 {
    bound - bound / 16
}

impl Edge {
    /// Notes that a connection has something unsent, so that it can be found.
    pub(super) fn note_backlog(&mut self, token: Token) {
        if self.at(token).facts.replace(Fact::Backlogged, true) {
            return;
        }
        if self.backlogged.tokens.len() >= self.backlogged.compact_at.max(FEW_HOLDERS) {
            let mut tokens = std::mem::take(&mut self.backlogged.tokens);
            tokens.retain(|token| {
                let holds = self.unsent_held(*token) > 0;
                if !holds && self.is_current(*token) {
                    self.at(*token).facts.set(Fact::Backlogged, false);
                }
                holds
            });
            self.backlogged.compact_at = 2 * tokens.len();
            self.backlogged.tokens = tokens;
        }
        self.backlogged.tokens.push(token);
    }

    /// Memory of what a connection has not been sent.
    fn unsent_held(&mut self, token: Token) -> u64 {
        if !self.is_current(token) {
            return 0;
        }
        let it = self.at(token);
        let held = it.server().map_or(0, |server| server.held.bytes());
        let backlog = it.backlog.as_ref().map_or(0, |backlog| backlog.held_bytes());
        (held + backlog) as u64
    }

    /// More waits unsent on this worker than may: somebody has to go, in a later stage.
    pub(super) fn check_worker_backlog(&mut self) {
        let bound = self.limits.backlog_bytes_per_worker;
        if bound > 0 && self.backlog_bytes > bound && !std::mem::replace(&mut self.sheds, true) {
            self.late.push_back(Late::Shed);
        }
    }

    /// Ends the connections for which most waits, until less waits than may.
    pub(super) fn shed_backlogs(&mut self, now: Now) {
        self.sheds = false;
        let bound = self.limits.backlog_bytes_per_worker;
        if bound == 0 || self.backlog_bytes <= bound {
            return;
        }
        let before = self.backlog_bytes;
        let tokens = self.backlogged.tokens.clone();
        let mut heap: BinaryHeap<Holder> = tokens
            .into_iter()
            .map(|token| {
                let Token { index, generation } = token;
                let bytes = self.unsent_held(token);
                let foreign = bytes > 0 && !self.at(token).facts.has(Fact::Internal);
                Holder { foreign, bytes, index, generation }
            })
            .filter(|holder| holder.bytes > 0)
            .collect();
        let mut ended = 0_u32;
        while self.backlog_bytes > relieved(bound) {
            let Some(Holder { index, generation, .. }) = heap.pop() else { break };
            self.end_holder(Token { index, generation }, now);
            ended += 1;
        }
        tracing::info!(
            core = self.core,
            connections = ended,
            bytes = before - self.backlog_bytes,
            "more waited unsent than limits.backlog_bytes_per_worker: ended those for which most did"
        );
    }

    fn end_holder(&mut self, token: Token, now: Now) {
        match self.life(token) {
            Life::Authenticating | Life::Active => self.close_slow(token, now),
            Life::Connecting => {
                let reason = "its response is not read, and the worker holds more than it may";
                self.refused(token, Cause::Unread, reason, &About::default(), now);
                self.kill(token, now);
            }
            _ => self.kill(token, now),
        }
        // The chunk that is in flight would be kept until its reader reads on, or time is up.
        if self.backlog_bytes > self.limits.backlog_bytes_per_worker {
            self.kill(token, now);
        }
    }
}
