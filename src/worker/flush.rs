//! The write path: dirty connections, one send each, the rest to their backlogs.

use super::{Range, Segment, Send, Unsent, Worker};
use crate::driver::{Driver, Place};
use crate::edge::{Flush, Token};
use crate::home::engine::Engine;
use crate::rules::{Rule, holds};
use crate::transport::Transport;
use bytes::Bytes;

/// What one call of the driver's flush is given; reused from turn to turn.
#[derive(Default)]
pub(super) struct Batch {
    ranges: Vec<Range>,
    segments: Vec<Segment>,
    sends: Vec<Send>,
    tokens: Vec<Token>,
    unsent: Vec<Unsent>,
    /// Bytes of all sends.
    bytes: u64,
    /// Some connection wants to hear that its send went out.
    awaited: bool,
    /// Sealed bytes, where a transport seals.
    pool: Vec<u8>,
}

impl<D: Driver, T: Transport, E: Engine> Worker<D, T, E> {
    /// Sends what was written, to at most as many connections as the budget has; the others wait
    /// for the next turn, so that a large fan-out does not freeze everything else.
    pub(super) fn flush(&mut self) {
        let mut batch = std::mem::take(&mut self.batch);
        batch.segments.clear();
        batch.sends.clear();
        batch.tokens.clear();
        batch.pool.clear();
        (batch.bytes, batch.awaited) = (0, false);
        let mut left = self.budgets.sends;
        while left > 0
            && let Some(flush) = self.edge.next_flush(&mut batch.ranges)
        {
            left -= 1;
            match flush {
                Flush::Nothing => {}
                Flush::One(token, range) if T::IDENTITY => self.add_one(&mut batch, token, range),
                Flush::One(token, range) => {
                    batch.ranges.clear();
                    batch.ranges.push(range);
                    self.add(&mut batch, token);
                }
                Flush::Send(token) => self.add(&mut batch, token),
            }
        }
        if !batch.sends.is_empty() {
            let Batch { segments, sends, unsent, pool, .. } = &mut batch;
            self.metrics.sends.add(sends.len() as u64);
            self.driver.flush(self.edge.arena(), pool, segments, sends, unsent);
            self.settle_sends(&mut batch);
        }
        self.edge.is_flushed();
        self.batch = batch;
    }

    fn add_one(&mut self, batch: &mut Batch, token: Token, range: Range) {
        let Some(link) = self.links[token.index as usize].as_ref().filter(|link| link.open) else {
            return;
        };
        let len = range.end - range.start;
        let first = batch.segments.len() as u32;
        batch.bytes += u64::from(len);
        batch.segments.push(Segment { place: Place::Arena, start: range.start, len });
        batch.sends.push(Send { socket: link.socket, first, count: 1 });
        batch.tokens.push(token);
    }

    fn add(&mut self, batch: &mut Batch, token: Token) {
        batch.awaited = true;
        let Some(link) = self.links[token.index as usize].as_mut().filter(|link| link.open) else {
            return;
        };
        let first = u32::try_from(batch.segments.len()).expect("a flush is bounded");
        if T::IDENTITY {
            batch.segments.extend(batch.ranges.iter().map(|range| Segment {
                place: Place::Arena,
                start: range.start,
                len: range.end - range.start,
            }));
        } else {
            let start = batch.pool.len();
            for range in &batch.ranges {
                let plain = &self.edge.arena()[range.start as usize..range.end as usize];
                self.transport.seal(&mut link.state, plain, &mut batch.pool);
            }
            let bounded = |number: usize| u32::try_from(number).expect("the arena is bounded");
            batch.segments.push(Segment {
                place: Place::Pool,
                start: bounded(start),
                len: bounded(batch.pool.len() - start),
            });
        }
        let mut count = u32::try_from(batch.segments.len()).expect("a flush is bounded") - first;
        let mut first = first;
        if count > 1 && !holds(Rule::OneSend) {
            batch.sends.push(Send { socket: link.socket, first, count: 1 });
            batch.tokens.push(token);
            (first, count) = (first + 1, count - 1);
        }
        batch.sends.push(Send { socket: link.socket, first, count });
        batch.tokens.push(token);
    }

    /// What went out is done with; what did not becomes backlog.
    fn settle_sends(&mut self, batch: &mut Batch) {
        if batch.unsent.is_empty() && !batch.awaited {
            self.metrics.bytes_out.add(batch.bytes);
            return;
        }
        let mut unsent = batch.unsent.iter().peekable();
        for (index, (send, token)) in (0_u32..).zip(batch.sends.iter().zip(&batch.tokens)) {
            let first = send.first as usize;
            let segments = &batch.segments[first..first + send.count as usize];
            let bytes: u32 = segments.iter().map(|segment| segment.len).sum();
            let Some(short) = unsent.next_if(|unsent| unsent.index == index) else {
                self.metrics.bytes_out.add(u64::from(bytes));
                self.edge.sent_inline(*token);
                continue;
            };
            self.metrics.bytes_out.add(u64::from(short.sent));
            if T::IDENTITY {
                batch.ranges.clear();
                batch.ranges.extend(segments.iter().map(|segment| Range {
                    start: segment.start,
                    end: segment.start + segment.len,
                }));
                self.edge.unsent(*token, &batch.ranges, short.sent);
            } else {
                let start = (segments[0].start + short.sent) as usize;
                let end = (segments[0].start + segments[0].len) as usize;
                let rest = Bytes::copy_from_slice(&batch.pool[start..end]);
                self.edge.unsent_sealed(*token, rest.len());
                self.driver.arm_send(send.socket, rest);
            }
        }
        debug_assert!(unsent.next().is_none(), "every rest belongs to a send");
    }
}
