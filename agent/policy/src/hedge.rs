//! When an attempt that takes long is joined by another.
//!
//! After a fixed time, or after a quantile of what calls of the edge took lately. Rules: gRPC's proposal A6 ("hedging
//! policy"); the moving quantile is that of "The Tail at Scale" (Dean and Barroso, 2013), which hedges beyond the 95th
//! percentile.
//!
//! **The estimate.** Latencies are counted in buckets whose width is a sixteenth of their lower edge at most (those below
//! 16 µs are exact), from 1 µs to 134 s, in two generations of thirty seconds each. The answer is the upper edge of the
//! bucket that holds the quantile of the last thirty to sixty seconds: never below it, and at most 1/16 + 1 µs above.
//! Nothing is answered until five samples are expected beyond the quantile (100 samples for 0.95, 500 for 0.99). An
//! observation is one atomic addition; a sample that comes in the very moment a generation is emptied may be lost. The
//! answer is looked up anew every 100 ms. 3.2 KB an edge.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::{NANOS_PER_MS, settings};

/// Buckets in an octave, as a power of two.
const FINE: u32 = 4;
/// Highest octave: 2^27 µs are 134 s.
const OCTAVES: u32 = 27;
const BUCKETS: usize = ((OCTAVES - FINE + 2) << FINE) as usize;
/// Length of a generation, in nanoseconds.
const GENERATION: u64 = 30_000 * NANOS_PER_MS;
/// Time between two looks for the quantile, in nanoseconds.
const LOOK: u64 = 100 * NANOS_PER_MS;
/// Samples that must be expected beyond the quantile before it is believed.
const BEYOND: f64 = 5.0;

/// What calls took lately.
#[derive(Debug)]
pub struct Latencies {
    /// Which stretch of [`GENERATION`] is being filled.
    epoch: AtomicU64,
    generations: [Box<[AtomicU32]>; 2],
}

impl Default for Latencies {
    fn default() -> Self {
        let empty = || (0..BUCKETS).map(|_| AtomicU32::new(0)).collect();
        Self { epoch: AtomicU64::new(0), generations: [empty(), empty()] }
    }
}

impl Latencies {
    /// A call took so many nanoseconds.
    pub fn observe(&self, now: u64, nanos: u64) {
        let epoch = self.turn(now);
        let micros = (nanos / 1_000).clamp(1, (1 << (OCTAVES + 1)) - 1);
        let generation = if epoch.is_multiple_of(2) { &self.generations[0] } else { &self.generations[1] };
        if let Some(bucket) = generation.get(bucket_of(micros)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The quantile of the last thirty to sixty seconds, in nanoseconds; `None` while there are too few samples.
    #[must_use]
    pub fn quantile(&self, now: u64, q: f64) -> Option<u64> {
        self.turn(now);
        let [one, other] = &self.generations;
        let counts = || one.iter().zip(other).map(|(a, b)| count(a) + count(b));
        let all: u64 = counts().sum();
        if (all as f64) * (1.0 - q) < BEYOND - 1e-9 {
            return None;
        }
        let rank = ((all as f64) * q).ceil().max(1.0) as u64;
        let mut seen = 0;
        let bucket = counts().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(lower_edge(bucket + 1) * 1_000)
    }

    /// Empties what is too old; tells the generation to fill.
    fn turn(&self, now: u64) -> u64 {
        let (epoch, last) = (now / GENERATION, self.epoch.load(Ordering::Acquire));
        let won = epoch > last && self.epoch.compare_exchange(last, epoch, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if won {
            let [even, odd] = &self.generations;
            let next = if epoch.is_multiple_of(2) { even } else { odd };
            let both = [even, odd];
            let old = both.into_iter().filter(|generation| epoch - last > 1 || std::ptr::eq(*generation, next));
            old.flat_map(|generation| generation.iter()).for_each(|bucket| bucket.store(0, Ordering::Relaxed));
        }
        epoch.max(last)
    }
}

fn count(bucket: &AtomicU32) -> u64 {
    u64::from(bucket.load(Ordering::Relaxed))
}

fn bucket_of(micros: u64) -> usize {
    let octave = micros.max(1).ilog2();
    if octave < FINE {
        return micros as usize;
    }
    let fine = (micros >> (octave - FINE)) as u32 & ((1 << FINE) - 1);
    (((octave - FINE + 1) << FINE) + fine) as usize
}

/// In microseconds.
fn lower_edge(bucket: usize) -> u64 {
    let (octave, fine) = (bucket as u64 >> FINE, bucket as u64 & ((1 << FINE) - 1));
    if octave == 0 { fine } else { ((1 << FINE) + fine) << (octave - 1) }
}

/// When hedges of an edge are due, and how many a call may have.
#[derive(Debug)]
pub struct Hedger {
    after: After,
    most: u32,
}

#[derive(Debug)]
enum After {
    Fixed(u64),
    /// Looked up when `look` has come; 0 while it is not known.
    Quantile {
        q: f64,
        nanos: AtomicU64,
        look: AtomicU64,
    },
}

impl Hedger {
    /// Of settings of which one says when.
    #[must_use]
    pub fn new(settings: &settings::Hedge) -> Self {
        let after = match (settings.after_quantile, settings.after_ms) {
            (Some(q), None) => After::Quantile { q, nanos: AtomicU64::new(0), look: AtomicU64::new(0) },
            (_, ms) => After::Fixed(ms.map_or(u64::MAX, crate::ms_to_nanos)),
        };
        Self { after, most: settings.max_extra.unwrap_or(settings::DEFAULT_MAX_EXTRA) }
    }

    /// Hedges a call may have.
    #[must_use]
    pub fn most(&self) -> u32 {
        self.most
    }

    /// Whether it looks at what calls took.
    #[must_use]
    pub fn learns(&self) -> bool {
        matches!(self.after, After::Quantile { .. })
    }

    /// How long an attempt takes before the next joins it, in nanoseconds; `None` while that is not known.
    /// `latencies` is asked for only where it looks at them.
    pub fn delay<'a>(&self, now: u64, latencies: impl FnOnce() -> &'a Latencies) -> Option<u64> {
        match &self.after {
            After::Fixed(nanos) => Some(*nanos),
            After::Quantile { q, nanos, look } => {
                let due = look.load(Ordering::Relaxed);
                let next = now.saturating_add(LOOK);
                if now >= due && look.compare_exchange(due, next, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                    nanos.store(latencies().quantile(now, *q).unwrap_or(0), Ordering::Relaxed);
                }
                Some(nanos.load(Ordering::Relaxed)).filter(|nanos| *nanos > 0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000 * NANOS_PER_MS;

    #[test]
    fn buckets_are_whole_and_fine_enough() {
        let mut last = None;
        for micros in (0..5_000u64).chain((5..28).flat_map(|e| [(1 << e) - 1, 1 << e, (1 << e) + 1])) {
            let bucket = bucket_of(micros);
            assert!(bucket < BUCKETS, "{micros}");
            let (low, high) = (lower_edge(bucket), lower_edge(bucket + 1));
            assert!(low <= micros && micros < high, "{micros} in {low}..{high}");
            assert!(high - low <= (low / 16).max(1), "{low}..{high}");
            if last.is_some_and(|(before, _)| before < micros) {
                assert!(last.is_some_and(|(_, before)| before <= bucket));
            }
            last = Some((micros, bucket));
        }
    }

    #[test]
    fn nothing_is_said_of_too_few_samples_and_old_ones_are_forgotten() {
        let latencies = Latencies::default();
        for n in 1..=99 {
            latencies.observe(0, n * NANOS_PER_MS);
        }
        assert_eq!(latencies.quantile(0, 0.95), None);
        latencies.observe(0, 100 * NANOS_PER_MS);
        let p95 = latencies.quantile(0, 0.95).unwrap();
        assert!((95 * NANOS_PER_MS..=95 * NANOS_PER_MS * 17 / 16 + 1_000).contains(&p95), "{p95}");
        assert!(latencies.quantile(59 * SECOND, 0.95).is_some());
        assert_eq!(latencies.quantile(60 * SECOND, 0.95), None);
        latencies.observe(600 * SECOND, 1);
        assert_eq!(latencies.quantile(600 * SECOND, 0.5), None, "nothing of long ago comes back");
    }

    #[test]
    fn the_delay_follows_the_quantile_at_a_distance() {
        let (latencies, settings) =
            (Latencies::default(), settings::Hedge { after_quantile: Some(0.9), ..settings::Hedge::default() });
        let hedger = Hedger::new(&settings);
        assert_eq!((hedger.delay(0, || &latencies), hedger.most()), (None, 1));
        (0..50).for_each(|_| latencies.observe(1, 8_000));
        assert_eq!(hedger.delay(LOOK - 1, || &latencies), None, "not looked up yet");
        assert_eq!(hedger.delay(LOOK, || &latencies), Some(9_000));
    }

    proptest! {
        /// The estimate against the sorted list of all samples.
        #[test]
        fn the_estimate_is_within_its_bound(
            samples in prop::collection::vec(1u64..20_000_000_000, 100..600),
            q in 0.1..0.95f64,
        ) {
            let latencies = Latencies::default();
            samples.iter().for_each(|nanos| latencies.observe(7, *nanos));
            let mut sorted = samples;
            sorted.sort_unstable();
            let rank = ((sorted.len() as f64 * q).ceil() as usize).max(1);
            let (exact, got) = (sorted[rank - 1], latencies.quantile(7, q).unwrap());
            prop_assert!(got >= exact && got <= exact + exact / 16 + 2_000, "{} for {}", got, exact);
        }
    }
}
