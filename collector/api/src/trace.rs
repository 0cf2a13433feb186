//! Lists of traces and of spans, and one trace whole.

use serde::{Deserialize, Serialize};

use crate::breaker::BreakerBand;
use crate::filter::{self, Expr, Field, Glob, Hint, Known, Mistake, Needle, Number, Op, Parsed, Place, Term, Value};
use crate::log::LogRecord;
use crate::span::Span;
use crate::{SpanId, TimeRange, TraceId, UnixNanos};

/// Which traces are wanted. Every condition that is set must hold.
///
/// A trace is listed when one of its spans that started in the range fits [`TraceQuery::condition`]; the newest of them
/// gives the trace its place in the list.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TraceQuery {
    /// A fitting span started in this range.
    pub range: TimeRange,
    /// What the fitting span must be like, in the language of [`crate::filter`]; empty for any.
    pub filter: String,
    /// With a span of this service.
    pub service: Option<String>,
    /// With a span of this name (of that service, when one is given).
    pub operation: Option<String>,
    /// With a call over this edge: caller, callee.
    pub edge: Option<(String, String)>,
    /// Lasting at least so many milliseconds.
    pub min_ms: Option<f64>,
    /// Lasting at most so many milliseconds.
    pub max_ms: Option<f64>,
    /// Only with a failed span.
    pub errors_only: bool,
    /// Span attributes that must be equal, value as text; one span must have them all.
    pub attributes: Vec<(String, String)>,
    /// Text in a span's name, status message, attribute value or event; case does not matter. One that is too long for a
    /// filter (8 KiB) is passed over.
    pub text: Option<String>,
    /// At most so many, newest first; 0 means 200.
    pub limit: u32,
    /// Only traces whose place lies before this one: the next page begins at [`TraceList::next`].
    pub before: Option<Position>,
    /// How many times as much is searched for one page as usual; 0 means 1. See [`Searched`].
    pub reach: u32,
}

impl TraceQuery {
    /// All conditions as one: a trace fits when one of its spans fits this.
    ///
    /// # Errors
    /// What is wrong with the filter.
    pub fn condition(&self) -> Result<Parsed, Mistake> {
        let mut parsed = filter::parse(&self.filter)?;
        let equal = |field, text: &String| Expr::compare(field, Op::Equal, Value::Text(text.clone()));
        let service = self.service.iter().map(|s| equal(Field::Known(Known::Service), s));
        let operation = self.operation.iter().map(|o| equal(Field::Known(Known::Name), o));
        let edge = self.edge.iter().map(|(caller, callee)| {
            let edge = Value::Edge(Glob::new(caller.as_str()), Glob::new(callee.as_str()));
            Expr::compare(Field::Known(Known::Edge), Op::Equal, edge)
        });
        let attributes = self.attributes.iter().map(|(key, value)| {
            let value = Number::parse(value).map_or_else(|| Value::Text(value.clone()), Value::Number);
            Expr::compare(Field::Attribute(Place::Span, key.clone()), Op::Equal, value)
        });
        let text = self.text.iter().filter(|t| !t.is_empty());
        let text = text.filter_map(|t| Needle::new(t.as_str())).map(|needle| Expr::Term(Term::Text(needle)));
        let groups = [
            std::mem::take(&mut parsed.expr),
            Expr::all(service.chain(operation)),
            Expr::all(edge),
            Expr::all(attributes),
            Expr::all(text),
        ];
        // The first may be about the fitting span itself; what the others ask for may hold for other spans.
        let groups = groups.into_iter().filter(|g| *g != Expr::Any);
        let groups = groups.enumerate().map(|(i, group)| if i == 0 { group } else { group.somewhere() });
        parsed.expr = Expr::all(groups.chain(self.of_trace()));
        Ok(parsed)
    }

    /// The conditions on the trace as a whole.
    fn of_trace(&self) -> impl Iterator<Item = Expr> {
        let lasting = |op, ms: f64| {
            let nanos = (ms.max(0.0) * 1e6).round() as u64;
            Expr::compare(Field::Known(Known::TraceDuration), op, Value::Duration(nanos))
        };
        let least = self.min_ms.map(|ms| lasting(Op::AtLeast, ms));
        let most = self.max_ms.map(|ms| lasting(Op::AtMost, ms));
        let failed = Number::parse("0")
            .filter(|_| self.errors_only)
            .map(|none| Expr::compare(Field::Known(Known::TraceErrors), Op::Above, Value::Number(none)));
        least.into_iter().chain(most).chain(failed)
    }
}

/// A place in a list of spans or traces, newest first: lists are sorted by all three, falling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Position {
    /// Start of the span.
    pub start: UnixNanos,
    /// Its trace.
    pub trace_id: TraceId,
    /// Its id.
    pub span_id: SpanId,
}

/// How far a search came; all zero unless the page ended before it was full.
///
/// A page ends when it is full, or with the first part of the store after a million spans have been read, whatever was found by
/// then (see [`TraceQuery::reach`]): the next page goes on from there. How the store is parted changes with time, and so may the place where a page
/// ends; all pages together hold the same always.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Searched {
    /// Everything in this part of the asked range has been searched.
    pub range: TimeRange,
    /// Parts of the store that were read or found not to matter.
    pub segments_examined: u32,
    /// Parts of the store that were to be searched, for this page and all that follow.
    pub segments: u32,
    /// Spans in the parts that were read.
    pub spans_examined: u64,
    /// Parts that are damaged and were passed over; told with every page.
    pub damaged: u32,
}

/// One line of the list.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TraceRow {
    /// Its id.
    pub trace_id: TraceId,
    /// Service of the root span, or of the earliest span while the root is missing.
    pub service: String,
    /// Name of that span.
    pub operation: String,
    /// Start of the earliest span.
    pub start: UnixNanos,
    /// From the earliest start to the latest end.
    pub duration_nanos: u64,
    /// How many spans came so far.
    pub spans: u32,
    /// How many of them failed.
    pub errors: u32,
    /// How many calls were refused locally.
    pub refused: u32,
    /// Whether the root span failed.
    pub failed: bool,
    /// The services in it, by name.
    pub services: Vec<String>,
}

/// The answer to a [`TraceQuery`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TraceList {
    /// By the newest fitting span, newest first.
    pub rows: Vec<TraceRow>,
    /// Whether there may be more: the page is full, or not everything has been searched.
    pub more: bool,
    /// Where the next page begins, when there may be more.
    pub next: Option<Position>,
    /// How far was searched, when the page ended before it was full.
    pub searched: Searched,
    /// What in the filter was hardly meant so.
    pub hints: Vec<Hint>,
}

/// Which spans are wanted.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SpanQuery {
    /// Started in this range.
    pub range: TimeRange,
    /// What they must be like, in the language of [`crate::filter`]; empty for any.
    pub filter: String,
    /// At most so many, newest first; 0 means 200.
    pub limit: u32,
    /// Only those whose place lies before this one: the next page begins at [`SpanList::next`].
    pub before: Option<Position>,
}

/// The answer to a [`SpanQuery`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SpanList {
    /// By start, newest first.
    pub spans: Vec<Span>,
    /// Whether there may be more: the page is full, or not everything has been searched.
    pub more: bool,
    /// Where the next page begins, when there may be more.
    pub next: Option<Position>,
    /// How far was searched, when the page ended before it was full.
    pub searched: Searched,
    /// What in the filter was hardly meant so.
    pub hints: Vec<Hint>,
}

/// A whole trace.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Trace {
    /// Its id.
    pub trace_id: TraceId,
    /// All spans, by start.
    pub spans: Vec<Span>,
    /// Log records tied to it, by time.
    pub logs: Vec<LogRecord>,
    /// The states that the breakers on its path were in while it ran.
    pub bands: Vec<BreakerBand>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_conditions_become_one() {
        let query = TraceQuery {
            service: Some("orders".into()),
            operation: Some("POST /orders".into()),
            edge: Some(("web".into(), "orders".into())),
            min_ms: Some(250.0),
            max_ms: Some(1.5),
            errors_only: true,
            attributes: vec![("order.id".into(), "7".into()), ("tier".into(), "gold".into())],
            text: Some("Time".into()),
            ..TraceQuery::default()
        };
        let said = |query: &TraceQuery| query.condition().expect("a filter").expr.to_string();
        let of_trace = "trace.duration>=250ms trace.duration<=1500us trace.errors>0";
        let rest = "{edge=web>orders} {span.order.id=7 span.tier=gold} {Time}";
        assert_eq!(said(&query), format!("service=orders name=\"POST /orders\" {rest} {of_trace}"));
        let query = TraceQuery { filter: "a or b".into(), edge: None, text: None, attributes: Vec::new(), ..query };
        assert_eq!(said(&query), format!("(a or b) {{service=orders name=\"POST /orders\"}} {of_trace}"));
        assert_eq!(said(&TraceQuery::default()), "");
    }
}
