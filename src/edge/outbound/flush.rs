//! What the worker's flush asks of an edge: which ranges go to whom, and what becomes of a rest.
//!
//! Must not know sockets. Invariant (rule 19): a connection with a backlog is never sent inline;
//! its ranges are appended.

use crate::edge::connection::{Fact, Life};
use crate::edge::output::arena::{Class, Range};
use crate::edge::output::backlog::Backlog;
use crate::edge::{ConnectionId, Edge, Late};
use crate::limits::{ECHO_BACKLOG_BYTES, SEGMENTS_PER_SEND};
use crate::rules::sabotage;
use bytes::Bytes;

/// What is to be done with one dirty connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Send this range inline. Nobody needs to hear that it went out; `unsent` if it did not.
    One(Range),
    /// Send the ranges inline, then say so with `sent_inline` or `unsent`.
    Send,
    /// Nothing: they were appended to its backlog, or it is gone.
    Nothing,
}

impl Edge {
    /// The bytes that ranges refer to.
    #[must_use]
    pub fn arena(&self) -> &[u8] {
        self.output.arena()
    }

    /// Up to `count` connections that something was written for: each is to be asked for with
    /// `flush_of`.
    pub fn take_dirty(&mut self, count: usize, conns: &mut Vec<ConnectionId>) {
        self.output.take_dirty(count, conns);
    }

    /// What is to be done with a connection that was taken off the dirty list, and its ranges.
    #[inline]
    pub fn flush_of(&mut self, conn: ConnectionId, ranges: &mut Vec<Range>) -> Flush {
        let it = self.places.get(conn.index);
        let plain = it.generation == conn.generation && it.life == Life::Active;
        if plain
            && it.backlog.is_none()
            && !it.facts.has(Fact::PeerGone)
            && !it.facts.has(Fact::ClosesWhenSent)
        {
            // Nearly every send: it costs what it has to, and no more.
            if let Some(range) = self.output.take_only(conn.index) {
                return Flush::One(range);
            }
        }
        self.flush_rare(conn, ranges)
    }

    fn flush_rare(&mut self, conn: ConnectionId, ranges: &mut Vec<Range>) -> Flush {
        let current = self.is_current(conn);
        let dead = self.life(conn) == Life::Dead;
        if !current || dead || self.places.get(conn.index).facts.has(Fact::PeerGone) {
            if self.output.generation(conn.index) == conn.generation {
                self.output.take(conn.index, ranges);
            }
            return Flush::Nothing;
        }
        self.output.take(conn.index, ranges);
        if ranges.is_empty() {
            return Flush::Nothing;
        }
        if self.at(conn).facts.has(Fact::Deferring) {
            self.keep_deferred(conn, ranges);
            return Flush::Nothing;
        }
        let behind = self.at(conn).backlog.is_some();
        sabotage!(BacklogFirst: behind = false);
        if behind || ranges.len() > SEGMENTS_PER_SEND as usize {
            for range in ranges.iter() {
                self.append(conn, *range);
            }
            self.after_append(conn);
            return Flush::Nothing;
        }
        Flush::Send
    }

    /// All of an inline send went out.
    #[inline]
    pub fn sent_inline(&mut self, conn: ConnectionId) {
        if self.at(conn).facts.has(Fact::ClosesWhenSent) {
            self.close_sent(conn);
        }
    }

    /// All was written to a connection that ends. Where both sides said goodbye it is closed; else
    /// by FIN, and what the peer still sends is waited for, or the response could be lost to a
    /// reset.
    pub(in crate::edge) fn close_sent(&mut self, conn: ConnectionId) {
        let facts = self.at(conn).facts;
        let open = self.life(conn) == Life::Http || facts.has(Fact::Failed);
        if open && !facts.has(Fact::PeerEnded) {
            self.effects.push(crate::edge::Effect::Shutdown(conn));
        } else {
            self.late.push_back(Late::Close(conn));
        }
    }

    /// `sent` bytes of the ranges went out; the rest becomes the backlog. The frame that was begun
    /// is finished first, and where it ends the rest may be overtaken (rule 20).
    pub fn unsent(&mut self, conn: ConnectionId, ranges: &[Range], sent: u32) {
        let mut left = sent;
        for range in ranges {
            let length = range.end - range.start;
            let skip = left.min(length);
            left -= skip;
            if skip < length {
                self.append(conn, Range { start: range.start + skip, end: range.end });
            }
        }
        self.after_append(conn);
    }

    /// A sealed send did not go out whole: the driver is given the rest as it is, `in_flight`
    /// bytes.
    pub fn unsent_sealed(&mut self, conn: ConnectionId, in_flight: usize) {
        assert!(self.at(conn).backlog.is_none(), "a backlog is never sent inline");
        self.at(conn).backlog = Some(Box::new(Backlog::behind(in_flight)));
        self.note_backlog(conn);
        self.accounts.unsent_changed(0, in_flight);
        self.check_overflow(conn);
    }

    fn append(&mut self, conn: ConnectionId, range: Range) {
        self.note_backlog(conn);
        let it = self.places.at(conn);
        let backlog = it.backlog.get_or_insert_with(Box::default);
        let before = backlog.held_bytes();
        for (frame, part, whole) in self.output.frames_in(range) {
            let bytes = self.output.bytes_of(part);
            let control = frame.class == Class::Control && whole && bytes.first() != Some(&0x88);
            let begun = !whole || frame.class == Class::Upgrade && backlog.is_empty();
            if begun {
                backlog.push_rest(bytes, frame.class, frame.channel);
            } else if control && !backlog.is_empty() {
                // Over its bound a ping or pong says nothing new.
                let _ = backlog.push_control(bytes);
            } else {
                backlog.push(bytes, frame.class, frame.channel);
            }
        }
        self.accounts.unsent_changed(before, backlog.held_bytes());
    }

    pub(in crate::edge) fn after_append(&mut self, conn: ConnectionId) {
        self.check_overflow(conn);
        if self.at(conn).backlog.as_ref().is_some_and(|backlog| !backlog.is_armed()) {
            self.effects.push(crate::edge::Effect::Arm(conn));
        }
    }

    /// Gives a connection's range to its backlog at once, behind what it was given before.
    pub(in crate::edge) fn output_to_backlog(&mut self, index: u32, range: Range) {
        let conn = ConnectionId { index, generation: self.output.generation(index) };
        if self.at(conn).facts.has(Fact::Deferring) {
            self.defer_pending(conn);
            return self.keep_deferred(conn, &[range]);
        }
        self.pending_to_backlog(conn);
        self.append(conn, range);
        self.after_append(conn);
    }

    /// Changes a connection's backlog, made when there is none, and keeps the books.
    pub(in crate::edge) fn with_backlog<T>(
        &mut self,
        conn: ConnectionId,
        change: impl FnOnce(&mut Backlog) -> T,
    ) -> T {
        self.note_backlog(conn);
        let it = self.places.at(conn);
        let backlog = it.backlog.get_or_insert_with(Box::default);
        let before = backlog.held_bytes();
        let result = change(backlog);
        let after = backlog.held_bytes();
        let armed = backlog.is_armed();
        self.accounts.unsent_changed(before, after);
        if !armed {
            self.effects.push(crate::edge::Effect::Arm(conn));
        }
        result
    }

    /// Moves what was written for a connection this turn to its backlog: something follows that
    /// goes there.
    pub(in crate::edge) fn pending_to_backlog(&mut self, conn: ConnectionId) {
        let mut ranges = Vec::new();
        self.output.take(conn.index, &mut ranges);
        for range in ranges {
            self.append(conn, range);
        }
    }

    pub(in crate::edge) fn check_overflow(&mut self, conn: ConnectionId) {
        if self.is_over_backlog(conn) {
            self.late.push_back(Late::Overflow(conn));
        }
        self.check_worker_backlog();
    }

    /// Does more wait for the connection than may?
    pub(in crate::edge) fn is_over_backlog(&self, conn: ConnectionId) -> bool {
        let echo = self.connection(conn).facts.has(Fact::Echo);
        let bound = if echo {
            ECHO_BACKLOG_BYTES
        } else if self.life(conn) == Life::Http {
            // A response is bounded before it is written, and the next is not written before it is
            // out (`unsent_bytes`).
            0
        } else {
            self.limits.backlog_bytes
        };
        let Some(backlog) = self.connection(conn).backlog.as_ref() else { return false };
        bound > 0 && backlog.bytes() > bound as usize
    }

    /// The next chunk of a connection's backlog for the driver; none when there is nothing (more)
    /// to send, or a chunk is in flight.
    pub fn next_chunk(&mut self, conn: ConnectionId) -> Option<Bytes> {
        if !self.is_current(conn) || self.at(conn).facts.has(Fact::PeerGone) {
            return None;
        }
        let it = self.places.at(conn);
        let backlog = it.backlog.as_mut()?;
        if backlog.is_armed() {
            return None;
        }
        let before = backlog.held_bytes();
        let chunk = backlog.next_chunk();
        self.accounts.unsent_changed(before, backlog.held_bytes());
        if chunk.is_none() && backlog.is_empty() {
            it.backlog = None;
            if it.facts.has(Fact::ClosesWhenSent) && !self.output.has_pending(conn.index) {
                self.close_sent(conn);
            }
        }
        chunk
    }

    /// The chunk in flight went out.
    pub fn chunk_sent(&mut self, conn: ConnectionId) {
        if !self.is_current(conn) {
            return;
        }
        let it = self.places.at(conn);
        let Some(backlog) = it.backlog.as_mut() else { return };
        let before = backlog.held_bytes();
        backlog.sent();
        let after = backlog.held_bytes();
        self.accounts.unsent_changed(before, after);
        self.effects.push(crate::edge::Effect::Arm(conn));
        if it.life == Life::Http && it.input.as_ref().is_some_and(|input| !input.is_empty()) {
            // The next request may have waited for this.
            self.make_ready(conn);
        }
    }

    /// Bytes that were written for a connection and have not been sent.
    pub(in crate::edge) fn unsent_bytes(&self, conn: ConnectionId) -> usize {
        let it = self.places.get(conn.index);
        let backlog = it.backlog.as_ref().map_or(0, |backlog| backlog.unsent_bytes());
        backlog + self.output.pending_bytes(conn.index)
    }

    /// Whether a connection was sent something of what waits for it, since the last call.
    pub(in crate::edge) fn take_moved(&mut self, conn: ConnectionId) -> bool {
        self.at(conn).backlog.as_mut().is_some_and(|backlog| backlog.take_moved())
    }

    /// Forgets what a connection was to be sent this turn.
    pub(in crate::edge) fn forget_pending(&mut self, conn: ConnectionId) {
        self.output.take(conn.index, &mut Vec::new());
    }

    /// Begins the arena anew if everything is flushed; whether that was so.
    pub fn restart_if_flushed(&mut self) -> bool {
        self.output.restart_if_flushed()
    }
}
