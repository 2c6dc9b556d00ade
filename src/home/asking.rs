//! What a home asks of an engine elsewhere, what waits until it may be asked, and what that says.
//!
//! Requests that need a call wait in a line of their channel, so that one that cannot be asked now
//! holds back no other channel's. All but the calls of one channel have credits left, and what
//! waits is bounded in bytes and in time. Must not know a replica's state. Invariants: a local
//! engine is asked nothing; a line exists while calls of its channel are under way or wait; a line
//! is ready exactly once while it could go on but for a credit.

use super::replica::{Asked, USERS_LINE};
use super::waits::{Ticket, Waits};
use super::{Home, refused};
use crate::clock::Now;
use crate::codec::command::ErrorCode;
use crate::contract::block::Block;
use crate::contract::engine::{Answer, Bridged, Call, CallId, Engine, Failure};
use crate::contract::envelope::{Member, Request};
use crate::contract::name::Name;
use crate::limits::{
    ENGINE_CALL_MS, ENGINE_REST_MS, ENGINE_SHARE, ENGINE_SOON_MS, ENGINE_WAIT_MS,
    ENGINE_WAITING_BYTES,
};
use std::collections::{BTreeMap, VecDeque};

/// Bytes that an item in a line takes beside its block, roughly.
const ITEM_BYTES: usize = 256;
/// Waits whose time is over that are looked at in one turn.
const OVER_PER_TURN: usize = 64;

/// Who waits for the engine, and is answered with an error when it takes too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiter {
    /// The first request in the line of a channel.
    InLine(Name),
    /// A subscriber of the replica at a place.
    Subscriber(u32),
    /// A publisher whose publication is in order and not forwarded at that place yet.
    Publisher(u32),
}

/// What waits in a line.
#[derive(Debug)]
pub enum Item {
    Request(Request),
    /// What is not kept, for the other nodes; whoever caused it is answered.
    Pass(Passing),
}

/// What is handed to other nodes once at most.
#[derive(Debug)]
pub enum Passing {
    Publication(Block),
    /// A join or a leave.
    Membership {
        channel: Name,
        who: Box<Member>,
        joined: bool,
    },
}

impl Item {
    /// Bytes that it takes, roughly.
    fn size(&self) -> usize {
        let block = match self {
            Item::Pass(Passing::Publication(block))
            | Item::Request(Request::Publish { block, .. }) => block.size(),
            Item::Pass(Passing::Membership { .. }) | Item::Request(_) => 0,
        };
        block + ITEM_BYTES
    }
}

/// What a channel has asked, and what waits to be asked after it.
#[derive(Debug, Default)]
struct Line {
    under_way: usize,
    waiting: VecDeque<(Item, Ticket)>,
    /// What waited for too long behind calls under way: it is answered after them (rule 32), and
    /// nothing more is asked before.
    over: Vec<Item>,
    /// It is in the list of those that are ready.
    ready: bool,
}

/// See the module's page.
#[derive(Debug)]
pub struct Asking {
    /// Calls that are not answered, by the number that is their `CallId`.
    calls: Waits<Asked>,
    lines: BTreeMap<Name, Line>,
    /// Lines whose first request could be asked if there were a credit.
    ready: VecDeque<Name>,
    /// Bytes of what waits in lines.
    bytes: usize,
    waiters: Waits<Waiter>,
    /// Places of replicas whose call failed, until they ask again.
    pub rests: Waits<u32>,
    /// Places of replicas to which something should come soon, until it is late.
    pub soon: Waits<u32>,
}

impl Default for Asking {
    fn default() -> Self {
        Asking {
            calls: Waits::new(ENGINE_CALL_MS),
            lines: BTreeMap::new(),
            ready: VecDeque::new(),
            bytes: 0,
            waiters: Waits::new(ENGINE_WAIT_MS),
            rests: Waits::new(ENGINE_REST_MS),
            soon: Waits::new(ENGINE_SOON_MS),
        }
    }
}

impl Asking {
    /// Is nothing under way or waiting in a line?
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.calls.is_empty() && self.lines.is_empty()
    }

    /// May a request of this channel be asked now, as far as the channel goes?
    fn may_ask(&self, channel: &Name, share: usize) -> bool {
        let line = self.lines.get(channel);
        line.is_none_or(|line| {
            line.waiting.is_empty() && line.over.is_empty() && line.under_way < share
        })
    }

    /// Puts an item at the end of its channel's line.
    ///
    /// # Errors
    /// Gives it back where too much waits. What is lost when it is given back may not keep what is
    /// answered from waiting: it has half of the room.
    fn stand(&mut self, channel: &Name, item: Item, now: Now) -> Result<(), Item> {
        let bytes = item.size();
        let parts = if matches!(item, Item::Pass(_)) { 2 } else { 1 };
        if self.bytes + bytes > ENGINE_WAITING_BYTES / parts {
            return Err(item);
        }
        self.bytes += bytes;
        let ticket = self.wait(Waiter::InLine(channel.clone()), now);
        self.lines.entry(channel.clone()).or_default().waiting.push_back((item, ticket));
        Ok(())
    }

    /// Puts a line with the ready ones, where its first could be asked but for a credit.
    fn make_ready(&mut self, channel: &Name, share: usize) {
        let Some(line) = self.lines.get_mut(channel) else { return };
        let goes_on = line.over.is_empty() && line.under_way < share;
        if !line.ready && !line.waiting.is_empty() && goes_on {
            line.ready = true;
            self.ready.push_back(channel.clone());
        }
    }

    /// Takes the first item out of a line.
    fn take_first(&mut self, channel: &Name) -> Option<(Item, Ticket)> {
        let line = self.lines.get_mut(channel)?;
        let (item, ticket) = line.waiting.pop_front()?;
        self.bytes -= item.size();
        self.forget_if_idle(channel);
        Some((item, ticket))
    }

    /// The next line that is ready leaves the list.
    fn next_ready(&mut self) -> Option<Name> {
        let channel = self.ready.pop_front()?;
        if let Some(line) = self.lines.get_mut(&channel) {
            assert!(line.ready, "it was in the list");
            line.ready = false;
        }
        Some(channel)
    }

    /// A call of a channel's line is under way.
    fn began(&mut self, channel: Name) {
        self.lines.entry(channel).or_default().under_way += 1;
    }

    /// It is no more. Gives what is to be answered after it.
    #[must_use]
    fn ended(&mut self, channel: &Name, share: usize) -> Vec<Item> {
        let line = self.lines.get_mut(channel).expect("a line lasts while its calls do");
        assert!(line.under_way > 0, "a call ends once");
        line.under_way -= 1;
        let over = if line.under_way == 0 { std::mem::take(&mut line.over) } else { Vec::new() };
        self.forget_if_idle(channel);
        self.make_ready(channel, share);
        over
    }

    fn forget_if_idle(&mut self, channel: &Name) {
        let line = self.lines.get(channel);
        let is_over = |it: &Line| it.under_way > 0 || it.over.is_empty();
        debug_assert!(line.is_none_or(is_over), "what is over is answered after what is under way");
        // One that is in the list is left for whoever takes it out of there.
        if line.is_some_and(|it| it.under_way == 0 && it.waiting.is_empty() && !it.ready) {
            self.lines.remove(channel);
        }
        debug_assert!(!self.lines.is_empty() || self.bytes == 0, "{} bytes of none", self.bytes);
    }

    /// Somebody waits from now on.
    pub fn wait(&mut self, waiter: Waiter, now: Now) -> Ticket {
        self.waiters.begin(waiter, now.monotonic_ms())
    }

    /// Somebody waits no more.
    pub fn stop_waiting(&mut self, ticket: Ticket) {
        let waiter = self.waiters.end(ticket);
        debug_assert!(waiter.is_some(), "whose time was over is not waiting any more");
    }

    /// When the first wait may be over, in milliseconds of the process.
    #[must_use]
    pub fn next_ms(&self) -> Option<u64> {
        let next = [self.calls.next_ms(), self.waiters.next_ms(), self.rests.next_ms()];
        next.into_iter().chain([self.soon.next_ms()]).flatten().min()
    }
}

impl<E: Engine> Home<E> {
    /// Hands a call over.
    ///
    /// # Errors
    /// Gives it back when there is no credit for it, or nobody to ask.
    fn call(&mut self, call: Call) -> Result<(), Call> {
        match self.engine.bridged_mut() {
            Some(engine) => engine.call(call),
            None => Err(call),
        }
    }

    /// Asks for something, where there is a credit; false: there was none.
    pub(super) fn ask_for(
        &mut self,
        asked: impl FnOnce() -> Asked,
        call: impl FnOnce(CallId) -> Call,
        now: Now,
    ) -> bool {
        let id = CallId(self.asking.calls.next_ticket().0);
        let is_asked = self.has_credit() && self.call(call(id)).is_ok();
        if is_asked {
            let ticket = self.asking.calls.begin(asked(), now.monotonic_ms());
            assert_eq!(ticket.0, id.0, "a call has the number that its answer names");
        }
        is_asked
    }

    /// Asks for something in a channel's line, when its turn has come and there is a credit.
    pub(super) fn ask_in_line(
        &mut self,
        channel: Name,
        asked: Asked,
        call: impl FnOnce(CallId) -> Call,
        now: Now,
    ) {
        let is_asked = self.ask_for(|| asked, call, now);
        assert!(is_asked, "what is carried out has its credit");
        self.asking.began(channel);
    }

    /// Says that a channel is heard no more; false: there was no room for that.
    pub(super) fn end_session(&mut self, call: Call) -> bool {
        debug_assert!(matches!(call, Call::Unwatch { .. }));
        self.say_call(call)
    }

    /// Says what is not answered; false: there was no room for that.
    pub(super) fn say_call(&mut self, call: Call) -> bool {
        debug_assert!(call.id().is_none(), "nobody waits for the answer to {call:?}");
        self.call(call).is_ok()
    }

    /// Calls that one channel may have under way in its line: a part, so that others have theirs
    /// when its own are stuck.
    pub(super) fn share(&self) -> usize {
        let credits = self.engine.bridged().map_or(0, Bridged::credits);
        (credits / ENGINE_SHARE).max(1)
    }

    /// The channel in whose line a request waits for an engine elsewhere, where it needs one.
    pub(super) fn needs_call(&self, request: &Request) -> Option<Name> {
        if E::LOCAL {
            return None;
        }
        match request {
            Request::Publish { block, options, .. } => {
                let is_kept = options.as_deref().is_none_or(|it| !it.skip_history);
                let channel = block.channel();
                (is_kept && self.keeps(channel)).then(|| Name::from(channel))
            }
            Request::History(asked) => {
                let place = self.channels.find(asked.channel.as_str());
                let is_level = place.is_some_and(|place| self.is_level(place));
                (!is_level).then(|| asked.channel.clone())
            }
            Request::RemoveHistory { channel, .. } => {
                self.keeps(channel.as_str()).then(|| channel.clone())
            }
            Request::ToUser(_) | Request::Nodes { .. } => Some(USERS_LINE.into()),
            Request::Presence { channel, .. } | Request::PresenceStats { channel, .. } => {
                Some(channel.clone())
            }
            Request::Subscribe(_)
            | Request::Unsubscribe { .. }
            | Request::Register { .. }
            | Request::Deregister { .. }
            | Request::UserDone { .. }
            | Request::Channels { .. }
            | Request::OtherChannels { .. }
            | Request::Marker { .. } => None,
        }
    }

    /// Must a request wait in the line of this channel? A credit that came free is for the lines
    /// that wait for one, or what comes new could keep them waiting for as long as it comes.
    pub(super) fn must_stand(&self, channel: &Name) -> bool {
        let is_free = self.has_credit() && !self.has_line();
        !is_free || !self.asking.may_ask(channel, self.share())
    }

    /// Puts an item in its channel's line, or says that there is no room.
    pub(super) fn stand(&mut self, channel: &Name, item: Item, now: Now) {
        match self.asking.stand(channel, item, now) {
            Ok(()) => self.asking.make_ready(channel, self.share()),
            Err(item) => self.turn_away(item, now),
        }
    }

    /// Hands what is not kept in a channel to other nodes, now or when its turn comes.
    pub(super) fn pass(&mut self, channel: Name, passing: Passing, now: Now) {
        if self.must_stand(&channel) {
            return self.stand(&channel, Item::Pass(passing), now);
        }
        self.pass_first(channel, passing, now);
    }

    fn pass_first(&mut self, channel: Name, passing: Passing, now: Now) {
        let asked = Asked::Pass(channel.clone());
        let call = |id| match passing {
            Passing::Publication(block) => Call::Pass { id, block },
            Passing::Membership { channel, who, joined } => {
                Call::Announce { id, channel, who, joined }
            }
        };
        self.ask_in_line(channel, asked, call, now);
    }

    /// An item is not carried out.
    fn turn_away(&mut self, item: Item, now: Now) {
        match item {
            Item::Request(request) => self.refuse(request, now),
            Item::Pass(_) => self.not_passed += 1,
        }
    }

    /// Answers a request with an error that passes.
    pub(super) fn refuse(&mut self, request: Request, now: Now) {
        let (to, method, channel) = match request {
            Request::Publish { to, block, .. } => {
                return self.refuse_publish(to, &Name::from(block.channel()), now);
            }
            Request::History(asked) => (asked.to, "history", asked.channel),
            Request::RemoveHistory { to, channel } => (to, "", channel),
            Request::ToUser(to_user) => return self.command_user_here(*to_user, now),
            Request::Presence { to, channel } => (to, "presence", channel),
            Request::PresenceStats { to, channel } => (to, "presence_stats", channel),
            Request::Nodes { to } => return self.tell_nodes(to, Box::default()),
            other => unreachable!("it stands in no line: {other:?}"),
        };
        self.say(to.connection.core, refused(to, ErrorCode::Internal, method, Some(channel)));
    }

    /// Asks for what waits in lines, one channel after the other, as far as the credits go. True:
    /// there is something to say now.
    pub(super) fn serve_lines(&mut self, now: Now) -> bool {
        while self.is_free()
            && self.has_credit()
            && let Some(channel) = self.asking.next_ready()
        {
            if let Some((item, ticket)) = self.asking.take_first(&channel) {
                self.asking.stop_waiting(ticket);
                match item {
                    Item::Request(request) => self.serve(request, now),
                    Item::Pass(passing) => self.pass_first(channel.clone(), passing, now),
                }
            }
            self.asking.forget_if_idle(&channel);
            self.asking.make_ready(&channel, self.share());
        }
        !self.is_free()
    }

    /// Could a line go on?
    pub(super) fn has_line(&self) -> bool {
        !self.asking.ready.is_empty()
    }

    /// What was asked, now that its answer is there; none where it was given up before.
    pub(super) fn answered(&mut self, id: CallId) -> Option<Asked> {
        self.asking.calls.end(Ticket(id.0))
    }

    /// A call of a channel's line was dealt with: answers what waited behind it for too long.
    pub(super) fn leave_line(&mut self, channel: Option<Name>, now: Now) {
        let Some(channel) = channel else { return };
        let share = self.share();
        for item in self.asking.ended(&channel, share) {
            self.turn_away(item, now);
        }
    }

    /// Gives up what has taken too long, and lets replicas ask again that have rested. True: there
    /// is something to say now.
    pub(super) fn end_waits(&mut self, now: Now) -> bool {
        let now_ms = now.monotonic_ms();
        for _ in 0..OVER_PER_TURN {
            if let Some((_, asked)) = self.asking.calls.take_due(now_ms) {
                let line = asked.line();
                self.failed(asked, Failure::Overdue, now);
                self.leave_line(line, now);
            } else if let Some((ticket, waiter)) = self.asking.waiters.take_due(now_ms) {
                self.give_up(ticket, waiter, now);
            } else if let Some((ticket, place)) = self.asking.rests.take_due(now_ms) {
                self.rested(place, ticket, now);
            } else if let Some((ticket, place)) = self.asking.soon.take_due(now_ms) {
                self.came_late(place, ticket, now);
            } else {
                break;
            }
        }
        self.answer_markers();
        !self.is_free()
    }

    fn give_up(&mut self, ticket: Ticket, waiter: Waiter, now: Now) {
        match waiter {
            Waiter::InLine(channel) => {
                let (item, first) = self.asking.take_first(&channel).expect("it waits in it");
                assert_eq!(first, ticket, "who came first is due first");
                match self.asking.lines.get_mut(&channel).filter(|line| line.under_way > 0) {
                    Some(line) => line.over.push(item),
                    None => self.turn_away(item, now),
                }
            }
            Waiter::Subscriber(place) => self.give_up_subscriber(place, ticket, now),
            Waiter::Publisher(place) => self.give_up_publisher(place, ticket),
        }
    }

    /// Is there room for a call, and a credit for its answer?
    #[must_use]
    pub fn has_credit(&self) -> bool {
        self.engine.bridged().is_some_and(Bridged::has_credit)
    }

    /// Is there a call for the bridge?
    #[must_use]
    pub fn has_call(&self) -> bool {
        self.engine.bridged().is_some_and(Bridged::has_outgoing)
    }

    /// The next call for the bridge. What finds its lane full is put back.
    pub fn next_call(&mut self) -> Option<Call> {
        self.engine.bridged_mut()?.outgoing()
    }

    /// Puts a call back that found its lane full.
    pub fn put_back_call(&mut self, call: Call) {
        if let Some(engine) = self.engine.bridged_mut() {
            engine.put_back(call);
        }
    }

    /// Takes what the bridge said, for `take_answer` to look at in its turn.
    pub fn hear(&mut self, answer: Answer) {
        match self.engine.bridged_mut() {
            Some(engine) => engine.incoming(answer),
            None => debug_assert!(false, "nobody was asked for {answer:?}"),
        }
    }
}

/// What simulation and tests may see.
impl<E> Home<E> {
    /// Does anything here wait for an engine, or for its own time to ask it again?
    #[must_use]
    pub fn waits_for_engine(&self) -> bool {
        self.asking.next_ms().is_some() || self.noting.is_busy() || !self.listing.is_empty()
    }

    /// Does a channel rest before it asks again, or expect what may be late?
    #[must_use]
    pub fn rests(&self) -> bool {
        !self.asking.rests.is_empty() || !self.asking.soon.is_empty()
    }
}
