//! This instance's own side: requests that it refuses because its processor is busy.

mod cpu;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use fuseboard_policy::settings::ServiceSettings;
use fuseboard_policy::shed::{Load, Shed, Shedder, Ticket};
use tokio::time::Instant;

use self::cpu::Cpu;
use crate::clock::Clock;

/// Time between two readings of the load.
const READING: Duration = Duration::from_millis(250);
/// What a caller is told to wait: for so long the machine counts as hot after a request was shed.
pub(crate) const WAIT: Duration = Duration::from_secs(1);
/// The load is not known. No share has these bits.
const UNKNOWN: u64 = u64::MAX;

/// Says how much of the processor is used, 0…1.
#[derive(Clone)]
pub(crate) struct LoadSource(Arc<dyn Fn() -> f64 + Send + Sync>);

impl LoadSource {
    pub(crate) fn new(read: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }
}

impl std::fmt::Debug for LoadSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LoadSource")
    }
}

/// Sheds requests while the policy of this service says so.
pub(crate) struct Shedding {
    clock: Clock,
    engine: ArcSwapOption<Shedder>,
    /// Smoothed; bits of a double.
    load: AtomicU64,
    readings: Mutex<Readings>,
}

#[derive(Default)]
struct Readings {
    source: Option<LoadSource>,
    cpu: Cpu,
    smooth: Load,
    next: Option<Instant>,
    /// Whether it was told that the load cannot be read.
    told: bool,
}

impl Shedding {
    /// By the settings of this service; `source` instead of the load of this process.
    pub(crate) fn new(clock: Clock, settings: &ServiceSettings, source: Option<LoadSource>) -> Self {
        let readings = Mutex::new(Readings { source, ..Readings::default() });
        let this = Self { clock, engine: ArcSwapOption::empty(), load: AtomicU64::new(UNKNOWN), readings };
        this.change(settings);
        this
    }

    /// Other settings: what is known and in flight is kept while shedding stays on.
    pub(crate) fn change(&self, settings: &ServiceSettings) {
        match (&*self.engine.load(), &settings.shed) {
            (Some(engine), Some(shed)) => engine.reconfigure(shed),
            (None, Some(shed)) => self.engine.store(Some(Arc::new(Shedder::new(shed)))),
            (_, None) => self.engine.store(None),
        }
    }

    /// Whether it is on.
    pub(crate) fn is_on(&self) -> bool {
        self.engine.load().is_some()
    }

    /// Reads the load when that is due; call it about every 100 ms. Tells once, in words, if it cannot be read.
    pub(crate) fn tick(&self, now: Instant) -> Option<&'static str> {
        if !self.is_on() {
            return None;
        }
        let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        if readings.next.is_some_and(|next| now < next) {
            return None;
        }
        readings.next = now.checked_add(READING);
        let share = match &readings.source {
            Some(source) => Some((source.0)()),
            None => readings.cpu.share(now),
        };
        if let Some(share) = share {
            let smooth = readings.smooth.observe(self.clock.nanos(now), share);
            self.load.store(smooth.to_bits(), Ordering::Relaxed);
        }
        let cannot = share.is_none() && readings.source.is_none() && !Cpu::can();
        (cannot && !std::mem::replace(&mut readings.told, true)).then_some(cpu::CANNOT)
    }

    /// A request arrives. `None` while shedding is off.
    ///
    /// # Errors
    /// It must be refused.
    pub(crate) fn admit(&self, now: Instant) -> Result<Option<Place>, Shed> {
        let Some(engine) = self.engine.load_full() else { return Ok(None) };
        let load = Some(self.load.load(Ordering::Relaxed)).filter(|bits| *bits != UNKNOWN).map(f64::from_bits);
        let ticket = engine.admit(self.clock.nanos(now), load)?;
        Ok(Some(Place { engine, clock: self.clock, ticket: Some(ticket) }))
    }
}

/// A request's place among those in flight. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Place {
    engine: Arc<Shedder>,
    clock: Clock,
    ticket: Option<Ticket>,
}

impl Place {
    /// The request was answered.
    pub(crate) fn answered(mut self) {
        self.give_back(true);
    }

    fn give_back(&mut self, answered: bool) {
        if let Some(ticket) = self.ticket.take() {
            self.engine.finish(ticket, self.clock.now(), answered);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.give_back(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fuseboard_policy::settings;

    fn on(cpu_percent: u64) -> ServiceSettings {
        ServiceSettings { shed: Some(settings::Shed::Bbr { cpu_percent }), ..ServiceSettings::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn requests_keep_their_places_over_a_change_and_none_is_taken_while_it_is_off() {
        let clock = Clock::start();
        let shedding = Shedding::new(clock, &ServiceSettings::default(), Some(LoadSource::new(|| 1.0)));
        assert!(!shedding.is_on() && shedding.admit(Instant::now()).unwrap().is_none());
        shedding.change(&on(80));
        assert_eq!(shedding.tick(Instant::now()), None);
        // Ten answers of 100 ms in a slice: ten can be in flight.
        let held: Vec<_> = (0..10).map(|_| shedding.admit(Instant::now()).unwrap().unwrap()).collect();
        tokio::time::advance(Duration::from_millis(100)).await;
        held.into_iter().for_each(Place::answered);
        tokio::time::advance(Duration::from_millis(100)).await;
        let held: Vec<_> = (0..11).map(|_| shedding.admit(Instant::now()).unwrap().unwrap()).collect();
        assert!(shedding.admit(Instant::now()).is_err());
        shedding.change(&on(100));
        assert!(shedding.admit(Instant::now()).is_err(), "its load is 100 %");
        drop(held);
        assert!(shedding.admit(Instant::now()).unwrap().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_load_is_read_four_times_a_second() {
        let reads = Arc::new(AtomicU64::new(0));
        let counted = reads.clone();
        let source = LoadSource::new(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            0.5
        });
        let shedding = Shedding::new(Clock::start(), &on(80), Some(source));
        for _ in 0..10 {
            shedding.tick(Instant::now());
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        assert_eq!(reads.load(Ordering::SeqCst), 4);
    }
}
