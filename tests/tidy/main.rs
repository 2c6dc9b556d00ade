//! Checks the layout that ARCHITECTURE.md describes: layers, sizes, banned names, `unsafe`.
//!
//! Each checker is tested on planted text beside it. Exemptions are in a table with their reason:
//! change the table, not the checker.

mod bans;
mod layers;
mod sabotage;
mod shape;
mod source;

use source::Source;
use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn none_wrong(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

fn judge(directories: &[&str], check: fn(&Source) -> Vec<String>) {
    let mut wrong = Vec::new();
    for directory in directories {
        let sources = Source::all(root(), directory);
        assert!(!sources.is_empty(), "no file under {directory}");
        wrong.extend(sources.iter().flat_map(check));
    }
    none_wrong(&wrong);
}

#[test]
fn layers_import_downward() {
    judge(&["src"], layers::check);
}

#[test]
fn banned_names_stay_in_their_places() {
    judge(&["src"], bans::check);
}

#[test]
fn a_query_changes_nothing() {
    judge(&["src"], shape::queries);
}

#[test]
fn files_and_functions_keep_their_size() {
    judge(&["src", "tests", "bench/src"], shape::check);
}

#[test]
fn a_release_has_no_trace_of_sabotage() {
    judge(&["src"], sabotage::check);
    let rules: Vec<String> =
        corecast::rules::RULES.iter().map(|(_, rule)| format!("{rule:?}")).collect();
    none_wrong(&sabotage::count(&Source::all(root(), "src"), &rules));
}
