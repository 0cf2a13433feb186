//! The fleet: one control stream per instance, opened by the agent.

pub(crate) mod note;
mod recorder;
mod session;
mod windows;

pub(crate) use note::Note;
pub(crate) use recorder::{close_leftovers, last_session, record};
pub(crate) use windows::{keep_breakers_whole, last_calls, stored_window, whole_window};

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use fuseboard_policy::wire::v1::{FromAgent, ToAgent};
use parking::Lock;
use tokio::sync::{mpsc, watch};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

use super::desired::Desired;
use crate::generated::control::control_server;
use crate::identity::Caller;

/// So many agents may be connected at once.
pub(crate) const MAX_AGENTS: usize = 2_000;
/// No message from an agent may be larger.
pub(crate) const MAX_MESSAGE: usize = 1024 * 1024;

/// A mutex whose poison is ignored: what it guards is valid after every statement.
mod parking {
    use std::sync::{Mutex, MutexGuard, PoisonError};

    #[derive(Debug, Default)]
    pub(super) struct Lock<T>(Mutex<T>);

    impl<T> Lock<T> {
        pub(super) fn get(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }
}

/// Who is connected, and the way of their words into the store.
#[derive(Debug)]
pub(crate) struct Fleet {
    desired: watch::Receiver<Arc<Desired>>,
    notes: mpsc::Sender<Note>,
    next_session: AtomicI64,
    streams: Lock<HashMap<(String, String), Member>>,
    /// Ends every stream when the collector stops.
    stop: CancellationToken,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Member {
    session: i64,
    replaced: CancellationToken,
}

impl Fleet {
    /// A fleet without members; `last_session` is the newest one in the store.
    pub(crate) fn new(
        desired: watch::Receiver<Arc<Desired>>,
        notes: mpsc::Sender<Note>,
        last_session: i64,
        stop: CancellationToken,
    ) -> Self {
        Self {
            desired,
            notes,
            next_session: AtomicI64::new(last_session.saturating_add(1)),
            streams: Lock::default(),
            stop,
            tasks: TaskTracker::new(),
        }
    }

    /// How many connected instances fit.
    pub(crate) fn connected(&self, fits: impl Fn(&str, &str) -> bool) -> u32 {
        let n = self.streams.get().keys().filter(|(service, instance)| fits(service, instance)).count();
        u32::try_from(n).unwrap_or(u32::MAX)
    }

    /// Waits until every stream has ended (after the stop).
    pub(crate) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Enters an instance; an older stream of the same instance is told to end.
    fn enter(&self, service: &str, instance: &str) -> Result<(i64, CancellationToken), Status> {
        let mut streams = self.streams.get();
        let key = (service.to_owned(), instance.to_owned());
        if streams.len() >= MAX_AGENTS && !streams.contains_key(&key) {
            return Err(Status::resource_exhausted(format!(
                "{MAX_AGENTS} agents are connected, the most there may be"
            )));
        }
        let session = self.next_session.fetch_add(1, Ordering::Relaxed);
        let replaced = CancellationToken::new();
        if let Some(old) = streams.insert(key, Member { session, replaced: replaced.clone() }) {
            old.replaced.cancel();
        }
        Ok((session, replaced))
    }

    /// Takes an instance out, unless a newer stream has its place.
    fn leave(&self, service: &str, instance: &str, session: i64) {
        let mut streams = self.streams.get();
        let key = (service.to_owned(), instance.to_owned());
        if streams.get(&key).is_some_and(|m| m.session == session) {
            streams.remove(&key);
        }
    }
}

/// The gRPC service.
#[derive(Debug, Clone)]
pub(crate) struct ControlService(pub(crate) Arc<Fleet>);

#[tonic::async_trait]
impl control_server::Control for ControlService {
    type ConnectStream = Pin<Box<dyn Stream<Item = Result<ToAgent, Status>> + Send>>;

    async fn connect(&self, request: Request<Streaming<FromAgent>>) -> Result<Response<Self::ConnectStream>, Status> {
        // One slot: a message is made of the newest desired state when there is room for it, never before.
        let (out, messages) = mpsc::channel(1);
        let caller = request.extensions().get().cloned().unwrap_or(Caller::Anybody);
        self.0.tasks.spawn(session::run(self.0.clone(), caller, request.into_inner(), out));
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }
}
