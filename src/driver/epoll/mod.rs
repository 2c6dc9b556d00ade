//! The driver for hosts where io_uring is blocked: epoll, one system call per receive and send.
//!
//! Must not know rings. Invariants: a slot's descriptor is in the epoll set whenever the owner
//! waits for it; an event of a socket closed meanwhile has another generation and is dropped; no
//! lasting condition (a full table, no descriptors left, a paused socket whose peer is gone) makes
//! `wait` return again and again.

mod accept;
mod send;
mod slot;

use super::chunks::{Chunks, NONE};
use super::shares::Shares;
use super::socket::Bell;
use super::{
    Buffer, Driver, End, Error, Event, Options, Segment, Send, Socket, Tag, Unsent, one_each,
};
use accept::{ACCEPTS, Accepting};
use bytes::{Buf, Bytes};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{self, RecvFlags, Shutdown};
use send::{SEND_FLAGS, send_segments};
use slot::{BELL, Interest, SPECIAL, Slot, State, flags, key, unkey};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Bytes that one socket may receive per wait, in one call: as many as with a ring.
const RECEIVE_BYTES: usize = 16 << 10;
/// Most events taken per wait.
const READY: usize = 1_024;

/// See the module's page.
pub struct Epoll {
    epoll: OwnedFd,
    listeners: Vec<OwnedFd>,
    accepting: Accepting,
    /// By listener: connections that may still be accepted in this wait.
    accepts_left: Vec<u32>,
    /// The first listener is not in the set, because its share of slots is in use.
    first_full: bool,
    /// Kept open for the epoll set, which reports each ring once, so it is never read.
    _own_bell: OwnedFd,
    bells: Vec<Option<Bell>>,
    shares: Shares,
    slots: Vec<Slot>,
    free: Vec<u32>,
    chunks: Chunks,
    /// Events of the last wait, taken up to `cursor`.
    ready: Vec<epoll::Event>,
    cursor: usize,
    /// Events that did not come from the epoll set, with their socket's generation.
    queue: VecDeque<(Socket, u32, Event)>,
    buffer: Box<[u8]>,
    /// The owner has the only buffer.
    lent: bool,
}

impl Epoll {
    /// A driver that accepts connections from `options.listeners`.
    ///
    /// # Errors
    /// `Error::Epoll` if descriptors have run out.
    pub fn new(options: Options) -> Result<Epoll, Error> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(failed)?;
        // By edges: every ring is reported, and the counter need not be read.
        epoll::add(&epoll, &options.own_bell, key(BELL, SPECIAL), EventFlags::IN | EventFlags::ET)
            .map_err(failed)?;
        let driver = Epoll {
            epoll,
            listeners: options.listeners,
            accepting: Accepting::On,
            accepts_left: Vec::new(),
            first_full: false,
            _own_bell: options.own_bell,
            bells: options.bells,
            shares: Shares::new(options.slots, options.kept_slots),
            // Only slots that were used once take memory.
            slots: Vec::with_capacity(options.slots as usize),
            free: Vec::new(),
            chunks: Chunks::default(),
            ready: Vec::with_capacity(READY),
            cursor: 0,
            queue: VecDeque::new(),
            buffer: vec![0; RECEIVE_BYTES].into_boxed_slice(),
            lent: false,
        };
        driver.watch_listeners().map_err(failed)?;
        Ok(driver)
    }

    /// Makes the set wait for what `index` wants.
    fn register(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        let (from, to) = (slot.registered, slot.wanted());
        if from == to {
            return;
        }
        let Some(fd) = &slot.fd else { return };
        let key = key(index, slot.generation);
        let done = if to == Interest::NOTHING {
            epoll::delete(&self.epoll, fd)
        } else if from == Interest::NOTHING {
            epoll::add(&self.epoll, fd, key, flags(to))
        } else {
            epoll::modify(&self.epoll, fd, key, flags(to))
        };
        match done {
            Ok(()) => slot.registered = to,
            // There is no memory for the entry, so the connection would get no more events.
            Err(errno) => self.end(index, End::Failed(errno.raw_os_error())),
        }
    }

    fn end(&mut self, index: u32, end: End) {
        let slot = &mut self.slots[index as usize];
        slot.state = State::Ended;
        self.queue.push_back((Socket(index), slot.generation, Event::Ended { tag: slot.tag, end }));
    }

    /// A send failed: tells the owner, once.
    fn fail_send(&mut self, index: u32, errno: Errno) {
        let slot = &mut self.slots[index as usize];
        if !slot.failed {
            slot.failed = true;
            let event = Event::SendFailed { tag: slot.tag, errno: errno.raw_os_error() };
            self.queue.push_back((Socket(index), slot.generation, event));
        }
    }

    /// Handles one event of the epoll set.
    fn take(&mut self, report: epoll::Event) -> Option<Event> {
        let (index, generation) = unkey(report.data);
        if generation == SPECIAL {
            let event = if index == BELL { None } else { self.accept(index as usize) };
            // A listener stays at the front until there is no more to accept.
            self.cursor -= usize::from(event.is_some());
            return event;
        }
        let slot = &self.slots[index as usize];
        if slot.generation != generation {
            return None;
        }
        let wanted = slot.wanted();
        let flags = report.flags;
        let gone = flags.intersects(EventFlags::ERR | EventFlags::HUP);
        let readable = gone || flags.contains(EventFlags::IN);
        let writable = gone || flags.contains(EventFlags::OUT);
        if wanted.writes() && writable {
            self.send_armed(index);
        }
        if wanted.reads() && readable {
            return self.receive(index);
        }
        // An event that is not wanted would be reported again and again.
        if readable || (writable && !wanted.writes()) {
            self.register(index);
        }
        None
    }

    fn receive(&mut self, index: u32) -> Option<Event> {
        debug_assert!(!self.lent, "the one buffer is with the owner");
        let slot = &self.slots[index as usize];
        debug_assert_eq!(slot.state, State::Receiving, "it is not read from");
        let tag = slot.tag;
        match net::recv(slot.fd.as_ref()?, &mut self.buffer[..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => self.end(index, End::Closed),
            Ok((len, _)) => {
                self.lent = true;
                return Some(Event::Received { tag, buffer: Buffer { id: 0, len: len as u32 } });
            }
            Err(Errno::AGAIN | Errno::INTR) => return None,
            Err(errno) => self.end(index, End::Failed(errno.raw_os_error())),
        }
        self.register(index);
        None
    }

    fn send_armed(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        debug_assert!(slot.armed != NONE, "no send is armed");
        let chunk = self.chunks.get_mut(slot.armed);
        let Some(fd) = &slot.fd else { return };
        match net::send(fd, chunk, SEND_FLAGS) {
            Ok(sent) if sent < chunk.len() => chunk.advance(sent),
            Ok(_) => {
                let event = Event::Sent { tag: slot.tag };
                self.queue.push_back((Socket(index), slot.generation, event));
                self.disarm(index);
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => {
                self.disarm(index);
                self.fail_send(index, errno);
            }
        }
    }

    /// The armed send has ended: sends a FIN that waited for it.
    fn disarm(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        debug_assert!(slot.armed != NONE, "no send is armed");
        self.chunks.remove(std::mem::replace(&mut slot.armed, NONE));
        if std::mem::take(&mut slot.fin) {
            self.shutdown(Socket(index));
        }
    }
}

impl Driver for Epoll {
    fn next_event(&mut self) -> Option<Event> {
        assert!(!self.lent, "the receive buffer is still lent");
        loop {
            while let Some((socket, generation, event)) = self.queue.pop_front() {
                if self.slots[socket.0 as usize].generation == generation {
                    return Some(event);
                }
            }
            let report = *self.ready.get(self.cursor)?;
            self.cursor += 1;
            if let Some(event) = self.take(report) {
                return Some(event);
            }
        }
    }

    fn bytes(&mut self, buffer: &Buffer) -> &mut [u8] {
        debug_assert!(self.lent);
        &mut self.buffer[..buffer.len as usize]
    }

    fn release(&mut self, _buffer: Buffer) {
        debug_assert!(self.lent);
        self.lent = false;
    }

    fn adopt(&mut self, socket: Socket, tag: Tag) {
        let slot = &mut self.slots[socket.0 as usize];
        assert!(slot.fd.is_some() && slot.state == State::New);
        slot.tag = tag;
        slot.state = State::Receiving;
        self.register(socket.0);
    }

    fn pause(&mut self, socket: Socket) {
        let slot = &mut self.slots[socket.0 as usize];
        debug_assert!(slot.fd.is_some(), "a socket that is not the owner's");
        if slot.state == State::Receiving {
            slot.state = State::Paused;
        }
    }

    fn resume(&mut self, socket: Socket) {
        let slot = &mut self.slots[socket.0 as usize];
        debug_assert!(slot.fd.is_some(), "a socket that is not the owner's");
        if slot.state == State::Paused {
            slot.state = State::Receiving;
            if !slot.registered.reads() {
                self.register(socket.0);
            }
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
        for (index, send) in sends.iter().enumerate() {
            let segments = send.pieces.of(segments);
            let slot = &self.slots[send.socket.0 as usize];
            debug_assert!(slot.armed == NONE, "a flush behind an armed send");
            let Some(fd) = &slot.fd else {
                debug_assert!(false, "a flush to a closed socket");
                continue;
            };
            let (sent, done) = match segments {
                [segment] => {
                    let sent = net::send(fd, segment.of(arena, pool), SEND_FLAGS);
                    (sent.unwrap_or(0) as u32, sent.map(|sent| sent == segment.len as usize))
                }
                _ => send_segments(fd, arena, pool, segments),
            };
            if done != Ok(true) {
                unsent.push(Unsent { index: index as u32, sent });
            }
            match done {
                Ok(_) | Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS | Errno::NOMEM) => {}
                Err(errno) => self.fail_send(send.socket.0, errno),
            }
        }
    }

    fn arm_send(&mut self, socket: Socket, chunk: Bytes) {
        let slot = &mut self.slots[socket.0 as usize];
        assert!(slot.fd.is_some() && slot.armed == NONE);
        if slot.failed {
            return;
        }
        slot.armed = self.chunks.insert(chunk);
        if !slot.registered.writes() {
            self.register(socket.0);
        }
    }

    fn shutdown(&mut self, socket: Socket) {
        let slot = &mut self.slots[socket.0 as usize];
        debug_assert!(slot.fd.is_some(), "a socket that is not the owner's");
        if slot.armed != NONE {
            slot.fin = true;
        } else if let Some(fd) = &slot.fd {
            // It fails if the peer is gone already, which receiving reports.
            let _ = net::shutdown(fd, Shutdown::Write);
        }
    }

    fn close(&mut self, socket: Socket) {
        let slot = &mut self.slots[socket.0 as usize];
        self.chunks.remove(std::mem::replace(&mut slot.armed, NONE));
        // No other descriptor refers to the socket, so closing removes it from the epoll set.
        assert!(slot.fd.take().is_some(), "closed twice");
        slot.generation = (slot.generation + 1) % SPECIAL;
        self.free.push(socket.0);
        self.shares.give(socket.0);
        if let Accepting::Resting(until) = &mut self.accepting {
            *until = Instant::now();
        }
    }

    fn stop_listening(&mut self) {
        self.listeners.clear();
    }

    fn look_for_news(&mut self) -> bool {
        self.cursor < self.ready.len() || !self.queue.is_empty()
    }

    fn notify(&mut self, core: usize) {
        if let Some(Some(bell)) = self.bells.get(core) {
            bell.ring();
        }
    }

    fn wait(&mut self, timeout: Option<Duration>) {
        debug_assert!(!self.lent, "the owner still has the buffer");
        self.resume_accepting();
        self.accepts_left.clear();
        self.accepts_left.resize(self.listeners.len(), ACCEPTS);
        if self.look_for_news() {
            return;
        }
        self.cursor = 0;
        self.ready.clear();
        let timeout = match self.accepting {
            Accepting::Resting(until) => {
                let rest = until.saturating_duration_since(Instant::now());
                Some(timeout.map_or(rest, |timeout| timeout.min(rest)))
            }
            _ => timeout,
        };
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: timeout.as_secs().min(i32::MAX as u64) as i64,
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let done = epoll::wait(&self.epoll, spare_capacity(&mut self.ready), timeout.as_ref());
        // A signal ends the wait early; nothing else can fail.
        debug_assert!(matches!(done, Ok(_) | Err(Errno::INTR)), "{done:?}");
    }
}

fn failed(errno: Errno) -> Error {
    Error::Epoll(errno.into())
}
