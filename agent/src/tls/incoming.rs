//! What listens: accepts connections, makes their handshakes beside each other within bounds, hands out those that are ready.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

use super::certificate::Certificate;
use super::connector::Alpn;
use super::error::{TlsError, explain_io};
use super::live::{Live, Recipe as _, watch};
use super::peer::{Peer, TlsStream};
use super::settings::ServerTls;
use crate::agent::Inner;
use crate::log::{self, Severity};
use crate::seldom::{Seldom, and_others};

/// Connections that wait, ready, for the server to take them; beyond, their handshakes count as running.
const READY: usize = 64;
/// Pause after the system refused to accept (too many open files, say).
const PAUSE: Duration = Duration::from_millis(100);
/// Most records a second about handshakes that failed.
const RECORDS: u32 = 5;
/// The first byte of TLS: a handshake record.
const HANDSHAKE: u8 = 0x16;
/// Longest wait for a client that speaks no TLS to hang up, once it was told so.
const DRAIN: Duration = Duration::from_millis(250);
/// What is said to a client that speaks no TLS.
const PLAIN: &str = "this port speaks TLS: write the address as https://\n";

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
    /// Accepts from now on, until it is dropped.
    pub(crate) fn start(
        agent: &Arc<Inner>,
        listener: TcpListener,
        settings: &ServerTls,
        alpn: Alpn,
    ) -> Result<Self, TlsError> {
        let local = listener.local_addr().map_err(|e| TlsError::Setup(e.to_string()))?;
        let live = Arc::new(Live::lazy(settings.clone()));
        live.get()?;
        if !settings.files().is_empty() {
            tokio::spawn(watch(Arc::downgrade(&live), Arc::downgrade(agent), agent.closing.clone()));
        }
        let meter = agent.telemetry.meter("fuseboard-agent");
        let handshakes = meter.u64_counter("tls.handshakes").with_unit("{handshake}");
        let handshakes = handshakes.with_description("Handshakes of callers, by how they ended.").build();
        let agent = Arc::downgrade(agent);
        let door = Arc::new(Door { agent, live, alpn, handshakes, seldom: Seldom::new(RECORDS) });
        let (tx, ready) = mpsc::channel(READY);
        tokio::spawn(accept(listener, door, tx));
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

impl axum::serve::Listener for TlsIncoming {
    type Io = TlsStream;
    type Addr = Peer;

    async fn accept(&mut self) -> (TlsStream, Peer) {
        match self.ready.recv().await {
            Some(stream) => {
                let peer = stream.peer().clone();
                (stream, peer)
            }
            // Only the end of the runtime ends the task that accepts.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        Ok(Peer::from(self.local))
    }
}

/// What all handshakes of a listener share.
struct Door {
    agent: Weak<Inner>,
    live: Arc<Live<ServerTls>>,
    alpn: Alpn,
    handshakes: Counter<u64>,
    seldom: Seldom,
}

async fn accept(listener: TcpListener, door: Arc<Door>, ready: mpsc::Sender<TlsStream>) {
    let (most, limit) = (door.live.recipe().handshakes, door.live.recipe().handshake);
    let mut running: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ready.closed() => return,
        };
        let Ok((tcp, address)) = accepted else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        if running.len() >= most {
            running.retain(|handshake| !handshake.is_finished());
        }
        if running.len() >= most
            && let Some(oldest) = running.pop_front()
        {
            oldest.abort();
            door.count("crowded_out");
        }
        let (door, ready) = (door.clone(), ready.clone());
        let handshake = tokio::spawn(async move {
            match tokio::time::timeout(limit, door.handshake(tcp, address)).await {
                Ok(Ok(stream)) => {
                    door.count("ok");
                    // A server that is gone takes no connection.
                    let _ = ready.send(stream).await;
                }
                Ok(Err(reason)) => door.failed(address, &reason),
                Err(_) => {
                    door.failed(address, &Failure { kind: "timeout", reason: format!("it took longer than {limit:?}") })
                }
            }
        });
        running.push_back(handshake.abort_handle());
    }
}

/// Why there is no connection.
struct Failure {
    kind: &'static str,
    reason: String,
}

impl Door {
    async fn handshake(&self, mut tcp: TcpStream, address: SocketAddr) -> Result<TlsStream, Failure> {
        let failed = |e: io::Error| Failure { kind: "failed", reason: explain_io(&e) };
        tcp.set_nodelay(true).map_err(failed)?;
        let mut first = [0; 3];
        let length = tcp.peek(&mut first).await.map_err(failed)?;
        match first.first() {
            Some(&HANDSHAKE) | None => {}
            Some(_) if length == 0 => return Err(failed(io::ErrorKind::UnexpectedEof.into())),
            Some(_) => {
                explain_plain(&mut tcp, &first).await;
                return Err(Failure { kind: "plain", reason: "the caller speaks no TLS".to_owned() });
            }
        }
        let made = self.live.get().map_err(|e| Failure { kind: "failed", reason: e.to_string() })?;
        let mut config = ServerConfig::clone(&made.config);
        config.alpn_protocols = self.alpn.protocols();
        let stream = TlsAcceptor::from(Arc::new(config)).accept(tcp).await.map_err(failed)?;
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let certificate = shown.map(Certificate::parse).transpose();
        // rustls took it; what cannot be read here cannot be anybody's name either.
        let certificate = certificate.map_err(|reason| Failure { kind: "failed", reason })?;
        Ok(TlsStream::new(stream, Peer::new(address, certificate)))
    }

    fn count(&self, outcome: &'static str) {
        self.handshakes.add(1, &[KeyValue::new("outcome", outcome)]);
    }

    fn failed(&self, address: SocketAddr, failure: &Failure) {
        self.count(failure.kind);
        let Some((agent, skipped)) = self.agent.upgrade().and_then(|agent| Some((agent, self.seldom.pass()?))) else {
            return;
        };
        let text = format!("no TLS connection with the caller at {address}: {}", failure.reason);
        let label = KeyValue::new("network.peer.address", address.ip().to_string());
        log::write(&agent, Severity::Warn, and_others(text, skipped), &[label]);
    }
}

/// Says, in the words of HTTP/1 or HTTP/2, what is wrong.
async fn explain_plain(tcp: &mut TcpStream, first: &[u8]) {
    let answer = if first == b"PRI" {
        go_away()
    } else {
        let head = "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: ";
        format!("{head}{}\r\n\r\n{PLAIN}", PLAIN.len()).into_bytes()
    };
    if tcp.write_all(&answer).await.is_err() || tcp.shutdown().await.is_err() {
        return;
    }
    // Unread bytes would turn the close into a reset, which may overtake the answer.
    let mut rest = [0; 1024];
    let drain = async {
        for _ in 0..64 {
            if !matches!(tcp.read(&mut rest).await, Ok(1..)) {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(DRAIN, drain).await;
}

/// Empty SETTINGS, then GOAWAY with `INADEQUATE_SECURITY` and a text for people (RFC 9113, 6.5, 6.8 and 7).
fn go_away() -> Vec<u8> {
    let mut frames = vec![0, 0, 0, 0x4, 0, 0, 0, 0, 0];
    let length = u8::try_from(8 + PLAIN.len()).unwrap_or(8);
    frames.extend([0, 0, length, 0x7, 0, 0, 0, 0, 0]);
    frames.extend([0, 0, 0, 0, 0, 0, 0, 0xc]);
    frames.extend(PLAIN.as_bytes().iter().take(usize::from(length) - 8));
    frames
}
