//! The open-loop load generator behind `fuseboard load`.
//!
//! *Open loop*: requests are due at fixed instants, whatever the server does. A latency counts from the instant a request
//! was due, not from when a free connection could send it, so that a stall shows up in every request it delayed
//! (no coordinated omission). The report gives both: `latency` from the due instant and `service` from the real sending.
//!
//! ```no_run
//! # async fn example() -> Result<(), fuseboard_load::LoadError> {
//! use fuseboard_load::{LoadPlan, run};
//!
//! let plan = LoadPlan { rate: 500.0, ..LoadPlan::new("http://127.0.0.1:8080/healthz") };
//! let report = run(&plan, tokio_util::sync::CancellationToken::new()).await?;
//! println!("{report}");
//! # Ok(()) }
//! ```

mod goals;
mod plan;
mod report;
mod run;

pub use goals::{Check, Goals, Verdict};
pub use plan::{LoadError, LoadPlan};
pub use report::{Quantiles, Report};
pub use run::run;
