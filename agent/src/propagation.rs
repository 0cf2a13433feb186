//! Trace context in and out of headers: W3C both ways, B3 (single and multi) on the way in.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
const B3: &str = "b3";
const B3_TRACE_ID: &str = "x-b3-traceid";
const B3_SPAN_ID: &str = "x-b3-spanid";
const B3_SAMPLED: &str = "x-b3-sampled";
const B3_FLAGS: &str = "x-b3-flags";

/// Longest `tracestate` that is passed on, in bytes (the specification asks for at least 512).
const MAX_TRACESTATE: usize = 2048;

/// Something that holds headers of a request or a message.
pub trait Headers {
    /// The value of a header; names are lower case.
    fn get_header(&self, name: &str) -> Option<&str>;
    /// Sets a header.
    fn set_header(&mut self, name: &'static str, value: String);
}

impl Headers for HeaderMap {
    fn get_header(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|v| v.to_str().ok())
    }

    fn set_header(&mut self, name: &'static str, value: String) {
        // Reading a name takes longer than all the rest; these are known before.
        let name = match name {
            TRACEPARENT => const { HeaderName::from_static(TRACEPARENT) },
            TRACESTATE => const { HeaderName::from_static(TRACESTATE) },
            other => HeaderName::from_static(other),
        };
        if let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(value)) {
            self.insert(name, value);
        }
    }
}

impl Headers for std::collections::BTreeMap<String, String> {
    fn get_header(&self, name: &str) -> Option<&str> {
        self.get(name).map(String::as_str)
    }

    fn set_header(&mut self, name: &'static str, value: String) {
        self.insert(name.to_owned(), value);
    }
}

impl Headers for std::collections::HashMap<String, String> {
    fn get_header(&self, name: &str) -> Option<&str> {
        self.get(name).map(String::as_str)
    }

    fn set_header(&mut self, name: &'static str, value: String) {
        self.insert(name.to_owned(), value);
    }
}

/// Reads the caller's span: W3C if there is a valid `traceparent`, else B3. Anything malformed is as good as absent.
#[must_use]
pub fn extract(headers: &impl Headers) -> Option<SpanContext> {
    if let Some(found) = headers.get_header(TRACEPARENT).and_then(parse_traceparent) {
        let state = headers
            .get_header(TRACESTATE)
            .filter(|s| s.len() <= MAX_TRACESTATE)
            .and_then(|s| s.parse::<TraceState>().ok())
            .unwrap_or_default();
        return Some(SpanContext::new(found.0, found.1, found.2, true, state));
    }
    let (trace, span, sampled) = b3_single(headers).or_else(|| b3_multi(headers))?;
    let flags = if sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    Some(SpanContext::new(trace, span, flags, true, TraceState::default()))
}

/// Writes a span's ids as `traceparent` and, where there is one, `tracestate`. Invalid ids write nothing.
pub fn inject(span: &SpanContext, headers: &mut impl Headers) {
    if !span.is_valid() {
        return;
    }
    let flags = span.trace_flags().to_u8() & 0x03;
    let mut parent = String::with_capacity(55);
    parent.push_str("00-");
    push_hex(&mut parent, &span.trace_id().to_bytes());
    parent.push('-');
    push_hex(&mut parent, &span.span_id().to_bytes());
    parent.push('-');
    push_hex(&mut parent, &[flags]);
    headers.set_header(TRACEPARENT, parent);
    let state = span.trace_state().header();
    if !state.is_empty() {
        headers.set_header(TRACESTATE, state);
    }
}

/// Each call writes one of these: the formatting machinery would cost more than the rest of its header.
fn push_hex(text: &mut String, bytes: &[u8]) {
    let digit = |nibble: u8| char::from(if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble });
    bytes.iter().for_each(|byte| text.extend([digit(byte >> 4), digit(byte & 0x0f)]));
}

/// `version-traceid-spanid-flags`; later versions may append to it.
fn parse_traceparent(text: &str) -> Option<(TraceId, SpanId, TraceFlags)> {
    let text = text.trim();
    let mut parts = text.splitn(4, '-');
    let (version, trace, span, rest) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let version = lower_hex(version, 2)?;
    let (flags, more) = rest.split_at_checked(2)?;
    let known = version == 0;
    if version == 0xff || (known && !more.is_empty()) || !(more.is_empty() || more.starts_with('-')) {
        return None;
    }
    let flags = u8::try_from(lower_hex(flags, 2)?).ok()?;
    // Bit 0 is "sampled"; bit 1 ("random") is kept as received; later bits mean nothing yet.
    ids(lower_hex(trace, 32)?, lower_hex(span, 16)?).map(|(t, s)| (t, s, TraceFlags::new(flags & 0x03)))
}

/// `{trace}-{span}[-{sampled}[-{parent}]]`.
fn b3_single(headers: &impl Headers) -> Option<(TraceId, SpanId, bool)> {
    let mut parts = headers.get_header(B3)?.trim().split('-');
    let (trace, span) = (b3_trace(parts.next()?)?, lower_hex(parts.next()?, 16)?);
    let sampled = match parts.next() {
        None | Some("1" | "d") => true,
        Some("0") => false,
        Some(_) => return None,
    };
    ids(trace, span).map(|(t, s)| (t, s, sampled))
}

fn b3_multi(headers: &impl Headers) -> Option<(TraceId, SpanId, bool)> {
    let trace = b3_trace(headers.get_header(B3_TRACE_ID)?.trim())?;
    let span = lower_hex(headers.get_header(B3_SPAN_ID)?.trim(), 16)?;
    let debug = headers.get_header(B3_FLAGS) == Some("1");
    let sampled = debug || !matches!(headers.get_header(B3_SAMPLED), Some("0" | "false"));
    ids(trace, span).map(|(t, s)| (t, s, sampled))
}

/// B3 trace ids have 32 or 16 digits; the short ones are padded on the left.
fn b3_trace(text: &str) -> Option<u128> {
    lower_hex(text, 32).or_else(|| lower_hex(text, 16))
}

fn lower_hex(text: &str, digits: usize) -> Option<u128> {
    let fits = text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    fits.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

/// All-zero ids are invalid.
fn ids(trace: u128, span: u128) -> Option<(TraceId, SpanId)> {
    let span = u64::try_from(span).ok()?;
    (trace != 0 && span != 0).then(|| (TraceId::from(trace), SpanId::from(span)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const S: &str = "00f067aa0ba902b7";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.set_header(name, (*value).to_owned());
        }
        map
    }

    #[test]
    fn reads_what_it_writes() {
        let first =
            extract(&headers(&[("traceparent", &format!("00-{T}-{S}-01")), ("tracestate", "a=1,b=2")])).unwrap();
        assert_eq!(first.trace_id().to_string(), T);
        assert_eq!(first.span_id().to_string(), S);
        assert!(first.is_sampled() && first.is_remote());
        let mut out = HeaderMap::new();
        inject(&first, &mut out);
        assert_eq!(out["traceparent"], format!("00-{T}-{S}-01"));
        assert_eq!(out["tracestate"], "a=1,b=2");
    }

    #[test]
    fn refuses_malformed_traceparents() {
        for bad in [
            format!("ff-{T}-{S}-01"),
            format!("00-{T}-{S}-01-more"),
            format!("00-{}-{S}-01", "0".repeat(32)),
            format!("00-{T}-0000000000000000-01"),
            format!("00-{}-{S}-01", T.to_uppercase()),
            format!("00-{T}-{S}"),
            format!("00-{T}-{S}-1"),
            String::from("nonsense"),
        ] {
            assert!(extract(&headers(&[("traceparent", &bad)])).is_none(), "{bad}");
        }
        let later = extract(&headers(&[("traceparent", &format!("01-{T}-{S}-01-more"))])).unwrap();
        assert_eq!(later.span_id().to_string(), S);
    }

    #[test]
    fn reads_b3_of_both_kinds() {
        let single = extract(&headers(&[("b3", &format!("{T}-{S}-0"))])).unwrap();
        assert!(!single.is_sampled());
        let short = extract(&headers(&[("x-b3-traceid", S), ("x-b3-spanid", S), ("x-b3-sampled", "1")])).unwrap();
        assert_eq!(short.trace_id().to_string(), format!("0000000000000000{S}"));
        assert!(short.is_sampled());
        let both = extract(&headers(&[("traceparent", &format!("00-{T}-{S}-01")), ("b3", "0")])).unwrap();
        assert_eq!(both.trace_id().to_string(), T);
    }
}
