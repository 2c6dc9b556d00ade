//! The description of the API has exactly the methods and fields that bodies have.

use super::*;
use crate::api::{ApiMethod, OPENAPI};
use crate::meant::fields_of;
use serde_json::Value;
use std::collections::BTreeSet;

fn fields<'de, T: Deserialize<'de>>() -> BTreeSet<String> {
    fields_of::<T>().iter().map(|name| (*name).to_owned()).collect()
}

fn described<'a>(schemas: &'a Value, name: &str) -> &'a Value {
    schemas.get(name).unwrap_or_else(|| panic!("no schema {name}"))
}

fn properties(schemas: &Value, name: &str) -> BTreeSet<String> {
    let object = described(schemas, name)["properties"].as_object();
    object.unwrap_or_else(|| panic!("{name} has no properties")).keys().cloned().collect()
}

/// `presence_stats`: `PresenceStats`.
fn schema_of(method: &str) -> String {
    let words = method.split('_').map(|word| word[..1].to_uppercase() + &word[1..]);
    words.collect()
}

#[test]
fn every_method_is_described() {
    let document: Value = serde_json::from_str(OPENAPI).expect("JSON");
    let schemas = &document["components"]["schemas"];
    let paths = document["paths"].as_object().expect("paths");
    let expected: BTreeSet<String> =
        ApiMethod::served().map(|method| format!("/api/{}", method.name())).collect();
    assert_eq!(paths.keys().cloned().collect::<BTreeSet<_>>(), expected);
    let in_batch: BTreeSet<String> = ApiMethod::served()
        .map(|method| method.name().to_owned())
        .filter(|it| it != "batch")
        .collect();
    assert_eq!(properties(schemas, "Command"), in_batch);
    let mut replies = in_batch;
    replies.insert("error".to_owned());
    assert_eq!(properties(schemas, "Reply"), replies);
    for name in ApiMethod::served().map(ApiMethod::name) {
        let call = &document["paths"][format!("/api/{name}")]["post"];
        let schema = schema_of(name);
        let request = format!("#/components/schemas/{schema}Request");
        let body = &call["requestBody"]["content"]["application/json"]["schema"];
        assert_eq!(body["$ref"], request);
        let response = format!("#/components/schemas/{schema}Response");
        let answer = &call["responses"]["200"]["content"]["application/json"]["schema"];
        assert_eq!(answer["$ref"], response);
        described(schemas, &format!("{schema}Request"));
        described(schemas, &format!("{schema}Response"));
    }
}

#[test]
fn every_field_is_described() {
    let document: Value = serde_json::from_str(OPENAPI).expect("JSON");
    let schemas = &document["components"]["schemas"];
    let bodies = [
        ("PublishRequest", fields::<PublishBody<'_>>()),
        ("BroadcastRequest", fields::<BroadcastBody<'_>>()),
        ("SubscribeRequest", fields::<SubscribeBody<'_>>()),
        ("SubscribeOverride", fields::<OverrideBody>()),
        ("BoolValue", fields::<BoolBody>()),
        ("StreamPosition", fields::<PositionBody<'_>>()),
        ("UnsubscribeRequest", fields::<UnsubscribeBody<'_>>()),
        ("DisconnectRequest", fields::<DisconnectBody<'_>>()),
        ("Disconnect", fields::<CloseBody<'_>>()),
        ("RefreshRequest", fields::<RefreshBody<'_>>()),
        ("PresenceRequest", fields::<ChannelBody<'_>>()),
        ("PresenceStatsRequest", fields::<ChannelBody<'_>>()),
        ("HistoryRemoveRequest", fields::<ChannelBody<'_>>()),
        ("HistoryRequest", fields::<HistoryBody<'_>>()),
        ("ChannelsRequest", fields::<ChannelsBody<'_>>()),
        ("InfoRequest", fields::<InfoBody>()),
        ("RpcRequest", fields::<RpcBody<'_>>()),
    ];
    for (schema, fields) in bodies {
        assert_eq!(properties(schemas, schema), fields, "{schema}");
    }
    let batch: BTreeSet<String> = ["commands", "parallel"].map(str::to_owned).into();
    assert_eq!(properties(schemas, "BatchRequest"), batch);
}

#[test]
fn references_lead_somewhere() {
    let document: Value = serde_json::from_str(OPENAPI).expect("JSON");
    let mut targets = OPENAPI
        .split("\"$ref\": \"#")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap_or_default());
    let mut count = 0;
    assert!(targets.all(|target| {
        count += 1;
        document.pointer(target).is_some()
    }));
    assert!(count > 50, "only {count} references were found");
}

#[test]
fn what_is_wrong_with_a_body_is_said() {
    let table = [
        (ApiMethod::Publish, "{\"channel\":\"\u{c3}(\"}", "the body is not UTF-8"),
        (ApiMethod::Publish, "[]", "the body is not a JSON object"),
        (ApiMethod::Publish, r#"{"channel":"a","data":nul}"#, "no JSON: line 1, column"),
        (ApiMethod::Publish, r#"{"channel":"a","data":1} x"#, "something follows the JSON object"),
        (
            ApiMethod::Publish,
            r#"{"chanel":"a","data":1}"#,
            "unknown field chanel; did you mean channel?",
        ),
        (
            ApiMethod::Publish,
            r#"{"channel":"a","date":1}"#,
            "unknown field date; did you mean data?",
        ),
        (ApiMethod::Publish, r#"{"channel":"a"}"#, "data is missing or empty"),
        (ApiMethod::Publish, r#"{"channel":17,"data":1}"#, "channel: must be a string"),
        (ApiMethod::Publish, r#"{"channel":"a","data":1,"data":2}"#, "duplicate field `data`"),
        (ApiMethod::Publish, r#"{"channel":"a","b64data":"?"}"#, "a b64 field is not base64"),
        (
            ApiMethod::Subscribe,
            r#"{"user":"u","channel":"a","expire_at":"soon"}"#,
            "expire_at: must be",
        ),
        (
            ApiMethod::Subscribe,
            r#"{"user":"u","channel":"a","session":"s"}"#,
            "session is for transports",
        ),
        (ApiMethod::Disconnect, r#"{"usr":"u"}"#, "unknown field usr; did you mean user?"),
        (
            ApiMethod::Disconnect,
            r#"{"user":"u","disconnect":{"code":1}}"#,
            "disconnect.code is not from",
        ),
        (
            ApiMethod::Disconnect,
            r#"{"user":"u","disconnect":{"reason":7}}"#,
            "disconnect.reason: must be a string",
        ),
        (ApiMethod::Batch, r#"{"comands":[]}"#, "unknown field comands; did you mean commands?"),
        (ApiMethod::Map, "{}", "this server has no maps"),
    ];
    for (method, body, told) in table {
        // Stands for a byte that is not UTF-8.
        let body: Vec<u8> = body.chars().map(|letter| letter as u8).collect();
        let said = super::explain(method, &body).unwrap_or_default();
        assert!(said.contains(told), "{told}: {said}");
        assert!(!said.contains("17") && !said.contains("soon"), "a value is quoted: {said}");
    }
    assert_eq!(super::explain(ApiMethod::Publish, br#"{"channel":"a","data":1}"#), None);
}
