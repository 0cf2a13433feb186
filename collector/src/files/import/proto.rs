//! OTLP in protobuf: one request, or records each after its length.
//!
//! The requests of all three signals have one shape, so what a message is, is told from its first record: spans begin and end at
//! fixed-width times in fields 7 and 8, log records have theirs in fields 1 and 11, a metric has none.

use std::io::{self, Read};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use super::detect::{ZSTD, varint};
use super::gather::Gather;
use super::input::{Meter, Stream};
use super::{Format, MAX_RECORD, json};
use crate::ingest::{Signal, Telemetry};

/// Reads one request, resource by resource.
pub(super) fn read_one(stream: Stream<'_>, gather: &mut Gather<'_>) -> Format {
    if let Err(fault) =
        Meter::new(stream, gather.most()).map_err(|e| e.to_string()).and_then(|mut meter| resources(&mut meter, gather))
    {
        gather.fault(fault);
    }
    Format::OtlpProtobuf
}

/// Every field of a request's message.
fn resources(meter: &mut Meter<'_>, gather: &mut Gather<'_>) -> Result<(), String> {
    let seen = meter.seen();
    let mut signal = None;
    while !gather.stopped() {
        seen.mark();
        let at = seen.bytes();
        let failed = |e: io::Error| format!("byte {at}: {}", cut_off(&e, "an OTLP message"));
        let Some(tag) = number(meter).map_err(failed)? else { return Ok(()) };
        match (tag >> 3, tag & 7) {
            (1, 2) => {
                let length = number(meter).map_err(failed)?.ok_or_else(|| failed(ended()))?;
                let message = take(meter, length).map_err(|e| format!("byte {at}: {e}"))?;
                signal = signal.or_else(|| signal_of(&message));
                // A resource without records brings nothing, but it must be one.
                add(signal.unwrap_or(Signal::Traces), &message, at, gather);
            }
            (_, 0) => {
                number(meter).map_err(failed)?.ok_or_else(|| failed(ended()))?;
            }
            (_, wire @ (1 | 2 | 5)) => {
                let length = match wire {
                    1 => 8,
                    5 => 4,
                    _ => number(meter).map_err(failed)?.ok_or_else(|| failed(ended()))?,
                };
                take(meter, length).map_err(|e| format!("byte {at}: {e}"))?;
            }
            _ => {
                return Err(format!(
                    "byte {at}: {tag:#x} is no tag of an OTLP message; expected resources with spans, logs or metrics"
                ));
            }
        }
    }
    Ok(())
}

fn ended() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

fn cut_off(error: &io::Error, what: &str) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => format!("the file ends inside {what}"),
        _ => format!("cannot be read further: {error}"),
    }
}

/// A number at the reader; `None` at the end of the file.
fn number(meter: &mut Meter<'_>) -> io::Result<Option<u64>> {
    let mut bytes = [0u8; 10];
    for at in 0..bytes.len() {
        let Some(byte) = bytes.get_mut(at..=at) else { break };
        if !meter.fill(byte)? {
            return if at == 0 { Ok(None) } else { Err(ended()) };
        }
        if byte.first().is_some_and(|b| b & 0x80 == 0) {
            return Ok(varint(&bytes).map(|(value, _)| value));
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "a number has more than ten bytes"))
}

/// The next `length` bytes.
fn take(meter: &mut Meter<'_>, length: u64) -> Result<Vec<u8>, String> {
    if length > MAX_RECORD {
        return Err(too_long(length));
    }
    let mut out = Vec::new();
    // Grows with what really comes, not with what the length promises.
    meter.take(length).read_to_end(&mut out).map_err(|e| cut_off(&e, "a message"))?;
    if (out.len() as u64) < length {
        return Err(format!("the file ends inside a message of {length} bytes, after {}", out.len()));
    }
    Ok(out)
}

fn too_long(length: u64) -> String {
    format!("a message of {length} bytes; at most {} MiB are read as one", MAX_RECORD >> 20)
}

/// Decodes one resource with its records.
fn add(signal: Signal, message: &[u8], at: u64, gather: &mut Gather<'_>) {
    fn one<M: Message + Default>(message: &[u8]) -> Result<Vec<M>, prost::DecodeError> {
        M::decode(message).map(|m| vec![m])
    }
    let telemetry = match signal {
        Signal::Traces => {
            one(message).map(|resource_spans| Telemetry::Traces(ExportTraceServiceRequest { resource_spans }))
        }
        Signal::Logs => one(message).map(|resource_logs| Telemetry::Logs(ExportLogsServiceRequest { resource_logs })),
        Signal::Metrics => {
            one(message).map(|resource_metrics| Telemetry::Metrics(ExportMetricsServiceRequest { resource_metrics }))
        }
    };
    match telemetry {
        Ok(telemetry) => gather.add(telemetry, message.len() as u64),
        Err(e) => gather.fault(format!("byte {at}: no OTLP {}s in protobuf: {e}", signal.record())),
    }
}

/// Reads records, each after its length in four bytes, the highest first: messages in protobuf or JSON, plain or packed.
pub(super) fn read_records(stream: Stream<'_>, gather: &mut Gather<'_>) -> Format {
    let done = Meter::new(stream, gather.most()).map_err(|e| e.to_string()).and_then(|mut meter| {
        let seen = meter.seen();
        while !gather.stopped() {
            seen.mark();
            let at = seen.bytes();
            let mut length = [0; 4];
            let more =
                meter.fill(&mut length).map_err(|e| format!("byte {at}: {}", cut_off(&e, "a record's length")))?;
            if !more {
                break;
            }
            let length = u64::from(u32::from_be_bytes(length));
            let record = take(&mut meter, length).map_err(|e| format!("byte {at}: {e}"))?;
            if let Err(e) = unpacked(record).map(|record| one_record(record, at, gather)) {
                gather.fault(format!("byte {at}: {e}"));
            }
        }
        Ok(())
    });
    if let Err(fault) = done {
        gather.fault(fault);
    }
    Format::OtlpRecords
}

fn unpacked(record: Vec<u8>) -> Result<Vec<u8>, String> {
    if !record.starts_with(&ZSTD) {
        return Ok(record);
    }
    let bad = |e: io::Error| format!("a record that begins like zstd cannot be unpacked: {e}");
    let mut out = Vec::new();
    let packed = zstd::stream::read::Decoder::new(&record[..]).map_err(bad)?;
    packed.take(MAX_RECORD + 1).read_to_end(&mut out).map_err(bad)?;
    if out.len() as u64 > MAX_RECORD { Err(too_long(out.len() as u64)) } else { Ok(out) }
}

fn one_record(record: Vec<u8>, at: u64, gather: &mut Gather<'_>) {
    if record.first() == Some(&b'{') {
        json::read(Box::new(io::Cursor::new(record)), gather);
        return;
    }
    let stream = Box::new(io::Cursor::new(record));
    let read = Meter::new(stream, gather.most())
        .map_err(|e| e.to_string())
        .and_then(|mut meter| resources(&mut meter, gather));
    if let Err(fault) = read {
        gather.fault(format!("record at byte {at}: {fault}"));
    }
}

/// One field of a message.
enum Field<'a> {
    Number,
    Fixed64,
    Fixed32,
    Bytes(&'a [u8]),
}

/// The next field of a message, its number and the rest.
fn field(message: &[u8]) -> Option<(u64, Field<'_>, &[u8])> {
    let (tag, rest) = varint(message)?;
    let (field, rest) = match tag & 7 {
        0 => (Field::Number, varint(rest)?.1),
        1 => (Field::Fixed64, rest.get(8..)?),
        5 => (Field::Fixed32, rest.get(4..)?),
        2 => {
            let (length, rest) = varint(rest)?;
            let (bytes, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            (Field::Bytes(bytes), rest)
        }
        _ => return None,
    };
    Some((tag >> 3, field, rest))
}

/// Every message in field 2.
fn second(mut message: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        while let Some((number, found, rest)) = field(message) {
            message = rest;
            if let (2, Field::Bytes(bytes)) = (number, found) {
                return Some(bytes);
            }
        }
        None
    })
}

/// What kind of records a resource has; `None` when it has none.
fn signal_of(resource: &[u8]) -> Option<Signal> {
    second(resource).flat_map(second).next().map(record_signal)
}

fn record_signal(mut record: &[u8]) -> Signal {
    let (mut trace, mut id) = (false, false);
    while let Some((number, found, rest)) = field(record) {
        record = rest;
        match (number, found) {
            (7 | 8, Field::Fixed64) | (16, Field::Fixed32) | (6, Field::Number) => return Signal::Traces,
            (1 | 11, Field::Fixed64) | (8, Field::Fixed32) | (2, Field::Number) => return Signal::Logs,
            (1, Field::Bytes(bytes)) => trace = bytes.len() == 16,
            (2, Field::Bytes(bytes)) => id = bytes.len() == 8,
            _ => {}
        }
    }
    // A span without times is refused later, by name.
    if trace && id { Signal::Traces } else { Signal::Metrics }
}
