//! A registration that is kept up.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::DiscoveryError;

/// How a registration is doing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum LeaseState {
    /// The source has not answered yet.
    #[default]
    Asked,
    /// It stands.
    Kept,
    /// The source did not take it, or lost it; it is tried again for ever.
    Trying {
        /// What happened last.
        error: Arc<str>,
    },
    /// It was ended.
    Ended,
}

/// A registered instance. Dropped, it is taken out in the background; [`Lease::end`] waits for that.
#[must_use = "an instance is taken out again when its lease is dropped"]
pub struct Lease {
    state: watch::Receiver<LeaseState>,
    ending: CancellationToken,
    task: Option<JoinHandle<Result<(), DiscoveryError>>>,
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("state", &*self.state.borrow()).finish_non_exhaustive()
    }
}

/// A source's end of a [`Lease`].
#[derive(Debug)]
pub struct Keeper {
    state: watch::Sender<LeaseState>,
    ending: CancellationToken,
}

impl Keeper {
    /// The registration stands.
    pub fn kept(&self) {
        self.tell(LeaseState::Kept);
    }

    /// It does not; it is tried again.
    pub fn failed(&self, error: impl fmt::Display) {
        self.tell(LeaseState::Trying { error: error.to_string().into() });
    }

    /// Comes back when the registration is to be taken out.
    pub async fn ending(&self) {
        self.ending.cancelled().await;
    }

    fn tell(&self, state: LeaseState) {
        self.state.send_if_modified(|last| {
            let news = *last != state;
            *last = state;
            news
        });
    }
}

impl Lease {
    /// Starts the work that keeps a registration up. It goes on until [`Keeper::ending`] comes back, takes the registration out then
    /// and says how that went.
    pub fn start<F>(work: impl FnOnce(Arc<Keeper>) -> F) -> Self
    where
        F: Future<Output = Result<(), DiscoveryError>> + Send + 'static,
    {
        let ending = CancellationToken::new();
        let keeper = Arc::new(Keeper { state: watch::Sender::default(), ending: ending.clone() });
        let state = keeper.state.subscribe();
        let work = work(keeper.clone());
        let task = tokio::spawn(async move {
            let ended = work.await;
            keeper.tell(LeaseState::Ended);
            ended
        });
        Self { state, ending, task: Some(task) }
    }

    /// How the registration is doing.
    #[must_use]
    pub fn state(&self) -> LeaseState {
        self.state.borrow().clone()
    }

    /// Each change of how it is doing.
    #[must_use]
    pub fn states(&self) -> watch::Receiver<LeaseState> {
        self.state.clone()
    }

    /// Comes back when the registration stands, or was ended.
    pub async fn kept(&self) {
        let mut state = self.state.clone();
        // The sender lives as long as the work.
        let _ = state.wait_for(|state| matches!(state, LeaseState::Kept | LeaseState::Ended)).await;
    }

    /// Takes the instance out. Its callers learn of it from their sources.
    ///
    /// # Errors
    /// The source could not be told; there it lapses by itself, where the source has a time to live.
    pub async fn end(mut self) -> Result<(), DiscoveryError> {
        self.ending.cancel();
        match self.task.take() {
            Some(task) => task.await.unwrap_or(Ok(())),
            None => Ok(()),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.ending.cancel();
    }
}
