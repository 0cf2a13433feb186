use fuseboard_policy::retry_budget::{RetryBudget, TokenOutcome};
use fuseboard_policy::settings;
use proptest::prelude::*;

const MS: u64 = 1_000_000;

proptest! {
    /// Whenever a retry is granted, those of the last 0.9 ttl are paid for by the reserve and the calls of the last 1.1 ttl.
    #[test]
    fn budgets_never_overdraw(
        per_mille in 0u64..3_000,
        min_per_sec in 0u64..20,
        events in prop::collection::vec((0u64..400, 0u64..20, 0u64..20), 1..200),
    ) {
        let (ratio, ttl_ms) = (per_mille as f64 / 1_000.0, 1_000);
        let budget = settings::RetryBudget::Ratio { ratio, min_per_sec: min_per_sec as f64, ttl_ms };
        let budget = RetryBudget::new(Some(&budget));
        let (mut now, mut deposits, mut granted) = (0, Vec::<(u64, u64)>::new(), Vec::<(u64, u64)>::new());
        for (wait, calls, wanted) in events {
            now += wait * MS;
            budget.deposit(now, calls);
            deposits.push((now, calls));
            let got = budget.withdraw(now, wanted);
            prop_assert!(got <= wanted);
            granted.push((now, got));
            let since = |list: &[(u64, u64)], age: u64| -> u64 {
                list.iter().filter(|(at, _)| now - at < age * MS).map(|(_, n)| n).sum()
            };
            let thousandths = min_per_sec * 1_000 * ttl_ms / 1_000 + per_mille * since(&deposits, 1_100);
            prop_assert!(got == 0 || since(&granted, 900) * 1_000 <= thousandths);
        }
    }

    #[test]
    fn tokens_stay_within_their_bucket(
        max_tokens in 1u64..50,
        milli in 1u64..2_000,
        events in prop::collection::vec((0u8..3, 1u64..30), 1..100),
    ) {
        let settings = settings::RetryBudget::Tokens { max_tokens, token_ratio: milli as f64 / 1_000.0 };
        let budget = RetryBudget::new(Some(&settings));
        let mut naive = max_tokens as i64 * 1_000;
        for (kind, count) in events {
            let (outcome, step) = match kind {
                0 => (TokenOutcome::Success, milli as i64),
                1 => (TokenOutcome::Retryable, -1_000),
                _ => (TokenOutcome::Other, 0),
            };
            budget.outcome(outcome, count);
            for _ in 0..count {
                naive = (naive + step).clamp(0, max_tokens as i64 * 1_000);
            }
            prop_assert_eq!(budget.millitokens(), Some(naive as u128));
            prop_assert_eq!(budget.allows(0), naive * 2 > max_tokens as i64 * 1_000);
        }
    }
}
