//! A small certificate authority in a directory: enough for a collector, its agents and whoever connects, without another program.
//!
//! A directory holds `ca.pem`, `ca.key`, and `NAME.pem` (own certificate first, then the CA's) with `NAME.key` for everything that
//! was issued. Keys are ECDSA over P-256, files of keys are for their owner alone (0600), the directory is too (0700). The CA signs
//! leaves only (its path length is 0), each with a random serial; nothing that exists is overwritten, and what is renewed is put in
//! place at once, key first: whoever looks in between keeps what it has.
//!
//! The CA's key is needed to issue, not to serve: it can be kept on another machine or a stick, and named when it is needed.

mod files;
mod order;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SerialNumber,
};
use rustls::crypto::ring::default_provider;
use thiserror::Error;

pub use self::order::Order;
use crate::certificate::Certificate;
use crate::error::TlsError;
use crate::pem::Pem;

/// Validity begins so long before the making: clocks differ.
const SKEW: Duration = Duration::from_secs(5 * 60);
/// A day.
pub const DAY: Duration = Duration::from_secs(86_400);
/// Longest life of anything, in days; beyond, dates leave what X.509 can write.
pub const MOST_DAYS: u32 = 36_500;

/// What could not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PkiError {
    /// It is there already.
    #[error("{path} is there already and is not overwritten: {hint}")]
    Exists {
        /// The file.
        path: PathBuf,
        /// What to do instead.
        hint: &'static str,
    },
    /// It cannot be written.
    #[error("{path} cannot be written ({source}): check the path, and that this user may write there")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It cannot be read, or is not what it should be.
    #[error(transparent)]
    Read(#[from] TlsError),
    /// The CA's key is of another CA.
    #[error("the key in {key} is not the one of {ca}: name the CA's own key with --ca-key")]
    OtherKey {
        /// The CA's certificate.
        ca: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// The certificate is of no CA.
    #[error("{0} is not the certificate of a CA: `fuseboard pki init DIR` makes one")]
    NoCa(PathBuf),
    /// The CA is over.
    #[error(
        "the CA in {ca} ended on {end}: make a new one with `fuseboard pki init`, and let everybody trust both for a while"
    )]
    CaOver {
        /// The CA's certificate.
        ca: PathBuf,
        /// Its end.
        end: String,
    },
    /// What was ordered makes no sense.
    #[error("{0}")]
    Order(String),
    /// The maker of certificates refuses.
    #[error("no certificate can be made: {0}")]
    Make(#[from] rcgen::Error),
    /// The system has no randomness.
    #[error("the system gives no random numbers: no key can be made")]
    Randomness,
}

/// A certificate with its key, as PEM.
#[derive(Clone)]
pub struct Leaf {
    /// The chain, own certificate first.
    pub chain: String,
    /// The private key.
    pub key: String,
}

/// Without the key.
impl std::fmt::Debug for Leaf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leaf").field("chain", &self.chain).finish_non_exhaustive()
    }
}

/// What was written, and where.
#[derive(Debug, Clone)]
pub struct Written {
    /// The certificate's file.
    pub certificate: PathBuf,
    /// The key's file.
    pub key: PathBuf,
}

/// A certificate authority: its certificate and key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    certificate: Certificate,
    path: PathBuf,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl Authority {
    /// A new one, in memory alone; gives its key as PEM beside it.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn generate(name: &str, life: Duration) -> Result<(Self, String), PkiError> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.use_authority_key_identifier_extension = true;
        dated(&mut params, life, None)?;
        let key = KeyPair::generate()?;
        let text = key.serialize_pem();
        let made = CertifiedIssuer::self_signed(params, key)?;
        Ok((Self::read(&made.pem(), &text, "ca.pem".as_ref(), "ca.key".as_ref())?, text))
    }

    /// A new one in a directory, which is made when it is missing.
    ///
    /// # Errors
    /// There is one already, or it cannot be written.
    pub fn init(directory: &Path, name: &str, life: Duration) -> Result<(Self, Written), PkiError> {
        let written = Written { certificate: directory.join("ca.pem"), key: directory.join("ca.key") };
        let hint = "issue from it, or make another CA in another directory";
        files::must_be_missing([&written.certificate, &written.key], hint)?;
        let (made, key) = Self::generate(name, life)?;
        files::directory(directory)?;
        files::create(&written.key, &key, files::Reader::Owner, hint)?;
        files::create(&written.certificate, &made.pem, files::Reader::All, hint)?;
        Ok((Self { path: written.certificate.clone(), ..made }, written))
    }

    /// The one in a directory; its key may be elsewhere.
    ///
    /// # Errors
    /// There is none, its key is another's, or it is over.
    pub fn open(directory: &Path, key: Option<&Path>) -> Result<Self, PkiError> {
        let path = directory.join("ca.pem");
        let key = key.map_or_else(|| directory.join("ca.key"), Path::to_path_buf);
        let text = |path: &Path| Ok::<_, PkiError>(String::from_utf8_lossy(&Pem::file(path).read()?).into_owned());
        let opened = Self::read(&text(&path)?, &text(&key)?, &path, &key)?;
        if !opened.certificate.is_valid_at(SystemTime::now()) {
            return Err(PkiError::CaOver { ca: path, end: opened.certificate.not_after_text().to_owned() });
        }
        Ok(opened)
    }

    fn read(pem: &str, key: &str, path: &Path, key_path: &Path) -> Result<Self, PkiError> {
        let named = |reason: String| TlsError::Certificate { from: path.display().to_string(), reason };
        let first = Pem::text(pem).certificates()?.into_iter().next().ok_or_else(|| named("it is empty".to_owned()))?;
        let certificate = Certificate::parse(&first).map_err(named)?;
        if !certificate.is_ca() {
            return Err(PkiError::NoCa(path.to_path_buf()));
        }
        let other = || PkiError::OtherKey { ca: path.to_path_buf(), key: key_path.to_path_buf() };
        let key = KeyPair::from_pem(key).map_err(|_| other())?;
        let (_, read) = x509_parser::parse_x509_certificate(&first).map_err(|e| named(e.to_string()))?;
        if read.public_key().raw != rcgen::PublicKeyData::subject_public_key_info(&key) {
            return Err(other());
        }
        let issuer = Issuer::from_ca_cert_der(&first, key)?;
        Ok(Self { issuer, pem: pem.to_owned(), certificate, path: path.to_path_buf() })
    }

    /// Its certificate.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Its certificate as PEM: what everybody is to trust.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Signs; a life that is longer than the CA's is cut at its end.
    ///
    /// # Errors
    /// What is ordered makes no sense, or no certificate can be made.
    pub fn sign(&self, order: &Order) -> Result<Leaf, PkiError> {
        let mut params = order.params()?;
        dated(&mut params, order.life, Some(&self.certificate))?;
        let key = KeyPair::generate()?;
        let made = params.signed_by(&key, &self.issuer)?;
        Ok(Leaf { chain: format!("{}{}", made.pem(), self.pem), key: key.serialize_pem() })
    }

    /// Signs, and writes `NAME.pem` and `NAME.key` into a directory.
    ///
    /// # Errors
    /// As [`Authority::sign`]; also when one of the files exists.
    pub fn issue(&self, order: &Order, directory: &Path) -> Result<Written, PkiError> {
        let written = order.files(directory)?;
        let hint = "renew it with --renew, or choose another name";
        files::must_be_missing([&written.certificate, &written.key], hint)?;
        let leaf = self.sign(order)?;
        files::directory(directory)?;
        files::create(&written.key, &leaf.key, files::Reader::Owner, hint)?;
        files::create(&written.certificate, &leaf.chain, files::Reader::All, hint)?;
        Ok(written)
    }

    /// Signs once more what `NAME.pem` in a directory says, with a new key, and puts both in place of the old ones.
    ///
    /// # Errors
    /// There is no such file, or it cannot be made or replaced.
    pub fn renew(&self, name: &str, life: Option<Duration>, directory: &Path) -> Result<Written, PkiError> {
        let old = order::existing(name, directory)?;
        let order =
            Order { life: life.unwrap_or_else(|| old.certificate.life()), ..Order::like(name, &old.certificate) };
        let leaf = self.sign(&order)?;
        files::replace(&old.written.key, &leaf.key, files::Reader::Owner)?;
        files::replace(&old.written.certificate, &leaf.chain, files::Reader::All)?;
        Ok(old.written)
    }

    /// Where its certificate is; `ca.pem` for one in memory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Gives a certificate its times and its serial.
fn dated(params: &mut CertificateParams, life: Duration, within: Option<&Certificate>) -> Result<(), PkiError> {
    if life < Duration::from_secs(60) || life > DAY * MOST_DAYS {
        return Err(PkiError::Order(format!("a certificate lives for a minute at least and {MOST_DAYS} days at most")));
    }
    let now = SystemTime::now();
    let end = within.map_or(now + life, |ca| (now + life).min(ca.not_after()));
    (params.not_before, params.not_after) = ((now - SKEW).into(), end.into());
    let mut serial = [0_u8; 16];
    default_provider().secure_random.fill(&mut serial).map_err(|_| PkiError::Randomness)?;
    // RFC 5280, 4.1.2.2: positive, and at most 20 octets.
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(())
}

#[cfg(test)]
mod tests;
