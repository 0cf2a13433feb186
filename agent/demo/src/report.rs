//! What the shop did, in figures.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longest latency that is told apart, in microseconds (1 minute); longer ones count as this.
const LONGEST_MICROS: u64 = 60_000_000;

/// What the shop did since its start.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct ShopReport {
    /// Services, the queues and the simulated databases not counted.
    pub services: usize,
    /// Instances that run now.
    pub instances: usize,
    /// Seconds of traffic so far.
    pub seconds: f64,
    /// Requests that visitors sent to the gateways.
    pub requests: u64,
    /// Requests that were due but not sent, because too many were waiting for an answer.
    pub unsent: u64,
    /// Requests by how they ended: `201`, `503`, …, or `no_answer`.
    pub answers: BTreeMap<String, u64>,
    /// Calls between the shop's own services; a call with its retries is one.
    pub calls: u64,
    /// Calls of those that failed.
    pub failures: u64,
    /// Orders by how they ended, or where they stand: `confirmed`, `declined`, `out_of_stock`, `failed`, `awaiting_payment`,
    /// `expired`.
    pub orders: BTreeMap<&'static str, u64>,
    /// Median of the visitors' waiting, from the instant a request was due, in milliseconds.
    pub p50_ms: f64,
    /// 99th percentile of it.
    pub p99_ms: f64,
    /// Longest of it.
    pub max_ms: f64,
    /// Telemetry records that the agents could not deliver.
    pub dropped: u64,
}

/// Counts while the shop runs.
#[derive(Debug)]
pub(crate) struct Counters(Mutex<Counts>);

#[derive(Debug)]
struct Counts {
    requests: u64,
    unsent: u64,
    answers: BTreeMap<u16, u64>,
    no_answer: u64,
    calls: u64,
    failures: u64,
    orders: BTreeMap<&'static str, u64>,
    waits: Option<Histogram<u64>>,
}

impl Default for Counters {
    fn default() -> Self {
        Self(Mutex::new(Counts {
            requests: 0,
            unsent: 0,
            answers: BTreeMap::new(),
            no_answer: 0,
            calls: 0,
            failures: 0,
            orders: BTreeMap::new(),
            // The bounds are constants that the histogram accepts; if it ever did not, quantiles would read 0.
            waits: Histogram::new_with_bounds(1, LONGEST_MICROS, 3).ok(),
        }))
    }
}

impl Counters {
    /// A visitor's request ended: with an HTTP status, or without an answer.
    pub(crate) fn answered(&self, status: Option<u16>, waited: Duration) {
        self.with(|counts| {
            counts.requests += 1;
            match status {
                Some(status) => *counts.answers.entry(status).or_default() += 1,
                None => counts.no_answer += 1,
            }
            if let Some(waits) = &mut counts.waits {
                waits.saturating_record(u64::try_from(waited.as_micros()).unwrap_or(u64::MAX));
            }
        });
    }

    /// A visitor's request was due and not sent.
    pub(crate) fn unsent(&self) {
        self.with(|counts| counts.unsent += 1);
    }

    /// A call between services ended. Gives the result back.
    pub(crate) fn called<T, E>(&self, result: Result<T, E>) -> Result<T, E> {
        self.with(|counts| {
            counts.calls += 1;
            counts.failures += u64::from(result.is_err());
        });
        result
    }

    /// An order came to an end or to a stop.
    pub(crate) fn order(&self, how: &'static str) {
        self.with(|counts| *counts.orders.entry(how).or_default() += 1);
    }

    /// The figures so far; what the counters do not know is left at its default.
    pub(crate) fn report(&self) -> ShopReport {
        self.with(|counts| {
            let mut answers: BTreeMap<String, u64> =
                counts.answers.iter().map(|(status, n)| (status.to_string(), *n)).collect();
            if counts.no_answer > 0 {
                answers.insert("no_answer".to_owned(), counts.no_answer);
            }
            let wait = |q: f64| counts.waits.as_ref().map_or(0.0, |w| w.value_at_quantile(q) as f64 / 1_000.0);
            ShopReport {
                requests: counts.requests,
                unsent: counts.unsent,
                answers,
                calls: counts.calls,
                failures: counts.failures,
                orders: counts.orders.clone(),
                p50_ms: wait(0.5),
                p99_ms: wait(0.99),
                max_ms: wait(1.0),
                ..ShopReport::default()
            }
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Counts) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
