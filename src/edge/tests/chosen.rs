//! Subscribers that choose: by tags, or what is new alone.

use super::*;
use crate::codec::command::Tags;
use crate::codec::tags;
use crate::contract::block::{Parts, Publisher};
use crate::contract::key::ConnectionKey;

const LONG: &str = r#"{"the same words":"again and again and again and again","n":"#;

/// A publication with tags, and with a delta where `before` is what was published before.
fn tagged(offset: u64, n: u32, tag: &str, before: Option<u32>) -> Delivery {
    let data = |n: u32| format!("{LONG}{n}}}");
    let packed = tags::pack(&[("t".into(), tag.into())]).expect("short");
    let text = data(n);
    let parts = Parts {
        channel: "c",
        publisher: None,
        tags: Tags::packed(&packed),
        data: text.as_bytes(),
        now: at_ms(0),
    };
    let mut block = Block::new(&parts);
    if let Some(before) = before {
        let mut patch = Vec::new();
        fossil_delta::generate_delta(data(n), data(before), &mut patch);
        block = block.with_delta(&patch);
    }
    Delivery::Publication { local: 0, offset, block }
}

impl Bench {
    /// What is sent to a connection once all that was delivered is marked.
    fn told(&mut self, conn: ConnectionId) -> String {
        self.edge.mark_staged();
        String::from_utf8_lossy(&self.flush(conn)).into_owned()
    }
}

fn filter(tag: &str) -> String {
    format!(r#"{{"channel":"c","tf":{{"key":"t","cmp":"eq","val":"{tag}"}}}}"#)
}

#[test]
fn a_filter_lets_through_what_it_matches_and_its_neighbours_get_all() {
    for burst in [false, true] {
        let mut bench = Bench::new(8, Limits::default());
        let red = bench.subscriber_with(&filter("red"), 0);
        let all = bench.subscriber("c", 0);
        let blue = bench.subscriber_with(&filter("blue"), 0);
        let mut got = [String::new(), String::new(), String::new()];
        let tags = ["red", "blue", "green", "red"];
        for (n, tag) in (1_u32..).zip(tags) {
            bench.deliver(tagged(u64::from(n), n, tag, None));
            if !burst {
                bench.edge.mark_staged();
            }
        }
        bench.edge.mark_staged();
        let mut ranges = Vec::new();
        while let Some(flush) = next_flush(&mut bench.edge, &mut ranges) {
            let Some(to) = sent_whole(&mut bench.edge, flush, &mut ranges) else { continue };
            let place = [red, all, blue].iter().position(|conn| *conn == to).expect("known");
            for range in &ranges {
                let bytes = &bench.edge.arena()[range.start as usize..range.end as usize];
                got[place] += &String::from_utf8_lossy(bytes);
            }
        }
        let numbers = |text: &str| {
            (1..=4).filter(|n| text.contains(&format!("\"n\":{n}}}"))).collect::<Vec<_>>()
        };
        let told = [numbers(&got[0]), numbers(&got[1]), numbers(&got[2])];
        assert_eq!(told, [vec![1, 4], vec![1, 2, 3, 4], vec![2]], "in one turn: {burst}");
    }
}

#[test]
fn a_filter_is_given_back_with_its_subscription() {
    let mut bench = Bench::new(8, Limits::default());
    let conn = bench.subscriber_with(&filter("red"), 0);
    assert!(bench.edge.channels.get(0).is_some_and(|channel| channel.is_filtered()));
    bench.receive(conn, &text(r#"{"id":3,"unsubscribe":{"channel":"c"}}"#));
    bench.resume();
    assert!(bench.edge.filters.is_unused());
}

#[test]
fn what_is_no_filter_is_told_so() {
    let mut bench = Bench::new(8, Limits::default());
    let conn = bench.client();
    let request = r#"{"id":2,"subscribe":{"channel":"c","tf":{"key":"t","cmp":"like","val":"x"}}}"#;
    bench.receive(conn, &text(request));
    assert!(bench.told(conn).contains(r#""code":107"#));
    assert!(bench.lane.requests.is_empty(), "the home is not asked");
}

#[test]
fn who_wants_deltas_gets_the_first_in_full_and_then_patches() {
    let mut bench = Bench::new(8, Limits::default());
    let early = bench.subscriber_with(r#"{"channel":"c","delta":"fossil"}"#, 0);
    bench.deliver(tagged(1, 1, "", None));
    let full = bench.told(early);
    assert!(full.contains(r#""data":"{\"the same words"#) && !full.contains("delta"), "{full}");
    let late = bench.subscriber_with(r#"{"channel":"c","delta":"fossil"}"#, 0);
    let plain = bench.subscriber("c", 0);
    bench.deliver(tagged(2, 2, "", Some(1)));
    bench.deliver(tagged(3, 3, "", Some(2)));
    bench.edge.mark_staged();
    let mut sent = [String::new(), String::new(), String::new()];
    let mut ranges = Vec::new();
    while let Some(flush) = next_flush(&mut bench.edge, &mut ranges) {
        let Some(to) = sent_whole(&mut bench.edge, flush, &mut ranges) else { continue };
        let place = [early, late, plain].iter().position(|conn| *conn == to).expect("known");
        for range in &ranges {
            let bytes = &bench.edge.arena()[range.start as usize..range.end as usize];
            sent[place] += &String::from_utf8_lossy(bytes);
        }
    }
    let patches = |text: &str| text.matches(r#""delta":true"#).count();
    let fulls = |text: &str| text.matches(r#""data":"{\"the same"#).count();
    assert_eq!((patches(&sent[0]), fulls(&sent[0])), (2, 0), "{}", sent[0]);
    assert_eq!((patches(&sent[1]), fulls(&sent[1])), (1, 1), "{}", sent[1]);
    assert_eq!((patches(&sent[2]), fulls(&sent[2])), (0, 0), "{}", sent[2]);
    assert_eq!(sent[2].matches(r#""data":{"the same"#).count(), 2, "{}", sent[2]);
}

#[test]
fn who_was_not_told_its_own_publication_gets_the_next_in_full() {
    let mut bench = Bench::new(8, Limits::default());
    let conn = bench.subscriber_with(r#"{"channel":"c","delta":"fossil"}"#, 0);
    bench.deliver(tagged(1, 1, "", None));
    bench.told(conn);
    let key = ConnectionKey { core: 0, index: conn.index, generation: conn.generation };
    let own = Publisher {
        key: Some(key),
        client: [0; 16],
        user: "",
        conn_info: b"",
        chan_info: b"",
        exclude_self: true,
    };
    let parts = Parts {
        channel: "c",
        publisher: Some(own),
        tags: Tags::default(),
        data: b"\"own\"",
        now: at_ms(0),
    };
    bench.deliver(Delivery::Publication { local: 0, offset: 2, block: Block::new(&parts) });
    assert_eq!(bench.told(conn), "");
    bench.deliver(tagged(3, 3, "", Some(9)));
    let told = bench.told(conn);
    assert!(told.contains(r#""data":"{\"the same"#) && !told.contains("delta"), "{told}");
}

#[test]
fn a_filter_and_deltas_do_not_go_together() {
    let mut bench = Bench::new(8, Limits::default());
    let both = r#"{"channel":"c","delta":"fossil","tf":{"key":"t","cmp":"ex"}}"#;
    let conn = bench.subscriber_with(both, 0);
    bench.deliver(tagged(1, 1, "x", Some(9)));
    let told = bench.told(conn);
    assert!(told.contains(r#""data":{"the same"#) && !told.contains("delta"), "{told}");
}
