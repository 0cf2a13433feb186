//! How an agent is set up: what the code says, then what OpenTelemetry's environment variables say, then defaults.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fuseboard_policy::document::PolicyDocument;
use opentelemetry::{Key, KeyValue};
use opentelemetry_sdk::Resource;

use crate::agent::{Agent, Setup, TlsSettings};
use crate::bounds::Bounds;
use crate::discovery::Discovery;
use crate::environment::{self, env};
use crate::error::AgentError;
use crate::room::PoolLimits;
use crate::rules;
use crate::shedding::LoadSource;
use crate::telemetry::Limits;
use crate::tls::ClientTls;
use crate::token::Token;

/// Sets up an [`Agent`].
#[derive(Debug, Clone)]
#[must_use = "an agent does nothing until start() is awaited"]
pub struct Builder {
    service: String,
    instance: Option<String>,
    version: Option<String>,
    attributes: Vec<KeyValue>,
    otlp: Option<String>,
    control: Option<String>,
    token: Option<Token>,
    tls: Option<ClientTls>,
    otlp_tls: Option<ClientTls>,
    control_tls: Option<ClientTls>,
    discovery: Option<Arc<dyn Discovery>>,
    pool: PoolLimits,
    drain: Duration,
    state_dir: Option<PathBuf>,
    default_policy: PolicySource,
    bounds: Bounds,
    limits: Limits,
    operations_per_edge: usize,
    shutdown_limit: Duration,
    load: Option<LoadSource>,
}

/// Where the policy before the first one from the control plane comes from.
#[derive(Debug, Clone, Default)]
enum PolicySource {
    /// Nothing is in force.
    #[default]
    None,
    /// This document.
    Document(PolicyDocument),
    /// This document's text, still to be read.
    Toml(String),
}

impl PolicySource {
    fn read(self, bounds: &Bounds) -> Result<PolicyDocument, AgentError> {
        let document = match self {
            Self::None => PolicyDocument::default(),
            Self::Document(document) => document,
            Self::Toml(text) => PolicyDocument::parse(&text).map_err(|p| AgentError::Policy(rules::one_line(&p)))?,
        };
        bounds.check_policy(&document).map_err(AgentError::Policy)?;
        Ok(document)
    }
}

impl Builder {
    pub(crate) fn new(service: String) -> Self {
        Self {
            service,
            instance: None,
            version: None,
            attributes: Vec::new(),
            otlp: None,
            control: None,
            token: None,
            tls: None,
            otlp_tls: None,
            control_tls: None,
            discovery: None,
            pool: PoolLimits::default(),
            drain: Duration::from_secs(2),
            state_dir: None,
            default_policy: PolicySource::None,
            bounds: Bounds::default(),
            limits: Limits {
                traces: true,
                metrics: true,
                spans: 8192,
                logs: 2048,
                metrics_every: Duration::from_secs(5),
            },
            operations_per_edge: 128,
            shutdown_limit: Duration::from_secs(5),
            load: None,
        }
    }

    /// `service.instance.id`; a random one when not given.
    pub fn instance(mut self, instance: impl Into<String>) -> Self {
        self.instance = Some(instance.into());
        self
    }

    /// `service.version`.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// A further resource attribute, sent with everything.
    pub fn attribute(mut self, attribute: KeyValue) -> Self {
        self.attributes.push(attribute);
        self
    }

    /// The collector's OTLP/gRPC address; `OTEL_EXPORTER_OTLP_ENDPOINT`, then `http://127.0.0.1:4317` when not given.
    pub fn otlp(mut self, address: impl Into<String>) -> Self {
        self.otlp = Some(address.into());
        self
    }

    /// The collector's control address; `FUSEBOARD_CONTROL` when not given. Without one the agent obeys the default policy and
    /// the last one known.
    pub fn control(mut self, address: impl Into<String>) -> Self {
        self.control = Some(address.into());
        self
    }

    /// The bearer token that says to the collector who this is, on the control stream and in each export; that in
    /// `FUSEBOARD_TOKEN_FILE`, then `FUSEBOARD_TOKEN`, when not given. It is never shown, and a log record warns when an address
    /// gets it in the clear. Where the export goes to somebody whom it is not meant for, give `authorization` in
    /// `OTEL_EXPORTER_OTLP_HEADERS`: that goes in its place.
    pub fn token(mut self, token: Token) -> Self {
        self.token = Some(token);
        self
    }

    /// What `https://` addresses are dialled with, unless something else is said for them. When not given:
    /// `FUSEBOARD_TLS_ROOTS`, `FUSEBOARD_TLS_CERTIFICATE` and `FUSEBOARD_TLS_KEY` (PEM files), then this system's roots.
    pub fn tls(mut self, settings: ClientTls) -> Self {
        self.tls = Some(settings);
        self
    }

    /// What the collector's OTLP address is dialled with; `OTEL_EXPORTER_OTLP_CERTIFICATE` and its kind, then [`Builder::tls`],
    /// when not given.
    pub fn otlp_tls(mut self, settings: ClientTls) -> Self {
        self.otlp_tls = Some(settings);
        self
    }

    /// What the control address is dialled with; [`Builder::tls`] when not given.
    pub fn control_tls(mut self, settings: ClientTls) -> Self {
        self.control_tls = Some(settings);
        self
    }

    /// The agent's own source of instances, for clients that are given [`Discovered`](crate::discovery::Discovered). None when not given.
    pub fn discovery(mut self, source: impl Discovery) -> Self {
        self.discovery = Some(Arc::new(source));
        self
    }

    /// How long [`Agent::drain`] waits after it took this instance out of discovery, for callers to notice; 2 s when not given.
    pub fn drain(mut self, wait: Duration) -> Self {
        self.drain = wait;
        self
    }

    /// How much clients may use of each instance of their callee, where they are not told themselves.
    pub fn pool(mut self, limits: PoolLimits) -> Self {
        self.pool = limits;
        self
    }

    /// A directory of this instance's own where the last good policy, one that waits for its confirmation and the overrides in
    /// force are kept over restarts; `FUSEBOARD_STATE_DIR` when not given. Made for its owner alone if it is missing.
    pub fn state_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(directory.into());
        self
    }

    /// What is in force (as revision 0) until the control plane or the state directory says otherwise.
    pub fn default_policy(mut self, document: PolicyDocument) -> Self {
        self.default_policy = PolicySource::Document(document);
        self
    }

    /// Like [`Builder::default_policy`], from the text of a TOML document.
    pub fn default_policy_toml(mut self, text: impl Into<String>) -> Self {
        self.default_policy = PolicySource::Toml(text.into());
        self
    }

    /// What nobody who steers this agent can set, its own default policy included.
    pub fn bounds(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// Exports no spans, as `OTEL_TRACES_EXPORTER=none` does. The ids that come with a request go on to whoever is called.
    pub fn without_traces(mut self) -> Self {
        self.limits.traces = false;
        self
    }

    /// Exports no metrics, as `OTEL_METRICS_EXPORTER=none` does.
    pub fn without_metrics(mut self) -> Self {
        self.limits.metrics = false;
        self
    }

    /// Most spans that wait for export; more are dropped and counted. 8,192 when not given.
    pub fn max_queued_spans(mut self, spans: usize) -> Self {
        self.limits.spans = spans;
        self
    }

    /// Most log records that wait for export; more are dropped and counted. 2,048 when not given.
    pub fn max_queued_logs(mut self, logs: usize) -> Self {
        self.limits.logs = logs;
        self
    }

    /// Time between two exports of metrics; 5 s when not given.
    pub fn metrics_every(mut self, period: Duration) -> Self {
        self.limits.metrics_every = period.max(Duration::from_millis(100));
        self
    }

    /// Most operations of one callee that get a breaker of their own; the rest share one. 128 when not given.
    pub fn operations_per_edge(mut self, most: usize) -> Self {
        self.operations_per_edge = most.max(1);
        self
    }

    /// How much of the processor is used, 0…1, for `shed` in this service's policy: read four times a second and smoothed.
    /// When not given, what this process used of the processors that it may use (on Linux; elsewhere nothing is shed).
    pub fn processor_load(mut self, read: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        self.load = Some(LoadSource::new(read));
        self
    }

    /// Longest time that [`Agent::shutdown`] takes; 5 s when not given.
    pub fn shutdown_limit(mut self, limit: Duration) -> Self {
        self.shutdown_limit = limit;
        self
    }

    /// Starts the agent on the current tokio runtime. Waits for no connection: an absent collector only costs what the queues
    /// cannot hold.
    ///
    /// # Errors
    /// An address that is none, a default policy that is refused, a state directory that cannot be used.
    pub async fn start(self) -> Result<Agent, AgentError> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(AgentError::NoRuntime);
        }
        // With what the environment says: OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME.
        let resource = Resource::builder().with_attributes(self.attributes);
        let known = resource.build();
        let said = |key: &'static str| known.get(&Key::new(key)).map(|value| value.to_string());
        let named = || said("service.name").filter(|name| !name.starts_with("unknown_service"));
        let service = Some(self.service).filter(|name| !name.is_empty()).or_else(named).ok_or(AgentError::NoName)?;
        let instance = self.instance.or_else(|| said("service.instance.id"));
        let instance = instance.unwrap_or_else(|| format!("{service}-{:08x}", rand::random::<u32>()));
        let version = self.version.or_else(|| said("service.version")).unwrap_or_default();
        let mut resource =
            Resource::builder_empty().with_attributes(known.iter().map(|(k, v)| KeyValue::new(k.clone(), v.clone())));
        resource = resource.with_service_name(service.clone());
        resource = resource.with_attribute(KeyValue::new("service.instance.id", instance.clone()));
        if !version.is_empty() {
            resource = resource.with_attribute(KeyValue::new("service.version", version.clone()));
        }
        let otlp = self.otlp.or_else(|| env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"));
        let otlp = otlp.or_else(|| env("OTEL_EXPORTER_OTLP_ENDPOINT"));
        let otlp = otlp.unwrap_or_else(|| String::from("http://127.0.0.1:4317"));
        let tls = TlsSettings {
            all: self.tls.or_else(environment::tls),
            otlp: self.otlp_tls.or_else(environment::otlp_tls),
            control: self.control_tls,
        };
        let exported = |name| env(name).is_none_or(|exporter| exporter.trim() != "none");
        let mut limits = self.limits;
        limits.traces &= exported("OTEL_TRACES_EXPORTER");
        limits.metrics &= exported("OTEL_METRICS_EXPORTER");
        let default_policy = self.default_policy.read(&self.bounds)?;
        let setup = Setup {
            service,
            instance,
            version,
            resource: resource.build(),
            otlp: environment::with_scheme(otlp),
            control: self.control.or_else(|| env("FUSEBOARD_CONTROL")),
            token: self.token.or_else(environment::token),
            tls,
            discovery: self.discovery,
            pool: self.pool,
            drain: self.drain,
            zone: said("cloud.availability_zone"),
            state_dir: self.state_dir.or_else(|| env("FUSEBOARD_STATE_DIR").map(PathBuf::from)),
            default_policy,
            bounds: self.bounds,
            limits,
            operations_per_edge: self.operations_per_edge,
            shutdown_limit: self.shutdown_limit,
            load: self.load,
        };
        Agent::begin(setup).await
    }
}
