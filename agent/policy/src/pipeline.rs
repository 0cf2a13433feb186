//! The one place that knows the order of the rules around a call: deadline → retry( breaker → attempt timeout → wire ).
//!
//! Nothing here does IO or waits: layers, rehearsal and previews drive it. A call begins with [`EdgeEngine::begin`]; each
//! attempt asks with [`Call::attempt`] and reports with [`Call::finish`], which says what to do next. A dropped
//! [`Attempt`] gives its permit back and counts for nothing.
//!
//! **What is tried again.** An outcome that `retry.on` lists, of an operation that may be made twice, within attempts,
//! deadline and budget. A request that certainly never left ([`AttemptKind::NeverSent`]) cannot have had an effect: whether
//! the operation may be made twice is not asked for it; everything else is, the budget too, and for the breaker it is a
//! failure like any other (a callee that cannot be reached is not well).

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::backoff::{Attempts, Pushback};
use crate::breaker::{Admission, Breaker, Outcome, Permit};
use crate::codes;
use crate::deadline::Deadline;
use crate::retry_budget::{RetryBudget, TokenOutcome};
use crate::settings::{EdgeSettings, Retry, Timeout};

/// What retries look at where `on` is absent.
pub const DEFAULT_RETRY_ON: [&str; 2] = ["unavailable", "reset"];

/// Which local rule refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusedBy {
    /// The breaker is open, or half open with all probes taken.
    Breaker,
    /// The deadline has passed.
    Deadline,
}

impl RefusedBy {
    /// The word for spans ([`crate::names::REFUSED_BY`]).
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Breaker => "breaker",
            Self::Deadline => "deadline",
        }
    }
}

/// A call or attempt that must not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("refused locally by {}: {cause}", by.as_str())]
pub struct Refused {
    /// The rule.
    pub by: RefusedBy,
    /// The breaker's state in words.
    pub breaker_state: &'static str,
    /// When the breaker lets a probe through, on the engine's clock.
    pub probe_at: Option<u64>,
    /// Why, with numbers.
    pub cause: Arc<str>,
}

/// What is known of a call when it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inbound {
    /// What the caller's own deadline leaves.
    pub left: Option<Duration>,
    /// Which attempt the request that caused this call is itself (1 = not a retry): 2 and more are not retried further.
    pub attempt: u32,
    /// Whether the operation may be made twice.
    pub idempotent: bool,
}

impl Default for Inbound {
    fn default() -> Self {
        Self { left: None, attempt: 1, idempotent: false }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptKind<'a> {
    /// The callee answered well.
    Success,
    /// The callee, or the connection to it, gave this code (see [`crate::codes`]).
    Failure {
        /// A gRPC status name in lower case, an HTTP status, or `reset`, `connect`.
        code: &'a str,
    },
    /// The request certainly never left: no connection could be made. A failure that is safe to try again whatever the
    /// operation does.
    NeverSent {
        /// As for [`AttemptKind::Failure`]: `connect`, for one.
        code: &'a str,
    },
    /// The attempt timeout or the deadline cut it.
    TimedOut,
    /// The caller gave up.
    Cancelled,
}

/// How an attempt ended, with what the reply said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptOutcome<'a> {
    /// How.
    pub kind: AttemptKind<'a>,
    /// The reply's `grpc-retry-pushback-ms`.
    pub pushback: Option<&'a str>,
    /// The reply's `Retry-After`.
    pub retry_after: Option<Duration>,
    /// The attempt's trace where it is sampled, for the breaker's report.
    pub trace_id: Option<[u8; 16]>,
}

impl<'a> AttemptOutcome<'a> {
    /// An outcome of which the reply says nothing more.
    #[must_use]
    pub const fn plain(kind: AttemptKind<'a>) -> Self {
        Self { kind, pushback: None, retry_after: None, trace_id: None }
    }
}

/// What to do after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The call succeeded.
    Done,
    /// Wait, then ask for another attempt.
    Retry {
        /// How long.
        after: Duration,
    },
    /// Hand the failure to the application.
    GiveUp {
        /// Why there is no further attempt.
        why: GiveUp,
    },
}

/// Why a failed call is not tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GiveUp {
    /// The edge has no retries.
    NoRetry,
    /// The caller gave up.
    Cancelled,
    /// The outcome is not one of `retry.on`.
    NotListed,
    /// `max_attempts` are used.
    Attempts,
    /// The operation is not known to be idempotent, and the request may have had an effect.
    NotIdempotent,
    /// The request that caused the call is itself a retry.
    AlreadyRetry,
    /// The reply forbids it.
    Pushback,
    /// The next attempt would not begin before the deadline.
    Deadline,
    /// The retry budget is spent.
    Budget,
}

impl GiveUp {
    /// The word for spans and reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoRetry => "no_retry",
            Self::Cancelled => "cancelled",
            Self::NotListed => "not_listed",
            Self::Attempts => "attempts",
            Self::NotIdempotent => "not_idempotent",
            Self::AlreadyRetry => "already_retry",
            Self::Pushback => "pushback",
            Self::Deadline => "deadline",
            Self::Budget => "retry_budget",
        }
    }
}

/// What does not change while a call runs.
#[derive(Debug, Default)]
struct Plan {
    timeout: Timeout,
    retry: Option<Retry>,
}

impl Plan {
    fn new(settings: &EdgeSettings) -> Self {
        let mut retry = settings.retry.clone();
        if let Some(retry) = &mut retry {
            retry.on.get_or_insert_with(|| DEFAULT_RETRY_ON.map(str::to_owned).to_vec());
        }
        Self { timeout: settings.timeout.clone().unwrap_or_default(), retry }
    }
}

/// The engines of one edge.
#[derive(Debug)]
pub struct EdgeEngine {
    plan: RwLock<Arc<Plan>>,
    /// `None` where no breaker is set; kept across changes so that its counts survive.
    breaker: Breaker,
    budget: RetryBudget,
}

impl EdgeEngine {
    /// Fresh engines.
    #[must_use]
    pub fn new(settings: &EdgeSettings, now: u64) -> Arc<Self> {
        Arc::new(Self {
            plan: RwLock::new(Arc::new(Plan::new(settings))),
            breaker: Breaker::new(&settings.breaker.clone().unwrap_or_default(), now),
            budget: RetryBudget::new(settings.retry.as_ref().and_then(|retry| retry.budget.as_ref())),
        })
    }

    /// Other settings from the next call on. Counts, open state, timers and spent budgets are kept; a change of the
    /// breaker's mode starts it clean. Calls that run keep the timeouts and retries they began with.
    pub fn reconfigure(&self, settings: &EdgeSettings, now: u64) {
        *self.plan.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Plan::new(settings));
        self.breaker.reconfigure(&settings.breaker.clone().unwrap_or_default(), now);
        self.budget.reconfigure(settings.retry.as_ref().and_then(|retry| retry.budget.as_ref()));
    }

    /// Looks at leases and at calls in flight; call it about every 100 ms.
    pub fn tick(&self, now: u64) {
        self.breaker.tick(now);
    }

    /// The breaker. Without settings for one it never trips.
    #[must_use]
    pub fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// A call begins.
    ///
    /// # Errors
    /// The deadline has already passed.
    pub fn begin(self: &Arc<Self>, now: u64, inbound: Inbound) -> Result<Call, Refused> {
        let plan = Arc::clone(&self.plan.read().unwrap_or_else(PoisonError::into_inner));
        let deadline = Deadline::begin(now, &plan.timeout, inbound.left);
        let retry = plan.retry.as_ref();
        let most = retry.and_then(|retry| retry.max_attempts).unwrap_or(1);
        let backoff = retry.and_then(|retry| retry.backoff.clone()).unwrap_or_default();
        let attempts = Attempts::new(Some(u64::from(most)), &backoff);
        let call = Call { engine: Arc::clone(self), plan, deadline, inbound, attempts, asked: 0 };
        call.check_deadline(now)?;
        self.budget.deposit(now, 1);
        Ok(call)
    }
}

/// One call of the application, with its attempts.
#[derive(Debug)]
pub struct Call {
    engine: Arc<EdgeEngine>,
    plan: Arc<Plan>,
    deadline: Deadline,
    inbound: Inbound,
    attempts: Attempts,
    /// Attempts admitted.
    asked: u32,
}

/// The right to one try on the wire. Report it with [`Call::finish`]; dropped, it counts for nothing.
#[derive(Debug)]
pub struct Attempt {
    /// Position in the call, from 1.
    pub number: u32,
    /// Cut it after this.
    pub timeout: Option<Duration>,
    /// What the deadline left when it began; send it on.
    pub deadline_left: Option<Duration>,
    /// Whether it is a probe of a half-open breaker.
    pub probe: bool,
    /// Whether the breaker would have refused it, were it not in shadow mode.
    pub would_refuse: bool,
    /// The breaker's state in words when it was admitted.
    pub breaker_state: &'static str,
    permit: Option<Permit>,
    engine: Arc<EdgeEngine>,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            self.engine.breaker.give_back(permit);
        }
    }
}

impl Call {
    /// The attempt timeout in force.
    #[must_use]
    pub fn attempt_timeout(&self) -> Option<Duration> {
        self.plan.timeout.attempt_ms.map(Duration::from_millis)
    }

    /// The overall timeout in force.
    #[must_use]
    pub fn overall_timeout(&self) -> Option<Duration> {
        self.plan.timeout.overall_ms.map(Duration::from_millis)
    }

    /// What the deadline leaves; `None` without one.
    #[must_use]
    pub fn left(&self, now: u64) -> Option<Duration> {
        self.deadline.left(now)
    }

    /// Attempts made so far.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.asked
    }

    /// Asks for an attempt, the first or one after [`Next::Retry`].
    ///
    /// # Errors
    /// A local rule refuses; that ends the call and is not to be retried.
    pub fn attempt(&mut self, now: u64) -> Result<Attempt, Refused> {
        self.check_deadline(now)?;
        match self.engine.breaker.admit(now) {
            Admission::Refused(refusal) => Err(Refused {
                by: RefusedBy::Breaker,
                breaker_state: refusal.state,
                probe_at: refusal.probe_at,
                cause: refusal.cause,
            }),
            Admission::Admitted(permit) => {
                self.asked = self.asked.saturating_add(1);
                Ok(Attempt {
                    number: self.asked,
                    timeout: self.deadline.attempt_limit(now, &self.plan.timeout),
                    deadline_left: self.deadline.left(now),
                    probe: permit.is_probe(),
                    would_refuse: permit.would_refuse(),
                    breaker_state: permit.state(),
                    permit: Some(permit),
                    engine: Arc::clone(&self.engine),
                })
            }
        }
    }

    /// Reports how an attempt ended and tells what to do next. `draw` is a uniform number in [0, 1) for the backoff.
    pub fn finish(&mut self, mut attempt: Attempt, now: u64, outcome: AttemptOutcome<'_>, draw: f64) -> Next {
        let counts_as = match outcome.kind {
            AttemptKind::Success => Outcome::Success,
            AttemptKind::TimedOut => Outcome::Failure,
            AttemptKind::Cancelled => Outcome::Cancelled,
            AttemptKind::NeverSent { .. } => Outcome::Failure,
            AttemptKind::Failure { code } => codes::breaker_outcome(code),
        };
        if let Some(permit) = attempt.permit.take() {
            self.engine.breaker.finish_traced(permit, now, counts_as, outcome.trace_id);
        }
        let code = match outcome.kind {
            AttemptKind::Success => {
                self.engine.budget.outcome(TokenOutcome::Success, 1);
                return Next::Done;
            }
            AttemptKind::Cancelled => return Next::GiveUp { why: GiveUp::Cancelled },
            AttemptKind::TimedOut => "deadline_exceeded",
            AttemptKind::Failure { code } | AttemptKind::NeverSent { code } => code,
        };
        match self.retry(now, code, &outcome, draw) {
            Ok(after) => Next::Retry { after },
            Err(why) => Next::GiveUp { why },
        }
    }

    fn retry(&mut self, now: u64, code: &str, outcome: &AttemptOutcome<'_>, draw: f64) -> Result<Duration, GiveUp> {
        let Some(retry) = &self.plan.retry else { return Err(GiveUp::NoRetry) };
        let budget = &self.engine.budget;
        let listed = retry.on.as_deref().is_some_and(|on| codes::is_listed(on, code));
        let pushback = outcome.pushback.map(Pushback::parse);
        let costs = listed || pushback == Some(Pushback::Stop);
        budget.outcome(if costs { TokenOutcome::Retryable } else { TokenOutcome::Other }, 1);
        if !listed {
            return Err(GiveUp::NotListed);
        }
        let harmless = self.inbound.idempotent || matches!(outcome.kind, AttemptKind::NeverSent { .. });
        if !harmless && !retry.non_idempotent.unwrap_or(false) {
            return Err(GiveUp::NotIdempotent);
        }
        if self.inbound.attempt >= 2 {
            return Err(GiveUp::AlreadyRetry);
        }
        if self.attempts.used_up() {
            return Err(GiveUp::Attempts);
        }
        let after = self.attempts.failed(pushback, || draw).ok_or(GiveUp::Pushback)?;
        // A pushback is exact; otherwise the reply may ask for more patience than the backoff has.
        let delay = if pushback.is_some() { after } else { after.max(outcome.retry_after.unwrap_or_default()) };
        if !self.deadline.allows_retry(now, delay) {
            return Err(GiveUp::Deadline);
        }
        // Last, so that nothing is spent on a retry that is not made.
        if budget.withdraw(now, 1) == 0 {
            return Err(GiveUp::Budget);
        }
        Ok(delay)
    }

    fn check_deadline(&self, now: u64) -> Result<(), Refused> {
        if !self.deadline.expired(now) {
            return Ok(());
        }
        Err(Refused {
            by: RefusedBy::Deadline,
            breaker_state: self.engine.breaker.state_name(),
            probe_at: None,
            cause: "the deadline has passed".into(),
        })
    }
}
