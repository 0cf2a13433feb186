//! The policy document.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use fuseboard_api::TimeRange;
use fuseboard_api::ask::{Answer, Question};
use fuseboard_api::change::ChangeState;
use fuseboard_api::command::{Action, PolicyEdit};
use fuseboard_api::policy::{Policies, Revision};
use fuseboard_policy::document::differences;
use fuseboard_policy::overrides::Selector;
use serde::Serialize;

use super::super::exit::Failure;
use super::client::Client;
use super::data::{mismatch, word};
use super::lint;
use super::print::{instant, json, line, table};
use super::rollout::{self, DeliveryArgs};
use super::steer::Target;
use super::{Session, fleet, plan, watch};

/// For questions about the policy alone, the calls do not matter.
const SHORT: Duration = Duration::from_secs(60);

#[derive(Subcommand)]
pub(super) enum PolicyVerb {
    /// Print the document in force, or that of a revision.
    Get {
        /// The revision; default: the one in force.
        #[arg(long)]
        revision: Option<u64>,
    },
    /// Publish a document as the next revision.
    Set {
        /// The TOML file; `-` reads standard input.
        file: PathBuf,
        /// The revision that the file was made from; refused when another has come since. Default: the one in force.
        #[arg(long)]
        base: Option<u64>,
        /// Why.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        delivery: DeliveryArgs,
    },
    /// Keep a revision that was published with --confirm-within: else everyone goes back by itself.
    Confirm {
        /// The revision.
        revision: u64,
        /// Why; goes into the audit.
        #[arg(long, default_value = "it works as meant")]
        reason: String,
    },
    /// Change single settings of one rule; others may change other settings meanwhile.
    #[command(
        after_help = "Example: orders waits longer for payments, everything else stays\n  fuseboard ctl policy edit orders:payments timeout.attempt_ms=800 timeout.overall_ms= --reason \"bank is slow\"\nAn empty value takes the setting out. Ends with 6 when somebody else changed the same setting since --base."
    )]
    Edit {
        /// The rule: SERVICE, SERVICE/OPERATION, CALLER:SERVICE/OPERATION, or `*`.
        #[arg(value_name = "RULE", value_parser = super::steer::target)]
        rule: super::steer::Target,
        /// PATH=VALUE; the value in TOML.
        #[arg(required = true, value_name = "PATH=VALUE", value_parser = setting)]
        settings: Vec<(String, Option<String>)>,
        /// The revision that you saw. Default: the one in force.
        #[arg(long)]
        base: Option<u64>,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// What a document would change, and for whom; ends with 5 when settings would change.
    Plan(plan::PlanArgs),
    /// Put a plan or a document into force and wait until every instance runs it.
    Apply(plan::ApplyArgs),
    /// Follow revisions, rollouts, overrides, acknowledgements and refusals as they happen.
    Watch(watch::WatchArgs),
    /// What is in force on edges, instance by instance, and where each setting comes from.
    #[command(after_help = fleet::EFFECTIVE_HELP)]
    Effective(fleet::EffectiveArgs),
    /// The settings in which two revisions differ.
    Diff {
        /// The older one.
        from: u64,
        /// The newer one; default: the one in force.
        to: Option<u64>,
        /// Line by line instead of setting by setting.
        #[arg(long)]
        text: bool,
    },
    /// Hold the policy against the calls that were observed: what can never act, cuts good calls, or makes an outage worse.
    #[command(after_help = lint::HELP)]
    Lint(lint::LintArgs),
    /// All revisions, newest first.
    History,
    /// Publish an earlier revision's content as a new revision.
    Rollback {
        /// The revision to restore.
        to: u64,
        /// Why.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        delivery: DeliveryArgs,
    },
}

pub(super) fn run(session: &Session, verb: &PolicyVerb) -> Result<()> {
    match verb {
        PolicyVerb::Get { revision } => get(session, *revision),
        PolicyVerb::Set { file, base, reason, delivery } => set(session, file, *base, reason, delivery),
        PolicyVerb::Confirm { revision, reason } => rollout::confirm(session, *revision, reason),
        PolicyVerb::Edit { rule, settings, base, reason } => edit(session, rule, settings, *base, reason),
        PolicyVerb::Plan(args) => plan::plan(session, args),
        PolicyVerb::Apply(args) => plan::apply(session, args),
        PolicyVerb::Watch(args) => watch::watch(session, args),
        PolicyVerb::Effective(args) => fleet::effective(session, args),
        PolicyVerb::Diff { from, to, text } => diff(session, *from, *to, *text),
        PolicyVerb::Lint(args) => lint::run(session, args),
        PolicyVerb::History => history(session),
        PolicyVerb::Rollback { to, reason, delivery } => {
            let action = Action::Rollback { to: *to, delivery: delivery.delivery() };
            publish(session, reason, action, delivery.wait)
        }
    }
}

/// What is in force, and how the edges fared of late.
pub(super) fn in_force(session: &Session, last: Duration) -> Result<Policies> {
    let range = TimeRange::ending(Client::now(), last);
    let Answer::Policies(policies) = session.client.ask(Question::Policies { range })? else { return Err(mismatch()) };
    Ok(policies)
}

/// The document of a revision.
pub(super) fn document(session: &Session, revision: u64) -> Result<String> {
    let Answer::Document(found) = session.client.ask(Question::Document(revision))? else { return Err(mismatch()) };
    found.ok_or_else(|| {
        Failure::NotMet(format!("there is no revision {revision}; `ctl policy history` lists them")).into()
    })
}

fn get(session: &Session, revision: Option<u64>) -> Result<()> {
    if session.json && revision.is_none() {
        return json(&in_force(session, SHORT)?);
    }
    let text = match revision {
        Some(revision) => document(session, revision)?,
        None => in_force(session, SHORT)?.document,
    };
    if session.json {
        return json(&text);
    }
    // To the byte as it is stored, so that a file made of it has no difference.
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}

/// `timeout.attempt_ms=800`; nothing after the sign takes the setting out.
fn setting(text: &str) -> Result<(String, Option<String>), String> {
    let (path, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not PATH=VALUE"))?;
    Ok((path.trim().to_owned(), Some(value.trim().to_owned()).filter(|v| !v.is_empty())))
}

fn edit(
    session: &Session,
    rule: &Target,
    settings: &[(String, Option<String>)],
    base: Option<u64>,
    reason: &str,
) -> Result<()> {
    let base = base.map_or_else(|| Ok(in_force(session, SHORT)?.revision.number), anyhow::Ok)?;
    let Selector { caller, service, operation, .. } = rule.selector.clone();
    let edits = settings.iter().map(|(path, value)| PolicyEdit {
        caller: caller.clone(),
        service: service.clone().unwrap_or_else(|| "*".to_owned()),
        operation: operation.clone(),
        path: path.clone(),
        value: value.clone(),
    });
    publish(session, reason, Action::edit_policy(base, edits.collect()), false)
}

/// The text of a file, or of standard input for `-`.
pub(super) fn read(file: &Path) -> Result<String> {
    if file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))
}

fn set(session: &Session, file: &Path, base: Option<u64>, reason: &str, delivery: &DeliveryArgs) -> Result<()> {
    let text = read(file)?;
    if text.trim().is_empty() {
        let why = "it is empty, which would take every setting away; write a comment into it if that is meant";
        bail!("{}: {why}", if file.as_os_str() == "-" { "standard input".into() } else { file.display().to_string() });
    }
    let base = match base {
        Some(base) => base,
        None => in_force(session, SHORT)?.revision.number,
    };
    let action = Action::SetPolicy { base, document: text, delivery: delivery.delivery() };
    publish(session, reason, action, delivery.wait)
}

/// Publishes a change of policy and says what came of it; with `wait`, when it has reached everyone or was taken back.
pub(super) fn publish(session: &Session, reason: &str, action: Action, wait: bool) -> Result<()> {
    let receipt = session.client.command(&session.actor, reason, action)?;
    let revision = receipt.revision.unwrap_or_default();
    if wait {
        eprintln!("r{revision} published to {} instances. {}", receipt.targeted, receipt.note);
        return rollout::follow(session, revision);
    }
    if session.json {
        return json(&receipt);
    }
    line(format!("r{revision} published to {} instances. {}", receipt.targeted, receipt.note).trim_end())
}

fn diff(session: &Session, from: u64, to: Option<u64>, text: bool) -> Result<()> {
    let old = document(session, from)?;
    let new = match to {
        Some(to) => document(session, to)?,
        None => in_force(session, SHORT)?.document,
    };
    if !text {
        let settings = differences(&old, &new).map_err(anyhow::Error::msg)?;
        let settings: Vec<plan::Setting> = settings.into_iter().map(Into::into).collect();
        return if session.json { json(&settings) } else { plan::say_settings(&settings) };
    }
    let lines = lines_that_differ(&old, &new);
    if session.json {
        return json(&lines);
    }
    lines.iter().try_for_each(|(sign, text)| line(&format!("{sign} {text}")))
}

/// Lines removed (`-`) and added (`+`), in order: the complement of a longest common subsequence.
fn lines_that_differ(old: &str, new: &str) -> Vec<(char, String)> {
    let (a, b): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    // longest[i][j]: the longest common subsequence of a[i..] and b[j..]
    let mut longest = vec![vec![0_u32; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            longest[i][j] =
                if a[i] == b[j] { longest[i + 1][j + 1] + 1 } else { longest[i + 1][j].max(longest[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            (i, j) = (i + 1, j + 1);
        } else if j >= b.len() || (i < a.len() && longest[i + 1][j] >= longest[i][j + 1]) {
            out.push(('-', a[i].to_owned()));
            i += 1;
        } else {
            out.push(('+', b[j].to_owned()));
            j += 1;
        }
    }
    out
}

/// A revision in the history.
#[derive(Serialize)]
struct Past {
    #[serde(flatten)]
    revision: Revision,
    /// What changed, in words; empty for revisions that are no longer followed.
    summary: String,
    state: Option<ChangeState>,
    applied: u32,
    targeted: u32,
}

fn history(session: &Session) -> Result<()> {
    let range = TimeRange::ending(Client::now(), SHORT);
    let Answer::Changes(changes) = session.client.ask(Question::Changes { range })? else { return Err(mismatch()) };
    let mut told: BTreeMap<u64, _> = changes.revisions.into_iter().map(|c| (c.id, c)).collect();
    let past = in_force(session, SHORT)?.history.into_iter().map(|revision| {
        let change = told.remove(&revision.number);
        let state = change.as_ref().map(|c| c.state);
        let change = change.unwrap_or_default();
        Past { revision, summary: change.summary, state, applied: change.applied, targeted: change.targeted }
    });
    let past: Vec<Past> = past.collect();
    if session.json {
        return json(&past);
    }
    let rows: Vec<_> = past
        .iter()
        .map(|p| {
            [
                format!("r{}", p.revision.number),
                instant(p.revision.at),
                p.revision.actor.clone(),
                p.revision.reason.clone(),
                p.summary.clone(),
                p.state.map(|s| word(&s)).unwrap_or_default(),
                format!("{}/{}", p.applied, p.targeted),
            ]
        })
        .collect();
    table(["REVISION", "AT", "ACTOR", "REASON", "CHANGE", "STATE", "APPLIED"], &rows, "No policy has been set yet.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_names_only_what_changed() {
        let diff = lines_that_differ("a\nb\nc\n", "a\nx\nc\nd\n");
        assert_eq!(diff, vec![('-', "b".to_owned()), ('+', "x".to_owned()), ('+', "d".to_owned())]);
        assert!(lines_that_differ("same\n", "same\n").is_empty());
    }
}
