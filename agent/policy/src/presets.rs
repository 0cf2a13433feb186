//! Named settings to start from. A preset fills a breaker, retries or a whole edge; keys beside it win.

use toml::Table;

/// One preset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// Its name in documents.
    pub name: &'static str,
    /// What it stands for, in a line.
    pub about: &'static str,
    text: &'static str,
}

/// All presets.
pub const PRESETS: [Preset; 6] = [
    Preset {
        name: "rpc-50",
        about: "opens at 50 % failures of at least 20 calls in 10 s, for 30 s; two retries with growing delays",
        text: r#"
            [breaker]
            window = { kind = "time", ms = 10000, buckets = 10 }
            min_calls = 20
            failure_ratio = 0.5
            open_ms = 30000
            [retry]
            max_attempts = 3
            backoff = { base_ms = 100, max_ms = 1000, multiplier = 2.0, jitter = "full" }
        "#,
    },
    Preset {
        name: "count-20",
        about: "opens at 20 failures in 10 s, for 60 s; one probe, one success closes",
        text: r#"
            [breaker]
            window = { kind = "time", ms = 10000, buckets = 10 }
            failure_count = 20
            open_ms = 60000
            half_open_permits = 1
            half_open_successes = 1
        "#,
    },
    // Defaults of CircuitBreakerConfig and RetryConfig. It judges ten probes by their failure rate; here ten good ones in a
    // row close.
    Preset {
        name: "resilience4j",
        about: "resilience4j's defaults: 50 % of 100 calls, open 60 s, ten probes; three attempts 500 ms apart",
        text: r#"
            [breaker]
            window = { kind = "count", size = 100 }
            min_calls = 100
            failure_ratio = 0.5
            slow_ms = 60000
            slow_ratio = 1.0
            open_ms = 60000
            half_open_permits = 10
            half_open_successes = 10
            [retry]
            max_attempts = 3
            backoff = { base_ms = 500, max_ms = 500, multiplier = 1.0, jitter = "none" }
        "#,
    },
    // Defaults of HystrixCommandProperties and HystrixThreadPoolProperties; ten threads without a queue are ten calls in flight.
    Preset {
        name: "hystrix",
        about: "Hystrix's defaults: 1 s a call, ten in flight; 50 % of at least 20 calls in 10 s, open 5 s, one probe",
        text: r#"
            [timeout]
            attempt_ms = 1000
            [concurrency]
            kind = "fixed"
            max = 10
            [breaker]
            window = { kind = "time", ms = 10000, buckets = 10 }
            min_calls = 20
            failure_ratio = 0.5
            open_ms = 5000
            half_open_permits = 1
            half_open_successes = 1
        "#,
    },
    // Google, Site Reliability Engineering, chapter 21: K = 2 over two minutes, and a retry budget of a tenth of the calls.
    Preset {
        name: "sre-throttle",
        about: "the SRE book's caller: refuses beyond twice what the callee takes; two retries within a tenth of the calls",
        text: r#"
            [throttle]
            kind = "sre"
            k = 2.0
            window_ms = 120000
            [retry]
            max_attempts = 3
            budget = { ratio = 0.1, min_per_sec = 1, ttl_ms = 10000 }
        "#,
    },
    // Defaults of envoy.config.cluster.v3.OutlierDetection that are enforced: gateway failures and the failure percentage are
    // only watched there.
    Preset {
        name: "envoy-outlier",
        about: "Envoy's defaults: five failures in a row, or 1.9 deviations below the mean, eject for 30 s and more",
        text: r#"
            [outlier]
            consecutive_failures = 5
            interval_ms = 10000
            base_ejection_ms = 30000
            max_ejection_ms = 300000
            max_ejection_percent = 10
            success_rate = { stdev_factor = 1.9, enforcement_percent = 100, min_hosts = 5, request_volume = 100 }
        "#,
    },
];

impl Preset {
    /// The settings as TOML, as they would stand in an edge.
    #[must_use]
    pub fn toml(&self) -> &'static str {
        self.text
    }

    /// The preset's tables.
    pub(crate) fn table(&self) -> Table {
        // The texts are constants; a test parses each.
        self.text.parse().unwrap_or_default()
    }
}

/// Finds a preset by name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}

/// Names of the presets that hold a table (`breaker`, `retry`); all for `None`.
pub(crate) fn names(part: Option<&str>) -> Vec<&'static str> {
    PRESETS.iter().filter(|preset| part.is_none_or(|part| preset.table().contains_key(part))).map(|p| p.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::PolicyDocument;
    use crate::set::PolicySet;
    use crate::settings::{Concurrency, RetryBudget, Throttle, Window};

    #[test]
    fn every_preset_is_a_valid_edge() {
        for preset in PRESETS {
            assert!(!preset.table().is_empty(), "{}", preset.name);
            let text = format!("[[edge]]\nservice = \"*\"\npreset = \"{}\"\n", preset.name);
            PolicyDocument::parse(&text).unwrap_or_else(|problems| panic!("{}: {problems:?}", preset.name));
        }
    }

    /// The originals' published defaults, once more.
    #[test]
    fn profiles_fill_what_their_originals_publish() {
        let filled = |name: &str| {
            let text = format!("[[edge]]\nservice = \"*\"\npreset = \"{name}\"\n");
            PolicySet::new(1, &PolicyDocument::parse(&text).unwrap()).effective("a", "b", "c").settings
        };
        let r4j = filled("resilience4j");
        let breaker = r4j.breaker.unwrap();
        assert_eq!((breaker.window, breaker.min_calls), (Some(Window::Count { size: 100 }), Some(100)));
        assert_eq!((breaker.failure_ratio, breaker.slow_ratio, breaker.slow_ms), (Some(0.5), Some(1.0), Some(60_000)));
        assert_eq!((breaker.open_ms, breaker.half_open_permits), (Some(60_000), Some(10)));
        let retry = r4j.retry.unwrap();
        assert_eq!((retry.max_attempts, retry.backoff.unwrap().base_ms), (Some(3), Some(500)));
        let hystrix = filled("hystrix");
        let breaker = hystrix.breaker.unwrap();
        assert_eq!(breaker.window, Some(Window::Time { ms: 10_000, buckets: 10 }));
        assert_eq!((breaker.min_calls, breaker.failure_ratio, breaker.open_ms), (Some(20), Some(0.5), Some(5_000)));
        assert_eq!(hystrix.timeout.unwrap().attempt_ms, Some(1_000));
        assert_eq!(hystrix.concurrency, Some(Concurrency::Fixed { max: 10 }));
        let outlier = filled("envoy-outlier").outlier.unwrap();
        assert_eq!((outlier.consecutive_failures, outlier.interval_ms), (Some(5), 10_000));
        assert_eq!(
            (outlier.base_ejection_ms, outlier.max_ejection_ms, outlier.max_ejection_percent),
            (30_000, 300_000, 10)
        );
        let rate = outlier.success_rate.unwrap();
        assert_eq!(
            (rate.stdev_factor, rate.min_hosts, rate.request_volume, rate.enforcement_percent),
            (1.9, 5, 100, 100)
        );
        let sre = filled("sre-throttle");
        assert_eq!(sre.throttle, Some(Throttle::Sre { k: 2.0, window_ms: 120_000 }));
        assert!(matches!(sre.retry.unwrap().budget, Some(RetryBudget::Ratio { ratio: 0.1, .. })));
    }
}
