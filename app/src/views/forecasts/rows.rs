//! What the forecast view lists: forecasts by how bad they are, anomalies with their echoes folded under them.

use std::cmp::Reverse;

use fuseboard_api::UnixNanos;
use fuseboard_api::forecast::{Anomaly, Breach, Forecast, Quantity, TrackRecord};
use fuseboard_api::graph::{EdgeKey, Severity};

use crate::widgets::format;

/// The quantity's name.
pub(crate) fn quantity(q: Quantity) -> &'static str {
    match q {
        Quantity::Rate => "rate",
        Quantity::ErrorRatio => "errors",
        Quantity::P95 => "p95",
    }
}

/// A value in the quantity's unit.
pub(crate) fn value(q: Quantity, x: f64) -> String {
    match q {
        Quantity::Rate => format::rate(x),
        Quantity::ErrorRatio => format::percent(x),
        Quantity::P95 => format::millis(x),
    }
}

/// Forecasts, worst first: by severity, then by the probability of a breach and how soon it may come, then by edge.
pub(crate) fn by_severity(all: &[Forecast]) -> Vec<&Forecast> {
    let mut list: Vec<&Forecast> = all.iter().collect();
    list.sort_by(|a, b| {
        let chance = |f: &Forecast| f.breach.as_ref().map_or(0.0, |b| b.probability);
        let soon = |f: &Forecast| f.breach.as_ref().map_or(i64::MAX, |b| b.earliest.0);
        (Reverse(a.severity).cmp(&Reverse(b.severity)))
            .then_with(|| chance(b).total_cmp(&chance(a)))
            .then_with(|| soon(a).cmp(&soon(b)))
            .then_with(|| (&a.key, a.quantity).cmp(&(&b.key, b.quantity)))
    });
    list
}

/// What a forecast can honestly say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Knowledge {
    /// Nothing was seen.
    Nothing,
    /// Values were seen, but too few to say what is normal.
    Seen,
    /// It is known what is normal, but not what comes next.
    Normal,
    /// It is known what is normal and what is expected.
    Ahead,
}

/// What `f` can honestly say.
pub(crate) fn knowledge(f: &Forecast) -> Knowledge {
    match (f.seen.is_empty(), f.band.is_empty(), f.ahead.is_empty()) {
        (true, _, _) => Knowledge::Nothing,
        (false, true, true) => Knowledge::Seen,
        (false, false, true) => Knowledge::Normal,
        (false, _, false) => Knowledge::Ahead,
    }
}

/// `18 of the last 20 held (target 95%)`, or that none has come due yet.
pub(crate) fn record(r: &TrackRecord) -> String {
    if r.scored == 0 {
        return "no forecast has come due yet".to_owned();
    }
    let target = if r.target > 0.0 { format!(" (target {})", format::percent(r.target)) } else { String::new() };
    format!("{} of the last {} held{target}", r.held, r.scored)
}

/// Whether the record is so far below its target that the forecast should not be trusted: fewer held than would be seen
/// by chance once in a hundred times (normal approximation of the binomial, from ten scored ones on).
pub(crate) fn is_poor(r: &TrackRecord) -> bool {
    let n = f64::from(r.scored);
    if r.scored < 10 || r.target <= 0.0 || r.target >= 1.0 {
        return false;
    }
    let sigma = (n * r.target * (1.0 - r.target)).sqrt();
    f64::from(r.held) < n * r.target - 2.33 * sigma
}

/// `crosses attempt timeout 800 ms in 4 to 7 min (62%)`.
pub(crate) fn breach(b: &Breach, now: UnixNanos) -> String {
    let minutes = |t: UnixNanos| (t.since(now).as_secs_f64() / 60.0).ceil().max(1.0);
    let when = match b.latest.map(minutes) {
        Some(late) if late > minutes(b.earliest) => format!("in {:.0} to {late:.0} min", minutes(b.earliest)),
        Some(_) => format!("in about {:.0} min", minutes(b.earliest)),
        None => format!("in {:.0} min at the earliest", minutes(b.earliest)),
    };
    format!("may cross {} {when} ({})", b.limit, format::percent(b.probability))
}

/// The same in fewer words, for a list: `breaker threshold 50 % in 4–7 min · 62%`.
pub(crate) fn breach_short(b: &Breach, now: UnixNanos) -> String {
    let minutes = |t: UnixNanos| (t.since(now).as_secs_f64() / 60.0).ceil().max(1.0);
    let when = match b.latest.map(minutes) {
        Some(late) if late > minutes(b.earliest) => format!("{:.0}–{late:.0} min", minutes(b.earliest)),
        Some(_) => format!("{:.0} min", minutes(b.earliest)),
        None => format!("{:.0} min or later", minutes(b.earliest)),
    };
    format!("{} in {when} · {}", b.limit, format::percent(b.probability))
}

/// An anomaly with those that only repeat it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Folded<'a> {
    /// The one that explains the others.
    pub(crate) origin: &'a Anomaly,
    /// Its echoes on edges further up.
    pub(crate) echoes: Vec<&'a Anomaly>,
}

/// Anomalies with their echoes folded under the newest anomaly of the edge that explains them, going on first, then worst
/// first, then newest first. An echo whose origin is not listed stands by itself.
pub(crate) fn folded(all: &[Anomaly]) -> Vec<Folded<'_>> {
    let mut out: Vec<Folded<'_>> = Vec::new();
    let is_origin = |key: &EdgeKey| all.iter().any(|a| a.echo_of.is_none() && a.key == *key);
    for a in all.iter().filter(|a| a.echo_of.as_ref().is_none_or(|o| !is_origin(o))) {
        out.push(Folded { origin: a, echoes: Vec::new() });
    }
    for echo in all {
        let Some(origin) = echo.echo_of.as_ref() else { continue };
        let best = out
            .iter_mut()
            .filter(|f| f.origin.key == *origin && f.origin.echo_of.is_none())
            .min_by_key(|f| f.origin.from.0.abs_diff(echo.from.0));
        if let Some(fold) = best {
            fold.echoes.push(echo);
        }
    }
    out.sort_by_key(|f| (f.origin.to.is_some(), Reverse(f.origin.severity), Reverse(f.origin.from)));
    out
}

/// How many forecasts are in each severity: failed, at risk, well.
pub(crate) fn tally(all: &[Forecast]) -> (usize, usize, usize) {
    let of = |s| all.iter().filter(|f| f.severity == s).count();
    (of(Severity::Failed), of(Severity::AtRisk), of(Severity::Well))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anomaly(callee: &str, from: i64, echo_of: Option<&str>) -> Anomaly {
        Anomaly {
            key: EdgeKey::new("a", callee, "op"),
            from: UnixNanos(from),
            echo_of: echo_of.map(|c| EdgeKey::new("a", c, "op")),
            ..Anomaly::default()
        }
    }

    #[test]
    fn echoes_fold_under_what_explains_them() {
        let all = [anomaly("orders", 30, Some("bank")), anomaly("bank", 10, None), anomaly("users", 20, Some("gone"))];
        let folds = folded(&all);
        let names: Vec<(&str, usize)> = folds.iter().map(|f| (f.origin.key.callee.as_str(), f.echoes.len())).collect();
        assert_eq!(names, [("users", 0), ("bank", 1)], "newest first; an echo without its origin stands alone");
    }

    #[test]
    fn the_record_is_told_as_it_is() {
        let r = TrackRecord { scored: 20, held: 18, target: 0.95, mean_error: 1.0 };
        assert_eq!(record(&r), "18 of the last 20 held (target 95%)");
        assert!(!is_poor(&r), "two misses of twenty happen by chance");
        assert!(is_poor(&TrackRecord { held: 14, ..r }));
        assert_eq!(record(&TrackRecord::default()), "no forecast has come due yet");
    }

    #[test]
    fn the_worst_and_soonest_come_first() {
        let f = |callee: &str, severity, probability: Option<f64>| Forecast {
            key: EdgeKey::new("a", callee, "op"),
            severity,
            breach: probability.map(|probability| Breach { probability, ..Breach::default() }),
            ..Forecast::default()
        };
        let all = [
            f("well", Severity::Well, None),
            f("risk-low", Severity::AtRisk, Some(0.2)),
            f("failed", Severity::Failed, None),
            f("risk-high", Severity::AtRisk, Some(0.7)),
        ];
        let order: Vec<&str> = by_severity(&all).iter().map(|f| f.key.callee.as_str()).collect();
        assert_eq!(order, ["failed", "risk-high", "risk-low", "well"]);
    }

    #[test]
    fn a_breach_is_an_interval_with_its_chance() {
        let minute = 60_000_000_000;
        let b = Breach {
            limit: "attempt timeout 800 ms".into(),
            earliest: UnixNanos(4 * minute),
            latest: Some(UnixNanos(7 * minute)),
            probability: 0.62,
            ..Breach::default()
        };
        assert_eq!(breach(&b, UnixNanos(0)), "may cross attempt timeout 800 ms in 4 to 7 min (62%)");
        assert_eq!(breach_short(&b, UnixNanos(0)), "attempt timeout 800 ms in 4–7 min · 62%");
    }
}
