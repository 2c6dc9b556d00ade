//! Connections that are not plain: what their transport has to say by itself, and whose send is
//! under way.
//!
//! Must not know what is inside a record. Invariants: what a session wrote goes out in the order in
//! which it wrote it, so the next send waits until the one before is out; a sealed connection is
//! never sent from the shared arena, but from what was sealed for it; what the transport has to say
//! and what it keeps of what came in is counted by the edge, and bounded.

use super::lanes::Out;
use super::recv::bytes_of;
use super::{Segment, Send, Worker};
use crate::clock::Now;
use crate::contract::engine::Engine;
use crate::driver::{Buffer, Driver, Pieces, Place, Socket};
use crate::edge::{ConnectionId, Range, Turn};
use crate::limits::{CHUNK_BYTES, SEALED_BYTES_PER_FLUSH, TRANSPORT_BYTES};
use crate::metrics::Cause;
use crate::rules::sabotage;
use crate::transport::{Failure, Session, Transport};
use bytes::Bytes;

/// What a worker keeps beside the link of a connection that is not plain.
#[derive(Debug)]
pub(super) struct Sealed<S> {
    session: S,
    /// What the transport has to say by itself, sealed; it waits for the send that is armed.
    own: Vec<u8>,
    armed: Armed,
    stage: Stage,
    /// Memory that the edge was last told of.
    counted: usize,
}

/// What the driver is sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Armed {
    Nothing,
    /// Bytes of the transport's own, so many.
    Own(usize),
    /// A chunk of the edge's, or the rest of an inline send. The edge hears when it is out.
    Chunk,
}

/// How far a sealed connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Handshake,
    Open,
    /// The session is over: what it has to say goes out, then a FIN. What still comes is passed
    /// over.
    Ending,
    /// The FIN was asked for: nothing may be sent any more.
    Ended,
}

impl<S: Session> Sealed<S> {
    pub fn new(session: S) -> Self {
        assert!(!session.is_open(), "a handshake takes a message of the peer at least");
        Sealed {
            session,
            own: Vec::new(),
            armed: Armed::Nothing,
            stage: Stage::Handshake,
            counted: 0,
        }
    }

    /// Memory that it holds for what came in, and for what it has to say.
    fn held_bytes(&self) -> usize {
        let armed = if let Armed::Own(bytes) = self.armed { bytes } else { 0 };
        self.session.held_bytes() + self.own.capacity() + armed
    }

    /// The stage only grows.
    fn reach(&mut self, stage: Stage) {
        assert!(stage > self.stage, "from {:?} to {stage:?}", self.stage);
        self.stage = stage;
    }

    /// May bytes be sealed and sent at once? Else they wait at the edge, plain.
    fn may_send(&self) -> bool {
        debug_assert!(
            self.stage != Stage::Handshake,
            "nothing is said before the handshake is done"
        );
        self.stage == Stage::Open && self.armed == Armed::Nothing && self.own.is_empty()
    }
}

/// What counts, and what the log says, of a session that failed.
fn cause_of(failure: Failure) -> (Cause, &'static str) {
    match failure {
        Failure::Handshake => (Cause::TransportHandshake, "its transport's handshake is wrong"),
        Failure::Record => (Cause::TransportRecord, "a record of its transport cannot be opened"),
        Failure::Alert => (Cause::TransportAlert, "it ended its transport with an alert"),
        Failure::Unread => (Cause::Unread, "it does not read what its transport has to say"),
    }
}

impl<D: Driver, T: Transport, E: Engine> Worker<D, T, E> {
    /// The socket and the session of a sealed connection, if it is still open.
    fn sealed(&mut self, conn: ConnectionId) -> Option<(Socket, &mut Sealed<T::Session>)> {
        let link = self.links.get(conn.index as usize).filter(|link| link.is_of(conn))?;
        let socket = link.sealed()?;
        let sealed = self.sealed.get_mut(&conn.index);
        debug_assert!(sealed.is_some(), "a sealed link has a session");
        Some((socket, sealed?))
    }

    /// Opens what came in and gives it to the edge.
    #[cold]
    pub(super) fn received_sealed(&mut self, conn: ConnectionId, buffer: Buffer, now: Now) {
        let mut plain = std::mem::take(&mut self.plain);
        plain.clear();
        let opened = self.open(conn, buffer, &mut plain);
        if !plain.is_empty() {
            let mut lanes = Out { lanes: &mut self.mesh.requests_out, rung: &mut self.rung };
            self.edge.receive(conn, &mut plain, &mut Turn::new(now, &mut lanes));
        }
        self.plain = plain;
        match opened {
            Ok(true) => self.edge.peer_ended(conn, now),
            Ok(false) => {}
            Err(failure) => {
                let (cause, reason) = cause_of(failure);
                self.edge.transport_failed(conn, cause, reason, now);
            }
        }
        self.arm_sealed(conn);
        self.count_sealed(conn, now);
    }

    /// Opens what came in, appending it to `plain`. Whether the peer said goodbye.
    fn open(
        &mut self,
        conn: ConnectionId,
        buffer: Buffer,
        plain: &mut Vec<u8>,
    ) -> Result<bool, Failure> {
        let Some(sealed) = self.sealed.get_mut(&conn.index) else {
            unreachable!("a sealed link has a session")
        };
        if sealed.stage >= Stage::Ending {
            self.driver.release(buffer);
            return Ok(false);
        }
        let bytes = self.driver.bytes(&buffer);
        let opened = sealed.session.open(bytes, plain, &mut sealed.own);
        self.driver.release(buffer);
        if sealed.stage == Stage::Handshake && sealed.session.is_open() {
            sealed.reach(Stage::Open);
            self.edge.handshake_done(conn);
        }
        debug_assert!(plain.is_empty() || sealed.stage == Stage::Open, "the handshake comes first");
        let unread = opened.is_ok() && sealed.own.len() > TRANSPORT_BYTES;
        let opened = if unread { Err(Failure::Unread) } else { opened };
        if opened.is_err() {
            sealed.reach(Stage::Ending);
        }
        let opened = opened?;
        self.edge.transport_worked(opened.work_ns);
        Ok(opened.is_closed)
    }

    /// Tells the edge what a session holds, where that has changed.
    fn count_sealed(&mut self, conn: ConnectionId, now: Now) {
        let Some((_, sealed)) = self.sealed(conn) else { return };
        let held = sealed.held_bytes();
        if std::mem::replace(&mut sealed.counted, held) != held {
            self.edge.transport_holds(conn, held, now);
        }
    }

    /// Hands the driver what a sealed connection is to be sent next: what its transport has to say
    /// first, then a chunk of its backlog; and a FIN behind the last.
    #[cold]
    pub(super) fn arm_sealed(&mut self, conn: ConnectionId) {
        let Some((socket, sealed)) = self.sealed(conn) else { return };
        if sealed.armed != Armed::Nothing || sealed.stage == Stage::Ended {
            return;
        }
        let mut wire = std::mem::take(&mut sealed.own);
        let (said, mut armed) = (wire.len(), Armed::Own(wire.capacity()));
        if sealed.stage == Stage::Open
            && let Some(chunk) = self.edge.next_chunk(conn)
        {
            armed = Armed::Chunk;
            wire.reserve(chunk.len() + chunk.len() / 8);
            self.seal(conn, &chunk, &mut wire);
        }
        sabotage!(SaysFirst => wire.rotate_left(said));
        debug_assert!(said <= wire.len(), "what it says goes first");
        let Some(sealed) = self.sealed.get_mut(&conn.index) else { return };
        if !wire.is_empty() {
            sealed.armed = armed;
            self.metrics.bytes_out.add(wire.len() as u64);
            self.driver.arm_send(socket, Bytes::from(wire));
        }
        if sealed.stage == Stage::Ending && sealed.own.is_empty() {
            sealed.reach(Stage::Ended);
            // It follows what is armed.
            self.driver.shutdown(socket);
        }
    }

    /// Seals plain bytes. Where that fails the session is over, and the edge ends the connection in
    /// its next turn. False: it failed.
    fn seal(&mut self, conn: ConnectionId, plain: &[u8], wire: &mut Vec<u8>) -> bool {
        let Some(sealed) = self.sealed.get_mut(&conn.index) else { return false };
        let before = wire.len();
        if sealed.session.seal(plain, wire).is_ok() {
            debug_assert!(wire.len() >= before + plain.len(), "nothing sealed gets shorter");
            return true;
        }
        assert_eq!(wire.len(), before, "a session that fails to seal appends nothing");
        sealed.reach(Stage::Ending);
        self.edge.transport_fails_later(conn);
        false
    }

    /// What was armed for a sealed connection is out.
    #[cold]
    pub(super) fn sent_sealed(&mut self, conn: ConnectionId, now: Now) {
        let Some((_, sealed)) = self.sealed(conn) else { return };
        match std::mem::replace(&mut sealed.armed, Armed::Nothing) {
            Armed::Nothing => unreachable!("nothing was armed"),
            Armed::Chunk => self.edge.chunk_sent(conn),
            Armed::Own(_) => {}
        }
        self.arm_sealed(conn);
        self.count_sealed(conn, now);
    }

    /// Seals what a connection was written this turn, to be sent inline: appended to `pool`. None:
    /// it cannot be sent at once, and waits at the edge, or nothing can be sent any more.
    pub(super) fn seal_ranges(
        &mut self,
        conn: ConnectionId,
        ranges: &[Range],
        pool: &mut Vec<u8>,
    ) -> Option<Send> {
        let (socket, sealed) = self.sealed(conn)?;
        let bytes: usize = ranges.iter().map(|range| (range.end - range.start) as usize).sum();
        let fits = bytes <= CHUNK_BYTES && pool.len() + bytes <= SEALED_BYTES_PER_FLUSH;
        if !sealed.may_send() || !fits {
            self.edge.unsent(conn, ranges, 0);
            return None;
        }
        let start = pool.len();
        for range in ranges {
            let sealed = self.sealed.get_mut(&conn.index)?;
            if sealed.session.seal(bytes_of(self.edge.arena(), *range), pool).is_err() {
                sealed.reach(Stage::Ending);
                self.edge.transport_fails_later(conn);
                break;
            }
        }
        let bounded = |number: usize| u32::try_from(number).expect("a flush is bounded");
        let (start, len) = (bounded(start), bounded(pool.len() - start));
        let segment = Segment { place: Place::Pool, start, len };
        (len > 0).then_some(Send { socket, pieces: Pieces::One(segment) })
    }

    /// A sealed send did not go out whole: its rest goes as it is, and what follows waits for it.
    pub(super) fn arm_rest(&mut self, conn: ConnectionId, rest: Bytes) {
        let Some((socket, sealed)) = self.sealed(conn) else { return };
        assert_eq!(sealed.armed, Armed::Nothing, "nothing is sent inline beside an armed send");
        sealed.armed = Armed::Chunk;
        self.edge.unsent_sealed(conn, rest.len());
        self.driver.arm_send(socket, rest);
    }

    /// Says goodbye and then sends a FIN: nothing more is written.
    pub(super) fn shut_sealed(&mut self, conn: ConnectionId) {
        let Some((_, sealed)) = self.sealed(conn) else { return };
        if sealed.stage == Stage::Open {
            sealed.session.close(&mut sealed.own);
        }
        if sealed.stage < Stage::Ending {
            sealed.reach(Stage::Ending);
        }
        self.arm_sealed(conn);
    }

    /// Says goodbye if that can be sent at once, before the socket is closed. What the kernel does
    /// not take is lost: whoever is closed like this does not read, or is gone.
    pub(super) fn forget_sealed(&mut self, conn: ConnectionId) {
        let Some((socket, _)) = self.sealed(conn) else { return };
        let Some(mut sealed) = self.sealed.remove(&conn.index) else { return };
        if sealed.stage != Stage::Open || sealed.armed != Armed::Nothing {
            return;
        }
        sealed.session.close(&mut sealed.own);
        let len = u32::try_from(sealed.own.len()).expect("what a transport says is bounded");
        let segment = Segment { place: Place::Pool, start: 0, len };
        let send = Send { socket, pieces: Pieces::One(segment) };
        self.driver.flush(&[], &sealed.own, &[], &[send], &mut Vec::new());
    }
}
