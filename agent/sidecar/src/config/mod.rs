//! The configuration: one TOML file. `fuseboard-agent example` prints one that says everything.

mod check;
mod discovery;
mod place;
mod tls;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;

pub use self::discovery::{Consul, Discovery, Dns, Etcd};
pub use self::tls::{Identity, Trust};
use crate::wire::Version;

/// A complete configuration, with a comment for each field.
pub const EXAMPLE: &str = include_str!("example.toml");

/// What the file says.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The service beside which the sidecar stands.
    pub service: Service,
    /// Where telemetry goes.
    #[serde(default)]
    pub telemetry: Telemetry,
    /// Where policy comes from.
    #[serde(default)]
    pub control: Control,
    /// Where instances are found and announced.
    pub discovery: Option<Discovery>,
    /// Health and metrics.
    #[serde(default)]
    pub admin: Admin,
    /// Limits of all listeners.
    #[serde(default)]
    pub limits: Limits,
    /// Requests for the service.
    #[serde(default)]
    pub inbound: Vec<Inbound>,
    /// Requests of the service.
    #[serde(default)]
    pub outbound: Vec<Outbound>,
    /// Whom the service calls.
    #[serde(default)]
    pub upstream: Vec<Upstream>,
}

/// `[service]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// `service.name`.
    pub name: String,
    /// `service.instance.id`; a random one when not given.
    pub instance: Option<String>,
    /// `service.version`.
    pub version: Option<String>,
}

/// `[telemetry]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// The collector's OTLP/gRPC address; as the environment says, or `127.0.0.1:4317`, when not given.
    pub otlp: Option<String>,
}

/// `[control]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// The collector's control address. Without one only `policy` counts.
    pub address: Option<String>,
    /// A file that holds the token by which the collector knows this service, on the control stream and in each export; as the
    /// environment says when not given. Relative to the configuration.
    pub token_file: Option<PathBuf>,
    /// A policy document that is in force until the collector says otherwise. Relative to the configuration.
    pub policy: Option<PathBuf>,
    /// A folder where the last good policy is kept over restarts. Relative to the configuration.
    pub state_dir: Option<PathBuf>,
}

/// `[admin]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// Where `/healthz`, `/readyz` and `/metrics` are served; nowhere when not given.
    pub listen: Option<SocketAddr>,
}

/// `[limits]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Threads that serve. One has no locks to wait for and suits most services.
    pub workers: usize,
    /// Most open connections of a listener; more wait in the system's queue.
    pub connections: usize,
    /// Most requests at a time on one HTTP/2 connection.
    pub streams: u32,
    /// Most bytes of a request's headers; longer ones are answered 431.
    pub header_bytes: usize,
    /// Longest wait for the headers of the next request on a connection, in milliseconds.
    pub header_read_ms: u64,
    /// A connection over which no byte has passed for so long is closed, in milliseconds.
    pub idle_ms: u64,
    /// Longest that requests under way may take after SIGTERM, in milliseconds.
    pub drain_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            workers: 1,
            connections: 10_000,
            streams: 256,
            header_bytes: 64 * 1024,
            header_read_ms: 60_000,
            idle_ms: 300_000,
            drain_ms: 10_000,
        }
    }
}

/// One `[[inbound]]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inbound {
    /// Where callers connect.
    pub listen: SocketAddr,
    /// The service itself, `host:port`.
    pub to: String,
    /// The HTTP version towards the service.
    #[serde(default)]
    pub version: Version,
    /// Templates such as `/orders/{id}`: names of operations, without which paths are not told apart.
    #[serde(default)]
    pub routes: Vec<String>,
    /// Most requests at a time; more are refused. Unlimited when not given.
    pub max_requests: Option<usize>,
    /// What the listener shows over TLS; plain when not given.
    pub tls: Option<Identity>,
}

/// One `[[outbound]]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outbound {
    /// Where the service connects.
    pub listen: SocketAddr,
    /// The upstream, by `service`. Not given: by each request's host and path, also as an HTTP proxy.
    pub to: Option<String>,
}

/// One `[[upstream]]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// The callee's `service.name`; policies name it so.
    pub service: String,
    /// Its instances, each `host:port`; as `[discovery]` says when not given.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// The HTTP version towards it.
    #[serde(default)]
    pub version: Version,
    /// How it is trusted over TLS; plain when not given.
    pub tls: Option<Trust>,
    /// Hosts by which requests without a listener of their own name it; `service` when not given.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Beginnings of paths to which it is limited where hosts are shared; all when not given.
    #[serde(default)]
    pub paths: Vec<String>,
    /// Templates such as `/charges/{id}`.
    #[serde(default)]
    pub routes: Vec<String>,
    /// Operations that may be done twice although their method does not say so: `POST /charges`, `pkg.Service/Method`.
    #[serde(default)]
    pub idempotent: Vec<String>,
    /// Longest time that a connection may take to be made, in milliseconds.
    #[serde(default = "one_second")]
    pub connect_ms: u64,
    /// How long an unused connection is kept, in milliseconds.
    #[serde(default = "half_a_minute")]
    pub keep_alive_ms: u64,
    /// Most requests at a time on one instance over HTTP/1.1.
    #[serde(default = "thousand")]
    pub connections: usize,
}

fn one_second() -> u64 {
    1000
}

fn half_a_minute() -> u64 {
    30_000
}

fn thousand() -> usize {
    1024
}

/// A configuration that cannot work.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path} cannot be read: {source}; name a file with `fuseboard-agent run FILE`")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// What it says is wrong; one line for each finding: `FILE:LINE: FIELD: what, and what to do`.
    #[error("{}", .0.join("\n"))]
    Wrong(Vec<String>),
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// It cannot be read, or says what cannot work.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        let mut config = Self::parse(&text, &path.display().to_string())?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let Control { token_file, policy, state_dir, .. } = &mut config.control;
        for relative in [token_file, policy, state_dir].into_iter().flatten() {
            *relative = folder.join(&*relative);
        }
        config.discovery.iter_mut().for_each(|discovery| discovery.within(folder));
        config.inbound.iter_mut().filter_map(|inbound| inbound.tls.as_mut()).for_each(|tls| tls.within(folder));
        config.upstream.iter_mut().filter_map(|upstream| upstream.tls.as_mut()).for_each(|tls| tls.within(folder));
        Ok(config)
    }

    /// Reads and checks a text; `file` is its name in messages.
    ///
    /// # Errors
    /// It says what cannot work.
    pub fn parse(text: &str, file: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| place::line(text, span.start));
            ConfigError::Wrong(vec![format!("{file}:{line}: {}", error.message().trim())])
        })?;
        let found = check::check(&config);
        if found.is_empty() {
            return Ok(config);
        }
        let lines = place::Lines::new(text);
        let said = found.iter().map(|f| format!("{file}:{}: {}: {}", lines.of(&f.path), f.name(), f.what));
        Err(ConfigError::Wrong(said.collect()))
    }
}

pub(crate) fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
