//! What a span says about the call it is part of: the callee, the operation, the attempt. Reads OpenTelemetry's present
//! names and the older ones that instrumentations still send.

use fuseboard_api::graph::NodeKind;
use fuseboard_api::span::SpanKind;
use fuseboard_policy::names;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;

use crate::store::rows::{CallFacts, Peer};

/// Names of a database's kind, newest first.
const DB_SYSTEM: [&str; 2] = ["db.system.name", "db.system"];
/// Names of a database.
const DB_NAME: [&str; 2] = ["db.namespace", "db.name"];
/// Names of a queue or topic.
const DESTINATION: [&str; 2] = ["messaging.destination.name", "messaging.destination"];
/// Names of the other side's host.
const HOST: [&str; 7] = [
    "server.address",
    "net.peer.name",
    "http.host",
    "network.peer.address",
    "net.peer.ip",
    "net.sock.peer.name",
    "net.sock.peer.addr",
];
/// Names of its port.
const PORT: [&str; 3] = ["server.port", "net.peer.port", "network.peer.port"];
/// Names of a request's method.
const METHOD: [&str; 2] = ["http.request.method", "http.method"];

/// Draws the facts from a span.
pub(super) fn of(kind: SpanKind, name: &str, attributes: &[KeyValue]) -> CallFacts {
    let a = Attrs(attributes);
    let outbound = matches!(kind, SpanKind::Client | SpanKind::Producer);
    let mut facts = CallFacts { operation: operation(&a, kind, name), ..CallFacts::default() };
    match kind {
        SpanKind::Internal | SpanKind::Unspecified => return facts,
        SpanKind::Consumer => facts.peer = queue(&a),
        SpanKind::Producer => {
            facts.peer = queue(&a).or_else(|| named(&a, NodeKind::Queue));
        }
        SpanKind::Client => {
            facts.peer = database(&a).or_else(|| queue(&a)).or_else(|| named(&a, NodeKind::Service));
        }
        SpanKind::Server => {}
    }
    facts.refused = a.text(names::REFUSED_BY).is_some();
    if outbound {
        facts.is_call = matches!(a.get(names::CALL), Some(Value::BoolValue(true)));
        facts.is_attempt = !facts.is_call && a.get(names::ATTEMPT).is_some();
        facts.cut = a.text(names::OUTCOME) == Some("timeout");
        facts.deadline_left = a.number(names::DEADLINE_LEFT_MS).map(|ms| (ms.max(0.0) * 1e6) as u64);
        facts.fallback = host(&a);
        if kind == SpanKind::Producer && facts.peer.is_none() {
            let name = if facts.fallback == UNKNOWN { name.to_owned() } else { facts.fallback.clone() };
            facts.peer = Some(Peer { name, kind: NodeKind::Queue, system: String::new() });
        }
    }
    facts
}

/// What a callee is called of which nothing is known.
const UNKNOWN: &str = "unknown";

fn named(a: &Attrs<'_>, kind: NodeKind) -> Option<Peer> {
    let name = a.first(&[names::PEER_SERVICE, names::PEER_SERVICE_OLD])?;
    Some(Peer { name: name.to_owned(), kind, system: String::new() })
}

fn database(a: &Attrs<'_>) -> Option<Peer> {
    let system = a.first(&DB_SYSTEM)?;
    let name = a
        .first(&[names::PEER_SERVICE, names::PEER_SERVICE_OLD])
        .or_else(|| a.first(&DB_NAME))
        .or_else(|| a.first(&HOST))
        .unwrap_or(system);
    Some(Peer { name: name.to_owned(), kind: NodeKind::Database, system: system.to_owned() })
}

fn queue(a: &Attrs<'_>) -> Option<Peer> {
    let system = a.text("messaging.system").unwrap_or_default();
    let destination = a.first(&DESTINATION);
    let name = destination.or((!system.is_empty()).then_some(system))?;
    Some(Peer { name: name.to_owned(), kind: NodeKind::Queue, system: system.to_owned() })
}

fn host(a: &Attrs<'_>) -> String {
    let Some(host) = a.first(&HOST) else {
        return a.first(&["url.full", "http.url"]).and_then(authority).unwrap_or(UNKNOWN).to_owned();
    };
    match PORT.iter().find_map(|k| a.number(k)) {
        // A port of its own tells neighbours on one host apart; the usual two tell nothing.
        Some(port) if !host.contains(':') && port != 80.0 && port != 443.0 => format!("{host}:{port}"),
        _ => host.to_owned(),
    }
}

/// `host:port` of a URL.
fn authority(url: &str) -> Option<&str> {
    let rest = url.split_once("://")?.1;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    (!host.is_empty()).then_some(host)
}

fn operation(a: &Attrs<'_>, kind: SpanKind, name: &str) -> String {
    if let Some(operation) = a.text(names::OPERATION) {
        return operation.to_owned();
    }
    if kind == SpanKind::Client && a.first(&DB_SYSTEM).is_some() {
        if let Some(summary) = a.text("db.query.summary") {
            return summary.to_owned();
        }
        if let Some(verb) = a.first(&["db.operation.name", "db.operation"]) {
            let on = a.first(&["db.collection.name", "db.sql.table"]).unwrap_or_default();
            return format!("{verb} {on}").trim_end().to_owned();
        }
    }
    if let Some(method) = a.first(&METHOD)
        && name.trim_start_matches("HTTP ") == method
        && let Some(route) = a.first(&["http.route", "url.template"])
    {
        // Some instrumentations name a span by its method alone.
        return format!("{method} {route}");
    }
    name.strip_prefix('/').filter(|rest| rest.contains('/') && a.is_rpc()).unwrap_or(name).to_owned()
}

/// A span's attributes as sent.
struct Attrs<'a>(&'a [KeyValue]);

impl<'a> Attrs<'a> {
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.0.iter().find(|kv| kv.key == key)?.value.as_ref()?.value.as_ref()
    }

    /// A text that is not empty.
    fn text(&self, key: &str) -> Option<&'a str> {
        match self.get(key)? {
            Value::StringValue(s) if !s.is_empty() => Some(s),
            _ => None,
        }
    }

    fn first(&self, keys: &[&str]) -> Option<&'a str> {
        keys.iter().find_map(|k| self.text(k))
    }

    /// A number, also when it came as text.
    fn number(&self, key: &str) -> Option<f64> {
        match self.get(key)? {
            Value::IntValue(i) => Some(*i as f64),
            Value::DoubleValue(d) => Some(*d),
            Value::StringValue(s) => s.parse().ok(),
            _ => None,
        }
        .filter(|n: &f64| n.is_finite())
    }

    fn is_rpc(&self) -> bool {
        self.first(&["rpc.system.name", "rpc.system"]).is_some()
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::AnyValue;

    use super::*;

    fn kv(key: &str, value: Value) -> KeyValue {
        KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
    }

    fn text(key: &str, value: &str) -> KeyValue {
        kv(key, Value::StringValue(value.into()))
    }

    #[test]
    fn a_database_is_named_by_its_own_name_before_its_host() {
        let attributes =
            [text("db.system", "postgresql"), text("db.name", "orders"), text("net.peer.name", "10.0.0.7")];
        let facts = of(SpanKind::Client, "SELECT", &attributes);
        let peer = Peer { name: "orders".into(), kind: NodeKind::Database, system: "postgresql".into() };
        assert_eq!(facts.peer, Some(peer));
        let facts = of(SpanKind::Client, "SELECT", &attributes[..1]);
        assert_eq!(facts.peer.map(|p| p.name).as_deref(), Some("postgresql"));
    }

    #[test]
    fn queues_come_from_either_side() {
        let attributes = [text("messaging.system", "rabbitmq"), text("messaging.destination.name", "mail")];
        for kind in [SpanKind::Producer, SpanKind::Consumer] {
            let peer = of(kind, "mail process", &attributes).peer.expect("a queue");
            assert_eq!((peer.name.as_str(), peer.kind), ("mail", NodeKind::Queue));
        }
    }

    #[test]
    fn an_agents_call_and_its_attempts_are_told_apart() {
        let call = of(
            SpanKind::Client,
            "pay",
            &[
                text("service.peer.name", "payments"),
                text("resilience.operation", "payments.v1.Payments/Charge"),
                kv("resilience.call", Value::BoolValue(true)),
                kv("resilience.deadline.left_ms", Value::DoubleValue(1.5)),
                text("resilience.refused_by", "breaker"),
            ],
        );
        assert!(call.is_call && call.refused && !call.is_attempt);
        assert_eq!(call.operation, "payments.v1.Payments/Charge");
        assert_eq!(call.deadline_left, Some(1_500_000));
        let attempt = of(
            SpanKind::Client,
            "pay",
            &[kv("resilience.attempt", Value::IntValue(2)), text("resilience.outcome", "timeout")],
        );
        assert!(attempt.is_attempt && attempt.cut && !attempt.is_call);
    }

    #[test]
    fn operations_are_named_alike_whoever_names_them() {
        let http = [text("http.method", "GET"), text("http.route", "/orders/{id}")];
        assert_eq!(of(SpanKind::Server, "GET", &http).operation, "GET /orders/{id}");
        assert_eq!(of(SpanKind::Server, "GET /orders/{id}", &http).operation, "GET /orders/{id}");
        let rpc = [text("rpc.system", "grpc")];
        assert_eq!(of(SpanKind::Server, "/pay.Pay/Charge", &rpc).operation, "pay.Pay/Charge");
        assert_eq!(of(SpanKind::Server, "/health", &[]).operation, "/health");
    }

    #[test]
    fn strangers_are_named_by_their_address() {
        let facts =
            of(SpanKind::Client, "GET", &[text("server.address", "api.bank.example"), text("server.port", "8443")]);
        assert_eq!((facts.peer, facts.fallback.as_str()), (None, "api.bank.example:8443"));
        let facts = of(SpanKind::Client, "GET", &[text("http.url", "https://u:p@bank.example/x?y")]);
        assert_eq!(facts.fallback, "bank.example");
        assert_eq!(of(SpanKind::Client, "GET", &[]).fallback, "unknown");
    }
}
