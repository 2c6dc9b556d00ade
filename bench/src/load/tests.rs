//! The generator against servers that work correctly, and against one that does not.
//!
//! Must not measure. Invariant: any wrong delivery fails the run.

use super::clock;
use super::fanout::ready;
use super::meter::{Figures, Meter};
use super::options::Options;
use super::plan::{Plan, Room};
use super::schedule::Schedule;
use super::session;
use super::window::measure_window;
use crate::floor::{Driver, Rooms, serve_for_test};
use clap::Parser;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

const SUBSCRIBERS: usize = 20;
const RATE: f64 = 200.0;
const WINDOW_S: f64 = 0.3;

#[derive(Parser)]
struct Only {
    #[command(flatten)]
    options: Options,
}

fn options(port: u16, more: &[&str]) -> Options {
    let url = format!("ws://127.0.0.1:{port}/");
    let common = ["bench", "--dialect", "raw", "--warm-s", "0.05", "--url"];
    let all = common.into_iter().chain([url.as_str()]).chain(more.iter().copied());
    Only::try_parse_from(all).expect("options").options
}

fn fanout(port: u16) -> Figures {
    let options = options(port, &["--window-s", &WINDOW_S.to_string()]);
    let room = Room { name: "a".into(), subscribers: SUBSCRIBERS, senders: 2 };
    let plan = Plan { rooms: vec![room], publishers: None, processes: 1, part: 0 };
    let (mut streams, mut fleet) = match ready(&options, plan) {
        Ok(ready) => ready,
        Err(error) => return Figures::failed(error.to_string()),
    };
    let start = clock::now();
    let schedule = Schedule::new(start, 0, RATE, options.seconds(), 2);
    streams.begin(schedule, Meter::new(session::times(&options, start), &[]));
    measure_window(&mut streams, &mut fleet, None, 0.0)
}

#[test]
fn floor_programs_deliver_everything() {
    for driver in [Driver::Ring, Driver::Epoll] {
        let figures = fanout(serve_for_test(driver));
        assert_eq!(figures.failure, None, "{driver:?}");
        // What was to be sent within the window, to every subscriber and the other publisher. When
        // it was sent and arrived is the machine's business, so no other count is known beforehand.
        let arrived = figures.latency.iter().map(|(_, count)| count).sum::<u64>();
        let messages = (RATE * WINDOW_S) as u64;
        assert_eq!(arrived, messages * (SUBSCRIBERS as u64 + 1), "{driver:?}");
    }
}

/// What is done wrong, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    Nothing,
    Lose,
    LoseTheRest,
    Flip,
    Double,
    Swap,
    Misdirect,
    Close,
    Fragment,
}

/// Serves rooms, and lies about delivery number 300.
fn lying_server(lie: Lie) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || serve(&listener, lie));
    port
}

fn serve(listener: &TcpListener, lie: Lie) {
    listener.set_nonblocking(true).expect("a socket");
    let (mut sockets, mut rooms) = (Vec::<Option<TcpStream>>::new(), Rooms::default());
    let (mut delivery, mut held) = (0, None);
    loop {
        while let Ok((socket, _)) = listener.accept() {
            socket.set_nonblocking(true).expect("a socket");
            rooms.came(sockets.len() as u32);
            sockets.push(Some(socket));
        }
        let mut scratch = [0; 4_096];
        for (who, place) in sockets.iter_mut().enumerate() {
            let Some(socket) = place else { continue };
            match socket.read(&mut scratch) {
                Ok(length) if length > 0 => {
                    assert!(rooms.received(who as u32, &scratch[..length]));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                _ => {
                    rooms.left(who as u32);
                    *place = None;
                }
            }
        }
        rooms.flush(|all| {
            for (who, bytes) in all {
                delivery += u32::from(bytes.starts_with(&[0x81]));
                send(lie, delivery, &mut held, &mut sockets, who as usize, bytes);
            }
        });
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn send(
    lie: Lie,
    delivery: u32,
    held: &mut Option<(usize, Vec<u8>, u32)>,
    sockets: &mut [Option<TcpStream>],
    who: usize,
    bytes: &[u8],
) {
    let mut bytes = bytes.to_vec();
    let mut whom = who;
    if delivery == 300 {
        match lie {
            Lie::Lose => return,
            Lie::Flip => bytes[60] ^= 1,
            Lie::Double => bytes.extend_from_within(..),
            Lie::Swap => return *held = Some((who, bytes, 2)),
            Lie::Misdirect => whom = (who + 1) % sockets.len(),
            Lie::Close => return sockets[who] = None,
            Lie::Fragment => bytes[0] = 1,
            Lie::Nothing | Lie::LoseTheRest => {}
        }
    }
    if lie == Lie::LoseTheRest && delivery >= 300 {
        return;
    }
    // Two messages of its room later, one of them is of the same sender.
    if let Some((_, _, left)) = held.as_mut().filter(|(held, ..)| *held == who) {
        *left -= 1;
    }
    if let Some((_, earlier, _)) = held.take_if(|(.., left)| *left == 0) {
        bytes.extend(earlier);
    }
    if let Some(socket) = sockets[whom].as_mut() {
        // Whoever is gone gets nothing.
        let _ = socket.write_all(&bytes);
    }
}

#[test]
fn lies_are_noticed() {
    let cases = [
        (Lie::Nothing, ""),
        (Lie::Lose, "where"),
        (Lie::LoseTheRest, "did not come within"),
        (Lie::Flip, "damaged"),
        (Lie::Double, "where"),
        (Lie::Swap, "where"),
        (Lie::Misdirect, "where"),
        (Lie::Close, "closed by the server"),
        (Lie::Fragment, "fragmented"),
    ];
    for (lie, word) in cases {
        let figures = fanout(lying_server(lie));
        match figures.failure {
            None => assert_eq!(lie, Lie::Nothing),
            Some(why) => {
                assert!(lie != Lie::Nothing && why.contains(word), "{lie:?}: {why}");
            }
        }
    }
}

#[test]
fn where_nobody_listens_is_said() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("an address").port()
    };
    let failure = fanout(port).failure.expect("a failure");
    assert_eq!(failure, format!("cannot connect to 127.0.0.1:{port}: nobody listens there"));
}

#[test]
fn options_that_do_not_fit_are_refused() {
    let wrong = |more: &[&str], connections, word: &str| {
        let error = options(1, more).check(connections).expect_err("refused").to_string();
        assert!(error.contains(word), "{error}");
    };
    wrong(&["--payload-bytes", "34"], 1, "the least is 35");
    wrong(&["--processes", "0"], 1, "at least 1");
    wrong(&["--processes", "2"], 50_000, "try --processes 3");
    wrong(&["--server-pid", "4000000"], 1, "no such process");
    wrong(&["--window-s", "0"], 1, "--window-s must be above 0");
    options(1, &["--processes", "3"]).check(50_000).expect("it fits");
}
