//! Names and numbers of the fields that these clients use, from the protocol's published schema.

/// The type of a field.
pub enum Kind {
    Number,
    Flag,
    Text,
    /// A JSON value.
    Value,
    Message(&'static [Field]),
    List(&'static [Field]),
    /// Messages by name.
    Map(&'static [Field]),
    /// Texts by name.
    Texts,
}

/// A field's name, number and kind.
pub type Field = (&'static str, u32, Kind);

use Kind::{Flag, List, Map, Message, Number, Text, Texts, Value};

pub static COMMAND: &[Field] = &[
    ("id", 1, Number),
    ("connect", 4, Message(&[("token", 1, Text), ("subs", 3, Map(SUBSCRIBE))])),
    ("subscribe", 5, Message(SUBSCRIBE)),
    ("unsubscribe", 6, Message(CHANNEL)),
    ("publish", 7, Message(PUBLISH)),
    ("presence", 8, Message(CHANNEL)),
    ("presence_stats", 9, Message(CHANNEL)),
    ("history", 10, Message(&[("channel", 1, Text), ("limit", 7, Number), ("since", 8, POSITION)])),
    ("rpc", 13, Message(&[("data", 1, Value), ("method", 2, Text)])),
];

static PUBLISH: &[Field] = &[
    ("channel", 1, Text),
    ("data", 2, Value),
    ("tags", 1000, Texts),
    ("exclude_self", 1003, Flag),
    ("idempotency_key", 1005, Text),
];
const POSITION: Kind = Message(&[("offset", 1, Number), ("epoch", 2, Text)]);
static CHANNEL: &[Field] = &[("channel", 1, Text)];
static SUBSCRIBE: &[Field] = &[
    ("channel", 1, Text),
    ("recover", 3, Flag),
    ("epoch", 6, Text),
    ("offset", 7, Number),
    ("tf", 13, Message(&[("key", 2, Text), ("cmp", 3, Text), ("val", 4, Text)])),
];

pub static REPLY: &[Field] = &[
    ("id", 1, Number),
    ("error", 2, Message(&[("code", 1, Number), ("message", 2, Text), ("temporary", 3, Flag)])),
    ("push", 4, Message(PUSH)),
    ("connect", 5, Message(CONNECTED)),
    ("subscribe", 6, Message(SUBSCRIBED)),
    ("unsubscribe", 7, Message(&[])),
    ("publish", 8, Message(&[])),
    ("presence", 9, Message(&[("presence", 1, Map(INFO))])),
    ("presence_stats", 10, Message(&[("num_clients", 1, Number), ("num_users", 2, Number)])),
    ("history", 11, Message(HISTORY)),
    ("rpc", 13, Message(&[("data", 1, Value)])),
];

static PUSH: &[Field] = &[
    ("channel", 2, Text),
    ("pub", 4, Message(PUBLICATION)),
    ("join", 5, Message(&[("info", 1, Message(INFO))])),
    ("leave", 6, Message(&[("info", 1, Message(INFO))])),
    ("unsubscribe", 7, Message(&[("code", 2, Number), ("reason", 3, Text)])),
    ("subscribe", 9, Message(BEGUN)),
    ("disconnect", 11, Message(DISCONNECT)),
];

static BEGUN: &[Field] = &[
    ("recoverable", 1, Flag),
    ("epoch", 4, Text),
    ("offset", 5, Number),
    ("positioned", 6, Flag),
    ("data", 7, Value),
];

static DISCONNECT: &[Field] = &[("code", 1, Number), ("reason", 2, Text), ("reconnect", 3, Flag)];

static CONNECTED: &[Field] = &[
    ("client", 1, Text),
    ("version", 2, Text),
    ("expires", 3, Flag),
    ("ttl", 4, Number),
    ("subs", 6, Map(SUBSCRIBED)),
    ("ping", 7, Number),
    ("pong", 8, Flag),
];

static SUBSCRIBED: &[Field] = &[
    ("expires", 1, Flag),
    ("ttl", 2, Number),
    ("recoverable", 3, Flag),
    ("epoch", 6, Text),
    ("publications", 7, List(PUBLICATION)),
    ("recovered", 8, Flag),
    ("offset", 9, Number),
    ("positioned", 10, Flag),
    ("was_recovering", 12, Flag),
];

static HISTORY: &[Field] =
    &[("publications", 1, List(PUBLICATION)), ("epoch", 2, Text), ("offset", 3, Number)];

static PUBLICATION: &[Field] = &[
    ("data", 4, Value),
    ("info", 5, Message(INFO)),
    ("offset", 6, Number),
    ("tags", 7, Texts),
    ("time", 9, Number),
];

static INFO: &[Field] =
    &[("user", 1, Text), ("client", 2, Text), ("conn_info", 3, Value), ("chan_info", 4, Value)];
