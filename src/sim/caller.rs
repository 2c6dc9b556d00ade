//! A backend that calls the server API over HTTP: it publishes, alone and in batches, lists
//! channels, and disconnects users.
//!
//! It speaks to the server through bytes alone. Invariant: one request is out at a time, and every
//! one is answered with 200, once.

use super::client::Around;
use super::ends::Ends;
use super::errand::{Errand, Step};
use super::ledger::API;
use super::net::LinkId;
use super::plan::Plan;
use super::promise::Promise;
use super::random::Random;
use std::collections::BTreeMap;
use std::io::Write;

/// The key that the host is given for its API.
pub const API_KEY: &str = "sim";

/// What was asked and is not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Publish {
        publication: u32,
    },
    /// Command by command: a publication, or a list of channels.
    Batch {
        publications: Vec<Option<u32>>,
    },
    Disconnect {
        user: usize,
    },
    /// A history is to be forgotten.
    Remove,
    List,
    /// A step of the errand, and what it published.
    Step(Option<u32>),
}

/// Channels with the number of their subscriptions.
pub type List = BTreeMap<String, u64>;

/// Commands of a batch, at most.
const BATCH_MOST: usize = 40;

/// See the module's page.
pub struct Caller {
    pub link: Option<LinkId>,
    pub waiting: Option<Call>,
    /// A disconnect was answered, and its host has not looked yet.
    pub disconnected: bool,
    /// What it does about a user, step by step.
    pub errand: Option<Errand>,
    /// The list of channels that was asked for last.
    pub list: Option<List>,
    /// A step was given up, and may still take effect: what another errand would see is not known.
    errands_over: bool,
    core: usize,
    inbox: Vec<u8>,
    ends: Ends,
    sealing: Random,
    connection: u32,
    sequence: u32,
    random: Random,
}

impl Caller {
    #[must_use]
    pub fn new(random: Random) -> Caller {
        Caller {
            link: None,
            waiting: None,
            disconnected: false,
            list: None,
            errand: None,
            errands_over: false,
            core: 0,
            inbox: Vec::new(),
            ends: Ends::default(),
            sealing: Random::new(0xCA11),
            connection: 0,
            sequence: 0,
            random,
        }
    }

    /// The core that it is connected to.
    #[must_use]
    pub fn core(&self) -> usize {
        self.core
    }

    /// Calls something, unless a call is out. The user that it disconnects, if it does.
    pub fn act(&mut self, around: &mut Around) -> Option<usize> {
        if self.waiting.is_some() {
            return None;
        }
        if self.errand.is_none() && self.link.is_some() && self.random.chance(100) {
            self.leave(around);
        }
        if self.link.is_none() {
            self.connect(around);
        }
        // One at a time, and judged before the next: a slow reader is then in no doubt which
        // subscription it hears the end of.
        let begins =
            self.errand.is_none() && !self.errands_over && around.ledger.promises.is_empty();
        if around.plan.errands && begins && self.random.chance(300) {
            let disconnects = around.plan.disconnects && self.random.chance(400);
            self.errand = Some(Errand::new(self.random.below(around.plan.users), disconnects));
        }
        if self.errand.is_some() {
            return self.go_on(around);
        }
        if around.plan.disconnects && self.random.chance(300) {
            let user = self.random.below(around.plan.users);
            self.request("disconnect", format!("{{\"user\":\"u{user}\"}}").as_bytes(), around);
            self.waiting = Some(Call::Disconnect { user });
            return Some(user);
        }
        if self.random.chance(200) {
            self.batch(around);
            return None;
        }
        if around.plan.has_replicas() && self.random.chance(50) {
            let kept = around.plan.channels.iter().filter(|channel| channel.keeps);
            let name = &self.random.pick(&kept.collect::<Vec<_>>()).name;
            let body = format!("{{\"channel\":\"{name}\"}}");
            self.request("history_remove", body.as_bytes(), around);
            self.waiting = Some(Call::Remove);
            return None;
        }
        let mut body = Vec::new();
        let channel = self.any_channel(around);
        let publication = self.publication(&mut body, channel, around);
        self.request("publish", &body, around);
        self.waiting = Some(Call::Publish { publication });
        None
    }

    /// Asks which channels there are, unless something is out.
    pub fn ask_list(&mut self, around: &mut Around) {
        if self.waiting.is_some() {
            return;
        }
        if self.link.is_none() {
            self.connect(around);
        }
        self.request("channels", b"{}", around);
        self.waiting = Some(Call::List);
    }

    /// Asks for the errand's next step. The user whose connections are looked at for it.
    fn go_on(&mut self, around: &mut Around) -> Option<usize> {
        let Errand { user, step, .. } = *self.errand.as_ref()?;
        let called = around.plan.channels.iter().position(|channel| channel.called)?;
        let name = &around.plan.channels[called].name;
        let whom = format!("{{\"user\":\"u{user}\",\"channel\":\"{name}\"}}");
        let mut publication = None;
        match step {
            Step::Subscribe => self.request("subscribe", whom.as_bytes(), around),
            Step::Unsubscribe => self.request("unsubscribe", whom.as_bytes(), around),
            Step::Disconnect => {
                self.request("disconnect", format!("{{\"user\":\"u{user}\"}}").as_bytes(), around);
            }
            Step::PresenceStats => {
                let body = format!("{{\"channel\":\"{name}\"}}");
                self.request("presence_stats", body.as_bytes(), around);
            }
            Step::Farewell if self.random.chance(500) => {
                publication = Some(self.farewell(called, &whom, around));
            }
            Step::Publish | Step::Farewell | Step::Silence => {
                let mut body = Vec::new();
                let number = self.publication(&mut body, called, around);
                if step == Step::Silence {
                    around.ledger.silence(number);
                }
                self.request("publish", &body, around);
                publication = Some(number);
            }
        }
        self.waiting = Some(Call::Step(publication));
        let step = self.errand.as_ref().map(|errand| errand.step);
        matches!(step, Some(Step::Subscribe | Step::Disconnect)).then_some(user)
    }

    /// Says farewell and ends the errand in one batch, command after command.
    fn farewell(&mut self, channel: usize, whom: &str, around: &mut Around) -> u32 {
        let mut body = b"{\"commands\":[{\"publish\":".to_vec();
        let number = self.publication(&mut body, channel, around);
        let errand = self.errand.as_mut().expect("it is on its way");
        errand.step = errand.next().expect("an errand ends after its farewell");
        let method = if errand.disconnects { "disconnect" } else { "unsubscribe" };
        let whom = if errand.disconnects {
            format!("{{\"user\":\"u{}\"}}", errand.user)
        } else {
            whom.to_owned()
        };
        body.extend_from_slice(format!("}},{{\"{method}\":{whom}}}]}}").as_bytes());
        let seats = errand.seats.clone();
        if !around.plan.lossy {
            around.ledger.promises.push(Promise::Heard { number, seats });
        }
        self.request("batch", &body, around);
        number
    }

    /// The errand's step was answered well.
    fn stepped(&mut self, publication: Option<u32>, text: &str, around: &mut Around) {
        let Some(mut errand) = self.errand.take() else { return };
        if let Some(number) = publication {
            around.ledger.acknowledged(number);
        }
        let seats = errand.seats.clone();
        match (errand.step, publication) {
            (Step::Publish | Step::Farewell, Some(number)) if !around.plan.lossy => {
                around.ledger.promises.push(Promise::Heard { number, seats });
            }
            (Step::PresenceStats, _) => {
                let clients = text.split("\"num_clients\":").nth(1).unwrap_or_default();
                let digits = clients.split(|letter: char| !letter.is_ascii_digit()).next();
                let clients = digits.and_then(|digits| digits.parse().ok()).unwrap_or(0);
                around.ledger.promises.push(Promise::Present { clients, seats });
            }
            (Step::Disconnect, _) => {
                self.disconnected = true;
                around.ledger.promises.push(Promise::Over { seats });
            }
            (Step::Unsubscribe, _) => around.ledger.promises.push(Promise::Over { seats }),
            _ => {}
        }
        if let Some(step) = errand.next() {
            errand.step = step;
            self.errand = Some(errand);
        }
    }

    /// Appends the body of a publish.
    fn publication(&mut self, body: &mut Vec<u8>, channel: usize, around: &mut Around) -> u32 {
        self.sequence += 1;
        let from = (API, self.connection, self.sequence);
        let publication = around.ledger.publish(from, self.core as u16, channel, 10);
        let name = &around.plan.channels[channel].name;
        body.extend_from_slice(format!("{{\"channel\":\"{name}\",").as_bytes());
        around.ledger.put_tags(publication, body);
        body.extend_from_slice(b"\"data\":");
        around.ledger.payload(publication, body);
        body.push(b'}');
        publication
    }

    /// Calls several things at once, one after the other or as soon as may be.
    fn batch(&mut self, around: &mut Around) {
        let parallel = self.random.chance(500);
        let mut body = format!("{{\"parallel\":{parallel},\"commands\":[").into_bytes();
        let mut publications = Vec::new();
        for command in 0..self.random.between(1, BATCH_MOST) {
            if command > 0 {
                body.push(b',');
            }
            if self.random.chance(150) {
                body.extend_from_slice(b"{\"channels\":{}}");
                publications.push(None);
                continue;
            }
            body.extend_from_slice(b"{\"publish\":");
            let channel = self.any_channel(around);
            publications.push(Some(self.publication(&mut body, channel, around)));
            body.push(b'}');
        }
        body.extend_from_slice(b"]}");
        self.request("batch", &body, around);
        self.waiting = Some(Call::Batch { publications });
    }

    /// A channel that is no errand's.
    fn any_channel(&mut self, around: &Around) -> usize {
        let channels = &around.plan.channels;
        self.random.below(channels.iter().filter(|channel| !channel.called).count())
    }

    fn connect(&mut self, around: &mut Around) {
        self.core = self.random.below(around.plan.cores());
        let record = around.plan.record.filter(|_| self.sealing.chance(500));
        let link = around.net.connect(self.core, 1 << 16, u8::from(record.is_some()));
        self.link = Some(link);
        self.connection += 1;
        self.ends = Ends::default();
        if let Some(bytes) = record {
            self.ends = Ends::sealed(bytes, false, &mut self.sealing);
            around.net.write(link, &self.ends.begin());
        }
        self.inbox.clear();
    }

    /// Goes away; what is out stays unanswered.
    pub fn leave(&mut self, around: &mut Around) {
        if let Some(link) = self.link.take() {
            around.net.leave(link, self.random.chance(500));
        }
        self.waiting = None;
        // A session wears out amid an errand as well, whose subscription then stays.
        self.errands_over |= self.errand.take().is_some();
    }

    fn request(&mut self, method: &str, body: &[u8], around: &mut Around) {
        let Some(link) = self.link else { return };
        let mut plain = Vec::with_capacity(200 + body.len());
        let length = body.len();
        let _ = write!(
            plain,
            "POST /api/{method} HTTP/1.1\r\nHost: sim\r\nX-API-Key: {API_KEY}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        plain.extend_from_slice(body);
        around.net.write(link, &self.ends.send(&plain));
    }

    /// Reads the answer, if it has come.
    pub fn read(&mut self, around: &mut Around) {
        let Some(link) = self.link else { return };
        let (mut wire, mut back) = (Vec::new(), Vec::new());
        around.net.read(link, usize::MAX, &mut wire);
        if self.ends.take(&wire, &mut self.inbox, &mut back).is_err() {
            around.ledger.violation("stream_corrupt", || "the API's".to_owned());
        }
        around.net.write(link, &back);
        if let Some(length) = whole_response(&self.inbox) {
            let text = String::from_utf8_lossy(&self.inbox[..length]).into_owned();
            self.inbox.drain(..length);
            self.answered(&text, around);
        }
        if around.net.at_end(link) {
            self.leave(around);
        }
    }

    /// Did a step take too long? What a user's connection is to do waits for its connect, and the
    /// end of a subscription for what its channel asked before; both may wait for the engine as
    /// long as the call itself may take. After that it is answered with an error that passes, as
    /// is promised. What was published in the same batch went before.
    fn is_given_up(&self, publication: Option<u32>, text: &str, plan: &Plan) -> bool {
        let step = self.errand.as_ref().map(|errand| errand.step);
        let waits = matches!(
            step,
            Some(Step::Subscribe | Step::PresenceStats | Step::Unsubscribe | Step::Disconnect)
        );
        let is_published = publication.is_none() || text.contains("\"publish\":{");
        let is_late = plan.fails() && text.contains("\"code\":100,");
        waits && is_published && is_late
    }

    fn answered(&mut self, text: &str, around: &mut Around) {
        let good = text.starts_with("HTTP/1.1 200 ") && !text.contains("\"error\"");
        match self.waiting.take() {
            Some(Call::Publish { publication }) if good => around.ledger.acknowledged(publication),
            Some(Call::Publish { publication }) if has_failed(text, publication, around) => {
                around.ledger.failed(publication);
            }
            Some(Call::Batch { publications }) => batch_answered(text, &publications, around),
            Some(Call::Disconnect { .. }) if good => self.disconnected = true,
            Some(Call::Remove) if good => {}
            Some(Call::List) if good => self.list = Some(list_of(text)),
            // The engine may keep them waiting for longer than a call may take.
            Some(Call::Remove | Call::Disconnect { .. })
                if around.plan.fails() && text.contains("\"code\":100,") => {}
            Some(Call::Step(publication)) if good => self.stepped(publication, text, around),
            Some(Call::Step(publication)) if self.is_given_up(publication, text, around.plan) => {
                (self.errand, self.errands_over) = (None, true);
                publication.into_iter().for_each(|number| around.ledger.acknowledged(number));
            }
            // While the host stops, it says so.
            _ if around.plan.shutdown => {}
            call => {
                let step = self.errand.as_ref().map(|errand| errand.step);
                let what = || format!("{call:?} at {step:?}: {text}");
                around.ledger.violation("api_refused", what);
            }
        }
    }
}

/// Did a publish come to nothing, as it may where the engine's calls fail?
fn has_failed(answer: &str, publication: u32, around: &Around) -> bool {
    let channel = around.ledger.publications[publication as usize].channel;
    let plan = around.plan;
    plan.fails() && plan.channels[usize::from(channel)].keeps && answer.contains("\"code\":100,")
}

/// Each command of a batch is answered in its place; refused only while the host stops.
fn batch_answered(text: &str, publications: &[Option<u32>], around: &mut Around) {
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let answer: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let replies = answer["replies"].as_array().map_or(&[] as &[_], Vec::as_slice);
    let mut wrong = replies.len() != publications.len();
    for (reply, publication) in replies.iter().zip(publications) {
        let known = |name: &str| reply.get(name).is_some();
        match publication {
            Some(publication) if known("publish") => around.ledger.acknowledged(*publication),
            Some(publication) if has_failed(&reply.to_string(), *publication, around) => {
                around.ledger.failed(*publication);
            }
            None if reply["channels"]["channels"].is_object() => {}
            _ => wrong |= !(known("error") && around.plan.shutdown),
        }
    }
    if wrong {
        around.ledger.violation("batch_misanswered", || format!("{publications:?}: {text}"));
    }
}

/// The list of an answer.
fn list_of(answer: &str) -> List {
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let answer: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let channels = answer["result"]["channels"].as_object();
    let count = |info: &serde_json::Value| info["num_clients"].as_u64().unwrap_or(0);
    channels.into_iter().flatten().map(|(name, info)| (name.clone(), count(info))).collect()
}

/// The length of the response at the start, once it is whole.
fn whole_response(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).ok()?.to_ascii_lowercase();
    let value = text.split("content-length:").nth(1)?.split("\r\n").next()?;
    let length: usize = value.trim().parse().ok()?;
    (bytes.len() >= head + length).then_some(head + length)
}
