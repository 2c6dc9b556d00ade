//! Writing to one connection: replies, pushes, and control frames.

use crate::codec::command::{ErrorCode, Push, Reply, UNSUBSCRIBE_INSUFFICIENT};
use crate::contract::key::ReplyTo;
use crate::edge::connection::Life;
use crate::edge::output::arena::{Class, NO_CHANNEL, Range};
use crate::edge::{ConnectionId, Edge};
use crate::work::cost;

impl Edge {
    pub(in crate::edge) fn answer(&mut self, to: ReplyTo, reply: &Reply<'_>) {
        if let Some(conn) = self.answered(to)
            && to.command > 0
        {
            self.reply(conn, reply);
        }
    }

    /// Gives a connection a range, or moves it to its backlog if it is large for the arena.
    pub(in crate::edge) fn mark_or_spill(&mut self, conn: ConnectionId, range: Range) {
        self.metrics.messages_out.add(1);
        self.work.charge((range.end - range.start) as usize / cost::RESPONSE_BYTES_PER_NS);
        if self.output.is_too_large((range.end - range.start) as usize) {
            self.output_to_backlog(conn.index, range);
            self.output.give_back(range);
        } else {
            self.output.mark(conn.index, range);
        }
    }

    pub(in crate::edge) fn push_unsubscribe(&mut self, conn: ConnectionId, channel: &str) {
        let (code, reason) = UNSUBSCRIBE_INSUFFICIENT;
        self.reply(conn, &Reply::Push { channel, push: Push::Unsubscribe { code, reason } });
    }

    /// Writes a control frame, which overtakes what waits at a frame boundary. False: no room for
    /// it.
    pub(in crate::edge) fn control_frame(&mut self, conn: ConnectionId, bytes: &[u8]) -> bool {
        if self.at(conn).backlog.is_none() {
            let range = self.output.control(bytes);
            self.output.mark(conn.index, range);
            return true;
        }
        // Ranges of this turn come after the backlog, and a close frame must come after them.
        if self.output.has_pending(conn.index) {
            let range = self.output.control(bytes);
            self.output.mark(conn.index, range);
            return true;
        }
        let close = bytes.first() == Some(&0x88);
        self.with_backlog(conn, |backlog| {
            if close {
                backlog.push(bytes, Class::Control, NO_CHANNEL);
                return true;
            }
            backlog.push_control(bytes)
        })
    }

    /// Writes a control frame other than close.
    pub(in crate::edge) fn control(&mut self, conn: ConnectionId, bytes: &[u8]) {
        // With 4 KiB of pings and pongs waiting already, another adds nothing.
        let _ = self.control_frame(conn, bytes);
    }

    pub(in crate::edge) fn count_error(&self, error: ErrorCode) {
        self.metrics.error(u16::try_from(error.parts().0).expect("a small number"));
    }

    /// Writes a reply or a push to one connection.
    pub(in crate::edge) fn reply(&mut self, conn: ConnectionId, reply: &Reply<'_>) {
        if !matches!(self.life(conn), Life::Authenticating | Life::Active) {
            return;
        }
        if let Reply::Error { error, .. } = reply {
            self.count_error(*error);
        }
        let codec = self.at(conn).codec;
        let range = self.output.reply(codec, reply);
        self.mark_or_spill(conn, range);
    }
}
