//! Which edges run backward, and in which layer each node stands.

/// For each edge, whether it closes a cycle when the graph is walked depth first from its sources (from the node with the
/// largest surplus of callees where a part has no source).
pub(super) fn backward(n: usize, edges: &[(u32, u32)]) -> Vec<bool> {
    let mut out: Vec<Vec<u32>> = vec![Vec::new(); n];
    let mut surplus = vec![0_i64; n];
    let mut callers = vec![0_u32; n];
    for (id, (a, b)) in edges.iter().enumerate() {
        out[*a as usize].push(id as u32);
        surplus[*a as usize] += 1;
        surplus[*b as usize] -= 1;
        callers[*b as usize] += 1;
    }
    let mut starts: Vec<usize> = (0..n).collect();
    starts.sort_by_key(|i| (callers[*i] > 0, std::cmp::Reverse(surplus[*i]), *i));

    #[derive(Clone, Copy, PartialEq)]
    enum Seen {
        No,
        Open,
        Done,
    }
    let mut seen = vec![Seen::No; n];
    let mut backward = vec![false; edges.len()];
    let mut stack: Vec<(usize, usize)> = Vec::new();
    for start in starts {
        if seen[start] != Seen::No {
            continue;
        }
        seen[start] = Seen::Open;
        stack.push((start, 0));
        while let Some((node, next)) = stack.last_mut() {
            let Some(id) = out[*node].get(*next) else {
                seen[*node] = Seen::Done;
                stack.pop();
                continue;
            };
            *next += 1;
            let to = edges[*id as usize].1 as usize;
            match seen[to] {
                Seen::No => {
                    seen[to] = Seen::Open;
                    stack.push((to, 0));
                }
                Seen::Open => backward[*id as usize] = true,
                Seen::Done => {}
            }
        }
    }
    backward
}

/// The layer of each node of a graph without cycles: one after its last caller, then as near to its callees as more of its
/// edges wish.
pub(super) fn layers(n: usize, edges: &[(u32, u32)]) -> Vec<u32> {
    let mut out: Vec<Vec<u32>> = vec![Vec::new(); n];
    let mut callers = vec![0_u32; n];
    for (a, b) in edges {
        out[*a as usize].push(*b);
        callers[*b as usize] += 1;
    }
    let mut open = callers.clone();
    let mut layer = vec![0_u32; n];
    let mut sorted: Vec<usize> = (0..n).filter(|i| open[*i] == 0).collect();
    let mut next = 0;
    while let Some(&node) = sorted.get(next) {
        next += 1;
        for to in &out[node] {
            let to = *to as usize;
            layer[to] = layer[to].max(layer[node] + 1);
            open[to] -= 1;
            if open[to] == 0 {
                sorted.push(to);
            }
        }
    }
    for node in sorted.into_iter().rev() {
        let nearest = out[node].iter().map(|to| layer[*to as usize]).min();
        if let Some(nearest) = nearest
            && out[node].len() as u32 > callers[node]
        {
            layer[node] = layer[node].max(nearest - 1);
        }
    }
    layer
}
