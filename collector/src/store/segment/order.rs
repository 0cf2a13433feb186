//! The order of a segment's rows.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::build::Incoming;
use crate::otlp::{FlatSpan, SpanTape};

/// A span on its way into a row.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) tape: &'a SpanTape,
    pub(super) span: &'a FlatSpan,
    pub(super) origin: i64,
    pub(super) arrival: i64,
}

/// The order of a segment. Columns are filled in the order in which the spans lie in memory, which costs far less than to
/// jump from one to the other: each value is put where its row is.
pub(super) struct Order<'a> {
    /// In the order given.
    given: Vec<Row<'a>>,
    /// The row of each that was given.
    row_of: Vec<u32>,
    /// What was given that became each row.
    given_of: Vec<u32>,
    /// The first row of each trace, and behind them the number of rows.
    bounds: Vec<u32>,
}

struct Trace {
    id: [u8; 16],
    start: i64,
    spans: u32,
}

impl<'a> Order<'a> {
    /// Traces by their first start, the spans of a trace by start. Only small keys are moved until the order is known.
    pub(super) fn of(incoming: &[Incoming<'a>]) -> Self {
        let given: Vec<Row<'a>> = incoming
            .iter()
            .filter_map(|i| {
                let span = i.tape.spans.get(i.span as usize)?;
                Some(Row { tape: i.tape, span, origin: i.origin, arrival: i.arrival })
            })
            .collect();
        let (trace_of, traces) = traces(&given);

        let mut ranked: Vec<u32> = (0..traces.len() as u32).collect();
        ranked.sort_unstable_by_key(|t| (traces[*t as usize].start, traces[*t as usize].id));
        let mut bounds = Vec::with_capacity(traces.len() + 1);
        let mut next = vec![0_u32; traces.len()];
        let mut at = 0;
        for trace in &ranked {
            bounds.push(at);
            next[*trace as usize] = at;
            at += traces[*trace as usize].spans;
        }
        bounds.push(at);

        let mut keys = vec![(0_i64, 0_u32); given.len()];
        for (i, trace) in trace_of.iter().enumerate() {
            let slot = &mut next[*trace as usize];
            keys[*slot as usize] = (given[i].span.start, i as u32);
            *slot += 1;
        }
        for run in bounds.windows(2) {
            keys[run[0] as usize..run[1] as usize].sort_unstable();
        }
        let given_of: Vec<u32> = keys.into_iter().map(|(_, i)| i).collect();
        let mut row_of = vec![0; given.len()];
        given_of.iter().zip(0..).for_each(|(i, row)| row_of[*i as usize] = row);
        Self { given, row_of, given_of, bounds }
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.given.len()
    }

    /// The spans as they were given, each with its row.
    pub(super) fn given(&self) -> impl Iterator<Item = (u32, &Row<'a>)> {
        self.row_of.iter().copied().zip(&self.given)
    }

    /// The spans by row.
    pub(super) fn rows(&self) -> impl Iterator<Item = &Row<'a>> {
        self.given_of.iter().map(|i| &self.given[*i as usize])
    }

    /// The span of a row.
    pub(super) fn row(&self, row: u32) -> &Row<'a> {
        &self.given[self.given_of[row as usize] as usize]
    }

    /// A value of each span, by row.
    pub(super) fn column<T: Copy + Default>(&self, of: impl Fn(&Row<'a>) -> T) -> Vec<T> {
        let mut column = vec![T::default(); self.len()];
        self.given().for_each(|(row, span)| column[row as usize] = of(span));
        column
    }

    /// The rows of each trace.
    pub(super) fn runs(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        self.bounds.windows(2).map(|run| run[0] as usize..run[1] as usize)
    }

    /// For each row the distance to its parent's row: 0 for none, `None` when the parent is elsewhere (or the span itself).
    pub(super) fn parents(&self, spans: &[[u8; 8]], parents: &[[u8; 8]]) -> Vec<Option<i32>> {
        let mut out = Vec::with_capacity(self.len());
        let mut by_id: HashMap<[u8; 8], usize, FixedState> = HashMap::default();
        for run in self.runs() {
            let (spans, parents) = (&spans[run.clone()], &parents[run]);
            let many = spans.len() > 24;
            if many {
                by_id.clear();
                by_id.extend(spans.iter().enumerate().rev().map(|(i, id)| (*id, i)));
            }
            for (i, parent) in parents.iter().enumerate() {
                if *parent == [0; 8] {
                    out.push(Some(0));
                    continue;
                }
                let found = if many { by_id.get(parent).copied() } else { spans.iter().position(|id| id == parent) };
                out.push(found.map(|at| at as i32 - i as i32).filter(|away| *away != 0));
            }
        }
        out
    }
}

/// Numbers the traces in the order met.
fn traces(rows: &[Row<'_>]) -> (Vec<u32>, Vec<Trace>) {
    let mut numbers: HashMap<[u8; 16], u32, FixedState> = HashMap::default();
    let mut traces: Vec<Trace> = Vec::new();
    let mut trace_of = Vec::with_capacity(rows.len());
    let mut last = None;
    for row in rows {
        let id = row.span.trace_id;
        let number = match last {
            Some((known, number)) if known == id => number,
            _ => *numbers.entry(id).or_insert_with(|| {
                traces.push(Trace { id, start: i64::MAX, spans: 0 });
                traces.len() as u32 - 1
            }),
        };
        last = Some((id, number));
        let trace = &mut traces[number as usize];
        trace.start = trace.start.min(row.span.start);
        trace.spans += 1;
        trace_of.push(number);
    }
    (trace_of, traces)
}
