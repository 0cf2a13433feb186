//! OTLP to the letter: content types, packing, methods, limits and what senders are told when they must wait.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Bytes;
use fuseboard_collector::ingest::{self, Door};
use fuseboard_collector::store::{OpenMode, Settings, Store, StoreError};
use fuseboard_collector::{Limits, Place};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::Code;

use crate::common::{SERVER, Stage, encoded, request, span};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

fn one(id: u8) -> Vec<u8> {
    encoded(&request("shop", vec![span(1, id, 0, SERVER, "GET /cart")]))
}

fn deflated(body: &[u8], zlib: bool) -> Vec<u8> {
    let level = flate2::Compression::fast();
    if zlib {
        let mut out = flate2::write::ZlibEncoder::new(Vec::new(), level);
        out.write_all(body).expect("packed");
        out.finish().expect("packed")
    } else {
        let mut out = flate2::write::DeflateEncoder::new(Vec::new(), level);
        out.write_all(body).expect("packed");
        out.finish().expect("packed")
    }
}

fn gzipped(body: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    out.write_all(body).expect("packed");
    out.finish().expect("packed")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_to_write_a_request_over_http_is_understood() {
    let stage = Stage::start().await;
    let json = r#"{"resourceSpans":[]}"#;
    for (kind, body) in [
        ("Application/X-Protobuf", one(1)),
        ("application/x-protobuf; version=1", one(2)),
        ("application/json;charset=UTF-8", json.into()),
        ("APPLICATION/JSON ; charset=\"utf-8\"", json.into()),
    ] {
        let reply = stage.post("/v1/traces", kind, body).await;
        let own = if kind.to_ascii_lowercase().contains("json") { JSON } else { PROTOBUF };
        assert_eq!(
            (reply.status().as_u16(), reply.headers()["content-type"].to_str().ok()),
            (200, Some(own)),
            "{kind}"
        );
    }
    let raw = deflated(&one(4), false);
    let packed =
        [("identity", one(3)), ("deflate", raw), ("Deflate", deflated(&one(5), true)), ("X-GZIP", gzipped(&one(6)))];
    for (encoding, body) in packed {
        let post = stage.http.post(stage.url("/v1/traces/")).header("content-type", PROTOBUF);
        let reply = post.header("content-encoding", encoding).body(body).send().await.expect("an answer");
        assert_eq!(reply.status(), 200, "{encoding}, and a slash at the path's end");
    }
    // Many small pieces, as chunks.
    let body = one(7);
    let pieces: Vec<Result<Vec<u8>, std::io::Error>> = body.chunks(3).map(|c| Ok(c.to_vec())).collect();
    let stream = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
    assert_eq!(stage.post("/v1/traces", PROTOBUF, stream).await.status(), 200);
    // HTTP/2 without TLS on the same port.
    let address = stage.handle.addresses().otlp_http.expect("listens");
    let post = http::Request::post(stage.url("/v1/traces")).header("content-type", PROTOBUF);
    let reply = over_h2(address, post.body(Full::new(one(8).into())).expect("a request")).await;
    assert_eq!((reply.status().as_u16(), reply.version()), (200, http::Version::HTTP_2));
    assert_eq!(stage.totals().await.spans, 8);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_errs_is_told_what_would_be_taken() {
    let stage = Stage::start().await;
    let header =
        |reply: &reqwest::Response, name: &str| reply.headers().get(name).map(|v| v.to_str().expect("text").to_owned());
    let reply = stage.post("/v1/traces", "text/plain", "x").await;
    assert_eq!(reply.status(), 415);
    assert_eq!(header(&reply, "accept").as_deref(), Some("application/x-protobuf, application/json"));
    let put = stage.http.put(stage.url("/v1/logs")).header("content-type", JSON).send().await.expect("an answer");
    assert_eq!((put.status().as_u16(), header(&put, "allow").as_deref()), (405, Some("POST, OPTIONS")));
    let post = stage.http.post(stage.url("/v1/traces")).header("content-type", JSON).header("content-encoding", "br");
    let reply = post.body("x").send().await.expect("an answer");
    assert_eq!((reply.status().as_u16(), header(&reply, "accept-encoding").as_deref()), (415, Some("gzip, deflate")));
    let said: serde_json::Value = reply.json().await.expect("a Status");
    assert!(said["message"].as_str().expect("text").contains("\"br\""), "{said}");
    // Two ports mixed up.
    let reply = stage.post("/", "application/grpc", "").await;
    assert!(header(&reply, "grpc-message").expect("a word").contains("4317"));
    let grpc = stage.handle.addresses().otlp_grpc.expect("listens");
    let reply = stage.http.post(format!("http://{grpc}/v1/traces")).header("content-type", PROTOBUF).body(one(1));
    let reply = reply.send().await.expect("an answer");
    assert_eq!(reply.status(), 415);
    assert!(reply.text().await.expect("text").contains("4318"));
    stage.stop().await;
}

/// Sends a request over HTTP/2 without TLS.
async fn over_h2(address: SocketAddr, request: http::Request<Full<Bytes>>) -> http::Response<hyper::body::Incoming> {
    let stream = TokioIo::new(tokio::net::TcpStream::connect(address).await.expect("connects"));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.expect("speaks HTTP/2");
    tokio::spawn(connection);
    sender.send_request(request).await.expect("an answer")
}

/// A call over gRPC as its bytes: its code, the headers, and what was answered.
async fn call(stage: &Stage, encoding: Option<&str>, frame: Vec<u8>) -> (i32, http::HeaderMap, Bytes) {
    let address = stage.handle.addresses().otlp_grpc.expect("listens");
    let mut post = http::Request::post(format!("http://{address}{EXPORT}")).header("te", "trailers");
    post = post.header("content-type", "application/grpc+proto");
    if let Some(encoding) = encoding {
        post = post.header("grpc-encoding", encoding);
    }
    let reply = over_h2(address, post.body(Full::new(frame.into())).expect("a request")).await;
    assert_eq!(reply.status(), 200);
    let headers = reply.headers().clone();
    let whole = reply.into_body().collect().await.expect("a body");
    // A call that fails at once has its status where others have their headers.
    let status = headers.get("grpc-status").or_else(|| whole.trailers()?.get("grpc-status")).expect("a status");
    let code = status.to_str().expect("text").parse().expect("a number");
    (code, headers, whole.to_bytes())
}

fn framed(packed: bool, message: &[u8]) -> Vec<u8> {
    let mut out = vec![u8::from(packed)];
    out.extend_from_slice(&(message.len() as u32).to_be_bytes());
    out.extend_from_slice(message);
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_is_understood_in_every_packing_and_errs_by_its_own_codes() {
    let stage = Stage::start().await;
    for (encoding, frame) in [
        (None, framed(false, &one(1))),
        (Some("gzip"), framed(true, &gzipped(&one(2)))),
        (Some("gzip"), framed(false, &one(3))),
        (Some("deflate"), framed(true, &deflated(&one(4), true))),
        (Some("identity"), framed(false, &[])),
    ] {
        let (code, _, body) = call(&stage, encoding, frame).await;
        assert_eq!((code, &body[..]), (0, &framed(false, &[])[..]), "{encoding:?}");
    }
    assert_eq!(stage.totals().await.spans, 4);
    let (code, headers, _) = call(&stage, Some("zstd"), framed(true, &[1])).await;
    assert_eq!(code, Code::Unimplemented as i32);
    assert_eq!(headers["grpc-accept-encoding"], "identity,gzip,deflate");
    for (encoding, frame) in [
        (None, framed(true, &[1])),
        (None, vec![0, 0]),
        (Some("gzip"), framed(true, b"no gzip")),
        (None, framed(false, &[0xff])),
    ] {
        let (code, headers, _) = call(&stage, encoding, frame).await;
        assert_eq!(code, Code::InvalidArgument as i32, "{headers:?}");
        assert!(headers.get("grpc-message").is_some() && headers.get("grpc-status-details-bin").is_none());
    }
    let mut other = tonic::client::Grpc::new(
        tonic::transport::Channel::from_shared(format!(
            "http://{}",
            stage.handle.addresses().otlp_grpc.expect("listens")
        ))
        .expect("an address")
        .connect()
        .await
        .expect("connects"),
    );
    other.ready().await.expect("ready");
    let codec: tonic_prost::ProstCodec<(), ()> = tonic_prost::ProstCodec::default();
    let path = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export";
    let told = other.unary(tonic::Request::new(()), http::uri::PathAndQuery::from_static(path), codec).await;
    assert_eq!(told.expect_err("not here").code(), Code::Unimplemented);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_must_wait_is_told_how_long() {
    // A store whose writer is held up, with room for one request in its queue.
    let dir = tempfile::tempdir().expect("a directory");
    let settings = Settings { queue_bytes: 1, ..Settings::default() };
    let store = Store::open_with(dir.path().join("x.fuseboard"), OpenMode::ReadWrite, settings).expect("opens");
    let (hold, held) = tokio::sync::oneshot::channel::<()>();
    let busy = store.clone();
    let work = tokio::spawn(async move {
        busy.transact(&[], |_, _| {
            let _ = held.blocking_recv();
            Ok::<_, StoreError>(())
        })
        .await
    });
    let door = Door::new(store.clone(), None, Limits::default());
    let send = async |kind: &str, body: Vec<u8>| {
        let request = http::Request::post("/v1/traces").header("content-type", kind);
        let request = request.body(axum::body::Body::from(body)).expect("a request");
        tower::ServiceExt::oneshot(ingest::http(&door), request).await.expect("an answer")
    };
    let first = http::Request::post("/v1/traces").header("content-type", PROTOBUF);
    let first = first.body(axum::body::Body::from(one(1))).expect("a request");
    let waits = tokio::spawn(tower::ServiceExt::oneshot(ingest::http(&door), first));
    while store.queue_bytes().0 == 0 {
        tokio::task::yield_now().await;
    }
    let span = r#"{"traceId":"01010101010101010101010101010101","spanId":"0101010101010102","startTimeUnixNano":"1","endTimeUnixNano":"1"}"#;
    let json = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}]}}]}}]}}"#);
    let reply = send(JSON, json.into_bytes()).await;
    assert_eq!(reply.status(), 503);
    assert_eq!(reply.headers()["retry-after"], "1");
    let body = reply.into_body().collect().await.expect("a body").to_bytes();
    let said: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!((&said["code"], &said["details"][0]["retryDelay"]), (&14.into(), &"1s".into()));
    let reply = send(PROTOBUF, one(3)).await;
    assert_eq!((reply.status().as_u16(), &reply.headers()["content-type"]), (503, &PROTOBUF.parse().expect("a value")));
    let grpc = http::Request::post(EXPORT).header("content-type", "application/grpc");
    let grpc = grpc.body(axum::body::Body::from(framed(false, &one(1)))).expect("a request");
    let reply = tower::ServiceExt::oneshot(ingest::grpc(&door), grpc).await.expect("an answer");
    let status = tonic::Status::from_header_map(reply.headers()).expect("a status");
    assert_eq!(status.code(), Code::Unavailable);
    let (kind, delay) = (b"type.googleapis.com/google.rpc.RetryInfo", [0x0a, 2, 0x08, 1]);
    let has = |part: &[u8]| status.details().windows(part.len()).any(|w| w == part);
    assert!(has(kind) && has(&delay), "{status:?}");
    assert!(store.vitals().refused_requests() >= 3);
    hold.send(()).expect("still held");
    work.await.expect("ends").expect("done");
    assert_eq!(waits.await.expect("ends").expect("an answer").status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn room_for_requests_under_way_is_shared() {
    let limits = Limits { request: 64 * 1024, pending: 1, silence: Duration::from_secs(30), ..Limits::default() };
    let stage = Stage::with(|config, _| config.limits = limits).await;
    // Eight requests of the largest size take all the room, as long as they are under way.
    let address = stage.handle.addresses().otlp_http.expect("listens");
    let mut held = Vec::new();
    for _ in 0..8 {
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("connects");
        let head =
            format!("POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: {JSON}\r\ncontent-length: 65536\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("sent");
        stream.write_all(&[b' '; 65_000]).await.expect("sent");
        held.push(stream);
    }
    let big = vec![b' '; 3000];
    let reply = loop {
        let reply = stage.post("/v1/traces", JSON, big.clone()).await;
        if reply.status() == 429 {
            break reply;
        }
        assert_eq!(reply.status(), 400, "there was still room, and spaces are no JSON");
    };
    assert_eq!(reply.headers()["retry-after"], "1");
    assert_eq!(reply.json::<serde_json::Value>().await.expect("JSON")["code"], Code::ResourceExhausted as i32);
    let told = stage.grpc().await.export(request("shop", (1..60).map(|i| span(1, i, 0, SERVER, "x")).collect())).await;
    let told = told.expect_err("no room");
    assert_eq!(told.code(), Code::ResourceExhausted);
    assert!(!told.details().is_empty(), "with a time to retry: {told:?}");
    drop(held);
    while stage.post("/v1/traces", PROTOBUF, one(9)).await.status() != 200 {
        tokio::task::yield_now().await;
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_is_refused_for_good_even_while_it_is_sent() {
    let limits = Limits { request: 100_000, pending: 1, ..Limits::default() };
    let stage = Stage::with(|config, _| config.limits = limits).await;
    for body in [vec![b' '; 100_001], vec![b' '; 3_000_000]] {
        let reply = stage.post("/v1/traces", PROTOBUF, body.clone()).await;
        assert_eq!((reply.status().as_u16(), reply.headers().get("retry-after")), (413, None));
        let pieces = body.chunks(50_000).map(|c| Ok::<_, std::io::Error>(c.to_vec())).collect::<Vec<_>>();
        let stream = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
        let reply = stage.post("/v1/traces", JSON, stream).await;
        assert_eq!(reply.status(), 413);
        let said: serde_json::Value = reply.json().await.expect("a Status");
        assert_eq!(said["code"], Code::ResourceExhausted as i32);
        assert!(said["message"].as_str().expect("text").contains("97.7 KiB"), "{said}");
    }
    // Small packed, allowed unpacked, but a tree of a hundred thousand nodes when decoded.
    let heavy = format!("[{}0]", "0,".repeat(49_000));
    let reply = stage.http.post(stage.url("/v1/logs")).header("content-type", JSON).header("content-encoding", "gzip");
    let reply = reply.body(gzipped(heavy.as_bytes())).send().await.expect("an answer");
    assert_eq!(reply.status(), 413);
    assert!(reply.text().await.expect("text").contains("so many values"));
    // Who asks first need not send at all.
    let address = stage.handle.addresses().otlp_http.expect("listens");
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("connects");
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: {JSON}\r\nexpect: 100-continue\r\ncontent-length: 999999\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut reply = [0; 12];
    stream.read_exact(&mut reply).await.expect("an answer");
    assert_eq!(&reply, b"HTTP/1.1 413");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_elsewhere_may_send_only_when_they_are_named() {
    let stage = Stage::with(|config, _| {
        config.zipkin = Place::At(([127, 0, 0, 1], 0).into());
        config.limits.origins = vec!["https://shop.example".into()];
    })
    .await;
    let zipkin = format!("http://{}/api/v2/spans", stage.handle.addresses().zipkin.expect("listens"));
    for (url, body) in [(stage.url("/v1/traces"), "{}"), (zipkin, "[]")] {
        let send = async |origin: &str| {
            let post = stage.http.post(&url).header("content-type", JSON).header("origin", origin);
            post.body(body).send().await.expect("an answer")
        };
        let good = send("https://shop.example").await;
        assert!(good.status().is_success());
        assert_eq!(good.headers()["access-control-allow-origin"], "https://shop.example");
        assert_eq!(good.headers()["vary"], "Origin");
        let evil = send("https://evil.example").await;
        assert_eq!((evil.status().as_u16(), evil.headers().get("access-control-allow-origin")), (403, None));
        assert!(evil.text().await.expect("text").contains("--cors-origin"));
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_carries_many_requests() {
    let stage = Stage::start().await;
    let address = stage.handle.addresses().otlp_http.expect("listens");
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("connects");
    for id in 1..=3 {
        let body = one(id);
        let head = format!(
            "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: {PROTOBUF}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.expect("sent");
        stream.write_all(&body).await.expect("sent");
        let mut reply = Vec::new();
        while !reply.ends_with(b"\r\n\r\n") {
            reply.push(stream.read_u8().await.expect("a byte"));
        }
        let reply = String::from_utf8(reply).expect("text");
        assert!(reply.starts_with("HTTP/1.1 200") && reply.contains("content-length: 0"), "{reply}");
    }
    assert_eq!(stage.totals().await.spans, 3);
    let said = stage.post("/v1/traces", PROTOBUF, one(4)).await.bytes().await.expect("a body");
    assert_eq!(ExportTraceServiceResponse::decode(said).expect("protobuf").partial_success, None);
    stage.stop().await;
}
