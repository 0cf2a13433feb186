//! Connections to instances: used again, within limits, and seen in metrics.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use fuseboard_agent::http::HttpClient;
use fuseboard_agent::{Agent, HttpMethod, PoolLimits};
use fuseboard_policy::names;
use http::{HeaderName, HeaderValue, Request, Response, Version};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::collector::{Collector, soon};
use crate::rig::{Charger, agent, charge, payments};

/// An HTTP server that counts; `/slow` answers when it is let.
#[derive(Clone)]
struct Bank {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    gate: Arc<Semaphore>,
}

impl Bank {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let bank = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            requests: Arc::default(),
            open: Arc::default(),
            gate: Arc::new(Semaphore::new(0)),
        };
        tokio::spawn(bank.clone().run(listener));
        bank
    }

    async fn run(self, listener: TcpListener) {
        let mut all = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            self.connections.fetch_add(1, Ordering::SeqCst);
            self.open.fetch_add(1, Ordering::SeqCst);
            let bank = self.clone();
            all.spawn(async move {
                let service = service_fn(|request| bank.clone().answer(request));
                let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
                bank.open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    }

    async fn answer(self, request: Request<hyper::body::Incoming>) -> Result<Response<Body>, Infallible> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        if request.uri().path().ends_with("/slow") {
            self.gate.acquire().await.unwrap().forget();
        }
        let told = format!("{:?} {}", request.version(), request.uri().path());
        let mut response = Response::new(Body::from(told));
        if request.uri().path() == "/last" {
            response.headers_mut().insert("connection", HeaderValue::from_static("close"));
        }
        Ok(response)
    }

    /// Waits until so many requests are here.
    async fn has(&self, requests: usize) {
        soon("the requests arrive", async {
            while self.requests.load(Ordering::SeqCst) < requests {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

async fn text(client: &HttpClient, path: &str) -> String {
    let answer = client.request(HttpMethod::GET, "/{path}", path).send().await.unwrap();
    String::from_utf8(answer.bytes().to_vec()).unwrap()
}

async fn bank_client(collector: &Collector, bank: &Bank, policy: &str) -> (Agent, HttpClient) {
    let payments = agent("payments", collector, policy).await;
    let client = payments.http_client("bank", bank.address).unwrap();
    (payments, client)
}

#[tokio::test]
async fn connections_are_used_again_and_a_path_goes_before() {
    let collector = Collector::start().await;
    let bank = Bank::open().await;
    let payments = agent("payments", &collector, "").await;
    let client = payments.http_client("bank", format!("http://{}/api/", bank.address)).unwrap();
    for _ in 0..5 {
        assert_eq!(text(&client, "/accounts").await, "HTTP/1.1 /api/accounts");
    }
    assert_eq!(bank.connections.load(Ordering::SeqCst), 1);
    let plain = payments.http_client("bank", bank.address).unwrap();
    for _ in 0..3 {
        text(&plain, "/last").await;
    }
    assert_eq!(bank.connections.load(Ordering::SeqCst), 4, "a server that closes is dialled again");
}

#[tokio::test]
async fn a_full_pool_refuses_after_its_wait_and_blames_nobody() {
    let collector = Collector::start().await;
    let bank = Bank::open().await;
    let policy = "[[edge]]\nservice = \"bank\"\nbreaker = { consecutive_failures = 1, open_ms = 60000 }\n\
        retry = { max_attempts = 3 }\n";
    let (payments, client) = bank_client(&collector, &bank, policy).await;
    let limits = PoolLimits::default().connections(2).waiting(1).wait(Duration::from_millis(50));
    let client = client.pool(limits);
    let slow = |client: &HttpClient| tokio::spawn(client.get("/slow").send());
    let taken = [slow(&client), slow(&client)];
    bank.has(2).await;
    let refused = client.get("/slow").send().await.unwrap_err();
    let refusal = refused.refusal().expect("a refusal");
    assert_eq!(refusal.rule, "pool");
    assert!(refusal.cause.contains("all 2 places stayed taken"), "{}", refusal.cause);
    payments.flush().await;
    let full = |name: &'static str, value: f64| {
        move |points: &[(String, f64)]| {
            points.iter().any(|(at, v)| at.starts_with(name) && at.contains("server.port") && *v == value)
        }
    };
    collector.points("all places are taken", full("resilience.pool.saturation", 1.0)).await;
    collector.points("two connections are active", full("http.client.open_connections", 2.0)).await;
    collector.points("two requests are active", full("http.client.active_requests", 2.0)).await;
    collector.points("the limit", full("resilience.pool.limit", 2.0)).await;

    // One who waits is served when a place is free.
    let waits = slow(&client);
    tokio::task::yield_now().await;
    bank.gate.add_permits(3);
    for call in taken.into_iter().chain([waits]) {
        soon("it is answered", call).await.unwrap().expect("the breaker is closed");
    }
    assert_eq!(bank.connections.load(Ordering::SeqCst), 2);
    let spans = collector.spans("the ghost", |spans| {
        spans.iter().any(|s| s.text(names::REFUSED_BY).as_deref() == Some("pool") && s.text(names::ATTEMPT).is_some())
    });
    let spans = spans.await;
    let ghosts = spans.iter().filter(|s| s.text(names::REFUSED_BY).as_deref() == Some("pool"));
    assert_eq!(ghosts.count(), 2, "the attempt and its call; it is not tried again");
}

#[tokio::test]
async fn an_attempt_that_is_over_while_it_waits_was_never_made() {
    let collector = Collector::start().await;
    let bank = Bank::open().await;
    let policy = "[[edge]]\nservice = \"bank\"\noperation = \"GET /quick\"\ntimeout = { attempt_ms = 30 }\n\
        breaker = { consecutive_failures = 1, open_ms = 60000 }\n";
    let (_payments, client) = bank_client(&collector, &bank, policy).await;
    let client = client.pool(PoolLimits::default().connections(1).wait(Duration::from_secs(20)));
    let taken = tokio::spawn(client.get("/slow").send());
    bank.has(1).await;
    let refused = soon("the refusal", client.get("/quick").send()).await.unwrap_err();
    assert_eq!(refused.refusal().map(|r| r.rule), Some("pool"), "{refused}");
    bank.gate.add_permits(1);
    taken.await.unwrap().unwrap();
    text(&client, "/quick").await;
}

#[tokio::test]
async fn idle_connections_close_when_their_time_has_come() {
    let collector = Collector::start().await;
    let bank = Bank::open().await;
    let (_payments, client) = bank_client(&collector, &bank, "").await;
    let client = client.pool(PoolLimits::default().idle(2).idle_timeout(Duration::from_millis(60)));
    let calls: Vec<_> = (0..4).map(|_| tokio::spawn(client.get("/slow").send())).collect();
    bank.has(4).await;
    bank.gate.add_permits(4);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    soon("all are closed", async {
        while bank.open.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(text(&client, "/again").await, "HTTP/1.1 /again");
}

#[tokio::test]
async fn http2_shares_one_connection() {
    let collector = Collector::start().await;
    let bank = Bank::open().await;
    let (_payments, client) = bank_client(&collector, &bank, "").await;
    let client = client.http2().pool(PoolLimits::default().requests(3).waiting(0));
    let calls: Vec<_> = (0..3).map(|_| tokio::spawn(client.get("/slow").send())).collect();
    bank.has(3).await;
    let refused = client.get("/slow").send().await.unwrap_err();
    assert_eq!(refused.refusal().map(|r| r.rule), Some("pool"));
    bank.gate.add_permits(3);
    for call in calls {
        assert_eq!(&**call.await.unwrap().unwrap().bytes(), b"HTTP/2.0 /slow");
    }
    assert_eq!(bank.connections.load(Ordering::SeqCst), 1);
    assert_eq!(format!("{:?}", Version::HTTP_2), "HTTP/2.0");
}

#[tokio::test]
async fn a_header_decides_on_the_instance_where_the_policy_says_so() {
    let collector = Collector::start().await;
    let (one, other) = (Bank::open().await, Bank::open().await);
    let policy =
        "[[edge]]\nservice = \"bank\"\nbalance = { algorithm = \"consistent_hash\", key = \"header:x-user-id\" }\n";
    let payments = agent("payments", &collector, policy).await;
    let client = payments.http_client("bank", [one.address, other.address]).unwrap();
    let mut met = std::collections::HashSet::new();
    for user in 0..24_u32 {
        let seen = || (one.requests.load(Ordering::SeqCst), other.requests.load(Ordering::SeqCst));
        let before = seen();
        for _ in 0..3 {
            let request = client.get("/accounts");
            request.header(HeaderName::from_static("x-user-id"), HeaderValue::from(user)).send().await.unwrap();
        }
        let after = (seen().0 - before.0, seen().1 - before.1);
        assert!(after == (3, 0) || after == (0, 3), "{after:?}");
        met.insert(after);
    }
    assert_eq!(met.len(), 2, "so many users do not all live on one instance");
}

#[tokio::test]
async fn grpc_takes_no_more_than_its_channels_carry() {
    let collector = Collector::start().await;
    let (orders, payer) = (agent("orders", &collector, "").await, agent("payments", &collector, "").await);
    let gate = Arc::new(Semaphore::new(0));
    let wait = gate.clone();
    let charger = Charger::start(&payer, move |_, _| {
        let wait = wait.clone();
        Box::pin(async move {
            wait.acquire().await.unwrap().forget();
            Ok(())
        })
    })
    .await;
    let limits = PoolLimits::default().connections(2).requests(2).waiting(0);
    let client = payments(&orders, &[&charger]).pool(limits);
    let mut calls = JoinSet::new();
    for _ in 0..4 {
        let client = client.clone();
        calls.spawn(async move { charge(&client).await });
    }
    soon("four are there", async {
        while charger.calls() < 4 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let refused = charge(&client).await.unwrap_err();
    assert!(refused.message().contains("pool rule"), "{refused}");
    orders.flush().await;
    let two = |points: &[(String, f64)]| {
        points.iter().any(|(at, open)| at.starts_with("resilience.pool.connections") && *open == 2.0)
    };
    collector.points("two channels are open", two).await;
    gate.add_permits(4);
    while let Some(call) = calls.join_next().await {
        call.unwrap().unwrap();
    }
}
