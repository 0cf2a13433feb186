//! The server: a span for each request, the caller's ids and deadline for its handler.

use std::future::Future;
use std::io;
use std::sync::Arc;

use futures_util::stream::FuturesUnordered;
use futures_util::{Sink, Stream, StreamExt as _};
use opentelemetry::KeyValue;
use opentelemetry::context::FutureExt as _;
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tarpc::server::{BaseChannel, Channel as _, Serve};
use tarpc::tokio_serde::formats::Bincode;
use tarpc::tokio_util::codec::LengthDelimitedCodec;
use tarpc::{ClientMessage, RequestName, Response, ServerError, serde_transport, trace};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_stream::wrappers::TcpListenerStream;

use super::carry::{Carried, ServerCarry};
use super::{BUSY, Socket, operation};
use crate::agent::Inner;
use crate::call::Protocol;
use crate::context;
use crate::error::AgentError;
use crate::serve::{Inbound, Served};
use crate::tls::{Alpn, Peer, ServerTls};

/// Most requests of one connection that are answered at once.
const AT_ONCE: usize = 256;

/// The server side of tarpc; see [`crate::Agent::tarpc_server`].
#[derive(Clone)]
pub struct TarpcServer {
    agent: Arc<Inner>,
}

impl std::fmt::Debug for TarpcServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TarpcServer").field("service", &self.agent.service).finish()
    }
}

impl TarpcServer {
    pub(crate) fn new(agent: &Arc<Inner>) -> Self {
        Self { agent: agent.clone() }
    }

    /// Answers the requests of one connection; spawn each future of the stream (`server.serve()` of a generated service is
    /// what answers them).
    pub fn requests<T, S>(
        &self,
        transport: T,
        serve: S,
    ) -> impl Stream<Item = impl Future<Output = ()> + use<T, S>> + use<T, S>
    where
        T: Stream<Item = io::Result<ClientMessage<S::Req>>> + Sink<Response<S::Resp>, Error = io::Error>,
        S: Serve + Clone,
    {
        self.requests_of(transport, serve, None)
    }

    fn requests_of<T, S>(
        &self,
        transport: T,
        serve: S,
        peer: Option<Peer>,
    ) -> impl Stream<Item = impl Future<Output = ()> + use<T, S>> + use<T, S>
    where
        T: Stream<Item = io::Result<ClientMessage<S::Req>>> + Sink<Response<S::Resp>, Error = io::Error>,
        S: Serve + Clone,
    {
        let traced = Traced { agent: self.agent.clone(), serve, peer };
        BaseChannel::with_defaults(ServerCarry { inner: transport }).max_concurrent_requests(AT_ONCE).execute(traced)
    }

    /// Accepts connections (TCP, bincode) and answers their requests, all within this future: drop it to stop.
    ///
    /// # Errors
    /// The listener failed.
    pub async fn run<S>(&self, listener: TcpListener, serve: S) -> io::Result<()>
    where
        S: Serve + Clone,
        S::Req: DeserializeOwned,
        S::Resp: Serialize,
    {
        let plain = TcpListenerStream::new(listener).filter_map(|accepted| async {
            // A caller that is gone already is no reason to stop.
            let described =
                |tcp: TcpStream| tcp.set_nodelay(true).and_then(|()| Ok((Peer::from(tcp.peer_addr()?), tcp)));
            accepted.map(|tcp| described(tcp).ok()).transpose()
        });
        self.serve(plain, serve).await
    }

    /// Like [`TarpcServer::run`], over TLS.
    ///
    /// # Errors
    /// Certificates or keys that cannot be used.
    pub async fn run_tls<S>(&self, listener: TcpListener, tls: &ServerTls, serve: S) -> Result<(), AgentError>
    where
        S: Serve + Clone,
        S::Req: DeserializeOwned,
        S::Resp: Serialize,
    {
        let incoming = crate::tls::incoming(&self.agent, listener, tls, Alpn::None)?;
        let incoming = incoming.map(|accepted| accepted.map(|stream| (stream.peer().clone(), stream)));
        // Its stream holds no errors.
        let _ = self.serve(incoming, serve).await;
        Ok(())
    }

    async fn serve<I, T, S>(&self, incoming: I, serve: S) -> io::Result<()>
    where
        I: Stream<Item = io::Result<(Peer, T)>>,
        T: AsyncRead + AsyncWrite + Unpin,
        S: Serve + Clone,
        S::Req: DeserializeOwned,
        S::Resp: Serialize,
    {
        tokio::pin!(incoming);
        let mut connections = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(accepted) = incoming.next() => {
                    let (peer, stream) = accepted?;
                    let framed = LengthDelimitedCodec::builder().new_framed(stream);
                    let transport: Socket<T, ClientMessage<S::Req>, Response<S::Resp>> =
                        serde_transport::new(framed, Bincode::default());
                    let requests = self.requests_of(transport, serve.clone(), Some(peer));
                    connections.push(requests.for_each_concurrent(None, |request| request));
                }
                Some(()) = connections.next(), if !connections.is_empty() => {}
                else => return Ok(()),
            }
        }
    }
}

/// A service whose requests carry their ids.
#[derive(Clone)]
struct Traced<S> {
    agent: Arc<Inner>,
    serve: S,
    peer: Option<Peer>,
}

impl<S: Serve> Serve for Traced<S> {
    type Req = Carried<S::Req>;
    type Resp = S::Resp;

    async fn serve(self, ctx: tarpc::context::Context, request: Carried<S::Req>) -> Result<S::Resp, ServerError> {
        let operation = operation(request.message.name());
        let inbound =
            Inbound { parent: ids(&request.trace), deadline: Some(Instant::from_std(ctx.deadline)), attempt: None };
        let labels = vec![KeyValue::new("rpc.system.name", "tarpc"), KeyValue::new("rpc.method", operation.clone())];
        let mut served = Served::begin(&self.agent, Protocol::Tarpc, operation, inbound, &labels, Vec::new());
        if let Err(why) = served.admit() {
            served.end("refused", Some("unavailable".to_owned()), &[]);
            return Err(ServerError::new(io::ErrorKind::WouldBlock, format!("{BUSY}{why}")));
        }
        let cx = context::with_peer(served.cx(), self.peer);
        let answer = self.serve.serve(ctx, request.message).with_context(cx).await;
        match &answer {
            Ok(_) => served.end("success", None, &[]),
            Err(error) => served.end("failure", Some(format!("{:?}", error.kind)), &[]),
        }
        answer
    }
}

fn ids(trace: &trace::Context) -> Option<SpanContext> {
    let (trace_id, span_id) = (TraceId::from(u128::from(trace.trace_id)), SpanId::from(u64::from(trace.span_id)));
    let sampled = trace.sampling_decision == trace::SamplingDecision::Sampled;
    let flags = if sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    let span = SpanContext::new(trace_id, span_id, flags, true, TraceState::default());
    span.is_valid().then_some(span)
}
