//! What is `pub` is named by another file: else it need not be, and the compiler can say when
//! nobody uses it any more.

use crate::source::{Source, Token, closing};
use std::collections::{BTreeMap, BTreeSet};

const ITEMS: [&str; 3] = ["fn", "const", "static"];

/// The names of functions and constants that are `pub`, with their lines.
fn public(code: &[Token]) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let mut inline_ends = 0;
    for at in 0..code.len() {
        // What an inline module has is for its file, which says so by `pub`.
        if code[at].text == "mod" && code.get(at + 2).is_some_and(|token| token.text == "{") {
            inline_ends = inline_ends.max(closing(code, at + 2));
        }
        if code[at].text != "pub" || at < inline_ends {
            continue;
        }
        let open = code.get(at + 1).is_some_and(|token| token.text == "(");
        let mut next = if open { closing(code, at + 1) + 1 } else { at + 1 };
        let word = |at: usize| code.get(at).map_or("", |token| token.text.as_str());
        if word(next) == "const" && ["fn", "unsafe"].contains(&word(next + 1)) {
            next += 1;
        }
        if ITEMS.contains(&word(next)) {
            found.push((word(next + 1).to_owned(), code[next].line));
        }
    }
    found
}

/// Files that are let off, with the reason.
const EXCEPT: &[(&str, &str)] = &[("src/limits.rs", "every bound is there to be read")];

/// Rooms that have some still, with their number: lower it when one goes.
const LEFT: &[(&str, usize)] =
    &[("src/bridge/", 1), ("src/edge/", 14), ("src/home/", 2), ("src/worker/", 2)];

/// What is `pub` in `judged`, and named by no other file of `all`.
pub fn check(judged: &[Source], all: &[Source]) -> Vec<String> {
    let mut files: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for source in all {
        for token in &source.code {
            files.entry(&token.text).or_default().insert(&source.path);
        }
    }
    let mut wrong = Vec::new();
    for source in judged {
        if EXCEPT.iter().any(|(path, _)| *path == source.path) {
            continue;
        }
        for (name, line) in public(&source.product) {
            let named = files.get(name.as_str());
            let elsewhere = named.is_some_and(|at| at.iter().any(|path| *path != source.path));
            if !elsewhere {
                let rule = "is `pub`, and no other file names it: leave `pub` out";
                wrong.push(format!("{}:{line}: {name} {rule}", source.path));
            }
        }
    }
    let of = |prefix: &str| wrong.iter().filter(|it| it.starts_with(prefix)).count();
    let known: Vec<&str> =
        LEFT.iter().filter(|(room, left)| of(room) <= *left).map(|(room, _)| *room).collect();
    wrong.retain(|it| !known.iter().any(|room| it.starts_with(room)));
    wrong
}

#[test]
fn planted_dead_items_are_found() {
    let a = "pub fn one() {} pub(crate) const fn two() {} pub const THREE: u8 = 3; fn four() {}";
    let used = Source::new("src/b.rs", "fn f() { one(); two(); THREE; }");
    let dead = Source::new("src/b.rs", "fn f() { \"one\"; /* two */ }");
    let judged = || vec![Source::new("src/a.rs", a)];
    assert_eq!(check(&judged(), &[Source::new("src/a.rs", a), used]), Vec::<String>::new());
    assert_eq!(check(&judged(), &[Source::new("src/a.rs", a), dead]).len(), 3);
}
