//! Spans to test with.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;

use super::super::{Built, Columns, Incoming, Parts, build, encode};
use crate::otlp::{SpanTape, read};

/// An attribute.
pub(super) fn kv(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// A text attribute.
pub(super) fn text(key: &str, value: &str) -> KeyValue {
    kv(key, Value::StringValue(value.to_owned()))
}

/// A list.
pub(super) fn list(values: Vec<Value>) -> Value {
    Value::ArrayValue(ArrayValue { values: values.into_iter().map(|v| AnyValue { value: Some(v) }).collect() })
}

/// A map.
pub(super) fn map(values: Vec<KeyValue>) -> Value {
    Value::KvlistValue(KeyValueList { values })
}

/// A plain span of a trace.
pub(super) fn span(trace: u8, id: u8, parent: u8, start: u64) -> Span {
    Span {
        trace_id: vec![trace; 16],
        span_id: vec![id; 8],
        parent_span_id: if parent == 0 { Vec::new() } else { vec![parent; 8] },
        name: format!("span {id}"),
        kind: 2,
        start_time_unix_nano: start,
        end_time_unix_nano: start + 1_000,
        ..Span::default()
    }
}

/// The spans on a tape.
pub(super) fn tape(spans: &[Span]) -> SpanTape {
    let scope = ScopeSpans { spans: spans.to_vec(), ..ScopeSpans::default() };
    let resource = ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() };
    let request = ExportTraceServiceRequest { resource_spans: vec![resource] };
    let read = read::traces(request.encode_to_vec().into()).unwrap();
    assert_eq!(read.tape.spans.len(), spans.len(), "{}", read.refused.sentence("span"));
    read.tape
}

/// All spans of a tape, of sender 7, stored at 1,000 and later.
pub(super) fn incoming(tape: &SpanTape) -> Vec<Incoming<'_>> {
    (0..tape.spans.len())
        .map(|i| Incoming { tape, span: i as u32, origin: 7 + i as i64 % 3, arrival: 1_000 + i as i64 / 10 })
        .collect()
}

/// The spans as a segment.
pub(super) fn built(spans: &[Span]) -> Built {
    let tape = tape(spans);
    build(&incoming(&tape)).unwrap()
}

/// The spans through a blob.
pub(super) fn columns(spans: &[Span]) -> Columns {
    Columns::decode(encode(&built(spans)).unwrap(), Parts::all()).unwrap()
}

/// The spans that columns hold, re-encoded and read again.
pub(super) fn messages(columns: &Columns) -> Vec<Span> {
    let message = |row| {
        let mut bytes = Vec::new();
        columns.message(row, &mut bytes);
        Span::decode(bytes.as_slice()).unwrap()
    };
    (0..columns.rows()).map(message).collect()
}

/// The order of a segment, and what an encoder is free to choose settled.
pub(super) fn settled(mut spans: Vec<Span>) -> Vec<Span> {
    for span in &mut spans {
        if span.status.as_ref().is_some_and(|s| s.code == 0 && s.message.is_empty()) {
            span.status = None;
        }
    }
    spans.sort_by_key(|s| s.start_time_unix_nano);
    let first = |trace: &[u8]| spans.iter().find(|s| s.trace_id == trace).map(|s| s.start_time_unix_nano);
    let mut keyed: Vec<_> = spans.iter().map(|s| ((first(&s.trace_id), s.trace_id.clone()), s.clone())).collect();
    keyed.sort_by(|a, b| a.0.cmp(&b.0));
    keyed.into_iter().map(|(_, span)| span).collect()
}
