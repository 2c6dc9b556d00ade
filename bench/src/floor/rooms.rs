//! The connections of rooms, the messages of a turn, and which bytes each receives.
//!
//! Must not know sockets. Invariant: a turn's messages are sent in the order in which they arrived,
//! as one run of bytes for each receiver, and in a room nobody receives their own.

use super::head::{self, Asked};
use crate::ws;
use std::collections::HashMap;
use std::ops::Range;

enum Phase {
    Head,
    Echo,
    Room(u32),
}

struct Person {
    phase: Phase,
    /// Its place among the members of its room.
    place: u32,
    /// Did it say something in this turn?
    spoke: bool,
    inbox: Vec<u8>,
}

#[derive(Default)]
struct Room {
    members: Vec<u32>,
    /// Frames of this turn.
    said: Vec<u8>,
    /// The sender of each part of them.
    speakers: Vec<(u32, Range<usize>)>,
}

/// The state of a floor program.
#[derive(Default)]
pub struct Rooms {
    people: Vec<Option<Person>>,
    names: HashMap<String, u32>,
    rooms: Vec<Room>,
    /// Rooms in which something was said in this turn.
    loud: Vec<u32>,
    /// Bytes for single people, and what of them is for whom.
    own: Vec<u8>,
    parts: Vec<(u32, Range<usize>)>,
}

impl Rooms {
    pub fn came(&mut self, who: u32) {
        let index = who as usize;
        if self.people.len() <= index {
            self.people.resize_with(index + 1, || None);
        }
        let person = Person { phase: Phase::Head, place: 0, spoke: false, inbox: Vec::new() };
        self.people[index] = Some(person);
    }

    pub fn left(&mut self, who: u32) {
        let Some(person) = self.people[who as usize].take() else { return };
        let Phase::Room(room) = person.phase else { return };
        let members = &mut self.rooms[room as usize].members;
        members.swap_remove(person.place as usize);
        if let Some(moved) = members.get(person.place as usize)
            && let Some(moved) = self.people[*moved as usize].as_mut()
        {
            moved.place = person.place;
        }
    }

    /// Bytes have come; false: the connection is to be ended.
    pub fn received(&mut self, who: u32, bytes: &[u8]) -> bool {
        let Some(person) = self.people[who as usize].as_mut() else { return true };
        if person.inbox.is_empty() {
            let Some(used) = self.consume(who, bytes) else { return false };
            if used < bytes.len()
                && let Some(person) = self.people[who as usize].as_mut()
            {
                person.inbox.extend_from_slice(&bytes[used..]);
            }
            return true;
        }
        let mut inbox = std::mem::take(&mut person.inbox);
        inbox.extend_from_slice(bytes);
        let Some(used) = self.consume(who, &inbox) else { return false };
        inbox.drain(..used);
        if let Some(person) = self.people[who as usize].as_mut()
            && !inbox.is_empty()
        {
            person.inbox = inbox;
        }
        true
    }

    fn consume(&mut self, who: u32, bytes: &[u8]) -> Option<usize> {
        let mut used = 0;
        loop {
            let rest = &bytes[used..];
            let person = self.people[who as usize].as_mut()?;
            if let Phase::Head = person.phase {
                match head::read(rest) {
                    Asked::Incomplete => return Some(used),
                    Asked::Wrong => return None,
                    Asked::Publish { length } => {
                        self.say_to(who, |out| out.extend_from_slice(head::PUBLISHED));
                        used += length;
                        continue;
                    }
                    Asked::Upgrade { path, answer, length } => {
                        self.say_to(who, |out| out.extend_from_slice(answer.as_bytes()));
                        self.enter(who, &path);
                        used += length;
                        continue;
                    }
                }
            }
            let Some(frame) = frame(rest)? else { return Some(used) };
            used += frame.length;
            self.frame(who, &frame)?;
        }
    }

    fn enter(&mut self, who: u32, path: &str) {
        let Some(person) = self.people[who as usize].as_mut() else { return };
        let Some(name) = path.strip_prefix("/room/") else {
            person.phase = Phase::Echo;
            return;
        };
        let count = self.rooms.len() as u32;
        let room = *self.names.entry(name.to_owned()).or_insert(count);
        if room == count {
            self.rooms.push(Room::default());
        }
        let members = &mut self.rooms[room as usize].members;
        (person.phase, person.place) = (Phase::Room(room), members.len() as u32);
        members.push(who);
    }

    fn frame(&mut self, who: u32, frame: &Frame<'_>) -> Option<()> {
        match frame.first & 0x0f {
            ws::CLOSE => return None,
            ws::PING => {
                self.say_to(who, |out| frame.copy(out, 0x80 | ws::PONG));
                return Some(());
            }
            ws::PONG => return Some(()),
            _ => {}
        }
        let person = self.people[who as usize].as_mut()?;
        let Phase::Room(number) = person.phase else {
            self.say_to(who, |out| frame.copy(out, frame.first));
            return Some(());
        };
        person.spoke = true;
        let room = &mut self.rooms[number as usize];
        if room.said.is_empty() {
            self.loud.push(number);
        }
        let start = room.said.len();
        frame.copy(&mut room.said, frame.first);
        room.speakers.push((who, start..room.said.len()));
        Some(())
    }

    /// Pings every `steps`th person, from number `step` on: as many bytes as a gateway's ping, and
    /// as its answer.
    pub fn ping(&mut self, step: u32, steps: u32) {
        for who in (step..self.people.len() as u32).step_by(steps as usize) {
            if self.people[who as usize].as_ref().is_some_and(|it| !matches!(it.phase, Phase::Head))
            {
                self.say_to(who, |out| out.extend_from_slice(&[0x80 | ws::PING, 2, b'{', b'}']));
            }
        }
    }

    /// Appends to what one person gets in this turn.
    fn say_to(&mut self, who: u32, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.own.len();
        write(&mut self.own);
        match self.parts.last_mut() {
            Some((last, part)) if *last == who => part.end = self.own.len(),
            _ => self.parts.push((who, start..self.own.len())),
        }
    }

    /// Ends the turn: calls `send` with everything to be sent, once for each receiver of a room,
    /// and once for each run of messages to be echoed.
    pub fn flush(&mut self, send: impl FnOnce(&mut dyn Iterator<Item = (u32, &[u8])>)) {
        for number in &self.loud {
            let room = &self.rooms[*number as usize];
            // Speakers get what the others said.
            for (index, (who, _)) in room.speakers.iter().enumerate() {
                let Some(person) = self.people[*who as usize].as_mut() else { continue };
                if !std::mem::take(&mut person.spoke) {
                    continue;
                }
                let start = self.own.len();
                for (other, range) in &room.speakers {
                    if other != who {
                        self.own.extend_from_slice(&room.said[range.clone()]);
                    }
                }
                debug_assert!(room.speakers[..index].iter().all(|(other, _)| other != who));
                if self.own.len() > start {
                    self.parts.push((*who, start..self.own.len()));
                }
                person.place |= SPEAKER;
            }
        }
        let (people, rooms, own) = (&self.people, &self.rooms, &self.own);
        let silent = |who: &u32| {
            people[*who as usize].as_ref().is_some_and(|person| person.place & SPEAKER == 0)
        };
        let to_rooms = self.loud.iter().flat_map(|number| {
            let room = &rooms[*number as usize];
            room.members.iter().copied().filter(silent).map(|who| (who, &room.said[..]))
        });
        let to_single = self.parts.iter().map(|(who, part)| (*who, &own[part.clone()]));
        if !self.loud.is_empty() || !self.parts.is_empty() {
            send(&mut to_single.chain(to_rooms));
        }
        for number in self.loud.drain(..) {
            let room = &mut self.rooms[number as usize];
            for (who, _) in room.speakers.drain(..) {
                if let Some(person) = self.people[who as usize].as_mut() {
                    person.place &= !SPEAKER;
                }
            }
            room.said.clear();
        }
        self.own.clear();
        self.parts.clear();
    }
}

/// Marks, within a flush, the entry of a sender.
const SPEAKER: u32 = 1 << 31;

/// A client's frame.
struct Frame<'a> {
    first: u8,
    mask: [u8; 4],
    payload: &'a [u8],
    length: usize,
}

/// The frame at the start of `bytes`; `Some(None)`: it is incomplete; `None`: it is not allowed.
fn frame(bytes: &[u8]) -> Option<Option<Frame<'_>>> {
    let [first, second, rest @ ..] = bytes else { return Some(None) };
    if second & 0x80 == 0 {
        return None;
    }
    let (head, length) = match (second & 0x7f, rest) {
        (126, [high, low, ..]) => (4, usize::from(u16::from_be_bytes([*high, *low]))),
        (126, _) => return Some(None),
        // More than 64 KiB: no run sends that.
        (127, _) => return None,
        (length, _) => (2, usize::from(length)),
    };
    let (Some(mask), Some(payload)) =
        (bytes.get(head..head + 4), bytes.get(head + 4..head + 4 + length))
    else {
        return Some(None);
    };
    let mask = [mask[0], mask[1], mask[2], mask[3]];
    Some(Some(Frame { first: *first, mask, payload, length: head + 4 + length }))
}

impl Frame<'_> {
    /// Appends it as a server sends it.
    fn copy(&self, out: &mut Vec<u8>, first: u8) {
        out.push(first);
        match self.payload.len() {
            length @ 0..=125 => out.push(length as u8),
            length => {
                out.push(126);
                out.extend_from_slice(&(length as u16).to_be_bytes());
            }
        }
        let start = out.len();
        out.extend_from_slice(self.payload);
        ws::unmask(&mut out[start..], self.mask);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(rooms: &mut Rooms, who: u32, path: &str) {
        rooms.came(who);
        assert!(rooms.received(who, &ws::upgrade_request("h", path, "")));
        rooms.flush(|sends| assert_eq!(sends.count(), 1));
    }

    fn say(rooms: &mut Rooms, who: u32, text: &str) {
        let mut bytes = Vec::new();
        ws::encode(&mut bytes, 0x80 | ws::TEXT, [1, 2, 3, 4], text.as_bytes());
        let (head, tail) = bytes.split_at(3);
        assert!(rooms.received(who, head));
        assert!(rooms.received(who, tail));
    }

    fn heard(rooms: &mut Rooms) -> Vec<(u32, String)> {
        let mut all = Vec::new();
        rooms.flush(|sends| {
            all = sends
                .map(|(who, bytes)| {
                    let mut text = String::new();
                    let mut rest = bytes;
                    while let ws::Parsed::Frame { payload, length, .. } = ws::parse(rest) {
                        text += std::str::from_utf8(payload).expect("text");
                        rest = &rest[length..];
                    }
                    (who, text)
                })
                .collect();
        });
        all.sort();
        all
    }

    #[test]
    fn a_publish_by_http_is_answered_when_it_is_whole() {
        let mut rooms = Rooms::default();
        rooms.came(0);
        let request = b"POST /api/publish HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}";
        let (head, tail) = request.split_at(request.len() - 1);
        let mut answers = |bytes: &[u8]| {
            assert!(rooms.received(0, bytes));
            let mut all = Vec::new();
            rooms.flush(|sends| all.extend(sends.map(|(who, bytes)| (who, bytes.to_vec()))));
            all
        };
        assert_eq!(answers(head), []);
        assert_eq!(answers(tail), [(0, head::PUBLISHED.to_vec())]);
        assert_eq!(answers(request), [(0, head::PUBLISHED.to_vec())]);
    }

    #[test]
    fn everybody_hears_the_others_and_echoes_come_back() {
        let mut rooms = Rooms::default();
        for who in 0..4 {
            person(&mut rooms, who, "/room/a");
        }
        person(&mut rooms, 4, "/room/b");
        person(&mut rooms, 5, "/echo");
        for (who, text) in [(0, "x"), (1, "y"), (0, "z"), (4, "n"), (5, "e"), (5, "f")] {
            say(&mut rooms, who, text);
        }
        let owned = |pairs: &[(u32, &str)]| -> Vec<(u32, String)> {
            pairs.iter().map(|(who, text)| (*who, (*text).to_owned())).collect()
        };
        assert_eq!(
            heard(&mut rooms),
            owned(&[(0, "y"), (1, "xz"), (2, "xyz"), (3, "xyz"), (5, "ef")])
        );
        assert!(heard(&mut rooms).is_empty());
        rooms.left(0);
        say(&mut rooms, 3, "w");
        assert_eq!(heard(&mut rooms), owned(&[(1, "w"), (2, "w")]));
        assert!(!rooms.received(1, &[0x81, 0x01, b'x']), "a frame without a mask");
    }
}
