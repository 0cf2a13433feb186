//! Small changes: every node keeps its place, a new one takes the free place nearest to its neighbours.

use super::{Graph, LANE, Layout, NODE_GAP, Place, Route};

/// With more than this share of new nodes a new layout serves better than a full house.
const MAX_NEW_SHARE: f32 = 0.25;
/// Below this many nodes a new layout moves little anyway.
const MIN_KEPT: usize = 6;

/// A layout in which every node with a `was` stands there, and every edge that `ran` still does; `None` when a new layout is due: too much is new, or a new caller
/// has no column to stand in.
pub(super) fn settle(
    graph: &Graph,
    old: &Layout,
    was: &dyn Fn(usize) -> Option<Place>,
    ran: &dyn Fn(usize) -> Option<Route>,
) -> Option<Layout> {
    let n = graph.nodes.len();
    let kept: Vec<Option<Place>> = (0..n).map(was).collect();
    let fresh = kept.iter().filter(|k| k.is_none()).count();
    if n - fresh < MIN_KEPT && fresh > 0 || fresh as f32 > MAX_NEW_SHARE * n as f32 {
        return None;
    }
    let mut columns = Columns::default();
    for (node, place) in graph.nodes.iter().zip(&kept) {
        let Some(place) = place else { continue };
        // A node that has grown may no longer fit where it stood.
        if !columns.is_free(*place, node.height) {
            return None;
        }
        columns.take(*place, node.height + NODE_GAP);
    }
    let running: Vec<Option<Route>> = (0..graph.edges.len()).map(ran).collect();
    for lane in running.iter().flatten().flat_map(|r| &r.through) {
        columns.take(*lane, LANE);
    }
    let mut places = kept;
    // A new node may hang on another new one, so go over them until nothing moves.
    for _ in 0..fresh {
        let mut any = false;
        for i in 0..n {
            if places[i].is_none()
                && let Some(wish) = wish(graph, &places, i)?
            {
                let place = columns.nearest(wish, graph.nodes[i].height + NODE_GAP);
                columns.take(place, graph.nodes[i].height + NODE_GAP);
                places[i] = Some(place);
                any = true;
            }
        }
        if !any {
            break;
        }
    }
    let places: Vec<Place> = places.into_iter().collect::<Option<_>>()?;
    let ends = graph.edges.iter().map(|(a, b)| (places[*a as usize], places[*b as usize]));
    let routes = ends.zip(running).map(|((from, to), same)| same.unwrap_or_else(|| columns.route(from, to))).collect();
    let columns = places.iter().map(|p| p.column + 1).max().unwrap_or(0).max(old.columns);
    let bottom = places.iter().zip(&graph.nodes).map(|(p, n)| p.y + n.height / 2.0);
    let height = bottom.fold(old.height, f32::max);
    Some(Layout { places, routes, columns, height })
}

/// Where node `i` would like to stand: `Some(None)` when none of its neighbours stands yet, `None` when there is no column
/// left of its callees.
fn wish(graph: &Graph, places: &[Option<Place>], i: usize) -> Option<Option<Place>> {
    let mut after: Option<u32> = None;
    let mut before: Option<u32> = None;
    let (mut sum, mut count) = (0.0, 0.0);
    let mut lonely = true;
    for (a, b) in &graph.edges {
        let (a, b) = (*a as usize, *b as usize);
        let other = if a == i {
            b
        } else if b == i {
            a
        } else {
            continue;
        };
        lonely = false;
        let Some(place) = places[other] else { continue };
        sum += place.y;
        count += 1.0;
        if b == i {
            after = after.max(Some(place.column + 1));
        } else {
            before = Some(before.map_or(place.column, |c| c.min(place.column)));
        }
    }
    if lonely {
        let bottom = places.iter().flatten().map(|p| p.y).fold(0.0, f32::max);
        return Some(Some(Place { column: 0, y: bottom + 100.0 }));
    }
    if count == 0.0 {
        return Some(None);
    }
    let column = match (after, before) {
        (Some(after), _) => after,
        (None, Some(before)) => before.checked_sub(1)?,
        (None, None) => 0,
    };
    Some(Some(Place { column, y: sum / count }))
}

/// What is taken in each column: (top, bottom), by top.
#[derive(Default)]
struct Columns(Vec<Vec<(f32, f32)>>);

impl Columns {
    fn take(&mut self, place: Place, height: f32) {
        let column = place.column as usize;
        if self.0.len() <= column {
            self.0.resize(column + 1, Vec::new());
        }
        let entry = (place.y - height / 2.0, place.y + height / 2.0);
        let at = self.0[column].partition_point(|e| e.0 < entry.0);
        self.0[column].insert(at, entry);
    }

    /// Whether nothing of what is taken reaches into a node there; margins may.
    fn is_free(&self, place: Place, height: f32) -> bool {
        let taken = self.0.get(place.column as usize).map_or(&[][..], Vec::as_slice);
        let margin = NODE_GAP / 2.0;
        taken.iter().all(|(top, bottom)| {
            place.y + height / 2.0 <= top + margin + 1.0 || place.y - height / 2.0 >= bottom - margin - 1.0
        })
    }

    /// The free place of that height in the column of `wish` that is nearest to it.
    fn nearest(&self, wish: Place, height: f32) -> Place {
        let taken = self.0.get(wish.column as usize).map_or(&[][..], Vec::as_slice);
        let half = height / 2.0;
        let free = |y: f32| taken.iter().all(|(top, bottom)| y + half <= *top || y - half >= *bottom);
        let beside = taken.iter().flat_map(|(top, bottom)| [top - half, bottom + half]);
        let best = std::iter::once(wish.y)
            .chain(beside)
            .filter(|y| *y >= half - NODE_GAP && free(*y))
            .min_by(|a, b| (a - wish.y).abs().total_cmp(&(b - wish.y).abs()));
        let below = || taken.iter().map(|(_, bottom)| bottom + half).fold(half, f32::max);
        Place { column: wish.column, y: best.unwrap_or_else(below).round() }
    }

    /// A way from one place to the other that passes between the nodes of the columns in between.
    fn route(&mut self, from: Place, to: Place) -> Route {
        let backward = to.column <= from.column;
        let (left, right) = if backward { (to, from) } else { (from, to) };
        let mut through = Vec::new();
        for column in left.column + 1..right.column {
            let share = (column - left.column) as f32 / (right.column - left.column) as f32;
            let straight = Place { column, y: left.y + (right.y - left.y) * share };
            let lane = self.nearest(straight, LANE);
            self.take(lane, LANE);
            through.push(lane);
        }
        if backward {
            through.reverse();
        }
        Route { backward, through }
    }
}
