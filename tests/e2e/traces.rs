//! From a service's call to an answer.

use std::collections::BTreeSet;

use anyhow::Result;
use fuseboard_api::TraceId;
use fuseboard_api::ask::{Answer, Question};
use fuseboard_api::graph::NodeKind;
use fuseboard_api::trace::TraceQuery;
use fuseboard_demo::Weather;
use fuseboard_policy::names;
use fuseboard_tests::stage::{Stage, last, shop_policy};

#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_is_one_trace_and_every_edge_is_on_the_board() -> Result<()> {
    let stage = Stage::set(shop_policy()).await?;
    let shop = stage.shop(Weather::Calm, 10.0).await?;

    let query = TraceQuery { range: last(60), operation: Some("POST /checkout".to_owned()), ..TraceQuery::default() };
    let whole = |answer: &Answer| -> Option<TraceId> {
        let Answer::Traces(list) = answer else { return None };
        list.rows.iter().find(|r| r.services.len() >= 7 && !r.failed).map(|r| r.trace_id)
    };
    let id = stage.until("a checkout through seven services", Question::Traces(query), whole).await?;
    // Its spans come from several instances, children mostly first.
    let complete = |answer: &Answer| {
        let Answer::Trace(Some(trace)) = answer else { return None };
        let ids: BTreeSet<_> = trace.spans.iter().map(|s| s.span_id).collect();
        trace.spans.iter().all(|s| s.parent.is_none_or(|p| ids.contains(&p))).then(|| trace.clone())
    };
    let trace = stage.until("all spans of the trace", Question::Trace(id), complete).await?;
    let ids: BTreeSet<_> = trace.spans.iter().map(|s| s.span_id).collect();
    assert_eq!(ids.len(), trace.spans.len(), "every span once");
    let calls: Vec<_> = trace.spans.iter().filter(|s| s.attr(names::CALL).is_some()).collect();
    assert!(calls.len() >= 4, "calls: {calls:?}");
    for call in calls {
        let attempts =
            trace.spans.iter().filter(|s| s.parent == Some(call.span_id) && s.attr(names::ATTEMPT).is_some());
        assert!(attempts.count() >= 1, "{} has no attempt", call.name);
        assert_eq!(call.attr(names::REVISION).and_then(|v| v.as_int()), Some(1), "{}", call.name);
    }

    let board = Question::Board { range: last(60) };
    let edges = |answer: &Answer| {
        let Answer::Board(board) = answer else { return None };
        let pairs: BTreeSet<(&str, &str)> =
            board.edges.iter().map(|e| (e.key.caller.as_str(), e.key.callee.as_str())).collect();
        let wanted = [
            ("gateway", "orders"),
            ("gateway", "pricing"),
            ("gateway", "users"),
            ("orders", "inventory"),
            ("orders", "payments"),
            ("payments", "bank"),
            ("orders", "order.events"),
            ("order.events", "notifications"),
        ];
        // Breakers are told of once a second.
        let charge = board.edges.iter().find(|e| e.key.operation.ends_with("/Charge"))?;
        (charge.breaker.is_some() && wanted.iter().all(|w| pairs.contains(w))).then(|| board.clone())
    };
    let board = stage.until("every edge of the shop", board, edges).await?;
    let kind = |name: &str| board.nodes.iter().find(|n| n.name == name).map(|n| n.kind);
    assert_eq!(kind("order.events"), Some(NodeKind::Queue));
    assert_eq!(kind("orders-db"), Some(NodeKind::Database));
    let charge = board.edges.iter().find(|e| e.key.operation.ends_with("/Charge")).expect("it was there");
    assert_eq!(charge.attempt_timeout_ms, Some(800), "the timeout of the policy stands beside the latency");

    let report = shop.shutdown().await;
    assert_eq!(report.dropped, 0, "nothing is lost when nobody is overwhelmed");
    stage.collector.shutdown().await;
    Ok(())
}
