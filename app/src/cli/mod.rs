//! The command line: one file a subcommand. Data goes to stdout, everything else to stderr.

mod ctl;
mod demo;
mod exit;
mod export;
mod import;
mod load;
mod open;
mod pki;
mod shot;
mod source;
mod span;
mod sql;

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use fuseboard_collector::Place;
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
    /// The collector's file; default: fuseboard/collector.fuseboard in the user's data folder.
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
    /// Where to take Zipkin v2 spans in JSON, by custom 127.0.0.1:9411, or "off".
    #[arg(long, value_name = "ADDR", default_value = "off")]
    zipkin: Place,
    /// Where to answer Jaeger's HTTP query API, for Grafana and others, by custom 127.0.0.1:16686, or "off".
    #[arg(long, value_name = "ADDR", default_value = "off")]
    jaeger_api: Place,
}

#[derive(Subcommand)]
enum Command {
    /// Run a shop of microservices with scripted weather, a collector and the console.
    #[command(
        after_help = "Example: no window, one JSON report on stdout, progress on stderr\n  fuseboard demo --headless --for 90s --weather story --seed 7 --json"
    )]
    Demo(demo::DemoArgs),
    /// Open incident files, a collector's data file, or telemetry files of others, read-only.
    #[command(after_help = open::HELP)]
    Open(open::OpenArgs),
    /// Read telemetry files into a Fuseboard file, or send them to a running collector.
    #[command(after_help = import::HELP)]
    Import(import::ImportArgs),
    /// Open the console on a running collector.
    Connect(open::ConnectArgs),
    /// Write what is stored into files that other tools read: OTLP as JSON lines, Jaeger's JSON, Parquet.
    #[command(after_help = export::HELP)]
    Export(export::ExportArgs),
    /// Ask a Fuseboard file in SQL; nothing is changed.
    #[command(after_help = sql::HELP)]
    Sql(sql::SqlArgs),
    /// Draw a view into a PNG; needs no display.
    #[command(
        after_help = "Example: the board as it was half a minute before the file ends\n  fuseboard shot --view board bank.fuse --at -30s --theme light -o board.png"
    )]
    Shot(shot::ShotArgs),
    /// Ask and steer a running collector from scripts.
    #[command(after_help = exit::HELP)]
    Ctl(ctl::CtlArgs),
    /// Make certificates for a collector that others reach, and for its agents.
    #[command(after_help = pki::HELP)]
    Pki(pki::PkiArgs),
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
    // A file or a pipe that catches stderr gets no colours.
    let lines = lines.with_ansi(std::io::stderr().is_terminal());
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
        Some(Command::Import(args)) => import::run(&args),
        Some(Command::Export(args)) => export::run(&args),
        Some(Command::Sql(args)) => sql::run(&args),
        Some(Command::Connect(args)) => open::connect(&args),
        Some(Command::Shot(args)) => shot::run(&args),
        Some(Command::Ctl(args)) => ctl::run(&args),
        Some(Command::Pki(args)) => pki::run(&args),
        Some(Command::Load(args)) => load::run(&args),
    };
    exit::report(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_reads_its_arguments_with_the_global_ones() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
        let verbs = [
            "stats",
            "edges --last 5m",
            "traces --service s --errors --min 1ms --attr a=b --limit 3",
            "trace 0af7651916cd43dd8448eb211c80319c",
            "breaker orders:payments/a.B/C --mode forced_open --for 30s --reason why --wait 0s",
            "override list",
            "override end 1 --reason why",
            "override renew 1 --for 5m --reason why",
            "override set a:b --mode shadow --for 5m --reason why",
            "override set b --attempt-timeout 5ms --overall-timeout 9ms --instance b-1 --for 5m --reason why",
            "override set b --delay 5ms --delay-ratio 0.5 --abort-ratio 0.1 --for 5m --reason why --wait 1s",
            "read-only on --reason why",
            "read-only",
            "override end-all --reason why",
            "policy get --revision 1",
            "policy set - --base 1 --reason why",
            "policy diff 1 2",
            "policy diff 1",
            "policy diff 1 --text",
            "policy edit a:b/C timeout.attempt_ms=5 retry.max_attempts= --base 1 --reason why",
            "policy plan f.toml --base 1 --out plan.json",
            "policy apply plan.json --reason why --wait 1s",
            "policy watch --until applied --revision 1 --for 1s",
            "policy watch --after 0",
            "policy effective b/C --caller a --instance a-1 --last 5m",
            "policy history",
            "policy rollback 1 --reason why",
            "incident record name --since 5m --for 1s",
            "incident stop 1",
            "incident list",
            "incident export 1 -o file",
            "forecast",
            "audit --text t --by b --action policy. --target revision --last 5m --before 9 --limit 5",
            "audit verify --file f",
            "audit verify --expect-head 0000000000000000000000000000000000000000000000000000000000000000",
            "audit export -o f --redact reason,detail",
            "fleet",
            "fleet --laggards",
            "fleet --drift",
            "whoami",
            "token list",
            "token create --role agent --name n --service s --expires-in 30d",
            "token revoke 0123456789abcdef --reason why",
            "--token-file f --ca c fleet",
        ];
        for verb in verbs {
            for line in
                [format!("fuseboard ctl --to :1 --json {verb}"), format!("fuseboard ctl {verb} --actor me --to :1")]
            {
                let read = Cli::try_parse_from(line.split(' '));
                assert!(read.is_ok(), "{line}: {}", read.err().map(|e| e.to_string()).unwrap_or_default());
            }
        }
        for wrong in [
            "edges --last 0s",
            "edges --last 60",
            "traces --limit 0",
            "traces --attr a",
            "breaker /x",
            "override set a --mode shadow --delay 1s --for 1s --reason why",
            "override set a --mode shadow --reason why",
            "override renew 1 --for 1s",
            "policy watch --until applied",
            "audit verify --expect-head 12",
            "policy edit a timeout --reason why",
            "stats --to ftp://x",
        ] {
            let line = format!("fuseboard ctl {wrong}");
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
