//! How messages are taken and processed.

use std::time::Duration;

use fuseboard_policy::backoff;
use fuseboard_policy::settings::{Backoff, EdgeSettings, Jitter};

/// How messages are taken and processed. What policy rules for the operation [`PROCESS`](super::PROCESS) say comes first.
#[derive(Debug, Clone)]
#[must_use]
pub struct Handling {
    pub(super) concurrency: usize,
    pub(super) max_deliveries: u32,
    pub(super) backoff: Backoff,
    pub(super) timeout: Duration,
    pub(super) obey_deadline: bool,
    pub(super) stop_within: Duration,
    pub(super) depth_every: Duration,
}

impl Default for Handling {
    /// 16 at once; five deliveries, paused by 1 s doubling up to 60 s; 30 s for each; no deadlines; 30 s to stop; depth every
    /// 10 s.
    fn default() -> Self {
        let backoff =
            Backoff { base_ms: Some(1_000), max_ms: Some(60_000), multiplier: Some(2.0), jitter: Some(Jitter::None) };
        Self {
            concurrency: 16,
            max_deliveries: 5,
            backoff,
            timeout: Duration::from_secs(30),
            obey_deadline: false,
            stop_within: Duration::from_secs(30),
            depth_every: Duration::from_secs(10),
        }
    }
}

impl Handling {
    /// Most messages processed at once, 1 to 65,535. So many are taken from the broker at most (its prefetch), and they count
    /// as handed out: a process that dies takes a delivery of each of them.
    pub fn concurrency(mut self, most: u16) -> Self {
        self.concurrency = usize::from(most.max(1));
        self
    }

    /// How often a message is handed out before it is a dead letter, at least once.
    pub fn max_deliveries(mut self, most: u32) -> Self {
        self.max_deliveries = most.max(1);
        self
    }

    /// The pause before a failed message is handed out again: `base`, doubling each time up to `max`. Without jitter: what failed
    /// together is spread by the limit of concurrency.
    pub fn backoff(mut self, base: Duration, max: Duration) -> Self {
        let ms = |d: Duration| Some(u64::try_from(d.as_millis()).unwrap_or(u64::MAX));
        (self.backoff.base_ms, self.backoff.max_ms) = (ms(base), ms(max));
        self
    }

    /// How long processing a message may take. One that takes longer is dropped, and the message handed out again.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// Obeys the deadline that a message brings along ([`super::Producer::with_deadline`]): processing ends with it, and
    /// messages that come after it are dead letters.
    pub fn obey_deadline(mut self) -> Self {
        self.obey_deadline = true;
        self
    }

    /// How long messages under way may take once the consumer is told to stop; what takes longer is dropped and goes back.
    pub fn stop_within(mut self, limit: Duration) -> Self {
        self.stop_within = limit;
        self
    }

    /// How often the broker is asked how many messages wait.
    pub fn depth_every(mut self, period: Duration) -> Self {
        self.depth_every = period;
        self
    }

    /// How often a message is handed out at most.
    pub(super) fn most(&self, policy: &EdgeSettings) -> u32 {
        policy.retry.as_ref().and_then(|retry| retry.max_attempts).unwrap_or(self.max_deliveries)
    }

    /// The pause after the `delivery`-th time.
    pub(super) fn pause(&self, policy: &EdgeSettings, delivery: u32, draw: f64) -> Duration {
        let settings = policy.retry.as_ref().and_then(|retry| retry.backoff.as_ref()).unwrap_or(&self.backoff);
        let mut backoff = backoff::Backoff::new(settings);
        // Far beyond any pause's maximum.
        for _ in 1..delivery.min(64) {
            backoff.next_delay(draw);
        }
        backoff.next_delay(draw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_a_policy_comes_first() {
        let handling = Handling::default().backoff(Duration::from_millis(100), Duration::from_millis(350));
        let none = EdgeSettings::default();
        let pauses: Vec<u64> =
            (1..=4).map(|n| u64::try_from(handling.pause(&none, n, 0.5).as_millis()).unwrap()).collect();
        assert_eq!((pauses, handling.most(&none)), (vec![100, 200, 350, 350], 5));
        let retry = fuseboard_policy::settings::Retry {
            max_attempts: Some(2),
            backoff: Some(Backoff { base_ms: Some(7), ..handling.backoff }),
            ..Default::default()
        };
        let policy = EdgeSettings { retry: Some(retry), ..EdgeSettings::default() };
        let usual = Handling::default();
        assert_eq!((usual.most(&policy), usual.pause(&policy, 2, 0.5)), (2, Duration::from_millis(14)));
    }
}
