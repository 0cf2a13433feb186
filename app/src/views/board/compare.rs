//! What changed against an earlier range.

use std::collections::HashMap;

use fuseboard_api::graph::{Board, Edge, EdgeKey};

use crate::widgets::format;

/// A rate that grew or shrank by this share has changed.
const RATE: f64 = 0.3;
/// So many more or fewer calls a second are needed for that.
const RATE_LEAST: f64 = 0.5;
/// A share of failed calls that moved by this has changed.
const ERRORS: f64 = 0.01;
/// A p95 that grew or shrank by this share has changed.
const LATENCY: f64 = 0.3;
/// So many milliseconds are needed for that.
const LATENCY_LEAST: f64 = 3.0;

/// For each edge of `now` what changed since `before`, in a few words; `None` where nothing did.
pub(crate) fn changes(now: &Board, before: &Board) -> Vec<Option<String>> {
    let then: HashMap<&EdgeKey, &Edge> = before.edges.iter().map(|e| (&e.key, e)).collect();
    now.edges.iter().map(|edge| change(edge, then.get(&edge.key).copied())).collect()
}

fn change(now: &Edge, before: Option<&Edge>) -> Option<String> {
    let Some(before) = before else { return Some("new".to_owned()) };
    let (errors, errors_then) = (now.stats.error_ratio(), before.stats.error_ratio());
    if (errors - errors_then).abs() >= ERRORS {
        return Some(format!("errors {} → {}", format::percent(errors_then), format::percent(errors)));
    }
    let p95 = |e: &Edge| e.stats.quantile(0.95).map_or(0.0, |d| d.as_secs_f64() * 1000.0);
    if moved(p95(now), p95(before), LATENCY, LATENCY_LEAST) {
        return Some(format!("p95 {} → {}", short_ms(p95(before)), format::millis(p95(now))));
    }
    let (rate, rate_then) = (now.stats.rate(), before.stats.rate());
    if moved(rate, rate_then, RATE, RATE_LEAST) {
        return Some(format!("{} → {}", format::rate(rate_then), format::rate(rate)));
    }
    let state = |e: &Edge| e.breaker.as_ref().map(|b| (b.state, b.mode));
    if state(now) != state(before) {
        return Some("breaker".to_owned());
    }
    (now.attempt_timeout_ms != before.attempt_timeout_ms).then(|| "timeout".to_owned())
}

fn moved(now: f64, then: f64, share: f64, least: f64) -> bool {
    (now - then).abs() >= least && (now - then).abs() >= share * now.min(then)
}

/// Milliseconds without their unit, where the unit follows.
pub(crate) fn short_ms(ms: f64) -> String {
    if ms >= 10.0 { format::whole(ms) } else { format!("{ms:.1}") }
}

#[cfg(test)]
mod tests {
    use fuseboard_api::stats::Stats;

    use super::*;

    fn edge(calls: u64, errors: u64, ms: u64) -> Edge {
        let mut stats = Stats { seconds: 10.0, calls, errors, ..Stats::default() };
        (0..calls).for_each(|_| stats.latency.record(ms * 1_000_000));
        Edge { key: EdgeKey::new("a", "b", "op"), stats, ..Edge::default() }
    }

    fn said(now: Edge, then: Edge) -> Option<String> {
        let board = |e| Board { edges: vec![e], ..Board::default() };
        changes(&board(now), &board(then)).remove(0)
    }

    #[test]
    fn noise_is_no_change() {
        assert_eq!(said(edge(1000, 5, 20), edge(1100, 1, 22)), None);
        assert_eq!(said(edge(3, 0, 2), edge(1, 0, 4)), None, "too little to tell");
    }

    #[test]
    fn what_changed_most_is_said() {
        assert_eq!(said(edge(1000, 380, 20), edge(1000, 0, 20)).as_deref(), Some("errors 0% → 38%"));
        assert_eq!(said(edge(1000, 0, 800), edge(1000, 0, 100)).as_deref(), Some("p95 100 → 797 ms"));
        assert_eq!(said(edge(2000, 0, 20), edge(1000, 0, 20)).as_deref(), Some("100/s → 200/s"));
        assert_eq!(
            changes(&Board { edges: vec![edge(1, 0, 1)], ..Board::default() }, &Board::default()),
            [Some("new".to_owned())]
        );
    }
}
