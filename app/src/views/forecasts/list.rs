//! Forecasts by severity, with the line that each of them has seen.

use egui::{Key, Rect, Role, Sense, Stroke, StrokeKind, Ui, WidgetInfo, pos2, vec2};
use fuseboard_api::forecast::{Forecast, Forecasts};

use super::State;
use super::rows::{self, Knowledge};
use crate::command::{Command, Commands};
use crate::model::Model;
use crate::views::names;
use crate::widgets::chart::paint_sparkline;
use crate::widgets::pill::paint_dot;
use crate::widgets::{Tone, field, space, text, tokens};

const ROW: f32 = 46.0;

/// Paints the list.
pub(super) fn show(
    ui: &mut Ui,
    model: &Model,
    state: &mut State,
    commands: &mut Commands,
    all: &Forecasts,
    chosen: Option<&Forecast>,
) {
    field::text_field(ui, "Find an edge", "find an edge or service", &mut state.search);
    ui.add_space(space::NEAR);
    let wanted = state.search.trim().to_lowercase();
    let list: Vec<&Forecast> = rows::by_severity(&all.forecasts)
        .into_iter()
        .filter(|f| wanted.is_empty() || f.key.to_string().to_lowercase().contains(&wanted))
        .collect();
    if list.is_empty() {
        text::note(ui, format!("No edge contains “{}”.", state.search.trim()));
        return;
    }
    let is = |f: &Forecast| chosen.is_some_and(|c| c.key == f.key && c.quantity == f.quantity);
    let here = list.iter().position(|f| is(f));
    let mut choose = |f: &Forecast, state: &mut State| {
        state.quantity = Some(f.quantity);
        commands.push(Command::SelectEdge(Some(f.key.clone())));
    };
    egui::ScrollArea::vertical().id_salt("forecasts").auto_shrink(false).show_viewport(ui, |ui, view| {
        ui.set_height(ROW * list.len() as f32);
        let origin = ui.max_rect().min;
        let width = ui.max_rect().width() - 6.0;
        let first = (view.top() / ROW).floor().max(0.0) as usize;
        let last = ((view.bottom() / ROW).ceil().max(0.0) as usize).min(list.len());
        for (i, f) in list.iter().enumerate().take(last).skip(first) {
            let rect = Rect::from_min_size(origin + vec2(0.0, i as f32 * ROW), vec2(width, ROW - 2.0));
            if row(ui, model, rect, f, here == Some(i)) {
                choose(f, state);
            }
        }
        if let Some(to) = arrows(ui, &list, here) {
            choose(list[to], state);
            ui.scroll_to_rect(Rect::from_min_size(origin + vec2(0.0, to as f32 * ROW), vec2(width, ROW)), None);
            ui.memory_mut(|m| m.request_focus(id(list[to])));
        }
    });
}

fn id(f: &Forecast) -> egui::Id {
    egui::Id::unique(("forecast", &f.key, f.quantity))
}

fn arrows(ui: &Ui, list: &[&Forecast], here: Option<usize>) -> Option<usize> {
    let focused = ui.memory(|m| m.focused())?;
    if !list.iter().any(|f| id(f) == focused) {
        return None;
    }
    let at = here?;
    let pressed = |k| ui.input_mut(|i| i.consume_key(egui::Modifiers::NONE, k));
    if pressed(Key::ArrowDown) {
        Some((at + 1).min(list.len() - 1))
    } else if pressed(Key::ArrowUp) {
        Some(at.saturating_sub(1))
    } else {
        None
    }
}

/// What the second line of a row says.
fn second(f: &Forecast, model: &Model) -> (String, Tone) {
    let now = model.time.position();
    match (rows::knowledge(f), &f.breach) {
        (_, Some(b)) => (rows::breach_short(b, now), Tone::AtRisk),
        (Knowledge::Nothing | Knowledge::Seen, None) => ("not enough data yet".to_owned(), Tone::Neutral),
        (_, None) if f.severity != fuseboard_api::graph::Severity::Well => {
            ("outside its normal band".to_owned(), f.severity.into())
        }
        (_, None) => ("no breach foreseen".to_owned(), Tone::Neutral),
    }
}

fn row(ui: &mut Ui, model: &Model, rect: Rect, f: &Forecast, chosen: bool) -> bool {
    let t = tokens(ui);
    let response = ui.interact(rect, id(f), Sense::click());
    let (words, tone) = second(f, model);
    let quantity = rows::quantity(f.quantity);
    response.widget_info(|| {
        let name = format!("forecast of {}, {quantity}, {words}", names::full_name(&f.key));
        WidgetInfo::selected(Role::ListItem, true, chosen, name)
    });
    if response.has_focus() {
        let lock = egui::EventFilter { vertical_arrows: true, ..Default::default() };
        ui.memory_mut(|m| m.set_focus_lock_filter(response.id, lock));
    }
    if chosen || response.hovered() {
        ui.painter().rect_filled(rect, space::RADIUS, if chosen { t.pressed } else { t.panel });
    }
    if chosen {
        ui.painter().rect_filled(
            Rect::from_min_size(rect.min + vec2(0.0, 8.0), vec2(2.0, rect.height() - 16.0)),
            1,
            t.accent,
        );
    }
    let known = !matches!(rows::knowledge(f), Knowledge::Nothing | Knowledge::Seen);
    let severity = if known { Tone::from(f.severity) } else { Tone::Neutral };
    paint_dot(ui.painter(), pos2(rect.left() + 14.0, rect.top() + 14.0), severity, t);
    let spark = Rect::from_min_size(pos2(rect.right() - 68.0, rect.top() + 8.0), vec2(58.0, 15.0));
    let values: Vec<f32> = f.seen.iter().map(|p| p.1 as f32).collect();
    paint_sparkline(
        ui.painter(),
        spark,
        &values,
        if matches!(severity, Tone::Well | Tone::Neutral) { t.text_soft } else { t.tone(severity) },
        true,
    );
    let left = rect.left() + 26.0;
    let at = |x, y| pos2(x, rect.top() + y);
    let room = spark.left() - left - 10.0;
    let name = names::edge_name(&f.key);
    let taken = text::paint(
        ui.painter(),
        at(left, 14.0),
        egui::Align2::LEFT_CENTER,
        name,
        text::medium(12.5),
        t.text,
        room - 40.0,
    );
    let x = taken.right() + 6.0;
    text::paint(
        ui.painter(),
        at(x, 14.5),
        egui::Align2::LEFT_CENTER,
        quantity,
        text::mono_font(11.0),
        t.text_soft,
        spark.left() - x - 4.0,
    );
    let color = if tone == Tone::Neutral { t.text_soft } else { t.tone(tone) };
    let operation = names::short_operation(&f.key.operation);
    text::paint(
        ui.painter(),
        at(left, 33.0),
        egui::Align2::LEFT_CENTER,
        if operation.is_empty() { words } else { format!("{operation} · {words}") },
        text::label_font(),
        color,
        rect.right() - left - 10.0,
    );
    if response.has_focus() {
        ui.painter().rect_stroke(rect, space::RADIUS, Stroke::new(2.0, t.accent), StrokeKind::Inside);
    }
    response.on_hover_text(f.key.to_string()).clicked()
}
