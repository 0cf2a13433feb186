//! Choosing an instance of the callee. Instances may be passed over for a while without being forgotten; when all are, none
//! is: some answer is better than none.
//!
//! A pick takes no lock and allocates nothing: who is there is a snapshot, and what is known of each instance are atomics.
//! All but least request, which looks at every instance, take the same time however many there are.
//!
//! Sources: smooth weighted round robin is nginx's; peak EWMA is Finagle's (Twitter), with the power of two choices
//! (Mitzenmacher 1996); the consistent hash is weighted rendezvous hashing (Thaler and Ravishankar 1996; weights as
//! −w / ln u, Schindelhauer and Schomaker 2005), its load bounded as in Mirrokni, Thorup and Zadimoghaddam 2018.

mod endpoint;
mod hashed;
mod view;
mod weighted;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

pub use self::endpoint::Busy;
pub(crate) use self::endpoint::Endpoint;
use self::view::View;
use crate::settings::Balance;

/// The balancer of one edge.
#[derive(Debug)]
pub struct Balancer {
    view: ArcSwap<View>,
    turn: AtomicU64,
    /// How many instances there have ever been. Held while the view changes.
    made: Mutex<u64>,
}

impl Balancer {
    /// Without instances.
    #[must_use]
    pub fn new(settings: Balance) -> Self {
        let view = ArcSwap::from_pointee(View::new(settings, Vec::new(), None));
        Self { view, turn: AtomicU64::new(0), made: Mutex::new(0) }
    }

    /// An instance joins; one of the same id is replaced. A weight of 0 is never picked where weights matter.
    pub fn add(&self, id: &str, weight: u64, now: u64) {
        self.exchange(|endpoint| **endpoint.id() != *id, &[(id, weight)], now);
    }

    /// An instance leaves.
    pub fn remove(&self, id: &str) {
        self.exchange(|endpoint| **endpoint.id() != *id, &[], 0);
    }

    /// Keeps those that `stays` names and lets others join, at once. Returns who is there now.
    pub(crate) fn exchange(
        &self,
        stays: impl Fn(&Endpoint) -> bool,
        new: &[(&str, u64)],
        now: u64,
    ) -> Vec<Arc<Endpoint>> {
        self.change(|settings, all, made| {
            all.retain(|endpoint| stays(endpoint));
            for (id, weight) in new {
                *made += 1;
                all.push(Arc::new(Endpoint::new(*made, id, *weight, settings.default_rtt_ms, now)));
            }
            all.clone()
        })
    }

    /// Passes exactly those over that `out` names. What is known of them is kept.
    pub(crate) fn pass_over(&self, out: impl Fn(&Endpoint) -> bool) {
        if self.view.load().all.iter().any(|endpoint| endpoint.is_out() != out(endpoint)) {
            self.change(|_, all, _| all.iter().for_each(|endpoint| endpoint.pass_over(out(endpoint))));
        }
    }

    /// Other settings. Instances keep what is known of them, whatever the algorithm; round trips are measured only for the
    /// one that looks at them.
    pub fn reconfigure(&self, settings: Balance) {
        self.change(|old, _, _| *old = settings);
    }

    fn change<R>(&self, change: impl FnOnce(&mut Balance, &mut Vec<Arc<Endpoint>>, &mut u64) -> R) -> R {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.view.load_full();
        let (mut settings, mut all) = (before.settings.clone(), before.all.clone());
        let answer = change(&mut settings, &mut all, &mut made);
        self.view.store(Arc::new(View::new(settings, all, Some(&before))));
        answer
    }

    /// Picks an instance; `None` if there is none. `key` is for `consistent_hash`; `draw` gives uniform numbers in [0, 1).
    pub fn pick(&self, now: u64, key: &[u8], draw: impl FnMut() -> f64) -> Option<Arc<str>> {
        let view = self.view.load();
        view.pick(now, key, &Tried::default(), &self.turn, draw).map(|endpoint| Arc::clone(endpoint.id()))
    }

    /// Picks an instance that is not among `tried` where that is possible, and begins a call to it; `None` if there is none.
    #[inline]
    pub(crate) fn begin(&self, now: u64, key: &[u8], tried: &mut Tried, draw: impl FnMut() -> f64) -> Option<Busy> {
        let view = self.view.load();
        let endpoint = view.pick(now, key, tried, &self.turn, draw)?;
        tried.push(endpoint.number());
        Some(Busy::new(Arc::clone(endpoint), now, view.measures()))
    }

    /// A call to an instance begins; `None` if there is no such one.
    pub fn start(&self, id: &str, now: u64) -> Option<Busy> {
        let view = self.view.load();
        let endpoint = view.all.iter().find(|endpoint| **endpoint.id() == *id)?;
        Some(Busy::new(Arc::clone(endpoint), now, view.measures()))
    }

    /// What a call to an instance would cost now (`p2c_peak_ewma`), in milliseconds.
    #[must_use]
    pub fn cost(&self, id: &str, now: u64) -> Option<f64> {
        let view = self.view.load();
        let endpoint = view.all.iter().find(|endpoint| **endpoint.id() == *id)?;
        Some(endpoint.cost(now, view.decay()))
    }
}

/// The instances that a call has tried, at most the last [`Tried::MOST`] of them. Kept in place: most calls try one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tried {
    /// Numbers of instances; 0 is none.
    numbers: [u64; Self::MOST],
    count: usize,
}

impl Tried {
    /// Older ones are forgotten.
    pub const MOST: usize = 6;

    fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn contains(&self, number: u64) -> bool {
        self.count > 0 && self.numbers.contains(&number)
    }

    fn push(&mut self, number: u64) {
        if let Some(place) = self.numbers.get_mut(self.count % Self::MOST) {
            *place = number;
        }
        self.count += 1;
    }
}
