//! What the connections saw.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::time::Instant;

use crate::LoadError;

/// Longest latency that is told apart, in microseconds (10 minutes); longer ones count as this.
const LONGEST_MICROS: u64 = 600_000_000;
/// Kinds of errors that are told apart; the rest count as `other`.
const MOST_KINDS: usize = 100;
/// Tallies kept side by side, so that connections rarely wait for each other.
const SHARDS: usize = 8;

/// Counts and latencies.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    pub(crate) sent: u64,
    pub(crate) ok: u64,
    pub(crate) errors: BTreeMap<Cow<'static, str>, u64>,
    pub(crate) latency: Histogram<u64>,
    pub(crate) service: Histogram<u64>,
    /// When the last answer came.
    pub(crate) last: Option<Instant>,
}

impl Tally {
    pub(crate) fn new() -> Result<Self, LoadError> {
        let histogram = histogram()?;
        Ok(Self { sent: 0, ok: 0, errors: BTreeMap::new(), latency: histogram.clone(), service: histogram, last: None })
    }

    pub(crate) fn record(
        &mut self,
        outcome: Result<(), Cow<'static, str>>,
        due: Instant,
        sent_at: Instant,
        ended: Instant,
    ) {
        self.sent += 1;
        self.last = self.last.max(Some(ended));
        self.latency.saturating_record(micros(ended.saturating_duration_since(due)));
        self.service.saturating_record(micros(ended.saturating_duration_since(sent_at)));
        match outcome {
            Ok(()) => self.ok += 1,
            Err(kind) if self.errors.len() < MOST_KINDS || self.errors.contains_key(&kind) => {
                *self.errors.entry(kind).or_default() += 1;
            }
            Err(_) => *self.errors.entry("other".into()).or_default() += 1,
        }
    }

    fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.ok += other.ok;
        for (kind, count) in &other.errors {
            *self.errors.entry(kind.clone()).or_default() += count;
        }
        // Both have the same bounds, so that nothing can be out of them.
        let _ = self.latency.add(&other.latency);
        let _ = self.service.add(&other.service);
        self.last = self.last.max(other.last);
    }
}

/// An empty histogram of microseconds, to three significant digits.
pub(crate) fn histogram() -> Result<Histogram<u64>, LoadError> {
    Histogram::new_with_bounds(1, LONGEST_MICROS, 3).map_err(LoadError::Histogram)
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The tallies of all connections.
#[derive(Debug)]
pub(crate) struct Tallies(Vec<Mutex<Tally>>);

impl Tallies {
    pub(crate) fn new() -> Result<Self, LoadError> {
        (0..SHARDS).map(|_| Tally::new().map(Mutex::new)).collect::<Result<_, _>>().map(Self)
    }

    /// The tally of a connection.
    pub(crate) fn of(&self, connection: usize) -> MutexGuard<'_, Tally> {
        self.0[connection % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them in one.
    pub(crate) fn sum(&self) -> Tally {
        let mut all = self.of(0).clone();
        for shard in 1..SHARDS {
            all.add(&self.of(shard));
        }
        all
    }
}
