//! One span of Zipkin into one of OTLP.

use std::collections::{BTreeMap, HashMap, HashSet};

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use super::sent::{Annotation, Endpoint, Sent};
use super::{Source, attribute, text};

/// Set on a span that came without a time of its own; the name is OpenTelemetry's.
const START_ABSENT: &str = "otel.zipkin.absentField.startTime";
/// Set on the server's half of a shared span: the id that it came with.
const SHARED_ID: &str = "zipkin.shared_span_id";
/// Links that OpenTelemetry's exporters write into tags.
const LINK: &str = "otlp.link.";
/// Tags that describe the sender, not the span, begin so.
const OF_RESOURCE: [&str; 10] =
    ["service.", "telemetry.", "host.", "os.", "process.", "container.", "k8s.", "deployment.", "cloud.", "device."];

/// What the spans of one list say of each other.
pub(super) struct Family {
    /// (trace, span id, service) of every server's half of a shared span.
    shared: HashSet<(String, String, String)>,
    /// The earliest time of each trace, in microseconds.
    begun: HashMap<String, u64>,
}

impl Family {
    /// Reads it off a list.
    pub(super) fn of(spans: &[Sent]) -> Self {
        let mut family = Self { shared: HashSet::new(), begun: HashMap::new() };
        for span in spans {
            if is_shared(span) {
                family.shared.insert((span.trace_id.clone(), span.id.clone(), service(span)));
            }
            if let Some(time) = span.timestamp.filter(|t| *t > 0) {
                let earliest = family.begun.entry(span.trace_id.clone()).or_insert(time);
                *earliest = (*earliest).min(time);
            }
        }
        family
    }

    /// Whether a span's parent is the server's half of a shared span of the same service.
    fn below_shared(&self, span: &Sent, parent: &str) -> bool {
        !self.shared.is_empty() && self.shared.contains(&(span.trace_id.clone(), parent.to_owned(), service(span)))
    }
}

/// The side that answers says so, by its kind as well.
fn is_shared(span: &Sent) -> bool {
    span.shared == Some(true) && !matches!(span.kind.as_deref(), Some("CLIENT" | "PRODUCER"))
}

fn service(span: &Sent) -> String {
    span.local_endpoint.as_ref().and_then(Endpoint::service).unwrap_or_default().to_owned()
}

/// The span, and who sent it.
pub(super) fn translate(mut sent: Sent, family: &Family) -> (Source, Span) {
    let source = source(&mut sent);
    let trace_id = id::<16>(&sent.trace_id);
    let mut span_id = id::<8>(&sent.id);
    let mut parent = sent.parent_id.as_deref().filter(|p| *p != sent.id).map(id::<8>).unwrap_or_default();
    if sent.parent_id.as_deref().is_some_and(|p| family.below_shared(&sent, p)) {
        parent = server_half(&parent);
    }
    let mut attributes = Vec::new();
    if is_shared(&sent) && !span_id.is_empty() {
        // The caller's half is the parent now; what the span named as its parent is the caller's.
        attributes.push(text(SHARED_ID, sent.id.clone()));
        parent = std::mem::take(&mut span_id);
        span_id = server_half(&parent);
    }
    let annotations = sent.annotations.take().unwrap_or_default();
    let (start, end, absent) = times(&sent, &annotations, family);
    if absent {
        attributes.push(attribute(START_ABSENT, Value::BoolValue(true)));
    }
    let status = status(&mut sent.tags);
    let links = links(&mut sent.tags);
    let kind = kind(sent.kind.as_deref(), &mut sent.tags);
    let trace_state = sent.tags.remove("w3c.tracestate").unwrap_or_default();
    if let Some(local) = &sent.local_endpoint {
        endpoint(local, "network.local", &mut attributes);
    }
    if let Some(remote) = &sent.remote_endpoint {
        if let Some(service) = remote.service() {
            attributes.push(text("peer.service", service));
        }
        endpoint(remote, "network.peer", &mut attributes);
    }
    let named: HashSet<String> = attributes.iter().map(|kv| kv.key.clone()).collect();
    let tags = sent.tags.into_iter().filter(|(key, _)| !named.contains(key));
    attributes.extend(tags.map(|(key, value)| text(key, value)));
    let span = Span {
        trace_id,
        span_id,
        parent_span_id: parent,
        trace_state,
        name: sent.name.unwrap_or_default(),
        kind,
        start_time_unix_nano: start,
        end_time_unix_nano: end,
        attributes,
        events: annotations.into_iter().map(event).collect(),
        links,
        status,
        // Debug means sampled, whatever was said elsewhere.
        flags: u32::from(sent.debug == Some(true)),
        ..Span::default()
    };
    (source, span)
}

/// Takes what describes the sender out of a span.
fn source(sent: &mut Sent) -> Source {
    let mut resource = BTreeMap::new();
    // `service.peer.name` is about the other side.
    let of_resource = |key: &str| OF_RESOURCE.iter().any(|p| key.starts_with(p)) && !key.starts_with("service.peer.");
    sent.tags.retain(|key, value| {
        let taken = of_resource(key);
        if taken {
            resource.insert(key.clone(), std::mem::take(value));
        }
        !taken
    });
    if let Some(service) = sent.local_endpoint.as_ref().and_then(Endpoint::service) {
        resource.insert("service.name".to_owned(), service.to_owned());
    }
    // The older names are removed as well, but the newer ones win.
    let mut take = |new: &str, old: &str| {
        let (new, old) = (sent.tags.remove(new), sent.tags.remove(old));
        new.or(old).unwrap_or_default()
    };
    let scope = (take("otel.scope.name", "otel.library.name"), take("otel.scope.version", "otel.library.version"));
    Source { resource, scope }
}

/// An id of N bytes from at most 2 N hexadecimal digits, filled up with zeros in front; empty for anything else.
fn id<const N: usize>(digits: &str) -> Vec<u8> {
    let mut out = [0u8; N];
    if digits.is_empty() || digits.len() > 2 * N {
        return Vec::new();
    }
    for (place, digit) in digits.bytes().rev().enumerate() {
        let Some(value) = char::from(digit).to_digit(16) else { return Vec::new() };
        if let Some(byte) = out.get_mut(N - 1 - place / 2) {
            *byte |= (value as u8) << (4 * (place % 2));
        }
    }
    out.to_vec()
}

/// The id of a shared span's server half: always the same for the same id, so that a repetition is known as one.
fn server_half(id: &[u8]) -> Vec<u8> {
    if id.is_empty() {
        return Vec::new();
    }
    let mut hasher = blake3::Hasher::new_derive_key("fuseboard zipkin 2026 server half of a shared span");
    hasher.update(id);
    let mut half = [0; 8];
    hasher.finalize_xof().fill(&mut half);
    half.to_vec()
}

/// Start and end in nanoseconds, and whether the start had to be guessed: from the first annotation, else from the trace's
/// earliest span in the list.
fn times(sent: &Sent, annotations: &[Annotation], family: &Family) -> (u64, u64, bool) {
    let noted = annotations.iter().filter_map(|a| a.timestamp).filter(|t| *t > 0);
    let said = sent.timestamp.filter(|t| *t > 0);
    let start = said.or_else(|| noted.clone().min()).or_else(|| family.begun.get(&sent.trace_id).copied());
    let start = start.unwrap_or_default();
    let end = match sent.duration {
        Some(duration) => start.saturating_add(duration),
        // A span that was never finished lasted at least until the last thing that is known of it.
        None => noted.max().unwrap_or(start).max(start),
    };
    (start.saturating_mul(1000), end.saturating_mul(1000), said.is_none() && start > 0)
}

fn kind(kind: Option<&str>, tags: &mut BTreeMap<String, String>) -> i32 {
    match kind {
        Some("SERVER") => 2,
        Some("CLIENT") => 3,
        Some("PRODUCER") => 4,
        Some("CONSUMER") => 5,
        _ if tags.get("span.kind").is_some_and(|k| k.eq_ignore_ascii_case("internal")) => {
            tags.remove("span.kind");
            1
        }
        _ => 0,
    }
}

/// The status that OpenTelemetry's exporters write into tags, and Zipkin's own tag for failures, whose value says why.
fn status(tags: &mut BTreeMap<String, String>) -> Option<Status> {
    let code = tags.remove("otel.status_code");
    let message = code.as_ref().and_then(|_| tags.remove("otel.status_description"));
    let error = tags.get("error").filter(|e| *e != "false").cloned();
    if let Some(why) = error {
        tags.remove("error");
        let why = if why == "true" { String::new() } else { why };
        return Some(Status { code: 2, message: message.filter(|m| !m.is_empty()).unwrap_or(why) });
    }
    let code = match code.as_deref()? {
        "ERROR" | "STATUS_CODE_ERROR" => 2,
        "OK" | "STATUS_CODE_OK" => 1,
        _ => return None,
    };
    Some(Status { code, message: message.unwrap_or_default() })
}

fn endpoint(at: &Endpoint, prefix: &str, attributes: &mut Vec<KeyValue>) {
    if let Some(address) = at.address() {
        attributes.push(text(format!("{prefix}.address"), address));
    }
    if let Some(port) = at.port.filter(|p| *p > 0) {
        attributes.push(attribute(format!("{prefix}.port"), Value::IntValue(i64::from(port))));
    }
}

/// An event; what OpenTelemetry's exporters packed into its name is unpacked.
fn event(annotation: Annotation) -> Event {
    let time_unix_nano = annotation.timestamp.unwrap_or_default().saturating_mul(1000);
    let (name, attributes, dropped_attributes_count) =
        piped(&annotation.value).or_else(|| named(&annotation.value)).unwrap_or((annotation.value, Vec::new(), 0));
    Event { time_unix_nano, name, attributes, dropped_attributes_count }
}

/// Name, attributes and the count of those left out.
type Unpacked = (String, Vec<KeyValue>, u32);

/// `name|{attributes}|dropped`, as OpenTelemetry's collector writes events.
fn piped(value: &str) -> Option<Unpacked> {
    let (name, rest) = value.split_once('|')?;
    let (map, dropped) = rest.rsplit_once('|')?;
    Some((name.to_owned(), packed(map)?, dropped.parse().ok()?))
}

/// `{"name": {attributes}}`, as its SDKs do, and `"name": {attributes}`, as its specification says.
fn named(value: &str) -> Option<Unpacked> {
    let whole = match value.as_bytes().first()? {
        b'{' => value.to_owned(),
        b'"' => format!("{{{value}}}"),
        _ => return None,
    };
    let map: BTreeMap<String, serde_json::Map<String, serde_json::Value>> = serde_json::from_str(&whole).ok()?;
    let mut entries = map.into_iter();
    match (entries.next(), entries.next()) {
        (Some((name, attributes)), None) => Some((name, plain(attributes), 0)),
        _ => None,
    }
}

/// Links out of tags `otlp.link.N`, each `trace|span|state|{attributes}|dropped`.
fn links(tags: &mut BTreeMap<String, String>) -> Vec<Link> {
    let mut links = Vec::new();
    for i in 0..128 {
        let key = format!("{LINK}{i}");
        let Some(link) = tags.get(&key).map(|value| link(value)) else { break };
        // What is no link stays a tag.
        if let Some(link) = link {
            tags.remove(&key);
            links.push(link);
        }
    }
    links
}

fn link(value: &str) -> Option<Link> {
    let mut parts = value.splitn(4, '|');
    let trace_id = id::<16>(parts.next()?);
    let span_id = id::<8>(parts.next()?);
    let trace_state = parts.next()?.to_owned();
    let (map, dropped) = parts.next()?.rsplit_once('|')?;
    let dropped_attributes_count = dropped.parse().ok()?;
    Some(Link { trace_id, span_id, trace_state, attributes: packed(map)?, dropped_attributes_count, flags: 0 })
}

/// A JSON object as attributes.
fn packed(map: &str) -> Option<Vec<KeyValue>> {
    serde_json::from_str(map).ok().map(plain)
}

/// Values that are no scalars stay JSON.
fn plain(map: serde_json::Map<String, serde_json::Value>) -> Vec<KeyValue> {
    let value = |value: serde_json::Value| match value {
        serde_json::Value::Bool(b) => Value::BoolValue(b),
        serde_json::Value::String(s) => Value::StringValue(s),
        serde_json::Value::Number(n) => match n.as_i64() {
            Some(whole) => Value::IntValue(whole),
            None => Value::DoubleValue(n.as_f64().unwrap_or_default()),
        },
        other => Value::StringValue(other.to_string()),
    };
    map.into_iter().map(|(key, v)| attribute(key, value(v))).collect()
}
