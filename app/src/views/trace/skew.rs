//! Clocks of different hosts, brought together as far as causes and effects tell.
//!
//! A server cannot begin before its client did, nor begin after the client was done. Where a pair of hosts breaks that, the
//! callee's whole clock is moved: all calls from one host to the other give an interval of shifts that make sense, and its
//! middle is taken. What merely ends late is left alone, for work that goes on after its caller gave up looks the same.

use std::collections::HashMap;

use fuseboard_api::span::{Span, SpanKind};

use super::facts::{End, Facts};
use super::tree::Tree;

/// A server that seems to begin less than this before its client is within the noise of two clocks on one machine.
const TOLERANCE: i64 = 500_000;

/// A host whose clock was moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Moved {
    /// Its `service.name`.
    pub(crate) service: String,
    /// Its `service.instance.id`.
    pub(crate) instance: String,
    /// By how much, in nanoseconds; positive is later.
    pub(crate) nanos: i64,
}

/// What to add to the times of the spans.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Skew {
    /// For each span, in nanoseconds.
    pub(crate) shift: Vec<i64>,
    /// The hosts that were moved, by first appearance.
    pub(crate) moved: Vec<Moved>,
}

/// Finds the shifts.
pub(crate) fn correct(spans: &[Span], tree: &Tree, facts: &[Facts]) -> Skew {
    let mut hosts: HashMap<(&str, &str), usize> = HashMap::new();
    let mut first_span: Vec<usize> = Vec::new();
    let host: Vec<usize> = spans
        .iter()
        .enumerate()
        .map(|(i, s)| {
            *hosts.entry((&s.origin.service, &s.origin.instance)).or_insert_with(|| {
                first_span.push(i);
                first_span.len() - 1
            })
        })
        .collect();
    let pairs = constraints(spans, tree, facts, &host);
    let mut shift: Vec<Option<i64>> = vec![None; first_span.len()];
    // Parents stand before their children, so that a caller's clock is known before its callee's.
    for i in &tree.order {
        let (i, to) = (*i as usize, host[*i as usize]);
        if shift[to].is_some() {
            continue;
        }
        let from = tree.parent(i as u32).map(|p| host[p as usize]);
        let base = from.and_then(|f| shift[f]).unwrap_or(0);
        // What was read against a clock that is moved moves with it; without any call between them a clock is trusted.
        let pair = from.and_then(|f| pairs.get(&(f, to)));
        shift[to] = Some(pair.map_or(0, |p| base + p.shift()));
    }
    let shift: Vec<i64> = shift.into_iter().map(Option::unwrap_or_default).collect();
    let moved = shift.iter().zip(&first_span).filter(|(s, _)| **s != 0).map(|(s, i)| {
        let origin = &spans[*i].origin;
        Moved { service: origin.service.clone(), instance: origin.instance.clone(), nanos: *s }
    });
    Skew { moved: moved.collect(), shift: host.into_iter().map(|h| shift[h]).collect() }
}

/// What the calls between two hosts say about the callee's clock.
struct Pair {
    /// The shift is at least this: no server begins before its client.
    least: i64,
    /// The shift is at most this: every server ends before its client, or at least begins before the client's end.
    most: i64,
    /// The shift is at most this, or effects come before causes.
    latest_begin: i64,
}

impl Pair {
    fn shift(&self) -> i64 {
        if self.least <= TOLERANCE && self.latest_begin >= -TOLERANCE {
            return 0;
        }
        self.least + (self.most - self.least) / 2
    }
}

fn constraints(spans: &[Span], tree: &Tree, facts: &[Facts], host: &[usize]) -> HashMap<(usize, usize), Pair> {
    let mut pairs: HashMap<(usize, usize), Pair> = HashMap::new();
    for (i, child) in spans.iter().enumerate() {
        let Some(p) = tree.parent(i as u32) else { continue };
        let parent = &spans[p as usize];
        let call = parent.kind == SpanKind::Client && child.kind == SpanKind::Server;
        if !call || host[i] == host[p as usize] {
            continue;
        }
        let given_up = matches!(facts[p as usize].end, End::Timeout | End::Cancelled);
        let begin = parent.end.0.saturating_sub(child.start.0);
        let fits = child.duration_nanos() <= parent.duration_nanos() && !given_up;
        let most = if fits { parent.end.0.saturating_sub(child.end.0) } else { begin };
        let least = parent.start.0.saturating_sub(child.start.0);
        let pair = pairs.entry((host[p as usize], host[i])).or_insert(Pair { least, most, latest_begin: begin });
        pair.least = pair.least.max(least);
        pair.most = pair.most.min(most);
        pair.latest_begin = pair.latest_begin.min(begin);
    }
    pairs
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fuseboard_api::span::Origin;
    use fuseboard_api::{SpanId, UnixNanos};

    use super::*;

    const MS: i64 = 1_000_000;

    fn span(n: u8, parent: u8, host: &str, kind: SpanKind, from: i64, to: i64) -> Span {
        let id = |n: u8| SpanId([9, 0, 0, 0, 0, 0, 0, n]);
        Span {
            span_id: id(n),
            parent: (parent > 0).then(|| id(parent)),
            kind,
            start: UnixNanos(from * MS),
            end: UnixNanos(to * MS),
            origin: Arc::new(Origin { service: host.to_owned(), instance: format!("{host}-1"), ..Origin::default() }),
            ..Span::default()
        }
    }

    fn shifts(spans: &[Span]) -> Vec<i64> {
        let facts: Vec<Facts> = spans.iter().map(Facts::of).collect();
        correct(spans, &Tree::new(spans), &facts).shift.iter().map(|s| s / MS).collect()
    }

    #[test]
    fn clocks_that_agree_are_left_alone() {
        let spans = [
            span(1, 0, "a", SpanKind::Client, 0, 100),
            span(2, 1, "b", SpanKind::Server, 10, 90),
            span(3, 2, "b", SpanKind::Client, 20, 30),
        ];
        assert_eq!(shifts(&spans), [0, 0, 0]);
    }

    #[test]
    fn a_callee_that_begins_before_its_caller_is_moved_with_all_its_spans() {
        let spans = [
            span(1, 0, "a", SpanKind::Client, 1000, 1100),
            span(2, 1, "b", SpanKind::Server, 500, 580),
            span(3, 2, "b", SpanKind::Internal, 520, 560),
        ];
        // Between 500 (begin together) and 520 (end together).
        assert_eq!(shifts(&spans), [0, 510, 510]);
    }

    #[test]
    fn a_callee_that_begins_after_its_caller_ended_is_moved_back() {
        let spans = [span(1, 0, "a", SpanKind::Client, 0, 100), span(2, 1, "b", SpanKind::Server, 400, 480)];
        assert_eq!(shifts(&spans), [0, -390]);
    }

    #[test]
    fn work_that_goes_on_after_a_timeout_is_no_skew() {
        let mut client = span(1, 0, "a", SpanKind::Client, 0, 800);
        client.attributes.push((fuseboard_policy::names::OUTCOME.to_owned(), "timeout".into()));
        let spans = [client, span(2, 1, "b", SpanKind::Server, 5, 1500)];
        assert_eq!(shifts(&spans), [0, 0]);
    }

    #[test]
    fn all_calls_between_two_hosts_narrow_the_shift() {
        let spans = [
            span(1, 0, "a", SpanKind::Client, 1000, 1100),
            span(2, 1, "b", SpanKind::Server, 0, 20),
            span(3, 0, "a", SpanKind::Client, 2000, 2012),
            span(4, 3, "b", SpanKind::Server, 1000, 1010),
        ];
        // The second, tighter call allows 1000…1002 only.
        assert_eq!(shifts(&spans), [0, 1001, 0, 1001]);
    }

    #[test]
    fn a_clock_that_agrees_with_a_moved_one_moves_along() {
        let spans = [
            span(1, 0, "a", SpanKind::Client, 1000, 1100),
            span(2, 1, "b", SpanKind::Server, 0, 80),
            span(3, 2, "b", SpanKind::Client, 10, 70),
            span(4, 3, "c", SpanKind::Server, 20, 60),
        ];
        assert_eq!(shifts(&spans), [0, 1010, 1010, 1010]);
    }

    #[test]
    fn a_moved_clock_moves_the_clocks_that_were_read_against_it() {
        let spans = [
            span(1, 0, "a", SpanKind::Client, 1000, 1100),
            span(2, 1, "b", SpanKind::Server, 0, 80),
            span(3, 2, "b", SpanKind::Client, 10, 70),
            span(4, 3, "c", SpanKind::Server, 3000, 3040),
        ];
        // b by 1000…1020, c against b by −2990…−2970.
        assert_eq!(shifts(&spans), [0, 1010, 1010, 1010 - 2980]);
    }
}
