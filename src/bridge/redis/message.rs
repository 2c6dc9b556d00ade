//! What nodes leave for each other in Redis: requests and answers, in their form for the wire.
//!
//! Must not know how a message travels. Invariant: fields are named, those that a reader does not
//! know are skipped, and those that are missing are empty, so that versions can mix.

use crate::contract::name::Name;
use crate::contract::position::{Epoch, Since};
use crate::contract::user::{
    Overrides, Selection, ServerSubscription, SharedCommand, UserAction, UserCommand,
};
use serde::{Deserialize, Serialize};

/// A message from one node to another.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Message {
    /// The node that sends it, in 32 digits.
    pub from: String,
    /// Counts the messages of that node; a later one has a higher number.
    pub number: u64,
    /// The number of the question at the node that asks; its answer has the same.
    pub question: u64,
    /// Nobody waits for an answer after it: milliseconds of Unix time by Redis' clock.
    pub deadline_ms: u64,
    /// What is asked. One that a reader does not know cannot be read, and is answered by nobody.
    pub ask: Option<Ask>,
    /// What is answered.
    pub answer: Option<Reply>,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Ask {
    /// Carry out a command on the connections of a user.
    User { user: String, command: Command },
    /// List channels whose names match; "" for all.
    Channels { pattern: String },
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    Done { took_effect: bool },
    Channels(Part),
}

/// A part of a list of channels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Part {
    /// Counts the parts of one node's answer.
    pub number: u32,
    pub is_last: bool,
    /// There are more than may be answered; then it is the last.
    pub is_too_large: bool,
    /// With the number of their subscriptions.
    pub channels: Vec<(String, u32)>,
}

/// A command in its form for the wire.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Command {
    client: String,
    whitelist: Vec<String>,
    action: Option<Action>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Action {
    Subscribe(Subscribe),
    Unsubscribe { channel: String, code: u32, reason: String },
    Disconnect { code: u16, reason: String },
    Refresh { expire_at_s: Option<u64>, info: String },
    Send { data: String },
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Subscribe {
    channel: String,
    info: String,
    data: String,
    presence: Option<bool>,
    join_leave: Option<bool>,
    force_push_join_leave: Option<bool>,
    recover: Option<bool>,
    position: Option<bool>,
    since_offset: Option<u64>,
    since_epoch: Option<u64>,
    expire_at_s: Option<u64>,
}

impl Message {
    #[must_use]
    pub fn encoded(&self) -> Vec<u8> {
        let data = rmp_serde::to_vec_named(self).unwrap_or_default();
        debug_assert!(!data.is_empty(), "{self:?}");
        data
    }

    /// None where it cannot be read.
    #[must_use]
    pub fn decoded(data: &[u8]) -> Option<Message> {
        rmp_serde::from_slice(data).ok()
    }
}

/// JSON is text.
fn text(json: &[u8]) -> String {
    String::from_utf8_lossy(json).into_owned()
}

impl From<&UserCommand> for Command {
    fn from(command: &UserCommand) -> Command {
        let UserCommand { selection: Selection { client, whitelist }, action } = command;
        let action = match action {
            UserAction::Subscribe { subscription, since, expire_at_s } => {
                let ServerSubscription { channel, info, data, overrides } = subscription;
                Action::Subscribe(Subscribe {
                    channel: channel.as_str().to_owned(),
                    info: text(info),
                    data: text(data),
                    presence: overrides.presence,
                    join_leave: overrides.join_leave,
                    force_push_join_leave: overrides.force_push_join_leave,
                    recover: overrides.recover,
                    position: overrides.position,
                    since_offset: since.map(|since| since.offset),
                    since_epoch: since.and_then(|since| since.epoch).map(|epoch| epoch.0),
                    expire_at_s: *expire_at_s,
                })
            }
            UserAction::Unsubscribe { channel, code, reason } => Action::Unsubscribe {
                channel: channel.as_str().to_owned(),
                code: *code,
                reason: reason.to_string(),
            },
            UserAction::Disconnect { code, reason } => {
                Action::Disconnect { code: *code, reason: reason.to_string() }
            }
            UserAction::Refresh { expire_at_s, info } => {
                Action::Refresh { expire_at_s: *expire_at_s, info: text(info) }
            }
            UserAction::Send { data } => Action::Send { data: text(data) },
        };
        let whitelist = whitelist.iter().map(ToString::to_string).collect();
        Command { client: client.to_string(), whitelist, action: Some(action) }
    }
}

impl Command {
    /// The command itself; none without an action.
    #[must_use]
    pub fn command(self) -> Option<SharedCommand> {
        let json = |text: String| text.into_bytes().into_boxed_slice();
        let action = match self.action? {
            Action::Subscribe(it) => {
                let subscription = ServerSubscription {
                    channel: Name::from(it.channel.as_str()),
                    info: json(it.info),
                    data: json(it.data),
                    overrides: Overrides {
                        presence: it.presence,
                        join_leave: it.join_leave,
                        force_push_join_leave: it.force_push_join_leave,
                        recover: it.recover,
                        position: it.position,
                    },
                };
                let epoch = it.since_epoch.map(Epoch);
                let since = it.since_offset.map(|offset| Since { epoch, offset });
                UserAction::Subscribe { subscription, since, expire_at_s: it.expire_at_s }
            }
            Action::Unsubscribe { channel, code, reason } => {
                let channel = Name::from(channel.as_str());
                UserAction::Unsubscribe { channel, code, reason: reason.into() }
            }
            Action::Disconnect { code, reason } => {
                UserAction::Disconnect { code, reason: reason.into() }
            }
            Action::Refresh { expire_at_s, info } => {
                UserAction::Refresh { expire_at_s, info: json(info) }
            }
            Action::Send { data } => UserAction::Send { data: json(data) },
        };
        let whitelist = self.whitelist.into_iter().map(Into::into).collect();
        let selection = Selection { client: self.client.into(), whitelist };
        Some(SharedCommand::from(UserCommand { selection, action }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(action: UserAction) {
        let whitelist = [Box::from("b"), Box::from("c")].into();
        let command =
            UserCommand { selection: Selection { client: "a".into(), whitelist }, action };
        let ask = Ask::User { user: "u".into(), command: Command::from(&command) };
        let message = Message {
            from: "f".into(),
            number: 7,
            question: 3,
            deadline_ms: 9,
            ask: Some(ask),
            answer: None,
        };
        let read = Message::decoded(&message.encoded()).expect("what was written");
        assert_eq!(read, message);
        let Some(Ask::User { command: read, .. }) = read.ask else { panic!("{read:?}") };
        assert_eq!(read.command(), Some(SharedCommand::from(command)));
    }

    #[test]
    fn commands_are_read_as_they_were_written() {
        let subscription = ServerSubscription {
            channel: "ch".into(),
            info: b"{}".as_slice().into(),
            data: "\"\u{e9}\"".as_bytes().into(),
            overrides: Overrides {
                presence: Some(true),
                join_leave: Some(false),
                force_push_join_leave: None,
                recover: Some(true),
                position: None,
            },
        };
        let since = Some(Since { epoch: Some(Epoch(5)), offset: 6 });
        there_and_back(UserAction::Subscribe { subscription, since, expire_at_s: Some(1) });
        let (code, reason) = (2_000, "r".into());
        there_and_back(UserAction::Unsubscribe { channel: "ch".into(), code, reason });
        there_and_back(UserAction::Disconnect { code: 4_000, reason: "r".into() });
        there_and_back(UserAction::Refresh { expire_at_s: None, info: b"1".as_slice().into() });
        there_and_back(UserAction::Send { data: b"[]".as_slice().into() });
    }

    #[test]
    fn lists_are_read_as_they_were_written() {
        let ask =
            Message { ask: Some(Ask::Channels { pattern: "a*".into() }), ..Message::default() };
        let channels = vec![("a\u{e9}\n\"".into(), u32::MAX), (String::new(), 0)];
        let part = Part { number: 3, is_last: true, is_too_large: false, channels };
        let answer = Message { answer: Some(Reply::Channels(part)), ..Message::default() };
        for message in [ask, answer] {
            assert_eq!(Message::decoded(&message.encoded()), Some(message));
        }
    }

    /// A list that claims more than comes takes no memory for it.
    #[test]
    fn a_list_that_is_cut_or_broken_is_none() {
        let channels = (0..20).map(|number| (format!("c{number}"), number)).collect();
        let part = Part { channels, ..Part::default() };
        let answer = Some(Reply::Channels(part));
        let bytes = Message { answer, ..Message::default() }.encoded();
        for end in 0..bytes.len() {
            assert_eq!(Message::decoded(&bytes[..end]), None, "{end}");
        }
        let at = bytes.iter().position(|byte| *byte == 0xdc).expect("an array of 16 bits");
        let claimed = [&bytes[..at], b"\xdd\xff\xff\xff\xff", &bytes[at + 3..]].concat();
        assert_eq!(Message::decoded(&claimed), None);
        for place in 0..bytes.len() {
            for byte in [0, 0x7f, 0x80, 0xc0, 0xc1, 0xff] {
                let mut broken = bytes.clone();
                broken[place] = byte;
                let _ = Message::decoded(&broken);
            }
        }
    }

    #[test]
    fn an_ask_of_a_newer_version_is_not_read() {
        #[derive(Serialize)]
        enum Newer {
            Later { what: u8 },
        }
        #[derive(Serialize)]
        struct Asking {
            number: u64,
            ask: Newer,
        }
        let data = rmp_serde::to_vec_named(&Asking { number: 4, ask: Newer::Later { what: 1 } });
        assert_eq!(Message::decoded(&data.expect("bytes")), None);
    }

    #[test]
    fn a_newer_message_is_read_and_an_older_one_too() {
        #[derive(Serialize)]
        struct Newer {
            later: [u8; 2],
            number: u64,
        }
        let data = rmp_serde::to_vec_named(&Newer { later: [1, 2], number: 4 }).expect("bytes");
        let read = Message::decoded(&data).expect("a field more, and fewer");
        assert_eq!(read, Message { number: 4, ..Message::default() });
        assert_eq!(Message::decoded(b"\xc1"), None);
        assert_eq!(Command::default().command(), None);
    }
}
