//! The critical path: which span's own work the end of the trace waited for, at every instant.
//!
//! Walked backward from the end: inside a span the child that ended last before the instant looked at was waited for, from its
//! end on the span itself worked. A child that outlives its parent is followed only up to the parent's end, because there
//! the parent stopped waiting (a timeout), unless the child took a message from a queue: nobody waits for those, so they count
//! only when the path to the very last span is asked for, and the time in the queue then counts as such.

use super::tree::Tree;

/// Two children that overlap by less than one part in so many of their parent count as one after the other: clocks and
/// measuring blur what was a sequence.
const SLACK: i64 = 100;

/// Where the path ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Until {
    /// At the end of the root span: what the caller waited for.
    #[default]
    Answer,
    /// At the end of the last span that a queue set going.
    LastSpan,
}

/// A stretch of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Whose.
    pub(crate) span: u32,
    /// From when, in nanoseconds.
    pub(crate) from: i64,
    /// Until when.
    pub(crate) to: i64,
    /// Whether this is time that the span's message spent in a queue, before the span began.
    pub(crate) queued: bool,
}

/// The path of the tree under `root`, earliest first. `times` are (begin, end) of every span; `detached` tells spans that
/// nobody waits for.
pub(crate) fn path(
    tree: &Tree,
    root: u32,
    times: &dyn Fn(u32) -> (i64, i64),
    detached: &dyn Fn(u32) -> bool,
    until: Until,
) -> Vec<Segment> {
    let ends = Ends::new(tree, times, detached, until);
    let mut segments = Vec::new();
    let mut stack = vec![Visit::new(tree, root, ends.of(root), &ends)];
    while let Some(top) = stack.last_mut() {
        let (begin, end) = times(top.span);
        let next = top.children.get(top.next).copied();
        top.next += 1;
        match next {
            Some((child_end, child))
                if child_end <= top.at + (end - begin) / SLACK && child_end.min(top.at) > begin =>
            {
                let child_end = child_end.min(top.at);
                own(&mut segments, top.span, child_end, top.at.min(end));
                let child_begin = times(child).0;
                let queued =
                    (child_begin > end).then_some(Segment { span: child, from: end, to: child_begin, queued: true });
                top.at = if queued.is_some() { end } else { child_begin.max(begin) };
                stack.push(Visit { queued, ..Visit::new(tree, child, child_end, &ends) });
            }
            Some(_) => {}
            None => {
                own(&mut segments, top.span, begin, top.at.min(end));
                segments.extend(top.queued.take());
                stack.pop();
            }
        }
    }
    segments.reverse();
    segments
}

fn own(segments: &mut Vec<Segment>, span: u32, from: i64, to: i64) {
    if to > from {
        segments.push(Segment { span, from, to, queued: false });
    }
}

/// A span that the walk is in.
struct Visit {
    span: u32,
    /// The walk has come back to this instant.
    at: i64,
    /// (end as it counts, child), latest first.
    children: Vec<(i64, u32)>,
    next: usize,
    /// The wait in a queue before this span.
    queued: Option<Segment>,
}

impl Visit {
    fn new(tree: &Tree, span: u32, at: i64, ends: &Ends<'_>) -> Self {
        let children = tree.children(span).iter();
        let mut children: Vec<(i64, u32)> = children.filter_map(|c| Some((ends.in_parent(*c, span)?, *c))).collect();
        children.sort_by_key(|c| std::cmp::Reverse(*c));
        Self { span, at, children, next: 0, queued: None }
    }
}

/// When spans end, as the path counts it.
struct Ends<'a> {
    times: &'a dyn Fn(u32) -> (i64, i64),
    detached: &'a dyn Fn(u32) -> bool,
    /// For each span the end of the last detached span below it; `i64::MIN` without one, and where only the answer counts.
    below: Vec<i64>,
}

impl<'a> Ends<'a> {
    fn new(tree: &Tree, times: &'a dyn Fn(u32) -> (i64, i64), detached: &'a dyn Fn(u32) -> bool, until: Until) -> Self {
        let mut below = vec![i64::MIN; tree.order.len()];
        if until == Until::LastSpan {
            for span in tree.order.iter().rev() {
                let mut last = below[*span as usize];
                if detached(*span) {
                    last = last.max(times(*span).1);
                }
                if let Some(p) = tree.parent(*span) {
                    let up = &mut below[p as usize];
                    *up = (*up).max(last);
                }
            }
        }
        Self { times, detached, below }
    }

    fn of(&self, span: u32) -> i64 {
        (self.times)(span).1.max(self.below[span as usize])
    }

    /// The end of a child as its parent's path counts it; `None` when it does not count.
    fn in_parent(&self, child: u32, parent: u32) -> Option<i64> {
        let ((begin, end), parent_end) = ((self.times)(child), (self.times)(parent).1);
        let below = self.below[child as usize];
        if (self.detached)(child) {
            return (self.below[parent as usize] > i64::MIN).then_some(end.max(below));
        }
        match below {
            i64::MIN if begin >= parent_end && end > begin => None,
            i64::MIN => Some(end.min(parent_end)),
            below => Some(end.min(parent_end).max(below)),
        }
    }
}

#[cfg(test)]
mod tests {
    use fuseboard_api::span::Span;
    use fuseboard_api::{SpanId, UnixNanos};

    use super::*;

    /// (parent's index + 1 or 0, begin, end, detached)
    type Row = (u8, i64, i64, bool);

    fn walk(rows: &[Row], until: Until) -> Vec<(u32, i64, i64)> {
        let id = |n: u8| SpanId([7, 0, 0, 0, 0, 0, 0, n]);
        let spans: Vec<Span> = rows
            .iter()
            .zip(1_u8..)
            .map(|(r, n)| Span {
                span_id: id(n),
                parent: (r.0 > 0).then(|| id(r.0)),
                start: UnixNanos(r.1),
                end: UnixNanos(r.2),
                ..Span::default()
            })
            .collect();
        let tree = Tree::new(&spans);
        let times = |i: u32| (rows[i as usize].1, rows[i as usize].2);
        let detached = |i: u32| rows[i as usize].3;
        let found = path(&tree, 0, &times, &detached, until);
        for pair in found.windows(2) {
            assert!(pair[0].to <= pair[1].from, "segments overlap: {found:?}");
        }
        found.iter().map(|s| (s.span, s.from, s.to)).collect()
    }

    #[test]
    fn a_span_alone_is_its_own_path() {
        assert_eq!(walk(&[(0, 0, 100, false)], Until::Answer), [(0, 0, 100)]);
    }

    #[test]
    fn children_one_after_the_other_are_all_on_it() {
        let rows = [(0, 0, 100, false), (1, 10, 30, false), (1, 40, 90, false)];
        assert_eq!(walk(&rows, Until::Answer), [(0, 0, 10), (1, 10, 30), (0, 30, 40), (2, 40, 90), (0, 90, 100)]);
    }

    #[test]
    fn of_children_side_by_side_only_the_last_to_end_is_on_it() {
        let rows = [(0, 0, 100, false), (1, 10, 60, false), (1, 10, 90, false)];
        assert_eq!(walk(&rows, Until::Answer), [(0, 0, 10), (2, 10, 90), (0, 90, 100)]);
    }

    #[test]
    fn what_ended_before_the_last_one_began_was_waited_for_too() {
        let rows = [(0, 0, 100, false), (1, 5, 45, false), (1, 10, 40, false), (1, 50, 95, false)];
        assert_eq!(walk(&rows, Until::Answer), [(0, 0, 5), (1, 5, 45), (0, 45, 50), (3, 50, 95), (0, 95, 100)]);
    }

    #[test]
    fn calls_that_overlap_by_a_hair_were_made_one_after_the_other() {
        let rows = [(0, 0, 1000, false), (1, 10, 210, false), (1, 209, 309, false), (1, 308, 608, false)];
        let found = walk(&rows, Until::Answer);
        assert_eq!(found, [(0, 0, 10), (1, 10, 209), (2, 209, 308), (3, 308, 608), (0, 608, 1000)]);
    }

    #[test]
    fn it_goes_down_to_the_grandchildren() {
        let rows = [(0, 0, 100, false), (1, 10, 90, false), (2, 20, 80, false)];
        assert_eq!(walk(&rows, Until::Answer), [(0, 0, 10), (1, 10, 20), (2, 20, 80), (1, 80, 90), (0, 90, 100)]);
    }

    #[test]
    fn work_after_a_timeout_is_followed_up_to_the_timeout() {
        let rows = [(0, 0, 100, false), (1, 10, 80, false), (2, 12, 150, false)];
        assert_eq!(walk(&rows, Until::Answer), [(0, 0, 10), (1, 10, 12), (2, 12, 80), (0, 80, 100)]);
    }

    #[test]
    fn a_child_that_began_after_its_parent_ended_does_not_count() {
        let rows = [(0, 0, 100, false), (1, 120, 150, false)];
        assert_eq!(walk(&rows, Until::Answer), [(0, 0, 100)]);
    }

    #[test]
    fn nobody_waits_for_a_consumer() {
        let rows = [(0, 0, 100, false), (1, 40, 50, false), (2, 45, 400, true)];
        assert_eq!(walk(&rows, Until::Answer), [(0, 0, 40), (1, 40, 50), (0, 50, 100)]);
    }

    #[test]
    fn to_the_last_span_it_goes_through_the_queue() {
        let rows = [(0, 0, 100, false), (1, 40, 50, false), (2, 300, 400, true), (3, 320, 380, false)];
        let spans = walk(&rows, Until::LastSpan);
        assert_eq!(spans, [(0, 0, 40), (1, 40, 50), (2, 50, 300), (2, 300, 320), (3, 320, 380), (2, 380, 400)]);
    }

    #[test]
    fn children_without_length_do_no_harm() {
        let rows = [(0, 0, 10, false), (1, 10, 10, false), (1, 5, 5, false), (1, 0, 0, false)];
        assert_eq!(walk(&rows, Until::Answer), [(0, 0, 5), (0, 5, 10)]);
    }

    #[test]
    fn the_path_fills_the_root_without_gaps() {
        let rows: Vec<Row> = (0..200_i64)
            .map(|i| {
                if i == 0 {
                    (0, 0, 10_000, false)
                } else {
                    ((i / 3) as u8 + 1, i * 37 % 9000, i * 37 % 9000 + i * 11, false)
                }
            })
            .map(|(p, b, e, d)| (if p as usize > 199 { 1 } else { p }, b, e, d))
            .collect();
        let found = walk(&rows, Until::Answer);
        assert_eq!(found.iter().map(|(_, from, to)| to - from).sum::<i64>(), 10_000);
    }
}
