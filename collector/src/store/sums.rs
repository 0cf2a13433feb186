//! What all commits since the start added to each series, in memory: counters that never fall, whatever retention takes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use fuseboard_api::histogram::LatencyHistogram;

use super::rollup::Deltas;

/// Series that are summed at most; what others add is only counted.
const MOST_SERIES: usize = 20_000;

/// Sums of one series.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) calls: u64,
    pub(crate) errors: u64,
    pub(crate) refused: u64,
    pub(crate) latency: LatencyHistogram,
}

/// Sums by series, as the table `series` numbers them.
#[derive(Debug, Default)]
pub(crate) struct Sums(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    series: HashMap<i64, Sum>,
    overflow: u64,
}

impl Sums {
    /// Adds what a commit brought.
    pub(super) fn add(&self, deltas: &Deltas) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State { series: all, overflow } = &mut *state;
        for ((series, _), delta) in deltas {
            if all.len() >= MOST_SERIES && !all.contains_key(series) {
                *overflow += delta.calls;
                continue;
            }
            let sum = all.entry(*series).or_default();
            sum.calls += delta.calls;
            sum.errors += delta.errors;
            sum.refused += delta.refused;
            sum.latency.merge(&delta.latency);
        }
    }

    /// All sums, and the calls of series that had no room.
    pub(crate) fn read(&self) -> (HashMap<i64, Sum>, u64) {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (state.series.clone(), state.overflow)
    }
}

#[cfg(test)]
mod tests {
    use super::super::rollup::Delta;
    use super::*;

    #[test]
    fn sums_grow_and_have_a_limit() {
        let sums = Sums::default();
        let mut one = Delta { calls: 2, errors: 1, ..Delta::default() };
        one.latency.record(1_000);
        for second in [3, 4] {
            sums.add(&Deltas::from([((7, second), one.clone())]));
        }
        let (all, overflow) = sums.read();
        assert_eq!((all[&7].calls, all[&7].errors, all[&7].latency.count(), overflow), (4, 2, 2, 0));
        sums.add(&(0..MOST_SERIES as i64).map(|series| ((100 + series, 0), one.clone())).collect());
        sums.add(&Deltas::from([((7, 5), one)]));
        let (all, overflow) = sums.read();
        assert_eq!((all.len(), all[&7].calls, overflow), (MOST_SERIES, 6, 2), "one too many, by two calls");
    }
}
