//! One channel at home: its numbering, what it keeps, who listens from where, who is present.
//!
//! Must not know lanes or engines. Invariant: interest counts pairs, Subscribes less Unsubscribes
//! of each core (rule 9), and epoch and offset live while there is any (rule 13).

use super::delta::DeltaBase;
use super::history::History;
use super::replica::Replica;
use crate::contract::envelope::Member;
use crate::contract::infos::Infos;
use crate::contract::key::ConnectionKey;
use crate::contract::name::Name;
use crate::contract::position::{Epoch, Position, Version};
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
        Member { connection, user: self.user.clone(), infos: self.infos.clone() }
    }
}

/// What of a channel is forgotten with time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aging {
    History,
    Numbering,
}

/// When something of a channel is to be forgotten, in milliseconds of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Age {
    pub what: Aging,
    pub at_ms: u64,
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
    /// Until when epoch and offset are kept for subscribers that left and may come back.
    pub kept_until_ms: u64,
    /// Where it stands among the channels that age, if it does.
    pub aging: Option<Age>,
    pub interest: Vec<Interest>,
    /// Who is here, where presence or join and leave are on.
    pub members: BTreeMap<ConnectionKey, Present>,
    /// How it follows an engine elsewhere; none with a local one.
    pub replica: Option<Box<Replica>>,
    /// Of what deltas are made; none while no subscriber wants any.
    pub delta: Option<Box<DeltaBase>>,
    pub history_size: u32,
    pub history_ttl_s: u32,
    pub presence: bool,
    pub join_leave: bool,
}

impl Channel {
    #[must_use]
    pub fn new(name: Name, epoch: Epoch, made: u64, options: &ChannelOptions) -> Channel {
        let keeps = options.keeps_history();
        Channel {
            name,
            epoch,
            made,
            last: 0,
            history: History::default(),
            version: None,
            expires_ms: 0,
            kept_until_ms: 0,
            aging: None,
            interest: Vec::new(),
            members: BTreeMap::new(),
            replica: None,
            delta: None,
            history_size: if keeps { options.history_size } else { 0 },
            history_ttl_s: options.history_ttl_s,
            presence: options.presence,
            join_leave: options.join_leave != Mode::Off,
        }
    }

    #[must_use]
    pub fn position(&self) -> Position {
        Position { epoch: self.epoch, offset: self.last }
    }

    /// What is to be forgotten next, and when: history first, then the numbering.
    #[must_use]
    pub fn age(&self) -> Age {
        if self.history.bytes() > 0 {
            Age { what: Aging::History, at_ms: self.expires_ms }
        } else {
            Age { what: Aging::Numbering, at_ms: self.kept_until_ms }
        }
    }

    /// The interest of a core.
    pub fn interest_of(&mut self, core: u16) -> Option<&mut Interest> {
        self.interest.iter_mut().find(|interest| interest.core == core)
    }

    /// Who presence lists.
    pub fn listed(&self) -> impl Iterator<Item = (&ConnectionKey, &Present)> {
        self.members.iter().filter(|(_, it)| it.listed)
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
