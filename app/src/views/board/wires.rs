//! From places to points: columns get their left edges, boxes their rectangles, links their curves.

use std::collections::HashMap;

use egui::{Pos2, Rect, Vec2, pos2, vec2};

use super::layout::{Graph, Layout, Place};
use super::merge::{Merged, SWITCH};

/// Width of a card, in points.
pub(crate) const CARD_WIDTH: f32 = 128.0;
/// Size of a switch.
pub(crate) const SWITCH_SIZE: Vec2 = Vec2::new(28.0, 22.0);
/// Space between a card and its switch.
const SWITCH_GAP: f32 = 3.0;
/// Narrowest gap between two columns.
const MIN_GAP: f32 = 60.0;
/// Widest gap, however much room there is.
const MAX_GAP: f32 = 230.0;
/// Pieces that a curve is cut into.
const PIECES: usize = 18;

/// How the layout is stretched over the room there is.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Spread {
    /// Left edge of each column.
    pub(crate) left: Vec<f32>,
    /// Factor for distances down.
    pub(crate) down: f32,
}

impl Spread {
    /// The spread for a room of `size`, and the zoom at which everything is seen. `wish` is the gap that each column would like
    /// after it.
    pub(crate) fn fit(layout: &Layout, wish: &[f32], size: Vec2) -> (Self, f32) {
        let columns = layout.columns.max(1) as usize;
        let cards = columns as f32 * CARD_WIDTH;
        let wish: Vec<f32> = (0..columns - 1).map(|i| wish.get(i).copied().unwrap_or(MIN_GAP).max(MIN_GAP)).collect();
        let most: f32 = cards + wish.iter().sum::<f32>();
        let low = |w: f32| (w * 0.74).max(MIN_GAP);
        let least = cards + wish.iter().map(|w| low(*w)).sum::<f32>();
        let height = layout.height.max(1.0);
        // A small graph in a large room grows, but only so far that its words stay words.
        let roomy = (size.y / height).min(size.x / (most * 1.15));
        let tight = (size.y / height).min(size.x / least);
        let zoom = if roomy > 1.0 { roomy.min(1.5) } else { tight.clamp(0.02, 1.0) };
        let room = size.x / zoom;
        let gaps: Vec<f32> = if room >= most {
            let spare = (room - most) / wish.len().max(1) as f32;
            wish.iter().map(|w| (w + spare).min(MAX_GAP.max(*w))).collect()
        } else {
            let share = ((room - least) / (most - least).max(1.0)).clamp(0.0, 1.0);
            wish.iter().map(|w| low(*w) + (w - low(*w)) * share).collect()
        };
        let mut left = Vec::with_capacity(columns);
        let mut x = 0.0_f32;
        for i in 0..columns {
            left.push(x.round());
            x += CARD_WIDTH + gaps.get(i).copied().unwrap_or(0.0);
        }
        let down = (size.y / zoom / height * 0.94).clamp(1.0, 2.0);
        (Self { left, down }, zoom)
    }

    fn at(&self, place: Place) -> Pos2 {
        let column = place.column as usize;
        let last = self.left.last().copied().unwrap_or(0.0);
        let beyond = (column + 1).saturating_sub(self.left.len()) as f32;
        let x = self.left.get(column).copied().unwrap_or(last + beyond * (CARD_WIDTH + MIN_GAP));
        pos2(x, (place.y * self.down).round())
    }
}

/// A link with its course.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wire {
    /// From the caller's side to the callee's.
    pub(crate) points: Vec<Pos2>,
    /// The switch at the caller's end.
    pub(crate) switch: Option<Rect>,
    /// The index in `points` after which labels may stand: the switch is behind.
    pub(crate) free_from: usize,
    /// Around all points.
    pub(crate) bounds: Rect,
}

impl Default for Wire {
    fn default() -> Self {
        Self { points: Vec::new(), switch: None, free_from: 0, bounds: Rect::NOTHING }
    }
}

/// Rectangles and curves, at zoom 1.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Course {
    /// One for each box.
    pub(crate) cards: Vec<Rect>,
    /// One for each link.
    pub(crate) wires: Vec<Wire>,
    /// Around all cards.
    pub(crate) bounds: Option<Rect>,
}

/// One end of a link on one side of a card.
struct Port {
    link: u32,
    /// Height of what it runs to.
    towards: f32,
    leaving: bool,
}

/// Draws the course of everything.
pub(crate) fn course(merged: &Merged, graph: &Graph, layout: &Layout, spread: &Spread) -> Course {
    let cards: Vec<Rect> = merged
        .boxes
        .iter()
        .zip(&layout.places)
        .map(|(b, place)| {
            let middle = spread.at(*place);
            Rect::from_min_size(middle - vec2(0.0, b.height / 2.0), vec2(CARD_WIDTH, b.height))
        })
        .collect();
    let routes: HashMap<(u32, u32), usize> = graph.edges.iter().zip(0..).map(|(e, i)| (*e, i)).collect();
    let ports = ports(merged, layout, spread, &cards, &routes);
    let wires = (0..merged.links.len()).map(|i| {
        let link = &merged.links[i];
        if link.from == link.to {
            return around(cards[link.from as usize]);
        }
        let route = routes.get(&(link.from, link.to)).and_then(|r| layout.routes.get(*r));
        let backward = route.is_some_and(|r| r.backward);
        let through = route.map_or(&[][..], |r| &r.through);
        let lanes: Vec<Pos2> = through.iter().map(|p| spread.at(*p)).collect();
        wire(ports[i], &lanes, backward, link.switch.is_some())
    });
    let wires = wires.collect();
    let bounds = cards.iter().copied().reduce(Rect::union);
    Course { cards, wires, bounds }
}

/// Where each link leaves and arrives, and how high its switch may be.
#[derive(Debug, Clone, Copy)]
struct Ends {
    from: Pos2,
    to: Pos2,
    switch_height: f32,
}

fn ports(
    merged: &Merged,
    layout: &Layout,
    spread: &Spread,
    cards: &[Rect],
    routes: &HashMap<(u32, u32), usize>,
) -> Vec<Ends> {
    // Sides: left and right of each card.
    let mut sides: Vec<[Vec<Port>; 2]> = (0..cards.len()).map(|_| [Vec::new(), Vec::new()]).collect();
    for (i, link) in merged.links.iter().enumerate().filter(|(_, l)| l.from != l.to) {
        let route = routes.get(&(link.from, link.to)).and_then(|r| layout.routes.get(*r));
        let backward = route.is_some_and(|r| r.backward);
        let lane = |p: Option<&Place>, other: u32| p.map_or(cards[other as usize].center().y, |p| spread.at(*p).y);
        let first = lane(route.and_then(|r| r.through.first()), link.to);
        let last = lane(route.and_then(|r| r.through.last()), link.from);
        let right = usize::from(!backward);
        sides[link.from as usize][right].push(Port { link: i as u32, towards: first, leaving: true });
        sides[link.to as usize][1 - right].push(Port { link: i as u32, towards: last, leaving: false });
    }
    let start = Ends { from: Pos2::ZERO, to: Pos2::ZERO, switch_height: SWITCH_SIZE.y };
    let mut ends = vec![start; merged.links.len()];
    for (card, sides) in cards.iter().zip(&mut sides) {
        for (right, side) in sides.iter_mut().enumerate() {
            side.sort_by(|a, b| a.towards.total_cmp(&b.towards).then(a.link.cmp(&b.link)));
            let x = if right == 1 { card.right() } else { card.left() };
            seat(side, merged, *card, x, &mut ends);
        }
    }
    ends
}

/// Gives the ports of one side their heights: switches take what they need, bare ends stand closer.
fn seat(side: &[Port], merged: &Merged, card: Rect, x: f32, ends: &mut [Ends]) {
    let has_switch = |p: &Port| p.leaving && merged.links[p.link as usize].switch.is_some();
    let switches = side.iter().filter(|p| has_switch(p)).count() as f32;
    let bare = side.len() as f32 - switches;
    let room = card.height().max(12.0 * SWITCH);
    let switch = if switches * SWITCH + bare * 6.0 > room {
        (room - bare * 3.0).max(switches * 4.0) / switches.max(1.0)
    } else {
        SWITCH
    };
    let bare_height = ((card.height() - 12.0 - switches * switch) / bare.max(1.0)).clamp(3.0, 14.0);
    let height = |p: &Port| if has_switch(p) { switch } else { bare_height };
    let total: f32 = side.iter().map(height).sum();
    let mut y = card.center().y - total / 2.0;
    for port in side {
        let at = pos2(x, (y + height(port) / 2.0).round());
        let end = &mut ends[port.link as usize];
        if port.leaving {
            end.from = at;
            end.switch_height = (switch - 4.0).min(SWITCH_SIZE.y);
        } else {
            end.to = at;
        }
        y += height(port);
    }
}

/// A curve from end to end through its lanes.
fn wire(ends: Ends, lanes: &[Pos2], backward: bool, switched: bool) -> Wire {
    let way = if backward { -1.0 } else { 1.0 };
    let mut points = vec![ends.from];
    let mut wire = Wire::default();
    let mut at = ends.from;
    if switched {
        // Small ones keep their shape.
        let size = SWITCH_SIZE * (ends.switch_height / SWITCH_SIZE.y).min(1.0);
        let middle = ends.from + vec2(way * (SWITCH_GAP + SWITCH_SIZE.x / 2.0), 0.0);
        wire.switch = Some(Rect::from_center_size(middle, size));
        at = ends.from + vec2(way * (SWITCH_GAP + SWITCH_SIZE.x), 0.0);
        points.push(at);
    }
    wire.free_from = points.len() - 1;
    for lane in lanes {
        let (near, far) = if backward { (lane.x + CARD_WIDTH, lane.x) } else { (lane.x, lane.x + CARD_WIDTH) };
        curve(&mut points, at, pos2(near, lane.y));
        at = pos2(far, lane.y);
        points.push(at);
    }
    curve(&mut points, at, ends.to);
    Wire { bounds: Rect::from_points(&points), points, ..wire }
}

fn curve(points: &mut Vec<Pos2>, from: Pos2, to: Pos2) {
    if (from.y - to.y).abs() < 0.5 {
        // Cut it all the same, so that labels find places along it.
        points.extend((1..=6).map(|i| from.lerp(to, i as f32 / 6.0)));
        return;
    }
    let bend = vec2((to.x - from.x) * 0.5, 0.0);
    let (a, b) = (from + bend, to - bend);
    points.extend((1..=PIECES).map(|i| {
        let t = i as f32 / PIECES as f32;
        let s = 1.0 - t;
        let v = from.to_vec2() * (s * s * s)
            + a.to_vec2() * (3.0 * s * s * t)
            + b.to_vec2() * (3.0 * s * t * t)
            + to.to_vec2() * (t * t * t);
        v.to_pos2()
    }));
}

/// A service that calls itself: a loop over its card's corner.
fn around(card: Rect) -> Wire {
    let (from, to) = (pos2(card.right() - 44.0, card.top()), pos2(card.right() - 18.0, card.top()));
    let points: Vec<Pos2> = (0..=PIECES)
        .map(|i| {
            let angle = std::f32::consts::PI * (1.0 + i as f32 / PIECES as f32);
            let middle = from.lerp(to, 0.5);
            middle + vec2(13.0 * angle.cos(), 15.0 * angle.sin())
        })
        .collect();
    Wire { bounds: Rect::from_points(&points), points, ..Wire::default() }
}

#[cfg(test)]
mod tests {
    use fuseboard_api::graph::{Board, Edge, EdgeBreaker, EdgeKey};

    use super::super::merge::{Grouping, merge};
    use super::*;

    fn courses(edges: &[(&str, &str)], size: Vec2) -> (Merged, Course, f32) {
        let edge = |(a, b): &(&str, &str)| Edge {
            key: EdgeKey::new(*a, *b, "op"),
            breaker: Some(EdgeBreaker::default()),
            ..Edge::default()
        };
        let board = Board { edges: edges.iter().map(edge).collect(), ..Board::default() };
        let merged = merge(&board, Grouping::Services, &|_| true);
        let graph = merged.graph();
        let layout = Layout::full(&graph, &|_| None);
        let (spread, zoom) = Spread::fit(&layout, &[130.0; 8], size);
        let course = course(&merged, &graph, &layout, &spread);
        (merged, course, zoom)
    }

    #[test]
    fn wires_begin_and_end_at_their_cards() {
        let (merged, course, _) =
            courses(&[("a", "b"), ("a", "c"), ("b", "c"), ("c", "a"), ("b", "b")], vec2(900.0, 600.0));
        for (link, wire) in merged.links.iter().zip(&course.wires) {
            let near = |card: Rect, p: Pos2| {
                card.expand(80.0).contains(p) && (card.left() - p.x).abs().min((card.right() - p.x).abs()) < 60.0
            };
            assert!(near(course.cards[link.from as usize], wire.points[0]), "{link:?} {wire:?}");
            assert!(near(course.cards[link.to as usize], *wire.points.last().unwrap()), "{link:?} {wire:?}");
        }
    }

    #[test]
    fn switches_of_one_card_do_not_overlap() {
        let (_, course, _) = courses(&[("a", "b"), ("a", "c"), ("a", "d"), ("a", "e"), ("a", "f")], vec2(900.0, 600.0));
        let switches: Vec<Rect> = course.wires.iter().filter_map(|w| w.switch).collect();
        for (i, a) in switches.iter().enumerate() {
            for b in &switches[i + 1..] {
                assert!(!a.intersects(*b), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn a_hub_with_hundreds_of_links_has_a_place_for_each() {
        let names: Vec<String> = (0..300).map(|i| format!("n{i:03}")).collect();
        let edges: Vec<(&str, &str)> = names.iter().flat_map(|n| [(n.as_str(), "hub"), ("hub", n.as_str())]).collect();
        let (_, course, _) = courses(&edges, vec2(900.0, 600.0));
        assert!(course.wires.iter().flat_map(|w| &w.points).all(|p| p.x.is_finite() && p.y.is_finite()));
    }

    #[test]
    fn everything_fits_the_room_at_its_zoom() {
        for size in [vec2(520.0, 380.0), vec2(960.0, 600.0), vec2(1900.0, 1100.0)] {
            let (_, course, zoom) = courses(&[("a", "b"), ("b", "c"), ("c", "d"), ("a", "x"), ("b", "y")], size);
            let bounds = course.bounds.unwrap();
            assert!(
                bounds.width() * zoom <= size.x + 1.0 && bounds.height() * zoom <= size.y + 1.0,
                "{bounds:?} × {zoom} in {size:?}"
            );
        }
    }
}
