//! One logical call and its attempts: drives the rules around a call, and tells about it in spans and metrics.
//!
//! The protocols' layers only know how to send one attempt and how to read its outcome; everything else is here.

mod attempt;
mod drive;
mod fallback;
mod hedge;
mod lane;
mod live;
mod spans;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;

pub(crate) use self::attempt::LiveAttempt;
pub(crate) use self::drive::{Read, Transport, drive};
pub(crate) use self::lane::Lanes;
pub(crate) use self::live::{LiveCall, Then};
pub(crate) use self::spans::millis;
use crate::members::Members;

/// How a call travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// gRPC over HTTP/2.
    Grpc,
    /// HTTP.
    Http,
    /// tarpc.
    Tarpc,
    /// A request over NATS.
    #[cfg(feature = "nats")]
    Nats,
    /// A message to a broker.
    Messaging,
}

impl Protocol {
    /// The kind of a call's own span. A message's is a producer's, to which its consumers link; attempts are a client's always.
    fn kind(self) -> SpanKind {
        if self == Self::Messaging { SpanKind::Producer } else { SpanKind::Client }
    }
}

/// What is called.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// How.
    pub(crate) protocol: Protocol,
    /// The callee's `service.name`.
    pub(crate) service: Arc<str>,
    /// The operation as policies name it; the span's name too.
    pub(crate) operation: Arc<str>,
    /// Whether it may be done twice.
    pub(crate) idempotent: bool,
    /// A limit of the application's own, besides deadline and policy.
    pub(crate) limit: Option<Duration>,
    /// Whether the request can be sent again at all.
    pub(crate) replayable: bool,
    /// The instances among which the edge's balancer chooses; `None` where the client sends to one place only.
    pub(crate) members: Option<Arc<Members>>,
    /// Attributes for spans and metrics.
    pub(crate) attributes: Vec<KeyValue>,
    /// Attributes for spans only.
    pub(crate) details: Vec<KeyValue>,
}

impl Target {
    /// A refusal of a call to it.
    fn refusal(&self, rule: &'static str, cause: String, code: String) -> Refusal {
        let (service, operation) = (self.service.clone(), self.operation.clone());
        Refusal { service, operation, rule, cause, code: code.into() }
    }
}

/// A call or an attempt that a local rule refused: nothing went on the wire.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the call to {service} {operation} was refused by the caller's own {rule} rule: {cause}")]
#[non_exhaustive]
pub struct Refusal {
    /// The callee.
    pub service: Arc<str>,
    /// The operation.
    pub operation: Arc<str>,
    /// The rule: `deadline`, `discovery` (no instance is known), `rate`, `throttle`, `concurrency`, `breaker`, `pool` (no room at the
    /// instance), or `fault` for one that an operator injected.
    pub rule: &'static str,
    /// Why, in words.
    pub cause: String,
    /// The gRPC status that fits it, lower case.
    pub code: Cow<'static, str>,
}

/// Why an attempt has nowhere to go: a refusal of the caller's own.
#[derive(Debug)]
pub(crate) struct NoPlace {
    /// `discovery` or `pool`.
    pub(crate) rule: &'static str,
    /// Why, in words.
    pub(crate) cause: String,
}

impl NoPlace {
    /// No instance is known.
    pub(crate) fn nobody(cause: String) -> Self {
        Self { rule: "discovery", cause }
    }
}

/// What came of sending an attempt.
#[derive(Debug)]
pub(crate) enum Sent<T> {
    /// An answer, or the transport's word that there is none.
    Got(T),
    /// It was cut by its limit.
    Cut,
    /// A fault that an operator injected took the callee's place.
    Aborted(Refusal),
}

/// How an attempt ended.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    /// The code in the words of the policy: `ok`, `unavailable`, `503`, `reset`….
    pub(crate) code: Cow<'static, str>,
    /// Whether the attempt was cut by its timeout.
    pub(crate) timed_out: bool,
    /// Whether the request certainly never left, so that another try can do no harm.
    pub(crate) never_sent: bool,
    /// What a gRPC reply says about another try.
    pub(crate) pushback: Pushback,
    /// What an HTTP reply says about another try.
    pub(crate) retry_after: Option<Duration>,
    /// Attributes of the reply for call and attempt.
    pub(crate) attributes: Vec<KeyValue>,
}

/// What a reply says about trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Pushback {
    /// Nothing.
    #[default]
    None,
    /// Not before this long.
    After(Duration),
    /// Not at all.
    Never,
}

impl Ended {
    /// An end with a code.
    pub(crate) fn with(code: impl Into<Cow<'static, str>>) -> Self {
        let (code, attributes) = (code.into(), Vec::new());
        Self { code, timed_out: false, never_sent: false, pushback: Pushback::None, retry_after: None, attributes }
    }

    /// No connection could be made: nothing was sent.
    pub(crate) fn no_connection() -> Self {
        Self { never_sent: true, ..Self::with("connect") }
    }

    /// An attempt cut by its timeout or the deadline.
    pub(crate) fn timed_out() -> Self {
        Self { timed_out: true, ..Self::with("deadline_exceeded") }
    }
}

impl Pushback {
    /// As gRPC's header has it.
    pub(super) fn as_header(self) -> Option<String> {
        match self {
            Self::None => None,
            Self::After(wait) => Some(wait.as_millis().to_string()),
            Self::Never => Some("-1".to_owned()),
        }
    }
}
