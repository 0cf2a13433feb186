//! Queues and topics: a producer's span travels in the message's headers, the consumer's span goes on in its trace and links
//! to it.

use std::future::Future;
use std::sync::Arc;

use opentelemetry::context::FutureExt;
use opentelemetry::trace::{Link, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};

use crate::agent::Inner;
use crate::propagation::{Headers, extract, inject};

/// The sending side of a destination.
#[derive(Clone)]
pub struct Producer {
    agent: Arc<Inner>,
    place: Place,
}

/// The receiving side of a destination.
#[derive(Clone)]
pub struct Consumer {
    agent: Arc<Inner>,
    place: Place,
}

#[derive(Debug, Clone)]
struct Place {
    system: &'static str,
    destination: Arc<str>,
}

impl Place {
    fn attributes(&self, operation: &'static str, kind: &'static str) -> Vec<KeyValue> {
        vec![
            KeyValue::new("messaging.system", self.system),
            KeyValue::new("messaging.destination.name", self.destination.clone()),
            KeyValue::new("messaging.operation.name", operation),
            KeyValue::new("messaging.operation.type", kind),
        ]
    }
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").field("place", &self.place).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Producer {
    pub(crate) fn new(agent: &Arc<Inner>, system: &'static str, destination: String) -> Self {
        Self { agent: agent.clone(), place: Place { system, destination: destination.into() } }
    }

    /// Sends a message in a PRODUCER span: `headers` get the span's ids, then `send` runs with them. An `Err` makes the span
    /// an error.
    ///
    /// # Errors
    /// What `send` answers.
    pub async fn send<H, F, T, E>(&self, mut headers: H, send: impl FnOnce(H) -> F) -> Result<T, E>
    where
        H: Headers,
        F: Future<Output = Result<T, E>>,
        E: std::fmt::Display,
    {
        let tracer = &self.agent.telemetry.tracer;
        let span = tracer
            .span_builder(format!("send {}", self.place.destination))
            .with_kind(SpanKind::Producer)
            .with_attributes(self.place.attributes("send", "send"))
            .start(tracer);
        let cx = Context::current_with_span(span);
        inject(cx.span().span_context(), &mut headers);
        run(cx, async { send(headers).await }).await
    }
}

impl Consumer {
    pub(crate) fn new(agent: &Arc<Inner>, system: &'static str, destination: String) -> Self {
        Self { agent: agent.clone(), place: Place { system, destination: destination.into() } }
    }

    /// Handles a message in a CONSUMER span that goes on in the producer's trace and links to its span. A deadline of the
    /// producer's does not bind it. An `Err` makes the span an error.
    ///
    /// # Errors
    /// What `work` answers.
    pub async fn process<F, T, E>(&self, headers: &impl Headers, work: F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
        E: std::fmt::Display,
    {
        let tracer = &self.agent.telemetry.tracer;
        let mut builder = tracer
            .span_builder(format!("process {}", self.place.destination))
            .with_kind(SpanKind::Consumer)
            .with_attributes(self.place.attributes("process", "process"));
        let mut parent = Context::new();
        if let Some(producer) = extract(headers) {
            builder = builder.with_links(vec![Link::with_context(producer.clone())]);
            parent = parent.with_remote_span_context(producer);
        }
        let span = builder.start_with_context(tracer, &parent);
        run(parent.with_span(span), work).await
    }
}

async fn run<T, E: std::fmt::Display>(cx: Context, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let result = work.with_context(cx.clone()).await;
    if let Err(error) = &result {
        cx.span().set_attribute(KeyValue::new("error.type", "_OTHER"));
        cx.span().set_status(Status::error(error.to_string()));
    }
    cx.span().end();
    result
}
