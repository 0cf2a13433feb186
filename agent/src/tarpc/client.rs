//! The client: one call is one or more attempts on the callee's instances, each over one TCP connection of its own.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::FutureExt as _;
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanContext;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tarpc::client::stub::Stub;
use tarpc::client::{self, Channel, RpcError};
use tarpc::tokio_serde::formats::Bincode;
use tarpc::tokio_util::codec::LengthDelimitedCodec;
use tarpc::{ClientMessage, RequestName, Response, serde_transport, trace};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;

use super::carry::{Carried, ClientCarry};
use super::{BUSY, Socket, operation};
use crate::agent::Inner;
use crate::call::{Ended, LiveAttempt, LiveCall, NoPlace, Protocol, Read, Refusal, Target, Transport, drive};
use crate::discovery::{Instance, IntoEndpoints};
use crate::error::AgentError;
use crate::fallback::Fallbacks;
use crate::members::{Peer, Peers};
use crate::room::{Open, PoolLimits, Room};
use crate::tls::{Alpn, Dialer};

const CONNECT: Duration = Duration::from_secs(1);

type Wire<Req, Resp> = Channel<Carried<Arc<Req>>, Resp>;

/// A tarpc client with the agent's rules around each call. Give it to a generated client: `InventoryClient::from(client)`.
///
/// A refused call is an [`RpcError::Send`] whose source is a [`Refusal`]; one that was cut, [`RpcError::DeadlineExceeded`].
pub struct TarpcClient<Req, Resp> {
    shared: Arc<Shared<Req, Resp>>,
}

struct Shared<Req, Resp> {
    agent: Arc<Inner>,
    dialer: Dialer,
    service: Arc<str>,
    peers: Arc<Peers<Line<Req, Resp>>>,
    limits: Arc<ArcSwap<PoolLimits>>,
    idempotent: HashSet<String>,
    judge: Option<fn(&Resp) -> Option<&'static str>>,
    /// Speaks TLS, also to instances that do not say that they do; their certificates hold this name.
    name: Option<Arc<str>>,
}

/// A connection, once there is one.
type Lane<Req, Resp> = Mutex<Option<Connection<Req, Resp>>>;

/// The way to an instance.
struct Line<Req, Resp> {
    instance: Instance,
    room: Arc<Room>,
    lanes: Box<[Lane<Req, Resp>]>,
}

struct Connection<Req, Resp> {
    channel: Wire<Req, Resp>,
    /// Cancelled when the connection is over.
    broken: CancellationToken,
}

impl<Req, Resp> Clone for TarpcClient<Req, Resp> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<Req, Resp> std::fmt::Debug for TarpcClient<Req, Resp> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TarpcClient").field("service", &self.shared.service).finish_non_exhaustive()
    }
}

impl<Req, Resp> TarpcClient<Req, Resp>
where
    Req: Send + Sync + 'static,
    Resp: Send + 'static,
{
    pub(crate) fn new(
        agent: &Arc<Inner>,
        dialer: &Dialer,
        service: &str,
        endpoints: impl IntoEndpoints,
    ) -> Result<Self, AgentError> {
        let limits = Arc::new(ArcSwap::from_pointee(agent.pool.clone()));
        let (said, seen, name) = (limits.clone(), agent.sightings.clone(), Arc::<str>::from(service));
        let line = move |instance: &Instance| {
            let room = Room::shared(&instance.address, &said.load());
            seen.room(&name, instance, false, &room);
            let lanes = (0..room.lanes()).map(|_| Mutex::new(None)).collect();
            Ok(Line { instance: instance.clone(), room, lanes })
        };
        let peers = Peers::start(agent, service, endpoints, line)?;
        let (agent, dialer, service) = (agent.clone(), dialer.clone(), service.into());
        let (idempotent, judge, name) = (HashSet::new(), None, None);
        Ok(Self { shared: Arc::new(Shared { agent, dialer, service, peers, limits, idempotent, judge, name }) })
    }

    /// Speaks TLS, with the settings of the agent's handle; the instances' certificates must hold this name.
    #[must_use]
    pub fn tls(self, name: impl Into<Arc<str>>) -> Self {
        self.change(|shared| shared.name = Some(name.into()))
    }

    /// How much of each instance this client and its clones may use; [`Builder::pool`](crate::Builder::pool) when not given.
    #[must_use]
    pub fn pool(self, limits: PoolLimits) -> Self {
        self.shared.limits.store(Arc::new(limits));
        self.shared.peers.remake();
        self
    }

    /// Names operations (`Service/method`) that may be done twice.
    #[must_use]
    pub fn idempotent<I: IntoIterator<Item = S>, S: Into<String>>(self, operations: I) -> Self {
        self.change(|shared| shared.idempotent.extend(operations.into_iter().map(Into::into)))
    }

    /// Tells which answers are failures of the callee: the function gives a code in the words of the policy
    /// (`unavailable`…), or `None` for a good answer. Without it every answer is good.
    #[must_use]
    pub fn judge(self, judge: fn(&Resp) -> Option<&'static str>) -> Self {
        self.change(|shared| shared.judge = Some(judge))
    }

    fn change(self, change: impl FnOnce(&mut Shared<Req, Resp>)) -> Self {
        let old = &self.shared;
        let mut shared = Shared {
            agent: old.agent.clone(),
            dialer: old.dialer.clone(),
            service: old.service.clone(),
            peers: old.peers.clone(),
            limits: old.limits.clone(),
            idempotent: old.idempotent.clone(),
            judge: old.judge,
            name: old.name.clone(),
        };
        change(&mut shared);
        Self { shared: Arc::new(shared) }
    }
}

impl<Req, Resp> Stub for TarpcClient<Req, Resp>
where
    Req: RequestName + Serialize + Send + Sync + 'static,
    Resp: DeserializeOwned + Send + 'static,
{
    type Req = Req;
    type Resp = Resp;

    async fn call(&self, ctx: tarpc::context::Context, request: Req) -> Result<Resp, RpcError> {
        let shared = &*self.shared;
        let request = Arc::new(request);
        let operation = operation(request.name());
        let left = Instant::from_std(ctx.deadline).saturating_duration_since(Instant::now());
        let call = LiveCall::begin(&shared.agent, shared.target(operation, left));
        drive(&Sending { shared, ctx, request }, call, b"").await
    }
}

/// One call on the callee's instances.
struct Sending<'a, Req, Resp> {
    shared: &'a Shared<Req, Resp>,
    ctx: tarpc::context::Context,
    request: Arc<Req>,
}

impl<Req, Resp> Transport for Sending<'_, Req, Resp>
where
    Req: RequestName + Serialize + Send + Sync + 'static,
    Resp: DeserializeOwned + Send + 'static,
{
    type Request = (Arc<Peer<Line<Req, Resp>>>, usize, tarpc::context::Context, Carried<Arc<Req>>);
    type Got = Result<Resp, RpcError>;
    type Answer = Resp;
    type Error = RpcError;

    async fn request(&self, attempt: &mut LiveAttempt) -> Result<Self::Request, NoPlace> {
        let peer = self.shared.peers.get(attempt.endpoint().as_deref())?;
        attempt.peer(&peer.host, Some(peer.port));
        let lane = attempt.enter(&peer.wire.room).await?;
        let mut ctx = self.ctx;
        if let Some(at) = attempt.until() {
            ctx.deadline = at.into_std();
        }
        Ok((peer, lane, ctx, Carried { trace: ids(&attempt.span_context()), message: self.request.clone() }))
    }

    async fn send(&self, (peer, lane, ctx, carried): Self::Request) -> Self::Got {
        peer.wire.connect(lane, &self.shared.dialer, self.shared.name.as_deref()).await?.call(ctx, carried).await
    }

    fn read(&self, _: &LiveAttempt, got: Self::Got) -> Read<Resp, RpcError> {
        Read::Ended(self.shared.judge(&got), got)
    }

    fn late(&self) -> RpcError {
        RpcError::DeadlineExceeded
    }

    fn value(&self, fallbacks: &Fallbacks, name: &str) -> Option<Resp> {
        fallbacks.get(name)
    }
}

impl<Req, Resp> Shared<Req, Resp>
where
    Req: Send + Sync + 'static,
    Resp: Send + 'static,
{
    fn target(&self, operation: String, limit: Duration) -> Target {
        let operation: Arc<str> = operation.into();
        Target {
            protocol: Protocol::Tarpc,
            service: self.service.clone(),
            idempotent: self.idempotent.contains(&*operation),
            replayable: true,
            limit: Some(limit),
            members: Some(self.peers.members().clone()),
            attributes: vec![KeyValue::new("rpc.system.name", "tarpc"), KeyValue::new("rpc.method", operation.clone())],
            details: Vec::new(),
            operation,
        }
    }

    fn judge(&self, answer: &Result<Resp, RpcError>) -> Ended {
        match answer {
            Err(RpcError::DeadlineExceeded) => Ended::timed_out(),
            Ok(answer) => Ended::with(self.judge.and_then(|judge| judge(answer)).unwrap_or("ok")),
            Err(RpcError::Send(error)) if error.is::<Unreachable>() => Ended::no_connection(),
            Err(RpcError::Server(error)) if error.detail.starts_with(BUSY) => Ended::with("unavailable"),
            Err(RpcError::Server(_)) => Ended::with("internal"),
            Err(_) => Ended::with("reset"),
        }
    }
}

/// No connection to an instance could be made.
#[derive(Debug, thiserror::Error)]
#[error("{address} cannot be reached: {source}")]
struct Unreachable {
    address: String,
    source: std::io::Error,
}

impl<Req, Resp> Line<Req, Resp>
where
    Req: RequestName + Serialize + Send + Sync + 'static,
    Resp: DeserializeOwned + Send + 'static,
{
    /// The connection, made if there is none or the last one broke.
    async fn connect(&self, lane: usize, dialer: &Dialer, name: Option<&str>) -> Result<Wire<Req, Resp>, RpcError> {
        let mut wire = self.lanes[lane % self.lanes.len()].lock().await;
        if let Some(made) = wire.as_ref().filter(|made| !made.broken.is_cancelled()) {
            return Ok(made.channel.clone());
        }
        let refused = |source| RpcError::Send(Box::new(Unreachable { address: self.instance.address.clone(), source }));
        let late = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
        let stream = tokio::time::timeout(CONNECT, self.dial(dialer, name)).await.map_err(late);
        let stream = stream.and_then(|made| made).map_err(refused)?;
        let framed = LengthDelimitedCodec::builder().new_framed(stream);
        let transport: Socket<_, Response<Resp>, ClientMessage<Arc<Req>>> =
            serde_transport::new(framed, Bincode::default());
        let mut config = client::Config::default();
        // The room is the limit.
        config.max_in_flight_requests = config.max_in_flight_requests.max(self.room.usage().limit);
        let new = client::new(config, ClientCarry { inner: transport });
        let broken = CancellationToken::new();
        let dispatch = new.dispatch.map({
            let (broken, open) = (broken.clone(), Open::new(&self.room));
            // Each call that was under way learns of the error itself.
            move |_| {
                drop(open);
                broken.cancel();
            }
        });
        tokio::spawn(dispatch);
        *wire = Some(Connection { channel: new.client.clone(), broken });
        Ok(new.client)
    }

    async fn dial(
        &self,
        dialer: &Dialer,
        name: Option<&str>,
    ) -> std::io::Result<Either<TcpStream, TlsStream<TcpStream>>> {
        let stream = TcpStream::connect(&self.instance.address).await?;
        stream.set_nodelay(true)?;
        let own = || self.instance.host_and_port().filter(|_| self.instance.secure).map(|(host, _)| host);
        match name.or_else(own) {
            None => Ok(Either::Left(stream)),
            Some(name) => dialer.secure(name, Alpn::None, stream).await.map(Either::Right),
        }
    }
}

fn ids(span: &SpanContext) -> trace::Context {
    let sampled = if span.is_sampled() { trace::SamplingDecision::Sampled } else { trace::SamplingDecision::Unsampled };
    trace::Context {
        trace_id: u128::from_be_bytes(span.trace_id().to_bytes()).into(),
        span_id: u64::from_be_bytes(span.span_id().to_bytes()).into(),
        sampling_decision: sampled,
    }
}

/// The error of a refused call: [`RpcError::DeadlineExceeded`] if it was its deadline, else its source is the refusal.
impl From<Refusal> for RpcError {
    fn from(refusal: Refusal) -> Self {
        if refusal.rule == "deadline" { Self::DeadlineExceeded } else { Self::Send(Box::new(refusal)) }
    }
}
