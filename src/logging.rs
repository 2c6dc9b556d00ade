//! Writes log lines to standard error through a thread of its own, so that no core waits for a
//! terminal or a pipe. When the reader is slower than the writers, lines are dropped and counted.
//!
//! Invariant: only that thread ever waits for the reader. The end of the process gives it at
//! most `DRAIN` to write the lines that are left.

use crate::config::{Log, LogFormat, LogLevel};
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::Duration;
use tracing::level_filters::LevelFilter;

/// Lines that may wait for the writing thread.
const LINES: usize = 16_384;
/// Time that the end of the process gives to the lines that are left. A working reader needs
/// milliseconds for all of them; one that has stopped reading would take forever.
const DRAIN: Duration = Duration::from_secs(1);

/// Number of dropped lines; the process has one log.
static DROPPED: AtomicU64 = AtomicU64::new(0);
/// Set when the process ends: the writing thread stops once it has no more lines.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Lines dropped so far.
#[must_use]
pub fn dropped_lines() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Keeps logging alive. When dropped, it waits up to `DRAIN` for the lines that are left.
pub struct Logging {
    lines: SyncSender<Vec<u8>>,
    /// The writing thread signals here that it has written everything.
    written: Receiver<()>,
}

/// Starts logging for the whole process. Call it once only.
///
/// # Panics
/// If logging was started before, or the system cannot start a thread.
#[must_use]
pub fn start(log: Log) -> Logging {
    let (lines, waiting) = sync_channel(LINES);
    let (done, written) = sync_channel(1);
    let sink = standard_error();
    let write = move || {
        write_lines(sink, &waiting);
        // If `Logging` is gone, the message has no receiver.
        let _ = done.try_send(());
    };
    thread::Builder::new().name("log".to_owned()).spawn(write).expect("the system starts a thread");
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let queue = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(move || Line(queue.clone()))
        .with_target(false)
        .with_ansi(io::stderr().is_terminal());
    match log.format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
    Logging { lines, written }
}

/// Standard error without the standard library's lock: a thread that waits for the reader would
/// hold the lock, and the next thread that prints would wait too.
fn standard_error() -> Option<File> {
    io::stderr().as_fd().try_clone_to_owned().ok().map(File::from)
}

/// Writes lines until the process ends and none are left.
fn write_lines(mut sink: Option<File>, waiting: &Receiver<Vec<u8>>) {
    loop {
        let line = match waiting.try_recv() {
            Ok(line) => line,
            Err(TryRecvError::Empty) if !ENDING.load(Ordering::Acquire) => {
                let Ok(line) = waiting.recv() else { return };
                line
            }
            Err(_) => return,
        };
        let written = sink.as_mut().is_some_and(|sink| sink.write_all(&line).is_ok());
        if !written {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        ENDING.store(true, Ordering::Release);
        // Wakes the thread if it waits for a line. If there is no room, it has lines and is awake.
        let _ = self.lines.try_send(Vec::new());
        // Lines not written by then are lost.
        let _ = self.written.recv_timeout(DRAIN);
    }
}

/// Takes one event's line, which the subscriber writes in one call.
struct Line(SyncSender<Vec<u8>>);

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.try_send(line.to_vec()).is_err() {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
