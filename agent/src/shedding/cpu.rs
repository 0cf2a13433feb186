//! How much of the processor this process uses, of what it may use.

use std::time::Duration;

use tokio::time::Instant;

/// What is told where nobody can say.
pub(super) const CANNOT: &str =
    "the processor's load cannot be read on this system: `shed` is in the policy of this service, and nothing is shed";

/// Time between two looks for what the process may use.
const QUOTA: Duration = Duration::from_secs(10);

/// Reads the load from time to time: two small files of the kernel's at a reading, about 20 µs.
#[derive(Debug, Default)]
pub(super) struct Cpu {
    last: Option<(Instant, Duration)>,
    /// Processors that may be used, and when that was looked up.
    may_use: Option<(Instant, f64)>,
}

impl Cpu {
    /// The share of what may be used that was used since the last reading, 0…1; `None` for the first reading, and where it
    /// cannot be read.
    pub(super) fn share(&mut self, now: Instant) -> Option<f64> {
        let used = used()?;
        let last = self.last.replace((now, used))?;
        let (wall, cpu) = (now.saturating_duration_since(last.0), used.saturating_sub(last.1));
        if wall.is_zero() {
            return None;
        }
        Some(cpu.as_secs_f64() / wall.as_secs_f64() / self.may_use(now))
    }

    /// Whether the load can be read here at all.
    pub(super) fn can() -> bool {
        used().is_some()
    }

    fn may_use(&mut self, now: Instant) -> f64 {
        match self.may_use {
            Some((at, processors)) if now.saturating_duration_since(at) < QUOTA => processors,
            _ => {
                let processors = processors();
                self.may_use = Some((now, processors));
                processors
            }
        }
    }
}

/// Processors that the process may use: what the scheduler gives it, or less by its control groups.
fn processors() -> f64 {
    let all = std::thread::available_parallelism().map_or(1.0, |n| n.get() as f64);
    quota().map_or(all, |quota| quota.min(all)).max(0.01)
}

#[cfg(target_os = "linux")]
fn used() -> Option<Duration> {
    read_stat(&std::fs::read_to_string("/proc/self/stat").ok()?)
}

#[cfg(not(target_os = "linux"))]
fn used() -> Option<Duration> {
    None
}

/// The least `cpu.max` of the process's control group and those above it (cgroup v2).
#[cfg(target_os = "linux")]
fn quota() -> Option<f64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?.trim();
    let own = std::path::Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/'));
    let above = own.ancestors().take_while(|dir| dir.starts_with("/sys/fs/cgroup"));
    let quotas = above.filter_map(|dir| read_max(&std::fs::read_to_string(dir.join("cpu.max")).ok()?));
    quotas.reduce(f64::min)
}

#[cfg(not(target_os = "linux"))]
fn quota() -> Option<f64> {
    None
}

/// Time in user and kernel mode, fields 14 and 15 of proc_pid_stat(5), in hundredths of a second (USER_HZ, which the kernel
/// has fixed at 100 towards programs). The second field, a name, may hold anything.
fn read_stat(text: &str) -> Option<Duration> {
    let mut fields = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(Duration::from_millis(ticks()?.saturating_add(ticks()?).saturating_mul(10)))
}

/// `cpu.max`: microseconds that may be used in so many, or `max`.
fn read_max(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period) = (quota.parse::<f64>().ok()?, period.parse::<f64>().ok()?);
    (quota > 0.0 && period > 0.0).then_some(quota / period)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_read() {
        let stat = "4242 (a (strange) name) S 1 4242 4242 0 -1 4194560 2000 0 3 0 150 50 7 9 20 0 4 0 1 2 3";
        assert_eq!(read_stat(stat), Some(Duration::from_secs(2)));
        assert_eq!(read_stat("4242 (short) S 1"), None);
        assert_eq!(read_max("150000 100000\n"), Some(1.5));
        assert_eq!((read_max("max 100000\n"), read_max("0 0"), read_max("")), (None, None, None));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_that_works_is_seen_to() {
        let (mut cpu, begun) = (Cpu::default(), Instant::now());
        assert_eq!(cpu.share(begun), None, "nothing to compare with");
        let before = used().unwrap();
        while used().unwrap() == before {
            std::hint::black_box((0..10_000u64).sum::<u64>());
        }
        let share = cpu.share(Instant::now()).unwrap();
        assert!(share > 0.0, "{share}");
        assert!(processors() > 0.0);
    }
}
