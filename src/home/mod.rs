//! Homes: every channel lives on one worker, which orders it, keeps its history and its members,
//! and tells the edges. Edges only deliver.
//!
//! Must not know connections' sockets, codecs' bytes, lanes or clocks. Invariant (rule 2): a
//! request is sequenced once; its deliveries leave one by one, and until the last is out nothing
//! else is taken.

mod aging;
mod announce;
mod asking;
mod channel;
mod delta;
mod history;
mod idempotency;
mod list;
mod makers;
mod noting;
mod numberings;
mod patch;
mod presence;
mod publish;
mod replica;
#[cfg(feature = "sabotage")]
mod sabotage;
mod subscribe;
mod table;
#[cfg(test)]
mod tests;
mod user_calls;
mod users;
mod waits;

use crate::clock::Now;
use crate::codec::command::ErrorCode;
use crate::contract::engine::{Bridged, Call, Engine};
use crate::contract::envelope::{Delivery, HistoryAnswer, HistoryRequest, Request};
use crate::contract::key::{ConnectionKey, ReplyTo};
use crate::contract::name::Name;
use crate::contract::position::Position;
use crate::hashing::Key;
use crate::limits::{API_ANSWER_BYTES, ENGINE_CALL_MS, Limits};
use crate::namespace::{ChannelOptions, Namespaces};
use crate::work::{Work, cost};
use announce::Announcing;
use asking::{Asking, Item};
use channel::{Age, Channel};
use history::{History, Page};
use idempotency::Keys;
use makers::{Maker, Makers};
use noting::Noting;
use numberings::Numberings;
use presence::Tidings;
use replica::Asked;
use std::collections::{BTreeSet, VecDeque};
use table::Channels;
use user_calls::UserCalls;
use users::Users;
use waits::Waits;

/// What a home is made of.
#[derive(Clone, Debug)]
pub struct HomeOptions {
    /// This core.
    pub core: u16,
    /// Cores that may ask.
    pub cores: usize,
    pub namespaces: Namespaces,
    pub limits: Limits,
    pub secrets: HomeSecrets,
}

/// Randomness of a home: each a draw of its own. Epochs are shown; what they tell is theirs alone.
#[derive(Clone, Copy, Debug)]
pub struct HomeSecrets {
    pub channels: Key,
    pub users: Key,
    /// Of the table of keys that publications have.
    pub publications: Key,
    pub epochs: Key,
    /// Of the table of channels that are gone.
    pub numberings: Key,
    /// Of the table of users who cause channels.
    pub makers: Key,
}

impl HomeSecrets {
    /// Six draws.
    #[must_use]
    pub fn drawn(mut draw: impl FnMut() -> Key) -> HomeSecrets {
        HomeSecrets {
            channels: draw(),
            users: draw(),
            publications: draw(),
            epochs: draw(),
            numberings: draw(),
            makers: draw(),
        }
    }
}

/// The home of one core's share of the channels.
pub struct Home<E> {
    core: u16,
    engine: E,
    namespaces: Namespaces,
    limits: Limits,
    channels: Channels,
    numberings: Numberings,
    makers: Makers,
    users: Users,
    user_calls: UserCalls,
    announcing: Announcing,
    /// Who waits for what other nodes have of channels. They are as many as calls of the server
    /// API that are not answered, at most.
    listing: Waits<ReplyTo>,
    noting: Noting,
    tidings: Tidings,
    keys: Keys,
    /// What the request taken last has still to say: the cursor of rule 2.
    outgoing: VecDeque<(u16, Delivery)>,
    /// Places of channels whose history will be too old, the soonest of each kind first.
    aging: BTreeSet<(Age, u32)>,
    /// The same places by size, when their histories will be too old, and place.
    sizes: BTreeSet<(u32, u64, u32)>,
    history_bytes: usize,
    /// Publications put in order.
    published: u64,
    /// Histories that went before their time.
    evicted: u64,
    /// What an engine elsewhere was asked, and what waits until it may be asked.
    asking: Asking,
    /// The number of the next session of hearing a channel.
    next_session: u32,
    /// Publications that are not kept and did not go to other nodes, for the engine took too long.
    not_passed: u64,
    /// Whose turn it is to have a credit first: the lines', or the replicas'.
    lines_first: bool,
    /// Publications that an engine elsewhere has put in order and that are not forwarded here yet:
    /// their publishers hear them first (rule 34).
    unheard: usize,
    /// Channels that have something to ask of the engine and found no credit.
    wanting: VecDeque<u32>,
    tails_checked_ms: u64,
    /// The place whose tail was compared last.
    next_tail: u32,
    /// Cores whose shutdown marker came in; none are left once they were answered.
    marked: Vec<bool>,
    /// What the stage under way may still do.
    work: Work,
    #[cfg(feature = "sabotage")]
    broken: sabotage::Broken,
}

impl<E: Engine> Home<E> {
    #[must_use]
    pub fn new(options: HomeOptions, engine: E) -> Home<E> {
        let HomeOptions { core, cores, namespaces, limits, secrets } = options;
        Home {
            core,
            engine,
            channels: Channels::new(
                cores,
                limits.channels_per_worker,
                (secrets.channels, secrets.epochs),
            ),
            numberings: Numberings::new(limits.numbering_bytes_per_worker, secrets.numberings),
            makers: Makers::new(&limits, secrets.makers),
            users: Users::new(secrets.users),
            user_calls: UserCalls::default(),
            announcing: Announcing::default(),
            listing: Waits::new(ENGINE_CALL_MS),
            noting: Noting::default(),
            tidings: Tidings::default(),
            keys: Keys::new(limits.idempotency_keys_per_worker, secrets.publications),
            namespaces,
            limits,
            outgoing: VecDeque::new(),
            aging: BTreeSet::new(),
            sizes: BTreeSet::new(),
            history_bytes: 0,
            published: 0,
            evicted: 0,
            asking: Asking::default(),
            next_session: 0,
            not_passed: 0,
            lines_first: false,
            unheard: 0,
            wanting: VecDeque::new(),
            tails_checked_ms: 0,
            next_tail: 0,
            marked: vec![false; cores],
            work: Work::new(u32::MAX),
            #[cfg(feature = "sabotage")]
            broken: sabotage::Broken::default(),
        }
    }

    /// Has the request taken last been said in full? Only then may the next be taken.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.outgoing.is_empty()
    }

    /// Is there an answer to take, or a credit for a channel that wants one?
    #[must_use]
    pub fn has_answer(&self) -> bool {
        let tells = self.announcing.is_due() || self.has_notes() || self.tidings.is_due();
        let wants = !self.wanting.is_empty() || self.has_line() || tells;
        self.engine.bridged().is_some_and(Bridged::has_answer) || wants && self.has_credit()
    }

    /// The next delivery, with the core it is for. What finds its lane full is put back.
    pub fn next_delivery(&mut self) -> Option<(u16, Delivery)> {
        self.outgoing.pop_front()
    }

    /// The cores that have still to be told something, once for each delivery.
    pub fn outgoing(&self) -> impl Iterator<Item = u16> {
        self.outgoing.iter().map(|(core, _)| *core)
    }

    /// Puts a delivery back that found its lane full.
    pub fn put_back(&mut self, core: u16, delivery: Delivery) {
        self.outgoing.push_front((core, delivery));
    }

    /// Begins the stage in which requests are taken, and which is to do this much work, in
    /// nanoseconds.
    pub fn begin_turn(&mut self, work_ns: u32) {
        self.work = Work::new(work_ns);
    }

    /// May another request be taken, as far as the stage's work goes? What is left waits in its
    /// lanes, in order.
    #[must_use]
    pub fn may_work(&self) -> bool {
        !self.work.is_spent()
    }

    /// Takes one request and sequences it. One that needs an engine elsewhere waits in the line of
    /// its channel until that may be asked.
    ///
    /// # Panics
    /// When the request taken last has not been said in full.
    pub fn take(&mut self, request: Request, now: Now) {
        assert!(self.is_free(), "one request at a time");
        self.work.charge(cost::ASKED);
        if let Some(channel) = self.needs_call(&request)
            && self.must_stand(&channel)
        {
            return self.stand(&channel, Item::Request(request), now);
        }
        let ends = matches!(request, Request::Marker { .. });
        self.serve(request, now);
        debug_assert!(!E::LOCAL || ends || self.is_bounded(), "a request says little to a core");
    }

    /// Carries out a request whose turn has come.
    fn serve(&mut self, request: Request, now: Now) {
        match request {
            Request::Subscribe(subscribe) => self.subscribe(*subscribe, now),
            Request::Unsubscribe { connection, channel, awaited } => {
                self.unsubscribe(connection, &channel, now);
                if awaited != 0 {
                    self.say(connection.core, Delivery::Unsubscribed { awaited });
                }
            }
            Request::Publish { to, block, options } => self.publish(to, block, options, now),
            Request::History(history) => self.history(*history, now),
            Request::Presence { to, channel } => self.presence(to, &channel, now),
            Request::PresenceStats { to, channel } => self.presence_stats(to, &channel, now),
            Request::Register { connection, user } => self.register(connection, user, now),
            Request::Deregister { connection, user } => self.deregister(connection, &user, now),
            Request::ToUser(to_user) => self.command_user(*to_user, now),
            Request::UserDone { call, took_effect } => self.user_done(call, took_effect),
            Request::RemoveHistory { to, channel } => self.remove_history(to, &channel, now),
            Request::Channels { to, from } => self.list(to, from),
            Request::OtherChannels { to, pattern } => self.ask_channels(to, pattern, now),
            Request::Nodes { to } => self.ask_nodes(to, now),
            Request::Marker { core } => {
                self.marked[usize::from(core)] = true;
                self.answer_markers();
            }
        }
    }

    /// Does no core have more than two deliveries to come? Whatever the number of connections, a
    /// request says one thing to each core and answers the one that asked (rule 2).
    fn is_bounded(&self) -> bool {
        let told = |core: u16| self.outgoing().filter(|other| *other == core).count();
        self.outgoing().all(|core| told(core) <= 2)
    }

    /// Answers the markers of a shutdown once nothing more can come: every core's is in, and the
    /// engine owes no answer. Only then is what another core published before its own marker
    /// delivered ahead of the answers (rule 25).
    fn answer_markers(&mut self) {
        if self.is_ending() || !self.marked.iter().all(|marked| *marked) {
            return;
        }
        // What is there is not written anew any more, so that there is an end to it.
        self.noting.end_walk();
        if self.asking.is_idle() && self.unheard == 0 && self.noting.is_settled() {
            self.give_up_calls();
            self.give_up_lists();
            let cores = std::mem::take(&mut self.marked).len();
            for core in (0..cores).filter_map(|core| u16::try_from(core).ok()) {
                self.say(core, Delivery::Marker { core: self.core });
            }
        }
    }

    /// Has the shutdown come so far that this home tells other nodes nothing more? They tell the
    /// leaves of whoever is noted there, when they learn that this node has ended.
    fn is_ending(&self) -> bool {
        self.marked.is_empty()
    }

    fn say(&mut self, core: u16, delivery: Delivery) {
        self.outgoing.push_back((core, delivery));
    }

    /// Says the same to every core that listens to a channel.
    fn say_to_interested(&mut self, place: u32, delivery: impl Fn(u32) -> Delivery) {
        let channel = self.channels.at(place);
        let said = channel.interest.iter().map(|to| (to.core, delivery(to.local)));
        self.outgoing.extend(said);
    }

    fn options(&self, channel: &str) -> ChannelOptions {
        self.namespaces.options(channel).cloned().unwrap_or_default()
    }

    fn history(&mut self, request: HistoryRequest, now: Now) {
        let place = self.channels.find(request.channel.as_str());
        if !E::LOCAL && !place.is_some_and(|place| self.is_level(place)) {
            return self.read_history(request, now);
        }
        let core = request.to.connection.core;
        let bytes_max = self.limits.recovery_bytes as usize;
        let answer = if let Some(place) = place {
            let channel = self.channels.at(place);
            history_answer(request, channel.position(), &channel.history, bytes_max)
        } else {
            // One that nobody published in yet still has an epoch to tell.
            let connection = request.to.connection;
            let user = request.asker.as_ref().map(Name::as_str);
            let maker = user.map(|user| Maker { connection, user });
            match self.position_of_gone(&request.channel, maker, now) {
                Ok(position) => history_answer(request, position, &History::default(), bytes_max),
                Err(error) => refused(request.to, error, "history", Some(request.channel)),
            }
        };
        if let Delivery::History(page) = &answer {
            self.work.charge(page.publications.len() * cost::PLACED);
        }
        self.say(core, answer);
    }

    /// Forgets what a channel keeps. Whoever comes back from before finds that it cannot be had.
    fn remove_history(&mut self, to: ReplyTo, name: &Name, now: Now) {
        let core = to.connection.core;
        if !E::LOCAL && self.keeps(name.as_str()) {
            let (channel, of) = (name.clone(), name.clone());
            let asked = Asked::Remove { to, channel: name.clone() };
            let remove = |id| Call::Remove { id, channel };
            return self.ask_in_line(of, asked, remove, now);
        }
        if let Some(place) = self.channels.find(name.as_str()) {
            self.evict(place);
            self.drop_if_unused(place, now);
        }
        self.say(core, Delivery::HistoryRemoved { to });
    }
}

/// The answer to a history call: a page, or an error where the asker's epoch is not the channel's.
fn history_answer(
    request: HistoryRequest,
    position: Position,
    history: &History,
    bytes_max: usize,
) -> Delivery {
    let HistoryRequest { to, channel, limit, since, reverse, whole, .. } = request;
    if since.is_some_and(|since| !since.is_of(position.epoch)) {
        return refused(to, ErrorCode::UnrecoverablePosition, "history", Some(channel));
    }
    let since = since.map(|since| since.offset);
    let bytes_max = if whole { API_ANSWER_BYTES } else { bytes_max };
    let (publications, cut) = history.page(&Page { since, limit, reverse, bytes_max });
    if whole && cut {
        return refused(to, ErrorCode::LimitExceeded, "history", Some(channel));
    }
    Delivery::History(Box::new(HistoryAnswer { to, position, publications }))
}

fn refused(to: ReplyTo, error: ErrorCode, method: &'static str, channel: Option<Name>) -> Delivery {
    Delivery::Refused { to, error, method, channel, subscribe: None }
}

/// What simulation, tests and metrics may see of a home.
impl<E> Home<E> {
    /// The interest in a channel: cores, with the number of pairs of each.
    pub fn interest(&self, channel: &str) -> impl Iterator<Item = (u16, u32)> {
        self.channel(channel)
            .into_iter()
            .flat_map(|channel| channel.interest.iter().map(|to| (to.core, to.pairs)))
    }

    /// Connections present in a channel.
    pub fn members(&self, channel: &str) -> impl Iterator<Item = ConnectionKey> {
        self.channel(channel).into_iter().flat_map(|channel| channel.members.keys().copied())
    }

    /// Connections registered for a user.
    #[must_use]
    pub fn registered(&self, user: &str) -> usize {
        self.users.connections(user).len()
    }

    /// Where a channel stands.
    #[must_use]
    pub fn position(&self, channel: &str) -> Option<Position> {
        let here = self.channel(channel).map(Channel::position);
        here.or_else(|| self.numberings.position(channel))
    }

    /// Channels that are gone and whose numbering is kept.
    #[must_use]
    pub fn numberings(&self) -> usize {
        self.numberings.len()
    }

    /// Numberings forgotten before their time since the start, for the bound on their bytes.
    #[must_use]
    pub fn numberings_forgotten(&self) -> u64 {
        self.numberings.forgotten()
    }

    /// New channels refused since the start to connections and users that caused too many.
    #[must_use]
    pub fn channels_refused(&self) -> u64 {
        self.makers.refused()
    }

    /// Histories that went before their time since the start, for the bound on their bytes or on
    /// channels.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Publications put in order since the start.
    #[must_use]
    pub fn published(&self) -> u64 {
        self.published
    }

    /// Publications since the start that are not kept, and that did not go to other nodes, for the
    /// engine took too long.
    #[must_use]
    pub fn not_passed(&self) -> u64 {
        self.not_passed
    }

    /// Bytes of history held.
    #[must_use]
    pub fn history_bytes(&self) -> usize {
        self.history_bytes
    }

    /// Users with connections whose home is here.
    #[must_use]
    pub fn users(&self) -> usize {
        self.users.len()
    }

    /// Channels at home here that have subscribers.
    #[must_use]
    pub fn subscribed_channels(&self) -> usize {
        self.channels.subscribed()
    }

    /// Channels at home here.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    fn channel(&self, name: &str) -> Option<&Channel> {
        self.channels.find(name).and_then(|place| self.channels.get(place))
    }
}
