//! The address of a listener as an operator writes it: `0.0.0.0:8000`, `[::1]:8000`,
//! `localhost:8000`, `:8000`, `unix:/run/corecast.sock`. Pure text: nothing is resolved.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Longest path of a socket file, in bytes: the kernel's limit less the closing zero.
const UNIX_PATH_BYTES: usize = 107;

/// The message for an invalid address.
const RULE: &str = "must be an address and a port, such as \"0.0.0.0:8000\", \"[::]:8000\", \
                        \"localhost:8000\" or \":8000\" (every address), or \
                        \"unix:/run/corecast.sock\"";

/// An address to listen on. With port 0 the kernel chooses a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    Tcp(SocketAddr),
    /// Every address of the host at this port, both IPv6 and IPv4 if the host has both.
    EveryAddress(u16),
    /// The path of a socket file.
    Unix(PathBuf),
}

impl Listen {
    /// Reads an address. `localhost` is 127.0.0.1, whatever the resolver says.
    ///
    /// # Errors
    /// The rule that the text breaks.
    pub fn read(text: &str) -> Result<Listen, &'static str> {
        if let Some(path) = text.strip_prefix("unix:") {
            // "unix:///run/x" is the same as "unix:/run/x".
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path {
                path if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') => {
                    Err("must name the socket file by its whole path, such as \
                         \"unix:/run/corecast.sock\"")
                }
                path if path.len() > UNIX_PATH_BYTES => {
                    Err("is longer than the 107 bytes that the kernel takes for a socket's path")
                }
                path => Ok(Listen::Unix(path.into())),
            };
        }
        let port = |text: &str| {
            let plain = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u16>().ok().filter(|_| plain)
        };
        let read = match text.split_once(':') {
            Some(("", rest)) if !rest.contains(':') => port(rest).map(Listen::EveryAddress),
            Some(("localhost", rest)) => {
                port(rest).map(|port| Listen::Tcp((Ipv4Addr::LOCALHOST, port).into()))
            }
            _ => text.parse().ok().map(Listen::Tcp),
        };
        read.ok_or(RULE)
    }

    /// The port; `None` for a socket file.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Listen::Tcp(addr) => Some(addr.port()),
            Listen::EveryAddress(port) => Some(*port),
            Listen::Unix(_) => None,
        }
    }

    /// Would listening on one prevent listening on the other?
    #[must_use]
    pub fn collides(&self, other: &Listen) -> bool {
        // An unspecified address covers every address of the host.
        let ip = |listen: &Listen| match listen {
            Listen::Tcp(addr) => Some(addr.ip()).filter(|ip| !ip.is_unspecified()),
            Listen::EveryAddress(_) | Listen::Unix(_) => None,
        };
        match (self, other) {
            (Listen::Unix(one), Listen::Unix(two)) => one == two,
            (Listen::Unix(_), _) | (_, Listen::Unix(_)) => false,
            _ if self.port() != other.port() || self.port() == Some(0) => false,
            _ => match (ip(self), ip(other)) {
                (Some(one), Some(two)) => one == two,
                _ => true,
            },
        }
    }

    /// The address for a browser or client on this host: "127.0.0.1:8000"; `None` for a socket
    /// file.
    #[must_use]
    pub fn reached_at(&self) -> Option<SocketAddr> {
        match self {
            Listen::Tcp(addr) if addr.ip().is_unspecified() => {
                Some((IpAddr::from(Ipv4Addr::LOCALHOST), addr.port()).into())
            }
            Listen::Tcp(addr) => Some(*addr),
            Listen::EveryAddress(port) => Some((Ipv4Addr::LOCALHOST, *port).into()),
            Listen::Unix(_) => None,
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Tcp(addr) => addr.fmt(f),
            Listen::EveryAddress(port) => write!(f, ":{port}"),
            Listen::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Listen {
        Listen::read(text).unwrap_or_else(|rule| panic!("{text}: {rule}"))
    }

    #[test]
    fn addresses_are_read_as_operators_write_them() {
        for (text, expected, port) in [
            ("0.0.0.0:8000", "0.0.0.0:8000", Some(8000)),
            ("127.0.0.1:0", "127.0.0.1:0", Some(0)),
            ("[::]:8000", "[::]:8000", Some(8000)),
            ("localhost:8000", "127.0.0.1:8000", Some(8000)),
            (":8000", ":8000", Some(8000)),
            ("unix:/run/c.sock", "unix:/run/c.sock", None),
            ("unix:///run/c.sock", "unix:/run/c.sock", None),
        ] {
            let listen = read(text);
            assert_eq!((listen.to_string().as_str(), listen.port()), (expected, port), "{text}");
        }
        let long = format!("unix:/{}", "x".repeat(107));
        for bad in [
            "",
            ":",
            "8000",
            "here",
            "here:80",
            "localhost",
            "localhost:",
            "localhost:+1",
            "127.0.0.1",
            "::1:8000",
            ":65536",
            "unix:",
            "unix:run/c.sock",
            "unix:/run/",
            &long,
        ] {
            assert!(Listen::read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn two_listeners_collide_where_one_could_not_be_opened() {
        for (one, two, collide) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("0.0.0.0:80", "127.0.0.2:80", true),
            (":80", "localhost:80", true),
            (":80", ":81", false),
            (":0", ":0", false),
            ("unix:/a", "unix:/a", true),
            ("unix:/a", "unix:/b", false),
            ("unix:/a", ":80", false),
        ] {
            assert_eq!(read(one).collides(&read(two)), collide, "{one} {two}");
            assert_eq!(read(two).collides(&read(one)), collide, "{two} {one}");
        }
    }
}
