//! Makes large segments of small ones, beside the writer.
//!
//! The merger reads with a connection of its own, builds the new segment, and hands the exchange to the writer, which does it
//! in one transaction: the new one in, the old ones out. Rows keep their arrival, so no answer changes.
//!
//! Segments are merged with others of about their size, so that a span is written again three times at most on its way
//! into a whole one.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use fuseboard_api::UnixNanos;
use rusqlite::{Connection, Transaction};

use super::StoreError;
use super::cache::Cache;
use super::open::{self, OpenMode};
use super::rebuild::Rebuild;
use super::segment::{self, Parts};
use super::segments::{self, Format, Packed, ROWS, SegmentRow};
use super::snapshot::Snapshot;
use super::writer::{Ack, Job, Undone};

/// Rows from which on a segment is whole.
const WHOLE: u32 = ROWS as u32 / 4 * 3;

/// Classes of size: below so many rows, so many segments are merged into one.
const CLASSES: [(u32, usize); 3] = [(256, 24), (2_048, 24), (WHOLE, 6)];

/// Segments merged at once.
const SOURCES: usize = 64;

/// Bytes of encoded spans in a merged segment.
const BYTES: usize = 24 * 1024 * 1024;

/// What the thread owns.
pub(super) struct Merger {
    pub(super) path: PathBuf,
    pub(super) cache: Arc<Cache>,
    pub(super) jobs: SyncSender<Job>,
    pub(super) stop: Arc<AtomicBool>,
    /// Something was committed; ends with the writer.
    pub(super) wake: Receiver<()>,
}

/// Segments to be merged, and what becomes of them.
struct Merged {
    packed: Packed,
    sources: Vec<i64>,
    new_traces: u64,
}

impl Merger {
    /// Works until the writer ends or `stop` is set.
    pub(super) fn run(self) {
        let conn = match open::reader(&self.path, OpenMode::ReadWrite) {
            Ok(conn) => conn,
            Err(e) => return tracing::error!("small segments are not merged: {e}"),
        };
        let mut damaged = HashSet::new();
        while self.wake.recv().is_ok() {
            loop {
                if self.stop.load(Ordering::Relaxed) {
                    return;
                }
                match self.step(&conn, &mut damaged) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(e) => {
                        tracing::warn!("small segments were not merged: {e}");
                        break;
                    }
                }
            }
        }
    }

    /// Merges once; false when there is nothing to merge.
    fn step(&self, conn: &Connection, damaged: &mut HashSet<i64>) -> Result<bool, StoreError> {
        let merged = {
            let tx = conn.unchecked_transaction()?;
            let read = Snapshot::new(&tx, &self.cache);
            let sources = plan(small(&read)?.into_iter().filter(|row| !damaged.contains(&row.id)));
            if sources.is_empty() {
                return Ok(false);
            }
            self.build(&read, &sources, damaged)?
        };
        match merged {
            Some(merged) => Ok(self.exchange(merged)),
            None => Ok(!self.stop.load(Ordering::Relaxed)),
        }
    }

    fn build(
        &self,
        read: &Snapshot<'_>,
        sources: &[SegmentRow],
        damaged: &mut HashSet<i64>,
    ) -> Result<Option<Merged>, StoreError> {
        let mut out = Rebuild::default();
        let (mut merged, mut new_traces) = (Vec::new(), 0);
        for row in sources {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            if out.bytes() >= BYTES {
                break;
            }
            match add(read, row, &mut out) {
                Ok(()) => {
                    merged.push(row.id);
                    new_traces += u64::from(row.new_traces);
                }
                Err(StoreError::Segment(e)) => {
                    tracing::error!("segment {} stays as it is: {e}", row.id);
                    damaged.insert(row.id);
                }
                Err(e) => return Err(e),
            }
        }
        if merged.len() < 2 {
            // Too large to be merged with anything, or the others are damaged.
            damaged.extend(merged);
            return Ok(None);
        }
        Ok(Some(Merged { packed: out.finish()?, sources: merged, new_traces }))
    }

    /// Lets the writer put the new segment in the place of its sources. False when it did not.
    fn exchange(&self, merged: Merged) -> bool {
        let sources = merged.sources.clone();
        let (tell, done) = sync_channel::<bool>(1);
        let work = move |tx: &Transaction<'_>, _: UnixNanos| {
            exchange(tx, &merged).map_err(|e| {
                tracing::warn!("segments were not merged: {e}");
                Undone
            })?;
            let ack: Ack = Box::new(move |outcome| {
                let _ = tell.send(outcome.is_ok());
            });
            Ok(ack)
        };
        if self.jobs.send(Job::Work { work: Box::new(work), touched: Vec::new() }).is_err() {
            return false;
        }
        // An answer that never comes is a no.
        let did = done.recv().unwrap_or(false);
        if did {
            sources.into_iter().for_each(|id| self.cache.forget(id));
        }
        did
    }
}

fn add(read: &Snapshot<'_>, row: &SegmentRow, out: &mut Rebuild) -> Result<(), StoreError> {
    match row.format {
        Format::Rows => {
            let data = read.data(row.id)?;
            for stored in segment::rows::list(&data)? {
                out.add(stored.origin, stored.arrival, stored.span);
            }
        }
        Format::Columns => {
            let columns = read.columns_unkept(row, &Parts::all())?;
            (0..columns.rows()).for_each(|at| out.add_row(&columns, at));
        }
    }
    Ok(())
}

fn small(read: &Snapshot<'_>) -> Result<Vec<SegmentRow>, StoreError> {
    let sql = format!("SELECT {} FROM segments WHERE rows < ?1 ORDER BY min_arrival, id", segments::COLUMNS);
    let mut read = read.prepare_cached(&sql)?;
    let rows = read.query_map([WHOLE], SegmentRow::of)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn exchange(tx: &Connection, merged: &Merged) -> rusqlite::Result<()> {
    for id in &merged.sources {
        if !segments::remove(tx, *id)? {
            // Retention was faster: what it took must not come back.
            return Err(rusqlite::Error::QueryReturnedNoRows);
        }
    }
    segments::insert(tx, &merged.packed, merged.new_traces)?;
    Ok(())
}

/// Which segments to merge, out of small ones by arrival; none when it is not worth it yet.
fn plan(small: impl Iterator<Item = SegmentRow>) -> Vec<SegmentRow> {
    let mut classes: [Vec<SegmentRow>; CLASSES.len()] = Default::default();
    for row in small {
        if let Some(class) = CLASSES.iter().position(|(below, _)| row.rows < *below) {
            classes[class].push(row);
        }
    }
    for (class, (_, enough)) in classes.into_iter().zip(CLASSES) {
        let mut rows = 0;
        let mut chosen = Vec::new();
        let all = class.len();
        for row in class {
            if chosen.len() >= SOURCES || rows + row.rows > ROWS as u32 / 4 * 5 {
                break;
            }
            rows += row.rows;
            chosen.push(row);
        }
        if chosen.len() > 1 && (all >= enough || rows >= WHOLE) {
            return chosen;
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(sizes: &[u32]) -> Vec<SegmentRow> {
        let row = |(id, rows): (i64, &u32)| SegmentRow {
            id,
            format: Format::Rows,
            rows: *rows,
            traces: 1,
            new_traces: 1,
            errors: 0,
            min_start: 0,
            max_start: 0,
            max_end: 0,
            min_duration: 0,
            max_duration: 0,
            min_arrival: id,
            max_arrival: id,
            bytes: 0,
            origins: Vec::new(),
        };
        (0..).zip(sizes).map(row).collect()
    }

    fn planned(sizes: &[u32]) -> Vec<i64> {
        plan(rows(sizes).into_iter()).iter().map(|r| r.id).collect()
    }

    #[test]
    fn segments_are_merged_with_others_of_their_size() {
        assert_eq!(planned(&[5; 23]), [0i64; 0]);
        assert_eq!(planned(&[5; 24]), (0..24).collect::<Vec<i64>>());
        assert_eq!(planned(&[1_000, 5, 1_000, 1_000, 5, 1_000, 1_000, 1_000, 1_000]), [0i64; 0]);
        assert_eq!(planned(&[5, 500].repeat(24)), (0..48).step_by(2).collect::<Vec<i64>>(), "the smallest first");
        assert_eq!(planned(&[5, 1_100, 1_100, 1_100].repeat(5)).len(), 15, "together they are whole");
        assert_eq!(planned(&[6_000, 7_000]), [0, 1], "together they are whole");
        assert_eq!(planned(&[11_000, 11_000]), [0i64; 0], "together they are too many");
        assert_eq!(planned(&[5; 1_000]).len(), SOURCES);
    }

    /// However often it is sent and merged, every span is there once, with its arrival.
    #[tokio::test]
    async fn merged_segments_hold_what_their_sources_held() {
        use fuseboard_api::{TimeRange, TraceId};

        use crate::store::segment::Part;
        use crate::store::{Store, testing};

        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(dir.path().join("data.fuseboard"), OpenMode::ReadWrite).expect("opens");
        let ever = TimeRange { from: UnixNanos(0), to: UnixNanos(i64::MAX) };
        let mut commits = Vec::new();
        for trace in 1..=40u8 {
            let spans = (1..=3).map(|id| testing::span(trace, id, 1, i64::from(trace) * 1_000)).collect();
            let before = store.as_of_now();
            store.append(testing::batch("shop", spans)).await.expect("stored");
            commits.push((before, store.as_of_now()));
        }
        let count = move |snapshot: &Snapshot<'_>| -> Result<usize, StoreError> {
            Ok(snapshot.segments(ever, UnixNanos(i64::MAX))?.len())
        };
        // Of 40 commits 24 become one segment, and 16 wait for more.
        while store.read(count).await.expect("read") > 17 {
            tokio::task::yield_now().await;
        }
        for (trace, (before, after)) in (1..=40u8).zip(commits) {
            for (as_of, expected) in [(before, 0), (after, 3)] {
                let found = store
                    .read(move |snapshot| snapshot.trace(TraceId([trace; 16]), as_of, &Parts::of(&[Part::Ids])))
                    .await
                    .expect("read");
                let rows: usize = found.iter().map(|(_, rows)| rows.len()).sum();
                assert_eq!(rows, expected, "trace {trace}");
            }
        }
        let again: Vec<_> = (1..=3).map(|id| testing::span(7, id, 1, 7_000)).collect();
        let appended = store.append(testing::batch("shop", again)).await.expect("stored");
        assert_eq!((appended.stored, appended.duplicates), (0, 3));
    }
}
