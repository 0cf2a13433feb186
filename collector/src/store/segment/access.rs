//! What a row holds, column by column.

use std::ops::Range;

use arrow_array::Array as _;
use fuseboard_api::{SpanId, TraceId, UnixNanos};

use super::columns::Numbers;
use super::values::{Ints, Texts};
use super::{AttrColumn, Columns, Part, Parts, Value, span};
use crate::otlp::Marks;

impl Columns {
    /// How many rows there are. All other methods give a default for rows beyond.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// What was read.
    #[must_use]
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// About how many bytes it holds in memory.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// How many traces there are.
    #[must_use]
    pub fn trace_count(&self) -> usize {
        self.bounds.len().saturating_sub(1)
    }

    /// The rows of each trace, traces by their first start.
    pub fn traces(&self) -> impl DoubleEndedIterator<Item = Range<usize>> + ExactSizeIterator {
        self.bounds.windows(2).map(|run| run[0] as usize..run[1] as usize)
    }

    /// The rows of one trace, by start; empty when it has none here.
    #[must_use]
    pub fn rows_of(&self, trace: TraceId) -> Range<usize> {
        let mut runs = self.traces();
        runs.find(|run| self.trace_id(run.start) == trace).unwrap_or_default()
    }

    /// The trace.
    #[must_use]
    pub fn trace_id(&self, row: usize) -> TraceId {
        let at = self.trace_of.get(row).filter(|at| *at < self.trace_ids.len());
        let id = at.map(|at| self.trace_ids.value(at));
        TraceId(id.and_then(|id| id.try_into().ok()).unwrap_or_default())
    }

    /// The span's id.
    #[must_use]
    pub fn span_id(&self, row: usize) -> SpanId {
        self.must_have(Part::Ids);
        let ids = self.span_ids.as_ref().filter(|ids| row < ids.len());
        SpanId(ids.and_then(|ids| ids.value(row).try_into().ok()).unwrap_or_default())
    }

    /// The parent's id; `None` for a root.
    #[must_use]
    pub fn parent(&self, row: usize) -> Option<SpanId> {
        if let Some(parent) = self.parent_row(row) {
            return Some(self.span_id(parent));
        }
        let ids = self.parent_ids.as_ref().filter(|ids| row < ids.len() && ids.is_valid(row))?;
        ids.value(row).try_into().ok().map(SpanId)
    }

    /// The parent's row, when the parent is in the segment.
    #[must_use]
    pub fn parent_row(&self, row: usize) -> Option<usize> {
        self.must_have(Part::Ids);
        let away = self.parent_at.as_ref()?.get(row).filter(|away| *away != 0)?;
        row.checked_add_signed(isize::try_from(away).ok()?).filter(|parent| *parent < self.rows)
    }

    /// When it began.
    #[must_use]
    pub fn start(&self, row: usize) -> UnixNanos {
        self.must_have(Part::Times);
        UnixNanos(self.starts.get(row).copied().unwrap_or_default())
    }

    /// When it ended.
    #[must_use]
    pub fn end(&self, row: usize) -> UnixNanos {
        UnixNanos(self.start(row).0.wrapping_add(self.duration(row)))
    }

    /// End minus start, nanoseconds; negative when the sender's clock jumped.
    #[must_use]
    pub fn duration(&self, row: usize) -> i64 {
        self.must_have(Part::Times);
        self.durations.get(row).copied().unwrap_or_default()
    }

    /// OTLP's number of the kind, 0 to 5.
    #[must_use]
    pub fn kind(&self, row: usize) -> u8 {
        self.small(self.kind.as_ref(), row)
    }

    /// OTLP's status code: 0 unset, 1 ok, 2 error.
    #[must_use]
    pub fn status(&self, row: usize) -> u8 {
        self.small(self.status.as_ref(), row)
    }

    /// Facts about the call.
    #[must_use]
    pub fn marks(&self, row: usize) -> Marks {
        Marks(self.small(self.marks.as_ref(), row))
    }

    fn small(&self, column: Option<&Ints>, row: usize) -> u8 {
        self.must_have(Part::Kinds);
        column.and_then(|c| c.get(row)).map_or(0, |v| v as u8)
    }

    /// The name.
    #[must_use]
    pub fn name(&self, row: usize) -> &str {
        self.names().and_then(|names| names.get(row)).unwrap_or_default()
    }

    /// All names.
    #[must_use]
    pub fn names(&self) -> Option<&Texts> {
        self.must_have(Part::Name);
        self.name.as_ref()
    }

    /// Number of the sender in the table `origins`.
    #[must_use]
    pub fn origin(&self, row: usize) -> i64 {
        self.must_have(Part::Origin);
        self.origin.as_ref().map_or(0, |origin| origin.get(row))
    }

    /// The distinct senders, in the order in which [`Columns::origin_code`] counts them.
    pub fn origins(&self) -> impl Iterator<Item = i64> {
        self.must_have(Part::Origin);
        self.origin.iter().flat_map(Numbers::distinct)
    }

    /// Which of [`Columns::origins`] sent a row.
    #[must_use]
    pub fn origin_code(&self, row: usize) -> usize {
        self.must_have(Part::Origin);
        self.origin.as_ref().map_or(0, |origin| origin.code(row))
    }

    /// Stamp of the commit.
    #[must_use]
    pub fn arrival(&self, row: usize) -> UnixNanos {
        self.must_have(Part::Arrival);
        UnixNanos(self.arrival.as_ref().map_or(0, |arrival| arrival.get(row)))
    }

    /// The other side of the call, where the span names it.
    #[must_use]
    pub fn peer(&self, row: usize) -> Option<&str> {
        self.peers()?.get(row)
    }

    /// All peers; `None` when no span names one.
    #[must_use]
    pub fn peers(&self) -> Option<&Texts> {
        self.must_have(Part::Peer);
        self.peer.as_ref()
    }

    /// The sender's words about the status; may be empty.
    #[must_use]
    pub fn status_message(&self, row: usize) -> &str {
        self.status_messages().and_then(|texts| texts.get(row)).unwrap_or_default()
    }

    /// All words about the status; `None` when there are none.
    #[must_use]
    pub fn status_messages(&self) -> Option<&Texts> {
        self.must_have(Part::StatusMessage);
        self.status_message.as_ref()
    }

    /// W3C trace state; may be empty.
    #[must_use]
    pub fn trace_state(&self, row: usize) -> &str {
        self.must_have(Part::State);
        self.trace_state.as_ref().and_then(|texts| texts.get(row)).unwrap_or_default()
    }

    /// W3C flags and OTLP's remote bits.
    #[must_use]
    pub fn flags(&self, row: usize) -> u32 {
        self.must_have(Part::State);
        self.flags.as_ref().and_then(|c| c.get(row)).map_or(0, |v| v as u32)
    }

    /// Attributes, events and links that the sender left out.
    #[must_use]
    pub fn dropped(&self, row: usize) -> [u32; 3] {
        self.must_have(Part::State);
        self.dropped.each_ref().map(|c| c.as_ref().and_then(|c| c.get(row)).map_or(0, |v| v as u32))
    }

    /// All attribute columns that were read.
    #[must_use]
    pub fn attributes(&self) -> &[AttrColumn] {
        &self.attributes
    }

    /// The columns of a key: one for each type that its values have. Values without a column are not in them; see
    /// [`Columns::attr`] and [`Columns::more_attrs`].
    pub fn columns_of<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a AttrColumn> {
        debug_assert!(self.parts.has_key(key), "the key {key:?} was not asked for");
        self.attributes.iter().filter(move |column| column.key() == key)
    }

    /// The first attribute of that key in the sender's order; `None` when the row has none.
    #[must_use]
    pub fn attr(&self, row: usize, key: &str) -> Option<Value<'_>> {
        let in_column = self.columns_of(key).find_map(|column| column.value(row));
        // A row has a key in a column once, and whatever repeats it comes later.
        in_column.or_else(|| {
            let value = self.more_attrs(row).into_iter().find(|(k, _)| k == key)?.1;
            Some(Value::Other(value))
        })
    }

    /// Whether a row has attributes without a column. Where only some keys were asked for, attributes are found here
    /// only if one of those keys can be among them.
    #[must_use]
    pub fn has_more(&self, row: usize) -> bool {
        self.more.as_ref().is_some_and(|more| row < more.len() && !more.value(row).is_empty())
    }

    /// The attributes of a row that have no column.
    #[must_use]
    pub fn more_attrs(&self, row: usize) -> fuseboard_api::attr::Attributes {
        if self.has_more(row) { span::more(self, row) } else { Vec::new() }
    }

    /// Whoever reads what was not read has a mistake in its parts.
    pub(super) fn must_have(&self, part: Part) {
        debug_assert!(self.parts.has(part), "{part:?} was not asked for");
    }
}
