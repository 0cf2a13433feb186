//! The tree of a trace, from spans in whatever order and state they came: parents that are missing, ids that occur twice,
//! parents that go round in a circle. Every span is in the tree exactly once.

use std::collections::HashMap;

use fuseboard_api::SpanId;
use fuseboard_api::span::{Span, SpanKind};

/// No span.
pub(crate) const NONE: u32 = u32::MAX;

/// How a span hangs in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Hold {
    /// It has no parent and wants none.
    #[default]
    Root,
    /// Under its parent.
    Child,
    /// Under the span that one of its links names, having no parent in this trace: a consumer under its producer.
    Link,
    /// On its own, because its parent has not come.
    Orphan,
    /// On its own, because following parents from it comes back to it.
    Cycle,
}

/// The tree; spans are indices into the slice it was built from.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Tree {
    /// Of each span; [`NONE`] for roots.
    pub(crate) parent: Vec<u32>,
    /// Of each span.
    pub(crate) hold: Vec<Hold>,
    /// Spans without a parent in the tree, by start.
    pub(crate) roots: Vec<u32>,
    /// All spans, parents before their children, children by start.
    pub(crate) order: Vec<u32>,
    /// Steps to the root, in the sequence of `order`.
    pub(crate) depth: Vec<u32>,
    /// For each place in `order`, the first place after the subtree that begins there.
    pub(crate) after: Vec<u32>,
    first: Vec<u32>,
    children: Vec<u32>,
}

impl Tree {
    /// Builds the tree.
    pub(crate) fn new(spans: &[Span]) -> Self {
        let (mut parent, mut hold) = parents(spans);
        cut_cycles(spans, &mut parent, &mut hold);
        let (first, children) = by_parent(spans, &parent);
        let mut roots: Vec<u32> = (0..spans.len() as u32).filter(|i| parent[*i as usize] == NONE).collect();
        roots.sort_by_key(|i| when(&spans[*i as usize], *i));
        let mut tree = Self { parent, hold, roots, first, children, ..Self::default() };
        tree.walk();
        tree
    }

    /// The children of a span, by start.
    pub(crate) fn children(&self, span: u32) -> &[u32] {
        let i = span as usize;
        &self.children[self.first[i] as usize..self.first[i + 1] as usize]
    }

    /// The parent of a span.
    pub(crate) fn parent(&self, span: u32) -> Option<u32> {
        Some(self.parent[span as usize]).filter(|p| *p != NONE)
    }

    fn walk(&mut self) {
        let n = self.parent.len();
        self.order = Vec::with_capacity(n);
        self.depth = Vec::with_capacity(n);
        self.after = vec![0; n];
        enum Step {
            Enter(u32, u32),
            Leave(u32),
        }
        let mut stack: Vec<Step> = self.roots.iter().rev().map(|r| Step::Enter(*r, 0)).collect();
        while let Some(step) = stack.pop() {
            match step {
                Step::Enter(span, depth) => {
                    stack.push(Step::Leave(self.order.len() as u32));
                    self.order.push(span);
                    self.depth.push(depth);
                    let (from, to) = (self.first[span as usize] as usize, self.first[span as usize + 1] as usize);
                    stack.extend(self.children[from..to].iter().rev().map(|c| Step::Enter(*c, depth + 1)));
                }
                Step::Leave(place) => self.after[place as usize] = self.order.len() as u32,
            }
        }
    }
}

fn when(span: &Span, index: u32) -> (i64, i64, u32) {
    (span.start.0, -span.end.0.saturating_sub(span.start.0), index)
}

fn asks(kind: SpanKind) -> bool {
    matches!(kind, SpanKind::Client | SpanKind::Producer)
}

fn answers(kind: SpanKind) -> bool {
    matches!(kind, SpanKind::Server | SpanKind::Consumer)
}

/// The parent that each span names, where it came.
fn parents(spans: &[Span]) -> (Vec<u32>, Vec<Hold>) {
    // Some senders give both sides of a call one id: the asking side is then the parent of the answering one, and whoever
    // names the id as parent means the answering side.
    let mut asking: HashMap<SpanId, u32> = HashMap::with_capacity(spans.len());
    let mut owner: HashMap<SpanId, u32> = HashMap::with_capacity(spans.len());
    for (i, span) in spans.iter().enumerate() {
        let i = i as u32;
        if asks(span.kind) {
            asking.entry(span.span_id).or_insert(i);
        }
        owner
            .entry(span.span_id)
            .and_modify(|o| {
                if answers(span.kind) && asks(spans[*o as usize].kind) {
                    *o = i;
                }
            })
            .or_insert(i);
    }
    let mut parent = vec![NONE; spans.len()];
    let mut hold = vec![Hold::Root; spans.len()];
    for (i, span) in spans.iter().enumerate() {
        let me = i as u32;
        let shared = asking.get(&span.span_id).copied().filter(|a| *a != me && answers(span.kind));
        let named = || span.parent.and_then(|p| owner.get(&p).copied()).filter(|p| *p != me);
        let linked = || {
            let mine = span.links.iter().filter(|l| l.trace_id == span.trace_id && l.span_id != span.span_id);
            mine.filter_map(|l| owner.get(&l.span_id).copied()).find(|p| *p != me)
        };
        (parent[i], hold[i]) = match shared.or_else(named) {
            Some(p) => (p, Hold::Child),
            None => match linked() {
                Some(p) => (p, Hold::Link),
                None if span.parent.is_none() => (NONE, Hold::Root),
                None if span.parent == Some(span.span_id) => (NONE, Hold::Cycle),
                None => (NONE, Hold::Orphan),
            },
        };
    }
    (parent, hold)
}

/// Makes the earliest span of every circle of parents a root.
fn cut_cycles(spans: &[Span], parent: &mut [u32], hold: &mut [Hold]) {
    // 0: not looked at; others: the walk that came by.
    let mut seen = vec![0_u32; parent.len()];
    for start in 0..parent.len() {
        let walk = start as u32 + 1;
        let mut at = start as u32;
        while at != NONE && seen[at as usize] == 0 {
            seen[at as usize] = walk;
            at = parent[at as usize];
        }
        if at == NONE || seen[at as usize] != walk {
            continue;
        }
        let (mut earliest, mut on) = (at, parent[at as usize]);
        while on != at {
            if when(&spans[on as usize], on) < when(&spans[earliest as usize], earliest) {
                earliest = on;
            }
            on = parent[on as usize];
        }
        parent[earliest as usize] = NONE;
        hold[earliest as usize] = Hold::Cycle;
    }
}

/// Children of all spans in one list, with the place where each span's begin.
fn by_parent(spans: &[Span], parent: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let n = parent.len();
    let mut first = vec![0_u32; n + 1];
    for p in parent.iter().filter(|p| **p != NONE) {
        first[*p as usize + 1] += 1;
    }
    for i in 0..n {
        first[i + 1] += first[i];
    }
    let mut next = first.clone();
    let mut children = vec![0_u32; first[n] as usize];
    for (i, p) in parent.iter().enumerate().filter(|(_, p)| **p != NONE) {
        let at = &mut next[*p as usize];
        children[*at as usize] = i as u32;
        *at += 1;
    }
    for i in 0..n {
        children[first[i] as usize..first[i + 1] as usize].sort_by_key(|c| when(&spans[*c as usize], *c));
    }
    (first, children)
}

#[cfg(test)]
mod tests {
    use fuseboard_api::span::SpanLink;
    use fuseboard_api::{TraceId, UnixNanos};

    use super::*;

    fn id(n: u8) -> SpanId {
        SpanId([0, 0, 0, 0, 0, 0, 0, n])
    }

    fn span(n: u8, parent: u8, start: i64) -> Span {
        Span {
            trace_id: TraceId([1; 16]),
            span_id: id(n),
            parent: (parent != 0).then(|| id(parent)),
            start: UnixNanos(start),
            end: UnixNanos(start + 10),
            ..Span::default()
        }
    }

    fn shape(tree: &Tree) -> Vec<(u32, u32)> {
        tree.order.iter().copied().zip(tree.depth.iter().copied()).collect()
    }

    #[test]
    fn spans_in_any_order_give_one_tree() {
        let tree = Tree::new(&[span(3, 2, 30), span(4, 1, 5), span(1, 0, 0), span(2, 1, 20)]);
        assert_eq!(shape(&tree), [(2, 0), (1, 1), (3, 1), (0, 2)]);
        assert_eq!(tree.after, [4, 2, 4, 4]);
        assert_eq!(tree.children(2), [1, 3]);
    }

    #[test]
    fn a_span_whose_parent_is_missing_stands_alone_and_says_so() {
        let tree = Tree::new(&[span(1, 0, 0), span(2, 9, 5), span(3, 2, 6)]);
        assert_eq!(tree.roots, [0, 1]);
        assert_eq!(tree.hold, [Hold::Root, Hold::Orphan, Hold::Child]);
        assert_eq!(shape(&tree), [(0, 0), (1, 0), (2, 1)]);
    }

    #[test]
    fn parents_in_a_circle_begin_at_the_earliest() {
        let tree = Tree::new(&[span(1, 3, 10), span(2, 1, 5), span(3, 2, 20), span(4, 3, 30), span(5, 5, 40)]);
        assert_eq!(tree.roots, [1, 4]);
        assert_eq!((tree.hold[1], tree.hold[4]), (Hold::Cycle, Hold::Cycle));
        assert_eq!(tree.order.len(), 5, "every span once");
        assert_eq!(shape(&tree)[..4], [(1, 0), (2, 1), (0, 2), (3, 2)]);
    }

    #[test]
    fn both_sides_of_a_call_may_share_an_id() {
        let with = |mut s: Span, kind| {
            s.kind = kind;
            s
        };
        let tree = Tree::new(&[
            with(span(1, 0, 0), SpanKind::Client),
            with(span(1, 0, 2), SpanKind::Server),
            with(span(2, 1, 4), SpanKind::Client),
        ]);
        assert_eq!(shape(&tree), [(0, 0), (1, 1), (2, 2)]);
    }

    #[test]
    fn an_id_sent_twice_keeps_both_and_children_go_to_the_first() {
        let tree = Tree::new(&[span(1, 0, 0), span(1, 0, 0), span(2, 1, 4)]);
        assert_eq!(tree.roots, [0, 1]);
        assert_eq!(tree.children(0), [2]);
    }

    #[test]
    fn a_consumer_hangs_under_the_producer_that_it_links_to() {
        let mut consumer = span(3, 0, 50);
        consumer.links.push(SpanLink { trace_id: TraceId([1; 16]), span_id: id(2), ..SpanLink::default() });
        let tree = Tree::new(&[span(1, 0, 0), span(2, 1, 5), consumer]);
        assert_eq!(shape(&tree), [(0, 0), (1, 1), (2, 2)]);
        assert_eq!(tree.hold[2], Hold::Link);
    }

    #[test]
    fn a_chain_of_many_thousands_needs_no_deep_stack() {
        let mut spans: Vec<Span> = (0..50_000_u32)
            .map(|i| {
                let id = |n: u32| SpanId((u64::from(n) + 1).to_be_bytes());
                Span {
                    span_id: id(i),
                    parent: (i > 0).then(|| id(i - 1)),
                    start: UnixNanos(i.into()),
                    ..Span::default()
                }
            })
            .collect();
        spans.reverse();
        let tree = Tree::new(&spans);
        assert_eq!((tree.roots.len(), tree.depth.last().copied()), (1, Some(49_999)));
        assert_eq!(Tree::new(&[]), Tree { first: vec![0], ..Tree::default() });
    }
}
