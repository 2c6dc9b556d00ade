//! Chooses the driver for this host, by sending a byte through a ring.
//!
//! Must not know what the drivers are used for. Invariant: a chosen ring has done everything that
//! the driver needs, once.

use super::uring::{Tuning, Uring};
use super::{Driver, Error, Event, Options, Tag, socket};
use std::fmt;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// The drivers to choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    IoUring,
    Epoll,
}

impl Kind {
    /// Its name in configuration, logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::IoUring => "io_uring",
            Kind::Epoll => "epoll",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Time that one byte may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// The reason given for choosing the ring.
pub const WORKS: &str = "the kernel's ring does all that is needed";

/// The driver for this host, and why, as text for a log line. Does not consider locked memory: one
/// small ring may fit where those of all workers do not.
#[must_use]
pub fn probe() -> (Kind, String) {
    match try_ring() {
        Ok(()) => (Kind::IoUring, WORKS.to_owned()),
        Err(error) => (Kind::Epoll, why(&error)),
    }
}

/// Why this host cannot use the ring.
#[must_use]
pub fn why(error: &io::Error) -> String {
    reason(error, disabled_by().as_deref(), is_filtered())
}

/// Why the ring cannot be used; `disabled` is the value of the sysctl, if there is one, `filtered`
/// whether this process has a seccomp profile.
fn reason(error: &io::Error, disabled: Option<&str>, filtered: bool) -> String {
    let why = match (error.raw_os_error(), disabled) {
        (Some(libc::EPERM), Some("1" | "2")) => "kernel.io_uring_disabled forbids io_uring",
        (Some(libc::EPERM | libc::EACCES), _) if filtered => {
            "a seccomp profile forbids io_uring (tuning/seccomp.json allows it)"
        }
        (Some(libc::EPERM | libc::EACCES), _) => "a security policy forbids io_uring",
        (Some(libc::ENOSYS), _) if filtered => {
            "a seccomp profile hides io_uring (tuning/seccomp.json allows it)"
        }
        (Some(libc::ENOSYS), _) => "the kernel has no io_uring",
        (Some(libc::EINVAL | libc::EOPNOTSUPP), _) => {
            "io_uring lacks a feature (Linux 6.1 has all)"
        }
        (Some(libc::ENOMEM), _) => {
            "io_uring gets no memory (RLIMIT_MEMLOCK, which is counted for all processes of a user \
             together, or a cgroup)"
        }
        _ => "io_uring does not work",
    };
    format!("{why}: {error}")
}

fn disabled_by() -> Option<String> {
    let value = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?;
    Some(value.trim().to_owned())
}

/// Does this process have a seccomp profile?
fn is_filtered() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.split_whitespace().eq(["Seccomp:", "2"]))
}

/// Accepts one connection over loopback, receives its byte and closes it.
///
/// # Errors
/// That of the first step that the kernel refuses.
pub fn try_ring() -> io::Result<()> {
    let listener = socket::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), 1, false)?;
    let addr = SocketAddr::try_from(rustix::net::getsockname(&listener)?)
        .map_err(|_| io::Error::from(io::ErrorKind::Unsupported))?;
    let own_bell = socket::bell()?;
    let options = Options {
        slots: 1,
        kept_slots: 0,
        listeners: vec![listener],
        own_bell,
        own_ring: None,
        bells: Vec::new(),
    };
    let tuning = Tuning { submissions: 8, completions: 64, buffers: 1, ..Tuning::default() };
    let mut driver = Uring::new(options, tuning).map_err(|error| match error {
        Error::Epoll(error) | Error::Ring(error) => error,
    })?;
    let mut client = TcpStream::connect(addr)?;
    client.write_all(&[7])?;
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        match driver.next_event() {
            Some(Event::Accepted { socket, .. }) => driver.adopt(socket, Tag(1)),
            Some(Event::Received { buffer, .. }) => {
                let arrived = driver.bytes(&buffer) == [7];
                driver.release(buffer);
                return if arrived { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) };
            }
            Some(Event::Ended { end: super::End::Failed(errno), .. }) => {
                return Err(io::Error::from_raw_os_error(errno));
            }
            Some(
                Event::Ended { end: super::End::Closed, .. }
                | Event::Sent { .. }
                | Event::SendFailed { .. },
            ) => {}
            None => driver.wait(Some(PATIENCE / 10)),
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_names_what_to_change() {
        let reason = |errno, disabled, filtered| {
            reason(&io::Error::from_raw_os_error(errno), disabled, filtered)
        };
        assert!(reason(libc::EPERM, Some("2"), true).starts_with("kernel.io_uring_disabled"));
        assert!(reason(libc::EPERM, Some("0"), true).starts_with("a seccomp profile forbids"));
        assert!(reason(libc::EPERM, None, true).starts_with("a seccomp profile forbids"));
        assert!(reason(libc::EPERM, Some("0"), false).starts_with("a security policy"));
        assert!(reason(libc::ENOSYS, None, true).starts_with("a seccomp profile hides"));
        assert!(reason(libc::ENOSYS, None, false).contains("no io_uring"));
        assert!(reason(libc::EINVAL, Some("0"), false).contains("Linux 6.1"));
        assert!(reason(libc::EBADF, None, false).contains("os error 9"));
    }
}
