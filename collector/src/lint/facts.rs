//! What rules look at: the edges with what was observed on them and what the document gives them.

use std::collections::{BTreeMap, HashMap};

use fuseboard_api::ask::{Answer, Question};
use fuseboard_api::change::Change;
use fuseboard_api::command::PolicyEdit;
use fuseboard_api::fleet::Member;
use fuseboard_api::graph::EdgeKey;
use fuseboard_api::histogram::{LatencyHistogram, bounds_of};
use fuseboard_api::policy::{EffectiveEdge, Policies};
use fuseboard_api::stats::Stats;
use fuseboard_api::{TimeRange, UnixNanos};
use fuseboard_policy::document::{PolicyDocument, Problem, Rule};
use fuseboard_policy::set::PolicySet;
use fuseboard_policy::settings::EdgeSettings;

use super::Checked;
use super::paths::Paths;
use crate::control::picture;
use crate::query::rollups::{self, Numbers};
use crate::store::{Snapshot, StoreError};

/// Rates are looked at in so many steps at most.
const STEPS: u64 = 360;
/// Seconds of the shortest step.
const SHORTEST: u64 = 10;
/// What is usual is taken from so many stretches of the range…
const STRETCHES: usize = 12;
/// …of which the worst quarter is left out: an incident says nothing about a setting.
const LEFT_OUT: usize = 4;

/// An edge, what was observed on it, and what the document gives it.
#[derive(Debug)]
pub(super) struct EdgeFacts {
    pub(super) key: EdgeKey,
    /// What its callers saw in the range.
    pub(super) stats: Stats,
    /// How long single attempts took; cut ones count with the time of their cut.
    pub(super) attempts: LatencyHistogram,
    /// Whether it goes through a queue.
    pub(super) asynchronous: bool,
    /// Whether its calls are made through an agent, so that settings act on them.
    pub(super) governed: bool,
    /// Instances of the caller that have an agent, at least 1.
    pub(super) instances: f64,
    /// The settings that the document gives it.
    pub(super) settings: EdgeSettings,
    /// Setting path → the rule or preset that gives it.
    pub(super) provenance: BTreeMap<String, String>,
    /// The settings that were in force when the range ended, overrides included.
    pub(super) in_force: EdgeSettings,
    /// Calls a second that an instance of the caller usually makes: the median of the steps, the mean where that is 0.
    pub(super) usual: f64,
    /// The same at its busiest: the 99th percentile of the steps.
    pub(super) peak: f64,
    /// Attempts a call put on the wire.
    pub(super) attempts_per_call: f64,
    /// Counters without the worst stretches, see [`calm`].
    pub(super) calm: Calm,
}

impl EdgeFacts {
    /// The rule or preset that gives a setting, or anything inside a table.
    pub(super) fn given_by(&self, path: &str) -> &str {
        let inside = |at: &str| at == path || at.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
        self.provenance.iter().find(|(at, _)| inside(at)).map(|(_, by)| by.as_str()).unwrap_or_default()
    }

    /// Attempts a second of one instance: what its breaker sees.
    pub(super) fn attempts_peak(&self) -> f64 {
        self.peak * self.attempts_per_call
    }

    /// See [`Self::attempts_peak`].
    pub(super) fn attempts_usual(&self) -> f64 {
        self.usual * self.attempts_per_call
    }

    /// How long attempts took, in milliseconds, once at least five samples are expected beyond the quantile.
    pub(super) fn attempt_ms(&self, q: f64) -> Option<f64> {
        (self.attempts.count() as f64 * (1.0 - q).min(q) >= BEYOND).then(|| self.attempts.quantile(q))?.map(millis)
    }

    /// Attempts a call may make, hedges included.
    pub(super) fn most_attempts(&self) -> u32 {
        let tries = self.settings.retry.as_ref().and_then(|r| r.max_attempts).unwrap_or(1).max(1);
        let hedges = self
            .settings
            .hedge
            .as_ref()
            .map_or(0, |h| h.max_extra.unwrap_or(fuseboard_policy::settings::DEFAULT_MAX_EXTRA));
        tries.saturating_add(hedges)
    }
}

/// Samples expected beyond a quantile before it is believed, as the hedging engine has it.
const BEYOND: f64 = 5.0;

fn millis(duration: std::time::Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Counters without the worst stretches of the range: errors without the stretches with most errors, cuts without those
/// with most cuts. So an outage in the range is not taken for how things usually are.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Calm {
    /// Calls that were sent, in the stretches that count for errors.
    pub(super) sent: u64,
    /// Share of those that failed, 0…1.
    pub(super) failed: f64,
    /// Attempts, in the stretches that count for cuts.
    pub(super) attempts: u64,
    /// Share of those that the attempt timeout cut, 0…1.
    pub(super) cut: f64,
}

/// See [`Calm`].
fn calm(steps: &[Numbers]) -> Calm {
    let width = steps.len().div_ceil(STRETCHES).max(1);
    let stretches: Vec<Numbers> = steps
        .chunks(width)
        .map(|steps| {
            steps.iter().fold(Numbers::default(), |mut sum, one| {
                sum.add(*one);
                sum
            })
        })
        .collect();
    let share = |of: fn(&Numbers) -> (u64, u64)| {
        let mut parts: Vec<(u64, u64)> = stretches.iter().map(of).filter(|(_, all)| *all > 0).collect();
        parts.sort_by(|(a, x), (b, y)| (*a as f64 / *x as f64).total_cmp(&(*b as f64 / *y as f64)));
        parts.truncate(parts.len() - parts.len() / LEFT_OUT);
        let (some, all) = parts.iter().fold((0, 0), |(a, b), (x, y)| (a + x, b + y));
        (all, if all == 0 { 0.0 } else { some as f64 / all as f64 })
    };
    let (sent, failed) = share(|n| (n.errors.saturating_sub(n.refused), n.calls.saturating_sub(n.refused)));
    let (attempts, cut) = share(|n| (n.cut, n.attempts));
    Calm { sent, failed, attempts, cut }
}

/// A quantile of the steps' calls, in calls a step; steps before the first and after the last call do not count.
fn of_steps(steps: &[Numbers], q: f64) -> f64 {
    let first = steps.iter().position(|n| n.calls > 0).unwrap_or(0);
    let last = steps.iter().rposition(|n| n.calls > 0).map_or(0, |at| at + 1);
    let mut calls: Vec<u64> = steps.get(first..last).unwrap_or_default().iter().map(|n| n.calls).collect();
    calls.sort_unstable();
    let rank = ((calls.len() as f64 * q).ceil() as usize).max(1);
    calls.get(rank - 1).copied().unwrap_or(0) as f64
}

/// The mean of a histogram, in milliseconds, from the middles of its buckets; `None` when it is empty.
pub(super) fn mean_ms(histogram: &LatencyHistogram) -> Option<f64> {
    let (sum, count) = histogram.counts.iter().fold((0.0, 0u64), |(sum, count), (bucket, n)| {
        let (lo, hi) = bounds_of(*bucket);
        (sum + (lo as f64 + hi as f64) / 2.0 * *n as f64, count + n)
    });
    (count > 0).then(|| sum / count as f64 / 1e6)
}

/// Everything that rules look at.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) range: TimeRange,
    pub(super) as_of: UnixNanos,
    /// The revision in force.
    pub(super) revision: u64,
    /// Whether the document is not the one in force.
    pub(super) draft: bool,
    /// The document as written.
    text: String,
    pub(super) document: PolicyDocument,
    /// By key.
    pub(super) edges: Vec<EdgeFacts>,
    pub(super) paths: Paths,
    /// Overrides in force.
    pub(super) overrides: Vec<Change>,
    /// Instances that were heard of lately.
    pub(super) members: Vec<Member>,
}

impl Facts {
    /// Reads all of it; for a document that would be refused, the base revision and the problems.
    ///
    /// # Errors
    /// What the store says.
    pub(super) fn gather(
        read: &Snapshot<'_>,
        range: TimeRange,
        draft: Option<&str>,
        as_of: UnixNanos,
    ) -> Result<Result<Self, (u64, Vec<Problem>)>, StoreError> {
        let Answer::Policies(in_force) = picture::answer(read, &Question::Policies { range }, as_of)? else {
            return Err(StoreError::Corrupt("policies were asked for and something else came".into()));
        };
        let text = draft.unwrap_or(&in_force.document).to_owned();
        let checked: Checked = PolicyDocument::parse(&text);
        let document = match checked {
            Ok(document) => document,
            Err(problems) => return Ok(Err((in_force.revision.number, problems))),
        };
        let revision = in_force.revision.number;
        let edges = edges(read, in_force, &PolicySet::new(revision, &document), range, as_of)?;
        let paths = Paths::gather(read, &edges, range, as_of)?;
        let overrides = match picture::answer(read, &Question::Changes { range }, as_of)? {
            Answer::Changes(changes) => changes.overrides.into_iter().filter(|o| o.ended.is_none()).collect(),
            _ => Vec::new(),
        };
        let members = match picture::answer(read, &Question::Fleet { range }, as_of)? {
            Answer::Fleet(fleet) => fleet.members,
            _ => Vec::new(),
        };
        let draft = draft.is_some();
        Ok(Ok(Self { range, as_of, revision, draft, text, document, edges, paths, overrides, members }))
    }

    /// Edges on which settings act.
    pub(super) fn governed(&self) -> impl Iterator<Item = &EdgeFacts> {
        self.edges.iter().filter(|e| e.governed)
    }

    /// The range in words of people.
    pub(super) fn lasting(&self) -> String {
        super::words::lasting(self.range.length().as_secs_f64())
    }

    /// The rule of the document that provenance names.
    pub(super) fn rule(&self, label: &str) -> Option<&Rule> {
        self.document.rules().iter().find(|rule| rule.to_string() == label)
    }

    /// An edit that gives one edge a setting: in the rule that gives it now where no other edge has it from there, else in a
    /// rule for this edge, so that no other edge is touched.
    pub(super) fn set(&self, edge: &EdgeFacts, path: &str, value: impl Into<String>) -> PolicyEdit {
        let by = edge.given_by(path);
        let own = self.edges.iter().filter(|e| !by.is_empty() && e.given_by(path) == by).count() == 1;
        if let Some(rule) = self.rule(by).filter(|rule| own && rule.service != "*") {
            return Self::set_in(rule, path, Some(value.into()));
        }
        PolicyEdit {
            caller: Some(edge.key.caller.clone()),
            service: edge.key.callee.clone(),
            operation: Some(edge.key.operation.clone()),
            path: path.to_owned(),
            value: Some(value.into()),
        }
    }

    /// An edit of a rule of the document; `None` as the value removes the setting.
    pub(super) fn set_in(rule: &Rule, path: &str, value: Option<String>) -> PolicyEdit {
        PolicyEdit {
            caller: rule.caller.clone(),
            service: rule.service.clone(),
            operation: rule.operation.clone(),
            path: path.to_owned(),
            value,
        }
    }

    /// A service or callee with nearly that name: one letter more, fewer, other or two swapped in a name of four or more.
    pub(super) fn nearest_service(&self, name: &str) -> Option<&str> {
        let names = self.edges.iter().flat_map(|e| [e.key.caller.as_str(), e.key.callee.as_str()]);
        names.filter(|known| name.len() >= 4 && one_slip(known, name)).min()
    }

    /// The edits when the document with them would be accepted, else none: what is proposed can be published.
    pub(super) fn fit(&self, edits: Vec<PolicyEdit>) -> Vec<PolicyEdit> {
        let accepted = !edits.is_empty() && picture::with_edits(&self.text, &edits).is_ok();
        if accepted { edits } else { Vec::new() }
    }
}

/// Whether two names differ by one slip of the finger.
fn one_slip(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let (long, short) = if a.len() >= b.len() { (&a, &b) } else { (&b, &a) };
    let head = long.iter().zip(short).take_while(|(x, y)| x == y).count();
    let (long, short) = (long.get(head..).unwrap_or_default(), short.get(head..).unwrap_or_default());
    match (long, short) {
        (l, s) if l.len() == s.len() + 1 => l.get(1..) == Some(s),
        (l, s) if l.len() == s.len() && !l.is_empty() => {
            l.get(1..) == s.get(1..) || (l.get(2..) == s.get(2..) && l.first() == s.get(1) && l.get(1) == s.first())
        }
        _ => false,
    }
}

fn edges(
    read: &Snapshot<'_>,
    in_force: Policies,
    set: &PolicySet,
    range: TimeRange,
    as_of: UnixNanos,
) -> Result<Vec<EdgeFacts>, StoreError> {
    let step = range.length().as_secs().div_ceil(STEPS).max(1).div_ceil(SHORTEST).saturating_mul(SHORTEST);
    let step = i64::try_from(step).unwrap_or(i64::MAX);
    let mut steps: HashMap<EdgeKey, (bool, Vec<Numbers>)> = HashMap::new();
    let mut numbers = rollups::numbers(read, range, step, as_of)?;
    for (id, series) in rollups::series(read, as_of)? {
        if !series.inbound
            && let Some(numbers) = numbers.remove(&id)
        {
            steps.insert(series.key, (series.asynchronous, numbers));
        }
    }
    let facts = |edge: EffectiveEdge| {
        let (asynchronous, steps) = steps.remove(&edge.key).unwrap_or_default();
        of_edge(edge, set, asynchronous, &steps, step as f64)
    };
    Ok(in_force.edges.into_iter().map(facts).collect())
}

fn of_edge(edge: EffectiveEdge, set: &PolicySet, asynchronous: bool, steps: &[Numbers], seconds: f64) -> EdgeFacts {
    let given = set.effective(&edge.key.caller, &edge.key.callee, &edge.key.operation);
    let instances = f64::from(edge.instances.max(1));
    EdgeFacts {
        asynchronous,
        // Other clients of the same service (its database's driver, say) go by no policy: their calls have no attempts.
        governed: edge.steered && (edge.stats.attempts > 0 || edge.stats.refused > 0),
        instances,
        settings: given.settings,
        provenance: given.provenance,
        // Where most steps are empty the median says nothing.
        usual: match of_steps(steps, 0.5) {
            0.0 => edge.stats.rate() / instances,
            calls => calls / seconds / instances,
        },
        peak: of_steps(steps, 0.99) / seconds / instances,
        attempts_per_call: edge.stats.attempts_per_call().unwrap_or(1.0).max(1.0),
        calm: calm(steps),
        key: edge.key,
        attempts: edge.attempts,
        in_force: edge.settings,
        stats: edge.stats,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(calls: u64, errors: u64) -> Numbers {
        Numbers { calls, errors, attempts: calls, cut: errors, ..Numbers::default() }
    }

    #[test]
    fn an_outage_in_the_range_is_not_how_things_usually_are() {
        let mut steps = vec![step(100, 1); 48];
        steps[20..28].fill(step(100, 80));
        let calm = calm(&steps);
        assert!((calm.failed - 0.01).abs() < 1e-9 && (calm.cut - 0.01).abs() < 1e-9, "{calm:?}");
        assert_eq!(calm.sent, 3_600, "a quarter is left out");
    }

    #[test]
    fn names_are_near_by_one_slip_alone() {
        for (a, b) in [("payments", "payment"), ("orders", "ordres"), ("stock", "stick"), ("users", "xusers")] {
            assert!(one_slip(a, b) && one_slip(b, a), "{a} {b}");
        }
        for (a, b) in [("payments", "payments"), ("orders", "orde"), ("stock", "clock"), ("", "")] {
            assert!(!one_slip(a, b), "{a} {b}");
        }
    }

    #[test]
    fn a_few_steps_are_all_looked_at() {
        assert!((calm(&[step(10, 5), step(10, 0)]).failed - 0.25).abs() < 1e-9);
        assert_eq!(calm(&[]), Calm::default());
    }

    #[test]
    fn quiet_ends_of_the_range_do_not_lower_the_rate() {
        let steps = [step(0, 0), step(20, 0), step(0, 0), step(30, 0), step(40, 0), step(0, 0)];
        assert_eq!((of_steps(&steps, 0.5), of_steps(&steps, 0.99)), (20.0, 40.0));
        assert_eq!(of_steps(&[], 0.5), 0.0);
    }
}
