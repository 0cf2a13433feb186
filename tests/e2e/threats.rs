//! The threat model names the test that holds each line: the tests must exist.

use std::collections::BTreeSet;
use std::path::Path;

use fuseboard_tests::codegen;

/// The names of all tests below a folder.
fn tests_below(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() && entry.file_name() != "target" && entry.file_name() != "generated" {
            tests_below(&path, names);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source file");
            names.extend(tests_in(&text));
        }
    }
}

/// Functions that stand behind a `#[test]`, `#[tokio::test…]` or the like.
fn tests_in(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut marked = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[") {
            marked |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        } else if let Some((before, after)) = line.split_once("fn ").filter(|_| marked)
            && matches!(before.trim(), "" | "async")
        {
            out.extend(after.split_once('(').map(|(name, _)| name.to_owned()));
            marked = false;
        } else if !line.is_empty() && !line.starts_with("//") {
            marked = false;
        }
    }
    out
}

/// The rows of the table of threats: what is threatened, and the last cell.
fn threats(text: &str) -> Vec<(String, String)> {
    let (_, table) = text.split_once("## Threats").expect("a section of threats");
    let rows = table.lines().filter(|l| l.starts_with("| ") && !l.starts_with("| threat |") && !l.starts_with("| **"));
    let cells = rows.map(|row| row.trim_matches('|').split(" | ").map(|c| c.trim().to_owned()).collect::<Vec<_>>());
    cells
        .map(|cells| match cells.as_slice() {
            [threat, .., held] if cells.len() == 3 => (threat.clone(), held.clone()),
            other => panic!("a row has three cells: {other:?}"),
        })
        .collect()
}

#[test]
fn threats_are_held_by_tests_that_exist() {
    let root = codegen::root();
    let text = std::fs::read_to_string(root.join("collector/docs/threats.md")).expect("the threat model");
    let mut tests = BTreeSet::new();
    for room in ["agent", "app", "collector", "tests"] {
        tests_below(&root.join(room), &mut tests);
    }
    let threats = threats(&text);
    let (mut missing, mut open) = (Vec::new(), Vec::new());
    for (threat, held) in &threats {
        if let Some(why) = held.strip_prefix("open: ") {
            assert!(why.len() > 10, "{threat}: say why it is open");
            open.push(threat);
            continue;
        }
        let named: Vec<&str> = held.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "{threat}: name its test, or say that it is open");
        missing.extend(named.into_iter().filter(|name| !tests.contains(*name)).map(|name| (threat, name)));
    }
    println!("{} threats, {} open: {open:#?}", threats.len(), open.len());
    assert!(missing.is_empty(), "these tests are gone; mend the threat model: {missing:#?}");
}
