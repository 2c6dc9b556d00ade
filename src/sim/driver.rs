//! A driver whose kernel is the simulation's network, with every fault that sockets have.
//!
//! Must not know frames. Invariant: it judges its owner by the trait's contract, and what it finds
//! goes to the ledger: a broken rule is a violation of the run, never a panic.

use super::ledger::SharedLedger;
use super::net::{ECONNRESET, Link, SharedNet};
use super::random::Random;
use crate::driver::{Buffer, Driver, End, Event, Segment, Send, Socket, Tag, Unsent};
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::Duration;

/// Receive buffers of a core: few, so that they run out.
const BUFFERS: usize = 6;
/// Polls that a closed socket's number rests before it is given out again, at most.
const REST_POLLS: usize = 3;

/// How often the kernel is unkind, in 1,000.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A receive ends short, anywhere.
    pub cut: u32,
    /// What happened on a socket is told in a later poll.
    pub delay: u32,
    /// An inline send stops short although there was room.
    pub short: u32,
    /// No receive buffers for some polls.
    pub dry: u32,
}

struct Open {
    link: usize,
    tag: Option<Tag>,
    paused: bool,
    ended: bool,
    armed: Option<(Bytes, usize)>,
    /// `shutdown` was called.
    finishing: bool,
    /// A failed send has to be told, or was.
    failure: Failure,
    /// The last flush that named it.
    flush: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Failure {
    None,
    Due,
    Told,
}

enum Slot {
    Free,
    Open(Open),
    Resting { polls: usize },
}

/// The simulation's driver of one core.
pub struct SimDriver {
    core: usize,
    /// The bells of its host among all: by core, and the bridge's.
    bells: Vec<usize>,
    net: SharedNet,
    ledger: SharedLedger,
    random: Random,
    faults: Faults,
    slots: Vec<Slot>,
    events: VecDeque<Event>,
    buffers: Vec<Vec<u8>>,
    free_buffers: Vec<u32>,
    dry_polls: usize,
    flushes: u64,
    listening: bool,
    arena_high: usize,
    /// Cores to ring with the next wait, as a ring does that sends messages.
    to_ring: Vec<usize>,
}

impl SimDriver {
    #[must_use]
    pub fn new(
        (core, bells): (usize, Vec<usize>),
        net: SharedNet,
        ledger: SharedLedger,
        mut random: Random,
        faults: Faults,
    ) -> SimDriver {
        let buffer_bytes = random.pick(&[16, 64, 256, 1_024]);
        SimDriver {
            core,
            bells,
            net,
            ledger,
            random,
            faults,
            slots: Vec::new(),
            events: VecDeque::new(),
            buffers: vec![vec![0; buffer_bytes]; BUFFERS],
            free_buffers: (0..BUFFERS as u32).collect(),
            dry_polls: 0,
            flushes: 0,
            listening: true,
            arena_high: 0,
            to_ring: Vec::new(),
        }
    }

    /// What the kernel is handed as a wait begins: cores are rung by messages only then.
    pub fn begin_wait(&mut self) {
        let mut net = self.net.borrow_mut();
        self.to_ring.drain(..).for_each(|core| net.bells[core] = true);
    }

    /// Would `wait` return at once?
    #[must_use]
    pub fn has_work(&self) -> bool {
        debug_assert!(self.to_ring.is_empty(), "a core sleeps after it has rung");
        let net = self.net.borrow();
        !self.events.is_empty()
            || net.bells[self.core]
            || !net.accepts[self.core].is_empty()
            || self.slots.iter().any(|slot| match slot {
                Slot::Open(open) => open.has_work(&net.links[open.link]),
                Slot::Free | Slot::Resting { .. } => false,
            })
    }

    /// Sockets that the owner has not closed.
    #[must_use]
    pub fn open_sockets(&self) -> usize {
        self.slots.iter().filter(|slot| matches!(slot, Slot::Open(_))).count()
    }

    /// Buffers that the owner has not given back and that wait in no event.
    #[must_use]
    pub fn lent_buffers(&self) -> usize {
        let queued = self.events.iter().filter(|event| matches!(event, Event::Received { .. }));
        BUFFERS - self.free_buffers.len() - queued.count()
    }

    /// The longest arena that was flushed, in bytes.
    #[must_use]
    pub fn arena_high(&self) -> usize {
        self.arena_high
    }

    fn broken(&self, what: &'static str, socket: Socket) {
        self.ledger.borrow_mut().violation(what, || format!("core {} {socket:?}", self.core));
    }

    /// The open socket, or a violation: somebody named one that is closed.
    fn open(&mut self, socket: Socket, call: &'static str) -> Option<&mut Open> {
        if !matches!(self.slots.get(socket.0 as usize), Some(Slot::Open(_))) {
            self.broken(call, socket);
        }
        match self.slots.get_mut(socket.0 as usize) {
            Some(Slot::Open(open)) => Some(open),
            _ => None,
        }
    }

    fn accept(&mut self) {
        let burst = self.random.between(1, 4);
        for _ in 0..burst {
            let Some(link) = self.net.borrow_mut().accepts[self.core].pop_front() else { break };
            if !self.listening {
                self.net.borrow_mut().links[link].server_gone = true;
                continue;
            }
            let open = Slot::Open(Open::new(link));
            let free = self.slots.iter().position(|slot| matches!(slot, Slot::Free));
            let number = free.unwrap_or(self.slots.len());
            match self.slots.get_mut(number) {
                Some(slot) => *slot = open,
                None => self.slots.push(open),
            }
            let listener = self.net.borrow().links[link].listener;
            let socket = Socket(number as u32);
            self.events.push_back(Event::Accepted { socket, peer: None, listener });
        }
    }

    /// Asks the network what happened.
    fn poll(&mut self) {
        let accepts_first = self.random.chance(500);
        if accepts_first {
            self.accept();
        }
        if self.dry_polls > 0 {
            self.dry_polls -= 1;
        } else if self.random.chance(self.faults.dry) {
            self.dry_polls = self.random.between(1, 5);
        }
        let count = self.slots.len();
        let first = if count > 0 { self.random.below(count) } else { 0 };
        for turn in 0..count {
            let number = (first + turn) % count;
            match &mut self.slots[number] {
                Slot::Resting { polls: 0 } => self.slots[number] = Slot::Free,
                Slot::Resting { polls } => *polls -= 1,
                Slot::Free => {}
                Slot::Open(_) if self.random.chance(self.faults.delay) => {}
                Slot::Open(_) => {
                    self.poll_send(number);
                    let most = self.random.between(1, 3);
                    self.receive(number, most);
                }
            }
        }
        if !accepts_first {
            self.accept();
        }
    }

    fn poll_send(&mut self, number: usize) {
        let Slot::Open(open) = &mut self.slots[number] else { return };
        let mut net = self.net.borrow_mut();
        let link = &mut net.links[open.link];
        if let Some((chunk, sent)) = &mut open.armed {
            if link.reset && open.failure == Failure::None {
                open.failure = Failure::Due;
            } else if *sent < chunk.len() {
                *sent += link.push(&chunk[*sent..], usize::MAX);
            }
            if *sent == chunk.len() && !self.random.chance(self.faults.delay) {
                open.armed = None;
                let tag = open.tag.expect("only an adopted socket has an armed send");
                self.events.push_back(Event::Sent { tag });
            }
        }
        if open.failure == Failure::Due
            && let Some(tag) = open.tag
        {
            open.failure = Failure::Told;
            open.armed = None;
            self.events.push_back(Event::SendFailed { tag, errno: ECONNRESET });
        }
        link.down_fin |= open.finishing && open.armed.is_none();
    }

    fn receive(&mut self, number: usize, most: usize) {
        for _ in 0..most {
            let Slot::Open(open) = &mut self.slots[number] else { return };
            let Some(tag) = open.tag else { return };
            if open.paused || open.ended {
                return;
            }
            let mut net = self.net.borrow_mut();
            let stamp = net.handed_over;
            let link = &mut net.links[open.link];
            if link.reset && self.random.chance(500) {
                link.up.clear();
            }
            if link.up.is_empty() {
                if link.reset || link.up_fin {
                    open.ended = true;
                    let end = if link.reset { End::Failed(ECONNRESET) } else { End::Closed };
                    self.events.push_back(Event::Ended { tag, end });
                }
                return;
            }
            let Some(id) = self.free_buffers.pop_if(|_| self.dry_polls == 0) else { return };
            let buffer = &mut self.buffers[id as usize];
            let mut room = buffer.len();
            if self.random.chance(self.faults.cut) {
                room = self.random.between(1, room);
            }
            let mut ledger = self.ledger.borrow_mut();
            let len = link.hand_over(&mut buffer[..room], |publication| {
                ledger.handed_over(publication, stamp);
            });
            net.handed_over += 1;
            let buffer = Buffer { id, len: len as u32 };
            self.events.push_back(Event::Received { tag, buffer });
        }
    }

    fn send(&mut self, send: &Send, bytes: &[&[u8]]) -> usize {
        let flush = self.flushes;
        let short = self.random.chance(self.faults.short);
        let total: usize = bytes.iter().map(|piece| piece.len()).sum();
        let mut limit = if short { self.random.below(total + 1) } else { usize::MAX };
        let Some(open) = self.open(send.socket, "flush_of_a_closed_socket") else { return 0 };
        let again = open.flush == flush;
        open.flush = flush;
        let (armed, finishing, link) = (open.armed.is_some(), open.finishing, open.link);
        if armed {
            self.broken("flush_beside_an_armed_send", send.socket);
        }
        if finishing {
            self.broken("flush_after_shutdown", send.socket);
        }
        if again {
            self.broken("two_sends_in_one_flush", send.socket);
        }
        let mut net = self.net.borrow_mut();
        let link = &mut net.links[link];
        let mut sent = 0;
        for piece in bytes {
            // The kernel took a second send whole although the first was short: so does this one.
            let count = if again { link.force(piece) } else { link.push(piece, limit) };
            sent += count;
            limit = limit.saturating_sub(count);
            if count < piece.len() {
                break;
            }
        }
        if link.reset
            && let Slot::Open(open) = &mut self.slots[send.socket.0 as usize]
            && open.failure == Failure::None
        {
            open.failure = Failure::Due;
        }
        sent
    }
}

impl Open {
    fn new(link: usize) -> Open {
        Open {
            link,
            tag: None,
            paused: false,
            ended: false,
            armed: None,
            finishing: false,
            failure: Failure::None,
            flush: 0,
        }
    }

    fn has_work(&self, link: &Link) -> bool {
        let readable = !link.up.is_empty() || link.up_fin || link.reset;
        let sendable = self.armed.as_ref().is_some_and(|(chunk, sent)| {
            *sent == chunk.len()
                || link.room() > 0
                || link.client_gone
                || (link.reset && self.failure == Failure::None)
        });
        self.tag.is_some()
            && (self.failure == Failure::Due
                || sendable
                || (readable && !self.paused && !self.ended)
                || (self.finishing && self.armed.is_none() && !link.down_fin))
    }
}

impl Driver for SimDriver {
    fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn bytes(&mut self, buffer: &Buffer) -> &mut [u8] {
        &mut self.buffers[buffer.id as usize][..buffer.len as usize]
    }

    fn release(&mut self, buffer: Buffer) {
        if self.free_buffers.contains(&buffer.id) {
            self.ledger
                .borrow_mut()
                .violation("buffer_released_twice", || format!("core {} {buffer:?}", self.core));
            return;
        }
        // What the owner still reads after giving it back is somebody else's.
        self.buffers[buffer.id as usize].fill(0xEE);
        self.free_buffers.push(buffer.id);
    }

    fn adopt(&mut self, socket: Socket, tag: Tag) {
        let Some(open) = self.open(socket, "adopt_of_a_closed_socket") else { return };
        if open.tag.replace(tag).is_some() {
            self.broken("adopted_twice", socket);
        }
    }

    fn pause(&mut self, socket: Socket) {
        if self.open(socket, "pause_of_a_closed_socket").is_some() {
            // What was under way still arrives.
            let under_way = self.random.below(3);
            self.receive(socket.0 as usize, under_way);
        }
        if let Some(Slot::Open(open)) = self.slots.get_mut(socket.0 as usize) {
            open.paused = true;
        }
    }

    fn resume(&mut self, socket: Socket) {
        if let Some(open) = self.open(socket, "resume_of_a_closed_socket") {
            open.paused = false;
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
        self.flushes += 1;
        self.arena_high = self.arena_high.max(arena.len());
        let mut bytes: Vec<&[u8]> = Vec::new();
        for (index, send) in sends.iter().enumerate() {
            bytes.clear();
            let pieces = send.pieces.of(segments).iter();
            bytes.extend(pieces.map(|segment| segment.of(arena, pool)));
            let total: usize = bytes.iter().map(|piece| piece.len()).sum();
            let sent = self.send(send, &bytes);
            if sent < total {
                unsent.push(Unsent { index: index as u32, sent: sent as u32 });
            }
        }
        if self.random.chance(300) {
            // The kernel was entered: it may have had news.
            self.poll();
        }
    }

    fn arm_send(&mut self, socket: Socket, chunk: Bytes) {
        let Some(open) = self.open(socket, "arm_send_of_a_closed_socket") else { return };
        let finishing = open.finishing;
        if open.armed.replace((chunk, 0)).is_some() {
            self.broken("armed_twice", socket);
        }
        if finishing {
            self.broken("armed_after_shutdown", socket);
        }
    }

    fn shutdown(&mut self, socket: Socket) {
        if let Some(open) = self.open(socket, "shutdown_of_a_closed_socket") {
            open.finishing = true;
        }
    }

    fn close(&mut self, socket: Socket) {
        let Some(open) = self.open(socket, "close_of_a_closed_socket") else { return };
        let (link, tag) = (open.link, open.tag);
        let polls = self.random.between(0, REST_POLLS);
        self.slots[socket.0 as usize] = Slot::Resting { polls };
        let mut net = self.net.borrow_mut();
        let link = &mut net.links[link];
        link.server_gone = true;
        if !link.up.is_empty() && self.random.chance(500) {
            // Unread bytes at close: the kernel answers with a reset, which may overtake the data.
            let kept = self.random.below(link.down.len() + 1);
            link.down.truncate(kept);
        }
        link.up.clear();
        let Some(tag) = tag else { return };
        let free = &mut self.free_buffers;
        self.events.retain(|event| match event {
            Event::Received { tag: of, buffer } if *of == tag => {
                free.push(buffer.id);
                false
            }
            Event::Ended { tag: of, .. }
            | Event::Sent { tag: of }
            | Event::SendFailed { tag: of, .. } => *of != tag,
            Event::Received { .. } | Event::Accepted { .. } => true,
        });
    }

    fn stop_listening(&mut self) {
        self.listening = false;
    }

    fn notify(&mut self, core: usize) {
        self.to_ring.push(self.bells[core]);
    }

    fn look_for_news(&mut self) -> bool {
        !self.events.is_empty()
    }

    /// Never sleeps: the host puts a core to sleep, and calls this when it wakes.
    fn wait(&mut self, _timeout: Option<Duration>) {
        self.begin_wait();
        self.net.borrow_mut().bells[self.core] = false;
        self.poll();
    }
}

#[cfg(test)]
mod tests;
