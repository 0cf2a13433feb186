//! The policy document.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use fuseboard_api::TimeRange;
use fuseboard_api::ask::{Answer, Question};
use fuseboard_api::command::Action;
use fuseboard_api::policy::Policies;

use super::super::exit::Failure;
use super::Session;
use super::client::Client;
use super::data::mismatch;
use super::lint;
use super::print::{instant, json, line, table};
use super::rollout::{self, DeliveryArgs};

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
    /// What differs between two revisions.
    Diff {
        /// The older one.
        from: u64,
        /// The newer one; default: the one in force.
        to: Option<u64>,
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
        PolicyVerb::Diff { from, to } => diff(session, *from, *to),
        PolicyVerb::Lint(args) => lint::run(session, args),
        PolicyVerb::History => history(session),
        PolicyVerb::Rollback { to, reason, delivery } => {
            let action = Action::Rollback { to: *to, delivery: delivery.delivery() };
            publish(session, reason, action, delivery.wait)
        }
    }
}

fn in_force(session: &Session) -> Result<Policies> {
    let range = TimeRange::ending(Client::now(), std::time::Duration::from_secs(60));
    let Answer::Policies(policies) = session.client.ask(Question::Policies { range })? else { return Err(mismatch()) };
    Ok(policies)
}

fn document(session: &Session, revision: u64) -> Result<String> {
    let Answer::Document(found) = session.client.ask(Question::Document(revision))? else { return Err(mismatch()) };
    found.ok_or_else(|| {
        Failure::NotMet(format!("there is no revision {revision}; `ctl policy history` lists them")).into()
    })
}

fn get(session: &Session, revision: Option<u64>) -> Result<()> {
    if session.json && revision.is_none() {
        return json(&in_force(session)?);
    }
    let text = match revision {
        Some(revision) => document(session, revision)?,
        None => in_force(session)?.document,
    };
    if session.json { json(&text) } else { line(text.trim_end()) }
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
        None => in_force(session)?.revision.number,
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

fn diff(session: &Session, from: u64, to: Option<u64>) -> Result<()> {
    let old = document(session, from)?;
    let new = match to {
        Some(to) => document(session, to)?,
        None => in_force(session)?.document,
    };
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

fn history(session: &Session) -> Result<()> {
    let history = in_force(session)?.history;
    if session.json {
        return json(&history);
    }
    let rows: Vec<_> = history
        .iter()
        .map(|r| {
            let restores = r.restores.map(|n| format!("restores r{n}")).unwrap_or_default();
            [format!("r{}", r.number), instant(r.at), r.actor.clone(), r.reason.clone(), restores]
        })
        .collect();
    table(["REVISION", "AT", "ACTOR", "REASON", ""], &rows, "No policy has been set yet.")
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
