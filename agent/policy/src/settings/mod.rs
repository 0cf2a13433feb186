//! The settings of an edge, as written in a document and as merged. Every setting is optional in a rule; after merging,
//! what is still absent is not in force.

mod callee;
mod limits;
mod rescue;

pub use callee::{ServiceSettings, Shed, Slo};
pub use limits::{
    Algorithm, Balance, Concurrency, DEFAULT_MAX_EJECTION_MS, DEFAULT_MAX_EJECTION_PERCENT, FailurePercentage, Outlier,
    Rate, SuccessRate, Throttle,
};
pub use rescue::{DEFAULT_MAX_EXTRA, Fallback, Hedge};
use serde::{Deserialize, Serialize};

/// What a breaker is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerMode {
    /// Trips and recovers by its rules.
    #[default]
    Auto,
    /// Refuses every call.
    ForcedOpen,
    /// Admits every call.
    ForcedClosed,
    /// Evaluates and reports, never refuses.
    Shadow,
    /// Admits every call and evaluates nothing.
    Disabled,
}

/// An injected fault (only in overrides).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fault {
    /// Delay of the calls chosen by `delay_ratio`, in milliseconds.
    pub delay_ms: u64,
    /// Share of calls to delay, 0…1.
    pub delay_ratio: f64,
    /// Share of calls to abort, 0…1.
    pub abort_ratio: f64,
    /// The code aborted calls end with: a gRPC status name in lower case.
    pub abort_code: String,
}

/// Timeouts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeout {
    /// For one attempt, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt_ms: Option<u64>,
    /// For the whole call with its retries, in milliseconds; also the most that callees further down may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overall_ms: Option<u64>,
}

/// A breaker's window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Window {
    /// The last `size` calls.
    Count {
        /// How many.
        size: u64,
    },
    /// The last `ms` milliseconds in `buckets` slices.
    Time {
        /// Length in milliseconds; a multiple of `buckets`.
        ms: u64,
        /// How many slices.
        buckets: u64,
    },
}

/// Growth of the open time with each re-opening.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenBackoff {
    /// Factor for each re-opening.
    pub multiplier: f64,
    /// Upper end, in milliseconds.
    pub max_ms: u64,
}

/// A circuit breaker.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Breaker {
    /// Fills what stands not beside it: `rpc-50`, `count-20`, ….
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// The window that ratios look at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// Calls needed in the window before a ratio counts; 1 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_calls: Option<u64>,
    /// Trips at this share of failures, 0…1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_ratio: Option<f64>,
    /// Trips at so many failures in the window, whatever `min_calls`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_count: Option<u64>,
    /// Trips at so many failures in a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consecutive_failures: Option<u64>,
    /// Calls longer than this are slow, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow_ms: Option<u64>,
    /// Trips at this share of slow calls, 0…1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow_ratio: Option<f64>,
    /// Whether calls still in flight count as slow once they pass `slow_ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inflight_slow: Option<bool>,
    /// Time open before a probe, in milliseconds; [`crate::breaker::DEFAULT_OPEN_MS`] when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_ms: Option<u64>,
    /// Longer open times for repeated trips.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_backoff: Option<OpenBackoff>,
    /// Probes in flight at once; 1 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub half_open_permits: Option<u64>,
    /// Good probes in a row that close; 1 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub half_open_successes: Option<u64>,
    /// A probe that takes longer has failed, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe_lease_ms: Option<u64>,
    /// What it is told to do; `auto` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<BreakerMode>,
}

/// Spread of backoff delays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Jitter {
    /// Exactly the delay.
    None,
    /// Uniform between nothing and the delay.
    #[default]
    Full,
    /// Half the delay and uniform up to the other half.
    Equal,
    /// Uniform between the base and three times the last delay.
    Decorrelated,
    /// 0.8 to 1.2 of the delay, as gRPC has it.
    Grpc,
}

/// Delays between attempts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Backoff {
    /// First delay, in milliseconds; [`crate::backoff::DEFAULT_BASE_MS`] when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_ms: Option<u64>,
    /// Longest delay, in milliseconds; [`crate::backoff::DEFAULT_MAX_MS`] when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_ms: Option<u64>,
    /// Growth from delay to delay; [`crate::backoff::DEFAULT_MULTIPLIER`] when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multiplier: Option<f64>,
    /// Spread; `full` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Jitter>,
}

/// How many retries an edge may spend.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum RetryBudget {
    /// A share of recent calls and a reserve.
    Ratio {
        /// Retries a call, over `ttl_ms`.
        ratio: f64,
        /// Reserve, in retries a second.
        min_per_sec: f64,
        /// How long a call counts, in milliseconds.
        ttl_ms: u64,
    },
    /// gRPC's token bucket: retries only above half of `max_tokens`.
    Tokens {
        /// Size of the bucket.
        max_tokens: u64,
        /// Tokens a good call gives back.
        token_ratio: f64,
    },
}

/// Retries.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Fills what stands not beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// Attempts a call, the first included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// Outcomes worth another attempt: gRPC status names in lower case, `reset`, HTTP codes as text (`503`) or `5xx`;
    /// [`crate::pipeline::DEFAULT_RETRY_ON`] when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on: Option<Vec<String>>,
    /// Whether operations that are not known to be idempotent are retried too. A request that certainly never left (the
    /// connection could not be made) is, whatever this says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub non_idempotent: Option<bool>,
    /// Delays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
    /// Budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<RetryBudget>,
}

/// How much an edge matters; a forced change on `high` asks for confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Criticality {
    /// Little.
    Low,
    /// As usual.
    #[default]
    Medium,
    /// Much.
    High,
}

/// The settings of an edge.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EdgeSettings {
    /// Fills whole tables that stand not beside it: `rpc-50`, `count-20`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// How much the edge matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub criticality: Option<Criticality>,
    /// Timeouts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Timeout>,
    /// Further attempts beside one that takes long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hedge: Option<Hedge>,
    /// What the application is given when a call fails or is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
    /// How many calls a second may be made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Refusing what the callee would refuse anyway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttle: Option<Throttle>,
    /// How many calls may be in flight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
    /// Retries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// The breaker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breaker: Option<Breaker>,
    /// How an instance of the callee is chosen; `round_robin` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balance: Option<Balance>,
    /// Ejection of instances that do worse than the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outlier: Option<Outlier>,
}
