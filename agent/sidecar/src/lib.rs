//! `fuseboard-agent`: what the agent library gives to services in Rust, for services in any language.
//!
//! A process beside the service. Requests for the service come through an *inbound* listener, those that it sends go
//! through an *outbound* one; on the way they get what the library does around a call: timeouts, retries, breakers,
//! limits, balancing, deadlines and trace context in headers, spans and metrics under the **service's** name, and live
//! control. HTTP/1.1, HTTP/2 (by prior knowledge) and gRPC pass as streams.
//!
//! It is a crate of its own, so that who embeds the library does not build a command line with it.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::path::Path;
//! use fuseboard_sidecar::{Config, Sidecar};
//!
//! let sidecar = Sidecar::start(Config::load(Path::new("sidecar.toml"))?).await?;
//! sidecar.shutdown().await;
//! # Ok(()) }
//! ```

mod admin;
mod answer;
mod config;
mod headers;
mod metrics;
mod route;
mod serve;
mod sidecar;
mod target;
mod wire;

pub use self::config::{
    Admin, Config, ConfigError, Consul, Control, Discovery, Dns, EXAMPLE, Etcd, Identity, Inbound, Limits, Outbound,
    Service, Telemetry, Trust, Upstream,
};
pub use self::sidecar::{Sidecar, SidecarError};
pub use self::wire::Version;
