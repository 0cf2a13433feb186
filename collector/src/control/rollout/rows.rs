//! What is written down of a rollout: its plan, every step, every look of the guards. Where it stands at an instant follows
//! from the rows that had arrived by then, so that it goes on after a restart and is replayed as it was.

use fuseboard_api::UnixNanos;
use fuseboard_api::rollout::{Delivery, Reading};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use serde::de::DeserializeOwned;

use super::groups::{Division, Lines};
use super::plan;
use crate::control::sql::{signed, unsigned};

/// The tables of this room.
pub(crate) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS rollouts ( -- revisions that are delivered by a plan
    revision INTEGER PRIMARY KEY REFERENCES revisions (number),
    arrival INTEGER NOT NULL,
    base INTEGER NOT NULL,
    delivery TEXT NOT NULL, -- JSON: the plan
    confirm_by INTEGER
) STRICT;
CREATE TABLE IF NOT EXISTS rollout_steps (
    id INTEGER PRIMARY KEY,
    revision INTEGER NOT NULL REFERENCES rollouts (revision),
    arrival INTEGER NOT NULL,
    kind TEXT NOT NULL, -- stage, paused, resumed, waived, baked, confirmed, done, reverted, aborted, lapsed
    stage INTEGER NOT NULL,
    whole INTEGER NOT NULL, -- 1 with a stage for everyone: from then on it is the revision in force
    lines TEXT NOT NULL, -- JSON, with a stage: the groups
    why TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS rollout_steps_by_revision ON rollout_steps (revision, arrival);
CREATE TABLE IF NOT EXISTS rollout_looks (
    revision INTEGER NOT NULL REFERENCES rollouts (revision),
    arrival INTEGER NOT NULL,
    stage INTEGER NOT NULL,
    missing TEXT NOT NULL, -- what keeps it from going on; empty for nothing
    readings TEXT NOT NULL, -- JSON
    PRIMARY KEY (revision, arrival)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS rollout_looks_by_arrival ON rollout_looks (arrival);
";

/// As SQL: whether revision `r.number` is in force at `?1`, as far as rollouts say: everyone was given it, and it was not
/// taken back.
pub(crate) const IN_FORCE: &str = "
    NOT EXISTS (SELECT 1 FROM rollout_steps s WHERE s.revision = r.number AND s.arrival <= ?1
                AND s.kind IN ('reverted', 'aborted', 'lapsed'))
    AND (NOT EXISTS (SELECT 1 FROM rollouts p WHERE p.revision = r.number)
         OR EXISTS (SELECT 1 FROM rollout_steps s WHERE s.revision = r.number AND s.arrival <= ?1 AND s.whole = 1))";

/// What happened to a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Stage,
    Paused,
    Resumed,
    Waived,
    Baked,
    Confirmed,
    Done,
    Reverted,
    Aborted,
    Lapsed,
}

impl Kind {
    const ALL: [Self; 10] = [
        Self::Stage,
        Self::Paused,
        Self::Resumed,
        Self::Waived,
        Self::Baked,
        Self::Confirmed,
        Self::Done,
        Self::Reverted,
        Self::Aborted,
        Self::Lapsed,
    ];

    /// As stored.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Stage => "stage",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::Waived => "waived",
            Self::Baked => "baked",
            Self::Confirmed => "confirmed",
            Self::Done => "done",
            Self::Reverted => "reverted",
            Self::Aborted => "aborted",
            Self::Lapsed => "lapsed",
        }
    }
}

/// Where a rollout stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Standing {
    pub(crate) revision: u64,
    pub(crate) base: u64,
    pub(super) delivery: Delivery,
    /// When the revision was published.
    pub(super) began: UnixNanos,
    pub(crate) confirm_by: Option<UnixNanos>,
    pub(crate) confirmed: Option<UnixNanos>,
    pub(super) stage: u32,
    /// Since when the stage's time counts.
    pub(super) since: UnixNanos,
    pub(crate) division: Division,
    /// Since when everyone is given it.
    pub(crate) whole: Option<UnixNanos>,
    pub(super) paused: bool,
    pub(super) waived: bool,
    pub(super) baked: bool,
    /// How, when and why it ended.
    pub(super) over: Option<(Kind, UnixNanos, String)>,
    /// Why it stands where it does, as the last step said.
    pub(super) why: String,
}

impl Standing {
    /// Whether it was taken back from everyone, and when.
    pub(crate) fn taken_back(&self) -> Option<UnixNanos> {
        self.over.as_ref().filter(|(kind, ..)| *kind != Kind::Done).map(|(_, at, _)| *at)
    }

    /// Whether nothing will happen any more.
    pub(crate) fn is_over(&self) -> bool {
        self.over.is_some()
    }

    /// Whether agents must still go back by themselves unless it is confirmed.
    pub(crate) fn unconfirmed(&self) -> Option<UnixNanos> {
        self.confirm_by.filter(|_| self.confirmed.is_none())
    }

    /// The share and the time of the stage.
    pub(super) fn of_stage(&self) -> fuseboard_api::rollout::Stage {
        plan::stages(&self.delivery).get(self.stage as usize).copied().unwrap_or_default()
    }

    /// Whether no stage follows.
    pub(super) fn is_last(&self) -> bool {
        self.stage as usize + 1 >= plan::stages(&self.delivery).len()
    }

    /// When the stage's time has passed.
    pub(super) fn due(&self) -> UnixNanos {
        self.since + std::time::Duration::from_millis(self.of_stage().bake_ms)
    }

    fn begun(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            revision: unsigned(row, 0)?,
            began: UnixNanos(row.get(1)?),
            base: unsigned(row, 2)?,
            delivery: from_json(row, 3)?,
            confirm_by: row.get::<_, Option<i64>>(4)?.map(UnixNanos),
            confirmed: None,
            stage: 0,
            since: UnixNanos(row.get(1)?),
            division: Division::default(),
            whole: None,
            paused: false,
            waived: false,
            baked: false,
            over: None,
            why: String::new(),
        })
    }

    fn take(&mut self, kind: Kind, at: UnixNanos, stage: u32, lines: Lines, why: String) {
        match kind {
            Kind::Stage => {
                (self.stage, self.since) = (stage, at);
                let share = self.of_stage().share;
                self.division = Division { revision: self.revision, share, lines };
                if share >= 1.0 {
                    self.whole = Some(at);
                }
            }
            Kind::Paused => self.paused = true,
            Kind::Resumed => (self.paused, self.since) = (false, at),
            Kind::Waived => self.waived = true,
            Kind::Baked => self.baked = true,
            Kind::Confirmed => self.confirmed = Some(at),
            Kind::Done | Kind::Reverted | Kind::Aborted | Kind::Lapsed => self.over = Some((kind, at, why.clone())),
        }
        self.why = why;
    }
}

const COLUMNS: &str = "revision, arrival, base, delivery, confirm_by";

/// Where the rollout of a revision stood; `None` when it was delivered without a plan.
///
/// # Errors
/// Only the database's own.
pub(crate) fn standing(conn: &Connection, revision: u64, as_of: UnixNanos) -> rusqlite::Result<Option<Standing>> {
    let sql = format!("SELECT {COLUMNS} FROM rollouts WHERE revision = ?1 AND arrival <= ?2");
    let found = conn.prepare_cached(&sql)?.query_row(params![signed(revision), as_of.0], Standing::begun).optional()?;
    let Some(mut standing) = found else { return Ok(None) };
    let mut select = conn.prepare_cached(
        "SELECT kind, arrival, stage, lines, why FROM rollout_steps WHERE revision = ?1 AND arrival <= ?2 ORDER BY id",
    )?;
    let mut rows = select.query(params![signed(revision), as_of.0])?;
    while let Some(row) = rows.next()? {
        let word: String = row.get(0)?;
        if let Some(kind) = Kind::ALL.into_iter().find(|k| k.word() == word) {
            let stage = u32::try_from(row.get::<_, i64>(2)?).unwrap_or_default();
            standing.take(kind, UnixNanos(row.get(1)?), stage, from_json(row, 3)?, row.get(4)?);
        }
    }
    Ok(Some(standing))
}

/// The rollout under way; there is at most one, that of the newest planned revision.
///
/// # Errors
/// Only the database's own.
pub(crate) fn running(conn: &Connection, as_of: UnixNanos) -> rusqlite::Result<Option<Standing>> {
    let newest: Option<u64> = conn
        .prepare_cached("SELECT max(revision) FROM rollouts WHERE arrival <= ?1")?
        .query_row([as_of.0], |row| row.get::<_, Option<i64>>(0))?
        .and_then(|n| u64::try_from(n).ok());
    let Some(newest) = newest else { return Ok(None) };
    Ok(standing(conn, newest, as_of)?.filter(|s| !s.is_over()))
}

/// Writes a plan down.
pub(super) fn write_plan(
    tx: &Transaction<'_>,
    at: UnixNanos,
    (revision, base): (u64, u64),
    delivery: &Delivery,
    confirm_by: Option<UnixNanos>,
) -> rusqlite::Result<()> {
    tx.prepare_cached("INSERT INTO rollouts VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
        signed(revision),
        at.0,
        signed(base),
        to_json(delivery)?,
        confirm_by.map(|t| t.0)
    ])?;
    Ok(())
}

/// Writes a step down; `division` comes with a stage.
pub(super) fn write_step(
    tx: &Transaction<'_>,
    at: UnixNanos,
    revision: u64,
    kind: Kind,
    stage: u32,
    division: Option<&Division>,
    why: &str,
) -> rusqlite::Result<()> {
    let nobody = Lines::new();
    tx.prepare_cached(
        "INSERT INTO rollout_steps (revision, arrival, kind, stage, whole, lines, why) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        signed(revision),
        at.0,
        kind.word(),
        stage,
        division.is_some_and(|d| d.share >= 1.0),
        to_json(division.map_or(&nobody, |d| &d.lines))?,
        why
    ])?;
    Ok(())
}

/// What the guards saw at one time.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Look {
    pub(super) at: UnixNanos,
    pub(super) stage: u32,
    /// What keeps the stage from ending; empty for nothing.
    pub(super) missing: String,
    pub(super) readings: Vec<Reading>,
}

/// Writes a look down.
pub(super) fn write_look(tx: &Transaction<'_>, at: UnixNanos, revision: u64, look: &Look) -> rusqlite::Result<()> {
    tx.prepare_cached("INSERT OR REPLACE INTO rollout_looks VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
        signed(revision),
        at.0,
        look.stage,
        look.missing,
        to_json(&look.readings)?
    ])?;
    Ok(())
}

/// The newest look.
///
/// # Errors
/// Only the database's own.
pub(super) fn last_look(conn: &Connection, revision: u64, as_of: UnixNanos) -> rusqlite::Result<Option<Look>> {
    conn.prepare_cached(
        "SELECT arrival, stage, missing, readings FROM rollout_looks WHERE revision = ?1 AND arrival <= ?2
         ORDER BY arrival DESC LIMIT 1",
    )?
    .query_row(params![signed(revision), as_of.0], |row| {
        Ok(Look {
            at: UnixNanos(row.get(0)?),
            stage: u32::try_from(row.get::<_, i64>(1)?).unwrap_or_default(),
            missing: row.get(2)?,
            readings: from_json(row, 3)?,
        })
    })
    .optional()
}

fn to_json<T: serde::Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))
}

fn from_json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(e)))
}
