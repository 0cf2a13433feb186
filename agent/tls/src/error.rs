//! What can be wrong with certificates and keys, in words that say what to do.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::{AlertDescription, CertificateError, InvalidMessage};
use thiserror::Error;

/// TLS material that cannot be used.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file that cannot be read.
    #[error("{path} cannot be read ({source}): check the path, and that this user may read it")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: Arc<std::io::Error>,
    },
    /// A file or text without what it should hold.
    #[error("{from} holds no {what} ({reason}): give PEM text with a `BEGIN {marker}` section")]
    Pem {
        /// The file, or what stands for a text.
        from: String,
        /// `certificate` or `private key`.
        what: &'static str,
        /// The marker of the section that is missing.
        marker: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A certificate that is no certificate.
    #[error("a certificate in {from} cannot be read: {reason}")]
    Certificate {
        /// The file, or what stands for a text.
        from: String,
        /// What is wrong.
        reason: String,
    },
    /// A key of another certificate, or of a kind that is not known.
    #[error("the private key in {key} cannot be used with the certificate in {certificate}: {reason}")]
    Key {
        /// Where the key is.
        key: String,
        /// Where the certificate is.
        certificate: String,
        /// What is wrong.
        reason: String,
    },
    /// The own certificate is not valid now: every peer would refuse it.
    #[error(
        "the certificate in {from} is valid from {not_before} to {not_after}, not now: renew it, or check the clock"
    )]
    NotValidNow {
        /// The file, or what stands for a text.
        from: String,
        /// Its beginning.
        not_before: String,
        /// Its end.
        not_after: String,
    },
    /// This machine has no trusted roots.
    #[error("this system has no trusted root certificates ({0}): install ca-certificates, or give roots of your own")]
    NoSystemRoots(String),
    /// A server name that is none.
    #[error("`{0}` is not a server name: give a DNS name or an IP address")]
    ServerName(String),
    /// rustls refuses the settings.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

/// A connection over TLS that could not be made. It is the last of its chain of errors: what rustls said is in its text.
#[derive(Debug, Error)]
#[error("no TLS connection to {host}: {reason}")]
pub struct HandshakeError {
    host: String,
    reason: String,
}

impl HandshakeError {
    pub(crate) fn new(host: &str, error: &std::io::Error) -> Self {
        Self { host: host.to_owned(), reason: explain_io(error) }
    }

    /// What went wrong, and what may help.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// What a handshake failed of, with what may help.
pub(crate) fn explain_io(error: &std::io::Error) -> String {
    match error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
        Some(tls) => explain(tls),
        None if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            "the other side hung up during the handshake".to_owned()
        }
        None => error.to_string(),
    }
}

fn explain(error: &rustls::Error) -> String {
    use rustls::Error as E;
    let hint = match error {
        E::InvalidCertificate(why) => match why {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "it is signed by none of the trusted roots: add its CA to the roots"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "the other side must renew it",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "check both clocks",
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "dial a name that it holds, or set the server name"
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                "it was not made for this side of a connection"
            }
            _ => "",
        },
        E::InvalidMessage(InvalidMessage::InvalidContentType) => "the other side speaks no TLS on this port",
        E::NoCertificatesPresented => "the caller must present a certificate",
        E::AlertReceived(AlertDescription::CertificateRequired) => "the server wants a client certificate",
        E::AlertReceived(AlertDescription::UnknownCA) => "the other side does not trust the CA of our certificate",
        E::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            "the other side does not speak the protocol that was asked for (ALPN)"
        }
        _ => "",
    };
    if hint.is_empty() { error.to_string() } else { format!("{error}; {hint}") }
}
