//! The cost of a call through a client's and a server's layer: with telemetry, without, and by parts.

use std::convert::Infallible;
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use axum::body::Body;
use fuseboard_agent::guard::{Auth, Keys, Limits};
use fuseboard_agent::http::{ReplayBody, Route};
use fuseboard_agent::{Agent, Builder};
use http::{Request, Response};
use opentelemetry::Context as Telling;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use tokio::runtime::Runtime;
use tower::{Layer as _, Service, ServiceExt as _, service_fn};

use super::{CALLS, POLICY, count, median, sample};

/// Samples of one variant before it is the next one's turn: what they record fits the queues.
const TURN: usize = 128;
/// Edges that are made to see what one holds.
const EDGES: usize = 100;

/// Makes a call to a route.
type Call = Box<dyn Fn(&Arc<str>)>;

/// A variant of a call.
struct Variant {
    name: &'static str,
    call: Call,
    /// The context it is made in.
    within: Telling,
}

/// Agents that tell everything, or not.
struct Agents {
    full: Agent,
    spans: Agent,
    metrics: Agent,
    none: Agent,
}

impl Agents {
    async fn start(collector: SocketAddr) -> Result<Self, Box<dyn std::error::Error>> {
        let agent = || Agent::builder("bench").otlp(collector.to_string()).default_policy_toml(POLICY);
        let start = |builder: Builder| builder.operations_per_edge(2 * EDGES).start();
        Ok(Self {
            full: start(agent()).await?,
            spans: start(agent().without_metrics()).await?,
            metrics: start(agent().without_traces()).await?,
            none: start(agent().without_metrics().without_traces()).await?,
        })
    }

    fn all(&self) -> [&Agent; 4] {
        [&self.full, &self.spans, &self.metrics, &self.none]
    }
}

/// The exporters run on a thread of their own, as they would beside a busy service.
fn beside() -> Result<(Runtime, Agents), Box<dyn std::error::Error>> {
    let beside = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let agents = beside.block_on(async { Agents::start(super::collector::collector().await?).await })?;
    Ok((beside, agents))
}

/// Makes one call of that name over and over.
pub(crate) fn one(name: &str, length: Duration) -> Result<(), Box<dyn std::error::Error>> {
    let (beside, agents) = beside()?;
    let here = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let variants = variants(&agents)?;
    let variant: Vec<_> = variants.into_iter().filter(|variant| variant.name == name).collect();
    for cost in measure(&here, &beside, length, &agents, &variant) {
        println!("figure {name} = {:.0} ns | allocations {} | bytes {}", cost.time, cost.times, cost.bytes);
    }
    Ok(())
}

fn variants(agents: &Agents) -> Result<[Variant; 10], Box<dyn std::error::Error>> {
    let bare = Variant { name: "bare tower service", call: calls(service_fn(answer)), within: Telling::new() };
    let client = |name, agent: &Agent, within| Variant { name, call: client(agent), within };
    let server = |name, agent: &Agent| Variant {
        name,
        call: calls(agent.grpc_server().layer(service_fn(answer))),
        within: Telling::new(),
    };
    let root = Telling::new();
    Ok([
        bare,
        client("client call", &agents.full, root.clone()),
        client("client call, sampled out", &agents.full, sampled_out()),
        client("client call, spans only", &agents.spans, root.clone()),
        client("client call, metrics only", &agents.metrics, root.clone()),
        client("client call, no telemetry", &agents.none, root),
        server("served request", &agents.full),
        server("served request, no telemetry", &agents.none),
        guarded("served request, no telemetry, limits", &agents.none, false)?,
        guarded("served request, no telemetry, limits and a token", &agents.none, true)?,
    ])
}

/// Prints it all.
pub(crate) fn costs(length: Duration) -> Result<(), Box<dyn std::error::Error>> {
    let (beside, agents) = beside()?;
    let here = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    edges(&here, &agents);
    let variants = variants(&agents)?;
    let costs = measure(&here, &beside, length, &agents, &variants);
    for (variant, cost) in variants.iter().zip(&costs).skip(1) {
        let (name, bare) = (variant.name, costs[0].time);
        let (time, ratio) = (cost.time, cost.time / bare);
        println!("figure {name} = {time:.0} ns | rival bare tower service = {bare:.0} ns | ratio {ratio:.1}");
    }
    let alone = |what: &str, with: usize, without: usize| {
        let (with, without) = (&costs[with], &costs[without]);
        println!(
            "figure {what} = {:.0} ns | limit = 2000 ns | ratio {:.2} | allocations {} | bytes {}",
            with.time - without.time,
            (with.time - without.time) / 2000.0,
            with.times.saturating_sub(without.times),
            with.bytes.saturating_sub(without.bytes),
        );
    };
    alone("telemetry of a client call (2 spans, 4 metrics)", 1, 5);
    alone("its spans", 3, 5);
    alone("its metrics", 4, 5);
    alone("telemetry of a client call, sampled out", 2, 5);
    alone("telemetry of a served request (1 span, 2 metrics)", 6, 7);
    alone("limits of each caller and of all", 8, 7);
    alone("a token that was seen before", 9, 8);
    beside.block_on(async {
        for agent in agents.all() {
            agent.shutdown().await;
        }
    });
    let dropped: u64 = agents.all().iter().map(|agent| agent.dropped()).sum();
    println!("records that the exporters could not keep up with: {dropped}");
    Ok(())
}

/// Of one call.
struct Cost {
    /// Nanoseconds.
    time: f64,
    /// How often the calling thread asked for memory.
    times: u64,
    /// For how much.
    bytes: u64,
}

/// All variants in turn, so that what else the machine does meets all alike. Between turns the exporters empty their queues.
fn measure(here: &Runtime, beside: &Runtime, length: Duration, agents: &Agents, variants: &[Variant]) -> Vec<Cost> {
    let mut samples = vec![Vec::new(); variants.len()];
    let begun = Instant::now();
    while begun.elapsed() < length * u32::try_from(variants.len()).unwrap_or(u32::MAX) {
        for (variant, samples) in variants.iter().zip(&mut samples) {
            samples.extend((0..TURN).map(|_| variant.sample(here)));
            beside.block_on(async {
                for agent in agents.all() {
                    agent.flush().await;
                }
            });
        }
    }
    let cost = |(variant, samples): (&Variant, Vec<f64>)| {
        let before = count::asked();
        variant.sample(here);
        let after = count::asked();
        let calls = u64::from(CALLS);
        Cost { time: median(samples), times: (after.0 - before.0) / calls, bytes: (after.1 - before.1) / calls }
    };
    variants.iter().zip(samples).map(cost).collect()
}

impl Variant {
    fn sample(&self, here: &Runtime) -> f64 {
        let (_here, _within) = (here.enter(), self.within.clone().attach());
        let route: Arc<str> = "/charge".into();
        sample(|| (self.call)(&route))
    }
}

/// What the instruments of an edge hold, and its engine: by making many.
fn edges(here: &Runtime, agents: &Agents) {
    let _here = here.enter();
    let held = |agent: &Agent| {
        let call = client(agent);
        // Tables that are there once grow with the first.
        call(&"/first".into());
        let before = count::held();
        (0..EDGES).for_each(|n| call(&format!("/{n}").into()));
        (count::held() - before) as f64 / EDGES as f64
    };
    let (with, without) = (held(&agents.metrics), held(&agents.none));
    println!("figure instruments of an edge = {:.0} bytes | rival its engine = {without:.0} bytes", with - without);
}

/// A client's layers: deadline, retries, breaker, a logical span and an attempt's, metrics; the same for every protocol.
fn client(agent: &Agent) -> Call {
    calls(agent.http_client_layer("callee").layer(service_fn(|request: Request<ReplayBody<Body>>| {
        drop(request);
        answer(Request::new(Body::empty()))
    })))
}

/// A server's layers with limits, and with a token that is checked once and remembered.
fn guarded(name: &'static str, agent: &Agent, token: bool) -> Result<Variant, Box<dyn std::error::Error>> {
    let limits = Limits::default().rate(u64::from(u32::MAX), u64::from(u32::MAX)).in_flight(1000).body(1 << 20);
    let limits = limits.rate_per_caller(u64::from(u32::MAX), u64::from(u32::MAX)).in_flight_per_caller(100);
    let layer = agent.grpc_server().with_limits(limits);
    if !token {
        return Ok(Variant { name, call: calls(layer.layer(service_fn(answer))), within: Telling::new() });
    }
    let secret = [7; 32];
    let claims = serde_json::json!({ "sub": "ann", "aud": "callee", "exp": u32::MAX });
    let signed = jsonwebtoken::encode(&Default::default(), &claims, &jsonwebtoken::EncodingKey::from_secret(&secret))?;
    let value = http::HeaderValue::try_from(format!("Bearer {signed}"))?;
    let layer = layer.with_auth(Auth::jwt("callee", Keys::secret(secret)?));
    let call = calls(layer.layer(service_fn(answer)).map_request(move |mut request: Request<Body>| {
        request.headers_mut().insert(http::header::AUTHORIZATION, value.clone());
        request
    }));
    Ok(Variant { name, call, within: Telling::new() })
}

/// Calls of a service. The callee never waits, so that a call is one poll.
fn calls<S, R>(service: S) -> Call
where
    S: Service<Request<Body>, Response = Response<R>, Error: std::fmt::Debug> + Clone + 'static,
{
    Box::new(move |route| {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = http::Uri::from_static("/pay.v1.Pay/Charge");
        request.extensions_mut().insert(Route(route.clone()));
        let mut call = std::pin::pin!(service.clone().oneshot(request));
        // Tokio's budget for a task does not count here.
        let done = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(done, Poll::Ready(Ok(_))), "the callee answers at once");
    })
}

/// A callee that costs nothing.
async fn answer(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    black_box(request);
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert("grpc-status", http::HeaderValue::from_static("0"));
    Ok(response)
}

/// Within a trace that is not recorded.
fn sampled_out() -> Telling {
    let ids = SpanContext::new(TraceId::from(1), SpanId::from(1), TraceFlags::default(), true, TraceState::default());
    Telling::new().with_remote_span_context(ids)
}
