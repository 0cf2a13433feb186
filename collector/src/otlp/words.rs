//! OTLP's messages in the console's words.

use fuseboard_api::attr::{AttrValue, Attributes};
use fuseboard_api::span::{SpanEvent, SpanLink};
use fuseboard_api::{SpanId, TraceId, UnixNanos};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};

/// Attributes, in their order.
pub(crate) fn attributes(list: Vec<KeyValue>) -> Attributes {
    list.into_iter().map(|kv| (kv.key, value(kv.value))).collect()
}

/// A value.
pub(crate) fn value(value: Option<AnyValue>) -> AttrValue {
    match value.and_then(|v| v.value) {
        None | Some(Value::StringValueStrindex(_)) => AttrValue::Empty,
        Some(Value::StringValue(s)) => AttrValue::Str(s),
        Some(Value::BoolValue(b)) => AttrValue::Bool(b),
        Some(Value::IntValue(i)) => AttrValue::Int(i),
        Some(Value::DoubleValue(d)) => AttrValue::Double(d),
        Some(Value::BytesValue(b)) => AttrValue::Bytes(b),
        Some(Value::ArrayValue(a)) => AttrValue::Array(a.values.into_iter().map(|v| self::value(Some(v))).collect()),
        Some(Value::KvlistValue(l)) => AttrValue::Map(attributes(l.values)),
    }
}

/// An event.
pub(crate) fn event(e: Event) -> SpanEvent {
    SpanEvent {
        time: UnixNanos(i64::try_from(e.time_unix_nano).unwrap_or(i64::MAX)),
        name: e.name,
        attributes: attributes(e.attributes),
        dropped_attributes: e.dropped_attributes_count,
    }
}

/// A link.
pub(crate) fn link(l: Link) -> SpanLink {
    SpanLink {
        trace_id: TraceId::from_slice(&l.trace_id).unwrap_or_default(),
        span_id: SpanId::from_slice(&l.span_id).unwrap_or_default(),
        trace_state: l.trace_state,
        attributes: attributes(l.attributes),
        dropped_attributes: l.dropped_attributes_count,
        flags: l.flags,
    }
}
