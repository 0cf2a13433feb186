//! A call under way: asks the pipeline, keeps its limits, tells its spans.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuseboard_policy::names;
use fuseboard_policy::pipeline::{self, AttemptKind, AttemptOutcome, Call, GiveUp, Next, Refused};
use http::HeaderMap;
use opentelemetry::trace::{SpanContext, SpanKind, TraceContextExt as _};
use opentelemetry::{Context, KeyValue};
use tokio::time::Instant;

use super::attempt::LiveAttempt;
use super::lane::Lane;
use super::spans::{End, about_call, about_refusal, left_attribute, millis, outcome_word, whole_millis};
use super::{Ended, NoPlace, Protocol, Refusal, Target};
use crate::agent::Inner;
use crate::context;
use crate::control::tell_transitions;
use crate::edges::{Edge, InForce};
use crate::telemetry::{At, Parent, Record, Span};

/// What is to follow an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// Another attempt.
    Again,
    /// The end of another that is under way.
    Wait,
    /// Nothing: the call is over.
    Over,
}

/// A logical call. Dropping it cancels what it started.
pub(crate) struct LiveCall {
    pub(super) agent: Arc<Inner>,
    pub(super) target: Target,
    edge: Arc<Edge>,
    pub(super) in_force: Arc<InForce>,
    /// The pipeline's side; the refusal where it did not even let the call begin.
    pub(super) rules: Result<Call, Refused>,
    /// Where it was begun.
    cx: Context,
    /// The logical span.
    pub(super) span: Span,
    lane: Arc<Lane>,
    started: Instant,
    /// Wait before the next attempt.
    backoff: Option<Duration>,
    attempts: u32,
    ended: bool,
}

impl LiveCall {
    /// Begins a call and opens its span.
    pub(crate) fn begin(agent: &Arc<Inner>, target: Target) -> Self {
        let (cx, started) = (Context::current(), Instant::now());
        let edge = agent.edges.get(&target.service, &target.operation);
        let own = target.limit.and_then(|limit| started.checked_add(limit));
        let deadline = [context::deadline_of(&cx), own].into_iter().flatten().min();
        let inbound = pipeline::Inbound {
            left: deadline.map(|at| at.saturating_duration_since(started)),
            // What cannot be sent again is treated as a retry: nothing is spent on another.
            attempt: if target.replayable { context::inbound_attempt_of(&cx) } else { 2 },
            idempotent: target.idempotent,
        };
        let now = agent.clock.nanos(started);
        let (in_force, rules) = edge.begin(now, inbound);
        let lane = Lane::of(&edge, &target);
        let (above, kind) = (cx.span(), target.protocol.kind());
        let parent = Parent::new(above.span_context(), &cx);
        let span = lane.begin(agent, kind, parent, At::Read(started), |record| {
            about_call(record, &target, &in_force);
            record.attribute(KeyValue::new(names::CALL, true));
            let left = rules.as_ref().map_or(inbound.left, |call| call.left(now));
            record.attributes(left_attribute(left));
            if let Ok(call) = &rules {
                let ms = |key, limit: Option<Duration>| limit.map(|l| KeyValue::new(key, whole_millis(l)));
                record.attributes(ms(names::ATTEMPT_TIMEOUT_MS, call.attempt_timeout()));
                record.attributes(ms(names::OVERALL_TIMEOUT_MS, call.overall_timeout()));
            }
        });
        if let Some(instruments) = &agent.telemetry.instruments {
            lane.in_flight(instruments, 1);
        }
        let (agent, ended) = (agent.clone(), false);
        Self { agent, target, edge, in_force, rules, cx, span, lane, started, backoff: None, attempts: 0, ended }
    }

    /// Whether there may be more than one attempt.
    pub(crate) fn may_repeat(&self) -> bool {
        let settings = &self.in_force.settings;
        settings.hedge.is_some() || settings.retry.as_ref().is_some_and(|retry| retry.max_attempts > Some(1))
    }

    /// The ids of its own span.
    pub(crate) fn span_context(&self) -> SpanContext {
        self.span.ids().clone()
    }

    /// What of the request's headers the balancer hashes; nothing where it does not, or where there is no such header.
    pub(crate) fn balance_key(&self, headers: &HeaderMap) -> Vec<u8> {
        let wanted = self.rules.as_ref().ok().and_then(|call| call.balance_key()?.strip_prefix("header:"));
        wanted.and_then(|name| headers.get(name)).map(|value| value.as_bytes().to_vec()).unwrap_or_default()
    }

    /// The next attempt, after its backoff. `key` is what the balancer hashes.
    ///
    /// # Errors
    /// A local rule refuses: tell it with [`LiveCall::refused`].
    pub(crate) async fn attempt(&mut self, key: &[u8]) -> Result<LiveAttempt, Refusal> {
        if let Some(wait) = self.backoff {
            tokio::time::sleep(wait).await;
        }
        self.someone_to_call().await?;
        let started = Instant::now();
        let now = self.agent.clock.nanos(started);
        if let Some(members) = &self.target.members {
            members.join(self.edge.engine().pool(), now);
        }
        let asked = match &mut self.rules {
            Ok(call) => call.attempt(now, key, rand::random::<f64>),
            Err(refused) => Err(refused.clone()),
        };
        let permit = match asked {
            Ok(permit) => permit,
            Err(refused) => return Err(self.draw_refusal(&refused)),
        };
        let waited = self.backoff.take();
        Ok(self.open(permit, started, waited))
    }

    /// An attempt that was admitted, with its span.
    pub(super) fn open(
        &mut self,
        permit: pipeline::Attempt,
        started: Instant,
        waited: Option<Duration>,
    ) -> LiveAttempt {
        self.attempts = permit.number;
        let span = self.lane.begin(&self.agent, SpanKind::Client, self.parent(), At::Read(started), |record| {
            about_call(record, &self.target, &self.in_force);
            record.attribute(KeyValue::new(names::ATTEMPT, i64::from(permit.number)));
            record.attribute(KeyValue::new(names::BREAKER_STATE, permit.breaker_state));
            if permit.probe {
                record.attribute(KeyValue::new(names::BREAKER_PROBE, true));
            }
            if permit.hedged {
                record.attribute(KeyValue::new(names::HEDGED, true));
            }
            record.attributes(left_attribute(permit.deadline_left));
            if let Some(limit) = permit.timeout {
                record.attribute(KeyValue::new(names::ATTEMPT_TIMEOUT_MS, whole_millis(limit)));
            }
            if permit.number > 1 && self.target.protocol == Protocol::Http {
                record.attribute(KeyValue::new("http.request.resend_count", i64::from(permit.number - 1)));
            }
            if let Some(waited) = waited {
                record.attribute(KeyValue::new(names::BACKOFF_MS, millis(waited)));
            }
        });
        LiveAttempt {
            agent: self.agent.clone(),
            number: permit.number,
            hedged: permit.hedged,
            cx: span.within(&self.cx),
            span,
            lane: self.lane.clone(),
            peer: Vec::new(),
            protocol: self.target.protocol,
            started,
            until: permit.timeout.map(|limit| started + limit),
            permit: Some(permit),
            fault: self.in_force.fault.as_ref().map(|fault| Box::new((fault.clone(), self.target.clone()))),
            slot: None,
            ended: false,
        }
    }

    /// What its attempts' spans hang on.
    fn parent(&self) -> Parent<'_> {
        Parent::new(self.span.ids(), &self.cx)
    }

    /// Waits for the first answer of a source of discovery, where there is one that never answered.
    async fn someone_to_call(&self) -> Result<(), Refusal> {
        let (Some(members), Ok(call)) = (&self.target.members, &self.rules) else { return Ok(()) };
        if members.is_anyone() {
            return Ok(());
        }
        let now = Instant::now();
        let left = [call.left(self.agent.clock.nanos(now)), call.attempt_timeout()].into_iter().flatten().min();
        members.ready(left.and_then(|left| now.checked_add(left))).await.map_err(|none| {
            let refusal = self.target.refusal(none.rule, none.cause, "unavailable".to_owned());
            self.draw(&refusal, |_| {});
            refusal
        })
    }

    /// An admitted attempt has nowhere to go: its permit goes back, its span becomes the refusal's, and the call is to end.
    pub(crate) fn no_place(&self, mut attempt: LiveAttempt, none: NoPlace) -> Refusal {
        let refusal = self.target.refusal(none.rule, none.cause, "unavailable".to_owned());
        attempt.refuse(&refusal);
        refusal
    }

    /// An attempt ended. What is to follow.
    pub(crate) fn settle(&mut self, attempt: LiveAttempt, ended: &Ended) -> Then {
        match self.report(attempt, ended) {
            Next::Retry { after } => {
                self.backoff = Some(after);
                Then::Again
            }
            Next::Wait => Then::Wait,
            Next::Done => Then::Over,
            Next::GiveUp { why } => {
                if outcome_word(ended) != "success" {
                    self.gave_up(why);
                }
                Then::Over
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
        self.span.write(|record| record.attribute(KeyValue::new(names::REFUSED_BY, refusal.rule)));
        self.close("refused", Some(&Ended::with(refusal.code.clone())));
    }

    fn report(&mut self, mut attempt: LiveAttempt, ended: &Ended) -> Next {
        let at = Instant::now();
        let kind = match &*ended.code {
            _ if ended.timed_out => AttemptKind::TimedOut,
            "ok" => AttemptKind::Success,
            code if ended.never_sent => AttemptKind::NeverSent { code },
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
            (Ok(call), Some(permit)) => call.finish(permit, self.agent.clock.nanos(at), outcome, rand::random::<f64>()),
            _ => Next::Done,
        };
        tell_transitions(&self.agent, &self.edge, Some(&attempt.cx));
        attempt.close(at, outcome_word(ended), Some(ended));
        next
    }

    /// A refused attempt is a span too, without length, so that the console can draw it.
    fn draw_refusal(&self, refused: &Refused) -> Refusal {
        let code = refused.by.code().to_owned();
        let refusal = self.target.refusal(refused.by.as_str(), refused.cause.to_string(), code);
        self.draw(&refusal, |record| {
            record.attribute(KeyValue::new(names::BREAKER_STATE, refused.breaker_state));
            if let Some(waited) = self.backoff {
                record.attribute(KeyValue::new(names::BACKOFF_MS, millis(waited)));
            }
        });
        refusal
    }

    pub(super) fn draw(&self, refusal: &Refusal, more: impl FnOnce(&mut Record)) {
        let (at, wall) = (At::Read(Instant::now()), SystemTime::now());
        let span = self.lane.begin(&self.agent, SpanKind::Client, self.parent(), at, |record| {
            about_call(record, &self.target, &self.in_force);
            more(record);
            record.attribute(KeyValue::new(names::ATTEMPT, i64::from(self.attempts + 1)));
            about_refusal(record, refusal, wall);
        });
        span.end(at, |_| {});
        if let Some(instruments) = &self.agent.telemetry.instruments {
            self.lane.refusal(instruments, refusal.rule);
        }
    }

    /// Says on the span of a failed call why there is no further attempt. One that the budget refused is drawn like any
    /// refusal.
    fn gave_up(&self, why: GiveUp) {
        let word = match why {
            GiveUp::NoRetry | GiveUp::Cancelled => return,
            GiveUp::AlreadyRetry if !self.target.replayable => "not_replayable",
            why => why.as_str(),
        };
        self.span.write(|record| record.attribute(KeyValue::new(names::GAVE_UP, word)));
        if why == GiveUp::Budget {
            let cause = "the retry budget of the edge is spent".to_owned();
            let refusal = self.target.refusal("retry_budget", cause, "unavailable".to_owned());
            self.draw(&refusal, |_| {});
        }
    }

    fn close(&mut self, outcome: &'static str, ended: Option<&Ended>) {
        self.ended = true;
        let (at, end) = (Instant::now(), End::new(outcome, ended));
        self.span.end(At::Read(at), |record| {
            record.attribute(KeyValue::new(names::ATTEMPTS, i64::from(self.attempts)));
            end.write(record);
        });
        let Some(instruments) = &self.agent.telemetry.instruments else { return };
        self.lane.in_flight(instruments, -1);
        if self.target.protocol != Protocol::Http {
            self.lane.duration(instruments, at - self.started, &end.labels());
        }
        // What a local rule refused was not sent.
        if self.target.protocol == Protocol::Messaging && self.attempts > 0 {
            self.lane.sent(instruments, &end.labels());
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
