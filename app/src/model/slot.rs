//! Places for pictures: the last answer stays until the next one comes.

use std::sync::Arc;
use std::time::Duration;

use fuseboard_api::UnixNanos;
use fuseboard_api::ask::{Answer, Names, Question, Totals};
use fuseboard_api::breaker::Breakers;
use fuseboard_api::change::Changes;
use fuseboard_api::fleet::{Audit, Fleet};
use fuseboard_api::forecast::Forecasts;
use fuseboard_api::graph::Board;
use fuseboard_api::incident::Incidents;
use fuseboard_api::lint::Lints;
use fuseboard_api::log::LogList;
use fuseboard_api::metric::Metrics;
use fuseboard_api::policy::Policies;
use fuseboard_api::strip::Strip;
use fuseboard_api::trace::{Trace, TraceList};

use super::bin;

/// How long a picture may answer another question than the one asked before it is marked as old.
pub(crate) const PATIENCE: Duration = Duration::from_millis(400);

/// What is asked now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// The question, its moving range at zero.
    pub(crate) question: &'a Question,
    /// As of when.
    pub(crate) as_of: Option<UnixNanos>,
    /// How far from there, in nanoseconds, an answer may lie: while recorded time passes the last one is always a little old.
    pub(crate) tolerance: u64,
    /// The clock's reading.
    pub(crate) now: UnixNanos,
}

/// One picture, and how well it fits what was asked last.
#[derive(Debug, Clone)]
pub(crate) struct Slot<T> {
    /// The last answer.
    pub(crate) value: Option<Arc<T>>,
    /// The instant it holds for.
    pub(crate) as_of: UnixNanos,
    /// Whether it answers another question than the one asked now, and has done so for [`PATIENCE`]: it is shown, but marked
    /// as old.
    pub(crate) stale: bool,
    /// Since when it answers another question than the one asked now.
    pub(crate) behind: Option<UnixNanos>,
    /// Why the last question got no answer.
    pub(crate) error: Option<String>,
    /// The question that `value` answers, its moving range at zero, and the instant it was asked as of.
    pub(crate) answers: Option<(Question, Option<UnixNanos>)>,
    /// How often a value came; changes with the picture, so that views can keep what they derive from it.
    pub(crate) version: u64,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self {
            value: None,
            as_of: UnixNanos::default(),
            stale: false,
            behind: None,
            error: None,
            answers: None,
            version: 0,
        }
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

    fn put(&mut self, value: T, as_of: UnixNanos, answers: (Question, Option<UnixNanos>))
    where
        T: Send + Sync + 'static,
    {
        if let Some(old) = self.value.replace(Arc::new(value)) {
            bin::discard(old);
        }
        self.as_of = as_of;
        self.error = None;
        self.answers = Some(answers);
        self.version += 1;
    }

    fn asked(&mut self, asked: &Asked<'_>) {
        let fits = self.answers.as_ref().is_none_or(|(question, as_of)| {
            question == asked.question
                && match (as_of, asked.as_of) {
                    (None, None) => true,
                    (Some(a), Some(b)) => a.0.abs_diff(b.0) <= asked.tolerance,
                    _ => false,
                }
        });
        self.behind = (!fits).then(|| self.behind.unwrap_or(asked.now));
        self.stale = self.behind.is_some_and(|since| asked.now.since(since) >= PATIENCE);
    }
}

/// A trace, or that there is none: shared, because a large one is made ready beside the frame.
#[derive(Debug, Clone, Default)]
pub(crate) struct Opened(pub(crate) Option<Arc<Trace>>);

impl From<Option<Trace>> for Opened {
    fn from(trace: Option<Trace>) -> Self {
        Self(trace.map(Arc::new))
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
            pub(crate) fn put(
                &mut self,
                id: SlotId,
                answer: Answer,
                as_of: UnixNanos,
                answers: (Question, Option<UnixNanos>),
            ) -> bool {
                match (id, answer) {
                    $((SlotId::$id, Answer::$answer(value)) => self.$field.put(value.into(), as_of, answers),)+
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
                match id { $(SlotId::$id => !self.$field.waiting() && self.$field.behind.is_none()),+ }
            }

            /// Compares the picture with what is asked now.
            pub(crate) fn asked(&mut self, id: SlotId, asked: &Asked<'_>) {
                match id { $(SlotId::$id => self.$field.asked(asked)),+ }
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
    trace: Trace = Trace(Opened),
    /// Breakers.
    breakers: Breakers = Breakers(Breakers),
    /// Policies.
    policies: Policies = Policies(Policies),
    /// What the linter finds.
    lints: Lints = Lint(Lints),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_old_when_another_question_waits_for_its_answer_too_long() {
        let at = |millis: i64| UnixNanos(millis * 1_000_000);
        let (first, second) = (Question::Forecasts, Question::Incidents);
        let asked = |question, as_of, now| Asked { question, as_of, tolerance: 0, now };
        let mut slot = Slot::default();
        slot.asked(&asked(&first, None, at(0)));
        assert!(!slot.stale, "nothing is not old");
        slot.put(1, at(0), (first.clone(), None));
        slot.asked(&asked(&first, None, at(9000)));
        assert!(!slot.stale, "time alone makes nothing old");
        slot.asked(&asked(&second, None, at(9000)));
        assert!(!slot.stale && slot.behind.is_some(), "a quick answer is not worth a mark");
        slot.asked(&asked(&second, None, at(9400)));
        assert!(slot.stale);
        slot.asked(&asked(&first, Some(at(5)), at(9500)));
        assert!(slot.stale, "the newest is not an instant of the past");
        slot.put(2, at(5), (first.clone(), Some(at(5))));
        slot.asked(&asked(&first, Some(at(5)), at(9600)));
        assert!(!slot.stale && slot.behind.is_none());
        let playing = Asked { tolerance: 200_000_000, ..asked(&first, Some(at(105)), at(9700)) };
        slot.asked(&playing);
        assert!(slot.behind.is_none(), "while playing the last picture is a little old");
    }
}
