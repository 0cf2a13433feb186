//! The server layer: a span for each request, the caller's context for its handler.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use fuseboard_policy::names;
use fuseboard_policy::shed::Shed;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use opentelemetry::KeyValue;
use opentelemetry::context::FutureExt as _;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::agent::Inner;
use crate::call::Protocol;
use crate::guard::{Refusing, SpanSlot, guards_for};
use crate::propagation::extract;
use crate::serve::{Inbound, Served};
use crate::shedding;
use crate::timeout;
use crate::tls::Dialer;

/// The layer for a tonic server; see [`crate::Agent::grpc_server`].
#[derive(Clone)]
pub struct GrpcServerLayer {
    agent: Arc<Inner>,
    /// For the keys of tokens.
    dialer: Dialer,
}

impl std::fmt::Debug for GrpcServerLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GrpcServerLayer").field("service", &self.agent.service).finish()
    }
}

impl GrpcServerLayer {
    pub(crate) fn new(agent: &Arc<Inner>, dialer: &Dialer) -> Self {
        Self { agent: agent.clone(), dialer: dialer.clone() }
    }
}

guards_for!(GrpcServerLayer);

impl<S> Layer<S> for GrpcServerLayer {
    type Service = GrpcServer<S>;

    fn layer(&self, inner: S) -> GrpcServer<S> {
        GrpcServer { agent: self.agent.clone(), inner }
    }
}

/// A gRPC service with the agent's server side around it.
#[derive(Clone)]
pub struct GrpcServer<S> {
    agent: Arc<Inner>,
    inner: S,
}

impl<S: std::fmt::Debug> std::fmt::Debug for GrpcServer<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GrpcServer").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, B, R> Service<Request<B>> for GrpcServer<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    R: HttpBody<Data = Bytes> + Send + 'static,
{
    type Response = Response<ServedBody<R>>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut served = begin(&self.agent, &request);
        if let Err(why) = served.admit() {
            return Box::pin(std::future::ready(Ok(shed(served, why))));
        }
        let cx = served.cx();
        let answer = {
            let _entered = cx.clone().attach();
            self.inner.call(request)
        };
        Box::pin(async move {
            let response = answer.with_context(cx).await?;
            Ok(match response.headers().get("grpc-status").map(|v| Code::from_bytes(v.as_bytes())) {
                Some(code) => {
                    end(served, code);
                    response.map(|inner| ServedBody { inner: Some(inner), served: None })
                }
                None => response.map(|inner| ServedBody { inner: Some(inner), served: Some(served) }),
            })
        })
    }
}

impl<S> Refusing for GrpcServer<S> {
    fn refuse(&self, request: &Request<()>, rule: &'static str, answer: &Response<()>) {
        let code = answer.headers().get("grpc-status").map_or(Code::Unknown, |v| Code::from_bytes(v.as_bytes()));
        let (status, rule) = (super::status_attribute(code), KeyValue::new(names::REFUSED_BY, rule));
        begin(&self.agent, request).end("refused", None, &[status, rule]);
    }
}

/// The answer to a request that the machine cannot take.
fn shed<R>(served: Served, why: Shed) -> Response<ServedBody<R>> {
    let busy = Code::Unavailable;
    served.end("refused", Some(super::word(busy).to_owned()), &[super::status_attribute(busy)]);
    let mut response = Status::new(busy, why.to_string()).into_http::<()>();
    let wait = HeaderValue::from(u64::try_from(shedding::WAIT.as_millis()).unwrap_or(u64::MAX));
    response.headers_mut().insert(super::PUSHBACK, wait);
    response.map(|()| ServedBody { inner: None, served: None })
}

fn begin<B>(agent: &Arc<Inner>, request: &Request<B>) -> Served {
    let headers = request.headers();
    let operation = request.uri().path().trim_start_matches('/').to_owned();
    let inbound = Inbound {
        parent: extract(headers),
        deadline: timeout::inbound(headers).map(|left| Instant::now() + left),
        attempt: timeout::inbound_attempt(headers),
    };
    let labels = super::call_attributes(operation.as_str().into());
    let served = Served::begin(agent, Protocol::Grpc, operation, inbound, &labels, Vec::new());
    SpanSlot::tell(request, || served.span_context());
    served
}

/// The statuses that the conventions call an error of the *server*.
pub(crate) fn is_server_error(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

/// A request was answered with a status.
pub(crate) fn end(served: Served, code: Code) {
    let status = super::status_attribute(code);
    let error = is_server_error(code).then(|| super::word(code).to_owned());
    served.end(if error.is_some() { "failure" } else { "success" }, error, &[status]);
}

pin_project! {
    /// The body of an answer: ends the request's span with the trailers.
    pub struct ServedBody<R> {
        #[pin]
        inner: Option<R>,
        served: Option<Served>,
    }
}

impl<R> std::fmt::Debug for ServedBody<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServedBody").field("open", &self.served.is_some()).finish_non_exhaustive()
    }
}

impl<R: HttpBody<Data = Bytes>> HttpBody for ServedBody<R> {
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        let this = self.project();
        let _entered = this.served.as_ref().map(|served| served.cx().attach());
        let Some(inner) = this.inner.as_pin_mut() else { return Poll::Ready(None) };
        let polled = inner.poll_frame(cx);
        let code = match &polled {
            Poll::Ready(Some(Ok(frame))) => frame.trailers_ref().map(super::status_of),
            Poll::Ready(Some(Err(_)) | None) => Some(Code::Unknown),
            Poll::Pending => None,
        };
        if let (Some(code), Some(served)) = (code, code.and_then(|_| this.served.take())) {
            end(served, code);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.served.is_none() && self.inner.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}
