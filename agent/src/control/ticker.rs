//! The agent's pulse: engines that must notice time passing, the processor's load, and the ends of overrides. It rests while
//! there is none of these.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::report::tell_transitions;
use crate::agent::Inner;
use crate::log::Severity;

/// Time between two looks at the engines.
const TICK: Duration = Duration::from_millis(100);

/// Runs until the agent is gone.
pub(crate) async fn run(agent: Weak<Inner>, closing: CancellationToken) {
    loop {
        let Some(inner) = agent.upgrade() else { return };
        let busy = !inner.edges.is_empty() || inner.edges.own.is_on();
        let tick = busy.then(|| Instant::now() + TICK);
        let next = [tick, inner.steering.next_expiry()].into_iter().flatten().min();
        // Not upgraded while waiting, so that an agent that nobody holds can end.
        let (steering, edges) = (inner.steering.clone(), inner.edges.clone());
        drop(inner);
        let sleep = async {
            match next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sleep => {}
            () = steering.due.notified() => {}
            () = edges.first.notified() => {}
            () = closing.cancelled() => return,
        }
        let Some(inner) = agent.upgrade() else { return };
        if inner.steering.next_expiry().is_some_and(|at| at <= Instant::now()) {
            // A change of many edges takes a while: calls do not wait on this thread meanwhile.
            let inner = inner.clone();
            let _ = tokio::task::spawn_blocking(move || inner.steering.expire(&inner.edges)).await;
        }
        beat(&inner);
    }
}

fn beat(inner: &Arc<Inner>) {
    if let Some(cannot) = inner.edges.own.tick(Instant::now()) {
        crate::log::write(inner, Severity::Warn, cannot.to_owned(), &[]);
    }
    let now = inner.clock.now();
    for edge in inner.edges.list() {
        edge.engine().tick(now, rand::random::<f64>);
        tell_transitions(inner, &edge, None);
    }
}
