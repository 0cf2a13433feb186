//! Filters never deny what is there, and seldom claim what is not.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;

use super::super::{NAME_KEY, TraceFilter, ValueFilter, encode};
use super::make::{built, kv, list, span, text};

fn spans(count: u32) -> Vec<Span> {
    (0..count)
        .map(|n| Span {
            trace_id: [u64::from(n / 3 + 1).to_be_bytes(), [0; 8]].concat(),
            span_id: (1 + u64::from(n)).to_be_bytes().to_vec(),
            attributes: vec![
                text("id", &format!("{n:06}")),
                kv("code", Value::IntValue(i64::from(n % 7) - 3)),
                kv("far", Value::IntValue(i64::from(n) * 1_000_000_007)),
                kv("share", Value::DoubleValue(f64::from(n % 4) / 4.0)),
                kv("measured", Value::DoubleValue(f64::from(n) / 7.0)),
                kv("ok", Value::BoolValue(n % 2 == 0)),
                kv("raw", Value::BytesValue(vec![n as u8, 0xab])),
                kv("list", list(vec![Value::IntValue(i64::from(n % 10)), Value::BoolValue(true)])),
            ],
            ..span(1, 1, 0, 1 + u64::from(n))
        })
        .collect()
}

#[test]
fn a_trace_inside_is_never_denied_and_others_hardly_claimed() {
    for count in [0, 1, 2, 4, 30, 3_000] {
        let built = built(&spans(count));
        TraceFilter::check(&built.traces).unwrap();
        for n in 0..count {
            let id: [u8; 16] = spans(count)[n as usize / 3 * 3].trace_id.clone().try_into().unwrap();
            assert!(TraceFilter::contains(&built.traces, &id), "trace {n} of {count}");
            if n > 30 {
                break;
            }
        }
        let claimed = (0..100_000_u64)
            .filter(|n| {
                let mut id = [7; 16];
                id[8..].copy_from_slice(&n.to_le_bytes());
                TraceFilter::contains(&built.traces, &id)
            })
            .count();
        assert!(claimed <= 10, "{claimed} of 100,000 with {count} spans inside");
    }
}

#[test]
fn values_of_every_type_are_found_by_their_text() {
    let filter = built(&spans(900)).values;
    ValueFilter::check(&filter).unwrap();
    for n in 0..900 {
        assert!(ValueFilter::may_have(&filter, "id", &format!("{n:06}")));
        assert!(ValueFilter::may_have(&filter, "far", &(n * 1_000_000_007_i64).to_string()));
    }
    for (key, value) in [
        ("code", "-3"),
        ("code", "3"),
        ("share", "0"),
        ("share", "0.25"),
        ("measured", "3"),
        ("ok", "true"),
        ("ok", "false"),
        ("raw", "05ab"),
        ("list", "[7, true]"),
        (NAME_KEY, "span 1"),
    ] {
        assert!(ValueFilter::may_have(&filter, key, value), "{key} = {value}");
    }
    let claimed = (0..10_000).filter(|n| ValueFilter::may_have(&filter, "id", &format!("x{n}"))).count();
    assert!(claimed < 100, "{claimed} of 10,000");
}

#[test]
fn a_key_with_too_many_values_is_open() {
    let many: Vec<Span> = (0..600_u32)
        .map(|n| Span {
            span_id: (1 + u64::from(n)).to_be_bytes().to_vec(),
            attributes: (0..20)
                .map(|k| text(&format!("k{k}"), &format!("{n} {k}")))
                .chain([text("few", "a")])
                .collect(),
            ..span(1, 1, 0, 1 + u64::from(n))
        })
        .collect();
    let filter = built(&many).values;
    ValueFilter::check(&filter).unwrap();
    assert!((0..20).any(|k| ValueFilter::may_have(&filter, &format!("k{k}"), "absent 1")
        && ValueFilter::may_have(&filter, &format!("k{k}"), "absent 2")
        && ValueFilter::may_have(&filter, &format!("k{k}"), "absent 3")));
    assert!((0..20).all(|k| (0..600).all(|n| ValueFilter::may_have(&filter, &format!("k{k}"), &format!("{n} {k}")))));
    let claimed = (0..1_000).filter(|n| ValueFilter::may_have(&filter, "few", &n.to_string())).count();
    assert!(claimed < 50, "{claimed} of 1,000");
}

#[test]
fn a_damaged_filter_is_told_and_denies_nothing_it_cannot_judge() {
    let built = built(&spans(100));
    assert!(TraceFilter::contains(&[], &[1; 16]) && ValueFilter::may_have(&[], "a", "b"));
    assert!(TraceFilter::contains(&built.values, &[1; 16]), "the other kind");
    for bytes in [&built.traces, &built.values] {
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x40;
            let told = TraceFilter::check(&damaged).is_err() && ValueFilter::check(&damaged).is_err();
            assert!(told, "byte {at}");
            let _ = TraceFilter::contains(&damaged, &[1; 16]);
            let _ = ValueFilter::may_have(&damaged, "id", "000001");
        }
        assert!(TraceFilter::check(&bytes[..bytes.len() - 1]).is_err());
    }
    assert!(!encode(&built).unwrap().is_empty());
}
