//! `/metrics` in Prometheus' text format, and `/healthz`.
//!
//! Edges carry the names of the service graph that Grafana knows from Tempo (`traces_service_graph_request_…`). They are
//! gauges over the last minute, not counters: the store's rollups may lose their oldest part, and a counter must not fall.

use std::fmt::Write as _;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use fuseboard_api::ask::{Answer, Ask, Question, Totals};
use fuseboard_api::graph::{Edge, NodeKind};

use super::Door;
use super::codec::{Codec, reply};
use super::plain::board;

/// The range that edges are counted over, in seconds.
const RANGE: u64 = 60;

/// The collector's counters and the edges of the last minute.
pub(super) async fn metrics(State(door): State<Door>) -> Response {
    let mut text = String::new();
    own(&door, &mut text).await;
    match board(&door, RANGE, door.desk.store().as_of_now()).await {
        Ok(board) => {
            let kind = |name: &str| board.nodes.iter().find(|n| n.name == name).map(|n| n.kind).unwrap_or_default();
            let (busiest, left_out) = busiest(board.edges);
            metric(
                &mut text,
                "fuseboard_edges_left_out",
                "gauge",
                "Edges beyond the busiest, which are not exposed.",
                left_out,
            );
            edges(&busiest, kind, &mut text);
        }
        Err(refusal) => tracing::warn!("edges are left out of the metrics: {refusal}"),
    }
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

fn metric(text: &mut String, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
    // Writing to a string cannot fail.
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
}

async fn own(door: &Door, text: &mut String) {
    let store = door.desk.store();
    let vitals = store.vitals();
    let up = u8::from(vitals.trouble().is_empty());
    metric(text, "fuseboard_up", "gauge", "1 when the collector is well, 0 when it is in trouble.", up);
    for (name, help, value) in [
        ("fuseboard_records_received_total", "Records stored since the start.", vitals.received()),
        ("fuseboard_records_rejected_total", "Records refused as malformed since the start.", vitals.rejected()),
        ("fuseboard_records_duplicate_total", "Records ignored as sent before.", vitals.duplicates()),
        ("fuseboard_requests_refused_total", "Requests that the store could not take.", vitals.refused_requests()),
    ] {
        metric(text, name, "counter", help, value);
    }
    let redactions = vitals.redactions();
    if !redactions.is_empty() {
        let name = "fuseboard_redacted_values_total";
        let _ = write!(
            text,
            "# HELP {name} Values that a rule dropped or changed since the start.\n# TYPE {name} counter\n"
        );
        for (rule, count) in redactions {
            let _ = writeln!(text, "{name}{{rule=\"{}\"}} {count}", label(&rule));
        }
    }
    metric(text, "fuseboard_store_bytes", "gauge", "Size of the database with its log.", store.bytes_on_disk());
    if let Some(control) = door.desk.control() {
        let agents = control.connected();
        metric(text, "fuseboard_agents_connected", "gauge", "Agents whose control stream is up.", agents);
        metric(text, "fuseboard_policy_revision", "gauge", "Revision in force.", control.revision());
        metric(text, "fuseboard_overrides", "gauge", "Overrides in force.", control.overrides());
    }
    if let Ok(answered) = door.desk.ask(Ask { question: Question::Totals, as_of: None }).await
        && let Answer::Totals(totals) = answered.answer
    {
        stored(&totals, text);
    }
}

fn stored(totals: &Totals, text: &mut String) {
    for (name, help, value) in [
        ("fuseboard_spans_stored", "Spans in the store.", totals.spans as f64),
        ("fuseboard_traces_stored", "Traces in the store.", totals.traces as f64),
        ("fuseboard_logs_stored", "Log records in the store.", totals.logs as f64),
        ("fuseboard_metric_points_stored", "Metric points in the store.", totals.metric_points as f64),
        ("fuseboard_spans_per_second", "Spans stored a second, over ten seconds.", totals.spans_per_second),
        ("fuseboard_lag_seconds", "Median time from a span's end to its being stored.", totals.lag_ms / 1000.0),
    ] {
        metric(text, name, "gauge", help, value);
    }
}

/// A scrape tells of so many edges at most: names made from ids must not drown Prometheus.
const MOST_EDGES: usize = 1000;

/// The edges with the most calls, by name, and how many others there are.
fn busiest(mut edges: Vec<Edge>) -> (Vec<Edge>, usize) {
    let left_out = edges.len().saturating_sub(MOST_EDGES);
    if left_out > 0 {
        edges.sort_by(|a, b| b.stats.calls.cmp(&a.stats.calls).then_with(|| a.key.cmp(&b.key)));
        edges.truncate(MOST_EDGES);
        edges.sort_by(|a, b| a.key.cmp(&b.key));
    }
    (edges, left_out)
}

/// What is told of an edge.
type Reading = fn(&Edge) -> Option<f64>;

/// One family of samples of edges: name, help, and per quantile (none for a plain one) what is told of an edge.
struct Family {
    name: &'static str,
    help: &'static str,
    readings: &'static [(&'static str, Reading)],
}

/// A latency quantile of an edge, in seconds.
fn seconds(edge: &Edge, q: f64) -> Option<f64> {
    edge.stats.quantile(q).map(|d| d.as_secs_f64())
}

const FAMILIES: [Family; 4] = [
    Family {
        name: "traces_service_graph_request_total",
        help: "Calls of the last minute.",
        readings: &[("", |e| Some(e.stats.calls as f64))],
    },
    Family {
        name: "traces_service_graph_request_failed_total",
        help: "Failed calls of the last minute.",
        readings: &[("", |e| Some(e.stats.errors as f64))],
    },
    Family {
        name: "traces_service_graph_request_refused_total",
        help: "Calls of the last minute that a local rule refused.",
        readings: &[("", |e| Some(e.stats.refused as f64))],
    },
    Family {
        name: "traces_service_graph_request_server_seconds",
        help: "Latency of the last minute's calls as their callers saw it.",
        readings: &[("0.5", |e| seconds(e, 0.5)), ("0.95", |e| seconds(e, 0.95)), ("0.99", |e| seconds(e, 0.99))],
    },
];

fn edges(edges: &[Edge], kind: impl Fn(&str) -> NodeKind, text: &mut String) {
    for Family { name, help, readings } in FAMILIES {
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n");
        for edge in edges {
            let connection = match (edge.asynchronous, kind(&edge.key.callee)) {
                (true, _) | (_, NodeKind::Queue) => "messaging_system",
                (_, NodeKind::Database) => "database",
                _ => "",
            };
            for (quantile, reading) in readings {
                let Some(value) = reading(edge) else { continue };
                let quantile = if quantile.is_empty() { String::new() } else { format!(",quantile=\"{quantile}\"") };
                let _ = writeln!(
                    text,
                    "{name}{{client=\"{}\",server=\"{}\",operation=\"{}\",connection_type=\"{connection}\"{quantile}}} {value}",
                    label(&edge.key.caller),
                    label(&edge.key.callee),
                    label(&edge.key.operation),
                );
            }
        }
    }
}

/// A label's value with what the format reserves escaped.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// `GET /healthz`: 200 when well, 503 with the trouble in words.
pub(super) async fn health(State(door): State<Door>) -> Response {
    let trouble = door.desk.store().vitals().trouble();
    let (status, word) = match trouble.as_str() {
        "" => (StatusCode::OK, "well"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "trouble"),
    };
    let mut body = serde_json::json!({ "status": word, "trouble": trouble });
    let redactions = door.desk.store().vitals().redactions();
    if !redactions.is_empty() {
        let rules = redactions.into_iter().map(|(rule, values)| serde_json::json!({ "rule": rule, "values": values }));
        body["redacted"] = rules.collect();
    }
    reply(Codec::Json, status, &body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fuseboard_api::graph::EdgeKey;

    #[test]
    fn only_the_busiest_edges_are_told() {
        let edge = |i: usize| {
            let mut edge = Edge { key: EdgeKey::new("a", "b", format!("{i:05}")), ..Edge::default() };
            edge.stats.calls = u64::from(i == MOST_EDGES + 6);
            edge
        };
        let (told, left_out) = busiest((0..MOST_EDGES + 7).map(edge).collect());
        assert_eq!((told.len(), left_out), (MOST_EDGES, 7));
        assert_eq!(told.last().map(|e| e.stats.calls), Some(1), "the busiest is there, and they stand by name");
    }

    #[test]
    fn edges_are_written_in_the_format_with_labels_escaped() {
        let mut edge = Edge { key: EdgeKey::new("a\"b", "c", "d\\e\n"), ..Edge::default() };
        edge.stats.calls = 3;
        edge.stats.latency.record(1_000_000);
        let mut text = String::new();
        edges(&[edge], |_| NodeKind::Database, &mut text);
        let labels = r#"{client="a\"b",server="c",operation="d\\e\n",connection_type="database"}"#;
        assert!(text.contains(&format!("traces_service_graph_request_total{labels} 3\n")), "{text}");
        assert!(text.contains(r#"connection_type="database",quantile="0.95"} 0.001"#), "{text}");
        assert_eq!(text.matches("# TYPE").count(), 4);
    }
}
