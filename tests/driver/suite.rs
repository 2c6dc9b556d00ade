//! Requirements of every driver with one connection or a few at a time.
//!
//! Must not know which driver it runs on.

use crate::rig::{Got, Make, PATIENCE, Rig, addr_of};
use crate::streams::Stream;
use bytes::Bytes;
use corecast::driver::socket::{self, Bell};
use corecast::driver::{End, Options, Pieces, Send, Tag};
use rustix::net::sockopt;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// The client's end of a connection whose peer resets it when it is dropped.
fn reset_on_drop(client: &TcpStream) {
    sockopt::set_socket_linger(client, Some(Duration::ZERO)).expect("a linger of zero");
}

pub fn accepts_with_the_peers_address<D: Make>() {
    let mut rig = Rig::<D>::new(8);
    let source = Ipv4Addr::new(127, 0, 0, 77);
    let client = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::STREAM,
        None,
    )
    .expect("a socket");
    rustix::net::bind(&client, &SocketAddr::from((source, 0))).expect("a source address");
    rustix::net::connect(&client, &rig.addr).expect("a connection");
    let Got::Accepted(socket, peer) = rig.next() else { panic!("not accepted") };
    assert_eq!(peer, Some(source.into()));
    rig.driver.adopt(socket, Tag(5));
    let mut client = TcpStream::from(client);
    assert_eq!(addr_of(&client).ip(), source);
    client.write_all(b"hello").expect("a write");
    assert_eq!(rig.next(), Got::Received(Tag(5), b"hello".to_vec()));
}

pub fn nothing_is_received_before_adopt<D: Make>() {
    let mut rig = Rig::<D>::new(8);
    let mut first = rig.client();
    let socket = rig.accepted();
    first.write_all(b"early").expect("a write");
    // When the bytes of a later connection arrive, the first one's have had their chance.
    let (mut second, _) = rig.connect(2);
    second.write_all(b"late").expect("a write");
    assert_eq!(rig.next(), Got::Received(Tag(2), b"late".to_vec()));
    rig.driver.adopt(socket, Tag(1));
    assert_eq!(rig.next(), Got::Received(Tag(1), b"early".to_vec()));
}

pub fn flushes_whole_sends<D: Make>() {
    let mut rig = Rig::<D>::new(8);
    let (mut client, socket) = rig.connect(1);
    let mut stream = Stream::new(1);
    for count in [1, 2, 3, 63, 64] {
        let bytes = stream.take(1_000);
        assert_eq!(rig.flush(socket, &bytes, count), 1_000);
        let mut read = vec![0; 1_000];
        client.read_exact(&mut read).expect("a read");
        assert_eq!(read, bytes);
    }
}

pub fn a_flush_reaches_every_socket<D: Make>() {
    let mut rig = Rig::<D>::new(300);
    let mut clients: Vec<_> = (0..300).map(|tag| rig.connect(tag)).collect();
    let arena: Vec<u8> = Stream::new(7).take(600);
    let segment = |start| corecast::driver::Segment {
        place: corecast::driver::Place::Arena,
        start,
        len: 300,
    };
    let sends: Vec<_> = clients
        .iter()
        .enumerate()
        .map(|(at, (_, socket))| Send { socket: *socket, pieces: Pieces::One(segment(at as u32)) })
        .collect();
    let mut unsent = Vec::new();
    rig.driver.flush(&arena, &[], &[], &sends, &mut unsent);
    assert_eq!(unsent, []);
    for (at, (client, _)) in clients.iter_mut().enumerate() {
        let mut read = [0; 300];
        client.read_exact(&mut read).expect("a read");
        assert_eq!(read, arena[at..at + 300]);
    }
}

pub fn one_send_per_socket_and_flush<D: Make>() {
    let mut rig = Rig::<D>::new(8);
    let (_client, socket) = rig.connect(1);
    let segments = crate::rig::cut(10, 2);
    let sends = [0, 1].map(|first| Send { socket, pieces: Pieces::Many { first, count: 1 } });
    let twice = std::panic::AssertUnwindSafe(|| {
        rig.driver.flush(&[0; 10], &[0; 10], &segments, &sends, &mut Vec::new());
    });
    assert_eq!(std::panic::catch_unwind(twice).is_err(), cfg!(debug_assertions));
}

/// Fills the socket, counts what was sent, arms the rest, and compares what the client reads.
pub fn the_unsent_rest_is_exact<D: Make>() {
    let mut rig = Rig::<D>::new(8);
    for count in [1, 5, 64] {
        let (mut client, socket) = rig.connect(count as u64);
        let mut stream = Stream::new(count as u64);
        let mut rest = Vec::new();
        // Until a flush sends nothing, and reports that.
        loop {
            if rest.is_empty() {
                rest = stream.take(300_000);
            }
            let sent = rig.flush(socket, &rest, count);
            if sent == 0 {
                break;
            }
            rest.drain(..sent);
        }
        let total = stream.at;
        rig.driver.arm_send(socket, rest.into());
        let reader = thread::spawn(move || {
            let mut check = Stream::new(count as u64);
            let mut read = vec![0; 100_000];
            while check.at < total {
                let len = client.read(&mut read).expect("a read");
                assert_ne!(len, 0);
                check.expect(&read[..len]);
            }
            client
        });
        assert_eq!(rig.next(), Got::Sent(Tag(count as u64)));
        let mut client = reader.join().expect("the stream as it was sent");
        // Nothing follows, and the socket can be flushed to again.
        assert_eq!(rig.flush(socket, b"end", 1), 3);
        let mut read = [0; 100];
        assert_eq!(client.read(&mut read).expect("a read"), 3);
        rig.driver.close(socket);
    }
}

pub fn armed_sends_follow_each_other<D: Make>() {
    let mut rig = Rig::<D>::new(8);
    let (mut client, socket) = rig.connect(1);
    let mut stream = Stream::new(9);
    let reader = thread::spawn(move || {
        let mut check = Stream::new(9);
        let mut read = vec![0; 50_000];
        while check.at < 200 * 65_536 {
            let len = client.read(&mut read).expect("a read");
            assert_ne!(len, 0);
            check.expect(&read[..len]);
        }
    });
    for _ in 0..200 {
        rig.driver.arm_send(socket, stream.take(65_536).into());
        assert_eq!(rig.next(), Got::Sent(Tag(1)));
    }
    reader.join().expect("the stream as it was sent");
}

pub fn a_reset_peer_ends_and_fails<D: Make>() {
    let mut rig = Rig::<D>::new(8);
    let (client, socket) = rig.connect(1);
    reset_on_drop(&client);
    drop(client);
    let Got::Ended(Tag(1), End::Failed(errno)) = rig.next() else { panic!("not reset") };
    assert_eq!(errno, rustix::io::Errno::CONNRESET.raw_os_error());
    assert_eq!(rig.flush(socket, b"nobody", 1), 0);
    let Got::SendFailed(Tag(1), _) = rig.next() else { panic!("sent") };
    rig.driver.close(socket);

    // After a close a flush's results are not reported.
    let (client, socket) = rig.connect(3);
    reset_on_drop(&client);
    drop(client);
    assert!(matches!(rig.next(), Got::Ended(Tag(3), _)));
    assert_eq!(rig.flush(socket, b"nobody", 1), 0);
    rig.driver.close(socket);

    // While reading is paused only the sends can report it.
    let (client, socket) = rig.connect(2);
    rig.driver.pause(socket);
    while rig.flush(socket, &[1; 100_000], 1) == 100_000 {}
    rig.driver.arm_send(socket, Bytes::from_static(&[1; 1_000]));
    reset_on_drop(&client);
    drop(client);
    loop {
        match rig.next() {
            Got::SendFailed(Tag(2), _) => break,
            Got::Ended(Tag(2), End::Failed(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    rig.driver.close(socket);
}

pub fn a_peer_that_is_gone_wakes_nobody_who_paused<D: Make>() {
    let mut rig = Rig::<D>::new(8);
    let (client, socket) = rig.connect(1);
    rig.driver.pause(socket);
    // The pause takes effect here.
    rig.driver.wait(Some(Duration::ZERO));
    reset_on_drop(&client);
    drop(client);
    // A second connection's bytes come after the reset.
    let (mut second, _) = rig.connect(2);
    second.write_all(b"x").expect("a write");
    assert_eq!(rig.next(), Got::Received(Tag(2), b"x".to_vec()));
    sleeps_through(&mut rig);
    rig.driver.resume(socket);
    assert!(matches!(rig.next(), Got::Ended(Tag(1), _)));
    rig.driver.close(socket);
}

/// `wait` must sleep if nothing happens; a driver may need a few calls to settle.
pub fn sleeps_through<D: Make>(rig: &mut Rig<D>) {
    let slept = (0..5).any(|_| {
        let start = Instant::now();
        rig.driver.wait(Some(Duration::from_millis(50)));
        assert_eq!(rig.poll(), None);
        start.elapsed() >= Duration::from_millis(50)
    });
    assert!(slept, "it spins");
}

pub fn close_sends_a_fin_and_frees_the_slot<D: Make>() {
    let mut rig = Rig::<D>::new(1);
    for round in 0..50 {
        let (mut client, socket) = rig.connect(round);
        assert_eq!(socket.0, 0);
        rig.driver.close(socket);
        rig.driver.wait(Some(Duration::ZERO));
        assert_eq!(client.read(&mut [0]).expect("a FIN"), 0);
        assert_eq!(rig.poll(), None);
    }
}

pub fn nothing_comes_after_close<D: Make>() {
    let mut rig = Rig::<D>::new(2);
    let (mut other, _) = rig.connect(1_000);
    for round in 0..50 {
        let (mut client, socket) = rig.connect(round);
        // Bytes, a full send buffer and a FIN are under way when it closes.
        while rig.flush(socket, &[1; 100_000], 1) == 100_000 {}
        rig.driver.arm_send(socket, Bytes::from_static(&[2; 1_000]));
        client.write_all(&[3; 5_000]).expect("a write");
        drop(client);
        if round % 2 == 0 {
            rig.driver.wait(Some(Duration::ZERO));
        }
        rig.driver.close(socket);
        other.write_all(&[round as u8]).expect("a write");
        assert_eq!(rig.next(), Got::Received(Tag(1_000), vec![round as u8]));
    }
}

pub fn shutdown_ends_one_direction<D: Make>() {
    let mut rig = Rig::<D>::new(8);
    let (mut client, socket) = rig.connect(1);
    assert_eq!(rig.flush(socket, b"last words", 2), 10);
    rig.driver.shutdown(socket);
    rig.driver.wait(Some(Duration::ZERO));
    let mut read = Vec::new();
    client.read_to_end(&mut read).expect("a FIN");
    assert_eq!(read, b"last words");
    client.write_all(b"answer").expect("a write");
    assert_eq!(rig.next(), Got::Received(Tag(1), b"answer".to_vec()));
    drop(client);
    assert_eq!(rig.next(), Got::Ended(Tag(1), End::Closed));
    sleeps_through(&mut rig);
    rig.driver.close(socket);
}

pub fn a_fin_follows_the_armed_send<D: Make>() {
    let mut rig = Rig::<D>::new(8);
    let (mut client, socket) = rig.connect(1);
    let mut stream = Stream::new(4);
    let chunk = loop {
        let bytes = stream.take(300_000);
        let sent = rig.flush(socket, &bytes, 1);
        if sent < bytes.len() {
            break Bytes::from(bytes).slice(sent..);
        }
    };
    rig.driver.arm_send(socket, chunk);
    rig.driver.shutdown(socket);
    // The send waits until the client reads, and the FIN after it.
    sleeps_through(&mut rig);
    let reader = thread::spawn(move || {
        let mut read = Vec::new();
        client.read_to_end(&mut read).expect("a FIN");
        read
    });
    assert_eq!(rig.next(), Got::Sent(Tag(1)));
    rig.driver.wait(Some(Duration::ZERO));
    let read = reader.join().expect("a reader");
    assert_eq!(read.len() as u64, stream.at);
    Stream::new(4).expect(&read);
}

pub fn a_full_table_waits<D: Make>() {
    let mut rig = Rig::<D>::new(4);
    let clients: Vec<_> = (0..4).map(|tag| rig.connect(tag)).collect();
    let mut waiting: Vec<_> = (0..4).map(|_| rig.client()).collect();
    sleeps_through(&mut rig);
    for (_, socket) in &clients {
        rig.driver.close(*socket);
        let socket = rig.accepted();
        rig.driver.adopt(socket, Tag(9));
        assert_eq!(rig.poll(), None);
    }
    for client in &mut waiting {
        client.write_all(b"x").expect("a write");
        assert_eq!(rig.next(), Got::Received(Tag(9), b"x".to_vec()));
    }
}

pub fn a_bell_wakes_from_another_thread<D: Make>() {
    const ROUNDS: u32 = 1_000;
    let (give, take) = mpsc::channel();
    let (rung, answered) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let mut rig = Rig::<D>::new(1);
    let ours = Bell::new(&rig.bell).expect("a bell");
    let other = thread::spawn({
        let (rung, answered) = (rung.clone(), answered.clone());
        move || {
            // The second core: it can ring the first, and answers each ring.
            let mut rig = Rig::<D>::with(1, vec![Some(ours), None], D::make);
            give.send(Bell::new(&rig.bell).expect("a bell")).expect("a receiver");
            for round in 1..=ROUNDS {
                woken(&mut rig.driver, &rung, round);
                answered.store(round, Ordering::SeqCst);
                rig.driver.notify(0);
            }
            // There is no bell to ring.
            rig.driver.notify(1);
            rig.driver.notify(2);
        }
    });
    let theirs = take.recv().expect("the other core");
    let start = Instant::now();
    for round in 1..=ROUNDS {
        rung.store(round, Ordering::SeqCst);
        theirs.ring();
        woken(&mut rig.driver, &answered, round);
    }
    println!("{} there and back: {:?}", std::any::type_name::<D>(), start.elapsed() / ROUNDS);
    other.join().expect("the other core");
}

/// Sleeps until rung for `round`.
fn woken<D: Make>(driver: &mut D, rung: &AtomicU32, round: u32) {
    let start = Instant::now();
    while rung.load(Ordering::SeqCst) < round {
        driver.wait(Some(PATIENCE));
        assert!(start.elapsed() < PATIENCE, "the bell was not heard");
        assert_eq!(driver.next_event(), None);
    }
}

pub fn a_ring_before_the_wait_is_heard<D: Make>() {
    let mut rig = Rig::<D>::new(1);
    for _ in 0..100 {
        rig.bell.ring();
        rig.bell.ring();
        let start = Instant::now();
        rig.driver.wait(Some(PATIENCE));
        assert!(start.elapsed() < PATIENCE, "the bell was not heard");
        assert_eq!(rig.poll(), None);
    }
    sleeps_through(&mut rig);
}

pub fn wait_keeps_its_time<D: Make>() {
    let mut rig = Rig::<D>::new(1);
    rig.driver.wait(Some(Duration::ZERO));
    for timeout in [Duration::from_micros(300), Duration::from_millis(30)] {
        let start = Instant::now();
        rig.driver.wait(Some(timeout));
        let slept = start.elapsed();
        assert!(slept >= timeout && slept < timeout + PATIENCE / 4, "{slept:?} for {timeout:?}");
    }
    let start = Instant::now();
    for _ in 0..1_000 {
        rig.driver.wait(Some(Duration::ZERO));
    }
    assert!(start.elapsed() < Duration::from_secs(1));
}

pub fn stop_listening_keeps_connections<D: Make>() {
    let mut rig = Rig::<D>::new(8);
    let (mut client, socket) = rig.connect(1);
    rig.driver.stop_listening();
    let start = Instant::now();
    loop {
        rig.driver.wait(Some(Duration::from_millis(1)));
        match TcpStream::connect(rig.addr) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => break,
            _ => assert!(start.elapsed() < PATIENCE, "it still listens"),
        }
        assert_eq!(rig.poll(), None);
    }
    client.write_all(b"still").expect("a write");
    assert_eq!(rig.next(), Got::Received(Tag(1), b"still".to_vec()));
    assert_eq!(rig.flush(socket, b"here", 1), 4);
    let mut read = [0; 4];
    client.read_exact(&mut read).expect("a read");
    assert_eq!(&read, b"here");
}

pub fn a_driver_without_listeners_waits<D: Make>() {
    let own_bell = socket::bell().expect("a bell");
    let options = Options {
        slots: 1,
        kept_slots: 0,
        listeners: Vec::new(),
        own_bell,
        own_ring: None,
        bells: Vec::new(),
    };
    let mut driver = D::make(options);
    let start = Instant::now();
    driver.wait(Some(Duration::from_millis(30)));
    assert!(start.elapsed() >= Duration::from_millis(30));
    assert_eq!(driver.next_event(), None);
}
