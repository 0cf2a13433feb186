//! Copies the spans of some traces, and log records, into another file.

use std::collections::HashSet;
use std::path::Path;

use fuseboard_api::{TimeRange, TraceId, UnixNanos};
use rusqlite::Connection;

use super::StoreError;
use super::cache::Cache;
use super::logs;
use super::open::{self, OpenMode};
use super::rebuild::Rebuild;
use super::segment::{Part, Parts};
use super::segments::{self, ROWS};
use super::snapshot::Snapshot;

/// Bytes of encoded spans that become one segment at most.
const BYTES: usize = 32 * 1024 * 1024;

/// Copies all spans of the traces with a span that started in `range`, as far as they had arrived by `as_of`, from the file
/// `source` into the tables of `target`; so also all log records of the range and of those traces.
pub(crate) fn spans_and_logs(
    source: &Path,
    target: &Connection,
    range: TimeRange,
    as_of: UnixNanos,
) -> Result<(), StoreError> {
    let conn = open::reader(source, OpenMode::ReadWrite)?;
    let tx = conn.unchecked_transaction()?;
    let cache = Cache::new(0);
    let source = Snapshot::new(&tx, &cache);
    let traces = touching(&source, range, as_of)?;
    let wanted = |time, trace| range.contains(UnixNanos(time)) || traces.contains(&trace);
    logs::tables::copy(&source, target, as_of.0, wanted)?;
    let ever = TimeRange { from: UnixNanos(i64::MIN), to: UnixNanos(i64::MAX) };
    let mut out = Rebuild::default();
    for row in source.segments(ever, as_of)?.iter().rev() {
        let ids = source.columns_unkept(row, &Parts::default())?;
        let wanted: Vec<_> = ids.traces().filter(|run| traces.contains(&ids.trace_id(run.start))).collect();
        if wanted.is_empty() {
            continue;
        }
        let columns = source.columns_unkept(row, &Parts::all())?;
        for at in wanted.into_iter().flatten().filter(|at| columns.arrival(*at) <= as_of) {
            out.add_row(&columns, at);
            if out.rows() >= ROWS || out.bytes() >= BYTES {
                put(target, std::mem::take(&mut out))?;
            }
        }
    }
    put(target, out)
}

fn put(target: &Connection, out: Rebuild) -> Result<(), StoreError> {
    if out.rows() > 0 {
        let packed = out.finish()?;
        segments::insert(target, &packed, u64::from(packed.summary.traces))?;
    }
    Ok(())
}

/// The traces with a span that started in a range.
fn touching(source: &Snapshot<'_>, range: TimeRange, as_of: UnixNanos) -> Result<HashSet<TraceId>, StoreError> {
    let mut out = HashSet::new();
    for row in source.segments(range, as_of)? {
        let columns = source.columns_unkept(&row, &Parts::of(&[Part::Times, Part::Arrival]))?;
        for mut run in columns.traces() {
            let trace = columns.trace_id(run.start);
            if run.any(|at| range.contains(columns.start(at)) && columns.arrival(at) <= as_of) {
                out.insert(trace);
            }
        }
    }
    Ok(out)
}
