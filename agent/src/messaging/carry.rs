//! What travels with a message besides its body.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuseboard_policy::names::{DEADLINE_HEADER, SENT_HEADER};
use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry::trace::SpanContext;
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::BaggagePropagator;

use crate::context;
use crate::propagation::{Headers, extract, inject};

const BAGGAGE: &str = "baggage";

/// What a message brought along.
#[derive(Debug, Clone, Default)]
pub struct Incoming {
    pub(super) producer: Option<SpanContext>,
    /// With the sender's baggage.
    pub(super) baggage: Context,
    pub(super) sent: Option<SystemTime>,
    pub(super) deadline: Option<SystemTime>,
    pub(super) delivery: u32,
    pub(super) details: Vec<KeyValue>,
}

impl Incoming {
    /// Reads a message's headers. It counts as handed out for the first time.
    #[must_use]
    pub fn from_headers(headers: &impl Headers) -> Self {
        let millis = |name| {
            let text: &str = headers.get_header(name)?;
            UNIX_EPOCH.checked_add(Duration::from_millis(text.trim().parse().ok()?))
        };
        Self {
            producer: extract(headers),
            baggage: BaggagePropagator::new().extract_with_context(&Context::new(), &Reading(headers)),
            sent: millis(SENT_HEADER),
            deadline: millis(DEADLINE_HEADER),
            delivery: 1,
            details: Vec::new(),
        }
    }

    /// Which time it is that the message is handed out, from 1.
    #[must_use]
    pub fn delivery(mut self, number: u32) -> Self {
        self.delivery = number.max(1);
        self
    }

    /// When it was sent, where the broker knows better than the headers.
    #[must_use]
    pub fn sent(mut self, at: SystemTime) -> Self {
        self.sent = Some(at);
        self
    }

    /// An attribute for the consumer's span, such as `messaging.message.id`.
    #[must_use]
    pub fn detail(mut self, detail: KeyValue) -> Self {
        self.details.push(detail);
        self
    }

    /// How long it waited, on the two machines' clocks; never negative.
    pub(super) fn lag(&self) -> Option<Duration> {
        self.sent.map(|at| SystemTime::now().duration_since(at).unwrap_or_default())
    }

    /// What is left until it is of no use.
    pub(super) fn left(&self) -> Option<Duration> {
        self.deadline.map(|at| at.duration_since(SystemTime::now()).unwrap_or_default())
    }
}

/// Writes what a message takes along into its headers: the producer's ids, the current context's baggage, the time, and,
/// where wanted, what its deadline leaves.
pub(super) fn write(producer: &SpanContext, with_deadline: bool, headers: &mut impl Headers) {
    inject(producer, headers);
    Context::map_current(|cx| {
        if !cx.baggage().is_empty() {
            BaggagePropagator::new().inject_context(cx, &mut Writing(headers));
        }
        let now = SystemTime::now();
        headers.set_header(SENT_HEADER, millis(now));
        let left = context::deadline_of(cx).map(|at| at.saturating_duration_since(tokio::time::Instant::now()));
        if let Some(at) = left.filter(|_| with_deadline).and_then(|left| now.checked_add(left)) {
            headers.set_header(DEADLINE_HEADER, millis(at));
        }
    });
}

fn millis(at: SystemTime) -> String {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis().to_string()
}

struct Reading<'a, H>(&'a H);

impl<H: Headers> Extractor for Reading<'_, H> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get_header(key)
    }

    fn keys(&self) -> Vec<&str> {
        vec![BAGGAGE]
    }
}

struct Writing<'a, H>(&'a mut H);

impl<H: Headers> Injector for Writing<'_, H> {
    fn set(&mut self, key: &str, value: String) {
        if key == BAGGAGE {
            self.0.set_header(BAGGAGE, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use opentelemetry::trace::{SpanId, TraceFlags, TraceId, TraceState};

    use super::*;

    #[tokio::test]
    async fn what_is_written_is_read() {
        let span = SpanContext::new(
            TraceId::from(7),
            SpanId::from(9),
            TraceFlags::SAMPLED,
            false,
            TraceState::from_key_value([("vendor", "x")]).unwrap(),
        );
        let mut headers = BTreeMap::new();
        let with_user = Context::new().with_baggage([KeyValue::new("user", "a b")]);
        let cx = context::with_inbound(&with_user, Some(tokio::time::Instant::now() + Duration::from_secs(60)), None);
        {
            let _entered = cx.attach();
            write(&span, true, &mut headers);
        }
        let read = Incoming::from_headers(&headers);
        let producer = read.producer.as_ref().unwrap();
        assert_eq!((producer.trace_id(), producer.span_id()), (TraceId::from(7), SpanId::from(9)));
        assert_eq!(producer.trace_state().get("vendor"), Some("x"));
        assert_eq!(read.baggage.baggage().get("user").map(|v| v.as_str()), Some("a b"));
        assert!(read.lag().unwrap() < Duration::from_secs(30));
        assert!(read.left().unwrap() > Duration::from_secs(30) && read.left().unwrap() <= Duration::from_secs(60));
    }

    #[tokio::test]
    async fn a_message_of_a_stranger_brings_nothing_along() {
        let mut headers = BTreeMap::new();
        headers.insert(SENT_HEADER.to_owned(), "soon".to_owned());
        headers.insert(DEADLINE_HEADER.to_owned(), u64::MAX.to_string());
        let read = Incoming::from_headers(&headers);
        assert!(read.producer.is_none() && read.lag().is_none());
        let ahead = SystemTime::now() + Duration::from_secs(3600);
        assert_eq!(read.sent(ahead).lag(), Some(Duration::ZERO), "the sender's clock is ahead");
    }
}
