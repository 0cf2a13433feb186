//! How edges are called.

use fuseboard_api::graph::EdgeKey;

/// `orders → payments`.
pub(crate) fn edge_name(key: &EdgeKey) -> String {
    format!("{} → {}", key.caller, key.callee)
}

/// The operation without its package: `payments.v1.Payments/Charge` is said as `Payments/Charge`; routes stay as they are.
pub(crate) fn short_operation(operation: &str) -> &str {
    match operation.split_once('/') {
        Some((service, _)) if !service.is_empty() && !service.contains(' ') => {
            let package = service.rfind('.').map_or(0, |dot| dot + 1);
            operation.get(package..).unwrap_or(operation)
        }
        _ => operation,
    }
}

/// The whole name: `orders → payments Payments/Charge`.
pub(crate) fn full_name(key: &EdgeKey) -> String {
    if key.operation.is_empty() {
        edge_name(key)
    } else {
        format!("{} {}", edge_name(key), short_operation(&key.operation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_lose_their_package_only() {
        assert_eq!(short_operation("payments.v1.Payments/Charge"), "Payments/Charge");
        assert_eq!(short_operation("POST /authorize"), "POST /authorize");
        assert_eq!(short_operation("/health"), "/health");
        assert_eq!(short_operation("reserve"), "reserve");
        assert_eq!(full_name(&EdgeKey::new("a", "b", "x.v1.B/Do")), "a → b B/Do");
    }
}
