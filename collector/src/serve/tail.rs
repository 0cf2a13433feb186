//! Spans as they come: one line of JSON for those that were stored since the line before.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use fuseboard_api::UnixNanos;
use fuseboard_api::ask::Refusal;
use fuseboard_api::filter::{self, Expr};
use fuseboard_api::live::{TailEvent, Touched};
use serde::Deserialize;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use super::Door;
use super::codec::{Codecs, outcome};
use crate::control::refusal::bad_request;
use crate::query;
use crate::store::Committed;

/// Time between two lines.
const PACE: Duration = Duration::from_millis(100);
/// After so long without a fitting span an empty line is sent, so that a broken connection is noticed.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);
/// Spans in a line at most.
const SPANS: usize = 200;

/// What `/v1/tail` takes.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    /// The filter; all spans when absent.
    #[serde(default)]
    q: String,
}

/// `GET /v1/tail?q=FILTER`: the endless reply. Nothing is looked for while the reader does not read: what comes meanwhile is in
/// the next line, as far as it fits.
pub(super) async fn tail(
    State(door): State<Door>,
    headers: HeaderMap,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Response {
    let read = wanted.map_err(|_| bad_request("write /v1/tail?q=FILTER, the filter percent-encoded"));
    let parsed = read.and_then(|Query(wanted)| {
        let said = |mistake: filter::Mistake| Refusal::new("bad_query", mistake.to_string());
        filter::parse(&wanted.q).map_err(said)
    });
    match parsed {
        Ok(parsed) => lines(door, parsed.expr),
        Err(refusal) => outcome::<()>(Codecs::of(&headers).wanted, Err(refusal)),
    }
}

fn lines(door: Door, expr: Expr) -> Response {
    let lines = async_stream::stream! {
        let store = door.desk.store().clone();
        let mut commits = store.subscribe();
        let mut told = store.as_of_now();
        yield line(&TailEvent { as_of: told, ..TailEvent::default() });
        loop {
            let came = tokio::select! {
                () = door.stop.cancelled() => return,
                came = spans_came(&mut commits) => came,
            };
            let Some(came) = came else { return };
            if !came {
                yield line(&TailEvent { as_of: told, ..TailEvent::default() });
                continue;
            }
            let event = match fresh(&door, &expr, told).await {
                Ok(event) => event,
                Err(refusal) => {
                    tracing::warn!("a tail ends: {refusal}");
                    return;
                }
            };
            told = event.as_of;
            if !event.spans.is_empty() {
                yield line(&event);
            }
            tokio::select! {
                () = door.stop.cancelled() => return,
                () = tokio::time::sleep(PACE) => {}
            }
        }
    };
    let headers = [(CONTENT_TYPE, "application/x-ndjson"), (CACHE_CONTROL, "no-store")];
    (headers, Body::from_stream(lines)).into_response()
}

async fn fresh(door: &Door, expr: &Expr, after: UnixNanos) -> Result<TailEvent, Refusal> {
    let _turn = door.turn().await?;
    let store = door.desk.store();
    let as_of = store.as_of_now();
    let list = query::arrived(store, expr.clone(), (after, as_of), SPANS).await?;
    let mut spans = list.spans;
    spans.reverse();
    Ok(TailEvent { as_of, spans, skipped: list.more })
}

fn line(event: &TailEvent) -> Result<Bytes, Infallible> {
    // Plain words and numbers: this cannot fail, and an empty line would only be passed over.
    let mut line = serde_json::to_vec(event).unwrap_or_default();
    line.push(b'\n');
    Ok(line.into())
}

/// Waits for a commit that brings spans, and takes all that have come meanwhile; false when none came for a while, `None` when
/// the store is closed.
async fn spans_came(commits: &mut Receiver<Committed>) -> Option<bool> {
    let brings = |commit: &Committed| commit.touched.contains(&Touched::Spans);
    let waiting = async {
        loop {
            match commits.recv().await {
                Ok(commit) if brings(&commit) => return Some(true),
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => return Some(true),
                Err(RecvError::Closed) => return None,
            }
        }
    };
    let came = tokio::time::timeout(SIGN_OF_LIFE, waiting).await.unwrap_or(Some(false))?;
    if came {
        while !matches!(commits.try_recv(), Err(TryRecvError::Empty | TryRecvError::Closed)) {}
    }
    Some(came)
}
