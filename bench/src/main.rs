//! Corecast seen from outside, over real sockets: proofs, figures and attacks.
//!
//! Must not know the server's code. Invariant: exit 0 means that what was to be shown was shown.

mod attack;
mod churn;
mod client;
mod crowd;
mod fanout;
mod idle;
mod ledger;
mod net;
mod proc;
mod protocol;
mod rng;
mod suite;
mod token;
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
    /// Server CPU per delivery and latency, one publisher to many subscribers.
    Fanout(fanout::Args),
    /// Memory per idle client.
    Idle(idle::Args),
    /// Bad input of every kind: each gets its documented answer, and neighbours feel nothing.
    Attack(attack::Args),
    /// Ours, the floor and peers side by side, and the report of it.
    Suite(suite::Args),
    /// Server CPU per connect.
    Churn(churn::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Ledger(args) => ledger::run(&args),
        Command::Terminate(args) => ledger::terminate(&args),
        Command::Fanout(args) => fanout::run(&args),
        Command::Idle(args) => idle::run(&args),
        Command::Attack(args) => attack::run(&args),
        Command::Suite(args) => suite::run(&args),
        Command::Churn(args) => churn::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}
