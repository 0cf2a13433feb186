//! Collectors inside this process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fuseboard_api::ask::{Answer, Ask, Question, Refusal};
use fuseboard_api::command::{Action, Command, Receipt};
use fuseboard_collector::store::StoreError;
use fuseboard_collector::{Auth, Collector, Config, Handle, StartError};
use tokio::runtime::Runtime;

use super::exit::Failure;

/// A runtime for everything that this process runs beside the window.
pub(super) fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("fuseboard")
        .build()
        .context("starting the threads that do the work beside the window")
}

/// A collector that ends with its owner.
pub(super) struct Embedded {
    handle: Handle,
}

impl Embedded {
    /// Starts a collector. It is this window's own: whoever sits at this machine may use it.
    pub(super) async fn start(mut config: Config) -> Result<Self> {
        config.auth = Auth::Open;
        Ok(Self { handle: Collector::start(config).await? })
    }

    /// Starts a collector at its usual addresses, or at free ones when another program has those.
    pub(super) async fn start_somewhere(mut config: Config) -> Result<Self> {
        config.auth = Auth::Open;
        match Collector::start(config.clone()).await {
            Ok(handle) => Ok(Self { handle }),
            Err(taken @ StartError::InUse { .. }) => {
                eprintln!("{taken}\nUsing free ports instead.");
                Self::start(config.on_free_ports()).await
            }
            Err(other) => Err(other.into()),
        }
    }

    /// Opens a file to look at.
    pub(super) async fn open(file: &Path) -> Result<Self> {
        let config = Config { auth: Auth::Open, ..Config::new(file).read_only().on_free_ports() };
        match Collector::start(config).await {
            Ok(handle) => Ok(Self { handle }),
            Err(StartError::Store(StoreError::Foreign { path, found })) => bail!(
                "{} is not a Fuseboard file ({found}); name one that a collector or an incident's export wrote",
                path.display()
            ),
            Err(other) => Err(other.into()),
        }
    }

    /// Where it listens.
    pub(super) fn addresses(&self) -> fuseboard_collector::Addresses {
        self.handle.addresses()
    }

    /// Its control address as a URL.
    pub(super) fn url(&self) -> String {
        url(self.handle.addresses().control)
    }

    /// Asks as of now.
    pub(super) async fn ask(&self, question: Question) -> Result<Answer> {
        let answered = self.handle.ask(Ask { question, as_of: None }).await.map_err(Failure::Refused)?;
        Ok(answered.answer)
    }

    /// Gives a command.
    pub(super) async fn command(&self, actor: &str, reason: &str, action: Action) -> Result<Receipt> {
        let command = Command { actor: actor.to_owned(), reason: reason.to_owned(), action };
        Ok(self.handle.command(command).await.map_err(Failure::Refused)?)
    }

    /// Writes an incident into a file.
    pub(super) async fn export(&self, incident: u64, file: &Path) -> Result<String, Refusal> {
        self.handle.export_incident(incident, file).await
    }

    /// Ends it; everything accepted is on disk afterwards.
    pub(super) async fn stop(self) {
        self.handle.shutdown().await;
    }
}

/// Ends when this process is asked to stop: by Ctrl-C, or by SIGTERM where there is one. Listens from the call on.
///
/// # Errors
/// When the system does not tell of signals.
#[cfg(unix)]
pub(super) fn stop_signal() -> Result<impl Future<Output = Result<()>>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        Ok(())
    })
}

/// Ends when this process is asked to stop by Ctrl-C.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the same shape as where it can fail")]
pub(super) fn stop_signal() -> Result<impl Future<Output = Result<()>>> {
    Ok(async { Ok(tokio::signal::ctrl_c().await?) })
}

/// An address as a URL.
pub(super) fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// A folder of this user for files that outlive the program, made when missing.
pub(super) fn folder(name: &str) -> Result<PathBuf> {
    let data = fuseboard_collector::default_data_file();
    let folder = data.parent().unwrap_or(Path::new(".")).join(name);
    std::fs::create_dir_all(&folder).with_context(|| format!("making the folder {}", folder.display()))?;
    Ok(folder)
}
