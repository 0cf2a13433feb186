//! OTLP's bytes, read flat: what a request says of its spans lies in a few arrays that point back into the request, and no
//! string or list is owned on the way. Ingest reads requests with it, the store builds its segments from it.

mod tape;

pub use self::tape::{FlatAttr, FlatSpan, Marks, Sender, Slice, SpanTape, Tag};
