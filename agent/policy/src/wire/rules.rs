//! Policy sets. A rule's tables may be partial, so it travels by its table, not by [`crate::settings::EdgeSettings`].

use toml::{Table, Value};

use super::table::{Reader, Writer};
use super::v1;
use crate::document::{PolicyDocument, Problem, Rule, ServiceRule};

/// A document as a message.
#[must_use]
pub fn policy(revision: u64, document: &PolicyDocument) -> v1::Policy {
    v1::Policy {
        revision,
        rules: document.rules().iter().map(v1::EdgeRule::from).collect(),
        services: document.services().iter().map(v1::ServiceRule::from).collect(),
        confirm_within_ms: 0,
    }
}

/// Checks what came as a document is checked.
impl TryFrom<v1::Policy> for PolicyDocument {
    type Error = Vec<Problem>;

    fn try_from(policy: v1::Policy) -> Result<Self, Vec<Problem>> {
        Self::from_rules(policy.rules.into_iter().map(Rule::from), policy.services.into_iter().map(ServiceRule::from))
    }
}

impl From<&Rule> for v1::EdgeRule {
    fn from(rule: &Rule) -> Self {
        let edge = Reader(Some(&rule.table));
        Self {
            caller: rule.caller.clone(),
            service: rule.service.clone(),
            operation: rule.operation.clone(),
            settings: Some(v1::EdgeSettings {
                preset: edge.text("preset"),
                criticality: edge
                    .word("criticality", "CRITICALITY_", |name| v1::Criticality::from_str_name(name).map(i32::from)),
                timeout: edge.table("timeout").map(|timeout| v1::Timeout {
                    attempt_ms: timeout.whole("attempt_ms"),
                    overall_ms: timeout.whole("overall_ms"),
                }),
                retry: edge.table("retry").map(|retry| retry_message(&retry)),
                breaker: edge.table("breaker").map(|breaker| breaker_message(&breaker)),
                rate: edge.table("rate").map(|rate| v1::Rate {
                    algorithm: rate.text("algorithm"),
                    per_sec: rate.whole("per_sec"),
                    burst: rate.whole("burst"),
                    limit: rate.whole("limit"),
                    window_ms: rate.whole("window_ms"),
                }),
                throttle: edge.table("throttle").map(|throttle| v1::Throttle {
                    kind: throttle.text("kind"),
                    k: throttle.number("k"),
                    window_ms: throttle.whole("window_ms"),
                }),
                concurrency: edge.table("concurrency").map(|limit| concurrency_message(&limit)),
                balance: edge.table("balance").map(|balance| v1::Balance {
                    algorithm: balance.text("algorithm"),
                    default_rtt_ms: balance.whole("default_rtt_ms"),
                    decay_ms: balance.whole("decay_ms"),
                    key: balance.text("key"),
                    max_load: balance.number("max_load"),
                }),
                outlier: edge.table("outlier").map(|outlier| outlier_message(&outlier)),
                hedge: edge.table("hedge").map(|hedge| v1::Hedge {
                    after_ms: hedge.whole("after_ms"),
                    after_quantile: hedge.number("after_quantile"),
                    max_extra: hedge.whole("max_extra").and_then(|n| u32::try_from(n).ok()),
                }),
                fallback: edge.table("fallback").map(|fallback| v1::Fallback {
                    kind: fallback.text("kind"),
                    code: fallback.text("code"),
                    name: fallback.text("name"),
                }),
            }),
        }
    }
}

fn concurrency_message(limit: &Reader<'_>) -> v1::Concurrency {
    v1::Concurrency {
        kind: limit.text("kind"),
        max: limit.whole("max"),
        initial: limit.whole("initial"),
        min: limit.whole("min"),
        backoff_ratio: limit.number("backoff_ratio"),
        timeout_ms: limit.whole("timeout_ms"),
        smoothing: limit.number("smoothing"),
        probe_multiplier: limit.whole("probe_multiplier"),
        queue: limit.whole("queue"),
        long_window: limit.whole("long_window"),
        tolerance: limit.number("tolerance"),
    }
}

fn outlier_message(outlier: &Reader<'_>) -> v1::Outlier {
    let rule = |name: &str| {
        outlier.table(name).map(|rule| v1::OutlierRule {
            stdev_factor: rule.number("stdev_factor"),
            threshold: rule.number("threshold"),
            enforcement_percent: rule.whole("enforcement_percent"),
            min_hosts: rule.whole("min_hosts"),
            request_volume: rule.whole("request_volume"),
        })
    };
    v1::Outlier {
        interval_ms: outlier.whole("interval_ms"),
        base_ejection_ms: outlier.whole("base_ejection_ms"),
        max_ejection_ms: outlier.whole("max_ejection_ms"),
        max_ejection_percent: outlier.whole("max_ejection_percent"),
        consecutive_failures: outlier.whole("consecutive_failures"),
        success_rate: rule("success_rate"),
        failure_percentage: rule("failure_percentage"),
    }
}

fn retry_message(retry: &Reader<'_>) -> v1::Retry {
    let on = retry.get("on").and_then(Value::as_array);
    let budget = retry.table("budget");
    let by_tokens = budget.get("max_tokens").is_some() || budget.get("token_ratio").is_some();
    v1::Retry {
        preset: retry.text("preset"),
        max_attempts: retry.whole("max_attempts").and_then(|n| u32::try_from(n).ok()),
        on_set: on.is_some(),
        on: on.into_iter().flatten().filter_map(|word| word.as_str().map(str::to_owned)).collect(),
        non_idempotent: retry.switch("non_idempotent"),
        backoff: retry.table("backoff").map(|backoff| v1::Backoff {
            base_ms: backoff.whole("base_ms"),
            max_ms: backoff.whole("max_ms"),
            multiplier: backoff.number("multiplier"),
            jitter: backoff.word("jitter", "JITTER_", |name| v1::Jitter::from_str_name(name).map(i32::from)),
        }),
        budget: budget.map(|budget| match by_tokens {
            true => v1::retry::Budget::TokenBudget(v1::TokenBudget {
                max_tokens: budget.whole("max_tokens"),
                token_ratio: budget.number("token_ratio"),
            }),
            false => v1::retry::Budget::RatioBudget(v1::RatioBudget {
                ratio: budget.number("ratio"),
                min_per_sec: budget.number("min_per_sec"),
                ttl_ms: budget.whole("ttl_ms"),
            }),
        }),
    }
}

fn breaker_message(breaker: &Reader<'_>) -> v1::Breaker {
    let window = breaker.table("window");
    let by_count = window.text("kind").as_deref() == Some("count");
    v1::Breaker {
        preset: breaker.text("preset"),
        window: window.map(|window| match by_count {
            true => v1::breaker::Window::CountWindow(v1::CountWindow { size: window.whole("size") }),
            false => v1::breaker::Window::TimeWindow(v1::TimeWindow {
                ms: window.whole("ms"),
                buckets: window.whole("buckets"),
            }),
        }),
        min_calls: breaker.whole("min_calls"),
        failure_ratio: breaker.number("failure_ratio"),
        failure_count: breaker.whole("failure_count"),
        consecutive_failures: breaker.whole("consecutive_failures"),
        slow_ms: breaker.whole("slow_ms"),
        slow_ratio: breaker.number("slow_ratio"),
        inflight_slow: breaker.switch("inflight_slow"),
        open_ms: breaker.whole("open_ms"),
        open_backoff: breaker.table("open_backoff").map(|backoff| v1::OpenBackoff {
            multiplier: backoff.number("multiplier"),
            max_ms: backoff.whole("max_ms"),
        }),
        half_open_permits: breaker.whole("half_open_permits"),
        half_open_successes: breaker.whole("half_open_successes"),
        probe_lease_ms: breaker.whole("probe_lease_ms"),
        mode: breaker.word("mode", "MODE_", |name| v1::Mode::from_str_name(name).map(i32::from)),
    }
}

impl From<v1::EdgeRule> for Rule {
    fn from(rule: v1::EdgeRule) -> Self {
        let settings = rule.settings.unwrap_or_default();
        let mut edge = Writer::default();
        edge.put("preset", settings.preset);
        let criticality = v1::Criticality::try_from(settings.criticality).ok().map(|c| c.as_str_name());
        edge.word("criticality", "CRITICALITY_", settings.criticality, criticality);
        edge.put(
            "timeout",
            settings.timeout.map(|timeout| {
                let mut table = Writer::default();
                table.whole("attempt_ms", timeout.attempt_ms);
                table.whole("overall_ms", timeout.overall_ms);
                table.0
            }),
        );
        edge.put("rate", settings.rate.map(rate_table));
        edge.put("throttle", settings.throttle.map(throttle_table));
        edge.put("concurrency", settings.concurrency.map(concurrency_table));
        edge.put("retry", settings.retry.map(retry_table));
        edge.put("balance", settings.balance.map(balance_table));
        edge.put("outlier", settings.outlier.map(outlier_table));
        edge.put("breaker", settings.breaker.map(breaker_table));
        edge.put("hedge", settings.hedge.map(hedge_table));
        edge.put("fallback", settings.fallback.map(fallback_table));
        Self { caller: rule.caller, service: rule.service, operation: rule.operation, table: edge.0 }
    }
}

impl From<&ServiceRule> for v1::ServiceRule {
    fn from(rule: &ServiceRule) -> Self {
        let service = Reader(Some(&rule.table));
        Self {
            name: rule.name.clone(),
            shed: service
                .table("shed")
                .map(|shed| v1::Shed { kind: shed.text("kind"), cpu_percent: shed.whole("cpu_percent") }),
            slo: service.table("slo").map(|slo| v1::Slo {
                success: slo.number("success"),
                p99_ms: slo.whole("p99_ms"),
                window_days: slo.whole("window_days").and_then(|n| u32::try_from(n).ok()),
            }),
        }
    }
}

impl From<v1::ServiceRule> for ServiceRule {
    fn from(rule: v1::ServiceRule) -> Self {
        let mut service = Writer::default();
        service.put(
            "shed",
            rule.shed.map(|shed| {
                let mut table = Writer::default();
                table.put("kind", shed.kind);
                table.whole("cpu_percent", shed.cpu_percent);
                table.0
            }),
        );
        service.put(
            "slo",
            rule.slo.map(|slo| {
                let mut table = Writer::default();
                table.put("success", slo.success);
                table.whole("p99_ms", slo.p99_ms);
                table.whole("window_days", slo.window_days.map(u64::from));
                table.0
            }),
        );
        Self { name: rule.name, table: service.0 }
    }
}

fn hedge_table(hedge: v1::Hedge) -> Table {
    let mut table = Writer::default();
    table.whole("after_ms", hedge.after_ms);
    table.put("after_quantile", hedge.after_quantile);
    table.whole("max_extra", hedge.max_extra.map(u64::from));
    table.0
}

fn fallback_table(fallback: v1::Fallback) -> Table {
    let mut table = Writer::default();
    table.put("kind", fallback.kind);
    table.put("code", fallback.code);
    table.put("name", fallback.name);
    table.0
}

fn rate_table(rate: v1::Rate) -> Table {
    let mut table = Writer::default();
    table.put("algorithm", rate.algorithm);
    table.whole("per_sec", rate.per_sec);
    table.whole("burst", rate.burst);
    table.whole("limit", rate.limit);
    table.whole("window_ms", rate.window_ms);
    table.0
}

fn throttle_table(throttle: v1::Throttle) -> Table {
    let mut table = Writer::default();
    table.put("kind", throttle.kind);
    table.put("k", throttle.k);
    table.whole("window_ms", throttle.window_ms);
    table.0
}

fn concurrency_table(limit: v1::Concurrency) -> Table {
    let mut table = Writer::default();
    table.put("kind", limit.kind);
    table.whole("max", limit.max);
    table.whole("initial", limit.initial);
    table.whole("min", limit.min);
    table.put("backoff_ratio", limit.backoff_ratio);
    table.whole("timeout_ms", limit.timeout_ms);
    table.put("smoothing", limit.smoothing);
    table.whole("probe_multiplier", limit.probe_multiplier);
    table.whole("queue", limit.queue);
    table.whole("long_window", limit.long_window);
    table.put("tolerance", limit.tolerance);
    table.0
}

fn balance_table(balance: v1::Balance) -> Table {
    let mut table = Writer::default();
    table.put("algorithm", balance.algorithm);
    table.whole("default_rtt_ms", balance.default_rtt_ms);
    table.whole("decay_ms", balance.decay_ms);
    table.put("key", balance.key);
    table.put("max_load", balance.max_load);
    table.0
}

fn outlier_table(outlier: v1::Outlier) -> Table {
    let rule = |rule: v1::OutlierRule| {
        let mut table = Writer::default();
        table.put("stdev_factor", rule.stdev_factor);
        table.put("threshold", rule.threshold);
        table.whole("enforcement_percent", rule.enforcement_percent);
        table.whole("min_hosts", rule.min_hosts);
        table.whole("request_volume", rule.request_volume);
        table.0
    };
    let mut table = Writer::default();
    table.whole("interval_ms", outlier.interval_ms);
    table.whole("base_ejection_ms", outlier.base_ejection_ms);
    table.whole("max_ejection_ms", outlier.max_ejection_ms);
    table.whole("max_ejection_percent", outlier.max_ejection_percent);
    table.whole("consecutive_failures", outlier.consecutive_failures);
    table.put("success_rate", outlier.success_rate.map(rule));
    table.put("failure_percentage", outlier.failure_percentage.map(rule));
    table.0
}

fn retry_table(retry: v1::Retry) -> Table {
    let mut table = Writer::default();
    table.put("preset", retry.preset);
    table.whole("max_attempts", retry.max_attempts.map(u64::from));
    table.put("on", retry.on_set.then_some(retry.on));
    table.put("non_idempotent", retry.non_idempotent);
    table.put(
        "backoff",
        retry.backoff.map(|backoff| {
            let mut table = Writer::default();
            table.whole("base_ms", backoff.base_ms);
            table.whole("max_ms", backoff.max_ms);
            table.put("multiplier", backoff.multiplier);
            let jitter = v1::Jitter::try_from(backoff.jitter).ok().map(|jitter| jitter.as_str_name());
            table.word("jitter", "JITTER_", backoff.jitter, jitter);
            table.0
        }),
    );
    table.put(
        "budget",
        retry.budget.map(|budget| {
            let mut table = Writer::default();
            match budget {
                v1::retry::Budget::TokenBudget(budget) => {
                    table.whole("max_tokens", budget.max_tokens);
                    table.put("token_ratio", budget.token_ratio);
                }
                v1::retry::Budget::RatioBudget(budget) => {
                    table.put("ratio", budget.ratio);
                    table.put("min_per_sec", budget.min_per_sec);
                    table.whole("ttl_ms", budget.ttl_ms);
                }
            }
            table.0
        }),
    );
    table.0
}

fn breaker_table(breaker: v1::Breaker) -> Table {
    let mut table = Writer::default();
    table.put("preset", breaker.preset);
    table.put(
        "window",
        breaker.window.map(|window| {
            let mut table = Writer::default();
            match window {
                v1::breaker::Window::CountWindow(window) => {
                    table.put("kind", Some("count"));
                    table.whole("size", window.size);
                }
                v1::breaker::Window::TimeWindow(window) => {
                    table.put("kind", Some("time"));
                    table.whole("ms", window.ms);
                    table.whole("buckets", window.buckets);
                }
            }
            table.0
        }),
    );
    table.whole("min_calls", breaker.min_calls);
    table.put("failure_ratio", breaker.failure_ratio);
    table.whole("failure_count", breaker.failure_count);
    table.whole("consecutive_failures", breaker.consecutive_failures);
    table.whole("slow_ms", breaker.slow_ms);
    table.put("slow_ratio", breaker.slow_ratio);
    table.put("inflight_slow", breaker.inflight_slow);
    table.whole("open_ms", breaker.open_ms);
    table.put(
        "open_backoff",
        breaker.open_backoff.map(|backoff| {
            let mut table = Writer::default();
            table.put("multiplier", backoff.multiplier);
            table.whole("max_ms", backoff.max_ms);
            table.0
        }),
    );
    table.whole("half_open_permits", breaker.half_open_permits);
    table.whole("half_open_successes", breaker.half_open_successes);
    table.whole("probe_lease_ms", breaker.probe_lease_ms);
    let mode = v1::Mode::try_from(breaker.mode).ok().map(|mode| mode.as_str_name());
    table.word("mode", "MODE_", breaker.mode, mode);
    table.0
}
