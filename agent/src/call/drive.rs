//! The one loop around the attempts of a call, whatever the protocol.

use std::future::Future;

use super::{Ended, LiveAttempt, LiveCall, NoPlace, Refusal, Sent};

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
    /// made: it counts for nothing, and the call ends.
    fn request(&self, attempt: &mut LiveAttempt) -> impl Future<Output = Result<Self::Request, NoPlace>> + Send;

    /// Sends a request.
    fn send(&self, request: Self::Request) -> impl Future<Output = Self::Got> + Send;

    /// Says how an attempt ended.
    fn read(&self, attempt: &LiveAttempt, got: Self::Got) -> Read<Self::Answer, Self::Error>;

    /// The error of a call whose last attempt was cut by its limit.
    fn late(&self) -> Self::Error;
}

/// What came of an attempt.
pub(crate) enum Read<A, E> {
    /// It ended, and this is what the application is given if there is no other.
    Ended(Ended, Result<A, E>),
    /// The answer has begun: the application is to have it, and whoever makes the answer keeps the call to its end.
    Begun(Box<dyn FnOnce(LiveCall, LiveAttempt) -> A + Send>),
}

/// Makes a call: as many attempts as the rules allow. `key` is what the balancer hashes.
///
/// # Errors
/// The last attempt's, or a local rule's refusal.
pub(crate) async fn drive<T: Transport>(transport: &T, mut call: LiveCall, key: &[u8]) -> Result<T::Answer, T::Error> {
    loop {
        let mut attempt = match call.attempt(key).await {
            Ok(attempt) => attempt,
            Err(refusal) => {
                call.refused(&refusal);
                return Err(refusal.into());
            }
        };
        let request = match transport.request(&mut attempt).await {
            Ok(request) => request,
            Err(none) => return Err(call.no_place(attempt, none).into()),
        };
        let read = match attempt.run(transport.send(request)).await {
            Sent::Cut => Read::Ended(Ended::timed_out(), Err(transport.late())),
            Sent::Aborted(fault) => Read::Ended(Ended::with(fault.code.clone()), Err(fault.into())),
            Sent::Got(got) => transport.read(&attempt, got),
        };
        let (ended, result) = match read {
            Read::Begun(answer) => return Ok(answer(call, attempt)),
            Read::Ended(ended, result) => (ended, result),
        };
        if !call.settle(attempt, &ended) {
            call.finish(&ended);
            return result;
        }
    }
}
