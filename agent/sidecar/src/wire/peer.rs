//! One instance and the connections to it.

use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use fuseboard_agent::proxy::WireError;
use http::header::HOST;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Response, Uri};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::body::Lease;
use super::connect::{self, Made, Many, One};
use super::{Outgoing, Terms, Version, WireBody};

/// Which HTTP a TLS handshake has agreed on.
const UNKNOWN: u8 = 0;
const HTTP1: u8 = 1;
const HTTP2: u8 = 2;

/// An instance.
#[derive(Debug)]
pub(crate) struct Peer {
    address: Arc<str>,
    secure: bool,
    terms: Arc<Terms>,
    /// HTTP/1.1 connections that nobody uses, the last used at the end.
    idle: Mutex<Vec<(One, Instant)>>,
    /// One turn for each request on HTTP/1.1.
    turns: Arc<Semaphore>,
    /// The HTTP/2 connection.
    many: Mutex<Option<Many>>,
    /// Held while that is made, so that there is one.
    making: tokio::sync::Mutex<()>,
    agreed: AtomicU8,
}

/// The HTTP/1.1 connections to an instance.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PoolState {
    /// In use.
    pub(crate) busy: usize,
    /// Kept for later.
    pub(crate) idle: usize,
    /// Most of both.
    pub(crate) most: usize,
}

impl Peer {
    /// An instance at `host:port`; connects when first used.
    pub(crate) fn new(address: &str, secure: bool, terms: Arc<Terms>) -> Arc<Self> {
        Arc::new(Self {
            address: address.into(),
            secure,
            turns: Arc::new(Semaphore::new(terms.connections)),
            terms,
            idle: Mutex::default(),
            many: Mutex::default(),
            making: tokio::sync::Mutex::default(),
            agreed: AtomicU8::new(UNKNOWN),
        })
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> &Arc<str> {
        &self.address
    }

    /// Its connections now.
    pub(crate) fn state(&self) -> PoolState {
        let most = self.terms.connections;
        PoolState { busy: most - self.turns.available_permits().min(most), idle: lock(&self.idle).len(), most }
    }

    /// Sends a request. Its `host` header says which host is meant.
    pub(crate) async fn pass(self: Arc<Self>, request: Outgoing) -> Result<Response<WireBody>, WireError> {
        let http2 = match self.terms.version {
            _ if self.secure => self.agree().await? == HTTP2,
            Version::Same => request.version() == http::Version::HTTP_2,
            Version::Http1 => false,
            Version::Http2 => true,
        };
        if http2 { self.send_http2(request).await } else { self.send_http1(request).await }
    }

    /// What is spoken over TLS: the first connection says.
    async fn agree(&self) -> Result<u8, WireError> {
        let agreed = self.agreed.load(Ordering::Acquire);
        if agreed != UNKNOWN {
            return Ok(agreed);
        }
        let _making = self.making.lock().await;
        if self.agreed.load(Ordering::Acquire) == UNKNOWN {
            match self.connect(false).await? {
                Made::One(one) => self.keep(one),
                Made::Many(many) => *lock(&self.many) = Some(many),
            }
        }
        Ok(self.agreed.load(Ordering::Acquire))
    }

    /// A new connection. In a box, because most requests need none and are smaller without.
    fn connect(&self, many: bool) -> Pin<Box<dyn Future<Output = Result<Made, WireError>> + Send + '_>> {
        Box::pin(self.connected(many))
    }

    async fn connected(&self, many: bool) -> Result<Made, WireError> {
        if !self.secure {
            return connect::plain(&self.address, many, &self.terms).await.map_err(WireError::NotSent);
        }
        let made = connect::secure(&self.address, &self.terms).await.map_err(WireError::NotSent)?;
        let agreed = if matches!(made, Made::Many(_)) { HTTP2 } else { HTTP1 };
        self.agreed.store(agreed, Ordering::Release);
        Ok(made)
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit, WireError> {
        if let Ok(turn) = self.turns.clone().try_acquire_owned() {
            return Ok(turn);
        }
        Box::pin(self.wait_for_turn()).await
    }

    async fn wait_for_turn(&self) -> Result<OwnedSemaphorePermit, WireError> {
        let wait = tokio::time::timeout(self.terms.connect, self.turns.clone().acquire_owned());
        let (most, address) = (self.terms.connections, &self.address);
        let busy = || WireError::NotSent(format!("all {most} connections to {address} are busy").into());
        wait.await.map_err(|_| busy())?.map_err(|_| busy())
    }

    async fn send_http1(self: Arc<Self>, mut request: Outgoing) -> Result<Response<WireBody>, WireError> {
        let turn = self.turn().await?;
        *request.version_mut() = http::Version::HTTP_11;
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
        if !request.headers().contains_key(HOST)
            && let Ok(host) = HeaderValue::try_from(&*self.address)
        {
            request.headers_mut().insert(HOST, host);
        }
        loop {
            let (mut connection, used) = match self.take_idle().await {
                Some(connection) => (connection, true),
                None => match self.connect(false).await? {
                    Made::One(connection) => (connection, false),
                    Made::Many(_) => return Err(changed_its_mind()),
                },
            };
            match connection.try_send_request(request).await {
                Ok(answer) => {
                    let lease = Lease { peer: self.clone(), connection, _turn: turn };
                    return Ok(answer.map(|body| WireBody::new(body, Some(lease))));
                }
                Err(mut error) => match error.take_message() {
                    // A kept connection that the instance had closed: the request never left.
                    Some(back) if used => request = back,
                    Some(_) => return Err(WireError::NotSent(error.into_error().into())),
                    None => return Err(WireError::Broken(error.into_error().into())),
                },
            }
        }
    }

    async fn send_http2(&self, mut request: Outgoing) -> Result<Response<WireBody>, WireError> {
        *request.version_mut() = http::Version::HTTP_2;
        *request.uri_mut() = self.absolute(&mut request).map_err(|e| WireError::NotSent(e.into()))?;
        for last in [false, true] {
            let mut connection = self.shared().await?;
            match connection.try_send_request(request).await {
                Ok(answer) => return Ok(answer.map(|body| WireBody::new(body, None))),
                Err(mut error) => match error.take_message() {
                    Some(back) if !last => request = back,
                    Some(_) => return Err(WireError::NotSent(error.into_error().into())),
                    None => return Err(lost(error.into_error())),
                },
            }
        }
        Err(WireError::NotSent("the connection was closed twice in a row".into()))
    }

    /// The URI as HTTP/2 has it: the host is in it, and not in the headers.
    fn absolute(&self, request: &mut Outgoing) -> Result<Uri, http::Error> {
        let host = request.headers_mut().remove(HOST);
        let host = host.as_ref().map_or(self.address.as_bytes(), |host| host.as_bytes());
        let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
        let scheme = if self.secure { Scheme::HTTPS } else { Scheme::HTTP };
        Uri::builder().scheme(scheme).authority(host).path_and_query(path).build()
    }

    async fn shared(&self) -> Result<Many, WireError> {
        if let Some(open) = self.open() {
            return Ok(open);
        }
        let _making = self.making.lock().await;
        if let Some(open) = self.open() {
            return Ok(open);
        }
        let Made::Many(made) = self.connect(true).await? else { return Err(changed_its_mind()) };
        *lock(&self.many) = Some(made.clone());
        Ok(made)
    }

    fn open(&self) -> Option<Many> {
        lock(&self.many).as_ref().filter(|many| !many.is_closed()).cloned()
    }

    async fn take_idle(&self) -> Option<One> {
        loop {
            let (mut connection, since) = lock(&self.idle).pop()?;
            // Its last answer may not be read to the end yet by a hair's breadth.
            if since.elapsed() < self.terms.idle && connection.ready().await.is_ok() {
                return Some(connection);
            }
        }
    }

    /// A connection is free again.
    pub(super) fn keep(&self, connection: One) {
        if !connection.is_closed() {
            lock(&self.idle).push((connection, Instant::now()));
        }
    }

    /// Closes connections that nobody has used for long, forgets those that were closed.
    pub(crate) fn tidy(&self) {
        lock(&self.idle).retain(|(connection, since)| !connection.is_closed() && since.elapsed() < self.terms.idle);
    }
}

/// A request that got no answer on an HTTP/2 connection. A server that ends the connection names the last request that it has seen,
/// and may refuse one alone (RFC 9113, 8.7): what it has not seen does no harm when it is sent again.
fn lost(error: hyper::Error) -> WireError {
    let told = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<h2::Error>());
    let unseen =
        |told: &h2::Error| told.is_remote() && (told.is_go_away() || told.reason() == Some(h2::Reason::REFUSED_STREAM));
    if told.is_some_and(unseen) { WireError::NotSent(error.into()) } else { WireError::Broken(error.into()) }
}

/// A handshake agreed on another HTTP than the one before it; the next attempt goes by that.
fn changed_its_mind() -> WireError {
    WireError::NotSent("the TLS handshake agreed on another version of HTTP than before".into())
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
