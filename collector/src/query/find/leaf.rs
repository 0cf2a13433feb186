//! One condition over all rows of a segment.

use std::sync::Arc;

use fuseboard_api::attr::{self, AttrValue};
use fuseboard_api::filter::{Compare, Field, Kind, Known, Needle, Op, Place, Term, Value};
use fuseboard_api::span::{Origin, SpanEvent};

use super::compare;
use super::plan::in_events;
use crate::store::StoreError;
use crate::store::segment::{self, Cells, Columns, Texts};

/// Gives senders by number.
pub(super) type Origins<'a> = dyn Fn(i64) -> Result<Arc<Origin>, StoreError> + 'a;

/// What is asked of a field.
#[derive(Clone, Copy)]
enum Ask<'a> {
    /// That it is there.
    Has,
    /// That it compares so.
    Compare(&'a Compare),
}

impl Ask<'_> {
    fn text(self, text: &str) -> bool {
        match self {
            Self::Has => true,
            Self::Compare(c) => compare::text(c, text),
        }
    }

    fn cell(self, value: &segment::Value<'_>) -> bool {
        match self {
            Self::Has => true,
            Self::Compare(c) => compare::cell(c, value),
        }
    }

    fn attr(self, value: &AttrValue) -> bool {
        match self {
            Self::Has => true,
            Self::Compare(c) => compare::attr(c, value),
        }
    }

    fn nanos(self, nanos: u64) -> bool {
        match self {
            Self::Has => true,
            Self::Compare(c) => compare::nanos(c, nanos),
        }
    }

    /// The id that alone fits, when there is only one.
    fn id<T: std::str::FromStr>(self) -> Option<T> {
        match self {
            Self::Compare(Compare { op: Op::Equal, value: Value::Text(id), .. }) => id.parse().ok(),
            _ => None,
        }
    }
}

/// For each row whether the condition holds.
pub(super) fn rows(term: &Term, columns: &Columns, origins: &Origins<'_>) -> Result<Vec<bool>, StoreError> {
    let (field, ask) = match term {
        Term::Text(needle) => return Ok(text(needle, columns)),
        Term::Has(field) => (field, Ask::Has),
        Term::Compare(c) => (&c.field, Ask::Compare(c)),
    };
    match field {
        Field::Known(known) => self::known(*known, ask, columns, origins),
        Field::Attribute(Place::Span, key) => Ok(in_span(key, ask, columns).fits),
        Field::Attribute(Place::Resource, key) => {
            by_origin(columns, origins, |o| in_resource(o, key, ask) == Some(true))
        }
        Field::Attribute(Place::Event, key) => {
            Ok(by_row(columns, |row| some_event(&columns.events_of(row), key, ask) == Some(true)))
        }
        Field::Attribute(Place::Anywhere, key) => anywhere(key, ask, columns, origins),
    }
}

fn by_row(columns: &Columns, holds: impl FnMut(usize) -> bool) -> Vec<bool> {
    (0..columns.rows()).map(holds).collect()
}

fn by_text(columns: &Columns, texts: Option<&Texts>, ask: Ask<'_>) -> Vec<bool> {
    texts.map_or_else(|| vec![false; columns.rows()], |texts| texts.test(columns.rows(), |t| ask.text(t)))
}

fn by_origin(
    columns: &Columns,
    origins: &Origins<'_>,
    holds: impl Fn(&Origin) -> bool,
) -> Result<Vec<bool>, StoreError> {
    let of = columns.origins().map(|id| Ok(holds(&*origins(id)?))).collect::<Result<Vec<bool>, StoreError>>()?;
    Ok(by_row(columns, |row| of.get(columns.origin_code(row)).copied().unwrap_or(false)))
}

/// One word for each of OTLP's numbers.
fn by_number(columns: &Columns, known: Known, ask: Ask<'_>, number: impl Fn(usize) -> u8) -> Vec<bool> {
    let words: &[&str] = if let Kind::Words(words) = known.kind() { words } else { &[] };
    let fits: Vec<bool> = words.iter().map(|word| ask.text(word)).collect();
    by_row(columns, |row| fits.get(usize::from(number(row))).copied().unwrap_or(false))
}

fn known(known: Known, ask: Ask<'_>, columns: &Columns, origins: &Origins<'_>) -> Result<Vec<bool>, StoreError> {
    let some = |text: &str| !text.is_empty() && ask.text(text);
    Ok(match known {
        Known::Service => return by_origin(columns, origins, |o| ask.text(&o.service)),
        Known::Instance => return by_origin(columns, origins, |o| some(&o.instance)),
        Known::Version => return by_origin(columns, origins, |o| some(&o.version)),
        Known::Scope => return by_origin(columns, origins, |o| some(&o.scope)),
        Known::Name => by_text(columns, columns.names(), ask),
        Known::Message => by_text(columns, columns.status_messages(), ask),
        Known::Peer => by_text(columns, columns.peers(), ask),
        Known::Kind => by_number(columns, known, ask, |row| columns.kind(row)),
        Known::Status => by_number(columns, known, ask, |row| columns.status(row)),
        Known::Duration => by_row(columns, |row| ask.nanos(u64::try_from(columns.duration(row)).unwrap_or(0))),
        Known::Event => by_row(columns, |row| columns.events_of(row).iter().any(|e| ask.text(&e.name))),
        Known::Link => by_row(columns, |row| columns.links_of(row).iter().any(|l| ask.text(&l.trace_id.to_string()))),
        Known::Parent => match ask.id() {
            Some(id) => by_row(columns, |row| columns.parent(row) == Some(id)),
            None => by_row(columns, |row| columns.parent(row).is_some_and(|id| ask.text(&id.to_string()))),
        },
        Known::SpanId => match ask.id() {
            Some(id) => by_row(columns, |row| columns.span_id(row) == id),
            None => by_row(columns, |row| ask.text(&columns.span_id(row).to_string())),
        },
        Known::TraceId => {
            let mut fits = vec![false; columns.rows()];
            for run in columns.traces() {
                let fit = ask.text(&columns.trace_id(run.start).to_string());
                fits[run].fill(fit);
            }
            fits
        }
        // Traces decide about these, not rows.
        Known::Edge
        | Known::RootService
        | Known::RootName
        | Known::TraceDuration
        | Known::TraceSpans
        | Known::TraceErrors => vec![false; columns.rows()],
    })
}

/// Which rows have an attribute, and where it fits.
struct Attribute {
    there: Vec<bool>,
    fits: Vec<bool>,
}

impl Attribute {
    fn set(&mut self, row: usize, fits: bool) {
        if let (Some(there), Some(fit)) = (self.there.get_mut(row), self.fits.get_mut(row)) {
            (*there, *fit) = (true, fits);
        }
    }

    fn is_there(&self, row: usize) -> bool {
        self.there.get(row).copied().unwrap_or(false)
    }
}

/// The first attribute of a key in each span.
fn in_span(key: &str, ask: Ask<'_>, columns: &Columns) -> Attribute {
    let rows = columns.rows();
    let mut out = Attribute { there: vec![false; rows], fits: vec![false; rows] };
    for column in columns.columns_of(key) {
        if let Cells::Text(texts) = column.cells() {
            let passed: Vec<bool> = texts.stored().map(|t| ask.text(t)).collect();
            for row in 0..rows {
                if let Some(code) = texts.code(row) {
                    out.set(row, passed.get(code).copied().unwrap_or(false));
                }
            }
            continue;
        }
        for row in 0..rows {
            if let Some(value) = column.value(row) {
                out.set(row, ask.cell(&value));
            }
        }
    }
    for row in 0..rows {
        if !out.is_there(row)
            && columns.has_more(row)
            && let Some(value) = attr::get(&columns.more_attrs(row), key)
        {
            out.set(row, ask.attr(value));
        }
    }
    out
}

/// Whether the attribute of a resource fits; `None` when it has none.
fn in_resource(origin: &Origin, key: &str, ask: Ask<'_>) -> Option<bool> {
    attr::get(&origin.resource, key).map(|value| ask.attr(value))
}

/// Whether the attribute fits in some event; `None` when no event has it.
fn some_event(events: &[SpanEvent], key: &str, ask: Ask<'_>) -> Option<bool> {
    let mut found = events.iter().filter_map(|e| attr::get(&e.attributes, key)).map(|v| ask.attr(v)).peekable();
    found.peek()?;
    Some(found.any(|fits| fits))
}

fn anywhere(key: &str, ask: Ask<'_>, columns: &Columns, origins: &Origins<'_>) -> Result<Vec<bool>, StoreError> {
    let mut out = in_span(key, ask, columns);
    if in_events(key) {
        for row in 0..columns.rows() {
            if !out.is_there(row)
                && let Some(fits) = some_event(&columns.events_of(row), key, ask)
            {
                out.set(row, fits);
            }
        }
    }
    let of: Vec<Option<bool>> =
        columns.origins().map(|id| Ok(in_resource(&*origins(id)?, key, ask))).collect::<Result<_, StoreError>>()?;
    if of.iter().any(Option::is_some) {
        for row in 0..columns.rows() {
            if !out.is_there(row)
                && let Some(Some(fits)) = of.get(columns.origin_code(row))
            {
                out.set(row, *fits);
            }
        }
    }
    Ok(out.fits)
}

/// Free text.
fn text(needle: &Needle, columns: &Columns) -> Vec<bool> {
    let rows = columns.rows();
    let mut out = vec![false; rows];
    let mut add = |texts: &Texts| {
        let found = texts.test(rows, |t| needle.is_in(t));
        out.iter_mut().zip(found).for_each(|(out, found)| *out |= found);
    };
    columns.names().into_iter().chain(columns.status_messages()).for_each(&mut add);
    for column in columns.attributes() {
        if let Cells::Text(texts) = column.cells() {
            add(texts);
        }
    }
    let others: Vec<_> = columns.attributes().iter().filter(|column| may_show(needle, column.cells())).collect();
    for (row, found) in out.iter_mut().enumerate() {
        let shows = |value: &dyn std::fmt::Display| needle.is_in(&value.to_string());
        *found = *found
            || others.iter().any(|column| column.value(row).is_some_and(|value| shows(&value)))
            || columns.has_more(row) && columns.more_attrs(row).iter().any(|(_, value)| shows(value))
            || columns
                .events_of(row)
                .iter()
                .any(|e| needle.is_in(&e.name) || e.attributes.iter().any(|(_, v)| shows(v)));
    }
    out
}

/// Whether values of a type other than text can show the text at all: most are not worth writing out.
fn may_show(needle: &Needle, cells: &Cells) -> bool {
    let only = |letters: &str| needle.as_str().chars().all(|c| letters.contains(c.to_ascii_lowercase()));
    match cells {
        Cells::Text(_) => false,
        Cells::Int(_) => only("-0123456789"),
        // `inf` and `NaN` too.
        Cells::Double(_) => only("-.0123456789infa"),
        Cells::Bytes(_) => only("0123456789abcdef"),
        Cells::Bool(_) => needle.is_in("true") || needle.is_in("false"),
    }
}
