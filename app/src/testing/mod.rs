//! A canned shop for tests, pictures and benches: the same ten services in the same trouble every time, at one fixed
//! instant. No collector, no clock, no network.

mod crowd;
pub mod feed;
mod lints;
pub mod pace;
mod people;
mod rollouts;
mod shop;
mod traces;

use std::sync::{Arc, Mutex, PoisonError};

use fuseboard_api::ask::{Answer, Question};
use fuseboard_api::command::Receipt;
use fuseboard_api::graph::EdgeKey;
use fuseboard_api::rollout::RolloutState;
use fuseboard_api::{TraceId, UnixNanos};

use crate::app::{App, Clock, Settings};
use crate::link::{Delivery, Door, Inbox, Link, Source};
use crate::model::{Connection, SourceKind, View, Want};

pub use traces::CHECKOUT;

/// The instant at which the canned shop stands still: 2026-11-20 14:04:36.2 UTC.
pub const NOW: UnixNanos = UnixNanos(1_795_183_476_200_000_000);

/// So many seconds before [`NOW`]; after it when negative.
pub(crate) fn ago(seconds: f64) -> UnixNanos {
    UnixNanos(NOW.0 - (seconds * 1e9) as i64)
}

/// A number in 0…1 that depends on `seed` alone (splitmix64's finisher).
pub(crate) fn dice(seed: u64) -> f64 {
    let mut z = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// What the canned shop is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scene {
    /// In the middle of an incident.
    #[default]
    Trouble,
    /// Nothing was ever stored.
    Empty,
    /// The collector does not answer.
    Gone,
    /// Nothing has been answered yet.
    Waiting,
    /// The collector does not know the token.
    Stranger,
    /// As in trouble, seen by somebody who may look and not touch.
    Viewer,
    /// As in trouble, and a change is on its way by stages.
    Rolling,
    /// As in trouble, and a guard has just taken a staged change back.
    Reverted,
    /// As in trouble, but the board shows so many services, and a trace has so many spans.
    Crowd(u32),
}

fn is_full(scene: Scene) -> bool {
    !matches!(scene, Scene::Empty | Scene::Gone | Scene::Waiting | Scene::Stranger)
}

/// What the canned collector answers.
pub fn answer(scene: Scene, question: &Question) -> Answer {
    let full = is_full(scene);
    if let Scene::Crowd(n) = scene {
        match question {
            Question::Board { range } => return Answer::Board(crowd::board(*range, n)),
            Question::Trace(id) => return Answer::Trace(Some(crowd::trace(*id, n))),
            Question::Fleet { .. } => return Answer::Fleet(crowd::fleet(n)),
            _ => {}
        }
    }
    match question {
        Question::Totals => Answer::Totals(people::totals(full)),
        Question::Strip { range, .. } => Answer::Strip(shop::strip(*range, full)),
        Question::Board { range } => Answer::Board(if full { shop::board(*range) } else { Default::default() }),
        Question::Traces(query) => Answer::Traces(if full { traces::list(query) } else { Default::default() }),
        Question::Spans(_) => Answer::Spans(Default::default()),
        Question::Quantiles(_) => Answer::Quantiles(Default::default()),
        Question::Trace(id) => Answer::Trace(full.then(|| traces::one(*id))),
        Question::Breakers { .. } => Answer::Breakers(if full { shop::breakers() } else { Default::default() }),
        Question::Policies { .. } => Answer::Policies(if full { shop::policies() } else { Default::default() }),
        Question::Lint { .. } => Answer::Lint(if full { lints::lints() } else { Default::default() }),
        Question::Effective { .. } => Answer::Effective(Vec::new()),
        Question::AuditChain { .. } => Answer::AuditChain(Default::default()),
        Question::Document(n) => Answer::Document(full.then(|| shop::document(*n))),
        Question::Changes { .. } => Answer::Changes(match scene {
            Scene::Rolling => rollouts::changes(RolloutState::Baking),
            Scene::Reverted => rollouts::changes(RolloutState::Reverted),
            _ if full => people::changes(),
            _ => Default::default(),
        }),
        Question::Forecasts => Answer::Forecasts(if full { people::forecasts() } else { Default::default() }),
        Question::Incidents => Answer::Incidents(if full { people::incidents() } else { Default::default() }),
        Question::Logs(query) => Answer::Logs(if full { traces::logs(query) } else { Default::default() }),
        Question::Metrics(query) => Answer::Metrics(if full { people::metrics(query) } else { Default::default() }),
        Question::Fleet { .. } => Answer::Fleet(if full { people::fleet() } else { Default::default() }),
        Question::Audit { .. } if scene == Scene::Reverted => Answer::Audit(people::broken_audit()),
        Question::Audit { .. } => Answer::Audit(if full { people::audit() } else { Default::default() }),
        Question::Names => Answer::Names(people::names(full)),
    }
}

/// A collector that answers at once, from [`answer`].
#[derive(Debug, Default)]
pub(crate) struct Canned {
    scene: Scene,
    open: Vec<Want>,
    receipts: Vec<(u64, Result<Receipt, String>)>,
    told: bool,
    given: Given,
}

impl Door for Canned {
    fn want(&mut self, wants: Vec<Want>) {
        self.open = wants;
    }

    fn act(&mut self, number: u64, command: fuseboard_api::command::Command) -> Result<(), String> {
        self.given.0.lock().unwrap_or_else(PoisonError::into_inner).push(command);
        let receipt = Receipt { at: NOW, override_id: Some(number), targeted: 2, ..Default::default() };
        self.receipts.push((number, Ok(receipt)));
        Ok(())
    }

    fn download(&mut self, _incident: u64, _to: std::path::PathBuf) -> Result<(), String> {
        Ok(())
    }

    fn take(&mut self) -> Inbox {
        let mut inbox = Inbox { receipts: std::mem::take(&mut self.receipts), ..Default::default() };
        if !std::mem::replace(&mut self.told, true) {
            inbox.connection = Some(match self.scene {
                Scene::Stranger => Connection::Unknown {
                    head: "The collector does not know who you are",
                    why: "the token ended on 2026-11-19: ask an admin for another one".to_owned(),
                },
                Scene::Waiting => Connection::Connecting,
                Scene::Gone => Connection::Lost { why: "connection refused by 127.0.0.1:4390".to_owned(), tries: 3 },
                _ => Connection::Up,
            });
            inbox.newest = Some(NOW);
            inbox.who = (self.scene == Scene::Viewer).then(people::viewer);
        }
        if is_full(self.scene) || self.scene == Scene::Empty {
            inbox.answers = std::mem::take(&mut self.open)
                .into_iter()
                .map(|want| Delivery {
                    slot: want.slot,
                    identity: want.identity(),
                    as_of: want.ask.as_of,
                    result: Ok((answer(self.scene, &want.ask.question), want.ask.as_of.unwrap_or(NOW))),
                })
                .collect();
        }
        inbox
    }
}

/// The console in front of the canned shop, with `view` in front.
pub fn app(view: View) -> App {
    scene(Scene::Trouble, view)
}

/// The console in front of another scene.
pub fn scene(scene: Scene, view: View) -> App {
    App::new(Box::new(Canned { scene, ..Default::default() }), settings(view), Clock::Fixed(NOW))
}

fn settings(view: View) -> Settings {
    Settings {
        view,
        source: "live · this machine".to_owned(),
        kind: SourceKind::Live,
        who: "op".to_owned(),
        utc: true,
        ..Default::default()
    }
}

/// The commands that were given to a canned collector, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Given(Arc<Mutex<Vec<fuseboard_api::command::Command>>>);

impl Given {
    /// What was to be done and why, oldest first.
    pub fn actions(&self) -> Vec<(fuseboard_api::command::Action, String)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|c| (c.action.clone(), c.reason.clone())).collect()
    }
}

/// A console in front of the canned shop with an edge chosen, and what it is told to do.
pub fn listening(view: View, edge: Option<EdgeKey>) -> (App, Given) {
    listening_in(Scene::Trouble, view, edge)
}

/// The same in front of another scene.
pub fn listening_in(scene: Scene, view: View, edge: Option<EdgeKey>) -> (App, Given) {
    let given = Given::default();
    let door = Canned { scene, given: given.clone(), ..Default::default() };
    let mut app = App::new(Box::new(door), settings(view), Clock::Fixed(NOW));
    app.model.selection.edge = edge;
    (app, given)
}

/// The console in front of a running collector, as [`crate::app::run`] opens it, without its window. `wake` is called when
/// something has come.
///
/// # Errors
/// When the thread that talks to the collector cannot be started.
pub fn live(source: Source, view: View, wake: impl Fn() + Send + Sync + 'static) -> std::io::Result<App> {
    let settings = Settings { source: source.name.clone(), kind: source.kind, ..settings(view) };
    Ok(App::new(Box::new(Link::open(source, wake)?), settings, Clock::System))
}

/// The same with something chosen: an edge, or a service, and a trace.
pub fn chosen(scene: Scene, view: View, edge: Option<EdgeKey>, service: Option<&str>, trace: Option<TraceId>) -> App {
    let mut app = self::scene(scene, view);
    app.model.selection.edge = edge;
    app.model.selection.service = service.map(str::to_owned);
    app.model.selection.trace = trace;
    app
}
