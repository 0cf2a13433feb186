//! What a generic proxy needs of the agent: calls whose bodies stream both ways, for HTTP and gRPC alike.
//!
//! [`Proxy::server`] opens the span of a request that arrives for the local service and says when its time is over;
//! [`Proxy::client`] puts a callee's rules around a request that the local service sends. Neither knows of sockets: a
//! [`Wire`] sends one attempt. Requests pass as they come; of one that the policy may try again, the first 256 KiB are
//! kept meanwhile.
//!
//! The local service need not know any of this. Where it copies `traceparent` from the requests that it answers to those
//! that it sends, its calls inherit the deadline of the request they belong to, also when it copies no other header.

mod answer;
mod inbound;
mod outbound;
mod request;
mod under_way;

use std::error::Error;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Body;

pub use self::answer::AnswerBody;
pub use self::inbound::{ProxyServer, Serving, ServingBody};
pub use self::outbound::{About, ProxyClient};
pub use self::request::RequestBody;
use self::under_way::UnderWay;
use crate::agent::Inner;
use crate::call::Refusal;
use crate::discovery::{Instance, IntoEndpoints};
use crate::error::AgentError;
use crate::members::Peers;

/// Any error.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Both sides of a proxy beside one service. See [`crate::Agent::proxy`].
#[derive(Clone)]
pub struct Proxy {
    agent: Arc<Inner>,
    under_way: Arc<UnderWay>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").field("service", &self.agent.service).finish_non_exhaustive()
    }
}

impl Proxy {
    pub(crate) fn new(agent: &Arc<Inner>) -> Self {
        Self { agent: agent.clone(), under_way: Arc::default() }
    }

    /// The side of requests that arrive for the local service.
    #[must_use]
    pub fn server(&self) -> ProxyServer {
        ProxyServer::new(&self.agent, &self.under_way)
    }

    /// Every edge that has been used, in no order.
    #[must_use]
    pub fn edges(&self) -> Vec<EdgeState> {
        let state = |edge: Arc<crate::edges::Edge>| EdgeState {
            service: edge.service.clone(),
            operation: edge.operation.clone(),
            breaker: edge.engine().breaker().state_name(),
        };
        self.agent.edges.list().into_iter().map(state).collect()
    }

    /// The side of requests that the local service sends to a callee. `wire` makes what sends to one instance; it is not to
    /// connect yet. What stays in the list keeps its wire.
    ///
    /// # Errors
    /// No address, one that is none, or [`crate::discovery::Discovered`] for an agent without a source.
    pub fn client<W: Send + Sync + 'static>(
        &self,
        service: &str,
        endpoints: impl IntoEndpoints,
        wire: impl Fn(&Instance) -> Arc<W> + Send + Sync + 'static,
    ) -> Result<ProxyClient<W>, AgentError> {
        let peers = Peers::start(&self.agent, service, endpoints, move |instance| Ok(wire(instance)))?;
        Ok(ProxyClient::new(&self.agent, &self.under_way, service, peers))
    }
}

/// Where an edge stands.
#[derive(Debug, Clone)]
pub struct EdgeState {
    /// The callee.
    pub service: Arc<str>,
    /// Its operation.
    pub operation: Arc<str>,
    /// Its breaker's state: `closed`, `open`, `half_open`….
    pub breaker: &'static str,
}

/// Sends attempts to one instance.
pub trait Wire<B> {
    /// The body of its answers.
    type Body: Body<Data = Bytes> + Send + 'static;

    /// Sends a request. Dropping the future cancels it.
    ///
    /// # Errors
    /// There is no answer; [`WireError`] says whether the callee may have seen the request.
    fn send(
        self: Arc<Self>,
        request: Request<RequestBody<B>>,
    ) -> impl Future<Output = Result<Response<Self::Body>, WireError>> + Send;
}

/// Why an attempt got no answer.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// No connection could be had: the callee has not seen the request, and another try does no harm.
    #[error("no connection: {0}")]
    NotSent(#[source] BoxError),
    /// The connection broke with the request on it.
    #[error("the connection broke: {0}")]
    Broken(#[source] BoxError),
}

/// Why a call got no answer from its callee.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// A local rule refused it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The last attempt was cut by its timeout or the deadline.
    #[error("{0} did not answer in time")]
    TimedOut(Arc<str>),
    /// The last attempt did not get through.
    #[error("{service} cannot be reached: {error}")]
    Unreachable {
        /// The callee.
        service: Arc<str>,
        /// What the wire said.
        #[source]
        error: WireError,
    },
}

/// Whether a request or an answer is gRPC's. gRPC-Web carries its status in the body and passes as HTTP.
#[must_use]
pub fn is_grpc(headers: &HeaderMap) -> bool {
    const NAME: &[u8] = b"application/grpc";
    let kind = headers.get(http::header::CONTENT_TYPE).map_or(&b""[..], |v| v.as_bytes());
    kind.strip_prefix(NAME).is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}
