//! What a guard says of the calls of changed instances beside those they are compared with.

use std::time::Duration;

use fuseboard_api::graph::EdgeKey;
use fuseboard_api::histogram::LatencyHistogram;
use fuseboard_api::rollout::{Against, Guard, Measure, Reading, Verdict};

use super::statistics::{Share, all_lower, deviations, one_lower};
use crate::control::short;

/// Of so many calls at least the 99th percentile is taken: of fewer it is the slowest call itself, and whoever is compared
/// with that has slower ones by chance.
const ENOUGH_FOR_P99: u64 = 100;
/// A guard of the 99th percentile asks how many calls are slower than it allows; as many more are tolerated.
const SLOWER: f64 = 0.01;

/// Calls of one group on one edge.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Tally {
    pub(super) calls: u64,
    pub(super) errors: u64,
    pub(super) refused: u64,
    pub(super) latency: LatencyHistogram,
}

impl Tally {
    pub(super) fn merge(&mut self, other: &Self) {
        self.calls += other.calls;
        self.errors += other.errors;
        self.refused += other.refused;
        self.latency.merge(&other.latency);
    }

    /// The measure's value: a ratio, or milliseconds.
    fn value(&self, measure: Measure) -> f64 {
        match measure {
            Measure::Errors => self.share(measure, 0.0).ratio(),
            Measure::Refused => self.share(measure, 0.0).ratio(),
            Measure::P99 => self.latency.quantile(0.99).map_or(0.0, |d| d.as_secs_f64() * 1e3),
        }
    }

    /// How many calls were bad; slower than `limit` in milliseconds for the 99th percentile.
    fn share(&self, measure: Measure, limit: f64) -> Share {
        let of = self.calls as f64;
        let bad = match measure {
            Measure::Errors => self.errors as f64,
            Measure::Refused => self.refused as f64,
            Measure::P99 => self.latency.share_above(Duration::from_secs_f64(limit.max(0.0) / 1e3)) * of,
        };
        Share { bad, of }
    }
}

/// What both groups did on one edge.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Pair {
    pub(super) edge: EdgeKey,
    pub(super) against: Against,
    pub(super) changed: Tally,
    pub(super) control: Tally,
}

/// What a guard says of all edges: of the worst of those with enough calls, or of all together.
///
/// Each edge with enough calls is asked alone, so that many good edges do not hide a bad one; all together are asked too, so
/// that many small differences are not lost. The chance of a false alarm is shared among the questions.
pub(super) fn read(guard: &Guard, pairs: &[Pair], min_samples: u64) -> Reading {
    let enough = |pair: &&Pair| pair.changed.calls >= min_samples && pair.control.calls >= min_samples;
    let z = deviations(pairs.iter().filter(enough).count() + 1);
    let mut worst = together(guard, pairs, min_samples, z);
    for pair in pairs.iter().filter(enough) {
        let (reading, beyond) = alone(guard, pair, z);
        if (reading.verdict, beyond) > (worst.0.verdict, worst.1) {
            worst = (reading, beyond);
        }
    }
    let mut reading = worst.0;
    reading.text = words(&reading, min_samples);
    reading
}

/// What is tolerated beside `control`, a share.
fn tolerated(guard: &Guard, control: f64) -> f64 {
    if guard.measure == Measure::P99 { SLOWER } else { guard.limit(control) - control }
}

/// One edge; and how far beyond what is tolerated it surely is.
fn alone(guard: &Guard, pair: &Pair, z: f64) -> (Reading, f64) {
    let control = pair.control.value(guard.measure);
    let limit = guard.limit(control);
    let (one, zero) = (pair.changed.share(guard.measure, limit), pair.control.share(guard.measure, limit));
    let beyond = one_lower(one, zero, z) - tolerated(guard, zero.ratio());
    let reading = Reading {
        guard: *guard,
        edge: Some(pair.edge.clone()),
        against: pair.against,
        changed: pair.changed.value(guard.measure),
        control,
        limit,
        changed_calls: pair.changed.calls,
        control_calls: pair.control.calls,
        verdict: if beyond > 0.0 { Verdict::Fails } else { Verdict::Passes },
        text: String::new(),
    };
    (reading, beyond)
}

/// All edges together.
fn together(guard: &Guard, pairs: &[Pair], min_samples: u64, z: f64) -> (Reading, f64) {
    let (mut changed, mut control) = (Tally::default(), Tally::default());
    for pair in pairs {
        changed.merge(&pair.changed);
        control.merge(&pair.control);
    }
    let usable = |pair: &&Pair| guard.measure != Measure::P99 || pair.control.calls >= ENOUGH_FOR_P99;
    let shares: Vec<(Share, Share)> = pairs
        .iter()
        .filter(usable)
        .map(|pair| {
            // Each edge has a limit of its own: what is slow on one is usual on another.
            let limit = guard.limit(pair.control.value(guard.measure));
            (pair.changed.share(guard.measure, limit), pair.control.share(guard.measure, limit))
        })
        .collect();
    let compared = all_lower(&shares, z);
    let by_share = guard.measure != Measure::P99;
    let (changed_value, control_value) = match compared {
        Some((changed, control, _)) if by_share => (changed, control),
        _ => (changed.value(guard.measure), control.value(guard.measure)),
    };
    let beyond = compared.map_or(f64::NEG_INFINITY, |(_, zero, lower)| lower - tolerated(guard, zero));
    let verdict = if changed.calls < min_samples || control.calls < min_samples || compared.is_none() {
        Verdict::TooFew
    } else if beyond > 0.0 {
        Verdict::Fails
    } else {
        Verdict::Passes
    };
    let reading = Reading {
        guard: *guard,
        edge: None,
        against: pairs.iter().map(|p| p.against).find(|a| *a == Against::Before).unwrap_or_default(),
        changed: changed_value,
        control: control_value,
        limit: guard.limit(control_value),
        changed_calls: changed.calls,
        control_calls: control.calls,
        verdict,
        text: String::new(),
    };
    // A verdict on all edges stands unless a single edge is worse.
    (reading, beyond)
}

fn words(r: &Reading, min_samples: u64) -> String {
    let value = |v: f64| match r.guard.measure {
        Measure::P99 => format!("{v:.0} ms"),
        Measure::Errors | Measure::Refused => format!("{:.1} %", v * 100.0),
    };
    let what = match r.guard.measure {
        Measure::Errors => "errors",
        Measure::P99 => "p99",
        Measure::Refused => "refused",
    };
    let whom = match r.against {
        Against::Others => "the others",
        Against::Before => "before the change",
    };
    if r.verdict == Verdict::TooFew {
        return format!(
            "{what}: too few calls to say, {} of changed instances and {} {whom}; {min_samples} of each are needed",
            r.changed_calls, r.control_calls
        );
    }
    let edge = r.edge.as_ref().map(|e| format!("{} → {} {}: ", e.caller, e.callee, short(&e.operation)));
    format!(
        "{}{what} {} of {} calls, {whom} {} of {} (at most {})",
        edge.unwrap_or_default(),
        value(r.changed),
        r.changed_calls,
        value(r.control),
        r.control_calls,
        value(r.limit)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(calls: u64, errors: u64, ms: u64) -> Tally {
        let mut latency = LatencyHistogram::default();
        // One in a hundred takes twice as long.
        (0..calls).for_each(|i| latency.record((if i % 100 == 99 { 2 * ms } else { ms }) * 1_000_000));
        Tally { calls, errors, refused: 0, latency }
    }

    fn pair(operation: &str, changed: Tally, control: Tally) -> Pair {
        Pair { edge: EdgeKey::new("orders", "bank", operation), against: Against::Others, changed, control }
    }

    fn usual(measure: Measure) -> Guard {
        Guard::usual().into_iter().find(|g| g.measure == measure).unwrap()
    }

    #[test]
    fn too_few_calls_are_said_and_not_judged() {
        let pairs = [pair("a", tally(99, 99, 10), tally(5000, 0, 10))];
        let reading = read(&usual(Measure::Errors), &pairs, 100);
        assert_eq!(reading.verdict, Verdict::TooFew);
        assert_eq!(
            reading.text,
            "errors: too few calls to say, 99 of changed instances and 5000 the others; 100 of each are needed"
        );
        assert_eq!(read(&usual(Measure::Errors), &[], 1).verdict, Verdict::TooFew);
    }

    #[test]
    fn many_good_edges_do_not_hide_a_bad_one() {
        let mut pairs = vec![pair("good", tally(100_000, 0, 10), tally(100_000, 0, 10))];
        pairs.push(pair("bank.Bank/Pay", tally(200, 100, 10), tally(200, 1, 10)));
        let reading = read(&usual(Measure::Errors), &pairs, 100);
        assert_eq!(reading.verdict, Verdict::Fails);
        assert_eq!(
            reading.text,
            "orders → bank …Pay: errors 50.0 % of 200 calls, the others 0.5 % of 200 (at most 1.5 %)"
        );
    }

    #[test]
    fn many_small_edges_are_judged_together() {
        let pairs: Vec<Pair> = (0..20).map(|i| pair(&format!("o{i}"), tally(50, 10, 10), tally(200, 0, 10))).collect();
        let reading = read(&usual(Measure::Errors), &pairs, 100);
        assert_eq!((reading.verdict, reading.edge), (Verdict::Fails, None));
    }

    #[test]
    fn slower_calls_fail_the_percentile_only_beyond_its_tolerance() {
        let guard = usual(Measure::P99);
        let verdict = |ms| read(&guard, &[pair("a", tally(1000, 0, ms), tally(1000, 0, 100))], 100).verdict;
        assert_eq!(verdict(100), Verdict::Passes);
        assert_eq!(verdict(120), Verdict::Passes, "a quarter more is tolerated");
        assert_eq!(verdict(130), Verdict::Fails);
    }
}
