//! Where the words on the links stand: near their own link, never over a card, a switch or another label, and over other
//! links only when there is no other place. Worse links choose first.

use std::collections::HashMap;

use egui::{Pos2, Rect, Vec2, vec2};

use super::wires::Wire;

/// Edge of a cell of the grid, in points.
const CELL: f32 = 72.0;
/// Beyond this many links other links no longer count as obstacles, and only so many get labels.
const DENSE: usize = 500;

/// What wants a label.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Wish {
    /// Index of the wire.
    pub(crate) wire: usize,
    /// Size of each shape.
    pub(crate) sizes: [Vec2; 3],
    /// Larger chooses first.
    pub(crate) weight: f32,
    /// Where it stood before, and in which shape: it stays there while it can.
    pub(crate) before: Option<(Pos2, Shape)>,
}

/// A place for a label.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Label {
    /// Where.
    pub(crate) rect: Rect,
    /// How much is written, and how.
    pub(crate) shape: Shape,
}

/// How the words of a label are arranged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Shape {
    /// Rate and errors over p95 and limit.
    #[default]
    Full,
    /// Rate, errors and p95 one under the other, without the limit: for narrow gaps.
    Narrow,
    /// Rate and errors.
    Short,
}

impl Shape {
    /// From what says most to what says least.
    pub(crate) const ALL: [Self; 3] = [Self::Full, Self::Narrow, Self::Short];
}

/// Gives every wish a place `within` the board, or none; in the order of the wires. No label stands over what is `solid`.
pub(crate) fn place(wishes: &[Wish], wires: &[Wire], solid: &[Rect], within: Rect) -> Vec<Option<Label>> {
    let mut grid = Grid::default();
    for rect in solid {
        grid.block(rect.expand(2.0));
    }
    if wires.len() <= DENSE {
        for (i, wire) in wires.iter().enumerate() {
            for pair in wire.points.windows(2) {
                grid.run(i, pair[0], pair[1]);
            }
        }
    }
    let mut order: Vec<&Wish> = wishes.iter().filter(|w| w.wire < wires.len()).collect();
    order.sort_by(|a, b| b.weight.total_cmp(&a.weight).then(a.wire.cmp(&b.wire)));
    order.truncate(DENSE);
    let mut labels = vec![None; wires.len()];
    for wish in &order {
        if let Some(label) = wish.stay(&grid, within) {
            grid.block(label.rect.expand2(vec2(3.0, 1.0)));
            labels[wish.wire] = Some(label);
        }
    }
    for wish in order {
        if labels[wish.wire].is_some() {
            continue;
        }
        let seek = |size| best(wish.wire, &wires[wish.wire], size, &grid, within);
        if let Some(label) = wish.settle(&seek) {
            grid.block(label.rect.expand2(vec2(3.0, 1.0)));
            labels[wish.wire] = Some(label);
        }
    }
    labels
}

impl Wish {
    /// The place from before, when nothing stands there now and little is hidden.
    fn stay(&self, grid: &Grid, within: Rect) -> Option<Label> {
        let (center, shape) = self.before?;
        let size = self.sizes[shape as usize];
        let rect = Rect::from_center_size(center, size);
        let cost = grid.cost(self.wire, rect)?;
        (within.contains_rect(rect) && cost < 20.0).then_some(Label { rect, shape })
    }

    /// The shape that says most in the clear. Crossing another link costs 10: rather fewer words in the clear than many
    /// across.
    fn settle(&self, seek: &dyn Fn(Vec2) -> Option<(Rect, f32)>) -> Option<Label> {
        let mut chosen: Option<(Label, f32)> = None;
        for (shape, size) in Shape::ALL.into_iter().zip(self.sizes) {
            if let Some((rect, cost)) = seek(size)
                && chosen.is_none_or(|(_, least)| cost + 6.0 < least)
            {
                chosen = Some((Label { rect, shape }, cost));
            }
            if chosen.is_some_and(|(_, cost)| cost < 10.0) {
                break;
            }
        }
        chosen.map(|(label, _)| label)
    }
}

/// The cheapest free place along a wire.
fn best(me: usize, wire: &Wire, size: Vec2, grid: &Grid, within: Rect) -> Option<(Rect, f32)> {
    let mut best: Option<(Rect, f32)> = None;
    // A label on the line hides it: where that would hide most of a short line, beside is better.
    let free = wire.points.get(wire.free_from..).map(Rect::from_points).unwrap_or(Rect::NOTHING);
    let on_line = if free.height() < size.y && size.x > free.width() * 0.62 { 4.0 } else { 0.0 };
    for (anchor, share) in anchors(wire) {
        let above = size.y / 2.0 + 5.0;
        let aside = size.x / 2.0 + 8.0;
        let offsets = [
            (Vec2::ZERO, on_line),
            (vec2(0.0, -above), 1.5),
            (vec2(0.0, above), 2.0),
            (vec2(aside, 0.0), 3.0),
            (vec2(-aside, 0.0), 3.5),
            (vec2(aside, -above), 5.0),
            (vec2(aside, above), 5.0),
            (vec2(-aside, -above), 5.5),
            (vec2(-aside, above), 5.5),
        ];
        for (offset, cost) in offsets {
            let cost = cost + (share - 0.5).abs() * 6.0;
            if best.is_some_and(|(_, b)| b <= cost) {
                continue;
            }
            let rect = Rect::from_center_size(anchor + offset, size);
            let rect = Rect::from_min_size(rect.min.round(), size);
            if within.contains_rect(rect)
                && let Some(crossed) = grid.cost(me, rect)
            {
                let cost = cost + crossed;
                if best.is_none_or(|(_, b)| cost < b) {
                    best = Some((rect, cost));
                }
            }
        }
    }
    best
}

/// Points along the free part of a wire, with the share of its length that lies before them.
fn anchors(wire: &Wire) -> Vec<(Pos2, f32)> {
    let free = wire.points.get(wire.free_from..).unwrap_or_default();
    let total: f32 = free.windows(2).map(|p| p[0].distance(p[1])).sum();
    let mut anchors = Vec::with_capacity(16);
    // An even number, so that the middle is among them.
    let steps = ((total / 32.0).round() * 2.0).clamp(6.0, 24.0);
    let (mut run, mut next) = (0.0, 1.0);
    for pair in free.windows(2) {
        let length = pair[0].distance(pair[1]);
        while length > 0.0 && next < steps && run + length >= total * next / steps {
            let t = (total * next / steps - run) / length;
            anchors.push((pair[0].lerp(pair[1], t), next / steps));
            next += 1.0;
        }
        run += length;
    }
    anchors
}

/// A piece of a link: which, from where, to where.
type Piece = (usize, Pos2, Pos2);

/// What is where, by cell.
#[derive(Default)]
struct Grid {
    blocks: HashMap<(i32, i32), Vec<Rect>>,
    runs: HashMap<(i32, i32), Vec<Piece>>,
}

fn cells(rect: Rect) -> impl Iterator<Item = (i32, i32)> {
    let cell = |v: f32| (v / CELL).floor() as i32;
    let (x, y) = (cell(rect.left())..=cell(rect.right()), cell(rect.top())..=cell(rect.bottom()));
    x.flat_map(move |x| y.clone().map(move |y| (x, y)))
}

impl Grid {
    fn block(&mut self, rect: Rect) {
        for cell in cells(rect) {
            self.blocks.entry(cell).or_default().push(rect);
        }
    }

    fn run(&mut self, wire: usize, a: Pos2, b: Pos2) {
        for cell in cells(Rect::from_two_pos(a, b)) {
            self.runs.entry(cell).or_default().push((wire, a, b));
        }
    }

    /// What a label there would cost: `None` over something solid, else 10 for each other link it hides.
    fn cost(&self, me: usize, rect: Rect) -> Option<f32> {
        let mut hidden: Vec<usize> = Vec::new();
        let around = rect.expand(2.0);
        for cell in cells(around) {
            if self.blocks.get(&cell).is_some_and(|b| b.iter().any(|b| b.intersects(rect))) {
                return None;
            }
            for (wire, a, b) in self.runs.get(&cell).into_iter().flatten() {
                if *wire != me && !hidden.contains(wire) && crosses(around, *a, *b) {
                    hidden.push(*wire);
                }
            }
        }
        Some(hidden.len() as f32 * 10.0)
    }
}

/// Whether a line from `a` to `b` touches `rect` (Liang and Barsky 1984).
fn crosses(rect: Rect, a: Pos2, b: Pos2) -> bool {
    let d = b - a;
    let (mut from, mut to) = (0.0_f32, 1.0_f32);
    for (p, q) in
        [(-d.x, a.x - rect.left()), (d.x, rect.right() - a.x), (-d.y, a.y - rect.top()), (d.y, rect.bottom() - a.y)]
    {
        if p == 0.0 {
            if q < 0.0 {
                return false;
            }
        } else if p < 0.0 {
            from = from.max(q / p);
        } else {
            to = to.min(q / p);
        }
    }
    from <= to
}

#[cfg(test)]
mod tests {
    use egui::pos2;

    use super::*;

    fn line(from: (f32, f32), to: (f32, f32)) -> Wire {
        let (a, b) = (pos2(from.0, from.1), pos2(to.0, to.1));
        Wire { points: (0..=10).map(|i| a.lerp(b, i as f32 / 10.0)).collect(), ..Wire::default() }
    }

    fn wish(wire: usize, weight: f32) -> Wish {
        Wish { wire, sizes: [vec2(90.0, 26.0), vec2(44.0, 40.0), vec2(60.0, 13.0)], weight, before: None }
    }

    #[test]
    fn alone_a_label_stands_in_the_middle() {
        let labels = place(&[wish(0, 1.0)], &[line((0.0, 0.0), (200.0, 0.0))], &[], Rect::EVERYTHING);
        assert_eq!(labels[0].unwrap().rect.center(), pos2(100.0, 0.0));
    }

    #[test]
    fn labels_overlap_nothing() {
        let cards: Vec<Rect> = (0..6)
            .flat_map(|r| [0.0, 260.0].map(|x| Rect::from_min_size(pos2(x, r as f32 * 84.0), vec2(132.0, 54.0))))
            .collect();
        let wires: Vec<Wire> = (0..6)
            .flat_map(|a| {
                (0..3).map(move |b| {
                    line((132.0, a as f32 * 84.0 + 27.0), (260.0, ((a * b + 1) % 6) as f32 * 84.0 + 27.0))
                })
            })
            .collect();
        let wishes: Vec<Wish> = (0..wires.len()).map(|i| wish(i, i as f32)).collect();
        let labels = place(&wishes, &wires, &cards, Rect::EVERYTHING);
        let placed: Vec<Rect> = labels.iter().flatten().map(|l| l.rect).collect();
        assert!(placed.len() >= 6, "only {} of {} found a place", placed.len(), wires.len());
        for (i, a) in placed.iter().enumerate() {
            assert!(cards.iter().all(|c| !c.intersects(*a)), "{a:?} over a card");
            assert!(placed[i + 1..].iter().all(|b| !b.intersects(*a)), "{a:?} over another label");
        }
    }

    #[test]
    fn a_label_avoids_another_link_where_it_can() {
        let wires = [line((0.0, 0.0), (200.0, 0.0)), line((100.0, -80.0), (100.0, 80.0))];
        let labels = place(&[wish(0, 1.0)], &wires, &[], Rect::EVERYTHING);
        let rect = labels[0].unwrap().rect;
        assert!(!rect.expand(1.0).x_range().contains(100.0), "{rect:?} hides the other link");
    }

    #[test]
    fn where_there_is_no_room_for_two_lines_there_is_one() {
        let cards = [
            Rect::from_min_max(pos2(-50.0, -60.0), pos2(250.0, -9.0)),
            Rect::from_min_max(pos2(-50.0, 9.0), pos2(250.0, 60.0)),
        ];
        let wire = line((0.0, 0.0), (200.0, 0.0));
        let label = place(
            &[wish(0, 1.0)],
            std::slice::from_ref(&wire),
            &cards.map(|c| c.shrink2(vec2(0.0, 4.0))),
            Rect::EVERYTHING,
        )[0]
        .unwrap();
        assert_eq!(label.shape, Shape::Short);
        assert_eq!(
            place(&[wish(0, 1.0)], &[wire], &cards.map(|c| c.expand2(vec2(0.0, 8.0))), Rect::EVERYTHING)[0],
            None,
            "or none"
        );
    }

    #[test]
    fn a_line_crosses_a_box_or_not() {
        let rect = Rect::from_min_max(pos2(0.0, 0.0), pos2(10.0, 10.0));
        assert!(crosses(rect, pos2(-5.0, 5.0), pos2(15.0, 5.0)));
        assert!(crosses(rect, pos2(-5.0, -5.0), pos2(15.0, 15.0)));
        assert!(!crosses(rect, pos2(-5.0, 5.0), pos2(5.0, -7.0)));
        assert!(!crosses(rect, pos2(11.0, 0.0), pos2(11.0, 10.0)));
    }
}
