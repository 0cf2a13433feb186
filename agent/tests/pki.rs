//! Certificates for the tests: a CA, and what it signs.

use std::path::{Path, PathBuf};

use fuseboard_agent::tls::{ClientTls, Pem, ServerTls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType, date_time_ymd};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

/// A certificate authority.
pub(crate) struct Ca(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub(crate) struct Leaf {
    pub(crate) chain: String,
    pub(crate) key: String,
}

/// The time in which a certificate is valid.
#[derive(Clone, Copy)]
pub(crate) enum Life {
    Long,
    /// It has begun long ago and ends in some hours.
    NearlyOver,
    Over,
}

impl Ca {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test ca");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> Pem {
        Pem::text(self.text())
    }

    pub(crate) fn text(&self) -> String {
        self.0.pem()
    }

    /// Signs a certificate for names (DNS names, addresses, URIs).
    pub(crate) fn issue(&self, names: &[&str], life: Life) -> Leaf {
        let (uris, others): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| name.contains("://"));
        let others: Vec<String> = others.into_iter().map(str::to_owned).collect();
        let mut params = CertificateParams::new(others).unwrap();
        params.subject_alt_names.extend(uris.into_iter().map(|uri| SanType::URI(uri.try_into().unwrap())));
        params.distinguished_name.push(DnType::CommonName, "common name");
        match life {
            Life::Long => {}
            Life::NearlyOver => {
                params.not_before = date_time_ymd(2001, 1, 1);
                let soon = std::time::SystemTime::now() + std::time::Duration::from_secs(6 * 3600);
                params.not_after = soon.into();
            }
            Life::Over => {
                (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1))
            }
        }
        let key = KeyPair::generate().unwrap();
        let chain = params.signed_by(&key, &self.0).unwrap().pem();
        Leaf { chain, key: key.serialize_pem() }
    }

    /// A client that trusts this CA.
    pub(crate) fn client(&self) -> ClientTls {
        ClientTls::default().roots(self.pem())
    }

    /// A server on this machine.
    pub(crate) fn server(&self) -> ServerTls {
        self.issue(&["127.0.0.1"], Life::Long).server()
    }
}

impl Leaf {
    pub(crate) fn server(&self) -> ServerTls {
        ServerTls::new(Pem::text(&self.chain), Pem::text(&self.key))
    }

    /// rustls' own settings, for servers that the agent would not start.
    pub(crate) fn bare(&self) -> rustls::ServerConfig {
        let chain = CertificateDer::pem_slice_iter(self.chain.as_bytes()).collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        builder.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap()
    }
}

/// A directory with a certificate and a key that can be replaced.
pub(crate) struct Files {
    directory: TempDir,
}

impl Files {
    pub(crate) fn new(leaf: &Leaf) -> Self {
        let files = Self { directory: tempfile::tempdir().unwrap() };
        files.replace(leaf);
        files
    }

    pub(crate) fn chain(&self) -> PathBuf {
        self.directory.path().join("tls.crt")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.directory.path().join("tls.key")
    }

    /// Puts others in their place, one after the other, each at once.
    pub(crate) fn replace(&self, leaf: &Leaf) {
        put(&self.chain(), &leaf.chain);
        put(&self.key(), &leaf.key);
    }
}

/// Writes a file beside its place, then moves it there.
pub(crate) fn put(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    #[cfg(unix)]
    std::fs::set_permissions(&new, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::rename(new, path).unwrap();
}
