//! Whole requests under the rules.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::Exemplar;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::rules::{Place, Rule};
use super::value::Scope;
use super::{Counts, Redactor};

type Rules<'a> = Vec<(usize, &'a Rule)>;

impl Redactor {
    fn counts(&self) -> Counts {
        Counts(vec![0; self.rules.len()])
    }

    /// Spans with their events and links, and their senders.
    pub fn traces(&self, request: &mut ExportTraceServiceRequest) -> Counts {
        let mut counts = self.counts();
        for group in &mut request.resource_spans {
            let service = service_of(group.resource.as_ref());
            let mut scope = Scope { redactor: self, service: &service, counts: &mut counts };
            let senders = scope.of(Place::Resource);
            let (spans, events, links) = (scope.of(Place::Span), scope.of(Place::Event), scope.of(Place::Link));
            resource(&mut scope, &senders, &mut group.resource);
            for part in &mut group.scope_spans {
                library(&mut scope, &senders, &mut part.scope);
                for span in &mut part.spans {
                    scope.attributes(&spans, &mut span.attributes);
                    scope.text(&spans, &mut span.name);
                    scope.text(&spans, &mut span.trace_state);
                    if let Some(status) = &mut span.status {
                        scope.text(&spans, &mut status.message);
                    }
                    for event in &mut span.events {
                        scope.attributes(&events, &mut event.attributes);
                        scope.text(&events, &mut event.name);
                    }
                    for link in &mut span.links {
                        scope.attributes(&links, &mut link.attributes);
                        scope.text(&links, &mut link.trace_state);
                    }
                }
            }
        }
        counts
    }

    /// Log records with their bodies, and their senders.
    pub fn logs(&self, request: &mut ExportLogsServiceRequest) -> Counts {
        let mut counts = self.counts();
        for group in &mut request.resource_logs {
            let service = service_of(group.resource.as_ref());
            let mut scope = Scope { redactor: self, service: &service, counts: &mut counts };
            let senders = scope.of(Place::Resource);
            let (logs, bodies) = (scope.of(Place::Log), scope.of(Place::Body));
            resource(&mut scope, &senders, &mut group.resource);
            for part in &mut group.scope_logs {
                library(&mut scope, &senders, &mut part.scope);
                for record in &mut part.log_records {
                    scope.attributes(&logs, &mut record.attributes);
                    scope.text(&logs, &mut record.event_name);
                    scope.text(&logs, &mut record.severity_text);
                    scope.body(&bodies, &mut record.body);
                }
            }
        }
        counts
    }

    /// Attributes of points and of their exemplars, and their senders.
    pub fn metrics(&self, request: &mut ExportMetricsServiceRequest) -> Counts {
        let mut counts = self.counts();
        for group in &mut request.resource_metrics {
            let service = service_of(group.resource.as_ref());
            let mut scope = Scope { redactor: self, service: &service, counts: &mut counts };
            let senders = scope.of(Place::Resource);
            let points = scope.of(Place::Metric);
            resource(&mut scope, &senders, &mut group.resource);
            for part in &mut group.scope_metrics {
                library(&mut scope, &senders, &mut part.scope);
                for metric in &mut part.metrics {
                    scope.attributes(&points, &mut metric.metadata);
                    scope.text(&points, &mut metric.description);
                    data(&mut scope, &points, &mut metric.data);
                }
            }
        }
        counts
    }
}

/// The name that rules for a service mean: what was sent, before any rule.
fn service_of(resource: Option<&Resource>) -> String {
    let name = resource.and_then(|r| r.attributes.iter().find(|kv| kv.key == "service.name"));
    match name.and_then(|kv| kv.value.as_ref()).and_then(|v| v.value.as_ref()) {
        Some(Value::StringValue(name)) if !name.is_empty() => name.clone(),
        _ => "unknown_service".to_owned(),
    }
}

fn resource(scope: &mut Scope<'_>, rules: &Rules<'_>, resource: &mut Option<Resource>) {
    if let Some(resource) = resource {
        scope.attributes(rules, &mut resource.attributes);
    }
}

/// The instrumentation scope's attributes go with the resource's.
fn library(scope: &mut Scope<'_>, rules: &Rules<'_>, library: &mut Option<InstrumentationScope>) {
    if let Some(library) = library {
        scope.attributes(rules, &mut library.attributes);
    }
}

fn data(scope: &mut Scope<'_>, rules: &Rules<'_>, data: &mut Option<Data>) {
    let mut point = |attributes: &mut Vec<KeyValue>, exemplars: &mut [Exemplar]| {
        scope.attributes(rules, attributes);
        exemplars.iter_mut().for_each(|e| scope.attributes(rules, &mut e.filtered_attributes));
    };
    match data {
        None => {}
        Some(Data::Gauge(g)) => g.data_points.iter_mut().for_each(|p| point(&mut p.attributes, &mut p.exemplars)),
        Some(Data::Sum(s)) => s.data_points.iter_mut().for_each(|p| point(&mut p.attributes, &mut p.exemplars)),
        Some(Data::Histogram(h)) => h.data_points.iter_mut().for_each(|p| point(&mut p.attributes, &mut p.exemplars)),
        Some(Data::ExponentialHistogram(h)) => {
            h.data_points.iter_mut().for_each(|p| point(&mut p.attributes, &mut p.exemplars));
        }
        Some(Data::Summary(s)) => s.data_points.iter_mut().for_each(|p| point(&mut p.attributes, &mut [])),
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValueList};
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};

    use super::*;
    use crate::redact::rules::parse;

    fn any(value: Value) -> Option<AnyValue> {
        Some(AnyValue { value: Some(value) })
    }

    fn text(s: &str) -> Option<AnyValue> {
        any(Value::StringValue(s.to_owned()))
    }

    fn pair(key: &str, value: Option<AnyValue>) -> KeyValue {
        KeyValue { key: key.to_owned(), value, key_strindex: 0 }
    }

    fn map(values: Vec<KeyValue>) -> Option<AnyValue> {
        any(Value::KvlistValue(KeyValueList { values }))
    }

    /// One record of the service `shop` under rules; what is left of it, and what the rules did.
    fn ruled(rules: &str, attributes: Vec<KeyValue>, body: Option<AnyValue>) -> (LogRecord, Vec<u64>) {
        let record = LogRecord { attributes, body, ..LogRecord::default() };
        let mut request = ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs {
                resource: Some(Resource {
                    attributes: vec![pair("service.name", text("shop"))],
                    ..Resource::default()
                }),
                scope_logs: vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }],
                ..ResourceLogs::default()
            }],
        };
        let counts = parse(rules).expect("rules").logs(&mut request);
        let record = request.resource_logs.remove(0).scope_logs.remove(0).log_records.remove(0);
        (record, counts.0)
    }

    #[test]
    fn keys_are_named_exactly_by_prefix_and_by_expression_also_inside_maps() {
        let rules = "
            [[rule]]
            key = \"token\"
            action = \"drop\"
            [[rule]]
            key = \"user.*\"
            action = \"mask\"
            [[rule]]
            key_regex = \"(?i)passw\"
            action = \"keep\"
            first = 2
            [[rule]]
            key = \"address.street\"
            action = \"mask\"";
        let inner = map(vec![pair("street", text("Elm 3")), pair("city", text("Ulm")), pair("token", text("t"))]);
        let attributes = vec![
            pair("token", text("s3cret")),
            pair("user.id", any(Value::IntValue(7))),
            pair("PassWord", text("äbcdef")),
            pair("passwd", text("ab")),
            pair("address", inner),
            pair("tokens", text("2")),
        ];
        let (record, counts) = ruled(rules, attributes, None);
        let left = vec![
            pair("user.id", text("***")),
            pair("PassWord", text("äb***")),
            pair("passwd", text("***")),
            pair("address", map(vec![pair("street", text("***")), pair("city", text("Ulm"))])),
            pair("tokens", text("2")),
        ];
        assert_eq!(record.attributes, left);
        assert_eq!(counts, [2, 1, 2, 1]);
    }

    #[test]
    fn patterns_are_found_in_texts_lists_numbers_and_bytes_and_the_rest_stays() {
        let rules = "[[rule]]\nvalue = \"card\"\naction = \"mask\"\n[[rule]]\nvalue = \"email\"\naction = \"keep\"\nfirst = 1\n";
        let list =
            ArrayValue { values: [text("a@b.example, c@d.example"), text("plain")].into_iter().flatten().collect() };
        let attributes = vec![
            pair("number", any(Value::IntValue(4_111_111_111_111_111))),
            pair("time", any(Value::IntValue(1_784_567_890_123_456_789))),
            pair("raw", any(Value::BytesValue(b"\xff 4111111111111111".to_vec()))),
            pair("to", any(Value::ArrayValue(list))),
        ];
        let (record, counts) = ruled(rules, attributes, map(vec![pair("note", text("card 4111-1111-1111-1111!"))]));
        assert_eq!(record.attributes[0], pair("number", text("***")));
        assert_eq!(record.attributes[1], pair("time", any(Value::IntValue(1_784_567_890_123_456_789))));
        assert_eq!(record.attributes[2], pair("raw", text("\u{fffd} ***")));
        let list = ArrayValue { values: [text("a***, c***"), text("plain")].into_iter().flatten().collect() };
        assert_eq!(record.attributes[3], pair("to", any(Value::ArrayValue(list))));
        assert_eq!(record.body, map(vec![pair("note", text("card ***!"))]));
        assert_eq!(counts, [3, 1]);
    }

    #[test]
    fn hashes_are_stable_and_equal_for_equal_values_whatever_their_type() {
        let rules = "[hash]\nkey_file = \"hash.key\"\n[[rule]]\nkey = \"id\"\naction = \"hash\"\n";
        let hashed = |value: Option<AnyValue>| ruled(rules, vec![pair("id", value)], None).0.attributes.remove(0);
        assert_eq!(hashed(text("7")), hashed(any(Value::IntValue(7))));
        assert_ne!(hashed(text("7")), hashed(text("8")));
        let Some(Value::StringValue(hash)) = hashed(text("7")).value.and_then(|v| v.value) else { panic!("a text") };
        assert!(hash.starts_with("hash:") && hash.len() == 37, "{hash}");
    }

    #[test]
    fn rules_keep_to_their_places_and_services() {
        let rules = "
            [[rule]]
            key = \"a\"
            where = [\"span\"]
            action = \"drop\"
            [[rule]]
            key = \"a\"
            service = [\"other\", \"sh*\"]
            where = [\"log\"]
            action = \"mask\"
            [[rule]]
            key = \"b\"
            service = \"bank\"
            action = \"drop\"
            [[rule]]
            where = [\"body\"]
            action = \"drop\"";
        let (record, counts) = ruled(rules, vec![pair("a", text("1")), pair("b", text("2"))], text("all of it"));
        assert_eq!(record.attributes, [pair("a", text("***")), pair("b", text("2"))]);
        assert_eq!(record.body, None);
        assert_eq!(counts, [0, 1, 0, 1]);
    }

    #[test]
    fn what_is_too_long_to_search_is_masked_whole() {
        let rules = "longest_value_bytes = 10\n[[rule]]\nvalue = \"email\"\naction = \"mask\"\n";
        let (record, counts) = ruled(rules, vec![pair("a", text("no address at all"))], text("short"));
        assert_eq!((record.attributes, record.body), (vec![pair("a", text("***"))], text("short")));
        assert_eq!(counts, [1]);
    }
}
