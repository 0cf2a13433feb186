//! What is set for each side of a connection.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::ring::default_provider;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::ServerName;

use crate::error::TlsError;
use crate::live::{Made, Recipe};
use crate::pem::{Identity, Own, Pem};

/// Time between two looks at files when nothing else is said.
const CHECK: Duration = Duration::from_secs(5);

/// How the servers that are dialled are trusted, and what they are shown. The default trusts this system's roots and shows
/// nothing.
///
/// ```
/// use fuseboard_tls::ClientTls;
///
/// let inside = ClientTls::default().roots("/etc/tls/ca.pem").identity("/etc/tls/tls.crt", "/etc/tls/tls.key");
/// ```
#[derive(Debug, Clone)]
pub struct ClientTls {
    roots: Vec<Pem>,
    system_roots: bool,
    identity: Option<Identity>,
    server_name: Option<String>,
    check: Duration,
}

impl Default for ClientTls {
    fn default() -> Self {
        Self { roots: Vec::new(), system_roots: true, identity: None, server_name: None, check: CHECK }
    }
}

impl ClientTls {
    /// Trusts the certificates of a PEM file (a path) or text ([`Pem::text`]) instead of the system's; may be said more than
    /// once.
    #[must_use]
    pub fn roots(mut self, roots: impl Into<Pem>) -> Self {
        self.system_roots = false;
        self.roots.push(roots.into());
        self
    }

    /// Trusts the system's roots besides those given with [`ClientTls::roots`].
    #[must_use]
    pub fn and_system_roots(mut self) -> Self {
        self.system_roots = true;
        self
    }

    /// What is shown to a server that asks who calls (mTLS): the certificate chain, own certificate first, and its key.
    #[must_use]
    pub fn identity(mut self, chain: impl Into<Pem>, key: impl Into<Pem>) -> Self {
        self.identity = Some(Identity { chain: chain.into(), key: key.into() });
        self
    }

    /// The name that a server's certificate must hold (and SNI asks for), where it is not the name that is dialled.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Time between two looks at the files; 5 s when not given, at least 10 ms.
    #[must_use]
    pub fn check_every(mut self, period: Duration) -> Self {
        self.check = period.max(Duration::from_millis(10));
        self
    }

    /// The name to ask for instead of the dialled one.
    pub(crate) fn name(&self) -> Result<Option<ServerName<'static>>, TlsError> {
        let wrong = |name: &String| TlsError::ServerName(name.clone());
        self.server_name.as_ref().map(|name| ServerName::try_from(name.clone()).map_err(|_| wrong(name))).transpose()
    }

    fn trusted(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        if self.system_roots {
            let found = rustls_native_certs::load_native_certs();
            // Some systems carry certificates that rustls does not take; the others still count.
            let (added, _) = roots.add_parsable_certificates(found.certs);
            if added == 0 && self.roots.is_empty() {
                let reason = found.errors.first().map_or_else(|| "none were found".to_owned(), ToString::to_string);
                return Err(TlsError::NoSystemRoots(reason));
            }
        }
        self.roots.iter().try_for_each(|pem| pem.add_roots(&mut roots))?;
        Ok(roots)
    }
}

impl Recipe for ClientTls {
    type Config = ClientConfig;

    const SIDE: &'static str = "client";

    fn files(&self) -> Vec<&Path> {
        let roots = self.roots.iter().filter_map(Pem::path);
        roots.chain(self.identity.iter().flat_map(Identity::files)).collect()
    }

    fn check_every(&self) -> Duration {
        self.check
    }

    fn make(&self) -> Result<Made<ClientConfig>, TlsError> {
        let roots = Arc::new(self.trusted()?);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::new(default_provider())).build();
        let verifier = verifier.map_err(|e| TlsError::Setup(e.to_string()))?;
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(|e| TlsError::Setup(e.to_string()))?;
        let builder = builder.with_webpki_verifier(verifier);
        let own = self.identity.as_ref().map(Identity::read).transpose()?;
        let config = match &own {
            Some(own) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own.certified.clone()))),
            None => builder.with_no_client_auth(),
        };
        Ok(made(config, own))
    }
}

/// Which callers a server lets in.
#[derive(Debug, Clone)]
enum Callers {
    /// Everybody; nobody is asked.
    Any,
    /// Those with a certificate of one of these CAs, or without any if `optional`.
    Known { roots: Vec<Pem>, optional: bool },
}

/// What a server shows, and whom it lets in.
///
/// ```
/// use fuseboard_tls::ServerTls;
///
/// let inside = ServerTls::new("/etc/tls/tls.crt", "/etc/tls/tls.key").require_clients_of("/etc/tls/ca.pem");
/// ```
#[derive(Debug, Clone)]
pub struct ServerTls {
    identity: Identity,
    callers: Callers,
    pub(crate) handshake: Duration,
    pub(crate) handshakes: usize,
    check: Duration,
}

impl ServerTls {
    /// The certificate chain, own certificate first, and its key: PEM files (paths) or texts ([`Pem::text`]).
    pub fn new(chain: impl Into<Pem>, key: impl Into<Pem>) -> Self {
        let identity = Identity { chain: chain.into(), key: key.into() };
        let handshake = Duration::from_secs(5);
        Self { identity, callers: Callers::Any, handshake, handshakes: 512, check: CHECK }
    }

    /// Lets in only callers with a certificate of these CAs (mTLS); may be said more than once.
    #[must_use]
    pub fn require_clients_of(self, roots: impl Into<Pem>) -> Self {
        self.known(roots.into(), false)
    }

    /// Like [`ServerTls::require_clients_of`], but a caller may also show no certificate at all; a wrong one is refused.
    #[must_use]
    pub fn accept_clients_of(self, roots: impl Into<Pem>) -> Self {
        self.known(roots.into(), true)
    }

    fn known(mut self, pem: Pem, optional: bool) -> Self {
        let mut roots = match self.callers {
            Callers::Any => Vec::new(),
            Callers::Known { roots, .. } => roots,
        };
        roots.push(pem);
        self.callers = Callers::Known { roots, optional };
        self
    }

    /// Longest time of a handshake; 5 s when not given.
    #[must_use]
    pub fn handshake_limit(mut self, limit: Duration) -> Self {
        self.handshake = limit;
        self
    }

    /// Most handshakes at once; 512 when not given. One more ends the oldest that still runs: good ones take milliseconds, so
    /// that is one that hangs.
    #[must_use]
    pub fn handshakes(mut self, most: usize) -> Self {
        self.handshakes = most.max(1);
        self
    }

    /// Time between two looks at the files; 5 s when not given, at least 10 ms.
    #[must_use]
    pub fn check_every(mut self, period: Duration) -> Self {
        self.check = period.max(Duration::from_millis(10));
        self
    }
}

impl Recipe for ServerTls {
    type Config = ServerConfig;

    const SIDE: &'static str = "server";

    fn files(&self) -> Vec<&Path> {
        let roots = if let Callers::Known { roots, .. } = &self.callers { roots.as_slice() } else { &[] };
        self.identity.files().chain(roots.iter().filter_map(Pem::path)).collect()
    }

    fn check_every(&self) -> Duration {
        self.check
    }

    fn make(&self) -> Result<Made<ServerConfig>, TlsError> {
        let own = self.identity.read()?;
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(|e| TlsError::Setup(e.to_string()))?;
        let builder = match &self.callers {
            Callers::Any => builder.with_no_client_auth(),
            Callers::Known { roots, optional } => {
                let mut store = RootCertStore::empty();
                roots.iter().try_for_each(|pem| pem.add_roots(&mut store))?;
                let provider = Arc::new(default_provider());
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider);
                let verifier = if *optional { verifier.allow_unauthenticated() } else { verifier };
                builder.with_client_cert_verifier(verifier.build().map_err(|e| TlsError::Setup(e.to_string()))?)
            }
        };
        let config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(own.certified.clone())));
        Ok(made(config, Some(own)))
    }
}

fn made<C>(config: C, own: Option<Own>) -> Made<C> {
    let (certificate, warning) = own.map_or((None, None), |own| (Some(own.certificate), own.warning));
    Made { config: Arc::new(config), certificate, warning }
}
