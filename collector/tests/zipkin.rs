//! What Zipkin's clients send, from their port to the console's answers and to Jaeger's.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use fuseboard_api::attr::AttrValue;
use fuseboard_api::span::{SpanKind, StatusCode};
use fuseboard_api::trace::TraceQuery;
use fuseboard_collector::Place;

use crate::common::{EVER, Stage, edge};

const JSON: &str = "application/json";

async fn stage() -> Stage {
    Stage::with(|config, _| config.zipkin = Place::At(([127, 0, 0, 1], 0).into())).await
}

fn url(stage: &Stage, path: &str) -> String {
    format!("http://{}{path}", stage.handle.addresses().zipkin.expect("listens"))
}

fn fixture(n: u8) -> Vec<u8> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/zipkin");
    std::fs::read(dir.join(format!("00{n}-zipkin.json"))).expect("a fixture")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn captured_requests_come_out_right() {
    let stage = stage().await;
    for n in 1..=3 {
        let post = stage.http.post(url(&stage, "/api/v2/spans")).header("content-type", JSON);
        let reply = post.body(fixture(n)).send().await.expect("an answer");
        assert_eq!((reply.status().as_u16(), reply.text().await.expect("text").as_str()), (202, ""));
    }
    let totals = stage.totals().await;
    assert_eq!((totals.spans, totals.traces, totals.rejected), (6, 3, 0));
    assert_eq!(totals.services, ["zip-front"]);
    let board = stage.board(EVER).await;
    assert_eq!(edge(&board, "zip-front", "zip-db").stats.calls, 3);
    assert_eq!(edge(&board, "clients", "zip-front").key.operation, "get /z");
    let list = stage.traces(TraceQuery { range: EVER, ..TraceQuery::default() }).await;
    let durations: Vec<u64> = list.rows.iter().map(|r| r.duration_nanos / 1000).collect();
    assert_eq!(durations, [5183, 5208, 5357], "newest first, in microseconds as they were sent");
    // The second has an id of 64 bits.
    assert_eq!(list.rows[1].trace_id.to_string(), "0000000000000000d7c3a827b3db1a4f");
    let trace = stage.trace(list.rows[2].trace_id).await.expect("stored");
    let (root, call) = (&trace.spans[0], &trace.spans[1]);
    assert_eq!((root.name.as_str(), root.kind, root.parent), ("get /z", SpanKind::Server, None));
    assert_eq!((call.name.as_str(), call.kind, call.parent), ("call-back", SpanKind::Client, Some(root.span_id)));
    assert_eq!(call.attr("peer.service"), Some(&AttrValue::from("zip-db")));
    assert_eq!(call.attr("network.peer.port"), Some(&AttrValue::Int(5432)));
    assert_eq!(root.attr("http.path"), Some(&AttrValue::from("/z")));
    assert_eq!((root.events[0].name.as_str(), root.events[0].time.0 - root.start.0), ("custom.event", 4_000));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shared_spans_failures_and_packing() {
    let stage = stage().await;
    let now = fuseboard_api::UnixNanos::now().0 / 1000;
    let list = format!(
        r#"[{{"traceId":"00000000000000aa","id":"0000000000000001","kind":"CLIENT","name":"pay","timestamp":{now},"duration":9000,
              "localEndpoint":{{"serviceName":"shop"}},"tags":{{"error":"card refused"}}}},
            {{"traceId":"00000000000000aa","id":"0000000000000001","kind":"SERVER","name":"pay","timestamp":{now},"duration":7000,"shared":true,
              "localEndpoint":{{"serviceName":"bank"}}}},
            {{"traceId":"00000000000000aa","id":"nonsense","name":"bad","timestamp":{now},
              "localEndpoint":{{"serviceName":"shop"}}}}]"#
    );
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(list.as_bytes()).expect("packed");
    let post = stage.http.post(url(&stage, "/api/v2/spans")).header("content-encoding", "gzip");
    let reply = post.header("content-type", "application/json; charset=utf-8").body(packed.finish().expect("packed"));
    assert_eq!(reply.send().await.expect("an answer").status(), 202);
    let totals = stage.totals().await;
    assert_eq!((totals.spans, totals.rejected, totals.services.len()), (2, 1, 2), "both halves, not the bad one");
    let range = fuseboard_api::TimeRange::ending(fuseboard_api::UnixNanos::now(), Duration::from_secs(60));
    let board = stage.board(range).await;
    let call = edge(&board, "shop", "bank");
    assert_eq!((call.stats.calls, call.stats.errors), (1, 1));
    let list = stage.traces(TraceQuery { range, ..TraceQuery::default() }).await;
    let trace = stage.trace(list.rows[0].trace_id).await.expect("stored");
    let client = trace.spans.iter().find(|s| s.kind == SpanKind::Client).expect("the client's half");
    let server = trace.spans.iter().find(|s| s.kind == SpanKind::Server).expect("the server's half");
    assert_eq!((client.status, client.status_message.as_str()), (StatusCode::Error, "card refused"));
    assert_eq!(server.parent, Some(client.span_id));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_taken_is_refused_in_words() {
    let stage = stage().await;
    let post = |path: &str, kind: &str, body: &str| {
        stage.http.post(url(&stage, path)).header("content-type", kind).body(body.to_owned()).send()
    };
    for (path, kind, body, status, word) in [
        ("/api/v1/spans", JSON, "[]", 410, "/api/v2/spans"),
        ("/api/v2/spans", "application/x-thrift", "", 415, "application/json"),
        ("/api/v2/spans", JSON, "{}", 400, "list of"),
        ("/api/v2/spans", JSON, r#"[{"traceId":"1"}]"#, 400, "`id`"),
        ("/", JSON, "", 404, "/api/v2/spans"),
    ] {
        let reply = post(path, kind, body).await.expect("an answer");
        assert_eq!(reply.status().as_u16(), status, "{path} {body}");
        let said = reply.text().await.expect("text");
        assert!(said.contains(word), "{word} in {said}");
    }
    let get = stage.http.get(url(&stage, "/api/v2/spans")).send().await.expect("an answer");
    assert_eq!((get.status().as_u16(), &get.headers()["allow"]), (405, &"POST, OPTIONS".parse().expect("a value")));
    let torn = post("/api/v2/spans", "application/x-protobuf", "torn").await.expect("an answer");
    assert_eq!(
        (
            torn.status().as_u16(),
            post("/api/v2/spans", "application/x-protobuf", "").await.expect("well").status().as_u16()
        ),
        (400, 202)
    );
    assert_eq!(post("/api/v2/spans", JSON, "[]").await.expect("an answer").status(), 202, "nothing is well");
    stage.stop().await;
}
