//! Opening: who owns the file, is it ours, is it whole; and the settings of every connection.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::error::StoreError;
use super::{convert, schema};

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// To go on writing; created when missing.
    ReadWrite,
    /// To look at: nothing in the file changes.
    ReadOnly,
}

/// Keeps a second collector off the file. The lock lies on a file beside the database, because closing another handle to
/// the database itself would drop SQLite's own locks on it.
#[derive(Debug)]
pub(super) struct Guard {
    _file: File,
}

impl Guard {
    pub(super) fn take(path: &Path) -> Result<Self, StoreError> {
        let lock = beside(path, "-lock");
        let io = |what, source| StoreError::Io { what, path: lock.clone(), cause: source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        private_file(&mut options);
        let mut file = options.open(&lock).map_err(|e| io("create", e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let known = file.read_to_string(&mut pid).is_ok() && pid.trim().parse::<u32>().is_ok();
                let by = if known { format!(" (process {})", pid.trim()) } else { String::new() };
                return Err(StoreError::InUse { path: path.to_owned(), by });
            }
            Err(fs::TryLockError::Error(e)) => return Err(io("lock", e)),
        }
        // Only for the other process's error message: a failure here does no harm.
        let _ = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }
}

/// `path` with `suffix` added to its name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(unix)]
fn private_file(options: &mut OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.mode(0o600);
}

#[cfg(not(unix))]
fn private_file(_: &mut OpenOptions) {}

#[cfg(unix)]
fn private_dir(builder: &mut fs::DirBuilder) {
    use std::os::unix::fs::DirBuilderExt as _;
    builder.mode(0o700);
}

#[cfg(not(unix))]
fn private_dir(_: &mut fs::DirBuilder) {}

/// Makes the directory (0700) and an empty file (0600) where they are missing.
pub(crate) fn create_files(path: &Path) -> Result<(), StoreError> {
    if let Some(dir) = path.parent().filter(|d| !d.as_os_str().is_empty() && !d.exists()) {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        private_dir(&mut builder);
        builder.create(dir).map_err(|source| StoreError::Io { what: "create", path: dir.to_owned(), cause: source })?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    private_file(&mut options);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(source) => Err(StoreError::Io { what: "open", path: path.to_owned(), cause: source }),
    }
}

/// Looks at the first bytes, before SQLite does, so that a text file is not called a damaged database.
pub(super) fn check_header(path: &Path) -> Result<(), StoreError> {
    const MAGIC: &[u8; 16] = b"SQLite format 3\0";
    let io = |source| StoreError::Io { what: "open", path: path.to_owned(), cause: source };
    let mut head = Vec::new();
    File::open(path).map_err(io)?.take(16).read_to_end(&mut head).map_err(io)?;
    if head.is_empty() || head == MAGIC {
        return Ok(());
    }
    let found = match std::str::from_utf8(&head) {
        Ok(text) if !text.contains('\0') => format!("it begins with {:?}", text.trim_end()),
        _ => "no SQLite database".into(),
    };
    Err(StoreError::Foreign { path: path.to_owned(), found })
}

/// The writer's connection, its schema brought up to date.
///
/// `synchronous=FULL`: in WAL mode a commit then returns after the log is on the disk, so that what was acknowledged
/// survives a power cut as well as a killed process; group commits share the cost.
pub(super) fn writer(path: &Path) -> Result<Connection, StoreError> {
    let named = |e| StoreError::opening(path, e);
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(named)?;
    conn.busy_timeout(Duration::from_secs(5)).map_err(named)?;
    let found = version(&conn, path)?;
    if found == 0 {
        // Both only take hold before the first table is made.
        conn.execute_batch("PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL;").map_err(named)?;
    }
    conn.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -24576;
         PRAGMA wal_autocheckpoint = 4096; PRAGMA journal_size_limit = 67108864;",
    )
    .map_err(named)?;
    if found == 1 {
        convert::from_1(&conn)?;
    }
    let tx = conn.unchecked_transaction().map_err(named)?;
    schema::migrate(&tx, found).map_err(named)?;
    tx.commit().map_err(named)?;
    Ok(conn)
}

/// A reader's connection.
pub(super) fn reader(path: &Path, mode: OpenMode) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = |target: &Path, flags| -> rusqlite::Result<Connection> {
        let conn = Connection::open_with_flags(target, flags)?;
        conn.busy_timeout(Duration::from_secs(5))?;
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        conn.execute_batch("PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384;")?;
        if mode == OpenMode::ReadOnly {
            schema::stand_in(&conn)?;
        }
        conn.execute_batch("PRAGMA query_only = ON;")?;
        Ok(conn)
    };
    let conn = match open(path, flags) {
        // A file on a read-only medium cannot have its shared-memory file made: tell SQLite that nobody writes it.
        Err(e)
            if mode == OpenMode::ReadOnly
                && matches!(
                    e.sqlite_error_code(),
                    Some(rusqlite::ErrorCode::CannotOpen | rusqlite::ErrorCode::ReadOnly)
                )
                && !beside(path, "-wal").exists() =>
        {
            let uri = PathBuf::from(format!("file:{}?immutable=1", escape(path)));
            open(&uri, flags | OpenFlags::SQLITE_OPEN_URI)
        }
        other => other,
    }
    .map_err(|e| StoreError::opening(path, e))?;
    Ok(conn)
}

fn escape(path: &Path) -> String {
    path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23")
}

/// The schema version of a file; refuses foreign and newer ones. 0 for an empty file.
pub(super) fn version(conn: &Connection, path: &Path) -> Result<i64, StoreError> {
    let named = |e| StoreError::opening(path, e);
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0)).map_err(named)?;
    let application: i32 = conn.pragma_query_value(None, "application_id", |r| r.get(0)).map_err(named)?;
    let found: i64 = conn.pragma_query_value(None, "user_version", |r| r.get(0)).map_err(named)?;
    if application != schema::APPLICATION_ID && (application != 0 || tables > 0 || found != 0) {
        let found = "a SQLite database of another program".to_owned();
        return Err(StoreError::Foreign { path: path.to_owned(), found });
    }
    if found > schema::VERSION {
        return Err(StoreError::Newer { path: path.to_owned(), found, known: schema::VERSION });
    }
    Ok(found)
}
