//! The callee's instances and the connections to them. Which of them takes an attempt, the edge's balancer says.

use std::sync::Arc;
use std::time::Duration;

use tonic::transport::Channel;

use crate::address;
use crate::call::Members;
use crate::error::AgentError;
use crate::tls::Dialer;

const CONNECT: Duration = Duration::from_secs(1);
const PING: Duration = Duration::from_secs(10);
const PONG: Duration = Duration::from_secs(5);

/// One instance of a callee.
#[derive(Debug)]
pub(crate) struct Peer {
    /// `host:port`, as the balancer knows it.
    id: Arc<str>,
    /// Connects when first used, again after a broken connection.
    pub(crate) channel: Channel,
    /// `server.address`.
    pub(crate) host: String,
    /// `server.port`.
    pub(crate) port: Option<u16>,
}

/// All instances of a callee.
#[derive(Debug)]
pub(crate) struct Peers {
    all: Vec<Peer>,
    members: Arc<Members>,
}

impl Peers {
    /// Reads the addresses; connects to none of them yet.
    pub(crate) fn new<A: AsRef<str>>(dialer: &Dialer, service: &str, addresses: &[A]) -> Result<Self, AgentError> {
        if addresses.is_empty() {
            return Err(AgentError::NoAddress(service.to_owned()));
        }
        let peer = |text: &A| {
            let uri = address::uri(text.as_ref())?;
            let (host, port) = (uri.host().unwrap_or_default().to_owned(), uri.port_u16());
            let id = port.map_or_else(|| host.clone(), |port| format!("{host}:{port}")).into();
            let (endpoint, connector) = dialer.grpc(uri, CONNECT);
            // A callee whose machine is gone says nothing; a ping that is not answered does.
            let endpoint = endpoint.http2_keep_alive_interval(PING).keep_alive_timeout(PONG);
            Ok(Peer { id, channel: endpoint.connect_with_connector_lazy(connector), host, port })
        };
        let all = addresses.iter().map(peer).collect::<Result<Vec<_>, AgentError>>()?;
        let members = Members::new(all.iter().map(|peer| peer.id.clone()));
        Ok(Self { all, members })
    }

    /// What the balancer chooses from.
    pub(crate) fn members(&self) -> &Arc<Members> {
        &self.members
    }

    /// The instance that the balancer chose. Clients of one callee may know different instances: what this one does not
    /// know goes to its first.
    pub(crate) fn get(&self, id: Option<&str>) -> &Peer {
        self.all.iter().find(|peer| Some(&*peer.id) == id).unwrap_or(&self.all[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn instances_are_found_by_their_address() {
        let peers = Peers::new(&Dialer::default(), "callee", &["127.0.0.1:1", "127.0.0.1:2"]).unwrap();
        assert_eq!(peers.get(Some("127.0.0.1:2")).port, Some(2));
        assert_eq!(peers.get(Some("elsewhere:9")).port, Some(1));
    }

    #[tokio::test]
    async fn needs_an_address() {
        assert!(matches!(Peers::new::<&str>(&Dialer::default(), "callee", &[]), Err(AgentError::NoAddress(_))));
    }
}
