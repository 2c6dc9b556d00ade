//! The life of publishers and subscribers: placed, joined, killed, recovered, judged.
//!
//! Must not know how kills are chosen. Invariant: a publication is never sent twice; a publisher
//! that lost its connection continues with the next number, and does not repeat what was
//! unanswered.

use super::Setup;
use super::book::{Book, Payload};
use crate::client::{CONNECT_ID, Cause, Client, Handler, Key};
use crate::protocol::{self, Message, Place, Position, Publication};
use std::collections::VecDeque;
use std::time::Instant;

const WHERE_ID: u32 = 2;
const SUBSCRIBE_ID: u32 = 3;
const HISTORY_ID: u32 = 4;
const FIRST_PUBLISH_ID: u32 = 16;
/// Connects in a row that may land on an unsuitable worker.
const PLACING_ATTEMPTS: u32 = 400;
/// Failures kept with their words; more are counted alone.
const FAILURES_KEPT: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not connected; to be opened at its time.
    Away,
    Connecting,
    Joining,
    Live,
}

pub struct Member {
    pub channel: usize,
    /// The number that its connection publishes under; `None` for a subscriber.
    pub publisher: Option<u32>,
    pub key: Option<Key>,
    pub state: State,
    pub again_at: Instant,
    pub attempts: u32,
    pub worker: u32,
    /// Offset of the last publication it was given.
    pub last: u64,
    pub subscribed_before: bool,
    pub deliveries: u64,
    next_id: u32,
    /// Unanswered publishes, oldest first: command id and payload.
    pub unanswered: VecDeque<(u32, Payload)>,
}

pub struct Channel {
    pub name: String,
    pub book: Book,
    pub home: Option<u32>,
    /// How far the read-back of its history has come.
    pub read_back: u64,
    pub history_top: Option<u64>,
}

/// What `where` must say of a channel's members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placing {
    pub workers: u32,
}

pub struct Run {
    pub members: Vec<Member>,
    pub channels: Vec<Channel>,
    pub placing: Option<Placing>,
    pub failures: Vec<String>,
    pub failure_count: u64,
    pub recoveries: u64,
    pub recovered_publications: u64,
    pub misplaced: u64,
    pub placed: u64,
    pub opened: u64,
    pub deliveries: u64,
    /// The close code that is not a failure, if the server is being ended.
    pub expected_close: Option<u16>,
    pub closed_as_expected: usize,
}

impl Member {
    pub fn new(channel: usize, publisher: Option<u32>) -> Member {
        Member {
            channel,
            publisher,
            key: None,
            state: State::Away,
            again_at: Instant::now(),
            attempts: 0,
            worker: 0,
            last: 0,
            subscribed_before: false,
            deliveries: 0,
            next_id: 0,
            unanswered: VecDeque::new(),
        }
    }
}

impl Run {
    pub fn new(setup: &Setup) -> Run {
        let mut run = Run {
            members: Vec::new(),
            channels: Vec::new(),
            placing: (setup.workers > 0).then_some(Placing { workers: setup.workers }),
            failures: Vec::new(),
            failure_count: 0,
            recoveries: 0,
            recovered_publications: 0,
            misplaced: 0,
            placed: 0,
            opened: 0,
            deliveries: 0,
            expected_close: None,
            closed_as_expected: 0,
        };
        // A channel of its own for each run, so that offsets start at 1.
        let unique = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis());
        let prefix = match setup.namespace.as_str() {
            "" => String::new(),
            namespace => format!("{namespace}:"),
        };
        for channel in 0..setup.channels {
            run.channels.push(Channel {
                name: format!("{prefix}{unique}-{channel}"),
                book: Book::new(channel),
                home: None,
                read_back: 0,
                history_top: None,
            });
            let publishers = std::iter::repeat_n(Some(0), setup.publishers);
            let subscribers = std::iter::repeat_n(None, setup.subscribers);
            run.members.extend(
                publishers.chain(subscribers).map(|publisher| Member::new(channel, publisher)),
            );
        }
        run
    }

    pub fn fail(&mut self, what: String) {
        self.failure_count += 1;
        if self.failures.len() < FAILURES_KEPT {
            self.failures.push(what);
        }
    }

    pub fn open(&mut self, client: &mut Client, tag: usize) {
        self.opened += 1;
        let member = &mut self.members[tag];
        member.attempts += 1;
        if member.attempts > PLACING_ATTEMPTS {
            let home = self.channels[member.channel].home;
            self.fail(format!("member {tag}: no suitable worker found (home {home:?})"));
            return;
        }
        match client.open(tag) {
            Ok(key) => (member.key, member.state) = (Some(key), State::Connecting),
            Err(error) => self.fail(format!("member {tag} cannot connect: {error}")),
        }
    }

    /// Marks a member's connection as gone; it comes back at `again_at`.
    pub fn lost(&mut self, tag: usize, again_at: Instant) {
        let member = &mut self.members[tag];
        member.key = None;
        member.state = State::Away;
        member.again_at = again_at;
        member.attempts = 0;
        member.unanswered.clear();
    }

    /// Publishes the next payload of a live publisher.
    pub fn publish(&mut self, client: &mut Client, tag: usize) {
        let member = &mut self.members[tag];
        let (Some(key), Some(publisher)) = (member.key, member.publisher) else { return };
        let channel = &mut self.channels[member.channel];
        let payload = channel.book.publish(publisher);
        member.next_id += 1;
        let id = member.next_id;
        member.unanswered.push_back((id, payload));
        client.command(key, |out| protocol::publish(out, id, &channel.name, &payload.json()));
    }

    /// Asks for the channel's history from the current position of the read-back.
    pub fn read_back(&mut self, client: &mut Client, tag: usize) {
        let member = &self.members[tag];
        let (Some(key), channel) = (member.key, &self.channels[member.channel]) else { return };
        let since = Position { epoch: channel.book.epoch.clone(), offset: channel.read_back };
        client.command(key, |out| {
            protocol::history(out, HISTORY_ID, &channel.name, &since, 500);
        });
    }

    fn connected(&mut self, client: &mut Client, tag: usize) {
        let member = &mut self.members[tag];
        let Some(key) = member.key else { return };
        member.next_id = FIRST_PUBLISH_ID;
        let channel = &self.channels[member.channel];
        if self.placing.is_some() {
            client.command(key, |out| protocol::where_is(out, WHERE_ID, &channel.name));
        } else {
            self.join(client, tag);
        }
    }

    fn placed(&mut self, client: &mut Client, tag: usize, place: Place) {
        let Some(placing) = self.placing else { return };
        let member = &mut self.members[tag];
        let channel = &mut self.channels[member.channel];
        let home = *channel.home.get_or_insert(place.home);
        if home != place.home {
            let name = &channel.name;
            let what = format!("{name}: home {home} became {}", place.home);
            return self.fail(what);
        }
        // Publishers share one worker, so that every subscriber elsewhere is on a third one.
        let spread = member.channel as u32 % (placing.workers - 1);
        let publishers = (home + 1 + spread) % placing.workers;
        let suits = match member.publisher {
            Some(_) => place.worker == publishers,
            None => place.worker != home && place.worker != publishers,
        };
        member.worker = place.worker;
        if suits {
            self.placed += 1;
            return self.join(client, tag);
        }
        self.misplaced += 1;
        if let Some(key) = member.key.take() {
            client.kill(key, crate::client::Kill::Close);
        }
        self.open(client, tag);
    }

    fn join(&mut self, client: &mut Client, tag: usize) {
        let member = &mut self.members[tag];
        let Some(key) = member.key else { return };
        member.attempts = 0;
        let channel = &mut self.channels[member.channel];
        if let Some(publisher) = &mut member.publisher {
            *publisher = channel.book.enlist();
            member.state = State::Live;
            return;
        }
        member.state = State::Joining;
        let position = Position { epoch: channel.book.epoch.clone(), offset: member.last };
        let from = member.subscribed_before.then_some(&position);
        client.command(key, |out| protocol::subscribe(out, SUBSCRIBE_ID, &channel.name, from));
    }

    fn subscribed(&mut self, tag: usize, result: &protocol::SubscribeResult<'_>) {
        let member = &mut self.members[tag];
        member.state = State::Live;
        let returning = std::mem::replace(&mut member.subscribed_before, true);
        let (last, channel) = (member.last, member.channel);
        if let Err(what) = self.channels[channel].book.epoch(&result.epoch) {
            return self.fail(what);
        }
        if returning {
            self.recoveries += 1;
            self.recovered_publications += result.publications.len() as u64;
            if !result.recovered {
                self.fail(format!("member {tag}: recovered: false from offset {last}"));
            }
        }
        // Where a recovery began, so that what it brought counts from there.
        if result.offset != last {
            let offset = result.offset;
            self.fail(format!("member {tag}: subscribed at {offset}, but was given up to {last}"));
        }
        for publication in &result.publications {
            self.delivered(tag, publication);
        }
    }

    fn delivered(&mut self, tag: usize, publication: &Publication<'_>) {
        let member = &mut self.members[tag];
        let book = &mut self.channels[member.channel].book;
        match book.deliver(member.last, publication.offset, publication.data.get()) {
            Ok(offset) => member.last = offset,
            Err(what) => {
                // Go on from there: one hole is one failure.
                member.last = publication.offset;
                self.fail(format!("member {tag}: {what}"));
            }
        }
        self.members[tag].deliveries += 1;
        self.deliveries += 1;
    }

    fn acknowledged(&mut self, tag: usize, id: u32) {
        let member = &mut self.members[tag];
        match (member.unanswered.pop_front(), member.publisher) {
            (Some((oldest, payload)), Some(publisher)) if oldest == id => {
                self.channels[member.channel].book.acknowledge(publisher, payload.number);
            }
            (oldest, _) => self.fail(format!("member {tag}: answer {id} where {oldest:?} is due")),
        }
    }

    fn history(&mut self, client: &mut Client, tag: usize, result: &protocol::HistoryResult<'_>) {
        let channel = &mut self.channels[self.members[tag].channel];
        channel.history_top = Some(result.offset);
        let before = channel.read_back;
        for publication in &result.publications {
            let data = publication.data.get();
            match channel.book.deliver(channel.read_back, publication.offset, data) {
                Ok(offset) => channel.read_back = offset,
                Err(what) => return self.fail(format!("history: {what}")),
            }
        }
        if channel.read_back == before && before < result.offset {
            let what = format!("{}: history ends at {before} of {}", channel.name, result.offset);
            return self.fail(what);
        }
        if channel.read_back < result.offset {
            self.read_back(client, tag);
        }
    }
}

impl Handler for Run {
    fn message(&mut self, client: &mut Client, tag: usize, message: &Message<'_>) {
        if let Some(push) = &message.push {
            match (&push.publication, &push.unsubscribe) {
                (Some(publication), _)
                    if push.channel == self.channels[self.members[tag].channel].name =>
                {
                    self.delivered(tag, publication);
                }
                (Some(_), _) => {
                    self.fail(format!("member {tag}: a publication of {}", push.channel))
                }
                (None, Some(end)) => {
                    self.fail(format!(
                        "member {tag}: unsubscribed with {} {}",
                        end.code, end.reason
                    ));
                }
                (None, None) => {}
            }
            return;
        }
        if let Some(error) = &message.error {
            let (id, code) = (message.id, error.code);
            return self.fail(format!("member {tag}: command {id} got {code} {}", error.message));
        }
        match message.id {
            CONNECT_ID => self.connected(client, tag),
            WHERE_ID => {
                let data = message.rpc.as_ref().and_then(|rpc| rpc.data);
                match data.and_then(|data| serde_json::from_str(data.get()).ok()) {
                    Some(place) => self.placed(client, tag, place),
                    None => self.fail(format!("rpc where answers {data:?}")),
                }
            }
            SUBSCRIBE_ID => match &message.subscribe {
                Some(result) => self.subscribed(tag, result),
                None => self.fail(format!("member {tag}: no subscribe result")),
            },
            HISTORY_ID => match &message.history {
                Some(result) => self.history(client, tag, result),
                None => self.fail(format!("member {tag}: no history result")),
            },
            id => self.acknowledged(tag, id),
        }
    }

    fn closed(&mut self, _client: &mut Client, tag: usize, cause: Cause) {
        let expected =
            matches!(&cause, Cause::Frame(code, _) if self.expected_close == Some(*code));
        let member = &mut self.members[tag];
        (member.key, member.state) = (None, State::Away);
        if expected {
            self.closed_as_expected += 1;
        } else {
            self.fail(format!("member {tag}: closed by the server: {cause:?}"));
        }
    }
}
