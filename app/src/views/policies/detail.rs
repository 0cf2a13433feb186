//! The chosen edge: the distribution behind its attempt timeout with the thumb on it, and its settings as fields.

use egui::{Ui, vec2};
use fuseboard_api::identity::Deed;
use fuseboard_api::policy::{EffectiveEdge, Policies};

use super::State;
use super::draft::Draft;
use super::fields::{self, Field, GROUPS, Group, Kind};
use super::timeout::{self, Effect};
use crate::command::Commands;
use crate::model::Model;
use crate::views::names;
use crate::widgets::card::card;
use crate::widgets::histogram::Histogram;
use crate::widgets::{Tone, button, field, format, pill, text, tokens};

/// Paints the edge.
pub(super) fn show(
    ui: &mut Ui,
    model: &Model,
    state: &mut State,
    commands: &mut Commands,
    policies: &Policies,
    edge: &EffectiveEdge,
) {
    let in_force = fields::flatten(&edge.settings);
    let editable = edge.steered && model.can(Deed::Policy);
    // An edit belongs to one edge: choosing another one keeps it until it is dropped or sent.
    let mut draft = match &state.draft {
        Some(d) if d.key == edge.key => d.clone(),
        _ => Draft::of(edge, policies.revision.number),
    };
    let before = draft.clone();
    title(ui, edge);
    egui::ScrollArea::vertical().id_salt("policy detail").auto_shrink(false).show(ui, |ui| {
        ui.set_max_width((ui.available_width() - 10.0).min(860.0));
        if !edge.steered {
            not_steered(ui, edge);
        }
        distribution(ui, edge, &mut draft, &in_force, editable);
        ui.add_space(12.0);
        for group in &GROUPS {
            settings(ui, group, edge, &mut draft, &in_force, editable, &mut state.turned);
        }
        if draft != before {
            state.draft = (!draft.is_empty()).then_some(draft);
        }
        if model.narrow {
            super::apply::show(ui, model, state, commands, policies);
        }
    });
}

fn title(ui: &mut Ui, edge: &EffectiveEdge) {
    let t = tokens(ui);
    text::row(
        ui,
        38.0,
        |ui| {
            ui.vertical(|ui| {
                ui.spacing_mut().item_spacing.y = 2.0;
                text::styled(ui, names::edge_name(&edge.key), text::inspector_font(), t.text);
                text::styled(ui, &edge.key.operation, text::mono_font(11.0), t.text_soft)
                    .on_hover_text(&edge.key.operation);
            });
        },
        |ui| {
            if edge.steered {
                pill::pill(ui, &format::plural(u64::from(edge.instances), "caller"), Tone::Neutral);
            } else {
                pill::pill(ui, "not steered", Tone::AtRisk);
            }
        },
    );
    ui.add_space(8.0);
}

fn not_steered(ui: &mut Ui, edge: &EffectiveEdge) {
    let words = format!(
        "{} sends telemetry but runs no agent: these settings are not in force there. Embed the agent or run the sidecar to steer it.",
        edge.key.caller
    );
    text::wrapped(ui, words, text::body_font(), tokens(ui).at_risk);
    ui.add_space(12.0);
}

fn attempt_field() -> Option<&'static Field> {
    fields::by_path("timeout.attempt_ms")
}

fn distribution(ui: &mut Ui, edge: &EffectiveEdge, draft: &mut Draft, in_force: &[(String, String)], editable: bool) {
    let t = tokens(ui);
    let Some(setting) = attempt_field() else { return };
    let present = edge.settings.timeout.as_ref().and_then(|t| t.attempt_ms);
    let typed = draft.shown(setting, in_force).replace([',', ' '], "").parse::<u64>().ok();
    let name = format!("attempt timeout of {}", names::full_name(&edge.key));
    card(ui, |ui| {
        text::section_with(ui, "Attempt timeout", |ui| {
            let words = match (present, typed) {
                (Some(now), Some(new)) if now != new => format!("{} → {} ms", format::count(now), format::count(new)),
                (Some(now), _) => format!("{} ms", format::count(now)),
                (None, Some(new)) => format!("none → {} ms", format::count(new)),
                (None, None) => "none".to_owned(),
            };
            let color = if typed == present { t.text } else { t.accent };
            text::styled(ui, words, text::mono_medium(12.5), color);
        });
        ui.add_space(4.0);
        if edge.attempts.count() == 0 {
            text::note(ui, "No attempts in this range: nothing to see behind the timeout.");
            return;
        }
        // Without a timeout the thumb waits beyond what was seen.
        let slowest = edge.attempts.quantile(0.999).map_or(1000, |d| d.as_millis() as u64 + 1);
        let mut thumb = typed.or(present).unwrap_or(slowest);
        let end = timeout::axis_end(edge, thumb);
        let chart = Histogram::new(&edge.attempts, &name).height(150.0).now(present).max(end);
        if editable {
            if chart.show(ui, &mut thumb).changed() {
                draft.put(setting, thumb.to_string(), in_force);
            }
        } else {
            chart.show_still(ui);
        }
        let effect = timeout::effect(edge, thumb);
        let unmoved = present == Some(thumb) || (present.is_none() && typed.is_none());
        sentences(ui, &effect, unmoved);
    });
}

fn sentences(ui: &mut Ui, effect: &Effect, unmoved: bool) {
    let t = tokens(ui);
    if unmoved {
        let words = if effect.now > 0.0 {
            format!("cuts {} of {} attempts", format::percent(effect.now), format::count(effect.attempts))
        } else {
            format!("cuts none of {} attempts", format::count(effect.attempts))
        };
        text::styled(ui, words, text::medium(12.5), t.text);
    } else {
        text::styled(ui, effect.sentence(), text::medium(12.5), t.text);
    }
    let color = if effect.fits() { t.text_soft } else { t.at_risk };
    text::wrapped(ui, effect.deadline_sentence(), text::secondary_font(), color);
}

fn settings(
    ui: &mut Ui,
    group: &Group,
    edge: &EffectiveEdge,
    draft: &mut Draft,
    in_force: &[(String, String)],
    editable: bool,
    turned: &mut std::collections::BTreeSet<&'static str>,
) {
    let t = tokens(ui);
    let is_set = |f: &Field| in_force.iter().any(|(p, _)| p == f.path);
    let shown = fields_of(group, draft, in_force);
    let set = shown.iter().filter(|f| is_set(f)).count();
    let unset = shown.len() - set;
    let all = turned.contains(group.title);
    ui.add_space(4.0);
    text::row(
        ui,
        26.0,
        |ui| text::section(ui, group.title),
        |ui| {
            let words = match (all, set) {
                (true, 0) => "fold".to_owned(),
                (true, _) => "only what is set".to_owned(),
                (false, 0) => "set up".to_owned(),
                (false, _) => format!("{unset} not set"),
            };
            let name = format!("{}: show {}", group.title, if all { "only what is set" } else { "all settings" });
            if unset > 0 && button::link(ui, &words).accessible_name(name).clicked() && !turned.remove(group.title) {
                turned.insert(group.title);
            }
            if set == 0 && !group.table.is_empty() {
                text::styled(ui, "not in force", text::label_font(), t.label);
            }
        },
    );
    for field in shown {
        if all || is_set(field) || draft.typed.contains_key(field.path) {
            row(ui, field, edge, draft, in_force, editable);
        }
    }
    for (path, value) in in_force.iter().filter(|(p, _)| is_other(group, p)) {
        fixed(ui, edge, path, value);
    }
    let y = ui.cursor().top() + 3.0;
    ui.painter().hline(ui.max_rect().x_range(), y, egui::Stroke::new(1.0, t.line));
    ui.add_space(8.0);
}

/// The settings of a group that can be written: of a table of several kinds, those of the kind it has.
fn fields_of(group: &Group, draft: &Draft, in_force: &[(String, String)]) -> Vec<&'static Field> {
    let variant = draft.variant(group, in_force);
    let belongs = |f: &&Field| match (group.tag(), variant) {
        _ if group.variants.is_empty() => true,
        (_, Some(variant)) => variant.has(f.path),
        (Some(tag), None) => f.path == tag,
        (None, None) => true,
    };
    group.fields.iter().filter(belongs).collect()
}

/// A setting of the group's table that has no field of its own; it is shown and edited in the document.
fn is_other(group: &Group, path: &str) -> bool {
    !group.table.is_empty()
        && path.strip_prefix(group.table).is_some_and(|rest| rest.starts_with('.'))
        && fields::by_path(path).is_none()
}

const LABEL: f32 = 150.0;
const FIELD: f32 = 140.0;

fn row(
    ui: &mut Ui,
    setting: &'static Field,
    edge: &EffectiveEdge,
    draft: &mut Draft,
    in_force: &[(String, String)],
    editable: bool,
) {
    let t = tokens(ui);
    let touched = draft.typed.contains_key(setting.path);
    let room = ui.available_width();
    ui.horizontal(|ui| {
        ui.set_height(30.0);
        cell(ui, LABEL.min(room * 0.3), |ui| {
            let color = if touched { t.accent } else { t.text_soft };
            text::styled(ui, setting.label, text::body_font(), color).on_hover_text(setting.help);
        });
        let mut value = draft.shown(setting, in_force);
        let width = if setting.kind == Kind::Words && room > 480.0 { FIELD * 2.0 } else { FIELD };
        cell(ui, width, |ui| {
            if !editable {
                let value = in_force.iter().find(|(p, _)| p == setting.path).map(|(_, v)| v.as_str());
                text::styled(ui, fields::said(setting.kind, value), text::mono_font(11.5), t.text);
            } else if edit(ui, setting, &mut value) {
                draft.put(setting, value, in_force);
            }
        });
        if editable {
            cell(ui, 22.0, |ui| {
                let unit = match setting.kind {
                    Kind::Millis => "ms",
                    Kind::Share => "%",
                    _ => "",
                };
                text::styled(ui, unit, text::secondary_font(), t.label);
            });
        }
        source(ui, edge, setting.path);
    });
}

fn fixed(ui: &mut Ui, edge: &EffectiveEdge, path: &str, value: &str) {
    let t = tokens(ui);
    let room = ui.available_width();
    ui.horizontal(|ui| {
        ui.set_height(26.0);
        let name = path.split_once('.').map_or(path, |(_, rest)| rest);
        cell(ui, LABEL.min(room * 0.3), |ui| {
            text::styled(ui, name, text::mono_font(11.0), t.text_soft).on_hover_text("Edited in the document");
        });
        cell(ui, FIELD, |ui| {
            text::styled(ui, fields::said(Kind::Words, Some(value)), text::mono_font(11.5), t.text);
        });
        source(ui, edge, path);
    });
}

fn cell(ui: &mut Ui, width: f32, contents: impl FnOnce(&mut Ui)) {
    let size = vec2(width, ui.available_height());
    ui.allocate_ui_with_layout(size, egui::Layout::left_to_right(egui::Align::Center), |ui| {
        ui.set_min_size(size);
        ui.set_max_width(width);
        contents(ui);
    });
}

fn edit(ui: &mut Ui, setting: &'static Field, value: &mut String) -> bool {
    match setting.kind {
        Kind::Choice(words) => choice(ui, setting, value, words),
        Kind::Flag => {
            let shown = match value.as_str() {
                "true" => "yes".to_owned(),
                "false" => "no".to_owned(),
                other => other.to_owned(),
            };
            let mut text = shown;
            let changed = choice(ui, setting, &mut text, &["yes", "no"]);
            if changed {
                *value = match text.as_str() {
                    "yes" => "true".to_owned(),
                    "no" => "false".to_owned(),
                    other => other.to_owned(),
                };
            }
            changed
        }
        _ => field::text_field_sized(ui, setting.label, "off", value, ui.available_width()).changed(),
    }
}

fn choice(ui: &mut Ui, setting: &'static Field, value: &mut String, words: &[&str]) -> bool {
    let before = value.clone();
    let shown = if value.is_empty() { "off" } else { value.as_str() };
    let response =
        egui::ComboBox::from_id_salt(setting.path).width(FIELD - 10.0).selected_text(shown).show_ui(ui, |ui| {
            ui.selectable_value(value, String::new(), "off");
            for word in words {
                ui.selectable_value(value, (*word).to_owned(), *word);
            }
        });
    response.response.accessible_name(setting.label);
    *value != before
}

/// Where a setting came from.
fn source(ui: &mut Ui, edge: &EffectiveEdge, path: &str) {
    if let Some(rule) = edge.provenance.get(path) {
        let t = tokens(ui);
        let words = if rule == "*" { "from the default rule".to_owned() } else { format!("from {rule}") };
        text::styled(ui, &words, text::label_font(), t.label).on_hover_text(words);
    }
}
