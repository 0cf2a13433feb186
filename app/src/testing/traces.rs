//! The shop's traces and logs.

use std::sync::Arc;

use fuseboard_api::attr::AttrValue;
use fuseboard_api::breaker::{BreakerBand, BreakerState};
use fuseboard_api::graph::EdgeKey;
use fuseboard_api::log::{LogList, LogQuery, LogRecord};
use fuseboard_api::span::{Origin, Span, SpanEvent, SpanKind, StatusCode};
use fuseboard_api::trace::{Trace, TraceList, TraceQuery, TraceRow};
use fuseboard_api::{SpanId, TimeRange, TraceId, UnixNanos};
use fuseboard_policy::names;

use super::{ago, dice};

/// When the one trace began.
fn start() -> UnixNanos {
    ago(139.1)
}

/// The trace that tests open.
pub const CHECKOUT: TraceId = TraceId([0x4f, 0x2a, 0x91, 0xc0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0x7b, 0xe3]);

/// A list of traces.
pub(super) fn list(query: &TraceQuery) -> TraceList {
    let operations = [
        ("gateway", "POST /checkout", 640.0),
        ("gateway", "GET /cart", 42.0),
        ("gateway", "GET /products", 18.0),
        ("notifications", "order.events process", 36.0),
    ];
    let rows = (0..180_u64)
        .map(|i| {
            let (service, operation, typical) = operations[(dice(i * 5) * 4.0) as usize % 4];
            let failed = operation == "POST /checkout" && dice(i * 7 + 1) < 0.34;
            let ms = if failed { 1600.0 + 420.0 * dice(i) } else { typical * (0.3 + 1.4 * dice(i + 99)) };
            let mut id = CHECKOUT;
            if i > 0 {
                id.0[15] = i as u8;
                id.0[14] = 7;
            }
            TraceRow {
                trace_id: id,
                service: service.to_owned(),
                operation: operation.to_owned(),
                start: if i == 0 { start() } else { ago(2.0 + i as f64 * 1.6) },
                duration_nanos: if i == 0 { 2_004_000_000 } else { (ms * 1e6) as u64 },
                spans: if operation == "POST /checkout" { 20 } else { 5 },
                errors: if failed || i == 0 { 6 } else { 0 },
                refused: u32::from(failed),
                failed: failed || i == 0,
                services: ["gateway", "inventory", "orders", "payments"].map(str::to_owned).to_vec(),
            }
        })
        .filter(|r| !query.errors_only || r.failed)
        .filter(|r| query.service.as_ref().is_none_or(|s| r.services.contains(s) || r.service == *s))
        .collect();
    TraceList { rows, more: true, ..TraceList::default() }
}

fn origin(service: &str) -> Arc<Origin> {
    Arc::new(Origin {
        service: service.to_owned(),
        instance: format!("{service}-1"),
        version: "2.14.0".to_owned(),
        resource: vec![("service.name".to_owned(), service.into()), ("host.name".to_owned(), "shop-a".into())],
        scope: "fuseboard-agent".to_owned(),
        scope_version: "0.1.0".to_owned(),
        ..Default::default()
    })
}

/// A span in short: number, parent, service, name, kind, start and end in milliseconds.
type Short = (u8, u8, &'static str, &'static str, SpanKind, f64, f64);

const SPANS: [Short; 19] = [
    (1, 0, "gateway", "POST /checkout", SpanKind::Server, 0.0, 2004.0),
    (2, 1, "gateway", "shop.Orders/Place", SpanKind::Client, 20.0, 1974.0),
    (3, 2, "orders", "shop.Orders/Place", SpanKind::Server, 40.0, 1964.0),
    (4, 3, "orders", "shop.Inventory/Reserve", SpanKind::Client, 60.0, 110.0),
    (5, 4, "inventory", "shop.Inventory/Reserve", SpanKind::Server, 68.0, 104.0),
    (6, 5, "inventory", "SELECT stock", SpanKind::Client, 75.0, 97.0),
    (7, 3, "orders", "shop.Payments/Charge", SpanKind::Internal, 120.0, 1813.0),
    (8, 7, "orders", "shop.Payments/Charge", SpanKind::Client, 120.0, 922.0),
    (9, 8, "payments", "shop.Payments/Charge", SpanKind::Server, 128.0, 1663.0),
    (10, 9, "payments", "POST /authorize", SpanKind::Client, 140.0, 1643.0),
    (11, 7, "orders", "shop.Payments/Charge", SpanKind::Client, 965.0, 1774.0),
    (12, 11, "payments", "shop.Payments/Charge", SpanKind::Server, 974.0, 1764.0),
    (13, 12, "payments", "POST /authorize", SpanKind::Client, 982.0, 1760.0),
    (14, 7, "orders", "shop.Payments/Charge", SpanKind::Client, 1812.0, 1812.02),
    (15, 3, "orders", "shop.Inventory/Release", SpanKind::Client, 1824.0, 1884.0),
    (16, 15, "inventory", "shop.Inventory/Release", SpanKind::Server, 1832.0, 1876.0),
    (17, 3, "orders", "order.events publish", SpanKind::Producer, 1894.0, 1914.0),
    (18, 17, "notifications", "order.events process", SpanKind::Consumer, 1930.0, 1968.0),
    (19, 18, "notifications", "send mail", SpanKind::Internal, 1936.0, 1960.0),
];

fn at(ms: f64) -> UnixNanos {
    UnixNanos(start().0 + (ms * 1e6) as i64)
}

fn id(n: u8) -> SpanId {
    SpanId([0x9c, 0x1e, 0x04, 0xd2, 0, 0, 0, n])
}

/// The whole trace.
pub(super) fn one(trace_id: TraceId) -> Trace {
    let key = EdgeKey::new("orders", "payments", "shop.Payments/Charge");
    let band = |from, to, state| BreakerBand {
        key: key.clone(),
        instance: "orders-1".to_owned(),
        range: TimeRange { from: at(from), to: at(to) },
        state,
    };
    Trace {
        trace_id,
        spans: SPANS.iter().map(|s| span(trace_id, s)).collect(),
        logs: logs(&LogQuery { trace_id: Some(trace_id), ..Default::default() }).rows,
        bands: vec![band(-60_000.0, 1790.0, BreakerState::Closed), band(1790.0, 60_000.0, BreakerState::Open)],
    }
}

fn span(trace_id: TraceId, s: &Short) -> Span {
    let (n, parent, service, name, kind, from, to) = *s;
    let mut span = Span {
        trace_id,
        span_id: id(n),
        parent: (parent > 0).then(|| id(parent)),
        name: name.to_owned(),
        kind,
        start: at(from),
        end: at(to),
        origin: origin(service),
        arrival: at(2400.0),
        ..Default::default()
    };
    let mut set = |key: &str, value: AttrValue| span.attributes.push((key.to_owned(), value));
    match n {
        1 => {
            set("http.request.method", "POST".into());
            set("url.path", "/checkout".into());
            set("http.response.status_code", 504.into());
        }
        7 => {
            set(names::CALL, AttrValue::Bool(true));
            set(names::OUTCOME, "refused".into());
        }
        8 | 11 | 14 => {
            let attempt = match n {
                8 => 1,
                11 => 2,
                _ => 3,
            };
            set("rpc.system.name", "grpc".into());
            set("rpc.method", "shop.Payments/Charge".into());
            set("server.address", "127.0.0.1".into());
            set("server.port", 41_873.into());
            set(names::PEER_SERVICE, "payments".into());
            set(names::ATTEMPT, attempt.into());
            set(names::ATTEMPT_TIMEOUT_MS, 800.into());
            set(names::DEADLINE_LEFT_MS, (2000 - from as i64).into());
            set(names::REVISION, 40.into());
            if n == 14 {
                set(names::REFUSED_BY, "breaker".into());
                set(names::OUTCOME, "refused".into());
                set(names::BREAKER_STATE, "open".into());
            } else {
                set("rpc.response.status_code", "DEADLINE_EXCEEDED".into());
                set("error.type", "timeout".into());
                set(names::OUTCOME, "timeout".into());
                set(names::BREAKER_STATE, "closed".into());
            }
            if n == 11 {
                set(names::BACKOFF_MS, 43.into());
            }
        }
        2 | 4 | 15 => {
            set("rpc.system.name", "grpc".into());
            set(names::PEER_SERVICE, if n == 2 { "orders" } else { "inventory" }.into());
            set(names::ATTEMPT, 1.into());
            set(names::DEADLINE_LEFT_MS, (2000 - from as i64).into());
            set(names::REVISION, 40.into());
            set(names::BREAKER_STATE, "closed".into());
        }
        6 => set("db.system.name", "postgresql".into()),
        10 | 13 => {
            set(names::PEER_SERVICE, "bank".into());
            set("server.address", "bank.example".into());
            set("http.request.method", "POST".into());
        }
        _ => {}
    }
    if matches!(n, 1 | 2 | 3 | 7 | 8 | 11 | 14) {
        span.status = StatusCode::Error;
        span.status_message = if n == 14 { "breaker open" } else { "deadline exceeded" }.to_owned();
    }
    if n == 9 {
        span.events.push(SpanEvent { time: at(922.0), name: "cancelled by caller".to_owned(), ..Default::default() });
    }
    span
}

/// Log records.
pub(super) fn logs(query: &LogQuery) -> LogList {
    let lines: [(f64, u8, &str, &str, u8); 6] = [
        (740.0, 13, "payments", "bank slow, 612 ms so far", 10),
        (928.0, 9, "payments", "cancel received", 9),
        (1645.0, 17, "payments", "authorize after cancel: charge may be doubled", 10),
        (1790.0, 13, "orders", "breaker of payments opened: 12 of 20 calls failed", 7),
        (1812.0, 17, "orders", "charge refused, order 7f3a released", 3),
        (1966.0, 9, "notifications", "mail queued for order 7f3a", 19),
    ];
    let own = lines.iter().map(|l| record(l, Some(CHECKOUT), 0.0));
    let more = (0..90_usize).map(|i| {
        let line = lines[(dice(i as u64 * 13) * 6.0) as usize % 6];
        record(&line, None, 2500.0 + i as f64 * 1400.0)
    });
    let mut rows: Vec<LogRecord> = match query.trace_id {
        Some(_) => own.collect(),
        None => own.chain(more).filter(|r| r.severity >= query.min_severity).collect(),
    };
    if query.trace_id.is_none() {
        rows.sort_by_key(|r| std::cmp::Reverse(r.time));
    }
    LogList { rows, ..LogList::default() }
}

fn record(line: &(f64, u8, &str, &str, u8), trace_id: Option<TraceId>, later: f64) -> LogRecord {
    let (ms, severity, service, body, span) = *line;
    let severity_text = match severity {
        17.. => "ERROR",
        13.. => "WARN",
        _ => "INFO",
    };
    LogRecord {
        time: at(ms + later),
        severity,
        severity_text: severity_text.to_owned(),
        observed: None,
        flags: 0,
        dropped_attributes: 0,
        event_name: String::new(),
        body: body.into(),
        attributes: vec![("code.file.path".to_owned(), "src/charge.rs".into())],
        trace_id,
        span_id: trace_id.map(|_| id(span)),
        origin: origin(service),
        arrival: at(ms + later + 300.0),
    }
}
