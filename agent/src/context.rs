//! The current call's context: its span, what its deadline leaves, and which attempt it is of the caller's call.
//!
//! Server layers set it for the handler's task, client layers read it. It lives in OpenTelemetry's own [`Context`], so that
//! spans made by other instrumentation nest as they should.

use std::future::Future;
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::context::FutureExt;
use opentelemetry::trace::{SpanContext, TraceContextExt};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::tls::Peer;

/// What the current request brought along.
#[derive(Debug, Clone, Copy, Default)]
struct Inbound {
    /// When the call must be over.
    deadline: Option<Instant>,
    /// Which attempt of the caller's call this request is, from 1.
    attempt: Option<u32>,
}

/// When the current call must be over; `None` without a deadline.
#[must_use]
pub fn deadline() -> Option<Instant> {
    Context::map_current(deadline_of)
}

/// What the current deadline leaves: zero once it has passed, `None` without one.
#[must_use]
pub fn remaining() -> Option<Duration> {
    deadline().map(|at| at.saturating_duration_since(Instant::now()))
}

/// Which attempt of its caller's call the current request is; 1 for first attempts and where nobody said.
#[must_use]
pub fn inbound_attempt() -> u32 {
    Context::map_current(inbound_attempt_of)
}

/// The current span's ids; invalid ones when there is no span.
#[must_use]
pub fn span_context() -> SpanContext {
    Context::map_current(|cx| cx.span().span_context().clone())
}

/// Who calls, in the handlers of a tarpc server; those of HTTP and gRPC find their [`Peer`] in the request's extensions.
#[must_use]
pub fn peer() -> Option<Peer> {
    Context::map_current(|cx| cx.get::<Peer>().cloned())
}

/// Runs a future that has at most `limit` for all its calls. An earlier deadline stays in force.
pub fn with_deadline<F: Future>(limit: Duration, future: F) -> impl Future<Output = F::Output> {
    let cx = Context::current();
    // A limit beyond what the clock can say is none.
    let own = Instant::now().checked_add(limit);
    let until = [deadline_of(&cx), own].into_iter().flatten().min();
    let cx = with_inbound(&cx, until, None);
    future.with_context(cx)
}

/// Spawns a task that goes on in the current context: same trace, same deadline.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(future.with_context(Context::current()))
}

/// Spawns a task that goes on in the current trace but without its deadline, for work that outlives the call.
pub fn spawn_detached<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let here = Context::current();
    let cx = Context::new().with_remote_span_context(here.span().span_context().clone());
    tokio::spawn(future.with_context(cx))
}

/// A context with who calls.
pub(crate) fn with_peer(cx: Context, peer: Option<Peer>) -> Context {
    match peer {
        Some(peer) => cx.with_value(peer),
        None => cx,
    }
}

/// The deadline in a context.
pub(crate) fn deadline_of(cx: &Context) -> Option<Instant> {
    cx.get::<Inbound>()?.deadline
}

/// The attempt of a context.
pub(crate) fn inbound_attempt_of(cx: &Context) -> u32 {
    cx.get::<Inbound>().and_then(|inbound| inbound.attempt).unwrap_or(1)
}

/// A context with what a request brought along; what it did not bring stays as it was.
pub(crate) fn with_inbound(cx: &Context, deadline: Option<Instant>, attempt: Option<u32>) -> Context {
    if deadline.is_none() && attempt.is_none() {
        return cx.clone();
    }
    let old = cx.get::<Inbound>().copied().unwrap_or_default();
    cx.with_value(Inbound { deadline: deadline.or(old.deadline), attempt: attempt.or(old.attempt) })
}
