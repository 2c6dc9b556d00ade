//! Putting publications in order: given an offset here, or by an engine elsewhere.

use super::Home;
use super::asking::Passing;
use super::channel::Channel;
use super::idempotency::{self, Known};
use super::makers::Maker;
use super::replica::Asked;
use crate::clock::Now;
use crate::codec::command::ErrorCode;
use crate::contract::block::Block;
use crate::contract::engine::{Call, Engine, Wish};
use crate::contract::envelope::{Delivery, PublishOptions};
use crate::contract::key::ReplyTo;
use crate::contract::name::Name;
use crate::contract::position::{Epoch, Position, Version};
use crate::namespace::ChannelOptions;
use crate::rules::sabotage;
use crate::work::cost;

/// The position of a publication that has none.
const NOWHERE: Position = Position { epoch: Epoch(0), offset: 0 };

impl<E: Engine> Home<E> {
    pub(super) fn publish(
        &mut self,
        to: ReplyTo,
        block: Block,
        options: Option<Box<PublishOptions>>,
        now: Now,
    ) {
        let given = options.as_ref().map_or("", |options| &*options.idempotency_key);
        sabotage!(OncePerKey: given = "");
        let key = (!given.is_empty()).then(|| idempotency::key(block.channel(), given));
        if let Some(key) = &key {
            self.keys.forget_old(now.monotonic_ms());
            match self.keys.look_up(key, to) {
                Known::Not => {}
                Known::Waits => return,
                Known::Done(position) => {
                    return self.answer_known(to, block.channel(), position, now);
                }
            }
        }
        let key = key.map(|key| (key, self.keys.owner(block.publisher())));
        let skips = options.as_ref().is_some_and(|options| options.skip_history);
        if !E::LOCAL && !skips && self.keeps(block.channel()) {
            let options = options.map(|options| *options).unwrap_or_default();
            return self.call_publish(to, block, (key.map(|(key, _)| key), options), now);
        }
        let sequenced = match options.and_then(|options| options.version) {
            _ if skips || !E::LOCAL => {
                self.pass_on(&block);
                self.published += 1;
                if !E::LOCAL {
                    let channel = Name::from(block.channel());
                    self.pass(channel, Passing::Publication(block), now);
                }
                Ok(NOWHERE)
            }
            version => self.sequence(block, version, now),
        };
        let answer = match sequenced {
            Ok(position) => {
                if let Some((key, owner)) = key {
                    self.keys.done(key, owner, position, now.monotonic_ms());
                }
                Delivery::Published { to, position }
            }
            Err((error, block)) => {
                super::refused(to, error, "publish", Some(Name::from(block.channel())))
            }
        };
        self.say(to.connection.core, answer);
    }

    /// Asks the engine elsewhere to put a publication in order.
    fn call_publish(
        &mut self,
        to: ReplyTo,
        block: Block,
        (key, options): (Option<Name>, PublishOptions),
        now: Now,
    ) {
        let PublishOptions { idempotency_key, version, .. } = options;
        let given = if key.is_some() { idempotency_key } else { Box::default() };
        let wish = self.wish(&block, given, version);
        if let Some(key) = &key {
            self.keys.begin(key.clone());
        }
        let channel = Name::from(block.channel());
        let sent = block.clone();
        let publish = |id| Call::Publish { id, block: sent, wish };
        self.ask_in_line(channel, Asked::Publish { to, key, block }, publish, now);
    }

    /// How a publication is to be kept.
    fn wish(&self, block: &Block, key: Box<str>, version: Option<Version>) -> Box<Wish> {
        let place = self.channels.find(block.channel());
        let channel = place.and_then(|place| self.channels.get(place));
        let options = self.namespaces.options(block.channel());
        let (size, ttl_s, numbering_s) = match (channel, options) {
            (Some(it), _) => (it.history_size, it.history_ttl_s, it.history_meta_ttl_s),
            (None, Some(it)) => (it.history_size, it.history_ttl_s, it.history_meta_ttl_s.0),
            (None, None) => (0, 0, 0),
        };
        debug_assert!(size > 0 && ttl_s > 0, "what is not kept is not put in order");
        let is_live = place.is_some_and(|place| self.is_live(place));
        let above = channel.filter(|_| is_live).map(Channel::position);
        Box::new(Wish { key, size, ttl_s, numbering_s, version, above })
    }

    /// The engine elsewhere has put a publication in order. Its publisher, and whoever published
    /// with the same key meanwhile, is answered once it is forwarded (rule 34): here and now where
    /// it is new and comes next, and then its copy on the stream is a repeat.
    pub(super) fn called(
        &mut self,
        publish: (ReplyTo, Option<Name>, Block),
        (position, is_new): (Position, bool),
        now: Now,
    ) {
        let (to, key, block) = publish;
        let place = self.channels.find(block.channel());
        let key = key.map(|key| (key, self.keys.owner(block.publisher())));
        let unheard = place.is_some_and(|place| match is_new {
            true => self.forward_own(place, position, block),
            false => self.must_be_heard(place, position),
        });
        let waiting = match key {
            Some((key, owner)) => self.keys.done(key, owner, position, now.monotonic_ms()),
            None => Vec::new(),
        };
        let waiting = std::iter::once(to).chain(waiting);
        sabotage!(OwnFirst: unheard = false);
        match place.and_then(|place| self.replica(place)) {
            Some(_) if unheard => {
                let place = place.expect("it has a replica");
                waiting.for_each(|to| self.wait_to_be_heard(place, to, Some(position), now));
            }
            _ => waiting.for_each(|to| self.say_published(to, position)),
        }
    }

    /// Answers a publish with a key that was carried out before. Its publication may still have to
    /// be forwarded: whoever published it first may have been answered with an error because that
    /// took too long (rule 34).
    fn answer_known(&mut self, to: ReplyTo, channel: &str, position: Position, now: Now) {
        let place = self.channels.find(channel);
        match place.filter(|place| self.must_be_heard(*place, position)) {
            Some(place) => self.wait_to_be_heard(place, to, Some(position), now),
            None => self.say_published(to, position),
        }
    }

    /// Answers a publish.
    pub(super) fn say_published(&mut self, to: ReplyTo, position: Position) {
        self.say(to.connection.core, Delivery::Published { to, position });
    }

    /// Says a publication to every core that listens, without a place in the channel.
    pub(super) fn pass_on(&mut self, block: &Block) {
        if let Some(place) = self.channels.find(block.channel()) {
            let block = self.with_delta(place, block.clone());
            self.say_to_interested(place, |local| Delivery::Publication {
                local,
                offset: 0,
                block: block.clone(),
            });
        }
    }

    /// Has a channel a history, whether or not it is here?
    pub(super) fn keeps(&self, channel: &str) -> bool {
        match self.channels.find(channel).and_then(|place| self.channels.get(place)) {
            Some(channel) => channel.keeps(),
            None => self.namespaces.options(channel).is_some_and(ChannelOptions::keeps_history),
        }
    }

    /// Gives the publication the next offset of its channel and says it to every core that listens.
    /// What there is no place to keep is refused: acknowledged, it would be lost in silence.
    fn sequence(
        &mut self,
        block: Block,
        version: Option<Version>,
        now: Now,
    ) -> Result<Position, (ErrorCode, Block)> {
        let place = match self.channels.find(block.channel()) {
            Some(place) => place,
            None => {
                if !self.options(block.channel()).keeps_history() {
                    return Ok(NOWHERE);
                }
                let by = block.publisher();
                let maker = by.and_then(|by| Some(Maker { connection: by.key?, user: by.user }));
                match self.find_or_make(&block.channel().into(), maker, now) {
                    Ok(place) => place,
                    Err(error) => return Err((error, block)),
                }
            }
        };
        if !self.note_version(place, version) {
            self.renew(place, now);
            return Ok(self.channels.at(place).position());
        }
        self.forward(place, block);
        self.published += 1;
        if self.channels.at(place).history_size == 0 {
            return Ok(NOWHERE);
        }
        self.renew(place, now);
        Ok(self.channels.at(place).position())
    }

    /// Notes the version of a channel's last publication, which may be none: then nothing is
    /// compared with it. False: the channel has one as new already, and nothing is noted.
    fn note_version(&mut self, place: u32, version: Option<Version>) -> bool {
        let channel = self.channels.at(place);
        if let (Some(version), Some(last)) = (&version, &channel.version)
            && version.is_late(last)
        {
            return false;
        }
        channel.version = version.map(Box::new);
        true
    }

    /// What is forwarded next, kept or not: subscribers apply the next delta to what came last.
    fn with_delta(&mut self, place: u32, block: Block) -> Block {
        let Some(base) = self.channels.at(place).delta.as_mut() else { return block };
        let (block, steps) = base.attach(block);
        self.work.charge(steps * cost::DELTA_STEP + block.size() / cost::COPIED_BYTES_PER_NS);
        block
    }

    /// The next publication of a channel: kept, and said to every core that listens.
    pub(super) fn forward(&mut self, place: u32, block: Block) {
        let channel = self.channels.at(place);
        channel.last += 1;
        let offset = channel.last;
        if channel.history_size > 0 {
            let before = channel.history.bytes();
            channel.history.push(offset, block.clone(), channel.history_size as usize);
            let after = channel.history.bytes();
            self.history_bytes = self.history_bytes - before + after;
        }
        // History keeps the publication without: whoever reads it may have any other before it.
        let block = self.with_delta(place, block);
        self.say_to_interested(place, |local| Delivery::Publication {
            local,
            offset,
            block: block.clone(),
        });
    }
}
