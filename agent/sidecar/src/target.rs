//! Where requests go: the service itself, the upstreams, and which of them one without a listener of its own means.

use std::collections::HashSet;
use std::sync::Arc;

use fuseboard_agent::discovery::{Discovered, Instance};
use fuseboard_agent::proxy::{About, Proxy, ProxyClient};
use fuseboard_agent::{Agent, AgentError};
use http::request::Parts;
use http::uri::Authority;

use crate::config::{Config, Inbound, Upstream as Said, millis};
use crate::metrics::Books;
use crate::route::Templates;
use crate::wire::{Peer, Terms};

/// Everywhere that requests go.
#[derive(Debug)]
pub(crate) struct Targets {
    /// The service, as each `[[inbound]]` has it.
    pub(crate) locals: Vec<Arc<Local>>,
    /// Whom it calls, as each `[[upstream]]` has it.
    pub(crate) upstreams: Vec<Arc<Upstream>>,
}

impl Targets {
    /// As a configuration has it. What it says as before stays as it is, connections and all.
    ///
    /// # Errors
    /// Certificates that cannot be used.
    pub(crate) fn new(
        config: &Config,
        agent: &Agent,
        proxy: &Proxy,
        before: Option<&Self>,
    ) -> Result<Self, AgentError> {
        let upstream = |said: &Said| {
            let known = before.and_then(|before| before.upstreams.iter().find(|u| u.said.service == said.service));
            match known {
                Some(known) if known.said == *said => Ok(known.clone()),
                known => {
                    let books = known.map(|known| known.books.clone()).unwrap_or_default();
                    Ok(Arc::new(Upstream::new(config, said, agent, proxy, books)?))
                }
            }
        };
        let local = |(at, said): (usize, &Inbound)| match before.and_then(|before| before.locals.get(at)) {
            Some(known) if known.said == *said => known.clone(),
            known => {
                let books = known.map(|known| known.books.clone()).unwrap_or_default();
                Arc::new(Local::new(config, said, agent, books))
            }
        };
        Ok(Self {
            locals: config.inbound.iter().enumerate().map(local).collect(),
            upstreams: config.upstream.iter().map(upstream).collect::<Result<_, AgentError>>()?,
        })
    }

    /// Closes connections that nobody has used for long.
    pub(crate) fn tidy(&self) {
        self.locals.iter().for_each(|local| local.peer.tidy());
        self.upstreams.iter().flat_map(|upstream| upstream.client.wires()).for_each(|peer| peer.tidy());
    }
}

/// The service beside which the sidecar stands.
#[derive(Debug)]
pub(crate) struct Local {
    said: Inbound,
    pub(crate) peer: Arc<Peer>,
    pub(crate) templates: Templates,
    pub(crate) turns: Option<Arc<tokio::sync::Semaphore>>,
    pub(crate) books: Arc<Books>,
}

impl Local {
    fn new(config: &Config, said: &Inbound, agent: &Agent, books: Arc<Books>) -> Self {
        let terms = Terms {
            version: said.version,
            connect: millis(1000),
            idle: millis(30_000),
            connections: 10_000,
            header_bytes: config.limits.header_bytes,
            tls: agent.connector(millis(1000)),
        };
        Self {
            peer: Peer::new(&said.to, false, Arc::new(terms)),
            // Checked with the configuration.
            templates: Templates::new(&said.routes).unwrap_or_default(),
            said: said.clone(),
            turns: said.max_requests.map(|most| Arc::new(tokio::sync::Semaphore::new(most))),
            books,
        }
    }
}

/// A callee.
#[derive(Debug)]
pub(crate) struct Upstream {
    said: Said,
    pub(crate) client: ProxyClient<Peer>,
    pub(crate) books: Arc<Books>,
    templates: Templates,
    idempotent: HashSet<String>,
    hosts: Vec<String>,
    paths: Vec<String>,
}

impl Upstream {
    /// A callee as the configuration has it.
    ///
    /// # Errors
    /// Certificates that cannot be used.
    fn new(config: &Config, said: &Said, agent: &Agent, proxy: &Proxy, books: Arc<Books>) -> Result<Self, AgentError> {
        let connect = millis(said.connect_ms);
        let tls = match &said.tls {
            Some(tls) => agent.with_tls(&tls.settings())?.connector(connect),
            None => agent.connector(connect),
        };
        let terms = Terms {
            version: said.version,
            connect,
            idle: millis(said.keep_alive_ms),
            connections: said.connections,
            header_bytes: config.limits.header_bytes,
            tls,
        };
        let mut hosts: Vec<_> = said.hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        if hosts.is_empty() {
            hosts.push(said.service.to_ascii_lowercase());
        }
        let (terms, secure) = (Arc::new(terms), said.tls.is_some());
        let wire = move |i: &Instance| Peer::new(&i.address, secure || i.secure, terms.clone());
        Ok(Self {
            client: match said.addresses.as_slice() {
                [] => proxy.client(&said.service, Discovered, wire)?,
                addresses => proxy.client(&said.service, addresses, wire)?,
            },
            said: said.clone(),
            books,
            templates: Templates::new(&said.routes).unwrap_or_default(),
            idempotent: said.idempotent.iter().cloned().collect(),
            hosts,
            paths: said.paths.clone(),
        })
    }

    /// What policies and pictures call a request.
    pub(crate) fn about(&self, parts: &Parts, grpc: bool) -> About {
        let path = parts.uri.path();
        if grpc {
            return About { route: None, idempotent: self.idempotent.contains(path.trim_start_matches('/')) };
        }
        let route = self.templates.find(path).cloned();
        let idempotent = !self.idempotent.is_empty()
            && route.as_ref().is_some_and(|route| self.idempotent.contains(&format!("{} {route}", parts.method)));
        About { route, idempotent }
    }

    /// How closely a host and a path fit; larger is closer.
    fn fit(&self, authority: &Authority, path: &str) -> Option<usize> {
        let (whole, host) = (authority.as_str(), authority.host());
        self.hosts.iter().find(|known| known.eq_ignore_ascii_case(whole) || known.eq_ignore_ascii_case(host))?;
        if self.paths.is_empty() {
            return Some(0);
        }
        self.paths.iter().filter(|prefix| begins(path, prefix)).map(String::len).max()
    }
}

/// The upstream that a host and a path mean: the longest beginning of a path wins.
pub(crate) fn choose<'a>(all: &'a [Arc<Upstream>], authority: &Authority, path: &str) -> Option<&'a Arc<Upstream>> {
    let fits = all.iter().filter_map(|upstream| Some((upstream.fit(authority, path)?, upstream)));
    fits.max_by_key(|(fit, _)| *fit).map(|(_, upstream)| upstream)
}

/// Whether a path begins with whole segments of another.
fn begins(path: &str, prefix: &str) -> bool {
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_whole_segments() {
        assert!(begins("/pay/1", "/pay") && begins("/pay", "/pay/") && begins("/x", "/"));
        assert!(!begins("/payments", "/pay"));
    }
}
