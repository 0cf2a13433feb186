//! What goes wrong with a segment.

use arrow_schema::ArrowError;

/// Why a segment cannot be read or made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    /// The bytes are not what was written.
    #[error(
        "a segment is damaged: {0}. What other segments hold can still be read; restore the file from a copy to have this one back"
    )]
    Damaged(String),
    /// A newer version of the format.
    #[error(
        "a segment is of format {0}, which this version does not know; open the file with the newer version that wrote it"
    )]
    Newer(String),
    /// More than a segment's columns can address.
    #[error("too much for one segment: {0}. Put fewer spans into it")]
    TooLarge(String),
}

impl SegmentError {
    /// Damage that Arrow found.
    pub(super) fn arrow(e: &ArrowError) -> Self {
        Self::Damaged(e.to_string())
    }

    /// Damage found here.
    pub(super) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged(what.into())
    }
}
