//! What is stored in the words that tools of many kinds read: plain JSON, and a name for every number.

use fuseboard_api::attr::{AttrValue, Attributes};
use fuseboard_api::span::{SpanEvent, SpanKind, SpanLink, StatusCode};
use serde_json::{Value, json};

use crate::base64;

/// A value as plain JSON. Bytes are in Base64; JSON has no infinities and no NaN, they are texts.
pub(crate) fn plain(value: &AttrValue) -> Value {
    match value {
        AttrValue::Empty => Value::Null,
        AttrValue::Str(s) => Value::String(s.clone()),
        AttrValue::Bool(b) => Value::Bool(*b),
        AttrValue::Int(i) => (*i).into(),
        AttrValue::Double(d) => serde_json::Number::from_f64(*d).map_or(Value::String(d.to_string()), Value::Number),
        AttrValue::Bytes(b) => Value::String(base64::encode(b)),
        AttrValue::Array(items) => Value::Array(items.iter().map(plain).collect()),
        AttrValue::Map(entries) => object(entries),
    }
}

/// Attributes as a JSON object. Of a key that was sent twice the last value stays.
pub(crate) fn object(attributes: &Attributes) -> Value {
    Value::Object(attributes.iter().map(|(key, value)| (key.clone(), plain(value))).collect())
}

/// The word for a kind, as everywhere in JSON.
pub(crate) fn kind(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Unspecified => "unspecified",
        SpanKind::Internal => "internal",
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
    }
}

/// The word for a status.
pub(crate) fn status(status: StatusCode) -> &'static str {
    match status {
        StatusCode::Unset => "unset",
        StatusCode::Ok => "ok",
        StatusCode::Error => "error",
    }
}

/// The word for OTLP's number of a kind.
pub(crate) fn kind_of(number: u8) -> &'static str {
    kind(match number {
        1 => SpanKind::Internal,
        2 => SpanKind::Server,
        3 => SpanKind::Client,
        4 => SpanKind::Producer,
        5 => SpanKind::Consumer,
        _ => SpanKind::Unspecified,
    })
}

/// The word for OTLP's number of a status.
pub(crate) fn status_of(number: u8) -> &'static str {
    status(match number {
        1 => StatusCode::Ok,
        2 => StatusCode::Error,
        _ => StatusCode::Unset,
    })
}

/// Events as JSON: `time` (Unix nanoseconds), `name`, `attributes`.
pub(crate) fn events(events: &[SpanEvent]) -> Value {
    let one = |e: &SpanEvent| json!({"time": e.time.0, "name": e.name, "attributes": object(&e.attributes)});
    events.iter().map(one).collect()
}

/// Links as JSON: `trace_id`, `span_id`, `trace_state`, `attributes`.
pub(crate) fn links(links: &[SpanLink]) -> Value {
    let one = |l: &SpanLink| {
        let attributes = object(&l.attributes);
        json!({"trace_id": l.trace_id, "span_id": l.span_id, "trace_state": l.trace_state, "attributes": attributes})
    };
    links.iter().map(one).collect()
}
