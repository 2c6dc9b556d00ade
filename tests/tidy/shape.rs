//! Sizes, headers, markers: the form of a file.

use crate::source::{Source, blank_literals, item_end};

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;
const LINE_LETTERS: usize = 100;
const MARKERS: [&str; 4] =
    [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK")];

/// The rules for every file.
pub fn check(source: &Source) -> Vec<String> {
    let mut wrong = Vec::new();
    let lines = source.text.lines().count();
    if lines > FILE_LINES {
        wrong.push(format!("{}: {lines} lines, at most {FILE_LINES}", source.path));
    }
    if !source.text.starts_with("//!") {
        let rule = "opens with `//!`: what it is, what it must not know, its invariant";
        wrong.push(format!("{}:1: {rule}", source.path));
    }
    let bare = blank_literals(&source.text);
    for (index, (line, bare)) in source.text.lines().zip(bare.lines()).enumerate() {
        let letters = line.chars().count();
        let number = index + 1;
        // A literal cannot be broken, so lines with one are left to the formatter.
        let literal = line != bare && !line.trim_start().starts_with("//");
        if letters > LINE_LETTERS && !literal {
            wrong.push(format!("{}:{number}: {letters} letters in a line", source.path));
        }
        let mut words = line.split(|letter: char| !letter.is_alphanumeric());
        if words.any(|word| MARKERS.contains(&word)) {
            wrong.push(format!("{}:{number}: do it, or open an issue", source.path));
        }
    }
    wrong.extend(long_functions(source));
    wrong
}

fn long_functions(source: &Source) -> Vec<String> {
    let mut wrong = Vec::new();
    for (index, pair) in source.code.windows(2).enumerate() {
        let named =
            pair[1].text.starts_with(|letter: char| letter.is_alphabetic() || letter == '_');
        if pair[0].text != "fn" || !named {
            continue;
        }
        let first = pair[0].line;
        let lines = source.code[item_end(&source.code, index)].line - first + 1;
        if lines > FUNCTION_LINES {
            let name = &pair[1].text;
            wrong.push(format!(
                "{}:{first}: {name} has {lines} lines, at most {FUNCTION_LINES}",
                source.path
            ));
        }
    }
    wrong
}

/// Prefixes of names that promise to change nothing.
const ASKS: [&str; 5] = ["is_", "has_", "may_", "must_", "can_"];

/// Functions with such a name that could change their object.
pub fn queries(source: &Source) -> Vec<String> {
    let mut wrong = Vec::new();
    for (index, pair) in source.code.windows(2).enumerate() {
        let name = &pair[1].text;
        if pair[0].text != "fn" || !ASKS.iter().any(|asks| name.starts_with(asks)) {
            continue;
        }
        let after = source.code[index + 2..].iter().map(|token| token.text.as_str());
        let header: Vec<&str> = after.take_while(|text| !["{", ";"].contains(text)).collect();
        if header.windows(3).any(|words| words == ["&", "mut", "self"]) {
            let rule =
                "asks by its name, and takes `&mut self`: take `&self`, or name what it does";
            wrong.push(format!("{}:{}: {name} {rule}", source.path, pair[0].line));
        }
    }
    wrong
}

#[test]
fn planted_queries_are_found() {
    let cases = [
        ("fn is_one(&self) -> bool { true }", 0),
        ("fn is_one(&mut self) -> bool { true }", 1),
        ("fn may_go<T: Fn()>(\n    &mut self,\n    it: T,\n) -> bool { true }", 1),
        ("fn has_one(of: &mut Vec<u8>) -> bool { of.len() == 1 }", 0),
        ("fn issue(&mut self) {}", 0),
    ];
    for (text, expected) in cases {
        let wrong = queries(&Source::new("src/a.rs", text));
        assert_eq!(wrong.len(), expected, "{text}: {wrong:#?}");
    }
}

#[test]
fn planted_shapes_are_found() {
    let function = |lines: usize| format!("//! A.\nfn f() {{\n{}}}\n", "    g();\n".repeat(lines));
    let cases = [
        ("//! A.\nfn f() {}\n".into(), 0),
        ("fn f() {}\n".into(), 1),
        ("// A.\n//! B.\n".into(), 1),
        ("//! A.\n".repeat(500), 0),
        ("//! A.\n".repeat(501), 1),
        (function(68), 0),
        (function(69), 1),
        (format!("//! {}", "é".repeat(96)), 0),
        (format!("//! {}", "é".repeat(97)), 1),
        (format!("//! A.\nconst A: &str = \"{}\";\n", "é".repeat(97)), 0),
        (format!("//! A.\n    // \"{}\"\n", "é".repeat(97)), 1),
        (["//! A.\n// TO", "DO: later\n"].concat(), 1),
        (["//! A.\n// FIX", "ME\n// XX", "XX\n"].concat(), 1),
        ("//! A.\ntrait T { fn f(&self); fn g() -> [u8; 4]; }\ntype F = fn(u8);\n".into(), 0),
    ];
    for (text, expected) in cases {
        let wrong = check(&Source::new("src/a.rs", &text));
        assert_eq!(wrong.len(), expected, "{text}: {wrong:#?}");
    }
}
