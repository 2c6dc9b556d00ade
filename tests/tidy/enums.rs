//! Enums of ours are matched variant by variant: an arm `_` would take a new variant in silence.
//! One that refuses (`_ => Err(...)`) may be: what nobody knows yet is not taken.

use crate::source::{Source, Token, closing};
use std::collections::{BTreeMap, BTreeSet};

/// Rooms that have some still, with their number: lower it when one goes.
const LEFT: &[(&str, usize)] =
    &[("driver", 1), ("edge", 22), ("home", 2), ("server", 1), ("sim", 14), ("ws", 3)];

/// What rooms have beyond the number that is known.
pub fn check_all(sources: &[Source]) -> Vec<String> {
    let enums = declared(sources);
    let mut wrong = Vec::new();
    let mut rooms: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for source in sources.iter().filter(|it| !it.path.ends_with("/sabotage.rs")) {
        let room = source.path.split('/').nth(1).unwrap_or_default();
        rooms.entry(room).or_default().extend(check(source, &enums));
    }
    for (room, found) in rooms {
        let left = LEFT.iter().find(|(name, _)| *name == room).map_or(0, |(_, left)| *left);
        if found.len() > left {
            wrong.extend(found);
        }
    }
    wrong
}

/// The enums that are declared in these files.
pub fn declared(sources: &[Source]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for source in sources {
        for pair in source.product.windows(2) {
            if pair[0].text == "enum" {
                names.insert(pair[1].text.clone());
            }
        }
    }
    names
}

/// Arms `_` beside arms that name a variant of one of these enums.
pub fn check(source: &Source, enums: &BTreeSet<String>) -> Vec<String> {
    let code = &source.product;
    let foreign = foreign(code);
    let enums = &enums.iter().filter(|name| !foreign.contains(name.as_str())).cloned().collect();
    let mut wrong = Vec::new();
    for at in 0..code.len() {
        if code[at].text != "match" {
            continue;
        }
        let Some(open) = body(code, at + 1) else { continue };
        let patterns = patterns(code, open);
        let own = patterns.iter().find_map(|(start, end)| own_enum(&code[*start..*end], enums));
        let wildcard = patterns.iter().find(|(start, end)| {
            end - start == 1 && code[*start].text == "_" && !refuses(&code[end + 2..])
        });
        if let (Some(own), Some((start, _))) = (own, wildcard) {
            let line = code[*start].line;
            wrong.push(format!("{}:{line}: `_` beside variants of {own}: name them", source.path));
        }
    }
    wrong
}

/// The names that a file imports from other crates, which one of ours may have too.
fn foreign(code: &[Token]) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for at in 0..code.len().saturating_sub(1) {
        let ours = ["crate", "super", "self"].contains(&code[at + 1].text.as_str());
        if code[at].text == "use" && !ours {
            let words = code[at + 1..].iter().map(|token| token.text.as_str());
            names.extend(words.take_while(|text| *text != ";"));
        }
    }
    names
}

/// Is the body of an arm an error, given or returned?
fn refuses(body: &[Token]) -> bool {
    let first = body.iter().find(|token| token.text != "return");
    first.is_some_and(|token| token.text == "Err")
}

/// Where the braces of a `match` open whose scrutinee begins at `at`.
fn body(code: &[Token], mut at: usize) -> Option<usize> {
    while at < code.len() {
        match code[at].text.as_str() {
            "{" => return Some(at),
            "(" | "[" => at = closing(code, at) + 1,
            ";" | "}" => return None,
            _ => at += 1,
        }
    }
    None
}

/// Begin and end of each arm's pattern, guards included.
fn patterns(code: &[Token], open: usize) -> Vec<(usize, usize)> {
    let end = closing(code, open);
    let mut found = Vec::new();
    let mut at = open + 1;
    while at < end {
        let start = at;
        while at < end && !(code[at].text == "=" && code[at + 1].text == ">") {
            at = if matches!(code[at].text.as_str(), "(" | "[" | "{") {
                closing(code, at)
            } else {
                at
            };
            at += 1;
        }
        if at >= end {
            break;
        }
        found.push((start, at));
        at += 2;
        if code[at].text == "{" {
            at = closing(code, at) + 1;
        } else {
            while at < end && code[at].text != "," {
                at = if matches!(code[at].text.as_str(), "(" | "[" | "{") {
                    closing(code, at)
                } else {
                    at
                };
                at += 1;
            }
        }
        at += usize::from(at < end && code[at].text == ",");
    }
    found
}

/// The enum of ours whose variant a pattern begins with, bare or in an `Option` or `Result`.
fn own_enum(pattern: &[Token], enums: &BTreeSet<String>) -> Option<String> {
    let wrapped = ["Some", "Ok", "Err"].contains(&pattern.first()?.text.as_str());
    let pattern = if wrapped { pattern.get(2..)? } else { pattern };
    let path = pattern.iter().take_while(|it| it.text == "::" || it.text != "(" && it.text != "{");
    let words: Vec<&str> = path.map(|token| token.text.as_str()).collect();
    let named = words.windows(2).find(|pair| pair[1] == "::" && enums.contains(pair[0]));
    let own = words.first() == Some(&"Self") && words.get(1) == Some(&"::");
    named.map(|pair| pair[0].to_owned()).or_else(|| own.then(|| "Self".to_owned()))
}

#[test]
fn planted_wildcards_are_found() {
    let cases = [
        ("match a { A::One => 1, A::Two => 2 }", 0),
        ("match a { A::One => 1, _ => 2 }", 1),
        ("match a { Some(A::One) => { f(); } _ => 2 }", 1),
        ("match a { crate::a::A::One { b: (c, d) } => f(c, d), _ => 2 }", 1),
        ("match a { A::One => Ok(1), _ => Err(2) }", 0),
        ("match a { A::One => 1, _ => return Err(2) }", 0),
        ("match a { B::One => 1, _ => 2 }", 0),
        ("match a { 1 => A::One, _ => A::Two }", 0),
        ("match a { 1 => match b { A::One => 1, A::Two => 2 }, _ => 2 }", 0),
        ("match f(|a| { a }) { A::One if b => 1, _ => 2 }", 1),
    ];
    let enums = BTreeSet::from(["A".to_owned()]);
    for (text, expected) in cases {
        let source = Source::new("src/a.rs", &format!("fn f() {{ {text} }}"));
        let wrong = check(&source, &enums);
        assert_eq!(wrong.len(), expected, "{text}: {wrong:#?}");
    }
    for (from, expected) in [("toml::A", 0), ("toml::{A, B}", 0), ("crate::A", 1), ("toml::B", 1)] {
        let text = format!("use {from}; fn f() {{ match a {{ A::One => 1, _ => 2 }} }}");
        let wrong = check(&Source::new("src/a.rs", &text), &enums);
        assert_eq!(wrong.len(), expected, "{text}: {wrong:#?}");
    }
}
