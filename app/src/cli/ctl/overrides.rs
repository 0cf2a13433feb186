//! Overrides: what is in force for a time, by hand.

use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};
use fuseboard_api::TimeRange;
use fuseboard_api::ask::{Answer, Question};
use fuseboard_api::change::{Changes, OverrideSpec};
use fuseboard_api::command::Action;
use fuseboard_policy::overrides::OverrideAction;
use fuseboard_policy::settings::Fault;

use super::super::exit::Failure;
use super::super::span;
use super::client::Client;
use super::data::{mismatch, word};
use super::print::{instant, json, line, table};
use super::steer::{Target, override_edges, target};
use super::{Mode, Session};

const SET_HELP: &str = "\
Examples:
  fuseboard ctl override set payments --mode forced_open --for 5m --reason \"bank incident\"
  fuseboard ctl override set orders:payments --attempt-timeout 300ms --for 10m --reason \"until r12 is out\"
  fuseboard ctl override set bank --delay 200ms --delay-ratio 0.1 --instance payments-1 --for 2m --reason \"drill 7\"
Ends with 0 when every instance has said that it applies, else with 4.";

#[derive(Subcommand)]
pub(super) enum OverrideVerb {
    /// What is overridden now, and what was in the last hour.
    List,
    /// Override a breaker's mode or timeouts, or inject a fault, for a time.
    #[command(after_help = SET_HELP)]
    Set(Box<SetArgs>),
    /// Let one last longer: what it does stays, its end is put off.
    Renew {
        /// Its id.
        id: u64,
        /// How long from now on; at most 24h, and longer than what is left of it.
        #[arg(long = "for", value_name = "TIME", value_parser = span::lasting)]
        ttl: Duration,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// End one.
    End {
        /// Its id.
        id: u64,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// End all of them.
    EndAll {
        /// Why.
        #[arg(long)]
        reason: String,
    },
}

/// What `override set` takes.
#[derive(Args)]
pub(super) struct SetArgs {
    /// SERVICE/OPERATION, or CALLER:SERVICE/OPERATION; SERVICE alone means all its operations.
    #[arg(value_name = "TARGET", value_parser = target)]
    target: Target,
    /// Only on this instance of the caller.
    #[arg(long, value_name = "ID")]
    instance: Option<String>,
    #[command(flatten)]
    what: What,
    /// How long; the override ends by itself, also when the collector is gone.
    #[arg(long = "for", value_name = "TIME", value_parser = span::lasting)]
    ttl: Duration,
    /// Why; goes into the audit.
    #[arg(long)]
    reason: String,
    /// How long to wait for every instance's acknowledgement.
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = span::any)]
    wait: Duration,
}

/// What an override does: one of mode, timeouts, fault.
#[derive(Args)]
#[command(next_help_heading = "What it does")]
struct What {
    /// The breaker's mode.
    #[arg(long, value_enum, conflicts_with_all = ["attempt_timeout", "overall_timeout", "delay", "abort_ratio"])]
    mode: Option<Mode>,
    /// Timeout of one attempt.
    #[arg(long, value_name = "TIME", value_parser = span::lasting, conflicts_with_all = ["delay", "abort_ratio"])]
    attempt_timeout: Option<Duration>,
    /// Timeout of the whole call.
    #[arg(long, value_name = "TIME", value_parser = span::lasting, conflicts_with_all = ["delay", "abort_ratio"])]
    overall_timeout: Option<Duration>,
    /// Fault: wait so long before a call.
    #[arg(long, value_name = "TIME", value_parser = span::lasting)]
    delay: Option<Duration>,
    /// Share of the calls that are delayed, 0 to 1.
    #[arg(long, value_name = "SHARE", requires = "delay", default_value_t = 1.0)]
    delay_ratio: f64,
    /// Fault: share of the calls that fail without being made, 0 to 1.
    #[arg(long, value_name = "SHARE")]
    abort_ratio: Option<f64>,
    /// The status with which they fail.
    #[arg(long, value_name = "STATUS", requires = "abort_ratio", default_value = "unavailable")]
    abort_code: String,
}

impl What {
    fn action(&self) -> Result<OverrideAction> {
        let ms = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        if let Some(mode) = self.mode {
            return Ok(OverrideAction::Mode(mode.into()));
        }
        if self.attempt_timeout.is_some() || self.overall_timeout.is_some() {
            let (attempt_ms, overall_ms) = (self.attempt_timeout.map(ms), self.overall_timeout.map(ms));
            return Ok(OverrideAction::Timeout { attempt_ms, overall_ms });
        }
        if self.delay.is_none() && self.abort_ratio.is_none() {
            let how = "say what it does: --mode, --attempt-timeout, --overall-timeout, --delay or --abort-ratio";
            return Err(Failure::Usage(how.to_owned()).into());
        }
        Ok(OverrideAction::Fault(Fault {
            delay_ms: self.delay.map_or(0, ms),
            delay_ratio: if self.delay.is_some() { self.delay_ratio } else { 0.0 },
            abort_ratio: self.abort_ratio.unwrap_or_default(),
            abort_code: self.abort_code.clone(),
        }))
    }
}

pub(super) fn run(session: &Session, verb: &OverrideVerb) -> Result<()> {
    match verb {
        OverrideVerb::List => list(session),
        OverrideVerb::Set(args) => {
            let mut target = args.target.clone();
            target.selector.instance.clone_from(&args.instance);
            let spec = OverrideSpec { selector: target.selector.clone(), action: args.what.action()? };
            override_edges(session, &target, spec, args.ttl, &args.reason, args.wait)
        }
        OverrideVerb::Renew { id, ttl, reason } => {
            let action = Action::RenewOverride { id: *id, ttl_ms: u64::try_from(ttl.as_millis())? };
            let lasts = format!("lasts {} from now on", humantime::format_duration(*ttl));
            told(session, reason, action, &lasts)
        }
        OverrideVerb::End { id, reason } => told(session, reason, Action::EndOverride { id: *id }, "ended"),
        OverrideVerb::EndAll { reason } => told(session, reason, Action::EndAllOverrides, "ended"),
    }
}

fn told(session: &Session, reason: &str, action: Action, what: &str) -> Result<()> {
    let receipt = session.client.command(&session.actor, reason, action)?;
    if session.json {
        json(&receipt)
    } else {
        line(format!("{what}; {} instances are told. {}", receipt.targeted, receipt.note).trim_end())
    }
}

fn changes(session: &Session) -> Result<Changes> {
    let range = TimeRange::ending(Client::now(), Duration::from_secs(3600));
    let Answer::Changes(changes) = session.client.ask(Question::Changes { range })? else { return Err(mismatch()) };
    Ok(changes)
}

fn list(session: &Session) -> Result<()> {
    let changes = changes(session)?;
    if session.json {
        return json(&changes.overrides);
    }
    let rows: Vec<_> = changes
        .overrides
        .iter()
        .map(|c| {
            [
                c.id.to_string(),
                c.summary.clone(),
                word(&c.state),
                format!("{}/{}", c.applied, c.targeted),
                c.actor.clone(),
                c.reason.clone(),
                c.expires.map(instant).unwrap_or_default(),
                c.renewed.map(instant).unwrap_or_default(),
            ]
        })
        .collect();
    table(
        ["ID", "OVERRIDE", "STATE", "APPLIED", "ACTOR", "REASON", "EXPIRES", "RENEWED"],
        &rows,
        "No override is in force, and none was in the last hour.",
    )
}

/// What the switch of all changes is set to.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(super) enum Switch {
    /// Take no changes any more.
    On,
    /// Take changes again.
    Off,
    /// Only say how it stands.
    Show,
}

/// Takes no changes any more, or takes them again.
pub(super) fn read_only(session: &Session, switch: Switch, reason: Option<&str>) -> Result<()> {
    let on = match switch {
        Switch::Show => {
            let state = changes(session)?.read_only;
            return if session.json {
                json(&state)
            } else {
                line(&state.map_or_else(
                    || "off: changes are taken".to_owned(),
                    |by| format!("on: {} turned changes off at {}: {}", by.actor, instant(by.at), by.reason),
                ))
            };
        }
        Switch::On => true,
        Switch::Off => false,
    };
    let reason = reason.ok_or_else(|| Failure::Usage("say why, with --reason".to_owned()))?;
    let receipt = session.client.command(&session.actor, reason, Action::SetReadOnly { on })?;
    if session.json {
        return json(&receipt);
    }
    let now = if on {
        "no changes are taken from now on; overrides can be ended, rollouts paused and aborted"
    } else {
        "changes are taken again"
    };
    line(format!("{now}. {}", receipt.note).trim_end())
}
