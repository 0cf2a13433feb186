//! Stretches that deserve a record although nobody has started one: trips and anomalies close together.

use std::time::Duration;

use fuseboard_api::incident::Incident;
use fuseboard_api::strip::{Mark, MarkKind};
use fuseboard_api::{TimeRange, UnixNanos};
use rusqlite::Connection;

use crate::control::picture;

/// How far back candidates are looked for.
const BACK: Duration = Duration::from_secs(6 * 3600);
/// Trouble that pauses for longer than this is two candidates.
const PAUSE: Duration = Duration::from_secs(60);
/// What a candidate shows before its first trouble and after its last.
const MARGIN: Duration = Duration::from_secs(30);
/// So many are answered.
const ANSWERED: usize = 20;

/// Candidates as of an instant, newest first, without those that a recorded incident covers.
pub(super) fn find(conn: &Connection, recorded: &[Incident], as_of: UnixNanos) -> rusqlite::Result<Vec<Incident>> {
    let marks = picture::marks(conn, TimeRange::ending(as_of, BACK), as_of)?;
    let mut found = stretches(&marks, as_of);
    found.retain(|c| {
        let middle = UnixNanos(c.from.0 / 2 + c.to.unwrap_or(as_of).0 / 2);
        !recorded.iter().any(|r| r.from <= middle && r.to.is_none_or(|to| middle < to))
    });
    found.reverse();
    found.truncate(ANSWERED);
    Ok(found)
}

fn is_trouble(mark: &Mark) -> bool {
    matches!(mark.kind, MarkKind::BreakerOpened | MarkKind::Anomaly)
}

/// Marks by time, joined to stretches, oldest first.
fn stretches(marks: &[Mark], as_of: UnixNanos) -> Vec<Incident> {
    let mut all: Vec<Incident> = Vec::new();
    let mut last = UnixNanos(i64::MIN);
    for mark in marks {
        let follows = all.last().is_some() && mark.at.since(last) <= PAUSE;
        let goes_on = matches!(mark.kind, MarkKind::BreakerProbing | MarkKind::BreakerClosed);
        match all.last_mut() {
            Some(current) if follows && (is_trouble(mark) || goes_on) => current.to = Some(mark.at),
            _ if is_trouble(mark) => all.push(Incident {
                name: mark.text.split(':').next().unwrap_or_default().to_owned(),
                from: mark.at,
                to: Some(mark.at),
                ..Incident::default()
            }),
            _ => continue,
        }
        last = mark.at;
    }
    for stretch in &mut all {
        stretch.from = stretch.from - MARGIN;
        stretch.to = stretch.to.map(|to| (to + MARGIN).min(as_of));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(second: i64, kind: MarkKind) -> Mark {
        Mark {
            at: UnixNanos(second * 1_000_000_000),
            kind,
            text: format!("edge opened: at {second}"),
            ..Mark::default()
        }
    }

    #[test]
    fn trouble_close_together_is_one_stretch_and_recovery_belongs_to_it() {
        let marks = [
            mark(100, MarkKind::Revision),
            mark(110, MarkKind::BreakerOpened),
            mark(150, MarkKind::BreakerOpened),
            mark(200, MarkKind::BreakerClosed),
            mark(900, MarkKind::Anomaly),
            mark(2000, MarkKind::BreakerClosed),
        ];
        let found = stretches(&marks, UnixNanos(910 * 1_000_000_000));
        let seconds: Vec<(i64, i64)> =
            found.iter().map(|i| (i.from.0 / 1_000_000_000, i.to.unwrap().0 / 1_000_000_000)).collect();
        assert_eq!(seconds, [(80, 230), (870, 910)]);
        assert_eq!(found[0].name, "edge opened");
    }
}
