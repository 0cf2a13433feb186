//! Policies in pipelines: what a document would change, and putting exactly that into force.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use fuseboard_api::TimeRange;
use fuseboard_api::ask::{Answer, Question};
use fuseboard_api::change::{Change, ChangeState};
use fuseboard_api::command::Action;
use fuseboard_api::policy::Policies;
use fuseboard_policy::document::{Difference, PolicyDocument, differences};
use fuseboard_policy::set::{Effective, PolicySet};
use serde::{Deserialize, Serialize};

use super::super::exit::Failure;
use super::super::span;
use super::Session;
use super::client::Client;
use super::data::mismatch;
use super::fleet;
use super::policy::{document, in_force, read};
use super::print::{json, line, table};

/// The calls of so long say how large the blast radius is.
const LOOK_BACK: Duration = Duration::from_secs(600);
/// The form of a plan's file.
const FORM: u32 = 1;

/// What `policy plan` takes.
#[derive(Args)]
pub(super) struct PlanArgs {
    /// The TOML file; `-` reads standard input.
    file: PathBuf,
    /// Compare with this revision instead of the one in force.
    #[arg(long, value_name = "REVISION")]
    base: Option<u64>,
    /// Keep the plan in a file, for `policy apply`.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// What `policy apply` takes.
#[derive(Args)]
pub(super) struct ApplyArgs {
    /// A plan that `policy plan --out` wrote, or a TOML file; `-` reads TOML from standard input.
    file: PathBuf,
    /// With a TOML file: the revision that it was made from. Default: the one in force.
    #[arg(long, value_name = "REVISION")]
    base: Option<u64>,
    /// Why.
    #[arg(long)]
    reason: String,
    /// How long to wait until every instance runs it; 0s does not wait.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = span::any)]
    wait: Duration,
}

/// A setting that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Setting {
    rule: String,
    path: String,
    before: Option<String>,
    after: Option<String>,
}

impl From<Difference> for Setting {
    fn from(d: Difference) -> Self {
        Self { rule: d.place.rule, path: d.place.path, before: d.before, after: d.after }
    }
}

/// An edge whose settings change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Touched {
    edge: String,
    /// Connected instances of the caller.
    instances: u32,
    calls_per_minute: f64,
    /// Whether the caller has an agent that obeys.
    steered: bool,
    /// The settings in force that change, `timeout.attempt_ms: 800 → 600`.
    settings: Vec<String>,
}

/// What would change, and for whom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Plan {
    form: u32,
    /// The revision that it changes.
    base: u64,
    /// BLAKE3 of that revision's document.
    base_hash: String,
    /// BLAKE3 of the new document.
    hash: String,
    changes: Vec<Setting>,
    edges: Vec<Touched>,
    /// Connected instances that it concerns.
    instances: u32,
    calls_per_minute: f64,
    /// The new document.
    document: String,
}

fn hash(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

/// All problems of a document, each with its place in the file.
fn valid(file: &Path, text: &str) -> Result<PolicyDocument> {
    let name = if file.as_os_str() == "-" { "standard input".to_owned() } else { file.display().to_string() };
    PolicyDocument::parse(text).map_err(|problems| {
        let told = problems.iter().map(|p| {
            let at = p.position(text).map(|at| format!(":{}:{}", at.line, at.column)).unwrap_or_default();
            format!("{name}{at}: {p}")
        });
        Failure::Usage(told.collect::<Vec<_>>().join("\n")).into()
    })
}

fn made(session: &Session, base: Option<u64>, parsed: &PolicyDocument, text: String) -> Result<Plan> {
    let now = in_force(session, LOOK_BACK)?;
    let (base, before) = match base {
        Some(base) if base != now.revision.number => (base, document(session, base)?),
        _ => (now.revision.number, now.document.clone()),
    };
    let changes = differences(&before, &text).map_err(anyhow::Error::msg)?;
    let edges = touched(&now, &before, parsed);
    let callers: BTreeMap<&str, u32> = edges.iter().map(|(caller, t)| (caller.as_str(), t.instances)).collect();
    Ok(Plan {
        form: FORM,
        base,
        base_hash: hash(&before),
        hash: hash(&text),
        changes: changes.into_iter().map(Setting::from).collect(),
        instances: callers.values().sum(),
        calls_per_minute: edges.iter().map(|(_, t)| t.calls_per_minute).sum(),
        edges: edges.into_iter().map(|(_, t)| t).collect(),
        document: text,
    })
}

/// The observed edges on which other settings would be in force, with their callers.
fn touched(now: &Policies, before: &str, after: &PolicyDocument) -> Vec<(String, Touched)> {
    // A stored document that cannot be read any more has no settings in force.
    let before = PolicyDocument::parse(before).map(|d| PolicySet::new(0, &d)).unwrap_or_default();
    let after = PolicySet::new(0, after);
    let mut all = Vec::new();
    for edge in &now.edges {
        let of = |set: &PolicySet| set.effective(&edge.key.caller, &edge.key.callee, &edge.key.operation);
        let settings = settings_that_differ(&of(&before), &of(&after));
        if !settings.is_empty() {
            all.push((
                edge.key.caller.clone(),
                Touched {
                    edge: edge.key.to_string(),
                    instances: edge.instances,
                    calls_per_minute: (edge.stats.rate() * 600.0).round() / 10.0,
                    steered: edge.steered,
                    settings,
                },
            ));
        }
    }
    all
}

fn settings_that_differ(before: &Effective, after: &Effective) -> Vec<String> {
    let (before, after) = (fleet::flat(&before.settings), fleet::flat(&after.settings));
    let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let value =
        |all: &BTreeMap<String, String>, path: &String| all.get(path).cloned().unwrap_or_else(|| "unset".into());
    paths
        .into_iter()
        .filter(|p| before.get(*p) != after.get(*p))
        .map(|p| format!("{p}: {} → {}", value(&before, p), value(&after, p)))
        .collect()
}

pub(super) fn plan(session: &Session, args: &PlanArgs) -> Result<()> {
    let text = read(&args.file)?;
    let parsed = valid(&args.file, &text)?;
    let plan = made(session, args.base, &parsed, text)?;
    if let Some(out) = &args.out {
        let file = serde_json::to_string_pretty(&plan)? + "\n";
        std::fs::write(out, file).with_context(|| format!("writing {}", out.display()))?;
    }
    if session.json {
        json(&plan)?
    } else {
        say(&plan)?
    }
    if plan.changes.is_empty() {
        return Ok(());
    }
    Err(Failure::Pending(format!("{} settings would change against r{}", plan.changes.len(), plan.base)).into())
}

fn say(plan: &Plan) -> Result<()> {
    if plan.changes.is_empty() {
        return line(&format!("No setting changes against r{}.", plan.base));
    }
    say_settings(&plan.changes)?;
    line("")?;
    if plan.edges.is_empty() {
        return line("No edge that was called in the last ten minutes gets other settings.");
    }
    let row = |t: &Touched| {
        let who = if t.steered { t.instances.to_string() } else { "no agent".to_owned() };
        [t.edge.clone(), who, format!("{:.0}", t.calls_per_minute), t.settings.join(", ")]
    };
    table(["EDGE", "INSTANCES", "CALLS/MIN", "IN FORCE"], &plan.edges.iter().map(row).collect::<Vec<_>>(), "")?;
    line(&format!(
        "\n{} edges, {} instances, {:.0} calls a minute",
        plan.edges.len(),
        plan.instances,
        plan.calls_per_minute
    ))
}

/// Settings that differ, a line each.
pub(super) fn say_settings(settings: &[Setting]) -> Result<()> {
    let value = |v: &Option<String>| v.clone().unwrap_or_else(|| "unset".to_owned());
    let sign = |s: &Setting| match (&s.before, &s.after) {
        (None, _) => '+',
        (_, None) => '-',
        _ => '~',
    };
    settings.iter().try_for_each(|s| {
        let place = format!("{} {}", s.rule, s.path);
        line(&format!("{} {}: {} → {}", sign(s), place.trim_start(), value(&s.before), value(&s.after)))
    })
}

pub(super) fn apply(session: &Session, args: &ApplyArgs) -> Result<()> {
    let text = read(&args.file)?;
    let kept = (args.file.extension().is_some_and(|e| e == "json")).then(|| plan_of(&args.file, &text)).transpose()?;
    let now = in_force(session, LOOK_BACK)?;
    let (base, base_hash, text) = match kept {
        Some(plan) => (plan.base, Some(plan.base_hash), plan.document),
        None => (args.base.unwrap_or(now.revision.number), None, text),
    };
    valid(&args.file, &text)?;
    if now.document == text {
        return done(session, &Applied { revision: now.revision.number, ..Applied::default() }, "is in force already");
    }
    if base != now.revision.number {
        return Err(moved(session, base, &now)?);
    }
    if base_hash.is_some_and(|planned| planned != hash(&now.document)) {
        let why = format!(
            "r{base} of this collector is not the one that the plan was made against; is it another collector?"
        );
        return Err(Failure::Moved(why).into());
    }
    let receipt = session.client.command(&session.actor, &args.reason, Action::set_policy(base, text))?;
    let Some(revision) = receipt.revision else { return Err(mismatch()) };
    if args.wait.is_zero() {
        let told = Applied { revision, published: true, targeted: receipt.targeted, ..Applied::default() };
        return done(session, &told, "published");
    }
    wait(session, revision, args.wait)
}

fn plan_of(file: &Path, text: &str) -> Result<Plan> {
    let plan: Plan = serde_json::from_str(text)
        .map_err(|e| Failure::Usage(format!("{} is no plan of `policy plan --out`: {e}", file.display())))?;
    if plan.form != FORM || plan.hash != hash(&plan.document) {
        let why = format!("{} was changed after it was planned, or by another version; plan again", file.display());
        return Err(Failure::Usage(why).into());
    }
    Ok(plan)
}

/// The refusal that names what changed since the base.
fn moved(session: &Session, base: u64, now: &Policies) -> Result<anyhow::Error> {
    let since = differences(&document(session, base)?, &now.document).map_err(anyhow::Error::msg)?;
    let since: Vec<String> = since.iter().map(|d| format!("  {d}")).collect();
    let why = format!(
        "r{} by {} is in force, the plan was made against r{base}; since then:\n{}",
        now.revision.number,
        now.revision.actor,
        if since.is_empty() { "  no setting changed".to_owned() } else { since.join("\n") }
    );
    Ok(Failure::Moved(why).into())
}

/// How far a revision has come.
#[derive(Debug, Default, Serialize)]
struct Applied {
    revision: u64,
    /// Whether this command published it.
    published: bool,
    applied: u32,
    targeted: u32,
    state: ChangeState,
    /// Instances that do not run it: lost, refused, or silent, each with why.
    laggards: Vec<fleet::Laggard>,
}

fn done(session: &Session, told: &Applied, what: &str) -> Result<()> {
    if session.json {
        return json(told);
    }
    line(&format!("r{} {what}", told.revision))
}

/// Waits until a revision has come to everyone, or has failed.
fn wait(session: &Session, revision: u64, patience: Duration) -> Result<()> {
    let end = Instant::now() + patience;
    let change = loop {
        let change = change_of(session, revision)?;
        let nobody = change.state == ChangeState::Requested && change.targeted == 0;
        let under_way = matches!(change.state, ChangeState::Requested | ChangeState::Rolling);
        if nobody || !under_way || Instant::now() >= end {
            break change;
        }
        session.client.pause(Duration::from_millis(50));
    };
    let told = Applied {
        revision,
        published: true,
        applied: change.applied,
        targeted: change.targeted,
        state: change.state,
        laggards: fleet::laggards(&fleet::ask(session)?),
    };
    if session.json {
        json(&told)?;
    } else {
        line(&format!("r{revision}: {}/{} applied", told.applied, told.targeted))?;
        told.laggards.iter().try_for_each(|l| line(&format!("  {l}")))?;
    }
    let why = match change.state {
        ChangeState::Applied => return Ok(()),
        // Nobody is there: those who connect get it.
        ChangeState::Requested if change.targeted == 0 => return Ok(()),
        ChangeState::Refused => "an instance refused it",
        ChangeState::Reverted => "it was taken back",
        ChangeState::Ended | ChangeState::Expired => "another revision took its place",
        ChangeState::Requested | ChangeState::Rolling => "not every instance has it in time",
    };
    Err(Failure::NotMet(format!("r{revision}: {why}")).into())
}

/// How far a revision has come, as the collector knows it.
pub(super) fn change_of(session: &Session, revision: u64) -> Result<Change> {
    let range = TimeRange::ending(Client::now(), Duration::from_secs(60));
    let Answer::Changes(changes) = session.client.ask(Question::Changes { range })? else { return Err(mismatch()) };
    let found = changes.revisions.into_iter().find(|c| c.id == revision);
    found.ok_or_else(|| Failure::NotMet(format!("there is no revision {revision} among the newest")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_that_was_changed_by_hand_is_refused() {
        let document = "[[edge]]\nservice = \"*\"\n".to_owned();
        let plan = Plan {
            form: FORM,
            base: 1,
            base_hash: hash(""),
            hash: hash(&document),
            changes: Vec::new(),
            edges: Vec::new(),
            instances: 0,
            calls_per_minute: 0.0,
            document,
        };
        let text = serde_json::to_string(&plan).unwrap();
        let file = Path::new("plan.json");
        assert_eq!(plan_of(file, &text).unwrap(), plan);
        let forged = text.replace("\\\"*\\\"", "\\\"a\\\"");
        assert_ne!(forged, text);
        assert!(plan_of(file, &forged).unwrap_err().to_string().contains("plan again"));
        assert!(plan_of(file, "{}").unwrap_err().to_string().contains("no plan"));
    }

    #[test]
    fn problems_say_where_they_stand() {
        let wrong = valid(Path::new("p.toml"), "[[edge]]\nservice = \"a\"\ntypo = 1\n").unwrap_err().to_string();
        assert!(wrong.starts_with("p.toml:3:1: edge[1] a: typo"), "{wrong}");
    }
}
