//! Variables, files with secrets, and keys that belong elsewhere.

use super::*;

#[test]
fn an_unknown_variable_is_a_warning() {
    let variables = [
        ("CORECAST_LISTN", "x"),
        ("CORECAST_SERVICE_HOST", "10.0.0.1"),
        ("CORECAST_PORT_8000_TCP_ADDR", "10.0.0.1"),
        ("CORECAST_REDIS", "x"),
        ("CORECAST_LISTEN_FILE", "x"),
        ("CORECAST_UNSET", ""),
        ("LISTEN", "y"),
    ];
    let config = load_all(true, "", &variables, Flags::default()).expect("only warnings");
    let told = [
        "CORECAST_LISTN is not a key: did you mean CORECAST_LISTEN?",
        "CORECAST_REDIS is not a key and is ignored",
        "CORECAST_LISTEN_FILE is not a key and is ignored",
    ];
    assert_eq!(config.warnings, told);
}

#[test]
fn variables_are_taken_as_they_are_written() {
    let variables = [
        ("CORECAST_CLIENT_ALLOW_ANONYMOUS", "1"),
        ("CORECAST_CHANNEL_PRESENCE", "TRUE"),
        ("CORECAST_LOG_LEVEL", "INFO"),
        ("CORECAST_LOG_FORMAT", "Json"),
        ("CORECAST_CHANNEL_ALLOW_SUBSCRIBE", "Anyone"),
        ("CORECAST_WORKERS", ""),
        ("CORECAST_CLIENT_TOKEN_ISSUER", "Them"),
    ];
    let config = load_all(false, "workers = 3", &variables, Flags::default()).expect("good");
    assert!(config.client.allow_anonymous && config.namespaces.unnamed.presence);
    assert_eq!((config.log.level, config.log.format), (LogLevel::Info, LogFormat::Json));
    assert_eq!(config.namespaces.unnamed.allow_subscribe, Who::Anyone);
    assert_eq!(config.workers, 3, "an empty variable is as none");
    assert_eq!(config.client.tokens.issuer.as_deref(), Some("Them"), "free text keeps its case");
    let wrong = [("CORECAST_CLIENT_ALLOW_ANONYMOUS", "2"), ("CORECAST_LOG_LEVEL", "LOUD")];
    for (name, value) in wrong {
        assert!(load_all(true, "", &[(name, value)], Flags::default()).is_err(), "{name}");
    }
}

#[test]
fn a_secret_may_stand_in_a_file() {
    let path = std::env::temp_dir().join(format!("corecast-secret-{}", std::process::id()));
    let file = path.to_str().expect("a path that is text");
    let key = |text: &str| {
        std::fs::write(&path, text).expect("a temporary file");
        let variables = [("CORECAST_API_KEY_FILE", file)];
        let config = load_all(true, "", &variables, Flags::default());
        config.map(|config| config.api.key.map(|key| key.as_str().to_owned()))
    };
    for text in ["a key", "a key\n", "a key\r\n"].map(|text| text.replace(' ', "-")) {
        assert_eq!(key(&text), Ok(Some("a-key".to_owned())), "{text:?}");
    }
    let errors = key("\n").expect_err("empty");
    assert!(errors[0].starts_with("api.key (CORECAST_API_KEY_FILE): "), "{errors:?}");
    std::fs::remove_file(&path).expect("it is there");
    let both = [("CORECAST_API_KEY", "x"), ("CORECAST_API_KEY_FILE", file)];
    for variables in [&both[..], &[both[1], both[0]], &both[1..]] {
        assert!(load_all(true, "", variables, Flags::default()).is_err(), "{variables:?}");
    }
}

#[test]
fn what_stands_elsewhere_is_told_where_it_belongs() {
    let table = [
        (
            "[http_api]\nkey = \"x\"",
            "unknown key \"http_api.key\" (line 2): that is Centrifugo's name; here it is api.key",
        ),
        (
            "[client.token]\nhmac_secret_key = \"x\"",
            "unknown key \"client.token.hmac_secret_key\" (line 2): that is Centrifugo's name; here it is client.token_hmac_secret",
        ),
        (
            "[[channel.namespaces]]\nname = \"a\"",
            "unknown key \"channel.namespaces\" (line 1): that is Centrifugo's name; here it is [[namespace]]",
        ),
        (
            "[[namespaces]]\nname = \"a\"",
            "unknown key \"namespaces\" (line 1): that is Centrifugo's name; here it is [[namespace]]",
        ),
        (
            "token_hmac_secret_key = \"x\"",
            "unknown key \"token_hmac_secret_key\" (line 1): that is Centrifugo's name; here it is client.token_hmac_secret",
        ),
        (
            "[[namespace]]\nname = \"a\"\nforce_recovery = true",
            "unknown key \"namespace.a.force_recovery\" (line 3): that is Centrifugo's name; here it is recovery = \"force\"",
        ),
        (
            "[log]\nlevel = \"info\"\nworkers = 2",
            "unknown key \"log.workers\" (line 3): \"workers\" belongs at the top of the file, above the first [section]",
        ),
        (
            "[[namespace]]\nname = \"a\"\nlisten = \"x\"",
            "unknown key \"namespace.a.listen\" (line 3): \"listen\" belongs at the top of the file",
        ),
        (
            "allow_anonymous = true",
            "unknown key \"allow_anonymous\" (line 1): did you mean \"client.allow_anonymous\"?",
        ),
        ("{\"client\": {}}", "not TOML (line 1): it is JSON"),
    ];
    for (text, told) in table {
        let errors = load_all(true, text, &[], Flags::default()).expect_err(text);
        assert!(errors.iter().any(|error| error.starts_with(told)), "{text}: {errors:#?}");
        assert!(
            errors.iter().all(|error| !error.contains("= \"x\"")),
            "a value is shown: {errors:#?}"
        );
    }
}
