//! Listeners and bells: the descriptors that a driver is given.
//!
//! Must not know drivers or what travels over a connection. Its invariant: every descriptor made
//! here is closed on exec, and none of them blocks.

use rustix::event::{EventfdFlags, eventfd};
use rustix::net::sockopt;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

/// Opens a listener that shares its address with those of other workers (SO_REUSEPORT). What it
/// accepts has TCP_NODELAY set. `backlog` is cut by net.core.somaxconn.
///
/// # Errors
/// What the kernel says to socket, setsockopt, bind or listen.
pub fn listen(addr: SocketAddr, backlog: i32) -> io::Result<OwnedFd> {
    let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&fd, true)?;
    sockopt::set_socket_reuseport(&fd, true)?;
    // Accepted sockets inherit it.
    sockopt::set_tcp_nodelay(&fd, true)?;
    net::bind(&fd, &addr)?;
    net::listen(&fd, backlog)?;
    Ok(fd)
}

/// Says whether `addr` is nobody's. Listeners that share an address would share it with another
/// server of the same user too, and each of the two would get a part of the connections.
///
/// # Errors
/// `AddrInUse` when somebody listens there, and what else the kernel says to bind.
pub fn check_unused(addr: SocketAddr) -> io::Result<()> {
    let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let fd = net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // Connections of an earlier server that linger in TIME_WAIT are no listeners.
    sockopt::set_socket_reuseaddr(&fd, true)?;
    Ok(net::bind(&fd, &addr)?)
}

/// Makes a core's bell: an eventfd, nothing rung yet.
///
/// # Errors
/// What the kernel says, which is that descriptors have run out.
pub fn bell() -> io::Result<OwnedFd> {
    Ok(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)
}

/// The ringing end of a bell: an eventfd, or one end of a stream pair.
#[derive(Debug)]
pub struct Bell {
    fd: OwnedFd,
    ring: Option<RawFd>,
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Bell {
    /// Takes a copy of `fd`, which must not block.
    ///
    /// # Errors
    /// What the kernel says, which is that descriptors have run out.
    pub fn new(fd: impl AsFd) -> io::Result<Bell> {
        Ok(Bell { fd: fd.as_fd().try_clone_to_owned()?, ring: None })
    }

    /// The same, of a core whose ring, if any, is known by that number (`Options::own_ring`).
    #[must_use]
    pub fn of_ring(self, ring: Option<RawFd>) -> Bell {
        Bell { ring, ..self }
    }

    /// The number of the core's ring. It may not be there yet, or be gone: a message may fail.
    #[must_use]
    pub fn ring_fd(&self) -> Option<RawFd> {
        self.ring
    }

    /// Wakes whoever waits at the other end.
    pub fn ring(&self) {
        // A full pipe or counter means that it is ringing already, and a core that is gone needs
        // no waking.
        let _ = rustix::io::write(&self.fd, &1u64.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_unused_until_somebody_listens_there() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let first = listen(any, 1).expect("the kernel finds a port");
        let addr = net::getsockname(&first).expect("it is bound").try_into().expect("it is IPv4");
        assert!(listen(addr, 1).is_ok(), "workers share it");
        let found = check_unused(addr).map_err(|error| error.kind());
        assert_eq!(found, Err(io::ErrorKind::AddrInUse));
        drop(first);
        assert!(check_unused(addr).is_ok());
    }
}
