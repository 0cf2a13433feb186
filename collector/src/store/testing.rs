//! What tests of the writer put in.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;

use super::rows::Batch;
use crate::otlp::read;

/// A span that ends a microsecond after its start.
pub(super) fn span(trace: u8, id: u8, kind: i32, start: i64) -> Span {
    Span {
        trace_id: vec![trace; 16],
        span_id: vec![id; 8],
        kind,
        name: "work".into(),
        start_time_unix_nano: start as u64,
        end_time_unix_nano: start as u64 + 1_000,
        ..Span::default()
    }
}

/// The same with a text attribute.
pub(super) fn with(mut span: Span, key: &str, value: &str) -> Span {
    span.attributes.push(text(key, value));
    span
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.into())) });
    KeyValue { key: key.into(), value, key_strindex: 0 }
}

/// A request of one service.
pub(super) fn batch(service: &str, spans: Vec<Span>) -> Batch {
    let resource = Some(Resource { attributes: vec![text("service.name", service)], ..Resource::default() });
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
    let bytes = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
    let tape = read::traces(bytes.into()).expect("sound").tape;
    Batch { bytes: tape.size(), tapes: vec![tape], ..Batch::default() }
}
