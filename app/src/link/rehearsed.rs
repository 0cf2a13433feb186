//! The room's rules without its tasks and sockets, on a clock that is set by hand: for tests that count frames.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fuseboard_api::UnixNanos;
use fuseboard_api::ask::{Answer, Question};
use fuseboard_api::command::Command;
use fuseboard_api::live::LiveEvent;
use tokio::time::Instant;

use super::bell::Bell;
use super::standing::{Desk, Due};
use super::{Delivery, Door, Inbox};
use crate::model::{Connection, SlotId, Want};

/// What the collector would answer.
type Oracle = Box<dyn Fn(&Question) -> Answer + Send>;

/// A room that its owner turns by hand.
#[derive(Clone)]
pub(crate) struct Rehearsed(Arc<Mutex<State>>);

struct State {
    now: Instant,
    wall: UnixNanos,
    desk: Desk,
    bell: Bell,
    /// What is on its way, and when it comes.
    flying: Vec<(Instant, Instant, Due)>,
    answers: BTreeMap<SlotId, Delivery>,
    rest: Inbox,
    oracle: Oracle,
}

impl std::fmt::Debug for Rehearsed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rehearsed").finish_non_exhaustive()
    }
}

impl Rehearsed {
    /// A connected room whose questions are answered by `oracle`, at the instant `wall`.
    pub(crate) fn new(wall: UnixNanos, oracle: impl Fn(&Question) -> Answer + Send + 'static) -> Self {
        let now = Instant::now();
        let mut desk = Desk::default();
        desk.connected(now);
        let rest = Inbox { connection: Some(Connection::Up), newest: Some(wall), ..Inbox::default() };
        let (bell, oracle) = (Bell::default(), Box::new(oracle));
        let state = State { now, wall, desk, bell, flying: Vec::new(), answers: BTreeMap::new(), rest, oracle };
        Self(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The collector tells that something changed.
    pub(crate) fn tell(&self, event: &LiveEvent) {
        let state = &mut *self.state();
        if state.desk.touched(event, state.now, state.wall) {
            state.rest.newest = Some(event.as_of);
        }
    }

    /// How long nothing happens by itself; `None` for ever.
    pub(crate) fn rests(&self) -> Option<Duration> {
        let state = self.state();
        let asks = state.desk.next_due(state.now, state.wall);
        let lands = state.flying.iter().map(|(_, at, _)| *at);
        let next = lands.chain(asks).chain(state.bell.due()).min()?;
        Some(next.saturating_duration_since(state.now))
    }

    /// Lets `time` pass; gives whether the window is woken.
    pub(crate) fn pass(&self, time: Duration) -> bool {
        let state = &mut *self.state();
        state.now += time;
        state.wall = state.wall + time;
        let (now, wall) = (state.now, state.wall);
        if state.desk.next_due(now, wall).is_some_and(|due| due <= now) {
            let asked = state.desk.take_due(now, wall);
            // Answers take from 2 to 40 ms, so that those asked together come apart.
            let takes = |d: &Due| Duration::from_millis(2 + d.number * 7919 % 39);
            state.flying.extend(asked.into_iter().map(|due| (now, now + takes(&due), due)));
        }
        let (landed, flying) = std::mem::take(&mut state.flying).into_iter().partition(|(_, at, _)| *at <= now);
        state.flying = flying;
        for (begun, _, due) in landed {
            state.land(&due, now - begun);
        }
        state.bell.rings(now)
    }
}

impl State {
    fn land(&mut self, due: &Due, took: Duration) {
        let Some(landed) = self.desk.answered(due.slot, due.number, took, self.now) else { return };
        let result = Ok(((self.oracle)(&due.ask.question), due.ask.as_of.unwrap_or(self.wall)));
        let delivery = Delivery { slot: due.slot, identity: landed.identity, as_of: landed.as_of, result };
        self.answers.insert(due.slot, delivery);
        if landed.awaited {
            self.bell.awaited(self.now);
        } else {
            self.bell.data(self.now, self.desk.busy());
        }
    }
}

impl Door for Rehearsed {
    fn want(&mut self, wants: Vec<Want>) {
        let state = &mut *self.state();
        state.desk.want(wants, state.now);
    }

    fn act(&mut self, _number: u64, _command: Command) -> Result<(), String> {
        Err("nothing can be changed in a rehearsal".to_owned())
    }

    fn download(&mut self, _incident: u64, _to: PathBuf) -> Result<(), String> {
        Err("nothing is written in a rehearsal".to_owned())
    }

    fn take(&mut self) -> Inbox {
        let state = &mut *self.state();
        Inbox { answers: std::mem::take(&mut state.answers).into_values().collect(), ..std::mem::take(&mut state.rest) }
    }
}
