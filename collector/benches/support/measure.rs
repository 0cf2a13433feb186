//! Clocks, memory, and the line that every figure is printed as.

use std::time::Duration;

/// What [`cpu`] reads.
#[cfg(any(target_os = "linux", target_os = "macos"))]
pub(crate) const CLOCK: &str = "CPU time of the process";
/// What [`cpu`] reads.
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
pub(crate) const CLOCK: &str = "wall time";

/// CPU time of this process so far, all threads, user and system.
#[cfg(any(target_os = "linux", target_os = "macos"))]
pub(crate) fn cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// The wall's clock, where a process's CPU time cannot be read.
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
pub(crate) fn cpu() -> Duration {
    use std::sync::OnceLock;
    use std::time::Instant;
    static BEGUN: OnceLock<Instant> = OnceLock::new();
    BEGUN.get_or_init(Instant::now).elapsed()
}

/// Prints `figure NAME = VALUE UNIT | rival NAME = VALUE UNIT | ratio X`; the ratio is the value's to the rival's.
pub(crate) fn figure(name: &str, value: f64, unit: &str, rival: &str, rivals: f64) {
    println!(
        "figure {name} = {} {unit} | {rival} = {} {unit} | ratio {:.2}",
        short(value),
        short(rivals),
        value / rivals
    );
}

/// Three digits or so, whatever the size.
fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 1000.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

/// The middle one.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
