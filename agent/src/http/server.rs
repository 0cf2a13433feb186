//! The server layer: a span for each request, the caller's context and deadline for its handler.

use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::MatchedPath;
use fuseboard_policy::names;
use futures_util::future::BoxFuture;
use http::header::RETRY_AFTER;
use http::uri::Scheme;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use opentelemetry::KeyValue;
use opentelemetry::context::FutureExt as _;
use tokio::time::Instant;
use tower::{Layer, Service};

use super::{method_attribute, status_attribute};
use crate::agent::Inner;
use crate::call::Protocol;
use crate::guard::{Refusing, SpanSlot, guards_for};
use crate::propagation::extract;
use crate::serve::{Inbound, Served};
use crate::shedding;
use crate::timeout;
use crate::tls::{Dialer, Peer};

/// The layer; see [`crate::Agent::http_server`].
#[derive(Clone)]
pub struct HttpServerLayer {
    agent: Arc<Inner>,
    /// For the keys of tokens.
    dialer: Dialer,
}

impl std::fmt::Debug for HttpServerLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpServerLayer").field("service", &self.agent.service).finish()
    }
}

impl HttpServerLayer {
    pub(crate) fn new(agent: &Arc<Inner>, dialer: &Dialer) -> Self {
        Self { agent: agent.clone(), dialer: dialer.clone() }
    }
}

guards_for!(HttpServerLayer);

impl<S> Layer<S> for HttpServerLayer {
    type Service = HttpServer<S>;

    fn layer(&self, inner: S) -> HttpServer<S> {
        HttpServer { agent: self.agent.clone(), inner }
    }
}

/// An HTTP service with the agent's server side around it. A request whose deadline comes is answered 504 and its handler
/// dropped.
#[derive(Clone)]
pub struct HttpServer<S> {
    agent: Arc<Inner>,
    inner: S,
}

impl<S: std::fmt::Debug> std::fmt::Debug for HttpServer<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpServer").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, B, R> Service<Request<B>> for HttpServer<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    R: Default + Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<R>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut served = begin(&self.agent, &request);
        if served.admit().is_err() {
            return Box::pin(std::future::ready(Ok(shed(served))));
        }
        let cx = served.cx();
        let answer = {
            let _entered = cx.clone().attach();
            self.inner.call(request)
        };
        Box::pin(async move {
            let answer = answer.with_context(cx);
            let result = match served.deadline() {
                Some(at) => tokio::time::timeout_at(at, answer).await,
                None => Ok(answer.await),
            };
            let Ok(result) = result else {
                let late = StatusCode::GATEWAY_TIMEOUT;
                served.end("timeout", Some(late.as_str().to_owned()), &[status_attribute(late)]);
                let mut response = Response::new(R::default());
                *response.status_mut() = late;
                return Ok(response);
            };
            let response = result?;
            let status = response.status();
            let error = status.is_server_error().then(|| status.as_str().to_owned());
            let outcome = if error.is_some() { "failure" } else { "success" };
            served.end(outcome, error, &[status_attribute(status)]);
            Ok(response)
        })
    }
}

impl<S> Refusing for HttpServer<S> {
    fn refuse(&self, request: &Request<()>, rule: &'static str, answer: &Response<()>) {
        let (status, rule) = (status_attribute(answer.status()), KeyValue::new(names::REFUSED_BY, rule));
        begin(&self.agent, request).end("refused", None, &[status, rule]);
    }
}

/// The answer to a request that the machine cannot take.
fn shed<R: Default>(served: Served) -> Response<R> {
    let busy = StatusCode::SERVICE_UNAVAILABLE;
    served.end("refused", Some(busy.as_str().to_owned()), &[status_attribute(busy)]);
    let mut response = Response::new(R::default());
    *response.status_mut() = busy;
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(shedding::WAIT.as_secs()));
    response
}

fn begin<B>(agent: &Arc<Inner>, request: &Request<B>) -> Served {
    let headers = request.headers();
    let inbound = Inbound {
        parent: extract(headers),
        deadline: timeout::inbound(headers).map(|left| Instant::now() + left),
        attempt: timeout::inbound_attempt(headers),
    };
    let secure =
        request.uri().scheme() == Some(&Scheme::HTTPS) || Peer::of(request.extensions()).is_some_and(Peer::is_secure);
    let scheme = if secure { "https" } else { "http" };
    let mut labels = vec![method_attribute(request.method()), KeyValue::new("url.scheme", scheme)];
    let name = match request.extensions().get::<MatchedPath>() {
        Some(route) => {
            labels.push(KeyValue::new("http.route", route.as_str().to_owned()));
            format!("{} {}", request.method(), route.as_str())
        }
        None => request.method().to_string(),
    };
    let mut details = vec![KeyValue::new("url.path", request.uri().path().to_owned())];
    let version = match request.version() {
        Version::HTTP_2 => Some("2"),
        Version::HTTP_11 => Some("1.1"),
        Version::HTTP_10 => Some("1.0"),
        _ => None,
    };
    details.extend(version.map(|version| KeyValue::new("network.protocol.version", version)));
    let served = Served::begin(agent, Protocol::Http, name, inbound, &labels, details);
    SpanSlot::tell(request, || served.span_context());
    served
}
