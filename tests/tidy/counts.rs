//! What is counted of the code, to be compared before and after a change of its shape, and the
//! counts that may not get worse. `cargo test --test tidy -- --nocapture counts` prints them.

use crate::circles::{self, Imports};
use crate::source::{Source, Token, closing, item_end};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

const LONG_LINES: usize = 40;
const MANY_ARGUMENTS: usize = 4;

/// Assertions for a hundred functions of the product that a room has at least: raise it when there
/// are more. The goal is 50.
const ASSERTIONS_PER_100: &[(&str, usize)] =
    &[("src/driver", 19), ("src/edge", 5), ("src/home", 9), ("src/mesh", 5)];

const ASSERTIONS: [&str; 6] =
    ["assert", "assert_eq", "assert_ne", "debug_assert", "debug_assert_eq", "debug_assert_ne"];

/// A function of the product.
struct Function {
    path: String,
    name: String,
    line: usize,
    lines: usize,
    /// Without `self`.
    arguments: usize,
}

fn is_name(token: &Token) -> bool {
    token.text.starts_with(|letter: char| letter.is_alphabetic() || letter == '_')
}

fn functions(source: &Source) -> Vec<Function> {
    let code = &source.product;
    let mut found = Vec::new();
    for at in 0..code.len().saturating_sub(1) {
        if code[at].text != "fn" || !is_name(&code[at + 1]) {
            continue;
        }
        let Some(open) = (at..code.len()).find(|index| code[*index].text == "(") else { break };
        found.push(Function {
            path: source.path.clone(),
            name: code[at + 1].text.clone(),
            line: code[at].line,
            lines: code[item_end(code, at)].line - code[at].line + 1,
            arguments: arguments(&code[open..=closing(code, open)]),
        });
    }
    found
}

/// The arguments between two parentheses, `self` left out.
fn arguments(code: &[Token]) -> usize {
    let inside = &code[1..code.len() - 1];
    let (mut depth, mut count, mut filled) = (0_usize, 0, false);
    for (index, token) in inside.iter().enumerate() {
        let arrow = index > 0 && inside[index - 1].text == "-";
        match token.text.as_str() {
            "(" | "[" | "{" | "<" => depth += 1,
            ">" if arrow => {}
            ")" | "]" | "}" | ">" => depth = depth.saturating_sub(1),
            "," if depth == 0 => {
                count += usize::from(filled);
                filled = false;
                continue;
            }
            "self" if depth == 0 => {
                filled = false;
                continue;
            }
            "&" | "mut" | "'" if !filled => continue,
            _ => {}
        }
        filled |= token.text != "self" && inside.get(index + 1).is_none_or(|it| it.text != "self");
    }
    count + usize::from(filled)
}

/// The room of a file: its directory of `src`, of `src/edge` the one below.
fn room(path: &str) -> String {
    let mut parts = path.trim_end_matches(".rs").split('/');
    let (src, first) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    match (first, parts.next()) {
        ("edge", Some(second)) => format!("{src}/edge/{second}"),
        _ => format!("{src}/{first}"),
    }
}

/// By room: assertions and functions of the product.
fn assertions(sources: &[Source]) -> BTreeMap<String, (usize, usize)> {
    let mut rooms: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for source in sources {
        let asserts =
            |pair: &&[Token]| pair[1].text == "!" && ASSERTIONS.contains(&pair[0].text.as_str());
        let room = rooms.entry(room(&source.path)).or_default();
        room.0 += source.product.windows(2).filter(asserts).count();
        room.1 += functions(source).len();
    }
    rooms
}

/// Rooms that have fewer assertions than before.
pub fn check_assertions(sources: &[Source]) -> Vec<String> {
    let rooms = assertions(sources);
    let mut wrong = Vec::new();
    for (prefix, least) in ASSERTIONS_PER_100 {
        let of = rooms.iter().filter(|(room, _)| {
            room.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        let (asserts, functions) = of.fold((0, 0), |sum, (_, it)| (sum.0 + it.0, sum.1 + it.1));
        if asserts * 100 < functions * least {
            let has = asserts * 100 / functions.max(1);
            wrong.push(format!("{prefix}: {has} assertions for 100 functions, least {least}"));
        }
    }
    wrong
}

/// By struct: its fields, or the methods of all its `impl` blocks.
fn members(sources: &[Source], methods: bool) -> Vec<(usize, String)> {
    let mut sizes: BTreeMap<String, usize> = BTreeMap::new();
    for source in sources {
        let code = &source.product;
        for at in 0..code.len() {
            let opens = if methods { "impl" } else { "struct" };
            let starts =
                at == 0 || matches!(code[at - 1].text.as_str(), "}" | ";" | "]" | "pub" | ")");
            if code[at].text != opens || !starts {
                continue;
            }
            let Some((name, open)) = item_name(code, at) else { continue };
            let inside = &code[open..=closing(code, open)];
            let count = if methods {
                inside.windows(2).filter(|it| it[0].text == "fn" && is_name(&it[1])).count()
            } else {
                arguments(inside)
            };
            *sizes.entry(name).or_default() += count;
        }
    }
    let mut sizes: Vec<(usize, String)> = sizes.into_iter().map(|(name, it)| (it, name)).collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    sizes
}

/// The type that an `impl` or `struct` at this place is of, and where its braces open.
fn item_name(code: &[Token], at: usize) -> Option<(String, usize)> {
    let open = (at..code.len()).find(|index| matches!(code[*index].text.as_str(), "{" | ";"))?;
    if code[open].text == ";" {
        return None;
    }
    let header = &code[at + 1..open];
    let subject = header.iter().position(|token| token.text == "for").map_or(0, |at| at + 1);
    let mut depth = 0_usize;
    for token in &header[subject..] {
        match token.text.as_str() {
            "<" => depth += 1,
            ">" => depth = depth.saturating_sub(1),
            _ if depth == 0 && is_name(token) => return Some((token.text.clone(), open)),
            _ => {}
        }
    }
    None
}

/// Which of the edge's rooms calls methods of which, by `self`.
fn calls_between_rooms(sources: &[Source]) -> Imports {
    let edge: Vec<&Source> =
        sources.iter().filter(|source| source.path.starts_with("src/edge/")).collect();
    let mut homes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in &edge {
        for function in functions(source) {
            homes.entry(function.name).or_default().insert(room(&source.path));
        }
    }
    let mut calls = Imports::new();
    for source in &edge {
        let from = room(&source.path);
        let called = calls.entry(from.clone()).or_default();
        for words in source.product.windows(4) {
            let texts: Vec<&str> = words.iter().map(|token| token.text.as_str()).collect();
            if let ["self", ".", name, "("] = texts[..]
                && let Some(rooms) = homes.get(name)
                && rooms.len() == 1
            {
                called.extend(rooms.iter().filter(|room| **room != from).cloned());
            }
        }
    }
    calls
}

/// All counts, as text.
pub fn report(sources: &[Source], wildcards: usize) -> String {
    let mut text = String::new();
    let all: Vec<Function> = sources.iter().flat_map(functions).collect();
    let mut line = |name: &str, value: String| {
        writeln!(text, "{name:<44} {value}").expect("a string takes all");
    };
    let sizes = |circles: Vec<Vec<String>>| {
        let sizes: Vec<String> = circles.iter().map(|circle| circle.len().to_string()).collect();
        format!("{} ({} files or rooms)", circles.len(), sizes.join(" + "))
    };
    line("circles by imports", sizes(circles::circles(&circles::imports(sources))));
    let calls = calls_between_rooms(sources);
    line("circles by self. calls, edge's rooms", sizes(circles::circles(&calls)));
    let top = |sizes: Vec<(usize, String)>| {
        let top: Vec<String> =
            sizes.iter().take(6).map(|(size, name)| format!("{name} {size}")).collect();
        top.join(", ")
    };
    line("methods of a struct, largest", top(members(sources, true)));
    line("fields of a struct, largest", top(members(sources, false)));
    let long = all.iter().filter(|it| it.lines > LONG_LINES).count();
    line("functions over 40 lines", long.to_string());
    let many = all.iter().filter(|it| it.arguments > MANY_ARGUMENTS).count();
    line("functions of more than 4 arguments", many.to_string());
    line("arms `_` beside variants of own enums", wildcards.to_string());
    let sabotage = sources.iter().flat_map(crate::sabotage::broken_rules).count();
    line("lines that break a rule on purpose", sabotage.to_string());
    for (room, (asserts, functions)) in assertions(sources) {
        let tenths = asserts as f64 / functions.max(1) as f64;
        line(&format!("assertions per function, {room}"), format!("{tenths:.2} of {functions}"));
    }
    for function in all.iter().filter(|it| it.lines > LONG_LINES || it.arguments > MANY_ARGUMENTS) {
        let Function { path, line: at, name, lines, arguments } = function;
        line(&format!("  {name}: {lines} lines, {arguments} arguments"), format!("{path}:{at}"));
    }
    text
}

#[test]
fn planted_functions_are_counted() {
    let text = "impl A {\n    fn one(&mut self, a: Vec<(u8, u8)>, b: fn(u8) -> u8) {\n        \
        assert!(a);\n        debug_assert_eq!(b, 1);\n    }\n    fn none(&self) {}\n    \
        fn five<'a>(a: &'a u8, b: u8, c: u8, d: u8, e: u8) {}\n}\nstruct A { a: u8, b: Vec<u8> }";
    let sources = [Source::new("src/home/a.rs", text)];
    let found = functions(&sources[0]);
    let said: Vec<_> = found.iter().map(|it| (it.name.as_str(), it.lines, it.arguments)).collect();
    assert_eq!(said, [("one", 4, 2), ("none", 1, 0), ("five", 1, 5)]);
    assert_eq!(assertions(&sources)["src/home"], (2, 3));
    assert_eq!(members(&sources, true), [(3, "A".to_owned())]);
    assert_eq!(members(&sources, false), [(2, "A".to_owned())]);
    assert_eq!(check_assertions(&sources), Vec::<String>::new());
    let bare = [Source::new("src/home/a.rs", "fn a() {}")];
    assert_eq!(check_assertions(&bare).len(), 1, "no assertion in a function of home");
}
