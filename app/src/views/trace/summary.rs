//! What is said about a trace as a whole; found once, for it takes a look at every span.

use fuseboard_policy::names;

use super::built::Built;
use super::facts::End;
use super::tree::Hold;

/// The whole in a few figures.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    /// Spans whose parents have not come.
    pub(crate) loose: usize,
    /// Attempts after the first.
    pub(crate) retries: usize,
    /// Steps from a root to the deepest span.
    pub(crate) deepest: u32,
    /// Whether any span says what its deadline left.
    pub(crate) has_left: bool,
    /// The policy revision that calls ran under.
    pub(crate) revision: Option<String>,
    /// Where the trouble comes from: the earliest failing span under which nothing else fails. Refused calls come last, for
    /// they are consequences.
    pub(crate) culprit: Option<u32>,
    /// The span with the most work of its own.
    pub(crate) slowest: Option<u32>,
    /// The span with the longest stretch of the critical path.
    pub(crate) critical: Option<u32>,
    /// Whose work the path to the answer is: largest first, in nanoseconds.
    pub(crate) shares: Vec<(String, i64)>,
    /// The same for the path to the last span.
    pub(crate) long_shares: Vec<(String, i64)>,
}

impl Summary {
    /// Looks at everything.
    pub(crate) fn of(built: &Built) -> Self {
        let order = || built.tree.order.iter().copied();
        let bad = |i: u32| built.facts[i as usize].end != End::Well;
        let own = |i: &u32| bad(*i) && !built.tree.children(*i).iter().any(|c| bad(*c));
        let first = |i: &u32| (built.facts[*i as usize].end == End::Refused, built.times[*i as usize].0);
        Self {
            loose: built.tree.hold.iter().filter(|h| matches!(h, Hold::Orphan)).count(),
            retries: built.facts.iter().filter(|f| f.attempt > 1).count(),
            deepest: built.tree.depth.iter().copied().max().unwrap_or(0),
            has_left: built.facts.iter().any(|f| f.left_ms.is_some()),
            revision: built.trace.spans.iter().find_map(|s| s.attr(names::REVISION)).map(ToString::to_string),
            culprit: order().filter(own).min_by_key(first),
            slowest: order().max_by_key(|i| built.self_time(*i)),
            critical: built.path.iter().filter(|s| !s.queued).max_by_key(|s| s.to - s.from).map(|s| s.span),
            shares: built.shares(&built.path),
            long_shares: built.shares(&built.long_path),
        }
    }
}
