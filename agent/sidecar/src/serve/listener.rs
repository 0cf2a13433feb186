//! A listener: takes connections, serves HTTP/1.1 and HTTP/2 on each, and ends them gently.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use fuseboard_agent::tls::{TlsIncoming, TlsStream};
use fuseboard_agent::{Agent, AgentError};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::watched::{Pulse, Watched};
use crate::answer::Reply;
use crate::config::{Identity, Limits, millis};

/// Pause after an error of `accept`, such as too many open files.
const BREATH: Duration = Duration::from_millis(50);
/// Pings on connections that carry many requests.
const PING: Duration = Duration::from_secs(20);
/// What one stream may hold in memory before its reader has caught up, and a whole connection.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Answers requests.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Answers one; it came from `from`.
    fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        from: SocketAddr,
    ) -> impl Future<Output = Response<Reply>> + Send;
}

/// What listeners share.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    /// No more connections are taken, and each ends with the request that is on it.
    pub(crate) closing: CancellationToken,
    /// All connections.
    pub(crate) open: TaskTracker,
    pub(crate) limits: Arc<Limits>,
}

/// Takes connections until the door closes.
pub(crate) async fn listen<H: Handler>(mut port: Port, handler: Arc<H>, door: Door) {
    let turns = Arc::new(Semaphore::new(door.limits.connections));
    let servers = Arc::new(Servers::new(&door.limits));
    loop {
        let accepted = async {
            // With all turns taken the system's queue holds the rest.
            let turn = turns.clone().acquire_owned().await;
            (turn, port.accept().await)
        };
        let (turn, accepted) = tokio::select! {
            () = door.closing.cancelled() => return,
            both = accepted => both,
        };
        match (turn, accepted) {
            (Ok(turn), Ok((stream, from))) => {
                let (servers, handler, door) = (servers.clone(), handler.clone(), door.clone());
                let guest = Guest { servers, from, handler, door: door.clone(), _turn: turn };
                door.open.spawn(guest.serve(stream));
            }
            (Ok(_), Err(_)) => tokio::time::sleep(BREATH).await,
            (Err(_), _) => return,
        }
    }
}

/// Where connections come from.
#[derive(Debug)]
pub(crate) enum Port {
    /// As they are.
    Plain(TcpListener),
    /// Over TLS, with their handshakes made.
    Tls(TlsIncoming),
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
}

impl Port {
    /// A port that is bound already.
    ///
    /// # Errors
    /// Certificates or keys that cannot be used.
    pub(crate) fn new(listener: TcpListener, tls: Option<&Identity>, agent: &Agent) -> Result<Self, AgentError> {
        Ok(match tls {
            Some(tls) => Self::Tls(agent.http_tls_listener(listener, &tls.settings())?),
            None => Self::Plain(listener),
        })
    }

    async fn accept(&mut self) -> std::io::Result<(Stream, SocketAddr)> {
        match self {
            Self::Plain(listener) => {
                let (stream, from) = listener.accept().await?;
                // Without it small answers would wait for the other side's acknowledgement.
                stream.set_nodelay(true)?;
                Ok((Stream::Plain(stream), from))
            }
            Self::Tls(incoming) => {
                let stream = incoming.next().await.ok_or(std::io::ErrorKind::BrokenPipe)??;
                let from = stream.peer().address();
                Ok((Stream::Tls(Box::new(stream)), from))
            }
        }
    }
}

/// What speaks HTTP on a connection.
struct Servers {
    /// Where the first bytes said that it is HTTP/1.1, which most is: without looking for itself it needs half the memory.
    http1: http1::Builder,
    /// Looks for itself.
    any: auto::Builder<TokioExecutor>,
}

impl Servers {
    fn new(limits: &Limits) -> Self {
        let read = millis(limits.header_read_ms);
        let mut http1 = http1::Builder::new();
        http1.timer(TokioTimer::new()).header_read_timeout(read).max_buf_size(limits.header_bytes);
        let mut any = auto::Builder::new(TokioExecutor::new());
        any.http1().timer(TokioTimer::new()).header_read_timeout(read).max_buf_size(limits.header_bytes);
        any.http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .max_concurrent_streams(limits.streams)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX));
        Self { http1, any }
    }
}

/// An answer in the making. In a box, so that a connection without a request is small.
type Answering = Pin<Box<dyn Future<Output = Result<Response<Reply>, Infallible>> + Send>>;

/// One connection of a listener.
struct Guest<H> {
    servers: Arc<Servers>,
    from: SocketAddr,
    handler: Arc<H>,
    door: Door,
    _turn: OwnedSemaphorePermit,
}

impl<H: Handler> Guest<H> {
    async fn serve(self, stream: Stream) {
        match stream {
            Stream::Tls(stream) => Box::pin(self.serve_any(stream)).await,
            Stream::Plain(stream) => {
                let limit = millis(self.door.limits.header_read_ms);
                let mut first = [0; 4];
                match tokio::time::timeout(limit, stream.peek(&mut first)).await {
                    // No method begins like HTTP/2's greeting.
                    Ok(Ok(4..)) if first != *b"PRI " => self.serve_http1(stream).await,
                    Ok(Ok(1..)) => Box::pin(self.serve_any(stream)).await,
                    _ => {}
                }
            }
        }
    }

    async fn serve_http1(self, stream: TcpStream) {
        let stream = Watched::new(stream);
        let (pulse, service) = (stream.pulse(), self.service());
        let connection = self.servers.http1.serve_connection(TokioIo::new(stream), service).with_upgrades();
        self.door.see_out(connection, |c| c.graceful_shutdown(), &pulse).await;
    }

    async fn serve_any<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S) {
        let stream = Watched::new(stream);
        let (pulse, service) = (stream.pulse(), self.service());
        let connection = self.servers.any.serve_connection_with_upgrades(TokioIo::new(stream), service);
        self.door.see_out(connection, |c| c.graceful_shutdown(), &pulse).await;
    }

    fn service(
        &self,
    ) -> impl hyper::service::Service<
        Request<Incoming>,
        Response = Response<Reply>,
        Error = Infallible,
        Future = Answering,
    > + use<H> {
        let (handler, from) = (self.handler.clone(), self.from);
        service_fn(move |request| {
            let handler = handler.clone();
            Box::pin(async move { Ok(handler.handle(request, from).await) }) as Answering
        })
    }
}

impl Door {
    /// Serves a connection to its end. When the door closes it ends with the requests that are on it; when no byte has passed for
    /// too long, at once.
    async fn see_out<C: Future>(&self, connection: C, wind_down: impl FnOnce(Pin<&mut C>), pulse: &Pulse) {
        let mut connection = pin!(connection);
        let mut stopped = pin!(pulse.stopped(millis(self.limits.idle_ms)));
        // An error is the other side's affair: it hung up, or spoke something else.
        tokio::select! {
            _ = connection.as_mut() => return,
            () = stopped.as_mut() => return,
            () = self.closing.cancelled() => wind_down(connection.as_mut()),
        }
        tokio::select! {
            _ = connection => {}
            () = stopped => {}
        }
    }
}
