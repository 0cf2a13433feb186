//! The window on the desktop.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{App, Clock, Host, NoHost, Settings};
use crate::link::{Link, Source};

/// How the window is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// What the console begins with; name and kind of the source are taken from the [`Source`].
    pub settings: Settings,
    /// Who opens files and starts the demo.
    pub host: Arc<dyn Host>,
    /// Where size and place of the window are kept; `None` keeps them nowhere.
    pub memory: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { settings: Settings::default(), host: Arc::new(NoHost), memory: None }
    }
}

/// Why there is no window.
#[derive(Debug, thiserror::Error)]
pub enum NoWindow {
    /// Neither an X11 nor a Wayland display is named.
    #[error(
        "there is no display: neither DISPLAY nor WAYLAND_DISPLAY is set. Start the console on a desktop, or draw pictures without one by `fuseboard shot`"
    )]
    NoDisplay,
    /// The room that asks the collector could not be opened.
    #[error("cannot start the thread that talks to the collector: {0}")]
    Link(#[source] std::io::Error),
    /// The system refused a window.
    #[error(
        "the system gives no window: {0}. The console needs OpenGL 2.1 or later (libgl1 or libegl1 with libgl1-mesa-dri)"
    )]
    Window(String),
}

/// Opens the window onto `source` and returns when it is closed. Must be called on the main thread.
///
/// # Errors
/// [`NoWindow`] says what is missing.
pub fn run(source: Source, options: Options) -> Result<(), NoWindow> {
    let named = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    if cfg!(all(unix, not(target_os = "macos"))) && !named("DISPLAY") && !named("WAYLAND_DISPLAY") {
        return Err(NoWindow::NoDisplay);
    }
    let native = eframe::NativeOptions {
        viewport: egui::ViewportBuilder::default()
            .with_title("Fuseboard")
            .with_app_id("fuseboard")
            .with_inner_size([1440.0, 900.0])
            .with_min_inner_size([640.0, 400.0])
            .with_drag_and_drop(true),
        renderer: eframe::Renderer::Glow,
        persistence_path: options.memory.clone(),
        persist_window: options.memory.is_some(),
        ..Default::default()
    };
    let settings = Settings { source: source.name.clone(), kind: source.kind, ..options.settings };
    let host = options.host;
    let mut failed = None;
    let result = eframe::run_native(
        "fuseboard",
        native,
        Box::new(|cc| {
            let wake = waker(&cc.egui_ctx);
            match Link::open(source, wake.clone()) {
                Ok(link) => {
                    let mut app = App::new(Box::new(link), settings, Clock::System).hosted_by(host);
                    app.hosted.connect = Some(Box::new(move |source| super::host::connect(source, wake.clone())));
                    Ok(Box::new(app))
                }
                Err(error) => {
                    let words = error.to_string();
                    failed = Some(error);
                    Err(words.into())
                }
            }
        }),
    );
    match (failed, result) {
        (Some(error), _) => Err(NoWindow::Link(error)),
        (None, Err(error)) => Err(NoWindow::Window(error.to_string())),
        (None, Ok(())) => Ok(()),
    }
}

/// Wakes the window for one frame. A repaint without a delay would be two, and everything that needs a second one to settle asks
/// for it by itself.
pub(crate) fn waker(ctx: &egui::Context) -> impl Fn() + Clone + Send + Sync + 'static {
    let ctx = ctx.clone();
    move || ctx.request_repaint_after(Duration::from_millis(1))
}
