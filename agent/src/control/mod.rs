//! Live control: what the collector says is in force, what is kept of it, and what the agent tells in return. Calls never
//! wait for any of it.

mod dial;
mod disk;
mod report;
mod standing;
mod steering;
mod stream;
mod ticker;

pub(crate) use self::dial::Dial;
pub(crate) use self::disk::StateFile;
pub(crate) use self::report::{Reports, tell_transitions};
pub(crate) use self::steering::Steering;
pub(crate) use self::stream::{Line, run as run_stream};
pub(crate) use self::ticker::run as run_ticker;
