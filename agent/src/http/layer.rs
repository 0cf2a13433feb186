//! The layer for clients that are tower services over `http::Request`, such as hyper's legacy client.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use http_body::Body;
use opentelemetry::KeyValue;
use tower::{Layer, Service, ServiceExt as _};

use super::{answered, is_idempotent, method_attribute, write_headers};
use crate::address::shown;
use crate::agent::Inner;
use crate::body::{Outgoing, ReplayBody};
use crate::call::{Ended, LiveAttempt, LiveCall, NoPlace, Protocol, Read, Refusal, Target, Transport, drive};
use crate::discovery::{Instance, IntoEndpoints};
use crate::error::AgentError;
use crate::fallback::Fallbacks;
use crate::members::Peers;

/// Names the route of a request for policies and pictures (`/orders/{id}`): put it into the request's extensions. Without it
/// the operation is the method alone.
#[derive(Debug, Clone)]
pub struct Route(pub Arc<str>);

/// The layer; see [`crate::Agent::http_client_layer`].
#[derive(Clone)]
pub struct HttpClientLayer {
    agent: Arc<Inner>,
    service: Arc<str>,
    peers: Option<Arc<Peers<Uri>>>,
}

impl std::fmt::Debug for HttpClientLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpClientLayer").field("service", &self.service).finish_non_exhaustive()
    }
}

impl HttpClientLayer {
    pub(crate) fn new(agent: &Arc<Inner>, service: &str) -> Self {
        Self { agent: agent.clone(), service: service.into(), peers: None }
    }

    /// The callee's instances. The edge's balancer picks one for each attempt, and scheme, host and port of the request's URI
    /// become the instance's (the path of an instance's address goes before the request's); a `host` header stays as it is.
    /// Without this, requests go where their URI says.
    ///
    /// # Errors
    /// No address, one that is none, or [`crate::discovery::Discovered`] for an agent without a source.
    pub fn instances(mut self, endpoints: impl IntoEndpoints) -> Result<Self, AgentError> {
        let base = |instance: &Instance| crate::address::uri(&format!("{}{}", instance.origin(), instance.path));
        self.peers = Some(Peers::start(&self.agent, &self.service, endpoints, base)?);
        Ok(self)
    }
}

impl<S> Layer<S> for HttpClientLayer {
    type Service = HttpClientService<S>;

    fn layer(&self, inner: S) -> HttpClientService<S> {
        let (agent, service, peers) = (self.agent.clone(), self.service.clone(), self.peers.clone());
        HttpClientService { agent, service, peers, inner }
    }
}

/// A client with the agent's rules around each call.
#[derive(Clone)]
pub struct HttpClientService<S> {
    agent: Arc<Inner>,
    service: Arc<str>,
    peers: Option<Arc<Peers<Uri>>>,
    inner: S,
}

impl<S: std::fmt::Debug> std::fmt::Debug for HttpClientService<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpClientService").field("service", &self.service).field("inner", &self.inner).finish()
    }
}

/// Why a call through the layer got no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// A local rule refused it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The last attempt was cut by its timeout or the deadline.
    #[error("{0} did not answer in time")]
    TimedOut(Arc<str>),
    /// What the client or the request's body said.
    #[error("the call broke: {0}")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl<S, B, R> Service<Request<B>> for HttpClientService<S>
where
    S: Service<Request<ReplayBody<B>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    R: Send + 'static,
{
    type Response = Response<R>;
    type Error = LayerError;
    type Future = BoxFuture<'static, Result<Response<R>, LayerError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), LayerError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        Box::pin(self.clone().run(request))
    }
}

impl<S> HttpClientService<S> {
    async fn run<B, R>(self, request: Request<B>) -> Result<Response<R>, LayerError>
    where
        S: Service<Request<ReplayBody<B>>, Response = Response<R>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        R: Send + 'static,
    {
        let (parts, body) = request.into_parts();
        let body = Outgoing::take(body).map_err(|e| LayerError::Broken(e.into()))?;
        let call = LiveCall::begin(&self.agent, self.target(&parts, body.is_whole()));
        let key = call.balance_key(&parts.headers);
        let sending = Sending { inner: Mutex::new(self.inner), service: self.service, peers: self.peers, parts, body };
        drive(&sending, call, &key).await
    }

    fn target(&self, parts: &http::request::Parts, replayable: bool) -> Target {
        let mut attributes = vec![method_attribute(&parts.method)];
        let operation = match parts.extensions.get::<Route>() {
            Some(Route(route)) => {
                attributes.push(KeyValue::new("url.template", route.clone()));
                format!("{} {route}", parts.method)
            }
            None => parts.method.to_string(),
        };
        Target {
            protocol: Protocol::Http,
            service: self.service.clone(),
            operation: operation.into(),
            idempotent: is_idempotent(&parts.method, &parts.headers),
            replayable,
            limit: crate::timeout::inbound(&parts.headers),
            members: self.peers.as_ref().and_then(|peers| peers.choice()),
            attributes,
            details: vec![KeyValue::new("url.full", shown(&parts.uri.to_string()).into_owned())],
        }
    }
}

/// One call through the inner client.
struct Sending<S, B> {
    /// Locked to be cloned only: a client need not be shared between threads otherwise.
    inner: Mutex<S>,
    service: Arc<str>,
    peers: Option<Arc<Peers<Uri>>>,
    parts: http::request::Parts,
    body: Outgoing<B>,
}

impl<S, B, R> Transport for Sending<S, B>
where
    S: Service<Request<ReplayBody<B>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    R: Send + 'static,
{
    type Request = (S, Request<ReplayBody<B>>);
    type Got = Result<Response<R>, Box<dyn std::error::Error + Send + Sync>>;
    type Answer = Response<R>;
    type Error = LayerError;

    async fn request(&self, attempt: &mut LiveAttempt) -> Result<Self::Request, NoPlace> {
        let mut request = Request::from_parts(self.parts.clone(), self.body.next());
        if let Some(peers) = &self.peers {
            let peer = peers.get(attempt.endpoint().as_deref())?;
            *request.uri_mut() = moved(&self.parts.uri, &peer.wire);
        }
        attempt.peer(request.uri().host().unwrap_or_default(), request.uri().port_u16());
        write_headers(attempt, request.headers_mut());
        Ok((self.inner.lock().unwrap_or_else(PoisonError::into_inner).clone(), request))
    }

    async fn send(&self, (inner, request): Self::Request) -> Self::Got {
        inner.oneshot(request).await.map_err(Into::into)
    }

    fn read(&self, _: &LiveAttempt, got: Self::Got) -> Read<Response<R>, LayerError> {
        match got {
            Ok(answer) => Read::Ended(answered(answer.status(), answer.headers()), Ok(answer)),
            Err(error) => Read::Ended(broken(&*error), Err(LayerError::Broken(error))),
        }
    }

    fn late(&self) -> LayerError {
        LayerError::TimedOut(self.service.clone())
    }

    fn value(&self, fallbacks: &Fallbacks, name: &str) -> Option<Response<R>> {
        fallbacks.get(name)
    }
}

/// A request's URI with the scheme, host and port of an instance, and its path before the request's.
fn moved(uri: &Uri, base: &Uri) -> Uri {
    let mut parts = base.clone().into_parts();
    parts.path_and_query = match base.path().trim_end_matches('/') {
        "" => uri.path_and_query().cloned(),
        prefix => {
            let path = uri.path_and_query().map_or("/", |path| path.as_str());
            PathAndQuery::try_from(format!("{prefix}{path}")).ok()
        }
    };
    parts.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
    // Scheme, authority and path are there: that is a URI.
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

/// The end of an attempt without an answer. What a client says of itself is unknown here, but only a connection that was to be
/// made can be refused: then nothing was sent.
fn broken(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Ended {
    let error: &(dyn std::error::Error + 'static) = error;
    let refused = std::iter::successors(Some(error), |e| e.source())
        .filter_map(|e| e.downcast_ref::<std::io::Error>())
        .any(|e| e.kind() == std::io::ErrorKind::ConnectionRefused);
    if refused { Ended::no_connection() } else { Ended::with("reset") }
}
