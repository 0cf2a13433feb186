//! What a service lets nobody set, whoever steers it.

use std::time::Duration;

use fuseboard_policy::backoff::{DEFAULT_BASE_MS, DEFAULT_MAX_MS};
use fuseboard_policy::breaker::DEFAULT_OPEN_MS;
use fuseboard_policy::document::PolicyDocument;
use fuseboard_policy::overrides::{Override, OverrideAction};
use fuseboard_policy::settings::{
    BreakerMode, DEFAULT_MAX_EJECTION_MS, DEFAULT_MAX_EJECTION_PERCENT, DEFAULT_MAX_EXTRA, Fault,
};
use fuseboard_policy::wire::v1;
use toml::{Table, Value};

/// The hard bounds of an agent. Nothing that the control plane sends and no policy of the service's own passes them: what is out
/// of bounds is refused as a whole, and what was in force stays. Only the code of the service sets them
/// ([`Builder::bounds`](crate::Builder::bounds)).
///
/// They hold for what a rule says, for what its presets fill and for what it leaves to a default.
///
/// Beside them are the bounds of the policy itself (a rate is never 0, names have 256 bytes at most, a document 2,000 rules):
/// those cannot be set.
#[derive(Debug, Clone, PartialEq)]
pub struct Bounds {
    timeout: (Duration, Duration),
    attempts: u64,
    hedges: u64,
    retry_ratio: f64,
    retries_per_sec: f64,
    calls_per_minute: f64,
    concurrent: u64,
    trip_ratio: f64,
    open: Duration,
    ejected_percent: u64,
    shed_percent: u64,
    force_open: bool,
    abort_ratio: f64,
    delay_ratio: f64,
    delay: Duration,
    override_life: Duration,
    overrides: usize,
    message: usize,
}

/// Refused overrides that are told; of more, only how many they are would be news.
pub(crate) const MOST_REFUSED: usize = 64;
/// Longest text of an override, in bytes.
const LONGEST_TEXT: usize = 4_096;

/// What is in force where a setting is left out, and any of the settings that make it count.
const DEFAULTS: &[(&str, f64, &[&str])] = &[
    ("breaker.open_ms", DEFAULT_OPEN_MS as f64, TRIPS),
    ("outlier.max_ejection_ms", DEFAULT_MAX_EJECTION_MS as f64, &["outlier"]),
    ("outlier.max_ejection_percent", DEFAULT_MAX_EJECTION_PERCENT as f64, &["outlier"]),
    ("hedge.max_extra", DEFAULT_MAX_EXTRA as f64, &["hedge"]),
    ("retry.backoff.base_ms", DEFAULT_BASE_MS as f64, &["retry.max_attempts"]),
    ("retry.backoff.max_ms", DEFAULT_MAX_MS as f64, &["retry.max_attempts"]),
];
/// What trips a breaker: one without any of them never opens by itself.
const TRIPS: &[&str] =
    &["breaker.failure_ratio", "breaker.failure_count", "breaker.consecutive_failures", "breaker.slow_ratio"];

impl Default for Bounds {
    fn default() -> Self {
        let hour = Duration::from_secs(3_600);
        Self {
            timeout: (Duration::from_millis(1), hour / 6),
            attempts: 20,
            hedges: 4,
            retry_ratio: 10.0,
            retries_per_sec: 10_000.0,
            calls_per_minute: 0.0,
            concurrent: 1,
            trip_ratio: 0.01,
            open: hour,
            ejected_percent: 100,
            shed_percent: 5,
            force_open: true,
            abort_ratio: 1.0,
            delay_ratio: 1.0,
            delay: hour / 60,
            override_life: 24 * hour,
            overrides: 1_000,
            message: 4 * 1024 * 1024,
        }
    }
}

impl Bounds {
    /// Shortest and longest timeout of attempts and calls; also the longest wait between two attempts. 1 ms to 10 min when not
    /// given. A policy may leave timeouts out: calls then take as long as their callers and their deadlines let them.
    #[must_use]
    pub fn timeouts(mut self, least: Duration, most: Duration) -> Self {
        self.timeout = (least, most);
        self
    }

    /// Most attempts of a call, the first among them, and most hedges beside one attempt. 20 and 4 when not given.
    #[must_use]
    pub fn attempts(mut self, attempts: u32, hedges: u32) -> Self {
        (self.attempts, self.hedges) = (attempts.into(), hedges.into());
        self
    }

    /// Most that a retry budget allows: retries for each call, and retries a second that it always allows. 10 and 10,000 when
    /// not given.
    #[must_use]
    pub fn retry_budget(mut self, ratio: f64, per_sec: f64) -> Self {
        (self.retry_ratio, self.retries_per_sec) = (ratio, per_sec);
        self
    }

    /// Least that limits leave: calls a minute of a rate, calls in flight of a concurrency limit. When not given, what the policy
    /// itself has as its least: a call an hour, and one in flight.
    #[must_use]
    pub fn least_traffic(mut self, calls_per_minute: f64, in_flight: u32) -> Self {
        (self.calls_per_minute, self.concurrent) = (calls_per_minute, in_flight.into());
        self
    }

    /// Least share of failures or slow calls that may trip a breaker, and the longest time that a breaker stays open or an
    /// instance ejected at a stretch. 0.01 and an hour when not given.
    #[must_use]
    pub fn breakers(mut self, ratio: f64, open: Duration) -> Self {
        (self.trip_ratio, self.open) = (ratio, open);
        self
    }

    /// Most instances of a callee that outlier detection may eject, in per cent. 100 when not given.
    #[must_use]
    pub fn ejected_percent(mut self, most: u32) -> Self {
        self.ejected_percent = most.into();
        self
    }

    /// Least load of the processor from which requests may be shed, in per cent. 5 when not given.
    #[must_use]
    pub fn shed_percent(mut self, least: u32) -> Self {
        self.shed_percent = least.into();
        self
    }

    /// Nobody may force a breaker open, by policy or by override.
    #[must_use]
    pub fn without_forced_open(mut self) -> Self {
        self.force_open = false;
        self
    }

    /// Most that injected faults may do: share of attempts aborted, share delayed, and by how much. 1, 1 and a minute when not
    /// given.
    #[must_use]
    pub fn faults(mut self, aborted: f64, delayed: f64, delay: Duration) -> Self {
        (self.abort_ratio, self.delay_ratio, self.delay) = (aborted, delayed, delay);
        self
    }

    /// No faults may be injected.
    #[must_use]
    pub fn without_faults(self) -> Self {
        self.faults(0.0, 0.0, Duration::ZERO)
    }

    /// Most overrides in force at once, and the longest that one may last. 1,000 and a day when not given.
    #[must_use]
    pub fn overrides(mut self, most: usize, life: Duration) -> Self {
        (self.overrides, self.override_life) = (most, life);
        self
    }

    /// Largest message from the control plane, in bytes; a larger one ends the connection. 4 MiB when not given.
    #[must_use]
    pub fn message(mut self, bytes: usize) -> Self {
        self.message = bytes;
        self
    }

    /// Largest message that is read, in bytes.
    pub(crate) fn most_bytes(&self) -> usize {
        self.message
    }

    /// Checks a policy.
    ///
    /// # Errors
    /// The first setting that is out of bounds, with its value and the bound.
    pub(crate) fn check_policy(&self, document: &PolicyDocument) -> Result<(), String> {
        for (rule, table) in document.inherited() {
            self.check_edge(&table).map_err(|e| format!("{rule}: {e}"))?;
        }
        for rule in document.services() {
            let shed = (self.shed_percent as f64, 100.0);
            number(rule.table(), "shed.cpu_percent", shed, "%").map_err(|e| format!("service {}: {e}", rule.name))?;
        }
        Ok(())
    }

    /// Checks an override.
    ///
    /// # Errors
    /// What is out of bounds, with its value and the bound.
    pub(crate) fn check_override(&self, one: &Override) -> Result<(), String> {
        one.action.check()?;
        let life = self.override_life;
        within("remaining_ms", one.remaining_ms as f64, (0.0, millis(life)), "ms")?;
        match &one.action {
            OverrideAction::Timeout { attempt_ms, overall_ms } => {
                for (name, ms) in [("timeout.attempt_ms", attempt_ms), ("timeout.overall_ms", overall_ms)] {
                    ms.map_or(Ok(()), |ms| within(name, ms as f64, self.timeouts_ms(), "ms"))?;
                }
                Ok(())
            }
            OverrideAction::Mode(mode) => self.check_mode("mode", *mode == BreakerMode::ForcedOpen),
            OverrideAction::Fault(fault) => self.check_fault(fault),
        }
    }

    /// Checks the overrides of a message before any of them is read: those that this agent takes, and a refusal for each of
    /// the others, up to [`MOST_REFUSED`].
    pub(crate) fn few_and_short(&self, all: Vec<v1::Override>) -> (Vec<v1::Override>, Vec<v1::RefusedOverride>) {
        let (mut taken, mut refused, count) = (Vec::new(), Vec::new(), all.len());
        for one in all {
            let fault = match one_too_long(&one) {
                Some((name, bytes)) => format!("{name}: this agent takes up to {LONGEST_TEXT} bytes, not {bytes}"),
                None if taken.len() < self.overrides => {
                    taken.push(one);
                    continue;
                }
                None => format!("overrides: this agent takes up to {} at once, not {count}", self.overrides),
            };
            if refused.len() == MOST_REFUSED {
                continue;
            }
            refused.push(v1::RefusedOverride { id: one.id, reason: fault });
        }
        (taken, refused)
    }

    fn timeouts_ms(&self) -> (f64, f64) {
        (millis(self.timeout.0), millis(self.timeout.1))
    }

    fn check_edge(&self, table: &Table) -> Result<(), String> {
        let (timeout, wait, open) = (self.timeouts_ms(), (0.0, self.timeouts_ms().1), (0.0, millis(self.open)));
        let (trip, flight) = ((self.trip_ratio, 1.0), (self.concurrent as f64, f64::MAX));
        let ejected = (0.0, self.ejected_percent as f64);
        let numbers = [
            ("timeout.attempt_ms", timeout, "ms"),
            ("timeout.overall_ms", timeout, "ms"),
            ("hedge.max_extra", (0.0, self.hedges as f64), "hedges"),
            ("retry.max_attempts", (1.0, self.attempts as f64), "attempts"),
            ("retry.backoff.base_ms", wait, "ms"),
            ("retry.backoff.max_ms", wait, "ms"),
            ("retry.budget.ratio", (0.0, self.retry_ratio), "retries a call"),
            ("retry.budget.min_per_sec", (0.0, self.retries_per_sec), "retries a second"),
            ("concurrency.max", flight, "calls in flight"),
            ("concurrency.min", flight, "calls in flight"),
            ("concurrency.initial", flight, "calls in flight"),
            ("breaker.failure_ratio", trip, "of the calls"),
            ("breaker.slow_ratio", trip, "of the calls"),
            ("breaker.open_ms", open, "ms"),
            ("breaker.open_backoff.max_ms", open, "ms"),
            ("breaker.probe_lease_ms", open, "ms"),
            ("outlier.base_ejection_ms", open, "ms"),
            ("outlier.max_ejection_ms", open, "ms"),
            ("outlier.max_ejection_percent", ejected, "%"),
        ];
        numbers.into_iter().try_for_each(|(path, bounds, unit)| edge_number(table, path, bounds, unit))?;
        self.check_rate(table)?;
        let forced = at(table, "breaker.mode").and_then(Value::as_str) == Some("forced_open");
        self.check_mode("breaker.mode", forced)
    }

    fn check_rate(&self, table: &Table) -> Result<(), String> {
        let of = |path| at(table, path).and_then(float);
        let least = (self.calls_per_minute, f64::MAX);
        if let Some(per_sec) = of("rate.per_sec") {
            within("rate.per_sec", per_sec * 60.0, least, "calls a minute")?;
        }
        match (of("rate.limit"), of("rate.window_ms")) {
            (Some(limit), Some(ms)) => within("rate.limit", limit * 60_000.0 / ms, least, "calls a minute"),
            _ => Ok(()),
        }
    }

    fn check_mode(&self, name: &str, forced_open: bool) -> Result<(), String> {
        if forced_open && !self.force_open {
            return Err(format!("{name}: this agent takes no `forced_open`"));
        }
        Ok(())
    }

    fn check_fault(&self, fault: &Fault) -> Result<(), String> {
        within("fault.abort_ratio", fault.abort_ratio, (0.0, self.abort_ratio), "of the attempts")?;
        within("fault.delay_ratio", fault.delay_ratio, (0.0, self.delay_ratio), "of the attempts")?;
        within("fault.delay_ms", fault.delay_ms as f64, (0.0, millis(self.delay)), "ms")
    }
}

/// The name and length of a text of an override that nobody needs.
fn one_too_long(one: &v1::Override) -> Option<(&'static str, usize)> {
    let selector = one.selector.as_ref();
    let part = |of: fn(&v1::Selector) -> &Option<String>| selector.and_then(|s| of(s).as_deref()).unwrap_or_default();
    let code = match &one.action {
        Some(v1::r#override::Action::Fault(fault)) => fault.abort_code.as_str(),
        _ => "",
    };
    let texts = [
        ("actor", one.actor.as_str()),
        ("reason", one.reason.as_str()),
        ("selector.caller", part(|s| &s.caller)),
        ("selector.service", part(|s| &s.service)),
        ("selector.operation", part(|s| &s.operation)),
        ("selector.instance", part(|s| &s.instance)),
        ("fault.abort_code", code),
    ];
    texts.into_iter().map(|(name, text)| (name, text.len())).find(|(_, bytes)| *bytes > LONGEST_TEXT)
}

fn at<'a>(table: &'a Table, path: &str) -> Option<&'a Value> {
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    let value = table.get(first)?;
    if rest.is_empty() { Some(value) } else { at(value.as_table()?, rest) }
}

fn float(value: &Value) -> Option<f64> {
    value.as_float().or_else(|| value.as_integer().map(|n| n as f64))
}

fn number(table: &Table, path: &str, bounds: (f64, f64), unit: &str) -> Result<(), String> {
    at(table, path).and_then(float).map_or(Ok(()), |value| within(path, value, bounds, unit))
}

/// A setting of an edge; where it is left out, what is then in force.
fn edge_number(table: &Table, path: &str, bounds: (f64, f64), unit: &str) -> Result<(), String> {
    if at(table, path).is_some() {
        return number(table, path, bounds, unit);
    }
    let used = |with: &[&str]| with.iter().any(|name| at(table, name).is_some());
    match DEFAULTS.iter().find(|(name, _, with)| *name == path && used(with)) {
        Some((_, default, _)) => {
            within(path, *default, bounds, unit).map_err(|e| format!("{e}, as it is when left out"))
        }
        None => Ok(()),
    }
}

fn within(path: &str, value: f64, (least, most): (f64, f64), unit: &str) -> Result<(), String> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let takes = if most == f64::MAX { format!("{least} or more") } else { format!("{least} to {most}") };
    Err(format!("{path}: this agent takes {takes} {unit}, not {value}"))
}

fn millis(duration: Duration) -> f64 {
    duration.as_millis() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bounds: &Bounds, settings: &str) -> Option<String> {
        let text = if settings.starts_with("shed") {
            format!("[[service]]\nname = \"orders\"\n{settings}\n")
        } else {
            format!("[[edge]]\nservice = \"payments\"\n{settings}\n")
        };
        bounds.check_policy(&PolicyDocument::parse(&text).unwrap()).err()
    }

    /// Setting, value that is taken, value that is not, words of the refusal; `#` is the value's place.
    const CASES: &[(&str, &str, &str, &[&str])] = &[
        ("timeout = { attempt_ms = # }", "600000", "600001", &["timeout.attempt_ms", "600000 ms", "600001"]),
        ("timeout = { overall_ms = # }", "1", "600001", &["timeout.overall_ms", "600000 ms", "600001"]),
        ("retry = { max_attempts = # }", "20", "21", &["retry.max_attempts", "1 to 20", "21"]),
        (
            "retry = { max_attempts = 2, backoff = { max_ms = # } }",
            "600000",
            "600001",
            &["retry.backoff.max_ms", "600000", "600001"],
        ),
        (
            "retry = { max_attempts = 2, backoff = { base_ms = #, max_ms = 86400000 } }",
            "",
            "600001",
            &["retry.backoff.base_ms", "600000", "600001"],
        ),
        (
            "retry = { max_attempts = 2, budget = { ratio = #, min_per_sec = 1, ttl_ms = 1000 } }",
            "10.0",
            "10.5",
            &["retry.budget.ratio", "10 retries", "10.5"],
        ),
        (
            "retry = { max_attempts = 2, budget = { ratio = 1.0, min_per_sec = #, ttl_ms = 1000 } }",
            "10000",
            "10001",
            &["retry.budget.min_per_sec", "10000", "10001"],
        ),
        (
            "breaker = { window = { kind = \"count\", size = 9 }, failure_ratio = # }",
            "0.01",
            "0.0",
            &["breaker.failure_ratio", "0.01 to 1", "not 0"],
        ),
        (
            "breaker = { window = { kind = \"count\", size = 9 }, slow_ms = 1, slow_ratio = # }",
            "0.01",
            "0.0",
            &["breaker.slow_ratio", "0.01 to 1", "not 0"],
        ),
        (
            "breaker = { consecutive_failures = 9, open_ms = # }",
            "3600000",
            "3600001",
            &["breaker.open_ms", "3600000", "3600001"],
        ),
        (
            "breaker = { consecutive_failures = 9, open_backoff = { multiplier = 2.0, max_ms = # } }",
            "3600000",
            "3600001",
            &["breaker.open_backoff.max_ms", "3600000", "3600001"],
        ),
        (
            "breaker = { consecutive_failures = 9, probe_lease_ms = # }",
            "3600000",
            "3600001",
            &["breaker.probe_lease_ms", "3600000", "3600001"],
        ),
        (
            "outlier = { consecutive_failures = 5, interval_ms = 9, base_ejection_ms = #, max_ejection_ms = 86400000 }",
            "",
            "3600001",
            &["outlier.base_ejection_ms", "3600000", "3600001"],
        ),
        (
            "outlier = { consecutive_failures = 5, interval_ms = 1000, base_ejection_ms = 9, max_ejection_ms = # }",
            "3600000",
            "3600001",
            &["outlier.max_ejection_ms", "3600000", "3600001"],
        ),
        (
            "shed = { kind = \"bbr\", cpu_percent = # }",
            "5",
            "4",
            &["service orders", "shed.cpu_percent", "5 to 100", "not 4"],
        ),
    ];

    #[test]
    fn each_bound_refuses_by_name_value_and_bound() {
        for (setting, good, bad, words) in CASES {
            let bounds = Bounds::default();
            if !good.is_empty() {
                assert_eq!(refused(&bounds, &setting.replace('#', good)), None);
            }
            let said = refused(&bounds, &setting.replace('#', bad)).expect(setting);
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
        }
    }

    #[test]
    fn a_service_can_draw_its_bounds_closer_and_presets_do_not_pass_them() {
        let bounds = Bounds::default()
            .timeouts(Duration::from_millis(50), Duration::from_secs(5))
            .attempts(2, 0)
            .least_traffic(600.0, 8)
            .breakers(0.2, Duration::from_secs(10))
            .ejected_percent(30)
            .without_forced_open();
        let cases = [
            ("timeout = { attempt_ms = 49 }", "50 to 5000 ms, not 49"),
            ("retry = { preset = \"resilience4j\" }", "retry.max_attempts: this agent takes 1 to 2 attempts, not 3"),
            ("hedge = { after_ms = 9, max_extra = 1 }", "hedge.max_extra: this agent takes 0 to 0 hedges, not 1"),
            ("rate = { algorithm = \"token_bucket\", per_sec = 9, burst = 9 }", "rate.per_sec: this agent takes 600"),
            (
                "rate = { algorithm = \"sliding_window\", limit = 599, window_ms = 60000 }",
                "rate.limit: this agent takes 600 or more calls a minute, not 599",
            ),
            ("concurrency = { kind = \"fixed\", max = 7 }", "concurrency.max: this agent takes 8 or more"),
            (
                "concurrency = { kind = \"vegas\", max = 9, initial = 7 }",
                "concurrency.initial: this agent takes 8 or more calls in flight, not 7",
            ),
            (
                "concurrency = { kind = \"aimd\", max = 9, initial = 8, min = 7, backoff_ratio = 0.9, timeout_ms = 9 }",
                "concurrency.min: this agent takes 8 or more calls in flight, not 7",
            ),
            (
                "outlier = { consecutive_failures = 5, interval_ms = 9, base_ejection_ms = 9, max_ejection_ms = 9, max_ejection_percent = 31 }",
                "outlier.max_ejection_percent: this agent takes 0 to 30 %, not 31",
            ),
            ("breaker = { mode = \"forced_open\" }", "breaker.mode: this agent takes no `forced_open`"),
        ];
        for (setting, said) in cases {
            let refused = refused(&bounds, setting).expect(setting);
            assert!(refused.starts_with("payments: ") && refused.contains(said), "{refused}");
        }
    }

    #[test]
    fn what_is_left_out_is_bounded_by_its_default_unless_it_is_inherited_or_never_used() {
        let second = Duration::from_secs(1);
        let bounds = Bounds::default().timeouts(second / 1_000, second / 2).attempts(3, 0).breakers(0.01, second);
        let cases = [
            ("breaker = { consecutive_failures = 5 }", "breaker.open_ms: this agent takes 0 to 1000 ms, not 5000"),
            (
                "outlier = { consecutive_failures = 5, interval_ms = 9, base_ejection_ms = 9 }",
                "outlier.max_ejection_ms: this agent takes 0 to 1000 ms, not 300000",
            ),
            ("hedge = { after_ms = 9 }", "hedge.max_extra: this agent takes 0 to 0 hedges, not 1"),
            ("retry = { max_attempts = 2 }", "retry.backoff.max_ms: this agent takes 0 to 500 ms, not 1000"),
        ];
        for (setting, said) in cases {
            let refused = refused(&bounds, setting).expect(setting);
            assert!(refused.contains(said) && refused.ends_with("as it is when left out"), "{refused}");
        }
        let (ejected, default) =
            (Bounds::default().ejected_percent(9), "max_ejection_percent: this agent takes 0 to 9 %, not 10");
        let outlier = "outlier = { consecutive_failures = 5, interval_ms = 9, base_ejection_ms = 9 }";
        assert!(refused(&ejected, outlier).is_some_and(|said| said.contains(default)));
        assert_eq!(refused(&bounds, "breaker = { mode = \"forced_closed\" }"), None, "it never opens");
        let inherited = "[[edge]]\nservice = \"payments\"\nbreaker = { consecutive_failures = 5 }\n\
            [[edge]]\nservice = \"*\"\nbreaker = { consecutive_failures = 9, open_ms = 1000 }\n";
        assert_eq!(bounds.check_policy(&PolicyDocument::parse(inherited).unwrap()), Ok(()));
        let general = inherited.replace("1000", "1001");
        let refused = bounds.check_policy(&PolicyDocument::parse(&general).unwrap()).unwrap_err();
        assert!(refused.starts_with("*: breaker.open_ms"), "the rule that says so is named: {refused}");
    }

    #[test]
    fn nothing_that_would_stop_all_traffic_gets_as_far_as_the_bounds() {
        let wrong = [
            "rate = { algorithm = \"token_bucket\", per_sec = 0, burst = 1 }",
            "rate = { algorithm = \"sliding_window\", limit = 0, window_ms = 1 }",
            "concurrency = { kind = \"fixed\", max = 0 }",
            "throttle = { kind = \"sre\", k = 0.5 }",
            "timeout = { attempt_ms = 0 }",
        ];
        for setting in wrong {
            let text = format!("[[edge]]\nservice = \"payments\"\n{setting}\n");
            PolicyDocument::parse(&text).expect_err(setting);
        }
    }

    #[test]
    fn overrides_have_bounds_of_their_own() {
        let with = |action| Override { id: 7, action, remaining_ms: 1, ..Override::default() };
        let fault = |abort_ratio, delay_ratio, delay_ms| {
            with(OverrideAction::Fault(Fault { delay_ms, delay_ratio, abort_ratio, abort_code: "unavailable".into() }))
        };
        let closer = Bounds::default().faults(0.1, 0.2, Duration::from_secs(1)).without_forced_open();
        let timeout = OverrideAction::Timeout { attempt_ms: None, overall_ms: Some(600_001) };
        let cases = [
            (fault(0.2, 0.0, 0), "fault.abort_ratio: this agent takes 0 to 0.1 of the attempts, not 0.2"),
            (fault(0.1, 0.5, 9), "fault.delay_ratio: this agent takes 0 to 0.2 of the attempts, not 0.5"),
            (fault(0.1, 0.2, 1_001), "fault.delay_ms: this agent takes 0 to 1000 ms, not 1001"),
            (with(OverrideAction::Mode(BreakerMode::ForcedOpen)), "mode: this agent takes no `forced_open`"),
            (with(timeout), "timeout.overall_ms: this agent takes 1 to 600000 ms, not 600001"),
            (
                Override { remaining_ms: u64::MAX, ..fault(0.1, 0.2, 1_000) },
                "remaining_ms: this agent takes 0 to 86400000 ms",
            ),
        ];
        assert_eq!(closer.check_override(&fault(0.1, 0.2, 1_000)), Ok(()));
        for (one, said) in cases {
            let refused = closer.check_override(&one).unwrap_err();
            assert!(refused.contains(said), "{refused}");
        }
        let refused = Bounds::default().without_faults().check_override(&fault(0.1, 0.0, 0)).unwrap_err();
        assert!(refused.contains("fault.abort_ratio"), "{refused}");
    }

    #[test]
    fn no_number_and_no_length_of_overrides_is_without_end() {
        let one = |id, reason: &str| v1::Override { id, reason: reason.into(), ..v1::Override::default() };
        let all: Vec<_> = (0..2_000).map(|id| one(id, "drill")).collect();
        let (taken, refused) = Bounds::default().few_and_short(all);
        assert_eq!((taken.len(), refused.len()), (1_000, MOST_REFUSED));
        assert!(refused[0].reason.contains("up to 1000 at once, not 2000"), "{:?}", refused[0]);
        let (taken, refused) = Bounds::default().few_and_short(vec![one(1, &"x".repeat(4_097)), one(2, "fine")]);
        assert_eq!((taken.len(), refused[0].id), (1, 1));
        assert!(refused[0].reason.contains("reason: this agent takes up to 4096 bytes, not 4097"), "{:?}", refused[0]);
    }
}
