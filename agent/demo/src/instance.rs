//! What every instance of a service has: its agent, its dice, and the weather over it.

use std::sync::Arc;

use fuseboard_agent::{Agent, Severity};
use opentelemetry::KeyValue;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use crate::chance::Dice;
use crate::climate::Climate;
use crate::report::Counters;
use crate::shop::ShopConfig;
use crate::weather::Failing;

/// Errors of the simulated work: what the weather or bad luck did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Mishap {
    /// The weather's doing.
    #[error("the worker crashed")]
    Crashed,
    /// A bad release's doing.
    #[error("internal error: unknown field `amount_minor`")]
    Bug,
    /// The small share that always fails.
    #[error("internal error: connection to a shard was lost")]
    BadLuck,
}

/// One running instance of a service.
pub(crate) struct Instance {
    /// Its agent.
    pub(crate) agent: Agent,
    /// Its chance.
    pub(crate) dice: Dice,
    /// Where its calls and orders are counted.
    pub(crate) counters: Arc<Counters>,
    /// Work that outlives the request that began it. An instance stops when it is done.
    pub(crate) afterwards: TaskTracker,
    climate: Arc<Climate>,
    /// Factor on the usual errors.
    mishaps: f64,
}

impl Instance {
    /// An instance around its agent.
    pub(crate) fn new(agent: Agent, config: &ShopConfig, climate: Arc<Climate>, counters: Arc<Counters>) -> Arc<Self> {
        let dice = Dice::new(config.seed, agent.instance());
        let afterwards = TaskTracker::new();
        Arc::new(Self { agent, dice, counters, afterwards, climate, mishaps: config.mishaps })
    }

    /// Works: takes a lognormal time around `median_ms`, longer or with a failure as the weather has it, and fails in a
    /// share `usual_errors` of all cases in any weather.
    pub(crate) async fn work(&self, median_ms: f64, usual_errors: f64) -> Result<(), Mishap> {
        /// Spread of service times: nine of ten within about a factor of two of the median.
        const SIGMA: f64 = 0.38;
        let effect = self.climate.over(self.agent.service(), self.agent.instance());
        let slower = effect.slower.mul_f64(0.9 + 0.2 * self.dice.share());
        sleep(self.dice.takes(median_ms, SIGMA) + slower).await;
        if self.dice.happens(effect.errors) {
            return Err(match effect.failing {
                Failing::Unavailable => Mishap::Crashed,
                Failing::Bug => Mishap::Bug,
            });
        }
        if self.dice.happens(usual_errors * self.mishaps) {
            return Err(Mishap::BadLuck);
        }
        Ok(())
    }

    /// Whether there is a sale.
    pub(crate) fn sale(&self) -> bool {
        self.climate.load() > 1.0
    }

    /// Takes a time that the weather does not change.
    pub(crate) async fn pause(&self, median_ms: f64) {
        sleep(self.dice.takes(median_ms, 0.3)).await;
    }

    /// Logs what somebody may want to know.
    pub(crate) fn info(&self, message: impl Into<String>, attributes: &[KeyValue]) {
        self.agent.log(Severity::Info, message, attributes);
    }

    /// Logs what somebody should look at some day.
    pub(crate) fn warn(&self, message: impl Into<String>, attributes: &[KeyValue]) {
        self.agent.log(Severity::Warn, message, attributes);
    }

    /// Logs what somebody should look at now.
    pub(crate) fn error(&self, message: impl Into<String>, attributes: &[KeyValue]) {
        self.agent.log(Severity::Error, message, attributes);
    }
}

/// An attribute.
pub(crate) fn kv(key: &'static str, value: impl Into<opentelemetry::Value>) -> KeyValue {
    KeyValue::new(key, value)
}
