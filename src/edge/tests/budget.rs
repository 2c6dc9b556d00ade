//! What a turn does at most, whatever is asked of it: the rest waits, and nobody is passed over.

use super::{Bench, UPGRADE, at_ms, text};
use crate::auth::KeyOptions;
use crate::codec::command::ErrorCode;
use crate::contract::block::Block;
use crate::contract::envelope::{Delivery, PresenceAnswer, Request};
use crate::edge::{ConnectionId, Turn};
use crate::limits::{
    COMMANDS_PER_TURN, Limits, METRICS_BURST, PRESENCES_UNDER_WAY, WORK_PER_STAGE_NS,
};
use crate::namespace::Personal;
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use std::collections::{HashMap, VecDeque};

/// Turns of a worker, without its homes: what came in, then what waits.
struct Turns {
    bench: Bench,
    came: VecDeque<(ConnectionId, Vec<u8>)>,
    sent: HashMap<u32, Vec<u8>>,
}

impl Turns {
    fn new() -> Turns {
        Turns::of(Bench::new(64, Limits::default()))
    }

    fn of(bench: Bench) -> Turns {
        Turns { bench, came: VecDeque::new(), sent: HashMap::new() }
    }

    fn turn(&mut self) {
        let bench = &mut self.bench;
        bench.edge.begin_turn(WORK_PER_STAGE_NS, bench.now);
        while bench.edge.may_work()
            && let Some((conn, mut bytes)) = self.came.pop_front()
        {
            bench.edge.receive(conn, &mut bytes, &mut Turn::new(bench.now, &mut bench.lane));
        }
        bench.edge.resume_work(&mut Turn::new(bench.now, &mut bench.lane));
        for (index, bytes) in bench.flush_all() {
            self.sent.entry(index).or_default().extend(bytes);
        }
        bench.edge.take_effects(&mut bench.effects);
    }

    /// What `conn` was sent since this was asked last.
    fn sent_to(&mut self, conn: ConnectionId) -> String {
        let sent = self.sent.remove(&conn.index).unwrap_or_default();
        String::from_utf8_lossy(&sent).into_owned()
    }
}

const HEAD: &[u8] = b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
const GET: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn requests_that_were_pipelined_are_answered_a_slice_at_a_time() {
    let mut turns = Turns::new();
    let (neighbour, flood) = (turns.bench.client(), turns.bench.accept());
    turns.came.push_back((flood, HEAD.repeat(2_000)));
    turns.came.push_back((neighbour, text(r#"{"id":7,"ping":{}}"#)));
    turns.turn();
    assert!(turns.sent_to(neighbour).contains(r#""id":7"#), "it is not held up");
    let mut answered = turns.sent_to(flood).matches("200 OK").count();
    assert!((1..200).contains(&answered), "{answered} in one turn");
    for _ in 0..2_000 {
        turns.turn();
        answered += turns.sent_to(flood).matches("200 OK").count();
    }
    assert_eq!(answered, 2_000, "all of them, in the end");
    assert!(!turns.bench.edge.has_work());
}

#[test]
fn who_asks_for_metrics_often_is_given_the_last_text() {
    let mut turns = Turns::new();
    let scraper = turns.bench.accept();
    let mut samples = Vec::new();
    for _ in 0..2 * METRICS_BURST {
        turns.came.push_back((scraper, GET.to_vec()));
        turns.turn();
        let page = turns.sent_to(scraper);
        let line = page.lines().find(|line| line.starts_with("corecast_bytes_in_total{"));
        samples.push(line.expect("a sample").to_owned());
    }
    let known = samples.clone();
    samples.dedup();
    assert_eq!(samples.len(), METRICS_BURST as usize, "then it stays: {known:?}");
    turns.bench.now = at_ms(60_000);
    turns.came.push_back((scraper, GET.to_vec()));
    turns.turn();
    assert!(!turns.sent_to(scraper).contains(samples.last().expect("some")), "true again");
}

#[test]
fn pongs_beyond_number_take_turns_with_everybody() {
    let mut turns = Turns::new();
    let neighbour = turns.bench.client();
    let floods: Vec<ConnectionId> = (0..40).map(|_| turns.bench.client()).collect();
    let pongs = text(&"{}\n".repeat(21_000));
    for flood in &floods {
        turns.came.push_back((*flood, pongs.clone()));
    }
    let whole = (floods.len() * pongs.len()) as u64;
    let mut answers = 0;
    let mut turn = 0;
    while turns.bench.edge.has_work() || !turns.came.is_empty() {
        turn += 1;
        turns.came.push_back((neighbour, text(r#"{"id":7,"ping":{}}"#)));
        turns.turn();
        answers += turns.sent_to(neighbour).matches(r#""id":7"#).count();
        if turn == 1 {
            assert!(turns.bench.edge.spill_bytes() < whole, "some was worked off");
            assert!(turns.bench.edge.has_work(), "all of it in one turn");
        }
        if turns.came.is_empty() {
            assert!(answers + 1 >= turn, "{answers} answers in {turn} turns");
        }
    }
    assert!(turn > 100, "{turn} turns for {} pongs", 40 * 21_000);
    assert_eq!(turns.bench.edge.spill_bytes(), 0);
}

#[test]
fn everybody_who_waits_has_a_slice_before_anybody_has_the_next() {
    let mut turns = Turns::new();
    let floods: Vec<ConnectionId> = (0..40).map(|_| turns.bench.client()).collect();
    let pings: String =
        (0..400).map(|id| format!("{{\"id\":{},\"ping\":{{}}}}\n", id + 1)).collect();
    for flood in &floods {
        turns.came.push_back((*flood, text(&pings)));
    }
    while !turns.came.is_empty() {
        turns.turn();
    }
    // From here on all of them wait.
    let answers =
        |turns: &mut Turns, flood: &ConnectionId| turns.sent_to(*flood).matches("ping").count();
    let first: Vec<usize> = floods.iter().map(|flood| answers(&mut turns, flood)).collect();
    let mut served = first.clone();
    for _ in 0..200 {
        turns.turn();
        for (flood, served) in floods.iter().zip(&mut served) {
            *served += answers(&mut turns, flood);
        }
        let rest = |(first, served): (&usize, &usize)| (*served < 400).then_some(served - first);
        let since: Vec<usize> = first.iter().zip(&served).filter_map(rest).collect();
        let (least, most) = (since.iter().min(), since.iter().max());
        let one = COMMANDS_PER_TURN as usize + 16;
        assert!(least.zip(most).is_none_or(|(least, most)| most - least <= one), "{since:?}");
    }
    assert!(served.iter().all(|served| *served == 400), "{served:?}");
}

#[test]
fn a_fin_behind_requests_that_wait_ends_nothing_that_is_owed() {
    let mut turns = Turns::new();
    let flood = turns.bench.accept();
    turns.came.push_back((flood, HEAD.repeat(300)));
    turns.turn();
    turns.bench.edge.peer_ended(flood, turns.bench.now);
    let mut answered = 0;
    for _ in 0..300 {
        answered += turns.sent_to(flood).matches("200 OK").count();
        turns.turn();
    }
    assert_eq!(answered, 300);
    assert_eq!(turns.bench.edge.places_used(), 0, "and then it ends");
}

#[test]
fn an_upgrade_that_waits_for_its_turn_is_answered() {
    let mut turns = Turns::new();
    let conn = turns.bench.accept();
    let bytes = [HEAD.repeat(300), UPGRADE.to_vec(), text(r#"{"id":1,"connect":{}}"#)].concat();
    turns.came.push_back((conn, bytes));
    for _ in 0..300 {
        turns.turn();
    }
    let sent = turns.sent_to(conn);
    assert!(sent.contains("101 Switching") && sent.contains(r#""connect""#), "{sent:.300}");
}

#[test]
fn wrong_tokens_take_a_turn_for_each_slow_key() {
    let curve = &ECDSA_P384_SHA384_FIXED_SIGNING;
    let random = SystemRandom::new();
    let pair = || {
        let private = EcdsaKeyPair::generate_pkcs8(curve, &random).expect("a key");
        EcdsaKeyPair::from_pkcs8(curve, private.as_ref()).expect("just made")
    };
    let pem = |pair: &EcdsaKeyPair| {
        let der = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).expect("it has a form");
        let text = STANDARD.encode(der.as_ref());
        format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
    };
    let ecdsa: String = (0..8).map(|_| pem(&pair())).collect();
    let keys = KeyOptions { ecdsa, ..KeyOptions::default() };
    let mut turns = Turns::of(Bench::with_keys(64, Limits::default(), Personal::Off, keys));
    let forger = pair();
    let forged = |id: u32| {
        let claims = format!(r#"{{"sub":"","channel":"c","jti":"{id}"}}"#);
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let body = format!("{}.{}", part(r#"{"alg":"ES384"}"#), part(&claims));
        let signature = forger.sign(&random, body.as_bytes()).expect("it signs");
        let token = format!("{body}.{}", URL_SAFE_NO_PAD.encode(signature));
        format!(r#"{{"id":{id},"subscribe":{{"channel":"c{id}","token":"{token}"}}}}"#)
    };
    let neighbour = turns.bench.client();
    let floods: Vec<ConnectionId> = (0..3).map(|_| turns.bench.client()).collect();
    for (number, flood) in (0_u32..).zip(&floods) {
        let both = format!("{}\n{}", forged(10 * number + 2), forged(10 * number + 3));
        turns.came.push_back((*flood, text(&both)));
    }
    let mut refused = 0;
    let mut count = 0;
    while refused < 6 {
        turns.came.push_back((neighbour, text(r#"{"id":7,"ping":{}}"#)));
        turns.turn();
        assert!(turns.sent_to(neighbour).contains(r#""id":7"#), "it is not held up");
        for flood in &floods {
            refused += turns.sent_to(*flood).matches(r#""code":103"#).count();
        }
        count += 1;
        assert!(count < 1_000, "{refused} refused");
    }
    assert!(count >= 6 * 8, "{count} turns for six tokens and eight keys");
}

/// Answers the questions about presence that have reached the home.
fn answer_presences(bench: &mut Bench) {
    for request in bench.lane.requests.split_off(0) {
        let Request::Presence { to, .. } = request else { panic!("{request:?}") };
        let answer = PresenceAnswer { to, members: Box::default() };
        bench.deliver(Delivery::Presence(Box::new(answer)));
    }
}

#[test]
fn a_question_about_presence_that_is_refused_makes_room() {
    let mut turns = Turns::new();
    let asker = turns.bench.client();
    for id in 2..2 + 3 * PRESENCES_UNDER_WAY {
        let method = if id % 2 == 0 { "presence" } else { "presence_stats" };
        let question = format!(r#"{{"id":{id},"{method}":{{"channel":"c"}}}}"#);
        turns.came.push_back((asker, text(&question)));
        for _ in 0..3 {
            turns.turn();
        }
        let asked = turns.bench.lane.requests.pop_front().expect("there is room for it");
        let to = match asked {
            Request::Presence { to, .. } | Request::PresenceStats { to, .. } => to,
            other => panic!("{other:?}"),
        };
        let (error, channel, subscribe) = (ErrorCode::Internal, Some("c".into()), None);
        turns.bench.deliver(Delivery::Refused { to, error, method, channel, subscribe });
        turns.turn();
        assert!(turns.sent_to(asker).contains(r#""code":100"#));
    }
}

#[test]
fn of_questions_about_presence_only_so_many_are_under_way() {
    let mut turns = Turns::new();
    let neighbour = turns.bench.client();
    let askers: Vec<ConnectionId> = (0..20).map(|_| turns.bench.client()).collect();
    let questions: Vec<String> =
        (0..8).map(|n| format!(r#"{{"id":{},"presence":{{"channel":"c{n}"}}}}"#, n + 2)).collect();
    for asker in &askers {
        turns.came.push_back((*asker, text(&questions.join("\n"))));
    }
    turns.came.push_back((neighbour, text(r#"{"id":7,"ping":{}}"#)));
    let mut answered = vec![String::new(); askers.len()];
    let mut rounds = 0;
    while rounds < 100 && answered.iter().any(|sent| sent.matches("presence").count() < 8) {
        turns.turn();
        turns.turn();
        let asked = turns.bench.lane.requests.len();
        assert!(asked <= PRESENCES_UNDER_WAY, "{asked} under way");
        answer_presences(&mut turns.bench);
        turns.turn();
        for (asker, answered) in askers.iter().zip(&mut answered) {
            *answered += &turns.sent_to(*asker);
        }
        rounds += 1;
        assert!(rounds > 1 || turns.sent_to(neighbour).contains(r#""id":7"#));
    }
    assert!(rounds >= 160 / PRESENCES_UNDER_WAY, "{rounds} rounds for 160 questions");
    for sent in &answered {
        let mut ids: Vec<usize> =
            (2..10).filter_map(|id| sent.find(&format!(r#"{{"id":{id},"presence""#))).collect();
        assert_eq!(ids.len(), 8, "{sent}");
        ids.dedup();
    }
    // Who dies with a question takes nothing with it.
    for asker in &askers {
        turns.came.push_back((*asker, text(&questions.join("\n"))));
    }
    turns.turn();
    for asker in &askers {
        turns.bench.edge.peer_ended(*asker, turns.bench.now);
        turns.turn();
    }
    answer_presences(&mut turns.bench);
    turns.came.push_back((neighbour, text(r#"{"id":9,"presence":{"channel":"c"}}"#)));
    for _ in 0..3 {
        turns.turn();
        answer_presences(&mut turns.bench);
    }
    turns.turn();
    assert!(turns.sent_to(neighbour).contains(r#""id":9,"presence""#));
}

#[test]
fn filters_are_asked_over_turns_and_order_holds() {
    let mut bench = Bench::new(8, Limits::default());
    let plain = bench.subscriber("plain", 1);
    let tests: Vec<String> =
        (0..200).map(|n| format!(r#"{{"key":"k{n}","cmp":"eq","val":"v"}}"#)).collect();
    let filtered: Vec<ConnectionId> = (0..20)
        .map(|who| {
            let own = format!(r#"{{"key":"t","cmp":"neq","val":"{who}"}}"#);
            let nodes = format!("{},{own}", tests.join(","));
            let tf = format!(r#"{{"op":"or","nodes":[{nodes}]}}"#);
            bench.subscriber_with(&format!(r#"{{"channel":"many","tf":{tf}}}"#), 2)
        })
        .collect();
    // With deltas: a variant of its own.
    bench.subscriber_with(r#"{"channel":"many","delta":"fossil"}"#, 2);
    let mut turns = Turns::of(bench);
    let publication = |local, offset, data: &str| Delivery::Publication {
        local,
        offset,
        block: Block::plain("c", data.as_bytes(), at_ms(0)),
    };
    // Of the work of one turn, a few filters of two hundred comparisons.
    turns.bench.edge.begin_turn(10_000, turns.bench.now);
    turns.bench.edge.begin_stage();
    turns.bench.deliver(publication(2, 1, "1"));
    turns.bench.deliver(publication(2, 2, "2"));
    let staged_bytes = turns.bench.edge.staging.bytes();
    turns.bench.deliver(publication(1, 1, "3"));
    let mut rounds = 0;
    let mut order: HashMap<u32, String> = HashMap::new();
    turns.bench.edge.mark_within_turn();
    assert!(turns.bench.edge.has_staged() && turns.bench.edge.has_work());
    assert_eq!(turns.bench.edge.staging.bytes(), staged_bytes, "what is left still counts in full");
    loop {
        for (index, bytes) in turns.bench.flush_all() {
            *order.entry(index).or_default() += &String::from_utf8_lossy(&bytes);
        }
        if rounds == 0 {
            assert!(order[&plain.index].contains(r#""data":3"#), "other channels pass");
        }
        if !turns.bench.edge.has_staged() {
            break;
        }
        if rounds == 1 {
            turns.bench.deliver(publication(1, 2, "4"));
        }
        if rounds == 2 {
            assert!(order[&plain.index].contains(r#""data":4"#), "as do those that come later");
        }
        if rounds == 3 {
            // Who leaves meanwhile is passed over, and nobody else is.
            turns.bench.receive(filtered[0], &text(r#"{"id":5,"unsubscribe":{"channel":"many"}}"#));
        }
        rounds += 1;
        turns.bench.edge.begin_stage();
        turns.bench.edge.mark_within_turn();
    }
    assert!(rounds > 4, "{rounds} turns");
    for conn in &filtered[1..] {
        let sent = &order[&conn.index];
        let places = [sent.find(r#""data":1"#), sent.find(r#""data":2"#)];
        assert!(places[0].is_some() && places[0] < places[1], "{sent}");
        assert_eq!(sent.matches("push").count(), 2, "each once");
    }
}
