//! Our engines beside the crates that people use instead: time of one call, on one thread and on two that share one engine.
//!
//! `cargo bench -p fuseboard-agent --bench rivals [-- --quick] [-- SECTION …]`. Prints one line a figure:
//! `figure NAME = VALUE ns | rival NAME = VALUE ns | ratio X` (ours over theirs: below 1 we are faster). What is compared is
//! measured in turns of some 20 µs, so that a busy machine disturbs all alike; each value is the median of many turns.
//! Nothing is asserted: times belong to the machine.

mod balance;
mod breaker;
mod limits;
mod pipeline;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

type Failed = Box<dyn std::error::Error>;

/// Prints the lines of one section.
type Section = fn(&Bench) -> Result<(), Failed>;

/// The sections and their names.
const SECTIONS: [(&str, Section); 4] =
    [("breaker", breaker::run), ("limits", limits::run), ("balance", balance::run), ("pipeline", pipeline::run)];

/// A turn is made of so many calls that it takes about this long.
const TURN: Duration = Duration::from_micros(20);
/// Turns of each contender that only warm up.
const WARM: usize = 20;

fn main() -> Result<(), Failed> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let quick = args.iter().any(|arg| arg == "--quick");
    let wanted: Vec<&String> = args.iter().filter(|arg| !arg.starts_with("--")).collect();
    let bench = Bench { turns: if quick { 400 } else { 5_000 }, most: Duration::from_secs(if quick { 1 } else { 20 }) };
    for (name, run) in SECTIONS {
        if wanted.is_empty() || wanted.iter().any(|wanted| *wanted == name) {
            run(&bench)?;
        }
    }
    Ok(())
}

/// A loop of so many calls.
pub(crate) type Calls<'a> = Box<dyn FnMut(u32) + 'a>;

/// One of those that are compared.
pub(crate) struct Contender<'a> {
    /// What it is called in the line.
    pub(crate) name: &'a str,
    /// Makes the loop of one thread, on that thread.
    make: Box<dyn Fn() -> Calls<'a> + Sync + 'a>,
}

impl<'a> Contender<'a> {
    /// A contender; `make` is asked once for each thread.
    pub(crate) fn new(name: &'a str, make: impl Fn() -> Calls<'a> + Sync + 'a) -> Self {
        Self { name, make: Box::new(make) }
    }
}

/// How much is measured.
pub(crate) struct Bench {
    /// Turns of each contender.
    turns: usize,
    /// No longer than this.
    most: Duration,
}

impl Bench {
    /// Nanoseconds a call takes a thread while `threads` of them call at once, for each contender.
    pub(crate) fn compare(&self, threads: usize, contenders: &[Contender<'_>]) -> Vec<f64> {
        let meeting = Meeting::new(threads);
        std::thread::scope(|scope| {
            for seat in 1..threads {
                let meeting = &meeting;
                let name = format!("rivals-{seat}");
                let spawned = std::thread::Builder::new().name(name).spawn_scoped(scope, move || {
                    let mut loops: Vec<Calls<'_>> = contenders.iter().map(|contender| (contender.make)()).collect();
                    while let Some((which, calls)) = meeting.next() {
                        meeting.take_turn(seat, || loops[which](calls));
                    }
                });
                assert!(spawned.is_ok(), "a thread can be started");
            }
            let mut loops: Vec<Calls<'_>> = contenders.iter().map(|contender| (contender.make)()).collect();
            let medians = self.lead(&meeting, &mut loops);
            meeting.end();
            medians
        })
    }

    /// Calls the turns from the first seat.
    fn lead(&self, meeting: &Meeting, loops: &mut [Calls<'_>]) -> Vec<f64> {
        let begun = Instant::now();
        let mut calls = vec![16_u32; loops.len()];
        let mut samples = vec![Vec::with_capacity(self.turns); loops.len()];
        // Where the machine is busy, the threads are side by side in some turns only.
        while samples.iter().any(|samples| samples.len() < WARM + self.turns) && begun.elapsed() < self.most {
            for (which, run) in loops.iter_mut().enumerate() {
                meeting.call(which, calls[which]);
                meeting.take_turn(0, || run(calls[which]));
                let Some(took) = meeting.mean() else { continue };
                samples[which].push(took / f64::from(calls[which]));
                if samples[which].len() < WARM {
                    let grown = f64::from(calls[which]) * (TURN.as_nanos() as f64 / took.max(1.0)).clamp(0.5, 2.0);
                    calls[which] = (grown as u32).clamp(1, 1 << 16);
                }
            }
        }
        samples.into_iter().map(median).collect()
    }
}

/// NaN where there are too few samples to tell.
fn median(mut samples: Vec<f64>) -> f64 {
    if samples.len() < 2 * WARM {
        return f64::NAN;
    }
    samples.drain(..WARM);
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Where the threads meet before and after each turn. It spins: a sleeper would come too late to disturb the others.
struct Meeting {
    zero: Instant,
    threads: usize,
    /// Which contender and how many calls; `END` stops.
    order: AtomicU64,
    started: AtomicUsize,
    come: AtomicUsize,
    gone: AtomicUsize,
    /// Begin and end of each thread's last turn, in nanoseconds.
    spans: Vec<(AtomicU64, AtomicU64)>,
}

const END: u64 = u64::MAX;

impl Meeting {
    fn new(threads: usize) -> Self {
        let spans = (0..threads).map(|_| (AtomicU64::new(0), AtomicU64::new(0))).collect();
        let count = || AtomicUsize::new(0);
        Self {
            zero: Instant::now(),
            threads,
            order: AtomicU64::new(END),
            started: count(),
            come: count(),
            gone: count(),
            spans,
        }
    }

    fn call(&self, which: usize, calls: u32) {
        self.order.store((which as u64) << 32 | u64::from(calls), Ordering::Relaxed);
        self.started.fetch_add(self.threads, Ordering::Release);
    }

    fn end(&self) {
        self.order.store(END, Ordering::Relaxed);
        self.started.fetch_add(self.threads, Ordering::Release);
    }

    /// Waits for the next turn; `None` at the end.
    fn next(&self) -> Option<(usize, u32)> {
        wait(|| self.started.load(Ordering::Acquire) > self.gone.load(Ordering::Acquire));
        let order = self.order.load(Ordering::Relaxed);
        (order != END).then_some(((order >> 32) as usize, order as u32))
    }

    fn take_turn(&self, seat: usize, run: impl FnOnce()) {
        let all = self.started.load(Ordering::Acquire);
        self.come.fetch_add(1, Ordering::AcqRel);
        wait(|| self.come.load(Ordering::Acquire) >= all);
        let begun = self.zero.elapsed();
        run();
        let ended = self.zero.elapsed();
        self.spans[seat].0.store(begun.as_nanos() as u64, Ordering::Relaxed);
        self.spans[seat].1.store(ended.as_nanos() as u64, Ordering::Relaxed);
        self.gone.fetch_add(1, Ordering::AcqRel);
        wait(|| self.gone.load(Ordering::Acquire) >= all);
    }

    /// Mean length of the last turn; `None` when the threads were not at it together for most of it.
    fn mean(&self) -> Option<f64> {
        let of =
            |(begun, ended): &(AtomicU64, AtomicU64)| (begun.load(Ordering::Relaxed), ended.load(Ordering::Relaxed));
        let spans: Vec<(u64, u64)> = self.spans.iter().map(of).collect();
        let mean = spans.iter().map(|(begun, ended)| (ended - begun) as f64).sum::<f64>() / self.threads as f64;
        let (last, first) = (spans.iter().map(|span| span.0).max()?, spans.iter().map(|span| span.1).min()?);
        (first.saturating_sub(last) as f64 >= 0.7 * mean).then_some(mean)
    }
}

fn wait(over: impl Fn() -> bool) {
    for spins in 0_u32.. {
        if over() {
            return;
        }
        if spins % 4_096 == 4_095 {
            std::thread::yield_now();
        }
        std::hint::spin_loop();
    }
}

/// One line: ours beside a rival's.
pub(crate) fn print(figure: &str, ours: f64, rival: &str, theirs: f64) {
    println!("figure {figure} = {ours:.1} ns | rival {rival} = {theirs:.1} ns | ratio {:.2}", ours / theirs);
}
