//! The command line: flags in, exit code out. Must not know how the server works.
//!
//! Exit codes: 0 done, 1 a shortfall (doctor), 2 a wrong flag, 78 a wrong configuration
//! (EX_CONFIG); others are `server`'s.

mod token;

use crate::auth::Auth;
use crate::config::{Config, Flags, Sources};
use crate::server::doctor;
use crate::{logging, server, tell};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// `EX_CONFIG` of sysexits: the configuration is wrong; starting again will not help.
const EXIT_CONFIG: u8 = 78;

const EXAMPLES: &str = "\
Examples:
  corecast serve --dev                       try it out: http://127.0.0.1:8000
  corecast check --config corecast.toml      is the configuration right?
  corecast serve --config corecast.toml --workers 4
  corecast token mint --config corecast.toml --user alice --ttl 1h
  CORECAST_LISTEN=0.0.0.0:9000 CORECAST_CLIENT_TOKEN_HMAC_SECRET=... corecast serve

A flag wins over a variable (CORECAST_ and the key in capitals, sections joined by _),
a variable over the file, the file over the default.";

const DOCTOR_EXAMPLES: &str = "\
Examples:
  corecast doctor                                   is this host fit to try it out?
  corecast doctor --config corecast.toml --connections 200000
  corecast doctor --json                            for scripts

Changes nothing. Start it as the server is started (the same user, unit and container): limits are
those of the process. Exit codes: 0 nothing falls short, 1 something does, 78 the configuration is
wrong. `scripts/tune apply` raises what falls short.";

/// Realtime messaging server for Centrifugo's SDKs, with one thread per core
#[derive(Parser)]
#[command(name = "corecast", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server
    #[command(after_help = EXAMPLES)]
    Serve(Serve),
    /// Check the configuration and print every mistake in it (exit code 78)
    Check(Check),
    /// Make and inspect tokens
    #[command(subcommand)]
    Token(token::Token),
    /// Check whether this host suits a configuration, and what each shortfall costs
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(Doctor),
    /// Print the version
    Version,
}

#[derive(Args, Clone)]
struct Source {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Defaults for trying things out: loopback only, anonymous, demo page, open namespaces
    #[arg(long)]
    dev: bool,
}

#[derive(Args)]
struct Check {
    #[command(flatten)]
    source: Source,
    /// Also fail on warnings: a server that cannot work, or is open to everybody
    #[arg(long)]
    strict: bool,
}

#[derive(Args)]
struct Serve {
    #[command(flatten)]
    source: Source,
    /// Address to listen on, such as 0.0.0.0:8000
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Worker threads; 0 is one per core
    #[arg(long, value_name = "N")]
    workers: Option<String>,
    /// How to do network I/O
    #[arg(long, value_name = "DRIVER", value_parser = ["auto", "io_uring", "epoll"])]
    driver: Option<String>,
}

#[derive(Args)]
struct Doctor {
    /// Configuration file (TOML); without it, the defaults of --dev
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Connections that this host should hold; default: as many as configured, or 100,000
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    connections: Option<u64>,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

impl Doctor {
    fn run(self) -> ExitCode {
        let source = Source { dev: self.config.is_none(), config: self.config };
        let ask = doctor::Ask { connections: self.connections, json: self.json };
        match load(source, Flags::default()) {
            Ok((config, _)) => doctor::run(&config, ask),
            Err(code) => code,
        }
    }
}

/// Runs the program.
#[must_use]
pub fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(serve) => {
            // From here on signals that must not end the process are blocked or ignored.
            let signals = match server::hold_signals() {
                Ok(signals) => signals,
                Err(error) => {
                    tell::err(format_args!("corecast: {error}"));
                    return ExitCode::from(server::EXIT_UNAVAILABLE);
                }
            };
            let flags =
                Flags { listen: serve.listen, workers: serve.workers, driver: serve.driver };
            match load(serve.source, flags) {
                Ok((config, auth)) => start(config, &auth, signals),
                Err(code) => code,
            }
        }
        Command::Check(check) => match load(check.source, Flags::default()) {
            Ok((config, _)) => judge(&config, check.strict),
            Err(code) => code,
        },
        Command::Token(token) => {
            let told = match token {
                token::Token::Mint(asked) => token::mint(asked),
                token::Token::Inspect(asked) => token::inspect(asked),
            };
            told.map_or_else(
                |code| code,
                |(text, code)| {
                    tell::out(text);
                    code
                },
            )
        }
        Command::Doctor(doctor) => doctor.run(),
        Command::Version => {
            tell::out(concat!("corecast ", env!("CARGO_PKG_VERSION")));
            ExitCode::SUCCESS
        }
    }
}

/// The configuration and its keys for tokens. A key that cannot be used is reported like any
/// other mistake.
fn load(source: Source, flags: Flags) -> Result<(Config, Auth), ExitCode> {
    // A variable that is not UTF-8 cannot be one of Corecast.
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let sources = Sources { dev: source.dev, file: source.config, variables, flags };
    let config = Config::load(sources).map_err(|errors| wrong(&errors))?;
    let auth = server::auth(&config).map_err(|errors| wrong(&errors))?;
    Ok((config, auth))
}

/// Prints the warnings about a usable configuration; with `strict` they make it fail.
fn judge(config: &Config, strict: bool) -> ExitCode {
    let warnings = [config.warnings.clone(), config.shortcomings()].concat();
    for warning in &warnings {
        tell::err(format_args!("config: warning: {warning}"));
    }
    if strict && !warnings.is_empty() {
        return ExitCode::from(EXIT_CONFIG);
    }
    tell::out(format_args!("configuration ok: {}", config.summary()));
    ExitCode::SUCCESS
}

fn wrong(errors: &[impl std::fmt::Display]) -> ExitCode {
    for error in errors {
        tell::err(format_args!("config: {error}"));
    }
    ExitCode::from(EXIT_CONFIG)
}

fn start(config: Config, auth: &Auth, signals: server::Held) -> ExitCode {
    let logging = logging::start(config.log);
    for warning in &config.warnings {
        tracing::warn!("config: {warning}");
    }
    let code = server::run(config, auth, signals);
    if logging::dropped_lines() > 0 {
        tracing::warn!(lines = logging::dropped_lines(), "log lines were dropped");
    }
    drop(logging);
    code
}
