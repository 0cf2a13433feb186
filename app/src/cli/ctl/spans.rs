//! Verbs that look for spans and traces.

use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use fuseboard_api::TimeRange;
use fuseboard_api::ask::{Answer, Question};
use fuseboard_api::filter::{HELP, Hint};
use fuseboard_api::live::TailEvent;
use fuseboard_api::span::Span;
use fuseboard_api::trace::{Position, Searched, SpanQuery, TraceQuery, TraceRow};

use super::super::span;
use super::Session;
use super::client::Client;
use super::data::{mismatch, word};
use super::print::{instant, json, json_line, line, ms, table};

/// Conditions of `ctl traces`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct TracesArgs {
    /// What one of its spans is like; see below. Quote it: shells read < and > themselves.
    #[arg(value_name = "FILTER")]
    filter: Vec<String>,
    /// With a span of this service.
    #[arg(long)]
    service: Option<String>,
    /// With a span of this name.
    #[arg(long)]
    operation: Option<String>,
    /// With a failed span.
    #[arg(long)]
    errors: bool,
    /// Lasting at least.
    #[arg(long, value_name = "TIME", value_parser = span::any)]
    min: Option<Duration>,
    /// Lasting at most.
    #[arg(long, value_name = "TIME", value_parser = span::any)]
    max: Option<Duration>,
    /// Text in a name, status message, attribute or event.
    #[arg(long)]
    text: Option<String>,
    /// A span attribute, KEY=VALUE; may be given several times.
    #[arg(long = "attr", value_name = "KEY=VALUE", value_parser = attribute)]
    attributes: Vec<(String, String)>,
    /// Of the last …
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = span::lasting)]
    last: Duration,
    /// At most so many, 1 to 10000.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
}

/// Conditions of `ctl spans`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct SpansArgs {
    /// What they are like; see below. Quote it: shells read < and > themselves.
    #[arg(value_name = "FILTER")]
    filter: Vec<String>,
    /// Of the last …
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = span::lasting)]
    last: Duration,
    /// At most so many, 1 to 1000.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

/// Conditions of `ctl tail`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct TailArgs {
    /// What they are like; see below. Quote it: shells read < and > themselves.
    #[arg(value_name = "FILTER")]
    filter: Vec<String>,
}

fn attribute(pair: &str) -> Result<(String, String), String> {
    match pair.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

/// What a page tells besides what it holds.
struct Page {
    next: Option<Position>,
    searched: Searched,
    hints: Vec<Hint>,
}

/// Asks for pages until there are `limit` or no more; says on a terminal how far the search came.
fn pages<T>(limit: u32, mut ask: impl FnMut(u32, Option<Position>) -> Result<(Vec<T>, Page)>) -> Result<Vec<T>> {
    let (mut all, mut before, mut whole) = (Vec::new(), None, None);
    let watched = std::io::stderr().is_terminal();
    loop {
        let left = limit.saturating_sub(u32::try_from(all.len()).unwrap_or(u32::MAX));
        let (found, page) = ask(left, before)?;
        if before.is_none() {
            page.hints.iter().for_each(|hint| eprintln!("{}", hint.text));
        }
        all.extend(found);
        let segments = *whole.get_or_insert(page.searched.segments);
        before = page.next.filter(|_| all.len() < limit as usize);
        if before.is_none() {
            if watched && segments > page.searched.segments {
                eprintln!();
            }
            return Ok(all);
        }
        if watched {
            let done = segments.saturating_sub(page.searched.segments) + page.searched.segments_examined;
            eprint!("\rsearched back to {}, {done} of {segments} segments", instant(page.searched.range.from));
        }
    }
}

pub(super) fn traces(session: &Session, args: &TracesArgs) -> Result<()> {
    let query = TraceQuery {
        range: TimeRange::ending(Client::now(), args.last),
        filter: args.filter.join(" "),
        service: args.service.clone(),
        operation: args.operation.clone(),
        min_ms: args.min.map(|d| d.as_secs_f64() * 1e3),
        max_ms: args.max.map(|d| d.as_secs_f64() * 1e3),
        errors_only: args.errors,
        attributes: args.attributes.clone(),
        text: args.text.clone(),
        ..TraceQuery::default()
    };
    let found = pages(args.limit, |limit, before| {
        let query = TraceQuery { limit, before, ..query.clone() };
        let Answer::Traces(list) = session.client.ask(Question::Traces(query))? else { return Err(mismatch()) };
        Ok((list.rows, Page { next: list.next, searched: list.searched, hints: list.hints }))
    })?;
    if session.json {
        return json(&found);
    }
    let row = |r: &TraceRow| {
        [
            r.trace_id.to_string(),
            instant(r.start),
            format!("{} {}", r.service, r.operation),
            ms(Some(Duration::from_nanos(r.duration_nanos))),
            r.spans.to_string(),
            r.errors.to_string(),
            r.refused.to_string(),
        ]
    };
    table(
        ["TRACE", "START", "ROOT", "DURATION", "SPANS", "ERRORS", "REFUSED"],
        &found.iter().map(row).collect::<Vec<_>>(),
        "No trace matches; a longer --last looks further back.",
    )
}

pub(super) fn spans(session: &Session, args: &SpansArgs) -> Result<()> {
    let range = TimeRange::ending(Client::now(), args.last);
    let query = SpanQuery { range, filter: args.filter.join(" "), ..SpanQuery::default() };
    let found = pages(args.limit, |limit, before| {
        let query = SpanQuery { limit, before, ..query.clone() };
        let Answer::Spans(list) = session.client.ask(Question::Spans(query))? else { return Err(mismatch()) };
        Ok((list.spans, Page { next: list.next, searched: list.searched, hints: list.hints }))
    })?;
    if session.json {
        return json(&found);
    }
    table(
        ["START", "DURATION", "SERVICE", "NAME", "KIND", "STATUS", "TRACE"],
        &found.iter().map(cells).collect::<Vec<_>>(),
        "No span matches; a longer --last looks further back.",
    )
}

fn cells(span: &Span) -> [String; 7] {
    [
        instant(span.start),
        ms(Some(Duration::from_nanos(span.duration_nanos()))),
        span.origin.service.clone(),
        span.name.clone(),
        word(&span.kind),
        if span.is_error() {
            format!("error {}", span.status_message).trim_end().to_owned()
        } else {
            word(&span.status)
        },
        span.trace_id.to_string(),
    ]
}

pub(super) fn tail(session: &Session, args: &TailArgs) -> Result<()> {
    let filter = args.filter.join(" ");
    session.client.lines("/v1/tail", &[("q", filter.as_str())], |text| {
        let event: TailEvent = serde_json::from_slice(text)?;
        if event.skipped {
            eprintln!("more came than can be shown; the oldest are left out");
        }
        for span in &event.spans {
            if session.json {
                json_line(span)?;
            } else {
                let [start, lasting, service, name, kind, status, trace] = cells(span);
                line(&format!("{start}  {lasting:>9}  {service} {name}  {kind} {status}  {trace}"))?;
            }
        }
        Ok(())
    })?;
    bail!("the collector closed the stream")
}
