//! The scenario `http`: publish calls of the server API, over kept connections.
//!
//! Must not know the server. Invariants: every call is answered once, with a result; for each
//! connection one publication has reached a subscriber, which is gone before the window, so that
//! the CPU is only that of the calls.

use super::clock::{self, SECOND};
use super::drive::{Driven, drive, nothing_beside};
use super::fleet::Handler;
use super::meter::{Figures, Meter, Times};
use super::options::{Options, Pace};
use super::schedule::Schedule;
use super::session;
use super::wire_state::Wire;
use crate::wire::stamp::Stamps;
use crate::wire::{Dialect, LEAST_PAYLOAD, SETUP_ID, Said, Shape, payload, stamp};
use anyhow::{Result, bail};
use std::collections::{HashSet, VecDeque};

#[derive(Clone, Debug, clap::Args, serde::Serialize)]
#[command(after_help = "Example:
  corecast-bench http --url ws://127.0.0.1:8000/ --api-url http://127.0.0.1:8000/api/publish \\
      --closed")]
pub struct Args {
    #[command(flatten)]
    #[serde(skip)]
    options: Options,
    #[command(flatten)]
    #[serde(flatten)]
    pace: Pace,
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Where to publish; if it is not given, /api/publish of the server of --url.
    #[arg(long)]
    api_url: Option<String>,
    /// Sent as X-API-Key.
    #[arg(long)]
    #[serde(skip)]
    api_key: Option<String>,
    #[arg(long, default_value = "plain:http")]
    channel: String,
}

/// Calls: one under way on each connection, the others wait for a free one.
struct Calls {
    head: String,
    stamps: Stamps,
    channel: String,
    free: Vec<u32>,
    /// When the call under way on a connection was to be sent.
    intended: Vec<u64>,
    waiting: VecDeque<u64>,
    next: u64,
    answered: u64,
    sent: u64,
    schedule: Option<Schedule>,
    meter: Meter,
    /// The subscriber is there.
    listening: bool,
    /// Publications that it has not heard of yet: connection and sequence.
    unheard: HashSet<(u32, u64)>,
}

impl Calls {
    fn pump(&mut self, wire: &mut Wire, now: u64) -> u64 {
        let mut due = u64::MAX;
        match self.schedule {
            Some(schedule) => {
                while self.next < schedule.end() {
                    let time = schedule.time(self.next);
                    if time > now {
                        due = time;
                        break;
                    }
                    self.next += 1;
                    self.waiting.push_back(time);
                }
            }
            None if now < self.meter.times.close => {
                self.waiting.extend(std::iter::repeat_n(now, self.free.len()));
            }
            None => {}
        }
        while let (Some(time), Some(who)) = (self.waiting.front(), self.free.last()) {
            let (time, who) = (*time, *who as usize);
            self.waiting.pop_front();
            self.free.pop();
            self.intended[who] = time;
            self.send(wire, who);
        }
        due
    }

    fn send(&mut self, wire: &mut Wire, who: usize) {
        let mut body = format!("{{\"channel\":\"{}\",\"data\":", self.channel).into_bytes();
        payload(&mut body, |out| self.stamps.write(out, who as u32, self.sent));
        body.push(b'}');
        let mut request = format!("{}{}\r\n\r\n", self.head, body.len()).into_bytes();
        request.extend_from_slice(&body);
        wire.call(who, &request);
        self.sent += 1;
        self.meter.sent();
    }
}

impl Driven for Calls {
    fn times(&self) -> Option<Times> {
        Some(self.meter.times)
    }

    fn send_due(&mut self, wire: &mut Wire, now: u64) -> Result<u64, String> {
        self.meter.tick(now)?;
        Ok(self.pump(wire, now))
    }

    fn missing(&self, _wire: &Wire) -> u64 {
        self.sent - self.answered + self.waiting.len() as u64
    }

    fn describe(&self, missing: u64) -> String {
        format!("answers to {missing} calls")
    }
}

impl Handler for Calls {
    fn opened(&mut self, wire: &mut Wire, who: usize, _now: u64) {
        let channel = &self.channel;
        wire.command(who, |tongue, out| tongue.subscribe(out, SETUP_ID, channel, None));
    }

    fn said(&mut self, wire: &mut Wire, who: usize, said: Said<'_>, now: u64) {
        let (status, data) = match said {
            Said::Answered { id, data } => (id, data),
            Said::Subscribed { .. } => {
                self.listening = true;
                return;
            }
            Said::Delivered(heard) => {
                let known = wire.tongue.read(heard.data);
                if !known.is_some_and(|stamp| self.unheard.remove(&stamp)) {
                    wire.fail(format!("a publication that was not made, or twice: {known:?}"));
                }
                return;
            }
            Said::Refused { code, message, .. } => {
                return wire.fail(format!("the subscriber was refused: {code} {message}"));
            }
            _ => return,
        };
        if status != 200 || !data.starts_with(b"{\"result\":") {
            let shown = data[..data.len().min(120)].escape_ascii();
            return wire.fail(format!("a publish was answered with status {status}: {shown}"));
        }
        self.answered += 1;
        self.meter.arrived(self.intended[who], now);
        self.free.push(who as u32);
    }
}

/// # Errors
/// When the run could not begin.
pub fn run(args: &Args) -> Result<bool> {
    args.options.check(args.connections)?;
    if args.options.processes > 1 || args.connections == 0 {
        bail!("http works in one process, with at least one connection");
    }
    let rate = args.pace.rate(5_000.0)?;
    let own = serde_json::to_value(args)?;
    session::run("http", &args.options, own, rate, || measure(args, rate))
}

/// Address and path of the API.
fn api(args: &Args) -> Result<crate::net::Target> {
    let Some(url) = &args.api_url else {
        return Ok(crate::net::Target { path: "/api/publish".into(), ..args.options.url.clone() });
    };
    let Some(rest) = url.strip_prefix("http://") else {
        bail!("{url} does not start with http://")
    };
    let mut target: crate::net::Target =
        format!("ws://{rest}").parse().map_err(|why| anyhow::anyhow!("{why}"))?;
    // The API's root is meant.
    if matches!(target.path.as_str(), "/" | "/api" | "/api/") {
        target.path = "/api/publish".into();
    }
    Ok(target)
}

fn measure(args: &Args, rate: Option<f64>) -> Result<Figures> {
    let options = &args.options;
    let target = api(args)?;
    let key = args.api_key.as_ref().map(|key| format!("X-API-Key: {key}\r\n")).unwrap_or_default();
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n{key}Content-Length: ",
        target.path, target.address
    );
    let mut fleet = session::fleet(options, options.tongue(Shape::Echo))?;
    let seconds = options.seconds();
    let meter = |start| Meter::new(session::times(options, start), session::servers(options));
    let mut calls = Calls {
        head,
        stamps: Stamps::new(options.payload_bytes - LEAST_PAYLOAD + stamp::HEAD),
        channel: args.channel.clone(),
        free: (0..args.connections as u32).collect(),
        intended: vec![0; args.connections],
        waiting: VecDeque::new(),
        next: 0,
        answered: 0,
        sent: 0,
        schedule: None,
        // Never, until the publications of the proof are through.
        meter: meter(u64::MAX / 2),
        listening: false,
        unheard: HashSet::new(),
    };
    // Plain servers have no subscribers of an API.
    let listener = (options.dialect != Dialect::Raw).then_some(args.connections);
    if let Some(listener) = listener {
        fleet.wire.open(listener, None);
        session::until(&mut fleet, &mut calls, "a subscriber", |calls| calls.listening)?;
    }
    fleet.wire.target = target;
    (0..args.connections).for_each(|who| fleet.wire.open_http(who));
    if let Some(listener) = listener {
        for who in std::mem::take(&mut calls.free) {
            calls.unheard.insert((who, calls.sent));
            calls.send(&mut fleet.wire, who as usize);
        }
        session::until(&mut fleet, &mut calls, "a publication by HTTP", |calls| {
            calls.unheard.is_empty() && calls.answered == calls.sent
        })?;
        fleet.wire.cut(listener);
    }
    let start = clock::now() + SECOND / 20;
    calls.schedule = rate.map(|rate| Schedule::new(start, 0, rate, seconds, 1));
    calls.meter = meter(start);
    drive(&mut calls, &mut fleet, nothing_beside);
    Ok(calls.meter.figures(fleet.wire.failure.take()))
}
