//! A breaker's settings in the units the machine works with.

use super::DEFAULT_OPEN_MS;
use crate::fraction::{Decimal, geometric};
use crate::ms_to_nanos;
use crate::settings::{Breaker, BreakerMode, Window};

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rules {
    pub(super) mode: BreakerMode,
    pub(super) window: Option<Window>,
    pub(super) min_calls: u64,
    pub(super) failure_ratio: Option<Decimal>,
    pub(super) failure_count: Option<u64>,
    pub(super) consecutive: Option<u64>,
    pub(super) slow_nanos: Option<u64>,
    pub(super) slow_ratio: Option<Decimal>,
    /// Whether calls in flight count as slow.
    pub(super) inflight_slow: bool,
    pub(super) permits: u64,
    pub(super) successes: u64,
    pub(super) lease_nanos: Option<u64>,
    open_ms: u64,
    open_backoff: Option<(Decimal, u64)>,
}

impl Rules {
    pub(super) fn new(settings: &Breaker) -> Self {
        let min_calls = settings.min_calls.unwrap_or(1);
        Self {
            mode: settings.mode.unwrap_or_default(),
            min_calls: match settings.window {
                Some(Window::Count { size }) => min_calls.min(size),
                _ => min_calls,
            },
            window: settings.window.clone(),
            failure_ratio: settings.failure_ratio.and_then(Decimal::new),
            failure_count: settings.failure_count,
            consecutive: settings.consecutive_failures,
            slow_nanos: settings.slow_ms.map(ms_to_nanos),
            slow_ratio: settings.slow_ratio.and_then(Decimal::new),
            inflight_slow: settings.inflight_slow.unwrap_or(false) && settings.slow_ms.is_some(),
            permits: settings.half_open_permits.unwrap_or(1),
            successes: settings.half_open_successes.unwrap_or(1),
            lease_nanos: settings.probe_lease_ms.map(ms_to_nanos),
            open_ms: settings.open_ms.unwrap_or(DEFAULT_OPEN_MS),
            open_backoff: settings.open_backoff.as_ref().and_then(|b| Some((Decimal::new(b.multiplier)?, b.max_ms))),
        }
    }

    /// Whether there is a ratio that a good call could complete to a trip.
    pub(super) fn looks_at_ratios(&self) -> bool {
        self.window.is_some() && (self.failure_ratio.is_some() || self.slow_ratio.is_some())
    }

    pub(super) fn is_slow(&self, duration: u64) -> bool {
        self.slow_nanos.is_some_and(|limit| duration > limit)
    }

    /// `min(open_ms · multiplier^reopenings, max_ms)` in nanoseconds, rounded up.
    pub(super) fn open_nanos(&self, reopenings: u64) -> u64 {
        let nanos = |ms: u64| u128::from(ms) * 1_000_000;
        let open = match self.open_backoff {
            None => nanos(self.open_ms),
            Some((multiplier, max_ms)) => geometric(nanos(self.open_ms), multiplier, reopenings, nanos(max_ms)),
        };
        u64::try_from(open).unwrap_or(u64::MAX)
    }

    /// How long a probe may take before it has failed, whether it has ended or not; and whether that is for being slow.
    pub(super) fn probe_limit(&self) -> Option<(u64, bool)> {
        let hung = self.slow_nanos.filter(|_| self.inflight_slow && self.slow_ratio.is_some());
        // Slow is strictly longer.
        let hung = hung.map(|limit| limit.saturating_add(1));
        match (self.lease_nanos, hung) {
            (Some(lease), Some(hung)) if hung < lease => Some((hung, true)),
            (Some(lease), _) => Some((lease, false)),
            (None, hung) => hung.map(|limit| (limit, true)),
        }
    }
}
