//! Finds out who answered a call whose client span does not name its callee, and who asked when only the server's span
//! came. Both halves often travel in different requests, so each waits a while for the other.
//!
//! What still waits when a commit ends is written into the table `pending` by that commit, and so is who waits no longer: a
//! restart forgets nothing and counts nothing twice. Lines of the table are dropped, oldest first, once nobody that they
//! tell of still waits.

use std::collections::{HashMap, HashSet, VecDeque};

use foldhash::fast::FixedState;

/// How long a half waits for the other, in nanoseconds of arrival time.
pub(super) const PATIENCE: i64 = 10_000_000_000;

/// How many halves wait at most; beyond it the oldest are counted as if their time had come.
const CAPACITY: usize = 200_000;

/// The span that both halves know: the client's own id, the server's parent, or the first span it links to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Meeting {
    pub(super) trace_id: [u8; 16],
    pub(super) span_id: [u8; 8],
}

/// One half of a call. Names are numbers of the writer's book.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Half {
    /// Its number, once the table knows it; 0 before.
    pub(super) id: i64,
    /// Where it waits.
    pub(super) at: Meeting,
    /// Whether it is the server's.
    pub(super) server: bool,
    /// Whether it takes messages, so that nobody waits for its answer.
    pub(super) asynchronous: bool,
    /// Its service.
    pub(super) service: u32,
    /// Its operation.
    pub(super) operation: u32,
    /// For a client's half: what to call the callee when it never shows up.
    pub(super) fallback: u32,
    /// Start of its span.
    pub(super) start: i64,
    /// End of its span.
    pub(super) end: i64,
    /// Whether its span failed.
    pub(super) failed: bool,
    /// When it stops waiting.
    pub(super) deadline: i64,
}

impl Half {
    /// How long its span took, in nanoseconds.
    pub(super) fn nanos(&self) -> u64 {
        self.end.saturating_sub(self.start).max(0) as u64
    }
}

/// The halves that wait.
#[derive(Debug, Default)]
pub(super) struct Pairing {
    clients: HashMap<Meeting, Half, FixedState>,
    servers: HashMap<Meeting, Vec<Half>, FixedState>,
    /// Who is in the table, in the order of their deadlines.
    line: VecDeque<Half>,
    /// Numbers of those in `line` who wait no longer.
    gone: HashSet<i64, FixedState>,
    /// Who began to wait since the last commit.
    fresh: Vec<Half>,
    /// Who of the table stopped to wait since the last commit.
    ended: Vec<i64>,
    next: i64,
}

impl Pairing {
    /// Puts a half down to wait.
    pub(super) fn wait(&mut self, half: Half) {
        if half.server {
            self.servers.entry(half.at).or_default().push(half);
            self.fresh.push(half);
        } else if let Some(before) = self.clients.insert(half.at, half) {
            self.end(&before);
            self.fresh.push(half);
        } else {
            self.fresh.push(half);
        }
    }

    /// Whether a server waits for anybody.
    pub(super) fn servers_wait(&self) -> bool {
        !self.servers.is_empty()
    }

    /// The client that waits at `at`; it waits no longer.
    pub(super) fn take_client(&mut self, at: &Meeting) -> Option<Half> {
        let half = self.clients.remove(at)?;
        self.end(&half);
        Some(half)
    }

    /// The servers that wait for the span `at`; they wait no longer.
    pub(super) fn take_servers(&mut self, at: &Meeting) -> Vec<Half> {
        let halves = self.servers.remove(at).unwrap_or_default();
        for half in &halves {
            self.end(half);
        }
        halves
    }

    fn end(&mut self, half: &Half) {
        if half.id > 0 {
            self.ended.push(half.id);
            self.gone.insert(half.id);
        }
    }

    /// Those whose time has come by `now`, and the oldest ones beyond the capacity.
    pub(super) fn expire(&mut self, now: i64) -> Vec<Half> {
        let mut out = Vec::new();
        while let Some(first) = self.line.front().copied() {
            if self.gone.contains(&first.id) {
                self.gone.remove(&first.id);
                self.line.pop_front();
                continue;
            }
            if first.deadline > now && self.line.len() - self.gone.len() <= CAPACITY {
                break;
            }
            self.line.pop_front();
            if first.server {
                if let Some(halves) = self.servers.get_mut(&first.at) {
                    halves.retain(|h| h.id != first.id);
                    if halves.is_empty() {
                        self.servers.remove(&first.at);
                    }
                }
            } else {
                self.clients.remove(&first.at);
            }
            self.ended.push(first.id);
            out.push(first);
        }
        out
    }

    /// When the next half stops waiting.
    pub(super) fn next_deadline(&self) -> Option<i64> {
        self.line.iter().find(|h| !self.gone.contains(&h.id)).map(|h| h.deadline)
    }

    /// At the end of a commit: numbers those who began to wait and still do. Gives them, and who stopped.
    pub(super) fn settle(&mut self) -> (Vec<Half>, Vec<i64>) {
        let mut stay = Vec::new();
        for mut half in std::mem::take(&mut self.fresh) {
            let place = match half.server {
                true => self
                    .servers
                    .get_mut(&half.at)
                    .and_then(|halves| halves.iter_mut().find(|h| h.id == 0 && **h == half)),
                false => self.clients.get_mut(&half.at).filter(|h| **h == half),
            };
            let Some(place) = place else { continue };
            self.next += 1;
            half.id = self.next;
            *place = half;
            self.line.push_back(half);
            stay.push(half);
        }
        if self.gone.len() > 10_000 && self.gone.len() * 2 > self.line.len() {
            let gone = std::mem::take(&mut self.gone);
            self.line.retain(|h| !gone.contains(&h.id));
        }
        (stay, std::mem::take(&mut self.ended))
    }

    /// Puts back a half that the table holds; in the order of their numbers.
    pub(super) fn restore(&mut self, half: Half) {
        self.next = self.next.max(half.id);
        if half.server {
            self.servers.entry(half.at).or_default().push(half);
        } else if let Some(before) = self.clients.insert(half.at, half) {
            self.end(&before);
        }
        self.line.push_back(half);
    }

    /// Everybody who waits, with the names that `number` gives in place of theirs.
    pub(super) fn renumber(&mut self, mut number: impl FnMut(u32) -> u32) {
        let halves = self.clients.values_mut().chain(self.servers.values_mut().flatten());
        for half in halves.chain(&mut self.line).chain(&mut self.fresh) {
            for name in [&mut half.service, &mut half.operation, &mut half.fallback] {
                *name = number(*name);
            }
        }
    }

    /// The largest number given.
    pub(super) fn last_number(&self) -> i64 {
        self.next
    }

    /// No number up to this is given again.
    pub(super) fn number_after(&mut self, last: i64) {
        self.next = self.next.max(last);
    }

    /// The smallest number of those who wait; whoever is below it is done with.
    pub(super) fn first_waiting(&self) -> i64 {
        let first = self.line.iter().find(|h| !self.gone.contains(&h.id));
        first.map_or(self.next + 1, |h| h.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn half(start: i64, place: u8, server: bool, deadline: i64) -> Half {
        let at = at(place);
        Half { at, server, start, deadline, ..Half::default() }
    }

    fn at(n: u8) -> Meeting {
        Meeting { trace_id: [n; 16], span_id: [n; 8] }
    }

    fn starts(halves: &[Half]) -> Vec<i64> {
        halves.iter().map(|h| h.start).collect()
    }

    #[test]
    fn halves_meet_in_either_order_and_only_once() {
        let mut pairing = Pairing::default();
        pairing.wait(half(1, 1, false, 10));
        assert_eq!(pairing.take_client(&at(1)).map(|h| h.start), Some(1));
        assert_eq!(pairing.take_client(&at(1)), None);
        pairing.wait(half(2, 2, true, 10));
        pairing.wait(half(3, 2, true, 10));
        pairing.wait(half(4, 3, true, 10));
        let (stay, ended) = pairing.settle();
        assert_eq!((starts(&stay), ended), (vec![2, 3, 4], vec![]), "who met within the commit is not written");
        assert_eq!(starts(&pairing.take_servers(&at(2))), [2, 3]);
        assert!(pairing.take_servers(&at(2)).is_empty());
        assert_eq!(pairing.settle(), (vec![], vec![1, 2]));
        assert_eq!((pairing.first_waiting(), pairing.next_deadline()), (3, Some(10)));
    }

    #[test]
    fn the_time_of_those_who_wait_comes_in_order() {
        let mut pairing = Pairing::default();
        pairing.wait(half(1, 1, false, 10));
        pairing.wait(half(2, 1, true, 10));
        pairing.settle();
        pairing.wait(half(3, 2, true, 20));
        assert_eq!(starts(&pairing.expire(9)), [0i64; 0]);
        assert_eq!(starts(&pairing.expire(20)), [1, 2], "the third is not in the table yet");
        pairing.settle();
        assert_eq!(pairing.next_deadline(), Some(20));
        assert_eq!(starts(&pairing.expire(20)), [3]);
        assert_eq!((pairing.next_deadline(), pairing.servers_wait()), (None, false));
        assert_eq!(pairing.settle(), (vec![], vec![3]));
        assert_eq!(pairing.first_waiting(), 4);
    }
}
