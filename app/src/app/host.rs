//! What the program around the console does for it: open files, start the demo. All of it on threads of its own; what came
//! of it is heard between two frames.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use fuseboard_api::graph::Severity;

use super::App;
use crate::command::Command;
use crate::link::{Door, Source};
use crate::model::{TextRead, Toast};

/// What only the program around the console can do. Called on threads that may wait.
pub trait Host: Send + Sync + fmt::Debug {
    /// Serves an incident file, or telemetry of any known kind, and says where.
    ///
    /// # Errors
    /// Says in words what is wrong with the file.
    fn open_file(&self, path: &Path) -> Result<Source, String>;

    /// Starts the demo shop against the source in view.
    ///
    /// # Errors
    /// Says in words why it did not start.
    fn start_demo(&self) -> Result<(), String>;
}

/// A host that can do nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHost;

impl Host for NoHost {
    fn open_file(&self, path: &Path) -> Result<Source, String> {
        Err(format!("this console cannot open {}: start `fuseboard open` with it", path.display()))
    }

    fn start_demo(&self) -> Result<(), String> {
        Err("this console only looks at a collector: start `fuseboard demo` yourself".to_owned())
    }
}

/// Something that came of it.
pub(super) enum Heard {
    /// Another source to look at.
    Source(Source),
    /// A file was chosen.
    File(PathBuf),
    /// Where to write an incident to.
    SaveAs(u64, PathBuf),
    /// A text that was read from a file, or why not.
    Text(PathBuf, Result<String, String>),
    /// Something to tell.
    Told(String),
    /// Something went wrong.
    Failed(String),
}

/// Connects to a source.
pub(super) type Connect = Box<dyn Fn(Source) -> Box<dyn Door> + Send>;

/// The largest text that is read: the collector takes no larger policy document.
const LARGEST_TEXT: u64 = 1 << 20;

fn read_limited(path: &Path) -> Result<String, String> {
    let why = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let file = std::fs::File::open(path).map_err(why)?;
    let mut text = String::new();
    let read = file.take(LARGEST_TEXT + 1).read_to_string(&mut text).map_err(why)?;
    if read as u64 > LARGEST_TEXT {
        return Err(format!("{} is larger than 1 MiB: it is no policy document", path.display()));
    }
    Ok(text)
}

/// What was heard from the threads; at most one entry for each thing that a person asked for.
#[derive(Default)]
pub(super) struct Hosted {
    heard: Arc<Mutex<Vec<Heard>>>,
    /// How to look at another source; pictures and tests cannot.
    pub(super) connect: Option<Connect>,
}

impl fmt::Debug for Hosted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hosted").finish_non_exhaustive()
    }
}

impl Hosted {
    /// Runs `work` on a thread named `name`; what it gives is heard in the next frame.
    pub(super) fn run(&self, name: &str, ctx: &egui::Context, work: impl FnOnce() -> Option<Heard> + Send + 'static) {
        let (heard, waker) = (Arc::clone(&self.heard), ctx.clone());
        let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            if let Some(what) = work() {
                heard.lock().unwrap_or_else(PoisonError::into_inner).push(what);
                waker.request_repaint();
            }
        });
        if let Err(error) = spawned {
            let what = Heard::Failed(format!("no thread could be started ({error}); close something and try again"));
            self.heard.lock().unwrap_or_else(PoisonError::into_inner).push(what);
        }
    }

    fn take(&self) -> Vec<Heard> {
        std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl App {
    /// Acts on what was heard.
    pub(super) fn hear_host(&mut self, ctx: &egui::Context) {
        for what in self.hosted.take() {
            match what {
                Heard::Source(source) => self.look_at(source),
                Heard::File(path) => self.open_file(path, ctx),
                Heard::SaveAs(incident, path) => {
                    if let Err(why) = self.door.download(incident, path) {
                        self.tell(why, Severity::Failed);
                    }
                }
                Heard::Text(path, text) => {
                    let number = self.model.text_read.as_ref().map_or(0, |r| r.number) + 1;
                    self.model.text_read = Some(TextRead { number, path, text });
                }
                Heard::Told(text) => self.tell(text, Severity::Well),
                Heard::Failed(why) => self.tell(why, Severity::Failed),
            }
        }
    }

    /// Looks at another source: nothing of the old one stays in the picture.
    fn look_at(&mut self, source: Source) {
        let Some(connect) = &self.hosted.connect else { return };
        let fresh = crate::model::Model {
            view: self.model.view,
            source: source.name.clone(),
            source_kind: source.kind,
            who: self.model.who.clone(),
            zone: self.model.zone,
            theme: self.model.theme,
            locked: self.model.locked,
            ..Default::default()
        };
        self.door = connect(source);
        self.model = fresh;
        self.states = Default::default();
        self.wanted.clear();
        self.flip = None;
    }

    /// Has the host serve a file.
    pub(super) fn open_file(&self, path: PathBuf, ctx: &egui::Context) {
        let host = Arc::clone(&self.host);
        self.hosted
            .run("open-file", ctx, move || Some(host.open_file(&path).map_or_else(Heard::Failed, Heard::Source)));
    }

    /// Asks for a file.
    pub(super) fn choose_file(&self, ctx: &egui::Context) {
        self.hosted.run("choose-file", ctx, || {
            rfd::FileDialog::new()
                .set_title("Open an incident or telemetry")
                .add_filter(
                    "incident, telemetry",
                    &["fuse", "fuseboard", "db", "sqlite", "json", "jsonl", "pb", "gz", "zst"],
                )
                .add_filter("any file", &["*"])
                .pick_file()
                .map(Heard::File)
        });
    }

    /// Reads a text of at most [`LARGEST_TEXT`] bytes from a file.
    pub(super) fn read_text(&self, path: PathBuf, ctx: &egui::Context) {
        self.hosted.run("read-text", ctx, move || {
            let text = read_limited(&path);
            Some(Heard::Text(path, text))
        });
    }

    /// Writes a text into a file.
    pub(super) fn write_text(&self, path: PathBuf, text: String, ctx: &egui::Context) {
        self.hosted.run("write-text", ctx, move || {
            Some(match std::fs::write(&path, text) {
                Ok(()) => Heard::Told(format!("Written: {}", path.display())),
                Err(error) => Heard::Failed(format!("cannot write {}: {error}", path.display())),
            })
        });
    }

    /// Asks where to write an incident.
    pub(super) fn choose_target(&self, incident: u64, name: &str, ctx: &egui::Context) {
        let safe: String = name.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
        self.hosted.run("save-file", ctx, move || {
            rfd::FileDialog::new()
                .set_title("Export an incident")
                .set_file_name(format!("{safe}.fuse"))
                .save_file()
                .map(|path| Heard::SaveAs(incident, path))
        });
    }

    /// Has the host start the demo.
    pub(super) fn start_demo(&self, ctx: &egui::Context) {
        let host = Arc::clone(&self.host);
        self.hosted.run("start-demo", ctx, move || {
            Some(match host.start_demo() {
                Ok(()) => Heard::Told("The demo shop is starting; its first calls come in a moment.".to_owned()),
                Err(why) => Heard::Failed(why),
            })
        });
    }

    /// Takes files that were dropped on the window.
    pub(super) fn take_drops(&mut self, ui: &egui::Ui) {
        let dropped = ui.input(|i| i.raw.dropped_files.first().map(|f| f.path().to_owned()));
        if let Some(path) = dropped {
            self.commands.push(Command::OpenFile(path));
        }
        if ui.input(|i| !i.raw.hovered_files.is_empty()) {
            let t = crate::widgets::tokens(ui);
            let layer = egui::LayerId::new(egui::Order::Foreground, egui::Id::unique("drop"));
            let painter = ui.ctx().layer_painter(layer);
            let rect = ui.max_rect().shrink(8.0);
            painter.rect_filled(rect, 10, t.tint(crate::widgets::Tone::Accent).gamma_multiply(0.9));
            painter.rect_stroke(rect, 10, egui::Stroke::new(2.0, t.accent), egui::StrokeKind::Inside);
            let font = crate::widgets::text::title_font();
            painter.text(rect.center(), egui::Align2::CENTER_CENTER, "Drop to open the incident", font, t.text);
        }
    }

    /// Tells something in passing.
    pub(super) fn tell(&mut self, text: impl Into<String>, severity: Severity) {
        let toast = Toast { text: text.into(), severity, since: self.model.time.now, undo: None };
        self.push_toast(toast);
    }

    /// Shows a toast; at most four stand at once.
    pub(super) fn push_toast(&mut self, toast: Toast) {
        const MOST: usize = 4;
        self.model.toasts.push(toast);
        let extra = self.model.toasts.len().saturating_sub(MOST);
        self.model.toasts.drain(..extra);
    }
}

/// A link to another source; when no thread can be had, one that says so.
pub(super) fn connect(source: Source, wake: impl Fn() + Send + Sync + 'static) -> Box<dyn Door> {
    match crate::link::Link::open(source, wake) {
        Ok(link) => Box::new(link),
        Err(error) => Box::new(crate::link::NoLink::new(format!("no thread could be started ({error})"))),
    }
}
