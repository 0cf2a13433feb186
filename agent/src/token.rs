//! The bearer token by which an agent is known to the collector, on its control stream and in all that it exports. It is never
//! shown.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use http::header::{AUTHORIZATION, Entry};
use http::{HeaderValue, Uri};
use tonic::metadata::MetadataMap;
use tonic::service::Interceptor;
use tonic::{Request, Status};

use crate::error::AgentError;

/// Largest token, in bytes.
const MOST_BYTES: usize = 16 * 1024;

/// A bearer token: in a file, read again for each connection of the control stream and each export so that a new one is taken, or
/// given as it is.
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

    /// The warning for an address to which a token would go over a network in the clear.
    pub(crate) fn shown_to(uri: &Uri) -> Option<String> {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let here = host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        let shown = uri.scheme_str() != Some("https") && !here;
        shown.then(|| format!("the token goes to {uri} in the clear: write its address as https://…"))
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

/// Writes the token, as it is at that time, into each request that does not say otherwise who sends it.
#[derive(Debug, Clone)]
pub(crate) struct Bearer(Option<(Token, HeaderValue)>);

impl Bearer {
    /// Reads the token for the first time; without one nothing is written.
    ///
    /// # Errors
    /// It cannot be read, or cannot stand in a header.
    pub(crate) fn new(token: Option<&Token>) -> Result<Self, AgentError> {
        let header = token.map(Token::header).transpose()?;
        Ok(Self(token.cloned().zip(header)))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let Some((token, last)) = &mut self.0 else { return Ok(request) };
        let mut headers = std::mem::take(request.metadata_mut()).into_headers();
        if let Entry::Vacant(place) = headers.entry(AUTHORIZATION) {
            // Of a file that is just being replaced, the last good token still counts.
            if let Ok(now) = token.header() {
                *last = now;
            }
            place.insert(last.clone());
        }
        *request.metadata_mut() = MetadataMap::from_headers(headers);
        Ok(request)
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

    #[test]
    fn requests_carry_the_token_of_the_moment_unless_they_say_otherwise() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "first").unwrap();
        let mut bearer = Bearer::new(Some(&Token::file(file.path()))).unwrap();
        let sent = |bearer: &mut Bearer, request| {
            let headers = bearer.call(request).unwrap().metadata().clone().into_headers();
            headers.get(AUTHORIZATION).map(|value| (value.to_str().unwrap().to_owned(), value.is_sensitive()))
        };
        let secret = |text: &str| Some((text.to_owned(), true));
        assert_eq!(sent(&mut bearer, Request::new(())), secret("Bearer first"));
        std::fs::write(&file, "second").unwrap();
        assert_eq!(sent(&mut bearer, Request::new(())), secret("Bearer second"));
        let mut own = Request::new(());
        own.metadata_mut().insert("authorization", "Basic eDp5".parse().unwrap());
        assert_eq!(sent(&mut bearer, own), Some(("Basic eDp5".to_owned(), false)));
        // A file that is being replaced.
        std::fs::write(&file, "").unwrap();
        assert_eq!(sent(&mut bearer, Request::new(())), secret("Bearer second"));
        assert_eq!(sent(&mut Bearer::new(None).unwrap(), Request::new(())), None);
        assert!(Bearer::new(Some(&Token::file(file.path()))).is_err());
    }

    #[test]
    fn only_what_leaves_this_machine_in_the_clear_is_warned_of() {
        for (uri, shown) in [
            ("http://127.0.0.1:4317", false),
            ("http://[::1]:4317", false),
            ("http://localhost:4317", false),
            ("https://collector:4317", false),
            ("http://collector:4317", true),
            ("http://10.0.0.7:4317", true),
        ] {
            let warning = Token::shown_to(&uri.parse().unwrap());
            assert_eq!(warning.is_some_and(|text| text.contains(uri)), shown, "{uri}");
        }
    }
}
