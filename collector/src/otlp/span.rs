//! One span, from its bytes into a tape.

use fuseboard_api::graph::NodeKind;

use super::facts::{Found, Told};
use super::made::Made;
use super::value::{MAX_ATTRIBUTES, attribute, event, link, usual};
use super::wire::{Cursor, Fault};
use super::{FlatAttr, FlatSpan, Marks, Slice};

/// How deep a span lies in what holds it: three messages, of prost's hundred.
const INSIDE: u32 = super::wire::DEPTH - 3;

/// Why a span that can be read is not kept; words that follow "a span".
pub(super) type Reason = &'static str;

/// A tape while spans are read onto it.
pub(super) struct Spans<'a> {
    pub(super) made: Made<'a>,
    spans: &'a mut Vec<FlatSpan>,
    pieces: Pieces<'a>,
}

/// What spans are made of, and what is reused from span to span.
struct Pieces<'a> {
    bytes: &'a [u8],
    attrs: &'a mut Vec<FlatAttr>,
    parts: &'a mut Vec<Slice>,
    found: Found,
    links: Vec<Slice>,
}

/// The fields of a span that are checked before they are kept.
#[derive(Default)]
struct Raw<'a> {
    trace_id: &'a [u8],
    span_id: &'a [u8],
    parent: &'a [u8],
    start: u64,
    end: u64,
    /// The most attributes that the span or one of its events and links has.
    attributes: usize,
}

impl<'a> Spans<'a> {
    pub(super) fn new(
        bytes: &'a [u8],
        made: &'a mut String,
        spans: &'a mut Vec<FlatSpan>,
        attrs: &'a mut Vec<FlatAttr>,
        parts: &'a mut Vec<Slice>,
    ) -> Self {
        let pieces = Pieces { bytes, attrs, parts, found: Found::default(), links: Vec::new() };
        Self { made: Made::new(bytes, made), spans, pieces }
    }

    /// Reads the inside of a `Span`. Gives the reason and the name where the span makes no sense and is left out.
    pub(super) fn read(&mut self, c: Cursor<'a>, sender: u32) -> Result<Option<(Reason, &'a str)>, Fault> {
        let Self { made, spans, pieces } = self;
        let (attrs, parts) = (pieces.attrs.len(), pieces.parts.len());
        pieces.found.clear();
        pieces.links.clear();
        let whole = c.slice();
        let span = spans.push_mut(FlatSpan { whole, sender, ..EMPTY });
        let mut raw = Raw::default();
        let read = pieces.fields(c, span, &mut raw);
        let count = pieces.attrs.len() - attrs;
        raw.attributes = raw.attributes.max(count);
        if let Err(why) = read.map_err(Err).and_then(|()| raw.check(span).map_err(Ok)) {
            let name = std::str::from_utf8(span.name.of(pieces.bytes)).unwrap_or_default();
            spans.pop();
            pieces.attrs.truncate(attrs);
            pieces.parts.truncate(parts);
            return why.map(|reason| Some((reason, name)));
        }
        span.attrs = (attrs as u32, count as u32);
        span.events = (parts as u32, (pieces.parts.len() - parts) as u32);
        span.links = (pieces.parts.len() as u32, pieces.links.len() as u32);
        pieces.parts.extend_from_slice(&pieces.links);
        Told { bytes: pieces.bytes, attrs: pieces.attrs, found: &pieces.found }.facts(span, made);
        span.name = made.short(span.name);
        Ok(None)
    }

    /// The bytes that are read.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.pieces.bytes
    }
}

impl<'a> Pieces<'a> {
    fn fields(&mut self, mut c: Cursor<'a>, span: &mut FlatSpan, raw: &mut Raw<'a>) -> Result<(), Fault> {
        while !c.done() {
            match c.key()? {
                10 => raw.trace_id = c.inner()?.rest(),
                18 => raw.span_id = c.inner()?.rest(),
                26 => span.trace_state = c.text()?,
                34 => raw.parent = c.inner()?.rest(),
                42 => span.name = c.text()?,
                48 => {
                    let kind = c.varint()? as i32;
                    span.kind = u8::try_from(kind).ok().filter(|k| *k <= 5).unwrap_or(0);
                    span.odd |= i32::from(span.kind) != kind;
                }
                57 => raw.start = c.fixed64()?,
                65 => raw.end = c.fixed64()?,
                74 => {
                    self.attribute(c.inner()?, span)?;
                    // Attributes come in a row.
                    while c.follows(74) {
                        self.attribute(c.inner()?, span)?;
                    }
                }
                80 => span.dropped[0] = c.varint()? as u32,
                90 => {
                    let inner = c.inner()?;
                    raw.attributes = raw.attributes.max(event(inner, INSIDE)?);
                    self.parts.push(inner.slice());
                }
                96 => span.dropped[1] = c.varint()? as u32,
                106 => {
                    let inner = c.inner()?;
                    raw.attributes = raw.attributes.max(link(inner, INSIDE)?);
                    self.links.push(inner.slice());
                }
                112 => span.dropped[2] = c.varint()? as u32,
                122 => status(c.inner()?, span)?,
                133 => span.flags = c.fixed32()?,
                other => {
                    c.other(other, 0x1_fffe, INSIDE)?;
                    span.odd = true;
                }
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn attribute(&mut self, c: Cursor<'a>, span: &mut FlatSpan) -> Result<(), Fault> {
        match usual(c) {
            Some(attr) => self.keep(attr),
            None => {
                let attr = attribute(c, INSIDE, &mut span.odd)?;
                self.keep(attr);
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn keep(&mut self, attr: FlatAttr) {
        self.found.note(attr.key.of(self.bytes), self.attrs.len());
        self.attrs.push(attr);
    }
}

/// Reads the inside of a `Status` over what an earlier one said, which is how protobuf merges them.
fn status(mut c: Cursor<'_>, span: &mut FlatSpan) -> Result<(), Fault> {
    while !c.done() {
        match c.key()? {
            18 => span.status_message = c.text()?,
            24 => {
                let code = c.varint()? as i32;
                span.status = u8::try_from(code).unwrap_or(0).min(2);
                span.odd |= i32::from(span.status) != code;
            }
            other => {
                c.other(other, 0b1100, INSIDE - 1)?;
                span.odd = true;
            }
        }
    }
    Ok(())
}

impl Raw<'_> {
    /// Takes ids and times over into a span, or says why it makes no sense.
    fn check(&self, span: &mut FlatSpan) -> Result<(), Reason> {
        span.trace_id = id(self.trace_id).ok_or("whose trace id is not 16 bytes, or all zeros")?;
        span.span_id = id(self.span_id).ok_or("whose span id is not 8 bytes, or all zeros")?;
        // All zeros means none, as in W3C trace context.
        span.parent = match self.parent.len() {
            0 => [0; 8],
            8 => id(self.parent).unwrap_or_default(),
            _ => return Err("whose parent's id is not 8 bytes"),
        };
        if self.start == 0 {
            return Err("without a start time");
        }
        if self.end == 0 {
            return Err("without an end time");
        }
        span.start = i64::try_from(self.start).map_err(|_| "that starts after the year 2262")?;
        span.end = i64::try_from(self.end).map_err(|_| "that ends after the year 2262")?;
        // Values need no limit of their own: what the wire may nest holds fewer than fifty lists in each other.
        if self.attributes > MAX_ATTRIBUTES { Err("with more than 10,000 attributes") } else { Ok(()) }
    }
}

/// An id of so many bytes that is not all zeros.
fn id<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    <[u8; N]>::try_from(bytes).ok().filter(|id| *id != [0; N])
}

const EMPTY: FlatSpan = FlatSpan {
    sender: 0,
    trace_id: [0; 16],
    span_id: [0; 8],
    parent: [0; 8],
    kind: 0,
    status: 0,
    start: 0,
    end: 0,
    name: Slice::EMPTY,
    status_message: Slice::EMPTY,
    trace_state: Slice::EMPTY,
    flags: 0,
    dropped: [0; 3],
    attrs: (0, 0),
    events: (0, 0),
    links: (0, 0),
    whole: Slice::EMPTY,
    odd: false,
    operation: Slice::EMPTY,
    peer: Slice::EMPTY,
    peer_kind: NodeKind::Service,
    peer_system: Slice::EMPTY,
    fallback: Slice::EMPTY,
    marks: Marks(0),
    deadline_left: u64::MAX,
};
