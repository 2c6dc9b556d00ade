//! What a store's shard reports, as lines of the log.
//!
//! Invariant: there is a line for a change of state, never one for a message; a shard bounds how
//! many of the others it reports.

use super::redis::shard::Event;

/// Writes the line of an event.
pub(super) fn log(event: &Event) {
    match event {
        Event::Up { wire, version } => {
            tracing::info!(connection = ?wire, %version, "connected to Redis");
        }
        Event::Down { wire, error, was_up: true } => {
            tracing::warn!(connection = ?wire, reason = %error, "lost Redis; dialling again");
        }
        Event::Down { wire, error, was_up: false } => {
            tracing::warn!(connection = ?wire, reason = %error, "cannot reach Redis; trying again");
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
        Event::ScriptsLost => tracing::info!("Redis forgot its scripts; they are loaded again"),
        Event::Busy => tracing::warn!("Redis runs a script for long; publications wait"),
        Event::Refused(text) => tracing::warn!(answer = %text, "Redis refused a command"),
        Event::Unreadable(text) => {
            tracing::warn!(what = %text, "Redis has something that is no publication of ours");
        }
        Event::Forked(channel) => {
            tracing::error!(
                channel = channel.as_str(),
                "Redis gave a position for the second time: the channel begins a new epoch"
            );
        }
    }
}
