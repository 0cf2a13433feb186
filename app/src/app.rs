//! The window: it takes what came, runs commands, moves the cursor, and paints the frame around the view in front.

mod help;
mod host;
mod keys;
mod palette;
mod rail;
mod run;
mod start;
mod steps;
mod strip;
mod toasts;
mod top;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fuseboard_api::command::Action;
use fuseboard_api::graph::EdgeKey;
use fuseboard_api::{TraceId, UnixNanos};

use crate::command::Commands;
use crate::link::Door;
use crate::model::{Asked, Connection, Model, Overlay, PATIENCE, SourceKind, ThemeChoice, View, Want};
use crate::time::{Cursor, Zone};
use crate::views::{self, States};
use crate::widgets::{self, tokens};

pub use host::{Host, NoHost};
pub(crate) use run::waker;
pub use run::{NoWindow, Options, run};

/// Where the time comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// The system's clock.
    System,
    /// One instant for ever: for pictures and tests.
    Fixed(UnixNanos),
}

impl Clock {
    fn now(self) -> UnixNanos {
        match self {
            Self::System => UnixNanos::now(),
            Self::Fixed(at) => at,
        }
    }
}

/// What the console begins with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// The view in front.
    pub view: View,
    /// The source's name.
    pub source: String,
    /// The source's kind.
    pub kind: SourceKind,
    /// Who works here.
    pub who: String,
    /// Whether instants are written in UTC instead of local time.
    pub utc: bool,
    /// Light or dark.
    pub theme: ThemeChoice,
    /// Whether sources are only looked at: commands are refused before they are sent.
    pub read_only: bool,
    /// Marks the source as production: the top bar says so.
    pub production: bool,
    /// The instant shown; without one the newest is followed.
    pub at: Option<UnixNanos>,
    /// The edge that is chosen.
    pub edge: Option<EdgeKey>,
    /// The trace that is open.
    pub trace: Option<TraceId>,
}

/// Narrower than this, the inspector lies over the view.
const NARROW: f32 = 1000.0;

/// The console.
#[derive(Debug)]
pub struct App {
    pub(crate) model: Model,
    states: States,
    commands: Commands,
    door: Box<dyn Door>,
    host: Arc<dyn Host>,
    hosted: host::Hosted,
    clock: Clock,
    wanted: Vec<Want>,
    /// Whether something wanted has not been answered yet, now and in the frame before.
    behind: bool,
    was_behind: bool,
    numbers: u64,
    /// How to take commands on their way back, where that was known beforehand; by their number.
    undos: BTreeMap<u64, Action>,
    dressed: bool,
    palette: palette::Palette,
    strip: strip::State,
    flip: Option<views::Flip>,
}

impl App {
    /// A console in front of `door`.
    pub(crate) fn new(door: Box<dyn Door>, settings: Settings, clock: Clock) -> Self {
        let mut model = Model {
            view: settings.view,
            source: settings.source,
            source_kind: settings.kind,
            who: settings.who,
            zone: if settings.utc { Zone::UTC } else { Zone::local(clock.now()) },
            theme: settings.theme,
            locked: settings.read_only,
            production: settings.production,
            ..Model::default()
        };
        model.selection.edge = settings.edge;
        model.selection.trace = settings.trace;
        if let Some(at) = settings.at {
            model.time.cursor = Cursor::Paused { at };
        }
        Self {
            model,
            states: States::default(),
            commands: Commands::default(),
            door,
            host: Arc::new(NoHost),
            hosted: host::Hosted::default(),
            clock,
            wanted: Vec::new(),
            behind: false,
            was_behind: false,
            numbers: 0,
            undos: BTreeMap::new(),
            dressed: false,
            palette: palette::Palette::default(),
            strip: strip::State::default(),
            flip: None,
        }
    }

    /// With somebody who can open files and start the demo.
    pub(crate) fn hosted_by(mut self, host: Arc<dyn Host>) -> Self {
        self.host = host;
        self
    }

    /// Takes what came, runs commands, moves the cursor, and asks anew. Paints nothing.
    pub fn step(&mut self, ctx: &egui::Context) {
        if !std::mem::replace(&mut self.dressed, true) {
            widgets::theme::install(ctx);
            ctx.options_mut(|o| o.quit_shortcuts.clear());
            self.dress(ctx);
        }
        self.set_clock();
        let inbox = self.door.take();
        self.accept(inbox);
        self.hear_host(ctx);
        for command in self.commands.take() {
            self.execute(command, ctx);
        }
        self.set_clock();
        self.ask();
        self.plan_repaint(ctx);
    }

    /// The view in front.
    pub fn view(&self) -> View {
        self.model.view
    }

    /// What the cursor does and where it stands: `paused at 14:02:36.2`.
    pub fn time_words(&self) -> String {
        format!("{} at {}", self.model.time.cursor.word(), self.model.zone.tenth(self.model.time.position()))
    }

    /// Runs a command of the palette in the next frame, as if it was chosen there; `false` when there is none of that text.
    pub fn perform(&mut self, text: &str) -> bool {
        let entry = crate::command::entries().into_iter().find(|e| e.text == text);
        let found = entry.is_some();
        entry.into_iter().for_each(|e| self.commands.push(e.command));
        found
    }

    /// Whether something waits to be run before the next frame.
    pub(crate) fn has_commands(&self) -> bool {
        !self.commands.is_empty()
    }

    /// Stops the clock at `at`.
    pub(crate) fn set_time(&mut self, at: UnixNanos) {
        self.clock = Clock::Fixed(at);
    }

    /// Light or dark, before the first frame.
    pub fn set_theme(&mut self, theme: ThemeChoice) {
        self.model.theme = theme;
        self.dressed = false;
    }

    /// Whether every picture of the view in front has come, or an error in its place.
    pub fn settled(&self) -> bool {
        !self.wanted.is_empty()
            && self.commands.is_empty()
            && self.wanted.iter().all(|w| self.model.slots.settled(w.slot))
    }

    /// Paints everything.
    pub fn paint(&mut self, ui: &mut egui::Ui) {
        let t = tokens(ui);
        ui.painter().rect_filled(ui.max_rect(), 0, t.window);
        keys::take(ui, &self.model, &mut self.commands);
        self.take_drops(ui);
        let narrow = ui.max_rect().width() < NARROW;
        self.model.narrow = narrow;
        let bar = egui::Frame::NONE.fill(t.panel);
        let rail = if narrow { rail::NARROW } else { rail::WIDTH };
        egui::Panel::left("rail").exact_size(rail).resizable(false).frame(bar).show(ui, |ui| {
            rail::show(ui, &self.model, &mut self.commands);
        });
        egui::Panel::top("top").exact_size(44.0).resizable(false).frame(bar).show(ui, |ui| {
            top::show(ui, &self.model, &mut self.commands);
        });
        egui::Panel::bottom("strip").exact_size(122.0).resizable(false).frame(bar).show(ui, |ui| {
            strip::show(ui, &self.model, &mut self.strip, &mut self.commands);
        });
        let told = !self.model.inspector_hidden && views::has_inspector(&self.model, &self.states);
        let beside = self.flip.is_some() || told;
        if beside && !narrow {
            egui::Panel::right("inspector").default_size(384.0).size_range(300.0..=560.0).frame(bar).show(ui, |ui| {
                self.inspector(ui);
            });
        }
        let middle = egui::CentralPanel::no_frame().show(ui, |ui| self.middle(ui)).response.rect;
        if beside && narrow {
            self.inspector_over(ui, middle);
        }
        toasts::show(ui, &self.model, &mut self.commands, middle);
        match self.model.overlay {
            Overlay::None => {}
            Overlay::Palette => palette::show(ui, &self.model, &mut self.palette, &mut self.commands),
            Overlay::Help => help::show(ui, &mut self.commands),
        }
    }

    fn middle(&mut self, ui: &mut egui::Ui) {
        let needs_data =
            !matches!(self.model.view, View::Gallery | View::Incidents | View::Audit | View::Fleet | View::Policies);
        // Whoever is not let in has no view that could show anything.
        let kept_out = matches!(self.model.connection, Connection::Unknown { .. }) && self.model.view != View::Gallery;
        if start::wanted(&self.model) && (needs_data || kept_out) {
            start::show(ui, &self.model, &mut self.commands);
        } else {
            views::show(ui, &self.model, &mut self.states, &mut self.commands);
        }
    }

    fn inspector(&mut self, ui: &mut egui::Ui) {
        egui::ScrollArea::vertical().id_salt("inspector").auto_shrink(false).show(ui, |ui| {
            egui::Frame::NONE.inner_margin(egui::Margin::symmetric(20, 14)).show(ui, |ui| {
                ui.set_width(ui.available_width());
                if let Some(flip) = &mut self.flip {
                    views::show_flip(ui, &self.model, flip, &mut self.commands);
                } else {
                    views::inspector(ui, &self.model, &mut self.states, &mut self.commands);
                }
            });
        });
    }

    /// The inspector over the right part of the view, for narrow windows.
    fn inspector_over(&mut self, ui: &egui::Ui, middle: egui::Rect) {
        let t = tokens(ui);
        let width = 360.0_f32.min(middle.width() - 48.0);
        let rect = middle.with_min_x(middle.right() - width);
        egui::Area::new(egui::Id::unique("inspector-over")).fixed_pos(rect.min).order(egui::Order::Middle).show(
            ui,
            |ui| {
                ui.set_clip_rect(rect.expand(1.0));
                ui.painter().rect_filled(rect, 0, t.panel);
                ui.painter().vline(rect.left(), rect.y_range(), egui::Stroke::new(1.0, t.line_strong));
                ui.scope_builder(egui::UiBuilder::new().max_rect(rect), |ui| {
                    ui.set_min_size(rect.size());
                    self.inspector(ui);
                });
            },
        );
    }

    fn set_clock(&mut self) {
        let model = &mut self.model;
        model.time.now = self.clock.now();
        model.time.edge = match (model.source_kind, model.slots.totals.get()) {
            (SourceKind::File, Some(totals)) => totals.stored.to,
            _ => model.time.now.max(model.newest),
        };
        let grows = model.source_kind != SourceKind::File;
        if let Some(totals) = model.slots.totals.get() {
            model.time.fit(totals.stored, grows);
        }
        let lap = model.time.chosen.filter(|_| model.time.lap);
        model.time.cursor = model.time.cursor.tick(model.time.now, model.time.edge, lap, grows);
    }

    /// Says what is wanted, when that changed.
    fn ask(&mut self) {
        let wants = self.model.questions();
        let tolerance = match self.model.time.cursor {
            Cursor::Playing { speed, .. } => speed.apply(1_000_000_000).unsigned_abs(),
            Cursor::Following | Cursor::Paused { .. } => 0,
        };
        let now = self.model.time.now;
        self.behind = false;
        for want in &wants {
            let asked = Asked { question: &want.identity(), as_of: want.ask.as_of, tolerance, now };
            self.model.slots.asked(want.slot, &asked);
            self.behind |= !self.model.slots.settled(want.slot);
        }
        let same = wants.len() == self.wanted.len() && wants.iter().zip(&self.wanted).all(|(a, b)| a.same(b));
        if !same {
            self.wanted.clone_from(&wants);
            self.door.want(wants);
        }
    }

    /// A frame only with a reason: recorded time passing, or something that goes away by itself. Data wakes the window by
    /// itself when it comes.
    fn plan_repaint(&mut self, ctx: &egui::Context) {
        if let Some(moves) = self.model.time.next_move() {
            ctx.request_repaint_after(moves);
        } else if let Some(toast) = self.model.toasts.first() {
            let gone = toast.since + toasts::LIFE;
            ctx.request_repaint_after(gone.since(self.model.time.now).max(Duration::from_millis(50)));
        }
        // Once, to mark as old what has not been answered by then.
        if self.behind && !self.was_behind {
            ctx.request_repaint_after(PATIENCE + Duration::from_millis(20));
        }
        // Once, for sizes that settle in the frame after the one that shows a picture first.
        if self.was_behind && !self.behind {
            ctx.request_repaint_after(Duration::from_millis(1));
        }
        self.was_behind = self.behind;
    }

    fn dress(&self, ctx: &egui::Context) {
        ctx.set_theme(match self.model.theme {
            ThemeChoice::System => egui::ThemePreference::System,
            ThemeChoice::Dark => egui::ThemePreference::Dark,
            ThemeChoice::Light => egui::ThemePreference::Light,
        });
    }
}

impl eframe::App for App {
    fn logic(&mut self, ctx: &egui::Context, _frame: &mut eframe::Frame) {
        self.step(ctx);
    }

    fn ui(&mut self, ui: &mut egui::Ui, _frame: &mut eframe::Frame) {
        self.paint(ui);
        if self.has_commands() {
            ui.request_repaint();
        }
    }
}
