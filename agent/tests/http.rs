//! HTTP calls, and trace context in and out.

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use fuseboard_agent::{Agent, HttpMethod};
use fuseboard_policy::names;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use tower::{Layer as _, ServiceExt as _};

use crate::collector::{Collector, Got, soon};
use crate::rig::agent;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

async fn bank(agent: &Agent) -> (String, mpsc::Receiver<HeaderMap>) {
    let (tell, told) = mpsc::channel(16);
    let tell = move |headers: HeaderMap| async move {
        tell.send(headers).await.unwrap();
        StatusCode::NO_CONTENT
    };
    let router = Router::new()
        .route("/accounts/{id}", get(tell))
        .route("/broken", post(|| async { StatusCode::SERVICE_UNAVAILABLE }))
        .layer(agent.http_server());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (format!("http://{address}"), told)
}

#[tokio::test]
async fn context_and_attempt_go_out_in_headers() {
    let collector = Collector::start().await;
    let policy = "[[edge]]\nservice = \"bank\"\ntimeout = { attempt_ms = 9000, overall_ms = 20000 }\n";
    let (payments, banker) = (agent("payments", &collector, policy).await, agent("bank", &collector, "").await);
    let (base, mut told) = bank(&banker).await;
    let client = payments.http_client("bank", &base).unwrap();
    let answer = client.request(HttpMethod::GET, "/accounts/{id}", "/accounts/7").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    let headers = soon("the request", told.recv()).await.unwrap();
    let left = fuseboard_policy::deadline::parse_timeout(headers[names::TIMEOUT_HEADER].to_str().unwrap()).unwrap();
    assert!(left.as_millis() <= 9000, "{left:?}");
    assert_eq!(headers[names::ATTEMPT_HEADER], "1");

    let spans = collector.spans("three spans", |spans| spans.len() == 3).await;
    let attempt = spans.iter().find(|s| s.service == "payments" && s.text(names::ATTEMPT).is_some()).unwrap();
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let ids = (hex(&attempt.span.trace_id), hex(&attempt.span.span_id));
    assert_eq!(headers["traceparent"], format!("00-{}-{}-01", ids.0, ids.1));
    assert!(spans.iter().all(|s| s.span.name == "GET /accounts/{id}"));
    assert_eq!(attempt.text("http.response.status_code").as_deref(), Some("204"));
    assert_eq!(attempt.text("url.full"), Some(format!("{base}/accounts/7")));
}

#[tokio::test]
async fn context_comes_in_as_w3c_and_as_b3() {
    let collector = Collector::start().await;
    let banker = agent("bank", &collector, "").await;
    let (base, mut told) = bank(&banker).await;
    let w3c = format!("00-{TRACE}-{SPAN}-01");
    let b3 = format!("{TRACE}-{SPAN}-1");
    let kinds = [
        vec![("traceparent", w3c.as_str()), ("tracestate", "shop=1")],
        vec![("b3", b3.as_str())],
        vec![("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN), ("x-b3-sampled", "1")],
    ];
    for headers in kinds {
        let mut request = reqwest::Client::new().get(format!("{base}/accounts/1"));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.send().await.unwrap();
        soon("the request", told.recv()).await.unwrap();
    }
    let spans = collector.spans("three requests", |spans| spans.len() == 3).await;
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    assert!(spans.iter().all(|s| hex(&s.span.trace_id) == TRACE && hex(&s.span.parent_span_id) == SPAN));
    assert!(spans.iter().any(|s| s.span.trace_state == "shop=1"));
}

#[tokio::test]
async fn an_answer_is_an_answer_but_5xx_trips_the_breaker() {
    let collector = Collector::start().await;
    let policy = "[[edge]]\nservice = \"bank\"\nbreaker = { consecutive_failures = 2, open_ms = 60000 }\n";
    let (payments, banker) = (agent("payments", &collector, policy).await, agent("bank", &collector, "").await);
    let (base, _told) = bank(&banker).await;
    let client = payments.http_client("bank", &base).unwrap();
    for _ in 0..2 {
        let answer = client.post("/broken").json(&[1, 2]).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
    let refused = client.post("/broken").send().await.unwrap_err();
    assert_eq!(refused.refusal().map(|r| r.rule), Some("breaker"));
    let spans = collector.spans("errors on both sides", |spans| spans.len() == 2 * 3 + 2).await;
    let failed = spans.iter().filter(|s| s.text("http.response.status_code").as_deref() == Some("503"));
    assert!(failed.clone().count() == 6 && failed.into_iter().all(|s| s.text("error.type").is_some()));
}

/// Two attempts, where the operation may be made twice.
const TWICE: &str =
    "[[edge]]\nservice = \"bank\"\nretry = { max_attempts = 2, backoff = { base_ms = 1, max_ms = 1 } }\n";

fn attempts<'a>(spans: &'a [Got], error: &str) -> Vec<&'a Got> {
    let fits = |s: &&Got| s.text(names::ATTEMPT).is_some() && s.text("error.type").as_deref() == Some(error);
    spans.iter().filter(fits).collect()
}

#[tokio::test]
async fn a_bank_that_is_not_there_was_sent_nothing_and_is_asked_again() {
    let collector = Collector::start().await;
    let payments = agent("payments", &collector, TWICE).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = payments.http_client("bank", format!("http://{closed}")).unwrap();
    client.post("/authorize").send().await.unwrap_err();
    collector.spans("two attempts", |spans| attempts(spans, "connect").len() == 2 && spans.len() == 3).await;
}

#[tokio::test]
async fn a_connection_that_breaks_may_have_carried_the_request_and_is_not_asked_again() {
    let collector = Collector::start().await;
    let payments = agent("payments", &collector, TWICE).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = payments.http_client("bank", format!("http://{}", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move {
        loop {
            // Reads the request, and hangs up.
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 4096]).await.unwrap();
        }
    });
    client.post("/authorize").send().await.unwrap_err();
    let spans = collector.spans("one attempt", |spans| spans.len() == 2).await;
    assert_eq!(attempts(&spans, "reset").len(), 1);
    assert!(spans.iter().any(|s| s.text(names::GAVE_UP).as_deref() == Some("not_idempotent")));
}

#[tokio::test]
async fn the_layer_knows_a_refused_connection_from_a_broken_one() {
    let collector = Collector::start().await;
    let payments = agent("payments", &collector, TWICE).await;
    let call = |kind: std::io::ErrorKind| {
        let inner = tower::service_fn(
            move |_: http::Request<fuseboard_agent::http::ReplayBody<axum::body::Body>>| async move {
                Err::<http::Response<()>, _>(std::io::Error::from(kind))
            },
        );
        let client = payments.http_client_layer("bank").layer(inner);
        client.oneshot(http::Request::post("http://bank/authorize").body(axum::body::Body::empty()).unwrap())
    };
    call(std::io::ErrorKind::ConnectionRefused).await.unwrap_err();
    call(std::io::ErrorKind::ConnectionReset).await.unwrap_err();
    let spans = collector.spans("both calls", |spans| spans.len() == 3 + 2).await;
    assert_eq!((attempts(&spans, "connect").len(), attempts(&spans, "reset").len()), (2, 1));
}
