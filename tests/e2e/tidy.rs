//! Checks of the tree itself: arrows between crates and rooms, lints, lengths, generated code.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use fuseboard_tests::codegen;
use serde_json::Value;

/// Run with `UPDATE_GENERATED=1` after a change of a `.proto`.
#[test]
fn generated_code_is_fresh() {
    let write = std::env::var_os("UPDATE_GENERATED").is_some();
    let stale = codegen::generate(write).expect("the protos compile");
    assert!(
        write || stale.is_empty(),
        "stale: {stale:?}; run UPDATE_GENERATED=1 cargo test -p fuseboard-tests generated"
    );
}

/// Which of our crates each crate may depend on; tests may depend on all.
const ARROWS: &[(&str, &[&str])] = &[
    ("fuseboard-policy", &[]),
    ("fuseboard-tls", &[]),
    ("fuseboard-agent", &["fuseboard-policy", "fuseboard-tls"]),
    // The load generator only in their benches.
    ("fuseboard-demo", &["fuseboard-agent", "fuseboard-load"]),
    ("fuseboard-sidecar", &["fuseboard-agent", "fuseboard-load"]),
    ("fuseboard-load", &["fuseboard-policy", "fuseboard-tls"]),
    ("fuseboard-api", &["fuseboard-policy"]),
    ("fuseboard-collector", &["fuseboard-api", "fuseboard-policy", "fuseboard-tls"]),
    (
        "fuseboard",
        &[
            "fuseboard-api",
            "fuseboard-collector",
            "fuseboard-demo",
            "fuseboard-load",
            "fuseboard-policy",
            "fuseboard-tls",
        ],
    ),
];

/// What a room may not name: (folder or file, forbidden words in its `use` lines, why).
const WALLS: &[(&str, &[&str], &str)] = &[
    (
        "app/src/views",
        &["tokio", "reqwest", "rusqlite", "fuseboard_collector", "fuseboard_demo", "crate::link"],
        "views see pictures and push commands",
    ),
    ("app/src/widgets", &["tokio", "reqwest", "crate::link", "crate::views", "crate::model"], "widgets know no data"),
    (
        "app/src/model",
        &["tokio", "reqwest", "rusqlite", "fuseboard_collector", "fuseboard_demo", "crate::link"],
        "the model is pictures",
    ),
    (
        "app/src/link.rs",
        &["rusqlite", "fuseboard_collector", "crate::views"],
        "the link talks to a collector over its wire",
    ),
    (
        "collector/src/ingest",
        &["crate::query", "crate::control", "crate::analyze", "crate::serve"],
        "ingest and query never meet",
    ),
    ("collector/src/query", &["crate::ingest", "crate::serve"], "ingest and query never meet"),
    (
        "collector/src/otlp",
        &["crate::ingest", "crate::store", "crate::query", "crate::control", "crate::serve", "crate::analyze"],
        "bytes are read the same way for everyone",
    ),
    ("collector/src/store/segment", &["rusqlite", "tokio"], "the format of a segment knows no database"),
    (
        "collector/src/store",
        &["crate::ingest", "crate::query", "crate::control", "crate::serve", "crate::analyze"],
        "the store serves everyone and knows nobody",
    ),
    (
        "agent/src/telemetry",
        &["crate::call", "crate::grpc", "crate::http", "crate::tarpc", "crate::control"],
        "export knows nothing of calls",
    ),
    (
        "agent/src/control",
        &["crate::call", "crate::grpc", "crate::http", "crate::tarpc", "crate::telemetry"],
        "control knows nothing of calls",
    ),
    (
        "agent/policy/src",
        &["tokio", "std::time::Instant", "std::time::SystemTime", "rand", "std::net", "std::fs"],
        "policy has no clock, no IO, no randomness",
    ),
];

fn metadata() -> Value {
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(codegen::root())
        .output()
        .expect("cargo metadata runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("cargo metadata prints JSON")
}

#[test]
fn crates_depend_only_downwards() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("packages");
    for (name, allowed) in ARROWS {
        let package = packages.iter().find(|p| p["name"] == *name).unwrap_or_else(|| panic!("{name} is gone"));
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let target = dependency["name"].as_str().expect("a name");
            let ours = target.starts_with("fuseboard") && target != *name;
            assert!(!ours || allowed.contains(&target), "{name} must not depend on {target}");
        }
    }
    let known = ARROWS.iter().map(|(name, _)| *name).chain(["fuseboard-tests"]);
    let mut known: Vec<_> = known.collect();
    let mut there: Vec<_> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    known.sort_unstable();
    there.sort_unstable();
    assert_eq!(there, known, "a crate came or went: say here what it may depend on");
}

#[test]
fn every_crate_inherits_the_lints() {
    for package in metadata()["packages"].as_array().expect("packages") {
        let manifest = std::fs::read_to_string(package["manifest_path"].as_str().expect("a path")).expect("a manifest");
        assert!(manifest.contains("[lints]\nworkspace = true"), "{} lacks [lints] workspace = true", package["name"]);
    }
}

#[test]
fn rooms_keep_their_walls() {
    let root = codegen::root();
    let mut breaches = Vec::new();
    for (room, forbidden, why) in WALLS {
        let files = sources(&root.join(room));
        assert!(!files.is_empty(), "{room} is gone: mend this list");
        for file in files {
            let text = std::fs::read_to_string(&file).expect("a source file");
            let own = text.split("#[cfg(test)]").next().unwrap_or_default();
            for line in own.lines().map(str::trim).filter(|l| l.starts_with("use ") || l.starts_with("pub use ")) {
                let path = line.trim_start_matches("pub ").trim_start_matches("use ");
                for word in forbidden.iter().filter(|w| {
                    path == **w || path.starts_with(&format!("{w}::")) || path.starts_with(&format!("{w};"))
                }) {
                    breaches.push(format!("{}: `{line}` ({word}: {why})", file.display()));
                }
            }
        }
    }
    assert!(breaches.is_empty(), "{breaches:#?}");
}

#[test]
fn files_stay_readable() {
    let root = codegen::root();
    let mut lengths = BTreeMap::new();
    for room in ["agent", "collector", "app", "tests"] {
        for file in sources(&root.join(room)) {
            let text = std::fs::read_to_string(&file).expect("a source file");
            lengths.insert(file.strip_prefix(&root).unwrap_or(&file).to_path_buf(), text.lines().count());
        }
    }
    let mut longest: Vec<_> = lengths.iter().collect();
    longest.sort_by_key(|(_, lines)| std::cmp::Reverse(**lines));
    for (file, lines) in longest.iter().take(8) {
        println!("{lines:5} {}", file.display());
    }
    let over: Vec<_> = longest.iter().filter(|(_, lines)| **lines > 600).collect();
    assert!(over.is_empty(), "over 600 lines; find the second thing in them: {over:?}");
}

/// Rust files under `path` (a folder, `path.rs`, or a file), generated ones left out.
fn sources(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_path_buf()];
    }
    let mut files: Vec<PathBuf> = Some(path.with_extension("rs")).into_iter().filter(|p| p.is_file()).collect();
    let mut folders = vec![path.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() && name != "generated" && name != "target" {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    files
}
