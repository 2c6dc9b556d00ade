//! The driver on io_uring: a ring per worker, direct descriptors, multishot receives into provided
//! buffers, inline sends.
//!
//! Must not know frames. Its invariants: memory that an operation under way reads or writes is the
//! driver's own until that operation's last completion (a flush's bytes are the caller's, and its
//! operations end within the call), nothing handed to the submission queue is dropped, and deferred
//! work is run whenever the kernel says that there is some.

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
/// Buffers handed to the kernel at first.
const FIRST_BUFFERS: u16 = 64;
/// An inline send: it ends at once, and ends as a success only if all went out.
const SEND_FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
/// Time that dropping a driver waits for what is under way.
const DROP_PATIENCE: Duration = Duration::from_secs(2);
/// From the kernel's header; neither libc nor io-uring exports them.
const ENTER_GETEVENTS: u32 = 1;
const ENTER_EXT_ARG: u32 = 1 << 3;
const ENTER_REGISTERED_RING: u32 = 1 << 4;
const REGISTER_RING_FDS: u32 = 20;
const UNREGISTER_RING_FDS: u32 = 21;

/// Sizes of a ring.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// Places of the submission queue: a flush goes out in pieces of this size.
    pub submissions: u32,
    /// Places of the completion queue.
    pub completions: u32,
    /// Buffers to receive into, a power of two up to 32,768; they are touched as they are needed.
    pub buffers: u16,
    /// Bytes of one.
    pub buffer_bytes: u32,
    /// Let the kernel end a receive after a turn's share (Linux 6.17). Where the kernel cannot, the
    /// driver finds out, and a flood gets as much as one system call brings.
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

/// See the module's page. It is used on the thread that made it.
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
    /// The ring once more, under the number that others know.
    _own_ring: Option<OwnedFd>,
    bells: RingBells,
    /// Completions taken off the queue, oldest first.
    held: VecDeque<cqueue::Entry>,
    /// Events that came about without one, with the generation of their socket.
    told: VecDeque<(u32, u32, Event)>,
    /// Receives that wait for a buffer.
    starved: Starved,
    /// Sends of a flush that did not go out whole: which, and what the kernel said.
    results: Vec<(u32, i32)>,
    /// Scatter lists of a flush.
    parts: Vec<libc::iovec>,
    messages: Vec<libc::msghdr>,
    /// Operations under way that use memory of the driver's.
    under_way: u32,
    /// The kernel still says that there is deferred work, and the last look found none.
    false_alarm: bool,
    tuning: Tuning,
    stats: DriverStats,
}

/// What to ask of the ring.
#[derive(Clone, Copy)]
enum Op {
    Bell,
    /// To the core's ring of that number.
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
    /// A driver that takes connections from `options.listeners`.
    ///
    /// # Errors
    /// `Error::Ring` when the kernel has no ring for us, or not one with all that is needed.
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
        // From here on others may send to it.
        let known = options.own_ring.map(|known| become_known(&driver.ring, known));
        driver._own_ring = known.transpose().map_err(Error::Ring)?;
        driver.push(Op::Bell);
        driver.arm_accepts();
        Ok(driver)
    }

    /// Hands the submission queue over, runs deferred work, and waits for `want` completions.
    fn enter(&mut self, want: u32, timeout: Option<Duration>) {
        let pending = self.ring.submission().len() as u32;
        let timespec = timeout.map(Timespec::from).unwrap_or_default();
        let args = SubmitArgs::new();
        let args = if timeout.is_some() { args.timespec(&timespec) } else { args };
        let flags = ENTER_GETEVENTS | ENTER_EXT_ARG | ENTER_REGISTERED_RING;
        // SAFETY: the entries handed over name memory that lives as `push` and `flush` say; the
        // arguments live until the call returns.
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
            // Time is up, a signal, or too little memory or room for now: whoever needs it done
            // asks again.
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

    /// Hands all of the submission queue over.
    fn submit(&mut self) {
        while !self.ring.submission().is_empty() {
            self.enter(0, None);
            if self.ring.submission().cq_overflow() {
                self.hold();
            }
        }
    }

    /// Takes what there is off the completion queue.
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

    /// Queues an operation; it goes out with the next `enter`.
    fn push(&mut self, op: Op) {
        let entry = self.entry(op);
        if self.ring.submission().is_full() {
            self.submit();
        }
        // SAFETY: what the entry names is the driver's: an accept's address in a table that never
        // grows, an armed send's chunk, kept until its completion; the rest name no memory.
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

    /// Whether the kernel knows the total cap of a receive: an older one refuses the field before
    /// it looks for the socket, which is not there yet.
    fn knows_total_cap(&mut self) -> bool {
        let mut entry = opcode::RecvMulti::new(Fixed(0), buffers::GROUP).build();
        cap(&mut entry, 1);
        // SAFETY: it names no memory.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        assert!(pushed.is_ok(), "the submission queue is new");
        while self.ring.completion().is_empty() {
            self.enter(1, None);
        }
        let result = self.ring.completion().next().map(|cqe| cqe.result());
        result != Some(-libc::EINVAL)
    }

    /// Queues one piece of a flush, whose first send has the number `first`.
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
            // SAFETY: MSG_DONTWAIT ends the send while it is submitted, which `flush` sees to
            // before it returns or touches the scatter lists; the bytes are borrowed until then.
            let pushed = unsafe { queue.push(&entry) };
            assert!(pushed.is_ok(), "room was made");
        }
        debug_assert!(messages.next().is_none(), "each message has its send");
    }
}

impl Drop for Uring {
    /// Ends what is under way before its memory goes.
    #[expect(clippy::disallowed_methods, reason = "better lost than written after its end")]
    fn drop(&mut self) {
        self.submit();
        let start = Instant::now();
        loop {
            // It fails where there is nothing to cancel, or takes too long: counted below.
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

/// Gives a ring the number of another descriptor, whose own file is closed by that.
fn become_known(ring: &IoUring, mut known: OwnedFd) -> io::Result<OwnedFd> {
    // SAFETY: the ring is borrowed, and so is its descriptor.
    let ring = unsafe { BorrowedFd::borrow_raw(ring.as_raw_fd()) };
    rustix::io::dup3(ring, &mut known, DupFlags::CLOEXEC)?;
    Ok(known)
}

/// Cancels the operation of that user data. It says something only if there is none.
fn cancel(data: u64) -> Entry {
    let entry = opcode::AsyncCancel::new(data).build();
    entry.flags(Flags::SKIP_SUCCESS).user_data(tag(Kind::Cancel, 0, 0))
}

/// Makes a multishot receive end after `bytes`: `optlen` of the kernel's entry, which io-uring has
/// no name for.
fn cap(entry: &mut Entry, bytes: u32) {
    const { assert!(size_of::<Entry>() == 64) };
    let words = ptr::from_mut(entry).cast::<[u32; 16]>();
    // SAFETY: an entry is the kernel's io_uring_sqe, 64 bytes laid out as in C, borrowed here.
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

/// Registers the ring's own descriptor with this thread, which saves each `enter` a look-up.
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
    // SAFETY: it points to the local above.
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
