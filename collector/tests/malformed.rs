//! Input that makes no sense gets a sentence that helps, and stops nothing.

use std::io::Write as _;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;

use crate::common::{CLIENT, SERVER, Stage, With as _, encoded, lately, request, span};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_spans_are_refused_by_name_and_the_rest_is_stored() {
    let stage = Stage::start().await;
    let mut no_trace = span(1, 1, 0, SERVER, "no trace");
    no_trace.trace_id = vec![0; 16];
    let mut no_end = span(1, 2, 0, SERVER, "no end");
    no_end.end_time_unix_nano = 0;
    let mut short = span(1, 3, 0, SERVER, "short");
    short.span_id = vec![1, 2, 3];
    let spans = vec![no_trace, no_end, short, span(1, 4, 0, SERVER, "good")];
    let said = stage.send(request("shop", spans.clone())).await.partial_success.expect("something was refused");
    assert_eq!(said.rejected_spans, 3);
    for words in ["3 spans refused", "1 without an end time", "trace id is not 16 bytes, or all zeros", "\"no trace\""]
    {
        assert!(said.error_message.contains(words), "{words:?} in {:?}", said.error_message);
    }
    let totals = stage.totals().await;
    assert_eq!((totals.spans, totals.rejected), (1, 3));
    // The same over HTTP, in both encodings.
    let response = stage.post("/v1/traces", PROTOBUF, encoded(&request("shop", spans))).await;
    assert_eq!(response.status(), 200);
    let said = ExportTraceServiceResponse::decode(response.bytes().await.expect("a body")).expect("protobuf");
    assert_eq!(said.partial_success.expect("refused").rejected_spans, 3);
    let body = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"00","spanId":"","name":"x"}]}]}]}"#;
    let response = stage.post("/v1/traces", JSON, body).await;
    let said: serde_json::Value = response.json().await.expect("JSON");
    assert_eq!(said["partialSuccess"]["rejectedSpans"], "1");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_errors_have_a_status_and_a_sentence_in_the_requests_encoding() {
    let stage = Stage::start().await;
    let response = stage.post("/v1/traces", PROTOBUF, "not protobuf").await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (400, &PROTOBUF.parse().expect("a value"))
    );
    let response = stage.post("/v1/logs", JSON, "{\"resourceLogs\": 3}").await;
    assert_eq!(response.status(), 400);
    let said: serde_json::Value = response.json().await.expect("JSON");
    assert_eq!(said["code"], 3);
    assert_eq!(said["message"], "field \"resourceLogs\" is 3; expected a list");
    assert_eq!(stage.post("/v1/metrics", JSON, "{").await.status(), 400);
    assert_eq!(stage.post("/v1/traces", "text/plain", "x").await.status(), 415);
    let get = stage.http.get(stage.url("/v1/traces")).send().await.expect("an answer");
    assert_eq!((get.status().as_u16(), &get.headers()["allow"]), (405, &"POST, OPTIONS".parse().expect("a value")));
    assert_eq!(stage.post("/v2/traces", JSON, "{}").await.status(), 404);
    let packed =
        stage.http.post(stage.url("/v1/traces")).header("content-type", JSON).header("content-encoding", "zstd");
    assert_eq!(packed.body("x").send().await.expect("an answer").status(), 415);
    // Empty requests are well.
    for (kind, body) in [(PROTOBUF, ""), (JSON, "{}")] {
        assert_eq!(stage.post("/v1/traces", kind, body).await.status(), 200);
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packed_bodies_are_limited_after_unpacking() {
    let stage = Stage::start().await;
    let packed = |level, body: &[u8]| {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), level);
        out.write_all(body).expect("packed");
        out.finish().expect("packed")
    };
    let send = async |encoding: &str, body: Vec<u8>| {
        let request = stage.http.post(stage.url("/v1/traces")).header("content-type", JSON);
        request.header("content-encoding", encoding).body(body).send().await.expect("an answer")
    };
    let bomb = packed(flate2::Compression::best(), &vec![b' '; 65 * 1024 * 1024]);
    assert!(bomb.len() < 100_000);
    assert_eq!(send("gzip", bomb).await.status(), 413);
    assert_eq!(send("gzip", b"no gzip".to_vec()).await.status(), 400);
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    zlib.write_all(b"{}").expect("packed");
    assert_eq!(send("deflate", zlib.finish().expect("packed")).await.status(), 200);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn browsers_on_this_machine_may_send() {
    let stage = Stage::start().await;
    let preflight = async |origin: &str| {
        stage
            .http
            .request(reqwest::Method::OPTIONS, stage.url("/v1/traces"))
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type")
            .send()
            .await
            .expect("an answer")
    };
    let local = preflight("http://localhost:5173").await;
    assert_eq!(local.headers()["access-control-allow-origin"], "http://localhost:5173");
    assert_eq!(local.headers()["access-control-allow-headers"], "content-type");
    assert!(preflight("https://evil.example").await.headers().get("access-control-allow-origin").is_none());
    assert!(preflight("http://localhost.evil.example").await.headers().get("access-control-allow-origin").is_none());
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_beyond_the_limit_are_refused_for_good_over_grpc() {
    let stage = Stage::start().await;
    let text = " ".repeat(65 * 1024 * 1024);
    let large = request("shop", vec![span(1, 1, 0, SERVER, "large").with("text", text.as_str())]);
    for packed in [true, false] {
        let mut client = stage.grpc().await;
        if packed {
            client = client.send_compressed(tonic::codec::CompressionEncoding::Gzip);
        }
        let said = client.export(large.clone()).await.expect_err("too large");
        assert_eq!(said.code(), tonic::Code::ResourceExhausted, "{said}");
        assert!(said.details().is_empty(), "no time to retry");
    }
    assert_eq!(stage.totals().await.spans, 0);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_without_measure_are_cut() {
    let stage = Stage::start().await;
    let long = "ü".repeat(500_000);
    let call = span(1, 1, 0, CLIENT, &long).with("peer.service", long.as_str());
    assert_eq!(stage.send(request(&long, vec![call])).await.partial_success, None);
    let totals = stage.totals().await;
    assert!(totals.services[0].starts_with('ü') && totals.services[0].ends_with('…'), "{totals:?}");
    let board = stage.board(lately()).await;
    let key = &board.edges.first().expect("an edge").key;
    for name in [&totals.services[0], &key.caller, &key.callee, &key.operation] {
        assert!(name.len() <= 1024 + '…'.len_utf8(), "{} bytes", name.len());
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_without_measure_is_refused_in_words() {
    let stage = Stage::start().await;
    let control = format!("http://{}/v1/ask", stage.handle.addresses().control);
    let asked = stage.http.post(control).header("content-type", JSON).body(" ".repeat(2 * 1024 * 1024));
    let response = asked.send().await.expect("an answer");
    assert_eq!(response.status(), 413);
    let said: serde_json::Value = response.json().await.expect("JSON");
    assert_eq!((&said["code"], &said["message"]), (&"too_large".into(), &"the request is larger than 1024 KiB".into()));
    stage.stop().await;
}
