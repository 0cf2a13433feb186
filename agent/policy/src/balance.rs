//! Choosing an instance of the callee. Instances may be passed over for a while without being forgotten; when all are, none
//! is: some answer is better than none.
//!
//! Sources: smooth weighted round robin is nginx's; peak EWMA is Finagle's (Twitter), with the power of two choices
//! (Mitzenmacher 1996); the consistent hash is weighted rendezvous hashing (Thaler and Ravishankar 1996; weights as
//! −w / ln u, Schindelhauer and Schomaker 2005), its load bounded as in Mirrokni, Thorup and Zadimoghaddam 2018.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::settings::{Algorithm, Balance};

/// A call to an instance, from [`Balancer::start`] to [`Balancer::finish`].
#[derive(Debug)]
#[must_use = "a call that is not finished counts as in flight for ever"]
pub struct Busy {
    endpoint: u64,
    started: u64,
}

impl Busy {
    /// The instance's number: no other of the balancer, past or to come, has it.
    pub(crate) fn endpoint(&self) -> u64 {
        self.endpoint
    }
}

/// The balancer of one edge.
#[derive(Debug)]
pub struct Balancer {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Endpoint {
    /// Never used again, so that a removed instance that comes back is a new one.
    number: u64,
    id: Arc<str>,
    hash: u64,
    weight: u64,
    /// Of smooth weighted round robin.
    current: i128,
    busy: u64,
    /// Passed over.
    out: bool,
    /// Peak EWMA, in milliseconds, and when it was looked at.
    estimate: f64,
    stamp: u64,
}

#[derive(Debug)]
struct Inner {
    settings: Balance,
    endpoints: Vec<Endpoint>,
    made: u64,
    turn: usize,
    /// How many are passed over.
    out: usize,
}

impl Balancer {
    /// Without instances.
    #[must_use]
    pub fn new(settings: Balance) -> Self {
        Self { inner: Mutex::new(Inner { settings, endpoints: Vec::new(), made: 0, turn: 0, out: 0 }) }
    }

    /// An instance joins; one of the same id is replaced. A weight of 0 is never picked where weights matter.
    pub fn add(&self, id: &str, weight: u64, now: u64) {
        let mut inner = self.lock();
        inner.remove(id);
        inner.made += 1;
        let endpoint = Endpoint {
            number: inner.made,
            id: id.into(),
            hash: hash(id.as_bytes(), 0),
            weight,
            current: 0,
            busy: 0,
            out: false,
            estimate: inner.settings.default_rtt_ms as f64,
            stamp: now,
        };
        inner.endpoints.push(endpoint);
    }

    /// An instance leaves.
    pub fn remove(&self, id: &str) {
        self.lock().remove(id);
    }

    /// Passes an instance over, or not any more. What is known of it is kept.
    pub fn pass_over(&self, id: &str, out: bool) {
        let mut inner = self.lock();
        if let Some(endpoint) = inner.endpoints.iter_mut().find(|endpoint| &*endpoint.id == id) {
            endpoint.out = out;
            inner.out = inner.endpoints.iter().filter(|endpoint| endpoint.out).count();
        }
    }

    /// Other settings. Instances keep what is known of them, whatever the algorithm.
    pub fn reconfigure(&self, settings: Balance) {
        self.lock().settings = settings;
    }

    /// Picks an instance; `None` if there is none. `key` is for `consistent_hash`; `draw` gives uniform numbers in [0, 1).
    pub fn pick(&self, now: u64, key: &[u8], mut draw: impl FnMut() -> f64) -> Option<Arc<str>> {
        let mut inner = self.lock();
        let index = match inner.settings.algorithm {
            Algorithm::RoundRobin => inner.round_robin(),
            Algorithm::WeightedRoundRobin => inner.weighted(),
            Algorithm::Random => at(draw(), inner.able()).and_then(|n| inner.nth(n)),
            Algorithm::LeastRequest => inner.least_request(),
            Algorithm::P2cPeakEwma => inner.two_choices(now, draw),
            Algorithm::ConsistentHash => inner.hashed(key),
        };
        inner.endpoints.get(index?).map(|endpoint| Arc::clone(&endpoint.id))
    }

    /// A call to an instance begins; `None` if there is no such one.
    pub fn start(&self, id: &str, now: u64) -> Option<Busy> {
        let mut inner = self.lock();
        let endpoint = inner.endpoints.iter_mut().find(|endpoint| &*endpoint.id == id)?;
        endpoint.busy += 1;
        Some(Busy { endpoint: endpoint.number, started: now })
    }

    /// A call ended.
    #[expect(clippy::needless_pass_by_value, reason = "a call ends once")]
    pub fn finish(&self, call: Busy, now: u64) {
        let mut inner = self.lock();
        let decay = inner.settings.decay_ms;
        if let Some(endpoint) = inner.endpoints.iter_mut().find(|endpoint| endpoint.number == call.endpoint) {
            endpoint.busy = endpoint.busy.saturating_sub(1);
            endpoint.observe(now.saturating_sub(call.started) as f64 / 1e6, now, decay);
        }
    }

    /// A call ended before it could tell anything.
    #[expect(clippy::needless_pass_by_value, reason = "a call ends once")]
    pub fn cancel(&self, call: Busy) {
        let mut inner = self.lock();
        if let Some(endpoint) = inner.endpoints.iter_mut().find(|endpoint| endpoint.number == call.endpoint) {
            endpoint.busy = endpoint.busy.saturating_sub(1);
        }
    }

    /// What a call to an instance would cost now (`p2c_peak_ewma`), in milliseconds.
    #[must_use]
    pub fn cost(&self, id: &str, now: u64) -> Option<f64> {
        let mut inner = self.lock();
        let decay = inner.settings.decay_ms;
        inner.endpoints.iter_mut().find(|endpoint| &*endpoint.id == id).map(|endpoint| endpoint.cost(now, decay))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `⌊draw · n⌋`.
fn at(draw: f64, n: usize) -> Option<usize> {
    n.checked_sub(1).map(|last| ((draw * n as f64) as usize).min(last))
}

impl Inner {
    fn remove(&mut self, id: &str) {
        self.endpoints.retain(|endpoint| &*endpoint.id != id);
        self.out = self.endpoints.iter().filter(|endpoint| endpoint.out).count();
    }

    /// Whether an instance takes part.
    fn takes_part(&self, endpoint: &Endpoint) -> bool {
        !endpoint.out || self.out == self.endpoints.len()
    }

    /// How many take part.
    fn able(&self) -> usize {
        if self.out == self.endpoints.len() { self.out } else { self.endpoints.len() - self.out }
    }

    /// The position of the n-th that takes part.
    fn nth(&self, n: usize) -> Option<usize> {
        if self.able() == self.endpoints.len() {
            return Some(n);
        }
        let able = self.endpoints.iter().enumerate().filter(|(_, endpoint)| self.takes_part(endpoint));
        able.map(|(index, _)| index).nth(n)
    }

    fn round_robin(&mut self) -> Option<usize> {
        let n = self.endpoints.len();
        let start = self.turn.checked_rem(n)?;
        let takes_part = |index: &usize| self.endpoints.get(*index).is_some_and(|endpoint| self.takes_part(endpoint));
        let index = (0..n).map(|step| (start + step) % n).find(takes_part)?;
        self.turn = (index + 1) % n;
        Some(index)
    }

    fn weighted(&mut self) -> Option<usize> {
        let mut sum = 0i128;
        let mut best: Option<(usize, i128)> = None;
        let all_out = self.out == self.endpoints.len();
        let able = self.endpoints.iter_mut().enumerate().filter(|(_, e)| e.weight > 0 && (all_out || !e.out));
        for (index, endpoint) in able {
            sum += i128::from(endpoint.weight);
            endpoint.current += i128::from(endpoint.weight);
            if best.is_none_or(|(_, most)| endpoint.current > most) {
                best = Some((index, endpoint.current));
            }
        }
        let (index, _) = best?;
        self.endpoints.get_mut(index)?.current -= sum;
        Some(index)
    }

    /// The fewest calls in flight; among equals one after the other.
    fn least_request(&mut self) -> Option<usize> {
        let n = self.endpoints.len();
        let start = self.turn.checked_rem(n)?;
        self.turn = (start + 1) % n;
        let takes_part = |index: &usize| self.endpoints.get(*index).is_some_and(|endpoint| self.takes_part(endpoint));
        let busy = |index: usize| self.endpoints.get(index).map_or(u64::MAX, |endpoint| endpoint.busy);
        (0..n).map(|i| (start + i) % n).filter(takes_part).min_by_key(|index| busy(*index))
    }

    fn two_choices(&mut self, now: u64, mut draw: impl FnMut() -> f64) -> Option<usize> {
        let n = self.able();
        if n <= 1 {
            return n.checked_sub(1).and_then(|only| self.nth(only));
        }
        let first = at(draw(), n)?;
        let second = at(draw(), n - 1)?;
        let second = second + usize::from(second >= first);
        let (first, second) = (self.nth(first)?, self.nth(second)?);
        let decay = self.settings.decay_ms;
        let mut cost = |index: usize| self.endpoints.get_mut(index).map(|endpoint| endpoint.cost(now, decay));
        Some(if cost(first)? <= cost(second)? { first } else { second })
    }

    fn hashed(&self, key: &[u8]) -> Option<usize> {
        let score = |endpoint: &Endpoint| {
            // 53 bits, in (0, 1).
            let u = ((hash(key, endpoint.hash) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
            endpoint.weight as f64 / -u.ln()
        };
        let able = || self.endpoints.iter().enumerate().filter(|(_, e)| e.weight > 0 && self.takes_part(e));
        // Bounded loads: some instance is always below the bound, since that is above the mean of those that take part.
        let bound = self.settings.max_load.map_or(f64::INFINITY, |factor| {
            let (n, busy) = able().fold((0u64, 0u64), |(n, busy), (_, e)| (n + 1, busy.saturating_add(e.busy)));
            (factor.max(1.0) * (busy as f64 + 1.0) / n.max(1) as f64).ceil()
        });
        let able = able().filter(|(_, endpoint)| (endpoint.busy as f64) < bound);
        let best = able.map(|(index, endpoint)| (index, score(endpoint), endpoint));
        // A tie goes by id, so that the order in which they joined does not matter.
        best.max_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.2.id.cmp(&b.2.id))).map(|(index, ..)| index)
    }
}

impl Endpoint {
    fn observe(&mut self, rtt: f64, now: u64, decay_ms: u64) {
        if rtt > self.estimate {
            self.estimate = rtt;
        } else {
            let passed = now.saturating_sub(self.stamp) as f64 / 1e6;
            let weight = if passed == 0.0 { 1.0 } else { (-passed / decay_ms as f64).exp() };
            self.estimate = self.estimate * weight + rtt * (1.0 - weight);
        }
        self.stamp = self.stamp.max(now);
    }

    fn cost(&mut self, now: u64, decay_ms: u64) -> f64 {
        self.observe(0.0, now, decay_ms);
        self.estimate * (self.busy as f64 + 1.0)
    }
}

/// FNV-1a (draft-eastlake-fnv), finished as in SplitMix64 so that every bit depends on every byte.
fn hash(bytes: &[u8], seed: u64) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325 ^ seed;
    let mut z = bytes.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
