//! What tokens do to an edge's connections, as time passes: they end, and are renewed.
//!
//! Must not know homes: a test answers in their place.

use super::{Bench, SECRET, UPGRADE, text};
use crate::auth::mint::Signer;
use crate::contract::envelope::{Delivery, Recovery, Request, SubscribeRequest, Subscribed};
use crate::contract::position::{Epoch, Position};
use crate::contract::user::{Selection, ServerSubscription, UserAction, UserCommand};
use crate::edge::{ConnectionId, Effect};
use crate::limits::Limits;
use jsonwebtoken::Algorithm;

/// The second of Unix time at which a bench's clock starts.
const START_S: u64 = 1_700_000_001;

fn minted(claims: &str) -> String {
    let signer = Signer::from_secret(Algorithm::HS256, SECRET).expect("a secret");
    signer.sign(None, claims).expect("it signs")
}

/// A token of user "al" that lasts so long from the start on, with more claims.
fn lasting(seconds: u64, more: &str) -> String {
    minted(&format!(r#"{{"sub":"al","exp":{}{more}}}"#, START_S + seconds))
}

impl Bench {
    fn new_one() -> Bench {
        Bench::new(64, Limits::default())
    }

    /// A connection past its upgrade, whose connect command brings this token.
    fn opened(&mut self, upgrade: &[u8], token: &str) -> ConnectionId {
        let it = self.accept();
        self.receive(it, upgrade);
        self.receive(it, &text(&format!(r#"{{"id":1,"connect":{{"token":"{token}"}}}}"#)));
        while let Some(request) = self.lane.requests.pop_front() {
            if let Request::Register { connection, .. } = request {
                self.deliver(Delivery::Registered { connection });
            }
        }
        it
    }

    fn with_token(&mut self, token: &str) -> ConnectionId {
        self.opened(UPGRADE, token)
    }

    fn says(&mut self, to: ConnectionId, command: &str) -> String {
        self.receive(to, &text(command));
        self.heard(to)
    }

    fn heard(&mut self, of: ConnectionId) -> String {
        // Close codes are no text: a letter for each byte.
        self.flush(of).into_iter().map(char::from).collect()
    }

    /// So much time passes, pings answered; gives what a connection was told.
    fn pass(&mut self, of: ConnectionId, seconds: u64) -> String {
        let mut told = String::new();
        for _ in 0..seconds * 10 {
            self.now.monotonic_us += 100_000;
            self.now.unix_ms += 100;
            self.edge.timers(self.now);
            let heard = self.heard(of);
            if heard.contains("{}") {
                self.receive(of, &text("{}"));
            }
            told.push_str(&heard);
        }
        told
    }

    fn subscribe_request(&mut self) -> Box<SubscribeRequest> {
        let requests = std::iter::from_fn(|| self.lane.requests.pop_front());
        requests
            .filter_map(|request| match request {
                Request::Subscribe(asked) => Some(asked),
                _ => None,
            })
            .last()
            .expect("a Subscribe was pushed")
    }

    /// A subscription that the home has answered; gives the reply.
    fn subscribed(&mut self, to: ConnectionId, channel: &str, token: &str) -> String {
        let command =
            format!(r#"{{"id":2,"subscribe":{{"channel":"{channel}","token":"{token}"}}}}"#);
        let told = self.says(to, &command);
        assert_eq!(told, "");
        let asked = self.subscribe_request();
        self.admit_at(&asked, 1);
        self.heard(to)
    }

    /// The home answers: the channel has this local id.
    fn admit_at(&mut self, asked: &SubscribeRequest, local: u32) {
        self.deliver(Delivery::Subscribed(Box::new(Subscribed {
            to: asked.to,
            sequence: asked.sequence,
            channel: asked.channel.clone(),
            local,
            position: Position { epoch: Epoch(0), offset: 0 },
            recovery: Recovery::NotAsked,
        })));
    }

    /// A command of the server API reaches a connection.
    fn user_command(&mut self, to: ConnectionId, action: UserAction) {
        let what = UserCommand { selection: Selection::default(), action }.into();
        let connections = Box::new([self.edge.key(to)]);
        self.deliver(Delivery::UserCommand { call: 1, connections, what });
    }
}

fn ends_with(told: &str, code: u16) -> bool {
    let letters: String = code.to_be_bytes().into_iter().map(char::from).collect();
    told.contains(&letters)
}

#[test]
fn a_connection_ends_with_its_token_and_25_seconds() {
    let mut bench = Bench::new_one();
    let it = bench.with_token(&lasting(10, ""));
    let told = bench.heard(it);
    assert!(told.contains(r#""expires":true,"ttl":10"#), "{told}");
    let told = bench.pass(it, 34);
    assert!(!told.contains("connection expired"), "{told}");
    let told = bench.pass(it, 2);
    assert!(told.contains("connection expired") && ends_with(&told, 3005), "{told}");
}

#[test]
fn a_connection_without_an_end_does_not_end() {
    let mut bench = Bench::new_one();
    let never = minted(&format!(r#"{{"sub":"al","exp":{},"expire_at":0}}"#, START_S + 10));
    let it = bench.with_token(&never);
    let anonymous = bench.with_token("");
    let told = bench.heard(it);
    assert!(told.contains("connect") && !told.contains("expires"), "{told}");
    bench.heard(anonymous);
    assert!(!bench.pass(it, 300).contains("expired"));
    assert!(bench.edge.details.is_empty(), "what has no details keeps none");
}

#[test]
fn a_refresh_moves_the_end() {
    let mut bench = Bench::new_one();
    // No ping happens to wake the timer.
    bench.edge.times.ping_interval_ms = 3_600_000;
    let it = bench.with_token(&lasting(10, ""));
    bench.pass(it, 30);
    let next = lasting(100, "");
    let told = bench.says(it, &format!(r#"{{"id":2,"refresh":{{"token":"{next}"}}}}"#));
    assert!(
        told.contains(r#""refresh":{"#) && told.contains(r#""expires":true,"ttl":70"#),
        "{told}"
    );
    assert!(!bench.pass(it, 90).contains("expired"));
    // An earlier end counts too.
    let next = lasting(121, "");
    bench.says(it, &format!(r#"{{"id":3,"refresh":{{"token":"{next}"}}}}"#));
    let told = bench.pass(it, 28);
    assert!(ends_with(&told, 3005), "{told}");
}

#[test]
fn what_a_refresh_may_bring() {
    let other = minted(&format!(r#"{{"sub":"bo","exp":{}}}"#, START_S + 100));
    let table = [
        ("", Some(3501)),
        ("x.y.z", Some(3500)),
        (other.as_str(), Some(3500)),
        (&lasting(0, ""), Some(3005)),
        (&lasting(100, &format!(r#","expire_at":{}"#, START_S - 1)), Some(3005)),
        (&minted(r#"{"sub":"al"}"#), None),
    ];
    for (text, code) in table {
        let mut bench = Bench::new_one();
        let it = bench.with_token(&lasting(10, ""));
        bench.heard(it);
        let told = bench.says(it, &format!(r#"{{"id":2,"refresh":{{"token":"{text}"}}}}"#));
        match code {
            Some(code) => assert!(ends_with(&told, code), "{text}: {told}"),
            None => assert!(told.contains(r#""refresh":{}"#), "{told}"),
        }
    }
    // Who connected without a token may show one, of nobody as it is itself.
    let anonymous = minted(&format!(r#"{{"exp":{}}}"#, START_S + 9));
    for (text, says) in [(&anonymous, Some(r#""expires":true,"ttl":9"#)), (&other, None)] {
        let mut bench = Bench::new_one();
        let it = bench.with_token("");
        bench.heard(it);
        let told = bench.says(it, &format!(r#"{{"id":2,"refresh":{{"token":"{text}"}}}}"#));
        match says {
            Some(says) => {
                assert!(told.contains(says), "{told}");
                assert!(ends_with(&bench.pass(it, 35), 3005));
            }
            None => assert!(ends_with(&told, 3500), "{told}"),
        }
    }
}

#[test]
fn a_token_may_come_with_the_upgrade() {
    let upgrade = |header: &str| {
        String::from_utf8_lossy(UPGRADE).replacen("\r\n", &format!("\r\n{header}\r\n"), 1)
    };
    let lasts = lasting(10, r#","info":{"n":1}"#);
    let header = upgrade(&format!("Authorization: Bearer {lasts}"));
    let mut bench = Bench::new_one();
    let it = bench.opened(header.as_bytes(), "");
    let told = bench.heard(it);
    // Its client cannot show another, so it is not asked to; the end is exact.
    assert!(told.contains("connect") && !told.contains("expires"), "{told}");
    assert!(!ends_with(&bench.pass(it, 9), 3005));
    assert!(ends_with(&bench.pass(it, 2), 3005));

    let forged = upgrade("Authorization: Bearer a.b.c");
    let it = bench.opened(forged.as_bytes(), "");
    assert!(ends_with(&bench.heard(it), 3500));
    // The command's own goes first.
    let it = bench.opened(forged.as_bytes(), &minted(r#"{"sub":"bo"}"#));
    assert!(bench.heard(it).contains("connect"));
    assert!(bench.edge.details.get(it.index).is_none(), "the upgrade's is not kept");
}

#[test]
fn a_subscription_ends_with_its_token() {
    let mut bench = Bench::new_one();
    let it = bench.with_token(&minted(r#"{"sub":"al"}"#));
    bench.heard(it);
    let sub = lasting(10, r#","channel":"$news","data":{"d":1}"#);
    let told = bench.subscribed(it, "$news", &sub);
    assert!(
        told.contains(r#""expires":true,"ttl":10"#) && told.contains(r#""data":{"d":1}"#),
        "{told}"
    );
    assert!(!bench.pass(it, 34).contains("unsubscribe"));
    let later = lasting(60, r#","channel":"$news""#);
    let refresh = |token: &str| {
        format!(r#"{{"id":3,"sub_refresh":{{"channel":"$news","token":"{token}"}}}}"#)
    };
    let told = bench.says(it, &refresh(&later));
    assert!(told.contains(r#""sub_refresh":{"expires":true,"ttl":26}"#), "{told}");
    let over = lasting(60, r#","channel":"$news","expire_at":1"#);
    let table =
        [(sub.as_str(), 109, true), (&over, 109, true), ("x.y.z", 103, false), ("", 107, false)];
    for (token, code, temporary) in table {
        let told = bench.says(it, &refresh(token));
        assert!(told.contains(&format!(r#""code":{code}"#)), "{token}: {told}");
        // Without it SDKs end the subscription for good.
        assert_eq!(told.contains(r#""temporary":true"#), temporary, "{token}: {told}");
    }
    assert!(!bench.pass(it, 50).contains("unsubscribe"));
    let told = bench.pass(it, 2);
    assert!(
        told.contains(r#""unsubscribe":{"code":2501,"reason":"subscription expired"}"#),
        "{told}"
    );
    bench.resume();
    assert!(matches!(bench.lane.requests.pop_front(), Some(Request::Unsubscribe { .. })));
    // It may not renew what is over, but may subscribe again; who has a good token for that is told
    // so by an error that is temporary.
    let again = lasting(500, r#","channel":"$news""#);
    for (token, code) in [("x.y.z", 103), ("", 103), (&*later, 109), (&*again, 109)] {
        let told = bench.says(it, &refresh(token));
        assert!(told.contains(&format!(r#""code":{code}"#)), "{token}: {told}");
        assert_eq!(told.contains(r#""temporary":true"#), code == 109, "{token}: {told}");
    }
    assert!(bench.subscribed(it, "$news", &again).contains(r#""ttl":41"#));
}

#[test]
fn a_private_channel_needs_a_token() {
    let mut bench = Bench::new_one();
    let it = bench.with_token(&minted(r#"{"sub":"al"}"#));
    bench.heard(it);
    let table = [
        (String::new(), 103),
        (minted(r#"{"sub":"al","channel":"$other"}"#), 103),
        (minted(r#"{"sub":"bo","channel":"$news"}"#), 103),
        (minted(r#"{"channel":"$news"}"#), 103),
        (minted(r#"{"sub":"al"}"#), 103),
        ("x".to_owned(), 103),
        (lasting(0, r#","channel":"$news""#), 109),
        (lasting(9, r#","channel":"$news","expire_at":1"#), 109),
    ];
    for (token, code) in table {
        let command = format!(r#"{{"id":2,"subscribe":{{"channel":"$news","token":"{token}"}}}}"#);
        let told = bench.says(it, &command);
        assert!(told.contains(&format!(r#""code":{code}"#)), "{token}: {told}");
    }
    let good = minted(r#"{"sub":"al","channel":"$news","info":"c"}"#);
    assert!(bench.subscribed(it, "$news", &good).contains("subscribe"));
}

#[test]
fn infos_go_where_others_see_them() {
    let mut bench = Bench::new_one();
    let it = bench.with_token(&minted(r#"{"sub":"al","info":{"n":1}}"#));
    bench.heard(it);
    bench.receive(it, &text(r#"{"id":2,"subscribe":{"channel":"a"}}"#));
    let infos = bench.subscribe_request().infos.expect("the connection's");
    assert_eq!((infos.connection(), infos.subscription()), (&b"{\"n\":1}"[..], &b""[..]));
    let good = minted(r#"{"sub":"al","channel":"b","info":[2]}"#);
    let command = format!(r#"{{"id":3,"subscribe":{{"channel":"b","token":"{good}"}}}}"#);
    bench.receive(it, &text(&command));
    let asked = bench.subscribe_request();
    let infos = asked.infos.clone().expect("both");
    assert_eq!((infos.connection(), infos.subscription()), (&b"{\"n\":1}"[..], &b"[2]"[..]));
    bench.admit_at(&asked, 1);
    bench.receive(it, &text(r#"{"id":4,"publish":{"channel":"b","data":1}}"#));
    let Some(Request::Publish { block, .. }) = bench.lane.requests.pop_front() else {
        panic!("a Publish was pushed")
    };
    let by = block.publisher().expect("a client");
    assert_eq!((by.conn_info, by.chan_info), (&b"{\"n\":1}"[..], &b"[2]"[..]));
    bench.edge.peer_reset(it, bench.now);
    bench.resume();
    assert!(bench.edge.details.is_empty(), "who is gone leaves nothing");
    bench.effects.retain(|effect| !matches!(effect, Effect::Close(_)));
}

#[test]
fn the_server_api_moves_the_end() {
    let mut bench = Bench::new_one();
    let it = bench.with_token(&minted(r#"{"sub":"al"}"#));
    bench.heard(it);
    let refresh = |bench: &mut Bench, expire_at_s| {
        bench.user_command(it, UserAction::Refresh { expire_at_s, info: Box::default() });
        bench.heard(it)
    };
    let told = refresh(&mut bench, Some(START_S + 5));
    assert!(told.contains(r#""push":{"refresh":{"expires":true,"ttl":5}}"#), "{told}");
    let told = refresh(&mut bench, None);
    assert!(told.contains(r#""push":{"refresh":{}}"#), "{told}");
    assert!(!ends_with(&bench.pass(it, 60), 3005));
    let told = refresh(&mut bench, Some(START_S));
    assert!(ends_with(&told, 3005), "{told}");
}

#[test]
fn the_server_api_gives_another_info() {
    let mut bench = Bench::new_one();
    let it = bench.with_token(&minted(r#"{"sub":"al","info":{"n":1}}"#));
    let refresh = |bench: &mut Bench, info: &[u8]| {
        let action = UserAction::Refresh { expire_at_s: None, info: info.into() };
        bench.user_command(it, action);
        bench.edge.details.infos(it.index, None).expect("it has one").connection().to_vec()
    };
    assert_eq!(refresh(&mut bench, b""), b"{\"n\":1}", "what was said before stays");
    assert_eq!(refresh(&mut bench, b"[2]"), b"[2]");
    // One that ends is told of as it was.
    let action = UserAction::Refresh { expire_at_s: Some(1), info: Box::from(&b"[3]"[..]) };
    bench.user_command(it, action);
    assert!(ends_with(&bench.heard(it), 3005));
}

#[test]
fn what_the_server_subscribes_until_a_time_ends_then() {
    let mut bench = Bench::new_one();
    let it = bench.with_token(&minted(r#"{"sub":"al"}"#));
    for (channel, expire_at_s) in [("a", Some(START_S + 10)), ("b", None)] {
        let subscription = ServerSubscription {
            channel: channel.into(),
            info: Box::default(),
            data: Box::default(),
            overrides: Default::default(),
        };
        let action = UserAction::Subscribe { subscription, since: None, expire_at_s };
        bench.user_command(it, action);
        bench.resume();
        let asked = bench.subscribe_request();
        bench.admit_at(&asked, u32::from(channel == "b"));
    }
    let told = bench.heard(it);
    assert!(told.contains(r#""channel":"a","subscribe":{}"#), "{told}");
    assert!(!bench.pass(it, 9).contains("unsubscribe"));
    let told = bench.pass(it, 2);
    let ended = r#""channel":"a","unsubscribe":{"code":2501,"reason":"subscription expired"}"#;
    assert!(told.contains(ended), "{told}");
    assert!(!bench.pass(it, 60).contains("unsubscribe"), "the other has no end");
    assert!(bench.edge.details.keeps_no_subscription(), "nothing is kept");
}

#[test]
fn a_new_token_begins_what_it_names_and_ends_what_it_does_not() {
    let mut bench = Bench::new_one();
    let it = bench.accept();
    bench.receive(it, UPGRADE);
    bench.heard(it);
    let first = lasting(100, r#","channels":["a","b"]"#);
    bench.receive(it, &text(&format!(r#"{{"id":1,"connect":{{"token":"{first}"}}}}"#)));
    let registered = Delivery::Registered { connection: bench.edge.key(it) };
    bench.deliver(registered);
    bench.resume();
    bench.lane.requests.retain(|request| matches!(request, Request::Subscribe(_)));
    for local in [1, 2] {
        let Some(Request::Subscribe(asked)) = bench.lane.requests.pop_front() else {
            panic!("a Subscribe was pushed")
        };
        bench.admit_at(&asked, local);
    }
    let told = bench.heard(it);
    assert!(told.contains(r#""subs":{"#), "{told}");
    bench.resume();
    // What the client begins is no token's to end.
    let told = bench.subscribed(it, "own", "");
    assert!(told.contains(r#""subscribe""#), "{told}");
    let renew = |bench: &mut Bench, more: &str| {
        let next = lasting(200, more);
        let mut told = bench.says(it, &format!(r#"{{"id":3,"refresh":{{"token":"{next}"}}}}"#));
        bench.resume();
        told.push_str(&bench.heard(it));
        told
    };
    let told = renew(&mut bench, r#","channels":["b"],"subs":{"c":{}}"#);
    let ended = r#""channel":"a","unsubscribe":{"code":2000,"reason":"server unsubscribe"}"#;
    assert!(told.contains(ended) && !told.contains(r#""channel":"b""#), "{told}");
    assert!(matches!(
        bench.lane.requests.pop_front(),
        Some(Request::Unsubscribe { channel, .. }) if channel.as_str() == "a"
    ));
    let asked = bench.subscribe_request();
    assert_eq!(asked.channel.as_str(), "c");
    bench.admit_at(&asked, 4);
    assert!(bench.heard(it).contains(r#""channel":"c","subscribe":{}"#));
    // The same again changes nothing; none names none.
    bench.resume();
    let told = renew(&mut bench, r#","channels":["b","c"]"#);
    assert!(!told.contains("subscribe"), "{told}");
    let told = renew(&mut bench, "");
    assert_eq!(told.matches(r#""unsubscribe""#).count(), 2, "{told}");
    assert!(!told.contains(r#""channel":"own""#), "{told}");
}
