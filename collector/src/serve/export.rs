//! `GET /v1/export`: what is stored as a file that other tools read, streamed.

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use fuseboard_api::ask::Refusal;
use fuseboard_api::{TimeRange, TraceId, UnixNanos};
use serde::Deserialize;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use super::Door;
use super::codec::{Codecs, outcome};
use crate::control::refusal::bad_request;
use crate::files::export::{self, ExportFormat, Selection};

/// What it takes; all but the format may be left out.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    /// `otlp-jsonl`, `jaeger` or `parquet`.
    format: String,
    /// From when, Unix nanoseconds.
    from: Option<i64>,
    /// Up to when.
    to: Option<i64>,
    /// Which traces.
    filter: Option<String>,
    /// One trace.
    trace: Option<TraceId>,
}

/// Begins an export. An error in the middle of it breaks the answer off.
pub(super) async fn export(
    State(door): State<Door>,
    headers: HeaderMap,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Response {
    match begin(&door, wanted).await {
        Ok(response) => response,
        Err(refusal) => outcome::<()>(Codecs::of(&headers).wanted, Err(refusal)),
    }
}

async fn begin(door: &Door, wanted: Result<Query<Wanted>, QueryRejection>) -> Result<Response, Refusal> {
    let Query(wanted) = wanted.map_err(|e| bad_request(e.body_text()))?;
    let format: ExportFormat = wanted.format.parse().map_err(|e: String| bad_request(e))?;
    let all = Selection::default();
    let range = TimeRange {
        from: wanted.from.map_or(all.range.from, UnixNanos),
        to: wanted.to.map_or(all.range.to, UnixNanos),
    };
    let selection = Selection { range, filter: wanted.filter.unwrap_or_default(), trace: wanted.trace };
    let turn = door.turn().await?;
    let pieces =
        export::export(door.desk.store(), selection, format).map_err(|e| bad_request(format!("the filter: {e}")))?;
    let body = ReceiverStream::new(pieces).map(move |piece| {
        // Held until the last piece is gone.
        let _turn = &turn;
        piece.inspect_err(|e| tracing::warn!("an export broke off: {e}"))
    });
    Ok(([(CONTENT_TYPE, format.media_type())], Body::from_stream(body)).into_response())
}
