//! The rules, one subject a file.

mod agents;
mod amplification;
mod breaker_never;
mod breaker_noise;
mod budget;
mod concurrency;
mod dead;
mod fallback;
mod hedge;
mod inverted;
mod mode;
mod overrides;
mod rate;
mod repeat;
mod timeout_low;
mod timeout_retries;
mod unguarded;

use super::facts::Facts;
use super::report::Report;

/// Looks at the facts and reports.
type Rule = fn(&Facts, &mut Report);

/// All of them.
pub(super) const ALL: &[Rule] = &[
    agents::check,
    amplification::check,
    breaker_never::check,
    breaker_noise::check,
    budget::check,
    concurrency::check,
    dead::check,
    fallback::check,
    hedge::check,
    inverted::check,
    mode::check,
    overrides::check,
    rate::check,
    repeat::check,
    timeout_low::check,
    timeout_retries::check,
    unguarded::check,
];
