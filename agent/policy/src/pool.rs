//! The instances of a callee as one edge sees them: who is there, who is passed over, who takes the next attempt.
//!
//! Joining the same list again, picking and reporting take no lock and allocate nothing; only what changes who is picked does.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use crate::balance::Tried;
use crate::balance::{Balancer, Busy, Endpoint};
use crate::outlier::OutlierDetector;
use crate::settings::{Balance, Outlier};

/// How long an instance that could not be reached is passed over, in nanoseconds.
const SHUNNED: u64 = 500_000_000;

/// What the end of an attempt says about its instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Showed {
    /// It answered.
    Well,
    /// It failed.
    Failed,
    /// No connection to it could be made: it failed, and is passed over for half a second.
    Unreachable,
    /// Nothing.
    Nothing,
}

/// The instances of one edge.
#[derive(Debug)]
pub struct Pool {
    balancer: Balancer,
    /// Generation of the members; 0 before the first.
    generation: AtomicU64,
    /// Whether anything is ejected at all.
    watched: AtomicBool,
    outlier: OutlierDetector,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    members: Vec<Arc<Endpoint>>,
    /// Numbers of those that could not be reached, and until when they are passed over.
    shunned: Vec<(u64, u64)>,
}

/// An attempt on its way to an instance; tell its end with [`Pool::done`].
#[derive(Debug)]
pub struct Pick {
    busy: Busy,
}

impl Pick {
    /// The instance.
    #[must_use]
    pub fn id(&self) -> &Arc<str> {
        self.busy.id()
    }

    /// Its number, which no other instance of the pool ever has.
    pub(crate) fn number(&self) -> u64 {
        self.busy.endpoint().number()
    }
}

/// Where nothing is ejected.
const UNWATCHED: Outlier = Outlier {
    interval_ms: u64::MAX,
    base_ejection_ms: 0,
    max_ejection_ms: 0,
    max_ejection_percent: 0,
    consecutive_failures: None,
    success_rate: None,
    failure_percentage: None,
};

impl Pool {
    /// Without instances.
    #[must_use]
    pub fn new(balance: Option<&Balance>, outlier: Option<&Outlier>, now: u64) -> Self {
        Self {
            balancer: Balancer::new(balance.cloned().unwrap_or_default()),
            generation: AtomicU64::new(0),
            watched: AtomicBool::new(outlier.is_some()),
            outlier: OutlierDetector::new(outlier.unwrap_or(&UNWATCHED), now),
            inner: Mutex::new(Inner { members: Vec::new(), shunned: Vec::new() }),
        }
    }

    /// Other settings. What is known of instances is kept; without outlier settings the ejected come back.
    pub fn reconfigure(&self, balance: Option<&Balance>, outlier: Option<&Outlier>, now: u64) {
        self.balancer.reconfigure(balance.cloned().unwrap_or_default());
        let inner = self.lock();
        match outlier {
            Some(settings) if self.watched.swap(true, Ordering::Relaxed) => self.outlier.reconfigure(settings),
            Some(settings) => self.outlier.restart(settings, now),
            None => {
                self.watched.store(false, Ordering::Relaxed);
                self.outlier.reconfigure(&UNWATCHED);
            }
        }
        self.settle(&inner);
    }

    /// Says who is there: ids with weights. Looked at only when `generation` differs from the last one; those that stay keep
    /// what is known of them.
    #[inline]
    pub fn join(&self, generation: u64, members: &[(Arc<str>, u64)], now: u64) {
        if self.generation.load(Ordering::Acquire) != generation {
            self.exchange(generation, members, now);
        }
    }

    #[cold]
    fn exchange(&self, generation: u64, members: &[(Arc<str>, u64)], now: u64) {
        let mut inner = self.lock();
        let is =
            |endpoint: &Endpoint, (id, weight): &(Arc<str>, u64)| endpoint.id() == id && endpoint.weight() == *weight;
        let stays = |endpoint: &Endpoint| members.iter().any(|member| is(endpoint, member));
        let new = members.iter().filter(|member| !inner.members.iter().any(|endpoint| is(endpoint, member)));
        let new: Vec<(&str, u64)> = new.map(|(id, weight)| (&**id, *weight)).collect();
        inner.members = self.balancer.exchange(stays, &new, now);
        self.outlier.retain(|host| inner.members.iter().any(|endpoint| std::ptr::eq(&**endpoint.host(), host)));
        let joined = inner.members.iter().skip(inner.members.len().saturating_sub(new.len()));
        joined.for_each(|endpoint| self.outlier.add_host(endpoint.host()));
        inner.shunned.clear();
        self.settle(&inner);
        self.generation.store(generation, Ordering::Release);
    }

    /// Picks an instance, one that is not among `tried` where that is possible, and puts it there; `None` if nobody joined.
    #[inline]
    pub fn pick(&self, now: u64, key: &[u8], tried: &mut Tried, draw: impl FnMut() -> f64) -> Option<Pick> {
        self.balancer.begin(now, key, tried, draw).map(|busy| Pick { busy })
    }

    /// An attempt ended.
    #[inline]
    pub fn done(&self, pick: Pick, now: u64, showed: Showed) {
        if showed == Showed::Nothing {
            return pick.busy.cancel();
        }
        let well = showed == Showed::Well;
        let endpoint = pick.busy.endpoint();
        let ejected = self.watched.load(Ordering::Relaxed) && self.outlier.note(endpoint.host(), well, now);
        if ejected || showed == Showed::Unreachable {
            self.pass_over(endpoint.number(), now, showed);
        }
        pick.busy.finish(now);
    }

    #[cold]
    fn pass_over(&self, number: u64, now: u64, showed: Showed) {
        let mut inner = self.lock();
        if showed == Showed::Unreachable && inner.members.iter().any(|endpoint| endpoint.number() == number) {
            inner.shunned.retain(|(shunned, _)| *shunned != number);
            inner.shunned.push((number, now.saturating_add(SHUNNED)));
        }
        self.settle(&inner);
    }

    /// Looks at intervals and the ends of ejections; call it about every 100 ms.
    pub fn tick(&self, now: u64, draw: impl FnMut() -> f64) {
        let mut inner = self.lock();
        if self.watched.load(Ordering::Relaxed) {
            self.outlier.tick(now, draw);
        }
        inner.shunned.retain(|(_, until)| *until > now);
        self.settle(&inner);
    }

    /// Ids of the instances that are ejected, sorted.
    #[must_use]
    pub fn ejected(&self) -> Vec<String> {
        self.outlier.ejected()
    }

    /// Passes over exactly those that are ejected or shunned.
    fn settle(&self, inner: &Inner) {
        let shunned = |number| inner.shunned.iter().any(|(shunned, _)| *shunned == number);
        self.balancer.pass_over(|endpoint| endpoint.host().is_ejected() || shunned(endpoint.number()));
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn outlier() -> Outlier {
        Outlier {
            interval_ms: 1_000,
            base_ejection_ms: 1_000,
            max_ejection_ms: 10_000,
            max_ejection_percent: 50,
            consecutive_failures: Some(2),
            success_rate: None,
            failure_percentage: None,
        }
    }

    fn members(ids: &[&str]) -> Vec<(Arc<str>, u64)> {
        ids.iter().map(|id| (Arc::from(*id), 1)).collect()
    }

    fn picks(pool: &Pool, now: u64, n: usize) -> Vec<String> {
        (0..n)
            .filter_map(|_| {
                let pick = pool.pick(now, b"", &mut Tried::default(), || 0.5)?;
                let id = pick.id().to_string();
                pool.done(pick, now, Showed::Nothing);
                Some(id)
            })
            .collect()
    }

    #[test]
    fn an_ejected_instance_is_passed_over_until_its_time_has_come() {
        let pool = Pool::new(None, Some(&outlier()), 0);
        pool.join(1, &members(&["a", "b", "c"]), 0);
        let mut bad = 0;
        while bad < 2 {
            let pick = pool.pick(0, b"", &mut Tried::default(), || 0.5).expect("somebody");
            let well = &**pick.id() != "b";
            bad += u64::from(!well);
            pool.done(pick, 0, if well { Showed::Well } else { Showed::Failed });
        }
        assert_eq!(pool.ejected(), ["b"]);
        assert!(!picks(&pool, 0, 6).contains(&"b".to_owned()));
        pool.tick(1_000 * MS, || 0.5);
        assert!(picks(&pool, 1_000 * MS, 3).contains(&"b".to_owned()), "its second is over");
    }

    #[test]
    fn a_call_tries_another_instance_while_there_is_one() {
        let balance = Balance { algorithm: crate::settings::Algorithm::ConsistentHash, ..Balance::default() };
        let pool = Pool::new(Some(&balance), None, 0);
        assert!(pool.pick(0, b"k", &mut Tried::default(), || 0.5).is_none(), "nobody joined yet");
        pool.join(1, &members(&["a", "b", "c", "d"]), 0);
        let first = pool.pick(0, b"k", &mut Tried::default(), || 0.5).expect("somebody");
        let again = pool.pick(0, b"k", &mut Tried::default(), || 0.5).expect("somebody");
        assert_eq!(first.id(), again.id(), "the same key");
        let mut tried = Tried::default();
        let mut seen: Vec<String> =
            (0..4).filter_map(|i| pool.pick(i, b"k", &mut tried, || 0.5)).map(|pick| pick.id().to_string()).collect();
        assert_eq!(seen.first().map(|id| &**id), Some(&**first.id()));
        seen.sort();
        assert_eq!(seen, ["a", "b", "c", "d"]);
        pool.join(2, &members(&["a"]), 0);
        let only = pool.pick(0, b"k", &mut tried, || 0.5).expect("somebody");
        assert_eq!(&**only.id(), "a", "better the same than none");
    }

    #[test]
    fn one_that_cannot_be_reached_is_passed_over_for_a_while() {
        let pool = Pool::new(None, None, 0);
        pool.join(1, &members(&["a", "b", "c"]), 0);
        let gone = pool.pick(0, b"", &mut Tried::default(), || 0.5).expect("somebody");
        let id = gone.id().to_string();
        pool.done(gone, 0, Showed::Unreachable);
        assert!(!picks(&pool, 0, 10).contains(&id));
        pool.tick(499 * MS, || 0.5);
        assert!(!picks(&pool, 499 * MS, 10).contains(&id));
        pool.tick(500 * MS, || 0.5);
        assert!(picks(&pool, 500 * MS, 3).contains(&id));
    }

    #[test]
    fn settings_change_without_forgetting() {
        let pool = Pool::new(None, Some(&outlier()), 0);
        pool.join(1, &members(&["a", "b"]), 0);
        for _ in 0..4 {
            let pick = pool.pick(0, b"", &mut Tried::default(), || 0.5).expect("somebody");
            let well = &**pick.id() != "a";
            pool.done(pick, 0, if well { Showed::Well } else { Showed::Failed });
        }
        assert_eq!(pool.ejected(), ["a"]);
        pool.join(2, &members(&["a", "b", "c"]), 0);
        assert_eq!(pool.ejected(), ["a"]);
        pool.reconfigure(None, None, 0);
        assert!(pool.ejected().is_empty());
        assert!(picks(&pool, 0, 3).contains(&"a".to_owned()));
    }
}
