//! Whether one group of calls is worse than another by more than is tolerated, or only by chance.
//!
//! Every question is put as one about shares: how many of the calls were *bad* (failed, refused, slower than a limit), with
//! the changed instances (1) and with those they are compared with (0). A guard fails when the lower bound of the difference
//! of the two shares lies above what is tolerated.
//!
//! One edge: Newcombe's interval for the difference of independent proportions from Wilson's score intervals (R. G. Newcombe,
//! *Interval estimation for the difference between independent proportions: comparison of eleven methods*, Statistics in
//! Medicine 17 (1998), method 10; E. B. Wilson, JASA 22 (1927)). It holds for small counts and for shares near 0.
//!
//! All edges together: the Mantel–Haenszel difference, which compares within each edge only, so that a group that happens to
//! make more of the calls that fail anyhow is not taken for worse; with the variance of T. Sato (Biometrics 45 (1989)), valid
//! for few large edges and for many small ones.

/// Chance that one look at everything finds a difference of exactly what is tolerated too large. A change that makes no
/// difference fails far more rarely, as the tolerance lies between.
const ALPHA: f64 = 0.001;

/// How many of some calls were bad.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Share {
    /// How many were bad; a histogram's parts of buckets make it fractional.
    pub(super) bad: f64,
    /// Of how many.
    pub(super) of: f64,
}

impl Share {
    /// As a ratio, 0…1; 0 of none.
    pub(super) fn ratio(self) -> f64 {
        if self.of > 0.0 { (self.bad / self.of).clamp(0.0, 1.0) } else { 0.0 }
    }

    /// Wilson's score interval at `z` standard deviations.
    fn wilson(self, z: f64) -> (f64, f64) {
        if self.of <= 0.0 {
            return (0.0, 1.0);
        }
        let (p, n, zz) = (self.ratio(), self.of, z * z);
        let middle = (p + zz / (2.0 * n)) / (1.0 + zz / n);
        let half = z * (p * (1.0 - p) / n + zz / (4.0 * n * n)).sqrt() / (1.0 + zz / n);
        ((middle - half).max(0.0), (middle + half).min(1.0))
    }
}

/// How many standard deviations make [`ALPHA`], shared among so many questions (Bonferroni). Chernoff's bound of the normal
/// tail, `P(Z > z) ≤ ½·exp(−z²/2)`, solved for `z`: a little more than the exact quantile, never less.
pub(super) fn deviations(questions: usize) -> f64 {
    let alpha = ALPHA / questions.max(1) as f64;
    (-2.0 * (2.0 * alpha).ln()).sqrt()
}

/// Lower bound of how much larger the changed share is, on one edge.
pub(super) fn one_lower(changed: Share, control: Share, z: f64) -> f64 {
    let (p1, p0) = (changed.ratio(), control.ratio());
    let ((low, _), (_, high)) = (changed.wilson(z), control.wilson(z));
    (p1 - p0) - ((p1 - low).powi(2) + (high - p0).powi(2)).sqrt()
}

/// The changed share, the share it is compared with, both as if all edges were one, and the lower bound of their difference.
/// Pairs are (changed, control); edges on which one of the groups made no call say nothing. `None` when none is left.
pub(super) fn all_lower(pairs: &[(Share, Share)], z: f64) -> Option<(f64, f64, f64)> {
    let (mut weight, mut changed, mut control, mut p, mut q) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for (one, zero) in pairs.iter().filter(|(a, b)| a.of > 0.0 && b.of > 0.0) {
        let (n1, n0, y1, y0) = (one.of, zero.of, one.bad, zero.bad);
        let n = n1 + n0;
        let w = n1 * n0 / n;
        weight += w;
        changed += w * one.ratio();
        control += w * zero.ratio();
        p += (n1 * n1 * y0 - n0 * n0 * y1 + n1 * n0 * (n0 - n1) / 2.0) / (n * n);
        q += (y1 * (n0 - y0) + y0 * (n1 - y1)) / (2.0 * n);
    }
    if weight <= 0.0 {
        return None;
    }
    let difference = (changed - control) / weight;
    let variance = ((difference * p + q) / (weight * weight)).max(0.0);
    Some((changed / weight, control / weight, difference - z * variance.sqrt()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::rngs::SmallRng;
    use rand::{Rng as _, SeedableRng as _};

    use super::*;

    fn share(bad: u32, of: u32) -> Share {
        Share { bad: f64::from(bad), of: f64::from(of) }
    }

    /// So many of `n` calls of which a share `p` is bad.
    fn drawn(random: &mut SmallRng, n: u32, p: f64) -> Share {
        share((0..n).filter(|_| random.random_bool(p)).count() as u32, n)
    }

    #[test]
    fn the_bounds_are_those_of_the_literature() {
        // Newcombe 1998, table II, example (a): 56/70 against 48/80, 95 %: 0.0524 to 0.3339.
        let lower = one_lower(share(56, 70), share(48, 80), 1.959_964);
        assert!((lower - 0.0524).abs() < 0.0001, "{lower}");
        // Wilson 95 % of 81 of 263: 0.2553 to 0.3662.
        let (low, high) = share(81, 263).wilson(1.959_964);
        assert!((low - 0.2553).abs() < 0.0001 && (high - 0.3662).abs() < 0.0001, "{low} {high}");
        // 3.09 is the exact quantile of 0.001.
        assert!((3.09..3.6).contains(&deviations(1)), "{}", deviations(1));
        assert!(deviations(10) > deviations(1));
    }

    #[test]
    fn all_edges_together_are_compared_within_each() {
        // The changed instance makes most of the calls that fail anyhow: pooled, it would look far worse.
        let pairs = [(share(90, 900), share(10, 100)), (share(0, 100), share(0, 900))];
        let (changed, control, lower) = all_lower(&pairs, 3.0).unwrap();
        assert!((changed - control).abs() < 1e-12 && lower < 0.0, "{changed} {control} {lower}");
        assert_eq!(all_lower(&[(share(1, 2), share(0, 0))], 3.0), None);
    }

    #[test]
    fn no_difference_rarely_fails_in_a_whole_rollout_of_looks() {
        let mut random = SmallRng::seed_from_u64(5);
        let (z, mut alarms) = (deviations(4), 0);
        for round in 0..400 {
            let p = [0.0, 0.005, 0.05, 0.3][round % 4];
            let (mut one, mut zero) = (Share::default(), Share::default());
            let mut alarm = false;
            // Sixty looks, each at 50 calls more.
            for _ in 0..60 {
                for (sum, n) in [(&mut one, 10), (&mut zero, 40)] {
                    let more = drawn(&mut random, n, p);
                    *sum = Share { bad: sum.bad + more.bad, of: sum.of + more.of };
                }
                alarm |= one.of >= 100.0 && one_lower(one, zero, z) > 0.01;
            }
            alarms += u32::from(alarm);
        }
        assert_eq!(alarms, 0, "of 400 rollouts without a difference");
    }

    proptest! {
        #[test]
        fn a_large_difference_is_found_by_the_least_samples(seed: u64, base in 0.0..0.05_f64, more in 0.5..0.9_f64) {
            let random = &mut SmallRng::seed_from_u64(seed);
            let (one, zero) = (drawn(random, 200, base + more), drawn(random, 1000, base));
            let z = deviations(8);
            prop_assert!(one_lower(one, zero, z) > 0.01, "{one:?} {zero:?}");
            let (_, _, lower) = all_lower(&[(one, zero)], z).unwrap();
            prop_assert!(lower > 0.01, "{one:?} {zero:?}");
        }

        #[test]
        fn bounds_lie_below_what_was_seen(y1 in 0..500_u32, n1 in 1..500_u32, y0 in 0..500_u32, n0 in 1..500_u32, z in 0.1..6.0_f64) {
            let (one, zero) = (share(y1.min(n1), n1), share(y0.min(n0), n0));
            let seen = one.ratio() - zero.ratio();
            prop_assert!(one_lower(one, zero, z) <= seen + 1e-9);
            let (_, _, lower) = all_lower(&[(one, zero)], z).unwrap();
            prop_assert!(lower <= seen + 1e-9);
        }
    }
}
