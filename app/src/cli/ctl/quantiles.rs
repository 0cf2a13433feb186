//! `ctl quantiles`: how long calls took.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use fuseboard_api::TimeRange;
use fuseboard_api::ask::{Answer, Question};
use fuseboard_api::filter::HELP;
use fuseboard_api::quantile::{GroupBy, QuantileGroup, QuantileQuery};

use super::super::span;
use super::Session;
use super::client::Client;
use super::data::mismatch;
use super::print::{instant, json, ms, percent, table};

/// What `ctl quantiles` counts.
#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct QuantilesArgs {
    /// Which spans count as calls; see below. Without one, calls are counted as services answered them.
    #[arg(value_name = "FILTER")]
    filter: Vec<String>,
    /// One line for each service, operation, instance, version or edge, or for each value of a field or attribute.
    #[arg(long, value_name = "GROUP", default_value = "service", value_parser = group)]
    by: GroupBy,
    /// Of the last …
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = span::lasting)]
    last: Duration,
    /// At most so many lines, 1 to 1000.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

fn group(text: &str) -> Result<GroupBy, String> {
    Ok(match text {
        "" => return Err("name a group: service, operation, instance, version, edge, or a field".to_owned()),
        "service" => GroupBy::Service,
        "operation" => GroupBy::Operation,
        "instance" => GroupBy::Instance,
        "version" => GroupBy::Version,
        "edge" => GroupBy::Edge,
        field => GroupBy::Field(field.to_owned()),
    })
}

/// One line of `ctl quantiles --json`.
#[derive(serde::Serialize)]
struct Line<'a> {
    key: &'a [String],
    calls: u64,
    rate: f64,
    errors: u64,
    error_ratio: f64,
    p50_ms: Option<f64>,
    p90_ms: Option<f64>,
    p95_ms: Option<f64>,
    p99_ms: Option<f64>,
    max_ms: Option<f64>,
}

impl<'a> From<&'a QuantileGroup> for Line<'a> {
    fn from(g: &'a QuantileGroup) -> Self {
        let quantile = |q| g.stats.quantile(q).map(|d| d.as_secs_f64() * 1e3);
        Self {
            key: &g.key,
            calls: g.stats.calls,
            rate: g.stats.rate(),
            errors: g.stats.errors,
            error_ratio: g.stats.error_ratio(),
            p50_ms: quantile(0.5),
            p90_ms: quantile(0.9),
            p95_ms: quantile(0.95),
            p99_ms: quantile(0.99),
            max_ms: quantile(1.0),
        }
    }
}

pub(super) fn quantiles(session: &Session, args: &QuantilesArgs) -> Result<()> {
    let query = QuantileQuery {
        range: TimeRange::ending(Client::now(), args.last),
        group_by: args.by.clone(),
        filter: args.filter.join(" "),
        limit: args.limit,
    };
    let Answer::Quantiles(answer) = session.client.ask(Question::Quantiles(query))? else { return Err(mismatch()) };
    answer.hints.iter().for_each(|hint| eprintln!("{}", hint.text));
    if !answer.complete {
        eprintln!("only spans since {} are counted; ask for a shorter range", instant(answer.searched.range.from));
    }
    if session.json {
        return json(&answer.groups.iter().map(Line::from).collect::<Vec<_>>());
    }
    let row = |g: &QuantileGroup| {
        let quantile = |q| ms(g.stats.quantile(q));
        let name = match (&args.by, g.key.as_slice()) {
            (GroupBy::Edge, [caller, callee, operation]) => format!("{caller} → {callee} {operation}"),
            (_, parts) => parts.join(" ").trim().to_owned(),
        };
        [
            if name.is_empty() { "(none)".to_owned() } else { name },
            g.stats.calls.to_string(),
            format!("{:.1}/s", g.stats.rate()),
            percent(g.stats.error_ratio()),
            quantile(0.5),
            quantile(0.9),
            quantile(0.95),
            quantile(0.99),
            quantile(1.0),
        ]
    };
    let none = "No call in this range; a longer --last looks further back.";
    table(
        ["GROUP", "CALLS", "RATE", "ERRORS", "P50", "P90", "P95", "P99", "MAX"],
        &answer.groups.iter().map(row).collect::<Vec<_>>(),
        none,
    )?;
    if answer.others.calls > 0 {
        eprintln!("{} more calls are in other groups; a higher --limit shows them", answer.others.calls);
    }
    Ok(())
}
