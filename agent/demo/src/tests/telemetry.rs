//! What the shop tells a collector.

use std::collections::{BTreeSet, HashMap};

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::sink::{Sink, text};
use super::{checkout, shop, until};

/// A trace as an indented list of `service kind name`, children in order of their start.
fn tree(spans: &[(String, Span)], parent: &[u8], depth: usize, out: &mut Vec<String>) {
    let mut children: Vec<_> = spans.iter().filter(|(_, span)| span.parent_span_id == parent).collect();
    children.sort_by_key(|(_, span)| span.start_time_unix_nano);
    for (service, span) in children {
        let kind = format!("{:?}", span.kind()).to_lowercase();
        out.push(format!("{}{service} {kind} {}", "  ".repeat(depth), span.name));
        tree(spans, &span.span_id, depth + 1, out);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkout_is_one_trace_through_eight_services_with_its_logs() {
    let sink = Sink::default();
    let address = sink.listen().await;
    let shop = shop(|config| config.otlp = address).await;
    let (status, body) = checkout(shop.gateways()[0], false).await;
    assert_eq!(status, 201, "{body}");
    until("the customer was told", || sink.logs.lock().unwrap().iter().any(|(_, text, _)| text.contains("told"))).await;
    let report = shop.shutdown().await;
    assert_eq!(report.dropped, 0);

    let spans = sink.spans.lock().unwrap().clone();
    let traces: BTreeSet<&[u8]> = spans.iter().map(|(_, span)| span.trace_id.as_slice()).collect();
    assert_eq!(traces.len(), 1);
    let mut lines = Vec::new();
    tree(&spans, &[], 0, &mut lines);
    let whole = lines.join("\n");
    assert_eq!(lines.len(), spans.len(), "every span hangs under the root:\n{whole}");
    assert_eq!(lines[0], "gateway server POST /checkout", "{whole}");
    let services: BTreeSet<&str> = spans.iter().map(|(service, _)| service.as_str()).collect();
    let eight = ["bank", "gateway", "inventory", "notifications", "orders", "payments", "pricing", "users"];
    assert_eq!(services, BTreeSet::from(eight), "{whole}");
    for line in ["bank server POST /authorize", "orders client INSERT orders", "orders producer publish order.events"] {
        assert!(whole.contains(line), "no `{line}` in\n{whole}");
    }

    let by_id: HashMap<&[u8], &Span> = spans.iter().map(|(_, span)| (span.span_id.as_slice(), span)).collect();
    let consumer = spans.iter().find(|(_, span)| span.kind() == SpanKind::Consumer).map(|(_, span)| span).unwrap();
    let producer = by_id[consumer.links[0].span_id.as_slice()];
    assert_eq!(producer.kind(), SpanKind::Producer);
    assert_eq!(text(&producer.attributes, "messaging.destination.name"), Some("order.events"));
    let query = spans.iter().find(|(_, span)| span.name == "INSERT orders").map(|(_, span)| span).unwrap();
    assert_eq!(text(&query.attributes, "db.system.name"), Some("postgresql"));
    assert_eq!(text(&query.attributes, "db.namespace"), Some("orders"));

    let logs = sink.logs.lock().unwrap().clone();
    for (service, words) in [("orders", "placed"), ("payments", "charged"), ("notifications", "told Ada Nwosu")] {
        let found = logs.iter().find(|(of, message, _)| of == service && message.contains(words));
        let (_, _, trace) = found.unwrap_or_else(|| panic!("no log of {service} with `{words}` in {logs:?}"));
        assert!(traces.contains(trace.as_slice()), "the log `{words}` knows its trace");
    }
}
