//! The load generator behind `fuseboard load`: HTTP/1.1, HTTP/2 and gRPC, in an open or a closed loop.
//!
//! *Open loop* ([`Pace::Open`], the default): requests are due at fixed instants, whatever the server does. A latency counts from
//! the instant a request was due, not from when a free connection could send it, so that a stall shows up in every request
//! it delayed (no coordinated omission). The report gives both: `latency` from the due instant and `service` from the real
//! sending. *Closed loop* ([`Pace::Closed`]): each connection sends as soon as its last answer is there, which finds the
//! highest rate a server gives but hides what users would have waited.
//!
//! ```no_run
//! # async fn example() -> Result<(), fuseboard_load::LoadError> {
//! use fuseboard_load::{LoadPlan, Pace, run};
//!
//! let plan = LoadPlan { pace: Pace::steady(500.0), ..LoadPlan::new("http://127.0.0.1:8080/healthz") };
//! let report = run(&plan, tokio_util::sync::CancellationToken::new()).await?;
//! println!("{report}");
//! # Ok(()) }
//! ```
//!
//! Anything else that can be called is loaded by the same engine through [`Caller`] and [`Engine`].
//!
//! **Precision.** tokio's timers have a grain of 1 ms, more than a fast server takes to answer. A thread of its own
//! (`load-pacer`) therefore sleeps from due instant to due instant and wakes a connection; how late it was itself is in the
//! report as `generator_lag`.
//!
//! **Why not a library for all of it.** The known load generators are programs (oha, wrk2, ghz) or frameworks with a closed loop
//! at heart (goose); hyper for the wire, `hdrhistogram` for the latencies, `protox` and `prost-reflect` for gRPC from a
//! `.proto` file do the work here.

mod engine;
mod pace;
mod plan;
mod report;
mod tally;
mod threshold;
mod wire;

pub use engine::{Caller, Engine, Progress, Snapshot};
pub use pace::Pace;
pub use plan::{GrpcRequest, LoadError, LoadPlan};
pub use report::{Check, Mode, Quantiles, Report, Verdict};
pub use threshold::{Comparison, Metric, Threshold, ThresholdError, Thresholds};
pub use wire::{Load, run};
