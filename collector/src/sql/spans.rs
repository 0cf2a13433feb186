//! The table `spans`: rows out of segments, decoded as far as the statement needs them.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::{CStr, c_int};
use std::marker::PhantomData;
use std::sync::Arc;

use fuseboard_api::{TimeRange, TraceId, UnixNanos};
use rusqlite::types::Value;
use rusqlite::vtab::{
    Context, Filters, IndexConstraintOp, IndexInfo, Module, VTab, VTabConnection, VTabCursor, sqlite3_vtab,
    sqlite3_vtab_cursor,
};
use rusqlite::{Connection, Result};

use super::reader::{EVER, Met, Reader};
use crate::files::words;
use crate::store::SegmentRow;
use crate::store::segment::{Columns, Part, Parts};

/// The columns, in their order.
pub(super) const NAMES: [&str; 22] = [
    "trace_id",
    "span_id",
    "parent_id",
    "service",
    "instance",
    "version",
    "name",
    "kind",
    "status",
    "status_message",
    "start",
    "end",
    "duration_ms",
    "attributes",
    "resource",
    "scope",
    "scope_version",
    "events",
    "links",
    "trace_state",
    "flags",
    "arrival",
];

const DECLARED: &CStr = c"CREATE TABLE spans (
    trace_id TEXT, span_id TEXT, parent_id TEXT, service TEXT, instance TEXT, version TEXT, name TEXT, kind TEXT, status TEXT,
    status_message TEXT, start INTEGER, \"end\" INTEGER, duration_ms REAL, attributes TEXT, resource TEXT, scope TEXT,
    scope_version TEXT, events TEXT, links TEXT, trace_state TEXT, flags INTEGER, arrival INTEGER)";

/// Columns that conditions are pushed down for.
const TRACE: c_int = 0;
const SERVICE: c_int = 3;
const START: c_int = 10;

/// Adds the table to a connection.
pub(super) fn add(conn: &Connection, reader: Arc<Reader>) -> Result<()> {
    const MODULE: &Module<'_, Spans> = &Module::eponymous_only_module();
    conn.create_module(c"spans", MODULE, Some(reader))
}

/// The parts of a segment that a column lies in.
fn part(column: usize) -> Option<Part> {
    Some(match column {
        1 | 2 => Part::Ids,
        3..=5 | 14..=16 => Part::Origin,
        6 => Part::Name,
        7 | 8 => Part::Kinds,
        9 => Part::StatusMessage,
        10..=12 => Part::Times,
        13 => Part::Attributes,
        17 => Part::Events,
        18 => Part::Links,
        19 | 20 => Part::State,
        21 => Part::Arrival,
        _ => return None,
    })
}

/// The table.
#[repr(C)]
struct Spans {
    base: sqlite3_vtab,
    reader: Arc<Reader>,
}

#[expect(
    unsafe_code,
    reason = "rusqlite asks for a promise about the layout: the base comes first, in C's representation"
)]
// SAFETY: `Spans` is `repr(C)` and its first field is a `sqlite3_vtab`.
unsafe impl<'vtab> VTab<'vtab> for Spans {
    type Aux = Arc<Reader>;
    type Cursor = Scan<'vtab>;

    fn connect(
        _: &mut VTabConnection,
        aux: Option<&Self::Aux>,
        _: &[u8],
        _: &[u8],
        _: &[u8],
        _: &[&[u8]],
    ) -> Result<(Cow<'static, CStr>, Self)> {
        let reader = aux.ok_or_else(|| rusqlite::Error::ModuleError("the table has nothing to read".to_owned()))?;
        Ok((DECLARED.into(), Self { base: sqlite3_vtab::default(), reader: reader.clone() }))
    }

    /// Says which conditions spare reading. SQLite checks all of them again. The columns that are needed go into the
    /// plan's number, the conditions into its text: a letter each, in the order of their values.
    fn best_index(&self, info: &mut IndexInfo) -> Result<bool> {
        use IndexConstraintOp as Op;
        let (mut text, mut argument, mut cost) = (String::new(), 0, 10_000_000.0);
        for (constraint, mut usage) in info.constraints_and_usages() {
            if !constraint.is_usable() {
                continue;
            }
            let (letter, share) = match (constraint.column(), constraint.operator()) {
                (TRACE, Op::SQLITE_INDEX_CONSTRAINT_EQ) => ('t', 0.00001),
                (SERVICE, Op::SQLITE_INDEX_CONSTRAINT_EQ) => ('s', 0.2),
                (START, Op::SQLITE_INDEX_CONSTRAINT_EQ) => ('=', 0.001),
                (START, Op::SQLITE_INDEX_CONSTRAINT_GT | Op::SQLITE_INDEX_CONSTRAINT_GE) => ('>', 0.3),
                (START, Op::SQLITE_INDEX_CONSTRAINT_LT | Op::SQLITE_INDEX_CONSTRAINT_LE) => ('<', 0.3),
                _ => continue,
            };
            argument += 1;
            usage.set_argv_index(argument);
            text.push(letter);
            cost *= share;
        }
        info.set_idx_str(&text);
        info.set_idx_num(c_int::try_from(info.col_used() & 0x7fff_ffff).unwrap_or(c_int::MAX));
        info.set_estimated_cost(cost);
        info.set_estimated_rows(cost as i64);
        Ok(true)
    }

    fn open(&'vtab mut self) -> Result<Scan<'vtab>> {
        Ok(Scan {
            base: sqlite3_vtab_cursor::default(),
            reader: self.reader.clone(),
            wanted: Wanted::default(),
            parts: Parts::default(),
            ahead: VecDeque::new(),
            here: None,
            rowid: 0,
            met: RefCell::default(),
            table: PhantomData,
        })
    }
}

/// What the conditions leave.
struct Wanted {
    range: TimeRange,
    trace: Option<TraceId>,
    /// Senders, sorted.
    senders: Option<Vec<i64>>,
    /// Nothing can fit.
    nothing: bool,
}

impl Default for Wanted {
    fn default() -> Self {
        let range = TimeRange { from: UnixNanos(i64::MIN), to: UnixNanos(i64::MAX) };
        Self { range, trace: None, senders: None, nothing: false }
    }
}

impl Wanted {
    fn add(&mut self, reader: &Reader, letter: char, value: Value) -> Result<()> {
        // A bound may be a number of any kind; one a little too wide does no harm.
        let number = match &value {
            Value::Integer(i) => Some(*i),
            Value::Real(d) => Some(*d as i64),
            _ => None,
        };
        match (letter, number, value) {
            (_, _, Value::Null) => self.nothing = true,
            ('t', _, Value::Text(text)) => match text.parse() {
                Ok(trace) if self.trace.is_none_or(|t| t == trace) => self.trace = Some(trace),
                _ => self.nothing = true,
            },
            ('t', ..) => self.nothing = true,
            ('s', _, Value::Text(service)) => {
                let mut senders = reader.senders_of(&service)?;
                senders.retain(|id| self.senders.as_ref().is_none_or(|known| known.contains(id)));
                self.nothing |= senders.is_empty();
                self.senders = Some(senders);
            }
            ('s', ..) => self.nothing = true,
            ('>', Some(from), _) => self.range.from = self.range.from.max(UnixNanos(from.saturating_sub(1))),
            ('<', Some(to), _) => self.range.to = self.range.to.min(UnixNanos(to.saturating_add(2))),
            ('=', Some(at), _) => {
                self.range.from = self.range.from.max(UnixNanos(at.saturating_sub(1)));
                self.range.to = self.range.to.min(UnixNanos(at.saturating_add(2)));
            }
            _ => {}
        }
        Ok(())
    }

    fn fits(&self, columns: &Columns, row: usize) -> bool {
        let all = Self::default().range;
        (self.range == all || self.range.contains(columns.start(row)))
            && self.senders.as_ref().is_none_or(|ids| ids.binary_search(&columns.origin(row)).is_ok())
    }
}

/// What is still to be read.
enum Ahead {
    Segment(SegmentRow),
    Rows(Arc<Columns>, Vec<usize>),
}

/// Rows that are being read, and how many of them were.
struct Here {
    columns: Arc<Columns>,
    rows: Vec<usize>,
    at: usize,
}

/// A scan of the table.
#[repr(C)]
struct Scan<'vtab> {
    base: sqlite3_vtab_cursor,
    reader: Arc<Reader>,
    wanted: Wanted,
    parts: Parts,
    ahead: VecDeque<Ahead>,
    here: Option<Here>,
    rowid: i64,
    met: RefCell<Met>,
    table: PhantomData<&'vtab Spans>,
}

impl Scan<'_> {
    /// Goes on to the next rows when those at hand are read.
    fn settle(&mut self) -> Result<()> {
        while self.here.as_ref().is_none_or(|here| here.at >= here.rows.len()) {
            let (columns, rows) = match self.ahead.pop_front() {
                None => {
                    self.here = None;
                    return Ok(());
                }
                Some(Ahead::Rows(columns, rows)) => (columns, rows),
                Some(Ahead::Segment(segment)) => {
                    let columns = self.reader.with(|snapshot| snapshot.columns(&segment, &self.parts))?;
                    let rows = (0..columns.rows()).collect();
                    (columns, rows)
                }
            };
            let rows = rows.into_iter().filter(|row| self.wanted.fits(&columns, *row)).collect();
            self.here = Some(Here { columns, rows, at: 0 });
        }
        Ok(())
    }

    fn show(&self, ctx: &mut Context, column: usize) -> Result<()> {
        let Some(here) = &self.here else { return Ok(()) };
        let (columns, Some(row)) = (&here.columns, here.rows.get(here.at).copied()) else { return Ok(()) };
        let sender = || self.met.borrow_mut().origin(&self.reader, columns.origin(row));
        match column {
            0 => ctx.set_result(columns.trace_id(row).to_string()),
            1 => ctx.set_result(columns.span_id(row).to_string()),
            2 => ctx.set_result(columns.parent(row).map(|id| id.to_string())),
            3 => ctx.set_result(sender()?.service.as_str()),
            4 => ctx.set_result(sender()?.instance.as_str()),
            5 => ctx.set_result(sender()?.version.as_str()),
            6 => ctx.set_result(columns.name(row)),
            7 => ctx.set_result(words::kind_of(columns.kind(row))),
            8 => ctx.set_result(words::status_of(columns.status(row))),
            9 => ctx.set_result(columns.status_message(row)),
            10 => ctx.set_result(columns.start(row).0),
            11 => ctx.set_result(columns.end(row).0),
            12 => ctx.set_result(columns.duration(row) as f64 / 1e6),
            13 => ctx.set_result(words::object(&columns.all_attrs(row)).to_string()),
            14 => ctx.set_result(&*self.met.borrow_mut().resource(&self.reader, columns.origin(row))?),
            15 => ctx.set_result(sender()?.scope.as_str()),
            16 => ctx.set_result(sender()?.scope_version.as_str()),
            17 => ctx.set_result(words::events(&columns.events_of(row)).to_string()),
            18 => ctx.set_result(words::links(&columns.links_of(row)).to_string()),
            19 => ctx.set_result(columns.trace_state(row)),
            20 => ctx.set_result(columns.flags(row)),
            21 => ctx.set_result(columns.arrival(row).0),
            _ => Ok(()),
        }
    }
}

#[expect(
    unsafe_code,
    reason = "rusqlite asks for a promise about the layout: the base comes first, in C's representation"
)]
// SAFETY: `Scan` is `repr(C)` and its first field is a `sqlite3_vtab_cursor`.
unsafe impl VTabCursor for Scan<'_> {
    fn filter(&mut self, columns: c_int, conditions: Option<&str>, values: &Filters<'_>) -> Result<()> {
        self.wanted = Wanted::default();
        for (i, letter) in conditions.unwrap_or_default().chars().enumerate() {
            self.wanted.add(&self.reader, letter, values.get(i)?)?;
        }
        let mut parts: Vec<Part> = (0..NAMES.len()).filter(|c| columns & (1 << c) != 0).filter_map(part).collect();
        if self.wanted.senders.is_some() {
            parts.push(Part::Origin);
        }
        if self.wanted.range != Wanted::default().range {
            parts.push(Part::Times);
        }
        self.parts = Parts::of(&parts);
        let (wanted, parts) = (&self.wanted, &self.parts);
        self.ahead = match wanted.trace {
            _ if wanted.nothing => VecDeque::new(),
            Some(trace) => {
                let found = self.reader.with(|snapshot| snapshot.trace(trace, EVER, parts))?;
                found.into_iter().map(|(columns, rows)| Ahead::Rows(columns, rows)).collect()
            }
            None => {
                let mut segments = self.reader.with(|snapshot| snapshot.segments(wanted.range, EVER))?;
                if let Some(senders) = &wanted.senders {
                    segments.retain(|s| s.origins.iter().any(|id| senders.binary_search(id).is_ok()));
                }
                segments.into_iter().map(Ahead::Segment).collect()
            }
        };
        (self.here, self.rowid) = (None, 0);
        self.settle()
    }

    fn next(&mut self) -> Result<()> {
        if let Some(here) = &mut self.here {
            here.at += 1;
            self.rowid += 1;
        }
        self.settle()
    }

    fn eof(&self) -> bool {
        self.here.is_none()
    }

    fn column(&self, ctx: &mut Context, column: c_int) -> Result<()> {
        usize::try_from(column).map_or(Ok(()), |column| self.show(ctx, column))
    }

    fn rowid(&self) -> Result<i64> {
        Ok(self.rowid)
    }
}
