//! What calls and attempts say on their spans and in their metrics.

use std::time::Duration;

use fuseboard_policy::breaker::Outcome;
use fuseboard_policy::codes::breaker_outcome;
use fuseboard_policy::names;
use opentelemetry::trace::{SpanKind, SpanRef, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};

use super::{Ended, Target};
use crate::agent::Inner;
use crate::edges::InForce;

/// How many of a call's labels say which edge it is on: callee and operation come first.
pub(super) const EDGE: usize = 2;

/// Opens a client span under a parent.
pub(super) fn open_span(agent: &Inner, parent: &Context, target: &Target, attributes: Vec<KeyValue>) -> Context {
    let tracer = &agent.telemetry.tracer;
    let span = tracer
        .span_builder(target.operation.to_string())
        .with_kind(SpanKind::Client)
        .with_attributes(attributes)
        .start_with_context(tracer, parent);
    parent.with_span(span)
}

/// What call and attempt spans have in common.
pub(super) fn span_attributes(target: &Target, in_force: &InForce) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new(names::PEER_SERVICE, target.service.clone()),
        KeyValue::new(names::PEER_SERVICE_OLD, target.service.clone()),
        KeyValue::new(names::OPERATION, target.operation.clone()),
        KeyValue::new(names::REVISION, i64::try_from(in_force.revision).unwrap_or(i64::MAX)),
    ];
    attributes.extend(target.attributes.iter().chain(&target.details).cloned());
    attributes
}

/// What the deadline leaves.
pub(super) fn left_attribute(left: Option<Duration>) -> Option<KeyValue> {
    left.map(|left| KeyValue::new(names::DEADLINE_LEFT_MS, millis(left)))
}

/// Attributes and status of a span by its end, and the labels for its metrics. Successes leave the status unset, as the
/// conventions want it.
pub(super) fn describe(span: &SpanRef<'_>, labels: &[KeyValue], outcome: &str, ended: Option<&Ended>) -> Vec<KeyValue> {
    let mut labels = labels.to_vec();
    if let Some(ended) = ended {
        span.set_attributes(ended.attributes.iter().cloned());
        labels.extend(ended.attributes.iter().cloned());
    }
    if outcome == "success" {
        return labels;
    }
    let kind = ended.map_or_else(|| "cancelled".to_owned(), |ended| ended.code.to_string());
    labels.push(KeyValue::new("error.type", kind.clone()));
    span.set_attribute(KeyValue::new("error.type", kind.clone()));
    // A caller that hung up is no error of the call.
    if outcome != "cancelled" {
        span.set_status(Status::error(kind));
    }
    labels
}

/// The word for an end in [`names::OUTCOME`].
pub(super) fn outcome_word(ended: &Ended) -> &'static str {
    if ended.timed_out {
        return "timeout";
    }
    match breaker_outcome(&ended.code) {
        Outcome::Success => "success",
        Outcome::Cancelled => "cancelled",
        Outcome::Failure => "failure",
    }
}

/// Milliseconds as double attributes carry them.
pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Milliseconds as int attributes carry them.
pub(super) fn whole_millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
