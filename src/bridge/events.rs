//! What a store's shard reports, as lines of the log.
//!
//! Must not know when. Invariant: whatever clients or Redis do, a kind of event that is not a
//! change of state has one line in `EVENT_LINE_MS` at most, with the number of those left out.

use super::redis::shard::{Event, Wire};
use crate::limits::EVENT_LINE_MS;
use std::collections::BTreeMap;

/// Kinds of events that can come without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Away(bool),
    Scripts,
    Busy,
    Refused,
    Unreadable,
    NotListed,
    Forked,
    Nodes,
}

impl Kind {
    /// `None`: a change of state, which always has its line.
    fn of(event: &Event) -> Option<Kind> {
        match event {
            Event::Down { wire, was_up: false, .. } => Some(Kind::Away(*wire == Wire::Commands)),
            Event::ScriptsLost => Some(Kind::Scripts),
            Event::Busy => Some(Kind::Busy),
            Event::Refused(_) => Some(Kind::Refused),
            Event::Unreadable(_) => Some(Kind::Unreadable),
            Event::NotListed(_) => Some(Kind::NotListed),
            Event::Forked(_) => Some(Kind::Forked),
            Event::NodeAppeared(_) | Event::NodeDied(_) | Event::NodeLeft(_) => Some(Kind::Nodes),
            Event::Up { .. }
            | Event::Down { was_up: true, .. }
            | Event::Ready
            | Event::FloorRaised(_)
            | Event::NoIncarnation
            | Event::Lapsed
            | Event::OtherVersion { .. }
            | Event::OtherConfiguration(_) => None,
        }
    }
}

/// The lines so far: by kind, when the next may be written, and how many were left out.
#[derive(Debug, Default)]
pub(super) struct Events {
    kinds: BTreeMap<Kind, (u64, u64)>,
}

impl Events {
    /// Writes the line of an event, unless its kind had one a short while ago.
    pub fn note(&mut self, event: &Event, now_ms: u64) {
        if let Some(left_out) = self.take_line(event, now_ms) {
            write(event, left_out);
        }
    }

    /// How many lines of its kind were left out before this one; `None`: it is left out too.
    fn take_line(&mut self, event: &Event, now_ms: u64) -> Option<u64> {
        let Some(kind) = Kind::of(event) else { return Some(0) };
        let (next_ms, left_out) = self.kinds.entry(kind).or_default();
        if now_ms < *next_ms {
            *left_out += 1;
            return None;
        }
        *next_ms = now_ms + EVENT_LINE_MS;
        Some(std::mem::take(left_out))
    }
}

fn write(event: &Event, left_out: u64) {
    match event {
        Event::Up { wire, version } => {
            tracing::info!(connection = ?wire, %version, "connected to Redis");
        }
        Event::Down { wire, error, was_up: true } => {
            tracing::warn!(connection = ?wire, reason = %error, "lost Redis; dialling again");
        }
        Event::Down { wire, error, was_up: false } => {
            tracing::warn!(
                connection = ?wire, reason = %error, left_out, "cannot reach Redis; trying again"
            );
        }
        Event::Ready => tracing::info!("Redis is ready"),
        Event::FloorRaised(floor) => {
            tracing::warn!(
                floor,
                "this Redis is new, or was restarted or replaced, and may have lost publications: \
                 every channel begins a new epoch, and clients that recover are told"
            );
        }
        Event::NoIncarnation => {
            tracing::warn!(
                "Redis does not say which incarnation it is (INFO is barred): a loss of its data \
                 is noticed only where a publication shows it"
            );
        }
        Event::ScriptsLost => {
            tracing::info!(left_out, "Redis forgot its scripts; they are loaded again");
        }
        Event::Busy => {
            tracing::warn!(left_out, "a script has run in Redis for long; publications wait");
        }
        Event::Refused(text) => {
            tracing::warn!(reason = %text, left_out, "a call to Redis was refused");
        }
        Event::Unreadable(text) => {
            tracing::warn!(
                reason = %text, left_out, "Redis has something that is not our publication"
            );
        }
        Event::NotListed(nodes) => {
            tracing::warn!(%nodes, left_out, "channels were listed without those of silent nodes");
        }
        Event::Forked(channel) => {
            tracing::error!(
                channel = channel.as_str(),
                left_out,
                "Redis gave a position for the second time: the channel begins a new epoch"
            );
        }
        Event::NodeAppeared(name) => tracing::info!(node = %name, "another node is there"),
        Event::NodeDied(name) => tracing::warn!(node = %name, "another node is gone"),
        Event::NodeLeft(name) => tracing::info!(node = %name, "another node has stopped"),
        Event::Lapsed => {
            tracing::warn!("this node was gone for the others for a while, and is there again");
        }
        Event::OtherVersion { name, version } => {
            tracing::warn!(node = %name, %version, "another node is of another version");
        }
        Event::OtherConfiguration(name) => {
            tracing::warn!(
                node = %name,
                "another node has other namespaces configured: what channels may do depends on \
                 where a client connects"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_without_end_has_a_line_from_time_to_time() {
        let mut events = Events::default();
        let refused = Event::Refused("OOM".into());
        assert_eq!(events.take_line(&refused, 5), Some(0));
        for _ in 0..1_000 {
            assert_eq!(events.take_line(&refused, 6), None);
        }
        assert_eq!(events.take_line(&Event::Busy, 6), Some(0), "another kind has its own");
        assert_eq!(events.take_line(&refused, 5 + EVENT_LINE_MS), Some(1_000));
        for _ in 0..3 {
            assert_eq!(events.take_line(&Event::Ready, 6), Some(0), "a change of state");
        }
    }
}
