//! The generator against a server of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{any, get};
use fuseboard_load::{Goals, LoadPlan, Report, Verdict, run};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A server on a free port; gives its address.
async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}")
}

/// 40 requests in 0.2 s, with goals that such a run can meet.
fn small(url: String) -> LoadPlan {
    let goals = Goals { min_rate: 1.0, p99_ms: 10_000.0, p99_alarm_ms: 20_000.0, ..Goals::default() };
    LoadPlan { rate: 200.0, duration: Duration::from_millis(200), connections: 8, goals, ..LoadPlan::new(url) }
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
    assert_eq!(verdict(&report, "error_ratio"), Verdict::Alarm);
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
    assert_eq!(verdict(&report, "p99_ms"), Verdict::Alarm);
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
    assert!(refused(LoadPlan::new("https://127.0.0.1:9/")).await.contains("http://"));
    assert!(refused(LoadPlan { rate: 0.0, ..LoadPlan::new(url) }).await.contains("rate"));
    assert!(refused(LoadPlan { rate: f64::NAN, ..LoadPlan::new(url) }).await.contains("rate"));
    assert!(refused(LoadPlan { connections: 0, ..LoadPlan::new(url) }).await.contains("connections"));
    assert!(refused(LoadPlan { method: "G E T".into(), ..LoadPlan::new(url) }).await.contains("method"));
    assert!(refused(LoadPlan { timeout: Duration::ZERO, ..LoadPlan::new(url) }).await.contains("timeout"));
}

#[test]
fn a_report_serializes_with_its_goals() {
    let plan = LoadPlan::new("http://127.0.0.1:9/");
    assert_eq!(plan.requests(), 50_000);
    assert_eq!(plan.due(5_000), Duration::from_secs(1));
    let goals = serde_json::to_value(&plan.goals).unwrap();
    assert_eq!(goals["min_rate"], 5_000.0);
    assert_eq!(goals["p99_alarm_ms"], 500.0);
}
