//! TLS on the doors: one certificate for all of them, and which of them want to see a caller's.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use fuseboard_tls::{Acceptor, Alpn, Logged, ServerTls, TlsError};
use tokio_util::sync::CancellationToken;

use crate::limits::Limits;

/// TLS for all doors. The files are looked at every few seconds; what changed and can be used serves the next connection.
#[derive(Debug, Clone)]
pub struct DoorTls {
    /// The certificate chain, PEM, own certificate first.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// CAs (PEM) whose certificates callers may show; none: nobody is asked for one.
    pub client_cas: Vec<PathBuf>,
    /// Doors at which a caller without a certificate is not let in; it may be shown at all others. Needs
    /// [`DoorTls::client_cas`].
    pub require: Vec<DoorName>,
    /// Time between two looks at the files; 5 s.
    pub check_every: Duration,
}

impl DoorTls {
    /// A certificate and its key; callers are not asked for theirs.
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self {
            certificate: certificate.into(),
            key: key.into(),
            client_cas: Vec::new(),
            require: Vec::new(),
            check_every: Duration::from_secs(5),
        }
    }
}

/// One of the addresses that a collector listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DoorName {
    /// OTLP over gRPC.
    OtlpGrpc,
    /// OTLP over HTTP.
    OtlpHttp,
    /// Console, command line and agents.
    Control,
    /// Prometheus and health.
    Metrics,
    /// Zipkin's spans.
    Zipkin,
    /// Jaeger's HTTP query API.
    JaegerApi,
}

impl DoorName {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::OtlpGrpc, Self::OtlpHttp, Self::Control, Self::Metrics, Self::Zipkin, Self::JaegerApi];

    /// As the command line's flags are called.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::OtlpGrpc => "otlp-grpc",
            Self::OtlpHttp => "otlp-http",
            Self::Control => "control",
            Self::Metrics => "metrics",
            Self::Zipkin => "zipkin",
            Self::JaegerApi => "jaeger-api",
        }
    }

    /// What is spoken there.
    const fn alpn(self) -> Alpn {
        match self {
            Self::OtlpGrpc => Alpn::H2,
            _ => Alpn::Http,
        }
    }
}

impl fmt::Display for DoorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A word that names no door.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is none of otlp-grpc, otlp-http, control, metrics, zipkin, jaeger-api")]
pub struct NoDoor(String);

impl FromStr for DoorName {
    type Err = NoDoor;

    fn from_str(text: &str) -> Result<Self, NoDoor> {
        Self::ALL.into_iter().find(|door| door.word() == text).ok_or_else(|| NoDoor(text.to_owned()))
    }
}

/// What the doors show and whom they let in; nothing where they are plain.
#[derive(Debug, Default)]
pub(crate) struct Security {
    /// Certificates of callers are looked at where they show one; and where they must.
    tls: Option<(Acceptor, Acceptor)>,
    require: Vec<DoorName>,
}

impl Security {
    /// Reads the files, and has them looked at until the stop.
    ///
    /// # Errors
    /// They cannot be used.
    pub(crate) fn new(tls: Option<&DoorTls>, limits: &Limits, stop: &CancellationToken) -> Result<Self, TlsError> {
        let Some(tls) = tls else { return Ok(Self::default()) };
        if tls.client_cas.is_empty() && !tls.require.is_empty() {
            return Err(TlsError::Setup(
                "certificates of callers are required, but nobody says whose: name their CA with --client-ca"
                    .to_owned(),
            ));
        }
        let base = ServerTls::new(tls.certificate.as_path(), tls.key.as_path())
            .handshake_limit(limits.handshake)
            .handshakes(limits.handshakes)
            .check_every(tls.check_every);
        let (mut asked, mut required) = (base.clone(), base);
        for ca in &tls.client_cas {
            asked = asked.accept_clients_of(ca.as_path());
            required = required.require_clients_of(ca.as_path());
        }
        let told = Arc::new(Logged::default());
        let asked = Acceptor::new(&asked, Alpn::Http)?;
        asked.watch(told.clone(), stop.clone());
        let required = if tls.require.is_empty() { asked.clone() } else { Acceptor::new(&required, Alpn::Http)? };
        if !tls.require.is_empty() {
            required.watch(told, stop.clone());
        }
        Ok(Self { tls: Some((asked, required)), require: tls.require.clone() })
    }

    /// Whether the doors speak TLS.
    pub(crate) fn is_on(&self) -> bool {
        self.tls.is_some()
    }

    /// What makes the handshakes at a door; `None` where it is plain.
    pub(crate) fn at(&self, door: DoorName) -> Option<Acceptor> {
        let (asked, required) = self.tls.as_ref()?;
        let acceptor = if self.require.contains(&door) { required } else { asked };
        Some(acceptor.with_alpn(door.alpn()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doors_are_named_as_their_flags() {
        for door in DoorName::ALL {
            assert_eq!(door.word().parse(), Ok(door));
        }
        assert!("all".parse::<DoorName>().is_err());
    }
}
