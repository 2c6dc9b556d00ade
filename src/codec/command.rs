//! The schema: what a client may ask and what it may be told, whatever the codec.
//!
//! Names and numbers are the Centrifuge protocol's (`client.proto`, errors and disconnect codes of
//! the incumbent), so unmodified SDKs understand them. Nothing here knows a codec, a socket or a
//! channel's state.

use std::borrow::Cow;

/// One command of a client. `id` 0 asks for no answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Command<'a> {
    pub id: u32,
    pub method: Method<'a>,
}

/// What a command asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Method<'a> {
    Connect(Connect<'a>),
    Subscribe(Subscribe<'a>),
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
    },
    /// The empty command: the SDKs' pong.
    Pong,
    /// Any command whose `data` nests deeper than `limits::JSON_DEPTH`: it is answered 107, and was
    /// otherwise not read as far as to be carried out.
    DataTooDeep,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Connect<'a> {
    pub token: Cow<'a, str>,
    pub data: &'a [u8],
    pub name: Cow<'a, str>,
    pub version: Cow<'a, str>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Subscribe<'a> {
    pub channel: Cow<'a, str>,
    pub token: Cow<'a, str>,
    pub recover: bool,
    pub epoch: Cow<'a, str>,
    pub offset: u64,
    pub positioned: bool,
    pub recoverable: bool,
    pub join_leave: bool,
    /// Channel type (`type`): other than 0 is a map or shared-poll subscription, answered 108.
    pub kind: i64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Publish<'a> {
    pub channel: Cow<'a, str>,
    /// The payload as it came: a JSON value's extent, or bytes.
    pub data: &'a [u8],
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct History<'a> {
    pub channel: Cow<'a, str>,
    /// 0: only the position; below 0: all that is kept.
    pub limit: i32,
    pub since: Option<(u64, Cow<'a, str>)>,
    pub reverse: bool,
}

/// Why a message cannot be read as commands. All of them end the connection with 3501.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Not of the codec's grammar.
    Malformed,
    /// Nested deeper than `limits::JSON_DEPTH` in the envelope.
    TooDeep,
    /// A field has a value of another type.
    WrongType,
    /// No method and an id, or two methods.
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
        data: &'a [u8],
    },
    Push {
        channel: &'a str,
        push: Push<'a>,
    },
    /// The empty message: the server's ping.
    ServerPing,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Push<'a> {
    Publication(Publication<'a>),
    Join(ClientInfo<'a>),
    Leave(ClientInfo<'a>),
    Unsubscribe { code: u32, reason: &'a str },
}

#[derive(Clone, Debug, PartialEq)]
pub struct ConnectResult<'a> {
    pub client: &'a str,
    pub version: &'a str,
    /// Seconds between pings; 0 when there are none.
    pub ping_s: u32,
    /// Whether a pong is expected.
    pub pong: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct SubscribeResult<'a> {
    pub recoverable: bool,
    pub positioned: bool,
    pub epoch: &'a str,
    pub offset: u64,
    pub recovered: bool,
    pub was_recovering: bool,
    pub publications: &'a [Publication<'a>],
}

#[derive(Clone, Debug, PartialEq)]
pub struct HistoryResult<'a> {
    pub publications: &'a [Publication<'a>],
    pub epoch: &'a str,
    pub offset: u64,
}

/// Who published, joined, left or is present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientInfo<'a> {
    pub user: Cow<'a, str>,
    pub client: Cow<'a, str>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Publication<'a> {
    /// A JSON value, with no raw CR or LF.
    pub data: &'a [u8],
    pub info: Option<ClientInfo<'a>>,
    /// 0 where the channel keeps no history.
    pub offset: u64,
}

/// Error codes of replies (the incumbent's `errors.go`).
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
    TooManyRequests,
    UnrecoverablePosition,
}

impl ErrorCode {
    /// Number, message, and whether trying again may help.
    #[must_use]
    pub fn parts(self) -> (u32, &'static str, bool) {
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
            ErrorCode::TokenExpired => (109, "token expired", false),
            ErrorCode::TooManyRequests => (111, "too many requests", true),
            ErrorCode::UnrecoverablePosition => (112, "unrecoverable position", false),
        }
    }
}

/// Why the server ends a connection (the incumbent's `disconnect.go`). Below 3500 the SDKs come
/// back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disconnect {
    Shutdown,
    ServerError,
    Slow,
    InsufficientState,
    ForceReconnect,
    NoPong,
    InvalidToken,
    BadRequest,
    Stale,
    ForceNoReconnect,
    InappropriateProtocol,
    NotAvailable,
}

impl Disconnect {
    /// The close frame's code and reason.
    #[must_use]
    pub fn parts(self) -> (u16, &'static str) {
        match self {
            Disconnect::Shutdown => (3001, "shutdown"),
            Disconnect::ServerError => (3004, "internal server error"),
            Disconnect::Slow => (3008, "slow"),
            Disconnect::InsufficientState => (3010, "insufficient state"),
            Disconnect::ForceReconnect => (3011, "force reconnect"),
            Disconnect::NoPong => (3012, "no pong"),
            Disconnect::InvalidToken => (3500, "invalid token"),
            Disconnect::BadRequest => (3501, "bad request"),
            Disconnect::Stale => (3502, "stale"),
            Disconnect::ForceNoReconnect => (3503, "force disconnect"),
            Disconnect::InappropriateProtocol => (3506, "inappropriate protocol"),
            Disconnect::NotAvailable => (3508, "not available"),
        }
    }
}

/// Code and reason of the unsubscribe push after which SDKs subscribe again and recover.
pub const UNSUBSCRIBE_INSUFFICIENT: (u32, &str) = (2500, "insufficient state");
