//! A floor program on epoll.
//!
//! Must not know frames. Invariant: new bytes for a socket never overtake bytes that wait.

use super::pings::Pings;
use super::rooms::Rooms;
use crate::load::clock;
use crate::net::{Poller, Ready, Want};
use anyhow::{Context, Result};
use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

const LISTENER: u64 = u64::MAX;
const SCRATCH_BYTES: usize = 64 << 10;
/// Bytes that may wait for a socket.
const BACKLOG_BYTES: usize = 1 << 20;

struct Server<'a> {
    listener: &'a TcpListener,
    poller: Poller,
    sockets: Vec<Option<TcpStream>>,
    free: Vec<u32>,
    rooms: Rooms,
    backlogs: HashMap<u32, Vec<u8>>,
}

/// # Errors
/// When the kernel has no epoll for us.
pub fn serve(listener: &TcpListener, mut pings: Pings) -> Result<()> {
    crate::proc::sockets();
    listener.set_nonblocking(true)?;
    let poller = Poller::new().context("epoll")?;
    poller.add(listener, LISTENER, Want::Read)?;
    let mut server = Server {
        listener,
        poller,
        sockets: Vec::new(),
        free: Vec::new(),
        rooms: Rooms::default(),
        backlogs: HashMap::new(),
    };
    let mut ready: Vec<Ready> = Vec::new();
    let mut scratch = vec![0; SCRATCH_BYTES];
    loop {
        server.poller.wait(&mut ready, pings.wait(clock::now()))?;
        pings.say(&mut server.rooms, clock::now());
        for event in ready.drain(..) {
            if event.token == LISTENER {
                server.accept()?;
                continue;
            }
            if event.writable {
                server.retry(event.token as u32)?;
            }
            server.read(event.token as u32, &mut scratch);
        }
        server.flush()?;
    }
}

impl Server<'_> {
    fn accept(&mut self) -> Result<()> {
        while let Ok((socket, _)) = self.listener.accept() {
            socket.set_nonblocking(true)?;
            let slot = self.free.pop().unwrap_or_else(|| {
                self.sockets.push(None);
                (self.sockets.len() - 1) as u32
            });
            self.poller.add(&socket, u64::from(slot), Want::Read)?;
            self.sockets[slot as usize] = Some(socket);
            self.rooms.came(slot);
        }
        Ok(())
    }

    fn read(&mut self, slot: u32, scratch: &mut [u8]) {
        let Some(socket) = self.sockets[slot as usize].as_mut() else { return };
        let goes_on = match socket.read(scratch) {
            Ok(0) => false,
            Ok(length) => self.rooms.received(slot, &scratch[..length]),
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        };
        if !goes_on {
            self.end(slot);
        }
    }

    fn end(&mut self, slot: u32) {
        self.rooms.left(slot);
        self.backlogs.remove(&slot);
        if self.sockets[slot as usize].take().is_some() {
            self.free.push(slot);
        }
    }

    fn flush(&mut self) -> Result<()> {
        let (sockets, backlogs) = (&mut self.sockets, &mut self.backlogs);
        let mut full = Vec::new();
        self.rooms.flush(|all| {
            for (slot, bytes) in all {
                if let Some(backlog) = backlogs.get_mut(&slot) {
                    backlog.extend_from_slice(bytes);
                    continue;
                }
                let Some(socket) = sockets[slot as usize].as_mut() else { continue };
                // A dead socket says so when it is read.
                let sent = match socket.write(bytes) {
                    Ok(sent) => sent,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                    Err(_) => continue,
                };
                if sent < bytes.len() {
                    backlogs.insert(slot, bytes[sent..].to_vec());
                    full.push(slot);
                }
            }
        });
        for slot in full {
            self.want(slot, Want::Both)?;
        }
        let over = self.backlogs.iter().filter(|(_, rest)| rest.len() > BACKLOG_BYTES);
        let over: Vec<u32> = over.map(|(slot, _)| *slot).collect();
        over.into_iter().for_each(|slot| self.end(slot));
        Ok(())
    }

    fn want(&mut self, slot: u32, want: Want) -> Result<()> {
        if let Some(socket) = &self.sockets[slot as usize] {
            self.poller.change(socket, u64::from(slot), want)?;
        }
        Ok(())
    }

    /// A socket has room again.
    fn retry(&mut self, slot: u32) -> Result<()> {
        let (Some(socket), Some(backlog)) =
            (self.sockets[slot as usize].as_mut(), self.backlogs.get_mut(&slot))
        else {
            return Ok(());
        };
        match socket.write(backlog) {
            Ok(sent) if sent < backlog.len() => {
                backlog.drain(..sent);
                return Ok(());
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            _ => {}
        }
        self.backlogs.remove(&slot);
        self.want(slot, Want::Read)
    }
}
