//! What a certificate is ordered for.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyUsagePurpose, SanType};

use super::{DAY, PkiError, Written};
use crate::certificate::Certificate;
use crate::error::TlsError;
use crate::pem::Pem;

/// Life when nothing else is said.
const LIFE: Duration = Duration::from_secs(90 * 86_400);

/// A certificate to be made.
#[derive(Debug, Clone)]
pub struct Order {
    /// How its files are called, and its common name.
    pub name: String,
    /// DNS names under which it serves.
    pub dns: Vec<String>,
    /// Addresses under which it serves.
    pub addresses: Vec<IpAddr>,
    /// The service that its holder speaks for ([`Certificate::service`]).
    pub service: Option<String>,
    /// How long it is good; 90 days.
    pub life: Duration,
}

/// A certificate that was issued before.
pub(super) struct Existing {
    pub(super) certificate: Certificate,
    pub(super) written: Written,
}

impl Order {
    /// For nobody yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), dns: Vec::new(), addresses: Vec::new(), service: None, life: LIFE }
    }

    /// A name under which it serves: an address, or else a DNS name.
    #[must_use]
    pub fn serving(mut self, name: &str) -> Self {
        match name.parse() {
            Ok(address) => self.addresses.push(address),
            Err(_) => self.dns.push(name.to_owned()),
        }
        self
    }

    /// The service that its holder speaks for.
    #[must_use]
    pub fn service(mut self, service: impl Into<String>) -> Self {
        self.service = Some(service.into());
        self
    }

    /// How long it is good.
    #[must_use]
    pub fn living(mut self, life: Duration) -> Self {
        self.life = life;
        self
    }

    /// For the same holder as another certificate.
    pub(super) fn like(name: &str, certificate: &Certificate) -> Self {
        Self {
            dns: certificate.dns_names().to_vec(),
            addresses: certificate.addresses().to_vec(),
            service: certificate.service(),
            ..Self::new(name)
        }
    }

    pub(super) fn params(&self) -> Result<CertificateParams, PkiError> {
        let serves = !self.dns.is_empty() || !self.addresses.is_empty();
        if !serves && self.service.is_none() {
            return Err(PkiError::Order(format!(
                "nothing says what {} is for: --dns and --ip name a server (the collector), --service the service of an agent",
                self.name
            )));
        }
        let mut params = CertificateParams::new(Vec::new())?;
        for name in &self.dns {
            let wrong = || PkiError::Order(format!("`{name}` is no DNS name; addresses are given with --ip"));
            let plain = name.strip_prefix("*.").unwrap_or(name);
            if rustls_pki_types::DnsName::try_from(plain).is_err() {
                return Err(wrong());
            }
            params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into().map_err(|_| wrong())?));
        }
        params.subject_alt_names.extend(self.addresses.iter().copied().map(SanType::IpAddress));
        if let Some(service) = &self.service {
            if service.is_empty() || service.len() > 512 || service.chars().any(char::is_control) {
                return Err(PkiError::Order(
                    "the name of a service has 1 to 512 bytes, none of them control characters".to_owned(),
                ));
            }
            params.subject_alt_names.push(SanType::URI(Certificate::service_uri(service).as_str().try_into()?));
        }
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, self.name.as_str());
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if serves {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        if self.service.is_some() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        }
        Ok(params)
    }

    pub(super) fn files(&self, directory: &Path) -> Result<Written, PkiError> {
        written(&self.name, directory)
    }
}

/// What is in the files of a name.
pub(super) fn existing(name: &str, directory: &Path) -> Result<Existing, PkiError> {
    let written = written(name, directory)?;
    let chain = Pem::file(written.certificate.as_path()).certificates()?;
    let wrong = |reason: String| TlsError::Certificate { from: written.certificate.display().to_string(), reason };
    let first = chain.first().ok_or_else(|| wrong("it is empty".to_owned()))?;
    let certificate = Certificate::parse(first).map_err(wrong)?;
    Ok(Existing { certificate, written })
}

fn written(name: &str, directory: &Path) -> Result<Written, PkiError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name == "ca" || name.is_empty() || name.len() > 64 || name.starts_with('.') || !name.chars().all(fits) {
        return Err(PkiError::Order(format!(
            "`{name}` cannot be the name of files: 1 to 64 letters, digits, `-`, `_` and `.`, not `ca` (the service may be called anything: --service)"
        )));
    }
    let file = |kind: &str| directory.join(format!("{name}.{kind}"));
    Ok(Written { certificate: file("pem"), key: file("key") })
}

impl Certificate {
    /// From its first to its last moment, in whole days at least one.
    pub(super) fn life(&self) -> Duration {
        let life = self.not_after().duration_since(self.not_before()).unwrap_or_default();
        let days = (life.as_secs() / DAY.as_secs()).max(1);
        Duration::from_secs(days * DAY.as_secs())
    }
}
