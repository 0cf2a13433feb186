//! HTTP/1.1 through the sidecar.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{any, get, post};

use crate::rig::{nobody, serve, sidecar, to};

#[tokio::test]
async fn a_request_passes_in_and_out() {
    let echo = |headers: HeaderMap, body: String| async move { (headers, body) };
    let address = serve(Router::new().route("/echo", post(echo))).await;
    let inbound = format!("[[inbound]]\nlisten = \"127.0.0.1:0\"\nto = \"{address}\"\n");
    let beside = sidecar(&format!("{inbound}{}", to(&[address], "")), "").await;
    for url in [beside.inbound("/echo"), beside.outbound("/echo")] {
        let client = reqwest::Client::new();
        let big = "x".repeat(1_000_000);
        let request = client.post(&url).header("keep-alive", "1").header("x-order", "7").body(big.clone());
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let headers = answer.headers().clone();
        assert_eq!((&headers["x-order"], headers.get("keep-alive")), (&"7".parse().unwrap(), None));
        assert!(headers["traceparent"].to_str().unwrap().ends_with("-01"));
        assert_eq!(answer.text().await.unwrap(), big);
    }
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_named() {
    let gone = nobody().await;
    let beside = sidecar(&to(&[gone], ""), "").await;
    let answer = reqwest::get(beside.outbound("/x")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()["x-fuseboard-refused-by"], "unreachable");
    let text = answer.text().await.unwrap();
    assert!(text.contains("\"service\":\"bank\"") && text.contains("refused"), "{text}");
}

#[tokio::test]
async fn a_failed_upload_is_sent_again_and_a_breaker_refuses() {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    let moody = move |body: String| async move {
        let first = count.fetch_add(1, Ordering::SeqCst) == 0;
        (if first { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }, body)
    };
    let router = Router::new()
        .route("/charges/{id}", any(moody))
        .route("/broken", get(|| async { StatusCode::INTERNAL_SERVER_ERROR }));
    let beside = sidecar(
        &to(&[serve(router).await], "routes = [\"/charges/{id}\", \"/broken\"]"),
        "[[edge]]\nservice = \"bank\"\nretry = { max_attempts = 2, on = [\"503\"], backoff = { base_ms = 1, max_ms = 1 } }\n\
         breaker = { consecutive_failures = 2, open_ms = 60000 }\n",
    )
    .await;
    let client = reqwest::Client::new();
    let put = client.put(beside.outbound("/charges/7")).body("twenty crowns");
    let answer = put.send().await.unwrap();
    assert_eq!((answer.status(), seen.load(Ordering::SeqCst)), (StatusCode::OK, 2));
    assert_eq!(answer.text().await.unwrap(), "twenty crowns", "the stream was kept for the second attempt");

    for _ in 0..2 {
        let answer = client.get(beside.outbound("/broken")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
    let refused = client.get(beside.outbound("/broken")).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["x-fuseboard-refused-by"], "breaker");
    assert!(refused.headers().contains_key("retry-after"));
    assert!(refused.text().await.unwrap().contains("GET /broken"));
}
