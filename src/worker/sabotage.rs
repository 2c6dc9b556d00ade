//! What a worker does where a rule of lanes is broken on purpose, to prove that the simulation
//! would notice. Compiled with the feature `sabotage` only.

use super::Worker;
use super::flush::Batch;
use super::lanes::Out;
use crate::clock::Now;
use crate::contract::engine::{Engine, FromBridge, ToBridge};
use crate::contract::envelope::{Delivery, Request};
use crate::contract::key::ConnectionKey;
use crate::contract::name::Name;
use crate::driver::{Driver, Pieces, Send, Socket};
use crate::edge::{ConnectionId, RequestLanes};
use crate::transport::Transport;
use std::collections::VecDeque;

/// What broken rules need to remember.
#[derive(Default)]
pub(super) struct Broken {
    /// Rule 2: the request that is to be carried out again from its start.
    again: Option<Request>,
    /// Rule 2: what found its lane full, while the home went on with other requests.
    skipped: VecDeque<(u16, Delivery)>,
    /// Rule 7: a probe goes round, and the home waits until the next core's lane takes it.
    hop: Option<u64>,
}

impl<D: Driver, T: Transport, E: Engine> Worker<D, T, E> {
    /// Rule 2, `cursor`: a request that met a full lane is carried out again from its start.
    pub(super) fn serve_lane_from_the_start(
        &mut self,
        core: usize,
        now: Now,
        served: &mut bool,
    ) -> bool {
        for _ in 0..self.budgets.requests_per_lane {
            let held = self.broken.again.take();
            let Some(request) = held.or_else(|| self.mesh.requests_in[core].pop()) else {
                return true;
            };
            let again = request.clone();
            self.home.take(request, now);
            *served = true;
            self.send_calls();
            if !self.say(served) {
                while self.home.next_delivery().is_some() {}
                self.broken.again = Some(again);
                return false;
            }
        }
        true
    }

    /// Rule 2, `home_rr`: what meets a full lane is put aside, and the home goes on with others.
    pub(super) fn say_what_finds_room(&mut self, said: &mut bool) -> bool {
        let mut waiting = std::mem::take(&mut self.broken.skipped);
        while let Some((core, delivery)) = waiting.pop_front() {
            if let Err(delivery) = self.mesh.deliveries_out[usize::from(core)].push(delivery) {
                waiting.push_front((core, delivery));
                break;
            }
            self.rung |= 1 << core;
        }
        while let Some((core, delivery)) = self.home.next_delivery() {
            match self.mesh.deliveries_out[usize::from(core)].push(delivery) {
                Ok(()) => {
                    self.rung |= 1 << core;
                    *said = true;
                }
                Err(delivery) => {
                    waiting.push_back((core, delivery));
                    while let Some(rest) = self.home.next_delivery() {
                        waiting.push_back(rest);
                    }
                }
            }
        }
        self.broken.skipped = waiting;
        true
    }

    /// Rule 2, `reserve`: before anything of a request is said, is there room for all of it?
    pub(super) fn has_room_for_all(&self) -> bool {
        let mut room: Vec<usize> =
            self.mesh.deliveries_out.iter().map(|lane| lane.room()).collect();
        self.home.outgoing().all(|core| {
            let left = &mut room[usize::from(core)];
            *left > 0 && {
                *left -= 1;
                true
            }
        })
    }

    /// Rule 7, `probe_star`: a probe is answered once the next core's lane has taken it, and the
    /// home waits for that. True: it waits.
    pub(super) fn waits_for_probe(&mut self) -> bool {
        if self.broken.hop.is_none()
            && matches!(self.mesh.from_bridge.peek(), Some(FromBridge::Probe { .. }))
            && let Some(FromBridge::Probe { sequence }) = self.mesh.from_bridge.pop()
        {
            self.broken.hop = Some(sequence);
        }
        let Some(sequence) = self.broken.hop else { return false };
        let next = (self.mesh.core + 1) % self.mesh.requests_out.len();
        let mut lanes = Out { lanes: &mut self.mesh.requests_out, rung: &mut self.rung };
        let (connection, user) = (ConnectionKey::NOBODY, Name::from(""));
        let next = u16::try_from(next).expect("few cores");
        if lanes.push(next, Request::Deregister { connection, user }).is_err() {
            return true;
        }
        self.broken.hop = None;
        if self.mesh.to_bridge.push(ToBridge::Probed { sequence }).is_ok() {
            self.rung |= 1 << (self.mesh.bells.len() - 1);
        }
        false
    }

    /// Rule 1, `two_rings`: is the lane's next delivery behind a request that the home cannot take?
    pub(super) fn is_behind_a_request(&self, home: usize) -> bool {
        !self.home.is_free() && !self.mesh.requests_in[home].is_empty()
    }

    /// Rule 23, `admit_over`: does the lane's next delivery fit below the arena's bound?
    pub(super) fn fits(&self, home: usize) -> bool {
        let next = self.mesh.deliveries_in[home].peek();
        next.is_none_or(|it| self.edge.has_room_for(size(it)))
    }

    /// Rule 5, `rearm_want`: a core that did not ask for room does not look for it either.
    pub(super) fn finds_items(&mut self) -> bool {
        let room = self.edge.has_room();
        let delivery = room && self.mesh.deliveries_in.iter().any(|lane| !lane.is_empty());
        let home = self.home.is_free() && self.home_can_go_on();
        delivery || home || self.edge.has_work()
    }

    /// Rule 6, `no_bell_after`: goes on with what pushes when the bells have been rung.
    pub(super) fn push_after_the_bells(&mut self, now: Now) {
        self.edge.settle_late(now);
        self.resume_work(now);
    }
}

impl Batch {
    /// Rule 19, `one_send`: the first of several segments is a send of its own. Gives the rest.
    pub(super) fn send_first_apart(
        &mut self,
        first: u32,
        count: u32,
        socket: Socket,
        conn: ConnectionId,
    ) -> Pieces {
        if count < 2 {
            return Pieces::Many { first, count };
        }
        let place = self.sends.len();
        self.sends.push(Send { socket, pieces: Pieces::Many { first, count: 1 } });
        self.conns.insert(place, conn);
        Pieces::Many { first: first + 1, count: count - 1 }
    }
}

/// Bytes that a delivery takes in the arena, roughly.
fn size(delivery: &Delivery) -> usize {
    match delivery {
        Delivery::Publication { block, .. } => block.size() + 160,
        Delivery::History(answer) => {
            answer.publications.iter().map(|placed| placed.block.size() + 100).sum()
        }
        Delivery::Presence(answer) => answer.members.len() * 120,
        _ => 0,
    }
}
