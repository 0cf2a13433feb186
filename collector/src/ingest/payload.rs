//! What a body is: OTLP's three signals in two encodings, and Zipkin's spans.

use bytes::Bytes;

use super::body::Whole;
use super::decode::Decoded;
use super::fault::Fault;
use super::packing::Packing;
use super::{Door, Partial, Signal, json, scope};
use crate::files::zipkin;
use crate::identity::Caller;

/// Packed bodies larger than this are unpacked and decoded where that holds up nobody else.
const LARGE_PACKED: usize = 16 * 1024;
/// The same for plain ones.
const LARGE: usize = 256 * 1024;

/// How a request is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// OTLP in protobuf.
    Protobuf,
    /// OTLP in JSON.
    Json,
    /// Zipkin v2 in JSON.
    Zipkin,
    /// Zipkin v2 in protobuf.
    ZipkinProtobuf,
}

/// About how many bytes a body takes while it is decoded, its own among them. In JSON every value becomes a node of a tree,
/// however few letters it has.
fn weight(encoding: Encoding, body: &[u8]) -> usize {
    const NODE: usize = 64;
    match encoding {
        Encoding::Json => body.len() + NODE * body.iter().filter(|b| matches!(b, b',' | b'[' | b'{')).count(),
        Encoding::Protobuf | Encoding::Zipkin | Encoding::ZipkinProtobuf => body.len().saturating_mul(4),
    }
}

impl Door {
    /// Unpacks, decodes and stores what is the sender's own of a request.
    pub(super) async fn export(
        &self,
        signal: Signal,
        encoding: Encoding,
        packing: Packing,
        body: Whole,
        sender: Caller,
    ) -> Result<Partial, Fault> {
        let outcome = self.try_export(signal, encoding, packing, body, sender).await;
        if outcome.as_ref().is_err_and(Fault::may_pass) {
            self.vitals.count_refused_request();
        }
        outcome
    }

    async fn try_export(
        &self,
        signal: Signal,
        encoding: Encoding,
        packing: Packing,
        body: Whole,
        sender: Caller,
    ) -> Result<Partial, Fault> {
        let large = match packing {
            Packing::Plain => LARGE,
            _ => LARGE_PACKED,
        };
        let door = self.clone();
        let size = body.bytes.len();
        let work = move || {
            let Whole { bytes, mut room } = body;
            let bytes = packing.undo(bytes, door.limits.request, &mut room)?;
            room.take_to_decode(weight(encoding, &bytes))?;
            // The room is free again when this returns: what was decoded waits in the store's own.
            let mut decoded = decode(&door, signal, encoding, bytes)?;
            scope::keep_own(&mut decoded, &sender);
            Ok::<Decoded, Fault>(decoded)
        };
        let decoded = if size > large {
            tokio::task::spawn_blocking(work).await.map_err(|_| Fault::Failed("the body could not be decoded"))??
        } else {
            work()?
        };
        Ok(self.take(signal, decoded).await?)
    }
}

fn decode(door: &Door, signal: Signal, encoding: Encoding, body: Bytes) -> Result<Decoded, Fault> {
    let broken = |e: prost::DecodeError| Fault::Bad(format!("the body is not an OTLP request in protobuf: {e}"));
    let bad = |e: json::BadJson| Fault::Bad(e.to_string());
    let zipkins = |e: zipkin::BadZipkin| Fault::Bad(e.to_string());
    Ok(match (signal, encoding) {
        (_, Encoding::Zipkin) => door.traces(zipkin::request(&body).map_err(zipkins)?),
        (_, Encoding::ZipkinProtobuf) => door.traces(zipkin::protobuf_request(&body).map_err(zipkins)?),
        (Signal::Traces, Encoding::Protobuf) => door.encoded_traces(body).map_err(|e| Fault::Bad(e.to_string()))?,
        (Signal::Traces, Encoding::Json) => door.traces(json::traces(&body).map_err(bad)?),
        (Signal::Metrics, Encoding::Protobuf) => door.encoded_metrics(body).map_err(broken)?,
        (Signal::Metrics, Encoding::Json) => door.metrics(json::metrics(&body).map_err(bad)?),
        (Signal::Logs, Encoding::Protobuf) => door.encoded_logs(body).map_err(broken)?,
        (Signal::Logs, Encoding::Json) => door.logs(json::logs(&body).map_err(bad)?),
    })
}
