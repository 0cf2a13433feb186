//! What is stored, written into files that other tools read: OTLP as JSON lines, Jaeger's JSON, Parquet.
//!
//! An export reads one snapshot of the store from its begin to its end, and holds one piece of it in memory at a time.

pub mod otlp;
pub mod parquet;
mod sink;
mod source;

use std::fmt;
use std::str::FromStr;

use ::parquet::errors::ParquetError;
use bytes::Bytes;
use fuseboard_api::filter::{self, Mistake};
use fuseboard_api::{TimeRange, TraceId, UnixNanos};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use self::parquet::ParquetWriter;
use self::sink::Sink;
use self::source::Senders;
use super::jaeger;
use crate::ingest::Telemetry;
use crate::query::{self, Origins};
use crate::store::{Snapshot, Store, StoreError};

/// What an export writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// OTLP in JSON, one request a line: every field of spans, log records and metric points.
    OtlpJsonl,
    /// Traces in Jaeger's JSON, as its page reads them.
    Jaeger,
    /// Spans in Parquet, one row each.
    Parquet,
}

impl ExportFormat {
    /// All of them, by their names.
    pub const NAMES: [(&'static str, Self); 3] =
        [("otlp-jsonl", Self::OtlpJsonl), ("jaeger", Self::Jaeger), ("parquet", Self::Parquet)];

    /// The media type of what is written.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::OtlpJsonl => "application/jsonl",
            Self::Jaeger => "application/json",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }
}

impl fmt::Display for ExportFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::NAMES.iter().find(|(_, format)| format == self).map_or("", |(name, _)| name))
    }
}

impl FromStr for ExportFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::NAMES.iter().find(|(name, _)| *name == text);
        named
            .map(|(_, format)| *format)
            .ok_or_else(|| format!("{text:?} is no format of an export; there are otlp-jsonl, jaeger and parquet"))
    }
}

/// What is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    /// Spans that started, logs and points dated inside.
    pub range: TimeRange,
    /// Only traces with a span like this, in the language of [`fuseboard_api::filter`], whole; empty for any.
    pub filter: String,
    /// Only this trace.
    pub trace: Option<TraceId>,
}

impl Default for Selection {
    /// Everything.
    fn default() -> Self {
        let range = TimeRange { from: UnixNanos(0), to: UnixNanos(i64::MAX) };
        Self { range, filter: String::new(), trace: None }
    }
}

impl Selection {
    /// Whether single traces are wanted rather than all that a range holds.
    fn picks(&self) -> bool {
        self.trace.is_some() || !self.filter.trim().is_empty()
    }
}

/// Why an export ended early.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// What the store says.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The filter makes no sense.
    #[error("the filter: {0}")]
    Filter(#[from] Mistake),
    /// The format's writer would not.
    #[error("the Parquet file could not be written: {0}")]
    Parquet(#[from] ParquetError),
    /// Nobody took what was written.
    #[error("the export was given up: nobody took it for a minute")]
    GivenUp,
}

/// Begins an export; its bytes come piece by piece, and after an error nothing more.
///
/// # Errors
/// When the filter makes no sense.
pub fn export(
    store: &Store,
    selection: Selection,
    format: ExportFormat,
) -> Result<mpsc::Receiver<Result<Bytes, ExportError>>, Mistake> {
    filter::parse(&selection.filter)?;
    let (send, receive) = mpsc::channel(sink::WAITING);
    let (store, handle) = (store.clone(), Handle::current());
    tokio::spawn(async move {
        let as_of = store.as_of_now();
        let sink = Sink::new(send.clone(), handle);
        let work = move |snapshot: &Snapshot<'_>| {
            Work { snapshot, selection, as_of, sink, senders: Senders::default() }.run(format)
        };
        if let Err(error) = store.read(work).await {
            // Who has gone away needs no reason.
            let _ = send.send(Err(error)).await;
        }
    });
    Ok(receive)
}

/// Spans, log records or points of a line, at most.
const LINE: usize = 1_000;

/// One export under way.
struct Work<'s> {
    snapshot: &'s Snapshot<'s>,
    selection: Selection,
    as_of: UnixNanos,
    sink: Sink,
    senders: Senders,
}

impl Work<'_> {
    fn run(mut self, format: ExportFormat) -> Result<(), ExportError> {
        match format {
            ExportFormat::OtlpJsonl => self.otlp()?,
            ExportFormat::Jaeger => self.jaeger()?,
            ExportFormat::Parquet => self.parquet()?,
        }
        self.sink.flush()
    }

    /// The rows of every wanted span: all of a range, or those of the wanted traces.
    fn rows(
        &mut self,
        mut visit: impl FnMut(&mut Self, source::Rows) -> Result<(), ExportError>,
    ) -> Result<(), ExportError> {
        let (snapshot, as_of, selection) = (self.snapshot, self.as_of, self.selection.clone());
        if !selection.picks() {
            return source::spans(snapshot, selection.range, as_of, |rows| visit(self, rows));
        }
        source::traces(snapshot, &selection, as_of, |trace| {
            let parts = crate::store::segment::Parts::all();
            snapshot.trace(trace, as_of, &parts)?.into_iter().try_for_each(|rows| visit(self, rows))
        })
    }

    fn otlp(&mut self) -> Result<(), ExportError> {
        self.rows(|work, (columns, rows)| {
            rows.chunks(LINE).try_for_each(|rows| {
                let request = source::request(work.snapshot, &mut work.senders, &columns, rows)?;
                work.line(&Telemetry::Traces(request))
            })
        })?;
        let (snapshot, as_of, selection) = (self.snapshot, self.as_of, self.selection.clone());
        let range = selection.range;
        if selection.picks() {
            let ever = Selection::default().range;
            return source::traces(snapshot, &selection, as_of, |trace| self.logs(ever, Some(trace)));
        }
        self.logs(range, None)?;
        self.handed(|work, failed| {
            query::export::metrics(snapshot, range, as_of, |resource| {
                let request = ExportMetricsServiceRequest { resource_metrics: vec![resource] };
                work.handed_line(&Telemetry::Metrics(request), failed)
            })
        })
    }

    /// Log records of a range, or of a trace.
    fn logs(&mut self, range: TimeRange, trace: Option<TraceId>) -> Result<(), ExportError> {
        let (snapshot, as_of) = (self.snapshot, self.as_of);
        self.handed(|work, failed| {
            query::export::logs(snapshot, range, trace, as_of, |resource| {
                let request = ExportLogsServiceRequest { resource_logs: vec![resource] };
                work.handed_line(&Telemetry::Logs(request), failed)
            })
        })
    }

    /// Runs a reading whose visitor knows only the store's errors: ours finds its way around it.
    fn handed(
        &mut self,
        read: impl FnOnce(&mut Self, &mut Option<ExportError>) -> Result<(), StoreError>,
    ) -> Result<(), ExportError> {
        let mut failed = None;
        let done = read(self, &mut failed);
        match failed {
            Some(error) => Err(error),
            None => Ok(done?),
        }
    }

    fn handed_line(&mut self, telemetry: &Telemetry, failed: &mut Option<ExportError>) -> Result<(), StoreError> {
        self.line(telemetry).map_err(|error| {
            *failed = Some(error);
            StoreError::Closed
        })
    }

    fn line(&mut self, telemetry: &Telemetry) -> Result<(), ExportError> {
        otlp::line(telemetry, &mut self.sink.buffer);
        self.sink.pass()
    }

    fn jaeger(&mut self) -> Result<(), ExportError> {
        let (snapshot, as_of, selection) = (self.snapshot, self.as_of, self.selection.clone());
        self.sink.buffer.extend_from_slice(b"{\"data\":[");
        let (mut first, mut origins) = (true, Origins::default());
        source::traces(snapshot, &selection, as_of, |trace| {
            let spans = query::spans_of(snapshot, trace, as_of, &mut origins)?;
            if spans.is_empty() {
                return Ok(());
            }
            if !std::mem::take(&mut first) {
                self.sink.buffer.extend_from_slice(b",\n");
            }
            // Writing to memory does not fail.
            let _ = serde_json::to_writer(&mut self.sink.buffer, &jaeger::to_json(trace, &spans));
            self.sink.pass()
        })?;
        self.sink.buffer.extend_from_slice(b"],\"total\":0,\"limit\":0,\"offset\":0,\"errors\":null}\n");
        Ok(())
    }

    fn parquet(&mut self) -> Result<(), ExportError> {
        let mut writer = ParquetWriter::new()?;
        let mut origins = Origins::default();
        self.rows(|work, (columns, rows)| {
            rows.chunks(LINE).try_for_each(|rows| {
                let mut spans = Vec::with_capacity(rows.len());
                for row in rows {
                    spans.push(columns.span(*row, origins.get(work.snapshot, columns.origin(*row))?));
                }
                work.sink.buffer.extend(writer.write(&spans)?);
                work.sink.pass()
            })
        })?;
        self.sink.buffer.extend(writer.finish()?);
        Ok(())
    }
}
