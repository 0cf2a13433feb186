//! The rules in virtual time, around a service that is only a function.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fuseboard_agent::Agent;
use fuseboard_agent::http::{LayerError, ReplayBody, Route};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tokio::time::Instant;
use tower::{Layer as _, Service as _, ServiceExt as _, service_fn};

async fn paused(policy: &str) -> Agent {
    Agent::builder("web").otlp("127.0.0.1:9").default_policy_toml(policy).start().await.unwrap()
}

fn request(body: &'static str) -> Request<Full<Bytes>> {
    let mut request =
        Request::put("http://shop/orders/1").body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap();
    request.extensions_mut().insert(Route("/orders/{id}".into()));
    request
}

#[tokio::test(start_paused = true)]
async fn retries_send_the_whole_body_again_after_their_backoff() {
    let policy = "[[edge]]\nservice = \"shop\"\noperation = \"PUT /orders/{id}\"\n\
        retry = { max_attempts = 3, backoff = { base_ms = 100, max_ms = 1000, multiplier = 2.0, jitter = \"none\" } }\n";
    let agent = paused(policy).await;
    let calls = Arc::new(AtomicUsize::new(0));
    let seen = calls.clone();
    let shop = service_fn(move |request: Request<ReplayBody<Full<Bytes>>>| {
        let number = seen.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            let attempt = request.headers()["x-fuseboard-attempt"].to_str().unwrap().parse::<usize>().unwrap();
            assert_eq!(attempt, number);
            assert_eq!(request.into_body().collect().await.unwrap().to_bytes(), "one book");
            let status = if number < 3 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
            Ok::<_, Infallible>(Response::builder().status(status).body(()).unwrap())
        }
    });
    let mut client = agent.http_client_layer("shop").layer(shop);
    let begun = Instant::now();
    let answer = client.ready().await.unwrap().call(request("one book")).await.unwrap();
    assert_eq!((answer.status(), calls.load(Ordering::SeqCst)), (StatusCode::OK, 3));
    assert_eq!(begun.elapsed().as_millis(), 100 + 200);
}

#[tokio::test(start_paused = true)]
async fn attempts_are_cut_and_the_call_ends_with_its_deadline() {
    let policy = "[[edge]]\nservice = \"shop\"\ntimeout = { attempt_ms = 400, overall_ms = 1000 }\n\
        retry = { max_attempts = 9, on = [\"deadline_exceeded\"], \
        backoff = { base_ms = 100, max_ms = 100, multiplier = 1.0, jitter = \"none\" } }\n";
    let agent = paused(policy).await;
    let shop =
        service_fn(|_: Request<ReplayBody<Full<Bytes>>>| std::future::pending::<Result<Response<()>, Infallible>>());
    let client = agent.http_client_layer("shop").layer(shop);
    let begun = Instant::now();
    let error = client.oneshot(request("")).await.unwrap_err();
    assert!(matches!(error, LayerError::TimedOut(_)), "{error}");
    // 0…400 cut, 100 off, 500…900 cut; the next would begin at the deadline itself.
    assert_eq!(begun.elapsed().as_millis(), 900);
}

#[tokio::test(start_paused = true)]
async fn a_hung_callee_trips_the_breaker_before_its_calls_end() {
    let policy = "[[edge]]\nservice = \"shop\"\n\
        breaker = { window = { kind = \"time\", ms = 10000, buckets = 10 }, min_calls = 2, slow_ms = 300, \
        slow_ratio = 0.5, inflight_slow = true, open_ms = 5000 }\n";
    let agent = paused(policy).await;
    let shop =
        service_fn(|_: Request<ReplayBody<Full<Bytes>>>| std::future::pending::<Result<Response<()>, Infallible>>());
    let client = agent.http_client_layer("shop").layer(shop);
    let hung = [client.clone(), client.clone()].map(|c| tokio::spawn(c.oneshot(request(""))));
    tokio::time::sleep(Duration::from_millis(450)).await;
    let refused = client.oneshot(request("")).await.unwrap_err();
    assert!(matches!(&refused, LayerError::Refused(r) if r.rule == "breaker"), "{refused}");
    assert!(hung.iter().all(|call| !call.is_finished()));
}
