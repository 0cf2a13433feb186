//! Queues of a real RabbitMQ: it takes seconds to start, so one is there for all of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fuseboard_agent::messaging::rabbitmq::RabbitError;
use fuseboard_agent::messaging::{Failure, Handling, PublishError};
use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{BasicConsumeOptions, BasicGetOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use tempfile::TempDir;

use super::{Books, POLICY, Teller, answer, deliveries, next, one_trace, quick, was_refused};
use crate::collector::{Collector, soon};
use crate::daemon::{Daemon, free_port, program};
use crate::rig::agent;

/// Where Debian has it; the one on the path wants another user and directory.
const BINARY: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// An Erlang system boots in seconds on a machine that has nothing else to do.
const BOOT: Duration = Duration::from_secs(180);

/// A node, and the daemon that knows its name.
struct Server {
    directory: TempDir,
    ports: [u16; 3],
    env: PathBuf,
    node: Daemon,
    _epmd: Daemon,
}

impl Server {
    async fn start(test: &str) -> Option<Self> {
        let (epmd, env) = (program(test, "epmd")?, program(test, "env")?);
        if !Path::new(BINARY).exists() {
            program(test, "rabbitmq-server (Debian's)");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let ports = [free_port(), free_port(), free_port()];
        for part in ["epmd", "mnesia", "logs", "home"] {
            std::fs::create_dir(directory.path().join(part)).unwrap();
        }
        let conf = format!("listeners.tcp.1 = 127.0.0.1:{}\nloopback_users = none\n", ports[0]);
        std::fs::write(directory.path().join("rabbitmq.conf"), conf).unwrap();
        std::fs::write(directory.path().join("enabled_plugins"), "").unwrap();
        let arguments = ["-port".to_owned(), ports[2].to_string(), "-address".to_owned(), "127.0.0.1".to_owned()];
        let epmd = Daemon::start(&directory.path().join("epmd"), &epmd, &arguments);
        let node = Self::run(directory.path(), &env, ports);
        let mut server = Self { directory, ports, env, node, _epmd: epmd };
        server.up().await;
        Some(server)
    }

    fn run(directory: &Path, env: &Path, [port, distribution, epmd]: [u16; 3]) -> Daemon {
        let at = |name: &str| directory.join(name).display().to_string();
        let mut arguments = vec![
            format!("HOME={}", at("home")),
            format!("RABBITMQ_BASE={}", directory.display()),
            format!("RABBITMQ_NODENAME=fb{port}@localhost"),
            format!("RABBITMQ_CONFIG_FILE={}", at("rabbitmq.conf")),
            format!("RABBITMQ_MNESIA_BASE={}", at("mnesia")),
            format!("RABBITMQ_LOG_BASE={}", at("logs")),
            "RABBITMQ_LOGS=-".to_owned(),
            format!("RABBITMQ_ENABLED_PLUGINS_FILE={}", at("enabled_plugins")),
            format!("RABBITMQ_DIST_PORT={distribution}"),
            format!("ERL_EPMD_PORT={epmd}"),
            "ERL_EPMD_ADDRESS=127.0.0.1".to_owned(),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}".to_owned(),
            "RABBITMQ_CONF_ENV_FILE=/dev/null".to_owned(),
            // In the foreground: what is killed is the node.
            "RUNNING_UNDER_SYSTEMD=true".to_owned(),
        ];
        arguments.push(BINARY.to_owned());
        Daemon::start(directory, env, &arguments)
    }

    async fn up(&mut self) {
        let url = self.url();
        self.node
            .answers_within(BOOT, || async { Connection::connect(&url, ConnectionProperties::default()).await.is_ok() })
            .await;
    }

    async fn again(&mut self) {
        self.node = Self::run(self.directory.path(), &self.env, self.ports);
        self.up().await;
    }

    fn url(&self) -> String {
        format!("amqp://127.0.0.1:{}/%2f", self.ports[0])
    }

    /// A connection that recovers by itself.
    async fn connection(&self) -> Connection {
        let properties = ConnectionProperties::default()
            .configure_backoff(|backoff| {
                backoff
                    .with_min_delay(Duration::from_millis(50))
                    .with_max_delay(Duration::from_millis(300))
                    .without_max_times()
            })
            .enable_auto_recover();
        Connection::connect(&self.url(), properties).await.unwrap()
    }
}

async fn declare(channel: &Channel, queue: &str) {
    channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), FieldTable::default()).await.unwrap();
}

// On a single thread lapin recovers no connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_of_rabbitmq() {
    let Some(mut server) = Server::start("rabbitmq").await else { return };
    goes_through_fails_and_ends_as_a_dead_letter(&server).await;
    exchanges_are_destinations_and_keys_outlive_retries(&server).await;
    another_consumer_takes_over(&server).await;
    crashes_and_loses_nothing(&mut server).await;
}

async fn goes_through_fails_and_ends_as_a_dead_letter(server: &Server) {
    let collector = Collector::start().await;
    let (orders, mailer) = (agent("orders", &collector, "").await, agent("mailer", &collector, "").await);
    let connection = server.connection().await;
    let channel = connection.create_channel().await.unwrap();
    declare(&channel, "orders").await;
    let publisher = orders.rabbitmq_publisher(&channel, "orders").await.unwrap().server("127.0.0.1", server.ports[0]);
    let (teller, mut heard) = Teller::new();
    let consumer = mailer.rabbitmq_consumer(&connection.create_channel().await.unwrap(), "orders");
    let running = tokio::spawn(consumer.run(quick(), move |message| {
        let teller = teller.clone();
        async move { answer(&teller.tell(&message.data).await) }
    }));

    let about = BasicProperties::default().with_message_id("order-17".into());
    publisher.publish(b"fine", about).await.unwrap();
    next(&mut heard, "fine").await;
    let (producer, consumed) = one_trace(&collector, "mailer", "orders").await;
    assert_eq!(producer.text("messaging.system").as_deref(), Some("rabbitmq"));
    assert_eq!(producer.text("messaging.rabbitmq.destination.routing_key").as_deref(), Some("orders"));
    assert_eq!(consumed.text("messaging.message.id").as_deref(), Some("order-17"));

    publisher.publish(b"fails", BasicProperties::default()).await.unwrap();
    let times = [next(&mut heard, "fails").await, next(&mut heard, "fails").await, next(&mut heard, "fails").await];
    assert!(times[1] - times[0] >= Duration::from_millis(100));
    assert!(times[2] - times[1] >= Duration::from_millis(200));
    publisher.publish(b"is poison", BasicProperties::default()).await.unwrap();
    next(&mut heard, "is poison").await;
    let mut all = deliveries(&collector, 5, "orders").await;
    all.sort();
    let expected = [("1", "ack"), ("1", "dead_letter"), ("1", "retry"), ("2", "retry"), ("3", "dead_letter")];
    assert_eq!(all, expected.map(|(n, word)| (n.to_owned(), word.to_owned())));
    for text in ["fails", "is poison"] {
        let dead = channel.basic_get("orders.dead".into(), BasicGetOptions { no_ack: true }).await.unwrap().unwrap();
        assert_eq!(dead.delivery.data, text.as_bytes());
        let headers = dead.delivery.properties.headers().clone().unwrap();
        assert!(headers.contains_key("traceparent") && headers.contains_key("x-fuseboard-dead-reason"));
    }
    mailer.flush().await;
    collector.metrics("the depth", |names| names.iter().any(|name| name == "resilience.queue.depth")).await;
    running.abort();
}

async fn exchanges_are_destinations_and_keys_outlive_retries(server: &Server) {
    let collector = Collector::start().await;
    let orders = agent("orders", &collector, "").await;
    let connection = server.connection().await;
    let channel = connection.create_channel().await.unwrap();
    channel
        .exchange_declare("shop".into(), ExchangeKind::Topic, Default::default(), FieldTable::default())
        .await
        .unwrap();
    declare(&channel, "mailer.orders").await;
    let bind = QueueBindOptions::default();
    channel
        .queue_bind("mailer.orders".into(), "shop".into(), "order.*".into(), bind, FieldTable::default())
        .await
        .unwrap();
    let publisher = orders.rabbitmq_exchange(&channel, "shop").await.unwrap();
    let lost = publisher.publish_to("parcel.sent", b"", BasicProperties::default()).await.unwrap_err();
    assert!(matches!(lost, PublishError::Failed(RabbitError::Unroutable { .. })), "{lost}");

    let (teller, mut heard) = Teller::new();
    let consumer = orders.rabbitmq_consumer(&connection.create_channel().await.unwrap(), "mailer.orders");
    let running = tokio::spawn(consumer.of_exchange("shop").run(quick(), move |message| {
        let teller = teller.clone();
        async move {
            teller.tell(message.routing_key.as_str().as_bytes()).await;
            Err(Failure::after(Duration::from_millis(10), &message.exchange))
        }
    }));
    publisher.publish_to("order.paid", b"17", BasicProperties::default()).await.unwrap();
    for _ in 0..3 {
        next(&mut heard, "order.paid").await;
    }
    let all = deliveries(&collector, 3, "shop").await;
    assert!(all.contains(&("3".to_owned(), "dead_letter".to_owned())), "{all:?}");
    running.abort();
}

async fn another_consumer_takes_over(server: &Server) {
    let collector = Collector::start().await;
    let mailer = agent("mailer", &collector, "").await;
    let connection = server.connection().await;
    let channel = connection.create_channel().await.unwrap();
    declare(&channel, "parcels").await;
    let publisher = mailer.rabbitmq_publisher(&channel, "parcels").await.unwrap();
    publisher.publish(b"of the dead", BasicProperties::default()).await.unwrap();
    let dies = Connection::connect(&server.url(), ConnectionProperties::default()).await.unwrap();
    let taken = dies.create_channel().await.unwrap();
    let consume =
        taken.basic_consume("parcels".into(), "dies".into(), BasicConsumeOptions::default(), FieldTable::default());
    let held = soon("the one that dies has it", consume.await.unwrap().next()).await.unwrap().unwrap();
    assert_eq!(held.data, b"of the dead");
    dies.close(200, "dies".into()).await.unwrap();

    let (teller, mut heard) = Teller::new();
    let handler = move |message: Arc<Delivery>| {
        let teller = teller.clone();
        async move {
            match teller.tell(&message.data).await.as_str() {
                "of the stopped" => std::future::pending().await,
                _ => Ok(()),
            }
        }
    };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stopped = async { drop(stopped.await) };
    let handling = Handling::default().stop_within(Duration::from_millis(50));
    let first = mailer.rabbitmq_consumer(&connection.create_channel().await.unwrap(), "parcels");
    let first = tokio::spawn(first.run_until(stopped, handling, handler.clone()));
    next(&mut heard, "of the dead").await;
    assert_eq!(deliveries(&collector, 1, "parcels").await[0], ("2".to_owned(), "ack".to_owned()));
    publisher.publish(b"of the stopped", BasicProperties::default()).await.unwrap();
    next(&mut heard, "of the stopped").await;
    stop.send(()).unwrap();
    soon("the end of the first", first).await.unwrap().unwrap();
    let second = mailer.rabbitmq_consumer(&connection.create_channel().await.unwrap(), "parcels");
    let second = tokio::spawn(second.run(Handling::default(), handler));
    next(&mut heard, "of the stopped").await;
    second.abort();
}

async fn crashes_and_loses_nothing(server: &mut Server) {
    let collector = Collector::start().await;
    let orders = agent("orders", &collector, POLICY).await;
    let connection = server.connection().await;
    let channel = connection.create_channel().await.unwrap();
    declare(&channel, "numbers").await;
    let publisher = orders.rabbitmq_publisher(&channel, "numbers").await.unwrap();
    let publish = async |text: String| publisher.publish(text.as_bytes(), BasicProperties::default()).await;
    let mut books = Books::default();
    let receive = books.receiver();
    let consumer = orders.rabbitmq_consumer(&connection.create_channel().await.unwrap(), "numbers");
    let running = tokio::spawn(consumer.run(Handling::default(), move |message| {
        receive(&message.data);
        async { Ok(()) }
    }));
    for _ in 0..20 {
        books.send(&publish).await.unwrap();
    }
    server.node.kill();
    books.until_refused(&publish).await;
    was_refused(&collector, &orders, "numbers").await;
    server.again().await;
    books.until_taken(&publish).await;
    books.nothing_is_lost().await;
    assert!(books.sent.len() > 20);
    running.abort();
}
