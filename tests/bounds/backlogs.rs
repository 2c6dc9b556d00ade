//! Bounds on waiting bytes: unread input (1013), unsent output (3008), and a turn's arena.

use crate::client::{Client, FIN, TEXT, frame, header};
use crate::server::{Server, Setup, limits, until};
use crate::{on_both_drivers, serve};
use serde_json::json;

on_both_drivers!(
    a_stalled_reader,
    backlogs_of_a_worker,
    who_holds_most_goes_first,
    recovery_answers_of_a_worker,
    half_received_frames,
    half_received_messages,
    a_tiny_arena,
);

/// Data of a publication, a JSON string of about this many bytes.
fn data(bytes: usize) -> String {
    format!("\"{}\"", "x".repeat(bytes))
}

/// A client that subscribes and then stops reading.
fn stalled(server: &Server, channel: &str) -> Client {
    let mut client = server.client();
    assert_eq!(client.subscribe_error(channel), 0);
    client
}

/// Publishes until this many connections were closed with 3008; the kernel's buffers take megabytes
/// first.
fn publish_until_slow(server: &Server, channel: &str, told: u64) -> usize {
    let data = data(50_000);
    for round in 1..2_000 {
        assert!(server.publish(channel, &data)["error"].is_null());
        if server.disconnects(3008) >= told {
            return round;
        }
    }
    panic!("100 MB wait for a reader that does not read");
}

fn a_stalled_reader(driver: &str) {
    let server = serve!(driver, limits("backlog_bytes = 65536"));
    let neighbour = server.neighbour();
    let mut reader = server.client();
    assert_eq!(reader.subscribe_error("n:big"), 0);
    let reading = std::thread::spawn(move || {
        let mut read = 0;
        while reader.publication()["data"] != 0 {
            read += 1;
        }
        read
    });
    let mut slow = stalled(&server, "n:big");
    let published = publish_until_slow(&server, "n:big", 1);
    server.publish("n:big", "0");
    assert_eq!(reading.join().unwrap(), published, "a reader gets everything");
    assert_eq!(slow.close_code(), Some(3008), "3008 comes after what was under way");
    drop(slow);
    server.settles("backlog_bytes", 0);
    server.settles("subscriptions", 1);
    neighbour.end();
    server.end();
}

fn backlogs_of_a_worker(driver: &str) {
    let bounds = "backlog_bytes = 1073741824\nbacklog_bytes_per_worker = 1048576";
    let server = serve!(driver, limits(bounds));
    let neighbour = server.neighbour();
    let mut slow = [stalled(&server, "n:big"), stalled(&server, "n:big")];
    publish_until_slow(&server, "n:big", 2);
    assert!(slow.iter_mut().all(|client| client.close_code() == Some(3008)));
    drop(slow);
    server.settles("backlog_bytes", 0);
    neighbour.end();
    server.end();
}

/// Much waits for one client, little for another, and the worker exceeds its bound: the one with
/// much is closed, although the last bytes were added for the other.
fn who_holds_most_goes_first(driver: &str) {
    let bounds = "backlog_bytes = 1073741824\nbacklog_bytes_per_worker = 4194304";
    let server = serve!(driver, limits(bounds));
    let neighbour = server.neighbour();
    let (mut light, mut heavy) = (stalled(&server, "n:light"), stalled(&server, "n:heavy"));
    let data = data(50_000);
    let waiting = || server.metric("corecast_backlog_bytes{");
    // The kernel's buffers take megabytes first.
    let mut sent = 0;
    while waiting() < 200_000 {
        for _ in 0..4 {
            server.publish("n:light", &data);
        }
        sent += 4;
    }
    while waiting() < 2_500_000 {
        for _ in 0..20 {
            server.publish("n:heavy", &data);
        }
    }
    while waiting() < 4_000_000 {
        server.publish("n:heavy", &data);
    }
    while server.disconnects(3008) == 0 {
        server.publish("n:light", &data);
        sent += 1;
    }
    assert_eq!(heavy.close_code(), Some(3008));
    for number in 0..sent {
        assert_eq!(light.publication()["data"].as_str().map(str::len), Some(50_000), "{number}");
    }
    assert!(light.lives());
    drop(heavy);
    server.settles("backlog_bytes", 0);
    neighbour.end();
    let said = server.end();
    assert!(said.contains("limits.backlog_bytes_per_worker"), "{said}");
}

/// A recovery answer holds history for its reader, which counts against the worker's bound too.
fn recovery_answers_of_a_worker(driver: &str) {
    let bounds = "backlog_bytes_per_worker = 65536\nrecovery_bytes = 10000000";
    let server = serve!(driver, limits(bounds));
    let neighbour = server.neighbour();
    let mut client = server.client();
    let epoch = client.subscribe("h:big")["subscribe"]["epoch"].as_str().unwrap().to_owned();
    for _ in 0..10 {
        server.publish("h:big", &data(20_000));
    }
    let mut late = server.client();
    late.tell(
        "subscribe",
        json!({"channel": "h:big", "recover": true, "epoch": epoch, "offset": 0}),
    );
    // The stream may be inside the answer's frame, where no close frame can be inserted.
    assert!(matches!(late.close_code(), None | Some(3008)));
    assert_eq!(server.disconnects(3008), 1, "200,000 bytes where 65,536 may wait");
    drop(late);
    server.settles("backlog_bytes", 0);
    let mut back = server.client();
    let since = json!({"channel": "h:big", "recover": true, "epoch": epoch, "offset": 8});
    assert_eq!(back.ask("subscribe", since)["subscribe"]["recovered"], true);
    neighbour.end();
    server.end();
}

/// Three connections that each hold half a message, the second most: it is closed with 1013, the
/// others continue.
fn fill_the_spill(driver: &str, part: impl Fn(usize) -> Vec<u8>) {
    let server = serve!(driver, limits("spill_bytes_per_worker = 131072"));
    let neighbour = server.neighbour();
    let mut holding: Vec<Client> = [30_000, 50_000, 20_000].map(|_| server.client()).into();
    let mut sum = 0;
    for (client, bytes) in holding.iter_mut().zip([30_000, 50_000, 20_000]) {
        client.send(&part(bytes));
        sum += bytes as u64;
        until("held, or too much", || {
            server.metric("corecast_spill_bytes{") >= sum || server.disconnects(1013) > 0
        });
    }
    let mut more = server.client();
    more.send(&part(40_000));
    assert_eq!(holding[1].close_code(), Some(1013), "it held most");
    assert_eq!(server.disconnects(1013), 1);
    neighbour.receives();
    holding[0].half_close();
    drop((holding, more));
    server.settles("spill_bytes", 0);
    let mut client = server.client();
    client.text(&format!(r#"{{"id":7,"ping":{{}}}}{}"#, " ".repeat(50_000)));
    assert!(client.answer_to(7)["error"].is_null(), "there is room again");
    neighbour.end();
    server.end();
}

fn half_received_frames(driver: &str) {
    fill_the_spill(driver, |bytes| {
        let mut part = header(FIN | TEXT, 60_000);
        // Valid UTF-8 under every byte of the mask.
        part.extend(vec![b' ' ^ 0x11; bytes]);
        part
    });
}

fn half_received_messages(driver: &str) {
    fill_the_spill(driver, |bytes| frame(TEXT, &vec![b' '; bytes]));
}

/// 4 KiB of arena: some frames exceed a quarter of it, some all of it.
fn a_tiny_arena(driver: &str) {
    const COUNT: usize = 400;
    let setup = Setup { workers: 2, limits: "arena_bytes = 4096", ..Setup::default() };
    let server = serve!(driver, setup);
    let neighbour = server.neighbour();
    let mut readers: Vec<Client> = (0..6).map(|_| server.client()).collect();
    assert!(readers.iter_mut().all(|reader| reader.subscribe_error("n:arena") == 0));
    let size = |number: usize| [10, 900, 5_000, 200, 20_000][number % 5] + number;
    let mut publisher = server.client();
    let publishing = std::thread::spawn(move || {
        let ids: Vec<u32> = (0..COUNT)
            .map(|number| {
                let data = json!([number, "x".repeat(size(number))]);
                publisher.tell("publish", json!({"channel": "n:arena", "data": data}))
            })
            .collect();
        assert!(ids.into_iter().all(|id| publisher.answer_to(id)["error"].is_null()));
    });
    let reading: Vec<_> = readers
        .into_iter()
        .map(|mut reader| {
            std::thread::spawn(move || {
                for number in 0..COUNT {
                    let got = reader.publication();
                    assert_eq!(got["data"][0], number, "in order");
                    assert_eq!(got["data"][1].as_str().unwrap().len(), size(number));
                }
            })
        })
        .collect();
    publishing.join().unwrap();
    reading.into_iter().for_each(|reader| reader.join().unwrap());
    server.settles("backlog_bytes", 0);
    neighbour.end();
    server.end();
}
