//! Listeners and bells: the descriptors that a driver is given.
//!
//! Must not know drivers or what travels over a connection. Invariant: every descriptor made here
//! is closed on exec, and none of them blocks.

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use rustix::net::sockopt;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::fs::Permissions;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

/// Opens a listener that shares its address with those of other workers (SO_REUSEPORT). Its
/// connections have TCP_NODELAY set. net.core.somaxconn limits `backlog`. `both`: an IPv6 listener
/// accepts IPv4 too, whatever net.ipv6.bindv6only says.
///
/// # Errors
/// If socket, setsockopt, bind or listen fails.
pub fn listen(addr: SocketAddr, backlog: i32, both: bool) -> io::Result<OwnedFd> {
    let fd = tcp(addr, both)?;
    sockopt::set_socket_reuseport(&fd, true)?;
    // Accepted sockets inherit it.
    sockopt::set_tcp_nodelay(&fd, true)?;
    net::bind(&fd, &addr)?;
    net::listen(&fd, backlog)?;
    Ok(fd)
}

/// Checks that no other program listens at `addr`. Listeners that share an address would share it
/// with another server of the same user too, and each would get a part of the connections.
///
/// # Errors
/// `AddrInUse` if another program listens there, or another error of bind.
pub fn check_unused(addr: SocketAddr, both: bool) -> io::Result<()> {
    let fd = tcp(addr, both)?;
    Ok(net::bind(&fd, &addr)?)
}

fn tcp(addr: SocketAddr, both: bool) -> io::Result<OwnedFd> {
    let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = net::socket_with(family, SocketType::STREAM, flags, None)?;
    // Connections of an earlier server in TIME_WAIT do not count.
    sockopt::set_socket_reuseaddr(&fd, true)?;
    if both && addr.is_ipv6() {
        sockopt::set_ipv6_v6only(&fd, false)?;
    }
    Ok(fd)
}

/// The address of a listener.
///
/// # Errors
/// If getsockname fails.
pub fn local_addr(listener: &OwnedFd) -> io::Result<SocketAddr> {
    let addr = net::getsockname(listener)?;
    SocketAddr::try_from(addr).map_err(|_| io::ErrorKind::Unsupported.into())
}

/// Opens a listener at a path. A socket file that a server left there is replaced. The file itself
/// admits every user, so the folder's permissions decide who may connect.
///
/// # Errors
/// `AddrInUse` if a program listens there, or the file is not a socket; or another error.
pub fn listen_unix(path: &Path, backlog: i32) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let addr = SocketAddrUnix::new(path)?;
    match net::bind(&fd, &addr) {
        Err(Errno::ADDRINUSE) if is_left_over(path)? => {
            std::fs::remove_file(path)?;
            net::bind(&fd, &addr)?;
        }
        bound => bound?,
    }
    std::fs::set_permissions(path, Permissions::from_mode(0o666))?;
    net::listen(&fd, backlog)?;
    Ok(fd)
}

/// Is it a socket at which no program listens any more?
fn is_left_over(path: &Path) -> io::Result<bool> {
    if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
        return Ok(false);
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    Ok(net::connect(&fd, &SocketAddrUnix::new(path)?) == Err(Errno::CONNREFUSED))
}

/// The right to open listeners, which one process of a network namespace has at a time. It ends
/// with the value, or with the process.
#[derive(Debug)]
pub struct Claim {
    _name: OwnedFd,
}

/// Takes that right. Between the check that an address is free and the listener on it, another
/// server could open its own, and with SO_REUSEPORT both would succeed: of 30 pairs that were
/// started at once, 17 ran side by side.
///
/// # Errors
/// `AddrInUse` while another process has it.
pub fn claim() -> io::Result<Claim> {
    let fd = net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    net::bind(&fd, &SocketAddrUnix::new_abstract_name(b"corecast opens its listeners")?)?;
    Ok(Claim { _name: fd })
}

/// Makes a core's bell: an eventfd that has not been rung.
///
/// # Errors
/// If descriptors have run out.
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
    /// Duplicates `fd`, which must not block.
    ///
    /// # Errors
    /// If descriptors have run out.
    pub fn new(fd: impl AsFd) -> io::Result<Bell> {
        Ok(Bell { fd: fd.as_fd().try_clone_to_owned()?, ring: None })
    }

    /// The same, for a core whose ring, if it has one, has this number (`Options::own_ring`).
    #[must_use]
    pub fn of_ring(self, ring: Option<RawFd>) -> Bell {
        Bell { ring, ..self }
    }

    /// The number of the core's ring. It may not exist yet or any more, so a message may fail.
    #[must_use]
    pub fn ring_fd(&self) -> Option<RawFd> {
        self.ring
    }

    /// Wakes the core that waits at the other end.
    pub fn ring(&self) {
        // A full pipe or counter means that it has been rung already, and a core that is gone need
        // not wake.
        let _ = rustix::io::write(&self.fd, &1u64.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_unused_until_somebody_listens_there() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let first = listen(any, 1, false).expect("the kernel finds a port");
        let addr = local_addr(&first).expect("it is bound");
        assert!(listen(addr, 1, false).is_ok(), "workers share it");
        let found = check_unused(addr, false).map_err(|error| error.kind());
        assert_eq!(found, Err(io::ErrorKind::AddrInUse));
        drop(first);
        assert!(check_unused(addr, false).is_ok());
    }

    #[test]
    fn a_sockets_file_is_replaced_when_nobody_listens_and_nothing_else_is() {
        let name = format!("corecast-socket-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let taken = |path: &Path| listen_unix(path, 1).map_err(|error| error.kind()).err();
        let first = listen_unix(&path, 1).expect("a new file");
        assert_eq!(taken(&path), Some(io::ErrorKind::AddrInUse), "somebody listens");
        drop(first);
        assert!(path.exists());
        assert_eq!(taken(&path), None, "it was left over");
        std::fs::remove_file(&path).expect("it is there");
        std::fs::write(&path, "a text").expect("a temporary file");
        assert_eq!(taken(&path), Some(io::ErrorKind::AddrInUse), "it is no socket");
        assert_eq!(std::fs::read(&path).expect("it is there"), b"a text");
        std::fs::remove_file(&path).expect("it is there");
    }
}
