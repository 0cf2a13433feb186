//! Control addresses as people write them, and queries as paths carry them.

use std::net::{IpAddr, SocketAddr};

use http::Uri;

/// The control address of a collector on this machine that was not told otherwise.
pub const DEFAULT_URL: &str = "http://127.0.0.1:4390";

/// A text that is no control address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no control address; write http://HOST:PORT or https://HOST:PORT, like {DEFAULT_URL}")]
pub struct BadAddress(String);

/// The control address that `text` means: `http://HOST:PORT` or `https://HOST:PORT`, or shorter `HOST:PORT` or a port of this
/// machine, which mean `http`.
///
/// # Errors
/// When it is none.
pub fn address(text: &str) -> Result<String, BadAddress> {
    let wanted = || BadAddress(text.to_owned());
    let short = text.trim().trim_end_matches('/');
    let url = match short.trim_start_matches(':').parse::<u16>() {
        Ok(port) => format!("http://127.0.0.1:{port}"),
        Err(_) if short.bytes().all(|b| b.is_ascii_digit()) => return Err(wanted()),
        Err(_) if short.contains("://") => short.to_owned(),
        Err(_) => format!("http://{short}"),
    };
    let uri: Uri = url.parse().map_err(|_| wanted())?;
    let named = uri.host().is_some_and(|host| !host.is_empty()) && !short.ends_with(':');
    let bare = uri.authority().is_some_and(|a| !a.as_str().contains('@')) && uri.query().is_none();
    match uri.scheme_str() {
        Some("http" | "https") if named && bare && uri.path() == "/" => Ok(url),
        _ => Err(wanted()),
    }
}

/// Where another of a collector's ports is reached, given as the collector says it, by somebody who reaches it at `url`: a
/// collector that listens on every address is where `url` says, and so is one whose certificate names it.
#[must_use]
pub fn beside(url: &str, listens: &str) -> String {
    let (secure, place) = parts(url);
    let scheme = if secure { "https" } else { "http" };
    match listens.parse::<SocketAddr>() {
        Ok(address) if secure || address.ip().is_unspecified() => {
            let host =
                place.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')).map_or(&*place, |(host, _)| host);
            format!("{scheme}://{host}:{}", address.port())
        }
        _ => format!("{scheme}://{listens}"),
    }
}

/// Whether an address asks for TLS, and its host with its port.
pub(super) fn parts(url: &str) -> (bool, String) {
    match url.split_once("://") {
        Some((scheme, place)) => (scheme.eq_ignore_ascii_case("https"), place.to_owned()),
        None => (false, url.to_owned()),
    }
}

/// Whether a host, with or without a port, is this machine.
pub(super) fn is_loopback(place: &str) -> bool {
    let host = match place.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => place.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A path with what is asked for, percent-encoded.
#[must_use]
pub fn query<'a>(path: &str, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = path.to_owned();
    for (n, (name, value)) in pairs.into_iter().enumerate() {
        out.push(if n == 0 { '?' } else { '&' });
        for (text, end) in [(name, "="), (value, "")] {
            for byte in text.bytes() {
                if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
                    out.push(char::from(byte));
                } else {
                    out.push_str(&format!("%{byte:02X}"));
                }
            }
            out.push_str(end);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_may_be_short_but_not_wrong() {
        for text in ["http://127.0.0.1:4390", "http://127.0.0.1:4390/", "127.0.0.1:4390", ":4390", "4390"] {
            assert_eq!(address(text).as_deref(), Ok(DEFAULT_URL), "{text}");
        }
        assert_eq!(address("localhost:1").as_deref(), Ok("http://localhost:1"));
        assert_eq!(address("https://[::1]:4390/").as_deref(), Ok("https://[::1]:4390"));
        for text in ["", "http://", "ftp://127.0.0.1:1", "http://:4390", "99999", "a b", "http://a:b@c:1", "http://a/b"]
        {
            assert!(address(text).unwrap_err().to_string().contains("https://HOST:PORT"), "{text}");
        }
    }

    #[test]
    fn another_port_is_where_the_first_was_reached() {
        assert_eq!(beside("http://127.0.0.1:4390", "127.0.0.1:4318"), "http://127.0.0.1:4318");
        assert_eq!(beside("http://box:4390", "0.0.0.0:4318"), "http://box:4318");
        assert_eq!(beside("https://box:4390", "10.0.0.1:4318"), "https://box:4318");
        assert_eq!(beside("https://[::1]:4390", "[::]:4318"), "https://[::1]:4318");
        assert_eq!(beside("https://[::1]", "[::]:4318"), "https://[::1]:4318");
        assert_eq!(beside("https://box", "0.0.0.0:4318"), "https://box:4318");
    }

    #[test]
    fn queries_are_encoded() {
        assert_eq!(query("/v1/tail", []), "/v1/tail");
        assert_eq!(query("/x", [("q", "a=b & ü"), ("n", "1")]), "/x?q=a%3Db%20%26%20%C3%BC&n=1");
    }
}
