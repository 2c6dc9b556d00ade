//! README's table is the one that its results file makes.

use std::path::Path;
use std::process::Command;

const MARK: &str = "<!-- corecast-bench suite --table ";

#[test]
fn the_table_in_readme_is_made_of_the_file_that_it_names() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let readme = std::fs::read_to_string(root.join("README.md")).expect("README");
    let (_, rest) = readme.split_once(MARK).expect("the table's mark");
    let (file, rest) = rest.split_once(" -->\n").expect("the mark's end");
    let table: String =
        rest.split_inclusive('\n').take_while(|line| line.starts_with('|')).collect();
    let output = Command::new(env!("CARGO_BIN_EXE_corecast-bench"))
        .args(["suite", "--table", file])
        .current_dir(root)
        .output()
        .expect("the suite");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made = String::from_utf8_lossy(&output.stdout);
    // The published table, where the file has it, is a second one.
    let first = made.split("\n\n").next().unwrap_or_default();
    assert_eq!(table.trim_end(), first.trim_end(), "paste it again: {MARK}{file}");
}
