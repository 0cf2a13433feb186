//! The command palette: commands, services, edges and trace ids, found by a few letters in order.

use egui::{Key, Modifiers, Rect, Role, Sense, Stroke, StrokeKind, WidgetInfo, vec2};
use fuseboard_api::TraceId;

use crate::command::{self, Command, Commands};
use crate::model::Model;
use crate::widgets::{field, space, text, tokens};

/// What the palette keeps while it is open.
#[derive(Debug, Default)]
pub(super) struct Palette {
    query: String,
    chosen: usize,
    open: bool,
}

impl Palette {
    /// Begins anew.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

/// One line of the palette.
#[derive(Debug, Clone, PartialEq)]
struct Entry {
    kind: &'static str,
    text: String,
    key: String,
    command: Command,
}

/// Rows shown at most.
const ROWS: usize = 12;

/// How well `query` fits `text`: its letters must come in order, case ignored; letters in a row, and at the beginning of a
/// word, count more. `None` when one is missing.
fn fit(query: &str, text: &str) -> Option<i32> {
    if query.trim().is_empty() {
        return Some(0);
    }
    let mut score = 0;
    let mut run = 0;
    let mut before = ' ';
    let mut letters = text.chars();
    for wanted in query.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase) {
        loop {
            let letter = letters.next()?;
            let starts = !before.is_alphanumeric();
            before = letter;
            if letter.to_lowercase().eq(std::iter::once(wanted)) {
                run += 1;
                score += 2 + 3 * run.min(4) + if starts { 8 } else { 0 };
                break;
            }
            run = 0;
            score -= 1;
        }
    }
    Some(score - text.chars().count() as i32 / 8)
}

fn entries(ui: &egui::Ui, model: &Model, query: &str) -> Vec<Entry> {
    let mut all: Vec<(i32, Entry)> = Vec::new();
    let mut offer = |kind, text: String, key, command| {
        if let Some(score) = fit(query, &text) {
            all.push((score, Entry { kind, text, key, command }));
        }
    };
    for entry in command::entries() {
        let key = entry.shortcut.map(|s| command::shortcut_words(ui, &s)).unwrap_or_default();
        offer("command", entry.text.to_owned(), key, entry.command);
    }
    if !query.trim().is_empty() {
        if let Some(totals) = model.slots.totals.get() {
            for service in &totals.services {
                offer("service", service.clone(), String::new(), Command::SelectService(Some(service.clone())));
            }
        }
        if let Some(board) = model.slots.board.get() {
            for edge in &board.edges {
                let key = &edge.key;
                let text = format!("{} → {}  {}", key.caller, key.callee, key.operation);
                offer("edge", text, String::new(), Command::SelectEdge(Some(key.clone())));
            }
        }
        if let Ok(id) = query.trim().parse::<TraceId>() {
            all.push((
                1000,
                Entry {
                    kind: "trace",
                    text: format!("Open trace {id}"),
                    key: String::new(),
                    command: Command::OpenTrace(id),
                },
            ));
        }
    }
    all.sort_by_key(|e| std::cmp::Reverse(e.0));
    all.truncate(ROWS);
    all.into_iter().map(|e| e.1).collect()
}

/// Paints the palette over everything.
pub(super) fn show(ui: &mut egui::Ui, model: &Model, palette: &mut Palette, commands: &mut Commands) {
    let t = tokens(ui);
    let screen = ui.ctx().content_rect();
    if super::help::backdrop(ui, "palette-backdrop") {
        commands.push(Command::Palette);
    }
    let width = 560.0_f32.min(screen.width() - 32.0);
    let at =
        egui::pos2((screen.center().x - width / 2.0).round(), (screen.top() + 72.0).min(screen.height() * 0.12 + 8.0));
    let (up, down, enter) = ui.input_mut(|i| {
        (
            i.consume_key(Modifiers::NONE, Key::ArrowUp),
            i.consume_key(Modifiers::NONE, Key::ArrowDown),
            i.consume_key(Modifiers::NONE, Key::Enter),
        )
    });
    egui::Area::new(egui::Id::unique("palette")).order(egui::Order::Foreground).fixed_pos(at).show(ui.ctx(), |ui| {
        let frame = egui::Frame::new()
            .fill(t.panel)
            .stroke(Stroke::new(1.0, t.line_strong))
            .corner_radius(space::RADIUS_CARD)
            .shadow(egui::Shadow { offset: [0, 12], blur: 32, spread: 0, color: t.shadow })
            .inner_margin(12);
        frame.show(ui, |ui| {
            ui.set_width(width - 24.0);
            let hint = "a command, a service, an edge, a trace id";
            let before = palette.query.clone();
            let response = field::text_field(ui, "Search services, traces, commands", hint, &mut palette.query);
            if !std::mem::replace(&mut palette.open, true) {
                response.request_focus();
            }
            if before != palette.query {
                palette.chosen = 0;
            }
            ui.add_space(8.0);
            let list = entries(ui, model, &palette.query);
            let last = list.len().saturating_sub(1);
            palette.chosen = match (up, down) {
                (true, _) => palette.chosen.saturating_sub(1),
                (_, true) => palette.chosen + 1,
                _ => palette.chosen,
            }
            .min(last);
            if list.is_empty() {
                text::note(ui, format!("Nothing fits “{}”.", palette.query));
            }
            ui.spacing_mut().item_spacing.y = 0.0;
            for (i, entry) in list.iter().enumerate() {
                if row(ui, entry, palette.chosen == i) || (enter && palette.chosen == i) {
                    commands.push(Command::Palette);
                    commands.push(entry.command.clone());
                }
            }
        });
    });
}

fn row(ui: &mut egui::Ui, entry: &Entry, chosen: bool) -> bool {
    let t = tokens(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 28.0), Sense::click());
    response.widget_info(|| WidgetInfo::selected(Role::MenuItem, true, chosen, &entry.text));
    if chosen || response.hovered() {
        ui.painter().rect_filled(rect, space::RADIUS, if chosen { t.pressed } else { t.raised });
    }
    if chosen {
        let bar = Rect::from_min_size(rect.min + vec2(0.0, 6.0), vec2(2.0, 16.0));
        ui.painter().rect(bar, 1, t.accent, Stroke::NONE, StrokeKind::Inside);
    }
    let middle = rect.center().y;
    let at = egui::pos2(rect.left() + 12.0, middle);
    text::paint(
        ui.painter(),
        at,
        egui::Align2::LEFT_CENTER,
        &entry.text,
        text::body_font(),
        t.text,
        rect.width() - 150.0,
    );
    let right = egui::pos2(rect.right() - 12.0, middle);
    let (words, font) = if entry.key.is_empty() {
        (entry.kind, text::label_font())
    } else {
        (entry.key.as_str(), text::mono_font(10.5))
    };
    ui.painter().text(right, egui::Align2::RIGHT_CENTER, words, font, t.text_soft);
    response.clicked()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_in_order_fit_and_word_beginnings_fit_best() {
        assert_eq!(fit("xyz", "Go to Board"), None);
        assert_eq!(fit("drab", "Go to Board"), None);
        assert!(fit("gb", "Go to Board") > fit("gb", "Gather scrub"), "beginnings of words count more");
        assert!(fit("board", "Go to Board") > fit("board", "Bring one more order"), "letters in a row count more");
        assert_eq!(
            (fit(" ", "short"), fit(" ", "anything at all")),
            (Some(0), Some(0)),
            "without letters the order stays"
        );
    }
}
