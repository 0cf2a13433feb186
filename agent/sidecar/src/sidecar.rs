//! The running sidecar.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use fuseboard_agent::discovery::{Discovery as Source, DiscoveryError, Instance, Lease};
use fuseboard_agent::proxy::Proxy;
use fuseboard_agent::{Agent, AgentError, Token};
use rustix::process::setpriority_process;
use rustix::thread::gettid;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::Admin;
use crate::config::{Config, Discovery, millis};
use crate::serve::{Door, Port, ToService, ToUpstream, listen};
use crate::target::Targets;

/// What the thread for export and control yields to others, as `nice` counts it.
const NICE: i32 = 10;
/// How often unused connections are looked after.
const TIDY: Duration = Duration::from_secs(1);

/// A sidecar that cannot start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SidecarError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}; another process may have the port, or this user may not take it")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The policy document cannot be read.
    #[error("the policy document {path} cannot be read: {source}")]
    Policy {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The token for the source of discovery cannot be read.
    #[error("the token {path} cannot be read: {source}; look at `discovery.consul.token_file`")]
    Token {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The thread for export and control cannot be had.
    #[error("no thread can be started: {0}; look at this process's limits")]
    Thread(#[source] std::io::Error),
    /// The agent cannot start.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The service cannot be registered.
    #[error("the service cannot be registered: {0}")]
    Register(#[from] DiscoveryError),
    /// Another configuration has other listeners.
    #[error("the listeners are others than those that are open; they change with a restart only")]
    Listeners,
}

/// A running sidecar.
#[derive(Debug)]
pub struct Sidecar {
    agent: Agent,
    proxy: Proxy,
    config: Config,
    targets: Arc<ArcSwap<Targets>>,
    lease: Option<Lease>,
    door: Door,
    desk: Door,
    admin: Option<SocketAddr>,
    inbound: Vec<SocketAddr>,
    outbound: Vec<SocketAddr>,
    _beside: Beside,
}

/// A thread beside the ones that serve, for all that the agent does by itself: packing a batch of spans takes milliseconds, which
/// no request should wait for.
#[derive(Debug)]
struct Beside(Option<Runtime>);

impl Beside {
    fn start() -> Result<Self, SidecarError> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).thread_name("fuseboard-export").enable_all();
        // Where cores are short, requests go first; telemetry that cannot keep up is dropped and counted. A system that does
        // not allow it only loses that.
        builder.on_thread_start(|| {
            let _ = setpriority_process(Some(gettid()), NICE);
        });
        let runtime = builder.build();
        Ok(Self(Some(runtime.map_err(SidecarError::Thread)?)))
    }

    /// Runs work there; what it spawns stays there.
    async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        let Some(runtime) = &self.0 else { return work.await };
        match runtime.spawn(work).await {
            Ok(done) => done,
            // Nobody cancels it: it can only have panicked.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // Waiting for its thread is not allowed where tasks run.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Sidecar {
    /// Starts agent and listeners on the current runtime, then registers the service where a source of discovery is set.
    ///
    /// # Errors
    /// A port is taken, a policy is refused, an address is none.
    pub async fn start(config: Config) -> Result<Self, SidecarError> {
        let source = config.discovery.as_ref().map(Discovery::source).transpose()?.flatten();
        let beside = Beside::start()?;
        let agent = beside.run(agent(config.clone(), source.clone())).await?;
        let proxy = agent.proxy();
        let limits = Arc::new(config.limits.clone());
        let door = Door { closing: CancellationToken::new(), open: TaskTracker::new(), limits: limits.clone() };
        // It goes on answering until the end: somebody wants to know how far that is.
        let desk = Door { closing: CancellationToken::new(), open: TaskTracker::new(), limits };
        let targets = Arc::new(ArcSwap::from_pointee(Targets::new(&config, &agent, &proxy, None)?));
        let (mut inbound, mut outbound, mut admin) = (Vec::new(), Vec::new(), Vec::new());
        for (at, said) in config.inbound.iter().enumerate() {
            let listener = Port::new(bind(said.listen, &mut inbound).await?, said.tls.as_ref(), &agent)?;
            let (name, targets, open) = (config.service.name.clone(), targets.clone(), door.open.clone());
            let scheme = if said.tls.is_some() { "https" } else { "http" };
            let handler = ToService { name, scheme, proxy: proxy.server(), targets, at, open };
            tokio::spawn(listen(listener, Arc::new(handler), door.clone()));
        }
        for said in &config.outbound {
            let listener = Port::Plain(bind(said.listen, &mut outbound).await?);
            let (only, targets, open) = (said.to.clone(), targets.clone(), door.open.clone());
            tokio::spawn(listen(listener, Arc::new(ToUpstream { only, targets, open }), door.clone()));
        }
        if let Some(address) = config.admin.listen {
            let (agent, proxy, targets) = (agent.clone(), proxy.clone(), targets.clone());
            let handler = Admin { agent, proxy, targets, closing: door.closing.clone() };
            tokio::spawn(listen(Port::Plain(bind(address, &mut admin).await?), Arc::new(handler), desk.clone()));
        }
        tokio::spawn(tidy(targets.clone(), door.closing.clone()));
        let lease = register(&config, source, &agent)?;
        let admin = admin.pop();
        Ok(Self { agent, proxy, config, targets, lease, door, desk, admin, inbound, outbound, _beside: beside })
    }

    /// Takes another configuration while running: upstreams, routes, addresses, limits of requests. What it says as before
    /// keeps its connections, and breakers keep their state in any case. What needs a restart is left as it was.
    ///
    /// # Errors
    /// Certificates that cannot be used, or listeners that are not the ones that are open; then nothing has changed.
    pub fn reload(&mut self, config: Config) -> Result<Vec<&'static str>, SidecarError> {
        let listeners = |c: &Config| {
            let inbound = c.inbound.iter().map(|i| (i.listen, i.tls.clone(), None));
            inbound.chain(c.outbound.iter().map(|o| (o.listen, None, o.to.clone()))).collect::<Vec<_>>()
        };
        if listeners(&config) != listeners(&self.config) {
            return Err(SidecarError::Listeners);
        }
        let mut later = Vec::new();
        let mut note = |same: bool, name| later.extend((!same).then_some(name));
        note(config.service == self.config.service, "service");
        note(config.telemetry == self.config.telemetry, "telemetry");
        note(config.control == self.config.control, "control");
        note(config.discovery == self.config.discovery, "discovery");
        note(config.admin == self.config.admin, "admin");
        note(config.limits == self.config.limits, "limits");
        let targets = Targets::new(&config, &self.agent, &self.proxy, Some(&self.targets.load()))?;
        self.targets.store(Arc::new(targets));
        let inbound = config.inbound;
        self.config = Config { inbound, upstream: config.upstream, ..self.config.clone() };
        Ok(later)
    }

    /// Where the inbound listeners are, in the order of the configuration.
    #[must_use]
    pub fn inbound(&self) -> &[SocketAddr] {
        &self.inbound
    }

    /// Where the outbound listeners are, in the order of the configuration.
    #[must_use]
    pub fn outbound(&self) -> &[SocketAddr] {
        &self.outbound
    }

    /// Where health and metrics are served.
    #[must_use]
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Takes the service out of discovery, takes no more connections, lets what is under way finish within the limit, and
    /// sends the last telemetry.
    pub async fn shutdown(self) {
        let drain = millis(self.config.limits.drain_ms);
        let until = tokio::time::Instant::now() + drain;
        if let Some(lease) = self.lease {
            // A source that does not answer forgets the service by itself.
            let _ = tokio::time::timeout_at(until, lease.end()).await;
        }
        self.door.closing.cancel();
        self.door.open.close();
        let _ = tokio::time::timeout_at(until, self.door.open.wait()).await;
        self.agent.shutdown().await;
        self.desk.closing.cancel();
    }
}

async fn agent(config: Config, source: Option<Arc<dyn Source>>) -> Result<Agent, SidecarError> {
    let mut builder = Agent::builder(config.service.name);
    if let Some(source) = source {
        builder = builder.discovery(source);
    }
    if let Some(instance) = &config.service.instance {
        builder = builder.instance(instance);
    }
    if let Some(version) = &config.service.version {
        builder = builder.version(version);
    }
    if let Some(otlp) = &config.telemetry.otlp {
        builder = builder.otlp(otlp);
    }
    if let Some(address) = &config.control.address {
        builder = builder.control(address);
    }
    if let Some(path) = &config.control.token_file {
        builder = builder.token(Token::file(path));
    }
    if let Some(directory) = &config.control.state_dir {
        builder = builder.state_dir(directory);
    }
    if let Some(path) = &config.control.policy {
        let read = std::fs::read_to_string(path);
        let text = read.map_err(|source| SidecarError::Policy { path: path.clone(), source })?;
        builder = builder.default_policy_toml(text);
    }
    Ok(builder.start().await?)
}

async fn bind(address: SocketAddr, bound: &mut Vec<SocketAddr>) -> Result<TcpListener, SidecarError> {
    let failed = |source| SidecarError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    bound.push(listener.local_addr().map_err(failed)?);
    Ok(listener)
}

/// Announces the service, where the configuration says at which address.
fn register(config: &Config, source: Option<Arc<dyn Source>>, agent: &Agent) -> Result<Option<Lease>, SidecarError> {
    let announced = config.discovery.as_ref().and_then(|said| said.announce.as_deref());
    let (Some(source), Some(address)) = (source, announced) else { return Ok(None) };
    let mut instance = Instance::at(address)?.named(agent.instance());
    instance.version.clone_from(&config.service.version);
    Ok(Some(source.register(&config.service.name, instance)?))
}

async fn tidy(targets: Arc<ArcSwap<Targets>>, closing: CancellationToken) {
    while tokio::time::timeout(TIDY, closing.cancelled()).await.is_err() {
        targets.load().tidy();
    }
}
