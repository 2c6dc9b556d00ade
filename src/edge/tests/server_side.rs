//! What the server does to an edge's connections: subscriptions at connect and by command.
//!
//! Must not know homes: a test answers in their place.

use super::{Bench, SECRET, UPGRADE, at_ms, next_flush, publication, sent_whole, text};
use crate::codec::command::ErrorCode;
use crate::contract::block::{Block, Parts, Placed, Publisher};
use crate::contract::envelope::{Delivery, Recovery, Request, SubscribeRequest, Subscribed};
use crate::contract::key::ConnectionKey;
use crate::contract::position::{Epoch, Position};
use crate::contract::user::{
    Selection, ServerSubscription, SharedCommand, UserAction, UserCommand,
};
use crate::edge::ConnectionId;
use crate::edge::connection::server_side::ServerBegin;
use crate::edge::connection::{Fact, Traits};
use crate::limits::Limits;
use crate::namespace::Personal;
use jsonwebtoken::{EncodingKey, Header, encode};

fn connect(user: &str, more: &str) -> Vec<u8> {
    let claims = serde_json::json!({ "sub": user });
    let key = EncodingKey::from_secret(SECRET);
    let token = encode(&Header::default(), &claims, &key).expect("a small token");
    text(&format!(r#"{{"id":1,"connect":{{"token":"{token}"{more}}}}}"#))
}

fn key(conn: ConnectionId) -> ConnectionKey {
    ConnectionKey { core: 0, index: conn.index, generation: conn.generation }
}

fn subscription(channel: &str) -> ServerSubscription {
    ServerSubscription {
        channel: channel.into(),
        info: Box::default(),
        data: Box::from(&b"{\"for\":\"you\"}"[..]),
        overrides: Default::default(),
    }
}

fn subscribe(channel: &str) -> UserAction {
    until(channel, None)
}

fn until(channel: &str, expire_at_s: Option<u64>) -> UserAction {
    UserAction::Subscribe { subscription: subscription(channel), since: None, expire_at_s }
}

fn unsubscribe(channel: &str) -> UserAction {
    UserAction::Unsubscribe {
        channel: channel.into(),
        code: 2000,
        reason: "server unsubscribe".into(),
    }
}

fn placed(offset: u64, data: &str) -> Placed {
    Placed { offset, block: Block::plain("c", data.as_bytes(), at_ms(0)) }
}

impl Bench {
    fn personal() -> Bench {
        Bench::with_personal(8, Limits::default(), Personal::Unnamed)
    }

    /// A user's connection, as far as its registration's answer.
    fn registered(&mut self, more: &str) -> ConnectionId {
        let conn = self.accept();
        self.receive(conn, UPGRADE);
        self.receive(conn, &connect("al", more));
        let Some(Request::Register { connection, .. }) = self.lane.requests.pop_front() else {
            panic!("it registers first")
        };
        self.deliver(Delivery::Registered { connection });
        self.resume();
        conn
    }

    fn pushed_subscribe(&mut self) -> SubscribeRequest {
        match self.lane.requests.pop_front() {
            Some(Request::Subscribe(asked)) => *asked,
            other => panic!("a Subscribe: {other:?}"),
        }
    }

    fn admit(&mut self, asked: &SubscribeRequest, local: u32, offset: u64, recovery: Recovery) {
        self.deliver(Delivery::Subscribed(Box::new(Subscribed {
            to: asked.to,
            sequence: asked.sequence,
            channel: asked.channel.clone(),
            local,
            position: Position { epoch: Epoch(0), offset },
            recovery,
        })));
    }

    fn command(&mut self, conn: ConnectionId, action: UserAction) {
        let what = SharedCommand::from(UserCommand { selection: Selection::default(), action });
        self.deliver(Delivery::UserCommand { call: 1, connections: Box::new([key(conn)]), what });
        self.resume();
    }

    /// What each of these connections was sent, as text.
    fn sent_to<const N: usize>(&mut self, conns: [ConnectionId; N]) -> [String; N] {
        self.edge.mark_staged();
        let mut sent = conns.map(|_| String::new());
        let mut ranges = Vec::new();
        while let Some(flush) = next_flush(&mut self.edge, &mut ranges) {
            let Some(to) = sent_whole(&mut self.edge, flush, &mut ranges) else { continue };
            let place = conns.iter().position(|conn| *conn == to).expect("it is listened to");
            for range in &ranges {
                let bytes = &self.edge.arena()[range.start as usize..range.end as usize];
                sent[place] += &String::from_utf8_lossy(bytes);
            }
        }
        self.edge.restart_if_flushed();
        sent
    }

    /// What a connection was sent, as text.
    fn sent(&mut self, conn: ConnectionId) -> String {
        self.edge.mark_staged();
        String::from_utf8_lossy(&self.flush(conn)).into_owned()
    }
}

#[test]
fn the_connect_reply_comes_first_and_names_the_personal_channel() {
    let mut bench = Bench::personal();
    let conn = bench.registered("");
    let asked = bench.pushed_subscribe();
    assert_eq!((asked.channel.as_str(), asked.to.command), ("#al", 0));
    assert!(bench.sent(conn).starts_with("HTTP/1.1 101"));
    bench.admit(&asked, 3, 4, Recovery::NotAsked);
    let sent = bench.sent(conn);
    let subs = sent.find(r##""subs":{"#al":{}}"##);
    assert!(subs.is_some() && sent.contains(r#""connect""#), "{sent}");
    bench.deliver(publication(3, 5, "\"hi\""));
    assert!(bench.sent(conn).contains("\"hi\""));
    bench.resume();
    assert!(bench.edge.at(conn).server().is_none(), "nothing is left over");
}

#[test]
fn what_comes_before_the_connect_reply_is_held() {
    let mut bench = Bench::new(8, Limits::default());
    let conn = bench.accept();
    // The upgrade's answer is still to be flushed when the first subscription is answered.
    bench.receive(conn, UPGRADE);
    let it = bench.edge.at(conn);
    it.facts.set(Fact::AwaitsConnect, true);
    it.connect_id = 1;
    let begin = |channel| ServerBegin {
        subscription: subscription(channel),
        recover: false,
        since: None,
        expire_at_s: None,
        by_token: true,
    };
    bench.edge.await_subscriptions(conn, vec![begin("c"), begin("d")]);
    bench.resume();
    let (personal, other) = (bench.pushed_subscribe(), bench.pushed_subscribe());
    bench.admit(&personal, 3, 0, Recovery::NotAsked);
    bench.deliver(publication(3, 1, "\"early\""));
    bench.edge.mark_staged();
    let mut chunks = bench.flush(conn);
    bench.deliver(publication(3, 2, "\"later\""));
    bench.admit(&other, 4, 0, Recovery::NotAsked);
    bench.deliver(publication(4, 1, "\"last\""));
    bench.edge.mark_staged();
    let inline = bench.flush(conn);
    assert!(inline.is_empty(), "the upgrade's answer is a backlog, and goes before");
    while let Some(chunk) = bench.edge.next_chunk(conn) {
        chunks.extend_from_slice(&chunk);
        bench.edge.chunk_sent(conn);
    }
    let sent = String::from_utf8_lossy(&chunks).into_owned();
    let at = |text: &str| sent.find(text).unwrap_or_else(|| panic!("{text} in {sent}"));
    let order = ["HTTP/1.1 101", r#""connect""#, "early", "later", "last"].map(at);
    assert!(order.is_sorted(), "{sent}");
    assert_eq!(bench.edge.backlog_bytes(), 0);
}

#[test]
fn a_connect_recovers_its_subscriptions() {
    let mut bench = Bench::personal();
    let subs = r##","subs":{"#al":{"recover":true,"offset":4,"epoch":"aaaaaaaa"}}"##;
    let conn = bench.registered(subs);
    let asked = bench.pushed_subscribe();
    // The namespace keeps no history, so there is nothing to recover from; but it was asked for.
    assert_eq!((asked.recover, asked.since), (true, None));
    bench.flush(conn);
    let missed = Recovery::Complete(Box::new([placed(5, "\"missed\"")]));
    bench.admit(&asked, 3, 5, missed);
    let sent = bench.sent(conn);
    assert!(sent.contains(r#""recovered":true"#) && sent.contains("missed"), "{sent}");
}

#[test]
fn a_connect_whose_subscription_is_refused_is_refused() {
    let mut bench = Bench::personal();
    let conn = bench.registered("");
    let asked = bench.pushed_subscribe();
    bench.deliver(Delivery::Refused {
        to: asked.to,
        error: ErrorCode::LimitExceeded,
        method: "subscribe",
        channel: Some(asked.channel.clone()),
        subscribe: Some(asked.sequence),
    });
    bench.resume();
    let sent = bench.sent(conn);
    assert!(sent.contains(r#"{"id":1,"error":{"code":106"#), "{sent}");
    assert_eq!(bench.edge.channel_count(), 0);
    bench.receive(conn, &connect("al", ""));
    assert!(bench.flush(conn).ends_with(b"\x0d\xadbad request"), "3501: once is enough");
    assert!(bench.lane.requests.is_empty());
}

#[test]
fn a_connection_that_dies_connecting_owes_what_it_was_given() {
    let mut bench = Bench::personal();
    let conn = bench.registered("");
    let asked = bench.pushed_subscribe();
    bench.edge.peer_reset(conn, bench.now);
    bench.resume();
    assert!(bench.lane.requests.is_empty(), "the answer says whether there is anything");
    bench.admit(&asked, 3, 0, Recovery::NotAsked);
    bench.resume();
    let owed: Vec<Request> = bench.lane.requests.drain(..).collect();
    assert!(
        matches!(owed[..], [Request::Unsubscribe { .. }, Request::Deregister { .. }]),
        "{owed:?}"
    );
    assert_eq!(bench.edge.places_used(), 0);
}

#[test]
fn commands_about_a_channel_wait_for_each_other() {
    let mut bench = Bench::new(8, Limits::default());
    let conn = bench.client();
    bench.command(conn, subscribe("c"));
    bench.command(conn, unsubscribe("c"));
    bench.command(conn, UserAction::Send { data: Box::from(&b"{\"m\":1}"[..]) });
    let asked = bench.pushed_subscribe();
    assert!(bench.lane.requests.is_empty() && bench.sent(conn).is_empty());
    bench.admit(&asked, 3, 7, Recovery::NotAsked);
    bench.resume();
    let sent = bench.sent(conn);
    let at = |text: &str| sent.find(text).unwrap_or_else(|| panic!("{text} in {sent}"));
    let begun = at(r#"{"push":{"channel":"c","subscribe":{"data":{"for":"you"}}}}"#);
    let ended =
        at(r#"{"push":{"channel":"c","unsubscribe":{"code":2000,"reason":"server unsubscribe"}}}"#);
    assert!(begun < ended && ended < at(r#"{"m":1}"#), "{sent}");
    assert!(matches!(bench.lane.requests.pop_front(), Some(Request::Unsubscribe { .. })));
    assert!(bench.edge.at(conn).server().is_none());
}

#[test]
fn a_full_lane_holds_what_the_server_begins() {
    let mut bench = Bench::new(0, Limits::default());
    let conn = bench.client();
    bench.command(conn, subscribe("c"));
    bench.command(conn, subscribe("d"));
    assert_eq!(bench.edge.parked(), 1);
    bench.receive(conn, &text(r#"{"id":2,"publish":{"channel":"x","data":1}}"#));
    bench.lane.slots = 8;
    bench.resume();
    let (c, d) = (bench.pushed_subscribe(), bench.pushed_subscribe());
    assert_eq!((c.channel.as_str(), d.channel.as_str()), ("c", "d"));
    assert!(matches!(bench.lane.requests.pop_front(), Some(Request::Publish { .. })));
    assert_eq!(bench.edge.parked(), 0);
    // And one that dies meanwhile asks for nothing.
    bench.lane.slots = 0;
    bench.command(conn, subscribe("e"));
    bench.edge.peer_reset(conn, bench.now);
    bench.lane.slots = 8;
    bench.admit(&c, 0, 0, Recovery::NotAsked);
    bench.admit(&d, 1, 0, Recovery::NotAsked);
    bench.resume();
    let asks = |request: &Request| matches!(request, Request::Subscribe(_));
    assert!(!bench.lane.requests.iter().any(asks), "{:?}", bench.lane.requests);
    assert_eq!(bench.edge.channel_count(), 0);
}

#[test]
fn who_misses_something_of_a_server_side_subscription_comes_back() {
    let mut bench = Bench::personal();
    let conn = bench.client();
    let mut wanted = subscription("c");
    wanted.overrides.position = Some(true);
    bench.command(
        conn,
        UserAction::Subscribe { subscription: wanted, since: None, expire_at_s: None },
    );
    let asked = bench.pushed_subscribe();
    bench.admit(&asked, 3, 0, Recovery::NotAsked);
    // `[channel]` keeps no history, whatever is overridden: nothing was promised.
    bench.deliver(Delivery::PositionLost { local: 3 });
    bench.resume();
    assert!(!bench.sent(conn).contains("insufficient"));
    let channel = bench.edge.channels.find("c").expect("it is there");
    let it = bench.edge.at(conn);
    it.subscription_mut(channel).expect("it is").traits =
        Traits::SERVER_SIDE.with(Traits::POSITIONED, true);
    bench.deliver(Delivery::PositionLost { local: 3 });
    bench.deliver(publication(3, 9, "\"behind the gap\""));
    bench.resume();
    let sent = bench.sent(conn);
    assert!(sent.contains("insufficient state") && !sent.contains("behind the gap"), "{sent}");
}

#[test]
fn a_publisher_may_not_be_told_its_own() {
    let mut bench = Bench::new(8, Limits::default());
    let (one, two, three) =
        (bench.subscriber("c", 3), bench.subscriber("c", 3), bench.subscriber("c", 3));
    let by = |conn: ConnectionId, data: &str| {
        let publisher = Publisher {
            key: Some(key(conn)),
            client: [0; 16],
            user: "",
            conn_info: b"",
            chan_info: b"",
            exclude_self: true,
        };
        Block::new(&Parts {
            channel: "c",
            publisher: Some(publisher),
            tags: Default::default(),
            data: data.as_bytes(),
            now: at_ms(0),
        })
    };
    for (offset, conn) in [(1, one), (2, two)] {
        let block = by(conn, &format!("\"by {offset}\""));
        bench.deliver(Delivery::Publication { local: 3, offset, block });
    }
    bench.deliver(publication(3, 3, "\"for all\""));
    let all = bench.sent_to([one, two, three]);
    for (sent, expected) in all.iter().zip(["2", "1", "12"]) {
        let of = |number: &str| sent.contains(&format!("by {number}"));
        assert_eq!((of("1"), of("2")), (expected.contains('1'), expected.contains('2')), "{sent}");
        assert!(sent.contains("for all"), "{sent}");
    }
    bench.edge.peer_ended(two, bench.now);
    bench.deliver(publication(3, 4, "\"still\""));
    let left = bench.sent_to([one, three]);
    assert!(left.iter().all(|sent| sent.contains("still")), "the list is whole: {left:?}");
}

#[test]
fn a_command_is_for_the_connections_that_it_selects() {
    let mut bench = Bench::new(8, Limits::default());
    let (one, two) = (bench.client(), bench.client());
    let id = |bench: &Bench, conn| bench.edge.ids.of(key(conn)).as_str().to_owned();
    let (first, second) = (id(&bench, one), id(&bench, two));
    let send = |bench: &mut Bench, selection: Selection| {
        let action = UserAction::Send { data: Box::from(&b"1"[..]) };
        let what = SharedCommand::from(UserCommand { selection, action });
        let connections = Box::new([key(one), key(two)]);
        bench.deliver(Delivery::UserCommand { call: 1, connections, what });
        bench.sent_to([one, two]).map(|sent| !sent.is_empty())
    };
    let only = Selection { client: first.as_str().into(), ..Selection::default() };
    assert_eq!(send(&mut bench, only), [true, false]);
    let spared = [Box::from(second.as_str())].into();
    let but = Selection { whitelist: spared, ..Selection::default() };
    assert_eq!(send(&mut bench, but), [true, false]);
    assert_eq!(send(&mut bench, Selection::default()), [true, true]);
}
