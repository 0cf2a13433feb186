//! A log record cut up: what has a column, the text of its body, and the rest as OTLP has it.

use fuseboard_api::{SpanId, TraceId};
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::{DecodeError, Message as _};

/// A log record in parts; put together again it is what was sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogParts {
    /// When it happened, Unix nanoseconds; when it was observed, where the event's own time was not sent.
    pub time: i64,
    /// Whether the event's own time was sent.
    pub timed: bool,
    /// When it was observed, Unix nanoseconds; `None` when not sent.
    pub observed: Option<u64>,
    /// Severity number, 0 to 24.
    pub severity: u8,
    /// Its trace and span; all zeros for none.
    pub context: ([u8; 16], [u8; 8]),
    /// The body, where it is a text.
    pub text: Option<String>,
    /// OTLP's `LogRecord` without all that, encoded.
    pub rest: Vec<u8>,
}

impl LogParts {
    /// Cuts a record up. `time` is the instant that it stands at.
    #[must_use]
    pub fn of(mut record: LogRecord, time: i64) -> Self {
        let timed = std::mem::take(&mut record.time_unix_nano) != 0;
        let observed = Some(std::mem::take(&mut record.observed_time_unix_nano)).filter(|t| *t != 0);
        let severity = u8::try_from(record.severity_number).unwrap_or(0).min(24);
        // A number beyond OTLP's stays where it was.
        if i32::from(severity) == record.severity_number {
            record.severity_number = 0;
        }
        let mut context = ([0; 16], [0; 8]);
        if let Some(trace) = TraceId::from_slice(&record.trace_id) {
            context.0 = trace.0;
            record.trace_id.clear();
        }
        if let Some(span) = SpanId::from_slice(&record.span_id) {
            context.1 = span.0;
            record.span_id.clear();
        }
        let text = match &mut record.body {
            Some(AnyValue { value: Some(Value::StringValue(text)) }) => {
                let text = std::mem::take(text);
                record.body = None;
                Some(text)
            }
            _ => None,
        };
        Self { time, timed, observed, severity, context, text, rest: record.encode_to_vec() }
    }

    /// About how many bytes it holds.
    #[must_use]
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.rest.len() + self.text.as_ref().map_or(0, String::len)
    }
}

/// A record where it lies: in a request or in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) time: i64,
    pub(crate) timed: bool,
    pub(crate) observed: Option<u64>,
    pub(crate) severity: u8,
    /// Number of its sender.
    pub(crate) origin: i64,
    /// Stamp of its commit.
    pub(crate) arrival: i64,
    pub(crate) context: ([u8; 16], [u8; 8]),
    pub(crate) text: Option<&'a [u8]>,
    pub(crate) rest: &'a [u8],
}

impl<'a> Entry<'a> {
    pub(crate) fn of(parts: &'a LogParts, origin: i64, arrival: i64) -> Self {
        Self {
            time: parts.time,
            timed: parts.timed,
            observed: parts.observed,
            severity: parts.severity,
            origin,
            arrival,
            context: parts.context,
            text: parts.text.as_ref().map(|t| t.as_bytes()),
            rest: &parts.rest,
        }
    }

    /// The record as it was sent.
    pub(crate) fn whole(&self) -> Result<LogRecord, DecodeError> {
        let mut record = LogRecord::decode(self.rest)?;
        if self.timed {
            record.time_unix_nano = self.time as u64;
        }
        record.observed_time_unix_nano = self.observed.unwrap_or(0);
        if record.severity_number == 0 {
            record.severity_number = i32::from(self.severity);
        }
        let (trace, span) = self.context;
        if trace != [0; 16] {
            record.trace_id = trace.to_vec();
        }
        if span != [0; 8] {
            record.span_id = span.to_vec();
        }
        if let Some(text) = self.text {
            let value = Some(Value::StringValue(String::from_utf8_lossy(text).into_owned()));
            record.body = Some(AnyValue { value });
        }
        Ok(record)
    }

    /// What tells a record from every other one: a hash over its sender and everything that was sent, its arrival not.
    pub(crate) fn identity(&self) -> u64 {
        let mut bytes = Vec::with_capacity(64 + self.rest.len() + self.text.map_or(0, <[u8]>::len));
        bytes.extend_from_slice(&self.origin.to_le_bytes());
        bytes.extend_from_slice(&self.time.to_le_bytes());
        bytes.extend_from_slice(&[u8::from(self.timed), u8::from(self.observed.is_some()), self.severity]);
        bytes.extend_from_slice(&self.observed.unwrap_or(0).to_le_bytes());
        bytes.extend_from_slice(&self.context.0);
        bytes.extend_from_slice(&self.context.1);
        // The text's length parts it from the rest; no text has that of none.
        let length = self.text.map_or(u64::MAX, |t| t.len() as u64);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(self.text.unwrap_or_default());
        bytes.extend_from_slice(self.rest);
        twox_hash::XxHash3_64::oneshot(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::{ArrayValue, KeyValue};

    use super::*;

    #[test]
    fn a_record_comes_out_as_it_went_in() {
        let text = |s: &str| Some(AnyValue { value: Some(Value::StringValue(s.to_owned())) });
        let attribute = KeyValue { key: "k".into(), value: text("v"), key_strindex: 0 };
        let full = LogRecord {
            time_unix_nano: 7,
            observed_time_unix_nano: u64::MAX,
            severity_number: 17,
            severity_text: "ERROR".into(),
            body: text("it broke: ü"),
            attributes: vec![attribute.clone(), attribute],
            dropped_attributes_count: 3,
            flags: 1,
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            event_name: "broken".into(),
        };
        let list = ArrayValue { values: vec![AnyValue { value: Some(Value::BytesValue(vec![0, 255])) }] };
        let cases = [
            full.clone(),
            LogRecord { time_unix_nano: 0, observed_time_unix_nano: 7, ..full.clone() },
            LogRecord { severity_number: -5, trace_id: vec![0; 16], span_id: Vec::new(), ..full.clone() },
            LogRecord { severity_number: 99, trace_id: Vec::new(), body: None, ..full.clone() },
            LogRecord { body: text(""), ..full.clone() },
            LogRecord { body: Some(AnyValue { value: None }), ..full.clone() },
            LogRecord { body: Some(AnyValue { value: Some(Value::ArrayValue(list)) }), ..full },
        ];
        for record in cases {
            let parts = LogParts::of(record.clone(), 7);
            let entry = Entry::of(&parts, 1, 2);
            assert_eq!(entry.whole().expect("whole"), record);
            assert_eq!(entry.identity(), Entry::of(&parts, 1, 3).identity(), "whenever it came");
            assert_ne!(entry.identity(), Entry::of(&parts, 4, 2).identity(), "but not from another sender");
        }
    }
}
