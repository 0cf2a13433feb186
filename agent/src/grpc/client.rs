//! The client: one call is one or more attempts on the callee's instances.

use std::collections::HashSet;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Request, Response};
use opentelemetry::KeyValue;
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tower::{Service, ServiceExt as _};

use super::response::{Reply, ReplyBody};
use crate::agent::Inner;
use crate::body::Outgoing;
use crate::call::{Ended, LiveAttempt, LiveCall, NoPlace, Protocol, Read, Refusal, Target, Transport, drive};
use crate::discovery::{Instance, IntoEndpoints};
use crate::error::AgentError;
use crate::fallback::Fallbacks;
use crate::members::Peers;
use crate::propagation::inject;
use crate::room::{Counted, PoolLimits, Room};
use crate::timeout::{self, GRPC_ATTEMPTS, GRPC_TIMEOUT};
use crate::tls::Dialer;

/// A metadata key by which the application says that a call may be repeated.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
const CONNECT: Duration = Duration::from_secs(1);
const PING: Duration = Duration::from_secs(10);
const PONG: Duration = Duration::from_secs(5);

/// A gRPC client with the agent's rules around each call. Give it to a generated client: `OrdersClient::new(client)`.
///
/// Requests that are there as a whole (unary ones) may be tried again, on another instance; streams pass once. A refused
/// call is a [`Status`] whose source is a [`Refusal`].
#[derive(Clone)]
pub struct GrpcClient {
    agent: Arc<Inner>,
    service: Arc<str>,
    peers: Arc<Peers<Channels>>,
    limits: Arc<ArcSwap<PoolLimits>>,
    idempotent: Arc<HashSet<String>>,
}

impl std::fmt::Debug for GrpcClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GrpcClient").field("service", &self.service).field("peers", &self.peers).finish_non_exhaustive()
    }
}

impl GrpcClient {
    pub(crate) fn new(
        agent: &Arc<Inner>,
        dialer: &Dialer,
        service: &str,
        endpoints: impl IntoEndpoints,
    ) -> Result<Self, AgentError> {
        let limits = Arc::new(ArcSwap::from_pointee(agent.pool.clone()));
        let (dialer, said, seen) = (dialer.clone(), limits.clone(), agent.sightings.clone());
        let name: Arc<str> = service.into();
        let make = move |instance: &Instance| {
            let channels = Channels::new(&dialer, &said.load(), instance)?;
            seen.room(&name, instance, false, &channels.room);
            Ok(channels)
        };
        let peers = Peers::start(agent, service, endpoints, make)?;
        Ok(Self { agent: agent.clone(), service: service.into(), peers, limits, idempotent: Arc::default() })
    }

    /// How much of each instance this client and its clones may use; [`Builder::pool`](crate::Builder::pool) when not given.
    #[must_use]
    pub fn pool(self, limits: PoolLimits) -> Self {
        self.limits.store(Arc::new(limits));
        self.peers.remake();
        self
    }

    /// Names operations (`pkg.Service/Method`) that may be done twice. Calls with the metadata `idempotency-key` may, too.
    #[must_use]
    pub fn idempotent<I: IntoIterator<Item = S>, S: Into<String>>(mut self, operations: I) -> Self {
        let mut all = HashSet::clone(&self.idempotent);
        all.extend(operations.into_iter().map(Into::into));
        self.idempotent = Arc::new(all);
        self
    }

    async fn run(self, request: Request<Body>) -> Result<Response<ReplyBody>, Status> {
        let (parts, body) = request.into_parts();
        let body = Outgoing::take(body)?;
        let call = LiveCall::begin(&self.agent, self.target(&parts, body.is_whole()));
        let key = call.balance_key(&parts.headers);
        drive(&Sending { peers: &self.peers, parts, body }, call, &key).await
    }

    fn target(&self, parts: &http::request::Parts, replayable: bool) -> Target {
        let operation: Arc<str> = parts.uri.path().trim_start_matches('/').into();
        Target {
            protocol: Protocol::Grpc,
            service: self.service.clone(),
            idempotent: self.idempotent.contains(&*operation) || parts.headers.contains_key(IDEMPOTENCY_KEY),
            replayable,
            limit: timeout::inbound(&parts.headers),
            members: Some(self.peers.members().clone()),
            attributes: call_attributes(operation.clone()),
            operation,
            details: Vec::new(),
        }
    }
}

impl Service<Request<Body>> for GrpcClient {
    type Response = Response<ReplyBody>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().run(request))
    }
}

/// One call on the callee's instances.
struct Sending<'a> {
    peers: &'a Peers<Channels>,
    parts: http::request::Parts,
    body: Outgoing<Body>,
}

impl Transport for Sending<'_> {
    type Request = (Channel, Request<Body>);
    type Got = Result<Response<Body>, tonic::transport::Error>;
    type Answer = Response<ReplyBody>;
    type Error = Status;

    async fn request(&self, attempt: &mut LiveAttempt) -> Result<Self::Request, NoPlace> {
        let peer = self.peers.get(attempt.endpoint().as_deref())?;
        attempt.peer(&peer.host, Some(peer.port));
        let lane = attempt.enter(&peer.wire.room).await?;
        let channel = peer.wire.lanes[lane % peer.wire.lanes.len()].clone();
        let mut request = Request::from_parts(self.parts.clone(), Body::new(self.body.next()));
        write_headers(attempt, request.headers_mut());
        Ok((channel, request))
    }

    async fn send(&self, (channel, request): Self::Request) -> Self::Got {
        channel.oneshot(request).await
    }

    fn read(&self, attempt: &LiveAttempt, got: Self::Got) -> Read<Self::Answer, Status> {
        let response = match got {
            Err(error) if chain(&error).any(|e| e.is::<tonic::TimeoutExpired>()) => {
                return Read::Ended(Ended::timed_out(), Err(too_late()));
            }
            Err(error) => {
                let (ended, status) = broken(error);
                return Read::Ended(ended, Err(status));
            }
            Ok(response) if timer_went_off(&response, attempt) => {
                return Read::Ended(Ended::timed_out(), Err(too_late()));
            }
            Ok(response) => response,
        };
        match early_status(&response) {
            Some(code) => Read::Ended(super::ended(response.headers(), code), Ok(response.map(ReplyBody::settled))),
            None => Read::Begun(Box::new(|call, attempt| response.map(|body| ReplyBody::open(body, call, attempt)))),
        }
    }

    fn late(&self) -> Status {
        too_late()
    }

    fn value(&self, fallbacks: &Fallbacks, name: &str) -> Option<Response<ReplyBody>> {
        fallbacks.get::<Reply>(name).map(Reply::into_response)
    }
}

/// The connections to an instance; each is made when first used, again after it broke.
struct Channels {
    room: Arc<Room>,
    lanes: Box<[Channel]>,
}

impl Channels {
    fn new(dialer: &Dialer, limits: &PoolLimits, instance: &Instance) -> Result<Self, AgentError> {
        let room = Room::shared(&instance.address, limits);
        let (endpoint, inner) = dialer.grpc(crate::address::uri(&instance.origin())?, CONNECT);
        // A callee whose machine is gone says nothing; a ping that is not answered does.
        let endpoint = endpoint.http2_keep_alive_interval(PING).keep_alive_timeout(PONG);
        let connector = Counted { inner, room: room.clone() };
        let lanes = (0..room.lanes()).map(|_| endpoint.connect_with_connector_lazy(connector.clone())).collect();
        Ok(Self { room, lanes })
    }
}

/// What the conventions say of a call besides its status.
pub(crate) fn call_attributes(operation: Arc<str>) -> Vec<KeyValue> {
    vec![KeyValue::new("rpc.system.name", "grpc"), KeyValue::new("rpc.method", operation)]
}

/// Writes the attempt's ids, number and what is left into a request's metadata.
pub(crate) fn write_headers(attempt: &LiveAttempt, headers: &mut HeaderMap) {
    inject(&attempt.span_context(), headers);
    match attempt.left().map(timeout::header) {
        Some(value) => drop(headers.insert(GRPC_TIMEOUT, value)),
        None => drop(headers.remove(GRPC_TIMEOUT)),
    }
    if attempt.number() > 1 {
        headers.insert(GRPC_ATTEMPTS, HeaderValue::from(attempt.number() - 1));
    }
}

/// The status of an answer that has no more to say than its headers.
pub(crate) fn early_status<B>(response: &Response<B>) -> Option<Code> {
    let own = response.headers().get("grpc-status").map(|v| Code::from_bytes(v.as_bytes()));
    own.or_else(|| match response.status().as_u16() {
        200 => None,
        400 => Some(Code::Internal),
        401 => Some(Code::Unauthenticated),
        403 => Some(Code::PermissionDenied),
        404 => Some(Code::Unimplemented),
        429 | 502 | 503 | 504 => Some(Code::Unavailable),
        _ => Some(Code::Unknown),
    })
}

/// Whether an answer only says that the server's timer went off. tonic's own timer, here and there, runs for what
/// `grpc-timeout` says and answers `CANCELLED`; left so, an overdue callee would count for nothing.
pub(crate) fn timer_went_off<B>(response: &Response<B>, attempt: &LiveAttempt) -> bool {
    let is = |name: &str, value: &str| response.headers().get(name).is_some_and(|v| v.as_bytes() == value.as_bytes());
    is("grpc-status", "1") && (attempt.is_overdue() || is("grpc-message", "Timeout%20expired"))
}

/// The attempt ended without an answer.
fn broken(error: tonic::transport::Error) -> (Ended, Status) {
    let connect = chain(&error).any(|e| e.is::<tonic::ConnectError>());
    let text = chain(&error).last().map(ToString::to_string).unwrap_or_default();
    let status = match Status::from_error(Box::new(error)) {
        status if status.code() == Code::Unknown => Status::unavailable(format!("the connection broke: {text}")),
        status => status,
    };
    let mut ended = super::ended_by(&status);
    if connect {
        // The channel gave up before it had anything to write the request to.
        ended = Ended { attributes: ended.attributes, ..Ended::no_connection() };
    } else if status.code() == Code::Unavailable {
        ended.code = "reset".into();
    }
    (ended, status)
}

fn chain<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |e| e.source())
}

pub(super) fn too_late() -> Status {
    Status::deadline_exceeded("the attempt was cut: its timeout or the call's deadline had come")
}

/// The status of a refused call; its source is the refusal.
impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let mut status = Self::new(super::code(&refusal.code), refusal.to_string());
        status.set_source(Arc::new(refusal));
        status
    }
}
