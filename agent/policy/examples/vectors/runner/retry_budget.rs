//! Vectors of the kind `retry_budget`.

use fuseboard_policy::retry_budget::{RetryBudget, TokenOutcome};
use fuseboard_policy::settings;
use serde_json::{Map, Value};

use super::{Answer, Draws, Facts, Got, MS, Step, Wrong, only, typed};

pub(crate) struct Machine {
    budget: RetryBudget,
}

impl Machine {
    pub(crate) fn new(settings: &Map<String, Value>) -> Result<Self, Wrong> {
        only(settings, &["budget"], "setting")?;
        let budget = settings.get("budget").and_then(Value::as_object).ok_or("settings: no budget")?;
        let budget: settings::RetryBudget = typed(budget)?;
        Ok(Self { budget: RetryBudget::new(Some(&budget)) })
    }

    fn mixed(&self, now: u64, count: u64, every_ms: u64) -> Result<u64, Wrong> {
        let every = every_ms.checked_mul(MS).ok_or("every_ms is too large")?;
        let (mut granted, mut at) = (0, now);
        for i in 0..count {
            if i > 0 {
                at = at.checked_add(every).ok_or("the clock overflows")?;
            }
            self.budget.deposit(at, 1);
            granted += self.budget.withdraw(at, 1);
        }
        Ok(granted)
    }

    fn outcome(&self, result: &str, count: u64, now: u64) -> Result<Facts, Wrong> {
        let outcome = match result {
            "success" => TokenOutcome::Success,
            "retryable" | "pushback_stop" => TokenOutcome::Retryable,
            "other" => TokenOutcome::Other,
            other => return Err(format!("unknown result: {other}")),
        };
        self.budget.outcome(outcome, count);
        let tokens = self.budget.millitokens().ok_or("outcome is for budgets of tokens")?;
        let tokens = match i128::try_from(tokens) {
            Ok(tokens) if tokens % 1_000 == 0 => Got::Whole(tokens / 1_000),
            _ => Got::Real(tokens as f64 / 1_000.0),
        };
        Ok(Facts::from([("tokens", tokens), ("retry_allowed", self.budget.allows(now).into())]))
    }
}

impl super::Machine for Machine {
    fn steps(&self) -> &'static [(&'static str, &'static [&'static str])] {
        &[
            ("deposit", &["count"]),
            ("withdraw", &["count"]),
            ("mixed", &["count", "every_ms"]),
            ("outcome", &["result", "count"]),
        ]
    }

    fn step(&mut self, step: &Step<'_>, now: u64, _draws: &mut Draws) -> Result<Answer, Wrong> {
        let count = step.whole_or("count", 1)?;
        let facts = match step.name() {
            "deposit" => {
                self.budget.deposit(now, count);
                Facts::new()
            }
            "withdraw" => Facts::from([("granted", self.budget.withdraw(now, count).into())]),
            "mixed" => {
                let granted = self.mixed(now, count, step.whole_or("every_ms", 0)?)?;
                Facts::from([("granted", granted.into())])
            }
            _ => self.outcome(step.text("result")?, count, now)?,
        };
        Ok(facts.into())
    }
}
