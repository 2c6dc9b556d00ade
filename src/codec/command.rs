//! The schema: the commands of clients and the replies to them, independent of the codec.
//!
//! Names and numbers are those of Centrifugo's protocol (`client.proto`, its error and disconnect
//! codes), so unmodified SDKs understand them. Must not know a codec, a socket or a channel's
//! state.

use std::borrow::Cow;

pub use super::tags::{Tag, Tags};
pub use crate::namespace::Payload;

/// One command of a client. `id` 0 expects no answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Command<'a> {
    pub id: u32,
    pub method: Method<'a>,
    /// It carries routing attributes (extension 1000), which this version does not have: 108.
    pub attributes: bool,
}

/// What a command asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Method<'a> {
    // Large and rare: boxed, so that moving the others is cheap.
    Connect(Box<Connect<'a>>),
    Subscribe(Box<Subscribe<'a>>),
    Unsubscribe {
        channel: Cow<'a, str>,
    },
    Publish(Publish<'a>),
    Presence {
        channel: Cow<'a, str>,
    },
    PresenceStats {
        channel: Cow<'a, str>,
    },
    History(History<'a>),
    Ping,
    Send {
        data: &'a [u8],
    },
    Rpc {
        method: Cow<'a, str>,
        data: &'a [u8],
    },
    Refresh {
        token: Cow<'a, str>,
    },
    SubRefresh {
        channel: Cow<'a, str>,
        token: Cow<'a, str>,
        /// It is about the keys of a shared poll (`type`, `track`, `untrack`), answered 108.
        asks_more: bool,
    },
    /// The empty command: the SDKs' pong.
    Pong,
    /// Routing attributes without a method: answered 108, as with one.
    Attributes,
    /// Any command whose `data` nests deeper than `limits::JSON_DEPTH`, or whose filter, tags or
    /// `subs` are over their bounds: it is answered 107, and was otherwise not fully read.
    Excessive,
    /// The same for a connect, which is answered before a session begins.
    ExcessiveConnect,
}

impl<'a> Method<'a> {
    /// Its name in the protocol; "" if it has none that was read.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Method::Connect(_) | Method::ExcessiveConnect => "connect",
            Method::Subscribe(_) => "subscribe",
            Method::Unsubscribe { .. } => "unsubscribe",
            Method::Publish(_) => "publish",
            Method::Presence { .. } => "presence",
            Method::PresenceStats { .. } => "presence_stats",
            Method::History(_) => "history",
            Method::Ping => "ping",
            Method::Send { .. } => "send",
            Method::Rpc { .. } => "rpc",
            Method::Refresh { .. } => "refresh",
            Method::SubRefresh { .. } => "sub_refresh",
            Method::Pong | Method::Attributes | Method::Excessive => "",
        }
    }

    /// The channel that it is about; "" for none. Copied only if it has escapes.
    #[must_use]
    pub fn channel(&self) -> Cow<'a, str> {
        match self {
            Method::Subscribe(command) => command.channel.clone(),
            Method::Publish(command) => command.channel.clone(),
            Method::History(command) => command.channel.clone(),
            Method::Unsubscribe { channel }
            | Method::Presence { channel }
            | Method::PresenceStats { channel }
            | Method::SubRefresh { channel, .. } => channel.clone(),
            Method::Connect(_)
            | Method::Ping
            | Method::Send { .. }
            | Method::Rpc { .. }
            | Method::Refresh { .. }
            | Method::Pong
            | Method::Attributes
            | Method::Excessive
            | Method::ExcessiveConnect => Cow::Borrowed(""),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Connect<'a> {
    pub token: Cow<'a, str>,
    pub data: &'a [u8],
    pub name: Cow<'a, str>,
    pub version: Cow<'a, str>,
    /// Positions from which server-side subscriptions recover, by channel (`subs`).
    pub subs: Vec<Subscribe<'a>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Subscribe<'a> {
    pub channel: Cow<'a, str>,
    pub token: Cow<'a, str>,
    pub recover: bool,
    pub epoch: Cow<'a, str>,
    pub offset: u64,
    pub data: &'a [u8],
    pub positioned: bool,
    pub recoverable: bool,
    pub join_leave: bool,
    /// The kind of delta wanted, `fossil`; "" for none.
    pub delta: Cow<'a, str>,
    /// Only publications whose tags match (`tf`).
    pub filter: Option<FilterNode<'a>>,
    /// Channel type (`type`): other than 0 is a map or shared-poll subscription, answered 108.
    pub kind: i64,
    /// Bits for further requests (`flag`): `FLAG_NUMBER`, `FLAG_OR_REFUSED`. Others are ignored.
    pub flag: i64,
}

/// In a subscribe's `flag`: publications, joins and leaves may name the channel by the number in
/// the reply.
pub const FLAG_NUMBER: i64 = 1;
/// If a recovery is not possible, the subscribe is refused with 112, and the application reloads
/// its state (`getState` of the SDKs).
pub const FLAG_OR_REFUSED: i64 = 2;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Publish<'a> {
    pub channel: Cow<'a, str>,
    /// The payload as it was sent: the extent of a JSON or MessagePack value, or bytes.
    pub data: &'a [u8],
    /// Names and values that filters test, at most `limits::TAGS_PER_PUBLICATION`.
    pub tags: Vec<Tag<'a>>,
    /// The publisher's own subscription does not receive it.
    pub exclude_self: bool,
    /// A second publication with the same key is answered, but not published; "" for none.
    pub idempotency_key: Cow<'a, str>,
    /// It asks for something that this version does not have, answered 108: `type`, `key` and
    /// `removed` of maps, `prio`, `ttl_ms`, `audience`, `users` or `drop`.
    pub asks_more: bool,
}

/// A node of a filter over tags (`FilterNode`): a comparison, or a combination of nodes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FilterNode<'a> {
    /// "" for a comparison, else `and`, `or`, `not`.
    pub op: Cow<'a, str>,
    pub key: Cow<'a, str>,
    pub cmp: Cow<'a, str>,
    pub val: Cow<'a, str>,
    pub vals: Vec<Cow<'a, str>>,
    pub nodes: Vec<FilterNode<'a>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct History<'a> {
    pub channel: Cow<'a, str>,
    /// 0: only the position; below 0: everything that is kept.
    pub limit: i32,
    pub since: Option<(u64, Cow<'a, str>)>,
    pub reverse: bool,
}

/// Why a message cannot be read as commands. Each ends the connection with 3501.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// It breaks the codec's grammar.
    Malformed,
    /// Nested deeper than `limits::JSON_DEPTH` in the envelope.
    TooDeep,
    /// A field has a value of the wrong type.
    WrongType,
    /// An id without a method, or two methods.
    NoMethod,
}

/// An answer to a command, or a push.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply<'a> {
    Error {
        id: u32,
        error: ErrorCode,
    },
    Connect {
        id: u32,
        result: ConnectResult<'a>,
    },
    Subscribe {
        id: u32,
        result: SubscribeResult<'a>,
    },
    Unsubscribe {
        id: u32,
    },
    Publish {
        id: u32,
    },
    Presence {
        id: u32,
        clients: &'a [ClientInfo<'a>],
    },
    PresenceStats {
        id: u32,
        clients: u32,
        users: u32,
    },
    History {
        id: u32,
        result: HistoryResult<'a>,
    },
    Ping {
        id: u32,
    },
    Rpc {
        id: u32,
        /// In the receiver's codec; empty for none.
        data: &'a [u8],
    },
    Refresh {
        id: u32,
        result: RefreshResult<'a>,
    },
    SubRefresh {
        id: u32,
        expiry: Expiry,
    },
    Push {
        /// "" for a push that is about the connection.
        channel: &'a str,
        push: Push<'a>,
    },
    /// A publication, join or leave, for a receiver that uses the channel's number.
    NumberedPush {
        number: u32,
        push: Push<'a>,
    },
    /// The empty message: the server's ping.
    ServerPing,
}

/// How a push names its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named<'a> {
    /// In full; "" for a push that is about the connection.
    Name(&'a str),
    /// By the number, above 0, in the receiver's subscribe reply.
    Number(u32),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Push<'a> {
    Publication(Publication<'a>),
    Join(ClientInfo<'a>),
    Leave(ClientInfo<'a>),
    Unsubscribe {
        code: u32,
        reason: &'a str,
    },
    /// A server-side subscription has begun.
    Subscribe(PushSubscribe<'a>),
    /// A message to this connection only: a JSON value.
    Message {
        data: &'a [u8],
    },
    /// Sent before a close frame, only to connections of `corecast.v1.*`.
    Disconnect {
        code: u32,
        reason: &'a str,
        reconnect: bool,
    },
    /// The server has changed the connection's expiry.
    Refresh(Expiry),
}

impl<'a> Push<'a> {
    /// The content of a close frame. SDKs reconnect after codes below 3500, and 4000 to 4499.
    #[must_use]
    pub fn disconnect(code: u16, reason: &'a str) -> Push<'a> {
        let reconnect = code < 3500 || (4000..4500).contains(&code);
        Push::Disconnect { code: u32::from(code), reason, reconnect }
    }
}

/// When a connection or subscription with a token expires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expiry {
    pub expires: bool,
    /// Seconds left; 0 when it does not expire.
    pub ttl_s: u32,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConnectResult<'a> {
    pub client: &'a str,
    pub version: &'a str,
    pub expiry: Expiry,
    /// A JSON value for the client; empty for none.
    pub data: &'a [u8],
    /// Server-side subscriptions, by channel.
    pub subs: &'a [(&'a str, SubscribeResult<'a>)],
    /// Seconds between pings; 0 when there are none.
    pub ping_s: u32,
    /// Whether a pong is expected.
    pub pong: bool,
    pub session: &'a str,
    pub node: &'a str,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct RefreshResult<'a> {
    pub client: &'a str,
    pub version: &'a str,
    pub expiry: Expiry,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct SubscribeResult<'a> {
    pub expiry: Expiry,
    pub recoverable: bool,
    pub positioned: bool,
    pub epoch: &'a str,
    pub offset: u64,
    pub recovered: bool,
    pub was_recovering: bool,
    /// Publications on this subscription may be deltas.
    pub delta: bool,
    /// A JSON value for the subscriber; empty for none.
    pub data: &'a [u8],
    /// The number that pushes carry instead of the channel's name (`id`); 0 for none.
    pub number: u32,
    /// Interval that SDKs keep between two publications (`publish_debounce`); 0: none.
    pub debounce_ms: u32,
    pub publications: &'a [Publication<'a>],
}

/// The push that begins a server-side subscription.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PushSubscribe<'a> {
    pub recoverable: bool,
    pub positioned: bool,
    pub epoch: &'a str,
    pub offset: u64,
    pub data: &'a [u8],
}

#[derive(Clone, Debug, PartialEq)]
pub struct HistoryResult<'a> {
    pub publications: &'a [Publication<'a>],
    pub epoch: &'a str,
    pub offset: u64,
}

/// The client that published, joined, left or is present.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientInfo<'a> {
    pub user: Cow<'a, str>,
    pub client: Cow<'a, str>,
    /// The connection's info from its token (claim `info`), JSON; empty for none.
    pub conn_info: Cow<'a, [u8]>,
    /// The subscription's info from its token, JSON; empty for none.
    pub chan_info: Cow<'a, [u8]>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Publication<'a> {
    /// A JSON value without raw CR or LF, or bytes, as `payload` says.
    pub data: &'a [u8],
    pub payload: Payload,
    pub info: Option<ClientInfo<'a>>,
    /// 0 if the channel keeps no history.
    pub offset: u64,
    pub tags: Tags<'a>,
    /// `data` is a delta from the previous publication.
    pub delta: bool,
    /// The receiver applies deltas to the payload as it is kept, so it is sent exactly that, as a
    /// string in JSON and as bytes in the other codecs.
    pub verbatim: bool,
    /// Unix time in milliseconds; 0 for none.
    pub time_ms: u64,
}

listed! {
    /// Error codes of replies (Centrifugo's `errors.go`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum ErrorCode {
        Internal,
        Unauthorized,
        UnknownChannel,
        PermissionDenied,
        MethodNotFound,
        AlreadySubscribed,
        LimitExceeded,
        BadRequest,
        NotAvailable,
        TokenExpired,
        Expired,
        TooManyRequests,
        UnrecoverablePosition,
    }
}

impl ErrorCode {
    /// Number, message, and whether another attempt may succeed.
    #[must_use]
    pub const fn parts(self) -> (u32, &'static str, bool) {
        match self {
            ErrorCode::Internal => (100, "internal server error", true),
            ErrorCode::Unauthorized => (101, "unauthorized", false),
            ErrorCode::UnknownChannel => (102, "unknown channel", false),
            ErrorCode::PermissionDenied => (103, "permission denied", false),
            ErrorCode::MethodNotFound => (104, "method not found", false),
            ErrorCode::AlreadySubscribed => (105, "already subscribed", false),
            ErrorCode::LimitExceeded => (106, "limit exceeded", false),
            ErrorCode::BadRequest => (107, "bad request", false),
            ErrorCode::NotAvailable => (108, "not available", false),
            // A client may try again with another token. SDKs recognise that of connect and
            // subscribe by the number, of sub_refresh only by this flag.
            ErrorCode::TokenExpired => (109, "token expired", true),
            ErrorCode::Expired => (110, "expired", false),
            ErrorCode::TooManyRequests => (111, "too many requests", true),
            ErrorCode::UnrecoverablePosition => (112, "unrecoverable position", false),
        }
    }
}

listed! {
    /// Why the server ends a connection (Centrifugo's `disconnect.go`). SDKs reconnect after codes
    /// below 3500.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Disconnect {
        Shutdown,
        ServerError,
        Expired,
        Slow,
        InsufficientState,
        ForceReconnect,
        NoPong,
        InvalidToken,
        BadRequest,
        Stale,
        ForceNoReconnect,
        ChannelLimit,
        InappropriateProtocol,
        NotAvailable,
    }
}

impl Disconnect {
    /// The close frame's code and reason.
    #[must_use]
    pub const fn parts(self) -> (u16, &'static str) {
        match self {
            Disconnect::Shutdown => (3001, "shutdown"),
            Disconnect::ServerError => (3004, "internal server error"),
            Disconnect::Expired => (3005, "connection expired"),
            Disconnect::Slow => (3008, "slow"),
            Disconnect::InsufficientState => (3010, "insufficient state"),
            Disconnect::ForceReconnect => (3011, "force reconnect"),
            Disconnect::NoPong => (3012, "no pong"),
            Disconnect::InvalidToken => (3500, "invalid token"),
            Disconnect::BadRequest => (3501, "bad request"),
            Disconnect::Stale => (3502, "stale"),
            Disconnect::ForceNoReconnect => (3503, "force disconnect"),
            Disconnect::ChannelLimit => (3505, "channel limit"),
            Disconnect::InappropriateProtocol => (3506, "inappropriate protocol"),
            Disconnect::NotAvailable => (3508, "not available"),
        }
    }
}

/// Code and reason of the unsubscribe push with which the server ends a subscription for good.
pub const UNSUBSCRIBE_SERVER: (u32, &str) = (2000, "server unsubscribe");
/// Code and reason of the unsubscribe push after which SDKs subscribe again and recover.
pub const UNSUBSCRIBE_INSUFFICIENT: (u32, &str) = (2500, "insufficient state");
/// Code and reason of the unsubscribe push to a subscription whose token was not renewed in time.
pub const UNSUBSCRIBE_EXPIRED: (u32, &str) = (2501, "subscription expired");
