//! What columns need of the spans, taken in one walk over them: each lies in memory once, and is large.

use super::order::{Order, Row};
use crate::otlp::Slice;

/// The small fields of a span.
#[derive(Clone, Copy, Default)]
pub(super) struct Brief {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) span_id: [u8; 8],
    pub(super) parent: [u8; 8],
    pub(super) flags: u32,
    pub(super) dropped: [u32; 3],
    pub(super) kind: u8,
    pub(super) status: u8,
    pub(super) marks: u8,
}

/// A row and its text.
pub(super) type Cell<'a> = (u32, &'a [u8]);

/// What was taken.
pub(super) struct Gathered<'a> {
    /// By row.
    pub(super) briefs: Vec<Brief>,
    /// Of every row.
    pub(super) names: Vec<Cell<'a>>,
    /// Those that are not empty, as are the following.
    pub(super) peers: Vec<Cell<'a>>,
    pub(super) status_messages: Vec<Cell<'a>>,
    pub(super) trace_states: Vec<Cell<'a>>,
    /// Whether any span has events.
    pub(super) events: bool,
    /// Whether any span has links.
    pub(super) links: bool,
}

impl<'a> Gathered<'a> {
    /// Walks over the spans as they lie.
    pub(super) fn of(order: &Order<'a>) -> Self {
        let mut out = Self {
            briefs: vec![Brief::default(); order.len()],
            names: Vec::with_capacity(order.len()),
            peers: Vec::new(),
            status_messages: Vec::new(),
            trace_states: Vec::new(),
            events: false,
            links: false,
        };
        for (row, given) in order.given() {
            let span = given.span;
            out.briefs[row as usize] = Brief {
                start: span.start,
                end: span.end,
                span_id: span.span_id,
                parent: span.parent,
                flags: span.flags,
                dropped: span.dropped,
                kind: span.kind,
                status: span.status,
                marks: span.marks.0,
            };
            out.names.push((row, given.tape.get(span.name)));
            some(&mut out.peers, row, given, span.peer);
            some(&mut out.status_messages, row, given, span.status_message);
            some(&mut out.trace_states, row, given, span.trace_state);
            out.events |= span.events.1 > 0;
            out.links |= span.links.1 > 0;
        }
        out
    }
}

fn some<'a>(cells: &mut Vec<Cell<'a>>, row: u32, given: &Row<'a>, text: Slice) {
    if !text.is_empty() {
        cells.push((row, given.tape.get(text)));
    }
}
