//! A filter read literally, over whole spans.

use fuseboard_api::attr::AttrValue;
use fuseboard_api::filter::{Compare, Expr, Field, Known, Needle, Place, Term, Value};
use fuseboard_api::graph::OUTSIDE;
use fuseboard_api::span::{Span, SpanKind, StatusCode};
use fuseboard_api::trace::{Position, TraceRow};
use fuseboard_api::{TraceId, UnixNanos};

use super::super::{Scope, compare};
use super::world::{Seen, World};

/// Spans that count.
pub(super) struct Naive<'a> {
    seen: Vec<&'a Seen>,
    scope: Scope,
}

impl<'a> Naive<'a> {
    pub(super) fn new(world: &'a World, scope: Scope) -> Self {
        let mut seen: Vec<&Seen> = world.seen.iter().filter(|s| s.span.arrival <= scope.as_of).collect();
        seen.sort_by_key(|s| (s.span.start, s.span.span_id, s.kind));
        Self { seen, scope }
    }

    fn trace(&self, id: TraceId) -> Vec<&'a Seen> {
        self.seen.iter().copied().filter(|s| s.span.trace_id == id).collect()
    }

    fn listed(&self, seen: &Seen, expr: &Expr) -> bool {
        self.scope.range.contains(seen.span.start)
            && self.scope.after.is_none_or(|after| seen.span.arrival > after)
            && holds(expr, seen, &self.trace(seen.span.trace_id))
    }

    pub(super) fn spans(&self, expr: &Expr) -> Vec<Position> {
        let mut out: Vec<Position> =
            self.seen.iter().filter(|s| self.listed(s, expr)).map(|s| place(&s.span)).collect();
        out.sort_unstable_by(|a, b| b.cmp(a));
        out
    }

    pub(super) fn traces(&self, expr: &Expr) -> Vec<TraceRow> {
        let mut done = std::collections::HashSet::new();
        let places = self.spans(expr).into_iter();
        places.filter(|place| done.insert(place.trace_id)).map(|place| row(&self.trace(place.trace_id))).collect()
    }
}

fn place(span: &Span) -> Position {
    Position { start: span.start, trace_id: span.trace_id, span_id: span.span_id }
}

fn root<'a>(trace: &[&'a Seen]) -> &'a Seen {
    trace.iter().copied().find(|s| s.span.parent.is_none()).unwrap_or(trace[0])
}

fn lasting(trace: &[&Seen]) -> u64 {
    let end = trace.iter().map(|s| s.span.end).max().unwrap_or(UnixNanos(0));
    u64::try_from(end.0 - trace[0].span.start.0).unwrap_or(0)
}

fn errors(trace: &[&Seen]) -> usize {
    trace.iter().filter(|s| s.span.is_error()).count()
}

fn row(trace: &[&Seen]) -> TraceRow {
    let root = root(trace);
    let mut services: Vec<String> = trace.iter().map(|s| s.span.origin.service.clone()).collect();
    services.sort();
    services.dedup();
    TraceRow {
        trace_id: root.span.trace_id,
        service: root.span.origin.service.clone(),
        operation: root.span.name.clone(),
        start: trace[0].span.start,
        duration_nanos: lasting(trace),
        spans: trace.len() as u32,
        errors: errors(trace) as u32,
        refused: 0,
        failed: root.span.parent.is_none() && root.span.is_error(),
        services,
    }
}

fn holds(expr: &Expr, seen: &Seen, trace: &[&Seen]) -> bool {
    match expr {
        Expr::Any => true,
        Expr::Term(Term::Text(needle)) => text(needle, &seen.span),
        Expr::Term(Term::Has(field)) => !values(field, seen, trace).is_empty(),
        Expr::Term(Term::Compare(c)) => compared(c, seen, trace),
        Expr::Not(inner) => !holds(inner, seen, trace),
        Expr::All(parts) => parts.iter().all(|p| holds(p, seen, trace)),
        Expr::Either(parts) => parts.iter().any(|p| holds(p, seen, trace)),
        Expr::Somewhere(inner) => trace.iter().any(|other| holds(inner, other, trace)),
    }
}

fn text(needle: &Needle, span: &Span) -> bool {
    let shown = |attributes: &[(String, AttrValue)]| attributes.iter().any(|(_, v)| needle.is_in(&v.to_string()));
    needle.is_in(&span.name)
        || needle.is_in(&span.status_message)
        || shown(&span.attributes)
        || span.events.iter().any(|e| needle.is_in(&e.name) || shown(&e.attributes))
}

fn compared(c: &Compare, seen: &Seen, trace: &[&Seen]) -> bool {
    match (&c.field, &c.value) {
        (Field::Known(Known::Duration), _) => compare::nanos(c, seen.span.duration_nanos()),
        (Field::Known(Known::TraceDuration), _) => compare::nanos(c, lasting(trace)),
        (_, Value::Edge(caller, callee)) => {
            let service = &seen.span.origin.service;
            let peer = |glob: &fuseboard_api::filter::Glob| seen.peer.as_ref().is_some_and(|p| glob.matches(p));
            let answers = matches!(seen.span.kind, SpanKind::Server | SpanKind::Consumer);
            let parent = seen.span.parent.and_then(|id| trace.iter().find(|s| s.span.span_id == id));
            let called = parent.map_or(OUTSIDE, |s| s.span.origin.service.as_str());
            caller.matches(service) && peer(callee)
                || answers && callee.matches(service) && (peer(caller) || caller.matches(called))
        }
        (field, _) => values(field, seen, trace).iter().any(|v| compare::attr(c, v)),
    }
}

/// All values of a field.
fn values(field: &Field, seen: &Seen, trace: &[&Seen]) -> Vec<AttrValue> {
    let span = &seen.span;
    let of = |attributes: &[(String, AttrValue)], key: &str| -> Vec<AttrValue> {
        attributes.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone()).into_iter().collect()
    };
    let events = |key: &str| span.events.iter().flat_map(|e| of(&e.attributes, key)).collect::<Vec<_>>();
    let known = match field {
        Field::Attribute(Place::Span, key) => return of(&span.attributes, key),
        Field::Attribute(Place::Resource, key) => return of(&span.origin.resource, key),
        Field::Attribute(Place::Event, key) => return events(key),
        Field::Attribute(Place::Anywhere, key) => {
            let mut found = of(&span.attributes, key);
            if found.is_empty() && key.starts_with("exception.") {
                found = events(key);
            }
            return if found.is_empty() { of(&span.origin.resource, key) } else { found };
        }
        Field::Known(known) => known,
    };
    let some = |text: &str| if text.is_empty() { Vec::new() } else { vec![AttrValue::from(text)] };
    let number = |n: usize| vec![AttrValue::Int(n as i64)];
    match known {
        Known::Service => vec![AttrValue::from(span.origin.service.as_str())],
        Known::Instance => some(&span.origin.instance),
        Known::Version => some(&span.origin.version),
        Known::Scope => some(&span.origin.scope),
        Known::Name => vec![AttrValue::from(span.name.as_str())],
        Known::Kind => vec![AttrValue::Str(format!("{:?}", span.kind).to_lowercase())],
        Known::Status => vec![AttrValue::from(match span.status {
            StatusCode::Unset => "unset",
            StatusCode::Ok => "ok",
            StatusCode::Error => "error",
        })],
        Known::Message => some(&span.status_message),
        Known::Peer => seen.peer.iter().map(|p| AttrValue::from(p.as_str())).collect(),
        Known::Event => span.events.iter().map(|e| AttrValue::from(e.name.as_str())).collect(),
        Known::Link => span.links.iter().map(|l| AttrValue::Str(l.trace_id.to_string())).collect(),
        Known::Parent => span.parent.iter().map(|p| AttrValue::Str(p.to_string())).collect(),
        Known::SpanId => vec![AttrValue::Str(span.span_id.to_string())],
        Known::TraceId => vec![AttrValue::Str(span.trace_id.to_string())],
        Known::RootService => vec![AttrValue::from(root(trace).span.origin.service.as_str())],
        Known::RootName => vec![AttrValue::from(root(trace).span.name.as_str())],
        Known::TraceSpans => number(trace.len()),
        Known::TraceErrors => number(errors(trace)),
        Known::Duration | Known::TraceDuration | Known::Edge => number(0),
    }
}
