//! Taking: spans in the producer's trace, linked to it.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;

use fuseboard_policy::names;
use opentelemetry::context::FutureExt;
use opentelemetry::trace::{Link, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};
use tokio::time::Instant;

use super::carry::Incoming;
use super::{PROCESS, Place};
use crate::agent::Inner;
use crate::call::millis;
use crate::propagation::Headers;

/// The receiving side of a destination; see [`crate::Agent::consumer`], and the modules of the brokers for theirs.
#[derive(Clone)]
pub struct Consumer {
    pub(super) agent: Arc<Inner>,
    pub(super) place: Place,
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Consumer {
    pub(crate) fn new(agent: &Arc<Inner>, place: Place) -> Self {
        Self { agent: agent.clone(), place }
    }

    /// The group of consumers that share the messages (`messaging.consumer.group.name`).
    #[must_use]
    pub fn group(mut self, name: impl Into<Arc<str>>) -> Self {
        self.place.group = Some(KeyValue::new("messaging.consumer.group.name", name.into()));
        self
    }

    /// Where the broker is, for the spans.
    #[must_use]
    pub fn server(mut self, host: &str, port: u16) -> Self {
        self.place.server(host, port);
        self
    }

    /// Handles a message in a CONSUMER span that goes on in the producer's trace and links to its span. A deadline of the
    /// producer's does not bind it. An `Err` makes the span an error. What becomes of the message is left to the
    /// application; [`Consumer::run`] settles it as well.
    ///
    /// # Errors
    /// What `work` answers.
    pub async fn process<F, T, E>(&self, headers: &impl Headers, work: F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
        E: Display,
    {
        self.begin(&Incoming::from_headers(headers)).run(work).await
    }

    /// Handles several messages at once, in a span of a trace of its own that links to the producers of all of them.
    ///
    /// # Errors
    /// What `work` answers.
    pub async fn process_batch<'a, H, F, T, E>(&self, headers: impl IntoIterator<Item = &'a H>, work: F) -> Result<T, E>
    where
        H: Headers + 'a,
        F: Future<Output = Result<T, E>>,
        E: Display,
    {
        let all: Vec<_> = headers.into_iter().map(Incoming::from_headers).collect();
        self.begin_batch(&all).run(work).await
    }

    /// Opens the span of a message.
    pub(super) fn begin(&self, one: &Incoming) -> Processing {
        let mut details = one.details.clone();
        details.push(KeyValue::new(names::DELIVERY, i64::from(one.delivery)));
        details.extend(one.lag().map(|lag| KeyValue::new(names::QUEUE_LAG_MS, millis(lag))));
        let parent = match &one.producer {
            Some(producer) => one.baggage.with_remote_span_context(producer.clone()),
            None => one.baggage.clone(),
        };
        self.open(std::slice::from_ref(one), &parent, details)
    }

    fn begin_batch(&self, all: &[Incoming]) -> Processing {
        let count = i64::try_from(all.len()).unwrap_or(i64::MAX);
        self.open(all, &Context::new(), vec![KeyValue::new("messaging.batch.message_count", count)])
    }

    fn open(&self, all: &[Incoming], parent: &Context, mut details: Vec<KeyValue>) -> Processing {
        let labels = self.place.labels(PROCESS, "process");
        if let Some(metrics) = self.agent.telemetry.instruments.as_ref().map(|all| &all.messaging) {
            metrics.consumed.add(u64::try_from(all.len()).unwrap_or(u64::MAX), &labels);
            all.iter().filter_map(Incoming::lag).for_each(|lag| metrics.lag.record(lag.as_secs_f64(), &labels));
        }
        details.extend(self.place.details.iter().chain(&labels).cloned());
        let links = all.iter().filter_map(|one| one.producer.clone()).map(Link::with_context).collect();
        let tracer = &self.agent.telemetry.tracer;
        let span = tracer
            .span_builder(format!("{PROCESS} {}", self.place.destination))
            .with_kind(SpanKind::Consumer)
            .with_attributes(details)
            .with_links(links)
            .start_with_context(tracer, parent);
        let cx = parent.with_span(span);
        Processing { agent: self.agent.clone(), cx, labels, started: Instant::now(), ended: false }
    }
}

/// A message being processed. Dropping it says that it was cancelled.
pub(super) struct Processing {
    agent: Arc<Inner>,
    /// For the handler.
    pub(super) cx: Context,
    labels: Vec<KeyValue>,
    started: Instant,
    ended: bool,
}

impl Processing {
    async fn run<F, T, E>(self, work: F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
        E: Display,
    {
        let result = work.with_context(self.cx.clone()).await;
        match &result {
            Ok(_) => self.end("success", None),
            Err(error) => self.end("failure", Some(("_OTHER", error.to_string()))),
        }
        result
    }

    /// It ended; an error has a type and a text.
    pub(super) fn end(mut self, outcome: &'static str, error: Option<(&'static str, String)>) {
        self.close(outcome, error);
    }

    fn close(&mut self, outcome: &'static str, error: Option<(&'static str, String)>) {
        self.ended = true;
        let span = self.cx.span();
        span.set_attribute(KeyValue::new(names::OUTCOME, outcome));
        if let Some((kind, text)) = error {
            span.set_attribute(KeyValue::new("error.type", kind));
            self.labels.push(KeyValue::new("error.type", kind));
            span.set_status(Status::error(text));
        }
        span.end();
        if let Some(all) = &self.agent.telemetry.instruments {
            all.messaging.process.record(self.started.elapsed().as_secs_f64(), &self.labels);
        }
    }
}

impl Drop for Processing {
    fn drop(&mut self) {
        if !self.ended {
            self.close("cancelled", None);
        }
    }
}
