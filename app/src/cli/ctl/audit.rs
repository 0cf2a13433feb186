//! The audit: looking, verifying, exporting.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use fuseboard_api::TimeRange;
use fuseboard_api::ask::{Answer, Question};
use fuseboard_api::fleet::{Audit, AuditChain, AuditQuery};
use fuseboard_collector::audit::{Line, verify_file};

use super::super::exit::Failure;
use super::super::span;
use super::Session;
use super::client::Client;
use super::data::mismatch;
use super::print::{instant, json, line, table};

pub(super) const HELP: &str = "\
Examples: what did ann change today; keep the head elsewhere; is all of it still there?
  fuseboard ctl audit --by ann --action policy. --last 24h
  fuseboard ctl audit verify --json | jq -r .last_hash > /elsewhere/head
  fuseboard ctl audit verify --expect-head $(cat /elsewhere/head)
  fuseboard ctl audit export -o audit.jsonl --redact reason,detail
  fuseboard ctl audit verify --file audit.jsonl

A chain that holds says that no entry was changed, removed or inserted unless everything after it was written anew. Who can
write the data file can do that, or cut off the end. Only a head that was kept elsewhere shows it.";

/// What `audit` takes.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct AuditArgs {
    #[command(subcommand)]
    verb: Option<AuditVerb>,
    #[command(flatten)]
    filter: Filter,
}

#[derive(Subcommand)]
enum AuditVerb {
    /// Follow the whole chain; ends with 4 when it breaks or the expected head is not in it.
    Verify {
        /// A data file, an incident file or exported lines, instead of asking a collector.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// The hash of an entry that was kept elsewhere: it must still be in the chain.
        #[arg(long, value_name = "HASH", value_parser = hash)]
        expect_head: Option<String>,
    },
    /// Write every entry as a line of JSON, oldest first, with the hashes that verify it.
    Export {
        /// The file; default: standard output.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Leave these out; the lines still verify.
        #[arg(long, value_enum, value_delimiter = ',', value_name = "FIELDS")]
        redact: Vec<Field>,
    },
}

/// The fields that can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Field {
    Actor,
    Action,
    Target,
    Reason,
    Detail,
}

/// Which entries are listed.
#[derive(Args)]
struct Filter {
    /// Only entries that contain this text.
    #[arg(long)]
    text: Option<String>,
    /// Only by actors whose name contains this.
    #[arg(long)]
    by: Option<String>,
    /// Only actions that begin with this: policy., override.set, agent.refused.
    #[arg(long)]
    action: Option<String>,
    /// Only on targets that contain this: "revision 12".
    #[arg(long)]
    target: Option<String>,
    /// Only of the last …
    #[arg(long, value_name = "TIME", value_parser = span::lasting)]
    last: Option<Duration>,
    /// Only entries before this number, for the next page.
    #[arg(long, value_name = "N")]
    before: Option<u64>,
    /// So many at most.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
}

fn hash(text: &str) -> Result<String, String> {
    if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(text.to_ascii_lowercase());
    }
    Err("a head has 64 hexadecimal digits; `fuseboard ctl audit verify` prints it".to_owned())
}

pub(super) fn run(session: &Session, args: &AuditArgs) -> Result<()> {
    match &args.verb {
        None => list(session, &args.filter),
        Some(AuditVerb::Verify { file, expect_head }) => verify(session, file.as_ref(), expect_head.as_deref()),
        Some(AuditVerb::Export { output, redact }) => export(session, output.as_ref(), redact),
    }
}

/// Entries that fit, as the collector has them.
pub(super) fn ask(session: &Session, query: AuditQuery) -> Result<Audit> {
    let Answer::Audit(audit) = session.client.ask(Question::Audit(query))? else { return Err(mismatch()) };
    Ok(audit)
}

fn list(session: &Session, filter: &Filter) -> Result<()> {
    let audit = ask(
        session,
        AuditQuery {
            text: filter.text.clone(),
            actor: filter.by.clone(),
            action: filter.action.clone(),
            target: filter.target.clone(),
            range: filter.last.map(|last| TimeRange::ending(Client::now() + Duration::from_secs(1), last)),
            before: filter.before,
            limit: Some(filter.limit),
            ..AuditQuery::default()
        },
    )?;
    if session.json {
        json(&audit)?;
    } else {
        let cells = |e: &fuseboard_api::fleet::AuditEntry| {
            [
                e.sequence.to_string(),
                instant(e.at),
                e.actor.clone(),
                e.action.clone(),
                e.target.clone(),
                e.reason.clone(),
                e.detail.lines().next().unwrap_or_default().to_owned(),
            ]
        };
        let rows: Vec<_> = audit.entries.iter().map(cells).collect();
        table(["#", "AT", "ACTOR", "ACTION", "TARGET", "REASON", "DETAIL"], &rows, "No entry.")?;
        if let (true, Some(last)) = (audit.more, audit.entries.last()) {
            eprintln!("{} entries in all; for older ones: --before {}", audit.length, last.sequence);
        }
    }
    audit.broken_at.map_or(Ok(()), |n| Err(broken(n, "")))
}

fn broken(at: u64, how: &str) -> anyhow::Error {
    let how = if how.is_empty() { String::new() } else { format!(" ({how})") };
    Failure::NotMet(format!("the audit's chain breaks at entry {at}{how}: somebody changed the file")).into()
}

fn verify(session: &Session, file: Option<&PathBuf>, expect: Option<&str>) -> Result<()> {
    let chain = match file {
        Some(file) => verify_file(file, expect)?,
        None => {
            let question = Question::AuditChain { expect: expect.map(str::to_owned) };
            let Answer::AuditChain(chain) = session.client.ask(question)? else { return Err(mismatch()) };
            chain
        }
    };
    if session.json {
        json(&chain)?
    } else {
        say(&chain)?
    }
    match (chain.broken_at, expect, chain.expected_at) {
        (Some(at), ..) => Err(broken(at, &chain.broken_how)),
        (None, Some(head), None) => Err(Failure::NotMet(format!(
            "no entry has the hash {head}: the end was cut off, or the chain was written anew, or it is another audit"
        ))
        .into()),
        _ => Ok(()),
    }
}

fn say(chain: &AuditChain) -> Result<()> {
    if chain.length == 0 {
        return line("the audit has no entry");
    }
    line(&format!("{} entries, {:.1} KiB", chain.length, chain.bytes as f64 / 1024.0))?;
    line(&format!("first  {}  {}", instant(chain.first_at), chain.first_hash))?;
    line(&format!("last   {}  {}", instant(chain.last_at), chain.last_hash))?;
    if chain.redacted > 0 {
        line(&format!("{} fields were taken out; their hashes are in the chain", chain.redacted))?;
    }
    if let Some(at) = chain.expected_at {
        line(&format!("the expected head is entry {at}"))?;
    }
    if chain.holds() { line("the chain holds") } else { Ok(()) }
}

fn export(session: &Session, output: Option<&PathBuf>, redact: &[Field]) -> Result<()> {
    let mut out: Box<dyn Write> = match output {
        None => Box::new(std::io::stdout().lock()),
        Some(path) => {
            let file = std::fs::File::create_new(path);
            Box::new(std::io::BufWriter::new(file.with_context(|| format!("writing {}", path.display()))?))
        }
    };
    let (mut after, mut written) = (0, 0_u64);
    loop {
        let audit = ask(session, AuditQuery { after: Some(after), hashes: true, ..AuditQuery::default() })?;
        for entry in audit.entries {
            after = entry.sequence;
            written += 1;
            serde_json::to_writer(&mut out, &redacted(entry.into(), redact))?;
            out.write_all(b"\n")?;
        }
        if !audit.more {
            break;
        }
    }
    out.flush()?;
    if let Some(path) = output {
        eprintln!("{written} entries written to {}", path.display());
    }
    Ok(())
}

fn redacted(mut entry: Line, fields: &[Field]) -> Line {
    for field in fields {
        *match field {
            Field::Actor => &mut entry.actor,
            Field::Action => &mut entry.action,
            Field::Target => &mut entry.target,
            Field::Reason => &mut entry.reason,
            Field::Detail => &mut entry.detail,
        } = None;
    }
    entry
}
