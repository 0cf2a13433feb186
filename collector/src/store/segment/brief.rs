//! What is said of a small commit beside its spans, without columns being made for it.

use super::{Incoming, Summary, filter};

/// The summary of some spans and the filter over their traces. Names are not listed.
#[must_use]
pub fn brief(incoming: &[Incoming<'_>]) -> (Summary, Vec<u8>) {
    let mut s = Summary { names: None, ..Summary::empty() };
    let mut traces = Vec::with_capacity(incoming.len());
    for i in incoming {
        let Some(span) = i.tape.spans.get(i.span as usize) else { continue };
        let duration = span.end.wrapping_sub(span.start);
        s.rows += 1;
        s.errors += u32::from(span.status == 2);
        s.min_start = s.min_start.min(span.start);
        s.max_start = s.max_start.max(span.start);
        s.max_end = s.max_end.max(span.end);
        s.min_duration = s.min_duration.min(duration);
        s.max_duration = s.max_duration.max(duration);
        s.min_arrival = s.min_arrival.min(i.arrival);
        s.max_arrival = s.max_arrival.max(i.arrival);
        s.origins.push(i.origin);
        traces.push(span.trace_id);
    }
    s.origins.sort_unstable();
    s.origins.dedup();
    traces.sort_unstable();
    traces.dedup();
    s.traces = traces.len() as u32;
    (s, filter::traces(&traces))
}
