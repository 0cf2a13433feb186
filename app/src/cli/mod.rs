//! The command line: one file a subcommand. Data goes to stdout, everything else to stderr.

mod ctl;
mod demo;
mod exit;
mod load;
mod open;
mod shot;
mod source;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// See, foresee and steer the calls between microservices.
///
/// Without a subcommand: opens the console with a collector of its own that listens on 127.0.0.1:4317 (OTLP/gRPC) and
/// 127.0.0.1:4318 (OTLP/HTTP). Point any OpenTelemetry SDK there, or try `fuseboard demo`.
#[derive(Parser)]
#[command(name = "fuseboard", version, after_help = exit::HELP)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Show every widget of the console in every state.
    #[arg(long)]
    gallery: bool,
    #[command(flatten)]
    listen: Listen,
}

/// Where an embedded collector keeps its data and listens.
#[derive(Args, Clone)]
struct Listen {
    /// The collector's file; default: fuseboard.db in the user's data folder.
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Where to take OTLP over gRPC; port 0 picks a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4317")]
    otlp_grpc: SocketAddr,
    /// Where to take OTLP over HTTP.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4318")]
    otlp_http: SocketAddr,
    /// Where agents, consoles and `fuseboard ctl` connect.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4390")]
    control: SocketAddr,
    /// Where Prometheus exposition and /healthz are served.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4391")]
    metrics: SocketAddr,
}

#[derive(Subcommand)]
enum Command {
    /// Run a shop of microservices with scripted weather, a collector and the console.
    Demo(demo::DemoArgs),
    /// Open incident files, or a collector's data file, read-only.
    Open(open::OpenArgs),
    /// Open the console on a running collector.
    Connect(open::ConnectArgs),
    /// Draw a view into a PNG; needs no display.
    Shot(shot::ShotArgs),
    /// Ask and steer a running collector from scripts.
    Ctl(ctl::CtlArgs),
    /// Send an open-loop load to a URL and report latency from the intended start.
    Load(load::LoadArgs),
}

/// Warnings of ours and errors of others go to stderr. tarpc calls every failed request an error; a shop in bad weather
/// would bury the rest under them, and the same failures stand in the traces.
fn log_to_stderr() {
    let wanted = Targets::new()
        .with_default(LevelFilter::ERROR)
        .with_target("fuseboard", LevelFilter::WARN)
        .with_target("tarpc", LevelFilter::OFF);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false).without_time();
    tracing_subscriber::registry().with(lines.with_filter(wanted)).init();
}

/// Runs what the arguments say.
pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr();
    let done = match cli.command {
        None if cli.gallery => open::gallery(),
        None => open::console(&cli.listen),
        Some(Command::Demo(args)) => demo::run(&args),
        Some(Command::Open(args)) => open::open(&args),
        Some(Command::Connect(args)) => open::connect(&args),
        Some(Command::Shot(args)) => shot::run(&args),
        Some(Command::Ctl(args)) => ctl::run(&args),
        Some(Command::Load(args)) => load::run(&args),
    };
    exit::report(done)
}
