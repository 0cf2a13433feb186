//! OTLP's bytes, read flat: what a request says of its spans lies in a few arrays that point back into the request, and no
//! string or list is owned on the way. Ingest reads requests with it, the store builds its segments from it.

#[cfg(any(test, feature = "fuzz"))]
pub mod check;
mod facts;
mod keys;
mod made;
pub mod read;
mod refused;
mod span;
mod tape;
#[cfg(test)]
pub(crate) mod tests;
mod value;
mod wire;
pub(crate) mod words;
pub mod write;

pub use self::refused::Refused;
pub use self::tape::{FlatAttr, FlatSpan, Marks, Sender, Slice, SpanTape, Tag};
