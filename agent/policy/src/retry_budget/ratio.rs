//! The budget by a ratio: calls and retries of the last `ttl`, in ten slots each.

use crate::fraction::Decimal;
use crate::slots::{self, Slots, Stretch};

/// Slots of the rings: an entry counts for between 0.9 and 1 `ttl`.
const SLOTS: usize = 10;
/// Most decimal places of `ratio` and `min_per_sec` that count.
const MOST_PLACES: u32 = 15;
/// How often a retry is asked for anew because another took the same one; beyond, it is refused.
const TRIES: u32 = 16;

type Held = slots::Held<SLOTS>;

/// What a budget held when it was closed.
#[derive(Debug, Default)]
pub(super) struct Entries {
    deposits: Held,
    withdrawals: Held,
    width: u64,
    latest: u64,
}

#[derive(Debug)]
pub(super) struct Ratio {
    /// Worth of one retry: 10^places.
    unit: u128,
    /// Worth of one call.
    gain: u128,
    reserve: u128,
    stretch: Stretch,
    /// Nothing is ever remembered, so nothing is ever granted.
    forgets: bool,
    deposits: Slots<SLOTS>,
    withdrawals: Slots<SLOTS>,
}

impl Ratio {
    pub(super) fn new(ratio: f64, min_per_sec: f64, ttl_ms: u64, entries: &Entries) -> Self {
        let zero = Decimal::ZERO;
        let (ratio, rate) = (Decimal::new(ratio).unwrap_or(zero), Decimal::new(min_per_sec).unwrap_or(zero));
        // Three more places, because the reserve divides by a thousand.
        let places = (ratio.places().max(rate.places()) + 3).min(MOST_PLACES);
        let width = crate::ms_to_nanos(ttl_ms).div_ceil(SLOTS as u64);
        let entries = entries.of_width(width);
        Self {
            unit: 10u128.pow(places),
            gain: ratio.scaled(places),
            reserve: rate.scaled(places - 3).saturating_mul(u128::from(ttl_ms)),
            stretch: Stretch::new(width, entries.latest),
            forgets: ttl_ms == 0,
            deposits: Slots::new(entries.deposits),
            withdrawals: Slots::new(entries.withdrawals),
        }
    }

    /// `count` calls are made. `None` once closed.
    #[inline]
    pub(super) fn deposit(&self, now: u64, count: u64) -> Option<()> {
        if self.forgets {
            return Some(());
        }
        self.deposits.change(self.stretch.at(now), |calls| calls.saturating_add(count))
    }

    /// What calls and reserve pay for, and what retries have cost, in units. `None` once closed.
    fn balance(&self, index: u64) -> Option<(u128, u128)> {
        let sum = |slots: &Slots<SLOTS>| slots.fold(index, 0u128, |sum, _, value| sum + u128::from(value));
        let credit = self.reserve.saturating_add(self.gain.saturating_mul(sum(&self.deposits)?));
        Some((credit, self.unit.saturating_mul(sum(&self.withdrawals)?)))
    }

    /// Whole retries that the balance pays for. `None` once closed.
    pub(super) fn affordable(&self, now: u64) -> Option<u64> {
        if self.forgets {
            return Some(0);
        }
        let (credit, spent) = self.balance(self.stretch.at(now))?;
        Some(u64::try_from(credit.saturating_sub(spent) / self.unit).unwrap_or(u64::MAX))
    }

    /// Asks for `count` retries. They are spent first and looked at once more then: of several that take the last one at
    /// the same time at most one sees it paid for, and the others give theirs back. `None` once closed; `spent` are then
    /// those that the successor has as spent and must look at.
    pub(super) fn withdraw(&self, now: u64, count: u64, spent: &mut u64) -> Option<u64> {
        for _ in 0..TRIES {
            if *spent == 0 {
                let granted = self.affordable(now)?.min(count);
                if granted == 0 {
                    return Some(0);
                }
                self.withdrawals.change(self.stretch.at(now), |retries| retries.saturating_add(granted))?;
                *spent = granted;
            }
            let (credit, debit) = self.balance(self.stretch.at(now))?;
            if debit <= credit {
                return Some(*spent);
            }
            self.give_back(self.stretch.at(now), *spent)?;
            *spent = 0;
        }
        Some(0)
    }

    /// Takes retries out of the newest slot that has as many.
    fn give_back(&self, index: u64, retries: u64) -> Option<()> {
        for index in (0..SLOTS as u64).map_while(|back| index.checked_sub(back)) {
            if self.withdrawals.value(index)? >= retries {
                return self.withdrawals.change(index, |spent| spent.saturating_sub(retries));
            }
        }
        Some(())
    }

    /// Ends it; tells what it held. `None` if it was closed already.
    pub(super) fn close(&self) -> Option<Entries> {
        let withdrawals = self.withdrawals.close()?;
        let deposits = self.deposits.close().unwrap_or_default();
        let width = if self.forgets { 0 } else { self.stretch.width() };
        Some(Entries { deposits, withdrawals, width, latest: self.stretch.latest() })
    }
}

impl Entries {
    /// The same in slots of another width, at their age.
    fn of_width(&self, width: u64) -> Self {
        if self.width == width || width == 0 {
            let Self { deposits, withdrawals, latest, .. } = *self;
            return Self { deposits, withdrawals, width, latest };
        }
        let last = |index: u64| index.saturating_mul(self.width).saturating_add(self.width.saturating_sub(1));
        let now = last(self.latest);
        let moved = |held: &Held| {
            let mut moved = Held::default();
            let alive = held.iter().filter(|(index, _)| self.latest.saturating_sub(*index) < SLOTS as u64);
            for (index, value) in alive {
                let index = last(*index).min(now) / width;
                if let Some(slot) = moved.get_mut((index % SLOTS as u64) as usize) {
                    let before = if slot.0 == index { slot.1 } else { 0 };
                    // What is older than the ring of the new width is forgotten.
                    if slot.0 <= index {
                        *slot = (index, before.saturating_add(*value));
                    }
                }
            }
            moved
        };
        Self { deposits: moved(&self.deposits), withdrawals: moved(&self.withdrawals), width, latest: now / width }
    }
}
