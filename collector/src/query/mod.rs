//! Answers questions from the store, as of an instant: only rows that had arrived by then count.

mod board;
mod deployments;
pub mod export;
mod headline;
mod logs;
mod metrics;
mod names;
pub mod otlp;
mod proto;
pub mod rollups;
mod search;
mod spans;
mod strip;
mod totals;
mod trace;
mod traces;

use fuseboard_api::UnixNanos;
use fuseboard_api::ask::{Answer, Answered, Ask, Question, Refusal};

use crate::control::picture;
use crate::store::{Snapshot, Store, StoreError};

pub(crate) use self::deployments::deployments;
pub(crate) use self::spans::{Origins, of_trace as spans_of};
pub use self::totals::instances;

/// Answers a question as of the instant it names, or as of now.
///
/// # Errors
/// A refusal with a stable code and a sentence.
pub async fn ask(store: &Store, ask: Ask) -> Result<Answered, Refusal> {
    // The answer says as of when it really is.
    let as_of = store.as_of(ask.as_of);
    let question = ask.question;
    let mut answer = store.read(move |conn| answer(conn, &question, as_of)).await.map_err(|e| refusal(&e))?;
    if let Answer::Totals(totals) = &mut answer {
        totals::add_vitals(totals, store);
    }
    Ok(Answered { as_of, answer })
}

/// Answers a question from a snapshot. Of totals, the figures that belong to the running process rather than
/// to the instant are left empty.
///
/// # Errors
/// What the database says.
pub fn answer(conn: &Snapshot<'_>, question: &Question, as_of: UnixNanos) -> Result<Answer, StoreError> {
    Ok(match question {
        Question::Totals => Answer::Totals(totals::totals(conn, as_of)?),
        Question::Strip { range, columns } => Answer::Strip(strip::strip(conn, *range, *columns, as_of)?),
        Question::Board { range } => Answer::Board(board::board(conn, *range, as_of)?),
        Question::Traces(query) => Answer::Traces(traces::traces(conn, query, as_of)?),
        Question::Trace(id) => Answer::Trace(trace::trace(conn, *id, as_of)?),
        Question::Logs(query) => Answer::Logs(logs::logs(conn, query, as_of)?),
        Question::Metrics(query) => Answer::Metrics(metrics::metrics(conn, query, as_of)?),
        Question::Names => Answer::Names(names::names(conn, as_of)?),
        Question::Breakers { .. }
        | Question::Policies { .. }
        | Question::Document(_)
        | Question::Changes { .. }
        | Question::Forecasts
        | Question::Incidents
        | Question::Fleet { .. }
        | Question::Audit { .. } => picture::answer(conn, question, as_of)?,
    })
}

/// What the store could not do, as a caller is told.
fn refusal(error: &StoreError) -> Refusal {
    let code = match error {
        StoreError::ReadOnly => "read_only",
        e if e.may_pass() => "unavailable",
        _ => "internal",
    };
    Refusal { code: code.into(), message: error.to_string() }
}
