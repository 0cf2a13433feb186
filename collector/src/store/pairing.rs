//! Finds out who answered a call whose client span does not name its callee, and who asked when only the server's span
//! came. Both halves travel in different requests and usually the server's comes first, so each waits a while for the other.
//!
//! What waits is also written to the table `pending` in the transaction that brought it and taken out in the transaction
//! that counts it: a restart forgets nothing and counts nothing twice.

use std::collections::{BTreeSet, HashMap};

use fuseboard_api::{SpanId, TraceId};

/// How long a half waits for the other, in nanoseconds of arrival time.
pub(super) const PATIENCE: i64 = 10_000_000_000;

/// How many halves wait at most; beyond it the oldest are counted as if their time had come.
const CAPACITY: usize = 200_000;

/// The span that both halves know: the client's own id, the server's parent.
pub(super) type Meeting = (TraceId, SpanId);

/// One half of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Half {
    /// Row of its span.
    pub(super) span: i64,
    /// Whether it is the server's.
    pub(super) server: bool,
    /// Its service.
    pub(super) service: String,
    /// Its operation.
    pub(super) operation: String,
    /// For a client's half: what to call the callee when it never shows up.
    pub(super) fallback: String,
    /// End of its span.
    pub(super) end: i64,
    /// Duration of its span.
    pub(super) nanos: u64,
    /// Whether its span failed.
    pub(super) failed: bool,
    /// When it stops waiting.
    pub(super) deadline: i64,
}

/// What a newly arrived span is to those who wait at its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// A client's span without a named callee.
    Client,
    /// A client's span that is counted by itself.
    Counted,
    /// Work inside a service, or its answer to somebody else.
    Inside,
}

/// The halves that wait.
#[derive(Debug, Default)]
pub(super) struct Pairing {
    clients: HashMap<Meeting, Half>,
    servers: HashMap<Meeting, Vec<Half>>,
    /// (deadline, span row, meeting).
    deadlines: BTreeSet<(i64, i64, Meeting)>,
}

impl Pairing {
    /// Puts a half down to wait.
    pub(super) fn wait(&mut self, at: Meeting, half: Half) {
        self.deadlines.insert((half.deadline, half.span, at));
        if half.server {
            self.servers.entry(at).or_default().push(half);
        } else if let Some(before) = self.clients.insert(at, half) {
            self.deadlines.remove(&(before.deadline, before.span, at));
        }
    }

    /// The client that waits at `at`; it waits no longer.
    pub(super) fn take_client(&mut self, at: Meeting) -> Option<Half> {
        let half = self.clients.remove(&at)?;
        self.deadlines.remove(&(half.deadline, half.span, at));
        Some(half)
    }

    /// The servers that wait for the span `at`; they wait no longer.
    pub(super) fn take_servers(&mut self, at: Meeting) -> Vec<Half> {
        let halves = self.servers.remove(&at).unwrap_or_default();
        for half in &halves {
            self.deadlines.remove(&(half.deadline, half.span, at));
        }
        halves
    }

    /// Those whose time has come by `now`, and the oldest ones beyond the capacity.
    pub(super) fn expire(&mut self, now: i64) -> Vec<Half> {
        let mut out = Vec::new();
        while let Some(&(deadline, span, at)) = self.deadlines.first() {
            if deadline > now && self.deadlines.len() <= CAPACITY {
                break;
            }
            self.deadlines.pop_first();
            if self.clients.get(&at).is_some_and(|h| h.span == span) {
                out.extend(self.clients.remove(&at));
            } else if let Some(halves) = self.servers.get_mut(&at) {
                if let Some(i) = halves.iter().position(|h| h.span == span) {
                    out.push(halves.swap_remove(i));
                }
                if halves.is_empty() {
                    self.servers.remove(&at);
                }
            }
        }
        out
    }

    /// When the next half stops waiting.
    pub(super) fn next_deadline(&self) -> Option<i64> {
        self.deadlines.first().map(|(deadline, ..)| *deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn half(span: i64, server: bool, deadline: i64) -> Half {
        Half {
            span,
            server,
            service: format!("s{span}"),
            operation: String::new(),
            fallback: String::new(),
            end: 0,
            nanos: 0,
            failed: false,
            deadline,
        }
    }

    fn at(n: u8) -> Meeting {
        (TraceId([n; 16]), SpanId([n; 8]))
    }

    #[test]
    fn halves_meet_in_either_order_and_only_once() {
        let mut pairing = Pairing::default();
        pairing.wait(at(1), half(1, false, 10));
        assert_eq!(pairing.take_client(at(1)).map(|h| h.span), Some(1));
        assert_eq!(pairing.take_client(at(1)), None);
        pairing.wait(at(2), half(2, true, 10));
        pairing.wait(at(2), half(3, true, 11));
        assert_eq!(pairing.take_servers(at(2)).len(), 2);
        assert!(pairing.take_servers(at(2)).is_empty());
        assert_eq!(pairing.next_deadline(), None);
    }

    #[test]
    fn the_time_of_those_who_wait_comes_in_order() {
        let mut pairing = Pairing::default();
        pairing.wait(at(1), half(1, false, 30));
        pairing.wait(at(1), half(2, true, 20));
        pairing.wait(at(2), half(3, true, 10));
        assert_eq!(pairing.next_deadline(), Some(10));
        assert_eq!(pairing.expire(20).iter().map(|h| h.span).collect::<Vec<_>>(), [3, 2]);
        assert_eq!(pairing.expire(29), []);
        assert_eq!(pairing.expire(30).iter().map(|h| h.span).collect::<Vec<_>>(), [1]);
    }
}
