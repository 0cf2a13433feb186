//! The room of engines: one for each callee and operation, found without a lock, kept over every change of policy.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use fuseboard_policy::pipeline::{Call, EdgeEngine, Inbound, Plan, Refused};
use fuseboard_policy::settings::{EdgeSettings, Fault, ServiceSettings};

use tokio::sync::Notify;

use crate::call::Lanes;
use crate::clock::Clock;
use crate::rules::Rules;
use crate::shedding::{LoadSource, Shedding};

/// The operation of those beyond the cap.
pub(crate) const OTHER: &str = "(other)";

/// What is in force on an edge.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct InForce {
    /// Settings, overrides included.
    pub(crate) settings: EdgeSettings,
    /// Revision of the policy.
    pub(crate) revision: u64,
    /// The override that acts on the breaker, else the first that acts at all; 0 none.
    pub(crate) override_id: u64,
    /// Injected fault.
    pub(crate) fault: Option<Fault>,
    /// Over all of it.
    pub(crate) hash: [u8; 16],
}

/// One caller's side of an edge.
#[derive(Debug)]
pub(crate) struct Edge {
    /// The callee.
    pub(crate) service: Arc<str>,
    /// Its operation, or [`OTHER`].
    pub(crate) operation: Arc<str>,
    engine: Arc<EdgeEngine>,
    /// What its calls have in common for telemetry.
    pub(crate) lanes: Lanes,
    now: ArcSwap<Now>,
}

/// What is in force and the engine's plan for it: one change for both.
#[derive(Debug)]
struct Now {
    in_force: Arc<InForce>,
    plan: Arc<Plan>,
}

impl Edge {
    fn new(service: &Arc<str>, operation: Arc<str>, in_force: InForce, now: u64) -> Self {
        let engine = EdgeEngine::new(&in_force.settings, now);
        let now = ArcSwap::from_pointee(Now { in_force: Arc::new(in_force), plan: engine.plan() });
        Self { service: service.clone(), operation, engine, lanes: Lanes::default(), now }
    }

    /// A call begins: it keeps what is in force now to its end.
    pub(crate) fn begin(&self, now: u64, inbound: Inbound) -> (Arc<InForce>, Result<Call, Refused>) {
        let at_once = self.now.load();
        (at_once.in_force.clone(), at_once.plan.begin(now, inbound, rand::random::<f64>()))
    }

    /// What is in force.
    pub(crate) fn in_force(&self) -> Arc<InForce> {
        self.now.load().in_force.clone()
    }

    /// The engine.
    pub(crate) fn engine(&self) -> &EdgeEngine {
        &self.engine
    }

    /// Changes follow one another: [`Edges::change`].
    fn change(&self, new: InForce, now: u64) {
        if self.now.load().in_force.settings != new.settings {
            self.engine.reconfigure(&new.settings, now);
        }
        self.now.store(Arc::new(Now { in_force: Arc::new(new), plan: self.engine.plan() }));
    }
}

/// Edges of one callee, by operation.
type Operations = HashMap<Arc<str>, Arc<Edge>>;

/// All edges of an agent, and the rules that they obey.
pub(crate) struct Edges {
    caller: Arc<str>,
    instance: Arc<str>,
    clock: Clock,
    most: usize,
    all: ArcSwap<HashMap<Arc<str>, Arc<Operations>>>,
    /// Held while an edge is added or the rules are replaced, so that no new edge misses a change.
    rules: Mutex<Arc<Rules>>,
    /// The first edge is there.
    pub(crate) first: Notify,
    /// This service's own side.
    pub(crate) own: Shedding,
}

impl Edges {
    /// No edges yet; `most` operations of a callee get an engine of their own.
    pub(crate) fn new(caller: Arc<str>, instance: Arc<str>, clock: Clock, most: usize, rules: Arc<Rules>) -> Self {
        let own = Shedding::new(clock, &rules.set.service(&caller), None);
        let (all, rules, first) = (ArcSwap::default(), Mutex::new(rules), Notify::new());
        Self { caller, instance, clock, most, all, rules, first, own }
    }

    /// Reads the processor's load elsewhere.
    pub(crate) fn with_load(mut self, source: Option<LoadSource>) -> Self {
        let rules = self.rules.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.own = Shedding::new(self.clock, &rules.set.service(&self.caller), source);
        self
    }

    /// The edge of an operation; the shared one of the callee when it has too many.
    pub(crate) fn get(&self, service: &Arc<str>, operation: &Arc<str>) -> Arc<Edge> {
        if let Some(operations) = self.all.load().get(service) {
            if let Some(edge) = operations.get(operation) {
                return edge.clone();
            }
            if operations.len() >= self.most
                && let Some(edge) = operations.get(OTHER)
            {
                return edge.clone();
            }
        }
        self.add(service, operation)
    }

    fn add(&self, service: &Arc<str>, operation: &Arc<str>) -> Arc<Edge> {
        let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = HashMap::clone(&self.all.load());
        let mut operations = all.get(service).map(|o| Operations::clone(o)).unwrap_or_default();
        let operation = if operations.len() < self.most { operation.clone() } else { Arc::from(OTHER) };
        if let Some(edge) = operations.get(&operation) {
            return edge.clone();
        }
        let in_force = rules.resolve(&self.caller, &self.instance, service, &operation);
        let edge = Arc::new(Edge::new(service, operation.clone(), in_force, self.clock.now()));
        operations.insert(operation, edge.clone());
        all.insert(service.clone(), Arc::new(operations));
        self.all.store(Arc::new(all));
        self.first.notify_one();
        edge
    }

    /// Other rules, for every edge; engines keep their state. One change at a time: the caller sees to it. A call to an
    /// operation that is new does not wait for the edges that are there.
    pub(crate) fn change(&self, rules: &Arc<Rules>) {
        // From here on new edges begin with these rules; those before them are in the list.
        *self.rules.lock().unwrap_or_else(PoisonError::into_inner) = rules.clone();
        let now = self.clock.now();
        for edge in self.list() {
            edge.change(rules.resolve(&self.caller, &self.instance, &edge.service, &edge.operation), now);
        }
        self.own.change(&rules.set.service(&self.caller));
    }

    /// Over the settings of this service's own side, where there are any.
    pub(crate) fn own_hash(&self) -> Option<[u8; 16]> {
        let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let settings = rules.set.service(&self.caller);
        (settings != ServiceSettings::default()).then(|| settings.hash())
    }

    /// All edges.
    pub(crate) fn list(&self) -> Vec<Arc<Edge>> {
        self.all.load().values().flat_map(|operations| operations.values().cloned()).collect()
    }

    /// Whether there are any.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.load().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fuseboard_policy::document::PolicyDocument;
    use fuseboard_policy::set::PolicySet;

    fn rules(text: &str) -> Arc<Rules> {
        let set = PolicySet::new(1, &PolicyDocument::parse(text).unwrap());
        Arc::new(Rules { set, overrides: Vec::new() })
    }

    #[tokio::test(start_paused = true)]
    async fn operations_beyond_the_cap_share_one_engine() {
        let edges = Edges::new("a".into(), "a-1".into(), Clock::start(), 2, rules(""));
        let service: Arc<str> = "b".into();
        let get = |operation: &str| edges.get(&service, &operation.into());
        assert_eq!((&*get("one").operation, &*get("two").operation), ("one", "two"));
        assert_eq!((&*get("three").operation, &*get("four").operation), (OTHER, OTHER));
        assert!(Arc::ptr_eq(&get("three"), &get("four")) && Arc::ptr_eq(&get("one"), &get("one")));
        assert_eq!(edges.list().len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_keeps_what_it_began_with_and_a_breaker_its_counts() {
        let text = |ms: u32| {
            format!(
                "[[edge]]\nservice = \"*\"\ntimeout = {{ attempt_ms = {ms} }}\nbreaker = {{ consecutive_failures = 2 }}\n"
            )
        };
        let edges = Edges::new("a".into(), "a-1".into(), Clock::start(), 2, rules(&text(100)));
        let edge = edges.get(&"b".into(), &"op".into());
        let (_, call) = edge.begin(0, Inbound::default());
        let mut call = call.unwrap();
        let failed = fuseboard_policy::pipeline::AttemptKind::Failure { code: "internal" };
        let failed = fuseboard_policy::pipeline::AttemptOutcome::plain(failed);
        let attempt = call.attempt(0, b"", || 0.5).unwrap();
        call.finish(attempt, 0, failed, 0.5);
        edges.change(&rules(&text(200)));
        assert_eq!(call.attempt_timeout(), Some(std::time::Duration::from_millis(100)));
        let (in_force, next) = edge.begin(0, Inbound::default());
        let mut next = next.unwrap();
        assert_eq!(next.attempt_timeout(), Some(std::time::Duration::from_millis(200)));
        assert_eq!(in_force.revision, 1);
        let attempt = next.attempt(0, b"", || 0.5).unwrap();
        next.finish(attempt, 0, failed, 0.5);
        assert_eq!(edge.engine().breaker().state_name(), "open", "the failure before the change counts");
    }

    #[test]
    fn what_is_in_force_and_its_plan_change_at_once() {
        let text = |ms: u64| format!("[[edge]]\nservice = \"*\"\ntimeout = {{ attempt_ms = {ms} }}\n");
        let both = [100, 200].map(|ms| rules(&text(ms)));
        let edges = Edges::new("a".into(), "a-1".into(), Clock::start(), 2, both[0].clone());
        let edge = edges.get(&"b".into(), &"op".into());
        std::thread::scope(|scope| {
            let calls = scope.spawn(|| {
                for _ in 0..5_000 {
                    let (in_force, call) = edge.begin(0, Inbound::default());
                    let said = in_force.settings.timeout.as_ref().and_then(|timeout| timeout.attempt_ms);
                    assert_eq!(call.unwrap().attempt_timeout(), said.map(std::time::Duration::from_millis));
                }
            });
            for turn in 0.. {
                if calls.is_finished() {
                    break;
                }
                edges.change(&both[turn % 2]);
            }
        });
    }
}
