//! Which sender sends which message when.
//!
//! Must not know connections. Invariant: message `k` of all is number `k / senders` of sender `k %
//! senders`, in an open loop at a time that is known in advance, also to other processes.

use super::clock::SECOND;

/// The messages of one stretch of an open loop: from number `first` on, `count` of them.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    pub start: u64,
    pub first: u64,
    pub count: u64,
    rate: f64,
    senders: u64,
}

impl Schedule {
    /// `rate` per second for `seconds`, by that many senders.
    #[must_use]
    pub fn new(start: u64, first: u64, rate: f64, seconds: f64, senders: usize) -> Schedule {
        let count = (rate * seconds).floor() as u64;
        Schedule { start, first, count, rate, senders: senders as u64 }
    }

    /// Number after the last message.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.first + self.count
    }

    /// When message `k` is to be sent.
    #[must_use]
    pub fn time(&self, k: u64) -> u64 {
        let since = k.saturating_sub(self.first) as f64 / self.rate;
        self.start + (since * SECOND as f64) as u64
    }

    /// When a message of a sender was to be sent.
    #[must_use]
    pub fn time_of(&self, sender: u32, sequence: u64) -> u64 {
        self.time(sequence * self.senders + u64::from(sender))
    }
}

/// Sender and sequence of message `k` among so many senders.
#[must_use]
pub fn message(k: u64, senders: usize) -> (u32, u64) {
    ((k % senders as u64) as u32, k / senders as u64)
}

/// Messages of a sender among the first `k` of all.
#[must_use]
pub fn count_of(k: u64, senders: usize, sender: usize) -> u64 {
    (k + senders as u64 - 1 - sender as u64) / senders as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_has_one_sender_number_and_time() {
        let schedule = Schedule::new(1_000, 0, 10.0, 2.5, 3);
        assert_eq!(schedule.count, 25);
        let mut counts = [0; 3];
        for k in 0..25 {
            let (sender, sequence) = message(k, 3);
            assert_eq!(sequence, counts[sender as usize]);
            counts[sender as usize] += 1;
            assert_eq!(schedule.time_of(sender, sequence), 1_000 + k * SECOND / 10);
        }
        for (sender, count) in counts.into_iter().enumerate() {
            assert_eq!(count_of(25, 3, sender), count);
        }
    }
}
