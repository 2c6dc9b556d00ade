//! Keys of Centrifugo's configuration that a user may paste, and what they are called in Corecast.
//!
//! Must not know values: a pasted file is refused, and each message says where its key belongs.

/// Keys of Centrifugo, of version 6 or before, and what to write instead. A longer key comes before
/// its own prefix.
const KEYS: &[(&str, &str)] = &[
    ("admin", "nothing: there is no admin page"),
    ("address", "listen"),
    ("allow_anonymous_connect_without_token", "client.allow_anonymous"),
    ("api_insecure", "nothing: every call takes api.key"),
    ("api_key", "api.key"),
    ("broker", "engine = \"redis\""),
    ("channel.namespace_boundary", "namespace_separator"),
    ("channel.namespaces", "[[namespace]]"),
    ("channel.private_prefix", "private_prefix"),
    ("channel.user_boundary", "user_limited_separator"),
    ("channel.without_namespace", "[channel]"),
    ("client.allow_anonymous_connect_without_token", "client.allow_anonymous"),
    ("client.allowed_origins", "allowed_origins"),
    ("client.channel_limit", "limits.channels_per_connection"),
    ("client.insecure", "client.allow_anonymous"),
    ("client.queue_max_size", "limits.backlog_bytes"),
    ("client.token.audience", "client.token_audience"),
    ("client.token.ecdsa_public_key", "client.token_ecdsa_public_key"),
    ("client.token.hmac_secret_key", "client.token_hmac_secret"),
    ("client.token.issuer", "client.token_issuer"),
    ("client.token.jwks_public_endpoint", "client.token_jwks_file"),
    ("client.token.rsa_public_key", "client.token_rsa_public_key"),
    ("client_insecure", "client.allow_anonymous"),
    ("engine.type", "engine"),
    ("engine.redis.address", "redis.url"),
    ("engine.redis.prefix", "redis.prefix"),
    ("health", "nothing: /health is always served"),
    ("http_api.key", "api.key"),
    ("http_server.address", "listen"),
    ("http_server.internal_address", "internal_listen"),
    ("http_server.internal_port", "internal_listen"),
    ("http_server.port", "listen"),
    ("log_level", "log.level"),
    ("namespaces", "[[namespace]]"),
    ("port", "listen"),
    ("prometheus", "nothing: /metrics is always served"),
    ("redis_address", "redis.url"),
    ("token_audience", "client.token_audience"),
    ("token_ecdsa_public_key", "client.token_ecdsa_public_key"),
    ("token_hmac_secret_key", "client.token_hmac_secret"),
    ("token_issuer", "client.token_issuer"),
    ("token_rsa_public_key", "client.token_rsa_public_key"),
];

/// Options of Centrifugo's namespaces.
const OPTIONS: &[(&str, &str)] = &[
    ("allow_history_for_anonymous", "allow_history = \"anyone\""),
    ("allow_history_for_client", "allow_history = \"user\""),
    ("allow_history_for_subscriber", "allow_history = \"subscriber\""),
    ("allow_presence_for_anonymous", "allow_presence = \"anyone\""),
    ("allow_presence_for_client", "allow_presence = \"user\""),
    ("allow_presence_for_subscriber", "allow_presence = \"subscriber\""),
    ("allow_publish_for_anonymous", "allow_publish = \"anyone\""),
    ("allow_publish_for_client", "allow_publish = \"user\""),
    ("allow_publish_for_subscriber", "allow_publish = \"subscriber\""),
    ("allow_subscribe_for_anonymous", "allow_subscribe = \"anyone\""),
    ("allow_subscribe_for_client", "allow_subscribe = \"user\""),
    ("allow_positioning", "positioning = \"allow\""),
    ("allow_recovery", "recovery = \"allow\""),
    ("allow_user_limited_channels", "allow_user_limited"),
    ("allowed_delta_types", "delta"),
    ("force_positioning", "positioning = \"force\""),
    ("force_push_join_leave", "join_leave = \"force\""),
    ("force_recovery", "recovery = \"force\""),
    ("force_recovery_mode", "recovery_mode"),
    ("history_meta_ttl", "history_meta_ttl_s, in seconds"),
    ("history_ttl", "history_ttl_s, in seconds"),
];

/// The Corecast name of a key of Centrifugo.
#[must_use]
pub fn key(theirs: &str) -> Option<&'static str> {
    KEYS.iter().find(|(known, _)| *known == theirs).map(|(_, ours)| *ours)
}

/// The Corecast name of a namespace option of Centrifugo.
#[must_use]
pub fn option(theirs: &str) -> Option<&'static str> {
    OPTIONS.iter().find(|(known, _)| *known == theirs).map(|(_, ours)| *ours)
}

/// Is this a section of Centrifugo's configuration?
#[must_use]
pub fn has_section(section: &str) -> bool {
    KEYS.iter()
        .any(|(known, _)| known.strip_prefix(section).is_some_and(|rest| rest.starts_with('.')))
}
