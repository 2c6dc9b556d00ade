//! The driver on io_uring: a ring per worker, direct descriptors, multishot receives into provided
//! buffers, inline sends.
//!
//! Must not know frames. Invariants: memory that an operation in flight reads or writes belongs to
//! the driver until that operation's last completion (a flush's bytes belong to the caller, and its
//! operations end within the call); nothing put into the submission queue is dropped; deferred work
//! is run whenever the kernel reports some.

#[deny(unsafe_code)]
mod accept;
#[deny(unsafe_code)]
mod bells;
pub(super) mod buffers;
mod events;
#[deny(unsafe_code)]
mod slots;
#[deny(unsafe_code)]
mod starved;

use super::chunks::Chunks;
use super::{DriverStats, Error, Event, Options, Segment, Send};
use accept::Accepts;
use bells::RingBells;
use buffers::BufRing;
use io_uring::squeue::{Entry, Flags};
use io_uring::types::{CancelBuilder, DestinationSlot, Fd, Fixed, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode};
use rustix::io::DupFlags;
use slots::{Kind, Slots, tag, untag};
use starved::Starved;
use std::collections::VecDeque;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;
use std::time::{Duration, Instant};

/// Buffers that one socket may take before others have their turn.
const SHARE: u32 = 8;
/// Buffers handed to the kernel at the start.
const FIRST_BUFFERS: u16 = 64;
/// An inline send: it ends at once, and counts as a success only if everything was sent.
const SEND_FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
/// Longest wait for operations under way when a driver is dropped.
const DROP_PATIENCE: Duration = Duration::from_secs(2);
/// From the kernel's header, because neither libc nor io-uring exports them.
const ENTER_GETEVENTS: u32 = 1;
const ENTER_EXT_ARG: u32 = 1 << 3;
const ENTER_REGISTERED_RING: u32 = 1 << 4;
const REGISTER_RING_FDS: u32 = 20;
const UNREGISTER_RING_FDS: u32 = 21;

/// Sizes of a ring.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// Entries of the submission queue: a flush is submitted in pieces of this size.
    pub submissions: u32,
    /// Entries of the completion queue.
    pub completions: u32,
    /// Receive buffers, a power of two up to 32,768.
    pub buffers: u16,
    /// Bytes of one.
    pub buffer_bytes: u32,
    /// Lets the kernel end a receive after a turn's share (Linux 6.17). If the kernel cannot, the
    /// driver finds out, and a flooding socket gets as much as one system call brings.
    pub total_cap: bool,
}

impl Default for Tuning {
    fn default() -> Tuning {
        Tuning {
            submissions: 1_024,
            completions: 8_192,
            buffers: 4_096,
            buffer_bytes: 2_048,
            total_cap: true,
        }
    }
}

/// See the module's documentation. Used only on the thread that made it.
pub struct Uring {
    ring: IoUring,
    /// The ring's registered descriptor.
    ring_index: u32,
    slots: Slots,
    buffers: BufRing,
    chunks: Chunks,
    accepts: Accepts,
    listeners: Vec<OwnedFd>,
    own_bell: OwnedFd,
    /// A duplicate of the ring, under the number that other cores know.
    _own_ring: Option<OwnedFd>,
    bells: RingBells,
    /// Completions taken from the queue, oldest first.
    held: VecDeque<cqueue::Entry>,
    /// Events that did not come from a completion, with their socket's generation.
    told: VecDeque<(u32, u32, Event)>,
    /// Receives that wait for a buffer.
    starved: Starved,
    /// Incomplete sends of a flush: the index, and the kernel's result.
    results: Vec<(u32, i32)>,
    /// Scatter lists of a flush.
    parts: Vec<libc::iovec>,
    messages: Vec<libc::msghdr>,
    /// Operations under way that use the driver's memory.
    under_way: u32,
    /// The kernel still reports deferred work, but the last attempt found none.
    false_alarm: bool,
    tuning: Tuning,
    stats: DriverStats,
}

/// An operation to submit.
#[derive(Clone, Copy)]
enum Op {
    Bell,
    /// To the ring of a core, by its number.
    Message(usize, RawFd),
    Accept(u32),
    CancelAccept(u32),
    Recv(u32),
    CancelRecv(u32),
    Armed(u32),
    CancelArmed(u32),
    Shutdown(u32),
    Close(u32),
}

impl Uring {
    /// A driver that accepts connections from `options.listeners`.
    ///
    /// # Errors
    /// `Error::Ring` if the kernel offers no ring, or not one with all required features.
    pub fn new(options: Options, tuning: Tuning) -> Result<Uring, Error> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_clamp()
            .setup_cqsize(tuning.completions)
            .build(tuning.submissions)
            .map_err(Error::Ring)?;
        ring.submitter().register_files_sparse(options.slots.max(1)).map_err(Error::Ring)?;
        let mut buffers = BufRing::new(tuning.buffers, tuning.buffer_bytes).map_err(Error::Ring)?;
        buffers.register(&ring).map_err(Error::Ring)?;
        buffers.grow(FIRST_BUFFERS);
        let ring_index = register_ring(&ring).map_err(Error::Ring)?;
        let mut driver = Uring {
            ring,
            ring_index,
            slots: Slots::new(options.slots, options.kept_slots),
            buffers,
            chunks: Chunks::default(),
            accepts: Accepts::new(options.listeners.len() as u32, options.slots),
            listeners: options.listeners,
            own_bell: options.own_bell,
            _own_ring: None,
            bells: RingBells::new(options.bells),
            held: VecDeque::new(),
            told: VecDeque::new(),
            starved: Starved::default(),
            results: Vec::new(),
            parts: Vec::new(),
            messages: Vec::new(),
            under_way: 0,
            false_alarm: false,
            tuning,
            stats: DriverStats::default(),
        };
        driver.tuning.total_cap &= driver.knows_total_cap();
        // From now on other cores may send messages to it.
        let known = options.own_ring.map(|known| become_known(&driver.ring, known));
        driver._own_ring = known.transpose().map_err(Error::Ring)?;
        driver.push(Op::Bell);
        driver.arm_accepts();
        Ok(driver)
    }

    /// Submits the queue, runs deferred work, and waits for `want` completions.
    fn enter(&mut self, want: u32, timeout: Option<Duration>) {
        let pending = self.ring.submission().len() as u32;
        let timespec = timeout.map(Timespec::from).unwrap_or_default();
        let args = SubmitArgs::new();
        let args = if timeout.is_some() { args.timespec(&timespec) } else { args };
        let flags = ENTER_GETEVENTS | ENTER_EXT_ARG | ENTER_REGISTERED_RING;
        // SAFETY: the submitted entries refer to memory that lives as long as `push` and `flush`
        // say; the arguments live until the call returns.
        let entered = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                self.ring_index,
                pending,
                want,
                flags,
                ptr::from_ref(&args),
                size_of::<SubmitArgs>(),
            )
        };
        if entered < 0 {
            let errno = io::Error::last_os_error().raw_os_error();
            // The time is up, or there was a signal, or too little memory or room at the moment:
            // the caller tries again.
            let passing = [libc::ETIME, libc::EINTR, libc::EAGAIN, libc::EBUSY, libc::ENOMEM];
            assert!(
                errno.is_some_and(|errno| passing.contains(&errno)),
                "io_uring_enter: {errno:?}"
            );
        }
        if self.ring.submission().cq_overflow() {
            self.stats.overflows += 1;
        }
    }

    /// Submits the whole submission queue.
    fn submit(&mut self) {
        while !self.ring.submission().is_empty() {
            self.enter(0, None);
            if self.ring.submission().cq_overflow() {
                self.hold();
            }
        }
    }

    /// Takes all completions from the completion queue.
    fn hold(&mut self) {
        for cqe in self.ring.completion() {
            let (kind, _, index) = untag(cqe.user_data());
            if kind == Kind::Flush {
                self.results.push((index, cqe.result()));
            } else {
                self.held.push_back(cqe);
            }
        }
    }

    /// Queues an operation, which is submitted by the next `enter`.
    fn push(&mut self, op: Op) {
        let entry = self.entry(op);
        if self.ring.submission().is_full() {
            self.submit();
        }
        // SAFETY: the memory that the entry refers to is the driver's: an accept's address in a
        // table that never grows, or an armed send's chunk, kept until its completion; the others
        // refer to none.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        assert!(pushed.is_ok(), "the submission queue was just emptied");
    }

    fn entry(&mut self, op: Op) -> Entry {
        match op {
            Op::Bell => {
                // By edges: every ring is reported, and the counter need not be read.
                let poll = opcode::PollAdd::new(Fd(self.own_bell.as_raw_fd()), libc::POLLIN as u32);
                poll.multi(true).build().user_data(tag(Kind::Bell, 0, 0))
            }
            Op::Message(core, ring) => {
                let message = opcode::MsgRingData::new(Fd(ring), 0, tag(Kind::Rung, 0, 0), None);
                let data = tag(Kind::Message, 0, core as u32);
                message.build().flags(Flags::SKIP_SUCCESS).user_data(data)
            }
            Op::Accept(index) => {
                let accept = self.accepts.get_mut(index);
                accept.address.len = accept.address.bytes.len() as u32;
                let address = accept.address.bytes.as_mut_ptr().cast();
                let slot = DestinationSlot::try_from_slot_target(accept.slot).ok();
                let listener = Fd(self.listeners[accept.listener as usize].as_raw_fd());
                opcode::Accept::new(listener, address, &raw mut accept.address.len)
                    .file_index(slot)
                    .build()
                    .user_data(tag(Kind::Accept, 0, index))
            }
            Op::Recv(index) => {
                let mut entry = opcode::RecvMulti::new(Fixed(index), buffers::GROUP).build();
                if self.tuning.total_cap {
                    cap(&mut entry, SHARE * self.tuning.buffer_bytes);
                }
                entry.user_data(self.tag(Kind::Recv, index))
            }
            Op::Armed(index) => {
                let chunk = self.chunks.get_mut(self.slots[index].armed);
                opcode::Send::new(Fixed(index), chunk.as_ptr(), chunk.len() as u32)
                    .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
                    .build()
                    .user_data(self.tag(Kind::Armed, index))
            }
            Op::Shutdown(index) => opcode::Shutdown::new(Fixed(index), libc::SHUT_WR)
                .build()
                .user_data(self.tag(Kind::Shutdown, index)),
            Op::Close(index) => {
                opcode::Close::new(Fixed(index)).build().user_data(self.tag(Kind::Close, index))
            }
            Op::CancelAccept(index) => cancel(tag(Kind::Accept, 0, index)),
            Op::CancelRecv(index) => cancel(self.tag(Kind::Recv, index)),
            Op::CancelArmed(index) => cancel(self.tag(Kind::Armed, index)),
        }
    }

    fn tag(&self, kind: Kind, index: u32) -> u64 {
        tag(kind, self.slots[index].generation, index)
    }

    /// Does the kernel support the total cap of a receive? An older one refuses the field before it
    /// looks up the socket, which does not exist yet.
    fn knows_total_cap(&mut self) -> bool {
        let mut entry = opcode::RecvMulti::new(Fixed(0), buffers::GROUP).build();
        cap(&mut entry, 1);
        // SAFETY: it refers to no memory.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        assert!(pushed.is_ok(), "the submission queue is new");
        while self.ring.completion().is_empty() {
            self.enter(1, None);
        }
        let result = self.ring.completion().next().map(|cqe| cqe.result());
        result != Some(-libc::EINVAL)
    }

    /// Queues one piece of a flush, whose first send has the index `first`.
    fn queue_sends(
        &mut self,
        arena: &[u8],
        pool: &[u8],
        segments: &[Segment],
        sends: &[Send],
        first: usize,
    ) {
        debug_assert!(sends.len() <= self.ring.submission().capacity(), "a piece fits the queue");
        let many = sends.iter().map(|send| send.pieces.of(segments)).filter(|of| of.len() != 1);
        self.parts.clear();
        self.parts.extend(many.clone().flatten().map(|segment| libc::iovec {
            iov_base: segment.of(arena, pool).as_ptr().cast_mut().cast(),
            iov_len: segment.len as usize,
        }));
        let mut parts = &mut self.parts[..];
        self.messages.clear();
        self.messages.extend(many.map(|segments| {
            let own = parts.split_off_mut(..segments.len()).unwrap_or_default();
            message(own)
        }));
        let mut messages = self.messages.iter();
        let mut queue = self.ring.submission();
        for (offset, send) in sends.iter().enumerate() {
            let socket = Fixed(send.socket.0);
            let entry = match send.pieces.of(segments) {
                [segment] => {
                    let bytes = segment.of(arena, pool);
                    opcode::Send::new(socket, bytes.as_ptr(), bytes.len() as u32)
                        .flags(SEND_FLAGS)
                        .build()
                }
                _ => {
                    let message = messages.next().expect("each has its message");
                    opcode::SendMsg::new(socket, message).flags(SEND_FLAGS as u32).build()
                }
            };
            let entry = entry.flags(Flags::SKIP_SUCCESS).user_data(tag(
                Kind::Flush,
                0,
                (first + offset) as u32,
            ));
            // SAFETY: MSG_DONTWAIT ends the send during submission, which `flush` completes before
            // it returns or changes the scatter lists; the bytes are borrowed until then.
            let pushed = unsafe { queue.push(&entry) };
            assert!(pushed.is_ok(), "room was made");
        }
        debug_assert!(messages.next().is_none(), "each message has its send");
    }
}

impl Drop for Uring {
    /// Ends the operations under way before their memory is freed.
    #[expect(clippy::disallowed_methods, reason = "better lost than written after its end")]
    fn drop(&mut self) {
        self.submit();
        let start = Instant::now();
        loop {
            // It fails if there is nothing to cancel, or takes too long; the count below decides.
            let patience = Timespec::from(DROP_PATIENCE);
            let submitter = self.ring.submitter();
            let _ = submitter.register_sync_cancel(Some(patience), CancelBuilder::any());
            self.hold();
            for cqe in self.held.drain(..) {
                let (kind, ..) = untag(cqe.user_data());
                let uses_memory = matches!(kind, Kind::Accept | Kind::Recv | Kind::Armed);
                if uses_memory && !cqueue::more(cqe.flags()) {
                    self.under_way -= 1;
                }
            }
            if self.under_way == 0 {
                break;
            }
            if start.elapsed() > DROP_PATIENCE {
                self.buffers.leak();
                mem::forget(mem::take(&mut self.chunks));
                mem::forget(mem::replace(&mut self.accepts, Accepts::new(0, 0)));
                break;
            }
            self.enter(1, Some(Duration::from_millis(10)));
        }
        unregister_ring(&self.ring, self.ring_index);
    }
}

/// Replaces another descriptor, whose own file is closed by that, with a duplicate of the ring.
fn become_known(ring: &IoUring, mut known: OwnedFd) -> io::Result<OwnedFd> {
    // SAFETY: the ring is borrowed, and so is its descriptor.
    let ring = unsafe { BorrowedFd::borrow_raw(ring.as_raw_fd()) };
    rustix::io::dup3(ring, &mut known, DupFlags::CLOEXEC)?;
    Ok(known)
}

/// Cancels the operation with that user data. Completes only if there is none.
fn cancel(data: u64) -> Entry {
    let entry = opcode::AsyncCancel::new(data).build();
    entry.flags(Flags::SKIP_SUCCESS).user_data(tag(Kind::Cancel, 0, 0))
}

/// Makes a multishot receive end after `bytes`: field `optlen` of the kernel's entry, for which
/// io-uring has no name.
fn cap(entry: &mut Entry, bytes: u32) {
    const { assert!(size_of::<Entry>() == 64) };
    let words = ptr::from_mut(entry).cast::<[u32; 16]>();
    // SAFETY: an entry is the kernel's io_uring_sqe, 64 bytes with C layout, borrowed here.
    unsafe { (*words)[11] = bytes };
}

/// A message of these parts, without an address.
fn message(parts: &mut [libc::iovec]) -> libc::msghdr {
    // SAFETY: it is made of integers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = parts.as_mut_ptr();
    message.msg_iovlen = parts.len() as _;
    message
}

/// The kernel's io_uring_rsrc_update.
#[repr(C)]
struct RingUpdate {
    offset: u32,
    reserved: u32,
    data: u64,
}

/// Registers the ring's own descriptor with this thread, which saves a look-up for each `enter`.
fn register_ring(ring: &IoUring) -> io::Result<u32> {
    let mut update = RingUpdate { offset: u32::MAX, reserved: 0, data: ring.as_raw_fd() as u64 };
    let update = ptr::from_mut(&mut update);
    // SAFETY: the kernel reads and writes one update, which lives until the call returns.
    let done = unsafe {
        libc::syscall(libc::SYS_io_uring_register, ring.as_raw_fd(), REGISTER_RING_FDS, update, 1)
    };
    if done != 1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it points to the local variable above.
    Ok(unsafe { (*update).offset })
}

fn unregister_ring(ring: &IoUring, index: u32) {
    let update = RingUpdate { offset: index, reserved: 0, data: 0 };
    let (fd, update) = (ring.as_raw_fd(), ptr::from_ref(&update));
    // SAFETY: the kernel reads one update, which lives until the call returns.
    let done =
        unsafe { libc::syscall(libc::SYS_io_uring_register, fd, UNREGISTER_RING_FDS, update, 1) };
    debug_assert_eq!(done, 1);
}
