//! SQL by hand over a file.

use std::io::Cursor;

use fuseboard_collector::files::import::import;
use fuseboard_collector::sql::{Cell, Database, SqlError};
use prost::Message as _;

use crate::common::{CLIENT, SERVER, Stage, With as _, request, span};

/// All rows as texts.
fn ask(database: &Database, sql: &str) -> Result<Vec<Vec<String>>, SqlError> {
    let mut out = Vec::new();
    database.query(
        sql,
        |_| true,
        |row| {
            out.push(row.iter().map(text).collect());
            true
        },
    )?;
    Ok(out)
}

fn text(cell: &Cell<'_>) -> String {
    match cell {
        Cell::Null => "NULL".to_owned(),
        Cell::Int(i) => i.to_string(),
        Cell::Real(d) => d.to_string(),
        Cell::Text(s) => (*s).to_owned(),
        Cell::Blob(b) => format!("{} bytes", b.len()),
    }
}

fn one(database: &Database, sql: &str) -> String {
    let rows = ask(database, sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    rows.first().and_then(|row| row.first()).cloned().unwrap_or_else(|| panic!("{sql}: no row"))
}

async fn filled() -> Stage {
    let stage = Stage::start().await;
    for n in 1..=5u8 {
        let server = span(n, 1, 0, SERVER, "GET /a").with("http.route", "/a").with("n", i64::from(n));
        let client = span(n, 2, 1, CLIENT, "query").with("ok", n % 2 == 0).failed("no");
        stage.send(request("web", vec![server])).await;
        stage.send(request("db", vec![client])).await;
    }
    stage
}

#[tokio::test]
async fn spans_are_a_table_also_while_they_are_being_written() {
    let stage = filled().await;
    let database = Database::open(&stage.file()).expect("opens");
    assert_eq!(one(&database, "SELECT count(*) FROM spans"), "10");
    let by_service = ask(&database, "SELECT service, count(*), sum(status = 'error') FROM spans GROUP BY 1 ORDER BY 1");
    assert_eq!(by_service.expect("rows"), [["db", "5", "5"], ["web", "5", "0"]]);
    let id = "03".repeat(16);
    for (condition, count) in [
        (format!("trace_id = '{id}'"), "2"),
        (format!("trace_id = '{id}' AND service = 'db'"), "1"),
        (format!("trace_id IN ('{id}', '{}')", "04".repeat(16)), "4"),
        ("trace_id = 'nonsense'".into(), "0"),
        ("trace_id = NULL".into(), "0"),
        ("service = 'web' AND kind = 'server'".into(), "5"),
        ("service = 'nobody'".into(), "0"),
        ("start > 0 AND start < 5".into(), "0"),
        ("start >= (SELECT min(start) FROM spans)".into(), "10"),
        ("start = (SELECT min(start) FROM spans WHERE service = 'web')".into(), "1"),
        ("start > 1e30".into(), "0"),
        ("json_extract(attributes, '$.\"http.route\"') = '/a'".into(), "5"),
        ("attr(attributes, 'http.route') = '/a'".into(), "5"),
        ("attr(attributes, 'n') >= 4".into(), "2"),
        ("attr(attributes, 'ok')".into(), "2"),
        ("attr(resource, 'service.name') = 'db'".into(), "5"),
        ("duration_ms BETWEEN 19.9 AND 20.1".into(), "10"),
        ("parent_id IS NULL".into(), "5"),
    ] {
        assert_eq!(one(&database, &format!("SELECT count(*) FROM spans WHERE {condition}")), count, "{condition}");
    }
    let joined = "SELECT count(*) FROM spans c JOIN spans p ON p.trace_id = c.trace_id AND p.span_id = c.parent_id";
    assert_eq!(one(&database, joined), "5");
    assert!(one(&database, "SELECT iso(start) FROM spans LIMIT 1").starts_with("20"));
    // Every column can be read, and says what it is.
    let all = ask(&database, "SELECT * FROM spans WHERE span_id = '0202020202020202' ORDER BY trace_id LIMIT 1");
    let row = &all.expect("rows")[0];
    assert_eq!(row.len(), 22);
    assert_eq!(row[..4], ["01".repeat(16), "02".repeat(8), "01".repeat(8), "db".to_owned()]);
    assert_eq!(row[6..10], ["query", "client", "error", "no"]);
    assert_eq!((row[13].as_str(), row[17].as_str()), ("{\"ok\":false}", "[]"));

    stage.send(request("late", vec![span(9, 9, 0, SERVER, "later")])).await;
    assert_eq!(one(&database, "SELECT count(*) FROM spans"), "10", "as of its opening");
    let again = Database::open(&stage.file()).expect("opens");
    assert_eq!(one(&again, "SELECT count(*) FROM spans"), "11");
    stage.stop().await;
}

#[tokio::test]
async fn logs_points_and_edges_are_tables_too() {
    let stage = filled().await;
    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/otlp/py-metrics-http");
    for file in ["001-metrics-http.pb", "005-logs-http.pb"] {
        let bytes = std::fs::read(data.join(file)).expect("a fixture");
        import(stage.handle.store(), None, file, Cursor::new(bytes)).await.expect("imported");
    }
    let database = Database::open(&stage.file()).expect("opens");
    let number = |sql: &str| one(&database, sql).parse::<u64>().unwrap_or_else(|_| panic!("{sql}: a number"));
    assert!(
        number("SELECT count(*) FROM logs WHERE body <> '' AND service = 'metrics-py' AND json_valid(attributes)") > 0
    );
    assert!(number("SELECT count(*) FROM logs JOIN spans USING (trace_id)") == 0, "of other traces");
    let kinds = ask(&database, "SELECT DISTINCT kind FROM metric_points ORDER BY 1").expect("rows");
    assert_eq!(kinds, [["exponential_histogram"], ["gauge"], ["histogram"], ["sum"]]);
    assert!(number("SELECT count(*) FROM metric_points WHERE attr(attributes, 'http.route') = '/a'") > 0);
    assert!(number("SELECT sum(calls) FROM edges WHERE callee = 'web'") >= 5);
    assert!(number("SELECT count(*) FROM main.origins") > 2);
    stage.stop().await;
}

#[tokio::test]
async fn a_wrong_statement_gets_sqlites_words_and_a_hint_and_nothing_is_written() {
    let stage = Stage::start().await;
    stage.send(request("s", vec![span(1, 1, 0, SERVER, "a")])).await;
    let database = Database::open(&stage.file()).expect("opens");
    for (sql, words) in [
        ("SELEC 1", vec!["syntax error", "SELECT"]),
        ("SELECT", vec!["incomplete input"]),
        ("SELECT * FROM span", vec!["no such table: span", "spans, logs, metric_points, edges"]),
        ("SELECT route FROM spans", vec!["no such column: route", "attr(attributes", "duration_ms"]),
        ("SELECT foo(1)", vec!["no such function", "attr(json, key)"]),
        ("SELECT 1; SELECT 2", vec!["one at a time"]),
        ("", vec!["SELECT"]),
        ("DELETE FROM main.points", vec!["only reads"]),
        ("DROP TABLE main.points", vec!["only reads"]),
        ("CREATE TABLE x (y)", vec!["only reads"]),
        ("DELETE FROM main.points RETURNING time", vec!["only reads"]),
        ("PRAGMA user_version = 5", vec!["only reads"]),
    ] {
        let said = ask(&database, sql).expect_err(sql).to_string();
        for word in words {
            assert!(said.contains(word), "{sql}: {said:?} has {word:?}");
        }
    }
    assert_eq!(one(&database, "SELECT count(*) FROM spans"), "1");
    let stopped = database.query("SELECT 1 UNION ALL SELECT 2", |_| true, |_| false);
    assert!(matches!(stopped, Err(SqlError::Stopped)));
    let foreign = stage.file().with_extension("txt");
    std::fs::write(&foreign, "hello").expect("written");
    assert!(Database::open(&foreign).expect_err("no database").to_string().contains("not a Fuseboard file"));
    stage.stop().await;
}

#[tokio::test]
async fn many_segments_are_one_table() {
    let stage = Stage::start().await;
    let sent = 3_000u64;
    let spans = (0..sent)
        .map(|n| {
            let mut one = span(1, 1, 0, SERVER, "bulk");
            one.trace_id = u128::from(n + 1).to_be_bytes().to_vec();
            one.span_id = (n + 1).to_be_bytes().to_vec();
            one.with("n", i64::try_from(n).expect("small"))
        })
        .collect();
    let body = request("bulk", spans).encode_to_vec();
    import(stage.handle.store(), None, "bulk", Cursor::new(body)).await.expect("imported");
    stage.send(request("s", vec![span(7, 7, 0, SERVER, "alone")])).await;
    let database = Database::open(&stage.file()).expect("opens");
    assert_eq!(one(&database, "SELECT count(*) FROM spans"), (sent + 1).to_string());
    assert_eq!(one(&database, "SELECT count(DISTINCT trace_id) FROM spans WHERE service = 'bulk'"), sent.to_string());
    assert_eq!(one(&database, "SELECT sum(attr(attributes, 'n')) FROM spans"), (sent * (sent - 1) / 2).to_string());
    stage.stop().await;
}
