//! Looking for spans and traces in the language of filters, and watching them come.

use fuseboard_api::ask::{Answer, Answered, Ask, Question, Refusal};
use fuseboard_api::live::TailEvent;
use fuseboard_api::quantile::{GroupBy, QuantileQuery, Quantiles};
use fuseboard_api::trace::{SpanList, SpanQuery, TraceQuery};

use crate::common::{CLIENT, EVER, SERVER, Stage, With as _, lately, request, span};

async fn spans(stage: &Stage, filter: &str) -> SpanList {
    let query = SpanQuery { range: EVER, filter: filter.into(), ..SpanQuery::default() };
    match stage.ask_at(Question::Spans(query), None).await.1 {
        Answer::Spans(list) => list,
        other => panic!("spans, not {other:?}"),
    }
}

async fn quantiles(stage: &Stage, filter: &str, group_by: GroupBy) -> Quantiles {
    let query = QuantileQuery { range: lately(), filter: filter.into(), group_by, limit: 0 };
    match stage.ask_at(Question::Quantiles(query), None).await.1 {
        Answer::Quantiles(answer) => answer,
        other => panic!("quantiles, not {other:?}"),
    }
}

/// A shop and its stock: ten calls, each a millisecond longer than the one before, every fifth failed.
async fn shop() -> Stage {
    let stage = Stage::start().await;
    for i in 1..=10u8 {
        let lasting = u64::from(i) * 1_000_000;
        let mut call =
            span(i, 2, 1, CLIENT, "Reserve").with("service.peer.name", "stock").with("order.id", i64::from(i));
        let mut answer = span(i, 3, 2, SERVER, "Reserve").with("tier", if i > 5 { "gold" } else { "tin" });
        for span in [&mut call, &mut answer] {
            span.end_time_unix_nano = span.start_time_unix_nano + lasting;
        }
        if i % 5 == 0 {
            answer = answer.failed("no such item");
        }
        stage.send(request("shop", vec![call])).await;
        stage.send(request("stock", vec![answer])).await;
    }
    stage
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_find_spans_and_traces() {
    let stage = shop().await;
    for (filter, found, traces) in [
        ("", 20, 10),
        ("service=stock", 10, 10),
        ("order.id>=8", 3, 3),
        ("status=error", 2, 2),
        ("\"SUCH item\"", 2, 2),
        ("duration>8500us kind=server", 2, 2),
        ("service=shop {status=error}", 2, 2),
        ("service=shop -{status=error}", 8, 8),
        ("edge=shop>stock", 20, 10),
        ("tier~^g or order.id=1", 6, 6),
        ("trace.errors>0 trace.spans=2", 4, 2),
    ] {
        assert_eq!(spans(&stage, filter).await.spans.len(), found, "{filter}");
        let query = TraceQuery { range: EVER, filter: filter.into(), ..TraceQuery::default() };
        let list = stage.traces(query).await;
        assert_eq!((list.rows.len(), list.more), (traces, false), "{filter}");
    }
    let hinted = spans(&stage, "servce=stock").await;
    assert_eq!(hinted.hints[0].text, "`servce` is taken as an attribute; did you mean `service`?");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mistake_is_told_with_its_place() {
    let stage = Stage::start().await;
    let query = TraceQuery { filter: "service=a duration>".into(), ..TraceQuery::default() };
    let ask = Ask { question: Question::Traces(query), as_of: None };
    let url = format!("http://{}/v1/ask", stage.handle.addresses().control);
    let reply = stage.http.post(url).json(&ask).send().await.expect("a reply");
    assert_eq!(reply.status(), 400);
    let refusal: Refusal = reply.json().await.expect("a refusal");
    assert_eq!(refusal.code, "bad_query");
    assert_eq!(refusal.message, "expected a value after `duration>` at character 20, such as 250ms");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sums_and_spans_give_the_same_quantiles() {
    let stage = shop().await;
    let sums = quantiles(&stage, "", GroupBy::Service).await;
    let counted = quantiles(&stage, "kind=server", GroupBy::Service).await;
    assert!(sums.complete && counted.complete);
    let of = |answer: &Quantiles| {
        let stock = answer.groups.iter().find(|g| g.key == ["stock"]).expect("it answered").stats.clone();
        (stock.calls, stock.errors, stock.latency)
    };
    assert_eq!(of(&sums), of(&counted));
    assert_eq!(of(&sums).0, 10);
    let tiers = quantiles(&stage, "kind=server", GroupBy::Field("tier".into())).await;
    let keys: Vec<_> = tiers.groups.iter().map(|g| (g.key[0].as_str(), g.stats.calls)).collect();
    assert_eq!(keys, [("gold", 5), ("tin", 5)]);
    let edges = quantiles(&stage, "", GroupBy::Edge).await;
    assert_eq!(edges.groups[0].key, ["shop", "stock", "Reserve"]);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_tells_what_fits_as_it_comes() {
    let stage = Stage::start().await;
    stage.send(request("shop", vec![span(1, 1, 0, SERVER, "before")])).await;
    let url = format!("http://{}/v1/tail", stage.handle.addresses().control);
    let mut tail = stage.http.get(format!("{url}?q=name%3Dwanted")).send().await.expect("a stream");
    let first = tail.chunk().await.expect("a line").expect("not the end");
    let first: TailEvent = serde_json::from_slice(&first).expect("JSON");
    assert!(first.spans.is_empty());
    stage.send(request("shop", vec![span(2, 1, 0, SERVER, "other"), span(3, 1, 0, SERVER, "wanted")])).await;
    let told: TailEvent = loop {
        let line = tail.chunk().await.expect("a line").expect("not the end");
        let event: TailEvent = serde_json::from_slice(&line).expect("JSON");
        if !event.spans.is_empty() {
            break event;
        }
    };
    assert_eq!((told.spans.len(), told.spans[0].name.as_str(), told.skipped), (1, "wanted", false));
    assert!(told.as_of > first.as_of);
    let wrong = stage.http.get(format!("{url}?q=%28")).send().await.expect("a reply");
    assert_eq!(wrong.status(), 400);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_are_offered_for_completion() {
    let stage = shop().await;
    let Answer::Names(names) = stage.ask_at(Question::Names, None).await.1 else { panic!("names") };
    let tiers = names.attribute_values.iter().find(|(key, _)| key == "tier").expect("seen");
    assert_eq!(tiers.1, ["gold", "tin"]);
    stage.stop().await;
}

/// As of an instant before something came, every page is as it was then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_later_changes_no_earlier_answer() {
    let stage = shop().await;
    let query = TraceQuery { range: EVER, filter: "{status=error}".into(), limit: 1, ..TraceQuery::default() };
    let ask = |query: &TraceQuery, as_of| Ask { question: Question::Traces(query.clone()), as_of };
    let before: Answered = stage.handle.ask(ask(&query, None)).await.expect("an answer");
    stage.send(request("shop", vec![span(1, 9, 1, SERVER, "late").failed("late")])).await;
    let again = stage.handle.ask(ask(&query, Some(before.as_of))).await.expect("an answer");
    assert_eq!(again, before, "rows, and where the next page begins");
    stage.stop().await;
}
