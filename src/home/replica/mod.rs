//! A channel whose order is decided elsewhere: this home is an ordered replica of its stream.
//!
//! Rules 14 to 18: hear first, then read; forward only last+1; on a gap hold, fill, and say what
//! cannot be filled; compare tails; a recovery answer ends exactly at the home's last. A call that
//! failed is asked again after a rest; who waits meanwhile is answered with an error when
//! `limits::ENGINE_WAIT_MS` are over. Must not know how the engine is reached. Invariant: what was
//! forwarded is a run without holes of one epoch, or every recoverable subscriber was told.

use super::waits::Ticket;
use super::{Home, refused};
use crate::clock::Now;
use crate::codec::command::ErrorCode;
use crate::contract::block::Block;
use crate::contract::engine::{
    Answer, Bridged, Call, CallId, Engine, Failure, Page, Session, StreamRead,
};
use crate::contract::envelope::{Delivery, HistoryRequest, Request, SubscribeRequest};
use crate::contract::key::ReplyTo;
use crate::contract::name::Name;
use crate::contract::position::Position;
use crate::contract::wire::NodeId;
use crate::rules::sabotage;
use held::Held;
use std::collections::VecDeque;

mod answers;
mod failures;
mod fill;
mod held;
mod recover;

/// What an engine elsewhere was asked for.
#[derive(Debug)]
pub enum Asked {
    Publish {
        to: ReplyTo,
        /// Of the table of keys, where it has one.
        key: Option<Name>,
        block: Block,
    },
    /// To be heard, and the first read.
    Watch(Session),
    /// A read that closes a gap, or compares tails.
    Fill(Session),
    /// A read for one subscriber who is further back than the ring.
    Recover(Session),
    History(HistoryRequest),
    /// To forget what a channel keeps.
    Remove {
        to: ReplyTo,
        channel: Name,
    },
    /// To hand what is not kept in this channel to other nodes.
    Pass(Name),
    /// To let other nodes know who is here.
    Users,
    /// To carry out a command on other nodes: the number of its call here.
    ToUser(u32),
    /// To note members of a channel.
    Note(Name),
    /// To list the members on other nodes, or to count them.
    Presence {
        to: ReplyTo,
        channel: Name,
    },
    Stats {
        to: ReplyTo,
        channel: Name,
    },
    /// To list those of a node that has died, or lives again.
    OfNode {
        channel: Name,
        node: NodeId,
        lives: bool,
    },
    /// Which other nodes there are.
    Nodes(ReplyTo),
}

/// What is asked of other nodes stands in a line as of a channel with this name, which no channel
/// has.
pub const USERS_LINE: &str = "";

impl Asked {
    /// The channel in whose line it was asked; none for what a replica asks for itself.
    #[must_use]
    pub fn line(&self) -> Option<Name> {
        match self {
            Asked::Publish { block, .. } => Some(Name::from(block.channel())),
            Asked::History(request) => Some(request.channel.clone()),
            Asked::Remove { channel, .. }
            | Asked::Pass(channel)
            | Asked::Presence { channel, .. }
            | Asked::Stats { channel, .. } => Some(channel.clone()),
            Asked::ToUser(_) | Asked::Nodes(_) => Some(USERS_LINE.into()),
            Asked::Watch(_)
            | Asked::Fill(_)
            | Asked::Recover(_)
            | Asked::Users
            | Asked::Note(_)
            | Asked::OfNode { .. } => None,
        }
    }
}

/// How far a replica has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Cold,
    /// `Watch` was asked.
    Watching,
    /// The first read has come.
    Live,
}

/// The state of a channel that follows a stream.
#[derive(Debug, Default)]
pub struct Replica {
    stage: Stage,
    /// The number of the session that is under way, or was last.
    session: u32,
    /// Subscribers not yet answered.
    pub pending: VecDeque<(SubscribeRequest, Ticket)>,
    /// Publications that came while a read was out, with their positions.
    held: Held,
    /// A fill is wanted; it waits for a credit, and costs nobody a place (rule 14).
    needs_fill: bool,
    filling: bool,
    /// What follows this offset is not in the stream any more, and was on its way here at best.
    missing_after: Option<u64>,
    /// A publish was answered with an offset whose copy had not come.
    expected: Option<Expectation>,
    /// The last publication forwarded when the tail was last compared. While others come, a gap
    /// shows by itself.
    tail: u64,
    /// Subscribers wait until the channel is heard, but not longer than until this is due.
    hearing: Option<Ticket>,
    /// It was not heard in that time: nobody waits for it until it is.
    is_slow: bool,
    /// The store has refused to let it be heard, when that was asked last.
    is_refused: bool,
    /// A read for the first of `pending` who needs one is out.
    recovering: bool,
    /// A session that is over, and of which the bridge has not been told.
    unwatch: Option<Session>,
    /// A call failed: nothing is asked for until then.
    resting: Option<Ticket>,
    /// It is in the list of those that want a credit.
    wanting: bool,
    /// Publishes that are in order and not forwarded here yet, with their positions.
    /// One that failed after them has none, and is answered in its turn (rule 32).
    pub unheard: VecDeque<(ReplyTo, Option<Position>, Ticket)>,
    /// Nodes that died, and whose members' leaves were told.
    pub dead: Vec<NodeId>,
}

/// Copies that are on their way: answers overtake them (rule 31).
#[derive(Clone, Copy, Debug)]
struct Expectation {
    /// It is late when this is due.
    offset: u64,
    ticket: Ticket,
    /// The highest offset that was answered meanwhile.
    latest: u64,
}

impl Replica {
    /// Is anything out that will come back to this channel, or to be said for it?
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.stage != Stage::Cold
            || !self.pending.is_empty()
            || self.unwatch.is_some()
            || !self.unheard.is_empty()
    }

    /// Has the store refused to let it be heard, and not let it be since?
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// What holds between any two calls of a home.
    fn check(&self) {
        let reads = self.filling || self.recovering;
        assert!(!reads || self.stage == Stage::Live, "only what is live is read again: {self:?}");
        assert!(self.stage != Stage::Cold || self.held.is_empty(), "a session holds: {self:?}");
        assert!(self.stage == Stage::Cold || self.unwatch.is_none(), "one at a time: {self:?}");
        self.held.check();
    }
}

impl<E: Engine> Home<E> {
    /// Takes what the engine said, while there is nothing left to say from before.
    /// Gives whether anything was taken.
    ///
    /// # Panics
    /// When what was taken before has not been said in full.
    pub fn take_answer(&mut self, now: Now) -> bool {
        assert!(self.is_free(), "answers wait for the cursor");
        self.announce(now);
        // Neither replicas nor lines always have the first credit.
        self.lines_first = !self.lines_first;
        let lines_first = self.lines_first;
        let said = lines_first && self.serve_lines(now)
            || self.serve_wanting(now)
            || !lines_first && self.serve_lines(now);
        if said {
            return true;
        }
        self.write_notes(now);
        self.ask_for_tidings(now);
        let answer = self.engine.bridged_mut().and_then(Bridged::answer);
        let Some(answer) = answer else { return false };
        self.take_in(answer, now);
        self.answer_markers();
        true
    }

    /// Lets replicas ask that found no credit. True: there is something to say now.
    fn serve_wanting(&mut self, now: Now) -> bool {
        while let Some(place) = self.wanting.pop_front() {
            if let Some(replica) = self.replica(place) {
                replica.wanting = false;
                self.pump(place, now);
                self.drop_if_unused(place, now);
                if self.replica(place).is_some_and(|replica| replica.wanting) {
                    break; // no credit yet
                }
            }
            if !self.is_free() {
                return true;
            }
        }
        false
    }

    fn take_in(&mut self, answer: Answer, now: Now) {
        let asked = answer.call().map(|id| self.answered(id));
        let line = asked.as_ref().and_then(|asked| asked.as_ref()?.line());
        self.deal_with(answer, asked, now);
        self.leave_line(line, now);
    }

    fn deal_with(&mut self, answer: Answer, asked: Option<Option<Asked>>, now: Now) {
        match (answer, asked) {
            // It was given up before.
            (_, Some(None)) => {}
            (Answer::Failed { why, .. }, Some(Some(asked))) => self.failed(asked, why, now),
            (
                Answer::Published { position, is_new, .. },
                Some(Some(Asked::Publish { to, key, block })),
            ) => {
                let place = self.channels.find(block.channel());
                self.called((to, key, block), (position, is_new), now);
                if let Some(place) = place {
                    self.compare_tail(place, position, now);
                }
            }
            (Answer::Passed { .. }, Some(Some(Asked::Pass(_)))) => {}
            (Answer::Removed { .. }, Some(Some(Asked::Remove { to, channel }))) => {
                if let Some(place) = self.channels.find(channel.as_str()) {
                    self.evict(place);
                }
                self.say(to.connection.core, Delivery::HistoryRemoved { to });
            }
            (Answer::UsersTold { .. }, Some(Some(Asked::Users))) => self.users_told(now),
            (Answer::UserTold { missing, .. }, Some(Some(Asked::ToUser(call)))) => {
                self.told_others(call, missing);
            }
            (Answer::Nodes { nodes, .. }, Some(Some(Asked::Nodes(to)))) => {
                self.tell_nodes(to, nodes);
            }
            (Answer::Channels { number, channels }, _) => self.take_channels(number, channels),
            (Answer::List { number, from }, _) => self.list_for(number, from, now),
            (Answer::Command { number, user, what }, _) => {
                self.command_from(number, &user, &what, now);
            }
            (Answer::Read(read), Some(Some(asked))) => self.take_read(asked, *read, now),
            (Answer::Publication { session, position, block }, _) => {
                match (self.heard(session), position) {
                    (Some(place), Some(position)) => {
                        self.take_publication(place, position, block);
                        self.pump(place, now);
                    }
                    (Some(_), None) => self.pass_on(&block),
                    (None, _) => {}
                }
            }
            (Answer::Lost { session }, _) => {
                if let Some(place) = self.heard(session) {
                    self.replica(place).expect("it is heard").needs_fill = true;
                    self.pump(place, now);
                }
            }
            (answer, asked) => self.deal_with_members(answer, asked.flatten(), now),
        }
    }

    pub(super) fn replica(&mut self, place: u32) -> Option<&mut Replica> {
        self.channels.get(place)?;
        self.channels.at(place).replica.as_deref_mut()
    }

    /// The place of a channel in whose session something came; none where that is over.
    pub(super) fn heard(&mut self, session: Session) -> Option<u32> {
        let replica = self.replica(session.place)?;
        let is_under_way = replica.session == session.number && replica.stage != Stage::Cold;
        is_under_way.then_some(session.place)
    }

    /// Is the ring level with what was forwarded, so that it may answer by itself?
    pub(super) fn is_level(&self, place: u32) -> bool {
        let replica = self.channels.get(place).and_then(|channel| channel.replica.as_deref());
        replica.is_some_and(|replica| replica.stage == Stage::Live && !replica.filling)
    }

    /// Does a channel follow its stream, so that it has its epoch and a place in it?
    pub(super) fn is_live(&self, place: u32) -> bool {
        let replica = self.channels.get(place).and_then(|channel| channel.replica.as_deref());
        replica.is_some_and(|replica| replica.stage == Stage::Live)
    }

    /// The session of a replica.
    fn session(&mut self, place: u32) -> Session {
        let number = self.replica(place).expect("it is one").session;
        Session { place, number }
    }

    /// Asks for a replica; false when it rests, or there is no credit, and then the channel stands
    /// in line for one.
    fn ask(
        &mut self,
        place: u32,
        asked: Asked,
        call: impl FnOnce(CallId) -> Call,
        now: Now,
    ) -> bool {
        if self.replica(place).expect("only a replica asks").resting.is_some() {
            return false;
        }
        let is_asked = self.ask_for(|| asked, call, now);
        if !is_asked {
            self.want(place);
        }
        is_asked
    }

    fn want(&mut self, place: u32) {
        let replica = self.replica(place).expect("only a replica asks");
        if !std::mem::replace(&mut replica.wanting, true) {
            self.wanting.push_back(place);
        }
    }

    /// Goes on with whatever the channel can do now.
    pub(super) fn pump(&mut self, place: u32, now: Now) {
        self.answer_heard(place);
        self.pump_session(place, now);
        self.pump_fill(place, now);
        self.answer_pending(place, now);
        let Some(replica) = self.replica(place) else { return };
        replica.check();
        if replica.stage == Stage::Live {
            self.leave_stream(place, now);
        }
    }

    /// Ends the session that is over, and begins one that is wanted.
    fn pump_session(&mut self, place: u32, now: Now) {
        let it = self.channels.at(place);
        // Whoever hears what is not kept was answered at once, and waits for nothing.
        let is_heard = !it.keeps() && !it.interest.is_empty();
        let page = Page::newest(it.history_size, self.limits.recovery_bytes as usize);
        let channel = it.name.clone();
        let Some(replica) = self.replica(place) else { return };
        if let Some(session) = replica.unwatch {
            let call = Call::Unwatch { channel: channel.clone(), session };
            if !self.end_session(call) {
                return self.want(place);
            }
            self.replica(place).expect("it is one").unwatch = None;
        }
        let Some(replica) = self.replica(place) else { return };
        let wants = !replica.pending.is_empty() || is_heard;
        if replica.stage == Stage::Cold && wants {
            let number = self.next_session;
            let session = Session { place, number };
            let page = Box::new(page);
            let watch = |id| Call::Watch { id, channel, session, page };
            if self.ask(place, Asked::Watch(session), watch, now) {
                self.next_session = number.wrapping_add(1);
                let replica = self.replica(place).expect("it is one");
                replica.stage = Stage::Watching;
                replica.session = number;
            }
        }
    }

    fn take_read(&mut self, asked: Asked, read: StreamRead, now: Now) {
        let (Asked::Watch(session) | Asked::Fill(session) | Asked::Recover(session)) = asked else {
            return match asked {
                Asked::History(request) => self.answer_history(request, &read),
                asked => debug_assert!(false, "a read answers no {asked:?}"),
            };
        };
        let Some(place) = self.heard(session) else {
            return debug_assert!(false, "a session lasts while its reads do");
        };
        let replica = self.replica(place).expect("it is heard");
        match asked {
            Asked::Watch(_) => {
                assert_eq!(replica.stage, Stage::Watching, "a session has one first read");
                replica.stage = Stage::Live;
                (replica.is_slow, replica.is_refused) = (false, false);
                if let Some(ticket) = replica.hearing.take() {
                    self.asking.soon.end(ticket);
                }
                if self.channels.at(place).keeps() {
                    self.adopt_first(place, &read);
                }
            }
            Asked::Fill(_) => {
                assert!(replica.filling, "a fill was out");
                replica.filling = false;
                self.adopt(place, &read, now);
            }
            _ => {
                assert!(replica.recovering, "a read for a subscriber was out");
                replica.recovering = false;
                self.take_recovery(place, &read, now);
            }
        }
        self.pump(place, now);
        // Its last subscriber may have left while it was read.
        self.drop_if_unused(place, now);
    }

    /// Nobody listens any more: hear the stream no longer, and keep nothing of this session.
    pub(super) fn leave_stream(&mut self, place: u32, now: Now) {
        let channel = self.channels.at(place);
        let unused = channel.interest.is_empty();
        let Some(replica) = channel.replica.as_deref_mut() else { return };
        let idle = replica.pending.is_empty() && !replica.filling && !replica.recovering;
        if !unused || !idle || replica.stage != Stage::Live {
            return;
        }
        replica.stage = Stage::Cold;
        replica.held.clear();
        replica.needs_fill = false;
        (replica.missing_after, replica.expected) = (None, None);
        replica.unwatch = Some(Session { place, number: replica.session });
        sabotage!(Session => return self.pump(place, now));
        let before = channel.history.bytes();
        channel.history.clear();
        self.history_bytes -= before;
        self.pump(place, now);
    }
}
