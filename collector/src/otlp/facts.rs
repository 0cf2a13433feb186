//! What a span says about the call it is part of: the callee, the operation, the attempt. Reads OpenTelemetry's present
//! names and the older ones that instrumentations still send.

use fuseboard_api::graph::NodeKind;

use super::keys::{COUNT, Key};
use super::made::Made;
use super::{FlatAttr, FlatSpan, Marks, Slice, Tag};

/// Names of a database's kind, newest first.
const DB_SYSTEM: [Key; 2] = [Key::DbSystemName, Key::DbSystem];
/// Names of a database.
const DB_NAME: [Key; 2] = [Key::DbNamespace, Key::DbName];
/// Names of a queue or topic.
const DESTINATION: [Key; 2] = [Key::MessagingDestinationName, Key::MessagingDestination];
/// Names of the other side's host.
const HOST: [Key; 7] = [
    Key::ServerAddress,
    Key::NetPeerName,
    Key::HttpHost,
    Key::NetworkPeerAddress,
    Key::NetPeerIp,
    Key::NetSockPeerName,
    Key::NetSockPeerAddr,
];
/// Names of its port.
const PORT: [Key; 3] = [Key::ServerPort, Key::NetPeerPort, Key::NetworkPeerPort];
/// Names of a request's method.
const METHOD: [Key; 2] = [Key::HttpRequestMethod, Key::HttpMethod];
/// Names of the service that is called.
const PEER: [Key; 2] = [Key::PeerService, Key::PeerServiceOld];

/// OTLP's numbers of span kinds.
const SERVER: u8 = 2;
const CLIENT: u8 = 3;
const PRODUCER: u8 = 4;
const CONSUMER: u8 = 5;

/// Where a span's telling attributes stand.
#[derive(Debug)]
pub(super) struct Found {
    seen: u64,
    at: [u32; COUNT],
}

impl Default for Found {
    fn default() -> Self {
        Self { seen: 0, at: [0; COUNT] }
    }
}

impl Found {
    /// Forgets the span before.
    pub(super) fn clear(&mut self) {
        self.seen = 0;
    }

    /// Notes an attribute by its key and position; of several with one key the first counts.
    #[inline]
    pub(super) fn note(&mut self, key: &[u8], position: usize) {
        let Some(key) = Key::of(key) else { return };
        let bit = 1 << key as u8;
        if self.seen & bit == 0 {
            self.seen |= bit;
            self.at[key as usize] = position as u32;
        }
    }
}

/// The other side of a call.
#[derive(Debug, Clone, Copy, Default)]
struct Peer {
    name: Slice,
    kind: NodeKind,
    system: Slice,
}

/// A span's attributes as sent, with the telling ones found.
pub(super) struct Told<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) attrs: &'a [FlatAttr],
    pub(super) found: &'a Found,
}

impl Told<'_> {
    /// Draws the facts from a span and notes them there; its kind and name are read, and the name not yet cut.
    pub(super) fn facts(&self, span: &mut FlatSpan, made: &mut Made<'_>) {
        let (kind, name) = (span.kind, span.name);
        span.operation = self.operation(kind, name, made);
        let mut peer = match kind {
            SERVER => None,
            CONSUMER => self.queue(),
            PRODUCER => self.queue().or_else(|| self.named(NodeKind::Queue)),
            CLIENT => self.database().or_else(|| self.queue()).or_else(|| self.named(NodeKind::Service)),
            _ => return,
        };
        let mut marks = 0;
        if self.text(Key::RefusedBy).is_some() {
            marks |= Marks::REFUSED;
        }
        if matches!(kind, CLIENT | PRODUCER) {
            if self.get(Key::Call).is_some_and(|a| a.tag == Tag::Bool && a.value == 1) {
                marks |= Marks::CALL;
            } else if self.get(Key::Attempt).is_some() {
                marks |= Marks::ATTEMPT;
            }
            if self.text(Key::Outcome).is_some_and(|outcome| outcome.of(self.bytes) == b"timeout") {
                marks |= Marks::CUT;
            }
            if let Some(ms) = self.number(Key::DeadlineLeft) {
                span.deadline_left = ((ms.max(0.0) * 1e6) as u64).min(u64::MAX - 1);
            }
            let host = self.host(made);
            span.fallback = host.unwrap_or_else(|| made.unknown());
            if kind == PRODUCER && peer.is_none() {
                let host = host.filter(|h| h.of(self.bytes) != b"unknown");
                peer = Some(Peer { name: host.unwrap_or(name), kind: NodeKind::Queue, system: Slice::EMPTY });
            }
        }
        span.marks = Marks(marks);
        if let Some(Peer { name, kind, system }) = peer {
            (span.peer, span.peer_kind, span.peer_system) = (made.short(name), kind, made.short(system));
        }
    }

    fn named(&self, kind: NodeKind) -> Option<Peer> {
        Some(Peer { name: self.first(&PEER)?, kind, system: Slice::EMPTY })
    }

    fn database(&self) -> Option<Peer> {
        let system = self.first(&DB_SYSTEM)?;
        let name = self.first(&PEER).or_else(|| self.first(&DB_NAME)).or_else(|| self.first(&HOST)).unwrap_or(system);
        Some(Peer { name, kind: NodeKind::Database, system })
    }

    fn queue(&self) -> Option<Peer> {
        let system = self.text(Key::MessagingSystem);
        let name = self.first(&DESTINATION).or(system)?;
        Some(Peer { name, kind: NodeKind::Queue, system: system.unwrap_or_default() })
    }

    /// The other side's address, where there is one.
    fn host(&self, made: &mut Made<'_>) -> Option<Slice> {
        let Some(host) = self.first(&HOST) else {
            let url = self.first(&[Key::UrlFull, Key::HttpUrl])?;
            return authority(self.str(url)).map(|(from, len)| made.short(url.part(from, len)));
        };
        Some(match PORT.iter().find_map(|k| self.number(*k)) {
            // A port of its own tells neighbours on one host apart; the usual two tell nothing.
            Some(port) if !host.of(self.bytes).contains(&b':') && port != 80.0 && port != 443.0 => {
                let mut digits = [0; 5];
                match decimal(port, &mut digits) {
                    Some(port) => made.join([self.str(host), ":", port]),
                    None => made.join([self.str(host), ":", &port.to_string()]),
                }
            }
            _ => made.short(host),
        })
    }

    fn operation(&self, kind: u8, name: Slice, made: &mut Made<'_>) -> Slice {
        if self.found.seen == 0 {
            return made.short(name);
        }
        if let Some(operation) = self.text(Key::Operation) {
            return made.short(operation);
        }
        if kind == CLIENT && self.first(&DB_SYSTEM).is_some() {
            if let Some(summary) = self.text(Key::DbQuerySummary) {
                return made.short(summary);
            }
            if let Some(verb) = self.first(&[Key::DbOperationName, Key::DbOperation]) {
                let on = self.first(&[Key::DbCollectionName, Key::DbSqlTable]).unwrap_or_default();
                return match (self.str(verb), self.str(on).trim_end()) {
                    (text, "") => made.short(verb.part(0, text.trim_end().len())),
                    (text, on) => made.join([text, " ", on]),
                };
            }
        }
        let text = name.of(self.bytes);
        if let Some(method) = self.first(&METHOD)
            && without_http(text) == method.of(self.bytes)
            && let Some(route) = self.first(&[Key::HttpRoute, Key::UrlTemplate])
        {
            // Some instrumentations name a span by its method alone.
            return made.join([self.str(method), " ", self.str(route)]);
        }
        let rpc = matches!(text, [b'/', rest @ ..] if rest.contains(&b'/'))
            && self.first(&[Key::RpcSystemName, Key::RpcSystem]).is_some();
        made.short(if rpc { name.part(1, name.len() - 1) } else { name })
    }

    /// The value of a key's first attribute, if it has any.
    #[inline]
    fn get(&self, key: Key) -> Option<&FlatAttr> {
        if self.found.seen >> key as u8 & 1 == 0 {
            return None;
        }
        self.attrs.get(self.found.at[key as usize] as usize).filter(|a| a.tag != Tag::Empty)
    }

    /// A text that is not empty.
    #[inline]
    fn text(&self, key: Key) -> Option<Slice> {
        self.get(key).filter(|a| a.tag == Tag::Str).map(FlatAttr::slice).filter(|s| !s.is_empty())
    }

    #[inline]
    fn first(&self, keys: &[Key]) -> Option<Slice> {
        keys.iter().find_map(|k| self.text(*k))
    }

    /// A number, also when it came as text.
    fn number(&self, key: Key) -> Option<f64> {
        let attr = self.get(key)?;
        match attr.tag {
            Tag::Int => Some(attr.value as i64 as f64),
            Tag::Double => Some(f64::from_bits(attr.value)),
            Tag::Str => self.str(attr.slice()).parse().ok(),
            _ => None,
        }
        .filter(|n: &f64| n.is_finite())
    }

    fn str(&self, slice: Slice) -> &str {
        std::str::from_utf8(slice.of(self.bytes)).unwrap_or_default()
    }
}

/// A name without the `HTTP ` that some instrumentations begin it with.
fn without_http(mut name: &[u8]) -> &[u8] {
    while let Some(rest) = name.strip_prefix(b"HTTP ") {
        name = rest;
    }
    name
}

/// A port in decimal digits; `None` where the number is no port.
fn decimal(port: f64, digits: &mut [u8; 5]) -> Option<&str> {
    let mut left = port as u16;
    if f64::from(left) != port || left == 0 {
        return None;
    }
    let mut from = digits.len();
    while left > 0 {
        from -= 1;
        digits[from] = b'0' + (left % 10) as u8;
        left /= 10;
    }
    std::str::from_utf8(&digits[from..]).ok()
}

/// Where `host:port` stands in a URL, and its length.
fn authority(url: &str) -> Option<(usize, usize)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    let from = scheme.len() + "://".len() + authority.len() - host.len();
    (!host.is_empty()).then_some((from, host.len()))
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
    use opentelemetry_proto::tonic::trace::v1::Span;
    use prost::Message as _;

    use super::*;
    use crate::otlp::{SpanTape, read};

    fn kv(key: &str, value: Value) -> KeyValue {
        KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
    }

    fn text(key: &str, value: &str) -> KeyValue {
        kv(key, Value::StringValue(value.into()))
    }

    /// What is drawn, with the texts themselves.
    #[derive(Debug)]
    struct Drawn {
        operation: String,
        peer: String,
        peer_kind: NodeKind,
        fallback: String,
        marks: u8,
        deadline_left: u64,
    }

    fn of(kind: u8, name: &str, attributes: &[KeyValue]) -> Drawn {
        let span = Span {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            start_time_unix_nano: 1,
            end_time_unix_nano: 2,
            kind: i32::from(kind),
            name: name.into(),
            attributes: attributes.to_vec(),
            ..Span::default()
        };
        let bytes = span.encode_to_vec();
        let whole = Slice::of_bytes(0, bytes.len());
        let mut tape = SpanTape { bytes: bytes.into(), ..SpanTape::default() };
        read::span(&mut tape, whole, 0).expect("a span");
        let flat = tape.spans[0];
        Drawn {
            operation: tape.text(flat.operation).to_owned(),
            peer: tape.text(flat.peer).to_owned(),
            peer_kind: flat.peer_kind,
            fallback: tape.text(flat.fallback).to_owned(),
            marks: flat.marks.0,
            deadline_left: flat.deadline_left,
        }
    }

    #[test]
    fn a_database_is_named_by_its_own_name_before_its_host() {
        let attributes =
            [text("db.system", "postgresql"), text("db.name", "orders"), text("net.peer.name", "10.0.0.7")];
        let facts = of(CLIENT, "SELECT", &attributes);
        assert_eq!((facts.peer.as_str(), facts.peer_kind), ("orders", NodeKind::Database));
        assert_eq!(of(CLIENT, "SELECT", &attributes[..1]).peer, "postgresql");
        let named = [&attributes[..], &[text("peer.service", "orders-db")]].concat();
        assert_eq!(of(CLIENT, "SELECT", &named).peer, "orders-db");
    }

    #[test]
    fn queues_come_from_either_side() {
        let attributes = [text("messaging.system", "rabbitmq"), text("messaging.destination.name", "mail")];
        for kind in [PRODUCER, CONSUMER] {
            let facts = of(kind, "mail process", &attributes);
            assert_eq!((facts.peer.as_str(), facts.peer_kind), ("mail", NodeKind::Queue));
        }
        assert_eq!(of(PRODUCER, "mail send", &[]).peer, "mail send");
        assert_eq!(of(PRODUCER, "send", &[text("server.address", "mq-1")]).peer, "mq-1");
    }

    #[test]
    fn an_agents_call_and_its_attempts_are_told_apart() {
        let call = of(
            CLIENT,
            "pay",
            &[
                text("service.peer.name", "payments"),
                text("resilience.operation", "payments.v1.Payments/Charge"),
                kv("resilience.call", Value::BoolValue(true)),
                kv("resilience.deadline.left_ms", Value::DoubleValue(1.5)),
                text("resilience.refused_by", "breaker"),
            ],
        );
        assert_eq!(call.marks, Marks::CALL | Marks::REFUSED);
        assert_eq!((call.peer.as_str(), call.operation.as_str()), ("payments", "payments.v1.Payments/Charge"));
        assert_eq!(call.deadline_left, 1_500_000);
        let attempt =
            of(CLIENT, "pay", &[kv("resilience.attempt", Value::IntValue(2)), text("resilience.outcome", "timeout")]);
        assert_eq!(attempt.marks, Marks::ATTEMPT | Marks::CUT);
        assert_eq!(attempt.deadline_left, u64::MAX);
    }

    #[test]
    fn operations_are_named_alike_whoever_names_them() {
        let http = [text("http.method", "GET"), text("http.route", "/orders/{id}")];
        for name in ["GET", "HTTP GET", "GET /orders/{id}"] {
            assert_eq!(of(SERVER, name, &http).operation, "GET /orders/{id}");
        }
        let rpc = [text("rpc.system", "grpc")];
        assert_eq!(of(SERVER, "/pay.Pay/Charge", &rpc).operation, "pay.Pay/Charge");
        assert_eq!(of(SERVER, "/health", &[]).operation, "/health");
        let query = [text("db.system", "mysql"), text("db.operation", "SELECT "), text("db.sql.table", "carts")];
        assert_eq!(of(CLIENT, "query", &query).operation, "SELECT  carts");
        assert_eq!(of(CLIENT, "query", &query[..2]).operation, "SELECT");
    }

    #[test]
    fn strangers_are_named_by_their_address() {
        let facts = of(CLIENT, "GET", &[text("server.address", "api.bank.example"), text("server.port", "8443")]);
        assert_eq!((facts.peer.as_str(), facts.fallback.as_str()), ("", "api.bank.example:8443"));
        for (port, name) in [(80, "bank"), (443, "bank"), (7, "bank:7"), (65_535, "bank:65535"), (-1, "bank:-1")] {
            let attributes = [text("net.peer.name", "bank"), kv("net.peer.port", Value::IntValue(port))];
            assert_eq!(of(CLIENT, "GET", &attributes).fallback, name);
        }
        let facts = of(CLIENT, "GET", &[text("http.url", "https://u:p@bank.example/x?y")]);
        assert_eq!(facts.fallback, "bank.example");
        assert_eq!(of(CLIENT, "GET", &[]).fallback, "unknown");
    }

    #[test]
    fn of_several_attributes_with_one_key_the_first_counts() {
        let twice = [kv("peer.service", Value::IntValue(1)), text("peer.service", "late")];
        assert_eq!(of(CLIENT, "GET", &twice).peer, "");
    }
}
