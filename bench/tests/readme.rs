//! README's figures, and the tables of docs/benchmarks.md and docs/goals.md, are the ones that their
//! results files make.

use std::path::Path;
use std::process::Command;

/// The table under a page's mark, and what the suite prints for the mark's files.
fn told_and_made(page: &str, flag: &str) -> (String, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let text = std::fs::read_to_string(root.join(page)).expect("the page");
    let mark = format!("<!-- corecast-bench suite {flag} ");
    let (_, rest) = text.split_once(&mark).expect("the table's mark");
    let (files, rest) = rest.split_once(" -->\n").expect("the mark's end");
    let told = rest.split_inclusive('\n').take_while(|line| line.starts_with('|')).collect();
    let output = Command::new(env!("CARGO_BIN_EXE_corecast-bench"))
        .args(["suite", flag])
        .args(files.split_whitespace())
        .current_dir(root)
        .output()
        .expect("the suite");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (told, String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn the_figures_in_readme_are_made_of_the_files_that_it_names() {
    let (told, made) = told_and_made("README.md", "--beside");
    assert_eq!(told.trim_end(), made.trim_end(), "paste it again");
}

#[test]
fn the_table_of_benchmarks_is_made_of_the_file_that_it_names() {
    let (told, made) = told_and_made("docs/benchmarks.md", "--table");
    // The published table, where the file has it, is a second one.
    let first = made.split("\n\n").next().unwrap_or_default();
    assert_eq!(told.trim_end(), first.trim_end(), "paste it again");
}

#[test]
fn the_table_of_goals_is_made_of_the_files_that_it_names() {
    let (told, made) = told_and_made("docs/goals.md", "--goals");
    assert_eq!(told.trim_end(), made.trim_end(), "paste it again");
}

#[test]
fn the_published_table_is_made_of_the_file_that_it_names() {
    let (told, made) = told_and_made("docs/goals.md", "--table");
    assert_eq!(told.trim_end(), made.trim(), "paste it again");
}
