//! `fuseboard ctl`: questions and commands for scripts. `--json` prints the collector's words as they are.

mod audit;
mod client;
mod data;
mod fleet;
mod incident;
mod lint;
mod overrides;
mod plan;
mod policy;
mod print;
mod quantiles;
mod rollout;
mod spans;
mod steer;
#[cfg(test)]
mod tests;
mod token;
mod watch;

use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use fuseboard_collector::tokens::TokenVerb;
use fuseboard_policy::settings::BreakerMode;

use super::span;
pub(super) use client::Client;
pub(super) use data::{mismatch, totals};
pub(super) use fuseboard::wire::{Access, DEFAULT_URL, address};
pub(super) use print::{json, line};

const BREAKER_HELP: &str = "\
Examples:
  fuseboard ctl breaker payments                                   every breaker in front of payments
  fuseboard ctl breaker orders:payments/shop.v1.Payments/Charge \\
      --mode forced_open --for 30s --reason \"bank incident\"         refuse these calls of orders for half a minute
  fuseboard ctl override end-all --reason \"bank is back\"           take every flip back now
Ends with 0 when every instance has said that it applies, else with 4.";

const POLICY_HELP: &str = "\
Example: get, edit, look, publish, regret
  fuseboard ctl policy get > policy.toml
  fuseboard ctl policy set policy.toml --reason \"longer timeout for the bank\"
  fuseboard ctl policy lint
  fuseboard ctl policy set policy.toml --reason \"carefully\" --stages 10,50,100 --bake 2m --wait
  fuseboard ctl policy history
  fuseboard ctl policy diff 1
  fuseboard ctl policy rollback 1 --reason \"it was the network\"
Example: a pipeline over the file that the team keeps in Git
  fuseboard ctl policy plan policy.toml --out plan.json        ends with 5 when settings would change
  fuseboard ctl policy apply plan.json --reason \"merge 4711\"   ends with 0 when every instance runs it,
                                                               with 6 when somebody else changed the policy meanwhile
  fuseboard ctl policy watch --json                            follows it, a line of JSON for each thing that happens";

const INCIDENT_HELP: &str = "\
Example: keep the last five minutes and the next one, and look at them anywhere
  fuseboard ctl incident record \"bank slow\" --since 5m --for 1m
  fuseboard ctl incident export 1 -o bank.fuse
  fuseboard open bank.fuse";

const TOKEN_HELP: &str = "\
Example: a token for a colleague, one for a service, and the end of the first
  fuseboard ctl --token-file ann.token token create --role operator --name bob --out bob.token
  fuseboard ctl --token-file ann.token token create --role agent --name orders --service orders --out orders.token
  fuseboard ctl --token-file ann.token token list
  fuseboard ctl --token-file ann.token token revoke 0123456789abcdef --reason \"bob has left\"
The first admin's comes from `fuseboard-collector token create`, while the collector does not run.";

/// Arguments of `ctl`.
#[derive(Args)]
pub(super) struct CtlArgs {
    /// The collector's control address.
    // Its id is not `to`: verbs have arguments of that name, and a global one would be mixed up with them.
    #[arg(id = "collector", long = "to", value_name = "URL", default_value = DEFAULT_URL, env = "FUSEBOARD_URL", global = true, value_parser = address)]
    url: String,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    /// Who acts, for the audit; default: $USER. Where the collector asks for tokens, the token's name counts.
    #[arg(long, global = true, value_name = "NAME")]
    actor: Option<String>,
    #[command(flatten)]
    access: Access,
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
        #[arg(long, value_name = "TIME", default_value = "60s", value_parser = span::lasting)]
        last: Duration,
    },
    /// Traces, newest first.
    #[command(
        before_help = "Example: the slow checkouts of the last ten minutes in which payments failed\n  fuseboard ctl traces 'root.name=\"POST /checkout\" trace.duration>500ms {service=payments status=error}' --last 10m"
    )]
    Traces(spans::TracesArgs),
    /// Spans, newest first.
    #[command(
        before_help = "Example: what the database was asked in orders that took long\n  fuseboard ctl spans 'service=orders has:db.system duration>100ms'"
    )]
    Spans(spans::SpansArgs),
    /// Spans as they come.
    #[command(
        before_help = "Example: failures of payments as they happen\n  fuseboard ctl tail service=payments status=error"
    )]
    Tail(spans::TailArgs),
    /// How long calls took: quantiles by service, operation, instance, version, edge or attribute.
    #[command(
        before_help = "Example: how long queries take, by table\n  fuseboard ctl quantiles kind=client has:db.system --by db.collection.name --last 6h"
    )]
    Quantiles(quantiles::QuantilesArgs),
    /// One trace; with --json as OTLP/JSON, which any OpenTelemetry tool reads.
    Trace {
        /// Its id, 32 hexadecimal digits.
        id: fuseboard_api::TraceId,
    },
    /// Show a breaker, or flip it for a time.
    #[command(after_help = BREAKER_HELP)]
    Breaker(BreakerArgs),
    /// The policy document and its history.
    #[command(subcommand, after_help = POLICY_HELP)]
    Policy(policy::PolicyVerb),
    /// A policy change on its way by stages: look at it, steer it.
    #[command(after_help = rollout::HELP)]
    Rollout {
        #[command(subcommand)]
        verb: Option<rollout::RolloutVerb>,
    },
    /// Overrides: what is in force for a time, by hand.
    #[command(subcommand)]
    Override(overrides::OverrideVerb),
    /// Take no changes any more, or take them again. Ending overrides, pausing and aborting rollouts stay possible.
    #[command(
        after_help = "Example: a release freeze\n  fuseboard ctl read-only on --reason \"black friday until monday\"\n  fuseboard ctl read-only off --reason \"monday\""
    )]
    ReadOnly {
        /// How it shall stand.
        #[arg(value_enum, default_value = "show")]
        switch: overrides::Switch,
        /// Why; needed for on and off.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Record and export incidents.
    #[command(subcommand, after_help = INCIDENT_HELP)]
    Incident(incident::IncidentVerb),
    /// What is normal and what comes next.
    Forecast,
    /// Who did what, when and why.
    #[command(after_help = audit::HELP)]
    Audit(audit::AuditArgs),
    /// Instances and what they run.
    Fleet(fleet::FleetArgs),
    /// Who one is to the collector, and what one may do.
    Whoami,
    /// Give, list and take tokens; for admins.
    #[command(subcommand, after_help = TOKEN_HELP)]
    Token(TokenVerb),
}

#[derive(Args)]
struct BreakerArgs {
    /// SERVICE/OPERATION, or CALLER:SERVICE/OPERATION; SERVICE alone means all its operations.
    #[arg(value_name = "TARGET", value_parser = steer::target)]
    target: steer::Target,
    /// Flip it: without a mode the breaker is only shown.
    #[arg(long, value_enum, requires = "reason")]
    mode: Option<Mode>,
    /// How long; the override ends by itself, also when the collector is gone.
    #[arg(long = "for", value_name = "TIME", default_value = "5m", value_parser = span::lasting)]
    ttl: Duration,
    /// Why; goes into the audit.
    #[arg(long)]
    reason: Option<String>,
    /// How long to wait for every instance's acknowledgement.
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = span::any)]
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
        client: Client::new(&args.url, &args.access)?,
        json: args.json,
        actor: args.actor.clone().or_else(|| std::env::var("USER").ok()).unwrap_or_else(|| "ctl".to_owned()),
    };
    match &args.verb {
        Verb::Stats => data::stats(&session),
        Verb::Edges { last } => data::edges(&session, *last),
        Verb::Traces(query) => spans::traces(&session, query),
        Verb::Spans(query) => spans::spans(&session, query),
        Verb::Tail(query) => spans::tail(&session, query),
        Verb::Quantiles(query) => quantiles::quantiles(&session, query),
        Verb::Trace { id } => data::trace(&session, *id),
        Verb::Breaker(breaker) => steer::breaker(&session, breaker),
        Verb::Policy(verb) => policy::run(&session, verb),
        Verb::Rollout { verb } => rollout::run(&session, verb.as_ref()),
        Verb::Override(verb) => overrides::run(&session, verb),
        Verb::ReadOnly { switch, reason } => overrides::read_only(&session, *switch, reason.as_deref()),
        Verb::Incident(verb) => incident::run(&session, verb),
        Verb::Forecast => data::forecast(&session),
        Verb::Audit(args) => audit::run(&session, args),
        Verb::Fleet(args) => fleet::fleet(&session, args),
        Verb::Whoami => token::whoami(&session),
        Verb::Token(verb) => token::run(&session, verb),
    }
}
