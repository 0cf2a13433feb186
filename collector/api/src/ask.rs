//! Questions and their answers: the one door from the cursor to data.

use serde::{Deserialize, Serialize};

use crate::breaker::Breakers;
use crate::change::{Changes, Selector};
use crate::fleet::{Audit, AuditChain, AuditQuery, Fleet};
use crate::forecast::Forecasts;
use crate::graph::Board;
use crate::incident::Incidents;
use crate::lint::Lints;
use crate::log::{LogList, LogQuery};
use crate::metric::{MetricQuery, Metrics};
use crate::policy::{InstanceEdge, Policies};
use crate::quantile::{QuantileQuery, Quantiles};
use crate::strip::Strip;
use crate::trace::{SpanList, SpanQuery, Trace, TraceList, TraceQuery};
use crate::{TimeRange, TraceId, UnixNanos};

/// What the console wants to know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// Counts of everything stored.
    Totals,
    /// The time strip.
    Strip {
        /// What to show.
        range: TimeRange,
        /// How many columns at most; the step is the smallest of 1, 2, 5, 10, 20, 30 s, 1, 2, 5, 10, 30 min, 1 h that fits.
        columns: u32,
    },
    /// The call graph.
    Board {
        /// Over which range calls are counted.
        range: TimeRange,
    },
    /// A list of traces.
    Traces(TraceQuery),
    /// A list of spans.
    Spans(SpanQuery),
    /// One trace.
    Trace(TraceId),
    /// How long calls took, in groups.
    Quantiles(QuantileQuery),
    /// Breakers, and transitions of a range.
    Breakers {
        /// The range of the transitions.
        range: TimeRange,
    },
    /// Policies in force and their effect on the calls of a range.
    Policies {
        /// The range of the calls.
        range: TimeRange,
    },
    /// What is in force on each instance's edges, which may run different revisions and obey different overrides.
    Effective {
        /// Edges that were called in this range.
        range: TimeRange,
        /// Which of them, on which instances.
        selector: Selector,
    },
    /// The document of one revision.
    Document(u64),
    /// What is wrong with a policy, held against the calls of a range.
    Lint {
        /// The range of the calls.
        range: TimeRange,
        /// A document (TOML) that need not be published; `None` for the one in force.
        #[serde(default)]
        document: Option<String>,
    },
    /// Revisions and overrides on their way.
    Changes {
        /// Ended overrides are listed when they ended inside.
        range: TimeRange,
    },
    /// Bands and forecasts as they were last issued.
    Forecasts,
    /// Incidents and candidates.
    Incidents,
    /// Log records.
    Logs(LogQuery),
    /// Metrics.
    Metrics(MetricQuery),
    /// Instances.
    Fleet {
        /// Over which range their calls are counted.
        range: TimeRange,
    },
    /// The audit.
    Audit(AuditQuery),
    /// Whether the audit's chain holds from its first entry to its last. Every entry is read: this costs more with every
    /// entry, while [`Question::Audit`] follows only what came since it was last asked.
    AuditChain {
        /// A hash of an entry that was written down elsewhere, in hex: is it still in the chain?
        #[serde(default)]
        expect: Option<String>,
    },
    /// Names for completion.
    Names,
}

/// A question, and the instant it is asked as of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    /// What.
    pub question: Question,
    /// Only what had been stored by this instant counts; `None` asks for now. The answer says which instant it was.
    #[serde(default)]
    pub as_of: Option<UnixNanos>,
}

/// Counts of everything stored.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Spans.
    pub spans: u64,
    /// Traces.
    pub traces: u64,
    /// Log records.
    pub logs: u64,
    /// Metric points.
    pub metric_points: u64,
    /// `service.name`s, sorted.
    pub services: Vec<String>,
    /// Distinct instances that were ever seen.
    pub instances: u64,
    /// Size of the database with its log, in bytes.
    pub bytes_on_disk: u64,
    /// Spans stored a second, over the last ten seconds before the instant asked for.
    pub spans_per_second: f64,
    /// Median time from a span's end to its being stored, over the last ten seconds, in milliseconds.
    pub lag_ms: f64,
    /// Records that senders offered and the collector refused as malformed, since it started.
    pub rejected: u64,
    /// The collector's trouble in words (disk full, file locked…); empty when well.
    pub trouble: String,
    /// Where it listens: (`otlp_grpc` | `otlp_http` | `control` | `metrics` | `zipkin` | `jaeger_api`, address).
    pub addresses: Vec<(String, String)>,
    /// True for an opened file: nothing can be changed.
    pub read_only: bool,
    /// The stretch for which anything is stored.
    pub stored: TimeRange,
}

/// Names for completion.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Names {
    /// (service, operations it answers).
    pub services: Vec<(String, Vec<String>)>,
    /// Span attribute keys; at most 500.
    pub attribute_keys: Vec<String>,
    /// (attribute key, some of the values that were seen), by key; keys with very many values have none.
    pub attribute_values: Vec<(String, Vec<String>)>,
}

/// What a question gives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To [`Question::Totals`].
    Totals(Totals),
    /// To [`Question::Strip`].
    Strip(Strip),
    /// To [`Question::Board`].
    Board(Board),
    /// To [`Question::Traces`].
    Traces(TraceList),
    /// To [`Question::Spans`].
    Spans(SpanList),
    /// To [`Question::Quantiles`].
    Quantiles(Quantiles),
    /// To [`Question::Trace`]; `None` when nothing of it is stored.
    Trace(Option<Trace>),
    /// To [`Question::Breakers`].
    Breakers(Breakers),
    /// To [`Question::Policies`].
    Policies(Policies),
    /// To [`Question::Effective`], by edge and instance.
    Effective(Vec<InstanceEdge>),
    /// To [`Question::Document`]; `None` when there is no such revision.
    Document(Option<String>),
    /// To [`Question::Lint`].
    Lint(Lints),
    /// To [`Question::Changes`].
    Changes(Changes),
    /// To [`Question::Forecasts`].
    Forecasts(Forecasts),
    /// To [`Question::Incidents`].
    Incidents(Incidents),
    /// To [`Question::Logs`].
    Logs(LogList),
    /// To [`Question::Metrics`].
    Metrics(Metrics),
    /// To [`Question::Fleet`].
    Fleet(Fleet),
    /// To [`Question::Audit`].
    Audit(Audit),
    /// To [`Question::AuditChain`].
    AuditChain(AuditChain),
    /// To [`Question::Names`].
    Names(Names),
}

/// An answer, and the instant it holds for. Asking the same as of that instant gives the same answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// Only what had been stored by this instant counts.
    pub as_of: UnixNanos,
    /// The answer.
    pub answer: Answer,
}

/// Why there is no answer, or why a command was not accepted. Sent as the body of a reply with a 4xx or 5xx status.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// A stable word for programs: `bad_request`, `bad_query`, `not_found`, `conflict`, `read_only`,
    /// `unauthenticated` (401), `forbidden` (403), `slow_down` (429), `unavailable`, `internal`.
    pub code: String,
    /// What is wrong and what to do, for people.
    pub message: String,
    /// With `conflict`: the settings that two people changed at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<SettingConflict>,
}

impl Refusal {
    /// A refusal that says no more than its message.
    #[must_use]
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), conflicts: Vec::new() }
    }
}

/// A setting that somebody else changed since the revision from which a refused edit was made. Values are TOML; `None`
/// stands for a setting that is not there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SettingConflict {
    /// The rule: `orders:payments/Charge`.
    pub rule: String,
    /// The setting inside it: `timeout.attempt_ms`.
    pub path: String,
    /// What it was in the revision from which the edit was made.
    pub base: Option<String>,
    /// What it is now.
    pub theirs: Option<String>,
    /// What the refused edit wants.
    pub yours: Option<String>,
}
