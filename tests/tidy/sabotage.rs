//! What the simulation breaks on purpose leaves nothing in a release: the product has a line for
//! each rule, which the macro `sabotage!` removes, and all else is in files `sabotage.rs`.

use crate::source::Source;

/// Rules that one line cannot break, each with the number of its lines.
const MORE_LINES: &[(&str, usize, &str)] = &[
    ("ConnFifo", 2, "what is put aside has to be pushed later"),
    ("RegFirst", 2, "what connect did not wait for has to be registered later"),
    ("LaneFifo", 2, "newcomers pass the line, and whoever has no room goes to its head"),
    ("LiveAtRead", 2, "who is read for has to go live later"),
    ("RearmWant", 2, "a core that did not ask for room does not look for it either"),
    ("FillHold", 2, "a fill that is under way holds back the ring's answers and the reads'"),
    ("Epoch", 2, "publications and reads have an epoch each"),
];

/// What may follow the feature's attribute outside of its own files.
const GUARDED: [&str; 3] = ["mod sabotage;", "broken: sabotage::Broken", "broken: sabotage::"];

fn is_own(path: &str) -> bool {
    path == "src/rules.rs" || path.ends_with("/sabotage.rs")
}

/// Traces of sabotage in a file of the product.
pub fn check(source: &Source) -> Vec<String> {
    if is_own(&source.path) {
        return Vec::new();
    }
    let mut wrong = Vec::new();
    for words in source.code.windows(3) {
        let asks = words[0].text == "holds" && words[1].text == "(" && words[2].text == "Rule";
        let by_path = words[0].text == "rules" && words[1].text == "::" && words[2].text == "holds";
        if asks || by_path {
            let rule = "asks whether a rule holds: use `sabotage!`";
            wrong.push(format!("{}:{}: {rule}", source.path, words[0].line));
        }
    }
    let lines: Vec<&str> = source.text.lines().map(str::trim).collect();
    for (index, line) in lines.iter().enumerate() {
        let next = lines.get(index + 1).copied().unwrap_or_default();
        let guards = line.contains("feature = \"sabotage\"");
        if guards && !GUARDED.iter().any(|start| next.starts_with(start)) {
            let rule = "belongs in a file `sabotage.rs`";
            wrong.push(format!("{}:{}: {rule}", source.path, index + 2));
        }
    }
    wrong
}

/// Every rule that the product has a line for, once for each line.
pub fn broken_rules(source: &Source) -> Vec<String> {
    if source.path == "src/rules.rs" {
        return Vec::new();
    }
    let called = |words: &&[crate::source::Token]| {
        words[0].text == "sabotage" && words[1].text == "!" && words[2].text == "("
    };
    source.product.windows(4).filter(called).map(|words| words[3].text.clone()).collect()
}

/// Rules with more lines, or fewer, than they need.
pub fn count(sources: &[Source], rules: &[String]) -> Vec<String> {
    let broken: Vec<String> = sources.iter().flat_map(broken_rules).collect();
    let lines_of = |rule: &str| broken.iter().filter(|it| *it == rule).count();
    let mut wrong = Vec::new();
    for rule in rules {
        let wanted = MORE_LINES.iter().find(|(name, ..)| name == rule).map_or(1, |it| it.1);
        let lines = lines_of(rule);
        if lines != wanted {
            wrong.push(format!("{rule}: {lines} lines of the product break it, not {wanted}"));
        }
    }
    wrong
}

#[test]
fn planted_traces_are_found() {
    let cases = [
        ("src/home/mod.rs", "if holds(Rule::Cut) { f(); }", 1),
        ("src/home/mod.rs", "use crate::rules::holds;", 1),
        ("src/home/sabotage.rs", "if holds(Rule::Cut) { f(); }", 0),
        ("src/server/doctor/tuned.rs", "if holds(a, b) { f(); }", 0),
        ("src/home/mod.rs", "#[cfg(feature = \"sabotage\")]\nmod sabotage;", 0),
        ("src/home/mod.rs", "#[cfg(feature = \"sabotage\")]\nbroken: sabotage::Broken,", 0),
        ("src/home/mod.rs", "#[cfg(feature = \"sabotage\")]\nread_early: Vec<u8>,", 1),
        ("src/home/mod.rs", "#[cfg(feature = \"sabotage\")]\nfn forget(&mut self) {}", 1),
    ];
    for (path, text, expected) in cases {
        let wrong = check(&Source::new(path, text));
        assert_eq!(wrong.len(), expected, "{path}: {text}: {wrong:#?}");
    }
    let source = |text: &str| [Source::new("src/home/mod.rs", text)];
    let rules = ["Cut".to_owned()];
    assert_eq!(count(&source("sabotage!(Cut => f());"), &rules).len(), 0);
    assert_eq!(count(&source("f();"), &rules).len(), 1, "a rule that nothing breaks");
    let twice = "sabotage!(Cut => f()); sabotage!(Cut: a = 1);";
    assert_eq!(count(&source(twice), &rules).len(), 1, "a rule with a line too many");
}
