//! The description of the API has every method and every field that bodies have, and no other.

use super::super::{ApiMethod, OPENAPI};
use super::*;
use serde::de::{Deserializer, Error, Visitor};
use serde_json::Value;
use std::collections::BTreeSet;

/// Asks a type for the names of its fields, and gives it nothing.
struct Asker<'a>(&'a mut Vec<&'static str>);

impl<'de> Deserializer<'de> for Asker<'_> {
    type Error = serde_json::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Self::Error> {
        self.0.extend(fields);
        Err(Error::custom("only the fields were wanted"))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(Error::custom("no struct"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

fn fields<'de, T: Deserialize<'de>>() -> BTreeSet<String> {
    let mut names = Vec::new();
    assert!(T::deserialize(Asker(&mut names)).is_err());
    names.into_iter().map(str::to_owned).collect()
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
        ApiMethod::ALL.iter().map(|(name, _)| format!("/api/{name}")).collect();
    assert_eq!(paths.keys().cloned().collect::<BTreeSet<_>>(), expected);
    let in_batch: BTreeSet<String> = ApiMethod::ALL
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .filter(|it| it != "batch")
        .collect();
    assert_eq!(properties(schemas, "Command"), in_batch);
    let mut replies = in_batch;
    replies.insert("error".to_owned());
    assert_eq!(properties(schemas, "Reply"), replies);
    for (name, _) in ApiMethod::ALL {
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
