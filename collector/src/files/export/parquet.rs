//! Spans as a Parquet file: one row a span, for DuckDB, pandas, Spark and their like.
//!
//! Attributes stand there twice: as a map of texts, which every engine can ask, and as JSON, which keeps their types.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;
use arrow_array::builder::{
    Int64Builder, MapBuilder, MapFieldNames, StringBuilder, TimestampNanosecondBuilder, UInt32Builder,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use fuseboard_api::attr::Attributes;
use fuseboard_api::span::Span;

use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use crate::files::words::{events, kind, links, object, status};

/// Rows of a row group at most.
const GROUP_ROWS: usize = 100_000;
/// Bytes of a row group that is being written, at most: what a writer holds in memory.
const GROUP_BYTES: usize = 32 * 1024 * 1024;

/// Bytes that two hold: the writer of the file, and who takes them on.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Writes spans into a Parquet file, piece by piece.
pub struct ParquetWriter {
    bytes: Shared,
    writer: ArrowWriter<Shared>,
    schema: SchemaRef,
}

impl std::fmt::Debug for ParquetWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetWriter").finish_non_exhaustive()
    }
}

impl ParquetWriter {
    /// Begins a file.
    ///
    /// # Errors
    /// What the format's writer says.
    pub fn new() -> Result<Self, ParquetError> {
        let schema = schema();
        let bytes = Shared::default();
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_created_by(format!("fuseboard {}", env!("CARGO_PKG_VERSION")))
            .build();
        let writer = ArrowWriter::try_new(bytes.clone(), schema.clone(), Some(properties))?;
        Ok(Self { bytes, writer, schema })
    }

    /// Adds spans; gives the bytes that are complete.
    ///
    /// # Errors
    /// What the format's writer says.
    pub fn write(&mut self, spans: &[Span]) -> Result<Vec<u8>, ParquetError> {
        self.writer.write(&batch(&self.schema, spans)?)?;
        if self.writer.in_progress_size() > GROUP_BYTES {
            self.writer.flush()?;
        }
        Ok(self.bytes.take())
    }

    /// Ends the file; gives the last of its bytes.
    ///
    /// # Errors
    /// What the format's writer says.
    pub fn finish(mut self) -> Result<Vec<u8>, ParquetError> {
        self.writer.finish()?;
        Ok(self.bytes.take())
    }
}

fn names() -> MapFieldNames {
    MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() }
}

fn schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let maybe = |name: &str| Field::new(name, DataType::Utf8, true);
    let instant = |name: &str| Field::new(name, DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())), false);
    let count = |name: &str| Field::new(name, DataType::UInt32, false);
    let map = |name: &str| {
        let entries = vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)];
        let entry = Field::new("key_value", DataType::Struct(entries.into()), false);
        Field::new(name, DataType::Map(Arc::new(entry), false), false)
    };
    Arc::new(Schema::new(vec![
        text("trace_id"),
        text("span_id"),
        maybe("parent_span_id"),
        text("service"),
        text("instance"),
        text("version"),
        text("name"),
        text("kind"),
        text("status"),
        text("status_message"),
        instant("start"),
        instant("end"),
        Field::new("duration_ns", DataType::Int64, false),
        map("attributes"),
        text("attributes_json"),
        map("resource"),
        text("resource_json"),
        text("scope"),
        text("scope_version"),
        text("scope_attributes_json"),
        text("events_json"),
        text("links_json"),
        text("trace_state"),
        count("flags"),
        count("dropped_attributes"),
        count("dropped_events"),
        count("dropped_links"),
        text("resource_schema_url"),
        text("scope_schema_url"),
        instant("arrival"),
    ]))
}

fn batch(schema: &SchemaRef, spans: &[Span]) -> Result<RecordBatch, ParquetError> {
    let columns: Vec<arrow_array::ArrayRef> = vec![
        texts(spans, |s| s.trace_id.to_string()),
        texts(spans, |s| s.span_id.to_string()),
        Arc::new(spans.iter().map(|s| s.parent.map(|p| p.to_string())).collect::<arrow_array::StringArray>()),
        texts(spans, |s| &s.origin.service),
        texts(spans, |s| &s.origin.instance),
        texts(spans, |s| &s.origin.version),
        texts(spans, |s| &s.name),
        texts(spans, |s| kind(s.kind)),
        texts(spans, |s| status(s.status)),
        texts(spans, |s| &s.status_message),
        instants(spans, |s| s.start.0),
        instants(spans, |s| s.end.0),
        durations(spans),
        map(spans, |s| &s.attributes)?,
        texts(spans, |s| object(&s.attributes).to_string()),
        map(spans, |s| &s.origin.resource)?,
        texts(spans, |s| object(&s.origin.resource).to_string()),
        texts(spans, |s| &s.origin.scope),
        texts(spans, |s| &s.origin.scope_version),
        texts(spans, |s| object(&s.origin.scope_attributes).to_string()),
        texts(spans, |s| events(&s.events).to_string()),
        texts(spans, |s| links(&s.links).to_string()),
        texts(spans, |s| &s.trace_state),
        counts(spans, |s| s.flags),
        counts(spans, |s| s.dropped_attributes),
        counts(spans, |s| s.dropped_events),
        counts(spans, |s| s.dropped_links),
        texts(spans, |s| &s.origin.resource_schema_url),
        texts(spans, |s| &s.origin.scope_schema_url),
        instants(spans, |s| s.arrival.0),
    ];
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}

fn texts<'s, T: AsRef<str>>(spans: &'s [Span], text: impl Fn(&'s Span) -> T) -> arrow_array::ArrayRef {
    let mut out = StringBuilder::new();
    spans.iter().for_each(|s| out.append_value(text(s)));
    Arc::new(out.finish())
}

fn instants(spans: &[Span], at: impl Fn(&Span) -> i64) -> arrow_array::ArrayRef {
    let mut out = TimestampNanosecondBuilder::with_capacity(spans.len());
    spans.iter().for_each(|s| out.append_value(at(s)));
    Arc::new(out.finish().with_timezone("UTC"))
}

fn durations(spans: &[Span]) -> arrow_array::ArrayRef {
    let mut out = Int64Builder::with_capacity(spans.len());
    spans.iter().for_each(|s| out.append_value(s.end.0.saturating_sub(s.start.0)));
    Arc::new(out.finish())
}

fn counts(spans: &[Span], count: impl Fn(&Span) -> u32) -> arrow_array::ArrayRef {
    let mut out = UInt32Builder::with_capacity(spans.len());
    spans.iter().for_each(|s| out.append_value(count(s)));
    Arc::new(out.finish())
}

/// Attributes as texts. A key that was sent twice has its last value: a map has every key once.
fn map<'s>(
    spans: &'s [Span],
    list: impl Fn(&'s Span) -> &'s Attributes,
) -> Result<arrow_array::ArrayRef, ParquetError> {
    let mut out = MapBuilder::new(Some(names()), StringBuilder::new(), StringBuilder::new());
    for span in spans {
        let list = list(span);
        for (i, (key, value)) in list.iter().enumerate() {
            if list.iter().skip(i + 1).all(|(later, _)| later != key) {
                out.keys().append_value(key);
                out.values().append_value(value.to_string());
            }
        }
        out.append(true)?;
    }
    Ok(Arc::new(out.finish()))
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray as _;
    use arrow_array::types::TimestampNanosecondType;
    use fuseboard_api::attr::AttrValue;
    use fuseboard_api::{SpanId, TraceId, UnixNanos};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use fuseboard_api::span::{SpanKind, StatusCode};

    use super::*;

    fn span(n: u8) -> Span {
        Span {
            trace_id: TraceId([n; 16]),
            span_id: SpanId([n; 8]),
            parent: (n > 1).then_some(SpanId([1; 8])),
            name: format!("span {n}"),
            kind: SpanKind::Server,
            start: UnixNanos(1_600_000_000_000_000_000 + i64::from(n)),
            end: UnixNanos(1_600_000_000_000_001_000),
            status: StatusCode::Error,
            attributes: vec![
                ("n".into(), AttrValue::Int(n.into())),
                ("twice".into(), "a".into()),
                ("twice".into(), "b".into()),
            ],
            ..Span::default()
        }
    }

    #[test]
    fn a_file_written_in_pieces_reads_back_whole() {
        let mut writer = ParquetWriter::new().expect("a writer");
        let mut file = Vec::new();
        for n in [1u8, 100] {
            let spans: Vec<Span> = (n..n + 50).map(span).collect();
            file.extend(writer.write(&spans).expect("written"));
        }
        file.extend(writer.finish().expect("finished"));
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(file)).expect("Parquet");
        assert_eq!(reader.schema().fields(), schema().fields());
        let batches: Vec<RecordBatch> = reader.build().expect("a reader").map(|b| b.expect("a batch")).collect();
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 100);
        let first = &batches[0];
        let text = |name: &str, row| first.column_by_name(name).expect(name).as_string::<i32>().value(row).to_owned();
        assert_eq!(text("trace_id", 1), "02".repeat(16));
        assert_eq!(
            (text("name", 0), text("kind", 0), text("status", 0)),
            ("span 1".into(), "server".into(), "error".into())
        );
        assert_eq!(text("attributes_json", 2), "{\"n\":3,\"twice\":\"b\"}");
        assert!(first.column_by_name("parent_span_id").expect("parents").is_null(0));
        let starts = first.column_by_name("start").expect("starts").as_primitive::<TimestampNanosecondType>();
        assert_eq!((starts.value(4), starts.timezone()), (1_600_000_000_000_000_005, Some("UTC")));
        let attributes = first.column_by_name("attributes").expect("attributes").as_map().value(0);
        let (keys, values) = (attributes.column(0).as_string::<i32>(), attributes.column(1).as_string::<i32>());
        let pairs: Vec<_> = keys.iter().zip(values).map(|(k, v)| (k.expect("a key"), v.expect("a value"))).collect();
        assert_eq!(pairs, [("n", "1"), ("twice", "b")]);
    }
}
