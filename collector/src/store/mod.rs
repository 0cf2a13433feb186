//! One SQLite file behind a narrow door.
//!
//! The door is [`Store`]: [`Store::append`] for telemetry, [`Store::transact`] for everything else that is written,
//! [`Store::read`] for everything that is read, [`Store::as_of_now`] and [`Store::subscribe`] for the replay law.
//!
//! **The replay law.** Every commit has a stamp, greater than all before it, and writes it into the `arrival` of its rows.
//! An answer as of T uses only rows with `arrival <= T`, and no row is changed later in a way that such an answer could
//! see. [`Store::as_of_now`] gives an instant that later commits can no longer reach, so the same question asked again
//! as of that instant has the same answer.

mod cache;
mod calls;
mod catalog;
mod clock;
mod convert;
pub(crate) mod cut;
mod error;
pub(crate) mod folds;
mod gather;
mod insert;
mod intern;
mod known;
pub(crate) mod logs;
mod merge;
mod names;
mod open;
mod pairing;
mod pending;
mod points;
mod read;
mod rebuild;
mod retention;
pub(crate) mod rollup;
pub mod rows;
pub mod schema;
pub mod segment;
mod segments;
mod snapshot;
pub(crate) mod sums;
#[cfg(test)]
mod testing;
mod vitals;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fuseboard_api::live::Touched;
use fuseboard_api::{TimeRange, UnixNanos};
use rusqlite::{OptionalExtension as _, Transaction};
use tokio::sync::{Semaphore, broadcast, oneshot};

pub use self::cache::Cache;
pub(crate) use self::cache::Followed;
use self::clock::Clock;
pub use self::error::StoreError;
use self::folds::Folded;
pub(crate) use self::gather::LONGEST;
use self::insert::State;
pub(crate) use self::intern::kind_of;
use self::merge::Merger;
use self::open::Guard;
pub use self::open::OpenMode;
pub(crate) use self::open::create_files;
use self::read::Readers;
pub use self::retention::Retention;
use self::rows::{Appended, Batch};
pub use self::segments::{Format, SegmentRow};
pub use self::snapshot::{Found, Snapshot};
pub use self::vitals::Vitals;
use self::writer::{Ack, Job, Undone, Writer};

/// How the store works; the defaults suit one machine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Jobs that may wait for the writer; one more is refused with [`StoreError::Busy`].
    pub queue_jobs: usize,
    /// Bytes of telemetry that may wait for the writer.
    pub queue_bytes: usize,
    /// How long a commit waits for company.
    pub linger: Duration,
    /// Rows at which a commit waits no longer; also the size of a segment.
    pub group_rows: usize,
    /// Connections that read at the same time.
    pub readers: usize,
    /// Bytes of decoded segments that readers keep.
    pub cache_bytes: usize,
    /// What is kept.
    pub retention: Retention,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            queue_jobs: 1024,
            queue_bytes: 64 * 1024 * 1024,
            linger: Duration::from_millis(5),
            group_rows: 16_384,
            readers: 4,
            cache_bytes: 64 * 1024 * 1024,
            retention: Retention::default(),
        }
    }
}

/// A commit that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Counts up with every commit since the file was opened.
    pub generation: u64,
    /// Its stamp: safe to ask as of.
    pub stamp: UnixNanos,
    /// The event times that the new rows cover; the stamp itself when they have none.
    pub range: TimeRange,
    /// What kinds of data changed.
    pub touched: Vec<Touched>,
}

/// Commits that a slow listener may fall behind before it is told that it missed some.
const EVENTS: usize = 256;

/// An open file. Cheap to clone; the file closes with the last clone, after everything accepted is written.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    mode: OpenMode,
    readers: Readers,
    cache: Arc<Cache>,
    clock: Arc<Clock>,
    events: broadcast::Sender<Committed>,
    vitals: Arc<Vitals>,
    room: Arc<Semaphore>,
    room_total: u32,
    jobs: Option<SyncSender<Job>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Tells the merger to leave what it is at.
    stop: Arc<AtomicBool>,
    /// For an opened file: its last stamp.
    last: UnixNanos,
    /// For an opened file in which everything had happened before the first of it arrived: the oldest instant in it.
    hindsight: Option<UnixNanos>,
    _guard: Option<Guard>,
}

/// The queue's room is counted in pieces of this many bytes.
const ROOM_UNIT: usize = 1024;

impl Store {
    /// Opens a file with default settings, making it (and its directory) when it is to be written and missing.
    ///
    /// # Errors
    /// A sentence for a foreign, newer, damaged or unreadable file and for one that another process writes.
    pub fn open(path: impl AsRef<Path>, mode: OpenMode) -> Result<Self, StoreError> {
        Self::open_with(path, mode, Settings::default())
    }

    /// Opens a file.
    ///
    /// # Errors
    /// See [`Store::open`].
    pub fn open_with(path: impl AsRef<Path>, mode: OpenMode, settings: Settings) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let guard = match mode {
            OpenMode::ReadWrite => {
                create_files(path)?;
                // Before the lock is made: no file of ours appears beside a foreign one.
                open::check_header(path)?;
                Some(Guard::take(path)?)
            }
            OpenMode::ReadOnly => None,
        };
        open::check_header(path)?;
        let connection = match mode {
            OpenMode::ReadWrite => Some(open::writer(path)?),
            OpenMode::ReadOnly => {
                let conn = open::reader(path, mode)?;
                let (path, known) = (path.to_owned(), schema::VERSION);
                match open::version(&conn, &path)? {
                    0 => return Err(StoreError::Foreign { path, found: "an empty database".to_owned() }),
                    found if found < known => return Err(StoreError::Older { path, found, known }),
                    _ => {}
                }
                None
            }
        };
        let cache = Arc::new(Cache::new(settings.cache_bytes));
        let readers = Readers::open(path, mode, settings.readers, cache.clone())?;
        let last = readers.with_first(|conn| {
            conn.query_row("SELECT coalesce(max(stamp), 0) FROM commits", [], |r| r.get::<_, i64>(0))
        })?;
        let hindsight = match mode {
            OpenMode::ReadWrite => None,
            OpenMode::ReadOnly => readers.with_first(|conn| {
                let sql = "SELECT min(oldest) FROM commits WHERE newest > 0 HAVING max(newest) < min(stamp)";
                conn.query_row(sql, [], |r| r.get::<_, Option<i64>>(0).map(|t| t.map(UnixNanos))).optional()
            })?,
        }
        .flatten();
        let clock = Arc::new(Clock::after(last));
        let (events, _) = broadcast::channel(EVENTS);
        let vitals = Arc::new(Vitals::default());
        let room_total = u32::try_from(settings.queue_bytes / ROOM_UNIT).unwrap_or(u32::MAX).max(1);
        let mut inner = Inner {
            path: path.to_owned(),
            mode,
            readers,
            cache: cache.clone(),
            clock: clock.clone(),
            events: events.clone(),
            vitals: vitals.clone(),
            room: Arc::new(Semaphore::new(room_total as usize)),
            room_total,
            jobs: None,
            threads: Mutex::default(),
            stop: Arc::default(),
            last: UnixNanos(last),
            hindsight,
            _guard: guard,
        };
        if let Some(conn) = connection {
            let (sender, jobs) = sync_channel(settings.queue_jobs.max(1));
            // One word that waits is as good as many.
            let (merge, wake) = sync_channel(1);
            let (path, stop) = (path.to_owned(), inner.stop.clone());
            let merger = Merger { path: path.clone(), cache: cache.clone(), jobs: sender.clone(), stop, wake };
            let writer = Writer {
                state: State::load(&Snapshot::new(&conn, &cache))?,
                folded: Folded::load(&conn, i64::MAX)?,
                behind: false,
                conn,
                cache,
                jobs,
                merge,
                clock,
                events,
                vitals,
                settings,
                generation: 0,
                chores: Instant::now(),
                swept: Instant::now(),
            };
            let start = |name: &str, work: Box<dyn FnOnce() + Send>| {
                let thread = std::thread::Builder::new().name(name.into()).spawn(work);
                thread.map_err(|cause| StoreError::Io { what: "start a thread for", path: path.clone(), cause })
            };
            inner.jobs = Some(sender);
            inner.threads = Mutex::new(vec![start("store-writer", Box::new(move || writer.run()))?]);
            let merger = start("store-merger", Box::new(move || merger.run()))?;
            inner.threads.get_mut().unwrap_or_else(PoisonError::into_inner).push(merger);
        }
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Stores telemetry. Returns once it is durable.
    ///
    /// # Errors
    /// [`StoreError::Busy`] at once when the queue is full; [`StoreError::ReadOnly`] on an opened file; else why the
    /// commit failed, and then nothing of the batch is stored.
    pub async fn append(&self, batch: Batch) -> Result<Appended, StoreError> {
        let jobs = self.jobs()?;
        let size = u32::try_from(batch.bytes / ROOM_UNIT).unwrap_or(u32::MAX).clamp(1, self.inner.room_total);
        let room = self.inner.room.clone().try_acquire_many_owned(size).map_err(|_| StoreError::Busy)?;
        let (ack, done) = oneshot::channel();
        jobs.try_send(Job::Append { batch, ack, _room: room }).map_err(|e| full(&e))?;
        done.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Runs `f` on the writer's thread inside a transaction that may carry other jobs too, with the stamp that its rows
    /// must bear as `arrival`. Returns once the commit is durable; on an error everything that `f` did is undone.
    /// `touched` says what kinds of data listeners should ask for again.
    ///
    /// # Errors
    /// What `f` returns; or why the transaction could not be begun or committed.
    pub async fn transact<T, E, F>(&self, touched: &[Touched], f: F) -> Result<T, E>
    where
        F: FnOnce(&Transaction<'_>, UnixNanos) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let jobs = self.jobs()?;
        let (tell, done) = oneshot::channel::<Result<T, E>>();
        let work = move |tx: &Transaction<'_>, stamp| match f(tx, stamp) {
            Ok(value) => Ok(Box::new(move |outcome: Result<(), StoreError>| {
                let _ = tell.send(outcome.map(|()| value).map_err(E::from));
            }) as Ack),
            Err(e) => {
                let _ = tell.send(Err(e));
                Err(Undone)
            }
        };
        jobs.try_send(Job::Work { work: Box::new(work), touched: touched.to_vec() }).map_err(|e| full(&e))?;
        match done.await {
            Ok(outcome) => outcome,
            Err(_) => Err(self.undone().into()),
        }
    }

    /// Runs `f` on a reader's snapshot: one read transaction, on a thread where it may block.
    ///
    /// # Errors
    /// What `f` returns; or that no connection can be had.
    pub async fn read<T, E, F>(&self, f: F) -> Result<T, E>
    where
        F: FnOnce(&Snapshot<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.inner.readers.run(f).await
    }

    /// An instant up to which everything is stored and at or before which nothing can arrive any more. For an opened
    /// file: its last instant.
    #[must_use]
    pub fn as_of_now(&self) -> UnixNanos {
        match self.inner.mode {
            OpenMode::ReadWrite => self.inner.clock.as_of_now(),
            OpenMode::ReadOnly => self.inner.last,
        }
    }

    /// The instant that a question asked as of `wanted` is answered as of.
    ///
    /// What lies ahead is not stored yet, so that is now at the latest. A file into which old telemetry was imported has no
    /// instant before its import at which anybody could have asked: there, every instant sees everything.
    #[must_use]
    pub fn as_of(&self, wanted: Option<UnixNanos>) -> UnixNanos {
        let now = self.as_of_now();
        if self.inner.hindsight.is_some() { now } else { wanted.map_or(now, |t| t.min(now)) }
    }

    /// The stretch of time that questions make sense for: a year back and a day ahead, or as far back as an imported file goes.
    #[must_use]
    pub fn reach(&self) -> TimeRange {
        const BACK: Duration = Duration::from_secs(366 * 24 * 3600);
        const AHEAD: Duration = Duration::from_secs(24 * 3600);
        let now = self.as_of_now();
        TimeRange { from: self.inner.hindsight.map_or(now - BACK, |oldest| oldest.min(now - BACK)), to: now + AHEAD }
    }

    /// Commits from now on. A listener that falls more than 256 behind is told that it missed some.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Committed> {
        self.inner.events.subscribe()
    }

    /// Waits until everything accepted so far is committed (or refused).
    pub async fn flush(&self) {
        if let Ok(jobs) = self.jobs() {
            let (told, done) = oneshot::channel();
            if jobs.try_send(Job::Flush(told)).is_ok() {
                let _ = done.await;
            }
        }
    }

    /// The collector's health.
    #[must_use]
    pub fn vitals(&self) -> &Arc<Vitals> {
        &self.inner.vitals
    }

    /// What is wrong, in words: why nothing can be stored just now, or which parts of the file cannot be read; empty when all
    /// is well.
    #[must_use]
    pub fn trouble(&self) -> String {
        let now = self.inner.vitals.trouble();
        if now.is_empty() { self.inner.cache.damage() } else { now }
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Whether nothing can be changed.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.inner.mode == OpenMode::ReadOnly
    }

    /// Bytes of telemetry that wait for the writer, and how many may.
    #[must_use]
    pub fn queue_bytes(&self) -> (usize, usize) {
        let total = self.inner.room_total as usize;
        let free = self.inner.room.available_permits();
        (total.saturating_sub(free) * ROOM_UNIT, total * ROOM_UNIT)
    }

    /// Size of the file with its log, in bytes.
    #[must_use]
    pub fn bytes_on_disk(&self) -> u64 {
        let size = |path: &Path| std::fs::metadata(path).map_or(0, |m| m.len());
        size(&self.inner.path) + size(&open::beside(&self.inner.path, "-wal"))
    }

    fn jobs(&self) -> Result<&SyncSender<Job>, StoreError> {
        self.inner.jobs.as_ref().ok_or(StoreError::ReadOnly)
    }

    /// Why a job was dropped without a word: the transaction could not be begun, or the writer has ended.
    fn undone(&self) -> StoreError {
        let trouble = self.inner.vitals.trouble();
        if trouble.is_empty() { StoreError::Closed } else { StoreError::Corrupt(trouble) }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(jobs) = self.jobs.take() {
            self.stop.store(true, Ordering::Relaxed);
            // Blocks while the queue is full: the writer empties it.
            let _ = jobs.send(Job::Stop);
        }
        for thread in std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner)) {
            let _ = thread.join();
        }
    }
}

/// A connection of its own to a file that is only looked at.
///
/// # Errors
/// A sentence for a file that is missing, foreign, newer or damaged.
pub(crate) fn look(path: &Path) -> Result<rusqlite::Connection, StoreError> {
    open::check_header(path)?;
    let conn = open::reader(path, OpenMode::ReadOnly)?;
    match open::version(&conn, path)? {
        0 => Err(StoreError::Foreign { path: path.to_owned(), found: "an empty database".to_owned() }),
        _ => Ok(conn),
    }
}

fn full(error: &TrySendError<Job>) -> StoreError {
    match error {
        TrySendError::Full(_) => StoreError::Busy,
        TrySendError::Disconnected(_) => StoreError::Closed,
    }
}
