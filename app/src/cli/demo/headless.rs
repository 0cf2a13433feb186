//! The demo without a window: the same shop, an operator's deeds done by the clock, a report at the end.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fuseboard_api::ask::{Answer, Question};
use fuseboard_api::breaker::{BreakerState, BreakerTransition};
use fuseboard_api::change::{Change, ChangeState, OverrideSpec};
use fuseboard_api::command::Action;
use fuseboard_api::{TimeRange, UnixNanos};
use fuseboard_policy::overrides::{OverrideAction, Selector};
use fuseboard_policy::settings::BreakerMode;
use tokio::time::{Instant, MissedTickBehavior};

use super::super::source::{self, Embedded};
use super::DemoArgs;
use super::report::{OverrideReport, Report};
use super::stage::Stage;

/// How often the breakers are looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How long the override lasts, and how long its acknowledgements are waited for.
const OVERRIDE: Duration = Duration::from_secs(5);
const WHO: &str = "demo";

/// Plays for the time asked for, or the weather once.
pub(super) async fn play(args: &DemoArgs, stage: Stage) -> Result<()> {
    let file = incident_file(args)?;
    let length = args.length.unwrap_or_else(|| args.weather.script(args.seed).period);
    let began = UnixNanos::now();
    let addresses = stage.collector.addresses();
    eprintln!(
        "The {} weather for {}; the collector answers at {} (try `fuseboard ctl --to {} edges`).",
        args.weather.name(),
        humantime::format_duration(Duration::from_secs(length.as_secs())),
        addresses.control,
        stage.collector.url(),
    );
    let start = Action::StartIncident { name: format!("demo: {}", args.weather.name()), from: began };
    let receipt = stage.collector.command(WHO, "the demo records itself", start).await?;
    let incident = receipt.incident.context("the collector did not say which incident it records")?;
    let override_ = watch(&stage, began, length).await?;

    let (shop, collector, _folder) = stage.close().await;
    let stop = Action::StopIncident { id: incident, to: None };
    collector.command(WHO, "the demo has ended", stop).await?;
    collector.export(incident, &file).await.map_err(|r| anyhow::anyhow!("writing the incident: {r}"))?;
    let transitions = transitions(&collector, began).await?;
    let Answer::Totals(totals) = collector.ask(Question::Totals).await? else { bail!("no totals") };
    // A probe that fails opens again what had never recovered.
    let tripped = |t: &&BreakerTransition| t.to == BreakerState::Open && t.from == BreakerState::Closed;
    let recovered = |t: &&BreakerTransition| t.to == BreakerState::Closed;
    let by_calls = || transitions.iter().filter(|t| !t.by_mode);
    let report = Report {
        services: totals.services.len(),
        instances: totals.instances,
        calls: shop.calls,
        spans_stored: totals.spans,
        logs_stored: totals.logs,
        metric_points_stored: totals.metric_points,
        breaker_trips: by_calls().filter(tripped).count(),
        breaker_recoveries: by_calls().filter(recovered).count(),
        override_,
        dropped: shop.dropped,
        incident_file: file,
    };
    collector.stop().await;
    report.print(args.json)
}

/// Lets the shop run, says what happens, and sets the override half-way.
async fn watch(stage: &Stage, began: UnixNanos, length: Duration) -> Result<OverrideReport> {
    let end = Instant::now() + length;
    let half = Instant::now() + length / 2;
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut weather = stage.shop.weather_changes();
    // Listens from here on, also while something else is awaited below.
    let mut stop = std::pin::pin!(source::stop_signal()?);
    let (mut said, mut done) = (HashSet::new(), None);
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(end) => break,
            () = tokio::time::sleep_until(half), if done.is_none() => done = Some(flip(&stage.collector).await?),
            Ok(()) = weather.changed() => eprintln!("{}", *weather.borrow_and_update()),
            _ = look.tick() => {
                for t in transitions(&stage.collector, began).await?.iter().rev() {
                    if said.insert((t.at, t.instance.clone(), t.key.clone())) {
                        eprintln!("{} s: {}", t.at.since(began).as_secs(), sentence(t));
                    }
                }
            }
            stopped = stop.as_mut() => {
                stopped?;
                eprintln!("stopped; the report follows");
                break;
            }
        }
    }
    Ok(done.unwrap_or_default())
}

fn sentence(t: &BreakerTransition) -> String {
    let state = match t.to {
        BreakerState::Closed => "closed again",
        BreakerState::HalfOpen => "probes",
        BreakerState::Open => "opened",
    };
    let why = if t.cause.is_empty() { String::new() } else { format!(": {}", t.cause) };
    format!("breaker {} → {} of {} {state}{why}", t.key.caller, t.key.callee, t.instance)
}

/// Every transition so far, newest first.
async fn transitions(collector: &Embedded, began: UnixNanos) -> Result<Vec<BreakerTransition>> {
    let range = TimeRange { from: began, to: UnixNanos::now() + Duration::from_secs(1) };
    let Answer::Breakers(breakers) = collector.ask(Question::Breakers { range }).await? else { bail!("no breakers") };
    Ok(breakers.transitions)
}

/// Forces the breakers of one edge open for a moment, as an operator would, and waits for every instance's word.
async fn flip(collector: &Embedded) -> Result<OverrideReport> {
    let selector =
        Selector { caller: Some("gateway".to_owned()), service: Some("users".to_owned()), ..Selector::default() };
    let action = Action::SetOverride {
        spec: OverrideSpec { selector, action: OverrideAction::Mode(BreakerMode::ForcedOpen) },
        ttl_ms: u64::try_from(OVERRIDE.as_millis())?,
    };
    let receipt = collector.command(WHO, "show that a flip reaches every instance", action).await?;
    let id = receipt.override_id.context("the collector did not say which override it made")?;
    let end = Instant::now() + OVERRIDE;
    let change = loop {
        let now = UnixNanos::now();
        let range = TimeRange { from: now - 2 * OVERRIDE, to: now };
        let Answer::Changes(changes) = collector.ask(Question::Changes { range }).await? else { bail!("no changes") };
        let change: Change =
            changes.overrides.into_iter().find(|c| c.id == id).context("the override is not among the changes")?;
        if change.state != ChangeState::Requested || Instant::now() >= end {
            break change;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    eprintln!("override: {} applied {}/{}", change.summary, change.applied, change.targeted);
    Ok(OverrideReport { targeted: change.targeted, applied: change.applied, p99_ms: change.p99_ms() })
}

/// Where the incident goes. Looked at before the play, so that nobody waits for a report that cannot be had.
fn incident_file(args: &DemoArgs) -> Result<PathBuf> {
    if let Some(file) = &args.incident {
        if file.exists() {
            bail!("{} exists already; choose another name with --incident", file.display());
        }
        let folder = file.parent().filter(|f| !f.as_os_str().is_empty());
        if folder.is_some_and(|f| !f.is_dir()) {
            bail!("{} cannot be written: there is no such folder", file.display());
        }
        return Ok(file.clone());
    }
    let name = format!("demo-{}-{}.fuse", args.weather.name(), UnixNanos::now().0 / 1_000_000_000);
    Ok(source::folder("incidents")?.join(name))
}
