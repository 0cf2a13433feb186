//! The collector as a program of its own.

mod token_verbs;

use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use fuseboard_collector::tokens::TokenVerb;
use fuseboard_collector::{
    Auth, Collector, Config, DEFAULT_PORTS, DoorName, DoorTls, Limits, Place, StartError, units,
};

const AFTER: &str = "\
At start one line of JSON on stdout says where it listens:
{\"otlp_grpc\":…,\"otlp_http\":…,\"control\":…,\"metrics\":…,\"zipkin\":…,\"jaeger_api\":…}; null where it does not.
Logs go to stderr. SIGINT and SIGTERM stop it in order: what was accepted is written first.

Exit codes:
  0  stopped in order
  1  the data file cannot be used (in use, damaged, foreign, newer, disk full)
  2  the command line, the file of --redact or a certificate makes no sense
  3  an address cannot be listened on";

/// Receives OTLP, stores it in one SQLite file, answers questions about it, and steers agents.
#[derive(Debug, Parser)]
#[command(name = "fuseboard-collector", version, after_help = AFTER, subcommand_negates_reqs = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// The SQLite file; made when missing [default: collector.fuseboard in the user's data directory]
    #[arg(long, value_name = "FILE", env = "FUSEBOARD_DATA", global = true)]
    data: Option<PathBuf>,
    /// Whether callers are asked for a token
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Asks::Auto)]
    auth: Asks,
    /// OTLP over gRPC; port 0 finds a free one, here and below
    #[arg(long, value_name = "ADDR", default_value_t = loopback(0))]
    otlp_grpc: SocketAddr,
    /// OTLP over HTTP
    #[arg(long, value_name = "ADDR", default_value_t = loopback(1))]
    otlp_http: SocketAddr,
    /// The console, `curl` and the agents' control streams
    #[arg(long, value_name = "ADDR", default_value_t = loopback(2))]
    control: SocketAddr,
    /// Prometheus exposition and /healthz
    #[arg(long, value_name = "ADDR", default_value_t = loopback(3))]
    metrics: SocketAddr,
    /// Zipkin v2 spans in JSON or protobuf; ADDR or "off" [default: 127.0.0.1:9411, or nowhere when that is taken]
    #[arg(long, value_name = "ADDR")]
    zipkin: Option<Place>,
    /// Jaeger's HTTP query API, for Grafana and others; ADDR or "off" [default: 127.0.0.1:16686, or nowhere when that is
    /// taken]
    #[arg(long, value_name = "ADDR")]
    jaeger_api: Option<Place>,
    /// Rules (TOML) by which attributes are dropped, masked or hashed before they are stored
    #[arg(long, value_name = "FILE", env = "FUSEBOARD_REDACT")]
    redact: Option<PathBuf>,
    /// Store credentials in headers, names and URLs as they come: the default rules mask them, also beside --redact
    #[arg(long)]
    no_default_redaction: bool,
    #[command(flatten)]
    tls: Tls,
    #[command(flatten)]
    keep: Keep,
    #[command(flatten)]
    bear: Bear,
}

/// What else this program does.
#[derive(Debug, Subcommand)]
enum Verb {
    /// Tokens in the file, while the collector does not run
    #[command(after_help = token_verbs::HELP)]
    Token {
        /// Print JSON
        #[arg(long, global = true)]
        json: bool,
        #[command(subcommand)]
        verb: TokenVerb,
    },
}

/// Whether callers are asked who they are.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Asks {
    /// As soon as the file holds an admin's token, or an address is not of the loopback
    Auto,
    /// Never; only on loopback addresses
    Open,
    /// Always
    Required,
}

/// TLS on all addresses. Without it only those of this machine's loopback are listened on.
#[derive(Debug, Args)]
#[command(next_help_heading = "TLS")]
struct Tls {
    /// Certificate chain (PEM) that callers are shown; from then on every address speaks TLS
    #[arg(long, value_name = "FILE", env = "FUSEBOARD_COLLECTOR_TLS_CERT", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key (PEM). Both files are read again when they change
    #[arg(long, value_name = "FILE", env = "FUSEBOARD_COLLECTOR_TLS_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// CA (PEM) whose certificates callers may show: one made by `fuseboard pki issue --service NAME` speaks for that service
    /// without a token; may be given often
    #[arg(long, value_name = "FILE", env = "FUSEBOARD_COLLECTOR_CLIENT_CA", requires = "tls_cert")]
    client_ca: Vec<PathBuf>,
    /// Addresses where nobody is let in without such a certificate: otlp-grpc,otlp-http,control,metrics,zipkin,jaeger-api
    #[arg(long, value_name = "DOORS", value_delimiter = ',', requires = "client_ca")]
    require_client_cert: Vec<DoorName>,
}

impl Tls {
    fn doors(self) -> Option<DoorTls> {
        let (client_cas, require) = (self.client_ca, self.require_client_cert);
        Some(DoorTls { client_cas, require, ..DoorTls::new(self.tls_cert?, self.tls_key?) })
    }
}

/// How much is kept.
#[derive(Debug, Args)]
#[command(next_help_heading = "Retention")]
struct Keep {
    /// What arrived longer ago goes, unless an incident holds it: 90m, 36h, 7d, 2w, or "off"
    #[arg(long, value_name = "AGE", default_value = "72h", value_parser = unless_off(units::age))]
    max_age: Unless<Duration>,
    /// Above this size of the file the oldest goes: 500MB, 8GiB, or "off"
    #[arg(long, value_name = "SIZE", default_value = "8GiB", value_parser = unless_off(units::size))]
    max_bytes: Unless<u64>,
}

/// What senders may do.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
struct Bear {
    /// Connections at once at each address; more wait their turn
    #[arg(long, value_name = "N", default_value_t = Limits::default().connections)]
    max_connections: usize,
    /// Connections at once at each address from one neighbour beyond this machine; more are hung up
    #[arg(long, value_name = "N", default_value_t = Limits::default().neighbour)]
    max_neighbour_connections: usize,
    /// For a TLS handshake
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = units::age)]
    handshake_timeout: Duration,
    /// One request after decompression; a larger one is refused for good
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = units::size)]
    max_request: u64,
    /// All requests under way together; who comes when they are used up is told to try again
    #[arg(long, value_name = "SIZE", default_value = "512MiB", value_parser = units::size)]
    max_pending: u64,
    /// For a request's head, and between two requests of HTTP/1.1
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = units::age)]
    head_timeout: Duration,
    /// For the silence of a sender in the middle of a body
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::age)]
    silence_timeout: Duration,
    /// For a whole body
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = units::age)]
    body_timeout: Duration,
    /// Web pages that may send, beside those of this machine: https://shop.example, or * for all; may be given often
    #[arg(long, value_name = "ORIGIN")]
    cors_origin: Vec<String>,
}

impl Bear {
    fn limits(self) -> Limits {
        let size = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
        Limits {
            connections: self.max_connections,
            neighbour: self.max_neighbour_connections,
            handshake: self.handshake_timeout,
            request: size(self.max_request),
            pending: size(self.max_pending),
            head: self.head_timeout,
            silence: self.silence_timeout,
            body: self.body_timeout,
            origins: self.cors_origin,
            ..Limits::default()
        }
    }
}

/// A limit, or none.
#[derive(Debug, Clone, Copy)]
struct Unless<T>(Option<T>);

fn unless_off<T>(
    read: fn(&str) -> Result<T, units::BadUnit>,
) -> impl Fn(&str) -> Result<Unless<T>, units::BadUnit> + Clone {
    move |text| if text == "off" { Ok(Unless(None)) } else { read(text).map(|limit| Unless(Some(limit))) }
}

fn loopback(which: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], DEFAULT_PORTS[which]))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        // A file or a supervisor's log gets no colours.
        .with_ansi(std::io::stderr().is_terminal())
        .with_max_level(tracing::Level::INFO)
        .init();
    #[cfg(unix)]
    raise_open_files();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("collector").build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("fuseboard-collector: threads could not be started: {e}");
            return ExitCode::from(1);
        }
    };
    let done = match arguments.verb {
        None => runtime.block_on(run(arguments)),
        Some(Verb::Token { json, verb }) => {
            let file = arguments.data.unwrap_or_else(fuseboard_collector::default_data_file);
            runtime.block_on(token_verbs::run(verb, &file, json))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("fuseboard-collector: {e:#}");
            match e.downcast_ref::<StartError>() {
                Some(
                    StartError::NotLoopback { .. }
                    | StartError::Unasked(_)
                    | StartError::InUse { .. }
                    | StartError::Bind { .. },
                ) => ExitCode::from(3),
                Some(StartError::Redact(_) | StartError::Tls(_)) => ExitCode::from(2),
                _ => ExitCode::from(1),
            }
        }
    }
}

/// Lets this process have as many connections as the system allows: 1,024 open files, the usual limit, are soon too few.
#[cfg(unix)]
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    if let Err(e) = raised {
        tracing::debug!("the limit of open files stays as it is: {e}");
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut config = Config::new(arguments.data.unwrap_or_else(fuseboard_collector::default_data_file));
    config.otlp_grpc = arguments.otlp_grpc;
    config.otlp_http = arguments.otlp_http;
    config.control = arguments.control;
    config.metrics = arguments.metrics;
    let by_custom = |port| Place::IfFree(SocketAddr::from(([127, 0, 0, 1], port)));
    config.zipkin = arguments.zipkin.unwrap_or(by_custom(9411));
    config.jaeger_api = arguments.jaeger_api.unwrap_or(by_custom(16686));
    config.retention.max_age = arguments.keep.max_age.0;
    config.retention.max_bytes = arguments.keep.max_bytes.0;
    config.limits = arguments.bear.limits();
    config.tls = arguments.tls.doors();
    config.redact = arguments.redact;
    config.auth = match arguments.auth {
        Asks::Auto => Auth::Auto,
        Asks::Open => Auth::Open,
        Asks::Required => Auth::Required,
    };
    config.redact_defaults = !arguments.no_default_redaction;
    let mut stop = std::pin::pin!(stop_signal()?);
    let handle = Collector::start(config).await?;
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&handle.addresses())?)?;
    stop.as_mut().await;
    tracing::info!("stopping");
    handle.shutdown().await;
    Ok(())
}

/// Ends at SIGINT or SIGTERM.
#[cfg(unix)]
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Ends at Ctrl-C.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the same shape as where it can fail")]
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}
