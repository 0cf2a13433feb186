//! Zipkin v2 spans into an OTLP request.
//!
//! Names follow OpenTelemetry's own translation: `error` makes the status, `otel.status_code`, `otel.scope.*` and
//! `w3c.tracestate` go where they came from, what describes the sender becomes its resource, and all other tags stay as
//! they are. Where Zipkin lets a client and a server share one span id, the server's half gets an id of its own below the
//! client's, so that both are kept.

mod proto;
mod sent;
mod span;

use std::collections::{BTreeMap, HashMap};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

use self::sent::{Sent, Spans};
use self::span::Family;

/// Spans that one list may hold; each takes more room once it is read than it took on the wire.
pub const MAX_SPANS: usize = 500_000;

/// Why a body is no list of Zipkin spans.
#[derive(Debug, thiserror::Error)]
pub enum BadZipkin {
    /// Not the JSON that Zipkin v2 has.
    #[error("the body is not a list of Zipkin v2 spans in JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Not the protobuf that Zipkin v2 has.
    #[error("the body is not a list of Zipkin v2 spans in protobuf: {0}")]
    Protobuf(String),
}

/// Reads a list of Zipkin v2 spans in JSON. A span whose ids or times make no sense is kept as it is: it is refused by name
/// where every OTLP span is.
///
/// # Errors
/// Where the text stops being a list of Zipkin spans, or has more than [`MAX_SPANS`].
pub fn request(body: &[u8]) -> Result<ExportTraceServiceRequest, BadZipkin> {
    let Spans(spans) = serde_json::from_slice(body)?;
    Ok(translate(spans))
}

/// Reads a list of Zipkin v2 spans in protobuf (`zipkin.proto3.ListOfSpans`); see [`request`].
///
/// # Errors
/// Where the bytes stop being such a list, or have more than [`MAX_SPANS`].
pub fn protobuf_request(body: &[u8]) -> Result<ExportTraceServiceRequest, BadZipkin> {
    Ok(translate(proto::spans(body)?))
}

/// Who sent a span, as its tags and its endpoint say.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Source {
    /// Attributes of the resource; `service.name` among them when it was said.
    resource: BTreeMap<String, String>,
    /// Name and version of the instrumentation scope.
    scope: (String, String),
}

fn translate(spans: Vec<Sent>) -> ExportTraceServiceRequest {
    let family = Family::of(&spans);
    let mut places: HashMap<Source, usize> = HashMap::new();
    let mut sorted: Vec<(Source, Vec<Span>)> = Vec::new();
    for sent in spans {
        let (source, span) = span::translate(sent, &family);
        let place = match places.get(&source) {
            Some(place) => *place,
            None => {
                places.insert(source.clone(), sorted.len());
                sorted.push((source, Vec::new()));
                sorted.len() - 1
            }
        };
        if let Some((_, spans)) = sorted.get_mut(place) {
            spans.push(span);
        }
    }
    let resource_spans = sorted.into_iter().map(|(source, spans)| of_source(source, spans)).collect();
    ExportTraceServiceRequest { resource_spans }
}

fn of_source(source: Source, spans: Vec<Span>) -> ResourceSpans {
    let attributes = source.resource.into_iter().map(|(key, value)| text(key, value)).collect();
    let (name, version) = source.scope;
    let scope = (!name.is_empty()).then(|| InstrumentationScope { name, version, ..InstrumentationScope::default() });
    ResourceSpans {
        resource: Some(Resource { attributes, ..Resource::default() }),
        scope_spans: vec![ScopeSpans { scope, spans, schema_url: String::new() }],
        schema_url: String::new(),
    }
}

fn attribute(key: impl Into<String>, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
}

fn text(key: impl Into<String>, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

#[cfg(test)]
mod tests;
