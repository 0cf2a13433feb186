//! `fuseboard load`: an open-loop load against one URL.

use std::io::Write;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use fuseboard_load::{Goals, LoadPlan};
use tokio_util::sync::CancellationToken;

use super::exit::Failure;
use super::span;

/// Arguments of `load`.
#[derive(Args)]
pub(super) struct LoadArgs {
    /// Where every request goes.
    url: String,
    /// Requests due a second, whether or not earlier ones were answered.
    #[arg(long, default_value_t = 5000.0)]
    rate: f64,
    /// For how long.
    #[arg(long = "for", value_name = "TIME", default_value = "10s", value_parser = span::lasting)]
    duration: Duration,
    /// Requests in flight at most.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// A request without an answer for this long has failed.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = span::lasting)]
    timeout: Duration,
    /// HTTP method.
    #[arg(long, default_value = "GET")]
    method: String,
    /// Body of each request, sent as JSON.
    #[arg(long)]
    body: Option<String>,
    /// Goal: good answers a second; default: the rate asked for.
    #[arg(long)]
    goal_rate: Option<f64>,
    /// Goal: 99th percentile in milliseconds.
    #[arg(long, default_value_t = 200.0)]
    goal_p99_ms: f64,
    /// Goal: share of failed requests, 0…1.
    #[arg(long, default_value_t = 0.0)]
    goal_errors: f64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the load and holds it against its goals.
pub(super) fn run(args: &LoadArgs) -> Result<()> {
    let plan = LoadPlan {
        method: args.method.clone(),
        body: args.body.clone(),
        rate: args.rate,
        duration: args.duration,
        connections: args.connections,
        timeout: args.timeout,
        goals: Goals {
            min_rate: args.goal_rate.unwrap_or(args.rate),
            p99_ms: args.goal_p99_ms,
            error_ratio: args.goal_errors,
            ..Goals::default()
        },
        ..LoadPlan::new(&args.url)
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("load").build()?;
    let report = runtime.block_on(async {
        let cancel = CancellationToken::new();
        let stop = cancel.clone();
        tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                stop.cancel();
            }
        });
        fuseboard_load::run(&plan, cancel).await
    })?;
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        writeln!(out, "{report}")?;
    }
    if report.passed { Ok(()) } else { Err(Failure::NotMet("not every goal was met".to_owned()).into()) }
}
