//! Another program that holds the file: a backup, a shell somebody forgot.

use prost::Message as _;

use super::program::Program;
use crate::common::{SERVER, request, span};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_another_program_holds_the_file_senders_wait_and_answers_go_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("held.fuseboard");
    let program = Program::start(&file);
    let batch = |n| request("shop", vec![span(n, 1, 0, SERVER, "GET /")]).encode_to_vec();
    assert_eq!(program.post(batch(1)).await.status(), 200);
    let other = rusqlite::Connection::open(&file).expect("opened");
    other.execute_batch("BEGIN IMMEDIATE; DELETE FROM commits;").expect("held");
    let refused = program.post(batch(2)).await;
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(program.totals().await.spans, 1, "readers see the last commit");
    let (status, health) = program.health().await;
    assert!(status == 503 && health.contains("locked"), "{status} {health}");
    other.execute_batch("ROLLBACK").expect("let go");
    assert_eq!(program.post(batch(2)).await.status(), 200);
    assert_eq!((program.totals().await.spans, program.health().await.0), (2, 200));
}

#[test]
fn a_second_collector_is_told_who_has_the_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("taken.fuseboard");
    let first = Program::start(&file);
    let (code, said) = Program::refused(&file);
    assert_eq!(code, Some(1));
    assert!(said.contains("in use by another process") && said.contains(&first.pid().to_string()), "{said}");
}
