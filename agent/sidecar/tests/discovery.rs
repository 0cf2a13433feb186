//! Upstreams that are looked up, and the service that is announced: in a real etcd, and in small servers that do what Consul's and
//! DNS's documents say of the calls that are used.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::routing::{get, put};
use axum::{Json, Router};
use fuseboard_agent::discovery::{Discovery as _, Etcd, Instance, LeaseState};
use serde_json::{Value, json};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt as _;

use crate::daemon::{Daemon, free_port, program};
use crate::rig::{serve, sidecar, soon};

/// An upstream without addresses, and where it is looked up.
fn looked_up(discovery: &str) -> String {
    format!(
        "discovery = {{ {discovery} }}\n[[outbound]]\nlisten = \"127.0.0.1:0\"\nto = \"bank\"\n[[upstream]]\nservice = \"bank\"\n"
    )
}

async fn bank(name: &'static str) -> SocketAddr {
    serve(Router::new().route("/", get(move || async move { name }))).await
}

async fn answer(url: &str) -> String {
    soon(reqwest::get(url)).await.unwrap().text().await.unwrap()
}

async fn etcd(folder: &std::path::Path) -> Option<(Daemon, String)> {
    let binary = program("an_upstream_is_found_in_etcd_and_the_service_announced_there", "etcd")?;
    let [client, peer] = [free_port(), free_port()].map(|port| format!("http://127.0.0.1:{port}"));
    let cluster = format!("t1={peer}");
    let arguments = [
        ["--name", "t1"],
        ["--data-dir", "data"],
        ["--listen-client-urls", &client],
        ["--advertise-client-urls", &client],
        ["--listen-peer-urls", &peer],
        ["--initial-advertise-peer-urls", &peer],
        ["--initial-cluster", &cluster],
        ["--log-level", "error"],
    ];
    let arguments: Vec<_> = arguments.concat().into_iter().map(str::to_owned).collect();
    let mut daemon = Daemon::start(folder, &binary, &arguments);
    let health = format!("{client}/health");
    daemon.answers(|| async { reqwest::get(&health).await.is_ok_and(|answer| answer.status().is_success()) }).await;
    Some((daemon, client))
}

#[tokio::test]
async fn an_upstream_is_found_in_etcd_and_the_service_announced_there() {
    let folder = tempfile::tempdir().unwrap();
    let Some((_daemon, url)) = etcd(folder.path()).await else { return };
    let source = Etcd::new([&url]).unwrap().ttl(Duration::from_secs(5));
    let known = Instance::at(bank("first").await.to_string()).unwrap();
    let first = source.register("bank", known).unwrap();
    soon(first.states().wait_for(|state| *state == LeaseState::Kept)).await.unwrap();
    let text = looked_up(&format!("etcd = {{ endpoints = [{url:?}] }}, announce = \"10.0.0.5:8080\""));
    let beside = sidecar(&text, "").await;
    assert_eq!(answer(&beside.outbound("/")).await, "first");

    let mut shops = source.watch("shop");
    let announced = soon(async {
        loop {
            let now = shops.next().await.unwrap();
            if let Some(shop) = now.instances.first() {
                return shop.address.clone();
            }
        }
    });
    assert_eq!(announced.await, "10.0.0.5:8080");

    let known = Instance::at(bank("second").await.to_string()).unwrap();
    let _second = source.register("bank", known).unwrap();
    soon(first.end()).await.unwrap();
    // The sidecar learns of it by a watch of its own, and no request may fail meanwhile.
    soon(async { while answer(&beside.outbound("/")).await != "second" {} }).await;

    beside.end().await;
    soon(async { while !shops.next().await.unwrap().instances.is_empty() {} }).await;
}

/// Where a catalogue stands, and what it was told.
#[derive(Clone)]
struct Catalogue {
    bank: SocketAddr,
    index: Arc<watch::Sender<u64>>,
    told: mpsc::Sender<(String, Value)>,
    tokens: Arc<Mutex<Vec<Option<String>>>>,
}

impl Catalogue {
    async fn health(
        State(it): State<Self>,
        Path(name): Path<String>,
        Query(query): Query<Vec<(String, String)>>,
        headers: HeaderMap,
    ) -> impl IntoResponse {
        it.tokens.lock().unwrap().push(headers.get("x-consul-token").map(|v| v.to_str().unwrap().to_owned()));
        let index = *it.index.borrow();
        if query.iter().any(|(key, value)| key == "index" && *value == index.to_string()) {
            // Nothing changes any more: this one waits until it is let go.
            let _ = it.index.subscribe().wait_for(|now| *now > index).await;
        }
        let service = json!({ "ID": "bank-1", "Service": "bank", "Address": "127.0.0.1", "Port": it.bank.port() });
        let all = if name == "bank" {
            vec![json!({ "Node": { "Address": "127.0.0.1" }, "Service": service, "Checks": [] })]
        } else {
            Vec::new()
        };
        ([("x-consul-index", index.to_string())], Json(all))
    }

    async fn register(State(it): State<Self>, body: String) {
        it.told.try_send(("register".to_owned(), serde_json::from_str(&body).unwrap())).unwrap();
    }

    async fn deregister(State(it): State<Self>, Path(id): Path<String>) {
        it.told.try_send(("deregister".to_owned(), Value::String(id))).unwrap();
    }
}

#[tokio::test]
async fn an_upstream_is_found_in_consul_and_the_service_announced_there() {
    let (told, mut telling) = mpsc::channel(8);
    let index = Arc::new(watch::Sender::new(7));
    let catalogue = Catalogue { bank: bank("consul's").await, index, told, tokens: Arc::default() };
    let router = Router::new()
        .route("/v1/health/service/{name}", get(Catalogue::health))
        .route("/v1/agent/service/register", put(Catalogue::register))
        .route("/v1/agent/service/deregister/{id}", put(Catalogue::deregister))
        .route("/v1/agent/check/pass/{id}", put(|| async {}));
    let at = serve(router.with_state(catalogue.clone())).await;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "letmein\n").unwrap();
    let consul = format!("consul = {{ address = \"http://{at}\", token_file = {token:?} }}");
    let beside = sidecar(&looked_up(&format!("{consul}, announce = \"10.0.0.5:8080\"")), "").await;
    assert_eq!(answer(&beside.outbound("/")).await, "consul's");
    let (what, service) = soon(telling.recv()).await.unwrap();
    assert_eq!((what.as_str(), &service["Address"], &service["Port"]), ("register", &json!("10.0.0.5"), &json!(8080)));
    beside.end().await;
    let (what, id) = soon(telling.recv()).await.unwrap();
    assert_eq!((what.as_str(), &id), ("deregister", &service["ID"]));
    assert!(catalogue.tokens.lock().unwrap().iter().all(|token| token.as_deref() == Some("letmein")));
}

#[tokio::test]
async fn an_upstream_is_found_in_dns() {
    let bank = bank("by name").await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut question = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut question).await {
            let _ = socket.send_to(&dns_answer(&question[..length]), from).await;
        }
    });
    let dns =
        format!("dns = {{ name = \"{{service}}.shop.test.\", port = {}, servers = [\"{server}\"] }}", bank.port());
    let beside = sidecar(&looked_up(&dns), "").await;
    assert_eq!(answer(&beside.outbound("/")).await, "by name");
}

/// 127.0.0.1 for `bank.shop.test`, nothing for all else (RFC 1035, 4).
fn dns_answer(question: &[u8]) -> Vec<u8> {
    const NAME: &[u8] = b"\x04bank\x04shop\x04test\0\x00\x01";
    let asked = question.get(12..12 + NAME.len()).unwrap_or_default();
    let found = asked.eq_ignore_ascii_case(NAME);
    let mut answer = question[..2].to_vec();
    answer.extend([0x84, 0, 0, 1, 0, u8::from(found), 0, 0, 0, 0]);
    // The name, type and class that were asked for; what follows them were extensions.
    let end = 12 + question[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
    answer.extend(&question[12..end]);
    if found {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    }
    answer
}
