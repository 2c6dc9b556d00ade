//! The read path: what the driver says happened, given to the edge.

use super::lanes::Out;
use super::link::Link;
use super::sealed::Sealed;
use super::{Range, Worker};
use crate::clock::Now;
use crate::contract::engine::Engine;
use crate::driver::{self, Buffer, Driver, End, Event, Socket};
use crate::edge::{ConnectionId, Effect, Turn};
use crate::transport::Transport;
use std::net::IpAddr;

pub(super) fn to_tag(conn: ConnectionId) -> driver::Tag {
    driver::Tag(u64::from(conn.generation) << 32 | u64::from(conn.index))
}

fn of_tag(tag: driver::Tag) -> ConnectionId {
    let index = u32::try_from(tag.0 & u64::from(u32::MAX)).expect("it was just cut");
    ConnectionId { index, generation: u32::try_from(tag.0 >> 32).expect("it was just shifted") }
}

impl<D: Driver, T: Transport, E: Engine> Worker<D, T, E> {
    /// Works off the driver's events, within a turn's budget. True: there were some.
    pub(super) fn receive(&mut self, now: Now) -> bool {
        let mut any = false;
        for _ in 0..self.budgets.events {
            if !self.edge.may_work() {
                // What came is kept by the driver, in its order.
                self.metrics.stages_cut.add(1);
                break;
            }
            let Some(event) = self.driver.next_event() else { break };
            any = true;
            match event {
                Event::Accepted { socket, peer, listener } => {
                    self.accepted(socket, peer, listener, now);
                }
                Event::Received { tag, buffer } => self.received(of_tag(tag), buffer, now),
                Event::Ended { tag, end: End::Closed } => {
                    self.edge.peer_ended(of_tag(tag), now);
                }
                Event::Ended { tag, .. } => self.edge.peer_reset(of_tag(tag), now),
                Event::Sent { tag } => self.sent(of_tag(tag), now),
                Event::SendFailed { tag, .. } => self.edge.peer_lost(of_tag(tag), now),
            }
            self.apply_effects();
        }
        any
    }

    /// Goes on with what waited: lines of lanes, debts, left-over commands.
    pub(super) fn resume_work(&mut self, now: Now) {
        let mut lanes = Out { lanes: &mut self.mesh.requests_out, rung: &mut self.rung };
        self.edge.resume_work(&mut Turn::new(now, &mut lanes));
        self.apply_effects();
    }

    fn accepted(&mut self, socket: Socket, peer: Option<IpAddr>, listener: u8, now: Now) {
        let internal = self.internal_listener == Some(listener);
        let Some(conn) = self.edge.accept(internal, now) else {
            self.edge.turned_away(peer, now);
            return self.driver.close(socket);
        };
        self.edge.came_from(conn, peer);
        let index = conn.index as usize;
        if self.links.len() <= index {
            self.links.resize_with(index + 1, Link::default);
        }
        assert!(self.links[index].socket().is_none(), "a place is free when its socket is closed");
        let session = self.transport.begin(listener);
        self.links[index] = Link::new(socket, conn.generation, session.is_some());
        if let Some(session) = session {
            self.sealed.insert(conn.index, Box::new(Sealed::new(session)));
            self.edge.begin_handshake(conn);
        }
        self.driver.adopt(socket, to_tag(conn));
    }

    fn received(&mut self, conn: ConnectionId, buffer: Buffer, now: Now) {
        if self.links[conn.index as usize].plain().is_none() {
            return self.received_sealed(conn, buffer, now);
        }
        let mut lanes = Out { lanes: &mut self.mesh.requests_out, rung: &mut self.rung };
        let mut turn = Turn::new(now, &mut lanes);
        let bytes = self.driver.bytes(&buffer);
        self.edge.receive(conn, bytes, &mut turn);
        self.driver.release(buffer);
    }

    /// What was armed is out.
    fn sent(&mut self, conn: ConnectionId, now: Now) {
        match self.links[conn.index as usize].plain() {
            Some(_) => self.edge.chunk_sent(conn),
            None => self.sent_sealed(conn, now),
        }
    }

    /// Carries out what the edge wants done to sockets.
    pub(super) fn apply_effects(&mut self) {
        let mut effects = std::mem::take(&mut self.effects);
        self.edge.take_effects(&mut effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Arm(conn) => self.arm(conn),
                Effect::Pause(conn) => self.with_socket(conn, |driver, it| driver.pause(it)),
                Effect::Resume(conn) => self.with_socket(conn, |driver, it| driver.resume(it)),
                Effect::Shutdown(conn) => self.shutdown(conn),
                Effect::Close(conn) => {
                    self.forget_sealed(conn);
                    self.with_socket(conn, |driver, it| driver.close(it));
                    if let Some(link) = self.link(conn) {
                        *link = Link::default();
                    }
                }
            }
        }
        self.effects = effects;
    }

    fn with_socket(&mut self, conn: ConnectionId, what: impl FnOnce(&mut D, Socket)) {
        if let Some(socket) = self.link(conn).and_then(|link| link.socket()) {
            what(&mut self.driver, socket);
        }
    }

    fn shutdown(&mut self, conn: ConnectionId) {
        match self.link(conn).and_then(|link| link.plain()) {
            Some(socket) => self.driver.shutdown(socket),
            None => self.shut_sealed(conn),
        }
    }

    /// Hands the driver the next chunk of a backlog.
    fn arm(&mut self, conn: ConnectionId) {
        let Some(socket) = self.link(conn).and_then(|link| link.plain()) else {
            return self.arm_sealed(conn);
        };
        let Some(chunk) = self.edge.next_chunk(conn) else { return };
        self.metrics.bytes_out.add(chunk.len() as u64);
        self.driver.arm_send(socket, chunk);
    }
}

/// The bytes of a range of the arena.
pub(super) fn bytes_of(arena: &[u8], range: Range) -> &[u8] {
    &arena[range.start as usize..range.end as usize]
}
