//! Requests for the local service: a span for each, and what is left of its time.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use opentelemetry::KeyValue;
use opentelemetry::trace::TraceContextExt as _;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tonic::Code;

use super::is_grpc;
use super::under_way::{Remembered, UnderWay};
use crate::agent::Inner;
use crate::call::Protocol;
use crate::propagation::{extract, inject};
use crate::serve::{Inbound, Served};
use crate::timeout::{self, GRPC_TIMEOUT};
use crate::{grpc, http as web};

/// Opens a span for each request that a proxy passes to the local service.
#[derive(Clone)]
pub struct ProxyServer {
    agent: Arc<Inner>,
    under_way: Arc<UnderWay>,
}

impl std::fmt::Debug for ProxyServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProxyServer").field("service", &self.agent.service).finish_non_exhaustive()
    }
}

/// A request that is being answered. Dropped before [`Serving::answered`] it was cancelled.
pub struct Serving(Box<Open>);

struct Open {
    served: Served,
    grpc: bool,
    deadline: Option<Instant>,
    status: StatusCode,
    /// Its calls find its deadline as long as it is answered.
    _remembered: Option<Remembered>,
}

impl std::fmt::Debug for Serving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serving").field("grpc", &self.0.grpc).finish_non_exhaustive()
    }
}

impl ProxyServer {
    pub(super) fn new(agent: &Arc<Inner>, under_way: &Arc<UnderWay>) -> Self {
        Self { agent: agent.clone(), under_way: under_way.clone() }
    }

    /// A request has arrived. `route` is its template (`http.route`), where it has one.
    #[must_use]
    pub fn begin<B>(&self, request: &Request<B>, route: Option<&Arc<str>>) -> Serving {
        let headers = request.headers();
        let grpc = is_grpc(headers);
        let deadline = timeout::inbound(headers).and_then(|left| Instant::now().checked_add(left));
        let attempt = timeout::inbound_attempt(headers);
        let inbound = Inbound { parent: extract(headers), deadline, attempt };
        let served = if grpc {
            let operation = request.uri().path().trim_start_matches('/').to_owned();
            let labels = grpc::call_attributes(operation.as_str().into());
            Served::begin(&self.agent, Protocol::Grpc, operation, inbound, &labels, Vec::new())
        } else {
            let (name, labels, details) = describe(request, route);
            Served::begin(&self.agent, Protocol::Http, name, inbound, &labels, details)
        };
        let trace = served.cx().span().span_context().trace_id();
        let remembered = self.under_way.remember(trace, deadline, attempt);
        Serving(Box::new(Open { served, grpc, deadline, status: StatusCode::OK, _remembered: remembered }))
    }
}

/// Name, labels and details of a request's span.
fn describe<B>(request: &Request<B>, route: Option<&Arc<str>>) -> (String, Vec<KeyValue>, Vec<KeyValue>) {
    let mut labels = vec![web::method_attribute(request.method()), KeyValue::new("url.scheme", "http")];
    let name = match route {
        Some(route) => {
            labels.push(KeyValue::new("http.route", route.clone()));
            format!("{} {route}", request.method())
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
    (name, labels, details)
}

impl Serving {
    /// When the caller stops waiting.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.0.deadline
    }

    /// Asks whether the machine can take the request, by the service's own policy (`shed`). Where it cannot, the request is to be
    /// [refused](Serving::refused).
    ///
    /// # Errors
    /// The numbers, in words.
    pub fn admit(&mut self) -> Result<(), String> {
        self.0.served.admit().map_err(|shed| shed.to_string())
    }

    /// The request is refused by a rule on this side; its span says so and ends.
    pub fn refused<R>(self, rule: &'static str, answer: Response<R>) -> Response<ServingBody<R>> {
        let Open { served, grpc, .. } = *self.0;
        let (error, status) = if grpc {
            let code = grpc::status_of(answer.headers());
            (grpc::word(code).to_owned(), grpc::status_attribute(code))
        } else {
            (answer.status().as_str().to_owned(), web::status_attribute(answer.status()))
        };
        let by = KeyValue::new(fuseboard_policy::names::REFUSED_BY, rule);
        served.end("refused", Some(error), &[status, by]);
        answer.map(|inner| ServingBody { inner, open: None })
    }

    /// Writes the request's own span and what is left of its time into the headers that the local service sees.
    pub fn write_headers(&self, headers: &mut HeaderMap) {
        inject(self.0.served.cx().span().span_context(), headers);
        if let Some(at) = self.0.deadline {
            let name = if self.0.grpc { GRPC_TIMEOUT } else { fuseboard_policy::names::TIMEOUT_HEADER };
            headers.insert(name, timeout::header(at.saturating_duration_since(Instant::now())));
        }
    }

    /// The request has its answer; its span ends with the body, or with the trailers of a gRPC answer.
    pub fn answered<R: Body>(mut self, answer: Response<R>) -> Response<ServingBody<R>> {
        self.0.status = answer.status();
        let early = if self.0.grpc { grpc::early_status(&answer) } else { None };
        let open = match early {
            Some(code) => {
                self.0.end(Some(code));
                None
            }
            None if !self.0.grpc && answer.body().is_end_stream() => {
                self.0.end(None);
                None
            }
            None => Some(self.0),
        };
        answer.map(|inner| ServingBody { inner, open })
    }
}

impl Open {
    /// The answer has ended: a gRPC one with a status, where it got that far.
    fn end(self, code: Option<Code>) {
        if self.grpc {
            return grpc::end(self.served, code.unwrap_or(Code::Unknown));
        }
        let error = self.status.is_server_error().then(|| self.status.as_str().to_owned());
        let outcome = if error.is_some() { "failure" } else { "success" };
        self.served.end(outcome, error, &[web::status_attribute(self.status)]);
    }

    /// The answer broke off.
    fn break_off(self) {
        if self.grpc {
            return grpc::end(self.served, Code::Unavailable);
        }
        self.served.end("failure", Some("reset".to_owned()), &[web::status_attribute(self.status)]);
    }
}

pin_project! {
    /// The body of an answer of the local service.
    pub struct ServingBody<R> {
        #[pin]
        inner: R,
        open: Option<Box<Open>>,
    }
}

impl<R> ServingBody<R> {
    /// The local service's own body, for connections that change their protocol.
    pub fn into_inner(self) -> R {
        if let Some(open) = self.open {
            open.end(None);
        }
        self.inner
    }
}

impl<R> std::fmt::Debug for ServingBody<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServingBody").field("open", &self.open.is_some()).finish_non_exhaustive()
    }
}

impl<R: Body<Data = Bytes>> Body for ServingBody<R> {
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        let mut this = self.project();
        let polled = this.inner.as_mut().poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let code = frame.trailers_ref().map(grpc::status_of);
                let over =
                    code.is_some() || (this.inner.is_end_stream() && this.open.as_ref().is_some_and(|o| !o.grpc));
                if let Some(open) = this.open.take_if(|_| over) {
                    open.end(code);
                }
            }
            Poll::Ready(Some(Err(_))) => {
                if let Some(open) = this.open.take() {
                    open.break_off();
                }
            }
            Poll::Ready(None) => {
                if let Some(open) = this.open.take() {
                    open.end(None);
                }
            }
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.open.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
