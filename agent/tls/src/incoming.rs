//! What listens: accepts connections, makes their handshakes beside each other within bounds, hands out those that are ready.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::acceptor::Acceptor;
use crate::dialer::Alpn;
use crate::error::TlsError;
use crate::observe::Observer;
use crate::peer::TlsStream;
use crate::settings::ServerTls;

/// Connections that wait, ready, for the server to take them; beyond, their handshakes count as running.
const READY: usize = 64;
/// Pause after the system refused to accept (too many open files, say).
const PAUSE: Duration = Duration::from_millis(100);

/// Connections over TLS: a stream for tonic's `serve_with_incoming`, a listener for `axum::serve`.
pub struct TlsIncoming {
    local: SocketAddr,
    ready: mpsc::Receiver<TlsStream>,
}

impl fmt::Debug for TlsIncoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsIncoming").field("local", &self.local).finish_non_exhaustive()
    }
}

impl TlsIncoming {
    /// Accepts from now on, on the present tokio runtime, until it is dropped; looks at files until `closing`.
    ///
    /// # Errors
    /// The settings cannot be used.
    pub fn start(
        listener: TcpListener,
        settings: &ServerTls,
        alpn: Alpn,
        observer: Arc<dyn Observer>,
        closing: &CancellationToken,
    ) -> Result<Self, TlsError> {
        let local = listener.local_addr().map_err(|e| TlsError::Setup(e.to_string()))?;
        let acceptor = Acceptor::new(settings, alpn)?;
        acceptor.watch(observer.clone(), closing.clone());
        let (tx, ready) = mpsc::channel(READY);
        tokio::spawn(accept(listener, acceptor, observer, tx));
        Ok(Self { local, ready })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

impl Stream for TlsIncoming {
    type Item = io::Result<TlsStream>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.ready.poll_recv(cx).map(|next| next.map(Ok))
    }
}

#[cfg(feature = "axum")]
impl axum::serve::Listener for TlsIncoming {
    type Io = TlsStream;
    type Addr = crate::Peer;

    async fn accept(&mut self) -> (TlsStream, crate::Peer) {
        match self.ready.recv().await {
            Some(stream) => {
                let peer = stream.peer().clone();
                (stream, peer)
            }
            // Only the end of the runtime ends the task that accepts.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<crate::Peer> {
        Ok(crate::Peer::from(self.local))
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: Acceptor,
    observer: Arc<dyn Observer>,
    ready: mpsc::Sender<TlsStream>,
) {
    let mut handshakes = acceptor.handshakes();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ready.closed() => return,
        };
        let Ok((tcp, from)) = accepted else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let turn = handshakes.turn();
        let (acceptor, observer, ready) = (acceptor.clone(), observer.clone(), ready.clone());
        tokio::spawn(async move {
            match acceptor.accept(tcp, from, &turn).await {
                Ok(stream) => {
                    observer.accepted();
                    // Until there is room the turn lasts: who is ready but not taken is ended with the oldest. A server that
                    // is gone takes no connection.
                    tokio::select! {
                        _ = ready.send(stream) => {}
                        () = turn.over() => {}
                    }
                }
                Err(why) => observer.refused(from, &why),
            }
        });
    }
}
