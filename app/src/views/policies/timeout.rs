//! What an attempt timeout cuts: the distribution behind it, now and with the thumb moved.

use std::time::Duration;

use fuseboard_api::histogram::{LatencyHistogram, bounds_of};
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

/// One bar of the drawn distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bar {
    /// Left end in milliseconds.
    pub(crate) from_ms: f64,
    /// Right end in milliseconds.
    pub(crate) to_ms: f64,
    /// Attempts in it.
    pub(crate) count: f64,
}

/// The distribution from zero to `end_ms` in `bars` equal bars. Buckets of the histogram that lie across two bars are
/// shared between them by length; what lies beyond the end is counted in the last bar.
#[must_use]
pub(crate) fn bars(seen: &LatencyHistogram, end_ms: f64, bars: usize) -> Vec<Bar> {
    let width = end_ms / bars.max(1) as f64;
    let mut out: Vec<Bar> = (0..bars)
        .map(|i| Bar { from_ms: i as f64 * width, to_ms: (i + 1) as f64 * width, count: 0.0 })
        .collect();
    let last = bars.saturating_sub(1);
    for (bucket, n) in &seen.counts {
        let (lo, hi) = bounds_of(*bucket);
        let (lo, hi) = (lo as f64 / 1e6, hi as f64 / 1e6);
        let first = ((lo / width) as usize).min(last);
        let until = ((hi / width) as usize).min(last);
        for (i, bar) in out.iter_mut().enumerate().take(until + 1).skip(first) {
            let end = if i == last { f64::INFINITY } else { bar.to_ms };
            let inside = (hi.min(end) - lo.max(bar.from_ms)).max(0.0);
            bar.count += *n as f64 * (inside / (hi - lo)).min(1.0);
        }
    }
    out
}

/// Where the axis ends: room for the present timeout, the thumb, what callers have left (when it is near) and all but one
/// in a thousand attempts, rounded up to a number that is easy to read.
#[must_use]
pub(crate) fn axis_end(edge: &EffectiveEdge, thumb_ms: u64) -> f64 {
    let slowest = edge.attempts.quantile(0.999).map_or(0.0, |d| d.as_secs_f64() * 1000.0);
    let present = edge.settings.timeout.as_ref().and_then(|t| t.attempt_ms).unwrap_or(0) as f64;
    nice_ceil((present * 2.0).max(slowest * 1.1).max(thumb_ms as f64 * 1.05).max(20.0))
}

/// The next number at or above `x` of the form 1, 1.2, 1.6, 2, 2.4, 3.2, 4, 5, 6, 8 times a power of ten.
#[must_use]
pub(crate) fn nice_ceil(x: f64) -> f64 {
    let power = 10f64.powf(x.max(1e-9).log10().floor());
    let steps = [1.0, 1.2, 1.6, 2.0, 2.4, 3.2, 4.0, 5.0, 6.0, 8.0, 10.0];
    steps.iter().map(|s| s * power).find(|v| *v >= x * (1.0 - 1e-9)).unwrap_or(x)
}

/// The step of the thumb on an axis that ends at `end_ms`: about a hundredth of it, 1, 2 or 5 times a power of ten, never
/// below a millisecond.
#[must_use]
pub(crate) fn thumb_step(end_ms: f64) -> u64 {
    let raw = (end_ms / 100.0).max(1.0);
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].iter().map(|s| s * power).find(|s| *s >= raw).unwrap_or(raw);
    step as u64
}

/// `ms` moved onto the thumb's grid, inside 1 … `end_ms`.
#[must_use]
pub(crate) fn snapped(ms: f64, end_ms: f64) -> u64 {
    let step = thumb_step(end_ms);
    let top = ((end_ms as u64) / step).max(1) * step;
    (((ms / step as f64).round().max(0.0) as u64) * step).clamp(step.min(top), top)
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
    fn the_callers_deadline_is_minded() {
        let mut e = edge(&[(100, 10)], 0, 800);
        e.deadline_left_ms = Some(1870.0);
        assert_eq!(effect(&e, 1600).deadline_sentence(), "caller's deadline leaves 1,870 ms · fits");
        assert!(!effect(&e, 1900).fits());
        assert_eq!(effect(&e, 2400).deadline_sentence(), "longer than the overall timeout of 2,000 ms: raise that too");
        assert_eq!(effect(&edge(&[], 0, 800), 900).sentence(), "no attempts in this range: its effect is not known");
    }

    #[test]
    fn bars_lose_nothing() {
        let e = edge(&[(1, 3), (99, 5), (100, 7), (5000, 2)], 0, 800);
        let b = bars(&e.attempts, 1000.0, 40);
        assert!((b.iter().map(|b| b.count).sum::<f64>() - 17.0).abs() < 1e-6);
        assert!((b[39].count - 2.0).abs() < 1e-6, "what lies beyond the end is in the last bar");
    }

    #[test]
    fn the_thumb_stays_on_its_grid() {
        assert_eq!([thumb_step(3200.0), thumb_step(1000.0), thumb_step(20.0)], [50, 10, 1]);
        assert_eq!([snapped(1612.0, 3200.0), snapped(-5.0, 3200.0), snapped(9e9, 3200.0)], [1600, 50, 3200]);
        assert_eq!([nice_ceil(1600.0), nice_ceil(1700.0), nice_ceil(20.0), nice_ceil(3100.0)], [1600.0, 2000.0, 20.0, 3200.0]);
    }
}
