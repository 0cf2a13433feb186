//! `fuseboard import`: telemetry files into a Fuseboard file or a running collector; and what `open` needs of it.

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use fuseboard::wire::{self, Access, Sent};
use fuseboard_api::ask::{Answer, Question};
use fuseboard_collector::files::import::{self, Found, Imported};
use fuseboard_collector::ingest::Telemetry;
use fuseboard_collector::redact::Redactor;
use fuseboard_collector::store::{OpenMode, Retention, Settings, Store};
use serde::Serialize;

use super::ctl::{self, Client};
use super::exit::Failure;
use super::source;

/// For `--help`.
pub(super) const HELP: &str = "\
What a file is, is told from its content: OTLP JSON (one document or one a line), OTLP protobuf, the records of the OpenTelemetry
Collector's file exporter, Jaeger JSON, Zipkin v2 JSON, each plain or packed with gzip or zstd. A dash reads standard input.

Examples:
  fuseboard import traces.jsonl.gz jaeger.json --into all.fuseboard && fuseboard open all.fuseboard
  curl -s http://jaeger:16686/api/traces?service=shop | fuseboard import - --to http://127.0.0.1:4390";

/// Arguments of `import`.
#[derive(Args)]
#[command(group = clap::ArgGroup::new("target").required(true))]
pub(super) struct ImportArgs {
    /// Files of any known kind; - reads standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The Fuseboard file to write, made when missing.
    #[arg(long, value_name = "FILE", group = "target")]
    into: Option<PathBuf>,
    /// The running collector to send to, by its control address.
    #[arg(long, value_name = "URL", group = "target", value_parser = ctl::address)]
    to: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    access: Access,
}

/// What became of one file.
#[derive(Serialize)]
pub(super) struct Outcome {
    /// Its name.
    pub(super) file: String,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    imported: Option<Imported>,
    /// Why nothing of it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Outcome {
    fn of(file: String, imported: Result<Imported>) -> Self {
        match imported {
            Ok(imported) => Self { file, imported: Some(imported), error: None },
            Err(error) => Self { file, imported: None, error: Some(format!("{error:#}")) },
        }
    }

    /// Whether nothing of it was read.
    pub(super) fn failed(&self) -> bool {
        self.error.is_some()
    }

    /// In words: what it is, what was read, what became of it; one more line for everything that was left out.
    pub(super) fn lines(&self) -> Vec<String> {
        let Some(imported) = &self.imported else { return self.error.iter().cloned().collect() };
        let Found { format, packing, read, faults } = &imported.found;
        let packed = packing.map(|p| format!(", {p}")).unwrap_or_default();
        let kinds = [(read.spans, "span"), (read.logs, "log record"), (read.points, "metric point")];
        let kinds: Vec<String> = kinds.iter().filter(|(n, _)| *n > 0).map(|(n, kind)| count(*n, kind)).collect();
        let kinds = if kinds.is_empty() { "nothing".to_owned() } else { kinds.join(", ") };
        let mut line = format!("{} ({format}{packed}): {kinds} read, {} stored", self.file, imported.stored);
        for (n, what) in [(imported.duplicates, "known already"), (imported.refused, "refused")] {
            if n > 0 {
                line += &format!(", {n} {what}");
            }
        }
        let mut lines = vec![line];
        lines.extend(imported.reasons.iter().map(|reason| format!("  {reason}")));
        lines.extend(faults.first.iter().map(|fault| format!("  left out: {fault}")));
        let more = faults.count.saturating_sub(faults.first.len() as u64);
        if more > 0 {
            lines.push(format!("  left out: {} more", count(more, "place")));
        }
        lines
    }
}

fn count(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Whether a name means standard input.
pub(super) fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == "-"
}

fn name_of(file: &Path) -> String {
    if is_stdin(file) { "standard input".to_owned() } else { file.display().to_string() }
}

fn input(file: &Path) -> Result<Box<dyn Read + Send>> {
    Ok(if is_stdin(file) {
        Box::new(io::stdin())
    } else {
        let opened = std::fs::File::open(file);
        Box::new(opened.with_context(|| format!("{} cannot be read", file.display()))?)
    })
}

/// Reads files into a Fuseboard file, one after the other. What a file lacks is in its outcome; only the target's trouble is an
/// error.
pub(super) fn into_file(runtime: &tokio::runtime::Handle, files: &[PathBuf], target: &Path) -> Result<Vec<Outcome>> {
    // What somebody imports, they want to keep: nothing of it is too old or too much.
    let retention = Retention { max_age: None, max_bytes: None, ..Retention::default() };
    let store = Store::open_with(target, OpenMode::ReadWrite, Settings { retention, ..Settings::default() })?;
    let redactor = Arc::new(Redactor::standard()?);
    let mut out = Vec::new();
    for file in files {
        let name = name_of(file);
        let into = |input| import::import(&store, Some(redactor.clone()), name.clone(), input);
        let imported = input(file).and_then(|input| match runtime.block_on(into(input)) {
            Err(import::ImportError::File(error)) => Ok(Err(anyhow::Error::from(error))),
            other => Ok(Ok(other?)),
        });
        let imported = match imported {
            Ok(outcome) => outcome,
            Err(error) if error.downcast_ref::<import::ImportError>().is_some() => return Err(error),
            Err(error) => Err(error),
        };
        out.push(Outcome::of(name, imported));
    }
    drop(store);
    Ok(out)
}

/// `fuseboard import FILE…`.
pub(super) fn run(args: &ImportArgs) -> Result<()> {
    let outcomes = match (&args.into, &args.to) {
        (Some(target), _) => into_file(source::runtime()?.handle(), &args.files, target)?,
        (None, Some(url)) => to_collector(url, &args.access, &args.files)?,
        (None, None) => bail!("name where it goes: --into FILE or --to URL"),
    };
    if args.json {
        ctl::json(&outcomes)?;
    } else {
        for outcome in outcomes.iter().filter(|o| o.error.is_none()) {
            outcome.lines().iter().try_for_each(|line| ctl::line(line))?;
        }
    }
    failures(&outcomes)
}

/// An error when something was not read at all.
pub(super) fn failures(outcomes: &[Outcome]) -> Result<()> {
    let errors: Vec<&str> = outcomes.iter().filter_map(|o| o.error.as_deref()).collect();
    if errors.is_empty() { Ok(()) } else { bail!("{}", errors.join("\n")) }
}

fn to_collector(url: &str, access: &Access, files: &[PathBuf]) -> Result<Vec<Outcome>> {
    let Answer::Totals(totals) = Client::new(url, access)?.ask(Question::Totals)? else { return Err(ctl::mismatch()) };
    let address = totals.addresses.iter().find(|(name, _)| name == "otlp_http").map(|(_, address)| address);
    let address =
        address.with_context(|| format!("the collector at {url} takes no telemetry; it only looks at a file"))?;
    let mut sender = Sender::new(&wire::beside(url, address), access)?;
    let mut out = Vec::new();
    for file in files {
        let name = name_of(file);
        let sent = input(file).and_then(|input| sender.send_all(&name, input));
        if let Err(error) = &sent
            && error.downcast_ref::<Failure>().is_some()
        {
            return sent.map(|_| out);
        }
        out.push(Outcome::of(name, sent));
    }
    Ok(out)
}

/// Sends OTLP over HTTP.
struct Sender {
    runtime: tokio::runtime::Runtime,
    http: wire::Client,
}

/// How long a collector may take to store one request.
const PATIENCE: Duration = Duration::from_secs(60);
/// The largest answer.
const LARGEST: usize = 1 << 20;
/// How often a request is sent again that the collector had no room for.
const TRIES: u32 = 30;

impl Sender {
    fn new(url: &str, access: &Access) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, http: wire::Client::new(url, access, PATIENCE)? })
    }

    fn send_all(&mut self, name: &str, input: Box<dyn Read + Send>) -> Result<Imported> {
        let (mut refused, mut reasons, mut failed) = (0, Vec::new(), None);
        let mut sink = |telemetry: Telemetry| match self.send(&telemetry) {
            Ok((count, reason)) => {
                refused += count;
                if !reason.is_empty() && reasons.len() < 3 {
                    reasons.push(reason);
                }
                ControlFlow::Continue(())
            }
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        };
        let found = import::read(name, input, &mut sink);
        match failed {
            Some(error) => Err(error),
            None => {
                let found = found?;
                // What was known already the collector does not say.
                let stored = found.read.all().saturating_sub(refused);
                Ok(Imported { found, stored, duplicates: 0, refused, reasons })
            }
        }
    }

    /// Sends one request; how many records were refused, and why.
    fn send(&self, telemetry: &Telemetry) -> Result<(u64, String)> {
        let body = wire::Bytes::from(telemetry.encode());
        let once = || async {
            let sent = Sent { body: Some(("application/x-protobuf", body.clone())), accept: None };
            let reply = self.http.send(telemetry.path(), sent).await?;
            Ok::<_, wire::WireError>((reply.status(), reply.retry_after(), reply.bytes(LARGEST).await?))
        };
        let url = || self.http.url().to_owned();
        let unreachable = |e: wire::WireError| Failure::of(self.http.url(), &e);
        for _ in 0..TRIES {
            let (status, wait, answer) = self.runtime.block_on(once()).map_err(unreachable)?;
            if status.is_success() {
                let stranger = |e| Failure::Stranger { url: url(), why: format!("its answer is no OTLP: {e}") };
                return Ok(Telemetry::rejected(&answer).map_err(stranger)?);
            }
            // As OTLP has it: the collector says when there may be room again.
            let (true, Some(wait)) = (matches!(status.as_u16(), 429 | 503), wait) else {
                let why = format!("{status}: {}", String::from_utf8_lossy(&answer));
                return Err(Failure::NotMet(format!("the collector would not store it: {why}")).into());
            };
            self.runtime.block_on(async { tokio::time::sleep(wait).await });
        }
        Err(Failure::NotMet("the collector had no room for so long that the import was given up".to_owned()).into())
    }
}
