//! The write path: dirty connections, one send each, the rest to their backlogs.

use super::{Range, Segment, Send, Unsent, Worker};
use crate::contract::engine::Engine;
use crate::driver::{Driver, Pieces, Place};
use crate::edge::{ConnectionId, Flush};
use crate::rules::sabotage;
use crate::transport::Transport;
use bytes::Bytes;

/// What one call of the driver's flush is given; reused from turn to turn.
#[derive(Default)]
pub(super) struct Batch {
    ranges: Vec<Range>,
    segments: Vec<Segment>,
    pub(super) sends: Vec<Send>,
    pub(super) conns: Vec<ConnectionId>,
    unsent: Vec<Unsent>,
    /// Bytes of all sends, where none is awaited.
    bytes: u64,
    /// Some connection wants to hear that its send went out.
    awaited: bool,
    /// Sealed bytes, where a transport seals.
    pool: Vec<u8>,
}

fn segment(range: Range) -> Segment {
    debug_assert!(range.start < range.end, "a range of nothing");
    Segment { place: Place::Arena, start: range.start, len: range.end - range.start }
}

impl<D: Driver, T: Transport, E: Engine> Worker<D, T, E> {
    /// Sends what was written, to at most as many connections as the budget has; the others wait
    /// for the next turn, so that a large fan-out does not freeze everything else.
    pub(super) fn flush(&mut self) {
        let mut batch = std::mem::take(&mut self.batch);
        batch.segments.clear();
        batch.sends.clear();
        batch.conns.clear();
        batch.pool.clear();
        batch.awaited = false;
        self.gather(&mut batch);
        debug_assert_eq!(batch.sends.len(), batch.conns.len(), "each send has its connection");
        if !batch.sends.is_empty() {
            let Batch { segments, sends, unsent, pool, .. } = &mut batch;
            self.metrics.sends.add(sends.len() as u64);
            self.driver.flush(self.edge.arena(), pool, segments, sends, unsent);
            self.settle_sends(&mut batch);
        }
        self.edge.restart_if_flushed();
        self.batch = batch;
    }

    /// Fills the batch. Connections up to the last send have theirs in the same place; who is sent
    /// nothing is taken out. Not inlined: the loop wants the registers for itself.
    #[inline(never)]
    fn gather(&mut self, batch: &mut Batch) {
        self.edge.take_dirty(self.budgets.sends, &mut batch.conns);
        batch.bytes = 0;
        while let Some(conn) = batch.conns.get(batch.sends.len()).copied() {
            let added = match self.edge.flush_of(conn, &mut batch.ranges) {
                Flush::One(range) => self.add_one(batch, conn, range),
                Flush::Send => self.add(batch, conn),
                Flush::Nothing => false,
            };
            if !added {
                batch.conns.swap_remove(batch.sends.len());
            }
        }
    }

    /// A send of one range. False: nothing is sent.
    fn add_one(&mut self, batch: &mut Batch, conn: ConnectionId, range: Range) -> bool {
        let Some(socket) = self.links[conn.index as usize].plain() else {
            batch.ranges.clear();
            batch.ranges.push(range);
            return self.add_sealed(batch, conn);
        };
        batch.bytes += u64::from(range.end - range.start);
        batch.sends.push(Send { socket, pieces: Pieces::One(segment(range)) });
        true
    }

    /// A send of the batch's ranges. False: nothing is sent.
    fn add(&mut self, batch: &mut Batch, conn: ConnectionId) -> bool {
        batch.awaited = true;
        let Some(socket) = self.links[conn.index as usize].plain() else {
            return self.add_sealed(batch, conn);
        };
        let first = u32::try_from(batch.segments.len()).expect("a flush is bounded");
        batch.segments.extend(batch.ranges.iter().copied().map(segment));
        let count = u32::try_from(batch.segments.len()).expect("a flush is bounded") - first;
        debug_assert!(count > 0, "a send of nothing");
        let pieces = Pieces::Many { first, count };
        sabotage!(OneSend: pieces = batch.send_first_apart(first, count, socket, conn));
        batch.sends.push(Send { socket, pieces });
        true
    }

    /// The same for a connection that is not plain, or whose socket is closed.
    #[cold]
    fn add_sealed(&mut self, batch: &mut Batch, conn: ConnectionId) -> bool {
        batch.awaited = true;
        let send = self.seal_ranges(conn, &batch.ranges, &mut batch.pool);
        batch.sends.extend(send);
        send.is_some()
    }

    /// What went out is done with; what did not becomes backlog.
    fn settle_sends(&mut self, batch: &mut Batch) {
        if batch.unsent.is_empty() && !batch.awaited {
            self.metrics.bytes_out.add(batch.bytes);
            return;
        }
        let mut unsent = batch.unsent.iter().peekable();
        for (index, (send, conn)) in (0_u32..).zip(batch.sends.iter().zip(&batch.conns)) {
            let segments = send.pieces.of(&batch.segments);
            let bytes: u32 = segments.iter().map(|segment| segment.len).sum();
            let Some(short) = unsent.next_if(|unsent| unsent.index == index) else {
                self.metrics.bytes_out.add(u64::from(bytes));
                self.edge.sent_inline(*conn);
                continue;
            };
            debug_assert!(short.sent < bytes, "all of it went out");
            self.metrics.bytes_out.add(u64::from(short.sent));
            if segments[0].place == Place::Pool {
                let rest = &segments[0].of(&[], &batch.pool)[short.sent as usize..];
                self.arm_rest(*conn, Bytes::copy_from_slice(rest));
                continue;
            }
            batch.ranges.clear();
            batch.ranges.extend(
                segments.iter().map(|segment| Range {
                    start: segment.start,
                    end: segment.start + segment.len,
                }),
            );
            self.edge.unsent(*conn, &batch.ranges, short.sent);
        }
        debug_assert!(unsent.next().is_none(), "every rest belongs to a send");
    }
}
