//! More than anybody should send: thousands of services, attributes of megabytes, a trace of a hundred thousand spans.

use std::time::Instant;

use fuseboard_api::TraceId;
use fuseboard_api::ask::{Answer, Question};
use fuseboard_api::attr::AttrValue;
use fuseboard_api::trace::TraceQuery;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message as _;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use super::program::Program;
use super::{noise, short_or_long};
use crate::common::{CLIENT, EVER, SERVER, With as _, request, span};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_services_are_stored_and_listed() {
    const REQUESTS: u16 = 20;
    const EACH: u16 = 500;
    let dir = tempfile::tempdir().expect("a directory");
    let program = Program::start(&dir.path().join("services.fuseboard"));
    for r in 0..REQUESTS {
        let mut all = ExportTraceServiceRequest::default();
        for n in r * EACH..(r + 1) * EACH {
            let mut one = span(1, 1, 0, SERVER, "GET /");
            one.trace_id[..2].copy_from_slice(&(n + 1).to_be_bytes());
            all.resource_spans.extend(request(&format!("service-{n:05}"), vec![one]).resource_spans);
        }
        assert_eq!(program.post(all.encode_to_vec()).await.status(), 200);
    }
    let begun = Instant::now();
    let totals = program.totals().await;
    assert_eq!((totals.spans, totals.services.len()), (10_000, 10_000));
    let Ok(Answer::Board(board)) = program.ask(Question::Board { range: EVER }).await else { panic!("a board") };
    assert_eq!(board.edges.iter().map(|e| e.stats.calls).sum::<u64>(), 10_000);
    let Ok(Answer::Names(names)) = program.ask(Question::Names).await else { panic!("names") };
    assert!(!names.services.is_empty());
    let one = TraceQuery { range: EVER, service: Some("service-04711".into()), ..TraceQuery::default() };
    let Ok(Answer::Traces(list)) = program.ask(Question::Traces(one)).await else { panic!("traces") };
    assert_eq!(list.rows.len(), 1);
    println!("10,000 services: asked four questions in {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attributes_of_five_mebibytes_come_back_as_they_were() {
    const SIZE: usize = 5 * 1024 * 1024;
    let dir = tempfile::tempdir().expect("a directory");
    let program = Program::start(&dir.path().join("large.fuseboard"));
    let mut random = SmallRng::seed_from_u64(5);
    let text = noise(&mut random, SIZE);
    let bytes: Vec<u8> = noise(&mut random, SIZE).into_bytes();
    let mut one = span(7, 1, 0, SERVER, "large").with("text", text.as_str());
    one.attributes.push(KeyValue {
        key: "bytes".into(),
        value: Some(AnyValue { value: Some(Value::BytesValue(bytes.clone())) }),
        key_strindex: 0,
    });
    let small = span(7, 2, 1, CLIENT, "small").with("text", "small");
    assert_eq!(program.post(request("shop", vec![one, small]).encode_to_vec()).await.status(), 200);
    let mut other = span(8, 1, 0, SERVER, "other").with("text", text.as_str());
    other.name = "by gRPC".into();
    program.grpc().await.export(request("shop", vec![other])).await.expect("accepted");
    let trace = program.trace(TraceId([7; 16])).await.expect("stored");
    assert_eq!(trace.spans.len(), 2);
    let large = trace.spans.iter().find(|s| s.name == "large").expect("the span");
    let value = |key: &str| large.attributes.iter().find(|(k, _)| k == key).map(|(_, v)| v);
    assert!(value("text") == Some(&AttrValue::Str(text.clone())));
    assert!(value("bytes") == Some(&AttrValue::Bytes(bytes)));
    let trace = program.trace(TraceId([8; 16])).await.expect("stored");
    assert!(trace.spans[0].attributes.iter().any(|(_, v)| *v == AttrValue::Str(text.clone())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_of_a_hundred_thousand_spans_is_stored_and_opened() {
    let spans = short_or_long(100_000, 500_000);
    let each = 5_000;
    let dir = tempfile::tempdir().expect("a directory");
    let program = Program::start(&dir.path().join("long.fuseboard"));
    for first in (1..=spans).step_by(each as usize) {
        let one = |n: u32| {
            let mut one = span(9, 1, 0, if n == 1 { SERVER } else { 1 }, "step").with("n", i64::from(n));
            one.span_id = u64::from(n).to_be_bytes().to_vec();
            one.parent_span_id = if n == 1 { Vec::new() } else { u64::from(n / 2).to_be_bytes().to_vec() };
            one
        };
        let batch = request("shop", (first..first + each).map(one).collect());
        assert_eq!(program.post(batch.encode_to_vec()).await.status(), 200);
    }
    let begun = Instant::now();
    let trace = program.trace(TraceId([9; 16])).await.expect("stored");
    println!("{spans} spans: opened in {:?}", begun.elapsed());
    assert_eq!(trace.spans.len(), spans as usize);
    let mut ids: Vec<_> = trace.spans.iter().map(|s| s.span_id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), spans as usize);
    let query = TraceQuery { range: EVER, ..TraceQuery::default() };
    let Ok(Answer::Traces(list)) = program.ask(Question::Traces(query)).await else { panic!("traces") };
    assert_eq!(list.rows.iter().map(|r| r.spans).collect::<Vec<_>>(), [spans]);
}
