//! Zipkin's span as it stands in protobuf (`zipkin.proto3`).

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use prost::Message;
use prost::bytes::Buf as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::sent::{self, Sent};
use super::{BadZipkin, MAX_SPANS};

/// `zipkin.proto3.Span`.
#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    parent_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    id: Vec<u8>,
    #[prost(int32, tag = "4")]
    kind: i32,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(fixed64, tag = "6")]
    timestamp: u64,
    #[prost(uint64, tag = "7")]
    duration: u64,
    #[prost(message, optional, tag = "8")]
    local: Option<Endpoint>,
    #[prost(message, optional, tag = "9")]
    remote: Option<Endpoint>,
    #[prost(message, repeated, tag = "10")]
    annotations: Vec<Annotation>,
    #[prost(btree_map = "string, string", tag = "11")]
    tags: BTreeMap<String, String>,
    #[prost(bool, tag = "12")]
    debug: bool,
    #[prost(bool, tag = "13")]
    shared: bool,
}

/// `zipkin.proto3.Endpoint`.
#[derive(Clone, PartialEq, Message)]
struct Endpoint {
    #[prost(string, tag = "1")]
    service_name: String,
    #[prost(bytes = "vec", tag = "2")]
    ipv4: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    ipv6: Vec<u8>,
    #[prost(int32, tag = "4")]
    port: i32,
}

/// `zipkin.proto3.Annotation`.
#[derive(Clone, PartialEq, Message)]
struct Annotation {
    #[prost(fixed64, tag = "1")]
    timestamp: u64,
    #[prost(string, tag = "2")]
    value: String,
}

/// Reads `zipkin.proto3.ListOfSpans`, span by span: an empty one takes two bytes on the wire and hundreds in memory.
pub(super) fn spans(mut body: &[u8]) -> Result<Vec<Sent>, BadZipkin> {
    let bad = |e: prost::DecodeError| BadZipkin::Protobuf(e.to_string());
    let mut out = Vec::new();
    while body.has_remaining() {
        let (tag, wire) = decode_key(&mut body).map_err(bad)?;
        if (tag, wire) != (1, WireType::LengthDelimited) {
            skip_field(wire, tag, &mut body, DecodeContext::default()).map_err(bad)?;
            continue;
        }
        let length = usize::try_from(decode_varint(&mut body).map_err(bad)?).unwrap_or(usize::MAX);
        let (span, rest) =
            body.split_at_checked(length).ok_or_else(|| BadZipkin::Protobuf("a span breaks off".to_owned()))?;
        body = rest;
        if out.len() == MAX_SPANS {
            return Err(BadZipkin::Protobuf(format!("more than {MAX_SPANS} spans; send smaller batches")));
        }
        out.push(Span::decode(span).map_err(bad)?.into());
    }
    Ok(out)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

impl From<Span> for Sent {
    fn from(span: Span) -> Self {
        let kind = match span.kind {
            1 => Some("CLIENT"),
            2 => Some("SERVER"),
            3 => Some("PRODUCER"),
            4 => Some("CONSUMER"),
            _ => None,
        };
        let annotation = |a: Annotation| sent::Annotation { timestamp: Some(a.timestamp), value: a.value };
        Self {
            trace_id: hex(&span.trace_id),
            id: hex(&span.id),
            parent_id: (!span.parent_id.is_empty()).then(|| hex(&span.parent_id)),
            name: Some(span.name),
            kind: kind.map(str::to_owned),
            timestamp: Some(span.timestamp),
            // Zero means that it was not said.
            duration: Some(span.duration).filter(|d| *d > 0),
            shared: Some(span.shared),
            debug: Some(span.debug),
            local_endpoint: span.local.map(Into::into),
            remote_endpoint: span.remote.map(Into::into),
            annotations: Some(span.annotations.into_iter().map(annotation).collect()),
            tags: span.tags,
        }
    }
}

impl From<Endpoint> for sent::Endpoint {
    fn from(endpoint: Endpoint) -> Self {
        let ipv4 = <[u8; 4]>::try_from(endpoint.ipv4).ok().map(|a| Ipv4Addr::from(a).to_string());
        let ipv6 = <[u8; 16]>::try_from(endpoint.ipv6).ok().map(|a| Ipv6Addr::from(a).to_string());
        Self { service_name: Some(endpoint.service_name), ipv4, ipv6, port: u32::try_from(endpoint.port).ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::zipkin::{protobuf_request, request};

    #[test]
    fn protobuf_and_json_say_the_same() {
        let span = Span {
            trace_id: vec![0xaa; 16],
            parent_id: vec![1; 8],
            id: vec![2; 8],
            kind: 1,
            name: "pay".into(),
            timestamp: 1_700_000_000_000_000,
            duration: 250,
            local: Some(Endpoint { service_name: "shop".into(), ipv4: vec![10, 0, 0, 7], ipv6: vec![], port: 8080 }),
            remote: Some(Endpoint { service_name: "bank".into(), ..Endpoint::default() }),
            annotations: vec![Annotation { timestamp: 1_700_000_000_000_001, value: "sent".into() }],
            tags: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
            debug: true,
            shared: false,
        };
        let json = format!(
            r#"[{{"traceId":"{}","parentId":"{}","id":"{}","kind":"CLIENT","name":"pay","timestamp":1700000000000000,"duration":250,
                "localEndpoint":{{"serviceName":"shop","ipv4":"10.0.0.7","port":8080}},"remoteEndpoint":{{"serviceName":"bank"}},
                "annotations":[{{"timestamp":1700000000000001,"value":"sent"}}],"tags":{{"k":"v"}},"debug":true}}]"#,
            "aa".repeat(16),
            "01".repeat(8),
            "02".repeat(8)
        );
        let mut list = vec![0x0a, u8::try_from(span.encoded_len()).expect("short")];
        list.extend(span.encode_to_vec());
        // A field that a later version may have.
        list.extend([0x10, 7]);
        assert_eq!(protobuf_request(&list).expect("spans"), request(json.as_bytes()).expect("spans"));
        assert_eq!(protobuf_request(&[]).expect("none").resource_spans, []);
        for torn in [&list[..20], &[0x0a][..], &[0xff, 0xff][..]] {
            let told = protobuf_request(torn).expect_err("torn").to_string();
            assert!(told.contains("Zipkin") && told.contains("protobuf"), "{told}");
        }
    }
}
