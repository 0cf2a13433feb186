//! Pictures of the console without a window: the same app code, run for some frames and drawn on the CPU.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use egui::{Color32, ColorImage, Context, RawInput, Theme, ViewportId, pos2, vec2};

use crate::app::{App, Clock, Settings};
use crate::link::{Link, Source};
use crate::model::ThemeChoice;
use crate::raster::{self, Textures};

/// How a picture is taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Picture {
    /// Size in points.
    pub size: [u32; 2],
    /// Pixels a point.
    pub scale: f32,
    /// Light or dark; the system's is dark here.
    pub theme: ThemeChoice,
    /// How long to wait for the collector's answers.
    pub patience: Duration,
}

impl Default for Picture {
    fn default() -> Self {
        Self { size: [1440, 900], scale: 1.0, theme: ThemeChoice::Dark, patience: Duration::from_secs(20) }
    }
}

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum NoPicture {
    /// The room that asks the collector could not be opened.
    #[error("cannot start the thread that talks to the collector: {0}")]
    Link(#[source] std::io::Error),
    /// Not every picture of the view came in time.
    #[error("{source_name} has not answered everything within {waited:?}: is its address right, and does it run?")]
    Late {
        /// The source's name.
        source_name: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The file cannot be written.
    #[error("cannot write {path}: {why}")]
    Write {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
}

/// Frames that are run at least: sizes settle in the second, scrolled places in the third.
const SETTLING: usize = 4;

/// The console without a window.
struct Headless {
    ctx: Context,
    textures: Textures,
    picture: Picture,
    frame: u32,
}

impl Headless {
    fn new(picture: Picture) -> Self {
        Self { ctx: Context::default(), textures: Textures::default(), picture, frame: 0 }
    }

    /// Runs one frame; draws it when `draw` is set.
    fn frame(&mut self, app: &mut App, draw: bool) -> Option<ColorImage> {
        let [width, height] = self.picture.size.map(|n| n as f32);
        let theme = if self.picture.theme == ThemeChoice::Light { Theme::Light } else { Theme::Dark };
        let mut input = RawInput {
            screen_rect: Some(egui::Rect::from_min_size(pos2(0.0, 0.0), vec2(width, height))),
            time: Some(f64::from(self.frame) / 10.0),
            system_theme: Some(theme),
            focused: true,
            ..Default::default()
        };
        input.viewports.entry(ViewportId::ROOT).or_default().native_pixels_per_point = Some(self.picture.scale);
        self.frame += 1;
        let mut output = self.ctx.run_ui(input, |ui| {
            app.step(ui.ctx());
            app.paint(ui);
        });
        let delta = std::mem::take(&mut output.textures_delta);
        self.textures.set(&delta);
        let image = draw.then(|| {
            let scale = output.pixels_per_point;
            let primitives = self.ctx.tessellate(output.shapes, scale);
            let size = [(width * scale).round() as usize, (height * scale).round() as usize];
            raster::draw(&primitives, &self.textures, size, scale, Color32::BLACK)
        });
        self.textures.free(&delta);
        let mut delta = delta;
        delta.clear();
        image
    }

    /// Some frames after everything has come, then the picture.
    fn settle(&mut self, app: &mut App) -> ColorImage {
        for _ in 1..SETTLING {
            self.frame(app, false);
        }
        self.frame(app, true).unwrap_or_default()
    }
}

/// Draws an app whose answers come at once, as the canned ones do.
pub fn draw(app: &mut App, picture: Picture) -> ColorImage {
    app.set_theme(picture.theme);
    Headless::new(picture).settle(app)
}

/// Looks at a collector as [`crate::app::run`] does, waits until every picture of the view has come, and draws.
///
/// # Errors
/// [`NoPicture::Link`] and [`NoPicture::Late`].
pub fn take(source: Source, settings: Settings, picture: Picture) -> Result<ColorImage, NoPicture> {
    let signal = Arc::new((Mutex::new(false), Condvar::new()));
    let bell = Arc::clone(&signal);
    let wake = move || {
        *bell.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        bell.1.notify_one();
    };
    let source_name = source.name.clone();
    let settings = Settings { source: source.name.clone(), kind: source.kind, theme: picture.theme, ..settings };
    let link = Link::open(source, wake).map_err(NoPicture::Link)?;
    let mut app = App::new(Box::new(link), settings, Clock::System);
    let mut headless = Headless::new(picture);
    let begun = Instant::now();
    loop {
        headless.frame(&mut app, false);
        if app.settled() {
            return Ok(headless.settle(&mut app));
        }
        let left = picture.patience.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Err(NoPicture::Late { source_name, waited: picture.patience });
        }
        let rang = signal.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = signal.1.wait_timeout_while(rang, left, |rang| !*rang);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
    }
}

/// Writes a picture as PNG.
///
/// # Errors
/// [`NoPicture::Write`] when the file cannot be written.
pub fn write_png(image: &ColorImage, path: &Path) -> Result<(), NoPicture> {
    let failed = |why: String| NoPicture::Write { path: path.display().to_string(), why };
    let file = std::fs::File::create(path).map_err(|e| failed(e.to_string()))?;
    let [width, height] = image.size.map(|n| n as u32);
    let mut encoder = png::Encoder::new(std::io::BufWriter::new(file), width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(|e| failed(e.to_string()))?;
    let bytes: Vec<u8> = image.pixels.iter().flat_map(|p| [p.r(), p.g(), p.b()]).collect();
    writer.write_image_data(&bytes).map_err(|e| failed(e.to_string()))?;
    writer.finish().map_err(|e| failed(e.to_string()))
}
