//! Searching inside a trace, some spans a frame, so that a large trace does not hold the frame up.

use fuseboard_api::span::Span;

use super::built::Built;

/// Spans looked at in one frame at most.
const STRIDE: usize = 20_000;

/// A search on its way.
#[derive(Debug, Default)]
pub(crate) struct Find {
    /// What is typed.
    pub(crate) text: String,
    asked: String,
    next: usize,
    hits: Vec<u32>,
    at: Option<usize>,
}

impl Find {
    /// Looks on; `true` while there is more to look at. Hits are spans in the order of the tree.
    pub(crate) fn go_on(&mut self, built: &Built) -> bool {
        let wanted = self.text.trim().to_lowercase();
        if wanted != self.asked {
            *self = Self { text: std::mem::take(&mut self.text), asked: wanted, ..Self::default() };
        }
        if self.asked.is_empty() {
            return false;
        }
        let end = (self.next + STRIDE).min(built.tree.order.len());
        for i in &built.tree.order[self.next.min(end)..end] {
            if built.span(*i).is_some_and(|s| matches(s, &self.asked)) {
                self.hits.push(*i);
            }
        }
        self.next = end;
        end < built.tree.order.len()
    }

    /// Whether anything is looked for.
    pub(crate) fn is_on(&self) -> bool {
        !self.asked.is_empty()
    }

    /// How many hits there are, and which one stands, from 1.
    pub(crate) fn standing(&self) -> (usize, usize) {
        (self.at.map_or(0, |a| a + 1), self.hits.len())
    }

    /// Whether a span is a hit.
    pub(crate) fn has(&self, span: u32, built: &Built) -> bool {
        self.is_on() && built.span(span).is_some_and(|s| matches(s, &self.asked))
    }

    /// The next hit, or the one before, round and round.
    pub(crate) fn step(&mut self, forward: bool) -> Option<u32> {
        let n = self.hits.len();
        if n == 0 {
            return None;
        }
        let at = match (self.at, forward) {
            (None, true) => 0,
            (None, false) => n - 1,
            (Some(a), true) => (a + 1) % n,
            (Some(a), false) => (a + n - 1) % n,
        };
        self.at = Some(at);
        self.hits.get(at).copied()
    }
}

/// Whether a span's name, service, message, an attribute or an event has the text (lower case).
fn matches(span: &Span, text: &str) -> bool {
    let has = |s: &str| s.to_lowercase().contains(text);
    has(&span.name)
        || has(&span.origin.service)
        || has(&span.origin.instance)
        || has(&span.status_message)
        || span.attributes.iter().any(|(k, v)| has(k) || has(&v.to_string()))
        || span.events.iter().any(|e| has(&e.name))
        || (text.len() >= 4 && span.span_id.to_string().starts_with(text))
}
