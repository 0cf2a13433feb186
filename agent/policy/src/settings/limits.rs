//! Settings of limits, balancing and outlier ejection; their engines stand beside this file.

use serde::{Deserialize, Serialize};

/// Longest ejection where none is set, in milliseconds.
pub const DEFAULT_MAX_EJECTION_MS: u64 = 300_000;
/// Share of the instances that may be ejected where none is set, in per cent.
pub const DEFAULT_MAX_EJECTION_PERCENT: u64 = 10;

/// How many calls a second may be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "algorithm", rename_all = "snake_case", deny_unknown_fields)]
pub enum Rate {
    /// A bucket of tokens that refills continuously.
    TokenBucket {
        /// Tokens a second.
        per_sec: u64,
        /// Size of the bucket.
        burst: u64,
    },
    /// An exact log of admitted calls.
    SlidingWindow {
        /// Calls in the window.
        limit: u64,
        /// Length of the window, in milliseconds.
        window_ms: u64,
    },
}

/// Refusing at the caller what the callee would refuse anyway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Throttle {
    /// The client-side throttling of Google's SRE book.
    Sre {
        /// How many times what the callee takes may be asked for before anything is refused.
        k: f64,
        /// Over how long requests are counted, in milliseconds; two minutes, as in the book, when absent.
        #[serde(default = "two_minutes")]
        window_ms: u64,
    },
}

fn two_minutes() -> u64 {
    120_000
}

/// How many calls may be in flight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Concurrency {
    /// So many.
    Fixed {
        /// How many.
        max: u64,
    },
    /// Additive increase, multiplicative decrease.
    Aimd {
        /// Limit at the start.
        initial: u64,
        /// Lower end.
        min: u64,
        /// Upper end.
        max: u64,
        /// Factor when a call is dropped or too slow.
        backoff_ratio: f64,
        /// Longer is too slow, in milliseconds.
        timeout_ms: u64,
    },
    /// TCP Vegas: estimates the queue from the growth of the round trip.
    Vegas {
        /// Limit at the start.
        initial: u64,
        /// Upper end.
        max: u64,
        /// Weight of the new limit, 0…1; 1 when absent.
        #[serde(default = "one")]
        smoothing: f64,
        /// Probes for a new base line every so many limits of calls; 30 when absent.
        #[serde(default = "thirty")]
        probe_multiplier: u64,
    },
    /// Compares a short with a long average of the round trip.
    Gradient2 {
        /// Limit at the start.
        initial: u64,
        /// Lower end.
        min: u64,
        /// Upper end.
        max: u64,
        /// Weight of the new limit, 0…1.
        smoothing: f64,
        /// Calls that may queue.
        queue: u64,
        /// Length of the long average, in calls.
        long_window: u64,
        /// Growth of the round trip that is tolerated, at least 1.
        tolerance: f64,
    },
}

fn one() -> f64 {
    1.0
}

fn thirty() -> u64 {
    30
}

/// How an instance of the callee is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// One after the other.
    #[default]
    RoundRobin,
    /// One after the other, heavier ones more often, evenly spread.
    WeightedRoundRobin,
    /// Any.
    Random,
    /// The one with the fewest calls in flight.
    LeastRequest,
    /// The cheaper of two random ones, by peak latency and calls in flight.
    P2cPeakEwma,
    /// By a key of the call: equal keys meet equal instances.
    ConsistentHash,
}

/// Balancing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Balance {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// What a new instance is believed to take (`p2c_peak_ewma`), in milliseconds; 30 when absent.
    #[serde(default = "thirty")]
    pub default_rtt_ms: u64,
    /// How fast a peak is forgotten (`p2c_peak_ewma`), in milliseconds; ten seconds when absent.
    #[serde(default = "ten_seconds")]
    pub decay_ms: u64,
    /// What of a call is hashed (`consistent_hash`): `header:NAME`. A call without it hashes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How many times its fair share of the calls in flight an instance may carry before its keys go to the next
    /// (`consistent_hash`); unbounded when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_load: Option<f64>,
}

fn ten_seconds() -> u64 {
    10_000
}

/// Ejection by success rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuccessRate {
    /// An outlier is so many standard deviations below the mean.
    pub stdev_factor: f64,
    /// Chance that an outlier is ejected, in per cent.
    pub enforcement_percent: u64,
    /// Instances needed.
    pub min_hosts: u64,
    /// Calls an instance needs in the interval.
    pub request_volume: u64,
}

/// Ejection by failure percentage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailurePercentage {
    /// An outlier fails at least so often, in per cent.
    pub threshold: f64,
    /// Chance that an outlier is ejected, in per cent.
    pub enforcement_percent: u64,
    /// Instances needed.
    pub min_hosts: u64,
    /// Calls an instance needs in the interval.
    pub request_volume: u64,
}

/// Ejection of single instances.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outlier {
    /// Time between sweeps, in milliseconds.
    pub interval_ms: u64,
    /// Length of the first ejection, in milliseconds; it grows with each.
    pub base_ejection_ms: u64,
    /// Longest ejection, in milliseconds; [`DEFAULT_MAX_EJECTION_MS`] when absent.
    #[serde(default = "max_ejection_ms")]
    pub max_ejection_ms: u64,
    /// No more are ejected once this share is, in per cent; [`DEFAULT_MAX_EJECTION_PERCENT`] when absent.
    #[serde(default = "max_ejection_percent")]
    pub max_ejection_percent: u64,
    /// So many failures in a row eject at once.
    #[serde(default)]
    pub consecutive_failures: Option<u64>,
    /// By success rate, at a sweep.
    #[serde(default)]
    pub success_rate: Option<SuccessRate>,
    /// By failure percentage, at a sweep.
    #[serde(default)]
    pub failure_percentage: Option<FailurePercentage>,
}

fn max_ejection_ms() -> u64 {
    DEFAULT_MAX_EJECTION_MS
}

fn max_ejection_percent() -> u64 {
    DEFAULT_MAX_EJECTION_PERCENT
}
