//! The breakers on the links: a switch at each caller's end, which can be flipped.

use egui::{Rect, Ui, vec2};
use fuseboard_api::breaker::{BreakerMode, BreakerState};
use fuseboard_api::graph::EdgeKey;
use fuseboard_api::identity::Deed;

use super::camera::Camera;
use super::canvas::pair_name;
use super::merge::Switch;
use super::scene::Scene;
use crate::command::{Command, Commands};
use crate::model::Model;
use crate::views::clock;
use crate::widgets::breaker::{Glyph, switch_at};
use crate::widgets::{Tone, format, text, tokens};

/// Paints all switches in sight.
pub(crate) fn show(ui: &Ui, canvas: Rect, model: &Model, camera: Camera, scene: &Scene, commands: &mut Commands) {
    for (link, wire) in scene.merged.links.iter().zip(&scene.course.wires) {
        let (Some(switch), Some(rect)) = (&link.switch, wire.switch) else { continue };
        let rect = camera.rect(canvas, rect);
        if canvas.intersects(rect) {
            a_switch(ui, rect, switch, &pair_name(scene, link), model, camera.zoom, commands);
        }
    }
}

fn a_switch(ui: &Ui, rect: Rect, switch: &Switch, pair: &str, model: &Model, zoom: f32, commands: &mut Commands) {
    let t = tokens(ui);
    let glyph = Glyph::new(switch.worst.state, switch.worst.mode);
    let id = ui.scope_id().with(("switch", pair, switch.key.operation.as_str()));
    let response = switch_at(ui, rect, id, glyph, pair);
    if glyph.overridden() {
        held(ui, rect, zoom);
    }
    let pending = super::requested(model, &switch.key);
    if pending.is_some() {
        ui.painter().extend(egui::Shape::dashed_line(
            &[rect.left_top(), rect.right_top(), rect.right_bottom(), rect.left_bottom(), rect.left_top()],
            egui::Stroke::new(1.5, t.accent),
            3.0,
            2.0,
        ));
    }
    if let Some((off, all)) = switch.share() {
        let font = text::mono_medium((9.0 * zoom).max(7.0));
        ui.painter().text(
            rect.right_top() + vec2(3.0, -1.0),
            egui::Align2::LEFT_TOP,
            format!("{off}/{all}"),
            font,
            t.tone(glyph.tone()),
        );
    }
    let to = flipped(switch);
    if response.clicked() {
        commands.push(Command::Flip { edge: switch.key.clone(), instance: None, mode: to });
    }
    response.context_menu(|ui| mode_menu(ui, &switch.key, commands));
    response.on_hover_ui(|ui| {
        text::body(ui, format!("{pair}: {}", glyph.words()));
        if let Some((off, all)) = switch.share() {
            text::note(ui, format!("{off} of {all} instances are not closed"));
        }
        for change in model.overrides_of(&switch.key) {
            let left = change.expires.map(|end| end.since(clock::instant(model))).unwrap_or_default();
            text::note(ui, format!("{}: {}, {} left", change.actor, change.reason, format::countdown(left)));
        }
        if let Some(mode) = pending {
            text::note(ui, format!("{} is requested, not yet applied", mode_words(mode)));
        }
        text::note(ui, model.barred(Deed::Override).unwrap_or_else(|| format!("click: {}", mode_words(to))));
    });
}

/// The mark of a switch that is held by hand: a pin on its corner.
fn held(ui: &Ui, rect: Rect, zoom: f32) {
    let t = tokens(ui);
    let r = (4.6 * zoom).clamp(3.0, 7.0);
    let at = rect.left_top() + vec2(1.0, 1.0);
    ui.painter().circle_filled(at, r + 1.5, t.window);
    crate::widgets::pill::paint_dot_sized(ui.painter(), at, r, Tone::Accent, t.accent);
}

/// What a click on a switch asks for: the way out of where it is.
pub(crate) fn flipped(switch: &Switch) -> BreakerMode {
    match (switch.worst.mode, switch.worst.state) {
        (BreakerMode::Auto, BreakerState::Open) => BreakerMode::ForcedClosed,
        (BreakerMode::Auto, _) => BreakerMode::ForcedOpen,
        _ => BreakerMode::Auto,
    }
}

/// A mode as a button says it.
pub(crate) fn mode_words(mode: BreakerMode) -> &'static str {
    match mode {
        BreakerMode::Auto => "Auto",
        BreakerMode::ForcedOpen => "Force open",
        BreakerMode::ForcedClosed => "Force closed",
        BreakerMode::Shadow => "Shadow",
        BreakerMode::Disabled => "Disable",
    }
}

fn mode_menu(ui: &mut Ui, key: &EdgeKey, commands: &mut Commands) {
    for mode in [
        BreakerMode::Auto,
        BreakerMode::ForcedOpen,
        BreakerMode::ForcedClosed,
        BreakerMode::Shadow,
        BreakerMode::Disabled,
    ] {
        if ui.button(mode_words(mode)).clicked() {
            commands.push(Command::Flip { edge: key.clone(), instance: None, mode });
            ui.close();
        }
    }
}
