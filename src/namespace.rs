//! What a channel's name allows: the options of its namespace.
//!
//! A leaf that config fills and edge and home read; it is immutable once the server has started.

/// Whether a feature of a subscription is off, given on request, or always on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    #[default]
    Off,
    Allow,
    Force,
}

impl Mode {
    /// Is it on for a subscription that did, or did not, ask for it?
    #[must_use]
    pub fn on(self, asked: bool) -> bool {
        match self {
            Mode::Off => false,
            Mode::Allow => asked,
            Mode::Force => true,
        }
    }
}

/// Who may do a thing in a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Who {
    /// Nobody but the server API.
    #[default]
    None,
    /// Connections subscribed to the channel.
    Subscriber,
    /// Connections with a user id.
    User,
    /// Every connection.
    Anyone,
}

/// What the payloads of a namespace are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Payload {
    /// A JSON value, or what says the same in MessagePack.
    #[default]
    Json,
    /// Bytes that mean nothing to the server.
    Binary,
}

/// Options of the channels of one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChannelOptions {
    /// Publications kept; 0 keeps none, and turns recovery and history off.
    pub history_size: u32,
    /// Seconds a channel's history is kept after its last publication; 0 keeps none.
    pub history_ttl_s: u32,
    pub presence: bool,
    /// What is published there; what is not of this kind is answered 107.
    pub payload: Payload,
    pub recovery: Mode,
    pub positioning: Mode,
    pub join_leave: Mode,
    pub allow_subscribe: Who,
    pub allow_publish: Who,
    pub allow_history: Who,
    pub allow_presence: Who,
}

impl ChannelOptions {
    /// Does a channel keep what was published?
    #[must_use]
    pub fn keeps_history(&self) -> bool {
        self.history_size > 0 && self.history_ttl_s > 0
    }
}

/// The namespaces of a server. A channel `chat:lobby` is in `chat`; a name without `:` has the
/// options of `[channel]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// Names without a namespace.
    pub unnamed: ChannelOptions,
    /// Namespaces by name; few, so a list serves.
    pub named: Vec<(String, ChannelOptions)>,
}

impl Namespaces {
    /// The options of a channel's namespace; none when the namespace is not configured (error 102).
    #[must_use]
    pub fn options(&self, channel: &str) -> Option<&ChannelOptions> {
        match channel.split_once(':') {
            None => Some(&self.unnamed),
            Some((namespace, _)) => {
                self.named.iter().find(|(name, _)| name == namespace).map(|(_, options)| options)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_finds_its_namespace() {
        let chat = ChannelOptions { presence: true, ..Default::default() };
        let namespaces =
            Namespaces { named: vec![("chat".into(), chat.clone())], ..Default::default() };
        assert_eq!(namespaces.options("chat:a:b"), Some(&chat));
        assert_eq!(namespaces.options("news"), Some(&ChannelOptions::default()));
        assert_eq!(namespaces.options("chats:a"), None);
        assert!(Mode::Force.on(false) && Mode::Allow.on(true) && !Mode::Off.on(true));
    }
}
