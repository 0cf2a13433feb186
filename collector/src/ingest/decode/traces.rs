//! Spans.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;

use super::Decoded;
use crate::otlp::read;
use crate::store::rows::Batch;

/// Reads a request flat. What has been decoded before (JSON, other protocols) is encoded first: there is one way in.
pub(in crate::ingest) fn traces(request: ExportTraceServiceRequest) -> Decoded {
    let bytes = request.encode_to_vec();
    drop(request);
    match read::traces(bytes.into()) {
        Ok(read::Read { tape, refused }) => {
            let bytes = tape.size();
            Decoded { batch: Batch { tapes: vec![tape], bytes, ..Batch::default() }, refused }
        }
        Err(e) => {
            // What prost has written is sound; a request that large never comes this far.
            tracing::error!("a request was lost: {e}");
            Decoded::default()
        }
    }
}
