//! The list of edges with the settings that matter most.

use egui::{Key, Rect, Role, Sense, Stroke, StrokeKind, Ui, WidgetInfo, pos2, vec2};
use fuseboard_api::policy::{EffectiveEdge, Policies};

use crate::command::{Command, Commands};
use crate::model::Model;
use crate::views::names;
use crate::widgets::{field, format, space, text, tokens};

const ROW: f32 = 46.0;

/// Paints the list; a click or an arrow key chooses an edge.
pub(super) fn show(ui: &mut Ui, model: &Model, search: &mut String, commands: &mut Commands, policies: &Policies) {
    field::text_field(ui, "Find an edge", "find an edge, service or operation", search);
    ui.add_space(space::NEAR);
    let wanted = search.trim().to_lowercase();
    let list: Vec<&EffectiveEdge> = policies
        .edges
        .iter()
        .filter(|e| wanted.is_empty() || e.key.to_string().to_lowercase().contains(&wanted))
        .collect();
    if list.is_empty() {
        text::note(ui, format!("No edge contains “{}”.", search.trim()));
        return;
    }
    let chosen = super::chosen(model, policies).map(|e| &e.key);
    let here = list.iter().position(|e| Some(&e.key) == chosen);
    egui::ScrollArea::vertical().id_salt("policy edges").auto_shrink(false).show_viewport(ui, |ui, view| {
        ui.set_height(ROW * list.len() as f32);
        let origin = ui.max_rect().min;
        let width = ui.max_rect().width() - 6.0;
        let first = (view.top() / ROW).floor().max(0.0) as usize;
        let last = ((view.bottom() / ROW).ceil().max(0.0) as usize).min(list.len());
        for (i, edge) in list.iter().enumerate().take(last).skip(first) {
            let rect = Rect::from_min_size(origin + vec2(0.0, i as f32 * ROW), vec2(width, ROW - 2.0));
            if row(ui, rect, edge, here == Some(i)) {
                commands.push(Command::SelectEdge(Some(edge.key.clone())));
            }
        }
        if let Some(to) = arrows(ui, &list, here) {
            commands.push(Command::SelectEdge(Some(list[to].key.clone())));
            let rect = Rect::from_min_size(origin + vec2(0.0, to as f32 * ROW), vec2(width, ROW));
            ui.scroll_to_rect(rect, None);
            ui.memory_mut(|m| m.request_focus(id(list[to])));
        }
    });
}

fn id(edge: &EffectiveEdge) -> egui::Id {
    egui::Id::unique(("policy edge", &edge.key))
}

fn arrows(ui: &Ui, list: &[&EffectiveEdge], here: Option<usize>) -> Option<usize> {
    let focused = ui.memory(|m| m.focused())?;
    let at = list.iter().position(|e| id(e) == focused).or(here)?;
    if !list.iter().any(|e| id(e) == focused) {
        return None;
    }
    let pressed = |k| ui.input_mut(|i| i.consume_key(egui::Modifiers::NONE, k));
    if pressed(Key::ArrowDown) {
        Some((at + 1).min(list.len() - 1))
    } else if pressed(Key::ArrowUp) {
        Some(at.saturating_sub(1))
    } else {
        None
    }
}

fn row(ui: &mut Ui, rect: Rect, edge: &EffectiveEdge, chosen: bool) -> bool {
    let t = tokens(ui);
    let response = ui.interact(rect, id(edge), Sense::click());
    let (timeouts, aside) = (timeouts(edge), aside(edge));
    response.widget_info(|| {
        let name = format!("policy of {}, {timeouts}, {aside}", names::full_name(&edge.key));
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
        let bar = Rect::from_min_size(rect.min + vec2(0.0, 8.0), vec2(2.0, rect.height() - 16.0));
        ui.painter().rect_filled(bar, 1, t.accent);
    }
    let (left, right) = (rect.left() + 12.0, rect.right() - 10.0);
    let (y1, y2) = (rect.top() + 14.0, rect.top() + 31.0);
    let paint = |x: f32, y: f32, anchor, words: String, font, color, room| {
        text::paint(ui.painter(), pos2(x, y), anchor, words, font, color, room)
    };
    let figure = paint(right, y1, egui::Align2::RIGHT_CENTER, timeouts, text::mono_font(11.0), t.text, 130.0);
    let room = figure.left() - left - 8.0;
    paint(left, y1, egui::Align2::LEFT_CENTER, names::edge_name(&edge.key), text::medium(12.5), t.text, room);
    let tone = if edge.steered && edge.cut > 0 && share(edge) > 0.01 { t.failed } else { t.text_soft };
    let figure = paint(right, y2, egui::Align2::RIGHT_CENTER, aside, text::label_font(), tone, 130.0);
    let operation = names::short_operation(&edge.key.operation).to_owned();
    let room = figure.left() - left - 8.0;
    paint(left, y2, egui::Align2::LEFT_CENTER, operation, text::mono_font(10.5), t.text_soft, room);
    if response.has_focus() {
        ui.painter().rect_stroke(rect, space::RADIUS, Stroke::new(2.0, t.accent), StrokeKind::Inside);
    }
    response.on_hover_text(edge.key.to_string()).clicked()
}

fn share(edge: &EffectiveEdge) -> f64 {
    let n = edge.attempts.count();
    if n == 0 { 0.0 } else { (edge.cut as f64 / n as f64).min(1.0) }
}

/// `800 / 2,000 ms`: attempt and overall timeout.
fn timeouts(edge: &EffectiveEdge) -> String {
    let t = edge.settings.timeout.clone().unwrap_or_default();
    let said = |ms: Option<u64>| ms.map_or_else(|| "–".to_owned(), format::count);
    match (t.attempt_ms, t.overall_ms) {
        (None, None) => "no timeout".to_owned(),
        (attempt, overall) => format!("{} / {} ms", said(attempt), said(overall)),
    }
}

fn aside(edge: &EffectiveEdge) -> String {
    match (edge.steered, edge.cut, edge.attempts.quantile(0.95)) {
        (false, _, _) => "not steered".to_owned(),
        (true, 0, Some(p95)) => format!("p95 {}", format::latency(p95)),
        (true, 0, None) => "no attempts".to_owned(),
        (true, _, _) => format!("cuts {}", format::percent(share(edge))),
    }
}
