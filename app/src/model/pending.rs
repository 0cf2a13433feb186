//! Commands on their way: *requested* until the data says *applied*.

use fuseboard_api::command::{Action, Receipt};

/// How far a command has come, as far as the console can know by itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum PendingState {
    /// Not yet answered.
    Sending,
    /// Written down and published; whether it is applied is said by the data.
    Requested(Receipt),
    /// Not accepted.
    Refused(String),
}

/// A command that was given here.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pending {
    /// Counts up with every command of this run.
    pub(crate) number: u64,
    /// What.
    pub(crate) action: Action,
    /// Why.
    pub(crate) reason: String,
    /// How far.
    pub(crate) state: PendingState,
}

/// How to take a change back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Undo {
    /// What is taken back, in words.
    pub(crate) what: String,
    /// By what.
    pub(crate) action: Action,
}
