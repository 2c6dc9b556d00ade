//! A worker's side of the mesh: serving requests, taking deliveries, ringing, and the sleep
//! protocol.

use super::{Rest, Worker};
use crate::clock::Now;
use crate::contract::engine::{Engine, FromBridge, ToBridge};
use crate::contract::envelope::{Delivery, Request};
use crate::driver::Driver;
use crate::edge::{RequestLanes, Turn};
use crate::mesh::Sender;
use crate::rules::sabotage;
use crate::transport::Transport;

/// The request lanes of a worker, as its edge sees them.
pub(super) struct Out<'a> {
    pub lanes: &'a mut [Sender<Request>],
    pub rung: &'a mut u64,
}

impl RequestLanes for Out<'_> {
    fn push(&mut self, home: u16, request: Request) -> Result<(), Request> {
        self.lanes[usize::from(home)].push(request)?;
        *self.rung |= 1 << home;
        Ok(())
    }
}

/// A command about a user that waits for what came before it by other lanes.
pub(super) struct Fenced {
    /// By home: how many deliveries have to be taken before.
    until: Box<[u64]>,
    home: usize,
    command: Delivery,
}

impl<D: Driver, T: Transport, E: Engine> Worker<D, T, E> {
    /// Takes deliveries, in lane order, as far as the arena goes (rule 23). True: some were taken.
    pub(super) fn take_deliveries(&mut self, now: Now) -> bool {
        let mut taken = false;
        // Each turn another first: one that fills the arena every turn must not starve the rest.
        let homes = self.mesh.deliveries_in.len();
        debug_assert!(self.taking < homes, "the lane to look at first is one of ours");
        self.edge.begin_stage();
        // Filters of a publication may still have to be asked.
        self.edge.mark_within_turn();
        self.waits_for_filters &= self.edge.has_filtered();
        if self.waits_for_filters {
            // Something has to follow those publications; more of them would delay it without end.
            return true;
        }
        self.taking = (self.taking + 1) % homes;
        for step in 0..homes {
            let home = (self.taking + step) % homes;
            for _ in 0..self.budgets.deliveries_per_lane {
                let room = self.edge.has_room() && self.edge.may_work();
                sabotage!(AdmitOver: room = room && self.fits(home));
                sabotage!(TwoRings: room = room && !self.is_behind_a_request(home));
                if !room || !self.ask_filters_before_next(home) {
                    break;
                }
                let Some(delivery) = self.mesh.deliveries_in[home].pop() else { break };
                taken = true;
                self.popped[home] += 1;
                if let Delivery::Marker { .. } = delivery {
                    self.marker_back();
                    continue;
                }
                let fenced = matches!(delivery, Delivery::UserCommand { .. });
                sabotage!(Fenced: fenced = false);
                if fenced {
                    self.fence(home, delivery);
                    continue;
                }
                self.edge.deliver(u16::try_from(home).expect("few cores"), delivery, now);
            }
            if self.mesh.deliveries_in[home].freed() {
                self.rung |= 1 << home;
            }
        }
        self.metrics.stages_cut.add(u64::from(!self.edge.may_work()));
        self.edge.mark_within_turn();
        if !self.edge.has_staged() {
            self.pass_fences(now);
        }
        taken
    }

    /// Asks the filters about what came before, if the next delivery of a home has to follow it:
    /// publications of other channels and their answers need not. False: not all could be asked
    /// within the turn, and the delivery has to wait.
    fn ask_filters_before_next(&mut self, home: usize) -> bool {
        if !self.edge.has_filtered() {
            return true;
        }
        let next = self.mesh.deliveries_in[home].peek();
        let may_pass = self.fenced.is_empty() && self.edge.may_pass_filtered();
        if may_pass && next.is_none_or(Delivery::may_pass_filters) {
            return true;
        }
        self.edge.mark_within_turn();
        self.waits_for_filters = self.edge.has_filtered();
        !self.waits_for_filters
    }

    /// Lets a command about a user wait for what lies in the lanes now: a call that publishes, and
    /// then ends a subscription or a connection, came by two homes, and what was published first is
    /// heard first (rule 33).
    fn fence(&mut self, home: usize, command: Delivery) {
        let lanes = self.popped.iter().zip(&self.mesh.deliveries_in);
        let until = lanes.map(|(popped, lane)| popped + lane.waiting() as u64).collect();
        self.fenced.push_back(Fenced { until, home, command });
    }

    /// Carries out the commands about users before which nothing lies in the lanes any more.
    fn pass_fences(&mut self, now: Now) {
        let passed = |it: &Fenced, popped: &[u64]| {
            it.until.iter().zip(popped).all(|(until, at)| at >= until)
        };
        while self.fenced.front().is_some_and(|first| passed(first, &self.popped)) {
            let Some(Fenced { home, command, .. }) = self.fenced.pop_front() else { break };
            self.edge.deliver(u16::try_from(home).expect("few cores"), command, now);
        }
    }

    /// Tells homes which of their commands about users have taken effect.
    pub(super) fn report(&mut self, now: Now) {
        let mut lanes = Out { lanes: &mut self.mesh.requests_out, rung: &mut self.rung };
        self.edge.push_reports(&mut Turn::new(now, &mut lanes));
    }

    /// Serves the requests of all lanes, each for a while, in rotation. A home that meets a full
    /// lane waits with that request (rule 2). True: something was done.
    pub(super) fn serve_requests(&mut self, now: Now) -> bool {
        let cores = self.mesh.requests_in.len();
        debug_assert!(self.serving < cores, "the lane whose turn it is is one of ours");
        let mut served = false;
        self.home.begin_turn(self.budgets.work_ns);
        sabotage!(ProbeStar => if self.waits_for_probe() { return served; });
        if !self.say(&mut served) {
            return served;
        }
        self.home.timers(now);
        if !self.say(&mut served) || !self.serve_bridge(now, &mut served) {
            return served;
        }
        for step in 0..cores {
            let core = (self.serving + step) % cores;
            let finished = self.serve_lane(core, now, &mut served);
            if self.mesh.requests_in[core].freed() {
                self.rung |= 1 << core;
            }
            if !finished {
                self.serving = core;
                return served;
            }
            if !self.home.may_work() {
                // Whoever asks for much by one lane leaves the next turn to the others.
                self.metrics.stages_cut.add(1);
                self.serving = (core + 1) % cores;
                return served;
            }
        }
        self.serving = (self.serving + 1) % cores;
        served
    }

    /// False: the home waits for a lane's room.
    fn serve_lane(&mut self, core: usize, now: Now, served: &mut bool) -> bool {
        sabotage!(Cursor => return self.serve_lane_from_the_start(core, now, served));
        for _ in 0..self.budgets.requests_per_lane {
            if !self.home.may_work() {
                return true;
            }
            let Some(request) = self.mesh.requests_in[core].pop() else { return true };
            self.home.take(request, now);
            *served = true;
            self.send_calls();
            if !self.say(served) {
                return false;
            }
        }
        true
    }

    /// Pushes what the home has to say, one by one; false when a lane is full.
    pub(super) fn say(&mut self, said: &mut bool) -> bool {
        sabotage!(Reserve => if !self.has_room_for_all() { return false; });
        sabotage!(HomeRr => return self.say_what_finds_room(said));
        while let Some((core, delivery)) = self.home.next_delivery() {
            match self.mesh.deliveries_out[usize::from(core)].push(delivery) {
                Ok(()) => {
                    self.rung |= 1 << core;
                    *said = true;
                }
                Err(delivery) => {
                    self.home.put_back(core, delivery);
                    self.metrics.lane_full.add(1);
                    return false;
                }
            }
        }
        true
    }

    /// Takes what the bridge says: probes, and an engine's answers. False: the home waits.
    fn serve_bridge(&mut self, now: Now, served: &mut bool) -> bool {
        let mut finished = true;
        for _ in 0..self.budgets.requests_per_lane {
            while self.home.take_answer(now) {
                *served = true;
                self.send_calls();
                if !self.say(served) {
                    finished = false;
                    break;
                }
            }
            if !finished {
                break;
            }
            let Some(said) = self.mesh.from_bridge.pop() else { break };
            *served = true;
            match said {
                FromBridge::Probe { sequence } => {
                    // A full lane means "not ready": nobody waits for a probe (rule 7).
                    if self.mesh.to_bridge.push(ToBridge::Probed { sequence }).is_ok() {
                        self.rung |= 1 << self.bridge();
                    }
                }
                FromBridge::Fence { number } => self.fence = Some(number),
                FromBridge::Answer(answer) => self.home.hear(answer),
            }
        }
        if self.mesh.from_bridge.freed() {
            self.rung |= 1 << self.bridge();
        }
        self.send_calls();
        finished
    }

    /// Sends the bridge what the engine is asked, and the answer to a fence: the highest stands for
    /// all.
    pub(super) fn send_calls(&mut self) {
        if let Some(number) = self.fence {
            if self.mesh.to_bridge.push(ToBridge::Fenced { number }).is_err() {
                return;
            }
            self.fence = None;
            self.rung |= 1 << self.bridge();
        }
        while let Some(call) = self.home.next_call() {
            if let Err(full) = self.mesh.to_bridge.push(ToBridge::Call(call)) {
                let ToBridge::Call(call) = full else { unreachable!("it gives back its item") };
                self.home.put_back_call(call);
                return;
            }
            self.rung |= 1 << self.bridge();
        }
    }

    fn bridge(&self) -> usize {
        self.mesh.bells.len() - 1
    }

    /// The doorbells stage: rings every sleeping core that got something, or got room.
    pub(super) fn ring(&mut self) {
        let mut rung = std::mem::take(&mut self.rung);
        debug_assert!(
            rung.checked_shr(self.mesh.bells.len() as u32).unwrap_or(0) == 0,
            "a core that there is not"
        );
        while rung != 0 {
            let core = rung.trailing_zeros() as usize;
            rung &= rung - 1;
            if core != self.mesh.core && self.mesh.bells[core].ring() {
                sabotage!(RingsBell => continue);
                self.driver.notify(core);
            }
        }
    }

    /// Announces that this core will sleep: lanes it waits for shall ring, and so shall whoever has
    /// something for it (rule 5). Then `look_again` has to follow.
    pub fn announce_sleep(&mut self) {
        sabotage!(RearmWant => return self.mesh.bells[self.mesh.core].announce());
        if !self.home.is_free() {
            for lane in &self.mesh.deliveries_out {
                lane.want_room();
            }
        }
        for (home, lane) in (0_u16..).zip(&self.mesh.requests_out) {
            if self.edge.waits_for(home) {
                lane.want_room();
            }
        }
        if self.home.has_call() || self.fence.is_some() {
            self.mesh.to_bridge.want_room();
        }
        self.mesh.bells[self.mesh.core].announce();
    }

    /// Looks again after the announcement: is there anything that this core could do now?
    #[must_use]
    pub fn look_again(&mut self) -> bool {
        sabotage!(RearmWant => return self.finds_items());
        let room = self.edge.has_room();
        let delivery = room && self.mesh.deliveries_in.iter().any(|lane| !lane.is_empty());
        let line = (0_u16..)
            .zip(&self.mesh.requests_out)
            .any(|(home, lane)| self.edge.waits_for(home) && lane.has_room());
        delivery || line || self.home_can_go_on() || self.edge.has_work()
    }

    pub(super) fn home_can_go_on(&mut self) -> bool {
        if let Some((core, delivery)) = self.home.next_delivery() {
            self.home.put_back(core, delivery);
            return self.mesh.deliveries_out[usize::from(core)].has_room();
        }
        if !self.mesh.from_bridge.is_empty() || self.home.has_answer() {
            return true;
        }
        if (self.home.has_call() || self.fence.is_some()) && self.mesh.to_bridge.has_room() {
            return true;
        }
        self.mesh.requests_in.iter().any(|lane| !lane.is_empty())
    }

    /// This core is awake again.
    pub fn awake(&mut self) {
        self.mesh.bells[self.mesh.core].awake();
    }

    pub(super) fn rest(&self) -> Rest {
        if self.edge.has_work() {
            return Rest::Busy;
        }
        // A home that waits for room is woken by that; its timers come behind.
        let home = self.home.next_timer_ms().filter(|_| self.home.is_free());
        let timers = [self.edge.next_timer_ms(), home];
        Rest::Until(timers.into_iter().flatten().min().map(|ms| ms * 1000))
    }
}
