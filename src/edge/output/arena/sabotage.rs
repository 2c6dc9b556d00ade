//! What the output does where a rule is broken on purpose. Compiled with the feature `sabotage`
//! only.

use super::Output;
use crate::edge::ConnectionId;

impl Output {
    /// Rule 21, `dirty_gen`: what was written for the connection before is sent to the new one.
    pub(super) fn inherit(&mut self, conn: ConnectionId) {
        self.pending[conn.index as usize].generation = conn.generation;
        let same = self.dirty.iter_mut().filter(|it| it.index == conn.index);
        same.for_each(|it| it.generation = conn.generation);
    }
}
