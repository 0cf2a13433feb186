//! Control: what operators decide, and who of the fleet has it.
//!
//! Everything is appended to the store with its audit entry before it is published; what is published is level-triggered,
//! so that an agent that missed ten changes gets one message. Pictures are made from stored rows alone.

mod audit;
mod desired;
mod edit;
mod fleet;
mod forget;
mod overrides;
pub(crate) mod picture;
mod policy;
mod read_only;
pub(crate) mod refusal;
mod revisions;
mod rollout;
mod schema;
mod sql;
mod write;

pub(crate) use audit::Entry;
pub use audit::{ChainError, Line, verify_file, verify_lines};
pub(crate) use fleet::{ControlService, MAX_MESSAGE, keep_breakers_whole};
pub(crate) use overrides::short;
pub(crate) use revisions::{Author, in_force};
pub(crate) use schema::ADDED_COLUMNS;
pub(crate) use sql::{signed, unsigned};
pub(crate) use write::Deny;

use std::sync::Arc;
use std::time::Duration;

use fuseboard_api::UnixNanos;
use fuseboard_api::ask::Refusal;
use fuseboard_api::live::Touched;
use rusqlite::Transaction;
use tokio::sync::{Mutex, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::desired::Desired;
use self::fleet::Fleet;
use crate::store::{Store, StoreError};

/// The tables of this room.
pub(crate) const SCHEMA: [&str; 3] = [schema::SCHEMA, audit::SCHEMA, rollout::SCHEMA];

/// So many words of the fleet may wait for the store; beyond, agents wait.
const NOTES: usize = 4_096;
/// How often old rows are looked for.
const FORGET: Duration = Duration::from_secs(60);
/// Wait before an expiry that could not be written is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// Appends to the audit in the transaction of the deed.
///
/// # Errors
/// Only the database's own.
pub(crate) fn audit_entry(tx: &Transaction<'_>, at: UnixNanos, entry: &Entry) -> rusqlite::Result<()> {
    audit::append(tx, at, entry)
}

/// Revisions, overrides and the fleet of one store.
#[derive(Debug)]
pub(crate) struct Control {
    store: Store,
    desired: watch::Sender<Arc<Desired>>,
    turn: Mutex<()>,
    fleet: Arc<Fleet>,
    stop: CancellationToken,
    drain: CancellationToken,
    tasks: TaskTracker,
}

impl Control {
    /// Takes up where the store left off: expired overrides are written down, what is in force is published.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn start(store: Store, stop: CancellationToken) -> Result<Arc<Self>, StoreError> {
        store
            .transact(&[Touched::Fleet, Touched::Changes], |tx, at| {
                fleet::close_leftovers(tx, at)?;
                overrides::expire(tx, at).map_err(|deny| match deny {
                    Deny::Store(error) => error,
                    Deny::Refused(refusal) => StoreError::Corrupt(refusal.message),
                })
            })
            .await?;
        let now = store.as_of_now();
        let nothing = Desired::nothing();
        let (desired, last_session) = store
            .read(move |conn| -> Result<_, StoreError> {
                Ok((Desired::load(conn, now, &nothing)?, fleet::last_session(conn)?))
            })
            .await?;
        let (desired, follow) = watch::channel(Arc::new(desired));
        let (notes, words) = mpsc::channel(NOTES);
        let drain = CancellationToken::new();
        let tasks = TaskTracker::new();
        tasks.spawn(fleet::record(words, store.clone(), drain.clone()));
        let fleet = Arc::new(Fleet::new(follow, notes, last_session, stop.clone()));
        let control = Arc::new(Self { store, desired, turn: Mutex::new(()), fleet, stop, drain, tasks: tasks.clone() });
        tasks.spawn(control.clone().expire());
        tasks.spawn(control.clone().forget());
        tasks.spawn(control.clone().watch_rollouts());
        Ok(control)
    }

    /// The gRPC service of the agents.
    pub(crate) fn service(&self) -> ControlService {
        ControlService(self.fleet.clone())
    }

    /// The revision in force.
    pub(crate) fn revision(&self) -> u64 {
        self.desired.borrow().in_force.revision
    }

    /// How many overrides are in force.
    pub(crate) fn overrides(&self) -> usize {
        self.desired.borrow().overrides.len()
    }

    /// How many agents are connected.
    pub(crate) fn connected(&self) -> u32 {
        self.fleet.connected(|_, _| true)
    }

    /// Waits, after the stop, until all streams have ended and their last words are stored.
    pub(crate) async fn ended(&self) {
        self.fleet.ended().await;
        self.drain.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Runs `f` in a transaction and publishes what is desired after its commit. One at a time, so that what is published
    /// last was also written last. The writer's thread says what is desired: readers may be busy with questions.
    async fn change<T: Send + 'static>(
        &self,
        touched: &[Touched],
        f: impl FnOnce(&Transaction<'_>, UnixNanos) -> Result<T, Deny> + Send + 'static,
    ) -> Result<T, Deny> {
        let _turn = self.turn.lock().await;
        let before = self.desired.borrow().clone();
        let known = before.clone();
        let changed = self.store.transact(touched, move |tx, at| -> Result<_, Deny> {
            let made = f(tx, at)?;
            Ok((made, Desired::load(tx, at, &known)?))
        });
        let (made, next) = changed.await?;
        self.desired.send_replace(Arc::new(next.published(&before)));
        Ok(made)
    }

    /// Ends overrides whose time has run out. Agents do so by themselves; this is for the books and for those who connect.
    async fn expire(self: Arc<Self>) {
        let mut desired = self.desired.subscribe();
        loop {
            let next = desired.borrow_and_update().overrides.iter().map(|(o, _)| o.expires).min();
            let left = next.map(|at| at.since(UnixNanos::now()));
            tokio::select! {
                () = self.stop.cancelled() => return,
                changed = desired.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(left.unwrap_or_default()), if left.is_some() => {
                    if !self.expire_now().await {
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        }
    }

    /// Keeps the tables of this room within what the store keeps.
    async fn forget(self: Arc<Self>) {
        let mut pause = FORGET;
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            let removed: Result<usize, StoreError> = self.store.transact(&[], |tx, _| Ok(forget::forget(tx)?)).await;
            pause = match removed {
                // More may be left: go on soon.
                Ok(removed) if removed > 0 => Duration::from_secs(1),
                Ok(_) => FORGET,
                Err(e) => {
                    tracing::warn!("old rows of control are not removed yet: {e}");
                    FORGET
                }
            };
        }
    }

    async fn expire_now(&self) -> bool {
        match self.change(&[Touched::Changes, Touched::Audit], overrides::expire).await.map_err(Refusal::from) {
            // The clocks may differ by a moment: the loop comes back when the time has really come.
            Ok(expired) => expired > 0,
            Err(refusal) => {
                tracing::warn!("an override has run out, but that is not written down yet: {refusal}");
                false
            }
        }
    }
}
