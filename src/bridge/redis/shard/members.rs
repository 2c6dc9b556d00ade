//! Who is in channels: notes, lists and counts, beside the lines of channels, for no publication
//! waits for them.
//!
//! Invariant: they are sent in the order in which they were asked, and one that fails is not sent
//! again but for scripts that Redis does not have. So what is noted of a channel is in order, until
//! its home hears of a failure and notes it anew.

use super::{Asked, Event, Shard};
use crate::bridge::redis::error::{Cause, Remedy};
use crate::bridge::redis::members::{ClientIds, Listed, Listing, Place, counted, noted};
use crate::bridge::redis::resp::Value;
use crate::bridge::redis::script::By;
use crate::contract::engine::{Answer, CallId, Failure};
use crate::contract::envelope::{Member, Who};
use crate::contract::key::ConnectionKey;
use crate::contract::name::Name;
use crate::contract::presence::{Change, Entry, On};
use crate::contract::wire::NodeId;
use crate::contract::wire::members::encode_membership;
use crate::limits::REDIS_CALL_US;
use std::collections::{BTreeMap, BTreeSet};

/// Counts what was asked about members.
pub(super) type TaskId = u64;

/// What is asked about the members of a channel.
pub(super) enum MembersTask {
    Note(Box<Change>),
    List(Listing),
    Count,
}

struct Job {
    worker: usize,
    call: CallId,
    channel: Name,
    task: MembersTask,
    deadline_us: u64,
}

/// What is asked about members and not answered.
pub(super) struct Members {
    ids: ClientIds,
    jobs: BTreeMap<TaskId, Job>,
    /// Those whose next command is to be sent, the first first.
    ready: BTreeSet<TaskId>,
    asked: TaskId,
}

impl Members {
    pub fn new(ids: ClientIds) -> Members {
        Members { ids, jobs: BTreeMap::new(), ready: BTreeSet::new(), asked: 0 }
    }

    /// Client id of a connection of this node.
    pub fn id(&self, connection: ConnectionKey) -> [u8; 16] {
        (self.ids)(connection)
    }

    /// When the first has to be answered.
    pub fn deadline_us(&self) -> Option<u64> {
        self.jobs.first_key_value().map(|(_, job)| job.deadline_us)
    }

    /// Those that are not answered.
    pub fn unanswered(&self) -> usize {
        self.jobs.len()
    }

    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    fn is_note(&self, id: TaskId) -> bool {
        self.jobs.get(&id).is_some_and(|job| matches!(job.task, MembersTask::Note(_)))
    }
}

impl Shard {
    /// Takes over what is asked about the members of a channel.
    pub(super) fn ask_members(
        &mut self,
        worker: usize,
        (call, channel): (CallId, Name),
        task: MembersTask,
    ) {
        if !self.may_send() {
            return self.say(worker, Answer::Failed { id: call, why: Failure::Away });
        }
        if let MembersTask::List(listing) = &task
            && listing.is_whole()
        {
            return self.say(worker, Answer::Members { id: call, entries: Box::default() });
        }
        self.members.asked += 1;
        let (id, deadline_us) = (self.members.asked, self.now_us + REDIS_CALL_US);
        self.members.jobs.insert(id, Job { worker, call, channel, task, deadline_us });
        self.members.ready.insert(id);
    }

    /// A list of the members on nodes.
    pub(super) fn listing(&self, on: On, most: u32) -> MembersTask {
        MembersTask::List(match on {
            On::Others => Listing::new(self.directory.living().map(|(node, _)| node), most),
            On::Node(node) => Listing::new(std::iter::once(node), most),
        })
    }

    /// A join or leave of a member of this node, for the wire.
    pub(super) fn membership(&self, who: Member, joined: bool) -> Vec<u8> {
        let client = match who.who {
            Who::Here(connection) => self.members.id(connection),
            Who::Elsewhere(client) => client,
        };
        let entry = Entry { member: who, listed: false, announced: true };
        let mut data = Vec::new();
        encode_membership(&entry, (self.node, client), joined, &mut data);
        data
    }

    /// Puts the next command about members into bytes. False: there is none.
    pub(super) fn send_members(&mut self) -> bool {
        let Some(id) = self.members.ready.pop_first() else { return false };
        let Some(job) = self.members.jobs.get(&id) else { return true };
        let at = Place { channel: job.channel.as_str(), node: self.node };
        let (scripts, ids) = (&self.scripts, &self.members.ids);
        let others: Vec<NodeId> = match job.task {
            MembersTask::Count => self.directory.living().map(|(node, _)| node).collect(),
            MembersTask::Note(_) | MembersTask::List(_) => Vec::new(),
        };
        self.commands.send(Asked::Members(id), self.now_us, |out| match &job.task {
            MembersTask::Note(change) => scripts.note(out, (By::Digest, at), change, ids),
            MembersTask::Count => scripts.count(out, (By::Digest, at), &others),
            MembersTask::List(listing) => listing.command(out, scripts.keys(), at.channel),
        });
        true
    }

    /// What a command about members was answered with.
    pub(super) fn take_members(&mut self, id: TaskId, value: &Value) {
        let Some(job) = self.members.jobs.get_mut(&id) else { return };
        let call = job.call;
        let answer = match &mut job.task {
            MembersTask::Note(_) => noted(value).map(|()| Answer::Noted { id: call }),
            MembersTask::Count => {
                counted(value).map(|(clients, users)| Answer::Counted { id: call, clients, users })
            }
            MembersTask::List(listing) => {
                let listed = listing.receive(value);
                if std::mem::take(&mut listing.unreadable) > 0 {
                    self.note(Event::Unreadable("a member that cannot be read".into()));
                }
                match listed {
                    Ok(Listed::More) => {
                        self.members.ready.insert(id);
                        return;
                    }
                    Ok(Listed::All(entries)) => Ok(Answer::Members { id: call, entries }),
                    Ok(Listed::Over) => Ok(Answer::Failed { id: call, why: Failure::Over }),
                    Err(error) => Err(error),
                }
            }
        };
        match answer {
            Ok(answer) => self.finish_members(id, answer),
            Err(error) => {
                // It is judged in any case, for that may end the connection.
                let _ = self.judge(&error);
                // A note that is sent again would come after a later one about its channel.
                let is_note = self.members.is_note(id);
                if error.cause() == Cause::NoScript && !is_note {
                    self.members.ready.insert(id);
                } else {
                    let is_lasting = error.cause().remedy() == Remedy::Refuse;
                    let why = if is_lasting { Failure::Refused } else { Failure::Lost };
                    self.finish_members(id, Answer::Failed { id: call, why });
                }
            }
        }
    }

    fn finish_members(&mut self, id: TaskId, answer: Answer) {
        self.members.ready.remove(&id);
        if let Some(job) = self.members.jobs.remove(&id) {
            self.say(job.worker, answer);
        }
    }

    /// Answers those whose time is over.
    pub(super) fn end_overdue_members(&mut self) {
        while let Some((id, job)) = self.members.jobs.first_key_value()
            && job.deadline_us <= self.now_us
        {
            let (id, call) = (*id, job.call);
            self.finish_members(id, Answer::Failed { id: call, why: Failure::Lost });
        }
    }

    /// There is no connection for commands any more.
    pub(super) fn strand_members(&mut self) {
        let ready = std::mem::take(&mut self.members.ready);
        for (id, job) in std::mem::take(&mut self.members.jobs) {
            let why = if ready.contains(&id) { Failure::Away } else { Failure::Lost };
            self.say(job.worker, Answer::Failed { id: job.call, why });
        }
    }
}
