//! Which question is asked when: the rules of the room, without its tasks and sockets.

use std::collections::BTreeMap;
use std::time::Duration;

use fuseboard_api::UnixNanos;
use fuseboard_api::ask::{Ask, Question};
use fuseboard_api::live::{LiveEvent, Touched};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::model::{SlotId, Standing, Want, rebase};
use crate::time::STRIP_COLUMNS;

/// Questions that are due are looked for so often at most, together: ten times a second.
pub(super) const GRID: Duration = Duration::from_millis(100);
/// How often a picture with a moving range is asked again while nothing comes but what is in it grows old.
const DECAY: Duration = Duration::from_secs(1);
/// How long an open trace is asked again when spans come.
const TRACE_GROWS: Duration = Duration::from_secs(60);
/// A question that is expensive is asked again after so many times what it took.
const REST: u32 = 5;
/// A clock that differs less from the collector's is taken for the same.
const SAME_CLOCK: i64 = 2_000_000_000;

/// A question that is due.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) slot: SlotId,
    pub(super) ask: Ask,
    pub(super) number: u64,
}

#[derive(Debug)]
struct Place {
    want: Want,
    /// When it was wanted first.
    since: Instant,
    /// Whether it is to be asked, and not before when.
    due: Option<Instant>,
    /// The number of the ask on its way, and how to end it.
    running: Option<(u64, Option<AbortHandle>)>,
    /// The instant it was asked as of last.
    as_of: Option<UnixNanos>,
    /// Whether this question has never been answered yet: somebody waits for it.
    awaited: bool,
    asked: Option<Instant>,
    took: Duration,
}

/// What an ask that has ended was about.
#[derive(Debug)]
pub(super) struct Landed {
    /// Its question, a moving range at zero.
    pub(super) identity: Question,
    /// The instant it was asked as of.
    pub(super) as_of: Option<UnixNanos>,
    /// Whether it is the first answer to this question.
    pub(super) awaited: bool,
}

/// Everything that is wanted.
#[derive(Debug, Default)]
pub(super) struct Desk {
    places: BTreeMap<SlotId, Place>,
    numbers: u64,
    up: bool,
    /// Before this nothing is asked, however due it is.
    look: Option<Instant>,
    /// The collector's clock less ours, in nanoseconds, where it differs.
    offset: i64,
    /// The end of the newest data, on the collector's clock.
    newest_data: UnixNanos,
}

impl Place {
    /// How often it is asked again while what is in its moving range grows old: as often as a column of it leaves.
    fn decay(&self) -> Duration {
        let column = range_length(&self.want.ask.question).unwrap_or_default() / STRIP_COLUMNS;
        DECAY.max(column).max(self.pause())
    }

    fn pause(&self) -> Duration {
        let least = match self.want.ask.question {
            Question::Names | Question::Lint { .. } => Duration::from_secs(5),
            Question::Totals | Question::Policies { .. } | Question::Trace(_) => Duration::from_secs(1),
            Question::Strip { .. } | Question::Fleet { .. } | Question::Traces(_) | Question::Logs(_) => GRID * 5,
            Question::Board { .. } | Question::Metrics(_) => GRID * 3,
            _ => GRID,
        };
        least.max(self.took * REST)
    }

    /// Makes it due, as soon as its pause is over.
    fn mark(&mut self, now: Instant) {
        if self.due.is_none() {
            self.due = Some(self.asked.map_or(now, |asked| (asked + self.pause()).max(now)));
        }
    }
}

impl Desk {
    /// Replaces what is wanted; gives the asks on their way whose answers nobody waits for now.
    pub(super) fn want(&mut self, wants: Vec<Want>, now: Instant) -> Vec<AbortHandle> {
        let mut superseded = Vec::new();
        let mut old = std::mem::take(&mut self.places);
        for want in wants {
            let place = match old.remove(&want.slot) {
                Some(place) if place.want.same(&want) => place,
                // The same question at another instant: what is on its way may still come, so that a moving cursor
                // always sees something move.
                Some(place) if place.want.identity() == want.identity() && want.standing == Standing::Once => {
                    Place { want, due: Some(now), ..place }
                }
                Some(place) => {
                    superseded.extend(place.running.and_then(|r| r.1));
                    Place {
                        want,
                        since: now,
                        due: Some(now),
                        running: None,
                        as_of: None,
                        awaited: true,
                        asked: None,
                        took: Duration::ZERO,
                    }
                }
                None => Place {
                    want,
                    since: now,
                    due: Some(now),
                    running: None,
                    as_of: None,
                    awaited: true,
                    asked: None,
                    took: Duration::ZERO,
                },
            };
            self.places.insert(place.want.slot, place);
        }
        superseded.extend(old.into_values().filter_map(|p| p.running.and_then(|r| r.1)));
        // What a person asks for does not wait for the next look.
        self.look = None;
        superseded
    }

    /// When something is due next; `None` while nothing is, or nobody is there to ask.
    pub(super) fn next_due(&self, now: Instant, wall: UnixNanos) -> Option<Instant> {
        if !self.up {
            return None;
        }
        let due = self.places.values().filter(|p| p.running.is_none()).filter_map(|p| p.due).min();
        let next = due.into_iter().chain(self.decay_due(now, wall)).min();
        next.map(|next| self.look.map_or(next, |look| next.max(look)))
    }

    /// Moving ranges are asked again once a second while data is inside that will leave them.
    fn decay_due(&self, now: Instant, wall: UnixNanos) -> Option<Instant> {
        let present = UnixNanos(wall.0.saturating_add(self.offset));
        self.places
            .values()
            .filter(|p| p.want.standing == Standing::Moving && p.running.is_none())
            .filter(|p| range_length(&p.want.ask.question).is_some_and(|l| self.newest_data + l + DECAY > present))
            .map(|p| p.asked.map_or(now, |asked| asked + p.decay()))
            .min()
    }

    /// Takes what is due now, with moving ranges ending at `wall` on the collector's clock. What will soon have grown old is
    /// asked with it, so that both are painted together.
    pub(super) fn take_due(&mut self, now: Instant, wall: UnixNanos) -> Vec<Due> {
        let present = UnixNanos(wall.0.saturating_add(self.offset));
        let newest = self.newest_data;
        self.look = Some(now + GRID);
        let mut all = Vec::new();
        for place in self.places.values_mut().filter(|p| p.running.is_none()) {
            let moving = place.want.standing == Standing::Moving;
            let inside = range_length(&place.want.ask.question).is_some_and(|l| newest + l + DECAY > present);
            let decays = moving
                && inside
                && place.asked.is_none_or(|a| a + place.pause() <= now && a + place.decay() <= now + DECAY / 2);
            if place.due.is_none_or(|due| due > now) && !decays {
                continue;
            }
            self.numbers += 1;
            let mut ask = place.want.ask.clone();
            if moving {
                ask.question = rebase(&ask.question, present);
            }
            place.due = None;
            place.asked = Some(now);
            place.running = Some((self.numbers, None));
            place.as_of = ask.as_of;
            all.push(Due { slot: place.want.slot, ask, number: self.numbers });
        }
        all
    }

    /// Notes how to end an ask on its way.
    pub(super) fn running(&mut self, slot: SlotId, number: u64, handle: AbortHandle) {
        if let Some(place) = self.places.get_mut(&slot).filter(|p| p.running.as_ref().is_some_and(|r| r.0 == number)) {
            place.running = Some((number, Some(handle)));
        }
    }

    /// Notes that an ask has ended; gives what it was about, or `None` when nobody waits for it any more.
    pub(super) fn answered(&mut self, slot: SlotId, number: u64, took: Duration, now: Instant) -> Option<Landed> {
        let place = self.places.get_mut(&slot)?;
        if place.running.as_ref().is_none_or(|r| r.0 != number) {
            return None;
        }
        place.running = None;
        place.took = took;
        if let Some(due) = place.due {
            place.due = Some(due.max(now));
        }
        let awaited = std::mem::take(&mut place.awaited);
        Some(Landed { identity: place.want.identity(), as_of: place.as_of, awaited })
    }

    /// Whether answers are on their way.
    pub(super) fn busy(&self) -> bool {
        self.places.values().any(|p| p.running.is_some())
    }

    /// Notes what changed; gives whether anything wanted is touched.
    pub(super) fn touched(&mut self, event: &LiveEvent, now: Instant, wall: UnixNanos) -> bool {
        let difference = event.as_of.0.saturating_sub(wall.0);
        self.offset = if difference.abs() > SAME_CLOCK { difference } else { 0 };
        self.newest_data = self.newest_data.max(event.range.to);
        let mut any = false;
        for place in self.places.values_mut() {
            let grows = !matches!(place.want.ask.question, Question::Trace(_)) || now - place.since < TRACE_GROWS;
            let stands = place.want.standing != Standing::Once;
            if stands && grows && event.touched.iter().any(|t| touches(*t, &place.want.ask.question)) {
                place.mark(now);
                any = true;
            }
        }
        any
    }

    /// Everything is to be asked again.
    pub(super) fn all_due(&mut self, now: Instant) {
        for place in self.places.values_mut().filter(|p| p.want.standing != Standing::Once) {
            place.due = Some(now);
        }
    }

    /// Somebody is there to ask again: what was missed meanwhile is asked for.
    pub(super) fn connected(&mut self, now: Instant) {
        self.up = true;
        for place in self.places.values_mut() {
            place.due = Some(now);
        }
    }

    /// Nobody is there to ask.
    pub(super) fn disconnected(&mut self) {
        self.up = false;
    }
}

fn range_length(question: &Question) -> Option<Duration> {
    match question {
        Question::Strip { range, .. }
        | Question::Board { range }
        | Question::Breakers { range }
        | Question::Policies { range }
        | Question::Lint { range, .. }
        | Question::Fleet { range } => Some(range.length()),
        Question::Traces(q) => Some(q.range.length()),
        Question::Spans(q) => Some(q.range.length()),
        Question::Quantiles(q) => Some(q.range.length()),
        Question::Logs(q) => Some(q.range.length()),
        Question::Metrics(q) => Some(q.range.length()),
        _ => None,
    }
}

/// Whether a change of this kind can change the answer.
fn touches(what: Touched, question: &Question) -> bool {
    use Touched::{Audit, Breakers, Changes, Fleet, Forecasts, Incidents, Logs, Metrics, Spans};
    match question {
        Question::Totals => true,
        Question::Strip { .. } => matches!(what, Spans | Breakers | Changes | Incidents | Forecasts),
        Question::Board { .. } => matches!(what, Spans | Breakers | Changes | Forecasts),
        Question::Traces(_) | Question::Spans(_) | Question::Quantiles(_) | Question::Names => what == Spans,
        Question::Trace(_) => matches!(what, Spans | Logs | Breakers),
        Question::Breakers { .. } => matches!(what, Breakers | Changes | Spans),
        Question::Policies { .. } | Question::Effective { .. } => matches!(what, Spans | Changes | Fleet),
        Question::Document(_) => false,
        Question::Lint { .. } => matches!(what, Spans | Changes | Fleet),
        Question::Changes { .. } => matches!(what, Changes | Fleet),
        Question::Forecasts => what == Forecasts,
        Question::Incidents => matches!(what, Incidents | Breakers | Forecasts),
        Question::Logs(_) => what == Logs,
        Question::Metrics(_) => what == Metrics,
        Question::Fleet { .. } => matches!(what, Fleet | Spans),
        Question::Audit(_) | Question::AuditChain { .. } => matches!(what, Audit | Changes),
    }
}

#[cfg(test)]
mod tests {
    use fuseboard_api::TimeRange;

    use super::*;

    fn wall(seconds: i64) -> UnixNanos {
        UnixNanos(seconds * 1_000_000_000)
    }

    fn want(slot: SlotId, question: Question, standing: Standing) -> Want {
        let as_of = (standing == Standing::Once).then(|| wall(50));
        Want { slot, ask: Ask { question, as_of }, standing }
    }

    fn board(standing: Standing) -> Want {
        want(SlotId::Board, Question::Board { range: TimeRange { from: wall(0), to: wall(60) } }, standing)
    }

    fn spans(at: i64) -> LiveEvent {
        LiveEvent {
            generation: 1,
            as_of: wall(at),
            range: TimeRange { from: wall(at - 1), to: wall(at) },
            touched: vec![Touched::Spans],
        }
    }

    /// Takes what is due and has it answered at once.
    fn turn(desk: &mut Desk, now: Instant, at: i64) -> Vec<Due> {
        let due = desk.take_due(now, wall(at));
        for d in &due {
            assert!(desk.answered(d.slot, d.number, Duration::from_millis(1), now).is_some());
        }
        due
    }

    #[test]
    fn nothing_is_asked_before_somebody_is_there_and_everything_after() {
        let now = Instant::now();
        let mut desk = Desk::default();
        desk.want(vec![board(Standing::Moving)], now);
        assert_eq!(desk.next_due(now, UnixNanos::now()), None);
        desk.connected(now);
        assert_eq!(desk.next_due(now, UnixNanos::now()), Some(now));
        let due = turn(&mut desk, now, 1000);
        assert_eq!(due.len(), 1);
        let range = TimeRange { from: wall(940), to: wall(1000) };
        assert_eq!(due[0].ask.question, Question::Board { range }, "a moving range ends at the present");
    }

    #[test]
    fn an_idle_source_is_left_alone() {
        let now = Instant::now();
        let mut desk = Desk::default();
        desk.want(vec![board(Standing::Moving)], now);
        desk.connected(now);
        turn(&mut desk, now, 1000);
        assert_eq!(desk.next_due(now + Duration::from_secs(5), UnixNanos::now()), None);
    }

    #[test]
    fn a_touched_question_is_asked_again_after_its_pause_and_others_are_not() {
        let now = Instant::now();
        let mut desk = Desk::default();
        desk.want(vec![board(Standing::Fixed), want(SlotId::Forecasts, Question::Forecasts, Standing::Fixed)], now);
        desk.connected(now);
        assert_eq!(turn(&mut desk, now, 1000).len(), 2);
        assert!(desk.touched(&spans(1000), now, wall(1000)));
        assert_eq!(desk.next_due(now, UnixNanos::now()), Some(now + GRID * 3));
        assert!(turn(&mut desk, now, 1000).is_empty());
        let due = turn(&mut desk, now + GRID * 3, 1000);
        assert_eq!(due.iter().map(|d| d.slot).collect::<Vec<_>>(), [SlotId::Board]);
    }

    #[test]
    fn an_expensive_question_rests_longer() {
        let now = Instant::now();
        let mut desk = Desk::default();
        desk.want(vec![board(Standing::Fixed)], now);
        desk.connected(now);
        let due = desk.take_due(now, wall(1000));
        let later = now + Duration::from_secs(2);
        assert!(desk.answered(SlotId::Board, due[0].number, Duration::from_secs(2), later).is_some());
        desk.touched(&spans(1000), later, wall(1000));
        assert_eq!(desk.next_due(later, UnixNanos::now()), Some(now + Duration::from_secs(10)));
    }

    #[test]
    fn another_question_supersedes_and_another_instant_does_not() {
        let now = Instant::now();
        let mut desk = Desk::default();
        desk.want(vec![board(Standing::Once)], now);
        desk.connected(now);
        let due = desk.take_due(now, wall(1000));
        let mut later = board(Standing::Once);
        later.ask.as_of = Some(wall(51));
        desk.want(vec![later], now);
        assert!(desk.answered(SlotId::Board, due[0].number, GRID, now).is_some(), "it is shown on the way");
        assert_eq!(desk.next_due(now, UnixNanos::now()), Some(now), "and the newer instant is asked for");
        let due = desk.take_due(now, wall(1000));
        let other =
            want(SlotId::Board, Question::Board { range: TimeRange { from: wall(0), to: wall(600) } }, Standing::Once);
        desk.want(vec![other], now);
        assert!(desk.answered(SlotId::Board, due[0].number, GRID, now).is_none(), "nobody waits for it any more");
    }

    #[test]
    fn rates_decay_once_a_second_while_data_is_inside() {
        let now = Instant::now();
        let mut desk = Desk::default();
        desk.want(vec![board(Standing::Moving)], now);
        desk.connected(now);
        let present = UnixNanos::now();
        desk.touched(
            &LiveEvent { as_of: present, range: TimeRange { from: present, to: present }, ..Default::default() },
            now,
            present,
        );
        let due = desk.take_due(now, present);
        assert!(desk.answered(SlotId::Board, due[0].number, Duration::ZERO, now).is_some());
        assert_eq!(desk.next_due(now, UnixNanos::now()), Some(now + DECAY));
        assert_eq!(desk.take_due(now + DECAY, present + DECAY).len(), 1);
        assert!(desk.take_due(now + DECAY, present + Duration::from_secs(120)).is_empty(), "all has left the range");
    }
}
