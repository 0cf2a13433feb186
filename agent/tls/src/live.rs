//! Settings in force, read again when their files change. What is broken is told and not taken.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use tokio_util::sync::CancellationToken;

use crate::certificate::Certificate;
use crate::error::TlsError;
use crate::observe::{Level, Notice, Observer};

/// What settings are made of.
pub(crate) trait Recipe: Send + Sync + 'static {
    /// What rustls works with.
    type Config: Send + Sync + 'static;
    /// `client` or `server`.
    const SIDE: &'static str;

    /// The files to look at.
    fn files(&self) -> Vec<&Path>;
    /// Time between two looks.
    fn check_every(&self) -> Duration;
    /// Reads everything.
    fn make(&self) -> Result<Made<Self::Config>, TlsError>;
}

/// What was read, and works.
#[derive(Debug)]
pub(crate) struct Made<C> {
    pub(crate) config: Arc<C>,
    /// The own certificate.
    pub(crate) certificate: Option<Certificate>,
    pub(crate) warning: Option<String>,
}

/// A recipe with what was last made of it. Connections read it without a lock or a look at the disk.
pub(crate) struct Live<R: Recipe> {
    recipe: R,
    now: ArcSwapOption<Made<R::Config>>,
    /// The files as they were when they were last read, well or not.
    seen: Mutex<Vec<Option<Stamp>>>,
}

/// Tells one state of a file from another.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    #[cfg(unix)]
    inode: (u64, u64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let meta = std::fs::metadata(path).ok()?;
        #[cfg(unix)]
        let inode = {
            use std::os::unix::fs::MetadataExt as _;
            (meta.dev(), meta.ino(), meta.ctime_nsec())
        };
        Some(Self {
            modified: meta.modified().ok(),
            length: meta.len(),
            #[cfg(unix)]
            inode,
        })
    }
}

impl<R: Recipe> Live<R> {
    /// Reads nothing yet.
    pub(crate) fn lazy(recipe: R) -> Self {
        Self { recipe, now: ArcSwapOption::empty(), seen: Mutex::default() }
    }

    pub(crate) fn recipe(&self) -> &R {
        &self.recipe
    }

    /// What is in force; read now if it never was.
    pub(crate) fn get(&self) -> Result<Arc<Made<R::Config>>, TlsError> {
        match self.now.load_full() {
            Some(made) => Ok(made),
            None => self.read(),
        }
    }

    fn read(&self) -> Result<Arc<Made<R::Config>>, TlsError> {
        // Before the files themselves: a change in between is seen at the next look.
        let stamps = self.stamps();
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = stamps;
        let made = Arc::new(self.recipe.make()?);
        self.now.store(Some(made.clone()));
        Ok(made)
    }

    fn stamps(&self) -> Vec<Option<Stamp>> {
        self.recipe.files().into_iter().map(Stamp::of).collect()
    }

    fn has_changed(&self) -> bool {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) != self.stamps()
    }

    fn names(&self) -> String {
        let names: Vec<_> = self.recipe.files().iter().map(|path| path.display().to_string()).collect();
        names.join(", ")
    }
}

/// Looks at the files until `closing`, or until the last user is gone. A file and its counterpart are replaced one after the other, so
/// what is broken at the first look is told only if it still is at the second.
pub(crate) async fn watch<R: Recipe>(live: Weak<Live<R>>, observer: Arc<dyn Observer>, closing: CancellationToken) {
    let Some(every) = live.upgrade().map(|live| live.recipe.check_every()) else { return };
    let mut state = Watching::default();
    loop {
        let Some(live) = live.upgrade() else { return };
        let told = observer.clone();
        let look = tokio::task::spawn_blocking(move || {
            state.look(&live, told.as_ref());
            state
        });
        let Ok(next) = look.await else { return };
        state = next;
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = closing.cancelled() => return,
        }
    }
}

/// What was told already.
#[derive(Default)]
struct Watching {
    failing: Option<String>,
    told: bool,
    warned: Option<String>,
    stage: Stage,
}

/// How far the own certificate is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    #[default]
    Fine,
    /// Less than a fifth of its life is left.
    Late,
    /// Less than a twentieth.
    VeryLate,
    Over,
}

impl Stage {
    fn of((left, part): (Duration, f64)) -> Self {
        match part {
            _ if left.is_zero() => Self::Over,
            part if part < 0.05 => Self::VeryLate,
            part if part < 0.2 => Self::Late,
            _ => Self::Fine,
        }
    }
}

impl Watching {
    fn look<R: Recipe>(&mut self, live: &Live<R>, observer: &dyn Observer) {
        self.files(live, observer);
        let Some(made) = live.now.load_full() else { return };
        if made.warning != self.warned {
            self.warned.clone_from(&made.warning);
            if let Some(warning) = &made.warning {
                observer.notice(notice::<R>(Level::Warn, warning.clone()));
            }
        }
        if let Some(certificate) = &made.certificate {
            self.expiry::<R>(certificate, observer);
        }
    }

    fn files<R: Recipe>(&mut self, live: &Live<R>, observer: &dyn Observer) {
        if live.has_changed() {
            match live.read() {
                Ok(_) => {
                    (self.failing, self.told) = (None, false);
                    let text = format!("TLS files were read again: {}", live.names());
                    observer.notice(notice::<R>(Level::Info, text));
                }
                Err(error) => (self.failing, self.told) = (Some(error.to_string()), false),
            }
        } else if let Some(error) = self.failing.as_ref().filter(|_| !self.told) {
            self.told = true;
            let text = format!("the new TLS files are not taken, the old ones stay in force: {error}");
            observer.notice(notice::<R>(Level::Error, text));
        }
    }

    fn expiry<R: Recipe>(&mut self, certificate: &Certificate, observer: &dyn Observer) {
        let left = certificate.left(SystemTime::now());
        let name = certificate.name().unwrap_or_default();
        observer.expires_in(R::SIDE, name, left.0);
        let stage = Stage::of(left);
        if std::mem::replace(&mut self.stage, stage) == stage {
            return;
        }
        let end = certificate.not_after_text();
        let (level, text) = match stage {
            Stage::Fine => return,
            Stage::Late => (Level::Warn, format!("the certificate of {name} ends on {end}: renew it")),
            Stage::VeryLate => (Level::Error, format!("the certificate of {name} ends very soon, on {end}: renew it")),
            Stage::Over => (Level::Error, format!("the certificate of {name} ended on {end}: every peer refuses it")),
        };
        observer.notice(Notice { certificate: Some(name.to_owned()), ..notice::<R>(level, text) });
    }
}

fn notice<R: Recipe>(level: Level, text: String) -> Notice {
    Notice { level, text, side: R::SIDE, certificate: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_certificate_is_told_in_stages() {
        let day = |n: u64| Duration::from_secs(n * 86_400);
        let stages = [(60, 0.66), (17, 0.19), (4, 0.04), (0, 0.0)].map(|(days, part)| Stage::of((day(days), part)));
        assert_eq!(stages, [Stage::Fine, Stage::Late, Stage::VeryLate, Stage::Over]);
    }
}
