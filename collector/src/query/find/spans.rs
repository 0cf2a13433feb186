//! Lists of spans.

use std::collections::HashMap;
use std::sync::Arc;

use fuseboard_api::filter::Expr;
use fuseboard_api::span::Span;
use fuseboard_api::trace::{Position, SpanList};

use super::plan::{Plan, Price};
use super::source::Source;
use super::walk::{Candidate, Ended, Step, Walk, Wanted, walk_parts};
use super::{Cancel, Scan, Scope};
use crate::store::StoreError;
use crate::store::segment::{Columns, Parts};

/// A page of spans.
///
/// # Errors
/// What the store says.
pub(in crate::query) fn spans(
    source: &impl Source,
    expr: &Expr,
    scope: Scope,
    limit: usize,
    cancel: &Cancel,
) -> Result<SpanList, StoreError> {
    let plan = Plan::new(expr).with(Price::Cheap, &walk_parts());
    let mut walk = Walk::new(Scan::new(source, &plan, scope), Wanted::Spans, cancel);
    let mut list = SpanList::default();
    let mut whole = Whole { source, read: HashMap::new() };
    let mut last: Option<Position> = None;
    let ended = loop {
        match walk.next()? {
            Step::Done => break Ended::Done,
            Step::Paused => break Ended::Paused,
            Step::Found(candidate) => {
                if !fits(&mut walk, candidate)? {
                    continue;
                }
                // Two sides of a call may stand at the same place: the page goes on behind both.
                if let Some(last) = last.filter(|last| list.spans.len() >= limit && *last != candidate.place) {
                    break Ended::Full(last);
                }
                list.spans.push(whole.span(candidate)?);
                last = Some(candidate.place);
            }
        }
    };
    (list.searched, list.next) = walk.searched(&ended);
    list.more = list.next.is_some();
    Ok(list)
}

/// Whether a row that may fit does.
pub(in crate::query) fn fits<S: Source>(walk: &mut Walk<'_, S>, candidate: Candidate) -> Result<bool, StoreError> {
    if candidate.sure {
        return Ok(true);
    }
    let trace = walk.scan.gather(candidate.place.trace_id)?;
    let span = trace.spans.iter().find(|s| (s.at, s.row) == (candidate.at, candidate.row));
    span.map_or(Ok(false), |span| walk.scan.holds(&trace, span))
}

/// Whole spans out of segments.
struct Whole<'a, S> {
    source: &'a S,
    read: HashMap<usize, Arc<Columns>>,
}

impl<S: Source> Whole<'_, S> {
    fn span(&mut self, candidate: Candidate) -> Result<Span, StoreError> {
        let columns = match self.read.get(&candidate.at) {
            Some(columns) => columns.clone(),
            None => {
                let columns = self.source.columns(candidate.at, &Parts::all())?;
                self.read.insert(candidate.at, columns.clone());
                columns
            }
        };
        let origin = self.source.origin(columns.origin(candidate.row))?;
        Ok(columns.span(candidate.row, origin))
    }
}
