//! Incidents.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Subcommand;
use fuseboard_api::ask::{Answer, Question};
use fuseboard_api::command::Action;
use fuseboard_api::incident::Incidents;

use super::super::span;
use super::Session;
use super::client::Client;
use super::data::mismatch;
use super::print::{instant, json, line, table};

#[derive(Subcommand)]
pub(super) enum IncidentVerb {
    /// Start to record; what happened shortly before is kept anyway.
    Record {
        /// Its name.
        name: String,
        /// Begin so long ago.
        #[arg(long, value_name = "TIME", default_value = "0s", value_parser = span::any)]
        since: Duration,
        /// Stop after so long; without it the recording goes on until `stop`.
        #[arg(long = "for", value_name = "TIME", value_parser = span::lasting)]
        length: Option<Duration>,
    },
    /// End a recording now.
    Stop {
        /// Its id.
        id: u64,
    },
    /// Recorded incidents and candidates.
    List,
    /// Write an incident into one file that opens anywhere.
    Export {
        /// Its id.
        id: u64,
        /// The file; must not exist yet.
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
}

pub(super) fn run(session: &Session, verb: &IncidentVerb) -> Result<()> {
    match verb {
        IncidentVerb::Record { name, since, length } => record(session, name, *since, *length),
        IncidentVerb::Stop { id } => stop(session, *id),
        IncidentVerb::List => list(session),
        IncidentVerb::Export { id, output } => {
            let bytes = session.client.download(&format!("/v1/incidents/{id}/file"), output)?;
            if session.json {
                json(&serde_json::json!({ "file": output, "bytes": bytes }))
            } else {
                line(&format!(
                    "{} ({:.1} MiB); open it with `fuseboard open {0}`",
                    output.display(),
                    bytes as f64 / f64::from(1 << 20)
                ))
            }
        }
    }
}

fn record(session: &Session, name: &str, since: Duration, length: Option<Duration>) -> Result<()> {
    let action = Action::StartIncident { name: name.to_owned(), from: Client::now() - since };
    let receipt = session.client.command(&session.actor, "recorded by hand", action)?;
    let Some(id) = receipt.incident else { return Err(mismatch()) };
    if let Some(length) = length {
        session.client.pause(length);
        return stop(session, id);
    }
    if session.json {
        json(&receipt)
    } else {
        line(&format!("recording incident {id}; `fuseboard ctl incident stop {id}` ends it"))
    }
}

fn stop(session: &Session, id: u64) -> Result<()> {
    let receipt = session.client.command(&session.actor, "ended by hand", Action::StopIncident { id, to: None })?;
    if session.json {
        json(&receipt)
    } else {
        line(&format!(
            "incident {id} is complete; `fuseboard ctl incident export {id} -o FILE` writes it into one file"
        ))
    }
}

fn list(session: &Session) -> Result<()> {
    let Answer::Incidents(all) = session.client.ask(Question::Incidents)? else { return Err(mismatch()) };
    if session.json {
        return json(&all);
    }
    let Incidents { incidents, candidates, .. } = all;
    let rows: Vec<_> = incidents
        .iter()
        .chain(&candidates)
        .map(|i| {
            [
                if i.id == 0 { "candidate".to_owned() } else { i.id.to_string() },
                i.name.clone(),
                instant(i.from),
                i.to.map_or_else(|| "recording".to_owned(), instant),
                i.calls.to_string(),
                i.errors.to_string(),
            ]
        })
        .collect();
    table(
        ["ID", "NAME", "FROM", "TO", "CALLS", "FAILED"],
        &rows,
        "Nothing is recorded; `fuseboard ctl incident record NAME` starts.",
    )
}
