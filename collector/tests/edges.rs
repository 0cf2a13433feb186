//! Who called whom: from agents, from stock SDKs, in whatever order halves arrive.

use fuseboard_api::graph::{NodeKind, Severity};
use fuseboard_api::trace::TraceQuery;

use crate::common::{
    CLIENT, CONSUMER, EVER, INTERNAL, PRODUCER, SERVER, Stage, With as _, edge, keys, lately, request, span,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agents_call_counts_once_with_its_attempts() {
    let stage = Stage::start().await;
    let operation = "payments.v1.Payments/Charge";
    let client = |id, parent| {
        span(1, id, parent, CLIENT, "Charge")
            .with("service.peer.name", "payments")
            .with("resilience.operation", operation)
    };
    let call = client(2, 1).with("resilience.call", true).with("resilience.deadline.left_ms", 750.0);
    let cut = client(3, 2).with("resilience.attempt", 1).with("resilience.outcome", "timeout").failed("cut");
    let good = client(4, 2).with("resilience.attempt", 2).with("resilience.outcome", "success");
    let mut refused =
        client(5, 1).with("resilience.call", true).with("resilience.refused_by", "breaker").failed("open");
    refused.trace_id = vec![9; 16];
    // The callee's word comes first.
    stage.send(request("payments", vec![span(1, 6, 4, SERVER, operation)])).await;
    stage.send(request("orders", vec![call, cut, good, refused])).await;
    let board = stage.board(lately()).await;
    assert_eq!(keys(&board).len(), 1, "{:?}", keys(&board));
    let stats = &edge(&board, "orders", "payments").stats;
    assert_eq!((stats.calls, stats.errors, stats.refused, stats.attempts), (2, 1, 1, 2));
    assert_eq!(edge(&board, "orders", "payments").key.operation, operation);
    let payments = board.nodes.iter().find(|n| n.name == "payments").expect("a node");
    assert_eq!((payments.kind, payments.stats.calls), (NodeKind::Service, 1), "what it answered itself");
    assert_eq!(payments.instances[0].instance, "payments-1");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stock_spans_pair_in_either_order() {
    let stage = Stage::start().await;
    for (trace, server_first) in [(1, true), (2, false)] {
        let server = request("stock-b", vec![span(trace, 3, 2, SERVER, "GET /b")]);
        let client = request(
            "stock-a",
            vec![span(trace, 2, 1, CLIENT, "GET"), span(trace, 1, 0, SERVER, "GET /a").failed("oh")],
        );
        let requests = if server_first { [server, client] } else { [client, server] };
        for request in requests {
            stage.send(request).await;
        }
    }
    let board = stage.board(lately()).await;
    assert_eq!(edge(&board, "stock-a", "stock-b").stats.calls, 2);
    assert_eq!(edge(&board, "stock-a", "stock-b").key.operation, "GET /b");
    let outside = edge(&board, "clients", "stock-a");
    assert_eq!((outside.stats.calls, outside.stats.errors), (2, 2));
    assert_eq!(board.edges.len(), 2, "{:?}", keys(&board));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn databases_and_queues_are_nodes_of_their_own() {
    let stage = Stage::start().await;
    let db = span(1, 2, 1, CLIENT, "SELECT").with("db.system", "postgresql").with("db.name", "ledger");
    let send = span(1, 3, 1, PRODUCER, "send mail")
        .with("messaging.system", "rabbitmq")
        .with("messaging.destination.name", "mails");
    let take = span(1, 4, 3, CONSUMER, "process mail")
        .with("messaging.system", "rabbitmq")
        .with("messaging.destination.name", "mails");
    stage.send(request("orders", vec![db, send, span(1, 1, 0, INTERNAL, "work")])).await;
    stage.send(request("mailer", vec![take])).await;
    let board = stage.board(lately()).await;
    let node = |name: &str| board.nodes.iter().find(|n| n.name == name).expect("a node");
    assert_eq!((node("ledger").kind, node("ledger").system.as_str()), (NodeKind::Database, "postgresql"));
    assert_eq!((node("mails").kind, node("mails").system.as_str()), (NodeKind::Queue, "rabbitmq"));
    assert_eq!(node("ledger").stats.calls, 1, "what its callers saw");
    assert!(edge(&board, "orders", "mails").asynchronous && edge(&board, "mails", "mailer").asynchronous);
    assert!(!edge(&board, "orders", "ledger").asynchronous);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_only_works_by_itself_is_on_the_board() {
    let stage = Stage::start().await;
    let range = lately();
    stage.send(request("batch", vec![span(1, 1, 0, INTERNAL, "nightly")])).await;
    let board = stage.board(range).await;
    let names: Vec<(&str, NodeKind)> = board.nodes.iter().map(|n| (n.name.as_str(), n.kind)).collect();
    assert_eq!(names, [("batch", NodeKind::Service)]);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_headline_names_the_cause_and_its_echo() {
    let stage = Stage::start().await;
    let mut gateway = Vec::new();
    let mut orders = Vec::new();
    for i in 1..=20 {
        let front = span(i, 2, 1, CLIENT, "place").with("service.peer.name", "orders");
        let back = span(i, 4, 3, CLIENT, "Charge").with("service.peer.name", "payments");
        gateway.push(front.failed("502"));
        orders.push(back.failed("unavailable"));
        orders.push(span(i, 3, 2, SERVER, "place").failed("unavailable"));
    }
    stage.send(request("gateway", gateway)).await;
    stage.send(request("orders", orders)).await;
    let headline = stage.board(lately()).await.headline.expect("a headline");
    assert_eq!(headline.severity, Severity::Failed);
    assert_eq!(headline.edge.map(|e| (e.caller, e.callee)), Some(("orders".into(), "payments".into())));
    assert!(headline.text.contains("100 % of Charge fail (20 of 20)"), "{}", headline.text);
    assert!(headline.text.contains("; echo: gateway → orders"), "{}", headline.text);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_of_traces_obey_their_conditions_and_page_without_gaps() {
    let stage = Stage::start().await;
    for i in 1..=30u8 {
        let mut root =
            span(i, 1, 0, SERVER, if i % 2 == 0 { "GET /even" } else { "GET /odd" }).with("customer", i64::from(i));
        let shift = u64::from(i) * 1_000_000_000;
        root.start_time_unix_nano -= shift;
        root.end_time_unix_nano = root.start_time_unix_nano + u64::from(i) * 1_000_000;
        if i % 10 == 0 {
            root = root.failed("Ärger im Lager");
        }
        stage.send(request("shop", vec![root])).await;
    }
    let query = || TraceQuery { range: EVER, ..TraceQuery::default() };
    let count = async |query: TraceQuery| stage.traces(query).await.rows.len();
    assert_eq!(count(query()).await, 30);
    assert_eq!(count(TraceQuery { errors_only: true, ..query() }).await, 3);
    assert_eq!(count(TraceQuery { operation: Some("GET /even".into()), ..query() }).await, 15);
    assert_eq!(count(TraceQuery { service: Some("nobody".into()), ..query() }).await, 0);
    assert_eq!(count(TraceQuery { min_ms: Some(10.0), max_ms: Some(12.0), ..query() }).await, 3);
    assert_eq!(count(TraceQuery { text: Some("ärger".into()), ..query() }).await, 3);
    assert_eq!(count(TraceQuery { attributes: vec![("customer".into(), "7".into())], ..query() }).await, 1);
    assert_eq!(count(TraceQuery { edge: Some(("clients".into(), "shop".into())), ..query() }).await, 30);
    assert_eq!(count(TraceQuery { edge: Some(("shop".into(), "shop".into())), ..query() }).await, 0);
    let mut pages = Vec::new();
    let mut before = None;
    loop {
        let page = stage.traces(TraceQuery { limit: 7, before, ..query() }).await;
        before = page.next;
        pages.extend(page.rows);
        if !page.more {
            break;
        }
    }
    assert_eq!(pages, stage.traces(query()).await.rows);
    stage.stop().await;
}
