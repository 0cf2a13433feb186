//! The flat form of spans.

use bytes::Bytes;
use fuseboard_api::graph::NodeKind;

/// A stretch of a tape's bytes, or of its made text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Slice {
    at: u32,
    len: u32,
}

/// Set in `at` when the stretch lies in [`SpanTape::made`].
const MADE: u32 = 1 << 31;

impl Slice {
    /// Nothing.
    pub const EMPTY: Self = Self { at: 0, len: 0 };

    /// A stretch of the tape's bytes; requests are far smaller than 2 GiB.
    #[must_use]
    pub fn of_bytes(at: usize, len: usize) -> Self {
        debug_assert!(at + len < MADE as usize, "requests are limited long before");
        Self { at: at as u32, len: len as u32 }
    }

    /// A stretch of the tape's made text.
    #[must_use]
    pub fn of_made(at: usize, len: usize) -> Self {
        debug_assert!(at + len < MADE as usize, "less is made than was sent");
        Self { at: at as u32 | MADE, len: len as u32 }
    }

    /// Bytes in it.
    #[must_use]
    pub fn len(self) -> usize {
        self.len as usize
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// A stretch of it; `from + len` is at most its own length.
    #[must_use]
    pub(super) fn part(self, from: usize, len: usize) -> Self {
        debug_assert!(from + len <= self.len as usize, "a part is no longer than the whole");
        Self { at: self.at + from as u32, len: len as u32 }
    }

    /// Whether it lies in the tape's made text.
    pub(super) fn is_made(self) -> bool {
        self.at & MADE != 0
    }

    /// What it is of the tape's bytes; empty for made text.
    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        let from = self.at as usize;
        bytes.get(from..from + self.len as usize).unwrap_or_default()
    }

    /// Where it begins in the tape's bytes, if it lies there whole.
    pub(super) fn place_in(self, bytes: &[u8]) -> Option<usize> {
        let from = self.at as usize;
        (from + self.len as usize <= bytes.len()).then_some(from)
    }
}

/// What an attribute's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Tag {
    /// No value at all, or an `AnyValue` without one.
    Empty,
    /// UTF-8 text; [`FlatAttr::value`] is a slice.
    Str,
    /// 0 or 1.
    Bool,
    /// A signed number, as two's complement.
    Int,
    /// A double, as its bits.
    Double,
    /// Bytes; a slice.
    Bytes,
    /// A list, a map, or what OTLP may yet add: the slice is the encoded `AnyValue`.
    Nested,
}

/// One attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlatAttr {
    /// Its key, UTF-8.
    pub key: Slice,
    /// What its value is.
    pub tag: Tag,
    /// The value's bits; for slices see [`FlatAttr::slice`].
    pub value: u64,
    /// The whole encoded `KeyValue`.
    pub whole: Slice,
}

impl FlatAttr {
    /// A slice as the bits of a value.
    #[must_use]
    pub fn bits_of(slice: Slice) -> u64 {
        u64::from(slice.at) << 32 | u64::from(slice.len)
    }

    /// The slice that a text, bytes or nested value is.
    #[must_use]
    pub fn slice(&self) -> Slice {
        Slice { at: (self.value >> 32) as u32, len: self.value as u32 }
    }
}

/// Facts about a call, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks(pub u8);

impl Marks {
    /// A logical call whose attempts are its children.
    pub const CALL: u8 = 1;
    /// One attempt of a logical call.
    pub const ATTEMPT: u8 = 2;
    /// Refused locally: nothing was sent.
    pub const REFUSED: u8 = 4;
    /// Cut by a timeout.
    pub const CUT: u8 = 8;

    /// Whether a bit is set.
    #[must_use]
    pub fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }
}

/// One span. Ids and times are checked: no id is all zeros, both times fit an `i64` and are not zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FlatSpan {
    /// Position of its sender in [`SpanTape::senders`].
    pub sender: u32,
    /// Its trace.
    pub trace_id: [u8; 16],
    /// Its id.
    pub span_id: [u8; 8],
    /// Its parent; all zeros for none.
    pub parent: [u8; 8],
    /// OTLP's number of the kind, 0 to 5; what is unknown is 0.
    pub kind: u8,
    /// OTLP's status code: 0 unset, 1 ok, 2 error.
    pub status: u8,
    /// Start, Unix nanoseconds.
    pub start: i64,
    /// End, Unix nanoseconds.
    pub end: i64,
    /// Its name; cut when too long.
    pub name: Slice,
    /// The sender's words about the status.
    pub status_message: Slice,
    /// W3C trace state.
    pub trace_state: Slice,
    /// W3C flags and OTLP's remote bits.
    pub flags: u32,
    /// Attributes, events and links that the sender left out.
    pub dropped: [u32; 3],
    /// First of its attributes in [`SpanTape::attrs`], and how many.
    pub attrs: (u32, u32),
    /// First of its events in [`SpanTape::parts`], and how many; each is the encoded `Event`.
    pub events: (u32, u32),
    /// First of its links in [`SpanTape::parts`], and how many; each is the encoded `Link`.
    pub links: (u32, u32),
    /// The whole encoded `Span`.
    pub whole: Slice,
    /// Whether the encoded span says something that the fields here do not: fields that OTLP does not know (yet), a kind or
    /// status beyond the known ones, attributes with a key or value by reference or without any value.
    pub odd: bool,
    /// The operation as edges name it.
    pub operation: Slice,
    /// The other side, where the span names it; empty otherwise.
    pub peer: Slice,
    /// What the other side is.
    pub peer_kind: NodeKind,
    /// `postgresql`, `rabbitmq`, …; may be empty.
    pub peer_system: Slice,
    /// Name for the other side when it never shows up by itself.
    pub fallback: Slice,
    /// What kind of call it is.
    pub marks: Marks,
    /// What the caller's deadline left when the span began, in nanoseconds; `u64::MAX` when not said.
    pub deadline_left: u64,
}

/// A resource and an instrumentation scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sender {
    /// `service.name`, or `unknown_service`; cut when too long.
    pub service: Slice,
    /// `service.instance.id`, or empty.
    pub instance: Slice,
    /// `service.version`, or empty.
    pub version: Slice,
    /// The encoded `Resource`.
    pub resource: Slice,
    /// Its schema URL.
    pub resource_schema_url: Slice,
    /// The encoded `InstrumentationScope`.
    pub scope: Slice,
    /// Its schema URL.
    pub scope_schema_url: Slice,
}

/// Spans of a request, flat.
#[derive(Debug, Clone, Default)]
pub struct SpanTape {
    /// What was sent.
    pub bytes: Bytes,
    /// Text that does not stand in the bytes as it is: names cut short, operations put together.
    pub made: String,
    /// Who sent.
    pub senders: Vec<Sender>,
    /// The spans, in the order sent.
    pub spans: Vec<FlatSpan>,
    /// All attributes of all spans.
    pub attrs: Vec<FlatAttr>,
    /// All events and links of all spans.
    pub parts: Vec<Slice>,
}

impl SpanTape {
    /// The bytes of a slice.
    #[must_use]
    pub fn get(&self, slice: Slice) -> &[u8] {
        let (from, source) = match slice.at & MADE {
            0 => (slice.at as usize, &self.bytes[..]),
            _ => ((slice.at & !MADE) as usize, self.made.as_bytes()),
        };
        source.get(from..from + slice.len as usize).unwrap_or_default()
    }

    /// The text of a slice that was checked to be UTF-8 when it was read.
    #[must_use]
    pub fn text(&self, slice: Slice) -> &str {
        std::str::from_utf8(self.get(slice)).unwrap_or_default()
    }

    /// A span's attributes.
    #[must_use]
    pub fn attrs_of(&self, span: &FlatSpan) -> &[FlatAttr] {
        stretch(&self.attrs, span.attrs)
    }

    /// A span's encoded events.
    #[must_use]
    pub fn events_of(&self, span: &FlatSpan) -> &[Slice] {
        stretch(&self.parts, span.events)
    }

    /// A span's encoded links.
    #[must_use]
    pub fn links_of(&self, span: &FlatSpan) -> &[Slice] {
        stretch(&self.parts, span.links)
    }

    /// About how many bytes it holds in memory.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
            + self.made.len()
            + self.senders.len() * size_of::<Sender>()
            + self.spans.len() * size_of::<FlatSpan>()
            + self.attrs.len() * size_of::<FlatAttr>()
            + self.parts.len() * size_of::<Slice>()
    }
}

fn stretch<T>(all: &[T], (first, count): (u32, u32)) -> &[T] {
    let first = first as usize;
    all.get(first..first + count as usize).unwrap_or_default()
}
