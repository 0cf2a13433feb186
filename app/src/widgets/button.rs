//! Buttons, links, segments and switches.

use egui::{Color32, CornerRadius, Response, Role, Sense, Stroke, StrokeKind, Ui, WidgetInfo, vec2};

use super::icon::{self, Icon};
use super::{Tokens, Tone, focus_ring, space, text, tokens};

/// What a button is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Kind {
    /// The one thing to do here.
    Primary,
    /// Anything else.
    #[default]
    Quiet,
    /// What makes calls fail.
    Danger,
    /// Chosen among its neighbours.
    Chosen,
    /// Something that goes on and can be ended here.
    Ongoing,
}

/// A button with text.
#[must_use]
pub(crate) struct Button<'a> {
    text: &'a str,
    kind: Kind,
    enabled: bool,
    wide: bool,
    small: bool,
    key: &'a str,
    dot: Option<Color32>,
    barred: Option<String>,
}

impl<'a> Button<'a> {
    /// A quiet button.
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, kind: Kind::Quiet, enabled: true, wide: false, small: false, key: "", dot: None, barred: None }
    }

    /// Of another kind.
    pub(crate) fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Grey and dead unless `enabled`.
    pub(crate) fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// Grey and dead while there is a reason against it, which the pointer is told.
    pub(crate) fn barred(mut self, reason: Option<String>) -> Self {
        self.enabled &= reason.is_none();
        self.barred = reason;
        self
    }

    /// As wide as there is room.
    pub(crate) fn wide(mut self) -> Self {
        self.wide = true;
        self
    }

    /// 22 high instead of 28.
    pub(crate) fn small(mut self) -> Self {
        self.small = true;
        self
    }

    /// 22 high where `small`.
    pub(crate) fn small_if(mut self, small: bool) -> Self {
        self.small = small;
        self
    }

    /// With its key before the text.
    pub(crate) fn key(mut self, key: &'a str) -> Self {
        self.key = key;
        self
    }

    /// With a dot before the text.
    pub(crate) fn dot(mut self, color: Color32) -> Self {
        self.dot = Some(color);
        self
    }

    /// Paints it.
    pub(crate) fn show(self, ui: &mut Ui) -> Response {
        let t = tokens(ui);
        let (height, font) = if self.small { (22.0, text::medium(11.0)) } else { (space::CONTROL, text::medium(12.0)) };
        let words = if self.key.is_empty() { self.text.to_owned() } else { format!("{} {}", self.key, self.text) };
        let pad = if self.small { 8.0 } else { 12.0 };
        let room = ui.available_width();
        let mut job = egui::text::LayoutJob::simple_singleline(words, font, Color32::PLACEHOLDER);
        let dot = if self.dot.is_some() { 14.0 } else { 0.0 };
        job.wrap = egui::text::TextWrapping::truncate_at_width((room - 2.0 * pad - dot).max(8.0));
        let galley = ui.painter().layout_job(job);
        let width = if self.wide { room } else { (galley.size().x + dot).ceil() + 2.0 * pad };
        let sense = if self.enabled { Sense::click() } else { Sense::hover() };
        let (rect, response) = ui.allocate_exact_size(vec2(width, height), sense);
        response.widget_info(|| WidgetInfo::labeled(Role::Button, self.enabled, self.text));
        if ui.is_rect_visible(rect) {
            let (fill, stroke, color) =
                colors(t, self.kind, self.enabled, response.hovered(), response.is_pointer_button_down_on());
            let radius = CornerRadius::same(space::RADIUS);
            ui.painter().rect(rect, radius, fill, Stroke::new(1.0, stroke), StrokeKind::Inside);
            let left = rect.center().x - (galley.size().x + dot) / 2.0;
            if let Some(dot) = self.dot {
                ui.painter().circle_filled(egui::pos2(left + 4.0, rect.center().y), 4.0, dot);
            }
            let at = egui::pos2(left + dot, rect.center().y - galley.size().y / 2.0);
            ui.painter().galley_with_override_text_color(at, galley, color);
            focus_ring(ui, &response, space::RADIUS);
        }
        match self.barred {
            Some(reason) => response.on_hover_text(reason),
            None if self.enabled => response.on_hover_cursor(egui::CursorIcon::PointingHand),
            None => response,
        }
    }
}

fn colors(t: &Tokens, kind: Kind, enabled: bool, hovered: bool, down: bool) -> (Color32, Color32, Color32) {
    use super::theme::mix;
    if !enabled {
        return (t.panel, t.line, t.label);
    }
    let lift = if down {
        0.16
    } else if hovered {
        0.08
    } else {
        0.0
    };
    match kind {
        Kind::Primary => (mix(t.accent, t.on_fill, lift), t.accent, t.on_fill),
        Kind::Danger => (mix(t.failed, t.on_fill, lift), t.failed, t.on_fill),
        Kind::Chosen => (t.pressed, t.accent, t.text),
        Kind::Ongoing => (mix(t.tint(Tone::Failed), t.failed, lift), t.edge(Tone::Failed), t.failed),
        Kind::Quiet if hovered => (t.pressed, t.line_strong, t.text),
        Kind::Quiet => (t.raised, t.line_strong, t.text),
    }
}

/// A quiet button.
pub(crate) fn button(ui: &mut Ui, words: &str) -> Response {
    Button::new(words).show(ui)
}

/// A primary button.
pub(crate) fn primary(ui: &mut Ui, words: &str) -> Response {
    Button::new(words).kind(Kind::Primary).show(ui)
}

/// Clickable words.
pub(crate) fn link(ui: &mut Ui, words: &str) -> Response {
    let t = tokens(ui);
    let galley = ui.painter().layout_no_wrap(words.to_owned(), text::body_font(), Color32::PLACEHOLDER);
    let (rect, response) = ui.allocate_exact_size(vec2(galley.size().x.ceil(), 20.0), Sense::click());
    response.widget_info(|| WidgetInfo::labeled(Role::Link, true, words));
    if ui.is_rect_visible(rect) {
        let at = egui::pos2(rect.left(), rect.center().y - galley.size().y / 2.0);
        if response.hovered() {
            ui.painter().hline(rect.x_range(), at.y + galley.size().y, Stroke::new(1.0, t.accent));
        }
        ui.painter().galley_with_override_text_color(at, galley, t.accent);
        focus_ring(ui, &response, 2);
    }
    response.on_hover_cursor(egui::CursorIcon::PointingHand)
}

/// A square button with an icon; `name` is its accessible name and tooltip.
pub(crate) fn icon_button(ui: &mut Ui, picture: Icon, name: &str) -> Response {
    let t = tokens(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(space::CONTROL, space::CONTROL), Sense::click());
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, name));
    if ui.is_rect_visible(rect) {
        let fill = if response.hovered() { t.pressed } else { t.raised };
        ui.painter().rect_filled(rect, space::RADIUS, fill);
        icon::paint(ui.painter(), rect.shrink(7.0), picture, t.text);
        focus_ring(ui, &response, space::RADIUS);
    }
    response.on_hover_text(name)
}

/// One of several, side by side; `true` when another one was chosen. `name` names the group.
pub(crate) fn segmented<T: PartialEq + Clone>(ui: &mut Ui, name: &str, value: &mut T, options: &[(T, &str)]) -> bool {
    let mut changed = false;
    ui.scope(|ui| {
        ui.spacing_mut().item_spacing.x = 0.0;
        ui.horizontal(|ui| {
            let last = options.len().saturating_sub(1);
            for (i, (option, words)) in options.iter().enumerate() {
                let ends = (i == 0, i == last);
                if segment(ui, name, words, *value == *option, ends) && *value != *option {
                    *value = option.clone();
                    changed = true;
                }
            }
        });
    });
    changed
}

fn segment(ui: &mut Ui, group: &str, words: &str, chosen: bool, (first, last): (bool, bool)) -> bool {
    let t = tokens(ui);
    let galley = ui.painter().layout_no_wrap(words.to_owned(), text::medium(12.0), Color32::PLACEHOLDER);
    let size = vec2((galley.size().x + 28.0).ceil(), space::CONTROL);
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    response.widget_info(|| WidgetInfo::selected(Role::RadioButton, true, chosen, format!("{group}: {words}")));
    if ui.is_rect_visible(rect) {
        let r = space::RADIUS;
        let (west, east) = (if first { r } else { 0 }, if last { r } else { 0 });
        let radius = CornerRadius { nw: west, sw: west, ne: east, se: east };
        let fill = if chosen {
            t.pressed
        } else if response.hovered() {
            t.raised
        } else {
            t.panel
        };
        let body = if last { rect } else { rect.with_max_x(rect.right() + 1.0) };
        ui.painter().rect(body, radius, fill, Stroke::new(1.0, t.line_strong), StrokeKind::Inside);
        let color = if chosen { t.text } else { t.text_soft };
        ui.painter().galley_with_override_text_color(rect.center() - galley.size() / 2.0, galley, color);
        if chosen {
            let under = egui::Rect::from_min_max(
                egui::pos2(rect.left() + 14.0, rect.bottom() - 3.0),
                egui::pos2(rect.right() - 14.0, rect.bottom() - 1.0),
            );
            ui.painter().rect_filled(under, 1, t.accent);
        }
        focus_ring(ui, &response, r);
    }
    response.on_hover_cursor(egui::CursorIcon::PointingHand).clicked()
}

/// Words that are on or off; `true` when clicked.
pub(crate) fn toggle(ui: &mut Ui, words: &str, on: &mut bool) -> bool {
    let t = tokens(ui);
    let galley = ui.painter().layout_no_wrap(words.to_owned(), text::body_font(), Color32::PLACEHOLDER);
    let (rect, response) = ui.allocate_exact_size(vec2((galley.size().x + 20.0).ceil(), 24.0), Sense::click());
    response.widget_info(|| WidgetInfo::selected(Role::CheckBox, true, *on, words));
    if response.clicked() {
        *on = !*on;
    }
    if ui.is_rect_visible(rect) {
        let mark = egui::Rect::from_center_size(egui::pos2(rect.left() + 7.0, rect.center().y), vec2(13.0, 13.0));
        let (fill, line) = if *on { (t.accent, t.accent) } else { (t.window, t.line_strong) };
        ui.painter().rect(mark, 3, fill, Stroke::new(1.0, line), StrokeKind::Inside);
        if *on {
            let tick = vec![mark.min + vec2(3.0, 6.8), mark.min + vec2(5.6, 9.4), mark.min + vec2(10.2, 4.0)];
            ui.painter().line(tick, Stroke::new(1.6, t.on_fill));
        }
        let color = if *on || response.hovered() { t.text } else { t.text_soft };
        let at = egui::pos2(rect.left() + 20.0, rect.center().y - galley.size().y / 2.0);
        ui.painter().galley_with_override_text_color(at, galley, color);
        focus_ring(ui, &response, 3);
    }
    response.on_hover_cursor(egui::CursorIcon::PointingHand).clicked()
}

/// A key, drawn as one: `A`, `Ctrl+K`.
pub(crate) fn key_hint(ui: &mut Ui, key: &str) -> Response {
    let t = tokens(ui);
    let galley = ui.painter().layout_no_wrap(key.to_owned(), text::mono_font(10.5), t.text_soft);
    let (rect, response) = ui.allocate_exact_size(vec2((galley.size().x + 10.0).ceil(), 18.0), Sense::hover());
    ui.painter().rect(rect, space::RADIUS_KEY, t.pressed, Stroke::new(1.0, t.line_strong), StrokeKind::Inside);
    ui.painter().galley(rect.center() - galley.size() / 2.0, galley, t.text_soft);
    response
}
