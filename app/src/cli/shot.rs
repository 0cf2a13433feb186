//! `fuseboard shot`: a view as a PNG, without a display.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use fuseboard::app::Settings;
use fuseboard::link::Source;
use fuseboard::shot::{self, Picture};
use fuseboard::{SourceKind, ThemeChoice, View};
use fuseboard_api::ask::{Answer, Question, Totals};
use fuseboard_api::graph::{Board, Edge, EdgeKey};
use fuseboard_api::trace::{TraceQuery, TraceRow};
use fuseboard_api::{TimeRange, TraceId, UnixNanos};

use super::ctl::{self, Client};
use super::open::name_of;
use super::source::{self, Embedded};
use super::span;

/// Arguments of `shot`.
#[derive(Args)]
pub(super) struct ShotArgs {
    /// An incident file or a collector's data file; without one a running collector is asked.
    file: Option<PathBuf>,
    #[command(flatten)]
    access: ctl::Access,
    /// Which view: board, traces, trace, breakers, policies, forecasts, incidents, logs, metrics, fleet, audit or gallery.
    #[arg(long, value_parser = view)]
    view: View,
    /// The instant to show: RFC 3339 (2026-11-20T14:04:36Z), or so long after the beginning (+30s) or before the end (-30s) of what is stored.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    at: Option<String>,
    /// Width and height in points.
    #[arg(long, default_value = "1440x900", value_parser = size)]
    size: [u32; 2],
    /// Pixels a point, 0.5 to 4.
    #[arg(long, default_value_t = 1.0, value_parser = scale)]
    scale: f32,
    /// Dark or light.
    #[arg(long, value_enum, default_value = "dark")]
    theme: Theme,
    /// The edge to choose, CALLER:SERVICE/OPERATION; default: the one with the most failures.
    #[arg(long, value_name = "EDGE")]
    edge: Option<String>,
    /// The trace to open; default: a failed one with many spans.
    #[arg(long, value_name = "ID")]
    trace: Option<TraceId>,
    /// The running collector's control address.
    #[arg(long, value_name = "URL", default_value = ctl::DEFAULT_URL, env = "FUSEBOARD_URL", value_parser = ctl::address)]
    to: String,
    /// Where the picture goes.
    #[arg(short, long, value_name = "PNG")]
    output: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Theme {
    Dark,
    Light,
}

fn view(name: &str) -> Result<View, String> {
    View::named(name).ok_or_else(|| {
        format!("there is no view {name:?}; there are board, traces, trace, breakers, policies, forecasts, incidents, logs, metrics, fleet, audit and gallery")
    })
}

fn size(text: &str) -> Result<[u32; 2], String> {
    let parsed = text.split_once('x').and_then(|(w, h)| Some([w.parse().ok()?, h.parse().ok()?]));
    let fits = |size: &[u32; 2]| size.iter().all(|n| (100..=8000).contains(n));
    parsed.filter(fits).ok_or_else(|| format!("{text:?} is no size; write WIDTHxHEIGHT, each from 100 to 8000"))
}

fn scale(text: &str) -> Result<f32, String> {
    let parsed = text.parse().ok().filter(|s| (0.5..=4.0).contains(s));
    parsed.ok_or_else(|| format!("{text:?} is no scale; write a number from 0.5 to 4"))
}

/// Draws and writes the picture.
pub(super) fn run(args: &ShotArgs) -> Result<()> {
    let runtime = source::runtime()?;
    let opened = args.file.as_deref().map(|file| runtime.block_on(Embedded::open(file))).transpose()?;
    let url = opened.as_ref().map_or_else(|| args.to.clone(), Embedded::url);
    let client = Client::new(&url, &args.access)?;
    let Answer::Totals(totals) = client.ask(Question::Totals)? else { bail!("the collector gave no totals") };
    let at = args.at.as_deref().map(|text| instant(text, &totals)).transpose().context("--at")?;
    let shown = at.or(opened.is_some().then_some(totals.stored.to));
    let settings = Settings {
        view: args.view,
        who: "op".to_owned(),
        utc: true,
        read_only: opened.is_some(),
        at,
        edge: edge(args, &client, shown)?,
        trace: trace(args, &client, shown)?,
        ..Settings::default()
    };
    let (name, kind) = match &args.file {
        Some(file) => (name_of(file), SourceKind::File),
        None => ("this machine".to_owned(), SourceKind::Live),
    };
    let source = Source { name, url: client.url().to_owned(), kind, access: args.access.clone() };
    let theme = if matches!(args.theme, Theme::Light) { ThemeChoice::Light } else { ThemeChoice::Dark };
    let picture = Picture { size: args.size, scale: args.scale, theme, ..Picture::default() };
    let image = shot::take(source, settings, picture)?;
    shot::write_png(&image, &args.output)?;
    if let Some(opened) = opened {
        runtime.block_on(opened.stop());
    }
    Ok(())
}

/// The instant that a text means: a date, or so long after the begin or before the end of what is stored.
pub(super) fn instant(text: &str, totals: &Totals) -> Result<UnixNanos> {
    let lasting = span::any;
    let at = if let Some(after) = text.strip_prefix('+') {
        lasting(after).map(|d| totals.stored.from + d).ok()
    } else if let Some(before) = text.strip_prefix('-') {
        lasting(before).map(|d| totals.stored.to - d).ok()
    } else {
        let since = humantime::parse_rfc3339_weak(text).ok().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
        since.map(|d| UnixNanos::default() + d)
    };
    at.with_context(|| format!("{text:?} is no time; write 2026-11-20T14:04:36Z, +30s or -30s"))
}

fn range(ending: Option<UnixNanos>, length: Duration) -> TimeRange {
    TimeRange::ending(ending.unwrap_or_else(UnixNanos::now), length)
}

/// The edge to choose on the views that show one.
fn edge(args: &ShotArgs, client: &Client, shown: Option<UnixNanos>) -> Result<Option<EdgeKey>> {
    if !matches!(args.view, View::Board | View::Breakers | View::Policies | View::Forecasts) {
        return Ok(None);
    }
    if let Some(text) = &args.edge {
        let parts = text.split_once(':').and_then(|(caller, rest)| Some((caller, rest.split_once('/')?)));
        let (caller, (callee, operation)) =
            parts.with_context(|| format!("--edge {text:?}: write CALLER:SERVICE/OPERATION"))?;
        return Ok(Some(EdgeKey::new(caller, callee, operation)));
    }
    let Answer::Board(Board { edges, .. }) =
        client.ask_as_of(Question::Board { range: range(shown, Duration::from_secs(60)) }, shown)?
    else {
        return Ok(None);
    };
    let weight = |e: &Edge| (e.stats.errors, e.stats.calls);
    Ok(edges.into_iter().filter(|e| e.breaker.is_some()).max_by_key(weight).map(|e| e.key))
}

/// Traces longer than this hold work that went on long after the answer: 5 s.
const LONG_NANOS: u64 = 5_000_000_000;

/// The trace to open.
fn trace(args: &ShotArgs, client: &Client, shown: Option<UnixNanos>) -> Result<Option<TraceId>> {
    if args.view != View::Trace || args.trace.is_some() {
        return Ok(args.trace);
    }
    let query = TraceQuery { range: range(shown, Duration::from_secs(3600)), ..TraceQuery::default() };
    let Answer::Traces(list) = client.ask_as_of(Question::Traces(query), shown)? else { return Ok(None) };
    // One that shows most: refused calls, failed ones, nothing that came long after the answer, many spans.
    let weight = |r: &&TraceRow| (r.refused.min(1), r.errors.min(1), r.duration_nanos < LONG_NANOS, r.spans);
    Ok(list.rows.iter().max_by_key(weight).map(|r| r.trace_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_scales_have_bounds() {
        assert_eq!(size("1440x900"), Ok([1440, 900]));
        assert!(["10x10", "9000x900", "1440", "ax b"].iter().all(|text| size(text).is_err()));
        assert_eq!(scale("2"), Ok(2.0));
        assert!(["0", "-1", "NaN", "inf", "50", "x"].iter().all(|text| scale(text).is_err()));
    }
}
