//! What happened, as flags on the strip and lines of a story.

use std::time::Duration;

use fuseboard_api::breaker::{BreakerState, BreakerTransition};
use fuseboard_api::graph::{EdgeKey, Severity};
use fuseboard_api::strip::{Mark, MarkKind};
use fuseboard_api::{TimeRange, UnixNanos};
use rusqlite::Connection;

use super::breakers::transitions;
use super::changes::changes;
use super::fleet::presence;
use crate::control::short;
use crate::{analyze, incident, query};

/// Instances whose breakers change alike within this time make one mark.
const TOGETHER: Duration = Duration::from_secs(2);

/// Everything that control, forecasts and incidents have to say about a range, by time.
///
/// # Errors
/// Only the database's own.
pub(crate) fn marks(conn: &Connection, range: TimeRange, as_of: UnixNanos) -> rusqlite::Result<Vec<Mark>> {
    let mut marks = breaker_marks(transitions(conn, range, as_of)?);
    marks.extend(change_marks(conn, range, as_of)?);
    marks.extend(lost(conn, range, as_of)?);
    marks.extend(analyze::marks(conn, range, as_of)?);
    marks.extend(incident::marks(conn, range, as_of)?);
    marks.extend(query::deployments(conn, range, as_of)?);
    marks.sort_by(|a, b| (a.at, a.kind, &a.text).cmp(&(b.at, b.kind, &b.text)));
    Ok(marks)
}

/// `orders → payments …Charge`.
pub(crate) fn edge_words(key: &EdgeKey) -> String {
    format!("{} → {} {}", key.caller, key.callee, short(&key.operation))
}

/// One mark for all instances whose breaker of an edge changed alike within a moment. Takes them newest first.
fn breaker_marks(newest_first: Vec<BreakerTransition>) -> Vec<Mark> {
    let mut groups: Vec<(BreakerTransition, UnixNanos, Vec<String>)> = Vec::new();
    // What an override told a breaker to do is said by the mark of the override.
    for t in newest_first.into_iter().rev().filter(|t| !t.by_mode) {
        let together = groups
            .iter_mut()
            .rev()
            .take_while(|(_, last, _)| t.at.since(*last) <= TOGETHER)
            .find(|(first, ..)| first.key == t.key && first.to == t.to);
        match together {
            Some((_, last, instances)) => {
                *last = t.at;
                if !instances.contains(&t.instance) {
                    instances.push(t.instance);
                }
            }
            None => groups.push((t.clone(), t.at, vec![t.instance])),
        }
    }
    groups.into_iter().map(|(first, _, instances)| breaker_mark(first, &instances)).collect()
}

fn breaker_mark(t: BreakerTransition, instances: &[String]) -> Mark {
    let (kind, label, severity, did) = match t.to {
        BreakerState::Open => (MarkKind::BreakerOpened, "open", Severity::Failed, "opened"),
        BreakerState::HalfOpen => (MarkKind::BreakerProbing, "½", Severity::AtRisk, "began to probe"),
        BreakerState::Closed => (MarkKind::BreakerClosed, "closed", Severity::Well, "closed again"),
    };
    let whose = match instances {
        [one] => format!("in {one}"),
        several => format!("in {} instances", several.len()),
    };
    let cause = if t.cause.is_empty() { String::new() } else { format!(": {}", t.cause) };
    Mark {
        at: t.at,
        kind,
        label: label.to_owned(),
        text: format!("{} {did} {whose}{cause}", edge_words(&t.key)),
        severity,
        edge: Some(t.key),
    }
}

fn change_marks(conn: &Connection, range: TimeRange, as_of: UnixNanos) -> rusqlite::Result<Vec<Mark>> {
    let changes = changes(conn, range, as_of)?;
    let mut marks = Vec::new();
    for revision in changes.revisions.into_iter().filter(|r| range.contains(r.at)) {
        marks.push(Mark {
            at: revision.at,
            kind: MarkKind::Revision,
            label: format!("r{}", revision.id),
            text: format!(
                "{} published revision {}: {} ({})",
                revision.actor, revision.id, revision.summary, revision.reason
            ),
            severity: Severity::Well,
            edge: None,
        });
    }
    for change in changes.overrides {
        let edge = change.override_spec.as_ref().and_then(|spec| {
            let s = &spec.selector;
            Some(EdgeKey::new(s.caller.clone()?, s.service.clone()?, s.operation.clone()?))
        });
        if range.contains(change.at) {
            marks.push(Mark {
                at: change.at,
                kind: MarkKind::Override,
                label: "ov".to_owned(),
                text: format!("{}: {} ({})", change.actor, change.summary, change.reason),
                severity: Severity::AtRisk,
                edge: edge.clone(),
            });
        }
        if let Some(ended) = change.ended.filter(|t| range.contains(*t)) {
            marks.push(Mark {
                at: ended,
                kind: MarkKind::OverrideEnded,
                label: "ov".to_owned(),
                text: format!("override {} ended: {}", change.id, change.summary),
                severity: Severity::Well,
                edge,
            });
        }
    }
    Ok(marks)
}

fn lost(conn: &Connection, range: TimeRange, as_of: UnixNanos) -> rusqlite::Result<Vec<Mark>> {
    let streams = presence(conn, as_of)?;
    let gone = streams.into_iter().filter_map(|p| {
        let (at, how) = p.ended?;
        (how == "lost" && range.contains(at)).then(|| Mark {
            at,
            kind: MarkKind::AgentLost,
            label: "lost".to_owned(),
            text: format!("the control stream of {} {} broke", p.service, p.instance),
            severity: Severity::AtRisk,
            edge: None,
        })
    });
    Ok(gone.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(at_ms: i64, instance: &str) -> BreakerTransition {
        BreakerTransition {
            at: UnixNanos(at_ms * 1_000_000),
            key: EdgeKey::new("orders", "payments", "payments.v1.Payments/Charge"),
            instance: instance.into(),
            to: BreakerState::Open,
            cause: "12 of 20 calls failed (60 % ≥ 50 %)".into(),
            ..BreakerTransition::default()
        }
    }

    #[test]
    fn breakers_that_open_together_make_one_mark() {
        let newest_first = vec![opened(9_000, "orders-1"), opened(1_400, "orders-2"), opened(1_000, "orders-1")];
        let marks = breaker_marks(newest_first);
        let texts: Vec<&str> = marks.iter().map(|m| m.text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "orders → payments …Charge opened in 2 instances: 12 of 20 calls failed (60 % ≥ 50 %)",
                "orders → payments …Charge opened in orders-1: 12 of 20 calls failed (60 % ≥ 50 %)",
            ]
        );
    }
}
