//! Over the waterfall: what the trace was, its figures, how it is drawn, and where to jump.

use egui::Ui;

use super::built::Built;
use super::ending::reason;
use super::facts::End;
use super::summary::Summary;
use super::{State, Tab};
use crate::command::{Command, Commands};
use crate::model::{Model, View};
use crate::widgets::button::{Button, Kind, link, segmented, toggle};
use crate::widgets::{Tone, field, format, space, text, tokens};

/// Paints it.
pub(crate) fn show(ui: &mut Ui, model: &Model, built: &Built, state: &mut State, commands: &mut Commands) {
    let Some(root) = built.root() else { return };
    let width = ui.available_width();
    let figures = figures(built, root);
    let room = if width > 880.0 { 0.42 } else { 1.0 };
    ui.horizontal(|ui| {
        ui.allocate_ui_with_layout(
            egui::vec2(width * room - 8.0, 36.0),
            egui::Layout::left_to_right(egui::Align::Center),
            |ui| {
                ui.set_min_width(width * room - 8.0);
                title(ui, built, root, commands);
            },
        );
        if room < 1.0 {
            text::figures(ui, &figures);
        }
    });
    if room >= 1.0 {
        text::figures(ui, &figures);
    }
    ui.add_space(space::NEAR);
    let slow = state.find.go_on(built);
    if slow {
        ui.request_repaint();
    }
    ui.horizontal(|ui| {
        segmented(
            ui,
            "Show as",
            &mut state.tab,
            &[(Tab::Waterfall, "Waterfall"), (Tab::Flame, "Flame"), (Tab::Table, "Table")],
        );
        ui.add_space(4.0);
        if width > 640.0 {
            finder(ui, built, state, 190.0, commands);
            jumps(ui, built, state, commands);
        }
    });
    if width <= 640.0 {
        ui.horizontal(|ui| {
            finder(ui, built, state, 150.0, commands);
            jumps(ui, built, state, commands);
        });
    }
    notes(ui, model, built);
    ui.add_space(space::NEAR);
}

fn title(ui: &mut Ui, built: &Built, root: u32, commands: &mut Commands) {
    let id = built.trace.trace_id.to_string();
    let name = built.span(root).map_or("", |s| s.name.as_str());
    if link(ui, "‹ Traces").on_hover_text("Alt+Left: back").clicked() {
        commands.push(Command::Go(View::Traces));
    }
    let t = tokens(ui);
    let room = (ui.available_width() - 120.0).max(60.0);
    let width = text::width(ui, name, text::title_font()).min(room);
    ui.allocate_ui_with_layout(egui::vec2(width + 4.0, 28.0), egui::Layout::left_to_right(egui::Align::Center), |ui| {
        text::title(ui, name).on_hover_text(name);
    });
    let short = format!("{} {} … {}", &id[..4], &id[4..8], &id[28..]);
    let response = text::styled(ui, short, text::mono_font(11.0), t.text_soft);
    let response = ui.interact(response.rect, ui.scope_id().with("trace id"), egui::Sense::click());
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, format!("copy trace id {id}")));
    if response.on_hover_text(format!("{id}: click to copy")).clicked() {
        commands.push(Command::Copy(id, "trace id".to_owned()));
    }
}

fn figures(built: &Built, root: u32) -> Vec<(&'static str, String, Option<Tone>)> {
    let facts = built.facts[root as usize];
    let bad = match facts.end {
        End::Well => None,
        End::Timeout | End::Cancelled => Some(Tone::AtRisk),
        End::Failed | End::Refused => Some(Tone::Failed),
    };
    let (begin, end) = built.times[root as usize];
    let Summary { loose, retries, shares, revision, .. } = &built.summary;
    let spans = built.trace.spans.len() as u64;
    let spans = if *loose > 0 { format!("{} · {loose} loose", format::count(spans)) } else { format::count(spans) };
    let total: i64 = shares.iter().map(|s| s.1).sum();
    let critical = shares.first().map_or_else(
        || "–".to_owned(),
        |(name, ns)| format!("{name} {}", format::percent(*ns as f64 / total.max(1) as f64)),
    );
    let mut status = match facts.end {
        End::Well => "ok".to_owned(),
        _ => built.span(root).map(reason).unwrap_or_default(),
    };
    if *retries > 0 {
        status =
            format!("{status}, {}", if *retries == 1 { "1 retry".to_owned() } else { format!("{retries} retries") });
    }
    vec![
        ("duration", format::nanos((end - begin).unsigned_abs()), bad),
        ("spans", spans, None),
        ("critical path", critical, (total > 0).then_some(Tone::AtRisk)),
        ("revision", revision.as_ref().map_or_else(|| "–".to_owned(), |r| format!("r{r}")), None),
        ("status", status, bad),
    ]
}

fn finder(ui: &mut Ui, built: &Built, state: &mut State, width: f32, commands: &mut Commands) {
    let response = field::text_field_sized(ui, "Find in trace", "find in trace", &mut state.find.text, width);
    let (enter, back) = ui.input(|i| (i.key_pressed(egui::Key::Enter), i.modifiers.shift));
    let mut step = (response.lost_focus() && enter).then_some(!back);
    if step.is_some() {
        response.request_focus();
    }
    if state.find.is_on() {
        let (at, of) = state.find.standing();
        text::mono_soft(ui, if of == 0 { "none".to_owned() } else { format!("{at}/{of}") });
        ui.spacing_mut().item_spacing.x = 2.0;
        for (words, forward, name) in [("‹", false, "previous hit"), ("›", true, "next hit")] {
            if Button::new(words).small().show(ui).on_hover_text(name).clicked() {
                step = Some(forward);
            }
        }
        ui.spacing_mut().item_spacing.x = 8.0;
    }
    if let Some(span) = step.and_then(|forward| state.find.step(forward)) {
        state.go_to(built, span, commands);
    }
}

fn jumps(ui: &mut Ui, built: &Built, state: &mut State, commands: &mut Commands) {
    let mut path = !state.hide_path;
    if toggle(ui, "critical path", &mut path) {
        state.hide_path = !path;
    }
    if !built.long_path.is_empty() && !state.hide_path {
        let words = if state.through_queues { "to the last span" } else { "to the answer" };
        let hover = "whether the path ends where the caller had its answer or goes through queues to the last span";
        if Button::new(words).small().kind(Kind::Quiet).show(ui).on_hover_text(hover).clicked() {
            state.through_queues = !state.through_queues;
        }
    }
    if ui.available_width() < 150.0 {
        return;
    }
    text::secondary(ui, "go to");
    let whole = &built.summary;
    for (words, target) in [("failing", whole.culprit), ("slowest", whole.slowest), ("critical", whole.critical)] {
        if ui.available_width() > 60.0
            && let Some(span) = target
            && link(ui, words).clicked()
        {
            state.go_to(built, span, commands);
        }
    }
}

/// What has to be said about the picture itself.
fn notes(ui: &mut Ui, model: &Model, built: &Built) {
    if model.slots.trace.stale || model.slots.trace.error.is_some() {
        crate::widgets::banner::stale(ui, model.slots.trace.error.as_deref());
    }
    let said: Vec<String> = built
        .skew
        .moved
        .iter()
        .map(|m| {
            let who = if m.instance.is_empty() { &m.service } else { &m.instance };
            format!("{who} {}{}", if m.nanos > 0 { "+" } else { "−" }, format::nanos(m.nanos.unsigned_abs()))
        })
        .collect();
    if !said.is_empty() {
        ui.add_space(4.0);
        let words = format!("Clocks corrected: {}", said.join(", "));
        text::styled(ui, &words, text::secondary_font(), tokens(ui).at_risk).on_hover_text(
            "Servers seemed to begin before, or after, the clients that called them. Their hosts' clocks were moved by the middle of what makes sense.",
        );
    }
}
