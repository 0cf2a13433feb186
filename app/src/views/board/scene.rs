//! Everything about a board that does not depend on the pointer: what is shown, where it stands, what is written on it. Made
//! once for each picture and room; painting only looks it up.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use egui::{Rect, Vec2, vec2};
use fuseboard_api::graph::Board;

use super::compare;
use super::labels::{self, Label, Wish};
use super::layout::{Graph, Layout};
use super::merge::{Grouping, Link, Merged, merge, rank};
use super::wires::{Course, Spread, course};
use crate::widgets::{Tone, format};

/// Around what the board is narrowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Focus {
    /// Names of services in its middle.
    pub(crate) middle: Vec<String>,
    /// How many calls away something may be.
    pub(crate) hops: u32,
}

/// What a scene was made from; an equal one needs no new scene.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    /// The picture.
    pub(crate) version: u64,
    /// The earlier picture that it is compared with.
    pub(crate) before: Option<u64>,
    /// How edges are merged.
    pub(crate) grouping: Grouping,
    /// Text in a service's or operation's name, lower case.
    pub(crate) text: String,
    /// Only edges that changed.
    pub(crate) only_changed: bool,
    /// Only what is near.
    pub(crate) focus: Option<Focus>,
    /// The room that it should fill; `None` keeps the spread of the scene before.
    pub(crate) room: Option<Vec2>,
    /// Counts up when a new layout is asked for.
    pub(crate) laid_out: u32,
}

impl Key {
    /// Whether the same is looked at in the same way, data apart.
    fn looks_as(&self, other: &Self) -> bool {
        let parts = |k: &Self| (k.grouping, k.only_changed, k.laid_out);
        parts(self) == parts(other) && self.text == other.text && self.focus == other.focus
    }

    fn shows_all(&self) -> bool {
        self.text.is_empty() && !self.only_changed && self.focus.is_none()
    }
}

/// The words on a link.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Words {
    /// Its operation, where links are operations.
    pub(crate) operation: String,
    /// `131/s`.
    pub(crate) rate: String,
    /// `38%`; empty without errors.
    pub(crate) errors: String,
    /// `p95 800`, or what changed; empty for queues.
    pub(crate) p95: String,
    /// `800 ms`: the timeout that limits it.
    pub(crate) limit: String,
    /// Whether the p95 comes near its limit.
    pub(crate) near: bool,
}

/// A board ready for painting.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scene {
    /// What it was made from.
    pub(crate) key: Key,
    /// The picture.
    pub(crate) board: Arc<Board>,
    /// Boxes and links.
    pub(crate) merged: Merged,
    /// The spread over the room.
    pub(crate) spread: Spread,
    /// The zoom at which everything is seen.
    pub(crate) zoom: f32,
    /// Rectangles and curves.
    pub(crate) course: Course,
    /// One for each link.
    pub(crate) words: Vec<Words>,
    /// One for each link.
    pub(crate) labels: Vec<Option<Label>>,
    /// How much larger than at zoom 1 the labels are written, so that they can be read at [`Scene::zoom`].
    pub(crate) scale: f32,
    /// The layout of everything, to begin the next one with.
    pub(crate) places: (Graph, Layout),
    /// The layout of what is shown.
    pub(crate) shown: (Graph, Layout),
    /// Edges that the filters hide.
    pub(crate) hidden: usize,
}

/// What a scene is made from.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// What identifies it.
    pub(crate) key: Key,
    /// The picture.
    pub(crate) board: Arc<Board>,
    /// The earlier picture.
    pub(crate) before: Option<Arc<Board>>,
}

impl Source {
    /// Makes the scene; everything keeps its place in `old`.
    pub(crate) fn make(self, old: Option<&Scene>) -> Scene {
        let Self { key, board, before } = self;
        let changes = before.as_ref().map(|b| compare::changes(&board, b));
        let visible = shown(&key, &board, changes.as_deref());
        let hidden = visible.iter().filter(|s| !**s).count();
        let all = merge(&board, key.grouping, &|_| true);
        let places = layout_all(&key, &all, old);
        // With the same filters in the same room things may stay exactly where they are.
        let same = old.filter(|o| key.looks_as(&o.key));
        let (merged, shown) = if key.shows_all() || hidden == 0 {
            (all, places.clone())
        } else {
            let merged = merge(&board, key.grouping, &|i| visible[i]);
            let graph = merged.graph();
            let layout = match same {
                Some(old) => Layout::follow(&graph, &old.shown.0, &old.shown.1),
                None => Layout::again(&graph, &places.0, &places.1),
            };
            (merged, (graph, layout))
        };
        let words: Vec<Words> =
            merged.links.iter().map(|l| words(l, &board, key.grouping, changes.as_deref())).collect();
        let steady = same.filter(|o| key.room == o.key.room && o.has_room_for(&shown));
        let (spread, zoom) = match (steady, key.room, old) {
            (Some(old), ..) => (old.spread.clone(), old.zoom),
            (None, None, Some(old)) if old.spread.left.len() >= shown.1.columns as usize => {
                (old.spread.clone(), old.zoom)
            }
            (None, room, _) => {
                Spread::fit(&shown.1, &gaps(&merged, &shown.1, &words), room.unwrap_or(vec2(960.0, 600.0)))
            }
        };
        let mut course = course(&merged, &shown.0, &shown.1, &spread);
        // Curves reach beyond the cards, and so may words, a little: all of that is to be seen.
        let inked = course.wires.iter().map(|w| w.bounds).filter(|b| b.is_finite());
        course.bounds = inked.chain(course.bounds).reduce(Rect::union).map(|b| b.expand2(vec2(2.0, 14.0)));
        let zoom = match (key.room, course.bounds, steady) {
            (Some(room), Some(b), None) => zoom.min(room.x / b.width().max(1.0)).min(room.y / b.height().max(1.0)),
            _ => zoom,
        };
        let scale = (0.86 / zoom).clamp(1.0, 2.4);
        let wishes = wishes((&merged, &board, key.grouping), &course, &words, scale, old);
        let labels =
            labels::place(&wishes, &course.wires, &solid(&merged, &course), course.bounds.unwrap_or(Rect::NOTHING));
        Scene { key, board, merged, spread, zoom, course, words, labels, scale, places, shown, hidden }
    }
}

impl Scene {
    /// Whether a layout fits the spread of this scene, with every node of both in the same place.
    fn has_room_for(&self, shown: &(Graph, Layout)) -> bool {
        let (graph, layout) = shown;
        let was: HashMap<&str, _> =
            self.shown.0.nodes.iter().zip(&self.shown.1.places).map(|(n, p)| (n.name.as_str(), p)).collect();
        let stands =
            graph.nodes.iter().zip(&layout.places).all(|(n, p)| was.get(n.name.as_str()).is_none_or(|w| *w == p));
        stands && self.spread.left.len() >= layout.columns as usize && self.shown.1.height >= layout.height
    }

    /// What names a link, from picture to picture.
    fn link_key(&self, link: &Link) -> (&str, &str, &str) {
        link_key(&self.merged, &self.board, self.key.grouping, link)
    }
}

fn link_key<'a>(merged: &'a Merged, board: &'a Board, grouping: Grouping, link: &Link) -> (&'a str, &'a str, &'a str) {
    let name = |i: u32| merged.boxes.get(i as usize).map_or("", |b| b.name.as_str());
    let edge = link.edges.first().and_then(|e| board.edges.get(*e as usize));
    let operation = edge.filter(|_| grouping == Grouping::Operations).map_or("", |e| e.key.operation.as_str());
    (name(link.from), name(link.to), operation)
}

fn layout_all(key: &Key, all: &Merged, old: Option<&Scene>) -> (Graph, Layout) {
    let graph = all.graph();
    let layout = match old {
        Some(old) if old.key.laid_out == key.laid_out => {
            if old.key.grouping != key.grouping {
                Layout::again(&graph, &old.places.0, &old.places.1)
            } else {
                Layout::follow(&graph, &old.places.0, &old.places.1)
            }
        }
        _ => Layout::full(&graph, &|_| None),
    };
    (graph, layout)
}

/// For each edge whether the filters let it through.
fn shown(key: &Key, board: &Board, changes: Option<&[Option<String>]>) -> Vec<bool> {
    let near = key.focus.as_ref().map(|f| within(board, f));
    board
        .edges
        .iter()
        .enumerate()
        .map(|(i, edge)| {
            let k = &edge.key;
            let has = |s: &str| s.to_lowercase().contains(&key.text);
            let text = key.text.is_empty() || has(&k.caller) || has(&k.callee) || has(&k.operation);
            let close = near.as_ref().is_none_or(|n| n.contains(k.caller.as_str()) && n.contains(k.callee.as_str()));
            let changed = !key.only_changed || changes.is_none_or(|c| c.get(i).is_some_and(Option::is_some));
            text && close && changed
        })
        .collect()
}

/// Names within so many calls of the middle, upward and downward.
fn within<'a>(board: &'a Board, focus: &'a Focus) -> HashSet<&'a str> {
    let mut near: HashSet<&str> = focus.middle.iter().map(String::as_str).collect();
    for _ in 0..focus.hops {
        let more: Vec<&str> = board
            .edges
            .iter()
            .flat_map(|e| {
                let (a, b) = (e.key.caller.as_str(), e.key.callee.as_str());
                [near.contains(a).then_some(b), near.contains(b).then_some(a)]
            })
            .flatten()
            .collect();
        near.extend(more);
    }
    near
}

fn words(link: &Link, board: &Board, grouping: Grouping, changes: Option<&[Option<String>]>) -> Words {
    let first = link.edges.first().and_then(|e| board.edges.get(*e as usize));
    let operation = match (grouping, first) {
        (Grouping::Operations, Some(edge)) => short_operation(&edge.key.operation),
        _ => String::new(),
    };
    let ratio = link.stats.error_ratio();
    let errors = if ratio >= 0.001 { format::percent(ratio) } else { String::new() };
    let mut words = Words {
        operation,
        rate: format::rate(link.stats.rate()),
        errors,
        near: link.near_timeout(),
        ..Words::default()
    };
    if let Some(changes) = changes {
        let told = link.edges.iter().find_map(|e| changes.get(*e as usize).and_then(Option::as_ref));
        words.p95 = told.cloned().unwrap_or_default();
        return words;
    }
    let Some(p95) = link.stats.quantile(0.95).filter(|_| !link.asynchronous) else { return words };
    let p95 = p95.as_secs_f64() * 1000.0;
    match link.timeout_ms {
        Some(limit) => {
            words.p95 = format!("p95 {}", compare::short_ms(p95));
            words.limit = limit_words(limit);
        }
        None => words.p95 = format!("p95 {}", format::millis(p95)),
    }
    words
}

/// A limit in the shortest exact words: `800 ms`, `2 s`.
pub(crate) fn limit_words(ms: u64) -> String {
    if ms >= 1000 && ms.is_multiple_of(1000) {
        format!("{} s", format::count(ms / 1000))
    } else {
        format!("{} ms", format::count(ms))
    }
}

/// The last part of an operation's name, at most 16 letters.
pub(crate) fn short_operation(name: &str) -> String {
    let last = name.rsplit(['/', '.']).find(|p| !p.is_empty()).unwrap_or(name);
    let words = if name.contains(' ') { name } else { last };
    if words.chars().count() <= 16 { words.to_owned() } else { words.chars().take(15).chain(['…']).collect() }
}

/// Size of a label in each shape. Mono letters are 0.6 of their size wide.
fn sizes(words: &Words) -> [Vec2; 3] {
    let letters = |s: &str| s.chars().count() as f32;
    let apart = |s: &str| if s.is_empty() { 0.0 } else { letters(s) + 1.0 };
    let first = (letters(&words.rate) + apart(&words.errors) + apart(&words.operation)) * 6.3 + 8.0;
    let limit = if words.limit.is_empty() { 0.0 } else { letters(&words.limit) * 6.0 + 9.0 };
    let second = if words.p95.is_empty() { 0.0 } else { letters(&words.p95) * 6.0 + limit + 8.0 };
    let full = if second > 0.0 { vec2(first.max(second), 28.0) } else { vec2(first, 15.0) };
    let rows = words.narrow();
    let widest = rows.iter().map(|(w, _)| letters(w)).fold(0.0, f32::max);
    let narrow = vec2(widest * 6.2 + 6.0, rows.len() as f32 * 13.0 + 2.0);
    [full.ceil(), narrow.ceil(), vec2(first.ceil(), 15.0)]
}

/// What a line of a label tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tells {
    /// Which operation.
    Operation,
    /// How many calls.
    Rate,
    /// How many fail.
    Errors,
    /// How long they take, or what changed.
    Latency,
}

impl Words {
    /// The lines of the narrow shape.
    pub(crate) fn narrow(&self) -> Vec<(&str, Tells)> {
        let lines = [
            (self.operation.as_str(), Tells::Operation),
            (self.rate.as_str(), Tells::Rate),
            (self.errors.as_str(), Tells::Errors),
            (self.p95.strip_suffix(" ms").unwrap_or(&self.p95), Tells::Latency),
        ];
        lines.into_iter().filter(|(w, _)| !w.is_empty()).collect()
    }
}

/// The gap that each column would like after it: room for the switch and a usual label. Figures of the moment do not count, or
/// the gaps would change with them.
fn gaps(merged: &Merged, layout: &Layout, words: &[Words]) -> Vec<f32> {
    let mut gaps = vec![0.0_f32; layout.columns as usize];
    for (link, words) in merged.links.iter().zip(words).filter(|(l, _)| l.from != l.to) {
        let column = |i: u32| layout.places.get(i as usize).map_or(0, |p| p.column);
        let left = column(link.from).min(column(link.to)) as usize;
        let usual = Words {
            operation: words.operation.clone(),
            rate: "131/s".to_owned(),
            errors: if link.asynchronous { String::new() } else { "38%".to_owned() },
            p95: if link.asynchronous { String::new() } else { "p95 800".to_owned() },
            limit: link.timeout_ms.map(limit_words).unwrap_or_default(),
            near: false,
        };
        let switch = if link.switch.is_some() { 34.0 } else { 0.0 };
        if let Some(gap) = gaps.get_mut(left) {
            *gap = gap.max((sizes(&usual)[0].x + 16.0 + switch).min(170.0));
        }
    }
    gaps
}

/// What labels may not cover: cards, switches, and the shares beside switches.
fn solid(merged: &Merged, course: &Course) -> Vec<Rect> {
    let switches = merged.links.iter().zip(&course.wires).filter_map(|(link, wire)| {
        let share = link.switch.as_ref().and_then(super::merge::Switch::share).is_some();
        wire.switch.map(|s| if share { s.with_max_x(s.right() + 22.0) } else { s })
    });
    course.cards.iter().copied().chain(switches).collect()
}

/// What wants a label, and where it had one on the same curve.
fn wishes(
    (merged, board, grouping): (&Merged, &Board, Grouping),
    course: &Course,
    words: &[Words],
    scale: f32,
    old: Option<&Scene>,
) -> Vec<Wish> {
    let had: HashMap<(&str, &str, &str), usize> =
        old.into_iter().flat_map(|o| o.merged.links.iter().zip(0..).map(|(l, i)| (o.link_key(l), i))).collect();
    let before = |link: &Link, wire: usize| -> Option<Label> {
        let old = old?;
        let i = *had.get(&link_key(merged, board, grouping, link))?;
        let still = old.scale == scale && old.course.wires.get(i)?.points == course.wires.get(wire)?.points;
        old.labels.get(i).copied().flatten().filter(|_| still)
    };
    merged
        .links
        .iter()
        .zip(words)
        .enumerate()
        .filter(|(_, (link, _))| link.stats.calls > 0)
        .map(|(wire, (link, words))| {
            let bad = f32::from(rank(link.tone()));
            let weight = if link.tone() == Tone::Well { 0.0 } else { bad * 1e6 } + link.stats.rate() as f32;
            let sizes = sizes(words).map(|s| (s * scale).ceil());
            Wish { wire, sizes, weight, before: before(link, wire).map(|l| (l.rect.center(), l.shape)) }
        })
        .collect()
}

#[cfg(test)]
mod tests;
