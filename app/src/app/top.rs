//! The bar on top: source, search, health of the collector, recording, who works here.

use egui::{Align, Color32, Layout, Rect, Role, Sense, Stroke, StrokeKind, WidgetInfo, pos2, vec2};
use fuseboard_api::identity::{Deed, Role as Rank};

use crate::command::{Command, Commands};
use crate::model::{Connection, Model, PolicyTab, SourceKind};
use crate::widgets::button::{Button, Kind};
use crate::widgets::pill::{paint_dot, pill};
use crate::widgets::{Tone, focus_ring, format, space, text, tokens};

/// Paints the bar.
pub(super) fn show(ui: &mut egui::Ui, model: &Model, commands: &mut Commands) {
    let area = ui.max_rect();
    let left = area.with_min_x(area.left() + 12.0).with_max_x(area.left() + area.width() * 0.3);
    let left_end = ui
        .scope_builder(egui::UiBuilder::new().max_rect(left).layout(Layout::left_to_right(Align::Center)), |ui| {
            source(ui, model, commands);
            ui.min_rect().right()
        })
        .inner;
    let right = area.with_max_x(area.right() - 16.0).with_min_x(area.left() + area.width() * 0.4);
    let right_start = ui
        .scope_builder(egui::UiBuilder::new().max_rect(right).layout(Layout::right_to_left(Align::Center)), |ui| {
            health(ui, model, commands);
            ui.min_rect().left()
        })
        .inner;
    search(ui, left_end + 16.0, right_start - 16.0, commands);
}

fn source(ui: &mut egui::Ui, model: &Model, commands: &mut Commands) {
    let t = tokens(ui);
    let trouble = model.slots.totals.get().map(|t| t.trouble.as_str()).filter(|s| !s.is_empty());
    let (tone, state) = match &model.connection {
        Connection::Up if trouble.is_some() => (Tone::AtRisk, trouble.unwrap_or_default().to_owned()),
        Connection::Up => (Tone::Well, "connected".to_owned()),
        Connection::Connecting => (Tone::Probing, "connecting".to_owned()),
        Connection::Unknown { head, why } => (Tone::Failed, format!("{head}: {why}")),
        Connection::Lost { why, tries } => (Tone::Failed, format!("{why}; tried {tries} times, trying again")),
    };
    let name = match model.connection {
        Connection::Lost { .. } => format!("{} · lost", model.source),
        Connection::Unknown { .. } => format!("{} · not let in", model.source),
        _ => model.source.clone(),
    };
    let galley = ui.painter().layout_no_wrap(name.clone(), text::medium(12.0), t.text);
    let width = (galley.size().x + 36.0).min(ui.available_width());
    let (rect, response) = ui.allocate_exact_size(vec2(width, 26.0), Sense::hover());
    let line = if model.production { t.edge(Tone::Failed) } else { t.line_strong };
    let fill = if model.production { t.tint(Tone::Failed) } else { t.raised };
    ui.painter().rect(rect, space::RADIUS, fill, Stroke::new(1.0, line), StrokeKind::Inside);
    paint_dot(ui.painter(), pos2(rect.left() + 14.0, rect.center().y), tone, t);
    let at = pos2(rect.left() + 26.0, rect.center().y);
    text::paint(ui.painter(), at, egui::Align2::LEFT_CENTER, &name, text::medium(12.0), t.text, width - 34.0);
    response.widget_info(|| WidgetInfo::labeled(Role::Label, true, format!("source {name}, {state}")));
    response.on_hover_text(state);
    if let Some(why) = model.closed() {
        let words = if model.source_kind == SourceKind::File { "file" } else { "read only" };
        pill(ui, words, Tone::AtRisk).on_hover_text(why);
    }
    if model.production {
        pill(ui, "production", Tone::Failed);
    }
    held(ui, model, commands);
}

/// What is held by hand, in every view: how many, and when the first ends.
fn held(ui: &mut egui::Ui, model: &Model, commands: &mut Commands) {
    let (n, Some(first)) = (model.overrides().count(), model.overrides().filter_map(|c| c.expires).min()) else {
        return;
    };
    // An instant, not a countdown: that would paint every view once a second.
    let words = format!("{} · until {}", format::plural(n as u64, "override"), model.zone.time(first));
    let response = pill(ui, &words, Tone::Accent).interact(Sense::click());
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, format!("{words}: show them")));
    focus_ring(ui, &response, 10);
    let response = response.on_hover_cursor(egui::CursorIcon::PointingHand);
    if response.on_hover_text("Held by hand; click for who, why and how long").clicked() {
        commands.push(Command::ShowPolicies(PolicyTab::Overrides));
    }
}

fn search(ui: &mut egui::Ui, from: f32, to: f32, commands: &mut Commands) {
    let t = tokens(ui);
    let area = ui.max_rect();
    let room = to - from;
    if room < 44.0 {
        return;
    }
    let width = room.min(468.0);
    let ideal = area.center().x - width / 2.0;
    let x = ideal.clamp(from, to - width);
    let rect = Rect::from_min_size(pos2(x, area.center().y - 14.0), vec2(width, 28.0));
    let response = ui.interact(rect, ui.scope_id().with("search"), Sense::click());
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, "Search services, traces, commands"));
    let line = if response.hovered() { t.line_strong } else { t.line };
    ui.painter().rect(rect, space::RADIUS, t.raised, Stroke::new(1.0, line), StrokeKind::Inside);
    let words = if width > 300.0 { "Search services, traces, commands…" } else { "Search…" };
    let at = pos2(rect.left() + 12.0, rect.center().y);
    text::paint(ui.painter(), at, egui::Align2::LEFT_CENTER, words, text::body_font(), t.label, width - 76.0);
    let key = Rect::from_center_size(pos2(rect.right() - 30.0, rect.center().y), vec2(46.0, 18.0));
    ui.painter().rect_filled(key, space::RADIUS_KEY, t.pressed);
    ui.painter().text(key.center(), egui::Align2::CENTER_CENTER, "Ctrl K", text::mono_font(10.0), t.text_soft);
    focus_ring(ui, &response, space::RADIUS);
    if response.on_hover_cursor(egui::CursorIcon::Text).clicked() {
        commands.push(Command::Palette);
    }
}

/// From the right end: who, the record button, lag, rate.
fn health(ui: &mut egui::Ui, model: &Model, commands: &mut Commands) {
    let t = tokens(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(24.0, 24.0), Sense::hover());
    ui.painter().circle_filled(rect.center(), 12.0, t.pressed);
    let initials: String = model.who.chars().take(2).collect();
    ui.painter().text(rect.center(), egui::Align2::CENTER_CENTER, initials, text::medium(10.5), t.text);
    response.widget_info(|| WidgetInfo::labeled(Role::Label, true, format!("signed in as {}", model.who)));
    response.on_hover_text(format!("commands are signed “{}”", model.who));
    role(ui, model);
    ui.add_space(12.0);
    record(ui, model, commands);
    let roomy = ui.available_width() > 320.0;
    let Some(totals) = model.slots.totals.get().filter(|_| roomy) else { return };
    ui.add_space(16.0);
    let slow = totals.lag_ms > 2000.0;
    let color = if slow { t.at_risk } else { t.text_soft };
    text::styled(ui, format!("lag {}", format::millis(totals.lag_ms)), text::body_font(), color)
        .on_hover_text("median time from a span’s end to its being stored, over the last ten seconds");
    ui.add_space(12.0);
    text::styled(ui, format!("{} spans/s", format::whole(totals.spans_per_second)), text::body_font(), t.text_soft)
        .on_hover_text(format!(
            "{} spans stored, {} on disk",
            format::count(totals.spans),
            format::bytes(totals.bytes_on_disk)
        ));
    if totals.rejected > 0 {
        ui.add_space(12.0);
        text::toned(ui, format!("{} refused", format::count(totals.rejected)), Tone::AtRisk)
            .on_hover_text("records that senders offered and the collector refused as malformed");
    }
}

/// What one may do here, where the collector asks who one is.
fn role(ui: &mut egui::Ui, model: &Model) {
    let Some(who) = model.identity.as_ref().filter(|who| who.asked) else { return };
    let tone = match who.role {
        Rank::Agent | Rank::Viewer => Tone::Neutral,
        Rank::Operator => Tone::Accent,
        Rank::Admin => Tone::AtRisk,
    };
    ui.add_space(space::NEAR);
    let response = pill(ui, who.role.word(), tone);
    response.on_hover_ui(|ui| {
        text::body(ui, format!("{} is {} here", who.name, who.role));
        for (deed, _) in who.may_not.iter().filter(|(deed, _)| PEOPLE.contains(deed)) {
            text::note(ui, format!("may not {}", deed.words()));
        }
        if let Some(end) = who.expires {
            text::note(ui, format!("the token is good until {}", model.zone.date_time(end)));
        }
    });
}

/// What people do here: the rest is for programs.
const PEOPLE: [Deed; 4] = [Deed::Override, Deed::Policy, Deed::Incident, Deed::Switch];

fn record(ui: &mut egui::Ui, model: &Model, commands: &mut Commands) {
    let t = tokens(ui);
    let (words, kind, dot): (String, Kind, Color32) = match model.recording() {
        Some(incident) => {
            let since = model.time.edge.since(incident.from);
            (format!("Stop · {}", format::duration(since)), Kind::Ongoing, t.failed)
        }
        None => ("Record".to_owned(), Kind::Quiet, t.failed),
    };
    let response = Button::new(&words).kind(kind).dot(dot).barred(model.barred(Deed::Incident)).show(ui);
    if response.on_hover_text("record an incident: the last five minutes are kept with it (Ctrl+R)").clicked() {
        commands.push(Command::Record);
    }
}
