//! Links and cards as ink: everything here paints and nothing asks.

use egui::{Align2, Color32, CornerRadius, FontId, Painter, Pos2, Rect, Shape, Stroke, StrokeKind, pos2, vec2};
use fuseboard_api::breaker::BreakerMode;
use fuseboard_api::graph::{Board, NodeKind};

use super::camera::Camera;
use super::labels::{Label, Shape as Arranged};
use super::merge::{Box, Grouping, INSTANCE, Link, MAX_INSTANCES};
use super::scene::{Tells, Words};
use super::wires::Wire;
use crate::widgets::chart::paint_sparkline;
use crate::widgets::theme::mix;
use crate::widgets::{Tokens, Tone, format, text};

/// Painting at a zoom.
#[derive(Clone, Copy)]
pub(crate) struct Ink<'a> {
    /// Where.
    pub(crate) painter: &'a Painter,
    /// In which colours.
    pub(crate) t: &'a Tokens,
    /// The canvas.
    pub(crate) canvas: Rect,
    /// The window onto the board.
    pub(crate) camera: Camera,
}

/// Where the figures of a card end, from its left edge.
const RIGHT: f32 = super::wires::CARD_WIDTH - 9.0;
/// Below this zoom a card says its name only.
pub(crate) const NEAR: f32 = 0.7;

/// How a link is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Look {
    /// Chosen.
    pub(crate) chosen: bool,
    /// Under the pointer.
    pub(crate) hovered: bool,
    /// Something else is under the pointer.
    pub(crate) faded: bool,
}

impl Ink<'_> {
    fn zoom(&self) -> f32 {
        self.camera.zoom
    }

    fn font(&self, size: f32, family: impl Fn(f32) -> FontId) -> FontId {
        font(size * self.zoom(), family)
    }

    /// The width of a link's line.
    pub(crate) fn width(&self, link: &Link) -> f32 {
        let rate = link.stats.rate() as f32;
        let width = 1.3 + (1.0 + rate).ln() * 0.42;
        (width.min(4.5) * self.zoom().max(0.5)).max(0.8)
    }

    fn link_color(&self, link: &Link, look: Look) -> Color32 {
        let t = self.t;
        let tone = link.tone();
        let base = match tone {
            Tone::Neutral => t.line_strong,
            Tone::Well if link.asynchronous => mix(t.window, t.accent, 0.5),
            _ => t.tone(tone),
        };
        match (look.chosen || look.hovered, tone) {
            (true, _) => base,
            _ if look.faded => mix(t.window, base, 0.25),
            (_, Tone::Failed | Tone::AtRisk) => mix(t.window, base, 0.62),
            _ => mix(t.window, base, 0.55),
        }
    }

    /// Paints a link.
    pub(crate) fn wire(&self, link: &Link, wire: &Wire, look: Look) {
        if !self.camera.rect(self.canvas, wire.bounds).expand(8.0).intersects(self.canvas) {
            return;
        }
        let points: Vec<Pos2> = wire.points.iter().map(|p| self.camera.to_screen(self.canvas, *p)).collect();
        let color = self.link_color(link, look);
        let width = self.width(link) + if look.chosen { 1.2 } else { 0.0 };
        let stroke = Stroke::new(width, color);
        if look.chosen || look.hovered {
            self.painter.line(points.clone(), Stroke::new(width + 5.0, color.gamma_multiply(0.16)));
        }
        let cut = link.switch.as_ref().is_some_and(|s| s.worst.mode == BreakerMode::ForcedOpen);
        if cut {
            self.cut(&points, Stroke::new(width, self.t.failed));
        } else if link.asynchronous {
            let dash = 5.0 * self.zoom().max(0.6);
            self.painter.extend(Shape::dashed_line(&points, stroke, dash, dash * 0.8));
        } else {
            self.painter.line(points.clone(), stroke);
        }
        if self.zoom() > 0.4 {
            self.tip(&points, color, width);
        }
    }

    /// A link that somebody holds open: nothing passes, and it looks so: two ends with a gap that is barred.
    fn cut(&self, points: &[Pos2], stroke: Stroke) {
        let z = self.zoom().max(0.6);
        self.painter.extend(Shape::dashed_line(points, stroke, 2.5 * z, 5.0 * z));
        let Some(middle) = points.get(points.len() / 3) else { return };
        let r = 4.5 * z;
        self.painter.circle_filled(*middle, r + 3.0 * z, self.t.window);
        let bar = Stroke::new((2.0 * z).max(1.2), self.t.failed);
        self.painter.line_segment([*middle - vec2(r, r), *middle + vec2(r, r)], bar);
        self.painter.line_segment([*middle + vec2(-r, r), *middle + vec2(r, -r)], bar);
    }

    /// A small head where the link arrives.
    fn tip(&self, points: &[Pos2], color: Color32, width: f32) {
        let [.., before, end] = points else { return };
        let along = (*end - *before).normalized();
        let across = along.rot90();
        let size = (3.2 + width * 0.6) * self.zoom().max(0.6);
        let base = *end - along * size * 1.5;
        let head = vec![*end, base + across * size * 0.8, base - across * size * 0.8];
        self.painter.add(Shape::convex_polygon(head, color, Stroke::NONE));
    }

    /// Paints the words of a link, `scale` times as large as at zoom 1.
    pub(crate) fn label(&self, link: &Link, words: &Words, label: &Label, scale: f32, look: Look) {
        let rect = self.camera.rect(self.canvas, label.rect);
        let size = self.zoom() * scale;
        if size < 0.62 || !rect.intersects(self.canvas) {
            return;
        }
        let t = self.t;
        self.painter.rect_filled(rect.expand2(vec2(0.0, 0.5)), 4, t.window.gamma_multiply(0.92));
        if look.chosen {
            self.painter.rect_stroke(rect.expand2(vec2(2.0, 1.0)), 4, Stroke::new(1.0, t.accent), StrokeKind::Outside);
        }
        let fade = |c: Color32| if look.faded { mix(t.window, c, 0.45) } else { c };
        let (big, small) = (font(10.5 * size, text::mono_medium), font(10.0 * size, text::mono_font));
        let error = match link.tone() {
            Tone::Failed | Tone::AtRisk => t.tone(link.tone()),
            _ => t.text_soft,
        };
        if label.shape == Arranged::Narrow {
            let lines = words.narrow();
            let step = rect.height() / lines.len().max(1) as f32;
            for (i, (line, tells)) in lines.into_iter().enumerate() {
                let (color, font) = match tells {
                    Tells::Operation => (t.text_soft, &big),
                    Tells::Rate => (t.text, &big),
                    Tells::Errors => (error, &big),
                    Tells::Latency => (if words.near { t.at_risk } else { t.text_soft }, &small),
                };
                self.spread(rect.center().x, rect.top() + (i as f32 + 0.5) * step, &[(line, color)], font, 0.0, fade);
            }
            return;
        }
        let mut first = vec![
            (words.operation.as_str(), t.text_soft),
            (words.rate.as_str(), t.text),
            (words.errors.as_str(), error),
        ];
        first.retain(|(s, _)| !s.is_empty());
        let two = label.shape == Arranged::Full && !words.p95.is_empty();
        let y = if two { rect.top() + rect.height() * 0.27 } else { rect.center().y };
        self.spread(rect.center().x, y, &first, &big, 6.3 * size, fade);
        if two {
            let y = rect.top() + rect.height() * 0.75;
            self.limit_line(rect.center().x, y, words, &small, 4.5 * size, fade);
        }
    }

    /// Words side by side around `x`, `gap` apart.
    fn spread(
        &self,
        x: f32,
        y: f32,
        words: &[(&str, Color32)],
        font: &FontId,
        gap: f32,
        fade: impl Fn(Color32) -> Color32,
    ) {
        let galleys: Vec<_> =
            words.iter().map(|(s, c)| self.painter.layout_no_wrap((*s).to_owned(), font.clone(), fade(*c))).collect();
        let total: f32 = galleys.iter().map(|g| g.size().x).sum::<f32>() + gap * (galleys.len().max(1) - 1) as f32;
        let mut left = x - total / 2.0;
        for galley in galleys {
            let size = galley.size();
            self.painter.galley(pos2(left, y - size.y / 2.0), galley, self.t.text);
            left += size.x + gap;
        }
    }

    /// `p95 800 | 800 ms`: what it takes, beside the wall that limits it.
    fn limit_line(&self, x: f32, y: f32, words: &Words, font: &FontId, gap: f32, fade: impl Fn(Color32) -> Color32) {
        let t = self.t;
        let soft = if words.near { t.at_risk } else { t.text_soft };
        if words.limit.is_empty() {
            return self.spread(x, y, &[(words.p95.as_str(), soft)], font, 0.0, fade);
        }
        let left = self.painter.layout_no_wrap(words.p95.clone(), font.clone(), fade(soft));
        let right = self.painter.layout_no_wrap(words.limit.clone(), font.clone(), fade(t.text_soft));
        let from = x - (left.size().x + right.size().x + 2.0 * gap) / 2.0;
        let wall = from + left.size().x + gap;
        let height = left.size().y;
        self.painter.galley(pos2(from, y - height / 2.0), left, t.text);
        self.painter.vline(
            wall,
            y - height * 0.45..=y + height * 0.45,
            Stroke::new(1.2, fade(if words.near { t.at_risk } else { t.label })),
        );
        self.painter.galley(pos2(wall + gap, y - height / 2.0), right, t.text);
    }

    /// Paints a card.
    pub(crate) fn card(&self, b: &Box, rect: Rect, board: &Board, grouping: Grouping, look: Look) {
        let t = self.t;
        let z = self.zoom();
        let radius = CornerRadius::same((8.0 * z).clamp(2.0, 12.0) as u8);
        let own = b.kind == NodeKind::Service;
        let fill = if own { t.raised } else { mix(t.window, t.raised, 0.55) };
        let bad = matches!(b.tone, Tone::Failed | Tone::AtRisk);
        let line = match (look.chosen, look.hovered, bad) {
            (true, ..) => Stroke::new(2.0, t.accent),
            (_, true, _) => Stroke::new(1.5, t.text_soft),
            (_, _, true) => Stroke::new(1.4, t.tone(b.tone)),
            _ => Stroke::new(1.0, t.line_strong),
        };
        self.painter.rect_filled(rect, radius, fill);
        if own || z < 0.35 {
            self.painter.rect_stroke(rect, radius, line, StrokeKind::Inside);
        } else {
            self.dashed_outline(
                rect.shrink(0.5),
                8.0 * z,
                if bad || look.chosen { line } else { Stroke::new(1.0, t.label) },
            );
        }
        if z < 0.35 {
            self.health(rect, b.tone);
            return;
        }
        self.health(rect, b.tone);
        if z < NEAR {
            self.card_from_afar(b, rect, board);
        } else {
            self.card_words(b, rect, board, grouping);
        }
    }

    /// Only the name, as large as it can be read, and errors where there are many.
    fn card_from_afar(&self, b: &Box, rect: Rect, board: &Board) {
        let (t, z) = (self.t, self.zoom());
        let ratio = b.node.and_then(|n| board.nodes.get(n as usize)).map_or(0.0, |n| n.stats.error_ratio());
        let bad = matches!(b.tone, Tone::Failed | Tone::AtRisk);
        let left = rect.left() + 13.0 * z;
        let two = bad && z > 0.46;
        let y = if two { rect.top() + rect.height() * 0.31 } else { rect.center().y };
        let size = (12.5 * z).max(9.5);
        let color = if bad && !two { t.tone(b.tone) } else { t.text };
        let room = rect.right() - left - 2.0;
        text::paint(self.painter, pos2(left, y), Align2::LEFT_CENTER, &b.name, font(size, text::semibold), color, room);
        if two {
            let at = pos2(left, rect.top() + rect.height() * 0.72);
            self.painter.text(
                at,
                Align2::LEFT_CENTER,
                format::percent(ratio),
                font(size * 0.9, text::mono_medium),
                t.tone(b.tone),
            );
        }
    }

    /// The bar at the left: whole when well, cut in two when at risk, broad and cut in three when failed.
    fn health(&self, rect: Rect, tone: Tone) {
        let z = self.zoom();
        let (color, parts, width) = match tone {
            Tone::Failed => (self.t.failed, 3, 5.0),
            Tone::AtRisk => (self.t.at_risk, 2, 4.0),
            Tone::Well => (self.t.well, 1, 3.0),
            _ => (self.t.line_strong, 1, 3.0),
        };
        let bar = Rect::from_min_max(
            rect.left_top() + vec2(4.0, 10.0) * z,
            pos2(rect.left() + (4.0 + width) * z, rect.bottom() - 10.0 * z),
        );
        let gap = 3.0 * z;
        let height = (bar.height() - gap * (parts - 1) as f32) / parts as f32;
        for i in 0..parts {
            let top = bar.top() + i as f32 * (height + gap);
            let part = Rect::from_min_size(pos2(bar.left(), top), vec2(bar.width(), height));
            self.painter.rect_filled(part, CornerRadius::same((1.5 * z) as u8), color);
        }
    }

    fn dashed_outline(&self, rect: Rect, radius: f32, stroke: Stroke) {
        let mut points: Vec<Pos2> = Vec::with_capacity(40);
        let corners = [
            (rect.right_top() + vec2(-radius, radius), -0.25_f32),
            (rect.right_bottom() + vec2(-radius, -radius), 0.0),
            (rect.left_bottom() + vec2(radius, -radius), 0.25),
            (rect.left_top() + vec2(radius, radius), 0.5),
        ];
        for (middle, turn) in corners {
            points.extend((0..=6).map(|i| {
                let angle = std::f32::consts::TAU * (turn + i as f32 / 24.0);
                middle + vec2(angle.cos(), angle.sin()) * radius
            }));
        }
        points.extend(points.first().copied());
        self.painter.extend(Shape::dashed_line(&points, stroke, 4.0, 3.0));
    }

    fn card_words(&self, b: &Box, rect: Rect, board: &Board, grouping: Grouping) {
        let (t, z) = (self.t, self.zoom());
        let at = |x: f32, y: f32| rect.left_top() + vec2(x, y) * z;
        let node = b.node.and_then(|n| board.nodes.get(n as usize));
        let ratio = node.map_or(0.0, |n| n.stats.error_ratio());
        let mut room = rect.width() - 23.0 * z;
        if ratio >= 0.001 {
            let color = if b.tone == Tone::Well { t.text_soft } else { t.tone(b.tone) };
            let words = format::percent(ratio);
            let taken = self.painter.text(
                at(RIGHT, 16.0),
                Align2::RIGHT_CENTER,
                words,
                self.font(10.5, text::mono_medium),
                color,
            );
            room -= taken.width() + 4.0 * z;
        }
        text::paint(
            self.painter,
            at(14.0, 16.0),
            Align2::LEFT_CENTER,
            &b.name,
            self.font(12.5, text::semibold),
            t.text,
            room,
        );
        let small = self.font(10.5, FontId::proportional);
        let instances = node.map_or(&[][..], |n| n.instances.as_slice());
        if grouping == Grouping::Instances && !instances.is_empty() {
            for (i, instance) in instances.iter().take(MAX_INSTANCES).enumerate() {
                let y = 36.0 + i as f32 * INSTANCE;
                let ratio = instance.stats.error_ratio();
                let tone = if ratio >= 0.1 {
                    Tone::Failed
                } else if ratio >= 0.01 {
                    Tone::AtRisk
                } else {
                    Tone::Well
                };
                crate::widgets::pill::paint_dot_sized(self.painter, at(18.0, y), 2.8 * z, tone, t.tone(tone));
                let short = instance.instance.strip_prefix(&format!("{}-", b.name)).unwrap_or(&instance.instance);
                let words = if instances.len() > MAX_INSTANCES && i + 1 == MAX_INSTANCES {
                    format!("and {} more", instances.len() + 1 - MAX_INSTANCES)
                } else {
                    format!("{short} {}", instance.version)
                };
                text::paint(
                    self.painter,
                    at(26.0, y),
                    Align2::LEFT_CENTER,
                    words,
                    small.clone(),
                    t.text_soft,
                    62.0 * z,
                );
                let figure = if ratio >= 0.001 { format::percent(ratio) } else { format::rate(instance.stats.rate()) };
                let color = if ratio >= 0.01 { t.tone(tone) } else { t.label };
                self.painter.text(at(RIGHT, y), Align2::RIGHT_CENTER, figure, self.font(10.0, text::mono_font), color);
            }
            return;
        }
        let words = match b.kind {
            NodeKind::Service => format::plural(instances.len() as u64, "instance"),
            kind => kind_words(kind, node.map_or("", |n| n.system.as_str())),
        };
        let taken = text::paint(
            self.painter,
            at(14.0, 36.0),
            Align2::LEFT_CENTER,
            words,
            small,
            t.text_soft,
            rect.width() - 20.0 * z,
        );
        self.spark(b, rect, taken.right(), board);
    }

    fn spark(&self, b: &Box, rect: Rect, left: f32, board: &Board) {
        let Some(node) = b.node.and_then(|n| board.nodes.get(n as usize)) else { return };
        let failing = b.tone == Tone::Failed || b.tone == Tone::AtRisk;
        let values: Vec<f32> = node.spark.iter().map(|p| if failing { p.error_ratio } else { p.rate }).collect();
        let z = self.zoom();
        let plot = Rect::from_min_max(
            pos2((left + 8.0 * z).max(rect.left() + 72.0 * z), rect.top() + 30.0 * z),
            rect.right_bottom() - vec2(8.0, 10.0) * z,
        );
        if plot.width() > 14.0 && z >= 0.5 {
            let tone = if b.tone == Tone::Neutral { self.t.label } else { self.t.tone(b.tone) };
            paint_sparkline(self.painter, plot, &values, tone, true);
        }
    }
}

/// A font in half points only, so that zooming does not fill the atlas with a size for every step.
fn font(size: f32, family: impl Fn(f32) -> FontId) -> FontId {
    family((size * 2.0).round().max(2.0) / 2.0)
}

/// What a node without spans is, in a word or two.
pub(crate) fn kind_words(kind: NodeKind, system: &str) -> String {
    let kind = match kind {
        NodeKind::Service => "service",
        NodeKind::Database => "database",
        NodeKind::Queue => "queue",
        NodeKind::External => "external",
    };
    if system.is_empty() { kind.to_owned() } else { format!("{kind} · {system}") }
}
