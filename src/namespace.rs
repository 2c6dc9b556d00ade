//! What a channel's name allows: the options of its namespace.
//!
//! A leaf: config fills it, edge and home read it, and it never changes once the server has
//! started.

use regex::{Regex, RegexBuilder};

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
    /// Is it on for a subscription that asked for it, or did not?
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
    /// Only the server API.
    #[default]
    None,
    /// Connections subscribed to the channel.
    Subscriber,
    /// Connections with a user id.
    User,
    /// Every connection.
    Anyone,
}

/// How a publication may be shortened to the difference from the previous one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Delta {
    #[default]
    Off,
    /// By Fossil's delta format.
    Fossil,
}

/// What the payloads of a namespace are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Payload {
    /// A JSON value, or its equivalent in MessagePack.
    #[default]
    Json,
    /// Bytes that the server does not interpret.
    Binary,
}

/// What a recovery returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RecoveryMode {
    /// Everything that was missed, or nothing.
    #[default]
    Stream,
    /// The last publication, to every subscriber that does not have it.
    Cache,
}

/// Seconds for which a channel's numbering is kept when it has neither history nor subscribers; 0
/// keeps none. 30 days by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(transparent)]
pub struct MetaTtl(pub u32);

impl Default for MetaTtl {
    fn default() -> MetaTtl {
        MetaTtl(30 * 24 * 3_600)
    }
}

/// Options of the channels of one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChannelOptions {
    /// Publications kept; 0 keeps none, and disables recovery and history.
    pub history_size: u32,
    /// Seconds a channel's history is kept after its last publication; 0 keeps none.
    pub history_ttl_s: u32,
    /// Seconds a channel's numbering is kept when it has neither history nor subscribers.
    pub history_meta_ttl_s: MetaTtl,
    pub presence: bool,
    /// Form of the payloads; a payload of another form is answered 107.
    pub payload: Payload,
    pub recovery: Mode,
    /// What is recovered where `recovery` is on.
    pub recovery_mode: RecoveryMode,
    pub positioning: Mode,
    pub join_leave: Mode,
    pub allow_subscribe: Who,
    pub allow_publish: Who,
    pub allow_history: Who,
    pub allow_presence: Who,
    /// Subscribers may ask for publications with certain tags only.
    pub allow_tags_filter: bool,
    /// SDKs send at most one publication of a subscription in this many milliseconds, the latest;
    /// 0: all. The value is sent to SDKs and not enforced.
    pub publish_debounce_ms: u32,
    /// Subscribers may ask for only the difference from the previous publication.
    pub delta: Delta,
    /// Users listed in a channel's name, after `#`, may subscribe whatever `allow_subscribe` says.
    pub allow_user_limited: bool,
    /// Pattern that channel names must match, without the namespace; "" matches everything.
    pub channel_regex: String,
}

impl ChannelOptions {
    /// Does a channel keep what was published?
    #[must_use]
    pub fn keeps_history(&self) -> bool {
        self.history_size > 0 && self.history_ttl_s > 0
    }
}

/// The separator between the users in a channel's name.
pub const BETWEEN_USERS: char = ',';
/// Namespaces with metrics of their own; the last of them counts for all that follow.
pub const NAMESPACES_COUNTED: usize = 64;
/// Most memory of a compiled `channel_regex`, in bytes.
const REGEX_BYTES: usize = 1 << 20;

/// A pattern that a namespace's channel names must match.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// # Errors
    /// If it is not a regular expression, or would take too much memory.
    pub fn new(text: &str) -> Result<Pattern, regex::Error> {
        RegexBuilder::new(text).size_limit(REGEX_BYTES).build().map(Pattern)
    }
}

impl Eq for Pattern {}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

/// The special characters in channel names. Without one, that character has no meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signs {
    /// Separates a namespace from the rest of the name.
    pub namespace: Option<char>,
    /// The first character of channels whose subscribers need a token.
    pub private: Option<char>,
    /// Separates a channel's name from the users that it is reserved for.
    pub users: Option<char>,
}

impl Default for Signs {
    fn default() -> Signs {
        Signs { namespace: Some(':'), private: Some('$'), users: Some('#') }
    }
}

impl Signs {
    /// A channel's namespace, and the rest of its name. The user ids after the users' separator may
    /// contain the namespace separator.
    fn split(self, channel: &str) -> (Option<&str>, &str) {
        let unprefixed = self.private.and_then(|sign| channel.strip_prefix(sign));
        let name = unprefixed.unwrap_or(channel);
        match self.namespace.and_then(|sign| name.split_once(sign)) {
            Some((namespace, _)) if self.users.is_some_and(|sign| namespace.contains(sign)) => {
                (None, name)
            }
            Some((namespace, rest)) => (Some(namespace), rest),
            None => (None, name),
        }
    }
}

/// The channels that every user is subscribed to at connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Personal {
    #[default]
    Off,
    /// `#USER`.
    Unnamed,
    /// `NAMESPACE:#USER`.
    Named(String),
}

/// Why a channel's name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// Its namespace is not configured: error 102.
    UnknownNamespace,
    /// It contains a control character, or does not match its namespace's `channel_regex`: error
    /// 107.
    NotAName,
}

/// The namespaces of a server. The channels `chat:lobby` and `$chat:lobby` are in `chat`; a name
/// without `:` has the options of `[channel]`. All three characters can be configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// Names without a namespace.
    pub unnamed: ChannelOptions,
    /// Namespaces by name. There are few, so a list is enough.
    pub named: Vec<(String, ChannelOptions)>,
    /// Patterns of channel names by namespace, "" for `[channel]`.
    pub patterns: Vec<(String, Pattern)>,
    pub personal: Personal,
    pub signs: Signs,
}

impl Namespaces {
    /// The options of a channel's namespace; `None` if the namespace is not configured (error 102).
    #[must_use]
    pub fn options(&self, channel: &str) -> Option<&ChannelOptions> {
        match self.signs.split(channel) {
            (None, _) => Some(&self.unnamed),
            (Some(namespace), _) => {
                self.named.iter().find(|(name, _)| name == namespace).map(|(_, options)| options)
            }
        }
    }

    /// The same, after checking the name.
    ///
    /// # Errors
    /// If the name is not valid, or its namespace is not configured.
    pub fn channel(&self, channel: &str) -> Result<&ChannelOptions, NameError> {
        let options = self.options(channel).ok_or(NameError::UnknownNamespace)?;
        if channel.chars().any(char::is_control) {
            return Err(NameError::NotAName);
        }
        let (namespace, rest) = self.signs.split(channel);
        let namespace = namespace.unwrap_or("");
        let pattern = self.patterns.iter().find(|(name, _)| name == namespace);
        match pattern {
            Some((_, Pattern(pattern))) if !pattern.is_match(rest) => Err(NameError::NotAName),
            _ => Ok(options),
        }
    }

    /// The index of a channel's namespace in the names that `counted` returns.
    #[must_use]
    pub fn counted_at(&self, channel: &str) -> u8 {
        let named = self.signs.split(channel).0;
        let at = named.and_then(|named| self.named.iter().position(|(name, _)| name == named));
        let place = at.map_or(0, |at| at + 1).min(NAMESPACES_COUNTED - 1);
        u8::try_from(place).expect("few are counted")
    }

    /// The namespaces' names in the metrics: "" for `[channel]`, then the named ones, and "other"
    /// for those over the limit.
    #[must_use]
    pub fn counted(&self) -> Vec<&str> {
        let named = self.named.iter().map(|(name, _)| name.as_str());
        let mut names: Vec<&str> = std::iter::once("").chain(named).collect();
        if names.len() > NAMESPACES_COUNTED {
            names.truncate(NAMESPACES_COUNTED - 1);
            names.push("other");
        }
        names
    }

    /// The namespace in a channel's name, configured or not.
    #[must_use]
    pub fn namespace_of<'a>(&self, channel: &'a str) -> Option<&'a str> {
        self.signs.split(channel).0
    }

    /// The user's personal channel, if they are enabled. `Err`: the user's id cannot be part of a
    /// channel's name, because it would be read as the ids of other users.
    pub fn personal_channel(&self, user: &str) -> Result<Option<String>, NameError> {
        let Some(sign) = self.signs.users else { return Ok(None) };
        let namespace = match &self.personal {
            Personal::Off => return Ok(None),
            Personal::Unnamed => "",
            Personal::Named(namespace) => namespace,
        };
        if user.contains([sign, BETWEEN_USERS]) {
            return Err(NameError::NotAName);
        }
        let mut channel = String::from(namespace);
        channel.extend(self.signs.namespace.filter(|_| !namespace.is_empty()));
        channel.push(sign);
        channel.push_str(user);
        Ok(Some(channel))
    }

    /// Do subscribers to the channel need a token?
    #[must_use]
    pub fn is_private(&self, channel: &str) -> bool {
        self.signs.private.is_some_and(|sign| channel.starts_with(sign))
    }

    /// May this user (`None`: anonymous) use the reserved channel? `None` if it is not reserved.
    #[must_use]
    pub fn is_listed(&self, channel: &str, user: Option<&str>) -> Option<bool> {
        let (_, users) = channel.rsplit_once(self.signs.users?)?;
        Some(user.is_some_and(|user| users.split(BETWEEN_USERS).any(|listed| listed == user)))
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
        assert_eq!(namespaces.options("$chat:a"), Some(&chat));
        assert_eq!(namespaces.options("chat:#a:b"), Some(&chat));
        assert_eq!(namespaces.options("#a:b"), Some(&ChannelOptions::default()));
        assert_eq!(namespaces.options("news"), Some(&ChannelOptions::default()));
        for unknown in ["chats:a", ":a", "$:a", "$$chat:a", "chat :a"] {
            assert_eq!(namespaces.channel(unknown), Err(NameError::UnknownNamespace), "{unknown}");
        }
        assert!(Mode::Force.on(false) && Mode::Allow.on(true) && !Mode::Off.on(true));
    }

    #[test]
    fn a_pattern_is_asked_about_the_rest_of_a_name() {
        let pattern = |text| Pattern::new(text).expect("it is one");
        let namespaces = Namespaces {
            named: vec![("n".into(), ChannelOptions::default())],
            patterns: vec![("n".into(), pattern("^[0-9]+$")), (String::new(), pattern("^a"))],
            ..Default::default()
        };
        let table =
            [("n:12", true), ("$n:1", true), ("n:x", false), ("n:", false), ("n:1:2", false)];
        for (name, good) in table {
            assert_eq!(namespaces.channel(name).is_ok(), good, "{name}");
        }
        assert!(namespaces.channel("abc").is_ok() && namespaces.channel("$abc").is_ok());
        assert_eq!(namespaces.channel("bc"), Err(NameError::NotAName));
        for text in ["(", "a{1000}{1000}{1000}"] {
            assert!(Pattern::new(text).is_err(), "{text}");
        }
        let free = Namespaces::default();
        for name in ["a\nb", "a\0", "\u{7f}", "\u{85}"] {
            assert_eq!(free.channel(name), Err(NameError::NotAName), "{name:?}");
        }
        assert!(free.channel("Ünï côde/*").is_ok());
    }

    #[test]
    fn few_namespaces_are_counted_apart() {
        let named: Vec<_> =
            (0..100).map(|number| (format!("n{number}"), ChannelOptions::default())).collect();
        let mut namespaces = Namespaces { named, ..Namespaces::default() };
        let told = |namespaces: &Namespaces, channel| {
            namespaces.counted()[usize::from(namespaces.counted_at(channel))].to_owned()
        };
        for (channel, name) in
            [("a", ""), ("n0:a", "n0"), ("n61:a", "n61"), ("n62:a", "other"), ("$n99:a", "other")]
        {
            assert_eq!(told(&namespaces, channel), name, "{channel}");
        }
        assert_eq!(namespaces.counted().len(), NAMESPACES_COUNTED);
        namespaces.named.truncate(NAMESPACES_COUNTED - 1);
        assert_eq!(told(&namespaces, "n62:a"), "n62", "as many as are told apart");
    }

    #[test]
    fn users_stand_behind_the_last_boundary() {
        let table = [
            ("a", Some("al"), None),
            ("a#al", Some("al"), Some(true)),
            ("n:a#al,bo", Some("bo"), Some(true)),
            ("a#al,bo", Some("a"), Some(false)),
            ("a#al,bo", Some("al,bo"), Some(false)),
            ("a#al", None, Some(false)),
            ("a#", None, Some(false)),
            ("a#al#bo", Some("al"), Some(false)),
            ("a#al#bo", Some("bo"), Some(true)),
        ];
        let namespaces = Namespaces::default();
        for (channel, user, listed) in table {
            assert_eq!(namespaces.is_listed(channel, user), listed, "{channel} {user:?}");
        }
    }

    #[test]
    fn signs_may_be_others_or_none() {
        let chat = ChannelOptions { presence: true, ..Default::default() };
        let with = |signs| Namespaces {
            named: vec![("chat".into(), chat.clone())],
            personal: Personal::Named("chat".into()),
            signs,
            ..Default::default()
        };
        let others = Signs { namespace: Some('/'), private: Some('!'), users: Some('@') };
        let namespaces = with(others);
        let inside = ["chat/a", "!chat/a", "chat/#general", "chat/a:b", "chat/@al", "chat/$x"];
        for name in inside {
            assert_eq!(namespaces.options(name), Some(&chat), "{name}");
        }
        for name in ["chat:a", "$chat", "#al", "@chat/a", "!a"] {
            assert_eq!(namespaces.options(name), Some(&ChannelOptions::default()), "{name}");
        }
        assert!(namespaces.is_private("!a") && !namespaces.is_private("$a"));
        assert_eq!(namespaces.is_listed("chat/a#al", Some("bo")), None);
        assert_eq!(namespaces.is_listed("chat/a@al", Some("bo")), Some(false));
        assert_eq!(namespaces.personal_channel("a#l"), Ok(Some("chat/@a#l".into())));
        assert_eq!(namespaces.personal_channel("a@l"), Err(NameError::NotAName));

        let none = with(Signs { namespace: None, private: None, users: None });
        for name in ["chat:a", "$chat:a", "chat:#general", "#al"] {
            assert_eq!(none.options(name), Some(&ChannelOptions::default()), "{name}");
            assert!(!none.is_private(name) && none.is_listed(name, None).is_none(), "{name}");
        }
        assert_eq!(none.personal_channel("al"), Ok(None));
    }

    #[test]
    fn a_personal_channel_is_for_one_user() {
        let of =
            |personal, user| Namespaces { personal, ..Default::default() }.personal_channel(user);
        assert_eq!(of(Personal::Off, "al"), Ok(None));
        assert_eq!(of(Personal::Unnamed, "al"), Ok(Some("#al".into())));
        assert_eq!(of(Personal::Named("me".into()), "a:l"), Ok(Some("me:#a:l".into())));
        for user in ["al,bo", "al#bo"] {
            assert_eq!(of(Personal::Unnamed, user), Err(NameError::NotAName), "{user}");
        }
    }
}
