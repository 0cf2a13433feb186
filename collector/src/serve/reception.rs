//! Connections: let in, watched until they speak, served, and sent home at the end.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use fuseboard_tls::{Acceptor, Handshakes, Logged, Observer, Peer};
use http::Request;
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

use super::neighbours::Neighbours;
use crate::limits::Limits;

/// Connections that have not ended by themselves so long after the stop are cut.
const GOODBYE: Duration = Duration::from_secs(2);
/// After so long without a word on HTTP/2 the other side is asked whether it is still there.
const PING: Duration = Duration::from_secs(60);
/// Who does not answer that for so long is gone.
const PONG: Duration = Duration::from_secs(20);
/// Requests at once on one connection of HTTP/2.
const STREAMS: u32 = 256;
/// Bytes of a request's headers over HTTP/2, as RFC 9113 counts them (6.5.2).
const HEADERS: u32 = 32 * 1024;
/// Bytes of a request's head over HTTP/1.1; a longer one is answered with 431.
const HEAD: usize = 64 * 1024;
/// Streams that a caller may open and take back before they were looked at; who goes on (CVE-2023-44487) loses the connection.
const RESETS: usize = 20;
/// Streams that break HTTP/2's rules before their connection ends.
const ERRORS: usize = 64;
/// A pause before the next try when the system has no connection to give.
const PAUSE: Duration = Duration::from_millis(100);
/// Who has sent so many bytes speaks HTTP: this is the length of the preface of HTTP/2, and requests of HTTP/1.1 are cut
/// short by their own time limit.
const PREFACE: usize = 24;

/// A door as its callers find it.
pub(crate) struct Reception {
    /// Where it listens.
    pub(crate) listener: TcpListener,
    /// What makes the handshakes; `None` for a plain door.
    pub(crate) tls: Option<Acceptor>,
    /// What answers. Each request has a [`Peer`] among its extensions.
    pub(crate) router: Router,
}

/// Serves until the stop, then lets replies that are under way finish, but not for ever.
pub(crate) async fn run(reception: Reception, limits: Arc<Limits>, stop: CancellationToken) {
    let Reception { listener, tls, router } = reception;
    let seats = Arc::new(Semaphore::new(limits.connections.clamp(1, Semaphore::MAX_PERMITS)));
    let neighbours = Neighbours::new(limits.neighbour);
    let mut handshakes = tls.as_ref().map(Acceptor::handshakes);
    let told: Arc<dyn Observer> = Arc::new(Logged::default());
    let (tasks, cut) = (TaskTracker::new(), CancellationToken::new());
    let builder = builder(&limits);
    while let Some((stream, from, seat)) = tokio::select! {
        biased;
        () = stop.cancelled() => None,
        next = next(&listener, &seats) => next,
    } {
        let Some(place) = neighbours.place(from.ip()) else {
            drop(stream);
            continue;
        };
        let guest = Guest { builder: builder.clone(), router: router.clone(), head: limits.head };
        let (stop, cut) = (stop.clone(), cut.clone());
        let secure = tls.clone().zip(handshakes.as_mut().map(Handshakes::turn));
        let told = told.clone();
        tasks.spawn(async move {
            match secure {
                None => guest.serve(stream, Peer::from(from), &stop, &cut).await,
                Some((tls, turn)) => {
                    let made = tokio::select! {
                        made = tls.accept(stream, from, &turn) => made,
                        () = stop.cancelled() => return,
                    };
                    drop(turn);
                    match made {
                        Ok(stream) => {
                            let peer = stream.peer().clone();
                            guest.serve(stream, peer, &stop, &cut).await;
                        }
                        Err(why) => told.refused(from, &why),
                    }
                }
            }
            drop((place, seat));
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

/// Somebody who was let in.
struct Guest {
    builder: Builder<TokioExecutor>,
    router: Router,
    head: Duration,
}

impl Guest {
    async fn serve<S>(self, stream: S, peer: Peer, stop: &CancellationToken, cut: &CancellationToken)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let service = self.router.map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer.clone());
            request
        });
        let io = TokioIo::new(Watched::new(stream, self.head));
        let mut connection = std::pin::pin!(self.builder.serve_connection(io, TowerToHyperService::new(service)));
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
    }
}

fn builder(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.head).max_buf_size(HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADERS)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(ERRORS);
    builder
}

/// The next connection, once there is a seat for it; `None` when there can be no more.
async fn next(listener: &TcpListener, seats: &Arc<Semaphore>) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let seat = seats.clone().acquire_owned().await.ok()?;
    let mut warned = false;
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                if let Err(e) = stream.set_nodelay(true) {
                    tracing::debug!("a connection stays without TCP_NODELAY: {e}");
                }
                return Some((stream, from, seat));
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
struct Watched<S> {
    stream: S,
    /// Until then the other side must have said who it is; `None` once it has.
    patience: Option<Pin<Box<Sleep>>>,
    heard: usize,
}

impl<S> Watched<S> {
    fn new(stream: S, patience: Duration) -> Self {
        let until = Instant::now() + patience;
        Self { stream, patience: Some(Box::pin(tokio::time::sleep_until(until))), heard: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
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

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
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
