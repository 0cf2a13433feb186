//! Senders whose clocks are wrong: what they send is kept as they sent it, and counted where it says it belongs.

use std::time::Duration;

use fuseboard_api::ask::{Answer, Question};
use fuseboard_api::{TimeRange, TraceId, UnixNanos};
use prost::Message as _;

use super::program::Program;
use crate::common::{SERVER, edge, request, span};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_of_wrong_clocks_are_kept_and_counted_where_they_say() {
    const DAY: i64 = 86_400_000_000_000;
    let dir = tempfile::tempdir().expect("a directory");
    let program = Program::start(&dir.path().join("clocks.fuseboard"));
    let now = UnixNanos::now().0;
    // Start, and how long it lasted: a day ahead less an hour, two weeks back, the first second there is, the last year.
    let sent = [
        (now, 1_000_000),
        (now + DAY - DAY / 24, 1_000_000),
        (now - 14 * DAY, 1_000_000),
        (1, 1_000_000),
        (i64::MAX - 2_000_000, 1_000_000),
        // The clock was set back while it ran.
        (now - 3 * DAY, -5_000_000_000),
        // It lasted for years, or so it says.
        (now - 200 * DAY, 199 * DAY),
    ];
    for (n, (start, lasted)) in (1..).zip(sent) {
        let mut one = span(n, 1, 0, SERVER, "work");
        one.start_time_unix_nano = start.unsigned_abs();
        one.end_time_unix_nano = (start + lasted).unsigned_abs();
        let response = program.post(request("shop", vec![one]).encode_to_vec()).await;
        assert_eq!(response.status(), 200, "{start} {lasted}");
    }
    for (n, (start, lasted)) in (1..).zip(sent) {
        let trace = program.trace(TraceId([n; 16])).await.expect("stored");
        assert_eq!((trace.spans[0].start.0, trace.spans[0].end.0), (start, start + lasted));
    }
    // Each counts in its own minute, and in no other.
    for end in [now, now + DAY - DAY / 24, now - 14 * DAY] {
        let range = TimeRange::ending(UnixNanos(end) + Duration::from_secs(30), Duration::from_secs(60));
        let Ok(Answer::Board(board)) = program.ask(Question::Board { range }).await else { panic!("a board") };
        assert_eq!(edge(&board, "clients", "shop").stats.calls, 1, "at {end}");
    }
    assert_eq!(program.totals().await.spans, 7);
    assert_eq!(program.health().await.0, 200);
}
