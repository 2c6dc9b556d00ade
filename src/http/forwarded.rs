//! The client's address in a request that a trusted proxy passed on.
//!
//! Must not know connections. Invariant: an entry of the header is trusted only if all proxies
//! that come after it are; what a client itself writes into the header is never used.

use super::request::Head;
use std::net::IpAddr;

/// The header to which proxies append the address of their peer.
const HEADER: &str = "X-Forwarded-For";
/// How a peer on a Unix socket, which has no address, is listed.
const UNIX: &str = "unix";

/// The trusted proxies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trusted {
    networks: Vec<(IpAddr, u8)>,
    unix: bool,
}

impl Trusted {
    /// Adds an entry of the list: an address, a network such as `10.0.0.0/8`, or `unix`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn add(&mut self, entry: &str) -> Result<(), &'static str> {
        if entry == UNIX {
            self.unix = true;
            return Ok(());
        }
        let (address, bits) = match entry.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (entry, None),
        };
        let rule = "must be an address, a network such as \"10.0.0.0/8\", or \"unix\"";
        let address: IpAddr = address.parse().map_err(|_| rule)?;
        let width = width_of(address);
        let bits = match bits {
            None => width,
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= width).ok_or(rule)?,
        };
        if bits == 0 {
            return Err("trusts every client, which could then claim any address");
        }
        self.networks.push((address, bits));
        Ok(())
    }

    /// Is this peer a trusted proxy? `None` is a peer on a Unix socket.
    #[must_use]
    pub fn has(&self, peer: Option<IpAddr>) -> bool {
        let Some(peer) = peer.map(|peer| peer.to_canonical()) else { return self.unix };
        self.networks.iter().any(|(network, bits)| is_within(peer, *network, *bits))
    }

    /// The client's address in a request from a trusted proxy: the last in the header that is not a
    /// trusted proxy, or the first if all are. `None` if the header has none.
    #[must_use]
    pub fn client(&self, head: &Head<'_>) -> Option<IpAddr> {
        let mut found = None;
        let lines: Vec<&[u8]> = head.all(HEADER).collect();
        let hops = lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b','));
        for hop in hops {
            // Entries before one that is not an address were not written by a trusted proxy.
            let Some(address) = read(hop) else { break };
            found = Some(address);
            if !self.has(found) {
                break;
            }
        }
        found
    }
}

/// An address, with or without a port, as proxies write it.
fn read(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim();
    let address = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None => match text.split_once(':') {
            Some((address, port)) if !port.contains(':') => address,
            _ => text,
        },
    };
    address.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

fn width_of(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn is_within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let number = |address: IpAddr| match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    };
    let same_kind = address.is_ipv4() == network.is_ipv4();
    same_kind && (number(address) ^ number(network)) >> (128 - u32::from(bits)) == 0
}

#[cfg(test)]
mod tests {
    use super::super::request::parse;
    use super::*;

    fn trusted(list: &[&str]) -> Trusted {
        let mut trusted = Trusted::default();
        list.iter().for_each(|entry| trusted.add(entry).expect("a good entry"));
        trusted
    }

    #[test]
    fn lists_are_checked() {
        let mut trusted = Trusted::default();
        for good in ["127.0.0.1", "10.0.0.0/8", "::1", "2001:db8::/32", "unix", "192.0.2.7/32"] {
            assert_eq!(trusted.add(good), Ok(()), "{good}");
        }
        for bad in ["", "proxy", "10.0.0.0/33", "::/129", "10.0.0.0/", "10/8", "0.0.0.0/0", "::/0"]
        {
            assert!(trusted.add(bad).is_err(), "{bad}");
        }
        let address = |text: &str| Some(text.parse::<IpAddr>().expect("an address"));
        for (peer, expected) in [
            (address("127.0.0.1"), true),
            (address("::ffff:127.0.0.1"), true),
            (address("127.0.0.2"), false),
            (address("10.200.3.4"), true),
            (address("11.0.0.1"), false),
            (address("2001:db8:7::1"), true),
            (address("2001:db9::1"), false),
            (None, true),
        ] {
            assert_eq!(trusted.has(peer), expected, "{peer:?}");
        }
        assert!(!Trusted::default().has(None), "by default no peer is trusted");
    }

    #[test]
    fn only_what_proxies_of_ours_wrote_is_believed() {
        let trusted = trusted(&["10.0.0.0/8", "unix"]);
        let table = [
            ("", None),
            ("X-Forwarded-For: 192.0.2.1\r\n", Some("192.0.2.1")),
            // The first entry was written by the client.
            ("X-Forwarded-For: 6.6.6.6, 192.0.2.1\r\n", Some("192.0.2.1")),
            ("X-Forwarded-For: 6.6.6.6, 192.0.2.1, 10.1.1.1\r\n", Some("192.0.2.1")),
            ("X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 192.0.2.1\r\n", Some("192.0.2.1")),
            ("X-Forwarded-For: 10.1.1.1, 10.1.1.2\r\n", Some("10.1.1.1")),
            ("X-Forwarded-For: unknown, 10.1.1.2\r\n", Some("10.1.1.2")),
            ("X-Forwarded-For: 192.0.2.1, unknown\r\n", None),
            ("X-Forwarded-For: 192.0.2.1:4711\r\n", Some("192.0.2.1")),
            ("x-forwarded-for: [2001:db8::1]:4711\r\n", Some("2001:db8::1")),
            ("X-Forwarded-For: 2001:db8::1\r\n", Some("2001:db8::1")),
            ("X-Forwarded-For: ::ffff:192.0.2.1\r\n", Some("192.0.2.1")),
            ("X-Forwarded-For: ,\r\n", None),
            ("X-Forwarded-For: \u{fc}\r\n", None),
        ];
        for (line, expected) in table {
            let text = format!("GET / HTTP/1.1\r\nHost: x\r\n{line}\r\n");
            let (head, _) = parse(text.as_bytes(), &mut 0, 16_384).expect("good").expect("whole");
            let expected = expected.map(|text| text.parse::<IpAddr>().expect("an address"));
            assert_eq!(trusted.client(&head), expected, "{line}");
        }
    }
}
