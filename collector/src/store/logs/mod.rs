//! Log records: what a commit brought in one block, small blocks merged into larger ones.
//!
//! [`block`] is the format, [`parts`] how a record is cut into what has a column and the rest, [`recent`] tells a record
//! that was sent again, [`tables`] keeps the blocks in the database.

pub(crate) mod block;
mod parts;
mod recent;
pub(crate) mod tables;

pub(crate) use self::parts::Entry;
pub use self::parts::LogParts;
pub(crate) use self::recent::Recent;
