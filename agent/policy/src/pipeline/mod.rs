//! The one place that knows the order of the rules around a call: deadline → rate → throttle → concurrency →
//! retry( breaker → balance → attempt timeout → wire ).
//!
//! Nothing here does IO or waits: layers, rehearsal and previews drive it. A call begins with [`EdgeEngine::begin`]; each
//! attempt asks with [`Call::attempt`] and reports with [`Call::finish`], which says what to do next. A dropped
//! [`Attempt`] gives its permit back and counts for nothing.
//!
//! **What limits look at.** Rate, throttle and concurrency count calls of the application, not attempts: a call holds its place
//! in flight through its retries. An adaptive concurrency limit learns from attempts, since only they measure the
//! callee: one that it took gives a round trip, one that was cut or that it could not take lowers the limit. For the throttle
//! a call was accepted when any of its attempts was.
//!
//! **What is tried again.** An outcome that `retry.on` lists, of an operation that may be made twice, within attempts,
//! deadline and budget. A request that certainly never left ([`AttemptKind::NeverSent`]) cannot have had an effect: whether
//! the operation may be made twice is not asked for it; everything else is, the budget too, and for the breaker it is a
//! failure like any other (a callee that cannot be reached is not well).

mod words;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::backoff::{Attempts, Pushback};
use crate::breaker::{Admission, Breaker, Outcome, Permit};
use crate::codes;
use crate::concurrency::{ConcurrencyLimiter, Ended, Ticket};
use crate::deadline::Deadline;
use crate::pool::{Pick, Pool, Showed, Tried};
use crate::rate::RateLimiter;
use crate::retry_budget::{RetryBudget, TokenOutcome};
use crate::settings::{EdgeSettings, Retry, Timeout};
use crate::throttle::Throttle;

pub use self::words::{AttemptKind, AttemptOutcome, GiveUp, Inbound, Next, Refused, RefusedBy};

/// What retries look at where `on` is absent.
pub const DEFAULT_RETRY_ON: [&str; 2] = ["unavailable", "reset"];

/// The settings in force and the engines that obey them. A call keeps the plan it begins with to its end.
///
/// Who keeps something of its own beside an edge's settings keeps it together with their plan: both change at once.
#[derive(Debug)]
pub struct Plan {
    timeout: Timeout,
    retry: Option<Retry>,
    /// Of a call that begins.
    attempts: Attempts,
    limits: Limits,
    balance_key: Option<String>,
    lasting: Arc<Lasting>,
}

/// What is used up by calls and tries.
#[derive(Debug, Default)]
struct Limits {
    rate: Option<RateLimiter>,
    throttle: Option<Throttle>,
    concurrency: Option<Arc<ConcurrencyLimiter>>,
    budget: RetryBudget,
}

/// The engines that outlive every change.
#[derive(Debug)]
struct Lasting {
    /// Without settings for one it never trips.
    breaker: Breaker,
    pool: Pool,
}

impl Plan {
    /// The plan after one with the limits `before`, which go on where they are still wanted.
    fn new(settings: &EdgeSettings, before: &Limits, lasting: Arc<Lasting>, now: u64) -> Self {
        let mut retry = settings.retry.clone();
        if let Some(retry) = &mut retry {
            retry.on.get_or_insert_with(|| DEFAULT_RETRY_ON.map(str::to_owned).to_vec());
        }
        let most = retry.as_ref().and_then(|retry| retry.max_attempts).unwrap_or(1);
        let backoff = retry.as_ref().and_then(|retry| retry.backoff.clone()).unwrap_or_default();
        let budget = before.budget.reconfigured(retry.as_ref().and_then(|retry| retry.budget.as_ref()));
        let rate = |new: &_| match &before.rate {
            Some(old) => old.reconfigured(new, now),
            None => RateLimiter::new(new, now),
        };
        let throttle = |new: &_| match &before.throttle {
            Some(old) => old.reconfigured(new, now),
            None => Throttle::new(new, now),
        };
        // The first probe of `vegas` comes after a middling wait; later ones are drawn.
        let concurrency = |new: &_| match &before.concurrency {
            Some(old) => {
                old.reconfigure(new, || 0.5);
                Arc::clone(old)
            }
            None => Arc::new(ConcurrencyLimiter::new(new, || 0.5)),
        };
        Self {
            timeout: settings.timeout.clone().unwrap_or_default(),
            retry,
            attempts: Attempts::new(Some(u64::from(most)), &backoff),
            limits: Limits {
                rate: settings.rate.as_ref().map(rate),
                throttle: settings.throttle.as_ref().map(throttle),
                concurrency: settings.concurrency.as_ref().map(concurrency),
                budget,
            },
            balance_key: settings.balance.as_ref().and_then(|balance| balance.key.clone()),
            lasting,
        }
    }

    /// A call begins. `draw` is a uniform number in [0, 1) for the throttle.
    ///
    /// # Errors
    /// The deadline has already passed, or a limit refuses.
    pub fn begin(self: &Arc<Self>, now: u64, inbound: Inbound, draw: f64) -> Result<Call, Refused> {
        let mut call = Call {
            plan: Arc::clone(self),
            deadline: Deadline::begin(now, &self.timeout, inbound.left),
            inbound,
            attempts: self.attempts.clone(),
            asked: 0,
            in_flight: None,
            accepted: false,
            tried: Tried::default(),
        };
        call.check_deadline(now)?;
        call.check_limits(now, draw)?;
        self.limits.budget.deposit(now, 1);
        Ok(call)
    }
}

/// The engines of one edge.
#[derive(Debug)]
pub struct EdgeEngine {
    plan: ArcSwap<Plan>,
    lasting: Arc<Lasting>,
}

impl EdgeEngine {
    /// Fresh engines.
    #[must_use]
    pub fn new(settings: &EdgeSettings, now: u64) -> Arc<Self> {
        let lasting = Arc::new(Lasting {
            breaker: Breaker::new(&settings.breaker.clone().unwrap_or_default(), now),
            pool: Pool::new(settings.balance.as_ref(), settings.outlier.as_ref(), now),
        });
        let plan = Plan::new(settings, &Limits::default(), Arc::clone(&lasting), now);
        Arc::new(Self { plan: ArcSwap::from_pointee(plan), lasting })
    }

    /// Other settings from the next call on. Counts, open state, timers and spent budgets are kept; a change of the
    /// breaker's mode starts it clean. Calls that run keep the timeouts and retries they began with. Changes follow one
    /// another: who changes an edge from several threads keeps them in order.
    pub fn reconfigure(&self, settings: &EdgeSettings, now: u64) {
        let plan = Plan::new(settings, &self.plan.load().limits, Arc::clone(&self.lasting), now);
        self.plan.store(Arc::new(plan));
        let Lasting { breaker, pool } = &*self.lasting;
        breaker.reconfigure(&settings.breaker.clone().unwrap_or_default(), now);
        pool.reconfigure(settings.balance.as_ref(), settings.outlier.as_ref(), now);
    }

    /// The plan in force.
    #[must_use]
    pub fn plan(&self) -> Arc<Plan> {
        self.plan.load_full()
    }

    /// Looks at leases, at calls in flight and at instances; call it about every 100 ms. `draw` gives uniform numbers in
    /// [0, 1).
    pub fn tick(&self, now: u64, draw: impl FnMut() -> f64) {
        self.lasting.breaker.tick(now);
        self.lasting.pool.tick(now, draw);
    }

    /// The callee's instances. Where none have joined, attempts go wherever the client sends them.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.lasting.pool
    }

    /// The breaker. Without settings for one it never trips.
    #[must_use]
    pub fn breaker(&self) -> &Breaker {
        &self.lasting.breaker
    }

    /// The concurrency limit in force and the calls in flight; `None` without one.
    #[must_use]
    pub fn concurrency(&self) -> Option<(u64, u64)> {
        self.plan.load().limits.concurrency.as_ref().map(|limiter| (limiter.limit(), limiter.in_flight()))
    }

    /// A call begins by the plan in force (see [`Plan::begin`]).
    ///
    /// # Errors
    /// The deadline has already passed, or a limit refuses.
    pub fn begin(&self, now: u64, inbound: Inbound, draw: f64) -> Result<Call, Refused> {
        self.plan().begin(now, inbound, draw)
    }
}

/// One call of the application, with its attempts.
#[derive(Debug)]
pub struct Call {
    plan: Arc<Plan>,
    deadline: Deadline,
    inbound: Inbound,
    attempts: Attempts,
    /// Attempts admitted.
    asked: u32,
    /// Its place among the calls in flight, and how many there were when it came.
    in_flight: Option<(Ticket, u64)>,
    /// Whether the callee took an attempt.
    accepted: bool,
    /// Instances that attempts went to.
    tried: Tried,
}

impl Drop for Call {
    fn drop(&mut self) {
        if let (Some((ticket, _)), Some(limiter)) = (self.in_flight.take(), &self.plan.limits.concurrency) {
            limiter.release(ticket, 0, Ended::Ignored, || 0.0);
        }
    }
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
    started: u64,
    permit: Option<Permit>,
    pick: Option<Pick>,
    plan: Arc<Plan>,
}

impl Attempt {
    /// The instance to send it to; `None` where none have joined.
    #[must_use]
    pub fn endpoint(&self) -> Option<&Arc<str>> {
        self.pick.as_ref().map(Pick::id)
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(pick) = self.pick.take() {
            self.plan.lasting.pool.done(pick, 0, Showed::Nothing);
        }
        if let Some(permit) = self.permit.take() {
            self.plan.lasting.breaker.give_back(permit);
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

    /// What of the call the balancer hashes, as in the settings (`header:x-user-id`); give it to [`Call::attempt`].
    #[must_use]
    pub fn balance_key(&self) -> Option<&str> {
        self.plan.balance_key.as_deref()
    }

    /// Asks for an attempt, the first or one after [`Next::Retry`]. `key` is what the balancer hashes; `draw` gives uniform
    /// numbers in [0, 1) for it.
    ///
    /// # Errors
    /// A local rule refuses; that ends the call and is not to be retried.
    pub fn attempt(&mut self, now: u64, key: &[u8], draw: impl FnMut() -> f64) -> Result<Attempt, Refused> {
        self.check_deadline(now)?;
        match self.plan.lasting.breaker.admit(now) {
            Admission::Refused(refusal) => Err(Refused {
                by: RefusedBy::Breaker,
                breaker_state: refusal.state,
                probe_at: refusal.probe_at,
                cause: refusal.cause,
            }),
            Admission::Admitted(permit) => {
                self.asked = self.asked.saturating_add(1);
                let pick = self.plan.lasting.pool.pick(now, key, &mut self.tried, draw);
                Ok(Attempt {
                    number: self.asked,
                    timeout: self.deadline.attempt_limit(now, &self.plan.timeout),
                    deadline_left: self.deadline.left(now),
                    probe: permit.is_probe(),
                    would_refuse: permit.would_refuse(),
                    breaker_state: permit.state(),
                    started: now,
                    permit: Some(permit),
                    pick,
                    plan: Arc::clone(&self.plan),
                })
            }
        }
    }

    /// Reports how an attempt ended and tells what to do next. `draw` is a uniform number in [0, 1) for the backoff and for
    /// what an adaptive limit draws.
    pub fn finish(&mut self, mut attempt: Attempt, now: u64, outcome: AttemptOutcome<'_>, draw: f64) -> Next {
        let counts_as = match outcome.kind {
            AttemptKind::Success => Outcome::Success,
            AttemptKind::TimedOut => Outcome::Failure,
            AttemptKind::Cancelled => Outcome::Cancelled,
            AttemptKind::NeverSent { .. } => Outcome::Failure,
            AttemptKind::Failure { code } => codes::breaker_outcome(code),
        };
        if let Some(permit) = attempt.permit.take() {
            self.plan.lasting.breaker.finish_traced(permit, now, counts_as, outcome.trace_id);
        }
        if let Some(pick) = attempt.pick.take() {
            let showed = match (counts_as, outcome.kind) {
                (_, AttemptKind::NeverSent { .. }) => Showed::Unreachable,
                (Outcome::Success, _) => Showed::Well,
                (Outcome::Failure, _) => Showed::Failed,
                (Outcome::Cancelled, _) => Showed::Nothing,
            };
            self.plan.lasting.pool.done(pick, now, showed);
        }
        self.learn(&attempt, now, counts_as, draw);
        let code = match outcome.kind {
            AttemptKind::Success => {
                self.plan.limits.budget.outcome(TokenOutcome::Success, 1);
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
        let budget = &self.plan.limits.budget;
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

    /// Tells the limits what an attempt says about the callee.
    fn learn(&mut self, attempt: &Attempt, now: u64, counts_as: Outcome, draw: f64) {
        let dropped = counts_as == Outcome::Failure;
        if counts_as == Outcome::Cancelled {
            return;
        }
        if let (Some((_, in_flight)), Some(limiter)) = (&self.in_flight, &self.plan.limits.concurrency) {
            let rtt = now.saturating_sub(attempt.started);
            // The lower digits of a draw are as good as another.
            limiter.sample(rtt, *in_flight, dropped, || (draw * 8191.0).fract());
        }
        if !dropped
            && !std::mem::replace(&mut self.accepted, true)
            && let Some(throttle) = &self.plan.limits.throttle
        {
            throttle.accepted(now);
        }
    }

    /// Rate, throttle, concurrency, in this order.
    fn check_limits(&mut self, now: u64, draw: f64) -> Result<(), Refused> {
        if let Some(rate) = &self.plan.limits.rate
            && !rate.acquire(now, 1)
        {
            return Err(self.refused(RefusedBy::Rate, "more calls than the edge's rate allows".into()));
        }
        if let Some(throttle) = &self.plan.limits.throttle
            && let Err(chance) = throttle.admit(now, draw)
        {
            let cause = format!("the callee takes so few calls that {:.0} % are not sent", chance * 100.0);
            return Err(self.refused(RefusedBy::Throttle, cause.into()));
        }
        if let Some(limiter) = &self.plan.limits.concurrency {
            let Some(ticket) = limiter.acquire(now) else {
                let cause = format!("{} calls are in flight and the limit is {}", limiter.in_flight(), limiter.limit());
                return Err(self.refused(RefusedBy::Concurrency, cause.into()));
            };
            let in_flight = ticket.in_flight();
            self.in_flight = Some((ticket, in_flight));
        }
        Ok(())
    }

    fn refused(&self, by: RefusedBy, cause: Arc<str>) -> Refused {
        Refused { by, breaker_state: self.plan.lasting.breaker.state_name(), probe_at: None, cause }
    }

    fn check_deadline(&self, now: u64) -> Result<(), Refused> {
        if !self.deadline.expired(now) {
            return Ok(());
        }
        Err(self.refused(RefusedBy::Deadline, "the deadline has passed".into()))
    }
}
