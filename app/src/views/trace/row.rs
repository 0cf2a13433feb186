//! One line of the waterfall.

use egui::{Align2, Color32, CornerRadius, FontId, Painter, Pos2, Rect, Shape, Stroke, Ui, pos2, vec2};

use super::built::{Built, Line, What};
use super::critical::Segment;
use super::ending::{on_bar, title, tone};
use super::palette::ON_BAR;
use super::strips::Scale;
use super::tree::Hold;
use crate::widgets::theme::mix;
use crate::widgets::{Tokens, Tone, format, text, tokens};

/// Height of a line, in points.
pub(crate) const HEIGHT: f32 = 26.0;
/// Height of a bar.
const BAR: f32 = 14.0;

/// What all lines have in common.
pub(crate) struct Lines<'a> {
    /// The trace.
    pub(crate) built: &'a Built,
    /// Colours of the services.
    pub(crate) colors: &'a [Color32],
    /// From time to place.
    pub(crate) scale: Scale,
    /// Left and right end of the names.
    pub(crate) names: (f32, f32),
    /// Left and right end of the column of what the deadline left; equal where there is none.
    pub(crate) left: (f32, f32),
    /// Points for each step to the root.
    pub(crate) indent: f32,
    /// The path to draw, earliest first; by span.
    pub(crate) path: &'a std::collections::HashMap<u32, Vec<Segment>>,
}

/// How a line is looked at.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Look {
    /// Chosen.
    pub(crate) chosen: bool,
    /// Under the pointer.
    pub(crate) hovered: bool,
    /// A hit of the search.
    pub(crate) hit: bool,
    /// A search is on and this is no hit.
    pub(crate) faded: bool,
    /// How many lines are folded under it.
    pub(crate) folded: Option<u32>,
}

impl Lines<'_> {
    /// Where a line's dot stands.
    pub(crate) fn dot(&self, line: &Line, rect: Rect) -> Pos2 {
        pos2(self.names.0 + 14.0 + line.depth as f32 * self.indent, rect.center().y)
    }

    fn color(&self, span: u32) -> Color32 {
        let service = self.built.service_of.get(span as usize).map_or(0, |s| usize::from(*s));
        self.colors.get(service).copied().unwrap_or(Color32::GRAY)
    }

    /// Paints a line into `rect`, which is as wide as everything.
    pub(crate) fn paint(&self, ui: &Ui, line: &Line, rect: Rect, look: Look) {
        let t = tokens(ui);
        if look.chosen {
            ui.painter().rect_filled(rect, 0, mix(t.window, t.accent, 0.12));
            ui.painter().rect_filled(rect.with_max_x(rect.left() + 3.0), 0, t.accent);
        } else if look.hit {
            ui.painter().rect_filled(rect, 0, mix(t.window, t.at_risk, 0.1));
        } else if look.hovered {
            ui.painter().rect_filled(rect, 0, t.panel);
        }
        self.name(ui, line, rect, look, t);
        let plot = Rect::from_min_max(pos2(self.scale.left, rect.top()), pos2(self.scale.right, rect.bottom()));
        let painter = ui.painter().with_clip_rect(plot.expand2(vec2(1.0, 0.0)).intersect(ui.clip_rect()));
        match line.what {
            What::Span => self.bar(&painter, line.span, plot, look, t),
            What::Backoff(from, to) => self.backoff(&painter, from, to, plot, t),
        }
        if line.what == What::Span {
            self.left_over(ui, line.span, rect, t);
        }
    }

    fn name(&self, ui: &Ui, line: &Line, rect: Rect, look: Look, t: &Tokens) {
        let painter = ui.painter().with_clip_rect(rect.with_max_x(self.names.1 - 6.0).intersect(ui.clip_rect()));
        let dot = self.dot(line, rect);
        // Guides closer than this are a wall, not guides.
        let guides = if self.indent >= 5.0 { line.depth } else { 0 };
        for depth in 0..guides {
            let x = (self.names.0 + 14.0 + depth as f32 * self.indent).round() + 0.5;
            painter.vline(x, rect.y_range(), Stroke::new(1.0, t.line));
        }
        let color = self.color(line.span);
        let ghost = self.built.is_ghost(line.span);
        let children = line.what == What::Span && line.after > self.built.line_of[line.span as usize] + 1;
        match line.what {
            What::Backoff(..) => {
                painter.circle_filled(dot, 2.5, t.line_strong);
            }
            What::Span if ghost => {
                painter.circle_stroke(dot, 3.5, Stroke::new(1.3, t.label));
            }
            What::Span if look.folded.is_some() => {
                painter.circle_filled(dot, 5.5, color);
                painter.hline(dot.x - 2.5..=dot.x + 2.5, dot.y, Stroke::new(1.5, ON_BAR));
                painter.vline(dot.x, dot.y - 2.5..=dot.y + 2.5, Stroke::new(1.5, ON_BAR));
            }
            What::Span => {
                painter.circle_filled(dot, 4.0, color);
                if children && look.hovered {
                    painter.circle_stroke(dot, 6.0, Stroke::new(1.0, color));
                }
            }
        }
        let quiet = ghost || look.faded || line.what != What::Span;
        let (strong, soft) = if quiet { (t.label, t.label) } else { (t.text, t.text_soft) };
        let mut x = dot.x + 10.0;
        let room = |x: f32| self.names.1 - 8.0 - x;
        let service = self.built.service(line.span);
        x = text::paint(&painter, pos2(x, dot.y), Align2::LEFT_CENTER, service, text::semibold(12.0), strong, room(x))
            .right()
            + 7.0;
        let words = match line.what {
            What::Backoff(from, to) => format!("backoff {}", format::nanos((to - from).unsigned_abs())),
            What::Span => title(self.built, line.span),
        };
        x = text::paint(
            &painter,
            pos2(x, dot.y),
            Align2::LEFT_CENTER,
            words,
            FontId::proportional(11.5),
            soft,
            room(x),
        )
        .right()
            + 6.0;
        let aside = match (look.folded, self.built.tree.hold[line.span as usize]) {
            (Some(n), _) => format!("+{}", format::count(n.into())),
            (None, Hold::Orphan) if line.what == What::Span => "parent not received".to_owned(),
            (None, Hold::Cycle) if line.what == What::Span => "is its own ancestor".to_owned(),
            (None, Hold::Link) if line.what == What::Span => "by link".to_owned(),
            _ => return,
        };
        text::paint(&painter, pos2(x, dot.y), Align2::LEFT_CENTER, aside, text::label_font(), t.at_risk, room(x));
    }

    fn bar(&self, painter: &Painter, span: u32, plot: Rect, look: Look, t: &Tokens) {
        let (begin, end) = self.built.times[span as usize];
        let facts = self.built.facts[span as usize];
        let y = plot.center().y;
        let (x0, x1) = (self.scale.x(begin).max(plot.left() - 8.0), self.scale.x(end).min(plot.right() + 8.0));
        if self.scale.x(end) < plot.left() - 1.0 || self.scale.x(begin) > plot.right() + 1.0 {
            return self.elsewhere(painter, self.scale.x(end) < plot.left(), plot, t);
        }
        let bar = Rect::from_min_max(pos2(x0, y - BAR / 2.0), pos2(x1.max(x0 + 2.0), y + BAR / 2.0));
        let words = on_bar(self.built, span);
        if self.built.is_ghost(span) {
            let ghost = bar.with_max_x(bar.right().max(bar.left() + 56.0));
            let corners =
                [ghost.left_top(), ghost.right_top(), ghost.right_bottom(), ghost.left_bottom(), ghost.left_top()];
            painter.extend(Shape::dashed_line(&corners, Stroke::new(1.2, t.label), 3.0, 3.0));
            return beside(painter, ghost, plot, &words, t.text_soft);
        }
        let color = if look.faded { mix(t.window, self.color(span), 0.35) } else { self.color(span) };
        let wasted = self.built.given_up[span as usize];
        painter.rect_filled(bar, CornerRadius::same(3), color);
        if wasted < end {
            self.waste(painter, bar, self.scale.x(wasted.max(begin)), color, t);
        }
        let bad = tone(facts.end);
        if bad != Tone::Well {
            // The mark under the bar, and a broader end: where it was cut or failed.
            let under = Rect::from_min_max(pos2(bar.left(), bar.bottom() + 1.5), pos2(bar.right(), bar.bottom() + 3.5));
            painter.rect_filled(under, 1, t.tone(bad));
            if bar.width() > 6.0 {
                let stop =
                    Rect::from_min_max(pos2(bar.right() - 2.5, bar.top() - 2.0), pos2(bar.right(), bar.bottom() + 3.5));
                painter.rect_filled(stop, 0, t.tone(bad));
            }
        }
        for segment in self.path.get(&span).into_iter().flatten() {
            let (from, to) = (self.scale.x(segment.from), self.scale.x(segment.to));
            let part = Rect::from_min_max(pos2(from, bar.top() - 3.5), pos2(to.max(from + 1.0), bar.top() - 1.0));
            if segment.queued {
                painter.extend(Shape::dashed_line(
                    &[pos2(from, y), pos2(to, y)],
                    Stroke::new(1.5, t.text_soft),
                    4.0,
                    3.0,
                ));
            } else {
                painter.rect_filled(part, 1, t.text);
            }
        }
        self.ticks(painter, span, bar, t);
        let galley = painter.layout_no_wrap(words.clone(), text::medium(11.0), ON_BAR);
        let inside =
            Rect::from_min_max(bar.left_top().max(plot.left_top()), bar.right_bottom().min(plot.right_bottom()));
        let free = if wasted < end { self.scale.x(wasted.max(begin)).min(inside.right()) } else { inside.right() };
        if galley.size().x + 14.0 <= free - inside.left() {
            painter.galley(pos2(inside.left() + 7.0, y - galley.size().y / 2.0), galley, ON_BAR);
        } else {
            beside(painter, bar, plot, &words, if bad == Tone::Well { t.text_soft } else { t.tone(bad) });
        }
    }

    /// A small arrow where the bar lies outside of the stretch shown.
    fn elsewhere(&self, painter: &Painter, left: bool, plot: Rect, t: &Tokens) {
        let (x, words, anchor) = if left {
            (plot.left() + 4.0, "‹", Align2::LEFT_CENTER)
        } else {
            (plot.right() - 4.0, "›", Align2::RIGHT_CENTER)
        };
        painter.text(pos2(x, plot.center().y), anchor, words, text::body_font(), t.label);
    }

    /// The part of a bar after which nobody waited: darker, and striped.
    fn waste(&self, painter: &Painter, bar: Rect, from: f32, color: Color32, t: &Tokens) {
        let part = bar.with_min_x(from.clamp(bar.left(), bar.right()));
        painter.rect_filled(part, CornerRadius { nw: 0, sw: 0, ne: 3, se: 3 }, mix(t.window, color, 0.4));
        let stripes = painter.with_clip_rect(part.intersect(painter.clip_rect()));
        let stroke = Stroke::new(1.0, mix(t.window, color, 0.75));
        let count = (part.width() / 7.0).min(400.0) as usize;
        for i in 0..=count + 1 {
            let x = part.left() + i as f32 * 7.0;
            stripes.line_segment([pos2(x - BAR, part.bottom()), pos2(x, part.top())], stroke);
        }
    }

    /// Events as ticks, logs as dots in the tone of their severity.
    fn ticks(&self, painter: &Painter, span: u32, bar: Rect, t: &Tokens) {
        let Some(s) = self.built.span(span) else { return };
        let shift = self.built.skew.shift.get(span as usize).copied().unwrap_or(0) - self.built.zero;
        for event in s.events.iter().take(64) {
            let x = self.scale.x(event.time.0.saturating_add(shift));
            painter.vline(x, bar.top() + 1.0..=bar.bottom() - 1.0, Stroke::new(1.5, ON_BAR.gamma_multiply(0.75)));
        }
        for log in self.built.logs.get(&span).into_iter().flatten().take(64) {
            let Some(record) = self.built.trace.logs.get(*log as usize) else { continue };
            let x = self.scale.x(record.time.0.saturating_add(shift));
            let color = match record.severity {
                17.. => t.failed,
                13.. => t.at_risk,
                _ => t.text_soft,
            };
            let at = pos2(x, bar.bottom() + 2.5);
            let diamond = vec![at - vec2(0.0, 3.5), at + vec2(3.5, 0.0), at + vec2(0.0, 3.5), at - vec2(3.5, 0.0)];
            painter.add(Shape::convex_polygon(diamond, color, Stroke::new(1.0, t.window)));
        }
    }

    fn backoff(&self, painter: &Painter, from: i64, to: i64, plot: Rect, t: &Tokens) {
        let y = plot.center().y;
        let (x0, x1) = (self.scale.x(from), self.scale.x(to));
        let bar = Rect::from_min_max(pos2(x0, y - 5.0), pos2(x1.max(x0 + 2.0), y + 5.0));
        painter.rect_filled(bar, 2, t.line_strong);
        beside(painter, bar, plot, &format!("{} wait", format::nanos((to - from).unsigned_abs())), t.text_soft);
    }

    /// What the deadline left when the span began.
    fn left_over(&self, ui: &Ui, span: u32, rect: Rect, t: &Tokens) {
        let Some(ms) = self.built.facts[span as usize].left_ms.filter(|_| self.left.1 > self.left.0) else { return };
        let (begin, end) = self.built.times[span as usize];
        let took = (end - begin) as f32 / 1e6;
        let color = if ms <= 0.0 {
            t.failed
        } else if took >= ms * 0.95 {
            t.at_risk
        } else {
            t.label
        };
        let words = if ms <= 0.0 { "none left".to_owned() } else { format!("left {}", format::whole(f64::from(ms))) };
        ui.painter().text(
            pos2(self.left.1, rect.center().y),
            Align2::RIGHT_CENTER,
            words,
            text::mono_font(10.5),
            color,
        );
    }
}

/// Words to the right of a bar, or to its left where there is no room.
fn beside(painter: &Painter, bar: Rect, plot: Rect, words: &str, color: Color32) {
    let galley = painter.layout_no_wrap(words.to_owned(), FontId::proportional(11.0), color);
    let size = galley.size();
    let y = bar.center().y - size.y / 2.0;
    let right = bar.right().min(plot.right()) + 7.0;
    let left = bar.left().max(plot.left()) - 7.0 - size.x;
    if right + size.x <= plot.right() || left < plot.left() {
        painter.galley(pos2(right.min(plot.right() - size.x).max(plot.left() + 4.0), y), galley, color);
    } else {
        painter.galley(pos2(left, y), galley, color);
    }
}
