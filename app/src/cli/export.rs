//! `fuseboard export`: what is stored, as files that other tools read.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use fuseboard_api::ask::{Answer, Ask, Question, Totals};
use fuseboard_api::{TimeRange, TraceId};
use fuseboard_collector::files::export::{self, ExportFormat, Selection};
use fuseboard_collector::query;
use fuseboard_collector::store::{OpenMode, Store};

use super::ctl::{self, Client};
use super::{shot, source};

/// For `--help`.
pub(super) const HELP: &str = "\
Formats:
  otlp-jsonl  spans, logs and metrics as OTLP in JSON, one request a line; .gz at the end of the name packs it
  jaeger      traces in Jaeger's JSON, for its page's upload
  parquet     spans, one row each, for DuckDB, pandas, Spark

Examples:
  fuseboard export --data bank.fuse -o bank.jsonl.gz
  fuseboard export --url http://127.0.0.1:4390 --from -10m -o spans.parquet
  fuseboard export --data bank.fuse --format jaeger --trace 0af7651916cd43dd8448eb211c80319c -o -";

/// Arguments of `export`.
#[derive(Args)]
pub(super) struct ExportArgs {
    /// The Fuseboard file to read; without one a running collector is asked.
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    data: Option<PathBuf>,
    #[command(flatten)]
    access: ctl::Access,
    /// The running collector's control address.
    #[arg(long, value_name = "URL", default_value = ctl::DEFAULT_URL, env = "FUSEBOARD_URL", value_parser = ctl::address)]
    url: String,
    /// otlp-jsonl, jaeger or parquet; default: as the output's name ends (.jsonl, .json, .parquet).
    #[arg(long)]
    format: Option<ExportFormat>,
    /// Only what began at or after: RFC 3339, or so long after the begin (+30s) or before the end (-30s) of what is stored.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: Option<String>,
    /// Only what began before.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: Option<String>,
    /// Only this trace, with its logs.
    #[arg(long, value_name = "ID")]
    trace: Option<TraceId>,
    /// Only traces with a span like this, whole and with their logs: service=orders duration>250ms, as the console's query bar.
    #[arg(long, value_name = "FILTER", default_value = "", conflicts_with = "trace")]
    filter: String,
    /// The file to write, which must not exist; - writes to standard output.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// Writes the export.
pub(super) fn run(args: &ExportArgs) -> Result<()> {
    let format = args.format.map_or_else(|| named(&args.output), Ok)?;
    match &args.data {
        Some(data) => from_file(args, format, data)?,
        None => from_collector(args, format)?,
    }
    if args.output.as_os_str() != "-" {
        let bytes = std::fs::metadata(&args.output)?.len();
        eprintln!("{} ({:.2} MiB)", args.output.display(), bytes as f64 / f64::from(1 << 20));
    }
    Ok(())
}

/// The format that a name's end means.
fn named(output: &Path) -> Result<ExportFormat> {
    let name = output.to_string_lossy();
    match name.strip_suffix(".gz").unwrap_or(&name).rsplit_once('.').map(|(_, end)| end) {
        Some("jsonl" | "ndjson") => Ok(ExportFormat::OtlpJsonl),
        Some("json") => Ok(ExportFormat::Jaeger),
        Some("parquet") => Ok(ExportFormat::Parquet),
        _ => bail!("say what to write: --format otlp-jsonl, jaeger or parquet"),
    }
}

fn selection(args: &ExportArgs, totals: &Totals) -> Result<Selection> {
    let all = Selection::default();
    let at = |text: &Option<String>, other| text.as_deref().map_or(Ok(other), |text| shot::instant(text, totals));
    let range = TimeRange {
        from: at(&args.from, all.range.from).context("--from")?,
        to: at(&args.to, all.range.to).context("--to")?,
    };
    if range.from >= range.to {
        bail!("--from lies at or after --to: nothing can be in between");
    }
    Ok(Selection { range, filter: args.filter.clone(), trace: args.trace })
}

fn from_file(args: &ExportArgs, format: ExportFormat, data: &Path) -> Result<()> {
    source::runtime()?.block_on(async {
        let store = Store::open(data, OpenMode::ReadOnly)?;
        let answered = query::ask(&store, Ask { question: Question::Totals, as_of: None }).await?;
        let Answer::Totals(totals) = answered.answer else { return Err(ctl::mismatch()) };
        let mut pieces = export::export(&store, selection(args, &totals)?, format)?;
        let mut target = Target::create(&args.output, format)?;
        while let Some(piece) = pieces.recv().await {
            target.write(&piece?)?;
        }
        target.finish()
    })
}

fn from_collector(args: &ExportArgs, format: ExportFormat) -> Result<()> {
    let client = Client::new(&args.url, &args.access)?;
    let Answer::Totals(totals) = client.ask(Question::Totals)? else { return Err(ctl::mismatch()) };
    let Selection { range, filter, trace } = selection(args, &totals)?;
    let (format_word, from, to) = (format.to_string(), range.from.to_string(), range.to.to_string());
    let trace = trace.map(|trace| trace.to_string());
    let mut pairs = vec![("format", &*format_word), ("from", &*from), ("to", &*to), ("filter", &*filter)];
    pairs.extend(trace.iter().map(|trace| ("trace", trace.as_str())));
    let path = fuseboard::wire::query("/v1/export", pairs);
    let mut target = Target::create(&args.output, format)?;
    client.stream(&path, |piece| target.write(piece))?;
    target.finish()
}

/// Where the bytes go. A file that is not finished is removed: half of one is of no use.
struct Target {
    path: Option<PathBuf>,
    out: Option<Out>,
}

enum Out {
    Plain(Box<dyn Write>),
    Gzip(flate2::write::GzEncoder<Box<dyn Write>>),
}

impl Target {
    fn create(output: &Path, format: ExportFormat) -> Result<Self> {
        let (path, plain): (_, Box<dyn Write>) = if output.as_os_str() == "-" {
            if format == ExportFormat::Parquet && io::stdout().is_terminal() {
                bail!("Parquet is nothing to look at; write it into a file with -o FILE");
            }
            (None, Box::new(io::stdout()))
        } else {
            match File::create_new(output) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    bail!("{} exists already; choose another name", output.display())
                }
                made => {
                    let made = made.with_context(|| format!("writing {}", output.display()))?;
                    (Some(output.to_owned()), Box::new(io::BufWriter::new(made)))
                }
            }
        };
        let packed = output.extension().is_some_and(|end| end == "gz");
        let out = if packed {
            Out::Gzip(flate2::write::GzEncoder::new(plain, flate2::Compression::default()))
        } else {
            Out::Plain(plain)
        };
        Ok(Self { path, out: Some(out) })
    }

    fn write(&mut self, piece: &[u8]) -> Result<()> {
        match &mut self.out {
            Some(Out::Plain(out)) => out.write_all(piece)?,
            Some(Out::Gzip(out)) => out.write_all(piece)?,
            None => {}
        }
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        match self.out.take() {
            Some(Out::Plain(mut out)) => out.flush()?,
            Some(Out::Gzip(out)) => out.finish()?.flush()?,
            None => {}
        }
        self.path = None;
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            // That it stays when it cannot be removed is not worth a word.
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_format() {
        for (name, format) in [
            ("a.jsonl", ExportFormat::OtlpJsonl),
            ("a.b.jsonl.gz", ExportFormat::OtlpJsonl),
            ("x/a.json", ExportFormat::Jaeger),
            ("a.parquet", ExportFormat::Parquet),
        ] {
            assert_eq!(named(Path::new(name)).ok(), Some(format), "{name}");
        }
        assert!(named(Path::new("-")).is_err() && named(Path::new("a.gz")).is_err());
    }

    #[test]
    fn an_unfinished_file_does_not_stay_and_an_old_one_does() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.jsonl");
        let mut target = Target::create(&path, ExportFormat::OtlpJsonl).expect("made");
        target.write(b"x").expect("written");
        drop(target);
        assert!(!path.exists());
        Target::create(&path, ExportFormat::OtlpJsonl).expect("made").finish().expect("finished");
        assert!(Target::create(&path, ExportFormat::OtlpJsonl).is_err() && path.exists());
    }
}
