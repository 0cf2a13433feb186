//! Traces in the JSON that Jaeger's query service answers with, its window shows and saves, and Grafana reads.
//!
//! What OTLP has and Jaeger has not goes where OpenTelemetry's mapping to other formats puts it: the status, the scope and
//! the counts of what was dropped into tags `otel.*`, the trace state into `w3c.tracestate`, values that are no scalars
//! into JSON text.

use std::collections::BTreeMap;
use std::sync::Arc;

use fuseboard_api::attr::AttrValue;
use fuseboard_api::span::{Origin, Span, SpanEvent, SpanKind, SpanLink, StatusCode};
use fuseboard_api::{SpanId, TraceId, UnixNanos};
use serde::Serialize;
use serde_json::Value;

use super::words::plain;
use crate::base64;

/// One trace.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trace {
    /// Its id.
    #[serde(rename = "traceID")]
    pub trace_id: TraceId,
    /// Its spans, in the order given.
    pub spans: Vec<JaegerSpan>,
    /// Who sent them, by [`JaegerSpan::process_id`].
    pub processes: BTreeMap<String, Process>,
    /// Nothing is ever said of a whole trace.
    pub warnings: Option<Vec<String>>,
}

/// One span.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JaegerSpan {
    /// Its trace.
    #[serde(rename = "traceID")]
    pub trace_id: TraceId,
    /// Its id.
    #[serde(rename = "spanID")]
    pub span_id: SpanId,
    /// W3C's flags; bit 0 means sampled.
    pub flags: u32,
    /// Its name.
    #[serde(rename = "operationName")]
    pub operation_name: String,
    /// Its parent first, then its links.
    pub references: Vec<Reference>,
    /// Microseconds since 1970.
    #[serde(rename = "startTime")]
    pub start_time: u64,
    /// Microseconds.
    pub duration: u64,
    /// Attributes, and what Jaeger has no other place for.
    pub tags: Vec<Tag>,
    /// Events.
    pub logs: Vec<Log>,
    /// Name of its sender in [`Trace::processes`].
    #[serde(rename = "processID")]
    pub process_id: String,
    /// What is odd about it.
    pub warnings: Option<Vec<String>>,
}

/// A pointer to another span.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reference {
    /// `CHILD_OF` or `FOLLOWS_FROM`.
    #[serde(rename = "refType")]
    pub ref_type: &'static str,
    /// The other's trace.
    #[serde(rename = "traceID")]
    pub trace_id: TraceId,
    /// The other.
    #[serde(rename = "spanID")]
    pub span_id: SpanId,
}

/// A typed attribute.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tag {
    /// Its name.
    pub key: String,
    /// `string`, `bool`, `int64`, `float64` or `binary` (Base64).
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Its value.
    pub value: Value,
}

/// Something that happened in a span.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Log {
    /// Microseconds since 1970.
    pub timestamp: u64,
    /// `event` is the name.
    pub fields: Vec<Tag>,
}

/// Who sends spans.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Process {
    /// `service.name`.
    #[serde(rename = "serviceName")]
    pub service_name: String,
    /// The other attributes of the resource.
    pub tags: Vec<Tag>,
}

/// A trace's spans as Jaeger writes them.
#[must_use]
pub fn to_json(trace_id: TraceId, spans: &[Span]) -> Trace {
    let mut senders = Senders::default();
    let spans = spans.iter().map(|s| span(s, &mut senders)).collect();
    Trace { trace_id, spans, processes: senders.processes, warnings: None }
}

/// Processes met so far. One process may send with many scopes.
#[derive(Default)]
struct Senders {
    processes: BTreeMap<String, Process>,
    known: Vec<(Arc<Origin>, String)>,
}

impl Senders {
    fn name(&mut self, origin: &Arc<Origin>) -> String {
        if let Some((_, name)) = self.known.iter().find(|(known, _)| Arc::ptr_eq(known, origin)) {
            return name.clone();
        }
        let process = Process {
            service_name: origin.service.clone(),
            tags: tags(origin.resource.iter().filter(|(key, _)| key != "service.name")),
        };
        let same = self.processes.iter().find(|(_, known)| **known == process).map(|(name, _)| name.clone());
        let name = same.unwrap_or_else(|| {
            let name = format!("p{}", self.processes.len() + 1);
            self.processes.insert(name.clone(), process);
            name
        });
        self.known.push((origin.clone(), name.clone()));
        name
    }
}

fn span(span: &Span, senders: &mut Senders) -> JaegerSpan {
    let parent = span.parent.map(|id| Reference { ref_type: "CHILD_OF", trace_id: span.trace_id, span_id: id });
    let backwards = span.end < span.start;
    JaegerSpan {
        trace_id: span.trace_id,
        span_id: span.span_id,
        // The bits above are OTLP's own.
        flags: span.flags & 0xff,
        operation_name: span.name.clone(),
        references: parent.into_iter().chain(span.links.iter().map(reference)).collect(),
        start_time: micros(span.start),
        duration: span.duration_nanos() / 1000,
        tags: tags(&span.attributes).into_iter().chain(extra(span)).collect(),
        logs: span.events.iter().map(log).collect(),
        process_id: senders.name(&span.origin),
        warnings: backwards.then(|| vec!["the span ends before it starts; its duration is shown as 0".to_owned()]),
    }
}

fn micros(time: UnixNanos) -> u64 {
    u64::try_from(time.0 / 1000).unwrap_or(0)
}

/// A link; the attribute that OpenTracing's shim writes says which kind it is.
fn reference(link: &SpanLink) -> Reference {
    let child = link.attributes.iter().any(|(k, v)| k == "opentracing.ref_type" && v.as_str() == Some("child_of"));
    let ref_type = if child { "CHILD_OF" } else { "FOLLOWS_FROM" };
    Reference { ref_type, trace_id: link.trace_id, span_id: link.span_id }
}

fn log(event: &SpanEvent) -> Log {
    let name = (!event.name.is_empty()).then(|| text("event", event.name.clone()));
    let dropped = count("otel.dropped_attributes_count", event.dropped_attributes);
    Log {
        timestamp: micros(event.time),
        fields: name.into_iter().chain(tags(&event.attributes)).chain(dropped).collect(),
    }
}

/// Tags for what Jaeger's span has no field for.
fn extra(span: &Span) -> Vec<Tag> {
    let mut out = Vec::new();
    let kind = match span.kind {
        SpanKind::Unspecified => None,
        SpanKind::Internal => Some("internal"),
        SpanKind::Server => Some("server"),
        SpanKind::Client => Some("client"),
        SpanKind::Producer => Some("producer"),
        SpanKind::Consumer => Some("consumer"),
    };
    out.extend(kind.map(|kind| text("span.kind", kind)));
    match span.status {
        StatusCode::Unset => {}
        StatusCode::Ok => out.push(text("otel.status_code", "OK")),
        StatusCode::Error => {
            out.push(text("otel.status_code", "ERROR"));
            // What Jaeger's window paints red.
            if span.attr("error").is_none() {
                out.push(Tag { key: "error".to_owned(), kind: "bool", value: Value::Bool(true) });
            }
        }
    }
    let origin = &span.origin;
    for (key, value) in [
        ("otel.status_description", &span.status_message),
        ("otel.scope.name", &origin.scope),
        ("otel.scope.version", &origin.scope_version),
        ("w3c.tracestate", &span.trace_state),
    ] {
        if !value.is_empty() {
            out.push(text(key, value.clone()));
        }
    }
    out.extend(count("otel.dropped_attributes_count", span.dropped_attributes));
    out.extend(count("otel.dropped_events_count", span.dropped_events));
    out.extend(count("otel.dropped_links_count", span.dropped_links));
    out
}

fn text(key: &str, value: impl Into<String>) -> Tag {
    Tag { key: key.to_owned(), kind: "string", value: Value::String(value.into()) }
}

fn count(key: &str, n: u32) -> Option<Tag> {
    (n > 0).then(|| Tag { key: key.to_owned(), kind: "int64", value: n.into() })
}

fn tags<'a>(attributes: impl IntoIterator<Item = &'a (String, AttrValue)>) -> Vec<Tag> {
    let tag = |(key, value): &(String, AttrValue)| {
        let (kind, value) = typed(value);
        Tag { key: key.clone(), kind, value }
    };
    attributes.into_iter().map(tag).collect()
}

fn typed(value: &AttrValue) -> (&'static str, Value) {
    match value {
        AttrValue::Empty => ("string", Value::String(String::new())),
        AttrValue::Str(s) => ("string", Value::String(s.clone())),
        AttrValue::Bool(b) => ("bool", Value::Bool(*b)),
        AttrValue::Int(i) => ("int64", (*i).into()),
        AttrValue::Double(_) => ("float64", plain(value)),
        AttrValue::Bytes(b) => ("binary", Value::String(base64::encode(b))),
        AttrValue::Array(_) | AttrValue::Map(_) => ("string", Value::String(plain(value).to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> SpanId {
        SpanId([byte; 8])
    }

    #[test]
    fn every_field_has_its_place() {
        let attributes = vec![
            ("s".to_owned(), AttrValue::from("x")),
            ("i".to_owned(), AttrValue::Int(i64::MAX)),
            ("d".to_owned(), AttrValue::Double(0.5)),
            ("nan".to_owned(), AttrValue::Double(f64::NAN)),
            ("b".to_owned(), AttrValue::Bool(true)),
            ("raw".to_owned(), AttrValue::Bytes(vec![1, 2])),
            ("list".to_owned(), AttrValue::Array(vec![AttrValue::Int(1), AttrValue::from("a")])),
        ];
        let link = |kind: Option<&str>| SpanLink {
            trace_id: TraceId([2; 16]),
            span_id: id(9),
            attributes: kind.map(|k| ("opentracing.ref_type".to_owned(), AttrValue::from(k))).into_iter().collect(),
            ..SpanLink::default()
        };
        let event =
            SpanEvent { time: UnixNanos(2_500), name: "boom".into(), dropped_attributes: 1, ..SpanEvent::default() };
        let origin = Origin {
            service: "shop".into(),
            resource: vec![("service.name".into(), "shop".into()), ("host.name".into(), "h".into())],
            scope: "lib".into(),
            ..Origin::default()
        };
        let whole = Span {
            trace_id: TraceId([1; 16]),
            span_id: id(1),
            parent: Some(id(7)),
            name: "pay".into(),
            kind: SpanKind::Client,
            start: UnixNanos(1_999),
            end: UnixNanos(5_999),
            status: StatusCode::Error,
            status_message: "no".into(),
            attributes,
            events: vec![event],
            links: vec![link(None), link(Some("child_of"))],
            trace_state: "k=v".into(),
            flags: 0x301,
            dropped_links: 4,
            origin: Arc::new(origin.clone()),
            ..Span::default()
        };
        // The same process through another scope, and a clock that ran backwards.
        let other = Span {
            start: UnixNanos(9_000),
            origin: Arc::new(Origin { scope: "other".into(), ..origin }),
            ..Span { attributes: vec![], events: vec![], links: vec![], ..whole.clone() }
        };
        let written = serde_json::to_value(to_json(TraceId([1; 16]), &[whole, other])).expect("JSON");
        let span = &written["spans"][0];
        assert_eq!(written["traceID"], "01".repeat(16));
        assert_eq!(written["processes"]["p1"]["serviceName"], "shop");
        assert_eq!(written["processes"].as_object().map(serde_json::Map::len), Some(1));
        let host = serde_json::json!([{"key": "host.name", "type": "string", "value": "h"}]);
        assert_eq!(written["processes"]["p1"]["tags"], host);
        assert_eq!((&span["startTime"], &span["duration"], &span["flags"]), (&1.into(), &4.into(), &1.into()));
        assert_eq!((&span["processID"], &span["warnings"]), (&"p1".into(), &Value::Null));
        let kinds: Vec<_> = (0..3).map(|i| span["references"][i]["refType"].as_str().expect("text")).collect();
        assert_eq!(kinds, ["CHILD_OF", "FOLLOWS_FROM", "CHILD_OF"]);
        assert_eq!(span["references"][0]["spanID"], "07".repeat(8));
        let tag = |key: &str| {
            let tags = span["tags"].as_array().expect("tags");
            tags.iter().find(|t| t["key"] == key).map(|t| (t["type"].clone(), t["value"].clone())).expect(key)
        };
        for (key, kind, value) in [
            ("s", "string", Value::from("x")),
            ("i", "int64", i64::MAX.into()),
            ("d", "float64", 0.5.into()),
            ("nan", "float64", "NaN".into()),
            ("b", "bool", true.into()),
            ("raw", "binary", "AQI=".into()),
            ("list", "string", "[1,\"a\"]".into()),
            ("span.kind", "string", "client".into()),
            ("error", "bool", true.into()),
            ("otel.status_code", "string", "ERROR".into()),
            ("otel.status_description", "string", "no".into()),
            ("otel.scope.name", "string", "lib".into()),
            ("w3c.tracestate", "string", "k=v".into()),
            ("otel.dropped_links_count", "int64", 4.into()),
        ] {
            assert_eq!(tag(key), (kind.into(), value), "{key}");
        }
        assert_eq!(span["logs"][0]["timestamp"], 2);
        assert_eq!(span["logs"][0]["fields"][0]["value"], "boom");
        assert_eq!(span["logs"][0]["fields"][1]["key"], "otel.dropped_attributes_count");
        assert_eq!(written["spans"][1]["duration"], 0);
        assert!(written["spans"][1]["warnings"][0].as_str().expect("a warning").contains("before"));
    }
}
