//! What an attempt timeout cuts: the distribution behind it, now and with the thumb moved.

use std::time::Duration;

use fuseboard_api::histogram::LatencyHistogram;
use fuseboard_api::policy::EffectiveEdge;

use crate::widgets::format;

/// A share that is known, or only known to lie between two ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Cut {
    /// Seen.
    Share(f64),
    /// Attempts were cut before it could be seen how long they would have taken.
    Between(f64, f64),
}

impl Cut {
    /// `6.1%`, `0 to 41%`.
    #[must_use]
    pub(crate) fn said(self) -> String {
        match self {
            Self::Share(x) => format::percent(x),
            Self::Between(lo, hi) => {
                let lo = format::percent(lo);
                format!("{} to {}", lo.trim_end_matches('%'), format::percent(hi))
            }
        }
    }
}

/// What moving the attempt timeout of an edge would do to the attempts of the range.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Effect {
    /// Attempts that were looked at.
    pub(crate) attempts: u64,
    /// Share cut by the timeout in force.
    pub(crate) now: f64,
    /// Share the new one would cut.
    pub(crate) after: Cut,
    /// How it meets the deadline that callers bring along.
    pub(crate) deadline: Deadline,
    /// Whether it lies above the overall timeout, which is refused.
    pub(crate) above_overall: Option<u64>,
}

/// Whether the new timeout fits into what callers have left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Deadline {
    /// Callers bring no deadline.
    None,
    /// It fits; so many milliseconds are left at the median.
    Fits(f64),
    /// The caller's deadline cuts first.
    TooLong(f64),
}

/// The effect of `new_ms` on the attempts of `edge`.
///
/// Attempts that the present timeout cut are in the histogram at the time of their cut; how long they would have taken is
/// unknown. Below the present timeout shares are counted. Above it the product-limit estimator (Kaplan and Meier 1958)
/// uses attempts that ran under a longer timeout, when there are enough of them; else only the two ends are known.
#[must_use]
pub(crate) fn effect(edge: &EffectiveEdge, new_ms: u64) -> Effect {
    let timeout = edge.settings.timeout.as_ref();
    let present = timeout.and_then(|t| t.attempt_ms);
    let overall = timeout.and_then(|t| t.overall_ms);
    let attempts = edge.attempts.count();
    let now = if attempts == 0 { 0.0 } else { (edge.cut as f64 / attempts as f64).min(1.0) };
    let deadline = match edge.deadline_left_ms {
        None => Deadline::None,
        Some(left) if new_ms as f64 <= left => Deadline::Fits(left),
        Some(left) => Deadline::TooLong(left),
    };
    Effect {
        attempts,
        now,
        after: after(&edge.attempts, edge.cut, present, new_ms),
        deadline,
        above_overall: overall.filter(|o| new_ms > *o),
    }
}

/// So many attempts beyond the present timeout are needed before the estimate is trusted.
const ENOUGH: f64 = 20.0;

fn after(seen: &LatencyHistogram, cut: u64, present: Option<u64>, new_ms: u64) -> Cut {
    let total = seen.count();
    let new = Duration::from_millis(new_ms);
    let Some(present) = present.filter(|p| cut > 0 && new_ms > *p && total > 0) else {
        return Cut::Share(seen.share_above(new).max(if Some(new_ms) == present && total > 0 {
            cut as f64 / total as f64
        } else {
            0.0
        }));
    };
    // The agent measures a cut a little after the timer: what lies in the first 5 % after it counts as cut.
    let edge = Duration::from_millis(present + (present / 20).max(5));
    let beyond = seen.share_above(edge) * total as f64;
    let longer = seen.share_above(new) * total as f64;
    let (total, cut) = (total as f64, cut as f64);
    if beyond >= ENOUGH && new > edge {
        // Alive at the cut: the cut ones and those seen beyond; of the latter the share `longer / beyond` outlives `new`.
        return Cut::Share((((cut + beyond) / total) * (longer / beyond)).min(1.0));
    }
    Cut::Between(longer / total, ((longer + cut) / total).min(1.0))
}

/// Where the axis ends: room to move the thumb well beyond the timeout in force, all but one in a thousand attempts, and
/// the thumb itself; rounded up to a number that is easy to read.
pub(crate) fn axis_end(edge: &EffectiveEdge, thumb_ms: u64) -> f64 {
    let slowest = edge.attempts.quantile(0.999).map_or(0.0, |d| d.as_secs_f64() * 1000.0);
    let present = edge.settings.timeout.as_ref().and_then(|t| t.attempt_ms).unwrap_or(0) as f64;
    nice_ceil((present * 2.5).max(slowest * 1.1).max(thumb_ms as f64 * 1.02).max(10.0))
}

/// The next number at or above `x` of the form 1, 1.2, 1.6, 2, 2.4, 3.2, 4, 5, 6, 8 times a power of ten.
fn nice_ceil(x: f64) -> f64 {
    let power = 10f64.powf(x.max(1e-9).log10().floor());
    let steps = [1.0, 1.2, 1.6, 2.0, 2.4, 3.2, 4.0, 5.0, 6.0, 8.0, 10.0];
    steps.iter().map(|s| s * power).find(|v| *v >= x * (1.0 - 1e-9)).unwrap_or(x)
}

impl Effect {
    /// `would cut 6.1% of attempts instead of 41%`.
    #[must_use]
    pub(crate) fn sentence(&self) -> String {
        if self.attempts == 0 {
            return "no attempts in this range: its effect is not known".to_owned();
        }
        format!("would cut {} of attempts instead of {}", self.after.said(), format::percent(self.now))
    }

    /// `caller's deadline leaves 1,870 ms · fits`.
    #[must_use]
    pub(crate) fn deadline_sentence(&self) -> String {
        if let Some(overall) = self.above_overall {
            return format!("longer than the overall timeout of {} ms: raise that too", format::count(overall));
        }
        match self.deadline {
            Deadline::None => "callers bring no deadline".to_owned(),
            Deadline::Fits(left) => format!("caller's deadline leaves {} · fits", format::millis(left)),
            Deadline::TooLong(left) => format!("caller's deadline leaves {} · would cut first", format::millis(left)),
        }
    }

    /// Whether the deadline or the overall timeout speaks against it.
    #[must_use]
    pub(crate) fn fits(&self) -> bool {
        self.above_overall.is_none() && !matches!(self.deadline, Deadline::TooLong(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fuseboard_policy::settings::Timeout;

    const MS: u64 = 1_000_000;

    fn edge(durations_ms: &[(u64, u64)], cut: u64, attempt_ms: u64) -> EffectiveEdge {
        let mut attempts = LatencyHistogram::default();
        for (ms, n) in durations_ms {
            for _ in 0..*n {
                attempts.record(ms * MS);
            }
        }
        let mut edge = EffectiveEdge { attempts, cut, ..EffectiveEdge::default() };
        edge.settings.timeout = Some(Timeout { attempt_ms: Some(attempt_ms), overall_ms: Some(2000) });
        edge
    }

    fn near(cut: Cut, want: f64) -> bool {
        matches!(cut, Cut::Share(x) if (x - want).abs() < 0.01)
    }

    #[test]
    fn below_the_present_timeout_everything_was_seen() {
        let e = edge(&[(100, 60), (500, 30), (800, 10)], 10, 800);
        assert!((effect(&e, 800).now - 0.1).abs() < 1e-9);
        assert!(near(effect(&e, 300).after, 0.4));
        assert!(near(effect(&e, 800).after, 0.1), "unmoved, it cuts what it cuts");
    }

    #[test]
    fn above_it_only_the_ends_are_known() {
        let e = edge(&[(100, 59), (800, 41)], 41, 800);
        let Cut::Between(lo, hi) = effect(&e, 1600).after else { panic!("an interval") };
        assert_eq!(lo, 0.0);
        assert!((hi - 0.41).abs() < 1e-9);
        assert_eq!(effect(&e, 1600).sentence(), "would cut 0 to 41% of attempts instead of 41%");
    }

    #[test]
    fn attempts_under_a_longer_timeout_tell_about_the_cut_ones() {
        // 40 were cut at 800; of 40 that were let run on, 10 took longer than 1600.
        let e = edge(&[(100, 120), (801, 40), (1200, 30), (1900, 10)], 40, 800);
        assert!(near(effect(&e, 1600).after, 80.0 / 200.0 * 0.25), "{:?}", effect(&e, 1600).after);
    }

    #[test]
    fn the_axis_leaves_room_to_move() {
        assert_eq!(
            [nice_ceil(1600.0), nice_ceil(1700.0), nice_ceil(20.0), nice_ceil(3100.0)],
            [1600.0, 2000.0, 20.0, 3200.0]
        );
        let e = edge(&[(100, 10)], 0, 800);
        assert_eq!([axis_end(&e, 800), axis_end(&e, 1600), axis_end(&e, 3000)], [2000.0, 2000.0, 3200.0]);
    }

    #[test]
    fn the_callers_deadline_is_minded() {
        let mut e = edge(&[(100, 10)], 0, 800);
        e.deadline_left_ms = Some(1870.0);
        assert_eq!(effect(&e, 1600).deadline_sentence(), "caller's deadline leaves 1,870 ms · fits");
        assert!(!effect(&e, 1900).fits());
        assert_eq!(effect(&e, 2400).deadline_sentence(), "longer than the overall timeout of 2,000 ms: raise that too");
        assert_eq!(effect(&edge(&[], 0, 800), 900).sentence(), "no attempts in this range: its effect is not known");
    }
}
