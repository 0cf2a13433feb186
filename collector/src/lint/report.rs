//! Findings while rules collect them.

use fuseboard_api::command::PolicyEdit;
use fuseboard_api::graph::EdgeKey;
use fuseboard_api::lint::{LintFinding, LintGap, LintNumber, LintSeverity};

/// What the rules have found so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) findings: Vec<LintFinding>,
    pub(super) gaps: Vec<LintGap>,
}

impl Report {
    /// Takes a finding.
    pub(super) fn add(&mut self, draft: Draft) {
        self.findings.push(draft.0);
    }

    /// Says what could not be looked at.
    pub(super) fn lacks(&mut self, rules: &[&str], edge: Option<&EdgeKey>, text: impl Into<String>) {
        let rules = rules.iter().map(|r| (*r).to_owned()).collect();
        self.gaps.push(LintGap { rules, edge: edge.cloned(), text: text.into() });
    }
}

/// A finding while a rule writes it.
#[derive(Debug)]
pub(super) struct Draft(LintFinding);

/// A finding of a rule; `source` says where the rule and its threshold come from.
pub(super) fn found(rule: &str, severity: LintSeverity, source: &str) -> Draft {
    Draft(LintFinding { rule: rule.into(), severity, source: source.into(), ..LintFinding::default() })
}

impl Draft {
    /// The edge it is about, or the path.
    pub(super) fn on<'a>(mut self, path: impl IntoIterator<Item = &'a EdgeKey>) -> Self {
        self.0.path = path.into_iter().cloned().collect();
        self
    }

    /// The setting, and the rule of the document that gives it.
    pub(super) fn about(mut self, setting: &str, given_by: &str) -> Self {
        self.0.setting = setting.into();
        self.0.given_by = given_by.into();
        self
    }

    /// What is wrong.
    pub(super) fn says(mut self, text: impl Into<String>) -> Self {
        self.0.text = text.into();
        self
    }

    /// A number of the sentence.
    pub(super) fn number(mut self, name: &str, value: f64, unit: &str) -> Self {
        self.0.numbers.push(LintNumber { name: name.into(), value, unit: unit.into() });
        self
    }

    /// What to do.
    pub(super) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.0.advice = advice.into();
        self
    }

    /// The same as edits.
    pub(super) fn fix(mut self, edits: impl IntoIterator<Item = PolicyEdit>) -> Self {
        self.0.fix.extend(edits);
        self
    }
}
