//! Settings that come from the environment. The table in the crate's documentation lists them all.

use crate::tls::ClientTls;
use crate::token::Token;

/// A variable that says something.
pub(crate) fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|v| v.trim().to_owned()).filter(|v| !v.is_empty())
}

/// The token for the control plane.
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
