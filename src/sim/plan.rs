//! What one seed decides before the run begins: sizes, faults, and how unkind everybody is.
//!
//! Must not know how a run goes. Invariant: it is a function of the seed and the size alone.

use super::driver::Faults;
use super::random::Random;
use super::redis::plan::RedisPlan;
use crate::contract::position::Epoch;
use crate::limits::{Budgets, Limits};
use crate::mesh::Slots;
use crate::namespace::{ChannelOptions, Mode, Namespaces, Personal, Who};
use std::sync::OnceLock;

/// Users, where there are any.
const USERS: usize = 4;

/// How big a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// 4 workers, 20 clients, 2,000 publications.
    Standard,
    /// 1 to 4 workers, a few clients: for `cargo test`.
    Small,
}

/// What decides the order of what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// The home's memory.
    Memory,
    /// A store that is made up, and answers turns later.
    Late,
    /// A Redis that one or more hosts share.
    Redis,
}

impl EngineKind {
    fn of(late: bool, redis: &RedisPlan) -> EngineKind {
        match (redis.is_chosen, late) {
            (true, _) => EngineKind::Redis,
            (false, true) => EngineKind::Late,
            (false, false) => EngineKind::Memory,
        }
    }
}

/// One channel of the run.
#[derive(Clone, Debug)]
pub struct ChannelPlan {
    pub name: String,
    /// It keeps history, and every subscription in it recovers.
    pub keeps: bool,
    pub presence: bool,
    /// Only its members may publish, and ask for history and presence.
    pub members: bool,
    /// Only the backend subscribes anybody to it, and publishes in it.
    pub called: bool,
    /// The user whose own it is: the server subscribes that user's clients at connect.
    pub user: Option<usize>,
}

/// How the store fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// Calls that fail, in 1,000.
    pub calls: u32,
    /// Calls upon which it is silent for a while, in 100,000.
    pub freezes: u32,
}

/// What a run with records draws: from a source of its own, so that it does not move the rest.
#[derive(Clone, Copy, Debug)]
pub struct Sealing {
    /// Connections that have records, in 1,000; the others are plain, beside them.
    pub per_mille: u32,
    /// Of those, how many break their transport's rules at the start, in 1,000; and strokes of a
    /// client's by which it does so later.
    pub sins_per_mille: u32,
    /// Records that a server's end seals before it can seal no more.
    pub wears_after: u32,
}

impl Sealing {
    fn new(seed: u64, has_records: bool) -> Sealing {
        let mut random = Random::new(seed ^ 0x05EA_1ED0);
        Sealing {
            per_mille: if has_records { random.pick(&[300, 700, 1_000]) } else { 0 },
            sins_per_mille: random.pick(&[0, 5, 30]),
            wears_after: random.pick(&[u32::MAX, u32::MAX, u32::MAX, 3_000]),
        }
    }
}

/// See the module's page.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub engine: EngineKind,
    /// What a run with Redis draws; of the others one host is simulated.
    pub redis: RedisPlan,
    /// Bytes of a record; none: all connections are plain.
    pub record: Option<usize>,
    /// How records are spoken, where they are.
    pub sealing: Sealing,
    /// Workers of a host.
    pub workers: usize,
    pub clients: usize,
    pub publications: usize,
    pub slots: Slots,
    pub limits: Limits,
    pub budgets: Budgets,
    pub namespaces: Namespaces,
    pub channels: Vec<ChannelPlan>,
    pub users: usize,
    pub tokens: Vec<String>,
    pub faults: Faults,
    pub socket_bytes: Vec<usize>,
    pub pad_bytes: usize,
    pub wanted_per_mille: u32,
    pub kill_per_mille: u32,
    pub stall_per_mille: u32,
    pub stall_us: usize,
    /// Clients stop answering pings now and then.
    pub mutes: bool,
    /// How often a core stalls, in 1,000 of the host's steps.
    pub core_stall_per_mille: u32,
    /// Half of the clients die at once at the end of the busy part.
    pub mass_death: bool,
    /// Half of the clients stop reading at the end of the busy part.
    pub hang: bool,
    pub ping_ms: u64,
    pub pong_ms: u64,
    /// `disconnect user` is asked for.
    pub disconnects: bool,
    /// The backend subscribes users to a channel, publishes there, and takes them out again.
    pub errands: bool,
    /// Clients publish with keys, and some twice.
    pub repeats: bool,
    /// The store's copies of publications may be lost, doubled or late.
    pub lossy: bool,
    /// Copies of a publication that the store's way loses and doubles, in 1,000.
    pub loss_per_mille: u32,
    pub double_per_mille: u32,
    pub failures: Failures,
    /// Publications that the store keeps of a channel.
    pub trim: usize,
    /// Time between the bridge's probes.
    pub probe_us: u64,
    /// How often the store forgets a stream, in 1,000 strokes of fate.
    pub renew_per_mille: u32,
    /// How a channel's epoch is written on the wire.
    pub epoch_text: fn(Epoch) -> String,
    /// Time that everybody must have been settled before the end is judged.
    pub watch_us: u64,
    /// A publication may be passed by so many that came later, at most.
    pub passed_most: u32,
    /// Nothing can make a recovery impossible.
    pub always_recovers: bool,
    /// The run ends by stopping the host, not by coming to rest.
    pub shutdown: bool,
}

impl Plan {
    /// May a call of the engine come to nothing, and be answered with an error that passes?
    #[must_use]
    pub fn fails(&self) -> bool {
        match self.engine {
            EngineKind::Memory => false,
            EngineKind::Late => self.failures != Failures::default(),
            EngineKind::Redis => self.redis.unkindness.fails(),
        }
    }

    /// May a publication be lost on its way to a home that hears it, or out of the order?
    #[must_use]
    pub fn loses(&self) -> bool {
        match self.engine {
            EngineKind::Memory => false,
            // Its streams are trimmed, and begun anew, for no reason.
            EngineKind::Late => true,
            EngineKind::Redis => self.redis.copies.lost > 0 || self.fails(),
        }
    }

    /// Are homes replicas, of an order that is decided elsewhere?
    #[must_use]
    pub fn has_replicas(&self) -> bool {
        self.engine != EngineKind::Memory
    }

    /// Hosts on one clock.
    #[must_use]
    pub fn hosts(&self) -> usize {
        if self.engine == EngineKind::Redis { self.redis.nodes } else { 1 }
    }

    /// Cores of all hosts.
    #[must_use]
    pub fn cores(&self) -> usize {
        self.hosts() * self.workers
    }

    /// The host that a core is of.
    #[must_use]
    pub fn host_of(&self, core: usize) -> usize {
        core / self.workers
    }

    /// Draws a run.
    #[must_use]
    pub fn new(seed: u64, size: Size) -> Plan {
        let mut random = Random::new(seed ^ 0x0C0E_CA57);
        let redis = RedisPlan::drawn(seed);
        let engine = EngineKind::of(random.chance(400), &redis);
        let late = engine != EngineKind::Memory;
        let small = size == Size::Small;
        let record = random.chance(300).then(|| random.pick(&[5, 40, 300]));
        let slots = Slots {
            requests: random.pick(&[1, 1, 2, 2, 4, 16]),
            deliveries: random.pick(&[1, 1, 2, 2, 4, 16]),
            bridge: random.pick(&[1, 2, 2, 4, 16]),
        };
        let history_size = if random.chance(300) { random.between(4, 40) } else { 1 << 14 };
        let limits = limits(&mut random);
        let always_recovers =
            !late && history_size > 10_000 && limits.history_bytes_per_worker > 10 << 20;
        let kept = random.between(2, 5);
        let users = if random.chance(600) { USERS } else { 0 };
        let personal = users > 0 && random.chance(600);
        let errands = users > 0 && random.chance(700);
        let own = if personal { users } else { 0 };
        Plan {
            seed,
            engine,
            redis,
            record,
            sealing: Sealing::new(seed, record.is_some()),
            workers: workers(&mut random, small, &redis),
            clients: if small { random.between(3, 8) } else { 20 },
            publications: if small { 200 } else { 2_000 },
            slots,
            budgets: budgets(&mut random),
            namespaces: namespaces(history_size as u32, personal),
            channels: channels(kept, random.between(0, 2), own, errands),
            users,
            tokens: tokens(users),
            faults: faults(&mut random),
            socket_bytes: random
                .pick(&[&[150, 400, 2_000][..], &[1_000, 10_000], &[1 << 20]])
                .into(),
            pad_bytes: random.pick(&[0, 10, 80, 400]),
            wanted_per_mille: random.between(300, 900) as u32,
            kill_per_mille: random.pick(&[0, 5, 20, 40]),
            stall_per_mille: random.pick(&[0, 10, 40]),
            stall_us: random.pick(&[1_000, 20_000, 200_000]),
            mutes: random.chance(200),
            core_stall_per_mille: random.pick(&[0, 0, 1]),
            mass_death: random.chance(200),
            hang: random.chance(200),
            ping_ms: random.pick(if late { &[2_000, 25_000] } else { &[200, 25_000] }),
            pong_ms: random.pick(&[100, 8_000]),
            disconnects: users > 0 && random.chance(500),
            errands,
            repeats: random.chance(500),
            lossy: late,
            loss_per_mille: random.pick(&[0, 0, 30, 300]),
            double_per_mille: random.pick(&[0, 30, 300]),
            failures: if late { failures(&mut random) } else { Failures::default() },
            trim: random.pick(&[4, 12, 100, 1 << 14]),
            probe_us: random.pick(&[10_000, 250_000, 250_000]).max(redis.probe_us()),
            renew_per_mille: random.pick(&[0, 3, 20]),
            epoch_text: |epoch| crate::edge::EpochText::new(epoch).as_str().to_owned(),
            // Two checks of the tails, every 10 s, find what a lossy way swallowed.
            watch_us: if late { 25_000_000 } else { 0 },
            passed_most: 20,
            always_recovers: always_recovers && limits.recovery_bytes > 400 << 10,
            shutdown: random.chance(250),
            limits,
        }
    }
}

/// The secret of the users' tokens.
pub const SECRET: &[u8] = b"the simulation's";

/// Tokens of the users `u0`, `u1`, ...: made once in a process.
fn tokens(users: usize) -> Vec<String> {
    static TOKENS: OnceLock<Vec<String>> = OnceLock::new();
    let make = |user: usize| {
        let key = jsonwebtoken::EncodingKey::from_secret(SECRET);
        let claims = serde_json::json!({ "sub": format!("u{user}") });
        jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key)
            .expect("plain claims are signed")
    };
    TOKENS.get_or_init(|| (0..USERS).map(make).collect())[..users].to_vec()
}

impl Plan {
    /// The engine in a word or two.
    fn engine(&self) -> String {
        match self.engine {
            EngineKind::Memory => "memory".into(),
            EngineKind::Late => "late".into(),
            EngineKind::Redis => format!("redis({})", self.redis),
        }
    }

    /// The transport in a word or two.
    fn transport(&self) -> String {
        let Some(bytes) = self.record else { return "plain".into() };
        let (sealed, sins) = (self.sealing.per_mille, self.sealing.sins_per_mille);
        format!("record({bytes}, {sealed} in 1,000, {sins} of them sin)")
    }
}

/// The plan in one line.
impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "seed {}: engine {}, transport {}, {} workers, lanes {}/{}/{}, {} clients, {} channels, \
             arena {}, backlog {}, recovery {}, sockets {:?}, ping {} ms{}{}{}{}{}",
            self.seed,
            self.engine(),
            self.transport(),
            self.workers,
            self.slots.requests,
            self.slots.deliveries,
            self.slots.bridge,
            self.clients,
            self.channels.len(),
            self.limits.arena_bytes,
            self.limits.backlog_bytes,
            self.limits.recovery_bytes,
            self.socket_bytes,
            self.ping_ms,
            if self.core_stall_per_mille > 0 { ", stalls" } else { "" },
            if self.disconnects { ", disconnects" } else { "" },
            if self.mass_death { ", mass death" } else { "" },
            if self.hang { ", hang" } else { "" },
            if self.shutdown { ", shutdown" } else { "" },
        )
    }
}

fn workers(random: &mut Random, small: bool, redis: &RedisPlan) -> usize {
    let workers = if small { random.between(1, 4) } else { 4 };
    // Several hosts have as many cores together, or a few more.
    if redis.is_chosen { workers.div_ceil(redis.nodes) } else { workers }
}

fn faults(random: &mut Random) -> Faults {
    Faults {
        cut: random.pick(&[0, 100, 500]),
        delay: random.pick(&[0, 50, 300]),
        short: random.pick(&[0, 20, 300]),
        dry: random.pick(&[0, 10, 200]),
    }
}

fn failures(random: &mut Random) -> Failures {
    let calls = random.pick(&[0, 0, 10, 100, 300]);
    Failures { calls, freezes: random.pick(&[0, 0, 100, 1_000]) }
}

fn limits(random: &mut Random) -> Limits {
    Limits {
        connections_per_worker: 64,
        arena_bytes: random.pick(&[2_000, 8_000, 64_000, 4 << 20]),
        backlog_bytes: random.pick(&[4_000, 16_000, 1 << 20]),
        recovery_bytes: random.pick(&[4_000, 60_000, 512 << 10, 512 << 10]),
        history_bytes_per_worker: random.pick(&[20_000, 256 << 20, 256 << 20]),
        control_frames_per_s: 0,
        ..Limits::default()
    }
}

fn budgets(random: &mut Random) -> Budgets {
    if random.chance(500) {
        return Budgets::default();
    }
    Budgets {
        events: random.pick(&[1, 3, 20]),
        deliveries_per_lane: random.pick(&[1, 4]),
        requests_per_lane: random.pick(&[1, 4]),
        sends: random.pick(&[1, 3]),
        work_ns: random.pick(&[1, 5_000, 250_000]),
    }
}

fn namespaces(history_size: u32, personal: bool) -> Namespaces {
    let open = ChannelOptions {
        presence: true,
        allow_tags_filter: true,
        allow_subscribe: Who::Anyone,
        allow_publish: Who::Anyone,
        allow_history: Who::Anyone,
        allow_presence: Who::Anyone,
        ..ChannelOptions::default()
    };
    let kept = ChannelOptions {
        history_size,
        history_ttl_s: 3_600,
        recovery: Mode::Force,
        positioning: Mode::Force,
        ..open.clone()
    };
    let members = ChannelOptions {
        allow_publish: Who::Subscriber,
        allow_history: Who::Subscriber,
        allow_presence: Who::Subscriber,
        ..kept.clone()
    };
    let called = ChannelOptions { presence: true, ..ChannelOptions::default() };
    let joins = ChannelOptions { join_leave: Mode::Force, ..kept.clone() };
    Namespaces {
        unnamed: ChannelOptions::default(),
        named: vec![
            ("kept".into(), kept),
            ("joins".into(), joins),
            ("members".into(), members),
            ("called".into(), called),
            ("plain".into(), open),
        ],
        personal: if personal { Personal::Named("kept".into()) } else { Personal::Off },
        ..Namespaces::default()
    }
}

fn channels(kept: usize, plain: usize, users: usize, errands: bool) -> Vec<ChannelPlan> {
    let channel = |name: String, keeps: bool| ChannelPlan {
        name,
        keeps,
        presence: true,
        members: false,
        called: false,
        user: None,
    };
    let kept = (0..kept).map(|n| {
        let namespace = ["kept", "members", "joins"][n % 3];
        ChannelPlan { members: namespace == "members", ..channel(format!("{namespace}:{n}"), true) }
    });
    let plain = (0..plain).map(|n| channel(format!("plain:{n}"), false));
    let own = (0..users)
        .map(|user| ChannelPlan { user: Some(user), ..channel(format!("kept:#u{user}"), true) });
    let called = errands.then(|| ChannelPlan { called: true, ..channel("called:0".into(), false) });
    kept.chain(plain).chain(own).chain(called).collect()
}
