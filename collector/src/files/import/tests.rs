use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::ingest::Signal;

/// Reads bytes; gives the requests, too.
fn read_all(bytes: &[u8]) -> (Result<Found, FileError>, Vec<Telemetry>) {
    let mut got = Vec::new();
    let mut sink = |telemetry| {
        got.push(telemetry);
        ControlFlow::Continue(())
    };
    let found = read("file", bytes, &mut sink);
    (found, got)
}

fn found(bytes: &[u8]) -> Found {
    read_all(bytes).0.expect("telemetry")
}

fn refused(bytes: &[u8]) -> String {
    read_all(bytes).0.expect_err("no telemetry").to_string()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(bytes).expect("packed");
    out.finish().expect("packed")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("packed")
}

fn records(messages: &[Vec<u8>]) -> Vec<u8> {
    let length = |m: &Vec<u8>| u32::try_from(m.len()).expect("short").to_be_bytes().to_vec();
    messages.iter().flat_map(|m| [length(m), m.clone()].concat()).collect()
}

fn fixtures(folder: &str) -> Vec<(PathBuf, Vec<u8>, serde_json::Value)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data").join(folder);
    let mut paths: Vec<_> = std::fs::read_dir(dir).expect("fixtures").map(|e| e.expect("an entry").path()).collect();
    paths.retain(|p| !p.to_string_lossy().ends_with(".meta.json"));
    paths.sort();
    let meta = |p: &PathBuf| std::fs::read(p.with_extension("meta.json")).expect("its meta");
    let load = |p: PathBuf| {
        let meta = serde_json::from_slice(&meta(&p)).expect("JSON");
        (p.clone(), std::fs::read(&p).expect("its body"), meta)
    };
    paths.into_iter().map(load).collect()
}

const CLIENTS: [&str; 5] =
    ["otlp/py-http-plain", "otlp/py-grpc-gzip", "otlp/py-metrics-http", "otlp/node-json", "otlp/node-proto"];

#[test]
fn every_fixture_is_known_by_its_content_plain_and_packed() {
    for (path, body, meta) in CLIENTS.iter().chain(&["zipkin"]).flat_map(|c| fixtures(c)) {
        let format = match path.to_string_lossy() {
            p if p.contains("zipkin") => Format::Zipkin,
            p if p.ends_with(".json") => Format::OtlpJson,
            _ => Format::OtlpProtobuf,
        };
        for (packing, bytes) in
            [(None, body.clone()), (Some(Packing::Gzip), gzip(&body)), (Some(Packing::Zstd), zstd(&body))]
        {
            let found = found(&bytes);
            assert_eq!((found.format, found.packing), (format, packing), "{}", path.display());
            assert_eq!(found.faults, Faults::default(), "{}", path.display());
            let read = match meta["signal"].as_str() {
                Some("logs") => found.read.logs,
                Some("metrics") => found.read.points,
                _ => found.read.spans,
            };
            assert_eq!(read, found.read.all(), "{}: one kind", path.display());
            if let Some(items) = meta["items"].as_u64().filter(|_| meta["signal"] != "metrics") {
                assert_eq!(read, items, "{}", path.display());
            }
        }
    }
}

#[test]
fn protobuf_comes_out_as_it_went_in_alone_and_in_records() {
    for client in CLIENTS {
        let all: Vec<Vec<u8>> = fixtures(client)
            .into_iter()
            .filter(|(p, ..)| p.extension().is_some_and(|e| e == "pb"))
            .map(|f| f.1)
            .collect();
        for body in &all {
            let (_, got) = read_all(body);
            let again = got.iter().map(Telemetry::encode).collect::<Vec<_>>().concat();
            let same = match got[0].signal() {
                Signal::Traces => same::<ExportTraceServiceRequest>(&again, body),
                Signal::Logs => same::<ExportLogsServiceRequest>(&again, body),
                Signal::Metrics => same::<ExportMetricsServiceRequest>(&again, body),
            };
            assert!(same, "{client}");
        }
        if all.is_empty() {
            continue;
        }
        let packed: Vec<Vec<u8>> = all.iter().map(|m| zstd(m)).collect();
        let alone: u64 = all.iter().map(|m| found(m).read.all()).sum();
        for file in [records(&all), records(&packed), gzip(&records(&all))] {
            let found = found(&file);
            assert_eq!((found.format, found.read.all()), (Format::OtlpRecords, alone), "{client}");
        }
    }
}

fn same<M: prost::Message + Default + PartialEq>(a: &[u8], b: &[u8]) -> bool {
    M::decode(a).expect("protobuf") == M::decode(b).expect("protobuf")
}

const LINE: &str = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"0102030405060708090a0b0c0d0e0f10","spanId":"0102030405060708","name":"a","startTimeUnixNano":"1","endTimeUnixNano":2}]}]}]}"#;
const LOGS: &str =
    r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"5","body":{"stringValue":"x"}}]}]}]}"#;

#[test]
fn lines_may_mix_signals_and_a_bad_line_is_left_out() {
    let file = format!("{LINE}\n{LOGS}\r\n\n{LINE}\n{{\"resourceSpans\":[{{\"scope\n{LINE}\nnonsense\n{LINE}");
    let found = found(file.as_bytes());
    assert_eq!((found.read.spans, found.read.logs), (4, 1), "{found:?}");
    assert_eq!(found.faults.count, 2);
    assert!(found.faults.first[0].starts_with("line 5, column"), "{:?}", found.faults);
    assert!(found.faults.first[1].starts_with("line 7, column"), "{:?}", found.faults);
}

#[test]
fn a_file_that_breaks_off_gives_what_came_before() {
    let file = format!("{LINE}\n{}", &LINE[..80]);
    let lines = found(file.as_bytes());
    assert_eq!((lines.read.spans, lines.faults.count), (1, 1));
    assert!(
        lines.faults.first[0].contains("line 2") && lines.faults.first[0].contains("ends in the middle"),
        "{lines:?}"
    );
    let many = LINE.repeat(2000);
    let packed = gzip(many.as_bytes());
    let cut = found(&packed[..packed.len() - 20]);
    assert!(cut.read.spans > 1000 && cut.faults.count == 1, "{cut:?}");
    let one = ExportTraceServiceRequest::decode(&fixtures("otlp/node-proto")[0].1[..]).expect("protobuf");
    let bytes = one.encode_to_vec();
    let twice = [&bytes[..], &bytes[..bytes.len() / 2]].concat();
    let cut = found(&twice);
    assert!(cut.faults.first[0].contains("the file ends inside a message"), "{cut:?}");
}

#[test]
fn documents_of_many_shapes_are_understood() {
    let span = r#"{"traceId":"0102030405060708","id":"0102030405060708","timestamp":1,"duration":1,"localEndpoint":{"serviceName":"s"}}"#;
    let jaeger = r#"{"traceID":"1","spans":[{"traceID":"1","spanID":"2","operationName":"o","startTime":1,"duration":1,"processID":"p1"}],"processes":{"p1":{"serviceName":"s"}}}"#;
    let pretty =
        serde_json::to_string_pretty(&serde_json::from_str::<serde_json::Value>(LINE).expect("JSON")).expect("text");
    for (text, format, spans) in [
        (pretty.clone(), Format::OtlpJson, 1),
        (format!("{pretty}\n{pretty}"), Format::OtlpJson, 2),
        (format!("[{LINE},{LINE}]"), Format::OtlpJson, 2),
        (format!("{{\"result\":{LINE}}}"), Format::OtlpJson, 1),
        (format!("[{span},{span}]"), Format::Zipkin, 2),
        (format!("[[{span}],[{span}]]"), Format::Zipkin, 2),
        (format!("{span}\n{span}\n"), Format::Zipkin, 2),
        (jaeger.to_owned(), Format::Jaeger, 1),
        (format!("[{jaeger}]"), Format::Jaeger, 1),
        (format!("{{\"total\":0,\"data\":[{jaeger},{jaeger}],\"errors\":null}}"), Format::Jaeger, 2),
        ("{\"data\":[],\"total\":0}".to_owned(), Format::OtlpJson, 0),
        ("{}".to_owned(), Format::OtlpJson, 0),
        ("[]".to_owned(), Format::OtlpJson, 0),
    ] {
        let found = found(text.as_bytes());
        assert_eq!((found.read.spans, found.faults.count), (spans, 0), "{text}: {found:?}");
        assert!(spans == 0 || found.format == format, "{text}");
    }
}

#[test]
fn nonsense_of_every_kind_gets_a_sentence() {
    let line = |field: &str| LINE.replace("\"name\":\"a\"", field);
    for (bytes, words) in [
        (String::new().into_bytes(), vec!["is empty", "expected OTLP"]),
        (b"name,duration\n".to_vec(), vec!["begins with \"name,duration\"", "Jaeger JSON", "Zipkin"]),
        (b"{\"a\":1,\"b\":[2]}".to_vec(), vec!["line 1", "fields \"a\", \"b\"", "resourceSpans"]),
        (b"[{\"x\":1}]".to_vec(), vec!["fields \"x\""]),
        (b"[3]".to_vec(), vec!["no telemetry"]),
        (b"{\"resourceSpans\": 5}".to_vec(), vec!["line 1, column 20", "a list of OTLP's resources"]),
        (b"{\"resourceSpans\": [5]}".to_vec(), vec!["resourceSpans[0]", "an object"]),
        (
            line("\"name\":5").into_bytes(),
            vec!["line 1", "resourceSpans[0].scopeSpans[0].spans[0].name", "is 5", "expected text"],
        ),
        (b"{\"resourceSpans\": [{}".to_vec(), vec!["the file ends in the middle"]),
        (
            b"{\"data\": null, \"errors\": [{\"code\": 404, \"msg\": \"trace not found\"}]}".to_vec(),
            vec!["trace not found"],
        ),
        (
            b"{\"data\": [{\"spans\": [{\"traceID\": \"zz\"}]}]}".to_vec(),
            vec!["no trace of Jaeger", "spans[0].traceID", "hexadecimal"],
        ),
        (b"[{\"traceId\": 5, \"id\": \"1\"}]".to_vec(), vec!["line 1", "no span of Zipkin"]),
        (b"\x0a\x05\x0a\x03".to_vec(), vec!["byte 0", "the file ends inside a message of 5 bytes"]),
        (b"\x0a\x02\x12\x01".to_vec(), vec!["byte 0"]),
        (b"\0\0\0\x09\x0a\x03\x0a".to_vec(), vec!["byte 0", "the file ends inside a message of 9 bytes"]),
        (b"SQLite format 3\0".to_vec(), vec!["SQLite database", "fuseboard open"]),
        (gzip(b"SQLite format 3\0"), vec!["packed with gzip", "unpack"]),
        (gzip(b"hello there"), vec!["hello there"]),
        (b"\x1f\x8bnot gzip at all".to_vec(), vec!["cannot be read", "begins like gzip"]),
    ] {
        let said = refused(&bytes);
        for word in words {
            assert!(said.contains(word), "{said:?} has {word:?} ({})", String::from_utf8_lossy(&bytes));
        }
        assert!(said.starts_with("file"), "{said}");
    }
}

#[test]
fn one_bad_span_of_zipkin_does_not_spoil_the_others() {
    let good = r#"{"traceId":"0102030405060708","id":"0102030405060708","timestamp":1,"duration":1}"#;
    let found = found(format!("[{good},\n{{\"traceId\":5,\"id\":\"1\"}},\n{good}]").as_bytes());
    assert_eq!((found.read.spans, found.faults.count), (2, 1));
    assert!(found.faults.first[0].starts_with("line 2"), "{found:?}");
}

#[test]
fn a_record_without_an_end_is_not_read_into_memory() {
    struct Endless(u64);
    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let head = b"{\"resourceSpans\":[{\"schemaUrl\":\"";
            let at = usize::try_from(self.0).unwrap_or(usize::MAX);
            let n = match head.get(at..) {
                Some(rest) if !rest.is_empty() => (&rest[..]).read(buffer)?,
                _ => {
                    buffer.fill(b'a');
                    buffer.len()
                }
            };
            self.0 += n as u64;
            Ok(n)
        }
    }
    let mut sink = |_| ControlFlow::Continue(());
    let said = read_limited("endless", Endless(0), &mut sink, 1 << 20).expect_err("too long").to_string();
    assert!(said.contains("a single record is longer than 1 MiB"), "{said}");
}

#[test]
fn who_has_enough_gets_no_more() {
    let file = format!("{LINE}\n").repeat(20_000);
    let mut requests = 0;
    let mut sink = |_| {
        requests += 1;
        ControlFlow::Break(())
    };
    read("file", file.as_bytes(), &mut sink).expect("read");
    assert_eq!(requests, 1);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        head in prop::sample::select(vec![
            &b""[..], b"{", b"[", b"\x0a", b"\0\0\0\x20", b"{\"resourceSpans\":[", b"[{\"traceId\":\"1\",\"id\":", b"{\"data\":[{",
            b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\0\0\0\x20\x28\xb5\x2f\xfd",
        ]),
        tail in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let bytes = [head, &tail].concat();
        if let Err(error) = read_all(&bytes).0 {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn damaged_telemetry_does_not_make_it_panic(
        which in 0usize..3, at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = match which {
            0 => fixtures("otlp/node-proto")[2].1.clone(),
            1 => format!("{LINE}\n{LOGS}\n").into_bytes(),
            _ => fixtures("zipkin")[0].1.clone(),
        };
        let (at, cut) = (at.index(bytes.len()), cut.index(bytes.len()));
        bytes[at] = byte;
        bytes.truncate(cut.max(at));
        let _ = read_all(&bytes);
    }
}
