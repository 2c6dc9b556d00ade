//! Compares the pages at the root and in docs/ with the code: paths, functions, keys, defaults,
//! codes, rules.
//!
//! Must not know prose. Invariant: what these pages say in tables and code blocks is true.

use corecast::config::{Config, Sources};
use corecast::rules::RULES;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use toml::{Table, Value};

/// How a path in the repository begins.
const FOLDERS: [&str; 8] =
    ["src/", "tests/", "scripts/", "bench/", "examples/", "docs/", "tuning/", "fuzz/"];

fn file(path: &str) -> String {
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(whole).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn exists(path: &str) -> bool {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists()
}

/// Every page: those at the root, of docs/ and of examples/.
fn pages() -> Vec<String> {
    let mut pages = Vec::new();
    for folder in [
        "",
        "docs/",
        "examples/",
        "examples/answers/",
        "examples/chat/",
        "examples/prices/",
        "examples/redis/",
    ] {
        let entries = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).read_dir();
        for entry in entries.expect("a folder") {
            let name = entry.expect("an entry").file_name().into_string().expect("a name in UTF-8");
            if name.ends_with(".md") {
                pages.push(format!("{folder}{name}"));
            }
        }
    }
    pages.sort_unstable();
    assert!(pages.len() > 12, "only {pages:?}");
    pages
}

/// The text between backticks, outside code blocks.
fn code_words(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// The part of a page above a heading.
fn above<'a>(page: &'a str, heading: &str) -> &'a str {
    page.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading}")).0
}

/// The rows of a text's tables, without heads and rules, cells trimmed.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = text.lines().collect::<Vec<_>>();
    let is_row = |line: &str| line.starts_with('|');
    let of_table = move |index: usize| {
        let head = lines.get(index + 1).is_some_and(|next| next.starts_with("|--"));
        (is_row(lines[index]) && !head && !lines[index].starts_with("|--")).then(|| lines[index])
    };
    let count = text.lines().count();
    (0..count).filter_map(of_table).map(|line| {
        line.trim_matches('|').split(" | ").map(|cell| cell.trim_matches(['|', ' '])).collect()
    })
}

/// A code block of a language.
fn block<'a>(page: &'a str, language: &str) -> &'a str {
    let fence = format!("\n```{language}\n");
    let start = page.find(&fence).unwrap_or_else(|| panic!("no {language} block")) + fence.len();
    page[start..].split("\n```").next().unwrap_or_default()
}

#[test]
fn paths_and_links_lead_somewhere() {
    let mut found = 0;
    let mut wrong = Vec::new();
    for page in pages() {
        let text = file(&page);
        let folder = page.rfind('/').map_or("", |at| &page[..=at]);
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let links = links.filter(|link| !link.contains("://"));
        // A link is relative to its page's folder, and may name a heading.
        let links =
            links.map(|link| format!("{folder}{}", link.split('#').next().unwrap_or_default()));
        let ours = |word: &&str| FOLDERS.iter().any(|folder| word.starts_with(folder));
        for words in code_words(&text).filter(ours).map(str::to_owned).chain(links) {
            // A script may be followed by its arguments.
            let path = words.split(' ').next().unwrap_or_default();
            found += 1;
            if !exists(path) {
                wrong.push(format!("{page}: there is no {path}"));
            }
        }
    }
    assert!(found > 100, "only {found} paths were found: has the form of the pages changed?");
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn pages_that_are_read_once_stay_short() {
    for (page, most) in [("README.md", 180), ("ARCHITECTURE.md", 350)] {
        let lines = file(page).lines().count();
        assert!(lines <= most, "{page} has {lines} lines, at most {most}: move tables to docs/");
    }
}

/// Functions that a text names, each with its file.
fn named_functions(text: &str) -> Vec<(&str, &str)> {
    let mut named = Vec::new();
    for row in rows(text) {
        let [_, path, functions] = row[..] else { continue };
        let path = path.trim_matches('`');
        if path.ends_with(".rs") && !path.contains('`') {
            named.extend(code_words(functions).map(|function| (path, function)));
        }
    }
    // In prose: `function` in `src/file.rs`.
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut parts = Vec::new();
    for (index, part) in joined.split('`').enumerate() {
        parts.push((index % 2 == 1, part.to_owned()));
    }
    let in_prose = parts
        .windows(3)
        .filter(|it| it[0].0 && it[2].0 && it[1].1 == " in " && it[2].1.ends_with(".rs"));
    for it in in_prose {
        let at =
            |word: &str| text.find(&format!("`{word}`")).map(|at| &text[at + 1..][..word.len()]);
        if let (Some(function), Some(path)) = (at(&it[0].1), at(&it[2].1)) {
            named.push((path, function));
        }
    }
    named
}

#[test]
fn functions_are_where_they_are_said_to_be() {
    let texts: Vec<String> = pages().iter().map(|page| file(page)).collect();
    let named: Vec<(&str, &str)> = texts.iter().flat_map(|text| named_functions(text)).collect();
    assert!(named.len() > 190, "only {} functions were found", named.len());
    let mut wrong = Vec::new();
    for (path, name) in named {
        let code = if exists(path) { file(path) } else { String::new() };
        let defined = ["fn", "enum", "struct", "trait", "const"].iter().any(|kind| {
            code.match_indices(&format!("{kind} {name}")).any(|(at, all)| {
                let next = code[at + all.len()..].chars().next();
                next.is_some_and(|next| !next.is_alphanumeric() && next != '_')
            })
        });
        if !defined {
            wrong.push(format!("there is no {name} in {path}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// Keys by dots, of tables in tables; lists of tables are left out.
fn flat(table: &Table, prefix: &str) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for (name, value) in table {
        match value {
            Value::Table(inner) => keys.extend(flat(inner, &format!("{prefix}{name}."))),
            Value::Array(list) if list.iter().any(Value::is_table) => {}
            _ => {
                keys.insert(format!("{prefix}{name}"));
            }
        }
    }
    keys
}

/// The documented keys with their defaults, as TOML.
fn documented_keys(page: &str) -> BTreeMap<&str, &str> {
    let mut keys = BTreeMap::new();
    for row in rows(above(page, "## Origins")) {
        let [key, default, meaning] = row[..] else { panic!("a row of three cells: {row:?}") };
        assert!(!meaning.is_empty(), "{key} means nothing");
        let before = keys.insert(key.trim_matches('`'), default.trim_matches('`'));
        assert_eq!(before, None, "{key} twice");
    }
    keys
}

#[test]
fn every_key_is_documented() {
    let page = file("docs/configuration.md");
    let documented: BTreeSet<String> =
        documented_keys(&page).keys().map(|key| (*key).to_owned()).collect();
    // The unit tests of config check that this file is complete.
    let known: Table = file("tests/data/every_key.toml").parse().expect("TOML");
    assert_eq!(documented, flat(&known, ""));
}

fn load(name: &str, text: &str, variables: &[(&str, &str)]) -> Config {
    let path = std::env::temp_dir().join(format!("corecast-docs-{}-{name}", std::process::id()));
    std::fs::write(&path, text).expect("a temporary file");
    let variables = variables.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    let sources = Sources { file: Some(path.clone()), variables, ..Sources::default() };
    let loaded = Config::load(sources);
    std::fs::remove_file(&path).expect("it was just written");
    loaded.unwrap_or_else(|errors| {
        panic!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })
}

const SECRET: (&str, &str) =
    ("CORECAST_CLIENT_TOKEN_HMAC_SECRET", "0123456789abcdef0123456789abcdef");

#[test]
fn defaults_are_as_documented() {
    let page = file("docs/configuration.md");
    let keys = documented_keys(&page);
    let all: String = keys.iter().map(|(key, default)| format!("{key} = {default}\n")).collect();
    assert_eq!(load("defaults", &all, &[SECRET]), load("empty", "", &[SECRET]));
    // The variable hid this one's default.
    assert_eq!(keys["client.token_hmac_secret"], "\"\"");
}

#[test]
fn the_production_example_is_a_good_configuration() {
    let readme = file("README.md");
    let config = load("production", block(&readme, "toml"), &[SECRET, ("CORECAST_API_KEY", "key")]);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    assert!(config.namespaces.options("chat:lobby").is_some_and(|chat| chat.keeps_history()));
}

/// Codes of an enum's `parts` in `command.rs`: number, text, and the rest.
fn codes(of: &str) -> Vec<(String, String, Option<bool>)> {
    let code = file("src/codec/command.rs");
    let mut found = Vec::new();
    for line in code.lines().filter(|line| line.trim().starts_with(&format!("{of}::"))) {
        let Some((_, parts)) = line.split_once("=> (") else { continue };
        let parts: Vec<&str> = parts.trim_end_matches("),").split(", ").collect();
        let temporary = parts.get(2).map(|text| *text == "true");
        found.push((parts[0].into(), parts[1].trim_matches('"').into(), temporary));
    }
    assert!(found.len() > 5, "{of} has another form");
    found
}

#[test]
fn codes_are_those_of_the_protocol() {
    let page = file("docs/codes.md");
    let mut errors = Vec::new();
    let mut disconnects = Vec::new();
    for row in rows(&page) {
        match row[..] {
            [code, message, temporary, when] if !when.is_empty() => {
                errors.push((code.to_owned(), message.to_owned(), Some(temporary == "yes")));
            }
            [code, reason, when] if !when.is_empty() => {
                disconnects.push((code.to_owned(), reason.to_owned(), None));
            }
            _ => panic!("not a row of codes: {row:?}"),
        }
    }
    assert_eq!(errors, codes("ErrorCode"));
    assert_eq!(disconnects, codes("Disconnect"));
}

#[test]
fn every_switch_stands_with_its_rule() {
    let text = file("docs/rules.md");
    let rules: Vec<Vec<&str>> = rows(above(&text, "## Bounds")).collect();
    let numbers: Vec<&str> = rules.iter().map(|row| row[0]).collect();
    // 30 is reserved for Redis.
    let expected: Vec<String> = (1..=29).chain(31..=35).map(|number| number.to_string()).collect();
    assert_eq!(numbers, expected);
    let mut switches: Vec<&str> =
        rules.iter().filter_map(|row| row.get(2)).flat_map(|cell| code_words(cell)).collect();
    let mut known: Vec<&str> = RULES.iter().map(|(text, _)| *text).collect();
    switches.sort_unstable();
    known.sort_unstable();
    assert_eq!(switches, known);
}

/// A pasted file of Centrifugo is answered as the page on migrating says.
#[test]
fn keys_of_centrifugo_are_those_that_check_knows() {
    let page = file("docs/migrating-from-centrifugo.md");
    let documented: Vec<(String, String)> = rows(&page)
        .map(|row| match row[..] {
            [theirs, ours] => (theirs.replace('`', ""), ours.replace('`', "")),
            _ => panic!("not a row of two cells: {row:?}"),
        })
        .collect();
    let code = file("src/config/foreign.rs");
    let known: Vec<(String, String)> = code
        .lines()
        .filter_map(|line| line.trim().strip_prefix("(\"")?.strip_suffix("\"),"))
        .filter_map(|line| line.split_once("\", \""))
        .map(|(theirs, ours)| (theirs.to_owned(), ours.replace("\\\"", "\"")))
        .collect();
    assert!(known.len() > 50, "src/config/foreign.rs has another form");
    assert_eq!(documented, known);
}
