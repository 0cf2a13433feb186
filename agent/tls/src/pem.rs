//! Certificates and keys as people keep them: PEM files, or PEM text.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::RootCertStore;
use rustls::crypto::ring::default_provider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{Error as PemError, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::certificate::Certificate;
use crate::error::TlsError;

/// Largest PEM file that is read, in bytes.
const MOST_BYTES: u64 = 8 * 1024 * 1024;

/// PEM text, in a file (read again when it changes) or given as it is. It never shows what it holds.
#[derive(Clone)]
pub struct Pem(Kind);

#[derive(Clone)]
enum Kind {
    File(PathBuf),
    Text(Arc<[u8]>),
}

impl Pem {
    /// A file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Kind::File(path.into()))
    }

    /// The text itself.
    pub fn text(text: impl AsRef<[u8]>) -> Self {
        Self(Kind::Text(text.as_ref().into()))
    }

    /// The file, if it is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        if let Kind::File(path) = &self.0 { Some(path) } else { None }
    }

    /// What it holds.
    ///
    /// # Errors
    /// The file cannot be read, or has more than 8 MiB.
    pub fn read(&self) -> Result<Arc<[u8]>, TlsError> {
        match &self.0 {
            Kind::Text(text) => Ok(text.clone()),
            Kind::File(path) => {
                let wrong = |source: std::io::Error| TlsError::Read { path: path.clone(), source: Arc::new(source) };
                let size = std::fs::metadata(path).map_err(wrong)?.len();
                if size > MOST_BYTES {
                    return Err(wrong(std::io::Error::other(format!("it has more than {MOST_BYTES} bytes"))));
                }
                std::fs::read(path).map(Arc::from).map_err(wrong)
            }
        }
    }

    /// All certificates, in their order; at least one.
    pub(crate) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let wrong = |e: &PemError| self.lacks("certificate", "CERTIFICATE", e);
        let text = self.read()?;
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let all = all.map_err(|e| wrong(&e))?;
        if all.is_empty() { Err(wrong(&PemError::NoItemsFound)) } else { Ok(all) }
    }

    /// The first private key.
    fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(&self.read()?).map_err(|e| self.lacks("private key", "PRIVATE KEY", &e))
    }

    fn lacks(&self, what: &'static str, marker: &'static str, error: &PemError) -> TlsError {
        // What a faulty line holds may be a part of a key.
        let reason = match error {
            PemError::NoItemsFound => "there is no such section",
            PemError::MissingSectionEnd { .. } => "a section has no end",
            PemError::IllegalSectionStart { .. } => "a section begins wrongly",
            PemError::Base64Decode(_) => "a section is not base64",
            _ => "it is not readable",
        };
        TlsError::Pem { from: self.to_string(), what, marker, reason: reason.to_owned() }
    }

    /// Adds its certificates to a store of roots.
    pub(crate) fn add_roots(&self, roots: &mut RootCertStore) -> Result<(), TlsError> {
        for certificate in self.certificates()? {
            let added = roots.add(certificate);
            added.map_err(|e| TlsError::Certificate { from: self.to_string(), reason: e.to_string() })?;
        }
        Ok(())
    }

    /// Whether others than owner and group may read the file.
    fn is_open_to_all(&self) -> bool {
        #[cfg(unix)]
        if let Some(Ok(meta)) = self.path().map(std::fs::metadata) {
            use std::os::unix::fs::PermissionsExt as _;
            return meta.permissions().mode() & 0o004 != 0;
        }
        false
    }
}

/// A file's path; a text only says that it is one.
impl fmt::Display for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::File(path) => write!(f, "{}", path.display()),
            Kind::Text(_) => f.write_str("the given PEM text"),
        }
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pem({self})")
    }
}

impl From<&str> for Pem {
    /// A path.
    fn from(path: &str) -> Self {
        Self::file(path)
    }
}

impl From<String> for Pem {
    /// A path.
    fn from(path: String) -> Self {
        Self::file(path)
    }
}

impl From<&Path> for Pem {
    fn from(path: &Path) -> Self {
        Self::file(path)
    }
}

impl From<PathBuf> for Pem {
    fn from(path: PathBuf) -> Self {
        Self::file(path)
    }
}

/// A certificate chain, the own certificate first, and its key.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) chain: Pem,
    pub(crate) key: Pem,
}

/// An identity that was read and fits together.
#[derive(Debug)]
pub(crate) struct Own {
    pub(crate) certified: Arc<CertifiedKey>,
    pub(crate) certificate: Certificate,
    /// What is not good about it, though it works.
    pub(crate) warning: Option<String>,
}

impl Identity {
    /// Reads both, and checks that they fit and are valid now.
    pub(crate) fn read(&self) -> Result<Own, TlsError> {
        let chain = self.chain.certificates()?;
        let certificate = match chain.first().map(|der| Certificate::parse(der)) {
            Some(Ok(certificate)) => certificate,
            Some(Err(reason)) => return Err(TlsError::Certificate { from: self.chain.to_string(), reason }),
            None => return Err(self.chain.lacks("certificate", "CERTIFICATE", &PemError::NoItemsFound)),
        };
        if !certificate.is_valid_at(SystemTime::now()) {
            return Err(TlsError::NotValidNow {
                from: self.chain.to_string(),
                not_before: certificate.not_before_text().to_owned(),
                not_after: certificate.not_after_text().to_owned(),
            });
        }
        let wrong = |e: rustls::Error| {
            let reason = match e {
                rustls::Error::InconsistentKeys(_) => {
                    "it belongs to another certificate; replace both together".to_owned()
                }
                other => other.to_string(),
            };
            TlsError::Key { key: self.key.to_string(), certificate: self.chain.to_string(), reason }
        };
        let certified = CertifiedKey::from_der(chain, self.key.key()?, &default_provider()).map_err(wrong)?;
        let warning = self.key.is_open_to_all();
        let warning = warning.then(|| format!("everybody on this machine may read the key in {}: chmod o-r", self.key));
        Ok(Own { certified: Arc::new(certified), certificate, warning })
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        [self.chain.path(), self.key.path()].into_iter().flatten()
    }
}
