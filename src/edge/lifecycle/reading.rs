//! Whether a connection is read: not while its input could not be processed.

use crate::edge::connection::{Fact, Life};
use crate::edge::{ConnectionId, Edge, Effect};
use crate::work::cost;

impl Edge {
    /// Stops reading a connection whose input could not be processed.
    pub(in crate::edge) fn pause(&mut self, conn: ConnectionId) {
        let it = self.at(conn);
        let open = matches!(it.life, Life::Http | Life::Authenticating | Life::Active);
        if open && !it.facts.replace(Fact::Paused, true) {
            self.effects.push(Effect::Pause(conn));
            self.work.charge(cost::PAUSE);
        }
    }

    pub(in crate::edge) fn resume_reading(&mut self, conn: ConnectionId) {
        if self.at(conn).facts.replace(Fact::Paused, false) {
            self.effects.push(Effect::Resume(conn));
        }
    }
}
