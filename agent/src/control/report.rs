//! What the agent tells of its breakers: transitions at once, everything else at most once a second.

use std::collections::HashMap;
use std::sync::Arc;

use fuseboard_policy::breaker::{State, Transition};
use fuseboard_policy::names;
use fuseboard_policy::wire::{self, Stamp, v1};
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry::{Context, KeyValue};
use tokio::sync::mpsc;

use crate::agent::Inner;
use crate::edges::Edge;
use crate::log::{self, Severity};

/// Most transitions that wait for the control stream; more are told in logs only.
const WAITING: usize = 256;

/// The way of transitions to the control stream.
#[derive(Debug)]
pub(crate) struct Reports {
    tx: mpsc::Sender<v1::BreakerTransition>,
}

impl Reports {
    /// Both ends.
    pub(crate) fn new() -> (Self, mpsc::Receiver<v1::BreakerTransition>) {
        let (tx, rx) = mpsc::channel(WAITING);
        (Self { tx }, rx)
    }
}

/// Tells the transitions of an edge's breaker that nobody has told yet: as a log record, as an event on the span that caused
/// them (`cx`), as a count, and to the collector.
pub(crate) fn tell_transitions(agent: &Arc<Inner>, edge: &Edge, cx: Option<&Context>) {
    let (transitions, _) = edge.engine().breaker().drain_transitions();
    for transition in transitions {
        let attributes = attributes(edge, &transition);
        let text = format!("breaker of {}/{}: {}", edge.service, edge.operation, sentence(&transition));
        let severity = if transition.to == State::Open { Severity::Warn } else { Severity::Info };
        {
            let _entered = cx.map(|cx| cx.clone().attach());
            log::event(agent, severity, names::BREAKER_TRANSITION, text, &attributes);
        }
        if let Some(instruments) = &agent.telemetry.instruments {
            instruments.transitions.add(1, &attributes[..4]);
        }
        if let Some(cx) = cx {
            cx.span().add_event(names::BREAKER_TRANSITION, attributes);
        }
        // Full or without a collector: the log record says it too.
        let _ = agent.reports.tx.try_send(wire::transition(stamp(agent, edge), &transition));
    }
}

fn sentence(transition: &Transition) -> String {
    let (from, to) = (word(transition.from), word(transition.to));
    if transition.cause.is_empty() {
        format!("{from} → {to}")
    } else {
        format!("{from} → {to}: {}", transition.cause)
    }
}

/// The first four are fit for metrics.
fn attributes(edge: &Edge, transition: &Transition) -> Vec<KeyValue> {
    vec![
        KeyValue::new(names::PEER_SERVICE, edge.service.clone()),
        KeyValue::new(names::OPERATION, edge.operation.clone()),
        KeyValue::new("from", word(transition.from)),
        KeyValue::new("to", word(transition.to)),
        KeyValue::new("cause", transition.cause.to_string()),
        KeyValue::new(names::REVISION, i64::try_from(edge.in_force().revision).unwrap_or(i64::MAX)),
    ]
}

fn word(state: State) -> &'static str {
    match state {
        State::Closed => "closed",
        State::HalfOpen => "half_open",
        State::Open => "open",
    }
}

fn stamp<'a>(agent: &Inner, edge: &'a Edge) -> Stamp<'a> {
    let in_force = edge.in_force();
    Stamp {
        service: &edge.service,
        operation: &edge.operation,
        revision: in_force.revision,
        override_id: in_force.override_id,
        clock_zero: agent.clock.unix(0),
    }
}

/// Which breakers the collector has seen, and in which version.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    told: HashMap<(Arc<str>, Arc<str>), Told>,
}

/// What was told of a breaker last.
#[derive(Debug, Clone, Copy)]
struct Told {
    version: u64,
    calls: u64,
}

impl Seen {
    /// The statuses of breakers that changed since the last time.
    pub(crate) fn changed(&mut self, agent: &Inner) -> Vec<v1::BreakerStatus> {
        let now = agent.clock.now();
        let edges = agent.edges.list();
        let changed = edges.iter().filter_map(|edge| {
            let key = (edge.service.clone(), edge.operation.clone());
            let (version, told) = (edge.engine().breaker().version(), self.told.get(&key).copied());
            // Calls leave a window as time passes, without an event that would count as a change.
            if told.is_some_and(|told| told.version == version && told.calls == 0) {
                return None;
            }
            let status = status(agent, edge, now);
            let same = told.is_some_and(|told| told.version == version && told.calls == status.calls);
            self.told.insert(key, Told { version, calls: status.calls });
            (!same).then_some(status)
        });
        changed.collect()
    }

    /// The status of one breaker, seen from now on.
    pub(crate) fn one(&mut self, agent: &Inner, service: &str, operation: &str) -> Option<v1::BreakerStatus> {
        let edge = agent.edges.list().into_iter().find(|e| *e.service == *service && *e.operation == *operation)?;
        let version = edge.engine().breaker().version();
        let status = status(agent, &edge, agent.clock.now());
        let told = Told { version, calls: status.calls };
        self.told.insert((edge.service.clone(), edge.operation.clone()), told);
        Some(status)
    }
}

fn status(agent: &Inner, edge: &Edge, now: u64) -> v1::BreakerStatus {
    wire::status(stamp(agent, edge), &edge.engine().breaker().snapshot(now))
}
