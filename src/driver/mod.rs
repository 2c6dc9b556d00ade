//! The seam to the kernel: the socket operations that a worker needs.
//!
//! The three implementations, `uring`, `epoll` and the simulation's, behave the same. A driver must
//! not know frames, commands or channels. Invariant: memory that an operation in flight reads or
//! writes belongs to the driver until the operation has ended, and a socket's number is not reused
//! before its last operation has ended.

mod chunks;
pub mod epoll;
pub mod probe;
mod shares;
pub mod socket;
pub mod survey;
#[expect(unsafe_code, reason = "system calls, and memory named to the kernel")]
pub mod uring;

use bytes::Bytes;
use std::fmt;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// What a driver is made from.
#[derive(Debug)]
pub struct Options {
    /// Most connections open at once, including those to be refused; others wait in the listener's
    /// backlog.
    pub slots: u32,
    /// Slots among them that connections of the first listener may not use.
    pub kept_slots: u32,
    /// Non-blocking listeners (`socket::listen`).
    pub listeners: Vec<OwnedFd>,
    /// Wakes this core (`socket::bell`).
    pub own_bell: OwnedFd,
    /// A descriptor, of any kind, that becomes this core's ring if it has one: other cores know its
    /// number, and send messages to it instead of ringing the bell.
    pub own_ring: Option<OwnedFd>,
    /// The other cores' bells by index in the mesh; `None` cannot be rung.
    pub bells: Vec<Option<socket::Bell>>,
}

/// Why a driver cannot be made.
#[derive(Debug)]
pub enum Error {
    /// The epoll instance could not be made or filled.
    Epoll(std::io::Error),
    /// The kernel offers no ring, or not one with all required features.
    Ring(std::io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Epoll(error) => write!(f, "epoll: {error}"),
            Error::Ring(error) => write!(f, "io_uring: {error}"),
        }
    }
}

impl std::error::Error for Error {}

/// A socket of this driver, dense from 0. Its owner may use it from `Accepted` until it calls
/// `close`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket(pub u32);

/// The owner's name of a connection; opaque to the driver and returned with every event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tag(pub u64);

/// Bytes received, lent by the driver until `release`.
#[derive(Debug, PartialEq, Eq)]
pub struct Buffer {
    pub id: u32,
    pub len: u32,
}

/// A range of bytes to send: in the turn's arena, or in the pool of sealed buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    pub place: Place,
    pub start: u32,
    pub len: u32,
}

impl Segment {
    /// The bytes it names.
    #[must_use]
    pub fn of<'a>(&self, arena: &'a [u8], pool: &'a [u8]) -> &'a [u8] {
        let place = match self.place {
            Place::Arena => arena,
            Place::Pool => pool,
        };
        &place[self.start as usize..][..self.len as usize]
    }
}

/// The memory that a segment is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Arena,
    Pool,
}

/// One send of a flush. At most one per socket and flush: two in one submission can interleave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Send {
    pub socket: Socket,
    pub pieces: Pieces,
}

/// The segments of a send: nearly always one, which then needs no look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pieces {
    One(Segment),
    /// `count` of the flush's segments from `first`, in order.
    Many {
        first: u32,
        count: u32,
    },
}

const _: () = assert!(size_of::<Send>() == 16);

impl Pieces {
    /// The segments, of which a flush's others are `segments`.
    #[must_use]
    pub fn of<'a>(&'a self, segments: &'a [Segment]) -> &'a [Segment] {
        match self {
            Pieces::One(segment) => std::slice::from_ref(segment),
            Pieces::Many { first, count } => &segments[*first as usize..][..*count as usize],
        }
    }
}

/// Whether no socket appears twice: two sends to one socket corrupt its stream if the first stops
/// short or they overtake each other.
fn one_each(sends: &[Send]) -> bool {
    let mut sockets: Vec<u32> = sends.iter().map(|send| send.socket.0).collect();
    sockets.sort_unstable();
    sockets.windows(2).all(|pair| pair[0] != pair[1])
}

/// A send of a flush that was not sent completely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsent {
    /// Index of the send in the flush.
    pub index: u32,
    /// Bytes that were sent.
    pub sent: u32,
}

/// Why receiving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer sent its FIN.
    Closed,
    /// The kernel reports that the connection is gone; its errno.
    Failed(i32),
}

/// What happened since the last turn.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A connection was accepted. The owner calls `adopt` or `close`; until then nothing is
    /// received.
    /// `listener` is the index of its listener in `Options::listeners`.
    Accepted { socket: Socket, peer: Option<IpAddr>, listener: u8 },
    /// Bytes were received. The owner must `release` the buffer. May still arrive after `pause`.
    Received { tag: Tag, buffer: Buffer },
    /// No more bytes will arrive. The owner still has to `close` the socket.
    Ended { tag: Tag, end: End },
    /// The armed send was sent completely.
    Sent { tag: Tag },
    /// A send failed because the peer is gone. The owner still has to `close` the socket.
    SendFailed { tag: Tag, errno: i32 },
}

/// The socket operations of a worker. Only `wait` blocks.
pub trait Driver {
    /// The next event, or `None` if there is none without asking the kernel. Events of a socket
    /// come in the order of its bytes, and none comes after its `close`.
    fn next_event(&mut self) -> Option<Event>;

    /// The bytes of a received buffer.
    fn bytes(&mut self, buffer: &Buffer) -> &mut [u8];

    /// Returns a received buffer.
    fn release(&mut self, buffer: Buffer);

    /// Takes over an accepted socket: `tag` identifies it from now on, and receiving begins.
    fn adopt(&mut self, socket: Socket, tag: Tag);

    /// Pauses receiving. Bytes that are under way may still arrive; none is lost or doubled.
    fn pause(&mut self, socket: Socket);

    /// Resumes receiving. Calling `pause` or `resume` twice has no further effect.
    fn resume(&mut self, socket: Socket);

    /// Sends what one turn wrote, without waiting. Incomplete sends are listed in `unsent` (cleared
    /// first), in the order of `sends`. A socket whose peer is gone counts as unsent, and its
    /// `Ended` or `SendFailed` follows. `arena` and `pool` may be overwritten when this returns.
    fn flush(
        &mut self,
        arena: &[u8],
        pool: &[u8],
        segments: &[Segment],
        sends: &[Send],
        unsent: &mut Vec<Unsent>,
    );

    /// Arms a send of a backlog's chunk: it is sent as the socket drains, then `Sent` comes. At
    /// most one per socket, and no flush may contain that socket meanwhile.
    fn arm_send(&mut self, socket: Socket, chunk: Bytes);

    /// Sends a FIN after everything that was sent before, including an armed send; receiving
    /// continues.
    fn shutdown(&mut self, socket: Socket);

    /// Closes for good: ends operations under way, sends a FIN, and forgets the tag.
    fn close(&mut self, socket: Socket);

    /// Stops accepting; accepted connections stay.
    fn stop_listening(&mut self);

    /// Counters since the start.
    fn stats(&self) -> DriverStats {
        DriverStats::default()
    }

    /// Is an event known, without asking the kernel?
    fn look_for_news(&mut self) -> bool;

    /// Rings another core's doorbell (its index in the mesh), at the latest with the next `wait`.
    fn notify(&mut self, core: usize);

    /// Submits what was queued, and sleeps until an event, a ring of this core, or `timeout`;
    /// `None` sleeps without a limit, zero does not sleep.
    fn wait(&mut self, timeout: Option<Duration>);
}

/// Counters of a driver for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DriverStats {
    /// Times that the provided buffers had run out.
    pub out_of_buffers: u64,
    /// Completions that found the completion queue full.
    pub overflows: u64,
}
