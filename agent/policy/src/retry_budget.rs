//! Retry budgets: how many retries an edge may spend, so that retries cannot become a storm.
//!
//! `ratio`: the balance `min_per_sec · ttl + ratio · (calls alive) − (retries alive)` of Finagle's RetryBudget; calls and
//! retries both count for one `ttl`. `max_tokens`: the throttle of gRPC proposal A6. All arithmetic is exact.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::fraction::Decimal;
use crate::settings;

/// Slots of the ring: an entry counts for between 0.9 and 1 `ttl`.
const SLOTS: u64 = 10;
/// Most decimal places of `ratio` and `min_per_sec` that count.
const MOST_PLACES: u32 = 15;
/// Thousandths in a token.
const MILLI: u128 = 1_000;

/// What became of an attempt, for the token budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenOutcome {
    /// It succeeded: tokens come back.
    Success,
    /// It failed in a way that is worth a retry, or the reply forbade one: costs a token.
    Retryable,
    /// It failed otherwise: nothing changes.
    Other,
}

/// The budget of one edge.
#[derive(Debug)]
pub struct RetryBudget {
    inner: Mutex<Kind>,
}

#[derive(Debug)]
enum Kind {
    Unlimited,
    Ratio(Box<Ratio>),
    Tokens(Tokens),
}

impl RetryBudget {
    /// A fresh budget; `None` never refuses.
    #[must_use]
    pub fn new(settings: Option<&settings::RetryBudget>) -> Self {
        Self { inner: Mutex::new(Kind::new(settings)) }
    }

    /// `count` calls are made (first attempts, not retries).
    pub fn deposit(&self, now: u64, count: u64) {
        if let Kind::Ratio(ratio) = &mut *self.lock() {
            ratio.deposit(now, count);
        }
    }

    /// Asks for `count` retries in turn; tells how many are granted. Granted ones are spent.
    pub fn withdraw(&self, now: u64, count: u64) -> u64 {
        match &mut *self.lock() {
            Kind::Unlimited => count,
            Kind::Ratio(ratio) => ratio.withdraw(now, count),
            Kind::Tokens(tokens) => {
                if tokens.allows() {
                    count
                } else {
                    0
                }
            }
        }
    }

    /// `count` attempts ended so. Only the token budget looks at it.
    pub fn outcome(&self, outcome: TokenOutcome, count: u64) {
        if let Kind::Tokens(tokens) = &mut *self.lock() {
            tokens.outcome(outcome, count);
        }
    }

    /// The tokens of a token budget, in thousandths.
    #[must_use]
    pub fn millitokens(&self) -> Option<u128> {
        match &*self.lock() {
            Kind::Tokens(tokens) => Some(tokens.now),
            _ => None,
        }
    }

    /// Whether a retry would be granted now.
    #[must_use]
    pub fn allows(&self, now: u64) -> bool {
        match &mut *self.lock() {
            Kind::Unlimited => true,
            Kind::Ratio(ratio) => ratio.affordable(now) >= 1,
            Kind::Tokens(tokens) => tokens.allows(),
        }
    }

    /// Other settings: what is spent stays spent. A budget of another kind starts fresh.
    pub fn reconfigure(&self, settings: Option<&settings::RetryBudget>) {
        let mut kind = self.lock();
        match (&mut *kind, Kind::new(settings)) {
            (Kind::Ratio(old), Kind::Ratio(new)) => old.become_like(&new),
            (Kind::Tokens(old), Kind::Tokens(new)) => {
                let spent = old.most.saturating_sub(old.now);
                *old = Tokens { now: new.most.saturating_sub(spent), ..new };
            }
            (_, new) => *kind = new,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kind> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kind {
    fn new(settings: Option<&settings::RetryBudget>) -> Self {
        match settings {
            None => Self::Unlimited,
            Some(&settings::RetryBudget::Ratio { ratio, min_per_sec, ttl_ms }) => {
                Self::Ratio(Box::new(Ratio::new(ratio, min_per_sec, ttl_ms)))
            }
            Some(&settings::RetryBudget::Tokens { max_tokens, token_ratio }) => {
                let most = u128::from(max_tokens) * MILLI;
                let gain = Decimal::new(token_ratio).map_or(0, |r| r.scaled(3));
                Self::Tokens(Tokens { now: most, most, gain })
            }
        }
    }
}

#[derive(Debug)]
struct Tokens {
    /// Thousandths.
    now: u128,
    most: u128,
    gain: u128,
}

impl Tokens {
    fn allows(&self) -> bool {
        self.now * 2 > self.most
    }

    fn outcome(&mut self, outcome: TokenOutcome, count: u64) {
        let count = u128::from(count);
        match outcome {
            TokenOutcome::Success => self.now = self.now.saturating_add(self.gain.saturating_mul(count)).min(self.most),
            TokenOutcome::Retryable => self.now = self.now.saturating_sub(MILLI * count),
            TokenOutcome::Other => {}
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// Which stretch of `width` nanoseconds since the clock's zero.
    index: u64,
    deposits: u64,
    withdrawals: u64,
}

#[derive(Debug)]
struct Ratio {
    /// Worth of one retry: 10^places.
    unit: u128,
    /// Worth of one call.
    gain: u128,
    reserve: u128,
    /// Width of a slot in nanoseconds; 0 when nothing is ever remembered.
    width: u64,
    slots: [Slot; SLOTS as usize],
    latest: u64,
}

impl Ratio {
    fn new(ratio: f64, min_per_sec: f64, ttl_ms: u64) -> Self {
        let zero = Decimal::ZERO;
        let (ratio, rate) = (Decimal::new(ratio).unwrap_or(zero), Decimal::new(min_per_sec).unwrap_or(zero));
        // Three more places, because the reserve divides by a thousand.
        let places = (ratio.places().max(rate.places()) + 3).min(MOST_PLACES);
        let unit = 10u128.pow(places);
        Self {
            unit,
            gain: ratio.scaled(places),
            reserve: rate.scaled(places - 3).saturating_mul(u128::from(ttl_ms)),
            width: crate::ms_to_nanos(ttl_ms).div_ceil(SLOTS),
            slots: [Slot::default(); SLOTS as usize],
            latest: 0,
        }
    }

    /// Takes over the other's settings and keeps the entries, at their age.
    fn become_like(&mut self, other: &Self) {
        if self.width != other.width && other.width != 0 {
            let mut old = self.slots;
            old.sort_by_key(|slot| slot.index);
            let (width, oldest) = (self.width, self.latest.saturating_sub(SLOTS - 1));
            let last = |index: u64| index.saturating_mul(width).saturating_add(width.saturating_sub(1));
            let now = last(self.latest);
            (self.slots, self.latest, self.width) = ([Slot::default(); SLOTS as usize], 0, other.width);
            for slot in old.iter().filter(|slot| slot.index >= oldest) {
                let kept = self.slot(last(slot.index).min(now));
                kept.deposits = kept.deposits.saturating_add(slot.deposits);
                kept.withdrawals = kept.withdrawals.saturating_add(slot.withdrawals);
            }
            self.latest = now / other.width;
        }
        (self.unit, self.gain, self.reserve, self.width) = (other.unit, other.gain, other.reserve, other.width);
    }

    /// The slot of an instant, emptied if it held an older stretch.
    fn slot(&mut self, now: u64) -> &mut Slot {
        let index = (now / self.width.max(1)).max(self.latest);
        self.latest = index;
        let slot = &mut self.slots[(index % SLOTS) as usize];
        if slot.index != index {
            *slot = Slot { index, ..Slot::default() };
        }
        slot
    }

    fn deposit(&mut self, now: u64, count: u64) {
        if self.width != 0 {
            let slot = self.slot(now);
            slot.deposits = slot.deposits.saturating_add(count);
        }
    }

    /// Whole retries that the balance pays for.
    fn affordable(&mut self, now: u64) -> u64 {
        if self.width == 0 {
            return 0;
        }
        let index = (now / self.width).max(self.latest);
        let alive = self.slots.iter().filter(|slot| index - slot.index < SLOTS);
        let (deposits, withdrawals) = alive.fold((0u128, 0u128), |(deposits, withdrawals), slot| {
            (deposits + u128::from(slot.deposits), withdrawals + u128::from(slot.withdrawals))
        });
        let credit = self.reserve.saturating_add(self.gain.saturating_mul(deposits));
        let balance = credit.saturating_sub(self.unit.saturating_mul(withdrawals));
        u64::try_from(balance / self.unit).unwrap_or(u64::MAX)
    }

    fn withdraw(&mut self, now: u64, count: u64) -> u64 {
        let granted = self.affordable(now).min(count);
        if granted > 0 {
            let slot = self.slot(now);
            slot.withdrawals = slot.withdrawals.saturating_add(granted);
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(ratio: f64, min_per_sec: f64, ttl_ms: u64) -> RetryBudget {
        RetryBudget::new(Some(&settings::RetryBudget::Ratio { ratio, min_per_sec, ttl_ms }))
    }

    #[test]
    fn a_tenth_needs_ten_calls() {
        let budget = ratio(0.1, 0.0, 10_000);
        budget.deposit(0, 9);
        assert_eq!(budget.withdraw(0, 1), 0);
        budget.deposit(0, 1);
        assert_eq!(budget.withdraw(0, 5), 1);
    }

    #[test]
    fn extremes_saturate() {
        let budget = ratio(1e300, f64::MAX, u64::MAX);
        budget.deposit(u64::MAX, u64::MAX);
        budget.deposit(u64::MAX, u64::MAX);
        assert_eq!(budget.withdraw(u64::MAX, u64::MAX), u64::MAX);
        assert_eq!(ratio(1.0, 1.0, 0).withdraw(0, 5), 0);
    }

    #[test]
    fn what_is_spent_stays_spent() {
        let budget = ratio(0.0, 10.0, 1_000);
        assert_eq!(budget.withdraw(5, 10), 10);
        budget.reconfigure(Some(&settings::RetryBudget::Ratio { ratio: 0.0, min_per_sec: 12.0, ttl_ms: 1_000 }));
        assert_eq!(budget.withdraw(6, 10), 2);
        let tokens = RetryBudget::new(Some(&settings::RetryBudget::Tokens { max_tokens: 10, token_ratio: 0.1 }));
        tokens.outcome(TokenOutcome::Retryable, 4);
        tokens.reconfigure(Some(&settings::RetryBudget::Tokens { max_tokens: 8, token_ratio: 0.1 }));
        assert_eq!(tokens.millitokens(), Some(4_000));
        assert!(!tokens.allows(0));
    }
}
