//! The fleet view: every instance, what it runs, and who lags behind.

mod beside;
mod standing;

use std::cmp::Ordering;

use egui::Ui;
use fuseboard_api::fleet::{Fleet, Member};

use self::standing::{Standing, desired};
use crate::command::Commands;
use crate::model::Model;
use crate::widgets::table::{Column, Table};
use crate::widgets::{self, Tone, banner, button, field, format, text, tokens};

/// Which instances are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Filter {
    /// All.
    #[default]
    All,
    /// Those that somebody should look at.
    Trouble,
    /// Those that have a staged change before the others.
    Early,
}

/// What this view keeps between two frames.
#[derive(Debug, Default)]
pub(crate) struct State {
    search: String,
    filter: Filter,
    /// The chosen instance: service, instance.
    chosen: Option<(String, String)>,
    /// Column and direction (downwards) of the order; without one trouble stands on top.
    order: Option<(usize, bool)>,
}

/// An instance and how it stands.
type Row<'a> = (&'a Member, Standing<'a>);

/// Paints the view.
pub(crate) fn show(ui: &mut Ui, model: &Model, state: &mut State, _commands: &mut Commands) {
    widgets::view(ui, |ui| {
        let slot = &model.slots.fleet;
        let rows: Vec<Row<'_>> = slot.get().map(all).unwrap_or_default();
        let aside = slot.get().map(|fleet| summary(fleet, &rows)).unwrap_or_default();
        let aside = if ui.available_width() > 900.0 { aside.as_str() } else { "" };
        widgets::view_head(ui, "Fleet", aside, |ui| filters(ui, state, &rows));
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
        troubles(ui, state, fleet, &rows);
        table(ui, model, state, fleet, rows);
    });
}

/// Every instance with how it stands.
fn all(fleet: &Fleet) -> Vec<Row<'_>> {
    let differing = standing::differing(fleet);
    fleet.members.iter().map(|m| (m, standing::standing(m, fleet, &differing))).collect()
}

fn filters(ui: &mut Ui, state: &mut State, rows: &[Row<'_>]) {
    let trouble = rows.iter().filter(|(_, s)| s.is_trouble()).count();
    let early = rows.iter().filter(|(_, s)| *s == Standing::Early).count();
    let words = [format!("All {}", rows.len()), format!("Not well {trouble}"), format!("Staged {early}")];
    let mut options = vec![(Filter::All, words[0].as_str()), (Filter::Trouble, words[1].as_str())];
    if early > 0 || state.filter == Filter::Early {
        options.push((Filter::Early, words[2].as_str()));
    }
    button::segmented(ui, "Show", &mut state.filter, &options);
    let width = ui.available_width().clamp(90.0, 300.0);
    field::text_field_sized(ui, "Find an instance", "find a service, instance or version", &mut state.search, width);
}

fn summary(fleet: &Fleet, rows: &[Row<'_>]) -> String {
    let services: std::collections::BTreeSet<&str> = fleet.members.iter().map(|m| m.service.as_str()).collect();
    let steered = fleet.members.iter().filter(|m| m.connected.is_some()).count();
    let current = rows.iter().filter(|(m, s)| *s == Standing::Current && m.running == fleet.revision).count();
    format!(
        "{} · {current} of {steered} steered ones run r{}",
        format::plural(services.len() as u64, "service"),
        fleet.revision
    )
}

/// One sentence for each kind of trouble.
fn troubles(ui: &mut Ui, state: &mut State, fleet: &Fleet, rows: &[Row<'_>]) {
    for kind in ["refused", "lost", "went back", "behind", "differs"] {
        let mut those = rows.iter().filter(|(_, s)| s.words().0 == kind);
        let Some((first, standing)) = those.next() else { continue };
        let others = match those.count() {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        let lost = if kind == "lost" { "lost the control stream, " } else { "" };
        let sentence = match standing {
            Standing::Differs => beside::trouble(first, fleet, standing),
            _ => format!("{}{others}: {lost}{}", first.instance, beside::trouble(first, fleet, standing)),
        };
        if banner::banner(ui, standing.words().1, &sentence, Some("Show")) {
            state.chosen = Some((first.service.clone(), first.instance.clone()));
            state.filter = Filter::Trouble;
        }
    }
}

const COLUMNS: [Column<'static>; 11] = [
    Column { head: "service", width: 110.0, right: false },
    Column { head: "instance", width: 150.0, right: false },
    Column { head: "version", width: 64.0, right: false },
    Column { head: "state", width: 112.0, right: false },
    Column { head: "revision", width: 84.0, right: true },
    Column { head: "since", width: 72.0, right: true },
    Column { head: "rate", width: 64.0, right: true },
    Column { head: "errors", width: 56.0, right: true },
    Column { head: "p95", width: 70.0, right: true },
    Column { head: "dropped", width: 58.0, right: true },
    Column { head: "note", width: 0.0, right: false },
];

/// Columns that a narrow view keeps: what says who lags behind.
const FEW: [usize; 6] = [0, 1, 3, 4, 6, 7];

fn compare((a, sa): &Row<'_>, (b, sb): &Row<'_>, column: usize) -> Ordering {
    let p95 = |m: &Member| m.stats.quantile(0.95);
    match column {
        0 => a.service.cmp(&b.service),
        1 => a.instance.cmp(&b.instance),
        2 => a.version.cmp(&b.version),
        3 => sb.rank().cmp(&sa.rank()),
        4 => a.running.cmp(&b.running),
        5 => a.since_running.cmp(&b.since_running),
        6 => a.stats.rate().total_cmp(&b.stats.rate()),
        7 => a.stats.error_ratio().total_cmp(&b.stats.error_ratio()),
        8 => p95(a).cmp(&p95(b)),
        9 => a.dropped.cmp(&b.dropped),
        _ => b.last_seen.cmp(&a.last_seen),
    }
}

fn table(ui: &mut Ui, model: &Model, state: &mut State, fleet: &Fleet, mut rows: Vec<Row<'_>>) {
    let wanted = state.search.trim().to_lowercase();
    let has = |m: &Member| {
        wanted.is_empty() || [&m.service, &m.instance, &m.version].iter().any(|s| s.to_lowercase().contains(&wanted))
    };
    rows.retain(|(m, s)| {
        let fits = match state.filter {
            Filter::All => true,
            Filter::Trouble => s.is_trouble(),
            Filter::Early => *s == Standing::Early,
        };
        fits && has(m)
    });
    match state.order {
        Some((column, true)) => rows.sort_by(|a, b| compare(b, a, column)),
        Some((column, false)) => rows.sort_by(|a, b| compare(a, b, column)),
        // Stable: inside one kind they stay by service and instance.
        None => rows.sort_by_key(|(_, s)| s.rank()),
    }
    if rows.is_empty() {
        nothing(ui, state);
        return;
    }
    let is_chosen = |m: &Member| state.chosen.as_ref().is_some_and(|(s, i)| *s == m.service && *i == m.instance);
    let here = rows.iter().position(|(m, _)| is_chosen(m));
    // Beside an open inspector the notes have no room; it says the same.
    let width = ui.available_width();
    let kept: Vec<usize> = match width {
        w if w < 760.0 => FEW.to_vec(),
        w if w < 1080.0 => (0..COLUMNS.len() - 1).collect(),
        _ => (0..COLUMNS.len()).collect(),
    };
    let columns: Vec<Column<'static>> = kept.iter().filter_map(|c| COLUMNS.get(*c).copied()).collect();
    let column_of = |shown: usize| kept.get(shown).copied().unwrap_or_default();
    let sorted = state.order.and_then(|(c, down)| Some((kept.iter().position(|k| *k == c)?, down)));
    let touched = Table::new("instances", &columns, rows.len()).chosen(here).sorted(sorted).show(
        ui,
        |i| rows.get(i).map_or_else(String::new, |(m, s)| format!("{} {}, {}", m.service, m.instance, s.words().0)),
        |ui, i, column| {
            if let Some(row) = rows.get(i) {
                cell(ui, model, row, fleet, column_of(column));
            }
        },
    );
    if let Some((m, _)) = touched.chosen.and_then(|i| rows.get(i)) {
        state.chosen = Some((m.service.clone(), m.instance.clone()));
    }
    if let Some(column) = touched.head.map(column_of) {
        state.order = match state.order {
            Some((c, down)) if c == column => Some((c, !down)),
            _ => Some((column, column >= 3)),
        };
    }
}

fn nothing(ui: &mut Ui, state: &mut State) {
    let search = state.search.trim();
    let head = match (state.filter, search.is_empty()) {
        (_, false) => format!("No instance contains “{search}”"),
        (Filter::Trouble, _) => "Every instance runs what it is meant to".to_owned(),
        _ => "No instance has a staged change".to_owned(),
    };
    banner::empty(ui, &head, "Nothing needs a hand here.", |ui| {
        if button::button(ui, "Show all").clicked() {
            state.filter = Filter::All;
            state.search.clear();
        }
    });
}

fn cell(ui: &mut Ui, model: &Model, (m, standing): &Row<'_>, fleet: &Fleet, column: usize) {
    let t = tokens(ui);
    match column {
        0 => text::styled(ui, &m.service, text::medium(12.5), t.text),
        1 => text::mono(ui, &m.instance).on_hover_text(format!("last seen {}", model.zone.time(m.last_seen))),
        2 => text::mono_soft(ui, if m.version.is_empty() { "–" } else { &m.version }),
        3 => {
            ui.spacing_mut().item_spacing.x = 6.0;
            let (words, tone) = standing.words();
            let (rect, _) = ui.allocate_exact_size(egui::vec2(8.0, 12.0), egui::Sense::hover());
            widgets::pill::paint_dot(ui.painter(), rect.center(), tone, t);
            let response = text::styled(ui, words, text::secondary_font(), t.tone(tone));
            match beside::trouble(m, fleet, standing) {
                why if why.is_empty() => response,
                why => response.on_hover_text(why),
            }
        }
        4 => {
            let desired = desired(m, fleet);
            let behind = m.connected.is_some() && m.running != desired;
            let words = match m.connected {
                None => "–".to_owned(),
                Some(_) if behind => format!("r{} → r{desired}", m.running),
                Some(_) => format!("r{}", m.running),
            };
            let color = match standing {
                _ if behind => t.at_risk,
                Standing::Early => t.accent,
                _ => t.text,
            };
            text::styled(ui, words, text::mono_font(11.5), color)
        }
        5 => text::mono_soft(ui, m.since_running.map_or_else(|| "–".to_owned(), |at| model.zone.time(at))),
        6 => text::mono(ui, format::rate(m.stats.rate())),
        7 => {
            let errors = m.stats.error_ratio();
            let color = if errors > 0.01 { t.failed } else { t.text };
            text::styled(ui, format::percent(errors), text::mono_font(11.5), color)
        }
        8 => text::mono(ui, m.stats.quantile(0.95).map_or_else(|| "–".to_owned(), format::latency)),
        9 => {
            let color = if m.dropped > 0 { t.at_risk } else { t.text_soft };
            text::styled(ui, format::count(m.dropped), text::mono_font(11.5), color)
        }
        _ => {
            let words = beside::trouble(m, fleet, standing);
            let color = if standing.words().1 == Tone::Failed { t.text } else { t.text_soft };
            text::styled(ui, &words, text::secondary_font(), color).on_hover_text(words)
        }
    };
}

/// Paints what stands beside it: the instance, and its service's versions side by side.
pub(crate) fn inspector(ui: &mut Ui, model: &Model, state: &mut State, _commands: &mut Commands) {
    if let Some((fleet, m)) = chosen(model, state) {
        beside::show(ui, model, fleet, m);
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
