//! The order of the nodes inside their layers: barycentre sweeps, the order with the fewest crossings wins.
//!
//! Edges over more than one layer are cut into steps by *lanes*, items without a node that hold a place for the edge in every
//! layer between. Beyond [`MAX_LANES`] the longest edges go without: they are then drawn straight.

/// At most so many lanes; bounds time and memory on graphs with very many long edges.
const MAX_LANES: usize = 12_000;
/// Sweeps at most, down and up counted as one.
const MAX_SWEEPS: usize = 16;
/// Sweeps without improvement after which it is good enough.
const PATIENCE: usize = 4;

/// A layered graph in which every edge joins neighbouring layers. Items below the number of nodes are nodes, the others lanes.
pub(super) struct Proper {
    /// Items of each layer, top to bottom.
    pub(super) layers: Vec<Vec<u32>>,
    /// Neighbours of each item in the layer before.
    pub(super) before: Vec<Vec<u32>>,
    /// Neighbours of each item in the layer after.
    pub(super) after: Vec<Vec<u32>>,
    /// The lanes of each edge, left to right.
    pub(super) chains: Vec<Vec<u32>>,
    /// How many items are nodes.
    pub(super) nodes: usize,
}

impl Proper {
    /// `layer` of each node; `edges` run from lower to higher layers.
    pub(super) fn new(layer: &[u32], edges: &[(u32, u32)]) -> Self {
        let span = |e: &(u32, u32)| (layer[e.1 as usize] - layer[e.0 as usize]) as usize;
        let mut by_span: Vec<usize> = (0..edges.len()).collect();
        by_span.sort_by_key(|e| span(&edges[*e]));
        let mut room = MAX_LANES;
        let mut with_lanes = vec![false; edges.len()];
        for e in by_span {
            let lanes = span(&edges[e]) - 1;
            with_lanes[e] = lanes <= room;
            room = room.saturating_sub(lanes);
        }
        let count = layer.iter().max().map_or(0, |m| *m as usize + 1);
        let mut proper = Self {
            layers: vec![Vec::new(); count],
            before: vec![Vec::new(); layer.len()],
            after: vec![Vec::new(); layer.len()],
            chains: vec![Vec::new(); edges.len()],
            nodes: layer.len(),
        };
        for (i, l) in layer.iter().enumerate() {
            proper.layers[*l as usize].push(i as u32);
        }
        for (e, (a, b)) in edges.iter().enumerate() {
            if !with_lanes[e] {
                continue;
            }
            let mut last = *a;
            for l in layer[*a as usize] + 1..layer[*b as usize] {
                let lane = proper.before.len() as u32;
                proper.before.push(Vec::new());
                proper.after.push(Vec::new());
                proper.layers[l as usize].push(lane);
                proper.chains[e].push(lane);
                proper.join(last, lane);
                last = lane;
            }
            proper.join(last, *b);
        }
        proper
    }

    fn join(&mut self, a: u32, b: u32) {
        self.after[a as usize].push(b);
        self.before[b as usize].push(a);
    }

    /// Whether an item is a lane.
    pub(super) fn is_lane(&self, item: u32) -> bool {
        item as usize >= self.nodes
    }

    /// Orders every layer. `hint` is an earlier height of a node: where all have one it is the order to begin with.
    pub(super) fn reduce_crossings(&mut self, hint: &dyn Fn(usize) -> Option<f32>) {
        self.begin(hint);
        let mut best = (self.crossings(), self.layers.clone());
        let mut stale = 0;
        for sweep in 0..MAX_SWEEPS {
            if best.0 == 0 || stale >= PATIENCE {
                break;
            }
            self.sweep(true, sweep % 2 == 1);
            self.sweep(false, sweep % 2 == 1);
            if self.before.len() < 500 {
                self.swap_neighbours();
            }
            let crossings = self.crossings();
            if crossings < best.0 {
                best = (crossings, self.layers.clone());
                stale = 0;
            } else {
                stale += 1;
            }
        }
        self.layers = best.1;
    }

    /// The first order: as walked depth first from the left, so that a tree has no crossings from the start; a node with a hint
    /// stands by its hint among the others that have one.
    fn begin(&mut self, hint: &dyn Fn(usize) -> Option<f32>) {
        let mut rank = vec![u32::MAX; self.before.len()];
        let mut next = 0;
        let mut stack: Vec<u32> = Vec::new();
        for layer in &self.layers {
            for item in layer {
                stack.push(*item);
                while let Some(i) = stack.pop() {
                    if rank[i as usize] == u32::MAX {
                        rank[i as usize] = next;
                        next += 1;
                        stack.extend(self.after[i as usize].iter().rev());
                    }
                }
            }
        }
        let nodes = self.nodes;
        for layer in &mut self.layers {
            layer.sort_by_key(|i| rank[*i as usize]);
            let seats: Vec<usize> = (0..layer.len())
                .filter(|s| (layer[*s] as usize) < nodes && hint(layer[*s] as usize).is_some())
                .collect();
            let mut seated: Vec<(f32, u32)> =
                seats.iter().map(|s| (hint(layer[*s] as usize).unwrap_or(0.0), layer[*s])).collect();
            seated.sort_by(|a, b| a.0.total_cmp(&b.0));
            for (seat, (_, item)) in seats.into_iter().zip(seated) {
                layer[seat] = item;
            }
        }
    }

    fn positions(&self) -> Vec<u32> {
        let mut at = vec![0; self.before.len()];
        for layer in &self.layers {
            for (i, item) in layer.iter().enumerate() {
                at[*item as usize] = i as u32;
            }
        }
        at
    }

    /// Orders each layer by the barycentre of its neighbours in the layer before (`rightward`) or after. Items at the same
    /// height keep their order, or change it when `flip` says so, which frees orders that are stuck.
    fn sweep(&mut self, rightward: bool, flip: bool) {
        let mut at = self.positions();
        let count = self.layers.len();
        for step in 1..count {
            let l = if rightward { step } else { count - 1 - step };
            let neighbours = if rightward { &self.before } else { &self.after };
            let mut keyed: Vec<(f64, i64, u32)> = self.layers[l]
                .iter()
                .map(|item| {
                    let near = &neighbours[*item as usize];
                    let own = f64::from(at[*item as usize]);
                    let sum: f64 = near.iter().map(|n| f64::from(at[*n as usize])).sum();
                    let key = if near.is_empty() { own } else { sum / near.len() as f64 };
                    let tie = i64::from(at[*item as usize]);
                    (key, if flip { -tie } else { tie }, *item)
                })
                .collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            for (i, (.., item)) in keyed.into_iter().enumerate() {
                self.layers[l][i] = item;
                at[item as usize] = i as u32;
            }
        }
    }

    /// Swaps neighbours in a layer while that takes crossings away; one pass over all layers.
    fn swap_neighbours(&mut self) {
        let mut at = self.positions();
        for l in 0..self.layers.len() {
            for i in 1..self.layers[l].len() {
                let (a, b) = (self.layers[l][i - 1], self.layers[l][i]);
                let cost = |x: u32, y: u32| {
                    inversions(&self.before[x as usize], &self.before[y as usize], &at)
                        + inversions(&self.after[x as usize], &self.after[y as usize], &at)
                };
                if cost(b, a) < cost(a, b) {
                    self.layers[l].swap(i - 1, i);
                    at.swap(a as usize, b as usize);
                }
            }
        }
    }

    /// How many pairs of edges cross between neighbouring layers, counted in a Fenwick tree (Barth, Jünger, Mutzel 2002).
    pub(super) fn crossings(&self) -> u64 {
        let at = self.positions();
        let mut total = 0;
        for pair in self.layers.windows(2) {
            let mut ends: Vec<u32> = Vec::new();
            for item in &pair[0] {
                let first = ends.len();
                ends.extend(self.after[*item as usize].iter().map(|n| at[*n as usize]));
                ends[first..].sort_unstable();
            }
            let mut tree = vec![0_u32; pair[1].len() + 1];
            for (seen, end) in ends.iter().enumerate() {
                let (mut i, mut not_above) = (*end as usize + 1, 0);
                let from = i;
                while i > 0 {
                    not_above += tree[i];
                    i &= i - 1;
                }
                total += seen as u64 - u64::from(not_above);
                i = from;
                while i < tree.len() {
                    tree[i] += 1;
                    i += i & i.wrapping_neg();
                }
            }
        }
        total
    }
}

/// Pairs (x from `upper`, y from `lower`) with x below y.
fn inversions(upper: &[u32], lower: &[u32], at: &[u32]) -> usize {
    upper.iter().map(|u| lower.iter().filter(|l| at[**l as usize] < at[*u as usize]).count()).sum()
}
