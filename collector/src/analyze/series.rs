//! Quantities of edges in steps of five seconds, out of the rollups.

use std::collections::BTreeMap;

use fuseboard_api::UnixNanos;
use fuseboard_api::forecast::Quantity;
use fuseboard_api::graph::EdgeKey;
use rusqlite::{Connection, params};

use crate::store::rollup::{Delta, add_row};

/// Length of a step, in seconds.
pub(super) const STEP: i64 = 5;
/// Steps that are looked back on: ten minutes.
pub(super) const HISTORY: i64 = 120;
/// All quantities.
pub(super) const QUANTITIES: [Quantity; 3] = [Quantity::Rate, Quantity::ErrorRatio, Quantity::P95];

/// What happened on an edge: step's start (Unix seconds) → sums.
pub(super) type Steps = BTreeMap<i64, Delta>;

/// The sums of every edge in `from <= second < to`, as of an instant. Both ends are multiples of [`STEP`].
pub(super) fn read(
    conn: &Connection,
    from: i64,
    to: i64,
    as_of: UnixNanos,
) -> rusqlite::Result<BTreeMap<EdgeKey, Steps>> {
    let mut query = conn.prepare_cached(
        "SELECT s.caller, s.callee, s.operation, r.second,
                r.calls, r.errors, r.refused, r.attempts, r.cut, r.latency, NULL, NULL
         FROM rollup r JOIN series s ON s.id = r.series
         WHERE r.second >= ?1 AND r.second < ?2 AND r.arrival <= ?3 AND s.inbound = 0",
    )?;
    let mut rows = query.query(params![from, to, as_of.0])?;
    let mut edges: BTreeMap<EdgeKey, Steps> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let key = EdgeKey { caller: row.get(0)?, callee: row.get(1)?, operation: row.get(2)? };
        let step = row.get::<_, i64>(3)?.div_euclid(STEP) * STEP;
        add_row(edges.entry(key).or_default().entry(step).or_default(), row, 4)?;
    }
    Ok(edges)
}

/// One value a step from the first step with a call up to `to`: `None` where the quantity has no value. A silent step has
/// rate 0 and no error ratio or latency.
pub(super) fn values(steps: &Steps, quantity: Quantity, to: i64) -> Vec<(i64, Option<f64>)> {
    let Some(first) = steps.keys().next().copied() else { return Vec::new() };
    let nothing = Delta::default();
    let count = usize::try_from((to - first) / STEP).unwrap_or(0);
    (0..count)
        .map(|i| {
            let step = first + i as i64 * STEP;
            (step, value(steps.get(&step).unwrap_or(&nothing), quantity))
        })
        .collect()
}

fn value(sums: &Delta, quantity: Quantity) -> Option<f64> {
    match quantity {
        Quantity::Rate => Some(sums.calls as f64 / STEP as f64),
        Quantity::ErrorRatio => (sums.calls > 0).then(|| sums.errors as f64 / sums.calls as f64),
        Quantity::P95 => sums.latency.quantile(0.95).map(|d| d.as_secs_f64() * 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silent_steps_have_a_rate_and_nothing_else() {
        let mut steps = Steps::new();
        let mut busy = Delta { calls: 10, errors: 5, ..Delta::default() };
        busy.latency.record(20_000_000);
        steps.insert(100, busy);
        steps.insert(110, Delta { calls: 1, ..Delta::default() });
        let rates = values(&steps, Quantity::Rate, 115);
        assert_eq!(rates, vec![(100, Some(2.0)), (105, Some(0.0)), (110, Some(0.2))]);
        let errors = values(&steps, Quantity::ErrorRatio, 115);
        assert_eq!(errors, vec![(100, Some(0.5)), (105, None), (110, Some(0.0))]);
        assert!(values(&Steps::new(), Quantity::P95, 115).is_empty());
    }
}
