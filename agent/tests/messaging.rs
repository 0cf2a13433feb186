//! Queues, whatever the broker: spans on both sides, the rules around sending, and what becomes of a message that is taken.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fuseboard_agent::messaging::{BrokerError, Failure, Handling, Incoming, PublishError, Settle, Source, Taken};
use fuseboard_agent::{Agent, Severity};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use tokio::sync::{mpsc, oneshot};

use crate::collector::{Collector, Got, soon};
use crate::rig::{OnDrop, agent};

type Headers = BTreeMap<String, String>;

fn of_kind(spans: &[Got], kind: SpanKind) -> Vec<Got> {
    spans.iter().filter(|s| s.span.kind == kind as i32).cloned().collect()
}

/// Sends a message to nowhere; what would have travelled comes back.
async fn headers_of(agent: &Agent) -> Headers {
    let producer = agent.producer("in_process", "order.events");
    producer.send(Headers::new(), |headers| async { Ok::<_, Infallible>(headers) }).await.unwrap()
}

#[tokio::test]
async fn producer_and_consumer_are_one_trace_and_linked() {
    let collector = Collector::start().await;
    let (orders, mailer) = (agent("orders", &collector, "").await, agent("mailer", &collector, "").await);
    let headers = headers_of(&orders).await;
    let work = async {
        mailer.log(Severity::Info, "mail sent", &[]);
        Err::<(), _>("no such address")
    };
    mailer.consumer("in_process", "order.events").process(&headers, work).await.unwrap_err();

    let spans = collector.spans("all three spans", |spans| spans.len() == 3).await;
    let one = |kind| of_kind(&spans, kind).remove(0);
    let (producer, attempt, consumer) = (one(SpanKind::Producer), one(SpanKind::Client), one(SpanKind::Consumer));
    assert_eq!(
        (producer.span.name.as_str(), consumer.span.name.as_str()),
        ("publish order.events", "process order.events")
    );
    assert_eq!(attempt.span.parent_span_id, producer.span.span_id);
    assert_eq!(consumer.span.trace_id, producer.span.trace_id);
    assert_eq!(consumer.span.parent_span_id, producer.span.span_id);
    assert_eq!(consumer.span.links[0].span_id, producer.span.span_id);
    assert_eq!(producer.text("messaging.destination.name").as_deref(), Some("order.events"));
    assert_eq!(producer.text("messaging.operation.type").as_deref(), Some("send"));
    assert_eq!(producer.text("resilience.call").as_deref(), Some("true"));
    assert_eq!(consumer.text("messaging.operation.type").as_deref(), Some("process"));
    assert!(consumer.text("resilience.queue.lag_ms").is_some());
    assert_eq!(consumer.span.status.as_ref().unwrap().message, "no such address");
    let logs = collector.logs("the log", |logs| logs.len() == 1).await;
    assert_eq!(logs[0].span_id, consumer.span.span_id);
    assert_eq!(logs[0].severity_text, "INFO");
    mailer.flush().await;
    let names = ["messaging.client.consumed.messages", "messaging.process.duration", "resilience.queue.lag"];
    collector.metrics("the consumer's metrics", |told| names.iter().all(|n| told.iter().any(|t| t == n))).await;
    orders.flush().await;
    let names = ["messaging.client.sent.messages", "messaging.client.operation.duration"];
    collector.metrics("the producer's metrics", |told| names.iter().all(|n| told.iter().any(|t| t == n))).await;
}

#[tokio::test]
async fn a_batch_links_to_all_its_producers() {
    let collector = Collector::start().await;
    let orders = agent("orders", &collector, "").await;
    let batch = [headers_of(&orders).await, headers_of(&orders).await, Headers::new()];
    let consumer = orders.consumer("in_process", "order.events");
    consumer.process_batch(&batch, async { Ok::<_, Infallible>(()) }).await.unwrap();
    let spans = collector.spans("five spans", |spans| spans.len() == 5).await;
    let together = of_kind(&spans, SpanKind::Consumer).remove(0);
    let mut linked: Vec<_> = together.span.links.iter().map(|link| link.span_id.clone()).collect();
    let mut sent: Vec<_> = of_kind(&spans, SpanKind::Producer).into_iter().map(|s| s.span.span_id).collect();
    linked.sort();
    sent.sort();
    assert_eq!(linked, sent);
    assert_eq!(together.text("messaging.batch.message_count").as_deref(), Some("3"));
    assert!(together.span.parent_span_id.is_empty());
}

#[tokio::test]
async fn a_broker_that_is_down_opens_the_breaker_of_its_destination() {
    let collector = Collector::start().await;
    let policy = r#"
        [[edge]]
        service = "order.events"
        operation = "publish"
        retry = { max_attempts = 3, backoff = { base_ms = 1, max_ms = 1 } }
        breaker = { consecutive_failures = 4, open_ms = 60000 }
    "#;
    let orders = agent("orders", &collector, policy).await;
    let (tried, producer) = (AtomicUsize::new(0), orders.producer("in_process", "order.events"));
    let down = |_: Headers| async {
        tried.fetch_add(1, Ordering::SeqCst);
        Err::<(), _>("no broker")
    };
    let sent = producer.send_with(Headers::new(), down, |_| "unavailable").await.unwrap_err();
    assert!(matches!(sent, PublishError::Failed("no broker")));
    assert_eq!(tried.swap(0, Ordering::SeqCst), 1, "it may have been taken: not tried again");
    let sent = producer.send_with(Headers::new(), down, |_| "connect").await.unwrap_err();
    assert!(matches!(sent, PublishError::Failed("no broker")));
    assert_eq!(tried.swap(0, Ordering::SeqCst), 3, "it never left: tried again");
    let sent = producer.clone().idempotent().send(Headers::new(), down).await.unwrap_err();
    assert!(matches!(&sent, PublishError::Refused(refusal) if refusal.rule == "breaker"), "{sent}");
    assert_eq!(tried.load(Ordering::SeqCst), 0);
    let spans = collector.spans("the refused publish", |s| of_kind(s, SpanKind::Producer).len() == 3).await;
    let refused = spans.iter().find(|s| s.text("resilience.refused_by").is_some()).unwrap();
    assert_eq!(refused.text("messaging.destination.name").as_deref(), Some("order.events"));
}

/// What is to come of a message, as a [`Shelf`] was told.
#[derive(Debug, Clone, PartialEq)]
enum Told {
    Ack,
    Retry(Duration),
    Dead(String),
    Requeue,
}

/// A queue in memory that hands out again what it is told to, without pauses.
#[derive(Clone)]
struct Shelf {
    waiting: Arc<Mutex<Vec<(Headers, u32)>>>,
    told: mpsc::Sender<Told>,
}

struct Item {
    shelf: Shelf,
    headers: Headers,
    delivery: u32,
}

impl Shelf {
    fn with(messages: Vec<Headers>) -> (Self, mpsc::Receiver<Told>) {
        let (told, heard) = mpsc::channel(64);
        let waiting = Arc::new(Mutex::new(messages.into_iter().map(|headers| (headers, 1)).collect()));
        (Self { waiting, told }, heard)
    }
}

impl Source for Shelf {
    type Message = u32;
    type Settle = Item;

    async fn take(&mut self, room: usize) -> Result<Vec<Taken<u32, Item>>, BrokerError> {
        let some: Vec<_> = {
            let mut waiting = self.waiting.lock().unwrap();
            let count = room.min(waiting.len());
            waiting.drain(..count).collect()
        };
        if some.is_empty() {
            tokio::task::yield_now().await;
        }
        let taken = some.into_iter().map(|(headers, delivery)| {
            let incoming = Incoming::from_headers(&headers).delivery(delivery);
            Taken { incoming, message: delivery, settle: Item { shelf: self.clone(), headers, delivery } }
        });
        Ok(taken.collect())
    }

    async fn depth(&mut self) -> Option<u64> {
        Some(self.waiting.lock().unwrap().len() as u64)
    }
}

impl Item {
    fn tell(self, told: Told) -> Result<(), BrokerError> {
        if matches!(told, Told::Retry(_) | Told::Requeue) {
            self.shelf.waiting.lock().unwrap().push((self.headers, self.delivery + 1));
        }
        self.shelf.told.try_send(told)?;
        Ok(())
    }
}

impl Settle for Item {
    async fn ack(self) -> Result<(), BrokerError> {
        self.tell(Told::Ack)
    }

    async fn retry(self, after: Duration) -> Result<(), BrokerError> {
        self.tell(Told::Retry(after))
    }

    async fn dead(self, why: &str) -> Result<(), BrokerError> {
        self.tell(Told::Dead(why.to_owned()))
    }

    async fn requeue(self) -> Result<(), BrokerError> {
        self.tell(Told::Requeue)
    }
}

/// Handles one message as told until `many` words were heard.
async fn handle<F>(
    mailer: &Agent,
    message: Headers,
    handling: Handling,
    many: usize,
    handler: impl Fn(u32) -> F + Send + Sync + 'static,
) -> Vec<Told>
where
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let (shelf, mut told) = Shelf::with(vec![message]);
    let consumer = mailer.consumer("in_process", "order.events");
    let mut heard = Vec::new();
    tokio::select! {
        ended = consumer.run(shelf, handling, pending(), handler) => panic!("ended: {ended:?}"),
        () = soon("what becomes of it", async {
            while heard.len() < many {
                heard.push(told.recv().await.unwrap());
            }
        }) => {}
    }
    heard
}

#[tokio::test]
async fn a_message_that_fails_comes_again_after_growing_pauses_until_it_is_a_dead_letter() {
    let collector = Collector::start().await;
    let mailer = agent("mailer", &collector, "").await;
    let pauses = (Duration::from_millis(10), Duration::from_millis(15));
    let handling = Handling::default().max_deliveries(3).backoff(pauses.0, pauses.1);
    let fails = |_| async { Err(std::io::Error::other("no mail server"))? };
    let told = handle(&mailer, Headers::new(), handling.clone(), 3, fails).await;
    assert_eq!(told, [Told::Retry(pauses.0), Told::Retry(pauses.1), Told::Dead("no mail server".to_owned())]);
    let once = |_| async { Err(Failure::reject("no such address")) };
    let told = handle(&mailer, Headers::new(), handling.clone(), 1, once).await;
    assert_eq!(told, [Told::Dead("no such address".to_owned())]);
    let exactly = |delivery| async move {
        if delivery == 1 { Err(Failure::after(Duration::from_secs(7), "not yet")) } else { Ok(()) }
    };
    let told = handle(&mailer, Headers::new(), handling, 2, exactly).await;
    assert_eq!(told, [Told::Retry(Duration::from_secs(7)), Told::Ack]);
    let spans = collector.spans("six deliveries", |spans| spans.len() == 6).await;
    let dead = spans.iter().find(|s| s.text("resilience.delivery").as_deref() == Some("3")).unwrap();
    assert_eq!(dead.text("resilience.settled").as_deref(), Some("dead_letter"));
    let logs = collector.logs("both dead letters", |logs| logs.len() == 2).await;
    assert_eq!(logs[0].trace_id, dead.span.trace_id);
}

#[tokio::test]
async fn panics_and_overlong_handlers_count_as_failures_and_always_requeueing_ends_too() {
    let collector = Collector::start().await;
    let mailer = agent("mailer", &collector, "").await;
    let handling = Handling::default().max_deliveries(2).timeout(Duration::from_millis(30));
    let panics = |_| async { panic!("a bug") };
    let told = handle(&mailer, Headers::new(), handling.clone(), 2, panics).await;
    assert_eq!(told, [Told::Retry(Duration::from_secs(1)), Told::Dead("the handler panicked".to_owned())]);
    let hangs = |_| pending();
    let told = handle(&mailer, Headers::new(), handling.clone(), 2, hangs).await;
    assert_eq!(told[1], Told::Dead("processing took longer than 30 ms".to_owned()));
    let refuses = |_| async { Err(Failure::requeue("not me")) };
    let told = handle(&mailer, Headers::new(), handling, 2, refuses).await;
    assert_eq!(told, [Told::Requeue, Told::Dead("not me".to_owned())]);
}

#[tokio::test]
async fn what_is_under_way_when_the_consumer_stops_goes_back() {
    let collector = Collector::start().await;
    let mailer = agent("mailer", &collector, "").await;
    let (shelf, mut told) = Shelf::with(vec![Headers::new()]);
    let (begun, has_begun) = oneshot::channel();
    let begun = Mutex::new(Some(begun));
    let handler = move |_| {
        let begun = begun.lock().unwrap().take().map(|tell| OnDrop(Some(tell)));
        async move {
            drop(begun);
            pending().await
        }
    };
    let handling = Handling::default().stop_within(Duration::from_millis(10));
    let stop = async { has_begun.await.unwrap() };
    let consumer = mailer.consumer("in_process", "order.events");
    soon("the end", consumer.run(shelf, handling, stop, handler)).await.unwrap();
    assert_eq!(soon("its way back", told.recv()).await, Some(Told::Requeue));
    let spans = collector.spans("the dropped handler", |spans| spans.len() == 1).await;
    assert_eq!(spans[0].text("resilience.outcome").as_deref(), Some("cancelled"));
}

#[tokio::test]
async fn rules_for_processing_are_obeyed_and_rules_for_calls_are_not() {
    let collector = Collector::start().await;
    let policy = r#"
        [[edge]]
        service = "*"
        timeout = { attempt_ms = 1 }
        retry = { max_attempts = 1 }
    "#;
    let mailer = agent("mailer", &collector, policy).await;
    let slow = |_| async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(())
    };
    assert_eq!(handle(&mailer, Headers::new(), Handling::default(), 1, slow).await, [Told::Ack]);
    let policy = r#"
        [[edge]]
        service = "order.events"
        operation = "process"
        timeout = { attempt_ms = 10 }
        retry = { max_attempts = 2, backoff = { base_ms = 3, max_ms = 3, jitter = "none" } }
        breaker = { consecutive_failures = 2, open_ms = 300 }
    "#;
    let mailer = agent("mailer", &collector, policy).await;
    let dead = Told::Dead("processing took longer than 10 ms".to_owned());
    let told = handle(&mailer, Headers::new(), Handling::default(), 2, |_| pending()).await;
    assert_eq!(told, [Told::Retry(Duration::from_millis(3)), dead]);
    let paused = tokio::time::Instant::now();
    assert_eq!(handle(&mailer, Headers::new(), Handling::default(), 1, |_| async { Ok(()) }).await, [Told::Ack]);
    assert!(paused.elapsed() > Duration::from_millis(150), "the breaker is open: nothing is processed");
    let logs = collector.logs("the transition", |logs| logs.iter().any(|l| l.severity_text == "WARN")).await;
    assert!(logs.iter().any(|l| format!("{:?}", l.body).contains("breaker of order.events/process")));
}

#[tokio::test]
async fn messages_that_come_too_late_or_too_often_are_not_processed() {
    let collector = Collector::start().await;
    let (orders, mailer) = (agent("orders", &collector, "").await, agent("mailer", &collector, "").await);
    let producer = orders.producer("in_process", "order.events").with_deadline();
    let sending = producer.send(Headers::new(), |headers| async { Ok::<_, Infallible>(headers) });
    let late = fuseboard_agent::context::with_deadline(Duration::from_millis(50), sending).await.unwrap();
    let handled = Arc::new(AtomicUsize::new(0));
    let count = handled.clone();
    let counts = move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        async { Ok(()) }
    };
    tokio::time::sleep(Duration::from_millis(60)).await;
    let told = handle(&mailer, late.clone(), Handling::default().obey_deadline(), 1, counts.clone()).await;
    assert_eq!(told, [Told::Dead("its deadline has passed".to_owned())]);
    assert_eq!(handled.load(Ordering::SeqCst), 0);
    assert_eq!(handle(&mailer, late, Handling::default(), 1, counts.clone()).await, [Told::Ack]);
    assert_eq!(handled.swap(0, Ordering::SeqCst), 1, "nobody said that deadlines bind");

    // The second time it is handed out although nobody settled it: whoever had it died.
    let (shelf, mut told) = Shelf::with(Vec::new());
    shelf.waiting.lock().unwrap().push((Headers::new(), 2));
    let consumer = mailer.consumer("in_process", "order.events");
    let running = consumer.run(shelf, Handling::default().max_deliveries(1), pending(), counts);
    tokio::select! {
        ended = running => panic!("ended: {ended:?}"),
        word = soon("its end", told.recv()) => assert!(matches!(word, Some(Told::Dead(_))), "{word:?}"),
    }
    assert_eq!(handled.load(Ordering::SeqCst), 0);
}
