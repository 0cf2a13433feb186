//! What all calls on one way have in common, worked out once: the attributes of their spans, the series of their metrics.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fuseboard_policy::names;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundCounter, BoundHistogram, BoundUpDownCounter};
use opentelemetry::trace::SpanKind;

use super::{Protocol, Target};
use crate::agent::Inner;
use crate::edges::Edge;
use crate::telemetry::{At, Common, Digest, Instruments, Parent, Parts, Record, Series, Span, Table};

/// How many of a lane's labels say which edge it is on: callee and operation come first.
const EDGE: usize = 2;
/// Most lanes that an edge keeps; what comes beyond is worked out for each call.
const MOST: usize = 256;

/// The lanes of an edge: one, but for the edge that takes the operations beyond the cap, and for operations of the same name
/// over several protocols.
#[derive(Debug)]
pub(crate) struct Lanes(Table<Lane>);

impl Default for Lanes {
    fn default() -> Self {
        Self(Table::new(MOST))
    }
}

/// One way to a callee.
#[derive(Debug)]
pub(crate) struct Lane {
    protocol: Protocol,
    operation: Arc<str>,
    /// What its spans have in common.
    common: Arc<Common>,
    /// What its metrics have in common.
    labels: Vec<KeyValue>,
    in_flight: OnceLock<BoundUpDownCounter<i64>>,
    attempts: Series<BoundCounter<u64>>,
    refusals: Series<BoundCounter<u64>>,
    durations: Series<BoundHistogram<f64>>,
    sent: Series<BoundCounter<u64>>,
}

impl Lane {
    /// The lane of a call.
    pub(super) fn of(edge: &Edge, target: &Target) -> Arc<Self> {
        let digest = Digest::new().text(&target.operation).attributes(&[&target.attributes]);
        let is = |lane: &Self| {
            lane.protocol == target.protocol
                && lane.operation == target.operation
                && lane.labels.get(EDGE..).is_some_and(|own| own == target.attributes)
        };
        let make = || Self::new(edge, target);
        edge.lanes.0.with(digest, is, make, Arc::clone).unwrap_or_else(|| Arc::new(make()))
    }

    fn new(edge: &Edge, target: &Target) -> Self {
        let mut attributes = vec![
            KeyValue::new(names::PEER_SERVICE, target.service.clone()),
            KeyValue::new(names::PEER_SERVICE_OLD, target.service.clone()),
            KeyValue::new(names::OPERATION, target.operation.clone()),
        ];
        attributes.extend(target.attributes.iter().cloned());
        let mut labels = vec![
            KeyValue::new(names::PEER_SERVICE, target.service.clone()),
            KeyValue::new(names::OPERATION, edge.operation.clone()),
        ];
        labels.extend(target.attributes.iter().cloned());
        let name = match target.protocol {
            // The conventions want the destination in it.
            Protocol::Messaging => format!("{} {}", target.operation, target.service).into(),
            _ => target.operation.clone(),
        };
        Self {
            protocol: target.protocol,
            operation: target.operation.clone(),
            common: Arc::new(Common { name, attributes }),
            labels,
            in_flight: OnceLock::new(),
            attempts: Series::default(),
            refusals: Series::default(),
            durations: Series::default(),
            sent: Series::default(),
        }
    }

    /// Starts a span of a call on it.
    pub(super) fn begin(
        &self,
        agent: &Inner,
        kind: SpanKind,
        parent: Parent<'_>,
        at: At,
        write: impl FnOnce(&mut Record),
    ) -> Span {
        agent.telemetry.tracer.begin(parent, kind, &self.common, at, write)
    }

    fn edge(&self) -> &[KeyValue] {
        self.labels.get(..EDGE).unwrap_or_default()
    }

    /// A call begins (1) or ends (-1).
    pub(super) fn in_flight(&self, of: &Instruments, change: i64) {
        self.in_flight.get_or_init(|| of.in_flight.bind(self.edge())).add(change);
    }

    /// An attempt ended.
    pub(super) fn attempt(&self, of: &Instruments, outcome: &'static str, hedged: bool) {
        let both = [KeyValue::new(names::OUTCOME, outcome), KeyValue::new(names::HEDGED, true)];
        let how = both.get(..if hedged { 2 } else { 1 }).unwrap_or_default();
        let all = || [self.edge(), how].concat();
        let bound = self.attempts.record(&[how], || of.attempts.bind(&all()), |bound| bound.add(1));
        bound.unwrap_or_else(|| of.attempts.add(1, &all()));
    }

    /// A local rule refused.
    pub(super) fn refusal(&self, of: &Instruments, rule: &'static str) {
        let rule = [KeyValue::new(names::REFUSED_BY, rule)];
        let all = || [self.edge(), &rule].concat();
        let bound = self.refusals.record(&[&rule], || of.refusals.bind(&all()), |bound| bound.add(1));
        bound.unwrap_or_else(|| of.refusals.add(1, &all()));
    }

    /// How long it took: an attempt for HTTP, a call for the others, as the conventions have it. `parts` say how it ended.
    pub(super) fn duration(&self, of: &Instruments, took: Duration, parts: &Parts<'_>) {
        let histogram = match self.protocol {
            Protocol::Http => &of.http_client,
            Protocol::Messaging => &of.messaging.operation,
            _ => &of.rpc_client,
        };
        let seconds = took.as_secs_f64();
        let all = || [self.labels.as_slice(), &parts.concat()].concat();
        let bound = self.durations.record(parts, || histogram.bind(&all()), |bound| bound.record(seconds));
        bound.unwrap_or_else(|| histogram.record(seconds, &all()));
    }

    /// A message was sent, or nobody knows. `parts` say how that ended.
    pub(super) fn sent(&self, of: &Instruments, parts: &Parts<'_>) {
        let all = || [self.labels.as_slice(), &parts.concat()].concat();
        let bound = self.sent.record(parts, || of.messaging.sent.bind(&all()), |bound| bound.add(1));
        bound.unwrap_or_else(|| of.messaging.sent.add(1, &all()));
    }
}
