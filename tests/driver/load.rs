//! Requirements of every driver with many connections at once.
//!
//! Must not know which driver it runs on. Invariant: every byte is compared with its stream.

use crate::rig::{Got, Make, PATIENCE, Rig};
use crate::streams::{Dice, Stream};
use bytes::Bytes;
use corecast::driver::{End, Pieces, Send, Socket, Tag};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

/// A client that writes `len` bytes of stream `seed` and then sends a FIN.
fn writer(mut client: TcpStream, seed: u64, len: u64, piece: usize) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut stream = Stream::new(seed);
        while stream.at < len {
            client.write_all(&stream.take(piece)).expect("a write");
        }
    })
}

pub fn receives_in_order_under_load<D: Make>() {
    receives_in_order(&mut Rig::<D>::new(64), 64, 1 << 20);
}

/// Receives `len` bytes and a FIN from each of this many sockets.
pub fn receives_in_order<D: Make>(rig: &mut Rig<D>, sockets: u64, len: u64) {
    let writers: Vec<_> = (0..sockets)
        .map(|seed| writer(rig.connect(seed).0, seed, len, 1_000 + 512 * seed as usize))
        .collect();
    let mut streams: Vec<_> = (0..sockets).map(Stream::new).collect();
    let mut open = sockets;
    while open > 0 {
        match rig.next() {
            Got::Received(tag, bytes) => streams[tag.0 as usize].expect(&bytes),
            Got::Ended(tag, End::Closed) => {
                assert!(streams[tag.0 as usize].at >= len);
                open -= 1;
            }
            other => panic!("{other:?}"),
        }
    }
    writers.into_iter().for_each(|writer| writer.join().expect("all written"));
}

pub fn pause_loses_and_doubles_nothing<D: Make>() {
    const LEN: u64 = 16 << 20;
    let mut rig = Rig::<D>::new(2);
    let (client, socket) = rig.connect(1);
    let writer = writer(client, 1, LEN, 7_777);
    let mut stream = Stream::new(1);
    let mut dice = Dice::new(3);
    let mut pauses = 0;
    let mut ended = false;
    while !ended {
        let Got::Received(Tag(1), bytes) = rig.next() else { break };
        stream.expect(&bytes);
        if dice.below(4) > 0 {
            continue;
        }
        rig.driver.pause(socket);
        pauses += 1;
        let mut late = 0;
        for _ in 0..dice.below(4) {
            rig.driver.wait(Some(Duration::from_micros(dice.below(200))));
            while let Some(got) = rig.poll() {
                let Got::Received(_, bytes) = got else {
                    ended = true;
                    break;
                };
                stream.expect(&bytes);
                late += bytes.len();
            }
        }
        assert!(late <= 256 << 10, "{late} bytes came while paused");
        // Twice is the same as once.
        if dice.below(2) == 0 {
            rig.driver.pause(socket);
            rig.driver.resume(socket);
        }
        rig.driver.resume(socket);
    }
    assert!(stream.at >= LEN && pauses >= 50, "{pauses} pauses");
    writer.join().expect("all written");
}

pub fn one_sender_does_not_starve_the_others<D: Make>() {
    let mut rig = Rig::<D>::new(2);
    let (flood, _) = rig.connect(1);
    let (mut quiet, _) = rig.connect(2);
    let stop = flood.try_clone().expect("a descriptor");
    let mut flood_end = flood;
    let flooder = thread::spawn(move || while flood_end.write_all(&[7; 65_536]).is_ok() {});
    let mut flooded = 0;
    for round in 0..100u8 {
        quiet.write_all(&[round]).expect("a write");
        let before = flooded;
        loop {
            match rig.next() {
                Got::Received(Tag(1), bytes) => flooded += bytes.len(),
                Got::Received(Tag(2), bytes) => break assert_eq!(bytes, [round]),
                other => panic!("{other:?}"),
            }
        }
        assert!(flooded - before <= 8 << 20, "{} bytes before one", flooded - before);
    }
    stop.shutdown(std::net::Shutdown::Both).expect("a shutdown");
    drop(rig);
    flooder.join().expect("the flood");
}

pub fn close_under_load_frees_the_slots<D: Make>() {
    close_under_load(&mut Rig::<D>::new(16), 16);
}

/// Fills every slot with a flooding client and closes them all, again and again.
pub fn close_under_load<D: Make>(rig: &mut Rig<D>, slots: u64) {
    for round in 0..20 {
        let mut clients = Vec::new();
        let mut sockets = Vec::new();
        for seed in 0..slots {
            let (mut client, socket) = rig.connect(round * slots + seed);
            sockets.push(socket);
            clients.push(thread::spawn(move || while client.write_all(&[1; 10_000]).is_ok() {}));
        }
        let mut seen = 0;
        while seen < 100 {
            let Got::Received(tag, _) = rig.next() else { panic!("not received") };
            assert_eq!(tag.0 / slots, round);
            seen += 1;
        }
        for socket in sockets {
            rig.driver.close(socket);
        }
        rig.forget();
        rig.driver.wait(Some(Duration::ZERO));
        clients.into_iter().for_each(|client| client.join().expect("a client"));
    }
}

/// One connection of the churn, for its owner.
struct Held {
    socket: Socket,
    inbound: Stream,
    outbound: Stream,
    rest: Option<Bytes>,
    armed: bool,
    paused: bool,
}

/// A client of the churn: sends the number of its stream, writes the stream, and checks what comes
/// back.
fn churn_client(addr: SocketAddr, seed: u64) {
    let mut client = TcpStream::connect(addr).expect("a connection");
    client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut dice = Dice::new(seed + 77);
    let mut outbound = Stream::new(seed);
    let mut inbound = Stream::new(seed + 1_000_000);
    let mut read = vec![0; 20_000];
    let mut sent = client.write_all(&seed.to_le_bytes()).is_ok();
    for _ in 0..dice.below(40) {
        let len = dice.below(9_000) as usize;
        sent = sent && client.write_all(&outbound.take(len)).is_ok();
        match client.read(&mut read) {
            Ok(len) if len > 0 => inbound.expect(&read[..len]),
            _ => return,
        }
    }
}

pub fn churn_keeps_every_stream<D: Make>() {
    const SLOTS: u32 = 200;
    const CLIENTS: u64 = 1_000;
    const THREADS: u64 = 40;
    let mut rig = Rig::<D>::new(SLOTS);
    let addr = rig.addr;
    let clients: Vec<_> = (0..THREADS)
        .map(|thread| {
            let seeds = (0..CLIENTS).filter(move |seed| seed % THREADS == thread);
            thread::spawn(move || seeds.for_each(|seed| churn_client(addr, seed)))
        })
        .collect();
    let mut churn =
        Churn { dice: Dice::new(5), held: HashMap::new(), names: HashMap::new(), done: 0 };
    let mut next_token = 0;
    rig.turn_until(|driver, got| {
        match got {
            Some(Got::Accepted(socket, _)) => {
                next_token += 1;
                driver.adopt(socket, Tag(next_token));
                churn.names.insert(next_token, (socket, Vec::new()));
            }
            Some(got) => churn.on_event(driver, got),
            None => churn.act(driver),
        }
        churn.done == CLIENTS
    });
    // The last closes go out.
    rig.driver.wait(Some(Duration::ZERO));
    clients.into_iter().for_each(|client| client.join().expect("streams as they were sent"));
    // Every slot is free again.
    let all: Vec<_> = (0..u64::from(SLOTS)).map(|tag| rig.connect(1 << 32 | tag)).collect();
    assert_eq!(all.len(), SLOTS as usize);
}

struct Churn {
    dice: Dice,
    held: HashMap<u64, Held>,
    /// Connections that have not sent the number of their stream yet.
    names: HashMap<u64, (Socket, Vec<u8>)>,
    done: u64,
}

impl Churn {
    fn on_event<D: Make>(&mut self, driver: &mut D, got: Got) {
        match got {
            Got::Received(tag, bytes) => self.on_bytes(tag.0, &bytes),
            Got::Sent(tag) => {
                let held = self.held.get_mut(&tag.0).expect("a connection that is held");
                assert!(std::mem::replace(&mut held.armed, false));
            }
            Got::Ended(tag, _) | Got::SendFailed(tag, _) => {
                let socket = self.held.remove(&tag.0).map(|held| held.socket);
                let socket = socket.or_else(|| self.names.remove(&tag.0).map(|name| name.0));
                driver.close(socket.expect("an event of a connection that is open"));
                self.done += 1;
            }
            Got::Accepted(..) => unreachable!(),
        }
    }

    fn on_bytes(&mut self, tag: u64, mut bytes: &[u8]) {
        if let Some((socket, name)) = self.names.get_mut(&tag) {
            let (head, tail) = bytes.split_at(bytes.len().min(8 - name.len()));
            name.extend_from_slice(head);
            bytes = tail;
            let Ok(seed) = name[..].try_into().map(u64::from_le_bytes) else { return };
            let held = Held {
                socket: *socket,
                inbound: Stream::new(seed),
                outbound: Stream::new(seed + 1_000_000),
                rest: None,
                armed: false,
                paused: false,
            };
            self.names.remove(&tag);
            self.held.insert(tag, held);
        }
        let held = self.held.get_mut(&tag).expect("an event of a connection that is open");
        held.inbound.expect(bytes);
    }

    /// One turn of random actions.
    fn act<D: Make>(&mut self, driver: &mut D) {
        let mut closed = Vec::new();
        for (tag, held) in &mut self.held {
            if let Some(rest) = held.rest.take_if(|_| !held.armed) {
                driver.arm_send(held.socket, rest);
                held.armed = true;
            }
            match self.dice.below(60) {
                0 => closed.push(*tag),
                1..=9 => {
                    driver.pause(held.socket);
                    held.paused = true;
                }
                10..=29 if held.paused => {
                    driver.resume(held.socket);
                    held.paused = false;
                }
                30.. if !held.armed && held.rest.is_none() => {
                    let len = 1 + self.dice.below(30_000) as usize;
                    let count = 1 + self.dice.below(4) as usize;
                    held.flush(driver, len, count);
                }
                _ => {}
            }
        }
        for tag in closed {
            let held = self.held.remove(&tag).expect("a connection that is held");
            driver.close(held.socket);
            self.done += 1;
        }
    }
}

impl Held {
    fn flush<D: Make>(&mut self, driver: &mut D, len: usize, count: usize) {
        let bytes = self.outbound.take(len);
        let segments = crate::rig::cut(len, count);
        let pieces = Pieces::Many { first: 0, count: segments.len() as u32 };
        let send = Send { socket: self.socket, pieces };
        let mut unsent = Vec::new();
        driver.flush(&bytes, &bytes, &segments, &[send], &mut unsent);
        if let [unsent] = unsent[..] {
            self.rest = Some(Bytes::from(bytes).slice(unsent.sent as usize..));
        }
    }
}
