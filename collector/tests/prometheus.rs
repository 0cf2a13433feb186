//! The exposition: valid by the format's own rules, with counters that only grow.

use std::collections::{BTreeMap, BTreeSet};

use crate::common::{CLIENT, SERVER, Stage, With as _, request, span};

/// Samples by name and labels; checks the format on the way.
fn parsed(text: &str) -> BTreeMap<String, f64> {
    assert!(text.ends_with('\n'), "the last line ends, too");
    let mut kinds: BTreeMap<&str, &str> = BTreeMap::new();
    let mut helped = BTreeSet::new();
    let mut current = "";
    let mut samples = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, _) = rest.split_once(' ').expect("a text");
            assert!(helped.insert(name), "{name} is explained twice");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert!(["counter", "gauge", "histogram"].contains(&kind) && helped.contains(name), "{line}");
            assert!(kinds.insert(name, kind).is_none(), "{name} comes twice: samples of a family stand together");
            current = name;
        } else {
            let (key, value) = line.rsplit_once(' ').expect("a value");
            let name = key.split('{').next().expect("a name");
            let letters = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
            assert!(name.chars().all(letters) && !name.starts_with(|c: char| c.is_ascii_digit()), "{line}");
            let family = match kinds[current] {
                "histogram" => ["_bucket", "_sum", "_count"].iter().find_map(|s| name.strip_suffix(s)).expect("a part"),
                _ => name,
            };
            assert_eq!(family, current, "{line}");
            assert!(kinds[current] != "counter" || name.ends_with("_total"), "{line}");
            let value: f64 = value.parse().expect("a number");
            assert!(samples.insert(key.to_owned(), value).is_none(), "twice: {key}");
        }
    }
    for (key, infinite) in samples.iter().filter(|(k, _)| k.contains("le=\"+Inf\"")) {
        let (name, labels) = key.split_once("_bucket{").expect("a bucket");
        let labels = labels.replace("le=\"+Inf\"}", "");
        let count = match labels.trim_end_matches(',') {
            "" => format!("{name}_count"),
            labels => format!("{name}_count{{{labels}}}"),
        };
        assert_eq!(samples.get(&count), Some(infinite), "{count}");
        let mut below: Vec<(f64, f64)> = samples
            .iter()
            .filter_map(|(k, v)| {
                let bound = k.strip_prefix(&format!("{name}_bucket{{{labels}le=\""))?.strip_suffix("\"}")?;
                Some((if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? }, *v))
            })
            .collect();
        below.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert_eq!(below.len(), 15);
        assert!(below.is_sorted_by(|a, b| a.1 <= b.1), "{key}: {below:?}");
    }
    samples
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_exposition_is_valid_and_its_counters_only_grow() {
    let stage = Stage::start().await;
    let address = stage.handle.addresses().metrics.expect("listens");
    let scrape = async || {
        let reply = stage.http.get(format!("http://{address}/metrics")).send().await.expect("a reply");
        assert_eq!(reply.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        parsed(&reply.text().await.expect("text"))
    };
    let empty = scrape().await;
    assert_eq!(empty["fuseboard_up"], 1.0);
    let names = "a\"b\\c\nd";
    let mut last = empty;
    for round in 1..=3u8 {
        let call = span(round, 2, 1, CLIENT, names).with("peer.service", "bank").failed("no");
        stage.send(request("shop", vec![span(round, 1, 0, SERVER, "GET /cart"), call])).await;
        let now = scrape().await;
        for (key, value) in last.iter().filter(|(k, _)| k.contains("_total") || k.contains("_bucket")) {
            assert!(now[key] >= *value, "{key} fell from {value} to {}", now[key]);
        }
        let edge = "{client=\"shop\",server=\"bank\",connection_type=\"\"}";
        let rounds = f64::from(round);
        assert_eq!(now[&format!("traces_service_graph_request_total{edge}")], rounds);
        assert_eq!(now[&format!("traces_service_graph_request_failed_total{edge}")], rounds);
        assert_eq!(now[&format!("traces_service_graph_request_client_seconds_count{edge}")], rounds);
        let server = "{service=\"shop\",span_name=\"GET /cart\",span_kind=\"SPAN_KIND_SERVER\",status_code=\"STATUS_CODE_UNSET\"}";
        assert_eq!(now[&format!("traces_spanmetrics_calls_total{server}")], rounds);
        let latency = "{service=\"shop\",span_name=\"GET /cart\",span_kind=\"SPAN_KIND_SERVER\",le=\"0.032\"}";
        assert_eq!(now[&format!("traces_spanmetrics_latency_bucket{latency}")], rounds, "20 ms each");
        assert!(now.keys().any(|k| k.contains("span_name=\"a\\\"b\\\\c\\nd\"")), "names are escaped");
        assert_eq!(now["fuseboard_records_received_total"], 2.0 * rounds);
        assert!(now["fuseboard_commit_seconds_count"] >= rounds && now["fuseboard_queue_capacity_bytes"] > 0.0);
        assert!(now["fuseboard_segments"] >= 1.0 && now["fuseboard_segment_bytes"] > 0.0);
        last = now;
    }
    // What was sent before counts nowhere again.
    stage.send(request("shop", vec![span(1, 1, 0, SERVER, "GET /cart")])).await;
    let again = scrape().await;
    assert_eq!(again["fuseboard_records_duplicate_total"], 1.0);
    let edge =
        "traces_service_graph_request_total{client=\"clients\",server=\"shop\",connection_type=\"virtual_node\"}";
    assert_eq!(again[edge], last[edge]);
    stage.stop().await;
}
