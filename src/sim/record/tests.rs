//! The server's end against the client's, and each of its failures.

use super::*;
use crate::sim::ends::{Ends, Sin};
use crate::sim::random::Random;

/// Both ends, and what each has sent that the other has not taken.
struct Pair {
    server: ServerEnd,
    client: Ends,
    up: Vec<u8>,
    down: Vec<u8>,
    /// What the server opened, and the client.
    opened: Vec<u8>,
    read: Vec<u8>,
}

impl Pair {
    fn new(seed: u64, sins: bool) -> Pair {
        let server = Record::new(7, 400).begin(1).expect("it is not plain");
        let mut client = Ends::sealed(7, sins, &mut Random::new(seed));
        let up = client.begin();
        Pair { server, client, up, down: Vec::new(), opened: Vec::new(), read: Vec::new() }
    }

    /// Passes on what was sent, in pieces of `cut` bytes, until neither end says anything.
    fn run(&mut self, cut: usize) -> Result<Opened, Failure> {
        let mut last = Opened::default();
        while !self.up.is_empty() || !self.down.is_empty() {
            for piece in std::mem::take(&mut self.up).chunks_mut(cut) {
                last = self.server.open(piece, &mut self.opened, &mut self.down)?;
            }
            for piece in std::mem::take(&mut self.down).chunks(cut) {
                self.client.take(piece, &mut self.read, &mut self.up).expect("the server is right");
            }
        }
        Ok(last)
    }

    /// The client reads what is left.
    fn read_on(&mut self) {
        let down = std::mem::take(&mut self.down);
        self.client.take(&down, &mut self.read, &mut self.up).expect("the server is right");
    }
}

#[test]
fn both_ways_are_opened_however_they_are_cut() {
    let plain: Vec<u8> = (0..1_000).map(|n| (n % 251) as u8).collect();
    for cut in [1, 2, 5, 64, 4_000] {
        let mut pair = Pair::new(1, false);
        pair.client.send(b"before the handshake is done");
        pair.run(cut).unwrap();
        assert!(pair.server.is_open() && pair.client.is_open());
        pair.up.extend(pair.client.send(&plain));
        pair.server.seal(&plain, &mut pair.down).unwrap();
        pair.run(cut).unwrap();
        assert_eq!(pair.opened, [b"before the handshake is done".as_slice(), &plain].concat());
        assert_eq!((pair.read.as_slice(), pair.server.held_bytes()), (plain.as_slice(), 0));
    }
}

#[test]
fn nothing_is_sealed_by_a_session_that_is_worn_out() {
    let mut pair = Pair::new(1, false);
    pair.run(9).unwrap();
    pair.server.seal(&[1; 7 * 399], &mut pair.down).unwrap();
    let before = pair.down.len();
    assert_eq!(pair.server.seal(&[1], &mut pair.down), Err(Failure::Record));
    assert_eq!(pair.down.len(), before);
}

#[test]
fn what_it_knows_of_its_answer_goes_out_before_the_hello_is_whole() {
    let mut pair = Pair::new(1, false);
    let mut own = Vec::new();
    let up = &mut pair.up;
    pair.server.open(&mut up[..5], &mut Vec::new(), &mut own).unwrap();
    assert_eq!((own.as_slice(), pair.server.held_bytes() > 0), (&[2, 0, 8, 0xA7][..], true));
}

#[test]
fn every_sin_is_named_and_told() {
    let mut seen = Vec::new();
    for seed in 0..40 {
        let mut pair = Pair::new(seed, true);
        let sin = pair.client.sin().unwrap();
        let ran = pair.run(3);
        if sin == Sin::Silence {
            assert!(ran.is_ok() && !pair.server.is_open());
        } else {
            assert_eq!(ran, Err(Failure::Handshake), "{sin:?}");
            pair.read_on();
            assert!(pair.client.is_alerted(), "{sin:?}");
        }
        seen.push(sin);

        let mut pair = Pair::new(seed, false);
        pair.run(3).unwrap();
        pair.up = pair.client.sin_now(&mut Random::new(seed));
        let sin = pair.client.sin().unwrap();
        let expected = match sin {
            Sin::BadRecord => Err(Failure::Record),
            Sin::Alert => Err(Failure::Alert),
            _ => Ok(Opened { is_closed: true, work_ns: 0 }),
        };
        assert_eq!(pair.run(3), expected, "{sin:?}");
        pair.read_on();
        assert_eq!(pair.client.is_alerted(), sin == Sin::BadRecord);
        seen.push(sin);
    }
    seen.sort_unstable_by_key(|sin| *sin as u8);
    seen.dedup();
    assert_eq!(seen.len(), 7, "{seen:?}");
}
