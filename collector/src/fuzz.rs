//! Every decoder of what others wrote, with a law that must hold whatever the bytes are. The targets in `collector/fuzz` call
//! these; a test feeds them with the seeds that lie there, so that what a fuzzer once found stays found.
//!
//! # Panics
//! All of them, when the law is broken: that is what they are for.
#![expect(clippy::expect_used, reason = "a broken law ends the run")]

use std::ops::ControlFlow;

use bytes::Bytes;
use fuseboard_api::filter;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use twox_hash::XxHash3_64;

use crate::files;
use crate::ingest::json;
use crate::otlp::{SpanTape, check, read};
use crate::store::segment::{self, Columns, Incoming, Parts, rows};

/// OTLP's traces in protobuf: the flat reader and prost accept the same and read the same.
pub fn otlp_protobuf(bytes: &[u8]) {
    check::check_against_prost(bytes);
}

/// OTLP in JSON: what is accepted can be read again as protobuf.
pub fn otlp_json(bytes: &[u8]) {
    if let Ok(traces) = json::traces(bytes) {
        readable(&traces);
    }
    // The others need only come to an end.
    let _ = (json::metrics(bytes).is_ok(), json::logs(bytes).is_ok());
}

/// Zipkin's spans in JSON: what is accepted can be read again as OTLP.
pub fn zipkin(bytes: &[u8]) {
    if let Ok(traces) = files::zipkin::request(bytes) {
        readable(&traces);
    }
}

/// A file of any kind, told apart by its content: OTLP in JSON, lines or protobuf, Jaeger's and Zipkin's JSON, packed or not.
pub fn file(bytes: &[u8]) {
    let mut sink = |_| ControlFlow::Continue(());
    if let Err(e) = files::import::read("fuzz", bytes, &mut sink) {
        assert!(e.to_string().contains("fuzz"), "an error names the file: {e}");
    }
}

/// The language of filters: what is read is written so that it reads the same; completion knows every place.
pub fn query(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for cursor in (0..=text.len()).filter(|at| text.is_char_boundary(*at)) {
        let _ = filter::expected(text, cursor);
    }
    if let Ok(parsed) = filter::parse(text) {
        let written = parsed.expr.to_string();
        let again = filter::parse(&written).expect("what was written can be read").expr;
        assert_eq!(again.to_string(), written);
    }
}

/// The blob of a segment. Its checksum is put right first, so that the bytes behind it are believed.
pub fn segment_blob(bytes: &[u8]) {
    let _ = Columns::decode(bytes.to_vec(), Parts::all()).is_ok();
    if let Some(blob) = with_checksum(bytes)
        && let Ok(columns) = Columns::decode(blob, Parts::all())
    {
        messages(&columns);
    }
}

/// The small form of a segment, its checksum put right.
pub fn segment_rows(bytes: &[u8]) {
    let _ = rows::decode(bytes.to_vec()).is_ok();
    if let Some(whole) = bytes.len().checked_sub(8) {
        let mut bytes = bytes.to_vec();
        let sum = XxHash3_64::oneshot(&bytes[..whole]);
        bytes[whole..].copy_from_slice(&sum.to_le_bytes());
        if let Ok(columns) = rows::decode(bytes) {
            messages(&columns);
        }
    }
}

/// Spans of a request through both forms of a segment: both give the same, and giving it once more changes nothing.
pub fn segment_of_request(bytes: &[u8]) {
    let Ok(read) = read::traces(Bytes::copy_from_slice(bytes)) else { return };
    let small = rows::decode(rows::encode(&incoming(&read.tape))).expect("what was written can be read");
    let first = through_columns(&read.tape);
    assert_eq!(messages(&small), first);
    let mut tape = SpanTape::default();
    let mut joined = Vec::new();
    let mut places = Vec::new();
    for (_, message) in &first {
        places.push(crate::otlp::Slice::of_bytes(joined.len(), message.len()));
        joined.extend_from_slice(message);
    }
    tape.bytes = joined.into();
    tape.senders = read.tape.senders.iter().map(|_| crate::otlp::Sender::default()).collect();
    for (place, (sender, _)) in places.into_iter().zip(&first) {
        read::span(&mut tape, place, u32::try_from(*sender).expect("small")).expect("what was written can be read");
    }
    assert_eq!(through_columns(&tape), first);
}

fn through_columns(tape: &SpanTape) -> Vec<(i64, Vec<u8>)> {
    let built = segment::build(&incoming(tape)).expect("columns");
    let blob = segment::encode(&built).expect("a blob");
    messages(&Columns::decode(blob, Parts::all()).expect("what was written can be read"))
}

fn incoming(tape: &SpanTape) -> Vec<Incoming<'_>> {
    let one = |(n, span): (usize, &crate::otlp::FlatSpan)| Incoming {
        tape,
        span: u32::try_from(n).expect("few"),
        origin: i64::from(span.sender),
        arrival: 7,
    };
    tape.spans.iter().enumerate().map(one).collect()
}

/// Every row's sender and message, sorted; and every other word that a row can say.
fn messages(columns: &Columns) -> Vec<(i64, Vec<u8>)> {
    let mut all = Vec::new();
    for row in 0..columns.rows() {
        let mut message = Vec::new();
        columns.message(row, &mut message);
        all.push((columns.origin(row), message));
        let (id, attributes) = (columns.trace_id(row), columns.more_attrs(row));
        assert!(columns.rows_of(id).contains(&row) || columns.trace_count() > 1, "a row lies in its trace");
        drop((columns.parent_row(row), columns.end(row), columns.peer(row).map(str::len), attributes));
        for column in columns.attributes() {
            let _ = column.value(row).map(|v| v.to_string());
        }
    }
    all.sort();
    all
}

fn readable(request: &ExportTraceServiceRequest) {
    read::traces(request.encode_to_vec().into()).expect("what was accepted can be read again");
}

/// A blob whose checksum holds; `None` when there is no place for one.
fn with_checksum(bytes: &[u8]) -> Option<Vec<u8>> {
    const TRAILER: usize = 10;
    let mut bytes = bytes.to_vec();
    let end = bytes.len().checked_sub(TRAILER)?;
    let footer = i32::from_le_bytes(*bytes.get(end..)?.first_chunk()?);
    let footer = end.checked_sub(usize::try_from(footer).ok()?)?;
    let sum = footer.checked_sub(8)?;
    let seed = XxHash3_64::oneshot(&bytes[..sum]);
    let whole = XxHash3_64::oneshot_with_seed(seed, &bytes[footer..]);
    bytes[sum..footer].copy_from_slice(&whole.to_le_bytes());
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    /// A decoder put to the test.
    type Target = (&'static str, fn(&[u8]));

    const TARGETS: [Target; 8] = [
        ("otlp_protobuf", super::otlp_protobuf),
        ("otlp_json", super::otlp_json),
        ("zipkin", super::zipkin),
        ("file", super::file),
        ("query", super::query),
        ("segment_blob", super::segment_blob),
        ("segment_rows", super::segment_rows),
        ("segment_of_request", super::segment_of_request),
    ];

    fn files(dir: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
        }
        found
    }

    #[test]
    fn every_seed_keeps_the_law_of_its_target() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        for (name, law) in TARGETS {
            assert!(fuzz.join("fuzz_targets").join(format!("{name}.rs")).exists(), "{name} can be fuzzed");
            let seeds = files(&fuzz.join("seeds").join(name));
            assert!(!seeds.is_empty(), "{name} has seeds");
            for seed in seeds {
                println!("{}", seed.display());
                law(&std::fs::read(&seed).expect("read"));
            }
        }
    }

    #[test]
    fn what_clients_really_send_keeps_every_law_cut_anywhere() {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data");
        for path in files(&data.join("otlp")).into_iter().chain(files(&data.join("zipkin"))) {
            let bytes = std::fs::read(&path).expect("read");
            let laws = TARGETS.iter().filter(|(name, _)| !name.starts_with("segment_b") && *name != "query");
            for (name, law) in laws {
                println!("{name}: {}", path.display());
                for part in [1, 2, 3, 7] {
                    law(&bytes[..bytes.len() / part]);
                }
            }
        }
    }
}
