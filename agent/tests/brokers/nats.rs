//! Subjects and streams of a real NATS.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::consumer::{PullConsumer, pull};
use async_nats::jetstream::{self, Context, Message, stream};
use fuseboard_agent::messaging::Handling;
use fuseboard_agent::messaging::nats::NatsRequestError;
use futures_util::StreamExt as _;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use tempfile::TempDir;

use super::{Books, POLICY, Teller, answer, deliveries, next, one_trace, quick, was_refused};
use crate::collector::{Collector, soon};
use crate::daemon::{Daemon, free_port, program};
use crate::rig::agent;

/// A NATS with JetStream.
struct Server {
    directory: TempDir,
    binary: PathBuf,
    port: u16,
    daemon: Daemon,
}

impl Server {
    async fn start(test: &str) -> Option<Self> {
        let binary = program(test, "nats-server")?;
        let (directory, port) = (tempfile::tempdir().unwrap(), free_port());
        let daemon = Self::run(directory.path(), &binary, port);
        let mut server = Self { directory, binary, port, daemon };
        server.up().await;
        Some(server)
    }

    fn run(directory: &Path, binary: &Path, port: u16) -> Daemon {
        let (port, store) = (port.to_string(), directory.join("store").display().to_string());
        let arguments = ["-a", "127.0.0.1", "-p", &port, "-js", "-sd", &store];
        Daemon::start(directory, binary, &arguments.map(str::to_owned))
    }

    async fn up(&mut self) {
        let url = self.url();
        self.daemon.answers(|| async { async_nats::connect(&url).await.is_ok() }).await;
    }

    async fn again(&mut self) {
        self.daemon = Self::run(self.directory.path(), &self.binary, self.port);
        self.up().await;
    }

    fn url(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    async fn client(&self) -> Client {
        async_nats::connect(self.url()).await.unwrap()
    }

    /// A stream that takes orders and dead letters.
    async fn stream(&self) -> Context {
        let mut context = jetstream::new(self.client().await);
        context.set_timeout(Duration::from_secs(2));
        let config = stream::Config {
            name: "shop".to_owned(),
            subjects: vec!["orders".to_owned(), "dead".to_owned()],
            ..stream::Config::default()
        };
        context.get_or_create_stream(config).await.unwrap();
        context
    }
}

async fn pulling(context: &Context, ack_wait: Duration) -> PullConsumer {
    let config = pull::Config {
        durable_name: Some("mailer".to_owned()),
        filter_subject: "orders".to_owned(),
        ack_wait,
        ..pull::Config::default()
    };
    context.create_consumer_on_stream(config, "shop").await.unwrap()
}

#[tokio::test]
async fn a_message_of_a_stream_goes_through_fails_and_ends_as_a_dead_letter() {
    let Some(server) = Server::start("jetstream").await else { return };
    let collector = Collector::start().await;
    let (orders, mailer) = (agent("orders", &collector, "").await, agent("mailer", &collector, "").await);
    let stream = server.stream().await;
    let publisher = orders.jetstream_publisher(&stream, "orders").server("127.0.0.1", server.port);
    let (teller, mut heard) = Teller::new();
    let pull = pulling(&stream, Duration::from_secs(10)).await;
    let consumer = mailer.jetstream_consumer(pull, "orders").dead_letters("dead");
    let running = tokio::spawn(consumer.run(quick(), move |message| {
        let teller = teller.clone();
        async move { answer(&teller.tell(&message.payload).await) }
    }));

    let told = publisher.publish("fine".into()).await.unwrap();
    assert_eq!((told.stream.as_str(), told.duplicate), ("shop", false));
    next(&mut heard, "fine").await;
    let (producer, consumed) = one_trace(&collector, "mailer", "orders").await;
    assert_eq!(producer.text("messaging.system").as_deref(), Some("nats"));
    assert_eq!(producer.text("messaging.message.id"), consumed.text("messaging.message.id"));
    assert_eq!(consumed.text("messaging.consumer.group.name").as_deref(), Some("mailer"));

    publisher.publish("fails".into()).await.unwrap();
    let times = [next(&mut heard, "fails").await, next(&mut heard, "fails").await, next(&mut heard, "fails").await];
    assert!(times[1] - times[0] >= Duration::from_millis(100));
    assert!(times[2] - times[1] >= Duration::from_millis(200));
    publisher.publish("is poison".into()).await.unwrap();
    next(&mut heard, "is poison").await;
    let mut all = deliveries(&collector, 5, "orders").await;
    all.sort();
    let expected = [("1", "ack"), ("1", "dead_letter"), ("1", "retry"), ("2", "retry"), ("3", "dead_letter")];
    assert_eq!(all, expected.map(|(n, word)| (n.to_owned(), word.to_owned())));
    let shop = stream.get_stream("shop").await.unwrap();
    let dead = shop.get_last_raw_message_by_subject("dead").await.unwrap();
    assert_eq!(&*dead.payload, b"is poison");
    assert_eq!(dead.headers.get("x-fuseboard-dead-reason").unwrap().as_str(), "no such address");
    assert!(dead.headers.get("traceparent").is_some());
    mailer.flush().await;
    collector.metrics("the depth", |names| names.iter().any(|name| name == "resilience.queue.depth")).await;
    running.abort();
}

#[tokio::test]
async fn another_consumer_takes_over_and_whoever_is_slow_keeps_its_message() {
    let Some(server) = Server::start("jetstream takeover").await else { return };
    let collector = Collector::start().await;
    let mailer = agent("mailer", &collector, "").await;
    let stream = server.stream().await;
    let publisher = mailer.jetstream_publisher(&stream, "orders");
    let pull = pulling(&stream, Duration::from_millis(600)).await;
    publisher.publish("of the dead".into()).await.unwrap();
    let mut dies = pull.fetch().max_messages(1).messages().await.unwrap();
    let held = soon("the one that dies has it", dies.next()).await.unwrap().unwrap();
    assert_eq!(&*held.payload, b"of the dead");

    let (teller, mut heard) = Teller::new();
    let handler = move |message: Arc<Message>| {
        let teller = teller.clone();
        async move {
            match teller.tell(&message.payload).await.as_str() {
                "of the slow" => tokio::time::sleep(Duration::from_millis(1_500)).await,
                "of the stopped" => std::future::pending().await,
                _ => {}
            }
            Ok(())
        }
    };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stopped = async { drop(stopped.await) };
    let handling = Handling::default().stop_within(Duration::from_millis(50));
    let first = mailer.jetstream_consumer(pull.clone(), "orders");
    let first = tokio::spawn(first.run_until(stopped, handling, handler.clone()));
    next(&mut heard, "of the dead").await;
    assert_eq!(deliveries(&collector, 1, "orders").await[0], ("2".to_owned(), "ack".to_owned()));
    publisher.publish("of the slow".into()).await.unwrap();
    next(&mut heard, "of the slow").await;
    let both = deliveries(&collector, 2, "orders").await;
    assert!(both.contains(&("1".to_owned(), "ack".to_owned())), "{both:?}");
    publisher.publish("of the stopped".into()).await.unwrap();
    next(&mut heard, "of the stopped").await;
    stop.send(()).unwrap();
    soon("the end of the first", first).await.unwrap().unwrap();
    let second = tokio::spawn(mailer.jetstream_consumer(pull, "orders").run(Handling::default(), handler));
    next(&mut heard, "of the stopped").await;
    second.abort();
}

#[tokio::test]
async fn a_nats_that_crashes_opens_the_breaker_and_nothing_acknowledged_is_lost() {
    let Some(mut server) = Server::start("jetstream crash").await else { return };
    let collector = Collector::start().await;
    let orders = agent("orders", &collector, POLICY).await;
    let stream = server.stream().await;
    let publisher = orders.jetstream_publisher(&stream, "orders");
    let publish = async |text: String| publisher.publish(text.into()).await.map(drop);
    let mut books = Books::default();
    let receive = books.receiver();
    let pull = pulling(&stream, Duration::from_secs(1)).await;
    let consumer = orders.jetstream_consumer(pull, "orders");
    let running = tokio::spawn(consumer.run(Handling::default(), move |message| {
        receive(&message.payload);
        async { Ok(()) }
    }));
    for _ in 0..20 {
        books.send(&publish).await.unwrap();
    }
    server.daemon.kill();
    books.until_refused(&publish).await;
    was_refused(&collector, &orders, "orders").await;
    server.again().await;
    books.until_taken(&publish).await;
    books.nothing_is_lost().await;
    assert!(books.sent.len() > 20);
    running.abort();
}

#[tokio::test]
async fn core_subjects_carry_the_trace_and_requests_are_calls() {
    let Some(server) = Server::start("nats").await else { return };
    let collector = Collector::start().await;
    let policy = r#"
        [[edge]]
        service = "stock"
        timeout = { attempt_ms = 5000 }
        retry = { max_attempts = 3, backoff = { base_ms = 20, max_ms = 20 } }
    "#;
    let orders = agent("orders", &collector, policy).await;
    let mailer = agent("mailer", &collector, "").await;
    let client = server.client().await;
    let (teller, mut heard) = Teller::new();
    let subscriber = mailer.nats_subscriber(&server.client().await, "orders").queue_group("mailer");
    let running = tokio::spawn(subscriber.run(quick(), move |message| {
        let teller = teller.clone();
        async move { answer(&teller.tell(&message.payload).await) }
    }));
    let publisher = orders.nats_publisher(&client, "orders");
    // It tells nobody when it listens.
    let first = soon("somebody listens", async {
        loop {
            publisher.publish("fine".into()).await.unwrap();
            if let Ok(Some(first)) = tokio::time::timeout(Duration::from_millis(50), heard.recv()).await {
                return first;
            }
        }
    });
    assert_eq!(first.await.0, "fine");
    one_trace(&collector, "mailer", "orders").await;
    publisher.publish("fails".into()).await.unwrap();
    next(&mut heard, "fails").await;
    let dropped = |s: &crate::collector::Got| s.text("resilience.settled").as_deref() == Some("drop");
    collector.spans("the failed one is gone", |spans| spans.iter().any(dropped)).await;
    running.abort();

    let asking = orders.nats_client(&client, "stock");
    let nobody = asking.request("stock.count", "17".into()).await.unwrap_err();
    assert!(matches!(nobody, NatsRequestError::Failed(_)), "{nobody}");
    let tried = |spans: &[crate::collector::Got]| spans.iter().filter(|s| s.text("rpc.method").is_some()).count();
    collector.spans("three attempts and their call", |spans| tried(spans) == 4).await;
    let mut answers = client.subscribe("stock.count").await.unwrap();
    let answering = tokio::spawn({
        let client = client.clone();
        async move {
            let asked = answers.next().await.unwrap();
            client.publish(asked.reply.clone().unwrap(), "4".into()).await.unwrap();
            asked
        }
    });
    client.flush().await.unwrap();
    let reply = asking.request("stock.count", "17".into()).await.unwrap();
    assert_eq!(&*reply.payload, b"4");
    let asked = soon("the question", answering).await.unwrap().headers.unwrap();
    assert!(asked.get("traceparent").is_some() && asked.get("x-fuseboard-timeout").is_some());
    let spans = collector.spans("the call", |spans| tried(spans) == 6).await;
    let mut calls = spans.iter().filter(|s| s.text("resilience.call").is_some() && s.text("rpc.method").is_some());
    assert!(calls.clone().all(|s| s.span.kind == SpanKind::Client as i32));
    assert_eq!(calls.next_back().unwrap().text("service.peer.name").as_deref(), Some("stock"));
}
