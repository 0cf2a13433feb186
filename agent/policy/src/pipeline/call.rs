//! One call of the application, and its attempts.

use std::sync::Arc;
use std::time::Duration;

use super::hedging::Hedges;
use super::words::{AttemptKind, AttemptOutcome, Cause, GiveUp, Inbound, Next, NoHedge, Refused, RefusedBy};
use super::{Lasting, Plan};
use crate::backoff::{Attempts, Pushback};
use crate::breaker::{Admission, Outcome, Permit};
use crate::codes;
use crate::concurrency::{Ended, Ticket};
use crate::deadline::Deadline;
use crate::pool::{Pick, Pool, Showed, Tried};
use crate::retry_budget::TokenOutcome;

/// Looks for an instance on which no attempt of the call is under way.
const LOOKS: usize = 4;

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
    hedges: Hedges,
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
    /// Whether it is a hedge.
    pub hedged: bool,
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
    /// A call begins (see [`Plan::begin`]).
    #[inline]
    pub(super) fn begin(plan: Arc<Plan>, now: u64, inbound: Inbound, draw: f64) -> Result<Self, Refused> {
        let mut call = Self {
            deadline: Deadline::begin(now, &plan.timeout, inbound.left),
            attempts: plan.attempts.begin(),
            hedges: Hedges::new(plan.hedges(&inbound)),
            plan,
            inbound,
            asked: 0,
            in_flight: None,
            accepted: false,
            tried: Tried::default(),
        };
        call.check_deadline(now)?;
        call.check_limits(now, draw)?;
        Ok(call)
    }

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
                cause: Cause::Breaker(refusal.cause),
            }),
            Admission::Admitted(permit) => {
                let pick = self.plan.lasting.pool.pick(now, key, &mut self.tried, draw);
                let hedged = std::mem::take(&mut self.hedges.paid);
                Ok(self.begin_attempt(now, permit, pick, hedged))
            }
        }
    }

    fn begin_attempt(&mut self, now: u64, permit: Permit, pick: Option<Pick>, hedged: bool) -> Attempt {
        self.asked = self.asked.saturating_add(1);
        self.hedges.began(self.asked, now, pick.as_ref());
        if self.hedges.any_left() {
            let in_time = |at: &u64| self.deadline.allows_retry(now, Duration::from_nanos(at.saturating_sub(now)));
            self.hedges.set_due(self.plan.hedge_due(now).filter(in_time));
        }
        Attempt {
            number: self.asked,
            timeout: self.deadline.attempt_limit(now, &self.plan.timeout),
            deadline_left: self.deadline.left(now),
            probe: permit.is_probe(),
            hedged,
            would_refuse: permit.would_refuse(),
            breaker_state: permit.state(),
            started: now,
            permit: Some(permit),
            pick,
            plan: Arc::clone(&self.plan),
        }
    }

    /// When those under way are to be joined by another attempt: ask for it then with [`Call::hedge`]. `None` if they are
    /// not, as things stand; every attempt that begins or ends may change that.
    #[must_use]
    pub fn hedge_at(&self) -> Option<u64> {
        self.hedges.due()
    }

    /// Asks for an attempt beside those under way.
    ///
    /// # Errors
    /// There is to be none; those under way go on, and [`Call::hedge_at`] says whether to ask again.
    pub fn hedge(&mut self, now: u64, key: &[u8], mut draw: impl FnMut() -> f64) -> Result<Attempt, NoHedge> {
        if self.hedges.due().is_none_or(|due| now < due) {
            return Err(NoHedge::NotDue);
        }
        self.hedges.set_due(None);
        if self.deadline.expired(now) {
            self.hedges.stop();
            return Err(NoHedge::Deadline);
        }
        let (Lasting { breaker, pool, .. }, budget) = (&*self.plan.lasting, &self.plan.limits.budget);
        let Admission::Admitted(permit) = breaker.admit(now) else {
            self.hedges.stop();
            return Err(NoHedge::Breaker);
        };
        let picked = pick_beside(pool, &self.hedges, &mut self.tried, (now, key, &mut draw));
        // The budget comes last, so that nothing is spent on a hedge that is not made.
        let refused = match &picked {
            Err(no) => Some(*no),
            Ok(_) => (budget.withdraw(now, 1) == 0).then_some(NoHedge::Budget),
        };
        if let Some(no) = refused {
            breaker.give_back(permit);
            if let Ok(Some(pick)) = picked {
                pool.done(pick, 0, Showed::Nothing);
            }
            if no == NoHedge::Budget {
                self.hedges.stop();
            }
            return Err(no);
        }
        let pick = picked.ok().flatten();
        self.hedges.take();
        Ok(self.begin_attempt(now, permit, pick, true))
    }

    /// An attempt was given up while the call goes on: it counts for nothing.
    pub fn cancel(&mut self, attempt: Attempt) {
        self.hedges.ended(attempt.number, attempt.pick.as_ref());
        drop(attempt);
    }

    /// Reports how an attempt ended and tells what to do next. `draw` is a uniform number in [0, 1) for the backoff and for
    /// what an adaptive limit draws.
    pub fn finish(&mut self, attempt: Attempt, now: u64, outcome: AttemptOutcome<'_>, draw: f64) -> Next {
        let next = self.settle(attempt, now, outcome, draw);
        if matches!(next, Next::Done | Next::GiveUp { .. }) {
            self.hedges.stop();
        }
        next
    }

    fn settle(&mut self, mut attempt: Attempt, now: u64, outcome: AttemptOutcome<'_>, draw: f64) -> Next {
        let counts_as = match outcome.kind {
            AttemptKind::Success => Outcome::Success,
            AttemptKind::TimedOut => Outcome::Failure,
            AttemptKind::Cancelled => Outcome::Cancelled,
            AttemptKind::NeverSent { .. } => Outcome::Failure,
            AttemptKind::Failure { code } => codes::breaker_outcome(code),
        };
        let first = self.hedges.first;
        self.hedges.ended(attempt.number, attempt.pick.as_ref());
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
        // One sample a call, of its first attempt. One that a hedge beat took at least as long as it was waited for, which
        // is beyond the quantile: left out, the quantile would sink with every hedge.
        let answered = counts_as == Outcome::Success || outcome.kind == AttemptKind::TimedOut;
        if let Some(began) = first.filter(|_| answered && (attempt.number == 1 || counts_as == Outcome::Success)) {
            self.plan.learn_latency(now, began);
        }
        let code = match outcome.kind {
            AttemptKind::Success => {
                self.plan.limits.budget.outcome(TokenOutcome::Success, 1);
                return Next::Done;
            }
            AttemptKind::Cancelled => return Next::GiveUp { why: GiveUp::Cancelled },
            AttemptKind::TimedOut => "deadline_exceeded",
            AttemptKind::Failure { code } | AttemptKind::NeverSent { code } => code,
        };
        match self.again(now, code, &outcome, draw) {
            Ok(next) => next,
            Err(why) => Next::GiveUp { why },
        }
    }

    /// Whether a failed attempt is worth another, and when that comes.
    fn again(&mut self, now: u64, code: &str, outcome: &AttemptOutcome<'_>, draw: f64) -> Result<Next, GiveUp> {
        let Some(again) = &self.plan.again else { return Err(GiveUp::NoRetry) };
        let budget = &self.plan.limits.budget;
        let listed = codes::is_listed(&again.on, code);
        let pushback = outcome.pushback.map(Pushback::parse);
        let costs = listed || pushback == Some(Pushback::Stop);
        budget.outcome(if costs { TokenOutcome::Retryable } else { TokenOutcome::Other }, 1);
        if !listed {
            return Err(GiveUp::NotListed);
        }
        let harmless = self.inbound.idempotent || matches!(outcome.kind, AttemptKind::NeverSent { .. });
        if !harmless && !again.non_idempotent {
            return Err(GiveUp::NotIdempotent);
        }
        if self.inbound.attempt >= 2 {
            return Err(GiveUp::AlreadyRetry);
        }
        if pushback == Some(Pushback::Stop) {
            self.hedges.stop();
            self.hedges.forbidden = true;
        }
        let patience = match pushback {
            Some(Pushback::After(delay)) => delay,
            _ => outcome.retry_after.unwrap_or_default(),
        };
        match (self.hedges.under_way() > 0, self.hedges.any_left()) {
            (false, false) => self.retry(now, pushback, outcome.retry_after, draw),
            (false, true) => self.hedge_alone(now, patience),
            (true, left) => {
                let at = now.checked_add(u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX));
                self.hedges.set_due(at.filter(|_| left && self.deadline.allows_retry(now, patience)));
                return Ok(Next::Wait);
            }
        }
        .map(|after| Next::Retry { after })
    }

    /// The next hedge, with nothing beside it any more.
    fn hedge_alone(&mut self, now: u64, patience: Duration) -> Result<Duration, GiveUp> {
        if !self.deadline.allows_retry(now, patience) {
            return Err(GiveUp::Deadline);
        }
        if self.plan.limits.budget.withdraw(now, 1) == 0 {
            return Err(GiveUp::Budget);
        }
        self.hedges.take();
        self.hedges.paid = true;
        Ok(patience)
    }

    /// How long to wait before the next attempt, nothing else being under way.
    fn retry(
        &mut self,
        now: u64,
        pushback: Option<Pushback>,
        retry_after: Option<Duration>,
        draw: f64,
    ) -> Result<Duration, GiveUp> {
        if self.attempts.used_up(&self.plan.attempts) {
            return Err(GiveUp::Attempts);
        }
        if self.hedges.forbidden {
            return Err(GiveUp::Pushback);
        }
        let after = self.attempts.failed(&self.plan.attempts, pushback, || draw).ok_or(GiveUp::Pushback)?;
        // A pushback is exact; otherwise the reply may ask for more patience than the backoff has.
        let delay = if pushback.is_some() { after } else { after.max(retry_after.unwrap_or_default()) };
        if !self.deadline.allows_retry(now, delay) {
            return Err(GiveUp::Deadline);
        }
        // Last, so that nothing is spent on a retry that is not made.
        if self.plan.limits.budget.withdraw(now, 1) == 0 {
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
            return Err(self.refused(RefusedBy::Rate, Cause::Rate));
        }
        if let Some(throttle) = &self.plan.limits.throttle
            && let Err(chance) = throttle.admit(now, draw)
        {
            let percent = (chance * 100.0).round() as u32;
            return Err(self.refused(RefusedBy::Throttle, Cause::Throttle { percent }));
        }
        if let Some(limiter) = &self.plan.limits.concurrency {
            let Some(ticket) = limiter.acquire(now) else {
                let cause = Cause::Concurrency { in_flight: limiter.in_flight(), limit: limiter.limit() };
                return Err(self.refused(RefusedBy::Concurrency, cause));
            };
            let in_flight = ticket.in_flight();
            self.in_flight = Some((ticket, in_flight));
        }
        Ok(())
    }

    fn refused(&self, by: RefusedBy, cause: Cause) -> Refused {
        Refused { by, breaker_state: self.plan.lasting.breaker.state_name(), probe_at: None, cause }
    }

    fn check_deadline(&self, now: u64) -> Result<(), Refused> {
        if !self.deadline.expired(now) {
            return Ok(());
        }
        Err(self.refused(RefusedBy::Deadline, Cause::Deadline))
    }
}

/// An instance for a hedge, not one that an attempt of the call is under way on.
fn pick_beside(
    pool: &Pool,
    hedges: &Hedges,
    tried: &mut Tried,
    (now, key, draw): (u64, &[u8], &mut dyn FnMut() -> f64),
) -> Result<Option<Pick>, NoHedge> {
    for _ in 0..LOOKS {
        match pool.pick(now, key, tried, &mut *draw) {
            Some(pick) if hedges.is_busy(&pick) => pool.done(pick, 0, Showed::Nothing),
            pick => return Ok(pick),
        }
    }
    Err(NoHedge::NoOther)
}
