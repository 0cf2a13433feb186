//! `fuseboard pki`: a small certificate authority in a directory.

mod show;

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use fuseboard_tls::pki::{Authority, DAY, MOST_DAYS, Order, PkiError, Written};
use serde::Serialize;

/// For `--help`.
pub(super) const HELP: &str = "\
Example: a collector that others reach, and an agent that speaks for one service
  fuseboard pki init pki
  fuseboard pki issue collector --dns collector.internal --ip 10.0.0.5
  fuseboard pki issue payments --service payments
  fuseboard-collector --otlp-grpc 0.0.0.0:4317 --control 0.0.0.0:4390 \\
      --tls-cert pki/collector.pem --tls-key pki/collector.key --client-ca pki/ca.pem
and where the service runs, with ca.pem, payments.pem and payments.key copied there:
  FUSEBOARD_TLS_ROOTS=ca.pem FUSEBOARD_TLS_CERTIFICATE=payments.pem FUSEBOARD_TLS_KEY=payments.key \\
      FUSEBOARD_CONTROL=https://collector.internal:4390 OTEL_EXPORTER_OTLP_ENDPOINT=https://collector.internal:4317
Any OpenTelemetry SDK does with the same files: OTEL_EXPORTER_OTLP_CERTIFICATE=ca.pem,
OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE=payments.pem, OTEL_EXPORTER_OTLP_CLIENT_KEY=payments.key.

Whoever has ca.key can speak for every service and stand in for the collector. It is needed to issue and to renew, never to
serve: keep it on another machine or a stick, and name it when it is needed (--ca-key).
People have no certificates here: they show tokens, which have a role, an expiry, and can be revoked
(`fuseboard-collector token`).";

/// Arguments of `pki`.
#[derive(Args)]
pub(super) struct PkiArgs {
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Make a CA: ca.pem, which everybody is to trust, and ca.key.
    Init {
        /// The directory; made for you alone (0700) when it is missing.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// Its name, as certificates say it.
        #[arg(long, default_value = "Fuseboard CA")]
        name: String,
        /// How long it is good.
        #[arg(long, value_name = "N", default_value_t = 3650, value_parser = days())]
        days: u32,
    },
    /// Make a certificate with its key: NAME.pem and NAME.key.
    Issue(Issue),
    /// Say what a certificate is for and when it ends.
    Show {
        /// PEM files of certificates.
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
    },
}

#[derive(Args)]
struct Issue {
    /// How the files are called.
    #[arg(value_name = "NAME")]
    name: String,
    /// The CA's directory, where the files go, too.
    #[arg(long = "in", value_name = "DIR", default_value = "pki", env = "FUSEBOARD_PKI")]
    directory: PathBuf,
    /// The CA's key, where it is not in its directory.
    #[arg(long, value_name = "FILE")]
    ca_key: Option<PathBuf>,
    /// For a server: a DNS name under which it is reached (*.shop.internal for all of one level); may be given often.
    #[arg(long, value_name = "NAME", conflicts_with = "renew")]
    dns: Vec<String>,
    /// For a server: an address under which it is reached; may be given often.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "renew")]
    ip: Vec<IpAddr>,
    /// For an agent: the service that it speaks for, and no other (spiffe://fuseboard/service/NAME).
    #[arg(long, value_name = "NAME", conflicts_with = "renew")]
    service: Option<String>,
    /// How long it is good, though not longer than the CA [default: 90, with --renew as long as before].
    #[arg(long, value_name = "N", value_parser = days())]
    days: Option<u32>,
    /// Make it again with the same names and a new key. Running collectors and agents take it within seconds.
    #[arg(long)]
    renew: bool,
}

fn days() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(MOST_DAYS))
}

/// Carries out a verb.
pub(super) fn run(args: &PkiArgs) -> Result<()> {
    match &args.verb {
        Verb::Init { directory, name, days } => {
            let (_, written) = Authority::init(directory, name, length(*days))?;
            let key = written.key.display();
            let next = format!("{key} signs for everybody: keep it where nobody else reads, best not on this machine");
            report(args.json, &written, &next)
        }
        Verb::Issue(issue) => {
            let written = issued(issue)?;
            report(args.json, &written, "")
        }
        Verb::Show { files } => show::show(files, args.json),
    }
}

fn issued(issue: &Issue) -> Result<Written> {
    let Issue { name, directory, dns, ip, service, renew, .. } = issue;
    if !directory.join("ca.pem").exists() {
        bail!(
            "{} has no CA: make one with `fuseboard pki init {0}`, or name its directory with --in",
            directory.display()
        );
    }
    let ca = match Authority::open(directory, issue.ca_key.as_deref()) {
        Err(PkiError::Read(e)) if issue.ca_key.is_none() => {
            bail!("{e}; if the CA's key is kept elsewhere, name it with --ca-key")
        }
        opened => opened?,
    };
    let life = issue.days.map(length);
    if *renew {
        return Ok(ca.renew(name, life, directory)?);
    }
    let order = Order { dns: dns.clone(), addresses: ip.clone(), service: service.clone(), ..Order::new(name) };
    let order = if let Some(life) = life { order.living(life) } else { order };
    Ok(ca.issue(&order, directory)?)
}

fn length(days: u32) -> Duration {
    DAY * days
}

/// What was made, for programs.
#[derive(Serialize)]
struct Made<'a> {
    key: &'a Path,
    #[serde(flatten)]
    certificate: show::Shown,
}

fn report(json: bool, written: &Written, next: &str) -> Result<()> {
    let certificate = show::first(&written.certificate)?;
    let mut out = io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(&Made { key: &written.key, certificate })?)?;
        return Ok(());
    }
    show::text(&mut out, &certificate)?;
    writeln!(out, "  key       {}", written.key.display())?;
    if !next.is_empty() {
        writeln!(io::stderr(), "{next}")?;
    }
    Ok(())
}
