//! Connections: plain or TLS, HTTP/1.1 or HTTP/2.

use std::sync::Arc;

use bytes::Bytes;
use fuseboard_tls::{Alpn, ClientTls, Dialer};
use http::Uri;
use http::uri::{PathAndQuery, Scheme};
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use crate::plan::shown;
use crate::{LoadError, LoadPlan};

/// Where connections go.
pub(super) struct Target {
    host: String,
    port: u16,
    tls: Option<Dialer>,
    pub(super) http2: bool,
    pub(super) grpc: bool,
    /// `HOST` or `HOST:PORT`, as requests name it.
    pub(super) authority: String,
    pub(super) scheme: Scheme,
    pub(super) path: PathAndQuery,
}

impl Target {
    /// Reads the plan's URL, and its certificates where they are needed.
    pub(super) fn new(plan: &LoadPlan) -> Result<Self, LoadError> {
        let wrong = |why: &str| LoadError::Url { url: shown(&plan.url), why: why.to_owned() };
        let uri: Uri = plan.url.parse().map_err(|e: http::uri::InvalidUri| wrong(&e.to_string()))?;
        let (grpc, secure) = match uri.scheme_str() {
            Some("http") => (false, false),
            Some("https") => (false, true),
            Some("grpc") => (true, false),
            Some("grpcs") => (true, true),
            Some(_) => return Err(wrong("its scheme is none of http, https, grpc, grpcs")),
            None => return Err(wrong("it has no scheme")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("it names a user; send credentials in a header"));
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        if host.is_empty() {
            return Err(wrong("it has no host"));
        }
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let http2 = grpc || plan.http2;
        let tls = if secure { Some(dialer(plan, &host)?) } else { None };
        Ok(Self {
            port,
            tls,
            http2,
            grpc,
            authority: authority.as_str().to_owned(),
            scheme: if secure { Scheme::HTTPS } else { Scheme::HTTP },
            path: uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")),
            host,
        })
    }

    /// A connection that is made when it is first used.
    pub(super) fn link(self: &Arc<Self>) -> Link {
        let http2 = self.http2.then(|| Arc::new(Mutex::new(None)));
        Link { target: Arc::clone(self), shared: http2, own: None }
    }

    async fn connect(&self) -> Result<Sender, Unsent> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|_| Unsent::Connect)?;
        // Without it small requests wait for acknowledgements; a system that cannot is only slower.
        let _ = stream.set_nodelay(true);
        match &self.tls {
            None => self.shake(stream).await,
            Some(dialer) => {
                let alpn = if self.http2 { Alpn::H2 } else { Alpn::Http1 };
                let secured = dialer.secure(&self.host, alpn, stream).await.map_err(|_| Unsent::Tls)?;
                let agreed = secured.get_ref().1.alpn_protocol() == Some(b"h2");
                if agreed != self.http2 && self.http2 {
                    return Err(Unsent::NoHttp2);
                }
                self.shake(secured).await
            }
        }
    }

    async fn shake(&self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<Sender, Unsent> {
        let io = TokioIo::new(stream);
        // What goes wrong on a connection is told by the requests on it.
        if self.http2 {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.timer(TokioTimer::new());
            let (sender, connection) = builder.handshake(io).await.map_err(|_| Unsent::Connect)?;
            tokio::spawn(connection);
            return Ok(Sender::Two(sender));
        }
        let (sender, connection) = http1::handshake(io).await.map_err(|_| Unsent::Connect)?;
        tokio::spawn(connection);
        Ok(Sender::One(sender))
    }
}

/// Why a request could not be sent at all.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unsent {
    Connect,
    Tls,
    NoHttp2,
}

impl Unsent {
    /// As reports count it.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::NoHttp2 => "no_http2",
        }
    }
}

/// What writes requests to a connection.
pub(super) enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

/// A connection of HTTP/2, once it has been made.
type Shared = Arc<Mutex<Option<http2::SendRequest<Full<Bytes>>>>>;

/// The connection of one caller: its own with HTTP/1.1, shared between streams with HTTP/2.
pub(super) struct Link {
    target: Arc<Target>,
    shared: Option<Shared>,
    own: Option<http1::SendRequest<Full<Bytes>>>,
}

impl Clone for Link {
    fn clone(&self) -> Self {
        Self { target: Arc::clone(&self.target), shared: self.shared.clone(), own: None }
    }
}

impl Link {
    /// A sender whose connection stands; whether it was there before.
    pub(super) async fn sender(&mut self) -> Result<(Sender, bool), Unsent> {
        if let Some(shared) = &self.shared {
            let mut slot = shared.lock().await;
            if let Some(sender) = slot.as_ref().filter(|sender| !sender.is_closed()) {
                return Ok((Sender::Two(sender.clone()), true));
            }
            let made = self.target.connect().await?;
            if let Sender::Two(sender) = &made {
                *slot = Some(sender.clone());
            }
            return Ok((made, false));
        }
        // Taken out: a request that is given up half way takes its connection with it.
        match self.own.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => Ok((Sender::One(sender), true)),
            None => Ok((self.target.connect().await?, false)),
        }
    }

    /// Keeps a connection for the next request, now that its answer has been read.
    pub(super) fn keep(&mut self, sender: Sender) {
        if let Sender::One(sender) = sender {
            self.own = Some(sender);
        }
    }
}

fn dialer(plan: &LoadPlan, host: &str) -> Result<Dialer, LoadError> {
    let mut settings = ClientTls::default().server_name(host);
    if let Some(path) = &plan.roots {
        settings = settings.roots(path.as_path()).and_system_roots();
    }
    Dialer::new(&settings).map_err(|e| LoadError::Tls(e.to_string()))
}
