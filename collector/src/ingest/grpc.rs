//! OTLP over gRPC: three unary methods, spoken by hand, so that bodies pass the same limits as over HTTP and are decoded
//! in one place.

use std::convert::Infallible;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use bytes::{BufMut as _, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::StreamBody;
use hyper::body::Frame;
use prost::Message as _;
use tonic::{Code, Status};

use super::body::{self, Whole};
use super::fault::Fault;
use super::packing::Packing;
use super::payload::Encoding;
use super::{Door, Signal, scope};

/// gRPC's frame head: whether it is packed, and the length in four bytes, high byte first.
const HEAD: usize = 5;

/// The three OTLP services; for an HTTP/2 server.
pub fn grpc(door: &Door) -> Router {
    let method = |signal: Signal| {
        any(move |State(door): State<Door>, request: Request| async move { serve(door, signal, request).await })
    };
    Router::new()
        .route("/opentelemetry.proto.collector.trace.v1.TraceService/Export", method(Signal::Traces))
        .route("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", method(Signal::Metrics))
        .route("/opentelemetry.proto.collector.logs.v1.LogsService/Export", method(Signal::Logs))
        .route_layer(axum::middleware::from_fn_with_state(door.clone(), scope::admit))
        .fallback(elsewhere)
        .with_state(door.clone())
}

async fn serve(door: Door, signal: Signal, request: Request) -> Response {
    if request.method() != Method::POST {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST")]).into_response();
    }
    if !is_grpc(request.headers()) {
        return not_grpc();
    }
    match receive(&door, signal, request).await {
        Ok(message) => message,
        Err(fault) => status(&fault),
    }
}

async fn receive(door: &Door, signal: Signal, request: Request) -> Result<Response, Fault> {
    let packing = Packing::named(header_text(request.headers(), "grpc-encoding"))?;
    let sender = scope::sender(&request);
    let (parts, body) = request.into_parts();
    let limit = door.limits.request + HEAD;
    let Whole { bytes, room } = body::receive(door, &parts.headers, body, limit).await?;
    let (packed, message) = only_message(bytes)?;
    let packing = match (packed, packing) {
        (false, _) => Packing::Plain,
        (true, Packing::Plain) => return Err(Fault::Bad("the message says it is packed, but not how".to_owned())),
        (true, packing) => packing,
    };
    let partial = door.export(signal, Encoding::Protobuf, packing, Whole { bytes: message, room }, sender).await?;
    Ok(reply(&partial.encode(signal)))
}

/// The one message of a unary call, and whether it is packed.
fn only_message(mut bytes: Bytes) -> Result<(bool, Bytes), Fault> {
    let bad = |what: &str| Fault::Bad(format!("the call {what}; it must carry one message"));
    let (flag, length) = match bytes.get(..HEAD) {
        Some([flag, length @ ..]) => (*flag, u32::from_be_bytes(length.try_into().unwrap_or_default()) as usize),
        _ => return Err(bad("carries none")),
    };
    let message = bytes.split_off(HEAD);
    match (flag, message.len()) {
        (0 | 1, there) if there == length => Ok((flag == 1, message)),
        (0 | 1, there) if there < length => Err(bad("breaks off")),
        (0 | 1, _) => Err(bad("carries more")),
        _ => Err(bad("is not framed as gRPC")),
    }
}

/// A message, and that all is well.
fn reply(message: &[u8]) -> Response {
    let mut data = BytesMut::with_capacity(HEAD + message.len());
    data.put_u8(0);
    // What is answered holds one sentence.
    data.put_u32(message.len() as u32);
    data.extend_from_slice(message);
    let trailers = HeaderMap::from_iter([(Status::GRPC_STATUS, HeaderValue::from_static("0"))]);
    let frames = [Ok::<_, Infallible>(Frame::data(data.freeze())), Ok(Frame::trailers(trailers))];
    let mut response = Response::new(Body::new(StreamBody::new(futures_util::stream::iter(frames))));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// A fault as gRPC tells it: in the trailers, with the details that say when to try again.
fn status(fault: &Fault) -> Response {
    let rpc = fault.rpc();
    let details = if rpc.details.is_empty() { Bytes::new() } else { rpc.encode_to_vec().into() };
    let mut response = Status::with_details(Code::from(rpc.code), rpc.message, details).into_http::<Body>();
    if matches!(fault, Fault::Packing(_)) {
        response.headers_mut().insert("grpc-accept-encoding", HeaderValue::from_static("identity,gzip,deflate"));
    }
    response
}

async fn elsewhere(request: Request) -> Response {
    if !is_grpc(request.headers()) {
        return not_grpc();
    }
    let said = format!(
        "there is no {}; here are Export of opentelemetry's TraceService, MetricsService and LogsService",
        request.uri().path()
    );
    Status::unimplemented(said).into_http::<Body>()
}

/// Most who come here so have mixed up two ports.
fn not_grpc() -> Response {
    let said = "this address speaks OTLP over gRPC; OTLP over HTTP has an address of its own (4318 by default)\n";
    (StatusCode::UNSUPPORTED_MEDIA_TYPE, [(header::ACCEPT, "application/grpc")], said).into_response()
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = header_text(headers, header::CONTENT_TYPE.as_str()).to_ascii_lowercase();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    matches!(kind, "application/grpc" | "application/grpc+proto")
}

fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_carries_one_message() {
        let message = |bytes: &[u8]| only_message(Bytes::copy_from_slice(bytes)).map_err(|e| e.to_string());
        assert_eq!(message(&[0, 0, 0, 0, 2, 7, 8]), Ok((false, Bytes::from_static(&[7, 8]))));
        assert_eq!(message(&[1, 0, 0, 0, 0]), Ok((true, Bytes::new())));
        for (bytes, word) in [
            (&[][..], "carries none"),
            (&[0, 0, 0, 0], "carries none"),
            (&[0, 0, 0, 0, 2, 7], "breaks off"),
            (&[0, 0, 0, 0, 0, 7], "carries more"),
            (&[9, 0, 0, 0, 0], "not framed"),
        ] {
            assert!(message(bytes).expect_err("no message").contains(word), "{bytes:?}");
        }
    }
}
