//! The scenario `echo`: messages that come back to their sender.
//!
//! Must not know the server. Invariant: every message comes back once, in order, as it was sent.

use super::drive::{Driven, drive, nothing_beside};
use super::fleet::Handler;
use super::meter::{Figures, Meter, Times};
use super::options::{Options, Pace};
use super::schedule::{Schedule, count_of, message};
use super::session;
use super::wire_state::Wire;
use crate::wire::{FIRST_ID, Heard, Said, Shape};
use anyhow::Result;
use std::collections::VecDeque;

#[derive(Clone, Debug, clap::Args, serde::Serialize)]
#[command(after_help = "Examples:
  corecast-bench echo --url ws://127.0.0.1:8000/connection/websocket --rate 20000
  corecast-bench echo --url ws://127.0.0.1:8000/echo --dialect raw --closed --depth 4 --json")]
pub struct Args {
    #[command(flatten)]
    #[serde(skip)]
    options: Options,
    #[command(flatten)]
    #[serde(flatten)]
    pace: Pace,
    #[arg(long, default_value_t = 64)]
    connections: usize,
}

/// What is under way on each connection, and which is next.
struct Echoes {
    connections: usize,
    part: usize,
    processes: usize,
    ready: usize,
    schedule: Option<Schedule>,
    /// Next message of all, by its number.
    next: u64,
    depth: usize,
    meter: Option<Meter>,
    sent: Vec<u64>,
    returned: Vec<u64>,
    /// When each message of a closed loop was sent.
    times: Vec<VecDeque<u64>>,
    turn: Vec<u32>,
    late: u64,
}

impl Echoes {
    /// The connection that sends for a sender, if it is of this process.
    fn who(&self, sender: u32) -> Option<usize> {
        let sender = sender as usize;
        (sender % self.processes == self.part).then_some(sender / self.processes)
    }

    fn send(&mut self, wire: &mut Wire, who: usize, sender: u32, sequence: u64) {
        let id = FIRST_ID + (sequence % 8_000_000) as u32;
        wire.command(who, |tongue, out| tongue.echo(out, id, sender, sequence));
        self.sent[who] = sequence + 1;
        if let Some(meter) = &mut self.meter {
            meter.sent();
        }
    }

    /// Sends what is due; when the next message is.
    fn pump(&mut self, wire: &mut Wire, now: u64) -> u64 {
        let Some(schedule) = self.schedule else { return self.pump_closed(wire, now) };
        while self.next < schedule.end() {
            let time = schedule.time(self.next);
            if time > now {
                return time;
            }
            let (sender, sequence) = message(self.next, self.connections);
            self.next += 1;
            if let Some(who) = self.who(sender) {
                if self.meter.as_ref().is_some_and(Meter::counts) {
                    self.late = self.late.max(now - time);
                }
                self.send(wire, who, sender, sequence);
            }
        }
        u64::MAX
    }

    fn pump_closed(&mut self, wire: &mut Wire, now: u64) -> u64 {
        let over = self.meter.as_ref().is_none_or(|meter| now >= meter.times.close);
        for who in std::mem::take(&mut self.turn).into_iter().filter(|_| !over) {
            let who = who as usize;
            let sender = (who * self.processes + self.part) as u32;
            self.times[who].push_back(now);
            self.send(wire, who, sender, self.sent[who]);
        }
        u64::MAX
    }

    fn returned(&mut self, wire: &mut Wire, who: usize, data: &[u8], now: u64) {
        let own = (who * self.processes + self.part) as u32;
        let due = self.returned[who];
        match wire.tongue.read(data) {
            Some((sender, sequence)) if sender == own && sequence == due => {}
            Some((sender, sequence)) => {
                return wire.fail(format!(
                    "connection {who} got message {sequence} of {sender} where {due} of {own} was due"
                ));
            }
            None => {
                let shown = data[..data.len().min(120)].escape_ascii();
                return wire.fail(format!("connection {who} got a damaged message: {shown}"));
            }
        }
        self.returned[who] += 1;
        let time = match &self.schedule {
            Some(schedule) => schedule.time_of(own, due),
            None => {
                self.turn.push(who as u32);
                self.times[who].pop_front().unwrap_or(now)
            }
        };
        if let Some(meter) = &mut self.meter {
            meter.arrived(time, now);
        }
    }
}

impl Driven for Echoes {
    fn times(&self) -> Option<Times> {
        self.meter.as_ref().map(|meter| meter.times)
    }

    fn send_due(&mut self, wire: &mut Wire, now: u64) -> Result<u64, String> {
        if let Some(meter) = &mut self.meter {
            meter.tick(now)?;
        }
        Ok(self.pump(wire, now))
    }

    fn missing(&self, _wire: &Wire) -> u64 {
        let each = self.sent.iter().zip(&self.returned);
        each.map(|(sent, returned)| sent - returned).sum()
    }

    fn describe(&self, missing: u64) -> String {
        format!("{missing} messages")
    }
}

impl Handler for Echoes {
    fn opened(&mut self, _wire: &mut Wire, _who: usize, _now: u64) {
        self.ready += 1;
    }

    fn said(&mut self, wire: &mut Wire, who: usize, said: Said<'_>, now: u64) {
        match said {
            Said::Answered { data, .. } | Said::Delivered(Heard { data, .. }) => {
                self.returned(wire, who, data, now);
            }
            Said::Refused { id, code, message } => {
                wire.fail(format!("connection {who}: command {id} was refused: {code} {message}"))
            }
            _ => {}
        }
    }
}

/// # Errors
/// When the run could not begin.
pub fn run(args: &Args) -> Result<bool> {
    let options = &args.options;
    options.check(args.connections)?;
    if args.connections == 0 {
        anyhow::bail!("--connections must be at least 1");
    }
    let rate = args.pace.rate(10_000.0)?;
    session::run("echo", options, serde_json::to_value(args)?, rate, || measure(args, rate))
}

fn measure(args: &Args, rate: Option<f64>) -> Result<Figures> {
    let options = &args.options;
    let mine = count_of(args.connections as u64, options.processes, options.part()) as usize;
    let mut echoes = Echoes {
        connections: args.connections,
        part: options.part(),
        processes: options.processes,
        ready: 0,
        schedule: None,
        next: 0,
        depth: args.pace.depth,
        meter: None,
        sent: vec![0; mine],
        returned: vec![0; mine],
        times: vec![VecDeque::new(); mine],
        turn: Vec::new(),
        late: 0,
    };
    let mut fleet = session::fleet(options, options.tongue(Shape::Echo))?;
    session::grow(
        &mut fleet,
        &mut echoes,
        0..mine,
        |e| e.ready,
        |fleet, _, who| {
            fleet.wire.open(who, None);
        },
    );
    if let Some(failure) = fleet.wire.failure.take() {
        anyhow::bail!("{failure}");
    }
    let start = session::start_time(options, &mut fleet, &mut echoes, mine)?;
    echoes.meter = Some(Meter::new(session::times(options, start), session::servers(options)));
    match rate {
        Some(rate) => {
            let schedule = Schedule::new(start, 0, rate, options.seconds(), args.connections);
            echoes.schedule = Some(schedule);
        }
        None => {
            let all = 0..mine as u32;
            echoes.turn = all.flat_map(|who| std::iter::repeat_n(who, echoes.depth)).collect();
        }
    }
    drive(&mut echoes, &mut fleet, nothing_beside);
    let failure = fleet.wire.failure.take();
    let Some(meter) = &echoes.meter else { anyhow::bail!("nothing was sent") };
    let mut figures = meter.figures(failure);
    figures.more.insert("late_us_max".into(), echoes.late as f64 / 1e3);
    figures.more.insert("frame_bytes".into(), fleet.wire.frame_bytes as f64);
    Ok(figures)
}
