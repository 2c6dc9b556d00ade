//! Tables of configurations, and the error messages for invalid ones.

mod names;
mod sources;

use super::*;
use crate::http::forwarded::Trusted;
use crate::http::origin::Listed;
use crate::namespace::{ChannelOptions, Delta, Mode, Payload, Personal, RecoveryMode, Signs, Who};

/// Loads a file's text with variables and flags.
fn load_all(
    dev: bool,
    text: &str,
    variables: &[(&str, &str)],
    flags: Flags,
) -> Result<Config, Vec<String>> {
    let mut merged = merge::Merged::new(dev);
    merged.file(text);
    let pairs = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    merged.variables(pairs);
    merged.flags(flags);
    check::check(merged, dev).map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

/// Loads a file's text together with the least that a production configuration needs.
fn load(text: &str) -> Result<Config, Vec<String>> {
    load_all(false, text, &[("CORECAST_CLIENT_ALLOW_ANONYMOUS", "true")], Flags::default())
}

fn load_dev(text: &str) -> Config {
    load_all(true, text, &[], Flags::default()).expect("a good configuration")
}

fn listen(text: &str) -> Listen {
    Listen::read(text).expect("an address")
}

#[test]
fn every_default() {
    let config = load("").expect("the defaults are good");
    let expected = Config {
        redis: None,
        dev: false,
        listen: listen("0.0.0.0:8000"),
        internal_listen: None,
        websocket_paths: vec!["/connection/websocket".into()],
        workers: 0,
        worker_cpus: vec![],
        bridge_cpu: None,
        driver: DriverChoice::Auto,
        spin_us: 0,
        allowed_origins: Origins::default(),
        trusted_proxies: Trusted::default(),
        shutdown_timeout_ms: 5_000,
        shutdown_delay_ms: 0,
        drain_ms: 0,
        log: Log { level: LogLevel::Info, format: LogFormat::Text },
        client: Client {
            allow_anonymous: true,
            tokens: Tokens::default(),
            ping_interval_ms: 25_000,
            pong_timeout_ms: 8_000,
            connect_timeout_ms: 10_000,
        },
        api: Api { key: None },
        limits: Limits { connections_per_worker: 0, ..Limits::default() },
        namespaces: Namespaces::default(),
        warnings: vec![],
    };
    assert_eq!(config, expected);
}

#[test]
fn dev_changes_only_defaults() {
    let config = load_dev("");
    let open = ChannelOptions {
        allow_subscribe: Who::Anyone,
        allow_publish: Who::Anyone,
        allow_history: Who::Anyone,
        allow_presence: Who::Anyone,
        ..ChannelOptions::default()
    };
    let chat = ChannelOptions {
        history_size: 1_000,
        history_ttl_s: 300,
        presence: true,
        recovery: Mode::Force,
        positioning: Mode::Force,
        join_leave: Mode::Force,
        allow_tags_filter: true,
        delta: Delta::Fossil,
        ..open.clone()
    };
    assert_eq!(config.listen, listen("127.0.0.1:8000"));
    assert!(config.dev && config.client.allow_anonymous);
    let origins = Origins { listed: vec![], loopback: true, own: true };
    assert_eq!(config.allowed_origins, origins);
    assert_eq!(config.limits.control_frames_per_s, 0);
    assert_eq!(config.namespaces.unnamed, open);
    assert_eq!(
        config.namespaces.named,
        vec![("chat".into(), chat.clone()), ("plain".into(), open)]
    );

    let text = "listen = \"127.0.0.1:1\"\nallowed_origins = [\"https://a.example\"]\n\
                [limits]\ncontrol_frames_per_s = 5\n[channel]\nallow_publish = \"none\"\n\
                [[namespace]]\nname = \"plain\"\npresence = true\n";
    let config = load_dev(text);
    assert_eq!(config.listen.port(), Some(1));
    let listed = vec![Listed::read("https://a.example").unwrap()];
    assert_eq!(config.allowed_origins, Origins { listed, loopback: false, own: true });
    assert_eq!(config.limits.control_frames_per_s, 5);
    assert_eq!(config.namespaces.unnamed.allow_publish, Who::None);
    let plain = ChannelOptions { presence: true, ..ChannelOptions::default() };
    assert_eq!(config.namespaces.named.len(), 2, "a namespace of the file replaces the default");
    assert_eq!(config.namespaces.options("plain:x"), Some(&plain));
    assert_eq!(config.namespaces.options("chat:x"), Some(&chat));
}

#[test]
fn a_file_sets_every_key() {
    let config = load(include_str!("../../tests/data/every_key.toml")).expect("a good file");
    assert_eq!(config.internal_listen, Some(listen("127.0.0.1:9001")));
    assert_eq!(config.websocket_paths, ["/ws", "/chat"]);
    assert_eq!((config.workers, config.worker_cpus.as_slice()), (2, [0, 2, 3].as_slice()));
    assert_eq!((config.bridge_cpu, config.driver), (Some(1), DriverChoice::Epoll));
    assert_eq!((config.spin_us, config.shutdown_timeout_ms), (20, 7_000));
    assert_eq!((config.shutdown_delay_ms, config.drain_ms), (1_500, 30_000));
    let redis = config.redis.as_ref().expect("engine = \"redis\"");
    let server = RedisServer::Tcp { host: "redis.example".into(), port: 6_379 };
    assert_eq!(redis.server, server);
    let tls = redis.tls.as_ref().expect("rediss");
    assert!(tls.authorities.starts_with("-----BEGIN CERTIFICATE"));
    assert_eq!((redis.database, redis.prefix.as_str()), (3, "chat-1"));
    assert_eq!(redis.ready, ReadyChoice::Own);
    let signs = Signs { namespace: Some('/'), private: Some('!'), users: Some('@') };
    assert_eq!(config.namespaces.signs, signs);
    assert_eq!(config.log, Log { level: LogLevel::Debug, format: LogFormat::Json });
    let listed = ["https://app.example.com", "https://*.example.org", "capacitor://localhost"];
    let listed = listed.map(|entry| Listed::read(entry).unwrap()).to_vec();
    assert_eq!(config.allowed_origins, Origins { listed, ..Origins::default() });
    let mut trusted = Trusted::default();
    ["127.0.0.1", "10.0.0.0/8", "unix"].iter().for_each(|entry| trusted.add(entry).unwrap());
    assert_eq!(config.trusted_proxies, trusted);
    let tokens = &config.client.tokens;
    let secrets: Vec<&str> = tokens.hmac_secrets.iter().map(Secret::as_str).collect();
    assert_eq!(secrets, ["0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"]);
    let pem = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
    for key in [&tokens.rsa_public_key, &tokens.ecdsa_public_key, &tokens.ed25519_public_key] {
        assert_eq!(key.as_str(), pem);
    }
    assert!(tokens.jwks.as_bytes().is_empty() && tokens.any_key());
    let texts = [&tokens.audience, &tokens.issuer, &tokens.cookie];
    assert_eq!(texts.map(|text| text.as_deref().unwrap()), ["us", "them", "session"]);
    assert_eq!(config.client.ping_interval_ms, 2_000);
    assert_eq!(config.api.key.as_ref().map(Secret::as_bytes), Some(b"key".as_slice()));
    assert_eq!(config.limits.arena_bytes, 8 << 20);
    let limits = &config.limits;
    assert_eq!((limits.http_head_bytes, limits.http_head_timeout_ms), (8 << 10, 4_000));
    assert_eq!((limits.http_body_timeout_ms, limits.http_keep_alive_ms), (20_000, 60_000));
    assert_eq!(config.namespaces.unnamed.allow_subscribe, Who::User);
    let news = config.namespaces.options("news/a").expect("configured");
    assert_eq!((news.history_size, news.recovery), (10, Mode::Allow));
    assert_eq!((news.allow_presence, news.payload), (Who::Subscriber, Payload::Binary));
    assert_eq!((news.allow_tags_filter, news.delta), (true, Delta::Fossil));
    assert_eq!((news.recovery_mode, news.publish_debounce_ms), (RecoveryMode::Cache, 100));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    // Every key of the schema is in the file, so the file stays a complete example.
    let mut merged = merge::Merged::new(false);
    merged.file(include_str!("../../tests/data/every_key.toml"));
    assert_eq!(merged.unset(), Vec::<String>::new());
}

#[test]
fn a_password_in_a_wrong_url_is_not_shown() {
    let errors = load("engine = \"redis\"\nredis.url = \"rediss:me:secret@host\"\n");
    let said = format!("{:?}", errors.expect_err("no TLS yet"));
    assert!(said.contains("redis.url") && !said.contains("secret"), "{said}");
    let unused = load("redis.url = \"redis://host\"\nclient.allow_anonymous = true\n");
    let warnings = unused.expect("a good file").warnings;
    assert!(warnings.iter().any(|line| line.contains("engine = \"redis\"")), "{warnings:?}");
}

#[test]
fn flag_over_variable_over_file_over_default() {
    let file = "workers = 2\ndriver = \"epoll\"\nspin_us = 1\n";
    let variables = [
        ("CORECAST_WORKERS", "3"),
        ("CORECAST_DRIVER", "io_uring"),
        ("CORECAST_CLIENT_ALLOW_ANONYMOUS", "true"),
        ("CORECAST_LIMITS_MESSAGE_BYTES", "1000"),
        ("CORECAST_WEBSOCKET_PATHS", "/a, /b"),
        ("CORECAST_CHANNEL_RECOVERY", "off"),
    ];
    let flags = Flags { workers: Some("4".into()), ..Flags::default() };
    let config = load_all(false, file, &variables, flags).expect("good");
    assert_eq!((config.workers, config.driver), (4, DriverChoice::IoUring));
    assert_eq!((config.spin_us, config.limits.message_bytes), (1, 1_000));
    assert_eq!(config.websocket_paths, ["/a", "/b"]);
}

/// Texts of files, and their error messages. Anonymous is on where the case is about something
/// else.
const WRONG: &[(&str, &str)] = &[
    ("\nlisen = \"x\"", "unknown key \"lisen\" (line 2): did you mean \"listen\"?"),
    ("quantum = 1", "unknown key \"quantum\" (line 1)"),
    (
        "[limits]\nmesage_bytes = 1",
        "unknown key \"limits.mesage_bytes\" (line 2): did you mean \"limits.message_bytes\"?",
    ),
    (
        "[client]\n\nping_intervall_ms = 1",
        "unknown key \"client.ping_intervall_ms\" (line 3): \
         did you mean \"client.ping_interval_ms\"?",
    ),
    (
        "[[namespace]]\nname = \"a\"\nhistory_sise = 1",
        "unknown key \"namespace.a.history_sise\" (line 3): \
         did you mean \"namespace.a.history_size\"?",
    ),
    ("[limit]\n", "unknown key \"limit\" (line 1): did you mean \"limits\"?"),
    ("listen = ", "not TOML (line 1): "),
    ("workers = \"two\"", "workers = \"two\" (line 1): invalid type: string \"two\", expected u32"),
    ("workers = -1", "workers = -1 (line 1): invalid value: integer `-1`, expected u32"),
    ("spin_us = 99999999999999999999", "spin_us (line 1): "),
    (
        "driver = \"uring\"",
        "driver = \"uring\" (line 1): unknown variant `uring`, \
         expected one of `auto`, `io_uring`, `epoll`",
    ),
    ("websocket_paths = [\"/a\", 1]", "websocket_paths = [\"/a\", 1] (line 1): invalid type"),
    ("allowed_origins = \"x\"", "allowed_origins = \"x\" (line 1): invalid type"),
    ("limits = 5", "limits = 5 (line 1): invalid type"),
    ("[log]\nlevel = \"loud\"", "log.level = \"loud\" (line 2): unknown variant `loud`"),
    ("[log]\nformat = \"xml\"", "log.format = \"xml\" (line 2): unknown variant `xml`"),
    (
        "[channel]\nrecovery = \"on\"",
        "channel.recovery = \"on\" (line 2): unknown variant `on`, \
         expected one of `off`, `allow`, `force`",
    ),
    (
        "[client]\ntoken_hmac_secret = 12345",
        "client.token_hmac_secret = (secret) (line 2): must be a string",
    ),
    (
        "[client]\ntoken_hmac_secrets_old = [\"0123456789abcdef0123456789abcdef\"]",
        "client.token_hmac_secrets_old = (secret) (line 2): needs client.token_hmac_secret",
    ),
    (
        "[client]\ntoken_rsa_public_key = \"/nowhere/key.pem\"",
        "client.token_rsa_public_key = (secret) (line 2): cannot be read as a file: ",
    ),
    (
        "[client]\ntoken_jwks_file = \"/nowhere/keys\"",
        "client.token_jwks_file = \"/nowhere/keys\" (line 2): cannot be read as a file: ",
    ),
    (
        "[client]\ntoken_cookie = \"a b\"",
        "client.token_cookie = \"a b\" (line 2): must be the name of a cookie",
    ),
    ("listen = \"localhost\"", "listen = \"localhost\" (line 1): must be an address and a port"),
    (
        "internal_listen = \"9000\"",
        "internal_listen = \"9000\" (line 1): must be an address and a port",
    ),
    ("listen = \"unix:c.sock\"", "must name the socket file by its whole path"),
    ("internal_listen = \"127.0.0.1:8000\"", "listen, internal_listen: both use port 8000"),
    ("websocket_paths = []", "websocket_paths = [] (line 1): must name a path"),
    ("websocket_paths = [\"ws\"]", "\"ws\" must start with \"/\""),
    ("websocket_paths = [\"/ws?x\"]", "\"/ws?x\" must be a plain path"),
    ("websocket_paths = [\"/health\"]", "\"/health\" is reserved for the server"),
    ("websocket_paths = [\"/a\", \"/a\"]", "\"/a\" appears twice"),
    ("workers = 64", "workers = 64 (line 1): must be at most 63"),
    ("workers = 3\nworker_cpus = \"0-1\"", "workers, worker_cpus: 3 workers cannot share 2 cores"),
    ("worker_cpus = \"1-\"", "worker_cpus = \"1-\" (line 1): \"\" is not a core"),
    ("worker_cpus = \"0-80\"", "must name at most 63 cores"),
    ("bridge_cpu = \"0,1\"", "bridge_cpu = \"0,1\" (line 1): must be one core"),
    ("cpu_file = \"/nowhere/cpus\"", "cpu_file = \"/nowhere/cpus\" (line 1): cannot be read"),
    ("spin_us = 1000001", "spin_us = 1000001 (line 1): must be at most 1000000"),
    ("shutdown_delay_ms = 600001", "shutdown_delay_ms = 600001 (line 1): must be at most 600000"),
    ("shutdown_timeout_ms = 0", "shutdown_timeout_ms = 0 (line 1): must be at least 1"),
    ("trusted_proxies = [\"proxy\"]", "\"proxy\" must be an address, a network such as"),
    ("trusted_proxies = [\"::/0\"]", "\"::/0\" trusts every client"),
    (
        "allowed_origins = [\"a.example\"]",
        "\"a.example\" is not an origin: it begins with a scheme",
    ),
    (
        "allowed_origins = [\"https://a.example/\"]",
        "\"https://a.example/\" is more than an origin: leave out what follows host and port",
    ),
    ("allowed_origins = [\"https://a.*.com\"]", "has a * where none is allowed: write it once"),
    (
        "[client]\nping_interval_ms = 0",
        "client.ping_interval_ms = 0 (line 2): must be at least 1000",
    ),
    ("[client]\nping_interval_ms = 25500", "must be whole seconds"),
    ("[client]\npong_timeout_ms = 25000", "a pong must be due before the next ping is sent"),
    ("[client]\npong_timeout_ms = 1", "client.pong_timeout_ms = 1 (line 2): must be at least 100"),
    (
        "[client]\nconnect_timeout_ms = 0",
        "client.connect_timeout_ms = 0 (line 2): must be at least 100",
    ),
    ("[api]\nkey = \"two words\"", "api.key = (secret) (line 2): must be visible ASCII"),
    ("[limits]\nmessage_bytes = 0", "limits.message_bytes = 0 (line 2): must be at least 128"),
    (
        "[limits]\nchannel_name_bytes = 70000",
        "limits.channel_name_bytes = 70000 (line 2): must be at most 4096",
    ),
    ("[limits]\nhttp_head_bytes = 100", "limits.http_head_bytes = 100 (line 2): must be at least"),
    (
        "[limits]\nhttp_keep_alive_ms = 9999999",
        "limits.http_keep_alive_ms = 9999999 (line 2): must be at most 3600000",
    ),
    ("[limits]\narena_bytes = 1", "limits.arena_bytes = 1 (line 2): must be at least 4096"),
    ("namespace = 1", "namespace (line 1): write it as [[namespace]]"),
    ("[[namespace]]\npresence = true", "namespace (line 1): needs a name"),
    ("[[namespace]]\nname = \"a b\"", "namespace.name = \"a b\" (line 1): must be 1 to 64 letters"),
    (
        "[[namespace]]\nname = \"a\"\n[[namespace]]\nname = \"a\"",
        "namespace (line 3): \"a\" appears twice",
    ),
    (
        "[[namespace]]\nname = \"a\"\npresence = 1",
        "namespace.a.presence = 1 (line 3): invalid type: integer `1`, expected a boolean",
    ),
    (
        "[[namespace]]\nname = \"a\"\nrecovery = \"allow\"",
        "namespace \"a\": recovery: needs history",
    ),
    ("[channel]\npositioning = \"force\"", "channel: positioning: needs history"),
    ("[channel]\nrecovery_mode = \"cache\"", "channel: recovery_mode: \"cache\" needs recovery"),
    ("[channel]\npublish_debounce_ms = 60001", "channel: publish_debounce_ms: at most 60000"),
    ("[channel]\nhistory_size = 10", "channel: history_size, history_ttl_s: history needs both"),
];

#[test]
fn every_rule_is_named() {
    for (text, told) in WRONG {
        let errors = load(text).expect_err(text);
        let found = errors.iter().any(|error| error.contains(told));
        assert!(found, "{text:?}: expected {told:?} among {errors:#?}");
        assert_eq!(errors.len(), 1, "{text:?} breaks one rule: {errors:#?}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_the_only_error() {
    let sources = Sources { file: Some("/nowhere/corecast.toml".into()), ..Sources::default() };
    let errors = Config::load(sources).expect_err("no such file");
    assert!(matches!(errors.as_slice(), [ConfigError::Unreadable { .. }]), "{errors:?}");
    let errors = load_all(false, "listen = [", &[], Flags::default()).expect_err("no TOML");
    assert!(errors.len() == 1 && errors[0].starts_with("not TOML (line 1): "), "{errors:?}");
}

proptest::proptest! {
    /// Lines that a file may contain, in any order and number: they are read or refused, without a
    /// panic.
    #[test]
    fn no_file_panics(picks in proptest::collection::vec((0..WRONG.len(), 0..12_usize), 0..6)) {
        let pieces = ["\"a.b\" = 1", "limits.x.y = 2", "namespace = [1]", "log = []", "[a.b]",
            "[[limits]]", "[[namespace]]\nname = \"a.b\"", "channel.\"presence\" = true", "x",
            "workers = 1e3", "listen = 1979-05-27", "[namespace]"];
        let lines = picks
            .iter()
            .map(|(wrong, piece)| format!("{}\n{}", WRONG[*wrong].0, pieces[*piece]));
        let text = lines.collect::<Vec<_>>().join("\n");
        for error in load(&text).err().into_iter().flatten() {
            proptest::prop_assert!(!error.is_empty() && !error.contains('\n'), "{}", error);
        }
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let errors = load("lisen = 1\nworkers = 99\n[api]\nkez = 1").expect_err("wrong");
    assert_eq!(errors.len(), 3, "{errors:#?}");
}

#[test]
fn somebody_must_be_able_to_connect() {
    let told = "client.token_hmac_secret, client.allow_anonymous: no client could connect: \
                set a secret for tokens, or allow_anonymous = true";
    let none = load_all(false, "", &[], Flags::default());
    assert_eq!(none.expect_err("nobody"), [told]);
    let shut = load_all(true, "[client]\nallow_anonymous = false", &[], Flags::default());
    assert_eq!(shut.expect_err("nobody"), [told]);
    let secret = [("CORECAST_CLIENT_TOKEN_HMAC_SECRET", "short")];
    let config = load_all(false, "", &secret, Flags::default()).expect("tokens");
    assert!(config.warnings[0].contains("fewer than 32 bytes"));
    assert!(!format!("{config:?}").contains("short"), "secrets stay out of logs");
}

#[test]
fn wrong_variables_and_flags_are_named() {
    let cases = [
        (
            "CORECAST_WORKERS",
            "many",
            "workers = \"many\" (CORECAST_WORKERS): must be a whole number",
        ),
        (
            "CORECAST_CHANNEL_PRESENCE",
            "yes",
            "channel.presence = \"yes\" (CORECAST_CHANNEL_PRESENCE): must be true or false",
        ),
        (
            "CORECAST_LIMITS_MESSAGE_BYTES",
            "1",
            "limits.message_bytes = 1 (CORECAST_LIMITS_MESSAGE_BYTES): must be at least 128",
        ),
        (
            "CORECAST_DRIVER",
            "kqueue",
            "driver = \"kqueue\" (CORECAST_DRIVER): unknown variant `kqueue`",
        ),
    ];
    for (name, value, told) in cases {
        let errors = load_all(true, "", &[(name, value)], Flags::default()).expect_err(name);
        assert!(errors.len() == 1 && errors[0].starts_with(told), "{errors:#?}");
    }
    let flags = Flags { listen: Some("here".into()), ..Flags::default() };
    let errors = load_all(true, "", &[], flags).expect_err("no address");
    assert!(errors[0].starts_with("listen = \"here\" (--listen): must be"), "{errors:#?}");
}

#[test]
fn explicit_cores_win_over_the_tuners_file() {
    let path = std::env::temp_dir().join(format!("corecast-cpus-{}", std::process::id()));
    std::fs::write(&path, "workers=0,2-3\nbridge=1\n").unwrap();
    let file = format!("cpu_file = {path:?}\n");
    let config = load_dev(&file);
    assert_eq!((config.worker_cpus.as_slice(), config.bridge_cpu), ([0, 2, 3].as_slice(), Some(1)));
    let config = load_dev(&format!("{file}bridge_cpu = \"4\"\n"));
    assert_eq!((config.worker_cpus.as_slice(), config.bridge_cpu), ([0, 2, 3].as_slice(), Some(4)));
    std::fs::write(&path, "workers=0\nbridge=x\n").unwrap();
    let errors = load_all(true, &file, &[], Flags::default()).expect_err("no core");
    assert!(errors[0].starts_with("bridge_cpu = \"x\" (cpu_file line 2): \"x\" is not a core"));
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn what_the_machine_decides() {
    let config = load_dev("");
    assert_eq!((config.workers_on(2), config.workers_on(200)), (2, 63));
    assert_eq!(load_dev("worker_cpus = \"0,2\"").workers_on(8), 2);
    assert_eq!(load_dev("workers = 3").workers_on(1), 3);
    let connections =
        |shared, workers| config.limits_on(20_000, workers, shared).connections_per_worker;
    assert_eq!(connections(false, 4), 19_936);
    // However many descriptors a process may have, a ring's table has this limit.
    for descriptors in [1 << 20, (1 << 20) + 1, 1_073_741_816, u64::MAX] {
        let limits = config.limits_on(descriptors, 1, false);
        assert_eq!(limits.connections_per_worker + REFUSAL_SLOTS, 1 << 20, "{descriptors}");
    }
    assert_eq!(connections(true, 4), (20_000 - 64) / 4 - 64);
    assert_eq!(connections(true, 63), (20_000 - 64) / 63 - 64);
    let config = load_dev("[limits]\nconnections_per_worker = 100");
    assert_eq!(config.limits_on(20_000, 2, true).connections_per_worker, 100);
    assert_eq!(config.limits_on(128, 1, false).connections_per_worker, 64);
}

#[test]
fn pages_of_anybody_and_a_cookie_are_a_warning() {
    let cookie = "[client]\ntoken_cookie = \"session\"";
    for (listed, warned) in [
        ("*", 1),
        ("null", 1),
        ("https://*", 1),
        ("https://*.b.example", 0),
        ("https://a.example", 0),
    ] {
        let origins = format!("allowed_origins = [\"https://b.example\", \"{listed}\"]\n");
        let config = load(&format!("{origins}{cookie}")).expect("good");
        assert_eq!(config.warnings.len(), warned, "{listed}: {:?}", config.warnings);
        assert!(load(&origins).expect("good").warnings.is_empty());
    }
}

#[test]
fn bounds_that_hold_no_message_are_a_warning() {
    let config = load_dev("[limits]\nbacklog_bytes = 2000");
    assert_eq!(
        config.warnings,
        ["limits.backlog_bytes = 2000 holds no whole message (limits.message_bytes = 65536)"]
    );
}
