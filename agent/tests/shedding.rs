//! A service that refuses requests while its processor is busy.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use fuseboard_agent::Agent;
use fuseboard_policy::document::PolicyDocument;
use fuseboard_policy::{names, wire};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use tarpc::client::RpcError;
use tarpc::tokio_serde::formats::Bincode;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::Code;

use crate::collector::{Collector, Got, soon};
use crate::rig::{Charger, agent};

const SHED: &str = "[[service]]\nname = \"payments\"\nshed = { kind = \"bbr\", cpu_percent = 20 }\n";
/// So many requests hang; one after the other never needs more than one place.
const HUNG: usize = 5;
/// Nothing tells a caller that a load has risen; it asks again, not so often that its spans push each other out.
const BETWEEN: Duration = Duration::from_millis(10);

/// Payments whose processor is as busy as the switch says.
async fn payments(collector: &Collector, policy: &str) -> (Agent, Arc<AtomicBool>) {
    let busy = Arc::new(AtomicBool::new(false));
    let load = busy.clone();
    let agent = Agent::builder("payments")
        .otlp(collector.url())
        .control(collector.url())
        .default_policy_toml(policy)
        .processor_load(move || f64::from(u8::from(load.load(Ordering::SeqCst))));
    (agent.start().await.unwrap(), busy)
}

fn shed(got: &Got) -> bool {
    got.text(names::SHED).as_deref() == Some("true")
        && got.text(names::REFUSED_BY).as_deref() == Some("shed")
        && got.text(names::OUTCOME).as_deref() == Some("refused")
        && got.span.events.iter().any(|event| event.name == names::REFUSED_EVENT)
}

#[tokio::test]
async fn a_busy_grpc_service_refuses_what_it_cannot_take_and_recovers() {
    let collector = Collector::start().await;
    let (payer, busy) = payments(&collector, SHED).await;
    let charger = Charger::start(&payer, |number, _| {
        Box::pin(async move {
            if (10..10 + HUNG).contains(&number) {
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    })
    .await;
    let client = TraceServiceClient::connect(format!("http://{}", charger.address)).await.unwrap();
    let call = || {
        let mut client = client.clone();
        async move { client.export(ExportTraceServiceRequest::default()).await }
    };
    for _ in 1..10 {
        call().await.unwrap();
    }
    let mut hung = JoinSet::new();
    (0..HUNG).for_each(|_| drop(hung.spawn(call())));
    soon("all of them hang", async {
        while charger.calls() < 9 + HUNG {
            tokio::task::yield_now().await;
        }
    })
    .await;
    busy.store(true, Ordering::SeqCst);
    let status = soon("one is shed", async {
        loop {
            if let Err(status) = call().await {
                return status;
            }
            tokio::time::sleep(BETWEEN).await;
        }
    })
    .await;
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("requests are in flight"), "{status}");
    assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "1000");
    collector.spans("its span", |spans| spans.iter().any(shed)).await;
    busy.store(false, Ordering::SeqCst);
    soon("all is well again", async {
        while call().await.is_err() {
            tokio::time::sleep(BETWEEN).await;
        }
    })
    .await;
    payer.flush().await;
    collector.metrics("how many were shed", |names| names.iter().any(|n| n == "resilience.requests.shed")).await;
}

#[tokio::test]
async fn a_busy_http_service_does_so_when_a_live_policy_says_so() {
    let mut collector = Collector::start().await;
    let (payer, busy) = payments(&collector, "").await;
    let hang = Arc::new(AtomicUsize::new(0));
    let hanging = hang.clone();
    let router = Router::new().route("/quick", get(|| async { "done" })).route(
        "/slow",
        get(move || {
            hanging.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>()
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let router = router.layer(payer.http_server());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let client = reqwest::Client::new();

    let (mut session, _) = collector.session().await;
    let first = session.status("the first status", |_| true).await;
    session.policy(wire::policy(4, &PolicyDocument::parse(SHED).unwrap())).await;
    let status = session.status("shedding is on", |status| status.running == 4).await;
    assert_ne!(status.effective_hash, first.effective_hash, "the service's own side is part of what is in force");

    client.get(format!("{base}/quick")).send().await.unwrap().error_for_status().unwrap();
    let mut hung = JoinSet::new();
    (0..HUNG).for_each(|_| drop(hung.spawn(client.get(format!("{base}/slow")).send())));
    soon("all of them hang", async {
        while hang.load(Ordering::SeqCst) < HUNG {
            tokio::task::yield_now().await;
        }
    })
    .await;
    busy.store(true, Ordering::SeqCst);
    let answer = soon("one is shed", async {
        loop {
            let answer = client.get(format!("{base}/quick")).send().await.unwrap();
            if answer.status() != 200 {
                return answer;
            }
            tokio::time::sleep(BETWEEN).await;
        }
    })
    .await;
    assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (503, &"1".parse().unwrap()));
    collector.spans("its span", |spans| spans.iter().any(shed)).await;
}

#[tarpc::service]
trait Till {
    /// Never answers if `hang`.
    async fn open(hang: bool);
}

#[derive(Clone)]
struct Drawer(Arc<AtomicUsize>);

impl Till for Drawer {
    async fn open(self, _: tarpc::context::Context, hang: bool) {
        if hang {
            self.0.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
    }
}

#[tokio::test]
async fn a_busy_tarpc_service_does_so_and_its_callers_know_it_as_unavailable() {
    let collector = Collector::start().await;
    let (payer, busy) = payments(&collector, SHED).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let (hanging, server) = (Arc::new(AtomicUsize::new(0)), payer.tarpc_server());
    let drawer = Drawer(hanging.clone());
    tokio::spawn(async move { server.run(listener, drawer.serve()).await });
    // One that knows nothing of agents: what travels is tarpc's own.
    let plain = tarpc::serde_transport::tcp::connect(address, Bincode::default).await.unwrap();
    let plain = TillClient::new(tarpc::client::Config::default(), plain).spawn();
    plain.open(tarpc::context::current(), false).await.unwrap();
    let mut hung = JoinSet::new();
    for _ in 0..HUNG {
        let plain = plain.clone();
        hung.spawn(async move { plain.open(tarpc::context::current(), true).await });
    }
    soon("all of them hang", async {
        while hanging.load(Ordering::SeqCst) < HUNG {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let orders = agent("orders", &collector, "").await;
    let client = TillClient::from(orders.tarpc_client("payments", [address]).unwrap());
    busy.store(true, Ordering::SeqCst);
    let error = soon("one is shed", async {
        loop {
            if let Err(error) = client.open(tarpc::context::current(), false).await {
                return error;
            }
            tokio::time::sleep(BETWEEN).await;
        }
    })
    .await;
    assert!(matches!(&error, RpcError::Server(e) if e.detail.contains("requests are in flight")), "{error}");
    let unavailable = |got: &Got| got.service == "orders" && got.text("error.type").as_deref() == Some("unavailable");
    collector.spans("both sides", |spans| spans.iter().any(shed) && spans.iter().any(unavailable)).await;
}
