//! What comes next: exponential smoothing (`augurs`), with intervals from how wrong it was so far.
//!
//! Rates and latencies are forecast on the scale ln(1 + x), where their errors are alike at every level; shares as they are.
//! The half width at each horizon is the split-conformal quantile of the absolute errors that forecasts of this very
//! series made at that horizon in the last ten minutes; before there are ten of them it grows with the square root of the
//! horizon from the model's own one-step error.

use augurs::ets::AutoETS;
use augurs::{Fit, Predict};
use fuseboard_api::forecast::Quantity;

use super::normal::TARGET;
use super::series::STEP;

/// How far ahead, in steps: 5 s … 5 min.
pub(super) const HORIZONS: [usize; 10] = [1, 2, 4, 6, 9, 12, 18, 24, 36, 60];
/// Steps that the model looks at.
const LOOK_BACK: usize = 72;
/// Errors needed before they alone set the width.
const ENOUGH_ERRORS: usize = 10;

/// A forecast at one horizon, in the quantity's unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub(super) lo: f64,
    pub(super) mid: f64,
    pub(super) hi: f64,
}

/// What was forecast, and by which model.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ahead {
    pub(super) points: Vec<Point>,
    pub(super) model: &'static str,
}

/// Onto the scale on which errors are alike.
fn scaled(value: f64, quantity: Quantity) -> f64 {
    if quantity == Quantity::ErrorRatio { value } else { value.max(0.0).ln_1p() }
}

fn unscaled(value: f64, quantity: Quantity) -> f64 {
    if quantity == Quantity::ErrorRatio { value.clamp(0.0, 1.0) } else { value.exp_m1().max(0.0) }
}

/// The error of an earlier forecast on that scale.
pub(super) fn error(mid: f64, came: f64, quantity: Quantity) -> f64 {
    (scaled(came, quantity) - scaled(mid, quantity)).abs()
}

/// Forecasts the steps after `values` (oldest first, no gaps). `errors` holds, per horizon, how wrong earlier forecasts
/// were. With `cheap` the level alone is carried on.
pub(super) fn forecast(values: &[f64], quantity: Quantity, errors: &[Vec<f64>], cheap: bool) -> Ahead {
    let from = values.len().saturating_sub(LOOK_BACK);
    let y: Vec<f64> = values[from..].iter().map(|v| scaled(*v, quantity)).collect();
    let (mids, sigma, model) = match if cheap || flat(&y) { None } else { smooth(&y) } {
        Some((mids, sigma)) => (mids, sigma, "exponential smoothing"),
        None => level(&y),
    };
    let (least, most) = reach(&y);
    let points = HORIZONS
        .iter()
        .zip(mids)
        .enumerate()
        .map(|(i, (steps, mid))| {
            let mid = mid.clamp(least, most);
            let (lo, hi) = match errors.get(i).and_then(|e| conformal(e)) {
                Some(measured) => (mid - measured.max(0.5 * sigma), mid + measured.max(0.5 * sigma)),
                None => {
                    let grown = 1.96 * sigma * (*steps as f64).sqrt();
                    ((mid - grown).max(least), (mid + grown).min(most))
                }
            };
            Point { lo: unscaled(lo, quantity), mid: unscaled(mid, quantity), hi: unscaled(hi, quantity) }
        })
        .collect();
    Ahead { points, model }
}

/// How far a forecast may reach before its errors are known: what was seen in the time looked back on, and half as much again on either side. A model
/// fitted across an outage would otherwise promise anything between nothing and years.
fn reach(y: &[f64]) -> (f64, f64) {
    let least = y.iter().copied().fold(f64::INFINITY, f64::min);
    let most = y.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let beyond = 0.5 * (most - least) + 0.1;
    (least - beyond, most + beyond)
}

/// The split-conformal quantile: the ⌈(n + 1) · 0.95⌉-th smallest error.
fn conformal(errors: &[f64]) -> Option<f64> {
    if errors.len() < ENOUGH_ERRORS {
        return None;
    }
    let mut sorted = errors.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (((sorted.len() + 1) as f64) * TARGET).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len()) - 1).copied()
}

fn flat(y: &[f64]) -> bool {
    y.windows(2).all(|w| (w[0] - w[1]).abs() < 1e-12)
}

/// Additive errors, trend where it helps (damped), no season.
fn smooth(y: &[f64]) -> Option<(Vec<f64>, f64)> {
    let fitted = AutoETS::new(1, "AZN").ok()?.damped(true).ok()?.fit(y).ok()?;
    let longest = HORIZONS.last().copied().unwrap_or(1);
    let ahead = fitted.predict(longest, None).ok()?.point;
    let inside = fitted.predict_in_sample(None).ok()?.point;
    let sigma = spread(y.iter().zip(&inside).skip(2).map(|(a, b)| (a - b).abs()).collect());
    let mids: Vec<f64> = HORIZONS.iter().filter_map(|h| ahead.get(h - 1).copied()).collect();
    (mids.len() == HORIZONS.len() && mids.iter().all(|m| m.is_finite()) && sigma.is_finite()).then_some((mids, sigma))
}

/// The usual size of one-step errors: 1.4826 times their median, so that one jump does not widen everything after it, yet
/// at least a quarter of their root mean square.
fn spread(mut errors: Vec<f64>) -> f64 {
    errors.sort_by(f64::total_cmp);
    let median = errors.get(errors.len() / 2).copied().unwrap_or(0.0);
    let square = errors.iter().map(|e| e * e).sum::<f64>() / errors.len().max(1) as f64;
    (1.4826 * median).max(0.25 * square.sqrt())
}

/// The mean of the last half minute, carried on.
fn level(y: &[f64]) -> (Vec<f64>, f64, &'static str) {
    let last = &y[y.len().saturating_sub(6)..];
    let mean = last.iter().sum::<f64>() / last.len().max(1) as f64;
    let sigma = spread(y.windows(2).map(|w| (w[1] - w[0]).abs()).collect());
    (vec![mean; HORIZONS.len()], sigma, "last level")
}

/// How long after the newest step a horizon's step begins, in seconds.
pub(super) fn seconds(horizon: usize) -> i64 {
    HORIZONS.get(horizon).map_or(0, |steps| (*steps as i64 - 1) * STEP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_series_stays_and_a_rising_one_rises() {
        let steady: Vec<f64> = (0..60).map(|i| 50.0 + f64::from(i % 3)).collect();
        let flat = forecast(&steady, Quantity::P95, &[], false);
        assert!(flat.points.iter().all(|p| (45.0..57.0).contains(&p.mid)), "{flat:?}");
        let rising: Vec<f64> = (0..60).map(|i| 20.0 * (1.0 + f64::from(i) * 0.08) + f64::from(i % 2)).collect();
        let up = forecast(&rising, Quantity::P95, &[], false);
        assert!(up.points[5].mid > *rising.last().unwrap(), "{up:?}");
        assert!(up.points.iter().all(|p| p.lo <= p.mid && p.mid <= p.hi));
    }

    #[test]
    fn a_constant_series_needs_no_model_and_shares_stay_shares() {
        let none = forecast(&[0.0; 30], Quantity::ErrorRatio, &[], false);
        assert_eq!(none.model, "last level");
        assert!(none.points.iter().all(|p| p.lo == 0.0 && p.hi == 0.0));
        let wild: Vec<f64> = (0..40).map(|i| f64::from(i % 2)).collect();
        let bounded = forecast(&wild, Quantity::ErrorRatio, &[], false);
        assert!(bounded.points.iter().all(|p| p.lo >= 0.0 && p.hi <= 1.0));
    }

    #[test]
    fn an_outage_does_not_make_a_forecast_reach_beyond_all_measure() {
        let mut hit = vec![40.0; 12];
        hit.extend([1500.0, 1800.0, 1700.0]);
        hit.extend([42.0; 6]);
        let after = forecast(&hit, Quantity::P95, &[], false);
        assert!(after.points.iter().all(|p| p.hi < 30_000.0 && p.lo >= 0.0), "{after:?}");
    }

    #[test]
    fn errors_set_the_width_once_there_are_enough() {
        let steady: Vec<f64> = (0..60).map(|i| 50.0 + f64::from(i % 2)).collect();
        let mut errors = vec![vec![0.0; 4]; HORIZONS.len()];
        let before = forecast(&steady, Quantity::P95, &errors, true);
        errors[0] = vec![0.5; 20];
        let after = forecast(&steady, Quantity::P95, &errors, true);
        assert!(after.points[0].hi > before.points[0].hi * 1.3, "{before:?} {after:?}");
        assert_eq!(before.points[1], after.points[1]);
    }
}
