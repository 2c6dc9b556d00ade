//! Settings that are valid, but leave a server that cannot work or is open to everybody. `check`
//! prints them as warnings, and fails because of them with `--strict`.
//!
//! Invariant: none of them is an error, because each can be intended.

use super::Config;
use crate::namespace::{ChannelOptions, Who};

/// A shorter key can be guessed.
const KEY_BYTES: usize = 16;

impl Config {
    /// What to look at before going live, one line each; nothing with `--dev`, which is for trying
    /// things out.
    #[must_use]
    pub fn shortcomings(&self) -> Vec<String> {
        let mut said: Vec<&str> = Vec::new();
        if self.dev {
            return Vec::new();
        }
        match &self.api.key {
            None => said.push("api.key is not set: the server API refuses every call"),
            Some(key) if key.as_bytes().len() < KEY_BYTES => {
                said.push("api.key has fewer than 16 bytes: it can be guessed");
            }
            Some(_) => {}
        }
        if self.allowed_origins.listed.is_empty() {
            said.push(
                "allowed_origins is empty: browsers cannot connect, only clients that send no \
                 Origin",
            );
        }
        if self.internal_listen.is_none() {
            said.push(
                "internal_listen is not set: /api and /metrics are served where clients connect, \
                 protected only by api.key",
            );
        }
        if self.namespaces.named.is_empty() {
            said.push(
                "there is no [[namespace]]: channels with \":\" in their names are error 102",
            );
        }
        let named = self.namespaces.named.iter().map(|(_, options)| options);
        let mut all = named.chain(std::iter::once(&self.namespaces.unnamed));
        let closed = |options: &ChannelOptions| {
            options.allow_subscribe == Who::None && !options.allow_user_limited
        };
        if all.clone().all(closed) {
            said.push(
                "allow_subscribe is \"none\" everywhere: clients can subscribe only with a \
                 subscription token",
            );
        }
        if self.client.allow_anonymous && all.any(|it| it.allow_publish == Who::Anyone) {
            said.push(
                "client.allow_anonymous with allow_publish = \"anyone\": everybody who can reach \
                 the server may publish",
            );
        }
        said.into_iter().map(str::to_owned).collect()
    }
}
