//! What changed, as it changes: one line of JSON an event, at most ten a second.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use fuseboard_api::live::{LiveEvent, Touched};
use fuseboard_api::{TimeRange, UnixNanos};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio_util::sync::CancellationToken;

use crate::store::{Committed, Store};

/// Time between two events.
const PACE: Duration = Duration::from_millis(100);
/// After so long without a commit an event without `touched` is sent, so that a broken connection is noticed.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// Everything there is: what a reader is told who was too slow to be told in detail.
const ALL: [Touched; 9] = [
    Touched::Spans,
    Touched::Logs,
    Touched::Metrics,
    Touched::Breakers,
    Touched::Changes,
    Touched::Fleet,
    Touched::Incidents,
    Touched::Forecasts,
    Touched::Audit,
];

/// The endless reply. Its first line comes at once and says where the store is. Nothing is made for a reader who does not
/// read: the commits it missed are joined into one event when it reads again.
pub(super) fn reply(store: Store, stop: CancellationToken) -> Response {
    let lines = async_stream::stream! {
        let mut commits = store.subscribe();
        let mut generation = 0;
        yield line(&LiveEvent { as_of: store.as_of_now(), ..LiveEvent::default() });
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => return,
                event = next(&mut commits, generation) => event,
            };
            let Some(mut event) = event else { return };
            generation = event.generation;
            event.as_of = store.as_of_now();
            yield line(&event);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PACE) => {}
            }
        }
    };
    let headers = [(CONTENT_TYPE, "application/x-ndjson"), (CACHE_CONTROL, "no-store")];
    (headers, Body::from_stream(lines)).into_response()
}

fn line(event: &LiveEvent) -> Result<Bytes, Infallible> {
    // Plain words and numbers: this cannot fail, and an empty line would only be passed over.
    let mut line = serde_json::to_vec(event).unwrap_or_default();
    line.push(b'\n');
    Ok(line.into())
}

/// Waits for a commit and joins to it all that have come meanwhile; `None` when the store is closed.
async fn next(commits: &mut Receiver<Committed>, generation: u64) -> Option<LiveEvent> {
    let mut event = LiveEvent { generation, ..LiveEvent::default() };
    match tokio::time::timeout(SIGN_OF_LIFE, commits.recv()).await {
        Ok(Ok(commit)) => join(&mut event, &commit),
        Ok(Err(RecvError::Lagged(_))) => join_all(&mut event),
        Ok(Err(RecvError::Closed)) => return None,
        Err(_) => return Some(event),
    }
    loop {
        match commits.try_recv() {
            Ok(commit) => join(&mut event, &commit),
            Err(TryRecvError::Lagged(_)) => join_all(&mut event),
            Err(TryRecvError::Empty | TryRecvError::Closed) => return Some(event),
        }
    }
}

fn join(event: &mut LiveEvent, commit: &Committed) {
    event.generation = event.generation.max(commit.generation);
    event.range = match event.touched.is_empty() {
        true => commit.range,
        false => TimeRange { from: event.range.from.min(commit.range.from), to: event.range.to.max(commit.range.to) },
    };
    event.touched.extend(&commit.touched);
    event.touched.sort_unstable();
    event.touched.dedup();
}

fn join_all(event: &mut LiveEvent) {
    event.range = TimeRange { from: UnixNanos(0), to: UnixNanos(i64::MAX) };
    event.touched = ALL.to_vec();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(generation: u64, from: i64, touched: &[Touched]) -> Committed {
        Committed {
            generation,
            stamp: UnixNanos(from),
            range: TimeRange { from: UnixNanos(from), to: UnixNanos(from + 5) },
            touched: touched.to_vec(),
        }
    }

    #[tokio::test]
    async fn commits_are_joined() {
        let (send, mut receive) = tokio::sync::broadcast::channel(8);
        send.send(commit(1, 100, &[Touched::Spans])).unwrap();
        send.send(commit(2, 50, &[Touched::Logs, Touched::Spans])).unwrap();
        let event = next(&mut receive, 0).await.unwrap();
        assert_eq!(event.generation, 2);
        assert_eq!(event.range, TimeRange { from: UnixNanos(50), to: UnixNanos(105) });
        assert_eq!(event.touched, [Touched::Spans, Touched::Logs]);
    }

    #[tokio::test]
    async fn who_was_too_slow_is_told_to_look_at_everything() {
        let (send, mut receive) = tokio::sync::broadcast::channel(2);
        for generation in 1..=9 {
            send.send(commit(generation, 1, &[Touched::Logs])).unwrap();
        }
        let event = next(&mut receive, 0).await.unwrap();
        assert_eq!(event.generation, 9);
        assert_eq!(event.touched, ALL);
        drop(send);
        assert_eq!(next(&mut receive, 9).await, None);
    }
}
