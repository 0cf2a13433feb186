//! A console on a clock that is set by hand, with the room's real rules and the window system's rules of repainting: counts the
//! frames that a stretch of time costs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use egui::{Context, Event, Key, Modifiers, RawInput, pos2, vec2};
use fuseboard_api::TimeRange;
use fuseboard_api::live::{LiveEvent, Touched};

use super::{NOW, Scene, answer, settings};
use crate::app::{App, Clock, waker};
use crate::link::Rehearsed;
use crate::model::View;

/// When the window is painted next, as its event loop keeps it.
#[derive(Debug, Default)]
struct Loop {
    now: Duration,
    next: Option<Duration>,
}

/// A console, its room and its window's event loop.
#[derive(Debug)]
pub struct Pace {
    ctx: Context,
    app: App,
    room: Rehearsed,
    window: Arc<Mutex<Loop>>,
    events: Vec<Event>,
    told: u64,
}

impl Pace {
    /// The canned shop with `view` in front, following. Nothing is painted yet.
    pub fn new(view: View) -> Self {
        let room = Rehearsed::new(NOW, |question| answer(Scene::Trouble, question));
        let app = App::new(Box::new(room.clone()), settings(view), Clock::Fixed(NOW));
        let (ctx, window) =
            (Context::default(), Arc::new(Mutex::new(Loop { next: Some(Duration::ZERO), ..Loop::default() })));
        let asks = Arc::clone(&window);
        ctx.set_request_repaint_callback(move |info| {
            let mut window = asks.lock().unwrap_or_else(PoisonError::into_inner);
            let at = window.now.saturating_add(info.delay);
            window.next = Some(window.next.map_or(at, |next| next.min(at)));
        });
        Self { ctx, app, room, window, events: Vec::new(), told: 0 }
    }

    fn window(&self) -> MutexGuard<'_, Loop> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Presses a key; that paints a frame.
    pub fn press(&mut self, key: Key) {
        for pressed in [true, false] {
            self.events.push(Event::Key {
                key,
                physical_key: None,
                pressed,
                repeat: false,
                modifiers: Modifiers::NONE,
            });
        }
        let mut window = self.window();
        window.next = Some(window.now);
    }

    /// What the cursor does and where it stands.
    pub fn time_words(&self) -> String {
        self.app.time_words()
    }

    /// Lets `time` pass, in which the collector tells of new data of every kind so many times a second; gives how many frames were painted.
    pub fn run(&mut self, time: Duration, events_a_second: u32) -> u32 {
        let mut frames = 0;
        let wake = waker(&self.ctx);
        let end = self.window().now + time;
        let pause = (events_a_second > 0).then(|| Duration::from_secs(1) / events_a_second);
        let mut news = pause.map(|_| self.window().now);
        loop {
            let (now, paints) = {
                let window = self.window();
                (window.now, window.next)
            };
            let turns = self.room.rests().map(|rests| now + rests);
            let next = paints.into_iter().chain(turns).chain(news).min().map_or(end, |next| next.max(now).min(end));
            if next >= end {
                if self.room.pass(end - now) {
                    wake();
                }
                self.window().now = end;
                return frames;
            }
            self.window().now = next;
            if self.room.pass(next - now) {
                wake();
            }
            if news.is_some_and(|news| news <= next) {
                news = news.zip(pause).map(|(news, pause)| news + pause);
                self.tell();
            }
            let due = self.window().next.take_if(|at| *at <= next).is_some();
            if due {
                frames += 1;
                self.frame(next);
            }
        }
    }

    fn tell(&mut self) {
        use Touched::{Audit, Breakers, Changes, Fleet, Forecasts, Incidents, Logs, Metrics, Spans};
        self.told += 1;
        let at = NOW + self.window().now;
        let touched = vec![Spans, Logs, Metrics, Breakers, Changes, Fleet, Forecasts, Incidents, Audit];
        self.room.tell(&LiveEvent { generation: self.told, as_of: at, range: TimeRange { from: at, to: at }, touched });
    }

    fn frame(&mut self, now: Duration) {
        self.app.set_time(NOW + now);
        let input = RawInput {
            screen_rect: Some(egui::Rect::from_min_size(pos2(0.0, 0.0), vec2(1440.0, 900.0))),
            time: Some(now.as_secs_f64()),
            focused: true,
            events: std::mem::take(&mut self.events),
            ..Default::default()
        };
        let app = &mut self.app;
        let mut output = self.ctx.run_ui(input, |ui| {
            app.step(ui.ctx());
            app.paint(ui);
            if app.has_commands() {
                ui.request_repaint();
            }
        });
        output.textures_delta.clear();
    }
}
