//! No file may need, by way of its imports, a file that needs it: else neither can be read, or
//! changed, without the other.

use crate::layers;
use crate::source::{Source, Token};
use std::collections::{BTreeMap, BTreeSet};

/// Which file imports which, by their modules.
pub type Imports = BTreeMap<String, BTreeSet<String>>;

/// Circles that are left, each with its files: take out of it what is freed.
pub const LEFT: &[&[&str]] = &[
    &[
        "edge",
        "edge::connection::details",
        "edge::lines::presences",
        "edge::outbound::fanout",
        "edge::refusals",
    ],
    &["edge::connection", "edge::connection::server_side", "edge::connection::subscriptions"],
    &[
        "sim::bridge",
        "sim::caller",
        "sim::client",
        "sim::core",
        "sim::driver",
        "sim::errand",
        "sim::filter",
        "sim::host",
        "sim::ledger",
        "sim::plan",
        "sim::server_side",
        "sim::waiting",
    ],
    &["sim::assemble", "sim::run"],
    &["worker::recv", "worker::sealed"],
];

/// Names that a module hands on from elsewhere: by module and name, where they come from.
type HandedOn = BTreeMap<(String, String), String>;

fn module_of(path: &str) -> Option<String> {
    let path = path.split_once("src/")?.1.strip_suffix(".rs")?;
    let path = path.strip_suffix("/mod").unwrap_or(path);
    (!matches!(path, "lib" | "main")).then(|| path.replace('/', "::"))
}

/// The imports between the files of a crate, tests and what is compiled for sabotage left out.
pub fn imports(sources: &[Source]) -> Imports {
    let product =
        |source: &&Source| !source.product.is_empty() && !source.path.ends_with("/sabotage.rs");
    let files: BTreeMap<String, &Source> = sources
        .iter()
        .filter(product)
        .filter_map(|source| Some((module_of(&source.path)?, source)))
        .collect();
    let mut handed_on = HandedOn::new();
    for (module, source) in &files {
        hands_on(module, &source.product, &mut handed_on);
    }
    let mut imports = Imports::new();
    for (module, source) in &files {
        let named = layers::every_path(&source.product, module);
        let wanted = named.iter().filter_map(|(path, _)| resolve(path, &files, &handed_on));
        let wanted = wanted.filter(|wanted| wanted != module).collect();
        imports.insert(module.clone(), wanted);
    }
    imports
}

/// Notes the `pub use` of a module.
fn hands_on(module: &str, code: &[Token], handed_on: &mut HandedOn) {
    for (index, pair) in code.windows(2).enumerate() {
        if pair[0].text != "pub" || pair[1].text != "use" {
            continue;
        }
        let end = code[index..].iter().position(|token| token.text == ";");
        let Some(end) = end.map(|end| index + end) else { continue };
        let first = &code[index + 2].text;
        let absolute = first == "crate" || first == "super";
        let mut found = Vec::new();
        if absolute {
            found = layers::every_path(&code[index + 2..end], module);
        } else {
            let prefix = module.split("::").map(str::to_owned).collect();
            layers::tree(&code[..end], index + 2, prefix, &mut found);
        }
        for (path, _) in found {
            let name = path.rsplit("::").next().unwrap_or_default().to_owned();
            handed_on.insert((module.to_owned(), name), path);
        }
    }
}

/// The file that a path leads to, through what modules hand on.
fn resolve(path: &str, files: &BTreeMap<String, &Source>, handed_on: &HandedOn) -> Option<String> {
    let mut path = path.to_owned();
    for _ in 0..4 {
        let mut module = path.as_str();
        while !files.contains_key(module) {
            module = module.rsplit_once("::")?.0;
        }
        let name = path[module.len()..].trim_start_matches("::").split("::").next();
        let next = name.and_then(|name| handed_on.get(&(module.to_owned(), name.to_owned())));
        match next {
            Some(next) if *next != path => path.clone_from(next),
            _ => return Some(module.to_owned()),
        }
    }
    None
}

/// The sets of files that import each other in a circle, largest first.
pub fn circles(imports: &Imports) -> Vec<Vec<String>> {
    let reached: BTreeMap<&String, BTreeSet<&String>> =
        imports.keys().map(|from| (from, reach(from, imports))).collect();
    let mut seen = BTreeSet::new();
    let mut circles = Vec::new();
    for (from, to) in &reached {
        if !to.contains(from) || seen.contains(from) {
            continue;
        }
        let both = to.iter().filter(|other| reached[*other].contains(from));
        let circle: Vec<String> = both.map(|other| (*other).clone()).collect();
        seen.extend(to.iter().copied().filter(|other| circle.contains(other)));
        circles.push(circle);
    }
    circles.sort_by_key(|circle| std::cmp::Reverse(circle.len()));
    circles
}

/// Every file that one leads to.
fn reach<'a>(from: &String, imports: &'a Imports) -> BTreeSet<&'a String> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&String> = imports[from].iter().collect();
    while let Some(next) = open.pop() {
        if reached.insert(next) {
            open.extend(imports.get(next).into_iter().flatten());
        }
    }
    reached
}

/// Circles beside those that are known.
pub fn check(sources: &[Source], known: &[&[&str]]) -> Vec<String> {
    let imports = imports(sources);
    let mut wrong = Vec::new();
    for circle in circles(&imports) {
        let is_known =
            known.iter().any(|known| circle.iter().all(|it| known.contains(&it.as_str())));
        if !is_known {
            let within = |from: &String| -> Vec<&String> {
                imports[from].iter().filter(|to| circle.contains(to)).collect()
            };
            for from in &circle {
                wrong.push(format!("in a circle: {from} imports {:?}", within(from)));
            }
        }
    }
    wrong
}

#[test]
fn planted_circles_are_found() {
    let source = |path: &str, text: &str| Source::new(path, text);
    let one_way = [
        source("src/edge/mod.rs", "mod a; mod b; pub use a::A; use crate::edge::b::B;"),
        source("src/edge/a.rs", "pub struct A;"),
        source("src/edge/b.rs", "use crate::edge::A;"),
    ];
    assert_eq!(check(&one_way, &[]), Vec::<String>::new(), "A is of the file a");
    let circle = [
        source("src/edge/mod.rs", "mod a; mod b; pub use a::A; use b::B;"),
        source("src/edge/a.rs", "use super::b::B; pub struct A;"),
        source("src/edge/b.rs", "use crate::edge::{A, C};"),
    ];
    assert_eq!(check(&circle, &[]).len(), 2, "a and b; edge is only imported from");
    assert_eq!(check(&circle, &[&["edge::a", "edge::b"]]), Vec::<String>::new());
}
