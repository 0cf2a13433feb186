//! A caller's connection, and who is at its other end.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Extensions;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::certificate::Certificate;

/// Who calls: in the extensions of each request of a tonic server on [`crate::TlsIncoming`]; of an axum server (as `ConnectInfo<Peer>`)
/// where it is served with `router.into_make_service_with_connect_info::<Peer>()`, over TLS or plain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    address: SocketAddr,
    certificate: Option<Arc<Certificate>>,
    secure: bool,
}

impl Peer {
    pub(crate) fn new(address: SocketAddr, certificate: Option<Certificate>) -> Self {
        Self { address, certificate: certificate.map(Arc::new), secure: true }
    }

    /// Who sent a request, by its extensions.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<&Self> {
        let own = extensions.get::<Self>();
        #[cfg(feature = "axum")]
        let own = own.or_else(|| Some(&extensions.get::<axum::extract::ConnectInfo<Self>>()?.0));
        own
    }

    /// Where the connection comes from.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it came over TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The certificate it showed, which one of the trusted CAs signed.
    #[must_use]
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_deref()
    }
}

impl From<SocketAddr> for Peer {
    /// Somebody on a plain connection.
    fn from(address: SocketAddr) -> Self {
        Self { address, certificate: None, secure: false }
    }
}

#[cfg(feature = "axum")]
mod connect_info {
    use axum::extract::connect_info::Connected;
    use axum::serve::IncomingStream;
    use tokio::net::TcpListener;

    use super::Peer;
    use crate::incoming::TlsIncoming;

    impl Connected<IncomingStream<'_, TlsIncoming>> for Peer {
        fn connect_info(stream: IncomingStream<'_, TlsIncoming>) -> Self {
            stream.remote_addr().clone()
        }
    }

    impl Connected<IncomingStream<'_, TcpListener>> for Peer {
        fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Self {
            Self::from(*stream.remote_addr())
        }
    }
}

pin_project! {
    /// A connection of a caller, over TLS.
    #[derive(Debug)]
    pub struct TlsStream {
        #[pin]
        inner: tokio_rustls::server::TlsStream<TcpStream>,
        peer: Peer,
    }
}

impl TlsStream {
    pub(crate) fn new(inner: tokio_rustls::server::TlsStream<TcpStream>, peer: Peer) -> Self {
        Self { inner, peer }
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }
}

#[cfg(feature = "tonic")]
impl tonic::transport::server::Connected for TlsStream {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_read(cx, buf)
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.project().inner.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.project().inner.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_shutdown(cx)
    }
}
