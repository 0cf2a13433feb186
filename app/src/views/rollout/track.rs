//! The stages as a track, and the instances on it.

use egui::{Align2, Rect, Role, Sense, Stroke, StrokeKind, Ui, WidgetInfo, pos2, vec2};
use fuseboard_api::UnixNanos;
use fuseboard_api::rollout::{Group, Rollout, RolloutState};

use super::words;
use crate::widgets::{Tokens, Tone, format, text, tokens};

/// How much of a stage's time has passed, 0…1; earlier stages are 1, later ones 0.
fn done(rollout: &Rollout, stage: usize, now: UnixNanos) -> f32 {
    let here = rollout.stage as usize;
    if stage < here || matches!(rollout.state, RolloutState::Done | RolloutState::Confirming) {
        return 1.0;
    }
    let (true, Some(plan)) = (stage == here, rollout.delivery.stages.get(stage)) else { return 0.0 };
    if rollout.state == RolloutState::Holding {
        return 1.0;
    }
    match rollout.next_at {
        Some(at) if plan.bake_ms > 0 => {
            1.0 - (at.since(now).as_secs_f64() * 1000.0 / plan.bake_ms as f64).clamp(0.0, 1.0) as f32
        }
        Some(_) => 1.0,
        None => 0.0,
    }
}

fn color(t: &Tokens, rollout: &Rollout, stage: usize) -> egui::Color32 {
    match stage.cmp(&(rollout.stage as usize)) {
        std::cmp::Ordering::Less => t.well,
        std::cmp::Ordering::Equal => t.tone(match rollout.state {
            RolloutState::Done | RolloutState::Confirming => Tone::Well,
            state => super::tone(state),
        }),
        std::cmp::Ordering::Greater => t.line_strong,
    }
}

fn named(rollout: &Rollout) -> String {
    let here = rollout.stage as usize;
    let shares: Vec<String> = rollout.delivery.stages.iter().map(|s| words::share(s.share)).collect();
    format!("stages {}, now {}", shares.join(" → "), shares.get(here).map_or("over", String::as_str))
}

/// The track as a thin line with a dot a stage, for one line of text beside it.
pub(super) fn small(ui: &mut Ui, rollout: &Rollout, now: UnixNanos, width: f32) {
    let t = tokens(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(width, 20.0), Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(Role::ProgressIndicator, true, named(rollout)));
    let n = rollout.delivery.stages.len().max(1);
    let piece = rect.width() / n as f32;
    for (i, stage) in rollout.delivery.stages.iter().enumerate() {
        let from = rect.left() + piece * i as f32;
        let line = Rect::from_min_max(pos2(from, rect.bottom() - 5.0), pos2(from + piece - 4.0, rect.bottom() - 2.0));
        ui.painter().rect_filled(line, 1, t.line_strong);
        let passed = line.with_max_x(line.left() + line.width() * done(rollout, i, now));
        ui.painter().rect_filled(passed, 1, color(t, rollout, i));
        let here = i == rollout.stage as usize;
        let ink = if here { t.text } else { t.label };
        let at = pos2(from, rect.top() + 6.0);
        text::paint(
            ui.painter(),
            at,
            Align2::LEFT_CENTER,
            words::share(stage.share),
            text::mono_font(10.0),
            ink,
            piece,
        );
    }
}

/// The track with a node a stage: its share, its time, a tick once it went well.
pub(super) fn large(ui: &mut Ui, rollout: &Rollout, now: UnixNanos) {
    let t = tokens(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 62.0), Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(Role::ProgressIndicator, true, named(rollout)));
    let stages = &rollout.delivery.stages;
    let n = stages.len().max(1);
    let piece = (rect.width() - 24.0) / n as f32;
    let y = rect.top() + 20.0;
    let painter = ui.painter();
    for (i, stage) in stages.iter().enumerate() {
        let x = rect.left() + 12.0 + piece * i as f32;
        let (from, to) = (x + 12.0, x + piece - 12.0);
        let line = Rect::from_min_max(pos2(from, y - 2.0), pos2(to.max(from), y + 2.0));
        painter.rect_filled(line, 2, t.pressed);
        let passed = line.with_max_x(line.left() + line.width() * done(rollout, i, now));
        painter.rect_filled(passed, 2, color(t, rollout, i));
        node(ui, pos2(x, y), rollout, i);
        let here = i == rollout.stage as usize;
        let ink = if here { t.text } else { t.text_soft };
        let share = words::share(stage.share);
        text::paint(painter, pos2(x - 8.0, y + 20.0), Align2::LEFT_CENTER, share, text::mono_medium(12.5), ink, piece);
        let bake = format!("{} of baking", format::duration(std::time::Duration::from_millis(stage.bake_ms)));
        let at = pos2(x - 8.0, y + 36.0);
        text::paint(painter, at, Align2::LEFT_CENTER, bake, text::label_font(), t.label, piece - 6.0);
    }
}

fn node(ui: &Ui, c: egui::Pos2, rollout: &Rollout, stage: usize) {
    let t = tokens(ui);
    let here = rollout.stage as usize;
    let ended_well = matches!(rollout.state, RolloutState::Done | RolloutState::Confirming);
    let color = color(t, rollout, stage);
    let painter = ui.painter();
    if stage < here || (stage == here && ended_well) {
        painter.circle_filled(c, 8.0, color);
        let tick = vec![c + vec2(-3.6, 0.2), c + vec2(-1.0, 2.8), c + vec2(3.8, -2.8)];
        painter.line(tick, Stroke::new(1.6, t.on_fill));
    } else if stage == here {
        painter.circle(c, 8.0, t.panel, Stroke::new(2.0, color));
        if matches!(rollout.state, RolloutState::Reverted | RolloutState::Lapsed | RolloutState::Aborted) {
            let r = 2.8;
            painter.line_segment([c - vec2(r, r), c + vec2(r, r)], Stroke::new(1.6, color));
            painter.line_segment([c + vec2(-r, r), c + vec2(r, -r)], Stroke::new(1.6, color));
        } else {
            painter.circle_filled(c, 3.4, color);
        }
    } else {
        painter.circle(c, 8.0, t.panel, Stroke::new(1.2, color));
    }
}

/// So many instances of a service are drawn one by one; more become a bar.
const ONE_BY_ONE: usize = 40;

/// Who has it, by service.
pub(super) fn instances(ui: &mut Ui, rollout: &Rollout) {
    let (running, changed, all) = words::counts(rollout);
    text::section_with(ui, "Instances", |ui| {
        text::secondary(ui, format!("{running} of {all} run it"));
    });
    if running < changed && !rollout.state.is_over() {
        let missing = format::plural((changed - running) as u64, "instance");
        text::wrapped(ui, format!("{missing} given it, not yet running"), text::secondary_font(), tokens(ui).at_risk);
    }
    if all == 0 {
        text::note(ui, "No instance is connected.");
    }
    for group in &rollout.groups {
        ui.add_space(6.0);
        service(ui, group);
    }
    legend(ui);
}

fn service(ui: &mut Ui, group: &Group) {
    let t = tokens(ui);
    let all = group.changed.len() + group.others.len();
    let words = format!("{} of {all}", group.running.len());
    text::row(
        ui,
        18.0,
        |ui| text::styled(ui, &group.service, text::medium(12.0), t.text),
        |ui| {
            text::styled(ui, &words, text::mono_font(11.0), t.text_soft);
        },
    );
    let width = ui.available_width();
    let (rect, response) = ui.allocate_exact_size(vec2(width, 14.0), Sense::hover());
    response.widget_info(|| {
        WidgetInfo::labeled(Role::Meter, true, format!("{} instances of {} run it", words, group.service))
    });
    if all <= ONE_BY_ONE {
        squares(ui, rect, group);
        if let Some(name) = response.hover_pos().and_then(|p| name_at(rect, group, p.x)) {
            response.on_hover_text(name);
        }
    } else {
        let share = |n: usize| rect.width() * n as f32 / all as f32;
        ui.painter().rect_filled(rect.shrink2(vec2(0.0, 3.0)), 2, t.pressed);
        let given = rect.with_max_x(rect.left() + share(group.changed.len())).shrink2(vec2(0.0, 3.0));
        ui.painter().rect_filled(given, 2, crate::widgets::theme::mix(t.panel, t.accent, 0.35));
        let has = rect.with_max_x(rect.left() + share(group.running.len())).shrink2(vec2(0.0, 3.0));
        ui.painter().rect_filled(has, 2, t.accent);
    }
}

const STEP: f32 = 16.0;

/// Those that have it, those that are given it, the others.
fn in_order(group: &Group) -> impl Iterator<Item = (&String, Part)> {
    let given = group.changed.iter().map(|i| {
        let has = group.running.binary_search(i).is_ok();
        (i, if has { Part::Has } else { Part::Given })
    });
    given.chain(group.others.iter().map(|i| (i, Part::Other)))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Has,
    Given,
    Other,
}

impl Part {
    fn words(self) -> &'static str {
        match self {
            Self::Has => "runs it",
            Self::Given => "is given it",
            Self::Other => "not yet",
        }
    }
}

fn step(rect: Rect, all: usize) -> f32 {
    STEP.min(rect.width() / all.max(1) as f32)
}

fn name_at(rect: Rect, group: &Group, x: f32) -> Option<String> {
    let all = group.changed.len() + group.others.len();
    let at = ((x - rect.left()) / step(rect, all)).floor();
    let at = if at >= 0.0 { at as usize } else { return None };
    in_order(group).nth(at).map(|(name, part)| format!("{name}: {}", part.words()))
}

fn squares(ui: &Ui, rect: Rect, group: &Group) {
    let t = tokens(ui);
    let step = step(rect, group.changed.len() + group.others.len());
    for (i, (_, part)) in in_order(group).enumerate() {
        let cell = Rect::from_min_size(rect.min + vec2(i as f32 * step, 1.0), vec2((step - 4.0).max(2.0), 12.0));
        square(ui.painter(), cell, part, t);
    }
}

fn square(painter: &egui::Painter, cell: Rect, part: Part, t: &Tokens) {
    let (fill, line) = match part {
        Part::Has => (t.accent, t.accent),
        Part::Given => (t.tint(Tone::Accent), t.accent),
        Part::Other => (t.raised, t.line_strong),
    };
    painter.rect(cell, 3, fill, Stroke::new(1.0, line), StrokeKind::Inside);
}

fn legend(ui: &mut Ui) {
    ui.add_space(8.0);
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 6.0;
        for part in [Part::Has, Part::Given, Part::Other] {
            let (rect, _) = ui.allocate_exact_size(vec2(10.0, 10.0), Sense::hover());
            square(ui.painter(), rect, part, tokens(ui));
            text::label(ui, part.words());
            ui.add_space(6.0);
        }
    });
}
