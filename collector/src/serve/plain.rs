//! Small answers for `curl`.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use fuseboard_api::UnixNanos;
use fuseboard_api::ask::{Answer, Ask, Question, Refusal};
use fuseboard_api::breaker::BreakerState;
use fuseboard_api::graph::{Board, Edge};
use serde::{Deserialize, Serialize};

use super::codec::{Codecs, outcome};
use super::{Door, last};
use crate::control::refusal::{bad_request, internal};

/// The longest range of `/v1/edges`: a week.
const MAX_SECONDS: u64 = 7 * 24 * 3600;

/// `GET /v1/stats`: counts of everything stored.
pub(super) async fn stats(State(door): State<Door>, headers: HeaderMap) -> Response {
    let answered = door.desk.ask(Ask { question: Question::Totals, as_of: None }).await;
    let totals = answered.and_then(|answered| match answered.answer {
        Answer::Totals(totals) => Ok(totals),
        _ => Err(internal("another question was answered")),
    });
    outcome(Codecs::of(&headers).wanted, totals)
}

/// What `/v1/edges` takes.
#[derive(Debug, Deserialize)]
pub(super) struct Range {
    /// How far back, in seconds; 60 when absent.
    seconds: Option<u64>,
}

/// One edge in a line.
#[derive(Debug, Serialize)]
struct Line {
    caller: String,
    callee: String,
    operation: String,
    calls: u64,
    errors: u64,
    refused: u64,
    rate: f64,
    error_ratio: f64,
    p50_ms: Option<f64>,
    p95_ms: Option<f64>,
    p99_ms: Option<f64>,
    attempt_timeout_ms: Option<u64>,
    breaker: Option<BreakerState>,
}

impl From<Edge> for Line {
    fn from(edge: Edge) -> Self {
        let ms = |q: f64| edge.stats.quantile(q).map(|d| d.as_secs_f64() * 1000.0);
        Self {
            calls: edge.stats.calls,
            errors: edge.stats.errors,
            refused: edge.stats.refused,
            rate: edge.stats.rate(),
            error_ratio: edge.stats.error_ratio(),
            p50_ms: ms(0.5),
            p95_ms: ms(0.95),
            p99_ms: ms(0.99),
            attempt_timeout_ms: edge.attempt_timeout_ms,
            breaker: edge.breaker.map(|b| b.state),
            caller: edge.key.caller,
            callee: edge.key.callee,
            operation: edge.key.operation,
        }
    }
}

/// `GET /v1/edges?seconds=60`: the edges of the call graph over the last seconds.
pub(super) async fn edges(
    State(door): State<Door>,
    headers: HeaderMap,
    range: Result<Query<Range>, QueryRejection>,
) -> Response {
    let codec = Codecs::of(&headers).wanted;
    let lines = async {
        let seconds = match range {
            Err(_) => return Err(bad_request("seconds must be a whole number")),
            Ok(Query(range)) => range.seconds.unwrap_or(60).clamp(1, MAX_SECONDS),
        };
        let board = board(&door, seconds, door.desk.store().as_of_now()).await?;
        Ok(board.edges.into_iter().map(Line::from).collect::<Vec<_>>())
    };
    outcome(codec, lines.await)
}

/// The board over the last seconds.
///
/// # Errors
/// Why there is no answer.
pub(super) async fn board(door: &Door, seconds: u64, now: UnixNanos) -> Result<Board, Refusal> {
    let _turn = door.turn().await?;
    let ask = Ask { question: Question::Board { range: last(seconds, now) }, as_of: None };
    match door.desk.ask(ask).await?.answer {
        Answer::Board(board) => Ok(board),
        _ => Err(internal("another question was answered")),
    }
}
