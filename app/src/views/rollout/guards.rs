//! What the guards see: the changed instances beside the others, and how far worse is tolerated.

use egui::{Rect, Role, Sense, Stroke, Ui, WidgetInfo, pos2, vec2};
use fuseboard_api::rollout::{Against, Reading, Rollout, Verdict};

use super::words;
use crate::views::names;
use crate::widgets::{Tone, format, pill, text, tokens};

/// Paints a block a guard.
pub(super) fn show(ui: &mut Ui, rollout: &Rollout) {
    text::section_with(ui, "Guards", |ui| {
        text::secondary(ui, "changed beside the others");
    });
    if rollout.delivery.guards.is_empty() {
        text::note(ui, "None: only time decides.");
        return;
    }
    if rollout.readings.is_empty() {
        let needed = format::count(rollout.delivery.min_samples);
        text::note(ui, format!("They look once {needed} calls of each side are known."));
        return;
    }
    for reading in &rollout.readings {
        ui.add_space(8.0);
        one(ui, reading);
    }
}

fn verdict(verdict: Verdict) -> (&'static str, Tone) {
    match verdict {
        Verdict::Passes => ("passes", Tone::Well),
        Verdict::TooFew => ("too few calls", Tone::Neutral),
        Verdict::Fails => ("fails", Tone::Failed),
    }
}

fn one(ui: &mut Ui, reading: &Reading) {
    let t = tokens(ui);
    let measure = reading.guard.measure;
    let (said, tone) = verdict(reading.verdict);
    text::row(
        ui,
        22.0,
        |ui| {
            text::styled(ui, words::measure(measure), text::medium(12.5), t.text);
            if let Some(edge) = &reading.edge {
                text::styled(ui, names::full_name(edge), text::label_font(), t.label).on_hover_text(edge.to_string());
            }
        },
        |ui| {
            pill::status(ui, said, tone);
        },
    );
    let others = match reading.against {
        Against::Others => "others",
        Against::Before => "before",
    };
    let most = reading.changed.max(reading.control).max(reading.limit) * 1.08;
    let limit = (most > 0.0).then_some((reading.limit / most) as f32);
    let bar = |ui: &mut Ui, name: &str, value: f64, calls: u64, tone: Tone| {
        let said = words::value(measure, value);
        let label = format!("{} {name}: {said} of {} calls", words::measure(measure), format::count(calls));
        let share = if most > 0.0 { (value / most) as f32 } else { 0.0 };
        paint_bar(ui, name, &said, &format!("{} calls", format::count(calls)), share, limit, tone)
            .widget_info(|| WidgetInfo::labeled(Role::Meter, true, &label));
    };
    let changed = match reading.verdict {
        Verdict::Fails => Tone::Failed,
        Verdict::Passes => Tone::Well,
        Verdict::TooFew => Tone::Accent,
    };
    bar(ui, "changed", reading.changed, reading.changed_calls, changed);
    bar(ui, others, reading.control, reading.control_calls, Tone::Neutral);
    let text = format!("at most {} is tolerated", words::value(measure, reading.limit));
    text::label(ui, text).on_hover_text(&reading.text);
}

/// A bar on a line of its own: name, track with the limit as a tick, value, calls.
fn paint_bar(
    ui: &mut Ui,
    name: &str,
    value: &str,
    calls: &str,
    share: f32,
    limit: Option<f32>,
    tone: Tone,
) -> egui::Response {
    const NAME: f32 = 58.0;
    const VALUE: f32 = 64.0;
    const CALLS: f32 = 78.0;
    let t = tokens(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 18.0), Sense::hover());
    let y = rect.center().y;
    let painter = ui.painter();
    let left = egui::Align2::LEFT_CENTER;
    let right = egui::Align2::RIGHT_CENTER;
    text::paint(painter, pos2(rect.left(), y), left, name, text::label_font(), t.text_soft, NAME);
    text::paint(painter, pos2(rect.right(), y), right, calls, text::label_font(), t.label, CALLS);
    let at = pos2(rect.right() - CALLS - 6.0, y);
    text::paint(painter, at, right, value, text::mono_medium(11.5), t.text, VALUE);
    let track = Rect::from_min_max(
        pos2(rect.left() + NAME, y - 4.0),
        pos2((rect.right() - CALLS - VALUE - 12.0).max(rect.left() + NAME + 20.0), y + 4.0),
    );
    painter.rect_filled(track, 2, t.pressed);
    let color = if tone == Tone::Neutral { t.label } else { t.tone(tone) };
    let filled = track.with_max_x(track.left() + track.width() * share.clamp(0.0, 1.0));
    painter.rect_filled(filled, 2, color);
    if let Some(limit) = limit {
        let x = track.left() + track.width() * limit.clamp(0.0, 1.0);
        painter.vline(x, track.y_range().expand(3.0), Stroke::new(1.5, t.text));
    }
    response
}
