//! The command line as an operator uses it: what is printed where, and the exit code.

use std::process::{Command, Output};

/// Runs the binary with these variables and no others of Corecast.
fn corecast(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_corecast"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CORECAST_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).envs(variables.iter().copied()).output().expect("the binary runs")
}

/// Exit code, standard output, standard error.
fn run(arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let output = corecast(arguments, variables);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A configuration file that is gone with the value.
struct File(std::path::PathBuf);

impl File {
    fn new(name: &str, text: &str) -> File {
        let path = std::env::temp_dir().join(format!("corecast-{}-{name}", std::process::id()));
        std::fs::write(&path, text).expect("a temporary file");
        File(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("a path that is text")
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // A left-over file in the temporary directory harms nobody.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn check_says_what_is_wrong_and_exits_78() {
    let file = File::new("wrong.toml", "lisen = \"x\"\n[limits]\nmessage_bytes = 1\n");
    let (code, out, err) = run(&["check", "--dev", "--config", file.path()], &[]);
    assert_eq!((code, out.as_str()), (Some(78), ""));
    assert_eq!(
        err,
        "config: unknown key \"lisen\" (line 1): did you mean \"listen\"?\n\
         config: limits.message_bytes = 1 (line 3): must be at least 128\n"
    );
    let (code, out, _) = run(&["serve", "--dev", "--config", file.path()], &[]);
    assert_eq!((code, out.as_str()), (Some(78), ""), "serve refuses the same");
}

#[test]
fn without_secret_or_anonymous_nothing_starts() {
    for command in ["check", "serve"] {
        let (code, _, err) = run(&[command], &[]);
        assert_eq!(code, Some(78), "{command}");
        assert!(err.starts_with("config: client.token_hmac_secret, client.allow_anonymous: "));
    }
    let secret = [("CORECAST_CLIENT_TOKEN_HMAC_SECRET", "0123456789abcdef0123456789abcdef")];
    let (code, out, err) = run(&["check"], &secret);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.starts_with("configuration ok: listen 0.0.0.0:8000, one worker per core, tokens"));
    assert!(!out.contains("0123456789"), "a secret is not printed");
}

#[test]
fn a_variable_wins_over_the_file_and_a_flag_over_both() {
    let file = File::new("order.toml", "listen = \"127.0.0.1:21001\"\nworkers = 1\n");
    let check = ["check", "--dev", "--config", file.path()];
    let (_, out, _) = run(&check, &[("CORECAST_LISTEN", "127.0.0.1:21002")]);
    assert!(out.starts_with("configuration ok: listen 127.0.0.1:21002, 1 worker, "), "{out}");
    let serve = ["serve", "--dev", "--config", file.path(), "--listen", "nowhere"];
    let (code, _, err) = run(&serve, &[("CORECAST_LISTEN", "127.0.0.1:21002")]);
    assert_eq!(code, Some(78));
    assert!(err.starts_with("config: listen = \"nowhere\" (--listen): must be "), "{err}");
}

#[test]
fn warnings_do_not_stop_a_check() {
    let (code, out, err) = run(&["check", "--dev"], &[("CORECAST_WORKRES", "2")]);
    assert_eq!(code, Some(0));
    assert!(out.starts_with("configuration ok: "));
    assert_eq!(
        err,
        "config: warning: CORECAST_WORKRES is not a key: did you mean CORECAST_WORKERS?\n"
    );
}

#[test]
fn check_warns_of_a_server_that_cannot_work_or_is_open_to_everybody() {
    let bare = "[client]\nallow_anonymous = true\n[api]\nkey = \"short\"\n[channel]\n\
                allow_publish = \"anyone\"\n";
    let good = "internal_listen = \"127.0.0.1:9000\"\nallowed_origins = [\"https://a.example\"]\n\
                [client]\ntoken_hmac_secret = \"0123456789abcdef0123456789abcdef\"\n[api]\n\
                key = \"0123456789abcdef\"\n[[namespace]]\nname = \"a\"\n\
                allow_subscribe = \"user\"\n";
    let (bare, good) = (File::new("bare.toml", bare), File::new("good.toml", good));
    let (code, _, err) = run(&["check", "--config", bare.path()], &[]);
    assert_eq!(code, Some(0), "{err}");
    for told in [
        "api.key has fewer than 16 bytes",
        "allowed_origins is empty",
        "internal_listen is not set",
        "there is no [[namespace]]",
        "allow_subscribe is \"none\" everywhere",
        "everybody who can reach the server may publish",
    ] {
        assert!(err.contains(told), "{told}: {err}");
    }
    assert_eq!(run(&["check", "--strict", "--config", bare.path()], &[]).0, Some(78));
    let (code, _, err) = run(&["check", "--strict", "--config", good.path()], &[]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let no_key = [("CORECAST_CLIENT_TOKEN_HMAC_SECRET", "0123456789abcdef0123456789abcdef")];
    let (_, _, err) = run(&["check"], &no_key);
    assert!(err.contains("api.key is not set: the server API refuses every call"), "{err}");
    assert_eq!(run(&["check", "--strict", "--dev"], &[]).0, Some(0), "--dev is for trying out");
}

#[test]
fn the_rest_of_the_command_line() {
    let version = format!("corecast {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(run(&["version"], &[]), (Some(0), version, String::new()));
    let (code, out, _) = run(&["--help"], &[]);
    assert!(code == Some(0) && out.contains("Examples:") && out.contains("serve --dev"));
    let (code, _, err) = run(&["serve", "--driver", "kqueue"], &[]);
    assert!(code == Some(2) && err.contains("io_uring"), "{err}");
    let (code, _, err) = run(&["check", "--config", "/nowhere/corecast.toml"], &[]);
    assert_eq!(code, Some(78));
    assert!(err.starts_with("config: cannot read /nowhere/corecast.toml: "), "{err}");
}

#[test]
fn a_token_is_minted_and_inspected() {
    let secret = [("CORECAST_CLIENT_TOKEN_HMAC_SECRET", "0123456789abcdef0123456789abcdef")];
    let mint = ["token", "mint", "--user", "al", "--ttl", "1h", "--info", r#"{"a":1}"#];
    for (algorithm, channel) in [("HS256", None), ("HS512", Some("$news"))] {
        let mut arguments = mint.to_vec();
        arguments.extend(["--alg", algorithm]);
        arguments.extend(channel.map_or(vec![], |channel| vec!["--channel", channel]));
        let (code, token, err) = run(&arguments, &secret);
        assert_eq!((code, err.as_str()), (Some(0), ""));
        let token = token.trim();
        let (code, out, _) = run(&["token", "inspect", token], &secret);
        assert_eq!(code, Some(0), "{out}");
        assert!(out.contains(algorithm) && out.contains(r#""info":{"a":1},"sub":"al""#), "{out}");
        let valid = match channel {
            None => "valid: user \"al\"; expires ",
            Some(_) => "valid: user \"al\" may subscribe to \"$news\"; expires ",
        };
        assert!(out.contains(valid), "{out}");

        let other = [("CORECAST_CLIENT_TOKEN_HMAC_SECRET", "another secret, another secret, ")];
        let (code, out, _) = run(&["token", "inspect", token], &other);
        assert_eq!(code, Some(1));
        let refused = channel.map_or("not valid, disconnect 3500", |_| "not valid, error 103");
        let flaw = ": signature: does not match client.token_hmac_secret";
        assert!(out.contains(&format!("{refused}{flaw}")), "{out}");
        let (code, out, _) = run(&["token", "inspect", token], &[]);
        assert!(code == Some(0) && out.contains("not checked"), "{out}");
    }
    let (code, _, err) = run(&["token", "mint", "--dev", "--user", "al"], &[]);
    assert_eq!(code, Some(1));
    assert_eq!(err, "token: set client.token_hmac_secret, or give a private key with --key\n");
    let (code, _, err) = run(&["token", "inspect", "no-token"], &[]);
    assert_eq!(
        (code, err.as_str()),
        (Some(1), "token: is not a token: it does not have three parts\n")
    );
}

#[test]
fn inspect_says_which_check_failed_and_warns_of_milliseconds() {
    let variables = [
        ("CORECAST_CLIENT_TOKEN_HMAC_SECRET", "0123456789abcdef0123456789abcdef"),
        ("CORECAST_CLIENT_TOKEN_AUDIENCE", "us"),
    ];
    let table = [
        (r#"{"aud":"us","exp":1}"#, "not valid, error 109: expired: ", false),
        (r#"{"aud":"them"}"#, "not valid, disconnect 3500: audience: ", false),
        (r#"{"aud":"us","exp":"soon"}"#, "not valid, disconnect 3500: claim: exp ", false),
        (r#"{"aud":"us","exp":1900000000000}"#, "valid: user ", true),
        (r#"{"aud":"us","exp":1900000000}"#, "valid: user ", false),
    ];
    for (claims, verdict, warned) in table {
        let (_, token, _) = run(&["token", "mint", "--claims", claims], &variables);
        let (code, out, _) = run(&["token", "inspect", token.trim()], &variables);
        assert_eq!(code, Some(i32::from(verdict.starts_with("not"))), "{out}");
        assert!(out.contains(verdict), "{claims}: {out}");
        assert_eq!(
            out.contains("warning: exp seems to be in milliseconds"),
            warned,
            "{claims}: {out}"
        );
    }
}

#[test]
fn check_and_serve_report_a_key_that_cannot_be_used() {
    let pem = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
    let key = File::new("key.pem", pem);
    let text = format!("[client]\ntoken_rsa_public_key = {:?}\n", key.path());
    let file = File::new("keys.toml", &text);
    for command in ["check", "serve"] {
        let (code, out, err) = run(&[command, "--config", file.path()], &[]);
        assert_eq!((code, out.as_str()), (Some(78), ""), "{command}");
        assert_eq!(
            err,
            "config: client.token_rsa_public_key: is not an RSA key of 2048 to 8192 bits\n"
        );
    }
    let missing = File::new("missing.toml", "[client]\ntoken_jwks_file = \"/nowhere/keys\"\n");
    let (code, _, err) = run(&["check", "--config", missing.path()], &[]);
    assert_eq!(code, Some(78));
    assert!(err.starts_with(
        "config: client.token_jwks_file = \"/nowhere/keys\" (line 2): cannot be read"
    ));
}
