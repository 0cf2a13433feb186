//! tarpc calls: ids and deadline in tarpc's own context, connections made again.

use std::net::SocketAddr;

use fuseboard_agent::{Agent, context};
use fuseboard_policy::names;
use tarpc::client::RpcError;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::collector::{Collector, Got, soon};
use crate::rig::agent;

#[tarpc::service]
trait Stock {
    /// Milliseconds left, and whether a span is current.
    async fn reserve(n: u32) -> (u64, bool);
    /// Never answers.
    async fn hang();
}

#[derive(Clone)]
struct Shelf;

impl Stock for Shelf {
    async fn reserve(self, _: tarpc::context::Context, _: u32) -> (u64, bool) {
        let left = context::remaining().map_or(0, |left| u64::try_from(left.as_millis()).unwrap());
        (left, context::span_context().is_valid())
    }

    async fn hang(self, _: tarpc::context::Context) {
        std::future::pending().await
    }
}

async fn shelf(agent: &Agent, address: &str) -> (SocketAddr, JoinHandle<std::io::Result<()>>) {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = agent.tarpc_server();
    (address, tokio::spawn(async move { server.run(listener, Shelf.serve()).await }))
}

#[tokio::test]
async fn ids_and_deadline_travel() {
    let collector = Collector::start().await;
    let policy = "[[edge]]\nservice = \"stock\"\ntimeout = { overall_ms = 5000 }\n";
    let (orders, stock) = (agent("orders", &collector, policy).await, agent("stock", &collector, "").await);
    let (address, _server) = shelf(&stock, "127.0.0.1:0").await;
    let client = StockClient::from(orders.tarpc_client("stock", [address]).unwrap());
    let (left, traced) = client.reserve(tarpc::context::current(), 3).await.unwrap();
    assert!(traced && left <= 5000 && left > 1000, "{left} ms left");
    let spans = collector.spans("three spans", |spans| spans.len() == 3).await;
    let find = |pick: &dyn Fn(&&Got) -> bool| spans.iter().find(pick).unwrap();
    let call = find(&|s| s.text(names::CALL).is_some());
    let attempt = find(&|s| s.text(names::ATTEMPT).is_some());
    let server = find(&|s| s.service == "stock");
    assert_eq!(server.span.parent_span_id, attempt.span.span_id);
    assert_eq!(attempt.span.parent_span_id, call.span.span_id);
    assert_eq!((call.span.name.as_str(), server.span.name.as_str()), ("Stock/reserve", "Stock/reserve"));
    assert_eq!(server.text("rpc.system.name").as_deref(), Some("tarpc"));
}

#[tokio::test]
async fn a_timeout_cuts_and_the_connection_goes_on() {
    let collector = Collector::start().await;
    let policy = "[[edge]]\nservice = \"stock\"\noperation = \"Stock/hang\"\ntimeout = { attempt_ms = 30 }\n";
    let (orders, stock) = (agent("orders", &collector, policy).await, agent("stock", &collector, "").await);
    let (address, _server) = shelf(&stock, "127.0.0.1:0").await;
    let client = StockClient::from(orders.tarpc_client("stock", [address]).unwrap());
    let cut = soon("the cut", client.hang(tarpc::context::current())).await.unwrap_err();
    assert!(matches!(cut, RpcError::DeadlineExceeded), "{cut}");
    client.reserve(tarpc::context::current(), 1).await.unwrap();
    let cancelled = |s: &Got| s.service == "stock" && s.text(names::OUTCOME).as_deref() == Some("cancelled");
    collector.spans("the callee was cancelled", |spans| spans.iter().any(cancelled)).await;
}

#[tokio::test]
async fn an_instance_that_is_not_there_was_sent_nothing_and_another_is_asked() {
    let collector = Collector::start().await;
    let policy = "[[edge]]\nservice = \"stock\"\nretry = { max_attempts = 2, backoff = { base_ms = 1, max_ms = 1 } }\n";
    let (orders, stock) = (agent("orders", &collector, policy).await, agent("stock", &collector, "").await);
    let (address, _server) = shelf(&stock, "127.0.0.1:0").await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = StockClient::from(orders.tarpc_client("stock", [closed, address]).unwrap());
    // One of two calls goes to the closed port first.
    for _ in 0..2 {
        client.reserve(tarpc::context::current(), 1).await.unwrap();
    }
    let calls = |spans: &[Got], n: &str| spans.iter().filter(|s| s.text(names::ATTEMPTS).as_deref() == Some(n)).count();
    collector.spans("one and two attempts", |spans| calls(spans, "1") == 1 && calls(spans, "2") == 1).await;
}

#[tokio::test]
async fn a_broken_connection_is_made_again() {
    let collector = Collector::start().await;
    let policy = "[[edge]]\nservice = \"stock\"\n\
        retry = { max_attempts = 3, non_idempotent = true, backoff = { base_ms = 1, max_ms = 1 } }\n";
    let (orders, stock) = (agent("orders", &collector, policy).await, agent("stock", &collector, "").await);
    let (address, server) = shelf(&stock, "127.0.0.1:0").await;
    let client = StockClient::from(orders.tarpc_client("stock", [address]).unwrap());
    client.reserve(tarpc::context::current(), 1).await.unwrap();
    server.abort();
    assert!(server.await.unwrap_err().is_cancelled());
    let gone = client.reserve(tarpc::context::current(), 1).await.unwrap_err();
    assert!(!matches!(gone, RpcError::DeadlineExceeded), "{gone}");
    let (_, _server) = shelf(&stock, &address.to_string()).await;
    client.reserve(tarpc::context::current(), 1).await.unwrap();
}
