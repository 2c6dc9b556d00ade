//! Runs the commands of the pages: `corecast` and `curl` as written; commands that take longer, or
//! need packages, must be run by a script, and their flags must be in that script's help.
//!
//! Must not know prose. Invariant: a command that this test cannot run or find fails.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_corecast");
const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// A program that does not answer within this time counts as hanging.
const HANGS: Duration = Duration::from_secs(200);

/// Pages that show commands, by their path from the root.
fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    let mut folders = vec![PathBuf::from(ROOT), Path::new(ROOT).join("docs")];
    let examples = Path::new(ROOT).join("examples").read_dir().expect("examples");
    folders.extend(examples.map(|entry| entry.expect("an entry").path()).filter(|it| it.is_dir()));
    for folder in folders {
        let entries = folder.read_dir().expect("a folder").map(|entry| entry.expect("an entry"));
        let is_page = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "md");
        pages.extend(entries.map(|entry| entry.path()).filter(is_page));
    }
    pages.sort();
    pages
}

/// The commands in a page's `sh` blocks: one per line, without comments, with continued lines
/// joined.
fn commands(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for block in page.split("\n```sh\n").skip(1) {
        let block = block.split("\n```").next().unwrap_or_default().replace("\\\n", " ");
        for line in block.lines() {
            let command = line.split(" #").next().unwrap_or_default().trim();
            if !command.is_empty() && !command.starts_with('#') {
                found.push(command.to_owned());
            }
        }
    }
    found
}

/// The first block of a language.
fn block<'a>(page: &'a str, language: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("\n```{language}\n")).expect("a block");
    rest.split("\n```").next().unwrap_or_default()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// A server that is ended in any case.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(args: &[&str]) -> Self {
        let port = free_port();
        let mut child = program(args);
        child.env("CORECAST_LISTEN", format!("127.0.0.1:{port}"));
        child.env("CORECAST_WORKERS", "1");
        if args.iter().any(|arg| arg.contains("corecast-pages")) {
            child.env("CORECAST_INTERNAL_LISTEN", "127.0.0.1:0");
        }
        let child = child.stdout(Stdio::null()).spawn().expect("the server starts");
        let mut server = Server { child, port };
        let begun = Instant::now();
        while !server.is_healthy() {
            let ended = server.child.try_wait().expect("its state");
            assert!(ended.is_none(), "{args:?} ended: {ended:?}");
            assert!(begun.elapsed() < HANGS, "{args:?} does not answer /health");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    fn is_healthy(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        stream.set_read_timeout(Some(HANGS)).expect("a time limit");
        let asked = stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let mut answer = [0; 12];
        asked.is_ok() && stream.read_exact(&mut answer).is_ok() && &answer == b"HTTP/1.1 200"
    }

    fn stop(mut self) {
        let kill = Command::new("kill").arg(self.child.id().to_string()).status().expect("kill");
        assert!(kill.success());
        let ended = self.child.wait().expect("its end");
        assert!(ended.success(), "the server ended with {ended}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already if the test succeeded.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server's program with the variables of README's production example.
fn program(args: &[&str]) -> Command {
    let mut program = Command::new(BINARY);
    program.args(args).current_dir(ROOT).stdin(Stdio::null());
    if !args.contains(&"--dev") {
        program.env("CORECAST_CLIENT_TOKEN_HMAC_SECRET", "0123456789abcdef0123456789abcdef");
        program.env("CORECAST_API_KEY", "0123456789abcdef");
    }
    program
}

/// `corecast ...`, with README's `corecast.toml`.
fn corecast(command: &str, config: &str) {
    let words = command.split_whitespace();
    let args: Vec<&str> =
        words.map(|word| if word == "corecast.toml" { config } else { word }).collect();
    if args.first() == Some(&"serve") {
        let args: Vec<&str> = args.into_iter().collect();
        return Server::start(&args).stop();
    }
    let output = program(&args).output().expect("it runs");
    // Whether this host has a shortfall does not matter here.
    let short = args.first() == Some(&"doctor") && output.status.code() == Some(1);
    assert!(output.status.success() || short, "corecast {command}: {}", all_of(&output));
}

fn all_of(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    format!("{}\n{}", output.status, String::from_utf8_lossy(&text))
}

/// `curl ...` as written, against a server in development mode.
fn curl(command: &str, server: &Server) {
    let silent = command.replacen("curl ", "curl --silent --show-error ", 1);
    let command = silent.replace("127.0.0.1:8000", &format!("127.0.0.1:{}", server.port));
    let output = Command::new("sh").args(["-c", &command]).output().expect("sh");
    assert!(output.status.success(), "{command}: {}", all_of(&output));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(answer["error"].is_null() && !answer["result"].is_null(), "{command}: {answer}");
}

/// A script that takes too long to run here: it must exist and be executable, and it or the program
/// that it starts must know the flags.
fn script(command: &str) {
    let mut words = command.split_whitespace();
    let path = words.next().unwrap_or_default().trim_start_matches("./");
    let runs = std::fs::metadata(Path::new(ROOT).join(path));
    let runs = runs.unwrap_or_else(|error| panic!("{path}: {error}")).permissions().mode();
    assert!(runs & 0o111 != 0, "{path} may not be run");
    let programs: &[&str] = match path {
        "scripts/sim" => &["examples/sim.rs"],
        "scripts/bench" => &["bench/src/suite/mod.rs"],
        _ => &[],
    };
    let read =
        |path: &&str| std::fs::read_to_string(Path::new(ROOT).join(path)).expect("a program");
    let text: String = [path].iter().chain(programs).map(read).collect();
    for word in words.filter(|word| word.starts_with("--")) {
        let flag = word.trim_start_matches('-');
        assert!(text.contains(flag), "{command}: neither {path} nor its program knows {word}");
    }
}

#[test]
fn every_command_of_the_pages_runs() {
    let readme = std::fs::read_to_string(Path::new(ROOT).join("README.md")).expect("README");
    let config = std::env::temp_dir().join(format!("corecast-pages-{}.toml", std::process::id()));
    std::fs::write(&config, block(&readme, "toml")).expect("a temporary file");
    let config = config.to_str().expect("a path in UTF-8");
    let dev = Server::start(&["serve", "--dev"]);
    let mut ran = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).expect("a page");
        for command in commands(&text) {
            let (first, rest) = command.split_once(' ').unwrap_or((&command, ""));
            match first {
                // Values that a reader replaces; `program` has some.
                "export" => continue,
                "corecast" => corecast(rest, config),
                "cargo" if rest.starts_with("run --release -- ") => {
                    corecast(&rest["run --release -- ".len()..], config);
                }
                "curl" => curl(&command, &dev),
                "sudo" => script(rest),
                _ if first.trim_start_matches("./").starts_with("scripts/") => script(&command),
                // Run in a browser by scripts/browser.
                "node" | "python3" if rest.starts_with("examples/") => {
                    assert!(Path::new(ROOT).join(rest).exists(), "there is no {rest}");
                }
                _ => panic!("{}: nothing runs {command:?}", page.display()),
            }
            ran += 1;
        }
    }
    dev.stop();
    std::fs::remove_file(config).expect("it was written");
    assert!(ran > 15, "only {ran} commands were found: has the form of the pages changed?");
}
