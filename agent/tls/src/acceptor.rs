//! One handshake of a caller, and how many at once.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::certificate::Certificate;
use crate::dialer::Alpn;
use crate::error::{TlsError, explain_io};
use crate::live::{Live, Recipe as _, watch};
use crate::observe::Observer;
use crate::peer::{Peer, TlsStream};
use crate::settings::ServerTls;

/// The first byte of TLS: a handshake record.
const HANDSHAKE: u8 = 0x16;
/// Longest wait for a caller to hang up, once it was told why it is not let in.
const DRAIN: Duration = Duration::from_millis(250);
/// What is said to a client that speaks no TLS.
const PLAIN: &str = "this port speaks TLS: write the address as https://\n";

/// Server settings in force.
#[derive(Clone)]
pub struct Acceptor {
    live: Arc<Live<ServerTls>>,
    alpn: Alpn,
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("settings", self.live.recipe()).field("alpn", &self.alpn).finish()
    }
}

/// A caller that was not let in.
#[derive(Debug, Clone, Error)]
#[error("{reason}")]
pub struct Refused {
    kind: &'static str,
    reason: String,
}

impl Refused {
    pub(crate) fn new(kind: &'static str, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into() }
    }

    fn failed(error: &io::Error) -> Self {
        Self::new("failed", explain_io(error))
    }

    /// As it is counted: `failed`, `plain` (no TLS was spoken), `timeout`, `crowded_out`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind
    }
}

impl Acceptor {
    /// Reads what the settings name.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn new(settings: &ServerTls, alpn: Alpn) -> Result<Self, TlsError> {
        let live = Arc::new(Live::lazy(settings.clone()));
        live.get()?;
        Ok(Self { live, alpn })
    }

    /// The same certificate and callers, for a door of other protocols: files are read and looked at once for both.
    #[must_use]
    pub fn with_alpn(&self, alpn: Alpn) -> Self {
        Self { live: self.live.clone(), alpn }
    }

    /// Has the files looked at until `closing`, on the present tokio runtime.
    pub fn watch(&self, observer: Arc<dyn Observer>, closing: CancellationToken) {
        if !self.live.recipe().files().is_empty() {
            tokio::spawn(watch(Arc::downgrade(&self.live), observer, closing));
        }
    }

    /// How many handshakes the settings allow at once.
    #[must_use]
    pub fn handshakes(&self) -> Handshakes {
        Handshakes { most: self.live.recipe().handshakes, running: VecDeque::new() }
    }

    /// The certificate that callers are shown now.
    ///
    /// # Errors
    /// It was never read well.
    pub fn certificate(&self) -> Result<Option<Certificate>, TlsError> {
        Ok(self.live.get()?.certificate.clone())
    }

    /// Makes a caller's handshake, within the time for it and for as long as its turn lasts. Who speaks plain HTTP is told so.
    ///
    /// # Errors
    /// Why there is no connection.
    pub async fn accept(&self, tcp: TcpStream, from: SocketAddr, turn: &Turn) -> Result<TlsStream, Refused> {
        let limit = self.live.recipe().handshake;
        tokio::select! {
            made = tokio::time::timeout(limit, self.handshake(tcp, from)) => {
                made.unwrap_or_else(|_| Err(Refused::new("timeout", format!("it took longer than {limit:?}"))))
            }
            () = turn.over() => {
                Err(Refused::new("crowded_out", "too many handshakes at once, and this one was the oldest"))
            }
        }
    }

    async fn handshake(&self, mut tcp: TcpStream, from: SocketAddr) -> Result<TlsStream, Refused> {
        let failed = |e: io::Error| Refused::failed(&e);
        tcp.set_nodelay(true).map_err(failed)?;
        let mut first = [0; 3];
        let length = tcp.peek(&mut first).await.map_err(failed)?;
        match first.first() {
            Some(&HANDSHAKE) | None => {}
            Some(_) if length == 0 => return Err(failed(io::ErrorKind::UnexpectedEof.into())),
            Some(_) => {
                explain_plain(&mut tcp, &first).await;
                return Err(Refused::new("plain", "the caller speaks no TLS"));
            }
        }
        let made = self.live.get().map_err(|e| Refused::new("failed", e.to_string()))?;
        let mut config = ServerConfig::clone(&made.config);
        config.alpn_protocols = self.alpn.protocols();
        let stream = match TlsAcceptor::from(Arc::new(config)).accept(tcp).into_fallible().await {
            Ok(stream) => stream,
            Err((error, mut tcp)) => {
                // The caller was sent why.
                hang_up(&mut tcp).await;
                return Err(failed(error));
            }
        };
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let certificate = shown.map(Certificate::parse).transpose();
        // rustls took it; what cannot be read here cannot be anybody's name either.
        let certificate = certificate.map_err(|reason| Refused::new("failed", reason))?;
        Ok(TlsStream::new(stream, Peer::new(from, certificate)))
    }
}

/// Handshakes that run at once. One more than there may be ends the oldest: good ones take milliseconds, so that is one that
/// hangs, and callers that hang crowd out each other and nobody else.
#[derive(Debug)]
pub struct Handshakes {
    most: usize,
    running: VecDeque<CancellationToken>,
}

impl Handshakes {
    /// A turn for one more.
    pub fn turn(&mut self) -> Turn {
        if self.running.len() >= self.most {
            self.running.retain(|turn| !turn.is_cancelled());
        }
        if self.running.len() >= self.most
            && let Some(oldest) = self.running.pop_front()
        {
            oldest.cancel();
        }
        let turn = CancellationToken::new();
        self.running.push_back(turn.clone());
        Turn(turn)
    }
}

/// One handshake's turn, over when it is dropped.
#[derive(Debug)]
pub struct Turn(CancellationToken);

impl Turn {
    /// Ends when a younger handshake takes the turn.
    pub async fn over(&self) {
        self.0.cancelled().await;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.cancel();
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
    if tcp.write_all(&answer).await.is_ok() {
        hang_up(tcp).await;
    }
}

/// Hangs up so that what was said last arrives: unread bytes would turn the close into a reset, which may overtake it.
async fn hang_up(tcp: &mut TcpStream) {
    if tcp.shutdown().await.is_err() {
        return;
    }
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
