//! Heights inside the columns: every item as near as possible to the middle of its neighbours, in the order given, with the
//! space it needs. For one layer that is isotonic regression, solved exactly by pooling adjacent violators.

use super::order::Proper;
use super::{LANE, NODE_GAP, Place};

/// Rounds over all layers, rightward and leftward counted as one.
const ROUNDS: usize = 8;
/// A layer with more nodes than this is drawn as several staggered columns; grows with the root of the number of nodes.
const TALLEST: usize = 14;

/// Places of all items, lanes included.
pub(super) struct Placed {
    pub(super) places: Vec<Place>,
    pub(super) columns: u32,
    pub(super) height: f32,
}

/// Chooses a column and a height for every item. `heights` of the nodes, in points.
pub(super) fn place(proper: &Proper, heights: &[f32]) -> Placed {
    let (column, columns, parts) = columns(proper);
    let offsets: Vec<Vec<f32>> =
        proper.layers.iter().zip(&parts).map(|(layer, parts)| offsets(layer, *parts, heights)).collect();
    let mut y = vec![0.0_f32; proper.before.len()];
    for (layer, offsets) in proper.layers.iter().zip(&offsets) {
        let middle = offsets.last().copied().unwrap_or(0.0) / 2.0;
        for (item, offset) in layer.iter().zip(offsets) {
            y[*item as usize] = offset - middle;
        }
    }
    for round in 0..ROUNDS {
        let both = round + 2 >= ROUNDS;
        for (l, offsets) in offsets.iter().enumerate().skip(1) {
            align(proper, l, offsets, true, both, &mut y);
        }
        for (l, offsets) in offsets.iter().enumerate().rev() {
            align(proper, l, offsets, false, both, &mut y);
        }
    }
    finish(proper, heights, &y, &column, columns)
}

/// The column of every item, how many columns there are, and into how many columns each layer is split.
fn columns(proper: &Proper) -> (Vec<u32>, u32, Vec<u32>) {
    let tallest = TALLEST.max((proper.nodes as f32).sqrt() as usize * 3 / 2);
    let mut column = vec![0; proper.before.len()];
    let mut parts = Vec::with_capacity(proper.layers.len());
    let mut next = 0;
    for layer in &proper.layers {
        let nodes = layer.iter().filter(|i| !proper.is_lane(**i)).count();
        let split = nodes.div_ceil(tallest).max(1) as u32;
        let mut turn = 0;
        for item in layer {
            column[*item as usize] = next + turn;
            if !proper.is_lane(*item) {
                turn = (turn + 1) % split;
            }
        }
        next += split;
        parts.push(split);
    }
    (column, next, parts)
}

/// Distance of every item of a layer from the first, at least.
fn offsets(layer: &[u32], parts: u32, heights: &[f32]) -> Vec<f32> {
    let need = |item: u32| heights.get(item as usize).map_or(LANE, |h| h + NODE_GAP);
    let mut at = 0.0;
    let mut last = 0.0;
    layer
        .iter()
        .enumerate()
        .map(|(i, item)| {
            let need = need(*item) / parts as f32;
            if i > 0 {
                at += (last + need) / 2.0;
            }
            last = need;
            at
        })
        .collect()
}

/// Moves one layer towards its neighbours before (`rightward`), after, or on both sides.
fn align(proper: &Proper, l: usize, offsets: &[f32], rightward: bool, both: bool, y: &mut [f32]) {
    let wish = |item: u32| -> (f32, f32) {
        let i = item as usize;
        let lane = proper.is_lane(item);
        let (mut sum, mut weight) = (0.0, 0.0);
        let sides = [(&proper.before[i], rightward || both), (&proper.after[i], !rightward || both)];
        for n in sides.into_iter().filter(|(_, used)| *used).flat_map(|(near, _)| near) {
            // Long edges should be straight before anything else.
            let w = if lane && proper.is_lane(*n) { 8.0 } else { 1.0 };
            sum += w * y[*n as usize];
            weight += w;
        }
        if weight == 0.0 { (y[i], 0.01) } else { (sum / weight, weight) }
    };
    let wishes: Vec<(f32, f32)> = proper.layers[l].iter().map(|i| wish(*i)).collect();
    let settled = isotonic(&wishes, offsets);
    for (item, at) in proper.layers[l].iter().zip(settled) {
        y[*item as usize] = at;
    }
}

/// The heights nearest to the `(wish, weight)`s, by weighted squares, that keep at least the distances of `offsets`.
pub(super) fn isotonic(wishes: &[(f32, f32)], offsets: &[f32]) -> Vec<f32> {
    struct Block {
        sum: f32,
        weight: f32,
        len: usize,
    }
    let mut blocks: Vec<Block> = Vec::new();
    for ((wish, weight), offset) in wishes.iter().zip(offsets) {
        let mut block = Block { sum: (wish - offset) * weight, weight: *weight, len: 1 };
        while let Some(above) = blocks.last()
            && above.sum / above.weight > block.sum / block.weight
        {
            block.sum += above.sum;
            block.weight += above.weight;
            block.len += above.len;
            blocks.pop();
        }
        blocks.push(block);
    }
    let means = blocks.iter().flat_map(|b| std::iter::repeat_n(b.sum / b.weight, b.len));
    means.zip(offsets).map(|(mean, offset)| mean + offset).collect()
}

/// Puts the top at 0 and rounds to whole points.
fn finish(proper: &Proper, heights: &[f32], y: &[f32], column: &[u32], columns: u32) -> Placed {
    let half = |i: usize| heights.get(i).map_or(LANE, |h| *h) / 2.0;
    let top = (0..proper.nodes).map(|i| y[i] - half(i)).fold(f32::INFINITY, f32::min);
    let top = if top.is_finite() { top } else { 0.0 };
    let places: Vec<Place> =
        y.iter().zip(column).map(|(y, column)| Place { column: *column, y: (y - top).round() }).collect();
    let height = (0..proper.nodes).map(|i| places[i].y + half(i)).fold(0.0, f32::max);
    Placed { places, columns, height }
}
