//! Jaeger's query API, asked as Grafana asks it.

use fuseboard_collector::{Collector, Config, Place};
use serde_json::{Value, json};

use crate::common::{CLIENT, SERVER, Stage, With as _, request, span};

async fn stage() -> Stage {
    let stage = Stage::with(|config, _| config.jaeger_api = Place::At(([127, 0, 0, 1], 0).into())).await;
    let call =
        span(1, 2, 1, CLIENT, "pay").with("http.status_code", 503).with("peer.service", "bank").failed("no money");
    stage.send(request("shop", vec![span(1, 1, 0, SERVER, "GET /cart"), call])).await;
    stage.send(request("bank", vec![span(1, 3, 2, SERVER, "pay")])).await;
    stage.send(request("shop", vec![span(2, 1, 0, SERVER, "GET /cart"), span(3, 1, 0, SERVER, "GET /help")])).await;
    stage
}

async fn get(stage: &Stage, path: &str) -> (u16, Value) {
    let address = stage.handle.addresses().jaeger_api.expect("listens");
    let reply = stage.http.get(format!("http://{address}{path}")).send().await.expect("an answer");
    assert_eq!(reply.headers()["content-type"], "application/json", "{path}");
    (reply.status().as_u16(), reply.json().await.expect("JSON"))
}

trait Text {
    fn text(&self) -> &str;
}

impl Text for Value {
    fn text(&self) -> &str {
        self.as_str().expect("text")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_and_operations_are_listed() {
    let stage = stage().await;
    let (status, all) = get(&stage, "/api/services").await;
    assert_eq!(status, 200);
    assert_eq!(all, json!({"data": ["bank", "shop"], "total": 2, "limit": 0, "offset": 0, "errors": null}));
    let (_, named) = get(&stage, "/api/services/shop/operations").await;
    assert_eq!(named["data"], json!(["GET /cart", "GET /help"]));
    let (_, typed) = get(&stage, "/api/operations?service=bank&spanKind=server").await;
    assert_eq!(typed["data"], json!([{"name": "pay", "spanKind": "server"}]));
    let (status, told) = get(&stage, "/api/operations").await;
    assert_eq!((status, &told["data"]), (400, &Value::Null));
    assert_eq!(told["errors"], json!([{"code": 400, "msg": "parameter 'service' is required"}]));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traces_are_found_and_shaped_as_jaegers() {
    let stage = stage().await;
    let id = "01".repeat(16);
    let (status, found) = get(&stage, &format!("/api/traces/{id}")).await;
    assert_eq!(status, 200);
    let trace = &found["data"][0];
    assert_eq!((trace["traceID"].text(), trace["spans"].as_array().map(Vec::len)), (id.as_str(), Some(3)));
    let call = trace["spans"].as_array().expect("spans").iter().find(|s| s["spanID"] == "02".repeat(8)).expect("there");
    assert_eq!(call["references"], json!([{"refType": "CHILD_OF", "traceID": id, "spanID": "01".repeat(8)}]));
    assert_eq!(call["duration"], 20_000);
    assert!(call["tags"].as_array().expect("tags").contains(&json!({"key": "error", "type": "bool", "value": true})));
    let sender = &trace["processes"][call["processID"].text()];
    assert_eq!(sender["serviceName"], "shop");
    for (asked, traces) in [
        ("service=shop", 3),
        ("service=shop&limit=1", 1),
        ("service=shop&operation=GET%20%2Fhelp&lookback=1h", 1),
        ("service=bank", 1),
        ("service=shop&tags=%7B%22http.status_code%22%3A%22503%22%7D", 1),
        ("service=shop&tag=error:true", 1),
        ("service=shop&minDuration=1s", 0),
        ("service=shop&maxDuration=100ms&minDuration=1ms", 3),
        ("service=shop&start=0&end=1000", 0),
        ("service=nobody", 0),
    ] {
        let (status, found) = get(&stage, &format!("/api/traces?{asked}")).await;
        assert_eq!((status, found["data"].as_array().map(Vec::len)), (200, Some(traces)), "{asked}: {found}");
    }
    let several = format!("/api/traces?traceID={id}&traceID=7");
    let (_, found) = get(&stage, &several).await;
    assert_eq!(found["data"].as_array().map(Vec::len), Some(1));
    assert_eq!(found["errors"], json!([{"msg": "trace not found", "traceID": format!("{:0>32}", 7)}]));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dependencies_and_errors() {
    let stage = stage().await;
    let now = fuseboard_api::UnixNanos::now().0 / 1_000_000;
    let (status, links) = get(&stage, &format!("/api/dependencies?endTs={}&lookback=60000", now + 1000)).await;
    assert_eq!((status, &links["data"]), (200, &json!([{"parent": "shop", "child": "bank", "callCount": 1}])));
    let (_, none) = get(&stage, "/api/dependencies?service=nobody").await;
    assert_eq!(none["data"], json!([]));
    for (path, status, word) in [
        ("/api/traces/xyz", 400, "traceID"),
        ("/api/traces/77", 404, "trace not found"),
        ("/api/traces", 400, "'service'"),
        ("/api/traces?service=a&limit=many", 400, "'limit'"),
        ("/api/metrics/calls", 404, "/api/metrics/calls"),
    ] {
        let (told, said) = get(&stage, path).await;
        assert_eq!((told, &said["errors"][0]["code"]), (status, &status.into()), "{path}");
        assert!(said["errors"][0]["msg"].text().contains(word), "{said}");
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_opened_file_is_served_too() {
    let stage = stage().await;
    let file = stage.file();
    let dir = stage.stop().await;
    let place = Place::At(([127, 0, 0, 1], 0).into());
    let config = Config { jaeger_api: place, ..Config::new(&file) }.read_only().on_free_ports();
    let handle = Collector::start(config).await.expect("opens");
    let address = handle.addresses().jaeger_api.expect("listens");
    let reply = reqwest::get(format!("http://{address}/api/services")).await.expect("an answer");
    let said: Value = reply.json().await.expect("JSON");
    assert_eq!(said["data"], json!(["bank", "shop"]));
    handle.shutdown().await;
    drop(dir);
}
