//! Retry budgets: how many retries an edge may spend, so that retries cannot become a storm.
//!
//! `ratio`: the balance `min_per_sec · ttl + ratio · (calls alive) − (retries alive)` of Finagle's RetryBudget; calls and
//! retries both count for one `ttl`. `max_tokens`: the throttle of gRPC proposal A6. All arithmetic is exact, and nothing
//! waits: a call is one compare-and-swap, none where a bucket of tokens is full.

mod ratio;
mod tokens;

use self::ratio::{Entries, Ratio};
use self::tokens::{MILLI, Tokens};
use crate::fraction::Decimal;
use crate::handover::Line;
use crate::settings;

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

/// The budget of one edge: settings and what was spent under them.
#[derive(Debug, Clone)]
pub struct RetryBudget {
    line: Line<Kind>,
}

#[derive(Debug)]
enum Kind {
    Unlimited,
    Ratio(Box<Ratio>),
    Tokens(Tokens),
}

/// What a budget held when it was closed.
enum Held {
    Nothing,
    Entries(Box<Entries>),
    /// Thousandths of tokens that are missing.
    Spent(u128),
}

impl Default for RetryBudget {
    /// Never refuses.
    fn default() -> Self {
        Self::new(None)
    }
}

impl RetryBudget {
    /// A fresh budget; `None` never refuses.
    #[must_use]
    pub fn new(settings: Option<&settings::RetryBudget>) -> Self {
        Self { line: Line::new(Kind::new(settings, Held::Nothing)) }
    }

    /// `count` calls are made (first attempts, not retries).
    #[inline]
    pub fn deposit(&self, now: u64, count: u64) {
        self.line.with(|kind| match kind {
            Kind::Ratio(ratio) => ratio.deposit(now, count),
            Kind::Unlimited | Kind::Tokens(_) => Some(()),
        });
    }

    /// Asks for `count` retries in turn; tells how many are granted. Granted ones are spent.
    #[must_use]
    pub fn withdraw(&self, now: u64, count: u64) -> u64 {
        let mut spent = 0;
        self.line.with(|kind| match kind {
            Kind::Unlimited => Some(count),
            Kind::Ratio(ratio) => ratio.withdraw(now, count, &mut spent),
            Kind::Tokens(tokens) => tokens.allows().map(|allows| if allows { count } else { 0 }),
        })
    }

    /// `count` attempts ended so. Only the token budget looks at it.
    #[inline]
    pub fn outcome(&self, outcome: TokenOutcome, count: u64) {
        self.line.with(|kind| match kind {
            Kind::Tokens(tokens) => tokens.outcome(outcome, count),
            Kind::Unlimited | Kind::Ratio(_) => Some(()),
        });
    }

    /// The tokens of a token budget, in thousandths.
    #[must_use]
    pub fn millitokens(&self) -> Option<u128> {
        self.line.with(|kind| match kind {
            Kind::Tokens(tokens) => tokens.millis().map(Some),
            Kind::Unlimited | Kind::Ratio(_) => Some(None),
        })
    }

    /// Whether a retry would be granted now.
    #[must_use]
    pub fn allows(&self, now: u64) -> bool {
        self.line.with(|kind| match kind {
            Kind::Unlimited => Some(true),
            Kind::Ratio(ratio) => ratio.affordable(now).map(|retries| retries >= 1),
            Kind::Tokens(tokens) => tokens.allows(),
        })
    }

    /// The budget under other settings; from now on this one is but another name of it. What is spent stays spent; a budget
    /// of another kind starts fresh. Changes follow one another: who changes a budget from several threads keeps them in
    /// order.
    #[must_use]
    pub fn reconfigured(&self, settings: Option<&settings::RetryBudget>) -> Self {
        let close = |kind: &Kind| match kind {
            Kind::Unlimited => Some(Held::Nothing),
            Kind::Ratio(ratio) => ratio.close().map(|entries| Held::Entries(Box::new(entries))),
            Kind::Tokens(tokens) => tokens.close().map(Held::Spent),
        };
        Self { line: self.line.follow(close, |_, held| Kind::new(settings, held)) }
    }
}

impl Kind {
    fn new(settings: Option<&settings::RetryBudget>, held: Held) -> Self {
        match settings {
            None => Self::Unlimited,
            Some(&settings::RetryBudget::Ratio { ratio, min_per_sec, ttl_ms }) => {
                let entries = if let Held::Entries(entries) = held { *entries } else { Entries::default() };
                Self::Ratio(Box::new(Ratio::new(ratio, min_per_sec, ttl_ms, &entries)))
            }
            Some(&settings::RetryBudget::Tokens { max_tokens, token_ratio }) => {
                let gain = Decimal::new(token_ratio).map_or(0, |r| r.scaled(3));
                let spent = if let Held::Spent(spent) = held { spent } else { 0 };
                Self::Tokens(Tokens::new(u128::from(max_tokens) * MILLI, gain, spent))
            }
        }
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
        let wider = settings::RetryBudget::Ratio { ratio: 0.0, min_per_sec: 12.0, ttl_ms: 1_000 };
        assert_eq!(budget.reconfigured(Some(&wider)).withdraw(6, 1), 1);
        assert_eq!(budget.withdraw(6, 10), 1, "an old name of it");
        let tokens = RetryBudget::new(Some(&settings::RetryBudget::Tokens { max_tokens: 10, token_ratio: 0.1 }));
        tokens.outcome(TokenOutcome::Retryable, 4);
        let tokens = tokens.reconfigured(Some(&settings::RetryBudget::Tokens { max_tokens: 8, token_ratio: 0.1 }));
        assert_eq!(tokens.millitokens(), Some(4_000));
        assert!(!tokens.allows(0));
    }
}
