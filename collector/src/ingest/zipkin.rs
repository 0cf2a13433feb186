//! Zipkin's port: lists of v2 spans in JSON and in protobuf.

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use http::{HeaderValue, Method, StatusCode, header};

use super::http::{plain, receive, turned_away, with_body};
use super::payload::Encoding;
use super::{Door, Signal, cors, scope};

/// `POST /api/v2/spans`; for an HTTP server.
pub fn zipkin(door: &Door) -> Router {
    Router::new()
        .route("/api/v2/spans", any(spans))
        .route("/api/v2/spans/", any(spans))
        .route("/api/v1/spans", any(old))
        .route_layer(axum::middleware::from_fn_with_state(door.clone(), scope::admit))
        // Whether anybody is there is told to everybody.
        .route("/health", any(|| async { plain(StatusCode::OK, "{\"status\":\"UP\"}") }))
        .fallback(|| async {
            plain(StatusCode::NOT_FOUND, "nothing here; Zipkin v2 spans go to /api/v2/spans by POST\n")
        })
        .with_state(door.clone())
        .layer(axum::middleware::from_fn_with_state(door.clone(), cors::pages))
}

async fn old() -> Response {
    let said = "Zipkin's first format is not taken here; send its second (JSON or protobuf) to /api/v2/spans\n";
    plain(StatusCode::GONE, said)
}

async fn spans(State(door): State<Door>, request: Request) -> Response {
    if request.method() != Method::POST {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "spans are sent by POST\n");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST, OPTIONS"));
        return response;
    }
    let kind = request.headers().get(header::CONTENT_TYPE).map_or(Ok("application/json"), HeaderValue::to_str);
    let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let encoding = match kind.as_str() {
        "application/json" => Encoding::Zipkin,
        "application/x-protobuf" => Encoding::ZipkinProtobuf,
        _ => {
            let said = "the content type must be application/json or application/x-protobuf\n";
            let mut response = plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, said);
            let known = HeaderValue::from_static("application/json, application/x-protobuf");
            response.headers_mut().insert(header::ACCEPT, known);
            return response;
        }
    };
    match receive(&door, Signal::Traces, encoding, request).await {
        // Zipkin's answer has no word for a part: its senders would not listen. The warning in the log tells.
        Ok(_) => with_body(StatusCode::ACCEPTED, HeaderValue::from_static("text/plain; charset=utf-8"), ""),
        Err(fault) => {
            let kind = HeaderValue::from_static("text/plain; charset=utf-8");
            turned_away(&fault, kind, format!("{fault}\n").into_bytes())
        }
    }
}
