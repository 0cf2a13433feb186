use super::*;

fn graph(edges: &[(&str, &str)]) -> Graph {
    let mut names: Vec<&str> = edges.iter().flat_map(|(a, b)| [*a, *b]).collect();
    names.sort_unstable();
    names.dedup();
    let at = |name: &str| names.iter().position(|n| *n == name).unwrap() as u32;
    let mut pairs: Vec<(u32, u32)> = edges.iter().map(|(a, b)| (at(a), at(b))).filter(|(a, b)| a != b).collect();
    pairs.sort_unstable();
    pairs.dedup();
    Graph { nodes: names.iter().map(|n| LayoutNode { name: (*n).to_owned(), height: 56.0 }).collect(), edges: pairs }
}

fn full(graph: &Graph) -> Layout {
    Layout::full(graph, &|_| None)
}

fn place(graph: &Graph, layout: &Layout, name: &str) -> Place {
    place_of(graph, layout, name).unwrap()
}

/// A graph like those of real systems: mostly calls to services a little further down, some hubs.
fn large(nodes: u32, edges: u32) -> Graph {
    let mut seed = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = |below: u32| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % u64::from(below)) as u32
    };
    let mut pairs: Vec<(u32, u32)> = (0..edges)
        .map(|_| {
            let from = next(nodes - 1);
            let reach = if next(20) == 0 { nodes } else { nodes / 10 };
            (from, (from + 1 + next(reach.max(1))).min(nodes - 1))
        })
        .collect();
    pairs.extend((0..edges / 200).map(|_| (next(nodes), next(nodes))).filter(|(a, b)| a != b));
    pairs.sort_unstable();
    pairs.dedup();
    let nodes = (0..nodes).map(|i| LayoutNode { name: format!("s{i:05}"), height: 56.0 }).collect();
    Graph { nodes, edges: pairs }
}

fn assert_no_overlap(graph: &Graph, layout: &Layout) {
    let mut by_column: Vec<(u32, f32, f32)> = layout
        .places
        .iter()
        .zip(&graph.nodes)
        .map(|(p, n)| (p.column, p.y - n.height / 2.0, p.y + n.height / 2.0))
        .collect();
    by_column.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    for pair in by_column.windows(2) {
        assert!(pair[0].0 != pair[1].0 || pair[0].2 <= pair[1].1 + 0.5, "{pair:?} overlap");
    }
}

const SHOP: &[(&str, &str)] = &[
    ("storefront", "gateway"),
    ("gateway", "orders"),
    ("gateway", "users"),
    ("gateway", "pricing"),
    ("orders", "inventory"),
    ("orders", "payments"),
    ("orders", "order.events"),
    ("inventory", "orders-db"),
    ("payments", "bank"),
    ("order.events", "notifications"),
];

#[test]
fn callers_stand_left_of_callees() {
    let g = graph(SHOP);
    let l = full(&g);
    let columns: Vec<u32> =
        ["storefront", "gateway", "orders", "payments", "bank"].map(|n| place(&g, &l, n).column).into();
    assert_eq!(columns, [0, 1, 2, 3, 4]);
    assert_eq!(l.columns, 5);
    assert_no_overlap(&g, &l);
    assert!(l.routes.iter().all(|r| !r.backward && r.through.is_empty()));
}

#[test]
fn the_same_graph_gives_the_same_layout() {
    let g = large(300, 900);
    assert_eq!(full(&g), full(&g));
}

#[test]
fn a_tree_has_no_crossings() {
    let g = graph(SHOP);
    let forward = g.edges.clone();
    let mut proper = order::Proper::new(&layers::layers(g.nodes.len(), &forward), &forward);
    proper.reduce_crossings(&|_| None);
    assert_eq!(proper.crossings(), 0);
}

#[test]
fn sweeps_untangle_two_crossed_layers() {
    // a→z b→y c→x in the order of names cross three times.
    let layer = [0, 0, 0, 1, 1, 1];
    let mut proper = order::Proper::new(&layer, &[(0, 5), (1, 4), (2, 3)]);
    assert_eq!(proper.crossings(), 3);
    proper.reduce_crossings(&|_| None);
    assert_eq!(proper.crossings(), 0);
}

#[test]
fn a_cycle_is_laid_out_with_one_edge_backward() {
    let g = graph(&[("a", "b"), ("b", "c"), ("c", "a"), ("in", "a")]);
    let l = full(&g);
    let backward: Vec<(u32, u32)> =
        g.edges.iter().zip(&l.routes).filter(|(_, r)| r.backward).map(|(e, _)| *e).collect();
    assert_eq!(backward, [(2, 0)], "the edge that returns to where the walk came in");
    assert!(place(&g, &l, "a").column < place(&g, &l, "c").column);
}

#[test]
fn two_services_that_call_each_other_and_nothing_else() {
    let g = graph(&[("a", "b"), ("b", "a")]);
    let l = full(&g);
    assert_ne!(place(&g, &l, "a").column, place(&g, &l, "b").column);
    assert_eq!(l.routes.iter().filter(|r| r.backward).count(), 1);
}

#[test]
fn a_long_edge_passes_beside_the_nodes_between() {
    let g = graph(&[("a", "b"), ("b", "c"), ("c", "d"), ("a", "d")]);
    let l = full(&g);
    let route = &l.routes[g.edges.iter().position(|e| *e == (0, 3)).unwrap()];
    assert_eq!(route.through.iter().map(|p| p.column).collect::<Vec<_>>(), [1, 2]);
    for (lane, node) in route.through.iter().zip(["b", "c"]) {
        assert!((lane.y - place(&g, &l, node).y).abs() >= 28.0, "the edge would run through {node}");
    }
}

#[test]
fn nodes_without_edges_stand_in_rows_below() {
    let mut g = graph(SHOP);
    for name in ["zz1", "zz2", "zz3", "zz4", "zz5", "zz6"] {
        g.nodes.push(LayoutNode { name: name.to_owned(), height: 56.0 });
    }
    let l = full(&g);
    assert_no_overlap(&g, &l);
    let lowest = place(&g, &l, "pricing").y.max(place(&g, &l, "notifications").y);
    assert!(place(&g, &l, "zz1").y > lowest);
    assert_eq!(full(&Graph::default()).columns, 0, "nothing at all is fine too");
}

#[test]
fn a_new_node_moves_nobody() {
    let g = graph(SHOP);
    let l = full(&g);
    let mut more = SHOP.to_vec();
    more.push(("payments", "fraud"));
    let g2 = graph(&more);
    let l2 = Layout::follow(&g2, &g, &l);
    for node in &g.nodes {
        assert_eq!(place(&g, &l, &node.name), place(&g2, &l2, &node.name), "{}", node.name);
    }
    assert_eq!(place(&g2, &l2, "fraud").column, 4);
    assert_no_overlap(&g2, &l2);
    for (edge, route) in g.edges.iter().zip(&l.routes) {
        let now = g2.edges.iter().position(|e| g2.names(*e) == g.names(*edge)).unwrap();
        assert_eq!(l2.routes[now], *route, "{:?} runs as before", g.names(*edge));
    }
}

#[test]
fn a_node_that_goes_moves_nobody() {
    let g = graph(SHOP);
    let l = full(&g);
    let g2 = graph(&SHOP[..9]);
    let l2 = Layout::follow(&g2, &g, &l);
    for node in &g2.nodes {
        assert_eq!(place(&g, &l, &node.name), place(&g2, &l2, &node.name), "{}", node.name);
    }
}

#[test]
fn a_node_that_grows_keeps_its_place_or_everything_is_laid_out_in_the_same_order() {
    let g = graph(SHOP);
    let l = full(&g);
    let grown = |height: f32| {
        let mut g2 = g.clone();
        g2.nodes.iter_mut().filter(|n| n.name == "payments").for_each(|n| n.height = height);
        let l2 = Layout::follow(&g2, &g, &l);
        assert_no_overlap(&g2, &l2);
        l2
    };
    assert_eq!(grown(64.0).places, l.places);
    let order = |l: &Layout| {
        let mut names = ["inventory", "payments", "order.events"];
        names.sort_by(|a, b| place(&g, l, a).y.total_cmp(&place(&g, l, b).y));
        names
    };
    assert_eq!(order(&grown(200.0)), order(&l));
}

#[test]
fn a_hub_with_very_many_callees_is_cut_into_columns() {
    let names: Vec<String> = (0..200).map(|i| format!("leaf{i:03}")).collect();
    let edges: Vec<(&str, &str)> = names.iter().map(|n| ("hub", n.as_str())).collect();
    let g = graph(&edges);
    let l = full(&g);
    assert_no_overlap(&g, &l);
    assert!(l.columns > 5 && l.height < 200.0 * 84.0 / 4.0, "{} columns, {} points", l.columns, l.height);
}

#[test]
fn two_thousand_nodes_and_ten_thousand_edges_lay_out() {
    let g = large(2_000, 10_000);
    let l = full(&g);
    assert_eq!((l.places.len(), l.routes.len()), (g.nodes.len(), g.edges.len()));
    assert_no_overlap(&g, &l);
    for ((a, b), route) in g.edges.iter().zip(&l.routes) {
        let (from, to) = (l.places[*a as usize].column, l.places[*b as usize].column);
        assert!(route.backward || from < to);
    }
}

#[test]
fn isotonic_heights_keep_their_distance_and_stay_near_their_wish() {
    let y = place::isotonic(&[(10.0, 1.0), (0.0, 1.0), (100.0, 1.0)], &[0.0, 20.0, 40.0]);
    assert_eq!(y, [-5.0, 15.0, 100.0]);
}
