//! Checks the layout that ARCHITECTURE.md describes: layers, sizes, banned names, `unsafe`.
//!
//! Each checker is tested on planted text beside it. Exemptions are in a table with their reason:
//! change the table, not the checker.

mod bans;
mod circles;
mod counts;
mod dead;
mod enums;
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

#[test]
fn imports_make_no_circle() {
    let src = Source::all(root(), "src");
    none_wrong(&circles::check(&src, circles::LEFT));
    none_wrong(&circles::check(&Source::all(root(), "bench/src"), &[]));
}

#[test]
fn own_enums_are_matched_by_name() {
    none_wrong(&enums::check_all(&Source::all(root(), "src")));
}

#[test]
fn assertions_do_not_get_fewer() {
    none_wrong(&counts::check_assertions(&Source::all(root(), "src")));
}

#[test]
fn counts() {
    let src = Source::all(root(), "src");
    let enums = enums::declared(&src);
    let wildcards = src.iter().flat_map(|source| enums::check(source, &enums)).count();
    println!("{}", counts::report(&src, wildcards));
}

#[test]
fn public_items_are_used_elsewhere() {
    let directories = ["src", "bench/src", "bench/tests", "tests", "fuzz", "examples", "tuning"];
    let all: Vec<Source> =
        directories.iter().flat_map(|directory| Source::all(root(), directory)).collect();
    none_wrong(&dead::check(&Source::all(root(), "src"), &all));
    none_wrong(&dead::check(&Source::all(root(), "bench/src"), &all));
}
