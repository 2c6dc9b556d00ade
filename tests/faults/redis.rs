//! A Redis or Valkey of a scenario's own: it can be killed, frozen and started again.

use crate::until;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

static SERVERS: AtomicU32 = AtomicU32::new(0);

pub struct Redis {
    child: Child,
    program: String,
    pub port: u16,
    directory: PathBuf,
    options: Vec<String>,
}

/// A port on which no program listens.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

impl Redis {
    pub fn start() -> Redis {
        Redis::start_with(&[])
    }

    pub fn start_with(options: &[&str]) -> Redis {
        let program = std::env::var("CORECAST_TEST_REDIS").unwrap_or("redis-server".into());
        Redis::start_program(&program, options)
    }

    pub fn start_program(program: &str, options: &[&str]) -> Redis {
        let number = SERVERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("corecast-faults-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).expect("a directory of its own");
        let options: Vec<String> = options.iter().map(|it| (*it).to_owned()).collect();
        let port = free_port();
        let child = launch(program, port, (&directory, &options));
        let program = program.to_owned();
        let redis = Redis { child, program, port, directory, options };
        until("Redis answers", || {
            let answer = redis.ask(&["PING"]);
            answer.starts_with("+PONG") || answer.starts_with("-NOAUTH")
        });
        redis
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A command that needs the password `later`.
    pub fn with_password(&self, words: &[&str]) {
        until("it takes the password", || {
            let commands = [encoded(&["AUTH", "later"]), encoded(words)].concat();
            !self.say(&commands).starts_with('-')
        });
    }

    /// Do so many connections at most hear any channel whose name has this?
    pub fn receivers_at_most(&self, name: &str, most: u64) -> bool {
        let channels = self.must(&["PUBSUB", "CHANNELS", &format!("*{name}*")]);
        let mut names = channels.split("\r\n").filter(|it| it.contains(name));
        names.all(|name| {
            let answer = self.must(&["PUBSUB", "NUMSUB", name]);
            let count = answer.rsplit(':').next().expect("a number").trim();
            count.parse::<u64>().expect("a number") <= most
        })
    }

    /// Sends a command, and returns the beginning of the answer; empty if there is none.
    pub fn ask(&self, words: &[&str]) -> String {
        self.say(&encoded(words))
    }

    fn say(&self, commands: &str) -> String {
        let ask = || {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(15))).ok()?;
            stream.write_all(commands.as_bytes()).ok()?;
            let mut bytes = vec![0; 64 << 10];
            let length = stream.read(&mut bytes).ok()?;
            Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
        };
        ask().unwrap_or_default()
    }

    /// A command that must succeed.
    pub fn must(&self, words: &[&str]) -> String {
        let answer = self.ask(words);
        assert!(!answer.is_empty() && !answer.starts_with('-'), "{words:?}: {answer}");
        answer
    }

    /// Calls of a command so far.
    pub fn calls(&self, command: &str) -> u64 {
        let all = self.must(&["INFO", "commandstats"]);
        let begin = format!("cmdstat_{command}:calls=");
        let line = all.lines().find_map(|line| line.strip_prefix(&begin));
        let count = line.and_then(|rest| rest.split(',').next());
        count.map_or(0, |count| count.parse().expect("a number"))
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again with what it saved, where it was.
    pub fn start_again(&mut self) {
        self.launch_again(&[]);
        until("Redis answers", || self.ask(&["PING"]).starts_with("+PONG"));
    }

    /// The same, with these options too, and without a wait until it answers.
    pub fn launch_again(&mut self, more: &[&str]) {
        let more = more.iter().map(|it| (*it).to_owned());
        let options: Vec<String> = self.options.iter().cloned().chain(more).collect();
        self.child = launch(&self.program, self.port, (&self.directory, &options));
    }

    pub fn freeze(&self) {
        kill_process(Pid::from_child(&self.child), Signal::STOP).expect("it runs");
    }

    pub fn thaw(&self) {
        kill_process(Pid::from_child(&self.child), Signal::CONT).expect("it runs");
    }
}

fn encoded(words: &[&str]) -> String {
    let words = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
    let words: Vec<String> = words.collect();
    format!("*{}\r\n{}", words.len(), words.concat())
}

fn launch(program: &str, port: u16, place: (&Path, &[String])) -> Child {
    let (directory, options) = place;
    let mut command = Command::new(program);
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
    command.arg("--dir").arg(directory).args(options);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    child.unwrap_or_else(|error| panic!("{program}: {error}; scripts/test install brings it"))
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
