//! A trace as OTLP/JSON, for `ctl trace ID --json`, for copying, and for files that other tools read.

use fuseboard_api::attr::{AttrValue, Attributes};
use fuseboard_api::span::{Origin, Span, SpanKind, StatusCode};
use fuseboard_api::trace::Trace;
use serde_json::{Map, Value, json};

/// The spans of each instrumentation scope of a resource.
type Scopes<'a> = Vec<(&'a Origin, Vec<Value>)>;

/// The spans of a trace as an OTLP/JSON `TracesData`: one resource a sender, one scope a library, ids in hex, 64-bit
/// numbers as text, enums as numbers.
#[must_use]
pub fn trace_to_json(trace: &Trace) -> Value {
    let mut resources: Vec<(&Origin, Scopes<'_>)> = Vec::new();
    for span in &trace.spans {
        let origin = span.origin.as_ref();
        let same_resource = |o: &Origin| {
            o.service == origin.service
                && o.resource == origin.resource
                && o.resource_schema_url == origin.resource_schema_url
        };
        let at = match resources.iter().position(|(o, _)| same_resource(o)) {
            Some(at) => at,
            None => {
                resources.push((origin, Vec::new()));
                resources.len() - 1
            }
        };
        let Some((_, scopes)) = resources.get_mut(at) else { continue };
        match scopes.iter_mut().find(|(o, _)| *o == origin) {
            Some((_, spans)) => spans.push(span_json(span)),
            None => scopes.push((origin, vec![span_json(span)])),
        }
    }
    let resources: Vec<Value> = resources
        .into_iter()
        .map(|(origin, scopes)| {
            let scopes: Vec<Value> = scopes.into_iter().map(|(origin, spans)| scope_json(origin, spans)).collect();
            let mut out = Map::new();
            out.insert("resource".into(), json!({"attributes": attributes(&origin.resource)}));
            out.insert("scopeSpans".into(), scopes.into());
            put_text(&mut out, "schemaUrl", &origin.resource_schema_url);
            out.into()
        })
        .collect();
    json!({ "resourceSpans": resources })
}

fn scope_json(origin: &Origin, spans: Vec<Value>) -> Value {
    let mut scope = Map::new();
    put_text(&mut scope, "name", &origin.scope);
    put_text(&mut scope, "version", &origin.scope_version);
    put_list(&mut scope, "attributes", attributes(&origin.scope_attributes));
    let mut out = Map::new();
    out.insert("scope".into(), scope.into());
    out.insert("spans".into(), spans.into());
    put_text(&mut out, "schemaUrl", &origin.scope_schema_url);
    out.into()
}

fn span_json(span: &Span) -> Value {
    let mut out = Map::new();
    put_text(&mut out, "traceId", &span.trace_id.to_string());
    put_text(&mut out, "spanId", &span.span_id.to_string());
    put_text(&mut out, "traceState", &span.trace_state);
    if let Some(parent) = span.parent {
        put_text(&mut out, "parentSpanId", &parent.to_string());
    }
    put_number(&mut out, "flags", span.flags);
    put_text(&mut out, "name", &span.name);
    let kind = match span.kind {
        SpanKind::Unspecified => 0,
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
        SpanKind::Consumer => 5,
    };
    out.insert("kind".into(), json!(kind));
    put_text(&mut out, "startTimeUnixNano", &span.start.to_string());
    put_text(&mut out, "endTimeUnixNano", &span.end.to_string());
    put_list(&mut out, "attributes", attributes(&span.attributes));
    put_number(&mut out, "droppedAttributesCount", span.dropped_attributes);
    let events = span.events.iter().map(|e| {
        let mut event = Map::new();
        put_text(&mut event, "timeUnixNano", &e.time.to_string());
        put_text(&mut event, "name", &e.name);
        put_list(&mut event, "attributes", attributes(&e.attributes));
        put_number(&mut event, "droppedAttributesCount", e.dropped_attributes);
        event.into()
    });
    put_list(&mut out, "events", events.collect());
    put_number(&mut out, "droppedEventsCount", span.dropped_events);
    let links = span.links.iter().map(|l| {
        let mut link = Map::new();
        put_text(&mut link, "traceId", &l.trace_id.to_string());
        put_text(&mut link, "spanId", &l.span_id.to_string());
        put_text(&mut link, "traceState", &l.trace_state);
        put_list(&mut link, "attributes", attributes(&l.attributes));
        put_number(&mut link, "droppedAttributesCount", l.dropped_attributes);
        put_number(&mut link, "flags", l.flags);
        link.into()
    });
    put_list(&mut out, "links", links.collect());
    put_number(&mut out, "droppedLinksCount", span.dropped_links);
    let mut status = Map::new();
    put_text(&mut status, "message", &span.status_message);
    match span.status {
        StatusCode::Unset => {}
        StatusCode::Ok => put_number(&mut status, "code", 1),
        StatusCode::Error => put_number(&mut status, "code", 2),
    }
    out.insert("status".into(), status.into());
    out.into()
}

fn put_text(out: &mut Map<String, Value>, key: &str, text: &str) {
    if !text.is_empty() {
        out.insert(key.into(), text.into());
    }
}

fn put_number(out: &mut Map<String, Value>, key: &str, number: u32) {
    if number != 0 {
        out.insert(key.into(), number.into());
    }
}

fn put_list(out: &mut Map<String, Value>, key: &str, list: Vec<Value>) {
    if !list.is_empty() {
        out.insert(key.into(), list.into());
    }
}

fn attributes(list: &Attributes) -> Vec<Value> {
    list.iter().map(|(key, v)| json!({"key": key, "value": value(v)})).collect()
}

fn value(v: &AttrValue) -> Value {
    match v {
        AttrValue::Empty => json!({}),
        AttrValue::Str(s) => json!({"stringValue": s}),
        AttrValue::Bool(b) => json!({"boolValue": b}),
        AttrValue::Int(i) => json!({"intValue": i.to_string()}),
        AttrValue::Double(d) if d.is_finite() => json!({"doubleValue": d}),
        AttrValue::Double(d) if d.is_nan() => json!({"doubleValue": "NaN"}),
        AttrValue::Double(d) => json!({"doubleValue": if *d > 0.0 { "Infinity" } else { "-Infinity" }}),
        AttrValue::Bytes(b) => json!({"bytesValue": crate::base64::encode(b)}),
        AttrValue::Array(items) => json!({"arrayValue": {"values": items.iter().map(value).collect::<Vec<_>>()}}),
        AttrValue::Map(entries) => json!({"kvlistValue": {"values": attributes(entries)}}),
    }
}
