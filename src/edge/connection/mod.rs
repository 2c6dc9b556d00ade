//! One connection: its life, what it owes, and what waits on it.
//!
//! Must not know sockets: the worker keeps those beside. Invariant: an idle connection owns no
//! buffer; everything large stands behind a box that exists only while it is needed.

pub mod call;
pub mod details;
pub mod exchange;
pub mod peers;
pub mod places;
pub mod rate;
pub mod server_side;
pub mod subscriptions;
pub mod under_way;
pub mod wheel;

use crate::auth::Check;
use crate::codec::Codec;
use crate::contract::envelope::Request;
use crate::contract::name::Name;
use crate::edge::connection::exchange::Exchange;
use crate::edge::connection::rate::ControlRate;
use crate::edge::connection::server_side::ServerSide;
use crate::edge::connection::subscriptions::Subscriptions;
use crate::edge::connection::under_way::List;
use crate::edge::output::backlog::Backlog;
use crate::ws::deframer::Deframer;

/// Where a connection is in its life. IDLE is ACTIVE without traffic, derived from the last
/// activity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Life {
    /// Nobody is here.
    #[default]
    Free,
    /// It speaks HTTP: a head is awaited, or its request is served.
    Http,
    /// WebSocket, and no answered connect yet.
    Authenticating,
    /// Connected (or an echo).
    Active,
    /// A close frame was written; the peer's, and its FIN, are awaited.
    Closing,
    /// The socket is gone; what is owed to homes is not yet paid.
    Dead,
}

impl Life {
    /// May a connection go from here to `next`?
    #[must_use]
    pub fn may_become(self, next: Life) -> bool {
        use Life::{Active, Authenticating, Closing, Dead, Free, Http};
        matches!(
            (self, next),
            (Free, Http)
                | (Http, Authenticating | Active | Closing | Dead)
                | (Authenticating, Active | Closing | Dead)
                | (Active, Closing | Dead)
                | (Closing, Dead)
                | (Dead, Free)
        )
    }
}

/// Where a subscription is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriptionState {
    /// Its Subscribe waits for its lane.
    Parked,
    /// Its Subscribe was pushed, and is not answered.
    Pending,
    Active,
    /// It ended; its Unsubscribe is still to be pushed (rules 3 and 10).
    Owed,
}

/// One subscription of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Subscription {
    /// The channel's place in the edge's table.
    pub channel: u32,
    pub sequence: u32,
    /// Its place in the channel's list of subscribers, while active.
    pub place: u32,
    pub state: SubscriptionState,
    pub traits: Traits,
    /// Its filter in the edge's table, or `NO_FILTER`.
    pub filter: u16,
}

const _: () = assert!(size_of::<Subscription>() == 16);

/// What a subscription has, one bit each: a connection pays for every byte of its subscriptions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traits(u8);

impl Traits {
    pub const RECOVERABLE: Traits = Traits(1);
    pub const POSITIONED: Traits = Traits(2);
    pub const JOIN_LEAVE: Traits = Traits(4);
    pub const DELTA: Traits = Traits(8);
    /// The server began it: the client cannot begin it again by itself.
    pub const SERVER_SIDE: Traits = Traits(16);
    /// Deliveries name the channel by its number.
    pub const NUMBERED: Traits = Traits(32);
    /// The connection's token names it: it ends with a token that does not.
    pub const BY_TOKEN: Traits = Traits(64);

    #[must_use]
    pub fn has(self, which: Traits) -> bool {
        self.0 & which.0 == which.0
    }

    /// These, and others where `on`.
    #[must_use]
    pub fn with(self, others: Traits, on: bool) -> Traits {
        if on { Traits(self.0 | others.0) } else { self }
    }
}

/// A command that found its lane full, ready to be pushed.
#[derive(Debug)]
pub struct Parked {
    pub home: u16,
    pub request: Request,
}

/// A command that waits for the answer to an earlier one about its channel (rule 32).
#[derive(Debug)]
pub struct Later {
    /// A hash of the channel's name.
    pub channel: u32,
    /// The command as it came.
    pub bytes: Box<[u8]>,
}

/// What came in and cannot be worked off yet.
#[derive(Debug, Default)]
pub struct Input {
    /// Commands that wait for answers, in the order in which they were sent. Together with those
    /// under way at most `limits::COMMANDS_IN_FLIGHT`.
    pub later: Vec<Later>,
    /// Commands of a message, not yet run.
    pub message: Vec<u8>,
    /// Bytes as they came, not yet cut into frames: the spill.
    pub wire: Vec<u8>,
    /// Memory that the connection's transport holds for it, which the worker has.
    pub transport_bytes: usize,
    /// The command that waits for a lane.
    pub parked: Option<Parked>,
    /// How far the first of the tokens that wait was checked, where that takes more than a slice.
    pub checking: Option<Check>,
    /// The peer sends nothing more; the connection ends when the rest is worked off.
    pub ended: Option<PeerEnd>,
}

/// How a peer says that it sends nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerEnd {
    /// It sent its FIN.
    Fin,
    /// It sent a close frame, with this code.
    Close(Option<u16>),
}

impl Input {
    /// Memory of what waits; what the worker's bound counts.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let held = self.message.capacity() + self.wire.capacity() + self.later_bytes();
        held + self.transport_bytes
    }

    /// Bytes of the commands that wait for answers.
    #[must_use]
    pub fn later_bytes(&self) -> usize {
        self.later.iter().map(|later| later.bytes.len()).sum()
    }

    /// Is there nothing to be worked off?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.message.is_empty()
            && self.wire.is_empty()
            && self.parked.is_none()
            && self.later.is_empty()
            && self.ended.is_none()
    }
}

/// A small fact about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fact {
    /// It stands in the line of a full lane.
    Waiting,
    /// It stands in the queue of connections with work left over.
    Ready,
    /// It stands in the queue of connections that owe.
    Owing,
    /// Its reading is paused.
    Paused,
    /// Its connect command is not answered: home(#user), or a subscription, is waited for.
    AwaitsConnect,
    /// A Register was pushed for it.
    Registered,
    /// It is an `/echo`.
    Echo,
    /// There was no place for it: it is told 503.
    Refused,
    /// It is closed once what was written is out.
    ClosesWhenSent,
    /// It broke the rules of its protocol: what it still sends is not looked at.
    Failed,
    /// Its peer sent its FIN; only what it is still owed is awaited.
    PeerEnded,
    /// A ping is out and no frame has come since.
    PongDue,
    /// Its socket sent its FIN or failed.
    PeerGone,
    /// It counted as a connection in the metrics.
    Counted,
    /// It came in by the internal listener.
    Internal,
    /// It speaks a subprotocol of ours, and so understands what SDKs of Centrifugo do not.
    OwnProtocol,
    /// What is written for it is held until its connect reply.
    Deferring,
    /// Its SDK finds a subscription by its channel's number (`takes_numbers`).
    TakesNumbers,
    /// It is in the list of those with something unsent.
    Backlogged,
    /// It is in the list of those from whom something came that waits.
    Spilled,
    /// It holds one of the internal listener's own slots.
    OwnSlot,
    /// It came from a proxy that is believed whom it passes on.
    Proxied,
    /// It stands in the line of those who ask who is present.
    AwaitsPresence,
    /// Its transport's handshake is under way: nothing can be said to it yet.
    Handshaking,
}

/// The facts about a connection, one bit each: a connection pays for every byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts(u32);

impl Facts {
    #[must_use]
    pub fn has(self, fact: Fact) -> bool {
        self.0 & 1 << fact as u8 != 0
    }

    pub fn set(&mut self, fact: Fact, on: bool) {
        self.0 = self.0 & !(1 << fact as u8) | u32::from(on) << fact as u8;
    }

    /// Sets a fact; what it was.
    pub fn replace(&mut self, fact: Fact, on: bool) -> bool {
        let before = self.has(fact);
        self.set(fact, on);
        before
    }
}

/// A connection of this edge. What a flush looks at comes first, so that it lies together: it is
/// read for every delivery.
#[derive(Default)]
#[repr(C)]
pub struct Connection {
    pub backlog: Option<Box<Backlog>>,
    pub generation: u32,
    pub life: Life,
    /// How its messages are written.
    pub codec: Codec,
    /// Questions to homes that are not answered yet.
    pub in_flight: u8,
    pub facts: Facts,
    pub control_rate: ControlRate,
    /// The tick of the timer wheel at which its entry counts.
    pub timer_tick: u32,
    /// The connect command's id, while it waits for home(#user).
    pub connect_id: u32,
    /// Commands pushed to homes and not yet answered.
    pub under_way: List,
    /// Its nearest deadline, in milliseconds of the process.
    pub deadline_ms: u64,
    /// When it came.
    pub since_ms: u32,
    /// The second of the process at which it ends unless its token is renewed; 0 for never.
    pub expires_s: u32,
    pub user: Option<Name>,
    pub subscriptions: Subscriptions,
    pub deframer: Deframer,
    pub input: Option<Box<Input>>,
    pub aside: Option<Box<Aside>>,
}

/// What a connection has at times, and never both: before it is a WebSocket, and after.
#[derive(Debug)]
pub enum Aside {
    Http(Exchange),
    /// What the server has still to do about its subscriptions.
    Server(ServerSide),
}

impl Connection {
    pub fn become_(&mut self, next: Life) {
        assert!(self.life.may_become(next), "from {:?} to {next:?}", self.life);
        self.life = next;
    }

    /// The HTTP side, where it has one.
    #[must_use]
    pub fn http(&self) -> Option<&Exchange> {
        match self.aside.as_deref() {
            Some(Aside::Http(http)) => Some(http),
            _ => None,
        }
    }

    /// The same, to change it.
    pub fn http_mut(&mut self) -> Option<&mut Exchange> {
        match self.aside.as_deref_mut() {
            Some(Aside::Http(http)) => Some(http),
            _ => None,
        }
    }

    /// What the server has still to do about it, where there is something.
    #[must_use]
    pub fn server(&self) -> Option<&ServerSide> {
        match self.aside.as_deref() {
            Some(Aside::Server(server)) => Some(server),
            _ => None,
        }
    }

    /// The same, to change it.
    pub fn server_mut(&mut self) -> Option<&mut ServerSide> {
        match self.aside.as_deref_mut() {
            Some(Aside::Server(server)) => Some(server),
            _ => None,
        }
    }

    /// The input that waits, made when there is none.
    pub fn input(&mut self) -> &mut Input {
        self.input.get_or_insert_with(Box::default)
    }

    /// The subscription to a channel.
    #[must_use]
    pub fn subscription(&self, channel: u32) -> Option<&Subscription> {
        self.subscriptions.get(channel)
    }

    /// The same, to change it.
    pub fn subscription_mut(&mut self, channel: u32) -> Option<&mut Subscription> {
        self.subscriptions.get_mut(channel)
    }

    /// Can commands be run, or does an earlier one have to come first?
    #[must_use]
    pub fn is_parked(&self) -> bool {
        self.facts.has(Fact::Waiting)
            || self.input.as_ref().is_some_and(|input| input.parked.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_has_one_direction() {
        use Life::{Active, Authenticating, Closing, Dead, Free, Http};
        let order = [Free, Http, Authenticating, Active, Closing, Dead];
        for (from, earlier) in order.iter().enumerate() {
            for later in &order[..from] {
                let freed = *earlier == Dead && *later == Free;
                assert_eq!(earlier.may_become(*later), freed, "{earlier:?} to {later:?}");
            }
        }
        assert!(!Dead.may_become(Closing) && !Free.may_become(Active));
    }

    #[test]
    fn a_connection_is_small() {
        assert!(size_of::<Connection>() <= 120, "{}", size_of::<Connection>());
    }
}
