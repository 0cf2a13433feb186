//! Starts the agent's own spans: whether one is recorded, its ids, its place in the trace.

use std::str::FromStr;
use std::sync::Arc;

use opentelemetry::Context;
use opentelemetry::trace::{
    self, SpanBuilder, SpanContext, SpanId, SpanKind, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample as _, SpanLimits};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::time::Instant;

use super::queue::{Queue, Told};
use super::span::{At, Begun, Common, Record, Span};

thread_local! {
    static IDS: std::cell::RefCell<SmallRng> = std::cell::RefCell::new(SmallRng::from_os_rng());
}

/// Which traces are recorded, as OpenTelemetry's environment says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sampling {
    /// Whether a parent's decision counts.
    by_parent: bool,
    /// For spans whose parent does not decide.
    root: Root,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Root {
    On,
    Off,
    Ratio(f64),
}

impl Sampling {
    /// By `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`: what is missing or unknown means that the parent decides and
    /// every trace that begins here is recorded.
    pub(super) fn from_environment() -> Self {
        let said = |name| std::env::var(name).ok();
        Self::read(said("OTEL_TRACES_SAMPLER").as_deref(), said("OTEL_TRACES_SAMPLER_ARG").as_deref())
    }

    fn read(sampler: Option<&str>, argument: Option<&str>) -> Self {
        let ratio = || Root::Ratio(argument.and_then(|text| text.parse().ok()).unwrap_or(1.0));
        let (by_parent, root) = match sampler {
            Some("always_on") => (false, Root::On),
            Some("always_off") => (false, Root::Off),
            Some("traceidratio") => (false, ratio()),
            Some("parentbased_always_off") => (true, Root::Off),
            Some("parentbased_traceidratio") => (true, ratio()),
            _ => (true, Root::On),
        };
        Self { by_parent, root }
    }

    /// The same for the SDK's spans.
    pub(super) fn sampler(self) -> Sampler {
        let root = self.root.sampler();
        if self.by_parent { Sampler::ParentBased(Box::new(root)) } else { root }
    }

    fn takes(self, parent: Option<&SpanContext>, trace: TraceId) -> bool {
        match (parent.filter(|_| self.by_parent), self.root) {
            (Some(parent), _) => parent.is_sampled(),
            (None, Root::On) => true,
            (None, Root::Off) => false,
            (None, root) => {
                let result = root.sampler().should_sample(None, trace, "", &SpanKind::Internal, &[], &[]);
                result.decision == SamplingDecision::RecordAndSample
            }
        }
    }
}

impl Root {
    fn sampler(self) -> Sampler {
        match self {
            Self::On => Sampler::AlwaysOn,
            Self::Off => Sampler::AlwaysOff,
            Self::Ratio(ratio) => Sampler::TraceIdRatioBased(ratio),
        }
    }
}

/// How much a span may hold: the SDK's defaults, or what `OTEL_SPAN_{ATTRIBUTE,EVENT,LINK}_COUNT_LIMIT` say.
fn limits_from_environment() -> SpanLimits {
    let mut limits = SpanLimits::default();
    let read = |name: &str, to: &mut u32| {
        if let Some(limit) = std::env::var(name).ok().and_then(|text| u32::from_str(&text).ok()) {
            *to = limit;
        }
    };
    read("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", &mut limits.max_attributes_per_span);
    read("OTEL_SPAN_EVENT_COUNT_LIMIT", &mut limits.max_events_per_span);
    read("OTEL_SPAN_LINK_COUNT_LIMIT", &mut limits.max_links_per_span);
    limits
}

/// What a new span hangs on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parent<'a> {
    ids: Option<&'a SpanContext>,
    /// Nothing is to be told in this context.
    suppressed: bool,
}

impl<'a> Parent<'a> {
    /// A span, within a context that may want silence.
    pub(crate) fn new(ids: &'a SpanContext, cx: &Context) -> Self {
        // Ids of zeros are no parent.
        Self { ids: Some(ids).filter(|ids| ids.is_valid()), suppressed: cx.is_telemetry_suppressed() }
    }
}

/// Makes the agent's spans.
#[derive(Debug)]
pub(crate) struct Tracer {
    sampling: Sampling,
    limits: SpanLimits,
    out: Option<Arc<Queue<Told>>>,
}

impl Tracer {
    /// One whose spans go into a queue. Without one there are none, and the ids of whoever called go on to whoever is called.
    pub(super) fn new(sampling: Sampling, out: Option<Arc<Queue<Told>>>) -> Self {
        Self { sampling, limits: limits_from_environment(), out }
    }

    /// Starts a span. `write` says what it tells from the start, if it is recorded at all.
    pub(crate) fn begin(
        &self,
        parent: Parent<'_>,
        kind: SpanKind,
        common: &Arc<Common>,
        at: At,
        write: impl FnOnce(&mut Record),
    ) -> Span {
        if parent.suppressed {
            return Span::silent(SpanContext::NONE);
        }
        let Some(out) = &self.out else {
            return Span::silent(parent.ids.cloned().unwrap_or(SpanContext::NONE));
        };
        let (trace, span, flags, state) = IDS.with_borrow_mut(|rng| {
            let span = SpanId::from(rng.random::<u64>());
            match parent.ids {
                Some(ids) => (ids.trace_id(), span, ids.trace_flags(), ids.trace_state().clone()),
                None => (TraceId::from(rng.random::<u128>()), span, TraceFlags::default(), TraceState::NONE),
            }
        });
        if !self.sampling.takes(parent.ids, trace) {
            return Span::silent(SpanContext::new(trace, span, TraceFlags::default(), false, state));
        }
        let begun = Begun {
            ids: SpanContext::new(trace, span, flags.with_sampled(true), false, state),
            parent: parent.ids.map(|ids| (ids.span_id(), ids.is_remote())),
            kind,
            common: common.clone(),
            start: at,
            limits: self.limits,
        };
        begun.record(out, write)
    }
}

/// For spans that are too rare to be cheap.
impl trace::Tracer for Tracer {
    type Span = Span;

    fn build_with_context(&self, mut builder: SpanBuilder, parent_cx: &Context) -> Span {
        let parent = parent_cx.span();
        let common = Common::named(&builder.name);
        let at = builder.start_time.take().map_or_else(|| At::Read(Instant::now()), At::Said);
        let kind = builder.span_kind.take().unwrap_or(SpanKind::Internal);
        self.begin(Parent::new(parent.span_context(), parent_cx), kind, &common, at, |record| record.built(builder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_says_what_is_sampled() {
        let (on, off) = (Root::On, Root::Off);
        for (sampler, argument, by_parent, root) in [
            (None, None, true, on),
            (Some("always_on"), None, false, on),
            (Some("always_off"), Some("1"), false, off),
            (Some("traceidratio"), Some("0.25"), false, Root::Ratio(0.25)),
            (Some("traceidratio"), Some("much"), false, Root::Ratio(1.0)),
            (Some("parentbased_always_on"), None, true, on),
            (Some("parentbased_always_off"), None, true, off),
            (Some("parentbased_traceidratio"), Some("0.5"), true, Root::Ratio(0.5)),
            (Some("xray"), None, true, on),
        ] {
            assert_eq!(Sampling::read(sampler, argument), Sampling { by_parent, root }, "{sampler:?} {argument:?}");
        }
    }

    /// The SDK's sampler is the model.
    #[test]
    fn takes_what_the_sdk_would_take() {
        let names =
            ["always_on", "always_off", "traceidratio", "parentbased_always_off", "parentbased_traceidratio", "?"];
        for name in names {
            let sampling = Sampling::read(Some(name), Some("0.4"));
            for n in 1..200_u128 {
                let trace = TraceId::from(n * (u128::MAX / 200));
                for parent in [None, Some(TraceFlags::default()), Some(TraceFlags::SAMPLED)] {
                    let parent = parent.map(|flags| {
                        SpanContext::new(trace, SpanId::from(1), flags, n % 2 == 0, TraceState::default())
                    });
                    let mut cx = Context::new();
                    if let Some(parent) = &parent {
                        cx = cx.with_remote_span_context(parent.clone());
                    }
                    let model =
                        sampling.sampler().should_sample(Some(&cx), trace, "", &SpanKind::Client, &[], &[]).decision;
                    let taken = sampling.takes(parent.as_ref(), trace);
                    assert_eq!(taken, model == SamplingDecision::RecordAndSample, "{name} {trace} {parent:?}");
                }
            }
        }
    }
}
