//! What completions mean to the owner, and what the owner asks: the ring's state machine.
//!
//! Must not know how the kernel is spoken to. Its invariants: a receive is armed if and only if the
//! socket is `Receiving` (or its last completion is on its way, or it waits for a buffer), and what
//! completes for a closed socket reaches nobody.

#![deny(unsafe_code)]

use super::slots::{ARMED, CLOSE, Kind, RECV, SHUTDOWN, State, untag};
use super::starved::Line;
use super::{Op, SHARE, Uring};
use crate::driver::chunks::NONE;
use crate::driver::{
    Buffer, Driver, DriverStats, End, Event, Segment, Send, Socket, Tag, Unsent, one_each,
};
use bytes::{Buf, Bytes};
use io_uring::cqueue;
use std::time::Duration;

/// Completions that a turn begins with, where there are so many. While there are, the kernel is
/// asked for no more: what it had in hand for the owner would go before what comes next, whoever
/// sent it.
const BATCH: usize = 256;
/// Calls to get them.
const BATCH_ROUNDS: usize = 16;

impl Uring {
    pub(super) fn arm_accepts(&mut self) {
        for _ in 0..self.accepts.idle() {
            let Some(index) = self.accepts.next_idle() else { return };
            let accept = self.accepts.get_mut(index);
            let Some(slot) = self.slots.take(accept.listener) else {
                // Another listener may have one.
                self.accepts.put_back(index);
                continue;
            };
            debug_assert!(!accept.under_way, "an accept's address is in use");
            accept.slot = slot;
            accept.under_way = true;
            self.under_way += 1;
            self.push(Op::Accept(index));
        }
    }

    fn arm_recv(&mut self, index: u32) {
        let slot = &mut self.slots[index];
        debug_assert!(slot.state == State::Receiving && slot.under_way & RECV == 0);
        slot.under_way |= RECV;
        slot.cancelling = false;
        self.under_way += 1;
        self.push(Op::Recv(index));
    }

    fn cancel_recv(&mut self, index: u32) {
        let slot = &mut self.slots[index];
        if slot.under_way & RECV != 0 && !slot.cancelling {
            slot.cancelling = true;
            self.push(Op::CancelRecv(index));
        }
    }

    /// Completions that the owner has not been told of.
    fn in_hand(&mut self) -> usize {
        self.held.len() + self.ring.completion().len()
    }

    /// Goes on with receives that wait, as many as can have a share of the buffers that there are
    /// and of the batch: more of them would only find no buffer again, or delay what comes next.
    fn feed_starved(&mut self) {
        let room = BATCH.saturating_sub(self.in_hand());
        let mut left = room.min(self.buffers.left().into());
        while left > 0
            && let Some((index, generation)) = self.starved.pop()
        {
            let slot = &mut self.slots[index];
            if slot.generation != generation || !std::mem::take(&mut slot.starved) {
                continue;
            }
            if slot.state == State::Receiving && slot.under_way & RECV == 0 {
                slot.fed = true;
                self.arm_recv(index);
                left = left.saturating_sub(SHARE as usize);
            }
        }
    }

    /// Arms the next receive of a socket. If other sockets wait, or the owner has enough to do, it
    /// is lined up instead, unless its last receive took all there was: it then delays no other.
    fn receive_in_turn(&mut self, index: u32) {
        let slot = &self.slots[index];
        let is_due = slot.state == State::Receiving && slot.under_way & RECV == 0;
        if !is_due || slot.starved {
            return;
        }
        if !slot.drained && (!self.starved.is_empty() || self.in_hand() >= BATCH) {
            self.starve(index);
        } else {
            self.arm_recv(index);
        }
    }

    /// Lines a receive up for buffers. One that was fed and found none all the same goes first, or
    /// it would start again from the end of a line of floods.
    fn starve(&mut self, index: u32) {
        let slot = &mut self.slots[index];
        if std::mem::replace(&mut slot.starved, true) {
            return;
        }
        let line = match (slot.fed, slot.drained) {
            (true, _) => Line::Again,
            (false, true) => Line::Light,
            (false, false) => Line::Heavy,
        };
        self.starved.push(line, (index, slot.generation));
    }

    /// What a completion says to the owner.
    fn complete(&mut self, cqe: &cqueue::Entry) -> Option<Event> {
        let (kind, generation, index) = untag(cqe.user_data());
        let more = cqueue::more(cqe.flags());
        match kind {
            Kind::Bell if !more => self.push(Op::Bell),
            Kind::Bell | Kind::Rung | Kind::Cancel => {}
            Kind::Message => self.bells.failed(index as usize, -cqe.result()),
            Kind::Flush => debug_assert!(false, "a flush leaves no send behind"),
            Kind::Accept => return self.accepted(index, cqe.result()),
            Kind::Recv => return self.received(index, generation, cqe),
            Kind::Armed => return self.armed_done(index, generation, cqe.result()),
            Kind::Shutdown => self.done(index, SHUTDOWN),
            Kind::Close => self.done(index, CLOSE),
        }
        None
    }

    fn accepted(&mut self, index: u32, result: i32) -> Option<Event> {
        self.under_way -= 1;
        self.accepts.ended(index);
        let accept = self.accepts.get_mut(index);
        let (slot, peer, listener) = (accept.slot, accept.address.ip(), accept.listener);
        debug_assert_eq!(self.slots[slot].state, State::Free, "the slot was promised to it");
        if result >= 0 {
            self.slots[slot].state = State::New;
            let listener = u8::try_from(listener).expect("few listeners");
            return Some(Event::Accepted { socket: Socket(slot), peer, listener });
        }
        self.slots.give(slot);
        // A connection that was gone before it was taken is no reason to wait.
        if ![libc::ECONNABORTED, libc::EPROTO, libc::EINTR, libc::ECANCELED].contains(&-result) {
            self.accepts.rest();
        }
        None
    }

    fn received(&mut self, index: u32, generation: u32, cqe: &cqueue::Entry) -> Option<Event> {
        let result = cqe.result();
        let buffer = cqueue::buffer_select(cqe.flags());
        if let Some(id) = buffer {
            self.buffers.lend(id);
        }
        let slot = &self.slots[index];
        debug_assert_eq!(slot.generation, generation, "its slot was used again");
        debug_assert!(slot.under_way & RECV != 0, "a receive that is not under way");
        let open = self.slots.is_open(index, generation);
        if !cqueue::more(cqe.flags()) {
            self.under_way -= 1;
            self.slots[index].cancelling = false;
            self.done(index, RECV);
        }
        let slot = &mut self.slots[index];
        let tag = slot.tag;
        match (buffer, result) {
            (Some(id), 1..) if open => {
                slot.fed = false;
                slot.drained = (result as u32) < self.tuning.buffer_bytes;
                self.receive_in_turn(index);
                let buffer = Buffer { id: id.into(), len: result as u32 };
                return Some(Event::Received { tag, buffer });
            }
            (Some(id), _) => self.buffers.give_back(id),
            (None, _) => {}
        }
        if !open {
            return None;
        }
        let end = match -result {
            libc::ENOBUFS => {
                self.stats.out_of_buffers += 1;
                self.buffers.grow(0);
                self.starve(index);
                return None;
            }
            libc::ECANCELED | libc::EINTR | libc::EAGAIN => {
                self.receive_in_turn(index);
                return None;
            }
            0 => End::Closed,
            errno => End::Failed(errno),
        };
        self.slots[index].state = State::Ended;
        Some(Event::Ended { tag, end })
    }

    /// Runs deferred work until a turn has enough to do: one `enter` runs some 20 pieces of it.
    /// What was queued goes out too, where `submit` says so.
    fn run_deferred(&mut self, submit: bool) {
        // Without the total cap one socket could take much in every round.
        let rounds = if self.tuning.total_cap { BATCH_ROUNDS } else { 1 };
        for round in 0..rounds {
            let queue = self.ring.submission();
            let due = queue.taskrun() || queue.cq_overflow();
            let queued = submit && round == 0 && !queue.is_empty();
            drop(queue);
            let there = self.in_hand();
            if there >= BATCH {
                if queued {
                    self.submit();
                }
                return;
            }
            if !queued && !due {
                return;
            }
            self.enter(0, None);
            // Work is listed first and flagged then: run between the two, it leaves a flag that no
            // work is behind, until the next.
            self.false_alarm = due && self.in_hand() == there;
            if self.false_alarm {
                return;
            }
        }
    }

    /// An operation on a slot has ended; the slot is free when its last one has.
    fn done(&mut self, index: u32, operation: u8) {
        let slot = &mut self.slots[index];
        debug_assert!(slot.under_way & operation != 0);
        slot.under_way &= !operation;
        if slot.state == State::Closing && slot.under_way == 0 {
            self.slots.give(index);
        }
    }

    fn armed_done(&mut self, index: u32, generation: u32, result: i32) -> Option<Event> {
        self.under_way -= 1;
        let open = self.slots.is_open(index, generation);
        debug_assert_eq!(self.slots[index].generation, generation, "its slot was used again");
        debug_assert!(self.slots[index].under_way & ARMED != 0, "a send that is not under way");
        let number = self.slots[index].armed;
        let chunk = self.chunks.get_mut(number);
        let sent = usize::try_from(result).unwrap_or(0);
        debug_assert!(sent <= chunk.len(), "more went out than there was");
        let short = sent < chunk.len();
        chunk.advance(sent);
        let passing = result > 0 || [-libc::EINTR, -libc::EAGAIN].contains(&result);
        if open && short && passing {
            self.under_way += 1;
            self.push(Op::Armed(index));
            return None;
        }
        self.chunks.remove(number);
        let slot = &mut self.slots[index];
        slot.armed = NONE;
        let (tag, fin) = (slot.tag, slot.fin);
        self.done(index, ARMED);
        if !open {
            return None;
        }
        if short {
            self.fail_send(index, -result);
            return None;
        }
        if fin {
            self.push_shutdown(index);
        }
        Some(Event::Sent { tag })
    }

    /// A send failed: tells the owner, once.
    fn fail_send(&mut self, index: u32, errno: i32) {
        let slot = &mut self.slots[index];
        if !slot.failed {
            slot.failed = true;
            let event = Event::SendFailed { tag: slot.tag, errno };
            self.told.push_back((index, slot.generation, event));
        }
    }

    fn push_shutdown(&mut self, index: u32) {
        let slot = &mut self.slots[index];
        if slot.under_way & SHUTDOWN == 0 {
            slot.under_way |= SHUTDOWN;
            self.push(Op::Shutdown(index));
        }
    }

    /// What the sends of a flush that did not go out whole came to.
    fn settle(&mut self, sends: &[Send], unsent: &mut Vec<Unsent>) {
        let mut results = std::mem::take(&mut self.results);
        for (index, result) in results.drain(..) {
            debug_assert!((index as usize) < sends.len(), "a send of another flush");
            unsent.push(Unsent { index, sent: result.max(0) as u32 });
            match -result {
                ..=0 | libc::EAGAIN | libc::EINTR | libc::ENOBUFS | libc::ENOMEM => {}
                errno => self.fail_send(sends[index as usize].socket.0, errno),
            }
        }
        self.results = results;
    }
}

impl Driver for Uring {
    fn next_event(&mut self) -> Option<Event> {
        loop {
            while let Some((index, generation, event)) = self.told.pop_front() {
                if self.slots.is_open(index, generation) {
                    return Some(event);
                }
            }
            if self.held.is_empty() {
                self.hold();
            }
            let cqe = self.held.pop_front()?;
            if let Some(event) = self.complete(&cqe) {
                return Some(event);
            }
        }
    }

    fn bytes(&mut self, buffer: &Buffer) -> &mut [u8] {
        self.buffers.bytes(buffer.id as u16, buffer.len)
    }

    fn release(&mut self, buffer: Buffer) {
        self.buffers.give_back(buffer.id as u16);
    }

    fn adopt(&mut self, socket: Socket, tag: Tag) {
        let slot = &mut self.slots[socket.0];
        assert_eq!(slot.state, State::New);
        slot.tag = tag;
        slot.state = State::Receiving;
        self.arm_recv(socket.0);
    }

    fn pause(&mut self, socket: Socket) {
        debug_assert!(self.slots[socket.0].is_owners(), "a socket that is not the owner's");
        if self.slots[socket.0].state == State::Receiving {
            self.slots[socket.0].state = State::Paused;
            self.cancel_recv(socket.0);
        }
    }

    fn resume(&mut self, socket: Socket) {
        let slot = &mut self.slots[socket.0];
        debug_assert!(slot.is_owners(), "a socket that is not the owner's");
        if slot.state == State::Paused {
            slot.state = State::Receiving;
            // One that is being cancelled is armed again after its last completion.
            self.receive_in_turn(socket.0);
        }
    }

    fn flush(
        &mut self,
        arena: &[u8],
        pool: &[u8],
        segments: &[Segment],
        sends: &[Send],
        unsent: &mut Vec<Unsent>,
    ) {
        unsent.clear();
        debug_assert!(one_each(sends), "two sends to one socket");
        debug_assert!(self.results.is_empty(), "what a flush came to is settled by it");
        let may_send = |send: &Send| {
            let slot = &self.slots[send.socket.0];
            slot.is_owners() && slot.armed == NONE
        };
        debug_assert!(sends.iter().all(may_send), "a flush to a closed socket, or an armed send");
        let room = self.ring.submission().capacity();
        for (number, piece) in sends.chunks(room).enumerate() {
            if self.ring.submission().len() + piece.len() > room {
                self.submit();
            }
            self.queue_sends(arena, pool, segments, piece, number * room);
            self.submit();
            self.hold();
            while self.ring.submission().cq_overflow() {
                self.enter(0, None);
                self.hold();
            }
            self.settle(sends, unsent);
        }
        unsent.sort_unstable_by_key(|unsent| unsent.index);
    }

    fn arm_send(&mut self, socket: Socket, chunk: Bytes) {
        let slot = &mut self.slots[socket.0];
        assert!(slot.armed == NONE && slot.is_owners());
        if slot.failed {
            return;
        }
        slot.armed = self.chunks.insert(chunk);
        slot.under_way |= ARMED;
        self.under_way += 1;
        self.push(Op::Armed(socket.0));
    }

    fn shutdown(&mut self, socket: Socket) {
        let slot = &mut self.slots[socket.0];
        debug_assert!(slot.is_owners(), "a socket that is not the owner's");
        if slot.armed != NONE {
            slot.fin = true;
        } else {
            self.push_shutdown(socket.0);
        }
    }

    fn close(&mut self, socket: Socket) {
        let slot = &mut self.slots[socket.0];
        assert!(slot.is_owners(), "closed twice");
        slot.state = State::Closing;
        slot.under_way |= CLOSE;
        let armed = slot.under_way & ARMED != 0;
        // A receive that is still armed when its socket is closed goes on, and no FIN is sent.
        self.cancel_recv(socket.0);
        if armed {
            self.push(Op::CancelArmed(socket.0));
        }
        self.push(Op::Close(socket.0));
    }

    fn stop_listening(&mut self) {
        for index in self.accepts.stop() {
            self.push(Op::CancelAccept(index));
        }
        // An accept not yet submitted names its listener by number.
        self.submit();
        self.listeners.clear();
    }

    fn stats(&self) -> DriverStats {
        self.stats
    }

    fn look_for_news(&mut self) -> bool {
        if !self.told.is_empty() || !self.held.is_empty() {
            return true;
        }
        let queue = self.ring.submission();
        // Who sleeps on a false alarm that is none is woken at once: the kernel looks at the work.
        let due = queue.taskrun() && !self.false_alarm || queue.cq_overflow();
        drop(queue);
        due || !self.ring.completion().is_empty()
    }

    fn notify(&mut self, core: usize) {
        if let Some(ring) = self.bells.ring(core) {
            self.push(Op::Message(core, ring));
        }
    }

    fn wait(&mut self, timeout: Option<Duration>) {
        self.feed_starved();
        self.arm_accepts();
        // Whoever was fed may have nothing to receive: the next in line is not to wait for that.
        let hungry = !self.starved.is_empty() && self.buffers.left() > 0;
        let known = hungry || !self.told.is_empty() || !self.held.is_empty();
        if known || timeout == Some(Duration::ZERO) || !self.ring.completion().is_empty() {
            return self.run_deferred(true);
        }
        let timeout = match self.accepts.resting() {
            Some(rest) => Some(timeout.map_or(rest, |timeout| timeout.min(rest))),
            None => timeout,
        };
        self.enter(1, timeout);
        self.false_alarm = false;
        self.run_deferred(false);
    }
}
