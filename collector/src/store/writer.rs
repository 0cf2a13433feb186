//! The one thread that writes. Jobs that come close together share a transaction, and each sender hears of its own job
//! only after the commit.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use fuseboard_api::live::Touched;
use fuseboard_api::{TimeRange, UnixNanos};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use tokio::sync::{OwnedSemaphorePermit, broadcast, oneshot};

use super::cache::Cache;
use super::clock::Clock;
use super::error::StoreError;
use super::folds::{self, Folded};
use super::insert::{State, Tally};
use super::rows::{Appended, Batch};
use super::snapshot::Snapshot;
use super::vitals::Vitals;
use super::{Committed, Settings, logs, retention};

/// Told once the commit has happened, or not.
pub(super) type Ack = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// A job that runs inside the transaction. An error undoes this job alone; it has then told its sender by itself.
pub(super) type Work = Box<dyn FnOnce(&Transaction<'_>, UnixNanos) -> Result<Ack, Undone> + Send>;

/// The job failed and must be undone.
#[derive(Debug)]
pub(super) struct Undone;

/// What the queue carries.
pub(super) enum Job {
    /// Telemetry.
    Append { batch: Batch, ack: oneshot::Sender<Result<Appended, StoreError>>, _room: OwnedSemaphorePermit },
    /// Anything else.
    Work { work: Work, touched: Vec<Touched> },
    /// Commit what there is now and say so.
    Flush(oneshot::Sender<()>),
    /// End.
    Stop,
}

/// Everything the thread owns.
pub(super) struct Writer {
    pub(super) conn: Connection,
    pub(super) cache: Arc<Cache>,
    pub(super) jobs: Receiver<Job>,
    /// Wakes the merger.
    pub(super) merge: SyncSender<()>,
    pub(super) clock: Arc<Clock>,
    pub(super) events: broadcast::Sender<Committed>,
    pub(super) vitals: Arc<Vitals>,
    pub(super) settings: Settings,
    pub(super) state: State,
    pub(super) folded: Folded,
    /// More came late than one round has summed.
    pub(super) behind: bool,
    pub(super) generation: u64,
    pub(super) chores: Instant,
    pub(super) swept: Instant,
}

/// How long the thread sleeps at most before it looks for chores.
const CHORES: Duration = Duration::from_secs(1);

/// How long log records are merged in a round of chores; what is begun by then is ended.
const MERGING: Duration = Duration::from_millis(50);

/// Bytes of telemetry at which a commit waits no longer.
const GROUP_BYTES: usize = 32 * 1024 * 1024;

/// How long after its end a stretch is folded: by then nearly everything has come.
const FOLD_AFTER: i64 = 5;

/// One transaction's worth of jobs, on their way to the commit.
struct Group {
    tally: Tally,
    acks: Vec<Ack>,
    touched: Vec<Touched>,
    rows: usize,
    bytes: usize,
    urgent: bool,
    /// Telemetry was taken.
    appended: bool,
    /// Telemetry could not be taken.
    failed: bool,
}

impl Group {
    fn touch(&mut self, kinds: &[Touched]) {
        for kind in kinds {
            if !self.touched.contains(kind) {
                self.touched.push(*kind);
            }
        }
    }
}

impl Writer {
    /// Works until told to stop.
    pub(super) fn run(mut self) {
        loop {
            let idle = if self.behind { Duration::ZERO } else { CHORES.saturating_sub(self.chores.elapsed()) };
            match self.jobs.recv_timeout(idle) {
                Ok(Job::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(job) => {
                    if self.group(Some(job)) {
                        break;
                    }
                }
                // Nobody waits: time for what is left over.
                Err(RecvTimeoutError::Timeout) if self.behind => self.fold_late(),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.chores.elapsed() >= CHORES {
                self.chores = Instant::now();
                self.do_chores();
            }
        }
        // Leaves one whole file behind; failing that, the log beside it is replayed at the next start.
        if let Err(e) = self.conn.execute_batch("PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE);") {
            tracing::warn!("could not fold the write-ahead log into the file at the end: {e}");
        }
    }

    /// Runs jobs in one transaction until the linger is over, then commits. True when told to stop.
    fn group(&mut self, first: Option<Job>) -> bool {
        let stamp = self.clock.begin();
        let mut stop = false;
        let mut group = Group {
            tally: Tally::at(stamp.0),
            acks: Vec::new(),
            touched: Vec::new(),
            rows: 0,
            bytes: 0,
            urgent: false,
            appended: false,
            failed: false,
        };
        let begun = Instant::now();
        let outcome = self.fill(first, &mut group, &mut stop);
        self.clock.end();
        match &outcome {
            Ok(()) => {
                if group.appended && !group.failed {
                    self.vitals.set_trouble("");
                }
                if group.rows > 0 {
                    self.vitals.count_commit(begun.elapsed());
                }
                self.vitals.sums.add(&group.tally.added);
                self.state.committed(stamp.0);
                if group.tally.spans > 0 {
                    // Full: it has not begun with the last one yet.
                    let _ = self.merge.try_send(());
                }
                self.announce(&group, stamp);
            }
            Err(e) => {
                self.vitals.set_trouble(&e.to_string());
                self.recover();
            }
        }
        for ack in group.acks {
            ack(outcome.as_ref().copied().map_err(again));
        }
        stop
    }

    fn fill(&mut self, first: Option<Job>, group: &mut Group, stop: &mut bool) -> Result<(), StoreError> {
        let Self { conn, cache, jobs, state, settings, vitals, folded, .. } = self;
        state.begin();
        let tx = match Transaction::new_unchecked(conn, TransactionBehavior::Immediate) {
            Ok(tx) => tx,
            Err(e) => {
                let error = StoreError::from(e);
                if let Some(job) = first {
                    refuse(job, &error);
                }
                return Err(error);
            }
        };
        let read = Snapshot::new(&tx, cache);
        let deadline = Instant::now() + settings.linger;
        let mut next = first;
        loop {
            match next.take() {
                None => break,
                Some(Job::Stop) => {
                    *stop = true;
                    break;
                }
                Some(job) => run_job(&tx, &read, state, vitals, group, job)?,
            }
            if group.rows >= settings.group_rows || group.bytes >= GROUP_BYTES {
                break;
            }
            let wait = if group.urgent { Duration::ZERO } else { deadline.saturating_duration_since(Instant::now()) };
            next = jobs.recv_timeout(wait).ok();
        }
        let anything = state.finish(&tx, &mut group.tally, *folded)?;
        if !anything && group.acks.is_empty() {
            return Ok(tx.rollback()?);
        }
        write_commit(&tx, &group.tally)?;
        tx.commit()?;
        Ok(())
    }

    fn announce(&mut self, group: &Group, stamp: UnixNanos) {
        let tally = &group.tally;
        let mut touched = group.touched.clone();
        for (some, kind) in [
            (tally.spans > 0 || !tally.added.is_empty(), Touched::Spans),
            (tally.logs > 0, Touched::Logs),
            (tally.points > 0, Touched::Metrics),
        ] {
            if some && !touched.contains(&kind) {
                touched.push(kind);
            }
        }
        if touched.is_empty() {
            return;
        }
        let range = match tally.newest >= tally.oldest {
            true => TimeRange { from: UnixNanos(tally.oldest), to: UnixNanos(tally.newest.saturating_add(1)) },
            false => TimeRange { from: stamp, to: UnixNanos(stamp.0.saturating_add(1)) },
        };
        self.generation += 1;
        // Nobody listening is no error.
        let _ = self.events.send(Committed { generation: self.generation, stamp, range, touched });
    }

    /// After a rollback: what memory says about the tables may be wrong.
    fn recover(&mut self) {
        if let Err(e) = self.state.recover(&Snapshot::new(&self.conn, &self.cache)) {
            tracing::error!("cannot read back what the tables hold: {e}");
        }
    }

    fn do_chores(&mut self) {
        let now = UnixNanos::now().0;
        if self.state.pairing.next_deadline().is_some_and(|d| d <= now) {
            self.group(None);
        }
        let ended = now / 1_000_000_000 - FOLD_AFTER;
        if self.folded.is_due(ended)
            && let Err(e) = self.fold(ended)
        {
            self.vitals.set_trouble(&StoreError::from(e).to_string());
        }
        self.fold_late();
        if let Err(e) = retention::give_back(&self.conn) {
            tracing::warn!("room in the file is not given back: {e}");
        }
        if let Err(e) = self.merge_logs(now) {
            self.vitals.set_trouble(&e.to_string());
        }
        if self.swept.elapsed() >= self.settings.retention.every {
            self.swept = Instant::now();
            let now = self.clock.calm();
            self.clock.begin();
            let swept = retention::sweep(&self.conn, &self.cache, &self.settings.retention, now.0);
            self.clock.end();
            match swept {
                // More is left to do: go on at the next round rather than in half a minute.
                Ok(true) => self.swept = Instant::now() - self.settings.retention.every,
                Ok(false) => {}
                Err(e) => self.vitals.set_trouble(&StoreError::from(e).to_string()),
            }
        }
    }

    /// Puts larger blocks of log records in the place of small ones: not for so long that telemetry waits.
    fn merge_logs(&self, now: i64) -> Result<(), StoreError> {
        let begun = Instant::now();
        while begun.elapsed() < MERGING {
            let tx = Transaction::new_unchecked(&self.conn, TransactionBehavior::Immediate)?;
            if !logs::tables::merge(&tx, now)? {
                return Ok(());
            }
            tx.commit()?;
        }
        Ok(())
    }

    fn fold(&mut self, ended: i64) -> rusqlite::Result<()> {
        let stamp = self.clock.begin();
        let mut next = self.folded;
        let folded = (|| {
            let tx = Transaction::new_unchecked(&self.conn, TransactionBehavior::Immediate)?;
            next.advance(&tx, ended, stamp.0)?;
            tx.commit()
        })();
        self.clock.end();
        folded?;
        self.folded = next;
        Ok(())
    }

    /// Sums a bounded part of what came late.
    fn fold_late(&mut self) {
        let stamp = self.clock.begin();
        let folded = (|| {
            let tx = Transaction::new_unchecked(&self.conn, TransactionBehavior::Immediate)?;
            let more = folds::fold_late(&tx, stamp.0)?;
            tx.commit()?;
            Ok::<_, rusqlite::Error>(more)
        })();
        self.clock.end();
        self.behind = *folded.as_ref().unwrap_or(&false);
        if let Err(e) = folded {
            self.vitals.set_trouble(&StoreError::from(e).to_string());
        }
    }
}

/// Runs one job inside the group's transaction. A job that fails is undone alone and told so; an error is returned only
/// when it took the whole transaction with it, as SQLite does when the disk is full.
fn run_job(
    tx: &Transaction<'_>,
    read: &Snapshot<'_>,
    state: &mut State,
    vitals: &Vitals,
    group: &mut Group,
    job: Job,
) -> Result<(), StoreError> {
    if let Err(e) = tx.execute_batch("SAVEPOINT job") {
        refuse(job, &e.into());
        return Ok(());
    }
    let mut why = None;
    let done = match job {
        Job::Append { batch, ack, _room } => {
            group.rows += batch.tapes.iter().map(|t| t.spans.len()).sum::<usize>()
                + batch.logs.len()
                + batch.metrics.iter().map(|m| m.points.len()).sum::<usize>();
            group.bytes += batch.bytes;
            let before = group.tally.records();
            match state.append(read, batch, &mut group.tally) {
                Ok(appended) => {
                    group.appended = true;
                    vitals.count_duplicates(appended.duplicates);
                    group.acks.push(Box::new(move |outcome| {
                        let _ = ack.send(outcome.map(|()| appended));
                        drop(_room);
                    }));
                    true
                }
                Err(e) => {
                    let error = StoreError::from(e);
                    group.tally.undo(before);
                    state.forget_rows();
                    group.failed = true;
                    vitals.set_trouble(&error.to_string());
                    why = Some(again(&error));
                    let _ = ack.send(Err(error));
                    false
                }
            }
        }
        Job::Work { work, touched } => {
            group.urgent = true;
            match work(tx, UnixNanos(group.tally.stamp)) {
                Ok(ack) => {
                    group.touch(&touched);
                    group.acks.push(ack);
                    true
                }
                Err(Undone) => false,
            }
        }
        Job::Flush(told) => {
            group.urgent = true;
            group.acks.push(Box::new(move |_| {
                let _ = told.send(());
            }));
            true
        }
        Job::Stop => true,
    };
    if !done && tx.is_autocommit() {
        return Err(why.unwrap_or_else(|| StoreError::Corrupt("a failed write ended the whole transaction".to_owned())));
    }
    let end = if done { "RELEASE job" } else { "ROLLBACK TO job; RELEASE job" };
    if let Err(e) = tx.execute_batch(end) {
        // The commit will fail for the same reason and tell everybody.
        tracing::error!("a savepoint could not be ended: {e}");
    }
    Ok(())
}

/// Tells a job's sender that it was not even begun.
fn refuse(job: Job, error: &StoreError) {
    match job {
        Job::Append { ack, .. } => {
            let _ = ack.send(Err(again(error)));
        }
        // Dropping the rest closes their channels, which their senders understand as not done.
        Job::Work { .. } | Job::Flush(_) | Job::Stop => {}
    }
}

/// The same failure for one more sender.
fn again(error: &StoreError) -> StoreError {
    match error {
        StoreError::DiskFull => StoreError::DiskFull,
        StoreError::ReadOnly => StoreError::ReadOnly,
        StoreError::Sqlite(rusqlite::Error::SqliteFailure(code, text)) => {
            StoreError::Sqlite(rusqlite::Error::SqliteFailure(*code, text.clone()))
        }
        other => StoreError::Corrupt(other.to_string()),
    }
}

/// Adds the commit's line: counters of everything so far, so that totals as of any instant are one look-up.
pub(super) fn write_commit(conn: &Connection, t: &Tally) -> rusqlite::Result<()> {
    let (oldest, newest) = if t.newest >= t.oldest { (t.oldest, t.newest) } else { (0, 0) };
    conn.prepare_cached(
        "INSERT INTO commits (stamp, spans, logs, points, all_spans, all_traces, all_logs, all_points, oldest, newest, lag)
         SELECT ?1, ?2, ?4, ?5,
                ?2 + coalesce(max(all_spans), 0), ?3 + coalesce(max(all_traces), 0),
                ?4 + coalesce(max(all_logs), 0), ?5 + coalesce(max(all_points), 0), ?6, ?7, ?8
         FROM (SELECT * FROM commits ORDER BY stamp DESC LIMIT 1)",
    )?
    .execute(params![
        t.stamp,
        t.spans as i64,
        t.traces as i64,
        t.logs as i64,
        t.points as i64,
        oldest,
        newest,
        t.lag.pack()
    ])?;
    Ok(())
}
