//! What certificates say.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use fuseboard_tls::{Certificate, Pem};
use serde::Serialize;

/// A certificate, for people and programs.
#[derive(Serialize)]
pub(super) struct Shown {
    file: PathBuf,
    name: Option<String>,
    /// `ca`, `server`, `agent`, `server+agent` or `none`.
    role: &'static str,
    service: Option<String>,
    dns: Vec<String>,
    addresses: Vec<String>,
    uris: Vec<String>,
    issuer: Option<String>,
    serial: String,
    not_before: String,
    not_after: String,
    /// Negative when it is over.
    days_left: i64,
}

impl Shown {
    fn new(file: &Path, certificate: &Certificate) -> Self {
        let now = SystemTime::now();
        let end = certificate.not_after();
        let days =
            |from: SystemTime, to: SystemTime| to.duration_since(from).map_or(0, |d| (d.as_secs() / 86_400) as i64);
        Self {
            file: file.to_path_buf(),
            name: certificate.common_name().map(str::to_owned),
            role: match (certificate.is_ca(), certificate.serves(), certificate.calls()) {
                (true, _, _) => "ca",
                (_, true, true) => "server+agent",
                (_, true, _) => "server",
                (_, _, true) => "agent",
                _ => "none",
            },
            service: certificate.service(),
            dns: certificate.dns_names().to_vec(),
            addresses: certificate.addresses().iter().map(ToString::to_string).collect(),
            uris: certificate.uris().to_vec(),
            issuer: certificate.issuer().map(str::to_owned),
            serial: certificate.serial().to_owned(),
            not_before: rfc3339(certificate.not_before()),
            not_after: rfc3339(end),
            days_left: if end >= now { days(now, end) } else { -1 - days(end, now) },
        }
    }
}

/// Times before 1970 are no times of certificates that anybody uses.
fn rfc3339(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at.max(SystemTime::UNIX_EPOCH)).to_string()
}

/// All certificates of all files.
pub(super) fn show(files: &[PathBuf], json: bool) -> Result<()> {
    let mut all = Vec::new();
    for file in files {
        let certificates = Certificate::read_all(&Pem::file(file.as_path()))?;
        all.extend(certificates.iter().map(|certificate| Shown::new(file, certificate)));
    }
    let mut out = io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(&all)?)?;
        return Ok(());
    }
    all.iter().try_for_each(|shown| text(&mut out, shown))
}

/// The own certificate of a file.
pub(super) fn first(file: &Path) -> Result<Shown> {
    let all = Certificate::read_all(&Pem::file(file))?;
    all.first().map(|certificate| Shown::new(file, certificate)).context("an empty file")
}

/// One certificate, for people.
pub(super) fn text(out: &mut impl Write, shown: &Shown) -> Result<()> {
    writeln!(out, "{} ({})", shown.name.as_deref().unwrap_or("a certificate without a name"), shown.role)?;
    let lists = [("dns", &shown.dns), ("address", &shown.addresses), ("uri", &shown.uris)];
    if let Some(service) = &shown.service {
        writeln!(out, "  service   {service}")?;
    }
    for (label, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        writeln!(out, "  {label:<9} {}", list.join(", "))?;
    }
    let left = match shown.days_left {
        days if days < 0 => "over".to_owned(),
        days => format!("{days} days left"),
    };
    writeln!(out, "  until     {} ({left})", shown.not_after)?;
    writeln!(out, "  issuer    {}", shown.issuer.as_deref().unwrap_or("?"))?;
    writeln!(out, "  serial    {}", shown.serial)?;
    writeln!(out, "  file      {}", shown.file.display())?;
    Ok(())
}
