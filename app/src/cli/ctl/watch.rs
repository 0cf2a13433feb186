//! What happens to policies and overrides, as it happens: the audit's lines as they are written.

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Args, ValueEnum};
use fuseboard_api::change::ChangeState;
use fuseboard_api::fleet::{AuditEntry, AuditQuery};

use super::super::exit::Failure;
use super::super::span;
use super::Session;
use super::audit::ask;
use super::plan::change_of;
use super::print::{instant, json_line, line};

/// How often new lines are looked for.
const PAUSE: Duration = Duration::from_millis(150);

/// What `policy watch` takes.
#[derive(Args)]
pub(super) struct WatchArgs {
    /// End when the revision has come so far; ends with 4 when it cannot any more.
    #[arg(long, value_enum, requires = "revision")]
    until: Option<Until>,
    /// The revision that `--until` is about.
    #[arg(long, value_name = "REVISION")]
    revision: Option<u64>,
    /// End after so long; with `--until` that counts as not reached.
    #[arg(long = "for", value_name = "TIME", value_parser = span::lasting)]
    length: Option<Duration>,
    /// Begin with lines after this number instead of with what comes from now on; 0 for all.
    #[arg(long, value_name = "N")]
    after: Option<u64>,
}

/// How far a revision must have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Until {
    /// Every instance that it is meant for runs it.
    Applied,
    /// Nothing more will happen to it: applied, refused, taken back or replaced.
    Done,
}

pub(super) fn watch(session: &Session, args: &WatchArgs) -> Result<()> {
    let end = args.length.map(|length| Instant::now() + length);
    let mut after = match args.after {
        Some(after) => after,
        None => ask(session, AuditQuery { limit: Some(1), ..AuditQuery::default() })?.length,
    };
    loop {
        // First how it stands, then the lines: what led there is told before the end.
        let reached = args.until.zip(args.revision).map(|(until, n)| reached(session, until, n)).transpose()?.flatten();
        let audit = ask(session, AuditQuery { after: Some(after), ..AuditQuery::default() })?;
        for entry in &audit.entries {
            after = entry.sequence;
            // Incidents change nothing that runs.
            if !entry.action.starts_with("incident.") {
                tell(session, entry)?;
            }
        }
        if audit.more {
            continue;
        }
        if let Some(state) = reached {
            return state;
        }
        if end.is_some_and(|end| Instant::now() >= end) {
            return match args.until.zip(args.revision) {
                None => Ok(()),
                Some((_, n)) => Err(Failure::NotMet(format!("r{n} has not come so far in time")).into()),
            };
        }
        session.client.pause(PAUSE);
    }
}

/// Whether there is nothing left to wait for, and how it went.
fn reached(session: &Session, until: Until, revision: u64) -> Result<Option<Result<()>>> {
    let change = change_of(session, revision)?;
    let failed = |why: &str| {
        let why = format!("r{revision}: {why}; {}/{} applied", change.applied, change.targeted);
        Some(if until == Until::Done { Ok(()) } else { Err(Failure::NotMet(why).into()) })
    };
    Ok(match change.state {
        ChangeState::Requested | ChangeState::Rolling => None,
        ChangeState::Applied => Some(Ok(())),
        ChangeState::Refused => failed("an instance refused it"),
        ChangeState::Reverted => failed("it was taken back"),
        ChangeState::Ended | ChangeState::Expired => failed("another revision took its place"),
    })
}

fn tell(session: &Session, entry: &AuditEntry) -> Result<()> {
    if session.json {
        return json_line(entry);
    }
    let reason = if entry.reason.is_empty() { String::new() } else { format!(": {}", entry.reason) };
    let detail = entry.detail.lines().collect::<Vec<_>>().join(", ");
    let detail = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
    line(&format!("{} {} {} {}{reason}{detail}", instant(entry.at), entry.actor, entry.action, entry.target))
}
