//! io_uring for load: multishot receives into provided buffers, inline sends, polls, accepts.
//!
//! The only file of bench with `unsafe`. Must not know frames. Invariants: bytes to send are
//! borrowed until their operations have ended, which is within `flush`; received bytes are in a
//! mapping that lives as long as the process, and a buffer is either the kernel's or lent.

use io_uring::squeue::{Entry, Flags};
use io_uring::types::{BufRingEntry, Fd, Fixed, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use rustix::net::{RecvFlags, SendFlags};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

const GROUP: u16 = 0;
const SUBMISSIONS: u32 = 1_024;
const COMPLETIONS: u32 = 16_384;
/// Buffers handed to the kernel at first: few, which stay in the cache. It asks for more.
const FIRST_BUFFERS: u16 = 256;
/// An inline send: it ends while it is submitted, and as a success only if all went out.
const SEND_FLAGS: i32 =
    (SendFlags::DONTWAIT.bits() | SendFlags::NOSIGNAL.bits() | RecvFlags::WAITALL.bits()) as i32;

/// A socket as operations name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Socket {
    Plain(RawFd),
    /// A place in the ring's own table (`Ring::accept`).
    Direct(u32),
}

/// One send of a flush.
#[derive(Clone, Copy, Debug)]
pub struct Send<'a> {
    pub socket: Socket,
    pub bytes: &'a [u8],
}

/// Received bytes, to be given back.
#[derive(Debug)]
pub struct Lent {
    id: u16,
    len: u32,
}

/// What happened. `token` is what the operation was given, 56 bits.
#[derive(Debug)]
pub enum Event {
    /// A polled descriptor is ready, or has failed; or a message has come.
    Ready {
        token: u64,
    },
    Received {
        token: u64,
        lent: Lent,
    },
    /// No more will be received, for this reason; `Ok`: the other end has finished.
    Ended {
        token: u64,
        reason: Result<(), Errno>,
    },
    /// The receive stopped for want of buffers and has to be asked for again.
    Starved {
        token: u64,
    },
    Accepted {
        slot: u32,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Send = 1,
    Receive,
    Poll,
    Cancel,
    Accept,
    Close,
    /// A receive that stopped with bytes: it has to be asked for again.
    Again,
}

/// A completion.
#[derive(Clone, Copy)]
struct Done {
    data: u64,
    result: i32,
    flags: u32,
}

fn tag(kind: Kind, token: u64) -> u64 {
    debug_assert!(token >> 56 == 0);
    (kind as u64) << 56 | token
}

pub struct Ring {
    ring: IoUring,
    buffers: Buffers,
    done: VecDeque<Done>,
    /// Sends of the last flush that did not go out whole: which, and what the kernel said.
    short: Vec<(u32, i32)>,
}

impl Ring {
    /// A ring with `buffers` (a power of two, at most 32,768) of `buffer_bytes` to receive into,
    /// and `slots` places for accepted sockets.
    pub fn new(buffers: u16, buffer_bytes: u32, slots: u32) -> io::Result<Ring> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_clamp()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)?;
        if slots > 0 {
            ring.submitter().register_files_sparse(slots)?;
        }
        let buffers = Buffers::new(&ring, buffers, buffer_bytes)?;
        Ok(Ring { ring, buffers, done: VecDeque::new(), short: Vec::new() })
    }

    /// Says once when the socket can be written, or has failed.
    pub fn poll_writable(&mut self, socket: Socket, token: u64) {
        let flags = u32::from(PollFlags::OUT.bits());
        let entry = match socket {
            Socket::Plain(fd) => opcode::PollAdd::new(Fd(fd), flags).build(),
            Socket::Direct(slot) => opcode::PollAdd::new(Fixed(slot), flags).build(),
        };
        self.push(entry.user_data(tag(Kind::Poll, token)));
    }

    /// Says whenever something new can be read.
    pub fn poll_readable(&mut self, socket: Socket, token: u64) {
        let flags = u32::from(PollFlags::IN.bits());
        let entry = match socket {
            Socket::Plain(fd) => opcode::PollAdd::new(Fd(fd), flags).multi(true).build(),
            Socket::Direct(slot) => opcode::PollAdd::new(Fixed(slot), flags).multi(true).build(),
        };
        self.push(entry.user_data(tag(Kind::Poll, token)));
    }

    /// What another ring names to send this one a message.
    pub fn number(&self) -> RawFd {
        self.ring.as_raw_fd()
    }

    /// Sends another ring a message, with the next `flush` or `wait`: it gets `Event::Ready` of
    /// that token.
    pub fn message(&mut self, ring: RawFd, token: u64) {
        let entry = opcode::MsgRingData::new(Fd(ring), 0, tag(Kind::Poll, token), None).build();
        self.push(entry.flags(Flags::SKIP_SUCCESS).user_data(tag(Kind::Cancel, 0)));
    }

    /// Receives from now on.
    pub fn receive(&mut self, socket: Socket, token: u64) {
        let entry = match socket {
            Socket::Plain(fd) => opcode::RecvMulti::new(Fd(fd), GROUP).build(),
            Socket::Direct(slot) => opcode::RecvMulti::new(Fixed(slot), GROUP).build(),
        };
        self.push(entry.user_data(tag(Kind::Receive, token)));
    }

    /// Ends the receive of that token; it says so by `Event::Ended`.
    pub fn cancel_receive(&mut self, token: u64) {
        let entry = opcode::AsyncCancel::new(tag(Kind::Receive, token)).build();
        self.push(entry.flags(Flags::SKIP_SUCCESS).user_data(tag(Kind::Cancel, 0)));
    }

    /// Accepts from now on, into direct slots.
    pub fn accept(&mut self, listener: RawFd) {
        let entry = opcode::AcceptMulti::new(Fd(listener)).allocate_file_index(true).build();
        self.push(entry.user_data(tag(Kind::Accept, listener as u64)));
    }

    /// Closes a direct slot.
    pub fn close(&mut self, slot: u32) {
        let entry = opcode::Close::new(Fixed(slot)).build();
        self.push(entry.flags(Flags::SKIP_SUCCESS).user_data(tag(Kind::Close, 0)));
    }

    /// Queues an operation that names no memory.
    fn push(&mut self, entry: Entry) {
        if self.ring.submission().is_full() {
            self.submit();
        }
        // SAFETY: the callers above build entries that name no memory; received bytes go into the
        // provided buffers, which are never unmapped.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        assert!(pushed.is_ok(), "the submission queue was just emptied");
    }

    /// Sends all of them now. Returns those that did not go out whole: index, and bytes or errno.
    pub fn flush(&mut self, sends: &[Send<'_>]) -> &[(u32, i32)] {
        self.short.clear();
        for (index, send) in sends.iter().enumerate() {
            let (bytes, len) = (send.bytes.as_ptr(), send.bytes.len() as u32);
            let entry = match send.socket {
                Socket::Plain(fd) => opcode::Send::new(Fd(fd), bytes, len).flags(SEND_FLAGS),
                Socket::Direct(slot) => {
                    opcode::Send::new(Fixed(slot), bytes, len).flags(SEND_FLAGS)
                }
            };
            let entry = entry.build().flags(Flags::SKIP_SUCCESS);
            let entry = entry.user_data(tag(Kind::Send, index as u64));
            if self.ring.submission().is_full() {
                self.submit();
            }
            // SAFETY: MSG_DONTWAIT ends the send while it is submitted, and all is submitted before
            // this function returns; the bytes are borrowed until then.
            let pushed = unsafe { self.ring.submission().push(&entry) };
            assert!(pushed.is_ok(), "the submission queue was just emptied");
        }
        self.submit();
        self.reap();
        &self.short
    }

    /// Hands the whole submission queue over.
    fn submit(&mut self) {
        while !self.ring.submission().is_empty() {
            match self.ring.submit() {
                Ok(_) => {}
                Err(error) => assert!(is_passing(&error), "io_uring_enter: {error}"),
            }
            if self.ring.submission().cq_overflow() {
                self.reap();
            }
        }
    }

    /// Takes completions off the queue, so that it has room.
    fn reap(&mut self) {
        for entry in self.ring.completion() {
            if entry.user_data() >> 56 == Kind::Send as u64 {
                self.short.push((entry.user_data() as u32, entry.result()));
            } else {
                let (data, result) = (entry.user_data(), entry.result());
                self.done.push_back(Done { data, result, flags: entry.flags() });
            }
        }
    }

    /// Hands over what is queued and waits for events, at most so long; not at all if there are
    /// some, or for `Duration::ZERO`.
    pub fn wait(&mut self, timeout: Duration) {
        self.reap();
        let waits = self.done.is_empty() && !timeout.is_zero();
        let timespec = Timespec::from(timeout);
        let arguments = SubmitArgs::new().timespec(&timespec);
        let entered = match waits {
            true => self.ring.submitter().submit_with_args(1, &arguments),
            false => self.ring.submit(),
        };
        if let Err(error) = entered {
            assert!(is_passing(&error), "io_uring_enter: {error}");
        }
        self.reap();
    }

    /// The next event of those that are there.
    pub fn next(&mut self) -> Option<Event> {
        loop {
            let Done { data, result, flags } = self.done.pop_front()?;
            let (kind, token) = (data >> 56, data & ((1 << 56) - 1));
            match kind {
                kind if kind == Kind::Poll as u64 => return Some(Event::Ready { token }),
                kind if kind == Kind::Accept as u64 => {
                    if !cqueue::more(flags) {
                        self.accept(token as RawFd);
                    }
                    if let Ok(slot) = u32::try_from(result) {
                        return Some(Event::Accepted { slot });
                    }
                }
                kind if kind == Kind::Again as u64 => return Some(Event::Starved { token }),
                kind if kind == Kind::Receive as u64 => {
                    return Some(self.received(token, result, flags));
                }
                _ => {}
            }
        }
    }

    fn received(&mut self, token: u64, result: i32, flags: u32) -> Event {
        if let (Some(id), 1..) = (cqueue::buffer_select(flags), result) {
            if !cqueue::more(flags) {
                // It stopped with these bytes: the rest is asked for after they were read.
                self.done.push_front(Done { data: tag(Kind::Again, token), result: 0, flags: 0 });
            }
            return Event::Received { token, lent: Lent { id, len: result as u32 } };
        }
        if let Some(id) = cqueue::buffer_select(flags) {
            self.buffers.give_back(id);
        }
        if result == 0 {
            return Event::Ended { token, reason: Ok(()) };
        }
        match Errno::from_raw_os_error(-result) {
            Errno::NOBUFS => {
                self.buffers.grow();
                Event::Starved { token }
            }
            errno => Event::Ended { token, reason: Err(errno) },
        }
    }

    /// The bytes of a `Event::Received`.
    pub fn bytes(&self, lent: &Lent) -> &[u8] {
        self.buffers.bytes(lent)
    }

    pub fn give_back(&mut self, lent: Lent) {
        self.buffers.give_back(lent.id);
    }
}

/// The time is up, or there was a signal, or too little memory or room at the moment: the caller
/// tries again.
fn is_passing(error: &io::Error) -> bool {
    let passing = [Errno::TIME, Errno::INTR, Errno::AGAIN, Errno::BUSY, Errno::NOMEM];
    error.raw_os_error().is_some_and(|errno| passing.contains(&Errno::from_raw_os_error(errno)))
}

/// The buffers that the kernel receives into. The mapping is never undone: the kernel may write
/// for a while after a ring's end, and a process has few rings.
struct Buffers {
    /// The entries, then the buffers.
    base: *mut u8,
    entries: u16,
    buffer_bytes: u32,
    tail: u16,
    /// Buffers that were ever handed to the kernel: the first ones.
    provided: u16,
}

impl Buffers {
    fn new(ring: &IoUring, entries: u16, buffer_bytes: u32) -> io::Result<Buffers> {
        assert!(entries.is_power_of_two() && entries <= 1 << 15 && buffer_bytes > 0);
        let bytes = entries_bytes(entries) + usize::from(entries) * buffer_bytes as usize;
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: a new anonymous mapping touches nothing that exists.
        let base = unsafe { mmap_anonymous(ptr::null_mut(), bytes, access, flags) }?;
        let mut buffers =
            Buffers { base: base.cast(), entries, buffer_bytes, tail: 0, provided: 0 };
        let submitter = ring.submitter();
        // SAFETY: the mapping is page-aligned, holds that many entries, and is never unmapped.
        unsafe { submitter.register_buf_ring_with_flags(base as u64, entries, GROUP, 0) }?;
        buffers.grow();
        Ok(buffers)
    }

    /// Hands the kernel more: as many as it has, as far as there are more.
    fn grow(&mut self) {
        let end = self.provided.saturating_add(self.provided.max(FIRST_BUFFERS)).min(self.entries);
        for id in self.provided..end {
            self.give_back(id);
        }
        self.provided = end;
    }

    fn offset(&self, id: u16) -> usize {
        entries_bytes(self.entries) + usize::from(id) * self.buffer_bytes as usize
    }

    fn bytes(&self, lent: &Lent) -> &[u8] {
        assert!(lent.id < self.provided && lent.len <= self.buffer_bytes);
        // SAFETY: the buffer lies within the mapping.
        let start = unsafe { self.base.add(self.offset(lent.id)) };
        // SAFETY: the buffer is lent, so the kernel does not write it before `give_back`, which
        // takes the `Lent` that is borrowed here.
        unsafe { std::slice::from_raw_parts(start, lent.len as usize) }
    }

    fn give_back(&mut self, id: u16) {
        let address = self.base as u64 + self.offset(id) as u64;
        let place = usize::from(self.tail % self.entries);
        // SAFETY: the place lies within the ring.
        let entry = unsafe { self.base.cast::<BufRingEntry>().add(place) };
        // SAFETY: a zeroed or once written entry is valid, and the kernel reads only those between
        // its head and the published tail, which this one is not.
        let entry = unsafe { &mut *entry };
        entry.set_addr(address);
        entry.set_len(self.buffer_bytes);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the base is the first entry, within which the kernel looks for the tail.
        let tail = unsafe { BufRingEntry::tail(self.base.cast()) };
        // SAFETY: it is aligned for its type, and nothing else writes it during the borrow.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}

/// Bytes of the ring of entries, rounded up to whole pages.
fn entries_bytes(entries: u16) -> usize {
    (usize::from(entries) * size_of::<BufRingEntry>()).next_multiple_of(4_096)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    #[test]
    fn bytes_go_out_and_come_in_and_a_full_socket_says_so() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut near = TcpStream::connect(listener.local_addr().expect("an address")).expect("up");
        let (mut far, _) = listener.accept().expect("a connection");
        let mut ring = Ring::new(512, 64, 0).expect("a ring");
        let socket = Socket::Plain(near.as_raw_fd());
        ring.receive(socket, 7);
        let sent: Vec<u8> = (0..64 * 700u32).map(|index| (index % 251) as u8).collect();
        far.write_all(&sent).expect("room");
        let mut got = Vec::new();
        while got.len() < sent.len() {
            ring.wait(Duration::from_secs(5));
            while let Some(event) = ring.next() {
                match event {
                    Event::Received { token: 7, lent } => {
                        got.extend_from_slice(ring.bytes(&lent));
                        ring.give_back(lent);
                    }
                    Event::Starved { token: 7 } => ring.receive(socket, 7),
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!(got, sent);

        assert!(ring.flush(&[Send { socket, bytes: b"hello" }]).is_empty());
        let mut hello = [0; 5];
        far.read_exact(&mut hello).expect("five bytes");
        assert_eq!(&hello, b"hello");
        let large = vec![0; 64 << 20];
        let short = ring.flush(&[Send { socket, bytes: &large }]).to_vec();
        assert!(matches!(short[..], [(0, 1..)]), "{short:?}");
        near.flush().expect("nothing to do");
        drop(far);
        loop {
            ring.wait(Duration::from_secs(5));
            match ring.next().expect("an end within the time") {
                Event::Ended { token: 7, .. } => break,
                Event::Starved { token: 7 } => ring.receive(socket, 7),
                other => panic!("{other:?}"),
            }
        }
    }
}
