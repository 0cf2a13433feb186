//! Segments whose bytes have rotted inside a database that is otherwise sound: their spans are lost and said to be, by
//! name; everybody else's are there.

use std::path::Path;

use fuseboard_api::TraceId;
use fuseboard_api::ask::{Answer, Question};
use fuseboard_api::trace::TraceQuery;
use prost::Message as _;

use super::program::Program;
use crate::common::{EVER, SERVER, With as _, request, span};

/// Spans of a request that becomes columns at once.
const MANY: u32 = 3_000;

/// A file with three traces of one span in the small form and three of many in columns, each in a segment of its own; gives
/// nothing but the file.
async fn filled(file: &Path) {
    let program = Program::start(file);
    for n in 1..=6 {
        let spans = (1..=if n <= 3 { 1 } else { MANY }).map(|id| {
            let mut one = span(n, 1, 0, SERVER, "work").with("n", i64::from(id));
            one.span_id = u64::from(id).to_be_bytes().to_vec();
            one
        });
        assert_eq!(program.post(request("shop", spans.collect()).encode_to_vec()).await.status(), 200);
    }
    // Killed, so that nothing is merged at the end.
    program.kill();
}

fn segments(conn: &rusqlite::Connection) -> Vec<(i64, i64)> {
    let mut read = conn.prepare("SELECT id, rows FROM segments ORDER BY min_arrival").expect("a query");
    let rows = read.query_map([], |r| Ok((r.get(0)?, r.get(1)?))).expect("rows");
    rows.collect::<Result<_, _>>().expect("rows")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotten_segment_is_reported_by_name_and_all_others_can_be_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("rotten.fuseboard");
    filled(&file).await;
    let conn = rusqlite::Connection::open(&file).expect("opened");
    let all = segments(&conn);
    assert_eq!(all.len(), 6, "{all:?}");
    let rotten = [all[1].0, all[4].0];
    for id in rotten {
        let mut data: Vec<u8> =
            conn.query_row("SELECT data FROM segment_data WHERE segment = ?1", [id], |r| r.get(0)).expect("data");
        let middle = data.len() / 2;
        data[middle] ^= 4;
        conn.execute("UPDATE segment_data SET data = ?2 WHERE segment = ?1", rusqlite::params![id, data])
            .expect("changed");
    }
    drop(conn);
    let program = Program::start(&file);
    for n in [1, 3, 4, 6] {
        let trace = program.trace(TraceId([n; 16])).await.expect("stored");
        assert_eq!(trace.spans.len(), if n <= 3 { 1 } else { MANY as usize });
    }
    let Ok(Answer::Traces(list)) =
        program.ask(Question::Traces(TraceQuery { range: EVER, ..TraceQuery::default() })).await
    else {
        panic!("the others are listed")
    };
    let mut listed: Vec<u8> = list.rows.iter().map(|r| r.trace_id.0[0]).collect();
    listed.sort_unstable();
    assert_eq!(listed, [1, 3, 4, 6]);
    for n in [2, 5] {
        let refused = program.ask(Question::Trace(TraceId([n; 16]))).await.expect_err("it cannot be read");
        assert!(refused.message.contains("damaged"), "{refused:?}");
    }
    let trouble = program.totals().await.trouble;
    for id in rotten {
        assert!(trouble.contains(&format!("segment {id}")), "{trouble:?}");
    }
    // What is sent now is kept, also of a trace that has lost spans.
    assert_eq!(program.post(request("shop", vec![span(2, 9, 0, SERVER, "later")]).encode_to_vec()).await.status(), 200);
    assert_eq!(program.post(request("shop", vec![span(7, 1, 0, SERVER, "later")]).encode_to_vec()).await.status(), 200);
    assert_eq!(program.trace(TraceId([7; 16])).await.expect("stored").spans.len(), 1);
}
