//! A client's end of a connection: what it was sent, read with code of its own, and judged.
//!
//! Must not know edges or homes. Invariants that it holds a server to: responses and frames are
//! well-formed, nothing follows a close frame, no reply comes twice or unasked, and a subscription
//! of a channel with history gets every offset once, in order.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What is published where: by channel, epoch and offset.
pub type Ledger = BTreeMap<(String, String, u64), Value>;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Http,
    /// A WebSocket; its messages are JSON, or not looked into.
    WebSocket {
        json: bool,
    },
    /// It got a close frame.
    Closed,
}

/// Where a subscription stands.
#[derive(Clone, Debug)]
struct Place {
    epoch: String,
    offset: u64,
    /// Offsets are promised.
    keeps: bool,
    /// Publications come as deltas: their text is not what was published.
    delta: bool,
}

#[derive(Debug)]
pub struct Client {
    pub stage: Stage,
    /// What it said when it asked for the upgrade.
    pub offers_json: bool,
    /// It sent what is no sensible client's, so answers to what it did not ask may come.
    pub wild: bool,
    wire: Vec<u8>,
    /// Ids that wait for a reply.
    pub asked: BTreeSet<u32>,
    /// Channels of subscribes, and whether they filter, by id.
    subscribes: BTreeMap<u32, (String, bool)>,
    places: BTreeMap<String, Place>,
    /// Channels in which it may miss what it did itself.
    unjudged: BTreeSet<String>,
}

impl Default for Client {
    fn default() -> Self {
        Client {
            stage: Stage::Http,
            offers_json: true,
            wild: false,
            wire: Vec::new(),
            asked: BTreeSet::new(),
            subscribes: BTreeMap::new(),
            places: BTreeMap::new(),
            unjudged: BTreeSet::new(),
        }
    }
}

impl Client {
    /// Notes a command that is sent.
    pub fn asks(&mut self, id: u32) {
        self.asked.insert(id);
    }

    /// Notes a subscribe that is sent.
    pub fn subscribes(&mut self, id: u32, channel: &str, filters: bool) {
        self.asks(id);
        self.subscribes.insert(id, (channel.to_owned(), filters));
    }

    /// Where it stands in a channel: epoch and offset.
    pub fn place(&self, channel: &str) -> Option<(&str, u64)> {
        self.places.get(channel).map(|place| (place.epoch.as_str(), place.offset))
    }

    /// Takes bytes that the server sent.
    pub fn receive(&mut self, bytes: &[u8], ledger: &mut Ledger) {
        self.wire.extend_from_slice(bytes);
        while self.step(ledger) {}
    }

    fn step(&mut self, ledger: &mut Ledger) -> bool {
        match self.stage {
            Stage::Http => self.response(),
            Stage::WebSocket { json } => self.frame(json, ledger),
            Stage::Closed => {
                assert!(self.wire.is_empty(), "behind a close frame: {:?}", self.wire);
                false
            }
        }
    }

    fn response(&mut self) -> bool {
        let mut lines = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut lines);
        let parsed = response
            .parse(&self.wire)
            .unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(&self.wire)));
        let httparse::Status::Complete(head) = parsed else { return false };
        let status = response.code.expect("it is complete");
        let named =
            |name: &str| response.headers.iter().find(|line| line.name.eq_ignore_ascii_case(name));
        let length = named("Content-Length").map_or(0, |line| {
            std::str::from_utf8(line.value).expect("text").parse::<usize>().expect("a number")
        });
        if self.wire.len() < head + length {
            return false;
        }
        if status == 101 {
            assert_eq!(length, 0, "an upgrade has no body");
            self.stage = Stage::WebSocket { json: self.offers_json };
        }
        self.wire.drain(..head + length);
        true
    }

    fn frame(&mut self, json: bool, ledger: &mut Ledger) -> bool {
        let [first, second, ..] = self.wire[..] else { return false };
        assert_eq!(second & 0x80, 0, "a server masks nothing");
        assert_eq!(first & 0x70, 0, "no extension was agreed on");
        assert_eq!(first & 0x80, 0x80, "messages are whole");
        let (head, length) = match second {
            126 if self.wire.len() < 4 => return false,
            126 => (4, usize::from(u16::from_be_bytes([self.wire[2], self.wire[3]]))),
            127 if self.wire.len() < 10 => return false,
            127 => {
                let length = u64::from_be_bytes(self.wire[2..10].try_into().expect("eight"));
                (10, usize::try_from(length).expect("a length that memory has"))
            }
            short => (2, usize::from(short)),
        };
        if self.wire.len() < head + length {
            return false;
        }
        let payload: Vec<u8> = self.wire.drain(..head + length).skip(head).collect();
        match first & 0x0f {
            0x1 if json => self.text(&payload, ledger),
            0x1 | 0x2 | 0xa => {}
            0x8 => {
                assert!(length >= 2, "a close says why");
                assert!(std::str::from_utf8(&payload[2..]).is_ok());
                self.stage = Stage::Closed;
            }
            opcode => panic!("opcode {opcode}"),
        }
        true
    }

    fn text(&mut self, text: &[u8], ledger: &mut Ledger) {
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let reply: Value = serde_json::from_slice(line).expect("a reply is JSON");
            if let Some(push) = reply.get("push") {
                self.push(push, ledger);
            } else if let Some(id) = reply.get("id").and_then(Value::as_u64) {
                self.reply(u32::try_from(id).expect("a small id"), &reply, ledger);
            } else {
                assert_eq!(reply, serde_json::json!({}), "a ping");
            }
        }
    }

    fn reply(&mut self, id: u32, reply: &Value, ledger: &mut Ledger) {
        assert!(self.asked.remove(&id) || self.wild, "a reply nobody waits for: {reply}");
        let subs = reply["connect"]["subs"].as_object().into_iter().flatten();
        for (channel, result) in subs {
            self.subscribed(channel.clone(), false, result, ledger);
        }
        let asked = self.subscribes.remove(&id);
        if let (Some((channel, filters)), Some(result)) = (asked, reply.get("subscribe")) {
            self.subscribed(channel, filters, result, ledger);
        }
    }

    fn subscribed(&mut self, channel: String, filters: bool, result: &Value, ledger: &mut Ledger) {
        let text = |name: &str| result[name].as_str().unwrap_or_default().to_owned();
        let kept = ["recoverable", "positioned"].iter().any(|name| result[*name] == true);
        let judged = !filters && !self.unjudged.contains(&channel);
        let (keeps, delta) = (kept && judged, result["delta"] == true);
        let (epoch, from) = (text("epoch"), offset(result));
        let recovered = result["publications"].as_array().cloned().unwrap_or_default();
        assert!(recovered.is_empty() || result["recovered"] == true, "a part is never sent");
        let mut place = Place { epoch, offset: from, keeps, delta };
        // The reply says where it began, so a part left out is a hole, here or at the next that is
        // live (rule 16).
        for publication in &recovered {
            place.take(&channel, publication, ledger);
        }
        self.places.insert(channel, place);
    }

    fn push(&mut self, push: &Value, ledger: &mut Ledger) {
        let channel = push["channel"].as_str().unwrap_or_default();
        if let Some(publication) = push.get("pub") {
            let place = self.places.get_mut(channel);
            assert!(place.is_some() || self.wild, "a publication of {channel:?} to nobody");
            if let Some(place) = place {
                place.take(channel, publication, ledger);
            }
        } else if let Some(result) = push.get("subscribe") {
            self.subscribed(channel.to_owned(), false, result, ledger);
        } else if push.get("unsubscribe").is_some() {
            self.places.remove(channel);
        }
    }

    /// A command is sent after which it does not hear everything: the channel is judged no more.
    pub fn forgets(&mut self, channel: &str) {
        self.unjudged.insert(channel.to_owned());
        if let Some(place) = self.places.get_mut(channel) {
            place.keeps = false;
        }
    }
}

fn offset(publication: &Value) -> u64 {
    publication["offset"].as_u64().unwrap_or(0)
}

impl Place {
    fn take(&mut self, channel: &str, publication: &Value, ledger: &mut Ledger) {
        let offset = offset(publication);
        if !self.keeps {
            return;
        }
        assert_eq!(offset, self.offset + 1, "{channel}: behind {} came {offset}", self.offset);
        self.offset = offset;
        if self.delta {
            return;
        }
        let data = publication["data"].clone();
        let known = ledger.entry((channel.to_owned(), self.epoch.clone(), offset));
        let known = known.or_insert_with(|| data.clone());
        assert_eq!(*known, data, "{channel}: two publications with offset {offset}");
    }
}
