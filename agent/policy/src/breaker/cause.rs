//! Causes of refusals by thread. A refusal says why the breaker is open; were it one text for all threads, each refusal would
//! fight for its reference count. So each thread keeps a copy of its own of the few that it met last.

use std::cell::RefCell;
use std::sync::Arc;

/// Breakers whose cause a thread remembers.
const KEPT: usize = 8;

/// The breaker's number and the publication under which the cause holds, with it.
type Kept = (u64, u64, Arc<str>);

thread_local! {
    static CAUSES: RefCell<[Option<Kept>; KEPT]> = const { RefCell::new([const { None }; KEPT]) };
}

/// The cause this thread remembers for a breaker under a publication.
#[inline]
pub(super) fn recall(breaker: u64, word: u64) -> Option<Arc<str>> {
    let look = |causes: &RefCell<[Option<Kept>; KEPT]>| {
        let causes = causes.borrow();
        let (owner, under, cause) = causes.get(place(breaker))?.as_ref()?;
        (*owner == breaker && *under == word).then(|| Arc::clone(cause))
    };
    CAUSES.try_with(look).ok().flatten()
}

/// A copy of the cause for this thread, remembered.
pub(super) fn remember(breaker: u64, word: u64, cause: &str) -> Arc<str> {
    let copy: Arc<str> = cause.into();
    // A thread that is ending remembers nothing any more.
    let _ = CAUSES.try_with(|causes| {
        if let Some(kept) = causes.borrow_mut().get_mut(place(breaker)) {
            *kept = Some((breaker, word, Arc::clone(&copy)));
        }
    });
    copy
}

fn place(breaker: u64) -> usize {
    (breaker % KEPT as u64) as usize
}
