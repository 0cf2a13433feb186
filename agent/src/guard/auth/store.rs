//! The keys in force, read again by a task where their documents may change.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::Uri;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::keys::{Key, Keys, Source, document};
use crate::agent::Inner;
use crate::log::{self, Severity};
use crate::tls::{Alpn, Connector, Dialer};

/// Largest document that is read, in bytes.
const MOST_BYTES: usize = 1 << 20;
/// Longest time for reading one.
const READ: Duration = Duration::from_secs(5);
/// Time between two looks at a file.
const FILE_EVERY: Duration = Duration::from_secs(5);
/// Time between two readings of an address.
const URL_EVERY: Duration = Duration::from_secs(300);
/// Least time between two readings that were asked for, and before another after one that failed.
const ASKED_EVERY: Duration = Duration::from_secs(10);
/// Longest time that a request waits for keys.
const WAIT: Duration = Duration::from_secs(2);

/// See the module.
pub(super) struct Store {
    keys: Keys,
    now: ArcSwap<Set>,
    asked: Notify,
    /// How often everything was read; requests that wait see it change.
    rounds: watch::Sender<u64>,
    /// When a reading that is asked for may begin.
    next: Mutex<Option<Instant>>,
}

/// All keys of one moment.
#[derive(Default)]
pub(super) struct Set {
    /// Changes with the keys.
    pub(super) generation: u64,
    keys: Vec<Key>,
    /// Whether a source was never read yet.
    pub(super) incomplete: bool,
}

impl Set {
    /// The keys that a token may be signed with: those of its key id and algorithm; keys without an id are tried for all.
    pub(super) fn candidates<'a>(
        &'a self,
        kid: Option<&'a str>,
        algorithm: jsonwebtoken::Algorithm,
    ) -> impl Iterator<Item = &'a Key> + 'a {
        let named = move |key: &&Key| kid.is_none() || key.kid.is_none() || key.kid.as_deref() == kid;
        self.keys.iter().filter(move |key| key.algorithm == algorithm).filter(named)
    }
}

impl Store {
    pub(super) fn new(keys: Keys) -> Self {
        let first = Set { generation: 0, keys: keys.fixed.clone(), incomplete: !keys.changing.is_empty() };
        let (now, rounds) = (ArcSwap::from_pointee(first), watch::Sender::new(0));
        Self { keys, now, asked: Notify::new(), rounds, next: Mutex::default() }
    }

    /// Reads the documents that may change, for as long as the agent lives.
    pub(super) fn start(self: &Arc<Self>, agent: &Arc<Inner>, dialer: &Dialer) {
        if !self.keys.changing.is_empty() {
            let reader = Reader::new(dialer.connector(Alpn::Http, READ));
            tokio::spawn(keep(Arc::downgrade(self), Arc::downgrade(agent), reader, agent.closing.clone()));
        }
    }

    pub(super) fn now(&self) -> Arc<Set> {
        self.now.load_full()
    }

    /// Has the documents read again, unless that was done just now, and waits for it. Whether it is worth another look.
    pub(super) async fn refresh(&self) -> bool {
        if self.keys.changing.is_empty() {
            return false;
        }
        let mut rounds = self.rounds.subscribe();
        // Before the first reading is done, it is under way.
        if !self.now.load().incomplete {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            if next.is_some_and(|at| at > now) {
                return false;
            }
            *next = Some(now + ASKED_EVERY);
            self.asked.notify_one();
        }
        tokio::time::timeout(WAIT, rounds.changed()).await.is_ok()
    }

    fn publish(&self, documents: &[Document]) {
        let read = documents.iter().filter_map(|document| Some(&document.read.as_ref()?.1));
        let keys = self.keys.fixed.iter().chain(read.flatten()).cloned().collect();
        let incomplete = documents.iter().any(|document| document.read.is_none());
        let generation = self.now.load().generation + 1;
        self.now.store(Arc::new(Set { generation, keys, incomplete }));
    }
}

async fn keep(store: Weak<Store>, agent: Weak<Inner>, reader: Reader, closing: CancellationToken) {
    let Some(sources) = store.upgrade().map(|store| store.keys.changing.clone()) else { return };
    let mut documents: Vec<Document> = sources.into_iter().map(Document::new).collect();
    let mut all = true;
    loop {
        let (now, mut changed) = (Instant::now(), false);
        for document in documents.iter_mut().filter(|document| all || document.due <= now) {
            changed |= document.look(&reader, &agent).await;
        }
        let Some(store) = store.upgrade() else { return };
        if changed {
            store.publish(&documents);
        }
        store.rounds.send_modify(|rounds| *rounds += 1);
        let next = documents.iter().map(|document| document.due).min().unwrap_or_else(|| now + URL_EVERY);
        all = tokio::select! {
            () = tokio::time::sleep_until(next) => false,
            () = store.asked.notified() => true,
            () = closing.cancelled() => return,
        };
    }
}

/// A source and what was last read of it.
struct Document {
    source: Source,
    read: Option<(Bytes, Vec<Key>)>,
    due: Instant,
    /// What was told of it, until it is well again.
    told: Option<String>,
}

impl Document {
    fn new(source: Source) -> Self {
        Self { source, read: None, due: Instant::now(), told: None }
    }

    /// Reads it. Whether its keys are others now; what cannot be read is told once, and changes nothing.
    async fn look(&mut self, reader: &Reader, agent: &Weak<Inner>) -> bool {
        let every = if matches!(self.source, Source::File(_)) { FILE_EVERY } else { URL_EVERY };
        let read = reader.read(&self.source).await;
        let read = read.map_err(|reason| format!("{} cannot be read: {reason}", self.source));
        if let (Ok(text), Some((known, _))) = (&read, &self.read)
            && text == known
        {
            (self.due, self.told) = (Instant::now() + every, None);
            return false;
        }
        let keys = read.and_then(|text| Ok((document(&self.source, &text).map_err(|e| e.to_string())?, text)));
        match keys {
            Ok((keys, text)) => {
                (self.due, self.told, self.read) = (Instant::now() + every, None, Some((text, keys)));
                true
            }
            Err(reason) => {
                self.due = Instant::now() + ASKED_EVERY.min(every);
                if let Some(agent) = agent.upgrade().filter(|_| self.told.as_ref() != Some(&reason)) {
                    let text = format!("keys of tokens are not read, the last ones stay in force: {reason}");
                    log::write(&agent, Severity::Error, text, &[]);
                    self.told = Some(reason);
                }
                false
            }
        }
    }
}

/// Reads documents from files and addresses.
struct Reader {
    client: Client<Connector, Empty<Bytes>>,
}

impl Reader {
    fn new(connector: Connector) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector) }
    }

    async fn read(&self, source: &Source) -> Result<Bytes, String> {
        match source {
            Source::File(path) => {
                let path = path.clone();
                let read = move || -> std::io::Result<Vec<u8>> {
                    if std::fs::metadata(&path)?.len() > MOST_BYTES as u64 {
                        return Err(std::io::Error::other("it is too large"));
                    }
                    std::fs::read(&path)
                };
                let read = tokio::task::spawn_blocking(read).await.map_err(|e| e.to_string())?;
                read.map(Bytes::from).map_err(|e| e.to_string())
            }
            Source::Url(uri) => {
                let late = |_| "it did not answer in time".to_owned();
                tokio::time::timeout(READ, self.fetch(uri.clone())).await.map_err(late)?
            }
        }
    }

    async fn fetch(&self, uri: Uri) -> Result<Bytes, String> {
        let answer = self.client.get(uri).await.map_err(|e| innermost(&e))?;
        if answer.status() != http::StatusCode::OK {
            return Err(format!("it answers {}", answer.status()));
        }
        let body = Limited::new(answer.into_body(), MOST_BYTES).collect().await;
        body.map(|body| body.to_bytes()).map_err(|e| e.to_string())
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
