//! Holds a policy against the calls that were observed: what of it can never act, cuts good calls, or makes an outage worse.
//!
//! Everything comes from the pictures that the other questions give (policies, fleet, changes), the rollups, and a bounded
//! sample of traces for the paths. Each rule is a file of [`rules`]: it names its threshold and where that comes from, speaks
//! only with numbers, and says what data it lacks instead of guessing. One breaker, budget or limit belongs to *one instance*
//! of a caller: rates are divided by the instances before they are compared with settings.

mod facts;
mod paths;
mod report;
mod rules;
mod words;

use fuseboard_api::lint::{LintFinding, LintSeverity, Lints};
use fuseboard_api::{TimeRange, UnixNanos};
use fuseboard_policy::document::{PolicyDocument, Problem};
use fuseboard_policy::set::hash_all;

use self::facts::Facts;
use self::report::Report;
use crate::store::{Snapshot, StoreError};

/// Findings given at most.
const FINDINGS: usize = 200;
/// Gaps given at most.
const GAPS: usize = 100;

/// Lints the policy in force, or a document that need not be published.
///
/// # Errors
/// What the store says. A document that would be refused is no error here: each of its problems is a finding.
pub(crate) fn lint(
    read: &Snapshot<'_>,
    range: TimeRange,
    document: Option<&str>,
    as_of: UnixNanos,
) -> Result<Lints, StoreError> {
    let facts = match Facts::gather(read, range, document, as_of)? {
        Ok(facts) => facts,
        Err((base, problems)) => return Ok(refused(range, base, problems)),
    };
    let mut report = Report::default();
    for rule in rules::ALL {
        rule(&facts, &mut report);
    }
    let (mut findings, mut gaps) = (report.findings, report.gaps);
    gaps.truncate(GAPS);
    let more = order(&mut findings);
    for finding in &mut findings {
        finding.fix = facts.fit(std::mem::take(&mut finding.fix));
    }
    Ok(Lints {
        range,
        revision: facts.revision,
        draft: document.is_some(),
        edges: u32::try_from(facts.edges.len()).unwrap_or(u32::MAX),
        calls: facts.edges.iter().map(|e| e.stats.calls).sum(),
        traces: facts.paths.traces,
        findings,
        more,
        gaps,
    })
}

/// A document that the collector would refuse: nothing else about it can be said.
fn refused(range: TimeRange, revision: u64, problems: Vec<Problem>) -> Lints {
    let finding = |problem: Problem| LintFinding {
        rule: "document.refused".into(),
        severity: LintSeverity::Error,
        text: problem.to_string(),
        source: "the collector's and the agents' own checks".into(),
        advice: "mend it; until then it cannot be published, and nothing else is checked".into(),
        ..LintFinding::default()
    };
    let mut findings = problems.into_iter().map(finding).collect();
    let more = order(&mut findings);
    Lints { range, revision, draft: true, findings, more, ..Lints::default() }
}

/// Sorts worst first, keeps as many as an answer holds, names them; how many were left out.
fn order(findings: &mut Vec<LintFinding>) -> u32 {
    findings.sort_by(|a, b| {
        b.severity.cmp(&a.severity).then_with(|| (&a.rule, &a.path, &a.given_by).cmp(&(&b.rule, &b.path, &b.given_by)))
    });
    let more = findings.len().saturating_sub(FINDINGS);
    findings.truncate(FINDINGS);
    for finding in findings {
        finding.id = id(finding);
    }
    u32::try_from(more).unwrap_or(u32::MAX)
}

/// Eight digits that stay the same while the finding does.
fn id(finding: &LintFinding) -> String {
    let path = finding.path.iter().map(ToString::to_string);
    // Problems of a document have nothing but their words.
    let words = finding.path.is_empty().then(|| finding.text.clone()).filter(|_| finding.given_by.is_empty());
    let parts = [finding.rule.clone(), finding.setting.clone(), finding.given_by.clone()];
    let hash = hash_all(parts.into_iter().chain(path).chain(words));
    hash.iter().take(4).map(|b| format!("{b:02x}")).collect()
}

/// A document that is checked before it is linted.
type Checked = Result<PolicyDocument, Vec<Problem>>;
