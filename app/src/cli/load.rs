//! `fuseboard load`: a load against one URL, in an open or a closed loop, held against thresholds.

use std::convert::Infallible;
use std::io::{IsTerminal as _, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use fuseboard_load::{GrpcRequest, Load, LoadPlan, Pace, Progress, Snapshot, Threshold, Thresholds};
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use super::exit::Failure;
use super::span;

/// How often the bar is drawn anew.
const REDRAW: Duration = Duration::from_millis(200);

/// For `load --help`.
const HELP: &str = "\
Open loop (default): requests are due at fixed instants whatever the server does, and latency counts from then, so that a
stall shows in every request it delayed. Closed loop (--closed): each connection sends when its last answer has come.

Examples:
  fuseboard load http://127.0.0.1:8080/ --rate 500 --for 30s --ramp 5s
  fuseboard load http://127.0.0.1:8080/orders --method POST --body @order.json -H @token.header \\
      --thresholds 'p99<200ms,errors<1%,rps>=450' --json
  fuseboard load grpc://127.0.0.1:50051/shop.v1.Orders/Get --proto shop.proto --body '{\"id\": 7}' --closed

Thresholds: rps, errors, mean, p50, p90, p95, p99, p99.9, max with <, <=, >, >=; `p99<200ms!500ms` rings the alarm above 500 ms.
Without any: the rate asked for (less 1 %), p99<=200ms!500ms, errors<=0%!1%. Missed: exit code 4.";

/// Arguments of `load`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct LoadArgs {
    /// Where every request goes: http(s)://HOST:PORT/PATH or grpc(s)://HOST:PORT/PACKAGE.SERVICE/METHOD.
    url: String,
    /// Requests due a second, whether or not earlier ones were answered.
    #[arg(long, default_value_t = 5000.0, conflicts_with = "closed")]
    rate: f64,
    /// Climb evenly from nothing to the rate within this time.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = span::any, conflicts_with = "closed")]
    ramp: Duration,
    /// Send as soon as the last answer has come, as fast as the server allows.
    #[arg(long)]
    closed: bool,
    /// For how long.
    #[arg(long = "for", value_name = "TIME", default_value = "10s", value_parser = span::lasting)]
    duration: Duration,
    /// Connections.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Requests in flight at once on a connection (HTTP/2 and gRPC).
    #[arg(long, default_value_t = 1)]
    streams: usize,
    /// Speak HTTP/2, also without TLS.
    #[arg(long)]
    http2: bool,
    /// A request without an answer for this long has failed.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = span::lasting)]
    timeout: Duration,
    /// HTTP method.
    #[arg(long, default_value = "GET")]
    method: String,
    /// A further header, as NAME: VALUE, or @FILE with one a line: what stands on a command line, everybody on the machine
    /// can read. May be given again.
    #[arg(long = "header", short = 'H', value_name = "HEADER")]
    headers: Vec<String>,
    /// Body of each request, or @FILE. JSON unless a content-type is given; for gRPC the message in JSON with --proto, else
    /// the encoded message.
    #[arg(long)]
    body: Option<String>,
    /// The .proto file of the gRPC service.
    #[arg(long, value_name = "FILE")]
    proto: Option<PathBuf>,
    /// Where imports of the .proto file are found, besides its own folder; may be given again.
    #[arg(long = "proto-path", value_name = "FOLDER", requires = "proto")]
    include: Vec<PathBuf>,
    /// Certificates (PEM) to trust besides the system's.
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// What the run is held against, such as 'p99<200ms,errors<1%,rps>=5000'; may be given again.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    thresholds: Vec<Threshold>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Draw no progress bar. It is drawn on stderr, and only on a terminal.
    #[arg(long)]
    quiet: bool,
}

/// The headers of one argument. What is wrong is said without quoting it: it may be a secret.
fn headers(text: &str) -> Result<Vec<(String, String)>> {
    let Some(file) = text.strip_prefix('@') else { return Ok(vec![header(text).context("a header of --header")?]) };
    let lines = std::fs::read_to_string(file).with_context(|| format!("the headers' file {file}"))?;
    let lines = lines.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(at, line)| header(line).with_context(|| format!("{file}, line {}", at + 1))).collect()
}

fn header(text: &str) -> Result<(String, String)> {
    let (name, value) = text.split_once(':').context("it has no colon; write NAME: VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

impl LoadArgs {
    fn plan(&self) -> Result<LoadPlan> {
        let body = match self.body.as_deref().map(|text| (text, text.strip_prefix('@'))) {
            None => Vec::new(),
            Some((_, Some(file))) => std::fs::read(file).with_context(|| format!("the body's file {file}"))?,
            Some((text, None)) => text.as_bytes().to_vec(),
        };
        let headers: Vec<_> = self.headers.iter().map(|text| headers(text)).collect::<Result<_>>()?;
        let given = Some(&self.thresholds).filter(|list| !list.is_empty());
        Ok(LoadPlan {
            method: self.method.clone(),
            headers: headers.into_iter().flatten().collect(),
            body,
            grpc: GrpcRequest { proto: self.proto.clone(), include: self.include.clone() },
            http2: self.http2,
            roots: self.cacert.clone(),
            pace: if self.closed { Pace::Closed } else { Pace::Open { rate: self.rate, ramp: self.ramp } },
            duration: self.duration,
            connections: self.connections,
            streams: self.streams,
            timeout: self.timeout,
            thresholds: given.map(|list| Thresholds(list.clone())),
            ..LoadPlan::new(&self.url)
        })
    }
}

/// Runs the load and holds it against its thresholds.
pub(super) fn run(args: &LoadArgs) -> Result<()> {
    let load = Load::new(&args.plan()?)?;
    let bar = (!args.quiet && std::io::stderr().is_terminal()).then(|| bar(args.duration));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("load").build()?;
    let report = runtime.block_on(async {
        let cancel = CancellationToken::new();
        let stop = cancel.clone();
        tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                stop.cancel();
            }
        });
        let progress = load.progress();
        let running = load.run(cancel);
        match &bar {
            None => running.await,
            Some(bar) => tokio::select! {
                report = running => report,
                never = draw(bar, args.duration, &progress) => match never {},
            },
        }
    })?;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        writeln!(out, "{report}")?;
    }
    if report.passed { Ok(()) } else { Err(Failure::NotMet("not every threshold was met".to_owned()).into()) }
}

fn bar(duration: Duration) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    // Only a template that cannot be read is an error, and this one is tested.
    if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
        bar.set_style(style.progress_chars("━╸ "));
    }
    bar
}

const TEMPLATE: &str = "{elapsed:>4} {bar:32.cyan/238} {msg}";

/// Draws until it is dropped.
async fn draw(bar: &ProgressBar, duration: Duration, progress: &Progress) -> Infallible {
    let started = tokio::time::Instant::now();
    let mut ticks = tokio::time::interval(REDRAW);
    let mut before: Option<(Snapshot, tokio::time::Instant)> = None;
    loop {
        let now = ticks.tick().await;
        let seen = progress.snapshot();
        let rate = before.map_or(0.0, |(old, at)| (seen.sent - old.sent) as f64 / (now - at).as_secs_f64());
        before = Some((seen, now));
        bar.set_position(u64::try_from((now - started).min(duration).as_millis()).unwrap_or(u64::MAX));
        bar.set_message(line(&seen, rate));
    }
}

fn line(seen: &Snapshot, rate: f64) -> String {
    let failed = seen.sent - seen.ok;
    let p = &seen.latency;
    format!("{rate:>7.0}/s  p50 {:.1} ms  p99 {:.1} ms  {failed} failed", p.p50_ms, p.p99_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_can_be_drawn() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
        let latency = fuseboard_load::Quantiles { p50_ms: 1.25, p99_ms: 20.0, ..Default::default() };
        let seen = Snapshot { sent: 10, ok: 8, latency };
        assert_eq!(line(&seen, 499.6), "    500/s  p50 1.2 ms  p99 20.0 ms  2 failed");
    }

    #[test]
    fn headers_are_told_from_what_is_none() {
        assert_eq!(header("x-a:  b:c ").ok(), Some(("x-a".to_owned(), "b:c".to_owned())));
        let said = format!("{:#}", headers("hunter2").unwrap_err());
        assert!(said.contains("NAME: VALUE") && !said.contains("hunter2"), "{said}");
    }

    #[test]
    fn headers_may_stand_in_a_file_and_are_not_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token.header");
        std::fs::write(&file, "authorization: Bearer hunter2\n\nx-a: b\n").unwrap();
        let read = headers(&format!("@{}", file.display())).unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read[0], ("authorization".to_owned(), "Bearer hunter2".to_owned()));
        std::fs::write(&file, "x-a: b\nhunter2\n").unwrap();
        let said = format!("{:#}", headers(&format!("@{}", file.display())).unwrap_err());
        assert!(said.contains("line 2") && !said.contains("hunter2"), "{said}");
    }
}
