//! What no single setting tells: whether the settings of a merged result make sense together.

use std::collections::{BTreeSet, HashSet};

use toml::{Table, Value};

use super::kinds::KINDS;
use super::schema::Place;
use super::{Problem, Rule};
use crate::merge::{Index, Merged};
use crate::settings::{
    Breaker, BreakerMode, Concurrency, EdgeSettings, Hedge, Jitter, Retry, RetryBudget, Timeout, Window,
};

/// Something that does not make sense.
struct Finding {
    /// The setting to change.
    path: &'static str,
    /// The settings that together make it wrong, `path` among them.
    with: &'static [&'static str],
    message: String,
}

fn finding(path: &'static str, with: &'static [&'static str], message: impl Into<String>) -> Finding {
    Finding { path, with, message: message.into() }
}

/// Checks every merged result that some edge can get.
pub(super) fn merged(rules: &[Rule], problems: &mut Vec<Problem>) {
    let (index, twice) = Index::new(rules);
    for (first, again) in twice {
        if let Some(rule) = rules.get(again) {
            let message = format!("matches the same edges as edge[{}]; join the two", first + 1);
            problems.push(Place::edge(again, &rule.to_string()).problem("", message));
        }
    }
    let mut seen = HashSet::new();
    for (service, operation) in targets(rules) {
        for caller in callers(rules, service) {
            let matching = index.matching(caller, service, operation);
            if seen.insert(matching.clone()) {
                let merged = Merged::of(rules, &matching);
                for finding in check(&merged) {
                    problems.push(blame(rules, &matching, &merged, finding));
                }
            }
        }
    }
}

fn targets(rules: &[Rule]) -> BTreeSet<(&str, Option<&str>)> {
    let named = rules
        .iter()
        .flat_map(|rule| [(rule.service.as_str(), None), (rule.service.as_str(), rule.operation.as_deref())]);
    named.chain([("*", None)]).collect()
}

fn callers<'a>(rules: &'a [Rule], service: &str) -> BTreeSet<Option<&'a str>> {
    let near = rules.iter().filter(|rule| rule.service == service || rule.service == "*");
    near.map(|rule| rule.caller.as_deref()).chain([None]).collect()
}

/// The problem is laid at the most specific rule that has a part in it.
fn blame(rules: &[Rule], matching: &[usize], merged: &Merged, finding: Finding) -> Problem {
    let within =
        |path: &str, wanted: &str| path == wanted || path.strip_prefix(wanted).is_some_and(|r| r.starts_with('.'));
    let part = merged.sources.iter().filter(|(path, _)| finding.with.iter().any(|wanted| within(path, wanted)));
    let guilty = part.max_by_key(|(_, source)| source.order).map(|(_, source)| source.rule);
    let index = guilty.or(matching.last().copied()).unwrap_or(0);
    let label = rules.get(index).map(Rule::to_string).unwrap_or_default();
    Place::edge(index, &label).problem(finding.path, finding.message)
}

fn check(merged: &Merged) -> Vec<Finding> {
    let mut table = merged.table.clone();
    let mut found = Vec::new();
    incomplete(&mut table, &mut found);
    let settings: EdgeSettings = match Value::Table(table).try_into() {
        Ok(settings) => settings,
        Err(error) => {
            // Only after another problem took a part away.
            found.push(finding("settings", &[], error.to_string().trim_end().to_owned()));
            return found;
        }
    };
    let timeout = settings.timeout.unwrap_or_default();
    if let (Some(attempt), Some(overall)) = (timeout.attempt_ms, timeout.overall_ms)
        && attempt > overall
    {
        found.push(finding(
            "timeout.attempt_ms",
            &["timeout"],
            format!("{attempt} is more than overall_ms, {overall}, and would never act"),
        ));
    }
    if let Some(hedge) = &settings.hedge {
        check_hedge(hedge, &timeout, &mut found);
    }
    if let Some(concurrency) = &settings.concurrency {
        check_concurrency(concurrency, &mut found);
    }
    if let Some(outlier) = settings.outlier.as_ref().filter(|o| o.max_ejection_ms < o.base_ejection_ms) {
        let message =
            format!("{} is less than base_ejection_ms, {}", outlier.max_ejection_ms, outlier.base_ejection_ms);
        found.push(finding(
            "outlier.max_ejection_ms",
            &["outlier.max_ejection_ms", "outlier.base_ejection_ms"],
            message,
        ));
    }
    if let Some(retry) = &settings.retry {
        check_retry(retry, &timeout, &mut found);
    }
    if let Some(breaker) = &settings.breaker {
        check_breaker(breaker, &mut found);
        check_slow(breaker, &mut found);
    }
    found
}

/// Takes out tables that lack a part; settings.rs has them whole or not at all.
fn incomplete(table: &mut Table, found: &mut Vec<Finding>) {
    for kinds in &KINDS {
        if let Some(Value::Table(part)) = table.get(kinds.path)
            && let Some(message) = kinds.wrong(part)
        {
            found.push(Finding { path: kinds.path, with: std::slice::from_ref(&kinds.path), message });
            table.remove(kinds.path);
        }
    }
    if let Some(Value::Table(hedge)) = table.get("hedge") {
        let wrong = match (hedge.contains_key("after_ms"), hedge.contains_key("after_quantile")) {
            (true, true) => Some("after_ms and after_quantile exclude each other; give one"),
            (false, false) => Some("says not when; give after_ms or after_quantile, here or in what is inherited"),
            _ => None,
        };
        if let Some(message) = wrong {
            found.push(finding("hedge", &["hedge"], message));
            table.remove("hedge");
        }
    }
    if let Some(Value::Table(retry)) = table.get_mut("retry")
        && let Some(Value::Table(budget)) = retry.get("budget")
    {
        let (ratio, tokens) = (["ratio", "min_per_sec", "ttl_ms"], ["max_tokens", "token_ratio"]);
        let by_tokens = tokens.iter().any(|name| budget.contains_key(*name));
        let wrong = if by_tokens && ratio.iter().any(|name| budget.contains_key(*name)) {
            Some("mixes two kinds; give ratio, min_per_sec and ttl_ms, or max_tokens and token_ratio".to_owned())
        } else {
            missing(budget, if by_tokens { &tokens } else { &ratio })
        };
        if let Some(message) = wrong {
            found.push(finding("retry.budget", &["retry.budget"], message));
            retry.remove("budget");
        }
    }
    incomplete_outlier(table, found);
    let Some(Value::Table(breaker)) = table.get_mut("breaker") else { return };
    if let Some(Value::Table(backoff)) = breaker.get("open_backoff")
        && let Some(message) = missing(backoff, &["multiplier", "max_ms"])
    {
        found.push(finding("breaker.open_backoff", &["breaker.open_backoff"], message));
        breaker.remove("open_backoff");
    }
    if let Some(Value::Table(window)) = breaker.get("window") {
        let (own, other): (&[&str], &[&str]) = match window.get("kind").and_then(Value::as_str) {
            Some("count") => (&["size"], &["ms", "buckets"]),
            _ => (&["ms", "buckets"], &["size"]),
        };
        let strange = other.iter().find(|name| window.contains_key(**name));
        let strange = strange.map(|name| format!("`{name}` belongs to a window of the other kind"));
        if let Some(message) = strange.or_else(|| missing(window, own)) {
            found.push(finding("breaker.window", &["breaker.window"], message));
            breaker.remove("window");
        }
    }
}

fn incomplete_outlier(table: &mut Table, found: &mut Vec<Finding>) {
    let Some(Value::Table(outlier)) = table.get_mut("outlier") else { return };
    let parts: [(&'static str, &'static [&'static str], &[&str]); 2] = [
        (
            "success_rate",
            &["outlier.success_rate"],
            &["stdev_factor", "enforcement_percent", "min_hosts", "request_volume"],
        ),
        (
            "failure_percentage",
            &["outlier.failure_percentage"],
            &["threshold", "enforcement_percent", "min_hosts", "request_volume"],
        ),
    ];
    for (name, path, needs) in parts {
        if let Some(Value::Table(part)) = outlier.get(name)
            && let Some(message) = missing(part, needs)
        {
            found.extend(path.first().map(|at| finding(at, path, message)));
            outlier.remove(name);
        }
    }
    let message = missing(outlier, &["interval_ms", "base_ejection_ms"]).or_else(|| {
        let acts = ["consecutive_failures", "success_rate", "failure_percentage"];
        let idle = !acts.iter().any(|name| outlier.contains_key(*name));
        idle.then(|| "never ejects; give consecutive_failures, success_rate or failure_percentage".to_owned())
    });
    if let Some(message) = message {
        found.push(finding("outlier", &["outlier"], message));
        table.remove("outlier");
    }
}

pub(super) fn missing(table: &Table, names: &[&str]) -> Option<String> {
    let absent: Vec<String> =
        names.iter().filter(|name| !table.contains_key(**name)).map(|name| format!("`{name}`")).collect();
    (!absent.is_empty()).then(|| format!("{} missing, here and in what is inherited", absent.join(" and ")))
}

fn check_hedge(hedge: &Hedge, timeout: &Timeout, found: &mut Vec<Finding>) {
    let limits: [(Option<u64>, &str, &'static [&'static str]); 2] = [
        (timeout.attempt_ms, "attempt_ms", &["hedge", "timeout.attempt_ms"]),
        (timeout.overall_ms, "overall_ms", &["hedge", "timeout.overall_ms"]),
    ];
    for (limit, name, with) in limits {
        if let (Some(after), Some(limit)) = (hedge.after_ms, limit)
            && after >= limit
        {
            let message = format!("{after} is not less than timeout.{name}, {limit}: no hedge would ever begin");
            found.push(finding("hedge.after_ms", with, message));
            return;
        }
    }
}

fn check_concurrency(concurrency: &Concurrency, found: &mut Vec<Finding>) {
    const ALL: &[&str] = &["concurrency"];
    let (initial, min, max) = match *concurrency {
        Concurrency::Fixed { .. } => return,
        Concurrency::Vegas { initial, max, .. } => (initial, 1, max),
        Concurrency::Aimd { initial, min, max, .. } | Concurrency::Gradient2 { initial, min, max, .. } => {
            (initial, min, max)
        }
    };
    if min > max {
        found.push(finding("concurrency.min", ALL, format!("{min} is more than max, {max}")));
    } else if !(min..=max).contains(&initial) {
        found.push(finding("concurrency.initial", ALL, format!("{initial} is not between {min} and {max}")));
    }
}

fn check_retry(retry: &Retry, timeout: &Timeout, found: &mut Vec<Finding>) {
    const BACKOFF: &[&str] = &["retry.backoff"];
    if retry.max_attempts.is_none() {
        found.push(finding("retry.max_attempts", &["retry"], "is missing; without it nothing is ever tried again"));
    }
    if retry.on.as_ref().is_some_and(Vec::is_empty) && retry.max_attempts.is_some_and(|most| most > 1) {
        found.push(finding(
            "retry.on",
            &["retry.on", "retry.max_attempts"],
            "is empty, so nothing is ever tried again",
        ));
    }
    let backoff = retry.backoff.clone().unwrap_or_default();
    let base = backoff.base_ms.unwrap_or(crate::backoff::DEFAULT_BASE_MS);
    let most = backoff.max_ms.unwrap_or(crate::backoff::DEFAULT_MAX_MS);
    if base > most {
        found.push(finding("retry.backoff.max_ms", BACKOFF, format!("{most} is less than base_ms, {base}")));
    }
    let fixed = backoff.jitter == Some(Jitter::None);
    if let Some(overall) = timeout.overall_ms.filter(|overall| fixed && base >= *overall) {
        found.push(finding(
            "retry.backoff.base_ms",
            &["retry.backoff", "timeout.overall_ms"],
            format!("{base} is not less than timeout.overall_ms, {overall}: no retry would ever begin in time"),
        ));
    }
    if let Some(RetryBudget::Ratio { ratio, min_per_sec, ttl_ms }) = retry.budget
        && ratio == 0.0
        && min_per_sec * (ttl_ms as f64) < 1_000.0
    {
        found.push(finding(
            "retry.budget",
            &["retry.budget"],
            "never pays for a single retry; raise ratio or min_per_sec",
        ));
    }
}

fn check_breaker(breaker: &Breaker, found: &mut Vec<Finding>) {
    const WINDOW: &[&str] = &["breaker.window"];
    match breaker.window {
        Some(Window::Count { size }) => {
            if let Some(min) = breaker.min_calls.filter(|min| *min > size) {
                let message = format!("{min} is more than the window holds, {size}: the breaker would never trip");
                found.push(finding("breaker.min_calls", &["breaker.min_calls", "breaker.window"], message));
            }
            if let Some(count) = breaker.failure_count.filter(|count| *count > size) {
                let message = format!("{count} is more than the window holds, {size}: the breaker would never trip");
                found.push(finding("breaker.failure_count", &["breaker.failure_count", "breaker.window"], message));
            }
        }
        Some(Window::Time { ms, buckets }) if ms % buckets.max(1) != 0 => {
            let message = format!("{buckets} slices do not divide {ms} ms evenly; choose a divisor");
            found.push(finding("breaker.window.buckets", WINDOW, message));
        }
        Some(Window::Time { .. }) => {}
        None => without_window(breaker, found),
    }
    let evaluates = matches!(breaker.mode.unwrap_or_default(), BreakerMode::Auto | BreakerMode::Shadow);
    let ratio = breaker.failure_ratio.is_some() || breaker.slow_ratio.is_some();
    if evaluates && !ratio && breaker.failure_count.is_none() && breaker.consecutive_failures.is_none() {
        let message = "never trips; give failure_ratio, failure_count, consecutive_failures or slow_ratio";
        found.push(finding("breaker", &["breaker"], message));
    }
    let open = breaker.open_ms.unwrap_or(crate::breaker::DEFAULT_OPEN_MS);
    if let Some(backoff) = breaker.open_backoff.as_ref().filter(|backoff| backoff.max_ms < open) {
        found.push(finding(
            "breaker.open_backoff.max_ms",
            &["breaker.open_backoff", "breaker.open_ms"],
            format!("{} is less than open_ms, {open}", backoff.max_ms),
        ));
    }
}

fn without_window(breaker: &Breaker, found: &mut Vec<Finding>) {
    let given: [(bool, &'static [&'static str]); 4] = [
        (breaker.failure_ratio.is_some(), &["breaker.failure_ratio"]),
        (breaker.failure_count.is_some(), &["breaker.failure_count"]),
        (breaker.slow_ratio.is_some(), &["breaker.slow_ratio"]),
        (breaker.min_calls.is_some(), &["breaker.min_calls"]),
    ];
    for path in given.into_iter().filter_map(|(given, path)| given.then_some(path)) {
        let message = "never acts without a window; add `window = { kind = \"time\", ms = 10000, buckets = 10 }`";
        found.extend(path.first().map(|name| finding(name, path, message)));
    }
}

fn check_slow(breaker: &Breaker, found: &mut Vec<Finding>) {
    if breaker.slow_ratio.is_some() && breaker.slow_ms.is_none() {
        let message = "never acts without slow_ms, which says what is slow";
        found.push(finding("breaker.slow_ratio", &["breaker.slow_ratio"], message));
    }
    if breaker.inflight_slow == Some(true) && breaker.slow_ratio.is_none() {
        let message = "never acts without slow_ratio and slow_ms";
        found.push(finding("breaker.inflight_slow", &["breaker.inflight_slow"], message));
    }
}
