//! Export never waits: a collector that is away costs what does not fit, and that is counted.

use std::time::Duration;

use fuseboard_agent::{Agent, Severity};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
use tokio::net::TcpListener;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::collector::{Collector, soon};

#[tokio::test]
async fn without_a_collector_records_are_kept_up_to_a_limit_and_the_rest_is_counted() {
    let holder = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = holder.local_addr().unwrap();
    drop(holder);
    let agent = Agent::builder("orders").otlp(address.to_string()).max_queued_logs(10).start().await.unwrap();
    // Without a point to await between them, nothing is taken out of the queue meanwhile.
    for n in 0..25 {
        agent.log(Severity::Info, format!("{n}"), &[]);
    }
    assert_eq!(agent.dropped(), 15);
    let collector = Collector::listen(TcpListener::bind(address).await.unwrap());
    let logs = collector.logs("what was kept", |logs| logs.len() == 10).await;
    assert_eq!(logs.len(), 10);
    assert_eq!(agent.dropped(), 15);
}

#[tokio::test]
async fn a_shutdown_ends_in_time_and_counts_what_it_leaves() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let builder = Agent::builder("orders").otlp(closed.to_string()).shutdown_limit(Duration::from_millis(50));
    let agent = builder.start().await.unwrap();
    (0..3).for_each(|n| agent.log(Severity::Info, format!("{n}"), &[]));
    soon("the shutdown", agent.shutdown()).await;
    assert_eq!(agent.dropped(), 3);
    // What comes after the end goes nowhere either.
    agent.log(Severity::Info, "late", &[]);
    assert_eq!(agent.dropped(), 4);
}

#[tokio::test]
async fn a_shutdown_sends_what_waits() {
    let collector = Collector::start().await;
    let agent = Agent::builder("orders").otlp(collector.url()).start().await.unwrap();
    agent.in_span("sweep", Vec::new(), async { agent.log(Severity::Warn, "two overdue", &[]) }).await;
    soon("the shutdown", agent.shutdown()).await;
    let logs = collector.logs("the log", |logs| logs.len() == 1).await;
    let spans = collector.spans("the span", |spans| spans.len() == 1).await;
    assert_eq!((agent.dropped(), &logs[0].span_id), (0, &spans[0].span.span_id));
}

#[tokio::test]
async fn spans_that_the_collector_rejects_are_counted() {
    let collector = Collector::start().await;
    let partial = ExportTracePartialSuccess { rejected_spans: 2, error_message: "too old".to_owned() };
    collector.answer(Ok(ExportTraceServiceResponse { partial_success: Some(partial) }));
    let agent = Agent::builder("orders").otlp(collector.url()).start().await.unwrap();
    for _ in 0..3 {
        agent.in_span("sweep", Vec::new(), async {}).await;
    }
    soon("the shutdown", agent.shutdown()).await;
    assert_eq!(agent.dropped(), 2);
}

#[tokio::test]
async fn only_what_may_pass_is_sent_again() {
    let collector = Collector::start().await;
    let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(1)));
    collector.answer(Err(Status::with_error_details(Code::ResourceExhausted, "full", details)));
    collector.answer(Err(Status::unavailable("soon")));
    let agent = Agent::builder("orders").otlp(collector.url()).start().await.unwrap();
    agent.in_span("kept", Vec::new(), async {}).await;
    agent.flush().await;
    let spans = collector.spans("the third try", |spans| spans.len() == 1).await;
    assert_eq!((spans[0].span.name.as_str(), agent.dropped()), ("kept", 0));
    collector.answer(Err(Status::invalid_argument("never")));
    agent.in_span("refused", Vec::new(), async {}).await;
    soon("the shutdown", agent.shutdown()).await;
    assert_eq!(agent.dropped(), 1);
}

#[tokio::test]
async fn what_cannot_work_is_said_at_the_start() {
    let refused = |builder: fuseboard_agent::Builder| async { builder.start().await.unwrap_err().to_string() };
    let text = refused(Agent::builder("x").otlp("ftp://collector:4317")).await;
    assert!(text.contains("http and https"), "{text}");
    let text = refused(Agent::builder("x").default_policy_toml("[[edge]]\nservice = \"*\"\ntimeot = 1\n")).await;
    assert!(text.contains("timeot"), "{text}");
    let text = refused(Agent::builder("x").state_dir("/dev/null/x")).await;
    assert!(text.contains("/dev/null/x"), "{text}");
}
