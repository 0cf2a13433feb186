//! A deadline goes with a call, hop after hop.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use fuseboard_agent::context;
use fuseboard_agent::grpc::GrpcClient;
use fuseboard_policy::names;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tonic::Code;

use crate::collector::{Collector, soon};
use crate::rig::{Charger, agent, charge, payments};

async fn gateway(agent: &fuseboard_agent::Agent, client: GrpcClient) -> String {
    async fn pay(State(client): State<GrpcClient>) -> StatusCode {
        match charge(&client).await {
            Ok(()) => StatusCode::OK,
            Err(_) => StatusCode::BAD_GATEWAY,
        }
    }
    let router = Router::new().route("/pay/{id}", get(pay)).with_state(client).layer(agent.http_server());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

#[tokio::test]
async fn each_hop_gets_no_more_than_is_left() {
    let collector = Collector::start().await;
    let (web, payer) = (agent("web", &collector, "").await, agent("payments", &collector, "").await);
    let (tell, mut told) = mpsc::channel(1);
    let charger = Charger::start(&payer, move |_, _| {
        let (tell, left) = (tell.clone(), context::remaining());
        Box::pin(async move {
            tell.send(left).await.unwrap();
            Ok(())
        })
    })
    .await;
    let base = gateway(&web, payments(&web, &[&charger])).await;
    let limit = Duration::from_secs(30);
    let answer = reqwest::Client::new().get(format!("{base}/pay/1")).header(names::TIMEOUT_HEADER, "30S");
    assert_eq!(answer.send().await.unwrap().status(), 200);
    let left = soon("the second hop", told.recv()).await.unwrap().expect("a deadline");
    assert!(left < limit && left > limit / 2, "{left:?}");
    let spans = collector.spans("four spans", |spans| spans.len() == 4).await;
    assert!(spans.iter().all(|s| s.text(names::DEADLINE_LEFT_MS).is_some()));
    assert!(
        spans.iter().any(|s| s.span.name == "GET /pay/{id}" && s.text("http.route").as_deref() == Some("/pay/{id}"))
    );
}

#[tokio::test]
async fn a_handler_that_takes_too_long_is_dropped_and_answered_for() {
    let collector = Collector::start().await;
    let web = agent("web", &collector, "").await;
    let router = Router::new().route("/hang", get(std::future::pending::<StatusCode>)).layer(web.http_server());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let answer = reqwest::Client::new().get(format!("http://{address}/hang")).header(names::TIMEOUT_HEADER, "20m");
    assert_eq!(soon("an answer", answer.send()).await.unwrap().status(), StatusCode::GATEWAY_TIMEOUT);
    let spans = collector.spans("the request", |spans| spans.len() == 1).await;
    assert_eq!(spans[0].text(names::OUTCOME).as_deref(), Some("timeout"));
}

#[tokio::test]
async fn an_expired_call_fails_here_and_at_once() {
    let collector = Collector::start().await;
    let (web, payer) = (agent("web", &collector, "").await, agent("payments", &collector, "").await);
    let charger = Charger::start(&payer, |_, _| Box::pin(async { Ok(()) })).await;
    let client = payments(&web, &[&charger]);
    let refused = context::with_deadline(Duration::ZERO, charge(&client)).await.unwrap_err();
    assert_eq!((refused.code(), charger.calls()), (Code::DeadlineExceeded, 0));
    let spans = collector.spans("a ghost", |spans| spans.len() == 2).await;
    assert!(spans.iter().all(|s| s.text(names::REFUSED_BY).as_deref() == Some("deadline")));
}

#[tokio::test]
async fn a_retry_is_not_retried_further_down() {
    let policy = "[[edge]]\nservice = \"payments\"\n\
        retry = { max_attempts = 3, non_idempotent = true, backoff = { base_ms = 1, max_ms = 1 } }\n";
    let collector = Collector::start().await;
    let (web, payer) = (agent("web", &collector, policy).await, agent("payments", &collector, "").await);
    let down = |_, _| Box::pin(async { Err(tonic::Status::unavailable("down")) }) as _;
    let charger = Charger::start(&payer, down).await;
    let base = gateway(&web, payments(&web, &[&charger])).await;
    let ask = |attempt: &'static str| {
        reqwest::Client::new().get(format!("{base}/pay/1")).header(names::ATTEMPT_HEADER, attempt).send()
    };
    assert_eq!(ask("2").await.unwrap().status(), 502);
    assert_eq!(charger.calls(), 1);
    assert_eq!(ask("1").await.unwrap().status(), 502);
    assert_eq!(charger.calls(), 1 + 3);
}
