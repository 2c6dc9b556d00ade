//! The codecs as clients speak them, in code that shares nothing with the server's: for the clients
//! of the simulation and of the bench's ledger, which includes this folder as a module.
//!
//! A client works in JSON: its commands are translated here, and replies by `read`. Must not know
//! what a message means. Invariant: a payload's text is unchanged except for white space.

mod fields;
mod read;
mod write;

use serde_json::value::RawValue;
use std::borrow::Cow;

/// The server sent bytes that are not valid.
#[derive(Debug, PartialEq, Eq)]
pub struct Corrupt(pub &'static str);

listed! {
    /// A codec, and how a client asks for it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Dialect {
        /// Without a subprotocol.
        Plain,
        Json,
        MessagePack,
        Protobuf,
        /// Protobuf as SDKs ask for it.
        SdkProtobuf,
    }
}

impl Dialect {
    #[must_use]
    pub fn subprotocol(self) -> Option<&'static str> {
        match self {
            Dialect::Plain => None,
            Dialect::Json => Some("corecast.v1.json"),
            Dialect::MessagePack => Some("corecast.v1.msgpack"),
            Dialect::Protobuf => Some("corecast.v1.protobuf"),
            Dialect::SdkProtobuf => Some("centrifuge-protobuf"),
        }
    }

    /// Does a connection of it receive a push before the close frame?
    #[must_use]
    pub fn is_told_why(self) -> bool {
        self.subprotocol().is_some_and(|name| name.starts_with("corecast."))
    }

    #[must_use]
    fn is_json(self) -> bool {
        matches!(self, Dialect::Plain | Dialect::Json)
    }

    /// The opcode of its messages.
    #[must_use]
    pub fn opcode(self) -> u8 {
        if self.is_json() { 1 } else { 2 }
    }

    /// JSON commands in sequence as one message.
    ///
    /// # Panics
    /// If they are not the client's own.
    #[must_use]
    pub fn message(self, commands: &[u8]) -> Vec<u8> {
        if self.is_json() {
            return commands.to_vec();
        }
        let mut message = Vec::new();
        let all = serde_json::Deserializer::from_slice(commands).into_iter::<&RawValue>();
        for command in all {
            let command = command.expect("the client's own JSON");
            write::command(self == Dialect::MessagePack, command.get(), &mut message);
        }
        message
    }

    /// The replies and pushes in a message of the server, as one JSON text each.
    ///
    /// # Errors
    /// If it is not valid in this codec.
    pub fn replies(self, message: &[u8]) -> Result<Vec<Cow<'_, str>>, Corrupt> {
        if self.is_json() {
            let lines = message.split(|byte| *byte == b'\n');
            let text = |line| std::str::from_utf8(line).map(Cow::Borrowed);
            return lines.map(text).collect::<Result<_, _>>().map_err(|_| Corrupt("utf-8"));
        }
        let mut rest = message;
        let mut replies = Vec::new();
        while !rest.is_empty() {
            let reply = match self {
                Dialect::MessagePack => read::msgpack(&mut rest)?,
                _ => read::protobuf(&mut rest)?,
            };
            replies.push(Cow::Owned(reply));
        }
        Ok(replies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_translated() {
        let two =
            b"{\"id\":1,\"connect\":{\"token\":\"\"}}\n{\"id\":2,\"publish\":{\"channel\":\"c\",\
                    \"data\":{\"b\":1,\r\n\"a\":[-1,true]}}}";
        let packed = b"\x82\x01\x01\x04\x81\x01\xa0\x82\x01\x02\x07\x82\x01\xa1c\x02\x82\xa1b\x01\xa1a\x92\xff\xc3";
        assert_eq!(Dialect::MessagePack.message(two), packed);
        let mut protobuf =
            b"\x06\x08\x01\x22\x02\x0a\x00\x20\x08\x02\x3a\x1c\x0a\x01c\x12\x17".to_vec();
        protobuf.extend_from_slice(b"{\"b\":1,\r\n\"a\":[-1,true]}");
        assert_eq!(Dialect::Protobuf.message(two), protobuf);
        assert_eq!(Dialect::Plain.message(two), two);
        assert_eq!(Dialect::Protobuf.message(b"{}"), [0]);
        assert_eq!(Dialect::MessagePack.message(b"{}"), [0x80]);
    }

    #[test]
    fn replies_are_translated() {
        let packed =
            b"\x80\x82\x01\x02\x06\x82\x09\xcd\x01\x00\x07\x91\x82\x04\x81\xa1n\xff\x06\x03";
        let json = [
            "{}",
            r#"{"id":2,"subscribe":{"offset":256,"publications":[{"data":{"n":-1},"offset":3}]}}"#,
        ];
        assert_eq!(Dialect::MessagePack.replies(packed).unwrap(), json);
        let protobuf = b"\x00\x15\x08\x02\x32\x11\x48\x80\x02\x3a\x0c\x22\x08{\"n\":-1}\x30\x03";
        assert_eq!(Dialect::Protobuf.replies(protobuf).unwrap(), json);
        for bad in [&b"\x81"[..], b"\x81\x63\x01", b"\x81\x01\xa1a", b"\x05"] {
            assert!(Dialect::MessagePack.replies(bad).is_err(), "{bad:x?}");
            assert!(Dialect::Protobuf.replies(bad).is_err(), "{bad:x?}");
        }
    }
}
