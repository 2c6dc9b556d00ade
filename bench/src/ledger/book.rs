//! The judge: what was published, acknowledged, and delivered to each subscriber.
//!
//! Must not know connections. Invariant: a subscriber's publications are offsets 1, 2, 3, ... of
//! one epoch, every subscriber sees the same payload at an offset, no payload has two offsets, a
//! publisher's payloads keep its order, and in the end each acknowledged payload has an offset.

use crate::rng::mix;
use serde::Deserialize;

/// What a publication carries: who published it, its number there, and a checksum of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Payload {
    pub publisher: u32,
    pub number: u32,
    pub sum: u64,
}

impl Payload {
    #[must_use]
    pub fn new(channel: usize, publisher: u32, number: u32) -> Payload {
        let sum = mix((channel as u64) << 48 ^ u64::from(publisher) << 32 ^ u64::from(number));
        // JSON readers may hold numbers in doubles, which are exact to 53 bits.
        Payload { publisher, number, sum: sum >> 11 }
    }

    #[must_use]
    pub fn json(self) -> String {
        let Payload { publisher, number, sum } = self;
        format!(r#"{{"publisher":{publisher},"number":{number},"sum":{sum}}}"#)
    }
}

/// What became of a publication, as its publisher and the channel know it.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    acknowledged: bool,
    /// 0: it has not been seen.
    offset: u64,
}

/// One channel's account.
#[derive(Debug, Default)]
pub struct Book {
    channel: usize,
    pub epoch: String,
    /// Payload by offset - 1, as first seen.
    log: Vec<Payload>,
    /// Fate by publisher and number.
    fates: Vec<Vec<Fate>>,
    /// Largest number seen of each publisher.
    seen: Vec<Option<u32>>,
    pub acknowledged: u64,
    /// Acknowledged publications that no subscriber has received yet.
    pub awaited: u64,
}

impl Book {
    #[must_use]
    pub fn new(channel: usize) -> Book {
        Book { channel, ..Book::default() }
    }

    /// The number of one more publisher: one connection, as order is promised to connections.
    pub fn enlist(&mut self) -> u32 {
        self.fates.push(Vec::new());
        self.seen.push(None);
        self.fates.len() as u32 - 1
    }

    /// The channel's largest offset that anyone has seen.
    #[must_use]
    pub fn top(&self) -> u64 {
        self.log.len() as u64
    }

    /// A publisher's next payload.
    pub fn publish(&mut self, publisher: u32) -> Payload {
        let fates = &mut self.fates[publisher as usize];
        fates.push(Fate::default());
        Payload::new(self.channel, publisher, fates.len() as u32 - 1)
    }

    pub fn acknowledge(&mut self, publisher: u32, number: u32) {
        let fate = &mut self.fates[publisher as usize][number as usize];
        fate.acknowledged = true;
        self.acknowledged += 1;
        self.awaited += u64::from(fate.offset == 0);
    }

    /// A subscription's epoch; all of a channel's are one.
    pub fn epoch(&mut self, epoch: &str) -> Result<(), String> {
        if self.epoch.is_empty() {
            epoch.clone_into(&mut self.epoch);
        }
        if self.epoch == epoch && !epoch.is_empty() {
            return Ok(());
        }
        Err(format!("channel {}: epoch {epoch:?} after {:?}", self.channel, self.epoch))
    }

    /// A delivery to a subscriber whose last offset is `last`; its offset, unless it is wrong.
    pub fn deliver(&mut self, last: u64, offset: u64, data: &str) -> Result<u64, String> {
        let fail = |what: String| Err(format!("channel {}: {what}", self.channel));
        if offset != last + 1 {
            let what = if offset > last { "lost" } else { "doubled or out of order" };
            return fail(format!("{what}: offset {offset} after {last}"));
        }
        let Ok(payload) = serde_json::from_str::<Payload>(data) else {
            return fail(format!("damaged: {data} at {offset}"));
        };
        let Payload { publisher, number, .. } = payload;
        let known = self.fates.get(publisher as usize).map_or(0, Vec::len);
        if payload != Payload::new(self.channel, publisher, number) || number as usize >= known {
            return fail(format!("damaged or of another channel: {data} at {offset}"));
        }
        if let Some(first) = self.log.get(last as usize) {
            if *first != payload {
                return fail(format!("two payloads at {offset}: {first:?} and {payload:?}"));
            }
            return Ok(offset);
        }
        if offset != self.top() + 1 {
            return fail(format!("offset {offset} above {}, which nobody was given", self.top()));
        }
        if self.seen[publisher as usize].is_some_and(|seen| seen >= number) {
            let seen = self.fates[publisher as usize][number as usize].offset;
            return fail(format!("{payload:?} at {offset} comes late (seen at {seen})"));
        }
        self.seen[publisher as usize] = Some(number);
        let fate = &mut self.fates[publisher as usize][number as usize];
        fate.offset = offset;
        self.awaited -= u64::from(fate.acknowledged);
        self.log.push(payload);
        Ok(offset)
    }

    /// The largest offset of an acknowledged publication.
    #[must_use]
    pub fn last_acknowledged(&self) -> u64 {
        let fates = self.fates.iter().flatten().filter(|fate| fate.acknowledged);
        fates.map(|fate| fate.offset).max().unwrap_or(0)
    }

    /// Unanswered publications: (those that appeared, those that did not).
    #[must_use]
    pub fn unanswered(&self) -> (usize, usize) {
        let fates = self.fates.iter().flatten().filter(|fate| !fate.acknowledged);
        let (appeared, vanished): (Vec<&Fate>, Vec<&Fate>) =
            fates.partition(|fate| fate.offset > 0);
        (appeared.len(), vanished.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book() -> (Book, Vec<String>) {
        let mut book = Book::new(3);
        assert_eq!((book.enlist(), book.enlist()), (0, 1));
        let sent = [0, 1, 0].map(|publisher| book.publish(publisher).json());
        (book, sent.to_vec())
    }

    #[test]
    fn a_clean_run_is_clean() {
        let (mut book, sent) = book();
        book.acknowledge(0, 0);
        for subscriber in 0..2 {
            for (last, data) in sent[..2].iter().enumerate() {
                let offset = book.deliver(last as u64, last as u64 + 1, data);
                assert_eq!(offset, Ok(last as u64 + 1), "subscriber {subscriber}");
            }
        }
        assert_eq!((book.awaited, book.unanswered()), (0, (1, 1)));
    }

    #[test]
    fn every_fault_is_found() {
        type Fault = dyn Fn(&mut Book, &[String]) -> Result<u64, String>;
        let cases: [(&str, &Fault); 7] = [
            ("lost", &|book, sent| book.deliver(0, 2, &sent[1])),
            ("doubled", &|book, sent| {
                book.deliver(0, 1, &sent[0])?;
                book.deliver(1, 1, &sent[0])
            }),
            ("two payloads", &|book, sent| {
                book.deliver(0, 1, &sent[0])?;
                book.deliver(0, 1, &sent[1])
            }),
            ("comes late", &|book, sent| {
                book.deliver(0, 1, &sent[2])?;
                book.deliver(1, 2, &sent[0])
            }),
            ("comes late", &|book, sent| {
                book.deliver(0, 1, &sent[0])?;
                book.deliver(1, 2, &sent[0])
            }),
            ("damaged", &|book, sent| book.deliver(0, 1, &sent[0].replace("sum\":", "sum\":1"))),
            ("another channel", &|book, _| book.deliver(0, 1, &Payload::new(4, 0, 0).json())),
        ];
        for (what, fault) in cases {
            let (mut book, sent) = book();
            let found = fault(&mut book, &sent).expect_err(what);
            assert!(found.contains(what), "{found} for {what}");
        }
        let (mut book, _) = book();
        book.acknowledge(1, 0);
        assert_eq!(book.awaited, 1);
        assert!(book.epoch("a").is_ok() && book.epoch("b").is_err());
    }
}
