//! Frames that are kept until the connect reply is written: it is the first that a client gets.

use crate::edge::connection::Fact;
use crate::edge::connection::server_side::{Deferred, DeferredFrame};
use crate::edge::output::arena::Range;
use crate::edge::{ConnectionId, Edge, Late};

impl Edge {
    /// From here on, until the connect reply, what is written for the connection is deferred.
    pub(in crate::edge) fn defer_output(&mut self, conn: ConnectionId) {
        if !self.at(conn).facts.replace(Fact::Deferring, true)
            && self.output.has_pending(conn.index)
        {
            // The answer to its upgrade, which goes out before.
            self.pending_to_backlog(conn);
            self.after_append(conn);
        }
    }

    /// Keeps what was written for a connection that waits for its connect reply.
    pub(in crate::edge) fn keep_deferred(&mut self, conn: ConnectionId, ranges: &[Range]) {
        self.note_backlog(conn);
        let bytes_max = self.limits.backlog_bytes as usize;
        let Some(server) = self.places.at(conn).server_mut() else {
            return;
        };
        let deferred = &mut server.deferred;
        let before = deferred.bytes.len();
        for range in ranges {
            for (frame, part, _) in self.output.frames_in(*range) {
                let bytes = self.output.bytes_of(part);
                deferred.bytes.extend_from_slice(bytes);
                let (class, channel) = (frame.class, frame.channel);
                deferred.frames.push(DeferredFrame {
                    bytes: part.end - part.start,
                    class,
                    channel,
                });
            }
        }
        self.accounts.unsent_changed(before, deferred.bytes.len());
        if deferred.bytes.len() > bytes_max {
            self.late.push_back(Late::Slow(conn));
        }
        self.check_worker_backlog();
    }

    /// Holds what this turn has written so far.
    pub(in crate::edge) fn defer_pending(&mut self, conn: ConnectionId) {
        if self.at(conn).facts.has(Fact::Deferring) {
            let mut ranges = Vec::new();
            self.output.take(conn.index, &mut ranges);
            self.keep_deferred(conn, &ranges);
        }
    }

    /// The connect reply is written: what was deferred for it goes on its way.
    pub(in crate::edge) fn send_deferred(&mut self, conn: ConnectionId) {
        if !self.at(conn).facts.replace(Fact::Deferring, false) {
            return;
        }
        let deferred = std::mem::take(&mut self.server_side(conn).deferred);
        self.accounts.unsent_changed(deferred.bytes.len(), 0);
        let mut rest = deferred.bytes.as_slice();
        for frame in &deferred.frames {
            let (bytes, after) = rest.split_at(frame.bytes as usize);
            rest = after;
            let range = self.output.copy(frame.class, frame.channel, bytes);
            if self.output.room() == 0 {
                self.output_to_backlog(conn.index, range);
                self.output.give_back(range);
            } else {
                self.output.mark(conn.index, range);
            }
        }
    }

    /// The connect reply will not come: what was deferred for it is not sent.
    pub(in crate::edge) fn drop_deferred(&mut self, conn: ConnectionId, deferred: &Deferred) {
        self.accounts.unsent_changed(deferred.bytes.len(), 0);
        if self.at(conn).facts.replace(Fact::Deferring, false) {
            self.forget_pending(conn);
        }
    }
}
