//! Calls as counters, named and labelled as the metrics generator of Grafana Tempo does (`traces_service_graph_*` and
//! `traces_spanmetrics_*`), so that its dashboards work: sums of the store's rollups since the start of the process.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use fuseboard_api::graph::{NodeKind, OUTSIDE};

use super::text::{Exposition, Kind};
use crate::query::rollups::Series;
use crate::store::sums::Sum;

/// A scrape tells of so many edges, and of so many operations, at most: names made from ids must not drown Prometheus.
const MOST: usize = 1000;

/// Client, server, kind of connection.
type EdgeLabels = (String, String, &'static str);
/// Service, span's name, span's kind.
type SpanLabels = (String, String, &'static str);

/// Everything there is to tell of calls.
pub(super) fn expose(out: &mut Exposition, sums: &HashMap<i64, Sum>, series: &HashMap<i64, Series>) {
    let (mut edges, mut spans) = (HashMap::new(), HashMap::new());
    for (id, sum) in sums {
        let Some(series) = series.get(id) else { continue };
        if !series.inbound {
            add(&mut edges, edge_labels(series), sum);
        }
        if let Some(labels) = span_labels(series) {
            add(&mut spans, labels, sum);
        }
    }
    let (edges, edges_left_out) = busiest(edges);
    let (spans, spans_left_out) = busiest(spans);
    let name = "fuseboard_series_left_out";
    out.family(name, Kind::Gauge, "Edges and operations beyond the busiest, which are not exposed.");
    out.sample(name, &[("of", "edges")], edges_left_out);
    out.sample(name, &[("of", "operations")], spans_left_out);
    service_graph(out, &edges);
    span_metrics(out, &spans);
}

fn add<K: Eq + Hash>(all: &mut HashMap<K, Sum>, labels: K, sum: &Sum) {
    let known = all.entry(labels).or_default();
    known.calls += sum.calls;
    known.errors += sum.errors;
    known.refused += sum.refused;
    known.latency.merge(&sum.latency);
}

/// Those with the most calls, by name, and how many others there are.
fn busiest<K: Ord + Hash>(all: HashMap<K, Sum>) -> (BTreeMap<K, Sum>, usize) {
    let left_out = all.len().saturating_sub(MOST);
    let mut all: Vec<(K, Sum)> = all.into_iter().collect();
    if left_out > 0 {
        all.sort_by(|(a, x), (b, y)| y.calls.cmp(&x.calls).then_with(|| a.cmp(b)));
        all.truncate(MOST);
    }
    (all.into_iter().collect(), left_out)
}

fn edge_labels(series: &Series) -> EdgeLabels {
    let kinds = [series.caller_kind, series.callee_kind];
    let connection = if series.asynchronous || kinds.contains(&NodeKind::Queue) {
        "messaging_system"
    } else if series.callee_kind == NodeKind::Database {
        "database"
    } else if kinds.contains(&NodeKind::External) {
        "virtual_node"
    } else {
        ""
    };
    (series.key.caller.clone(), series.key.callee.clone(), connection)
}

/// The span that a call was counted from: what answered it, or what made it where an edge tells of it.
fn span_labels(series: &Series) -> Option<SpanLabels> {
    let (service, kind) = match (series.inbound, series.asynchronous) {
        (true, false) => (&series.key.callee, "SPAN_KIND_SERVER"),
        (true, true) => (&series.key.callee, "SPAN_KIND_CONSUMER"),
        // Outside and in a queue nobody makes spans.
        (false, _) if series.key.caller == OUTSIDE || series.caller_kind != NodeKind::Service => return None,
        (false, false) => (&series.key.caller, "SPAN_KIND_CLIENT"),
        (false, true) => (&series.key.caller, "SPAN_KIND_PRODUCER"),
    };
    Some((service.clone(), series.key.operation.clone(), kind))
}

/// What is counted of an edge.
type Count = fn(&Sum) -> u64;

fn service_graph(out: &mut Exposition, edges: &BTreeMap<EdgeLabels, Sum>) {
    let counters: [(&str, &str, Count); 3] = [
        ("traces_service_graph_request_total", "Calls from a client to a server.", |s| s.calls),
        ("traces_service_graph_request_failed_total", "Calls that failed.", |s| s.errors),
        ("traces_service_graph_request_refused_total", "Calls that a rule on the client's side refused.", |s| {
            s.refused
        }),
    ];
    for (name, help, count) in counters {
        out.family(name, Kind::Counter, help);
        for ((client, server, connection), sum) in edges {
            out.sample(name, &[("client", client), ("server", server), ("connection_type", connection)], count(sum));
        }
    }
    for (name, help) in [
        ("traces_service_graph_request_client_seconds", "How long calls took, as their clients saw it."),
        (
            "traces_service_graph_request_server_seconds",
            "How long calls took; as their clients saw it, for an edge is counted where its client is.",
        ),
    ] {
        out.family(name, Kind::Histogram, help);
        for ((client, server, connection), sum) in edges {
            let labels = [("client", client.as_str()), ("server", server), ("connection_type", connection)];
            out.histogram(name, &labels, &sum.latency);
        }
    }
}

fn span_metrics(out: &mut Exposition, spans: &BTreeMap<SpanLabels, Sum>) {
    let name = "traces_spanmetrics_calls_total";
    out.family(
        name,
        Kind::Counter,
        "Spans that answered a call or made one; one that asserts success counts as unset.",
    );
    for ((service, span, kind), sum) in spans {
        let errors = sum.errors.min(sum.calls);
        for (status, count) in [("STATUS_CODE_UNSET", sum.calls - errors), ("STATUS_CODE_ERROR", errors)] {
            let labels =
                [("service", service.as_str()), ("span_name", span), ("span_kind", kind), ("status_code", status)];
            out.sample(name, &labels, count);
        }
    }
    let name = "traces_spanmetrics_latency";
    out.family(name, Kind::Histogram, "How long those spans took, in seconds, whatever their status.");
    for ((service, span, kind), sum) in spans {
        out.histogram(name, &[("service", service), ("span_name", span), ("span_kind", kind)], &sum.latency);
    }
}

#[cfg(test)]
mod tests {
    use fuseboard_api::graph::EdgeKey;

    use super::*;

    fn series(inbound: bool, key: (&str, &str, &str), callee_kind: NodeKind) -> Series {
        Series {
            inbound,
            key: EdgeKey::new(key.0, key.1, key.2),
            instance: String::new(),
            version: String::new(),
            caller_kind: if key.0 == OUTSIDE { NodeKind::External } else { NodeKind::Service },
            callee_kind,
            system: String::new(),
            asynchronous: callee_kind == NodeKind::Queue,
        }
    }

    fn sum(calls: u64, errors: u64) -> Sum {
        let mut sum = Sum { calls, errors, ..Sum::default() };
        (0..calls).for_each(|_| sum.latency.record(3_000_000));
        sum
    }

    #[test]
    fn calls_are_named_and_labelled_as_tempo_does() {
        let all = HashMap::from([
            (1, series(false, ("shop", "bank", "pay"), NodeKind::Service)),
            (2, series(false, ("shop", "bank", "refund"), NodeKind::Service)),
            (3, series(false, ("shop", "orders", "SELECT"), NodeKind::Database)),
            (4, series(false, ("shop", "mail", "send"), NodeKind::Queue)),
            (5, series(false, (OUTSIDE, "shop", "GET /"), NodeKind::Service)),
            (6, series(true, ("", "shop", "GET /"), NodeKind::Service)),
        ]);
        let sums = (1..=6).map(|id| (id, sum(2, u64::from(id == 1)))).collect();
        let mut out = Exposition::default();
        expose(&mut out, &sums, &all);
        let text = out.into_text();
        for line in [
            "traces_service_graph_request_total{client=\"shop\",server=\"bank\",connection_type=\"\"} 4\n",
            "traces_service_graph_request_failed_total{client=\"shop\",server=\"bank\",connection_type=\"\"} 1\n",
            "traces_service_graph_request_total{client=\"shop\",server=\"orders\",connection_type=\"database\"} 2\n",
            "traces_service_graph_request_total{client=\"shop\",server=\"mail\",connection_type=\"messaging_system\"} 2\n",
            "server=\"shop\",connection_type=\"virtual_node\",le=\"0.004\"} 2\n",
            "traces_spanmetrics_calls_total{service=\"shop\",span_name=\"GET /\",span_kind=\"SPAN_KIND_SERVER\",status_code=\"STATUS_CODE_UNSET\"} 2\n",
            "traces_spanmetrics_calls_total{service=\"shop\",span_name=\"pay\",span_kind=\"SPAN_KIND_CLIENT\",status_code=\"STATUS_CODE_ERROR\"} 1\n",
            "traces_spanmetrics_latency_count{service=\"shop\",span_name=\"send\",span_kind=\"SPAN_KIND_PRODUCER\"} 2\n",
            "fuseboard_series_left_out{of=\"edges\"} 0\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert_eq!(text.matches("span_name=\"GET /\",span_kind=\"SPAN_KIND_CLIENT\"").count(), 0, "nobody outside");
    }

    #[test]
    fn only_the_busiest_are_told() {
        let all: HashMap<usize, Sum> = (0..MOST + 7).map(|i| (i, sum(u64::from(i == MOST + 6), 0))).collect();
        let (told, left_out) = busiest(all);
        assert_eq!((told.len(), left_out, told.contains_key(&(MOST + 6))), (MOST, 7, true));
    }
}
