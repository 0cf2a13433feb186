//! OTLP over HTTP: protobuf and JSON on one port, plain, gzip or deflate; the answer speaks the request's encoding.

use std::io::Read;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsPartialSuccess, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
use prost::Message;
use tonic::Code;

use super::decode::Decoded;
use super::grpc::{RpcStatus, refusal};
use super::{Door, MAX_REQUEST, Partial, RETRY_AFTER, Signal, json};
use crate::redact::Redactor;
use crate::store::{Store, Vitals};

/// Bodies larger than this are unpacked where blocking does no harm.
const LARGE: usize = 256 * 1024;

/// `POST /v1/traces`, `/v1/metrics` and `/v1/logs`; for an axum server.
pub fn http(store: Store, vitals: Arc<Vitals>, redactor: Option<Arc<Redactor>>) -> Router {
    let door = Door { store, vitals, redactor };
    let route = |signal: Signal| {
        any(move |State(door): State<Door>, request: Request| async move { serve(door, signal, request).await })
    };
    Router::new()
        .route("/v1/traces", route(Signal::Traces))
        .route("/v1/metrics", route(Signal::Metrics))
        .route("/v1/logs", route(Signal::Logs))
        .fallback(|| async {
            plain(StatusCode::NOT_FOUND, "nothing here; OTLP goes to /v1/traces, /v1/metrics or /v1/logs by POST")
        })
        .with_state(door)
}

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Protobuf,
    Json,
}

impl Encoding {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        match kind.split(';').next()?.trim().to_ascii_lowercase().as_str() {
            "application/x-protobuf" => Some(Self::Protobuf),
            "application/json" => Some(Self::Json),
            _ => None,
        }
    }

    fn name(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        })
    }
}

/// A request that is turned away.
struct Refused {
    status: StatusCode,
    body: RpcStatus,
}

impl Refused {
    fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Code::InvalidArgument, message)
    }

    fn new(status: StatusCode, code: Code, message: impl Into<String>) -> Self {
        Self { status, body: RpcStatus { code: code as i32, message: message.into(), details: Vec::new() } }
    }

    fn too_large() -> Self {
        let message = format!(
            "the request is larger than {} MiB after decompression; send smaller batches",
            MAX_REQUEST / 1024 / 1024
        );
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, Code::ResourceExhausted, message)
    }
}

async fn serve(door: Door, signal: Signal, request: Request) -> Response {
    let origin = request.headers().get(header::ORIGIN).filter(|o| is_local(o)).cloned();
    let mut response = if request.method() == Method::OPTIONS {
        preflight(request.headers())
    } else if request.method() != Method::POST {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "OTLP is sent by POST");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST, OPTIONS"));
        response
    } else {
        match Encoding::of(request.headers()) {
            None => plain(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the content type must be application/x-protobuf or application/json",
            ),
            Some(encoding) => match receive(&door, signal, encoding, request).await {
                Ok(partial) => accepted(signal, encoding, partial),
                Err(refused) => turned_away(encoding, &refused),
            },
        }
    };
    if let Some(origin) = origin {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
    response
}

async fn receive(door: &Door, signal: Signal, encoding: Encoding, request: Request) -> Result<Partial, Refused> {
    let packing = Packing::of(request.headers())?;
    let body = match Limited::new(request.into_body(), MAX_REQUEST).collect().await {
        Ok(body) => body.to_bytes(),
        Err(e) if e.is::<LengthLimitError>() => return Err(Refused::too_large()),
        Err(e) => return Err(Refused::bad(format!("the body broke off: {e}"))),
    };
    let size = body.len();
    let at = door.clone();
    let unpack = move || decode(&at, signal, encoding, &packing.undo(body)?);
    let decoded = if size > LARGE {
        tokio::task::spawn_blocking(unpack).await.map_err(|_| Refused::bad("the body could not be read"))??
    } else {
        unpack()?
    };
    door.take(signal, decoded).await.map_err(|e| {
        let body = refusal(&e);
        let status = match Code::from(body.code) {
            Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Refused { status, body }
    })
}

/// How a body is packed.
#[derive(Debug, Clone, Copy)]
enum Packing {
    Plain,
    Gzip,
    Deflate,
}

impl Packing {
    fn of(headers: &HeaderMap) -> Result<Self, Refused> {
        let Some(value) = headers.get(header::CONTENT_ENCODING) else { return Ok(Self::Plain) };
        match value.to_str().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Plain),
            "gzip" => Ok(Self::Gzip),
            "deflate" => Ok(Self::Deflate),
            other => Err(Refused::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                Code::InvalidArgument,
                format!("content encoding {other:?} is not known; use gzip, deflate or none"),
            )),
        }
    }

    fn undo(self, body: Bytes) -> Result<Bytes, Refused> {
        match self {
            Self::Plain => Ok(body),
            Self::Gzip => inflate(flate2::read::MultiGzDecoder::new(&body[..]), "gzip"),
            // What senders call deflate is a zlib stream, as HTTP says.
            Self::Deflate => inflate(flate2::read::ZlibDecoder::new(&body[..]), "deflate"),
        }
    }
}

fn inflate(from: impl Read, name: &str) -> Result<Bytes, Refused> {
    let mut out = Vec::new();
    let read = from.take(MAX_REQUEST as u64 + 1).read_to_end(&mut out);
    read.map_err(|e| Refused::bad(format!("the body says it is {name} but cannot be unpacked: {e}")))?;
    if out.len() > MAX_REQUEST { Err(Refused::too_large()) } else { Ok(out.into()) }
}

fn decode(door: &Door, signal: Signal, encoding: Encoding, body: &[u8]) -> Result<Decoded, Refused> {
    fn protobuf<M: Message + Default>(body: &[u8]) -> Result<M, Refused> {
        M::decode(body).map_err(|e| Refused::bad(format!("the body is not an OTLP request in protobuf: {e}")))
    }
    let bad = |e: json::BadJson| Refused::bad(e.to_string());
    Ok(match (signal, encoding) {
        (Signal::Traces, Encoding::Protobuf) => door.traces(protobuf(body)?),
        (Signal::Traces, Encoding::Json) => door.traces(json::traces(body).map_err(bad)?),
        (Signal::Metrics, Encoding::Protobuf) => door.metrics(protobuf(body)?),
        (Signal::Metrics, Encoding::Json) => door.metrics(json::metrics(body).map_err(bad)?),
        (Signal::Logs, Encoding::Protobuf) => door.logs(protobuf(body)?),
        (Signal::Logs, Encoding::Json) => door.logs(json::logs(body).map_err(bad)?),
    })
}

/// 200, with what was refused where something was.
fn accepted(signal: Signal, encoding: Encoding, partial: Partial) -> Response {
    let some = partial != Partial::default();
    let (rejected, error_message) = (partial.rejected, partial.message);
    let body = match encoding {
        Encoding::Protobuf => match signal {
            Signal::Traces => ExportTraceServiceResponse {
                partial_success: some.then_some(ExportTracePartialSuccess { rejected_spans: rejected, error_message }),
            }
            .encode_to_vec(),
            Signal::Metrics => ExportMetricsServiceResponse {
                partial_success: some
                    .then_some(ExportMetricsPartialSuccess { rejected_data_points: rejected, error_message }),
            }
            .encode_to_vec(),
            Signal::Logs => ExportLogsServiceResponse {
                partial_success: some
                    .then_some(ExportLogsPartialSuccess { rejected_log_records: rejected, error_message }),
            }
            .encode_to_vec(),
        },
        Encoding::Json if some => {
            let count = match signal {
                Signal::Traces => "rejectedSpans",
                Signal::Metrics => "rejectedDataPoints",
                Signal::Logs => "rejectedLogRecords",
            };
            let json =
                serde_json::json!({"partialSuccess": {count: rejected.to_string(), "errorMessage": error_message}});
            json.to_string().into_bytes()
        }
        Encoding::Json => b"{}".to_vec(),
    };
    with_body(StatusCode::OK, encoding.name(), body)
}

/// An error with `google.rpc.Status` in the request's encoding.
fn turned_away(encoding: Encoding, refused: &Refused) -> Response {
    let body = match encoding {
        Encoding::Protobuf => refused.body.encode_to_vec(),
        Encoding::Json => {
            serde_json::json!({"code": refused.body.code, "message": refused.body.message}).to_string().into_bytes()
        }
    };
    let mut response = with_body(refused.status, encoding.name(), body);
    if refused.status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER));
    }
    response
}

fn with_body(status: StatusCode, kind: HeaderValue, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    with_body(status, HeaderValue::from_static("text/plain; charset=utf-8"), text)
}

/// A browser asks first. Only pages served from this machine may send.
fn preflight(asked: &HeaderMap) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("7200"));
    if let Some(wanted) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    response
}

fn is_local(origin: &HeaderValue) -> bool {
    let host = origin.to_str().ok().and_then(|o| o.split_once("://")).map(|(_, host)| host);
    let Some(host) = host else { return false };
    let name = match host.strip_prefix("[::1]") {
        Some(_) => "[::1]",
        None => host.split(':').next().unwrap_or_default(),
    };
    matches!(name, "localhost" | "127.0.0.1" | "[::1]") || name.ends_with(".localhost")
}
