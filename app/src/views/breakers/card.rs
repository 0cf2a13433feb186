//! One switch of the panel, drawn as a card: glyph, sentence, window, ratio line, outlook and the keys that flip it.

use std::collections::BTreeMap;

use egui::{
    CornerRadius, Id, Pos2, Rect, Role, Sense, Shape, Stroke, StrokeKind, Ui, UiBuilder, WidgetInfo, pos2, vec2,
};
use fuseboard_api::breaker::{Breaker, BreakerMode, BreakerState};
use fuseboard_api::graph::EdgeKey;
use fuseboard_api::identity;
use fuseboard_api::{TraceId, UnixNanos};

use super::flip::{MODES, mode_name};
use super::switches::{Look, Switch, look};
use super::words;
use crate::model::Model;
use crate::views::names;
use crate::widgets::breaker::{Glyph, switch as glyph_switch, window_cells};
use crate::widgets::button::{Button, Kind};
use crate::widgets::{Tone, button, chart, focus_ring, pill, space, text, tokens};

/// The narrowest card.
pub(super) const MIN_WIDTH: f32 = 420.0;

const PAD: f32 = 14.0;
const BODY: f32 = 198.0;
const INSTANCE: f32 = 24.0;

/// What a person did to a card.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Deed {
    /// Chose it.
    Choose,
    /// Wants another mode.
    Flip(BreakerMode),
    /// Wants to see its instances, or not.
    Expand,
    /// Wants to see the trace of a call of its window.
    Trace(TraceId),
}

/// What is drawn.
pub(super) struct Drawn<'a> {
    /// The switch.
    pub(super) switch: &'a Switch<'a>,
    /// What countdowns run against.
    pub(super) now: UnixNanos,
    /// Whether it is the chosen one.
    pub(super) chosen: bool,
    /// Names for screen readers.
    pub(super) names: &'a Names<'a>,
    /// Whether its instances are shown.
    pub(super) expanded: bool,
}

/// Accessible names: the operation is said only where an edge has several switches.
pub(super) struct Names<'a> {
    times: BTreeMap<(&'a str, &'a str), usize>,
}

impl<'a> Names<'a> {
    /// Of these switches.
    pub(super) fn of(keys: impl Iterator<Item = &'a EdgeKey>) -> Self {
        let mut times = BTreeMap::new();
        for key in keys {
            *times.entry((key.caller.as_str(), key.callee.as_str())).or_default() += 1;
        }
        Self { times }
    }

    /// `orders → payments`, with the operation where that is not enough.
    pub(super) fn name(&self, key: &EdgeKey) -> String {
        match self.times.get(&(key.caller.as_str(), key.callee.as_str())) {
            Some(1) => names::edge_name(key),
            _ => names::full_name(key),
        }
    }
}

/// The card's identity, for the keyboard.
pub(super) fn id(key: &EdgeKey) -> Id {
    Id::unique(("breaker card", key))
}

/// How high a card is.
pub(super) fn height(switch: &Switch<'_>, expanded: bool) -> f32 {
    if expanded { BODY + 10.0 + INSTANCE * switch.instances.len() as f32 } else { BODY }
}

/// The tone of a state sentence and of a card's border.
pub(super) fn tone(b: &Breaker) -> Tone {
    match look(b) {
        Look::Open | Look::ForcedOpen => Tone::Failed,
        Look::HalfOpen => Tone::Probing,
        Look::ForcedClosed | Look::Disabled => Tone::AtRisk,
        Look::Shadow if b.state != BreakerState::Closed => Tone::AtRisk,
        Look::Shadow | Look::Closed => Tone::Neutral,
    }
}

/// Paints a card into `rect`; gives what was done to it.
pub(super) fn show(ui: &mut Ui, rect: Rect, model: &Model, drawn: &Drawn<'_>) -> Option<Deed> {
    let switch = drawn.switch;
    let name = drawn.names.name(switch.key);
    let mut deed = None;
    let sentence = words::state_sentence(switch, drawn.now, &|t| model.zone.time(t));
    let card = ui.interact(rect, id(switch.key), Sense::click());
    card.widget_info(|| {
        let words = format!("{name}, {sentence}, {}", words::window_note(switch.lead));
        WidgetInfo::selected(Role::ListItem, true, drawn.chosen, words)
    });
    if card.clicked() || (card.gained_focus() && !drawn.chosen) {
        deed = Some(Deed::Choose);
    }
    if card.has_focus() {
        let lock = egui::EventFilter { horizontal_arrows: true, vertical_arrows: true, ..Default::default() };
        ui.memory_mut(|m| m.set_focus_lock_filter(card.id, lock));
    }
    frame(ui, rect, drawn, &card);
    let inner = Rect::from_min_size(rect.min + vec2(PAD, 12.0), vec2(rect.width() - 2.0 * PAD, rect.height() - 20.0));
    ui.scope_builder(UiBuilder::new().max_rect(inner).id_salt(switch.key), |ui| {
        ui.spacing_mut().item_spacing = vec2(6.0, 0.0);
        let parts = [
            head(ui, drawn, &name),
            state_row(ui, drawn, &sentence),
            window(ui, switch.lead, &name),
            line(ui, switch, &name),
            foot(ui, model, drawn, &name),
        ];
        deed = parts.into_iter().flatten().next().or(deed);
        if drawn.expanded {
            instances(ui, model, drawn);
        }
    });
    deed
}

fn frame(ui: &Ui, rect: Rect, drawn: &Drawn<'_>, card: &egui::Response) {
    let t = tokens(ui);
    let radius = CornerRadius::same(space::RADIUS_CARD);
    let fill = if card.hovered() { crate::widgets::theme::mix(t.panel, t.raised, 0.4) } else { t.panel };
    let tone = tone(drawn.switch.lead);
    ui.painter().rect_filled(rect, radius, fill);
    if drawn.switch.wish.is_some() {
        // A wish, not yet a fact: dashed, also while it is chosen.
        let width = if drawn.chosen { 2.0 } else { 1.5 };
        let outline = rounded(rect.shrink(width / 2.0), f32::from(space::RADIUS_CARD));
        ui.painter().extend(Shape::dashed_line(&outline, Stroke::new(width, t.accent), 7.0, 5.0));
    } else if drawn.chosen {
        ui.painter().rect_stroke(rect, radius, Stroke::new(2.0, t.accent), StrokeKind::Inside);
    } else {
        let line = if tone == Tone::Neutral { Stroke::new(1.0, t.line) } else { Stroke::new(1.5, t.edge(tone)) };
        ui.painter().rect_stroke(rect, radius, line, StrokeKind::Inside);
    }
    focus_ring(ui, card, space::RADIUS_CARD);
}

/// The outline of a rectangle with round corners, as a closed line.
fn rounded(rect: Rect, radius: f32) -> Vec<Pos2> {
    let inner = rect.shrink(radius);
    let corners =
        [(inner.right_top(), -0.25), (inner.right_bottom(), 0.0), (inner.left_bottom(), 0.25), (inner.left_top(), 0.5)];
    let mut line: Vec<Pos2> = corners
        .iter()
        .flat_map(|(center, turn)| {
            (0..=6).map(move |i| {
                let angle = (turn + i as f32 / 24.0) * std::f32::consts::TAU;
                *center + vec2(angle.cos(), angle.sin()) * radius
            })
        })
        .collect();
    line.extend(line.first().copied());
    line
}

fn head(ui: &mut Ui, drawn: &Drawn<'_>, name: &str) -> Option<Deed> {
    let switch = drawn.switch;
    let t = tokens(ui);
    let mut deed = None;
    text::row(
        ui,
        38.0,
        |ui| {
            ui.vertical(|ui| {
                ui.spacing_mut().item_spacing.y = 2.0;
                ui.add_space(1.0);
                text::styled(ui, names::edge_name(switch.key), text::semibold(14.0), t.text)
                    .on_hover_text(switch.key.to_string());
                text::styled(ui, names::short_operation(&switch.key.operation), text::mono_font(11.0), t.text_soft);
            });
        },
        |ui| {
            let glyph = Glyph::new(switch.lead.state, switch.lead.mode);
            let response = glyph_switch(ui, vec2(104.0, 38.0), glyph, name);
            if response.on_hover_text("Flip this breaker").clicked() {
                deed = Some(Deed::Flip(opposite(switch)));
            }
            ui.add_space(4.0);
            if let Some(wish) = switch.wish {
                pill::pill(ui, &words::wish_pill(wish), Tone::Accent)
                    .on_hover_text("Asked for; not yet in force everywhere");
            } else if let Some(change) = switch.change {
                pill::pill(ui, &words::override_pill(change, drawn.now), Tone::Accent)
                    .on_hover_text(format!("{}: {}", change.summary, change.reason));
            }
        },
    );
    ui.add_space(6.0);
    deed
}

/// What a click on the glyph proposes: the other way round.
fn opposite(switch: &Switch<'_>) -> BreakerMode {
    match look(switch.lead) {
        Look::Closed | Look::ForcedClosed | Look::Shadow | Look::Disabled => BreakerMode::ForcedOpen,
        Look::Open | Look::HalfOpen => BreakerMode::ForcedClosed,
        Look::ForcedOpen => BreakerMode::Auto,
    }
}

fn state_row(ui: &mut Ui, drawn: &Drawn<'_>, sentence: &str) -> Option<Deed> {
    let switch = drawn.switch;
    let t = tokens(ui);
    let tone = tone(switch.lead);
    let color = if tone == Tone::Neutral { t.text } else { t.tone(tone) };
    let mut deed = None;
    text::row(
        ui,
        20.0,
        |ui| text::styled(ui, sentence, text::body_font(), color),
        |ui| {
            if switch.instances.len() > 1 {
                let arrow = if drawn.expanded { "▴" } else { "▾" };
                let differs = if switch.differs() { "differ" } else { "instances" };
                let response = button::link(ui, &format!("{} {differs} {arrow}", switch.instances.len()));
                let response = response.on_hover_text("Show each instance's own breaker");
                if response.clicked() {
                    deed = Some(Deed::Expand);
                }
            }
        },
    );
    ui.add_space(4.0);
    deed
}

/// The calls that decide, or decided; the one that tripped it carries a mark.
fn window(ui: &mut Ui, b: &Breaker, name: &str) -> Option<Deed> {
    let t = tokens(ui);
    let mut clicked = None;
    text::row(
        ui,
        20.0,
        |ui| {
            ui.set_max_width(ui.available_width() - 8.0);
            let needed = (b.min_calls as usize).min(64);
            let from = ui.cursor().left();
            clicked = window_cells(ui, &b.window, needed, &format!("window of {name}"));
            if look(b) == Look::Open && !b.window.is_empty() {
                trip_mark(ui, from, b.window.len(), t.failed);
            }
        },
        |ui| {
            text::styled(ui, words::window_note(b), text::mono_font(11.0), t.text_soft);
        },
    );
    ui.add_space(8.0);
    clicked.and_then(|i| b.window.get(i)).and_then(|c| c.trace_id).map(Deed::Trace)
}

/// A small triangle under the newest call.
fn trip_mark(ui: &Ui, left: f32, calls: usize, color: egui::Color32) {
    const STEP: f32 = 17.0;
    let room = ui.max_rect().width();
    let fit = ((room + 4.0) / STEP).floor().max(1.0) as usize;
    let x = left + (calls.min(fit) as f32 - 1.0) * STEP + 6.5;
    let y = ui.max_rect().bottom() + 2.0;
    let points = vec![pos2(x, y), pos2(x + 3.5, y + 5.0), pos2(x - 3.5, y + 5.0)];
    ui.painter().add(Shape::convex_polygon(points, color, Stroke::NONE));
}

fn line(ui: &mut Ui, switch: &Switch<'_>, name: &str) -> Option<Deed> {
    let b = switch.lead;
    let t = tokens(ui);
    let tripped = matches!(look(b), Look::Open | Look::HalfOpen) && !b.cause.is_empty();
    let words = if tripped { &b.cause } else { &b.rule };
    text::row(
        ui,
        15.0,
        |ui| {
            text::label(ui, if words.is_empty() { "no rule" } else { words.as_str() })
                .on_hover_text(format!("rule: {}", b.rule))
        },
        |ui| {
            text::styled(ui, format!("r{}", b.revision), text::mono_font(10.5), t.label);
        },
    );
    ui.add_space(4.0);
    let size = vec2(ui.available_width(), 30.0);
    let tone = match tone(b) {
        Tone::Neutral if switch.is_at_risk() => Tone::AtRisk,
        Tone::Neutral => Tone::Well,
        tone => tone,
    };
    let threshold = b.failure_ratio.or(b.slow_ratio);
    chart::ratio_line(ui, size, &b.history, threshold, tone, &format!("failure ratio of {name} over the last minutes"));
    ui.add_space(10.0);
    None
}

fn foot(ui: &mut Ui, model: &Model, drawn: &Drawn<'_>, name: &str) -> Option<Deed> {
    let switch = drawn.switch;
    let t = tokens(ui);
    let mut deed = None;
    let color = if switch.is_at_risk() { t.at_risk } else { t.text_soft };
    let outlook = words::outlook(switch, drawn.now);
    text::row(
        ui,
        22.0,
        |ui| text::styled(ui, &outlook, text::secondary_font(), color).on_hover_text(&outlook),
        |ui| {
            for (key, mode, short, long) in MODES.iter().rev() {
                let now = switch.lead.mode == *mode && (*mode != BreakerMode::Auto || switch.is_overridden());
                let key = key.to_string();
                let kind = if now { Kind::Chosen } else { Kind::Quiet };
                let response = Button::new(short)
                    .key(&key)
                    .kind(kind)
                    .small()
                    .barred(model.barred(identity::Deed::Override))
                    .show(ui);
                let response = response.accessible_name(mode_name(name, long));
                if response.clicked() {
                    deed = Some(Deed::Flip(*mode));
                }
            }
        },
    );
    deed
}

/// Each instance's own state, when they are asked for.
fn instances(ui: &mut Ui, model: &Model, drawn: &Drawn<'_>) {
    let t = tokens(ui);
    ui.add_space(6.0);
    let y = ui.cursor().top();
    ui.painter().hline(ui.max_rect().x_range(), y, Stroke::new(1.0, t.line));
    ui.add_space(4.0);
    for b in &drawn.switch.instances {
        text::row(
            ui,
            INSTANCE,
            |ui| {
                let (rect, _) = ui.allocate_exact_size(vec2(34.0, 16.0), Sense::hover());
                Glyph::new(b.state, b.mode).paint(ui.painter(), rect, t);
                ui.add_space(4.0);
                let room = ui.available_width();
                ui.scope(|ui| {
                    ui.set_max_width(room * 0.4);
                    text::styled(ui, &b.instance, text::mono_font(11.0), t.text);
                });
                let tone = tone(b);
                let color = if tone == Tone::Neutral { t.text_soft } else { t.tone(tone) };
                let sentence = words::instance_sentence(b, drawn.now, &|at| model.zone.time(at));
                text::styled(ui, sentence, text::secondary_font(), color);
            },
            |ui| {
                let words = format!("{} · r{}", words::window_note(b), b.revision);
                text::styled(ui, words, text::mono_font(10.5), t.text_soft);
            },
        );
    }
}
