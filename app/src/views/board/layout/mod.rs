//! Where the nodes of the call graph stand: callers left of callees, few crossings, and no jumping about.
//!
//! A layered layout in the manner of Sugiyama, Tagawa and Toda (1981): turn the edges that close a cycle ([`layers`]), give
//! every node the layer after its last caller, order each layer by barycentres ([`order`]), then choose heights by isotonic
//! regression ([`place`]). What it answers is abstract across (a column number) and in points down (the middle of the node),
//! so that the width of the gaps can follow the window without any node changing its place.
//!
//! [`Layout::follow`] keeps everything where it stood when little has changed. Self-loops take no part: strip them before.

mod layers;
mod order;
mod place;
mod settle;

use std::collections::HashMap;

/// A node as the layout sees it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LayoutNode {
    /// Its name: what makes it the same node later.
    pub(crate) name: String,
    /// The height it needs, in points, margins not included.
    pub(crate) height: f32,
}

/// What is to be laid out: nodes by name, and edges as pairs of indices without doubles and self-loops.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Graph {
    /// By name.
    pub(crate) nodes: Vec<LayoutNode>,
    /// (caller, callee).
    pub(crate) edges: Vec<(u32, u32)>,
}

impl Graph {
    fn names(&self, (a, b): (u32, u32)) -> (&str, &str) {
        let name = |i: u32| self.nodes.get(i as usize).map_or("", |n| n.name.as_str());
        (name(a), name(b))
    }
}

/// Where a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Place {
    /// From the left, from 0.
    pub(crate) column: u32,
    /// The node's middle, in points from the top.
    pub(crate) y: f32,
}

/// How an edge runs from its caller to its callee.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Route {
    /// Whether it runs from right to left: it closes a cycle.
    pub(crate) backward: bool,
    /// Where it passes the columns strictly between both ends, in the order from caller to callee.
    pub(crate) through: Vec<Place>,
}

/// A finished layout.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Layout {
    /// One for each node of the graph.
    pub(crate) places: Vec<Place>,
    /// One for each edge of the graph.
    pub(crate) routes: Vec<Route>,
    /// How many columns there are.
    pub(crate) columns: u32,
    /// From the top of the highest node to the bottom of the lowest, in points.
    pub(crate) height: f32,
}

/// Space between two nodes of a column, in points.
pub(crate) const NODE_GAP: f32 = 28.0;
/// Space that an edge takes where it passes a column, in points.
pub(crate) const LANE: f32 = 14.0;

impl Layout {
    /// Lays the whole graph out. `before` gives earlier heights of nodes (by index) that break ties, so that a second layout
    /// resembles the first.
    pub(crate) fn full(graph: &Graph, before: &dyn Fn(usize) -> Option<f32>) -> Self {
        let mut all = Self { places: vec![Place::default(); graph.nodes.len()], ..Self::default() };
        all.routes = vec![Route::default(); graph.edges.len()];
        let (components, singles) = components(graph);
        for component in &components {
            let part = Part::of(graph, component);
            let laid = part.lay_out(&|i| before(component[i] as usize));
            all.append(component, &part.edge_ids, laid);
        }
        all.append_singles(graph, &singles);
        all
    }

    /// Lays out `graph` with every node that `old_graph` had left where it was, when enough of it is the same; otherwise
    /// lays it out anew, in an order like before.
    pub(crate) fn follow(graph: &Graph, old_graph: &Graph, old: &Self) -> Self {
        if graph == old_graph {
            return old.clone();
        }
        let was = |i: usize| place_of(old_graph, old, &graph.nodes[i].name);
        let routes: HashMap<(&str, &str), &Route> =
            old_graph.edges.iter().zip(&old.routes).map(|(e, r)| (old_graph.names(*e), r)).collect();
        let ran = |i: usize| routes.get(&graph.names(graph.edges[i])).map(|r| (*r).clone());
        settle::settle(graph, old, &was, &ran).unwrap_or_else(|| Self::again(graph, old_graph, old))
    }

    /// Lays everything out anew, in an order like before.
    pub(crate) fn again(graph: &Graph, old_graph: &Graph, old: &Self) -> Self {
        Self::full(graph, &|i| place_of(old_graph, old, &graph.nodes[i].name).map(|p| p.y))
    }

    fn append(&mut self, nodes: &[u32], edges: &[u32], part: Self) {
        let top = if self.height > 0.0 { self.height + 2.0 * NODE_GAP } else { 0.0 };
        let down = |p: Place| Place { y: p.y + top, ..p };
        for (i, place) in nodes.iter().zip(part.places) {
            self.places[*i as usize] = down(place);
        }
        for (i, route) in edges.iter().zip(part.routes) {
            let through = route.through.into_iter().map(down).collect();
            self.routes[*i as usize] = Route { through, ..route };
        }
        self.columns = self.columns.max(part.columns);
        self.height = top + part.height;
    }

    /// Nodes without any edge stand in rows under everything else.
    fn append_singles(&mut self, graph: &Graph, singles: &[u32]) {
        if singles.is_empty() {
            return;
        }
        let columns = self.columns.max((singles.len() as f32).sqrt().ceil() as u32).max(1);
        for row in singles.chunks(columns as usize) {
            let top = if self.height > 0.0 { self.height + NODE_GAP } else { 0.0 };
            let tallest = row.iter().map(|i| graph.nodes[*i as usize].height).fold(0.0, f32::max);
            for (column, i) in row.iter().enumerate() {
                self.places[*i as usize] = Place { column: column as u32, y: top + tallest / 2.0 };
            }
            self.columns = self.columns.max(row.len() as u32);
            self.height = top + tallest;
        }
    }
}

fn place_of(graph: &Graph, layout: &Layout, name: &str) -> Option<Place> {
    let i = graph.nodes.binary_search_by(|n| n.name.as_str().cmp(name)).ok()?;
    layout.places.get(i).copied()
}

/// The connected parts with edges, largest first, and the nodes without edges; all in the order of names.
fn components(graph: &Graph) -> (Vec<Vec<u32>>, Vec<u32>) {
    let n = graph.nodes.len();
    let mut root: Vec<u32> = (0..n as u32).collect();
    fn find(root: &mut [u32], mut i: u32) -> u32 {
        while root[i as usize] != i {
            root[i as usize] = root[root[i as usize] as usize];
            i = root[i as usize];
        }
        i
    }
    for (a, b) in &graph.edges {
        let (a, b) = (find(&mut root, *a), find(&mut root, *b));
        root[a.max(b) as usize] = a.min(b);
    }
    let mut members: Vec<Vec<u32>> = vec![Vec::new(); n];
    for i in 0..n as u32 {
        members[find(&mut root, i) as usize].push(i);
    }
    let singles = members.iter().filter(|m| m.len() == 1).map(|m| m[0]).collect();
    let mut parts: Vec<Vec<u32>> = members.into_iter().filter(|m| m.len() > 1).collect();
    parts.sort_by_key(|m| std::cmp::Reverse(m.len()));
    (parts, singles)
}

/// One connected part, with indices of its own.
struct Part {
    heights: Vec<f32>,
    edges: Vec<(u32, u32)>,
    /// Index of each edge in the whole graph.
    edge_ids: Vec<u32>,
}

impl Part {
    fn of(graph: &Graph, members: &[u32]) -> Self {
        let mut local = vec![u32::MAX; graph.nodes.len()];
        for (i, m) in members.iter().enumerate() {
            local[*m as usize] = i as u32;
        }
        let mut part = Self {
            heights: members.iter().map(|m| graph.nodes[*m as usize].height).collect(),
            edges: Vec::new(),
            edge_ids: Vec::new(),
        };
        for (id, (a, b)) in graph.edges.iter().enumerate() {
            if local[*a as usize] != u32::MAX && a != b {
                part.edges.push((local[*a as usize], local[*b as usize]));
                part.edge_ids.push(id as u32);
            }
        }
        part
    }

    fn lay_out(&self, before: &dyn Fn(usize) -> Option<f32>) -> Layout {
        let n = self.heights.len();
        let backward = layers::backward(n, &self.edges);
        let forward: Vec<(u32, u32)> =
            self.edges.iter().zip(&backward).map(|((a, b), back)| if *back { (*b, *a) } else { (*a, *b) }).collect();
        let layer = layers::layers(n, &forward);
        let mut proper = order::Proper::new(&layer, &forward);
        proper.reduce_crossings(before);
        let placed = place::place(&proper, &self.heights);
        let routes = (0..self.edges.len()).map(|e| {
            let mut through: Vec<Place> = proper.chains[e].iter().map(|d| placed.places[*d as usize]).collect();
            if backward[e] {
                through.reverse();
            }
            Route { backward: backward[e], through }
        });
        Layout {
            routes: routes.collect(),
            places: placed.places[..n].to_vec(),
            columns: placed.columns,
            height: placed.height,
        }
    }
}

#[cfg(test)]
mod tests;
