//! Time as the console has it: one cursor, the ranges that follow from it, and how instants are written.

mod cursor;
mod timeline;
mod zone;

pub(crate) use cursor::{Cursor, SPEEDS, Speed};
pub(crate) use timeline::{STRIP_COLUMNS, Timeline};
pub(crate) use zone::Zone;
