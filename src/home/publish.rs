//! Putting publications in order: given an offset here, or by an engine elsewhere.

use super::engine::{Call, Engine};
use super::envelope::{Delivery, Epoch, Position, ReplyTo, Request};
use super::replica::Asked;
use super::{Home, Untaken, block::Block};
use crate::clock::Now;
use crate::codec::command::ErrorCode;

impl<E: Engine> Home<E> {
    pub(super) fn publish(&mut self, to: ReplyTo, block: Block, now: Now) -> Result<(), Untaken> {
        if !E::LOCAL && block.is_passing() {
            // The stream keeps all that it orders.
            let (core, error) = (to.connection.core, ErrorCode::NotAvailable);
            self.say(core, Delivery::Refused { to, error, subscribe: None });
            return Ok(());
        }
        if !E::LOCAL {
            let token = self.next_token;
            if let Err(call) = self.engine.call(Call::Publish { token, block }) {
                let Call::Publish { block, .. } = call else {
                    unreachable!("it gives back its call")
                };
                return Err(Request::Publish { to, block });
            }
            self.next_token += 1;
            self.asked.insert(token, Asked::Publish(to));
            return Ok(());
        }
        let answer = match self.sequence(block, now) {
            Ok(position) => Delivery::Published { to, position },
            Err(error) => Delivery::Refused { to, error, subscribe: None },
        };
        self.say(to.connection.core, answer);
        Ok(())
    }

    /// Gives the publication the next offset of its channel and says it to every core that listens.
    /// What there is no place to keep is refused: acknowledged, it would be lost in silence.
    fn sequence(&mut self, block: Block, now: Now) -> Result<Position, ErrorCode> {
        let nowhere = Position { epoch: Epoch(0), offset: 0 };
        if block.is_passing() {
            self.pass_on(block);
            return Ok(nowhere);
        }
        let place = match self.channels.find(block.channel()) {
            Some(place) => place,
            None => {
                let options = self.options(block.channel());
                if !options.keeps_history() {
                    return Ok(nowhere);
                }
                let name = block.channel().into();
                self.channels.find_or_add(&name, &options).ok_or(ErrorCode::LimitExceeded)?
            }
        };
        self.forward(place, block);
        self.published += 1;
        if self.channels.at(place).history_size == 0 {
            return Ok(nowhere);
        }
        self.renew(place, now);
        Ok(self.channels.at(place).position())
    }

    /// A publication that is not kept: it goes to whoever listens, in order with the others, and
    /// takes no place among them.
    fn pass_on(&mut self, block: Block) {
        if let Some(place) = self.channels.find(block.channel()) {
            self.published += 1;
            let publication =
                |local| Delivery::Publication { local, offset: 0, block: block.clone() };
            self.say_to_interested(place, publication);
        }
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
        self.say_to_interested(place, |local| Delivery::Publication {
            local,
            offset,
            block: block.clone(),
        });
    }
}
