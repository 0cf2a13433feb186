//! A listener: takes connections, serves HTTP/1.1 and HTTP/2 on each, and ends them gently.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use fuseboard_agent::tls::{TlsIncoming, TlsStream};
use fuseboard_agent::{Agent, AgentError};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::watched::Watched;
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
    let server = Arc::new(server(&door.limits));
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
            (Ok(turn), Ok((stream, from))) => match stream {
                Stream::Plain(stream) => {
                    door.open.spawn(serve(server.clone(), stream, from, handler.clone(), door.clone(), turn));
                }
                Stream::Tls(stream) => {
                    door.open.spawn(serve(server.clone(), stream, from, handler.clone(), door.clone(), turn));
                }
            },
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

fn server(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(millis(limits.header_read_ms))
        .max_buf_size(limits.header_bytes)
        .half_close(false);
    server
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .max_concurrent_streams(limits.streams)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX));
    server
}

async fn serve<H: Handler, S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    server: Arc<auto::Builder<TokioExecutor>>,
    stream: S,
    from: SocketAddr,
    handler: Arc<H>,
    door: Door,
    _turn: OwnedSemaphorePermit,
) {
    let service = service_fn(move |request| {
        let handler = handler.clone();
        // In a box, so that a connection without a request is small.
        Box::pin(async move { Ok::<_, Infallible>(handler.handle(request, from).await) })
    });
    let stream = Watched::new(stream);
    let pulse = stream.pulse();
    let mut stopped = pin!(pulse.stopped(millis(door.limits.idle_ms)));
    let mut connection = pin!(server.serve_connection_with_upgrades(TokioIo::new(stream), service));
    // An error is the other side's affair: it hung up, or spoke something else.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stopped.as_mut() => return,
        () = door.closing.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        _ = connection => {}
        () = stopped => {}
    }
}
