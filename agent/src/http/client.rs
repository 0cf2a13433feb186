//! A small HTTP client for one callee. Answers are read whole within the attempt, so that timeouts cover them.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use fuseboard_policy::codes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use opentelemetry::KeyValue;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::line::{Answered, Line, Unreachable};
use super::{answered, is_idempotent, method_attribute, write_headers};
use crate::agent::Inner;
use crate::call::{Ended, LiveAttempt, LiveCall, NoPlace, Protocol, Read, Refusal, Target, Transport, drive};
use crate::discovery::{Instance, IntoEndpoints};
use crate::error::AgentError;
use crate::fallback::Fallbacks;
use crate::members::Peers;
use crate::room::PoolLimits;
use crate::tls::Dialer;

/// Largest answer that is read, in bytes.
const MOST_ANSWER: usize = 32 * 1024 * 1024;

/// A client for one HTTP service, with the agent's rules around each call. It speaks HTTP/1.1, or HTTP/2 where told so; redirects
/// are answers like others.
#[derive(Clone)]
pub struct HttpClient {
    agent: Arc<Inner>,
    service: Arc<str>,
    peers: Arc<Peers<Arc<Line>>>,
    settings: Arc<ArcSwap<Settings>>,
}

/// How instances are spoken to.
#[derive(Clone)]
struct Settings {
    limits: PoolLimits,
    http2: bool,
}

impl std::fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpClient").field("service", &self.service).field("peers", &self.peers).finish_non_exhaustive()
    }
}

/// A call that got no answer, or an answer that could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// A local rule refused it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The last attempt was cut by its timeout or the deadline.
    #[error("{service} did not answer {operation} in time")]
    TimedOut {
        /// The callee.
        service: Arc<str>,
        /// The operation.
        operation: Arc<str>,
    },
    /// The connection could not be made, or broke.
    #[error("the connection to the service broke: {0}")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer was longer than is read.
    #[error("the answer has more than {MOST_ANSWER} bytes")]
    TooLong,
    /// The request or the answer is not the JSON it should be.
    #[error("the JSON cannot be read or written: {0}")]
    Json(#[from] serde_json::Error),
    /// The request cannot be written as HTTP.
    #[error("the request is not valid HTTP: {0}")]
    Request(String),
    /// The service answered with an error; see [`HttpResponse::error_for_status`].
    #[error("the service answered {0}")]
    Status(StatusCode),
}

impl HttpError {
    /// The rule that refused the call, if one did.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        if let Self::Refused(refusal) = self { Some(refusal) } else { None }
    }
}

impl HttpClient {
    pub(crate) fn new(
        agent: &Arc<Inner>,
        dialer: &Dialer,
        service: &str,
        endpoints: impl IntoEndpoints,
    ) -> Result<Self, AgentError> {
        let settings = Settings { limits: agent.pool.clone(), http2: false };
        let settings = Arc::new(ArcSwap::from_pointee(settings));
        let (dialer, said, seen) = (dialer.clone(), settings.clone(), agent.sightings.clone());
        let name: Arc<str> = service.into();
        let make = move |instance: &Instance| {
            let said = said.load();
            let line = Line::new(&dialer, &said.limits, said.http2, instance)?;
            seen.room(&name, instance, true, &line.room);
            Ok(Arc::new(line))
        };
        let peers = Peers::start(agent, service, endpoints, make)?;
        Ok(Self { agent: agent.clone(), service: service.into(), peers, settings })
    }

    /// Speaks HTTP/2 without asking first (h2c; over TLS it is agreed on). This client and its clones.
    #[must_use]
    pub fn http2(self) -> Self {
        self.change(|settings| settings.http2 = true)
    }

    /// How much of each instance this client and its clones may use; [`Builder::pool`](crate::Builder::pool) when not given.
    #[must_use]
    pub fn pool(self, limits: PoolLimits) -> Self {
        self.change(|settings| settings.limits = limits)
    }

    fn change(self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::clone(&self.settings.load());
        change(&mut settings);
        self.settings.store(Arc::new(settings));
        self.peers.remake();
        self
    }

    /// A request. `route` is the template that policies and pictures name (`/orders/{id}`), `path` what is asked for
    /// (`/orders/17?full=1`).
    pub fn request(&self, method: Method, route: &str, path: impl Into<String>) -> HttpRequest {
        let operation = format!("{method} {route}").into();
        let headers = HeaderMap::new();
        HttpRequest {
            client: self.clone(),
            operation,
            route: route.to_owned(),
            method,
            path: path.into(),
            headers,
            body: Ok(Bytes::new()),
            idempotent: None,
            limit: None,
        }
    }

    /// A GET of a route without parameters.
    pub fn get(&self, route: &str) -> HttpRequest {
        self.request(Method::GET, route, route)
    }

    /// A POST to a route without parameters.
    pub fn post(&self, route: &str) -> HttpRequest {
        self.request(Method::POST, route, route)
    }
}

/// A request to be sent.
#[must_use = "a request does nothing until send() is awaited"]
pub struct HttpRequest {
    client: HttpClient,
    operation: Arc<str>,
    route: String,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Result<Bytes, HttpError>,
    idempotent: Option<bool>,
    limit: Option<Duration>,
}

impl std::fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpRequest")
            .field("operation", &self.operation)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl HttpRequest {
    /// A header.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// A JSON body.
    pub fn json<T: Serialize + ?Sized>(mut self, value: &T) -> Self {
        self.headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.body = serde_json::to_vec(value).map(Bytes::from).map_err(HttpError::from);
        self
    }

    /// A body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Ok(body.into());
        self
    }

    /// Says whether the request may be done twice; by default its method says so, or the header `idempotency-key`.
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = Some(idempotent);
        self
    }

    /// A limit for the whole call, besides deadline and policy.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Sends it, as often as the policy allows, and reads the answer. An answer is an answer whatever its status.
    ///
    /// # Errors
    /// There was no answer: refused, cut, broken.
    pub async fn send(mut self) -> Result<HttpResponse, HttpError> {
        let body = std::mem::replace(&mut self.body, Ok(Bytes::new()))?;
        let wrong = |error: http::uri::InvalidUri| HttpError::Request(format!("the path `{}`: {error}", self.path));
        PathAndQuery::from_str(&self.path).map_err(wrong)?;
        let call = LiveCall::begin(&self.client.agent, self.target());
        let key = call.balance_key(&self.headers);
        drive(&Sending { request: &self, body }, call, &key).await
    }

    fn target(&self) -> Target {
        let path = self.path.split(['?', '#']).next().unwrap_or_default();
        Target {
            protocol: Protocol::Http,
            service: self.client.service.clone(),
            operation: self.operation.clone(),
            idempotent: self.idempotent.unwrap_or_else(|| is_idempotent(&self.method, &self.headers)),
            replayable: true,
            limit: self.limit,
            members: self.client.peers.choice(),
            attributes: vec![method_attribute(&self.method), KeyValue::new("url.template", self.route.clone())],
            details: vec![KeyValue::new("url.path", path.to_owned())],
        }
    }
}

/// One call on the callee's instances.
struct Sending<'a> {
    request: &'a HttpRequest,
    body: Bytes,
}

impl Transport for Sending<'_> {
    type Request = (Arc<Line>, usize, Request<Full<Bytes>>);
    type Got = Result<HttpResponse, HttpError>;
    type Answer = HttpResponse;
    type Error = HttpError;

    async fn request(&self, attempt: &mut LiveAttempt) -> Result<Self::Request, NoPlace> {
        let asked = self.request;
        let peer = asked.client.peers.get(attempt.endpoint().as_deref())?;
        attempt.peer(&peer.host, Some(peer.port));
        attempt.note(KeyValue::new("url.full", peer.wire.url(&asked.path)));
        let lane = attempt.enter(&peer.wire.room).await?;
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = asked.method.clone();
        // Both parts of the path were read before.
        *request.uri_mut() = format!("{}{}", peer.wire.path, asked.path).parse().unwrap_or_default();
        *request.headers_mut() = asked.headers.clone();
        write_headers(attempt, request.headers_mut());
        Ok((peer.wire.clone(), lane, request))
    }

    async fn send(&self, (line, lane, request): Self::Request) -> Self::Got {
        let Answered { response, again } = line.send(lane, request).await.map_err(HttpError::Broken)?;
        let (head, body) = response.into_parts();
        let body = whole(body).await?;
        if let Some(connection) = again {
            line.give_back(connection).await;
        }
        Ok(HttpResponse { status: head.status, headers: head.headers, body })
    }

    fn read(&self, _: &LiveAttempt, got: Self::Got) -> Read<HttpResponse, HttpError> {
        let ended = match &got {
            Ok(answer) => answered(answer.status, &answer.headers),
            Err(error) => broken(error),
        };
        Read::Ended(ended, got)
    }

    fn late(&self) -> HttpError {
        let request = self.request;
        HttpError::TimedOut { service: request.client.service.clone(), operation: request.operation.clone() }
    }

    fn status(&self, instead: Refusal) -> Result<HttpResponse, HttpError> {
        let status = StatusCode::from_u16(codes::to_http(&instead.code)).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        Ok(HttpResponse::new(status, Bytes::new()))
    }

    fn value(&self, fallbacks: &Fallbacks, name: &str) -> Option<HttpResponse> {
        fallbacks.get(name)
    }
}

/// An answer's body.
async fn whole(mut body: Incoming) -> Result<Bytes, HttpError> {
    let mut data = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(chunk) = frame.map_err(|error| HttpError::Broken(error.into()))?.into_data() else { continue };
        if data.len() + chunk.len() > MOST_ANSWER {
            return Err(HttpError::TooLong);
        }
        data.extend_from_slice(&chunk);
    }
    Ok(data.freeze())
}

fn broken(error: &HttpError) -> Ended {
    match error {
        HttpError::Broken(e) if e.is::<Unreachable>() => Ended::no_connection(),
        HttpError::TooLong => Ended::with("out_of_range"),
        _ => Ended::with("reset"),
    }
}

/// An answer, whole.
#[derive(Debug, Clone)]
pub struct HttpResponse {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl HttpResponse {
    /// An answer of the application's own, for [`crate::Agent::fallback`].
    #[must_use]
    pub fn new(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self { status, headers: HeaderMap::new(), body: body.into() }
    }

    /// Itself with a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Its headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Its body.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.body
    }

    /// Its body as JSON.
    ///
    /// # Errors
    /// It is not that JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, HttpError> {
        Ok(serde_json::from_slice(&self.body)?)
    }

    /// Itself, if its status is no error.
    ///
    /// # Errors
    /// [`HttpError::Status`] for 400 and more.
    pub fn error_for_status(self) -> Result<Self, HttpError> {
        if self.status.as_u16() < 400 { Ok(self) } else { Err(HttpError::Status(self.status)) }
    }
}
