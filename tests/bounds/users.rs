//! Commands about users where two nodes share a Redis: whoever is called, they reach every node
//! that holds the user and no other, and are answered when they have taken effect.

use crate::client::{Client, Event};
use crate::nodes::node;
use crate::redis::{Redis, redis};
use crate::server::{Server, Setup, until};
use crate::tokens::{SECRET, client_of, hs256};
use crate::{on_both_drivers, serve};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

on_both_drivers!(
    a_disconnect_reaches_the_node_of_the_user,
    a_subscription_is_there_when_the_call_is_answered,
    a_refresh_reaches_the_node_of_the_user,
    a_user_of_both_nodes_and_one_of_neither,
    commands_survive_the_loss_of_subscriptions,
    a_node_that_was_killed_is_named_in_time,
    without_redis_a_command_takes_effect_here_and_says_so,
    info_tells_of_all_nodes,
);

/// Pairs of a call that is awaited and what has to hold after it.
const PAIRS: usize = 50;

pub fn with_users(config: &str) -> Setup<'_> {
    Setup { client: TOKENS, ..node(config) }
}

const TOKENS: &str = "token_hmac_secret = \"a-secret-of-the-tests-a-secret-of-the-tests\"";

/// A connection of a user.
pub fn user(server: &Server, name: &str) -> Client {
    client_of(server.addr, &hs256(&json!({"sub": name}), SECRET))
}

/// A call of the server API, and its answer.
pub fn call(server: &Server, method: &str, body: &Value) -> Value {
    let answer = Client::post(server.addr, &format!("/api/{method}"), &body.to_string());
    assert_eq!(answer.status, 200, "{method}: {}", answer.body);
    serde_json::from_str(&answer.body).expect("JSON")
}

/// A call that must succeed.
pub fn done(server: &Server, method: &str, body: &Value) {
    let answer = call(server, method, body);
    assert!(answer["error"].is_null(), "{method} {body}: {answer}");
}

/// Waits until both nodes are connected to their Redis.
pub fn ready(servers: &[&Server]) {
    for server in servers {
        until("a publish succeeds", || server.publish("h:warm", "0")["error"].is_null());
    }
}

fn a_disconnect_reaches_the_node_of_the_user(driver: &str) {
    let redis = redis!();
    let config = redis.config();
    let (one, two) = (serve!(driver, with_users(&config)), serve!(driver, with_users(&config)));
    ready(&[&one, &two]);
    for number in 0..PAIRS {
        let name = format!("u{number}");
        // Right after the connect was answered, and before the node could have beaten.
        let mut client = user(&two, &name);
        done(
            &one,
            "disconnect",
            &json!({"user": name, "disconnect": {"code": 4_001, "reason": "go"}}),
        );
        assert_eq!(client.close_code(), Some(4_001));
    }
}

fn a_subscription_is_there_when_the_call_is_answered(driver: &str) {
    let redis = redis!();
    let config = redis.config();
    let (one, two) = (serve!(driver, with_users(&config)), serve!(driver, with_users(&config)));
    ready(&[&one, &two]);
    let mut client = user(&two, "u");
    for number in 0..PAIRS {
        let channel = format!("h:{number}");
        let whom = json!({"user": "u", "channel": channel});
        done(&one, "subscribe", &whom);
        one.publish(&channel, &number.to_string());
        assert_eq!(client.publication()["data"], number, "{channel}");
        done(&one, "unsubscribe", &whom);
        one.publish(&channel, "-1");
    }
    // What was published after it was unsubscribed would have come before this.
    done(&one, "subscribe", &json!({"user": "u", "channel": "h:end"}));
    one.publish("h:end", "7");
    assert_eq!(client.publication()["data"], 7);
}

fn a_refresh_reaches_the_node_of_the_user(driver: &str) {
    let redis = redis!();
    let config = redis.config();
    let (one, two) = (serve!(driver, with_users(&config)), serve!(driver, with_users(&config)));
    ready(&[&one, &two]);
    let mut client = user(&two, "u");
    done(&one, "refresh", &json!({"user": "u", "expired": true}));
    assert_eq!(client.close_code(), Some(3_005), "expired");
}

/// Entries that were ever left for nodes.
fn messages(redis: &Redis) -> u64 {
    redis.calls("xadd")
}

fn a_user_of_both_nodes_and_one_of_neither(driver: &str) {
    let redis = redis!();
    let config = redis.config();
    let (one, two) = (serve!(driver, with_users(&config)), serve!(driver, with_users(&config)));
    let three = serve!(driver, with_users(&config));
    ready(&[&one, &two, &three]);
    let before = messages(&redis);
    done(&one, "disconnect", &json!({"user": "nobody"}));
    assert_eq!(messages(&redis), before, "nobody is asked about a user that nobody has");
    let mut clients = [user(&one, "u"), user(&two, "u"), user(&two, "u")];
    done(&one, "disconnect", &json!({"user": "u", "disconnect": {"code": 4_001, "reason": "go"}}));
    for client in &mut clients {
        assert_eq!(client.close_code(), Some(4_001));
    }
    assert_eq!(messages(&redis), before + 2, "one node is asked, once, and answers");
    // Those who left are not there any more.
    until("it is known who left", || {
        let before = messages(&redis);
        done(&one, "disconnect", &json!({"user": "u"}));
        messages(&redis) == before
    });
    drop(three);
}

fn commands_survive_the_loss_of_subscriptions(driver: &str) {
    let redis = redis!();
    let config = redis.config();
    let (one, two) = (serve!(driver, with_users(&config)), serve!(driver, with_users(&config)));
    ready(&[&one, &two]);
    for number in 0..PAIRS {
        let name = format!("u{number}");
        let mut client = user(&two, &name);
        if number % 5 == 0 {
            redis.ask("CLIENT KILL TYPE pubsub");
        }
        done(
            &one,
            "disconnect",
            &json!({"user": name, "disconnect": {"code": 4_001, "reason": "go"}}),
        );
        assert_eq!(client.close_code(), Some(4_001));
    }
}

fn a_node_that_was_killed_is_named_in_time(driver: &str) {
    let redis = redis!();
    let config = redis.config();
    let (one, two) = (serve!(driver, with_users(&config)), serve!(driver, with_users(&config)));
    ready(&[&one, &two]);
    let _client = user(&two, "u");
    let mut here = user(&one, "u");
    let port = two.addr.port();
    two.kill();
    let asked = Instant::now();
    let answer = call(
        &one,
        "disconnect",
        &json!({"user": "u", "disconnect": {"code": 4_001, "reason": "go"}}),
    );
    assert!(asked.elapsed() < Duration::from_secs(6), "{:?}", asked.elapsed());
    assert_eq!(answer["error"]["code"], 100, "{answer}");
    let detail = answer["error"]["detail"].as_str().unwrap_or_default();
    assert!(detail.ends_with(&format!("_{port}")), "the node is named: {answer}");
    assert_eq!(here.close_code(), Some(4_001));
    // A node that is dead is not asked.
    until("it is known that it is dead", || {
        call(&one, "disconnect", &json!({"user": "u"}))["error"].is_null()
    });
}

fn info_tells_of_all_nodes(driver: &str) {
    let redis = redis!();
    let config = redis.config();
    let (one, two) = (serve!(driver, with_users(&config)), serve!(driver, with_users(&config)));
    ready(&[&one, &two]);
    let _clients = [user(&two, "u"), user(&two, "v"), user(&one, "u")];
    let told = |server: &Server| {
        let answer = call(server, "info", &json!({}));
        let nodes = answer["result"]["nodes"].as_array().expect("nodes").clone();
        let of = |node: &Value, name: &str| node[name].as_u64().expect("a number");
        let mut told: Vec<_> = nodes
            .iter()
            .map(|node| (of(node, "num_clients"), of(node, "num_users"), node["name"].clone()))
            .collect();
        told.sort_by_key(|(clients, ..)| *clients);
        told
    };
    let is = |server: &Server, name: &Value| {
        name.as_str().is_some_and(|it| it.ends_with(&format!("_{}", server.addr.port())))
    };
    for server in [&one, &two] {
        until("both tell of their clients", || {
            let told = told(server);
            let counts: Vec<_> =
                told.iter().map(|(clients, users, _)| (*clients, *users)).collect();
            counts == [(1, 1), (2, 2)] && is(&one, &told[0].2) && is(&two, &told[1].2)
        });
    }
    two.kill();
    until("a node that was killed is told of no more", || told(&one).len() == 1);
}

fn without_redis_a_command_takes_effect_here_and_says_so(driver: &str) {
    let mut redis = redis!();
    let config = redis.config();
    let one = serve!(driver, with_users(&config));
    ready(&[&one]);
    let mut client = user(&one, "u");
    redis.kill();
    until("the loss is noticed", || one.publish("h:x", "1")["error"]["code"] == 100);
    let answer = call(
        &one,
        "disconnect",
        &json!({"user": "u", "disconnect": {"code": 4_001, "reason": "go"}}),
    );
    assert_eq!(answer["error"]["code"], 100, "{answer}");
    assert_eq!(client.close_code(), Some(4_001));
    // A connect goes on, and whoever comes meanwhile is known afterwards.
    let mut client = user(&one, "v");
    assert!(client.lives());
    redis.replace();
    let two = serve!(driver, with_users(&config));
    ready(&[&one, &two]);
    done(&two, "disconnect", &json!({"user": "v", "disconnect": {"code": 4_002, "reason": "go"}}));
    match client.next() {
        Event::Close(code) => assert_eq!(code, 4_002),
        other => panic!("{other:?}"),
    }
}
