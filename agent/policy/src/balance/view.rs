//! What a pick looks at: who is there, who takes part, and what was worked out beforehand for the algorithm in force.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Tried;
use super::endpoint::{Decay, Endpoint};
use super::hashed::Table;
use super::weighted::Weighted;
use crate::settings::{Algorithm, Balance};

/// Picks for one attempt at most, where the first ones were tried by the call already.
const PICKS: usize = 4;

/// Never changes; a new one takes its place.
#[derive(Debug)]
pub(super) struct View {
    pub(super) settings: Balance,
    /// In the order they joined.
    pub(super) all: Vec<Arc<Endpoint>>,
    /// Those that take part: not passed over, or all if all are.
    able: Vec<Arc<Endpoint>>,
    decay: Decay,
    weighted: Option<Weighted>,
    /// Of all, so that it outlives a passing over.
    table: Option<Arc<Table>>,
}

impl View {
    /// What can be kept of the view before is.
    pub(super) fn new(settings: Balance, all: Vec<Arc<Endpoint>>, before: Option<&Self>) -> Self {
        let mut able: Vec<_> = all.iter().filter(|endpoint| !endpoint.is_out()).cloned().collect();
        if able.is_empty() {
            able.clone_from(&all);
        }
        let weighted = match settings.algorithm {
            Algorithm::WeightedRoundRobin => Weighted::new(able.iter().map(|endpoint| endpoint.weight())),
            _ => None,
        };
        let same = |before: &&Self| {
            before.all.len() == all.len() && before.all.iter().zip(&all).all(|(a, b)| Arc::ptr_eq(a, b))
        };
        let kept = before.filter(same).and_then(|before| before.table.clone());
        let table = match settings.algorithm {
            Algorithm::ConsistentHash => kept.or_else(|| Table::new(&all).map(Arc::new)),
            _ => None,
        };
        Self { decay: Decay::new(settings.decay_ms), settings, all, able, weighted, table }
    }

    /// How fast estimates forget, where round trips are measured.
    pub(super) fn measures(&self) -> Option<Decay> {
        (self.settings.algorithm == Algorithm::P2cPeakEwma).then_some(self.decay)
    }

    pub(super) fn decay(&self) -> Decay {
        self.decay
    }

    /// One that is not among `tried`, as long as there is such a one.
    #[inline]
    pub(super) fn pick(
        &self,
        now: u64,
        key: &[u8],
        tried: &Tried,
        turn: &AtomicU64,
        mut draw: impl FnMut() -> f64,
    ) -> Option<&Arc<Endpoint>> {
        let mut picked = self.pick_any(now, key, tried, turn, &mut draw)?;
        if tried.is_empty() {
            return Some(picked);
        }
        for _ in 1..PICKS {
            if !tried.contains(picked.number()) {
                return Some(picked);
            }
            picked = self.pick_any(now, key, tried, turn, &mut draw)?;
        }
        let other = self.able.iter().find(|endpoint| !tried.contains(endpoint.number()));
        Some(other.filter(|_| tried.contains(picked.number())).unwrap_or(picked))
    }

    fn pick_any(
        &self,
        now: u64,
        key: &[u8],
        tried: &Tried,
        turn: &AtomicU64,
        draw: impl FnMut() -> f64,
    ) -> Option<&Arc<Endpoint>> {
        match self.settings.algorithm {
            Algorithm::RoundRobin => self.able.get(self.take_turn(turn)?),
            Algorithm::WeightedRoundRobin => self.able.get(self.weighted.as_ref()?.next()?),
            Algorithm::Random => self.able.get(self.drawn(draw)?),
            Algorithm::LeastRequest => self.least_request(turn),
            Algorithm::P2cPeakEwma => self.two_choices(now, draw),
            Algorithm::ConsistentHash => self.hashed(key, tried),
        }
    }

    fn take_turn(&self, turn: &AtomicU64) -> Option<usize> {
        let n = self.able.len() as u64;
        turn.fetch_add(1, Ordering::Relaxed).checked_rem(n).map(|index| index as usize)
    }

    fn drawn(&self, mut draw: impl FnMut() -> f64) -> Option<usize> {
        (!self.able.is_empty()).then(|| at(draw(), self.able.len()))
    }

    /// The fewest calls in flight; among equals one after the other.
    fn least_request(&self, turn: &AtomicU64) -> Option<&Arc<Endpoint>> {
        let (before, from) = self.able.split_at_checked(self.take_turn(turn)?)?;
        from.iter().chain(before).min_by_key(|endpoint| endpoint.busy())
    }

    fn two_choices(&self, now: u64, mut draw: impl FnMut() -> f64) -> Option<&Arc<Endpoint>> {
        let n = self.able.len();
        if n <= 1 {
            return self.able.first();
        }
        let (first, second) = (at(draw(), n), at(draw(), n - 1));
        let second = second + usize::from(second >= first);
        let (first, second) = (self.able.get(first)?, self.able.get(second)?);
        Some(if first.cost(now, self.decay) <= second.cost(now, self.decay) { first } else { second })
    }

    fn hashed(&self, key: &[u8], tried: &Tried) -> Option<&Arc<Endpoint>> {
        let all_out = self.able.len() == self.all.len();
        let good = |endpoint: &Endpoint| {
            (all_out || !endpoint.is_out()) && !tried.contains(endpoint.number()) && self.has_room(endpoint)
        };
        self.table.as_ref()?.pick(key, &self.all, &self.able, good)
    }

    /// Bounded loads: some instance is always below the bound, since that is above the mean of those that take part.
    fn has_room(&self, endpoint: &Endpoint) -> bool {
        let Some(factor) = self.settings.max_load else { return true };
        let own = endpoint.busy();
        // The bound is at least 1.
        own == 0 || {
            let weighty = self.able.iter().filter(|endpoint| endpoint.weight() > 0);
            let (n, busy) = weighty.fold((0u64, 0u64), |(n, busy), other| (n + 1, busy.saturating_add(other.busy())));
            (own as f64) < (factor.max(1.0) * (busy as f64 + 1.0) / n.max(1) as f64).ceil()
        }
    }
}

/// `⌊draw · n⌋`, within.
fn at(draw: f64, n: usize) -> usize {
    ((draw * n as f64) as usize).min(n.saturating_sub(1))
}
