//! Whole spans out of columns.

use std::sync::Arc;

use arrow_array::{Array as _, BinaryArray};
use fuseboard_api::attr::Attributes;
use fuseboard_api::span::{Origin, Span, SpanEvent, SpanKind, SpanLink, StatusCode};
use opentelemetry_proto::tonic::trace::v1 as traces;
use prost::Message as _;
use prost::encoding::decode_varint;

use super::{Columns, Value};
use crate::otlp::{words, write};

/// An attribute out of a row.
enum Found<'a> {
    /// Out of its column.
    InColumn(&'a str, Value<'a>),
    /// The next one in `more`.
    Verbatim,
}

impl Columns {
    /// The whole span; needs all parts. `origin` is the sender that [`Columns::origin`] numbers.
    #[must_use]
    pub fn span(&self, row: usize, origin: Arc<Origin>) -> Span {
        let [dropped_attributes, dropped_events, dropped_links] = self.dropped(row);
        Span {
            trace_id: self.trace_id(row),
            span_id: self.span_id(row),
            parent: self.parent(row),
            name: self.name(row).to_owned(),
            kind: kind(self.kind(row)),
            start: self.start(row),
            end: self.end(row),
            status: status(self.status(row)),
            status_message: self.status_message(row).to_owned(),
            attributes: self.all_attrs(row),
            events: self.events_of(row),
            links: self.links_of(row),
            trace_state: self.trace_state(row).to_owned(),
            flags: self.flags(row),
            dropped_attributes,
            dropped_events,
            dropped_links,
            origin,
            arrival: self.arrival(row),
        }
    }

    /// The events of a row; needs [`super::Part::Events`].
    #[must_use]
    pub fn events_of(&self, row: usize) -> Vec<SpanEvent> {
        partial(self.events.as_ref(), row).events.into_iter().map(words::event).collect()
    }

    /// The links of a row; needs [`super::Part::Links`].
    #[must_use]
    pub fn links_of(&self, row: usize) -> Vec<SpanLink> {
        partial(self.links.as_ref(), row).links.into_iter().map(words::link).collect()
    }

    /// All attributes of a row, in the sender's order; needs [`super::Part::Attributes`].
    #[must_use]
    pub fn all_attrs(&self, row: usize) -> Attributes {
        let mut more = self.more_attrs(row).into_iter();
        let mut all = Vec::new();
        self.in_order(row, |found| match found {
            Found::InColumn(key, value) => all.push((key.to_owned(), value.into_owned())),
            Found::Verbatim => all.extend(more.next()),
        });
        all.extend(more);
        all
    }

    /// Calls `visit` with each attribute of a row; what is left of `more` comes after all of them.
    fn in_order<'a>(&'a self, row: usize, mut visit: impl FnMut(Found<'a>)) {
        self.must_have(super::Part::Attributes);
        let Some(shape) = &self.shape else { return };
        let code = shape.codes.get(row).filter(|code| *code < shape.orders.len());
        let mut order = code.map_or(&[][..], |code| shape.orders.value(code));
        while !order.is_empty() {
            let Ok(number) = decode_varint(&mut order) else { return };
            match usize::try_from(number).ok().and_then(|number| number.checked_sub(1)) {
                None => visit(Found::Verbatim),
                Some(column) => {
                    let column = self.attributes.get(column);
                    if let Some((column, value)) = column.and_then(|column| Some((column, column.value(row)?))) {
                        visit(Found::InColumn(column.key(), value));
                    }
                }
            }
        }
    }

    /// Appends the span as OTLP's `Span`, encoded; needs all parts. It is what was sent, but for what an encoder is free to
    /// choose, and for fields that OTLP 1.9 does not know.
    pub fn message(&self, row: usize, out: &mut Vec<u8>) {
        bytes(1, &self.trace_id(row).0, out);
        bytes(2, &self.span_id(row).0, out);
        bytes(3, self.trace_state(row).as_bytes(), out);
        if let Some(parent) = self.parent(row) {
            bytes(4, &parent.0, out);
        }
        bytes(5, self.name(row).as_bytes(), out);
        number(6, u64::from(self.kind(row)), out);
        write::fixed64(out, 7, self.start(row).0 as u64);
        write::fixed64(out, 8, self.end(row).0 as u64);
        self.attributes_message(row, out);
        let [attributes, events, links] = self.dropped(row);
        number(10, u64::from(attributes), out);
        out.extend_from_slice(stored(self.events.as_ref(), row));
        number(12, u64::from(events), out);
        out.extend_from_slice(stored(self.links.as_ref(), row));
        number(14, u64::from(links), out);
        self.status_field(row, out);
        let flags = self.flags(row);
        if flags != 0 {
            write::fixed32(out, 16, flags);
        }
    }

    fn attributes_message(&self, row: usize, out: &mut Vec<u8>) {
        let mut more = stored(self.more.as_ref(), row);
        self.in_order(row, |found| match found {
            Found::InColumn(key, value) => attribute(key, &value, out),
            Found::Verbatim => {
                let (next, rest) = more.split_at(field_len(more));
                out.extend_from_slice(next);
                more = rest;
            }
        });
        out.extend_from_slice(more);
    }

    fn status_field(&self, row: usize, out: &mut Vec<u8>) {
        let (code, message) = (self.status(row), self.status_message(row));
        if code == 0 && message.is_empty() {
            return;
        }
        let message_len = if message.is_empty() { 0 } else { len_of(message.len()) };
        write::header(out, 15, message_len + if code == 0 { 0 } else { 2 });
        bytes(2, message.as_bytes(), out);
        number(3, u64::from(code), out);
    }
}

/// The attributes in `more`.
pub(super) fn more(columns: &Columns, row: usize) -> Attributes {
    words::attributes(partial(columns.more.as_ref(), row).attributes)
}

/// The fields of a span that a column holds encoded. What the checksum lets through was written here, so that it decodes.
fn partial(column: Option<&BinaryArray>, row: usize) -> traces::Span {
    match stored(column, row) {
        [] => traces::Span::default(),
        some => traces::Span::decode(some).unwrap_or_default(),
    }
}

fn stored(column: Option<&BinaryArray>, row: usize) -> &[u8] {
    column.filter(|c| row < c.len()).map_or(&[], |c| c.value(row))
}

/// Bytes of the first length-delimited field; of all when it is cut short.
fn field_len(fields: &[u8]) -> usize {
    let mut rest = fields;
    let len = decode_varint(&mut rest).and_then(|_| decode_varint(&mut rest));
    let head = fields.len() - rest.len();
    len.ok().and_then(|len| usize::try_from(len).ok()?.checked_add(head)).unwrap_or(usize::MAX).min(fields.len())
}

/// Bytes of a field whose number is below 16.
fn len_of(len: usize) -> usize {
    write::bytes_len(1, len)
}

/// Bytes, unless there are none.
fn bytes(field: u32, value: &[u8], out: &mut Vec<u8>) {
    if !value.is_empty() {
        write::bytes(out, field, value);
    }
}

/// A number, unless it is 0.
fn number(field: u32, value: u64, out: &mut Vec<u8>) {
    if value != 0 {
        write::number(out, field, value);
    }
}

/// An attribute as field 9 of a span.
fn attribute(key: &str, value: &Value<'_>, out: &mut Vec<u8>) {
    let value_len = match value {
        Value::Str(s) => len_of(s.len()),
        Value::Bytes(b) => len_of(b.len()),
        Value::Bool(_) => 2,
        Value::Int(i) => 1 + write::varint_len(*i as u64),
        Value::Double(_) => 9,
        // Only values with a column come here.
        Value::Other(_) => 0,
    };
    let key_len = if key.is_empty() { 0 } else { len_of(key.len()) };
    write::header(out, 9, key_len + len_of(value_len));
    bytes(1, key.as_bytes(), out);
    write::header(out, 2, value_len);
    match value {
        Value::Str(s) => write::bytes(out, 1, s.as_bytes()),
        Value::Bool(b) => write::number(out, 2, u64::from(*b)),
        Value::Int(i) => write::number(out, 3, *i as u64),
        Value::Double(d) => write::fixed64(out, 4, d.to_bits()),
        Value::Bytes(b) => write::bytes(out, 7, b),
        Value::Other(_) => {}
    }
}

fn kind(code: u8) -> SpanKind {
    match code {
        1 => SpanKind::Internal,
        2 => SpanKind::Server,
        3 => SpanKind::Client,
        4 => SpanKind::Producer,
        5 => SpanKind::Consumer,
        _ => SpanKind::Unspecified,
    }
}

fn status(code: u8) -> StatusCode {
    match code {
        1 => StatusCode::Ok,
        2 => StatusCode::Error,
        _ => StatusCode::Unset,
    }
}
