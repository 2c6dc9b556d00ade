//! The rules of the ring: each comes from a bug, and each test fails when its rule is broken.
//!
//! Must not know how the driver keeps them. Small rings make rare cases common.

use crate::load::{close_under_load, receives_in_order};
use crate::rig::{Got, PATIENCE, Rig};
use crate::streams::Stream;
use crate::suite::sleeps_through;
use bytes::Bytes;
use corecast::driver::socket::{self, Bell};
use corecast::driver::uring::{Tuning, Uring};
use corecast::driver::{Driver, Event, Pieces, Send, Socket, Tag};
use rustix::io::Errno;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

fn rig(slots: u32, tuning: Tuning) -> Rig<Uring> {
    Rig::with(slots, Vec::new(), |options| Uring::new(options, tuning).expect("a ring"))
}

/// Deferred work runs only in an `enter`: a core that never sleeps must check the flag.
#[test]
fn a_core_that_never_sleeps_sees_completions() {
    let mut rig = rig(8, Tuning::default());
    let (mut client, _) = rig.connect(1);
    rig.driver.wait(Some(Duration::ZERO));
    for round in 0..100 {
        client.write_all(&[round]).expect("a write");
        let start = Instant::now();
        let got = loop {
            rig.driver.wait(Some(Duration::ZERO));
            if let Some(got) = rig.poll() {
                break got;
            }
            assert!(start.elapsed() < PATIENCE / 4, "completions are not seen");
        };
        assert_eq!(got, Got::Received(Tag(1), vec![round]));
    }
}

/// Two rings, of which the first knows the other by that descriptor's number; and the number's
/// descriptor, if the other does not take it.
fn two_rings(takes_it: bool) -> (Rig<Uring>, Rig<Uring>, Option<OwnedFd>) {
    let make = |options| Uring::new(options, Tuning::default()).expect("a ring");
    let known = socket::bell().expect("a descriptor");
    let number = known.as_raw_fd();
    let (own, kept) = if takes_it { (Some(known), None) } else { (None, Some(known)) };
    let woken = Rig::known(1, Vec::new(), own, make);
    let bell = Bell::new(&woken.bell).expect("a bell").of_ring(Some(number));
    (Rig::with(1, vec![Some(bell)], make), woken, kept)
}

/// Was the bell rung? Resets it.
fn was_rung(rig: &Rig<Uring>) -> bool {
    match rustix::io::read(&rig.bell, &mut [0; 8]) {
        Ok(_) => true,
        Err(errno) => {
            assert_eq!(errno, Errno::AGAIN);
            false
        }
    }
}

fn is_woken(rig: &mut Rig<Uring>) {
    let start = Instant::now();
    rig.driver.wait(Some(PATIENCE));
    assert!(start.elapsed() < PATIENCE, "nothing woke it");
    assert_eq!(rig.poll(), None);
}

/// A message from ring to ring wakes a core, even if more are sent than a queue holds, and the
/// slower bell is not rung.
#[test]
fn a_ring_wakes_another_without_its_bell() {
    let (mut ringer, mut woken, _) = two_rings(true);
    for messages in [1, 1, 2, 5_000, 1] {
        (0..messages).for_each(|_| ringer.driver.notify(0));
        ringer.driver.wait(Some(Duration::ZERO));
        is_woken(&mut woken);
        while woken.driver.look_for_news() {
            woken.driver.wait(Some(Duration::ZERO));
            assert_eq!(woken.poll(), None);
        }
        assert_eq!(ringer.poll(), None);
    }
    assert!(!was_rung(&woken));
    sleeps_through(&mut woken);
}

/// If no ring has the number, the bell is rung each time, and messages are soon abandoned.
#[test]
fn a_core_without_a_known_ring_is_woken_by_its_bell() {
    let (mut ringer, mut woken, _kept) = two_rings(false);
    for round in 0..20 {
        ringer.driver.notify(0);
        let at_once = was_rung(&woken);
        assert_eq!(at_once, round >= 8, "round {round}");
        if at_once {
            // The bell was just read, so it is rung once more.
            ringer.driver.notify(0);
        }
        ringer.driver.wait(Some(Duration::ZERO));
        assert_eq!(ringer.poll(), None);
        is_woken(&mut woken);
        was_rung(&woken);
    }
    sleeps_through(&mut woken);
}

/// The kernel lists deferred work first and raises the flag afterwards. If the work is run in
/// between, the flag stays raised without work, which must not keep a core awake.
#[test]
fn an_idle_core_rests_whatever_is_flagged() {
    const SOCKETS: usize = 16;
    const ROUNDS: u32 = 4_000;
    /// Most attempts that find nothing: completions may be on their way.
    const LOOKS: u32 = 100;
    let mut rig = rig(32, Tuning::default());
    let mut clients: Vec<TcpStream> = (0..SOCKETS).map(|tag| rig.connect(tag as u64).0).collect();
    let (rested, rests) = mpsc::channel();
    let talker = thread::spawn(move || {
        for round in 0..ROUNDS {
            clients.iter_mut().for_each(|client| client.write_all(&[1]).expect("a write"));
            // No messages until the driver was seen to rest.
            assert_eq!(rests.recv(), Ok(round));
        }
    });
    for round in 0..ROUNDS {
        let mut heard = 0;
        rig.turn_until(|_, got| {
            if let Some(Got::Received(_, bytes)) = got {
                heard += bytes.len();
            }
            heard == SOCKETS
        });
        let mut looks = 0;
        while rig.driver.look_for_news() {
            rig.driver.wait(Some(Duration::ZERO));
            assert_eq!(rig.poll(), None);
            looks += 1;
            assert!(looks < LOOKS, "round {round}: the driver says that there is something");
        }
        rested.send(round).expect("the talker is there");
    }
    talker.join().expect("no panic");
}

/// A multishot receive ends when no buffer is left, and is armed again once there is one.
#[test]
fn receives_go_on_after_buffers_ran_out() {
    for total_cap in [true, false] {
        let tuning = Tuning { buffers: 2, buffer_bytes: 512, total_cap, ..Tuning::default() };
        let mut rig = rig(16, tuning);
        receives_in_order(&mut rig, 16, 100_000);
        assert!(rig.driver.stats().out_of_buffers > 0);
    }
}

/// Bytes for a closed socket do not reach the owner, and their buffers are returned.
#[test]
fn closed_sockets_give_their_buffers_back() {
    let tuning = Tuning { buffers: 32, buffer_bytes: 512, ..Tuning::default() };
    close_under_load(&mut rig(16, tuning), 16);
}

/// While the owner holds every buffer nothing is received, and nothing spins.
#[test]
fn an_empty_buffer_ring_is_waited_for() {
    let mut rig = rig(4, Tuning { buffers: 4, buffer_bytes: 64, ..Tuning::default() });
    let (mut client, _) = rig.connect(1);
    let sent = Stream::new(1).take(64 * 100);
    client.write_all(&sent).expect("a write");
    let mut check = Stream::new(1);
    let mut held = Vec::new();
    while held.len() < 4 {
        match rig.driver.next_event() {
            Some(Event::Received { buffer, .. }) => held.push(buffer),
            Some(other) => panic!("{other:?}"),
            None => rig.driver.wait(Some(PATIENCE)),
        }
    }
    sleeps_through(&mut rig);
    for buffer in held {
        check.expect(rig.driver.bytes(&buffer));
        rig.driver.release(buffer);
    }
    while check.at < sent.len() as u64 {
        let Got::Received(Tag(1), bytes) = rig.next() else { panic!("not received") };
        check.expect(&bytes);
    }
    let out = rig.driver.stats().out_of_buffers;
    assert!((1..=100).contains(&out), "out of buffers {out} times");
}

/// The kernel keeps completions beyond the queue; they are counted and fetched.
#[test]
fn completions_beyond_the_queue_are_counted_and_come() {
    let mut rig = rig(64, Tuning { submissions: 4, completions: 8, ..Tuning::default() });
    let mut clients: Vec<_> = (0..64).map(|tag| rig.connect(tag).0).collect();
    rig.driver.wait(Some(Duration::ZERO));
    assert_eq!(rig.poll(), None);
    for round in 0..20 {
        for client in &mut clients {
            client.write_all(&[round]).expect("a write");
        }
        let start = Instant::now();
        let mut seen = [false; 64];
        while seen.contains(&false) {
            // A core that never sleeps has to fetch them too.
            match rig.poll() {
                None => rig.driver.wait(Some(Duration::ZERO)),
                Some(Got::Received(tag, bytes)) => {
                    assert_eq!(bytes, [round]);
                    assert!(!std::mem::replace(&mut seen[tag.0 as usize], true));
                }
                Some(other) => panic!("{other:?}"),
            }
            assert!(start.elapsed() < PATIENCE, "{seen:?}");
        }
    }
    assert!(rig.driver.stats().overflows > 0);
}

/// A full submission queue is submitted, whatever comes next.
#[test]
fn no_entry_of_a_small_queue_is_dropped() {
    let mut rig = rig(64, Tuning { submissions: 2, completions: 4, ..Tuning::default() });
    for _ in 0..3 {
        let clients: Vec<_> = (0..64).map(|_| rig.client()).collect();
        let sockets: Vec<_> = clients.iter().map(|_| rig.accepted()).collect();
        for (tag, socket) in sockets.iter().enumerate() {
            rig.driver.adopt(*socket, Tag(tag as u64));
        }
        says_and_hears(&mut rig, &sockets, clients);
        for socket in sockets {
            rig.driver.pause(socket);
            rig.driver.close(socket);
        }
        rig.driver.wait(Some(Duration::ZERO));
        rig.forget();
    }
}

/// One flush to all, in two segments each; then each client writes and ends.
fn says_and_hears(rig: &mut Rig<Uring>, sockets: &[Socket], clients: Vec<TcpStream>) {
    let arena = Stream::new(3).take(100);
    let segments = crate::rig::cut(100, 2);
    let send = |(at, socket): (usize, &Socket)| Send {
        socket: *socket,
        pieces: Pieces::Many { first: 0, count: 1 + at as u32 % 2 },
    };
    let sends: Vec<_> = sockets.iter().enumerate().map(send).collect();
    let mut unsent = Vec::new();
    rig.driver.flush(&arena, &arena, &segments, &sends, &mut unsent);
    assert_eq!(unsent, []);
    for (at, mut client) in clients.into_iter().enumerate() {
        let mut read = vec![0; 50 + 50 * (at % 2)];
        client.read_exact(&mut read).expect("a read");
        assert_eq!(read, arena[..read.len()]);
        client.write_all(b"x").expect("a write");
    }
    let mut open = sockets.len();
    while open > 0 {
        match rig.next() {
            Got::Received(_, bytes) => assert_eq!(bytes, b"x"),
            Got::Ended(..) => open -= 1,
            other => panic!("{other:?}"),
        }
    }
}

/// Incomplete sends are listed, even if there are more than entries for completions.
#[test]
fn unsent_sends_beyond_the_completion_queue_are_listed() {
    let mut rig = rig(64, Tuning { submissions: 32, completions: 32, ..Tuning::default() });
    let mut connected: Vec<_> = (0..64).map(|tag| rig.connect(tag)).collect();
    for (_, socket) in &connected {
        while rig.flush(*socket, &[0; 500_000], 1) == 500_000 {}
    }
    // Receives will complete among the sends.
    for (client, _) in &mut connected {
        client.write_all(b"x").expect("a write");
    }
    let arena = vec![0; 8 << 20];
    let segments = crate::rig::cut(arena.len(), 1);
    let send = |(_, socket): &(TcpStream, Socket)| Send {
        socket: *socket,
        pieces: Pieces::One(segments[0]),
    };
    let sends: Vec<_> = connected.iter().map(send).collect();
    let mut unsent = Vec::new();
    rig.driver.flush(&arena, &[], &segments, &sends, &mut unsent);
    assert!(unsent.iter().all(|unsent| (unsent.sent as usize) < arena.len()));
    assert!(unsent.iter().map(|unsent| unsent.index).eq(0..64), "{unsent:?}");
}

/// A close under an armed receive would send no FIN and leave the receive behind, unless it is
/// cancelled first.
#[test]
fn close_under_an_armed_receive_sends_a_fin() {
    let mut rig = rig(200, Tuning::default());
    for round in 0..3 {
        let connected: Vec<_> = (0..200).map(|at| rig.connect(round * 200 + at)).collect();
        rig.driver.wait(Some(Duration::ZERO));
        connected.iter().for_each(|(_, socket)| rig.driver.close(*socket));
        let clients = thread::spawn(move || {
            for (mut client, _) in connected {
                assert_eq!(client.read(&mut [0]).expect("a FIN"), 0);
                // The server's end is closed already.
                let _ = client.write_all(b"late");
            }
        });
        rig.turn_until(|_, got| {
            assert_eq!(got, None);
            clients.is_finished()
        });
        clients.join().expect("a FIN for each");
    }
}

/// A socket with much data gets its share of a turn and no more: 8 buffers and the one begun, or,
/// on kernels without the total cap, what these bring in one `enter` (132 seen).
#[test]
fn one_socket_takes_its_share_of_a_turn() {
    for (total_cap, share) in [(true, 9 * 2_048), (false, 192 * 2_048)] {
        let mut rig = rig(2, Tuning { total_cap, ..Tuning::default() });
        let (mut client, _) = rig.connect(1);
        let flood = thread::spawn(move || {
            let piece = [0; 100_000];
            (0..200).for_each(|_| client.write_all(&piece).expect("a write"));
        });
        let (mut total, mut most) = (0, 0);
        while total < 20_000_000 {
            let mut turn = 0;
            while let Some(got) = rig.poll() {
                let Got::Received(_, bytes) = got else { break };
                turn += bytes.len();
            }
            total += turn;
            most = most.max(turn);
            rig.driver.wait(Some(Duration::from_millis(10)));
        }
        assert!(most <= share, "{most} bytes in a turn, total_cap {total_cap}");
        flood.join().expect("the flood");
    }
}

/// A driver ends what is under way and unregisters its ring, of which a thread may have 16.
#[test]
fn a_dropped_driver_leaves_nothing_behind() {
    for round in 0..40 {
        let mut rig = rig(4, Tuning::default());
        let (mut reading, _) = rig.connect(1);
        let (full, socket) = rig.connect(2);
        while rig.flush(socket, &[0; 500_000], 1) == 500_000 {}
        rig.driver.arm_send(socket, Bytes::from(vec![1; 10_000]));
        if round % 2 == 0 {
            rig.driver.wait(Some(Duration::ZERO));
        }
        drop(rig);
        // The ring's last work interrupts this thread's calls; this one goes on.
        assert_eq!(reading.read_to_end(&mut Vec::new()).expect("a FIN"), 0);
        drop(full);
    }
}

/// Bytes that the kernel has received for the owner come before later ones. So it receives a batch
/// of what floods send, not as much as there are buffers for, and a client that sends little does
/// not wait until each flood had its share.
#[test]
fn a_light_sender_waits_for_a_batch_of_floods() {
    const FLOODS: u64 = 150;
    const ROUNDS: u8 = 101;
    let mut rig = rig(FLOODS as u32 + 1, Tuning::default());
    let (mut light, _) = rig.connect(FLOODS);
    let floods: Vec<_> = (0..FLOODS).map(|flood| rig.connect(flood).0).collect();
    let ends: Vec<_> = floods.iter().map(|it| it.try_clone().expect("a descriptor")).collect();
    let flood = |mut flood: TcpStream| {
        thread::spawn(move || while flood.write_all(&[7; 65_536]).is_ok() {})
    };
    let flooders: Vec<_> = floods.into_iter().map(flood).collect();
    let mut flooded = [0; ROUNDS as usize];
    for round in 0..ROUNDS {
        light.write_all(&[round]).expect("a write");
        loop {
            match rig.next() {
                Got::Received(Tag(FLOODS), bytes) => break assert_eq!(bytes, [round]),
                Got::Received(_, bytes) => flooded[round as usize] += bytes.len(),
                other => panic!("{other:?}"),
            }
        }
    }
    flooded.sort_unstable();
    // A batch is 512 KiB, and their shares are 2,400.
    let median = flooded[flooded.len() / 2];
    assert!(median <= 1 << 20, "{median} bytes of floods go before one of others");
    ends.iter().for_each(|it| it.shutdown(Shutdown::Both).expect("a shutdown"));
    drop(rig);
    flooders.into_iter().for_each(|flooder| flooder.join().expect("a flood"));
}
