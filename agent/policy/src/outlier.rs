//! Ejection of single instances that do worse than the others, after Envoy's outlier detection and gRPC proposal A50.

use std::sync::{Mutex, MutexGuard, PoisonError};

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
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Host {
    id: String,
    ok: u64,
    failed: u64,
    /// Failures in a row.
    run: u64,
    ejected_at: Option<u64>,
    /// How often it has been ejected lately.
    times: u64,
}

#[derive(Debug)]
struct Inner {
    settings: Outlier,
    hosts: Vec<Host>,
    last_sweep: u64,
}

impl OutlierDetector {
    /// Without instances; the first sweep is due one interval from now.
    #[must_use]
    pub fn new(settings: &Outlier, now: u64) -> Self {
        Self { inner: Mutex::new(Inner { settings: settings.clone(), hosts: Vec::new(), last_sweep: now }) }
    }

    /// An instance joins, as a new one even if it was there before.
    pub fn add(&self, id: &str) {
        let fresh = Host { id: id.to_owned(), ..Host::default() };
        let mut inner = self.lock();
        match inner.hosts.iter_mut().find(|host| host.id == id) {
            Some(host) => *host = fresh,
            None => inner.hosts.push(fresh),
        }
    }

    /// An instance leaves and is forgotten.
    pub fn remove(&self, id: &str) {
        self.lock().hosts.retain(|host| host.id != id);
    }

    /// Good results of an instance and then bad ones. Those of an ejected instance are dropped.
    pub fn report(&self, id: &str, ok: u64, failed: u64, now: u64) {
        let mut inner = self.lock();
        if let Some(index) = inner.hosts.iter().position(|host| host.id == id && host.ejected_at.is_none()) {
            inner.report(index, ok, failed, now);
        }
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
        let off = settings.consecutive_failures.is_none()
            && settings.success_rate.is_none()
            && settings.failure_percentage.is_none();
        if off {
            for host in &mut inner.hosts {
                (host.ejected_at, host.times) = (None, 0);
            }
        }
    }

    /// Ids of the ejected instances, sorted.
    #[must_use]
    pub fn ejected(&self) -> Vec<String> {
        let inner = self.lock();
        let ejected = inner.hosts.iter().filter(|host| host.ejected_at.is_some());
        let mut ids: Vec<String> = ejected.map(|host| host.id.clone()).collect();
        ids.sort();
        ids
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn report(&mut self, index: usize, ok: u64, failed: u64, now: u64) {
        let limit = self.settings.consecutive_failures.map(|limit| limit.max(1));
        let Some(host) = self.hosts.get_mut(index) else { return };
        host.ok = host.ok.saturating_add(ok);
        if ok > 0 {
            host.run = 0;
        }
        // So many bad ones complete a run.
        let needed = limit.map(|limit| limit.saturating_sub(host.run).max(1)).filter(|needed| failed >= *needed);
        let Some((needed, limit)) = needed.zip(limit) else {
            host.run = host.run.saturating_add(failed);
            host.failed = host.failed.saturating_add(failed);
            return;
        };
        host.failed = host.failed.saturating_add(needed);
        host.run = 0;
        if failed > 0 && !self.eject(index, now, 100, || 0.0) {
            // It must stay, and so after each further run: only the last, incomplete one is remembered.
            let rest = failed - needed;
            if let Some(host) = self.hosts.get_mut(index) {
                host.failed = host.failed.saturating_add(rest);
                host.run = rest % limit;
            }
        }
    }

    /// True when the instance really leaves.
    fn eject(&mut self, index: usize, now: u64, percent: u64, draw: impl FnOnce() -> f64) -> bool {
        let ejected = self.hosts.iter().filter(|host| host.ejected_at.is_some()).count() as u128;
        let most = u128::from(self.settings.max_ejection_percent);
        if 100 * ejected >= most.saturating_mul(self.hosts.len() as u128) {
            return false;
        }
        if percent == 0 || (percent < 100 && (draw() * 100.0) as u64 >= percent) {
            return false;
        }
        let Some(host) = self.hosts.get_mut(index) else { return false };
        (host.ejected_at, host.run) = (Some(now), 0);
        host.times = host.times.saturating_add(1);
        true
    }

    fn sweep(&mut self, now: u64, mut draw: impl FnMut() -> f64) -> Sweep {
        let mut found = Sweep::default();
        let takes_part = |host: &(usize, &Host)| host.1.ejected_at.is_none();
        let seen: Vec<(usize, u64, u64)> = (self.hosts.iter().enumerate().filter(takes_part))
            .map(|(index, host)| (index, host.ok, host.ok.saturating_add(host.failed)))
            .collect();
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
                found.detected.extend(self.hosts.get(index).map(|host| host.id.clone()));
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
            let stays = self.hosts.get(index).is_some_and(|host| host.ejected_at.is_none());
            if stays && threshold.reached_by((calls - ok).saturating_mul(100), calls) {
                found.detected.extend(self.hosts.get(index).map(|host| host.id.clone()));
                self.eject(index, now, settings.enforcement_percent, &mut *draw);
            }
        }
    }

    /// Ends ejections whose time has come, and starts new counts.
    fn bring_back(&mut self, now: u64) {
        let most = self.settings.max_ejection_ms.max(self.settings.base_ejection_ms);
        for host in &mut self.hosts {
            (host.ok, host.failed) = (0, 0);
            let length = self.settings.base_ejection_ms.saturating_mul(host.times).min(most);
            match host.ejected_at {
                None => host.times = host.times.saturating_sub(1),
                Some(at) if now.saturating_sub(at) >= ms_to_nanos(length) => (host.ejected_at, host.run) = (None, 0),
                Some(_) => {}
            }
        }
    }
}
