//! Zipkin's spans in OTLP's words.

use opentelemetry_proto::tonic::trace::v1::Status;

use super::*;

fn spans(json: &str) -> Vec<(String, Span)> {
    let request = request(json.as_bytes()).expect("Zipkin spans");
    let service = |resource: &ResourceSpans| {
        let attributes = &resource.resource.as_ref().expect("a resource").attributes;
        attributes.iter().find(|kv| kv.key == "service.name").map(said).unwrap_or_default()
    };
    let of = |r: ResourceSpans| {
        let service = service(&r);
        r.scope_spans.into_iter().flat_map(|s| s.spans).map(move |s| (service.clone(), s)).collect::<Vec<_>>()
    };
    request.resource_spans.into_iter().flat_map(of).collect()
}

fn said(kv: &KeyValue) -> String {
    match kv.value.as_ref().and_then(|v| v.value.as_ref()) {
        Some(Value::StringValue(s)) => s.clone(),
        Some(Value::IntValue(i)) => i.to_string(),
        Some(Value::BoolValue(b)) => b.to_string(),
        other => format!("{other:?}"),
    }
}

fn attr(span: &Span, key: &str) -> Option<String> {
    span.attributes.iter().find(|kv| kv.key == key).map(said)
}

#[test]
fn every_field_has_its_place() {
    let all = spans(
        r#"[{"traceId":"d7c3a827b3db1a4f","id":"A42CAE2865921950","parentId":"618003e3bb2e354c","name":"pay","kind":"CLIENT",
            "timestamp":1795171894541307,"duration":5117,"debug":true,"unknown":{"x":1},
            "localEndpoint":{"serviceName":"front","ipv4":"127.0.0.1","port":8080},
            "remoteEndpoint":{"serviceName":"bank","ipv6":"::1","port":443},
            "annotations":[{"timestamp":1795171894541310,"value":"sent"}],
            "tags":{"http.status_code":"503","error":"no money","service.version":"1.2","otel.scope.name":"lib","n":7,"gone":null}}]"#,
    );
    let (service, span) = &all[0];
    assert_eq!(service, "front");
    assert_eq!(span.trace_id, [[0; 8], 0xd7c3a827b3db1a4fu64.to_be_bytes()].concat(), "64 bits are filled up");
    assert_eq!(span.span_id, 0xa42cae2865921950u64.to_be_bytes());
    assert_eq!(span.parent_span_id, 0x618003e3bb2e354cu64.to_be_bytes());
    assert_eq!((span.kind, span.name.as_str(), span.flags), (3, "pay", 1));
    assert_eq!(span.start_time_unix_nano, 1_795_171_894_541_307_000);
    assert_eq!(span.end_time_unix_nano - span.start_time_unix_nano, 5_117_000);
    assert_eq!(span.status, Some(Status { code: 2, message: "no money".into() }));
    for (key, value) in [
        ("http.status_code", Some("503")),
        ("peer.service", Some("bank")),
        ("network.peer.address", Some("::1")),
        ("network.peer.port", Some("443")),
        ("network.local.address", Some("127.0.0.1")),
        ("network.local.port", Some("8080")),
        ("n", Some("7")),
        ("gone", None),
        ("error", None),
        ("service.version", None),
        ("otel.scope.name", None),
    ] {
        assert_eq!(attr(span, key).as_deref(), value, "{key}");
    }
    assert_eq!((span.events[0].name.as_str(), span.events[0].time_unix_nano), ("sent", 1_795_171_894_541_310_000));
}

#[test]
fn both_halves_of_a_shared_span_are_kept_and_nest() {
    let list = r#"[{"traceId":"1","id":"2","parentId":"1","kind":"CLIENT","timestamp":5,"localEndpoint":{"serviceName":"a"}},
        {"traceId":"1","id":"2","parentId":"1","kind":"SERVER","shared":true,"timestamp":6,"localEndpoint":{"serviceName":"b"}},
        {"traceId":"1","id":"3","parentId":"2","timestamp":7,"localEndpoint":{"serviceName":"b"}},
        {"traceId":"1","id":"4","parentId":"2","timestamp":7,"localEndpoint":{"serviceName":"a"}}]"#;
    let all = spans(list);
    let of = |name: &str| all.iter().filter(|(s, _)| s == name).map(|(_, span)| span).collect::<Vec<_>>();
    let (a, b) = (of("a"), of("b"));
    let client = 2u64.to_be_bytes().to_vec();
    assert_eq!((&a[0].span_id, &a[0].parent_span_id), (&client, &1u64.to_be_bytes().to_vec()));
    assert_eq!(b[0].parent_span_id, client, "the server's half stands below the client's");
    assert!(b[0].span_id != client && b[0].span_id.len() == 8);
    assert_eq!(attr(b[0], "zipkin.shared_span_id").as_deref(), Some("2"));
    assert_eq!(b[1].parent_span_id, b[0].span_id, "what the server did stands below its half");
    assert_eq!(a[1].parent_span_id, client, "and what the client did below its own");
    assert_eq!(spans(list), all, "a repetition has the same ids");
}

#[test]
fn missing_times_are_made_up_as_little_as_possible() {
    let all = spans(
        r#"[{"traceId":"1","id":"1","timestamp":50,"duration":null},
            {"traceId":"1","id":"2"},
            {"traceId":"1","id":"3","annotations":[{"timestamp":70,"value":"x"},{"timestamp":90,"value":"y"}]},
            {"traceId":"2","id":"4","duration":3},
            {"traceId":"3","id":"5","timestamp":1.7e15,"duration":"12"}]"#,
    );
    let times = |i: usize| (all[i].1.start_time_unix_nano, all[i].1.end_time_unix_nano);
    let guessed = |i: usize| attr(&all[i].1, "otel.zipkin.absentField.startTime").is_some();
    assert_eq!((times(0), guessed(0)), ((50_000, 50_000), false), "no duration is no time at all");
    assert_eq!((times(1), guessed(1)), ((50_000, 50_000), true), "no time is the trace's first");
    assert_eq!((times(2), guessed(2)), ((70_000, 90_000), true), "annotations tell");
    assert_eq!(times(3).0, 0, "nothing tells: refused later by name");
    assert_eq!(times(4), (1_700_000_000_000_000_000, 1_700_000_000_000_012_000));
}

#[test]
fn what_exporters_packed_into_text_is_unpacked() {
    let all = spans(
        r#"[{"traceId":"1","id":"1","parentId":"1","timestamp":5,"duration":1,
            "annotations":[{"timestamp":5,"value":"exception|{\"exception.message\":\"a|b\",\"n\":2}|3"},{"timestamp":5,"value":"a|b|c"},
                {"timestamp":5,"value":"{\"custom\": {\"k\": 1}}"},{"timestamp":5,"value":"\"spec\": {\"x\": \"y\"}"},{"timestamp":5,"value":"{\"a\":1}"}],
            "tags":{"otel.status_code":"OK","span.kind":"internal","w3c.tracestate":"k=v","error":"false",
                    "otlp.link.0":"0102030405060708090a0b0c0d0e0f10|0102030405060708|s=t|{\"x\":true}|1","otlp.link.1":"no link"}}]"#,
    );
    let span = &all[0].1;
    assert!(span.parent_span_id.is_empty(), "its own parent is none");
    assert_eq!(span.status, Some(Status { code: 1, message: String::new() }));
    assert_eq!((span.kind, span.trace_state.as_str()), (1, "k=v"));
    assert_eq!(attr(span, "error").as_deref(), Some("false"));
    let event = &span.events[0];
    assert_eq!((event.name.as_str(), event.attributes.len(), event.dropped_attributes_count), ("exception", 2, 3));
    assert_eq!(said(&event.attributes[0]), "a|b");
    let names: Vec<_> = span.events[1..].iter().map(|e| (e.name.as_str(), e.attributes.len())).collect();
    assert_eq!(names, [("a|b|c", 0), ("custom", 1), ("spec", 1), ("{\"a\":1}", 0)]);
    assert_eq!(span.links.len(), 1);
    assert_eq!((span.links[0].span_id[7], span.links[0].trace_state.as_str()), (8, "s=t"));
    assert_eq!(attr(span, "otlp.link.1").as_deref(), Some("no link"));
}

#[test]
fn what_is_no_list_of_spans_is_named() {
    for (body, word) in [
        ("{}", "a list of spans"),
        ("[{}]", "traceId"),
        (r#"[{"traceId":"1","id":2}]"#, "expected a string"),
        (r#"[{"traceId":"1","id":"2","timestamp":"soon"}]"#, "microseconds"),
        (r#"[{"traceId":"1","id":"2","timestamp":-1}]"#, "microseconds"),
        ("[", "EOF"),
    ] {
        let told = request(body.as_bytes()).expect_err(body).to_string();
        assert!(told.contains("Zipkin") && told.contains(word), "{body}: {told}");
    }
    assert_eq!(request(b"[]").expect("nothing").resource_spans, []);
    let bad = spans(r#"[{"traceId":"xyz","id":"11111111111111111","timestamp":1}]"#);
    assert!(bad[0].1.trace_id.is_empty() && bad[0].1.span_id.is_empty(), "refused later by name");
}
