//! Limits and the request log of a server, over HTTP and gRPC.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::{Request, Response, StatusCode};
use axum::routing::{get, post};
use fuseboard_agent::guard::{Auth, Keys, Limits, RequestLog};
use fuseboard_policy::names;
use http_body_util::{BodyExt as _, StreamBody};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tower::{Layer as _, ServiceExt as _};

use crate::collector::{Collector, soon, text};
use crate::rig::agent;

fn from(host: u8, request: axum::http::request::Builder) -> axum::http::request::Builder {
    request.extension(ConnectInfo(SocketAddr::from(([10, 0, 0, host], 4000))))
}

async fn send(router: &Router, request: Request<Body>) -> Response<Body> {
    soon("an answer", router.clone().oneshot(request)).await.unwrap()
}

/// Answers with the length of the body it read.
fn measure() -> axum::routing::MethodRouter {
    post(|body: Bytes| async move { body.len().to_string() })
}

#[tokio::test]
async fn bodies_are_bounded_with_and_without_a_length() {
    let collector = Collector::start().await;
    let orders = agent("orders", &collector, "").await;
    let limits = Limits::default().body(1000).body_idle(Duration::from_millis(50));
    let router = Router::new().route("/", measure()).layer(orders.http_server().with_limits(limits));
    let whole = |size: usize| Request::post("/").body(Body::from(vec![0; size])).unwrap();
    assert_eq!(send(&router, whole(1000)).await.status(), StatusCode::OK);
    let answer = send(&router, whole(1001)).await;
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert!(answer.into_body().collect().await.unwrap().to_bytes().starts_with(b"the body is larger than"));
    let said = Request::post("/").header("content-length", "1001").body(Body::empty()).unwrap();
    assert_eq!(send(&router, said).await.status(), StatusCode::PAYLOAD_TOO_LARGE);

    // Pieces without a length: in time, then never again.
    let (tx, rx) = tokio::sync::mpsc::channel::<Result<_, Infallible>>(4);
    let piece = || Ok(http_body::Frame::data(Bytes::from_static(&[0; 600])));
    tx.send(piece()).await.unwrap();
    let slow = Body::new(StreamBody::new(ReceiverStream::new(rx)));
    let answer = send(&router, Request::post("/").body(slow).unwrap()).await;
    assert_eq!(answer.status(), StatusCode::REQUEST_TIMEOUT);
    drop(tx);
    let pieces = Body::new(StreamBody::new(futures_util::stream::iter([piece(), piece()])));
    assert_eq!(send(&router, Request::post("/").body(pieces).unwrap()).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    orders.flush().await;
    collector.metrics("the count", |names| names.iter().any(|name| name == "resilience.requests.refused")).await;
}

#[tokio::test]
async fn each_caller_has_a_rate_and_says_when_to_come_again() {
    let collector = Collector::start().await;
    let orders = agent("orders", &collector, "").await;
    let limits = Limits::default().rate_per_caller(1, 2);
    let router = Router::new().route("/", get(|| async { "hello" })).layer(orders.http_server().with_limits(limits));
    let ask = |host: u8| from(host, Request::get("/")).body(Body::empty()).unwrap();
    let mut refused = None;
    for _ in 0..20 {
        let answer = send(&router, ask(1)).await;
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            refused = Some(answer);
        }
    }
    let refused = refused.expect("twenty at once are too many");
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(send(&router, ask(2)).await.status(), StatusCode::OK);
    let spans =
        collector.spans("a refused one", |spans| spans.iter().any(|s| s.text(names::REFUSED_BY).is_some())).await;
    let span = spans.iter().find(|s| s.text(names::REFUSED_BY).is_some()).unwrap();
    assert_eq!(span.text(names::REFUSED_BY).as_deref(), Some("rate"));
    assert_eq!(span.text(names::OUTCOME).as_deref(), Some("refused"));
    assert_eq!(span.text("http.response.status_code").as_deref(), Some("429"));
}

#[tokio::test]
async fn a_place_is_held_until_the_answer_has_ended() {
    let collector = Collector::start().await;
    let orders = agent("orders", &collector, "").await;
    let (tx, rx) = tokio::sync::mpsc::channel::<Result<_, Infallible>>(1);
    let rx = std::sync::Arc::new(std::sync::Mutex::new(Some(rx)));
    let stream = move || {
        let body = rx.lock().unwrap().take().map(|rx| Body::new(StreamBody::new(ReceiverStream::new(rx))));
        std::future::ready(body.unwrap_or_default())
    };
    let limits = Limits::default().in_flight_per_caller(1).in_flight(2);
    let router = Router::new().route("/", get(stream)).layer(orders.http_server().with_limits(limits));
    let ask = |host: u8| from(host, Request::get("/")).body(Body::empty()).unwrap();
    let mut first = send(&router, ask(1)).await.into_body();
    assert_eq!(send(&router, ask(1)).await.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(send(&router, ask(2)).await.status(), StatusCode::OK);
    tx.send(Ok(http_body::Frame::data(Bytes::from_static(b"x")))).await.unwrap();
    drop(tx);
    while first.frame().await.is_some() {}
    assert_eq!(send(&router, ask(1)).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn grpc_is_told_in_its_own_words() {
    let collector = Collector::start().await;
    let orders = agent("orders", &collector, "").await;
    let service = orders.grpc_server().with_limits(Limits::default().rate(1, 1).body(10)).layer(tower::service_fn(
        |request: Request<tonic::body::Body>| async move {
            let read = request.into_body().collect().await;
            let status = read.map_or_else(|_| tonic::Status::internal("broken"), |_| tonic::Status::ok(""));
            Ok::<_, Infallible>(status.into_http::<tonic::body::Body>())
        },
    ));
    let call = |body: tonic::body::Body| {
        let request = Request::post("/shop.Orders/Get").header("content-type", "application/grpc").body(body).unwrap();
        let service = service.clone();
        async move { service.oneshot(request).await.unwrap() }
    };
    let code = |answer: &Response<_>| Code::from_bytes(answer.headers()["grpc-status"].as_bytes());
    let long = StreamBody::new(futures_util::stream::iter([Ok::<_, Infallible>(http_body::Frame::data(
        Bytes::from_static(&[0; 11]),
    ))]));
    let answer = call(tonic::body::Body::new(long)).await;
    assert_eq!((answer.status(), code(&answer)), (StatusCode::OK, Code::ResourceExhausted));
    assert!(answer.headers()["grpc-message"].to_str().unwrap().contains("larger"));
    let mut answer = call(tonic::body::Body::empty()).await;
    for _ in 0..20 {
        answer = call(tonic::body::Body::empty()).await;
    }
    assert_eq!((answer.status(), code(&answer)), (StatusCode::OK, Code::ResourceExhausted));
    assert_eq!(answer.headers()["grpc-retry-pushback-ms"], "1000");
}

#[tokio::test]
async fn who_is_not_let_in_uses_up_nothing() {
    let collector = Collector::start().await;
    let orders = agent("orders", &collector, "").await;
    let auth = Auth::jwt("orders", Keys::secret([7; 32]).unwrap()).open("/open");
    let layer = orders.http_server().with_limits(Limits::default().rate(1, 1)).with_auth(auth);
    let router = Router::new().route("/open", get(|| async {})).route("/shut", get(|| async {})).layer(layer);
    let ask = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    for _ in 0..50 {
        assert_eq!(send(&router, ask("/shut")).await.status(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!(send(&router, ask("/open")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn requests_are_logged_where_it_is_wanted_with_their_trace_and_without_secrets() {
    let collector = Collector::start().await;
    let orders = agent("orders", &collector, "").await;
    let log = RequestLog::default().route("/orders/*");
    let router = Router::new()
        .route("/orders/{id}", get(|| async { "seven" }))
        .route("/orders/{id}/broken", get(|| async { StatusCode::BAD_GATEWAY }))
        .route("/quiet", get(|| async {}))
        .layer(orders.http_server().with_log(log));
    for path in ["/quiet", "/orders/7?token=s3cret", "/orders/7/broken"] {
        let request = from(9, Request::get(path)).header("authorization", "s3cret").body(Body::empty()).unwrap();
        send(&router, request).await.into_body().collect().await.unwrap();
    }
    let logs = collector.logs("both", |logs| logs.len() >= 2).await;
    let spans = collector.spans("all", |spans| spans.len() == 3).await;
    assert_eq!(logs.len(), 2);
    for (log, (severity, begins)) in
        logs.iter().zip([("INFO", "GET /orders/7 200 in "), ("ERROR", "GET /orders/7/broken 502")])
    {
        assert_eq!((log.severity_text.as_str(), log.event_name.as_str()), (severity, "fuseboard.request"));
        let whole = format!("{log:?}");
        assert!(whole.contains(begins) && !whole.contains("s3cret"), "{whole}");
        assert_eq!(text(&log.attributes, "caller").as_deref(), Some("10.0.0.9"));
        assert!(spans.iter().any(|s| s.span.span_id == log.span_id && s.span.trace_id == log.trace_id));
    }
    assert_eq!(text(&logs[0].attributes, "http.response.body.size").as_deref(), Some("5"));
    assert_eq!(text(&logs[0].attributes, "http.route").as_deref(), Some("/orders/{id}"));
}

#[tokio::test]
async fn a_storm_of_requests_is_no_storm_of_records() {
    let collector = Collector::start().await;
    let orders = agent("orders", &collector, "").await;
    let log = RequestLog::default().route("*").per_sec(5);
    let router = Router::new().layer(orders.http_server().with_log(log));
    for _ in 0..500 {
        send(&router, Request::get("/nowhere").body(Body::empty()).unwrap()).await;
    }
    orders.flush().await;
    let logs = collector.logs("some", |logs| !logs.is_empty()).await;
    assert!(logs.len() < 100, "{} records", logs.len());
    // Good answers may be sampled; others always show.
    assert!(logs.iter().all(|log| log.severity_text == "WARN"));
}
