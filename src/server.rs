//! Topology: from here the cores are started.

use crate::config::Config;
use std::process::ExitCode;

/// Runs the server until it is told to stop.
#[must_use]
pub fn run(config: Config) -> ExitCode {
    tracing::info!("{}", config.summary());
    ExitCode::SUCCESS
}
