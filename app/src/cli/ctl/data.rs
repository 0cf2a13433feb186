//! Verbs that only look.

use std::time::Duration;

use anyhow::{Result, bail};
use fuseboard_api::ask::{Answer, Question, Totals};
use fuseboard_api::graph::Edge;
use fuseboard_api::{TimeRange, TraceId};

use super::super::exit::Failure;
use super::Session;
use super::client::Client;
use super::print::{instant, json, line, ms, percent, table};

/// The collector answered another question than was asked: only a version mismatch can do that.
pub(in crate::cli) fn mismatch() -> anyhow::Error {
    anyhow::anyhow!("the collector answered something else than was asked; are both of the same version?")
}

pub(super) fn stats(session: &Session) -> Result<()> {
    let Answer::Totals(t) = session.client.ask(Question::Totals)? else { return Err(mismatch()) };
    if session.json {
        return json(&t);
    }
    totals(&t)?;
    if t.trouble.is_empty() { Ok(()) } else { bail!("the collector is in trouble: {}", t.trouble) }
}

/// Prints counts of everything stored.
pub(in crate::cli) fn totals(t: &Totals) -> Result<()> {
    line(&format!(
        "{} spans in {} traces · {} logs · {} metric points · {} services, {} instances · {:.1} MiB",
        t.spans,
        t.traces,
        t.logs,
        t.metric_points,
        t.services.len(),
        t.instances,
        t.bytes_on_disk as f64 / f64::from(1 << 20)
    ))?;
    if t.spans > 0 && !t.read_only {
        line(&format!("{:.0} spans/s, stored {:.0} ms after they ended", t.spans_per_second, t.lag_ms))?;
    }
    if t.spans > 0 {
        line(&t.services.join(" "))?;
    }
    Ok(())
}

/// One line of `ctl edges --json`.
#[derive(serde::Serialize)]
struct EdgeLine<'a> {
    caller: &'a str,
    service: &'a str,
    operation: &'a str,
    rate: f64,
    calls: u64,
    errors: u64,
    error_ratio: f64,
    refused: u64,
    attempts: u64,
    p50_ms: Option<f64>,
    p95_ms: Option<f64>,
    p99_ms: Option<f64>,
    attempt_timeout_ms: Option<u64>,
    overall_timeout_ms: Option<u64>,
    breaker: Option<&'a fuseboard_api::graph::EdgeBreaker>,
}

impl<'a> From<&'a Edge> for EdgeLine<'a> {
    fn from(e: &'a Edge) -> Self {
        let quantile = |q| e.stats.quantile(q).map(|d| d.as_secs_f64() * 1e3);
        Self {
            caller: &e.key.caller,
            service: &e.key.callee,
            operation: &e.key.operation,
            rate: e.stats.rate(),
            calls: e.stats.calls,
            errors: e.stats.errors,
            error_ratio: e.stats.error_ratio(),
            refused: e.stats.refused,
            attempts: e.stats.attempts,
            p50_ms: quantile(0.5),
            p95_ms: quantile(0.95),
            p99_ms: quantile(0.99),
            attempt_timeout_ms: e.attempt_timeout_ms,
            overall_timeout_ms: e.overall_timeout_ms,
            breaker: e.breaker.as_ref(),
        }
    }
}

pub(super) fn edges(session: &Session, last: Duration) -> Result<()> {
    let range = TimeRange::ending(Client::now(), last);
    let Answer::Board(board) = session.client.ask(Question::Board { range })? else { return Err(mismatch()) };
    if session.json {
        return json(&board.edges.iter().map(EdgeLine::from).collect::<Vec<_>>());
    }
    let rows: Vec<_> = board
        .edges
        .iter()
        .map(|e| {
            [
                e.key.to_string(),
                format!("{:.1}/s", e.stats.rate()),
                percent(e.stats.error_ratio()),
                e.stats.refused.to_string(),
                ms(e.stats.quantile(0.5)),
                ms(e.stats.quantile(0.95)),
                e.attempt_timeout_ms.map_or_else(|| "-".to_owned(), |t| format!("{t} ms")),
                e.breaker.as_ref().map_or_else(|| "-".to_owned(), |b| word(&b.state)),
            ]
        })
        .collect();
    table(["EDGE", "RATE", "ERRORS", "REFUSED", "P50", "P95", "TIMEOUT", "BREAKER"], &rows, "")?;
    board.headline.map_or(Ok(()), |h| line(&format!("\n{}", h.text)))
}

/// A word of the wire as it is written there: `half_open`.
pub(super) fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

pub(super) fn trace(session: &Session, id: TraceId) -> Result<()> {
    if session.json {
        return line(session.client.text(&format!("/v1/traces/{id}"))?.trim_end());
    }
    let Answer::Trace(trace) = session.client.ask(Question::Trace(id))? else { return Err(mismatch()) };
    let Some(trace) = trace else {
        return Err(
            Failure::NotMet(format!("no span of trace {id} is stored; it may be older than the retention")).into()
        );
    };
    let begin = trace.spans.iter().map(|s| s.start).min().unwrap_or_default();
    let rows: Vec<_> = trace
        .spans
        .iter()
        .map(|s| {
            [
                ms(Some(s.start.since(begin))),
                ms(Some(Duration::from_nanos(s.duration_nanos()))),
                s.origin.service.clone(),
                s.name.clone(),
                word(&s.kind),
                if s.is_error() { format!("error {}", s.status_message) } else { String::new() },
            ]
        })
        .collect();
    table(["AT", "DURATION", "SERVICE", "NAME", "KIND", "STATUS"], &rows, "")
}

pub(super) fn forecast(session: &Session) -> Result<()> {
    let Answer::Forecasts(all) = session.client.ask(Question::Forecasts)? else { return Err(mismatch()) };
    if session.json {
        return json(&all);
    }
    let rows: Vec<_> = all
        .forecasts
        .iter()
        .map(|f| {
            [
                f.key.to_string(),
                word(&f.quantity),
                f.breach
                    .as_ref()
                    .map_or_else(|| "-".to_owned(), |b| format!("{} from {}", b.limit, instant(b.earliest))),
                format!("{} of {}", f.record.held, f.record.scored),
                f.sentence.clone(),
            ]
        })
        .collect();
    table(["EDGE", "QUANTITY", "BREACH", "HELD", "IN WORDS"], &rows, "Nothing to foresee yet: no edge has had calls.")?;
    all.anomalies.iter().try_for_each(|a| line(&a.sentence))
}
