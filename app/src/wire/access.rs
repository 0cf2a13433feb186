//! How one is known to a collector, and how the collector is trusted.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use fuseboard_tls::{ClientTls, Dialer, TlsError};
use http::HeaderValue;

use super::address::BadAddress;

/// Largest token file, in bytes.
const MOST: u64 = 16 * 1024;

/// Files to be known by and to trust by. A token itself is never an argument or a variable: both can be read by others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Access")]
pub struct Access {
    /// File with the token by which the collector knows you.
    #[arg(long, value_name = "FILE", env = "FUSEBOARD_TOKEN_FILE", global = true)]
    pub token_file: Option<PathBuf>,
    /// Certificates (PEM) of the CAs that may sign the collector's; default: those this system trusts.
    #[arg(long, value_name = "FILE", env = "FUSEBOARD_CA", global = true)]
    pub ca: Option<PathBuf>,
    /// Own certificate (PEM), for collectors that ask for one.
    #[arg(long, value_name = "FILE", env = "FUSEBOARD_CERT", global = true, requires = "key")]
    pub cert: Option<PathBuf>,
    /// Its private key (PEM).
    #[arg(long, value_name = "FILE", env = "FUSEBOARD_KEY", global = true, requires = "cert")]
    pub key: Option<PathBuf>,
}

/// Why a collector cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The address makes no sense.
    #[error(transparent)]
    Address(BadAddress),
    /// The token's file.
    #[error("the token in {} cannot be used: {why}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong with it; never what is in it.
        why: String,
    },
    /// Certificates or keys.
    // It tells its cause itself: as a source it would be told twice.
    #[error("{0}")]
    Tls(TlsError),
    /// Whoever sits in between would read the token.
    #[error("a token is not sent to {url} in the clear: write https://…, or reach it through a tunnel to this machine")]
    InTheClear {
        /// The address.
        url: String,
    },
}

impl Access {
    /// The token, marked as a secret.
    pub(super) fn bearer(&self) -> Result<Option<HeaderValue>, AccessError> {
        let Some(path) = &self.token_file else { return Ok(None) };
        let wrong = |why: &dyn fmt::Display| AccessError::Token { path: path.clone(), why: why.to_string() };
        let file = std::fs::File::open(path).map_err(|e| wrong(&e))?;
        let mut text = String::new();
        std::io::Read::read_to_string(&mut std::io::Read::take(file, MOST), &mut text).map_err(|e| wrong(&e))?;
        let token = text.trim();
        if token.is_empty() {
            return Err(wrong(&"it is empty"));
        }
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| wrong(&"it holds more than one line, or letters that no token has"))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// What dials.
    pub(super) fn dialer(&self) -> Result<Dialer, AccessError> {
        let tls = ClientTls::default();
        let tls = self.ca.iter().fold(tls, |tls, ca| tls.roots(ca.clone()));
        let tls = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => tls.identity(cert.clone(), key.clone()),
            _ => tls,
        };
        // The system's roots are read when they are first needed: most collectors are on this machine.
        if self.ca.is_none() && self.cert.is_none() {
            Ok(Dialer::default())
        } else {
            Dialer::new(&tls).map_err(AccessError::Tls)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Client;
    use super::*;

    fn with_token(folder: &tempfile::TempDir, text: &str) -> Access {
        let path = folder.path().join("token");
        std::fs::write(&path, text).unwrap();
        Access { token_file: Some(path), ..Access::default() }
    }

    #[test]
    fn a_token_is_read_trimmed_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let access = with_token(&folder, " fb_1_s3cret\n");
        let bearer = access.bearer().unwrap().unwrap();
        assert!(bearer.is_sensitive() && bearer == "Bearer fb_1_s3cret");
        let client = Client::new("127.0.0.1:1", &access, Duration::from_secs(1)).unwrap();
        assert!(!format!("{access:?} {bearer:?} {client:?}").contains("s3cret"));
        for (text, word) in [("\n", "empty"), ("s3cret\ns3cret", "more than one line")] {
            let why = with_token(&folder, text).bearer().unwrap_err().to_string();
            assert!(why.contains(word) && !why.contains("s3cret"), "{why}");
        }
    }

    #[test]
    fn a_token_is_not_sent_over_a_network_in_the_clear() {
        let folder = tempfile::tempdir().unwrap();
        let access = with_token(&folder, "fb_1_2");
        let open = |url: &str| Client::new(url, &access, Duration::from_secs(1)).map(|_| ());
        for url in ["http://10.0.0.1:4390", "collector.example:4390", "http://localhost.example:1"] {
            assert!(open(url).unwrap_err().to_string().contains("in the clear"), "{url}");
        }
        for url in ["http://127.0.0.1:1", "http://[::1]:1", "localhost:1", "https://collector.example:4390"] {
            open(url).unwrap();
        }
        assert!(Client::new("http://10.0.0.1:1", &Access::default(), Duration::from_secs(1)).is_ok());
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let access = Access { ca: Some("/no/such/ca.pem".into()), ..Access::default() };
        let why = Client::new("https://127.0.0.1:1", &access, Duration::from_secs(1)).unwrap_err();
        assert!(why.to_string().contains("/no/such/ca.pem") && std::error::Error::source(&why).is_none(), "{why}");
    }
}
