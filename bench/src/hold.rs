//! Holds many idle connections in little memory: one process of a crowd that scripts/million leads.
//!
//! Each connection connects, subscribes to one channel and stays; all that is kept of it is its
//! descriptor and a state. It is told what to do by lines on standard input, and answers with lines
//! of JSON. Must not know the crowd. Invariant: a connection that is lost, a publication that is
//! damaged, lost or out of order, ends the process with exit code 1; so does the end of its input.

use crate::net::{Poller, Ready, Target, Want};
use crate::protocol::{self, Message};
use crate::{proc, ws};
use anyhow::{Context, Result, anyhow, bail};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Commands of every connection, in one frame.
const CONNECT_ID: u32 = 1;
const SUBSCRIBE_ID: u32 = 2;
/// The token of standard input; connections have their places.
const INPUT: u64 = u64::MAX;
/// Bytes read at once, for all connections.
const READ_BYTES: usize = 64 << 10;
/// Time that a connection may take until it is subscribed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between lines about how far it is.
const PROGRESS: Duration = Duration::from_millis(200);
/// The answer to a ping, as a frame whose mask is zero.
const PONG: [u8; 8] = [0x80 | ws::TEXT, 0x80 | 2, 0, 0, 0, 0, b'{', b'}'];

const EXAMPLES: &str = "\
Lines on standard input: `grow N`, `freeze` (as many as there are), `expect N` (forget the
publications so far, then await N on each channel), `report`, `quit`. At its end, too, it quits.

Examples:
  echo 'grow 1000' | corecast-bench hold --url ws://127.0.0.1:8000/connection/websocket
  corecast-bench hold --url ws://127.0.0.1:8000/connection/websocket --source 127.1.0.7
scripts/million starts as many as it takes for 1,000,000.";

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[arg(long)]
    url: Target,
    /// Address to connect from; each has its own ports
    #[arg(long, default_value = "127.1.0.1")]
    source: Ipv4Addr,
    /// Ports to connect from, upwards; those that are taken are passed over
    #[arg(long, default_value_t = 10_000)]
    first_port: u16,
    /// Channels `NAME0`, `NAME1`, ... that connections subscribe to in turn
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    channels: u32,
    #[arg(long, default_value = "plain:hold-")]
    channel: String,
    /// Connections under way at once
    #[arg(long, default_value_t = 64)]
    at_once: usize,
}

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The upgrade is to be sent once the socket takes it.
    Connecting,
    Upgrading,
    Joining,
    Live,
}

struct Member {
    stream: TcpStream,
    state: State,
}

struct Crowd {
    args: Args,
    poller: Poller,
    members: Vec<Member>,
    live: usize,
    target: usize,
    next_port: u32,
    upgrade: Vec<u8>,
    /// The frame with connect and subscribe, by channel.
    joins: Vec<Vec<u8>>,
    /// Last publication, by connection, while some are awaited; empty otherwise.
    seen: Vec<u32>,
    publications: u64,
    pings: u64,
    /// Bytes of frames that came in part, by connection: hardly ever any.
    parts: BTreeMap<usize, Vec<u8>>,
    since: Instant,
    /// Where its lines go.
    out: Box<dyn Write>,
}

/// Runs until the command to quit.
pub fn run(args: &Args) -> Result<()> {
    proc::sockets();
    let mut crowd = Crowd::new(args.clone(), Box::new(std::io::stdout()))?;
    let input = std::io::stdin();
    let flags = fcntl_getfl(&input)?;
    fcntl_setfl(&input, flags | OFlags::NONBLOCK)?;
    crowd.hold(&input)
}

impl Crowd {
    fn new(args: Args, out: Box<dyn Write>) -> Result<Crowd> {
        let host = args.url.address.to_string();
        let joins = (0..args.channels).map(|number| {
            let mut text = String::new();
            protocol::connect(&mut text, CONNECT_ID, None);
            text.push('\n');
            protocol::subscribe(&mut text, SUBSCRIBE_ID, &channel(&args, number), None);
            let mut frame = Vec::new();
            ws::encode(&mut frame, 0x80 | ws::TEXT, [0; 4], text.as_bytes());
            frame
        });
        Ok(Crowd {
            poller: Poller::new()?,
            members: Vec::new(),
            live: 0,
            target: 0,
            next_port: u32::from(args.first_port),
            upgrade: ws::upgrade_request(&host, &args.url.path, ""),
            joins: joins.collect(),
            seen: Vec::new(),
            publications: 0,
            pings: 0,
            parts: BTreeMap::new(),
            since: Instant::now(),
            out,
            args,
        })
    }

    /// Serves until the command to quit, or a failure; no connection is left afterwards.
    fn hold(&mut self, input: &impl AsFd) -> Result<()> {
        self.poller.add(input, INPUT, Want::Read).context("standard input must be a pipe")?;
        let done = self.serve(input);
        if let Err(error) = &done {
            self.say(&serde_json::json!({ "failure": format!("{error:#}") }))?;
        }
        self.leave();
        done
    }

    fn say(&mut self, line: &serde_json::Value) -> Result<()> {
        writeln!(self.out, "{line}")?;
        Ok(self.out.flush()?)
    }

    fn serve(&mut self, input: &impl AsFd) -> Result<()> {
        let mut ready: Vec<Ready> = Vec::new();
        let mut bytes = vec![0; READ_BYTES];
        let mut line = Vec::new();
        let mut told = Instant::now();
        loop {
            self.open_more()?;
            let growing = self.live < self.target;
            self.poller.wait(&mut ready, if growing { PROGRESS } else { 5 * PROGRESS })?;
            for it in std::mem::take(&mut ready) {
                if it.token != INPUT {
                    let index = it.token as usize;
                    let lost = |error: anyhow::Error| error.context(format!("connection {index}"));
                    self.event(index, it.writable, &mut bytes).map_err(lost)?;
                } else if !self.orders(input, &mut line)? {
                    return Ok(());
                }
            }
            if growing && (told.elapsed() > PROGRESS || self.live == self.target) {
                told = Instant::now();
                self.say(&serde_json::json!({ "live": self.live }))?;
            }
            if growing && self.since.elapsed() > PATIENCE {
                bail!("no connection became live for {PATIENCE:?}, {} are", self.live);
            }
        }
    }

    /// Carries out what came on standard input; false at its end.
    fn orders(&mut self, input: &impl AsFd, line: &mut Vec<u8>) -> Result<bool> {
        let mut bytes = [0; 256];
        let count = match rustix::io::read(input, &mut bytes) {
            Ok(count) => count,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        line.extend_from_slice(&bytes[..count]);
        while let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            let order: Vec<u8> = line.drain(..=end).collect();
            let order = String::from_utf8_lossy(&order);
            if !self.order(order.trim())? {
                return Ok(false);
            }
        }
        Ok(count > 0)
    }

    fn order(&mut self, order: &str) -> Result<bool> {
        let number = |text: &str| text.parse::<usize>().map_err(|_| anyhow!("order {order:?}"));
        match order.split_once(' ').unwrap_or((order, "")) {
            ("grow", count) => {
                self.target = number(count)?;
                self.since = Instant::now();
            }
            ("freeze", _) => self.target = self.members.len(),
            ("expect", _) => {
                self.seen = vec![0; self.members.len()];
                self.publications = 0;
                self.say(&serde_json::json!({ "expecting": self.members.len() }))?;
            }
            ("report", _) => self.report()?,
            ("quit", _) => return Ok(false),
            _ => bail!("unknown order {order:?}"),
        }
        Ok(true)
    }

    /// What it holds and has seen. `members` counts the connections of each channel.
    fn report(&mut self) -> Result<()> {
        let mut members = vec![0; self.args.channels as usize];
        for index in 0..self.live {
            members[index % self.args.channels as usize] += 1;
        }
        self.say(&serde_json::json!({
            "live": self.live,
            "opened": self.members.len(),
            "publications": self.publications,
            "pings": self.pings,
            "members": members,
            "rss_bytes": proc::rss(std::process::id())?,
        }))
    }

    fn open_more(&mut self) -> Result<()> {
        while self.members.len() < self.target && self.members.len() - self.live < self.args.at_once
        {
            let stream = self.open()?;
            let index = self.members.len();
            self.poller.add(&stream, index as u64, Want::Read)?;
            self.members.push(Member { stream, state: State::Connecting });
            self.send_upgrade(index)?;
        }
        Ok(())
    }

    /// Starts a TCP connect from the next port that is free.
    fn open(&mut self) -> Result<TcpStream> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)
            .context("no more sockets in this process")?;
        // Connections of an earlier run that linger are no hindrance.
        sockopt::set_socket_reuseaddr(&socket, true)?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        loop {
            let port = u16::try_from(self.next_port);
            let port = port.map_err(|_| anyhow!("no free port left at {}", self.args.source))?;
            self.next_port += 1;
            let from = SocketAddr::V4(SocketAddrV4::new(self.args.source, port));
            match rustix::net::bind(&socket, &from) {
                Ok(()) => {}
                Err(Errno::ADDRINUSE) => continue,
                Err(error) => return Err(error).context(format!("binding {from}")),
            }
            let to = SocketAddr::V4(self.args.url.address);
            return match rustix::net::connect(&socket, &to) {
                Ok(()) | Err(Errno::INPROGRESS) => Ok(TcpStream::from(socket)),
                Err(error) => Err(error).context(format!("connecting to {to}")),
            };
        }
    }

    /// Sends the upgrade; over loopback the connection is usually established by now.
    fn send_upgrade(&mut self, index: usize) -> Result<()> {
        let member = &mut self.members[index];
        match send(&member.stream, &self.upgrade) {
            Ok(()) => {
                if member.state == State::Connecting {
                    self.poller.change(&member.stream, index as u64, Want::Read)?;
                }
                member.state = State::Upgrading;
                Ok(())
            }
            Err(Errno::AGAIN | Errno::NOTCONN) => {
                Ok(self.poller.change(&member.stream, index as u64, Want::Both)?)
            }
            Err(error) => Err(error).context("connecting"),
        }
    }

    fn event(&mut self, index: usize, writable: bool, bytes: &mut [u8]) -> Result<()> {
        if self.members[index].state == State::Connecting {
            // An error of the connect shows at the send.
            return if writable { self.send_upgrade(index) } else { Ok(()) };
        }
        let count =
            match rustix::net::recv(&self.members[index].stream, &mut *bytes, RecvFlags::empty()) {
                Ok((0, _)) => bail!("the server closed it"),
                Ok((count, _)) => count,
                Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
                Err(error) => return Err(error).context("receiving"),
            };
        if let Some(mut whole) = self.parts.remove(&index) {
            whole.extend_from_slice(&bytes[..count]);
            self.received(index, &whole)
        } else {
            self.received(index, &bytes[..count])
        }
    }

    fn received(&mut self, index: usize, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            if self.members[index].state == State::Upgrading {
                match ws::read_upgrade(bytes) {
                    ws::Upgrade::Incomplete => break,
                    ws::Upgrade::Refused(why) => bail!("the upgrade was refused: {why}"),
                    ws::Upgrade::Accepted(length) => bytes = &bytes[length..],
                }
                let channel = index % self.joins.len();
                send(&self.members[index].stream, &self.joins[channel])?;
                self.members[index].state = State::Joining;
                continue;
            }
            let (fin, opcode, payload, length) = match ws::parse(bytes) {
                ws::Parsed::Incomplete => break,
                ws::Parsed::Malformed(why) => bail!("a malformed frame: {why}"),
                ws::Parsed::Frame { fin, opcode, payload, length } => {
                    (fin, opcode, payload, length)
                }
            };
            bytes = &bytes[length..];
            match opcode {
                ws::TEXT if fin => self.messages(index, payload)?,
                ws::CLOSE => {
                    let (code, reason) = ws::close_parts(payload);
                    bail!("the server closed it: {code} {reason}");
                }
                _ => bail!("a frame of an unexpected kind: opcode {opcode}, fin {fin}"),
            }
        }
        if !bytes.is_empty() {
            self.parts.insert(index, bytes.to_vec());
        }
        Ok(())
    }

    fn messages(&mut self, index: usize, payload: &[u8]) -> Result<()> {
        for line in payload.split(|byte| *byte == b'\n') {
            if line == b"{}" {
                self.pings += 1;
                send(&self.members[index].stream, &PONG)?;
                continue;
            }
            let message: Message<'_> = serde_json::from_slice(line)
                .with_context(|| format!("message {:?}", String::from_utf8_lossy(line)))?;
            if let Some(error) = &message.error {
                bail!("error {} {}", error.code, error.message);
            }
            match (message.id, &message.push) {
                (CONNECT_ID, _) => {}
                (SUBSCRIBE_ID, _) if self.members[index].state == State::Joining => {
                    self.members[index].state = State::Live;
                    self.live += 1;
                    self.since = Instant::now();
                }
                (0, Some(push)) if push.publication.is_some() => self.publication(index, push)?,
                _ => bail!("an unexpected message: {}", String::from_utf8_lossy(line)),
            }
        }
        Ok(())
    }

    /// Publications of a channel are numbered from 1: each comes once, in order, to its members.
    fn publication(&mut self, index: usize, push: &protocol::Push<'_>) -> Result<()> {
        let own = channel(&self.args, (index % self.joins.len()) as u32);
        let data = push.publication.as_ref().map_or("", |publication| publication.data.get());
        let Some(last) = self.seen.get_mut(index) else { bail!("a publication nobody awaits") };
        let expected = format!(r#"{{"number":{}}}"#, *last + 1);
        if push.channel != own || data != expected {
            bail!("{data} in {}, {expected} in {own} was to come", push.channel);
        }
        *last += 1;
        self.publications += 1;
        Ok(())
    }

    /// Ends all connections by RST, which leaves no port in use.
    fn leave(&mut self) {
        for member in self.members.drain(..) {
            crate::net::reset(member.stream);
        }
    }
}

fn channel(args: &Args, number: u32) -> String {
    format!("{}{number}", args.channel)
}

/// Sends all of a few bytes; a socket that takes only a part is one that does not drain.
fn send(stream: &TcpStream, bytes: &[u8]) -> Result<(), Errno> {
    match rustix::net::send(stream, bytes, SendFlags::NOSIGNAL)? {
        sent if sent == bytes.len() => Ok(()),
        _ => Err(Errno::NOBUFS),
    }
}

#[cfg(test)]
mod tests;
