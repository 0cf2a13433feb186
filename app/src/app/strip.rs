//! The time strip under every view: density of calls and errors, marks, incidents, the cursor.

use std::time::Duration;

use egui::{Align2, Color32, Painter, Pos2, Rect, Response, Role, Sense, Stroke, StrokeKind, WidgetInfo, pos2, vec2};
use fuseboard_api::graph::Severity;
use fuseboard_api::strip::{Mark, MarkKind, Strip};
use fuseboard_api::{TimeRange, UnixNanos};

use crate::command::{Command, Commands};
use crate::model::Model;
use crate::time::{Cursor, SPEEDS};
use crate::widgets::icon::{self, Icon};
use crate::widgets::theme::mix;
use crate::widgets::{Tokens, Tone, chart, focus_ring, format, text, tokens};

/// What the strip keeps between two frames.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Where a range that is being drawn began.
    choosing: Option<UnixNanos>,
}

/// Width of the controls at its left.
const CONTROLS: f32 = 168.0;

/// How instants lie on the strip.
#[derive(Debug, Clone, Copy)]
struct Scale {
    rect: Rect,
    range: TimeRange,
}

impl Scale {
    fn x(self, t: UnixNanos) -> f32 {
        let whole = self.range.length().as_secs_f64().max(1e-3);
        let part = (t.0.saturating_sub(self.range.from.0)) as f64 / 1e9;
        self.rect.left() + (part / whole) as f32 * self.rect.width()
    }

    fn at(self, x: f32) -> UnixNanos {
        let part = f64::from(((x - self.rect.left()) / self.rect.width()).clamp(0.0, 1.0));
        UnixNanos(self.range.from.0.saturating_add((self.range.length().as_nanos() as f64 * part) as i64))
    }

    fn rect_of(self, range: TimeRange, top: f32, bottom: f32) -> Rect {
        let x = |t| self.x(t).clamp(self.rect.left(), self.rect.right());
        Rect::from_min_max(pos2(x(range.from), top), pos2(x(range.to).max(x(range.from) + 2.0), bottom))
    }
}

/// Paints the strip.
pub(super) fn show(ui: &mut egui::Ui, model: &Model, state: &mut State, commands: &mut Commands) {
    let t = tokens(ui);
    let area = ui.max_rect();
    controls(ui, area, model, commands);
    let chart = Rect::from_min_max(
        pos2(area.left() + CONTROLS + 12.0, area.top() + 12.0),
        pos2(area.right() - 24.0, area.top() + 84.0),
    );
    if chart.width() < 60.0 {
        return;
    }
    let scale = Scale { rect: chart, range: model.time.strip_range() };
    ui.painter().rect_filled(chart.expand2(vec2(4.0, 2.0)), 6, t.window);
    let hit = chart.expand2(vec2(4.0, 0.0)).with_max_y(area.bottom());
    let response = ui.interact(hit, ui.scope_id().with("strip"), Sense::click_and_drag());
    let words = describe(model);
    response.widget_info(|| {
        let mut info = WidgetInfo::slider(true, model.time.position().as_secs_f64(), "time strip");
        info.current_text_value = Some(words.clone());
        info
    });
    seek(ui, &response, scale, model, state, commands);
    let strip = model.slots.strip.get();
    if let Some(strip) = strip {
        density(ui.painter(), scale, strip, t);
    }
    range_chosen(ui, scale, model, commands);
    ticks(ui.painter(), scale, model, area.bottom() - 14.0, t);
    if let Some(strip) = strip {
        incidents(ui, scale, strip, commands);
        flags(ui, scale, &strip.marks, model, commands);
    }
    cursor(ui.painter(), scale, model.time.position(), t);
    if response.has_focus() {
        ui.painter().rect_stroke(chart.expand(4.0), 6, Stroke::new(1.5, t.accent), StrokeKind::Inside);
    }
}

/// What the strip says to those who cannot see it.
fn describe(model: &Model) -> String {
    let state = model.time.cursor.word();
    let marks = model.slots.strip.get().map_or(0, |s| s.marks.len());
    format!("{state} at {}, {marks} marks", model.zone.tenth(model.time.position()))
}

fn controls(ui: &mut egui::Ui, area: Rect, model: &Model, commands: &mut Commands) {
    let t = tokens(ui);
    let cursor = model.time.cursor;
    let left = area.left() + 12.0;
    let small = |x: f32| Rect::from_min_size(pos2(left + x, area.top() + 12.0), vec2(26.0, 26.0));
    let word = cursor.word();
    let (picture, name) = match cursor {
        Cursor::Following | Cursor::Playing { .. } => (Icon::Pause, "Pause"),
        Cursor::Paused { .. } => (Icon::Play, "Play"),
    };
    if control(ui, small(0.0), picture, name, true) {
        commands.push(if picture == Icon::Pause { Command::Pause } else { Command::Play });
    }
    if control(ui, small(30.0), Icon::Last, "Last mark", false) {
        commands.push(Command::Step(false));
    }
    if control(ui, small(58.0), Icon::Next, "Next mark", false) {
        commands.push(Command::Step(true));
    }
    let live = Rect::from_min_max(pos2(left + 90.0, area.top() + 12.0), pos2(left + CONTROLS - 8.0, area.top() + 38.0));
    let response = ui.interact(live, ui.scope_id().with("follow"), Sense::click());
    let said = if cursor.is_following() { "following the newest" } else { "Follow the newest" };
    response.widget_info(|| WidgetInfo::selected(Role::Switch, true, cursor.is_following(), said));
    let color = if cursor.is_following() { t.text } else { t.accent };
    ui.painter().text(live.left_center(), Align2::LEFT_CENTER, word, text::body_font(), color);
    focus_ring(ui, &response, 4);
    if response.on_hover_text("follow the newest or pause (Space)").clicked() {
        commands.push(Command::ToggleFollow);
    }
    let time = pos2(left, area.top() + 58.0);
    ui.painter().text(
        time,
        Align2::LEFT_CENTER,
        model.zone.tenth(model.time.position()),
        text::mono_font(12.5),
        t.text,
    );
    let date = pos2(left + 90.0, area.top() + 58.0);
    if !cursor.is_following() {
        let behind = model.time.edge.since(model.time.position());
        let words = format!("−{}", format::duration(behind));
        text::paint(ui.painter(), date, Align2::LEFT_CENTER, words, text::mono_font(11.0), t.label, CONTROLS - 94.0);
    }
    speeds(ui, pos2(left - 4.0, area.top() + 74.0), model, commands);
}

fn control(ui: &egui::Ui, rect: Rect, picture: Icon, name: &str, strong: bool) -> bool {
    let t = tokens(ui);
    let response = ui.interact(rect, ui.scope_id().with(("strip", rect.left() as i32)), Sense::click());
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, name));
    if strong || response.hovered() {
        ui.painter().rect_filled(rect, 6, if response.hovered() { t.pressed } else { t.raised });
    }
    let color = if strong { t.text } else { t.text_soft };
    icon::paint(ui.painter(), Rect::from_center_size(rect.center(), vec2(14.0, 14.0)), picture, color);
    focus_ring(ui, &response, 6);
    response.on_hover_text(name).clicked()
}

fn speeds(ui: &egui::Ui, at: Pos2, model: &Model, commands: &mut Commands) {
    let t = tokens(ui);
    for (i, speed) in SPEEDS.into_iter().enumerate() {
        let rect = Rect::from_min_size(at + vec2(i as f32 * 28.0, 0.0), vec2(28.0, 22.0));
        let response = ui.interact(rect, ui.scope_id().with(("speed", i)), Sense::click());
        let chosen = model.time.speed == speed;
        let name = format!("speed ×{}", speed.label());
        response.widget_info(|| WidgetInfo::selected(Role::RadioButton, true, chosen, &name));
        let color = if chosen {
            t.text
        } else if response.hovered() {
            t.text_soft
        } else {
            t.label
        };
        ui.painter().text(
            rect.center(),
            Align2::CENTER_CENTER,
            format!("×{}", speed.label()),
            text::mono_font(10.5),
            color,
        );
        if chosen {
            ui.painter().hline(rect.shrink2(vec2(6.0, 0.0)).x_range(), rect.bottom() - 2.5, Stroke::new(1.5, t.accent));
        }
        focus_ring(ui, &response, 4);
        if response.on_hover_text(format!("play at ×{}", speed.label())).clicked() {
            commands.push(Command::Speed(speed));
        }
    }
}

/// Drag moves the cursor; with Shift, or below the chart, it draws a range. The wheel zooms.
fn seek(ui: &egui::Ui, response: &Response, scale: Scale, model: &Model, state: &mut State, commands: &mut Commands) {
    let pointer = response.interact_pointer_pos();
    let shift = ui.input(|i| i.modifiers.shift);
    if response.drag_started() {
        let start = ui.input(|i| i.pointer.press_origin()).or(pointer);
        state.choosing = start.filter(|p| shift || p.y > scale.rect.bottom() + 2.0).map(|p| scale.at(p.x));
    }
    match (pointer, state.choosing) {
        (Some(p), Some(from)) => {
            let to = scale.at(p.x);
            let range = TimeRange { from: from.min(to), to: from.max(to) };
            if range.length() > model.time.strip / 200 {
                commands.push(Command::Choose(Some(range)));
            }
        }
        (Some(p), None) if response.dragged() || response.clicked() => {
            let at = scale.at(p.x);
            let newest = model.time.strip_end.is_none() && p.x >= scale.rect.right() - 2.0;
            commands.push(if newest { Command::Follow } else { Command::Seek(at) });
        }
        _ => {}
    }
    if response.drag_stopped() {
        state.choosing = None;
    }
    let Some(hover) = response.hover_pos() else { return };
    let (zoom, scroll) = ui.input(|i| (i.zoom_delta(), i.smooth_scroll_delta()));
    let factor = if zoom == 1.0 { (-f64::from(scroll.y) / 240.0).exp() } else { 1.0 / f64::from(zoom) };
    if (factor - 1.0).abs() > 1e-3 || scroll.x != 0.0 {
        let length = model.time.strip.mul_f64(factor).clamp(Duration::from_secs(30), Duration::from_secs(7 * 86_400));
        let share = f64::from((scale.rect.right() - hover.x) / scale.rect.width());
        let anchor = scale.at(hover.x);
        let shift = model.time.strip.as_nanos() as f64 * f64::from(-scroll.x / scale.rect.width());
        let end = UnixNanos(anchor.0.saturating_add((length.as_nanos() as f64 * share + shift) as i64));
        commands.push(Command::StripWindow(length, (end < model.time.edge).then_some(end)));
    }
    let x = hover.x.clamp(scale.rect.left(), scale.rect.right());
    ui.painter().vline(x, scale.rect.y_range(), Stroke::new(1.0, tokens(ui).line_strong));
    if !response.dragged() {
        let at = scale.at(x);
        let calls = model.slots.strip.get().and_then(|s| {
            let i = at.since(s.range.from).as_millis() as u64 / s.step_ms.max(1);
            s.density.get(i as usize).map(|d| (d.calls, d.errors, s.step_ms))
        });
        response.clone().on_hover_ui_at_pointer(|ui| {
            text::mono(ui, model.zone.time(at));
            if let Some((calls, errors, ms)) = calls {
                let rate = format::rate(calls as f64 * 1000.0 / ms as f64);
                text::secondary(ui, format!("{rate}, {} failed", format::percent(errors as f64 / calls.max(1) as f64)));
            }
        });
    }
}

fn density(painter: &Painter, scale: Scale, strip: &Strip, t: &Tokens) {
    let bars: Vec<(f32, f32)> = strip.density.iter().map(|d| (d.calls as f32, d.errors as f32)).collect();
    let until = strip.range.from + Duration::from_millis(strip.step_ms.saturating_mul(strip.density.len() as u64));
    let body = Rect::from_min_max(
        pos2(scale.x(strip.range.from), scale.rect.top() + 22.0),
        pos2(scale.x(until), scale.rect.bottom() - 12.0),
    );
    let painter = painter.with_clip_rect(scale.rect);
    chart::paint_bars(&painter, body, &bars, mix(t.window, t.accent, 0.38), t.failed);
}

fn range_chosen(ui: &egui::Ui, scale: Scale, model: &Model, commands: &mut Commands) {
    let Some(range) = model.time.chosen else { return };
    let t = tokens(ui);
    let rect = scale.rect_of(range, scale.rect.top() - 2.0, scale.rect.bottom() + 2.0);
    let fill = Color32::from_rgba_unmultiplied(t.accent.r(), t.accent.g(), t.accent.b(), 28);
    ui.painter().rect(rect, 3, fill, Stroke::new(1.0, t.accent), StrokeKind::Inside);
    let words = format::duration(range.length());
    let mut right = pos2((rect.right() + 4.0).min(scale.rect.right() - 92.0), scale.rect.bottom() + 6.0);
    ui.painter().text(right + vec2(0.0, 2.0), Align2::LEFT_TOP, &words, text::mono_font(10.0), t.accent);
    right.x += 8.0 + text::width(ui, &words, text::mono_font(10.0));
    let close = Rect::from_min_size(right, vec2(16.0, 16.0));
    if control(ui, close, Icon::Close, "Show the whole time again", false) {
        commands.push(Command::Choose(None));
    }
    let lap = Rect::from_min_size(right + vec2(20.0, 0.0), vec2(16.0, 16.0));
    if control(
        ui,
        lap,
        Icon::Loop,
        if model.time.lap { "Stop going round" } else { "Go round in this range" },
        model.time.lap,
    ) {
        commands.push(Command::Lap(!model.time.lap));
    }
}

fn ticks(painter: &Painter, scale: Scale, model: &Model, y: f32, t: &Tokens) {
    const STEPS: [u64; 16] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 86_400];
    let wanted = model.time.strip.as_secs_f64() / f64::from(scale.rect.width() / 140.0);
    let step = STEPS.into_iter().find(|s| *s as f64 >= wanted).unwrap_or(86_400);
    let step_time = Duration::from_secs(step);
    let mut at = (scale.range.from + step_time).floor(step_time);
    while at < scale.range.to {
        let x = scale.x(at);
        let words = match step {
            0..60 => model.zone.time(at),
            86_400 => model.zone.date(at),
            _ => model.zone.minute(at),
        };
        if x > scale.rect.left() + 24.0 && x < scale.rect.right() - 20.0 {
            painter.vline(x, scale.rect.bottom()..=scale.rect.bottom() + 4.0, Stroke::new(1.0, t.line_strong));
            painter.text(pos2(x, y), Align2::CENTER_CENTER, words, text::mono_font(10.5), t.label);
        }
        at = at + step_time;
    }
}

fn incidents(ui: &egui::Ui, scale: Scale, strip: &Strip, commands: &mut Commands) {
    let t = tokens(ui);
    for (i, (id, name, range)) in strip.incidents.iter().enumerate() {
        let rect = scale.rect_of(*range, scale.rect.bottom() - 9.0, scale.rect.bottom() + 1.0);
        let tone = if *id == 0 { Tone::AtRisk } else { Tone::Failed };
        let response = ui.interact(rect, ui.scope_id().with(("incident", i)), Sense::click());
        let kind = if *id == 0 { "incident candidate" } else { "incident" };
        response.widget_info(|| WidgetInfo::labeled(Role::Button, true, format!("{kind} {name}")));
        ui.painter().rect(rect, 3, t.tint(tone), Stroke::new(1.0, t.edge(tone)), StrokeKind::Inside);
        let words = if *id == 0 { format!("candidate: {name}") } else { name.clone() };
        let font = text::medium(8.5);
        text::paint(
            ui.painter(),
            rect.left_center() + vec2(5.0, 0.0),
            Align2::LEFT_CENTER,
            words,
            font,
            t.tone(tone),
            rect.width() - 10.0,
        );
        focus_ring(ui, &response, 3);
        if response.on_hover_text(format!("{kind}: {name}")).clicked() {
            commands.push(Command::OpenIncident(*range));
        }
    }
}

fn tone_of(mark: &Mark) -> Tone {
    match mark.kind {
        MarkKind::BreakerOpened => Tone::Failed,
        MarkKind::BreakerProbing => Tone::Probing,
        MarkKind::BreakerClosed => Tone::Well,
        MarkKind::Revision | MarkKind::Override | MarkKind::OverrideEnded | MarkKind::Deployment => Tone::Accent,
        MarkKind::Anomaly | MarkKind::IncidentBegan | MarkKind::IncidentEnded | MarkKind::AgentLost => {
            match mark.severity {
                Severity::Failed => Tone::Failed,
                Severity::AtRisk => Tone::AtRisk,
                Severity::Well => Tone::Neutral,
            }
        }
    }
}

/// Flags stand where their moment is; where two would touch, the graver one keeps its words and the other its stem.
fn flags(ui: &egui::Ui, scale: Scale, marks: &[Mark], model: &Model, commands: &mut Commands) {
    let t = tokens(ui);
    let font = text::medium(10.0);
    let mut shown: Vec<&Mark> = marks.iter().filter(|m| scale.range.contains(m.at)).collect();
    let stem = |mark: &Mark, end: f32| {
        let x = scale.x(mark.at);
        let line = [pos2(x, scale.rect.top() + 16.0), pos2(x, end)];
        ui.painter().extend(egui::Shape::dashed_line(&line, Stroke::new(1.0, t.tone(tone_of(mark))), 2.0, 2.0));
    };
    for mark in &shown {
        stem(mark, scale.rect.top() + 21.0);
    }
    shown.sort_by_key(|m| (std::cmp::Reverse(m.severity), m.kind, m.at));
    let mut taken: Vec<Rect> = Vec::new();
    for (i, mark) in shown.into_iter().enumerate() {
        let tone = tone_of(mark);
        let galley = ui.painter().layout_no_wrap(mark.label.clone(), font.clone(), t.tone(tone));
        let width = (galley.size().x + 10.0).ceil();
        let x = scale.x(mark.at);
        let place = |x: f32| Rect::from_min_size(pos2(x.round(), scale.rect.top() + 1.0), vec2(width, 15.0));
        let free = |r: &Rect| {
            r.left() >= scale.rect.left()
                && r.right() <= scale.rect.right() + 2.0
                && !taken.iter().any(|t: &Rect| t.expand2(vec2(2.0, 0.0)).intersects(*r))
        };
        // To the right of its stem, or to the left, or around it.
        let places = [place(x - 2.0), place(x - width + 2.0), place(x - width / 2.0)];
        let Some(rect) = places.into_iter().find(free) else { continue };
        taken.push(rect);
        stem(mark, scale.rect.bottom() - 12.0);
        let response = ui.interact(rect, ui.scope_id().with(("mark", i)), Sense::click());
        response.widget_info(|| WidgetInfo::labeled(Role::Button, true, format!("mark {}", mark.text)));
        let fill = if response.hovered() { t.pressed } else { t.tint(tone) };
        ui.painter().rect(rect, 4, fill, Stroke::new(1.0, t.tone(tone)), StrokeKind::Inside);
        ui.painter().galley(rect.center() - galley.size() / 2.0, galley, t.tone(tone));
        focus_ring(ui, &response, 4);
        let words = format!("{}  {}", model.zone.time(mark.at), mark.text);
        if response.on_hover_text(words).clicked() {
            commands.push(Command::Seek(mark.at));
        }
    }
}

fn cursor(painter: &Painter, scale: Scale, at: UnixNanos, t: &Tokens) {
    let x = scale.x(at);
    if x < scale.rect.left() - 1.0 || x > scale.rect.right() + 1.0 {
        return;
    }
    painter.vline(x, scale.rect.top() - 4.0..=scale.rect.bottom() + 4.0, Stroke::new(2.0, t.accent));
    let top = scale.rect.top() - 6.0;
    let head = vec![pos2(x - 5.0, top), pos2(x + 5.0, top), pos2(x, top + 6.0)];
    painter.add(egui::Shape::convex_polygon(head, t.accent, Stroke::NONE));
}
