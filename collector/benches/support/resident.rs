//! What the real program keeps in memory.

use crate::program::Program;

impl Program {
    /// A line of `/proc/PID/status`, in MiB; `None` where the system does not tell.
    pub(crate) fn memory(&self, name: &str) -> Option<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim().trim_end_matches(" kB").trim().parse::<f64>().ok()? / 1024.0)
    }
}
