//! Instants and ranges of wall-clock time.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Nanoseconds since 1970-01-01T00:00:00Z. Holds years 1678 to 2262; arithmetic saturates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixNanos(pub i64);

impl UnixNanos {
    /// The system clock's present reading.
    #[must_use]
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
    }

    /// The time from `earlier` to here; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Rounded down to a multiple of `step` since the epoch (`step` of zero gives itself).
    #[must_use]
    pub fn floor(self, step: Duration) -> Self {
        match i64::try_from(step.as_nanos()) {
            Ok(step) if step > 0 => Self(self.0.div_euclid(step).saturating_mul(step)),
            _ => self,
        }
    }

    /// Seconds since the epoch, with fraction; for charts.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

impl Add<Duration> for UnixNanos {
    type Output = Self;

    fn add(self, d: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(d.as_nanos()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for UnixNanos {
    type Output = Self;

    fn sub(self, d: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(d.as_nanos()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for UnixNanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A half-open range of time, `from <= t < to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct TimeRange {
    /// First instant inside.
    pub from: UnixNanos,
    /// First instant after.
    pub to: UnixNanos,
}

impl TimeRange {
    /// The `length` that ends at `to`.
    #[must_use]
    pub fn ending(to: UnixNanos, length: Duration) -> Self {
        Self { from: to - length, to }
    }

    /// How long the range is.
    #[must_use]
    pub fn length(self) -> Duration {
        self.to.since(self.from)
    }

    /// Whether `t` lies inside.
    #[must_use]
    pub fn contains(self, t: UnixNanos) -> bool {
        self.from <= t && t < self.to
    }
}
