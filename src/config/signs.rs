//! The special characters in channel names.
//!
//! Invariant: those that are enabled differ from each other and from the characters allowed in a
//! namespace's name, and nothing is configured that needs a disabled one.

use super::check::Rules;
use super::raw::Raw;
use crate::namespace::{BETWEEN_USERS, ChannelOptions, Signs};

impl Rules {
    pub(super) fn signs(&mut self, raw: &Raw, named: &[(String, ChannelOptions)]) -> Signs {
        let signs = Signs {
            namespace: self.sign("namespace_separator", &raw.namespace_separator),
            private: self.sign("private_prefix", &raw.private_prefix),
            users: self.sign("user_limited_separator", &raw.user_limited_separator),
        };
        let table = [
            ("namespace_separator", signs.namespace),
            ("private_prefix", signs.private),
            ("user_limited_separator", signs.users),
        ];
        for (index, (key, sign)) in table.iter().enumerate() {
            let same = |(_, other): &&(&str, Option<char>)| sign.is_some() && sign == other;
            if let Some((other, _)) = table[..index].iter().find(same) {
                self.relation(format!("{other}, {key}"), "must be different characters");
            }
        }
        if raw.namespace_separator.is_empty() && !named.is_empty() {
            let rule = "there can be no namespaces without a separator: set one, or leave out \
                        every [[namespace]]";
            self.relation("namespace_separator, namespace", rule);
        }
        if raw.user_limited_separator.is_empty() {
            if raw.client.user_personal_channel != "off" {
                let rule = "personal channels need a separator";
                self.relation("user_limited_separator, client.user_personal_channel", rule);
            }
            let all = std::iter::once(("channel", &raw.channel))
                .chain(named.iter().map(|(name, options)| (name.as_str(), options)));
            for (name, _) in all.filter(|(_, options)| options.allow_user_limited) {
                let rule = "has no effect without a separator";
                self.relation(format!("user_limited_separator, {name}: allow_user_limited"), rule);
            }
        }
        signs
    }

    fn sign(&mut self, key: &str, text: &str) -> Option<char> {
        let mut signs = text.chars();
        let sign = signs.next()?;
        let is_letter = sign.is_alphanumeric() || "-_.".contains(sign);
        let is_blank = sign.is_whitespace() || sign.is_control();
        if signs.next().is_some() || is_letter || is_blank || sign == BETWEEN_USERS {
            let rule = "must be one character that is not a letter, digit, space, \"-\", \"_\", \
                        \".\" or \",\"; or \"\" for none";
            self.wrong(key, rule);
        }
        Some(sign)
    }
}
