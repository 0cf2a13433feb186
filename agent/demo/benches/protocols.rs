//! What protocols cost: the demo's echo over tarpc, gRPC and HTTP/JSON, 400 connections each in a closed loop, no layer of the
//! agent around any of them.
//!
//! `cargo bench -p fuseboard-demo --bench protocols [-- --quick]`. Rounds take turns, so that a busy machine hits all three;
//! figures are medians over the rounds. Server and clients share the process, and its CPU time is counted with both sides.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use axum::http::{HeaderValue, Request, Uri, header};
use fuseboard_demo::echo::{EchoClient, EchoOrder, GRPC_METHOD, serve_echo};
use fuseboard_load::{Caller, Engine, Pace, Progress, Report, Thresholds};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tarpc::tokio_serde::formats::Bincode;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tonic::client::Grpc;
use tonic::codegen::Bytes;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

const CONNECTIONS: usize = 400;

type Failed = Cow<'static, str>;

fn failed(error: impl std::fmt::Display) -> Failed {
    error.to_string().into()
}

struct OverTarpc(EchoClient, EchoOrder);

impl Caller for OverTarpc {
    async fn call(&mut self) -> Result<(), Failed> {
        let answer = self.0.echo(tarpc::context::current(), self.1.clone()).await.map_err(failed)?;
        (answer == self.1).then_some(()).ok_or_else(|| "another order".into())
    }
}

struct OverGrpc(Grpc<Channel>, EchoOrder);

impl Caller for OverGrpc {
    async fn call(&mut self) -> Result<(), Failed> {
        self.0.ready().await.map_err(failed)?;
        let codec = ProstCodec::<EchoOrder, EchoOrder>::default();
        let path = PathAndQuery::from_static(GRPC_METHOD);
        let answer = self.0.unary(tonic::Request::new(self.1.clone()), path, codec).await.map_err(failed)?;
        (answer.into_inner() == self.1).then_some(()).ok_or_else(|| "another order".into())
    }
}

struct OverHttp(SendRequest<Full<Bytes>>, EchoOrder);

impl Caller for OverHttp {
    async fn call(&mut self) -> Result<(), Failed> {
        let mut request =
            Request::post(Uri::from_static("/echo")).body(Full::from(serde_json::to_vec(&self.1).map_err(failed)?));
        if let Ok(request) = &mut request {
            request.headers_mut().insert(header::HOST, HeaderValue::from_static("echo"));
            request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        self.0.ready().await.map_err(failed)?;
        let answer = self.0.send_request(request.map_err(failed)?).await.map_err(failed)?;
        let body = answer.into_body().collect().await.map_err(failed)?.to_bytes();
        let order: EchoOrder = serde_json::from_slice(&body).map_err(failed)?;
        (order == self.1).then_some(()).ok_or_else(|| "another order".into())
    }
}

type Anything = Box<dyn std::error::Error + Send + Sync>;

async fn tarpc_caller(to: SocketAddr) -> Result<OverTarpc, Anything> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let framed = tarpc::tokio_util::codec::LengthDelimitedCodec::builder().new_framed(stream);
    let transport = tarpc::serde_transport::new(framed, Bincode::default());
    let client = EchoClient::new(tarpc::client::Config::default(), transport).spawn();
    Ok(OverTarpc(client, EchoOrder::sample()))
}

async fn grpc_caller(to: SocketAddr) -> Result<OverGrpc, Anything> {
    let channel = Endpoint::from_shared(format!("http://{to}"))?.tcp_nodelay(true).connect().await?;
    Ok(OverGrpc(Grpc::new(channel), EchoOrder::sample()))
}

async fn http_caller(to: SocketAddr) -> Result<OverHttp, Anything> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(OverHttp(sender, EchoOrder::sample()))
}

/// One round: the report, and the CPU time of both sides a good answer, in microseconds.
async fn round<C: Caller>(
    name: &str,
    length: Duration,
    connect: impl AsyncFn() -> Result<C, Anything>,
) -> Result<(Report, f64), Anything> {
    let mut callers = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        callers.push(connect().await?);
    }
    let engine = Engine {
        name: name.to_owned(),
        pace: Pace::Closed,
        duration: length,
        timeout: Duration::from_secs(10),
        thresholds: Thresholds::default(),
    };
    let before = cpu();
    let report = engine.run(callers, &Progress::new()?, CancellationToken::new()).await?;
    let spent = cpu() - before;
    if !report.errors.is_empty() {
        return Err(format!("{name}: {:?}", report.errors).into());
    }
    let micros = spent.as_secs_f64() * 1e6 / report.ok as f64;
    Ok((report, micros))
}

/// CPU time of this process.
fn cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[tokio::main]
async fn main() -> Result<(), Anything> {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let (rounds, length) = if quick { (3, Duration::from_secs(2)) } else { (7, Duration::from_secs(5)) };
    let at = serve_echo().await?;
    let mut seen: [(&str, Vec<(Report, f64)>); 3] =
        [("tarpc", vec![]), ("gRPC (tonic)", vec![]), ("HTTP/JSON", vec![])];
    for _ in 0..rounds {
        seen[0].1.push(round("tarpc", length, || tarpc_caller(at.tarpc)).await?);
        seen[1].1.push(round("grpc", length, || grpc_caller(at.grpc)).await?);
        seen[2].1.push(round("http", length, || http_caller(at.http)).await?);
    }
    let figure = |of: fn(&(Report, f64)) -> f64| seen.each_ref().map(|(_, all)| median(all.iter().map(of).collect()));
    let print = |what: &str, unit: &str, values: [f64; 3]| {
        for ((name, _), value) in seen.iter().zip(values) {
            let rival = values[2];
            println!(
                "figure {what}, {name} = {value:.1} {unit} | rival HTTP/JSON = {rival:.1} | ratio {:.2}",
                value / rival
            );
        }
    };
    print("answers a second", "/s", figure(|(report, _)| report.achieved_rate));
    print("p50", "ms", figure(|(report, _)| report.latency.p50_ms));
    print("p99", "ms", figure(|(report, _)| report.latency.p99_ms));
    print("CPU time a call, both sides", "µs", figure(|(_, micros)| *micros));
    Ok(())
}
