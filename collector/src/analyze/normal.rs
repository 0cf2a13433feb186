//! What is normal: a robust level with a band whose width corrects itself.
//!
//! Middle = median of the recent steps that were not outside; spread = 1.4826 · median absolute deviation (the standard
//! deviation of a normal series), never below what counting alone gives. The half width starts at three spreads and then
//! follows adaptive conformal inference (Gibbs and Candès 2021): a step outside widens it by `RATE · 0.95`, a step inside
//! narrows it by `RATE · 0.05`, so that in the long run 95 % of the steps lie inside whatever their distribution.

use fuseboard_api::forecast::Quantity;

/// The share of steps that should lie inside.
pub(super) const TARGET: f64 = 0.95;
/// Steps needed before anything is called normal: one minute.
pub(super) const ENOUGH: usize = 12;
/// The half width before anything is known, in spreads.
pub(super) const FIRST_WIDTH: f64 = 3.0;
const RATE: f64 = 0.4;
const NARROWEST: f64 = 2.0;
const WIDEST: f64 = 8.0;
/// After so many steps outside in a row the new level is the normal one: five minutes.
const ACCEPTED_AFTER: usize = 60;

/// A band for one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Band {
    pub(super) lo: f64,
    pub(super) mid: f64,
    pub(super) hi: f64,
}

impl Band {
    /// Whether a value lies outside on a side that matters: high for errors and latency, both for rates.
    pub(super) fn left_by(&self, value: f64, quantity: Quantity) -> bool {
        value > self.hi || (quantity == Quantity::Rate && value < self.lo)
    }
}

/// The half width after a step that was outside or not.
pub(super) fn adapted(width: f64, outside: bool) -> f64 {
    let step = if outside { RATE * TARGET } else { RATE * (TARGET - 1.0) };
    (width + step).clamp(NARROWEST, WIDEST)
}

/// What is normal for the step after `recent` (value, whether it was outside), oldest first; `None` before there is enough.
pub(super) fn band(recent: &[(f64, bool)], width: f64, quantity: Quantity, calls_a_step: f64) -> Option<Band> {
    let run = recent.iter().rev().take_while(|(_, outside)| *outside).count();
    let keep = |outside: bool| !outside || run >= ACCEPTED_AFTER;
    let mut kept: Vec<f64> = recent.iter().filter(|(_, outside)| keep(*outside)).map(|(v, _)| *v).collect();
    if kept.len() < ENOUGH {
        return None;
    }
    let mid = median(&mut kept);
    let mut deviations: Vec<f64> = kept.iter().map(|v| (v - mid).abs()).collect();
    let spread = (1.4826 * median(&mut deviations)).max(floor(mid, quantity, calls_a_step));
    let top = if quantity == Quantity::ErrorRatio { 1.0 } else { f64::INFINITY };
    Some(Band { lo: (mid - width * spread).max(0.0), mid, hi: (mid + width * spread).min(top) })
}

/// The spread that is there even when nothing changes: counting noise of a rate (Poisson) and of a share (binomial), and
/// the coarseness of a latency quantile.
fn floor(mid: f64, quantity: Quantity, calls_a_step: f64) -> f64 {
    let calls = calls_a_step.max(1.0);
    match quantity {
        Quantity::Rate => (mid.max(0.2) * super::series::STEP as f64).sqrt() / super::series::STEP as f64,
        Quantity::ErrorRatio => 0.003 + (mid * (1.0 - mid) / calls).sqrt() + 0.3 / calls,
        Quantity::P95 => 0.5 + 0.08 * mid,
    }
}

fn median(values: &mut [f64]) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len() % 2 == 1 { values[half] } else { f64::midpoint(values[half - 1], values[half]) }
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn nothing_is_normal_before_a_minute() {
        let few = [(5.0, false); ENOUGH - 1];
        assert_eq!(band(&few, 3.0, Quantity::P95, 50.0), None);
        assert!(band(&[(5.0, false); ENOUGH], 3.0, Quantity::P95, 50.0).is_some());
    }

    #[test]
    fn a_burst_does_not_move_what_is_normal_but_a_lasting_level_does() {
        let mut recent = vec![(20.0, false); 40];
        recent.extend([(900.0, true); 30]);
        assert!((band(&recent, 3.0, Quantity::P95, 50.0).unwrap().mid - 20.0).abs() < 1e-9);
        recent.extend([(900.0, true); 40]);
        assert!(band(&recent, 3.0, Quantity::P95, 50.0).unwrap().mid > 800.0);
    }

    #[test]
    fn the_band_holds_the_share_it_promises() {
        let mut random = SmallRng::seed_from_u64(7);
        let (mut recent, mut width, mut held) = (Vec::new(), FIRST_WIDTH, 0);
        let rounds = 4_000;
        let mut judged = 0;
        for _ in 0..rounds {
            // A skewed latency: 20 ms plus an exponential tail of 6 ms.
            let value = 20.0 - 6.0 * (1.0 - random.random::<f64>()).ln();
            let from = recent.len().saturating_sub(120);
            let outside = match band(&recent[from..], width, Quantity::P95, 50.0) {
                Some(band) => {
                    judged += 1;
                    let outside = band.left_by(value, Quantity::P95);
                    held += usize::from(!outside);
                    width = adapted(width, outside);
                    outside
                }
                None => false,
            };
            recent.push((value, outside));
        }
        let share = held as f64 / f64::from(judged);
        assert!((0.93..=0.97).contains(&share), "held {share}");
    }
}
