//! The running sidecar.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fuseboard_agent::{Agent, AgentError};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::Admin;
use crate::config::{Config, millis};
use crate::serve::{Door, Port, ToService, ToUpstream, listen};
use crate::target::{Local, Upstream};

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
    /// The agent cannot start.
    #[error(transparent)]
    Agent(#[from] AgentError),
}

/// A running sidecar.
#[derive(Debug)]
pub struct Sidecar {
    agent: Agent,
    door: Door,
    desk: Door,
    drain: Duration,
    admin: Option<SocketAddr>,
    inbound: Vec<SocketAddr>,
    outbound: Vec<SocketAddr>,
}

impl Sidecar {
    /// Starts agent and listeners on the current runtime.
    ///
    /// # Errors
    /// A port is taken, a policy is refused, an address is none.
    pub async fn start(config: Config) -> Result<Self, SidecarError> {
        let agent = agent(&config).await?;
        let proxy = agent.proxy();
        let door = Door {
            closing: CancellationToken::new(),
            open: TaskTracker::new(),
            limits: Arc::new(config.limits.clone()),
        };
        let upstreams = config.upstream.iter().map(|said| Ok(Arc::new(Upstream::new(&config, said, &agent, &proxy)?)));
        let upstreams: Vec<_> = upstreams.collect::<Result<_, AgentError>>()?;
        let mut locals = Vec::new();
        let (mut inbound, mut outbound) = (Vec::new(), Vec::new());
        for said in &config.inbound {
            let listener = bind(said.listen, &mut inbound).await?;
            let listener = Port::new(listener, said.tls.as_ref(), &agent)?;
            let local = Arc::new(Local::new(&config, said, &agent));
            locals.push(local.clone());
            let handler =
                ToService { name: config.service.name.clone(), proxy: proxy.server(), local, open: door.open.clone() };
            tokio::spawn(listen(listener, Arc::new(handler), door.clone()));
        }
        for said in &config.outbound {
            let listener = Port::Plain(bind(said.listen, &mut outbound).await?);
            let only = upstreams.iter().find(|u| said.to.as_deref() == Some(&**u.client.service())).cloned();
            let handler = ToUpstream { only, all: upstreams.clone(), open: door.open.clone() };
            tokio::spawn(listen(listener, Arc::new(handler), door.clone()));
        }
        let closing = door.closing.clone();
        let admin =
            Admin { agent: agent.clone(), proxy, locals: locals.clone(), upstreams: upstreams.clone(), closing };
        // It goes on answering until the end: somebody wants to know how far that is.
        let desk = Door { closing: CancellationToken::new(), open: TaskTracker::new(), limits: door.limits.clone() };
        let mut at = Vec::new();
        if let Some(address) = config.admin.listen {
            tokio::spawn(listen(Port::Plain(bind(address, &mut at).await?), Arc::new(admin), desk.clone()));
        }
        tokio::spawn(tidy(locals, upstreams, door.closing.clone()));
        let drain = millis(config.limits.drain_ms);
        Ok(Self { agent, door, desk, drain, admin: at.pop(), inbound, outbound })
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

    /// Takes no more connections, lets what is under way finish within the limit, and sends the last telemetry.
    pub async fn shutdown(self) {
        self.door.closing.cancel();
        self.door.open.close();
        let _ = tokio::time::timeout(self.drain, self.door.open.wait()).await;
        self.agent.shutdown().await;
        self.desk.closing.cancel();
    }
}

async fn agent(config: &Config) -> Result<Agent, SidecarError> {
    let mut builder = Agent::builder(&*config.service.name);
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

async fn tidy(locals: Vec<Arc<Local>>, upstreams: Vec<Arc<Upstream>>, closing: CancellationToken) {
    while tokio::time::timeout(TIDY, closing.cancelled()).await.is_err() {
        locals.iter().for_each(|local| local.peer.tidy());
        upstreams.iter().for_each(|upstream| upstream.client.wires().iter().for_each(|peer| peer.tidy()));
    }
}
