//! Streams of a real Redis.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fuseboard_agent::messaging::{Failure, Handling};
use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::streams::{StreamId, StreamRangeReply, StreamReadReply};
use redis::{AsyncCommands as _, Client, cmd};
use tempfile::TempDir;

use super::{Books, POLICY, Teller, answer, deliveries, next, one_trace, quick, was_refused};
use crate::collector::{Collector, soon};
use crate::daemon::{Daemon, free_port, program};
use crate::rig::agent;

/// A Redis that writes everything down at once.
struct Server {
    directory: TempDir,
    binary: PathBuf,
    port: u16,
    daemon: Daemon,
}

impl Server {
    async fn start(test: &str) -> Option<Self> {
        let binary = program(test, "redis-server")?;
        let (directory, port) = (tempfile::tempdir().unwrap(), free_port());
        let daemon = Self::run(directory.path(), &binary, port);
        let mut server = Self { directory, binary, port, daemon };
        server.up().await;
        Some(server)
    }

    fn run(directory: &Path, binary: &Path, port: u16) -> Daemon {
        let port = port.to_string();
        let directory_name = directory.display().to_string();
        let arguments = [
            ["--port", port.as_str()],
            ["--bind", "127.0.0.1"],
            ["--dir", directory_name.as_str()],
            ["--save", ""],
            ["--appendonly", "yes"],
            ["--appendfsync", "always"],
        ];
        Daemon::start(directory, binary, &arguments.concat().into_iter().map(str::to_owned).collect::<Vec<_>>())
    }

    async fn up(&mut self) {
        let client = self.client();
        self.daemon
            .answers(|| async {
                match client.get_multiplexed_async_connection().await {
                    Ok(mut connection) => cmd("PING").query_async::<String>(&mut connection).await.is_ok(),
                    Err(_) => false,
                }
            })
            .await;
    }

    async fn again(&mut self) {
        self.daemon = Self::run(self.directory.path(), &self.binary, self.port);
        self.up().await;
    }

    fn client(&self) -> Client {
        Client::open(format!("redis://127.0.0.1:{}", self.port)).unwrap()
    }

    async fn raw(&self) -> MultiplexedConnection {
        self.client().get_multiplexed_async_connection().await.unwrap()
    }

    /// A connection that is made again by itself.
    async fn connection(&self) -> ConnectionManager {
        let config = ConnectionManagerConfig::new()
            .set_min_delay(Duration::from_millis(20))
            .set_max_delay(Duration::from_millis(100));
        self.client().get_connection_manager_with_config(config).await.unwrap()
    }
}

fn body(entry: &StreamId) -> Vec<u8> {
    entry.get("body").unwrap()
}

#[tokio::test]
async fn an_entry_goes_through_fails_and_ends_as_a_dead_letter() {
    let Some(server) = Server::start("redis streams").await else { return };
    let collector = Collector::start().await;
    let (orders, mailer) = (agent("orders", &collector, "").await, agent("mailer", &collector, "").await);
    let publisher = orders.redis_publisher(server.connection().await, "orders").server("127.0.0.1", server.port);
    let (teller, mut heard) = Teller::new();
    let consumer = mailer.redis_consumer(server.connection().await, "orders", "mailer");
    let consumer = consumer.blocking_on(server.connection().await);
    let running = tokio::spawn(consumer.run(quick(), move |entry| {
        let teller = teller.clone();
        async move { answer(&teller.tell(&body(&entry)).await) }
    }));

    let id = publisher.publish(&[("body", b"fine")]).await.unwrap();
    next(&mut heard, "fine").await;
    let (producer, consumed) = one_trace(&collector, "mailer", "orders").await;
    assert_eq!(producer.text("messaging.system").as_deref(), Some("redis"));
    assert_eq!(producer.text("server.port"), Some(server.port.to_string()));
    assert_eq!(consumed.text("messaging.message.id"), Some(id));
    assert_eq!(consumed.text("messaging.consumer.group.name").as_deref(), Some("mailer"));

    publisher.publish(&[("body", b"fails")]).await.unwrap();
    let times = [next(&mut heard, "fails").await, next(&mut heard, "fails").await, next(&mut heard, "fails").await];
    assert!(times[1] - times[0] >= Duration::from_millis(100));
    assert!(times[2] - times[1] >= Duration::from_millis(200));
    publisher.publish(&[("body", b"is poison")]).await.unwrap();
    next(&mut heard, "is poison").await;
    let mut all = deliveries(&collector, 5, "orders").await;
    all.sort();
    let expected = [("1", "ack"), ("1", "dead_letter"), ("1", "retry"), ("2", "retry"), ("3", "dead_letter")];
    assert_eq!(all, expected.map(|(n, word)| (n.to_owned(), word.to_owned())));
    let dead: StreamRangeReply = server.raw().await.xrange_all("orders:dead").await.unwrap();
    let reasons: Vec<String> = dead.ids.iter().filter_map(|entry| entry.get("dead.reason")).collect();
    assert_eq!(reasons, ["no mail server", "no such address"]);
    assert_eq!(body(&dead.ids[0]), b"fails");
    assert!(dead.ids[0].contains_key("traceparent"), "its trace is known");
    let pending: redis::Value =
        cmd("XPENDING").arg("orders").arg("mailer").query_async(&mut server.raw().await).await.unwrap();
    assert!(format!("{pending:?}").starts_with("array([int(0)"), "{pending:?}");
    mailer.flush().await;
    collector.metrics("the depth", |names| names.iter().any(|name| name == "resilience.queue.depth")).await;
    running.abort();
}

#[tokio::test]
async fn another_consumer_takes_over_what_a_dead_one_had_and_a_stopped_one_gives_back() {
    let Some(server) = Server::start("redis takeover").await else { return };
    let collector = Collector::start().await;
    let mailer = agent("mailer", &collector, "").await;
    let publisher = mailer.redis_publisher(server.connection().await, "orders");
    publisher.publish(&[("body", b"of the dead")]).await.unwrap();
    let mut raw = server.raw().await;
    let _: () = raw.xgroup_create("orders", "mailer", "0").await.unwrap();
    let mut read = cmd("XREADGROUP");
    read.arg("GROUP").arg("mailer").arg("dies").arg("STREAMS").arg("orders").arg(">");
    let taken: StreamReadReply = read.query_async(&mut raw).await.unwrap();
    assert_eq!(taken.keys[0].ids.len(), 1);

    let (teller, mut heard) = Teller::new();
    let handler = move |entry: std::sync::Arc<StreamId>| {
        let teller = teller.clone();
        async move {
            if teller.tell(&body(&entry)).await == "of the stopped" {
                // It outlives the silence after which it would be taken away: who lives is not silent.
                tokio::time::sleep(Duration::from_millis(600)).await;
                return std::future::pending::<Result<(), Failure>>().await;
            }
            Ok(())
        }
    };
    let consumer = mailer.redis_consumer(server.connection().await, "orders", "mailer");
    let consumer = consumer.claim_after(Duration::from_millis(300));
    let handling = Handling::default().stop_within(Duration::from_millis(700));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stopped = async { drop(stopped.await) };
    let first = tokio::spawn(consumer.clone().name("first").run_until(stopped, handling, handler.clone()));
    next(&mut heard, "of the dead").await;
    assert_eq!(deliveries(&collector, 1, "orders").await[0], ("2".to_owned(), "ack".to_owned()));

    publisher.publish(&[("body", b"of the stopped")]).await.unwrap();
    next(&mut heard, "of the stopped").await;
    let second = tokio::spawn(consumer.name("second").run(Handling::default(), handler));
    stop.send(()).unwrap();
    soon("the end of the first", first).await.unwrap().unwrap();
    next(&mut heard, "of the stopped").await;
    assert!(heard.try_recv().is_err(), "nobody took it while the first lived");
    second.abort();
}

#[tokio::test]
async fn a_redis_that_crashes_opens_the_breaker_and_nothing_acknowledged_is_lost() {
    let Some(mut server) = Server::start("redis crash").await else { return };
    let collector = Collector::start().await;
    let orders = agent("orders", &collector, POLICY).await;
    let publisher = orders.redis_publisher(server.connection().await, "orders");
    let publish = async |text: String| publisher.publish(&[("body", text.as_bytes())]).await.map(drop);
    let mut books = Books::default();
    let receive = books.receiver();
    let consumer = orders.redis_consumer(server.connection().await, "orders", "mailer");
    let consumer = consumer.claim_after(Duration::from_millis(500));
    let running = tokio::spawn(consumer.run(Handling::default(), move |entry| {
        receive(&body(&entry));
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
