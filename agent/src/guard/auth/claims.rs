//! What a token says, once it was checked.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// The claims of a token that was checked; handlers find them in the request's extensions. Their values are not shown by
/// `Debug`.
#[derive(Clone)]
pub struct Claims(Arc<Map<String, Value>>);

impl std::fmt::Debug for Claims {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Claims").field("names", &self.0.keys()).finish()
    }
}

impl Claims {
    pub(super) fn new(claims: Map<String, Value>) -> Self {
        Self(Arc::new(claims))
    }

    /// `sub`: whom the token is about.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.0.get("sub").and_then(Value::as_str)
    }

    /// Any claim.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// All claims as a type of the application's.
    ///
    /// # Errors
    /// They do not fit.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        T::deserialize(Value::Object((*self.0).clone()))
    }

    /// Whether the token grants a scope (`scope`, words with blanks between them, RFC 8693; or `scp`).
    #[must_use]
    pub fn has_scope(&self, scope: &str) -> bool {
        ["scope", "scp"].into_iter().any(|claim| self.0.get(claim).is_some_and(|value| holds(value, scope)))
    }

    /// Whether the token names a role (`roles`, or Keycloak's `realm_access.roles`).
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        let realm = self.0.get("realm_access").and_then(|access| access.get("roles"));
        [self.0.get("roles"), realm].into_iter().flatten().any(|value| holds(value, role))
    }
}

fn holds(value: &Value, word: &str) -> bool {
    match value {
        Value::String(words) => words.split_ascii_whitespace().any(|one| one == word),
        Value::Array(words) => words.iter().any(|one| one.as_str() == Some(word)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_and_roles_are_found_where_issuers_write_them() {
        let claims = |value: Value| Claims::new(value.as_object().unwrap().clone());
        let one = claims(serde_json::json!({"scope": "orders:read orders:write", "roles": ["clerk"], "sub": "ann"}));
        assert!(one.has_scope("orders:read") && !one.has_scope("orders") && one.has_role("clerk"));
        let other = claims(serde_json::json!({"scp": ["a"], "realm_access": {"roles": ["b"]}}));
        assert!(other.has_scope("a") && other.has_role("b") && !other.has_role("a"));
        assert!(!format!("{one:?}").contains("ann"));
    }
}
