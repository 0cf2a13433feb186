//! The command line of the sidecar.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use fuseboard_sidecar::{Config, EXAMPLE, Sidecar};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

/// A proxy beside a service in any language: policies, spans and live control for what it answers and what it calls.
///
/// Begin with `fuseboard-agent example > sidecar.toml`, change names and ports, look over it with `fuseboard-agent check
/// sidecar.toml`, then `fuseboard-agent run sidecar.toml`. The service calls its upstreams through the outbound
/// listeners and copies the header `traceparent` from the requests that it answers to those that it sends; that is all
/// it has to do.
///
/// SIGHUP: the file is read again; upstreams, routes and addresses change while requests run, the rest needs a restart.
/// SIGTERM and SIGINT: no more connections are taken, requests under way may finish, exit code 0.
#[derive(Parser)]
#[command(name = "fuseboard-agent", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the sidecar.
    Run {
        /// The configuration.
        file: PathBuf,
    },
    /// Look over a configuration: says what is wrong with file, line and field, and exits with 1 if anything is.
    Check {
        /// The configuration.
        file: PathBuf,
    },
    /// Print a complete configuration with a comment for each field.
    Example,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run { file } => run(&file),
        Command::Check { file } => {
            Config::load(&file).map(|_| println!("{} is fine", file.display())).map_err(Into::into)
        }
        Command::Example => {
            print!("{EXAMPLE}");
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(file: &std::path::Path) -> anyhow::Result<()> {
    let config = Config::load(file)?;
    let runtime = runtime(config.limits.workers).context("no runtime could be made")?;
    runtime.block_on(async {
        let mut term = signal(SignalKind::terminate()).context("SIGTERM cannot be heard")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be heard")?;
        let mut hangup = signal(SignalKind::hangup()).context("SIGHUP cannot be heard")?;
        let mut sidecar = Sidecar::start(config).await?;
        loop {
            tokio::select! {
                _ = term.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => reload(&mut sidecar, file),
            }
        }
        sidecar.shutdown().await;
        Ok(())
    })
}

/// Takes the file again. What is wrong with it is told, and everything stays as it was.
fn reload(sidecar: &mut Sidecar, file: &std::path::Path) {
    let done = Config::load(file).map_err(anyhow::Error::from).and_then(|config| Ok(sidecar.reload(config)?));
    match done {
        Ok(later) if later.is_empty() => eprintln!("{} is in force", file.display()),
        Ok(later) => eprintln!("{} is in force, but for what needs a restart: {}", file.display(), later.join(", ")),
        Err(error) => eprintln!("nothing has changed: {error:#}"),
    }
}

/// One thread needs no locks; more are worth it only on machines with cores to spare.
fn runtime(workers: usize) -> std::io::Result<Runtime> {
    let mut builder = if workers == 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    if workers > 1 {
        builder.worker_threads(workers).thread_name("fuseboard-agent");
    }
    builder.enable_all().build()
}
