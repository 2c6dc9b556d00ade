//! One Redis as homes see it: calls in, answers out, and bytes for two connections between.
//!
//! Calls wait in lines by channel until the connection for commands takes bytes, and then go
//! together. What was in flight when it ended is looked for before it is sent again. The other
//! connection hears what is published. Must not know sockets, clocks, lanes or homes. Invariants:
//! every call but `Unwatch` is answered once, within `limits::REDIS_CALL_US`; a channel's
//! publications are put in order, and answered, in the order of their calls; a publication is sent
//! again only where it is known that it was not carried out, or its key says so.

mod asked;
mod calls;
mod control;
mod event;
mod hearing;
mod leaving;
mod lists;
mod members;
mod nodes;
mod replies;
mod sending;
mod users;

use super::backoff::Backoff;
use super::control::Control;
use super::directory::Directory;
use super::echo::Echo;
use super::epochs::Epochs;
use super::greeting::{Login, Server, Timeouts};
use super::interest::{Batch, Interest};
use super::keys::Keys;
use super::lines::{Job, JobId, Lines, Task};
use super::link::{Ended, Heard, Link};
use super::link_error::LinkError;
use super::lists::Lists;
use super::members::ClientIds;
use super::script::Scripts;
use super::users::Users;
use crate::contract::engine::{Answer, Failure};
use crate::contract::position::Position;
use crate::contract::wire::NodeId;
use crate::hashing::{Homes, Key};
use crate::limits::{REDIS_EPOCHS, REDIS_EVENTS, REDIS_STEADY_US};
use crate::metrics::StoreMetrics;
use members::Members;
use std::collections::VecDeque;
use std::sync::Arc;

use asked::{Asked, Search};
pub use event::Event;
use leaving::Stay;

/// How a Redis is used.
#[derive(Clone)]
pub struct ShardConfig {
    /// Redis' own `default` without one.
    pub user: Option<String>,
    pub password: Option<String>,
    pub database: u32,
    /// What names in Redis begin with.
    pub prefix: String,
    pub timeouts: Timeouts,
    /// Where commands of other nodes go.
    pub homes: Homes,
}

/// One of the two connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    Commands,
    Subscriptions,
}

/// See the module's page.
pub struct Shard {
    node: NodeId,
    scripts: Scripts,
    commands: Link<Asked>,
    subscriptions: Link<Batch>,
    backoff: Backoff,
    lines: Lines,
    interest: Interest,
    epochs: Epochs,
    directory: Directory,
    stay: Stay,
    echo: Echo,
    /// The channel and key of its echoes.
    echo_key: Box<[u8]>,
    metrics: Arc<StoreMetrics>,
    users: Users,
    control: Control,
    lists: Lists,
    /// What is rung for this node.
    control_key: Box<[u8]>,
    homes: Homes,
    members: Members,
    /// What all homes are told of nodes, in order.
    news: VecDeque<Answer>,
    /// Publications of this node so far.
    numbers: u64,
    /// Who answers commands.
    server: Option<Server>,
    /// Who answers subscriptions.
    publisher: Option<Server>,
    /// Commands are carried out: the greeting is over and the floor is known.
    serves: bool,
    /// Earlier connections to the same incarnation, by their numbers there, that may not have been
    /// ended there.
    earlier: Vec<i64>,
    /// Nothing that was sent by an earlier connection can be carried out any more.
    is_fenced: bool,
    /// Microseconds of Unix time at the process's start, by Redis' clock.
    started_us: u64,
    /// Scripts have to be loaded before the next command that needs one.
    must_load: bool,
    /// No command is sent before.
    paused_until_us: u64,
    /// Both connections are up since then.
    ready_since_us: Option<u64>,
    answers: VecDeque<(usize, Answer)>,
    events: VecDeque<Event>,
    /// The last moment that was told.
    now_us: u64,
}

impl Shard {
    /// A shard that dials at its first turn. `seed` decides what is left to chance.
    ///
    /// # Panics
    /// If the prefix is none, which whoever reads the configuration has to check.
    #[must_use]
    pub fn new(config: ShardConfig, (node, ids): (NodeId, ClientIds), seed: u64) -> Shard {
        let ShardConfig { user, password, database, prefix, timeouts, homes } = config;
        let keys = Keys::new(&prefix).expect("the configuration's prefix was checked");
        let echo_key = keys.echo(&node.text());
        let control_key = keys.control(node).into_bytes().into();
        let login = Login { user, password, database, name: "corecast".into(), timeouts };
        let mut secret = node.0;
        for (byte, other) in secret.iter_mut().zip(seed.to_le_bytes().iter().cycle()) {
            *byte ^= other;
        }
        Shard {
            node,
            scripts: Scripts::new(keys),
            commands: Link::new(login.clone()),
            subscriptions: Link::new(login),
            backoff: Backoff::new(seed),
            lines: Lines::default(),
            interest: Interest::new(Key(secret)),
            epochs: Epochs::new(REDIS_EPOCHS),
            directory: Directory::new(node),
            stay: Stay::Here,
            echo: Echo::default(),
            echo_key,
            metrics: Arc::default(),
            users: Users::new(Key(secret)),
            control: Control::new(node),
            lists: Lists::new(homes.workers()),
            control_key,
            homes,
            members: Members::new(ids),
            news: VecDeque::new(),
            numbers: 0,
            server: None,
            publisher: None,
            serves: false,
            earlier: Vec::new(),
            is_fenced: false,
            started_us: 0,
            must_load: false,
            paused_until_us: 0,
            ready_since_us: None,
            answers: VecDeque::new(),
            events: VecDeque::new(),
            now_us: 0,
        }
    }

    /// Counts by these from now on.
    #[must_use]
    pub fn counted_by(self, metrics: Arc<StoreMetrics>) -> Shard {
        Shard { metrics, ..self }
    }

    /// What it counts.
    #[must_use]
    pub fn metrics(&self) -> &StoreMetrics {
        &self.metrics
    }

    /// Does what is due.
    pub fn turn(&mut self, now_us: u64) {
        self.now_us = now_us;
        self.commands.turn(now_us);
        self.subscriptions.turn(now_us);
        self.interest.turn(now_us);
        for (worker, id) in self.users.turn(now_us) {
            self.say(worker, Answer::UsersTold { id });
        }
        self.end_questions();
        self.turn_lists();
        while let Some(job) = self.lines.take_overdue(now_us) {
            let why = job.failure();
            self.answer_failed(job, why);
        }
        self.end_overdue_members();
        if self.ready_since_us.is_some_and(|since_us| now_us >= since_us + REDIS_STEADY_US) {
            self.backoff.reset();
        }
        self.end_leave();
        self.turn_echo();
        self.show();
    }

    /// The next answer, with the worker that it is for.
    pub fn next_answer(&mut self) -> Option<(usize, Answer)> {
        self.answers.pop_front()
    }

    /// The next thing that all homes are told of nodes. It must not be dropped.
    pub fn next_news(&mut self) -> Option<Answer> {
        self.news.pop_front()
    }

    /// The next thing that operators or metrics are told.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When `turn` has something to do, in microseconds of the process.
    #[must_use]
    pub fn deadline_us(&self) -> Option<u64> {
        let links = [self.commands.deadline_us(), self.subscriptions.deadline_us()];
        let has_ready = self.lines.has_ready() || self.members.has_ready();
        let paused = has_ready.then_some(self.paused_until_us);
        let rest = [self.lines.deadline_us(), self.interest.deadline_us(), self.beat_due_us()];
        let lists = self.lists.deadline_us();
        let others = [self.users.deadline_us(), self.control.deadline_us(), lists];
        let paused = paused.filter(|until_us| self.may_send() && *until_us > 0);
        let echo = self.echo.deadline_us().filter(|_| self.is_ready());
        let others = others.into_iter().chain([paused, echo, self.members.deadline_us()]);
        let others = others.chain([self.leave_until_us()]);
        links.into_iter().chain(rest).chain(others).flatten().min()
    }

    /// Is a connection to be dialled? True once for each attempt, which ends in `connected` or in
    /// `closed`.
    pub fn wants_dial(&mut self, wire: Wire) -> bool {
        match wire {
            Wire::Commands => self.commands.take_dial(),
            Wire::Subscriptions => self.subscriptions.take_dial(),
        }
    }

    /// A dial has succeeded.
    pub fn connected(&mut self, wire: Wire, now_us: u64) {
        self.now_us = now_us;
        match wire {
            Wire::Commands => self.commands.connected(now_us),
            Wire::Subscriptions => self.subscriptions.connected(now_us),
        }
    }

    /// Takes what a connection has brought.
    pub fn received(&mut self, wire: Wire, bytes: &[u8], now_us: u64) {
        self.now_us = now_us;
        match wire {
            Wire::Commands => {
                self.commands.received(bytes, now_us);
                while let Some(heard) = self.commands.hear() {
                    match heard {
                        Heard::Open(server) => self.greeted(server),
                        Heard::Reply(asked, value) => self.replied(asked, value),
                        // Nothing is asked there that has pushes or objections.
                        Heard::Push(_) | Heard::Objection(_) => {}
                    }
                }
            }
            Wire::Subscriptions => {
                self.subscriptions.received(bytes, now_us);
                while let Some(heard) = self.subscriptions.hear() {
                    self.hear(heard);
                }
            }
        }
    }

    /// Has a connection to be closed? Then `closed` has to follow.
    #[must_use]
    pub fn wants_close(&mut self, wire: Wire) -> bool {
        match wire {
            Wire::Commands => self.commands.must_close(),
            Wire::Subscriptions => self.subscriptions.must_close(),
        }
    }

    /// A connection, or a dial, has failed for this reason. Then `closed` has to follow.
    pub fn failed(&mut self, wire: Wire, error: LinkError) {
        match wire {
            Wire::Commands => self.commands.end(error),
            Wire::Subscriptions => self.subscriptions.end(error),
        }
    }

    /// A connection is no more, or a dial has failed.
    pub fn closed(&mut self, wire: Wire, now_us: u64) {
        self.now_us = now_us;
        let rest_us = self.backoff.rest_us();
        self.ready_since_us = None;
        self.echo.lost(wire == Wire::Subscriptions);
        match wire {
            Wire::Commands => {
                let Some(ended) = self.commands.closed(now_us + rest_us) else { return };
                self.note_down(wire, &ended);
                self.serves = false;
                self.leave_again();
                self.strand(ended);
                self.strand_members();
            }
            Wire::Subscriptions => {
                let Some(ended) = self.subscriptions.closed(now_us + rest_us) else { return };
                self.note_down(wire, &ended);
                self.publisher = None;
                for job in self.interest.lost() {
                    self.fail(job, Failure::Away);
                }
            }
        }
    }

    fn note_down<T>(&mut self, wire: Wire, ended: &Ended<T>) {
        let (error, was_up) = (ended.error.clone(), ended.was_open);
        self.note(Event::Down { wire, error, was_up });
    }

    /// Bytes to write now, a bounded number; called again when they are written.
    pub fn take_output(&mut self, wire: Wire, out: &mut Vec<u8>) {
        match wire {
            Wire::Commands => {
                self.fill_commands();
                self.commands.take_output(out);
            }
            Wire::Subscriptions => {
                self.fill_subscriptions();
                self.subscriptions.take_output(out);
            }
        }
    }

    /// Are both connections up, and calls carried out?
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.may_send() && self.subscriptions.is_open()
    }

    /// May a command be sent? Not where the connection is about to be closed.
    fn may_send(&self) -> bool {
        self.serves && self.commands.is_open()
    }

    /// Calls that are not answered.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.lines.unanswered() + self.members.unanswered() + self.lists.unanswered()
    }

    /// Shows what metrics have of it.
    fn show(&self) {
        self.metrics.unanswered.set(self.lines.unanswered() as u64);
        self.metrics.channels.set(self.interest.heard() as u64);
    }

    fn say(&mut self, worker: usize, answer: Answer) {
        self.answers.push_back((worker, answer));
    }

    /// Notes an event, unless nobody takes them out.
    fn note(&mut self, event: Event) {
        if let Some(event) = event.counted() {
            self.metrics.event(event);
        }
        if self.events.len() < REDIS_EVENTS {
            self.events.push_back(event);
        }
    }

    fn note_ready(&mut self) {
        if self.is_ready() && self.ready_since_us.is_none() {
            self.ready_since_us = Some(self.now_us);
            self.note(Event::Ready);
        }
    }

    /// A job comes to nothing, unless it was answered before.
    fn fail(&mut self, job: JobId, why: Failure) {
        if let Some(job) = self.finish(job) {
            self.answer_failed(job, why);
        }
    }

    /// A job that is answered now.
    fn finish(&mut self, job: JobId) -> Option<Job> {
        let job = self.lines.finish(job)?;
        self.metrics.call.record(job.waited_us(self.now_us));
        Some(job)
    }

    fn answer_failed(&mut self, job: Job, why: Failure) {
        self.metrics.failed.add(1);
        // One that failed is not heard.
        if let Task::Read { session: Some(session), .. } = &job.task {
            self.interest.unwatch(&job.channel, *session, self.now_us);
        }
        self.say(job.worker, Answer::Failed { id: job.call, why });
    }

    /// A publication is in order.
    fn succeed(&mut self, job: JobId, position: Position, is_new: bool) {
        if let Some(job) = self.finish(job) {
            self.say(job.worker, Answer::Published { id: job.call, position, is_new });
        }
    }
}

#[cfg(test)]
mod tests;
