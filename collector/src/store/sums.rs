//! What all commits since the start added to each series, in memory: counters that never fall, whatever retention takes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use fuseboard_api::histogram::LatencyHistogram;

use super::rollup::{Counts, unpack_into};

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
    /// Adds what a commit brought: by series, counters and the packed histogram of latencies.
    pub(super) fn add(&self, added: &[(i64, Counts, Option<Vec<u8>>)]) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State { series: all, overflow } = &mut *state;
        for (series, counts, latency) in added {
            if all.len() >= MOST_SERIES && !all.contains_key(series) {
                *overflow += counts.calls;
                continue;
            }
            let sum = all.entry(*series).or_default();
            sum.calls += counts.calls;
            sum.errors += counts.errors;
            sum.refused += counts.refused;
            unpack_into(latency.as_deref().unwrap_or_default(), &mut sum.latency.counts);
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
    use super::super::rollup::pack;
    use super::*;

    #[test]
    fn sums_grow_and_have_a_limit() {
        let sums = Sums::default();
        let counts = Counts { calls: 2, errors: 1, ..Counts::default() };
        let mut latency = LatencyHistogram::default();
        latency.record(1_000);
        let one = |series| (series, counts, pack(&latency));
        sums.add(&[one(7), one(7)]);
        let (all, overflow) = sums.read();
        assert_eq!((all[&7].calls, all[&7].errors, all[&7].latency.count(), overflow), (4, 2, 2, 0));
        let many: Vec<_> = (0..MOST_SERIES as i64).map(|series| one(100 + series)).collect();
        sums.add(&many);
        sums.add(&[one(7)]);
        let (all, overflow) = sums.read();
        assert_eq!((all.len(), all[&7].calls, overflow), (MOST_SERIES, 6, 2), "one too many, by two calls");
    }
}
