//! What the linter finds in a policy when it is held against the calls that were observed.

use serde::{Deserialize, Serialize};

use crate::TimeRange;
use crate::command::PolicyEdit;
use crate::graph::EdgeKey;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LintSeverity {
    /// Worth knowing; nothing breaks because of it.
    #[default]
    Note,
    /// A setting does not do what it seems to, or makes an outage worse.
    Warn,
    /// Good calls fail because of it, or the document would be refused.
    Error,
}

impl LintSeverity {
    /// Its stable name: `note`, `warn`, `error`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// A number behind a finding.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LintNumber {
    /// What it is, in words: `p99 of attempts`.
    pub name: String,
    /// The number.
    pub value: f64,
    /// Its unit: `ms`, `/s`, `%`, `x`, `calls`; empty for a bare number.
    pub unit: String,
}

/// One thing that is wrong, or not as it seems.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LintFinding {
    /// Names it for as long as it is found: eight hexadecimal digits made of rule, edges and setting, not of numbers.
    pub id: String,
    /// A stable id: `timeout.cuts_good_calls`.
    pub rule: String,
    /// How much it matters.
    pub severity: LintSeverity,
    /// The edge it is about, or the edges of a path, outermost caller first. Empty for rules that match nothing.
    pub path: Vec<EdgeKey>,
    /// The rule of the document that gives the setting, as provenance names it (`payments/Charge`, `*`,
    /// `preset rpc-50`); empty where none does.
    pub given_by: String,
    /// The setting it is about (`timeout.attempt_ms`); empty where none is.
    pub setting: String,
    /// What is wrong, in one sentence with its numbers.
    pub text: String,
    /// The numbers of the sentence, for programs.
    pub numbers: Vec<LintNumber>,
    /// Where the rule and its threshold come from.
    pub source: String,
    /// What to do, in words.
    pub advice: String,
    /// The same as an edit from revision [`Lints::revision`]; empty where it takes a human's judgement.
    pub fix: Vec<PolicyEdit>,
}

/// A rule that could not be held against the calls, because there were too few of them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LintGap {
    /// The rules that were not looked at, by their ids.
    pub rules: Vec<String>,
    /// The edge; `None` for all edges.
    pub edge: Option<EdgeKey>,
    /// What is missing, in one sentence with its numbers.
    pub text: String,
}

/// The answer to [`crate::ask::Question::Lint`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Lints {
    /// Calls of this range were looked at.
    pub range: TimeRange,
    /// The revision in force: the base of every fix. For a document that was given, fixes are edits of that document.
    pub revision: u64,
    /// Whether a document that was given was looked at, rather than the one in force.
    pub draft: bool,
    /// Edges with calls in the range.
    pub edges: u32,
    /// Calls of those.
    pub calls: u64,
    /// Traces whose paths were followed.
    pub traces: u32,
    /// What was found, worst first; at most 200.
    pub findings: Vec<LintFinding>,
    /// How many more were found.
    pub more: u32,
    /// What could not be looked at; at most 100.
    pub gaps: Vec<LintGap>,
}

impl Lints {
    /// Whether anything was found that should stop a pipeline: a warning or an error.
    #[must_use]
    pub fn stops(&self) -> bool {
        self.findings.iter().any(|f| f.severity >= LintSeverity::Warn)
    }
}
