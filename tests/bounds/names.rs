//! Names of channels and users: special characters, and ids that do not fit into names.

use crate::client::{Client, Event};
use crate::server::{Server, Setup};
use crate::tokens::{SECRET, hs256};
use crate::{on_both_drivers, serve};
use serde_json::{Value, json};

on_both_drivers!(
    signs_may_be_others_or_none,
    a_user_whose_id_makes_no_name_is_connected_without_a_channel,
    what_connect_cannot_take_may_be_mended,
    commands_need_nothing_between_them,
);

/// A client, and its connect reply.
fn user(server: &Server, name: &str) -> (Client, Value) {
    let mut client = Client::upgraded(server.addr);
    let token = hs256(&json!({ "sub": name }), SECRET);
    client.text(&json!({"id": 1, "connect": {"token": token}}).to_string());
    let Event::Message(answer) = client.next() else { panic!("no answer to connect") };
    assert!(answer["connect"]["client"].is_string(), "{name:?}: {answer}");
    (client, answer["connect"].clone())
}

fn signs_may_be_others_or_none(driver: &str) {
    let client = format!("allow_anonymous = true\ntoken_hmac_secret = \"{SECRET}\"");
    // Special characters, and the answer to subscribing to a name.
    let table = [
        ("", vec![("n:#general", 103), ("n:a", 0), ("$n:a", 103), ("n:a#al", 0), ("n/a", 103)]),
        ("user_limited_separator = \"\"", vec![("n:#general", 0), ("n:a#bo", 0), ("$n:a", 103)]),
        ("private_prefix = \"\"", vec![("$n:a", 102), ("n:#bo", 103), ("n:$a", 0)]),
        (
            "namespace_separator = \"/\"\nprivate_prefix = \"!\"\nuser_limited_separator = \"@\"",
            vec![("n/a", 0), ("n/#general", 0), ("!n/a", 103), ("n/a@bo", 103), ("n/a@al,bo", 0)],
        ),
    ];
    for (top, rows) in table {
        let server = serve!(driver, Setup { top, client: &client, ..Setup::default() });
        let (mut al, _) = user(&server, "al");
        for (name, code) in rows {
            assert_eq!(al.subscribe_error(name), code, "{top:?}: {name}");
            // Only namespaces restrict the server API.
            if code == 0 {
                assert!(server.publish(name, "1")["error"].is_null(), "{top:?}: {name}");
                assert_eq!(al.publication()["data"], 1, "{top:?}: {name}");
            }
        }
        server.end();
    }
}

fn a_user_whose_id_makes_no_name_is_connected_without_a_channel(driver: &str) {
    let client = format!("token_hmac_secret = \"{SECRET}\"\nuser_personal_channel = \"n\"");
    let server = serve!(driver, Setup { client: &client, ..Setup::default() });
    let (_al, answer) = user(&server, "al");
    assert!(answer["subs"]["n:#al"].is_object(), "{answer}");
    let long = "x".repeat(300);
    let odd = ["a#l", "a,l", "a\nl", "a\u{7f}", &long];
    for id in odd {
        let (mut client, answer) = user(&server, id);
        assert!(answer["subs"].is_null(), "{id:?}: {answer}");
        assert_eq!(client.subscribe_error("n:a"), 0, "{id:?}");
    }
    // Many more: a few lines, then the number of the others.
    for _ in 0..20 {
        drop(user(&server, "a#l"));
    }
    let counted = server.metric("corecast_refusals_total{worker=\"0\",cause=\"personal_channel\"}");
    assert_eq!(counted, 20 + odd.len() as u64);
    let said = server.end();
    let lines: Vec<&str> =
        said.lines().filter(|line| line.contains("without a personal channel")).collect();
    assert_eq!(lines.len(), 10, "{said}");
    assert!(lines.iter().all(|line| line.contains("WARN")), "{lines:?}");
    assert!(lines[0].contains("a#l"), "{lines:?}");
    assert!(said.contains("left_out=15"), "{said}");
}

/// Error 107 leaves the connection unchanged: the next connect is accepted.
fn what_connect_cannot_take_may_be_mended(driver: &str) {
    let server = serve!(driver, Setup::default());
    let nested = |levels| "[".repeat(levels) + &"]".repeat(levels);
    let connect = |id, data: &str| format!(r#"{{"id":{id},"connect":{{"data":{data}}}}}"#);
    let many: Vec<String> = (0..2_000).map(|n| format!(r#""n:{n}":{{}}"#)).collect();
    let many = format!(r#"{{"id":3,"connect":{{"subs":{{{}}}}}}}"#, many.join(","));
    let mut client = Client::upgraded(server.addr);
    for (id, text) in [(1, connect(1, &nested(65))), (2, connect(2, &nested(9_000))), (3, many)] {
        client.text(&text);
        assert_eq!(client.answer_to(id)["error"]["code"], 107);
    }
    client.text(&connect(4, &nested(64)));
    assert!(client.answer_to(4)["connect"]["client"].is_string());
    assert!(client.lives());
    // Without an id there is no answer, and a second connect is an error.
    for (first, second) in
        [(connect(0, &nested(65)), ""), (connect(1, "1"), &*connect(2, &nested(65)))]
    {
        let mut client = Client::upgraded(server.addr);
        client.text(&first);
        client.text(second);
        assert_eq!(client.close_code(), Some(3501), "{first}");
    }
    server.end();
}

fn commands_need_nothing_between_them(driver: &str) {
    let server = serve!(driver, Setup::default());
    for between in ["", " ", "\t", "\r\n", "\n\n"] {
        let commands = [
            r#"{"id":1,"connect":{}}"#,
            r#"{"id":2,"subscribe":{"channel":"n:a"}}"#,
            r#"{"id":3,"publish":{"channel":"n:a","data":"}{"}}"#,
            r#"{"id":4,"ping":{}}"#,
        ];
        let mut client = Client::upgraded(server.addr);
        client.text(&commands.join(between));
        for id in 1..=4 {
            assert!(client.answer_to(id)["error"].is_null(), "{between:?}");
        }
        assert_eq!(client.publication()["data"], "}{", "{between:?}");
        // Bytes that are not a command end the connection, after the commands before them were
        // carried out.
        client.text(&format!(r#"{{"id":5,"ping":{{}}}}{between},{{"id":6,"ping":{{}}}}"#));
        assert!(client.answer_to(5)["error"].is_null());
        assert_eq!(client.close_code(), Some(3501), "{between:?}");
    }
    server.end();
}
