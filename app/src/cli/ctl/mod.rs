//! `fuseboard ctl`: questions and commands for scripts. `--json` prints the collector's words as they are.

mod client;
mod data;
mod incident;
mod policy;
mod print;
mod steer;

use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use fuseboard_policy::settings::BreakerMode;

pub(super) use client::Client;

/// Arguments of `ctl`.
#[derive(Args)]
pub(super) struct CtlArgs {
    /// The collector's control address.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:4390", env = "FUSEBOARD_URL", global = true)]
    to: String,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    /// Who acts, for the audit; default: $USER.
    #[arg(long, global = true, value_name = "NAME")]
    actor: Option<String>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Counts of everything stored.
    Stats,
    /// Every edge with its rate, errors, latency, breaker and timeout.
    Edges {
        /// Over the last …
        #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
        last: Duration,
    },
    /// Traces, newest first.
    Traces(data::TracesArgs),
    /// One trace; with --json as OTLP/JSON, which any OpenTelemetry tool reads.
    Trace {
        /// Its id, 32 hexadecimal digits.
        id: fuseboard_api::TraceId,
    },
    /// Show a breaker, or flip it for a time.
    Breaker(BreakerArgs),
    /// The policy document and its history.
    #[command(subcommand)]
    Policy(policy::PolicyVerb),
    /// Overrides in force.
    #[command(subcommand)]
    Override(steer::OverrideVerb),
    /// Record and export incidents.
    #[command(subcommand)]
    Incident(incident::IncidentVerb),
    /// What is normal and what comes next.
    Forecast,
    /// Who did what, when and why.
    Audit {
        /// Only entries that contain this text.
        #[arg(long)]
        text: Option<String>,
    },
    /// Instances and what they run.
    Fleet,
}

#[derive(Args)]
struct BreakerArgs {
    /// SERVICE/OPERATION, or CALLER:SERVICE/OPERATION; SERVICE alone means all its operations.
    target: String,
    /// Flip it: without a mode the breaker is only shown.
    #[arg(long, value_enum, requires = "reason")]
    mode: Option<Mode>,
    /// How long; the override ends by itself, also when the collector is gone.
    #[arg(long = "for", value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration)]
    ttl: Duration,
    /// Why; goes into the audit.
    #[arg(long)]
    reason: Option<String>,
    /// How long to wait for every instance's acknowledgement.
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = humantime::parse_duration)]
    wait: Duration,
}

/// Breaker modes by their names in policies.
#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Mode {
    Auto,
    ForcedOpen,
    ForcedClosed,
    Shadow,
    Disabled,
}

impl From<Mode> for BreakerMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Auto => Self::Auto,
            Mode::ForcedOpen => Self::ForcedOpen,
            Mode::ForcedClosed => Self::ForcedClosed,
            Mode::Shadow => Self::Shadow,
            Mode::Disabled => Self::Disabled,
        }
    }
}

/// What every verb needs.
struct Session {
    client: Client,
    json: bool,
    actor: String,
}

/// Runs one verb.
pub(super) fn run(args: &CtlArgs) -> Result<()> {
    let session = Session {
        client: Client::new(&args.to)?,
        json: args.json,
        actor: args.actor.clone().or_else(|| std::env::var("USER").ok()).unwrap_or_else(|| "ctl".to_owned()),
    };
    match &args.verb {
        Verb::Stats => data::stats(&session),
        Verb::Edges { last } => data::edges(&session, *last),
        Verb::Traces(query) => data::traces(&session, query),
        Verb::Trace { id } => data::trace(&session, *id),
        Verb::Breaker(breaker) => steer::breaker(&session, breaker),
        Verb::Policy(verb) => policy::run(&session, verb),
        Verb::Override(verb) => steer::overrides(&session, verb),
        Verb::Incident(verb) => incident::run(&session, verb),
        Verb::Forecast => data::forecast(&session),
        Verb::Audit { text } => data::audit(&session, text.clone()),
        Verb::Fleet => data::fleet(&session),
    }
}
