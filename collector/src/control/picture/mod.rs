//! Pictures of control as of an instant, from stored rows alone.

mod breakers;
mod changes;
mod fleet;
mod marks;
mod policies;

use fuseboard_api::UnixNanos;
use fuseboard_api::ask::{Answer, Question, Totals};
use rusqlite::Connection;

use super::audit::picture as audit;
use crate::{analyze, incident};

pub(crate) use breakers::{edge_breakers, transitions};
pub(crate) use fleet::{Presence, presence};
pub(crate) use marks::marks;
pub(crate) use policies::{steering, with_edits};

/// Answers the questions about control, forecasts and incidents.
///
/// # Errors
/// What the database says.
pub(crate) fn answer(conn: &Connection, question: &Question, as_of: UnixNanos) -> rusqlite::Result<Answer> {
    Ok(match question {
        Question::Breakers { range } => Answer::Breakers(breakers::breakers(conn, *range, as_of)?),
        Question::Policies { range } => Answer::Policies(policies::policies(conn, *range, as_of)?),
        Question::Document(number) => Answer::Document(policies::document(conn, *number, as_of)?),
        Question::Changes { range } => Answer::Changes(changes::changes(conn, *range, as_of)?),
        Question::Fleet { range } => Answer::Fleet(fleet::fleet(conn, *range, as_of)?),
        Question::Audit { text } => Answer::Audit(audit(conn, text.as_deref(), as_of)?),
        Question::Forecasts => Answer::Forecasts(analyze::picture(conn, as_of)?),
        Question::Incidents => Answer::Incidents(incident::picture(conn, as_of)?),
        // Asked of the rooms that count telemetry.
        _ => Answer::Totals(Totals::default()),
    })
}
