//! A source that answers when it is told to, with other numbers each time: for measuring frames.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fuseboard_api::TraceId;
use fuseboard_api::ask::{Answer, Question};
use fuseboard_api::command::Command;
use fuseboard_api::graph::EdgeKey;
use fuseboard_api::stats::Stats;

use super::{NOW, Scene, answer, dice, settings};
use crate::app::{App, Clock};
use crate::link::{Delivery, Door, Inbox};
use crate::model::{Connection, View, Want};

/// Traces larger than this are answered once only: a collector is not asked for them again with every beat.
const LARGE: u32 = 20_000;

/// What is chosen when measuring begins.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// An edge: the inspectors of board, breakers and policies are about it.
    pub edge: Option<EdgeKey>,
    /// The open trace.
    pub trace: Option<TraceId>,
}

/// The other end of a console's source.
#[derive(Debug, Clone, Default)]
pub struct Feed(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    scene: Scene,
    wants: Vec<Want>,
    waiting: Inbox,
    beat: u64,
}

/// A console in front of a source that answers with [`Feed::answer`].
pub fn fed(scene: Scene, view: View, choice: Choice) -> (App, Feed) {
    let feed = Feed::default();
    {
        let mut state = feed.state();
        state.scene = scene;
        state.waiting = Inbox { connection: Some(Connection::Up), newest: Some(NOW), ..Inbox::default() };
    }
    let mut app = App::new(Box::new(feed.clone()), settings(view), Clock::Fixed(NOW));
    app.model.selection.edge = choice.edge;
    app.model.selection.trace = choice.trace;
    (app, feed)
}

impl Feed {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers everything that is wanted, with other numbers than the time before.
    pub fn answer(&self) {
        let mut state = self.state();
        state.beat += 1;
        let (scene, beat) = (state.scene, state.beat);
        let size = if let Scene::Crowd(n) = scene { n } else { 0 };
        let answered = |want: &&Want| beat == 1 || size < LARGE || !matches!(want.ask.question, Question::Trace(_));
        let deliver = |want: &Want| Delivery {
            slot: want.slot,
            identity: want.identity(),
            as_of: want.ask.as_of,
            result: Ok((numbered(scene, &want.ask.question, beat), want.ask.as_of.unwrap_or(NOW))),
        };
        let answers = state.wants.iter().filter(answered).map(deliver).collect();
        state.waiting.answers = answers;
    }
}

impl Door for Feed {
    fn want(&mut self, wants: Vec<Want>) {
        self.state().wants = wants;
    }

    fn act(&mut self, _number: u64, _command: Command) -> Result<(), String> {
        Ok(())
    }

    fn download(&mut self, _incident: u64, _to: std::path::PathBuf) -> Result<(), String> {
        Ok(())
    }

    fn take(&mut self) -> Inbox {
        std::mem::take(&mut self.state().waiting)
    }
}

/// An answer as large as the scene says, with this beat's numbers.
fn numbered(scene: Scene, question: &Question, beat: u64) -> Answer {
    let mut answer = answer(scene, question);
    if let Scene::Crowd(n) = scene {
        swell(&mut answer, (n as usize).min(500));
    }
    vary(&mut answer, beat);
    answer
}

fn repeat<T: Clone>(list: &mut Vec<T>, n: usize, mut other: impl FnMut(&mut T, usize)) {
    let given = list.len().max(1);
    *list = list.iter().cycle().take(n.max(list.len())).cloned().collect();
    list.iter_mut().enumerate().skip(given).for_each(|(i, item)| other(item, i));
}

fn turn<T>(list: &mut [T], beat: u64) {
    let by = beat as usize % list.len().max(1);
    list.rotate_left(by);
}

/// Makes lists longer, up to `n`.
fn swell(answer: &mut Answer, n: usize) {
    match answer {
        Answer::Traces(list) => repeat(&mut list.rows, n, |row, i| row.start.0 -= i as i64 * 1_000_000),
        Answer::Logs(list) => repeat(&mut list.rows, n, |row, i| row.time.0 -= i as i64 * 1_000_000),
        Answer::Breakers(b) => repeat(&mut b.breakers, n.min(300), |b, i| b.key.callee.push_str(&format!("-{i}"))),
        Answer::Policies(p) => repeat(&mut p.edges, n.min(300), |e, i| e.key.callee.push_str(&format!("-{i}"))),
        Answer::Forecasts(f) => repeat(&mut f.forecasts, n.min(300), |f, i| f.key.callee.push_str(&format!("-{i}"))),
        Answer::Fleet(f) => repeat(&mut f.members, n.min(300), |m, i| m.instance.push_str(&format!("-{i}"))),
        Answer::Audit(a) => repeat(&mut a.entries, n, |e, i| e.sequence += i as u64),
        Answer::Metrics(m) => {
            repeat(&mut m.instruments, n.min(300), |m, i| m.name.push_str(&format!(".{i}")));
            repeat(&mut m.series, 40, |s, i| s.instance.push_str(&format!("-{i}")));
        }
        _ => {}
    }
}

/// Gives every number that a person sees this beat's value.
fn vary(answer: &mut Answer, beat: u64) {
    let mut seed = beat.wrapping_mul(1_000_003);
    let mut some = |of: u64| {
        seed += 1;
        of + (dice(seed) * (of as f64 * 0.1 + 3.0)) as u64
    };
    let mut stats = |s: &mut Stats| s.calls = some(s.calls);
    match answer {
        Answer::Board(board) => {
            board.nodes.iter_mut().for_each(|n| {
                stats(&mut n.stats);
                turn(&mut n.spark, beat);
            });
            board.edges.iter_mut().for_each(|e| stats(&mut e.stats));
        }
        Answer::Policies(p) => p.edges.iter_mut().for_each(|e| stats(&mut e.stats)),
        Answer::Fleet(f) => f.members.iter_mut().for_each(|m| stats(&mut m.stats)),
        Answer::Totals(t) => {
            t.spans = some(t.spans);
            t.spans_per_second = some(1200) as f64;
        }
        Answer::Strip(s) => s.density.iter_mut().for_each(|d| d.calls = some(d.calls)),
        Answer::Breakers(b) => b.breakers.iter_mut().for_each(|b| {
            b.calls = some(b.calls);
            turn(&mut b.window, beat);
        }),
        Answer::Traces(t) => t.rows.iter_mut().for_each(|r| r.duration_nanos = some(r.duration_nanos)),
        Answer::Forecasts(f) => {
            f.forecasts.iter_mut().flat_map(|f| &mut f.seen).for_each(|s| s.1 *= 1.0 + 0.1 * dice(some(1)))
        }
        Answer::Metrics(m) => {
            m.series.iter_mut().flat_map(|s| &mut s.points).for_each(|p| p.value *= 1.0 + 0.1 * dice(some(1)))
        }
        _ => {}
    }
}
