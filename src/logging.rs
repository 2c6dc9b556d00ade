//! Where log lines go: standard error, through a thread of its own, so that no core waits for a
//! terminal or a pipe. When the reader is slower than the writers, lines are dropped and counted.
//!
//! Invariant: nobody but that thread ever waits for the reader, not even the end of the process,
//! which gives it `DRAIN` to write what still waits.

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
/// Time that the end of the process gives to what still waits. A reader that reads needs
/// milliseconds for all of it; one that does not would take for ever.
const DRAIN: Duration = Duration::from_secs(1);

/// Counts what was dropped; the process has one log.
static DROPPED: AtomicU64 = AtomicU64::new(0);
/// The process ends: the writing thread is to stop once nothing waits any more.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Lines that were dropped so far.
#[must_use]
pub fn dropped_lines() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Keeps logging alive; dropping it writes what still waits, as far as `DRAIN` allows.
pub struct Logging {
    lines: SyncSender<Vec<u8>>,
    /// The writing thread says that it has written everything.
    written: Receiver<()>,
}

/// Starts logging for the whole process. Once only.
///
/// # Panics
/// When logging was started before, or the system starts no thread.
#[must_use]
pub fn start(log: Log) -> Logging {
    let (lines, waiting) = sync_channel(LINES);
    let (done, written) = sync_channel(1);
    let sink = standard_error();
    let write = move || {
        write_lines(sink, &waiting);
        // Nobody may wait for it any more.
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

/// Standard error without the standard library's lock: whoever waits for the reader would hold it,
/// and the next who has a word to say there would wait as well.
fn standard_error() -> Option<File> {
    io::stderr().as_fd().try_clone_to_owned().ok().map(File::from)
}

/// Writes lines until the process ends and none waits.
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
        // Wakes the thread where it waits for a line; where there is no room for this, it does not.
        let _ = self.lines.try_send(Vec::new());
        // What is not written by then is lost, as it would be if the reader never came back.
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
