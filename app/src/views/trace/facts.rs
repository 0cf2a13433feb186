//! What a span says about the rules around a call, read once from its attributes.

use fuseboard_api::attr::AttrValue;
use fuseboard_api::span::{Span, SpanKind};
use fuseboard_policy::names;

/// How a call or attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum End {
    /// Nothing says that it failed.
    #[default]
    Well,
    /// It failed.
    Failed,
    /// A timeout cut it.
    Timeout,
    /// A local rule refused it; nothing was sent.
    Refused,
    /// Its caller gave up.
    Cancelled,
}

/// The facts of one span.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Facts {
    /// How it ended.
    pub(crate) end: End,
    /// Position of the attempt in its call, from 1; 0 when it is none.
    pub(crate) attempt: u16,
    /// Whether it is the span of a logical call whose attempts are its children.
    pub(crate) call: bool,
    /// Whether nobody waits for it: it took a message out of a queue.
    pub(crate) detached: bool,
    /// What the deadline left when it began, in milliseconds.
    pub(crate) left_ms: Option<f32>,
    /// Wait before it, in nanoseconds.
    pub(crate) backoff: i64,
}

impl Facts {
    /// Reads them.
    pub(crate) fn of(span: &Span) -> Self {
        let outcome = span.attr(names::OUTCOME).and_then(AttrValue::as_str);
        let refused = outcome == Some("refused") || span.attr(names::REFUSED_BY).is_some();
        let end = match outcome {
            _ if refused => End::Refused,
            Some("timeout") => End::Timeout,
            Some("cancelled") => End::Cancelled,
            Some("failure") => End::Failed,
            _ if span.is_error() && timed_out(span) => End::Timeout,
            _ if span.is_error() => End::Failed,
            _ => End::Well,
        };
        Self {
            end,
            attempt: span.attr(names::ATTEMPT).and_then(AttrValue::as_int).and_then(|n| n.try_into().ok()).unwrap_or(0),
            call: matches!(span.attr(names::CALL), Some(AttrValue::Bool(true))),
            detached: span.kind == SpanKind::Consumer,
            left_ms: span.attr(names::DEADLINE_LEFT_MS).and_then(number).map(|n| n as f32),
            backoff: span.attr(names::BACKOFF_MS).and_then(number).map_or(0, |ms| (ms * 1e6) as i64),
        }
    }
}

/// The number in a value, however it was sent.
pub(crate) fn number(value: &AttrValue) -> Option<f64> {
    match value {
        AttrValue::Int(i) => Some(*i as f64),
        AttrValue::Double(d) => Some(*d),
        AttrValue::Str(s) => s.parse().ok(),
        _ => None,
    }
    .filter(|n| n.is_finite())
}

fn timed_out(span: &Span) -> bool {
    let says = |key: &str, words: &[&str]| {
        span.attr(key).is_some_and(|v| {
            let v = v.to_string();
            words.iter().any(|w| v.eq_ignore_ascii_case(w))
        })
    };
    let deadline = ["DEADLINE_EXCEEDED", "4"];
    says("error.type", &["timeout", "deadline_exceeded", "DEADLINE_EXCEEDED"])
        || says("rpc.response.status_code", &deadline)
        || says("rpc.grpc.status_code", &deadline)
        || says("rpc.status_code", &deadline)
}
