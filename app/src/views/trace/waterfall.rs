//! The waterfall: scrolls by lines, so that a million of them stay in their places; paints those in sight.

use std::collections::HashMap;

use egui::{EventFilter, Key, Rect, Response, Role, Sense, Stroke, Ui, WidgetInfo, pos2, vec2};

use super::State;
use super::built::{Built, Line, What};
use super::critical::Segment;
use super::ending::{on_bar, title};
use super::row::{HEIGHT, Lines, Look};
use super::strips::{self, Scale};
use super::{critical, palette};
use crate::command::{Command, Commands};
use crate::model::Model;
use crate::widgets::{format, text, tokens};

const MINIMAP: f32 = 36.0;
const BAND: f32 = 16.0;
const AXIS: f32 = 20.0;
const FOOT: f32 = 26.0;
/// Width of the scroll bar.
const BAR: f32 = 10.0;

/// Where everything stands.
struct Plan {
    rows: Rect,
    names: (f32, f32),
    left: (f32, f32),
    scale: Scale,
}

/// Paints it.
pub(crate) fn show(ui: &mut Ui, model: &Model, built: &Built, state: &mut State, commands: &mut Commands) {
    let area = ui.available_rect_before_wrap();
    ui.allocate_rect(area, Sense::hover());
    if area.height() < 60.0 {
        return;
    }
    let colors = palette::colors(&built.services);
    let plan = strips_and_plan(ui, area, built, &colors, state);
    let path = path_by_span(built, state);
    let deepest = built.summary.deepest.max(1) as f32;
    let indent = ((plan.names.1 - plan.names.0) * 0.45 / deepest).min(13.0);
    let lines =
        Lines { built, colors: &colors, scale: plan.scale, names: plan.names, left: plan.left, indent, path: &path };
    let focus = ui.interact(plan.rows, ui.scope_id().with("waterfall"), Sense::click());
    focus.widget_info(|| {
        WidgetInfo::labeled(
            Role::Tree,
            true,
            format!("waterfall, {}", format::plural(built.trace.spans.len() as u64, "span")),
        )
    });
    let chosen = state.chosen(model, built);
    keys(ui, &focus, built, state, chosen, commands);
    scroll(ui, &plan, state);
    pan_zoom(ui, &plan, built, state);
    rows(ui, &plan, &lines, state, chosen, &focus, commands);
    deadline(ui, &plan, built);
    scroll_bar(ui, &plan, state);
    splitter(ui, &plan, area, state);
    foot(ui, area, built, state);
    if focus.has_focus() {
        ui.painter().rect_stroke(
            plan.rows.expand(1.0),
            2,
            Stroke::new(1.0, tokens(ui).accent),
            egui::StrokeKind::Outside,
        );
    }
}

fn strips_and_plan(ui: &Ui, area: Rect, built: &Built, colors: &[egui::Color32], state: &mut State) -> Plan {
    let has_left = built.summary.has_left && area.width() > 520.0;
    let left = if has_left { 74.0 } else { 0.0 };
    let wish = if state.names_width > 0.0 { state.names_width } else { (area.width() * 0.31).clamp(120.0, 330.0) };
    let names = wish.clamp(90.0, (area.width() - left - 140.0).max(90.0));
    let plot_left = area.left() + names;
    let plot_right = area.right() - BAR - 6.0 - left;
    let (from, to) = state.stretch.unwrap_or_else(|| {
        // A little air at the right, for the words of the last bars.
        (0, built.length.saturating_add(built.length / 40).max(1))
    });
    let scale = Scale { left: plot_left, right: plot_right, from, to };
    let names = (area.left(), plot_left);
    let mut y = area.top();
    let mut strip = |height: f32| {
        let rect = Rect::from_min_max(pos2(plot_left, y), pos2(plot_right, y + height));
        y += height + 4.0;
        rect
    };
    let map = strip(MINIMAP);
    let said = Rect::from_min_max(pos2(area.left(), map.top()), pos2(plot_left, map.bottom()));
    strips::minimap(ui, map, built, colors, state);
    legend(ui, said, built, colors);
    for which in strips::guarded(built) {
        let rect = strip(BAND);
        let side = rect.with_min_x(area.left()).with_max_x(plot_left);
        strips::band(ui, side, rect, &which, built, &scale);
    }
    let axis = strip(AXIS);
    let rows =
        Rect::from_min_max(pos2(area.left(), axis.bottom()), pos2(area.right() - BAR - 4.0, area.bottom() - FOOT));
    let drawn = (state.lines.len() as f32 * HEIGHT).min(rows.height());
    strips::axis(ui, axis, rows.with_max_y(rows.top() + drawn), &scale);
    Plan { rows, names, left: (area.right() - BAR - 4.0 - left, area.right() - BAR - 6.0), scale }
}

/// Which service has which colour.
fn legend(ui: &Ui, rect: Rect, built: &Built, colors: &[egui::Color32]) {
    let t = tokens(ui);
    let painter = ui.painter().with_clip_rect(rect.intersect(ui.clip_rect()));
    let (mut x, mut y) = (rect.left() + 2.0, rect.top() + 9.0);
    for (name, color) in built.services.iter().zip(colors) {
        let width = text::width(ui, name, text::label_font()) + 20.0;
        if x + width > rect.right() - 6.0 {
            (x, y) = (rect.left() + 2.0, y + 16.0);
        }
        if y > rect.bottom() {
            break;
        }
        painter.rect_filled(Rect::from_center_size(pos2(x + 4.0, y), vec2(8.0, 8.0)), 2, *color);
        painter.text(pos2(x + 11.0, y), egui::Align2::LEFT_CENTER, name, text::label_font(), t.text_soft);
        x += width;
    }
}

fn path_by_span(built: &Built, state: &State) -> HashMap<u32, Vec<Segment>> {
    let mut by_span: HashMap<u32, Vec<Segment>> = HashMap::new();
    if !state.hide_path {
        for segment in shown_path(built, state) {
            by_span.entry(segment.span).or_default().push(*segment);
        }
    }
    by_span
}

fn shown_path<'a>(built: &'a Built, state: &State) -> &'a [critical::Segment] {
    if state.through_queues && !built.long_path.is_empty() { &built.long_path } else { &built.path }
}

fn rows(
    ui: &mut Ui,
    plan: &Plan,
    lines: &Lines<'_>,
    state: &mut State,
    chosen: Option<u32>,
    focus: &Response,
    commands: &mut Commands,
) {
    let built = lines.built;
    let seen = (plan.rows.height() / HEIGHT).ceil() as usize + 1;
    let first = state.scroll.floor().max(0.0) as usize;
    let offset = ((state.scroll - first as f64) * f64::from(HEIGHT)) as f32;
    let ui = &mut ui.new_child(egui::UiBuilder::new().max_rect(plan.rows));
    ui.set_clip_rect(plan.rows.intersect(ui.clip_rect()));
    let mut folds: Option<u32> = None;
    for (place, index) in state.lines.iter().enumerate().skip(first).take(seen) {
        let Some(line) = built.lines.get(*index as usize) else { continue };
        let top = plan.rows.top() + (place - first) as f32 * HEIGHT - offset;
        let rect = Rect::from_min_size(pos2(plan.rows.left(), top), vec2(plan.rows.width(), HEIGHT));
        let response = ui.interact(rect, focus.id.with(*index), Sense::click());
        let is_chosen = chosen == Some(line.span) && line.what == What::Span;
        let folded = (line.what == What::Span && state.folded.contains(&line.span)).then(|| line.after - index - 1);
        let hit = state.find.has(line.span, built) && line.what == What::Span;
        let look =
            Look { chosen: is_chosen, hovered: response.hovered(), hit, faded: state.find.is_on() && !hit, folded };
        lines.paint(ui, line, rect, look);
        response.widget_info(|| WidgetInfo::selected(Role::TreeItem, true, is_chosen, row_name(built, line)));
        if response.clicked() {
            let on_dot = response.interact_pointer_pos().is_some_and(|p| (p - lines.dot(line, rect)).length() < 9.0);
            if on_dot && line.after > index + 1 {
                folds = Some(line.span);
            } else if let Some(span) = built.span(line.span) {
                state.chosen = Some((span.span_id, line.span));
                commands.push(Command::SelectSpan(Some(span.span_id)));
            }
            focus.request_focus();
        }
        if response.double_clicked() {
            state.stretch = Some(around(built, line.span));
        }
    }
    if let Some(span) = folds {
        state.toggle_fold(span);
    }
}

/// A stretch with some air around a span.
fn around(built: &Built, span: u32) -> (i64, i64) {
    let (begin, end) = built.times[span as usize];
    let air = ((end - begin) / 8).max(1);
    ((begin - air).max(0), (end + air).min(built.length).max(begin + 1))
}

fn row_name(built: &Built, line: &Line) -> String {
    match line.what {
        What::Span => format!("{} {}, {}", built.service(line.span), title(built, line.span), on_bar(built, line.span)),
        What::Backoff(from, to) => {
            format!("{} backoff {}", built.service(line.span), format::nanos((to - from).unsigned_abs()))
        }
    }
}

fn keys(ui: &Ui, focus: &Response, built: &Built, state: &mut State, chosen: Option<u32>, commands: &mut Commands) {
    if !focus.has_focus() {
        return;
    }
    let lock = EventFilter { vertical_arrows: true, horizontal_arrows: true, ..Default::default() };
    ui.memory_mut(|m| m.set_focus_lock_filter(focus.id, lock));
    let pressed = |k| ui.input(|i| i.key_pressed(k));
    let line = chosen.and_then(|c| built.line_of.get(c as usize).copied());
    let place = line.map_or(0, |l| state.lines.partition_point(|x| *x < l));
    let last = state.lines.len().saturating_sub(1);
    let to = match () {
        () if pressed(Key::Home) => Some(0),
        () if pressed(Key::End) => Some(last),
        () if pressed(Key::ArrowDown) => Some(if line.is_some() { place + 1 } else { 0 }),
        () if pressed(Key::ArrowUp) => Some(place.saturating_sub(1)),
        () if pressed(Key::PageDown) => Some(place + 20),
        () if pressed(Key::PageUp) => Some(place.saturating_sub(20)),
        () => None,
    };
    if let Some(to) = to {
        let down = place <= to;
        choose_line(built, state, to.min(last), down, commands);
    }
    let Some(span) = chosen else { return };
    let folded = state.folded.contains(&span);
    let children = !built.tree.children(span).is_empty();
    if pressed(Key::ArrowLeft) {
        if children && !folded {
            state.toggle_fold(span);
        } else if let Some(parent) = built.tree.parent(span) {
            state.go_to(built, parent, commands);
        }
    }
    if pressed(Key::ArrowRight) && children {
        if folded {
            state.toggle_fold(span);
        } else if let Some(child) = built.tree.children(span).first() {
            state.go_to(built, *child, commands);
        }
    }
    if pressed(Key::Enter) {
        state.stretch = if state.stretch.is_some() { None } else { Some(around(built, span)) };
    }
}

/// Chooses the span of a line; lines without one are passed over.
fn choose_line(built: &Built, state: &mut State, mut place: usize, down: bool, commands: &mut Commands) {
    while let Some(line) = state.lines.get(place).and_then(|l| built.lines.get(*l as usize)) {
        if line.what == What::Span {
            return state.go_to(built, line.span, commands);
        }
        place = if down { place + 1 } else { place.saturating_sub(1) };
    }
}

fn last_scroll(plan: &Plan, state: &State) -> f64 {
    (state.lines.len() as f64 - f64::from(plan.rows.height() / HEIGHT) + 0.5).max(0.0)
}

fn scroll(ui: &Ui, plan: &Plan, state: &mut State) {
    if let Some(line) = state.reveal.take() {
        let place = state.lines.partition_point(|l| *l < line) as f64;
        let room = f64::from(plan.rows.height() / HEIGHT);
        if place < state.scroll + 1.0 || place > state.scroll + room - 2.5 {
            state.scroll = place - room * 0.4;
        }
    }
    let over = ui.rect_contains_pointer(plan.rows);
    let (delta, zoom) = ui.input(|i| (i.smooth_scroll_delta(), i.zoom_delta()));
    if over && zoom == 1.0 && delta.y != 0.0 {
        state.scroll -= f64::from(delta.y / HEIGHT);
    }
    state.scroll = state.scroll.clamp(0.0, last_scroll(plan, state));
}

/// Ctrl and the wheel zoom the time, the wheel across moves it.
fn pan_zoom(ui: &Ui, plan: &Plan, built: &Built, state: &mut State) {
    let plot = plan.rows.with_min_x(plan.scale.left).with_max_x(plan.scale.right);
    let Some(pointer) = ui.ctx().pointer_hover_pos().filter(|p| plot.contains(*p) && ui.rect_contains_pointer(plot))
    else {
        return;
    };
    let (zoom, across) = ui.input(|i| (f64::from(i.zoom_delta()), i.smooth_scroll_delta().x));
    let (from, to) = (plan.scale.from, plan.scale.to);
    if zoom != 1.0 {
        let at = plan.scale.ns(pointer.x);
        let least = (built.length / 100_000).max(100);
        let length = (((to - from) as f64 / zoom) as i64).max(least);
        let share = (at - from) as f64 / (to - from).max(1) as f64;
        let begin = (at - (length as f64 * share) as i64).max(0);
        state.stretch = (length < built.length).then_some((begin, (begin + length).min(built.length)));
    } else if across != 0.0 && state.stretch.is_some() {
        let by = -((to - from) as f64 * f64::from(across / plot.width())) as i64;
        let by = by.clamp(-from, built.length - to);
        state.stretch = Some((from + by, to + by));
    }
}

/// The instant at which the caller's deadline passes.
fn deadline(ui: &Ui, plan: &Plan, built: &Built) {
    let Some(at) = built.deadline.filter(|d| *d >= plan.scale.from && *d <= plan.scale.to) else { return };
    let t = tokens(ui);
    let x = plan.scale.x(at);
    let line = [pos2(x, plan.rows.top() - 6.0), pos2(x, plan.rows.bottom())];
    ui.painter().extend(egui::Shape::dashed_line(&line, Stroke::new(1.3, t.failed), 5.0, 4.0));
    let words = format!("deadline {}", format::nanos(at.unsigned_abs()));
    let galley = ui.painter().layout_no_wrap(words, text::label_font(), t.failed);
    let pos =
        pos2(x - galley.size().x - 6.0, plan.rows.bottom() - galley.size().y - 1.0).max(pos2(plan.scale.left, 0.0));
    ui.painter().rect_filled(Rect::from_min_size(pos, galley.size()).expand(2.0), 2, t.window);
    ui.painter().galley(pos, galley, t.failed);
}

fn scroll_bar(ui: &Ui, plan: &Plan, state: &mut State) {
    let most = last_scroll(plan, state);
    if most <= 0.0 {
        return;
    }
    let t = tokens(ui);
    let track = Rect::from_min_max(
        pos2(plan.rows.right() + 4.0, plan.rows.top()),
        pos2(plan.rows.right() + 4.0 + BAR, plan.rows.bottom()),
    );
    let response = ui.interact(track, ui.scope_id().with("waterfall bar"), Sense::click_and_drag());
    response.widget_info(|| WidgetInfo::labeled(Role::ScrollBar, true, "lines of the waterfall"));
    let share = f64::from(plan.rows.height() / HEIGHT) / state.lines.len().max(1) as f64;
    let height = (track.height() * share as f32).max(24.0);
    if let Some(p) = response.interact_pointer_pos() {
        let at = (p.y - track.top() - height / 2.0) / (track.height() - height).max(1.0);
        state.scroll = f64::from(at.clamp(0.0, 1.0)) * most;
    }
    let top = track.top() + (track.height() - height) * (state.scroll / most) as f32;
    let thumb = Rect::from_min_size(pos2(track.left() + 2.0, top), vec2(BAR - 4.0, height));
    let color = if response.hovered() || response.dragged() { t.text_soft } else { t.line_strong };
    ui.painter().rect_filled(thumb, 3, color);
}

/// The handle between names and bars.
fn splitter(ui: &Ui, plan: &Plan, area: Rect, state: &mut State) {
    let handle = Rect::from_center_size(pos2(plan.names.1 - 3.0, plan.rows.center().y), vec2(6.0, plan.rows.height()));
    let response = ui.interact(handle, ui.scope_id().with("names width"), Sense::drag());
    response.widget_info(|| WidgetInfo::labeled(Role::Splitter, true, "width of the names"));
    if response.hovered() || response.dragged() {
        ui.set_cursor_icon(egui::CursorIcon::ResizeHorizontal);
    }
    if let Some(p) = response.interact_pointer_pos() {
        state.names_width = (p.x - area.left()).clamp(90.0, (area.width() - 220.0).max(90.0));
    }
}

/// Whose work the path consists of.
fn foot(ui: &Ui, area: Rect, built: &Built, state: &State) {
    let t = tokens(ui);
    let through = state.through_queues && !built.long_path.is_empty();
    let shares = if through { &built.summary.long_shares } else { &built.summary.shares };
    let list: Vec<String> =
        shares.iter().take(6).map(|(n, ns)| format!("{n} {}", format::nanos(ns.unsigned_abs()))).collect();
    let more = if shares.len() > 6 { format!(" · {} more", shares.len() - 6) } else { String::new() };
    let at = pos2(area.left(), area.bottom() - 8.0);
    text::paint(
        ui.painter(),
        at,
        egui::Align2::LEFT_CENTER,
        format!("Critical path: {}{more}", list.join(" · ")),
        text::secondary_font(),
        t.text_soft,
        area.width(),
    );
}
