//! Exact decimal fractions: a setting of 0.07 means seven hundredths, not the double nearest to it.

/// A non-negative decimal number, `digits · 10^exponent`, exactly as its shortest decimal text shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Decimal {
    digits: u64,
    exponent: i32,
}

impl Decimal {
    /// Zero.
    pub const ZERO: Self = Self { digits: 0, exponent: 0 };
    /// One.
    pub const ONE: Self = Self { digits: 1, exponent: 0 };

    /// The decimal that the shortest text of `value` shows; `None` for negative numbers, infinities and NaN.
    #[must_use]
    pub fn new(value: f64) -> Option<Self> {
        if !value.is_finite() || value < 0.0 {
            return None;
        }
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e')?;
        let mut exponent: i32 = exponent.parse().ok()?;
        let mut digits: u64 = 0;
        let mut after_point = false;
        for c in mantissa.bytes() {
            if c == b'.' {
                after_point = true;
                continue;
            }
            digits = digits.checked_mul(10)?.checked_add(u64::from(c.checked_sub(b'0')?))?;
            exponent -= i32::from(after_point);
        }
        if digits == 0 {
            exponent = 0;
        }
        while digits != 0 && digits.is_multiple_of(10) {
            digits /= 10;
            exponent += 1;
        }
        Some(Self { digits, exponent })
    }

    /// Whether `hits / total` is at least this, exactly. A `total` of zero has no ratio: false.
    #[must_use]
    pub fn reached_by(self, hits: u64, total: u64) -> bool {
        if total == 0 {
            return false;
        }
        let (hits, wanted) = (u128::from(hits), u128::from(self.digits) * u128::from(total));
        match u32::try_from(self.exponent) {
            // Overflow on the right: more than any count of hits.
            Ok(up) => pow10(up).and_then(|p| wanted.checked_mul(p)).is_some_and(|w| hits >= w) || wanted == 0,
            // Overflow on the left: `hits` is not zero, and 10^n times it is more than any `wanted`.
            Err(_) => {
                let down = self.exponent.unsigned_abs();
                let left = match pow10(down) {
                    Some(p) => hits.checked_mul(p),
                    None if hits == 0 => Some(0),
                    None => None,
                };
                left.is_none_or(|l| l >= wanted)
            }
        }
    }

    /// `⌊self · n⌋`, saturating.
    #[must_use]
    pub fn floor_of(self, n: u64) -> u64 {
        let whole = u128::from(self.digits) * u128::from(n);
        let power = pow10(self.exponent.unsigned_abs());
        let floor = match (self.exponent >= 0, power) {
            (true, Some(p)) => whole.saturating_mul(p),
            (true, None) => whole.saturating_mul(u128::MAX),
            (false, Some(p)) => whole / p,
            (false, None) => 0,
        };
        u64::try_from(floor).unwrap_or(u64::MAX)
    }

    /// `⌊self · 10^places⌋`, saturating.
    #[must_use]
    pub fn scaled(self, places: u32) -> u128 {
        let shift = i64::from(self.exponent) + i64::from(places);
        let power = u32::try_from(shift.unsigned_abs()).ok().and_then(pow10);
        match (shift >= 0, power) {
            (true, Some(p)) => u128::from(self.digits).saturating_mul(p),
            (true, None) if self.digits == 0 => 0,
            (true, None) => u128::MAX,
            (false, Some(p)) => u128::from(self.digits) / p,
            (false, None) => 0,
        }
    }

    /// How many decimal places it has.
    #[must_use]
    pub fn places(self) -> u32 {
        if self.exponent < 0 { self.exponent.unsigned_abs() } else { 0 }
    }

    /// As a reduced fraction; `None` where a part does not fit.
    fn ratio(self) -> Option<(u128, u128)> {
        let (over, under) = match u32::try_from(self.exponent) {
            Ok(up) => (u128::from(self.digits).checked_mul(pow10(up)?)?, 1),
            Err(_) => (u128::from(self.digits), pow10(self.exponent.unsigned_abs())?),
        };
        let common = gcd(over, under).max(1);
        Some((over / common, under / common))
    }

    fn as_f64(self) -> f64 {
        self.digits as f64 * 10f64.powi(self.exponent)
    }
}

/// `min(base · factor^steps, cap)`, rounded up to a whole number. Exact while the reduced fraction fits 128 bits (which
/// covers every case whose result is a whole number), else to the precision of a double. Nothing wraps.
#[must_use]
pub fn geometric(base: u128, factor: Decimal, steps: u64, cap: u128) -> u128 {
    if steps == 0 || base == 0 {
        return base.min(cap);
    }
    let Some((up, down)) = factor.ratio() else {
        return inexact(base as f64, factor.as_f64(), steps, cap);
    };
    if up == down {
        return base.min(cap);
    }
    let (mut over, mut under) = (base, 1u128);
    for step in 0..steps {
        if over == 0 || (up > down && over / under >= cap) {
            break;
        }
        let (a, b) = (gcd(over, down), gcd(up, under));
        match ((over / a).checked_mul(up / b), (under / b).checked_mul(down / a)) {
            (Some(o), Some(u)) => (over, under) = (o, u),
            _ => return inexact(over as f64 / under as f64, factor.as_f64(), steps - step, cap),
        }
    }
    over.div_ceil(under).min(cap)
}

fn inexact(base: f64, factor: f64, steps: u64, cap: u128) -> u128 {
    let steps = i32::try_from(steps).unwrap_or(i32::MAX);
    // A cast of a double to an integer saturates; NaN (0 · ∞) becomes 0.
    ((base * factor.powi(steps)).ceil() as u128).min(cap)
}

fn pow10(n: u32) -> Option<u128> {
    10u128.checked_pow(n)
}

fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dec(value: f64) -> Decimal {
        Decimal::new(value).unwrap()
    }

    #[test]
    fn seven_hundredths_are_seven_of_a_hundred() {
        assert!(dec(0.07).reached_by(7, 100));
        assert!(!dec(0.07).reached_by(69_999, 1_000_000));
        assert!(dec(0.3).reached_by(3, 10));
        assert!(dec(1.0).reached_by(u64::MAX, u64::MAX));
        assert!(!dec(1.0).reached_by(u64::MAX - 1, u64::MAX));
    }

    #[test]
    fn extremes_neither_wrap_nor_panic() {
        assert!(dec(5e-324).reached_by(1, u64::MAX));
        assert!(!dec(5e-324).reached_by(0, u64::MAX));
        assert!(!dec(1e300).reached_by(u64::MAX, 1));
        assert!(dec(0.0).reached_by(0, 1));
        assert!(Decimal::new(f64::NAN).is_none() && Decimal::new(-0.5).is_none());
        assert_eq!(geometric(1_000, dec(1e300), u64::MAX, u128::MAX), u128::MAX);
        assert_eq!(geometric(u128::MAX, dec(2.0), 3, u128::MAX), u128::MAX);
    }

    #[test]
    fn powers_are_exact() {
        assert_eq!(geometric(1_000_000_000, dec(1.1), 2, u128::MAX), 1_210_000_000);
        assert_eq!(geometric(1_000, dec(1.5), 3, 10_000), 3_375);
        assert_eq!(geometric(1_000, dec(1.5), 1_000, 10_000), 10_000);
        assert_eq!(geometric(7, dec(0.5), 1, 100), 4);
        assert_eq!(geometric(7, dec(0.0), 1, 100), 0);
    }

    #[test]
    fn scaling_cuts_off() {
        assert_eq!(dec(0.1234).scaled(3), 123);
        assert_eq!(dec(20.0).scaled(3), 20_000);
        assert_eq!(dec(1e-300).scaled(3), 0);
        assert_eq!(dec(1e300).scaled(3), u128::MAX);
        assert_eq!((dec(0.07).floor_of(100), dec(0.9).floor_of(10)), (7, 9));
        assert_eq!((dec(1e300).floor_of(u64::MAX), dec(1e300).floor_of(0)), (u64::MAX, 0));
        assert_eq!(dec(1e-300).floor_of(u64::MAX), 0);
    }
}
