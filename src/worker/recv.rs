//! The read path: what the driver says happened, opened by the transport and given to the edge.

use super::lanes::Out;
use super::{Link, Worker};
use crate::clock::Now;
use crate::contract::engine::Engine;
use crate::driver::{self, Buffer, Driver, End, Event, Socket};
use crate::edge::{ConnectionId, Effect, Turn};
use crate::transport::Transport;
use bytes::Bytes;
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
                break;
            }
            let Some(event) = self.driver.next_event() else { break };
            any = true;
            match event {
                Event::Accepted { socket, peer, listener } => {
                    self.accepted(socket, peer, listener > 0, now)
                }
                Event::Received { tag, buffer } => self.received(of_tag(tag), buffer, now),
                Event::Ended { tag, end: End::Closed } => {
                    self.edge.ended(of_tag(tag), now);
                }
                Event::Ended { tag, .. } => self.edge.reset(of_tag(tag), now),
                Event::Sent { tag } => self.edge.chunk_sent(of_tag(tag)),
                Event::SendFailed { tag, .. } => self.edge.failed(of_tag(tag), now),
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

    fn accepted(&mut self, socket: Socket, peer: Option<IpAddr>, internal: bool, now: Now) {
        let Some(conn) = self.edge.accept(internal, now) else {
            self.edge.turned_away(peer, now);
            return self.driver.close(socket);
        };
        self.edge.came_from(conn, peer);
        let index = conn.index as usize;
        if self.links.len() <= index {
            self.links.resize_with(index + 1, Link::default);
        }
        let state = T::State::default();
        self.links[index] = Link { socket, generation: conn.generation, state };
        self.driver.adopt(socket, to_tag(conn));
    }

    fn received(&mut self, conn: ConnectionId, buffer: Buffer, now: Now) {
        let mut lanes = Out { lanes: &mut self.mesh.requests_out, rung: &mut self.rung };
        let mut turn = Turn::new(now, &mut lanes);
        let bytes = self.driver.bytes(&buffer);
        if T::IDENTITY {
            self.edge.receive(conn, bytes, &mut turn);
        } else if let Some(link) = self.links[conn.index as usize].of(conn) {
            self.plain.clear();
            match self.transport.open(&mut link.state, bytes, &mut self.plain) {
                Ok(()) => self.edge.receive(conn, &mut self.plain, &mut turn),
                Err(crate::transport::Unreadable) => self.edge.failed(conn, now),
            }
        }
        self.driver.release(buffer);
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
                Effect::Shutdown(conn) => self.with_socket(conn, |driver, it| driver.shutdown(it)),
                Effect::Close(conn) => {
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
        if let Some(socket) = self.link(conn).map(|link| link.socket) {
            what(&mut self.driver, socket);
        }
    }

    /// Hands the driver the next chunk of a backlog.
    fn arm(&mut self, conn: ConnectionId) {
        if self.link(conn).is_none() {
            return;
        }
        let Some(chunk) = self.edge.next_chunk(conn) else { return };
        self.metrics.bytes_out.add(chunk.len() as u64);
        let link = &mut self.links[conn.index as usize];
        let wire = if T::IDENTITY {
            chunk
        } else {
            let mut wire = Vec::with_capacity(chunk.len() + chunk.len() / 8);
            self.transport.seal(&mut link.state, &chunk, &mut wire);
            Bytes::from(wire)
        };
        let socket = link.socket;
        self.driver.arm_send(socket, wire);
    }
}
