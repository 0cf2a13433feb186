//! TLS, on both sides. Files are read again by themselves when they change.

use std::path::{Path, PathBuf};

use fuseboard_agent::tls::{ClientTls, Pem, ServerTls};
use serde::Deserialize;

/// `tls` of an `[[inbound]]`: what callers are shown, and whom they must be.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The certificate with its chain, PEM. Relative to the configuration.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Roots, PEM: callers must show a certificate of theirs (mTLS). Anybody may call when not given.
    pub clients: Option<PathBuf>,
}

/// `tls` of an `[[upstream]]`: how it is trusted, and what it is shown.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trust {
    /// Roots, PEM; the system's when not given. Relative to the configuration.
    pub roots: Option<PathBuf>,
    /// What is shown (mTLS), PEM; goes with `key`.
    pub certificate: Option<PathBuf>,
    /// Its key, PEM.
    pub key: Option<PathBuf>,
    /// The name that the certificate must hold; the host of the address when not given.
    pub server_name: Option<String>,
}

impl Identity {
    pub(super) fn within(&mut self, folder: &Path) {
        for path in [Some(&mut self.certificate), Some(&mut self.key), self.clients.as_mut()].into_iter().flatten() {
            *path = folder.join(&*path);
        }
    }

    /// In the agent's words.
    pub(crate) fn settings(&self) -> ServerTls {
        let tls = ServerTls::new(Pem::file(&self.certificate), Pem::file(&self.key));
        match &self.clients {
            Some(roots) => tls.require_clients_of(Pem::file(roots)),
            None => tls,
        }
    }
}

impl Trust {
    pub(super) fn within(&mut self, folder: &Path) {
        for path in [self.roots.as_mut(), self.certificate.as_mut(), self.key.as_mut()].into_iter().flatten() {
            *path = folder.join(&*path);
        }
    }

    /// In the agent's words.
    pub(crate) fn settings(&self) -> ClientTls {
        let mut tls = ClientTls::default();
        if let Some(roots) = &self.roots {
            tls = tls.roots(Pem::file(roots));
        }
        if let (Some(certificate), Some(key)) = (&self.certificate, &self.key) {
            tls = tls.identity(Pem::file(certificate), Pem::file(key));
        }
        match &self.server_name {
            Some(name) => tls.server_name(name),
            None => tls,
        }
    }
}
