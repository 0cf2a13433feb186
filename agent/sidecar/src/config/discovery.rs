//! Where instances are found, and where the service is announced.

use std::sync::Arc;

use fuseboard_agent::AgentError;
use fuseboard_agent::discovery::{self, Discovery as Source};
use serde::Deserialize;

/// `[discovery]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Discovery {
    /// An etcd cluster.
    pub etcd: Etcd,
    /// The address at which callers reach the service, that is its sidecar: `host:port`, or `https://host:port`. It is announced
    /// while the sidecar runs. Nothing is announced when not given.
    pub announce: Option<String>,
}

/// `discovery.etcd`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Etcd {
    /// The client addresses of its members.
    pub endpoints: Vec<String>,
    /// Where the keys begin; `/fuseboard/services` when not given.
    pub prefix: Option<String>,
}

impl Discovery {
    /// The source.
    ///
    /// # Errors
    /// Addresses that are none.
    pub(crate) fn source(&self) -> Result<Arc<dyn Source>, AgentError> {
        let mut etcd = discovery::Etcd::new(&self.etcd.endpoints)?;
        if let Some(prefix) = &self.etcd.prefix {
            etcd = etcd.prefix(prefix);
        }
        Ok(Arc::new(etcd))
    }
}
