//! What a frame costs: CPU time of this thread for one `egui::Context::run_ui` (answers taken, commands run, everything painted
//! into shapes) and for the tessellation that follows, without rasterizing.
//!
//! `cargo bench -p fuseboard --no-default-features --bench frame [-- --quick] [-- FILTER]`. Every view is measured on the canned
//! shop and on a crowd, three ways:
//!
//! - `still`: nothing happens; what a frame costs that somebody asked for in vain.
//! - `hover`: the pointer crosses the window, so that what it is over is painted anew.
//! - `drag` (the large board only): the graph is dragged about, so that all of it moves in every frame.
//! - `live`: as `hover`, and every picture of the view is replaced by one with other numbers before every frame. The console
//!   does that ten times a second at most.
//!
//! Prints one line a figure: `figure NAME = VALUE ms | limit NAME = VALUE ms | ratio X`. Nothing is asserted: times belong to
//! the machine.

use std::hint::black_box;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use egui::{Context, Event, Modifiers, PointerButton, RawInput, Rect, ViewportId, pos2, vec2};
use fuseboard::app::App;
use fuseboard::testing::feed::{Choice, Feed, fed};
use fuseboard::testing::{self, Scene};
use fuseboard::{ThemeChoice, View};
use fuseboard_api::graph::EdgeKey;

/// What a frame of the shop may cost, in milliseconds.
const ORDINARY: f64 = 1.0;
/// What a frame of a crowd may cost, in milliseconds.
const CROWD: f64 = 4.0;
/// What a frame may cost that shows new data, in milliseconds.
const LIVE: f64 = 3.0;
/// How long a trace of a million spans may take to open, in milliseconds.
const OPEN: f64 = 2000.0;

const SIZE: [f32; 2] = [1440.0, 900.0];

const VIEWS: [View; 12] = [
    View::Board,
    View::Traces,
    View::Trace,
    View::Breakers,
    View::Policies,
    View::Forecasts,
    View::Incidents,
    View::Logs,
    View::Metrics,
    View::Fleet,
    View::Audit,
    View::Gallery,
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let quick = args.iter().any(|a| a == "--quick");
    let filter = args.into_iter().find(|a| !a.starts_with("--")).unwrap_or_default();
    let frames = if quick { 60 } else { 400 };
    let mut cases: Vec<Case> =
        VIEWS.into_iter().map(|view| Case::new(view, Scene::Trouble, "shop", ORDINARY)).collect();
    cases.extend(
        VIEWS.into_iter().filter(|v| !matches!(v, View::Board | View::Trace | View::Gallery)).map(crowd_of_lists),
    );
    let beside = |view, n, size| Case { beside: true, ..Case::new(view, Scene::Crowd(n), size, CROWD) };
    cases.push(beside(View::Board, 2_000, "2000_nodes"));
    cases.push(beside(View::Trace, 100_000, "100000_spans"));
    if !quick {
        cases.push(beside(View::Trace, 1_000_000, "1000000_spans"));
    }
    println!("clock: {CLOCK}; {frames} frames each, {} x {} points, dark", SIZE[0], SIZE[1]);
    for case in cases.iter().filter(|c| c.name.contains(&filter)) {
        case.measure(frames);
    }
}

fn crowd_of_lists(view: View) -> Case {
    Case::new(view, Scene::Crowd(500), "500_rows", CROWD)
}

/// A view of a size.
struct Case {
    name: String,
    view: View,
    scene: Scene,
    limit: f64,
    /// Whether what is shown is made ready on a thread beside the frame.
    beside: bool,
}

impl Case {
    fn new(view: View, scene: Scene, size: &str, limit: f64) -> Self {
        Self { name: format!("{}.{size}", view.name().to_lowercase()), view, scene, limit, beside: false }
    }

    fn measure(&self, frames: usize) {
        let choice = Choice {
            edge: Some(EdgeKey::new("orders", "payments", "shop.Payments/Charge")),
            trace: Some(testing::CHECKOUT),
        };
        let (app, feed) = fed(self.scene, self.view, choice);
        let mut stage = Stage::new(app, feed);
        let opened = stage.settle(self.beside);
        if self.beside {
            figure(&format!("{}.open", self.name), opened.as_secs_f64() * 1e3, "open", OPEN);
        }
        let ways = [
            (Way::Still, self.limit),
            (Way::Hover, self.limit),
            (Way::Drag, self.limit),
            (Way::Live, self.limit.max(LIVE)),
        ];
        for (way, limit) in ways {
            if way == Way::Drag && !(self.beside && self.view == View::Board) {
                continue;
            }
            if way == Way::Drag {
                stage.press(true);
            }
            // A picture that is made ready beside the frame is waited for: the frame that shows it counts, too.
            let waits = self.beside && way == Way::Live && self.view == View::Board;
            let frames = if waits { frames.min(100) } else { frames };
            let mut runs: Vec<Cost> = (0..frames)
                .flat_map(|i| {
                    let first = stage.frame(way, i);
                    let second = waits.then(|| {
                        stage.wait();
                        stage.frame(Way::Hover, i)
                    });
                    std::iter::once(first).chain(second)
                })
                .collect();
            if way == Way::Drag {
                stage.press(false);
            }
            runs.sort_by_key(Cost::total);
            let quantile = |q: f64| runs[((runs.len() - 1) as f64 * q).round() as usize];
            let (half, worst) = (quantile(0.5), quantile(0.99));
            let name = format!("{}.{}", self.name, way.word());
            figure(&format!("{name}.p50"), millis(half.total()), "frame", limit);
            figure(&format!("{name}.p99"), millis(worst.total()), "frame", limit);
            println!(
                "       of that p99: {:.3} ms egui run, {:.3} ms tessellation",
                millis(worst.run),
                millis(worst.tessellate)
            );
        }
    }
}

fn figure(name: &str, value: f64, limit_name: &str, limit: f64) {
    println!("figure {name} = {value:.3} ms | limit {limit_name} = {limit} ms | ratio {:.2}", value / limit);
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// What happens between two frames.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Still,
    Hover,
    Drag,
    Live,
}

impl Way {
    fn word(self) -> &'static str {
        match self {
            Self::Still => "still",
            Self::Hover => "hover",
            Self::Drag => "drag",
            Self::Live => "live",
        }
    }
}

/// CPU time of one frame.
#[derive(Clone, Copy)]
struct Cost {
    run: Duration,
    tessellate: Duration,
}

impl Cost {
    fn total(&self) -> Duration {
        self.run + self.tessellate
    }
}

/// Rings when a thread beside the frame has something ready.
type Bell = Arc<(Mutex<bool>, Condvar)>;

/// A console without a window.
struct Stage {
    ctx: Context,
    app: App,
    feed: Feed,
    bell: Bell,
    time: f64,
}

impl Stage {
    fn new(mut app: App, feed: Feed) -> Self {
        app.set_theme(ThemeChoice::Dark);
        let ctx = Context::default();
        let bell = Bell::default();
        let (rings, here) = (bell.clone(), thread::current().id());
        ctx.set_repaint_observer(move |_| {
            if thread::current().id() != here {
                *rings.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
                rings.1.notify_one();
            }
        });
        Self { ctx, app, feed, bell, time: 0.0 }
    }

    /// Until a thread beside the frame has something ready, a minute at most.
    fn wait(&self) {
        let rang = self.bell.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.bell.1.wait_timeout_while(rang, Duration::from_secs(60), |rang| !*rang);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
    }

    /// Runs frames until sizes have settled; gives how long it took on the wall's clock from the answer to the first frame
    /// that shows it.
    fn settle(&mut self, beside: bool) -> Duration {
        self.run(Vec::new());
        self.feed.answer();
        let begun = Instant::now();
        self.run(Vec::new());
        if beside {
            self.wait();
            self.run(Vec::new());
        }
        let opened = begun.elapsed();
        for _ in 0..8 {
            self.run(Vec::new());
        }
        opened
    }

    /// Presses or releases the button in the middle of the graph.
    fn press(&mut self, pressed: bool) {
        let (pos, button, modifiers) = (around(0), PointerButton::Primary, Modifiers::NONE);
        self.run(vec![Event::PointerMoved(pos)]);
        self.run(vec![Event::PointerButton { pos, button, pressed, modifiers }]);
    }

    fn frame(&mut self, way: Way, i: usize) -> Cost {
        if way == Way::Live {
            self.feed.answer();
        }
        let events = match way {
            Way::Still => Vec::new(),
            Way::Hover | Way::Live => vec![Event::PointerMoved(place(i))],
            Way::Drag => vec![Event::PointerMoved(around(i))],
        };
        self.run(events)
    }

    fn run(&mut self, events: Vec<Event>) -> Cost {
        self.time += 0.1;
        let mut input = RawInput {
            screen_rect: Some(Rect::from_min_size(pos2(0.0, 0.0), vec2(SIZE[0], SIZE[1]))),
            time: Some(self.time),
            focused: true,
            events,
            ..Default::default()
        };
        input.viewports.entry(ViewportId::ROOT).or_default().native_pixels_per_point = Some(1.0);
        let begun = cpu();
        let mut output = self.ctx.run_ui(input, |ui| {
            self.app.step(ui.ctx());
            self.app.paint(ui);
        });
        let run = cpu() - begun;
        output.textures_delta.clear();
        let begun = cpu();
        let primitives = black_box(self.ctx.tessellate(output.shapes, output.pixels_per_point));
        let tessellate = cpu() - begun;
        drop(primitives);
        Cost { run, tessellate }
    }
}

/// Where the pointer is in frame `i`: across the window and down it, in steps that never fall together with rows.
fn place(i: usize) -> egui::Pos2 {
    let part = |step: f32| (i as f32 * step).fract();
    pos2(20.0 + part(0.037) * (SIZE[0] - 40.0), 20.0 + part(0.1031) * (SIZE[1] - 40.0))
}

/// Where the pointer is in frame `i` of a drag: round in a circle.
fn around(i: usize) -> egui::Pos2 {
    pos2(700.0, 400.0) + egui::Vec2::angled(i as f32 * 0.31) * 60.0
}

#[cfg(any(target_os = "linux", target_os = "macos"))]
const CLOCK: &str = "CPU time of the thread";
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
const CLOCK: &str = "wall time";

/// CPU time of this thread so far.
#[cfg(any(target_os = "linux", target_os = "macos"))]
fn cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// The wall's clock, where a thread's CPU time cannot be read.
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn cpu() -> Duration {
    use std::sync::OnceLock;
    static BEGUN: OnceLock<Instant> = OnceLock::new();
    BEGUN.get_or_init(Instant::now).elapsed()
}
