//! A crowd of connections that connect, subscribe and stay: what the figures are taken of.
//!
//! Must not know which figure. Invariant: every member is live, or the run has failed; nobody comes
//! back.

use crate::client::{CONNECT_ID, Cause, Client, Handler, Key, Kill};
use crate::protocol::{self, Message, Publication};
use anyhow::{Result, bail};
use std::time::{Duration, Instant};

const SUBSCRIBE_ID: u32 = 2;
/// Connects under way at once: below any listen queue.
const AT_ONCE: usize = 64;
const GROW: Duration = Duration::from_secs(120);

/// What is done with a publication: (tag, publication).
type Deliver<'a> = Box<dyn FnMut(usize, &Publication<'_>) + 'a>;

pub struct Crowd<'a> {
    pub keys: Vec<Key>,
    pub live: usize,
    /// Publishes answered.
    pub acknowledged: u64,
    /// The channel that a member subscribes to; none: it only connects.
    channel: Box<dyn Fn(usize) -> Option<String> + 'a>,
    deliver: Deliver<'a>,
    failure: Option<String>,
}

impl<'a> Crowd<'a> {
    pub fn new(
        channel: impl Fn(usize) -> Option<String> + 'a,
        deliver: impl FnMut(usize, &Publication<'_>) + 'a,
    ) -> Crowd<'a> {
        Crowd {
            keys: Vec::new(),
            live: 0,
            acknowledged: 0,
            channel: Box::new(channel),
            deliver: Box::new(deliver),
            failure: None,
        }
    }

    /// Grows to `size` live members.
    pub fn grow(&mut self, client: &mut Client, size: usize) -> Result<()> {
        let deadline = Instant::now() + GROW;
        while self.live < size {
            while self.keys.len() < size && self.keys.len() - self.live < AT_ONCE {
                let key = client.open(self.keys.len())?;
                self.keys.push(key);
            }
            self.poll(client, Duration::from_millis(1))?;
            if Instant::now() > deadline {
                bail!("only {} of {size} are connected after {GROW:?}", self.live);
            }
        }
        Ok(())
    }

    /// Polls once; fails if a member was lost.
    pub fn poll(&mut self, client: &mut Client, timeout: Duration) -> Result<()> {
        client.poll(self, timeout)?;
        match &self.failure {
            None => Ok(()),
            Some(failure) => bail!("{failure}"),
        }
    }

    /// Stays for a while, answering pings.
    pub fn stay(&mut self, client: &mut Client, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.poll(client, Duration::from_millis(10))?;
        }
        Ok(())
    }

    /// Ends everybody by RST, which leaves no port in TIME_WAIT.
    pub fn dismiss(&mut self, client: &mut Client) {
        for key in self.keys.drain(..) {
            client.kill(key, Kill::Reset);
        }
        self.live = 0;
    }
}

impl Handler for Crowd<'_> {
    fn message(&mut self, client: &mut Client, tag: usize, message: &Message<'_>) {
        if let Some(publication) = message.push.as_ref().and_then(|push| push.publication.as_ref())
        {
            return (self.deliver)(tag, publication);
        }
        if let Some(error) = &message.error {
            self.failure = Some(format!("member {tag}: error {} {}", error.code, error.message));
            return;
        }
        match message.id {
            CONNECT_ID => match (self.channel)(tag) {
                None => self.live += 1,
                Some(channel) => client.command(self.keys[tag], |out| {
                    protocol::subscribe(out, SUBSCRIBE_ID, &channel, None);
                }),
            },
            SUBSCRIBE_ID => self.live += 1,
            0 => {}
            _ => self.acknowledged += 1,
        }
    }

    fn closed(&mut self, _client: &mut Client, tag: usize, cause: Cause) {
        self.failure = Some(format!("member {tag}: closed by the server: {cause:?}"));
    }
}
