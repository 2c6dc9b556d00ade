//! Does what is published come back? A node publishes on a channel of its own once a second, and
//! waits for the echo.
//!
//! Connections can be up, and answer, while nothing that is published arrives: after a failover
//! they may reach two servers. Must not know bytes. Invariants: one try is under way at a time; an
//! echo is only missed from a connection that was said to hear.

use crate::limits::{REDIS_DEAF_US, REDIS_ECHO_US, REDIS_RETRY_US};

/// A try under way.
#[derive(Clone, Copy, Debug)]
struct Try {
    began_us: u64,
    /// Redis has said that it is published.
    answered_us: Option<u64>,
}

/// See the module's page.
#[derive(Debug, Default)]
pub struct Echo {
    /// Tries so far; one is known by its number.
    number: u64,
    under_way: Option<Try>,
    /// None begins before.
    next_us: u64,
    /// The channel is heard: Redis has confirmed it.
    is_heard: bool,
    /// Redis is asked then to let it be heard.
    hear_us: Option<u64>,
}

impl Echo {
    /// The connection that hears is up.
    pub fn connected(&mut self, now_us: u64) {
        debug_assert!(!self.is_heard, "it is another connection");
        self.hear_us = Some(now_us);
    }

    /// Is Redis to be asked now to let the channel be heard? True once.
    pub fn take_hearing(&mut self, now_us: u64) -> bool {
        self.hear_us.take_if(|due_us| now_us >= *due_us).is_some()
    }

    /// Redis does not let it be heard: it is asked again after a while.
    pub fn refused(&mut self, now_us: u64) {
        self.hear_us = Some(now_us + REDIS_RETRY_US);
    }

    /// The connection that hears was confirmed to hear this channel.
    pub fn heard(&mut self) {
        self.is_heard = true;
    }

    /// One of the connections is no more: what is under way comes to nothing.
    pub fn lost(&mut self, hears: bool) {
        self.under_way = None;
        if hears {
            self.is_heard = false;
            self.hear_us = None;
        }
    }

    /// The number of the try that begins now, if one is due.
    pub fn begin(&mut self, now_us: u64) -> Option<u64> {
        if self.under_way.is_some() || !self.is_heard || now_us < self.next_us {
            return None;
        }
        self.number += 1;
        self.next_us = now_us + REDIS_ECHO_US;
        self.under_way = Some(Try { began_us: now_us, answered_us: None });
        Some(self.number)
    }

    /// It is published, or Redis would not have it.
    pub fn answered(&mut self, number: u64, now_us: u64) {
        if number == self.number
            && let Some(it) = &mut self.under_way
        {
            it.answered_us = Some(now_us);
        }
    }

    /// One came back: gives the microseconds that it took, where it is the one under way. It may
    /// come before it is answered.
    pub fn came(&mut self, number: u64, now_us: u64) -> Option<u64> {
        if number != self.number {
            return None;
        }
        let it = self.under_way.take()?;
        debug_assert!(it.began_us <= now_us, "it came before it began");
        Some(now_us.saturating_sub(it.began_us))
    }

    /// Has one been published for so long that its hearer must be deaf?
    #[must_use]
    pub fn is_deaf(&self, now_us: u64) -> bool {
        let answered_us = self.under_way.and_then(|it| it.answered_us);
        answered_us.is_some_and(|answered_us| now_us >= answered_us + REDIS_DEAF_US)
    }

    /// When anything of this will be due.
    #[must_use]
    pub fn deadline_us(&self) -> Option<u64> {
        match self.under_way {
            Some(it) => it.answered_us.map(|answered_us| answered_us + REDIS_DEAF_US),
            None if self.is_heard => Some(self.next_us),
            None => self.hear_us,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_try_begins_when_the_one_before_came_and_its_time_is_over() {
        let mut echo = Echo::default();
        assert!(!echo.take_hearing(5));
        echo.connected(5);
        assert!(echo.take_hearing(5) && !echo.take_hearing(5));
        echo.refused(6);
        assert_eq!(echo.deadline_us(), Some(6 + REDIS_RETRY_US));
        assert!(!echo.take_hearing(5 + REDIS_RETRY_US) && echo.take_hearing(6 + REDIS_RETRY_US));
        assert_eq!((echo.begin(5), echo.deadline_us()), (None, None), "nobody hears");
        echo.heard();
        assert_eq!(echo.begin(5), Some(1));
        assert_eq!(echo.begin(5 + REDIS_ECHO_US), None, "the first is under way");
        assert_eq!(echo.came(2, 8), None);
        assert_eq!(echo.came(1, 8), Some(3));
        assert_eq!(echo.came(1, 9), None, "once");
        assert_eq!(echo.begin(6), None);
        assert_eq!(echo.deadline_us(), Some(5 + REDIS_ECHO_US));
        assert_eq!(echo.begin(5 + REDIS_ECHO_US), Some(2));
    }

    #[test]
    fn who_does_not_hear_what_was_published_is_deaf() {
        let mut echo = Echo::default();
        echo.heard();
        let number = echo.begin(0).expect("it is due");
        assert!(!echo.is_deaf(u64::MAX), "nobody has said that it is published");
        echo.answered(number + 1, 2);
        assert_eq!(echo.deadline_us(), None);
        echo.answered(number, 2);
        assert!(!echo.is_deaf(1 + REDIS_DEAF_US) && echo.is_deaf(2 + REDIS_DEAF_US));
        assert_eq!(echo.deadline_us(), Some(2 + REDIS_DEAF_US));
        echo.lost(true);
        assert!(!echo.is_deaf(u64::MAX));
        assert_eq!(echo.begin(u64::MAX / 2), None, "nobody hears");
        echo.heard();
        assert_eq!(echo.begin(u64::MAX / 2), Some(number + 1));
    }
}
