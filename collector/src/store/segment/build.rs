//! Spans into columns.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt8Array};
use arrow_schema::{Field, Schema};

use super::filter::{self, ValueHashes};
use super::gather::{Brief, Gathered};
use super::order::{Order, Row};
use super::{NAME_KEY, PEER_KEY, SegmentError, Summary, arrays, attrs, name};
use crate::otlp::{Slice, SpanTape, write};

/// A span to be put into a segment.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'a> {
    /// Where it lies.
    pub tape: &'a SpanTape,
    /// Its position in the tape's spans; one that does not exist is passed over.
    pub span: u32,
    /// Number of its sender in the table `origins`.
    pub origin: i64,
    /// Stamp of its commit, Unix nanoseconds.
    pub arrival: i64,
}

/// A segment before it is encoded.
#[derive(Debug, Clone)]
pub struct Built {
    /// The columns.
    pub batch: RecordBatch,
    /// Figures to pass over it by.
    pub summary: Summary,
    /// See [`super::TraceFilter`].
    pub traces: Vec<u8>,
    /// See [`super::ValueFilter`].
    pub values: Vec<u8>,
}

/// Puts spans into columns, as the format says.
///
/// # Errors
/// When a column would exceed 2 GiB, or text in a tape is no UTF-8.
pub fn build(incoming: &[Incoming<'_>]) -> Result<Built, SegmentError> {
    let order = Order::of(incoming);
    let mut out = Schemed::default();
    let mut summary = Summary::empty();
    let mut values = Vec::new();

    let gathered = Gathered::of(&order);
    let briefs = &gathered.briefs[..];
    let traces = ids(&order, briefs, &mut out)?;
    summary.traces = traces.len() as u32;
    times(&order, briefs, &mut out, &mut summary);
    kinds(briefs, &mut out, &mut summary);
    texts(&gathered, &mut out, &mut summary, &mut values)?;
    let (origin, mut origins) = arrays::numbers(&order.column(|r| r.origin))?;
    out.add(name::ORIGIN, origin);
    origins.sort_unstable();
    summary.origins = origins;
    let (arrival, arrivals) = arrays::numbers(&order.column(|r| r.arrival))?;
    out.add(name::ARRIVAL, arrival);
    summary.min_arrival = arrivals.iter().copied().min().unwrap_or(i64::MAX);
    summary.max_arrival = arrivals.iter().copied().max().unwrap_or(i64::MIN);
    rest(&order, &gathered, &mut out)?;

    let attrs = attrs::sort(&order)?;
    attrs.columns.into_iter().for_each(|(name, array)| out.add_nullable(&name, array));
    attrs.shape.into_iter().for_each(|shape| out.add(name::SHAPE, shape));
    attrs.more.into_iter().for_each(|more| out.add(name::MORE, more));
    values.extend(attrs.values);
    if let Some(keys) = attrs.more_keys
        && let Ok(list) = serde_json::to_string(&keys)
    {
        out.metadata.insert(name::META_MORE.to_owned(), list);
    }
    let rows = order.len();
    summary.rows = u32::try_from(rows).map_err(|_| SegmentError::TooLarge(format!("{rows} rows")))?;
    Ok(Built {
        batch: out.batch(rows)?,
        summary,
        traces: filter::traces(&traces),
        values: filter::values(values, rows),
    })
}

/// Columns with their names.
#[derive(Default)]
struct Schemed {
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
    metadata: HashMap<String, String>,
}

impl Schemed {
    fn add(&mut self, name: &str, array: ArrayRef) {
        self.fields.push(Field::new(name, array.data_type().clone(), false));
        self.arrays.push(array);
    }

    fn add_nullable(&mut self, name: &str, array: ArrayRef) {
        self.fields.push(Field::new(name, array.data_type().clone(), true));
        self.arrays.push(array);
    }

    /// Adds whole numbers unless all are 0.
    fn add_ints(&mut self, name: &str, values: Vec<i64>) {
        if values.iter().any(|v| *v != 0) {
            self.add(name, arrays::ints(values, None));
        }
    }

    fn batch(mut self, rows: usize) -> Result<RecordBatch, SegmentError> {
        self.metadata.insert(name::META_FORMAT.to_owned(), name::FORMAT.to_owned());
        let schema = Arc::new(Schema::new_with_metadata(self.fields, self.metadata));
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(schema, self.arrays, &options).map_err(|e| SegmentError::arrow(&e))
    }
}

/// Ids of traces, spans and parents; gives the traces.
fn ids(order: &Order<'_>, briefs: &[Brief], out: &mut Schemed) -> Result<Vec<[u8; 16]>, SegmentError> {
    let mut traces = Vec::new();
    let mut codes = Vec::with_capacity(order.len());
    for run in order.runs() {
        codes.extend(std::iter::repeat_n(traces.len() as u32, run.len()));
        traces.push(order.row(run.start as u32).span.trace_id);
    }
    let known = arrays::fixed(16, traces.concat(), None)?;
    out.add(name::TRACE_ID, arrays::keyed(codes, None, known)?);

    let spans: Vec<_> = briefs.iter().map(|b| b.span_id).collect();
    let parents: Vec<_> = briefs.iter().map(|b| b.parent).collect();
    let away = order.parents(&spans, &parents);
    out.add(name::SPAN_ID, arrays::fixed(8, spans.concat(), None)?);
    out.add_ints(name::PARENT_AT, away.iter().map(|p| i64::from(p.unwrap_or(0))).collect());
    let elsewhere: Vec<u32> = (0..order.len() as u32).filter(|i| away[*i as usize].is_none()).collect();
    if !elsewhere.is_empty() {
        let nulls = arrays::validity(order.len(), elsewhere.iter().copied());
        let mut bytes = vec![[0; 8]; order.len()];
        elsewhere.iter().for_each(|i| bytes[*i as usize] = parents[*i as usize]);
        out.add_nullable(name::PARENT_ID, arrays::fixed(8, bytes.concat(), nulls)?);
    }
    Ok(traces)
}

fn times(order: &Order<'_>, briefs: &[Brief], out: &mut Schemed, summary: &mut Summary) {
    let mut steps = Vec::with_capacity(briefs.len());
    let mut durations = Vec::with_capacity(briefs.len());
    let first = briefs.first().map_or(0, |b| b.start);
    let mut of_trace = first;
    for run in order.runs() {
        let mut before = of_trace;
        of_trace = briefs[run.start].start;
        for Brief { start, end, .. } in &briefs[run] {
            steps.push(start.wrapping_sub(before));
            before = *start;
            let duration = end.wrapping_sub(*start);
            durations.push(duration);
            summary.min_start = summary.min_start.min(*start);
            summary.max_start = summary.max_start.max(*start);
            summary.max_end = summary.max_end.max(*end);
            summary.min_duration = summary.min_duration.min(duration);
            summary.max_duration = summary.max_duration.max(duration);
        }
    }
    out.metadata.insert(name::META_START.to_owned(), first.to_string());
    let (low, high) = arrays::halves(&steps);
    out.add(name::START_LOW, low);
    high.into_iter().for_each(|high| out.add(name::START_HIGH, high));
    let (low, high) = arrays::halves(&durations);
    out.add(name::DURATION_LOW, low);
    high.into_iter().for_each(|high| out.add(name::DURATION_HIGH, high));
}

fn kinds(briefs: &[Brief], out: &mut Schemed, summary: &mut Summary) {
    let mut add = |name: &str, values: Vec<u8>| {
        if values.iter().any(|v| *v != 0) {
            out.add(name, Arc::new(UInt8Array::new(values.into(), None)));
        }
    };
    summary.errors = briefs.iter().filter(|b| b.status == 2).count() as u32;
    add(name::KIND, briefs.iter().map(|b| b.kind).collect());
    add(name::STATUS, briefs.iter().map(|b| b.status).collect());
    add(name::MARKS, briefs.iter().map(|b| b.marks).collect());
}

fn texts(
    gathered: &Gathered<'_>,
    out: &mut Schemed,
    summary: &mut Summary,
    values: &mut Vec<ValueHashes>,
) -> Result<(), SegmentError> {
    let rows = gathered.briefs.len();
    let cells = &gathered.names[..];
    let names = arrays::text(rows, cells.len(), |n| cells[n])?;
    out.add(name::NAME, names.array);
    let mut hashes = ValueHashes::of(NAME_KEY.as_bytes());
    names.values.iter().for_each(|name| hashes.text(name));
    values.push(hashes);
    let mut distinct = names.values;
    distinct.sort_unstable();
    distinct.dedup();
    summary.names = (distinct.len() <= Summary::NAMES)
        .then(|| distinct.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect());

    let mut peers = ValueHashes::of(PEER_KEY.as_bytes());
    for (name, cells) in [
        (name::PEER, &gathered.peers[..]),
        (name::STATUS_MESSAGE, &gathered.status_messages[..]),
        (name::TRACE_STATE, &gathered.trace_states[..]),
    ] {
        if cells.is_empty() {
            continue;
        }
        let text = arrays::text(rows, cells.len(), |n| cells[n])?;
        out.add_nullable(name, text.array);
        if name == name::PEER {
            text.values.iter().for_each(|peer| peers.text(peer));
        }
    }
    values.push(peers);
    Ok(())
}

fn rest(order: &Order<'_>, gathered: &Gathered<'_>, out: &mut Schemed) -> Result<(), SegmentError> {
    let briefs = &gathered.briefs[..];
    out.add_ints(name::FLAGS, briefs.iter().map(|b| i64::from(b.flags)).collect());
    for (i, name) in name::DROPPED.into_iter().enumerate() {
        out.add_ints(name, briefs.iter().map(|b| i64::from(b.dropped[i])).collect());
    }
    let mut parts = |name: &str, field: u32, of: for<'a> fn(&Row<'a>) -> &'a [Slice]| -> Result<(), SegmentError> {
        let (mut bytes, mut bounds) = (Vec::new(), Vec::with_capacity(order.len() + 1));
        for row in order.rows() {
            bounds.push(bytes.len());
            for part in of(row) {
                write::bytes(&mut bytes, field, row.tape.get(*part));
            }
        }
        bounds.push(bytes.len());
        out.add(name, arrays::binary(bounds.windows(2).map(|b| &bytes[b[0]..b[1]]), None)?);
        Ok(())
    };
    if gathered.events {
        parts(name::EVENTS, 11, |row| row.tape.events_of(row.span))?;
    }
    if gathered.links {
        parts(name::LINKS, 13, |row| row.tape.links_of(row.span))?;
    }
    Ok(())
}
