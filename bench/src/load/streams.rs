//! Publications from senders to the members of rooms, and the check of every delivery.
//!
//! Fan-out, rooms, pairs, token streams and the chat day are plans of this. Must not know sockets.
//! Invariant: a member receives every message of each of its room's senders once, in that sender's
//! order, with every byte as sent; anything else fails the run.

use super::fleet::Handler;
use super::meter::Meter;
use super::plan::Plan;
use super::schedule::{Schedule, count_of, message};
use super::wire_state::Wire;
use crate::protocol::Position;
use crate::wire::{FIRST_ID, Heard, SETUP_ID, Said};

/// Marks the senders of calls: they are connections.
const CALLER: u32 = 1 << 31;

/// A connection's part in the plan.
struct Member {
    room: u32,
    /// Does it get what is sent to the room?
    listens: bool,
    /// Whose messages it does not get.
    own: Option<u32>,
    /// Its first place in `expected`.
    base: usize,
    ready: bool,
    /// It was cut and is not back.
    away: bool,
    /// When it began to come back.
    returns: u64,
    position: Position,
    /// Calls that were sent, and answered.
    calls: u64,
    answers: u64,
}

struct Sender {
    room: u32,
    /// The connection that publishes for it, if it is of this process.
    who: Option<usize>,
    /// Members of this process that get its messages.
    listeners: u64,
}

/// A message under way in a closed loop.
#[derive(Clone, Copy, Default)]
struct Flight {
    sent: u64,
    missing: u64,
}

pub struct Streams {
    plan: Plan,
    first_sender: Vec<u32>,
    members: Vec<Member>,
    senders: Vec<Sender>,
    /// Sequence that a member awaits from each sender of its room.
    expected: Vec<u64>,
    pub schedule: Option<Schedule>,
    /// Next message of all to be sent, by its number.
    pub next: u64,
    depth: usize,
    flights: Vec<Flight>,
    /// Senders whose turn it is, in a closed loop.
    turn: Vec<u32>,
    own_sequence: Vec<u64>,
    pub meter: Option<Meter>,
    pub ready: usize,
    pub delivered: u64,
    published: u64,
    acknowledged: u64,
    /// Latency is that of coming back, not that of messages.
    pub times_returns: bool,
    pub resumed: u64,
    /// Calls that were answered.
    pub answered: u64,
    /// Deliveries that came with a recovery.
    pub recovered: u64,
    /// How late a message of the window went out, at worst, in nanoseconds.
    pub late: u64,
}

impl Streams {
    #[must_use]
    pub fn new(plan: Plan, publishers_listen: bool) -> Streams {
        let mut streams = Streams {
            first_sender: Vec::new(),
            members: Vec::new(),
            senders: Vec::new(),
            expected: Vec::new(),
            schedule: None,
            next: 0,
            depth: 0,
            flights: Vec::new(),
            turn: Vec::new(),
            own_sequence: Vec::new(),
            meter: None,
            ready: 0,
            delivered: 0,
            published: 0,
            acknowledged: 0,
            times_returns: false,
            resumed: 0,
            answered: 0,
            recovered: 0,
            late: 0,
            plan,
        };
        streams.people(publishers_listen);
        streams
    }

    fn people(&mut self, publishers_listen: bool) {
        let rooms = std::mem::take(&mut self.plan.rooms);
        for (number, room) in rooms.iter().enumerate() {
            self.first_sender.push(self.senders.len() as u32);
            let ours = (0..room.subscribers).filter(|index| self.plan.is_ours(*index)).count();
            (0..ours).for_each(|_| self.member(number, room.senders, true, None));
            let senders = (0..room.senders).map(|_| Sender {
                room: number as u32,
                who: None,
                listeners: ours as u64,
            });
            self.senders.extend(senders);
        }
        let shared = self.plan.publishers;
        for _ in 0..shared.unwrap_or(0) {
            self.member(0, 0, false, None);
        }
        for index in 0..self.senders.len() {
            if !self.plan.is_ours(index) {
                continue;
            }
            let room = self.senders[index].room as usize;
            let who = match shared {
                Some(count) => self.members.len() - count + index / self.plan.processes % count,
                None => {
                    let own = Some(index as u32);
                    self.member(room, rooms[room].senders, publishers_listen, own);
                    self.members.len() - 1
                }
            };
            self.senders[index].who = Some(who);
        }
        self.plan.rooms = rooms;
        let listening = self.members.iter().filter(|member| member.own.is_some() && member.listens);
        for member in listening {
            let first = self.first_sender[member.room as usize];
            let count = self.plan.rooms[member.room as usize].senders as u32;
            for sender in (first..first + count).filter(|sender| member.own != Some(*sender)) {
                self.senders[sender as usize].listeners += 1;
            }
        }
        self.own_sequence = vec![0; self.senders.len()];
    }

    fn member(&mut self, room: usize, senders: usize, listens: bool, own: Option<u32>) {
        let (base, position) = (self.expected.len(), Position::default());
        let room = room as u32;
        self.members.push(Member {
            room,
            listens,
            own,
            base,
            ready: false,
            away: false,
            returns: 0,
            position,
            calls: 0,
            answers: 0,
        });
        if listens {
            self.expected.resize(base + senders, 0);
        }
    }

    /// Connections of this process.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.members.len()
    }

    /// Senders of all processes.
    #[must_use]
    pub fn senders(&self) -> usize {
        self.senders.len()
    }

    /// Sends no more of this stretch: what was sent is all of it.
    pub fn stop_here(&mut self) {
        let now = super::clock::now();
        if let (Some(schedule), Some(meter)) = (&mut self.schedule, &mut self.meter) {
            schedule.count = self.next - schedule.first;
            meter.times.open = meter.times.open.min(now);
            meter.times.close = now;
        }
    }

    /// The room that a connection joins by its path.
    #[must_use]
    pub fn room(&self, who: usize) -> u32 {
        self.members[who].room
    }

    /// Connections that only listen, by their numbers.
    #[must_use]
    pub fn subscribers(&self) -> Vec<usize> {
        let member = |who: &usize| self.members[*who].listens && self.members[*who].own.is_none();
        (0..self.members.len()).filter(member).collect()
    }

    /// Is this connection subscribed, and not about to come back?
    #[must_use]
    pub fn is_there(&self, who: usize) -> bool {
        self.members[who].ready && !self.members[who].away
    }

    /// Resets a connection; it is to `come_back`.
    pub fn cut(&mut self, wire: &mut Wire, who: usize) {
        wire.cut(who);
        self.members[who].away = true;
        self.members[who].answers = self.members[who].calls;
    }

    /// Opens a connection that was cut: it recovers what it missed.
    pub fn come_back(&mut self, wire: &mut Wire, who: usize, now: u64) {
        self.members[who].returns = now;
        wire.open(who, None);
    }

    /// Calls the server: an echo, whose answer is judged.
    pub fn call(&mut self, wire: &mut Wire, who: usize) {
        let sequence = self.members[who].calls;
        self.members[who].calls += 1;
        let id = FIRST_ID + sequence as u32;
        wire.command(who, |tongue, out| tongue.echo(out, id, CALLER | who as u32, sequence));
    }

    fn answered(&mut self, wire: &mut Wire, who: usize, data: &[u8]) {
        let member = &mut self.members[who];
        if wire.tongue.read(data) != Some((CALLER | who as u32, member.answers)) {
            let shown = data[..data.len().min(120)].escape_ascii();
            return wire.fail(format!("connection {who} got a wrong answer to an echo: {shown}"));
        }
        member.answers += 1;
        self.answered += 1;
    }

    /// Begins a stretch of an open loop.
    pub fn begin(&mut self, schedule: Schedule, meter: Meter) {
        (self.schedule, self.meter) = (Some(schedule), Some(meter));
        (self.next, self.late) = (schedule.first, 0);
    }

    /// Begins a closed loop with so many messages of a sender under way.
    pub fn begin_closed(&mut self, depth: usize, meter: Meter) {
        self.meter = Some(meter);
        self.depth = depth;
        self.flights = vec![Flight::default(); depth * self.senders.len()];
        let senders = 0..self.senders.len() as u32;
        self.turn = senders.flat_map(|sender| std::iter::repeat_n(sender, depth)).collect();
    }

    /// Sends what is due; when the next message is, or never.
    pub fn pump(&mut self, wire: &mut Wire, now: u64) -> u64 {
        if let Some(meter) = &mut self.meter
            && let Err(why) = meter.tick(now)
        {
            wire.fail(why);
        }
        let Some(schedule) = self.schedule else { return self.pump_closed(wire, now) };
        while self.next < schedule.end() {
            let time = schedule.time(self.next);
            if time > now {
                return time;
            }
            let (sender, sequence) = message(self.next, self.senders.len());
            self.next += 1;
            if self.senders[sender as usize].who.is_some() {
                if self.meter.as_ref().is_some_and(Meter::counts) {
                    self.late = self.late.max(now - time);
                }
                self.send(wire, sender, sequence);
            }
        }
        u64::MAX
    }

    fn pump_closed(&mut self, wire: &mut Wire, now: u64) -> u64 {
        let over = self.meter.as_ref().is_none_or(|meter| now >= meter.times.close);
        let turn = std::mem::take(&mut self.turn);
        for sender in turn.into_iter().filter(|_| !over) {
            let sequence = self.own_sequence[sender as usize];
            self.own_sequence[sender as usize] += 1;
            let missing = self.senders[sender as usize].listeners;
            *self.flight(sender, sequence) = Flight { sent: now, missing };
            self.send(wire, sender, sequence);
        }
        u64::MAX
    }

    fn flight(&mut self, sender: u32, sequence: u64) -> &mut Flight {
        &mut self.flights[sender as usize * self.depth + sequence as usize % self.depth]
    }

    fn send(&mut self, wire: &mut Wire, sender: u32, sequence: u64) {
        let Sender { room, who, .. } = self.senders[sender as usize];
        let Some(who) = who else { return };
        let id = FIRST_ID + (self.published % 8_000_000) as u32;
        let name = &self.plan.rooms[room as usize].name;
        wire.command(who, |tongue, out| tongue.publish(out, id, name, sender, sequence));
        self.published += 1;
        if let Some(meter) = &mut self.meter {
            meter.sent();
        }
    }

    /// Messages of a sender that were sent, or are by now by other processes.
    fn sent_by(&self, sender: usize) -> u64 {
        match self.schedule {
            Some(_) => count_of(self.next, self.senders.len(), sender),
            None => self.own_sequence[sender],
        }
    }

    /// Deliveries that the first `k` messages of all make in this process.
    #[must_use]
    pub fn deliveries_of(&self, k: u64) -> u64 {
        let count = self.senders.len();
        let senders = self.senders.iter().enumerate();
        senders.map(|(index, sender)| count_of(k, count, index) * sender.listeners).sum()
    }

    /// Publishes that were not answered yet.
    #[must_use]
    pub fn unanswered(&self) -> u64 {
        self.published - self.acknowledged
    }

    /// Deliveries and answers that are to come for what was sent.
    #[must_use]
    pub fn missing(&self, acknowledges: bool) -> u64 {
        let senders = self.senders.iter().enumerate();
        let due: u64 = senders.map(|(index, sender)| self.sent_by(index) * sender.listeners).sum();
        let answers = if acknowledges { self.unanswered() } else { 0 };
        let calls: u64 = self.members.iter().map(|member| member.calls - member.answers).sum();
        due.saturating_sub(self.delivered) + answers + calls
    }

    /// Checks once more, member by member, that nothing is missing.
    ///
    /// # Errors
    /// What is.
    pub fn audit(&self) -> Result<(), String> {
        for (who, member) in self.members.iter().enumerate().filter(|(_, member)| member.listens) {
            let first = self.first_sender[member.room as usize];
            let room = &self.plan.rooms[member.room as usize];
            for index in 0..room.senders {
                let sender = first + index as u32;
                let (got, sent) =
                    (self.expected[member.base + index], self.sent_by(sender as usize));
                if member.own != Some(sender) && got != sent {
                    return Err(format!(
                        "connection {who} got {got} of {sent} messages of sender {sender}"
                    ));
                }
            }
        }
        Ok(())
    }

    fn deliver(&mut self, wire: &mut Wire, who: usize, heard: Heard<'_>, now: u64, late: bool) {
        let member = &mut self.members[who];
        let room = &self.plan.rooms[member.room as usize];
        let Some((sender, sequence)) = wire.tongue.read(heard.data) else {
            let shown = &heard.data[..heard.data.len().min(120)];
            let shown = shown.escape_ascii();
            return wire.fail(format!("connection {who} got a damaged message: {shown}"));
        };
        let first = self.first_sender[member.room as usize];
        let index = sender.wrapping_sub(first) as usize;
        let strange = index >= room.senders || !member.listens || member.own == Some(sender);
        if strange || !(heard.channel.is_empty() || heard.channel == room.name.as_bytes()) {
            return wire.fail(format!(
                "connection {who} got message {sequence} of sender {sender}, which is not for it"
            ));
        }
        let expected = &mut self.expected[member.base + index];
        if *expected != sequence {
            let due = *expected;
            return wire.fail(format!(
                "connection {who} got message {sequence} of sender {sender} where {due} was due"
            ));
        }
        *expected += 1;
        member.position.offset = member.position.offset.max(heard.offset);
        self.delivered += 1;
        let time = match &self.schedule {
            Some(schedule) => schedule.time_of(sender, sequence),
            None => self.landed(sender, sequence),
        };
        let Some(meter) = &mut self.meter else { return };
        if late { meter.delivered() } else { meter.arrived(time, now) }
    }

    /// A delivery of a closed loop: when its message was sent.
    fn landed(&mut self, sender: u32, sequence: u64) -> u64 {
        let flight = self.flight(sender, sequence);
        flight.missing -= 1;
        let Flight { sent, missing } = *flight;
        if missing == 0 {
            self.turn.push(sender);
        }
        sent
    }

    fn subscribed(
        &mut self,
        wire: &mut Wire,
        who: usize,
        (recovered, position): (bool, Position),
        missed: &[Heard<'_>],
        now: u64,
    ) {
        if self.members[who].ready {
            if !recovered {
                return wire
                    .fail(format!("connection {who} came back and was told: not recovered"));
            }
            self.resumed += 1;
            self.recovered += missed.len() as u64;
            self.members[who].away = false;
            if let Some(meter) = &mut self.meter
                && self.times_returns
            {
                meter.took(self.members[who].returns, now);
            }
            for heard in missed {
                self.deliver(wire, who, *heard, now, true);
            }
        } else {
            self.members[who].ready = true;
            self.ready += 1;
        }
        let offset = self.members[who].position.offset.max(position.offset);
        self.members[who].position = Position { offset, ..position };
    }
}

impl Handler for Streams {
    fn opened(&mut self, wire: &mut Wire, who: usize, _now: u64) {
        let member = &mut self.members[who];
        // A Socket.IO publisher has to be in the room; another only where it listens.
        let joins = member.listens || (wire.tongue.awaits_greeting() && member.own.is_some());
        if !joins || wire.tongue.joins_by_path() {
            member.ready = true;
            self.ready += 1;
            return;
        }
        let from = member.ready.then_some(&member.position);
        let name = &self.plan.rooms[member.room as usize].name;
        wire.command(who, |tongue, out| tongue.subscribe(out, SETUP_ID, name, from));
        wire.command(who, crate::wire::Tongue::ask_subscribed);
    }

    fn said(&mut self, wire: &mut Wire, who: usize, said: Said<'_>, now: u64) {
        match said {
            Said::Delivered(heard) => self.deliver(wire, who, heard, now, false),
            Said::Answered { data, .. } => self.answered(wire, who, data),
            Said::Published => self.acknowledged += 1,
            Said::Subscribed { recovered, position, missed } => {
                self.subscribed(wire, who, (recovered, position), &missed, now);
            }
            Said::Refused { id, code, message } => {
                wire.fail(format!("connection {who}: command {id} was refused: {code} {message}"))
            }
            _ => {}
        }
    }
}
