//! One trace whole.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fuseboard_api::breaker::BreakerBand;
use fuseboard_api::graph::EdgeKey;
use fuseboard_api::span::SpanKind;
use fuseboard_api::trace::Trace;
use fuseboard_api::{TimeRange, TraceId, UnixNanos};
use fuseboard_policy::names::PEER_SERVICE;
use rusqlite::Connection;

use super::logs;
use super::spans::{self, Origins};
use crate::control::picture;
use crate::store::{Snapshot, StoreError};

/// Log records given with a trace at most.
const LOGS: usize = 100_000;

pub(super) fn trace(conn: &Snapshot<'_>, id: TraceId, as_of: UnixNanos) -> Result<Option<Trace>, StoreError> {
    let mut origins = Origins::default();
    let spans = spans::of_trace(conn, id, as_of, &mut origins)?;
    let mut out = Trace { trace_id: id, spans, ..Trace::default() };
    out.logs = logs::of_trace(conn, id, as_of, LOGS, &mut origins)?;
    if out.spans.is_empty() && out.logs.is_empty() {
        return Ok(None);
    }
    out.bands = bands(conn, &out, as_of)?;
    Ok(Some(out))
}

/// How far back a change of a breaker's state is looked for.
const LOOK_BACK: Duration = Duration::from_secs(3600);

/// The states of the breakers on the trace's path while it ran: those whose caller and callee are in it and that changed
/// in the hour before or meanwhile.
fn bands(conn: &Connection, trace: &Trace, as_of: UnixNanos) -> Result<Vec<BreakerBand>, StoreError> {
    let Some(from) = trace.spans.iter().map(|s| s.start).min() else { return Ok(Vec::new()) };
    let to = trace.spans.iter().map(|s| s.end).max().unwrap_or(from);
    let path: BTreeSet<(&str, &str)> = trace
        .spans
        .iter()
        .filter(|s| s.kind == SpanKind::Client)
        .filter_map(|s| Some((s.origin.service.as_str(), s.attr(PEER_SERVICE)?.as_str()?)))
        .collect();
    if path.is_empty() {
        return Ok(Vec::new());
    }
    let mut changes: BTreeMap<(EdgeKey, String), Vec<_>> = BTreeMap::new();
    // Newest first.
    for t in picture::transitions(conn, TimeRange { from: from - LOOK_BACK, to }, as_of)? {
        if path.contains(&(t.key.caller.as_str(), t.key.callee.as_str())) {
            changes.entry((t.key.clone(), t.instance.clone())).or_default().push(t);
        }
    }
    let mut out = Vec::new();
    for ((key, instance), transitions) in changes {
        let mut end = to;
        let mut band =
            |state, range| out.push(BreakerBand { key: key.clone(), instance: instance.clone(), range, state });
        let mut first = None;
        for t in transitions {
            band(t.to, TimeRange { from: t.at.max(from), to: end });
            end = t.at.max(from);
            first = Some(t.from);
            if t.at <= from {
                break;
            }
        }
        if let Some(state) = first.filter(|_| end > from) {
            band(state, TimeRange { from, to: end });
        }
    }
    out.sort_by(|a, b| (&a.key, &a.instance, a.range.from).cmp(&(&b.key, &b.instance, b.range.from)));
    Ok(out)
}
