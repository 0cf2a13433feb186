//! The words that collector and console share: ids and times, spans and the language that looks for them, the call graph, breakers, the fleet, incidents,
//! forecasts, and the console's [`ask::Question`]s, [`command::Command`]s and [`live::LiveEvent`]s.
//!
//! These structs *are* the wire: they travel as MessagePack or JSON (the caller's choice) over the collector's control
//! address, so the console, `fuseboard ctl` and `curl` read the same words. Field names are stable; a reader ignores
//! names it does not know and fills absent ones with their defaults, so that two versions can talk.
//!
//! Everything shown on the screen comes through one door: a [`ask::Question`] asked *as of* an instant. Asked again
//! later as of the same instant it gives the same answer; that is the replay law.

pub mod ask;
pub mod attr;
pub mod breaker;
pub mod change;
pub mod command;
pub mod filter;
pub mod fleet;
pub mod forecast;
pub mod graph;
pub mod histogram;
pub mod identity;
pub mod ids;
pub mod incident;
pub mod lint;
pub mod live;
pub mod log;
pub mod metric;
pub mod policy;
pub mod quantile;
pub mod rollout;
pub mod span;
pub mod stats;
pub mod strip;
pub mod time;
pub mod trace;

pub use ids::{SpanId, TraceId};
pub use time::{TimeRange, UnixNanos};
