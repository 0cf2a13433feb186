//! The policy held against the calls that were observed.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use fuseboard_api::TimeRange;
use fuseboard_api::ask::{Answer, Question};
use fuseboard_api::command::{Action, PolicyEdit};
use fuseboard_api::lint::{LintFinding, LintSeverity, Lints};

use super::super::{exit::Failure, span};
use super::Session;
use super::client::Client;
use super::data::mismatch;
use super::print::{json, line};

pub(super) const HELP: &str = "\
Example: look, and publish what is proposed for one finding
  fuseboard ctl policy lint --last 6h
  fuseboard ctl policy lint --fix 3f9a01c2 --reason \"the p99 is 900 ms\"
  fuseboard ctl policy lint --file policy.toml --json      before it is published
Ends with 0 when nothing worse than a note is found, else with 4.";

/// Arguments of `policy lint`.
#[derive(Args)]
pub(super) struct LintArgs {
    /// A TOML file that need not be published, `-` for standard input; default: the document in force.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Look at the calls of the last …
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = span::lasting)]
    last: Duration,
    /// Publish what is proposed for the finding of this id.
    #[arg(long, value_name = "ID", requires = "reason", conflicts_with = "file")]
    fix: Option<String>,
    /// Why; goes into the audit.
    #[arg(long)]
    reason: Option<String>,
}

/// Lints the document in force, or one that need not be published, against the calls of the last …
pub(super) fn ask(session: &Session, document: Option<String>, last: Duration) -> Result<Lints> {
    let range = TimeRange::ending(Client::now(), last);
    match session.client.ask(Question::Lint { range, document })? {
        Answer::Lint(lints) => Ok(lints),
        _ => Err(mismatch()),
    }
}

/// Prints findings as text, worst first.
pub(super) fn print(lints: &Lints) -> Result<()> {
    for finding in &lints.findings {
        line(&format!("{:<5}  {}  {}", finding.severity.as_str(), finding.id, finding.rule))?;
        line(&format!("  {}", finding.text))?;
        line(&format!("  do: {}", finding.advice))?;
        finding.fix.iter().try_for_each(|edit| line(&format!("  fix: {}", words(edit))))?;
    }
    for gap in &lints.gaps {
        line(&format!("not checked  {}: {}", gap.rules.join(", "), gap.text))?;
    }
    let count = |severity| lints.findings.iter().filter(|f| f.severity == severity).count();
    let what = if lints.draft { "this document".to_owned() } else { format!("r{}", lints.revision) };
    let more = if lints.more > 0 { format!(", {} more not shown", lints.more) } else { String::new() };
    line(&format!(
        "{what} against {} calls on {} edges and {} traces: {} errors, {} warnings, {} notes{more}",
        lints.calls,
        lints.edges,
        lints.traces,
        count(LintSeverity::Error),
        count(LintSeverity::Warn),
        count(LintSeverity::Note)
    ))
}

fn words(edit: &PolicyEdit) -> String {
    let caller = edit.caller.as_ref().map(|c| format!("{c}:")).unwrap_or_default();
    let operation = edit.operation.as_ref().map(|o| format!("/{o}")).unwrap_or_default();
    let rule = format!("{caller}{}{operation}", edit.service);
    match &edit.value {
        Some(value) => format!("{rule} {} = {value}", edit.path),
        None => format!("{rule} without {}", edit.path),
    }
}

pub(super) fn run(session: &Session, args: &LintArgs) -> Result<()> {
    let document = args.file.as_deref().map(super::policy::read).transpose()?;
    let lints = ask(session, document, args.last)?;
    if let (Some(id), Some(reason)) = (&args.fix, &args.reason) {
        let finding = chosen(&lints, id)?;
        let action = Action::edit_policy(lints.revision, finding.fix.clone());
        return super::policy::publish(session, reason, action, false);
    }
    if session.json {
        json(&lints)?;
    } else {
        print(&lints)?;
    }
    let stopping = lints.findings.iter().filter(|f| f.severity >= LintSeverity::Warn).count();
    if lints.stops() {
        return Err(Failure::NotMet(format!("{stopping} findings are warnings or errors")).into());
    }
    Ok(())
}

fn chosen<'a>(lints: &'a Lints, id: &str) -> Result<&'a LintFinding> {
    let found = lints.findings.iter().find(|f| f.id == id);
    let found =
        found.ok_or_else(|| Failure::NotMet(format!("there is no finding {id} now; look at the list again")))?;
    if found.fix.is_empty() {
        let why = format!("{id} ({}) has no edit to publish; {}", found.rule, found.advice);
        return Err(Failure::NotMet(why).into());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_found_and_has_an_edit_is_published() {
        let edit = PolicyEdit {
            caller: Some("orders".into()),
            service: "payments".into(),
            operation: Some("Pay/Charge".into()),
            path: "timeout.attempt_ms".into(),
            value: Some("900".into()),
        };
        assert_eq!(words(&edit), "orders:payments/Pay/Charge timeout.attempt_ms = 900");
        assert_eq!(
            words(&PolicyEdit { value: None, caller: None, ..edit.clone() }),
            "payments/Pay/Charge without timeout.attempt_ms"
        );
        let finding = |id: &str, fix| LintFinding { id: id.into(), fix, ..LintFinding::default() };
        let lints = Lints { findings: vec![finding("aa", vec![edit]), finding("bb", Vec::new())], ..Lints::default() };
        assert_eq!(chosen(&lints, "aa").map(|f| f.fix.len()).ok(), Some(1));
        assert!(chosen(&lints, "bb").unwrap_err().to_string().contains("no edit"));
        assert!(chosen(&lints, "cc").unwrap_err().to_string().contains("no finding"));
    }
}
