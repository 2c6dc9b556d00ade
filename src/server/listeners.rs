//! The listeners of all workers, opened once for every attempt to start.
//!
//! Must not know drivers. Invariants: no other Corecast opens one at the same time, so two
//! servers that start together never share a port; a port that the kernel chose is the same for all
//! workers.

use super::Error;
use crate::config::Listen;
use crate::driver::socket;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Connections that may wait for one worker to accept them.
const ACCEPT_BACKLOG: i32 = 4_096;
/// Time to wait for another Corecast that is opening its listeners. That takes milliseconds; a
/// process that holds the name for longer is not Corecast, and must not prevent the start.
const CLAIM_PATIENCE: Duration = Duration::from_secs(2);
/// Time for which an address may still be in use by a server that has ended: its rings keep their
/// listeners open until the kernel has destroyed them, which is after the process is gone.
const IN_USE_PATIENCE: Duration = Duration::from_secs(1);
/// Interval between attempts.
const STEP: Duration = Duration::from_millis(10);

/// See the module's documentation.
pub struct Listeners {
    /// For each worker: the public listener, then the internal one, if there is one.
    by_worker: Vec<Vec<OwnedFd>>,
    /// Their addresses, in the same order, with the port that the kernel chose.
    pub at: Vec<Listen>,
    files: Vec<SocketFile>,
}

impl Listeners {
    /// Opens them for this many workers. An address in use is tried again for a while.
    ///
    /// # Errors
    /// The first listener that cannot be opened, and why.
    pub fn open<'a>(
        wanted: impl IntoIterator<Item = &'a Listen> + Clone,
        workers: usize,
    ) -> Result<Listeners, Error> {
        let start = Instant::now();
        loop {
            match Listeners::try_open(wanted.clone(), workers) {
                Err(Error::Listen { cause, .. })
                    if cause.kind() == io::ErrorKind::AddrInUse
                        && start.elapsed() < IN_USE_PATIENCE =>
                {
                    thread::park_timeout(STEP);
                }
                opened => return opened,
            }
        }
    }

    fn try_open<'a>(
        wanted: impl IntoIterator<Item = &'a Listen>,
        workers: usize,
    ) -> Result<Listeners, Error> {
        let _claim = claim();
        let mut listeners = Listeners {
            by_worker: (0..workers).map(|_| Vec::new()).collect(),
            at: Vec::new(),
            files: Vec::new(),
        };
        for listen in wanted {
            let failed = |cause| Error::Listen { at: listen.clone(), cause };
            listeners.add(listen).map_err(failed)?;
        }
        Ok(listeners)
    }

    fn add(&mut self, listen: &Listen) -> io::Result<()> {
        match listen {
            Listen::Tcp(addr) => {
                let addr = self.add_tcp(*addr, false)?;
                self.at.push(Listen::Tcp(addr));
            }
            Listen::EveryAddress(port) => {
                let addr = self.add_everywhere(*port)?;
                self.at.push(Listen::EveryAddress(addr.port()));
            }
            Listen::Unix(path) => {
                let fd = socket::listen_unix(path, ACCEPT_BACKLOG)?;
                self.files.push(SocketFile::new(path)?);
                // A path has one socket, from which all workers accept.
                for own in &mut self.by_worker {
                    own.push(fd.try_clone()?);
                }
                self.at.push(listen.clone());
            }
        }
        Ok(())
    }

    /// IPv6 and IPv4 by one socket; IPv4 only on a host without IPv6.
    fn add_everywhere(&mut self, port: u16) -> io::Result<SocketAddr> {
        match self.add_tcp((Ipv6Addr::UNSPECIFIED, port).into(), true) {
            Err(error) if lacks_ipv6(&error) => {
                self.add_tcp((Ipv4Addr::UNSPECIFIED, port).into(), false)
            }
            opened => opened,
        }
    }

    /// Opens one socket for each worker, and returns their address.
    fn add_tcp(&mut self, mut addr: SocketAddr, both: bool) -> io::Result<SocketAddr> {
        if addr.port() != 0 {
            socket::check_unused(addr, both)?;
        }
        for own in &mut self.by_worker {
            let fd = socket::listen(addr, ACCEPT_BACKLOG, both)?;
            // The others share the port that the first was given.
            addr = socket::local_addr(&fd)?;
            own.push(fd);
        }
        Ok(addr)
    }

    /// The listeners of one worker, duplicated for each attempt to start.
    pub fn of_worker(&self, worker: usize) -> Result<Vec<OwnedFd>, Error> {
        let copies = self.by_worker[worker].iter().map(OwnedFd::try_clone);
        copies
            .collect::<io::Result<_>>()
            .map_err(|cause| Error::System { what: "listeners", cause })
    }

    /// Leaves the listeners to the workers, and returns the socket files to remove at the end.
    pub fn hand_over(self) -> Vec<SocketFile> {
        self.files
    }
}

fn lacks_ipv6(error: &io::Error) -> bool {
    let none = [rustix::io::Errno::AFNOSUPPORT, rustix::io::Errno::ADDRNOTAVAIL];
    error.raw_os_error().is_some_and(|raw| none.iter().any(|errno| errno.raw_os_error() == raw))
}

/// Claims the name by which Corecast servers open their listeners one after the other; `None` if it
/// could not be claimed in time.
fn claim() -> Option<socket::Claim> {
    let start = Instant::now();
    loop {
        match socket::claim() {
            Ok(claim) => return Some(claim),
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse && start.elapsed() < CLAIM_PATIENCE =>
            {
                thread::park_timeout(STEP);
            }
            Err(error) => {
                tracing::debug!(%error, "listeners are opened without a claim");
                return None;
            }
        }
    }
}

/// A socket file, removed when this is dropped, if it is still the same file.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<SocketFile> {
        let found = fs::symlink_metadata(path)?;
        Ok(SocketFile { path: path.to_owned(), device: found.dev(), inode: found.ino() })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == (self.device, self.inode));
        if is_ours {
            // If this fails, the next start replaces the file.
            let _ = fs::remove_file(&self.path);
        }
    }
}
