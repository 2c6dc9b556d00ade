//! The addresses of clients, for the operator's log.
//!
//! Four bytes for each place, to save memory for idle connections. IPv6 addresses, which do not
//! fit, are in a separate table.

use foldhash::quality::FixedState;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses by place.
pub struct Peers {
    /// 0 if it is not known, or is in `long`.
    short: Vec<u32>,
    long: HashMap<u32, Ipv6Addr, FixedState>,
}

impl Peers {
    #[must_use]
    pub fn new(places: usize) -> Peers {
        // Only places that were used once take memory.
        let short = Vec::with_capacity(places);
        Peers { short, long: HashMap::with_hasher(FixedState::default()) }
    }

    /// Sets the address of the connection in a place.
    pub fn set(&mut self, place: u32, peer: Option<IpAddr>) {
        let index = place as usize;
        if self.short.len() <= index {
            self.short.resize(index + 1, 0);
        }
        self.long.remove(&place);
        // A listener for both families reports IPv4 addresses inside IPv6 ones.
        self.short[index] = match peer.map(|peer| peer.to_canonical()) {
            Some(IpAddr::V4(address)) => address.to_bits(),
            Some(IpAddr::V6(address)) => {
                self.long.insert(place, address);
                0
            }
            None => 0,
        };
    }

    /// The address of the connection in a place, if it is known.
    #[must_use]
    pub fn get(&self, place: u32) -> Option<IpAddr> {
        match self.short.get(place as usize) {
            None | Some(0) => self.long.get(&place).copied().map(IpAddr::V6),
            Some(bits) => Some(IpAddr::V4(Ipv4Addr::from_bits(*bits))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_has_its_last_address() {
        let mut peers = Peers::new(4);
        let address = |text: &str| Some(text.parse::<IpAddr>().expect("an address"));
        for (place, given, told) in [
            (0, address("192.0.2.1"), address("192.0.2.1")),
            (3, address("2001:db8::1"), address("2001:db8::1")),
            (0, address("::ffff:192.0.2.9"), address("192.0.2.9")),
            (3, address("192.0.2.7"), address("192.0.2.7")),
            (3, None, None),
            (0, address("2001:db8::2"), address("2001:db8::2")),
            (0, None, None),
        ] {
            peers.set(place, given);
            assert_eq!(peers.get(place), told, "{given:?}");
        }
        assert_eq!((peers.get(9), peers.long.len()), (None, 0));
    }
}
