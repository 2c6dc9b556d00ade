//! The accepts armed on a ring: the listener and slot of each, and its peer's address.
//!
//! Must not know the ring. Invariant: an accept's address does not move while it is under way, so
//! the table never grows.

use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Accepts under way per listener.
const PER_LISTENER: u32 = 32;
/// Time that accepting rests when descriptors or memory have run out.
const REST: Duration = Duration::from_millis(50);

/// A socket address in the kernel's form: large enough for IPv6, a longer one is cut.
#[derive(Debug)]
#[repr(C, align(8))]
pub struct Address {
    pub bytes: [u8; 28],
    pub len: u32,
}

impl Address {
    /// The address of the peer; `None` if it is not an internet address.
    pub fn ip(&self) -> Option<IpAddr> {
        let family = i32::from(u16::from_ne_bytes([self.bytes[0], self.bytes[1]]));
        let ip = match family {
            libc::AF_INET => IpAddr::from(<[u8; 4]>::try_from(&self.bytes[4..8]).ok()?),
            libc::AF_INET6 => IpAddr::from(<[u8; 16]>::try_from(&self.bytes[8..24]).ok()?),
            _ => return None,
        };
        Some(ip.to_canonical())
    }
}

/// One accept.
#[derive(Debug)]
pub struct Accept {
    pub address: Address,
    pub listener: u32,
    /// The slot that its connection will have.
    pub slot: u32,
    pub under_way: bool,
}

/// The accepts of all listeners.
#[derive(Debug)]
pub struct Accepts {
    accepts: Box<[Accept]>,
    /// Accepts that are not under way; those idle for longest are armed first.
    idle: std::collections::VecDeque<u32>,
    /// None is armed before this time.
    rest: Option<Instant>,
    stopped: bool,
}

impl Accepts {
    pub fn new(listeners: u32, slots: u32) -> Accepts {
        let each = PER_LISTENER.min(slots / listeners.max(1)).max(1);
        let new = |index| Accept {
            address: Address { bytes: [0; 28], len: 0 },
            listener: index % listeners,
            slot: 0,
            under_way: false,
        };
        let all = each * listeners;
        Accepts {
            accepts: (0..all).map(new).collect(),
            idle: (0..all).collect(),
            rest: None,
            stopped: false,
        }
    }

    pub fn get_mut(&mut self, index: u32) -> &mut Accept {
        &mut self.accepts[index as usize]
    }

    /// An accept ended.
    pub fn ended(&mut self, index: u32) {
        debug_assert!(self.accepts[index as usize].under_way);
        self.accepts[index as usize].under_way = false;
        if !self.stopped {
            self.idle.push_back(index);
        }
    }

    /// The next accept to arm, unless accepting is paused.
    pub fn next_idle(&mut self) -> Option<u32> {
        self.idle.front()?;
        if self.rest.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        self.rest = None;
        let index = self.idle.pop_front()?;
        debug_assert!(!self.accepts[index as usize].under_way, "armed twice");
        Some(index)
    }

    /// Accepts that are not under way.
    pub fn idle(&self) -> usize {
        self.idle.len()
    }

    /// Returns an accept for which there was no free slot.
    pub fn put_back(&mut self, index: u32) {
        debug_assert!(!self.accepts[index as usize].under_way, "it is armed");
        debug_assert!(self.idle.len() < self.accepts.len(), "put back twice");
        self.idle.push_back(index);
    }

    /// Accepts failed for want of descriptors or memory: the next come later.
    pub fn rest(&mut self) {
        self.rest = Some(Instant::now() + REST);
    }

    /// Time until accepting resumes.
    pub fn resting(&self) -> Option<Duration> {
        self.rest.map(|until| until.saturating_duration_since(Instant::now()))
    }

    /// Arms no more accepts, and returns those under way.
    pub fn stop(&mut self) -> Vec<u32> {
        self.stopped = true;
        self.idle.clear();
        self.rest = None;
        let under_way = |index: &u32| self.accepts[*index as usize].under_way;
        (0..self.accepts.len() as u32).filter(under_way).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_the_kernel_writes_them() {
        let address = |family: i32, at: usize, ip: &[u8]| {
            let mut bytes = [0; 28];
            bytes[..2].copy_from_slice(&(family as u16).to_ne_bytes());
            bytes[at..at + ip.len()].copy_from_slice(ip);
            Address { bytes, len: 28 }
        };
        let v4 = address(libc::AF_INET, 4, &[192, 0, 2, 7]);
        assert_eq!(v4.ip(), "192.0.2.7".parse().ok());
        let v6: std::net::Ipv6Addr = "2001:db8::9".parse().expect("an address");
        assert_eq!(address(libc::AF_INET6, 8, &v6.octets()).ip(), Some(v6.into()));
        let mapped: std::net::Ipv6Addr = "::ffff:192.0.2.7".parse().expect("an address");
        assert_eq!(address(libc::AF_INET6, 8, &mapped.octets()).ip(), v4.ip());
        assert_eq!(address(libc::AF_UNIX, 4, &[1, 2, 3, 4]).ip(), None);
    }
}
