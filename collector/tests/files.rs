//! Files in and out of a store.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use fuseboard_api::ask::{Ask, Question};
use fuseboard_api::{TimeRange, UnixNanos};
use fuseboard_collector::files::import::{Format, Imported, import};
use fuseboard_collector::store::{OpenMode, Retention, Settings, Store};
use fuseboard_collector::{Collector, Config, query};
use prost::Message as _;

use crate::common::{SERVER, request, span};

/// A store over a file that keeps everything.
fn store(path: &Path) -> Store {
    let retention = Retention { max_age: None, max_bytes: None, ..Retention::default() };
    Store::open_with(path, OpenMode::ReadWrite, Settings { retention, ..Settings::default() }).expect("opens")
}

async fn load(store: &Store, bytes: Vec<u8>) -> Imported {
    import(store, "file", Cursor::new(bytes)).await.expect("imported")
}

/// Every captured request of the clients.
fn captured() -> Vec<PathBuf> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data");
    let clients = ["py-http-plain", "py-grpc-gzip", "py-metrics-http", "node-json"];
    let folders = clients.iter().map(|c| data.join("otlp").join(c)).chain([data.join("zipkin")]);
    let files = folders.flat_map(|f| std::fs::read_dir(f).expect("fixtures").map(|e| e.expect("an entry").path()));
    files.filter(|p| !p.to_string_lossy().ends_with(".meta.json")).collect()
}

#[tokio::test]
async fn files_of_every_kind_become_one_view_and_a_second_import_brings_nothing_new() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = store(&dir.path().join("all.fuseboard"));
    let mut sum = [0u64; 3];
    for round in 0..2 {
        for path in captured() {
            let got = load(&store, std::fs::read(&path).expect("a file")).await;
            assert_eq!((got.refused, got.found.faults.count), (0, 0), "{}", path.display());
            assert_eq!(got.stored + got.duplicates, got.found.read.all(), "{}", path.display());
            if round == 0 {
                let read = got.found.read;
                for (sum, n) in sum.iter_mut().zip([read.spans, read.logs, read.points]) {
                    *sum += n;
                }
            } else if got.found.read.logs == 0 {
                assert_eq!(got.stored, 0, "{}: spans and points are known by their ids", path.display());
            }
        }
        let answered = query::ask(&store, Ask { question: Question::Totals, as_of: None }).await.expect("totals");
        let fuseboard_api::ask::Answer::Totals(totals) = answered.answer else { panic!("totals") };
        let logs = sum[1] * if round == 0 { 1 } else { totals.logs / sum[1] };
        assert_eq!([totals.spans, totals.logs, totals.metric_points], [sum[0], logs, sum[2]]);
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_counted_by_reason() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = store(&dir.path().join("some.fuseboard"));
    let mut bad = span(1, 2, 0, SERVER, "bad");
    bad.end_time_unix_nano = 0;
    let got = load(&store, request("s", vec![span(1, 1, 0, SERVER, "good"), bad]).encode_to_vec()).await;
    assert_eq!(got.found.format, Format::OtlpProtobuf);
    assert_eq!((got.stored, got.refused), (1, 1));
    assert_eq!(got.reasons, ["1 span refused: 1 without an end time; the first is \"bad\""]);
}

#[tokio::test]
async fn an_imported_file_is_seen_at_instants_long_before_it_was_imported() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("old.fuseboard");
    let mut old = span(1, 1, 0, SERVER, "old");
    (old.start_time_unix_nano, old.end_time_unix_nano) = (1_600_000_000_000_000_000, 1_600_000_000_500_000_000);
    let writer = store(&path);
    load(&writer, request("s", vec![old]).encode_to_vec()).await;
    drop(writer);
    let handle = Collector::start(Config::new(&path).read_only().on_free_ports()).await.expect("starts");
    let at = UnixNanos(1_600_000_001_000_000_000);
    let range = TimeRange::ending(at, std::time::Duration::from_secs(60));
    let answered = handle.ask(Ask { question: Question::Board { range }, as_of: Some(at) }).await.expect("a board");
    let fuseboard_api::ask::Answer::Board(board) = answered.answer else { panic!("a board") };
    assert_eq!(board.edges.len(), 1, "{board:?}");
    handle.shutdown().await;
}
