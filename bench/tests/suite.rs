//! The suite as a program, with servers and a generator that are a few lines of shell: what it
//! records when all goes well, and what it reports and does not record when something breaks.
//!
//! Must not know the inside of the suite.

use serde_json::Value;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A server that serves no clients and never ends.
const SERVER: &str = "echo ready\nexec sleep 1000";
/// A generator that records which server was measured, and reports success.
const GENERATOR: &str = r#"
[ "$1" = floor ] && exit 1
echo "$@" >>"$0.calls"
echo '{"scenario":"fanout","dialect":"raw","verified":true,"failure":null,"offered_per_s":100,
"messages":400,"deliveries":400000,"window_s":4.0,"server_cpu_us_per_delivery":2.5,
"generator_cpu_us_per_delivery":1.0,"latency_us":{"p50":100,"p90":200,"p99":300,"p999":400,
"max":500,"curve":[[0,50],[50,100],[99,300]]},"rss_bytes":null,"params":{}}' | tr -d '\n'
"#;

/// A folder with peers and a generator of shell, removed at the end.
struct Stage {
    folder: PathBuf,
}

impl Stage {
    fn new(name: &str) -> Stage {
        let folder = std::env::temp_dir().join(format!("corecast-{name}-{}", std::process::id()));
        let stage = Stage { folder };
        stage.script("peers/uwebsockets/uwebsockets", SERVER);
        stage.script("peers/centrifuge/centrifuge", SERVER);
        stage.script("generator", GENERATOR);
        stage
    }

    fn script(&self, path: &str, body: &str) {
        let path = self.folder.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("the folder");
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_corecast-bench"));
        command.arg("suite").args(arguments.split_whitespace());
        for (flag, path) in [("peers", "peers"), ("scratch", "scratch"), ("results", "results")] {
            command.arg(format!("--{flag}")).arg(self.folder.join(path));
        }
        command.arg("--generator").arg(self.folder.join("generator"));
        command.args(["--machine", "stage", "--corecast", "/nonexistent"]);
        command
    }

    /// Runs the suite to its end.
    fn run(&self, arguments: &str) -> Output {
        self.command(arguments).output().expect("the suite")
    }

    /// What the results folder holds, sorted.
    fn recorded(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.join("results"));
        let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        let mut names: Vec<String> = entries.into_iter().flatten().flatten().map(name).collect();
        names.sort();
        names
    }

    fn file(&self) -> PathBuf {
        let names = self.recorded();
        let name = names.iter().find(|name| name.ends_with(".json")).expect("a results file");
        self.folder.join("results").join(name)
    }

    fn results(&self) -> Value {
        let text = fs::read_to_string(self.file()).expect("its text");
        serde_json::from_str(&text).expect("JSON")
    }

    /// What the suite makes of the results file.
    fn shown(&self, flag: &str) -> Output {
        let suite = env!("CARGO_BIN_EXE_corecast-bench");
        let mut command = Command::new(suite);
        command.args(["suite", flag]).arg(self.file()).output().expect("the suite")
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn told(output: &Output) -> String {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&text).into_owned()
}

fn runs(results: &Value, name: &str) -> usize {
    let entries = results["cases"][0]["entries"].as_array().expect("entries");
    let entry = entries.iter().find(|entry| entry["name"] == name).expect("the contender");
    entry["runs"].as_array().expect("runs").len()
}

const BOTH: &str = "--only fanout uwebsockets centrifuge --port";

#[test]
fn a_set_is_recorded_whole_and_its_rounds_alternate() {
    let stage = Stage::new("whole");
    let output = stage.run(&format!("{BOTH} 22100"));
    assert!(output.status.success(), "{}", told(&output));
    let results = stage.results();
    assert_eq!(results["complete"], true);
    assert_eq!((runs(&results, "uwebsockets"), runs(&results, "centrifuge")), (7, 7));
    let names = stage.recorded();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names[0].ends_with("-stage-standard-fanout-uwebsockets-centrifuge.html"), "{names:?}");

    let calls = fs::read_to_string(stage.folder.join("generator.calls")).expect("its calls");
    let dialect = |call: &str| if call.contains("--dialect raw") { 'u' } else { 'c' };
    let order: String = calls.lines().map(dialect).collect();
    // The first run of each is thrown away.
    assert_eq!(order, format!("cu{}", "uccu".repeat(4).split_at(14).0));
    let last = calls.lines().last().expect("a call");
    for option in
        ["fanout --url ws://127.0.0.1:22", "--json", "--window-s 4", "--rate 100", "--cpu"]
    {
        assert!(last.contains(option), "{option}: {last}");
    }
}

#[test]
fn a_second_set_of_a_day_is_a_second_file() {
    let stage = Stage::new("twice");
    for _ in 0..2 {
        let output = stage.run(&format!("{BOTH} 22120 --rounds 1"));
        assert!(output.status.success(), "{}", told(&output));
    }
    let names = stage.recorded();
    assert_eq!(names.iter().filter(|name| name.ends_with("centrifuge-2.json")).count(), 1);
    assert_eq!(names.len(), 4, "{names:?}");
}

#[test]
fn a_peer_that_loses_a_delivery_could_not_carry_it_and_the_others_are_whole() {
    let stage = Stage::new("lost");
    let lossy = format!(
        "case \"$*\" in *raw*) if [ \"$(grep -c raw \"$0.calls\")\" -ge 3 ]; then\n\
         echo '{{\"scenario\":\"fanout\",\"dialect\":\"raw\",\"verified\":false,\
         \"failure\":\"2 of 400000 deliveries lost\",\"messages\":1,\"deliveries\":1,\
         \"window_s\":1}}'; exit 1; fi;; esac\n{GENERATOR}"
    );
    stage.script("generator", &format!("touch \"$0.calls\"\n{lossy}"));
    let output = stage.run(&format!("{BOTH} 22140"));
    let text = told(&output);
    assert!(output.status.success(), "{text}");
    let said = "could not carry it: round 3: 2 of 400000 deliveries lost";
    assert!(text.contains(said), "{text}");
    let results = stage.results();
    assert_eq!(results["complete"], true);
    assert_eq!((runs(&results, "uwebsockets"), runs(&results, "centrifuge")), (2, 7));
    assert_eq!(results["cases"][0]["entries"][0]["outcome"], "could not carry it");
    let names = stage.recorded();
    assert!(names.iter().all(|name| !name.contains(".incomplete.")), "{names:?}");

    let table = stage.shown("--table");
    let told = told(&table);
    assert!(table.status.success() && told.contains("| could not carry it | | |"), "{told}");
}

#[test]
fn a_server_that_dies_during_a_run_is_named_with_its_last_words() {
    let stage = Stage::new("dies");
    // It falls once the generator is at work, which would otherwise never end.
    let fall = format!(
        "echo ready\nuntil [ -e {0} ]; do sleep 0.05; done\necho out of luck >&2\nexit 7",
        stage.folder.join("generator.calls").display()
    );
    stage.script("peers/uwebsockets/uwebsockets", &fall);
    stage.script("generator", "[ \"$1\" = floor ] && exit 1\ntouch \"$0.calls\"\nexec sleep 1000");
    let started = Instant::now();
    let output = stage.run("--only fanout uwebsockets --rounds 7 --port 22160");
    let text = told(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("could not carry it: round 0: uwebsockets ended by itself"), "{text}");
    assert!(text.contains("(exit status: 7)") && text.contains("out of luck"), "{text}");
    assert!(started.elapsed() < Duration::from_secs(30), "it waited for the generator");
    assert_eq!(stage.results()["complete"], true);
    assert_eq!(runs(&stage.results(), "uwebsockets"), 0);
}

#[test]
fn a_server_that_never_starts_and_one_that_is_missing_are_named() {
    let stage = Stage::new("missing");
    fs::remove_file(stage.folder.join("peers/uwebsockets/uwebsockets")).expect("it was there");
    fs::write(stage.folder.join("peers/uwebsockets/missing"), "no c++ here to build it\n")
        .expect("why");
    stage.script("peers/centrifuge/centrifuge", "echo cannot listen; exit 1");
    let output = stage.run(&format!("{BOTH} 22180"));
    let text = told(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("missing: uwebsockets: no c++ here to build it"), "{text}");
    assert!(text.contains("centrifuge ended by itself (exit status: 1): cannot listen"), "{text}");
    // It says nothing of the peer, so neither the case nor the file is whole.
    assert!(text.contains("not complete, and recorded as such"), "{text}");
    assert_eq!(stage.results()["complete"], false);
    let names = stage.recorded();
    assert!(names.iter().all(|name| name.contains(".incomplete.")), "{names:?}");
    for (flag, why) in [("--table", "says complete: false"), ("--goals", "no complete case")] {
        let output = stage.shown(flag);
        assert!(!output.status.success() && output.stdout.is_empty());
        assert!(told(&output).contains(why), "{}", told(&output));
    }

    fs::remove_dir_all(stage.folder.join("peers/centrifuge")).expect("it was there");
    let output = stage.run(&format!("{BOTH} 22180"));
    assert!(told(&output).contains("nobody of these cases can be started"), "{}", told(&output));
    let output = stage.run("--only corecast-io_uring --port 22180");
    assert!(told(&output).contains("corecast-io_uring cannot be started"), "{}", told(&output));
}

#[test]
fn a_port_in_use_is_named_and_passed_over() {
    let stage = Stage::new("port");
    let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = held.local_addr().expect("its address").port();
    let output = stage.run(&format!("--only fanout uwebsockets --rounds 1 --port {port}"));
    let text = told(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains(&format!("port {port} is in use")), "{text}");
    let calls = fs::read_to_string(stage.folder.join("generator.calls")).expect("its calls");
    assert!(!calls.contains(&format!(":{port}/")) && calls.contains("127.0.0.1:"), "{calls}");
}

#[test]
fn an_interrupt_ends_the_servers_and_records_nothing() {
    let stage = Stage::new("interrupt");
    stage.script("generator", "[ \"$1\" = floor ] && exit 1\necho $$ >\"$0.pid\"\nexec sleep 1000");
    stage.script(
        "peers/uwebsockets/uwebsockets",
        "echo $$ >\"$0.pid\"\necho ready\nexec sleep 1000",
    );
    let suite = stage
        .command("--only fanout uwebsockets --port 22220")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the suite");
    let generator = wait_for_pid(&stage.folder.join("generator.pid"));
    let server = wait_for_pid(&stage.folder.join("peers/uwebsockets/uwebsockets.pid"));
    let killed = Command::new("kill").arg(suite.id().to_string()).status().expect("kill");
    assert!(killed.success());
    let output = suite.wait_with_output().expect("its end");
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("interrupted"), "{}", told(&output));
    for pid in [generator, server] {
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "{pid} still runs");
    }
    assert_eq!(stage.recorded(), Vec::<String>::new());
}

#[test]
fn an_interrupt_costs_one_case() {
    let stage = Stage::new("kept");
    let stuck = "if [ \"$1\" = echo ]; then echo $$ >\"$0.pid\"; exec sleep 1000; fi";
    stage.script("generator", &format!("{stuck}\n{GENERATOR}"));
    let suite = stage
        .command("--only fanout echo uwebsockets --rounds 1 --port 22240")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the suite");
    wait_for_pid(&stage.folder.join("generator.pid"));
    let killed = Command::new("kill").arg(suite.id().to_string()).status().expect("kill");
    assert!(killed.success());
    let output = suite.wait_with_output().expect("its end");
    assert!(told(&output).contains("interrupted"), "{}", told(&output));
    let names = stage.recorded();
    assert!(
        names.len() == 2 && names.iter().all(|name| name.contains(".incomplete.")),
        "{names:?}"
    );
    let results = stage.results();
    assert_eq!((results["complete"].clone(), runs(&results, "uwebsockets")), (false.into(), 1));
    // The case is complete, so its goals can be shown.
    let goals = stage.shown("--goals");
    assert!(goals.status.success(), "{}", told(&goals));
}

fn wait_for_pid(file: &Path) -> u32 {
    let limit = Instant::now() + Duration::from_secs(20);
    loop {
        let text = fs::read_to_string(file).unwrap_or_default();
        if let Ok(pid) = text.trim().parse() {
            return pid;
        }
        assert!(Instant::now() < limit, "{} never came", file.display());
        thread::yield_now();
    }
}

#[test]
fn what_cannot_be_asked_is_refused_in_one_line() {
    let stage = Stage::new("asked");
    fs::create_dir_all(&stage.folder).expect("the folder");
    let torn = stage.folder.join("torn.json");
    fs::write(&torn, "{\"format\": 1, \"complete\": tr").expect("a file");
    let cases = [
        ("--only nginx".to_owned(), "no case and no contender \"nginx\""),
        ("--quick --full".into(), "cannot be used with"),
        ("--server-cpu 4000".into(), "core 4000 cannot be used here"),
        ("--port 80".into(), "80 is not in 1024..=65000"),
        (format!("--table {}", torn.display()), "is no results file"),
        ("--table /nonexistent.json".into(), "No such file"),
    ];
    for (arguments, expected) in cases {
        let output = stage.run(&arguments);
        let text = told(&output);
        assert!(!output.status.success(), "{arguments}: {text}");
        assert!(text.contains(expected), "{arguments}: {text}");
    }
    assert_eq!(stage.recorded(), Vec::<String>::new());
}
