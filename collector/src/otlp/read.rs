//! Reading requests and spans into tapes: once over the bytes, with prost's word on what is sound and what it says.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;

use super::refused::Refused;
use super::span::Spans;
use super::value::{Service, resource, scope};
use super::wire::{Cursor, DEPTH, Fault};
use super::{Sender, Slice, SpanTape};

/// Tapes point into their bytes with 31 bits.
const MAX_BYTES: usize = (1 << 31) - 1;

/// Bytes that are no OTLP.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// They break the rules of protobuf, or its types are not OTLP's.
    #[error("the body is not an OTLP request in protobuf: {0}")]
    Wire(String),
    /// A span that is to be kept makes no sense; only a damaged file has one.
    #[error("a span {0}")]
    Span(&'static str),
    /// More than a tape holds.
    #[error("larger than 2 GiB")]
    TooLarge,
}

impl From<prost::DecodeError> for Malformed {
    fn from(error: prost::DecodeError) -> Self {
        Self::Wire(error.to_string())
    }
}

impl From<Fault> for Malformed {
    fn from(fault: Fault) -> Self {
        Self::Wire(fault.to_string())
    }
}

/// What a request brought.
#[derive(Debug, Default)]
pub struct Read {
    /// The spans that can be kept.
    pub tape: SpanTape,
    /// What cannot.
    pub refused: Refused,
}

/// Reads an encoded `ExportTraceServiceRequest`. Spans that make no sense are counted in [`Read::refused`], the others kept.
///
/// # Errors
/// When prost would not read it either.
pub fn traces(bytes: Bytes) -> Result<Read, Malformed> {
    if bytes.len() > MAX_BYTES {
        return Err(Malformed::TooLarge);
    }
    match walk(&bytes) {
        Ok(mut read) => {
            read.tape.bytes = bytes;
            Ok(read)
        }
        // Rare and odd: prost knows how to merge, and writes every field once.
        Err(Fault::Twice) => {
            let request = ExportTraceServiceRequest::decode(bytes)?;
            let bytes = Bytes::from(request.encode_to_vec());
            let mut read = walk(&bytes)?;
            read.tape.bytes = bytes;
            Ok(read)
        }
        Err(fault) => Err(fault.into()),
    }
}

/// Reads one encoded `Span` that lies in a tape's bytes, and appends it. `sender` is kept as it is.
///
/// # Errors
/// When the bytes are no span, or one that [`traces`] would refuse.
pub fn span(tape: &mut SpanTape, whole: Slice, sender: u32) -> Result<(), Malformed> {
    let SpanTape { bytes, made, spans, attrs, parts, .. } = tape;
    let from = whole.place_in(bytes).ok_or(Fault::Truncated)?;
    let mut spans = Spans::new(bytes, made, spans, attrs, parts);
    match spans.read(Cursor::new(bytes, from, whole.len()), sender)? {
        None => Ok(()),
        Some((reason, _)) => Err(Malformed::Span(reason)),
    }
}

/// A request on its way onto a tape.
struct Walk<'a> {
    spans: Spans<'a>,
    senders: &'a mut Vec<Sender>,
    refused: &'a mut Refused,
}

fn walk(bytes: &[u8]) -> Result<Read, Fault> {
    let mut read = Read::default();
    let SpanTape { made, senders, spans, attrs, parts, .. } = &mut read.tape;
    // Small spans take about so much; arrays that are not filled cost nothing.
    spans.reserve(bytes.len() / 256);
    attrs.reserve(bytes.len() / 32);
    let spans = Spans::new(bytes, made, spans, attrs, parts);
    let mut walk = Walk { spans, senders, refused: &mut read.refused };
    let mut c = Cursor::new(bytes, 0, bytes.len());
    while !c.done() {
        match c.key()? {
            10 => walk.resource_spans(c.inner()?)?,
            other => c.other(other, 0b10, DEPTH)?,
        }
    }
    Ok(read)
}

impl<'a> Walk<'a> {
    fn resource_spans(&mut self, mut c: Cursor<'a>) -> Result<(), Fault> {
        let first = self.senders.len();
        let mut said = None;
        let mut schema_url = Slice::EMPTY;
        while !c.done() {
            match c.key()? {
                10 if said.is_some() => return Err(Fault::Twice),
                10 => {
                    let inner = c.inner()?;
                    said = Some((inner.slice(), resource(inner, self.spans.bytes(), DEPTH - 1)?));
                }
                18 => self.scope_spans(c.inner()?)?,
                26 => schema_url = c.text()?,
                other => c.other(other, 0b1110, DEPTH - 1)?,
            }
        }
        if self.senders.len() == first {
            return Ok(());
        }
        let (resource, service) = said.unwrap_or_default();
        let made = &mut self.spans.made;
        let Service { name, instance, version } = service;
        let name = if name.is_empty() { made.unknown_service() } else { made.short(name) };
        let (instance, version) = (made.short(instance), made.short(version));
        for sender in self.senders.iter_mut().skip(first) {
            (sender.service, sender.instance, sender.version) = (name, instance, version);
            (sender.resource, sender.resource_schema_url) = (resource, schema_url);
        }
        Ok(())
    }

    fn scope_spans(&mut self, mut c: Cursor<'a>) -> Result<(), Fault> {
        let sender = self.senders.len();
        let mut said = None;
        let mut schema_url = Slice::EMPTY;
        while !c.done() {
            match c.key()? {
                10 if said.is_some() => return Err(Fault::Twice),
                10 => {
                    let inner = c.inner()?;
                    scope(inner, DEPTH - 2)?;
                    said = Some(inner.slice());
                }
                18 => {
                    if self.senders.len() == sender {
                        self.senders.push(Sender::default());
                    }
                    if let Some((reason, name)) = self.spans.read(c.inner()?, sender as u32)? {
                        self.refused.add(reason, name);
                    }
                }
                26 => schema_url = c.text()?,
                other => c.other(other, 0b1110, DEPTH - 2)?,
            }
        }
        if let Some(sender) = self.senders.get_mut(sender) {
            (sender.scope, sender.scope_schema_url) = (said.unwrap_or_default(), schema_url);
        }
        Ok(())
    }
}
