//! Pictures of control as of an instant, from stored rows alone.

mod breakers;
mod changes;
mod effective;
mod fleet;
mod marks;
mod policies;

use super::audit;
use crate::store::Snapshot;
use crate::{analyze, incident};
use fuseboard_api::UnixNanos;
use fuseboard_api::ask::{Answer, Question, Totals};

pub(crate) use breakers::{edge_breakers, transitions};
pub(crate) use fleet::{Presence, presence};
pub(crate) use marks::marks;
pub(crate) use policies::{steering, with_edits};

/// Answers the questions about control, forecasts and incidents.
///
/// # Errors
/// What the database says.
pub(crate) fn answer(conn: &Snapshot<'_>, question: &Question, as_of: UnixNanos) -> rusqlite::Result<Answer> {
    Ok(match question {
        Question::Breakers { range } => Answer::Breakers(breakers::breakers(conn, *range, as_of)?),
        Question::Policies { range } => Answer::Policies(policies::policies(conn, *range, as_of)?),
        Question::Effective { range, selector } => {
            Answer::Effective(effective::effective(conn, *range, selector, as_of)?)
        }
        Question::Document(number) => Answer::Document(policies::document(conn, *number, as_of)?),
        Question::Changes { range } => Answer::Changes(changes::changes(conn, *range, as_of)?),
        Question::Fleet { range } => Answer::Fleet(fleet::fleet(conn, *range, as_of)?),
        Question::Audit(query) => Answer::Audit(audit::picture(conn, conn.followed(), query, as_of)?),
        Question::AuditChain { expect } => Answer::AuditChain(audit::chain(conn, expect.as_deref(), as_of)?),
        Question::Forecasts => Answer::Forecasts(analyze::picture(conn, as_of)?),
        Question::Incidents => Answer::Incidents(incident::picture(conn, as_of)?),
        // Asked of the rooms that count telemetry.
        _ => Answer::Totals(Totals::default()),
    })
}
