//! The house's icons: strokes on a 20-unit square, drawn by the painter, so that they are sharp at every size.

use egui::{Color32, CornerRadius, Painter, Pos2, Rect, Shape, Stroke, StrokeKind, vec2};

/// A picture for a view or a button.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Icon {
    /// Services and calls.
    Graph,
    /// Bars of a waterfall.
    Bars,
    /// A switch.
    Switch,
    /// Sliders.
    Sliders,
    /// A rising line.
    Trend,
    /// A ring with a dot.
    Record,
    /// Lines of text.
    Lines,
    /// A gauge.
    Gauge,
    /// Four tiles.
    Tiles,
    /// A sheet with a tick.
    Sheet,
    /// Two bars.
    Pause,
    /// A triangle.
    Play,
    /// To the next mark.
    Next,
    /// To the last mark.
    Last,
    /// A cross.
    Close,
    /// An arrow down.
    Down,
    /// An arrow to the right.
    Right,
    /// A sun and moon.
    Theme,
    /// A loop.
    Loop,
    /// A magnifier.
    Search,
}

/// Paints an icon into `rect` (square; drawn on a grid of 20).
pub(crate) fn paint(painter: &Painter, rect: Rect, icon: Icon, color: Color32) {
    let unit = rect.width().min(rect.height()) / 20.0;
    let at = |x: f32, y: f32| rect.min + vec2(x, y) * unit;
    let stroke = Stroke::new((1.5 * unit).max(1.0), color);
    let line = |points: &[(f32, f32)]| {
        painter.add(Shape::line(points.iter().map(|(x, y)| at(*x, *y)).collect(), stroke));
    };
    let dot = |x: f32, y: f32, r: f32| {
        painter.circle_filled(at(x, y), r * unit, color);
    };
    let ring = |x: f32, y: f32, r: f32| {
        painter.circle_stroke(at(x, y), r * unit, stroke);
    };
    let frame = |x: f32, y: f32, w: f32, h: f32, radius: f32| {
        let rect = Rect::from_min_size(at(x, y), vec2(w, h) * unit);
        let radius = CornerRadius::same((radius * unit).round() as u8);
        painter.rect_stroke(rect, radius, stroke, StrokeKind::Middle);
    };
    let bar = |x: f32, y: f32, w: f32, h: f32| {
        painter.rect_filled(Rect::from_min_size(at(x, y), vec2(w, h) * unit), CornerRadius::same(1), color);
    };
    let solid = |points: [Pos2; 3]| {
        painter.add(Shape::convex_polygon(points.to_vec(), color, Stroke::NONE));
    };
    match icon {
        Icon::Graph => {
            line(&[(4.0, 10.0), (15.0, 4.5)]);
            line(&[(4.0, 10.0), (15.0, 15.5)]);
            dot(4.0, 10.0, 2.6);
            dot(15.5, 4.5, 2.4);
            dot(15.5, 15.5, 2.4);
        }
        Icon::Bars => {
            bar(2.0, 4.0, 11.0, 3.0);
            bar(5.0, 8.7, 8.0, 3.0);
            bar(9.0, 13.4, 9.0, 3.0);
        }
        Icon::Switch => {
            line(&[(1.0, 11.0), (6.0, 11.0), (13.5, 6.5)]);
            line(&[(14.0, 11.0), (19.0, 11.0)]);
            dot(6.0, 11.0, 2.0);
            dot(14.0, 11.0, 2.0);
        }
        Icon::Sliders => {
            for (y, x) in [(5.0, 13.0), (10.0, 6.5), (15.0, 12.0)] {
                line(&[(2.0, y), (x - 2.0, y)]);
                line(&[(x + 2.0, y), (18.0, y)]);
                ring(x, y, 2.0);
            }
        }
        Icon::Trend => {
            line(&[(2.0, 15.0), (7.0, 9.0), (11.0, 12.0), (17.5, 4.5)]);
            dot(17.5, 4.5, 1.6);
        }
        Icon::Record => {
            ring(10.0, 10.0, 7.0);
            dot(10.0, 10.0, 3.0);
        }
        Icon::Lines => {
            line(&[(3.0, 5.0), (17.0, 5.0)]);
            line(&[(3.0, 10.0), (12.0, 10.0)]);
            line(&[(3.0, 15.0), (16.0, 15.0)]);
        }
        Icon::Gauge => {
            line(&[(3.0, 3.0), (3.0, 17.0), (17.5, 17.0)]);
            line(&[(6.5, 12.0), (9.5, 8.5), (12.5, 11.0), (16.5, 5.0)]);
        }
        Icon::Tiles => {
            for (x, y) in [(3.0, 3.0), (11.5, 3.0), (3.0, 11.5), (11.5, 11.5)] {
                frame(x, y, 5.5, 5.5, 1.5);
            }
        }
        Icon::Sheet => {
            line(&[(12.0, 2.5), (4.0, 2.5), (4.0, 17.5), (16.0, 17.5), (16.0, 6.5), (12.0, 2.5)]);
            line(&[(7.0, 11.0), (9.3, 13.3), (13.0, 8.8)]);
        }
        Icon::Pause => {
            bar(5.0, 3.0, 3.4, 14.0);
            bar(11.6, 3.0, 3.4, 14.0);
        }
        Icon::Play => solid([at(5.5, 3.0), at(16.5, 10.0), at(5.5, 17.0)]),
        Icon::Next => {
            solid([at(4.0, 4.0), at(13.0, 10.0), at(4.0, 16.0)]);
            bar(14.0, 4.0, 2.4, 12.0);
        }
        Icon::Last => {
            solid([at(16.0, 4.0), at(7.0, 10.0), at(16.0, 16.0)]);
            bar(3.6, 4.0, 2.4, 12.0);
        }
        Icon::Close => {
            line(&[(5.0, 5.0), (15.0, 15.0)]);
            line(&[(15.0, 5.0), (5.0, 15.0)]);
        }
        Icon::Down => line(&[(5.0, 7.5), (10.0, 12.5), (15.0, 7.5)]),
        Icon::Right => line(&[(7.5, 5.0), (12.5, 10.0), (7.5, 15.0)]),
        Icon::Theme => {
            ring(10.0, 10.0, 6.5);
            let half: Vec<Pos2> = (0..=12)
                .map(|i| {
                    let a = std::f32::consts::PI * (0.5 + i as f32 / 12.0);
                    at(10.0 + 6.5 * a.cos(), 10.0 + 6.5 * a.sin())
                })
                .collect();
            painter.add(Shape::convex_polygon(half, color, Stroke::NONE));
        }
        Icon::Loop => {
            frame(3.0, 5.5, 14.0, 9.0, 4.5);
            solid([at(9.0, 2.5), at(13.0, 5.5), at(9.0, 8.5)]);
        }
        Icon::Search => {
            ring(8.5, 8.5, 5.0);
            line(&[(12.3, 12.3), (17.0, 17.0)]);
        }
    }
}
