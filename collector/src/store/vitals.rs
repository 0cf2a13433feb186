//! The collector's own health, as the console and `/healthz` show it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fuseboard_api::histogram::LatencyHistogram;

use super::sums::Sums;

/// Counters and words that live as long as the process; shared by ingest, store and serve.
#[derive(Debug, Default)]
pub struct Vitals {
    rejected: AtomicU64,
    received: AtomicU64,
    duplicates: AtomicU64,
    refused_requests: AtomicU64,
    commits: Mutex<LatencyHistogram>,
    pub(crate) sums: Sums,
    trouble: Mutex<String>,
    addresses: Mutex<Vec<(String, String)>>,
    redactions: Mutex<Vec<(String, u64)>>,
}

impl Vitals {
    /// Counts records that were malformed.
    pub fn count_rejected(&self, records: u64) {
        self.rejected.fetch_add(records, Ordering::Relaxed);
    }

    /// Counts records that were stored.
    pub fn count_received(&self, records: u64) {
        self.received.fetch_add(records, Ordering::Relaxed);
    }

    /// Counts records that had been stored before.
    pub fn count_duplicates(&self, records: u64) {
        self.duplicates.fetch_add(records, Ordering::Relaxed);
    }

    /// Counts a request that was turned away whole because the store could not take it.
    pub fn count_refused_request(&self) {
        self.refused_requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Records refused as malformed since the start.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    /// Records stored since the start.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Records ignored as duplicates since the start.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.duplicates.load(Ordering::Relaxed)
    }

    /// Requests turned away whole since the start.
    #[must_use]
    pub fn refused_requests(&self) -> u64 {
        self.refused_requests.load(Ordering::Relaxed)
    }

    /// Notes how long a commit took, from its first job to its being durable.
    pub(super) fn count_commit(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.commits.lock().unwrap_or_else(PoisonError::into_inner).record(nanos);
    }

    /// How long the commits since the start took.
    #[must_use]
    pub fn commits(&self) -> LatencyHistogram {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is wrong just now, in words; empty when well.
    #[must_use]
    pub fn trouble(&self) -> String {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says what is wrong; an empty text says that all is well again.
    pub fn set_trouble(&self, text: &str) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if *trouble != text {
            if text.is_empty() {
                tracing::info!("the store works again");
            } else {
                tracing::error!("{text}");
            }
            text.clone_into(&mut trouble);
        }
    }

    /// Names the rules that keep secrets out; their counts begin at none.
    pub fn set_redactions(&self, rules: Vec<String>) {
        *self.redactions.lock().unwrap_or_else(PoisonError::into_inner) = rules.into_iter().map(|r| (r, 0)).collect();
    }

    /// Counts what each rule did to a request.
    pub fn count_redactions(&self, counts: &[u64]) {
        let mut redactions = self.redactions.lock().unwrap_or_else(PoisonError::into_inner);
        redactions.iter_mut().zip(counts).for_each(|((_, sum), count)| *sum += count);
    }

    /// Each rule in words and how many values it dropped or changed since the start; empty without rules.
    #[must_use]
    pub fn redactions(&self) -> Vec<(String, u64)> {
        self.redactions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where the collector listens: (`otlp_grpc` | `otlp_http` | `control` | `metrics` | `zipkin` | `jaeger_api`, address).
    #[must_use]
    pub fn addresses(&self) -> Vec<(String, String)> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says where the collector listens.
    pub fn set_addresses(&self, addresses: Vec<(String, String)>) {
        *self.addresses.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }
}
