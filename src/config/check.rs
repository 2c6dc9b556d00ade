//! Checks every value, and values against each other: the merged text becomes `Config`, or a list
//! of mistakes.

use super::error::{ConfigError, Origin};
use super::listen::Listen;
use super::merge::Merged;
use super::raw::{Raw, dev_namespaces};
use super::{Api, Client, Config, Secret, cpus};
use crate::http::forwarded::Trusted;
use crate::http::origin::{Listed, Origins};
use crate::http::routes;
use crate::limits::{Limits, PUBLISH_DEBOUNCE_MS, WORKERS};
use crate::namespace::{ChannelOptions, Mode, Namespaces, Pattern, Personal, RecoveryMode, Signs};

/// Most connections of one worker: slots are numbered in 24 bits.
pub const CONNECTIONS_MAX: u32 = (1 << 24) - 1;

/// Checks everything, so that one run reports every mistake.
///
/// # Errors
/// Every rule that is broken.
pub fn check(mut merged: Merged, dev: bool) -> Result<Config, Vec<ConfigError>> {
    // If a file could not be read, checking the rest would report mistakes that are not there.
    let unread = |error: &ConfigError| {
        matches!(error, ConfigError::Unreadable { .. } | ConfigError::Syntax { .. })
    };
    if merged.errors.iter().any(unread) {
        return Err(merged.errors);
    }
    let typed = merged.typed();
    let Some((raw, named)) = typed else {
        return Err(merged.errors);
    };
    let mut rules = Rules { merged };
    let config = rules.config(raw, named, dev);
    match config {
        Some(config) if rules.merged.errors.is_empty() => Ok(config),
        _ => Err(rules.merged.errors),
    }
}

pub(super) struct Rules {
    pub(super) merged: Merged,
}

impl Rules {
    fn config(
        &mut self,
        raw: Raw,
        named: Vec<(String, ChannelOptions)>,
        dev: bool,
    ) -> Option<Config> {
        let listen = self.address("listen", &raw.listen);
        let internal_listen = match raw.internal_listen.as_str() {
            "" => None,
            text => self.address("internal_listen", text),
        };
        if let (Some(one), Some(two)) = (&listen, &internal_listen)
            && one.collides(two)
        {
            let rule = match one.port() {
                Some(port) => format!("both use port {port}"),
                None => "both name the same socket file".into(),
            };
            self.relation("listen, internal_listen", rule);
        }
        self.paths(&raw.websocket_paths);
        let allowed_origins = self.origins(&raw, dev);
        let trusted_proxies = self.proxies(&raw.trusted_proxies);
        self.range("spin_us", raw.spin_us.into(), 0, 1_000_000);
        self.range("shutdown_timeout_ms", raw.shutdown_timeout_ms.into(), 1, 600_000);
        self.range("shutdown_delay_ms", raw.shutdown_delay_ms.into(), 0, 600_000);
        self.range("drain_ms", raw.drain_ms.into(), 0, 3_600_000);
        let (worker_cpus, bridge_cpu) = self.cores(&raw);
        self.limits(&raw.limits);
        let client = self.client(&raw);
        let redis = self.redis(raw.engine, &raw.redis);
        let signs = self.signs(&raw, &named);
        let api = Api { key: self.api_key(raw.api.key) };
        let personal = &raw.client.user_personal_channel;
        let namespaces = self.namespaces(raw.channel, named, personal, dev);
        let namespaces = Namespaces { signs, ..namespaces };
        Some(Config {
            dev,
            listen: listen?,
            internal_listen,
            websocket_paths: raw.websocket_paths,
            workers: raw.workers as usize,
            worker_cpus,
            bridge_cpu,
            driver: raw.driver,
            redis,
            spin_us: raw.spin_us,
            allowed_origins,
            trusted_proxies,
            shutdown_timeout_ms: raw.shutdown_timeout_ms,
            shutdown_delay_ms: raw.shutdown_delay_ms,
            drain_ms: raw.drain_ms,
            log: raw.log,
            client,
            api,
            limits: raw.limits,
            namespaces,
            warnings: std::mem::take(&mut self.merged.warnings),
        })
    }

    /// Records that a key's value breaks a rule.
    pub(super) fn wrong(&mut self, key: &str, rule: impl Into<String>) {
        self.merged.errors.push(ConfigError::Value {
            key: key.into(),
            value: self.merged.value(key),
            origin: self.merged.origin(key).cloned(),
            rule: rule.into(),
        });
    }

    pub(super) fn relation(&mut self, keys: impl Into<String>, rule: impl Into<String>) {
        self.merged.errors.push(ConfigError::Relation { keys: keys.into(), rule: rule.into() });
    }

    fn range(&mut self, key: &str, value: u64, least: u64, most: u64) {
        if value < least {
            self.wrong(key, format!("must be at least {least}"));
        } else if value > most {
            self.wrong(key, format!("must be at most {most}"));
        }
    }

    fn address(&mut self, key: &str, text: &str) -> Option<Listen> {
        Listen::read(text).map_err(|rule| self.wrong(key, rule)).ok()
    }

    fn paths(&mut self, paths: &[String]) {
        if paths.is_empty() {
            self.wrong("websocket_paths", "must name a path for clients to connect to");
        }
        for (index, path) in paths.iter().enumerate() {
            let rule = if !path.starts_with('/') {
                "must start with \"/\""
            } else if !path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#\"".contains(&byte))
            {
                "must be a plain path, without a query"
            } else if routes::is_own(path) {
                "is reserved for the server"
            } else if paths[..index].contains(path) {
                "appears twice"
            } else {
                continue;
            };
            self.wrong("websocket_paths", format!("{path:?} {rule}"));
        }
    }

    fn proxies(&mut self, list: &[String]) -> Trusted {
        let mut trusted = Trusted::default();
        for entry in list {
            if let Err(rule) = trusted.add(entry) {
                self.wrong("trusted_proxies", format!("{entry:?} {rule}"));
            }
        }
        trusted
    }

    /// The list; with `--dev` also the page's own origin, and loopback if there is no list.
    fn origins(&mut self, raw: &Raw, dev: bool) -> Origins {
        let loopback = dev && self.merged.origin("allowed_origins").is_none();
        let mut origins = Origins { listed: Vec::new(), loopback, own: dev };
        for origin in &raw.allowed_origins {
            match Listed::read(origin) {
                Ok(listed) => origins.listed.push(listed),
                Err(error) => self.wrong("allowed_origins", format!("{origin:?} {}", error.rule())),
            }
        }
        if !raw.client.token_cookie.is_empty() && origins.listed.iter().any(Listed::is_anybodys) {
            self.merged.warnings.push(
                "allowed_origins lets pages of anybody in, and client.token_cookie lets them \
                 connect as whoever visits them: list the origins of your own pages"
                    .into(),
            );
        }
        origins
    }

    /// Cores of the workers and the bridge, from the keys themselves or else from the lines of
    /// `cpu_file`.
    fn cores(&mut self, raw: &Raw) -> (Vec<usize>, Option<usize>) {
        let mut texts = [raw.worker_cpus.clone(), raw.bridge_cpu.clone()];
        let mut origins = ["worker_cpus", "bridge_cpu"].map(|key| self.merged.origin(key).cloned());
        if !raw.cpu_file.is_empty() {
            self.cpu_file(&raw.cpu_file, &mut texts, &mut origins);
        }
        let [worker_origin, bridge_origin] = origins;
        let workers = self.core_list("worker_cpus", &texts[0], worker_origin);
        let bridge = self.core_list("bridge_cpu", &texts[1], bridge_origin.clone());
        if bridge.len() > 1 {
            self.core_error("bridge_cpu", &texts[1], bridge_origin, "must be one core");
        }
        self.range("workers", raw.workers.into(), 0, WORKERS as u64);
        if workers.len() > WORKERS {
            self.wrong("worker_cpus", format!("must name at most {WORKERS} cores"));
        }
        if !workers.is_empty() && raw.workers as usize > workers.len() {
            let rule = format!("{} workers cannot share {} cores", raw.workers, workers.len());
            self.relation("workers, worker_cpus", rule);
        }
        (workers, bridge.first().copied())
    }

    fn cpu_file(&mut self, path: &str, texts: &mut [String; 2], origins: &mut [Option<Origin>; 2]) {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(cause) => {
                self.wrong("cpu_file", format!("cannot be read: {cause}"));
                return;
            }
        };
        match cpus::file(&text) {
            Err((line, rule)) => self.wrong("cpu_file", format!("line {line}: {rule}")),
            Ok(lines) => {
                for cpus::Line { number, key, value } in lines {
                    let index = usize::from(key == "bridge_cpu");
                    // An explicit key overrides the file.
                    if texts[index].is_empty() {
                        texts[index] = value.into();
                        origins[index] = Some(Origin::CpuFile(number));
                    }
                }
            }
        }
    }

    fn core_list(&mut self, key: &str, text: &str, origin: Option<Origin>) -> Vec<usize> {
        cpus::list(text).unwrap_or_else(|rule| {
            self.core_error(key, text, origin, &rule);
            Vec::new()
        })
    }

    fn core_error(&mut self, key: &str, text: &str, origin: Option<Origin>, rule: &str) {
        self.merged.errors.push(ConfigError::Value {
            key: key.into(),
            value: format!("{text:?}"),
            origin,
            rule: rule.into(),
        });
    }

    fn limits(&mut self, limits: &Limits) {
        const KIB: u64 = 1 << 10;
        const GIB: u64 = 1 << 30;
        const HOUR_MS: u64 = 3_600_000;
        let bounds: [(&str, u64, u64, u64); 29] = [
            (
                "connections_per_worker",
                limits.connections_per_worker.into(),
                0,
                CONNECTIONS_MAX.into(),
            ),
            ("message_bytes", limits.message_bytes.into(), 128, GIB),
            ("fragments_per_message", limits.fragments_per_message.into(), 1, 1 << 24),
            ("control_frames_per_s", limits.control_frames_per_s.into(), 0, 1 << 24),
            ("control_frames_burst", limits.control_frames_burst.into(), 1, 1 << 24),
            // A block stores the length of a name in 16 bits.
            ("channel_name_bytes", limits.channel_name_bytes.into(), 1, 4 * KIB),
            ("channels_per_connection", limits.channels_per_connection.into(), 1, 1 << 24),
            ("backlog_bytes", limits.backlog_bytes.into(), KIB, GIB),
            ("recovery_bytes", limits.recovery_bytes.into(), 0, GIB),
            ("spill_bytes_per_worker", limits.spill_bytes_per_worker, KIB, 1 << 40),
            ("backlog_bytes_per_worker", limits.backlog_bytes_per_worker, KIB, 1 << 40),
            ("channels_per_worker", limits.channels_per_worker.into(), 1, 1 << 31),
            ("subscriptions_per_worker", limits.subscriptions_per_worker.into(), 1, 1 << 31),
            ("filter_bytes_per_connection", limits.filter_bytes_per_connection, KIB, GIB),
            ("filter_bytes_per_worker", limits.filter_bytes_per_worker, KIB, 1 << 40),
            ("history_bytes_per_worker", limits.history_bytes_per_worker, 0, 1 << 40),
            ("numbering_bytes_per_worker", limits.numbering_bytes_per_worker, 0, 1 << 40),
            ("new_channels_per_s", limits.new_channels_per_s.into(), 0, 1_000_000),
            ("new_channels_burst", limits.new_channels_burst.into(), 1, 1 << 24),
            (
                "new_channels_per_user_per_s",
                limits.new_channels_per_user_per_s.into(),
                0,
                1_000_000,
            ),
            ("new_channels_per_user_burst", limits.new_channels_per_user_burst.into(), 1, 1 << 24),
            ("presence_per_channel", limits.presence_per_channel.into(), 1, 1 << 24),
            ("api_bytes_per_worker", limits.api_bytes_per_worker, 0, 1 << 40),
            ("idempotency_keys_per_worker", limits.idempotency_keys_per_worker.into(), 1, 1 << 24),
            ("http_head_bytes", limits.http_head_bytes.into(), KIB, KIB * KIB),
            ("http_head_timeout_ms", limits.http_head_timeout_ms.into(), 100, HOUR_MS),
            ("http_body_timeout_ms", limits.http_body_timeout_ms.into(), 100, HOUR_MS),
            ("http_keep_alive_ms", limits.http_keep_alive_ms.into(), 0, HOUR_MS),
            ("arena_bytes", limits.arena_bytes.into(), 4 * KIB, GIB),
        ];
        for (key, value, least, most) in bounds {
            self.range(&format!("limits.{key}"), value, least, most);
        }
        let message = u64::from(limits.message_bytes);
        let holders = [
            ("backlog_bytes", u64::from(limits.backlog_bytes)),
            ("spill_bytes_per_worker", limits.spill_bytes_per_worker),
            ("backlog_bytes_per_worker", limits.backlog_bytes_per_worker),
        ];
        for (key, bytes) in holders {
            if bytes < message {
                self.merged.warnings.push(format!(
                    "limits.{key} = {bytes} holds no whole message \
                     (limits.message_bytes = {message})"
                ));
            }
        }
    }

    fn client(&mut self, raw: &Raw) -> Client {
        let client = &raw.client;
        self.range("client.ping_interval_ms", client.ping_interval_ms.into(), 1_000, 3_600_000);
        if !client.ping_interval_ms.is_multiple_of(1_000) {
            // The connect reply gives clients whole seconds.
            self.wrong("client.ping_interval_ms", "must be whole seconds: a multiple of 1000");
        }
        self.range("client.pong_timeout_ms", client.pong_timeout_ms.into(), 100, 3_600_000);
        self.range("client.connect_timeout_ms", client.connect_timeout_ms.into(), 100, 600_000);
        if client.ping_interval_ms >= 1_000 && client.pong_timeout_ms >= client.ping_interval_ms {
            let rule = "a pong must be due before the next ping is sent";
            self.relation("client.pong_timeout_ms, client.ping_interval_ms", rule);
        }
        let errors = self.merged.errors.len();
        let tokens = self.tokens(client);
        if !tokens.any_key() && !client.allow_anonymous && self.merged.errors.len() == errors {
            let rule =
                "no client could connect: set a secret for tokens, or allow_anonymous = true";
            self.relation("client.token_hmac_secret, client.allow_anonymous", rule);
        }
        Client {
            allow_anonymous: client.allow_anonymous,
            tokens,
            ping_interval_ms: client.ping_interval_ms,
            pong_timeout_ms: client.pong_timeout_ms,
            connect_timeout_ms: client.connect_timeout_ms,
        }
    }

    fn api_key(&mut self, key: String) -> Option<Secret> {
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            self.wrong("api.key", "must be visible ASCII, because it is sent in a header");
        }
        (!key.is_empty()).then_some(Secret(key))
    }

    fn namespaces(
        &mut self,
        unnamed: ChannelOptions,
        mut named: Vec<(String, ChannelOptions)>,
        personal: &str,
        dev: bool,
    ) -> Namespaces {
        self.channel_options("channel", &unnamed);
        for (name, options) in &named {
            let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            if name.is_empty() || name.len() > 64 || !name.bytes().all(letter) {
                self.merged.errors.push(ConfigError::Value {
                    key: "namespace.name".into(),
                    value: format!("{name:?}"),
                    origin: self.merged.origin(&format!("namespace.{name}")).cloned(),
                    rule: "must be 1 to 64 letters, digits, \"-\", \"_\" or \".\"".into(),
                });
            }
            self.channel_options(&format!("namespace {name:?}"), options);
        }
        if dev {
            for (name, options) in dev_namespaces() {
                if named.iter().all(|(other, _)| *other != name) {
                    named.push((name, options));
                }
            }
        }
        let personal = self.personal(personal, &named);
        let patterns = self.patterns(&unnamed, &named);
        Namespaces { unnamed, named, patterns, personal, signs: Signs::default() }
    }

    fn personal(&mut self, namespace: &str, named: &[(String, ChannelOptions)]) -> Personal {
        match namespace {
            "off" => return Personal::Off,
            "" => return Personal::Unnamed,
            _ => {}
        }
        if named.iter().all(|(name, _)| name != namespace) {
            let rule = "must be \"off\", the name of a namespace, or \"\" for [channel]";
            self.wrong("client.user_personal_channel", rule);
        }
        Personal::Named(namespace.into())
    }

    /// Patterns that channel names must match, by namespace.
    fn patterns(
        &mut self,
        unnamed: &ChannelOptions,
        named: &[(String, ChannelOptions)],
    ) -> Vec<(String, Pattern)> {
        let all = std::iter::once(("", unnamed))
            .chain(named.iter().map(|(name, options)| (name.as_str(), options)));
        let mut patterns = Vec::new();
        for (name, options) in all.filter(|(_, options)| !options.channel_regex.is_empty()) {
            match Pattern::new(&options.channel_regex) {
                Ok(pattern) => patterns.push((name.to_owned(), pattern)),
                Err(error) => {
                    let place = if name.is_empty() { "channel" } else { name };
                    let rule = format!("is not a regular expression, or is too large: {error}");
                    self.relation(format!("{place}: channel_regex"), rule);
                }
            }
        }
        patterns
    }

    fn channel_options(&mut self, place: &str, options: &ChannelOptions) {
        let half = (options.history_size > 0) != (options.history_ttl_s > 0);
        if half {
            let rule = "history needs both a size and a time, or neither";
            self.relation(format!("{place}: history_size, history_ttl_s"), rule);
        }
        if options.recovery_mode == RecoveryMode::Cache && options.recovery == Mode::Off {
            let rule = "\"cache\" needs recovery: set it to \"allow\" or \"force\"";
            self.relation(format!("{place}: recovery_mode"), rule);
        }
        if options.publish_debounce_ms > PUBLISH_DEBOUNCE_MS {
            let rule = format!("at most {PUBLISH_DEBOUNCE_MS}");
            self.relation(format!("{place}: publish_debounce_ms"), rule);
        }
        for (key, mode) in [("recovery", options.recovery), ("positioning", options.positioning)] {
            if mode != Mode::Off && !options.keeps_history() && !half {
                let rule = "needs history: set history_size and history_ttl_s";
                self.relation(format!("{place}: {key}"), rule);
            }
        }
    }
}
