//! Lists of traces.

use std::collections::{HashMap, HashSet};

use fuseboard_api::TraceId;
use fuseboard_api::filter::Expr;
use fuseboard_api::trace::{Position, TraceList};

use super::plan::{Plan, Price};
use super::source::Source;
use super::walk::{Candidate, Ended, Step, Walk, Wanted, walk_parts};
use super::{Cancel, Scan, Scope};
use crate::store::StoreError;

/// A page of traces.
///
/// # Errors
/// What the store says.
pub(in crate::query) fn traces(
    source: &impl Source,
    expr: &Expr,
    scope: Scope,
    limit: usize,
    cancel: &Cancel,
) -> Result<TraceList, StoreError> {
    let plan = Plan::new(expr).with(Price::Cheap, &walk_parts());
    let walk = Walk::new(Scan::new(source, &plan, scope), Wanted::Traces, cancel);
    Page { walk, limit, list: TraceList::default(), last: None, done: HashSet::new(), stands: HashMap::new() }.fill()
}

struct Page<'a, S> {
    walk: Walk<'a, S>,
    limit: usize,
    list: TraceList,
    last: Option<Position>,
    /// Traces that are on this page or were on an earlier one.
    done: HashSet<TraceId>,
    /// Where traces stand that had to be gathered to know; `None` for those that do not fit.
    stands: HashMap<TraceId, Option<Position>>,
}

impl<S: Source> Page<'_, S> {
    fn fill(mut self) -> Result<TraceList, StoreError> {
        let ended = loop {
            match self.walk.next()? {
                Step::Done => break Ended::Done,
                Step::Paused => break Ended::Paused,
                Step::Found(candidate) => {
                    if !self.stands_here(candidate)? {
                        continue;
                    }
                    if let Some(last) = self.last.filter(|_| self.list.rows.len() >= self.limit) {
                        break Ended::Full(last);
                    }
                    let trace = self.walk.scan.gather(candidate.place.trace_id)?;
                    self.list.rows.push(trace.row());
                    self.done.insert(trace.id);
                    self.last = Some(candidate.place);
                }
            }
        };
        (self.list.searched, self.list.next) = self.walk.searched(&ended);
        self.list.more = self.list.next.is_some();
        Ok(self.list)
    }

    /// Whether a row is the one where its trace stands in the list.
    fn stands_here(&mut self, candidate: Candidate) -> Result<bool, StoreError> {
        let id = candidate.place.trace_id;
        if self.done.contains(&id) {
            return Ok(false);
        }
        if let Some(stands) = self.stands.get(&id) {
            return Ok(*stands == Some(candidate.place));
        }
        let before = self.walk.scan.scope.before;
        if candidate.sure && before.is_none() {
            // The newest that fits: none newer is left, and no page was before this one.
            return Ok(true);
        }
        let stands = self.newest(id, candidate.sure.then_some(candidate.place))?;
        self.stands.insert(id, stands);
        match stands {
            // It was on an earlier page.
            Some(place) if before.is_some_and(|before| place >= before) => {
                self.done.insert(id);
                Ok(false)
            }
            Some(place) if place != candidate.place => {
                self.walk.put_back(Candidate { place, sure: true, ..candidate });
                Ok(false)
            }
            Some(_) => Ok(true),
            None => Ok(false),
        }
    }

    /// Where the newest span of a trace stands that fits and started in the range; `sure` is one that does.
    fn newest(&mut self, id: TraceId, sure: Option<Position>) -> Result<Option<Position>, StoreError> {
        let scope = self.walk.scan.scope;
        let trace = self.walk.scan.gather(id)?;
        let mut spans: Vec<_> = trace.spans.iter().filter(|s| scope.range.contains(s.start)).collect();
        spans.sort_by_key(|s| std::cmp::Reverse(trace.position(s)));
        for span in spans {
            let place = trace.position(span);
            if sure.is_some_and(|sure| place <= sure) {
                return Ok(sure);
            }
            if self.walk.scan.holds(&trace, span)? {
                return Ok(Some(place));
            }
        }
        Ok(sure)
    }
}

/// Rows asked for when a question does not say how many.
const DEFAULT_LIMIT: u32 = 200;

/// How many rows a page has.
pub(in crate::query) fn limit(asked: u32, most: u32) -> usize {
    (if asked == 0 { DEFAULT_LIMIT } else { asked }).min(most) as usize
}
