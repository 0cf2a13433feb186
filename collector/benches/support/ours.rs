//! The collector's own way in, without sockets: what the OTLP door does with a body, the store's own thread, and the
//! acknowledgement after the commit.

use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use fuseboard_collector::ingest;
use fuseboard_collector::store::{OpenMode, Snapshot, Store, StoreError};
use futures_util::StreamExt as _;
use http::{Request, StatusCode};
use tower::ServiceExt as _;

/// Requests on their way at the same time, as many senders have.
pub(crate) const AT_ONCE: usize = 64;

/// A store with its door.
pub(crate) struct Ours {
    runtime: tokio::runtime::Runtime,
    pub(crate) store: Store,
    door: Router,
}

impl Ours {
    /// A new file with the settings that a user has.
    pub(crate) fn create(path: &Path) -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("threads");
        let _inside = runtime.enter();
        let store = Store::open(path, OpenMode::ReadWrite).expect("a file");
        let door = ingest::http(&ingest::Door::new(store.clone(), None, fuseboard_collector::Limits::default()));
        drop(_inside);
        Self { runtime, store, door }
    }

    /// Sends requests, so many at once, and waits until each is acknowledged, which is when it is durable.
    pub(crate) fn send(&self, requests: impl Iterator<Item = Bytes>, at_once: usize) {
        let sent = futures_util::stream::iter(requests).map(|body| {
            let door = self.door.clone();
            async move {
                loop {
                    let request = Request::post("/v1/traces")
                        .header("content-type", "application/x-protobuf")
                        .body(Body::from(body.clone()))
                        .expect("a request");
                    let answer = door.clone().oneshot(request).await.expect("an answer");
                    match answer.status() {
                        StatusCode::OK => return,
                        // What a sender does who is told to wait.
                        StatusCode::SERVICE_UNAVAILABLE => tokio::time::sleep(Duration::from_millis(20)).await,
                        other => panic!("refused: {other}"),
                    }
                }
            }
        });
        self.runtime.block_on(sent.buffer_unordered(at_once).for_each(|()| async {}));
    }

    /// Waits until no segment has been merged for a second.
    fn settle(&self) {
        let count = |read: &Snapshot<'_>| read.query_row("SELECT count(*) FROM segments", [], |r| r.get(0));
        let (mut last, mut same) = (0i64, 0);
        while same < 10 {
            let now = self.runtime.block_on(self.store.read(move |read| count(read).map_err(StoreError::from)));
            let now = now.expect("a number");
            (last, same) = (now, if now == last { same + 1 } else { 0 });
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Closes the file, after what the store does beside is done.
    pub(crate) fn close(self) {
        self.settle();
        let Self { runtime, store, door } = self;
        drop(door);
        drop(store);
        drop(runtime);
    }
}
