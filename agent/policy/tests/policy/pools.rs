//! The pool one step at a time: where keys go, and how much an instance carries.

use std::collections::HashMap;
use std::sync::Arc;

use fuseboard_policy::pool::{Pick, Pool, Showed, Tried};
use fuseboard_policy::settings::{Algorithm, Balance};
use proptest::prelude::*;

fn hashed(max_load: Option<f64>) -> Pool {
    let algorithm = Algorithm::ConsistentHash;
    Pool::new(Some(&Balance { algorithm, default_rtt_ms: 30, decay_ms: 1_000, key: None, max_load }), None, 0)
}

fn members(weights: &[u64]) -> Vec<(Arc<str>, u64)> {
    weights.iter().enumerate().map(|(i, weight)| (format!("i{i}").into(), *weight)).collect()
}

fn pick(pool: &Pool, key: u64) -> Option<Pick> {
    pool.pick(0, &key.to_be_bytes(), &mut Tried::default(), || 0.5)
}

/// The instance of each of so many keys.
fn places(pool: &Pool, keys: u64) -> Vec<Arc<str>> {
    let place = |key| {
        let pick = pick(pool, key).unwrap();
        let id = pick.id().clone();
        pool.done(pick, 0, Showed::Nothing);
        id
    };
    (0..keys).map(place).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Shares follow weights; who leaves or joins moves the keys that are its own, and no others.
    #[test]
    fn keys_move_only_where_they_must(weights in prop::collection::vec(1..6u64, 2..9), which in any::<prop::sample::Index>()) {
        const KEYS: u64 = 20_000;
        let (pool, all) = (hashed(None), members(&weights));
        pool.join(1, &all, 0);
        let before = places(&pool, KEYS);
        let mut counts = HashMap::<Arc<str>, u64>::new();
        before.iter().for_each(|id| *counts.entry(id.clone()).or_default() += 1);
        let sum: u64 = weights.iter().sum();
        for (id, weight) in &all {
            let (share, fair) = (counts[id] as f64 / KEYS as f64, *weight as f64 / sum as f64);
            prop_assert!((share - fair).abs() < 0.12 * fair + 0.01, "{id}: {share} of {fair}");
        }
        let gone = which.get(&all).0.clone();
        let rest: Vec<_> = all.iter().filter(|(id, _)| *id != gone).cloned().collect();
        pool.join(2, &rest, 0);
        let without = places(&pool, KEYS);
        for (before, after) in before.iter().zip(&without) {
            prop_assert!(*before == gone || before == after);
            prop_assert!(*after != gone);
        }
        pool.join(3, &all, 0);
        prop_assert_eq!(places(&pool, KEYS), before, "the order in which they joined does not matter");
    }
}

proptest! {
    /// No instance gets a call that would lift it above 1.25 times its fair share, rounded up.
    #[test]
    fn nobody_carries_more_than_its_bound(steps in prop::collection::vec((0..6u64, any::<prop::sample::Index>(), any::<bool>()), 1..200)) {
        const FACTOR: f64 = 1.25;
        let pool = hashed(Some(FACTOR));
        pool.join(1, &members(&[1; 5]), 0);
        let mut busy: Vec<Pick> = Vec::new();
        for (key, which, ends) in steps {
            if ends && !busy.is_empty() {
                let index = which.index(busy.len());
                pool.done(busy.swap_remove(index), 0, Showed::Well);
                continue;
            }
            let picked = pick(&pool, key).unwrap();
            busy.push(picked);
            let newest = busy.last().unwrap().id();
            let own = busy.iter().filter(|pick| pick.id() == newest).count() as f64;
            prop_assert!(own <= (FACTOR * busy.len() as f64 / 5.0).ceil(), "{own} of {}", busy.len());
        }
    }

    /// A call tries all instances before it tries one again, whatever the algorithm.
    #[test]
    fn a_call_tries_others_first(n in 1..7usize, draws in prop::collection::vec(0.0..1.0f64, 40)) {
        let algorithms = [
            Algorithm::RoundRobin,
            Algorithm::WeightedRoundRobin,
            Algorithm::Random,
            Algorithm::LeastRequest,
            Algorithm::P2cPeakEwma,
            Algorithm::ConsistentHash,
        ];
        for algorithm in algorithms {
            let balance = Balance { algorithm, default_rtt_ms: 30, decay_ms: 1_000, key: None, max_load: None };
            let pool = Pool::new(Some(&balance), None, 0);
            pool.join(1, &members(&[1, 2, 3, 1, 2, 3][..n.min(6)]), 0);
            let (mut tried, mut draw) = (Tried::default(), draws.iter().copied().cycle());
            let mut seen: Vec<String> = Vec::new();
            for _ in 0..n.min(6) {
                let pick = pool.pick(0, b"key", &mut tried, || draw.next().unwrap()).unwrap();
                seen.push(pick.id().to_string());
                pool.done(pick, 0, Showed::Failed);
            }
            seen.sort();
            seen.dedup();
            prop_assert_eq!(seen.len(), n.min(6), "{:?}", algorithm);
        }
    }
}
