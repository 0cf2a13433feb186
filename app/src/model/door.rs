//! The one door from the cursor to data: which questions the screen needs answered, and as of when.

use std::time::Duration;

use fuseboard_api::ask::{Ask, Question};
use fuseboard_api::fleet::AuditQuery;
use fuseboard_api::log::LogQuery;
use fuseboard_api::metric::MetricQuery;
use fuseboard_api::quantile::QuantileQuery;
use fuseboard_api::trace::{SpanQuery, TraceQuery};
use fuseboard_api::{TimeRange, UnixNanos};

use super::{Model, SlotId, View};
use crate::time::{Cursor, STRIP_COLUMNS};

/// How long the linter looks back.
const LINTED: Duration = Duration::from_secs(3600);

/// When a question is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// Whenever its data changed; its range ends at the newest instant.
    Moving,
    /// Whenever its data changed; its range stays.
    Fixed,
    /// Never: it is asked as of an instant.
    Once,
}

/// A question for a slot.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Want {
    /// Whose.
    pub(crate) slot: SlotId,
    /// What, as of when.
    pub(crate) ask: Ask,
    /// When it is asked again.
    pub(crate) standing: Standing,
}

impl Want {
    /// Whether it asks for the same again: time alone changes nothing.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.slot == other.slot
            && self.standing == other.standing
            && self.ask.as_of == other.ask.as_of
            && self.identity() == other.identity()
    }

    /// The question without what the passing of time alone changes in it.
    pub(crate) fn identity(&self) -> Question {
        match self.standing {
            Standing::Fixed => self.ask.question.clone(),
            Standing::Moving | Standing::Once => rebase(&self.ask.question, UnixNanos::default()),
        }
    }
}

/// The question with its range moved so that it ends at `to`.
pub(crate) fn rebase(question: &Question, to: UnixNanos) -> Question {
    let mut question = question.clone();
    let range = match &mut question {
        Question::Strip { range, .. }
        | Question::Board { range }
        | Question::Breakers { range }
        | Question::Policies { range }
        | Question::Lint { range, .. }
        | Question::Effective { range, .. }
        | Question::Changes { range }
        | Question::Fleet { range } => Some(range),
        Question::Traces(TraceQuery { range, .. })
        | Question::Spans(SpanQuery { range, .. })
        | Question::Quantiles(QuantileQuery { range, .. })
        | Question::Logs(LogQuery { range, .. })
        | Question::Metrics(MetricQuery { range, .. }) => Some(range),
        Question::Totals
        | Question::Trace(_)
        | Question::Document(_)
        | Question::Forecasts
        | Question::Incidents
        | Question::Audit(_)
        | Question::AuditChain { .. }
        | Question::Names => None,
    };
    if let Some(range) = range {
        *range = TimeRange::ending(to, range.length());
    }
    question
}

impl Model {
    /// What the screen needs: the frame's own pictures, then those of the view in front.
    pub(crate) fn questions(&self) -> Vec<Want> {
        let counted = self.time.counted();
        let listed = self.time.listed();
        let mut wants = Vec::with_capacity(8);
        // Totals and the strip tell of the source itself, not of the instant shown.
        let strip = Question::Strip { range: self.time.strip_range(), columns: STRIP_COLUMNS };
        wants.push(self.of_source(SlotId::Totals, Question::Totals, Standing::Fixed));
        let strip_standing = if self.time.strip_end.is_none() { Standing::Moving } else { Standing::Fixed };
        wants.push(self.of_source(SlotId::Strip, strip, strip_standing));
        wants.push(self.of_source(SlotId::Incidents, Question::Incidents, Standing::Fixed));
        wants.push(self.of_source(SlotId::Names, Question::Names, Standing::Fixed));
        wants.push(self.at_cursor(SlotId::Changes, Question::Changes { range: listed }));
        match self.view {
            View::Board => {
                wants.push(self.at_cursor(SlotId::Board, Question::Board { range: counted }));
                if let Some(back) = self.filters.board_before {
                    let before = TimeRange { from: counted.from - back, to: counted.to - back };
                    wants.push(self.of_source(SlotId::BoardBefore, Question::Board { range: before }, Standing::Once));
                }
                wants.push(self.at_cursor(SlotId::Breakers, Question::Breakers { range: listed }));
                wants.push(self.at_cursor(SlotId::Forecasts, Question::Forecasts));
                self.want_lints(&mut wants);
                if self.selection.edge.is_some() {
                    wants.push(self.at_cursor(SlotId::Policies, Question::Policies { range: counted }));
                }
            }
            View::Traces => {
                let query = TraceQuery { range: listed, ..self.filters.traces.clone() };
                wants.push(self.at_cursor(SlotId::Traces, Question::Traces(query)));
                self.want_trace(&mut wants);
            }
            View::Trace => self.want_trace(&mut wants),
            View::Breakers => {
                wants.push(self.at_cursor(SlotId::Breakers, Question::Breakers { range: listed }));
                wants.push(self.at_cursor(SlotId::Board, Question::Board { range: counted }));
                wants.push(self.at_cursor(SlotId::Forecasts, Question::Forecasts));
                wants.push(self.at_cursor(SlotId::Policies, Question::Policies { range: counted }));
            }
            View::Policies => {
                wants.push(self.at_cursor(SlotId::Fleet, Question::Fleet { range: counted }));
                wants.push(self.at_cursor(SlotId::Policies, Question::Policies { range: counted }));
                self.want_lints(&mut wants);
                for (slot, revision) in [
                    (SlotId::Document, self.selection.revision),
                    (SlotId::OtherDocument, self.selection.other_revision),
                ] {
                    wants.extend(revision.map(|r| self.of_source(slot, Question::Document(r), Standing::Fixed)));
                }
            }
            View::Forecasts => wants.push(self.at_cursor(SlotId::Forecasts, Question::Forecasts)),
            View::Incidents | View::Gallery => {}
            View::Logs => {
                let query = LogQuery { range: listed, ..self.filters.logs.clone() };
                wants.push(self.at_cursor(SlotId::Logs, Question::Logs(query)));
            }
            View::Metrics => {
                let query = MetricQuery { range: listed, ..self.filters.metrics.clone() };
                wants.push(self.at_cursor(SlotId::Metrics, Question::Metrics(query)));
            }
            View::Fleet => wants.push(self.at_cursor(SlotId::Fleet, Question::Fleet { range: counted })),
            View::Audit => {
                let query = AuditQuery::containing(self.filters.audit.clone());
                wants.push(self.at_cursor(SlotId::Audit, Question::Audit(query)));
            }
        }
        wants
    }

    fn want_trace(&self, wants: &mut Vec<Want>) {
        let open = self.selection.trace;
        wants.extend(open.map(|id| self.at_cursor(SlotId::Trace, Question::Trace(id))));
    }

    /// The linter judges by many calls: those of the last hour, or of a chosen range. While recorded time passes it is left
    /// alone: it reads too much to be asked with every step.
    fn want_lints(&self, wants: &mut Vec<Want>) {
        if !matches!(self.time.cursor, Cursor::Playing { .. }) {
            let range = self.time.chosen.unwrap_or_else(|| TimeRange::ending(self.time.position(), LINTED));
            wants.push(self.at_cursor(SlotId::Lints, Question::Lint { range, document: None }));
        }
    }

    /// A question as of the newest instant, wherever the cursor is.
    fn of_source(&self, slot: SlotId, question: Question, standing: Standing) -> Want {
        Want { slot, ask: Ask { question, as_of: None }, standing }
    }

    /// A question as of the instant shown.
    fn at_cursor(&self, slot: SlotId, question: Question) -> Want {
        let (as_of, standing) = match (self.time.cursor, self.time.chosen) {
            (Cursor::Following, None) => (None, Standing::Moving),
            (Cursor::Following, Some(_)) => (None, Standing::Fixed),
            _ => (Some(self.time.asked_instant()), Standing::Once),
        };
        Want { slot, ask: Ask { question, as_of }, standing }
    }
}

#[cfg(test)]
mod tests {
    use fuseboard_api::graph::EdgeKey;

    use super::*;

    fn s(seconds: i64) -> UnixNanos {
        UnixNanos(seconds * 1_000_000_000)
    }

    fn model(view: View) -> Model {
        let mut model = Model { view, ..Default::default() };
        model.time.now = s(1000);
        model.time.edge = s(1000);
        model
    }

    fn slots(model: &Model) -> Vec<SlotId> {
        model.questions().iter().map(|w| w.slot).collect()
    }

    fn want(model: &Model, slot: SlotId) -> Want {
        model.questions().into_iter().find(|w| w.slot == slot).unwrap()
    }

    #[test]
    fn every_view_asks_for_the_strip_and_for_itself() {
        for (view, slot) in [
            (View::Board, SlotId::Board),
            (View::Traces, SlotId::Traces),
            (View::Breakers, SlotId::Breakers),
            (View::Policies, SlotId::Policies),
            (View::Forecasts, SlotId::Forecasts),
            (View::Incidents, SlotId::Incidents),
            (View::Logs, SlotId::Logs),
            (View::Metrics, SlotId::Metrics),
            (View::Fleet, SlotId::Fleet),
            (View::Audit, SlotId::Audit),
        ] {
            let slots = slots(&model(view));
            assert!(slots.contains(&SlotId::Strip) && slots.contains(&slot), "{view:?}: {slots:?}");
        }
    }

    #[test]
    fn following_counts_the_last_minute_and_moves() {
        let want = want(&model(View::Board), SlotId::Board);
        assert_eq!(want.standing, Standing::Moving);
        assert_eq!(want.ask.as_of, None);
        assert_eq!(want.ask.question, Question::Board { range: TimeRange { from: s(940), to: s(1000) } });
    }

    #[test]
    fn a_paused_cursor_asks_as_of_its_instant_and_once() {
        let mut model = model(View::Board);
        model.time.cursor = Cursor::Paused { at: s(500) };
        let want = want(&model, SlotId::Board);
        assert_eq!((want.standing, want.ask.as_of), (Standing::Once, Some(s(500))));
        assert_eq!(want.ask.question, Question::Board { range: TimeRange { from: s(440), to: s(500) } });
        let totals = super::tests::want(&model, SlotId::Totals);
        assert_eq!(totals.ask.as_of, None, "totals tell of the source, not of the instant");
    }

    #[test]
    fn a_chosen_range_filters_every_view_and_stays() {
        let range = TimeRange { from: s(100), to: s(200) };
        for (view, slot) in [(View::Board, SlotId::Board), (View::Logs, SlotId::Logs), (View::Fleet, SlotId::Fleet)] {
            let mut model = model(view);
            model.time.chosen = Some(range);
            let first = want(&model, slot);
            assert_eq!(first.standing, Standing::Fixed);
            model.time.edge = s(1010);
            assert!(first.same(&want(&model, slot)), "time alone changes nothing");
            model.time.chosen = Some(TimeRange { from: s(100), to: s(210) });
            assert!(!first.same(&want(&model, slot)));
        }
    }

    #[test]
    fn a_filter_is_another_question_and_time_is_not() {
        let mut model = model(View::Traces);
        let first = want(&model, SlotId::Traces);
        model.time.edge = s(1010);
        assert!(first.same(&want(&model, SlotId::Traces)));
        model.filters.traces.errors_only = true;
        assert!(!first.same(&want(&model, SlotId::Traces)));
    }

    #[test]
    fn the_linter_looks_over_an_hour_or_the_chosen_range_and_not_while_time_passes() {
        let mut model = model(View::Policies);
        model.time.edge = s(10_000);
        let asked = |model: &Model| want(model, SlotId::Lints).ask.question;
        let lint = |from, to| Question::Lint { range: TimeRange { from: s(from), to: s(to) }, document: None };
        assert_eq!(asked(&model), lint(10_000 - 3600, 10_000));
        model.time.chosen = Some(TimeRange { from: s(100), to: s(200) });
        assert_eq!(asked(&model), lint(100, 200));
        model.time.cursor = Cursor::Playing { at: s(500), speed: crate::time::Speed(1), since: s(900) };
        assert!(!slots(&model).contains(&SlotId::Lints));
    }

    #[test]
    fn what_is_chosen_is_asked_for() {
        let mut model = model(View::Board);
        assert!(!slots(&model).contains(&SlotId::Policies));
        model.selection.edge = Some(EdgeKey::new("a", "b", "c"));
        model.filters.board_before = Some(Duration::from_secs(3600));
        let slots = slots(&model);
        assert!(slots.contains(&SlotId::Policies) && slots.contains(&SlotId::BoardBefore), "{slots:?}");
    }

    #[test]
    fn playing_asks_ten_times_a_second_of_real_time() {
        let mut model = model(View::Board);
        model.time.cursor = Cursor::Playing { at: s(500), speed: crate::time::Speed(64), since: s(900) };
        let mut asked = std::collections::BTreeSet::new();
        for tick in 0..100 {
            model.time.now = s(900) + Duration::from_millis(tick * 10);
            asked.insert(want(&model, SlotId::Board).ask.as_of);
        }
        assert!((10..=11).contains(&asked.len()), "{}", asked.len());
    }
}
