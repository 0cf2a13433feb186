//! The whole collector: started, asked, told, stopped.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use fuseboard_api::ask::{Answered, Ask, Refusal};
use fuseboard_api::command::{Action, Command, Receipt};
use fuseboard_tls::TlsError;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::analyze::Analyst;
use crate::control::Control;
use crate::identity::{Auth, Identity};
use crate::limits::Limits;
use crate::redact::{RedactError, Redactor};
use crate::serve::ports::listen;
use crate::serve::security::{DoorName, DoorTls, Security};
use crate::serve::{self, Desk, Door, Reception};
use crate::store::{OpenMode, Retention, Settings, Store, StoreError};
use crate::{incident, ingest};

/// Where the collector listens unless told otherwise.
pub const DEFAULT_PORTS: [u16; 4] = [4317, 4318, 4390, 4391];

/// How a collector is started.
#[derive(Debug, Clone)]
pub struct Config {
    /// The SQLite file; made with its directory when missing (unless opened read-only).
    pub data: PathBuf,
    /// OTLP over gRPC; 127.0.0.1:4317. Port 0 anywhere means a free one.
    pub otlp_grpc: SocketAddr,
    /// OTLP over HTTP; 127.0.0.1:4318.
    pub otlp_http: SocketAddr,
    /// The console, `curl` and the agents' control streams; 127.0.0.1:4390.
    pub control: SocketAddr,
    /// Prometheus exposition and `/healthz`; 127.0.0.1:4391.
    pub metrics: SocketAddr,
    /// Zipkin's port; off. 9411 by custom.
    pub zipkin: Place,
    /// Jaeger's HTTP query API; off. 16686 by custom.
    pub jaeger_api: Place,
    /// TLS on all doors; without it they are plain, and only loopback addresses are listened on.
    pub tls: Option<DoorTls>,
    /// What the doors bear.
    pub limits: Limits,
    /// Whether the file is gone on with or only looked at.
    pub mode: Mode,
    /// How much is kept.
    pub retention: Retention,
    /// The first revision of a file that has none yet.
    pub initial_policy: Option<InitialPolicy>,
    /// Rules by which attributes are dropped or masked before they are stored; see [`crate::redact`].
    pub redact: Option<PathBuf>,
    /// Whether callers are asked who they are.
    pub auth: Auth,
    /// Whether the default rules are in force behind those of the file, or alone.
    pub redact_defaults: bool,
}

/// Where something listens that need not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Place {
    /// Nowhere.
    #[default]
    Off,
    /// There, unless another program does already.
    IfFree(SocketAddr),
    /// There, or the collector does not start.
    At(SocketAddr),
}

impl FromStr for Place {
    type Err = BadPlace;

    /// `off`, or an address with a port.
    fn from_str(text: &str) -> Result<Self, BadPlace> {
        match text {
            "off" => Ok(Self::Off),
            _ => text.parse().map(Self::At).map_err(|_| BadPlace(text.to_owned())),
        }
    }
}

/// A text that names no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither an address with a port, such as 127.0.0.1:9411, nor \"off\"")]
pub struct BadPlace(String);

/// What a collector does with its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Receives, stores, steers.
    #[default]
    ReadWrite,
    /// Only answers questions, on the control address alone.
    ReadOnly,
}

/// A policy to begin with.
#[derive(Debug, Clone)]
pub struct InitialPolicy {
    /// The document, TOML.
    pub document: String,
    /// Who sets it.
    pub actor: String,
    /// Why.
    pub reason: String,
}

impl Config {
    /// The default addresses and limits over a file.
    #[must_use]
    pub fn new(data: impl Into<PathBuf>) -> Self {
        let [otlp_grpc, otlp_http, control, metrics] =
            DEFAULT_PORTS.map(|p| SocketAddr::from((Ipv4Addr::LOCALHOST, p)));
        Self {
            data: data.into(),
            otlp_grpc,
            otlp_http,
            control,
            metrics,
            zipkin: Place::Off,
            jaeger_api: Place::Off,
            tls: None,
            limits: Limits::default(),
            mode: Mode::ReadWrite,
            retention: Retention::default(),
            initial_policy: None,
            redact: None,
            auth: Auth::default(),
            redact_defaults: true,
        }
    }

    /// The same, on ports that are free.
    #[must_use]
    pub fn on_free_ports(mut self) -> Self {
        for address in [&mut self.otlp_grpc, &mut self.otlp_http, &mut self.control, &mut self.metrics] {
            address.set_port(0);
        }
        for place in [&mut self.zipkin, &mut self.jaeger_api] {
            if let Place::IfFree(address) | Place::At(address) = place {
                address.set_port(0);
            }
        }
        self
    }

    /// The same, only to look at the file.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.mode = Mode::ReadOnly;
        self
    }
}

/// The file used when none is named: `fuseboard/collector.fuseboard` in the user's data directory (`XDG_DATA_HOME`, or what
/// the system has instead), or in the present directory when there is none.
#[must_use]
pub fn default_data_file() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let home = || set("HOME").or_else(|| set("USERPROFILE"));
    let data = match std::env::consts::OS {
        "windows" => set("LOCALAPPDATA"),
        "macos" => home().map(|h| h.join("Library/Application Support")),
        _ => set("XDG_DATA_HOME").filter(|p| p.is_absolute()).or_else(|| home().map(|h| h.join(".local/share"))),
    };
    data.unwrap_or_default().join("fuseboard").join("collector.fuseboard")
}

/// Where a collector listens; `None` where it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// OTLP over gRPC.
    pub otlp_grpc: Option<SocketAddr>,
    /// OTLP over HTTP.
    pub otlp_http: Option<SocketAddr>,
    /// Console and agents.
    pub control: SocketAddr,
    /// Prometheus and health.
    pub metrics: Option<SocketAddr>,
    /// Zipkin's spans.
    pub zipkin: Option<SocketAddr>,
    /// Jaeger's HTTP query API.
    pub jaeger_api: Option<SocketAddr>,
}

/// Why a collector could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is open to others, and there is no TLS.
    #[error(
        "{what} cannot listen on {address} without TLS: whoever reaches it could read everything and steer; give a certificate with --tls-cert and --tls-key (`fuseboard pki init` and `fuseboard pki issue` make them), or stay on this machine with --{what} 127.0.0.1:{}",
        address.port()
    )]
    NotLoopback {
        /// Which setting.
        what: &'static str,
        /// Its value.
        address: SocketAddr,
    },
    /// Others can come, and nobody would ask them who they are.
    #[error("{0} is open to others, who would all be let in: leave out `--auth open`, or listen on 127.0.0.1 alone")]
    Unasked(String),
    /// The certificates or keys cannot be used.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] TlsError),
    /// Somebody else listens there.
    #[error(
        "{what} cannot listen on {address}: the port is in use{owner}; stop that program, or give another address with --{what} (port 0 finds a free one)"
    )]
    InUse {
        /// Which setting.
        what: &'static str,
        /// Its value.
        address: SocketAddr,
        /// ` by NAME (process 123)`, or empty when unknown.
        owner: String,
    },
    /// The system would not have it.
    #[error("{what} cannot listen on {address}: {cause}")]
    Bind {
        /// Which setting.
        what: &'static str,
        /// Its value.
        address: SocketAddr,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The file cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The policy to begin with is not valid.
    #[error("the initial policy is refused: {0}")]
    Policy(Refusal),
    /// The rules of redaction make no sense.
    #[error(transparent)]
    Redact(#[from] RedactError),
    /// No thread to be had.
    #[error("a thread could not be started: {0}")]
    Thread(std::io::Error),
}

/// The collector.
#[derive(Debug)]
pub struct Collector;

impl Collector {
    /// Starts a collector on the present tokio runtime. All addresses are bound and the file is open when this returns.
    ///
    /// # Errors
    /// Says what is wrong and what to do: an address that is taken or not loopback, a file that cannot be used, an initial
    /// policy that is not valid.
    pub async fn start(config: Config) -> Result<Handle, StartError> {
        match config.mode {
            Mode::ReadWrite => start(config).await,
            Mode::ReadOnly => look(&config).await,
        }
    }
}

async fn start(config: Config) -> Result<Handle, StartError> {
    let stop = CancellationToken::new();
    let security = Security::new(config.tls.as_ref(), &config.limits, &stop)?;
    let redactor = Redactor::of(config.redact.as_deref(), config.redact_defaults)?.map(Arc::new);
    // Addresses first: nothing is written when one of them cannot be had.
    let otlp_grpc = listen(DoorName::OtlpGrpc, config.otlp_grpc, &security)?;
    let otlp_http = listen(DoorName::OtlpHttp, config.otlp_http, &security)?;
    let control_door = listen(DoorName::Control, config.control, &security)?;
    let metrics = listen(DoorName::Metrics, config.metrics, &security)?;
    let zipkin = place(DoorName::Zipkin, config.zipkin, &security)?;
    let jaeger = place(DoorName::JaegerApi, config.jaeger_api, &security)?;
    let addresses = Addresses {
        otlp_grpc: otlp_grpc.local_addr().ok(),
        otlp_http: otlp_http.local_addr().ok(),
        control: control_door.local_addr().unwrap_or(config.control),
        metrics: metrics.local_addr().ok(),
        zipkin: zipkin.as_ref().and_then(|l| l.local_addr().ok()),
        jaeger_api: jaeger.as_ref().and_then(|l| l.local_addr().ok()),
    };
    let remote = is_remote(&addresses, config.auth)?;
    let settings = Settings { retention: config.retention, ..Settings::default() };
    let store = Store::open_with(&config.data, OpenMode::ReadWrite, settings)?;
    store.vitals().set_addresses(named(&addresses));
    store.vitals().set_redactions(redactor.as_ref().map(|r| r.names()).unwrap_or_default());
    let control = Control::start(store.clone(), stop.clone()).await?;
    let desk = Arc::new(Desk::new(store.clone(), Some(control.clone())));
    if let Some(policy) = config.initial_policy {
        begin_with(&control, policy).await?;
    }
    let analyst = Analyst::start(store.clone()).map_err(StartError::Thread)?;
    let identity = Identity::load(store.clone(), config.auth, remote).await?;
    let door = Door::new(desk.clone(), identity.clone(), stop.clone());
    let intake = ingest::Door::new(store, redactor, config.limits.clone()).for_known(identity);
    let limits = Arc::new(config.limits);
    let tasks = TaskTracker::new();
    let open = |door, listener, router| {
        let reception = Reception { listener, tls: security.at(door), router };
        tasks.spawn(serve::run(reception, limits.clone(), stop.clone()));
    };
    open(DoorName::OtlpGrpc, otlp_grpc, ingest::grpc(&intake));
    open(DoorName::OtlpHttp, otlp_http, ingest::http(&intake));
    open(DoorName::Control, control_door, serve::control(&door));
    open(DoorName::Metrics, metrics, serve::metrics(&door));
    if let Some(listener) = zipkin {
        open(DoorName::Zipkin, listener, ingest::zipkin(&intake));
    }
    if let Some(listener) = jaeger {
        open(DoorName::JaegerApi, listener, serve::jaeger(&door));
    }
    Ok(Handle { addresses, desk, control: Some(control), analyst: Some(analyst), stop, tasks })
}

/// Whether somebody beyond this machine can come.
///
/// # Errors
/// Somebody can, and nobody is to be asked who they are.
fn is_remote(addresses: &Addresses, auth: Auth) -> Result<bool, StartError> {
    let remote =
        named(addresses).into_iter().find(|(_, at)| !at.parse().is_ok_and(|at: SocketAddr| at.ip().is_loopback()));
    match remote {
        Some((_, address)) if auth == Auth::Open => Err(StartError::Unasked(address)),
        remote => Ok(remote.is_some()),
    }
}

/// A listening socket where one is wanted and can be had.
fn place(door: DoorName, place: Place, security: &Security) -> Result<Option<tokio::net::TcpListener>, StartError> {
    match place {
        Place::Off => Ok(None),
        Place::At(address) => listen(door, address, security).map(Some),
        Place::IfFree(address) => match listen(door, address, security) {
            Ok(listener) => Ok(Some(listener)),
            Err(e @ (StartError::InUse { .. } | StartError::Bind { .. })) => {
                tracing::warn!("{e}; going on without");
                Ok(None)
            }
            Err(other) => Err(other),
        },
    }
}

/// Opens a file to look at: only the control address is served, and Jaeger's where it is wanted, and only questions.
async fn look(config: &Config) -> Result<Handle, StartError> {
    let stop = CancellationToken::new();
    let security = Security::new(config.tls.as_ref(), &config.limits, &stop)?;
    let listener = listen(DoorName::Control, config.control, &security)?;
    let jaeger = place(DoorName::JaegerApi, config.jaeger_api, &security)?;
    let control = listener.local_addr().unwrap_or(config.control);
    let jaeger_api = jaeger.as_ref().and_then(|l| l.local_addr().ok());
    let addresses = Addresses { otlp_grpc: None, otlp_http: None, control, metrics: None, zipkin: None, jaeger_api };
    let remote = is_remote(&addresses, config.auth)?;
    let store = Store::open(&config.data, OpenMode::ReadOnly)?;
    store.vitals().set_addresses(named(&addresses));
    let desk = Arc::new(Desk::new(store.clone(), None));
    let identity = Identity::load(store, config.auth, remote).await?;
    let door = Door::new(desk.clone(), identity, stop.clone());
    let limits = Arc::new(config.limits.clone());
    let tasks = TaskTracker::new();
    let reception = Reception { listener, tls: security.at(DoorName::Control), router: serve::control(&door) };
    tasks.spawn(serve::run(reception, limits.clone(), stop.clone()));
    if let Some(listener) = jaeger {
        let reception = Reception { listener, tls: security.at(DoorName::JaegerApi), router: serve::jaeger(&door) };
        tasks.spawn(serve::run(reception, limits, stop.clone()));
    }
    Ok(Handle { addresses, desk, control: None, analyst: None, stop, tasks })
}

/// Sets the first revision; a file that has one keeps it, and one whose changes are turned off begins without.
async fn begin_with(control: &Control, policy: InitialPolicy) -> Result<(), StartError> {
    let InitialPolicy { document, actor, reason } = policy;
    if control.revision() > 0 {
        return Ok(());
    }
    let action = Action::set_policy(0, document);
    match control.execute(Command { actor, reason, action }).await {
        Ok(_) => Ok(()),
        Err(refusal) if refusal.code == "read_only" => {
            tracing::warn!("the initial policy is left out: {refusal}");
            Ok(())
        }
        Err(refusal) => Err(StartError::Policy(refusal)),
    }
}

fn named(addresses: &Addresses) -> Vec<(String, String)> {
    [
        ("otlp_grpc", addresses.otlp_grpc),
        ("otlp_http", addresses.otlp_http),
        ("control", Some(addresses.control)),
        ("metrics", addresses.metrics),
        ("zipkin", addresses.zipkin),
        ("jaeger_api", addresses.jaeger_api),
    ]
    .into_iter()
    .filter_map(|(name, address)| Some((name.to_owned(), address?.to_string())))
    .collect()
}

/// A running collector. Dropping it stops the collector without waiting; [`Handle::shutdown`] waits.
#[derive(Debug)]
pub struct Handle {
    addresses: Addresses,
    desk: Arc<Desk>,
    control: Option<Arc<Control>>,
    analyst: Option<Analyst>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Handle {
    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The store, for those in the same process who need more than questions.
    #[must_use]
    pub fn store(&self) -> &Store {
        self.desk.store()
    }

    /// Answers a question, as `POST /v1/ask` does.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn ask(&self, ask: Ask) -> Result<Answered, Refusal> {
        self.desk.ask(ask).await
    }

    /// Carries out a command, as `POST /v1/command` does.
    ///
    /// # Errors
    /// Why not.
    pub async fn command(&self, command: Command) -> Result<Receipt, Refusal> {
        self.desk.command(command).await
    }

    /// Writes an incident into a file of its own; gives the incident's name.
    ///
    /// # Errors
    /// `not_found` when there is no such incident, else why the file could not be written.
    pub async fn export_incident(&self, id: u64, path: &std::path::Path) -> Result<String, Refusal> {
        incident::export(self.desk.store(), id, path).await
    }

    /// Stops: no new connections, what is under way ends, everything accepted is written, the file is closed.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        if let Some(control) = self.control.take() {
            control.ended().await;
        }
        if let Some(analyst) = self.analyst.take() {
            analyst.stop();
        }
        self.desk.store().flush().await;
        // The last clone of the store waits for its writer; that must not hold up the runtime.
        let desk = self.desk.clone();
        drop(self);
        if tokio::task::spawn_blocking(move || drop(desk)).await.is_err() {
            tracing::error!("the store could not be closed in order");
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
