//! Who may have caused it: a first honest rule. Of the edges that turned bad, those that turned first and whose callee
//! has no bad edge of its own further down explain the others.

use std::time::Duration;

use fuseboard_api::graph::EdgeKey;
use fuseboard_api::incident::Suspect;
use fuseboard_api::stats::Stats;
use fuseboard_api::{TimeRange, UnixNanos};
use rusqlite::Connection;

use crate::query::rollups;

/// What was normal is read from so long before the incident.
const BEFORE: Duration = Duration::from_secs(120);
/// A step with fewer calls says nothing.
const MIN_CALLS: u64 = 5;
/// So many suspects are named.
const NAMED: usize = 5;
/// Edges that turn within so many steps turned together.
const TOGETHER: usize = 2;

/// What an edge did in a stretch of time.
#[derive(Debug, Clone, Default)]
struct Reading {
    calls: u64,
    failed: f64,
    p95_ms: f64,
}

/// Sums steps; calls that a local rule refused never reached the callee and say nothing against it.
fn reading<'a>(steps: impl IntoIterator<Item = &'a Stats>) -> Reading {
    let mut all = Stats::default();
    for step in steps {
        all.merge(step);
    }
    let sent = all.calls.saturating_sub(all.refused);
    let failed = all.errors.saturating_sub(all.refused);
    Reading {
        calls: sent,
        failed: if sent == 0 { 0.0 } else { failed as f64 / sent as f64 },
        p95_ms: all.quantile(0.95).map_or(0.0, |d| d.as_secs_f64() * 1000.0),
    }
}

/// An edge that turned bad.
#[derive(Debug)]
struct Turned {
    key: EdgeKey,
    /// In which step.
    step: usize,
    before: Reading,
    during: Reading,
}

fn is_bad(now: &Reading, before: &Reading) -> bool {
    now.calls >= MIN_CALLS && (now.failed >= 0.05 && now.failed >= 2.0 * before.failed + 0.02 || is_slow(now, before))
}

fn is_slow(now: &Reading, before: &Reading) -> bool {
    before.calls >= MIN_CALLS && now.p95_ms >= 2.0 * before.p95_ms && now.p95_ms >= before.p95_ms + 20.0
}

/// Suspects of a range, most likely first.
pub(super) fn rank(conn: &Connection, range: TimeRange, as_of: UnixNanos) -> rusqlite::Result<Vec<Suspect>> {
    let seconds: u32 = if range.length() > Duration::from_secs(3600) { 60 } else { 5 };
    let whole = TimeRange { from: range.from - BEFORE, to: range.to };
    let lead = usize::try_from(BEFORE.as_secs()).unwrap_or(0) / seconds as usize;
    let turned: Vec<Turned> = rollups::edge_steps(conn, whole, seconds, as_of)?
        .into_iter()
        .filter_map(|(key, steps)| turn(key, &steps, lead))
        .collect();
    Ok(name(&turned, seconds))
}

/// When an edge turned: the first step of the incident that is bad against everything calm before it.
fn turn(key: EdgeKey, steps: &[Stats], lead: usize) -> Option<Turned> {
    let lead = lead.min(steps.len());
    let mut calm = Stats::default();
    steps[..lead].iter().for_each(|s| calm.merge(s));
    for (at, step) in steps.iter().enumerate().skip(lead) {
        let before = reading([&calm]);
        if is_bad(&reading([step]), &before) {
            let during = reading(steps[at..].iter().filter(|s| is_bad(&reading([*s]), &before)));
            return Some(Turned { key, step: at, before, during });
        }
        calm.merge(step);
    }
    None
}

fn name(turned: &[Turned], seconds: u32) -> Vec<Suspect> {
    let Some(first) = turned.iter().map(|t| t.step).min() else { return Vec::new() };
    let mut suspects: Vec<Suspect> = turned
        .iter()
        .map(|t| {
            let deeper = turned.iter().find(|o| o.key.caller == t.key.callee && o.step <= t.step + TOGETHER);
            let delay = (t.step - first) as f64;
            let weight = t.during.failed.max(if is_slow(&t.during, &t.before) { 0.5 } else { 0.0 });
            let echo = if deeper.is_some() { 0.2 } else { 1.0 };
            let score = (weight * echo / (1.0 + delay / 4.0)).clamp(0.0, 1.0);
            Suspect { key: t.key.clone(), score, evidence: evidence(t, deeper, delay as u64 * u64::from(seconds)) }
        })
        .collect();
    suspects.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.key.cmp(&b.key)));
    suspects.truncate(NAMED);
    suspects
}

fn evidence(t: &Turned, deeper: Option<&Turned>, later: u64) -> String {
    let when = if later == 0 { "turned first".to_owned() } else { format!("turned {later} s after the first") };
    let (failed, calls, p95) = (t.during.failed * 100.0, t.during.calls, t.during.p95_ms);
    let before = match t.before.calls {
        0 => "nothing is known of before".to_owned(),
        _ => format!("before: {:.1} %, p95 {:.0} ms", t.before.failed * 100.0, t.before.p95_ms),
    };
    let below = match deeper {
        Some(other) => {
            format!("but {} → {} turned bad with it and may be its cause", other.key.caller, other.key.callee)
        }
        None => format!("and nothing that {} calls turned bad before it", t.key.callee),
    };
    format!("{when}: {failed:.0} % of {calls} calls failed, p95 {p95:.0} ms ({before}); {below}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(errors: &[u64], millis: &[u64]) -> Vec<Stats> {
        errors
            .iter()
            .zip(millis)
            .map(|(errors, ms)| {
                let mut s = Stats { calls: 100, errors: *errors, ..Stats::default() };
                (0..100).for_each(|_| s.latency.record(ms * 1_000_000));
                s
            })
            .collect()
    }

    #[test]
    fn the_deepest_edge_that_turned_first_leads() {
        let bank = turn(EdgeKey::new("payments", "bank", "POST /authorize"), &steps(&[0, 0, 60, 60], &[10; 4]), 2);
        let payments = turn(EdgeKey::new("orders", "payments", "Charge"), &steps(&[0, 0, 60, 60], &[20; 4]), 2);
        let gateway = turn(EdgeKey::new("gateway", "orders", "Place"), &steps(&[0, 0, 0, 90], &[20; 4]), 2);
        let users = turn(EdgeKey::new("orders", "users", "Get"), &steps(&[1, 0, 1, 0], &[5; 4]), 2);
        assert!(users.is_none());
        let turned: Vec<Turned> = [bank, payments, gateway].into_iter().flatten().collect();
        let ranked = name(&turned, 5);
        assert_eq!(ranked[0].key.callee, "bank");
        assert_eq!(
            ranked[0].evidence,
            "turned first: 60 % of 200 calls failed, p95 10 ms (before: 0.0 %, p95 10 ms); and nothing that bank calls turned bad before it"
        );
        assert!(ranked[1].score < ranked[0].score / 2.0);
    }

    #[test]
    fn slowness_counts_and_refusals_do_not() {
        let slow = turn(EdgeKey::new("a", "b", "c"), &steps(&[0, 0, 0], &[10, 10, 400]), 2).unwrap();
        assert_eq!(slow.step, 2);
        let mut refused = steps(&[0, 0, 100], &[10; 3]);
        refused[2].refused = 100;
        assert!(turn(EdgeKey::new("a", "b", "c"), &refused, 2).is_none());
    }
}
