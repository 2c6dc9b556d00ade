//! How a connection ends: off the subscriber lists first, then a close frame, then nothing (rule
//! 21).

use crate::clock::Now;
use crate::codec::command::{Disconnect, Push, Reply, UNSUBSCRIBE_INSUFFICIENT};
use crate::edge::connection::{Fact, Input, Life, Subscription, SubscriptionState, Traits};
use crate::edge::outbound::frames::opcode;
use crate::edge::outbound::output::{Class, NO_CHANNEL};
use crate::edge::outbound::replay::Replayed;
use crate::edge::{Edge, Late, Token};
use crate::limits::CLOSE_WAIT_MS;
use crate::rules::{Rule, holds};
use crate::ws::frame;

impl Edge {
    /// Ends a connection with a code of the protocol.
    pub(in crate::edge) fn disconnect(&mut self, token: Token, why: Disconnect, now: Now) {
        let (code, reason) = why.parts();
        self.disconnect_with(token, code, reason, now);
    }

    /// The same, with a code and reason of somebody's choice.
    pub(in crate::edge) fn disconnect_with(
        &mut self,
        token: Token,
        code: u16,
        reason: &str,
        now: Now,
    ) {
        if self.is_told_why(token) {
            let push = Push::disconnect(code, reason);
            self.reply(token, &Reply::Push { channel: "", push });
        }
        self.close(token, code, reason, now);
    }

    /// Ends a WebSocket: close frame, then the peer's close is awaited. What was written before
    /// goes out before it.
    pub(in crate::edge) fn close(&mut self, token: Token, code: u16, reason: &str, now: Now) {
        if !matches!(self.life(token), Life::Authenticating | Life::Active) {
            return;
        }
        self.metrics.disconnect(code);
        self.note_closed(token, code, reason);
        self.drop_server_side(token);
        if holds(Rule::CloseLast) {
            self.leave_lists(token);
        }
        let mut close = Vec::with_capacity(64);
        frame::write_close(&mut close, code, reason);
        let written = self.control_frame(token, &close);
        self.at(token).become_(Life::Closing);
        if !written {
            return self.late.push_back(Late::Finished(token));
        }
        self.drop_commands(token);
        self.resume_reading(token);
        self.await_close(token, now);
        self.owe(token);
    }

    /// Ends a slow connection: what waits is discarded, the close goes behind the chunk in flight.
    pub(in crate::edge) fn close_slow(&mut self, token: Token, now: Now) {
        if !matches!(self.life(token), Life::Authenticating | Life::Active) {
            return self.kill(token, now);
        }
        let (code, reason) = Disconnect::Slow.parts();
        self.drop_server_side(token);
        self.leave_lists(token);
        self.metrics.disconnect(code);
        self.note_closed(token, code, reason);
        self.forget_pending(token);
        let mut close = Vec::with_capacity(16);
        if self.is_told_why(token) {
            let codec = self.at(token).codec;
            let mut push = Vec::with_capacity(64);
            let told = Push::disconnect(code, reason);
            codec.write_reply(&mut push, &Reply::Push { channel: "", push: told });
            frame::write(&mut close, opcode(codec), &push);
        }
        frame::write_close(&mut close, code, reason);
        let fits = self.with_backlog(token, |backlog| backlog.discard_for_close(&close));
        self.at(token).become_(Life::Closing);
        self.drop_commands(token);
        self.resume_reading(token);
        self.set_deadline(token, now.monotonic_ms() + CLOSE_WAIT_MS);
        self.owe(token);
        if !fits {
            self.kill(token, now);
        }
    }

    /// Connections of our own protocol have the close frame's code and reason in a push before it.
    fn is_told_why(&self, token: Token) -> bool {
        let open = matches!(self.life(token), Life::Authenticating | Life::Active);
        open && self.places.get(token.index).facts.has(Fact::OwnProtocol)
    }

    /// Fails a WebSocket (RFC 6455 section 7.1.7): close frame, FIN, and what the peer still sends
    /// is passed over until it closes too, or a reset could overtake the close frame.
    pub(in crate::edge) fn fail(
        &mut self,
        token: Token,
        code: u16,
        reason: &'static str,
        now: Now,
    ) {
        self.close(token, code, reason, now);
        if self.life(token) == Life::Closing {
            self.at(token).facts.set(Fact::Failed, true);
            self.drop_unread(token);
            self.finish(token);
        }
    }

    /// Gives up what a failed connection sent and nobody will look at.
    fn drop_unread(&mut self, token: Token) {
        let fragments = std::mem::take(&mut self.at(token).deframer).held_bytes();
        let input = self.at(token).input.as_mut();
        let wire = input.map_or(Vec::new(), |input| std::mem::take(&mut input.wire));
        self.spill_shrank(token, fragments + wire.capacity());
    }

    /// What was asked and not yet run never will be. Bytes not yet cut into frames are kept: the
    /// deframer stands in them, and the peer's close frame is still to come.
    fn drop_commands(&mut self, token: Token) {
        let Some(mut input) = self.at(token).input.take() else { return };
        let (wire, ended) = (std::mem::take(&mut input.wire), input.ended);
        self.spill_shrank(token, input.message.capacity() + input.later_bytes());
        (input.message, input.later) = (Vec::new(), Vec::new());
        self.drop_parked(token, Some(input));
        if !wire.is_empty() || ended {
            let kept = self.at(token).input();
            (kept.wire, kept.ended) = (wire, ended);
            self.make_ready(token);
        }
    }

    /// The peer's close frame came: it is answered, and the socket closed once the answer is out.
    pub(in crate::edge) fn peer_closed(&mut self, token: Token, code: Option<u16>, now: Now) {
        if self.life(token) != Life::Closing {
            self.close(token, code.unwrap_or(1000), "", now);
        }
        if self.life(token) == Life::Closing {
            self.finish(token);
        }
    }

    /// Ends an HTTP connection: no more is written; the socket closes when the peer has closed too.
    pub(in crate::edge) fn shut(&mut self, token: Token, now: Now) {
        self.at(token).facts.set(Fact::Finishing, true);
        self.await_close(token, now);
    }

    /// Closes the socket once everything written is out.
    pub(in crate::edge) fn finish(&mut self, token: Token) {
        self.at(token).facts.set(Fact::Finishing, true);
        let clear = !self.output.has_pending(token.index) && self.at(token).backlog.is_none();
        if clear {
            self.written(token);
        }
    }

    /// What flush and the drivers' events found, done in a later stage than theirs.
    pub fn settle_late(&mut self, now: Now) {
        while let Some(late) = self.late.pop_front() {
            match late {
                Late::Overflow(token) if self.is_current(token) => self.overflow(token, now),
                Late::Shed => self.shed_backlogs(now),
                Late::Finished(token) if self.is_current(token) => self.kill(token, now),
                Late::Slow(token) if self.is_current(token) => self.close_slow(token, now),
                Late::Insufficient(token) if self.is_current(token) => {
                    self.disconnect(token, Disconnect::InsufficientState, now);
                }
                _ => {}
            }
        }
    }

    /// A backlog passed its bound: 3008; but while a recovery answer is on its way out, its
    /// channel's publications are dropped and 2500 follows the answer (rule 24).
    fn overflow(&mut self, token: Token, now: Now) {
        if self.life(token) == Life::Closing {
            // Nothing follows its close frame, so nothing grows any more.
            return;
        }
        let replayed: Vec<Replayed> = self
            .at(token)
            .backlog
            .as_ref()
            .map_or(Vec::new(), |backlog| backlog.replayed().collect());
        for Replayed { channel, sequence } in replayed {
            // The client may have left that channel, and its number be another's now.
            let lasts =
                self.at(token).subscription(channel).is_some_and(|it| it.sequence == sequence);
            if holds(Rule::BigAnswer) && lasts && self.lose_position(token, channel) {
                // What an earlier turn wrote and no flush has reached yet is dropped with the rest.
                self.pending_to_backlog(token);
                self.with_backlog(token, |backlog| backlog.drop_publications(channel));
                let name = self.channels.at(channel).name.clone();
                self.push_unsubscribe(token, name.as_str());
            }
        }
        if self.is_over_backlog(token) {
            self.close_slow(token, now);
        }
    }

    /// Tells every subscriber that was promised to miss nothing that it did miss something: SDKs
    /// subscribe again and recover.
    pub(in crate::edge) fn position_lost(&mut self, channel: u32) {
        self.mark_staged();
        self.metrics.position_lost.add(1);
        let known = self.channels.at(channel);
        let name = known.name.clone();
        let listed: Vec<u32> = known.subscribers.iter().map(|it| it.connection).collect();
        for index in listed {
            let generation = self.output.generation(index);
            let token = Token { index, generation };
            let promised = self.at(token).subscription(channel).is_some_and(|it| {
                it.traits.has(Traits::RECOVERABLE) || it.traits.has(Traits::POSITIONED)
            });
            let server_side = self
                .at(token)
                .subscription(channel)
                .is_some_and(|it| it.traits.has(Traits::SERVER_SIDE));
            if promised && self.lose_position(token, channel) {
                if server_side {
                    // Its client cannot subscribe again; coming back, it recovers.
                    self.late.push_back(Late::Insufficient(token));
                } else {
                    self.push_unsubscribe(token, name.as_str());
                }
            }
        }
        self.channels.at(channel).last = None;
    }

    /// Tells one subscriber that it missed something.
    pub(in crate::edge) fn drop_slow(&mut self, token: Token, channel: u32) {
        let name = self.channels.at(channel).name.clone();
        if self.lose_position(token, channel) {
            self.push_unsubscribe(token, name.as_str());
        }
    }

    /// Ends one subscription, and tells its client with this code and reason.
    pub(in crate::edge) fn end_with(&mut self, token: Token, channel: u32, why: (u32, &str)) {
        // What came before reaches it before.
        self.mark_staged();
        let name = self.channels.at(channel).name.clone();
        if self.lose_position(token, channel) {
            let push = Push::Unsubscribe { code: why.0, reason: why.1 };
            self.reply(token, &Reply::Push { channel: name.as_str(), push });
        }
    }

    /// Ends one subscription from this side; its Unsubscribe is owed. False: there is none.
    fn lose_position(&mut self, token: Token, channel: u32) -> bool {
        let Some(subscription) = self.at(token).subscription(channel) else { return false };
        if subscription.state != SubscriptionState::Active {
            return false;
        }
        self.remove_subscriber(token, channel);
        self.at(token).subscriptions.owe(channel);
        self.owe(token);
        true
    }

    fn push_unsubscribe(&mut self, token: Token, channel: &str) {
        let (code, reason) = UNSUBSCRIBE_INSUFFICIENT;
        self.reply(token, &Reply::Push { channel, push: Push::Unsubscribe { code, reason } });
    }

    /// Takes a connection off every subscriber list; its subscriptions become owed.
    pub(in crate::edge) fn leave_lists(&mut self, token: Token) {
        for place in 0..self.at(token).subscriptions.len() {
            let Subscription { state, channel, .. } =
                self.at(token).subscriptions.as_slice()[place];
            if state == SubscriptionState::Active {
                self.remove_subscriber(token, channel);
                self.at(token).subscriptions.owe(channel);
            }
        }
    }

    /// Forgets commands that wait for a lane; they were not answered, and now never will be.
    pub(in crate::edge) fn drop_parked(&mut self, token: Token, input: Option<Box<Input>>) {
        let parked = input.filter(|input| !input.parked.is_empty());
        if let Some(input) = parked {
            self.presences.dropped(&input);
            // Subscriptions whose Subscribe was parked never reached a home.
            self.forget_unpushed(token);
        }
    }

    /// Writes a control frame: it overtakes what waits, at a frame boundary. False: no room for it.
    fn control_frame(&mut self, token: Token, bytes: &[u8]) -> bool {
        if self.at(token).backlog.is_none() || !holds(Rule::BacklogFirst) {
            let range = self.output.control(bytes);
            self.output.mark(token.index, range);
            return true;
        }
        // Ranges of this turn lie behind the backlog; a close frame must lie behind them too.
        if self.output.has_pending(token.index) {
            let range = self.output.control(bytes);
            self.output.mark(token.index, range);
            return true;
        }
        let close = bytes.first() == Some(&0x88);
        self.with_backlog(token, |backlog| {
            if close {
                backlog.push(bytes, Class::Control, NO_CHANNEL);
                return true;
            }
            backlog.push_control(bytes)
        })
    }

    /// Writes a control frame other than close.
    pub(in crate::edge) fn control(&mut self, token: Token, bytes: &[u8]) {
        // Where 4 KiB of pings and pongs wait already, one more says nothing new.
        let _ = self.control_frame(token, bytes);
    }
}
