//! How sending and processing fail.

use std::fmt;
use std::time::Duration;

use crate::call::Refusal;

/// A message that was not sent, or of which nobody knows.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError<E> {
    /// A local rule refused: nothing was sent.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The broker did not answer in time: the message may have been taken.
    #[error(
        "the broker did not say in time whether it took the message: it may have; raise the timeout or send it again"
    )]
    TimedOut,
    /// The broker or its client said no.
    #[error("the message was not sent: {0}")]
    Failed(E),
}

/// Why a message was not processed, and what is to become of it.
///
/// Any error becomes one by `?`: the message is handed out again after a pause, and is a dead letter after too many times.
#[derive(Debug)]
pub struct Failure {
    pub(super) then: Then,
    pub(super) why: String,
}

/// What is to become of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Again, after the usual pause.
    Again,
    /// Again, after exactly this.
    After(Duration),
    /// Never again.
    Dead,
    /// Back, for anyone to take.
    Back,
}

impl Failure {
    /// Once more, after the usual pause.
    pub fn again(why: impl fmt::Display) -> Self {
        Self { then: Then::Again, why: why.to_string() }
    }

    /// Once more, after this pause.
    pub fn after(pause: Duration, why: impl fmt::Display) -> Self {
        Self { then: Then::After(pause), why: why.to_string() }
    }

    /// Never again: it goes to the dead letters at once.
    pub fn reject(why: impl fmt::Display) -> Self {
        Self { then: Then::Dead, why: why.to_string() }
    }

    /// Back to the queue at once, for anyone to take. It counts as handed out.
    pub fn requeue(why: impl fmt::Display) -> Self {
        Self { then: Then::Back, why: why.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::again(error)
    }
}
