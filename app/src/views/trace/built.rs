//! A trace made ready for painting: corrected times, tree, lines, critical path, wasted work. Built once per picture, away
//! from the frame when it is large; painting then touches the visible lines only.

use std::collections::HashMap;
use std::sync::Arc;

use fuseboard_api::span::{Span, SpanKind};
use fuseboard_api::trace::Trace;

use super::critical::{self, Segment, Until};
use super::facts::{End, Facts};
use super::skew::{self, Skew};
use super::summary::Summary;
use super::tree::{NONE, Tree};

/// What a line of the waterfall shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// A span.
    Span,
    /// The wait before a span that is a later attempt, from begin to end.
    Backoff(i64, i64),
}

/// A line of the waterfall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    /// The span, or the attempt that was waited for.
    pub(crate) span: u32,
    /// Steps to the root.
    pub(crate) depth: u32,
    /// What is shown.
    pub(crate) what: What,
    /// The first line after the subtree that begins here.
    pub(crate) after: u32,
}

/// A trace ready for painting. Times are nanoseconds since the earliest begin.
#[derive(Debug, Default)]
pub(crate) struct Built {
    /// What it was built from.
    pub(crate) trace: Arc<Trace>,
    /// The version of the picture it was built from; while another is being made ready it is not the newest.
    pub(crate) version: u64,
    /// The tree of its spans.
    pub(crate) tree: Tree,
    /// What the spans say.
    pub(crate) facts: Vec<Facts>,
    /// (begin, end) of each span, clocks brought together.
    pub(crate) times: Vec<(i64, i64)>,
    /// How clocks were brought together.
    pub(crate) skew: Skew,
    /// The absolute instant of zero.
    pub(crate) zero: i64,
    /// The end of the last span.
    pub(crate) length: i64,
    /// Where the work of a span was given up by a caller; `i64::MAX` where it was not.
    pub(crate) given_up: Vec<i64>,
    /// All lines, top to bottom.
    pub(crate) lines: Vec<Line>,
    /// The line of each span.
    pub(crate) line_of: Vec<u32>,
    /// The services, by first appearance in the tree.
    pub(crate) services: Vec<String>,
    /// The service of each span.
    pub(crate) service_of: Vec<u16>,
    /// The critical path to the answer, earliest first.
    pub(crate) path: Vec<Segment>,
    /// The critical path through queues to the last span; empty when it is the same.
    pub(crate) long_path: Vec<Segment>,
    /// When the caller's deadline passes, where it is known.
    pub(crate) deadline: Option<i64>,
    /// For each span the places of its logs in the trace's list.
    pub(crate) logs: HashMap<u32, Vec<u32>>,
    /// What is said about the whole.
    pub(crate) summary: Summary,
}

impl Built {
    /// Makes a trace ready.
    pub(crate) fn new(trace: Arc<Trace>) -> Self {
        let spans = &trace.spans;
        let tree = Tree::new(spans);
        let facts: Vec<Facts> = spans.iter().map(Facts::of).collect();
        let skew = skew::correct(spans, &tree, &facts);
        let (times, zero, length) = times(spans, &skew);
        let given_up = given_up(&tree, &facts, &times);
        let (lines, line_of) = lines(&tree, &facts, &times);
        let (services, service_of) = services(spans, &tree);
        let logs = logs(&trace);
        let mut built = Self {
            tree,
            facts,
            times,
            skew,
            zero,
            length,
            given_up,
            lines,
            line_of,
            services,
            service_of,
            logs,
            ..Self::default()
        };
        built.trace = trace;
        built.deadline = built.find_deadline();
        built.path = built.critical(Until::Answer);
        let long = built.critical(Until::LastSpan);
        if long.last().map(|s| s.to) != built.path.last().map(|s| s.to) {
            built.long_path = long;
        }
        built.summary = Summary::of(&built);
        built
    }

    /// A span.
    pub(crate) fn span(&self, i: u32) -> Option<&Span> {
        self.trace.spans.get(i as usize)
    }

    /// The span that stands for the whole: the first true root, else the first of those that stand alone.
    pub(crate) fn root(&self) -> Option<u32> {
        let roots = &self.tree.roots;
        let whole = roots.iter().find(|r| self.tree.hold[**r as usize] == super::tree::Hold::Root);
        whole.or(roots.first()).copied()
    }

    /// The service of a span.
    pub(crate) fn service(&self, i: u32) -> &str {
        self.service_of.get(i as usize).and_then(|s| self.services.get(usize::from(*s))).map_or("", String::as_str)
    }

    /// Whether a span never left its caller: it was refused, and nothing came of it.
    pub(crate) fn is_ghost(&self, i: u32) -> bool {
        self.facts[i as usize].end == End::Refused && self.tree.children(i).is_empty()
    }

    fn critical(&self, until: Until) -> Vec<Segment> {
        let Some(root) = self.root() else { return Vec::new() };
        let times = |i: u32| self.times[i as usize];
        // A message is put and taken; who put it does not wait for who takes it.
        let detached = |i: u32| self.facts[i as usize].detached;
        critical::path(&self.tree, root, &times, &detached, until)
    }

    /// The outermost deadline: those of calls further down end earlier.
    fn find_deadline(&self) -> Option<i64> {
        let all = self.facts.iter().zip(&self.times);
        all.filter_map(|(f, (begin, _))| Some(begin + (f64::from(f.left_ms?) * 1e6) as i64)).max()
    }

    /// How long each service's own work lay on a path, and the waits: largest first.
    pub(crate) fn shares(&self, path: &[Segment]) -> Vec<(String, i64)> {
        let mut sums: HashMap<&str, i64> = HashMap::new();
        for segment in path {
            let waits = self.backoffs(segment.span);
            let waited: i64 = waits.map(|(from, to)| (to.min(segment.to) - from.max(segment.from)).max(0)).sum();
            let name = if segment.queued { "in queues" } else { self.works_for(segment.span) };
            *sums.entry(name).or_default() += segment.to - segment.from - waited;
            if waited > 0 {
                *sums.entry("backoff").or_default() += waited;
            }
        }
        let mut all: Vec<(String, i64)> =
            sums.into_iter().filter(|(_, ns)| *ns > 0).map(|(n, ns)| (n.to_owned(), ns)).collect();
        all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        all
    }

    /// Whose work a span's own time is: a call to something that sends no spans is the callee's.
    fn works_for(&self, i: u32) -> &str {
        let Some(span) = self.span(i) else { return "" };
        let quiet = span.kind == SpanKind::Client && self.tree.children(i).is_empty();
        quiet.then(|| peer(span)).flatten().unwrap_or_else(|| self.service(i))
    }

    /// The waits before the later attempts of a call.
    fn backoffs(&self, call: u32) -> impl Iterator<Item = (i64, i64)> + '_ {
        self.tree.children(call).iter().filter_map(|c| {
            let (facts, begin) = (self.facts[*c as usize], self.times[*c as usize].0);
            (facts.backoff > 0).then_some((begin - facts.backoff, begin))
        })
    }

    /// The parts of a span's own time: its duration without what its children took.
    pub(crate) fn self_time(&self, i: u32) -> i64 {
        let (begin, end) = self.times[i as usize];
        let (mut own, mut at) = (end - begin, begin);
        for child in self.tree.children(i) {
            let (from, to) = self.times[*child as usize];
            let (from, to) = (from.max(at), to.min(end));
            if to > from {
                own -= to - from;
                at = to;
            }
        }
        own.max(0)
    }
}

/// The name of the other side of a client span.
pub(crate) fn peer(span: &Span) -> Option<&str> {
    use fuseboard_policy::names::{PEER_SERVICE, PEER_SERVICE_OLD};
    [PEER_SERVICE, PEER_SERVICE_OLD, "db.namespace", "db.system.name", "messaging.destination.name", "server.address"]
        .into_iter()
        .find_map(|key| span.attr(key).and_then(|v| v.as_str()))
}

fn times(spans: &[Span], skew: &Skew) -> (Vec<(i64, i64)>, i64, i64) {
    let moved = spans.iter().zip(&skew.shift).map(|(s, shift)| {
        let begin = s.start.0.saturating_add(*shift);
        (begin, s.end.0.saturating_add(*shift).max(begin))
    });
    let mut times: Vec<(i64, i64)> = moved.collect();
    let zero = times.iter().map(|t| t.0).min().unwrap_or(0);
    for t in &mut times {
        *t = (t.0.saturating_sub(zero), t.1.saturating_sub(zero));
    }
    let length = times.iter().map(|t| t.1).max().unwrap_or(0);
    (times, zero, length)
}

/// From where on nobody waited for a span's work any more: the end of the nearest attempt above it that was cut.
fn given_up(tree: &Tree, facts: &[Facts], times: &[(i64, i64)]) -> Vec<i64> {
    let mut given_up = vec![i64::MAX; facts.len()];
    for i in &tree.order {
        let Some(p) = tree.parent(*i) else { continue };
        let (i, p) = (*i as usize, p as usize);
        if facts[i].detached {
            continue;
        }
        let cut = matches!(facts[p].end, End::Timeout | End::Cancelled);
        given_up[i] = given_up[p].min(if cut { times[p].1 } else { i64::MAX });
    }
    given_up
}

fn lines(tree: &Tree, facts: &[Facts], times: &[(i64, i64)]) -> (Vec<Line>, Vec<u32>) {
    let mut lines: Vec<Line> = Vec::with_capacity(tree.order.len());
    let mut line_of = vec![NONE; tree.order.len()];
    let mut first_line = Vec::with_capacity(tree.order.len() + 1);
    for (i, depth) in tree.order.iter().zip(&tree.depth) {
        let (f, begin) = (facts[*i as usize], times[*i as usize].0);
        first_line.push(lines.len() as u32);
        if f.backoff > 0 {
            let what = What::Backoff((begin - f.backoff).max(0), begin);
            lines.push(Line { span: *i, depth: *depth, what, after: lines.len() as u32 + 1 });
        }
        line_of[*i as usize] = lines.len() as u32;
        lines.push(Line { span: *i, depth: *depth, what: What::Span, after: 0 });
    }
    first_line.push(lines.len() as u32);
    for (place, i) in tree.order.iter().enumerate() {
        lines[line_of[*i as usize] as usize].after = first_line[tree.after[place] as usize];
    }
    (lines, line_of)
}

fn services(spans: &[Span], tree: &Tree) -> (Vec<String>, Vec<u16>) {
    let mut names: Vec<String> = Vec::new();
    let mut known: HashMap<&str, u16> = HashMap::new();
    let mut of = vec![0; spans.len()];
    for i in &tree.order {
        let name = spans[*i as usize].origin.service.as_str();
        of[*i as usize] = *known.entry(name).or_insert_with(|| {
            names.push(name.to_owned());
            u16::try_from(names.len() - 1).unwrap_or(u16::MAX)
        });
    }
    (names, of)
}

fn logs(trace: &Trace) -> HashMap<u32, Vec<u32>> {
    let mut logs: HashMap<u32, Vec<u32>> = HashMap::new();
    if trace.logs.is_empty() {
        return logs;
    }
    let of: HashMap<_, u32> = trace.spans.iter().zip(0..).map(|(s, i)| (s.span_id, i)).collect();
    for (log, n) in trace.logs.iter().zip(0..) {
        if let Some(i) = log.span_id.and_then(|id| of.get(&id)) {
            logs.entry(*i).or_default().push(n);
        }
    }
    logs
}
