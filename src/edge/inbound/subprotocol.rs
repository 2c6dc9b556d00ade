//! The codec that a client asks for: by a WebSocket subprotocol, or in the query as SDKs do.
//!
//! Must not know the handshake. Invariant: a client that asks for none speaks JSON.

use crate::codec::Codec;

/// The supported subprotocols, each with its codec and whether it is one of Corecast's own.
const SPOKEN: [(&str, Codec, bool); 5] = [
    ("centrifuge-json", Codec::Json, false),
    ("centrifuge-protobuf", Codec::Protobuf, false),
    ("corecast.v1.json", Codec::Json, true),
    ("corecast.v1.msgpack", Codec::MessagePack, true),
    ("corecast.v1.protobuf", Codec::Protobuf, true),
];

/// Their names, for the handshake.
pub const NAMES: [&str; SPOKEN.len()] = {
    let mut names = [""; SPOKEN.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = SPOKEN[index].0;
        index += 1;
    }
    names
};

/// The codec of a connection, and whether it uses a subprotocol of Corecast. Those define the
/// codec; with Centrifugo's names the query counts too, as it does there.
#[must_use]
pub fn choose(subprotocol: Option<&str>, query: &str) -> (Codec, bool) {
    let spoken = SPOKEN.iter().find(|(name, ..)| Some(*name) == subprotocol);
    match spoken {
        Some(&(_, codec, own)) if own || codec != Codec::Json => (codec, own),
        _ => (asked(query), false),
    }
}

fn asked(query: &str) -> Codec {
    let protobuf = |pair| matches!(pair, "format=protobuf" | "cf_protocol=protobuf");
    if query.split('&').any(protobuf) { Codec::Protobuf } else { Codec::Json }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_the_query_choose_the_codec() {
        let table = [
            (None, "", Codec::Json, false),
            (None, "format=json", Codec::Json, false),
            (None, "format=protobuf", Codec::Protobuf, false),
            (None, "a=b&cf_protocol=protobuf&c", Codec::Protobuf, false),
            (None, "xformat=protobuf", Codec::Json, false),
            (Some("centrifuge-json"), "", Codec::Json, false),
            (Some("centrifuge-json"), "format=protobuf", Codec::Protobuf, false),
            (Some("centrifuge-protobuf"), "format=json", Codec::Protobuf, false),
            (Some("corecast.v1.json"), "format=protobuf", Codec::Json, true),
            (Some("corecast.v1.msgpack"), "", Codec::MessagePack, true),
            (Some("corecast.v1.protobuf"), "", Codec::Protobuf, true),
        ];
        for (name, query, codec, own) in table {
            assert_eq!(choose(name, query), (codec, own), "{name:?} {query}");
            assert!(name.is_none_or(|name| NAMES.contains(&name)));
        }
    }
}
