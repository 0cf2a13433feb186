//! A call under way: asks the pipeline, keeps its limits, tells its spans.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuseboard_policy::codes::breaker_outcome;
use fuseboard_policy::names;
use fuseboard_policy::pipeline::{self, AttemptKind, AttemptOutcome, Call, GiveUp, Next, Refused};
use fuseboard_policy::settings::Fault;
use opentelemetry::context::FutureExt;
use opentelemetry::trace::{SpanContext, SpanKind, SpanRef, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};
use tokio::time::Instant;

use super::{Ended, Protocol, Pushback, Refusal, Sent, Target};
use crate::agent::Inner;
use crate::context;
use crate::control::tell_transitions;
use crate::edges::{Edge, InForce};

/// A logical call. Dropping it cancels what it started.
pub(crate) struct LiveCall {
    agent: Arc<Inner>,
    target: Target,
    edge: Arc<Edge>,
    in_force: Arc<InForce>,
    /// The pipeline's side; the refusal where it did not even let the call begin.
    rules: Result<Call, Refused>,
    /// With the logical span.
    cx: Context,
    labels: Vec<KeyValue>,
    started: Instant,
    /// Wait before the next attempt.
    backoff: Option<Duration>,
    attempts: u32,
    ended: bool,
}

/// One attempt on the wire. Dropping it cancels it and gives its permit back.
pub(crate) struct LiveAttempt {
    agent: Arc<Inner>,
    /// Taken when it is settled.
    permit: Option<pipeline::Attempt>,
    number: u32,
    /// With the attempt's span: what goes into the headers.
    cx: Context,
    labels: Vec<KeyValue>,
    protocol: Protocol,
    started: Instant,
    until: Option<Instant>,
    fault: Option<(Fault, Target)>,
    ended: bool,
}

impl LiveCall {
    /// Begins a call and opens its span.
    pub(crate) fn begin(agent: &Arc<Inner>, target: Target) -> Self {
        let (parent, started) = (Context::current(), Instant::now());
        let edge = agent.edges.get(&target.service, &target.operation);
        let own = target.limit.map(|limit| started + limit);
        let deadline = [context::deadline_of(&parent), own].into_iter().flatten().min();
        let inbound = pipeline::Inbound {
            left: deadline.map(|at| at.saturating_duration_since(started)),
            // What cannot be sent again is treated as a retry: nothing is spent on another.
            attempt: if target.replayable { context::inbound_attempt_of(&parent) } else { 2 },
            idempotent: target.idempotent,
        };
        let now = agent.clock.nanos(started);
        let (in_force, rules) = edge.begin(now, inbound);
        let mut labels = vec![
            KeyValue::new(names::PEER_SERVICE, target.service.clone()),
            KeyValue::new(names::OPERATION, edge.operation.clone()),
        ];
        labels.extend(target.attributes.iter().cloned());
        let mut attributes = span_attributes(&target, &in_force);
        attributes.push(KeyValue::new(names::CALL, true));
        if let Ok(call) = &rules {
            attributes.extend(left_attribute(call.left(now)));
            let ms = |key, limit: Option<Duration>| limit.map(|l| KeyValue::new(key, whole_millis(l)));
            attributes.extend(ms(names::ATTEMPT_TIMEOUT_MS, call.attempt_timeout()));
            attributes.extend(ms(names::OVERALL_TIMEOUT_MS, call.overall_timeout()));
        } else {
            attributes.extend(left_attribute(inbound.left));
        }
        let cx = open_span(agent, &parent, &target, attributes);
        agent.telemetry.instruments.in_flight.add(1, &labels[..2]);
        let (agent, ended) = (agent.clone(), false);
        Self { agent, target, edge, in_force, rules, cx, labels, started, backoff: None, attempts: 0, ended }
    }

    /// The next attempt, after its backoff.
    ///
    /// # Errors
    /// A local rule refuses: tell it with [`LiveCall::refused`].
    pub(crate) async fn attempt(&mut self) -> Result<LiveAttempt, Refusal> {
        if let Some(wait) = self.backoff {
            tokio::time::sleep(wait).await;
        }
        let started = Instant::now();
        let now = self.agent.clock.nanos(started);
        let asked = match &mut self.rules {
            Ok(call) => call.attempt(now),
            Err(refused) => Err(refused.clone()),
        };
        let permit = match asked {
            Ok(permit) => permit,
            Err(refused) => return Err(self.draw_refusal(&refused)),
        };
        self.attempts = permit.number;
        let mut attributes = span_attributes(&self.target, &self.in_force);
        attributes.push(KeyValue::new(names::ATTEMPT, i64::from(permit.number)));
        attributes.push(KeyValue::new(names::BREAKER_STATE, permit.breaker_state));
        if permit.probe {
            attributes.push(KeyValue::new(names::BREAKER_PROBE, true));
        }
        attributes.extend(left_attribute(permit.deadline_left));
        if let Some(limit) = permit.timeout {
            attributes.push(KeyValue::new(names::ATTEMPT_TIMEOUT_MS, whole_millis(limit)));
        }
        if permit.number > 1 && self.target.protocol == Protocol::Http {
            attributes.push(KeyValue::new("http.request.resend_count", i64::from(permit.number - 1)));
        }
        if let Some(waited) = self.backoff.take() {
            attributes.push(KeyValue::new(names::BACKOFF_MS, millis(waited)));
        }
        Ok(LiveAttempt {
            agent: self.agent.clone(),
            number: permit.number,
            cx: open_span(&self.agent, &self.cx, &self.target, attributes),
            labels: self.labels.clone(),
            protocol: self.target.protocol,
            started,
            until: permit.timeout.map(|limit| started + limit),
            permit: Some(permit),
            fault: self.in_force.fault.as_ref().map(|fault| (fault.clone(), self.target.clone())),
            ended: false,
        })
    }

    /// An attempt ended. Whether there is to be another.
    pub(crate) fn settle(&mut self, attempt: LiveAttempt, ended: &Ended) -> bool {
        match self.report(attempt, ended) {
            Next::Retry { after } => {
                self.backoff = Some(after);
                true
            }
            Next::Done => false,
            Next::GiveUp { why } => {
                self.gave_up(why);
                false
            }
        }
    }

    /// The last attempt ended, and nothing may follow: the application has a part of the answer already.
    pub(crate) fn commit(mut self, attempt: LiveAttempt, ended: &Ended) {
        self.report(attempt, ended);
        self.finish(ended);
    }

    /// The call ended with its last attempt.
    pub(crate) fn finish(mut self, ended: &Ended) {
        self.close(outcome_word(ended), Some(ended));
    }

    /// The call ended with a refusal.
    pub(crate) fn refused(mut self, refusal: &Refusal) {
        self.cx.span().set_attribute(KeyValue::new(names::REFUSED_BY, refusal.rule));
        self.close("refused", Some(&Ended::with(refusal.code.clone())));
    }

    fn report(&mut self, mut attempt: LiveAttempt, ended: &Ended) -> Next {
        let now = self.agent.clock.now();
        let kind = match &*ended.code {
            _ if ended.timed_out => AttemptKind::TimedOut,
            "ok" => AttemptKind::Success,
            code => AttemptKind::Failure { code },
        };
        let ids = attempt.span_context();
        let pushback = ended.pushback.as_header();
        let outcome = AttemptOutcome {
            kind,
            pushback: pushback.as_deref(),
            retry_after: ended.retry_after,
            trace_id: ids.is_sampled().then(|| ids.trace_id().to_bytes()),
        };
        let next = match (&mut self.rules, attempt.permit.take()) {
            (Ok(call), Some(permit)) => call.finish(permit, now, outcome, rand::random::<f64>()),
            _ => Next::Done,
        };
        tell_transitions(&self.agent, &self.edge, Some(&attempt.cx));
        attempt.close(outcome_word(ended), Some(ended));
        next
    }

    /// A refused attempt is a span too, without length, so that the console can draw it.
    fn draw_refusal(&self, refused: &Refused) -> Refusal {
        let rule = refused.by.as_str();
        let code = if rule == "deadline" { "deadline_exceeded" } else { "unavailable" };
        let refusal = refusal(&self.target, rule, refused.cause.to_string(), code.to_owned());
        let mut attributes = span_attributes(&self.target, &self.in_force);
        attributes.push(KeyValue::new(names::BREAKER_STATE, refused.breaker_state));
        if let Some(waited) = self.backoff {
            attributes.push(KeyValue::new(names::BACKOFF_MS, millis(waited)));
        }
        self.draw(&refusal, attributes);
        refusal
    }

    fn draw(&self, refusal: &Refusal, mut attributes: Vec<KeyValue>) {
        attributes.push(KeyValue::new(names::ATTEMPT, i64::from(self.attempts + 1)));
        attributes.push(KeyValue::new(names::REFUSED_BY, refusal.rule));
        attributes.push(KeyValue::new(names::OUTCOME, "refused"));
        attributes.push(KeyValue::new("error.type", "refused"));
        let tracer = &self.agent.telemetry.tracer;
        let at = SystemTime::now();
        let span = tracer
            .span_builder(self.target.operation.to_string())
            .with_kind(SpanKind::Client)
            .with_start_time(at)
            .with_attributes(attributes)
            .start_with_context(tracer, &self.cx);
        let cx = self.cx.with_span(span);
        let why = vec![KeyValue::new(names::REFUSED_BY, refusal.rule), KeyValue::new("cause", refusal.cause.clone())];
        cx.span().add_event_with_timestamp(names::REFUSED_EVENT, at, why);
        cx.span().set_status(Status::error(refusal.cause.clone()));
        cx.span().end_with_timestamp(at);
        let mut labels = self.labels[..2].to_vec();
        labels.push(KeyValue::new(names::REFUSED_BY, refusal.rule));
        self.agent.telemetry.instruments.refusals.add(1, &labels);
    }

    /// Says on the span why there is no further attempt. One that the budget refused is drawn like any refusal.
    fn gave_up(&self, why: GiveUp) {
        if why == GiveUp::AlreadyRetry && !self.target.replayable {
            self.cx.span().set_attribute(KeyValue::new(super::GAVE_UP, "not_replayable"));
            return;
        }
        self.cx.span().set_attribute(KeyValue::new(super::GAVE_UP, why.as_str()));
        if why == GiveUp::Budget {
            let cause = "the retry budget of the edge is spent".to_owned();
            let refusal = refusal(&self.target, "retry_budget", cause, "unavailable".to_owned());
            self.draw(&refusal, span_attributes(&self.target, &self.in_force));
        }
    }

    fn close(&mut self, outcome: &'static str, ended: Option<&Ended>) {
        self.ended = true;
        let span = self.cx.span();
        span.set_attribute(KeyValue::new(names::OUTCOME, outcome));
        span.set_attribute(KeyValue::new(super::ATTEMPTS, i64::from(self.attempts)));
        let labels = describe(&span, &self.labels, outcome, ended);
        span.end();
        let instruments = &self.agent.telemetry.instruments;
        instruments.in_flight.add(-1, &self.labels[..2]);
        if self.target.protocol != Protocol::Http {
            instruments.rpc_client.record(self.started.elapsed().as_secs_f64(), &labels);
        }
    }
}

impl Drop for LiveCall {
    fn drop(&mut self) {
        if !self.ended {
            self.close("cancelled", None);
        }
    }
}

impl LiveAttempt {
    /// Which attempt this is, from 1.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// The ids to send.
    pub(crate) fn span_context(&self) -> SpanContext {
        self.cx.span().span_context().clone()
    }

    /// When the attempt is cut.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// What the callee may take.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.until.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Notes where the attempt went.
    pub(crate) fn peer(&mut self, host: &str, port: Option<u16>) {
        let mut where_to = vec![KeyValue::new("server.address", host.to_owned())];
        where_to.extend(port.map(|port| KeyValue::new("server.port", i64::from(port))));
        self.cx.span().set_attributes(where_to.iter().cloned());
        if self.protocol == Protocol::Http {
            self.labels.extend(where_to);
        }
    }

    /// Runs the sending in the attempt's context and cuts it at the attempt's limit.
    pub(crate) async fn run<F: Future>(&self, sending: F) -> Sent<F::Output> {
        let sending = async {
            match self.inject_fault().await {
                Some(abort) => Sent::Aborted(abort),
                None => Sent::Got(sending.await),
            }
        };
        let sending = sending.with_context(self.cx.clone());
        match self.until {
            Some(at) => tokio::time::timeout_at(at, sending).await.unwrap_or(Sent::Cut),
            None => sending.await,
        }
    }

    /// Whether its time is over.
    pub(crate) fn is_overdue(&self) -> bool {
        self.until.is_some_and(|at| at <= Instant::now())
    }

    /// What an operator injected takes the callee's place: it fills the breaker's window and is tried again as the
    /// callee's own delays and failures are.
    async fn inject_fault(&self) -> Option<Refusal> {
        let (fault, target) = self.fault.as_ref()?;
        if fault.delay_ms > 0 && rand::random::<f64>() < fault.delay_ratio {
            self.cx.span().set_attribute(KeyValue::new(super::FAULT, true));
            tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
        }
        if rand::random::<f64>() >= fault.abort_ratio {
            return None;
        }
        self.cx.span().set_attribute(KeyValue::new(super::FAULT, true));
        let cause = format!("an injected fault aborts {:.0} % of the attempts", fault.abort_ratio * 100.0);
        Some(refusal(target, "fault", cause, fault.abort_code.clone()))
    }

    fn close(&mut self, outcome: &'static str, ended: Option<&Ended>) {
        self.ended = true;
        let span = self.cx.span();
        span.set_attribute(KeyValue::new(names::OUTCOME, outcome));
        let labels = describe(&span, &self.labels, outcome, ended);
        span.end();
        let instruments = &self.agent.telemetry.instruments;
        if self.protocol == Protocol::Http {
            instruments.http_client.record(self.started.elapsed().as_secs_f64(), &labels);
        }
        let counted = [&self.labels[..2], &[KeyValue::new(names::OUTCOME, outcome)]].concat();
        instruments.attempts.add(1, &counted);
    }
}

impl Drop for LiveAttempt {
    fn drop(&mut self) {
        if !self.ended {
            self.close("cancelled", None);
        }
    }
}

fn refusal(target: &Target, rule: &'static str, cause: String, code: String) -> Refusal {
    let (service, operation) = (target.service.clone(), target.operation.clone());
    Refusal { service, operation, rule, cause, code: code.into() }
}

fn open_span(agent: &Inner, parent: &Context, target: &Target, attributes: Vec<KeyValue>) -> Context {
    let tracer = &agent.telemetry.tracer;
    let span = tracer
        .span_builder(target.operation.to_string())
        .with_kind(SpanKind::Client)
        .with_attributes(attributes)
        .start_with_context(tracer, parent);
    parent.with_span(span)
}

/// What call and attempt spans have in common.
fn span_attributes(target: &Target, in_force: &InForce) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new(names::PEER_SERVICE, target.service.clone()),
        KeyValue::new(names::PEER_SERVICE_OLD, target.service.clone()),
        KeyValue::new(names::OPERATION, target.operation.clone()),
        KeyValue::new(names::REVISION, i64::try_from(in_force.revision).unwrap_or(i64::MAX)),
    ];
    attributes.extend(target.attributes.iter().chain(&target.details).cloned());
    attributes
}

fn left_attribute(left: Option<Duration>) -> Option<KeyValue> {
    left.map(|left| KeyValue::new(names::DEADLINE_LEFT_MS, millis(left)))
}

/// Attributes and status of a span by its end, and the labels for its metrics. Successes leave the status unset, as the
/// conventions want it.
fn describe(span: &SpanRef<'_>, labels: &[KeyValue], outcome: &str, ended: Option<&Ended>) -> Vec<KeyValue> {
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
fn outcome_word(ended: &Ended) -> &'static str {
    if ended.timed_out {
        return "timeout";
    }
    match breaker_outcome(&ended.code) {
        fuseboard_policy::breaker::Outcome::Success => "success",
        fuseboard_policy::breaker::Outcome::Cancelled => "cancelled",
        fuseboard_policy::breaker::Outcome::Failure => "failure",
    }
}

/// Milliseconds as double attributes carry them.
pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn whole_millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Pushback {
    /// As gRPC's header has it.
    fn as_header(self) -> Option<String> {
        match self {
            Self::None => None,
            Self::After(wait) => Some(wait.as_millis().to_string()),
            Self::Never => Some("-1".to_owned()),
        }
    }
}
