//! Answers questions from the store, as of an instant: only rows that had arrived by then count.

mod board;
mod deployments;
pub mod export;
mod find;
mod headline;
mod logs;
mod made;
mod metrics;
mod names;
pub mod otlp;
mod proto;
mod quantiles;
pub mod rollups;
mod spans;
mod sparks;
mod stored;
mod strip;
mod totals;
mod trace;

use fuseboard_api::ask::{Answer, Answered, Ask, Question, Refusal};
use fuseboard_api::filter::{self, Expr};
use fuseboard_api::trace::{SpanList, SpanQuery, TraceList, TraceQuery};
use fuseboard_api::{TimeRange, TraceId, UnixNanos};

use self::find::{Cancel, Scope};
use self::stored::Stored;
use crate::control::picture;
use crate::lint;
use crate::store::{Snapshot, Store, StoreError};

pub(crate) use self::deployments::deployments;
pub(crate) use self::made::{Made, made};
pub(crate) use self::spans::{Origins, of_trace as spans_of};
pub use self::totals::instances;

/// Traces on a page at most.
const TRACES: u32 = 10_000;
/// Spans on a page at most: they come whole.
const SPANS: u32 = 1_000;
/// As many times the usual is searched for one page at most.
const FARTHEST: u32 = 1_024;

/// Answers a question as of the instant it names, or as of now.
///
/// # Errors
/// A refusal with a stable code and a sentence.
pub async fn ask(store: &Store, ask: Ask) -> Result<Answered, Refusal> {
    // The answer says as of when it really is.
    let as_of = store.as_of(ask.as_of);
    let question = ask.question;
    // When nobody waits any more this future goes away, and the search stops.
    let cancel = Cancel::default();
    let _waiting = cancel.on_drop();
    let answering = store.read(move |read| answer_until(read, &question, as_of, &cancel));
    let mut answer = answering.await.map_err(|e| refusal(&e))?;
    if let Answer::Totals(totals) = &mut answer {
        totals::add_vitals(totals, store);
    }
    Ok(Answered { as_of, answer })
}

/// Spans that fit and arrived after one instant, up to another: the newest of them, newest first.
///
/// # Errors
/// See [`ask`].
pub(crate) async fn arrived(
    store: &Store,
    expr: Expr,
    (after, as_of): (UnixNanos, UnixNanos),
    limit: usize,
) -> Result<SpanList, Refusal> {
    let cancel = Cancel::default();
    let _waiting = cancel.on_drop();
    let scope = Scope { after: Some(after), ..Scope::new(stored::EVER, as_of) };
    let finding = store.read(move |read| find::spans(&Stored::new(read, as_of)?, &expr, scope, limit, &cancel));
    finding.await.map_err(|e| refusal(&e))
}

/// The newest traces with a span that started in a range.
///
/// # Errors
/// What the store says.
pub(crate) fn newest_traces(
    read: &Snapshot<'_>,
    range: TimeRange,
    limit: usize,
    as_of: UnixNanos,
) -> Result<Vec<TraceId>, StoreError> {
    let scope = Scope::new(range, as_of);
    let list = find::traces(&Stored::new(read, as_of)?, &Expr::Any, scope, limit, &Cancel::default())?;
    Ok(list.rows.into_iter().map(|row| row.trace_id).collect())
}

/// Answers a question from a snapshot. Of totals, the figures that belong to the running process rather than
/// to the instant are left empty.
///
/// # Errors
/// What the database says.
pub fn answer(conn: &Snapshot<'_>, question: &Question, as_of: UnixNanos) -> Result<Answer, StoreError> {
    answer_until(conn, question, as_of, &Cancel::default())
}

fn answer_until(
    conn: &Snapshot<'_>,
    question: &Question,
    as_of: UnixNanos,
    cancel: &Cancel,
) -> Result<Answer, StoreError> {
    Ok(match question {
        Question::Totals => Answer::Totals(totals::totals(conn, as_of)?),
        Question::Strip { range, columns } => Answer::Strip(strip::strip(conn, *range, *columns, as_of)?),
        Question::Board { range } => Answer::Board(board::board(conn, *range, as_of)?),
        Question::Traces(query) => Answer::Traces(traces(conn, query, as_of, cancel)?),
        Question::Spans(query) => Answer::Spans(spans(conn, query, as_of, cancel)?),
        Question::Quantiles(query) => Answer::Quantiles(quantiles::quantiles(conn, query, as_of, cancel)?),
        Question::Trace(id) => Answer::Trace(trace::trace(conn, *id, as_of)?),
        Question::Logs(query) => Answer::Logs(logs::logs(conn, query, as_of)?),
        Question::Metrics(query) => Answer::Metrics(metrics::metrics(conn, query, as_of)?),
        Question::Names => Answer::Names(names::names(conn, as_of)?),
        Question::Lint { range, document } => Answer::Lint(lint::lint(conn, *range, document.as_deref(), as_of)?),
        Question::Breakers { .. }
        | Question::Policies { .. }
        | Question::Document(_)
        | Question::Changes { .. }
        | Question::Forecasts
        | Question::Incidents
        | Question::Fleet { .. }
        | Question::Audit(_)
        | Question::Effective { .. }
        | Question::AuditChain { .. } => picture::answer(conn, question, as_of)?,
    })
}

fn traces(read: &Snapshot<'_>, query: &TraceQuery, as_of: UnixNanos, cancel: &Cancel) -> Result<TraceList, StoreError> {
    let parsed = query.condition()?;
    let budget = find::BUDGET * u64::from(query.reach.clamp(1, FARTHEST));
    let scope = Scope { before: query.before, budget, ..Scope::new(query.range, as_of) };
    let limit = find::limit(query.limit, TRACES);
    let mut list = find::traces(&Stored::new(read, as_of)?, &parsed.expr, scope, limit, cancel)?;
    list.hints = parsed.hints;
    Ok(list)
}

fn spans(read: &Snapshot<'_>, query: &SpanQuery, as_of: UnixNanos, cancel: &Cancel) -> Result<SpanList, StoreError> {
    let parsed = filter::parse(&query.filter)?;
    let scope = Scope { before: query.before, ..Scope::new(query.range, as_of) };
    let limit = find::limit(query.limit, SPANS);
    let mut list = find::spans(&Stored::new(read, as_of)?, &parsed.expr, scope, limit, cancel)?;
    list.hints = parsed.hints;
    Ok(list)
}

/// What the store could not do, as a caller is told.
fn refusal(error: &StoreError) -> Refusal {
    let code = match error {
        StoreError::ReadOnly => "read_only",
        StoreError::BadQuery(_) => "bad_query",
        e if e.may_pass() => "unavailable",
        _ => "internal",
    };
    Refusal::new(code, error.to_string())
}
