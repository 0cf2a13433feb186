//! Staged delivery of policy changes: how `policy set` asks for it, how to follow and steer it.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use fuseboard_api::TimeRange;
use fuseboard_api::ask::{Answer, Question};
use fuseboard_api::change::{Change, ChangeState};
use fuseboard_api::command::{Action, Receipt};
use fuseboard_api::rollout::{Delivery, Guard, Measure, Rollout, RolloutState, Stage, Verdict};

use super::super::exit::Failure;
use super::super::span;
use super::Session;
use super::client::Client;
use super::data::mismatch;
use super::print::{instant, json, line, percent, table};

/// For the help of `ctl rollout`.
pub(super) const HELP: &str = "\
Example: a change to a tenth of the instances first, two minutes a stage, taken back when it does harm
  fuseboard ctl policy set policy.toml --reason \"shorter timeouts\" --stages 10,50,100 --bake 2m --guard errors=2% --wait
  fuseboard ctl rollout                                   the stage, who has it, what the guards see
  fuseboard ctl rollout pause --reason \"looking at it\"
  fuseboard ctl rollout promote --reason \"looks fine\"     the next stage now
  fuseboard ctl rollout abort --reason \"support calls\"    everyone goes back to the revision before
With --wait the command ends when the rollout does: with 0 when everyone has the change (or it waits to be confirmed), with 4
when it was taken back.";

/// How often a rollout is asked for while it is waited for.
const PAUSE: Duration = Duration::from_millis(500);

/// How a change reaches the instances.
#[derive(Args)]
pub(super) struct DeliveryArgs {
    /// Shares of each service's instances in percent, ascending, the last 100: 1,10,50,100. Default: everyone at once.
    #[arg(long, value_name = "PERCENT,…", value_delimiter = ',')]
    stages: Vec<f64>,
    /// How long each stage must go well before the next.
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = span::any, requires = "stages")]
    bake: Duration,
    /// What must not become worse beside the instances without the change, and how much more is tolerated: errors=2%,
    /// refused=1%, p99=50ms, p99=1.25x, or both (the larger counts): errors=1%/1.5x. MEASURE=off for no such guard.
    /// [default: errors=1%/1.25x p99=20ms/1.25x refused=1%/1.25x]
    #[arg(long = "guard", value_name = "MEASURE=TOLERANCE", value_parser = guard, requires = "stages")]
    guards: Vec<(Measure, Option<Guard>)>,
    /// So many calls must be known of both groups before a stage ends; until then it holds.
    #[arg(long, value_name = "N", default_value_t = Delivery::default().min_samples, requires = "stages")]
    min_samples: u64,
    /// Everyone goes back by itself unless `ctl policy confirm` comes within this time.
    #[arg(long, value_name = "TIME", value_parser = span::lasting)]
    confirm_within: Option<Duration>,
    /// Wait until the change has reached everyone (0) or was taken back (4).
    #[arg(long)]
    pub(super) wait: bool,
}

impl DeliveryArgs {
    /// The plan in the collector's words.
    pub(super) fn delivery(&self) -> Delivery {
        let stage = |percent: &f64| Stage { share: percent / 100.0, bake_ms: millis(self.bake) };
        let mut guards = Guard::usual();
        for (measure, given) in &self.guards {
            guards.retain(|g| g.measure != *measure);
            guards.extend(*given);
        }
        Delivery {
            stages: self.stages.iter().map(stage).collect(),
            guards,
            min_samples: self.min_samples,
            confirm_within_ms: self.confirm_within.map(millis),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `errors=2%`, `p99=50ms/1.25x`, `refused=off`.
fn guard(text: &str) -> Result<(Measure, Option<Guard>), String> {
    let (name, tolerance) = text.split_once('=').ok_or("write it like errors=2% or p99=50ms/1.25x")?;
    let measure = match name {
        "errors" => Measure::Errors,
        "p99" => Measure::P99,
        "refused" => Measure::Refused,
        other => return Err(format!("{other:?} is not watched; errors, p99 and refused are")),
    };
    if tolerance == "off" {
        return Ok((measure, None));
    }
    let mut guard = Guard { measure, absolute: 0.0, relative: 0.0 };
    for part in tolerance.split('/') {
        let number = |unit: &str| part.strip_suffix(unit).and_then(|n| n.parse::<f64>().ok()).filter(|n| n.is_finite());
        if let Some(times) = number("x").filter(|t| *t >= 1.0) {
            guard.relative = times - 1.0;
        } else if let Some(points) = number("%").filter(|p| *p >= 0.0 && measure != Measure::P99) {
            guard.absolute = points / 100.0;
        } else if measure == Measure::P99
            && let Ok(more) = span::any(part)
        {
            guard.absolute = more.as_secs_f64() * 1e3;
        } else {
            let absolute = if measure == Measure::P99 { "a time like 50ms" } else { "percent of calls like 2%" };
            return Err(format!("{part:?} is no tolerance of {name}: write {absolute}, or a factor like 1.25x"));
        }
    }
    Ok((measure, Some(guard)))
}

/// What to do with a rollout.
#[derive(Subcommand)]
pub(super) enum RolloutVerb {
    /// Where it stands: the stage, who has the change, what the guards see. Also without a verb.
    Show {
        /// Wait until it is over.
        #[arg(long)]
        wait: bool,
    },
    /// Stop where it is; guards go on watching.
    Pause(SteerArgs),
    /// Go on; the time of the stage begins anew.
    Resume(SteerArgs),
    /// Take the change back from everyone.
    Abort(SteerArgs),
    /// Begin the next stage now.
    Promote {
        #[command(flatten)]
        steer: SteerArgs,
        /// Also past a guard that fails; from then on guards only watch.
        #[arg(long)]
        force: bool,
    },
}

/// Which rollout, and why.
#[derive(Args)]
pub(super) struct SteerArgs {
    /// Its revision; default: the one under way.
    #[arg(long)]
    revision: Option<u64>,
    /// Why; goes into the audit.
    #[arg(long)]
    reason: String,
    /// Then wait until it is over.
    #[arg(long)]
    wait: bool,
}

/// Runs a verb.
pub(super) fn run(session: &Session, verb: Option<&RolloutVerb>) -> Result<()> {
    let (args, action): (&SteerArgs, fn(u64, bool) -> Action) = match verb {
        None => return show(session, false),
        Some(RolloutVerb::Show { wait }) => return show(session, *wait),
        Some(RolloutVerb::Pause(args)) => (args, |revision, _| Action::PauseRollout { revision }),
        Some(RolloutVerb::Resume(args)) => (args, |revision, _| Action::ResumeRollout { revision }),
        Some(RolloutVerb::Abort(args)) => (args, |revision, _| Action::AbortRollout { revision }),
        Some(RolloutVerb::Promote { steer, .. }) => {
            (steer, |revision, force| Action::PromoteRollout { revision, force })
        }
    };
    let force = matches!(verb, Some(RolloutVerb::Promote { force: true, .. }));
    let revision = match args.revision {
        Some(revision) => revision,
        None => under_way(session)?,
    };
    let receipt = session.client.command(&session.actor, &args.reason, action(revision, force))?;
    told(session, &receipt, args.wait)
}

/// Keeps a revision for good.
pub(super) fn confirm(session: &Session, revision: u64, reason: &str) -> Result<()> {
    let receipt = session.client.command(&session.actor, reason, Action::ConfirmRevision { revision })?;
    told(session, &receipt, false)
}

/// Prints a receipt, and waits for the end of the rollout if that is asked for.
pub(super) fn told(session: &Session, receipt: &Receipt, wait: bool) -> Result<()> {
    if wait {
        eprintln!("r{}: {}", receipt.revision.unwrap_or_default(), receipt.note);
        return follow(session, receipt.revision.unwrap_or_default());
    }
    if session.json {
        return json(receipt);
    }
    line(&format!("r{}: {}", receipt.revision.unwrap_or_default(), receipt.note))
}

fn revisions(session: &Session) -> Result<Vec<Change>> {
    let range = TimeRange::ending(Client::now(), Duration::from_secs(1));
    let Answer::Changes(changes) = session.client.ask(Question::Changes { range })? else { return Err(mismatch()) };
    Ok(changes.revisions)
}

fn under_way(session: &Session) -> Result<u64> {
    let found = revisions(session)?.into_iter().filter_map(|c| c.rollout).find(|r| !r.state.is_over());
    match found {
        Some(rollout) => Ok(rollout.revision),
        None => bail!(Failure::NotMet("no change is being rolled out".to_owned())),
    }
}

fn show(session: &Session, wait: bool) -> Result<()> {
    let newest = revisions(session)?.into_iter().find_map(|c| c.rollout);
    let Some(rollout) = newest else {
        bail!(Failure::NotMet("no change was ever rolled out by stages; see `fuseboard ctl rollout --help`".to_owned()))
    };
    if wait {
        return follow(session, rollout.revision);
    }
    if session.json { json(&rollout) } else { print(&rollout) }
}

/// Follows a revision to its end, telling on stderr whatever changes.
pub(super) fn follow(session: &Session, revision: u64) -> Result<()> {
    let mut last = String::new();
    loop {
        let Some(change) = revisions(session)?.into_iter().find(|c| c.id == revision) else { return Err(mismatch()) };
        let Some(rollout) = &change.rollout else {
            match change.state {
                ChangeState::Requested if change.targeted > 0 => {}
                ChangeState::Refused => bail!(Failure::NotMet(format!("r{revision}: an instance refused it"))),
                _ => {
                    return if session.json {
                        json(&change)
                    } else {
                        line(&format!("r{revision}: {} of {} instances have it", change.applied, change.targeted))
                    };
                }
            }
            session.client.pause(PAUSE);
            continue;
        };
        let now = head(rollout);
        if now != last {
            eprintln!("{now}");
            last = now;
        }
        if rollout.state.is_over() || rollout.state == RolloutState::Confirming {
            if session.json {
                json(rollout)?;
            } else {
                print(rollout)?;
            }
            return match rollout.state {
                RolloutState::Done | RolloutState::Confirming => Ok(()),
                _ => Err(Failure::NotMet(format!("r{revision} was taken back: {}", rollout.why)).into()),
            };
        }
        session.client.pause(PAUSE);
    }
}

/// `r13: stage 1 of 3 (10 %) baking: all guards pass so far`.
fn head(r: &Rollout) -> String {
    let state = match r.state {
        RolloutState::Baking => "baking",
        RolloutState::Holding => "holding",
        RolloutState::Paused => "paused",
        RolloutState::Confirming => "to be confirmed",
        RolloutState::Done => "done",
        RolloutState::Reverted => "reverted",
        RolloutState::Aborted => "aborted",
        RolloutState::Lapsed => "lapsed",
    };
    let stage = r.delivery.stages.get(r.stage as usize).map(|s| {
        let share = s.share * 100.0;
        format!("stage {} of {} ({share} %) ", r.stage + 1, r.delivery.stages.len())
    });
    format!("r{}: {}{state}: {}", r.revision, stage.unwrap_or_default(), r.why)
}

fn print(r: &Rollout) -> Result<()> {
    line(&head(r))?;
    let who = match r.state {
        RolloutState::Baking | RolloutState::Holding | RolloutState::Paused => {
            format!("the others have r{}", r.base)
        }
        RolloutState::Confirming | RolloutState::Done => format!("everyone was given r{}", r.revision),
        RolloutState::Reverted | RolloutState::Aborted | RolloutState::Lapsed => {
            format!("everyone went back to r{}", r.base)
        }
    };
    line(&format!("{who}; since {}", instant(r.since)))?;
    if let Some(at) = r.next_at {
        line(&format!("the stage's time has passed at {}", instant(at)))?;
    }
    match (r.confirm_by, r.confirmed) {
        (_, Some(at)) => line(&format!("confirmed at {}", instant(at)))?,
        (Some(by), None) if !r.state.is_over() => {
            line(&format!("to be confirmed by {}: fuseboard ctl policy confirm {}", instant(by), r.revision))?;
        }
        _ => {}
    }
    if !r.groups.is_empty() {
        let rows: Vec<_> = r
            .groups
            .iter()
            .map(|g| [g.service.clone(), g.changed.join(" "), g.running.join(" "), g.others.join(" ")])
            .collect();
        table(["SERVICE", "GIVEN IT", "RUN IT", "OTHERS"], &rows, "")?;
    }
    let rows: Vec<_> = r
        .readings
        .iter()
        .map(|reading| {
            let verdict = match reading.verdict {
                Verdict::Passes => "passes",
                Verdict::TooFew => "too few",
                Verdict::Fails => "fails",
            };
            let (name, value): (_, fn(f64) -> String) = match reading.guard.measure {
                Measure::Errors => ("errors", percent),
                Measure::P99 => ("p99", |ms| format!("{ms:.1} ms")),
                Measure::Refused => ("refused", percent),
            };
            let edge = reading.edge.as_ref().map_or_else(|| "all edges".to_owned(), ToString::to_string);
            [
                name.to_owned(),
                verdict.to_owned(),
                value(reading.changed),
                value(reading.control),
                value(reading.limit),
                format!("{} / {}", reading.changed_calls, reading.control_calls),
                edge,
            ]
        })
        .collect();
    if rows.is_empty() {
        Ok(())
    } else {
        table(["GUARD", "VERDICT", "CHANGED", "OTHERS", "AT MOST", "CALLS", "WORST"], &rows, "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerances_are_read_in_the_measures_own_unit() {
        let read = |text: &str| guard(text).map(|(_, g)| g.map(|g| (g.absolute, g.relative)));
        assert_eq!(read("errors=2%"), Ok(Some((0.02, 0.0))));
        assert_eq!(read("errors=1%/1.5x"), Ok(Some((0.01, 0.5))));
        assert_eq!(read("p99=50ms/1.25x"), Ok(Some((50.0, 0.25))));
        assert_eq!(read("refused=off"), Ok(None));
        for bad in ["errors", "load=2%", "p99=5%", "errors=50ms", "errors=0.5x", "errors=-1%", "p99="] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
