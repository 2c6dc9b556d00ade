//! The protocol's messages in libraries' derived code: a second reader and writer for Protobuf
//! (`prost`) and JSON (`serde`), and tables of field numbers for MessagePack (`rmpv`).

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// The type of a field.
pub enum Kind {
    /// A string, number or boolean, or an array or map of strings.
    Plain,
    /// A JSON value.
    Payload,
    Message(fn() -> &'static [Field]),
    List(fn() -> &'static [Field]),
    /// Messages by name.
    Map(fn() -> &'static [Field]),
}

use Kind::{List, Map, Message, Payload, Plain};

/// A field's name, number and kind.
pub type Field = (&'static str, u64, Kind);

/// Bytes that are JSON, as a value.
fn raw<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    let text = String::from_utf8(bytes.to_vec()).expect("JSON is text");
    RawValue::from_string(text).expect("a JSON value").serialize(to)
}

macro_rules! messages {
    ($($name:ident {
        $($(#[$meta:meta])* $field:ident: $type:ty => $number:literal $kind:expr,)*
    })*) => {
        $(
            #[derive(Clone, PartialEq, prost::Message, Serialize)]
            pub struct $name {
                $($(#[$meta])* pub $field: $type,)*
            }

            impl $name {
                pub fn fields() -> &'static [Field] {
                    static FIELDS: &[Field] = &[$((stringify!($field), $number, $kind)),*];
                    FIELDS
                }
            }
        )*
    };
}

messages! {
    Command {
        #[prost(uint32, tag = "1")]
        id: u32 => 1 Plain,
        #[prost(message, optional, tag = "4")]
        connect: Option<ConnectRequest> => 4 Message(ConnectRequest::fields),
        #[prost(message, optional, tag = "5")]
        subscribe: Option<SubscribeRequest> => 5 Message(SubscribeRequest::fields),
        #[prost(message, optional, tag = "6")]
        unsubscribe: Option<ChannelRequest> => 6 Message(ChannelRequest::fields),
        #[prost(message, optional, tag = "7")]
        publish: Option<PublishRequest> => 7 Message(PublishRequest::fields),
        #[prost(message, optional, tag = "8")]
        presence: Option<ChannelRequest> => 8 Message(ChannelRequest::fields),
        #[prost(message, optional, tag = "9")]
        presence_stats: Option<ChannelRequest> => 9 Message(ChannelRequest::fields),
        #[prost(message, optional, tag = "10")]
        history: Option<HistoryRequest> => 10 Message(HistoryRequest::fields),
        #[prost(message, optional, tag = "11")]
        ping: Option<Empty> => 11 Message(Empty::fields),
        #[prost(message, optional, tag = "12")]
        send: Option<SendRequest> => 12 Message(SendRequest::fields),
        #[prost(message, optional, tag = "13")]
        rpc: Option<RpcRequest> => 13 Message(RpcRequest::fields),
        #[prost(message, optional, tag = "14")]
        refresh: Option<RefreshRequest> => 14 Message(RefreshRequest::fields),
        #[prost(message, optional, tag = "15")]
        sub_refresh: Option<SubRefreshRequest> => 15 Message(SubRefreshRequest::fields),
    }
    Empty {}
    ConnectRequest {
        #[prost(string, tag = "1")]
        token: String => 1 Plain,
        #[prost(bytes = "vec", tag = "2")]
        #[serde(serialize_with = "raw", skip_serializing_if = "Vec::is_empty")]
        data: Vec<u8> => 2 Payload,
        #[prost(btree_map = "string, message", tag = "3")]
        subs: BTreeMap<String, SubscribeRequest> => 3 Map(SubscribeRequest::fields),
        #[prost(string, tag = "4")]
        name: String => 4 Plain,
        #[prost(string, tag = "5")]
        version: String => 5 Plain,
        #[prost(btree_map = "string, string", tag = "6")]
        headers: BTreeMap<String, String> => 6 Plain,
        #[prost(int64, tag = "7")]
        flag: i64 => 7 Plain,
    }
    SubscribeRequest {
        #[prost(string, tag = "1")]
        channel: String => 1 Plain,
        #[prost(string, tag = "2")]
        token: String => 2 Plain,
        #[prost(bool, tag = "3")]
        recover: bool => 3 Plain,
        #[prost(string, tag = "6")]
        epoch: String => 6 Plain,
        #[prost(uint64, tag = "7")]
        offset: u64 => 7 Plain,
        #[prost(bytes = "vec", tag = "8")]
        #[serde(serialize_with = "raw", skip_serializing_if = "Vec::is_empty")]
        data: Vec<u8> => 8 Payload,
        #[prost(bool, tag = "9")]
        positioned: bool => 9 Plain,
        #[prost(bool, tag = "10")]
        recoverable: bool => 10 Plain,
        #[prost(bool, tag = "11")]
        join_leave: bool => 11 Plain,
        #[prost(string, tag = "12")]
        delta: String => 12 Plain,
        #[prost(message, optional, tag = "13")]
        tf: Option<FilterNode> => 13 Message(FilterNode::fields),
        #[prost(int64, tag = "14")]
        flag: i64 => 14 Plain,
        #[prost(int32, tag = "15")]
        r#type: i32 => 15 Plain,
    }
    FilterNode {
        #[prost(string, tag = "1")]
        op: String => 1 Plain,
        #[prost(string, tag = "2")]
        key: String => 2 Plain,
        #[prost(string, tag = "3")]
        cmp: String => 3 Plain,
        #[prost(string, tag = "4")]
        val: String => 4 Plain,
        #[prost(string, repeated, tag = "5")]
        vals: Vec<String> => 5 Plain,
        #[prost(message, repeated, tag = "6")]
        nodes: Vec<FilterNode> => 6 List(FilterNode::fields),
    }
    ChannelRequest {
        #[prost(string, tag = "1")]
        channel: String => 1 Plain,
    }
    PublishRequest {
        #[prost(string, tag = "1")]
        channel: String => 1 Plain,
        #[prost(bytes = "vec", tag = "2")]
        #[serde(serialize_with = "raw", skip_serializing_if = "Vec::is_empty")]
        data: Vec<u8> => 2 Payload,
        #[prost(int32, tag = "3")]
        r#type: i32 => 3 Plain,
        #[prost(string, tag = "4")]
        key: String => 4 Plain,
        #[prost(bool, tag = "5")]
        removed: bool => 5 Plain,
        #[prost(btree_map = "string, string", tag = "1000")]
        tags: BTreeMap<String, String> => 1000 Plain,
        #[prost(uint32, tag = "1001")]
        prio: u32 => 1001 Plain,
        #[prost(bool, tag = "1003")]
        exclude_self: bool => 1003 Plain,
        #[prost(string, tag = "1005")]
        idempotency_key: String => 1005 Plain,
        #[prost(string, repeated, tag = "1006")]
        users: Vec<String> => 1006 Plain,
    }
    HistoryRequest {
        #[prost(string, tag = "1")]
        channel: String => 1 Plain,
        #[prost(int32, tag = "7")]
        limit: i32 => 7 Plain,
        #[prost(message, optional, tag = "8")]
        since: Option<StreamPosition> => 8 Message(StreamPosition::fields),
        #[prost(bool, tag = "9")]
        reverse: bool => 9 Plain,
    }
    StreamPosition {
        #[prost(uint64, tag = "1")]
        offset: u64 => 1 Plain,
        #[prost(string, tag = "2")]
        epoch: String => 2 Plain,
    }
    SendRequest {
        #[prost(bytes = "vec", tag = "1")]
        #[serde(serialize_with = "raw", skip_serializing_if = "Vec::is_empty")]
        data: Vec<u8> => 1 Payload,
    }
    RpcRequest {
        #[prost(bytes = "vec", tag = "1")]
        #[serde(serialize_with = "raw", skip_serializing_if = "Vec::is_empty")]
        data: Vec<u8> => 1 Payload,
        #[prost(string, tag = "2")]
        method: String => 2 Plain,
    }
    RefreshRequest {
        #[prost(string, tag = "1")]
        token: String => 1 Plain,
    }
    SubRefreshRequest {
        #[prost(string, tag = "1")]
        channel: String => 1 Plain,
        #[prost(string, tag = "2")]
        token: String => 2 Plain,
        #[prost(int32, tag = "3")]
        r#type: i32 => 3 Plain,
        #[prost(string, repeated, tag = "5")]
        untrack: Vec<String> => 5 Plain,
    }
    Reply {
        #[prost(uint32, tag = "1")]
        id: u32 => 1 Plain,
        #[prost(message, optional, tag = "2")]
        error: Option<Error> => 2 Message(Error::fields),
        #[prost(message, optional, tag = "4")]
        push: Option<Push> => 4 Message(Push::fields),
        #[prost(message, optional, tag = "5")]
        connect: Option<ConnectResult> => 5 Message(ConnectResult::fields),
        #[prost(message, optional, tag = "6")]
        subscribe: Option<SubscribeResult> => 6 Message(SubscribeResult::fields),
        #[prost(message, optional, tag = "7")]
        unsubscribe: Option<Empty> => 7 Message(Empty::fields),
        #[prost(message, optional, tag = "8")]
        publish: Option<Empty> => 8 Message(Empty::fields),
        #[prost(message, optional, tag = "9")]
        presence: Option<PresenceResult> => 9 Message(PresenceResult::fields),
        #[prost(message, optional, tag = "10")]
        presence_stats: Option<PresenceStatsResult> => 10 Message(PresenceStatsResult::fields),
        #[prost(message, optional, tag = "11")]
        history: Option<HistoryResult> => 11 Message(HistoryResult::fields),
        #[prost(message, optional, tag = "12")]
        ping: Option<Empty> => 12 Message(Empty::fields),
        #[prost(message, optional, tag = "13")]
        rpc: Option<ValueBody> => 13 Message(ValueBody::fields),
        #[prost(message, optional, tag = "14")]
        refresh: Option<RefreshResult> => 14 Message(RefreshResult::fields),
        #[prost(message, optional, tag = "15")]
        sub_refresh: Option<Expiry> => 15 Message(Expiry::fields),
    }
    Error {
        #[prost(uint32, tag = "1")]
        code: u32 => 1 Plain,
        #[prost(string, tag = "2")]
        message: String => 2 Plain,
        #[prost(bool, tag = "3")]
        temporary: bool => 3 Plain,
    }
    ValueBody {
        #[prost(bytes = "vec", tag = "1")]
        #[serde(serialize_with = "raw", skip_serializing_if = "Vec::is_empty")]
        data: Vec<u8> => 1 Payload,
    }
    Push {
        #[prost(int64, tag = "1")]
        id: i64 => 1 Plain,
        #[prost(string, tag = "2")]
        channel: String => 2 Plain,
        #[prost(message, optional, tag = "4")]
        r#pub: Option<Publication> => 4 Message(Publication::fields),
        #[prost(message, optional, tag = "5")]
        join: Option<Member> => 5 Message(Member::fields),
        #[prost(message, optional, tag = "6")]
        leave: Option<Member> => 6 Message(Member::fields),
        #[prost(message, optional, tag = "7")]
        unsubscribe: Option<Unsubscribe> => 7 Message(Unsubscribe::fields),
        #[prost(message, optional, tag = "8")]
        message: Option<ValueBody> => 8 Message(ValueBody::fields),
        #[prost(message, optional, tag = "9")]
        subscribe: Option<Subscribe> => 9 Message(Subscribe::fields),
        #[prost(message, optional, tag = "11")]
        disconnect: Option<Disconnect> => 11 Message(Disconnect::fields),
        #[prost(message, optional, tag = "12")]
        refresh: Option<Expiry> => 12 Message(Expiry::fields),
    }
    Publication {
        #[prost(bytes = "vec", tag = "4")]
        #[serde(serialize_with = "raw", skip_serializing_if = "Vec::is_empty")]
        data: Vec<u8> => 4 Payload,
        #[prost(message, optional, tag = "5")]
        info: Option<ClientInfo> => 5 Message(ClientInfo::fields),
        #[prost(uint64, tag = "6")]
        offset: u64 => 6 Plain,
        #[prost(btree_map = "string, string", tag = "7")]
        tags: BTreeMap<String, String> => 7 Plain,
        #[prost(bool, tag = "8")]
        delta: bool => 8 Plain,
        #[prost(int64, tag = "9")]
        time: i64 => 9 Plain,
    }
    ClientInfo {
        #[prost(string, tag = "1")]
        user: String => 1 Plain,
        #[prost(string, tag = "2")]
        client: String => 2 Plain,
        #[prost(bytes = "vec", tag = "3")]
        #[serde(serialize_with = "raw", skip_serializing_if = "Vec::is_empty")]
        conn_info: Vec<u8> => 3 Payload,
        #[prost(bytes = "vec", tag = "4")]
        #[serde(serialize_with = "raw", skip_serializing_if = "Vec::is_empty")]
        chan_info: Vec<u8> => 4 Payload,
    }
    Member {
        #[prost(message, optional, tag = "1")]
        info: Option<ClientInfo> => 1 Message(ClientInfo::fields),
    }
    Unsubscribe {
        #[prost(uint32, tag = "2")]
        code: u32 => 2 Plain,
        #[prost(string, tag = "3")]
        reason: String => 3 Plain,
    }
    Subscribe {
        #[prost(bool, tag = "1")]
        recoverable: bool => 1 Plain,
        #[prost(string, tag = "4")]
        epoch: String => 4 Plain,
        #[prost(uint64, tag = "5")]
        offset: u64 => 5 Plain,
        #[prost(bool, tag = "6")]
        positioned: bool => 6 Plain,
        #[prost(bytes = "vec", tag = "7")]
        #[serde(serialize_with = "raw", skip_serializing_if = "Vec::is_empty")]
        data: Vec<u8> => 7 Payload,
    }
    Disconnect {
        #[prost(uint32, tag = "1")]
        code: u32 => 1 Plain,
        #[prost(string, tag = "2")]
        reason: String => 2 Plain,
        #[prost(bool, tag = "3")]
        reconnect: bool => 3 Plain,
    }
    Expiry {
        #[prost(bool, tag = "1")]
        expires: bool => 1 Plain,
        #[prost(uint32, tag = "2")]
        ttl: u32 => 2 Plain,
    }
    ConnectResult {
        #[prost(string, tag = "1")]
        client: String => 1 Plain,
        #[prost(string, tag = "2")]
        version: String => 2 Plain,
        #[prost(bool, tag = "3")]
        expires: bool => 3 Plain,
        #[prost(uint32, tag = "4")]
        ttl: u32 => 4 Plain,
        #[prost(bytes = "vec", tag = "5")]
        #[serde(serialize_with = "raw", skip_serializing_if = "Vec::is_empty")]
        data: Vec<u8> => 5 Payload,
        #[prost(btree_map = "string, message", tag = "6")]
        subs: BTreeMap<String, SubscribeResult> => 6 Map(SubscribeResult::fields),
        #[prost(uint32, tag = "7")]
        ping: u32 => 7 Plain,
        #[prost(bool, tag = "8")]
        pong: bool => 8 Plain,
        #[prost(string, tag = "9")]
        session: String => 9 Plain,
        #[prost(string, tag = "10")]
        node: String => 10 Plain,
    }
    SubscribeResult {
        #[prost(bool, tag = "1")]
        expires: bool => 1 Plain,
        #[prost(uint32, tag = "2")]
        ttl: u32 => 2 Plain,
        #[prost(bool, tag = "3")]
        recoverable: bool => 3 Plain,
        #[prost(string, tag = "6")]
        epoch: String => 6 Plain,
        #[prost(message, repeated, tag = "7")]
        publications: Vec<Publication> => 7 List(Publication::fields),
        #[prost(bool, tag = "8")]
        recovered: bool => 8 Plain,
        #[prost(uint64, tag = "9")]
        offset: u64 => 9 Plain,
        #[prost(bool, tag = "10")]
        positioned: bool => 10 Plain,
        #[prost(bytes = "vec", tag = "11")]
        #[serde(serialize_with = "raw", skip_serializing_if = "Vec::is_empty")]
        data: Vec<u8> => 11 Payload,
        #[prost(bool, tag = "12")]
        was_recovering: bool => 12 Plain,
        #[prost(bool, tag = "13")]
        delta: bool => 13 Plain,
        #[prost(int64, tag = "14")]
        id: i64 => 14 Plain,
        #[prost(uint32, tag = "19")]
        publish_debounce: u32 => 19 Plain,
    }
    PresenceResult {
        #[prost(btree_map = "string, message", tag = "1")]
        presence: BTreeMap<String, ClientInfo> => 1 Map(ClientInfo::fields),
    }
    PresenceStatsResult {
        #[prost(uint32, tag = "1")]
        num_clients: u32 => 1 Plain,
        #[prost(uint32, tag = "2")]
        num_users: u32 => 2 Plain,
    }
    HistoryResult {
        #[prost(message, repeated, tag = "1")]
        publications: Vec<Publication> => 1 List(Publication::fields),
        #[prost(string, tag = "2")]
        epoch: String => 2 Plain,
        #[prost(uint64, tag = "3")]
        offset: u64 => 3 Plain,
    }
    RefreshResult {
        #[prost(string, tag = "1")]
        client: String => 1 Plain,
        #[prost(string, tag = "2")]
        version: String => 2 Plain,
        #[prost(bool, tag = "3")]
        expires: bool => 3 Plain,
        #[prost(uint32, tag = "4")]
        ttl: u32 => 4 Plain,
    }
}
