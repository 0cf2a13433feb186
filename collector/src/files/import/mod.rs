//! Telemetry out of files. What a file is, is told from its content, never from its name: OTLP as JSON, JSON lines or
//! protobuf, the length-prefixed records of the OpenTelemetry Collector's file exporter, Jaeger's JSON, Zipkin's JSON, and each
//! of them packed with gzip or zstd.
//!
//! Files may be larger than memory: they are read record by record, and a single record may have [`MAX_RECORD`] bytes. What
//! makes no sense is left out and told with its place; the rest is read.

mod detect;
mod gather;
mod input;
mod into;
mod jaeger;
mod json;
mod proto;

use std::fmt;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;

use serde::Serialize;

use self::detect::Shape;
use self::gather::Gather;
pub use self::into::{ImportError, Imported, import};
use crate::ingest::Telemetry;

/// The longest single record of a file, in bytes after unpacking: a JSON line's or list's element, or a protobuf message.
pub const MAX_RECORD: u64 = 64 * 1024 * 1024;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// A SQLite file of ours.
    Fuseboard,
    /// OTLP in JSON: one document, or one a line.
    OtlpJson,
    /// One OTLP request in protobuf.
    OtlpProtobuf,
    /// Records with their length in front, as the OpenTelemetry Collector's file exporter writes protobuf and packed JSON.
    OtlpRecords,
    /// What Jaeger's page and API give.
    Jaeger,
    /// Zipkin v2.
    Zipkin,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fuseboard => "Fuseboard file",
            Self::OtlpJson => "OTLP JSON",
            Self::OtlpProtobuf => "OTLP protobuf",
            Self::OtlpRecords => "OTLP records",
            Self::Jaeger => "Jaeger JSON",
            Self::Zipkin => "Zipkin JSON",
        })
    }
}

/// How a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Packing {
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl fmt::Display for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

/// Records of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Spans.
    pub spans: u64,
    /// Log records.
    pub logs: u64,
    /// Metric points.
    pub points: u64,
}

impl Counts {
    /// All of them.
    #[must_use]
    pub fn all(self) -> u64 {
        self.spans + self.logs + self.points
    }
}

/// Places that made no sense.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Faults {
    /// How many.
    pub count: u64,
    /// The first of them, in sentences that begin with the place.
    pub first: Vec<String>,
}

/// Sentences kept of a file's faults.
const KEPT_FAULTS: usize = 3;

impl Faults {
    pub(super) fn add(&mut self, sentence: impl Into<String>) {
        self.count += 1;
        if self.first.len() < KEPT_FAULTS {
            self.first.push(sentence.into());
        }
    }
}

/// What a file held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    /// What it is.
    pub format: Format,
    /// How it is packed.
    pub packing: Option<Packing>,
    /// What was read.
    pub read: Counts,
    /// What could not be read.
    pub faults: Faults,
}

/// What telemetry can be read from, for sentences.
const EXPECTED: &str = "OTLP (JSON, JSON lines or protobuf), Jaeger JSON, Zipkin v2 JSON, each plain or packed with gzip or zstd, or a \
                        Fuseboard file";

/// Why nothing could be read from a file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system would not give it to us.
    #[error("{name} cannot be read: {cause}")]
    Io {
        /// Which file.
        name: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// Nothing is in it.
    #[error("{name} is empty; expected {EXPECTED}")]
    Empty {
        /// Which file.
        name: String,
    },
    /// Its content is of no known kind.
    #[error("{name} holds no telemetry that is known: {found}; expected {EXPECTED}")]
    Unknown {
        /// Which file.
        name: String,
        /// What it seems to be.
        found: String,
    },
    /// It is of a known kind, and nothing of it makes sense.
    #[error("{name}: {fault}{}", more(*.others))]
    Malformed {
        /// Which file.
        name: String,
        /// The first fault, with its place.
        fault: String,
        /// How many more there are.
        others: u64,
    },
    /// A Fuseboard file where telemetry was expected.
    #[error("{name} is a SQLite database{packed}; {hint}")]
    Database {
        /// Which file.
        name: String,
        /// ` packed with gzip`, or empty.
        packed: String,
        /// What to do.
        hint: &'static str,
    },
}

fn more(others: u64) -> String {
    if others == 0 { String::new() } else { format!(" (and {others} more places)") }
}

/// Reads everything that `input` holds and hands it on in requests of moderate size, until `sink` has enough.
/// `name` is how errors call it.
///
/// # Errors
/// When nothing could be read; single faults are told in what is [found](Found::faults).
pub fn read<'a>(
    name: &str,
    input: impl Read + 'a,
    sink: &'a mut dyn FnMut(Telemetry) -> ControlFlow<()>,
) -> Result<Found, FileError> {
    read_limited(name, input, sink, MAX_RECORD)
}

fn read_limited<'a>(
    name: &str,
    input: impl Read + 'a,
    sink: &'a mut dyn FnMut(Telemetry) -> ControlFlow<()>,
    most: u64,
) -> Result<Found, FileError> {
    let named = |cause| FileError::Io { name: name.to_owned(), cause };
    let opened = input::open(Box::new(input)).map_err(named)?;
    let packing = opened.packing;
    let mut gather = Gather::new(sink, most);
    let format = match detect::shape(&opened.head) {
        Shape::Json => json::read(opened.stream, &mut gather),
        Shape::Protobuf => proto::read_one(opened.stream, &mut gather),
        Shape::Records => proto::read_records(opened.stream, &mut gather),
        Shape::Empty => return Err(FileError::Empty { name: name.to_owned() }),
        Shape::Unknown(found) => return Err(FileError::Unknown { name: name.to_owned(), found }),
        Shape::Database => {
            let hint = if packing.is_some() { "unpack it first" } else { "give its path to `fuseboard open`" };
            let packed = packing.map(|p| format!(" packed with {p}")).unwrap_or_default();
            return Err(FileError::Database { name: name.to_owned(), packed, hint });
        }
    };
    let (read, faults) = gather.finish();
    if read.all() == 0
        && let Some(fault) = faults.first.first()
    {
        return Err(FileError::Malformed { name: name.to_owned(), fault: fault.clone(), others: faults.count - 1 });
    }
    Ok(Found { format, packing, read, faults })
}

/// Whether a file is a SQLite database, as Fuseboard's own files are.
///
/// # Errors
/// When it cannot be read.
pub fn is_database(path: &Path) -> Result<bool, FileError> {
    let named = |cause| FileError::Io { name: path.display().to_string(), cause };
    let file = std::fs::File::open(path).map_err(named)?;
    if file.metadata().map_err(named)?.is_dir() {
        return Err(named(std::io::Error::from(std::io::ErrorKind::IsADirectory)));
    }
    let (head, _) = input::peek(Box::new(file)).map_err(named)?;
    Ok(matches!(detect::shape(&head), Shape::Database))
}

#[cfg(test)]
mod tests;
