//! Log records.

use fuseboard_api::{SpanId, TraceId};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message as _;

use super::{Decoded, nanos, reasonable};
use crate::store::rows::NewLog;

/// Decodes a request.
pub(in crate::ingest) fn logs(request: ExportLogsServiceRequest) -> Decoded {
    let mut out = Decoded::default();
    for resource in request.resource_logs {
        for scope in resource.scope_logs {
            if scope.log_records.is_empty() {
                continue;
            }
            let origin =
                out.origin(resource.resource.as_ref(), &resource.schema_url, scope.scope.as_ref(), &scope.schema_url);
            for record in scope.log_records {
                match decode(&record, origin) {
                    Ok(row) => {
                        out.batch.bytes += row.body.len() + 150;
                        out.batch.logs.push(row);
                    }
                    Err(reason) => out.refused.add(reason, &record.event_name),
                }
            }
        }
    }
    out
}

fn decode(record: &LogRecord, origin: usize) -> Result<NewLog, &'static str> {
    let time = match (record.time_unix_nano, record.observed_time_unix_nano) {
        (0, 0) => return Err("without a time"),
        (0, observed) => observed,
        (time, _) => time,
    };
    let time = nanos(time).ok_or("dated after the year 2262")?;
    if !reasonable(&record.attributes) {
        return Err("with more than 10,000 attributes, or values nested deeper than 64");
    }
    let trace_id = match record.trace_id.len() {
        0 | 16 => TraceId::from_slice(&record.trace_id),
        _ => return Err("whose trace id is not 16 bytes"),
    };
    let span_id = match record.span_id.len() {
        0 | 8 => SpanId::from_slice(&record.span_id),
        _ => return Err("whose span id is not 8 bytes"),
    };
    let severity = u8::try_from(record.severity_number).unwrap_or(0).min(24);
    Ok(NewLog { origin, time, severity, trace_id, span_id, body: record.encode_to_vec() })
}
