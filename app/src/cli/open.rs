//! The window, on whatever it looks at: an own collector, a remote one, or files.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use clap::Args;
use fuseboard::app::{self, NoWindow, Options, Settings};
use fuseboard::link::Source;
use fuseboard::{SourceKind, View};
use fuseboard_api::ask::{Answer, Question};
use fuseboard_api::command::Action;
use fuseboard_collector::Config;
use fuseboard_collector::files::import::is_database;
use fuseboard_demo::{Shop, ShopConfig};
use tokio::runtime::Handle;

use super::source::{self, Embedded};
use super::{Listen, ctl, import};

/// For `--help`.
pub(super) const HELP: &str = "\
Telemetry files are told apart by their content: OTLP JSON (one document or one a line), OTLP protobuf, the records of the
OpenTelemetry Collector's file exporter, Jaeger JSON, Zipkin v2 JSON, each plain or packed with gzip or zstd.
All of them become one view; every Fuseboard file has a window of its own.

Examples:
  fuseboard open bank.fuse
  fuseboard open traces.jsonl.gz jaeger-trace.json --headless";

/// Arguments of `open`.
#[derive(Args)]
pub(super) struct OpenArgs {
    /// Incident files, collectors' data files, or telemetry files of any known kind; - reads telemetry from standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Keep what is read of telemetry files in this Fuseboard file.
    #[arg(long, value_name = "FILE")]
    into: Option<PathBuf>,
    /// Open no window; say what is in the files.
    #[arg(long)]
    headless: bool,
    /// Open no window; print JSON.
    #[arg(long)]
    json: bool,
}

/// Arguments of `connect`.
#[derive(Args)]
pub(super) struct ConnectArgs {
    /// The collector's control address.
    #[arg(value_name = "URL", value_parser = ctl::address)]
    url: String,
    /// Look only: nothing can be changed from this window.
    #[arg(long)]
    read_only: bool,
    /// Mark the window as production.
    #[arg(long)]
    production: bool,
    #[command(flatten)]
    access: ctl::Access,
}

/// What a window looks at, and how.
pub(super) struct Look {
    source: Source,
    view: View,
    read_only: bool,
    production: bool,
    /// Where the demo can send its telemetry, when this process has a collector.
    demo: Option<Target>,
}

/// Where a demo started from the window reports to.
#[derive(Debug, Clone)]
struct Target {
    otlp: String,
    control: String,
}

impl Look {
    /// At a live collector of this process.
    pub(super) fn live(name: &str, url: String) -> Self {
        Self::at(name.to_owned(), url, SourceKind::Live)
    }

    fn at(name: String, url: String, kind: SourceKind) -> Self {
        let source = Source { name, url, kind, access: ctl::Access::default() };
        Self { source, view: View::default(), read_only: false, production: false, demo: None }
    }
}

/// Whether a window can be hoped for.
pub(super) fn display() -> bool {
    let named = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    !cfg!(all(unix, not(target_os = "macos"))) || named("DISPLAY") || named("WAYLAND_DISPLAY")
}

/// Whether an error says that the system gives no window.
pub(super) fn no_window(error: &anyhow::Error) -> bool {
    error.downcast_ref::<NoWindow>().is_some()
}

/// Opens a window and returns when it is closed.
pub(super) fn window(look: Look, runtime: &Handle) -> Result<()> {
    let host = Program { runtime: runtime.clone(), demo: look.demo, opened: Mutex::default(), shop: Mutex::default() };
    let settings = Settings {
        view: look.view,
        who: who(),
        read_only: look.read_only || look.source.kind == SourceKind::File,
        production: look.production,
        ..Settings::default()
    };
    let memory = source::folder("console").ok().map(|folder| folder.join("window.ron"));
    app::run(look.source, Options { settings, host: Arc::new(host), memory })?;
    Ok(())
}

fn who() -> String {
    std::env::var("USER").or_else(|_| std::env::var("USERNAME")).unwrap_or_else(|_| "operator".to_owned())
}

/// `fuseboard`: the console with a collector of its own.
pub(super) fn console(listen: &Listen) -> Result<()> {
    if !display() {
        return Err(NoWindow::NoDisplay.into());
    }
    let runtime = source::runtime()?;
    let config = Config {
        otlp_grpc: listen.otlp_grpc,
        otlp_http: listen.otlp_http,
        control: listen.control,
        metrics: listen.metrics,
        zipkin: listen.zipkin,
        jaeger_api: listen.jaeger_api,
        ..Config::new(listen.data.clone().unwrap_or_else(fuseboard_collector::default_data_file))
    };
    let collector = runtime.block_on(Embedded::start_somewhere(config))?;
    let mut look = Look::live("this machine", collector.url());
    let otlp = collector.addresses().otlp_grpc.context("the collector takes no OTLP")?;
    look.demo = Some(Target { otlp: source::url(otlp), control: collector.url() });
    let done = window(look, runtime.handle());
    runtime.block_on(collector.stop());
    done
}

/// `fuseboard connect URL`.
pub(super) fn connect(args: &ConnectArgs) -> Result<()> {
    // Asked once before the window opens, so that a wrong address is said where it was typed.
    let client = ctl::Client::new(&args.url, &args.access)?;
    client.ask(Question::Totals)?;
    let mut look = Look::at(args.url.clone(), client.url().to_owned(), SourceKind::Remote);
    (look.read_only, look.production) = (args.read_only, args.production);
    look.source.access = args.access.clone();
    window(look, source::runtime()?.handle())
}

/// `fuseboard open FILE…`.
pub(super) fn open(args: &OpenArgs) -> Result<()> {
    let runtime = source::runtime()?;
    let (mut ours, mut telemetry) = (Vec::new(), Vec::new());
    for file in &args.files {
        let database = !import::is_stdin(file) && is_database(file)?;
        if database { &mut ours } else { &mut telemetry }.push(file.clone());
    }
    if args.into.is_some() && telemetry.is_empty() {
        bail!("--into keeps what is read of telemetry files, and all of these are Fuseboard files");
    }
    // Lives as long as its file is looked at.
    let folder = tempfile::tempdir().context("making a folder for what is read")?;
    let target = args.into.clone().unwrap_or_else(|| folder.path().join("telemetry.fuseboard"));
    let read =
        if telemetry.is_empty() { Vec::new() } else { import::into_file(runtime.handle(), &telemetry, &target)? };
    if args.headless || args.json {
        return tell(args, &runtime, &read, (!telemetry.is_empty()).then_some(&*target), &ours);
    }
    // Where nothing at all was read, an empty window would say less.
    if !telemetry.is_empty() && ours.is_empty() && read.iter().all(import::Outcome::failed) {
        return import::failures(&read);
    }
    for outcome in &read {
        outcome.lines().iter().for_each(|line| eprintln!("{line}"));
    }
    let (name, first, others) = match (&telemetry[..], &ours[..]) {
        ([], [first, others @ ..]) => (name_of(first), first, others),
        ([], []) => bail!("name a file"),
        ([one], others) => (name_of(one), &target, others),
        ([one, more @ ..], others) => (format!("{} and {} more", name_of(one), more.len()), &target, others),
    };
    show(&runtime, name, first, others)
}

/// A window here, and one of its own for every other file.
fn show(runtime: &tokio::runtime::Runtime, name: String, file: &Path, others: &[PathBuf]) -> Result<()> {
    let collector = runtime.block_on(Embedded::open(file))?;
    let mut windows = Vec::new();
    for file in others {
        let program = std::env::current_exe().context("finding this program to open the other files")?;
        windows.push(std::process::Command::new(program).arg("open").arg(file).spawn()?);
    }
    let done = window(Look::at(name, collector.url(), SourceKind::File), runtime.handle());
    runtime.block_on(collector.stop());
    for mut other in windows {
        other.wait()?;
    }
    done
}

/// What was read and what is in the files, without a window.
fn tell(
    args: &OpenArgs,
    runtime: &tokio::runtime::Runtime,
    read: &[import::Outcome],
    target: Option<&Path>,
    ours: &[PathBuf],
) -> Result<()> {
    let mut sources = Vec::new();
    for file in target.into_iter().chain(ours.iter().map(PathBuf::as_path)) {
        let collector = runtime.block_on(Embedded::open(file))?;
        let answer = runtime.block_on(collector.ask(Question::Totals))?;
        runtime.block_on(collector.stop());
        let Answer::Totals(totals) = answer else { return Err(ctl::mismatch()) };
        let name =
            if target == Some(file) && args.into.is_none() { "all telemetry files".to_owned() } else { name_of(file) };
        sources.push((name, totals));
    }
    if args.json {
        let sources: Vec<_> =
            sources.iter().map(|(name, totals)| serde_json::json!({"name": name, "totals": totals})).collect();
        ctl::json(&serde_json::json!({"read": read, "sources": sources}))?;
    } else {
        for outcome in read.iter().filter(|outcome| !outcome.failed()) {
            outcome.lines().iter().try_for_each(|line| ctl::line(line))?;
        }
        for (name, totals) in &sources {
            ctl::line(&format!("{name}:"))?;
            ctl::totals(totals)?;
        }
    }
    import::failures(read)
}

/// `fuseboard --gallery`.
pub(super) fn gallery() -> Result<()> {
    let runtime = source::runtime()?;
    let folder = tempfile::tempdir()?;
    let config = Config::new(folder.path().join("gallery.db")).on_free_ports();
    let collector = runtime.block_on(Embedded::start(config))?;
    let look = Look { view: View::Gallery, ..Look::live("gallery", collector.url()) };
    let done = window(look, runtime.handle());
    runtime.block_on(collector.stop());
    done
}

/// A file's name as the console writes it.
pub(super) fn name_of(file: &Path) -> String {
    file.file_name().map_or_else(|| file.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// What the console asks of the program around it.
struct Program {
    runtime: Handle,
    demo: Option<Target>,
    /// Files that are being looked at; they are served until the program ends.
    opened: Mutex<Vec<Opened>>,
    shop: Mutex<Option<Shop>>,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program").finish_non_exhaustive()
    }
}

/// A file that is being looked at.
struct Opened {
    collector: Embedded,
    /// Where the telemetry of another program's file was put.
    _folder: Option<tempfile::TempDir>,
}

impl Opened {
    /// Serves a Fuseboard file as it is, and what any other holds out of a file of its own.
    fn at(runtime: &Handle, path: &Path) -> Result<Self> {
        if is_database(path)? {
            return Ok(Self { collector: runtime.block_on(Embedded::open(path))?, _folder: None });
        }
        let folder = tempfile::tempdir().context("making a folder for what is read")?;
        let target = folder.path().join("telemetry.fuseboard");
        import::failures(&import::into_file(runtime, &[path.to_owned()], &target)?)?;
        Ok(Self { collector: runtime.block_on(Embedded::open(&target))?, _folder: Some(folder) })
    }
}

/// Files that one window may have opened; beyond, the oldest is closed.
const MOST_OPENED: usize = 8;

impl app::Host for Program {
    fn open_file(&self, path: &Path) -> Result<Source, String> {
        let collector = Opened::at(&self.runtime, path).map_err(|error| format!("{error:#}"))?;
        let url = collector.collector.url();
        let source = Source { name: name_of(path), url, kind: SourceKind::File, access: ctl::Access::default() };
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.push(collector);
        let oldest = (opened.len() > MOST_OPENED).then(|| opened.remove(0));
        drop(opened);
        if let Some(oldest) = oldest {
            self.runtime.block_on(oldest.collector.stop());
        }
        Ok(source)
    }

    fn start_demo(&self) -> Result<(), String> {
        let target = self
            .demo
            .as_ref()
            .ok_or("only a window with a collector of its own can start the demo; try `fuseboard demo`")?;
        let mut shop = self.shop.lock().unwrap_or_else(PoisonError::into_inner);
        if shop.is_some() {
            return Err("the demo runs already".to_owned());
        }
        let started = give_policy(target).and_then(|()| self.runtime.block_on(start_shop(target)));
        let started = started.map_err(|error| format!("{error:#}"))?;
        *shop = Some(started);
        Ok(())
    }
}

/// The shop's policy, unless the collector has one already.
fn give_policy(target: &Target) -> Result<()> {
    let client = ctl::Client::new(&target.control, &ctl::Access::default())?;
    if let Answer::Document(Some(_)) = client.ask(Question::Document(1))? {
        return Ok(());
    }
    let action = Action::set_policy(0, fuseboard_demo::POLICIES);
    client.command("demo", "what the shop begins with", action).map(|_| ())
}

async fn start_shop(target: &Target) -> Result<Shop> {
    let config = ShopConfig {
        otlp: target.otlp.clone(),
        control: Some(target.control.clone()),
        weather: fuseboard_demo::Weather::Story,
        ..ShopConfig::default()
    };
    let shop = Shop::start(config).await?;
    shop.traffic()?;
    Ok(shop)
}
