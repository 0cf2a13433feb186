//! Rules and causes in words, with their numbers.

use std::fmt::Write as _;

use crate::settings::{Breaker, BreakerMode, Window};

/// Milliseconds as people say them: `250 ms`, `10 s`, `1.5 s`, `2 min`.
pub(super) fn duration(ms: u64) -> String {
    if ms < 1_000 {
        format!("{ms} ms")
    } else if ms < 120_000 || !ms.is_multiple_of(60_000) {
        format!("{} s", number(ms as f64 / 1_000.0))
    } else {
        format!("{} min", ms / 60_000)
    }
}

/// A share in per cent, with at most one decimal.
pub(super) fn percent(share: f64) -> String {
    format!("{} %", number(share * 100.0))
}

/// The share `part / whole` in per cent. Cut off, not rounded, so that 69.99 % never reads as 70 %.
fn share(part: u64, whole: u64) -> String {
    let tenths = u128::from(part) * 1_000 / u128::from(whole.max(1));
    percent(tenths as f64 / 1_000.0)
}

fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

pub(super) fn mode(mode: BreakerMode) -> &'static str {
    match mode {
        BreakerMode::Auto => "auto",
        BreakerMode::ForcedOpen => "forced_open",
        BreakerMode::ForcedClosed => "forced_closed",
        BreakerMode::Shadow => "shadow",
        BreakerMode::Disabled => "disabled",
    }
}

/// What would trip a breaker: `50 % of ≥ 20 calls in 10 s fail`; several rules joined by `or`.
pub(super) fn rule(settings: &Breaker) -> String {
    let mut parts = Vec::new();
    if let Some(window) = &settings.window {
        let (span, most) = match window {
            Window::Count { size } => (format!("the last {size} calls"), *size),
            Window::Time { ms, .. } => (duration(*ms), u64::MAX),
        };
        let min = settings.min_calls.unwrap_or(1).min(most);
        let of = match window {
            Window::Count { size } if min == *size => format!("the last {size} calls"),
            Window::Count { .. } => format!("≥ {min} of {span}"),
            Window::Time { .. } => format!("≥ {min} calls in {span}"),
        };
        if let Some(ratio) = settings.failure_ratio {
            parts.push(format!("{} of {of} fail", percent(ratio)));
        }
        if let Some(count) = settings.failure_count {
            parts.push(match window {
                Window::Count { .. } => format!("{count} of {span} fail"),
                Window::Time { .. } => format!("{count} calls in {span} fail"),
            });
        }
        if let (Some(ratio), Some(slow_ms)) = (settings.slow_ratio, settings.slow_ms) {
            parts.push(format!("{} of {of} take longer than {}", percent(ratio), duration(slow_ms)));
        }
    }
    if let Some(count) = settings.consecutive_failures {
        parts.push(format!("{count} calls in a row fail"));
    }
    if parts.is_empty() { "never trips".to_owned() } else { parts.join(" or ") }
}

/// `12 of 20 calls failed (60 % ≥ 50 %)`.
pub(super) fn ratio_cause(hits: u64, calls: u64, limit: f64, what: &str) -> String {
    format!("{hits} of {calls} calls {what} ({} ≥ {})", share(hits, calls), percent(limit))
}

/// `20 failures in 10 s (≥ 20)`.
pub(super) fn count_cause(failures: u64, limit: u64, window: Option<&Window>) -> String {
    let mut text = format!("{failures} failures in ");
    // Writing to a string cannot fail.
    let _ = match window {
        Some(Window::Time { ms, .. }) => write!(text, "{}", duration(*ms)),
        Some(Window::Count { size }) => write!(text, "the last {size} calls"),
        None => write!(text, "the window"),
    };
    format!("{text} (≥ {limit})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_reads_as_people_say_it() {
        let mut breaker = Breaker {
            window: Some(Window::Time { ms: 10_000, buckets: 10 }),
            min_calls: Some(20),
            failure_ratio: Some(0.5),
            ..Breaker::default()
        };
        assert_eq!(rule(&breaker), "50 % of ≥ 20 calls in 10 s fail");
        breaker.consecutive_failures = Some(5);
        assert_eq!(rule(&breaker), "50 % of ≥ 20 calls in 10 s fail or 5 calls in a row fail");
        breaker.window = Some(Window::Count { size: 20 });
        breaker.consecutive_failures = None;
        assert_eq!(rule(&breaker), "50 % of the last 20 calls fail");
        assert_eq!(rule(&Breaker::default()), "never trips");
    }

    #[test]
    fn shares_are_cut_off() {
        assert_eq!(ratio_cause(12, 20, 0.5, "failed"), "12 of 20 calls failed (60 % ≥ 50 %)");
        assert_eq!(share(6_999, 10_000), "69.9 %");
        assert_eq!(percent(0.07), "7 %");
        assert_eq!(duration(1_500), "1.5 s");
        assert_eq!(duration(120_000), "2 min");
    }
}
