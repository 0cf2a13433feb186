//! Which names rules may hold, and which values.

/// A day: no timeout or wait may be longer.
const DAY_MS: i64 = 86_400_000;
/// An hour: no window may be longer.
const HOUR_MS: i64 = 3_600_000;
/// Longest name of a service, an operation or a fallback, in bytes.
pub(super) const LONGEST_NAME: usize = 256;

/// What a setting may be.
pub(super) enum Kind {
    /// A whole number.
    Whole(i64, i64),
    /// A number.
    Number(f64, f64),
    Switch,
    Word(&'static [&'static str]),
    /// The name of a preset that fills this table; `None`: of any.
    Preset(Option<&'static str>),
    /// A list of outcomes.
    Codes,
    /// One outcome that is a failure.
    Failure,
    /// A name that a service chose.
    Name,
    /// What a balancer hashes: `header:NAME`.
    HashKey,
    Table(&'static [Field]),
}

/// A setting.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
}

const fn field(name: &'static str, kind: Kind) -> Field {
    Field { name, kind }
}

const MS: Kind = Kind::Whole(1, DAY_MS);
const RATIO: Kind = Kind::Number(0.0, 1.0);
const COUNT: Kind = Kind::Whole(1, 1_000_000);
const PERCENT: Kind = Kind::Whole(0, 100);

/// What an edge may hold.
pub(super) const EDGE: &[Field] = &[
    field("preset", Kind::Preset(None)),
    field("criticality", Kind::Word(&["low", "medium", "high"])),
    field("timeout", Kind::Table(&[field("attempt_ms", MS), field("overall_ms", MS)])),
    field("hedge", Kind::Table(HEDGE)),
    field("fallback", Kind::Table(FALLBACK)),
    field("rate", Kind::Table(RATE)),
    field("throttle", Kind::Table(THROTTLE)),
    field("concurrency", Kind::Table(CONCURRENCY)),
    field("retry", Kind::Table(RETRY)),
    field("breaker", Kind::Table(BREAKER)),
    field("balance", Kind::Table(BALANCE)),
    field("outlier", Kind::Table(OUTLIER)),
];

/// What a service may hold.
pub(super) const SERVICE: &[Field] = &[field("shed", Kind::Table(SHED)), field("slo", Kind::Table(SLO))];

const SHED: &[Field] = &[field("kind", Kind::Word(&["bbr"])), field("cpu_percent", Kind::Whole(1, 100))];

const SLO: &[Field] =
    &[field("success", Kind::Number(0.0, 1.0)), field("p99_ms", MS), field("window_days", Kind::Whole(1, 366))];

const HEDGE: &[Field] = &[
    field("after_ms", MS),
    field("after_quantile", Kind::Number(0.01, 0.999)),
    // gRPC's proposal A6 has five attempts at most; none turns off what is inherited.
    field("max_extra", Kind::Whole(0, 4)),
];

const FALLBACK: &[Field] =
    &[field("kind", Kind::Word(&["status", "value"])), field("code", Kind::Failure), field("name", Kind::Name)];

const BALANCE: &[Field] = &[
    field(
        "algorithm",
        Kind::Word(&[
            "round_robin",
            "weighted_round_robin",
            "random",
            "least_request",
            "p2c_peak_ewma",
            "consistent_hash",
        ]),
    ),
    field("default_rtt_ms", MS),
    field("decay_ms", MS),
    field("key", Kind::HashKey),
    field("max_load", Kind::Number(1.0, 100.0)),
];

const OUTLIER: &[Field] = &[
    field("interval_ms", MS),
    field("base_ejection_ms", MS),
    field("max_ejection_ms", MS),
    field("max_ejection_percent", PERCENT),
    field("consecutive_failures", COUNT),
    field(
        "success_rate",
        Kind::Table(&[
            field("stdev_factor", Kind::Number(0.0, 100.0)),
            field("enforcement_percent", PERCENT),
            field("min_hosts", COUNT),
            field("request_volume", COUNT),
        ]),
    ),
    field(
        "failure_percentage",
        Kind::Table(&[
            field("threshold", Kind::Number(0.0, 100.0)),
            field("enforcement_percent", PERCENT),
            field("min_hosts", COUNT),
            field("request_volume", COUNT),
        ]),
    ),
];

const RATE: &[Field] = &[
    field("algorithm", Kind::Word(&["token_bucket", "sliding_window"])),
    field("per_sec", Kind::Whole(1, 1_000_000_000)),
    field("burst", Kind::Whole(1, 1_000_000_000)),
    // An exact log keeps an entry a call.
    field("limit", COUNT),
    field("window_ms", Kind::Whole(1, HOUR_MS)),
];

const THROTTLE: &[Field] = &[
    field("kind", Kind::Word(&["sre"])),
    field("k", Kind::Number(1.0, 1_000.0)),
    field("window_ms", Kind::Whole(100, HOUR_MS)),
];

const CONCURRENCY: &[Field] = &[
    field("kind", Kind::Word(&["fixed", "aimd", "vegas", "gradient2"])),
    field("max", COUNT),
    field("initial", COUNT),
    field("min", COUNT),
    field("backoff_ratio", Kind::Number(0.01, 0.99)),
    field("timeout_ms", MS),
    field("smoothing", Kind::Number(0.001, 1.0)),
    field("probe_multiplier", Kind::Whole(1, 10_000)),
    field("queue", Kind::Whole(0, 1_000_000)),
    field("long_window", Kind::Whole(1, 100_000)),
    field("tolerance", Kind::Number(1.0, 100.0)),
];

const RETRY: &[Field] = &[
    field("preset", Kind::Preset(Some("retry"))),
    field("max_attempts", Kind::Whole(1, 100)),
    field("on", Kind::Codes),
    field("non_idempotent", Kind::Switch),
    field("backoff", Kind::Table(BACKOFF)),
    field("budget", Kind::Table(BUDGET)),
];

const BACKOFF: &[Field] = &[
    field("base_ms", MS),
    field("max_ms", MS),
    field("multiplier", Kind::Number(1.0, 1_000.0)),
    field("jitter", Kind::Word(&["none", "full", "equal", "decorrelated", "grpc"])),
];

const BUDGET: &[Field] = &[
    field("ratio", Kind::Number(0.0, 1_000.0)),
    field("min_per_sec", Kind::Number(0.0, 1_000_000.0)),
    field("ttl_ms", Kind::Whole(100, HOUR_MS)),
    field("max_tokens", COUNT),
    field("token_ratio", Kind::Number(0.001, 1_000.0)),
];

const BREAKER: &[Field] = &[
    field("preset", Kind::Preset(Some("breaker"))),
    field("window", Kind::Table(WINDOW)),
    field("min_calls", COUNT),
    field("failure_ratio", RATIO),
    field("failure_count", COUNT),
    field("consecutive_failures", COUNT),
    field("slow_ms", MS),
    field("slow_ratio", RATIO),
    field("inflight_slow", Kind::Switch),
    field("open_ms", MS),
    field("open_backoff", Kind::Table(&[field("multiplier", Kind::Number(1.0, 1_000.0)), field("max_ms", MS)])),
    field("half_open_permits", Kind::Whole(1, 1_000)),
    field("half_open_successes", Kind::Whole(1, 1_000)),
    field("probe_lease_ms", MS),
    field("mode", Kind::Word(&["auto", "forced_open", "forced_closed", "shadow", "disabled"])),
];

const WINDOW: &[Field] = &[
    field("kind", Kind::Word(&["count", "time"])),
    field("size", Kind::Whole(1, 100_000)),
    field("ms", Kind::Whole(1, HOUR_MS)),
    field("buckets", Kind::Whole(1, 1_000)),
];
