//! What calls and attempts say on their spans and in their metrics.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use fuseboard_policy::breaker::Outcome;
use fuseboard_policy::codes::breaker_outcome;
use fuseboard_policy::names;
use opentelemetry::KeyValue;
use opentelemetry::trace::Status;

use super::{Ended, Refusal, Target};
use crate::edges::InForce;
use crate::telemetry::Record;

/// What a span of a call tells of the call itself, besides what its lane says.
pub(super) fn about_call(record: &mut Record, target: &Target, in_force: &InForce) {
    record.attribute(KeyValue::new(names::REVISION, i64::try_from(in_force.revision).unwrap_or(i64::MAX)));
    record.attributes(target.details.iter().cloned());
}

/// What the span of a refused attempt tells.
pub(super) fn about_refusal(record: &mut Record, refusal: &Refusal, at: SystemTime) {
    let by = KeyValue::new(names::REFUSED_BY, refusal.rule);
    record.attribute(by.clone());
    record.attribute(KeyValue::new(names::OUTCOME, "refused"));
    record.attribute(KeyValue::new("error.type", "refused"));
    record.event(names::REFUSED_EVENT.into(), at, vec![by, KeyValue::new("cause", refusal.cause.clone())]);
    record.status(Status::error(refusal.cause.clone()));
}

/// What the deadline leaves.
pub(super) fn left_attribute(left: Option<Duration>) -> Option<KeyValue> {
    left.map(|left| KeyValue::new(names::DEADLINE_LEFT_MS, millis(left)))
}

/// How a call or an attempt ended, for its span and its metrics.
pub(super) struct End<'a> {
    pub(super) outcome: &'static str,
    ended: Option<&'a Ended>,
    /// `error.type`, but for successes.
    error: Option<KeyValue>,
}

impl<'a> End<'a> {
    /// Without `ended` it was dropped before its end.
    pub(super) fn new(outcome: &'static str, ended: Option<&'a Ended>) -> Self {
        let kind = || ended.map_or(Cow::Borrowed("cancelled"), |ended| ended.code.clone());
        let error = (outcome != "success").then(|| KeyValue::new("error.type", kind()));
        Self { outcome, ended, error }
    }

    /// What the metrics tell of it: about the answer, and about the error.
    pub(super) fn labels(&self) -> [&[KeyValue]; 2] {
        [self.ended.map_or(&[], |ended| &ended.attributes), self.error.as_slice()]
    }

    /// Attributes and status of its span. Successes leave the status unset, as the conventions want it.
    pub(super) fn write(&self, record: &mut Record) {
        record.attribute(KeyValue::new(names::OUTCOME, self.outcome));
        record.attributes(self.labels().concat());
        // A caller that hung up is no error of the call.
        if let Some(error) = self.error.as_ref().filter(|_| self.outcome != "cancelled") {
            record.status(Status::error(error.value.to_string()));
        }
    }
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
