//! Smooth weighted round robin without its lock: the picks are a fixed sequence, so they are worked out beforehand and
//! handed out by a counter. A sequence that repeats soon is kept whole; a longer one is worked out block by block.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;

/// A sequence that repeats after so many picks is kept whole.
const WHOLE: u128 = 4_096;
/// Picks of a block of a longer one.
const BLOCK: usize = 1_024;

/// Whose turn it is, by position in the list of weights.
#[derive(Debug)]
pub(super) enum Weighted {
    /// The whole sequence, again and again.
    Round(Block),
    /// The present part of it.
    Part(ArcSwap<Block>),
}

#[derive(Debug)]
pub(super) struct Block {
    picks: Box<[u32]>,
    turn: AtomicU64,
    /// State of the sequence after it.
    after: Smooth,
    next: OnceLock<Arc<Block>>,
}

/// nginx's algorithm: add each weight to its value, pick the greatest value, the first of equals, and take the sum of the
/// weights from it.
#[derive(Debug, Clone)]
struct Smooth {
    weights: Arc<[u64]>,
    values: Box<[i128]>,
    sum: i128,
}

impl Smooth {
    fn next(&mut self) -> usize {
        let mut best = (0, i128::MIN);
        for (index, (value, weight)) in self.values.iter_mut().zip(&*self.weights).enumerate() {
            *value += i128::from(*weight);
            if *weight > 0 && *value > best.1 {
                best = (index, *value);
            }
        }
        if let Some(value) = self.values.get_mut(best.0) {
            *value -= self.sum;
        }
        best.0
    }
}

impl Block {
    fn new(mut smooth: Smooth, length: usize) -> Self {
        let picks = (0..length).map(|_| smooth.next() as u32).collect();
        Self { picks, turn: AtomicU64::new(0), after: smooth, next: OnceLock::new() }
    }

    fn get(&self, turn: u64) -> Option<usize> {
        self.picks.get(usize::try_from(turn).ok()?).map(|index| *index as usize)
    }
}

impl Weighted {
    /// `None` where nobody has a weight.
    pub(super) fn new(weights: impl Iterator<Item = u64>) -> Option<Self> {
        let weights: Arc<[u64]> = weights.collect();
        let common = weights.iter().fold(0, |a, b| gcd(a, *b));
        let period = weights.iter().map(|weight| u128::from(weight.checked_div(common).unwrap_or(0))).sum::<u128>();
        let sum = weights.iter().map(|weight| i128::from(*weight)).sum();
        let smooth = Smooth { values: vec![0; weights.len()].into(), weights, sum };
        match period {
            0 => None,
            1..=WHOLE => Some(Self::Round(Block::new(smooth, period as usize))),
            _ => Some(Self::Part(ArcSwap::from_pointee(Block::new(smooth, BLOCK)))),
        }
    }

    pub(super) fn next(&self) -> Option<usize> {
        match self {
            Self::Round(block) => {
                let turn = block.turn.fetch_add(1, Ordering::Relaxed);
                block.get(turn.checked_rem(block.picks.len() as u64)?)
            }
            Self::Part(present) => loop {
                let block = present.load();
                if let Some(index) = block.get(block.turn.fetch_add(1, Ordering::Relaxed)) {
                    return Some(index);
                }
                let next = block.next.get_or_init(|| Arc::new(Block::new(block.after.clone(), BLOCK)));
                // Whoever is first.
                present.compare_and_swap(&*block, Arc::clone(next));
            },
        }
    }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the weights, the picks are those of the algorithm, one by one.
        #[test]
        fn picks_are_those_of_the_algorithm(weights in prop::collection::vec(0..5_000u64, 1..6), n in 1..6_000usize) {
            let sum = weights.iter().sum::<u64>();
            let Some(weighted) = Weighted::new(weights.iter().copied()) else {
                prop_assert_eq!(sum, 0);
                return Ok(());
            };
            let values = vec![0; weights.len()].into();
            let mut smooth = Smooth { values, weights: weights.into(), sum: i128::from(sum) };
            for _ in 0..n {
                prop_assert_eq!(weighted.next(), Some(smooth.next()));
            }
        }
    }
}
