//! Tokens from the command line: the words that `fuseboard-collector token` and `fuseboard ctl token` share, and the way to
//! a collector's file while no collector has it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use fuseboard_api::UnixNanos;
use fuseboard_api::ask::Refusal;
use fuseboard_api::identity::{MadeToken, NewToken, Role, TokenInfo};

use crate::identity::{Auth, Identity, date};
use crate::store::{OpenMode, Store, StoreError};
use crate::units;

/// A person's token is good for so long unless told otherwise; an agent's too.
const DAYS_90: Duration = Duration::from_secs(90 * 24 * 3_600);

/// What can be done with tokens.
#[derive(Debug, Clone, Subcommand)]
pub enum TokenVerb {
    /// Make a token; it is shown once, or written to --out.
    Create(CreateArgs),
    /// All tokens, newest first; never their secrets.
    List,
    /// Take a token away for good.
    Revoke {
        /// Its public part, as `token list` and the audit name it.
        #[arg(value_name = "ID")]
        id: String,
        /// Why, for the audit.
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
}

/// Which token is wanted.
#[derive(Debug, Clone, Args)]
pub struct CreateArgs {
    /// viewer reads; operator also overrides, changes policies and records incidents; admin also gives tokens; agent is for
    /// programs
    #[arg(long, value_name = "ROLE")]
    role: Role,
    /// Whose: the audit bears this name
    #[arg(long, value_name = "NAME")]
    name: String,
    /// For agents: a service that they may speak for; may be given often, or "*" for every service
    #[arg(long, value_name = "SERVICE")]
    service: Vec<String>,
    /// How long it is good: 12h, 30d [default: 90d]
    #[arg(long, value_name = "TIME", value_parser = units::age, conflicts_with = "never")]
    expires_in: Option<Duration>,
    /// It is good until it is revoked
    #[arg(long)]
    never: bool,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Write the token to this file, readable by you alone, instead of showing it; the file must not exist
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl CreateArgs {
    /// The token that is asked for.
    #[must_use]
    pub fn wanted(&self) -> NewToken {
        let good = self.expires_in.unwrap_or(DAYS_90).as_secs();
        NewToken {
            name: self.name.clone(),
            role: self.role,
            services: self.service.clone(),
            ttl_secs: (!self.never).then_some(good),
            reason: self.reason.clone(),
        }
    }

    /// Where the secret goes, checked before a token is made: a token whose secret is lost helps nobody.
    ///
    /// # Errors
    /// When the file exists already or cannot be made.
    pub fn sink(&self) -> std::io::Result<Sink> {
        self.out.as_deref().map_or(Ok(Sink::Shown), Sink::file)
    }
}

/// Where a secret goes.
#[derive(Debug)]
pub enum Sink {
    /// To standard output, once.
    Shown,
    /// Into a new file of its owner alone.
    File(PathBuf, std::fs::File),
}

impl Sink {
    fn file(path: &Path) -> std::io::Result<Self> {
        let mut options = std::fs::File::options();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let made = options.open(path).map_err(|e| std::io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
        Ok(Self::File(path.to_owned(), made))
    }

    /// Gives the secret to its holder. What is to be said about it beside goes to stderr.
    ///
    /// # Errors
    /// When it could not be written: revoke the token and make another.
    pub fn keep(self, made: &MadeToken) -> std::io::Result<()> {
        let TokenInfo { id, name, role, expires, services, .. } = &made.info;
        let whose = if services.is_empty() { String::new() } else { format!(" for {}", services.join(", ")) };
        let until = expires.map_or("it never expires: revoke it when it is not needed any more".to_owned(), |at| {
            format!("it expires at {}", date(at))
        });
        match self {
            Self::Shown => {
                writeln!(std::io::stdout(), "{}", made.token)?;
                eprintln!("token {id}, {role} {name}{whose}; {until}. It is not shown again.");
            }
            Self::File(path, mut file) => {
                writeln!(file, "{}", made.token)?;
                file.sync_all()?;
                eprintln!("token {id}, {role} {name}{whose}, is in {}; {until}.", path.display());
            }
        }
        Ok(())
    }

    /// Takes an empty file away again when there is no token to put into it.
    pub fn discard(self) {
        if let Self::File(path, file) = self {
            drop(file);
            // An empty file of that name does no harm.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A token in a line: id, role, name, state, last use, services.
#[must_use]
pub fn line(info: &TokenInfo, now: UnixNanos) -> String {
    let state = match (info.revoked, info.expires) {
        (Some(at), _) => format!("revoked {}", date(at)),
        (None, Some(at)) if at <= now => format!("expired {}", date(at)),
        (None, Some(at)) => format!("until {}", date(at)),
        (None, None) => "for ever".to_owned(),
    };
    let used = info.last_used.map_or("never used".to_owned(), |at| format!("used {}", date(at)));
    let line = format!(
        "{}  {:8}  {:20}  {state:28}  {used:25}  {}",
        info.id,
        info.role.word(),
        info.name,
        info.services.join(", ")
    );
    line.trim_end().to_owned()
}

/// Why nothing could be done.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was wanted.
    #[error("{}", .0.message)]
    Refused(Refusal),
}

/// The tokens in a collector's file, while no collector has it.
#[derive(Debug)]
pub struct Tokens {
    identity: Arc<Identity>,
    store: Store,
}

impl Tokens {
    /// Opens the file, making it when missing. A running collector holds its file: then `fuseboard ctl token` is the way.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub async fn open(file: &Path) -> Result<Self, StoreError> {
        let store = Store::open(file, OpenMode::ReadWrite)?;
        let identity = Identity::load(store.clone(), Auth::Open, false).await?;
        Ok(Self { identity, store })
    }

    /// Makes a token; `actor` stands in the audit.
    ///
    /// # Errors
    /// When what is wanted makes no sense, or cannot be written.
    pub async fn create(&self, wanted: NewToken, actor: &str) -> Result<MadeToken, TokenError> {
        self.identity.create(wanted, actor).await.map_err(TokenError::Refused)
    }

    /// All of them, newest first.
    #[must_use]
    pub fn list(&self) -> Vec<TokenInfo> {
        self.identity.list()
    }

    /// Takes one away.
    ///
    /// # Errors
    /// When there is none of that name, or it was revoked before.
    pub async fn revoke(&self, id: &str, reason: &str, actor: &str) -> Result<TokenInfo, TokenError> {
        self.identity.revoke(id, reason, actor).await.map_err(TokenError::Refused)
    }

    /// Waits until everything is on disk, and lets go of the file.
    pub async fn close(self) {
        self.store.flush().await;
        let closed = tokio::task::spawn_blocking(move || drop(self)).await;
        if closed.is_err() {
            tracing::error!("the store could not be closed in order");
        }
    }
}
