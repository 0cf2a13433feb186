//! Who is told what happens to certificates and handshakes.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::acceptor::Refused;

/// How much somebody should care.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Good to know.
    Info,
    /// Something is to be done soon.
    Warn,
    /// Something is to be done now.
    Error,
}

/// Something to be told: files that were read again or cannot be, certificates that end.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Notice {
    /// How much somebody should care.
    pub level: Level,
    /// What happened, and what to do.
    pub text: String,
    /// `client` or `server`.
    pub side: &'static str,
    /// The name of the certificate that it is about.
    pub certificate: Option<String>,
}

/// Is told of what happens. Calls come from any thread, seldom but for handshakes, and must not block for long.
pub trait Observer: fmt::Debug + Send + Sync + 'static {
    /// Something for the log.
    fn notice(&self, notice: Notice);

    /// A handshake ended well.
    fn accepted(&self) {}

    /// A caller was not let in; [`Refused::kind`] counts, its text is for the log. A hostile caller can make many of them.
    fn refused(&self, from: SocketAddr, why: &Refused);

    /// What is left of the own certificate, at each look at the files.
    fn expires_in(&self, _side: &'static str, _certificate: &str, _left: Duration) {}
}

/// Most records a second about callers that were not let in.
const RECORDS: u32 = 5;

/// Writes to `tracing`. Anybody can be a caller that is not let in: of those at most five a second are written, and how many
/// were not.
#[derive(Debug)]
pub struct Logged(Mutex<Pace>);

#[derive(Debug)]
struct Pace {
    second: Instant,
    written: u32,
    left_out: u64,
}

impl Default for Logged {
    fn default() -> Self {
        Self(Mutex::new(Pace { second: Instant::now(), written: 0, left_out: 0 }))
    }
}

impl Pace {
    /// Whether one more is written: if so, how many were not before it.
    fn pass(&mut self, now: Instant) -> Option<u64> {
        if now.duration_since(self.second) >= Duration::from_secs(1) {
            (self.second, self.written) = (now, 0);
        }
        if self.written >= RECORDS {
            self.left_out += 1;
            return None;
        }
        self.written += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

impl Observer for Logged {
    fn notice(&self, notice: Notice) {
        let Notice { level, text, side, .. } = notice;
        match level {
            Level::Info => tracing::info!(side, "{text}"),
            Level::Warn => tracing::warn!(side, "{text}"),
            Level::Error => tracing::error!(side, "{text}"),
        }
    }

    fn refused(&self, from: SocketAddr, why: &Refused) {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).pass(Instant::now()) {
            Some(0) => tracing::warn!("no TLS connection with the caller at {from}: {why}"),
            Some(n) => tracing::warn!("no TLS connection with the caller at {from}: {why} (and {n} more, not written)"),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_of_refused_callers_is_a_few_records_and_a_count() {
        let (start, logged) = (Instant::now(), Logged::default());
        let mut pace = logged.0.into_inner().expect("nobody panicked");
        let written = (0..1000).filter(|_| pace.pass(start).is_some()).count();
        assert_eq!(written, 5);
        assert_eq!(pace.pass(start + Duration::from_secs(2)), Some(995));
    }
}
