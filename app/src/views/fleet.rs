//! The fleet view: every instance, what it runs, and who lags behind.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use egui::Ui;
use fuseboard_api::fleet::{Fleet, Member};
use fuseboard_api::stats::Stats;

use crate::command::Commands;
use crate::model::Model;
use crate::widgets::table::{Column, Table};
use crate::widgets::{self, Tone, banner, field, format, rule, space, text, tokens};

/// What this view keeps between two frames.
#[derive(Debug, Default)]
pub(crate) struct State {
    search: String,
    /// The chosen instance: service, instance.
    chosen: Option<(String, String)>,
    /// Column and direction (downwards) of the order.
    order: Option<(usize, bool)>,
}

/// How an instance stands with the revision that everyone should run.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// Runs it.
    Current,
    /// Runs an older one.
    Behind,
    /// Refused it, with the reason.
    Refused(String),
    /// Its control stream is down.
    Lost,
    /// Runs no agent.
    TelemetryOnly,
}

fn standing(m: &Member, fleet: &Fleet) -> Standing {
    match (m.connected, &m.last_failed) {
        (None, _) => Standing::TelemetryOnly,
        (_, Some((revision, why))) if *revision >= fleet.revision && m.running != fleet.revision => {
            Standing::Refused(why.clone())
        }
        (Some(false), _) => Standing::Lost,
        (Some(true), _) if m.running < fleet.revision || m.overrides < fleet.overrides => Standing::Behind,
        (Some(true), _) => Standing::Current,
    }
}

impl Standing {
    fn words(&self) -> (&'static str, Tone) {
        match self {
            Self::Current => ("up to date", Tone::Well),
            Self::Behind => ("behind", Tone::AtRisk),
            Self::Refused(_) => ("refused", Tone::Failed),
            Self::Lost => ("lost", Tone::Failed),
            Self::TelemetryOnly => ("telemetry only", Tone::Neutral),
        }
    }
}

/// Paints the view.
pub(crate) fn show(ui: &mut Ui, model: &Model, state: &mut State, _commands: &mut Commands) {
    widgets::view(ui, |ui| {
        let slot = &model.slots.fleet;
        widgets::view_head(ui, "Fleet", &slot.get().map(summary).unwrap_or_default(), |_| {});
        let Some(fleet) = slot.get() else {
            match slot.error.as_deref() {
                None => banner::empty(ui, "Asking for the fleet…", "The picture comes with the first answer.", |_| {}),
                Some(why) => banner::empty(ui, "No answer about the fleet", why, |_| {}),
            }
            return;
        };
        if slot.stale || slot.error.is_some() {
            banner::stale(ui, slot.error.as_deref());
        }
        if fleet.members.is_empty() {
            banner::empty(
                ui,
                "No instance has been seen yet",
                "Instances appear with their first span, and with their control stream when they run the agent.",
                |_| {},
            );
            return;
        }
        troubles(ui, state, fleet);
        let width = ui.available_width().min(320.0);
        field::text_field_sized(
            ui,
            "Find an instance",
            "find a service, instance or version",
            &mut state.search,
            width,
        );
        ui.add_space(space::NEAR);
        table(ui, model, state, fleet);
    });
}

fn summary(fleet: &Fleet) -> String {
    let services: std::collections::BTreeSet<&str> = fleet.members.iter().map(|m| m.service.as_str()).collect();
    let current = fleet.members.iter().filter(|m| standing(m, fleet) == Standing::Current).count();
    let steered = fleet.members.iter().filter(|m| m.connected.is_some()).count();
    format!(
        "{} of {} · {current} of {steered} steered ones run r{}",
        format::plural(fleet.members.len() as u64, "instance"),
        format::plural(services.len() as u64, "service"),
        fleet.revision
    )
}

/// One sentence for each kind of trouble.
fn troubles(ui: &mut Ui, state: &mut State, fleet: &Fleet) {
    for (kind, words, tone) in [
        ("refused", "refused", Tone::Failed),
        ("lost", "lost the control stream", Tone::Failed),
        ("behind", "behind", Tone::AtRisk),
    ] {
        let those: Vec<&Member> = fleet.members.iter().filter(|m| standing(m, fleet).words().0 == kind).collect();
        let Some(first) = those.first() else { continue };
        let many = those.len() > 1;
        let others = if many { format!(" and {} more", those.len() - 1) } else { String::new() };
        let verb = |one: &'static str, more: &'static str| if many { more } else { one };
        let sentence = match standing(first, fleet) {
            Standing::Refused(why) => {
                let revision = first.last_failed.as_ref().map_or(fleet.revision, |f| f.0);
                format!(
                    "{}{others} refused r{revision} and {} r{}: {why}",
                    first.instance,
                    verb("keeps", "keep"),
                    first.running
                )
            }
            Standing::Behind if first.running == fleet.revision => {
                let (runs, lacks) = (verb("runs", "run"), verb("lacks", "lack"));
                format!("{}{others} {runs} r{} but {lacks} the newest overrides.", first.instance, first.running)
            }
            Standing::Behind => {
                format!(
                    "{}{others} still {} r{}, wanted r{}.",
                    first.instance,
                    verb("runs", "run"),
                    first.running,
                    fleet.revision
                )
            }
            _ => format!(
                "{}{others} {words} and {} r{} by {}.",
                first.instance,
                verb("keeps", "keep"),
                first.running,
                verb("itself", "themselves")
            ),
        };
        if banner::banner(ui, tone, &sentence, Some("Show")) {
            state.chosen = Some((first.service.clone(), first.instance.clone()));
        }
    }
}

const COLUMNS: [Column<'static>; 10] = [
    Column { head: "service", width: 110.0, right: false },
    Column { head: "instance", width: 150.0, right: false },
    Column { head: "version", width: 64.0, right: false },
    Column { head: "state", width: 112.0, right: false },
    Column { head: "revision", width: 84.0, right: true },
    Column { head: "rate", width: 64.0, right: true },
    Column { head: "errors", width: 56.0, right: true },
    Column { head: "p95", width: 70.0, right: true },
    Column { head: "dropped", width: 58.0, right: true },
    Column { head: "note", width: 0.0, right: false },
];

fn compare(a: &Member, b: &Member, column: usize, fleet: &Fleet) -> Ordering {
    let p95 = |m: &Member| m.stats.quantile(0.95);
    match column {
        0 => a.service.cmp(&b.service),
        1 => a.instance.cmp(&b.instance),
        2 => a.version.cmp(&b.version),
        3 => standing(a, fleet).words().0.cmp(standing(b, fleet).words().0),
        4 => a.running.cmp(&b.running),
        5 => a.stats.rate().total_cmp(&b.stats.rate()),
        6 => a.stats.error_ratio().total_cmp(&b.stats.error_ratio()),
        7 => p95(a).cmp(&p95(b)),
        8 => a.dropped.cmp(&b.dropped),
        _ => b.last_seen.cmp(&a.last_seen),
    }
}

fn table(ui: &mut Ui, model: &Model, state: &mut State, fleet: &Fleet) {
    let wanted = state.search.trim().to_lowercase();
    let matches = |m: &&Member| {
        wanted.is_empty() || [&m.service, &m.instance, &m.version].iter().any(|s| s.to_lowercase().contains(&wanted))
    };
    let mut rows: Vec<&Member> = fleet.members.iter().filter(matches).collect();
    if let Some((column, down)) = state.order {
        rows.sort_by(|a, b| if down { compare(b, a, column, fleet) } else { compare(a, b, column, fleet) });
    }
    if rows.is_empty() {
        text::note(ui, format!("No instance contains “{}”.", state.search.trim()));
        return;
    }
    let is_chosen = |m: &Member| state.chosen.as_ref().is_some_and(|(s, i)| *s == m.service && *i == m.instance);
    let here = rows.iter().position(|m| is_chosen(m));
    // Beside an open inspector the notes have no room; it says the same.
    let columns = if ui.available_width() < 1080.0 { &COLUMNS[..COLUMNS.len() - 1] } else { &COLUMNS[..] };
    let touched = Table::new("instances", columns, rows.len()).chosen(here).sorted(state.order).show(
        ui,
        |i| {
            rows.get(i)
                .map_or_else(String::new, |m| format!("{} {}, {}", m.service, m.instance, standing(m, fleet).words().0))
        },
        |ui, i, column| {
            if let Some(m) = rows.get(i) {
                cell(ui, model, m, fleet, column);
            }
        },
    );
    if let Some(m) = touched.chosen.and_then(|i| rows.get(i)) {
        state.chosen = Some((m.service.clone(), m.instance.clone()));
    }
    if let Some(column) = touched.head {
        state.order = match state.order {
            Some((c, down)) if c == column => Some((c, !down)),
            _ => Some((column, column >= 4)),
        };
    }
}

fn cell(ui: &mut Ui, model: &Model, m: &Member, fleet: &Fleet, column: usize) {
    let t = tokens(ui);
    match column {
        0 => text::styled(ui, &m.service, text::medium(12.5), t.text),
        1 => text::mono(ui, &m.instance).on_hover_text(format!("last seen {}", model.zone.time(m.last_seen))),
        2 => text::mono_soft(ui, if m.version.is_empty() { "–" } else { &m.version }),
        3 => {
            ui.spacing_mut().item_spacing.x = 6.0;
            let standing = standing(m, fleet);
            let (words, tone) = standing.words();
            let (rect, _) = ui.allocate_exact_size(egui::vec2(8.0, 12.0), egui::Sense::hover());
            widgets::pill::paint_dot(ui.painter(), rect.center(), tone, t);
            let response = text::styled(ui, words, text::secondary_font(), t.tone(tone));
            match standing {
                Standing::Refused(why) => response.on_hover_text(why),
                _ => response,
            }
        }
        4 => {
            let behind = m.connected.is_some() && m.running != fleet.revision;
            let words = match m.connected {
                None => "–".to_owned(),
                Some(_) if behind => format!("r{} → r{}", m.running, fleet.revision),
                Some(_) => format!("r{}", m.running),
            };
            text::styled(ui, words, text::mono_font(11.5), if behind { t.at_risk } else { t.text })
        }
        5 => text::mono(ui, format::rate(m.stats.rate())),
        6 => {
            let errors = m.stats.error_ratio();
            text::styled(
                ui,
                format::percent(errors),
                text::mono_font(11.5),
                if errors > 0.01 { t.failed } else { t.text },
            )
        }
        7 => text::mono(ui, m.stats.quantile(0.95).map_or_else(|| "–".to_owned(), format::latency)),
        8 => {
            let color = if m.dropped > 0 { t.at_risk } else { t.text_soft };
            text::styled(ui, format::count(m.dropped), text::mono_font(11.5), color)
        }
        _ => {
            let words = note(model, m, fleet);
            text::styled(ui, &words, text::secondary_font(), t.text_soft).on_hover_text(words)
        }
    };
}

/// Why an instance is not up to date, or when it was heard of last.
fn note(model: &Model, m: &Member, fleet: &Fleet) -> String {
    match standing(m, fleet) {
        Standing::Refused(why) => why,
        Standing::Behind if m.running == fleet.revision => "lacks the newest overrides".to_owned(),
        Standing::Behind => format!("was given r{}", m.attempted),
        Standing::Lost => format!("last seen {}", model.zone.time(m.last_seen)),
        Standing::Current | Standing::TelemetryOnly => String::new(),
    }
}

/// Paints what stands beside it: the instance, and its service's versions side by side.
pub(crate) fn inspector(ui: &mut Ui, model: &Model, state: &mut State, _commands: &mut Commands) {
    let Some((fleet, m)) = chosen(model, state) else { return };
    let standing = standing(m, fleet);
    let (words, tone) = standing.words();
    text::row(
        ui,
        24.0,
        |ui| text::inspector_title(ui, &m.instance),
        |ui| {
            widgets::pill::status(ui, words, tone);
        },
    );
    text::mono_soft(ui, format!("{} {}", m.service, m.version));
    if let Standing::Refused(why) = &standing {
        ui.add_space(4.0);
        text::wrapped(ui, why, text::body_font(), tokens(ui).failed);
    }
    ui.add_space(12.0);
    text::figures(ui, &figures(&m.stats));
    ui.add_space(12.0);
    let pairs = [
        ("running", format!("r{}", m.running)),
        ("given last", format!("r{}", m.attempted)),
        ("wanted", format!("r{}", fleet.revision)),
        ("overrides", format!("{} of {}", m.overrides, fleet.overrides)),
        ("settings in force", m.effective_hash.chars().take(12).collect()),
        ("since", model.zone.date_time(m.since)),
        ("last seen", model.zone.time(m.last_seen)),
        ("dropped records", format::count(m.dropped)),
    ];
    let steered = m.connected.is_some();
    for (name, value) in pairs.iter().skip(if steered { 0 } else { 5 }) {
        text::pair(ui, name, value);
    }
    if !steered {
        text::note(ui, "It sends telemetry but runs no agent: it is seen, not steered.");
    }
    versions(ui, fleet, &m.service);
}

fn figures(stats: &Stats) -> Vec<(&'static str, String, Option<Tone>)> {
    let errors = stats.error_ratio();
    vec![
        ("rate", format::rate(stats.rate()), None),
        ("errors", format::percent(errors), (errors > 0.01).then_some(Tone::Failed)),
        ("p95", stats.quantile(0.95).map_or("–".to_owned(), format::latency), None),
    ]
}

/// A service's versions: (version, instances, what they answered).
fn by_version<'a>(fleet: &'a Fleet, service: &str) -> Vec<(&'a str, usize, Stats)> {
    let mut all: BTreeMap<&str, (usize, Stats)> = BTreeMap::new();
    for m in fleet.members.iter().filter(|m| m.service == service) {
        let entry = all.entry(m.version.as_str()).or_default();
        entry.0 += 1;
        entry.1.merge(&m.stats);
    }
    all.into_iter().map(|(version, (n, stats))| (version, n, stats)).collect()
}

fn versions(ui: &mut Ui, fleet: &Fleet, service: &str) {
    let list = by_version(fleet, service);
    if list.len() < 2 {
        return;
    }
    rule(ui);
    text::section(ui, &format!("Versions of {service}"));
    for (version, n, stats) in &list {
        ui.add_space(10.0);
        let version = if version.is_empty() { "no version sent" } else { version };
        text::row(
            ui,
            20.0,
            |ui| text::styled(ui, version, text::mono_medium(12.0), tokens(ui).text),
            |ui| {
                text::secondary(ui, format::plural(*n as u64, "instance"));
            },
        );
        text::figures(ui, &figures(stats));
    }
}

/// Whether there is something for the inspector to say.
pub(crate) fn has_inspector(model: &Model, state: &State) -> bool {
    chosen(model, state).is_some()
}

fn chosen<'a>(model: &'a Model, state: &State) -> Option<(&'a Fleet, &'a Member)> {
    let (service, instance) = state.chosen.as_ref()?;
    let fleet = model.slots.fleet.get()?;
    fleet.members.iter().find(|m| m.service == *service && m.instance == *instance).map(|m| (fleet, m))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(version: &str, running: u64, connected: Option<bool>) -> Member {
        Member {
            service: "orders".into(),
            version: version.into(),
            running,
            connected,
            overrides: 3,
            ..Member::default()
        }
    }

    #[test]
    fn laggards_and_refusals_are_told_apart() {
        let fleet = Fleet { revision: 42, overrides: 3, ..Fleet::default() };
        assert_eq!(standing(&member("1", 42, Some(true)), &fleet), Standing::Current);
        assert_eq!(standing(&member("1", 41, Some(true)), &fleet), Standing::Behind);
        assert_eq!(standing(&member("1", 41, Some(false)), &fleet), Standing::Lost);
        assert_eq!(standing(&member("1", 0, None), &fleet), Standing::TelemetryOnly);
        let refused = Member { last_failed: Some((42, "too long".into())), ..member("1", 41, Some(true)) };
        assert_eq!(standing(&refused, &fleet), Standing::Refused("too long".into()));
        let long_ago = Member { last_failed: Some((40, "too long".into())), ..member("1", 42, Some(true)) };
        assert_eq!(standing(&long_ago, &fleet), Standing::Current);
        let lacks_override = Member { overrides: 2, ..member("1", 42, Some(true)) };
        assert_eq!(standing(&lacks_override, &fleet), Standing::Behind);
    }

    #[test]
    fn versions_add_up_their_instances() {
        let fleet = Fleet {
            members: vec![member("1.0", 1, None), member("1.1", 1, None), member("1.0", 1, None)],
            ..Fleet::default()
        };
        let list: Vec<(&str, usize)> = by_version(&fleet, "orders").iter().map(|v| (v.0, v.1)).collect();
        assert_eq!(list, [("1.0", 2), ("1.1", 1)]);
    }
}
