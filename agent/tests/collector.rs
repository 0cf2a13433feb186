//! A collector that keeps what it is sent, and a control plane that a test speaks for.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use fuseboard_policy::wire::v1;
use futures_util::Stream;
use futures_util::future::BoxFuture;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint, metric, number_data_point};
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::server::{NamedService, StreamingService};
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};

/// Longest wait for anything in a test; a test that gets there fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A future that must end.
pub(crate) async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("never happened: {what}"))
}

/// A span and who sent it.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    pub(crate) service: String,
    pub(crate) span: Span,
}

impl Got {
    pub(crate) fn text(&self, key: &str) -> Option<String> {
        text(&self.span.attributes, key)
    }
}

/// An attribute as text.
pub(crate) fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|a| a.key == key)?.value.clone()?.value?;
    Some(match value {
        any_value::Value::StringValue(v) => v,
        any_value::Value::BoolValue(v) => v.to_string(),
        any_value::Value::IntValue(v) => v.to_string(),
        any_value::Value::DoubleValue(v) => v.to_string(),
        other => format!("{other:?}"),
    })
}

/// The values of a gauge or a sum.
fn numbers(metric: &Metric) -> Vec<(String, f64)> {
    let points = match &metric.data {
        Some(metric::Data::Gauge(gauge)) => &gauge.data_points,
        Some(metric::Data::Sum(sum)) => &sum.data_points,
        _ => return Vec::new(),
    };
    let read = |point: &NumberDataPoint| {
        let attributes =
            point.attributes.iter().map(|a| format!(" {}={}", a.key, text(&point.attributes, &a.key).unwrap()));
        let value = match point.value.unwrap() {
            number_data_point::Value::AsDouble(value) => value,
            number_data_point::Value::AsInt(value) => value as f64,
        };
        (format!("{}{}", metric.name, attributes.collect::<String>()), value)
    };
    points.iter().map(read).collect()
}

#[derive(Default)]
struct Kept {
    spans: Mutex<Vec<Got>>,
    logs: Mutex<Vec<LogRecord>>,
    metrics: Mutex<Vec<String>>,
    /// The header `x-tenant` of each export of spans or log records.
    tenants: Mutex<Vec<Option<String>>>,
    /// What each export says to be let in, after the name of its signal.
    tokens: Mutex<Vec<(&'static str, Option<String>)>>,
    points: Mutex<Vec<(String, f64)>>,
    /// What the next exports of spans are told.
    answers: Mutex<VecDeque<Result<ExportTraceServiceResponse, Status>>>,
    more: Notify,
}

/// A running collector.
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    kept: Arc<Kept>,
    sessions: mpsc::Receiver<Session>,
    server: AbortHandle,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// One agent's control stream.
pub(crate) struct Session {
    pub(crate) from: Streaming<v1::FromAgent>,
    pub(crate) to: mpsc::Sender<Result<v1::ToAgent, Status>>,
    /// What it says to be let in.
    pub(crate) authorization: Option<String>,
}

impl Session {
    /// The next message of a kind, within patience.
    pub(crate) async fn next<T>(&mut self, what: &str, pick: impl Fn(v1::from_agent::Message) -> Option<T>) -> T {
        soon(what, async {
            loop {
                let message = self.from.message().await.unwrap().expect("the stream goes on").message.unwrap();
                if let Some(found) = pick(message) {
                    return found;
                }
            }
        })
        .await
    }

    /// The next status for which something holds.
    pub(crate) async fn status(&mut self, what: &str, holds: impl Fn(&v1::Status) -> bool) -> v1::Status {
        self.next(what, |message| match message {
            v1::from_agent::Message::Status(status) => holds(&status).then_some(status),
            _ => None,
        })
        .await
    }

    pub(crate) async fn policy(&self, policy: v1::Policy) {
        let message = Some(v1::to_agent::Message::Policy(policy));
        self.to.send(Ok(v1::ToAgent { message })).await.unwrap();
    }

    pub(crate) async fn overrides(&self, generation: u64, overrides: Vec<v1::Override>) {
        let message = Some(v1::to_agent::Message::Overrides(v1::Overrides { generation, overrides }));
        self.to.send(Ok(v1::ToAgent { message })).await.unwrap();
    }
}

impl Collector {
    pub(crate) async fn start() -> Self {
        Self::listen(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    /// Starts on a socket that is there already.
    pub(crate) fn listen(listener: TcpListener) -> Self {
        Self::over(listener.local_addr().unwrap(), TcpListenerStream::new(listener))
    }

    /// Starts on connections of any kind.
    pub(crate) fn over<I, T>(address: SocketAddr, incoming: I) -> Self
    where
        I: Stream<Item = std::io::Result<T>> + Send + 'static,
        T: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    {
        let kept = Arc::new(Kept::default());
        let (tx, sessions) = mpsc::channel(16);
        let serve = Server::builder()
            .add_service(TraceServiceServer::from_arc(kept.clone()))
            .add_service(LogsServiceServer::from_arc(kept.clone()))
            .add_service(MetricsServiceServer::from_arc(kept.clone()))
            .add_service(Control { sessions: tx })
            .serve_with_incoming(incoming);
        let server = tokio::spawn(serve).abort_handle();
        Self { address, kept, sessions, server }
    }

    /// Whose the spans and log records were, export by export.
    pub(crate) fn tenants(&self) -> Vec<Option<String>> {
        self.kept.tenants.lock().unwrap().clone()
    }

    /// What the exports said to be let in, each after the name of its signal.
    pub(crate) fn tokens(&self) -> Vec<(&'static str, Option<String>)> {
        self.kept.tokens.lock().unwrap().clone()
    }

    /// What an export of spans is told, in the place of a plain yes; one after the other.
    pub(crate) fn answer(&self, answer: Result<ExportTraceServiceResponse, Status>) {
        self.kept.answers.lock().unwrap().push_back(answer);
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next agent that connects, after its hello.
    pub(crate) async fn session(&mut self) -> (Session, v1::Hello) {
        let mut session = soon("an agent connects", self.sessions.recv()).await.unwrap();
        let hello = session
            .next("hello", |message| match message {
                v1::from_agent::Message::Hello(hello) => Some(hello),
                _ => None,
            })
            .await;
        (session, hello)
    }

    /// All spans, once something holds of them.
    pub(crate) async fn spans(&self, what: &str, holds: impl Fn(&[Got]) -> bool) -> Vec<Got> {
        self.wait(what, || {
            let spans = self.kept.spans.lock().unwrap();
            holds(&spans).then(|| spans.clone())
        })
        .await
    }

    /// All log records, once something holds of them.
    pub(crate) async fn logs(&self, what: &str, holds: impl Fn(&[LogRecord]) -> bool) -> Vec<LogRecord> {
        self.wait(what, || {
            let logs = self.kept.logs.lock().unwrap();
            holds(&logs).then(|| logs.clone())
        })
        .await
    }

    /// All metrics' names, once something holds of them.
    pub(crate) async fn metrics(&self, what: &str, holds: impl Fn(&[String]) -> bool) -> Vec<String> {
        self.wait(what, || {
            let names = self.kept.metrics.lock().unwrap();
            holds(&names).then(|| names.clone())
        })
        .await
    }

    /// Values of gauges and sums, each under its metric's name and attributes, once something holds of all that came.
    pub(crate) async fn points(&self, what: &str, holds: impl Fn(&[(String, f64)]) -> bool) {
        self.wait(what, || holds(&self.kept.points.lock().unwrap()).then_some(())).await;
    }

    async fn wait<T>(&self, what: &str, look: impl Fn() -> Option<T>) -> T {
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                let more = self.kept.more.notified();
                if let Some(found) = look() {
                    return found;
                }
                more.await;
            }
        });
        match found.await {
            Ok(found) => found,
            Err(_) => panic!("never seen: {what}; spans: {:#?}", self.kept.spans.lock().unwrap()),
        }
    }
}

/// What a request says to be let in.
fn authorization<T>(request: &Request<T>) -> Option<String> {
    request.metadata().get("authorization").map(|v| v.to_str().unwrap().to_owned())
}

impl Kept {
    fn token<T>(&self, signal: &'static str, request: &Request<T>) {
        self.tokens.lock().unwrap().push((signal, authorization(request)));
    }

    fn tenant<T>(&self, request: &Request<T>) {
        let tenant = request.metadata().get("x-tenant").map(|v| v.to_str().unwrap().to_owned());
        self.tenants.lock().unwrap().push(tenant);
    }
}

#[tonic::async_trait]
impl TraceService for Kept {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.tenant(&request);
        self.token("spans", &request);
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or_else(|| Ok(Default::default()));
        for resource in request.into_inner().resource_spans.into_iter().take(usize::from(answer.is_ok())) {
            let attributes = resource.resource.map(|r| r.attributes).unwrap_or_default();
            let service = text(&attributes, "service.name").unwrap_or_default();
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.spans.lock().unwrap().extend(spans.map(|span| Got { service: service.clone(), span }));
        }
        self.more.notify_waiters();
        answer.map(Response::new)
    }
}

#[tonic::async_trait]
impl LogsService for Kept {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        self.tenant(&request);
        self.token("logs", &request);
        let scopes = request.into_inner().resource_logs.into_iter().flat_map(|r| r.scope_logs);
        self.logs.lock().unwrap().extend(scopes.flat_map(|scope| scope.log_records));
        self.more.notify_waiters();
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Kept {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.token("metrics", &request);
        let scopes = request.into_inner().resource_metrics.into_iter().flat_map(|r| r.scope_metrics);
        for metric in scopes.flat_map(|s| s.metrics) {
            self.points.lock().unwrap().extend(numbers(&metric));
            self.metrics.lock().unwrap().push(metric.name);
        }
        self.more.notify_waiters();
        Ok(Response::new(Default::default()))
    }
}

/// The server's side of the control stream; the stubs for it live with the real collector.
#[derive(Clone)]
struct Control {
    sessions: mpsc::Sender<Session>,
}

impl NamedService for Control {
    const NAME: &'static str = "fuseboard.control.v1.Control";
}

impl StreamingService<v1::FromAgent> for Control {
    type Response = v1::ToAgent;
    type ResponseStream = ReceiverStream<Result<v1::ToAgent, Status>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<v1::FromAgent>>) -> Self::Future {
        let sessions = self.sessions.clone();
        Box::pin(async move {
            let (to, rx) = mpsc::channel(16);
            let authorization = authorization(&request);
            // A test that has ended does not listen any more.
            let _ = sessions.send(Session { from: request.into_inner(), to, authorization }).await;
            Ok(Response::new(ReceiverStream::new(rx)))
        })
    }
}

impl tower::Service<http::Request<tonic::body::Body>> for Control {
    type Response = http::Response<tonic::body::Body>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let codec = tonic_prost::ProstCodec::<v1::ToAgent, v1::FromAgent>::default();
            Ok(tonic::server::Grpc::new(codec).streaming(service, request).await)
        })
    }
}
