//! A simulated SDK client: its connections, what it asks for, and what it does out of the blue.
//! What it does with what comes in stands in `inbox`.
//!
//! It speaks to the server through bytes alone. Invariant: it behaves as the SDKs do, so whatever
//! the server answers to it is the server's doing.

use super::dialect::Dialect;
use super::ends::Ends;
use super::filter::{FILTERS, Filter};
use super::ledger::Ledger;
use super::net::{LinkId, Net};
use super::plan::Plan;
use super::random::Random;
use super::waiting::Waiting;
use super::wire;
use std::collections::BTreeSet;
use std::io::Write;

/// What a client acts upon.
pub struct Around<'a> {
    pub net: &'a mut Net,
    pub ledger: &'a mut Ledger,
    pub plan: &'a Plan,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Offline,
    /// Waits for the 101.
    Upgrading,
    /// It broke its transport's rules; its server is to end the connection.
    Outcast,
    /// Waits for the answer to `connect`.
    Connecting,
    Connected,
    /// The server's close frame came in; reads that many times more to see that nothing follows.
    Closed {
        reads: u32,
    },
}

/// A subscription, as its client knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sub {
    Off,
    Asked { id: u32 },
    Live,
    Leaving { id: u32, then: Option<u32> },
}

/// One channel of one client.
#[derive(Clone, Debug)]
pub struct Channel {
    pub wanted: bool,
    /// It subscribes to what this lets through.
    pub filter: Option<Filter>,
    pub sub: Sub,
    /// Epoch and offset seen last; none before the first subscription.
    pub position: Option<(String, u64)>,
    /// The last publication of this uninterrupted subscription (channels without offsets).
    pub last: Option<u32>,
    /// The ledger's count of events when it went live.
    pub live_since: u64,
    /// It was live when the host began to stop, and was not told otherwise since.
    pub live_at_stop: bool,
    /// Publications of this connection that it is not to be told, as far as it could tell.
    pub unheard: u32,
    /// How often the server has ended the subscription.
    pub taken_out: u32,
}

/// See the module's page.
pub struct Client {
    pub index: u16,
    /// The user's number; none connects without a token.
    pub user: Option<usize>,
    pub dialect: Dialect,
    /// It was told, in a push, that its connection ends with this code.
    pub told_end: Option<u32>,
    pub phase: Phase,
    pub link: Option<LinkId>,
    pub core: usize,
    /// Counts connections from 1.
    pub connection: u32,
    /// The server's name for this connection.
    pub name: String,
    pub channels: Vec<Channel>,
    pub waiting: Vec<(u32, Waiting)>,
    /// Reads are skipped until then.
    pub stalled_until_us: u64,
    /// It does not answer pings on this connection.
    pub mute: bool,
    /// It was slow on this connection, so 3008 and 3012 are fair.
    pub slow: bool,
    /// `disconnect user` was asked for while it was connected: this connection has to end.
    pub must_end: bool,
    /// It was connected when the host began to stop.
    pub stopping: bool,
    /// Clean time since when nothing of its own doing holds deliveries up.
    pub clear_since_us: u64,
    /// The close code of the last connection that was closed by the server.
    pub last_close: Option<u16>,
    /// It neither acts nor reads nor comes back any more.
    pub dead: bool,
    /// Publications seen, a bit each.
    pub(super) seen: Vec<u64>,
    /// Those without an offset that were seen by this connection: who moves to another host may see
    /// one there too.
    pub(super) seen_here: BTreeSet<u32>,
    pub(super) inbox: Vec<u8>,
    pub(super) at: usize,
    pub(super) ends: Ends,
    /// What its transport draws: a source of its own, so that plain runs stay what they are.
    sealing: Random,
    /// Its server's stream ended, with a transport of records, and without a goodbye.
    pub cut: bool,
    pub(super) random: Random,
    pub(super) outbox: Vec<u8>,
    frames: Vec<u8>,
    pub(super) marks: Vec<u32>,
    next_id: u32,
    pub(super) sequence: u32,
    /// Publications of this connection with a key, that it may publish again.
    pub(super) repeatable: Vec<u32>,
}

impl Client {
    #[must_use]
    pub fn new(index: u16, plan: &Plan, mut random: Random) -> Client {
        let user = (plan.users > 0 && random.chance(600)).then(|| random.below(plan.users));
        let dialect = random.pick(&Dialect::ALL);
        let channels = plan.channels.iter().map(|channel| Channel {
            wanted: random.chance(plan.wanted_per_mille)
                && channel.user.is_none()
                && !channel.called,
            filter: (channel.user.is_none() && !channel.called && random.chance(200))
                .then(|| random.pick(&FILTERS)),
            sub: Sub::Off,
            position: None,
            last: None,
            live_since: 0,
            live_at_stop: false,
            unheard: 0,
            taken_out: 0,
        });
        Client {
            index,
            user,
            dialect,
            told_end: None,
            phase: Phase::Offline,
            link: None,
            core: 0,
            connection: 0,
            name: String::new(),
            channels: channels.collect(),
            waiting: Vec::new(),
            stalled_until_us: 0,
            mute: false,
            slow: false,
            must_end: false,
            stopping: false,
            clear_since_us: 0,
            last_close: None,
            dead: false,
            seen: Vec::new(),
            seen_here: BTreeSet::new(),
            inbox: Vec::new(),
            at: 0,
            ends: Ends::default(),
            sealing: Random::new(plan.seed ^ u64::from(index) << 32),
            cut: false,
            random,
            outbox: Vec::new(),
            frames: Vec::new(),
            marks: Vec::new(),
            next_id: 0,
            sequence: 0,
            repeatable: Vec::new(),
        }
    }

    /// Does something of its own accord; `now_us` is simulated time.
    pub fn act(&mut self, around: &mut Around, now_us: u64) {
        match self.phase {
            Phase::Offline => self.connect(around),
            Phase::Outcast | Phase::Upgrading | Phase::Connecting | Phase::Closed { .. } => {
                // Likelier than later on: the server's work is just under way.
                if self.random.chance(around.plan.kill_per_mille * 5) {
                    self.leave(around);
                }
            }
            Phase::Connected if self.random.chance(around.plan.kill_per_mille) => {
                self.leave(around);
            }
            Phase::Connected
                if self.ends.is_open()
                    && self.sealing.chance(around.plan.sealing.sins_per_mille) =>
            {
                let wire = self.ends.sin_now(&mut self.sealing);
                self.sins(around, &wire);
            }
            Phase::Connected if self.random.chance(around.plan.stall_per_mille) => {
                let us = self.random.between(100, around.plan.stall_us);
                self.stalled_until_us = now_us + us as u64;
                self.slow = true;
            }
            Phase::Connected => self.ask(around),
        }
    }

    /// Goes on asking while the host stops, where it is still connected.
    pub fn go_on(&mut self, around: &mut Around) {
        if self.phase == Phase::Connected && !self.dead {
            self.ask(around);
        }
    }

    /// Some commands in one message.
    fn ask(&mut self, around: &mut Around) {
        for _ in 0..self.random.pick(&[1, 1, 2, 4]) {
            let channel = self.random.below(self.channels.len());
            if !self.is_let_in(channel, around) {
                continue;
            }
            match self.random.below(100) {
                0..4 => self.repeat(around),
                4..80 => self.publish(around, channel),
                80..92 => self.come_and_go(channel, around.plan),
                92..95 => self.presence(channel, around.plan),
                95..98 => self.history(channel, around.plan),
                98 if self.random.chance(500) => self.mute |= around.plan.mutes,
                98 => self.echoes(around.plan),
                _ => self.subscribe_all(around.plan),
            }
        }
        self.post(around);
    }

    /// Brings the client to rest in the state that it wants: connected, subscribed, and quiet.
    pub fn settle(&mut self, around: &mut Around) {
        self.stalled_until_us = 0;
        match self.phase {
            Phase::Offline => self.connect(around),
            Phase::Connected => {
                self.subscribe_all(around.plan);
                self.post(around);
            }
            Phase::Outcast | Phase::Upgrading | Phase::Connecting | Phase::Closed { .. } => {}
        }
    }

    /// Is there nothing left that it waits for?
    #[must_use]
    pub fn settled(&self) -> bool {
        self.dead
            || (self.phase == Phase::Connected
                && self.waiting.is_empty()
                && self.channels.iter().all(|channel| !channel.wanted || channel.sub == Sub::Live))
    }

    fn connect(&mut self, around: &mut Around) {
        let plan = around.plan;
        self.core = self.random.below(plan.cores());
        let capacity = self.random.pick(&plan.socket_bytes);
        let is_sealed = self.sealing.chance(plan.sealing.per_mille);
        self.link = Some(around.net.connect(self.core, capacity, u8::from(is_sealed)));
        self.connection += 1;
        self.sequence = 0;
        self.seen_here.clear();
        self.phase = Phase::Upgrading;
        (self.inbox, self.at, self.ends, self.cut) = (Vec::new(), 0, Ends::default(), false);
        (self.mute, self.slow) = (false, capacity < 4_000);
        self.must_end = false;
        self.told_end = None;
        if let Some(bytes) = plan.record.filter(|_| is_sealed) {
            let sins = self.sealing.chance(plan.sealing.sins_per_mille);
            self.ends = Ends::sealed(bytes, sins, &mut self.sealing);
            let hello = self.ends.begin();
            if sins {
                return self.sins(around, &hello);
            }
            self.put(&hello, around);
        }
        self.wire(&wire::upgrade(self.dialect.subprotocol()), around);
    }

    /// Breaks its transport's rules, or begins to: what it asked is forgotten.
    fn sins(&mut self, around: &mut Around, wire: &[u8]) {
        if let Some(cause) = self.ends.sin().and_then(super::ends::Sin::cause) {
            around.ledger.sins.push((cause, false));
        }
        self.phase = Phase::Outcast;
        self.waiting.clear();
        self.put(wire, around);
    }

    /// After the 101: the connect command, and often all subscriptions in the same message.
    pub(super) fn introduce(&mut self, around: &mut Around) {
        self.phase = Phase::Connecting;
        let (subs, since) = self.positions(around);
        let id = self.id(Waiting::Connect { since });
        let token = self.user.map_or("", |user| around.plan.tokens[user].as_str());
        let _ = write!(self.outbox, "{{\"id\":{id},\"connect\":{{\"token\":\"{token}\"{subs}}}}}");
        if self.random.chance(500) {
            self.subscribe_all(around.plan);
            self.pipeline(around);
        }
        self.post(around);
    }

    /// Asks for every channel that it wants and does not have.
    pub(super) fn subscribe_all(&mut self, plan: &Plan) {
        for channel in 0..self.channels.len() {
            if self.channels[channel].wanted && self.channels[channel].sub == Sub::Off {
                self.subscribe(channel, plan);
            }
        }
    }

    /// Asks for one channel, from the position seen last.
    pub(super) fn subscribe(&mut self, channel: usize, plan: &Plan) {
        let since =
            self.channels[channel].position.clone().filter(|_| plan.channels[channel].keeps);
        let mut more = match &since {
            Some((epoch, offset)) => {
                format!(",\"recover\":true,\"epoch\":\"{epoch}\",\"offset\":{offset}")
            }
            None => String::new(),
        };
        more += &self.channels[channel].filter.map(Filter::member).unwrap_or_default();
        let id = self.id(Waiting::Subscribe { channel, since });
        self.command(id, "subscribe", &plan.channels[channel].name, &more);
        self.channels[channel].sub = match self.channels[channel].sub {
            Sub::Leaving { id: leaving, .. } => Sub::Leaving { id: leaving, then: Some(id) },
            Sub::Off | Sub::Asked { .. } | Sub::Live => Sub::Asked { id },
        };
    }

    /// Unsubscribes and subscribes again, at once or later.
    fn come_and_go(&mut self, channel: usize, plan: &Plan) {
        match self.channels[channel].sub {
            Sub::Asked { .. } | Sub::Live => {
                let id = self.id(Waiting::Unsubscribe { channel });
                self.command(id, "unsubscribe", &plan.channels[channel].name, "");
                self.channels[channel].sub = Sub::Leaving { id, then: None };
                self.channels[channel].live_at_stop = false;
                // What the server begins its client does not.
                if plan.channels[channel].user.is_none() && self.random.chance(800) {
                    self.subscribe(channel, plan);
                }
            }
            Sub::Off if self.channels[channel].wanted => self.subscribe(channel, plan),
            Sub::Off | Sub::Leaving { .. } => {}
        }
    }

    pub(super) fn presence(&mut self, channel: usize, plan: &Plan) {
        if !plan.channels[channel].presence {
            return;
        }
        if self.random.chance(300) {
            let standing = self.standing(channel, plan);
            let id = self.id(Waiting::PresenceStats { channel, standing });
            return self.command(id, "presence_stats", &plan.channels[channel].name, "");
        }
        let state = &self.channels[channel];
        let live_since = (state.sub == Sub::Live).then_some(state.live_since);
        let standing = self.standing(channel, plan);
        let id = self.id(Waiting::Presence { channel, live_since, standing });
        self.command(id, "presence", &plan.channels[channel].name, "");
    }

    /// Many commands that are answered at once, without a home.
    fn echoes(&mut self, plan: &Plan) {
        for _ in 0..self.random.between(1, 20) {
            let bytes = self.random.below(plan.pad_bytes + 1);
            let id = self.id(Waiting::Echo { bytes });
            self.separate();
            let text = "e".repeat(bytes);
            let _ = write!(
                self.outbox,
                "{{\"id\":{id},\"rpc\":{{\"method\":\"echo\",\"data\":\"{text}\"}}}}"
            );
        }
    }

    fn history(&mut self, channel: usize, plan: &Plan) {
        if plan.channels[channel].keeps {
            let more = self.random.pick(&["", ",\"limit\":-1", ",\"limit\":5"]);
            let standing = self.standing(channel, plan);
            let id = self.id(Waiting::History { channel, standing });
            self.command(id, "history", &plan.channels[channel].name, more);
        }
    }

    pub(super) fn id(&mut self, waiting: Waiting) -> u32 {
        self.next_id += 1;
        self.waiting.push((self.next_id, waiting));
        self.next_id
    }

    /// Commands of one message stand on lines of their own.
    pub(super) fn separate(&mut self) {
        if !self.outbox.is_empty() {
            self.outbox.push(b'\n');
        }
    }

    fn command(&mut self, id: u32, method: &str, channel: &str, more: &str) {
        self.separate();
        let _ =
            write!(self.outbox, "{{\"id\":{id},\"{method}\":{{\"channel\":\"{channel}\"{more}}}}}");
    }

    /// Sends the commands written so far as one message.
    pub(super) fn post(&mut self, around: &mut Around) {
        if !self.outbox.is_empty() {
            let commands = std::mem::take(&mut self.outbox);
            self.say(&commands, around);
            self.outbox = commands;
            self.outbox.clear();
        }
        if let Some(link) = self.link {
            for publication in self.marks.drain(..) {
                around.net.mark(link, publication);
            }
        }
    }

    /// Sends commands as one message of the client's codec.
    pub(super) fn say(&mut self, commands: &[u8], around: &mut Around) {
        let message = self.dialect.message(commands);
        self.frame(self.dialect.opcode(), &message, around);
    }

    /// Sends one WebSocket message.
    pub(super) fn frame(&mut self, opcode: u8, payload: &[u8], around: &mut Around) {
        let mut frames = std::mem::take(&mut self.frames);
        frames.clear();
        wire::put_frame(opcode, payload, &mut self.random, &mut frames);
        self.wire(&frames, around);
        self.frames = frames;
    }

    fn wire(&mut self, plain: &[u8], around: &mut Around) {
        let wire = self.ends.send(plain);
        self.put(&wire, around);
    }

    /// Sends wire bytes.
    pub(super) fn put(&mut self, wire: &[u8], around: &mut Around) {
        if let Some(link) = self.link {
            around.net.write(link, wire);
        }
    }

    /// Goes without a word: a FIN or a reset.
    pub fn leave(&mut self, around: &mut Around) {
        if let Some(link) = self.link.take() {
            let reset = self.random.chance(500);
            around.net.leave(link, reset);
        }
        self.phase = Phase::Offline;
        self.waiting.clear();
        self.outbox.clear();
        self.marks.clear();
        self.must_end = false;
        self.repeatable.clear();
        for channel in &mut self.channels {
            channel.unheard = 0;
            channel.sub = Sub::Off;
        }
    }
}
