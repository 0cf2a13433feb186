//! The rail of views.

use egui::{Rect, Role, Sense, WidgetInfo, pos2, vec2};

use crate::command::{Command, Commands};
use crate::model::{Model, View};
use crate::widgets::icon::{self, Icon};
use crate::widgets::{self, text, tokens};

/// Its width.
pub(super) const WIDTH: f32 = 56.0;
/// Its width without names.
pub(super) const NARROW: f32 = 44.0;

fn icon_of(view: View) -> Icon {
    match view {
        View::Board | View::Gallery => Icon::Graph,
        View::Traces | View::Trace => Icon::Bars,
        View::Breakers => Icon::Switch,
        View::Policies => Icon::Sliders,
        View::Forecasts => Icon::Trend,
        View::Incidents => Icon::Record,
        View::Logs => Icon::Lines,
        View::Metrics => Icon::Gauge,
        View::Fleet => Icon::Tiles,
        View::Audit => Icon::Sheet,
    }
}

/// Paints the rail.
pub(super) fn show(ui: &mut egui::Ui, model: &Model, commands: &mut Commands) {
    let t = tokens(ui);
    let area = ui.max_rect();
    let named = area.width() > NARROW + 4.0;
    let logo = Rect::from_center_size(pos2(area.center().x, area.top() + 22.0), vec2(26.0, 26.0));
    icon::paint(ui.painter(), logo, Icon::Switch, t.accent);
    let room = area.height() - 52.0;
    let step = (room / View::RAIL.len() as f32).min(if named { 62.0 } else { 48.0 });
    let names = named && step >= 46.0;
    for (i, view) in View::RAIL.into_iter().enumerate() {
        let top = area.top() + 52.0 + i as f32 * step;
        let rect = Rect::from_min_size(pos2(area.left() + 4.0, top), vec2(area.width() - 8.0, step - 4.0));
        let response = ui.interact(rect, ui.scope_id().with(("rail", i)), Sense::click());
        let chosen = model.view == view || (view == View::Traces && model.view == View::Trace);
        response.widget_info(|| WidgetInfo::selected(Role::Tab, true, chosen, view.name()));
        if response.clicked() {
            commands.push(Command::Go(view));
        }
        if chosen {
            ui.painter().rect_filled(rect, 8, t.raised);
            let bar = Rect::from_center_size(pos2(area.left() + 1.5, rect.center().y), vec2(3.0, rect.height() * 0.4));
            ui.painter().rect_filled(bar, 1, t.accent);
        } else if response.hovered() {
            ui.painter().rect_filled(rect, 8, t.raised);
        }
        let color = if chosen { t.text } else { t.text_soft };
        let center = if names { rect.center() - vec2(0.0, 8.0) } else { rect.center() };
        icon::paint(ui.painter(), Rect::from_center_size(center, vec2(20.0, 20.0)), icon_of(view), color);
        if names {
            let at = pos2(rect.center().x, rect.center().y + 14.0);
            ui.painter().text(at, egui::Align2::CENTER_CENTER, view.name(), text::medium(9.5), color);
        }
        widgets::focus_ring(ui, &response, 8);
        let key = if i == 9 { 0 } else { i + 1 };
        response.on_hover_text(format!("{}  ({key})", view.name()));
    }
}
