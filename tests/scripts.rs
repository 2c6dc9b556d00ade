//! The scripts' `--help`: each says what it does, with examples, and builds nothing for that;
//! `scripts/test` names its steps, and ends one that hangs.
//!
//! Must not know what the scripts do. Invariant: nothing of Corecast is built here.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A directory of this test, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("corecast-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a temporary folder");
        Folder(path)
    }

    /// A program in it.
    fn program(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The scripts that are programs.
fn scripts() -> Vec<String> {
    let entries = Path::new(ROOT).join("scripts").read_dir().expect("scripts");
    let programs = entries.map(|entry| entry.expect("an entry")).filter(|entry| {
        entry.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
    });
    let mut names: Vec<String> =
        programs.map(|entry| entry.file_name().into_string().expect("a name in UTF-8")).collect();
    names.sort_unstable();
    assert!(names.len() > 12, "only {names:?}");
    names
}

/// Runs a script with programs that fail, and leave a mark, instead of those that build or install.
fn run_barred(script: &Path, flag: &str, bar: &Folder) -> Output {
    let marker = bar.0.join("called");
    for name in ["cargo", "rustc", "npm", "pip", "go", "apt-get", "sudo"] {
        let text = format!("#!/bin/sh\necho {name} >>{}\nexit 1\n", marker.display());
        bar.program(name, &text);
    }
    Command::new(script)
        .arg(flag)
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", bar.0.display()))
        .env("HOME", &bar.0)
        .current_dir(std::env::temp_dir())
        .output()
        .expect("it runs")
}

#[test]
fn every_script_has_a_help_that_builds_nothing() {
    let bar = Folder::new("scripts-help");
    for name in scripts() {
        for flag in ["--help", "-h"] {
            let output = run_barred(&Path::new(ROOT).join("scripts").join(&name), flag, &bar);
            let (said, wrong) =
                (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success(), "{name} {flag}: {} {said} {wrong}", output.status);
            assert_eq!(wrong, "", "{name} {flag}");
            for part in [&*format!("scripts/{name}"), "\nUsage: ", "\nExamples:\n"] {
                assert!(said.contains(part), "{name} {flag} does not say {part:?}:\n{said}");
            }
            assert!(!bar.0.join("called").exists(), "{name} {flag} builds or installs");
        }
    }
}

/// The steps of `scripts/test`, from its source.
#[test]
fn every_step_is_told_with_its_time() {
    let path = Path::new(ROOT).join("scripts/test");
    let source = fs::read_to_string(&path).expect("the script");
    let steps: Vec<&str> = source
        .lines()
        .filter_map(|line| line.strip_prefix("step_")?.split_once("() {"))
        .map(|(name, _)| name)
        .collect();
    let bar = Folder::new("scripts-steps");
    let output = run_barred(&path, "--help", &bar);
    let said = String::from_utf8(output.stdout).expect("text");
    let told: Vec<(&str, u64)> = said
        .lines()
        .filter_map(|line| {
            let mut words = line.strip_prefix("  ")?.split_whitespace();
            let (name, seconds, unit) = (words.next()?, words.next()?, words.next()?);
            Some((name, seconds.parse().ok()?)).filter(|_| unit == "s")
        })
        .collect();
    assert!(told.iter().all(|(_, seconds)| *seconds > 0));
    let mut names: Vec<&str> = told.into_iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    let mut steps = steps;
    steps.sort_unstable();
    assert_eq!(names, steps, "the page and the functions");
}

/// A build that hangs, with a child that it started and left behind with its output still open.
#[test]
fn a_step_that_hangs_is_ended_with_all_that_it_started() {
    let place = Folder::new("scripts-hang");
    fs::create_dir_all(place.0.join("scripts")).expect("a folder");
    for name in ["test", "lib.sh"] {
        let from = Path::new(ROOT).join("scripts").join(name);
        fs::copy(from, place.0.join("scripts").join(name)).expect("a copy");
    }
    let pids = place.0.join("pids");
    let hangs = format!(
        "#!/bin/sh\necho begun\nsleep 3600 &\necho $! $$ >{}\nsleep 3600\n",
        pids.display()
    );
    place.program("cargo", &hangs);
    let output = Command::new(place.0.join("scripts/test"))
        .args(["format", "lint"])
        .env("PATH", format!("{}:/usr/bin:/bin", place.0.display()))
        .env("HOME", &place.0)
        .env("CORECAST_TEST_LIMIT_S", "1")
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for step in ["format", "lint"] {
        let line = format!("\n{step}: not done after 1 s");
        assert!(said.contains(&line), "no {line:?} in\n{said}");
        assert!(said.contains(&format!("\nFAILED   {step} ")), "{said}");
    }
    assert!(said.contains("==== [2/2] lint: usually"), "{said}");
    assert!(said.contains("\nbegun\n"), "what a step says is shown");
    for pid in fs::read_to_string(pids).expect("it was begun").split_whitespace() {
        let gone = || !Path::new("/proc").join(pid).join("exe").exists();
        let mut waited = 0;
        while !gone() && waited < 1_000 {
            std::thread::sleep(Duration::from_millis(10));
            waited += 1;
        }
        assert!(gone(), "{pid} is left");
    }
}
