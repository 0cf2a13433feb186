//! Everything that a person can do, as one closed list. Views push commands; the app runs them between two frames.

use std::path::PathBuf;
use std::time::Duration;

use egui::{Key, KeyboardShortcut, Modifiers};
use fuseboard_api::breaker::BreakerMode;
use fuseboard_api::command::Action;
use fuseboard_api::graph::EdgeKey;
use fuseboard_api::log::LogQuery;
use fuseboard_api::metric::MetricQuery;
use fuseboard_api::trace::TraceQuery;
use fuseboard_api::{SpanId, TimeRange, TraceId, UnixNanos};

use crate::model::{PolicyTab, ThemeChoice, View};
use crate::time::Speed;

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Command {
    /// Bring a view to the front.
    Go(View),
    /// Bring a part of the policies view to the front.
    ShowPolicies(PolicyTab),
    /// Back to the view before.
    Back,
    /// Choose an edge (and no service), or none.
    SelectEdge(Option<EdgeKey>),
    /// Choose a service (and no edge), or none.
    SelectService(Option<String>),
    /// Open a trace in the trace view.
    OpenTrace(TraceId),
    /// Choose a span of the open trace.
    SelectSpan(Option<SpanId>),
    /// Choose the revision whose document is shown.
    SelectRevision(Option<u64>),
    /// Choose one of the linter's findings, or none.
    SelectFinding(Option<String>),
    /// Choose the revision that it is compared with.
    CompareRevision(Option<u64>),
    /// Choose an incident.
    SelectIncident(Option<u64>),
    /// Narrow the list of traces.
    FilterTraces(TraceQuery),
    /// Narrow the logs.
    FilterLogs(LogQuery),
    /// Choose metrics.
    FilterMetrics(MetricQuery),
    /// Narrow the audit.
    FilterAudit(Option<String>),
    /// Compare the board with so long before; `None` ends it.
    CompareBoard(Option<Duration>),
    /// Ask for reason and expiry, then set a breaker's mode. `Auto` asks, then ends the overrides on it.
    Flip {
        /// Which.
        edge: EdgeKey,
        /// One instance of the caller; `None` for all.
        instance: Option<String>,
        /// To what.
        mode: BreakerMode,
    },
    /// Give the collector a command.
    Act {
        /// What.
        action: Action,
        /// Why.
        reason: String,
        /// How to take it back, where that is known before the receipt.
        undo: Option<Action>,
    },
    /// Take the last change back.
    Undo,
    /// Follow the newest.
    Follow,
    /// Follow or pause.
    ToggleFollow,
    /// Stop at the instant shown.
    Pause,
    /// Let recorded time pass from the instant shown.
    Play,
    /// How fast.
    Speed(Speed),
    /// Show an instant.
    Seek(UnixNanos),
    /// Show the next (true) or the last (false) mark's instant.
    Step(bool),
    /// Move the instant shown by so many milliseconds.
    Nudge(i64),
    /// Filter every view by a range; `None` ends it.
    Choose(Option<TimeRange>),
    /// Go round in the chosen range while playing, or not.
    Lap(bool),
    /// Over how long calls are counted.
    Span(Duration),
    /// How much the strip shows, and where it ends (`None`: it goes with the newest).
    StripWindow(Duration, Option<UnixNanos>),
    /// Start to record an incident, from some minutes ago, or stop the one that is being recorded.
    Record,
    /// Show an incident's stretch: choose its range and stand at its beginning.
    OpenIncident(TimeRange),
    /// Write an incident into a file.
    ExportIncident(u64),
    /// Write an incident into a file at a path that was typed.
    ExportIncidentTo(u64, PathBuf),
    /// Write a text into a file: an exported policy.
    WriteText(PathBuf, String),
    /// Read a text from a file into [`crate::model::Model::text_read`]: a policy to import.
    ReadText(PathBuf),
    /// Open an incident file.
    OpenFile(PathBuf),
    /// Ask for a file to open.
    ChooseFile,
    /// Start the demo shop.
    StartDemo,
    /// Light or dark.
    Theme(ThemeChoice),
    /// Open or close the command palette.
    Palette,
    /// Open or close the list of keys.
    Help,
    /// Show or hide what stands beside the view.
    Inspector,
    /// End the innermost thing that is open or chosen.
    Close,
    /// Put text on the clipboard; the second part says what it was.
    Copy(String, String),
    /// End the program.
    Quit,
}

/// Commands pushed while painting.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    list: Vec<Command>,
}

impl Commands {
    /// Has `command` run after this frame.
    pub(crate) fn push(&mut self, command: Command) {
        self.list.push(command);
    }

    /// Whether nothing was pushed.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All commands in the order they were pushed.
    pub(crate) fn take(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.list)
    }
}

const fn key(key: Key) -> KeyboardShortcut {
    KeyboardShortcut::new(Modifiers::NONE, key)
}

const fn ctrl(key: Key) -> KeyboardShortcut {
    KeyboardShortcut::new(Modifiers::COMMAND, key)
}

/// A command that stands in the palette and in the list of keys by itself.
pub(crate) struct Entry {
    /// What it does, as the palette writes it.
    pub(crate) text: &'static str,
    /// Its key, if any.
    pub(crate) shortcut: Option<KeyboardShortcut>,
    /// What is pushed.
    pub(crate) command: Command,
}

/// The commands that need nothing chosen.
pub(crate) fn entries() -> Vec<Entry> {
    const VIEW_KEYS: [Key; 10] =
        [Key::Num1, Key::Num2, Key::Num3, Key::Num4, Key::Num5, Key::Num6, Key::Num7, Key::Num8, Key::Num9, Key::Num0];
    const VIEW_TEXTS: [&str; 10] = [
        "Go to Board",
        "Go to Traces",
        "Go to Breakers",
        "Go to Policies",
        "Go to Forecast",
        "Go to Incidents",
        "Go to Logs",
        "Go to Metrics",
        "Go to Fleet",
        "Go to Audit",
    ];
    let mut all: Vec<Entry> = View::RAIL
        .into_iter()
        .zip(VIEW_KEYS)
        .zip(VIEW_TEXTS)
        .map(|((view, k), text)| Entry { text, shortcut: Some(key(k)), command: Command::Go(view) })
        .collect();
    let mut add = |text, shortcut, command| all.push(Entry { text, shortcut, command });
    add("Command palette", Some(ctrl(Key::K)), Command::Palette);
    add("Keys", Some(key(Key::Questionmark)), Command::Help);
    add("Follow or pause", Some(key(Key::Space)), Command::ToggleFollow);
    add("Play from here", Some(key(Key::P)), Command::Play);
    add("Next mark", Some(key(Key::CloseBracket)), Command::Step(true));
    add("Last mark", Some(key(Key::OpenBracket)), Command::Step(false));
    add("One second later", Some(key(Key::Period)), Command::Nudge(1000));
    add("One second earlier", Some(key(Key::Comma)), Command::Nudge(-1000));
    add("Show or hide what stands beside the view", Some(key(Key::I)), Command::Inspector);
    for (text, minutes) in [
        ("Count calls over 1 minute", 1),
        ("Count calls over 5 minutes", 5),
        ("Count calls over 15 minutes", 15),
        ("Count calls over 1 hour", 60),
    ] {
        add(text, None, Command::Span(Duration::from_secs(minutes * 60)));
    }
    for (text, minutes) in [
        ("Time strip of 5 minutes", 5),
        ("Time strip of 20 minutes", 20),
        ("Time strip of 1 hour", 60),
        ("Time strip of 6 hours", 360),
    ] {
        add(text, None, Command::StripWindow(Duration::from_secs(minutes * 60), None));
    }
    add("Show the whole time again", None, Command::Choose(None));
    add("Record or stop recording an incident", Some(ctrl(Key::R)), Command::Record);
    add("Undo the last change", Some(ctrl(Key::Z)), Command::Undo);
    for (text, tab) in [
        ("Go to Overrides", PolicyTab::Overrides),
        ("Go to Rollout", PolicyTab::Rollout),
        ("Go to Findings", PolicyTab::Findings),
    ] {
        add(text, None, Command::ShowPolicies(tab));
    }
    add("End all overrides", None, end_all_overrides());
    add("Open an incident file", Some(ctrl(Key::O)), Command::ChooseFile);
    add("Start the demo", None, Command::StartDemo);
    add("Dark theme", None, Command::Theme(ThemeChoice::Dark));
    add("Light theme", None, Command::Theme(ThemeChoice::Light));
    add("Theme of the system", None, Command::Theme(ThemeChoice::System));
    add("Back", Some(KeyboardShortcut::new(Modifiers::ALT, Key::ArrowLeft)), Command::Back);
    add("Quit", Some(ctrl(Key::Q)), Command::Quit);
    all
}

/// A shortcut as it stands on the keyboard: `?`, `[`, `Ctrl+K`.
pub(crate) fn shortcut_words(ui: &egui::Ui, shortcut: &KeyboardShortcut) -> String {
    let names = [
        ("Questionmark", "?"),
        ("OpenBracket", "["),
        ("CloseBracket", "]"),
        ("Comma", ","),
        ("Period", "."),
        ("Left", "←"),
    ];
    names.into_iter().fold(ui.format_shortcut(shortcut), |words, (name, sign)| words.replace(name, sign))
}

/// Ends every override in force.
pub(crate) fn end_all_overrides() -> Command {
    Command::Act { action: Action::EndAllOverrides, reason: "all overrides ended by hand".to_owned(), undo: None }
}
