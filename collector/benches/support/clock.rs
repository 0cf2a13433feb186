//! The clock of ingest: CPU time.

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
