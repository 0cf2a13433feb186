//! What can go wrong while an agent or one of its clients is set up. Calls have errors of their own.

use std::path::PathBuf;

use thiserror::Error;

use crate::tls::TlsError;

/// A set-up that cannot work.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AgentError {
    /// An address that is no URI with a scheme and a host.
    #[error("`{text}` is not an address ({reason}): write it as http://host:port or https://host:port")]
    Address {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A client without any address.
    #[error("no address was given for the service `{0}`: name at least one")]
    NoAddress(String),
    /// A client that is to follow the agent's own source of discovery, where it has none.
    #[error(
        "the instances of `{0}` are to be discovered, but the agent has no source: give one with Builder::discovery"
    )]
    NoDiscovery(String),
    /// What a source of discovery refuses by its nature.
    #[error(transparent)]
    Discovery(#[from] crate::discovery::DiscoveryError),
    /// A service without a name.
    #[error("the service has no name: give one to Agent::builder, or set OTEL_SERVICE_NAME")]
    NoName,
    /// A state directory that cannot be used.
    #[error("the state directory {path} cannot be used: {source}; give one that this user may write to, or none")]
    StateDir {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A default policy that the policy words or the agent's own bounds refuse.
    #[error("the default policy is refused: {0}")]
    Policy(String),
    /// The exporter could not be made.
    #[error("the OTLP exporter cannot be made: {0}")]
    Export(String),
    /// The HTTP client could not be made.
    #[error("the HTTP client cannot be made: {0}")]
    Http(String),
    /// Certificates, keys or names that cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A bearer token that cannot be used.
    #[error("the token in {from} cannot be used: {reason}")]
    Token {
        /// The file, or what stands for a text.
        from: String,
        /// What is wrong.
        reason: String,
    },
    /// `start` was called outside of a tokio runtime.
    #[error("an agent starts inside a tokio runtime: call start() from async code")]
    NoRuntime,
}
