//! Why a span ended as it did, in words.

use fuseboard_api::attr::AttrValue;
use fuseboard_api::span::{Span, SpanKind};
use fuseboard_policy::names;

use super::built::{Built, peer};
use super::facts::{End, Facts, number};
use crate::widgets::{Tone, format};

/// The sentence, and what else there is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ending {
    /// How bad.
    pub(crate) tone: Tone,
    /// The sentence.
    pub(crate) sentence: String,
    /// More sentences.
    pub(crate) more: Vec<String>,
}

/// The tone of an end.
pub(crate) fn tone(end: End) -> Tone {
    match end {
        End::Well => Tone::Well,
        End::Failed => Tone::Failed,
        End::Timeout | End::Cancelled => Tone::AtRisk,
        End::Refused => Tone::Probing,
    }
}

/// Why span `i` ended as it did.
pub(crate) fn ending(built: &Built, i: u32) -> Option<Ending> {
    let span = built.span(i)?;
    let facts = built.facts[i as usize];
    let sentence = match facts.end {
        End::Well => "It ended well.".to_owned(),
        End::Failed => failed(span),
        End::Timeout => timeout(span, facts),
        End::Cancelled => "Its caller gave up and cancelled it.".to_owned(),
        End::Refused if !built.is_ghost(i) => "Its last attempt was refused locally, and no other was made.".to_owned(),
        End::Refused => refused(span),
    };
    Some(Ending { tone: tone(facts.end), sentence, more: more(built, i, span, facts) })
}

/// The few words on a bar.
pub(crate) fn on_bar(built: &Built, i: u32) -> String {
    let Some(span) = built.span(i) else { return String::new() };
    let (facts, (begin, end)) = (built.facts[i as usize], built.times[i as usize]);
    let took = format::nanos((end - begin).unsigned_abs());
    let side = match span.kind {
        _ if facts.call => " call",
        SpanKind::Client => " client",
        SpanKind::Server => " server",
        SpanKind::Producer => " producer",
        SpanKind::Consumer => " consumer",
        SpanKind::Internal | SpanKind::Unspecified => "",
    };
    let attempts = built.tree.children(i).iter().filter(|c| built.facts[**c as usize].attempt > 0).count();
    match facts.end {
        End::Refused if attempts > 0 => format!("{took}{side} · {} · {}", counted(attempts), refused_by(span)),
        End::Refused if end - begin < 1_000 => format!("refused at once · {}", refused_by(span)),
        End::Refused => format!("refused in {took} · {}", refused_by(span)),
        End::Timeout => match timeout_ms(span, facts) {
            Some(ms) => format!("{took} · timeout {}", format::millis(ms)),
            None => format!("{took} · timeout"),
        },
        End::Cancelled => format!("{took}{side} · cancelled"),
        End::Failed => format!("{took}{side} · {}", reason(span)),
        End::Well if built.given_up[i as usize] < end => {
            let at = built.given_up[i as usize].max(begin) - begin;
            format!("{took}{side} · given up after {}", format::nanos(at.unsigned_abs()))
        }
        End::Well if facts.call && attempts > 1 => format!("{took} call · {}", counted(attempts)),
        End::Well => format!("{took}{side}"),
    }
}

fn counted(attempts: usize) -> String {
    format::plural(attempts as u64, "attempt")
}

/// What a span is called in the tree: its name, or which attempt it was and where it went.
pub(crate) fn title(built: &Built, i: u32) -> String {
    let Some(span) = built.span(i) else { return String::new() };
    let facts = built.facts[i as usize];
    let of_call = built.tree.parent(i).is_some_and(|p| built.facts[p as usize].call);
    if facts.call || facts.attempt == 0 || (facts.attempt == 1 && !of_call) {
        return span.name.clone();
    }
    match target(built, i, span) {
        Some(target) if facts.end != End::Refused => format!("attempt {} → {target}", facts.attempt),
        _ => format!("attempt {} · {}", facts.attempt, span.name),
    }
}

/// The instance that an attempt went to, as far as anybody knows.
fn target<'a>(built: &'a Built, i: u32, span: &'a Span) -> Option<&'a str> {
    let server = built.tree.children(i).iter().filter_map(|c| built.span(*c)).find(|c| c.kind == SpanKind::Server);
    server.map(|s| s.origin.instance.as_str()).filter(|s| !s.is_empty()).or_else(|| peer(span))
}

fn text<'a>(span: &'a Span, key: &str) -> Option<&'a str> {
    span.attr(key).and_then(AttrValue::as_str)
}

fn timeout_ms(span: &Span, facts: Facts) -> Option<f64> {
    let of = |key| span.attr(key).and_then(number);
    if facts.call { of(names::OVERALL_TIMEOUT_MS) } else { of(names::ATTEMPT_TIMEOUT_MS) }
}

fn timeout(span: &Span, facts: Facts) -> String {
    let which = if facts.call { "overall" } else { "attempt" };
    match timeout_ms(span, facts) {
        Some(ms) if facts.attempt > 0 || facts.call => format!("The {which} timeout ({}) cut it.", format::millis(ms)),
        _ => "Its deadline passed.".to_owned(),
    }
}

fn refused_by(span: &Span) -> String {
    match text(span, names::REFUSED_BY) {
        Some("breaker") => match text(span, names::BREAKER_STATE) {
            Some("forced_open") => "breaker forced open".to_owned(),
            Some("half_open") => "breaker probing".to_owned(),
            _ => "breaker open".to_owned(),
        },
        Some("deadline") => "no time left".to_owned(),
        Some("retry_budget") => "retry budget spent".to_owned(),
        Some("rate") => "rate limit".to_owned(),
        Some("throttle") => "throttled".to_owned(),
        Some("concurrency") => "too many at once".to_owned(),
        Some(other) => other.replace('_', " "),
        None => "refused".to_owned(),
    }
}

fn refused(span: &Span) -> String {
    match text(span, names::REFUSED_BY) {
        Some("breaker") => match text(span, names::BREAKER_STATE) {
            Some("forced_open") => "The circuit breaker, forced open, refused it; nothing was sent.".to_owned(),
            Some("half_open") => {
                "The circuit breaker was probing and let no other call through; nothing was sent.".to_owned()
            }
            _ => "The open circuit breaker refused it; nothing was sent.".to_owned(),
        },
        Some("deadline") => "The caller's deadline left no time for it; nothing was sent.".to_owned(),
        Some("retry_budget") => "The retry budget was spent; nothing was sent.".to_owned(),
        Some("rate") => "The rate limit refused it; nothing was sent.".to_owned(),
        Some("concurrency") => "Too many calls were in flight already; nothing was sent.".to_owned(),
        _ => format!("A local rule ({}) refused it; nothing was sent.", refused_by(span)),
    }
}

/// The shortest name of a failure.
pub(crate) fn reason(span: &Span) -> String {
    let keys = [
        "rpc.response.status_code",
        "rpc.status_code",
        "rpc.grpc.status_code",
        "http.response.status_code",
        "http.status_code",
        "error.type",
        "exception.type",
    ];
    let told = keys.into_iter().find_map(|k| span.attr(k)).map(ToString::to_string);
    told.filter(|t| !t.is_empty())
        .or_else(|| (!span.status_message.is_empty()).then(|| span.status_message.clone()))
        .unwrap_or_else(|| "failed".to_owned())
}

fn failed(span: &Span) -> String {
    let reason = reason(span);
    match span.kind {
        _ if reason == "failed" => "It failed; it does not say why.".to_owned(),
        SpanKind::Client => format!("The callee answered {reason}."),
        _ => format!("It failed with {reason}."),
    }
}

fn more(built: &Built, i: u32, span: &Span, facts: Facts) -> Vec<String> {
    let mut more = Vec::new();
    let (begin, end) = built.times[i as usize];
    if !span.status_message.is_empty() && facts.end != End::Well {
        more.push(format!("“{}”", span.status_message));
    }
    if matches!(facts.end, End::Timeout | End::Cancelled) {
        let last = built.tree.children(i).iter().map(|c| built.times[*c as usize].1).max().unwrap_or(end);
        if last > end {
            more.push(format!(
                "The callee went on for {} more: wasted work.",
                format::nanos((last - end).unsigned_abs())
            ));
        }
    }
    let given_up = built.given_up[i as usize];
    if given_up < end {
        let wasted = end - given_up.max(begin);
        more.push(format!("Nobody waited for its last {} any more.", format::nanos(wasted.unsigned_abs())));
    }
    if let Some(left) = facts.left_ms
        && left <= 0.0
    {
        more.push("The deadline had passed when it began.".to_owned());
    }
    if facts.backoff > 0 {
        more.push(format!("It began after a backoff of {}.", format::nanos(facts.backoff.unsigned_abs())));
    }
    let shift = built.skew.shift.get(i as usize).copied().unwrap_or(0);
    if shift != 0 {
        let way = if shift > 0 { "later" } else { "earlier" };
        more.push(format!("Its host's clock was corrected: {} {way}.", format::nanos(shift.unsigned_abs())));
    }
    more
}
