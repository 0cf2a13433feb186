//! The instances of a callee as one edge sees them: who is there, who is passed over, who takes the next attempt.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::balance::{Balancer, Busy};
use crate::outlier::OutlierDetector;
use crate::settings::{Balance, Outlier};

/// Picks for one attempt at most, where the first ones were tried by the call already.
const PICKS: usize = 4;

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
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    members: Vec<(Arc<str>, u64)>,
    outlier: Option<OutlierDetector>,
    ejected: Vec<String>,
    /// Those that could not be reached, and until when they are passed over.
    shunned: Vec<(String, u64)>,
    /// Those passed over.
    out: Vec<String>,
}

/// An attempt on its way to an instance; tell its end with [`Pool::done`].
#[derive(Debug)]
pub struct Pick {
    id: Arc<str>,
    busy: Busy,
}

impl Pick {
    /// The instance.
    #[must_use]
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// Its number, which no other instance of the pool ever has.
    pub(crate) fn number(&self) -> u64 {
        self.busy.endpoint()
    }
}

/// The instances that a call has tried, at most the last [`Tried::MOST`] of them. Kept in place: most calls try one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tried {
    /// Numbers of members; 0 is none.
    numbers: [u64; Self::MOST],
    next: usize,
}

impl Tried {
    /// Older ones are forgotten.
    pub const MOST: usize = 6;

    fn contains(&self, number: u64) -> bool {
        self.numbers.contains(&number)
    }

    fn push(&mut self, number: u64) {
        if let Some(place) = self.numbers.get_mut(self.next) {
            *place = number;
        }
        self.next = (self.next + 1) % Self::MOST;
    }
}

impl Pool {
    /// Without instances.
    #[must_use]
    pub fn new(balance: Option<&Balance>, outlier: Option<&Outlier>, now: u64) -> Self {
        let outlier = outlier.map(|settings| OutlierDetector::new(settings, now));
        let (ejected, shunned, out) = Default::default();
        let inner = Inner { members: Vec::new(), outlier, ejected, shunned, out };
        let balancer = Balancer::new(balance.cloned().unwrap_or_default());
        Self { balancer, generation: AtomicU64::new(0), inner: Mutex::new(inner) }
    }

    /// Other settings. What is known of instances is kept; without outlier settings the ejected come back.
    pub fn reconfigure(&self, balance: Option<&Balance>, outlier: Option<&Outlier>, now: u64) {
        self.balancer.reconfigure(balance.cloned().unwrap_or_default());
        let mut inner = self.lock();
        match (&inner.outlier, outlier) {
            (Some(detector), Some(settings)) => detector.reconfigure(settings),
            (None, Some(settings)) => {
                let detector = OutlierDetector::new(settings, now);
                inner.members.iter().for_each(|(id, _)| detector.add(id));
                inner.outlier = Some(detector);
            }
            (_, None) => inner.outlier = None,
        }
        self.settle(&mut inner);
    }

    /// Says who is there: ids with weights. Looked at only when `generation` differs from the last one; those that stay keep
    /// what is known of them.
    pub fn join(&self, generation: u64, members: &[(Arc<str>, u64)], now: u64) {
        if self.generation.load(Ordering::Acquire) == generation {
            return;
        }
        let mut inner = self.lock();
        for (id, _) in inner.members.iter().filter(|old| !members.contains(old)) {
            self.balancer.remove(id);
            if let Some(outlier) = &inner.outlier {
                outlier.remove(id);
            }
        }
        for (id, weight) in members.iter().filter(|new| !inner.members.contains(new)) {
            self.balancer.add(id, *weight, now);
            if let Some(outlier) = &inner.outlier {
                outlier.add(id);
            }
        }
        inner.members = members.to_vec();
        inner.shunned.clear();
        // A new instance is never passed over, whatever its forerunner of the same name was.
        let stayed = |id: &String| members.iter().any(|(member, _)| **member == **id);
        inner.out.retain(stayed);
        self.settle(&mut inner);
        self.generation.store(generation, Ordering::Release);
    }

    /// Picks an instance, one that is not among `tried` where that is possible, and puts it there; `None` if nobody joined.
    pub fn pick(&self, now: u64, key: &[u8], tried: &mut Tried, mut draw: impl FnMut() -> f64) -> Option<Pick> {
        let mut id = self.balancer.pick(now, key, &mut draw)?;
        let mut busy = self.balancer.start(&id, now)?;
        for n in 1..PICKS {
            if !tried.contains(busy.endpoint()) {
                break;
            }
            self.balancer.cancel(busy);
            // The same key would meet the same instance again.
            let other: Vec<u8> = [key, &[n as u8]].concat();
            id = self.balancer.pick(now, &other, &mut draw)?;
            busy = self.balancer.start(&id, now)?;
        }
        tried.push(busy.endpoint());
        Some(Pick { id, busy })
    }

    /// An attempt ended.
    pub fn done(&self, pick: Pick, now: u64, showed: Showed) {
        if showed == Showed::Nothing {
            return self.balancer.cancel(pick.busy);
        }
        self.balancer.finish(pick.busy, now);
        let well = showed == Showed::Well;
        let mut inner = self.lock();
        if let Some(outlier) = &inner.outlier {
            outlier.report(&pick.id, u64::from(well), u64::from(!well), now);
        }
        if showed == Showed::Unreachable {
            inner.shunned.retain(|(id, _)| **id != *pick.id);
            inner.shunned.push((pick.id.to_string(), now.saturating_add(SHUNNED)));
        }
        if !well {
            self.settle(&mut inner);
        }
    }

    /// Looks at intervals and the ends of ejections; call it about every 100 ms.
    pub fn tick(&self, now: u64, draw: impl FnMut() -> f64) {
        let mut inner = self.lock();
        let swept = inner.outlier.as_ref().is_some_and(|outlier| outlier.tick(now, draw).is_some());
        let before = inner.shunned.len();
        inner.shunned.retain(|(_, until)| *until > now);
        if swept || inner.shunned.len() != before {
            self.settle(&mut inner);
        }
    }

    /// Ids of the instances that are ejected, sorted.
    #[must_use]
    pub fn ejected(&self) -> Vec<String> {
        self.lock().ejected.clone()
    }

    /// Passes over exactly those that are ejected or shunned.
    fn settle(&self, inner: &mut Inner) {
        inner.ejected = inner.outlier.as_ref().map(OutlierDetector::ejected).unwrap_or_default();
        let mut out = inner.ejected.clone();
        out.extend(inner.shunned.iter().map(|(id, _)| id.clone()));
        for back in inner.out.iter().filter(|id| !out.contains(id)) {
            self.balancer.pass_over(back, false);
        }
        for gone in out.iter().filter(|id| !inner.out.contains(id)) {
            self.balancer.pass_over(gone, true);
        }
        inner.out = out;
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
                let id = pick.id.to_string();
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
            let well = &*pick.id != "b";
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
        assert_eq!(first.id, again.id, "the same key");
        let mut tried = Tried::default();
        let mut seen = (0..2).filter_map(|i| pool.pick(i, b"k", &mut tried, || 0.5));
        assert_eq!(seen.next().map(|pick| pick.id), Some(first.id.clone()));
        assert!(seen.next().is_some_and(|pick| pick.id != first.id));
        pool.join(2, &members(&["a"]), 0);
        let only = pool.pick(0, b"k", &mut tried, || 0.5).expect("somebody");
        assert_eq!(&*only.id, "a", "better the same than none");
    }

    #[test]
    fn one_that_cannot_be_reached_is_passed_over_for_a_while() {
        let pool = Pool::new(None, None, 0);
        pool.join(1, &members(&["a", "b", "c"]), 0);
        let gone = pool.pick(0, b"", &mut Tried::default(), || 0.5).expect("somebody");
        let id = gone.id.to_string();
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
            let well = &*pick.id != "a";
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
