//! A segment, or a part of it, to be read row by row.

use std::collections::HashMap;
use std::fmt;

use arrow_array::{Array, ArrayRef, BinaryArray, FixedSizeBinaryArray, RecordBatch};
use fuseboard_api::attr::AttrValue;

use super::values::{self, Cells, Codes, Ints, Texts};
use super::{Built, Parts, SegmentError, ipc, name};
use crate::otlp::Tag;

/// Columns of a segment: those of the parts asked for. What was not asked for reads as its default; a debug build panics.
#[derive(Debug)]
pub struct Columns {
    pub(super) rows: usize,
    pub(super) parts: Parts,
    pub(super) size: usize,
    pub(super) trace_of: Codes,
    pub(super) trace_ids: FixedSizeBinaryArray,
    /// The first row of each trace, and behind them the number of rows.
    pub(super) bounds: Vec<u32>,
    pub(super) span_ids: Option<FixedSizeBinaryArray>,
    pub(super) parent_at: Option<Ints>,
    pub(super) parent_ids: Option<FixedSizeBinaryArray>,
    pub(super) starts: Vec<i64>,
    pub(super) durations: Vec<i64>,
    pub(super) kind: Option<Ints>,
    pub(super) status: Option<Ints>,
    pub(super) marks: Option<Ints>,
    pub(super) name: Option<Texts>,
    pub(super) origin: Option<Numbers>,
    pub(super) arrival: Option<Numbers>,
    pub(super) peer: Option<Texts>,
    pub(super) status_message: Option<Texts>,
    pub(super) trace_state: Option<Texts>,
    pub(super) flags: Option<Ints>,
    pub(super) dropped: [Option<Ints>; 3],
    pub(super) events: Option<BinaryArray>,
    pub(super) links: Option<BinaryArray>,
    pub(super) attributes: Vec<AttrColumn>,
    pub(super) shape: Option<Shapes>,
    pub(super) more: Option<BinaryArray>,
}

/// Numbers through a dictionary.
#[derive(Debug)]
pub(super) struct Numbers {
    codes: Codes,
    values: Ints,
    distinct: usize,
}

impl Numbers {
    pub(super) fn code(&self, row: usize) -> usize {
        self.codes.get(row).unwrap_or_default()
    }

    pub(super) fn get(&self, row: usize) -> i64 {
        self.codes.get(row).and_then(|code| self.values.get(code)).unwrap_or_default()
    }

    pub(super) fn distinct(&self) -> impl Iterator<Item = i64> {
        (0..self.distinct).filter_map(|code| self.values.get(code))
    }
}

/// The orders of attributes.
#[derive(Debug)]
pub(super) struct Shapes {
    pub(super) codes: Codes,
    pub(super) orders: BinaryArray,
}

/// The attributes of one key that have one type.
#[derive(Debug, Clone)]
pub struct AttrColumn {
    key: String,
    cells: Cells,
}

/// An attribute's value where it lies.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// Text.
    Str(&'a str),
    /// A whole number.
    Int(i64),
    /// A double.
    Double(f64),
    /// A truth value.
    Bool(bool),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Whatever had no column.
    Other(AttrValue),
}

impl Value<'_> {
    /// The value by itself.
    #[must_use]
    pub fn into_owned(self) -> AttrValue {
        match self {
            Self::Str(s) => AttrValue::Str(s.to_owned()),
            Self::Int(i) => AttrValue::Int(i),
            Self::Double(d) => AttrValue::Double(d),
            Self::Bool(b) => AttrValue::Bool(b),
            Self::Bytes(b) => AttrValue::Bytes(b.to_vec()),
            Self::Other(value) => value,
        }
    }
}

impl fmt::Display for Value<'_> {
    /// The same text as [`AttrValue`]'s.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Str(s) => f.write_str(s),
            Self::Int(i) => write!(f, "{i}"),
            Self::Double(d) => write!(f, "{d}"),
            Self::Bool(b) => write!(f, "{b}"),
            Self::Bytes(b) => b.iter().try_for_each(|x| write!(f, "{x:02x}")),
            Self::Other(value) => value.fmt(f),
        }
    }
}

impl AttrColumn {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The values.
    #[must_use]
    pub fn cells(&self) -> &Cells {
        &self.cells
    }

    /// A row's value; `None` where it has none of this key and type.
    #[must_use]
    pub fn value(&self, row: usize) -> Option<Value<'_>> {
        fn at<A: Array>(array: &A, row: usize) -> Option<&A> {
            (row < array.len() && array.is_valid(row)).then_some(array)
        }
        match &self.cells {
            Cells::Text(texts) => texts.get(row).map(Value::Str),
            Cells::Int(ints) => ints.get(row).map(Value::Int),
            Cells::Double(doubles) => at(doubles, row).map(|d| Value::Double(d.value(row))),
            Cells::Bool(bools) => at(bools, row).map(|b| Value::Bool(b.value(row))),
            Cells::Bytes(bytes) => at(bytes, row).map(|b| Value::Bytes(b.value(row))),
        }
    }

    fn of(tag: Tag, key: &str, array: &ArrayRef) -> Result<Self, SegmentError> {
        let cells = match tag {
            Tag::Str => Cells::Text(Texts::of(array)?),
            Tag::Int => Cells::Int(Ints::of(array)?),
            Tag::Double => Cells::Double(values::doubles(array)?),
            Tag::Bool => Cells::Bool(values::bools(array)?),
            Tag::Bytes | Tag::Empty | Tag::Nested => Cells::Bytes(values::binary(array)?),
        };
        Ok(Self { key: key.to_owned(), cells })
    }
}

/// The columns of a batch by name.
struct Named<'a>(HashMap<&'a str, &'a ArrayRef>);

impl<'a> Named<'a> {
    fn get<T>(
        &self,
        name: &str,
        of: impl Fn(&'a ArrayRef) -> Result<T, SegmentError>,
    ) -> Result<Option<T>, SegmentError> {
        self.0.get(name).map(|array| of(array)).transpose()
    }

    fn numbers(&self, name: &str) -> Result<Option<Numbers>, SegmentError> {
        self.get(name, |array| {
            let (codes, _, values) = Codes::of(array)?;
            Ok(Numbers { codes, values: Ints::of(&values)?, distinct: values.len() })
        })
    }

    /// Numbers split at the 32nd bit.
    fn whole(&self, low: &str, high: &str, rows: usize) -> Result<Vec<i64>, SegmentError> {
        let (low, high) = (self.get(low, Ints::of)?, self.get(high, Ints::of)?);
        let Some(low) = low else { return Ok(Vec::new()) };
        let high = |row| high.as_ref().and_then(|h| h.get(row)).unwrap_or(0);
        Ok((0..rows).map(|row| (high(row) << 32).wrapping_add(low.get(row).unwrap_or(0))).collect())
    }
}

impl Columns {
    /// Reads of a blob what `parts` name.
    ///
    /// # Errors
    /// When the blob is damaged, or of a newer format.
    pub fn decode(bytes: Vec<u8>, parts: Parts) -> Result<Self, SegmentError> {
        let blob = bytes.len();
        let batch = ipc::decode(bytes, &parts)?;
        Self::of(&batch, parts, blob)
    }

    /// All columns of what was just built.
    ///
    /// # Errors
    /// Never for what [`super::build`] made.
    pub fn of_built(built: &Built) -> Result<Self, SegmentError> {
        Self::of(&built.batch, Parts::all(), 0)
    }

    fn of(batch: &RecordBatch, parts: Parts, blob: usize) -> Result<Self, SegmentError> {
        let rows = batch.num_rows();
        let schema = batch.schema_ref();
        let fields = schema.fields().iter().zip(batch.columns());
        let named = Named(fields.clone().map(|(field, array)| (field.name().as_str(), array)).collect());
        let missing = || SegmentError::damaged("it has no trace ids");
        let (trace_of, _, ids) = named.get(name::TRACE_ID, Codes::of)?.ok_or_else(missing)?;
        let trace_ids = values::fixed(&ids, 16)?;
        let bounds = bounds(&trace_of, rows);
        let start = schema.metadata().get(name::META_START).and_then(|start| start.parse().ok());
        let start = start.ok_or_else(|| SegmentError::damaged("it does not say when it begins"))?;
        let mut starts = named.whole(name::START_LOW, name::START_HIGH, rows)?;
        sum_up(&mut starts, &bounds, start);
        let shape = named.get(name::SHAPE, |array| {
            let (codes, _, orders) = Codes::of(array)?;
            Ok(Shapes { codes, orders: values::binary(&orders)? })
        })?;
        let attributes = fields.filter_map(|(field, array)| Some((name::attribute(field.name())?, array)));
        let dropped = |i: usize| name::DROPPED.get(i).map_or(Ok(None), |name| named.get(name, Ints::of));
        let arrays: usize = batch.columns().iter().map(|a| a.to_data().get_slice_memory_size().unwrap_or(0)).sum();
        Ok(Self {
            rows,
            size: blob + arrays + 16 * starts.len() + size_of::<Self>(),
            parts,
            trace_of,
            trace_ids,
            bounds,
            span_ids: named.get(name::SPAN_ID, |a| values::fixed(a, 8))?,
            parent_at: named.get(name::PARENT_AT, Ints::of)?,
            parent_ids: named.get(name::PARENT_ID, |a| values::fixed(a, 8))?,
            starts,
            durations: named.whole(name::DURATION_LOW, name::DURATION_HIGH, rows)?,
            kind: named.get(name::KIND, Ints::of)?,
            status: named.get(name::STATUS, Ints::of)?,
            marks: named.get(name::MARKS, Ints::of)?,
            name: named.get(name::NAME, Texts::of)?,
            origin: named.numbers(name::ORIGIN)?,
            arrival: named.numbers(name::ARRIVAL)?,
            peer: named.get(name::PEER, Texts::of)?,
            status_message: named.get(name::STATUS_MESSAGE, Texts::of)?,
            trace_state: named.get(name::TRACE_STATE, Texts::of)?,
            flags: named.get(name::FLAGS, Ints::of)?,
            dropped: [dropped(0)?, dropped(1)?, dropped(2)?],
            events: named.get(name::EVENTS, values::binary)?,
            links: named.get(name::LINKS, values::binary)?,
            attributes: attributes
                .map(|((tag, key), array)| AttrColumn::of(tag, key, array))
                .collect::<Result<_, _>>()?,
            shape,
            more: named.get(name::MORE, values::binary)?,
        })
    }
}

/// The runs of rows of one trace.
fn bounds(trace_of: &Codes, rows: usize) -> Vec<u32> {
    let mut bounds: Vec<u32> = Vec::new();
    let mut last = None;
    for row in 0..rows {
        let trace = trace_of.get(row);
        if trace != last {
            bounds.push(row as u32);
            last = trace;
        }
    }
    bounds.push(rows as u32);
    bounds
}

/// Starts from the steps between them.
fn sum_up(starts: &mut [i64], bounds: &[u32], first: i64) {
    let mut of_trace = first;
    for run in bounds.windows(2) {
        let Some(rows) = starts.get_mut(run[0] as usize..run[1] as usize) else { return };
        let mut before = of_trace;
        for start in rows.iter_mut() {
            before = before.wrapping_add(*start);
            *start = before;
        }
        of_trace = rows.first().copied().unwrap_or(of_trace);
    }
}
