//! Layers import downward only. The table says what a module may import besides itself.

use crate::source::{Source, Token};

/// Leaves: every module may import them, and they import nothing of Corecast.
const LEAVES: [&str; 9] =
    ["clock", "hashing", "indexed", "limits", "listed", "meant", "namespace", "rules", "work"];

/// Modules that read and write HTTP, without knowing what is served.
const HTTP_SYNTAX: &[&str] = &["http::body", "http::request", "http::response"];

/// A module, then what it may import. The longest name that matches a file counts; a module may
/// always import itself and the leaves.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("config", &["http::forwarded", "http::origin", "http::routes"]),
    ("logging", &["config"]),
    ("tell", &[]),
    ("metrics", &["codec::command", "ws::frame"]),
    ("ws", &[]),
    ("http", &[]),
    ("http::body", HTTP_SYNTAX),
    ("http::request", HTTP_SYNTAX),
    ("http::response", HTTP_SYNTAX),
    ("http::routes", &["http", "api", "codec", "metrics"]),
    ("http::page", &["http", "codec", "metrics"]),
    ("api", &["http::response", "codec", "metrics"]),
    ("codec", &[]),
    ("driver", &[]),
    ("transport", &[]),
    ("mesh", &[]),
    ("contract", &["codec::command"]),
    ("auth", &["contract", "codec"]),
    ("filter", &["contract", "codec::command"]),
    ("home", &["contract", "codec::command", "metrics"]),
    ("edge", &["api", "auth", "codec", "contract", "filter", "http", "metrics", "ws"]),
    ("worker", &["contract", "driver", "transport", "edge", "home", "mesh", "metrics"]),
    ("bridge", &["contract", "mesh", "metrics"]),
    ("bridge::redis::resp", &[]),
    (
        "sim",
        &[
            "auth",
            "bridge",
            "codec",
            "config",
            "contract",
            "driver",
            "edge",
            "home",
            "http",
            "mesh",
            "metrics",
            "transport",
            "worker",
            "ws",
        ],
    ),
    (
        "server",
        &[
            "auth",
            "bridge",
            "codec",
            "config",
            "contract",
            "driver",
            "edge",
            "home",
            "http",
            "logging",
            "mesh",
            "metrics",
            "tell",
            "transport",
            "worker",
            "ws",
        ],
    ),
    ("cli", &["server", "config", "http::date", "logging", "tell", "auth"]),
];

/// What a module may not import although the table's shorter names would allow it.
const MAY_NOT_NAME: &[(&str, &str)] = &[("sim", "driver::uring"), ("sim", "driver::epoll")];

/// The imports of a file that are not allowed.
pub fn check(source: &Source) -> Vec<String> {
    let Some(module) = module_of(&source.path) else {
        return Vec::new();
    };
    let top = module.split("::").next().unwrap_or_default();
    let scope = if LEAVES.contains(&top) { Some((top, [].as_slice())) } else { scope(&module) };
    let Some((scope, allowed)) = scope else {
        return vec![format!("{}: no layer: add it to the table of tests/tidy", source.path)];
    };
    let leaf = LEAVES.contains(&top);
    let mut wrong = Vec::new();
    for (path, line) in paths(&source.product, &module) {
        let own_and_leaves = within(&path, scope) || !leaf && within_any(&path, &LEAVES);
        let refused = MAY_NOT_NAME.iter().any(|(who, what)| *who == top && within(&path, what));
        if refused || !own_and_leaves && !within_any(&path, allowed) {
            wrong.push(format!("{}:{line}: {scope} may not name crate::{path}", source.path));
        }
    }
    wrong
}

fn scope(module: &str) -> Option<(&'static str, &'static [&'static str])> {
    let fits = MAY_NAME.iter().filter(|(name, _)| within(module, name));
    fits.max_by_key(|(name, _)| name.len()).copied()
}

fn within(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn within_any(path: &str, modules: &[&str]) -> bool {
    modules.iter().any(|module| within(path, module))
}

/// The module of a file; `None` for the crate's roots, which may import everything.
fn module_of(path: &str) -> Option<String> {
    let path = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let path = path.strip_suffix("/mod").unwrap_or(path);
    (!matches!(path, "lib" | "main")).then(|| path.replace('/', "::"))
}

/// Every path from the crate's root in the code, groups expanded, with its line.
pub fn paths(code: &[Token], module: &str) -> Vec<(String, usize)> {
    let mut found = every_path(code, module);
    found.retain(|(path, _)| is_module(path));
    found
}

/// The same, whatever the crate is.
pub fn every_path(code: &[Token], module: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (index, token) in code.iter().enumerate() {
        let follows = index > 0 && code[index - 1].text == "::";
        let start = match token.text.as_str() {
            "crate" if !follows => Some(Vec::new()),
            "super" if !follows => {
                let mut parents: Vec<String> = module.split("::").map(str::to_owned).collect();
                parents.pop();
                Some(parents)
            }
            _ => None,
        };
        if let Some(prefix) = start
            && code.get(index + 1).is_some_and(|next| next.text == "::")
        {
            tree(code, index + 2, prefix, &mut found);
        }
    }
    found
}

/// Is it a module of the crate? Names of an inline module match no file and are ignored.
fn is_module(path: &str) -> bool {
    let top = path.split("::").next().unwrap_or_default();
    LEAVES.contains(&top) || MAY_NAME.iter().any(|(name, _)| *name == top)
}

/// Reads one use-tree from `at`; returns the index after it.
pub fn tree(
    code: &[Token],
    mut at: usize,
    mut prefix: Vec<String>,
    found: &mut Vec<(String, usize)>,
) -> usize {
    while let Some(token) = code.get(at) {
        match token.text.as_str() {
            "{" => {
                at += 1;
                while code.get(at).is_some_and(|token| token.text != "}") {
                    at = tree(code, at, prefix.clone(), found);
                    while code
                        .get(at)
                        .is_some_and(|token| !matches!(token.text.as_str(), "," | "}"))
                    {
                        at += 1;
                    }
                    at += usize::from(code.get(at).is_some_and(|token| token.text == ","));
                }
                return at + 1;
            }
            "super" => drop(prefix.pop()),
            "self" => {}
            name => prefix.push(name.to_owned()),
        }
        at += 1;
        if code.get(at).is_none_or(|token| token.text != "::") {
            found.push((prefix.join("::"), token.line));
            return at;
        }
        at += 1;
    }
    at
}

#[test]
fn planted_imports_are_found() {
    let cases: [(&str, &str, &[&str]); 15] = [
        ("src/ws/frame.rs", "use crate::limits::Limits;", &[]),
        ("src/ws/frame.rs", "use crate::codec::json;", &["ws may not name crate::codec::json"]),
        ("src/limits.rs", "use crate::clock::Now;", &["limits may not name crate::clock::Now"]),
        (
            "src/http/request.rs",
            "use super::routes::Route;",
            &["http::request may not name crate::http::routes::Route"],
        ),
        ("src/http/routes.rs", "use super::page::Asset;", &[]),
        ("src/http/mod.rs", "use super::edge::Edge;", &["http may not name crate::edge::Edge"]),
        (
            "src/edge/mod.rs",
            "fn f() { crate::home::channel::f(); }",
            &["edge may not name crate::home::channel::f"],
        ),
        (
            "src/edge/mod.rs",
            "use crate::{contract::block::Block, home::history::{self, Ring}, ws};",
            &[
                "edge may not name crate::home::history",
                "edge may not name crate::home::history::Ring",
            ],
        ),
        (
            "src/bridge/redis/resp/mod.rs",
            "use crate::mesh::lane;",
            &["bridge::redis::resp may not name crate::mesh::lane"],
        ),
        (
            "src/bridge/mod.rs",
            "use crate::worker::Worker;",
            &["bridge may not name crate::worker::Worker"],
        ),
        (
            "src/sim/mod.rs",
            "use crate::driver::{Driver, epoll};",
            &["sim may not name crate::driver::epoll"],
        ),
        (
            "src/server.rs",
            "use crate::{cli, sim::Host};",
            &["server may not name crate::cli", "server may not name crate::sim::Host"],
        ),
        (
            "src/cli.rs",
            "use crate::auth;\nuse crate::edge::session;",
            &["cli may not name crate::edge::session"],
        ),
        ("src/ws/mod.rs", "#[cfg(test)]\nmod tests { use crate::home; }", &[]),
        ("src/ws/mod.rs", "// use crate::home;\nconst A: &str = \"crate::home\";", &[]),
    ];
    for (path, text, expected) in cases {
        let wrong = check(&Source::new(path, text));
        let told: Vec<&str> = wrong.iter().filter_map(|line| line.split(": ").nth(1)).collect();
        assert_eq!(told, expected, "{path}: {text}");
    }
    assert_eq!(check(&Source::new("src/novel.rs", "")).len(), 1, "a module without a layer");
}
