//! Instances: what they run, who lags behind, and what is in force on their edges.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use fuseboard_api::TimeRange;
use fuseboard_api::ask::{Answer, Question};
use fuseboard_api::fleet::{Fleet, Member};
use fuseboard_api::policy::InstanceEdge;
use fuseboard_policy::overrides::Selector;
use serde::Serialize;

use super::super::exit::Failure;
use super::super::span;
use super::Session;
use super::client::Client;
use super::data::{mismatch, word};
use super::print::{instant, json, line, ms, percent, table};
use super::steer::{Target, target};

pub(super) const EFFECTIVE_HELP: &str = "\
Example: which timeout does each instance of orders really use for payments, and where does it come from?
  fuseboard ctl policy effective payments/shop.v1.Payments/Charge --caller orders
Ends with 4 when no instance with an agent has called such an edge.";

/// What `fleet` takes.
#[derive(Args)]
pub(super) struct FleetArgs {
    /// Only instances that do not run what they are meant to; ends with 4 when there are any.
    #[arg(long)]
    laggards: bool,
    /// Only instances whose settings in force differ from their peers'; ends with 4 when there are any.
    #[arg(long, conflicts_with = "laggards")]
    drift: bool,
}

/// What `policy effective` takes.
#[derive(Args)]
pub(super) struct EffectiveArgs {
    /// SERVICE/OPERATION, CALLER:SERVICE/OPERATION, or SERVICE for all its operations.
    #[arg(value_name = "TARGET", value_parser = target)]
    target: Target,
    /// Only for this caller.
    #[arg(long, value_name = "SERVICE")]
    caller: Option<String>,
    /// Only on this instance of the caller.
    #[arg(long, value_name = "ID")]
    instance: Option<String>,
    /// Edges that were called in the last …
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = span::lasting)]
    last: Duration,
}

/// Why an instance does not run what it is meant to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Lag {
    /// It refused the revision.
    Refused,
    /// It went back by itself.
    Reverted,
    /// Its control stream is gone.
    Lost,
    /// It has not said anything about it yet.
    Waiting,
}

/// An instance that does not run what it is meant to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Laggard {
    service: String,
    instance: String,
    running: u64,
    desired: u64,
    lag: Lag,
    why: String,
}

impl fmt::Display for Laggard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = if self.why.is_empty() { String::new() } else { format!(": {}", self.why) };
        write!(f, "{} {} runs r{}, not r{}{why}", self.instance, word(&self.lag), self.running, self.desired)
    }
}

/// Who of the instances with an agent does not run what it is meant to.
pub(super) fn laggards(fleet: &Fleet) -> Vec<Laggard> {
    fleet.members.iter().filter_map(laggard).collect()
}

fn laggard(m: &Member) -> Option<Laggard> {
    let connected = m.connected?;
    let refused = m.last_failed.as_ref().filter(|(revision, _)| *revision == m.desired);
    let (lag, why) = match refused {
        // Gone, but had it: it may come back with something else.
        _ if m.running == m.desired && connected => return None,
        Some((_, why)) => (Lag::Refused, why.clone()),
        None if m.reverted_from == Some(m.desired) => (Lag::Reverted, "nobody confirmed it in time".to_owned()),
        None if !connected => (Lag::Lost, format!("last seen {}", instant(m.last_seen))),
        None => (Lag::Waiting, String::new()),
    };
    let Member { service, instance, running, desired, .. } = m.clone();
    Some(Laggard { service, instance, running, desired, lag, why })
}

/// The fleet over the last minute.
pub(super) fn ask(session: &Session) -> Result<Fleet> {
    let range = TimeRange::ending(Client::now(), Duration::from_secs(60));
    let Answer::Fleet(fleet) = session.client.ask(Question::Fleet { range })? else { return Err(mismatch()) };
    Ok(fleet)
}

/// `r12: 48/50 applied, 1 refused (…), 1 lost`.
fn summary(fleet: &Fleet) -> String {
    let steered = fleet.members.iter().filter(|m| m.connected.is_some()).count();
    let lagging = laggards(fleet);
    let of = |lag: Lag| lagging.iter().filter(|l| l.lag == lag).collect::<Vec<_>>();
    let mut text = format!("r{}: {}/{steered} applied", fleet.revision, steered - lagging.len());
    for lag in [Lag::Refused, Lag::Reverted, Lag::Lost, Lag::Waiting] {
        let some = of(lag);
        let Some(first) = some.first() else { continue };
        text += &format!(", {} {}", some.len(), word(&lag));
        if lag == Lag::Refused {
            text += &format!(" ({})", first.why.lines().next().unwrap_or_default());
        }
    }
    if !fleet.drift.is_empty() {
        text += &format!(", {} drifted", fleet.drift.iter().map(|d| d.instances.len()).sum::<usize>());
    }
    text
}

pub(super) fn fleet(session: &Session, args: &FleetArgs) -> Result<()> {
    let all = ask(session)?;
    if args.laggards {
        let lagging = laggards(&all);
        if session.json {
            json(&lagging)?
        } else {
            lagging.iter().try_for_each(|l| line(&l.to_string()))?
        }
        return if lagging.is_empty() { Ok(()) } else { Err(Failure::NotMet(summary(&all)).into()) };
    }
    if args.drift {
        if session.json {
            json(&all.drift)?
        } else {
            all.drift.iter().try_for_each(|d| line(&d.text))?
        }
        let why = || Failure::NotMet("instances differ that should not".to_owned());
        return if all.drift.is_empty() { Ok(()) } else { Err(why().into()) };
    }
    if session.json {
        return json(&all);
    }
    let rows: Vec<_> = all.members.iter().map(row).collect();
    table(
        [
            "SERVICE",
            "INSTANCE",
            "VERSION",
            "CONTROL",
            "RUNNING",
            "ATTEMPTED",
            "SINCE",
            "HASH",
            "RATE",
            "ERRORS",
            "P95",
            "TROUBLE",
        ],
        &rows,
        "No instance has sent telemetry or connected yet.",
    )?;
    line(&format!("\n{}", summary(&all)))
}

fn row(m: &Member) -> [String; 12] {
    let steered = m.connected.is_some();
    let or_none = |text: String| if steered { text } else { "-".to_owned() };
    let trouble = [
        m.last_failed.as_ref().map(|(r, why)| format!("refused r{r}: {}", why.lines().next().unwrap_or_default())),
        m.reverted_from.map(|r| format!("went back from r{r}")),
    ];
    [
        m.service.clone(),
        m.instance.clone(),
        m.version.clone(),
        match m.connected {
            Some(true) => "connected".to_owned(),
            Some(false) => "lost".to_owned(),
            None => "telemetry only".to_owned(),
        },
        or_none(format!("r{}", m.running)),
        or_none(format!("r{}", m.attempted)),
        m.since_running.map_or_else(|| "-".to_owned(), instant),
        or_none(m.effective_hash.chars().take(8).collect()),
        format!("{:.1}/s", m.stats.rate()),
        percent(m.stats.error_ratio()),
        ms(m.stats.quantile(0.95)),
        trouble.into_iter().flatten().collect::<Vec<_>>().join("; "),
    ]
}

/// Settings by their paths, as they are written in documents.
pub(super) fn flat(settings: &impl Serialize) -> BTreeMap<String, String> {
    fn walk(path: &str, value: &serde_json::Value, all: &mut BTreeMap<String, String>) {
        match value {
            serde_json::Value::Null => {}
            serde_json::Value::Object(inner) => {
                for (key, value) in inner {
                    walk(&if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, value, all);
                }
            }
            value => {
                all.insert(path.to_owned(), value.to_string());
            }
        }
    }
    let mut all = BTreeMap::new();
    // Settings are plain tables; one that cannot be written has nothing to show.
    walk("", &serde_json::to_value(settings).unwrap_or_default(), &mut all);
    all
}

pub(super) fn effective(session: &Session, args: &EffectiveArgs) -> Result<()> {
    let mut selector: Selector = args.target.selector.clone();
    if let Some(caller) = &args.caller {
        selector.caller = Some(caller.clone());
    }
    selector.instance.clone_from(&args.instance);
    let range = TimeRange::ending(Client::now(), args.last);
    let question = Question::Effective { range, selector };
    let Answer::Effective(edges) = session.client.ask(question)? else { return Err(mismatch()) };
    if session.json {
        json(&edges)?;
    } else {
        // Instances that have the same in force are shown together.
        let mut together: Vec<(&InstanceEdge, Vec<&str>)> = Vec::new();
        for edge in &edges {
            match together.iter_mut().find(|(first, _)| alike(first, edge)) {
                Some((_, instances)) => instances.push(&edge.instance),
                None => together.push((edge, vec![&edge.instance])),
            }
        }
        together.iter().try_for_each(|(edge, instances)| show(edge, instances))?;
    }
    if edges.is_empty() {
        let why = "no instance with an agent has called such an edge; `fuseboard ctl edges` lists the names";
        return Err(Failure::NotMet(why.to_owned()).into());
    }
    Ok(())
}

fn alike(a: &InstanceEdge, b: &InstanceEdge) -> bool {
    let InstanceEdge { instance, .. } = b.clone();
    InstanceEdge { instance, ..a.clone() } == *b
}

fn show(edge: &InstanceEdge, instances: &[&str]) -> Result<()> {
    let state = if edge.connected { "" } else { ", lost" };
    let verified = if edge.verified { ", as their hash confirms" } else { "" };
    line(&format!("{}  r{}{state}  on {}{verified}", edge.key, edge.running, instances.join(", ")))?;
    let mut settings = flat(&edge.settings);
    settings.extend(flat(&edge.fault).into_iter().map(|(path, value)| (format!("fault.{path}"), value)));
    // A source stands at the setting or at a table above it.
    let source = |path: &str| {
        let mut part = path;
        loop {
            if let Some(from) = edge.provenance.get(part) {
                return from.clone();
            }
            match part.rsplit_once('.') {
                Some((above, _)) => part = above,
                None => return String::new(),
            }
        }
    };
    let rows: Vec<_> = settings.iter().map(|(path, value)| [path.clone(), value.clone(), source(path)]).collect();
    table(["SETTING", "VALUE", "FROM"], &rows, "no setting is in force here")?;
    line("")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(instance: &str, connected: bool, running: u64) -> Member {
        Member {
            service: "orders".into(),
            instance: instance.into(),
            connected: Some(connected),
            running,
            desired: 12,
            ..Member::default()
        }
    }

    #[test]
    fn the_summary_counts_who_has_it_and_says_why_the_others_have_not() {
        let refused = Member { last_failed: Some((12, "timeout too short".into())), ..member("o-2", true, 11) };
        let only_telemetry = Member { connected: None, ..member("db-1", true, 0) };
        let members =
            vec![member("o-1", true, 12), refused, member("o-3", false, 11), member("o-4", true, 11), only_telemetry];
        let fleet = Fleet { members, revision: 12, ..Fleet::default() };
        assert_eq!(summary(&fleet), "r12: 1/4 applied, 1 refused (timeout too short), 1 lost, 1 waiting");
        let told: Vec<String> = laggards(&fleet).iter().map(ToString::to_string).collect();
        assert_eq!(told[0], "o-2 refused runs r11, not r12: timeout too short");
    }

    #[test]
    fn settings_lie_flat_by_their_paths() {
        let text = serde_json::json!({ "timeout": { "attempt_ms": 800, "overall_ms": null }, "on": ["a"] });
        let flat: Vec<_> = flat(&text).into_iter().collect();
        assert_eq!(flat, [("on".into(), "[\"a\"]".into()), ("timeout.attempt_ms".to_owned(), "800".to_owned())]);
    }
}
