//! What a simulated client does with what comes in, and what it holds against the server.
//!
//! Must not know anything but the bytes. Invariant: whatever a subscriber was not given in order
//! and once, it was told of; everything else is a violation.

use super::client::{Around, Client, Phase, Sub};
use super::server_side::Since;
use super::waiting::{Standing, Waiting};
use super::wire::{self, Corrupt, Frame, Message};

/// How late a delivery may come, in microseconds of clean time.
pub(super) const LATE_US: u64 = 100_000;
/// Consumed bytes at the inbox's front before it is moved up.
const COMPACT_BYTES: usize = 16 << 10;

impl Client {
    /// Reads up to `limit` bytes and handles what is whole.
    pub fn read(&mut self, limit: usize, around: &mut Around, now_us: u64) {
        if now_us < self.stalled_until_us {
            return;
        }
        if self.stalled_until_us > 0 {
            self.stalled_until_us = 0;
            self.clear_since_us = around.ledger.clean_us;
        }
        let Some(link) = self.link else { return };
        let (mut wire, mut back) = (Vec::new(), Vec::new());
        around.net.read(link, limit, &mut wire);
        let opened = self.ends.take(&wire, &mut self.inbox, &mut back);
        self.put(&back, around);
        let taken = opened.and_then(|()| match self.phase {
            Phase::Outcast => {
                self.inbox.clear();
                Ok(())
            }
            _ => self.take_all(around),
        });
        if let Err(Corrupt(what)) = taken {
            let (index, connection) = (self.index, self.connection);
            around.ledger.violation("stream_corrupt", || {
                format!("client {index} connection {connection}: {what}")
            });
            return self.leave(around);
        }
        self.end_of_read(around);
    }

    fn end_of_read(&mut self, around: &mut Around) {
        let Some(link) = self.link else { return };
        let over = match &mut self.phase {
            Phase::Closed { reads: 0 } => true,
            Phase::Closed { reads } => {
                *reads -= 1;
                false
            }
            _ => false,
        };
        if !over && !around.net.at_end(link) {
            return;
        }
        let (fin, sin) = (around.net.links[link].down_fin, self.ends.sin());
        self.cut = self.ends.is_sealed() && self.ends.is_open();
        if self.phase == Phase::Outcast && self.ends.is_alerted() {
            let cause = sin.and_then(super::ends::Sin::cause).unwrap_or_default();
            around.ledger.sins.push((cause, true));
        } else if fin && self.ends.misses_an_alert() && around.plan.sealing.wears_after == u32::MAX
        {
            self.wrong("no_alert", around, || format!("{sin:?}"));
        }
        self.leave(around);
    }

    fn take_all(&mut self, around: &mut Around) -> Result<(), Corrupt> {
        if self.phase == Phase::Upgrading {
            let asked = self.dialect.subprotocol();
            let Some(end) = wire::take_head(&self.inbox[self.at..], asked)? else { return Ok(()) };
            self.at += end;
            self.introduce(around);
        }
        let inbox = std::mem::take(&mut self.inbox);
        let mut at = std::mem::take(&mut self.at);
        let taken = self.take_frames(&inbox, &mut at, around);
        (self.inbox, self.at) = (inbox, at);
        if self.at == self.inbox.len() || self.at > COMPACT_BYTES {
            self.inbox.drain(..self.at);
            self.at = 0;
        }
        taken
    }

    fn take_frames(
        &mut self,
        inbox: &[u8],
        at: &mut usize,
        around: &mut Around,
    ) -> Result<(), Corrupt> {
        while self.link.is_some()
            && let Some((frame, length)) = wire::take_frame(&inbox[*at..])?
        {
            let bytes = &inbox[*at..*at + length];
            *at += length;
            if let Phase::Closed { .. } = self.phase {
                let text = String::from_utf8_lossy(&bytes[..bytes.len().min(100)]).into_owned();
                let code = self.last_close;
                self.wrong("data_after_close_frame", around, || format!("{code:?}: {text}"));
                return Err(Corrupt("data after the close frame"));
            }
            match frame {
                Frame::Message { opcode, .. } if opcode != self.dialect.opcode() => {
                    return Err(Corrupt("opcode of another codec"));
                }
                Frame::Message { start, end, .. } => {
                    for text in self.dialect.replies(&bytes[start..end])? {
                        let Ok(message) = serde_json::from_str(&text) else {
                            let text: String = text.chars().take(200).collect();
                            self.wrong("not_a_reply", around, || text);
                            return Err(Corrupt("not a reply"));
                        };
                        self.message(&text, message, around);
                    }
                }
                Frame::Ping { start, end } => self.frame(10, &bytes[start..end], around),
                Frame::Pong => return Err(Corrupt("a pong nobody asked for")),
                Frame::Close { code } => self.closed(code, around),
            }
        }
        Ok(())
    }

    fn closed(&mut self, code: u16, around: &mut Around) {
        // A small bound may be passed by one turn's output, whatever the reader's speed.
        let tight = around.plan.limits.backlog_bytes < 1 << 20;
        let short = tight || self.link.is_some_and(|link| around.net.links[link].was_short);
        let fair = match code {
            3001 => around.plan.shutdown,
            3008 => self.slow || short,
            // Within a short time a fair answer may be late, for all that the network does.
            3012 | 3502 => self.slow || self.mute || around.plan.pong_ms < 1_000,
            3010 => self.may_have_missed(around),
            3503 => around.plan.disconnects && self.user.is_some(),
            _ => false,
        };
        if !fair {
            let (index, connection) = (self.index, self.connection);
            around.ledger.violation("unexpected_close", || {
                format!("client {index} connection {connection}: {code}")
            });
        }
        let told = self.told_end.take();
        if told != self.dialect.is_told_why().then_some(u32::from(code)) {
            self.wrong("end_told_wrongly", around, || format!("{told:?}, closed with {code}"));
        }
        // One that was never begun was closed by a call before.
        let called = around.plan.channels.iter().position(|channel| channel.called);
        if code == 3503 && called.is_some_and(|channel| self.channels[channel].sub == Sub::Live) {
            around.ledger.judge_farewell(self);
        }
        self.last_close = Some(code);
        self.frame(8, &code.to_be_bytes(), around);
        self.phase = Phase::Closed { reads: self.random.below(6) as u32 };
    }

    pub(super) fn wrong(
        &self,
        kind: &'static str,
        around: &mut Around,
        detail: impl FnOnce() -> String,
    ) {
        let (index, connection) = (self.index, self.connection);
        around.ledger.violation(kind, || format!("client {index}.{connection}: {}", detail()));
    }

    fn message(&mut self, text: &str, message: Message, around: &mut Around) {
        if self.told_end.is_some() {
            return self.wrong("data_after_disconnect", around, || text.to_owned());
        }
        if let Some(push) = message.push {
            if let Some(problem) = push.disconnect {
                self.told_end = Some(problem.code);
                return;
            }
            return self.push(&push, around);
        }
        if message.id == 0 {
            if text != "{}" {
                self.wrong("foreign_reply", around, || text.to_owned());
            } else if !self.mute {
                self.say(b"{}", around);
            }
            return;
        }
        let Some(at) = self.waiting.iter().position(|(id, _)| *id == message.id) else {
            return self.wrong("foreign_or_double_reply", around, || text.to_owned());
        };
        let (id, waiting) = self.waiting.remove(at);
        self.judge_turn(at, &waiting, around);
        if let Some(error) = message.error {
            return self.refused(id, &waiting, error.code, around);
        }
        if waiting.standing() == Standing::Stranger {
            return self.wrong("strangers_command_taken", around, || text.to_owned());
        }
        match (waiting, message) {
            (Waiting::Connect { since }, Message { connect: Some(answer), .. }) => {
                self.connected(&since, &answer, around);
            }
            (Waiting::Subscribe { channel, since }, Message { subscribe: Some(answer), .. }) => {
                self.subscribed(id, channel, since, &answer, around);
            }
            (Waiting::Unsubscribe { channel }, Message { unsubscribe: Some(_), .. }) => {
                self.left(channel, id);
            }
            (Waiting::Publish { publication, .. }, Message { publish: Some(_), .. }) => {
                around.ledger.acknowledged(publication);
            }
            (
                Waiting::Presence { channel, live_since, .. },
                Message { presence: Some(who), .. },
            ) => {
                let state = &self.channels[channel];
                let stayed = state.sub == Sub::Live && live_since == Some(state.live_since);
                if stayed && !who.clients.contains_key(self.name.as_str()) {
                    self.wrong("absent_from_presence", around, || text.to_owned());
                }
            }
            (Waiting::Echo { bytes }, Message { rpc: Some(echo), .. })
                if echo.data.len() == bytes && echo.data.bytes().all(|byte| byte == b'e') => {}
            (Waiting::PresenceStats { .. }, Message { presence_stats: Some(_), .. }) => {}
            (Waiting::History { channel, .. }, Message { history: Some(answer), .. }) => {
                self.history_came(channel, &answer, around);
            }
            _ => self.wrong("answer_of_another_kind", around, || text.to_owned()),
        }
    }

    fn connected(&mut self, since: &[Since], answer: &wire::Connected, around: &mut Around) {
        self.phase = Phase::Connected;
        answer.client.as_ref().clone_into(&mut self.name);
        around.ledger.connected(self.index, self.connection, &answer.client);
        self.given(since, answer, around);
        self.subscribe_all(around.plan);
        self.post(around);
    }

    fn refused(&mut self, id: u32, waiting: &Waiting, code: u32, around: &mut Around) {
        match waiting {
            Waiting::Subscribe { channel, .. } => {
                let state = &mut self.channels[*channel];
                if state.sub == (Sub::Asked { id }) {
                    state.sub = Sub::Off;
                }
            }
            Waiting::Unsubscribe { channel } => self.left(*channel, id),
            _ => {}
        }
        if code == 100 && around.plan.fails() && waiting.asks_the_engine(around.plan) {
            match waiting {
                Waiting::Publish { publication, .. } => around.ledger.failed(*publication),
                // One of its subscriptions could not be had: it comes back.
                Waiting::Connect { .. } => self.leave(around),
                // What it sent behind, as a member, finds none.
                Waiting::Subscribe { channel, .. } => self.channels[*channel].taken_out += 1,
                _ => {}
            }
            return;
        }
        if code == 103 && self.is_fairly_denied(waiting) {
            if let Waiting::Publish { publication, .. } = waiting {
                around.ledger.publications[*publication as usize].refused = true;
            }
            return;
        }
        // A subscribe that was taken back before its answer may be refused; a stop refuses all.
        let taken_back = matches!(waiting, Waiting::Subscribe { channel, .. }
            if self.channels[*channel].sub != Sub::Off);
        if !taken_back && !around.plan.shutdown {
            self.wrong("refused", around, || format!("{waiting:?}: {code}"));
        }
    }

    /// Commands about one channel are answered in the order in which they were sent (rule 32).
    fn judge_turn(&self, at: usize, waiting: &Waiting, around: &mut Around) {
        let Some(channel) = waiting.channel() else { return };
        let earlier = self.waiting[..at].iter().find(|(_, it)| it.channel() == Some(channel));
        // A stop refuses what waits for a lane, while what went before is still under way.
        if let Some(earlier) = earlier
            && !around.plan.shutdown
        {
            self.wrong("answered_out_of_turn", around, || {
                format!("{waiting:?} ahead of {earlier:?}")
            });
        }
    }

    /// Was it no member when the turn of its command came?
    fn is_fairly_denied(&self, waiting: &Waiting) -> bool {
        match (waiting.standing(), waiting.channel()) {
            (Standing::Stranger, _) => true,
            (Standing::Member { taken_out }, Some(channel)) => {
                taken_out != self.channels[channel].taken_out
            }
            _ => false,
        }
    }

    fn left(&mut self, channel: usize, id: u32) {
        let state = &mut self.channels[channel];
        if let Sub::Leaving { id: leaving, then } = state.sub
            && leaving == id
        {
            state.sub = then.map_or(Sub::Off, |id| Sub::Asked { id });
        }
    }
}
