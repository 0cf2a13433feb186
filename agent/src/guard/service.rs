//! The service around a server's own: asks each guard in its order.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body as HttpBody;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;
use tower::{Layer, Service};

#[cfg(feature = "jwt")]
use super::auth::{Auth, Verdict};
use super::body::{GuardedBody, Held, ServerBody, watched};
use super::caller::Caller;
use super::limits::{Limiter, Limits};
use super::record::{RequestLog, Writer};
use super::refusal::{Refused, is_grpc};
use crate::agent::Inner;
#[cfg(feature = "jwt")]
use crate::clock::Clock;
use crate::tls::Dialer;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How a server's service shows a refusal: as a span and in its metrics.
pub(crate) trait Refusing {
    /// A request is answered with a refusal by a rule.
    fn refuse(&self, request: &Request<()>, rule: &'static str, answer: &Response<()>);
}

/// A server layer of the agent with guards before it; see [`crate::guard`].
#[derive(Clone)]
pub struct GuardedLayer<L> {
    inner: L,
    agent: Arc<Inner>,
    #[cfg_attr(not(feature = "jwt"), expect(dead_code, reason = "only keys of tokens are dialled for"))]
    dialer: Dialer,
    guards: Guards,
}

impl<L: std::fmt::Debug> std::fmt::Debug for GuardedLayer<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuardedLayer").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<L> GuardedLayer<L> {
    pub(crate) fn new(agent: &Arc<Inner>, dialer: Dialer, inner: L) -> Self {
        let meter = agent.telemetry.meter("fuseboard-agent");
        let refused = meter.u64_counter("resilience.requests.refused");
        let refused =
            refused.with_unit("{request}").with_description("Requests that a guard refused, by rule.").build();
        let guards = Guards {
            log: None,
            #[cfg(feature = "jwt")]
            auth: None,
            limiter: None,
            refused,
        };
        Self { inner, agent: agent.clone(), dialer, guards }
    }

    /// Writes a log record for each request of the routes that it names.
    #[must_use]
    pub fn with_log(mut self, log: RequestLog) -> Self {
        self.guards.log = Some(Arc::new(Writer::new(log, self.agent.clone())));
        self
    }

    /// Lets in only what the limits allow.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.guards.limiter = Some(Arc::new(Limiter::new(limits, self.agent.clock)));
        self
    }

    /// Lets in only callers with a token that is good.
    #[cfg(feature = "jwt")]
    #[must_use]
    pub fn with_auth(mut self, auth: Auth) -> Self {
        auth.start(&self.agent, &self.dialer);
        self.guards.auth = Some(Arc::new((auth, self.agent.clock)));
        self
    }
}

impl<S, L: Layer<S>> Layer<S> for GuardedLayer<L> {
    type Service = Guarded<L::Service>;

    fn layer(&self, inner: S) -> Self::Service {
        Guarded { guards: Arc::new(self.guards.clone()), inner: self.inner.layer(inner) }
    }
}

#[derive(Clone)]
struct Guards {
    log: Option<Arc<Writer>>,
    #[cfg(feature = "jwt")]
    auth: Option<Arc<(Auth, Clock)>>,
    limiter: Option<Arc<Limiter>>,
    refused: Counter<u64>,
}

impl Guards {
    /// Lets a request in, or says why not. Who calls goes into its extensions.
    async fn admit(&self, parts: &mut Parts, held: &mut Held) -> Result<(), Refused> {
        #[cfg_attr(not(feature = "jwt"), expect(unused_mut, reason = "only a token changes it"))]
        let mut caller = Caller::of(&parts.extensions);
        #[cfg(feature = "jwt")]
        if let Some(claims) = self.authenticate(parts, &caller).await? {
            if let Some(subject) = claims.subject() {
                caller = Caller::Subject(subject.into());
            }
            parts.extensions.insert(claims);
        }
        if let Some(recorder) = &mut held.recorder {
            recorder.caller = Some(caller.clone());
        }
        if let Some(limiter) = &self.limiter {
            held.permit = Some(limiter.admit(&caller, &parts.headers)?);
        }
        parts.extensions.insert(caller);
        Ok(())
    }

    #[cfg(feature = "jwt")]
    async fn authenticate(&self, parts: &Parts, caller: &Caller) -> Result<Option<super::auth::Claims>, Refused> {
        let Some((auth, clock)) = self.auth.as_deref() else { return Ok(None) };
        let mut verdict = auth.check(parts, caller, clock.now());
        if matches!(verdict, Verdict::UnknownKey) && auth.refresh().await {
            verdict = auth.check(parts, caller, clock.now());
        }
        match verdict {
            Verdict::Open => Ok(None),
            Verdict::Good(claims) => Ok(Some(claims)),
            Verdict::Refused(refused) => Err(refused),
            Verdict::UnknownKey => Err(auth.no_key()),
        }
    }

    /// Answers with a refusal.
    fn answer<R: HttpBody<Data = Bytes>>(
        &self,
        rule: &'static str,
        (head, text): (Response<()>, Bytes),
        grpc: bool,
        mut held: Held,
    ) -> Response<GuardedBody<R>> {
        self.refused.add(1, &[KeyValue::new("rule", rule)]);
        if let Some(recorder) = &mut held.recorder {
            recorder.head(head.status(), head.headers(), grpc);
        }
        head.map(|()| GuardedBody::refusal(text, held))
    }
}

/// A server's service with guards before it.
#[derive(Clone)]
pub struct Guarded<S> {
    guards: Arc<Guards>,
    inner: S,
}

impl<S: std::fmt::Debug> std::fmt::Debug for Guarded<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guarded").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, B, R> Service<Request<B>> for Guarded<S>
where
    S: Service<Request<B>, Response = Response<R>> + Refusing + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: ServerBody,
    B::Error: Into<BoxError>,
    R: HttpBody<Data = Bytes> + Send + 'static,
{
    type Response = Response<GuardedBody<R>>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The one that is ready takes the request; its clone gets ready for the next.
        let next = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, next);
        Box::pin(run(self.guards.clone(), inner, request))
    }
}

async fn run<S, B, R>(
    guards: Arc<Guards>,
    mut inner: S,
    request: Request<B>,
) -> Result<Response<GuardedBody<R>>, S::Error>
where
    S: Service<Request<B>, Response = Response<R>> + Refusing,
    B: ServerBody,
    B::Error: Into<BoxError>,
    R: HttpBody<Data = Bytes>,
{
    let grpc = is_grpc(&request);
    let (mut parts, body) = request.into_parts();
    let mut held = Held { permit: None, recorder: guards.log.as_ref().and_then(|log| log.begin(&mut parts)) };
    if let Err(refused) = guards.admit(&mut parts, &mut held).await {
        let answer = refused.answer(grpc);
        inner.refuse(&Request::from_parts(parts, ()), refused.rule, &answer.0);
        return Ok(guards.answer(refused.rule, answer, grpc, held));
    }
    let (body, watch) = match &guards.limiter {
        Some(limiter) => watched(body, &limiter.limits),
        None => (body, None),
    };
    let response = inner.call(Request::from_parts(parts, body)).await?;
    let broken = watch.zip(guards.limiter.as_ref()).and_then(|(watch, limiter)| watch.broken(&limiter.limits));
    if let Some(refused) = broken {
        // Whatever the handler made of the error that it read.
        return Ok(guards.answer(refused.rule, refused.answer(grpc), grpc, held));
    }
    if let Some(recorder) = &mut held.recorder {
        recorder.head(response.status(), response.headers(), grpc);
    }
    Ok(response.map(|body| GuardedBody::answer(body, held)))
}

/// The guards that a server layer of the agent can be given.
macro_rules! guards_for {
    ($layer:ident) => {
        impl $layer {
            /// Writes a log record for each request of the routes that it names.
            #[must_use]
            pub fn with_log(self, log: $crate::guard::RequestLog) -> $crate::guard::GuardedLayer<Self> {
                self.guarded().with_log(log)
            }

            /// Lets in only callers with a token that is good.
            #[cfg(feature = "jwt")]
            #[must_use]
            pub fn with_auth(self, auth: $crate::guard::Auth) -> $crate::guard::GuardedLayer<Self> {
                self.guarded().with_auth(auth)
            }

            /// Lets in only what the limits allow.
            #[must_use]
            pub fn with_limits(self, limits: $crate::guard::Limits) -> $crate::guard::GuardedLayer<Self> {
                self.guarded().with_limits(limits)
            }

            fn guarded(self) -> $crate::guard::GuardedLayer<Self> {
                $crate::guard::GuardedLayer::new(&self.agent.clone(), self.dialer.clone(), self)
            }
        }
    };
}
pub(crate) use guards_for;
