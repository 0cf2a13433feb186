//! What the console knows: immutable pictures for painting, what is chosen, and what was asked for. Views read it; only
//! commands and answers change it.

pub(crate) mod bin;
mod door;
mod pending;
mod slot;

use std::time::Duration;

use fuseboard_api::change::{Change, ChangeState};
use fuseboard_api::graph::EdgeKey;
use fuseboard_api::identity::{Deed, Whoami};
use fuseboard_api::incident::Incident;
use fuseboard_api::log::LogQuery;
use fuseboard_api::metric::MetricQuery;
use fuseboard_api::trace::TraceQuery;
use fuseboard_api::{SpanId, TraceId, UnixNanos};

use crate::time::{Timeline, Zone};

pub(crate) use door::{Standing, Want, rebase};
pub(crate) use pending::{Pending, PendingState, Undo};
pub(crate) use slot::{Asked, PATIENCE, SlotId, Slots};

/// The views.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum View {
    /// The call graph.
    #[default]
    Board,
    /// Lists of traces.
    Traces,
    /// One trace.
    Trace,
    /// All breakers.
    Breakers,
    /// Policies and their revisions.
    Policies,
    /// Bands and forecasts.
    Forecasts,
    /// Recorded incidents.
    Incidents,
    /// Log records.
    Logs,
    /// Metrics.
    Metrics,
    /// Instances.
    Fleet,
    /// Who did what.
    Audit,
    /// Every widget in every state.
    Gallery,
}

impl View {
    /// The views of the rail, in its order; the keys 1…9 and 0 go to them.
    pub(crate) const RAIL: [Self; 10] = [
        Self::Board,
        Self::Traces,
        Self::Breakers,
        Self::Policies,
        Self::Forecasts,
        Self::Incidents,
        Self::Logs,
        Self::Metrics,
        Self::Fleet,
        Self::Audit,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Board => "Board",
            Self::Traces => "Traces",
            Self::Trace => "Trace",
            Self::Breakers => "Breakers",
            Self::Policies => "Policies",
            Self::Forecasts => "Forecast",
            Self::Incidents => "Incidents",
            Self::Logs => "Logs",
            Self::Metrics => "Metrics",
            Self::Fleet => "Fleet",
            Self::Audit => "Audit",
            Self::Gallery => "Gallery",
        }
    }

    /// The view with this name, case ignored.
    pub fn named(name: &str) -> Option<Self> {
        Self::RAIL.into_iter().chain([Self::Trace, Self::Gallery]).find(|v| {
            v.name().eq_ignore_ascii_case(name) || (*v == Self::Forecasts && name.eq_ignore_ascii_case("forecasts"))
        })
    }
}

/// The parts of the policies view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum PolicyTab {
    /// Effective settings by edge.
    #[default]
    Edges,
    /// The staged change that is under way, or was last.
    Rollout,
    /// What operators hold by hand for a time.
    Overrides,
    /// What the linter finds in the calls.
    Findings,
    /// The document in force.
    Document,
    /// Revisions.
    History,
}

/// Whether there is somebody to ask.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Connection {
    /// The first attempt is on its way.
    #[default]
    Connecting,
    /// Answers come.
    Up,
    /// Somebody answers, and we are not let in, or do not dare to go in.
    Unknown {
        /// What it is, for a head: `The collector does not know who you are`.
        head: &'static str,
        /// Why, in words, and what to do.
        why: String,
    },
    /// The last attempt failed.
    Lost {
        /// Why, in words.
        why: String,
        /// How often it was tried since.
        tries: u32,
    },
}

/// What kind of source is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SourceKind {
    /// A collector inside this program or on this machine.
    #[default]
    Live,
    /// A collector elsewhere.
    Remote,
    /// An incident file: it does not grow and nothing can be changed.
    File,
}

/// What is chosen.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Selection {
    /// An edge.
    pub(crate) edge: Option<EdgeKey>,
    /// A service.
    pub(crate) service: Option<String>,
    /// The trace that is open.
    pub(crate) trace: Option<TraceId>,
    /// A span of the open trace.
    pub(crate) span: Option<SpanId>,
    /// A breaker's instance, with `edge`.
    pub(crate) instance: Option<String>,
    /// A revision whose document is shown.
    pub(crate) revision: Option<u64>,
    /// The revision that it is compared with.
    pub(crate) other_revision: Option<u64>,
    /// An incident.
    pub(crate) incident: Option<u64>,
    /// One of the linter's findings, by its id.
    pub(crate) finding: Option<String>,
}

/// What lists are narrowed to. Ranges inside are filled in by [`Model::questions`].
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Filters {
    /// Of the list of traces.
    pub(crate) traces: TraceQuery,
    /// Of the list of logs.
    pub(crate) logs: LogQuery,
    /// Of the metrics.
    pub(crate) metrics: MetricQuery,
    /// Of the audit.
    pub(crate) audit: Option<String>,
    /// How long before the counted range the board's comparison lies; `None` without one.
    pub(crate) board_before: Option<Duration>,
}

/// What lies over the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Overlay {
    /// Nothing.
    #[default]
    None,
    /// The command palette.
    Palette,
    /// The keys.
    Help,
}

/// Light or dark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ThemeChoice {
    /// As the system says.
    #[default]
    System,
    /// Dark.
    Dark,
    /// Light.
    Light,
}

/// Something told in passing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Toast {
    /// What.
    pub(crate) text: String,
    /// How bad.
    pub(crate) severity: fuseboard_api::graph::Severity,
    /// When it was first shown, on the clock.
    pub(crate) since: UnixNanos,
    /// What can be undone.
    pub(crate) undo: Option<Undo>,
}

/// A text that was read from a file at somebody's wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TextRead {
    /// Counts up with every reading of this run.
    pub(crate) number: u64,
    /// From where.
    pub(crate) path: std::path::PathBuf,
    /// The text, or why there is none, in words.
    pub(crate) text: Result<String, String>,
}

/// What the console knows.
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// The view in front.
    pub(crate) view: View,
    /// The view that was in front before.
    pub(crate) back: Option<View>,
    /// The source's name: `live · this machine`.
    pub(crate) source: String,
    /// Its kind.
    pub(crate) source_kind: SourceKind,
    /// Who works here; goes into every command. Where the collector asks for tokens: the token's name.
    pub(crate) who: String,
    /// What the collector says of who one is and what one may do; nothing before it has said so.
    pub(crate) identity: Option<Whoami>,
    /// Whether there is somebody to ask.
    pub(crate) connection: Connection,
    /// The pictures.
    pub(crate) slots: Slots,
    /// The part of the policies view in front.
    pub(crate) policy_tab: PolicyTab,
    /// What is chosen.
    pub(crate) selection: Selection,
    /// What lists are narrowed to.
    pub(crate) filters: Filters,
    /// The cursor and its ranges.
    pub(crate) time: Timeline,
    /// How instants are written.
    pub(crate) zone: Zone,
    /// Commands on their way, oldest first.
    pub(crate) pending: Vec<Pending>,
    /// What can be undone, oldest first.
    pub(crate) undo: Vec<Undo>,
    /// What is told in passing, oldest first.
    pub(crate) toasts: Vec<Toast>,
    /// The text that was read last by [`crate::command::Command::ReadText`].
    pub(crate) text_read: Option<TextRead>,
    /// What lies over the view.
    pub(crate) overlay: Overlay,
    /// Light or dark.
    pub(crate) theme: ThemeChoice,
    /// Whether what stands beside the view was put away.
    pub(crate) inspector_hidden: bool,
    /// Whether the window is too narrow for view and inspector side by side: an inspector would lie over the view.
    pub(crate) narrow: bool,
    /// Whether commands are refused here whatever the source is.
    pub(crate) locked: bool,
    /// Whether the source is marked as production.
    pub(crate) production: bool,
    /// The newest instant that the collector has told of.
    pub(crate) newest: UnixNanos,
}

impl Model {
    /// Whether a command of this kind can be given; see [`Self::barred`].
    pub(crate) fn can(&self, deed: Deed) -> bool {
        self.barred(deed).is_none()
    }

    /// Why no command of this kind can be given, a sentence; `None` when it can. The collector decides again
    /// when it is asked.
    pub(crate) fn barred(&self, deed: Deed) -> Option<String> {
        if let Some(why) = self.closed() {
            Some(why.to_owned())
        } else if self.connection != Connection::Up {
            Some("Not connected: commands can be given again when the collector answers.".to_owned())
        } else {
            self.may(deed).err().map(str::to_owned)
        }
    }

    /// Why the source takes no commands by its nature, whoever gives them.
    pub(crate) fn closed(&self) -> Option<&'static str> {
        if self.source_kind == SourceKind::File {
            Some("This is an incident file: it is looked at, not steered.")
        } else if self.locked {
            Some("This console was started read only.")
        } else if self.slots.totals.get().is_some_and(|t| t.read_only) {
            Some("The collector has its data open read only.")
        } else {
            None
        }
    }

    /// Whether the collector lets us do something, as far as it has said.
    ///
    /// # Errors
    /// The reason to show: who one is, and which role it takes.
    fn may(&self, deed: Deed) -> Result<(), &str> {
        let refused = self.identity.iter().flat_map(|who| &who.may_not).find(|(refused, _)| *refused == deed);
        refused.map_or(Ok(()), |(_, why)| Err(why))
    }

    /// The incident that is being recorded.
    pub(crate) fn recording(&self) -> Option<&Incident> {
        self.slots.incidents.get()?.incidents.iter().find(|i| i.to.is_none())
    }

    /// The overrides in force that touch this edge.
    pub(crate) fn overrides_of<'a>(&'a self, edge: &'a EdgeKey) -> impl Iterator<Item = &'a Change> {
        let all = self.slots.changes.get().map(|c| c.overrides.as_slice()).unwrap_or_default();
        all.iter().filter(move |c| {
            let touches = c.override_spec.as_ref().is_some_and(|spec| {
                let instance = spec.selector.instance.as_deref().unwrap_or_default();
                spec.selector.matches(&edge.caller, instance, &edge.callee, &edge.operation)
            });
            touches && matches!(c.state, ChangeState::Requested | ChangeState::Applied)
        })
    }

    /// The overrides in force or on their way, newest first.
    pub(crate) fn overrides(&self) -> impl Iterator<Item = &Change> {
        let all = self.slots.changes.get().map(|c| c.overrides.as_slice()).unwrap_or_default();
        let held = |c: &&Change| {
            c.ended.is_none() && matches!(c.state, ChangeState::Requested | ChangeState::Applied | ChangeState::Refused)
        };
        all.iter().filter(held)
    }

    /// Whether nothing was ever stored.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.totals.get().is_some_and(|t| t.spans == 0 && t.logs == 0 && t.metric_points == 0)
    }
}
