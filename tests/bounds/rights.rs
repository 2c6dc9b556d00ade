//! A user of Redis with the rights that examples/redis/users.acl gives, and no others: two nodes do
//! all that they do by it, and Redis refuses nothing.

use crate::client::Client;
use crate::nodes::node;
use crate::redis::redis;
use crate::server::{Server, Setup, until};
use crate::tokens::{SECRET, client_of, hs256};
use crate::{on_both_drivers, serve};
use serde_json::json;

on_both_drivers!(nothing_is_refused_to_a_user_with_the_documented_rights);

const USERS: &str = include_str!("../../examples/redis/users.acl");
const TOKENS: &str = "token_hmac_secret = \"a-secret-of-the-tests-a-secret-of-the-tests\"";

fn nothing_is_refused_to_a_user_with_the_documented_rights(driver: &str) {
    let redis = redis!();
    let rights = USERS.lines().find_map(|line| line.strip_prefix("user corecast "));
    let rights = rights.expect("the user of nodes");
    let set = redis.ask(&format!("ACL SETUSER corecast {rights}"));
    assert_eq!(set.as_deref(), Some("+OK\r\n"));
    let config = redis.config().replace("://", "://corecast:only-for-the-examples@");
    let with_users = || Setup { client: TOKENS, ..node(&config) };
    let (one, two) = (serve!(driver, with_users()), serve!(driver, with_users()));
    for server in [&one, &two] {
        until("a publish succeeds", || server.publish("h:warm", "0")["error"].is_null());
    }
    let mut client = client_of(two.addr, &hs256(&json!({"sub": "u"}), SECRET));
    for channel in ["h:x", "n:x", "p:x"] {
        assert!(client.subscribe(channel)["error"].is_null(), "{channel}");
    }
    let call = |server: &Server, method: &str, body: serde_json::Value| {
        let answer = Client::post(server.addr, &format!("/api/{method}"), &body.to_string());
        let answer = serde_json::from_str::<serde_json::Value>(&answer.body).expect("JSON");
        assert!(answer["error"].is_null(), "{method} {body}: {answer}");
        answer["result"].clone()
    };
    for channel in ["h:x", "n:x"] {
        let key = json!({"channel": channel, "data": 1, "idempotency_key": "k"});
        call(&one, "publish", key.clone());
        call(&two, "publish", key);
        assert_eq!(client.publication()["data"], 1, "{channel}");
    }
    until("the member of the other node is counted", || {
        call(&one, "presence_stats", json!({"channel": "p:x"}))["num_clients"] == 1
    });
    call(&one, "presence", json!({"channel": "p:x"}));
    call(&one, "history", json!({"channel": "h:x", "limit": 10}));
    call(&one, "history", json!({"channel": "h:other", "limit": 10}));
    call(&one, "history_remove", json!({"channel": "h:x"}));
    call(&one, "info", json!({}));
    call(&one, "unsubscribe", json!({"user": "u", "channel": "p:x"}));
    call(&one, "disconnect", json!({"user": "u"}));
    assert!(client.close_code().is_some(), "the other node disconnects it");
    until("it is no member any more", || {
        call(&one, "presence_stats", json!({"channel": "p:x"}))["num_clients"] == 0
    });
    let refused = redis.ask("ACL LOG").expect("it answers");
    assert_eq!(refused, "*0\r\n", "Redis refused something");
}
