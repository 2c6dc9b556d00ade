//! One channel at home: its numbering, what it keeps, who listens from where, who is present.
//!
//! Must not know lanes or engines. Invariant: interest counts pairs, Subscribes less Unsubscribes
//! of each core (rule 9), and epoch and offset live while there is any (rule 13).

use super::delta::DeltaBase;
use super::history::History;
use super::replica::Replica;
use crate::contract::envelope::{Member, Who};
use crate::contract::infos::Infos;
use crate::contract::key::ConnectionKey;
use crate::contract::name::Name;
use crate::contract::position::{Epoch, Position, Version};
use crate::contract::wire::NodeId;
use crate::namespace::{ChannelOptions, Mode};
use std::collections::BTreeMap;

/// One core's interest in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    pub core: u16,
    /// The channel's number, for that core, on this home.
    pub local: u32,
    /// Subscribes pushed by that core less Unsubscribes.
    pub pairs: u32,
}

/// Somebody in a channel, by whose connection it is found.
#[derive(Clone, Debug)]
pub struct Present {
    pub user: Name,
    pub infos: Option<Infos>,
    /// Presence lists it.
    pub listed: bool,
    /// Its join was told, and its leave will be.
    pub announced: bool,
}

impl Present {
    /// The same, as edges are told of it.
    #[must_use]
    pub fn member(&self, connection: ConnectionKey) -> Member {
        Member { who: Who::Here(connection), user: self.user.clone(), infos: self.infos.clone() }
    }
}

/// A history that is forgotten with time: of a channel to which nobody listens, or somebody does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aging {
    Alone,
    Heard,
}

/// When a channel's history is to be forgotten, in milliseconds of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Age {
    pub what: Aging,
    pub at_ms: u64,
}

/// Where a channel's history stands among the others: by when it is to be forgotten, and by how
/// large it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub age: Age,
    /// Bits of the number of its bytes: one more is twice as large.
    pub size: u32,
}

impl Standing {
    /// Those among which it stands.
    #[must_use]
    pub fn kind(self) -> (Aging, u32) {
        (self.age.what, self.size)
    }
}

/// A channel at home.
#[derive(Debug)]
pub struct Channel {
    pub name: Name,
    pub epoch: Epoch,
    /// How many channels had been made here when it was, itself counted.
    pub made: u64,
    /// The last publication's offset; 0 before the first.
    pub last: u64,
    pub history: History,
    /// The application's version of the last publication, where it said one.
    pub version: Option<Box<Version>>,
    /// When history is too old, in milliseconds of the process.
    pub expires_ms: u64,
    /// Where it stands among the channels that age, if it does.
    pub aging: Option<Standing>,
    pub interest: Vec<Interest>,
    /// Who is here, where presence or join and leave are on.
    pub members: BTreeMap<ConnectionKey, Present>,
    /// How it follows an engine elsewhere; none with a local one.
    pub replica: Option<Box<Replica>>,
    /// Of what deltas are made; none while no subscriber wants any.
    pub delta: Option<Box<DeltaBase>>,
    pub history_size: u32,
    pub history_ttl_s: u32,
    /// Seconds for which its numbering is kept when all else of it is gone.
    pub history_meta_ttl_s: u32,
    pub presence: bool,
    pub join_leave: bool,
}

impl Channel {
    #[must_use]
    pub fn new(name: Name, at: Position, made: u64, options: &ChannelOptions) -> Channel {
        let keeps = options.keeps_history();
        Channel {
            name,
            epoch: at.epoch,
            made,
            last: at.offset,
            history: History::default(),
            version: None,
            expires_ms: 0,
            aging: None,
            interest: Vec::new(),
            members: BTreeMap::new(),
            replica: None,
            delta: None,
            history_size: if keeps { options.history_size } else { 0 },
            history_ttl_s: options.history_ttl_s,
            history_meta_ttl_s: if keeps { options.history_meta_ttl_s.0 } else { 0 },
            presence: options.presence,
            join_leave: options.join_leave != Mode::Off,
        }
    }

    #[must_use]
    pub fn position(&self) -> Position {
        Position { epoch: self.epoch, offset: self.last }
    }

    /// Has it a history, and so an order that is the same wherever it is heard?
    #[must_use]
    pub fn keeps(&self) -> bool {
        self.history_size > 0
    }

    /// Where its history belongs among the others, if it has any.
    #[must_use]
    pub fn standing(&self) -> Option<Standing> {
        let what = if self.interest.is_empty() { Aging::Alone } else { Aging::Heard };
        let bytes = self.history.bytes();
        // A replica's ring is as old as its stream says: it goes for its size, or with its session.
        let at_ms = if self.replica.is_some() { u64::MAX } else { self.expires_ms };
        let age = Age { what, at_ms };
        (bytes > 0).then_some(Standing { age, size: usize::BITS - bytes.leading_zeros() })
    }

    /// The interest of a core.
    pub fn interest_of(&mut self, core: u16) -> Option<&mut Interest> {
        self.interest.iter_mut().find(|interest| interest.core == core)
    }

    /// Who presence lists.
    pub fn listed(&self) -> impl Iterator<Item = (&ConnectionKey, &Present)> {
        self.members.iter().filter(|(_, it)| it.listed)
    }

    /// May it have told of members of a node that it has to tell of now that this node has died, or
    /// lives again?
    #[must_use]
    pub fn must_be_told(&self, node: NodeId, lives: bool) -> bool {
        let Some(replica) = self.replica.as_deref() else { return false };
        let tells = self.join_leave || self.members.values().any(|it| it.announced);
        !self.interest.is_empty() && tells && replica.dead.contains(&node) == lives
    }

    /// Users present, each counted once.
    #[must_use]
    pub fn users(&self) -> usize {
        let mut users: Vec<&Name> = self.listed().map(|(_, it)| &it.user).collect();
        users.sort_unstable();
        users.dedup();
        users.len()
    }
}
