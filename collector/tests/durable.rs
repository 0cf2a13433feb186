//! What was acknowledged stays; what was sent twice counts once; files that are not ours are refused politely.

use fuseboard_collector::store::rows::Batch;
use fuseboard_collector::store::{OpenMode, Settings, Store, StoreError};

use crate::common::{SERVER, Stage, With as _, edge, encoded, lately, request, span};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sent_twice_counts_once() {
    let stage = Stage::start().await;
    let batch = request("shop", vec![span(1, 1, 0, SERVER, "GET /"), span(2, 1, 0, SERVER, "GET /")]);
    for _ in 0..3 {
        assert_eq!(stage.send(batch.clone()).await.partial_success, None);
    }
    assert_eq!(stage.totals().await.spans, 2);
    assert_eq!(edge(&stage.board(lately()).await, "clients", "shop").stats.calls, 2);
    // Also by another process of the collector.
    let stage = Stage::over(stage.stop().await).await;
    stage.send(batch).await;
    assert_eq!(stage.totals().await.spans, 2);
    assert_eq!(edge(&stage.board(lately()).await, "clients", "shop").stats.calls, 2);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn halves_that_wait_survive_a_restart() {
    let stage = Stage::start().await;
    stage.send(request("b", vec![span(1, 3, 2, SERVER, "work")])).await;
    let stage = Stage::over(stage.stop().await).await;
    stage.send(request("a", vec![span(1, 2, 1, crate::common::CLIENT, "call")])).await;
    let board = stage.board(lately()).await;
    assert_eq!(edge(&board, "a", "b").stats.calls, 1);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_cannot_be_used_are_named_with_the_reason() {
    let stage = Stage::start().await;
    let refused = |path: &std::path::Path, mode| Store::open(path, mode).expect_err("refused").to_string();
    let said = refused(&stage.file(), OpenMode::ReadWrite);
    assert!(said.contains("is in use by another process"), "{said}");
    let dir = stage.stop().await;
    let text = dir.path().join("notes.txt");
    std::fs::write(&text, "dear diary").expect("written");
    for mode in [OpenMode::ReadWrite, OpenMode::ReadOnly] {
        let said = refused(&text, mode);
        assert!(said.contains("is not a Fuseboard file (it begins with \"dear diary\")"), "{said}");
    }
    let other = dir.path().join("other.db");
    rusqlite::Connection::open(&other).expect("made").execute_batch("CREATE TABLE t (x)").expect("made");
    assert!(refused(&other, OpenMode::ReadWrite).contains("a SQLite database of another program"));
    let file = dir.path().join("data.fuseboard");
    let mark = |version: i64| {
        let conn = rusqlite::Connection::open(&file).expect("opened");
        conn.pragma_update(None, "user_version", version).expect("marked");
    };
    mark(99);
    let said = refused(&file, OpenMode::ReadOnly);
    assert!(said.contains("newer Fuseboard (schema 99, this program knows 3)"), "{said}");
    mark(1);
    let said = refused(&file, OpenMode::ReadOnly);
    assert!(said.contains("older Fuseboard (schema 1, this program reads 3); start a collector on it"), "{said}");
    let said = refused(&dir.path().join("missing.fuseboard"), OpenMode::ReadOnly);
    assert!(said.contains("cannot open") && said.contains("missing.fuseboard"), "{said}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let path = dir.path().join("new/dir/data.fuseboard");
        let store = Store::open(&path, OpenMode::ReadWrite).expect("made");
        let mode = |p: &std::path::Path| std::fs::metadata(p).expect("there").permissions().mode() & 0o777;
        let directory = path.parent().expect("a parent");
        assert_eq!((mode(&path), mode(directory)), (0o600, 0o700));
        let beside = std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("a file").path());
        let modes: Vec<_> = beside.map(|path| (mode(&path), path)).collect();
        assert!(modes.len() >= 4, "the file, its log, its index, its lock: {modes:?}");
        assert!(modes.iter().all(|(mode, _)| *mode == 0o600), "{modes:?}");
        drop(store);
    }
}

/// Lets the file grow no further than `pages` more; `None` lifts the limit.
async fn limit(stage: &Stage, pages: Option<i64>) {
    let limited = stage.handle.store().transact(&[], move |tx, _| {
        let now: i64 = tx.pragma_query_value(None, "page_count", |r| r.get(0))?;
        let most = pages.map_or(1_000_000_000, |more| now + more);
        tx.query_row(&format!("PRAGMA max_page_count = {most}"), [], |_| Ok(()))?;
        Ok::<(), StoreError>(())
    });
    // The commit itself may already find no room.
    let _ = limited.await;
}

/// A request that needs about a hundred pages.
fn large(trace: u8) -> opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest {
    let text = "x".repeat(100_000);
    let spans = (1..=8).map(|id| span(trace, id, 0, SERVER, "large").with("text", text.as_str())).collect();
    request("shop", spans)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_makes_senders_wait_and_passes() {
    let stage = Stage::start().await;
    stage.send(large(1)).await;
    limit(&stage, Some(20)).await;
    let refused = stage.grpc().await.export(large(2)).await.expect_err("no room");
    assert_eq!(refused.code(), tonic::Code::Unavailable);
    assert!(refused.message().contains("the disk is full"), "{}", refused.message());
    let details = String::from_utf8_lossy(refused.details()).into_owned();
    assert!(details.contains("google.rpc.RetryInfo"), "{details:?}");
    let response = stage.post("/v1/traces", "application/x-protobuf", encoded(&large(2))).await;
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &"1".parse().expect("a value")));
    let trouble = stage.totals().await.trouble;
    assert!(trouble.contains("the disk is full"), "{trouble:?}");
    assert_eq!(stage.totals().await.spans, 8, "nothing of what was refused is there");
    limit(&stage, None).await;
    stage.send(large(2)).await;
    let totals = stage.totals().await;
    assert_eq!((totals.spans, totals.trouble.as_str()), (16, ""));
    assert_eq!(edge(&stage.board(lately()).await, "clients", "shop").stats.calls, 16);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_refuses_at_once_and_takes_again_when_it_is_empty() {
    let dir = tempfile::tempdir().expect("a directory");
    let settings = Settings { queue_bytes: 4096, ..Settings::default() };
    let store = Store::open_with(dir.path().join("data.fuseboard"), OpenMode::ReadWrite, settings).expect("opens");
    // The writer is held up until the test lets it go on.
    let (go, wait) = std::sync::mpsc::sync_channel::<()>(1);
    let (begun, started) = tokio::sync::oneshot::channel();
    let held = tokio::spawn({
        let store = store.clone();
        async move {
            store
                .transact(&[], move |_, _| {
                    begun.send(()).expect("heard");
                    wait.recv().expect("let go");
                    Ok::<(), StoreError>(())
                })
                .await
        }
    });
    started.await.expect("the writer has begun");
    let batch = || Batch { bytes: 3000, ..Batch::default() };
    let first = tokio::spawn({
        let store = store.clone();
        async move { store.append(batch()).await }
    });
    // The first fills the room; whoever comes then is refused.
    let busy = loop {
        match tokio::time::timeout(std::time::Duration::from_millis(1), store.append(batch())).await {
            Ok(outcome) => break outcome,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    assert!(matches!(busy, Err(StoreError::Busy)), "{busy:?}");
    go.send(()).expect("heard");
    held.await.expect("runs").expect("committed");
    first.await.expect("runs").ok();
    store.flush().await;
    assert!(store.append(batch()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_fails_undoes_itself_alone() {
    let stage = Stage::start().await;
    let store = stage.handle.store();
    let insert = |tx: &rusqlite::Transaction<'_>, key: &str| {
        tx.execute("INSERT INTO attribute_keys (key, arrival) VALUES (?1, 1)", [key]).map_err(StoreError::from)
    };
    let good = store.transact(&[], move |tx, _| insert(tx, "good"));
    let bad = store.transact(&[], move |tx, _| {
        insert(tx, "bad")?;
        Err::<(), _>(StoreError::Corrupt("on purpose".into()))
    });
    let spans = stage.send(request("shop", vec![span(1, 1, 0, SERVER, "GET /")]));
    let (good, bad, _) = tokio::join!(good, bad, spans);
    assert_eq!(good.expect("done"), 1);
    assert!(bad.expect_err("failed").to_string().contains("on purpose"));
    let keys = store.read(|conn| {
        let mut read = conn.prepare("SELECT key FROM attribute_keys ORDER BY key")?;
        let keys = read.query_map([], |r| r.get(0))?.collect::<Result<Vec<String>, _>>()?;
        Ok::<_, StoreError>(keys)
    });
    assert_eq!(keys.await.expect("read"), ["good"]);
    assert_eq!(stage.totals().await.spans, 1);
    stage.stop().await;
}
