//! The seam to the kernel: what a worker needs of sockets, and nothing more.
//!
//! Three implementations keep one behaviour: `uring`, `epoll`, and the simulation's. A driver must
//! not know frames, commands or channels. Its invariant: what an operation in flight reads or
//! writes belongs to the driver until that operation has ended, and a socket's number is not used
//! again before its last one has.

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

/// What a driver is made of.
#[derive(Debug)]
pub struct Options {
    /// Connections open at once, refusals included; more wait in the listener's backlog.
    pub slots: u32,
    /// Of these, slots that connections of the first listener may not take.
    pub kept_slots: u32,
    /// Non-blocking listeners (`socket::listen`).
    pub listeners: Vec<OwnedFd>,
    /// What wakes this core (`socket::bell`).
    pub own_bell: OwnedFd,
    /// A descriptor, of whatever, that becomes this core's ring where it has one: others know its
    /// number, and send to it instead of ringing the bell.
    pub own_ring: Option<OwnedFd>,
    /// The other cores' bells by index in the mesh; none cannot be rung.
    pub bells: Vec<Option<socket::Bell>>,
}

/// Why a driver could not be made.
#[derive(Debug)]
pub enum Error {
    /// The epoll instance could not be made or filled.
    Epoll(std::io::Error),
    /// The kernel has no ring for us, or not one with all that is needed.
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

/// A socket of this driver, dense from 0. Its owner may name it from `Accepted` until it calls
/// `close`, never after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket(pub u32);

/// What the owner calls a connection; opaque here and given back with every event.
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

/// Where a segment lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Arena,
    Pool,
}

/// One send of a flush. At most one per socket and flush (two in one submission tore the stream).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Send {
    pub socket: Socket,
    pub pieces: Pieces,
}

/// What a send consists of: nearly always one segment, which so needs no look-up.
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

/// Whether no socket is named twice: two sends to one tear its stream, where the first stops short
/// or they overtake each other.
fn one_each(sends: &[Send]) -> bool {
    let mut sockets: Vec<u32> = sends.iter().map(|send| send.socket.0).collect();
    sockets.sort_unstable();
    sockets.windows(2).all(|pair| pair[0] != pair[1])
}

/// A send of a flush of which not all bytes went out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsent {
    /// Which of the flush's sends.
    pub index: u32,
    /// Bytes that did go out.
    pub sent: u32,
}

/// Why receiving ended for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer sent its FIN.
    Closed,
    /// The kernel says the connection is gone; its errno.
    Failed(i32),
}

/// What happened since the last turn.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A connection came in. The owner answers with `adopt` or `close`; until then nothing is
    /// received.
    /// `listener` is the place of its listener in `Options::listeners`.
    Accepted { socket: Socket, peer: Option<IpAddr>, listener: u8 },
    /// Bytes came in. The owner must `release` the buffer. May still come after `pause`.
    Received { tag: Tag, buffer: Buffer },
    /// No more bytes will come. The socket is still the owner's, to `close`.
    Ended { tag: Tag, end: End },
    /// The armed send went out whole.
    Sent { tag: Tag },
    /// A send failed: the peer is gone. The socket is still the owner's, to `close`.
    SendFailed { tag: Tag, errno: i32 },
}

/// Sockets, as a worker needs them. No call blocks but `wait`.
pub trait Driver {
    /// The next event, none when nothing more is known without asking the kernel. Events of a
    /// socket come in the order of its bytes, and none comes after its `close`.
    fn next_event(&mut self) -> Option<Event>;

    /// The bytes of a received buffer.
    fn bytes(&mut self, buffer: &Buffer) -> &mut [u8];

    /// Gives a received buffer back.
    fn release(&mut self, buffer: Buffer);

    /// Takes an accepted socket over: `tag` names it from here on, and receiving begins.
    fn adopt(&mut self, socket: Socket, tag: Tag);

    /// Stops receiving. What was under way may still arrive; no byte is lost or doubled.
    fn pause(&mut self, socket: Socket);

    /// Goes on receiving. Pausing and resuming twice is the same as once.
    fn resume(&mut self, socket: Socket);

    /// Sends what one turn wrote, at once and without waiting; what did not go out is listed in
    /// `unsent` (cleared first), in the order of `sends`. A socket whose peer is gone counts as
    /// unsent, and its `Ended` or `SendFailed` follows. `arena` and `pool` may be overwritten when
    /// this returns.
    fn flush(
        &mut self,
        arena: &[u8],
        pool: &[u8],
        segments: &[Segment],
        sends: &[Send],
        unsent: &mut Vec<Unsent>,
    );

    /// Arms a send of a backlog's chunk: it goes out as the socket drains, then `Sent` comes. At
    /// most one per socket, and no flush names that socket meanwhile.
    fn arm_send(&mut self, socket: Socket, chunk: Bytes);

    /// Sends a FIN once what was sent before is out, an armed send too; receiving goes on.
    fn shutdown(&mut self, socket: Socket);

    /// Closes for good: ends what is under way, sends a FIN, forgets the tag.
    fn close(&mut self, socket: Socket);

    /// Stops taking connections; those already accepted stay.
    fn stop_listening(&mut self);

    /// What it counted since its start.
    fn stats(&self) -> DriverStats {
        DriverStats::default()
    }

    /// Looks whether something is known to have happened, without asking the kernel.
    fn look_for_news(&mut self) -> bool;

    /// Rings another core's doorbell (its index in the mesh), with the next `wait` at the latest.
    fn notify(&mut self, core: usize);

    /// Hands the kernel what was asked of it, and sleeps until something happened, this core was
    /// rung, or `timeout` is over; none is for ever, zero does not sleep.
    fn wait(&mut self, timeout: Option<Duration>);
}

/// Counters that a driver keeps for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DriverStats {
    /// Times the provided buffers had run out.
    pub out_of_buffers: u64,
    /// Completions that found their queue full.
    pub overflows: u64,
}
