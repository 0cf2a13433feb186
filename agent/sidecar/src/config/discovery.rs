//! Where instances are found, and where the service is announced.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fuseboard_agent::AgentError;
use fuseboard_agent::discovery::{self, Discovery as Source};
use serde::Deserialize;

use crate::sidecar::SidecarError;

/// `[discovery]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Discovery {
    /// An etcd cluster.
    pub etcd: Option<Etcd>,
    /// A Consul agent.
    pub consul: Option<Consul>,
    /// DNS, where nothing can be announced.
    pub dns: Option<Dns>,
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

/// `discovery.consul`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consul {
    /// The HTTP address of the agent on this machine, such as `http://127.0.0.1:8500`.
    pub address: String,
    /// A file that holds the ACL token; white space around it does not count. Relative to the configuration.
    pub token_file: Option<PathBuf>,
}

/// `discovery.dns`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dns {
    /// The name that is looked up; `{service}` in it stands for the service's name.
    pub name: String,
    /// The port where A and AAAA records are looked up; SRV records, which say it themselves, when not given.
    pub port: Option<u16>,
    /// The servers that are asked; this system's when not given.
    #[serde(default)]
    pub servers: Vec<SocketAddr>,
}

impl Discovery {
    /// The source; the configuration was checked to have one.
    ///
    /// # Errors
    /// Addresses that are none, a token that cannot be read.
    pub(crate) fn source(&self) -> Result<Option<Arc<dyn Source>>, SidecarError> {
        Ok(if let Some(etcd) = &self.etcd {
            Some(Arc::new(etcd.source()?))
        } else if let Some(consul) = &self.consul {
            Some(Arc::new(consul.source()?))
        } else if let Some(dns) = &self.dns {
            Some(Arc::new(dns.source()?))
        } else {
            None
        })
    }

    /// The sources that are given, by name.
    pub(super) fn given(&self) -> Vec<&'static str> {
        let all = [("etcd", self.etcd.is_some()), ("consul", self.consul.is_some()), ("dns", self.dns.is_some())];
        all.into_iter().filter_map(|(name, given)| given.then_some(name)).collect()
    }

    /// Makes relative paths those of a folder.
    pub(super) fn within(&mut self, folder: &Path) {
        for file in self.consul.iter_mut().filter_map(|consul| consul.token_file.as_mut()) {
            *file = folder.join(&*file);
        }
    }
}

impl Etcd {
    fn source(&self) -> Result<discovery::Etcd, AgentError> {
        let etcd = discovery::Etcd::new(&self.endpoints)?;
        Ok(if let Some(prefix) = &self.prefix { etcd.prefix(prefix) } else { etcd })
    }
}

impl Consul {
    fn source(&self) -> Result<discovery::Consul, SidecarError> {
        let consul = discovery::Consul::new(&self.address)?;
        let Some(path) = &self.token_file else { return Ok(consul) };
        let read = std::fs::read_to_string(path);
        let token = read.map_err(|source| SidecarError::Token { path: path.clone(), source })?;
        Ok(consul.token(token.trim())?)
    }
}

impl Dns {
    fn source(&self) -> Result<discovery::Dns, AgentError> {
        let dns = match self.port {
            Some(port) => discovery::Dns::host(&self.name, port)?,
            None => discovery::Dns::srv(&self.name)?,
        };
        if self.servers.is_empty() { Ok(dns) } else { dns.servers(&self.servers) }
    }
}
