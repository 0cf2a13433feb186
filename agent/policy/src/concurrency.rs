//! Limits of calls in flight, fixed or found by measuring. The adaptive ones follow Netflix' concurrency-limits:
//! AIMDLimit, VegasLimit (after TCP Vegas) and Gradient2Limit.
//!
//! Admission never waits: it compares two atomics. Nor does learning: one sample is digested at a time, and one that comes
//! at that very moment is left out, as if the limit had been measured by a few calls less.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use crate::fraction::Decimal;
use crate::ms_to_nanos;
use crate::settings::Concurrency;

/// Samples whose plain mean starts the long average of `gradient2`.
const WARM_UP: u64 = 10;

/// The right to one call in flight; give it back with [`ConcurrencyLimiter::release`].
#[derive(Debug)]
#[must_use = "a ticket that is not released holds its place for ever"]
pub struct Ticket {
    started: u64,
    /// Calls in flight right after its own admission, itself included.
    in_flight: u64,
}

impl Ticket {
    /// Calls in flight right after its own admission, itself included.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }
}

/// How a call in flight ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Well: its round trip is a sample.
    Success,
    /// The callee was overloaded: a sample that lowers the limit.
    Dropped,
    /// Otherwise: no sample.
    Ignored,
}

/// The concurrency limiter of one edge.
#[derive(Debug)]
pub struct ConcurrencyLimiter {
    in_flight: AtomicU64,
    /// The limit that was learned, rounded down.
    limit: AtomicU64,
    /// Whether samples change it.
    learns: AtomicBool,
    learner: Mutex<Learner>,
}

#[derive(Debug)]
struct Learner {
    settings: Concurrency,
    /// Of `aimd`.
    backoff: Decimal,
    learned: Learned,
}

#[derive(Debug, Clone, Copy)]
enum Learned {
    Fixed,
    Aimd { limit: u64 },
    Vegas { limit: f64, no_load: f64, count: u64, jitter: f64 },
    Gradient2 { limit: f64, warm: u64, total: f64, long: f64 },
}

impl ConcurrencyLimiter {
    /// A limiter at its initial limit. `draw` is asked for at most one uniform number in [0, 1).
    pub fn new(settings: &Concurrency, draw: impl FnOnce() -> f64) -> Self {
        let learner = Learner::new(settings, Learned::new(settings, draw));
        Self {
            in_flight: AtomicU64::new(0),
            limit: AtomicU64::new(learner.limit()),
            learns: AtomicBool::new(learner.learns()),
            learner: Mutex::new(learner),
        }
    }

    /// Asks to make a call now.
    #[inline]
    pub fn acquire(&self, now: u64) -> Option<Ticket> {
        let mut in_flight = self.in_flight.load(Ordering::Relaxed);
        while in_flight < self.limit.load(Ordering::Relaxed) {
            let next = in_flight + 1;
            match self.in_flight.compare_exchange_weak(in_flight, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(Ticket { started: now, in_flight: next }),
                Err(changed) => in_flight = changed,
            }
        }
        None
    }

    /// A call ended. `draw` is asked for at most one uniform number in [0, 1).
    #[inline]
    #[expect(clippy::needless_pass_by_value, reason = "a ticket is used up by releasing it")]
    pub fn release(&self, ticket: Ticket, now: u64, ended: Ended, draw: impl FnOnce() -> f64) {
        // One for each ticket, so it never passes zero.
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        if ended != Ended::Ignored {
            let rtt = now.saturating_sub(ticket.started);
            self.sample(rtt, ticket.in_flight, ended == Ended::Dropped, draw);
        }
    }

    /// Feeds a finished call of `rtt` nanoseconds directly.
    pub fn sample(&self, rtt: u64, in_flight: u64, dropped: bool, draw: impl FnOnce() -> f64) {
        if !self.learns.load(Ordering::Relaxed) {
            return;
        }
        let mut learner = match self.learner.try_lock() {
            Ok(learner) => learner,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        learner.sample(rtt, in_flight, dropped, draw);
        self.limit.store(learner.limit(), Ordering::Relaxed);
    }

    /// The limit in force.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Calls in flight.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Other settings; what was learned is kept unless the kind changes. Ends no call.
    pub fn reconfigure(&self, settings: &Concurrency, draw: impl FnOnce() -> f64) {
        let mut learner = self.lock();
        let same = std::mem::discriminant(&learner.settings) == std::mem::discriminant(settings);
        let learned = if same { learner.learned } else { Learned::new(settings, draw) };
        *learner = Learner::new(settings, learned);
        self.limit.store(learner.limit(), Ordering::Relaxed);
        self.learns.store(learner.learns(), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Learner> {
        self.learner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Learned {
    fn new(settings: &Concurrency, draw: impl FnOnce() -> f64) -> Self {
        match *settings {
            Concurrency::Fixed { .. } => Self::Fixed,
            Concurrency::Aimd { initial, .. } => Self::Aimd { limit: initial },
            Concurrency::Vegas { initial, .. } => {
                Self::Vegas { limit: initial as f64, no_load: 0.0, count: 0, jitter: 0.5 + 0.5 * draw() }
            }
            Concurrency::Gradient2 { initial, .. } => {
                Self::Gradient2 { limit: initial as f64, warm: 0, total: 0.0, long: 0.0 }
            }
        }
    }
}

impl Learner {
    fn new(settings: &Concurrency, learned: Learned) -> Self {
        let backoff = match *settings {
            Concurrency::Aimd { backoff_ratio, .. } => Decimal::new(backoff_ratio).unwrap_or(Decimal::ONE),
            _ => Decimal::ONE,
        };
        Self { settings: settings.clone(), backoff, learned }
    }

    fn learns(&self) -> bool {
        !matches!(self.learned, Learned::Fixed)
    }

    /// The exact limit, rounded down.
    fn limit(&self) -> u64 {
        match (&self.learned, &self.settings) {
            (Learned::Aimd { limit }, _) => *limit,
            (Learned::Vegas { limit, .. } | Learned::Gradient2 { limit, .. }, _) => *limit as u64,
            (Learned::Fixed, Concurrency::Fixed { max }) => *max,
            (Learned::Fixed, _) => u64::MAX,
        }
    }

    fn sample(&mut self, rtt: u64, in_flight: u64, dropped: bool, draw: impl FnOnce() -> f64) {
        match (&mut self.learned, &self.settings) {
            (Learned::Aimd { limit }, &Concurrency::Aimd { min, max, timeout_ms, .. }) => {
                let next = if dropped || rtt > ms_to_nanos(timeout_ms) {
                    self.backoff.floor_of(*limit)
                } else if in_flight.saturating_mul(2) >= *limit {
                    limit.saturating_add(1)
                } else {
                    *limit
                };
                *limit = next.max(min).min(max);
            }
            (
                Learned::Vegas { limit, no_load, count, jitter },
                &Concurrency::Vegas { max, smoothing, probe_multiplier, .. },
            ) => {
                let rtt = rtt as f64 / 1e6;
                *count = count.saturating_add(1);
                if *count as f64 >= *jitter * probe_multiplier as f64 * *limit {
                    (*jitter, *count, *no_load) = (0.5 + 0.5 * draw(), 0, rtt);
                } else if *no_load == 0.0 || rtt < *no_load {
                    *no_load = rtt;
                } else if let Some(next) = vegas(*limit, *no_load, rtt, in_flight, dropped) {
                    let next = next.min(max as f64).max(1.0);
                    *limit = (1.0 - smoothing) * *limit + smoothing * next;
                }
            }
            (
                Learned::Gradient2 { limit, warm, total, long },
                &Concurrency::Gradient2 { min, max, smoothing, queue, long_window, tolerance, .. },
            ) => {
                // A round trip of nothing has no ratio; the clock's grain stands for it.
                let rtt = rtt.max(1) as f64 / 1e6;
                if *warm < WARM_UP {
                    *warm += 1;
                    *total += rtt;
                    *long = *total / *warm as f64;
                } else {
                    let factor = 2.0 / (long_window as f64 + 1.0);
                    *long = *long * (1.0 - factor) + rtt * factor;
                }
                let seen = *long;
                if seen / rtt > 2.0 {
                    *long *= 0.95;
                }
                if (in_flight as f64) < *limit / 2.0 {
                    return;
                }
                let gradient = (tolerance * seen / rtt).clamp(0.5, 1.0);
                let next = *limit * (1.0 - smoothing) + (*limit * gradient + queue as f64) * smoothing;
                *limit = next.min(max as f64).max(min as f64);
            }
            _ => {}
        }
    }
}

/// The next limit of Vegas before it is bounded; `None` to hold.
fn vegas(limit: f64, no_load: f64, rtt: f64, in_flight: u64, dropped: bool) -> Option<f64> {
    let step = f64::from((limit as u64).checked_ilog10().unwrap_or(0).max(1));
    let queue = (limit * (1.0 - no_load / rtt)).ceil();
    if dropped {
        Some(limit - step)
    } else if (in_flight as f64) * 2.0 < limit {
        None
    } else if queue <= step {
        Some(limit + 6.0 * step)
    } else if queue < 3.0 * step {
        Some(limit + step)
    } else if queue > 6.0 * step {
        Some(limit - step)
    } else {
        None
    }
}
