//! The keys that tokens are checked with. Each knows its one algorithm: what a token says about its own never chooses how it is
//! checked.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr as _;

use http::Uri;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;
use thiserror::Error;

use crate::tls::{Pem, TlsError};

/// Shortest secret that is taken, in bytes (RFC 7518, 3.2: at least as long as the hash).
const LEAST_SECRET: usize = 32;
/// Most keys of one document.
const MOST_KEYS: usize = 64;

/// Keys that cannot be used.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A secret that can be guessed.
    #[error("the secret has {0} bytes: HS256 needs {LEAST_SECRET} at least")]
    ShortSecret(usize),
    /// A file that cannot be read.
    #[error(transparent)]
    Read(#[from] TlsError),
    /// A text that is no public key.
    #[error(
        "{from} holds no public key ({reason}): give an RSA, P-256, P-384 or Ed25519 key as PEM text (`BEGIN PUBLIC KEY`)"
    )]
    Pem {
        /// The file, or what stands for a text.
        from: String,
        /// What is wrong.
        reason: String,
    },
    /// An address that keys cannot be had from safely.
    #[error("keys are not read from {0}: use https://")]
    Address(String),
    /// A document that holds no key that can be used.
    #[error("{from} holds no key that can be used: {reason}")]
    Document {
        /// Where it is from.
        from: String,
        /// What is wrong.
        reason: String,
    },
}

/// Where keys come from; see [`super::Auth`].
#[derive(Debug, Clone)]
pub struct Keys {
    pub(super) fixed: Vec<Key>,
    pub(super) changing: Vec<Source>,
}

/// A document of keys that may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    File(PathBuf),
    Url(Uri),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Url(uri) => write!(f, "{}", crate::address::shown(&uri.to_string())),
        }
    }
}

impl Keys {
    /// A secret shared with the issuer: HS256.
    ///
    /// # Errors
    /// It has less than 32 bytes.
    pub fn secret(secret: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        let secret = secret.as_ref();
        if secret.len() < LEAST_SECRET {
            return Err(KeyError::ShortSecret(secret.len()));
        }
        Ok(Self::fixed(Key { kid: None, algorithm: Algorithm::HS256, key: DecodingKey::from_secret(secret) }))
    }

    /// A public key as PEM, in a file or as text: RS256, ES256, ES384 or EdDSA, by the kind of the key.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub fn pem(pem: impl Into<Pem>) -> Result<Self, KeyError> {
        let pem: Pem = pem.into();
        let text = pem.read()?;
        let wrong = |reason: &str| KeyError::Pem { from: pem.to_string(), reason: reason.to_owned() };
        if text.windows(11).any(|w| w == b"PRIVATE KEY") {
            return Err(wrong("it is a private one, which only the issuer may have"));
        }
        let key = public(&text).ok_or_else(|| wrong("it is none of them"))?;
        Ok(Self::fixed(key))
    }

    /// A JWKS document in a file; it is read again when it changes.
    pub fn jwks_file(path: impl Into<PathBuf>) -> Self {
        Self { fixed: Vec::new(), changing: vec![Source::File(path.into())] }
    }

    /// The address of a JWKS document: read at the start, every five minutes, and (every ten seconds at most) when a token
    /// names a key that is not known. While it cannot be read, the last keys stay in force.
    ///
    /// # Errors
    /// It is no `https://` address (nor one of this machine).
    pub fn jwks_url(address: &str) -> Result<Self, KeyError> {
        let wrong = || KeyError::Address(crate::address::shown(address).into_owned());
        let uri: Uri = address.parse().map_err(|_| wrong())?;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let here = host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if here => {}
            _ => return Err(wrong()),
        }
        Ok(Self { fixed: Vec::new(), changing: vec![Source::Url(uri)] })
    }

    /// These and others.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.fixed.extend(others.fixed);
        self.changing.extend(others.changing);
        self
    }

    fn fixed(key: Key) -> Self {
        Self { fixed: vec![key], changing: Vec::new() }
    }
}

/// A key and the one algorithm that it is for.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) kid: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("kid", &self.kid).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

fn public(pem: &[u8]) -> Option<Key> {
    let key = |algorithm, key| Some(Key { kid: None, algorithm, key });
    if let Ok(ec) = DecodingKey::from_ec_pem(pem) {
        // An uncompressed point: one byte, then two coordinates.
        return match ec.try_get_as_bytes().map(<[u8]>::len) {
            Ok(65) => key(Algorithm::ES256, ec),
            Ok(97) => key(Algorithm::ES384, ec),
            _ => None,
        };
    }
    if let Ok(ed) = DecodingKey::from_ed_pem(pem) {
        return key(Algorithm::EdDSA, ed);
    }
    key(Algorithm::RS256, DecodingKey::from_rsa_pem(pem).ok()?)
}

/// The keys of a document (RFC 7517) that can check signatures; others are passed over.
pub(super) fn document(from: &Source, text: &[u8]) -> Result<Vec<Key>, KeyError> {
    let wrong = |reason: String| KeyError::Document { from: from.to_string(), reason };
    let read: Value = serde_json::from_slice(text).map_err(|e| wrong(e.to_string()))?;
    let all = read.get("keys").and_then(Value::as_array).ok_or_else(|| wrong("it has no list `keys`".to_owned()))?;
    let keys: Vec<Key> = all.iter().take(MOST_KEYS).filter_map(jwk).collect();
    if keys.is_empty() { Err(wrong(format!("none of its {} keys is for signatures", all.len()))) } else { Ok(keys) }
}

fn jwk(value: &Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
    if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    let said = match value.get("alg") {
        None => None,
        Some(name) => Some(Algorithm::from_str(name.as_str()?).ok()?),
    };
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    // The kind of the key says which algorithms there are to choose from; a secret has no place in a public document.
    let fits: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => &[RS256, RS384, RS512, PS256, PS384, PS512],
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => &[ES256],
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P384 => &[ES384],
        AlgorithmParameters::OctetKeyPair(okp) if okp.curve == EllipticCurve::Ed25519 => &[EdDSA],
        _ => return None,
    };
    let algorithm = said.or_else(|| fits.first().copied()).filter(|algorithm| fits.contains(algorithm))?;
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    Some(Key { kid: jwk.common.key_id, algorithm, key })
}
