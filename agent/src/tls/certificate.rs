//! What a certificate says: whose it is, and how long.

use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::time::ASN1Time;

/// Most names of one certificate that are kept.
const MOST_NAMES: usize = 64;

/// A certificate's names and times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    common_name: Option<String>,
    dns_names: Vec<String>,
    uris: Vec<String>,
    not_before: SystemTime,
    not_after: SystemTime,
    not_before_text: String,
    not_after_text: String,
}

impl Certificate {
    /// Reads one. Whether it is to be trusted is another question: see where it comes from.
    ///
    /// # Errors
    /// It is no certificate.
    pub(crate) fn parse(der: &CertificateDer<'_>) -> Result<Self, String> {
        let (_, read) = X509Certificate::from_der(der).map_err(|e| e.to_string())?;
        let common_name = read.subject().iter_common_name().next().and_then(|cn| cn.as_str().ok()).map(str::to_owned);
        let (mut dns_names, mut uris) = (Vec::new(), Vec::new());
        let names = read.subject_alternative_name().map_err(|e| e.to_string())?;
        for name in names.iter().flat_map(|names| &names.value.general_names).take(MOST_NAMES) {
            match name {
                GeneralName::DNSName(name) => dns_names.push((*name).to_owned()),
                GeneralName::URI(uri) => uris.push((*uri).to_owned()),
                _ => {}
            }
        }
        let validity = read.validity();
        Ok(Self {
            common_name,
            dns_names,
            uris,
            not_before: time(validity.not_before),
            not_after: time(validity.not_after),
            not_before_text: validity.not_before.to_string(),
            not_after_text: validity.not_after.to_string(),
        })
    }

    /// Its one name: the first URI of the subject's alternative names (a SPIFFE id, where there is one), else the first DNS
    /// name, else the common name.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.uris.first().or(self.dns_names.first()).or(self.common_name.as_ref()).map(String::as_str)
    }

    /// The subject's common name.
    #[must_use]
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    /// The DNS names among the subject's alternative names.
    #[must_use]
    pub fn dns_names(&self) -> &[String] {
        &self.dns_names
    }

    /// The URIs among the subject's alternative names.
    #[must_use]
    pub fn uris(&self) -> &[String] {
        &self.uris
    }

    /// Its last moment.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    pub(super) fn not_before_text(&self) -> &str {
        &self.not_before_text
    }

    pub(super) fn not_after_text(&self) -> &str {
        &self.not_after_text
    }

    pub(super) fn is_valid_at(&self, now: SystemTime) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }

    /// What is left of it, and which part of its life that is (0 to 1).
    pub(super) fn left(&self, now: SystemTime) -> (Duration, f64) {
        let left = self.not_after.duration_since(now).unwrap_or_default();
        let life = self.not_after.duration_since(self.not_before).unwrap_or_default();
        (left, left.as_secs_f64() / life.as_secs_f64().max(1.0))
    }
}

fn time(time: ASN1Time) -> SystemTime {
    let seconds = time.timestamp();
    let length = Duration::from_secs(seconds.unsigned_abs());
    let at = if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(length)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(length)
    };
    at.unwrap_or(SystemTime::UNIX_EPOCH)
}
