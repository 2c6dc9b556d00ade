//! What a worker does where a rule of lanes is broken on purpose, to prove that the simulation
//! would notice. Without the feature `sabotage` nothing here is reached.

use super::Worker;
use super::lanes::Out;
use crate::contract::engine::Engine;
use crate::contract::envelope::{Delivery, Request};
use crate::contract::key::ConnectionKey;
use crate::contract::name::Name;
use crate::driver::Driver;
use crate::edge::RequestLanes;
use crate::rules::{Rule, holds};
use crate::transport::Transport;
use std::collections::VecDeque;

/// What broken rules need to remember.
#[derive(Default)]
pub(super) struct Broken {
    /// Rule 2: the request that is served, to be served again from the start.
    retry: Option<Request>,
    /// Rule 2: what found its lane full, while the home went on with other requests.
    skipped: VecDeque<(u16, Delivery)>,
    /// Rule 7: a probe goes round, and the home waits until the next core's lane takes it.
    hop: bool,
}

impl<D: Driver, T: Transport, E: Engine> Worker<D, T, E> {
    /// Before a request is served.
    pub(super) fn note_request(&mut self, request: &Request) {
        if !holds(Rule::Cursor) {
            self.broken.retry = Some(request.clone());
        }
    }

    /// A delivery found its lane full. True: the home waits, as it should.
    pub(super) fn waits_with_request(&mut self) -> bool {
        if !holds(Rule::HomeRr) {
            while let Some(rest) = self.home.next_delivery() {
                self.broken.skipped.push_back(rest);
            }
            return false;
        }
        if !holds(Rule::Cursor)
            && let Some(request) = self.broken.retry.take()
        {
            while self.home.next_delivery().is_some() {}
            self.held = Some(request);
        }
        true
    }

    /// Before anything of a request is said. False: there is not room for all of it.
    pub(super) fn has_room_for_all(&self) -> bool {
        if holds(Rule::Reserve) {
            return true;
        }
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

    /// Before requests are served. False: the home waits for something that no rule lets it wait
    /// for.
    pub(super) fn settle_broken(&mut self) -> bool {
        if holds(Rule::HomeRr) && holds(Rule::ProbeStar) {
            return true;
        }
        while let Some((core, delivery)) = self.broken.skipped.pop_front() {
            match self.mesh.deliveries_out[usize::from(core)].push(delivery) {
                Ok(()) => self.rung |= 1 << core,
                Err(delivery) => {
                    self.broken.skipped.push_front((core, delivery));
                    break;
                }
            }
        }
        if self.broken.hop {
            let next = (self.mesh.core + 1) % self.mesh.requests_out.len();
            let mut lanes = Out { lanes: &mut self.mesh.requests_out, rung: &mut self.rung };
            let (connection, user) = (ConnectionKey::NOBODY, Name::from(""));
            let next = u16::try_from(next).expect("few cores");
            self.broken.hop = lanes.push(next, Request::Deregister { connection, user }).is_err();
        }
        !self.broken.hop
    }

    /// A probe came. True: it may be answered at once.
    pub(super) fn answers_probe(&mut self) -> bool {
        self.broken.hop |= !holds(Rule::ProbeStar);
        true
    }

    /// Does the lane's next delivery stand behind a request that the home cannot take?
    pub(super) fn is_behind_a_request(&self, home: usize) -> bool {
        !holds(Rule::TwoRings) && !self.home.is_free() && !self.mesh.requests_in[home].is_empty()
    }

    /// May the lane's next delivery be taken below the arena's bound?
    pub(super) fn fits(&self, home: usize) -> bool {
        let next = self.mesh.deliveries_in[home].peek();
        holds(Rule::AdmitOver) || next.is_none_or(|it| self.edge.has_room_for(size(it)))
    }

    /// What this core could still do although it is going to sleep.
    pub(super) fn broken_work(&self) -> bool {
        if holds(Rule::HomeRr) && holds(Rule::ProbeStar) && holds(Rule::Cursor) {
            return false;
        }
        let hop = (self.mesh.core + 1) % self.mesh.requests_out.len();
        let skipped = self.broken.skipped.front();
        skipped.is_some_and(|(core, _)| self.mesh.deliveries_out[usize::from(*core)].has_room())
            || self.broken.hop && self.mesh.requests_out[hop].has_room()
            || self.held.is_some() && !holds(Rule::Cursor)
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
