//! Corecast seen from outside, over real sockets: proofs, figures and attacks.
//!
//! Must not know the server's code. Invariant: exit 0 means that the run proved what it should.

#[macro_use]
#[path = "../../src/listed.rs"]
mod listed;

mod attack;
mod client;
#[path = "../../src/sim/dialect/mod.rs"]
mod dialect;
mod ending;
mod floor;
mod hold;
mod ledger;
mod load;
mod net;
mod proc;
mod protocol;
#[expect(unsafe_code, reason = "io_uring is used by hand")]
mod ring;
mod rng;
mod suite;
mod token;
mod wire;
mod ws;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Kill connections at random: every acknowledged publication arrives once, in order.
    Ledger(ledger::Args),
    /// Stop the server under load: what was acknowledged arrives, then everybody gets 3001.
    Terminate(ledger::TerminateArgs),
    /// Bad input of every kind: each gets its documented answer, and neighbours feel nothing.
    Attack(attack::Args),
    /// Hold many idle connections in little memory; takes commands on standard input.
    Hold(hold::Args),
    /// Messages that come back to their sender.
    Echo(load::echo::Args),
    /// Publications of few to many.
    Fanout(load::fanout::Args),
    /// Publications in many rooms.
    Rooms(load::fanout::RoomsArgs),
    /// Publications from one to one.
    P2p(load::fanout::PairsArgs),
    /// A storm of connects.
    Connect(load::connect::Args),
    /// All are cut, miss something, and come back at once.
    Recover(load::recover::Args),
    /// Memory and CPU of connections that do nothing.
    Idle(load::idle::Args),
    /// What Redis alone carries of the script that publishes.
    Script(load::script::Args),
    /// Publish calls of the server API.
    Http(load::http::Args),
    /// What it costs a publication to pass another core.
    Hop(load::hop::Args),
    /// Thirty small messages a second to each user, resumed when a connection is lost.
    Tokens(load::streaming::TokensArgs),
    /// The least that the kernel allows: servers and threads to measure beside.
    Floor(floor::Args),
    /// A small chat day: rooms of all sizes, clients that come and go, calls.
    Mixed(load::streaming::MixedArgs),
    /// Ours, the floor and peers side by side, and the report of it.
    Suite(suite::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Ledger(args) => ledger::run(&args).map(|()| true),
        Command::Terminate(args) => ledger::terminate(&args).map(|()| true),
        Command::Attack(args) => attack::run(&args).map(|()| true),
        Command::Hold(args) => hold::run(&args).map(|()| true),
        Command::Echo(args) => load::echo::run(&args),
        Command::Fanout(args) => load::fanout::fanout(&args),
        Command::Rooms(args) => load::fanout::rooms(&args),
        Command::P2p(args) => load::fanout::pairs(&args),
        Command::Connect(args) => load::connect::run(&args),
        Command::Recover(args) => load::recover::run(&args),
        Command::Idle(args) => load::idle::run(&args),
        Command::Script(args) => load::script::run(&args),
        Command::Http(args) => load::http::run(&args),
        Command::Hop(args) => load::hop::run(&args),
        Command::Tokens(args) => load::streaming::tokens(&args),
        Command::Floor(args) => floor::run(&args).map(|()| true),
        Command::Mixed(args) => load::streaming::mixed(&args),
        Command::Suite(args) => suite::run(&args).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        // What failed was printed with the figures.
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("FAILED: {error:#}");
            if std::env::args().any(|argument| argument == "--json") {
                let failure = format!("{error:#}");
                println!("{}", serde_json::json!({"verified": false, "failure": failure}));
            }
            ExitCode::FAILURE
        }
    }
}
