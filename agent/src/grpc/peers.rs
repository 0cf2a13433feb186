//! The callee's instances: round robin, those that could not be reached lately only when there is no other.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};

use crate::address;
use crate::error::AgentError;

/// How long an instance that refused a connection is passed over.
const SHUNNED: Duration = Duration::from_millis(500);
const CONNECT: Duration = Duration::from_secs(1);
const PING: Duration = Duration::from_secs(10);
const PONG: Duration = Duration::from_secs(5);

/// One instance of a callee.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Connects when first used, again after a broken connection.
    pub(crate) channel: Channel,
    /// `server.address`.
    pub(crate) host: String,
    /// `server.port`.
    pub(crate) port: Option<u16>,
    /// In milliseconds since `Peers::epoch`; 0 never.
    shunned_until: AtomicU64,
}

/// All instances of a callee.
#[derive(Debug)]
pub(crate) struct Peers {
    all: Vec<Peer>,
    next: AtomicUsize,
    epoch: Instant,
}

impl Peers {
    /// Reads the addresses; connects to none of them yet.
    pub(crate) fn new<A: AsRef<str>>(service: &str, addresses: &[A]) -> Result<Self, AgentError> {
        if addresses.is_empty() {
            return Err(AgentError::NoAddress(service.to_owned()));
        }
        let peer = |text: &A| {
            let uri = address::uri(text.as_ref())?;
            let (host, port) = (uri.host().unwrap_or_default().to_owned(), uri.port_u16());
            let endpoint = Endpoint::from(uri).connect_timeout(CONNECT).tcp_nodelay(true);
            // A callee whose machine is gone says nothing; a ping that is not answered does.
            let endpoint = endpoint.http2_keep_alive_interval(PING).keep_alive_timeout(PONG);
            let channel = endpoint.connect_lazy();
            Ok(Peer { channel, host, port, shunned_until: AtomicU64::new(0) })
        };
        let all = addresses.iter().map(peer).collect::<Result<_, AgentError>>()?;
        // Instances of a caller that start together do not all begin with the same callee.
        Ok(Self { all, next: AtomicUsize::new(usize::from(rand::random::<u16>())), epoch: Instant::now() })
    }

    /// The next instance. With more than one, never the same twice in a row.
    pub(crate) fn pick(&self) -> &Peer {
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let now = self.now();
        let turn = |n: usize| &self.all[(start.wrapping_add(n)) % self.all.len()];
        let well = (0..self.all.len()).map(turn).find(|p| p.shunned_until.load(Ordering::Relaxed) <= now);
        well.unwrap_or_else(|| turn(0))
    }

    /// An instance could not be reached.
    pub(crate) fn shun(&self, peer: &Peer) {
        let until = self.now() + u64::try_from(SHUNNED.as_millis()).unwrap_or(u64::MAX);
        peer.shunned_until.store(until, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn goes_round_and_passes_over_the_unreachable_for_a_while() {
        let peers = Peers::new("callee", &["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]).unwrap();
        let first = peers.pick().port;
        assert_ne!(peers.pick().port, first);
        let bad = peers.pick();
        peers.shun(bad);
        assert!((0..10).all(|_| peers.pick().port != bad.port));
        tokio::time::advance(SHUNNED + Duration::from_millis(1)).await;
        assert!((0..3).any(|_| peers.pick().port == bad.port));
    }

    #[tokio::test]
    async fn needs_an_address() {
        assert!(matches!(Peers::new::<&str>("callee", &[]), Err(AgentError::NoAddress(_))));
    }
}
