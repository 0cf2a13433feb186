//! The replay law: an answer as of an instant stays the same whatever arrives later.

use std::time::Duration;

use fuseboard_api::ask::{Answer, Question};
use fuseboard_api::trace::TraceQuery;
use fuseboard_api::{TraceId, UnixNanos};

use crate::common::{CLIENT, EVER, SERVER, Stage, With as _, lately, request, span};

async fn answers(stage: &Stage, as_of: UnixNanos, range: fuseboard_api::TimeRange) -> Vec<Answer> {
    let questions = [
        Question::Totals,
        Question::Board { range },
        Question::Strip { range, columns: 100 },
        Question::Traces(TraceQuery { range: EVER, ..TraceQuery::default() }),
        Question::Trace(TraceId([1; 16])),
        Question::Names,
        Question::Fleet { range },
    ];
    let mut out = Vec::new();
    for question in questions {
        let (at, mut answer) = stage.ask_at(question, Some(as_of)).await;
        assert_eq!(at, as_of);
        if let Answer::Totals(totals) = &mut answer {
            // These are of the process, not of the instant.
            totals.bytes_on_disk = 0;
            totals.addresses.clear();
        }
        out.push(answer);
    }
    out
}

fn same(now: &[Answer], before: &[Answer]) {
    for (now, before) in now.iter().zip(before) {
        assert_eq!(now, before);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_as_of_an_instant_do_not_change() {
    let stage = Stage::start().await;
    let range = lately();
    stage.send(request("b", vec![span(1, 3, 2, SERVER, "work")])).await;
    let (first, _) = stage.ask_at(Question::Totals, None).await;
    let one = answers(&stage, first, range).await;
    // Late halves, new services, failed and old spans: all of it in the past of `range`.
    stage.send(request("a", vec![span(1, 2, 1, CLIENT, "call"), span(1, 1, 0, SERVER, "root").failed("x")])).await;
    let (second, _) = stage.ask_at(Question::Totals, None).await;
    assert!(second > first);
    let two = answers(&stage, second, range).await;
    assert_ne!(one, two);
    let mut old = span(2, 1, 0, SERVER, "older");
    old.start_time_unix_nano -= 60_000_000_000;
    old.end_time_unix_nano -= 60_000_000_000;
    stage.send(request("c", vec![old, span(1, 7, 1, CLIENT, "more").with("db.system", "redis")])).await;
    same(&answers(&stage, first, range).await, &one);
    same(&answers(&stage, second, range).await, &two);
    // Nor does it matter that the collector was started anew.
    let dir = stage.stop().await;
    let stage = Stage::over(dir).await;
    same(&answers(&stage, first, range).await, &one);
    same(&answers(&stage, second, range).await, &two);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instant_ahead_is_answered_as_of_now() {
    let stage = Stage::start().await;
    let ahead = UnixNanos::now() + Duration::from_secs(3600);
    let (at, _) = stage.ask_at(Question::Totals, Some(ahead)).await;
    assert!(at < ahead);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_told_with_what_they_touch() {
    let stage = Stage::start().await;
    let mut commits = stage.handle.store().subscribe();
    let sent = span(1, 1, 0, SERVER, "root");
    stage.send(request("a", vec![sent.clone()])).await;
    let commit = loop {
        let commit = commits.recv().await.expect("a commit");
        if commit.touched.contains(&fuseboard_api::live::Touched::Spans) {
            break commit;
        }
    };
    assert_eq!(commit.range.from.0, i64::try_from(sent.start_time_unix_nano).expect("a time"));
    let (as_of, Answer::Totals(totals)) = stage.ask_at(Question::Totals, Some(commit.stamp)).await else {
        panic!("totals")
    };
    assert_eq!((as_of, totals.spans), (commit.stamp, 1));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_spans_land_in_the_second_they_ended() {
    let stage = Stage::start().await;
    let mut late = span(1, 1, 0, SERVER, "late");
    late.start_time_unix_nano -= 100_000_000_000;
    late.end_time_unix_nano -= 100_000_000_000;
    let second = late.end_time_unix_nano / 1_000_000_000;
    stage.send(request("a", vec![late])).await;
    let Answer::Strip(strip) = stage.ask_at(Question::Strip { range: lately(), columns: 1000 }, None).await.1 else {
        panic!("a strip")
    };
    assert_eq!(strip.step_ms, 1000);
    let column = strip.density.iter().position(|d| d.calls == 1).expect("a column") as u64;
    assert_eq!(strip.range.from.0 as u64 / 1_000_000_000 + column, second);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_under_way_are_seen_at_the_instants_between_their_ends() {
    let stage = Stage::start().await;
    let second = UnixNanos::now().0 / 1_000_000_000 - 100;
    let at = |s: i64| u64::try_from((second + s) * 1_000_000_000 + 5).expect("a time");
    let mut long = span(1, 1, 0, SERVER, "work");
    (long.start_time_unix_nano, long.end_time_unix_nano) = (at(10), at(13));
    let mut short = span(2, 1, 0, SERVER, "work");
    (short.start_time_unix_nano, short.end_time_unix_nano) = (at(12), at(12) + 1_000);
    let mut endless = span(3, 1, 0, SERVER, "work");
    (endless.start_time_unix_nano, endless.end_time_unix_nano) = (at(-5_000), at(14));
    stage.send(request("a", vec![long])).await;
    stage.send(request("a", vec![short, endless])).await;
    let mut seen = Vec::new();
    for until in 9..16 {
        let to = UnixNanos((second + until) * 1_000_000_000);
        // All three end in it, so that the edge is there.
        let range = fuseboard_api::TimeRange { from: to - Duration::from_secs(3600), to };
        let board = stage.board(range).await;
        seen.push(board.edges.first().map(|e| e.stats.in_flight));
    }
    assert_eq!(seen[4..], [Some(2), Some(1), Some(0)], "after 13, 14 and 15 s");
    stage.stop().await;
}
