//! A link against bytes that a test says.

use super::*;
use crate::bridge::redis::greeting::Timeouts;

const MS: u64 = 1_000;

fn login() -> Login {
    Login {
        user: None,
        password: Some("secret".into()),
        database: 2,
        name: "corecast".into(),
        timeouts: Timeouts::default(),
    }
}

/// What HELLO answers.
fn hello_of(server: &str, version: &str, role: &str) -> String {
    let text = |text: &str| format!("${}\r\n{text}\r\n", text.len());
    let fields = [
        text("server") + &text(server),
        text("version") + &text(version),
        text("proto") + ":3\r\n",
        text("id") + ":17\r\n",
        text("mode") + &text("standalone"),
        text("role") + &text(role),
        text("modules") + "*0\r\n",
    ];
    format!("%{}\r\n{}", fields.len(), fields.concat())
}

fn info_of(role: &str) -> String {
    let text = format!("# Replication\r\nrole:{role}\r\nmaster_replid:abc123\r\n");
    format!("${}\r\n{text}\r\n", text.len())
}

fn greeting() -> String {
    hello_of("redis", "7.0.15", "master") + "+OK\r\n" + &info_of("master")
}

fn taken(link: &mut Link<u32>) -> String {
    let mut out = Vec::new();
    link.take_output(&mut out);
    String::from_utf8(out).expect("text")
}

/// A link that was dialled at 0.
fn dialled() -> Link<u32> {
    let mut link = Link::new(login());
    assert!(!link.take_dial(), "it wants one at its turn");
    link.turn(0);
    assert!(link.take_dial() && !link.take_dial(), "once");
    link.connected(0);
    link
}

/// One whose greeting is over.
fn open() -> Link<u32> {
    let mut link = dialled();
    taken(&mut link);
    link.received(greeting().as_bytes(), 0);
    assert!(matches!(link.hear(), Some(Heard::Open(_))));
    assert!(link.is_open());
    link
}

/// Why a link ended that was answered this way.
fn ended_by(answers: &str) -> LinkError {
    let mut link = dialled();
    link.received(answers.as_bytes(), 0);
    assert_eq!(link.hear(), None);
    assert!(link.must_close(), "{answers}");
    let ended = link.closed(5).expect("it was up");
    assert!(!ended.was_open);
    ended.error
}

#[test]
fn it_says_who_it_is_and_learns_who_answers() {
    let mut link = dialled();
    let said = taken(&mut link);
    let expected = "*7\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$4\r\nAUTH\r\n$7\r\ndefault\r\n$6\r\nsecret\r\n\
         $7\r\nSETNAME\r\n$8\r\ncorecast\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n2\r\n\
         *2\r\n$4\r\nINFO\r\n$11\r\nreplication\r\n";
    assert_eq!(said, expected);
    // However it is cut.
    for byte in greeting().as_bytes() {
        assert_eq!(link.hear(), None);
        link.received(&[*byte], 7);
    }
    let server =
        Server { connection: 17, version: "7.0.15".into(), replication_id: Some("abc123".into()) };
    assert_eq!(link.hear(), Some(Heard::Open(server)));
    assert_eq!(link.hear(), None);
}

#[test]
fn whoever_is_not_fit_is_named_in_one_line() {
    let master = "master";
    assert_eq!(ended_by(&hello_of("redis", "6.2.5", master)), LinkError::Old("6.2.5".into()));
    assert_eq!(ended_by("-ERR unknown command `HELLO`\r\n"), LinkError::Old("before 6.0".into()));
    assert_eq!(ended_by(&hello_of("redis", "7.2.4", "slave")), LinkError::Replica);
    let turned = hello_of("redis", "7.2.4", master) + "+OK\r\n" + &info_of("slave");
    assert_eq!(ended_by_open(&turned), LinkError::Replica);
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    assert!(matches!(ended_by(wrong), LinkError::Login(_)));
    assert!(matches!(ended_by("-NOAUTH HELLO must be called\r\n"), LinkError::Login(_)));
    assert!(matches!(ended_by("-LOADING Redis is loading\r\n"), LinkError::Unavailable(_)));
    let no_database = hello_of("redis", "7.0.0", master) + "-ERR DB index is out of range\r\n";
    assert!(matches!(ended_by(&no_database), LinkError::Database(_)));
    assert!(matches!(ended_by("HTTP/1.1 400 Bad Request\r\n"), LinkError::Garbage(_)));
    assert!(matches!(ended_by("+PONG\r\n"), LinkError::NotRedis(_)));
    for line in [LinkError::Old("6.2.5".into()), LinkError::Replica, LinkError::Silent] {
        assert!(!line.to_string().contains('\n'));
    }
    let old = LinkError::Old("6.2.5".into()).to_string();
    assert!(old.contains("6.2.5") && old.contains("7.0 or newer"), "{old}");
}

/// The same where the greeting was over already.
fn ended_by_open(answers: &str) -> LinkError {
    let mut link = dialled();
    link.received(answers.as_bytes(), 0);
    assert_eq!(link.hear(), None);
    link.closed(5).expect("it was up").error
}

#[test]
fn valkey_counts_its_versions_otherwise_and_info_may_be_barred() {
    let mut link = dialled();
    let answers = hello_of("valkey", "1.0.0", "master") + "+OK\r\n-NOPERM no INFO for you\r\n";
    link.received(answers.as_bytes(), 0);
    let Some(Heard::Open(server)) = link.hear() else { panic!("it is fit") };
    assert_eq!(server.replication_id, None);
}

#[test]
fn replies_find_their_commands_and_pushes_stand_apart() {
    let mut link = open();
    for token in [1, 2] {
        link.send(token, 0, |out| command(out, &[b"GET", b"a"]));
    }
    link.received(b"$1\r\nx\r\n>2\r\n+message\r\n:1\r\n_\r\n", 0);
    assert_eq!(link.hear(), Some(Heard::Reply(1, Value::Blob("x".into()))));
    assert!(matches!(link.hear(), Some(Heard::Push(parts)) if parts.len() == 2));
    assert_eq!(link.hear(), Some(Heard::Reply(2, Value::Null)));
    assert_eq!(link.hear(), None);
    // An objection to what has only pushes for replies comes before the reply to its fence.
    link.send_fenced(3, 0, |out| command(out, &[b"SUBSCRIBE", b"a"]));
    assert!(taken(&mut link).ends_with("*1\r\n$4\r\nPING\r\n"));
    link.received(b"-NOPERM no\r\n+PONG\r\n", 0);
    assert_eq!(link.hear(), Some(Heard::Objection("NOPERM no".into())));
    assert_eq!(link.first(), Some(&3));
    assert_eq!(link.hear(), Some(Heard::Reply(3, Value::Simple("PONG".into()))));
    // A server that refuses everything refuses the fence too, and it may begin between the two.
    link.send_fenced(4, 0, |out| command(out, &[b"SUBSCRIBE", b"a"]));
    link.send_fenced(5, 0, |out| command(out, &[b"SUBSCRIBE", b"b"]));
    link.received(b"-BUSY no\r\n-BUSY no\r\n", 0);
    assert_eq!(link.hear(), Some(Heard::Objection("BUSY no".into())));
    assert_eq!(link.hear(), Some(Heard::Reply(4, Value::Error("BUSY no".into()))));
    link.received(b">3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:1\r\n-BUSY no\r\n", 0);
    assert!(matches!(link.hear(), Some(Heard::Push(_))));
    assert_eq!(link.hear(), Some(Heard::Reply(5, Value::Error("BUSY no".into()))));
    assert_eq!(link.first(), None);
    link.received(b":1\r\n", 0);
    assert_eq!(link.hear(), None);
    assert!(matches!(link.closed(9).expect("up").error, LinkError::NotRedis(_)), "to nothing");
}

#[test]
fn what_was_handed_over_is_lost_and_the_rest_unsent() {
    let mut link = open();
    link.send(1, 0, |out| command(out, &[b"GET", b"a"]));
    link.send(2, 0, |out| command(out, &[b"GET", b"b"]));
    taken(&mut link);
    link.send(3, 0, |out| command(out, &[b"GET", b"c"]));
    link.received(b"_\r\n", 0);
    assert!(matches!(link.hear(), Some(Heard::Reply(1, _))));
    link.received(b"$7\r\nabc", 0);
    assert_eq!(link.hear(), None);
    let ended = link.closed(50).expect("it was up");
    let expected =
        Ended { error: LinkError::Closed, was_open: true, lost: vec![2], unsent: vec![3] };
    assert_eq!(ended, expected);
    assert_eq!(link.closed(60), None, "once");
    link.turn(49);
    assert!(!link.take_dial(), "it rests");
    link.turn(50);
    assert!(link.take_dial());
    link.connected(51);
    assert!(taken(&mut link).starts_with("*7\r\n$5\r\nHELLO"), "nothing is left of before");
    // A reply that was cut off by the end is not put together with what comes now.
    link.received(greeting().as_bytes(), 51);
    assert!(matches!(link.hear(), Some(Heard::Open(_))));
}

#[test]
fn silence_ends_it_where_something_was_asked() {
    let mut link = open();
    link.turn(999 * MS);
    assert_eq!(taken(&mut link), "");
    link.turn(1_000 * MS);
    assert!(taken(&mut link).ends_with("PING\r\n"), "an idle one is tried");
    assert_eq!(link.deadline_us(), Some(5_000 * MS));
    link.received(b"+PONG\r\n", 1_001 * MS);
    assert_eq!(link.hear(), None);
    link.send(1, 1_500 * MS, |out| command(out, &[b"GET", b"a"]));
    link.send(2, 3_000 * MS, |out| command(out, &[b"GET", b"a"]));
    link.turn(5_499 * MS);
    assert!(!link.must_close());
    // Bytes of a long reply are a sign of life.
    link.received(b"$5\r\nab", 5_499 * MS);
    assert_eq!(link.hear(), None);
    link.turn(9_498 * MS);
    assert!(!link.must_close());
    link.turn(9_499 * MS);
    assert!(link.must_close());
    let ended = link.closed(9_600 * MS).expect("up");
    assert_eq!((ended.error, ended.unsent), (LinkError::Silent, vec![1, 2]), "nobody took them");
}

#[test]
fn a_dial_and_a_greeting_have_their_time() {
    let mut link = dialled();
    assert_eq!(link.deadline_us(), Some(3_000 * MS));
    link.received(b"%7\r\n", 2_999 * MS);
    assert_eq!(link.hear(), None);
    link.turn(3_000 * MS);
    assert_eq!(link.closed(4_000 * MS).expect("up").error, LinkError::Slow);
    // A dial that fails is closed without having been connected.
    link.turn(4_000 * MS);
    assert!(link.take_dial());
    assert_eq!(link.closed(4_100 * MS).expect("begun").error, LinkError::Closed);
    link.connected(4_100 * MS);
    assert_eq!(taken(&mut link), "", "too late: that dial is over");
}

#[test]
fn an_error_of_a_server_that_cannot_serve_ends_the_connection() {
    let ends = ["READONLY You can't write", "LOADING x", "MASTERDOWN x", "NOAUTH x"];
    assert!(ends.iter().all(|error| LinkError::of(&StoreError::new(error)).is_some()));
    let stays = ["OOM x", "ERR x", "NOPERM x", "WRONGTYPE x", "BUSY x", "NOSCRIPT x", ""];
    assert!(stays.iter().all(|error| LinkError::of(&StoreError::new(error)).is_none()));
    let mut link = open();
    link.turn(1_000 * MS);
    link.received(b"-NOAUTH Authentication required.\r\n", 1_000 * MS);
    assert_eq!(link.hear(), None);
    assert!(matches!(link.closed(1).expect("up").error, LinkError::Login(_)));
}

/// Messages that keep coming do not stand for the answer to a command.
#[test]
fn a_command_that_is_never_answered_ends_its_connection() {
    let mut link = open();
    link.send(1, 10_000 * MS, |out| command(out, &[b"GET", b"a"]));
    let push = b">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\n1\r\n";
    let end_us = (10_000 + 16_000) * MS;
    for now_us in (10_500 * MS..end_us).step_by(500 * MS as usize) {
        link.received(push, now_us);
        assert!(matches!(link.hear(), Some(Heard::Push(_))));
        link.turn(now_us);
        assert!(!link.must_close(), "{now_us}");
    }
    assert_eq!(link.deadline_us(), Some(end_us));
    link.turn(end_us);
    let ended = link.closed(end_us).expect("it was up");
    assert_eq!((ended.error, ended.unsent), (LinkError::Silent, vec![1]));
}
