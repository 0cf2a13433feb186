//! What a proxy changes of the headers that pass: those of one connection end with it (RFC 9110, 7.6.1), and who passed
//! them on is added.

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Version};

/// The name under which this proxy appears in `via`.
const VIA_11: HeaderValue = HeaderValue::from_static("1.1 fuseboard");
const VIA_2: HeaderValue = HeaderValue::from_static("2 fuseboard");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");

/// Whether a request wants its connection to change its protocol.
pub(crate) fn wants_upgrade(version: Version, method: &Method, headers: &HeaderMap) -> bool {
    version == Version::HTTP_11
        && *method != Method::CONNECT
        && headers.contains_key(header::UPGRADE)
        && names_of(headers).any(|name| name.eq_ignore_ascii_case("upgrade"))
}

/// Takes away what concerns one connection only. `upgrade` leaves what an upgrade needs.
pub(crate) fn end_to_end(headers: &mut HeaderMap, upgrade: bool) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = names_of(headers).filter_map(|name| name.parse().ok()).collect();
        for name in named {
            // TE and upgrade are looked at below; nobody may take these away from us.
            if ![header::TE, header::UPGRADE, header::HOST, header::CONTENT_LENGTH].contains(&name) {
                headers.remove(name);
            }
        }
        headers.remove(header::CONNECTION);
    }
    headers.remove(KEEP_ALIVE);
    headers.remove(PROXY_CONNECTION);
    headers.remove(header::PROXY_AUTHORIZATION);
    headers.remove(header::TRANSFER_ENCODING);
    if let Some(te) = headers.remove(header::TE) {
        // gRPC insists on it; anything else is between neighbours.
        if te.to_str().is_ok_and(|te| te.split(',').any(|t| t.trim().eq_ignore_ascii_case("trailers"))) {
            headers.insert(header::TE, TRAILERS);
        }
    }
    if upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    } else {
        headers.remove(header::UPGRADE);
    }
}

/// Says that the message came this way.
pub(crate) fn via(headers: &mut HeaderMap, received: Version) {
    headers.append(header::VIA, if received == Version::HTTP_2 { VIA_2 } else { VIA_11 });
}

/// Says for whom a request is passed on: the newer `forwarded` (RFC 7239) is continued where it is in use, the older
/// headers always.
pub(crate) fn forwarded(headers: &mut HeaderMap, from: IpAddr, scheme: &'static str) {
    let address = from.to_string();
    let list = match headers.get(X_FORWARDED_FOR).and_then(|v| v.to_str().ok()) {
        Some(before) => format!("{before}, {address}"),
        None => address.clone(),
    };
    if let Ok(list) = HeaderValue::try_from(list) {
        headers.insert(X_FORWARDED_FOR, list);
    }
    if !headers.contains_key(X_FORWARDED_PROTO) {
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(scheme));
    }
    if !headers.contains_key(X_FORWARDED_HOST)
        && let Some(host) = headers.get(header::HOST).cloned()
    {
        headers.insert(X_FORWARDED_HOST, host);
    }
    if headers.contains_key(header::FORWARDED) {
        let node = if from.is_ipv6() { format!("\"[{address}]\"") } else { address };
        if let Ok(own) = HeaderValue::try_from(format!("for={node};proto={scheme}")) {
            headers.append(header::FORWARDED, own);
        }
    }
}

/// What `connection` names.
fn names_of(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers.get_all(header::CONNECTION).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn what_concerns_one_connection_ends_with_it() {
        let mut headers = map(&[
            ("connection", "close, x-secret, host"),
            ("x-secret", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("te", "gzip, trailers"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "Basic x"),
            ("host", "orders"),
            ("x-kept", "2"),
        ]);
        end_to_end(&mut headers, false);
        assert_eq!(headers, map(&[("te", "trailers"), ("host", "orders"), ("x-kept", "2")]));
    }

    #[test]
    fn an_upgrade_keeps_what_it_needs() {
        let mut headers = map(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
        assert!(wants_upgrade(Version::HTTP_11, &Method::GET, &headers));
        assert!(!wants_upgrade(Version::HTTP_2, &Method::GET, &headers));
        end_to_end(&mut headers, true);
        assert_eq!(headers, map(&[("connection", "upgrade"), ("upgrade", "websocket")]));
    }

    #[test]
    fn who_is_forwarded_for_is_appended() {
        let mut headers = map(&[("x-forwarded-for", "9.9.9.9"), ("host", "shop"), ("forwarded", "for=9.9.9.9")]);
        forwarded(&mut headers, "10.0.0.1".parse().unwrap(), "http");
        assert_eq!(headers["x-forwarded-for"], "9.9.9.9, 10.0.0.1");
        assert_eq!(
            (&headers["x-forwarded-host"], &headers["x-forwarded-proto"]),
            (&"shop".parse().unwrap(), &"http".parse().unwrap())
        );
        let all: Vec<_> = headers.get_all("forwarded").iter().collect();
        assert_eq!(all, ["for=9.9.9.9", "for=10.0.0.1;proto=http"]);
    }
}
