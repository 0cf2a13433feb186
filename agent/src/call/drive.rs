//! The one loop around the attempts of a call, whatever the protocol.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use super::spans::outcome_word;
use super::{Ended, LiveAttempt, LiveCall, NoPlace, Pushback, Refusal, Sent, Then};
use crate::fallback::Fallbacks;

/// How a protocol sends one attempt of a call and reads what comes of it.
pub(crate) trait Transport: Sync {
    /// An attempt, ready to be sent.
    type Request: Send;
    /// What sending gives: an answer, or the transport's word that there is none.
    type Got: Send;
    /// What the application is given.
    type Answer: Send;
    /// What it is given instead.
    type Error: From<Refusal> + Send;

    /// Makes the request of an attempt, once there is a place for it, and notes where it goes. An attempt without a place was not
    /// made: it counts for nothing, and the call ends, unless others of it are under way.
    fn request(&self, attempt: &mut LiveAttempt) -> impl Future<Output = Result<Self::Request, NoPlace>> + Send;

    /// Sends a request.
    fn send(&self, request: Self::Request) -> impl Future<Output = Self::Got> + Send;

    /// Says how an attempt ended.
    fn read(&self, attempt: &LiveAttempt, got: Self::Got) -> Read<Self::Answer, Self::Error>;

    /// Whether there can be another attempt. A body that has been sent may be gone.
    fn can_repeat(&self) -> bool {
        true
    }

    /// The error of a call whose last attempt was cut by its limit.
    fn late(&self) -> Self::Error;

    /// What the application is given where the policy names a status as the fallback: an error, if the protocol has nothing
    /// better.
    fn status(&self, instead: Refusal) -> Result<Self::Answer, Self::Error> {
        Err(instead.into())
    }

    /// What it is given where the policy names a value that the service registered; `None` if there is none for this way
    /// of calling.
    fn value(&self, _: &Fallbacks, _: &str) -> Option<Self::Answer> {
        None
    }
}

/// What came of an attempt.
pub(crate) enum Read<A, E> {
    /// It ended, and this is what the application is given if there is no other.
    Ended(Ended, Result<A, E>),
    /// The answer has begun: the application is to have it, and whoever makes the answer keeps the call to its end.
    Begun(Box<dyn FnOnce(LiveCall, LiveAttempt) -> A + Send>),
    /// It was not made, because there was no place for it.
    Nowhere(NoPlace),
}

/// Attempts under way. Few: all are looked at whenever one has moved.
type Running<F> = Vec<Pin<Box<F>>>;

/// Makes a call: as many attempts as the rules allow, one after the other and side by side; the first that ends the call
/// cancels the others. `key` is what the balancer hashes.
///
/// # Errors
/// The last attempt's, or a local rule's refusal.
pub(crate) async fn drive<T: Transport>(transport: &T, mut call: LiveCall, key: &[u8]) -> Result<T::Answer, T::Error> {
    let start = |attempt| one(transport, attempt);
    let (mut running, mut then) = (Vec::new(), Then::Again);
    loop {
        let (attempt, read) = if then == Then::Again {
            let attempt = match call.attempt(key).await {
                Ok(attempt) => attempt,
                Err(refusal) => return refuse(transport, call, &refusal),
            };
            if call.hedge_at().is_none() {
                start(attempt).await
            } else {
                running.push(Box::pin(start(attempt)));
                side_by_side(&mut running, &mut call, key, start, || transport.can_repeat()).await
            }
        } else {
            side_by_side(&mut running, &mut call, key, start, || transport.can_repeat()).await
        };
        let (mut ended, result) = match read {
            Read::Begun(answer) => {
                running.clear();
                return Ok(answer(call, attempt));
            }
            Read::Nowhere(none) if running.is_empty() => {
                let refusal = call.no_place(attempt, none);
                return refuse(transport, call, &refusal);
            }
            Read::Nowhere(none) => {
                call.stranded(attempt, none);
                then = Then::Wait;
                continue;
            }
            Read::Ended(ended, result) => (ended, result),
        };
        if !transport.can_repeat() {
            ended.pushback = Pushback::Never;
        }
        then = call.settle(attempt, &ended);
        if then == Then::Over {
            running.clear();
            let failed = matches!(outcome_word(&ended), "failure" | "timeout");
            let given = if failed { call.instead(transport, || result) } else { result };
            call.finish(&ended);
            return given;
        }
    }
}

/// Ends a call that a local rule refused.
fn refuse<T: Transport>(transport: &T, call: LiveCall, refusal: &Refusal) -> Result<T::Answer, T::Error> {
    let given = call.instead(transport, || Err(refusal.clone().into()));
    call.refused(refusal);
    given
}

/// Makes one attempt.
async fn one<T: Transport>(transport: &T, mut attempt: LiveAttempt) -> (LiveAttempt, Read<T::Answer, T::Error>) {
    let request = match transport.request(&mut attempt).await {
        Ok(request) => request,
        Err(none) => return (attempt, Read::Nowhere(none)),
    };
    let sending = pin!(transport.send(request));
    let read = match attempt.run(sending).await {
        Sent::Cut => Read::Ended(Ended::timed_out(), Err(transport.late())),
        Sent::Aborted(fault) => Read::Ended(Ended::with(fault.code.clone()), Err(fault.into())),
        Sent::Got(got) => transport.read(&attempt, got),
    };
    (attempt, read)
}

/// Waits for the first of the attempts under way to end; others join them when their time has come.
async fn side_by_side<F: Future>(
    running: &mut Running<F>,
    call: &mut LiveCall,
    key: &[u8],
    start: impl Fn(LiveAttempt) -> F,
    can_repeat: impl Fn() -> bool,
) -> F::Output {
    let mut more = true;
    loop {
        let ended = poll_fn(|cx| {
            let ended = running.iter_mut().enumerate().find_map(|(at, attempt)| match attempt.as_mut().poll(cx) {
                Poll::Ready(ended) => Some((at, ended)),
                Poll::Pending => None,
            });
            let Some((at, ended)) = ended else { return Poll::Pending };
            running.swap_remove(at);
            Poll::Ready(ended)
        });
        let Some(at) = call.hedge_at().filter(|_| more) else { return ended.await };
        tokio::select! {
            biased;
            ended = ended => return ended,
            () = tokio::time::sleep_until(at) => {}
        }
        more = can_repeat();
        if !more {
            continue;
        }
        running.extend(call.hedge(key).map(|attempt| Box::pin(start(attempt))));
    }
}
