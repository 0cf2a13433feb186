//! HTTP/1.1 and HTTP/2 in both loops.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{any, get};
use fuseboard_load::{LoadPlan, Pace, Report, Thresholds, Verdict, run};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A server on a free port; gives its address.
async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}")
}

/// 40 requests in 0.2 s, with thresholds that such a run can meet.
fn small(url: String) -> LoadPlan {
    let thresholds: Thresholds = "rps>=1,p99<10s!20s,errors<=0%!1%".parse().unwrap();
    LoadPlan {
        pace: Pace::steady(200.0),
        duration: Duration::from_millis(200),
        connections: 8,
        thresholds: Some(thresholds),
        ..LoadPlan::new(url)
    }
}

async fn go(plan: &LoadPlan) -> Report {
    run(plan, CancellationToken::new()).await.unwrap()
}

fn verdict(report: &Report, name: &str) -> Verdict {
    report.checks.iter().find(|check| check.name == name).unwrap().verdict
}

#[tokio::test]
async fn every_due_request_is_sent_once_and_only_to_the_url() {
    let (hits, strays) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (hit, stray) = (Arc::clone(&hits), Arc::clone(&strays));
    let router = Router::new()
        .route(
            "/here",
            get(move || {
                hit.fetch_add(1, Ordering::SeqCst);
                async { (StatusCode::FOUND, [("location", "/elsewhere")]) }
            }),
        )
        .fallback(any(move || {
            stray.fetch_add(1, Ordering::SeqCst);
            async { "never" }
        }));
    let report = go(&small(format!("{}/here", serve(router).await))).await;
    assert_eq!((report.sent, report.ok, report.unsent), (40, 40, 0));
    assert_eq!((hits.load(Ordering::SeqCst), strays.load(Ordering::SeqCst)), (40, 0));
    assert!(report.passed, "{report}");
}

#[tokio::test]
async fn failures_are_counted_by_kind_and_raise_the_alarm() {
    let turn = Arc::new(AtomicU64::new(0));
    let router = Router::new().route(
        "/",
        get(move || {
            let status = match turn.fetch_add(1, Ordering::SeqCst) % 4 {
                0 => StatusCode::SERVICE_UNAVAILABLE,
                1 => StatusCode::NOT_FOUND,
                _ => StatusCode::OK,
            };
            async move { status }
        }),
    );
    let report = go(&small(serve(router).await)).await;
    assert_eq!((report.ok, report.errors["http_503"], report.errors["http_404"]), (20, 10, 10));
    assert!((report.error_ratio - 0.5).abs() < 1e-9);
    assert_eq!(verdict(&report, "errors"), Verdict::Alarm);
    assert!(!report.passed);
}

#[tokio::test]
async fn a_stall_counts_against_every_request_it_delayed() {
    // One connection, and a server that stalls on its first request: a closed loop would see one slow request of 40.
    let first = Arc::new(AtomicU64::new(0));
    let router = Router::new().route(
        "/",
        get(move || {
            let stall = first.fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                if stall {
                    tokio::time::sleep(Duration::from_millis(400)).await;
                }
            }
        }),
    );
    let plan = LoadPlan { connections: 1, ..small(serve(router).await) };
    let report = go(&plan).await;
    assert_eq!(report.ok, 40);
    // All 40 were due within the first 200 ms and none could be answered before 400 ms.
    assert!(report.latency.p50_ms >= 200.0, "{report}");
    assert!(report.service.p50_ms < report.latency.p50_ms, "{report}");
    assert!(report.latency.max_ms >= 400.0, "{report}");
}

#[tokio::test]
async fn silence_times_out_and_the_rest_is_given_up() {
    let router = Router::new().route("/", get(std::future::pending::<()>));
    let plan = LoadPlan { connections: 2, timeout: Duration::from_millis(150), ..small(serve(router).await) };
    let report = go(&plan).await;
    assert_eq!(report.ok, 0);
    assert_eq!(report.errors["timeout"], report.sent);
    assert!(report.sent >= 2 && report.sent + report.unsent == 40, "{report}");
    assert!((report.error_ratio - 1.0).abs() < 1e-9);
    assert_eq!(verdict(&report, "p99"), Verdict::Alarm);
}

#[tokio::test]
async fn nobody_listening_is_a_kind_of_its_own() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let report = go(&small(url)).await;
    assert_eq!(report.errors["connect"], 40);
}

#[tokio::test]
async fn a_cancelled_run_reports_what_it_has() {
    let cancel = CancellationToken::new();
    let (seen, stop) = (Arc::new(AtomicU64::new(0)), cancel.clone());
    let router = Router::new().route(
        "/",
        get(move || {
            if seen.fetch_add(1, Ordering::SeqCst) == 5 {
                stop.cancel();
            }
            async {}
        }),
    );
    let plan = LoadPlan { duration: Duration::from_secs(3600), ..small(serve(router).await) };
    let report = run(&plan, cancel).await.unwrap();
    assert!(report.cancelled && report.sent < 40 && report.unsent > 0, "{report}");
    assert!(report.error_ratio == 0.0 && report.errors.is_empty());
}

#[tokio::test]
async fn plans_that_make_no_sense_are_refused_with_a_hint() {
    let refused = async |plan: LoadPlan| run(&plan, CancellationToken::new()).await.unwrap_err().to_string();
    let url = "http://127.0.0.1:9/";
    assert!(refused(LoadPlan::new("localhost")).await.contains("http://HOST:PORT/PATH"));
    assert!(refused(LoadPlan::new("ftp://127.0.0.1:9/")).await.contains("grpcs"));
    assert!(refused(LoadPlan::new("http://me:secret@127.0.0.1:9/")).await.contains("header"));
    assert!(refused(LoadPlan { pace: Pace::steady(0.0), ..LoadPlan::new(url) }).await.contains("rate"));
    assert!(refused(LoadPlan { pace: Pace::steady(f64::NAN), ..LoadPlan::new(url) }).await.contains("rate"));
    let ramp = Pace::Open { rate: 5.0, ramp: Duration::from_secs(11) };
    assert!(refused(LoadPlan { pace: ramp, ..LoadPlan::new(url) }).await.contains("ramp"));
    assert!(refused(LoadPlan { connections: 0, ..LoadPlan::new(url) }).await.contains("connections"));
    assert!(refused(LoadPlan { streams: 2, ..LoadPlan::new(url) }).await.contains("HTTP/2"));
    assert!(refused(LoadPlan { method: "G E T".into(), ..LoadPlan::new(url) }).await.contains("method"));
    let headers = vec![("a b".to_owned(), "a secret".to_owned())];
    let told = refused(LoadPlan { headers, ..LoadPlan::new(url) }).await;
    assert!(told.contains("`a b`") && !told.contains("a secret"), "{told}");
    assert!(refused(LoadPlan { timeout: Duration::ZERO, ..LoadPlan::new(url) }).await.contains("timeout"));
    let roots = Some("/nowhere.pem".into());
    assert!(refused(LoadPlan { roots, ..LoadPlan::new("https://a/") }).await.contains("/nowhere.pem"));
}

#[tokio::test]
async fn a_closed_loop_sends_as_fast_as_answers_come() {
    let most = Arc::new(AtomicU64::new(0));
    let running = Arc::new(AtomicU64::new(0));
    let (seen, now) = (Arc::clone(&most), Arc::clone(&running));
    let router = Router::new().route(
        "/",
        get(move || {
            let (seen, now) = (Arc::clone(&seen), Arc::clone(&now));
            async move {
                seen.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                now.fetch_sub(1, Ordering::SeqCst);
            }
        }),
    );
    let plan = LoadPlan { pace: Pace::Closed, connections: 3, ..small(serve(router).await) };
    let report = go(&plan).await;
    assert!(report.ok > 40 && report.unsent == 0, "{report}");
    assert_eq!((report.offered_rate, report.error_ratio), (None, 0.0));
    assert!((1..=3).contains(&most.load(Ordering::SeqCst)));
    assert!((report.latency.p99_ms - report.service.p99_ms).abs() < f64::EPSILON, "both count from the sending");
}

#[tokio::test]
async fn streams_of_http2_share_their_connection() {
    // Answers only when four requests are there at once: one connection of HTTP/1.1 would wait for ever.
    let gate = Arc::new(tokio::sync::Barrier::new(4));
    let router = Router::new().route(
        "/",
        get(move |request: axum::extract::Request| {
            let gate = Arc::clone(&gate);
            async move {
                gate.wait().await;
                if request.version() == axum::http::Version::HTTP_2 { StatusCode::OK } else { StatusCode::BAD_REQUEST }
            }
        }),
    );
    let plan = LoadPlan { http2: true, connections: 1, streams: 4, ..small(serve(router).await) };
    let report = go(&plan).await;
    assert_eq!((report.sent, report.ok), (40, 40), "{report}");
}

#[tokio::test]
async fn bodies_and_headers_go_out_as_they_were_given() {
    let router = Router::new().route(
        "/",
        any(|headers: axum::http::HeaderMap, body: String| async move {
            let is = |name: &str, value: &str| headers.get(name).is_some_and(|v| v == value);
            match body == "{\"a\":1}" && is("content-type", "application/json") && is("x-tenant", "blue") {
                true => StatusCode::OK,
                false => StatusCode::BAD_REQUEST,
            }
        }),
    );
    let headers = vec![("x-tenant".to_owned(), "blue".to_owned())];
    let plan = LoadPlan { method: "PUT".into(), headers, body: b"{\"a\":1}".to_vec(), ..small(serve(router).await) };
    assert!(go(&plan).await.passed);
}

#[tokio::test]
async fn a_server_that_closes_after_each_answer_fails_nothing() {
    let router = Router::new().route("/", get(|| async { [("connection", "close")] }));
    let report = go(&small(serve(router).await)).await;
    assert_eq!((report.ok, report.errors.len()), (40, 0), "{report}");
}

#[test]
fn a_report_says_which_thresholds_were_asked_for() {
    let plan = LoadPlan::new("http://127.0.0.1:9/");
    assert_eq!(plan.pace.due_by(plan.duration), 50_000);
    assert_eq!(plan.pace.due(5_000), Duration::from_secs(1));
    let usual: Vec<_> = Thresholds::usual(plan.pace.rate()).0.iter().map(ToString::to_string).collect();
    assert_eq!(usual, ["rps>=4950", "p99<=200ms!500ms", "errors<=0%!1%"]);
}
