//! The bridge's ends of its lanes: what workers ask, what waits to be sent to them, and which of
//! them have to be woken.
//!
//! Must not know what carries a call out. Invariants (rule 14): an answer to a call is never
//! dropped, because homes keep to their credits; publications may be, and a channel that lost one
//! stays marked until the lane took the mark. A command of another node takes effect after the
//! publications that came before it, whichever workers these went to (rule 33). Nothing is pushed
//! after `ring` (rule 6).

use crate::contract::block::Block;
use crate::contract::engine::{Answer, FromBridge, Session, ToBridge};
use crate::contract::position::Position;
use crate::contract::wire::NodeId;
use crate::mesh::{BridgeEndpoint, Doorbell, Receiver, Sender};
use crate::rules::sabotage;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What waits for room in the lane to one worker.
#[derive(Default)]
struct Outbox {
    /// Answers to calls, at most as many as the lane has slots.
    answers: VecDeque<Answer>,
    /// Publications that came by subscriptions, in order, and fences between them.
    notices: VecDeque<FromBridge>,
    /// Sessions of which publications were dropped: the sticky marks of rule 14.
    lost: BTreeSet<Session>,
    /// The last that is to be said of each node, and whether members have to be noted anew.
    nodes: BTreeMap<NodeId, bool>,
    is_forgotten: bool,
    /// Calls that were taken from the worker, and whose answers are not in its lane yet.
    unanswered: usize,
    /// Whose turn it is: answers and notices alternate, so that neither keeps the other waiting.
    is_notices_turn: bool,
}

impl Outbox {
    fn is_empty(&self) -> bool {
        let has_marks = !self.lost.is_empty() || !self.nodes.is_empty() || self.is_forgotten;
        self.answers.is_empty() && self.notices.is_empty() && !has_marks
    }

    /// The next item for the lane. Marks go before notices: they tell of something older.
    fn next(&mut self) -> Option<FromBridge> {
        let notices_first = self.is_notices_turn || self.answers.is_empty();
        self.is_notices_turn = !notices_first;
        if !notices_first {
            return self.answers.pop_front().map(FromBridge::Answer);
        }
        let mark = self.next_mark().map(FromBridge::Answer);
        mark.or_else(|| self.notices.pop_front())
            .or_else(|| self.answers.pop_front().map(FromBridge::Answer))
    }

    fn next_mark(&mut self) -> Option<Answer> {
        if std::mem::take(&mut self.is_forgotten) {
            return Some(Answer::Forgotten);
        }
        let node = self.nodes.pop_first().map(|(node, lives)| Answer::Node { node, lives });
        node.or_else(|| self.lost.pop_first().map(|session| Answer::Lost { session }))
    }
}

/// A command of another node, until all workers have taken what came before it.
struct Fenced {
    number: u64,
    worker: usize,
    command: Answer,
}

/// See the module's page. Lists are indexed by worker.
pub struct Lanes {
    from_workers: Vec<Receiver<ToBridge>>,
    to_workers: Vec<Sender<FromBridge>>,
    /// Every core's doorbell, the bridge's own last.
    bells: Vec<Doorbell>,
    outboxes: Vec<Outbox>,
    /// Commands that wait, in order: as many as nodes let be under way.
    fenced: VecDeque<Fenced>,
    /// The number of the last fence, and of the last that each worker has answered.
    fences: u64,
    passed: Vec<u64>,
    /// Publications that wait for one lane, at most.
    most_notices: usize,
    /// Workers to ring at the end of the turn, a bit each.
    rung: u64,
}

impl Lanes {
    /// The lanes of a host, of which each keeps so many publications back at most.
    #[must_use]
    pub fn new(ends: BridgeEndpoint<ToBridge, FromBridge>, most_notices: usize) -> Lanes {
        let BridgeEndpoint { from_workers, to_workers, bells } = ends;
        assert_eq!(from_workers.len(), to_workers.len(), "a lane each way for every worker");
        assert_eq!(bells.len(), to_workers.len() + 1, "the bridge's own doorbell is the last");
        assert!(to_workers.len() <= crate::limits::WORKERS, "a worker fits a bit of the set");
        let outboxes = to_workers.iter().map(|_| Outbox::default()).collect();
        let (fenced, passed) = (VecDeque::new(), vec![0; to_workers.len()]);
        Lanes {
            from_workers,
            to_workers,
            bells,
            outboxes,
            fenced,
            fences: 0,
            passed,
            most_notices,
            rung: 0,
        }
    }

    /// How many workers there are.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.to_workers.len()
    }

    /// Takes the oldest item that a worker sent.
    pub(super) fn take(&mut self, worker: usize) -> Option<ToBridge> {
        let item = self.from_workers[worker].pop()?;
        if let ToBridge::Call(call) = &item {
            self.outboxes[worker].unanswered += usize::from(call.id().is_some());
        }
        Some(item)
    }

    /// After a run of `take`: a worker that waits for room in its lane is to be rung.
    pub(super) fn make_room(&mut self, worker: usize) {
        if self.from_workers[worker].freed() {
            self.rung |= 1 << worker;
        }
    }

    /// Sends a probe, if there is room for it: it waits for nobody (rule 7).
    pub(super) fn probe(&mut self, worker: usize, sequence: u64) -> bool {
        self.push(worker, FromBridge::Probe { sequence })
    }

    /// Hands over the answer to a call.
    pub fn answer(&mut self, worker: usize, answer: Answer) {
        debug_assert!(answer.call().is_some(), "not an answer: {answer:?}");
        let slots = self.to_workers[worker].capacity();
        let outbox = &mut self.outboxes[worker];
        debug_assert!(outbox.unanswered > outbox.answers.len(), "a call is answered twice");
        assert!(outbox.answers.len() < slots, "a home called without credit");
        outbox.answers.push_back(answer);
    }

    /// Hands over a publication that the store sent to its subscribers. Where there is no place for
    /// it, it is dropped, and its session marked; what is not kept (without a position) comes at
    /// most once, and is only dropped. Gives whether there was a place.
    pub fn forward(
        &mut self,
        worker: usize,
        session: Session,
        position: Option<Position>,
        block: Block,
    ) -> bool {
        if self.outboxes[worker].notices.len() < self.most_notices {
            self.notify(worker, Answer::Publication { session, position, block });
            return true;
        }
        if position.is_some() {
            self.mark_lost(worker, session);
        }
        false
    }

    /// Hands over what has to do with a list of channels, of which few are let in at a time, behind
    /// the publications that came before it.
    pub fn list(&mut self, worker: usize, list: Answer) {
        let is_list = matches!(list, Answer::Channels { .. } | Answer::List { .. });
        debug_assert!(is_list, "not of a list: {list:?}");
        self.notify(worker, list);
    }

    /// Hands over a command of another node, of which few are let in at a time, behind the
    /// publications that came before it: a disconnect shall not overtake the farewell, whose home
    /// may be another worker.
    pub fn command(&mut self, worker: usize, command: Answer) {
        debug_assert!(matches!(command, Answer::Command { .. }), "not a command: {command:?}");
        self.fences += 1;
        let number = self.fences;
        for other in (0..self.workers()).filter(|other| *other != worker) {
            self.outboxes[other].notices.push_back(FromBridge::Fence { number });
        }
        self.fenced.push_back(Fenced { number, worker, command });
        self.let_commands_pass();
    }

    /// A worker has taken what came before a fence.
    pub(super) fn passed(&mut self, worker: usize, number: u64) {
        debug_assert!(number > self.passed[worker] && number <= self.fences, "no such fence");
        self.passed[worker] = number;
        self.let_commands_pass();
    }

    fn let_commands_pass(&mut self) {
        while let Some(first) = self.fenced.front() {
            let waits =
                |(other, passed): (usize, &u64)| other != first.worker && *passed < first.number;
            if self.passed.iter().enumerate().any(waits) {
                return;
            }
            let Fenced { worker, command, .. } = self.fenced.pop_front().expect("it is the first");
            self.notify(worker, command);
        }
    }

    fn notify(&mut self, worker: usize, notice: Answer) {
        self.outboxes[worker].notices.push_back(FromBridge::Answer(notice));
    }

    /// Hands over what comes at most once, unless there is no place for it.
    pub fn pass_on(&mut self, worker: usize, notice: Answer) {
        debug_assert!(notice.call().is_none(), "not a notice: {notice:?}");
        if self.outboxes[worker].notices.len() < self.most_notices {
            self.notify(worker, notice);
        }
    }

    /// Tells all workers of a node, or that what was noted is forgotten: they will hear of it,
    /// however long their lanes stay full; of one node the last that was to be said.
    pub fn tell(&mut self, news: &Answer) {
        for outbox in &mut self.outboxes {
            match news {
                Answer::Node { node, lives } => {
                    outbox.nodes.insert(*node, *lives);
                }
                Answer::Forgotten => outbox.is_forgotten = true,
                news => debug_assert!(false, "not for all: {news:?}"),
            }
        }
    }

    /// Publications of a session may have been lost on their way to this worker: it will be told,
    /// however long its lane stays full. There is at most one mark for each session.
    pub fn mark_lost(&mut self, worker: usize, session: Session) {
        sabotage!(StickyMark => return);
        self.outboxes[worker].lost.insert(session);
    }

    /// Moves what waits for a worker into its lane: as much as there is room for, and no more than
    /// `most`.
    pub(super) fn send(&mut self, worker: usize, most: usize) {
        for _ in 0..most {
            if self.outboxes[worker].is_empty() || !self.to_workers[worker].has_room() {
                return;
            }
            let outbox = &mut self.outboxes[worker];
            let Some(item) = outbox.next() else { return };
            if let FromBridge::Answer(answer) = &item
                && answer.call().is_some()
            {
                debug_assert!(outbox.unanswered > 0, "an answer without its call: {answer:?}");
                outbox.unanswered -= 1;
            }
            let pushed = self.push(worker, item);
            assert!(pushed, "the bridge alone pushes to this lane, and saw room");
        }
    }

    fn push(&mut self, worker: usize, item: FromBridge) -> bool {
        let pushed = self.to_workers[worker].push(item).is_ok();
        self.rung |= u64::from(pushed) << worker;
        pushed
    }

    /// The end of a turn: wakes every worker that sleeps and was given items or room.
    pub(super) fn ring(&mut self, mut wake: impl FnMut(usize)) {
        let mut rung = std::mem::take(&mut self.rung);
        while rung != 0 {
            let worker = rung.trailing_zeros() as usize;
            rung &= rung - 1;
            if self.bells[worker].ring() {
                wake(worker);
            }
        }
    }

    /// Announces that the bridge will sleep: workers shall ring for items, and for room in lanes
    /// that something waits for (rule 5). Then `has_work` has to be asked once more.
    pub(super) fn announce_sleep(&self) {
        debug_assert_eq!(self.rung, 0, "a worker was not rung before the bridge sleeps");
        for (outbox, lane) in self.outboxes.iter().zip(&self.to_workers) {
            if !outbox.is_empty() {
                lane.want_room();
            }
        }
        self.own_bell().announce();
    }

    /// The bridge is awake again.
    pub(super) fn awake(&self) {
        self.own_bell().awake();
    }

    fn own_bell(&self) -> &Doorbell {
        &self.bells[self.to_workers.len()]
    }

    /// Could anything be taken or sent now?
    #[must_use]
    pub fn has_work(&self) -> bool {
        let outboxes = self.outboxes.iter().zip(&self.to_workers);
        self.from_workers.iter().any(|lane| !lane.is_empty())
            || outboxes.into_iter().any(|(outbox, lane)| !outbox.is_empty() && lane.has_room())
    }

    /// Is every call answered, and nothing kept back?
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let outboxes = self.outboxes.iter();
        self.fenced.is_empty()
            && outboxes.into_iter().all(|outbox| outbox.unanswered == 0 && outbox.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Now;
    use crate::contract::engine::{Call, CallId};
    use crate::contract::position::Epoch;
    use crate::contract::user::{Selection, UserAction, UserCommand};
    use crate::mesh::{Endpoint, Slots, mesh};

    type Worker = Endpoint<(), (), ToBridge, FromBridge>;

    const NOW: Now = Now { monotonic_us: 0, unix_ms: 0 };

    /// One worker, and a bridge whose lanes have so many slots.
    fn lanes(slots: usize, most_notices: usize) -> (Worker, Lanes) {
        let (mut workers, bridge) = mesh(1, Slots { requests: 1, deliveries: 1, bridge: slots });
        (workers.pop().expect("one worker"), Lanes::new(bridge, most_notices))
    }

    fn forward(lanes: &mut Lanes, offset: u64) {
        let position = Position { epoch: Epoch(1), offset };
        let session = Session { place: 0, number: 7 };
        lanes.forward(0, session, Some(position), Block::plain("a", b"1", NOW));
    }

    /// What comes out of the lane, one at a time: offsets, "lost", or "read" for an answer.
    fn heard(worker: &mut Worker, lanes: &mut Lanes) -> Vec<String> {
        let mut heard = Vec::new();
        loop {
            lanes.send(0, 8);
            let Some(item) = worker.from_bridge.pop() else { return heard };
            heard.push(match item {
                FromBridge::Answer(Answer::Publication { position: Some(position), .. }) => {
                    position.offset.to_string()
                }
                FromBridge::Answer(Answer::Lost { .. }) => "lost".into(),
                item => format!("{item:?}"),
            });
        }
    }

    #[test]
    fn a_dropped_publication_leaves_one_mark_that_waits_for_room() {
        let (mut worker, mut lanes) = lanes(1, 2);
        for offset in 1..=5 {
            forward(&mut lanes, offset);
            lanes.send(0, 8);
        }
        assert!(!lanes.is_idle() && !lanes.has_work(), "the lane is full");
        assert_eq!(heard(&mut worker, &mut lanes), ["1", "lost", "2", "3"]);
        assert!(lanes.is_idle());
    }

    #[test]
    fn a_command_waits_until_every_worker_has_taken_what_came_before() {
        let (mut workers, bridge): (Vec<Worker>, _) =
            mesh(3, Slots { requests: 1, deliveries: 1, bridge: 8 });
        let mut lanes = Lanes::new(bridge, 8);
        forward(&mut lanes, 1);
        let what = UserCommand {
            selection: Selection::default(),
            action: UserAction::Send { data: Box::default() },
        };
        for (number, user, worker) in [(7, "a", 1), (8, "b", 0)] {
            let what = what.clone().into();
            lanes.command(worker, Answer::Command { number, user: user.into(), what });
        }
        let mut taken = |lanes: &mut Lanes, worker: usize| -> Vec<String> {
            lanes.send(worker, 8);
            let from_bridge = &mut workers[worker].from_bridge;
            let items = std::iter::from_fn(|| from_bridge.pop()).map(|item| match item {
                FromBridge::Fence { number } => format!("fence {number}"),
                FromBridge::Answer(Answer::Command { number, .. }) => format!("command {number}"),
                FromBridge::Answer(Answer::Publication { .. }) => "publication".into(),
                item => format!("{item:?}"),
            });
            items.collect()
        };
        assert_eq!(taken(&mut lanes, 0), ["publication", "fence 1"]);
        assert_eq!(taken(&mut lanes, 1), ["fence 2"]);
        assert_eq!(taken(&mut lanes, 2), ["fence 1", "fence 2"]);
        // The second may not pass the first, for they may be about one user.
        lanes.passed(1, 2);
        lanes.passed(2, 2);
        assert!(!lanes.is_idle());
        assert!(taken(&mut lanes, 0).is_empty() && taken(&mut lanes, 1).is_empty());
        lanes.passed(0, 1);
        assert_eq!(taken(&mut lanes, 1), ["command 7"]);
        assert_eq!(taken(&mut lanes, 0), ["command 8"]);
        assert!(lanes.is_idle());
    }

    #[test]
    fn answers_and_publications_take_turns() {
        let (mut worker, mut lanes) = lanes(4, 8);
        for id in 1..=2 {
            let pass = Call::Pass { id: CallId(id), block: Block::plain("a", b"1", NOW) };
            assert!(worker.to_bridge.push(ToBridge::Call(pass)).is_ok());
            assert!(lanes.take(0).is_some());
            let position = Position { epoch: Epoch(1), offset: id };
            lanes.answer(0, Answer::Published { id: CallId(id), position, is_new: true });
            forward(&mut lanes, id);
            forward(&mut lanes, id);
        }
        let answers: Vec<bool> =
            heard(&mut worker, &mut lanes).iter().map(|item| item.contains("Published")).collect();
        assert_eq!(answers, [true, false, true, false, false, false]);
        assert!(lanes.is_idle(), "every call is answered");
    }
}
