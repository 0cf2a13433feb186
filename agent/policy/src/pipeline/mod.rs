//! The one place that knows the order of the rules around a call: deadline → rate → throttle → concurrency →
//! retry/hedge( breaker → balance → attempt timeout → wire ).
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
//!
//! **Hedges** are attempts beside one that takes long ([`Call::hedge_at`], [`Call::hedge`]), after gRPC's proposal A6: of
//! what may be tried again anyway, on an instance that no attempt of the call is under way on, before the deadline, each
//! out of the retry budget and with the breaker's leave. An attempt that fails in a way worth another brings the next
//! hedge at once, unless the reply asks for patience; when there are no more, those under way decide, and the last to fail
//! is tried again as any other. The first good answer ends the call: attempts that are dropped then count for nothing. At
//! most `max_attempts` + `max_extra` attempts are made. Rate, throttle and concurrency are not asked again.

mod call;
mod hedging;
mod words;

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;

use crate::backoff::AttemptRules;
use crate::breaker::Breaker;
use crate::concurrency::ConcurrencyLimiter;
use crate::hedge::{Hedger, Latencies};
use crate::pool::Pool;
use crate::rate::RateLimiter;
use crate::retry_budget::RetryBudget;
use crate::settings::{EdgeSettings, Timeout};
use crate::throttle::Throttle;

pub use self::call::{Attempt, Call};
pub use self::words::{AttemptKind, AttemptOutcome, Cause, GiveUp, Inbound, Next, NoHedge, Refused, RefusedBy};

/// Bytes that an edge without any settings takes at most.
pub const FRESH_BYTES: i64 = 3_200;
/// Bytes that an edge with every engine and ten instances takes at most, in use by one thread. A sliding window adds up to
/// 32 bytes for each call of its limit, a consistent hash 32 KiB.
pub const FULL_BYTES: i64 = 15_000;

/// What retries and hedges look at where `on` is absent.
pub const DEFAULT_RETRY_ON: [&str; 2] = ["unavailable", "reset"];

/// The settings in force and the engines that obey them. A call keeps the plan it begins with to its end.
///
/// Who keeps something of its own beside an edge's settings keeps it together with their plan: both change at once.
#[derive(Debug)]
pub struct Plan {
    timeout: Timeout,
    /// `None` without retries and hedges.
    again: Option<Again>,
    hedger: Option<Hedger>,
    /// Of a call that begins.
    attempts: AttemptRules,
    limits: Limits,
    balance_key: Option<String>,
    lasting: Arc<Lasting>,
}

/// What may be tried again.
#[derive(Debug)]
struct Again {
    on: Vec<String>,
    non_idempotent: bool,
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
    /// Made when hedges first look at them.
    latencies: OnceLock<Latencies>,
}

impl Plan {
    /// The plan after one with the limits `before`, which go on where they are still wanted.
    fn new(settings: &EdgeSettings, before: &Limits, lasting: Arc<Lasting>, now: u64) -> Self {
        let retry = settings.retry.clone().unwrap_or_default();
        let again = Again {
            on: retry.on.unwrap_or_else(|| DEFAULT_RETRY_ON.map(str::to_owned).to_vec()),
            non_idempotent: retry.non_idempotent.unwrap_or(false),
        };
        let most = retry.max_attempts.unwrap_or(1);
        let backoff = retry.backoff.unwrap_or_default();
        let hedger = settings.hedge.as_ref().map(Hedger::new).filter(|hedger| hedger.most() > 0);
        let budget = before.budget.reconfigured(retry.budget.as_ref());
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
            again: (settings.retry.is_some() || hedger.is_some()).then_some(again),
            hedger,
            attempts: AttemptRules::new(Some(u64::from(most)), &backoff),
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
    #[inline]
    pub fn begin(self: &Arc<Self>, now: u64, inbound: Inbound, draw: f64) -> Result<Call, Refused> {
        let call = Call::begin(Arc::clone(self), now, inbound, draw)?;
        self.limits.budget.deposit(now, 1);
        Ok(call)
    }

    /// Hedges that a call may have.
    fn hedges(&self, inbound: &Inbound) -> u32 {
        let (Some(hedger), Some(again)) = (&self.hedger, &self.again) else { return 0 };
        let twice = inbound.idempotent || again.non_idempotent;
        if twice && inbound.attempt < 2 { hedger.most() } else { 0 }
    }

    /// When the next hedge is due, an attempt having begun now.
    fn hedge_due(&self, now: u64) -> Option<u64> {
        let hedger = self.hedger.as_ref()?;
        now.checked_add(hedger.delay(now, || self.lasting.latencies.get_or_init(Latencies::default))?)
    }

    /// What a first attempt took, or took at least.
    fn learn_latency(&self, now: u64, began: u64) {
        if self.hedger.as_ref().is_some_and(Hedger::learns) {
            self.lasting.latencies.get_or_init(Latencies::default).observe(now, now.saturating_sub(began));
        }
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
            latencies: OnceLock::new(),
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
        let Lasting { breaker, pool, .. } = &*self.lasting;
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
    #[inline]
    pub fn begin(&self, now: u64, inbound: Inbound, draw: f64) -> Result<Call, Refused> {
        self.plan().begin(now, inbound, draw)
    }
}
