//! Corecast seen from outside, over real sockets: proofs, figures and attacks.
//!
//! Must not know the server's code. Invariant: exit 0 means that what was to be shown was shown.

mod client;
mod ledger;
mod net;
mod protocol;
mod rng;
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
    /// Kill connections at random; every acknowledged publication arrives once, in order.
    Ledger(ledger::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Ledger(args) => ledger::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}
