//! The agent: one per service instance; many may live in one process.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fuseboard_policy::document::PolicyDocument;
use fuseboard_policy::wire::v1;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::bounds::Bounds;
use crate::builder::Builder;
use crate::clock::Clock;
use crate::control::{Dial, Line, Reports, StateFile, Steering, run_stream, run_ticker};
use crate::discovery::{Discovery, IntoEndpoints, Snapshot};
use crate::edges::Edges;
use crate::error::AgentError;
use crate::fallback::Fallbacks;
use crate::grpc::{GrpcClient, GrpcServerLayer};
use crate::http::{HttpClient, HttpClientLayer, HttpServerLayer};
use crate::log::Severity;
use crate::messaging::{Consumer, Place, Producer};
use crate::proxy::Proxy;
use crate::registration::Registrations;
use crate::room::PoolLimits;
use crate::serve::Kinds;
use crate::shedding::LoadSource;
use crate::sightings::Sightings;
use crate::tarpc::{TarpcClient, TarpcServer};
use crate::telemetry::{Limits, Telemetry};
use crate::tls::{self, Alpn, ClientTls, Connector, Dialer, ServerTls, TlsError, TlsIncoming};
use crate::token::{Bearer, Token};

/// What a service embeds. Clones are handles of the same agent; it has no process globals.
#[derive(Clone)]
pub struct Agent {
    pub(crate) inner: Arc<Inner>,
    /// What the clients made with this handle dial with.
    pub(crate) dialer: Dialer,
}

/// What the builder found out.
pub(crate) struct Setup {
    pub(crate) service: String,
    pub(crate) instance: String,
    pub(crate) version: String,
    pub(crate) zone: Option<String>,
    pub(crate) drain: Duration,
    pub(crate) resource: Resource,
    pub(crate) otlp: String,
    pub(crate) control: Option<String>,
    pub(crate) token: Option<Token>,
    pub(crate) tls: TlsSettings,
    pub(crate) discovery: Option<Arc<dyn Discovery>>,
    pub(crate) pool: PoolLimits,
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) default_policy: PolicyDocument,
    pub(crate) bounds: Bounds,
    pub(crate) limits: Limits,
    pub(crate) operations_per_edge: usize,
    pub(crate) shutdown_limit: Duration,
    pub(crate) load: Option<LoadSource>,
}

/// What dials with what.
pub(crate) struct TlsSettings {
    /// Everything that has no settings of its own; `None` trusts the system's roots.
    pub(crate) all: Option<ClientTls>,
    pub(crate) otlp: Option<ClientTls>,
    pub(crate) control: Option<ClientTls>,
}

impl TlsSettings {
    /// For clients, export and control.
    fn dialers(&self) -> Result<(Dialer, Dialer, Dialer), TlsError> {
        let all = self.all.as_ref().map_or_else(|| Ok(Dialer::default()), Dialer::new)?;
        let own = |own: &Option<ClientTls>| own.as_ref().map_or_else(|| Ok(all.clone()), Dialer::new);
        Ok((all.clone(), own(&self.otlp)?, own(&self.control)?))
    }
}

/// What all handles share.
pub(crate) struct Inner {
    pub(crate) service: Arc<str>,
    pub(crate) instance: Arc<str>,
    pub(crate) clock: Clock,
    pub(crate) edges: Arc<Edges>,
    pub(crate) steering: Arc<Steering>,
    pub(crate) reports: Reports,
    pub(crate) telemetry: Telemetry,
    /// What the requests that are answered have in common.
    pub(crate) served: Kinds,
    /// The agent's own source of instances.
    pub(crate) discovery: Option<Arc<dyn Discovery>>,
    pub(crate) sightings: Arc<Sightings>,
    /// How much clients use of each instance where they are not told.
    pub(crate) pool: PoolLimits,
    pub(crate) registrations: Registrations,
    pub(crate) fallbacks: Fallbacks,
    shutdown_limit: Duration,
    pub(crate) closing: CancellationToken,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent")
            .field("service", &self.inner.service)
            .field("instance", &self.inner.instance)
            .finish_non_exhaustive()
    }
}

impl Agent {
    /// Sets up an agent for a service (`service.name`; empty: `OTEL_SERVICE_NAME`).
    pub fn builder(service: impl Into<String>) -> Builder {
        Builder::new(service.into())
    }

    /// Starts an agent for a service with what the [environment](crate#environment) says, as [`Builder::start`] does.
    ///
    /// # Errors
    /// As for [`Builder::start`].
    pub async fn start(service: impl Into<String>) -> Result<Self, AgentError> {
        Self::builder(service).start().await
    }

    pub(crate) async fn begin(setup: Setup) -> Result<Self, AgentError> {
        let otlp = crate::address::uri(&setup.otlp)?;
        let control = setup.control.as_deref().map(crate::address::uri).transpose()?;
        let mut shown = Vec::new();
        if setup.token.is_some() {
            shown.extend([Some(&otlp), control.as_ref()].into_iter().flatten().filter_map(Token::shown_to));
        }
        // Now rather than in the first dial, which tries on for ever.
        let bearer = Bearer::new(setup.token.as_ref())?;
        let (dialer, otlp_dialer, control_dialer) = setup.tls.dialers()?;
        let state = match &setup.state_dir {
            None => None,
            Some(directory) => Some(
                StateFile::open(directory, &setup.instance)
                    .map_err(|source| AgentError::StateDir { path: directory.clone(), source })?,
            ),
        };
        let telemetry = Telemetry::start(setup.resource, otlp, &otlp_dialer, &bearer, setup.limits)?;
        let sightings = Sightings::new(&telemetry.meter("fuseboard-agent"));
        let (service, instance): (Arc<str>, Arc<str>) = (setup.service.into(), setup.instance.into());
        let most_bytes = setup.bounds.most_bytes();
        let steering = Steering::new(service.clone(), instance.clone(), &setup.default_policy, setup.bounds);
        let kept = state.as_ref().map_or(Ok(None), StateFile::load);
        if let Ok(Some(saved)) = &kept {
            steering.restore(saved.clone());
        }
        let clock = Clock::start();
        let most = setup.operations_per_edge;
        let edges = Edges::new(service.clone(), instance.clone(), clock, most, steering.rules());
        let edges = Arc::new(edges.with_load(setup.load));
        let (reports, transitions) = Reports::new();
        let closing = CancellationToken::new();
        let inner = Arc::new(Inner {
            service,
            instance,
            clock,
            edges,
            steering: Arc::new(steering),
            reports,
            telemetry,
            served: Kinds::default(),
            discovery: setup.discovery,
            sightings,
            pool: setup.pool,
            registrations: Registrations::new(setup.version.clone(), setup.zone, setup.drain),
            fallbacks: Fallbacks::default(),
            shutdown_limit: setup.shutdown_limit,
            closing: closing.clone(),
        });
        if let Err(error) = kept {
            let text = format!("starting without the policy kept from the last run: {error}");
            crate::log::write(&inner, Severity::Warn, text, &[]);
        }
        for text in shown {
            crate::log::write(&inner, Severity::Warn, text, &[]);
        }
        let hello = v1::Hello {
            service: inner.service.to_string(),
            instance: inner.instance.to_string(),
            version: setup.version,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        for dialer in [&dialer, &otlp_dialer, &control_dialer] {
            tls::watch(dialer, &inner);
        }
        let dial = control.map(|uri| Dial::new(&control_dialer, uri, setup.token));
        let line = Line { dial, hello, transitions, most_bytes, state, closing: closing.clone() };
        tokio::spawn(run_stream(Arc::downgrade(&inner), line));
        tokio::spawn(run_ticker(Arc::downgrade(&inner), closing));
        Ok(Self { inner, dialer })
    }

    /// `service.name`.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.inner.service
    }

    /// `service.instance.id`.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.inner.instance
    }

    /// A handle of this agent whose clients dial `https://` addresses with other settings than those of
    /// [`Builder::tls`](crate::Builder::tls).
    ///
    /// # Errors
    /// Certificates, keys or names that cannot be used.
    pub fn with_tls(&self, settings: &ClientTls) -> Result<Self, AgentError> {
        let dialer = Dialer::new(settings)?;
        tls::watch(&dialer, &self.inner);
        Ok(Self { inner: self.inner.clone(), dialer })
    }

    /// A connector for hyper's clients, which dials with this handle's TLS settings and offers HTTP/2 and HTTP/1.1. `limit` is
    /// the longest time to a connection that can be used.
    #[must_use]
    pub fn connector(&self, limit: Duration) -> Connector {
        self.dialer.connector(Alpn::Http, limit)
    }

    /// Connections over TLS for a tonic server: `router.serve_with_incoming(agent.grpc_tls_incoming(listener, &tls)?)`.
    ///
    /// # Errors
    /// Certificates or keys that cannot be used.
    pub fn grpc_tls_incoming(&self, listener: TcpListener, tls: &ServerTls) -> Result<TlsIncoming, AgentError> {
        Ok(tls::incoming(&self.inner, listener, tls, Alpn::H2)?)
    }

    /// Connections over TLS for an HTTP server: `axum::serve(agent.http_tls_listener(listener, &tls)?, router)`.
    ///
    /// # Errors
    /// Certificates or keys that cannot be used.
    pub fn http_tls_listener(&self, listener: TcpListener, tls: &ServerTls) -> Result<TlsIncoming, AgentError> {
        Ok(tls::incoming(&self.inner, listener, tls, Alpn::Http)?)
    }

    /// A client for a gRPC service: give it to a generated client's `new`. `endpoints` are addresses, a source of discovery, or
    /// [`Discovered`](crate::discovery::Discovered) for the agent's own; the policy's balancer chooses among the instances, round robin
    /// where it says nothing.
    ///
    /// # Errors
    /// No address, one that is none, or `Discovered` for an agent without a source.
    pub fn grpc_client(&self, service: &str, endpoints: impl IntoEndpoints) -> Result<GrpcClient, AgentError> {
        GrpcClient::new(&self.inner, &self.dialer, service, endpoints)
    }

    /// The layer for a tonic server: `Server::builder().layer(agent.grpc_server())`.
    #[must_use]
    pub fn grpc_server(&self) -> GrpcServerLayer {
        GrpcServerLayer::new(&self.inner, &self.dialer)
    }

    /// A client for an HTTP service. `endpoints` as for [`Agent::grpc_client`]; an address may have a path (`http://bank:8080/api`),
    /// which goes before that of each request.
    ///
    /// # Errors
    /// As for [`Agent::grpc_client`].
    pub fn http_client(&self, service: &str, endpoints: impl IntoEndpoints) -> Result<HttpClient, AgentError> {
        HttpClient::new(&self.inner, &self.dialer, service, endpoints)
    }

    /// The layer for any client that is a `Service<http::Request<…>>`, such as hyper's.
    #[must_use]
    pub fn http_client_layer(&self, service: &str) -> HttpClientLayer {
        HttpClientLayer::new(&self.inner, service)
    }

    /// The layer for an axum router (`router.layer(agent.http_server())`) or any HTTP server that is a tower service.
    #[must_use]
    pub fn http_server(&self) -> HttpServerLayer {
        HttpServerLayer::new(&self.inner, &self.dialer)
    }

    /// A client for a tarpc service over TCP with bincode: give it to a generated client's `from`. Connects when first used,
    /// again after a broken connection. `endpoints` as for [`Agent::grpc_client`].
    ///
    /// # Errors
    /// As for [`Agent::grpc_client`].
    pub fn tarpc_client<Req, Resp>(
        &self,
        service: &str,
        endpoints: impl IntoEndpoints,
    ) -> Result<TarpcClient<Req, Resp>, AgentError>
    where
        Req: Send + Sync + 'static,
        Resp: Send + 'static,
    {
        TarpcClient::new(&self.inner, &self.dialer, service, endpoints)
    }

    /// What is known of the instances of a callee that a client of this agent follows, since when it is stale, and why. `None`
    /// where no client follows it.
    #[must_use]
    pub fn discovered(&self, service: &str) -> Option<Snapshot> {
        self.inner.sightings.snapshot(service)
    }

    /// The server side of tarpc.
    #[must_use]
    pub fn tarpc_server(&self) -> TarpcServer {
        TarpcServer::new(&self.inner)
    }

    /// Both sides of a proxy that stands beside a service and speaks HTTP and gRPC for it.
    #[must_use]
    pub fn proxy(&self) -> Proxy {
        Proxy::new(&self.inner)
    }

    /// The sending side of a queue or topic. `system` is `messaging.system` (`kafka`, `rabbitmq`, `in_process`…).
    #[must_use]
    pub fn producer(&self, system: &'static str, destination: impl Into<String>) -> Producer {
        Producer::new(&self.inner, Place::new(system, destination.into()))
    }

    /// The receiving side of a queue or topic.
    #[must_use]
    pub fn consumer(&self, system: &'static str, destination: impl Into<String>) -> Consumer {
        Consumer::new(&self.inner, Place::new(system, destination.into()))
    }

    /// Registers what callers in this process are given where the policy says `fallback = { kind = "value", name = "…" }` and
    /// a call fails or is refused. What `make` gives says for which clients it is: a [`crate::grpc::Reply`] for gRPC, a
    /// [`crate::http::HttpResponse`] for [`Agent::http_client`], an `http::Response<B>` for clients below
    /// [`Agent::http_client_layer`] whose answers are that, the response of a generated tarpc service (`TillResponse`) for
    /// tarpc. One name may stand for one value of each. Without a value of the right type the failure is passed on, with a
    /// warning.
    pub fn fallback<T: 'static>(&self, name: impl AsRef<str>, make: impl Fn() -> T + Send + Sync + 'static) {
        self.inner.fallbacks.set(name.as_ref(), make);
    }

    /// Runs a future in an internal span of its own, for work that no request started (or a part of one worth seeing).
    pub async fn in_span<F: Future>(&self, name: &'static str, attributes: Vec<KeyValue>, work: F) -> F::Output {
        crate::log::in_span(&self.inner, name, attributes, work).await
    }

    /// Writes a log record that belongs to the current span.
    pub fn log(&self, severity: Severity, message: impl Into<String>, attributes: &[KeyValue]) {
        crate::log::write(&self.inner, severity, message.into(), attributes);
    }

    /// A tracer for spans of the application's own.
    #[must_use]
    pub fn tracer(&self, scope: &'static str) -> SdkTracer {
        self.inner.telemetry.tracer(scope)
    }

    /// A meter for metrics of the application's own.
    #[must_use]
    pub fn meter(&self, scope: &'static str) -> Meter {
        self.inner.telemetry.meter(scope)
    }

    /// Spans and log records lost since the start, each counted once: queues were full, or the collector refused them. After
    /// [`Agent::shutdown`] also all that no collector ever acknowledged, and whatever came after it. Metrics are not
    /// counted: sums and histograms are cumulative, and the next export says what a failed one did.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.inner.telemetry.dropped()
    }

    /// Sends what the queues hold now, within the shutdown limit.
    pub async fn flush(&self) {
        self.inner.telemetry.flush(self.inner.shutdown_limit).await;
    }

    /// Takes this instance out of discovery, if it is still there (2 s at most), then ends control and export; what the queues hold is
    /// sent within the shutdown limit, the rest is counted as dropped.
    pub async fn shutdown(&self) {
        self.inner.registrations.end(&self.inner).await;
        self.inner.closing.cancel();
        self.inner.telemetry.shutdown(self.inner.shutdown_limit).await;
    }
}
