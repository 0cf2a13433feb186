//! Which settings have a field in the form, and how those of one table belong together.

use super::Kind;

/// One editable setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field {
    /// Path inside a rule: `timeout.attempt_ms`.
    pub(crate) path: &'static str,
    /// Its name for people.
    pub(crate) label: &'static str,
    /// What it holds.
    pub(crate) kind: Kind,
    /// What it does, for the tooltip.
    pub(crate) help: &'static str,
}

/// A group of settings under one head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group {
    /// The head.
    pub(crate) title: &'static str,
    /// The table that holds them; a group whose table is absent is not in force.
    pub(crate) table: &'static str,
    /// What the table may look like, the usual one first. Empty for tables whose settings stand for themselves.
    pub(crate) variants: &'static [Variant],
    /// The settings.
    pub(crate) fields: &'static [Field],
}

/// One kind of a table: it is written as a whole, because half of one is refused.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Variant {
    /// The setting that names the kind, and its name; `None` where there is only one kind.
    pub(crate) tag: Option<(&'static str, &'static str)>,
    /// Paths of its settings, and in TOML what a new one begins with; empty where the setting may be absent.
    pub(crate) parts: &'static [(&'static str, &'static str)],
}

impl Group {
    /// The setting that names the kind of its table.
    pub(crate) fn tag(&self) -> Option<&'static str> {
        self.variants.iter().find_map(|v| v.tag.map(|(path, _)| path))
    }

    /// The kind of a table whose tag is `name`; the usual one where there is but one.
    pub(crate) fn variant(&self, name: Option<&str>) -> Option<&'static Variant> {
        self.variants.iter().find(|v| v.tag.is_none_or(|(_, own)| Some(own) == name))
    }
}

impl Variant {
    /// Whether a setting belongs to it.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.tag.is_some_and(|(tag, _)| tag == path) || self.parts.iter().any(|(part, _)| *part == path)
    }
}

const fn field(path: &'static str, label: &'static str, kind: Kind, help: &'static str) -> Field {
    Field { path, label, kind, help }
}

const fn plain(title: &'static str, table: &'static str, fields: &'static [Field]) -> Group {
    Group { title, table, variants: &[], fields }
}

const TIMEOUTS: [Field; 2] = [
    field("timeout.attempt_ms", "attempt", Kind::Millis, "One attempt is cut after this long."),
    field(
        "timeout.overall_ms",
        "overall",
        Kind::Millis,
        "The call with its retries, and the most that callees further down may take.",
    ),
];

const RETRY: [Field; 8] = [
    field("retry.max_attempts", "attempts a call", Kind::Count, "The first one included."),
    field("retry.on", "retried outcomes", Kind::Words, "gRPC status names in lower case, reset, or HTTP codes."),
    field("retry.backoff.base_ms", "first wait", Kind::Millis, "Wait before the second attempt."),
    field("retry.backoff.max_ms", "longest wait", Kind::Millis, "Waits grow up to this."),
    field("retry.backoff.multiplier", "growth", Kind::Number, "Each wait is so many times the last."),
    field(
        "retry.backoff.jitter",
        "spread",
        Kind::Choice(&["none", "full", "equal", "decorrelated", "grpc"]),
        "How waits are spread so that retries do not come together.",
    ),
    field("retry.budget.ratio", "budget", Kind::Share, "Retries a call at most, over all calls."),
    field(
        "retry.non_idempotent",
        "also not idempotent",
        Kind::Flag,
        "Retry operations that may have happened already.",
    ),
];

const BREAKER: [Field; 12] = [
    field("breaker.failure_ratio", "trips at failures", Kind::Share, "Opens when this share of the window failed."),
    field("breaker.min_calls", "of at least", Kind::Count, "Calls in the window before a share counts."),
    field("breaker.failure_count", "or at failures", Kind::Count, "Opens at so many failures in the window."),
    field("breaker.consecutive_failures", "or in a row", Kind::Count, "Opens at so many failures in a row."),
    field("breaker.slow_ms", "slow from", Kind::Millis, "Calls that take longer are slow."),
    field("breaker.slow_ratio", "trips at slow", Kind::Share, "Opens when this share of the window was slow."),
    field("breaker.inflight_slow", "count hanging calls", Kind::Flag, "Calls in flight count as slow once they are."),
    field("breaker.open_ms", "stays open", Kind::Millis, "Then the next call is a probe."),
    field("breaker.half_open_permits", "probes at once", Kind::Count, "Calls let through while probing."),
    field("breaker.half_open_successes", "good probes to close", Kind::Count, "In a row."),
    field("breaker.probe_lease_ms", "probe must end in", Kind::Millis, "A probe that takes longer has failed."),
    field(
        "breaker.mode",
        "mode",
        Kind::Choice(&["auto", "forced_open", "forced_closed", "shadow", "disabled"]),
        "What the breaker is told to do, until a later revision says otherwise.",
    ),
];

const HEDGE: [Field; 3] = [
    field("hedge.after_ms", "after", Kind::Millis, "A second attempt joins one that takes this long."),
    field(
        "hedge.after_quantile",
        "or after quantile",
        Kind::Share,
        "The same as a quantile of what calls took lately: 95 means the slowest 5 in 100 get company.",
    ),
    field("hedge.max_extra", "extra attempts", Kind::Count, "Beside the first one; 0 turns hedging off."),
];

const FALLBACK: [Field; 3] = [
    field(
        "fallback.kind",
        "answers with",
        Kind::Choice(&["status", "value"]),
        "What the application is given when a call fails or is refused.",
    ),
    field("fallback.code", "status", Kind::Text, "A gRPC status name in lower case, or an HTTP status."),
    field("fallback.name", "value named", Kind::Text, "The name under which the service registered the value."),
];

const RATE: [Field; 5] = [
    field(
        "rate.algorithm",
        "algorithm",
        Kind::Choice(&["token_bucket", "sliding_window"]),
        "A bucket that refills continuously, or an exact count over a window.",
    ),
    field("rate.per_sec", "calls a second", Kind::Count, "On average."),
    field("rate.burst", "burst", Kind::Count, "Calls that may come at once."),
    field("rate.limit", "calls", Kind::Count, "In the window."),
    field("rate.window_ms", "window", Kind::Millis, "Over how long calls are counted."),
];

const THROTTLE: [Field; 3] = [
    field("throttle.kind", "kind", Kind::Choice(&["sre"]), "Refuses what the callee would refuse anyway."),
    field("throttle.k", "tolerance", Kind::Number, "So many times what the callee takes may be asked for."),
    field("throttle.window_ms", "window", Kind::Millis, "Over how long requests are counted."),
];

const CONCURRENCY: [Field; 8] = [
    field(
        "concurrency.kind",
        "kind",
        Kind::Choice(&["fixed", "aimd", "vegas", "gradient2"]),
        "A fixed limit of calls in flight, or one that finds itself.",
    ),
    field("concurrency.max", "at most", Kind::Count, "Calls in flight."),
    field("concurrency.initial", "begins at", Kind::Count, "The limit before anything is learned."),
    field("concurrency.min", "at least", Kind::Count, "The limit never falls below."),
    field("concurrency.backoff_ratio", "shrinks to", Kind::Share, "Of the limit, when a call is dropped or too slow."),
    field("concurrency.timeout_ms", "too slow from", Kind::Millis, "Calls that take longer shrink the limit."),
    field("concurrency.smoothing", "weight of the new", Kind::Share, "How fast the limit follows what is measured."),
    field("concurrency.tolerance", "growth tolerated", Kind::Number, "Of the round trip, at least 1."),
];

const BALANCE: [Field; 5] = [
    field(
        "balance.algorithm",
        "algorithm",
        Kind::Choice(&[
            "round_robin",
            "weighted_round_robin",
            "random",
            "least_request",
            "p2c_peak_ewma",
            "consistent_hash",
        ]),
        "How an instance of the callee is chosen.",
    ),
    field("balance.default_rtt_ms", "believed at first", Kind::Millis, "What a new instance is believed to take."),
    field("balance.decay_ms", "peaks last", Kind::Millis, "How fast a peak of latency is forgotten."),
    field("balance.key", "hashed key", Kind::Text, "For consistent_hash: header:NAME."),
    field("balance.max_load", "load bound", Kind::Number, "For consistent_hash: times the fair share of calls."),
];

const OUTLIER: [Field; 5] = [
    field("outlier.consecutive_failures", "ejects at", Kind::Count, "So many failures in a row, at once."),
    field("outlier.interval_ms", "looks every", Kind::Millis, "Time between sweeps."),
    field("outlier.base_ejection_ms", "first ejection", Kind::Millis, "It grows with each one."),
    field("outlier.max_ejection_ms", "longest ejection", Kind::Millis, "However often it was ejected."),
    field("outlier.max_ejection_percent", "at most ejected", Kind::Count, "Per cent of the instances."),
];

const GENERAL: [Field; 2] = [
    field(
        "criticality",
        "criticality",
        Kind::Choice(&["low", "medium", "high"]),
        "Forced changes on a high one ask for the service's name.",
    ),
    field("preset", "preset", Kind::Choice(&["rpc-50", "count-20"]), "Fills whole tables that stand not beside it."),
];

const fn kind(tag: (&'static str, &'static str), parts: &'static [(&'static str, &'static str)]) -> Variant {
    Variant { tag: Some(tag), parts }
}

/// Every editable setting in reading order.
pub(crate) const GROUPS: [Group; 11] = [
    plain("Timeouts", "timeout", &TIMEOUTS),
    plain("Retry", "retry", &RETRY),
    plain("Circuit breaker", "breaker", &BREAKER),
    plain("Hedging", "hedge", &HEDGE),
    Group {
        title: "Fallback",
        table: "fallback",
        variants: &[
            kind(("fallback.kind", "status"), &[("fallback.code", "\"unavailable\"")]),
            kind(("fallback.kind", "value"), &[("fallback.name", "\"default\"")]),
        ],
        fields: &FALLBACK,
    },
    Group {
        title: "Rate limit",
        table: "rate",
        variants: &[
            kind(("rate.algorithm", "token_bucket"), &[("rate.per_sec", "100"), ("rate.burst", "20")]),
            kind(("rate.algorithm", "sliding_window"), &[("rate.limit", "100"), ("rate.window_ms", "1000")]),
        ],
        fields: &RATE,
    },
    Group {
        title: "Throttle",
        table: "throttle",
        variants: &[kind(("throttle.kind", "sre"), &[("throttle.k", "2.0"), ("throttle.window_ms", "")])],
        fields: &THROTTLE,
    },
    Group {
        title: "Concurrency",
        table: "concurrency",
        variants: &[
            kind(("concurrency.kind", "fixed"), &[("concurrency.max", "100")]),
            kind(
                ("concurrency.kind", "aimd"),
                &[
                    ("concurrency.initial", "20"),
                    ("concurrency.min", "2"),
                    ("concurrency.max", "200"),
                    ("concurrency.backoff_ratio", "0.9"),
                    ("concurrency.timeout_ms", "1000"),
                ],
            ),
            kind(
                ("concurrency.kind", "vegas"),
                &[("concurrency.initial", "20"), ("concurrency.max", "200"), ("concurrency.smoothing", "")],
            ),
            kind(
                ("concurrency.kind", "gradient2"),
                &[
                    ("concurrency.initial", "20"),
                    ("concurrency.min", "2"),
                    ("concurrency.max", "200"),
                    ("concurrency.smoothing", "0.2"),
                    ("concurrency.tolerance", "1.5"),
                    ("concurrency.queue", "4"),
                    ("concurrency.long_window", "600"),
                ],
            ),
        ],
        fields: &CONCURRENCY,
    },
    Group {
        title: "Balancing",
        table: "balance",
        variants: &[Variant {
            tag: None,
            parts: &[
                ("balance.algorithm", "\"p2c_peak_ewma\""),
                ("balance.default_rtt_ms", ""),
                ("balance.decay_ms", ""),
                ("balance.key", ""),
                ("balance.max_load", ""),
            ],
        }],
        fields: &BALANCE,
    },
    Group {
        title: "Outlier ejection",
        table: "outlier",
        variants: &[Variant {
            tag: None,
            parts: &[
                ("outlier.interval_ms", "10000"),
                ("outlier.base_ejection_ms", "30000"),
                ("outlier.consecutive_failures", "5"),
                ("outlier.max_ejection_ms", ""),
                ("outlier.max_ejection_percent", ""),
            ],
        }],
        fields: &OUTLIER,
    },
    plain("General", "", &GENERAL),
];

/// The field of a path.
#[must_use]
pub(crate) fn by_path(path: &str) -> Option<&'static Field> {
    GROUPS.iter().flat_map(|g| g.fields).find(|f| f.path == path)
}

/// The group whose table holds a path.
#[must_use]
pub(crate) fn group_of(path: &str) -> Option<&'static Group> {
    GROUPS.iter().find(|g| g.fields.iter().any(|f| f.path == path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fuseboard_policy::settings::EdgeSettings;

    #[test]
    fn every_path_is_named_once() {
        let mut paths: Vec<&str> = GROUPS.iter().flat_map(|g| g.fields).map(|f| f.path).collect();
        let n = paths.len();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), n);
    }

    #[test]
    fn every_kind_of_table_is_taken_as_it_begins() {
        for group in GROUPS.iter().filter(|g| !g.variants.is_empty()) {
            for variant in group.variants {
                let tag = variant.tag.map(|(path, name)| format!("{path} = {name:?}\n")).unwrap_or_default();
                let parts = variant.parts.iter().filter(|(_, begin)| !begin.is_empty());
                let text = parts.fold(tag, |text, (path, begin)| format!("{text}{path} = {begin}\n"));
                let read = toml::from_str::<EdgeSettings>(&text);
                assert!(read.is_ok(), "{}: {read:?}\n{text}", group.title);
            }
        }
    }
}
