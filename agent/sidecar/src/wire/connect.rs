//! New connections.

use std::time::Duration;

use fuseboard_agent::proxy::{BoxError, RequestBody};
use http::Uri;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::Connection as _;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tower::Service as _;

use super::Terms;

/// Pings on connections that carry many requests: a machine that is gone says nothing by itself.
const PING: Duration = Duration::from_secs(10);
const PONG: Duration = Duration::from_secs(5);
/// What one stream may hold in memory before its reader has caught up, and a whole connection.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

pub(super) type One = http1::SendRequest<RequestBody<Incoming>>;
pub(super) type Many = http2::SendRequest<RequestBody<Incoming>>;

/// A new connection.
pub(super) enum Made {
    /// For one request at a time.
    One(One),
    /// For many.
    Many(Many),
}

/// Over TCP alone; the caller knows what is spoken.
pub(super) async fn plain(address: &str, many: bool, terms: &Terms) -> Result<Made, BoxError> {
    let connected = tokio::time::timeout(terms.connect, TcpStream::connect(address)).await;
    let stream =
        connected.map_err(|_| format!("{address} did not take the connection within {:?}", terms.connect))??;
    stream.set_nodelay(true)?;
    shake(TokioIo::new(stream), many, terms).await
}

/// Over TLS, whose handshake says what is spoken.
pub(super) async fn secure(address: &str, terms: &Terms) -> Result<Made, BoxError> {
    let uri = Uri::builder().scheme("https").authority(address).path_and_query("/").build()?;
    let stream = terms.tls.clone().call(uri).await?;
    let many = stream.connected().is_negotiated_h2();
    shake(stream, many, terms).await
}

async fn shake<T>(io: T, many: bool, terms: &Terms) -> Result<Made, BoxError>
where
    T: Read + Write + Unpin + Send + 'static,
{
    if many { http2(io, terms).await.map(Made::Many) } else { http1(io, terms).await.map(Made::One) }
}

async fn http1<T: Read + Write + Unpin + Send + 'static>(io: T, terms: &Terms) -> Result<One, BoxError> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(terms.header_bytes.max(8192));
    let (sender, connection) = builder.handshake(io).await?;
    tokio::spawn(connection.with_upgrades());
    Ok(sender)
}

async fn http2<T: Read + Write + Unpin + Send + 'static>(io: T, terms: &Terms) -> Result<Many, BoxError> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(terms.header_bytes).unwrap_or(u32::MAX));
    let (sender, connection) = builder.handshake(io).await?;
    tokio::spawn(connection);
    Ok(sender)
}
