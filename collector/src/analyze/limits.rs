//! The limits that a forecast may cross, out of the policy in force.

use std::collections::BTreeSet;

use fuseboard_api::UnixNanos;
use fuseboard_api::forecast::{Breach, Quantity};
use fuseboard_api::graph::EdgeKey;
use fuseboard_policy::document::PolicyDocument;
use fuseboard_policy::set::PolicySet;
use rusqlite::Connection;

use super::ahead::{self, Point};
use crate::control;

/// Chance of crossing below which nothing is said: less would be said of nearly every edge after one bad minute.
const LEAST: f64 = 0.3;

/// One limit of one quantity.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Limit {
    pub(super) text: String,
    pub(super) value: f64,
}

/// The limits of every edge at one instant.
pub(super) struct Limits {
    policies: Option<PolicySet>,
    /// The edges whose callers obey policies: their agents told of them.
    steered: BTreeSet<EdgeKey>,
}

impl Limits {
    /// Of the policy that was in force.
    pub(super) fn load(conn: &Connection, as_of: UnixNanos) -> rusqlite::Result<Self> {
        let stored = control::in_force(conn, as_of)?;
        let policies = PolicyDocument::parse(&stored.document).ok();
        let policies = policies.map(|document| PolicySet::new(stored.revision.number, &document));
        let mut told = conn.prepare_cached("SELECT DISTINCT caller, callee, operation FROM breakers")?;
        let steered = told
            .query_map([], |r| Ok(EdgeKey { caller: r.get(0)?, callee: r.get(1)?, operation: r.get(2)? }))?
            .collect::<rusqlite::Result<_>>()?;
        Ok(Self { policies, steered })
    }

    /// The limit of a quantity of an edge, if there is one.
    pub(super) fn of(&self, key: &EdgeKey, quantity: Quantity) -> Option<Limit> {
        if !self.steered.contains(key) {
            return None;
        }
        let settings = self.policies.as_ref()?.effective(&key.caller, &key.callee, &key.operation).settings;
        match quantity {
            Quantity::Rate => None,
            Quantity::ErrorRatio => {
                let ratio = settings.breaker?.failure_ratio?;
                Some(Limit { text: format!("breaker threshold {:.0} %", ratio * 100.0), value: ratio })
            }
            Quantity::P95 => {
                let ms = settings.timeout?.attempt_ms?;
                Some(Limit { text: format!("attempt timeout {ms} ms"), value: ms as f64 })
            }
        }
    }
}

impl Limit {
    /// When and how probably the forecast made at `end` crosses the limit; `None` when it hardly will, or has already.
    pub(super) fn breach(&self, points: &[Point], now: f64, end: i64) -> Option<Breach> {
        if now >= self.value {
            return None;
        }
        let at = |i: usize| UnixNanos((end + ahead::seconds(i)).saturating_mul(1_000_000_000));
        let earliest = points.iter().position(|p| p.hi >= self.value)?;
        let latest = points.iter().position(|p| p.mid >= self.value);
        let probability = points.iter().map(|p| beyond(p, self.value)).fold(0.0, f64::max);
        (probability >= LEAST).then(|| Breach {
            limit: self.text.clone(),
            value: self.value,
            earliest: at(earliest),
            latest: latest.map(at),
            probability,
        })
    }
}

/// The chance of a value at or above `limit`: the middle halves the interval, inside a half it is taken as even, and what
/// the interval itself leaves out (2.5 % at each end) lies beyond its ends.
fn beyond(point: &Point, limit: f64) -> f64 {
    let share = |from: f64, to: f64| {
        if to > from { ((to - limit) / (to - from)).clamp(0.0, 1.0) } else { f64::from(limit <= to) }
    };
    if limit > point.hi {
        return 0.0;
    }
    0.025 + 0.475 * share(point.mid, point.hi) + 0.475 * share(point.lo, point.mid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rising_forecast_meets_its_limit_and_a_flat_one_does_not() {
        let limit = Limit { text: "attempt timeout 800 ms".to_owned(), value: 800.0 };
        let rising: Vec<Point> =
            (1..=10).map(|i| f64::from(i) * 100.0).map(|m| Point { lo: m * 0.5, mid: m, hi: m * 1.5 }).collect();
        let breach = limit.breach(&rising, 90.0, 1_000).expect("it rises to 1000");
        assert_eq!(breach.earliest.0, (1_000 + ahead::seconds(5)) * 1_000_000_000);
        assert_eq!(breach.latest.map(|t| t.0), Some((1_000 + ahead::seconds(7)) * 1_000_000_000));
        assert!(breach.probability > 0.5, "{breach:?}");
        let flat = [Point { lo: 80.0, mid: 100.0, hi: 130.0 }; 10];
        assert_eq!(limit.breach(&flat, 90.0, 1_000), None);
        assert_eq!(limit.breach(&rising, 900.0, 1_000), None, "what is already beyond is not foreseen");
    }
}
