//! Addresses as people write them.

use std::borrow::Cow;

use http::Uri;

use crate::error::AgentError;

/// A URI with a scheme (`http` or `https`) and a host; `host:port` alone means `http`.
pub(crate) fn uri(text: &str) -> Result<Uri, AgentError> {
    let wrong = |reason: &str| AgentError::Address { text: text.to_owned(), reason: reason.to_owned() };
    let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let uri: Uri = full.parse().map_err(|e: http::uri::InvalidUri| wrong(&e.to_string()))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(uri),
        (Some(_), Some(_)) => Err(wrong("only http and https are spoken")),
        _ => Err(wrong("it has no host")),
    }
}

/// A URL as telemetry may show it: without the user and password that it may hold, as the conventions ask.
pub(crate) fn shown(url: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = url.split_once("://") else { return url.into() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest.get(..end).and_then(|authority| authority.rfind('@')) {
        Some(at) => format!("{scheme}://REDACTED:REDACTED{}", &rest[at..]).into(),
        None => url.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_no_password() {
        assert_eq!(shown("http://ann:secret@bank:80/a@b"), "http://REDACTED:REDACTED@bank:80/a@b");
        assert_eq!(shown("http://bank/a@b?c=d@e"), "http://bank/a@b?c=d@e");
        assert_eq!(shown("/only/a/path"), "/only/a/path");
    }

    #[test]
    fn reads_addresses_and_says_what_is_wrong() {
        assert_eq!(uri("127.0.0.1:4317").unwrap(), "http://127.0.0.1:4317");
        assert_eq!(uri("http://localhost:4317").unwrap().port_u16(), Some(4317));
        assert_eq!(uri("https://bank").unwrap().scheme_str(), Some("https"));
        assert!(uri("ftp://x:1").unwrap_err().to_string().contains("only http"));
        assert!(uri("").is_err());
        assert!(uri("http://a b").is_err());
    }
}
