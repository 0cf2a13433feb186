//! Beside the fleet: the chosen instance, and its service's versions side by side.

use std::collections::BTreeMap;

use egui::Ui;
use fuseboard_api::fleet::{Fleet, Member};
use fuseboard_api::stats::Stats;

use super::standing::{Standing, desired, differing, standing};
use crate::model::Model;
use crate::widgets::{self, Tone, format, rule, text, tokens};

/// Paints it.
pub(super) fn show(ui: &mut Ui, model: &Model, fleet: &Fleet, m: &Member) {
    let standing = standing(m, fleet, &differing(fleet));
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
    if standing.is_trouble() {
        ui.add_space(4.0);
        text::wrapped(ui, trouble(m, fleet, &standing), text::body_font(), tokens(ui).tone(tone));
    }
    ui.add_space(12.0);
    text::figures(ui, &figures(&m.stats));
    ui.add_space(12.0);
    let revision = |n: u64| if n == 0 { "–".to_owned() } else { format!("r{n}") };
    let running = match m.since_running {
        Some(since) => format!("{} since {}", revision(m.running), model.zone.time(since)),
        None => revision(m.running),
    };
    let failed = m.last_failed.as_ref().map_or_else(|| "never".to_owned(), |(n, why)| format!("r{n}: {why}"));
    let pairs = [
        ("running", running),
        ("meant to run", revision(desired(m, fleet))),
        ("attempted last", revision(m.attempted)),
        ("refused last", failed),
        ("went back from", m.reverted_from.map_or_else(|| "never".to_owned(), |n| format!("r{n}"))),
        ("overrides", format!("{} of {}", m.overrides, fleet.overrides)),
        ("settings in force", m.effective_hash.chars().take(12).collect()),
        ("connected since", model.zone.date_time(m.since)),
        ("last seen", model.zone.time(m.last_seen)),
        ("dropped records", format::count(m.dropped)),
    ];
    let steered = m.connected.is_some();
    for (name, value) in pairs.iter().skip(if steered { 0 } else { 7 }) {
        text::pair(ui, name, value);
    }
    if !steered {
        text::note(ui, "It sends telemetry but runs no agent: it is seen, not steered.");
    }
    versions(ui, fleet, &m.service);
}

/// Why somebody should look, in a sentence.
pub(super) fn trouble(m: &Member, fleet: &Fleet, standing: &Standing<'_>) -> String {
    match standing {
        Standing::Refused(why) => format!("refused r{}: {why}", m.last_failed.as_ref().map_or(0, |f| f.0)),
        Standing::WentBack(from) => format!("went back from r{from} by itself: nobody confirmed it in time"),
        Standing::Behind if m.running == desired(m, fleet) => "lacks the newest overrides".to_owned(),
        Standing::Behind => format!("was given r{}, runs r{}", m.attempted, m.running),
        Standing::Differs => {
            let of = |d: &&fuseboard_api::fleet::Drift| d.service == m.service && d.instances.contains(&m.instance);
            fleet.drift.iter().find(of).map(|d| d.text.clone()).unwrap_or_default()
        }
        Standing::Lost => format!("keeps r{} by itself", m.running),
        Standing::Early => format!("has r{} before the others", desired(m, fleet)),
        Standing::Current | Standing::TelemetryOnly => String::new(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_add_up_their_instances() {
        let member = |version: &str| Member { service: "orders".into(), version: version.into(), ..Member::default() };
        let fleet = Fleet { members: vec![member("1.0"), member("1.1"), member("1.0")], ..Fleet::default() };
        let list: Vec<(&str, usize)> = by_version(&fleet, "orders").iter().map(|v| (v.0, v.1)).collect();
        assert_eq!(list, [("1.0", 2), ("1.1", 1)]);
    }
}
