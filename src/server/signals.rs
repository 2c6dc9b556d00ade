//! Signals: those that end the server, and those that it ignores.
//!
//! Must not know what ending means. Invariant: after `hold` none of these signals kills the
//! process.

use super::Error;
use signal_hook::consts::{SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::{Handle, Signals};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle, Thread};

/// These end the server: the first begins the shutdown, each further one ends the current wait.
const ENDS: [i32; 2] = [SIGTERM, SIGINT];
/// These have no effect yet except a log line. If they were not handled they would kill the
/// process, and operators send SIGHUP to reload a configuration and SIGUSR1 to reopen logs.
const SAID: [(i32, &str); 5] = [
    (SIGHUP, "SIGHUP"),
    (SIGUSR1, "SIGUSR1"),
    (SIGUSR2, "SIGUSR2"),
    (SIGQUIT, "SIGQUIT"),
    (SIGALRM, "SIGALRM"),
];

/// Signals that are caught from here on, and kept until somebody listens.
pub struct Held(Signals);

/// Catches the signals.
///
/// # Errors
/// If the kernel accepts no handlers.
pub fn hold() -> Result<Held, Error> {
    let all = ENDS.into_iter().chain(SAID.map(|(number, _)| number));
    Signals::new(all).map(Held).map_err(|cause| Error::System { what: "signal handlers", cause })
}

/// The thread that handles signals.
pub struct Listening {
    asked: Arc<AtomicUsize>,
    handle: Handle,
    thread: JoinHandle<()>,
}

impl Held {
    /// Starts the thread. It unparks `main` whenever the server has to end.
    pub fn listen(mut self, main: Thread) -> Result<Listening, Error> {
        let asked = Arc::new(AtomicUsize::new(0));
        let handle = self.0.handle();
        let counter = Arc::clone(&asked);
        let listen = move || {
            for signal in &mut self.0 {
                if ENDS.contains(&signal) {
                    counter.fetch_add(1, Ordering::AcqRel);
                    main.unpark();
                } else if let Some((_, name)) = SAID.iter().find(|(number, _)| *number == signal) {
                    tracing::info!(
                        signal = name,
                        "this signal changes nothing: reloading comes with a later version; \
                         restart to have a changed configuration read"
                    );
                }
            }
        };
        let thread = thread::Builder::new().name("signals".to_owned()).spawn(listen);
        let system = |cause| Error::System { what: "starting the thread of signals", cause };
        Ok(Listening { asked, handle, thread: thread.map_err(system)? })
    }
}

impl Listening {
    /// Number of signals that ask the server to end.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Acquire)
    }

    /// Ends the thread.
    pub fn end(self) {
        self.handle.close();
        // The thread does not panic, and returns nothing.
        let _ = self.thread.join();
    }
}
