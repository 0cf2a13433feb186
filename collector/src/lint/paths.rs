//! The ways that calls really take, from a bounded sample of traces.

use std::collections::{BTreeMap, HashMap, HashSet};

use fuseboard_api::attr::AttrValue;
use fuseboard_api::graph::EdgeKey;
use fuseboard_api::span::{Span, SpanKind};
use fuseboard_api::{SpanId, TimeRange, UnixNanos};
use fuseboard_policy::names;

use super::facts::EdgeFacts;
use crate::query::{Origins, newest_traces, spans_of};
use crate::store::{Snapshot, StoreError};

/// The range is cut into so many parts…
const PARTS: i64 = 8;
/// …and of each so many of the newest traces are followed.
const EACH: usize = 10;
/// A trace of more spans is not followed.
const SPANS: usize = 5_000;
/// So many edges deep a path is followed.
const DEEP: usize = 32;
/// So many distinct paths are kept.
const KEPT: usize = 2_000;

/// Two edges one behind the other: a call over the second was made while one over the first was answered.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Pair {
    /// How often that was seen.
    pub(super) seen: u64,
    /// How often the second call had no deadline at all when it began.
    pub(super) unbounded: u64,
    /// The most that a deadline left to the second call when it began, in milliseconds.
    pub(super) left_ms: f64,
}

/// Edges by their position in the facts.
pub(super) type Path = Vec<usize>;

/// What the sample tells.
#[derive(Debug, Default)]
pub(super) struct Paths {
    /// Traces that were followed.
    pub(super) traces: u32,
    /// Paths from the outermost caller to the last callee, with how often each was seen.
    pub(super) whole: BTreeMap<Path, u64>,
    /// Neighbours on those.
    pub(super) pairs: BTreeMap<(usize, usize), Pair>,
}

impl Paths {
    /// Follows the traces of a sample.
    ///
    /// # Errors
    /// What the store says.
    pub(super) fn gather(
        read: &Snapshot<'_>,
        edges: &[EdgeFacts],
        range: TimeRange,
        as_of: UnixNanos,
    ) -> Result<Self, StoreError> {
        let known: HashMap<&EdgeKey, usize> = edges.iter().enumerate().map(|(at, edge)| (&edge.key, at)).collect();
        let mut out = Self::default();
        let mut origins = Origins::default();
        let mut followed = HashSet::new();
        // Where most of the range is empty, the newest of all of it make up for that.
        for (part, each) in parts(range).map(|part| (part, EACH)).chain([(range, EACH * PARTS as usize)]) {
            for trace in newest_traces(read, part, each, as_of)? {
                if followed.len() >= EACH * PARTS as usize || !followed.insert(trace) {
                    continue;
                }
                let spans = spans_of(read, trace, as_of, &mut origins)?;
                if spans.len() <= SPANS {
                    out.follow(&spans, &known);
                    out.traces += 1;
                }
            }
        }
        Ok(out)
    }

    /// The longest path seen through two neighbours.
    pub(super) fn longest_through(&self, first: usize, second: usize) -> Option<&Path> {
        let through = |path: &&Path| path.windows(2).any(|two| two == [first, second]);
        self.whole.keys().filter(through).max_by_key(|path| path.len())
    }

    fn follow(&mut self, spans: &[Span], known: &HashMap<&EdgeKey, usize>) {
        let by_id: HashMap<SpanId, &Span> = spans.iter().map(|s| (s.span_id, s)).collect();
        let served = answers(spans, &by_id);
        let mut calls: HashMap<SpanId, usize> = HashMap::new();
        for span in spans.iter().filter(|s| is_call(s)) {
            let answer = served.get(&span.span_id).copied();
            if let Some(at) = edge_of(span, answer).and_then(|key| known.get(&key)) {
                calls.insert(span.span_id, *at);
            }
        }
        let mut above: Vec<SpanId> = Vec::new();
        for (id, at) in &calls {
            let Some(span) = by_id.get(id) else { continue };
            let chain = chain(span, &by_id, &calls);
            above.extend(chain.iter().map(|(id, _)| *id));
            if let Some((_, first)) = chain.last() {
                self.pair((*first, *at), span);
            }
        }
        for (id, at) in &calls {
            let Some(span) = by_id.get(id).filter(|_| !above.contains(id)) else { continue };
            let mut path: Path = chain(span, &by_id, &calls).into_iter().map(|(_, at)| at).collect();
            path.push(*at);
            if self.whole.len() < KEPT || self.whole.contains_key(&path) {
                *self.whole.entry(path).or_default() += 1;
            }
        }
    }

    fn pair(&mut self, edges: (usize, usize), second: &Span) {
        let pair = self.pairs.entry(edges).or_default();
        pair.seen += 1;
        match second.attr(names::DEADLINE_LEFT_MS).and_then(number) {
            Some(left) => pair.left_ms = pair.left_ms.max(left),
            None => pair.unbounded += 1,
        }
    }
}

fn parts(range: TimeRange) -> impl Iterator<Item = TimeRange> {
    let length = (range.to.0.saturating_sub(range.from.0) / PARTS).max(1);
    (0..PARTS).map(move |part| {
        let from = UnixNanos(range.from.0.saturating_add(length.saturating_mul(part)));
        TimeRange { from, to: UnixNanos(from.0.saturating_add(length)) }
    })
}

/// A call as its caller made it; its attempts are parts of it.
fn is_call(span: &Span) -> bool {
    let call = span.attr(names::CALL).is_some();
    span.kind == SpanKind::Client && (call || span.attr(names::ATTEMPT).is_none())
}

/// Which span answered each call: the server's span below it or below one of its attempts.
fn answers<'a>(spans: &'a [Span], by_id: &HashMap<SpanId, &'a Span>) -> HashMap<SpanId, &'a Span> {
    let mut out = HashMap::new();
    for span in spans.iter().filter(|s| s.kind == SpanKind::Server) {
        let Some(client) = span.parent.and_then(|id| by_id.get(&id)).filter(|s| s.kind == SpanKind::Client) else {
            continue;
        };
        let call = if is_call(client) { Some(client.span_id) } else { client.parent };
        if let Some(call) = call {
            out.insert(call, span);
        }
    }
    out
}

/// The edge that a call counts on.
fn edge_of(call: &Span, answer: Option<&Span>) -> Option<EdgeKey> {
    let text = |key: &str| call.attr(key).and_then(AttrValue::as_str).map(str::to_owned);
    let named = text(names::PEER_SERVICE).or_else(|| text(names::PEER_SERVICE_OLD));
    let operation = text(names::OPERATION);
    let (callee, operation) = match (named, answer) {
        (Some(callee), _) => (callee, operation.unwrap_or_else(|| call.name.clone())),
        (None, Some(answer)) => (answer.origin.service.clone(), answer.name.clone()),
        (None, None) => return None,
    };
    Some(EdgeKey { caller: call.origin.service.clone(), callee, operation })
}

/// The calls that a call was made for, outermost first, without itself. A queue ends them: who put a message into it does
/// not wait, and tries nothing again when its work fails.
fn chain(span: &Span, by_id: &HashMap<SpanId, &Span>, calls: &HashMap<SpanId, usize>) -> Vec<(SpanId, usize)> {
    let mut out = Vec::new();
    let mut at = span.parent;
    // Spans of a damaged trace may name each other in a circle.
    let mut steps = 0;
    while let Some(id) = at {
        steps += 1;
        if steps > DEEP * 8 || out.len() >= DEEP {
            break;
        }
        if let Some(edge) = calls.get(&id) {
            out.push((id, *edge));
        }
        at = by_id
            .get(&id)
            .filter(|s| !matches!(s.kind, SpanKind::Consumer | SpanKind::Producer))
            .and_then(|s| s.parent);
    }
    out.reverse();
    out
}

fn number(value: &AttrValue) -> Option<f64> {
    match value {
        AttrValue::Double(n) => Some(*n),
        AttrValue::Int(n) => Some(*n as f64),
        _ => None,
    }
}
