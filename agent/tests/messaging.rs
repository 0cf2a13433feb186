//! Queues: the consumer goes on in the producer's trace, and logs know where they were written.

use std::collections::BTreeMap;

use fuseboard_agent::Severity;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use crate::collector::Collector;
use crate::rig::agent;

#[tokio::test]
async fn producer_and_consumer_are_one_trace_and_linked() {
    let collector = Collector::start().await;
    let (orders, mailer) = (agent("orders", &collector, "").await, agent("mailer", &collector, "").await);
    let producer = orders.producer("in_process", "order.events");
    let sent = producer.send(BTreeMap::new(), |headers| async { Ok::<_, std::convert::Infallible>(headers) });
    let headers = sent.await.unwrap();
    let work = async {
        mailer.log(Severity::Info, "mail sent", &[]);
        Err::<(), _>("no such address")
    };
    mailer.consumer("in_process", "order.events").process(&headers, work).await.unwrap_err();

    let spans = collector.spans("both spans", |spans| spans.len() == 2).await;
    let kind = |kind: SpanKind| spans.iter().find(|s| s.span.kind == kind as i32).unwrap();
    let (producer, consumer) = (kind(SpanKind::Producer), kind(SpanKind::Consumer));
    assert_eq!(consumer.span.trace_id, producer.span.trace_id);
    assert_eq!(consumer.span.parent_span_id, producer.span.span_id);
    assert_eq!(consumer.span.links[0].span_id, producer.span.span_id);
    assert_eq!(producer.text("messaging.destination.name").as_deref(), Some("order.events"));
    assert_eq!(producer.text("messaging.operation.type").as_deref(), Some("send"));
    assert_eq!(consumer.text("messaging.operation.type").as_deref(), Some("process"));
    assert_eq!(consumer.span.status.as_ref().unwrap().message, "no such address");
    let logs = collector.logs("the log", |logs| logs.len() == 1).await;
    assert_eq!(logs[0].span_id, consumer.span.span_id);
    assert_eq!(logs[0].severity_text, "INFO");
}
