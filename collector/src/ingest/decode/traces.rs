//! Spans.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;

use super::Decoded;
use crate::otlp::Refused;
use crate::otlp::read::{self, Malformed, Read};
use crate::store::rows::Batch;

/// Reads a request as it came.
pub(in crate::ingest) fn encoded_traces(bytes: Bytes) -> Result<Decoded, Malformed> {
    let Read { tape, refused } = read::traces(bytes)?;
    let bytes = tape.size();
    Ok(Decoded { batch: Batch { tapes: vec![tape], bytes, ..Batch::default() }, refused })
}

/// The same for a request that was put together from something else (JSON, another protocol): there is one way in.
pub(in crate::ingest) fn traces(request: ExportTraceServiceRequest) -> Decoded {
    let spans = request.resource_spans.iter().flat_map(|r| &r.scope_spans).map(|s| s.spans.len()).sum();
    let bytes = request.encode_to_vec();
    drop(request);
    encoded_traces(bytes.into()).unwrap_or_else(|_| {
        // What is written so is sound, but for values that lie in each other deeper than the wire may have them.
        let mut refused = Refused::default();
        (0..spans).for_each(|_| refused.add("in a request whose values are nested too deep", ""));
        Decoded { refused, ..Decoded::default() }
    })
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

    use super::*;

    fn request(depth: usize) -> ExportTraceServiceRequest {
        let mut value = AnyValue { value: Some(Value::BoolValue(true)) };
        for _ in 0..depth {
            value = AnyValue { value: Some(Value::ArrayValue(ArrayValue { values: vec![value] })) };
        }
        let span = Span {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            start_time_unix_nano: 1,
            end_time_unix_nano: 2,
            attributes: vec![KeyValue { key: "deep".into(), value: Some(value), key_strindex: 0 }],
            ..Span::default()
        };
        let scope = ScopeSpans { spans: vec![span; 2], ..ScopeSpans::default() };
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() }],
        }
    }

    #[test]
    fn what_cannot_be_sent_on_is_refused_by_name() {
        let decoded = traces(request(40));
        assert_eq!((decoded.batch.tapes[0].spans.len(), decoded.refused.count()), (2, 0));
        assert!(decoded.batch.bytes > 200);
        let decoded = traces(request(60));
        assert!(decoded.batch.is_empty());
        assert_eq!(
            decoded.refused.sentence("span"),
            "2 spans refused: 2 in a request whose values are nested too deep; the first is \"\""
        );
        assert!(encoded_traces(request(60).encode_to_vec().into()).is_err(), "as a request it is no OTLP at all");
    }
}
