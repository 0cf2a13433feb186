//! What a certificate says: whose it is, and how long.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateDer;
use x509_parser::extensions::{ExtendedKeyUsage, GeneralName};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Name;

use crate::error::TlsError;
use crate::pem::Pem;

/// Most names of one certificate that are kept.
const MOST_NAMES: usize = 64;
/// What the name of a service follows in a URI: `spiffe://TRUST-DOMAIN/service/NAME`.
const SERVICE: &str = "service";
/// The trust domain of the certificates that `fuseboard pki` makes.
const DOMAIN: &str = "fuseboard";

/// A certificate's names and times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    common_name: Option<String>,
    dns_names: Vec<String>,
    uris: Vec<String>,
    addresses: Vec<IpAddr>,
    issuer: Option<String>,
    serial: String,
    uses: Uses,
    not_before: SystemTime,
    not_after: SystemTime,
    not_before_text: String,
    not_after_text: String,
}

/// What a certificate may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Uses {
    ca: bool,
    serving: bool,
    calling: bool,
}

impl Uses {
    fn of(read: &X509Certificate<'_>) -> Self {
        // Without an extension that says for what, it is for anything (RFC 5280, 4.2.1.12).
        let extended = read.extended_key_usage().ok().flatten().map(|e| e.value);
        let may = |one: fn(&ExtendedKeyUsage<'_>) -> bool| extended.is_none_or(|e| e.any || one(e));
        Self { ca: read.is_ca(), serving: may(|e| e.server_auth), calling: may(|e| e.client_auth) }
    }
}

impl Certificate {
    /// Reads one. Whether it is to be trusted is another question: see where it comes from.
    ///
    /// # Errors
    /// It is no certificate.
    pub(crate) fn parse(der: &CertificateDer<'_>) -> Result<Self, String> {
        let (_, read) = X509Certificate::from_der(der).map_err(|e| e.to_string())?;
        let name = |of: &X509Name<'_>| Some(of.iter_common_name().next()?.as_str().ok()?.to_owned());
        let (common_name, issuer) = (name(read.subject()), name(read.issuer()));
        let (mut dns_names, mut uris, mut addresses) = (Vec::new(), Vec::new(), Vec::new());
        let names = read.subject_alternative_name().map_err(|e| e.to_string())?;
        for name in names.iter().flat_map(|names| &names.value.general_names).take(MOST_NAMES) {
            match name {
                GeneralName::DNSName(name) => dns_names.push((*name).to_owned()),
                GeneralName::URI(uri) => uris.push((*uri).to_owned()),
                GeneralName::IPAddress(bytes) => addresses.extend(address(bytes)),
                _ => {}
            }
        }
        let validity = read.validity();
        Ok(Self {
            common_name,
            dns_names,
            uris,
            addresses,
            issuer,
            serial: read.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect(),
            uses: Uses::of(&read),
            not_before: time(validity.not_before),
            not_after: time(validity.not_after),
            not_before_text: validity.not_before.to_string(),
            not_after_text: validity.not_after.to_string(),
        })
    }

    /// All certificates of a file or text, in their order; at least one.
    ///
    /// # Errors
    /// It cannot be read, or holds none.
    pub fn read_all(pem: &Pem) -> Result<Vec<Self>, TlsError> {
        let wrong = |reason: String| TlsError::Certificate { from: pem.to_string(), reason };
        pem.certificates()?.iter().map(|der| Self::parse(der).map_err(wrong)).collect()
    }

    /// Whether it is a CA's.
    #[must_use]
    pub fn is_ca(&self) -> bool {
        self.uses.ca
    }

    /// Whether a server may show it.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.uses.serving
    }

    /// Whether a caller may show it.
    #[must_use]
    pub fn calls(&self) -> bool {
        self.uses.calling
    }

    /// The common name of its issuer.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// Its serial, in hexadecimal digits.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
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

    /// The addresses among the subject's alternative names.
    #[must_use]
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// The service that its holder may speak for: NAME of the first URI that is `spiffe://TRUST-DOMAIN/service/NAME`, whatever
    /// the trust domain (which CAs are trusted says who may give names).
    ///
    /// The name of a service may hold what a URI does not: such characters are percent-encoded there, and decoded here.
    #[must_use]
    pub fn service(&self) -> Option<String> {
        self.uris.iter().find_map(|uri| {
            let (domain, path) = uri.strip_prefix("spiffe://")?.split_once('/')?;
            let (kind, name) = path.split_once('/')?;
            (!domain.is_empty() && kind == SERVICE && !name.is_empty() && !name.contains('/')).then(|| decode(name))?
        })
    }

    /// The URI that names a service, as [`Certificate::service`] reads it.
    #[must_use]
    pub fn service_uri(name: &str) -> String {
        let mut uri = format!("spiffe://{DOMAIN}/{SERVICE}/");
        for byte in name.bytes() {
            // RFC 3986, 2.3: what needs no encoding.
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                uri.push(char::from(byte));
            } else {
                uri.push_str(&format!("%{byte:02X}"));
            }
        }
        uri
    }

    /// Its first moment.
    #[must_use]
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// Its last moment.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    pub(crate) fn not_before_text(&self) -> &str {
        &self.not_before_text
    }

    pub(crate) fn not_after_text(&self) -> &str {
        &self.not_after_text
    }

    pub(crate) fn is_valid_at(&self, now: SystemTime) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }

    /// What is left of it, and which part of its life that is (0 to 1).
    pub(crate) fn left(&self, now: SystemTime) -> (Duration, f64) {
        let left = self.not_after.duration_since(now).unwrap_or_default();
        let life = self.not_after.duration_since(self.not_before).unwrap_or_default();
        (left, left.as_secs_f64() / life.as_secs_f64().max(1.0))
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// Text with its percent-encoded bytes decoded; `None` where that is not possible.
fn decode(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.bytes());
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        match byte {
            b'%' => bytes.push(u8::try_from(digit(rest.next())? * 16 + digit(rest.next())?).ok()?),
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn with_uris(uris: &[&str]) -> Certificate {
        Certificate {
            common_name: None,
            dns_names: Vec::new(),
            uris: uris.iter().map(|uri| (*uri).to_owned()).collect(),
            addresses: Vec::new(),
            issuer: None,
            serial: String::new(),
            uses: Uses::default(),
            not_before: SystemTime::UNIX_EPOCH,
            not_after: SystemTime::UNIX_EPOCH,
            not_before_text: String::new(),
            not_after_text: String::new(),
        }
    }

    #[test]
    fn the_name_of_a_service_comes_back_as_it_was_written() {
        for name in ["payments", "card payments", "größe/2", "100%", "..", "a.b-c_d~e"] {
            let uri = Certificate::service_uri(name);
            assert!(uri.is_ascii(), "{uri}");
            assert_eq!(with_uris(&[&uri]).service().as_deref(), Some(name), "{uri}");
        }
    }

    #[test]
    fn only_a_uri_of_a_service_names_one() {
        for uri in [
            "https://fuseboard/service/a",
            "spiffe://fuseboard/agent/a",
            "spiffe://fuseboard/service/",
            "spiffe://fuseboard/service/a/b",
            "spiffe:///service/a",
            "spiffe://fuseboard/service/%zz",
            "spiffe://fuseboard/service/%ff",
        ] {
            assert_eq!(with_uris(&[uri]).service(), None, "{uri}");
        }
        assert_eq!(with_uris(&["https://a", "spiffe://else/service/b"]).service().as_deref(), Some("b"));
    }
}
