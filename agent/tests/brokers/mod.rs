//! Messages over real brokers, which these tests start, kill and start again.

mod nats;
mod rabbitmq;
mod redis;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fuseboard_agent::Agent;
use fuseboard_agent::messaging::{Failure, Handling, PublishError};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::collector::{Collector, Got, soon};

/// What a broker that comes back meets.
const POLICY: &str = r#"
    [[edge]]
    service = "*"
    timeout = { attempt_ms = 1500 }
    breaker = { consecutive_failures = 3, open_ms = 200, half_open_permits = 1, half_open_successes = 1 }
"#;

/// Times between tries that tests can wait for.
fn quick() -> Handling {
    Handling::default()
        .max_deliveries(3)
        .backoff(Duration::from_millis(100), Duration::from_millis(400))
        .depth_every(Duration::from_millis(50))
}

/// A handler that tells what it is given: its text, and when.
#[derive(Clone)]
struct Teller(mpsc::Sender<(String, Instant)>);

impl Teller {
    fn new() -> (Self, mpsc::Receiver<(String, Instant)>) {
        let (tx, rx) = mpsc::channel(1_024);
        (Self(tx), rx)
    }

    async fn tell(&self, body: &[u8]) -> String {
        let text = String::from_utf8(body.to_vec()).unwrap();
        self.0.send((text.clone(), Instant::now())).await.unwrap();
        text
    }
}

/// What a message of this text comes to.
fn answer(text: &str) -> Result<(), Failure> {
    match text {
        "fails" => Err(Failure::again("no mail server")),
        "is poison" => Err(Failure::reject("no such address")),
        _ => Ok(()),
    }
}

/// The next message, and that it is this one.
async fn next(heard: &mut mpsc::Receiver<(String, Instant)>, text: &str) -> Instant {
    let (heard, at) = soon(text, heard.recv()).await.unwrap();
    assert_eq!(heard, text);
    at
}

/// The spans of a message that went through, and that they hang together.
async fn one_trace(collector: &Collector, service: &str, destination: &str) -> (Got, Got) {
    let is = |s: &Got, kind: SpanKind| {
        s.span.kind == kind as i32 && s.text("messaging.destination.name").as_deref() == Some(destination)
    };
    let all = collector
        .spans("a message on both sides", |spans| {
            spans.iter().any(|s| is(s, SpanKind::Producer)) && spans.iter().any(|s| is(s, SpanKind::Consumer))
        })
        .await;
    let consumer = all.iter().find(|s| is(s, SpanKind::Consumer)).unwrap().clone();
    let linked = |s: &&Got| is(s, SpanKind::Producer) && s.span.span_id == consumer.span.links[0].span_id;
    let producer = all.iter().find(linked).expect("the consumer's link is to its producer").clone();
    assert_eq!(consumer.span.parent_span_id, producer.span.span_id);
    assert_eq!(consumer.span.trace_id, producer.span.trace_id);
    assert_eq!(consumer.service, service);
    assert_eq!(producer.text("messaging.system"), consumer.text("messaging.system"));
    assert_eq!(consumer.text("resilience.settled").as_deref(), Some("ack"));
    assert!(consumer.text("resilience.queue.lag_ms").is_some());
    (producer, consumer)
}

/// Which deliveries consumers' spans tell of, and what became of each.
async fn deliveries(collector: &Collector, count: usize, of: &str) -> Vec<(String, String)> {
    let of_it = |s: &&Got| {
        s.span.kind == SpanKind::Consumer as i32 && s.text("messaging.destination.name").as_deref() == Some(of)
    };
    let spans = collector.spans("every delivery", |spans| spans.iter().filter(of_it).count() >= count).await;
    let word = |s: &Got, key| s.text(key).unwrap_or_default();
    spans.iter().filter(of_it).map(|s| (word(s, "resilience.delivery"), word(s, "resilience.settled"))).collect()
}

/// Numbers that were sent, and those that arrived.
#[derive(Default)]
struct Books {
    sent: BTreeSet<u32>,
    arrived: Arc<Mutex<BTreeSet<u32>>>,
    next: u32,
}

impl Books {
    /// Notes what arrives.
    fn receiver(&self) -> impl Fn(&[u8]) + Send + Sync + Clone + 'static {
        let arrived = self.arrived.clone();
        move |body| {
            let number = std::str::from_utf8(body).unwrap().parse().unwrap();
            arrived.lock().unwrap().insert(number);
        }
    }

    /// Sends the next number.
    async fn send<E>(
        &mut self,
        publish: &impl AsyncFn(String) -> Result<(), PublishError<E>>,
    ) -> Result<(), PublishError<E>> {
        self.next += 1;
        publish(self.next.to_string()).await.inspect(|()| {
            self.sent.insert(self.next);
        })
    }

    /// Sends until the breaker refuses.
    async fn until_refused<E>(&mut self, publish: &impl AsyncFn(String) -> Result<(), PublishError<E>>) {
        soon("the breaker opens", async {
            loop {
                match self.send(publish).await {
                    Err(PublishError::Refused(refusal)) if refusal.rule == "breaker" => return,
                    _ => sleep(Duration::from_millis(5)).await,
                }
            }
        })
        .await;
    }

    /// Sends until the broker takes something again.
    async fn until_taken<E>(&mut self, publish: &impl AsyncFn(String) -> Result<(), PublishError<E>>) {
        soon("the broker takes messages again", async {
            while self.send(publish).await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// Whatever the broker acknowledged arrives.
    async fn nothing_is_lost(&self) {
        soon("everything that was acknowledged arrives", async {
            while !self.arrived.lock().unwrap().is_superset(&self.sent) {
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
}

/// The spans of a breaker that refused while its broker was away.
async fn was_refused(collector: &Collector, agent: &Agent, destination: &str) {
    agent.flush().await;
    collector
        .spans("a refused publish", |spans| {
            spans.iter().any(|s| {
                s.text("resilience.refused_by").as_deref() == Some("breaker")
                    && s.text("messaging.destination.name").as_deref() == Some(destination)
            })
        })
        .await;
}
