//! The server's side of a call, whatever the protocol: its span, its context, its metrics.

use std::borrow::Cow;
use std::sync::Arc;

use fuseboard_policy::names;
use fuseboard_policy::shed::Shed;
use opentelemetry::trace::{SpanContext, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};
use tokio::time::Instant;

use crate::agent::Inner;
use crate::call::{Protocol, millis};
use crate::context;
use crate::shedding::Place;

/// What came with a request.
#[derive(Debug, Default)]
pub(crate) struct Inbound {
    /// The caller's span.
    pub(crate) parent: Option<SpanContext>,
    /// When the caller stops waiting.
    pub(crate) deadline: Option<Instant>,
    /// Which attempt of the caller's call it is.
    pub(crate) attempt: Option<u32>,
}

/// A request being answered. Dropping it says that it was cancelled.
pub(crate) struct Served {
    agent: Arc<Inner>,
    cx: Context,
    protocol: Protocol,
    labels: Vec<KeyValue>,
    started: Instant,
    deadline: Option<Instant>,
    /// Its place among those in flight, where requests may be shed.
    place: Option<Place>,
    ended: bool,
}

impl Served {
    /// Opens the span of a request. `labels` go on the span and on the metrics, `details` on the span only.
    pub(crate) fn begin(
        agent: &Arc<Inner>,
        protocol: Protocol,
        name: impl Into<Cow<'static, str>>,
        inbound: Inbound,
        labels: Vec<KeyValue>,
        mut details: Vec<KeyValue>,
    ) -> Self {
        let started = Instant::now();
        let parent = match inbound.parent {
            Some(remote) => Context::new().with_remote_span_context(remote),
            None => Context::new(),
        };
        details.extend(labels.iter().cloned());
        if let Some(at) = inbound.deadline {
            let left = millis(at.saturating_duration_since(started));
            details.push(KeyValue::new(names::DEADLINE_LEFT_MS, left));
        }
        let tracer = &agent.telemetry.tracer;
        let span = tracer
            .span_builder(name)
            .with_kind(SpanKind::Server)
            .with_attributes(details)
            .start_with_context(tracer, &parent);
        if let Some(instruments) = &agent.telemetry.instruments {
            instruments.answering.add(1, &[]);
        }
        let cx = context::with_inbound(&parent.with_span(span), inbound.deadline, inbound.attempt);
        let (agent, deadline) = (agent.clone(), inbound.deadline);
        Self { agent, cx, protocol, labels, started, deadline, place: None, ended: false }
    }

    /// Asks whether the machine can take the request. Where it cannot, the request must be refused: the span says why, and how
    /// it is answered with [`Served::end`].
    ///
    /// # Errors
    /// The numbers.
    pub(crate) fn admit(&mut self) -> Result<(), Shed> {
        let shed = match self.agent.edges.own.admit(self.started) {
            Ok(place) => {
                self.place = place;
                return Ok(());
            }
            Err(shed) => shed,
        };
        let by = KeyValue::new(names::REFUSED_BY, "shed");
        let span = self.cx.span();
        span.set_attributes([by.clone(), KeyValue::new(names::SHED, true)]);
        span.add_event(names::REFUSED_EVENT, vec![by, KeyValue::new("cause", shed.to_string())]);
        if let Some(instruments) = &self.agent.telemetry.instruments {
            instruments.shed.add(1, &[]);
        }
        Err(shed)
    }

    /// The context for the handler.
    pub(crate) fn cx(&self) -> Context {
        self.cx.clone()
    }

    /// The ids of its span.
    pub(crate) fn span_context(&self) -> SpanContext {
        self.cx.span().span_context().clone()
    }

    /// When the caller stops waiting.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The request was answered. An `error` makes the span an error; `attributes` describe the answer.
    pub(crate) fn end(mut self, outcome: &'static str, error: Option<String>, attributes: Vec<KeyValue>) {
        self.close(outcome, error, attributes);
    }

    fn close(&mut self, outcome: &'static str, error: Option<String>, attributes: Vec<KeyValue>) {
        self.ended = true;
        // What failed may have failed at once; it says nothing about what the machine can do.
        if let Some(place) = self.place.take().filter(|_| outcome == "success") {
            place.answered();
        }
        let span = self.cx.span();
        span.set_attribute(KeyValue::new(names::OUTCOME, outcome));
        span.set_attributes(attributes.iter().cloned());
        let mut labels = std::mem::take(&mut self.labels);
        labels.extend(attributes);
        if let Some(error) = error {
            let kind = KeyValue::new("error.type", error.clone());
            span.set_attribute(kind.clone());
            labels.push(kind);
            span.set_status(Status::error(error));
        }
        span.end();
        let Some(instruments) = &self.agent.telemetry.instruments else { return };
        instruments.answering.add(-1, &[]);
        let histogram = match self.protocol {
            Protocol::Http => &instruments.http_server,
            Protocol::Grpc | Protocol::Tarpc | Protocol::Messaging => &instruments.rpc_server,
        };
        histogram.record(self.started.elapsed().as_secs_f64(), &labels);
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        // The handler's future was dropped: the caller hung up, or its time had run out.
        let late = self.deadline.is_some_and(|at| at <= Instant::now());
        // A caller that hung up is no error of the one that was asked.
        self.close("cancelled", late.then(|| "deadline_exceeded".to_owned()), Vec::new());
    }
}
