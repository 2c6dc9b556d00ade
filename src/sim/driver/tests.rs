//! The simulated kernel keeps TCP's promise under every fault, and notices every broken contract.

use super::*;
use crate::driver::{Pieces, Place};
use crate::sim::ledger::Ledger;
use crate::sim::net::Net;
use std::cell::RefCell;
use std::rc::Rc;

const UNKIND: Faults = Faults { cut: 500, delay: 300, short: 300, dry: 200 };

fn driver(seed: u64, faults: Faults) -> (SimDriver, SharedNet, SharedLedger) {
    let net = Rc::new(RefCell::new(Net::new(1, 1)));
    let ledger = Rc::new(RefCell::new(Ledger::default()));
    let random = Random::new(seed);
    (
        SimDriver::new((0, vec![0, 1]), Rc::clone(&net), Rc::clone(&ledger), random, faults),
        net,
        ledger,
    )
}

/// One accepted and adopted connection.
fn adopted(seed: u64, faults: Faults) -> (SimDriver, SharedNet, SharedLedger, Socket) {
    let (mut driver, net, ledger) = driver(seed, faults);
    net.borrow_mut().connect(0, 50, 0);
    driver.wait(None);
    let Some(Event::Accepted { socket, .. }) = driver.next_event() else { panic!("no accept") };
    driver.adopt(socket, Tag(5));
    (driver, net, ledger, socket)
}

/// The one segment of a flush.
const ALL: Pieces = Pieces::Many { first: 0, count: 1 };

fn flush(driver: &mut SimDriver, bytes: &[u8], sends: &[Send]) -> Vec<Unsent> {
    let segments = [Segment { place: Place::Arena, start: 0, len: bytes.len() as u32 }];
    let mut unsent = Vec::new();
    driver.flush(bytes, &[], &segments, sends, &mut unsent);
    unsent
}

#[test]
fn no_byte_is_lost_or_doubled_whatever_the_faults() {
    for seed in 0..50 {
        let (mut driver, net, ledger, socket) = adopted(seed, UNKIND);
        let sent: Vec<u8> = (0..2_000_u32).map(|n| (n * 7 % 251) as u8).collect();
        net.borrow_mut().write(0, &sent);
        let (mut received, mut echoed, mut queue) = (Vec::new(), Vec::new(), Vec::new());
        let mut armed = false;
        let mut random = Random::new(!seed);
        for _ in 0..20_000 {
            match driver.next_event() {
                Some(Event::Received { tag: Tag(5), buffer }) => {
                    received.extend_from_slice(driver.bytes(&buffer));
                    queue.extend_from_slice(driver.bytes(&buffer));
                    driver.release(buffer);
                }
                Some(Event::Sent { tag: Tag(5) }) => armed = false,
                Some(other) => panic!("{other:?}"),
                None => driver.wait(None),
            }
            match random.below(4) {
                0 => driver.pause(socket),
                1 => driver.resume(socket),
                2 if !armed && !queue.is_empty() => {
                    let bytes = std::mem::take(&mut queue);
                    let unsent = flush(&mut driver, &bytes, &[Send { socket, pieces: ALL }]);
                    if let [Unsent { index: 0, sent }] = unsent[..] {
                        driver.arm_send(socket, Bytes::copy_from_slice(&bytes[sent as usize..]));
                        armed = true;
                    }
                }
                _ => net.borrow_mut().read(0, 20, &mut echoed),
            }
        }
        assert_eq!((received == sent, echoed == sent), (true, true), "seed {seed}");
        assert_eq!(driver.lent_buffers(), 0);
        assert!(ledger.borrow().violations.is_empty());
    }
}

#[test]
fn a_peer_that_goes_is_told_once_and_nothing_follows_a_close() {
    for reset in [false, true] {
        let (mut driver, net, ledger, socket) = adopted(3, Faults::default());
        net.borrow_mut().write(0, b"last words");
        net.borrow_mut().leave(0, reset);
        assert!(driver.has_work());
        let mut ends = 0;
        for _ in 0..20 {
            driver.wait(None);
            while let Some(event) = driver.next_event() {
                match event {
                    Event::Received { buffer, .. } => driver.release(buffer),
                    Event::Ended { end, .. } => {
                        ends += 1;
                        assert_eq!(end == End::Closed, !reset);
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!(ends, 1);
        net.borrow_mut().links[0].up_fin = true;
        driver.close(socket);
        driver.wait(None);
        assert_eq!(driver.next_event(), None);
        assert!(!driver.has_work() && ledger.borrow().violations.is_empty());
    }
}

#[test]
fn each_breach_of_the_contract_is_named() {
    type Breach = fn(&mut SimDriver, Socket);
    let cases: [(&str, Breach); 7] = [
        ("two_sends_in_one_flush", |driver, socket| {
            let send = Send { socket, pieces: ALL };
            flush(driver, b"abc", &[send, send]);
        }),
        ("flush_beside_an_armed_send", |driver, socket| {
            driver.arm_send(socket, Bytes::from_static(b"a"));
            flush(driver, b"abc", &[Send { socket, pieces: ALL }]);
        }),
        ("armed_twice", |driver, socket| {
            driver.arm_send(socket, Bytes::from_static(b"a"));
            driver.arm_send(socket, Bytes::from_static(b"b"));
        }),
        ("adopted_twice", |driver, socket| driver.adopt(socket, Tag(6))),
        ("flush_after_shutdown", |driver, socket| {
            driver.shutdown(socket);
            flush(driver, b"abc", &[Send { socket, pieces: ALL }]);
        }),
        ("resume_of_a_closed_socket", |driver, socket| {
            driver.close(socket);
            driver.resume(socket);
        }),
        ("buffer_released_twice", |driver, _| driver.release(Buffer { id: 0, len: 1 })),
    ];
    for (kind, breach) in cases {
        let (mut driver, _net, ledger, socket) = adopted(1, Faults::default());
        breach(&mut driver, socket);
        let kinds: Vec<_> = ledger.borrow().violations.iter().map(|found| found.kind).collect();
        assert_eq!(kinds, [kind]);
    }
}
