//! The way to one instance over HTTP: connections that are used again, within limits.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request, Response, Uri, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::Instant;
use tower::ServiceExt as _;

use crate::discovery::Instance;
use crate::error::AgentError;
use crate::room::{Counted, PoolLimits, Room};
use crate::tls::{Alpn, Connector, Dialer};

type Body = Full<Bytes>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Longest time to a connection that can be used.
const CONNECT: Duration = Duration::from_secs(1);
const PING: Duration = Duration::from_secs(10);
const PONG: Duration = Duration::from_secs(5);

/// The way to an instance.
pub(super) struct Line {
    /// Scheme, host and port.
    origin: Uri,
    host: HeaderValue,
    /// What comes before each path.
    pub(super) path: String,
    pub(super) room: Arc<Room>,
    connector: Counted<Connector>,
    wire: Wire,
}

/// The version that is spoken.
enum Wire {
    /// HTTP/1.1: a connection for each request at a time; these are idle, the one used last comes last.
    One(Mutex<Idle>),
    /// HTTP/2: connections that are shared.
    Two(Vec<tokio::sync::Mutex<Option<http2::SendRequest<Body>>>>),
}

struct Idle {
    all: Vec<(http1::SendRequest<Body>, Instant)>,
    most: usize,
    longest: Duration,
    /// Whether somebody looks after those that are idle for too long.
    swept: bool,
}

/// No connection to an instance could be made: nothing was sent.
#[derive(Debug, thiserror::Error)]
#[error("{address} cannot be reached: {source}")]
pub(super) struct Unreachable {
    address: String,
    source: BoxError,
}

/// An answer, and the connection to give back when it was read to its end.
pub(super) struct Answered {
    pub(super) response: Response<Incoming>,
    pub(super) again: Option<http1::SendRequest<Body>>,
}

impl Line {
    /// Connects to nobody yet.
    pub(super) fn new(
        dialer: &Dialer,
        limits: &PoolLimits,
        http2: bool,
        instance: &Instance,
    ) -> Result<Self, AgentError> {
        let origin = crate::address::uri(&instance.origin())?;
        let host = host(instance).parse().map_err(|_| AgentError::Address {
            text: instance.address.clone(),
            reason: "it cannot stand in a header".to_owned(),
        })?;
        let (room, alpn, wire) = if http2 {
            let room = Room::shared(&instance.address, limits);
            let wire = Wire::Two((0..room.lanes()).map(|_| tokio::sync::Mutex::new(None)).collect());
            (room, Alpn::H2, wire)
        } else {
            let room = Room::unshared(&instance.address, limits, limits.unshared());
            let (most, longest) = (limits.idle, limits.idle_timeout);
            (room, Alpn::Http1, Wire::One(Mutex::new(Idle { all: Vec::new(), most, longest, swept: false })))
        };
        let connector = Counted { inner: dialer.connector(alpn, CONNECT), room: room.clone() };
        Ok(Self { origin, host, path: instance.path.clone(), room, connector, wire })
    }

    /// The URI of a path here.
    pub(super) fn url(&self, path: &str) -> String {
        let origin = self.origin.to_string();
        format!("{}{}{path}", origin.trim_end_matches('/'), self.path)
    }

    /// Sends a request whose URI is a path alone, on the connection of `lane` where connections are shared.
    pub(super) async fn send(self: &Arc<Self>, lane: usize, request: Request<Body>) -> Result<Answered, BoxError> {
        match &self.wire {
            Wire::One(idle) => self.send_unshared(idle, request).await,
            Wire::Two(lanes) => self.send_shared(&lanes[lane % lanes.len()], request).await,
        }
    }

    async fn send_unshared(&self, idle: &Mutex<Idle>, mut request: Request<Body>) -> Result<Answered, BoxError> {
        request.headers_mut().entry(HOST).or_insert_with(|| self.host.clone());
        loop {
            let kept = lock(idle).take();
            let used = kept.is_some();
            let mut connection = match kept {
                Some(kept) => kept,
                None => self.connect_unshared().await?,
            };
            match connection.try_send_request(request).await {
                Ok(response) => return Ok(Answered { response, again: Some(connection) }),
                Err(mut error) => match error.take_message() {
                    // It closed while it was idle, and nothing was sent: the next one.
                    Some(back) if used => request = back,
                    Some(_) => return Err(self.unreachable(error.into_error())),
                    None => return Err(error.into_error().into()),
                },
            }
        }
    }

    async fn connect_unshared(&self) -> Result<http1::SendRequest<Body>, BoxError> {
        let io = self.connector.clone().oneshot(self.origin.clone()).await.map_err(|error| self.unreachable(error))?;
        let (sender, connection) = http1::handshake(io).await.map_err(|error| self.unreachable(error))?;
        // Who waits for its answer learns of its end.
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn send_shared(
        &self,
        lane: &tokio::sync::Mutex<Option<http2::SendRequest<Body>>>,
        mut request: Request<Body>,
    ) -> Result<Answered, BoxError> {
        *request.version_mut() = Version::HTTP_2;
        let mut parts = self.origin.clone().into_parts();
        parts.path_and_query = request.uri().path_and_query().cloned();
        *request.uri_mut() = Uri::from_parts(parts)?;
        let mut connection = {
            let mut lane = lane.lock().await;
            match lane.as_ref().filter(|made| !made.is_closed()) {
                Some(made) => made.clone(),
                None => lane.insert(self.connect_shared().await?).clone(),
            }
        };
        connection.ready().await.map_err(|error| self.unreachable(error))?;
        match connection.try_send_request(request).await {
            Ok(response) => Ok(Answered { response, again: None }),
            Err(mut error) => match error.take_message() {
                Some(_) => Err(self.unreachable(error.into_error())),
                None => Err(error.into_error().into()),
            },
        }
    }

    async fn connect_shared(&self) -> Result<http2::SendRequest<Body>, BoxError> {
        let io = self.connector.clone().oneshot(self.origin.clone()).await.map_err(|error| self.unreachable(error))?;
        let made = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .keep_alive_timeout(PONG)
            .handshake(io)
            .await;
        let (sender, connection) = made.map_err(|error| self.unreachable(error))?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// Keeps a connection for the next request. To be called after the answer was read to its end.
    pub(super) async fn give_back(self: &Arc<Self>, mut connection: http1::SendRequest<Body>) {
        let Wire::One(idle) = &self.wire else { return };
        // Ready again, or closed because one side wanted that.
        if connection.ready().await.is_err() {
            return;
        }
        let (begin, longest) = lock(idle).keep(connection);
        if begin {
            tokio::spawn(sweep(Arc::downgrade(self), longest));
        }
    }

    fn unreachable(&self, source: impl Into<BoxError>) -> BoxError {
        Box::new(Unreachable { address: self.origin.to_string(), source: source.into() })
    }
}

/// As the header `host` has it: the scheme's own port is left out.
fn host(instance: &Instance) -> &str {
    let usual = if instance.secure { ":443" } else { ":80" };
    instance.address.strip_suffix(usual).unwrap_or(&instance.address)
}

fn lock(idle: &Mutex<Idle>) -> std::sync::MutexGuard<'_, Idle> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Idle {
    /// The one used last that is still open.
    fn take(&mut self) -> Option<http1::SendRequest<Body>> {
        let oldest = Instant::now().checked_sub(self.longest);
        while let Some((connection, since)) = self.all.pop() {
            if connection.is_ready() && oldest.is_none_or(|oldest| since > oldest) {
                return Some(connection);
            }
        }
        None
    }

    /// Whether somebody is to look after it, and how often.
    fn keep(&mut self, connection: http1::SendRequest<Body>) -> (bool, Duration) {
        self.all.push((connection, Instant::now()));
        if self.all.len() > self.most {
            self.all.remove(0);
        }
        let begin = !self.all.is_empty() && !std::mem::replace(&mut self.swept, true);
        (begin, self.longest)
    }

    /// Closes what was idle for too long. Whether any are left.
    fn sweep(&mut self) -> bool {
        let oldest = Instant::now().checked_sub(self.longest);
        self.all.retain(|(connection, since)| connection.is_ready() && oldest.is_none_or(|oldest| *since > oldest));
        self.swept = !self.all.is_empty();
        self.swept
    }
}

/// Closes idle connections when their time has come, for as long as there are any.
async fn sweep(line: Weak<Line>, longest: Duration) {
    let every = (longest / 2).max(Duration::from_millis(10));
    loop {
        tokio::time::sleep(every).await;
        let Some(line) = line.upgrade() else { return };
        let Wire::One(idle) = &line.wire else { return };
        if !lock(idle).sweep() {
            return;
        }
    }
}
