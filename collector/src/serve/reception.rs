//! Connections: let in, watched until they speak, served, and sent home at the end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use fuseboard_tls::Peer;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::limits::Limits;

/// Connections that have not ended by themselves so long after the stop are cut.
const GOODBYE: Duration = Duration::from_secs(2);
/// After so long without a word on HTTP/2 the other side is asked whether it is still there.
const PING: Duration = Duration::from_secs(60);
/// Who does not answer that for so long is gone.
const PONG: Duration = Duration::from_secs(20);
/// Requests at once on one connection of HTTP/2.
const STREAMS: u32 = 256;
/// A pause before the next try when the system has no connection to give.
const PAUSE: Duration = Duration::from_millis(100);
/// Who has sent so many bytes speaks HTTP: this is the length of the preface of HTTP/2, and requests of HTTP/1.1 are cut
/// short by their own time limit.
const PREFACE: usize = 24;

/// Serves until the stop, then lets replies that are under way finish, but not for ever.
pub(crate) async fn run(listener: TcpListener, router: Router, limits: Arc<Limits>, stop: CancellationToken) {
    let seats = Arc::new(Semaphore::new(limits.connections.clamp(1, Semaphore::MAX_PERMITS)));
    let (tasks, cut) = (TaskTracker::new(), CancellationToken::new());
    let builder = builder(&limits);
    while let Some((stream, peer, seat)) = tokio::select! {
        biased;
        () = stop.cancelled() => None,
        next = next(&listener, &seats) => next,
    } {
        let service = TowerToHyperService::new(router.clone().map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer.clone());
            request
        }));
        let io = TokioIo::new(Watched::new(stream, limits.head));
        let (builder, stop, cut) = (builder.clone(), stop.clone(), cut.clone());
        tasks.spawn(async move {
            let mut connection = std::pin::pin!(builder.serve_connection(io, service));
            let served = tokio::select! {
                served = connection.as_mut() => served,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    tokio::select! {
                        served = connection => served,
                        () = cut.cancelled() => Ok(()),
                    }
                }
            };
            if let Err(e) = served {
                tracing::debug!("a connection ended early: {e}");
            }
            drop(seat);
        });
    }
    drop(listener);
    tasks.close();
    if tokio::time::timeout(GOODBYE, tasks.wait()).await.is_err() {
        tracing::debug!("connections that would not end were cut");
        cut.cancel();
        tasks.wait().await;
    }
}

fn builder(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.head);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG)
        .max_concurrent_streams(STREAMS);
    builder
}

/// The next connection, once there is a seat for it; `None` when there can be no more.
async fn next(listener: &TcpListener, seats: &Arc<Semaphore>) -> Option<(TcpStream, Peer, OwnedSemaphorePermit)> {
    let seat = seats.clone().acquire_owned().await.ok()?;
    let mut warned = false;
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                if let Err(e) = stream.set_nodelay(true) {
                    tracing::debug!("a connection stays without TCP_NODELAY: {e}");
                }
                return Some((stream, Peer::from(from), seat));
            }
            // Who hung up before we answered is no trouble of ours.
            Err(e) if matches!(e.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) => {}
            Err(e) => {
                if !warned {
                    tracing::warn!("no connection can be let in for the moment: {e}");
                    warned = true;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// A connection that must say something soon.
struct Watched {
    stream: TcpStream,
    /// Until then the other side must have said who it is; `None` once it has.
    patience: Option<Pin<Box<Sleep>>>,
    heard: usize,
}

impl Watched {
    fn new(stream: TcpStream, patience: Duration) -> Self {
        let until = Instant::now() + patience;
        Self { stream, patience: Some(Box::pin(tokio::time::sleep_until(until))), heard: 0 }
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        let Some(patience) = &mut self.patience else { return read };
        if read.is_pending() {
            return patience.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()));
        }
        self.heard += buf.filled().len() - before;
        if self.heard >= PREFACE {
            self.patience = None;
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        // Who is answered has said enough.
        self.patience = None;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.patience = None;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}
