//! Commands from JSON: what is read, what is refused and why, and the same verdict as serde_json's.

use corecast::codec::command::{
    Command, Connect, DecodeError, History, Method, Publish, Subscribe,
};
use corecast::codec::json::Commands;

fn one(text: &str) -> Result<Command<'_>, DecodeError> {
    let mut commands = Commands::new(text.as_bytes());
    let command = commands.next().expect("there is a command");
    if command.is_ok() {
        assert_eq!(commands.rest(), text.len());
    }
    assert_eq!(commands.next(), None);
    command
}

#[test]
fn every_method_is_read() {
    let table = [
        (
            r#"{"id":1,"connect":{"token":"t","data":{"a":[1]},"name":"js","version":"5","flag":1}}"#,
            Method::Connect(Connect {
                token: "t".into(),
                data: b"{\"a\":[1]}",
                name: "js".into(),
                version: "5".into(),
            }),
        ),
        (r#"{"id":1,"connect":{}}"#, Method::Connect(Connect::default())),
        (
            r#"{"subscribe":{"channel":"c","token":"t","recover":true,"epoch":"e","offset":18446744073709551615,"positioned":true,"recoverable":true,"join_leave":true,"type":-2,"flag":1,"delta":"fossil","data":7},"id":1}"#,
            Method::Subscribe(Subscribe {
                channel: "c".into(),
                token: "t".into(),
                recover: true,
                epoch: "e".into(),
                offset: u64::MAX,
                positioned: true,
                recoverable: true,
                join_leave: true,
                kind: -2,
            }),
        ),
        (r#"{"id":1,"unsubscribe":{"channel":"c"}}"#, Method::Unsubscribe { channel: "c".into() }),
        (
            r#"{"id":1,"publish":{"channel":"c","data": "\ud800" }}"#,
            Method::Publish(Publish { channel: "c".into(), data: br#""\ud800""# }),
        ),
        (
            r#"{"id":1,"publish":{"channel":"c","data":null}}"#,
            Method::Publish(Publish { channel: "c".into(), data: b"null" }),
        ),
        (r#"{"id":1,"presence":{"channel":"c"}}"#, Method::Presence { channel: "c".into() }),
        (
            r#"{"id":1,"presence_stats":{"channel":"c"}}"#,
            Method::PresenceStats { channel: "c".into() },
        ),
        (
            r#"{"id":1,"history":{"channel":"c","limit":-1,"since":{"offset":3,"epoch":"e","x":[]},"reverse":true}}"#,
            Method::History(History {
                channel: "c".into(),
                limit: -1,
                since: Some((3, "e".into())),
                reverse: true,
            }),
        ),
        (
            r#"{"id":1,"history":{"channel":"c","since":null}}"#,
            Method::History(History { channel: "c".into(), ..Default::default() }),
        ),
        (r#"{"id":1,"ping":{}}"#, Method::Ping),
        (
            r#"{"id":1,"rpc":{"method":"where","data":{}}}"#,
            Method::Rpc { method: "where".into(), data: b"{}" },
        ),
        (r#"{"id":1,"rpc":{"method":"m"}}"#, Method::Rpc { method: "m".into(), data: b"" }),
        (r#"{"id":1,"refresh":{"token":"t"}}"#, Method::Refresh { token: "t".into() }),
        (
            r#"{"id":1,"sub_refresh":{"channel":"c","token":"t"}}"#,
            Method::SubRefresh { channel: "c".into(), token: "t".into() },
        ),
    ];
    for (text, method) in table {
        assert_eq!(one(text), Ok(Command { id: 1, method }), "{text}");
    }
    assert_eq!(
        one(r#"{"send":{"data":1}}"#),
        Ok(Command { id: 0, method: Method::Send { data: b"1" } })
    );
    assert_eq!(one("{}"), Ok(Command { id: 0, method: Method::Pong }));
}
