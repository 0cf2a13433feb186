//! gRPC calls: spans, retries, timeouts, breakers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fuseboard_agent::Refusal;
use fuseboard_policy::names;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use tokio::sync::{Notify, oneshot};
use tonic::{Code, Status};

use crate::collector::{Collector, Got, soon, text};
use crate::rig::{CHARGE, Charger, OnDrop, agent, charge, payments};

const RETRY: &str = r#"
    [[edge]]
    service = "payments"
    [edge.retry]
    max_attempts = 3
    non_idempotent = true
    backoff = { base_ms = 1, max_ms = 2 }
"#;

fn kind(got: &Got, kind: SpanKind) -> bool {
    got.span.kind == kind as i32
}

fn is_call(got: &Got) -> bool {
    got.text(names::CALL).is_some()
}

fn is_attempt(got: &Got) -> bool {
    kind(got, SpanKind::Client) && got.text(names::ATTEMPT).is_some()
}

fn is_error(got: &Got) -> bool {
    got.span.status.as_ref().is_some_and(|s| s.code == StatusCode::Error as i32)
}

fn source(status: &Status) -> &Refusal {
    std::error::Error::source(status).and_then(|e| e.downcast_ref::<Refusal>()).expect("a refusal")
}

#[tokio::test]
async fn a_call_is_three_spans_of_one_trace() {
    let collector = Collector::start().await;
    let (orders, payer) = (agent("orders", &collector, "").await, agent("payments", &collector, "").await);
    let charger = Charger::start(&payer, |_, _| Box::pin(async { Ok(()) })).await;
    charge(&payments(&orders, &[&charger])).await.unwrap();

    let spans = collector.spans("three spans", |spans| spans.len() == 3).await;
    let one = |pick: fn(&Got) -> bool| spans.iter().find(|got| pick(got)).expect("the span");
    let (call, attempt) = (one(is_call), one(is_attempt));
    let server = one(|got| kind(got, SpanKind::Server));
    assert_eq!(attempt.span.parent_span_id, call.span.span_id);
    assert_eq!(server.span.parent_span_id, attempt.span.span_id);
    assert!(spans.iter().all(|got| got.span.trace_id == call.span.trace_id && got.span.name == CHARGE));
    assert_eq!((call.service.as_str(), server.service.as_str()), ("orders", "payments"));
    for (key, value) in [
        (names::PEER_SERVICE, "payments"),
        (names::PEER_SERVICE_OLD, "payments"),
        (names::OPERATION, CHARGE),
        (names::REVISION, "0"),
        (names::OUTCOME, "success"),
        ("rpc.system.name", "grpc"),
        ("rpc.method", CHARGE),
        ("rpc.response.status_code", "OK"),
    ] {
        assert_eq!(call.text(key).as_deref(), Some(value), "{key} of the call");
        assert_eq!(attempt.text(key).as_deref(), Some(value), "{key} of the attempt");
    }
    assert_eq!(attempt.text("server.port"), Some(charger.address.port().to_string()));
    assert_eq!(attempt.text(names::BREAKER_STATE).as_deref(), Some("closed"));
    assert_eq!(attempt.text(names::ATTEMPT).as_deref(), Some("1"));
    assert!(!spans.iter().any(is_error));
    orders.flush().await;
    payer.flush().await;
    let wanted = ["rpc.client.call.duration", "rpc.server.call.duration", names::ATTEMPTS];
    collector.metrics("RED", |names| wanted.iter().all(|w| names.iter().any(|n| n == w))).await;
}

#[tokio::test]
async fn a_failed_attempt_is_tried_again_on_another_instance_and_leaves_the_call_well() {
    let collector = Collector::start().await;
    let (orders, payer) = (agent("orders", &collector, RETRY).await, agent("payments", &collector, "").await);
    let (tell, told) = oneshot::channel();
    let tell = Mutex::new(Some(tell));
    let bad = Charger::start(&payer, |_, _| Box::pin(async { Err(Status::unavailable("down")) })).await;
    let good = Charger::start(&payer, move |_, headers| {
        let attempts = headers.get("grpc-previous-rpc-attempts").map(|v| v.to_str().unwrap().to_owned());
        if let Some(tell) = tell.lock().unwrap().take() {
            tell.send(attempts).unwrap();
        }
        Box::pin(async { Ok(()) })
    })
    .await;
    let client = payments(&orders, &[&bad, &good]);
    while bad.calls() == 0 {
        charge(&client).await.unwrap();
    }
    // The first to reach the good instance was the second attempt, or a call that went there first.
    let told = told.await.unwrap();
    assert!(told.is_none_or(|t| t == "1"));

    let spans = collector.spans("a second attempt", |spans| spans.iter().any(|s| s.text(names::BACKOFF_MS).is_some()));
    let spans = spans.await;
    let second = spans.iter().find(|s| s.text(names::BACKOFF_MS).is_some()).unwrap();
    assert_eq!(second.text(names::ATTEMPT).as_deref(), Some("2"));
    let mine = |got: &&Got| got.span.trace_id == second.span.trace_id;
    let first = spans.iter().filter(mine).find(|s| is_attempt(s) && s.text(names::ATTEMPT).as_deref() == Some("1"));
    let first = first.unwrap();
    assert!(is_error(first) && first.text("error.type").as_deref() == Some("unavailable"));
    assert_ne!(first.text("server.port"), second.text("server.port"));
    let call = spans.iter().filter(mine).find(|s| is_call(s)).unwrap();
    assert!(!is_error(call), "a failure that was made good is none of the call's");
    assert_eq!(call.text(names::ATTEMPTS).as_deref(), Some("2"));
}

#[tokio::test]
async fn an_operation_that_must_not_be_done_twice_is_not() {
    let collector = Collector::start().await;
    let policy = RETRY.replace("non_idempotent = true", "");
    let (orders, payer) = (agent("orders", &collector, &policy).await, agent("payments", &collector, "").await);
    let charger = Charger::start(&payer, |_, _| Box::pin(async { Err(Status::unavailable("down")) })).await;
    let client = payments(&orders, &[&charger]);
    assert_eq!(charge(&client).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(charger.calls(), 1);
    assert_eq!(charge(&client.idempotent([CHARGE])).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(charger.calls(), 1 + 3);
}

#[tokio::test]
async fn what_found_no_connection_is_tried_again_whatever_it_does() {
    let collector = Collector::start().await;
    let policy = RETRY.replace("non_idempotent = true", "");
    let (orders, payer) = (agent("orders", &collector, &policy).await, agent("payments", &collector, "").await);
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let good = Charger::start(&payer, |_, _| Box::pin(async { Ok(()) })).await;
    let client = orders.grpc_client("payments", [closed.to_string(), good.address.to_string()]).unwrap();
    // One of two calls goes to the closed port first.
    for _ in 0..2 {
        charge(&client).await.unwrap();
    }
    assert_eq!(good.calls(), 2);
    let refused = |s: &Got| is_attempt(s) && s.text("error.type").as_deref() == Some("connect");
    let spans = collector.spans("both calls", |spans| spans.iter().filter(|s| is_call(s)).count() == 2).await;
    let refused = spans.iter().find(|s| refused(s)).expect("an attempt that found no connection");
    let call = spans.iter().find(|s| s.span.span_id == refused.span.parent_span_id).unwrap();
    assert_eq!((call.text(names::ATTEMPTS).as_deref(), is_error(call)), (Some("2"), false));
}

/// A server whose own timer is shorter than what the caller grants.
async fn impatient(
    answer: impl Fn(usize, tonic::metadata::MetadataMap) -> crate::rig::Answer + Send + Sync + 'static,
) -> Charger {
    let server = tonic::transport::Server::builder().timeout(Duration::from_millis(20));
    Charger::serve(server, answer).await
}

#[tokio::test]
async fn a_callee_whose_own_timer_went_off_is_late_and_not_cancelled() {
    let collector = Collector::start().await;
    let policy = "[[edge]]\nservice = \"payments\"\ntimeout = { attempt_ms = 60000 }\n\
        breaker = { consecutive_failures = 2, open_ms = 60000 }\n";
    let orders = agent("orders", &collector, policy).await;
    let charger = impatient(|_, _| Box::pin(std::future::pending())).await;
    let client = payments(&orders, &[&charger]);
    for _ in 0..2 {
        let late = soon("the server gives up", charge(&client)).await.unwrap_err();
        assert_eq!(late.code(), Code::DeadlineExceeded, "{late}");
    }
    assert_eq!(source(&charge(&client).await.unwrap_err()).rule, "breaker");
    let timeout = |s: &&Got| is_attempt(s) && s.text(names::OUTCOME).as_deref() == Some("timeout");
    let spans = collector.spans("two that were late", |spans| spans.iter().filter(timeout).count() == 2).await;
    assert!(spans.iter().filter(timeout).all(is_error));
}

#[tokio::test]
async fn a_callee_that_says_cancelled_itself_counts_for_nothing() {
    let collector = Collector::start().await;
    let policy = "[[edge]]\nservice = \"payments\"\ntimeout = { attempt_ms = 60000 }\n\
        breaker = { consecutive_failures = 2, open_ms = 60000 }\n";
    let orders = agent("orders", &collector, policy).await;
    let charger = impatient(|_, _| Box::pin(async { Err(Status::cancelled("nobody waits any more")) })).await;
    let client = payments(&orders, &[&charger]);
    for _ in 0..4 {
        assert_eq!(charge(&client).await.unwrap_err().code(), Code::Cancelled);
    }
    let cancelled = |s: &&Got| is_attempt(s) && s.text(names::OUTCOME).as_deref() == Some("cancelled");
    collector.spans("four that were cancelled", |spans| spans.iter().filter(cancelled).count() == 4).await;
}

#[tokio::test]
async fn retries_stop_when_the_budget_is_spent() {
    let collector = Collector::start().await;
    let policy = format!("{RETRY}\nbudget = {{ max_tokens = 4, token_ratio = 0.1 }}\n");
    let (orders, payer) = (agent("orders", &collector, &policy).await, agent("payments", &collector, "").await);
    let charger = Charger::start(&payer, |_, _| Box::pin(async { Err(Status::unavailable("down")) })).await;
    let client = payments(&orders, &[&charger]);
    for _ in 0..10 {
        charge(&client).await.unwrap_err();
    }
    // Of four tokens each failure costs one, and retries need more than two: one retry, then never again.
    assert_eq!(charger.calls(), 10 + 1);
    let ghost = |got: &&Got| is_attempt(got) && got.text(names::REFUSED_BY).as_deref() == Some("retry_budget");
    let spans = collector.spans("ghosts", |spans| spans.iter().filter(ghost).count() == 9 + 1).await;
    let call = |got: &&Got| is_call(got) && got.text(names::GAVE_UP).as_deref() == Some("retry_budget");
    assert_eq!(spans.iter().filter(call).count(), 9 + 1);
}

#[tokio::test]
async fn a_timeout_cuts_the_attempt_and_cancels_the_callee() {
    let collector = Collector::start().await;
    let policy = "[[edge]]\nservice = \"payments\"\ntimeout = { attempt_ms = 50 }\n";
    let (orders, payer) = (agent("orders", &collector, policy).await, agent("payments", &collector, "").await);
    let (gone, cancelled) = oneshot::channel();
    let gone = Mutex::new(Some(gone));
    let charger = Charger::start(&payer, move |_, headers| {
        assert!(headers.get("grpc-timeout").is_some(), "the callee knows what is left");
        let guard = OnDrop(gone.lock().unwrap().take());
        Box::pin(async move {
            let _guard = guard;
            std::future::pending().await
        })
    })
    .await;
    let error = charge(&payments(&orders, &[&charger])).await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
    soon("the handler is dropped", cancelled).await.unwrap();

    let spans = collector.spans("three spans", |spans| spans.len() == 3).await;
    let server = spans.iter().find(|s| kind(s, SpanKind::Server)).unwrap();
    assert_eq!(server.text(names::OUTCOME).as_deref(), Some("cancelled"));
    let attempt = spans.iter().find(|s| is_attempt(s)).unwrap();
    assert_eq!(attempt.text(names::OUTCOME).as_deref(), Some("timeout"));
    assert_eq!(attempt.text(names::ATTEMPT_TIMEOUT_MS).as_deref(), Some("50"));
    assert!(is_error(attempt) && spans.iter().any(|s| is_call(s) && is_error(s)));
}

#[tokio::test]
async fn an_open_breaker_refuses_and_says_why() {
    let collector = Collector::start().await;
    let policy = "[[edge]]\nservice = \"payments\"\nbreaker = { consecutive_failures = 3, open_ms = 60000 }\n";
    let (orders, payer) = (agent("orders", &collector, policy).await, agent("payments", &collector, "").await);
    let charger = Charger::start(&payer, |_, _| Box::pin(async { Err(Status::internal("broken")) })).await;
    let client = payments(&orders, &[&charger]);
    for _ in 0..3 {
        assert_eq!(charge(&client).await.unwrap_err().code(), Code::Internal);
    }
    let refused = charge(&client).await.unwrap_err();
    assert_eq!((refused.code(), charger.calls()), (Code::Unavailable, 3));
    assert_eq!(source(&refused).rule, "breaker");

    let ghost = |got: &Got| is_attempt(got) && got.text(names::REFUSED_BY).as_deref() == Some("breaker");
    let spans = collector.spans("a ghost", |spans| spans.iter().any(ghost)).await;
    let ghost = spans.iter().find(|s| ghost(s)).unwrap();
    assert_eq!(ghost.span.start_time_unix_nano, ghost.span.end_time_unix_nano);
    assert_eq!(ghost.text(names::BREAKER_STATE).as_deref(), Some("open"));
    assert_eq!(ghost.span.events[0].name, names::REFUSED_EVENT);
    assert!(text(&ghost.span.events[0].attributes, "cause").is_some_and(|c| c.contains("in a row")));
    let call = spans.iter().find(|s| s.span.span_id == ghost.span.parent_span_id).unwrap();
    assert_eq!(call.text(names::OUTCOME).as_deref(), Some("refused"));

    let opened = |log: &opentelemetry_proto::tonic::logs::v1::LogRecord| log.event_name == names::BREAKER_TRANSITION;
    let logs = collector.logs("the transition", |logs| logs.iter().any(opened)).await;
    let log = logs.iter().find(|log| opened(log)).unwrap();
    assert_eq!(text(&log.attributes, "to").as_deref(), Some("open"));
    let trip = spans.iter().find(|s| s.span.span_id == log.span_id).expect("the span that tripped it");
    assert_eq!(trip.span.trace_id, log.trace_id);
    assert!(trip.span.events.iter().any(|e| e.name == names::BREAKER_TRANSITION));
}

#[tokio::test]
async fn limits_refuse_at_the_caller_and_say_which() {
    let collector = Collector::start().await;
    let policy = "[[edge]]\nservice = \"payments\"\nconcurrency = { kind = \"fixed\", max = 1 }\n\
                  rate = { algorithm = \"sliding_window\", limit = 3, window_ms = 3600000 }\n";
    let (orders, payer) = (agent("orders", &collector, policy).await, agent("payments", &collector, "").await);
    let (arrived, gate) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let charger = {
        let (arrived, gate) = (arrived.clone(), gate.clone());
        Charger::start(&payer, move |number, _| {
            let (arrived, gate) = (arrived.clone(), gate.clone());
            Box::pin(async move {
                if number == 1 {
                    arrived.notify_one();
                    gate.notified().await;
                }
                Ok(())
            })
        })
        .await
    };
    let client = payments(&orders, &[&charger]);
    let first = tokio::spawn({
        let client = client.clone();
        async move { charge(&client).await }
    });
    arrived.notified().await;
    let refused = charge(&client).await.unwrap_err();
    assert_eq!((refused.code(), source(&refused).rule), (Code::ResourceExhausted, "concurrency"));
    assert!(source(&refused).cause.contains("the limit is 1"));
    gate.notify_one();
    first.await.unwrap().unwrap();
    charge(&client).await.unwrap();
    let refused = charge(&client).await.unwrap_err();
    assert_eq!((refused.code(), source(&refused).rule), (Code::ResourceExhausted, "rate"));
    assert_eq!(charger.calls(), 2);
    let ghost = |rule: &str, got: &Got| is_attempt(got) && got.text(names::REFUSED_BY).as_deref() == Some(rule);
    let both = |spans: &[Got]| ["concurrency", "rate"].iter().all(|rule| spans.iter().any(|s| ghost(rule, s)));
    collector.spans("both ghosts", both).await;
}

#[tokio::test]
async fn an_instance_that_fails_in_a_row_is_passed_over() {
    let collector = Collector::start().await;
    let policy = "[[edge]]\nservice = \"payments\"\noutlier = { consecutive_failures = 2, interval_ms = 3600000, \
                  base_ejection_ms = 3600000, max_ejection_ms = 3600000, max_ejection_percent = 50 }\n";
    let (orders, payer) = (agent("orders", &collector, policy).await, agent("payments", &collector, "").await);
    let good = Charger::start(&payer, |_, _| Box::pin(async { Ok(()) })).await;
    let bad = Charger::start(&payer, |_, _| Box::pin(async { Err(Status::internal("broken")) })).await;
    let client = payments(&orders, &[&good, &bad]);
    let mut failures = 0;
    for _ in 0..20 {
        failures += u32::from(charge(&client).await.is_err());
    }
    assert_eq!((failures, bad.calls(), good.calls()), (2, 2, 18));
}

#[tokio::test]
async fn equal_keys_meet_equal_instances() {
    let collector = Collector::start().await;
    let policy = "[[edge]]\nservice = \"payments\"\n\
                  balance = { algorithm = \"consistent_hash\", key = \"header:x-user-id\" }\n";
    let (orders, payer) = (agent("orders", &collector, policy).await, agent("payments", &collector, "").await);
    let one = Charger::start(&payer, |_, _| Box::pin(async { Ok(()) })).await;
    let other = Charger::start(&payer, |_, _| Box::pin(async { Ok(()) })).await;
    let client = payments(&orders, &[&one, &other]);
    let mut met = std::collections::HashSet::new();
    for user in 0..24 {
        let before = (one.calls(), other.calls());
        for _ in 0..3 {
            let mut request = tonic::Request::new(Default::default());
            request.metadata_mut().insert("x-user-id", user.into());
            TraceServiceClient::new(client.clone()).export(request).await.unwrap();
        }
        let after = (one.calls() - before.0, other.calls() - before.1);
        assert!(after == (3, 0) || after == (0, 3), "{after:?}");
        met.insert(after);
    }
    assert_eq!(met.len(), 2, "so many users do not all live on one instance");
}

#[tokio::test]
async fn a_cancelled_probe_gives_its_permit_back() {
    let collector = Collector::start().await;
    let policy = "[[edge]]\nservice = \"payments\"\n\
        breaker = { consecutive_failures = 1, open_ms = 1, half_open_permits = 1, probe_lease_ms = 60000 }\n";
    let (orders, payer) = (agent("orders", &collector, policy).await, agent("payments", &collector, "").await);
    let (arrived, mut arrivals) = tokio::sync::mpsc::channel(8);
    let charger = Charger::start(&payer, move |number, _| {
        let arrived = arrived.clone();
        Box::pin(async move {
            arrived.send(number).await.unwrap();
            match number {
                1 => Err(Status::internal("broken")),
                2 => std::future::pending().await,
                _ => Ok(()),
            }
        })
    })
    .await;
    let client = payments(&orders, &[&charger]);
    charge(&client).await.unwrap_err();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let probe = tokio::spawn({
        let client = client.clone();
        async move { charge(&client).await }
    });
    while soon("the probe arrives", arrivals.recv()).await != Some(2) {}
    let refused = charge(&client).await.unwrap_err();
    assert_eq!(source(&refused).rule, "breaker", "one probe at a time");
    probe.abort();
    assert!(probe.await.unwrap_err().is_cancelled());
    charge(&client).await.expect("the permit is free again, and the probe closes the breaker");
    let spans = collector.spans("the probe's end", |spans| {
        spans.iter().any(|s| is_attempt(s) && s.text(names::OUTCOME).as_deref() == Some("cancelled"))
    });
    let spans = spans.await;
    let cancelled = spans.iter().find(|s| is_attempt(s) && s.text(names::OUTCOME).as_deref() == Some("cancelled"));
    assert_eq!(cancelled.unwrap().text(names::BREAKER_PROBE).as_deref(), Some("true"));
}
