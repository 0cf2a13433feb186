//! Discovery by Consul. There is no Consul on the machines where these tests run, so they run against a double: a small server that does
//! what Consul's documentation says of the calls that are used, and nothing else: blocking queries on an index of the whole
//! catalogue (which wakes those who wait for nothing, too), checks with a time to live, registration that is forgotten, an index that
//! begins again, an agent without a leader, ACL tokens.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use fuseboard_agent::discovery::{Consul, Discovery, DiscoveryError, Instance, LeaseState};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;

use super::etcd::known;
use crate::collector::soon;

const TOKEN: &str = "letmein";

#[derive(Default)]
struct Catalogue {
    /// By id: what was registered, and until when its check passes.
    services: HashMap<String, (Value, Instant)>,
    leaderless: bool,
}

#[derive(Clone)]
struct Double {
    catalogue: Arc<Mutex<Catalogue>>,
    index: watch::Sender<u64>,
    queries: Arc<AtomicUsize>,
    url: String,
}

impl Double {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let double = Self { catalogue: Arc::default(), index: watch::Sender::new(10), queries: Arc::default(), url };
        let router = Router::new()
            .route("/v1/health/service/{name}", get(health))
            .route("/v1/agent/service/register", put(register))
            .route("/v1/agent/service/deregister/{id}", put(deregister))
            .route("/v1/agent/check/pass/{id}", put(pass))
            .with_state(double.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        tokio::spawn(double.clone().expire());
        double
    }

    fn source(&self) -> Consul {
        Consul::new(&self.url).unwrap().token(TOKEN).unwrap().ttl(Duration::from_secs(1))
    }

    /// Wakes those who wait when a check's time is over, as Consul's own timers do.
    async fn expire(self) {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let now = Instant::now();
            let over = self
                .catalogue
                .lock()
                .unwrap()
                .services
                .values()
                .any(|(_, until)| *until <= now && *until + Duration::from_millis(60) > now);
            if over {
                self.changed();
            }
        }
    }

    fn changed(&self) {
        self.index.send_modify(|index| *index += 1);
    }

    fn allowed(&self, headers: &HeaderMap) -> Result<(), (StatusCode, &'static str)> {
        if headers.get("x-consul-token").is_none_or(|token| token != TOKEN) {
            return Err((StatusCode::FORBIDDEN, "Permission denied"));
        }
        if self.catalogue.lock().unwrap().leaderless {
            return Err((StatusCode::INTERNAL_SERVER_ERROR, "No cluster leader"));
        }
        Ok(())
    }
}

async fn health(
    State(double): State<Double>,
    Path(name): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    double.queries.fetch_add(1, Ordering::SeqCst);
    if let Err(refused) = double.allowed(&headers) {
        return refused.into_response();
    }
    let asked: u64 = query.get("index").map_or(0, |index| index.parse().unwrap());
    if asked > 0 {
        let wait: u64 = query["wait"].trim_end_matches('s').parse().unwrap();
        let mut index = double.index.subscribe();
        // Blocks while the index is the one that is known; a lower one comes back at once.
        let _ = tokio::time::timeout(Duration::from_secs(wait), index.wait_for(|now| *now != asked)).await;
    }
    let index = *double.index.borrow();
    let now = Instant::now();
    let catalogue = double.catalogue.lock().unwrap();
    let passing = catalogue.services.values().filter(|(service, until)| service["Name"] == name && *until > now);
    let entries: Vec<Value> = passing
        .map(|(service, _)| {
            json!({ "Node": { "Node": "n1", "Address": "127.0.0.1" }, "Checks": [], "Service": {
                "ID": service["ID"], "Service": service["Name"], "Address": service["Address"], "Port": service["Port"],
                "Meta": service["Meta"], "Weights": service["Weights"],
            } })
        })
        .collect();
    let headers = [("x-consul-index", index.to_string()), ("x-consul-knownleader", "true".to_owned())];
    (headers, Json(entries)).into_response()
}

async fn register(State(double): State<Double>, headers: HeaderMap, Json(service): Json<Value>) -> Response {
    if let Err(refused) = double.allowed(&headers) {
        return refused.into_response();
    }
    let until = Instant::now() + ttl(&service);
    let id = service["ID"].as_str().unwrap().to_owned();
    double.catalogue.lock().unwrap().services.insert(id, (service, until));
    double.changed();
    StatusCode::OK.into_response()
}

fn ttl(service: &Value) -> Duration {
    Duration::from_secs(service["Check"]["TTL"].as_str().unwrap().trim_end_matches('s').parse().unwrap())
}

async fn deregister(State(double): State<Double>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    if let Err(refused) = double.allowed(&headers) {
        return refused.into_response();
    }
    match double.catalogue.lock().unwrap().services.remove(&id) {
        Some(_) => {
            double.changed();
            StatusCode::OK.into_response()
        }
        None => (StatusCode::NOT_FOUND, "Unknown service ID").into_response(),
    }
}

async fn pass(State(double): State<Double>, Path(check): Path<String>, headers: HeaderMap) -> Response {
    if let Err(refused) = double.allowed(&headers) {
        return refused.into_response();
    }
    let mut catalogue = double.catalogue.lock().unwrap();
    let Some((service, until)) = catalogue.services.get_mut(check.trim_start_matches("service:")) else {
        return (StatusCode::NOT_FOUND, "Unknown check ID").into_response();
    };
    *until = Instant::now() + ttl(service);
    StatusCode::OK.into_response()
}

fn at(port: u16, id: &str) -> Instance {
    Instance::at(format!("127.0.0.1:{port}")).unwrap().named(id)
}

#[tokio::test]
async fn instances_are_kept_passing_found_and_taken_out() {
    let consul = Double::start().await;
    let source = consul.source();
    let mut watch = source.watch("payments");
    known(&mut watch, "nobody is there", |now| now.answered && now.instances.is_empty()).await;
    let mut instance = at(1, "pay-1").weighing(3);
    (instance.zone, instance.secure) = (Some("eu-1a".to_owned()), true);
    let lease = source.register("payments", instance.clone()).unwrap();
    let found = known(&mut watch, "it is found", |now| now.instances.len() == 1).await;
    assert_eq!(found.instances[0], instance);
    // Longer than its time to live: it is kept passing.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(source.instances("payments").await.unwrap().len(), 1);
    lease.end().await.unwrap();
    known(&mut watch, "it left", |now| now.instances.is_empty()).await;

    // One whose keeper died lapses.
    let dead = at(2, "pay-2");
    let body =
        json!({ "ID": dead.id, "Name": "payments", "Address": "127.0.0.1", "Port": 2, "Check": { "TTL": "1s" } });
    let put =
        reqwest::Client::new().put(format!("{}/v1/agent/service/register", consul.url)).header("x-consul-token", TOKEN);
    let put = put.header("content-type", "application/json").body(body.to_string()).send().await.unwrap();
    assert!(put.status().is_success());
    known(&mut watch, "it is there", |now| now.instances.len() == 1).await;
    known(&mut watch, "it lapsed", |now| now.instances.is_empty()).await;
}

#[tokio::test]
async fn a_consul_that_forgot_everything_is_told_again() {
    let consul = Double::start().await;
    let source = consul.source();
    let mut watch = source.watch("payments");
    let lease = source.register("payments", at(1, "pay-1")).unwrap();
    known(&mut watch, "it is found", |now| now.instances.len() == 1).await;
    consul.catalogue.lock().unwrap().services.clear();
    // The index begins again; whoever waited with the old one must not wait for ever.
    consul.index.send_replace(2);
    known(&mut watch, "it is gone", |now| now.instances.is_empty()).await;
    known(&mut watch, "it is registered again", |now| now.instances.len() == 1).await;
    drop(lease);
    known(&mut watch, "dropped, it leaves", |now| now.instances.is_empty()).await;
}

#[tokio::test]
async fn without_a_leader_what_was_known_stays() {
    let consul = Double::start().await;
    let source = consul.source();
    let mut watch = source.watch("payments");
    let lease = source.register("payments", at(1, "pay-1")).unwrap();
    known(&mut watch, "it is found", |now| now.instances.len() == 1).await;
    consul.catalogue.lock().unwrap().leaderless = true;
    consul.changed();
    let stale = known(&mut watch, "the outage", |now| now.stale.is_some()).await;
    assert_eq!(stale.instances.len(), 1);
    assert!(stale.stale.unwrap().error.contains("No cluster leader"));
    let trying = lease.states().wait_for(|state| matches!(state, LeaseState::Trying { .. })).await.map(|_| ());
    trying.unwrap();
    consul.catalogue.lock().unwrap().leaderless = false;
    known(&mut watch, "it is fresh again", |now| now.stale.is_none() && now.instances.len() == 1).await;
    soon("the lease is kept again", lease.kept()).await;

    let stranger = Consul::new(&consul.url).unwrap();
    let refused = stranger.instances("payments").await.unwrap_err();
    assert!(matches!(&refused, DiscoveryError::Refused { reason, .. } if reason.contains("403")), "{refused}");
}

#[tokio::test]
async fn changes_of_others_do_not_make_it_ask_without_end() {
    let consul = Double::start().await;
    let source = consul.source();
    let mut watch = source.watch("payments");
    known(&mut watch, "the first answer", |now| now.answered).await;
    let before = consul.queries.load(Ordering::SeqCst);
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until {
        consul.changed();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let asked = consul.queries.load(Ordering::SeqCst) - before;
    assert!((2..=8).contains(&asked), "{asked} questions in a second of changes");
}
