//! A floor program on io_uring.
//!
//! Must not know frames. Invariant: new bytes for a socket never overtake bytes that wait.

use super::pings::Pings;
use super::rooms::Rooms;
use crate::load::clock;
use crate::ring::{Event, Ring, Send, Socket};
use anyhow::{Context, Result};
use rustix::io::Errno;
use std::collections::HashMap;
use std::net::TcpListener;
use std::os::fd::AsRawFd;

const SLOTS: u32 = 19_900;
const BUFFERS: u16 = 4_096;
const BUFFER_BYTES: u32 = 2_048;
/// Bytes that may wait for a socket.
const BACKLOG_BYTES: usize = 1 << 20;

/// # Errors
/// When the kernel has no ring for us.
pub fn serve(listener: &TcpListener, mut pings: Pings) -> Result<()> {
    let slots = SLOTS.min(crate::proc::sockets() as u32);
    let mut ring = Ring::new(BUFFERS, BUFFER_BYTES, slots).context("io_uring")?;
    ring.accept(listener.as_raw_fd());
    let mut rooms = Rooms::default();
    let mut backlogs: HashMap<u32, Vec<u8>> = HashMap::new();
    loop {
        ring.wait(pings.wait(clock::now()));
        pings.say(&mut rooms, clock::now());
        while let Some(event) = ring.next() {
            match event {
                Event::Accepted { slot } => {
                    rooms.came(slot);
                    ring.receive(Socket::Direct(slot), u64::from(slot));
                }
                Event::Received { token, lent } => {
                    let goes_on = rooms.received(token as u32, ring.bytes(&lent));
                    ring.give_back(lent);
                    if !goes_on {
                        ring.cancel_receive(token);
                    }
                }
                Event::Starved { token } => ring.receive(Socket::Direct(token as u32), token),
                Event::Ended { token, .. } => {
                    rooms.left(token as u32);
                    backlogs.remove(&(token as u32));
                    ring.close(token as u32);
                }
                Event::Ready { token } => retry(&mut ring, &mut backlogs, token as u32),
            }
        }
        flush(&mut ring, &mut rooms, &mut backlogs);
    }
}

fn flush(ring: &mut Ring, rooms: &mut Rooms, backlogs: &mut HashMap<u32, Vec<u8>>) {
    rooms.flush(|all| {
        let mut sends = Vec::with_capacity(1_024);
        // Two sends to one socket in one flush could overtake each other: the second waits.
        for (slot, bytes) in all {
            match backlogs.get_mut(&slot) {
                Some(backlog) => backlog.extend_from_slice(bytes),
                None => sends.push((slot, Send { socket: Socket::Direct(slot), bytes })),
            }
        }
        let only: Vec<Send<'_>> = sends.iter().map(|(_, send)| *send).collect();
        let short = ring.flush(&only).to_vec();
        for (index, result) in short {
            let (slot, send) = &sends[index as usize];
            let sent = if result >= 0 {
                result as usize
            } else if -result == Errno::AGAIN.raw_os_error() {
                0
            } else {
                // It is dead: its receive says so.
                continue;
            };
            backlogs.entry(*slot).or_default().extend_from_slice(&send.bytes[sent..]);
            ring.poll_writable(Socket::Direct(*slot), u64::from(*slot));
        }
    });
    for (slot, backlog) in backlogs.iter_mut().filter(|(_, rest)| rest.len() > BACKLOG_BYTES) {
        backlog.clear();
        ring.cancel_receive(u64::from(*slot));
    }
}

/// A socket has room again.
fn retry(ring: &mut Ring, backlogs: &mut HashMap<u32, Vec<u8>>, slot: u32) {
    let Some(backlog) = backlogs.get_mut(&slot) else { return };
    let socket = Socket::Direct(slot);
    match ring.flush(&[Send { socket, bytes: backlog }]) {
        [(_, sent)] if *sent >= 0 || -sent == Errno::AGAIN.raw_os_error() => {
            backlog.drain(..(*sent).max(0) as usize);
            ring.poll_writable(socket, u64::from(slot));
        }
        _ => {
            backlogs.remove(&slot);
        }
    }
}
