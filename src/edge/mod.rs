//! Edges: the connections of one core, from bytes received to bytes to send. Edges only deliver;
//! what is ordered or remembered is a home's.
//!
//! Must not know sockets, rings, lanes' insides or clocks. Invariants: a delivery never causes a
//! push (rule 3: `deliver` is not given the lanes); what must be done to a socket is queued as an
//! effect for the worker to carry out.

mod accounts;
mod calls;
mod channels;
mod commands;
mod connection;
mod deliveries;
pub mod ids;
mod inbound;
mod lifecycle;
mod lines;
mod lookup;
mod outbound;
mod output;
mod pace;
mod permissions;
mod refusals;
mod responses;
#[cfg(feature = "sabotage")]
mod sabotage;
mod server_side;
mod subscriptions;
#[cfg(test)]
mod tests;
mod tokens;
mod turn;
mod user_calls;
mod views;

use crate::auth::Auth;
use crate::clock::Now;
use crate::contract::envelope::Request;
use crate::edge::accounts::Accounts;
use crate::edge::accounts::roster::Roster;
use crate::edge::channels::EdgeChannels;
use crate::edge::channels::filters::ChargedFilters;
use crate::edge::connection::details::AllDetails;
use crate::edge::connection::peers::Peers;
use crate::edge::connection::places::Places;
use crate::edge::connection::rate::ControlRate;
use crate::edge::connection::under_way::UnderWay;
use crate::edge::connection::wheel::Wheel;
use crate::edge::ids::client_id::ClientIds;
use crate::edge::lines::presences::Presences;
use crate::edge::lines::queues::Lines;
use crate::edge::outbound::staging::{Judging, Staging};
use crate::edge::output::arena::Output;
use crate::edge::pace::Pace;
use crate::edge::refusals::Refusals;
use crate::edge::user_calls::UserCalls;
use crate::hashing::{Key, Keyed};
use crate::http::date::Date;
use crate::limits::Limits;
use crate::metrics::CoreMetrics;
use crate::namespace::Namespaces;
use crate::work::Work;
use std::collections::VecDeque;
use std::sync::Arc;

pub use ids::ConnectionId;
pub use ids::epoch::EpochText;
pub use inbound::http::{HttpOptions, ProcessUse};
pub use lifecycle::cut::Cut;
pub use outbound::flush::Flush;
pub use output::arena::Range;

/// The lanes to the homes, as an edge sees them.
pub trait RequestLanes {
    /// Pushes a request to a home.
    ///
    /// # Errors
    /// Gives it back when the lane is full.
    fn push(&mut self, home: u16, request: Request) -> Result<(), Request>;
}

/// What a stage that may push requests is given: the turn's time, and the lanes. A function that is
/// given `now` alone cannot push (rule 3).
pub struct Turn<'a> {
    now: Now,
    lanes: &'a mut dyn RequestLanes,
}

impl<'a> Turn<'a> {
    pub fn new(now: Now, lanes: &'a mut dyn RequestLanes) -> Turn<'a> {
        Turn { now, lanes }
    }
}

/// What an edge wants done to a connection's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Pause(ConnectionId),
    Resume(ConnectionId),
    /// Its backlog has a chunk to send.
    Arm(ConnectionId),
    /// Half-close: no more is written.
    Shutdown(ConnectionId),
    Close(ConnectionId),
}

/// Times of a client's connection, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientTimes {
    /// Between pings.
    pub ping_interval_ms: u32,
    /// From a ping to the frame that answers it; over it 3012.
    pub pong_timeout_ms: u32,
    /// From the upgrade to the connect command; over it 3502.
    pub connect_timeout_ms: u32,
}

/// What an edge is made of.
pub struct EdgeOptions {
    /// This core.
    pub core: u16,
    /// Homes, one per worker.
    pub homes: u16,
    pub namespaces: Namespaces,
    pub limits: Limits,
    pub times: ClientTimes,
    pub auth: Auth,
    pub http: HttpOptions,
    pub secrets: EdgeSecrets,
    /// Every core's counters, this one's at `core`.
    pub metrics: Vec<Arc<CoreMetrics>>,
}

/// Randomness of an edge: each a draw of its own, so that what is shown of one tells nothing of
/// another.
#[derive(Clone, Copy, Debug)]
pub struct EdgeSecrets {
    /// Of the hash that picks homes; the same on every worker of the process.
    pub homes: Key,
    /// Of client ids; the same on every worker of the process.
    pub client_ids: Key,
    pub channels: Key,
    pub filters: Key,
    /// Of when first pings go out.
    pub pings: Key,
}

impl EdgeSecrets {
    /// Draws what is this edge's own, beside what all share.
    #[must_use]
    pub fn drawn(homes: Key, client_ids: Key, mut draw: impl FnMut() -> Key) -> EdgeSecrets {
        EdgeSecrets { homes, client_ids, channels: draw(), filters: draw(), pings: draw() }
    }
}

/// What flush found, to be done in the next turn (rule 6).
#[derive(Clone, Copy, Debug)]
enum Late {
    /// The backlog passed its bound.
    Overflow(ConnectionId),
    /// The backlogs of all passed theirs.
    Shed,
    /// All was written to a connection that ends.
    Close(ConnectionId),
    /// More was held for a connection than may be.
    Slow(ConnectionId),
    /// It missed what the server wants it to have: 3010, and it comes back.
    Insufficient(ConnectionId),
    /// Its transport can seal nothing more.
    Unsealed(ConnectionId),
}

/// The connections of one core.
pub struct Edge {
    core: u16,
    homes: u16,
    namespaces: Namespaces,
    limits: Limits,
    times: ClientTimes,
    auth: Auth,
    http: HttpOptions,
    date: Date,
    /// Shared with recovery answers on their way out.
    ids: ClientIds,
    home_hasher: Keyed,
    ping_hasher: Keyed,
    metrics: Arc<CoreMetrics>,
    all_metrics: Vec<Arc<CoreMetrics>>,
    peers: Peers,
    refusals: Refusals,
    places: Places,
    strangers: Roster,
    details: AllDetails,
    channels: EdgeChannels,
    filters: ChargedFilters,
    subscriptions: u32,
    next_sequence: u32,
    output: Output,
    staging: Staging,
    under_way: UnderWay,
    user_calls: UserCalls,
    wheel: Wheel,
    lines: Lines,
    late: VecDeque<Late>,
    effects: Vec<Effect>,
    accounts: Accounts,
    /// The text of `/metrics` that was made last, and how often it was made.
    metrics_page: String,
    metrics_rate: ControlRate,
    /// What the stage under way may still do.
    work: Work,
    /// The stage works off what waits, not what comes in.
    serves_ready: bool,
    /// Filters that are being asked.
    judging: Judging,
    presences: Presences,
    /// Nothing is accepted, parsed or parked any more (rule 25).
    draining: bool,
    /// A shutdown is near: `/ready` says so.
    leaving: bool,
    /// Before a shutdown: who is told of it, and when.
    pace: Option<Pace>,
    /// What connections lost that ended in the shutdown.
    cut: Cut,
    #[cfg(feature = "sabotage")]
    broken: sabotage::Broken,
}

impl Edge {
    #[must_use]
    pub fn new(options: EdgeOptions) -> Edge {
        let places = Places::max(&options.limits);
        let homes = usize::from(options.homes);
        Edge {
            core: options.core,
            homes: options.homes,
            namespaces: options.namespaces,
            times: options.times,
            auth: options.auth,
            http: options.http,
            date: Date::default(),
            ids: ClientIds::new(options.secrets.client_ids),
            home_hasher: Keyed::new(options.secrets.homes),
            ping_hasher: Keyed::new(options.secrets.pings),
            metrics: Arc::clone(&options.metrics[usize::from(options.core)]),
            all_metrics: options.metrics,
            peers: Peers::new(places),
            refusals: Refusals::default(),
            places: Places::new(&options.limits),
            strangers: Roster::default(),
            details: AllDetails::default(),
            channels: EdgeChannels::new(homes, options.secrets.channels),
            filters: ChargedFilters::new(&options.limits, options.secrets.filters),
            subscriptions: 0,
            next_sequence: 0,
            output: Output::new(places, options.limits.arena_bytes as usize),
            staging: Staging::default(),
            under_way: UnderWay::default(),
            user_calls: UserCalls::new(homes),
            wheel: Wheel::default(),
            lines: Lines::new(homes),
            late: VecDeque::new(),
            effects: Vec::new(),
            accounts: Accounts::default(),
            metrics_page: String::new(),
            metrics_rate: ControlRate::default(),
            work: Work::new(u32::MAX),
            serves_ready: false,
            judging: Judging::default(),
            presences: Presences::default(),
            draining: false,
            leaving: false,
            pace: None,
            cut: Cut::default(),
            #[cfg(feature = "sabotage")]
            broken: sabotage::Broken::default(),
            limits: options.limits,
        }
    }

    /// Takes the next thing to do to a socket.
    pub fn take_effects(&mut self, into: &mut Vec<Effect>) {
        into.append(&mut self.effects);
    }

    /// May a delivery be taken in, as far as the arena goes (rule 23)?
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.output.room() > self.staging.bytes()
    }

    /// Would this much more still fit the arena?
    #[must_use]
    pub fn has_room_for(&self, bytes: usize) -> bool {
        self.output.room() > self.staging.bytes() + bytes
    }

    /// Begins the next stage, as long as the one before.
    pub fn begin_stage(&mut self) {
        self.work.begin();
        self.judging.begin_stage(&self.work);
    }

    /// Is something staged that could not be marked within the turn?
    #[must_use]
    pub fn has_staged(&self) -> bool {
        !self.staging.is_empty()
    }

    /// Are there filters to be asked about what is staged?
    #[must_use]
    pub fn has_filtered(&self) -> bool {
        self.staging.has_filtered()
    }

    /// May deliveries pass those whose filters are still to be asked?
    #[must_use]
    pub fn may_pass_filtered(&self) -> bool {
        self.staging.may_add_filtered()
    }

    /// May what came in be looked at, as far as the stage's work goes? What is left waits for the
    /// next turn where it lies.
    #[must_use]
    pub fn may_work(&self) -> bool {
        !self.work.is_spent()
    }

    /// Is there work that no event will bring? Lines of full lanes are not: their room rings.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.lines.has_work()
            || !self.late.is_empty()
            || !self.effects.is_empty()
            || !self.staging.is_empty()
            || self.output.is_dirty()
            || self.presences.has_work()
    }

    /// Does anything wait for this home's lane?
    #[must_use]
    pub fn waits_for(&self, home: u16) -> bool {
        self.lines.has_line(home) || self.user_calls.has_report(home)
    }
}

fn ms(now: Now) -> u32 {
    // It wraps after 49 days: only differences of moments close to each other are used.
    u32::try_from(now.monotonic_ms() & u64::from(u32::MAX)).expect("it was just cut")
}
