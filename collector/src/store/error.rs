//! What can go wrong with the file, in sentences that help.

use std::path::{Path, PathBuf};

use fuseboard_api::filter::Mistake;

use super::segment::SegmentError;

/// Why the store could not be opened, written or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not made by Fuseboard.
    #[error("{path} is not a Fuseboard file ({found}); choose another path or move that file away")]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// What it seems to be.
        found: String,
    },
    /// Made by a newer program.
    #[error(
        "{path} was written by a newer Fuseboard (schema {found}, this program knows {known}); use that version to open it"
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Schema version of the file.
        found: i64,
        /// Newest schema version that this program knows.
        known: i64,
    },
    /// Made by an older program, in a form that only one who may write brings up to date.
    #[error(
        "{path} was written by an older Fuseboard (schema {found}, this program reads {known}); start a collector on it, or on a copy of it, which brings it up to date"
    )]
    Older {
        /// Which file.
        path: PathBuf,
        /// Schema version of the file.
        found: i64,
        /// The schema version that this program reads.
        known: i64,
    },
    /// Another process writes it.
    #[error("{path} is in use by another process{by}; stop it, or give this one a file of its own")]
    InUse {
        /// Which file.
        path: PathBuf,
        /// ` (process 123)`, or empty when unknown.
        by: String,
    },
    /// The system would not give it to us.
    #[error("cannot {what} {path}: {cause}")]
    Io {
        /// `open`, `create`, `lock`.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// SQLite finds it damaged.
    #[error("{path} is damaged ({detail}); copy it away and try `sqlite3 {path} .recover`")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What SQLite said.
        detail: String,
    },
    /// No space left.
    #[error("the disk is full: nothing more is stored until there is space; free some or lower the size limit")]
    DiskFull,
    /// The queue is full.
    #[error("the collector cannot keep up and its queue is full; send again in a second")]
    Busy,
    /// Opened for reading only.
    #[error("this file is open for reading only; nothing can be changed")]
    ReadOnly,
    /// Already shut down.
    #[error("the store is closed")]
    Closed,
    /// Anything else that SQLite says.
    #[error("the database says: {0}")]
    Sqlite(rusqlite::Error),
    /// A segment that cannot be read.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// A filter with a mistake in it.
    #[error(transparent)]
    BadQuery(#[from] Mistake),
    /// A stored value that makes no sense.
    #[error("a stored record cannot be read: {0}")]
    Corrupt(String),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::DiskFull,
            Some(rusqlite::ErrorCode::ReadOnly) => Self::ReadOnly,
            _ => Self::Sqlite(error),
        }
    }
}

impl StoreError {
    /// Whether the same request may succeed later.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::DiskFull | Self::Busy | Self::Closed => true,
            Self::Sqlite(e) => matches!(
                e.sqlite_error_code(),
                Some(
                    rusqlite::ErrorCode::DatabaseBusy
                        | rusqlite::ErrorCode::DatabaseLocked
                        | rusqlite::ErrorCode::SystemIoFailure
                        | rusqlite::ErrorCode::CannotOpen
                )
            ),
            _ => false,
        }
    }

    /// Whether a part of the file cannot be read, so that others may be.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self, Self::Segment(_) | Self::Corrupt(_))
    }

    /// Gives an error met while opening `path` its proper name.
    pub(super) fn opening(path: &Path, error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as C;
        match error.sqlite_error_code() {
            Some(C::NotADatabase) => Self::Foreign { path: path.to_owned(), found: "no SQLite database".into() },
            Some(C::DatabaseCorrupt) => Self::Damaged { path: path.to_owned(), detail: error.to_string() },
            Some(C::DatabaseBusy | C::DatabaseLocked) => Self::InUse { path: path.to_owned(), by: String::new() },
            Some(C::CannotOpen | C::PermissionDenied | C::SystemIoFailure) => {
                Self::Io { what: "open", path: path.to_owned(), cause: std::io::Error::other(error) }
            }
            _ => error.into(),
        }
    }
}
