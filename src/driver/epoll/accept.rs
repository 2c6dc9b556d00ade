//! How the epoll driver takes connections: which listeners are in the set, and when they are not.
//!
//! Must not know what is received. Its invariant: a listener whose connections could not be served
//! is not in the set, so that it does not make `wait` return over and over.

use super::Epoll;
use super::slot::{Interest, SPECIAL, Slot, State, key};
use crate::driver::chunks::NONE;
use crate::driver::{Event, Socket, Tag};
use rustix::event::epoll::{self, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{self, SocketFlags};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Most connections taken per wait from each listener.
pub const ACCEPTS: u32 = 64;
/// Time that accepting rests when descriptors or memory have run out.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// Whether connections are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepting {
    /// The listeners are in the epoll set, except the first while its share of slots is in use.
    On,
    /// Every slot is in use: until one is freed.
    Full,
    /// Descriptors or memory had run out: paused until this time, or until a slot is free.
    Resting(Instant),
}

impl Epoll {
    pub(super) fn watch_listeners(&self) -> Result<(), Errno> {
        for (index, listener) in self.listeners.iter().enumerate() {
            epoll::add(&self.epoll, listener, key(index as u32, SPECIAL), EventFlags::IN)?;
        }
        Ok(())
    }

    /// Removes the listeners from the set, since their events would repeat and could not be served.
    fn unwatch_listeners(&mut self, why: Accepting) {
        debug_assert_eq!(self.accepting, Accepting::On);
        for listener in &self.listeners[usize::from(self.first_full)..] {
            let removed = epoll::delete(&self.epoll, listener);
            debug_assert!(removed.is_ok());
        }
        self.first_full = false;
        self.accepting = why;
    }

    /// Removes the first listener from the set, or adds it again.
    fn watch_first(&mut self, on: bool) {
        debug_assert_eq!(self.first_full, on, "it is so already");
        let Some(first) = self.listeners.first() else { return };
        // If there is no memory for the entry it is tried again with the next wait.
        self.first_full = match on {
            true => epoll::add(&self.epoll, first, key(0, SPECIAL), EventFlags::IN).is_err(),
            false => epoll::delete(&self.epoll, first).is_ok(),
        };
    }

    /// Accepts connections again if the obstacle is gone.
    pub(super) fn resume_accepting(&mut self) {
        if self.first_full && self.shares.has_room(0) {
            self.watch_first(true);
        }
        let over = match self.accepting {
            Accepting::On => false,
            Accepting::Full => !self.free.is_empty(),
            Accepting::Resting(until) => Instant::now() >= until,
        };
        if over {
            self.accepting = match self.watch_listeners() {
                Ok(()) => Accepting::On,
                Err(_) => {
                    // Some may have been added; they are removed again, so all are in or none.
                    for listener in &self.listeners {
                        let _ = epoll::delete(&self.epoll, listener);
                    }
                    Accepting::Resting(Instant::now() + ACCEPT_REST)
                }
            };
        }
    }

    /// Accepts one connection of a ready listener; `None` if this wait may take no more.
    pub(super) fn accept(&mut self, listener: usize) -> Option<Event> {
        while self.accepting == Accepting::On && self.accepts_left.get(listener) > Some(&0) {
            if !self.shares.has_room(u32::MAX) {
                self.unwatch_listeners(Accepting::Full);
                return None;
            }
            if !self.shares.has_room(listener as u32) {
                self.watch_first(false);
                return None;
            }
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            match net::acceptfrom_with(self.listeners.get(listener)?, flags) {
                Ok((fd, peer)) => {
                    self.accepts_left[listener] -= 1;
                    let peer = peer.and_then(|addr| SocketAddr::try_from(addr).ok());
                    let peer: Option<IpAddr> = peer.map(|addr| addr.ip().to_canonical());
                    return Some(Event::Accepted {
                        socket: self.occupy(fd, listener as u32),
                        peer,
                        listener: u8::try_from(listener).expect("few listeners"),
                    });
                }
                Err(Errno::AGAIN) => return None,
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    self.unwatch_listeners(Accepting::Resting(Instant::now() + ACCEPT_REST));
                    return None;
                }
                // Only that connection failed before it was accepted.
                Err(_) => self.accepts_left[listener] -= 1,
            }
        }
        None
    }

    fn occupy(&mut self, fd: OwnedFd, listener: u32) -> Socket {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                tag: Tag(0),
                fd: None,
                generation: 0,
                armed: NONE,
                registered: Interest::NOTHING,
                state: State::New,
                failed: false,
                fin: false,
            });
            self.slots.len() as u32 - 1
        });
        self.shares.take(index, listener);
        let slot = &mut self.slots[index as usize];
        debug_assert!(slot.fd.is_none() && slot.armed == NONE, "the slot is in use");
        slot.fd = Some(fd);
        slot.registered = Interest::NOTHING;
        slot.state = State::New;
        slot.failed = false;
        slot.fin = false;
        Socket(index)
    }
}
