//! The tables of README.md and docs/ must be those made from the files that they name.

use std::path::Path;
use std::process::Command;

const MARK: &str = "<!-- corecast-bench suite ";

/// Every table under a mark of a page, with the words of the mark.
fn tables(text: &str) -> Vec<(&str, String)> {
    let parts = text.split(MARK).skip(1);
    parts
        .map(|part| {
            let (words, rest) = part.split_once(" -->\n").expect("the mark's end");
            let lines = rest.split_inclusive('\n').take_while(|line| line.starts_with('|'));
            (words, lines.collect())
        })
        .collect()
}

#[test]
fn tables_are_made_of_the_files_that_they_name() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let docs = root.join("docs").read_dir().expect("docs").map(|entry| entry.expect("it").path());
    let pages = docs.chain([root.join("README.md")]);
    let mut seen = 0;
    for page in pages.filter(|path| path.extension().is_some_and(|it| it == "md")) {
        let text = std::fs::read_to_string(&page).expect("the page");
        for (words, told) in tables(&text) {
            let output = Command::new(env!("CARGO_BIN_EXE_corecast-bench"))
                .arg("suite")
                .args(words.split_whitespace())
                .current_dir(root)
                .output()
                .expect("the suite");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let made = String::from_utf8_lossy(&output.stdout);
            // The published table, where the file has it, is a second one.
            let made = made.trim().split("\n\n").next().unwrap_or_default();
            let page = page.display();
            assert_eq!(told.trim_end(), made, "{page} is old: run scripts/tables");
            seen += 1;
        }
    }
    assert!(seen >= 4, "only {seen} tables have a mark");
}
