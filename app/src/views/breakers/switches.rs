//! The panel's data: every breaker of every instance, gathered by edge and sorted by risk.

use std::collections::{BTreeMap, HashMap};

use fuseboard_api::breaker::{Breaker, BreakerMode, BreakerState, Breakers};
use fuseboard_api::change::{Change, ChangeState, Changes, OverrideAction, Selector};
use fuseboard_api::command::Action;
use fuseboard_api::forecast::{Breach, Forecasts, Quantity};
use fuseboard_api::graph::{Board, Edge, EdgeKey};
use fuseboard_api::policy::{EffectiveEdge, Policies};
use fuseboard_policy::settings::Criticality;

use super::choice::Order;
use crate::model::{Pending, PendingState};

/// The pictures that the panel is made of; what has not come yet is absent.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sources<'a> {
    /// Breakers as their agents last told.
    pub(crate) breakers: Option<&'a Breakers>,
    /// Overrides and revisions on their way.
    pub(crate) changes: Option<&'a Changes>,
    /// The call graph, for rates.
    pub(crate) board: Option<&'a Board>,
    /// Settings in force, for criticality.
    pub(crate) policies: Option<&'a Policies>,
    /// Forecasts, for the time to the next trip.
    pub(crate) forecasts: Option<&'a Forecasts>,
    /// Commands given here that the data does not tell of yet.
    pub(crate) pending: &'a [Pending],
}

/// A mode that was asked for and is not yet in force everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wish {
    /// The mode.
    pub(crate) mode: BreakerMode,
    /// Instances that have it, and instances meant; `None` while the collector has not answered.
    pub(crate) held: Option<(u32, u32)>,
}

/// One switch of the panel: an edge and the breakers that the caller's instances hold for it.
#[derive(Debug, Clone)]
pub(crate) struct Switch<'a> {
    /// The edge.
    pub(crate) key: &'a EdgeKey,
    /// By instance; never empty.
    pub(crate) instances: Vec<&'a Breaker>,
    /// The instance that speaks for all: the one in the worst state, the fullest window among equals.
    pub(crate) lead: &'a Breaker,
    /// Instances whose calls are refused now.
    pub(crate) open: usize,
    /// Instances that probe.
    pub(crate) half_open: usize,
    /// The override in force or on its way to this edge.
    pub(crate) change: Option<&'a Change>,
    /// What was asked for and is not yet in force everywhere.
    pub(crate) wish: Option<Wish>,
    /// What the callers saw lately.
    pub(crate) edge: Option<&'a Edge>,
    /// The settings in force.
    pub(crate) policy: Option<&'a EffectiveEdge>,
    /// The crossing of the breaker's threshold that is foreseen.
    pub(crate) breach: Option<&'a Breach>,
    /// The edge further down whose trouble this one repeats.
    pub(crate) echo_of: Option<&'a EdgeKey>,
    /// Higher is worse; see [`risk`].
    pub(crate) risk: f64,
}

impl Switch<'_> {
    /// How much the edge matters, by its policy.
    #[must_use]
    pub(crate) fn criticality(&self) -> Criticality {
        self.policy.and_then(|p| p.settings.criticality).unwrap_or_default()
    }

    /// Calls a second over this edge; `None` while unknown.
    #[must_use]
    pub(crate) fn rate(&self) -> Option<f64> {
        self.edge.map(|e| e.stats.rate()).or_else(|| self.policy.map(|p| p.stats.rate()))
    }

    /// Whether the instances are in different states.
    #[must_use]
    pub(crate) fn differs(&self) -> bool {
        self.instances.iter().any(|b| b.state != self.lead.state || b.mode != self.lead.mode)
    }

    /// Whether it is neither refusing nor probing, by its rules or by hand.
    #[must_use]
    pub(crate) fn is_closed(&self) -> bool {
        matches!(look(self.lead), Look::Closed | Look::ForcedClosed | Look::Disabled) && self.open + self.half_open == 0
    }

    /// Whether it is closed now and near its threshold, or foreseen to cross it.
    #[must_use]
    pub(crate) fn is_at_risk(&self) -> bool {
        matches!(look(self.lead), Look::Closed | Look::Shadow)
            && (fullness(self.lead) >= NEAR || self.breach.is_some_and(|b| b.probability >= 0.5))
    }

    /// Whether somebody has set it by hand.
    #[must_use]
    pub(crate) fn is_overridden(&self) -> bool {
        self.change.is_some() || self.instances.iter().any(|b| b.override_id.is_some())
    }
}

/// What a breaker looks like: its mode where that decides, else its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Calls flow.
    Closed,
    /// Calls are refused by the rules.
    Open,
    /// A few probes pass.
    HalfOpen,
    /// Calls are refused by hand or by policy.
    ForcedOpen,
    /// Calls flow whatever the window says.
    ForcedClosed,
    /// Evaluates, never refuses.
    Shadow,
    /// Nothing is evaluated.
    Disabled,
}

/// What `breaker` looks like.
#[must_use]
pub(crate) fn look(breaker: &Breaker) -> Look {
    match (breaker.mode, breaker.state) {
        (BreakerMode::ForcedOpen, _) => Look::ForcedOpen,
        (BreakerMode::ForcedClosed, _) => Look::ForcedClosed,
        (BreakerMode::Shadow, _) => Look::Shadow,
        (BreakerMode::Disabled, _) => Look::Disabled,
        (BreakerMode::Auto, BreakerState::Closed) => Look::Closed,
        (BreakerMode::Auto, BreakerState::HalfOpen) => Look::HalfOpen,
        (BreakerMode::Auto, BreakerState::Open) => Look::Open,
    }
}

/// From this share of its threshold on, a closed breaker is said to be at risk.
const NEAR: f64 = 0.6;

/// How near a window is to tripping, 0…1: the larger of failure and slow ratio over their thresholds, scaled down while
/// there are fewer calls than the rule needs.
#[must_use]
pub(crate) fn fullness(b: &Breaker) -> f64 {
    if b.calls == 0 {
        return 0.0;
    }
    let of = |n: u64, limit: Option<f64>| match limit {
        Some(limit) if limit > 0.0 => n as f64 / b.calls as f64 / limit,
        Some(_) => f64::from(n > 0),
        None => 0.0,
    };
    let enough = if b.min_calls == 0 { 1.0 } else { (b.calls as f64 / b.min_calls as f64).min(1.0) };
    of(b.failures, b.failure_ratio).max(of(b.slow, b.slow_ratio)).min(1.0) * enough
}

/// The order of the panel. Whole steps by state (refusing by the rules 5, refusing by hand 4, probing 3, shadow that would
/// refuse 2, anything else 0), inside a step the share of instances in that state, then how near the window is to
/// tripping or the probability foreseen.
#[must_use]
pub(crate) fn risk(instances: &[&Breaker], breach: Option<&Breach>) -> f64 {
    let step = |b: &Breaker| match look(b) {
        Look::Open => 5.0,
        Look::ForcedOpen => 4.0,
        Look::HalfOpen => 3.0,
        Look::Shadow if b.state != BreakerState::Closed => 2.0,
        Look::Shadow | Look::Closed | Look::ForcedClosed | Look::Disabled => 0.0,
    };
    let worst = instances.iter().map(|b| step(b)).fold(0.0, f64::max);
    let there = instances.iter().filter(|b| step(b) == worst).count() as f64 / instances.len().max(1) as f64;
    let near = instances.iter().map(|b| fullness(b)).fold(0.0, f64::max).max(breach.map_or(0.0, |b| b.probability));
    if worst > 0.0 { worst + 0.4 * there + 0.5 * near } else { near }
}

/// What the other pictures say, by edge: looked up once for each switch.
#[derive(Default)]
struct Index<'a> {
    edges: HashMap<&'a EdgeKey, &'a Edge>,
    policies: HashMap<&'a EdgeKey, &'a EffectiveEdge>,
    breaches: HashMap<&'a EdgeKey, &'a Breach>,
    echoes: HashMap<&'a EdgeKey, &'a EdgeKey>,
}

impl<'a> Index<'a> {
    fn of(from: &Sources<'a>) -> Self {
        let forecasts = from.forecasts.map(|f| f.forecasts.as_slice()).unwrap_or_default();
        let anomalies = from.forecasts.map(|f| f.anomalies.as_slice()).unwrap_or_default();
        let of_errors = forecasts.iter().filter(|f| f.quantity == Quantity::ErrorRatio);
        let going_on = anomalies.iter().filter(|a| a.to.is_none());
        Self {
            edges: from.board.iter().flat_map(|b| &b.edges).map(|e| (&e.key, e)).collect(),
            policies: from.policies.iter().flat_map(|p| &p.edges).map(|e| (&e.key, e)).collect(),
            breaches: of_errors.filter_map(|f| Some((&f.key, f.breach.as_ref()?))).collect(),
            echoes: going_on.filter_map(|a| Some((&a.key, a.echo_of.as_ref()?))).collect(),
        }
    }
}

/// The one switch of an edge; `None` when no breaker was told of.
pub(crate) fn one<'a>(from: &Sources<'a>, key: &EdgeKey) -> Option<Switch<'a>> {
    let instances: Vec<&'a Breaker> =
        from.breakers.iter().flat_map(|b| &b.breakers).filter(|b| b.key == *key).collect();
    let key = instances.first().map(|b| &b.key)?;
    switch(key, instances, from, &Index::of(from))
}

/// Gathers and sorts the switches.
#[must_use]
pub(crate) fn gather<'a>(from: &Sources<'a>, order: Order) -> Vec<Switch<'a>> {
    let mut by_edge: BTreeMap<&EdgeKey, Vec<&Breaker>> = BTreeMap::new();
    for breaker in from.breakers.iter().flat_map(|b| &b.breakers) {
        by_edge.entry(&breaker.key).or_default().push(breaker);
    }
    let index = Index::of(from);
    let mut switches: Vec<Switch<'a>> =
        by_edge.into_iter().filter_map(|(key, list)| switch(key, list, from, &index)).collect();
    let rate = |s: &Switch<'_>| s.rate().unwrap_or(0.0);
    match order {
        Order::Name => {}
        Order::Rate => switches.sort_by(|a, b| rate(b).total_cmp(&rate(a))),
        Order::Risk => switches.sort_by(|a, b| {
            // Rates and ratios move all the time: steps of a tenth keep the cards from dancing.
            let step = |s: &Switch<'_>| (s.risk * 10.0).round() as i64;
            step(b).cmp(&step(a)).then_with(|| rate(b).log2().round().total_cmp(&rate(a).log2().round()))
        }),
    }
    switches
}

fn switch<'a>(
    key: &'a EdgeKey,
    mut instances: Vec<&'a Breaker>,
    from: &Sources<'a>,
    index: &Index<'a>,
) -> Option<Switch<'a>> {
    instances.sort_by(|a, b| a.instance.cmp(&b.instance));
    let weight = |b: &Breaker| (matches!(look(b), Look::ForcedOpen | Look::Open), b.state, fullness(b));
    let lead = *instances.iter().max_by(|a, b| {
        let (a, b) = (weight(a), weight(b));
        a.0.cmp(&b.0).then(a.1.cmp(&b.1)).then(a.2.total_cmp(&b.2))
    })?;
    let breach = index.breaches.get(key).copied();
    let change = from.changes.and_then(|c| override_on(c, key, &instances));
    Some(Switch {
        key,
        lead,
        change,
        wish: wish(from.pending, change, key, &instances),
        open: instances.iter().filter(|b| matches!(look(b), Look::Open | Look::ForcedOpen)).count(),
        half_open: instances.iter().filter(|b| look(b) == Look::HalfOpen).count(),
        edge: index.edges.get(key).copied(),
        policy: index.policies.get(key).copied(),
        breach,
        echo_of: index.echoes.get(key).copied(),
        risk: risk(&instances, breach),
        instances,
    })
}

/// The newest mode override that is in force or on its way and meets one of these instances.
fn override_on<'a>(changes: &'a Changes, key: &EdgeKey, instances: &[&Breaker]) -> Option<&'a Change> {
    changes
        .overrides
        .iter()
        .find(|c| in_force(c) && targets(c, key, instances.iter().map(|b| b.instance.as_str())) && mode_of(c).is_some())
}

/// The newest wish: of a command still on its way, else of an override that not every instance has yet.
fn wish(pending: &[Pending], change: Option<&Change>, key: &EdgeKey, instances: &[&Breaker]) -> Option<Wish> {
    let meant =
        |s: &Selector| instances.iter().any(|b| s.matches(&key.caller, &b.instance, &key.callee, &key.operation));
    let held = |p: &Pending| match &p.state {
        PendingState::Requested(receipt) => Some((0, receipt.targeted)),
        PendingState::Sending | PendingState::Refused(_) => None,
    };
    let sent =
        pending.iter().rev().filter(|p| !matches!(p.state, PendingState::Refused(_))).find_map(|p| match &p.action {
            Action::SetOverride { spec, .. } if meant(&spec.selector) => match spec.action {
                OverrideAction::Mode(mode) => Some(Wish { mode, held: held(p) }),
                OverrideAction::Timeout { .. } | OverrideAction::Fault(_) => None,
            },
            Action::EndOverride { id } if change.is_some_and(|c| c.id == *id) => {
                Some(Wish { mode: BreakerMode::Auto, held: held(p) })
            }
            Action::EndAllOverrides if change.is_some() => Some(Wish { mode: BreakerMode::Auto, held: held(p) }),
            _ => None,
        });
    sent.or_else(|| {
        let change = change.filter(|c| c.state == ChangeState::Requested)?;
        Some(Wish { mode: mode_of(change)?, held: Some((change.applied, change.targeted)) })
    })
}

/// Whether an override has neither expired nor ended.
#[must_use]
pub(crate) fn in_force(change: &Change) -> bool {
    change.ended.is_none()
        && matches!(change.state, ChangeState::Requested | ChangeState::Applied | ChangeState::Refused)
}

/// The mode that an override sets; `None` when it is about something else.
#[must_use]
pub(crate) fn mode_of(change: &Change) -> Option<BreakerMode> {
    match change.override_spec.as_ref()?.action {
        OverrideAction::Mode(mode) => Some(mode),
        OverrideAction::Timeout { .. } | OverrideAction::Fault(_) => None,
    }
}

/// Whether an override is meant for `key` on one of `instances`.
pub(crate) fn targets<'n>(change: &Change, key: &EdgeKey, mut instances: impl Iterator<Item = &'n str>) -> bool {
    change
        .override_spec
        .as_ref()
        .is_some_and(|o| instances.any(|i| o.selector.matches(&key.caller, i, &key.callee, &key.operation)))
}

#[cfg(test)]
mod tests {
    use super::super::choice::Filter;
    use super::*;

    fn breaker(callee: &str, instance: &str, state: BreakerState, failures: u64) -> Breaker {
        Breaker {
            key: EdgeKey::new("orders", callee, "Op"),
            instance: instance.into(),
            state,
            calls: 20,
            failures,
            failure_ratio: Some(0.5),
            min_calls: 20,
            ..Breaker::default()
        }
    }

    fn panel(breakers: Vec<Breaker>) -> Breakers {
        Breakers { breakers, transitions: Vec::new() }
    }

    #[test]
    fn the_worst_edge_comes_first_and_instances_are_one_switch() {
        let all = panel(vec![
            breaker("users", "o-1", BreakerState::Closed, 0),
            breaker("pricing", "o-1", BreakerState::Closed, 8),
            breaker("payments", "o-2", BreakerState::Open, 12),
            breaker("payments", "o-1", BreakerState::Closed, 9),
            breaker("bank", "o-1", BreakerState::HalfOpen, 0),
        ]);
        let switches = gather(&Sources { breakers: Some(&all), ..Sources::default() }, Order::Risk);
        let names: Vec<&str> = switches.iter().map(|s| s.key.callee.as_str()).collect();
        assert_eq!(names, ["payments", "bank", "pricing", "users"]);
        let payments = &switches[0];
        assert_eq!((payments.instances.len(), payments.open, payments.differs()), (2, 1, true));
        assert_eq!(payments.lead.instance, "o-2", "the open one speaks for all");
    }

    #[test]
    fn filters_tell_closed_from_endangered() {
        let mut shadow = breaker("pricing", "o-1", BreakerState::Open, 12);
        shadow.mode = BreakerMode::Shadow;
        let all = panel(vec![
            breaker("users", "o-1", BreakerState::Closed, 0),
            breaker("bank", "o-1", BreakerState::Closed, 7),
            breaker("payments", "o-1", BreakerState::Open, 12),
            shadow,
        ]);
        let switches = gather(&Sources { breakers: Some(&all), ..Sources::default() }, Order::Name);
        let those = |f: Filter| -> Vec<&str> {
            switches.iter().filter(|s| f.wants(s)).map(|s| s.key.callee.as_str()).collect()
        };
        assert_eq!(those(Filter::All).len(), 4);
        assert_eq!(those(Filter::NotClosed), ["payments", "pricing"]);
        assert_eq!(those(Filter::AtRisk), ["bank", "pricing"]);
        assert!(those(Filter::Overridden).is_empty());
    }

    #[test]
    fn too_few_calls_are_no_risk_yet() {
        let mut b = breaker("bank", "o-1", BreakerState::Closed, 2);
        b.calls = 2;
        assert!((fullness(&b) - 0.1).abs() < 1e-9, "2 of 2 failed, but 20 calls are needed");
        b.calls = 0;
        assert_eq!(fullness(&b), 0.0);
    }

    #[test]
    fn a_command_just_sent_is_a_wish() {
        use fuseboard_api::change::OverrideSpec;
        let all = panel(vec![breaker("payments", "o-1", BreakerState::Closed, 0)]);
        let spec = OverrideSpec {
            selector: Selector { service: Some("payments".into()), ..Selector::default() },
            action: OverrideAction::Mode(BreakerMode::Shadow),
        };
        let mut pending = vec![Pending {
            number: 1,
            action: Action::SetOverride { spec, ttl_ms: 1000 },
            reason: String::new(),
            state: PendingState::Sending,
        }];
        let wish = |pending: &[Pending]| {
            gather(&Sources { breakers: Some(&all), pending, ..Sources::default() }, Order::Risk)[0].wish
        };
        assert_eq!(wish(&pending), Some(Wish { mode: BreakerMode::Shadow, held: None }));
        pending[0].state = PendingState::Refused("no".into());
        assert_eq!(wish(&pending), None, "what was refused is no wish any more");
    }

    #[test]
    fn an_override_is_found_until_it_ends() {
        use fuseboard_api::UnixNanos;
        use fuseboard_api::change::OverrideSpec;
        let all = panel(vec![breaker("payments", "o-1", BreakerState::Closed, 0)]);
        let spec = OverrideSpec {
            selector: Selector { service: Some("payments".into()), ..Selector::default() },
            action: OverrideAction::Mode(BreakerMode::ForcedOpen),
        };
        let mut changes = Changes {
            overrides: vec![Change { id: 7, override_spec: Some(spec), targeted: 2, applied: 1, ..Change::default() }],
            ..Changes::default()
        };
        let with = |changes: &Changes| {
            let s = Sources { breakers: Some(&all), changes: Some(changes), ..Sources::default() };
            gather(&s, Order::Risk).first().map(|s| (s.is_overridden(), s.wish))
        };
        let wish = Wish { mode: BreakerMode::ForcedOpen, held: Some((1, 2)) };
        assert_eq!(with(&changes), Some((true, Some(wish))));
        changes.overrides[0].state = ChangeState::Applied;
        assert_eq!(with(&changes), Some((true, None)));
        changes.overrides[0].ended = Some(UnixNanos(5));
        changes.overrides[0].state = ChangeState::Ended;
        assert_eq!(with(&changes), Some((false, None)));
    }
}
