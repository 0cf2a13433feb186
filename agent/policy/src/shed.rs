//! Refusing requests at the callee before the machine drowns in them.
//!
//! After BBR (Cardwell and others, "BBR: Congestion-Based Congestion Control", 2016) as Sentinel, Kratos' aegis and go-zero
//! apply it to requests: what may be in flight is the best throughput of the last ten seconds times the least latency
//! (Little's law). A request is shed while more than that, and more than one, is in flight, and only while the machine is
//! *hot*: the processor is used beyond the threshold, or was when the last request was shed, less than a second ago.
//!
//! Throughput and latency are looked at in slices of 100 ms: the most answers that ended in one, and the least mean
//! duration of one. The slice that is being filled is left out. Admitting and ending a request are a few atomic
//! operations; the slices are gone through once in 100 ms, and only while the machine is hot. A request that ends in the
//! very moment a slice begins may go uncounted. 2.5 KB.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::{NANOS_PER_MS, settings};

/// Length of a slice, in nanoseconds.
const SLICE: u64 = 100 * NANOS_PER_MS;
/// Slices that are looked at.
const WINDOW: u64 = 100;
/// How long the machine stays hot after a request was shed, in nanoseconds.
pub const COOL_OFF: u64 = 1_000 * NANOS_PER_MS;
/// A slice that holds nothing yet, and one that is just being emptied.
const NEVER: u64 = u64::MAX;
const EMPTYING: u64 = u64::MAX - 1;
/// Weight of what was known of the load, against a reading a quarter of a second later (go-zero's).
const MEMORY: f64 = 0.95;
const READING: f64 = 250e6;

/// The answers that ended in one slice.
#[derive(Debug)]
struct Slice {
    /// Its number, or [`NEVER`] or [`EMPTYING`].
    number: AtomicU64,
    answers: AtomicU32,
    /// What they took together, in nanoseconds.
    took: AtomicU64,
}

/// A request was shed: its numbers, for people.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error(
    "{in_flight} requests are in flight where {limit} can be served, with {load:.0} % of the processor in use (from {from} %)"
)]
pub struct Shed {
    /// Requests in flight.
    pub in_flight: u64,
    /// How many can be.
    pub limit: u64,
    /// How much of the processor is used, in per cent.
    pub load: f64,
    /// From which load on requests are shed, in per cent.
    pub from: u64,
}

/// A request in flight; tell its end with [`Shedder::finish`].
#[derive(Debug)]
#[must_use = "a request that never ends stays in flight"]
pub struct Ticket {
    began: u64,
}

/// Sheds the requests of one instance.
#[derive(Debug)]
pub struct Shedder {
    /// In per cent.
    from: AtomicU64,
    in_flight: AtomicU64,
    slices: Box<[Slice]>,
    /// The limit by the slices before this one: its number above, the limit below.
    limit: AtomicU64,
    last_shed: AtomicU64,
}

impl Shedder {
    /// With nothing known yet: it sheds nothing before the first slice is full.
    #[must_use]
    pub fn new(settings: &settings::Shed) -> Self {
        let slice = |_| Slice { number: AtomicU64::new(NEVER), answers: AtomicU32::new(0), took: AtomicU64::new(0) };
        let settings::Shed::Bbr { cpu_percent } = settings;
        Self {
            from: AtomicU64::new(*cpu_percent),
            in_flight: AtomicU64::new(0),
            slices: (0..=WINDOW).map(slice).collect(),
            limit: AtomicU64::new(NEVER),
            last_shed: AtomicU64::new(NEVER),
        }
    }

    /// Other settings; what is known and in flight is kept.
    pub fn reconfigure(&self, settings: &settings::Shed) {
        let settings::Shed::Bbr { cpu_percent } = settings;
        self.from.store(*cpu_percent, Ordering::Relaxed);
    }

    /// A request arrives. `load` is how much of the processor is used, smoothed ([`Load`]), 0…1; `None` where nobody knows:
    /// then nothing is shed.
    ///
    /// # Errors
    /// It must be refused.
    pub fn admit(&self, now: u64, load: Option<f64>) -> Result<Ticket, Shed> {
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        if let Some(load) = load
            && in_flight > 1
        {
            let from = self.from.load(Ordering::Relaxed);
            let busy = load * 100.0 >= from as f64;
            let limit = if busy || self.cooling(now) { self.limit(now) } else { u64::MAX };
            if in_flight > limit {
                if busy {
                    self.last_shed.store(now, Ordering::Relaxed);
                }
                return Err(Shed { in_flight, limit, load: load * 100.0, from });
            }
        }
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Ok(Ticket { began: now })
    }

    /// A request ended. One that was `answered` says what the machine can do; one that was given up says nothing.
    #[expect(clippy::needless_pass_by_value, reason = "a request ends once")]
    pub fn finish(&self, ticket: Ticket, now: u64, answered: bool) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        if answered {
            self.count(now, now.saturating_sub(ticket.began));
        }
    }

    /// Requests in flight.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// How many requests can be in flight, by the ten seconds before the slice of `now`; no limit while nothing is known.
    pub fn limit(&self, now: u64) -> u64 {
        const MOST: u64 = u32::MAX as u64;
        let slice = now / SLICE;
        let tag = slice << 32;
        let known = self.limit.load(Ordering::Relaxed);
        let limit = if known != NEVER && known & !MOST == tag {
            known & MOST
        } else {
            let limit = self.look(slice).min(MOST);
            self.limit.store(tag | limit, Ordering::Relaxed);
            limit
        };
        if limit == MOST { u64::MAX } else { limit }
    }

    fn cooling(&self, now: u64) -> bool {
        let last = self.last_shed.load(Ordering::Relaxed);
        last != NEVER && now.saturating_sub(last) < COOL_OFF
    }

    /// Goes through the slices before the current one.
    fn look(&self, current: u64) -> u64 {
        let (mut most, mut least) = (0u64, f64::INFINITY);
        for slice in &self.slices {
            let number = slice.number.load(Ordering::Acquire);
            if number >= current || current - number > WINDOW {
                continue;
            }
            let answers = u64::from(slice.answers.load(Ordering::Relaxed));
            if answers > 0 {
                most = most.max(answers);
                least = least.min(slice.took.load(Ordering::Relaxed) as f64 / answers as f64);
            }
        }
        if most == 0 {
            return u64::MAX;
        }
        ((most as f64 * least / SLICE as f64).round() as u64).max(1)
    }

    fn count(&self, now: u64, took: u64) {
        let number = now / SLICE;
        let Some(slice) = self.slices.get((number % (WINDOW + 1)) as usize) else { return };
        let held = slice.number.load(Ordering::Acquire);
        if held != number {
            let older = held == NEVER || (held != EMPTYING && held < number);
            let claim = |held| slice.number.compare_exchange(held, EMPTYING, Ordering::AcqRel, Ordering::Relaxed);
            if !older || claim(held).is_err() {
                return;
            }
            slice.answers.store(0, Ordering::Relaxed);
            slice.took.store(0, Ordering::Relaxed);
            slice.number.store(number, Ordering::Release);
        }
        slice.answers.fetch_add(1, Ordering::Relaxed);
        slice.took.fetch_add(took, Ordering::Relaxed);
    }
}

/// How much of the processor is used, smoothed: an exponentially weighted mean in which a reading a quarter of a second
/// after the last counts a twentieth, one that comes later as much more.
#[derive(Debug, Clone, Copy, Default)]
pub struct Load {
    known: Option<(u64, f64)>,
}

impl Load {
    /// So much of the processor was used since the last reading, 0…1. Gives the smoothed load; the first reading as it is.
    pub fn observe(&mut self, now: u64, share: f64) -> f64 {
        let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
        let smooth = match self.known {
            None => share,
            Some((last, before)) => {
                let memory = MEMORY.powf(now.saturating_sub(last) as f64 / READING);
                before * memory + share * (1.0 - memory)
            }
        };
        self.known = Some((now, smooth));
        smooth
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BBR: settings::Shed = settings::Shed::Bbr { cpu_percent: 80 };

    /// Answers of 50 ms, ten a slice for two seconds: five can be in flight.
    fn warm() -> Shedder {
        let shedder = Shedder::new(&BBR);
        for slice in 0..20 {
            for _ in 0..10 {
                let ticket = Ticket { began: slice * SLICE };
                shedder.in_flight.fetch_add(1, Ordering::Relaxed);
                shedder.finish(ticket, slice * SLICE + SLICE / 2, true);
            }
        }
        shedder
    }

    #[test]
    fn beyond_best_throughput_times_least_latency_requests_are_shed_while_the_machine_is_hot() {
        let shedder = warm();
        let now = 20 * SLICE;
        assert_eq!((shedder.limit(now), shedder.in_flight()), (5, 0));
        let tickets: Vec<_> = (0..6).map(|_| shedder.admit(now, Some(0.79)).unwrap()).collect();
        assert!(shedder.admit(now, None).is_ok(), "nobody knows the load");
        let shed = shedder.admit(now, Some(0.8)).unwrap_err();
        assert_eq!((shed.in_flight, shed.limit, shed.from), (7, 5, 80));
        assert!(shedder.admit(now + COOL_OFF - 1, Some(0.1)).is_err(), "still hot");
        assert!(shedder.admit(now + COOL_OFF, Some(0.1)).is_ok(), "a shed request of the cool-off does not prolong it");
        tickets.into_iter().for_each(|ticket| shedder.finish(ticket, now, false));
        assert!(shedder.admit(now, Some(1.0)).is_ok(), "two are in flight");
    }

    #[test]
    fn nothing_is_shed_before_anything_is_known_and_a_change_keeps_what_is() {
        let shedder = Shedder::new(&BBR);
        let _held: Vec<_> = (0..50).map(|_| shedder.admit(0, Some(1.0)).unwrap()).collect();
        let shedder = warm();
        let _held: Vec<_> = (0..6).map(|_| shedder.admit(20 * SLICE, Some(0.5)).unwrap()).collect();
        shedder.reconfigure(&settings::Shed::Bbr { cpu_percent: 50 });
        assert!(shedder.admit(20 * SLICE, Some(0.5)).is_err());
        assert_eq!(shedder.limit((20 + WINDOW) * SLICE), u64::MAX, "all of it is too old");
    }

    #[test]
    fn the_load_is_smoothed_by_the_time_between_readings() {
        let mut load = Load::default();
        assert_eq!(load.observe(0, 1.0), 1.0);
        let quarter = load.observe(250 * NANOS_PER_MS, 0.0);
        assert!((quarter - 0.95).abs() < 1e-12);
        let mut later = Load::default();
        later.observe(0, 1.0);
        assert!((later.observe(1_000 * NANOS_PER_MS, 0.0) - 0.95f64.powi(4)).abs() < 1e-12);
        assert!(load.observe(1_000 * NANOS_PER_MS, f64::NAN) < quarter);
    }
}
