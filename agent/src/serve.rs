//! The server's side of a call, whatever the protocol: its span, its context, its metrics.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuseboard_policy::names;
use fuseboard_policy::shed::Shed;
use opentelemetry::metrics::BoundHistogram;
use opentelemetry::trace::{SpanContext, SpanKind, Status};
use opentelemetry::{Context, KeyValue};
use tokio::time::Instant;

use crate::agent::Inner;
use crate::call::{Protocol, millis};
use crate::context;
use crate::shedding::Place;
use crate::telemetry::{At, Common, Digest, Instruments, Parent, Parts, Series, Span, Table};

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

/// Most kinds of requests whose series are kept at hand; for what comes beyond, they are looked up each time.
const MOST: usize = 1024;

/// What all requests of a kind have in common, worked out once.
#[derive(Debug)]
pub(crate) struct Kinds(Table<Kind>);

impl Default for Kinds {
    fn default() -> Self {
        Self(Table::new(MOST))
    }
}

/// One kind: an operation as it is asked for over one protocol.
#[derive(Debug)]
struct Kind {
    protocol: Protocol,
    /// Of its spans; its attributes are its metrics' labels too.
    common: Arc<Common>,
    durations: Series<BoundHistogram<f64>>,
}

impl Kinds {
    fn get(&self, protocol: Protocol, name: &str, labels: &[KeyValue]) -> Arc<Kind> {
        let digest = Digest::new().text(name).attributes(&[labels]);
        let is =
            |kind: &Kind| kind.protocol == protocol && *kind.common.name == *name && kind.common.attributes == labels;
        let make = || {
            let common = Arc::new(Common { name: name.into(), attributes: labels.to_vec() });
            Kind { protocol, common, durations: Series::default() }
        };
        self.0.with(digest, is, make, Arc::clone).unwrap_or_else(|| Arc::new(make()))
    }
}

impl Kind {
    fn duration(&self, of: &Instruments, took: Duration, parts: &Parts<'_>) {
        let histogram = match self.protocol {
            Protocol::Http => &of.http_server,
            _ => &of.rpc_server,
        };
        let seconds = took.as_secs_f64();
        let all = || [self.common.attributes.as_slice(), &parts.concat()].concat();
        let bound = self.durations.record(parts, || histogram.bind(&all()), |bound| bound.record(seconds));
        bound.unwrap_or_else(|| histogram.record(seconds, &all()));
    }
}

/// A request being answered. Dropping it says that it was cancelled.
pub(crate) struct Served {
    agent: Arc<Inner>,
    cx: Context,
    span: Span,
    kind: Arc<Kind>,
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
        name: impl AsRef<str>,
        inbound: Inbound,
        labels: &[KeyValue],
        details: Vec<KeyValue>,
    ) -> Self {
        let Inbound { parent, deadline, attempt } = inbound;
        let (started, root) = (Instant::now(), Context::new());
        let kind = agent.served.get(protocol, name.as_ref(), labels);
        let parent = Parent::new(parent.as_ref().unwrap_or(&SpanContext::NONE), &root);
        let span = agent.telemetry.tracer.begin(parent, SpanKind::Server, &kind.common, At::Read(started), |record| {
            record.attributes(details);
            if let Some(at) = deadline {
                let left = millis(at.saturating_duration_since(started));
                record.attribute(KeyValue::new(names::DEADLINE_LEFT_MS, left));
            }
        });
        if let Some(instruments) = &agent.telemetry.instruments {
            instruments.answering.add(1);
        }
        let cx = context::with_inbound(&span.within(&root), deadline, attempt);
        Self { agent: agent.clone(), cx, span, kind, started, deadline, place: None, ended: false }
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
        self.span.write(|record| {
            let by = KeyValue::new(names::REFUSED_BY, "shed");
            record.attributes([by.clone(), KeyValue::new(names::SHED, true)]);
            let why = vec![by, KeyValue::new("cause", shed.to_string())];
            record.event(names::REFUSED_EVENT.into(), SystemTime::now(), why);
        });
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
        self.span.ids().clone()
    }

    /// When the caller stops waiting.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The request was answered. An `error` makes the span an error; `attributes` describe the answer.
    pub(crate) fn end(mut self, outcome: &'static str, error: Option<String>, attributes: &[KeyValue]) {
        self.close(outcome, error, attributes);
    }

    fn close(&mut self, outcome: &'static str, error: Option<String>, attributes: &[KeyValue]) {
        self.ended = true;
        // What failed may have failed at once; it says nothing about what the machine can do.
        if let Some(place) = self.place.take().filter(|_| outcome == "success") {
            place.answered();
        }
        let at = Instant::now();
        let error = error.map(|error| KeyValue::new("error.type", error));
        self.span.end(At::Read(at), |record| {
            record.attribute(KeyValue::new(names::OUTCOME, outcome));
            record.attributes(attributes.iter().chain(&error).cloned());
            if let Some(error) = &error {
                record.status(Status::error(error.value.to_string()));
            }
        });
        let Some(instruments) = &self.agent.telemetry.instruments else { return };
        instruments.answering.add(-1);
        self.kind.duration(instruments, at - self.started, &[attributes, error.as_slice()]);
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
        self.close("cancelled", late.then(|| "deadline_exceeded".to_owned()), &[]);
    }
}
