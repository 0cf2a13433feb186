//! Places for pictures: the last answer stays until the next one comes.

use std::sync::Arc;

use fuseboard_api::UnixNanos;
use fuseboard_api::ask::{Answer, Names, Question, Totals};
use fuseboard_api::breaker::Breakers;
use fuseboard_api::change::Changes;
use fuseboard_api::fleet::{Audit, Fleet};
use fuseboard_api::forecast::Forecasts;
use fuseboard_api::graph::Board;
use fuseboard_api::incident::Incidents;
use fuseboard_api::log::LogList;
use fuseboard_api::metric::Metrics;
use fuseboard_api::policy::Policies;
use fuseboard_api::strip::Strip;
use fuseboard_api::trace::{Trace, TraceList};

/// One picture, and how well it fits what was asked last.
#[derive(Debug, Clone)]
pub(crate) struct Slot<T> {
    /// The last answer.
    pub(crate) value: Option<Arc<T>>,
    /// The instant it holds for.
    pub(crate) as_of: UnixNanos,
    /// Whether it answers another question than the one asked now: it is shown, but marked as old.
    pub(crate) stale: bool,
    /// Why the last question got no answer.
    pub(crate) error: Option<String>,
    /// The question that `value` answers, its moving range at zero.
    pub(crate) answers: Option<Question>,
    /// How often a value came; changes with the picture, so that views can keep what they derive from it.
    pub(crate) version: u64,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self { value: None, as_of: UnixNanos::default(), stale: false, error: None, answers: None, version: 0 }
    }
}

impl<T> Slot<T> {
    /// The picture.
    pub(crate) fn get(&self) -> Option<&T> {
        self.value.as_deref()
    }

    /// Whether nothing has come yet, not even an error.
    pub(crate) fn waiting(&self) -> bool {
        self.value.is_none() && self.error.is_none()
    }

    fn put(&mut self, value: T, as_of: UnixNanos, answers: Question) {
        self.value = Some(Arc::new(value));
        self.as_of = as_of;
        self.stale = false;
        self.error = None;
        self.answers = Some(answers);
        self.version += 1;
    }
}

macro_rules! slots {
    ($($(#[$doc:meta])* $field:ident: $id:ident = $answer:ident($value:ty)),+ $(,)?) => {
        /// Which picture.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum SlotId { $($(#[$doc])* $id),+ }

        /// The pictures.
        #[derive(Debug, Clone, Default)]
        pub(crate) struct Slots { $($(#[$doc])* pub(crate) $field: Slot<$value>),+ }

        impl Slots {
            /// Puts an answer into its place; `false` when it is none that belongs there.
            pub(crate) fn put(&mut self, id: SlotId, answer: Answer, as_of: UnixNanos, answers: Question) -> bool {
                match (id, answer) {
                    $((SlotId::$id, Answer::$answer(value)) => self.$field.put(value, as_of, answers),)+
                    _ => return false,
                }
                true
            }

            /// Notes that a question got no answer; the picture stays.
            pub(crate) fn fail(&mut self, id: SlotId, why: String) {
                match id { $(SlotId::$id => self.$field.error = Some(why)),+ }
            }

            /// Whether the picture has come, or an error in its place.
            pub(crate) fn settled(&self, id: SlotId) -> bool {
                match id { $(SlotId::$id => !self.$field.waiting() && !self.$field.stale),+ }
            }

            /// Marks the picture as old when it answers another question than `asked` (its moving range at zero).
            pub(crate) fn asked(&mut self, id: SlotId, asked: &Question) {
                match id { $(SlotId::$id => self.$field.stale = self.$field.answers.as_ref().is_some_and(|q| q != asked)),+ }
            }
        }
    };
}

slots! {
    /// Counts of everything.
    totals: Totals = Totals(Totals),
    /// The time strip.
    strip: Strip = Strip(Strip),
    /// The call graph.
    board: Board = Board(Board),
    /// The call graph of an earlier range, for comparison.
    board_before: BoardBefore = Board(Board),
    /// The list of traces.
    traces: Traces = Traces(TraceList),
    /// The open trace.
    trace: Trace = Trace(Option<Trace>),
    /// The trace that the open one is compared with.
    other_trace: OtherTrace = Trace(Option<Trace>),
    /// Breakers.
    breakers: Breakers = Breakers(Breakers),
    /// Policies.
    policies: Policies = Policies(Policies),
    /// The document of the chosen revision.
    document: Document = Document(Option<String>),
    /// The document that it is compared with.
    other_document: OtherDocument = Document(Option<String>),
    /// Revisions and overrides on their way.
    changes: Changes = Changes(Changes),
    /// Forecasts.
    forecasts: Forecasts = Forecasts(Forecasts),
    /// Incidents.
    incidents: Incidents = Incidents(Incidents),
    /// Logs.
    logs: Logs = Logs(LogList),
    /// Metrics.
    metrics: Metrics = Metrics(Metrics),
    /// Instances.
    fleet: Fleet = Fleet(Fleet),
    /// The audit.
    audit: Audit = Audit(Audit),
    /// Names for completion.
    names: Names = Names(Names),
}
