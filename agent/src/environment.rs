//! Settings that come from the environment. The table in the crate's documentation lists them all.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::tls::ClientTls;
use crate::token::Token;

/// A variable that says something.
pub(crate) fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|v| v.trim().to_owned()).filter(|v| !v.is_empty())
}

/// The token for the collector.
pub(crate) fn token() -> Option<Token> {
    env("FUSEBOARD_TOKEN_FILE").map(Token::file).or_else(|| env("FUSEBOARD_TOKEN").map(Token::text))
}

/// TLS for everything that has no settings of its own.
pub(crate) fn tls() -> Option<ClientTls> {
    let file = |name: &str| env(&format!("FUSEBOARD_TLS_{name}"));
    client(file("ROOTS"), file("CERTIFICATE"), file("KEY"))
}

/// TLS for the export, as OpenTelemetry names it; the names for traces go first, as with the endpoint.
pub(crate) fn otlp_tls() -> Option<ClientTls> {
    let file = |name: &str| {
        env(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}")).or_else(|| env(&format!("OTEL_EXPORTER_OTLP_{name}")))
    };
    client(file("CERTIFICATE"), file("CLIENT_CERTIFICATE"), file("CLIENT_KEY"))
}

fn client(roots: Option<String>, chain: Option<String>, key: Option<String>) -> Option<ClientTls> {
    // One file may hold both; where one of the two is not named, the other is looked into.
    let identity = match (chain, key) {
        (None, None) => None,
        (Some(one), None) | (None, Some(one)) => Some((one.clone(), one)),
        (Some(chain), Some(key)) => Some((chain, key)),
    };
    if roots.is_none() && identity.is_none() {
        return None;
    }
    let tls = ClientTls::default();
    let tls = if let Some(roots) = roots { tls.roots(roots) } else { tls };
    Some(if let Some((chain, key)) = identity { tls.identity(chain, key) } else { tls })
}

/// An OTLP address without a scheme is plain unless `OTEL_EXPORTER_OTLP_INSECURE` says `false`.
pub(crate) fn with_scheme(address: String) -> String {
    let secure = env("OTEL_EXPORTER_OTLP_INSECURE").is_some_and(|v| v.eq_ignore_ascii_case("false"));
    if secure && !address.contains("://") { format!("https://{address}") } else { address }
}

/// The headers of each export of spans. What cannot be a header is left out.
pub(crate) fn span_headers() -> HeaderMap {
    let said = env("OTEL_EXPORTER_OTLP_TRACES_HEADERS").or_else(|| env("OTEL_EXPORTER_OTLP_HEADERS"));
    headers(&said.unwrap_or_default())
}

/// `name=value,name=value`, values as in URIs.
fn headers(text: &str) -> HeaderMap {
    let read = |one: &str| {
        let (name, value) = one.split_once('=')?;
        let name = HeaderName::try_from(name.trim()).ok()?;
        Some((name, HeaderValue::try_from(decoded(value.trim())?).ok()?))
    };
    text.split(',').filter_map(read).collect()
}

/// Bytes that stand as `%20`.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.split('%');
    let mut bytes = Vec::from(parts.next()?);
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_opentelemetry_writes_them() {
        let headers = headers("x-tenant=shop%20one, token = a=b ,,bad name=1,cut=%2,sign=%zz,empty=");
        let all: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(all, [("x-tenant", "shop one"), ("token", "a=b"), ("empty", "")]);
    }
}
