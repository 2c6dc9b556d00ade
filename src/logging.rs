//! Where log lines go: standard error, through a thread of its own, so that no core waits for a
//! terminal or a pipe. When the reader is slower than the writers, lines are dropped and counted.

use crate::config::{Log, LogFormat, LogLevel};
use std::io::IsTerminal;
use std::sync::OnceLock;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};

/// Lines that may wait for the writing thread.
const LINES: usize = 16_384;

/// Counts what was dropped; the process has one log.
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// Lines that were dropped so far.
#[must_use]
pub fn dropped_lines() -> u64 {
    DROPPED.get().map_or(0, |dropped| dropped.dropped_lines() as u64)
}

/// Keeps logging alive; dropping it writes what still waits.
pub struct Logging {
    _guard: WorkerGuard,
}

/// Starts logging for the whole process. Once only.
///
/// # Panics
/// When logging was started before.
#[must_use]
pub fn start(log: Log) -> Logging {
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(LINES)
        .thread_name("log")
        .finish(std::io::stderr());
    DROPPED.get_or_init(|| writer.error_counter());
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let lines = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(writer)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal());
    match log.format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    Logging { _guard: guard }
}
