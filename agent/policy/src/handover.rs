//! State that may be replaced while others use it, without a lock on their way and without losing what they did.
//!
//! A [`Line`] is a state and what comes after it. A successor is made from what a state held when it was *closed*: from
//! then on its operations answer nothing, so that no result can fall between the two. Who still holds an older state is led
//! to the newest; the only wait is for a successor that is being made at that very moment.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;

/// A state of a line, and the way to those after it.
#[derive(Debug)]
pub(crate) struct Line<T> {
    stage: Arc<Stage<T>>,
    newest: Arc<ArcSwap<Stage<T>>>,
}

#[derive(Debug)]
struct Stage<T> {
    state: T,
    followed: OnceLock<()>,
}

impl<T> Clone for Line<T> {
    fn clone(&self) -> Self {
        Self { stage: Arc::clone(&self.stage), newest: Arc::clone(&self.newest) }
    }
}

impl<T> Line<T> {
    pub(crate) fn new(state: T) -> Self {
        let stage = Arc::new(Stage { state, followed: OnceLock::new() });
        Self { newest: Arc::new(ArcSwap::new(Arc::clone(&stage))), stage }
    }

    /// Acts on the newest state. `act` says `None` of a state that is closed.
    #[inline]
    pub(crate) fn with<R>(&self, mut act: impl FnMut(&T) -> Option<R>) -> R {
        if self.stage.followed.get().is_none()
            && let Some(answer) = act(&self.stage.state)
        {
            return answer;
        }
        self.with_newest(act)
    }

    #[cold]
    fn with_newest<R>(&self, mut act: impl FnMut(&T) -> Option<R>) -> R {
        self.stage.followed.wait();
        loop {
            let newest = self.newest.load();
            if let Some(answer) = act(&newest.state) {
                return answer;
            }
            newest.followed.wait();
        }
    }

    /// The state that follows the newest one. `close` ends a state and tells what it held; `None` if another was faster.
    pub(crate) fn follow<C>(&self, mut close: impl FnMut(&T) -> Option<C>, make: impl FnOnce(&T, C) -> T) -> Self {
        loop {
            let last = self.newest.load_full();
            if let Some(held) = close(&last.state) {
                let stage = Arc::new(Stage { state: make(&last.state, held), followed: OnceLock::new() });
                self.newest.store(Arc::clone(&stage));
                // Set before only if two changes of a state that is never closed met; the later one holds.
                let _ = last.followed.set(());
                return Self { stage, newest: Arc::clone(&self.newest) };
            }
            last.followed.wait();
        }
    }
}
