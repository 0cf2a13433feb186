//! Settings of a callee's own side.

use serde::{Deserialize, Serialize};

/// The settings of a service.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceSettings {
    /// Refusing requests before the machine drowns in them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shed: Option<Shed>,
    /// What it promises.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slo: Option<Slo>,
}

impl ServiceSettings {
    /// A hash: equal settings give equal ones, on every machine (see [`crate::set::Effective::hash`]).
    #[must_use]
    pub fn hash(&self) -> [u8; 16] {
        crate::set::hash_all([toml::to_string(self).unwrap_or_default()])
    }
}

/// Refusing requests before the machine drowns in them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Shed {
    /// Beyond what was in flight at best throughput and least latency, while the processor is busy.
    Bbr {
        /// How much of the processor must be used before anything is refused, in per cent.
        cpu_percent: u64,
    },
}

/// What a service promises.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slo {
    /// Share of requests that are answered well, 0…1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success: Option<f64>,
    /// What 99 of 100 requests take at most, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<u64>,
    /// Over how many days it is looked at; 28 when absent.
    #[serde(default = "four_weeks")]
    pub window_days: u32,
}

fn four_weeks() -> u32 {
    28
}
