//! How long calls took, over any range and grouped as one likes.

use serde::{Deserialize, Serialize};

use crate::TimeRange;
use crate::filter::Hint;
use crate::stats::Stats;
use crate::trace::Searched;

/// Which calls are counted, and in what groups.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct QuantileQuery {
    /// Calls that ended in this range; with a filter or a field, spans that started in it.
    pub range: TimeRange,
    /// In what groups.
    pub group_by: GroupBy,
    /// Which spans are counted, in the language of [`crate::filter`]. Without one, calls are counted as services
    /// answered them (for [`GroupBy::Edge`]: as callers saw them), from sums that are kept anyhow. With one, each span that
    /// fits is a call, and spans are searched for: see [`Searched`].
    pub filter: String,
    /// At most so many groups, those with most calls first; 0 means 100.
    pub limit: u32,
}

/// What calls have in common that are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    /// The service.
    #[default]
    Service,
    /// The service and its operation.
    Operation,
    /// The service and its instance.
    Instance,
    /// The service and its version.
    Version,
    /// Caller, callee and operation.
    Edge,
    /// The value of a field or attribute, named as in a filter.
    Field(String),
}

/// Calls counted together.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct QuantileGroup {
    /// What they have in common, part by part; a missing field is empty.
    pub key: Vec<String>,
    /// How many, how many failed, and how long they took.
    pub stats: Stats,
}

/// The answer to a [`QuantileQuery`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Quantiles {
    /// The groups with most calls first.
    pub groups: Vec<QuantileGroup>,
    /// Calls in groups beyond the limit.
    pub others: Stats,
    /// Whether the whole range was counted; if not, only spans in `searched.range` were.
    pub complete: bool,
    /// How far was searched, when not everything was.
    pub searched: Searched,
    /// What in the filter was hardly meant so.
    pub hints: Vec<Hint>,
}
