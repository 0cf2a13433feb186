//! The circuit breaker beside `failsafe`, `recloser` and `tower-resilience-circuitbreaker`: asking for a call and reporting it.
//!
//! Ours is given the time by its caller (in the agent one reading of the clock serves all layers), some rivals read a clock
//! themselves. So ours is measured twice: with the time given, beside rivals that read no clock on that path; and with one
//! `Instant::now` a call, beside those that do. `recloser` has count windows only, and no clock while closed; `failsafe` has
//! failures in a row (no clock) and a moving average of time (reads it); `tower-resilience` reads it twice a call, and is a
//! tower service whose future is polled here without a runtime between.
//!
//! Measured on two quiet cores of a shared Xeon, ours over the fastest of them (`… --bench rivals -- --quick breaker`): a count window,
//! healthy, 13.6 ns, 0.65 on one thread and 0.07 on two that share the breaker; with 1 % failures 0.67 and 0.11. A time window with one
//! reading of the clock, 41 ns, 0.42 and 0.13. Refusing is slower than theirs on one thread (1.5), since a refusal says why.

use std::future::{Ready, ready};
use std::hint::black_box;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use failsafe::{CircuitBreaker as _, StateMachine, backoff, failure_policy};
use fuseboard_agent::policy::breaker::{Admission, Breaker, Outcome};
use fuseboard_agent::policy::settings::{self, Window};
use recloser::Recloser;
use tower::Service as _;
use tower_resilience_circuitbreaker::{CircuitBreakerLayer, SlidingWindowType};

use super::{Bench, Calls, Contender, Failed, print};

/// One failure in so many calls, where calls fail.
const FAILURES: u32 = 100;
/// Size of the count window.
const CALLS: u64 = 100;
/// Length of the time window, in slices of one second.
const SECONDS: u64 = 10;
/// So long that nothing recovers while it is measured.
const OPEN: Duration = Duration::from_secs(3_600);

/// What the callee does.
#[derive(Clone, Copy, PartialEq)]
enum Weather {
    Healthy,
    SomeFail,
    Open,
}

/// All that is compared, made anew for each line.
struct Rivals {
    ours: Breaker,
    recloser: Option<Recloser>,
    in_a_row: Option<StateMachine<failure_policy::ConsecutiveFailures<backoff::Constant>, ()>>,
    over_time: Option<StateMachine<failure_policy::SuccessRateOverTimeWindow<backoff::Constant>, ()>>,
    tower: tower_resilience_circuitbreaker::CircuitBreakerLayer,
}

/// Prints the lines of this section.
pub(crate) fn run(bench: &Bench) -> Result<(), Failed> {
    let sleep = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build()?;
    for (window, name) in [
        (Window::Count { size: CALLS }, "count window"),
        (Window::Time { ms: SECONDS * 1_000, buckets: SECONDS }, "time window"),
    ] {
        for (weather, traffic) in
            [(Weather::Healthy, "healthy"), (Weather::SomeFail, "1 % fail"), (Weather::Open, "refused")]
        {
            for threads in [1, 2] {
                let zero = Instant::now();
                let rivals = Rivals::new(&window, weather)?;
                let contenders = rivals.contenders(weather, zero, &sleep);
                let times = bench.compare(threads, &contenders);
                report(&format!("breaker, {name}, {traffic}, {threads} threads"), weather, &contenders, &times);
            }
        }
    }
    Ok(())
}

/// Each rival beside ours under the same discipline; `contenders` begins with ours, time given and with a clock.
fn report(figure: &str, weather: Weather, contenders: &[Contender<'_>], times: &[f64]) {
    let [given, clock, theirs @ ..] = times else { return };
    let beside = |contender: &Contender<'_>, name: &str, theirs: f64| {
        // Refusing, every rival looks at the clock, to see whether the wait is over.
        let reads =
            weather == Weather::Open || contender.name.contains("over time") || contender.name.contains("tower");
        let (ours, how) = if reads { (*clock, "one clock reading") } else { (*given, "time given") };
        print(&format!("{figure}, {how}"), ours, name, theirs);
    };
    for (contender, theirs) in contenders.iter().skip(2).zip(theirs) {
        beside(contender, contender.name, *theirs);
    }
    let fastest = contenders.iter().skip(2).zip(theirs).min_by(|a, b| a.1.total_cmp(b.1));
    if let Some((contender, theirs)) = fastest {
        beside(contender, &format!("the fastest, {}", contender.name), *theirs);
    }
}

impl Rivals {
    fn new(window: &Window, weather: Weather) -> Result<Self, Failed> {
        let settings = settings::Breaker {
            window: Some(window.clone()),
            min_calls: Some(20),
            failure_ratio: Some(0.5),
            open_ms: Some(OPEN.as_millis() as u64),
            ..settings::Breaker::default()
        };
        let counts = matches!(window, Window::Count { .. });
        let recloser =
            counts.then(|| Recloser::custom().error_rate(0.5).closed_len(CALLS as usize).open_wait(OPEN).build());
        let wait = backoff::constant(OPEN);
        let in_a_row = (counts || weather == Weather::Open).then(|| {
            let policy = failure_policy::consecutive_failures(5, wait.clone());
            failsafe::Config::new().failure_policy(policy).build()
        });
        // It gives no verdict before its window has passed once; refusing is the same with the other policy.
        let over_time = (!counts && weather != Weather::Open).then(|| {
            let window = Duration::from_secs(SECONDS);
            let policy = failure_policy::success_rate_over_time_window(0.5, 20, window, wait.clone());
            failsafe::Config::new().failure_policy(policy).build()
        });
        let tower = CircuitBreakerLayer::builder().failure_rate_threshold(0.5).minimum_number_of_calls(20);
        let tower = match counts {
            true => tower.sliding_window_size(CALLS as usize),
            false => tower
                .sliding_window_type(SlidingWindowType::TimeBased)
                .sliding_window_duration(Duration::from_secs(SECONDS)),
        };
        // With its handle all services of the layer share one circuit.
        let (tower, _) = tower.wait_duration_in_open(OPEN).build_with_handle()?;
        Ok(Self { ours: Breaker::new(&settings, 0), recloser, in_a_row, over_time, tower })
    }

    fn contenders<'a>(
        &'a self,
        weather: Weather,
        zero: Instant,
        sleep: &'a tokio::runtime::Runtime,
    ) -> Vec<Contender<'a>> {
        let mut contenders = vec![
            Contender::new("ours", move || given(&self.ours, weather, zero)),
            Contender::new("ours with a clock", move || with_clock(&self.ours, weather, zero)),
        ];
        if let Some(breaker) = &self.recloser {
            let call = |fails: bool| {
                let _ = black_box(breaker.call(|| answer(fails)));
            };
            contenders.push(Contender::new("recloser", move || calls(weather, call)));
        }
        if let Some(breaker) = &self.in_a_row {
            let call = |fails: bool| {
                let _ = black_box(breaker.call(|| answer(fails)));
            };
            contenders.push(Contender::new("failsafe, in a row", move || calls(weather, call)));
        }
        if let Some(breaker) = &self.over_time {
            let call = |fails: bool| {
                let _ = black_box(breaker.call(|| answer(fails)));
            };
            contenders.push(Contender::new("failsafe, over time", move || calls(weather, call)));
        }
        contenders.push(Contender::new("tower-resilience", move || {
            let mut service = tower::Layer::layer(&self.tower, Callee);
            // It sleeps where it cannot have its lock at once.
            let within = sleep.enter();
            calls(weather, move |fails| {
                let _ = &within;
                let mut cx = Context::from_waker(Waker::noop());
                while service.poll_ready(&mut cx).is_pending() {}
                let mut call = service.call(fails);
                while call.as_mut().poll(&mut cx).is_pending() {}
            })
        }));
        contenders
    }
}

/// A loop whose calls fail as the weather has it.
fn calls<'a>(weather: Weather, mut call: impl FnMut(bool) + 'a) -> Calls<'a> {
    trip(weather, &mut call);
    let mut fails = failures(weather);
    Box::new(move |calls| {
        for _ in 0..calls {
            call(black_box(fails()));
        }
    })
}

/// Opens the breaker, where it is to refuse.
fn trip(weather: Weather, mut call: impl FnMut(bool)) {
    if weather == Weather::Open {
        (0..=CALLS).for_each(|_| call(true));
    }
}

/// Tells of each call in turn whether it fails.
fn failures(weather: Weather) -> impl FnMut() -> bool {
    let mut made = 0_u32;
    move || {
        made = made.wrapping_add(1);
        weather == Weather::SomeFail && made.is_multiple_of(FAILURES)
    }
}

fn answer(fails: bool) -> Result<(), ()> {
    if fails { Err(()) } else { Ok(()) }
}

fn call(breaker: &Breaker, begun: u64, ended: u64, fails: bool) {
    match breaker.admit(begun) {
        Admission::Admitted(permit) => {
            breaker.finish(permit, ended, if fails { Outcome::Failure } else { Outcome::Success });
        }
        Admission::Refused(refusal) => {
            black_box(refusal);
        }
    }
}

/// The clock is read once a turn, and each call takes up a few nanoseconds of it.
fn given(breaker: &Breaker, weather: Weather, zero: Instant) -> Calls<'_> {
    trip(weather, |fails| call(breaker, 0, 0, fails));
    let mut fails = failures(weather);
    Box::new(move |calls| {
        let mut now = zero.elapsed().as_nanos() as u64;
        for _ in 0..calls {
            now += 8;
            call(breaker, black_box(now), black_box(now + 4), black_box(fails()));
        }
    })
}

fn with_clock(breaker: &Breaker, weather: Weather, zero: Instant) -> Calls<'_> {
    calls(weather, move |fails| {
        let now = zero.elapsed().as_nanos() as u64;
        call(breaker, now, now, fails);
    })
}

/// A callee that costs nothing.
#[derive(Clone)]
struct Callee;

impl tower::Service<bool> for Callee {
    type Response = ();
    type Error = ();
    type Future = Ready<Result<(), ()>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, fails: bool) -> Self::Future {
        ready(answer(fails))
    }
}
