//! How much a client may use of each instance of its callee.

use std::time::Duration;

/// Connections of HTTP/1.1 to an instance where nothing else is said.
const UNSHARED: usize = 256;
/// Requests at a time on a shared connection where nothing else is said.
const REQUESTS: usize = 1024;

/// How much a client may use of each instance of its callee. A call that finds no room waits a while, as a part of its attempt's time;
/// then it is refused by the rule `pool`, which counts for nothing against the callee and is not tried again.
///
/// A client makes a connection when it needs one. gRPC, HTTP/2 and tarpc carry many requests on one, HTTP/1.1 one at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct PoolLimits {
    connections: Option<usize>,
    requests: usize,
    pub(crate) waiting: usize,
    pub(crate) wait: Duration,
    pub(crate) idle: usize,
    pub(crate) idle_timeout: Duration,
}

impl Default for PoolLimits {
    fn default() -> Self {
        let (wait, idle_timeout) = (Duration::from_secs(1), Duration::from_secs(60));
        Self { connections: None, requests: REQUESTS, waiting: 1024, wait, idle: 32, idle_timeout }
    }
}

impl PoolLimits {
    /// Most connections to an instance: 256 for HTTP/1.1, 1 for those that are shared, when not given; 1 at least.
    pub fn connections(mut self, most: usize) -> Self {
        self.connections = Some(most.max(1));
        self
    }

    /// Most requests at a time on a shared connection; 1,024 when not given. A server may allow less (HTTP/2's
    /// `MAX_CONCURRENT_STREAMS`, often 100): what goes beyond waits unseen in the connection, so say the server's figure where
    /// it is known.
    pub fn requests(mut self, most: usize) -> Self {
        self.requests = most.max(1);
        self
    }

    /// Most calls that wait for room at an instance; more are refused at once. 1,024 when not given.
    pub fn waiting(mut self, most: usize) -> Self {
        self.waiting = most;
        self
    }

    /// Longest wait for room; 1 s when not given. The attempt's own timeout may end it sooner.
    pub fn wait(mut self, longest: Duration) -> Self {
        self.wait = longest;
        self
    }

    /// Most idle HTTP/1.1 connections that are kept to an instance; 32 when not given.
    pub fn idle(mut self, most: usize) -> Self {
        self.idle = most;
        self
    }

    /// How long an idle HTTP/1.1 connection is kept; 60 s when not given. Let it be shorter than the server's own: a request that
    /// meets a closing connection is lost.
    pub fn idle_timeout(mut self, longest: Duration) -> Self {
        self.idle_timeout = longest;
        self
    }

    /// Connections that carry one request at a time.
    pub(crate) fn unshared(&self) -> usize {
        self.connections.unwrap_or(UNSHARED)
    }

    /// Connections that are shared, and requests on each.
    pub(crate) fn shared(&self) -> (usize, usize) {
        (self.connections.unwrap_or(1), self.requests)
    }
}
