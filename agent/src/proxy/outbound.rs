//! Requests of the local service to a callee, with the callee's rules around each.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Request, Response};
use http_body::Body;
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry::{Context, KeyValue};
use tokio::time::Instant;

use super::answer::Open;
use super::request::Source;
use super::under_way::UnderWay;
use super::{AnswerBody, BoxError, ProxyError, RequestBody, Wire, WireError, is_grpc};
use crate::agent::Inner;
use crate::call::{Ended, LiveAttempt, LiveCall, NoPlace, Protocol, Read, Target, Transport, drive};
use crate::members::Peers;
use crate::propagation::extract;
use crate::{context, grpc, http as web, timeout};

/// Calls one callee for the local service.
pub struct ProxyClient<W> {
    agent: Arc<Inner>,
    under_way: Arc<UnderWay>,
    service: Arc<str>,
    peers: Arc<Peers<Arc<W>>>,
}

/// What a proxy knows of a request besides the request.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// The route's template (`/orders/{id}`). Without one an HTTP operation is its method alone; gRPC needs none.
    pub route: Option<Arc<str>>,
    /// Whether the request may be done twice although its method does not say so.
    pub idempotent: bool,
}

impl<W> std::fmt::Debug for ProxyClient<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProxyClient").field("service", &self.service).finish_non_exhaustive()
    }
}

impl<W: Send + Sync + 'static> ProxyClient<W> {
    pub(super) fn new(agent: &Arc<Inner>, under_way: &Arc<UnderWay>, service: &str, peers: Arc<Peers<Arc<W>>>) -> Self {
        Self { agent: agent.clone(), under_way: under_way.clone(), service: service.into(), peers }
    }

    /// What sends to each instance that is known now.
    #[must_use]
    pub fn wires(&self) -> Vec<Arc<W>> {
        self.peers.list().iter().map(|peer| peer.wire.clone()).collect()
    }

    /// The callee.
    #[must_use]
    pub fn service(&self) -> &Arc<str> {
        &self.service
    }

    /// Calls the callee: as often as its policy allows, each time over the wire.
    ///
    /// # Errors
    /// There was no answer: refused, cut, not reached. An answer is an answer whatever its status.
    pub async fn call<B>(&self, request: Request<B>, about: About) -> Result<Response<AnswerBody<W::Body>>, ProxyError>
    where
        B: Body<Data = Bytes> + Send + Unpin,
        B::Error: Into<BoxError>,
        W: Wire<B>,
    {
        let (parts, body) = request.into_parts();
        let grpc = is_grpc(&parts.headers);
        let call = self.begin(&parts, about, grpc);
        let source = Source::new(body, call.may_repeat());
        let key = call.balance_key(&parts.headers);
        let sending = Sending { peers: &self.peers, service: &self.service, grpc, parts, source };
        drive(&sending, call, &key).await
    }

    fn begin(&self, parts: &Parts, about: About, grpc: bool) -> LiveCall {
        let mut cx = Context::new();
        let (mut deadline, mut attempt) = (None, timeout::inbound_attempt(&parts.headers));
        if let Some(remote) = extract(&parts.headers) {
            let known = self.under_way.of(remote.trace_id());
            (deadline, attempt) = (known.0, attempt.or(known.1));
            cx = cx.with_remote_span_context(remote);
        }
        let own = timeout::inbound(&parts.headers).and_then(|left| Instant::now().checked_add(left));
        let deadline = [deadline, own].into_iter().flatten().min();
        let _entered = context::with_inbound(&cx, deadline, attempt).attach();
        LiveCall::begin(
            &self.agent,
            if grpc { self.grpc_target(parts, &about) } else { self.http_target(parts, about) },
        )
    }

    fn grpc_target(&self, parts: &Parts, about: &About) -> Target {
        let operation: Arc<str> = parts.uri.path().trim_start_matches('/').into();
        let attributes = grpc::call_attributes(operation.clone());
        let idempotent = about.idempotent || parts.headers.contains_key(web::IDEMPOTENCY_KEY);
        self.target(Protocol::Grpc, operation, idempotent, attributes)
    }

    fn http_target(&self, parts: &Parts, about: About) -> Target {
        let mut attributes = vec![web::method_attribute(&parts.method)];
        let operation = match about.route {
            Some(route) => {
                let operation = format!("{} {route}", parts.method);
                attributes.push(KeyValue::new("url.template", route));
                operation
            }
            None => parts.method.to_string(),
        };
        let idempotent = about.idempotent || web::is_idempotent(&parts.method, &parts.headers);
        let mut target = self.target(Protocol::Http, operation.into(), idempotent, attributes);
        target.details.push(KeyValue::new("url.path", parts.uri.path().to_owned()));
        target
    }

    fn target(&self, protocol: Protocol, operation: Arc<str>, idempotent: bool, attributes: Vec<KeyValue>) -> Target {
        Target {
            protocol,
            service: self.service.clone(),
            operation,
            idempotent,
            replayable: true,
            limit: None,
            members: Some(self.peers.members().clone()),
            attributes,
            details: Vec::new(),
        }
    }
}

/// One call over the wire.
struct Sending<'a, B, W> {
    peers: &'a Peers<Arc<W>>,
    service: &'a Arc<str>,
    grpc: bool,
    parts: Parts,
    source: Source<B>,
}

impl<B, W> Transport for Sending<'_, B, W>
where
    B: Body<Data = Bytes> + Send + Unpin,
    B::Error: Into<BoxError>,
    W: Wire<B> + Send + Sync + 'static,
{
    type Request = (Arc<W>, Request<RequestBody<B>>);
    type Got = Result<Response<W::Body>, WireError>;
    type Answer = Response<AnswerBody<W::Body>>;
    type Error = ProxyError;

    async fn request(&self, attempt: &mut LiveAttempt) -> Result<Self::Request, NoPlace> {
        let peer = self.peers.get(attempt.endpoint().as_deref())?;
        attempt.peer(&peer.host, Some(peer.port));
        let mut request = Request::new(self.source.next());
        let parts = &self.parts;
        (*request.method_mut(), *request.uri_mut()) = (parts.method.clone(), parts.uri.clone());
        (*request.version_mut(), *request.headers_mut()) = (parts.version, parts.headers.clone());
        if self.grpc {
            grpc::write_headers(attempt, request.headers_mut());
        } else {
            web::write_headers(attempt, request.headers_mut());
        }
        Ok((peer.wire.clone(), request))
    }

    async fn send(&self, (wire, request): Self::Request) -> Self::Got {
        wire.send(request).await
    }

    fn read(&self, attempt: &LiveAttempt, got: Self::Got) -> Read<Self::Answer, ProxyError> {
        let answer = match got {
            Ok(answer) => answer,
            Err(error) => {
                let ended = broken(&error);
                return Read::Ended(ended, Err(ProxyError::Unreachable { service: self.service.clone(), error }));
            }
        };
        match read(&answer, attempt, self.grpc) {
            End::Now(ended) if ended.timed_out => Read::Ended(ended, Err(self.late())),
            End::Now(ended) => Read::Ended(ended, Ok(answer.map(AnswerBody::settled))),
            End::WithBody(ended) => Read::Begun(Box::new(move |call, attempt| {
                let open = Open::new(call, attempt, ended);
                answer.map(|body| AnswerBody::open(body, open))
            })),
        }
    }

    fn can_repeat(&self) -> bool {
        self.source.can_repeat()
    }

    fn late(&self) -> ProxyError {
        ProxyError::TimedOut(self.service.clone())
    }
}

/// When an answered call ends.
enum End {
    /// With the headers: nothing that follows changes what they say.
    Now(Ended),
    /// With the body, in this way; `None`: as its trailers say.
    WithBody(Option<Ended>),
}

fn read<R>(answer: &Response<R>, attempt: &LiveAttempt, grpc: bool) -> End {
    if grpc {
        return match grpc::early_status(answer) {
            Some(_) if grpc::timer_went_off(answer, attempt) => End::Now(Ended::timed_out()),
            Some(code) => End::Now(grpc::ended(answer.headers(), code)),
            None => End::WithBody(None),
        };
    }
    let ended = web::answered(answer.status(), answer.headers());
    let endless = answer.status().is_informational() || is_event_stream(answer.headers());
    if ended.code == "ok" && !endless { End::WithBody(Some(ended)) } else { End::Now(ended) }
}

/// Whether an answer goes on until somebody hangs up: no timeout is meant for that.
fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(http::header::CONTENT_TYPE).map_or(&b""[..], |v| v.as_bytes());
    kind.starts_with(b"text/event-stream")
}

fn broken(error: &WireError) -> Ended {
    match error {
        WireError::NotSent(_) => Ended::no_connection(),
        WireError::Broken(_) => Ended::with("reset"),
    }
}
