//! The files of examples/redis: their settings suit, their user may do what is needed, and the
//! compose file names what is there.

use crate::doctor::{doctor, short};
use crate::rig::Redis;
use std::path::Path;
use std::process::Command;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/redis");

#[test]
fn of_the_example_the_doctor_has_nothing_to_say() {
    let (settings, users) = (format!("{FOLDER}/redis.conf"), format!("{FOLDER}/users.acl"));
    let redis = Redis::start_with(&["--include", &settings, "--aclfile", &users]);
    let url = |who: &str| format!("redis://{who}127.0.0.1:{}", redis.port());
    let found = doctor(&url("corecast:only-for-the-examples@"));
    assert_eq!(short(&found), [""; 0], "{found:?}");
    assert_eq!(found["Redis settings"].0, "not available", "what it need not do it may not");
    let open = Redis::start_with(&["--include", &settings]);
    let found = doctor(&format!("redis://127.0.0.1:{}", open.port()));
    assert_eq!(short(&found), [""; 0], "who may read settings finds nothing: {found:?}");
    assert!(!found.contains_key("Redis settings"), "{found:?}");
    let found = doctor(&url(""));
    assert_eq!((found.len(), short(&found)), (1, vec!["Redis"]), "others may not log in");
}

#[test]
fn the_page_shows_the_rights_of_the_example() {
    let read = |path: &str| std::fs::read_to_string(path).expect("a text");
    let users = read(&format!("{FOLDER}/users.acl")).replace("only-for-the-examples", "PASSWORD");
    let user = users.lines().find(|line| line.starts_with("user corecast ")).expect("a user");
    let page = read(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/redis.md"));
    assert!(page.contains(user), "docs/redis.md has not: {user}");
}

/// A YAML file as JSON, by Python, as there is no Docker to ask.
fn yaml(path: &str) -> Option<serde_json::Value> {
    let program =
        "import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)";
    let output = Command::new("python3").args(["-c", program, path]).output().ok()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.contains("No module named 'yaml'") {
        eprintln!("SKIPPED: python3 has no yaml");
        return None;
    }
    Some(serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}")))
}

#[test]
fn the_compose_file_names_what_is_there() {
    let Some(compose) = yaml(&format!("{FOLDER}/compose.yaml")) else { return };
    let services = compose["services"].as_object().expect("services");
    assert_eq!(services.keys().collect::<Vec<_>>(), ["one", "redis", "two"]);
    let mut mounted = 0;
    for (name, service) in services {
        for volume in service["volumes"].as_array().expect("volumes") {
            let from = volume.as_str().and_then(|it| it.split(':').next()).expect("a text");
            let is_named = compose["volumes"].get(from).is_some();
            let is_built = from.ends_with("target/release/corecast");
            assert!(
                is_named || is_built || Path::new(FOLDER).join(from).exists(),
                "{name}: {from}"
            );
            mounted += 1;
        }
    }
    assert_eq!(mounted, 7);
    assert!(Path::new(FOLDER).join("../../tuning/seccomp.json").exists());
    for name in ["one", "two"] {
        let variables = services[name]["environment"].as_object().expect("variables");
        let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
        let checked = Command::new(env!("CARGO_BIN_EXE_corecast"))
            .args(["check", "--config", &format!("{FOLDER}/../chat/corecast.toml")])
            .envs(variables.iter().map(|(name, value)| (name, text(value))))
            .output()
            .expect("the program runs");
        assert!(checked.status.success(), "{name}: {checked:?}");
    }
}
