//! Jaeger's JSON into OTLP: what its page and its API give as a trace.
//!
//! Words of Jaeger that OTLP has fields for become those fields: `span.kind`, `error`, `otel.status_code`,
//! `otel.status_description`, `otel.scope.name` and `.version` (and their older names), `w3c.tracestate`. All else stays an attribute.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use serde_json::Value;

use crate::ingest::json::{Object, Read, bad, whole};

/// Reads one trace.
pub(super) fn trace(json: &Value) -> Read<ExportTraceServiceRequest> {
    let o = Object::of("trace", json)?;
    let mut senders = Senders { of: o, resources: Vec::new() };
    let spans = o.each("spans", |s| Ok((s, span(s)?)))?;
    for (object, found) in spans {
        senders.add(object, found)?;
    }
    Ok(ExportTraceServiceRequest { resource_spans: senders.resources.into_iter().map(|(_, r)| r).collect() })
}

/// Resources by the key of their process.
struct Senders<'a> {
    of: Object<'a>,
    resources: Vec<(String, ResourceSpans)>,
}

impl<'a> Senders<'a> {
    fn add(&mut self, object: Object<'a>, (span, scope): (Span, InstrumentationScope)) -> Read<()> {
        let key = object.text("processID")?;
        let at = match self.resources.iter().position(|(k, _)| *k == key && !key.is_empty()) {
            Some(at) => at,
            None => {
                // A span may carry its process itself.
                let own = object.object("process", process)?;
                let shared = self.of.object("processes", |all| all.object(&key, process))?.flatten();
                let resource = Some(own.or(shared).unwrap_or_default());
                self.resources.push((key, ResourceSpans { resource, ..ResourceSpans::default() }));
                self.resources.len() - 1
            }
        };
        let Some((_, resource)) = self.resources.get_mut(at) else { return Ok(()) };
        let scopes = &mut resource.scope_spans;
        match scopes.iter_mut().find(|s| s.scope.as_ref() == Some(&scope)) {
            Some(known) => known.spans.push(span),
            None => scopes.push(ScopeSpans { scope: Some(scope), spans: vec![span], schema_url: String::new() }),
        }
        Ok(())
    }
}

fn process(o: Object<'_>) -> Read<Resource> {
    let mut attributes = tags(o, "tags")?;
    let name = o.text("serviceName")?;
    if !name.is_empty() && !attributes.iter().any(|kv| kv.key == "service.name") {
        attributes.insert(0, pair("service.name", Any::StringValue(name)));
    }
    Ok(Resource { attributes, ..Resource::default() })
}

fn span(o: Object<'_>) -> Read<(Span, InstrumentationScope)> {
    let trace_id = id(o, "traceID", 16)?;
    let span_id = id(o, "spanID", 8)?;
    let references = o.each("references", |r| {
        Ok((
            r.text("refType")?,
            Link { trace_id: id(r, "traceID", 16)?, span_id: id(r, "spanID", 8)?, ..Link::default() },
        ))
    })?;
    let older = id(o, "parentSpanID", 8)?;
    let mut parent = if older.iter().all(|b| *b == 0) { Vec::new() } else { older };
    let mut links = Vec::new();
    for (kind, mut link) in references {
        let is_child = kind != "FOLLOWS_FROM";
        if is_child && link.trace_id == trace_id && (parent.is_empty() || parent == link.span_id) {
            parent = link.span_id;
            continue;
        }
        if is_child {
            link.attributes.push(pair("opentracing.ref_type", Any::StringValue("child_of".into())));
        }
        links.push(link);
    }
    let start = micros(o, "startTime")?;
    let mut words = Words::default();
    let mut attributes = tags(o, "tags")?;
    attributes.retain(|kv| !words.takes(kv));
    let warnings: Vec<AnyValue> =
        o.list("warnings")?.iter().filter_map(|w| Some(text_value(w.as_str()?.to_owned()))).collect();
    if !warnings.is_empty() {
        attributes.push(pair("jaeger.warnings", Any::ArrayValue(ArrayValue { values: warnings })));
    }
    let span = Span {
        parent_span_id: parent,
        trace_state: std::mem::take(&mut words.trace_state),
        flags: o.u32("flags")? & 0xff,
        name: o.text("operationName")?,
        kind: words.kind,
        start_time_unix_nano: start,
        end_time_unix_nano: start.saturating_add(micros(o, "duration")?),
        attributes,
        dropped_attributes_count: words.dropped[0],
        events: o.each("logs", event)?,
        dropped_events_count: words.dropped[1],
        links,
        dropped_links_count: words.dropped[2],
        status: words.status(),
        trace_id,
        span_id,
    };
    Ok((span, words.scope))
}

/// Counts of what the sender left out, as OpenTelemetry's mapping names them.
const DROPPED: [&str; 3] = ["otel.dropped_attributes_count", "otel.dropped_events_count", "otel.dropped_links_count"];

/// Tags that have a field of their own in OTLP.
#[derive(Default)]
struct Words {
    kind: i32,
    code: i32,
    message: String,
    error: bool,
    trace_state: String,
    dropped: [u32; 3],
    scope: InstrumentationScope,
}

impl Words {
    /// Whether a tag went into a field and is no attribute any more.
    fn takes(&mut self, tag: &KeyValue) -> bool {
        let value = tag.value.as_ref().and_then(|v| v.value.as_ref());
        let text = match value {
            Some(Any::StringValue(s)) => s.as_str(),
            Some(Any::BoolValue(true)) => "true",
            _ => "",
        };
        if let (Some(at), Some(Any::IntValue(n))) = (DROPPED.iter().position(|key| *key == tag.key), value)
            && let (Some(count), Ok(n)) = (self.dropped.get_mut(at), u32::try_from(*n))
        {
            *count = n;
            return true;
        }
        match tag.key.as_str() {
            "span.kind" => {
                let kinds = ["internal", "server", "client", "producer", "consumer"];
                let Some(at) = kinds.iter().position(|k| k.eq_ignore_ascii_case(text)) else { return false };
                self.kind = i32::try_from(at).unwrap_or(0) + 1;
            }
            "otel.status_code" => match text {
                "OK" => self.code = 1,
                "ERROR" => self.code = 2,
                _ => return false,
            },
            "otel.status_description" => text.clone_into(&mut self.message),
            // Some senders say why with it: that stays.
            "error" => {
                self.error |= text.eq_ignore_ascii_case("true");
                return text.eq_ignore_ascii_case("true") || matches!(value, Some(Any::BoolValue(false)));
            }
            "w3c.tracestate" => text.clone_into(&mut self.trace_state),
            "otel.scope.name" | "otel.library.name" => text.clone_into(&mut self.scope.name),
            "otel.scope.version" | "otel.library.version" => text.clone_into(&mut self.scope.version),
            _ => return false,
        }
        true
    }

    fn status(&mut self) -> Option<Status> {
        let code = if self.code == 0 && self.error { 2 } else { self.code };
        let message = std::mem::take(&mut self.message);
        (code != 0 || !message.is_empty()).then_some(Status { code, message })
    }
}

fn event(o: Object<'_>) -> Read<Event> {
    let mut attributes = tags(o, "fields")?;
    let said = attributes.iter().position(|kv| kv.key == "event" && text_of(kv).is_some());
    let name = said.and_then(|at| text_of(&attributes.remove(at)).map(str::to_owned));
    let mut words = Words::default();
    attributes.retain(|kv| kv.key != DROPPED[0] || !words.takes(kv));
    Ok(Event {
        time_unix_nano: micros(o, "timestamp")?,
        // OpenTracing's logs need no name.
        name: name.unwrap_or_else(|| "log".to_owned()),
        attributes,
        dropped_attributes_count: words.dropped[0],
    })
}

fn text_of(kv: &KeyValue) -> Option<&str> {
    match kv.value.as_ref()?.value.as_ref()? {
        Any::StringValue(s) => Some(s),
        _ => None,
    }
}

fn text_value(text: String) -> AnyValue {
    AnyValue { value: Some(Any::StringValue(text)) }
}

fn pair(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
}

/// Tags with their types; without one, JSON's own type counts.
fn tags(o: Object<'_>, field: &str) -> Read<Vec<KeyValue>> {
    o.each(field, |tag| {
        let key = tag.text("key")?;
        let kind = tag.text("type")?;
        let Some(value) = tag.get("value") else {
            return Ok(KeyValue { key, value: None, key_strindex: 0 });
        };
        let any = match (kind.to_ascii_lowercase().as_str(), value) {
            ("int64" | "long", v) => Any::IntValue(whole("value", v)?),
            ("float64" | "double", _) => Any::DoubleValue(tag.double("value")?.unwrap_or(0.0)),
            ("bool", Value::String(s)) => Any::BoolValue(s.parse().map_err(|_| bad("value", "true or false", value))?),
            ("binary", Value::String(s)) => {
                Any::BytesValue(crate::base64::decode(s).ok_or_else(|| bad("value", "bytes in base64", value))?)
            }
            (_, Value::String(s)) => Any::StringValue(s.clone()),
            (_, Value::Bool(b)) => Any::BoolValue(*b),
            (_, Value::Number(n)) => match n.as_i64() {
                Some(i) => Any::IntValue(i),
                None => Any::DoubleValue(n.as_f64().unwrap_or(f64::NAN)),
            },
            (_, other) => Any::StringValue(other.to_string()),
        };
        Ok(pair(&key, any))
    })
}

/// An id in hex digits; leading zeros may be left out.
fn id(o: Object<'_>, field: &str, bytes: usize) -> Read<Vec<u8>> {
    let text = o.text(field)?;
    if text.is_empty() {
        return Ok(vec![0; bytes]);
    }
    let expected =
        if bytes == 16 { "an id of at most 32 hexadecimal digits" } else { "an id of at most 16 hexadecimal digits" };
    let digits = text.as_bytes();
    if digits.len() > bytes * 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(bad(field, expected, &Value::String(text)));
    }
    let padded = format!("{text:0>width$}", width = bytes * 2);
    let pair = |two: &[u8]| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok();
    Ok(padded.as_bytes().chunks(2).filter_map(pair).collect())
}

/// Microseconds as nanoseconds.
fn micros(o: Object<'_>, field: &str) -> Read<u64> {
    let micros = o.u64(field)?;
    let nanos = micros.checked_mul(1000);
    nanos.ok_or_else(|| bad(field, "microseconds before the year 2554", &Value::from(micros)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one(trace_json: &Value) -> (Resource, InstrumentationScope, Span) {
        let mut request = trace(trace_json).expect("a trace");
        let mut resource = request.resource_spans.remove(0);
        let mut scope = resource.scope_spans.remove(0);
        (resource.resource.expect("a resource"), scope.scope.expect("a scope"), scope.spans.remove(0))
    }

    #[test]
    fn every_part_of_a_trace_finds_its_place() {
        let (resource, scope, span) = one(&json!({
            "traceID": "abc", "processes": {"p1": {"serviceName": "shop", "tags": [{"key": "host.name", "type": "string", "value": "h"}]}},
            "spans": [{
                "traceID": "abc", "spanID": "1", "processID": "p1", "operationName": "GET /", "flags": 1,
                "startTime": 1_700_000_000_000_001_i64, "duration": 1500,
                "references": [
                    {"refType": "CHILD_OF", "traceID": "abc", "spanID": "2"},
                    {"refType": "FOLLOWS_FROM", "traceID": "def", "spanID": "3"},
                    {"refType": "CHILD_OF", "traceID": "def", "spanID": "4"},
                ],
                "tags": [
                    {"key": "span.kind", "type": "string", "value": "client"}, {"key": "error", "type": "bool", "value": true},
                    {"key": "otel.status_description", "type": "string", "value": "no"},
                    {"key": "n", "type": "int64", "value": "9007199254740993"}, {"key": "d", "type": "float64", "value": 1.5},
                    {"key": "b", "type": "binary", "value": "AQI="}, {"key": "otel.library.name", "value": "lib"},
                    {"key": "w3c.tracestate", "type": "string", "value": "a=b"},
                ],
                "logs": [{"timestamp": 1_700_000_000_000_002_i64, "fields": [{"key": "event", "type": "string", "value": "boom"}, {"key": "k", "type": "bool", "value": false}]}],
                "warnings": ["clock skew"],
            }],
        }));
        assert_eq!(
            resource.attributes,
            [pair("service.name", Any::StringValue("shop".into())), pair("host.name", Any::StringValue("h".into()))]
        );
        assert_eq!(scope.name, "lib");
        assert_eq!((span.trace_id[14..].to_vec(), span.trace_id.len()), (vec![0x0a, 0xbc], 16));
        assert_eq!(span.parent_span_id, [0, 0, 0, 0, 0, 0, 0, 2]);
        assert_eq!((span.kind, span.flags, span.trace_state.as_str()), (3, 1, "a=b"));
        assert_eq!(span.start_time_unix_nano, 1_700_000_000_000_001_000);
        assert_eq!(span.end_time_unix_nano - span.start_time_unix_nano, 1_500_000);
        assert_eq!(span.status, Some(Status { code: 2, message: "no".into() }));
        let keys: Vec<&str> = span.attributes.iter().map(|kv| kv.key.as_str()).collect();
        assert_eq!(keys, ["n", "d", "b", "jaeger.warnings"]);
        assert_eq!(span.attributes[0], pair("n", Any::IntValue(9_007_199_254_740_993)));
        assert_eq!(span.attributes[2], pair("b", Any::BytesValue(vec![1, 2])));
        assert_eq!((span.links.len(), span.links[0].attributes.len(), span.links[1].attributes.len()), (2, 0, 1));
        assert_eq!((span.events[0].name.as_str(), span.events[0].attributes.len()), ("boom", 1));
    }

    #[test]
    fn what_makes_no_sense_says_where() {
        let bad_id = json!({"spans": [{"traceID": "xyz", "spanID": "1"}]});
        let said = trace(&bad_id).expect_err("no id").to_string();
        assert_eq!(said, "field \"spans[0].traceID\" is \"xyz\"; expected an id of at most 32 hexadecimal digits");
        let bad_tag =
            json!({"spans": [{"traceID": "1", "spanID": "1", "tags": [{"key": "k", "type": "int64", "value": "x"}]}]});
        assert!(trace(&bad_tag).expect_err("no number").to_string().contains("spans[0].tags[0].value"));
        assert!(trace(&json!([])).is_err());
    }
}
