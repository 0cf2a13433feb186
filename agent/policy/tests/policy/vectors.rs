use std::path::{Path, PathBuf};

use crate::runner;

/// Vectors of a kind, by the start of their names; at least `least`, so that a lost folder does not pass.
fn run(kind: &str, least: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/vectors");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(kind)));
    files.sort();
    assert!(files.len() >= least, "only {} vectors of {kind}", files.len());
    let failures: Vec<String> = files.iter().filter_map(|path| runner::run_file(path).err()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn breaker() {
    run("breaker-", 31);
}

#[test]
fn deadline() {
    run("deadline-", 6);
}

#[test]
fn backoff() {
    run("backoff-", 8);
}

#[test]
fn retry_budget() {
    run("retry-budget-", 7);
}

#[test]
fn rate_limit() {
    run("rate-limit-", 7);
}

#[test]
fn concurrency_limit() {
    run("concurrency-limit-", 5);
}

#[test]
fn balance() {
    run("balance-", 8);
}

#[test]
fn outlier() {
    run("outlier-", 7);
}
