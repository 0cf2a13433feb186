//! An instance, and a call to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use portable_atomic::AtomicU128;

use super::hashed::hash;
use crate::outlier::Host;

/// What a balancer knows of an instance. All of it changes without a lock.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Calls in flight.
    busy: AtomicU64,
    /// Never used again, so that a removed instance that comes back is a new one.
    number: u64,
    /// Peak EWMA in milliseconds (low half, bits of a double) and when it was looked at (high half).
    estimate: AtomicU128,
    weight: u64,
    hash: u64,
    id: Arc<str>,
    /// Passed over.
    out: AtomicBool,
    host: Arc<Host>,
}

impl Endpoint {
    pub(super) fn new(number: u64, id: &str, weight: u64, rtt_ms: u64, now: u64) -> Self {
        let id: Arc<str> = id.into();
        Self {
            busy: AtomicU64::new(0),
            number,
            estimate: AtomicU128::new(pack(now, rtt_ms as f64)),
            weight,
            hash: hash(id.as_bytes()),
            host: Arc::new(Host::new(&id)),
            id,
            out: AtomicBool::new(false),
        }
    }

    pub(crate) fn id(&self) -> &Arc<str> {
        &self.id
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }

    pub(crate) fn host(&self) -> &Arc<Host> {
        &self.host
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn is_out(&self) -> bool {
        self.out.load(Ordering::Relaxed)
    }

    pub(super) fn pass_over(&self, out: bool) {
        self.out.store(out, Ordering::Relaxed);
    }

    pub(super) fn busy(&self) -> u64 {
        self.busy.load(Ordering::Relaxed)
    }

    /// Peak EWMA: what is longer than the estimate becomes it; what is shorter pulls it down, the more the longer ago it
    /// was looked at. Returns the new estimate.
    fn observe(&self, rtt: f64, now: u64, decay: Decay) -> f64 {
        let mut old = self.estimate.load(Ordering::Relaxed);
        loop {
            let (stamp, estimate) = ((old >> 64) as u64, f64::from_bits(old as u64));
            let passed = now.saturating_sub(stamp);
            let new = if rtt > estimate {
                rtt
            } else if passed == 0 {
                estimate
            } else {
                let weight = decay.left(passed);
                estimate * weight + rtt * (1.0 - weight)
            };
            let changed = pack(stamp.max(now), new);
            if changed == old {
                return new;
            }
            match self.estimate.compare_exchange_weak(old, changed, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return new,
                Err(current) => old = current,
            }
        }
    }

    /// What one more call would cost now, in milliseconds. Being looked at makes an idle instance cheaper.
    pub(super) fn cost(&self, now: u64, decay: Decay) -> f64 {
        self.observe(0.0, now, decay) * (self.busy() as f64 + 1.0)
    }
}

/// How fast estimates are forgotten.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decay {
    per_nano: f64,
}

impl Decay {
    pub(super) fn new(ms: u64) -> Self {
        Self { per_nano: 1.0 / (ms as f64 * 1e6) }
    }

    /// What is left after so many nanoseconds: e^−x. For small x, which is what a busy instance has, by its series: the
    /// first term left out is below a double's precision.
    fn left(self, nanos: u64) -> f64 {
        let x = nanos as f64 * self.per_nano;
        if x < 1e-3 {
            1.0 - x * (1.0 - x * (1.0 / 2.0 - x * (1.0 / 6.0 - x * (1.0 / 24.0 - x * (1.0 / 120.0)))))
        } else {
            (-x).exp()
        }
    }
}

fn pack(stamp: u64, estimate: f64) -> u128 {
    u128::from(stamp) << 64 | u128::from(estimate.to_bits())
}

/// A call to an instance, from [`super::Balancer::start`] to [`Busy::finish`] or [`Busy::cancel`].
#[derive(Debug)]
#[must_use = "a call that is not finished counts as in flight for ever"]
pub struct Busy {
    endpoint: Arc<Endpoint>,
    started: u64,
    /// How fast the estimate forgets, where round trips are measured.
    decay: Option<Decay>,
}

impl Busy {
    #[inline]
    pub(super) fn new(endpoint: Arc<Endpoint>, started: u64, decay: Option<Decay>) -> Self {
        endpoint.busy.fetch_add(1, Ordering::Relaxed);
        Self { endpoint, started, decay }
    }

    /// The instance.
    #[must_use]
    pub fn id(&self) -> &Arc<str> {
        self.endpoint.id()
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The call ended: its round trip is learned from.
    #[inline]
    pub fn finish(self, now: u64) {
        self.endpoint.busy.fetch_sub(1, Ordering::Relaxed);
        if let Some(decay) = self.decay {
            self.endpoint.observe(now.saturating_sub(self.started) as f64 / 1e6, now, decay);
        }
    }

    /// The call ended before it could tell anything.
    pub fn cancel(self) {
        self.endpoint.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_is_the_function() {
        let decay = Decay::new(1);
        for nanos in 0..=1_001 {
            let exact = (-(nanos as f64) / 1e6).exp();
            assert!((decay.left(nanos) - exact).abs() <= f64::EPSILON, "{nanos}");
        }
    }
}
