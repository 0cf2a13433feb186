//! The rules before a message is processed: the same engine as around a call, on the edge *consumer → destination*, operation
//! [`PROCESS`].

use std::sync::Arc;
use std::time::Duration;

use fuseboard_policy::pipeline::{Attempt, AttemptKind, AttemptOutcome, Call, Inbound, Refused, RefusedBy};
use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt as _;
use tokio::time::{Instant, sleep};

use super::PROCESS;
use crate::agent::Inner;
use crate::control::tell_transitions;
use crate::edges::{Edge, InForce};

/// Time between two questions to a rule that does not say when it will let a message pass.
const AGAIN: Duration = Duration::from_millis(20);

/// A consumer's rules.
pub(super) struct Gate {
    agent: Arc<Inner>,
    edge: Arc<Edge>,
}

/// The right to process a message. Dropped, it counts for nothing.
pub(super) struct Pass {
    /// What was in force when it was given.
    pub(super) in_force: Arc<InForce>,
    call: Call,
    attempt: Attempt,
}

/// The message is of no use any more.
#[derive(Debug)]
pub(super) struct Expired;

impl Gate {
    pub(super) fn new(agent: &Arc<Inner>, destination: &Arc<str>) -> Self {
        Self { agent: agent.clone(), edge: agent.edges.get(destination, &PROCESS.into()) }
    }

    pub(super) fn in_force(&self) -> Arc<InForce> {
        self.edge.in_force()
    }

    /// Waits until the rules let a message pass. `until` is when it is of no use any more.
    pub(super) async fn enter(&self, until: Option<Instant>) -> Result<Pass, Expired> {
        loop {
            match self.ask(until) {
                Ok(pass) => return Ok(pass),
                Err(Refused { by: RefusedBy::Deadline, .. }) => return Err(Expired),
                Err(refused) => {
                    let now = self.agent.clock.now();
                    let known = refused.probe_at.map(|at| Duration::from_nanos(at.saturating_sub(now)));
                    sleep(known.unwrap_or_default().max(AGAIN)).await;
                }
            }
        }
    }

    fn ask(&self, until: Option<Instant>) -> Result<Pass, Refused> {
        let now = Instant::now();
        let left = until.map(|at| at.saturating_duration_since(now));
        let now = self.agent.clock.nanos(now);
        let (in_force, call) = self.edge.begin(now, Inbound { left, ..Inbound::default() });
        let mut call = call?;
        let attempt = call.attempt(now, b"", rand::random::<f64>)?;
        Ok(Pass { in_force, call, attempt })
    }

    /// The message was processed.
    pub(super) fn leave(&self, pass: Pass, kind: AttemptKind<'_>, cx: &Context) {
        let Pass { mut call, attempt, .. } = pass;
        let span = cx.span().span_context().clone();
        let trace_id = span.is_sampled().then(|| span.trace_id().to_bytes());
        let outcome = AttemptOutcome { trace_id, ..AttemptOutcome::plain(kind) };
        // Whether it is handed out again is not for the rules of a call to say.
        call.finish(attempt, self.agent.clock.now(), outcome, rand::random::<f64>());
        tell_transitions(&self.agent, &self.edge, Some(cx));
    }
}

impl Pass {
    /// How long processing may take; `usual` where no policy says so.
    pub(super) fn limit(&self, usual: Duration) -> Duration {
        let limit = self.call.attempt_timeout().unwrap_or(usual);
        self.attempt.timeout.map_or(limit, |least| least.min(limit))
    }
}
