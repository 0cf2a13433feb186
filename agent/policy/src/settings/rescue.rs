//! Settings of what saves a call: attempts beside one that takes long, and what is given when nothing helped.

use serde::{Deserialize, Serialize};

/// Hedges of a call where `max_extra` is absent.
pub const DEFAULT_MAX_EXTRA: u32 = 1;

/// Further attempts beside one that takes long, on other instances; the first good answer counts. What may be hedged is
/// what may be tried again, and each hedge spends the retry budget. One of `after_ms` and `after_quantile` is given.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hedge {
    /// How long the last attempt takes before the next joins it, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_ms: Option<u64>,
    /// The same as a quantile of what calls of the edge took lately, 0…1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_quantile: Option<f64>,
    /// Hedges a call; [`DEFAULT_MAX_EXTRA`] when absent, none at 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_extra: Option<u32>,
}

/// What the application is given when a call fails or a local rule refuses it. For breaker, budgets and metrics the call
/// stays what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fallback {
    /// A status.
    Status {
        /// A gRPC status name in lower case or an HTTP status; each protocol is given its own.
        code: String,
    },
    /// A value that the service registered.
    Value {
        /// Under this name.
        name: String,
    },
}
