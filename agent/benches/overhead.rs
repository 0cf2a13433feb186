//! What the agent costs a call: time of one call on one thread, everything recorded, exporters at work beside it.
//!
//! `cargo bench -p fuseboard-agent --bench overhead [-- --quick]`. Prints one line a figure:
//! `figure NAME = VALUE ns | rival NAME = VALUE ns | ratio X`, each the median of many samples. Nothing is asserted: times
//! belong to the machine.

use std::convert::Infallible;
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use axum::body::Body;
use fuseboard_agent::Agent;
use fuseboard_agent::http::{ReplayBody, Route};
use fuseboard_agent::policy::breaker::{Admission, Breaker, Outcome};
use fuseboard_agent::policy::document::PolicyDocument;
use fuseboard_agent::policy::pipeline::{AttemptKind, AttemptOutcome, EdgeEngine, Inbound};
use fuseboard_agent::policy::set::PolicySet;
use http::{Request, Response};
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Status;
use tonic::transport::Server;
use tower::{Layer as _, Service, ServiceExt as _, service_fn};

/// Every rule that this version has, set so that none of them acts.
const POLICY: &str = r#"
    [[edge]]
    service = "*"
    timeout = { attempt_ms = 1000, overall_ms = 2000 }
    [edge.retry]
    max_attempts = 3
    budget = { ratio = 0.2, min_per_sec = 10, ttl_ms = 10000 }
    [edge.breaker]
    window = { kind = "time", ms = 10000, buckets = 10 }
    min_calls = 20
    failure_ratio = 0.5
    slow_ms = 700
    slow_ratio = 0.8
    inflight_slow = true
"#;

/// Calls between two looks at the clock: few, so that most samples are not cut in two by a busy machine.
const CALLS: u32 = 16;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let length = Duration::from_millis(if quick { 500 } else { 5_000 });
    let clock = measure(length, || {
        black_box((Instant::now(), Instant::now()));
    });
    let two_clocks = ("two Instant::now", clock);
    print("breaker admit and finish", breaker(length)?, two_clocks);
    print("pipeline begin, attempt, finish", pipeline(length)?, two_clocks);

    // The exporters run on a thread of their own, as they would beside a busy service.
    let beside = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let agent = beside.block_on(async {
        let collector = collector().await?;
        let agent = Agent::builder("bench").otlp(collector.to_string()).default_policy_toml(POLICY);
        Ok::<_, Box<dyn std::error::Error>>(agent.start().await?)
    })?;
    let here = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let bare = measure_calls(&here, length, &service_fn(answer));
    let bare = ("bare tower service", bare);
    // Deadline, retries, breaker, a logical span and an attempt's, metrics: the same for every protocol's client.
    let client = agent.http_client_layer("callee").layer(service_fn(|request: Request<ReplayBody<Body>>| {
        drop(request);
        answer(Request::new(Body::empty()))
    }));
    print("client layer call, recorded", measure_calls(&here, length, &client), bare);
    let server = agent.grpc_server().layer(service_fn(answer));
    print("gRPC server layer call, recorded", measure_calls(&here, length, &server), bare);
    beside.block_on(agent.shutdown());
    println!("records that the exporters could not keep up with: {}", agent.dropped());
    Ok(())
}

fn print(name: &str, ns: f64, rival: (&str, f64)) {
    println!("figure {name} = {ns:.0} ns | rival {} = {:.0} ns | ratio {:.1}", rival.0, rival.1, ns / rival.1);
}

/// Median time of one run, in nanoseconds.
fn measure(length: Duration, mut run: impl FnMut()) -> f64 {
    let (begun, mut samples) = (Instant::now(), Vec::new());
    while begun.elapsed() < length {
        let sample = Instant::now();
        for _ in 0..CALLS {
            run();
        }
        samples.push(sample.elapsed().as_nanos() as f64 / f64::from(CALLS));
    }
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or_default()
}

fn breaker(length: Duration) -> Result<f64, String> {
    let settings = settings()?;
    let breaker = Breaker::new(&settings.breaker.unwrap_or_default(), 0);
    let mut now = 0;
    Ok(measure(length, || {
        now += 1_000;
        if let Admission::Admitted(permit) = breaker.admit(black_box(now)) {
            breaker.finish(permit, now + 500, Outcome::Success);
        }
    }))
}

fn pipeline(length: Duration) -> Result<f64, String> {
    let engine: Arc<EdgeEngine> = EdgeEngine::new(&settings()?, 0);
    let mut now = 0;
    Ok(measure(length, || {
        now += 1_000;
        let Ok(mut call) = engine.begin(black_box(now), Inbound::default(), 0.5) else { return };
        let Ok(attempt) = call.attempt(now, b"", || 0.5) else { return };
        black_box(call.finish(attempt, now + 500, AttemptOutcome::plain(AttemptKind::Success), 0.5));
    }))
}

fn settings() -> Result<fuseboard_agent::policy::settings::EdgeSettings, String> {
    let document = PolicyDocument::parse(POLICY).map_err(|problems| format!("{problems:?}"))?;
    Ok(PolicySet::new(1, &document).effective("bench", "callee", "Pay/Charge").settings)
}

/// A callee that costs nothing.
async fn answer(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    black_box(request);
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert("grpc-status", http::HeaderValue::from_static("0"));
    Ok(response)
}

/// Median time of one call, in nanoseconds. The callee never waits, so that a call is one poll.
fn measure_calls<S, R>(runtime: &tokio::runtime::Runtime, length: Duration, service: &S) -> f64
where
    S: Service<Request<Body>, Response = Response<R>, Error: std::fmt::Debug> + Clone,
{
    let _here = runtime.enter();
    let mut cx = Context::from_waker(Waker::noop());
    let route: Arc<str> = "/charge".into();
    measure(length, || {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = http::Uri::from_static("/pay.v1.Pay/Charge");
        request.extensions_mut().insert(Route(route.clone()));
        let mut call = std::pin::pin!(service.clone().oneshot(request));
        // Tokio's budget for a task does not count here.
        let done = call.as_mut().poll(&mut cx);
        assert!(matches!(done, Poll::Ready(Ok(_))), "the callee answers at once");
    })
}

/// A collector that forgets.
async fn collector() -> std::io::Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = Server::builder()
        .add_service(TraceServiceServer::new(Forgetful))
        .add_service(LogsServiceServer::new(Forgetful))
        .add_service(MetricsServiceServer::new(Forgetful));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    Ok(address)
}

struct Forgetful;

#[tonic::async_trait]
impl TraceService for Forgetful {
    async fn export(
        &self,
        _: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, Status> {
        Ok(tonic::Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Forgetful {
    async fn export(
        &self,
        _: tonic::Request<ExportLogsServiceRequest>,
    ) -> Result<tonic::Response<ExportLogsServiceResponse>, Status> {
        Ok(tonic::Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Forgetful {
    async fn export(
        &self,
        _: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, Status> {
        Ok(tonic::Response::new(Default::default()))
    }
}
