//! Tokens as text, and their hashes.
//!
//! A token is `fb_ID_SECRET`: 64 random bits that may be seen by all (the audit names them), and 256 that only the holder
//! has, both in hexadecimal digits. Stored is the secret's argon2id hash alone.

use std::fmt;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version};
use rand::TryRngCore as _;
use rand::rngs::OsRng;

/// Begins every token, so that scanners of repositories find lost ones.
const PREFIX: &str = "fb";
/// Bytes of the public part.
const ID: usize = 8;
/// Bytes of the secret.
const SECRET: usize = 32;
/// OWASP's recommendation for argon2id (Password Storage Cheat Sheet): 19 MiB, two passes, one lane. A secret of 256 bits
/// would be safe behind less; so is one that somebody made by hand.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// No token can be made or checked: the system has no randomness, or a stored hash is damaged.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unfit(String);

/// A token with its secret.
pub(super) struct Token {
    id: String,
    secret: String,
}

/// Without the secret.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.id)
    }
}

impl Token {
    /// A new one.
    pub(super) fn random() -> Result<Self, Unfit> {
        let (mut id, mut secret) = ([0; ID], [0; SECRET]);
        for bytes in [&mut id[..], &mut secret[..]] {
            OsRng.try_fill_bytes(bytes).map_err(|e| Unfit(format!("the system has no randomness: {e}")))?;
        }
        Ok(Self { id: hex(&id), secret: hex(&secret) })
    }

    /// Takes a text apart; `None` when it is no token.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('_');
        let (prefix, id, secret) = (parts.next()?, parts.next()?, parts.next()?);
        let digits = |text: &str, bytes: usize| text.len() == 2 * bytes && text.bytes().all(|b| b.is_ascii_hexdigit());
        let is = prefix == PREFIX && digits(id, ID) && digits(secret, SECRET) && parts.next().is_none();
        is.then(|| Self { id: id.to_ascii_lowercase(), secret: secret.to_ascii_lowercase() })
    }

    /// The public part.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// All of it, for the holder.
    pub(super) fn text(&self) -> String {
        format!("{PREFIX}_{}_{}", self.id, self.secret)
    }

    /// The secret's hash, salted, with its parameters (PHC). Takes 19 MiB and tens of milliseconds of a processor.
    pub(super) fn hash(&self) -> Result<String, Unfit> {
        let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|e| Unfit(e.to_string()))?;
        let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let hash = hasher.hash_password(self.secret.as_bytes()).map_err(|e| Unfit(e.to_string()))?;
        Ok(hash.to_string())
    }

    /// Whether a hash is this secret's; as expensive as [`Token::hash`].
    pub(super) fn fits(&self, hash: &str) -> Result<bool, Unfit> {
        let hash =
            PasswordHash::new(hash).map_err(|e| Unfit(format!("the hash of token {} is damaged: {e}", self.id)))?;
        Ok(Argon2::default().verify_password(self.secret.as_bytes(), &hash).is_ok())
    }

    /// A hash to remember that this secret was right; cheap, and of no use to anybody without the key.
    pub(super) fn mark(&self, key: &[u8; 32]) -> blake3::Hash {
        blake3::keyed_hash(key, self.secret.as_bytes())
    }
}

/// A key for [`Token::mark`].
pub(super) fn key() -> Result<[u8; 32], Unfit> {
    let mut key = [0; 32];
    OsRng.try_fill_bytes(&mut key).map_err(|e| Unfit(format!("the system has no randomness: {e}")))?;
    Ok(key)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_as_it_was_written_and_hides_its_secret() {
        let token = Token::random().unwrap();
        let text = token.text();
        let read = Token::read(&format!(" {text}\n")).unwrap();
        assert_eq!((read.id(), read.text()), (token.id(), text.clone()));
        assert_eq!(format!("{token:?}"), format!("Token({})", token.id()));
        assert_ne!(Token::random().unwrap().text(), text);
        let short = &text[..text.len() - 1];
        for wrong in ["", "fb_", "fb_1_2", short, &format!("{text}0"), &format!("{text}_"), &text.replace("fb", "gh")] {
            assert!(Token::read(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_hash_fits_its_own_secret_alone_and_names_its_parameters() {
        let (token, other) = (Token::random().unwrap(), Token::random().unwrap());
        let hash = token.hash().unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(token.fits(&hash).unwrap());
        assert!(!other.fits(&hash).unwrap());
        assert!(token.fits("$argon2id$").is_err());
        assert!(!hash.contains(&token.secret));
    }
}
