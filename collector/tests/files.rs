//! Files in and out of a store.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use fuseboard_api::ask::{Ask, Question};
use fuseboard_api::{TimeRange, TraceId, UnixNanos};
use fuseboard_collector::files::export::{self, ExportFormat, Selection};
use fuseboard_collector::files::import::{Format, Imported, import};
use fuseboard_collector::ingest::Telemetry;
use fuseboard_collector::store::{OpenMode, Retention, Settings, Store};
use fuseboard_collector::{Collector, Config, query};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Status};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use prost::Message as _;

use crate::common::{SERVER, Stage, request, span};

/// A store over a file that keeps everything.
fn store(path: &Path) -> Store {
    let retention = Retention { max_age: None, max_bytes: None, ..Retention::default() };
    Store::open_with(path, OpenMode::ReadWrite, Settings { retention, ..Settings::default() }).expect("opens")
}

async fn load(store: &Store, bytes: Vec<u8>) -> Imported {
    import(store, None, "file", Cursor::new(bytes)).await.expect("imported")
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

async fn exported(store: &Store, selection: Selection, format: ExportFormat) -> Vec<u8> {
    let mut pieces = export::export(store, selection, format).expect("begins");
    let mut out = Vec::new();
    while let Some(piece) = pieces.recv().await {
        out.extend_from_slice(&piece.expect("a piece"));
    }
    out
}

fn parsed(bytes: &[u8]) -> Vec<Telemetry> {
    let mut got = Vec::new();
    let mut sink = |telemetry| {
        got.push(telemetry);
        std::ops::ControlFlow::Continue(())
    };
    let found = fuseboard_collector::files::import::read("bytes", bytes, &mut sink).expect("readable");
    assert_eq!(found.faults.count, 0, "{found:?}");
    got
}

/// Every span and log record with its sender, each as a line, sorted.
fn flat(all: &[Telemetry]) -> Vec<String> {
    let mut out = Vec::new();
    for telemetry in all {
        match telemetry {
            Telemetry::Traces(request) => {
                for resource in &request.resource_spans {
                    for scope in &resource.scope_spans {
                        for span in &scope.spans {
                            let mut span = span.clone();
                            // One that says nothing is none.
                            span.status = span.status.filter(|status| *status != Status::default());
                            let scope = ScopeSpans { spans: vec![span], ..scope.clone() };
                            let one = ResourceSpans { scope_spans: vec![scope], ..resource.clone() };
                            out.push(Telemetry::Traces(ExportTraceServiceRequest { resource_spans: vec![one] }));
                        }
                    }
                }
            }
            Telemetry::Logs(request) => {
                for resource in &request.resource_logs {
                    for scope in &resource.scope_logs {
                        for record in &scope.log_records {
                            let scope = ScopeLogs { log_records: vec![record.clone()], ..scope.clone() };
                            let one = ResourceLogs { scope_logs: vec![scope], ..resource.clone() };
                            out.push(Telemetry::Logs(ExportLogsServiceRequest { resource_logs: vec![one] }));
                        }
                    }
                }
            }
            Telemetry::Metrics(_) => {}
        }
    }
    let line = |telemetry: &Telemetry| {
        let mut line = Vec::new();
        export::otlp::line(telemetry, &mut line);
        String::from_utf8(line).expect("text")
    };
    let mut lines: Vec<String> = out.iter().map(line).collect();
    lines.sort();
    lines
}

/// Shows the first line that differs, not all of them.
fn same(got: &[String], expected: &[String]) {
    for (got, expected) in got.iter().zip(expected) {
        assert_eq!(got, expected);
    }
    assert_eq!(got.len(), expected.len());
}

#[tokio::test]
async fn what_was_imported_is_exported_and_imported_again_without_a_loss() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = store(&dir.path().join("first.fuseboard"));
    let mut sent = Vec::new();
    for path in captured() {
        let bytes = std::fs::read(&path).expect("a file");
        load(&first, bytes.clone()).await;
        sent.extend(parsed(&bytes));
    }
    let lines = exported(&first, Selection::default(), ExportFormat::OtlpJsonl).await;
    same(&flat(&parsed(&lines)), &flat(&sent));
    let second = store(&dir.path().join("second.fuseboard"));
    let again = load(&second, lines.clone()).await;
    assert_eq!((again.refused, again.duplicates), (0, 0));
    let twice = exported(&second, Selection::default(), ExportFormat::OtlpJsonl).await;
    same(&flat(&parsed(&twice)), &flat(&sent));
    let points = |bytes: &[u8]| {
        parsed(bytes).iter().filter(|t| matches!(t, Telemetry::Metrics(_))).map(|t| t.encode().len()).sum::<usize>()
    };
    assert_eq!(points(&twice), points(&lines));
    assert!(points(&lines) > 0);
}

#[tokio::test]
async fn jaegers_json_and_parquet_hold_every_span_and_a_selection_only_its_own() {
    let dir = tempfile::tempdir().expect("a directory");
    let all = store(&dir.path().join("all.fuseboard"));
    for path in captured() {
        load(&all, std::fs::read(&path).expect("a file")).await;
    }
    let spans = |bytes: &[u8]| flat(&parsed(bytes)).iter().filter(|line| line.contains("resourceSpans")).count();
    let everything = exported(&all, Selection::default(), ExportFormat::OtlpJsonl).await;
    let jaeger = exported(&all, Selection::default(), ExportFormat::Jaeger).await;
    assert_eq!(spans(&jaeger), spans(&everything));
    let again = load(&store(&dir.path().join("jaeger.fuseboard")), jaeger).await;
    assert_eq!((again.found.format, again.refused, again.duplicates), (Format::Jaeger, 0, 0));
    let parquet = exported(&all, Selection::default(), ExportFormat::Parquet).await;
    let reader = SerializedFileReader::new(bytes::Bytes::from(parquet)).expect("Parquet");
    let rows = reader.metadata().file_metadata().num_rows();
    assert_eq!(usize::try_from(rows).expect("rows"), spans(&everything));

    let id = match parsed(&everything).into_iter().next() {
        Some(Telemetry::Traces(request)) => request.resource_spans[0].scope_spans[0].spans[0].trace_id.clone(),
        other => panic!("spans come first, not {other:?}"),
    };
    let trace = TraceId::from_slice(&id).expect("an id");
    let one = exported(&all, Selection { trace: Some(trace), ..Selection::default() }, ExportFormat::OtlpJsonl).await;
    assert!(spans(&one) > 0 && flat(&parsed(&one)).iter().all(|line| line.contains(&trace.to_string())));
    let picked = Selection { filter: "service=pay-ledger".into(), ..Selection::default() };
    let some = exported(&all, picked, ExportFormat::OtlpJsonl).await;
    assert!(spans(&some) > 0 && spans(&some) < spans(&everything));
    assert!(
        export::export(&all, Selection { filter: "(".into(), ..Selection::default() }, ExportFormat::Jaeger).is_err()
    );
    let none = TimeRange { from: UnixNanos(1), to: UnixNanos(2) };
    for format in [ExportFormat::OtlpJsonl, ExportFormat::Jaeger, ExportFormat::Parquet] {
        let bytes = exported(&all, Selection { range: none, ..Selection::default() }, format).await;
        assert_eq!(bytes.is_empty(), format == ExportFormat::OtlpJsonl, "an empty document is a document: {format}");
    }
}

#[tokio::test]
async fn a_running_collector_gives_its_export_over_its_control_address() {
    let stage = Stage::start().await;
    stage.send(request("s", vec![span(1, 1, 0, SERVER, "a"), span(2, 1, 0, SERVER, "b")])).await;
    let url = |query: &str| format!("http://{}/v1/export?{query}", stage.handle.addresses().control);
    let get = async |query: &str| stage.http.get(url(query)).send().await.expect("an answer");
    let all = get("format=otlp-jsonl").await;
    assert_eq!(all.headers()["content-type"], "application/jsonl");
    assert_eq!(flat(&parsed(&all.bytes().await.expect("a body"))).len(), 2);
    let one = get(&format!("format=jaeger&trace={}", "01".repeat(16))).await.bytes().await.expect("a body");
    assert_eq!(flat(&parsed(&one)).len(), 1);
    for (query, word) in [
        ("format=xml", "otlp-jsonl"),
        ("format=jaeger&trace=zz", "trace id"),
        ("format=jaeger&filter=(", "filter"),
        ("", "format"),
    ] {
        let refused = get(query).await;
        assert_eq!(refused.status(), 400, "{query}");
        assert!(refused.text().await.expect("a body").contains(word), "{query}");
    }
    stage.stop().await;
}
