//! Whether a connection is read: not while what would come could not be worked off.

use crate::edge::connection::{Fact, Life};
use crate::edge::{ConnectionId, Edge, Effect};
use crate::work::cost;

impl Edge {
    /// Stops reading, where what would come could not be worked off.
    pub(in crate::edge) fn pause(&mut self, conn: ConnectionId) {
        let it = self.at(conn);
        let open = matches!(it.life, Life::Connecting | Life::Authenticating | Life::Active);
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
