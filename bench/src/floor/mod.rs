//! Floor programs: they handle the same bytes for the same generator and do nothing else.
//!
//! They support raw frames, `/echo` and `/room/NAME`, and answer a publish by HTTP. Must not do
//! what a gateway does: no protocol, no pings unless asked for, no bounds except one on the bytes
//! that wait for a socket. Invariant: what arrives is what was sent, so that the generator's checks
//! are valid for them too.

mod head;
mod on_epoll;
mod on_ring;
mod pings;
mod rooms;
mod threads;

#[cfg(test)]
pub(crate) use rooms::Rooms;

use crate::load::clock;
use anyhow::{Context, Result, bail};
use clap::Subcommand;
use pings::Pings;
use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, TcpListener};

/// How a floor program asks the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Driver {
    /// io_uring: direct descriptors, multishot receives, inline sends.
    Ring,
    Epoll,
}

#[derive(Clone, Debug, clap::Args)]
pub struct ServeArgs {
    #[arg(long, value_enum, default_value = "ring")]
    driver: Driver,
    /// Port on 127.0.0.1.
    #[arg(long)]
    port: u16,
    /// Core to run on.
    #[arg(long)]
    cpu: Option<usize>,
    /// Ping everybody once in so many milliseconds, in steps of 250; 0: never.
    #[arg(long, default_value_t = 0)]
    ping_interval_ms: u32,
}

#[derive(Clone, Debug, clap::Args)]
#[command(subcommand_required = true)]
#[command(after_help = "Example: a floor on core 0, measured from core 1
  corecast-bench floor fanout --driver ring --port 9001 --cpu 0 &
  corecast-bench fanout --url ws://127.0.0.1:9001/ --dialect raw --server-pid $! --cpu 1")]
pub struct Args {
    #[command(subcommand)]
    program: Program,
}

#[derive(Clone, Debug, Subcommand)]
enum Program {
    /// Sends every message back: for the scenario `echo`.
    Echo(ServeArgs),
    /// Sends every message to the members of its room: for `fanout`, `rooms` and `p2p`.
    Fanout(ServeArgs),
    /// Holds connections: for `idle` and `connect`.
    Idle(ServeArgs),
    /// Answers publishes of the HTTP API: for `http`.
    Http(ServeArgs),
    /// 64 bytes from one spinning core to another and back.
    Hop(threads::Args),
    /// From one sleeping thread to another and back, by eventfd.
    Wake(threads::Args),
    /// The same by a message from ring to ring.
    Message(threads::Args),
}

/// # Errors
/// When it could not begin.
pub fn run(args: &Args) -> Result<()> {
    match &args.program {
        // One program serves all: what is not asked for costs nothing.
        Program::Echo(args) | Program::Fanout(args) | Program::Idle(args) | Program::Http(args) => {
            serve(args)
        }
        Program::Hop(args) => threads::hop(args),
        Program::Wake(args) => threads::wake(args),
        Program::Message(args) => threads::message(args),
    }
}

fn serve(args: &ServeArgs) -> Result<()> {
    crate::load::pin(args.cpu)?;
    let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, args.port)) {
        Ok(listener) => listener,
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            bail!("port {} is in use", args.port)
        }
        Err(error) => return Err(error).context(format!("port {}", args.port)),
    };
    // Accepted sockets inherit it.
    rustix::net::sockopt::set_tcp_nodelay(&listener, true)?;
    println!("ready");
    std::io::stdout().flush()?;
    let pings = Pings::new(args.ping_interval_ms, clock::now());
    match args.driver {
        Driver::Ring => on_ring::serve(&listener, pings),
        Driver::Epoll => on_epoll::serve(&listener, pings),
    }
}

#[cfg(test)]
pub(crate) fn serve_for_test(driver: Driver) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || match driver {
        Driver::Ring => on_ring::serve(&listener, Pings::new(0, 0)),
        Driver::Epoll => on_epoll::serve(&listener, Pings::new(0, 0)),
    });
    port
}
