//! The scenario `hop`: the cost of a publication that passes another core.
//!
//! One connection publishes alternately to two channels that it is subscribed to: one at home on
//! the connection's own worker, one on another. Half the difference is a hop. Must not know the
//! server except for the rpc `where`. Invariant: every publication comes back once, in order, as
//! sent.

use super::drive::{Driven, drive, nothing_beside};
use super::fleet::Handler;
use super::meter::{Figures, Meter, Times};
use super::options::{Options, Pace};
use super::schedule::Schedule;
use super::session;
use super::wire_state::Wire;
use crate::protocol::{self, Place};
use crate::wire::{Dialect, FIRST_ID, SETUP_ID, Said};
use anyhow::{Result, bail};

/// Channels tried for one on each kind of worker.
const TRIED: u32 = 64;
const LOCAL: usize = 0;
const REMOTE: usize = 1;

#[derive(Clone, Debug, clap::Args, serde::Serialize)]
#[command(
    after_help = "Examples: a server of two workers or more, in development mode (rpc where);
whether they spin is the server's configuration (spin_us)
  corecast-bench hop --url ws://127.0.0.1:8000/connection/websocket --closed
  corecast-bench hop --url ws://127.0.0.1:8000/connection/websocket --rate 200"
)]
pub struct Args {
    #[command(flatten)]
    #[serde(skip)]
    options: Options,
    #[command(flatten)]
    #[serde(flatten)]
    pace: Pace,
    #[arg(long, default_value = "plain:hop")]
    channel: String,
    /// The core of each worker, in their order: this program then runs on that of its connection's
    /// worker, so that the other worker's core is idle until the hop.
    #[arg(long, value_delimiter = ',', conflicts_with = "cpu")]
    worker_cpus: Vec<usize>,
}

struct Hops {
    channel: String,
    open: bool,
    places: Vec<Option<Place>>,
    subscribed: usize,
    /// The channels, once chosen: at home here, and elsewhere.
    names: [String; 2],
    schedule: Option<Schedule>,
    next: u64,
    sent: [u64; 2],
    returned: [u64; 2],
    sent_at: u64,
    meters: Option<[Meter; 2]>,
}

impl Hops {
    fn name(&self, number: usize) -> String {
        format!("{}-{number:02}", self.channel)
    }

    /// Sends what is due, one at a time; when the next is.
    fn pump(&mut self, wire: &mut Wire, now: u64) -> u64 {
        let Some(close) = self.meters.as_ref().map(|meters| meters[LOCAL].times.close) else {
            return u64::MAX;
        };
        let time = self.schedule.map_or(now, |schedule| schedule.time(self.next));
        let over = self.schedule.map_or(now >= close, |schedule| self.next >= schedule.end());
        if over || self.sent != self.returned {
            return u64::MAX;
        }
        if time > now {
            return time;
        }
        let which = (self.next % 2) as usize;
        let (id, sequence) = (FIRST_ID + (self.next % 8_000_000) as u32, self.sent[which]);
        let name = &self.names[which];
        wire.command(0, |tongue, out| tongue.publish(out, id, name, which as u32, sequence));
        self.sent_at = now;
        self.sent[which] += 1;
        self.next += 1;
        if let Some(meters) = &mut self.meters {
            meters[which].sent();
        }
        u64::MAX
    }
}

impl Driven for Hops {
    fn times(&self) -> Option<Times> {
        self.meters.as_ref().map(|meters| meters[LOCAL].times)
    }

    fn send_due(&mut self, wire: &mut Wire, now: u64) -> Result<u64, String> {
        for meter in self.meters.iter_mut().flatten() {
            meter.tick(now)?;
        }
        Ok(self.pump(wire, now))
    }

    fn missing(&self, _wire: &Wire) -> u64 {
        let each = self.sent.iter().zip(&self.returned);
        each.map(|(sent, returned)| sent - returned).sum()
    }

    fn describe(&self, _missing: u64) -> String {
        "a publication".into()
    }
}

impl Handler for Hops {
    fn opened(&mut self, wire: &mut Wire, who: usize, _now: u64) {
        self.open = true;
        for number in 0..TRIED {
            let name = self.name(number as usize);
            let mut text = String::new();
            protocol::where_is(&mut text, FIRST_ID + number, &name);
            wire.command(who, |_, out| out.extend_from_slice(text.as_bytes()));
        }
    }

    fn said(&mut self, wire: &mut Wire, _who: usize, said: Said<'_>, now: u64) {
        match said {
            Said::Answered { id, data } => match serde_json::from_slice(data) {
                Ok(place) => {
                    self.places[id.wrapping_sub(FIRST_ID) as usize % TRIED as usize] = Some(place)
                }
                Err(error) => wire.fail(format!("the answer of rpc where: {error}")),
            },
            Said::Subscribed { .. } => self.subscribed += 1,
            Said::Delivered(heard) => {
                let which = self.next.wrapping_sub(1) as usize % 2;
                let due = (which as u32, self.returned[which]);
                let name = self.names[which].as_bytes();
                if wire.tongue.read(heard.data) != Some(due) || heard.channel != name {
                    return wire.fail(format!("message {} came back wrong", due.1));
                }
                self.returned[which] += 1;
                if let Some(meters) = &mut self.meters {
                    meters[which].arrived(self.sent_at, now);
                }
            }
            Said::Refused { code, message, .. } => {
                wire.fail(format!("a command was refused: {code} {message}"));
            }
            _ => {}
        }
    }
}

/// # Errors
/// When the run could not begin.
pub fn run(args: &Args) -> Result<bool> {
    let options = &args.options;
    options.check(1)?;
    if options.dialect != Dialect::CentrifugeJson || options.processes > 1 {
        bail!("hop works in one process and in centrifuge-json");
    }
    let rate = args.pace.rate(500.0)?;
    session::run("hop", options, serde_json::to_value(args)?, rate, || measure(args, rate))
}

fn measure(args: &Args, rate: Option<f64>) -> Result<Figures> {
    let options = &args.options;
    let tongue = options.tongue(options.pushes(&format!("{}-00", args.channel)));
    let mut fleet = session::fleet(options, tongue)?;
    let mut hops = Hops {
        channel: args.channel.clone(),
        open: false,
        places: vec![None; TRIED as usize],
        subscribed: 0,
        names: Default::default(),
        schedule: None,
        next: 0,
        sent: [0; 2],
        returned: [0; 2],
        sent_at: 0,
        meters: None,
    };
    fleet.wire.open(0, None);
    session::until(&mut fleet, &mut hops, "the set-up", |hops| {
        hops.places.iter().all(Option::is_some)
    })?;
    choose(&mut hops)?;
    if !args.worker_cpus.is_empty() {
        let worker = hops.places.iter().flatten().next().map_or(0, |place| place.worker as usize);
        let Some(cpu) = args.worker_cpus.get(worker) else {
            bail!("--worker-cpus has no core for worker {worker}");
        };
        session::pin(Some(*cpu))?;
    }
    for which in [LOCAL, REMOTE] {
        let name = hops.names[which].clone();
        fleet.wire.command(0, |tongue, out| tongue.subscribe(out, SETUP_ID, &name, None));
    }
    session::until(&mut fleet, &mut hops, "the set-up", |hops| hops.subscribed == 2)?;
    let start = session::start_time(options, &mut fleet, &mut hops, 1)?;
    let times = session::times(options, start);
    let meter = || Meter::new(times, session::servers(options));
    hops.meters = Some([meter(), meter()]);
    hops.schedule = rate.map(|rate| Schedule::new(start, 0, rate, options.seconds(), 1));
    drive(&mut hops, &mut fleet, nothing_beside);
    let failure = fleet.wire.failure.take();
    let Some([local, remote]) = &hops.meters else { bail!("nothing was sent") };
    let mut figures = remote.figures(failure);
    let (here, there) = (local.quantile(0.5) as f64 / 1e3, remote.quantile(0.5) as f64 / 1e3);
    let both = local.figures(None);
    figures.messages += both.messages;
    figures.deliveries += both.deliveries;
    let more = [("local_us_p50", here), ("remote_us_p50", there), ("hop_us", (there - here) / 2.0)];
    figures.more.extend(more.map(|(name, value)| (name.to_owned(), value)));
    Ok(figures)
}

/// Chooses a channel at home on the connection's worker and one on another.
fn choose(hops: &mut Hops) -> Result<()> {
    let find = |here: bool| {
        hops.places
            .iter()
            .flatten()
            .position(|place| (place.worker == place.home) == here)
            .map(|number| hops.name(number))
    };
    match (find(true), find(false)) {
        (Some(local), Some(remote)) => hops.names = [local, remote],
        _ => bail!("hop needs a server with at least two workers"),
    }
    Ok(())
}
