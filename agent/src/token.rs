//! The bearer token by which an agent is known to the control plane. It is never shown.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderValue;

use crate::error::AgentError;

/// Largest token, in bytes.
const MOST_BYTES: usize = 16 * 1024;

/// A bearer token: in a file, read again for each connection so that a new one is taken, or given as it is.
#[derive(Clone)]
pub struct Token(Kind);

#[derive(Clone)]
enum Kind {
    File(PathBuf),
    Text(Arc<str>),
}

impl Token {
    /// A file that holds the token; white space around it does not count.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Kind::File(path.into()))
    }

    /// The token itself.
    pub fn text(token: impl Into<Arc<str>>) -> Self {
        Self(Kind::Text(token.into()))
    }

    /// `Bearer …`, marked as a secret.
    pub(crate) fn header(&self) -> Result<HeaderValue, AgentError> {
        let wrong = |reason: String| AgentError::Token { from: self.to_string(), reason };
        let text: Arc<str> = match &self.0 {
            Kind::Text(text) => text.clone(),
            Kind::File(path) => std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?.into(),
        };
        let token = text.trim();
        if token.is_empty() {
            return Err(wrong(String::from("it is empty")));
        }
        if token.len() > MOST_BYTES {
            return Err(wrong(format!("it has more than {MOST_BYTES} bytes")));
        }
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| wrong(String::from("it holds what no header may hold")))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// Where it is; never what it is.
impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::File(path) => write!(f, "{}", path.display()),
            Kind::Text(_) => f.write_str("the given token"),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_trimmed_and_never_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "s3cret\n").unwrap();
        let token = Token::file(file.path());
        let header = token.header().unwrap();
        assert!(header.is_sensitive() && header == "Bearer s3cret");
        for shown in [format!("{token:?} {header:?}"), format!("{:?}", Token::text("s3cret"))] {
            assert!(!shown.contains("s3cret"), "{shown}");
        }
        // Read anew each time.
        std::fs::write(&file, "other").unwrap();
        assert_eq!(token.header().unwrap(), "Bearer other");
        std::fs::write(&file, " \n").unwrap();
        assert!(token.header().unwrap_err().to_string().contains("empty"));
        assert!(!Token::text("s3c\u{1}ret").header().unwrap_err().to_string().contains("s3c"));
    }
}
