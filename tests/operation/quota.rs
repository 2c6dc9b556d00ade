//! In a control group: the number of workers follows the CPU quota, pools the memory limit.

use crate::process::{Server, Setup, binary, free_port, fresh, is_root};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A control group of this test, removed when dropped.
struct Group(PathBuf);

impl Group {
    /// One below the test's own group, of version 1 or 2, with these values; `None`, and a line
    /// about it, if this host does not allow that.
    fn new(controller: &str, values: &[(&str, &str)], values_v2: &[(&str, &str)]) -> Option<Group> {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("corecast-test-{}-{number}", std::process::id());
        let own = fs::read_to_string("/proc/self/cgroup").expect("Linux");
        let places = [format!("/sys/fs/cgroup/{controller}"), "/sys/fs/cgroup".to_owned()];
        for (place, values) in places.iter().zip([values, values_v2]) {
            let path_of = |line: &str| {
                let mut fields = line.splitn(3, ':').skip(1);
                let (names, path) = (fields.next()?, fields.next()?);
                let version_2 = place == &places[1] && names.is_empty();
                let its = names.split(',').any(|name| name == controller && place == &places[0]);
                (version_2 || its).then(|| path.to_owned())
            };
            let Some(path) = own.lines().find_map(path_of) else { continue };
            let folder = Path::new(place).join(path.trim_start_matches('/')).join(&name);
            if !folder.parent().is_some_and(|above| above.join("cgroup.procs").exists())
                || fs::create_dir(&folder).is_err()
            {
                continue;
            }
            let group = Group(folder);
            if values.iter().all(|(file, value)| fs::write(group.0.join(file), value).is_ok()) {
                return Some(group);
            }
        }
        eprintln!("SKIPPED: no control group for {controller} can be made here");
        None
    }

    /// Shell commands with which a process enters it.
    fn enter(&self) -> String {
        format!("echo $$ >{}/cgroup.procs", self.0.display())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The kernel keeps the group until its last process is gone.
        for _ in 0..500 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

fn cpu(run: &str) -> Option<Group> {
    let values = [("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", run)];
    let line = format!("{run} 100000");
    Group::new("cpu", &values, &[("cpu.max", &line)])
}

fn workers(server: &Server) -> usize {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.child.id())).expect("it runs");
    let names =
        tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.starts_with("worker-")).count()
}

/// Makes the process believe that it may run on this many cores.
fn faked_cores() -> PathBuf {
    let (source, library) = (fresh("cores.c"), fresh("cores.so"));
    let text = "#define _GNU_SOURCE\n#include <sched.h>\n#include <string.h>\n#include <stdlib.h>\n\
                int sched_getaffinity(pid_t pid, size_t size, cpu_set_t *set) {\n\
                memset(set, 0, size);\n\
                for (int i = 0; i < atoi(getenv(\"FAKED_CORES\")); i++) CPU_SET_S(i, size, set);\n\
                return 0; }\n";
    fs::write(&source, text).expect("a temporary file");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source);
    assert!(compiler.status().expect("a C compiler, as the TLS library needs").success());
    library
}

#[test]
fn workers_follow_the_quota() {
    if !is_root() {
        return eprintln!("SKIPPED: only root can make control groups");
    }
    let library = faked_cores();
    for (run, expected) in [("100000", 1), ("150000", 2), ("20000", 1), ("300000", 3)] {
        let Some(group) = cpu(run) else { return };
        for driver in ["epoll", "auto"] {
            let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
            let listen = addr.to_string();
            let mut server = Server::start(&Setup {
                arguments: &["--dev", "--listen", &listen, "--driver", driver],
                before: &group.enter(),
                variables: &[
                    ("FAKED_CORES", "8"),
                    ("LD_PRELOAD", library.to_str().expect("a plain path")),
                ],
                ..Setup::default()
            });
            server.ready_at(addr);
            assert_eq!(workers(&server), expected, "{run} us of 100 ms");
            assert!(!server.log().contains("cannot pin"), "{}", server.log());
        }
    }
}

#[test]
fn pools_follow_the_memory() {
    if !is_root() {
        return eprintln!("SKIPPED: only root can make control groups");
    }
    const LIMIT: u64 = 512 << 20;
    let limit = LIMIT.to_string();
    let values = [("memory.limit_in_bytes", limit.as_str())];
    let Some(group) = Group::new("memory", &values, &[("memory.max", &limit)]) else { return };
    let library = faked_cores();
    for driver in ["epoll", "auto"] {
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut server = Server::start(&Setup {
            arguments: &["--dev", "--listen", &addr.to_string(), "--driver", driver],
            before: &group.enter(),
            variables: &[
                ("FAKED_CORES", "64"),
                ("LD_PRELOAD", library.to_str().expect("a plain path")),
            ],
            ..Setup::default()
        });
        server.ready_at(addr);
        let status = fs::read_to_string(format!("/proc/{}/status", server.child.id()));
        let status = status.expect("it runs");
        // The binary's own pages are file-backed; memory that grows with workers is not.
        let kib = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a line");
        let kib: u64 = kib.trim().trim_end_matches(" kB").parse().expect("a number");
        eprintln!("{driver}: {} workers, {kib} KiB", workers(&server));
        assert!(kib << 10 <= LIMIT / 8, "{driver}: {kib} KiB before the first client");
    }
}

#[test]
fn doctor_reads_quota_and_limit() {
    if !is_root() {
        return eprintln!("SKIPPED: only root can make control groups");
    }
    let limit = (512_u64 << 20).to_string();
    let values = [("memory.limit_in_bytes", limit.as_str())];
    let Some(memory) = Group::new("memory", &values, &[("memory.max", &limit)]) else { return };
    let Some(cpu) = cpu("50000") else { return };
    let script = format!("{} && {} && exec \"$@\"", memory.enter(), cpu.enter());
    let output = Command::new("sh")
        .args(["-c", &script, "sh"])
        .arg(binary())
        .args(["doctor", "--json", "--connections", "100"])
        .output()
        .expect("a shell runs");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let finding = |name: &str| {
        let all = report["findings"].as_array().expect("findings").iter();
        let found = all.clone().find(|finding| finding["name"] == name);
        found.unwrap_or_else(|| panic!("no {name}: {report}")).clone()
    };
    let quota = finding("CPU quota of the control group");
    assert_eq!(quota["state"], "differs");
    assert!(quota["current"].as_str().expect("text").starts_with("0.50 of "), "{quota}");
    let memory = finding("memory limit of the control group");
    assert!(memory["current"].as_str().expect("text").starts_with("512 MiB"), "{memory}");
}
