//! In-memory sockets between the simulated clients and the workers' drivers.
//!
//! Must not know frames or workers' state. Invariant: a link's bytes come out in the order in which
//! they went in, each once; only a reset takes bytes away.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// What the kernel calls a connection that its peer reset.
pub const ECONNRESET: i32 = 104;

/// The network, shared by every driver and client of one simulated host.
pub type SharedNet = Rc<RefCell<Net>>;

/// A connection's number, never used again within a run.
pub type LinkId = usize;

/// One TCP connection.
#[derive(Debug, Default)]
pub struct Link {
    /// Bytes on their way to the server.
    pub up: VecDeque<u8>,
    /// Bytes on their way to the client, at most `capacity`.
    pub down: VecDeque<u8>,
    pub capacity: usize,
    /// The listener that it came in by.
    pub listener: u8,
    /// The client sent its FIN.
    pub up_fin: bool,
    /// The server sent its FIN.
    pub down_fin: bool,
    /// The client is gone without a FIN, or bytes reached it after it had gone.
    pub reset: bool,
    /// The client's process has closed its end: nobody reads `down`.
    pub client_gone: bool,
    /// The server has closed its end.
    pub server_gone: bool,
    /// A send to the client once stopped short: it was slow, or had bad luck.
    pub was_short: bool,
    /// Bytes that the client wrote, and those that the server's driver handed over.
    written: u64,
    handed: u64,
    /// Publications by the place in the stream where their command ends.
    marks: VecDeque<(u64, u32)>,
}

impl Link {
    /// Queues bytes for the client as far as there is room, at most `limit`; returns how many.
    pub fn push(&mut self, bytes: &[u8], limit: usize) -> usize {
        if self.reset {
            return 0;
        }
        if self.client_gone {
            // Nobody reads any more: they are taken, and answered with a reset.
            self.reset = true;
            return bytes.len().min(limit);
        }
        let count = bytes.len().min(limit).min(self.room());
        self.down.extend(&bytes[..count]);
        self.was_short |= count < bytes.len();
        count
    }

    pub fn force(&mut self, bytes: &[u8]) -> usize {
        self.down.extend(bytes);
        bytes.len()
    }

    /// Bytes that may still be queued for the client.
    #[must_use]
    pub fn room(&self) -> usize {
        self.capacity.saturating_sub(self.down.len())
    }

    /// Takes up to `buffer.len()` bytes for the server; returns how many, and reports the
    /// publications whose commands are now handed over whole.
    pub fn hand_over(&mut self, buffer: &mut [u8], mut on_mark: impl FnMut(u32)) -> usize {
        let count = buffer.len().min(self.up.len());
        for (slot, byte) in buffer.iter_mut().zip(self.up.drain(..count)) {
            *slot = byte;
        }
        self.handed += count as u64;
        while self.marks.front().is_some_and(|&(end, _)| end <= self.handed) {
            if let Some((_, publication)) = self.marks.pop_front() {
                on_mark(publication);
            }
        }
        count
    }
}

/// All links of a host, and what waits at its listeners.
#[derive(Debug, Default)]
pub struct Net {
    pub links: Vec<Link>,
    /// Connections not accepted yet, per core.
    pub accepts: Vec<VecDeque<LinkId>>,
    /// Doorbells rung, per core; the bridges' last.
    pub bells: Vec<bool>,
    /// Counts commands handed over, to tell which came first.
    pub handed_over: u64,
}

impl Net {
    /// A network of so many listeners, for the cores of so many hosts.
    #[must_use]
    pub fn new(cores: usize, hosts: usize) -> Net {
        Net {
            accepts: (0..cores).map(|_| VecDeque::new()).collect(),
            bells: vec![false; cores + hosts],
            ..Net::default()
        }
    }

    /// A client connects to one of a core's listeners.
    pub fn connect(&mut self, core: usize, capacity: usize, listener: u8) -> LinkId {
        self.links.push(Link { capacity, listener, ..Link::default() });
        let link = self.links.len() - 1;
        self.accepts[core].push_back(link);
        link
    }

    /// The client sends.
    pub fn write(&mut self, link: LinkId, bytes: &[u8]) {
        let link = &mut self.links[link];
        link.written += bytes.len() as u64;
        if !link.server_gone {
            link.up.extend(bytes);
        }
    }

    /// The command of a publication ends with what was written last.
    pub fn mark(&mut self, link: LinkId, publication: u32) {
        let link = &mut self.links[link];
        link.marks.push_back((link.written, publication));
    }

    /// The client reads at most `limit` bytes, appended to `into`.
    pub fn read(&mut self, link: LinkId, limit: usize, into: &mut Vec<u8>) {
        let down = &mut self.links[link].down;
        let count = limit.min(down.len());
        into.extend(down.drain(..count));
    }

    /// Has the client read all there will be?
    #[must_use]
    pub fn at_end(&self, link: LinkId) -> bool {
        let link = &self.links[link];
        link.down.is_empty() && (link.down_fin || link.server_gone)
    }

    /// The client goes: with a FIN behind its last byte, or by a reset.
    pub fn leave(&mut self, link: LinkId, reset: bool) {
        let link = &mut self.links[link];
        link.client_gone = true;
        link.down.clear();
        link.reset |= reset;
        link.up_fin |= !reset;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_reported_when_their_last_byte_is_handed_over() {
        let mut net = Net::new(1, 1);
        let link = net.connect(0, 10, 0);
        net.write(link, b"abcd");
        net.mark(link, 7);
        net.write(link, b"ef");
        net.mark(link, 8);
        let (mut marks, mut buffer) = (Vec::new(), [0; 3]);
        let mut take = |net: &mut Net| {
            let count = net.links[link].hand_over(&mut buffer, |mark| marks.push(mark));
            (count, marks.clone())
        };
        assert_eq!(take(&mut net), (3, vec![]));
        assert_eq!(take(&mut net), (3, vec![7, 8]));
        assert_eq!(take(&mut net).0, 0);
    }
}
