//! The report at the end. Its names are stable: scripts read them.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

/// What came of the override that the demo sets.
#[derive(Debug, Default, Serialize)]
pub(super) struct OverrideReport {
    /// Instances it was meant for.
    pub(super) targeted: u32,
    /// Instances that acknowledged it.
    pub(super) applied: u32,
    /// 99th percentile from publishing to acknowledgement, in milliseconds.
    pub(super) p99_ms: Option<f64>,
}

/// What the demo did.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// Services that sent spans.
    pub(super) services: usize,
    /// Instances that sent spans.
    pub(super) instances: u64,
    /// Calls between the services.
    pub(super) calls: u64,
    /// Spans in the file.
    pub(super) spans_stored: u64,
    /// Log records in the file.
    pub(super) logs_stored: u64,
    /// Metric points in the file.
    pub(super) metric_points_stored: u64,
    /// How often a breaker opened.
    pub(super) breaker_trips: usize,
    /// How often one closed again.
    pub(super) breaker_recoveries: usize,
    /// The override.
    #[serde(rename = "override")]
    pub(super) override_: OverrideReport,
    /// Telemetry records that were lost.
    pub(super) dropped: u64,
    /// The incident that was recorded.
    pub(super) incident_file: PathBuf,
}

impl Report {
    /// Prints it, as JSON or for people.
    pub(super) fn print(&self, json: bool) -> Result<()> {
        let mut out = std::io::stdout().lock();
        if json {
            writeln!(out, "{}", serde_json::to_string_pretty(self)?)?;
            return Ok(());
        }
        let Self { override_, .. } = self;
        writeln!(out, "{} services in {} instances made {} calls", self.services, self.instances, self.calls)?;
        writeln!(
            out,
            "stored: {} spans, {} log records, {} metric points; {} lost",
            self.spans_stored, self.logs_stored, self.metric_points_stored, self.dropped
        )?;
        writeln!(out, "breakers: {} trips, {} recoveries", self.breaker_trips, self.breaker_recoveries)?;
        let p99 = override_.p99_ms.map(|ms| format!(" in {ms:.1} ms (p99)")).unwrap_or_default();
        writeln!(out, "override: applied {}/{}{p99}", override_.applied, override_.targeted)?;
        writeln!(out, "incident: {0}\nopen it with: fuseboard open {0}", self.incident_file.display())?;
        Ok(())
    }
}
