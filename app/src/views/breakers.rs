//! The breakers view: a panel of switches, worst first, and beside it the flip that is being prepared.

mod card;
mod choice;
mod details;
pub(crate) mod flip;
pub(crate) mod flip_panel;
mod impact;
mod recent;
mod switches;
pub(crate) mod words;

use std::collections::BTreeSet;

use egui::{Key, Ui};
use fuseboard_api::breaker::BreakerMode;
use fuseboard_api::graph::EdgeKey;
use fuseboard_api::identity::Deed;

use self::choice::{Filter, Order};
use self::switches::{Sources, Switch};
use crate::command::{Command, Commands, end_all_overrides};
use crate::model::Model;
use crate::views::clock;
use crate::widgets::{self, banner, button, format, space, text};

/// What this view keeps between two frames.
#[derive(Debug, Default)]
pub(crate) struct State {
    filter: Filter,
    order: Order,
    /// Edges whose instances are shown one by one.
    expanded: BTreeSet<EdgeKey>,
    /// Whether "end all overrides" was pressed once.
    ending_all: bool,
    /// The card to bring into sight.
    reveal: bool,
    columns: usize,
}

fn sources(model: &Model) -> Sources<'_> {
    Sources {
        breakers: model.slots.breakers.get(),
        changes: model.slots.changes.get(),
        board: model.slots.board.get(),
        policies: model.slots.policies.get(),
        forecasts: model.slots.forecasts.get(),
        pending: &model.pending,
    }
}

/// Paints the view.
pub(crate) fn show(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands) {
    let all = switches::gather(&sources(model), state.order);
    widgets::view(ui, |ui| {
        head(ui, model, state, commands, &all);
        let slot = &model.slots.breakers;
        if slot.value.is_none() {
            waiting(ui, slot.error.as_deref());
            return;
        }
        if slot.stale || slot.error.is_some() {
            banner::stale(ui, slot.error.as_deref());
            ui.add_space(space::NEAR);
        }
        let shown: Vec<&Switch<'_>> = all.iter().filter(|s| state.filter.wants(s)).collect();
        if shown.is_empty() {
            nothing(ui, state, all.is_empty());
            return;
        }
        keys(ui, model, state, commands, &shown);
        let foot = 26.0;
        let room = egui::vec2(ui.available_width(), (ui.available_height() - foot).max(120.0));
        ui.allocate_ui(room, |ui| grid(ui, model, state, commands, &shown));
        legend(ui);
    });
    let probes = all.iter().flat_map(|s| &s.instances).filter_map(|b| b.probe_at);
    let ends = all.iter().filter_map(|s| s.change.and_then(|c| c.expires));
    clock::repaint(ui, model, probes.chain(ends));
}

/// Paints what stands beside it.
pub(crate) fn inspector(ui: &mut Ui, model: &Model, _state: &mut State, commands: &mut Commands) {
    let chosen = model.selection.edge.as_ref().and_then(|key| switches::one(&sources(model), key));
    let Some(switch) = chosen else { return };
    details::show(ui, model, commands, &switch);
    widgets::rule(ui);
    recent::show(ui, model, commands, &switch);
}

/// Whether there is something for the inspector to say.
pub(crate) fn has_inspector(model: &Model, _state: &State) -> bool {
    let known = |key: &EdgeKey| model.slots.breakers.get().is_some_and(|b| b.breakers.iter().any(|b| b.key == *key));
    model.selection.edge.as_ref().is_some_and(known)
}

fn waiting(ui: &mut Ui, error: Option<&str>) {
    match error {
        None => banner::empty(ui, "Asking for the breakers…", "The picture comes with the first answer.", |_| {}),
        Some(why) => banner::empty(ui, "No answer about breakers", why, |_| {}),
    }
}

fn nothing(ui: &mut Ui, state: &mut State, none_at_all: bool) {
    if none_at_all {
        banner::empty(
            ui,
            "No breakers yet",
            "A switch appears for every edge whose caller runs the Fuseboard agent and whose policy has a breaker. \
             Services that only send OTLP are seen, not steered.",
            |_| {},
        );
        return;
    }
    let head = match state.filter {
        Filter::NotClosed => "Every breaker is closed",
        Filter::AtRisk => "No breaker is near its threshold",
        Filter::Overridden | Filter::All => "No override is in force",
    };
    banner::empty(ui, head, "Nothing needs a hand here.", |ui| {
        if button::button(ui, "Show all").clicked() {
            state.filter = Filter::All;
        }
    });
}

fn head(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands, all: &[Switch<'_>]) {
    let aside = summary(all);
    let room = ui.available_width();
    widgets::view_head(ui, "Breakers", if room > 940.0 { &aside } else { "" }, |ui| {
        let counted: Vec<(Filter, String)> = Filter::ALL
            .iter()
            .map(|f| (*f, format!("{} {}", f.label(), all.iter().filter(|s| f.wants(s)).count())))
            .collect();
        let options: Vec<(Filter, &str)> = counted.iter().map(|(f, words)| (*f, words.as_str())).collect();
        button::segmented(ui, "Show", &mut state.filter, &options);
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            if button::link(ui, &format!("sort: {} ↓", state.order.label())).clicked() {
                state.order = state.order.next();
            }
            end_all(ui, model, state, commands, all);
        });
    });
}

/// One press asks, the second ends them.
fn end_all(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands, all: &[Switch<'_>]) {
    let overridden = all.iter().filter(|s| s.is_overridden()).count();
    if overridden == 0 || !model.can(Deed::Override) {
        state.ending_all = false;
        return;
    }
    ui.add_space(space::NEAR);
    let words = if state.ending_all {
        format!("End {} now", format::plural(overridden as u64, "override"))
    } else {
        "End all overrides…".to_owned()
    };
    let kind = if state.ending_all { button::Kind::Danger } else { button::Kind::Quiet };
    let response = button::Button::new(&words).kind(kind).show(ui).on_hover_text("Every edge goes back to its rule");
    if response.clicked() {
        if state.ending_all {
            commands.push(end_all_overrides());
        }
        state.ending_all = !state.ending_all;
    } else if state.ending_all && response.clicked_elsewhere() {
        state.ending_all = false;
    }
}

fn summary(all: &[Switch<'_>]) -> String {
    let open = all.iter().filter(|s| s.open > 0).count();
    let probing = all.iter().filter(|s| s.open == 0 && s.half_open > 0).count();
    let overridden = all.iter().filter(|s| s.is_overridden()).count();
    let mut out = format::plural(all.len() as u64, "edge");
    for (n, word) in [(open, "open"), (probing, "probing")] {
        if n > 0 {
            out.push_str(&format!(" · {n} {word}"));
        }
    }
    if overridden > 0 {
        out.push_str(&format!(" · {}", format::plural(overridden as u64, "override")));
    }
    out
}

fn legend(ui: &mut Ui) {
    ui.add_space(6.0);
    text::label(ui, "↑↓←→ choose · A O C S flip · R reason · T expiry · Enter send, details · U undo · Esc cancel");
}

/// Keys of the panel; none while text is being typed.
fn keys(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands, shown: &[&Switch<'_>]) {
    if ui.text_edit_focused() {
        return;
    }
    let Some(here) = chosen_index(model, shown) else { return };
    let on_card = ui.memory(|m| m.focused()).is_none_or(|id| shown.iter().any(|s| card::id(s.key) == id));
    if on_card {
        let columns = state.columns.max(1);
        let steps = [
            (Key::ArrowLeft, -1),
            (Key::ArrowRight, 1),
            (Key::ArrowUp, -(columns as i64)),
            (Key::ArrowDown, columns as i64),
        ];
        for (key, step) in steps {
            if pressed(ui, key) {
                // egui would move the focus on from the card at the end of this frame.
                ui.memory_mut(|m| m.move_focus(egui::FocusDirection::None));
                let there = (here as i64 + step).clamp(0, shown.len() as i64 - 1) as usize;
                let key = shown[there].key;
                commands.push(Command::SelectEdge(Some(key.clone())));
                ui.memory_mut(|m| m.request_focus(card::id(key)));
                state.reveal = true;
            }
        }
        if pressed(ui, Key::Enter) {
            let key = shown[here].key.clone();
            if !state.expanded.remove(&key) {
                state.expanded.insert(key);
            }
        }
    }
    let switch = shown[here];
    for (letter, mode) in [
        (Key::A, BreakerMode::Auto),
        (Key::O, BreakerMode::ForcedOpen),
        (Key::C, BreakerMode::ForcedClosed),
        (Key::S, BreakerMode::Shadow),
    ] {
        if pressed(ui, letter) {
            begin(model, commands, switch, mode);
        }
    }
    if pressed(ui, Key::U) {
        commands.push(Command::Undo);
    }
}

fn pressed(ui: &Ui, key: Key) -> bool {
    ui.input_mut(|i| i.consume_key(egui::Modifiers::NONE, key))
}

fn chosen_index(model: &Model, shown: &[&Switch<'_>]) -> Option<usize> {
    let chosen = model.selection.edge.as_ref();
    shown.iter().position(|s| Some(s.key) == chosen).or(if shown.is_empty() { None } else { Some(0) })
}

/// Opens the flip panel for a switch.
fn begin(model: &Model, commands: &mut Commands, switch: &Switch<'_>, mode: BreakerMode) {
    if model.can(Deed::Override) {
        commands.push(Command::Flip { edge: switch.key.clone(), instance: None, mode });
    }
}

/// The cards in as many columns as fit; only those in sight are painted.
fn grid(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands, shown: &[&Switch<'_>]) {
    const GAP: f32 = 16.0;
    let now = clock::instant(model);
    let width = ui.available_width() - 8.0;
    let columns = (((width + GAP) / (card::MIN_WIDTH + GAP)).floor() as usize).clamp(1, 4);
    state.columns = columns;
    let card_width = (width - GAP * (columns as f32 - 1.0)) / columns as f32;
    let rows: Vec<(f32, &[&Switch<'_>])> = shown
        .chunks(columns)
        .map(|row| {
            let height = row.iter().map(|s| card::height(s, state.expanded.contains(s.key))).fold(0.0, f32::max);
            (height, row)
        })
        .collect();
    let total: f32 = rows.iter().map(|(h, _)| h + GAP).sum();
    let here = chosen_index(model, shown);
    let unique = card::Names::of(shown.iter().map(|s| s.key));
    egui::ScrollArea::vertical().id_salt("breakers").auto_shrink(false).show_viewport(ui, |ui, view| {
        ui.set_height(total);
        let origin = ui.max_rect().min;
        let mut y = 0.0;
        for (r, (height, row)) in rows.iter().enumerate() {
            let revealed = state.reveal && here.is_some_and(|h| h / columns == r);
            let place = |c: usize, height: f32| {
                let min = origin + egui::vec2(c as f32 * (card_width + GAP), y);
                egui::Rect::from_min_size(min, egui::vec2(card_width, height))
            };
            if revealed {
                ui.scroll_to_rect(place(0, *height), None);
            }
            if revealed || (y + height >= view.min.y && y <= view.max.y) {
                for (c, switch) in row.iter().enumerate() {
                    let chosen = model.selection.edge.as_ref() == Some(switch.key);
                    let drawn = card::Drawn {
                        switch,
                        now,
                        chosen,
                        names: &unique,
                        expanded: state.expanded.contains(switch.key),
                    };
                    let own = card::height(switch, drawn.expanded);
                    if let Some(deed) = card::show(ui, place(c, own), model, &drawn) {
                        act(model, state, commands, switch, deed);
                    }
                }
            }
            y += height + GAP;
        }
        state.reveal = false;
    });
}

fn act(model: &Model, state: &mut State, commands: &mut Commands, switch: &Switch<'_>, deed: card::Deed) {
    match deed {
        card::Deed::Choose => commands.push(Command::SelectEdge(Some(switch.key.clone()))),
        card::Deed::Flip(mode) => begin(model, commands, switch, mode),
        card::Deed::Trace(id) => commands.push(Command::OpenTrace(id)),
        card::Deed::Expand => {
            if !state.expanded.remove(switch.key) {
                state.expanded.insert(switch.key.clone());
            }
        }
    }
}
