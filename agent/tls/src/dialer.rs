//! What dials: TCP, and TLS over it where the address says `https`.

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Uri;
use http::uri::Scheme;
use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::error::{HandshakeError, TlsError};
use crate::live::{Live, watch};
use crate::observe::Observer;
use crate::settings::ClientTls;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The protocols that are offered in a handshake (ALPN).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alpn {
    /// HTTP/2 alone: gRPC.
    H2,
    /// HTTP/2, else HTTP/1.1.
    Http,
    /// HTTP/1.1 alone.
    Http1,
    /// None.
    None,
}

impl Alpn {
    pub(crate) fn protocols(self) -> Vec<Vec<u8>> {
        let names: &[&[u8]] = match self {
            Self::H2 => &[b"h2"],
            Self::Http => &[b"h2", b"http/1.1"],
            Self::Http1 => &[b"http/1.1"],
            Self::None => &[],
        };
        names.iter().map(|name| name.to_vec()).collect()
    }
}

/// Client settings in force, shared by everything that dials with them.
#[derive(Clone)]
pub struct Dialer {
    live: Arc<Live<ClientTls>>,
    name: Option<ServerName<'static>>,
    watched: Arc<OnceLock<()>>,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").field("settings", self.live.recipe()).finish_non_exhaustive()
    }
}

impl Default for Dialer {
    /// Trusts the system's roots; they are read when first needed.
    fn default() -> Self {
        Self { live: Arc::new(Live::lazy(ClientTls::default())), name: None, watched: Arc::default() }
    }
}

impl Dialer {
    /// Reads what the settings name.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn new(settings: &ClientTls) -> Result<Self, TlsError> {
        let name = settings.name()?;
        let live = Arc::new(Live::lazy(settings.clone()));
        live.get()?;
        Ok(Self { live, name, watched: Arc::default() })
    }

    /// Has the files looked at until `closing`, on the present tokio runtime; once, however often it is asked.
    pub fn watch(&self, observer: Arc<dyn Observer>, closing: CancellationToken) {
        use crate::live::Recipe as _;
        if !self.live.recipe().files().is_empty() && self.watched.set(()).is_ok() {
            tokio::spawn(watch(Arc::downgrade(&self.live), observer, closing));
        }
    }

    /// A connector for HTTP clients; `limit` is the longest time to a connection that can be used.
    #[must_use]
    pub fn connector(&self, alpn: Alpn, limit: Duration) -> Connector {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        Connector { tcp, dialer: self.clone(), alpn, limit, always: false, name: self.name.clone() }
    }

    /// How to reach a gRPC server: an endpoint to be tuned (but not with a limit for connecting), and the connector to give
    /// it.
    #[cfg(feature = "tonic")]
    #[must_use]
    pub fn grpc(&self, uri: Uri, limit: Duration) -> (tonic::transport::Endpoint, Connector) {
        let mut connector = self.connector(Alpn::H2, limit);
        if uri.scheme() != Some(&Scheme::HTTPS) {
            return (tonic::transport::Endpoint::from(uri), connector);
        }
        // tonic insists on TLS of its own where the address says https: it is told of that only for the requests.
        connector.always = true;
        let plain = with_scheme(uri.clone(), Scheme::HTTP);
        (tonic::transport::Endpoint::from(plain).origin(uri), connector)
    }

    /// TLS over a connection that is there already.
    ///
    /// # Errors
    /// A [`HandshakeError`] inside: why not.
    pub async fn secure<T>(&self, host: &str, alpn: Alpn, tcp: T) -> io::Result<TlsStream<T>>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => server_name(host).map_err(io::Error::other)?,
        };
        self.handshake(host, name, alpn, tcp).await.map_err(io::Error::other)
    }

    async fn handshake<T>(
        &self,
        host: &str,
        name: ServerName<'static>,
        alpn: Alpn,
        tcp: T,
    ) -> Result<TlsStream<T>, BoxError>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let mut config = rustls::ClientConfig::clone(&self.live.get()?.config);
        config.alpn_protocols = alpn.protocols();
        let made = TlsConnector::from(Arc::new(config)).connect(name, tcp).await;
        Ok(made.map_err(|error| HandshakeError::new(host, &error))?)
    }
}

/// Dials `http` and `https` addresses for hyper's and tonic's clients, with TCP_NODELAY, within a limit for TCP and TLS together.
#[derive(Clone)]
pub struct Connector {
    tcp: HttpConnector,
    dialer: Dialer,
    alpn: Alpn,
    limit: Duration,
    always: bool,
    name: Option<ServerName<'static>>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("dialer", &self.dialer).field("alpn", &self.alpn).finish_non_exhaustive()
    }
}

impl Connector {
    /// The name that certificates must hold, where it is not the host of the address that is dialled (an instance's address,
    /// say). A name in the settings goes before it.
    ///
    /// # Errors
    /// It is none.
    pub fn server_name(mut self, name: &str) -> Result<Self, TlsError> {
        if self.dialer.name.is_none() {
            self.name = Some(server_name(name)?);
        }
        Ok(self)
    }

    async fn dial(mut self, uri: Uri) -> Result<MaybeHttpsStream<TokioIo<TcpStream>>, BoxError> {
        let secure = self.always || uri.scheme() == Some(&Scheme::HTTPS);
        let host = uri.host().unwrap_or_default().to_owned();
        let name = match (secure, &self.name) {
            (true, None) => Some(server_name(&host)?),
            (true, name) => name.clone(),
            (false, _) => None,
        };
        // Where the address has no port, its scheme says which.
        let uri = if secure { with_scheme(uri, Scheme::HTTPS) } else { uri };
        let tcp = self.tcp.call(uri).await?;
        let Some(name) = name else { return Ok(MaybeHttpsStream::Http(tcp)) };
        // `TokioIo` both ways: hyper's traits outside, tokio's inside.
        let tls = self.dialer.handshake(&host, name, self.alpn, TokioIo::new(tcp)).await?;
        Ok(MaybeHttpsStream::Https(TokioIo::new(tls)))
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (limit, dialing) = (self.limit, self.clone().dial(uri));
        Box::pin(async move {
            let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no connection within the time for it");
            tokio::time::timeout(limit, dialing).await.map_err(late)?
        })
    }
}

/// The host of an address as a name in certificates; IPv6 addresses are without their brackets there.
fn server_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    ServerName::try_from(bare.to_owned()).map_err(|_| TlsError::ServerName(host.to_owned()))
}

fn with_scheme(uri: Uri, scheme: Scheme) -> Uri {
    let mut parts = uri.clone().into_parts();
    parts.scheme = Some(scheme);
    parts.path_and_query.get_or_insert_with(|| http::uri::PathAndQuery::from_static("/"));
    Uri::from_parts(parts).unwrap_or(uri)
}
