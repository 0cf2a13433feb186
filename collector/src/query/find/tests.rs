//! Searches held against plain ones over whole spans.

mod naive;
mod world;

use fuseboard_api::filter::{Expr, parse};
use fuseboard_api::trace::{Position, TraceRow};
use fuseboard_api::{TimeRange, UnixNanos};
use proptest::prelude::*;

use self::naive::Naive;
use self::world::{World, world};
use super::{Cancel, Scope, spans, traces};

/// Terms about what [`world`] makes.
const TERMS: &[&str] = &[
    "service=a",
    "service!=a",
    "service~\"[bc]\"",
    "name=x",
    "name=\"op y\"",
    "name=op*",
    "kind=server",
    "kind!=client",
    "status=error",
    "message~bad",
    "missing:message",
    "duration>10ns",
    "duration<=10ns",
    "has:parent",
    "peer=q",
    "peer!=q",
    "k=1",
    "k=1.0",
    "k=\"1\"",
    "k!=1",
    "k>0",
    "k~\"^1\"",
    "has:k",
    "missing:j",
    "j=true",
    "j=t*",
    "list=\"[1, 2]\"",
    "host=h1",
    "span.host=h1",
    "resource.host=h1",
    "has:resource.host",
    "exception.type=E",
    "exception.type!=E",
    "event.exception.type=E",
    "has:event.exception.type",
    "event=boom",
    "has:event",
    "has:link",
    "boom",
    "OP",
    "1",
    "version=1",
    "missing:version",
    "edge=a>b",
    "edge=*>q",
    "edge=clients>a",
    "edge=q>*",
    "root.service=a",
    "root.name=x",
    "trace.spans>2",
    "trace.errors>0",
    "trace.duration>12ns",
    "{service=b}",
    "{service=b status=error}",
    "{edge=a>b k=1}",
    "-{name=x}",
];

fn filter() -> impl Strategy<Value = String> {
    let term = prop::sample::select(TERMS).prop_map(str::to_owned);
    term.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            2 => prop::collection::vec(inner.clone(), 2..3).prop_map(|parts| parts.join(" ")),
            1 => prop::collection::vec(inner.clone(), 2..3).prop_map(|parts| format!("({})", parts.join(" or "))),
            1 => inner.clone().prop_map(|part| format!("-({part})")),
            1 => inner.prop_map(|part| format!("{{{part}}}")),
        ]
    })
}

fn expr(filter: &str) -> Expr {
    parse(filter).expect("a filter").expr
}

fn range(from: i64, to: i64) -> TimeRange {
    TimeRange { from: UnixNanos(from), to: UnixNanos(to) }
}

/// All pages, read to the end.
fn pages<T>(scope: Scope, mut page: impl FnMut(Scope) -> (Vec<T>, Option<Position>)) -> Vec<T> {
    let (mut all, mut before) = (Vec::new(), None);
    for _ in 0..1000 {
        let (found, next) = page(Scope { before, ..scope });
        all.extend(found);
        let Some(next) = next else { return all };
        assert!(before.is_none_or(|before| next < before), "every page comes on");
        before = Some(next);
    }
    panic!("the pages never end");
}

fn all_spans(world: &World, expr: &Expr, scope: Scope, limit: usize) -> Vec<Position> {
    pages(scope, |scope| {
        let list = spans(world, expr, scope, limit, &Cancel::default()).expect("sound segments");
        assert_eq!(list.more, list.next.is_some());
        let places = list.spans.iter().map(|s| Position { start: s.start, trace_id: s.trace_id, span_id: s.span_id });
        (places.collect(), list.next)
    })
}

fn all_traces(world: &World, expr: &Expr, scope: Scope, limit: usize) -> Vec<TraceRow> {
    pages(scope, |scope| {
        let list = traces(world, expr, scope, limit, &Cancel::default()).expect("sound segments");
        assert!(list.rows.len() <= limit);
        (list.rows, list.next)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Columns and whole spans agree, as of any instant, however the spans are spread over segments, and pages of any size
    /// together hold each span and each trace once.
    #[test]
    fn searches_find_what_plain_ones_find(
        world in world(),
        filter in filter(),
        (from, length) in (0i64..80, 1i64..80),
        as_of in 1i64..6,
        limit in 1usize..5,
        budget in prop::sample::select(vec![1u64, 10, 1_000_000]),
    ) {
        let expr = expr(&filter);
        let scope = Scope { budget, ..Scope::new(range(from, from + length), UnixNanos(as_of)) };
        let naive = Naive::new(&world, scope);
        prop_assert_eq!(all_spans(&world, &expr, scope, limit), naive.spans(&expr), "spans of {}", filter);
        prop_assert_eq!(all_traces(&world, &expr, scope, limit), naive.traces(&expr), "traces of {}", filter);
    }

    /// Only what arrived in between is told of.
    #[test]
    fn what_arrives_later_is_told_apart(world in world(), filter in filter(), (after, as_of) in (0i64..6, 0i64..6)) {
        let expr = expr(&filter);
        let whole = Scope::new(range(0, 1000), UnixNanos(as_of));
        let scope = Scope { after: Some(UnixNanos(after)), ..whole };
        let naive = Naive::new(&world, scope);
        prop_assert_eq!(all_spans(&world, &expr, scope, 100), naive.spans(&expr), "spans of {}", filter);
    }
}

#[test]
fn a_search_that_nobody_waits_for_stops() {
    let world = World::plain(40);
    let cancel = Cancel::default();
    drop(cancel.on_drop());
    let scope = Scope::new(range(0, 1000), UnixNanos(9));
    let list = spans(&world, &Expr::Any, scope, 10, &cancel).expect("sound segments");
    assert!(list.spans.is_empty() && list.more);
    assert_eq!(list.searched.segments_examined, 0);
    assert!(list.searched.segments > 1);
}

#[test]
fn a_full_page_reads_no_further() {
    let world = World::plain(40);
    let scope = Scope::new(range(0, 1000), UnixNanos(9));
    let list = spans(&world, &Expr::Any, scope, 1, &Cancel::default()).expect("sound segments");
    assert_eq!(list.spans.len(), 1);
    assert!(world.read.get() < 5, "{} of 40 segments", world.read.get());
    world.read.set(0);
    let none = spans(&world, &expr("service=nobody"), scope, 1, &Cancel::default()).expect("sound segments");
    assert_eq!((world.read.get(), none.more), (0, false), "figures alone say that nothing fits");
}
