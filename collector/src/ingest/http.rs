//! OTLP over HTTP: protobuf and JSON on one port, plain, gzip or deflate; the answer speaks the request's encoding.

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::any;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use prost::Message as _;

use super::fault::Fault;
use super::packing::Packing;
use super::payload::Encoding;
use super::{Door, Partial, RETRY_AFTER, Signal, body, cors, scope};

const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// `POST /v1/traces`, `/v1/metrics` and `/v1/logs`; for an HTTP server.
pub fn http(door: &Door) -> Router {
    let route = |signal: Signal| {
        any(move |State(door): State<Door>, request: Request| async move { serve(door, signal, request).await })
    };
    let mut router = Router::new();
    for (path, signal) in [("traces", Signal::Traces), ("metrics", Signal::Metrics), ("logs", Signal::Logs)] {
        // Base addresses that end with a slash give paths that do.
        router = router.route(&format!("/v1/{path}"), route(signal)).route(&format!("/v1/{path}/"), route(signal));
    }
    router
        .route_layer(from_fn_with_state(door.clone(), scope::admit))
        .fallback(elsewhere)
        .with_state(door.clone())
        .layer(axum::middleware::from_fn_with_state(door.clone(), cors::pages))
}

/// Most who come here have left the path out, or speak gRPC.
async fn elsewhere(request: Request) -> Response {
    let grpc =
        request.headers().get(header::CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(b"application/grpc"));
    if grpc {
        let said = "this address speaks OTLP over HTTP; OTLP over gRPC has an address of its own (4317 by default)";
        return tonic::Status::unimplemented(said).into_http::<Body>();
    }
    plain(StatusCode::NOT_FOUND, "nothing here; OTLP goes to /v1/traces, /v1/metrics or /v1/logs by POST\n")
}

/// The encoding that a content type names; its letters' case and its parameters do not matter.
fn encoding_of(headers: &HeaderMap) -> Option<Encoding> {
    let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    match kind.split(';').next()?.trim().to_ascii_lowercase().as_str() {
        "application/x-protobuf" => Some(Encoding::Protobuf),
        "application/json" => Some(Encoding::Json),
        _ => None,
    }
}

fn kind_of(encoding: Encoding) -> HeaderValue {
    HeaderValue::from_static(match encoding {
        Encoding::Protobuf | Encoding::ZipkinProtobuf => "application/x-protobuf",
        Encoding::Json | Encoding::Zipkin => "application/json",
    })
}

async fn serve(door: Door, signal: Signal, request: Request) -> Response {
    if request.method() != Method::POST {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "OTLP is sent by POST\n");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST, OPTIONS"));
        return response;
    }
    let Some(encoding) = encoding_of(request.headers()) else {
        let said = "the content type must be application/x-protobuf or application/json\n";
        let mut response = plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, said);
        let known = HeaderValue::from_static("application/x-protobuf, application/json");
        response.headers_mut().insert(header::ACCEPT, known);
        return response;
    };
    match receive(&door, signal, encoding, request).await {
        Ok(partial) => accepted(signal, encoding, &partial),
        Err(fault) => told(&fault, encoding),
    }
}

/// A request is turned away before anybody has looked at it.
pub(super) fn refused(headers: &HeaderMap, fault: &Fault) -> Response {
    match encoding_of(headers) {
        Some(encoding) => told(fault, encoding),
        None => turned_away(fault, PLAIN, format!("{fault}\n").into_bytes()),
    }
}

/// A fault in the request's own encoding.
fn told(fault: &Fault, encoding: Encoding) -> Response {
    let body = match encoding {
        Encoding::Protobuf | Encoding::ZipkinProtobuf => fault.rpc().encode_to_vec(),
        Encoding::Json | Encoding::Zipkin => fault.json().to_string().into_bytes(),
    };
    turned_away(fault, kind_of(encoding), body)
}

/// Receives and stores a request.
pub(super) async fn receive(
    door: &Door,
    signal: Signal,
    encoding: Encoding,
    request: Request,
) -> Result<Partial, Fault> {
    let packing = request.headers().get(header::CONTENT_ENCODING).map_or(Ok(""), |v| v.to_str());
    let packing = Packing::named(packing.map_err(|_| Fault::Packing("?".to_owned()))?)?;
    let sender = scope::sender(&request);
    let (parts, body) = request.into_parts();
    let whole = body::receive(door, &parts.headers, body, door.limits.request).await?;
    door.export(signal, encoding, packing, whole, sender).await
}

/// 200, with what was refused where something was.
fn accepted(signal: Signal, encoding: Encoding, partial: &Partial) -> Response {
    let body = match encoding {
        Encoding::Protobuf | Encoding::ZipkinProtobuf => partial.encode(signal),
        Encoding::Json | Encoding::Zipkin => partial.json(signal).to_string().into_bytes(),
    };
    with_body(StatusCode::OK, kind_of(encoding), body)
}

/// The answer to a request that is turned away, with the headers that say what would be taken, or when.
pub(super) fn turned_away(fault: &Fault, kind: HeaderValue, body: Vec<u8>) -> Response {
    let mut response = with_body(fault.status(), kind, body);
    let headers = response.headers_mut();
    match fault {
        Fault::Packing(_) => {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, deflate"));
        }
        Fault::Access(_) if fault.status() == StatusCode::UNAUTHORIZED => {
            headers.insert(header::WWW_AUTHENTICATE, scope::challenge());
        }
        // What is left of the body is not worth waiting for.
        Fault::Slow | Fault::Crowded => {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
    if fault.may_pass() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER));
    }
    response
}

pub(super) fn with_body(status: StatusCode, kind: HeaderValue, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

pub(super) fn plain(status: StatusCode, text: impl Into<Body>) -> Response {
    with_body(status, PLAIN, text)
}
