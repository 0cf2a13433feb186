use fuseboard_api::graph::{Edge, EdgeKey};
use fuseboard_api::stats::Stats;

use super::*;

fn board(edges: &[(&str, &str)]) -> Arc<Board> {
    let edge = |(a, b): &(&str, &str)| {
        let mut stats = Stats { seconds: 10.0, calls: 100, ..Stats::default() };
        stats.latency.record(7_000_000);
        Edge { key: EdgeKey::new(*a, *b, "shop.v1.Shop/Do"), stats, attempt_timeout_ms: Some(2000), ..Edge::default() }
    };
    Arc::new(Board { edges: edges.iter().map(edge).collect(), ..Board::default() })
}

fn key(version: u64) -> Key {
    Key {
        version,
        before: None,
        grouping: Grouping::Services,
        text: String::new(),
        only_changed: false,
        focus: None,
        room: Some(vec2(900.0, 500.0)),
        laid_out: 0,
    }
}

const CHAIN: &[(&str, &str)] = &[("a", "b"), ("b", "c"), ("c", "d"), ("d", "e"), ("x", "y"), ("b", "y"), ("c", "z")];

#[test]
fn focus_shows_what_is_near_on_both_sides() {
    let focus = Some(Focus { middle: vec!["c".to_owned()], hops: 1 });
    let scene = Source { key: Key { focus, ..key(1) }, board: board(CHAIN), before: None }.make(None);
    let names: Vec<&str> = scene.merged.boxes.iter().map(|b| b.name.as_str()).collect();
    assert_eq!((names, scene.hidden), (vec!["b", "c", "d", "z"], 4));
}

#[test]
fn filters_come_and_go_without_moving_anything() {
    let first = Source { key: key(1), board: board(CHAIN), before: None }.make(None);
    let narrowed =
        Source { key: Key { text: "x".to_owned(), ..key(1) }, board: board(CHAIN), before: None }.make(Some(&first));
    assert_eq!(narrowed.merged.boxes.len(), 2);
    let again = Source { key: key(2), board: board(CHAIN), before: None }.make(Some(&narrowed));
    assert_eq!(again.course.cards, first.course.cards);
}

#[test]
fn a_picture_with_one_more_service_moves_nobody_while_the_spread_is_kept() {
    let first = Source { key: key(1), board: board(CHAIN), before: None }.make(None);
    let mut more = CHAIN.to_vec();
    more.push(("c", "zz"));
    let second = Source { key: Key { room: None, ..key(2) }, board: board(&more), before: None }.make(Some(&first));
    for (card, b) in first.course.cards.iter().zip(&first.merged.boxes) {
        let now = second.merged.boxes.iter().position(|n| n.name == b.name).unwrap();
        assert_eq!(second.course.cards[now], *card, "{}", b.name);
    }
}

#[test]
fn figures_that_change_move_nothing() {
    use crate::testing;
    let ask = |seconds| {
        let range = fuseboard_api::TimeRange::ending(testing::NOW, std::time::Duration::from_secs(seconds));
        match testing::answer(testing::Scene::Trouble, &fuseboard_api::ask::Question::Board { range }) {
            fuseboard_api::ask::Answer::Board(board) => board,
            other => panic!("no board but {other:?}"),
        }
    };
    let first = Source { key: key(1), board: Arc::new(ask(60)), before: None }.make(None);
    let mut board = ask(60);
    for edge in &mut board.edges {
        edge.stats.calls = edge.stats.calls * 3 / 2;
    }
    let second = Source { key: key(2), board: Arc::new(board), before: None }.make(Some(&first));
    assert_eq!((&second.course, second.zoom), (&first.course, first.zoom));
    let centers = |s: &Scene| s.labels.iter().map(|l| l.map(|l| l.rect.center())).collect::<Vec<_>>();
    assert_eq!(centers(&second), centers(&first));
}

#[test]
fn nothing_stands_over_anything_at_any_size() {
    use crate::testing;
    let range = fuseboard_api::TimeRange::ending(testing::NOW, std::time::Duration::from_secs(60));
    let question = fuseboard_api::ask::Question::Board { range };
    for kind in [testing::Scene::Trouble, testing::Scene::Crowd(1), testing::Scene::Crowd(60)] {
        let fuseboard_api::ask::Answer::Board(board) = testing::answer(kind, &question) else { panic!("no board") };
        let board = Arc::new(board);
        for (room, grouping) in [
            (vec2(430.0, 300.0), Grouping::Services),
            (vec2(930.0, 560.0), Grouping::Services),
            (vec2(930.0, 560.0), Grouping::Operations),
            (vec2(2100.0, 1000.0), Grouping::Instances),
        ] {
            let key = Key { room: Some(room), grouping, ..key(1) };
            let scene = Source { key, board: board.clone(), before: None }.make(None);
            let switches = scene.course.wires.iter().filter_map(|w| w.switch);
            let solid: Vec<Rect> = scene.course.cards.iter().copied().chain(switches).collect();
            let labels: Vec<Rect> = scene.labels.iter().flatten().map(|l| l.rect).collect();
            for (i, a) in solid.iter().enumerate() {
                assert!(solid[i + 1..].iter().all(|b| !a.shrink(0.6).intersects(*b)), "{a:?} is covered in {room:?}");
                assert!(labels.iter().all(|l| !a.intersects(*l)), "a label covers {a:?} in {room:?}");
            }
            for (i, a) in labels.iter().enumerate() {
                assert!(labels[i + 1..].iter().all(|b| !a.intersects(*b)), "two labels at {a:?} in {room:?}");
            }
            let bounds = scene.course.bounds.expect("cards");
            assert!(bounds.width() * scene.zoom <= room.x + 1.0 && bounds.height() * scene.zoom <= room.y + 1.0);
        }
    }
}

#[test]
fn words_are_short_and_exact() {
    let scene = Source { key: key(1), board: board(&[("a", "b")]), before: None }.make(None);
    let words = &scene.words[0];
    assert_eq!((words.rate.as_str(), words.p95.as_str(), words.limit.as_str()), ("10/s", "p95 7.0", "2 s"));
    assert_eq!([limit_words(800), limit_words(1500), limit_words(60_000)], ["800 ms", "1,500 ms", "60 s"]);
    assert_eq!(
        ["shop.v1.Shop/Place", "POST /authorize", "publish"].map(short_operation),
        ["Place", "POST /authorize", "publish"]
    );
}
