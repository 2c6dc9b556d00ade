//! Unanswered commands of clients: the id of each, and its channel.
//!
//! Rule 32: commands about one channel of one connection take effect, and are answered, in the
//! order in which they were sent. This table decides which may be sent before earlier ones are
//! answered. Must not know homes or connections. Invariants: a slot is in exactly one list, a
//! connection's or that of the free ones; a list has at most `limits::COMMANDS_IN_FLIGHT` slots.

use crate::codec::command::Method;
use crate::contract::envelope::Request;

/// The end of a list, and an empty one.
const NONE: u32 = 0;

/// Whether a command may be followed by others about its channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// No other about its channel may be sent before it is answered.
    #[default]
    Alone,
    /// A publish without a key: homes and engines keep the order of these, so the next may follow
    /// before the answer.
    Publish,
}

/// A connection's unanswered commands: the first of its list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct List(u32);

/// What a command is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The client's id for it, by which its answer finds it.
    pub id: u32,
    /// A hash of the channel's name. With equal hashes commands only wait unnecessarily.
    pub channel: u32,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    about: About,
    next: u32,
}

const _: () = assert!(size_of::<Slot>() == 16);

/// The unanswered commands of all connections of an edge. It grows to the most that were ever under
/// way at once.
#[derive(Debug)]
pub struct UnderWay {
    /// The first is in no list, so that 0 can mean the end.
    slots: Vec<Slot>,
    free: u32,
}

impl Default for UnderWay {
    fn default() -> Self {
        UnderWay { slots: vec![Slot::default()], free: NONE }
    }
}

impl UnderWay {
    /// Records that a command was sent to a home.
    pub fn begin(&mut self, list: &mut List, about: About) {
        let slot = Slot { about, next: list.0 };
        if self.free == NONE {
            list.0 = u32::try_from(self.slots.len()).expect("commands under way are bounded");
            self.slots.push(slot);
        } else {
            list.0 = self.free;
            let place = &mut self.slots[self.free as usize];
            self.free = std::mem::replace(place, slot).next;
        }
    }

    /// A command is answered. A command that was not recorded is ignored.
    pub fn end(&mut self, list: &mut List, id: u32) {
        let (mut before, mut place) = (NONE, list.0);
        while place != NONE && self.slots[place as usize].about.id != id {
            (before, place) = (place, self.slots[place as usize].next);
        }
        if place == NONE {
            return;
        }
        let next = std::mem::replace(&mut self.slots[place as usize].next, self.free);
        self.free = place;
        if before == NONE { list.0 = next } else { self.slots[before as usize].next = next }
    }

    /// Answers are no longer expected.
    pub fn clear(&mut self, list: &mut List) {
        while list.0 != NONE {
            let place = list.0;
            list.0 = std::mem::replace(&mut self.slots[place as usize].next, self.free);
            self.free = place;
        }
    }

    /// Must a command under way be answered before this one is sent?
    #[must_use]
    pub fn holds_back(&self, list: List, asked: About) -> bool {
        self.of(list).any(|it| {
            let publishes = it.kind == Kind::Publish && asked.kind == Kind::Publish;
            // With two of the same id it would not be known which one an answer belongs to.
            it.id == asked.id || it.channel == asked.channel && !publishes
        })
    }

    /// Is a command about this channel under way?
    #[must_use]
    pub fn is_about(&self, list: List, channel: u32) -> bool {
        self.of(list).any(|it| it.channel == channel)
    }

    fn of(&self, list: List) -> impl Iterator<Item = About> {
        let slot = |place: u32| (place != NONE).then(|| self.slots[place as usize]);
        std::iter::successors(slot(list.0), move |it| slot(it.next)).map(|it| it.about)
    }
}

/// The channel of a command, and whether others may follow it.
pub fn channel_of<'a>(method: &'a Method<'_>) -> Option<(&'a str, Kind)> {
    match method {
        Method::Publish(command) => {
            let kind = if command.idempotency_key.is_empty() { Kind::Publish } else { Kind::Alone };
            Some((&command.channel, kind))
        }
        Method::Subscribe(command) => Some((&command.channel, Kind::Alone)),
        Method::History(command) => Some((&command.channel, Kind::Alone)),
        Method::Unsubscribe { channel }
        | Method::Presence { channel }
        | Method::PresenceStats { channel }
        | Method::SubRefresh { channel, .. } => Some((channel, Kind::Alone)),
        Method::Connect(_)
        | Method::Ping
        | Method::Pong
        | Method::Rpc { .. }
        | Method::Send { .. }
        | Method::Refresh { .. }
        | Method::Excessive
        | Method::ExcessiveConnect
        | Method::Attributes => None,
    }
}

/// The same for a request: the command's id, the channel, and whether others may follow it.
pub fn channel_of_request(request: &Request) -> Option<(u32, &str, Kind)> {
    match request {
        Request::Subscribe(it) => Some((it.to.command, it.channel.as_str(), Kind::Alone)),
        Request::History(it) => Some((it.to.command, it.channel.as_str(), Kind::Alone)),
        Request::Presence { to, channel } | Request::PresenceStats { to, channel } => {
            Some((to.command, channel.as_str(), Kind::Alone))
        }
        Request::Publish { to, block, options } => {
            let kind = if options.is_none() { Kind::Publish } else { Kind::Alone };
            Some((to.command, block.channel(), kind))
        }
        Request::Unsubscribe { .. }
        | Request::Register { .. }
        | Request::Deregister { .. }
        | Request::ToUser(_)
        | Request::UserDone { .. }
        | Request::RemoveHistory { .. }
        | Request::Channels { .. }
        | Request::OtherChannels { .. }
        | Request::Nodes { .. }
        | Request::Marker { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(id: u32, channel: u32, kind: Kind) -> About {
        About { id, channel, kind }
    }

    #[test]
    fn only_publishes_follow_each_other() {
        let (mut table, mut list) = (UnderWay::default(), List::default());
        table.begin(&mut list, about(1, 7, Kind::Publish));
        assert!(!table.holds_back(list, about(2, 7, Kind::Publish)));
        assert!(table.holds_back(list, about(2, 7, Kind::Alone)));
        assert!(!table.holds_back(list, about(2, 8, Kind::Alone)));
        assert!(table.holds_back(list, about(1, 8, Kind::Alone)), "its id is in use");
        table.begin(&mut list, about(2, 8, Kind::Alone));
        assert!(table.holds_back(list, about(3, 8, Kind::Publish)));
    }

    #[test]
    fn answers_end_commands_in_any_order() {
        let mut table = UnderWay::default();
        let mut lists = [List::default(); 3];
        for round in 0..4 {
            for id in 1..=30 {
                table.begin(&mut lists[id as usize % 3], about(id, id, Kind::Alone));
            }
            for id in (1..=30).filter(|id| id % 2 == round % 2) {
                table.end(&mut lists[id as usize % 3], id);
            }
            for id in 1..=30 {
                let list = lists[id as usize % 3];
                assert_eq!(table.is_about(list, id), id % 2 != round % 2);
            }
            lists.iter_mut().for_each(|list| table.clear(list));
            assert_eq!(lists, [List::default(); 3]);
        }
        assert_eq!(table.slots.len(), 31, "slots are used again");
    }
}
