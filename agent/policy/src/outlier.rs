//! Ejection of single instances that do worse than the others, after Envoy's outlier detection and gRPC proposal A50.
//!
//! Results are counted in atomics of their instance; only what may eject it, and the sweeps, look at all of them together.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::fraction::Decimal;
use crate::ms_to_nanos;
use crate::settings::{FailurePercentage, Outlier, SuccessRate};

/// What a sweep found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sweep {
    /// Ids of the outliers, ejected or not, sorted.
    pub detected: Vec<String>,
    /// Mean success rate and the rate below which an instance is an outlier, in per cent; where that was looked at.
    pub success_rate: Option<(f64, f64)>,
}

/// The outlier detection of one edge.
#[derive(Debug)]
pub struct OutlierDetector {
    /// Failures in a row that eject; 0 where none do.
    limit: AtomicU64,
    inner: Mutex<Inner>,
}

/// What is counted of an instance since the last sweep.
#[derive(Debug, Default)]
pub(crate) struct Host {
    id: Arc<str>,
    ok: AtomicU64,
    failed: AtomicU64,
    /// Failures in a row.
    run: AtomicU64,
    ejected: AtomicBool,
}

impl Host {
    pub(crate) fn new(id: &Arc<str>) -> Self {
        Self { id: Arc::clone(id), ..Self::default() }
    }

    pub(crate) fn is_ejected(&self) -> bool {
        self.ejected.load(Ordering::Relaxed)
    }

    fn add(&self, ok: u64, failed: u64) {
        let add = |count: &AtomicU64, n| {
            // Saturates: only a test reports so many at once.
            let _ = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| Some(count.saturating_add(n)));
        };
        if ok > 0 {
            add(&self.ok, ok);
        }
        if failed > 0 {
            add(&self.failed, failed);
        }
    }
}

#[derive(Debug)]
struct Member {
    host: Arc<Host>,
    ejected_at: Option<u64>,
    /// How often it has been ejected lately.
    times: u64,
}

#[derive(Debug)]
struct Inner {
    settings: Outlier,
    members: Vec<Member>,
    last_sweep: u64,
}

impl OutlierDetector {
    /// Without instances; the first sweep is due one interval from now.
    #[must_use]
    pub fn new(settings: &Outlier, now: u64) -> Self {
        let inner = Inner { settings: settings.clone(), members: Vec::new(), last_sweep: now };
        Self { limit: AtomicU64::new(limit_of(settings)), inner: Mutex::new(inner) }
    }

    /// An instance joins, as a new one even if it was there before.
    pub fn add(&self, id: &str) {
        self.add_host(&Arc::new(Host::new(&id.into())));
    }

    pub(crate) fn add_host(&self, host: &Arc<Host>) {
        let mut inner = self.lock();
        let fresh = Member { host: Arc::clone(host), ejected_at: None, times: 0 };
        match inner.members.iter_mut().find(|member| member.host.id == host.id) {
            Some(member) => *member = fresh,
            None => inner.members.push(fresh),
        }
    }

    /// An instance leaves and is forgotten.
    pub fn remove(&self, id: &str) {
        self.retain(|host| *host.id != *id);
    }

    pub(crate) fn retain(&self, stays: impl Fn(&Host) -> bool) {
        self.lock().members.retain(|member| stays(&member.host));
    }

    /// Good results of an instance and then bad ones. Those of an ejected instance are dropped.
    pub fn report(&self, id: &str, ok: u64, failed: u64, now: u64) {
        let mut inner = self.lock();
        if let Some(index) = inner.members.iter().position(|member| *member.host.id == *id) {
            inner.report(index, ok, failed, now);
        }
    }

    /// One result of an instance. Returns whether it was ejected for it.
    #[inline]
    pub(crate) fn note(&self, host: &Host, well: bool, now: u64) -> bool {
        if host.is_ejected() {
            return false;
        }
        if well {
            host.ok.fetch_add(1, Ordering::Relaxed);
            if host.run.load(Ordering::Relaxed) > 0 {
                host.run.store(0, Ordering::Relaxed);
            }
            return false;
        }
        let limit = self.limit.load(Ordering::Relaxed);
        let mut run = host.run.load(Ordering::Relaxed);
        while limit == 0 || run.saturating_add(1) < limit {
            let next = run.saturating_add(1);
            match host.run.compare_exchange_weak(run, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    host.add(0, 1);
                    return false;
                }
                Err(changed) => run = changed,
            }
        }
        let mut inner = self.lock();
        let index = inner.members.iter().position(|member| std::ptr::eq(&*member.host, host));
        index.is_some_and(|index| {
            inner.report(index, 0, 1, now);
            host.is_ejected()
        })
    }

    /// Sweeps if the interval has passed. `draw` gives uniform numbers in [0, 1).
    pub fn tick(&self, now: u64, draw: impl FnMut() -> f64) -> Option<Sweep> {
        let mut inner = self.lock();
        let due = now.saturating_sub(inner.last_sweep) >= ms_to_nanos(inner.settings.interval_ms);
        due.then(|| inner.sweep(now, draw))
    }

    /// Sweeps now.
    pub fn sweep(&self, now: u64, draw: impl FnMut() -> f64) -> Sweep {
        self.lock().sweep(now, draw)
    }

    /// Other settings; ejections stay, unless no algorithm is left.
    pub fn reconfigure(&self, settings: &Outlier) {
        let mut inner = self.lock();
        inner.settings = settings.clone();
        self.limit.store(limit_of(settings), Ordering::Relaxed);
        let off = settings.consecutive_failures.is_none()
            && settings.success_rate.is_none()
            && settings.failure_percentage.is_none();
        if off {
            for member in &mut inner.members {
                member.bring_back();
                member.times = 0;
            }
        }
    }

    /// Other settings after none: the first sweep is due one interval from now.
    pub(crate) fn restart(&self, settings: &Outlier, now: u64) {
        self.reconfigure(settings);
        self.lock().last_sweep = now;
    }

    /// Ids of the ejected instances, sorted.
    #[must_use]
    pub fn ejected(&self) -> Vec<String> {
        let inner = self.lock();
        let ejected = inner.members.iter().filter(|member| member.ejected_at.is_some());
        let mut ids: Vec<String> = ejected.map(|member| member.host.id.to_string()).collect();
        ids.sort();
        ids
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Failures in a row that eject; 0 where none do.
fn limit_of(settings: &Outlier) -> u64 {
    settings.consecutive_failures.map_or(0, |limit| limit.max(1))
}

impl Member {
    fn eject(&mut self, now: u64) {
        (self.ejected_at, self.times) = (Some(now), self.times.saturating_add(1));
        self.host.run.store(0, Ordering::Relaxed);
        self.host.ejected.store(true, Ordering::Relaxed);
    }

    fn bring_back(&mut self) {
        self.ejected_at = None;
        self.host.ejected.store(false, Ordering::Relaxed);
    }
}

impl Inner {
    fn report(&mut self, index: usize, ok: u64, failed: u64, now: u64) {
        let limit = limit_of(&self.settings);
        let Some(member) = self.members.get(index).filter(|member| member.ejected_at.is_none()) else { return };
        let host = Arc::clone(&member.host);
        if ok > 0 {
            host.run.store(0, Ordering::Relaxed);
        }
        // So many bad ones complete a run.
        let run = host.run.load(Ordering::Relaxed);
        let needed = limit.saturating_sub(run).max(1);
        if limit == 0 || failed < needed {
            host.run.store(run.saturating_add(failed), Ordering::Relaxed);
            return host.add(ok, failed);
        }
        host.add(ok, needed);
        host.run.store(0, Ordering::Relaxed);
        if !self.eject(index, now, 100, || 0.0) {
            // It must stay, and so after each further run: only the last, incomplete one is remembered.
            let rest = failed - needed;
            host.add(0, rest);
            host.run.store(rest % limit, Ordering::Relaxed);
        }
    }

    /// True when the instance really leaves.
    fn eject(&mut self, index: usize, now: u64, percent: u64, draw: impl FnOnce() -> f64) -> bool {
        let ejected = self.members.iter().filter(|member| member.ejected_at.is_some()).count() as u128;
        let most = u128::from(self.settings.max_ejection_percent);
        if 100 * ejected >= most.saturating_mul(self.members.len() as u128) {
            return false;
        }
        if percent == 0 || (percent < 100 && (draw() * 100.0) as u64 >= percent) {
            return false;
        }
        let Some(member) = self.members.get_mut(index) else { return false };
        member.eject(now);
        true
    }

    fn sweep(&mut self, now: u64, mut draw: impl FnMut() -> f64) -> Sweep {
        let mut found = Sweep::default();
        // Taken, not only read: what comes in meanwhile belongs to the next interval.
        let taken = self.members.iter().enumerate().map(|(index, member)| {
            let (ok, failed) = (&member.host.ok, &member.host.failed);
            let ok = ok.swap(0, Ordering::Relaxed);
            (index, ok, ok.saturating_add(failed.swap(0, Ordering::Relaxed)))
        });
        let mut seen: Vec<(usize, u64, u64)> = taken.collect();
        seen.retain(|(index, ..)| self.members.get(*index).is_some_and(|member| member.ejected_at.is_none()));
        if let Some(settings) = self.settings.success_rate.clone() {
            self.by_success_rate(&settings, &seen, now, &mut draw, &mut found);
        }
        if let Some(settings) = self.settings.failure_percentage.clone() {
            self.by_failure_percentage(&settings, &seen, now, &mut draw, &mut found);
        }
        self.bring_back(now);
        self.last_sweep = now;
        found.detected.sort();
        found.detected.dedup();
        found
    }

    fn by_success_rate(
        &mut self,
        settings: &SuccessRate,
        seen: &[(usize, u64, u64)],
        now: u64,
        draw: &mut impl FnMut() -> f64,
        found: &mut Sweep,
    ) {
        let busy = seen.iter().filter(|(_, _, calls)| *calls > 0 && *calls >= settings.request_volume);
        let rates: Vec<(usize, f64)> =
            busy.map(|(index, ok, calls)| (*index, 100.0 * *ok as f64 / *calls as f64)).collect();
        if rates.is_empty() || (rates.len() as u64) < settings.min_hosts {
            return;
        }
        let n = rates.len() as f64;
        let mean = rates.iter().map(|(_, rate)| rate).sum::<f64>() / n;
        let variance = rates.iter().map(|(_, rate)| (rate - mean).powi(2)).sum::<f64>() / n;
        let cut = mean - settings.stdev_factor * variance.sqrt();
        found.success_rate = Some((mean, cut));
        for (index, rate) in rates {
            // Equal rates must not fall below their own mean by the rounding of a double.
            if rate < cut - 1e-10 {
                found.detected.extend(self.members.get(index).map(|member| member.host.id.to_string()));
                self.eject(index, now, settings.enforcement_percent, &mut *draw);
            }
        }
    }

    fn by_failure_percentage(
        &mut self,
        settings: &FailurePercentage,
        seen: &[(usize, u64, u64)],
        now: u64,
        draw: &mut impl FnMut() -> f64,
        found: &mut Sweep,
    ) {
        let Some(threshold) = Decimal::new(settings.threshold) else { return };
        let busy: Vec<_> =
            seen.iter().filter(|(_, _, calls)| *calls > 0 && *calls >= settings.request_volume).collect();
        if (busy.len() as u64) < settings.min_hosts {
            return;
        }
        for &&(index, ok, calls) in &busy {
            let stays = self.members.get(index).is_some_and(|member| member.ejected_at.is_none());
            if stays && threshold.reached_by((calls - ok).saturating_mul(100), calls) {
                found.detected.extend(self.members.get(index).map(|member| member.host.id.to_string()));
                self.eject(index, now, settings.enforcement_percent, &mut *draw);
            }
        }
    }

    /// Ends ejections whose time has come.
    fn bring_back(&mut self, now: u64) {
        let most = self.settings.max_ejection_ms.max(self.settings.base_ejection_ms);
        for member in &mut self.members {
            let length = self.settings.base_ejection_ms.saturating_mul(member.times).min(most);
            match member.ejected_at {
                None => member.times = member.times.saturating_sub(1),
                Some(at) if now.saturating_sub(at) >= ms_to_nanos(length) => {
                    member.bring_back();
                    member.host.run.store(0, Ordering::Relaxed);
                }
                Some(_) => {}
            }
        }
    }
}
